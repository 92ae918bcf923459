//! Port 25: what hosts do when we come, and that we say nothing but QUIT.

use std::{io, net::IpAddr};

use presend::{
    address::Rules,
    doctor::{Check, Plan, Report, Status},
    net::{BoxFuture, Call, Dial, DialError, Stream},
};

use super::{SOUND, ip, of, one, over, plan};
use crate::fake::{Act, FakeNet, say};

/// Hosts by address: an error, silence, or a scripted greeting.
struct Street(Vec<(IpAddr, House)>);

enum House {
    Error(io::ErrorKind),
    Silent,
    Greets(FakeNet),
}

impl Dial for Street {
    fn dial<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Result<Box<dyn Stream>, DialError>> {
        let house = self.0.iter().find(|(ip, _)| *ip == call.to.ip());
        match house.map(|(_, house)| house) {
            None | Some(House::Silent) => Box::pin(async move {
                tokio::time::sleep(call.within).await;
                Err(DialError::Host(io::ErrorKind::TimedOut.into()))
            }),
            Some(House::Error(kind)) => Box::pin(async move { Err(DialError::Host((*kind).into())) }),
            Some(House::Greets(net)) => net.dial(call),
        }
    }
}

fn greets(act: fn() -> Act) -> House {
    House::Greets(FakeNet::new("", move |heard| heard.line.is_empty().then(act)))
}

async fn one_host(house: House) -> Check {
    let report = over(&plan(), SOUND, Street(vec![(ip("52.40.1.1"), house)])).await;
    one(&report, "port_25").clone()
}

#[tokio::test(start_paused = true)]
async fn only_the_greeting_is_read_and_only_quit_is_said() {
    let net = FakeNet::new("PIPELINING;STARTTLS", |_| None);
    let report = over(&plan(), SOUND, net.clone()).await;
    let check = one(&report, "port_25");
    assert_eq!(check.status, Status::Pass);
    assert_eq!(
        check.subject.as_deref(),
        Some("org.example.net"),
        "the reverse-path's own host, never a stranger's"
    );
    assert_eq!(&*check.seen, "52.40.1.1:25 greets in 0 ms: 220 mx.fake.test ESMTP");
    assert_eq!(net.lines(), ["QUIT"]);
    assert_eq!(net.connections().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn every_way_to_get_no_greeting_is_told_apart() {
    use io::ErrorKind as Kind;
    for (house, status, said) in [
        (House::Silent, Status::Fail, "no answer in 10 s"),
        (House::Error(Kind::TimedOut), Status::Fail, "no answer in 0 s"),
        (House::Error(Kind::ConnectionRefused), Status::Fail, "was refused"),
        (House::Error(Kind::NetworkUnreachable), Status::Fail, "no route"),
        (House::Error(Kind::HostUnreachable), Status::Fail, "no route"),
        (House::Error(Kind::PermissionDenied), Status::Fail, "firewall"),
        (House::Error(Kind::AddrInUse), Status::Fail, "no connection"),
        (greets(|| Act::Hang), Status::Warn, "no reply in time"),
        (greets(|| Act::Drop), Status::Warn, "the connection was closed"),
        (
            greets(|| say("SSH-2.0-OpenSSH_9.2")),
            Status::Warn,
            "takes the connection, and then",
        ),
        (
            greets(|| say("220 probe.org.example.net ESMTP")),
            Status::Warn,
            "this machine itself",
        ),
        (greets(|| say("220 a\u{1b}[31m\u{202e}b")), Status::Pass, "220 a [31m b"),
        (
            greets(|| say("421 4.3.2 busy, come later")),
            Status::Warn,
            "turns us away",
        ),
        (
            greets(|| say("554 5.7.1 Client host [52.40.0.7] blocked using zen.spamhaus.org")),
            Status::Fail,
            "(ip_blocklisted, blocklist Spamhaus ZEN): 554 Client host",
        ),
    ] {
        let check = one_host(house).await;
        assert_eq!(check.status, status, "{said}: {check:?}");
        assert!(check.seen.contains(said), "{said}: {}", check.seen);
        assert!(!check.seen.contains('\u{1b}'));
        assert_eq!(check.advice.is_some(), status != Status::Pass, "{check:?}");
    }
}

/// Statuses by host.
fn statuses(report: &Report) -> Vec<(&str, Status)> {
    let hosts = of(report, "port_25");
    hosts
        .iter()
        .map(|check| (check.subject.as_deref().unwrap_or_default(), check.status))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_dead_host_beside_a_living_one_is_its_own_fault() {
    let zone = format!(
        "{SOUND}dead.example MX 10 mx.dead.example\nmx.dead.example A 52.40.2.1\ntwo.example A 52.40.2.1\ntwo.example A 52.40.1.1\n\
         null.example MX 0 .\n"
    );
    let hosts = [
        "dead.example",
        "two.example",
        "null.example",
        "nowhere.example",
        "52.40.1.1",
        "no host",
    ];
    let plan = Plan {
        hosts: hosts.map(str::to_owned).to_vec(),
        ..plan()
    };
    let living = || greets(|| say("220 mx.org.example.net"));
    let report = over(&plan, &zone, Street(vec![(ip("52.40.1.1"), living())])).await;
    assert_eq!(
        statuses(&report),
        [
            ("dead.example", Status::Warn),
            ("two.example", Status::Pass),
            ("null.example", Status::Skip),
            ("nowhere.example", Status::Skip),
            ("52.40.1.1", Status::Pass),
            ("no host", Status::Fail),
        ]
    );
    let report = over(&plan, &zone, Street(Vec::new())).await;
    assert_eq!(statuses(&report)[0], ("dead.example", Status::Fail));
    assert_eq!(statuses(&report)[1], ("two.example", Status::Fail));
}

#[tokio::test(start_paused = true)]
async fn outside_labs_neither_private_addresses_nor_this_machine_are_dialled() {
    let plan = Plan {
        rules: Rules {
            allow_special_use: false,
        },
        hosts: ["10.0.0.1", "127.0.0.1", "inner.example", "52.40.0.7"]
            .map(str::to_owned)
            .to_vec(),
        ..plan()
    };
    let net = FakeNet::new("", |_| None);
    let report = over(&plan, &format!("{SOUND}inner.example A 10.0.0.1\n"), net.clone()).await;
    assert_eq!(
        statuses(&report),
        [
            ("10.0.0.1", Status::Skip),
            ("127.0.0.1", Status::Skip),
            ("inner.example", Status::Skip),
            ("52.40.0.7", Status::Warn),
        ]
    );
    assert!(net.connections().is_empty());
}
