//! From where mail hosts are asked: source addresses, as the hosts see them, and IP versions.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    net::{IpAddr, TcpListener},
};

use super::{Net, differences, labels};

const SOURCES: [&str; 2] = ["127.77.0.1", "127.77.0.2"];

#[test]
fn a_group_is_asked_from_one_source_in_every_run() {
    let mut world = String::new();
    let mut list = String::from("address\n");
    for n in 0..6 {
        let _ = writeln!(
            world,
            "[[host]]\nname = \"mx.g{n}.test\"\nserves = [\"g{n}.test\"]\nmailboxes = [\"jane\"]\ngreylist_ms = 1"
        );
        let _ = write!(list, "jane@g{n}.test\nnobody@g{n}.test\n");
    }
    let net = Net::new(&world);
    let seen = || -> BTreeMap<String, BTreeMap<IpAddr, u64>> {
        let hosts = net.lab.counters().hosts.into_iter();
        hosts.map(|(name, host)| (name, host.clients)).collect()
    };
    let arguments = ["--no-wait", "--source-ip", &SOURCES.join(",")];
    let came = labels(&net.verify(&list, &arguments));
    assert_eq!(came["jane@g0.test"], "unknown greylisted");
    let first = seen();
    let used: BTreeSet<String> = first.values().flat_map(BTreeMap::keys).map(IpAddr::to_string).collect();
    assert_eq!(used, SOURCES.map(str::to_owned).into(), "both are used: {first:?}");

    // The hosts know who asked before: only the same source is let through.
    let came = labels(&net.verify(&list, &arguments));
    for n in 0..6 {
        assert_eq!(came[&format!("jane@g{n}.test")], "valid mailbox_exists", "{came:?}");
    }
    for (host, clients) in seen() {
        assert_eq!(clients.len(), 1, "{host} saw {clients:?}");
        assert_eq!(clients.keys().next(), first[&host].keys().next(), "{host}");
    }
}

#[test]
fn a_source_that_is_not_here_is_an_error_before_anybody_is_asked() {
    let net = Net::plain();
    let case = |arguments: &[&str], said: &str| {
        let ran = net.run(&[&["check", "jane@known.test"][..], arguments].concat());
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(said), "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains("hint: "), "{}", ran.err);
    };
    case(
        &["--source-ip", "127.0.0.1,192.0.2.77"],
        "`--source-ip` cannot be used: 192.0.2.77 is not an address of this machine",
    );
    case(&["--source-ip", "0.0.0.0"], "0.0.0.0 is not the address of one machine");
    case(
        &["--source-ip", "127.0.0.1", "--ip", "only-v6"],
        "no source address is IPv6, and no other addresses are wanted",
    );
    case(
        &["--source-ip", "127.0.0.1", "--proxy", "socks5://127.0.0.1:1080"],
        "`--source-ip` and `--proxy` cannot be used together",
    );
    let dns = net.lab.counters().dns;
    assert!(dns.is_empty(), "{dns:?}");
    assert_eq!(net.seen("mx.known.test").connections, 0);
}

const FAMILIES: &str = r#"
[[host]]
name = "mx.four.test"
serves = ["four.test"]
mailboxes = ["jane", "jane@implicit.test"]

[[domain]]
name = "implicit.test"
a = ["mx.four.test"]

[[domain]]
name = "none.test"
"#;

#[test]
fn a_family_that_is_not_used_is_not_asked_about_and_proves_nothing() {
    let net = Net::new(FAMILIES);
    let list = "jane@four.test\nnobody@four.test\njane@implicit.test\njane@none.test\n";
    let ran = net.verify(list, &["--ip", "only-v6"]);
    let expected = [
        ("jane@four.test", "unknown ip_family_unused"),
        ("nobody@four.test", "unknown ip_family_unused"),
        ("jane@implicit.test", "unknown ip_family_unused"),
        ("jane@none.test", "invalid no_mail_host"),
    ];
    assert_eq!(differences(expected, &labels(&ran)), Vec::<String>::new());
    assert_eq!(net.seen("mx.four.test").connections, 0);

    let net = Net::new(FAMILIES);
    for arguments in [["--ip", "only-v4"], ["--source-ip", "127.0.0.1"]] {
        let ran = net.verify("jane@four.test\n", &arguments);
        assert_eq!(labels(&ran)["jane@four.test"], "valid mailbox_exists", "{}", ran.err);
    }
    let dns = net.lab.counters().dns;
    assert_eq!(
        (dns.get("A mx.four.test"), dns.get("AAAA mx.four.test")),
        (Some(&2), None),
        "{dns:?}"
    );
}

#[test]
fn the_preferred_family_comes_first() {
    if TcpListener::bind("[::1]:0").is_err() {
        // This machine has no IPv6 at all; the order itself is tested in `dns::route`.
        return;
    }
    let world = r#"
        [[host]]
        name = "mx.four.test"
        serves = ["both.test"]
        mailboxes = ["jane"]
        [[host]]
        name = "mx.six.test"
        ip = "::1"
        serves = ["both.test"]
        mailboxes = ["jane"]
        [[domain]]
        name = "both.test"
        a = ["mx.four.test", "mx.six.test"]
    "#;
    for (arguments, expected) in [
        (&["--ip", "prefer-v6"][..], (0, 1)),
        (&["--ip", "only-v6"], (0, 1)),
        (&["--ip", "prefer-v4"], (1, 0)),
        (&["--ip", "only-v4"], (1, 0)),
        (&["--ip", "prefer-v6", "--source-ip", "127.0.0.1"], (1, 0)),
        (&["--ip", "prefer-v4", "--source-ip", "::1"], (0, 1)),
    ] {
        let net = Net::new(world);
        let ran = net.verify("jane@both.test\n", arguments);
        assert_eq!(labels(&ran)["jane@both.test"], "valid mailbox_exists", "{}", ran.err);
        let connections = ["mx.four.test", "mx.six.test"].map(|host| net.seen(host).connections);
        assert_eq!((connections[0], connections[1]), expected, "{arguments:?}");
    }
}
