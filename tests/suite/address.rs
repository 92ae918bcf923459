//! Addresses against the corpora of other projects, against hostile text, and against presend's own promises.

mod corpora;
mod others;

use presend::address::{Address, Domain, Fault, Rules, Traits};
use proptest::prelude::*;

const STRICT: Rules = Rules {
    allow_special_use: false,
};
/// The corpora are full of `example.com` and `.test`; whether such names have mail is not their question.
const LAB: Rules = Rules {
    allow_special_use: true,
};

fn fault(text: &str) -> Fault {
    Address::parse(text, STRICT).expect_err(text).fault
}

#[test]
fn p1_line_breaks_nul_space_and_brackets_are_refused() {
    for (text, wanted, position) in [
        ("a@b.c>\r\nDATA", Fault::LineBreak, 6),
        ("a@iana.org\r\nRCPT TO:<x@y.z>", Fault::LineBreak, 10),
        ("a@iana.org\nx", Fault::LineBreak, 10),
        ("a\r@iana.org", Fault::LineBreak, 1),
        ("\"a\r\nb\"@iana.org", Fault::LineBreak, 2),
        ("\"a\r\n b\"@iana.org", Fault::FoldingWhiteSpace, 2),
        ("a\0@iana.org", Fault::Nul, 1),
        ("\0a@iana.org", Fault::Nul, 0),
        ("a@iana.org\0", Fault::Nul, 10),
        ("a\u{1b}[31m@iana.org", Fault::ControlCharacter, 1),
        ("a b@iana.org", Fault::WhiteSpace, 1),
        ("a@iana.org x", Fault::WhiteSpace, 10),
        ("a@iana .org", Fault::FoldingWhiteSpace, 6),
        ("a@iana.org>", Fault::AngleBracket, 10),
        ("\"a>b\"@iana.org", Fault::AngleBracket, 2),
        ("  a@iana.org> SIZE=1", Fault::AngleBracket, 12),
    ] {
        let error = Address::parse(text, STRICT).expect_err(text);
        assert_eq!((error.fault, error.position), (wanted, position), "{text:?}");
    }
}

#[test]
fn p2_lengths() {
    let label = "a".repeat(63);
    let domain = format!("{label}.{label}.{label}.{}.org", "a".repeat(57));
    assert_eq!(domain.len(), 253);
    for (text, wanted, position) in [
        (format!("{}@iana.org", "a".repeat(65)), Fault::LocalTooLong, 64),
        (format!("a@{label}a.org"), Fault::LabelTooLong, 65),
        (format!("a@b.{domain}"), Fault::DomainTooLong, 255),
        (format!("ab@{domain}"), Fault::TooLong, 254),
        (
            format!("{}@{}.org", "a".repeat(64), [label.as_str(); 3].join(".")),
            Fault::TooLong,
            254,
        ),
        // Short as A-labels, long in UTF-8: a server may turn one into the other.
        (
            format!(
                "{}@{}.org",
                "a".repeat(64),
                ["字字字字字字字字字字字字字字"; 5].join(".")
            ),
            Fault::TooLong,
            130,
        ),
    ] {
        let error = Address::parse(&text, STRICT).expect_err(&text);
        assert_eq!((error.fault, error.position), (wanted, position), "{text:?}");
    }
    assert!(Address::parse(&format!("{}@iana.org", "a".repeat(64)), STRICT).is_ok());
    let hostile = format!("{}@{}", "(".repeat(500_000), "\"".repeat(500_000));
    assert_eq!(fault(&hostile), Fault::UnbalancedComment);
}

/// Quadratic work on a hundred thousand characters would run for minutes.
#[test]
fn p2_endless_text_is_refused_in_linear_time() {
    for piece in [
        "a",
        " a",
        "a ",
        " ",
        "@",
        ".",
        "a.",
        "é",
        "é.",
        "א",
        "\u{200d}é",
        "(",
        "()",
        "<",
        "\"",
        "\"\"",
        "%a",
        "a!",
        "xn--",
        "_",
    ] {
        let long = piece.repeat(100_000 / piece.len());
        for text in [
            format!("{long}@iana.org"),
            format!("x@{long}.org"),
            format!("\"{long}\"@iana.org"),
            format!("x {long} x"),
            long,
        ] {
            assert!(Address::parse(&text, STRICT).is_err(), "{piece:?}");
        }
    }
}

