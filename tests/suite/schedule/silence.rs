//! Hosts that accept a connection and then say nothing delay their own groups only.

use tokio::time::Instant;

use super::{world::World, *};

/// How many hosts, and how many addresses at each.
#[derive(Clone, Copy)]
struct Crowd {
    hosts: usize,
    addresses: usize,
}

/// When the last healthy host was done, and the most sockets open at once.
async fn healthy_take(silent: Crowd, healthy: Crowd, sockets: usize) -> (Duration, usize) {
    let mute = FakeNet::new("", |heard| heard.line.is_empty().then_some(Act::Hang));
    let talks = FakeNet::new("", |heard| {
        (!heard.rcpt()?.starts_with("user")).then(|| say("550 5.1.1 User unknown"))
    });
    let kinds = std::iter::repeat_n((mute, silent), silent.hosts)
        .chain(std::iter::repeat_n((talks.clone(), healthy), healthy.hosts));
    let (mut nets, mut lists) = (Vec::new(), Vec::new());
    for (number, (net, crowd)) in kinds.enumerate() {
        let ip = format!("127.{}.{}.1", number >> 8, number & 0xff).parse().unwrap();
        nets.push((ip, net));
        let list = (0..crowd.addresses).map(|n| format!("user{n}@h{number}.test"));
        lists.push(list.collect::<Vec<_>>());
    }
    let world = World::new(nets).with_sockets(sockets);
    let start = Instant::now();
    let findings = world.ask(impatient(), &lists).await;
    let reason = |finding: &Finding| judge(&finding.evidence, &Policy::default()).reason.name();
    let count = |name| findings.values().filter(|finding| reason(finding) == name).count();
    assert_eq!(count("timeout"), silent.hosts * silent.addresses);
    assert_eq!(count("mailbox_exists"), healthy.hosts * healthy.addresses);
    let last = talks.recipients().into_iter().map(|(at, _)| at).max().unwrap();
    (last - start, world.most_open())
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_silent_hosts_delay_healthy_ones_by_less_than_a_tenth() {
    let none = Crowd { hosts: 0, addresses: 0 };
    let crowd = |hosts, addresses| Crowd { hosts, addresses };
    for (silent, healthy, sockets) in [
        (crowd(10_000, 1), crowd(1_000, 15), usize::MAX),
        // A small machine, and silent hosts with the longer lists, which therefore go first.
        (crowd(1_000, 40), crowd(100, 39), 512),
    ] {
        let (alone, _) = healthy_take(none, healthy, sockets).await;
        let (together, open) = healthy_take(silent, healthy, sockets).await;
        println!(
            "{} silent hosts: {together:?} in the place of {alone:?}, {open} sockets",
            silent.hosts
        );
        assert!(open <= sockets.min(16_384), "{open}");
        assert!(
            together.as_secs_f64() < alone.as_secs_f64() * 1.1,
            "{together:?} in the place of {alone:?}"
        );
    }
}
