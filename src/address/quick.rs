//! The short way for the ordinary address: ASCII dot-atom, plain host name, nothing to clean or to tell. One pass, one allocation.
//!
//! Decides nothing of its own: whatever it takes, the long way takes with the same result (tested), and all else it leaves alone.

use super::{Address, LONGEST, Rules, Traits, special};

/// The address, when nothing about it is unusual.
pub(super) fn parse(text: &str, rules: Rules) -> Option<Address> {
    let bytes = text.as_bytes();
    if bytes.len() > LONGEST {
        return None;
    }
    let at = memchr::memchr(b'@', bytes)?;
    let local = bytes.get(..at)?;
    if !is_plain_local(local) || !is_plain_domain(bytes.get(at + 1..)?) {
        return None;
    }
    let mut mailbox = String::from(text);
    mailbox.get_mut(at + 1..)?.make_ascii_lowercase();
    let domain = mailbox.get(at + 1..)?;
    let allowed = if special::is_special_use(domain) {
        rules.allow_special_use
    } else {
        special::is_known_tld(domain)
    };
    let tag = memchr::memchr(b'+', local.get(1..)?).is_some_and(|plus| plus + 2 < at);
    let traits = Traits {
        subaddress: tag,
        ..Traits::default()
    };
    allowed.then(|| Address::assemble(mailbox, at, traits))?
}

fn is_plain_local(local: &[u8]) -> bool {
    let mut before = b'.';
    for &b in local {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'+' | b'\'' | b'=' => {}
            b'-' if before != b'.' => {}
            b'.' if before != b'.' => {}
            _ => return false,
        }
        before = b;
    }
    before != b'.' && local.len() <= 64
}

/// Two labels or more of letters, digits and inner hyphens, none an A-label, the last not a number.
fn is_plain_domain(domain: &[u8]) -> bool {
    let (mut before, mut start, mut dots) = (b'.', 0, 0);
    for (at, &b) in domain.iter().enumerate() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => {}
            // A label with a hyphen in fourth place may be an A-label.
            b'-' if before != b'.' && at != start + 3 => {}
            b'.' if before != b'.' && before != b'-' && at - start <= 63 => {
                start = at + 1;
                dots += 1;
            }
            _ => return false,
        }
        before = b;
    }
    let last = domain.get(start..).unwrap_or_default();
    dots > 0
        && last.len() <= 63
        && before.is_ascii_alphanumeric()
        && last.iter().any(u8::is_ascii_alphabetic)
        && domain.len() <= 253
}
