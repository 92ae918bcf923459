//! What was spent of a host's patience outlives the process: counted at a host in memory, on a paused clock.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use presend::{
    clock::Clock,
    input::{InputOptions, Table},
    job::{Engine, EngineSeams, Progress, Settings, Stop},
    schedule::Limits,
    store::SqliteStore,
};
use tokio::time::Instant;

use crate::{
    fake::{FakeNet, MINUTE, SECOND, mailboxes, say},
    job::{Kept, Routes, settings},
};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// The wall clock of a paused test; it can be set wrong.
struct Paused {
    start: Instant,
    wall: Mutex<SystemTime>,
}

impl Paused {
    fn set(&self, change: impl FnOnce(SystemTime) -> SystemTime) {
        let mut wall = self.wall.lock().unwrap();
        *wall = change(*wall);
    }
}

impl Clock for Paused {
    fn now(&self) -> SystemTime {
        *self.wall.lock().unwrap() + self.start.elapsed()
    }
}

/// A host, and the database that every process opens anew.
struct Bench {
    net: FakeNet,
    folder: tempfile::TempDir,
    clock: Arc<Paused>,
    settings: Settings,
}

impl Bench {
    fn new(net: FakeNet, limits: Limits) -> Self {
        Self {
            net,
            folder: tempfile::tempdir().unwrap(),
            clock: Arc::new(Paused {
                start: Instant::now(),
                wall: Mutex::new(SystemTime::now()),
            }),
            settings: Settings {
                trusted: Vec::new(),
                limits,
                max_wait: Duration::MAX,
                description: "{}".into(),
                ..settings()
            },
        }
    }

    fn engine(&self) -> Engine {
        let seams = EngineSeams {
            route: Arc::new(Routes),
            dial: Arc::new(self.net.clone()),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
        };
        let path: &Path = &self.folder.path().join("jobs.db");
        let store = Arc::new(SqliteStore::open(path).unwrap().store);
        Engine::with_seams(self.settings.clone(), seams)
            .unwrap()
            .with_store(store)
    }

    /// Runs the list until the host has heard so many recipients, and cuts the run off; `true` if it came to its end.
    async fn run(&self, list: &str, until: usize) -> bool {
        let (engine, list) = (self.engine(), list.to_owned());
        let run = tokio::spawn(async move {
            let table = Table::from_reader(&mut list.as_bytes(), "list", &InputOptions::default()).unwrap();
            let mut kept = Kept::default();
            let summary = engine
                .verify(table, &mut kept, &Progress::default(), Stop::new())
                .await
                .unwrap();
            assert_eq!(kept.0.len(), list.lines().count(), "every row is written");
            summary
        });
        while !run.is_finished() && self.net.recipients().len() < until {
            tokio::time::sleep(SECOND).await;
        }
        run.abort();
        run.await.is_ok()
    }
}

fn users(count: usize) -> String {
    (0..count).fold(String::new(), |list, n| list + &format!("user{n}@one.test\n"))
}

#[tokio::test(start_paused = true)]
async fn a_restart_does_not_refill_a_budget() {
    let limits = Limits {
        refusals_per_hour: 8,
        refused_percent: 100,
        ..Limits::POLITE
    };
    let bench = Bench::new(FakeNet::new("", mailboxes(&[])), limits);
    let list = users(20);
    let mut restarts = 0;
    while !bench.run(&list, bench.net.recipients().len() + 3).await {
        restarts += 1;
        assert!(restarts < 50, "it must come to its end");
    }
    assert!(restarts >= 5, "{restarts}");
    let asked: Vec<Instant> = bench.net.recipients().into_iter().map(|(at, _)| at).collect();
    for (window, most) in [(MINUTE, 4), (HOUR, 8)] {
        for (index, first) in asked.iter().enumerate() {
            let within = asked.iter().skip(index).take_while(|at| **at - *first < window).count();
            assert!(within <= most, "{within} refusals in {window:?}");
        }
    }
    // Each restart may repeat what one session carries.
    assert!(
        asked.len() <= 20 + 2 * restarts,
        "{} questions, {restarts} restarts",
        asked.len()
    );
}

