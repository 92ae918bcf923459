//! From events to suppressions to what `verify` says, by the program and by the engine.

mod field;
mod outage;

use std::{
    fs, io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use presend::{
    bounce::{Event, EventKind, Origin},
    input::{InputOptions, Row, Table},
    job::{Aged, Engine, Outcome, Progress, Settings, Sink, Stop, aged},
    lists::UserLists,
    serve::Sandbox,
    store::{Author, NewSuppression, Scope, SqliteStore, Store},
    suppress::{Lookup, Mailing, SuppressionReason},
};
use serde_json::Value;

use crate::cli::{Place, Ran};

/// An event a line, so many days ago.
fn events(lines: &[(&str, &str, u64, &str)]) -> String {
    let mut text = "recipient,event,date,reply,list\n".to_owned();
    for (recipient, event, days, reply) in lines {
        let at = SystemTime::now() - Duration::from_hours(24 * days) - Duration::from_mins(5);
        let at = humantime::format_rfc3339_seconds(at);
        let line = format!("{recipient},{event},{at},{reply},news\n");
        text.push_str(&line);
    }
    text
}

const GONE: &str = "550 5.1.1 No such user";
const FULL: &str = "552 5.2.2 Mailbox full";
const BLOCKED: &str = "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org";

fn results(ran: &Ran) -> Vec<(String, String, String)> {
    let read = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        (
            text("label"),
            text("reason"),
            value["evidence"]["text"].as_str().unwrap_or_default().to_owned(),
        )
    };
    ran.out.lines().map(read).collect()
}

fn check(place: &Place, addresses: &[&str]) -> Vec<(String, String, String)> {
    results(&place.run(&[&["check", "--json", "--level", "syntax"], addresses].concat()))
}

#[test]
fn bounces_suppress_and_every_entry_says_why() {
    let place = Place::new();
    place.write(
        "events.csv",
        events(&[
            ("gone@acme-corp.com", "bounced", 3, GONE),
            ("full@acme-corp.com", "bounced", 20, FULL),
            ("full@acme-corp.com", "bounced", 15, FULL),
            ("full@acme-corp.com", "bounced", 10, FULL),
            ("full@acme-corp.com", "bounced", 2, FULL),
            ("alive@acme-corp.com", "bounced", 20, FULL),
            ("alive@acme-corp.com", "bounced", 15, FULL),
            ("alive@acme-corp.com", "delivered", 12, ""),
            ("alive@acme-corp.com", "bounced", 10, FULL),
            ("alive@acme-corp.com", "bounced", 2, FULL),
            ("blocked@acme-corp.com", "bounced", 20, BLOCKED),
            ("blocked@acme-corp.com", "bounced", 10, BLOCKED),
            ("blocked@acme-corp.com", "bounced", 5, BLOCKED),
            ("blocked@acme-corp.com", "bounced", 1, BLOCKED),
            ("angry@acme-corp.com", "complained", 1, ""),
        ]),
    );
    let ran = place.run(&["bounces", "import", "events.csv"]);
    assert!(ran.code == 0 && ran.err.contains("suppressed 3"), "{}", ran.err);
    let again = place.run(&["bounces", "import", "events.csv"]);
    assert!(
        again.err.contains("suppressed 0"),
        "a replay changes nothing: {}",
        again.err
    );
    let found = check(
        &place,
        &[
            "GONE@acme-corp.com",
            "full@acme-corp.com",
            "alive@acme-corp.com",
            "blocked@acme-corp.com",
            "angry@acme-corp.com",
        ],
    );
    let reasons: Vec<_> = found
        .iter()
        .map(|(label, reason, _)| (label.as_str(), reason.as_str()))
        .collect();
    assert_eq!(
        reasons,
        [
            ("invalid", "suppressed_hard_bounce"),
            ("invalid", "suppressed_mailbox_full"),
            ("unknown", "level_stop"),
            ("unknown", "level_stop"),
            ("invalid", "suppressed_complained"),
        ]
    );
    assert!(
        found[0].2.starts_with("hard bounced on 20") && found[0].2.contains(GONE),
        "{}",
        found[0].2
    );
    let why: Value =
        serde_json::from_str(&place.run(&["suppress", "why", "gone@acme-corp.com", "--json"]).out).unwrap();
    assert_eq!(
        (&why["entries"][0]["rule"], &why["entries"][0]["policy"]),
        (&"hard".into(), &"default".into())
    );
    assert_eq!(why["entries"][0]["events"][0], why["events"][0]["number"]);
    let list = place.run(
        &["verify", "--level", "dns", "--offline", "--format", "csv", "-"]
            .map(|word| if word == "-" { "list.txt" } else { word }),
    );
    assert_eq!(list.code, 2, "no such file");
}