#[test]
fn p3_old_forms_have_their_own_faults_and_quotes_pass() {
    for (text, wanted, suggestion) in [
        ("jane(home)@iana.org", Fault::Comment, Some("jane@iana.org")),
        ("(x)jane@iana.org(y)", Fault::Comment, Some("jane@iana.org")),
        ("jane @ iana.org", Fault::FoldingWhiteSpace, Some("jane@iana.org")),
        ("@relay.org:jane@iana.org", Fault::SourceRoute, Some("jane@iana.org")),
        (
            "<@a.org,@b.org:jane@iana.org>",
            Fault::SourceRoute,
            Some("jane@iana.org"),
        ),
        ("jane%iana.org@relay.org", Fault::PercentHack, None),
        ("iana.org!jane@relay.org", Fault::BangPath, None),
        ("Jane Doe <jane@iana.org>", Fault::DisplayName, Some("jane@iana.org")),
        ("a@iana.org; b@iana.org", Fault::SeveralAddresses, None),
        ("jane＠iana.org", Fault::FullWidthAt, Some("jane@iana.org")),
        ("jane@iana.org.", Fault::DomainTrailingDot, Some("jane@iana.org")),
        ("jane@iana,org", Fault::DomainCharacter, Some("jane@iana.org")),
        ("jane@@iana.org", Fault::SeveralAtSigns, Some("jane@iana.org")),
        ("'jane@iana.org'", Fault::DomainCharacter, Some("jane@iana.org")),
        (
            "mailto:jane@iana.org?subject=hi",
            Fault::DomainCharacter,
            Some("jane@iana.org"),
        ),
        ("\"jane\".\"doe\"@iana.org", Fault::MixedQuoting, None),
        // A suggestion that does not parse is none.
        ("jane(home)@example.com", Fault::Comment, None),
        ("jane(x)@@iana.org", Fault::Comment, None),
    ] {
        let error = Address::parse(text, STRICT).expect_err(text);
        assert_eq!(
            (error.fault, error.suggestion.as_deref()),
            (wanted, suggestion),
            "{text:?}"
        );
    }
    for (text, mailbox, quoted, routing) in [
        ("\"jane doe\"@iana.org", "\"jane doe\"@iana.org", true, false),
        ("\"jane\"@iana.org", "jane@iana.org", false, false),
        ("\"a@b\"@iana.org", "\"a@b\"@iana.org", true, true),
        ("-x@iana.org", "-x@iana.org", false, true),
        ("/x@iana.org", "/x@iana.org", false, true),
        ("|x@iana.org", "|x@iana.org", false, true),
        ("a..b@docomo.ne.jp", "\"a..b\"@docomo.ne.jp", true, false),
        ("a.@EZWEB.ne.jp", "\"a.\"@ezweb.ne.jp", true, false),
    ] {
        let address = Address::parse(text, STRICT).expect(text);
        let traits = address.traits();
        assert_eq!(
            (address.mailbox(), traits.quoted_local, traits.routing_character),
            (mailbox, quoted, routing)
        );
    }
}

