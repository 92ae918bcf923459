//! Addresses: what SMTP accepts (RFC 5321 Mailbox, RFC 6531 local-parts, RFC 5890 domains), and every fault by name.
//!
//! Owns parsing, IDNA, display and suggestions. Must not touch the network or know lists of providers.
//!
//! The order of checks: `clean` the outside, `shape` finds the one `@`, `local`, `domain` (with `international` for IDNA and
//! `special` for reserved and unknown names), then the length of the whole. `quick` is the same for ordinary addresses.

mod character;
mod clean;
mod display;
mod domain;
mod fault;
mod international;
mod local;
mod quick;
mod shape;
mod special;

use std::{
    borrow::Cow,
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use fault::Flaw;
pub use {
    domain::Domain,
    fault::{Fault, SyntaxError},
};

/// Longest mailbox: a path of 256 octets without its angle brackets (RFC 5321 4.5.3.1.3, erratum 1690 to RFC 3696).
const LONGEST: usize = 254;

/// A mailbox that may be written into `RCPT TO:<...>`.
///
/// Invariant (tested with arbitrary text): no control character, so no CR, LF or NUL, and no angle bracket is inside, quoted or
/// not (RFC 5321 4.1.2); at most 254 octets; parsing `mailbox()` again gives an equal address.
///
/// The case of the local-part is kept; the domain is lower-case A-labels. `Debug` hides the local-part. Two addresses are equal
/// when they are sent alike, however they were typed.
#[derive(Clone)]
pub struct Address {
    /// `local-part@a-label.domain`
    mailbox: Arc<str>,
    /// Byte index of the `@` that separates local-part and domain.
    at: u8,
    traits: Traits,
}

/// What is noteworthy about a valid address; none of these makes it invalid.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, each reported by its own name"
)]
pub struct Traits {
    /// The local-part is a quoted string that no dot-atom can express.
    pub quoted_local: bool,
    /// The local-part needs the SMTPUTF8 extension (RFC 6531).
    pub smtputf8: bool,
    /// The local-part holds `+` with a tag after it (RFC 5233).
    pub subaddress: bool,
    /// `%`, `!`, a quoted `@` or a leading `-`, `/`, `|` that mail hosts often refuse, inside a form that is otherwise valid.
    pub routing_character: bool,
    /// The domain holds an emoji, which IDNA 2008 refuses and UTS 46 lets pass.
    pub symbol_domain: bool,
    /// UTS 46 mapping or NFC changed what was typed (beyond ASCII case).
    pub mapped: bool,
    /// Something that carries no meaning was taken off: outer white space, `mailto:`, angle brackets, a trailing comma,
    /// quotation marks around a dot-atom.
    pub cleaned: bool,
}

impl Traits {
    fn to_bits(self) -> u8 {
        let Self {
            quoted_local,
            smtputf8,
            subaddress,
            routing_character,
            symbol_domain,
            mapped,
            cleaned,
        } = self;
        let bits = [
            quoted_local,
            smtputf8,
            subaddress,
            routing_character,
            symbol_domain,
            mapped,
            cleaned,
        ];
        bits.into_iter().fold(0, |bits, bit| bits << 1 | u8::from(bit))
    }

    fn from_bits(bits: u8) -> Self {
        let bit = |number: u8| bits >> number & 1 == 1;
        Self {
            quoted_local: bit(6),
            smtputf8: bit(5),
            subaddress: bit(4),
            routing_character: bit(3),
            symbol_domain: bit(2),
            mapped: bit(1),
            cleaned: bit(0),
        }
    }
}

/// How strictly names are taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rules {
    /// Accept special-use names (RFC 6761: `.test`, `.example`, `.invalid`, `.localhost` ...) and dotless domains never.
    pub allow_special_use: bool,
}

impl Address {
    /// Parses one address as typed in a list: outer white space, `mailto:`, one pair of angle brackets and trailing `,;` are
    /// cleaned first, nothing inside is ever repaired.
    ///
    /// # Errors
    /// The first fault with its position and, where one is obvious, a suggestion.
    pub fn parse(text: &str, rules: Rules) -> Result<Self, SyntaxError> {
        if let Some(address) = quick::parse(text, rules) {
            return Ok(address);
        }
        let cleaned = clean::clean(text);
        parse_cleaned(&cleaned, rules).map_err(|flaw| SyntaxError {
            fault: flaw.fault,
            position: at_character(text, cleaned.offset + flaw.offset),
            suggestion: flaw
                .mend
                .and_then(|mend| parse_cleaned(&clean::clean(&mend), rules).ok())
                .map(|address| address.display().into()),
        })
    }

