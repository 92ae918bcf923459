//! Hosts that take mail over IPv4 and refuse us over IPv6.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex},
};

use presend::net::{BoxFuture, Call, Dial, DialError, Stream};

use super::*;
use crate::fake::Heard;

/// One host for each IP version; remembers whom it was asked for.
#[derive(Clone)]
struct TwoFamilies {
    v6: FakeNet,
    v4: FakeNet,
    dialled: Arc<Mutex<Vec<IpAddr>>>,
}

impl Dial for TwoFamilies {
    fn dial<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Result<Box<dyn Stream>, DialError>> {
        let ip = call.to.ip();
        self.dialled.lock().unwrap().push(ip);
        if ip.is_ipv6() {
            self.v6.dial(call)
        } else {
            self.v4.dial(call)
        }
    }
}

const ADDRESSES: [&str; 2] = ["ann@one.test", "bob@one.test"];

fn route(hosts: &[(&str, u16, &[&str])]) -> MailRoute {
    let exchangers = hosts.iter().map(|(host, preference, addresses)| Exchanger {
        host: (*host).into(),
        preference: *preference,
        backup: *preference > 10,
        addresses: addresses
            .iter()
            .map(|ip| vet(ip.parse().unwrap(), true).unwrap())
            .collect(),
    });
    MailRoute::Exchangers(exchangers.collect())
}

/// The reasons of both addresses, and which addresses were dialled.
async fn ask(
    manners: Manners,
    route: MailRoute,
    on_v6: impl Fn(&Heard<'_>) -> Option<Act> + Send + Sync + 'static,
) -> (Vec<&'static str>, Vec<String>) {
    let net = TwoFamilies {
        v6: FakeNet::new("", on_v6),
        v4: FakeNet::new("", mailboxes(&["ann@one.test"])),
        dialled: Arc::default(),
    };
    let run = Run::through(net.clone(), net.v4.clone(), (manners, Stop::new()), route, &ADDRESSES).await;
    let reasons = ADDRESSES.map(|address| run.reason(address));
    let dialled = net.dialled.lock().unwrap().iter().map(ToString::to_string).collect();
    (reasons.to_vec(), dialled)
}

fn on(verb: &'static str, words: &'static str) -> impl Fn(&Heard<'_>) -> Option<Act> + Send + Sync {
    move |heard| heard.line.starts_with(verb).then(|| say(words))
}

const NO_PTR: &str = "550 5.7.25 [2a00:1:2::1] PTR record required for IPv6 senders";

#[tokio::test(start_paused = true)]
async fn s15_who_is_unwelcome_over_ipv6_asks_over_ipv4() {
    let pair = || route(&[("mx.fake.test", 10, &["2a00:1:2::1", "127.9.0.1"])]);
    for verb in ["MAIL", "RCPT", "EHLO", ""] {
        // Every line starts with nothing: that is the greeting, where the host says no at once.
        let (reasons, dialled) = ask(impatient(), pair(), move |heard| {
            let here = if verb.is_empty() {
                heard.line.is_empty()
            } else {
                heard.line.starts_with(verb)
            };
            let helo = verb == "EHLO" && heard.line.starts_with("HELO");
            (here || helo).then(|| say(NO_PTR))
        })
        .await;
        assert_eq!(reasons, ["mailbox_exists", "mailbox_unknown"], "at {verb:?}");
        assert_eq!(dialled, ["2a00:1:2::1", "127.9.0.1"], "at {verb:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn s15_the_ipv4_address_may_be_another_hosts() {
    let several = route(&[
        ("mx1.fake.test", 10, &["2a00:1:2::1"]),
        ("mx2.fake.test", 10, &["2a00:1:2::2", "127.9.0.1"]),
    ]);
    let (reasons, dialled) = ask(impatient(), several, |heard| heard.line.is_empty().then(|| say(NO_PTR))).await;
    assert_eq!(reasons, ["mailbox_exists", "mailbox_unknown"]);
    assert_eq!(
        dialled[..2],
        ["2a00:1:2::1", "127.9.0.1"],
        "two sessions are all there is"
    );
}

#[tokio::test(start_paused = true)]
async fn s15_a_block_is_not_left_behind_and_an_answer_stays_one() {
    let pair = || route(&[("mx.fake.test", 10, &["2a00:1:2::1", "127.9.0.1"])]);
    let blocked = "554 5.7.1 Service unavailable; Client host [2a00:1:2::1] blocked using zen.spamhaus.org";
    let (reasons, dialled) = ask(impatient(), pair(), on("RCPT", blocked)).await;
    assert_eq!((reasons, dialled.len()), (vec!["sender_blocked"; 2], 1));
    let slow = "450 4.7.1 Rate limit exceeded, slow down";
    let (reasons, dialled) = ask(impatient(), pair(), on("RCPT", slow)).await;
    assert_eq!((reasons, dialled.len()), (vec!["rate_limited"; 2], 1));
    let (reasons, _) = ask(impatient(), pair(), on("RCPT", "550 5.1.1 User unknown")).await;
    assert_eq!(reasons, ["mailbox_unknown"; 2], "about the recipient");
    let alone = route(&[("mx.fake.test", 10, &["2a00:1:2::1"])]);
    let (reasons, dialled) = ask(impatient(), alone, on("RCPT", NO_PTR)).await;
    assert_eq!(
        (reasons, dialled.len()),
        (vec!["sender_dns"; 2], 1),
        "there is nowhere else to go"
    );
}

/// Nobody listens anywhere.
#[derive(Clone, Default)]
struct Deserted(Arc<Mutex<Vec<IpAddr>>>);

impl Dial for Deserted {
    fn dial<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Result<Box<dyn Stream>, DialError>> {
        self.0.lock().unwrap().push(call.to.ip());
        Box::pin(async { Err(DialError::Host(std::io::ErrorKind::ConnectionRefused.into())) })
    }
}

#[tokio::test(start_paused = true)]
async fn five_addresses_and_two_sessions_are_tried() {
    let many: Vec<String> = (1..=9).map(|n| format!("127.9.0.{n}")).collect();
    let hosts: Vec<(&str, u16, Vec<&str>)> = many.iter().map(|ip| ("mx.fake.test", 10, vec![ip.as_str()])).collect();
    let hosts: Vec<(&str, u16, &[&str])> = hosts
        .iter()
        .map(|(name, best, ips)| (*name, *best, ips.as_slice()))
        .collect();
    let once = || Manners {
        ladder: Vec::new().into(),
        ..impatient()
    };
    let nobody = Deserted::default();
    let never = FakeNet::new("", |_| None);
    let run = Run::through(
        nobody.clone(),
        never,
        (once(), Stop::new()),
        route(&hosts),
        &["ann@one.test"],
    )
    .await;
    assert_eq!(run.reason("ann@one.test"), "unreachable");
    assert_eq!(nobody.0.lock().unwrap().len(), 5);
    let refusing = FakeNet::new("", |heard| heard.line.is_empty().then(|| say("554 5.3.2 No service")));
    let run = Run::over(refusing, once(), route(&hosts), &["ann@one.test"], Stop::new()).await;
    assert_eq!((run.reason("ann@one.test"), run.connections()), ("host_refused", 2));
}