#[test]
fn p4_deceiving_characters() {
    for (text, wanted, position) in [
        ("pay\u{202E}lap@iana.org", Fault::BidiControl, 3),
        ("pay\u{200B}pal@iana.org", Fault::InvisibleCharacter, 3),
        ("x@ia\u{202E}na.org", Fault::BidiControl, 4),
        ("J\u{FFFD}rg@iana.org", Fault::DamagedEncoding, 1),
        ("x@xn--zzzzzzzzz.org", Fault::IdnaPunycode, 2),
        ("x@xn--a.org", Fault::IdnaPunycode, 2),
        ("x@XN--iana-.org", Fault::DomainHyphen, 10),
        ("x@a\u{200D}b.org", Fault::IdnaContext, 3),
        ("x@א1a.org", Fault::IdnaBidi, 2),
        ("x@\u{301}a.org", Fault::LeadingCombiningMark, 2),
    ] {
        let error = Address::parse(text, STRICT).expect_err(text);
        assert_eq!((error.fault, error.position), (wanted, position), "{text:?}");
    }
    let mixed = Address::parse("x@paypаl.com", STRICT).unwrap();
    assert_eq!(
        mixed.display(),
        "x@xn--paypl-7ve.com",
        "Cyrillic among Latin is shown as it is sent"
    );
    let honest = Address::parse("Jane@BÜCHER.de", STRICT).unwrap();
    assert_eq!(
        (honest.mailbox(), honest.display().as_str()),
        ("Jane@xn--bcher-kva.de", "Jane@bücher.de")
    );
    assert!(honest.traits().mapped);
}

#[test]
fn d24_address_literals_are_refused() {
    for rules in [STRICT, LAB] {
        for (text, wanted) in [
            ("user@[127.0.0.1]", Fault::AddressLiteral),
            ("user@[IPv6:::1]", Fault::AddressLiteral),
            ("user@[ipv6:2001:db8::1]", Fault::AddressLiteral),
            ("user@[2130706433]", Fault::BadAddressLiteral),
            ("user@[0x7f.1]", Fault::BadAddressLiteral),
            ("user@[", Fault::BadAddressLiteral),
            ("user@127.0.0.1", Fault::NumericTld),
            ("user@2130706433", Fault::NumericTld),
            ("user@0x7f000001", Fault::DotlessDomain),
        ] {
            assert_eq!(Address::parse(text, rules).expect_err(text).fault, wanted, "{text}");
        }
    }
}

#[test]
fn d25_special_use_names_single_labels_and_trailing_dots() {
    for name in [
        "localhost",
        "x.localhost",
        "printer.local",
        "db.internal",
        "x.test",
        "x.invalid",
        "x.example",
        "example.com",
        "a.example.net",
        "example.org",
        "x.onion",
        "x.home.arpa",
        "x.alt",
        "ｌocalhost",
        "bücher.test",
    ] {
        let text = format!("user@{name}");
        assert_eq!(fault(&text), Fault::SpecialUse, "{text}");
        assert_eq!(Fault::SpecialUse.name(), "special_use");
        assert_eq!(Address::parse(&text, LAB).is_ok(), name.contains('.'), "{text}");
    }
    for (text, wanted) in [
        ("user@intranet", Fault::DotlessDomain),
        ("user@com", Fault::DotlessDomain),
        ("user@iana.org.", Fault::DomainTrailingDot),
        ("user@localhost.", Fault::DomainTrailingDot),
        ("user@mail.lan", Fault::UnknownTld),
    ] {
        assert_eq!(fault(text), wanted, "{text}");
    }
}

#[test]
fn positions_are_those_of_the_text_as_typed() {
    for (text, position) in [
        ("  \u{FEFF} jane..doe@iana.org", 9),
        ("mailto:ü..x@iana.org", 9),
        ("< jane@ia_na.org >", 9),
        ("日本@日本..jp", 6),
    ] {
        assert_eq!(
            Address::parse(text, STRICT).expect_err(text).position,
            position,
            "{text:?}"
        );
    }
}

#[test]
fn what_was_cleaned_is_told() {
    for text in [
        " a@iana.org",
        "a@iana.org,",
        "<a@iana.org>",
        "MAILTO:a@iana.org",
        "a@iana.org\r\n",
        "\u{A0}a@iana.org",
        "\"a\"@iana.org",
    ] {
        let address = Address::parse(text, STRICT).expect(text);
        assert!(
            address.traits().cleaned && address.mailbox() == "a@iana.org",
            "{text:?}"
        );
    }
    assert!(!Address::parse("a@IANA.org", STRICT).unwrap().traits().cleaned);
}