    /// Local-part and domain of a text that is an address sent as it stands, if its domain is one that may be sent to; nothing when it
    /// takes a closer look to know. Takes no memory.
    pub(crate) fn split_ordinary(text: &[u8]) -> Option<(&[u8], &[u8])> {
        let is_lower = |(_, domain): &(&[u8], &[u8])| !domain.iter().any(u8::is_ascii_uppercase);
        quick::split(text).filter(is_lower)
    }

    /// `local-part@a-label.domain`, as sent in RCPT TO.
    #[must_use]
    pub fn mailbox(&self) -> &str {
        &self.mailbox
    }

    /// The mailbox as an owned, cheaply cloned text.
    #[must_use]
    pub fn to_mailbox(&self) -> Arc<str> {
        Arc::clone(&self.mailbox)
    }

    /// The local-part as sent: case kept, quotes kept where they are needed.
    #[must_use]
    pub fn local_part(&self) -> &str {
        self.mailbox.get(..usize::from(self.at)).unwrap_or_default()
    }

    /// The domain in lower-case A-labels, no trailing dot.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.mailbox.get(usize::from(self.at) + 1..).unwrap_or_default()
    }

    /// The domain as an owned, cheaply cloned name.
    #[must_use]
    pub fn to_domain(&self) -> Domain {
        Domain::trusted(self.domain())
    }

    /// What is noteworthy about this address.
    #[must_use]
    pub fn traits(&self) -> Traits {
        self.traits
    }

    /// The address for people: U-labels where the domain is international and not a mixed-script look-alike.
    #[must_use]
    pub fn display(&self) -> String {
        format!("{}@{}", self.local_part(), display::name(self.domain()))
    }

    /// A mailbox at `domain` with a local-part that is a plain dot-atom (letters, digits, `.`, `-`, `_`): a control recipient.
    ///
    /// Returns `None` when `local_part` is anything else or too long.
    #[must_use]
    pub fn control(local_part: &str, domain: &Domain) -> Option<Self> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
        let local = local::parse(local_part).ok()?;
        if local.routing || !local_part.bytes().all(plain) {
            return None;
        }
        Self::assemble(format!("{local_part}@{domain}"), local_part.len(), Traits::default())
    }

    /// What duplicates have in common: the mailbox, with the ASCII case of the local-part folded unless `exact`.
    ///
    /// UTF-8 letters are not folded: their case is not safely foldable without knowing the language.
    #[must_use]
    pub fn join_eq_key(&self, exact: bool) -> Cow<'_, str> {
        if exact || !self.mailbox.bytes().any(|b| b.is_ascii_uppercase()) {
            Cow::Borrowed(&self.mailbox)
        } else {
            Cow::Owned(self.mailbox.to_ascii_lowercase())
        }
    }

    /// A 128-bit fingerprint of [`join_eq_key`](Self::join_eq_key), without allocation and the same in every run.
    ///
    /// Among n addresses two differ and share it with odds of n² / 2^129: 1.5e-25 for ten million. The keys are no secret, so it
    /// guards against chance, not against somebody who works at it; then the joined rows are that person's own.
    #[must_use]
    #[expect(
        deprecated,
        reason = "the one std hasher whose algorithm (SipHash 2-4) is documented and so stable between releases"
    )]
    pub fn join_hash(&self, exact: bool) -> u128 {
        use std::hash::SipHasher;

        let mut folded = [0_u8; LONGEST];
        let bytes = folded.get_mut(..self.mailbox.len()).unwrap_or_default();
        bytes.copy_from_slice(self.mailbox.as_bytes().get(..bytes.len()).unwrap_or_default());
        if !exact {
            bytes.make_ascii_lowercase();
        }
        let half = |key| {
            let mut hasher = SipHasher::new_with_keys(key, !key);
            hasher.write(bytes);
            u128::from(hasher.finish())
        };
        (half(0x7072_6573_656e_6431) << 64) | half(0x7072_6573_656e_6432)
    }

    /// Bytes that [`pack`](Self::pack) writes at most.
    pub(crate) const PACKED: usize = LONGEST + 2;

    /// Appends the address without its domain to others.
    pub(crate) fn pack(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&[self.traits.to_bits(), self.at]);
        bytes.extend_from_slice(self.local_part().as_bytes());
    }

    /// The address at `domain` that [`pack`](Self::pack) wrote; more may follow it.
    pub(crate) fn unpack(bytes: &[u8], domain: &Domain) -> Option<Self> {
        let (local, domain) = (Self::packed_local_part(bytes)?, domain.as_str());
        let mut text = [0; LONGEST];
        let length = local.len() + 1 + domain.len();
        let (start, rest) = text.get_mut(..length)?.split_at_mut(local.len());
        let (at, end) = rest.split_first_mut()?;
        start.copy_from_slice(local.as_bytes());
        *at = b'@';
        end.copy_from_slice(domain.as_bytes());
        Some(Self {
            mailbox: str::from_utf8(text.get(..length)?).ok()?.into(),
            at: u8::try_from(local.len()).ok()?,
            traits: Traits::from_bits(*bytes.first()?),
        })
    }

    /// The local-part of a packed address.
    pub(crate) fn packed_local_part(bytes: &[u8]) -> Option<&str> {
        let [_, at, local @ ..] = bytes else { return None };
        str::from_utf8(local.get(..usize::from(*at))?).ok()
    }

    /// The parts of an address that was checked; `None` when the whole is too long.
    fn assemble(mailbox: String, at: usize, traits: Traits) -> Option<Self> {
        let fits = mailbox.len() <= LONGEST;
        let at = u8::try_from(at).ok().filter(|_| fits)?;
        Some(Self {
            mailbox: mailbox.into(),
            at,
            traits,
        })
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.mailbox == other.mailbox
    }
}

