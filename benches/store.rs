//! How fast answers go into the database and come back, against SQLite's own speed: blobs of the same size into a plain table.
//!
//! `cargo bench --bench store`, or with a number of records: `cargo bench --bench store -- 1000000`; `--quick` for ten thousand.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::allow_attributes,
    missing_docs,
    reason = "a measurement that meets the unexpected must stop"
)]

use std::{
    fs,
    path::Path,
    sync::{Arc, mpsc},
    time::{Duration, Instant, SystemTime},
};

use presend::{
    dns::{Exchanger, MailRoute},
    replies::classify,
    smtp::{Reply, Stage},
    store::{
        Entry, Kept, Lease, NewJob, Progress, Reading, Record, Source, SqliteStore, Store, StoreError, Write,
        domain_key,
    },
    verdict::{Answer, Evidence, HostFacts, NotTried, Observed, Policy, UnknownRecipients, judge},
};

const DOMAINS: u32 = 50_000;
const BATCH: u32 = 1_000;
/// Batches on their way to the writer.
const AHEAD: usize = 8;

/// Which records lie in a batch together.
#[derive(Debug, Clone, Copy)]
enum Order {
    /// A domain's answers are settled together, as a run does it.
    ByDomain,
    /// Every record belongs to another domain.
    Scattered,
}

fn main() {
    let wanted = std::env::args().find_map(|argument| argument.parse().ok());
    let quick = std::env::args().any(|argument| argument == "--quick");
    let records: u32 = wanted.unwrap_or(if quick { 10_000 } else { 200_000 });
    for order in [Order::ByDomain, Order::Scattered] {
        measure(records, order);
    }
}

fn measure(records: u32, order: Order) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("presend.db");
    let store = SqliteStore::open(&path).unwrap().store;
    let job = NewJob {
        source: "leads.csv".into(),
        settings: "{}".into(),
        layout: "{}".into(),
    };
    let lease = store.create(&job).unwrap();
    let hosts = Hosts::new();
    // Records are made outside of the measured time.
    let (mut took, mut busy, mut next) = (Duration::ZERO, Duration::ZERO, 0);
    let (tell, told) = mpsc::channel::<Result<Vec<Entry>, Arc<StoreError>>>();
    while next < records {
        let mut batches = Vec::new();
        while batches.len() < AHEAD && next < records {
            batches.push(
                (next..records.min(next + BATCH))
                    .map(|number| hosts.record(number, records, order))
                    .collect(),
            );
            next += BATCH;
        }
        let (since, before, count) = (Instant::now(), on_cpu(), batches.len());
        for records in batches {
            submit(&store, &lease, records, &tell);
        }
        for _ in 0..count {
            told.recv().unwrap().unwrap();
        }
        took += since.elapsed();
        busy += on_cpu().saturating_sub(before);
    }
    let since = Instant::now();
    drop(store);
    let close = since.elapsed();
    let bytes = fs::metadata(&path).unwrap().len();
    let plain = plain(folder.path(), records, bytes / u64::from(records));
    let rate = |took: Duration| f64::from(records) / took.as_secs_f64();
    println!(
        "{order:?}: {:.0} records/s, {:.0} per second of one core; plain blobs {:.0}/s; {} bytes each, closed in {} ms",
        rate(took),
        rate(busy),
        rate(plain),
        bytes / u64::from(records),
        close.as_millis()
    );
    reading(&path, &lease, records);
}

fn reading(path: &Path, lease: &Lease, records: u32) {
    let since = Instant::now();
    let store = SqliteStore::open(path).unwrap().store;
    let open = since.elapsed();
    let since = Instant::now();
    let entries = store.entries(lease.job).unwrap();
    assert_eq!(entries.len(), records as usize);
    let listed = since.elapsed();
    let since = Instant::now();
    let domains = DOMAINS.min(records);
    let known: usize = (0..domains).map(|domain| store.known(key(domain)).unwrap().len()).sum();
    assert_eq!(known, records as usize);
    let known = since.elapsed() / domains;
    let since = Instant::now();
    for entry in &entries {
        store.record(lease.job, entry.place, Reading::default()).unwrap();
    }
    let read = since.elapsed() / records;
    let since = Instant::now();
    store.delete(lease.job).unwrap();
    println!(
        "  opened in {} ms, all entries in {} ms, known() {:.1} us a domain, record() {:.1} us, deleted in {} ms",
        open.as_millis(),
        listed.as_millis(),
        known.as_secs_f64() * 1e6,
        read.as_secs_f64() * 1e6,
        since.elapsed().as_millis()
    );
}