#[test]
fn duplicates_join_without_regard_to_ascii_case() {
    let parse = |text: &str| Address::parse(text, STRICT).unwrap();
    let (one, two, three) = (
        parse("Jane@IANA.org"),
        parse(" jane@iana.org"),
        parse("\"jane\"@iana.org"),
    );
    assert_eq!(one.join_eq_key(false), two.join_eq_key(false));
    assert_eq!(one.join_hash(false), two.join_hash(false));
    assert_ne!(one.join_eq_key(true), two.join_eq_key(true));
    assert_ne!(one.join_hash(true), two.join_hash(true));
    assert_eq!(two, three);
    assert_ne!(one, two);
    assert_ne!(
        parse("Äb@iana.org").join_hash(false),
        parse("äb@iana.org").join_hash(false)
    );
    assert_eq!(two.join_hash(false), two.join_hash(true));
    assert_eq!(format!("{two:?}"), "Address(***@iana.org)");
}

/// Stored fingerprints must still match after an upgrade.
#[test]
fn the_fingerprint_does_not_change() {
    let address = Address::parse("Jane@iana.org", STRICT).unwrap();
    // SipHash 2-4 worked out apart from std.
    assert_eq!(address.join_hash(false), 0xe10a_931d_f499_51c3_ba1a_ed24_724f_572f);
}

#[test]
fn control_recipients_are_plain() {
    let domain = Domain::parse("lab.test", LAB).unwrap();
    let control = Address::control("q7-x_2.z", &domain).unwrap();
    assert_eq!(
        (control.mailbox(), control.local_part(), control.domain()),
        ("q7-x_2.z@lab.test", "q7-x_2.z", "lab.test")
    );
    for bad in [
        "",
        ".a",
        "a.",
        "a..b",
        "-a",
        "a b",
        "a@b",
        "a+b",
        "ä",
        "\"a\"",
        "a>b",
        "a\r\n",
        &"a".repeat(65),
    ] {
        assert_eq!(Address::control(bad, &domain), None, "{bad:?}");
    }
}

/// Text that looks enough like an address to reach every branch.
fn near_address() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a",
        "B",
        "7",
        ".",
        "..",
        "-",
        "--",
        "+",
        "_",
        "%",
        "!",
        "@",
        "＠",
        "\"",
        "\\",
        "(",
        ")",
        "<",
        ">",
        "[",
        "]",
        ":",
        ",",
        ";",
        " ",
        "\t",
        "\r\n",
        "\n",
        "\0",
        "\u{7f}",
        "\u{85}",
        "é",
        "e\u{301}",
        "\u{301}",
        "字",
        "א",
        "☕",
        "€",
        "\u{200d}",
        "\u{200b}",
        "\u{202e}",
        "\u{37e}",
        "\u{fffd}",
        "。",
        "xn--",
        "xn--bcher-kva",
        "iana.org",
        ".test",
        "docomo.ne.jp",
        "mailto:",
        "@iana.org",
        "\"@iana.org",
    ]);
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// Always with a good domain, so that most get through.
fn near_mailbox() -> impl Strategy<Value = String> {
    let domain = prop::sample::select(vec!["iana.org", "BÜCHER.test", "x.xn--p1ai", "ezweb.ne.jp", "☕.com"]);
    (near_address(), domain).prop_map(|(local, domain)| format!("{}@{domain}", local.replace('@', "")))
}

