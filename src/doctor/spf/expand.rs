//! Macros in names (RFC 7208 section 7): `%{ir}.%{v}._spf.%{d2}`.

use std::{fmt::Write as _, net::IpAddr};

use super::{Sender, term::SyntaxError};

/// A domain-spec that was read and not yet expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MacroString<'a>(Vec<Part<'a>>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part<'a> {
    Literal(&'a str),
    Macro(Macro<'a>),
}

/// `%{ir-+}`: letter, number of labels, reversed, delimiters.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Macro<'a> {
    letter: char,
    escape: bool,
    keep: Option<usize>,
    reverse: bool,
    delimiters: &'a str,
}

/// What the letters stand for.
pub(super) struct Names<'a> {
    pub(super) sender: &'a Sender<'a>,
    /// The domain whose record is evaluated.
    pub(super) domain: &'a str,
    /// `%{p}`.
    pub(super) validated: &'a str,
}

impl<'a> MacroString<'a> {
    /// Reads a macro-string; `explaining` admits the letters that only `exp=` texts have.
    pub(super) fn parse(text: &'a str, explaining: bool) -> Result<Self, SyntaxError> {
        let wrong = || SyntaxError::new(text);
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest.find('%').unwrap_or(rest.len());
            let (literal, after) = rest.split_at(end);
            if !literal.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(wrong());
            }
            if !literal.is_empty() {
                parts.push(Part::Literal(literal));
            }
            let Some(marked) = after.strip_prefix('%') else { break };
            let mut characters = marked.chars();
            let literal = match characters.next() {
                Some('%') => Some("%"),
                Some('_') => Some(" "),
                Some('-') => Some("%20"),
                Some('{') => None,
                _ => return Err(wrong()),
            };
            rest = characters.as_str();
            if let Some(literal) = literal {
                parts.push(Part::Literal(literal));
                continue;
            }
            let (inside, after) = rest.split_once('}').ok_or_else(wrong)?;
            parts.push(Part::Macro(Macro::parse(inside, explaining).ok_or_else(wrong)?));
            rest = after;
        }
        Ok(Self(parts))
    }

    /// A domain-spec: it ends in a macro or in a top-level label (RFC 7208 section 7.1).
    pub(super) fn parse_domain(text: &'a str) -> Result<Self, SyntaxError> {
        let spec = Self::parse(text, false)?;
        match spec.0.last() {
            Some(Part::Macro(_)) => Ok(spec),
            Some(Part::Literal(_)) if is_domain_end(text) => Ok(spec),
            Some(Part::Literal(_)) | None => Err(SyntaxError::new(text)),
        }
    }

    pub(super) fn wants_validated(&self) -> bool {
        self.0
            .iter()
            .any(|part| matches!(part, Part::Macro(Macro { letter: 'p', .. })))
    }

    pub(super) fn expand(&self, names: &Names<'_>) -> String {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Literal(text) => out.push_str(text),
                Part::Macro(part) => out.push_str(&part.expand(names)),
            }
        }
        out
    }
}

impl<'a> Macro<'a> {
    fn parse(text: &'a str, explaining: bool) -> Option<Self> {
        let letter = text.chars().next()?;
        let rest = text.get(letter.len_utf8()..)?;
        let lower = letter.to_ascii_lowercase();
        let known = "slodiphv".contains(lower) || (explaining && "crt".contains(lower));
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = rest.split_at(digits);
        let keep = match number {
            "" => None,
            // A number that no name can have is as good as all of it.
            _ => Some(number.parse().unwrap_or(usize::MAX)),
        };
        let (reverse, delimiters) = match rest.strip_prefix(['r', 'R']) {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let fine = known && keep != Some(0) && delimiters.chars().all(|c| ".-+,/_=".contains(c));
        fine.then_some(Self {
            letter: lower,
            escape: letter.is_ascii_uppercase(),
            keep,
            reverse,
            delimiters,
        })
    }

    fn expand(&self, names: &Names<'_>) -> String {
        let sender = names.sender;
        let value = match self.letter {
            's' => format!("{}@{}", sender.local_part, sender.domain),
            'l' => sender.local_part.to_owned(),
            'o' => sender.domain.to_owned(),
            'd' => names.domain.to_owned(),
            'i' => dotted(sender.ip),
            'p' => names.validated.to_owned(),
            'v' if sender.ip.is_ipv4() => "in-addr".to_owned(),
            'v' => "ip6".to_owned(),
            'h' => sender.helo.to_owned(),
            // Only texts for people have other letters, and those are not expanded.
            _ => String::new(),
        };
        let is_delimiter = |c: char| {
            if self.delimiters.is_empty() {
                c == '.'
            } else {
                self.delimiters.contains(c)
            }
        };
        let mut labels: Vec<&str> = value.split(is_delimiter).collect();
        if self.reverse {
            labels.reverse();
        }
        let skip = self.keep.map_or(0, |keep| labels.len().saturating_sub(keep));
        let kept = labels.get(skip..).unwrap_or_default().join(".");
        if self.escape { escaped(&kept) } else { kept }
    }
}

/// IPv4 as usual, IPv6 in nibbles (RFC 7208 section 7.3).
fn dotted(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => {
            let digits = format!("{:032x}", u128::from(ip));
            let nibbles: Vec<String> = digits.chars().map(String::from).collect();
            nibbles.join(".")
        }
    }
}

