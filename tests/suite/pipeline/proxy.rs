//! Through a SOCKS5 proxy: the names are resolved here, and what the proxy does wrong is never said of a mail host.

use std::{collections::BTreeSet, fmt::Write as _, net::TcpListener};

use serde_json::Value;

use super::{IDENTITY, Net, differences, labels};
use crate::{
    cli::Ran,
    socks::{Mode, Socks},
};

const PATIENCE: [&str; 2] = ["--timeout-connect", "900ms"];

fn check(net: &Net, proxy: &str) -> (i32, String, Ran) {
    let ran = net.run(&[&["check", "--json", "jane@known.test", "--proxy", proxy][..], &PATIENCE].concat());
    let result: Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{}{}", ran.out, ran.err));
    let said = [&result["label"], &result["reason"]].map(|value| value.as_str().unwrap().to_owned());
    (ran.code, said.join(" "), ran)
}

#[test]
fn hosts_are_asked_through_the_proxy_by_their_addresses() {
    for mode in [Mode::Good, Mode::Trickle] {
        let net = Net::new(
            "[[host]]\nname = \"mx.a.test\"\nserves = [\"a.test\"]\nmailboxes = [\"jane\"]\nstarttls = \"on\"\n\
             [[host]]\nname = \"mx.b.test\"\nserves = [\"b.test\"]\ncatch_all = true\n\
             [[host]]\nname = \"mx.c.test\"\nserves = [\"c.test\"]\ndown = true\n",
        );
        let socks = Socks::start(mode);
        let list = "jane@a.test\nnobody@a.test\njane@b.test\njane@c.test\njane@gone.test\n";
        let ran = net.verify(list, &["--no-wait", "--proxy", &socks.url()]);
        let expected = [
            ("jane@a.test", "valid mailbox_exists"),
            ("nobody@a.test", "invalid mailbox_unknown"),
            ("jane@b.test", "catch-all accepts_all"),
            // The proxy says "connection refused", which is about the host.
            ("jane@c.test", "unknown unreachable"),
            ("jane@gone.test", "invalid no_such_domain"),
        ];
        assert_eq!(differences(expected, &labels(&ran)), Vec::<String>::new(), "{mode:?}");
        let asked: BTreeSet<_> = socks.requests().into_iter().collect();
        let hosts = ["mx.a.test", "mx.b.test", "mx.c.test"].map(|host| net.lab.host(host));
        assert_eq!(asked, hosts.into(), "addresses, never names");
        let direct = net.lab.counters().sum(|host| host.connections);
        assert_eq!(
            socks.requests().len() as u64,
            direct + 1,
            "nobody was asked past the proxy"
        );
    }
}

#[test]
fn what_the_proxy_says_is_about_the_host_only_where_it_says_so() {
    let net = Net::plain();
    for (code, reason) in [
        (1, "proxy_failed"),
        (2, "proxy_failed"),
        (3, "proxy_failed"),
        (4, "unreachable"),
        (5, "unreachable"),
        (6, "proxy_failed"),
        (7, "proxy_failed"),
        (8, "proxy_failed"),
        (99, "proxy_failed"),
    ] {
        let socks = Socks::start(Mode::Reply(code));
        let (exit, said, _) = check(&net, &socks.url());
        assert_eq!((exit, said), (3, format!("unknown {reason}")), "reply {code}");
        assert_eq!(socks.requests(), [net.lab.host("mx.known.test")]);
    }
    assert_eq!(net.seen("mx.known.test").connections, 0);
}

