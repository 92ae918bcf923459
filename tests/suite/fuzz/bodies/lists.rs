//! Files of entries: the operator's allow and block lists, and blocklists for `presend doctor`.

use std::{cell::RefCell, fs};

use presend::{
    address::{Address, Rules},
    doctor::{BlocklistError, Blocklists},
    lists::{UserListError, UserLists},
    verdict::ListDecision,
};
use tempfile::NamedTempFile;

thread_local!(static FILE: RefCell<NamedTempFile> = RefCell::new(NamedTempFile::new().expect("a temporary file")));

/// A list is refused with its name and a line it has, or decides what it names.
pub(super) fn body(bytes: &[u8]) -> bool {
    FILE.with_borrow(|file| {
        fs::write(file.path(), bytes).expect("a temporary file");
        let name = file.path().display().to_string();
        let blocklists = match Blocklists::load(file.path()) {
            Ok(lists) => {
                assert!(lists.iter().count() <= bytes.len());
                lists.iter().count() > 0
            }
            Err(error) => {
                let of_file = matches!(error, BlocklistError::Unreadable { .. });
                assert!(!of_file || std::str::from_utf8(bytes).is_err(), "{error}");
                assert!(error.to_string().contains(&name), "{error}");
                false
            }
        };
        let mut lists = UserLists::default();
        match lists.read(file.path(), ListDecision::Block) {
            Ok(()) => decides(bytes, &lists) || blocklists,
            Err(UserListError::Entry { path, line, message }) => {
                assert_eq!(path, name);
                assert!(line <= bytes.split(|byte| *byte == b'\n').count());
                super::assert_printable(&message);
                blocklists
            }
            Err(error) => panic!("{error}"),
        }
    })
}

/// Every line that is an address by itself is decided.
fn decides(bytes: &[u8], lists: &UserLists) -> bool {
    let rules = Rules {
        allow_special_use: true,
    };
    for line in String::from_utf8_lossy(bytes).lines() {
        if let Ok(address) = Address::parse(line, rules)
            && !line.contains('#')
        {
            assert_eq!(lists.decide(&address), Some(ListDecision::Block), "{line:?}");
        }
    }
    !lists.is_empty()
}