fn promises_hold(text: &str) -> Result<(), TestCaseError> {
    // What is said in RCPT, what is suggested and what is joined: the same promises that the fuzzers hold it to.
    crate::fuzz::bodies::address::body(text.as_bytes());
    match Address::parse(text, LAB) {
        Ok(address) => {
            let mailbox = address.mailbox();
            prop_assert!(
                !mailbox.chars().any(|c| c.is_control() || c == '<' || c == '>'),
                "{:?}",
                mailbox
            );
            prop_assert!(mailbox.len() <= 254 && address.domain().is_ascii());
            prop_assert_eq!(mailbox, format!("{}@{}", address.local_part(), address.domain()));
            let again = Address::parse(mailbox, LAB);
            prop_assert_eq!(again.as_ref(), Ok(&address), "{:?} from {:?}", mailbox, text);
            let again = again.unwrap().traits();
            prop_assert!(!again.mapped && !again.cleaned, "{:?}", mailbox);
            let shown = Address::parse(&address.display(), LAB);
            prop_assert_eq!(shown.as_ref(), Ok(&address));
            prop_assert_eq!(Domain::parse(address.domain(), LAB), Ok(address.to_domain()));
        }
        Err(error) => {
            prop_assert!(error.position <= text.chars().count());
            if let Some(suggestion) = error.suggestion {
                prop_assert!(Address::parse(&suggestion, LAB).is_ok(), "{:?}", suggestion);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_keeps_the_promises(text in any::<String>()) {
        promises_hold(&text)?;
        promises_hold(&format!("{text}@iana.org"))?;
        promises_hold(&format!("\"{text}\"@iana.org"))?;
        promises_hold(&format!("x@{text}.test"))?;
    }

    #[test]
    fn text_like_an_address_keeps_the_promises(text in near_address(), mailbox in near_mailbox()) {
        promises_hold(&text)?;
        promises_hold(&mailbox)?;
    }

    /// Equal keys and equal fingerprints are the same thing, whoever is asked; exact equality is being sent alike.
    #[test]
    fn keys_and_fingerprints_agree(text in near_mailbox(), other in near_mailbox(), flips in any::<u32>()) {
        let flip = |(at, c): (usize, char)| match c {
            _ if flips >> (at % 32) & 1 == 0 => c,
            _ if c.is_ascii_lowercase() => c.to_ascii_uppercase(),
            _ => c.to_ascii_lowercase(),
        };
        let flipped: String = text.chars().enumerate().map(flip).collect();
        for (one, two) in [(&text, &other), (&text, &flipped)] {
            let (Ok(one), Ok(two)) = (Address::parse(one, LAB), Address::parse(two, LAB)) else {
                continue;
            };
            for exact in [false, true] {
                let equal = one.join_eq_key(exact) == two.join_eq_key(exact);
                prop_assert_eq!(equal, two.join_eq_key(exact) == one.join_eq_key(exact));
                prop_assert_eq!(equal, one.join_hash(exact) == two.join_hash(exact), "{:?} {:?}", one.mailbox(), two.mailbox());
                prop_assert!(!exact || equal == (one == two));
                prop_assert!(equal || one != two);
            }
        }
        if let Some(address) = Address::parse(&text, LAB).ok().filter(|_| text.is_ascii()) {
            let flipped = Address::parse(&flipped, LAB);
            prop_assert_eq!(flipped.map(|flipped| flipped.join_hash(false)), Ok(address.join_hash(false)));
        }
    }

    /// The quick way must say what the long way says: a leading space forces the long way.
    #[test]
    fn the_quick_way_changes_nothing(text in "[a-cA-C0-9.+_'=-]{0,9}@[a-dA-D0-9.-]{0,9}\\.(com|ORG|test|zz9|123|xn--p1ai|c-m|notatld|example.com)") {
        let quick = Address::parse(&text, LAB);
        let long = Address::parse(&format!(" {text}"), LAB);
        match (quick, long) {
            (Ok(quick), Ok(long)) => {
                prop_assert_eq!(quick.mailbox(), long.mailbox());
                prop_assert_eq!(Traits { cleaned: true, ..quick.traits() }, long.traits());
            }
            (Err(quick), Err(long)) => prop_assert_eq!((quick.fault, quick.position + 1), (long.fault, long.position)),
            (quick, long) => prop_assert!(false, "{:?} {:?} {:?}", text, quick, long),
        }
    }
}
