//! What presend said, against what mail told later: the table of calibration, from real answers of hosts.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use presend::{
    bounce::{Event, EventKind, Origin, insight},
    input::{InputOptions, Table},
    job::{Engine, Progress, Settings, Stop},
    lab::{Lab, World},
    replies::{Class, Persistence},
    smtp::Identity,
    store::{SqliteStore, Store},
};

use super::Said;

const WORLD: &str = r#"
[[host]]
name = "mx00.gmx.net"
serves = ["one.test"]
mailboxes = ["jane", "joe", "kim", "lee"]

[[host]]
name = "mx.two.test"
serves = ["two.test"]
mailboxes = ["max"]

[[host]]
name = "mx.all.test"
serves = ["all.test"]
catch_all = true
"#;

const HARD: EventKind = EventKind::Bounced {
    class: Class::UserUnknown,
    persistence: Persistence::Permanent,
};

/// Everybody of [`WORLD`] is asked about; the answers are in `store`.
async fn verify(store: &Arc<SqliteStore>) {
    let lab = Lab::start(World::parse(WORLD, "world").unwrap()).await.unwrap();
    let identity = Identity::new("probe.presend.example", "postmaster@presend.example").unwrap();
    let settings = Settings {
        trusted: vec!["test".into(), "gmx.net".into()],
        ..Settings::for_lab(identity, vec![lab.dns()], lab.smtp_port())
    };
    let engine = Engine::start(settings)
        .await
        .unwrap()
        .with_store(Arc::clone(store) as Arc<dyn Store>);
    let list = "jane@one.test\njoe@one.test\nkim@one.test\nlee@one.test\nmax@two.test\nany@all.test\n";
    let table = Table::from_reader(&mut list.as_bytes(), "list", &InputOptions::default()).unwrap();
    let mut said = Said::default();
    let done = engine.verify(table, &mut said, &Progress::default(), Stop::new()).await;
    assert!(done.unwrap().complete);
    let reasons: Vec<_> = said.0.iter().map(|(_, reason, _)| *reason).collect();
    assert_eq!(reasons[..5], ["mailbox_exists"; 5], "{reasons:?}");
}

/// Provider, label and reason, how many were mailed, how many bounced.
fn table(store: &SqliteStore) -> Vec<(String, &'static str, String, u64, u64)> {
    let wanted = insight::Wanted {
        since: SystemTime::now() - Duration::from_hours(24 * 30),
        until: SystemTime::now() + Duration::from_hours(24 * 30),
        by: insight::By::Provider,
        sent: None,
        tenant: "",
    };
    let rows = insight::calibrate(store, &wanted).unwrap().into_iter();
    let mut rows: Vec<_> = rows
        .map(|row| (row.provider, row.label, row.reason, row.mailed, row.bounced))
        .collect();
    rows.sort();
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn how_often_valid_bounced_later_is_counted_by_provider_and_reason() {
    let store = Arc::new(SqliteStore::private().unwrap());
    let day = Duration::from_hours(24);
    let (before, after) = (SystemTime::now() - day, SystemTime::now() + day);
    let event = |recipient: &str, kind, at| Event::new(recipient, kind, at, Origin::Report);
    verify(&store).await;
    assert_eq!(table(&store), [], "nobody was mailed");
    // What happened before anybody asked says nothing about the answer.
    let old = vec![
        event("jane@one.test", HARD, before),
        event("joe@one.test", HARD, before),
        event("kim@one.test", EventKind::Delivered, before),
        event("max@two.test", HARD, before),
    ];
    store.add_events(old, false).unwrap();
    assert_eq!(table(&store), []);
    let later = vec![
        event("Jane@one.test", HARD, after),
        event("joe@one.test", EventKind::Delivered, after),
        event("kim@one.test", EventKind::Delivered, after),
        event("lee@one.test", HARD, after),
        event("lee@one.test", HARD, after + day),
        event("max@two.test", EventKind::Delivered, after),
        event("any@all.test", HARD, after),
        event("stranger@one.test", HARD, after),
    ];
    store.add_events(later, false).unwrap();
    let apart = vec![event("max@two.test", HARD, after + day)];
    store.add_events(apart, true).unwrap();
    let row =
        |provider: &str, label, reason: &str, mailed, bounced| (provider.into(), label, reason.into(), mailed, bounced);
    assert_eq!(
        table(&store),
        [
            row("(other)", "catch-all", "accepts_all", 1, 1),
            row("(other)", "valid", "mailbox_exists", 1, 0),
            row("gmx", "valid", "mailbox_exists", 4, 2),
        ]
    );
}
