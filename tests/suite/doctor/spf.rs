//! SPF: the examples of RFC 7208 and its limits.

use presend::doctor::spf::{Checked, Sender, SpfResult, check_host};

use super::{fake_dns::FakeDns, ip};

async fn check(dns: &FakeDns, address: &str, domain: &str) -> Checked {
    let sender = Sender {
        ip: ip(address),
        helo: "mx.example.org",
        local_part: "strong-bad",
        domain,
    };
    check_host(dns, sender).await
}

async fn name(zone: &str, address: &str, domain: &str) -> &'static str {
    check(&FakeDns::new(zone), address, domain).await.result.name()
}

/// The zone of RFC 7208 appendix A.
const APPENDIX_A: &str = "\
example.com MX 10 mail-a.example.com
example.com MX 20 mail-b.example.com
example.com A 192.0.2.10
example.com A 192.0.2.11
amy.example.com A 192.0.2.65
bob.example.com A 192.0.2.66
mail-a.example.com A 192.0.2.129
mail-b.example.com A 192.0.2.130
example.org MX 10 mail-c.example.org
mail-c.example.org A 192.0.2.140
10.2.0.192.in-addr.arpa PTR example.com
11.2.0.192.in-addr.arpa PTR example.com
65.2.0.192.in-addr.arpa PTR amy.example.com
66.2.0.192.in-addr.arpa PTR bob.example.com
129.2.0.192.in-addr.arpa PTR mail-a.example.com
130.2.0.192.in-addr.arpa PTR mail-b.example.com
140.2.0.192.in-addr.arpa PTR mail-c.example.org
10.0.0.4.in-addr.arpa PTR bob.example.com
";

