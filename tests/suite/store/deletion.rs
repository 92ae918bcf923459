//! What is deleted is gone, and what is old is forgotten.

use std::{collections::HashSet, fs, time::SystemTime};

use presend::{
    dns::{Exchanger, MailRoute},
    replies::classify,
    smtp::{Reply, Stage},
    store::{Claim, Lease, Record, SqliteStore, Store, StoreError, Write},
    verdict::{Answer, Evidence, NotTried, Observed, Policy, judge},
};
use rand::{Rng as _, SeedableRng, rngs::StdRng};

use super::{Folder, assert_filled, flush, kept, new_job, numbered, record, write};

/// Answers that repeat the local-part, in batches of all sizes.
fn fill(store: &SqliteStore, leases: &[Lease], random: &mut StdRng) -> Vec<Vec<String>> {
    let mut parts = vec![Vec::new(); leases.len()];
    for round in 0..600 {
        let which = random.random_range(0..leases.len());
        let size = [1, 1, 1, 2, 5, 30][random.random_range(0..6)];
        let records: Vec<Record> = (0..size)
            .map(|_| {
                let part = format!("local{:012x}", random.random::<u64>() >> 16);
                let text = format!("550 5.1.1 <{part}@example.com>: no such user");
                let reply = Reply::parse(&text).unwrap();
                let meaning = classify(Stage::Rcpt, &reply, None);
                let mut evidence = Evidence::not_tried(NotTried::NotNeeded);
                evidence.answer = Observed::Known(
                    Answer {
                        stage: Stage::Rcpt,
                        reply,
                        meaning,
                    }
                    .into(),
                );
                let record = record(random.random(), kept(&format!("{part}@example.com"), evidence));
                parts[which].push(part);
                record
            })
            .collect();
        let lease = &leases[which];
        if round % 5 == 0 {
            let rows = parts[which]
                .iter()
                .rev()
                .take(20)
                .flat_map(|part| part.bytes())
                .collect();
            store.submit(Write::Chunk {
                lease: lease.clone(),
                number: round,
                rows,
            });
        }
        write(store, lease, records).unwrap();
    }
    parts
}

/// Local-parts that stand somewhere in the files.
fn found(folder: &Folder) -> HashSet<String> {
    let mut found = HashSet::new();
    for name in folder.names() {
        let bytes = fs::read(folder.0.path().join(name)).unwrap();
        for at in memchr::memmem::find_iter(&bytes, "local") {
            if let Some(part) = bytes.get(at..at + 17).and_then(|part| std::str::from_utf8(part).ok()) {
                found.insert(part.to_owned());
            }
        }
    }
    found
}

#[test]
fn nothing_of_a_deleted_job_is_left_in_any_file() {
    let folder = Folder::new();
    let store = folder.open();
    let leases: Vec<Lease> = (0..5)
        .map(|_| store.create(&new_job("localsource.csv")).unwrap())
        .collect();
    let parts = fill(&store, &leases, &mut StdRng::seed_from_u64(11));
    assert!(parts.iter().all(|parts| parts.len() > 100) && found(&folder).len() > 500);
    for which in [1, 4, 0, 3] {
        store.delete(leases[which].job).unwrap();
        let left = found(&folder);
        let traces: Vec<_> = parts[which].iter().filter(|part| left.contains(*part)).collect();
        assert!(traces.is_empty(), "{traces:?}");
        assert!(store.entries(leases[which].job).unwrap().is_empty());
    }
    let left = found(&folder);
    assert!(
        parts[2].iter().all(|part| left.contains(part)),
        "the others' answers stay"
    );
    assert!(matches!(store.delete(leases[0].job), Err(StoreError::NoSuchJob)));
    store.delete(leases[2].job).unwrap();
    assert!(found(&folder).is_empty());
    assert!(!store.knows_anything().unwrap());
}

#[test]
fn a_job_number_is_never_given_twice() {
    let folder = Folder::new();
    let store = folder.open();
    let old = store.create(&new_job("old.csv")).unwrap();
    store.delete(old.job).unwrap();
    let new = store.create(&new_job("new.csv")).unwrap();
    assert!(new.job > old.job);
    let error = write(&store, &old, super::numbered(0..1)).unwrap_err();
    assert!(matches!(*error, StoreError::LostLease), "{error}");
    assert!(store.entries(new.job).unwrap().is_empty());
}

