//! Routes: what the DNS says about a domain, what follows, and that nobody is dialled who must not be.

use std::fmt::Write as _;

use super::{Net, differences, labels, sessions};

const VALID: &str = "valid mailbox_exists";
const NO_MAIL_HOST: &str = "invalid no_mail_host";
const PRIVATE: &str = "unknown mx_private";

/// HOSTILE.md id, which is the domain as well; its records as docs/lab.md has them; label and reason of `jane` there.
#[rustfmt::skip]
const CASES: &[(&str, &str, &str)] = &[
    ("d1-localhost", "mx = \"10 localhost\"", NO_MAIL_HOST),
    ("d1-below-localhost", "mx = \"10 mx.localhost\"", NO_MAIL_HOST),
    ("d4-reserved", "a = \"240.0.0.25\"", PRIVATE),
    ("d4-documentation", "a = \"192.0.2.25\"", PRIVATE),
    ("d4-benchmark", "a = \"198.18.0.25\"", PRIVATE),
    ("d4-multicast", "a = \"224.0.0.25\"", PRIVATE),
    ("d4-unspecified", "a = \"0.0.0.0\"", PRIVATE),
    ("d4-broadcast", "a = \"255.255.255.255\"", PRIVATE),
    ("d3-mapped", "a = \"::ffff:240.0.0.25\"", PRIVATE),
    ("d3-6to4", "a = \"2002:e000:1::1\"", PRIVATE),
    ("d5-mixed", "a = [\"240.0.0.25\", \"mx.known.test\"]", VALID),
    ("d7-number", "mx = \"10 192.0.2.25\"", "unknown mx_is_ip"),
    ("d8-alias", "cname = \"known.test\"", VALID),
    ("d8-loop", "cname = \"other.d8-loop.test\"\n[[domain]]\nname = \"other.d8-loop.test\"\ncname = \"d8-loop.test\"", "unknown dns_loop"),
    ("d9-null", "mx = \"0 .\"\na = \"mx.known.test\"", "invalid null_mx"),
    ("d10-null-and-more", "mx = [\"0 .\", \"10 mx.known.test\"]", VALID),
    ("d11-zero", "mx = \"0 mx.known.test\"", VALID),
    ("d12-implicit", "a = \"mx.known.test\"", VALID),
    ("d13-nowhere", "mx = \"10 mx.nowhere.test\"\na = \"mx.known.test\"", "unknown mx_unresolvable"),
    ("d14-nodata", "txt = \"v=spf1 -all\"", NO_MAIL_HOST),
    ("d14-servfail", "fail = \"servfail\"", "unknown dns_servfail"),
    ("d14-refused", "fail = \"refused\"", "unknown dns_refused"),
    ("d14-nxdomain", "fail = \"nxdomain\"", "invalid no_such_domain"),
    ("d17-truncated", "fail = \"truncate\"", "unknown dns_malformed"),
    ("d20-wildcard", "mx = \"10 mx.known.test\"\nwildcard = true", VALID),
    ("d23-ttl-zero", "mx = \"10 mx.known.test\"\nttl = 0", VALID),
];

/// A host that takes `jane` at every domain that leads to it.
const KNOWN: &str = "[[host]]\nname = \"mx.known.test\"\nserves = [\"known.test\"]\nmailboxes = [\"jane\"]\n";

#[test]
fn every_answer_of_the_dns_has_its_label() {
    let routed = CASES.iter().filter(|(_, _, expected)| *expected == VALID);
    let serves: Vec<String> = routed.map(|(id, ..)| format!("\"{id}.test\"")).collect();
    let mut world = KNOWN.replace("\"known.test\"", &format!("\"known.test\", {}", serves.join(", ")));
    let mut list = String::from("address\n");
    for (id, records, _) in CASES {
        let _ = writeln!(world, "[[domain]]\nname = \"{id}.test\"\n{records}");
        let _ = writeln!(list, "jane@{id}.test");
    }
    // Nowhere in the world; and asked of nobody, whatever the flags say.
    list.push_str(
        "jane@d14-unknown.test\njane@d25.onion\njane@deep.d20-wildcard.test\njane@[127.0.0.1]\njane@[2130706433]\n",
    );
    let net = Net::new(&world);
    let ran = net.verify(&list, &[]);
    assert!(ran.code == 0 || ran.code == 3, "{}: {}", ran.code, ran.err);

    let expected: Vec<(String, &str)> = CASES
        .iter()
        .map(|(id, _, expected)| (format!("jane@{id}.test"), *expected))
        .chain([
            ("jane@d14-unknown.test".into(), "invalid no_such_domain"),
            ("jane@[127.0.0.1]".into(), "invalid syntax_address_literal"),
            ("jane@[2130706433]".into(), "invalid syntax_bad_address_literal"),
        ])
        .collect();
    let expected = expected.iter().map(|(address, expected)| (address.as_str(), *expected));
    let wrong = differences(expected, &labels(&ran));
    assert!(wrong.is_empty(), "{wrong:#?}");
    let counters = net.lab.counters();
    assert!(
        counters.dns.keys().all(|question| !question.ends_with("onion")),
        "{:?}",
        counters.dns
    );
}