#[tokio::test(start_paused = true)]
async fn a_restart_does_not_close_a_breaker() {
    let blocked = |heard: &crate::fake::Heard<'_>| {
        heard
            .rcpt()
            .map(|_| say("554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.example.org"))
    };
    let bench = Bench::new(FakeNet::new("", blocked), Limits::POLITE);
    for _ in 0..2 {
        assert!(!bench.run(&users(3), bench.net.recipients().len() + 1).await);
    }
    assert!(bench.run(&users(3), usize::MAX).await, "the third trip ends the run");
    let opened: Vec<Instant> = bench
        .net
        .connections()
        .iter()
        .map(|connection| connection.opened)
        .collect();
    assert_eq!(opened.len(), 3);
    for pair in opened.windows(2) {
        assert!(pair[1] - pair[0] >= Limits::POLITE.breaker, "{:?}", pair[1] - pair[0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_spent_budget_is_spent_for_an_impatient_run_too() {
    let limits = Limits {
        refusals_per_hour: 4,
        refused_percent: 100,
        ..Limits::POLITE
    };
    let mut bench = Bench::new(FakeNet::new("", mailboxes(&[])), limits);
    bench.settings.max_wait = Duration::ZERO;
    assert!(bench.run(&users(10), usize::MAX).await);
    assert_eq!(bench.net.recipients().len(), 4);
    assert!(bench.run(&users(10), usize::MAX).await);
    assert_eq!(
        bench.net.recipients().len(),
        4,
        "the same list again, and nothing to spend"
    );
    tokio::time::sleep(HOUR).await;
    assert!(bench.run(&users(10), usize::MAX).await);
    let asked = bench.net.recipients();
    assert_eq!(asked.len(), 8);
    let different: std::collections::BTreeSet<_> = asked.iter().map(|(_, rcpt)| rcpt).collect();
    assert_eq!(different.len(), 8, "nobody is asked twice: {different:?}");
}

#[tokio::test(start_paused = true)]
async fn the_control_recipient_and_its_time_outlive_the_process() {
    let start = Instant::now();
    let grey = move |heard: &crate::fake::Heard<'_>| {
        let rcpt = heard.rcpt()?;
        if rcpt == "user0@one.test" {
            return None;
        }
        Some(if start.elapsed() < 5 * MINUTE {
            say("451 4.7.1 Greylisted, see you later")
        } else {
            say("550 5.1.1 User unknown")
        })
    };
    let mut patient = Bench::new(FakeNet::new("", grey), Limits::POLITE);
    patient.settings.retry_ladder = vec![6 * MINUTE].into();
    // Cut off while the control recipient waits; then once more by a run that may not wait.
    assert!(!patient.run(&users(1), 2).await);
    patient.settings.max_wait = Duration::ZERO;
    assert!(patient.run(&users(1), usize::MAX).await);
    assert_eq!(patient.net.recipients().len(), 2, "nothing is due");
    patient.settings.max_wait = Duration::MAX;
    assert!(patient.run(&users(1), usize::MAX).await);
    let asked: Vec<(Instant, String)> = patient.net.recipients();
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert_eq!(asked[1].1, asked[2].1, "the same control recipient");
    assert!(asked[2].0 - asked[1].0 >= 6 * MINUTE);
}

#[tokio::test(start_paused = true)]
async fn j4_a_clock_that_is_set_back_locks_nobody_out_for_longer_than_the_window() {
    let limits = Limits {
        refusals_per_hour: 4,
        refused_percent: 100,
        ..Limits::POLITE
    };
    let mut bench = Bench::new(FakeNet::new("", mailboxes(&[])), limits.clone());
    bench.net.allows(&limits);
    bench.settings.max_wait = Duration::ZERO;
    assert!(bench.run(&users(10), usize::MAX).await);
    assert_eq!(bench.net.recipients().len(), 4);
    bench.clock.set(|wall| wall - DAY);
    assert!(bench.run(&users(10).replace("user", "other"), usize::MAX).await);
    assert_eq!(bench.net.recipients().len(), 4, "what was spent stays spent");
    tokio::time::sleep(HOUR + MINUTE).await;
    assert!(bench.run(&users(10).replace("user", "third"), usize::MAX).await);
    assert_eq!(bench.net.recipients().len(), 8, "an hour is an hour");
}

#[tokio::test(start_paused = true)]
async fn j4_an_answer_from_tomorrow_is_not_believed() {
    for (jump, asked_again) in [(Duration::ZERO, false), (DAY, true)] {
        let mut bench = Bench::new(FakeNet::new("", mailboxes(&[])), Limits::POLITE);
        bench.settings.max_wait = Duration::ZERO;
        assert!(bench.run(&users(1), usize::MAX).await);
        assert_eq!(bench.net.recipients().len(), 1);
        tokio::time::sleep(HOUR).await;
        bench.clock.set(|wall| wall - jump);
        // Another job, which may use what the first one learned.
        bench.settings.description = "{\"another\":true}".into();
        assert!(bench.run("user0@one.test\n", usize::MAX).await);
        assert_eq!(bench.net.recipients().len() == 2, asked_again, "set back by {jump:?}");
    }
}
