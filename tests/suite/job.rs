//! The engine over made-up routes and hosts: joining, order, the operator's lists, and faults of ours.

use std::{io, net::IpAddr, sync::Arc, time::Duration};

use presend::{
    address::Domain,
    clock::SystemClock,
    dns::{DnsFailure, Exchanger, MailRoute, Route, RouteFailure},
    input::{Cells, InputOptions, Row, Table},
    job::{Engine, EngineSeams, Level, Outcome, Progress, Settings, Sink, Stop, Summary},
    lists::UserLists,
    net::{BoxFuture, Call, Dial, DialError, Stream, vet},
    smtp::Identity,
};

use crate::fake::{FakeNet, mailboxes};

mod together;

/// Mail for `DOMAIN` goes to `mx.DOMAIN`, except for domains that do not exist.
pub(crate) struct Routes;

impl Route for Routes {
    fn route<'a>(&'a self, domain: &'a Domain) -> BoxFuture<'a, Arc<MailRoute>> {
        let name = domain.as_str();
        assert_ne!(name, "panic.test", "the test wants a lookup that dies");
        let ip: IpAddr = [127, 9, 1, u8::try_from(name.len()).unwrap()].into();
        let addresses = vec![vet(ip, true).unwrap()];
        let exchanger = Exchanger {
            host: format!("mx.{name}").into(),
            preference: 10,
            addresses,
            backup: false,
        };
        let route = match name {
            "gone.test" => MailRoute::NoSuchDomain,
            "broken.test" => MailRoute::Failure(RouteFailure::Dns(DnsFailure::ServFail)),
            _ => MailRoute::Exchangers(vec![exchanger]),
        };
        Box::pin(async move { Arc::new(route) })
    }
}

/// Dies when it is used.
struct BrokenDial;

impl Dial for BrokenDial {
    fn dial<'a>(&'a self, _call: Call<'a>) -> BoxFuture<'a, Result<Box<dyn Stream>, DialError>> {
        panic!("the test wants a session that dies");
    }
}

/// Swallows everything.
struct NoWayOut;

impl Dial for NoWayOut {
    fn dial<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Result<Box<dyn Stream>, DialError>> {
        Box::pin(async move {
            tokio::time::sleep(call.within).await;
            Err(DialError::Host(io::ErrorKind::TimedOut.into()))
        })
    }
}

pub(crate) fn settings() -> Settings {
    Settings {
        trusted: vec!["test".into()],
        retry_ladder: vec![Duration::from_mins(1)].into(),
        ..Settings::for_lab(
            Identity::new("probe.example.org", "check@example.org").unwrap(),
            Vec::new(),
            25,
        )
    }
}

fn engine(settings: Settings, dial: impl Dial) -> Engine {
    let seams = EngineSeams {
        route: Arc::new(Routes),
        dial: Arc::new(dial),
        clock: Arc::new(SystemClock),
    };
    Engine::with_seams(settings, seams).unwrap()
}

async fn reasons(engine: &Engine, addresses: &[&str]) -> Vec<&'static str> {
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let outcomes = engine.check(&addresses, &Stop::new()).await.unwrap();
    assert!(
        outcomes
            .iter()
            .zip(&addresses)
            .all(|(outcome, address)| *outcome.typed == **address),
        "in order"
    );
    outcomes.iter().map(|outcome| outcome.verdict.reason.name()).collect()
}

