//! Files of the operator: `presend.toml` and the worlds of `presend lab`.

use std::path::Path;

use presend::{cli::read_config, lab::World};

/// A configuration is read, or refused with its name, the line and the column, and without the proxy's password.
pub(super) fn body(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    match read_config(&text, Path::new("here/presend.toml")) {
        Ok(()) => true,
        Err(message) => {
            assert!(message.len() <= 4 * text.len() + 4_000, "{} bytes", message.len());
            let login = |line: &str| {
                let (key, value) = line.split_once("proxy")?;
                value
                    .rsplit_once('@')
                    .filter(|(login, _)| login.contains("s3cret"))
                    .map(|_| key.len())
            };
            let proxy = message.lines().find(|line| login(line).is_some());
            assert_eq!(proxy, None);
            message.lines().for_each(super::assert_printable);
            false
        }
    }
}

/// A world is read or refused with its name.
pub(super) fn world(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    match World::parse(&text, "world.toml") {
        Ok(_) => true,
        Err(error) => {
            let message = error.to_string();
            assert!(message.contains("world.toml"), "{message}");
            assert!(message.len() <= 8 * text.len() + 4_000, "{} bytes", message.len());
            false
        }
    }
}