#[test]
fn only_what_nobody_works_on_is_forgotten() {
    let folder = Folder::new();
    let old = folder.filled(300);
    let store = folder.open();
    let at_work = store.take(old.job).unwrap();
    let claim = store.claim(&"192.0.2.0/24".into()).blocking_recv().unwrap().unwrap();
    assert_eq!(claim, Claim::Ours(None));
    let later = SystemTime::now() + std::time::Duration::from_mins(1);
    let other = folder.open();
    assert_eq!(other.forget(later).unwrap(), 0, "it is being worked on");
    write(&store, &at_work, super::numbered(300..400)).unwrap();
    drop(store);
    assert_eq!(other.forget(std::time::UNIX_EPOCH).unwrap(), 0, "it is not old");
    assert_filled(&other, old.job, 400);
    assert_eq!(other.forget(later).unwrap(), 1);
    assert!(other.jobs().unwrap().is_empty() && other.entries(old.job).unwrap().is_empty());
    drop(other);
    let connection = rusqlite::Connection::open(folder.database()).unwrap();
    let groups: i64 = connection
        .query_row("SELECT count(*) FROM host_group", [], |row| row.get(0))
        .unwrap();
    assert_eq!(groups, 0, "what a killed process left of a group goes too");
}

#[test]
fn a_failed_question_does_not_push_out_a_good_answer() {
    let folder = Folder::new();
    let store = folder.open();
    let lease = store.create(&new_job("leads.csv")).unwrap();
    let refused = {
        let reply = Reply::parse("550 5.1.1 no such user").unwrap();
        let meaning = classify(Stage::Rcpt, &reply, None);
        let answer = Answer {
            stage: Stage::Rcpt,
            reply,
            meaning,
        };
        let exchanger = Exchanger {
            host: "example.com".into(),
            preference: 0,
            backup: false,
            addresses: Vec::new(),
        };
        let mut evidence = Evidence::not_tried(NotTried::NotNeeded);
        evidence.answer = Observed::Known(answer.into());
        evidence.route = Observed::Known(MailRoute::ImplicitMx(exchanger).into());
        evidence.unknown_recipients = Observed::Known(presend::verdict::UnknownRecipients::Refused);
        evidence
    };
    let mut failed = Evidence::not_tried(NotTried::NotNeeded);
    failed.answer = Observed::Failed(presend::verdict::ProbeFailure::Timeout);
    assert_eq!(judge(&refused, &Policy::default()).label.name(), "invalid");
    let first = write(&store, &lease, vec![record(0, kept("a@example.com", refused))]).unwrap();
    let second = write(&store, &lease, vec![record(0, kept("a@example.com", failed.clone()))]).unwrap();
    let places = |store: &SqliteStore| -> Vec<_> { store.known(7).unwrap().iter().map(|known| known.place).collect() };
    assert_eq!(
        places(&store),
        [first[0].place, second[0].place],
        "the good answer first"
    );
    let third = write(&store, &lease, vec![record(0, kept("a@example.com", failed))]).unwrap();
    assert_eq!(
        places(&store),
        [first[0].place, third[0].place],
        "of its kind the newest"
    );
    // What was not asked, or decided by a list, serves nobody.
    write(&store, &lease, super::numbered(1..9)).unwrap();
    assert_eq!(store.known(7).unwrap().len(), 2);
    assert!(store.known(8).unwrap().is_empty());
    flush(&store).unwrap();
}

#[test]
fn an_import_that_was_cut_off_goes_at_once_and_leaves_nothing() {
    let folder = Folder::new();
    let store = folder.open();
    let lease = store.create(&new_job("leads.csv")).unwrap();
    store.submit(Write::Chunk {
        lease: lease.clone(),
        number: 0,
        rows: b"secret.local.part".repeat(20_000),
    });
    flush(&store).unwrap();
    store.abandon(lease.job).unwrap();
    assert!(store.jobs().unwrap().is_empty() && store.chunk(lease.job, 0).unwrap().is_none());
    drop(store);
    let bytes = fs::read(folder.database()).unwrap();
    assert!(bytes.len() > 300_000, "the space is not given back: {}", bytes.len());
    assert!(!bytes.windows(12).any(|bytes| bytes == b"secret.local"));
    // Addresses that were asked about one by one, by a process that was killed: not only rows.
    let store = folder.open();
    let lease = store.create(&new_job("")).unwrap();
    write(&store, &lease, numbered(0..3)).unwrap();
    store.abandon(lease.job).unwrap();
    assert!(store.jobs().unwrap().is_empty() && store.entries(lease.job).unwrap().is_empty());
}
