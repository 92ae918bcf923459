//! Which addresses a provider delivers to one mailbox: dots at Gmail, `+tag` where the provider documents it.

use super::duplicate::{Key, Keys};
use crate::address::Address;

/// Providers that document `+tag`; sources: their own help pages.
const TAGGED: [&str; 16] = [
    "outlook.com",
    "hotmail.com",
    "live.com",
    "msn.com",
    "icloud.com",
    "me.com",
    "mac.com",
    "fastmail.com",
    "fastmail.fm",
    "proton.me",
    "protonmail.com",
    "pm.me",
    "yandex.ru",
    "yandex.com",
    "zoho.com",
    "mailbox.org",
];
/// Names of one and the same mailbox.
const SAME: [(&str, &str); 4] = [
    ("googlemail.com", "gmail.com"),
    ("protonmail.com", "proton.me"),
    ("pm.me", "proton.me"),
    ("yandex.com", "yandex.ru"),
];

/// The key that addresses of one mailbox share.
pub(super) fn key(address: &Address, keys: &Keys) -> Key {
    let same = mailbox(address).and_then(|mailbox| Address::parse(&mailbox, ANY).ok());
    keys.of(same.as_ref().unwrap_or(address))
}

const ANY: crate::address::Rules = crate::address::Rules {
    allow_special_use: true,
};

fn mailbox(address: &Address) -> Option<String> {
    let (local, domain) = (address.local_part(), address.domain());
    let is_gmail = matches!(domain, "gmail.com" | "googlemail.com");
    if !is_gmail && !TAGGED.contains(&domain) {
        return None;
    }
    let base = local.split_once('+').map_or(local, |(base, _)| base);
    let base = if is_gmail {
        base.replace('.', "")
    } else {
        base.to_owned()
    };
    let main = SAME
        .iter()
        .find(|(other, _)| *other == domain)
        .map_or(domain, |(_, main)| main);
    Some(format!("{base}@{main}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_provider_documents_is_the_same() {
        let keys = Keys::default();
        let key = |text: &str| key(&Address::parse(&text.to_lowercase(), ANY).unwrap(), &keys);
        for (a, b, same) in [
            ("j.doe+news@gmail.com", "JDoe@googlemail.com", true),
            ("j.doe@outlook.com", "jdoe@outlook.com", false),
            ("jdoe+x@outlook.com", "jdoe@outlook.com", true),
            ("jdoe+x@acme-corp.com", "jdoe@acme-corp.com", false),
            ("jdoe@pm.me", "jdoe@proton.me", true),
            ("+x@gmail.com", "+x@gmail.com", true),
        ] {
            assert_eq!(key(a) == key(b), same, "{a} {b}");
        }
    }
}