#[test]
fn a_policy_is_data() {
    let place = Place::new();
    let three = [
        ("full@acme-corp.com", "bounced", 20, FULL),
        ("full@acme-corp.com", "bounced", 10, FULL),
        ("full@acme-corp.com", "bounced", 1, FULL),
    ];
    place.write("events.csv", events(&three));
    assert!(
        place
            .run(&["bounces", "import", "events.csv"])
            .err
            .contains("suppressed 0")
    );
    place.write("presend.toml", "[bounce_policy]\nprofile = \"strict\"\n");
    assert!(
        place
            .run(&["suppress", "apply"])
            .err
            .contains("policy strict: looked at 1 recipient, suppressed 1")
    );
    place.write("presend.toml", "[bounce_policy]\nsoft_count = 9\nfull_count = 9\n");
    assert!(place.run(&["suppress", "apply"]).err.contains("1 let go"));
    for (text, said) in [
        (
            "[bounce_policy]\nsoftcount = 9\n",
            "presend.toml:2:1: unknown key `softcount`",
        ),
        ("[bounce_policy]\nhard_count = 7\n", "`hard_count = 7` does not work"),
    ] {
        place.write("presend.toml", text);
        let ran = place.run(&["suppress", "apply"]);
        assert!(ran.code == 2 && ran.err.contains(said), "{}", ran.err);
    }
}

