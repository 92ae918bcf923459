//! The domain: letters, digits and hyphens, address literals by name, and the policy on which names a list may hold.
//!
//! International names are turned into A-labels by `international`; no name is looked up here.

use std::{borrow::Borrow, fmt, net::Ipv4Addr, net::Ipv6Addr, sync::Arc};

use super::{Fault, Rules, SyntaxError, at_character, character::is_dot, display, fault::Flaw, international, special};

/// Longest label and longest name in presentation form (RFC 1035 2.3.4).
pub(super) const LABEL: usize = 63;
pub(super) const NAME: usize = 253;

/// A domain name in lower-case A-labels without trailing dot (RFC 5890), cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Domain(Arc<str>);

impl Domain {
    /// A name that has been parsed already.
    pub(super) fn trusted(name: &str) -> Self {
        Self(name.into())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Parses a domain as the right-hand side of an address would be parsed.
    ///
    /// # Errors
    /// The first fault, with its position in `text`.
    pub fn parse(text: &str, rules: Rules) -> Result<Self, SyntaxError> {
        match parse(text, rules) {
            Ok(name) => Ok(Self(name.ascii.into())),
            Err(flaw) => Err(SyntaxError {
                fault: flaw.fault,
                position: at_character(text, flaw.offset),
                suggestion: flaw
                    .mend
                    .and_then(|mend| parse(&mend, rules).ok())
                    .map(|name| display::name(&name.ascii).into()),
            }),
        }
    }

    /// The name for people: U-labels, but A-labels where a label mixes scripts or looks like an ASCII one.
    #[must_use]
    pub fn unicode(&self) -> String {
        display::name(&self.0)
    }

    /// The registrable domain (public suffix and one label, private suffixes included); the whole name when it is itself a suffix.
    #[must_use]
    pub fn registered(&self) -> &str {
        psl::domain_str(&self.0).unwrap_or(&self.0)
    }
}

impl Borrow<str> for Domain {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A domain as it is sent, and how it differs from what was typed.
#[derive(Debug)]
pub(super) struct Name {
    /// Lower-case A-labels.
    pub(super) ascii: String,
    /// Octets of the U-label form in UTF-8.
    pub(super) unicode_len: usize,
    /// UTS 46 changed more than ASCII case.
    pub(super) mapped: bool,
    pub(super) symbol: bool,
}

/// Parses the text after the `@`.
pub(super) fn parse(text: &str, rules: Rules) -> Result<Name, Flaw> {
    if text.is_empty() {
        return Err(Flaw::new(Fault::EmptyDomain, 0));
    }
    if text.starts_with('[') {
        return Err(Flaw::new(literal(text), 0));
    }
    let international = !text.is_ascii() || labels(text).any(|(_, label)| is_ace(label));
    check_form(text, international)?;
    let name = if international {
        international::parse(text)?
    } else {
        let ascii = text.to_ascii_lowercase();
        Name {
            unicode_len: ascii.len(),
            ascii,
            mapped: false,
            symbol: false,
        }
    };
    check_policy(text, &name.ascii, rules)?;
    Ok(name)
}

/// A label that claims to be an A-label.
pub(super) fn is_ace(label: &str) -> bool {
    label.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("xn--"))
}

/// The labels with their byte offsets; every dot of UTS 46 separates.
pub(super) fn labels(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut start = 0;
    text.split(is_dot).map(move |label| {
        let offset = start;
        let end = start + label.len();
        let dot = text.get(end..).and_then(|rest| rest.chars().next());
        start = end + dot.map_or(0, char::len_utf8);
        (offset, label)
    })
}

/// Whether brackets hold an address (RFC 5321 4.1.3); an IPv6 address without its tag is seen for what it is.
fn literal(text: &str) -> Fault {
    let inner = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or_default();
    let tagged = inner.get(..5).is_some_and(|tag| tag.eq_ignore_ascii_case("IPv6:"));
    let v6 = if tagged {
        inner.get(5..).unwrap_or_default()
    } else {
        inner
    };
    if v6.parse::<Ipv6Addr>().is_ok() || inner.parse::<Ipv4Addr>().is_ok() {
        Fault::AddressLiteral
    } else {
        Fault::BadAddressLiteral
    }
}

/// Dots, ASCII characters, hyphens and lengths, label by label. Non-ASCII characters are left to UTS 46.
fn check_form(text: &str, international: bool) -> Result<(), Flaw> {
    for (start, label) in labels(text) {
        if label.is_empty() {
            return Err(empty_label(text, start));
        }
        if let Some((at, c)) = label
            .char_indices()
            .find(|(_, c)| c.is_ascii() && !c.is_ascii_alphanumeric() && *c != '-')
        {
            let fault = match c {
                '_' => Fault::DomainUnderscore,
                _ if c.is_ascii_whitespace() => Fault::WhiteSpace,
                _ if c.is_ascii_control() => Fault::ControlCharacter,
                _ => Fault::DomainCharacter,
            };
            return Err(stray(text, start + at, c, fault));
        }
        if label.starts_with('-') {
            return Err(Flaw::new(Fault::DomainHyphen, start));
        }
        if label.ends_with('-') {
            return Err(Flaw::new(Fault::DomainHyphen, start + label.len() - 1));
        }
        if label.is_ascii() && label.len() > LABEL {
            return Err(Flaw::new(Fault::LabelTooLong, start + LABEL));
        }
    }
    if !international && text.len() > NAME {
        return Err(Flaw::new(Fault::DomainTooLong, NAME));
    }
    Ok(())
}

fn empty_label(text: &str, start: usize) -> Flaw {
    let joined = || {
        let filled: Vec<&str> = text.split(is_dot).filter(|label| !label.is_empty()).collect();
        filled.join(".")
    };
    if start == 0 {
        return Flaw::new(Fault::DomainLeadingDot, 0).mend(joined());
    }
    let dot = text
        .get(..start)
        .and_then(|before| before.char_indices().next_back())
        .map_or(0, |(offset, _)| offset);
    if start == text.len() {
        return Flaw::new(Fault::DomainTrailingDot, dot).mend(joined());
    }
    Flaw::new(Fault::DomainDoubleDot, start).mend(joined())
}

/// A character that no host name has; a comma for a dot, quotation marks around a cell and the rest of a URL are plain mistakes.
fn stray(text: &str, at: usize, c: char, fault: Fault) -> Flaw {
    let flaw = Flaw::new(fault, at);
    match c {
        ',' => flaw.mend(text.replace(',', ".")),
        '?' | '\'' | '"' | ')' | ']' | '/' => flaw.mend(text.get(..at).unwrap_or_default()),
        _ => flaw,
    }
}

/// Which well-formed names can have mail on the public internet.
fn check_policy(typed: &str, name: &str, rules: Rules) -> Result<(), Flaw> {
    let (last, _) = labels(typed).last().unwrap_or_default();
    let (_, tld) = name.rsplit_once('.').unwrap_or(("", name));
    if special::is_special_use(name) {
        return match name.contains('.') {
            true if rules.allow_special_use => Ok(()),
            false if rules.allow_special_use => Err(Flaw::new(Fault::DotlessDomain, 0)),
            _ => Err(Flaw::new(Fault::SpecialUse, 0)),
        };
    }
    if tld.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Flaw::new(Fault::NumericTld, last));
    }
    if !name.contains('.') {
        return Err(Flaw::new(Fault::DotlessDomain, 0));
    }
    if !special::is_known_tld(name) {
        return Err(Flaw::new(Fault::UnknownTld, last));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: Rules = Rules {
        allow_special_use: false,
    };
    const LAB: Rules = Rules {
        allow_special_use: true,
    };

    #[test]
    fn lower_cases_to_a_labels() {
        for (typed, name) in [
            ("IANA.org", "iana.org"),
            ("ab--cd.com", "ab--cd.com"),
            ("3com.com", "3com.com"),
            ("Bücher.DE", "xn--bcher-kva.de"),
            ("XN--Bcher-KVA.de", "xn--bcher-kva.de"),
            ("faß.de", "xn--fa-hia.de"),
            ("普遍适用测试。我爱你", "xn--tkvs6ms8gqpywye3ma.xn--6qq986b3xl"),
            ("пример.рф", "xn--e1afmkfd.xn--p1ai"),
            ("🦀.com", "xn--zs9h.com"),
        ] {
            assert_eq!(Domain::parse(typed, STRICT).expect(typed).as_str(), name);
        }
    }

    #[test]
    fn refuses_with_the_exact_fault_and_place() {
        for (typed, fault, position) in [
            ("", Fault::EmptyDomain, 0),
            (".com", Fault::DomainLeadingDot, 0),
            ("a..com", Fault::DomainDoubleDot, 2),
            ("a.com.", Fault::DomainTrailingDot, 5),
            ("a.com。", Fault::DomainTrailingDot, 5),
            ("a_b.com", Fault::DomainUnderscore, 1),
            ("a,com", Fault::DomainCharacter, 1),
            ("a.com:25", Fault::DomainCharacter, 5),
            ("-a.com", Fault::DomainHyphen, 0),
            ("a.b-.com", Fault::DomainHyphen, 3),
            ("é.a-.com", Fault::DomainHyphen, 3),
            ("[127.0.0.1]", Fault::AddressLiteral, 0),
            ("[IPv6:::1]", Fault::AddressLiteral, 0),
            ("[2001:db8::1]", Fault::AddressLiteral, 0),
            ("[2130706433]", Fault::BadAddressLiteral, 0),
            ("[1.2.3.4", Fault::BadAddressLiteral, 0),
            ("1.2.3.4", Fault::NumericTld, 6),
            ("a.123", Fault::NumericTld, 2),
            ("com", Fault::DotlessDomain, 0),
            ("a.notatld", Fault::UnknownTld, 2),
            ("é.notatld", Fault::UnknownTld, 2),
            ("a.b", Fault::UnknownTld, 2),
            ("localhost", Fault::SpecialUse, 0),
            ("a.test", Fault::SpecialUse, 0),
        ] {
            let error = Domain::parse(typed, STRICT).expect_err(typed);
            assert_eq!((error.fault, error.position), (fault, position), "{typed:?}");
        }
    }

    #[test]
    fn lengths_are_those_of_a_labels() {
        let label = "a".repeat(63);
        assert!(Domain::parse(&format!("{label}.com"), STRICT).is_ok());
        let fault = |name: &str| Domain::parse(name, STRICT).map_err(|e| (e.fault, e.position)).err();
        assert_eq!(fault(&format!("{label}a.com")), Some((Fault::LabelTooLong, 63)));
        let longest = format!("{label}.{label}.{label}.{}.com", "a".repeat(57));
        assert_eq!(longest.len(), 253);
        assert_eq!(fault(&longest), None);
        assert_eq!(fault(&longest.replacen('a', "aa", 1).replacen("aa", "a", 2)), None);
        assert_eq!(fault(&format!("b.{longest}")), Some((Fault::DomainTooLong, 253)));
        assert_eq!(
            fault(&format!("{}.com", "ü".repeat(58))).map(|f| f.0),
            Some(Fault::LabelTooLong)
        );
        let long = format!("{0}.{0}.{0}.{0}.{0}.com", "ü".repeat(50));
        assert_eq!(fault(&long).map(|f| f.0), Some(Fault::DomainTooLong));
    }

    #[test]
    fn suggests_what_is_plain() {
        for (typed, suggestion) in [
            ("iana.org.", Some("iana.org")),
            ("iana..org", Some("iana.org")),
            (".iana.org", Some("iana.org")),
            ("iana,org", Some("iana.org")),
            ("iana.org?subject=x", Some("iana.org")),
            ("iana.org'", Some("iana.org")),
            ("bücher.de.", Some("bücher.de")),
            ("nonsense.", None),
            ("a_b.com", None),
        ] {
            let error = Domain::parse(typed, STRICT).expect_err(typed);
            assert_eq!(error.suggestion.as_deref(), suggestion, "{typed:?}");
        }
    }

    #[test]
    fn special_use_is_allowed_on_request_but_dotless_never() {
        assert!(Domain::parse("mx.lab.test", LAB).is_ok());
        assert!(Domain::parse("bücher.test", LAB).is_ok());
        for name in ["test", "localhost"] {
            assert_eq!(Domain::parse(name, LAB).map_err(|e| e.fault), Err(Fault::DotlessDomain));
        }
        assert_eq!(
            Domain::parse("a.notatld", LAB).map_err(|e| e.fault),
            Err(Fault::UnknownTld)
        );
    }

    #[test]
    fn registered_is_one_label_below_the_public_suffix() {
        for (name, registered) in [
            ("mail.example.co.uk", "example.co.uk"),
            ("iana.org", "iana.org"),
            ("x.y.github.io", "y.github.io"),
            ("a.b.lab.test", "lab.test"),
            ("co.uk", "co.uk"),
        ] {
            assert_eq!(Domain::parse(name, LAB).expect(name).registered(), registered);
        }
    }
}