/// Percent-encoded but for the unreserved characters of RFC 3986.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// Whether a literal ends as a name does: a dot, then a label with a letter in it or with a hyphen inside.
fn is_domain_end(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let Some((_, top)) = text.rsplit_once('.') else {
        return false;
    };
    let plain = top.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let not_a_number = top.bytes().any(|byte| byte.is_ascii_alphabetic() || byte == b'-');
    plain && not_a_number && !top.starts_with('-') && !top.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str, ip: &str, validated: &str) -> String {
        let sender = Sender {
            ip: ip.parse().unwrap(),
            helo: "mx.example.org",
            local_part: "strong-bad",
            domain: "email.example.com",
        };
        let names = Names {
            sender: &sender,
            domain: "email.example.com",
            validated,
        };
        MacroString::parse(text, false).unwrap().expand(&names)
    }

    /// The examples of RFC 7208 section 7.4.
    #[test]
    fn macros_expand_as_the_rfc_shows() {
        for (text, expected) in [
            ("%{s}", "strong-bad@email.example.com"),
            ("%{o}", "email.example.com"),
            ("%{d}", "email.example.com"),
            ("%{d4}", "email.example.com"),
            ("%{d3}", "email.example.com"),
            ("%{d2}", "example.com"),
            ("%{d1}", "com"),
            ("%{dr}", "com.example.email"),
            ("%{d2r}", "example.email"),
            ("%{l}", "strong-bad"),
            ("%{l-}", "strong.bad"),
            ("%{lr}", "strong-bad"),
            ("%{lr-}", "bad.strong"),
            ("%{l1r-}", "strong"),
            ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
            ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
            (
                "%{lr-}.lp.%{ir}.%{v}._spf.%{d2}",
                "bad.strong.lp.3.2.0.192.in-addr._spf.example.com",
            ),
            (
                "%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}",
                "3.2.0.192.in-addr.strong.lp._spf.example.com",
            ),
            (
                "%{d2}.trusted-domains.example.net",
                "example.com.trusted-domains.example.net",
            ),
            ("%{h}/%{p}%%%_%-", "mx.example.org/mx.example.org% %20"),
            ("%{S}", "strong-bad%40email.example.com"),
            ("%{d99999999999999999999999}", "email.example.com"),
        ] {
            assert_eq!(expand(text, "192.0.2.3", "mx.example.org"), expected, "{text}");
        }
        assert_eq!(
            expand("%{ir}.%{v}._spf.%{d2}", "2001:db8::cb01", "unknown"),
            "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com"
        );
    }

    #[test]
    fn what_is_no_macro_is_an_error() {
        for text in [
            "%",
            "%a",
            "%{",
            "%{}",
            "%{d",
            "%{x}",
            "%{d0}",
            "%{d2x}",
            "%{d-r}",
            "%{c}",
            "%{é}",
            "é.example",
        ] {
            assert!(MacroString::parse(text, false).is_err(), "{text}");
        }
        assert!(MacroString::parse("%{c}%{r}%{T}", true).is_ok());
        for text in [
            "",
            "example",
            "example.1",
            "example.-a",
            "example.a-",
            "example.a_b",
            "a.b/c",
        ] {
            assert!(MacroString::parse_domain(text).is_err(), "{text}");
        }
        for text in [
            "example.com",
            "a.example.com.",
            "_spf.xn--p1ai",
            "%{d}",
            "a.%{d}",
            "a/b.c.example",
            "x.1-1",
        ] {
            assert!(MacroString::parse_domain(text).is_ok(), "{text}");
        }
    }
}
