//! Hosts of one preference that do not know the same recipients.

use super::{world::World, *};
use crate::fake::Heard;

const HOSTS: [&str; 2] = ["127.9.0.1", "127.9.0.2"];

/// Two hosts of one preference, asked in this order.
fn route(names: [&str; 2]) -> MailRoute {
    let host = |(name, ip): (&str, &str)| exchanger(name, 10, ip, false);
    MailRoute::Exchangers(names.into_iter().zip(HOSTS).map(host).collect())
}

async fn ask(
    manners: Manners,
    route: MailRoute,
    other: impl Fn(&Heard<'_>) -> Option<Act> + Send + Sync + 'static,
    addresses: &[&str],
) -> (Run, FakeNet) {
    let first = FakeNet::new("", mailboxes(&["ann@one.test", "ann@two.test"]));
    let nets = [first.clone(), FakeNet::new("", other)];
    let hosts = HOSTS.map(|ip| ip.parse().unwrap()).into_iter().zip(nets.clone());
    let world = World::new(hosts.collect());
    let run = Run::through(world, first, (manners, Stop::new()), route, addresses).await;
    let [_, other] = nets;
    (run, other)
}

const PAIR: [&str; 2] = ["mx1.fake.test", "mx2.fake.test"];
const LIST: [&str; 5] = [
    "ann@one.test",
    "bob@one.test",
    "cid@one.test",
    "dan@two.test",
    "eve@two.test",
];

#[tokio::test(start_paused = true)]
async fn s14_hosts_that_disagree_make_nobody_invalid() {
    let (run, other) = ask(manners(), route(PAIR), |_| None, &LIST).await;
    for address in &LIST[1..] {
        assert_eq!(
            (run.label(address), run.reason(address)),
            (Label::Unknown, "inconsistent"),
            "{address}"
        );
    }
    assert_eq!(
        run.reason("ann@one.test"),
        "mailbox_exists",
        "a stranger was refused too"
    );
    assert_eq!(run.controls().len(), 1, "{:?}", run.controls());
    let asked: Vec<String> = other.recipients().into_iter().map(|(_, rcpt)| rcpt).collect();
    assert_eq!(asked.len(), 2, "one of each domain: {asked:?}");
    for address in asked {
        let evidence = &run.findings[&address].evidence;
        let second = evidence.second.as_deref().unwrap();
        assert_eq!(evidence.answer.known().unwrap().reply.code().number(), 550);
        assert_eq!(second.answer.reply.code().number(), 250);
        assert_eq!(
            (&*evidence.host.as_ref().unwrap().name, &*second.host.name),
            (PAIR[0], PAIR[1])
        );
        assert_eq!(evidence.attempts, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn s14_hosts_that_agree_cost_one_question_in_all() {
    let agree = mailboxes(&["ann@one.test"]);
    let (run, other) = ask(manners(), route(PAIR), agree, &LIST).await;
    assert_eq!(LIST.map(|address| run.reason(address))[1..], ["mailbox_unknown"; 4]);
    assert_eq!(other.recipients().len(), 1);
    // No answer of the other host is none.
    for silent in ["421 4.3.2 Too busy", "450 4.2.0 Greylisted", "554 5.7.1 Policy"] {
        let (run, other) = ask(
            impatient(),
            route(PAIR),
            move |heard| heard.rcpt().map(|_| say(silent)),
            &LIST[..3],
        )
        .await;
        assert_eq!(run.reason("bob@one.test"), "mailbox_unknown", "{silent}");
        assert_eq!(run.reason("cid@one.test"), "mailbox_unknown", "{silent}");
        assert_eq!(other.recipients().len(), 1, "{silent}");
    }
}

#[tokio::test(start_paused = true)]
async fn s14_a_providers_hosts_backups_and_ones_own_are_not_compared() {
    let provider = route(["mx00.gmx.net", "mx01.gmx.net"]);
    let MailRoute::Exchangers(mut hosts) = route(PAIR) else {
        unreachable!()
    };
    (hosts[1].preference, hosts[1].backup) = (20, true);
    for (manners, route) in [
        (manners(), provider),
        (manners(), MailRoute::Exchangers(hosts)),
        (trusted(), route(PAIR)),
    ] {
        let (run, other) = ask(manners, route, |_| None, &LIST[..2]).await;
        assert_eq!(run.reason("bob@one.test"), "mailbox_unknown");
        assert_eq!(other.connections().len(), 0);
    }
}