#[test]
fn a_proxy_that_fails_makes_nobody_invalid() {
    let net = Net::plain();
    for mode in [
        Mode::Silent,
        Mode::SilentAtRequest,
        Mode::Close,
        Mode::Garbage(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        Mode::Garbage(b"\x05\x00\x05\x00\x07\xff"),
        Mode::Garbage(b"\x05\x00\x05\x00\x00\x03"),
        Mode::Garbage(b"\x05\x02"),
        Mode::Garbage(b"\x05\x77"),
        Mode::Login("me", "secret"),
    ] {
        let (exit, said, _) = check(&net, &Socks::start(mode).url());
        assert_eq!((exit, said.as_str()), (3, "unknown proxy_failed"), "{mode:?}");
    }
    // Nobody listens there any more.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let list = "jane@known.test\nnobody@known.test\n";
    let ran = net.verify(list, &["--no-wait", "--proxy", &format!("socks5://{closed}")]);
    let expected = [
        ("jane@known.test", "unknown proxy_failed"),
        ("nobody@known.test", "unknown proxy_failed"),
    ];
    assert_eq!(differences(expected, &labels(&ran)), Vec::<String>::new());
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert_eq!(net.seen("mx.known.test").connections, 0);
}

#[test]
fn a_dead_proxy_ends_the_run_instead_of_being_tried_for_hours() {
    let mut world = String::new();
    let mut list = String::new();
    for n in 0..12 {
        let _ = writeln!(
            world,
            "[[host]]\nname = \"mx.a{n}.test\"\nserves = [\"a{n}.test\"]\nmailboxes = [\"jane\"]"
        );
        let _ = writeln!(list, "jane@a{n}.test");
    }
    let net = Net::new(&world);
    // Nobody listens on that port; one that was free a moment ago may be another test's by now. The ladder would take hours.
    let ran = net.verify(&list, &["--proxy", "socks5://127.0.0.1:1"]);
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert!(
        labels(&ran).values().all(|said| said == "unknown proxy_failed"),
        "{}",
        ran.out
    );
    assert!(
        ran.err.contains("the proxy let some hosts or all go unasked"),
        "{}",
        ran.err
    );
}

#[test]
fn a_login_opens_the_proxy_and_is_never_repeated() {
    let net = Net::plain();
    let socks = Socks::start(Mode::Login("me", "hush:hush@home"));
    let url = |password: &str| format!("socks5://me:{password}@{}", socks.address);
    let (right, wrong) = (url("hush%3Ahush%40home"), url("hushhush"));
    let (exit, said, _) = check(&net, &right);
    assert_eq!((exit, said.as_str()), (0, "valid mailbox_exists"));
    assert_eq!(check(&net, &wrong).1, "unknown proxy_failed");
    for proxy in [
        &right,
        &wrong,
        &url("hush/hush"),
        &format!("ftp://me:hush@{}", socks.address),
    ] {
        let proxied = format!("proxy = \"{proxy}\"\n");
        net.place.write("good.toml", &proxied);
        net.place.write("broken.toml", proxied.replace("\"\n", "\n"));
        net.place.write("list.toml", format!("proxy = [\"{proxy}\"]\n"));
        for arguments in [
            &["check", "-v", "jane@known.test", "--proxy", proxy][..],
            &["verify", "nothing.csv", "--proxy", proxy],
            &["config", "show", "--proxy", proxy],
            &["config", "show", "--json", "--proxy", proxy],
            &["config", "check", "good.toml"],
            &["config", "check", "broken.toml"],
            &["config", "check", "list.toml"],
        ] {
            let mut command = net.place.command(arguments);
            if arguments[0] == "check" {
                command.args(net.flags()).args(IDENTITY).args(PATIENCE);
            }
            let ran = Ran::from(command.env("PRESEND_LOG", "trace").output().unwrap());
            let all = format!("{}{}", ran.out, ran.err);
            assert!(!all.contains("hush"), "{arguments:?}: {all}");
        }
    }
    let log = net.place.command(&["check", "jane@known.test", "--proxy", &wrong]);
    let mut log = log;
    log.args(net.flags()).args(IDENTITY);
    log.env("PRESEND_LOG", "presend=debug").env("PRESEND_NO_STORE", "true");
    let said = Ran::from(log.output().unwrap()).err;
    assert!(said.contains("the proxy refused the login"), "the log says why: {said}");
}

#[test]
fn a_proxy_that_cannot_be_meant_is_an_error_that_says_how_to_write_it() {
    let net = Net::plain();
    for (proxy, said) in [
        ("127.0.0.1:1080", "it is not a URL"),
        ("http://127.0.0.1:8080", "only SOCKS5 proxies are known"),
        ("socks5h://127.0.0.1:1080", "names are always resolved and vetted here"),
        ("socks5://me@127.0.0.1:1080", "user and password must both be there"),
        ("socks5://127.0.0.1:1080/path", "nothing may follow the port"),
        (
            "socks5://no-such-proxy.invalid:1080",
            "cannot look up the proxy `no-such-proxy.invalid`",
        ),
    ] {
        let ran = net.run(&["check", "jane@known.test", "--proxy", proxy]);
        assert_eq!(ran.code, 2, "{proxy}: {}", ran.err);
        assert!(ran.err.contains(said), "{proxy}: {}", ran.err);
        assert!(ran.err.contains("hint: "), "{proxy}: {}", ran.err);
    }
}

#[test]
fn behind_a_proxy_inside_addresses_stay_forbidden() {
    let net = Net::new(
        "[[domain]]\nname = \"inside.net\"\nmx = \"10 mx.inside.net\"\n[[domain]]\nname = \"mx.inside.net\"\na = [\"10.0.0.1\"]\n",
    );
    let socks = Socks::start(Mode::Good);
    let dns = net.lab.dns().to_string();
    let mut command = net
        .place
        .command(&["check", "--json", "jane@inside.net", "--nameserver", &dns]);
    command.args(["--proxy", &socks.url()]).args(IDENTITY);
    let ran = Ran::from(command.output().unwrap());
    assert!(ran.out.contains("\"reason\":\"mx_private\""), "{}{}", ran.out, ran.err);
    assert_eq!(socks.requests(), []);
}
