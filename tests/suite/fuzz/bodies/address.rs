//! Addresses, domains, IDNA, suggestions, and the one command that carries them.

use presend::{
    address::{Address, Domain, Rules},
    lists::{look_up, suggest_domain},
    smtp::{Command, Identity},
};

/// An address is refused at a place in the text, or can be said in RCPT and parses to itself.
pub(crate) fn body(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let mut taken = false;
    for allow_special_use in [false, true] {
        let rules = Rules { allow_special_use };
        match Address::parse(&text, rules) {
            Ok(address) => {
                parsed(&address, rules);
                taken = true;
            }
            Err(error) => {
                assert!(error.position <= text.chars().count(), "{text:?}: {error:?}");
                assert!(!error.to_string().is_empty());
                if let Some(suggestion) = error.suggestion {
                    assert_ne!(*suggestion, *text);
                    parsed(
                        &Address::parse(&suggestion, rules).expect("what is suggested parses"),
                        rules,
                    );
                }
            }
        }
        match Domain::parse(&text, rules) {
            Ok(domain) => {
                assert!(domain.as_str().is_ascii(), "{domain}");
                assert_eq!(Domain::parse(domain.as_str(), rules).as_ref(), Ok(&domain));
                assert_eq!(Domain::parse(&domain.unicode(), rules), Ok(domain));
            }
            Err(error) => assert!(error.position <= text.chars().count(), "{text:?}: {error:?}"),
        }
    }
    if let Some(meant) = suggest_domain(&text.to_ascii_lowercase()) {
        assert_ne!(*meant, *text);
        let rules = Rules {
            allow_special_use: true,
        };
        assert_eq!(
            Domain::parse(&meant, rules).map(|domain| domain.to_string()),
            Ok(meant.into_owned())
        );
    }
    introduced(&text);
    taken
}

/// What holds of every address, however it was typed.
fn parsed(address: &Address, rules: Rules) {
    let (mailbox, shown) = (address.mailbox(), address.display());
    for form in [mailbox, &shown] {
        assert_eq!(Address::parse(form, rules).as_ref(), Ok(address), "{form:?}");
        // RFC 5321 section 4.5.3.1.3, and what of it is shown: Unicode takes more bytes than the A-labels that are sent.
        assert!(form.chars().count() <= 254, "{form:?}");
        // A joiner is part of names and of flags; a direction is not.
        let sharp = |c: char| {
            c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        };
        assert!(!form.contains(sharp), "{form:?}");
    }
    assert!(mailbox.len() <= 254, "{mailbox:?}");
    assert!(address.local_part().chars().count() <= 64 && address.domain().len() <= 253);
    let again = Address::parse(mailbox, rules).expect("just parsed");
    assert_eq!(again.mailbox(), mailbox);
    assert!(!again.traits().mapped && !again.traits().cleaned, "{mailbox:?}");
    // A letter with a mark may be one character in lower case alone (U+1E96), and UTF-8 is not folded.
    if mailbox.is_ascii() {
        let folded = Address::parse(&mailbox.to_ascii_lowercase(), rules).expect("case is no fault");
        assert_eq!(folded.join_eq_key(false), address.join_eq_key(false));
        assert_eq!(folded.join_hash(false), address.join_hash(false));
        assert_eq!(folded.join_hash(true) == address.join_hash(true), folded == *address);
        let (folded, hits) = (look_up(&folded), look_up(address));
        assert_eq!(
            (folded.role, folded.disposable, folded.free),
            (hits.role, hits.disposable, hits.free),
            "{mailbox:?}"
        );
    }
    let line = said(Command::Rcpt(address));
    let path = line
        .strip_prefix("RCPT TO:<")
        .and_then(|rest| rest.strip_suffix(">\r\n"));
    assert_eq!(path, Some(mailbox));
    let bare = |c: char| c.is_control() || c == '<' || c == '>' || c.is_whitespace() && !address.traits().quoted_local;
    assert!(!mailbox.contains(bare), "{mailbox:?}");
    assert!(
        !mailbox.contains(|c: char| c.is_whitespace() && c != ' '),
        "{mailbox:?}"
    );
    let stars = address.local_part().chars().all(|c| c == '*');
    assert!(stars || !format!("{address:?}").contains(mailbox), "{address:?}");
}

/// Who we say we are comes from a file or a flag: it is refused, or is said in one line as well.
fn introduced(text: &str) {
    let whole = |name: &str, path: &str| {
        let Ok(identity) = Identity::new(name, path) else {
            return;
        };
        said(Command::Ehlo(&identity));
        said(Command::Helo(&identity));
        for smtputf8 in [false, true] {
            let line = said(Command::Mail {
                identity: &identity,
                smtputf8,
            });
            assert!(line.is_ascii(), "{line:?}");
        }
    };
    whole(text, "a@example.org");
    whole("probe.example.org", text);
}

/// The bytes of a command: one CRLF, at the end.
fn said(command: Command<'_>) -> String {
    let mut line = b"before\r\n".to_vec();
    command.render(&mut line).expect("it can be said");
    let line = String::from_utf8(line).expect("UTF-8");
    let line = line.strip_prefix("before\r\n").expect("appended");
    let text = line.strip_suffix("\r\n").expect("a whole line");
    assert!(!text.contains(['\r', '\n', '\0']) && line.len() <= 512, "{line:?}");
    line.to_owned()
}