#[test]
fn who_was_let_go_comes_back_only_for_something_new() {
    let place = Place::new();
    place.write("events.csv", events(&[("gone@acme-corp.com", "bounced", 3, GONE)]));
    place.run(&["bounces", "import", "events.csv"]);
    let ran = place.run(&["suppress", "remove", "gone@acme-corp.com", "--note", "a new mailbox"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(place.run(&["suppress", "remove", "gone@acme-corp.com"]).code, 1);
    place.write("older.csv", events(&[("gone@acme-corp.com", "bounced", 9, GONE)]));
    place.run(&["bounces", "import", "older.csv"]);
    assert_eq!(check(&place, &["gone@acme-corp.com"])[0].1, "level_stop");
    let shown = place.run(&["suppress", "why", "gone@acme-corp.com"]).out;
    assert!(
        shown.contains("is not suppressed") && shown.contains("a new mailbox"),
        "{shown}"
    );
}

#[test]
fn lists_of_other_systems_come_in_and_go_out() {
    let place = Place::new();
    place.write(
        "old.csv",
        "Email,reason,happened_at,list,note\na@acme-corp.com,complained,2024-05-01,,\nno address,,,,\nb@acme-corp.com,,,news,by phone\n\
         c@acme-corp.com,because,,,\n",
    );
    let ran = place.run(&["suppress", "import", "old.csv"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(
        ran.err.contains("line 3:") && ran.err.contains("line 5: no reason is called `because`"),
        "{}",
        ran.err
    );
    assert_eq!(
        check(&place, &["b@acme-corp.com"])[0].1,
        "level_stop",
        "for one list only"
    );
    let ran = place.run(&[
        "check",
        "--json",
        "--level",
        "syntax",
        "--mailing-list",
        "news",
        "b@acme-corp.com",
    ]);
    assert_eq!(results(&ran)[0].1, "suppressed_imported");
    place.run(&["suppress", "export", "--output", "out.csv"]);
    let other = Place::new();
    other.write("in.csv", place.read("out.csv"));
    assert_eq!(other.run(&["suppress", "import", "in.csv"]).code, 0);
    let listed = |place: &Place| {
        let ran = place.run(&["suppress", "list", "--json"]);
        let entry = |line: &str| {
            let value: Value = serde_json::from_str(line).unwrap();
            (
                value["address"].clone(),
                value["reason"].clone(),
                value["list"].clone(),
                value["happened_at"].clone(),
            )
        };
        ran.out.lines().map(entry).collect::<Vec<_>>()
    };
    assert_eq!(listed(&place), listed(&other));
    assert_eq!(listed(&other).len(), 2);
}

#[test]
fn a_report_is_written_in_every_form() {
    let place = Place::new();
    let mut lines = Vec::new();
    for day in 1..40 {
        lines.extend((0..20).map(|_| ("good@acme-corp.com", "delivered", day, "")));
    }
    lines.extend((0..3).map(|_| ("blocked@acme-corp.com", "bounced", 2, BLOCKED)));
    let text = events(&lines);
    // Equal lines are one event; a list makes them differ.
    let text: String = text
        .lines()
        .enumerate()
        .map(|(index, line)| {
            if index == 0 {
                format!("{line},id\n")
            } else {
                format!("{line},{index}\n")
            }
        })
        .collect();
    place.write("events.csv", text);
    place.run(&["bounces", "import", "events.csv"]);
    let ran = place.run(&["bounces", "report"]);
    assert!(
        ran.code == 0 && ran.out.contains("alerts: these bounces are about you"),
        "{}{}",
        ran.out,
        ran.err
    );
    assert_eq!(place.run(&["bounces", "report", "--check"]).code, 1);
    let json: Value = serde_json::from_str(
        &place
            .run(&["bounces", "report", "--format", "json", "--calibration"])
            .out,
    )
    .unwrap();
    assert_eq!(
        (&json["total"]["counts"]["soft"], &json["alerts"][0]["class"]),
        (&3.into(), &"ip_blocklisted".into())
    );
    assert!(json["calibration"].is_array());
    let csv = place.run(&["bounces", "report", "--by", "list", "--format", "csv"]).out;
    assert!(csv.lines().any(|line| line.starts_with("news,")), "{csv}");
    place.run(&["bounces", "report", "--output", "page.html"]);
    assert!(place.read("page.html").contains("Content-Security-Policy"));
    let segment = place.run(&["bounces", "report", "--segment", "reengage"]);
    assert!(segment.out.contains("blocked@acme-corp.com,3,"), "{}", segment.out);
    let nothing = Place::new().run(&["bounces", "report"]);
    assert!(
        nothing.code == 2 && nothing.err.contains("`presend bounces import PATH`"),
        "{}",
        nothing.err
    );
}

/// What was said of each row.
#[derive(Default)]
struct Said(Vec<(String, &'static str, &'static str)>);

impl Sink for Said {
    fn write(&mut self, row: &Row, outcome: &Outcome) -> io::Result<()> {
        let verdict = &outcome.verdict;
        self.0
            .push((row.address().to_owned(), verdict.reason.name(), outcome.source.name()));
        Ok(())
    }
}

fn suppressing(address: &str) -> NewSuppression {
    NewSuppression {
        mailbox: address.into(),
        scope: Scope::everywhere(),
        reason: SuppressionReason::Manual,
        source: Author::Person,
        note: None,
        happened_at: SystemTime::now(),
        expires_at: None,
    }
}

const LIST: &str =
    "valid@sandbox.test\ninvalid@sandbox.test\nvalid@sandbox.test\nvalid2@sandbox.test\nnot an address\n";

async fn engine(store: &Arc<SqliteStore>, sandbox: &Sandbox) -> Engine {
    let lookup = Lookup::for_run(Arc::clone(store), Mailing::default()).unwrap();
    let engine = Engine::start(sandbox.settings().unwrap()).await.unwrap();
    engine
        .with_lookup(lookup)
        .with_store(Arc::clone(store) as Arc<dyn Store>)
}

async fn verify(engine: &Engine) -> Said {
    let table = Table::from_reader(&mut LIST.as_bytes(), "list", &InputOptions::default()).unwrap();
    let mut said = Said::default();
    let summary = engine
        .verify(table, &mut said, &Progress::default(), Stop::new())
        .await
        .unwrap();
    assert!(summary.complete, "{summary:?}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn records_stay_with_their_addresses_when_the_operators_lists_change() {
    let sandbox = Sandbox::start().await.unwrap();
    let store = Arc::new(SqliteStore::private().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let block = folder.path().join("block.txt");
    fs::write(&block, "valid@sandbox.test\n").unwrap();
    let lists = [UserLists::load(&[], &[block]).unwrap(), UserLists::default()];
    let mut engines = Vec::new();
    for user_lists in lists {
        let settings = Settings {
            user_lists,
            ..sandbox.settings().unwrap()
        };
        let engine = Engine::start(settings).await.unwrap();
        engines.push(engine.with_store(Arc::clone(&store) as Arc<dyn Store>));
    }
    let reasons = |said: Said| -> Vec<&str> { said.0.into_iter().map(|(_, reason, _)| reason).collect() };
    let blocked = ["block_listed", "mailbox_unknown", "block_listed", "mailbox_unknown"];
    assert_eq!(reasons(verify(&engines[0]).await)[..4], blocked);
    let job = store.jobs().unwrap().pop().unwrap();
    let mut shown = Said::default();
    engines[1].export(&job, &mut shown).unwrap();
    let shown = reasons(shown);
    assert_eq!(
        (shown[1], shown[3]),
        ("mailbox_unknown", "mailbox_unknown"),
        "{shown:?}"
    );
    assert_eq!(
        (shown[0], shown[2]),
        ("interrupted", "interrupted"),
        "nobody was asked about it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_asks_nobody_about_the_suppressed_and_a_finished_job_shows_them_too() {
    let sandbox = Sandbox::start().await.unwrap();
    let store = Arc::new(SqliteStore::private().unwrap());
    let before = verify(&engine(&store, &sandbox).await).await;
    assert!(before.0.iter().all(|(_, reason, _)| *reason != "suppressed_manual"));
    store.suppress(vec![suppressing("VALID@sandbox.test")]).unwrap();
    let expected: Vec<_> = before
        .0
        .iter()
        .map(|(address, reason, _)| match address.as_str() {
            "valid@sandbox.test" => (address.clone(), "suppressed_manual"),
            _ => (address.clone(), *reason),
        })
        .collect();
    let reasons = |said: &Said| {
        said.0
            .iter()
            .map(|(address, reason, _)| (address.clone(), *reason))
            .collect::<Vec<_>>()
    };
    let engine = engine(&store, &sandbox).await;
    let after = verify(&engine).await;
    assert_eq!(reasons(&after), expected);
    assert_eq!(after.0[0].2, "suppression");
    // The records of the first job stay with their addresses.
    let first = store.jobs().unwrap().pop().unwrap();
    let mut shown = Said::default();
    engine.export(&first, &mut shown).unwrap();
    assert_eq!(reasons(&shown), expected);
    let few: Vec<String> = ["valid@sandbox.test", "invalid@sandbox.test"].map(str::to_owned).into();
    let few = engine.check(&few, &Stop::new()).await.unwrap();
    assert_eq!(few[0].verdict.reason.name(), "suppressed_manual");
    assert_ne!(few[1].verdict.reason.name(), "suppressed_manual");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_to_mail_outranks_an_older_probe_and_no_newer_one() {
    let sandbox = Sandbox::start().await.unwrap();
    let store = Arc::new(SqliteStore::private().unwrap());
    let event = |recipient: &str, kind, at| Event::new(recipient, kind, at, Origin::Service);
    let hour = Duration::from_hours(1);
    let old = event("valid@sandbox.test", EventKind::Delivered, SystemTime::now() - hour);
    store.add_events(vec![old], false).unwrap();
    let first = verify(&engine(&store, &sandbox).await).await;
    assert_eq!((first.0[0].1, first.0[0].2), ("delivered", "delivery"));
    // Asked, it stays what the host said: the probe is newer.
    let mut settings = sandbox.settings().unwrap();
    settings.memory.refresh = true;
    let lookup = || Lookup::for_run(Arc::clone(&store), Mailing::default()).unwrap();
    let asking = Engine::start(settings)
        .await
        .unwrap()
        .with_lookup(lookup())
        .with_store(Arc::clone(&store) as Arc<dyn Store>);
    assert_eq!(verify(&asking).await.0[0].1, "mailbox_exists");
    let second = verify(&engine(&store, &sandbox).await).await;
    assert_eq!((second.0[0].1, second.0[0].2), ("mailbox_exists", "store"));
    tokio::task::block_in_place(std::thread::yield_now);
    let hard = EventKind::Bounced {
        class: presend::replies::Class::UserUnknown,
        persistence: presend::replies::Persistence::Permanent,
    };
    let later = SystemTime::now();
    store
        .add_events(vec![event("valid@sandbox.test", hard, later)], false)
        .unwrap();
    let third = verify(&engine(&store, &sandbox).await).await;
    assert_eq!((third.0[0].1, third.0[0].2), ("hard_bounced", "bounce"));
    assert_eq!(third.0[3].1, first.0[3].1, "nobody else is concerned");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_and_most_mailed_are_asked_about_first() {
    let sandbox = Sandbox::start().await.unwrap();
    let store = Arc::new(SqliteStore::private().unwrap());
    verify(&engine(&store, &sandbox).await).await;
    let at = |days: u64| SystemTime::now() + Duration::from_hours(24 * days);
    let wanted = |days, most| Aged {
        older_than: Duration::from_hours(24 * 30),
        most,
        now: at(days),
    };
    assert!(aged(&store, &wanted(29, 10)).unwrap().is_empty(), "nothing has aged");
    let all = aged(&store, &wanted(31, 10)).unwrap();
    assert!(all.contains(&"valid@sandbox.test".to_owned()), "{all:?}");
    assert!(
        !all.contains(&"invalid@sandbox.test".to_owned()),
        "the dead are left in peace"
    );
    let last = all.last().unwrap().clone();
    let event = |number: u64| {
        let at = SystemTime::now() + Duration::from_secs(number);
        Event::new(last.as_str(), EventKind::Delivered, at, Origin::Service)
    };
    store.add_events((0..5).map(event).collect(), false).unwrap();
    assert_eq!(aged(&store, &wanted(31, 1)).unwrap(), [last]);
}