#[test]
fn d2_private_hosts_are_not_dialled_without_the_flag() {
    let net = Net::new(
        "[[host]]\nname = \"mx.inside.com\"\nserves = [\"inside.com\"]\ncatch_all = true\n
         [[domain]]\nname = \"metadata.com\"\nmx = \"10 mx.metadata.com\"\n[[domain]]\nname = \"mx.metadata.com\"\na = \"169.254.169.254\"\n
         [[domain]]\nname = \"lan.com\"\na = [\"10.0.0.1\", \"192.168.1.1\", \"fd00::1\"]\n",
    );
    net.place
        .write("list.txt", "jane@inside.com\njane@metadata.com\njane@lan.com\n");
    let (dns, port) = (net.lab.dns().to_string(), net.lab.smtp_port().to_string());
    let arguments = ["verify", "list.txt", "--nameserver", &dns, "--smtp-port", &port];
    let ran = net.place.run(&[&arguments[..], &super::IDENTITY].concat());
    let expected = [
        ("jane@inside.com", NO_MAIL_HOST),
        ("jane@metadata.com", PRIVATE),
        ("jane@lan.com", PRIVATE),
    ];
    assert_eq!(differences(expected, &labels(&ran)), [""; 0], "{}", ran.err);
    assert_eq!(sessions(&net.lab.counters()), (0, 0));
}

#[test]
fn d15_hundreds_of_exchangers_cost_five_addresses() {
    let many: Vec<String> = (0..398).map(|n| format!("\"{} mx{n}.many.test\"", n % 117)).collect();
    let mut world = format!("{KNOWN}[[domain]]\nname = \"many.test\"\nmx = [{}]\n", many.join(", "));
    for n in 0..398 {
        let _ = writeln!(
            world,
            "[[domain]]\nname = \"mx{n}.many.test\"\na = \"127.199.{}.{}\"",
            n / 250,
            n % 250 + 1
        );
    }
    let net = Net::new(&world);
    let ran = net.verify("jane@many.test\n", &["--no-wait"]);
    assert_eq!(
        differences([("jane@many.test", "unknown unreachable")], &labels(&ran)),
        [""; 0]
    );
    let asked = net
        .lab
        .counters()
        .dns
        .keys()
        .filter(|question| question.contains("mx"))
        .count();
    assert!(asked <= 2 * 20, "{asked} questions about hosts");
}

#[test]
fn d20_one_lookup_serves_all_addresses_of_a_domain() {
    let net = Net::new(KNOWN);
    let list = super::users(50, "known.test");
    assert_eq!(net.verify(&list, &[]).code, 0);
    assert_eq!(net.lab.counters().dns["MX known.test"], 1);
    assert_eq!(sessions(&net.lab.counters()), (1, 0));
}

#[test]
fn d20_a_flag_for_zones_that_answer_every_name_costs_ordinary_lists_nothing() {
    let net = Net::new(
        "[[host]]\nname = \"mx.known.test\"\nserves = [\"known.test\", \"mail.known.test\", \"wild.test\", \"typo.wild.test\", \"typo.gmail.com\"]\n\
         mailboxes = [\"jane\"]\n[[domain]]\nname = \"wild.test\"\nmx = \"10 mx.known.test\"\nwildcard = true\n\
         [[domain]]\nname = \"gmail.com\"\nmx = \"10 mx.known.test\"\nwildcard = true\n\
         [[domain]]\nname = \"mail.known.test\"\nmx = \"10 mx.known.test\"\n",
    );
    let flagged = |list: &str| -> Vec<bool> {
        let ran = net.verify(list, &["--format", "ndjson"]);
        let results = ran
            .out
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        results
            .map(|result| result["presend"]["flags"]["wildcard_zone"].as_bool().unwrap())
            .collect()
    };
    let mail = || {
        net.lab
            .counters()
            .dns
            .iter()
            .filter(|(asked, _)| asked.starts_with("MX "))
            .map(|(_, count)| count)
            .sum::<u64>()
    };
    let canary = 2;
    let ordinary = "jane@known.test\njane@wild.test\njane@typo.gmail.com\n";
    assert_eq!(flagged(ordinary), [false; 3]);
    assert_eq!(mail(), 3 + canary, "one question a domain");
    assert_eq!(flagged("jane@typo.wild.test\njane@mail.known.test\n"), [true, false]);
    assert_eq!(
        mail(),
        3 + canary + 4 + canary,
        "and one a registrable domain for names below it"
    );
}
