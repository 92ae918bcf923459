//! The parser beside those of two other crates, on every address of the corpora and on generated ones. Where they differ, the
//! class of the difference and its reason stand in a table; any other difference fails, and so does a class that never occurs.

use std::collections::{BTreeMap, BTreeSet};

use email_address::{EmailAddress, Options};
use presend::address::{Address, Traits};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use structured_email_address::is_smtp_mailbox;

use super::{LAB, corpora};

/// Generated addresses; each is a few pieces in a row.
const GENERATED: usize = 60_000;

/// Pieces of addresses, good and bad.
const PIECES: [&str; 64] = [
    "a",
    "ann",
    "Ann",
    "0",
    "9",
    "-",
    "_",
    ".",
    "..",
    "+",
    "!",
    "%",
    "#",
    "'",
    "/",
    "=",
    "`",
    "{",
    "|",
    "~",
    "\"",
    "\"a b\"",
    "\"\"",
    "\"a\\\"b\"",
    "\\",
    " ",
    "\t",
    "(c)",
    "<",
    ">",
    "[",
    "]",
    "[127.0.0.1]",
    "[IPv6:::1]",
    "[IPv6:2001:db8::1]",
    "[300.1.1.1]",
    "[tag:x]",
    ",",
    ";",
    ":",
    "@",
    "@",
    "@",
    "@",
    "@",
    "@b.example",
    "@b.example",
    "@b.test",
    "@example.com",
    "@example.com",
    "@localhost",
    "@a-b.test",
    "@-a.test",
    "@a_b.test",
    "@1.2.3.4",
    "@xn--gre-6ka8i.example",
    "ü",
    "@grüße.example",
    "名",
    "\u{200d}",
    "\r\n",
    "\0",
    "com",
    "x",
];

