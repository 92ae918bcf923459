//! What a host says about itself is obeyed: LIMITS (RFC 9422) and the test of a first session, counted at the host.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use presend::lab::Line;

use super::{Net, labels, sessions};

/// The lines of each connection.
fn by_connection(lines: &[Line]) -> Vec<Vec<&str>> {
    let mut connections: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for line in lines {
        connections.entry(line.connection).or_default().push(&line.text);
    }
    connections.into_values().collect()
}

fn count(lines: &[&str], verb: &str) -> usize {
    lines.iter().filter(|line| line.starts_with(verb)).count()
}

#[test]
fn rfc_9422_limits_hold_in_every_session() {
    for (pipelining, limits) in [
        ("on", "RCPTMAX=2 MAILMAX=3"),
        ("off", "RCPTMAX=2 MAILMAX=3"),
        ("on", "RCPTDOMAINMAX=1 MAILMAX=2"),
        ("off", "RCPTDOMAINMAX=1 MAILMAX=2"),
        ("on", "RCPTDOMAINMAX=2"),
        ("off", "MAILMAX=1 RCPTMAX=1"),
    ] {
        let net = Net::new(&format!(
            "record_lines = true\n[[host]]\nname = \"mx.limits.test\"\nserves = [\"a.test\", \"b.test\", \"c.test\"]\n\
             mailboxes = [\"u0\", \"u1\", \"u2\", \"u3\"]\npipelining = \"{pipelining}\"\nextensions = [\"LIMITS {limits}\"]\n"
        ));
        let mut list = String::new();
        for domain in ["a.test", "b.test", "c.test"] {
            for user in 0..5 {
                let _ = writeln!(list, "u{user}@{domain}");
            }
        }
        let ran = net.verify(&list, &[]);
        for (address, came) in labels(&ran) {
            let expected = if address.starts_with("u4") {
                "invalid mailbox_unknown"
            } else {
                "valid mailbox_exists"
            };
            assert_eq!(came, expected, "{address}, {limits}");
        }
        let most = |name: &str| {
            let value = limits
                .split(' ')
                .find_map(|limit| limit.strip_prefix(name)?.strip_prefix('='));
            value.map_or(usize::MAX, |value| value.parse().unwrap())
        };
        let lines = net.seen("mx.limits.test").lines;
        for lines in by_connection(&lines) {
            assert!(count(&lines, "MAIL") <= most("MAILMAX"), "{limits}: {lines:?}");
            let domains: BTreeSet<&str> = lines
                .iter()
                .filter_map(|line| line.strip_prefix("RCPT TO:<")?.strip_suffix('>')?.split('@').nth(1))
                .collect();
            assert!(domains.len() <= most("RCPTDOMAINMAX"), "{limits}: {lines:?}");
            for transaction in lines.split(|line| line.starts_with("MAIL")).skip(1) {
                assert!(count(transaction, "RCPT") <= most("RCPTMAX"), "{limits}: {lines:?}");
            }
        }
        assert_eq!(sessions(&net.lab.counters()).1, 0, "sessions left without QUIT");
    }
}

#[test]
fn r13_after_a_first_session_test_the_same_client_comes_back_at_once() {
    for pipelining in ["on", "off"] {
        let net = Net::new(&format!(
            "record_lines = true\n[[host]]\nname = \"mx.deep.test\"\nserves = [\"deep.test\", \"two.test\"]\n\
             mailboxes = [\"jane\", \"joe\"]\nfirst_session_test = true\npipelining = \"{pipelining}\"\n"
        ));
        let list = "jane@deep.test\njoe@deep.test\nnobody@deep.test\njane@two.test\n";
        let sources = ["--source-ip", "127.78.0.1,127.78.0.2,127.78.0.3", "--no-wait"];
        let came = labels(&net.verify(list, &sources));
        assert_eq!(came["jane@deep.test"], "valid mailbox_exists");
        assert_eq!(came["nobody@deep.test"], "invalid mailbox_unknown");
        assert_eq!(
            came["jane@two.test"], "valid mailbox_exists",
            "and its control recipient too"
        );
        let host = net.seen("mx.deep.test");
        assert_eq!(host.connections, 2, "the tested session, and one for everybody");
        assert_eq!(host.clients.len(), 1, "{:?}", host.clients);
        let connections = by_connection(&host.lines);
        if pipelining == "off" {
            assert_eq!(
                count(&connections[0], "RCPT"),
                1,
                "one test is enough: {:?}",
                connections[0]
            );
        }
        for lines in &connections {
            assert_eq!(lines.last(), Some(&"QUIT"));
        }
    }
}

#[test]
fn r13_a_host_that_is_not_ours_is_met_again_politely() {
    let net = Net::new(
        "[[host]]\nname = \"mx.polite.example\"\nserves = [\"polite.example\"]\nmailboxes = [\"a\"]\nfirst_session_test = true\n",
    );
    let ran = net.run(&["check", "--json", "a@polite.example"]);
    assert!(ran.out.contains("\"reason\":\"mailbox_exists\""), "{}", ran.out);
    assert!(
        ran.out.contains("\"attempts\":1"),
        "the test is no attempt: {}",
        ran.out
    );
    let host = net.seen("mx.polite.example");
    assert_eq!((host.connections, host.recipients, host.deferred), (2, 3, 1));
}
