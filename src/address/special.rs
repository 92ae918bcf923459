//! Names that are reserved, and names that end in no top-level domain. Knows lists of names, not their syntax.

/// Whether a lower-case name is in IANA's registry of special-use domain names, as far as such a name could stand in an address.
///
/// RFC 6761 (test, localhost, invalid, example), RFC 6762 (local), RFC 7686 (onion), RFC 8375 (home.arpa), RFC 8880, 9462 and 9665
/// (other names under arpa), RFC 9476 (alt), and ICANN's resolution of 2024-07-29 (internal).
pub(super) fn is_special_use(name: &str) -> bool {
    let mut labels = name.rsplit('.');
    let tld = labels.next().unwrap_or_default();
    let second = labels.next();
    match tld {
        "test" | "localhost" | "invalid" | "example" | "local" | "onion" | "alt" | "internal" => true,
        "com" | "net" | "org" => second == Some("example"),
        "arpa" => matches!(second, Some("home" | "ipv4only" | "resolver" | "service")),
        _ => false,
    }
}

/// Whether a lower-case name of two labels or more ends in a delegated top-level domain.
///
/// The public suffix list has a rule for every one (IANA's root zone feeds it); a name that no rule fits falls to its `*` rule,
/// which `is_known` denies. A top-level domain younger than the compiled list is refused until presend is built anew.
pub(super) fn is_known_tld(name: &str) -> bool {
    is_common_tld(name) || psl::suffix(name.as_bytes()).is_some_and(|suffix| suffix.is_known())
}

/// Spares nine of ten addresses the walk through the list (60 ns).
fn is_common_tld(name: &str) -> bool {
    matches!(
        name.rsplit('.').next(),
        Some(
            "com"
                | "net"
                | "org"
                | "edu"
                | "gov"
                | "de"
                | "uk"
                | "fr"
                | "it"
                | "es"
                | "nl"
                | "ru"
                | "cn"
                | "jp"
                | "br"
                | "in"
                | "ca"
                | "au"
                | "io"
                | "co"
                | "eu"
                | "us"
                | "ch"
                | "pl"
        )
    )
}

/// Japanese providers that once issued local-parts with dots at the ends and in a row.
pub(super) fn issued_odd_dots(typed: &str) -> bool {
    ["docomo.ne.jp", "ezweb.ne.jp"]
        .iter()
        .any(|domain| typed.eq_ignore_ascii_case(domain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_use_names_are_known_by_their_end() {
        for name in [
            "localhost",
            "a.localhost",
            "printer.local",
            "db.internal",
            "x.test",
            "a.b.invalid",
            "s.example",
            "example.com",
            "mail.example.net",
            "example.org",
            "abc.onion",
            "nas.home.arpa",
            "x.alt",
        ] {
            assert!(is_special_use(name), "{name}");
        }
        for name in [
            "iana.org",
            "myexample.com",
            "test.com",
            "example.de",
            "local.net",
            "com",
            "1.in-addr.arpa",
        ] {
            assert!(!is_special_use(name), "{name}");
        }
    }

    #[test]
    fn the_list_knows_the_root_zone() {
        // One of each kind: generic, sponsored, country, country with wildcard rules only, international, infrastructure.
        for name in [
            "a.com",
            "a.museum",
            "a.technology",
            "a.google",
            "a.zw",
            "a.ck",
            "a.bd",
            "a.np",
            "a.xn--p1ai",
            "a.xn--6qq986b3xl",
            "a.xn--mgbah1a3hjkrd",
            "a.arpa",
            "a.travel",
            "a.post",
            "a.mil",
            "a.int",
        ] {
            assert!(is_known_tld(name), "{name}");
        }
        for name in [
            "a.con",
            "a.c",
            "a.lan",
            "a.home",
            "a.corp",
            "a.localdomain",
            "a.xn--jxalpdlp",
            "a.co-uk",
            "a.an",
        ] {
            assert!(!is_known_tld(name), "{name}");
        }
        for common in [
            "com", "net", "org", "edu", "gov", "de", "uk", "fr", "it", "es", "nl", "ru", "cn", "jp", "br", "in", "ca",
            "au", "io", "co", "eu", "us", "ch", "pl",
        ] {
            let name = format!("a.{common}");
            assert!(
                is_common_tld(&name) && psl::suffix(name.as_bytes()).is_some_and(|s| s.is_known()),
                "{common}"
            );
        }
    }
}