/// Which crate, whether presend takes the address, the class, and why.
type Declared = (&'static str, bool, &'static str, &'static str);

#[rustfmt::skip]
const DIFFERENCES: &[Declared] = &[
    ("email_address", false, "syntax_address_literal", "mail to an address literal cannot be vetted by name; presend never dials one (HOSTILE D24)"),
    ("structured-email-address", false, "syntax_address_literal", "mail to an address literal cannot be vetted by name; presend never dials one (HOSTILE D24)"),
    ("email_address", false, "syntax_angle_bracket", "`<` and `>` are legal in a quoted string, and end the path for hosts that read RCPT carelessly (P1)"),
    ("structured-email-address", false, "syntax_angle_bracket", "`<` and `>` are legal in a quoted string, and end the path for hosts that read RCPT carelessly (P1)"),
    ("email_address", false, "syntax_bad_address_literal", "a literal that is no address, or has a tag nobody registered (RFC 5321 section 4.1.3)"),
    ("structured-email-address", false, "syntax_bad_address_literal", "a literal that is no address, or has a tag nobody registered (RFC 5321 section 4.1.3)"),
    ("email_address", false, "syntax_bang_path", "a UUCP path is a route, and routes are refused (P3)"),
    ("structured-email-address", false, "syntax_bang_path", "a UUCP path is a route, and routes are refused (P3)"),
    ("email_address", false, "syntax_domain_character", "it takes any character above ASCII, or `+`, `#` and others, in a label"),
    ("email_address", false, "syntax_domain_too_long", "it counts the labels and not the whole name (RFC 1035 section 2.3.4)"),
    ("email_address", false, "syntax_domain_underscore", "it takes `_`, which no host name holds (RFC 1123 section 2.1)"),
    ("email_address", false, "syntax_dotless_domain", "a single label is no public mail domain (D25)"),
    ("structured-email-address", false, "syntax_dotless_domain", "a single label is no public mail domain (D25)"),
    ("structured-email-address", false, "syntax_empty_local", "`\"\"` is legal in the grammar and names nobody"),
    ("email_address", false, "syntax_idna_punycode", "they do not decode A-labels"),
    ("structured-email-address", false, "syntax_idna_punycode", "they do not decode A-labels"),
    ("email_address", false, "syntax_leading_combining_mark", "a mark without a letter before it (RFC 6532 leaves normalisation to NFC)"),
    ("email_address", false, "syntax_numeric_tld", "a name that ends in digits is an IP address in the wrong place (RFC 3696 section 2)"),
    ("structured-email-address", false, "syntax_numeric_tld", "a name that ends in digits is an IP address in the wrong place (RFC 3696 section 2)"),
    ("email_address", false, "syntax_percent_hack", "`user%host@relay` is a route, and routes are refused (P3)"),
    ("structured-email-address", false, "syntax_percent_hack", "`user%host@relay` is a route, and routes are refused (P3)"),
    ("email_address", false, "syntax_too_long", "it has no limit for the whole path (RFC 5321 section 4.5.3.1.3)"),
    ("email_address", false, "syntax_unknown_tld", "no such top-level domain exists; they do not look"),
    ("structured-email-address", false, "syntax_unknown_tld", "no such top-level domain exists; they do not look"),
    ("email_address", true, "cleaned", "presend takes off what carries no meaning: outer white space, brackets, `mailto:`, a final comma, needless quotes"),
    ("structured-email-address", true, "cleaned", "presend takes off what carries no meaning: outer white space, brackets, `mailto:`, a final comma, needless quotes"),
    ("email_address", true, "cleaned, not ASCII", "both at once: cleaned, and international"),
    ("structured-email-address", true, "cleaned, not ASCII", "both at once: cleaned, and international"),
    ("email_address", true, "cleaned, not ASCII, quoted", "both at once: cleaned, and international"),
    ("structured-email-address", true, "cleaned, not ASCII, quoted", "both at once: cleaned, and international"),
    ("email_address", true, "cleaned, quoted", "cleaned, and quoted"),
    ("structured-email-address", true, "cleaned, quoted", "cleaned, and quoted"),
    ("email_address", true, "not ASCII", "it refuses marks that are not composed, and emoji; presend composes them (NFC, UTS 46)"),
    ("email_address", true, "not ASCII, quoted", "it reads an `@` between quotes as the end of an international local-part"),
    ("structured-email-address", true, "not ASCII", "`is_smtp_mailbox` is for ASCII; presend knows SMTPUTF8 and IDNA"),
    ("structured-email-address", true, "not ASCII, quoted", "`is_smtp_mailbox` is for ASCII"),
];

fn long() -> impl Iterator<Item = String> {
    let shapes = [(64, 20), (65, 20), (63, 63), (10, 64), (64, 190), (64, 189), (1, 253)];
    shapes.into_iter().map(|(local, label)| {
        let mut domain = "d".repeat(label.min(64));
        while domain.len() + 5 < label {
            domain = format!("{}.{domain}", "e".repeat((label - domain.len() - 6).clamp(1, 63)));
        }
        format!("{}@{domain}.test", "l".repeat(local))
    })
}

fn texts() -> BTreeSet<String> {
    let rows = corpora::read_corpora();
    let mut texts: BTreeSet<String> = rows
        .into_iter()
        .filter(|row| !corpora::is_domain_corpus(row))
        .map(|row| row.text)
        .chain(long())
        .collect();
    let mut random = StdRng::seed_from_u64(5321);
    for _ in 0..GENERATED {
        let count = random.random_range(2..=6);
        texts.insert((0..count).filter_map(|_| PIECES.choose(&mut random).copied()).collect());
    }
    texts
}

/// What a difference is about: presend's fault, or what is unusual about an address it takes.
fn class(text: &str, ours: &Result<Address, presend::address::SyntaxError>) -> String {
    let address = match ours {
        Err(error) => return error.fault.name().to_owned(),
        Ok(address) => address,
    };
    let Traits {
        quoted_local,
        cleaned,
        mapped,
        ..
    } = address.traits();
    let domain = address.domain();
    let mut words = Vec::new();
    for (holds, word) in [
        (cleaned, "cleaned"),
        (!text.is_ascii(), "not ASCII"),
        (mapped && text.is_ascii(), "mapped"),
        (quoted_local, "quoted"),
        (domain.starts_with('['), "literal"),
        (text.ends_with('.'), "final dot"),
    ] {
        if holds {
            words.push(word);
        }
    }
    if words.is_empty() {
        "plain".to_owned()
    } else {
        words.join(", ")
    }
}

#[test]
fn every_difference_to_other_parsers_is_declared() {
    let options = Options::default().without_display_text();
    let mut seen: BTreeMap<(&str, bool, String), Vec<String>> = BTreeMap::new();
    for text in texts() {
        let ours = Address::parse(&text, LAB);
        for (name, theirs) in [
            (
                "email_address",
                EmailAddress::parse_with_options(&text, options).is_ok(),
            ),
            ("structured-email-address", is_smtp_mailbox(&text)),
        ] {
            if ours.is_ok() != theirs {
                let class = class(&text, &ours);
                seen.entry((name, ours.is_ok(), class)).or_default().push(text.clone());
            }
        }
    }
    let declared: BTreeSet<(&str, bool, String)> = DIFFERENCES
        .iter()
        .map(|(name, ours, class, _)| (*name, *ours, (*class).to_owned()))
        .collect();
    for (key, texts) in &seen {
        let shown = &texts[..texts.len().min(4)];
        assert!(
            declared.contains(key),
            "not declared: {key:?}: {} like {shown:?}",
            texts.len()
        );
    }
    for key in declared {
        assert!(seen.contains_key(&key), "declared and never seen: {key:?}");
    }
}
