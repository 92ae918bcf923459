//! What a list costs the hosts that are asked. What hosts do to us is in `tests/cases`.

use super::{Net, differences, labels, sessions};

const VALID: &str = "valid mailbox_exists";
const NOBODY: &str = "invalid mailbox_unknown";

#[test]
fn a_list_at_a_host_that_is_not_ours_is_asked_about_politely() {
    let net = Net::new(
        "[[host]]\nname = \"mx.polite.example\"\nserves = [\"polite.example\"]\nmailboxes = [\"a\", \"b\"]\nstarttls = \"on\"\n",
    );
    let ran = net.verify("a@polite.example\nb@polite.example\nA@polite.example\n", &[]);
    let expected = [
        ("a@polite.example", VALID),
        ("b@polite.example", VALID),
        ("A@polite.example", VALID),
    ];
    assert!(differences(expected, &labels(&ran)).is_empty(), "{}", ran.out);
    let host = net.seen("mx.polite.example");
    assert_eq!(
        (host.connections, host.recipients, host.refused),
        (1, 3, 1),
        "two recipients and the control recipient"
    );
    let gaps = host.rcpt_at_us.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(
        gaps.into_iter().all(|gap| gap > 900_000),
        "a second apart: {:?}",
        host.rcpt_at_us
    );
    assert_eq!(sessions(&net.lab.counters()), (1, 0));
}

#[test]
fn one_session_serves_the_domains_of_a_host() {
    let net = Net::new(
        "[[host]]\nname = \"mx.hoster.test\"\nserves = [\"a.test\", \"b.test\", \"c.test\"]\nmailboxes = [\"jane\"]\ndomains_max = 1\n",
    );
    let ran = net.verify("jane@a.test\njoe@a.test\njane@b.test\njane@c.test\n", &[]);
    let expected = [
        ("jane@a.test", VALID),
        ("joe@a.test", NOBODY),
        ("jane@b.test", VALID),
        ("jane@c.test", VALID),
    ];
    assert!(differences(expected, &labels(&ran)).is_empty(), "{}", ran.out);
    assert_eq!(sessions(&net.lab.counters()), (1, 0));
}