impl Eq for Address {}

impl Hash for Address {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.mailbox.hash(state);
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address(***@{})", self.domain())
    }
}

/// Parses what is left after cleaning; offsets are those of `cleaned.text`.
fn parse_cleaned(cleaned: &clean::Cleaned<'_>, rules: Rules) -> Result<Address, Flaw> {
    let text = cleaned.text;
    let at = shape::split(text)?;
    let (local_text, domain_text) = (
        text.get(..at).unwrap_or_default(),
        text.get(at + 1..).unwrap_or_default(),
    );
    let local = local::parse(local_text).or_else(|flaw| {
        let dots = matches!(
            flaw.fault,
            Fault::LocalLeadingDot | Fault::LocalTrailingDot | Fault::LocalDoubleDot
        );
        if dots && special::issued_odd_dots(domain_text) {
            local::parse_with_odd_dots(local_text)
        } else {
            Err(flaw)
        }
    })?;
    let name = domain::parse(domain_text, rules).map_err(|flaw| Flaw {
        offset: at + 1 + flaw.offset,
        // Single quotes around the whole are legal in the local-part and a fault only at the other end.
        mend: flaw.mend.map(|domain| match local_text.strip_prefix('\'') {
            Some(bare) if domain_text.ends_with('\'') => format!("{bare}@{domain}"),
            _ => format!("{local_text}@{domain}"),
        }),
        ..flaw
    })?;
    let too_long = || Flaw::new(Fault::TooLong, text.floor_char_boundary(LONGEST));
    // The limit holds in both forms: a server may turn one into the other.
    if local.text.len() + 1 + name.unicode_len.max(name.ascii.len()) > LONGEST {
        return Err(too_long());
    }
    let traits = Traits {
        quoted_local: local.quoted,
        smtputf8: !local.text.is_ascii(),
        subaddress: local.subaddress,
        routing_character: local.routing,
        symbol_domain: name.symbol,
        mapped: local.mapped || name.mapped,
        cleaned: cleaned.changed || local.unquoted,
    };
    Address::assemble(format!("{}@{}", local.text, name.ascii), local.text.len(), traits).ok_or_else(too_long)
}

/// Characters before a byte offset.
fn at_character(text: &str, offset: usize) -> usize {
    text.get(..offset).unwrap_or(text).chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_address_is_the_same_one() {
        let texts = [
            "jane@acme-corp.com",
            " <j.doe+news@acme-corp.com>,",
            "\"a b\"@acme-corp.com",
            "jürgen@bücher.de",
            "o'neil@acme-corp.com",
        ];
        let addresses = texts.map(|text| Address::parse(text, Rules::default()).unwrap());
        let mut bytes = Vec::new();
        for address in &addresses {
            let start = bytes.len();
            address.pack(&mut bytes);
            bytes.push(0xff);
            let again = Address::unpack(&bytes[start..], &address.to_domain()).unwrap();
            assert_eq!(
                (again.mailbox(), again.at, again.traits),
                (address.mailbox(), address.at, address.traits)
            );
            assert_eq!(Address::unpack(&bytes[start..start + 2], &address.to_domain()), None);
        }
        for bits in 0..1 << 7 {
            assert_eq!(Traits::from_bits(bits).to_bits(), bits);
        }
    }
}