/// Keeps what it is given.
#[derive(Default)]
pub(crate) struct Kept(pub(crate) Vec<(String, &'static str)>);

impl Sink for Kept {
    fn write(&mut self, row: &Row, outcome: &Outcome) -> io::Result<()> {
        let Cells::Record { record, .. } = &row.cells else {
            panic!("not a record")
        };
        self.0.push((
            record.iter().collect::<Vec<_>>().join("|"),
            outcome.verdict.reason.name(),
        ));
        Ok(())
    }
}

async fn verify(engine: &Engine, list: &str) -> (Vec<(String, &'static str)>, Summary) {
    let table = Table::from_reader(&mut list.as_bytes(), "list", &InputOptions::default()).unwrap();
    let mut kept = Kept::default();
    let summary = engine
        .verify(table, &mut kept, &Progress::default(), Stop::new())
        .await
        .unwrap();
    (kept.0, summary)
}

#[tokio::test(start_paused = true)]
async fn equal_addresses_are_asked_once_and_every_row_is_answered_in_order() {
    let net = FakeNet::new(
        "PIPELINING",
        mailboxes(&["Ann@one.test", "ann@one.test", "bob@two.test"]),
    );
    let engine = engine(settings(), net.clone());
    let list = "id,email\n1,Ann@one.test\n2,nobody@one.test\n3,ann@ONE.test\n4,not an address\n5,bob@two.test\n6,x@gone.test\n7\n8,ann@one.test\n";
    let (rows, summary) = verify(&engine, list).await;
    let expected = [
        ("1|Ann@one.test", "mailbox_exists"),
        ("2|nobody@one.test", "mailbox_unknown"),
        ("3|ann@ONE.test", "mailbox_exists"),
        ("4|not an address", "syntax_no_at_sign"),
        ("5|bob@two.test", "mailbox_exists"),
        ("6|x@gone.test", "no_such_domain"),
        ("7", "row_error"),
        ("8|ann@one.test", "mailbox_exists"),
    ];
    let rows: Vec<(&str, &str)> = rows.iter().map(|(row, reason)| (row.as_str(), *reason)).collect();
    assert_eq!(rows, expected);
    assert_eq!(
        (summary.rows, summary.unique, summary.duplicates, summary.row_errors),
        (8, 4, 2, 1)
    );
    let asked = net
        .recipients()
        .into_iter()
        .filter(|(_, rcpt)| rcpt.eq_ignore_ascii_case("ann@one.test"))
        .count();
    assert_eq!(asked, 1);
    assert_eq!(usize::try_from(summary.connections).unwrap(), net.connections().len());
}

#[tokio::test(start_paused = true)]
async fn exact_joining_keeps_the_case_of_the_local_part_apart() {
    let net = FakeNet::new("", |_| None);
    let engine = engine(
        Settings {
            exact: true,
            ..settings()
        },
        net.clone(),
    );
    let (_, summary) = verify(&engine, "Ann@one.test\nann@one.test\nann@ONE.test\n").await;
    assert_eq!((summary.unique, summary.duplicates), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn j5_a_session_that_dies_leaves_its_addresses_internal_and_the_run_ends() {
    let engine = engine(settings(), BrokenDial);
    assert_eq!(
        reasons(&engine, &["ann@one.test", "x@gone.test"]).await,
        ["internal", "no_such_domain"]
    );
}

#[tokio::test(start_paused = true)]
async fn j5_a_lookup_that_dies_leaves_its_addresses_internal() {
    let engine = engine(settings(), FakeNet::new("", |_| None));
    assert_eq!(
        reasons(&engine, &["ann@panic.test", "bob@one.test"]).await,
        ["internal", "accepts_all"]
    );
}

#[tokio::test(start_paused = true)]
async fn the_levels_stop_where_they_say() {
    let net = FakeNet::new("", |_| None);
    let dns = engine(
        Settings {
            level: Level::Dns,
            ..settings()
        },
        net.clone(),
    );
    assert_eq!(
        reasons(&dns, &["ann@one.test", "x@gone.test"]).await,
        ["level_stop", "no_such_domain"]
    );
    let nobody = engine(
        Settings {
            identity: None,
            ..settings()
        },
        net.clone(),
    );
    assert_eq!(reasons(&nobody, &["ann@one.test"]).await, ["no_identity"]);
    assert!(net.connections().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_operators_lists_decide_before_anybody_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let (allow, block) = (folder.path().join("allow"), folder.path().join("block"));
    std::fs::write(&allow, "vip@one.test\nmx:mx.friend.test\n").unwrap();
    std::fs::write(&block, "one.test\nmx:mx.enemy.test\n").unwrap();
    let user_lists = UserLists::load(&[allow], &[block]).unwrap();
    let net = FakeNet::new("", |_| None);
    let engine = engine(
        Settings {
            user_lists,
            ..settings()
        },
        net.clone(),
    );
    let addresses = [
        "vip@one.test",
        "ann@one.test",
        "ann@friend.test",
        "ann@enemy.test",
        "ann@other.test",
    ];
    let expected = [
        "allow_listed",
        "block_listed",
        "allow_listed",
        "block_listed",
        "accepts_all",
    ];
    assert_eq!(reasons(&engine, &addresses).await, expected);
    assert_eq!(net.connections().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn d14_a_failed_lookup_is_unknown_and_says_when_to_ask_again() {
    let engine = engine(settings(), FakeNet::new("", |_| None));
    let outcomes = engine
        .check(&["ann@broken.test".to_owned()], &Stop::new())
        .await
        .unwrap();
    assert_eq!(outcomes[0].verdict.reason.name(), "dns_servfail");
    let retry = outcomes[0]
        .retry_at
        .unwrap()
        .duration_since(outcomes[0].checked_at)
        .unwrap();
    assert_eq!(retry, Duration::from_mins(1));
}

#[tokio::test(start_paused = true)]
async fn s16_a_run_without_port_25_labels_nobody_invalid() {
    let polite = Settings {
        trusted: Vec::new(),
        max_wait: Duration::MAX,
        ..settings()
    };
    let typed: Vec<String> = (1..=12)
        .map(|length| format!("ann@{}.test", "d".repeat(length)))
        .collect();
    let typed: Vec<&str> = typed
        .iter()
        .map(String::as_str)
        .chain(["no address", "ann@gone.test"])
        .collect();
    let reasons = reasons(&engine(polite, NoWayOut), &typed).await;
    let (asked, others) = reasons.split_at(12);
    assert_eq!(asked, ["port_25_blocked"; 12]);
    assert_eq!(others.len(), 2);
    assert!(
        !others.contains(&"port_25_blocked"),
        "what is known without asking stays: {others:?}"
    );
}