/// What this process's threads have run, where the system tells (Linux).
fn on_cpu() -> Duration {
    let Ok(threads) = fs::read_dir("/proc/self/task") else {
        return Duration::ZERO;
    };
    let ran = threads.flatten().filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(ran.sum())
}

fn submit(
    store: &SqliteStore,
    lease: &Lease,
    records: Vec<Record>,
    tell: &mpsc::Sender<Result<Vec<Entry>, Arc<StoreError>>>,
) {
    let tell = tell.clone();
    store.submit(Write::Records {
        lease: lease.clone(),
        records,
        done: Box::new(move |result| tell.send(result).unwrap()),
    });
}

/// What SQLite itself needs for as many bytes in as many batches.
fn plain(folder: &Path, records: u32, each: u64) -> Duration {
    let mut connection = rusqlite::Connection::open(folder.join("plain.db")).unwrap();
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
             CREATE TABLE batch (number INTEGER PRIMARY KEY, records BLOB NOT NULL);",
        )
        .unwrap();
    let blob = vec![0x5a_u8; (each * u64::from(BATCH)) as usize];
    let since = Instant::now();
    for number in 0..records.div_ceil(BATCH) {
        let transaction = connection.transaction().unwrap();
        let sql = "INSERT INTO batch VALUES (?1, ?2)";
        transaction
            .prepare_cached(sql)
            .unwrap()
            .execute(rusqlite::params![number, blob])
            .unwrap();
        transaction.commit().unwrap();
    }
    since.elapsed()
}

fn key(domain: u32) -> i64 {
    domain_key(&format!("company{domain}.example"))
}

/// Answers of ordinary hosts: some accept, some refuse.
struct Hosts(Vec<Evidence>);

impl Hosts {
    fn new() -> Self {
        let evidence = |host: u32| {
            let name: Arc<str> = format!("mx{host}.hoster.example").into();
            let exchanger = Exchanger {
                host: Arc::clone(&name),
                preference: 10,
                backup: false,
                addresses: Vec::new(),
            };
            let said = if host.is_multiple_of(4) {
                "550 5.1.1 User unknown"
            } else {
                "250 2.1.5 Ok"
            };
            let reply = Reply::parse(said).unwrap();
            let meaning = classify(Stage::Rcpt, &reply, None);
            Evidence {
                route: Observed::Known(Arc::new(MailRoute::Exchangers(vec![exchanger]))),
                host: Some(Arc::new(HostFacts {
                    provider: None,
                    name,
                    ip: Some([192, 0, 2, 7].into()),
                    preference: 10,
                    implicit: false,
                    tls: Some(true),
                    backup: false,
                    untruthful: false,
                })),
                answer: Observed::Known(Arc::new(Answer {
                    stage: Stage::Rcpt,
                    reply,
                    meaning,
                })),
                unknown_recipients: Observed::Known(UnknownRecipients::Refused),
                attempts: 1,
                ..Evidence::not_tried(NotTried::NotNeeded)
            }
        };
        Self((0..DOMAINS).map(evidence).collect())
    }

    fn record(&self, number: u32, records: u32, order: Order) -> Record {
        let domains = DOMAINS.min(records);
        let domain = match order {
            Order::ByDomain => (u64::from(number) * u64::from(domains) / u64::from(records)) as u32,
            Order::Scattered => number % domains,
        };
        let evidence = self.0.get(domain as usize).unwrap().clone();
        let verdict = judge(&evidence, &Policy::default());
        Record {
            address: number,
            key: (
                key(domain),
                i64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_u64.cast_signed()),
            ),
            progress: Progress::Settled,
            kept: Kept {
                mailbox: format!("first.last{number}@company{domain}.example").into(),
                evidence,
                first_asked: Some(SystemTime::now()),
                due: None,
                throttled: false,
                requeued: false,
                retry_at: None,
                checked_at: SystemTime::now(),
                elapsed: Duration::from_millis(412),
                transcripts: Vec::new(),
                source: Source::Live,
                judged: None,
            },
            verdict: Some(verdict),
        }
    }
}