#[tokio::test(start_paused = true)]
async fn simple_examples_of_appendix_a_1() {
    for (record, passing, failing) in [
        ("+all", &["192.0.2.1", "203.0.113.9"][..], &[][..]),
        ("a -all", &["192.0.2.10", "192.0.2.11"], &["192.0.2.65"]),
        ("a:example.org -all", &[], &["192.0.2.10", "192.0.2.140"]),
        ("mx -all", &["192.0.2.129", "192.0.2.130"], &["192.0.2.10"]),
        ("mx:example.org -all", &["192.0.2.140"], &["192.0.2.129"]),
        (
            "mx mx:example.org -all",
            &["192.0.2.129", "192.0.2.130", "192.0.2.140"],
            &["192.0.2.10"],
        ),
        (
            "mx/30 mx:example.org/30 -all",
            &["192.0.2.131", "192.0.2.143"],
            &["192.0.2.132", "192.0.2.139"],
        ),
        (
            "ptr -all",
            &["192.0.2.10", "192.0.2.65", "192.0.2.66"],
            &["192.0.2.140", "10.0.0.4"],
        ),
        (
            "ip4:192.0.2.128/28 -all",
            &["192.0.2.129", "192.0.2.143"],
            &["192.0.2.65", "192.0.2.144"],
        ),
    ] {
        let zone = format!("{APPENDIX_A}example.com TXT v=spf1 {record}\n");
        for address in passing {
            assert_eq!(name(&zone, address, "example.com").await, "pass", "{record} {address}");
        }
        for address in failing {
            assert_eq!(name(&zone, address, "example.com").await, "fail", "{record} {address}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn several_domains_and_black_lists_of_appendix_a_2_and_a_3() {
    let zone = format!(
        "{APPENDIX_A}example.com TXT v=spf1 -all\n\
         la.example.com TXT v=spf1 redirect=example.org\n\
         ny.example.com TXT v=spf1 include:example.com include:example.org -all\n\
         example.org TXT v=spf1 include:example.com include:example.net -all\n\
         example.net TXT v=spf1 mx:example.org -all\n\
         listed.example.com TXT v=spf1 -exists:%{{ir}}.sbl.example.org ip4:192.0.2.0/24 -all\n\
         65.2.0.192.sbl.example.org A 127.0.0.2\n\
         users.example.com TXT v=spf1 exists:%{{l1r-}}.%{{ir}}.users.%{{d2}} -all\n\
         strong.140.2.0.192.users.example.com A 127.0.0.2\n"
    );
    for (address, domain, expected) in [
        ("192.0.2.140", "la.example.com", "pass"),
        ("192.0.2.140", "ny.example.com", "pass"),
        ("192.0.2.129", "ny.example.com", "fail"),
        ("192.0.2.64", "listed.example.com", "pass"),
        ("192.0.2.65", "listed.example.com", "fail"),
        ("203.0.113.1", "listed.example.com", "fail"),
        ("192.0.2.140", "users.example.com", "pass"),
        ("192.0.2.141", "users.example.com", "fail"),
        ("192.0.2.1", "none.example.com", "none"),
        ("192.0.2.1", "com", "none"),
        ("192.0.2.1", "a..example.com", "none"),
        ("::ffff:192.0.2.140", "la.example.com", "pass"),
        ("2001:db8::1", "la.example.com", "fail"),
    ] {
        assert_eq!(name(&zone, address, domain).await, expected, "{domain} {address}");
    }
    let checked = check(&FakeDns::new(&zone), "192.0.2.140", "ny.example.com").await;
    assert_eq!(checked.term.as_deref(), Some("include:example.org"));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_found_out_is_no_answer() {
    for (zone, expected) in [
        ("example.com SERVFAIL", "temperror"),
        (
            "example.com TXT v=spf1 include:b.example -all\nb.example SERVFAIL",
            "temperror",
        ),
        ("example.com TXT v=spf1 a:b.example -all\nb.example SILENT", "temperror"),
        (
            "example.com TXT v=spf1 ptr -all\n1.2.0.192.in-addr.arpa SERVFAIL",
            "fail",
        ),
        (
            "example.com TXT v=spf1 include:b.example -all\nb.example TXT v=spf1 moo",
            "permerror",
        ),
        (
            "example.com TXT v=spf1 include:b.example -all\nb.example TXT v=spf2",
            "permerror",
        ),
        ("example.com TXT v=spf1 redirect=b.example", "permerror"),
        ("example.com TXT v=spf1 -all\nexample.com TXT v=spf1 +all", "permerror"),
        ("example.com TXT v=spf1 +all\nexample.com TXT v=spf10", "pass"),
        ("example.com TXT v=spf1 ip4:192.0.2.1 moo", "permerror"),
    ] {
        assert_eq!(name(zone, "192.0.2.1", "example.com").await, expected, "{zone}");
    }
}

/// What `line` says of each number, in one text.
fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(line).collect::<Vec<_>>().concat()
}

#[tokio::test(start_paused = true)]
async fn limits_hold_and_loops_end() {
    let terms = |count: usize| lines(count, |n| format!("a:h{n}.example "));
    let hosts = |count: usize| lines(count, |n| format!("h{n}.example A 203.0.113.{n}\n"));
    let with = |record: String| format!("example.com TXT v=spf1 {record}-all\n{}", hosts(12));
    assert_eq!(name(&with(terms(10)), "192.0.2.1", "example.com").await, "fail");
    assert_eq!(name(&with(terms(11)), "192.0.2.1", "example.com").await, "permerror");
    // What matches before the limit counts.
    assert_eq!(
        name(
            &with(format!("a:h5.example {}", terms(11))),
            "203.0.113.5",
            "example.com"
        )
        .await,
        "pass"
    );
    let void = |count: usize| lines(count, |n| format!("a:no{n}.example "));
    assert_eq!(name(&with(void(2)), "192.0.2.1", "example.com").await, "fail");
    assert_eq!(name(&with(void(3)), "192.0.2.1", "example.com").await, "permerror");
    for record in [
        "include:example.com -all",
        "redirect=example.com",
        "a:h0.example redirect=%{d}",
    ] {
        let dns = FakeDns::new(&format!("example.com TXT v=spf1 {record}\nh0.example A 203.0.113.1\n"));
        assert_eq!(
            check(&dns, "192.0.2.1", "example.com").await.result.name(),
            "permerror",
            "{record}"
        );
        assert!(dns.asked.lock().unwrap().len() < 25, "{record}");
    }
    let many = lines(11, |n| format!("example.com MX 10 h{n}.example\n"));
    let zone = format!("{}{many}", with("mx ".into()));
    assert_eq!(name(&zone, "192.0.2.1", "example.com").await, "permerror");
    // Of many names of an address ten are looked at.
    let names = lines(12, |n| {
        format!("9.113.0.203.in-addr.arpa PTR p{n}.example.com\np{n}.example.com A 203.0.113.9\n")
    });
    let dns = FakeDns::new(&format!(
        "example.com TXT v=spf1 ptr:p11.example.com ptr:p9.example.com -all\n{names}"
    ));
    let checked = check(&dns, "203.0.113.9", "example.com").await;
    assert_eq!(checked.result, SpfResult::Pass);
    assert_eq!(checked.term.as_deref(), Some("ptr:p9.example.com"));
}
