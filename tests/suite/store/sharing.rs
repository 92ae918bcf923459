//! Several processes and threads on one database, and those that are killed.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use presend::store::{Claim, JobState, Lease, SqliteStore, Store, StoreError, Write};
use rand::Rng as _;

use super::{Folder, assert_filled, flush, job, new_job, numbered, open, write};

/// This binary again, doing one thing with a database.
pub(super) struct Other {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Other {
    fn start(act: &str, database: &Path) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["store::sharing::acts_as_another_process", "--exact", "--nocapture"])
            .env("PRESEND_TEST_ACT", act)
            .env("PRESEND_TEST_DATABASE", database)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    /// The number in the next line that starts so.
    fn hear(&mut self, start: &str) -> u32 {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(
                self.out.read_line(&mut line).unwrap() > 0,
                "the other process ended without `{start}`"
            );
            if line.contains(start) {
                return number_after(&line, start);
            }
        }
    }

    /// SIGKILL; what it said until then.
    fn kill(mut self) -> String {
        self.child.kill().unwrap();
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        self.child.wait().unwrap();
        rest
    }
}

/// The last number that follows `start`.
pub(super) fn number_after(text: &str, start: &str) -> u32 {
    let rest = text.rsplit(start).next().unwrap();
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap();
    digits
        .parse()
        .unwrap_or_else(|_| panic!("no number after `{start}` in {text}"))
}

/// Does nothing unless another test starts this binary once more.
#[test]
fn acts_as_another_process() {
    let Some(act) = env::var_os("PRESEND_TEST_ACT") else {
        return;
    };
    let database = env::var_os("PRESEND_TEST_DATABASE").unwrap();
    let database = Path::new(&database);
    match act.to_str().unwrap() {
        "write" => write_for_ever(database),
        "hold" => hold(database),
        "fill" => fill(database),
        "more" => more(database),
        other => panic!("{other}"),
    }
}

#[expect(clippy::print_stdout, reason = "the test that started it reads this")]
fn write_for_ever(database: &Path) {
    let store = open(database);
    let lease = match store.jobs().unwrap().first() {
        Some(job) => store.take(job.number).unwrap(),
        None => store.create(&new_job("leads.csv")).unwrap(),
    };
    let mut next = u32::try_from(store.entries(lease.job).unwrap().len()).unwrap();
    println!("starts at {next}");
    loop {
        // Some wait together, so that transactions hold several writes.
        for _ in 0..3 {
            store.submit(Write::Records {
                lease: lease.clone(),
                records: numbered(next..next + 10),
                done: Box::new(|result| {
                    result.unwrap();
                }),
            });
            next += 10;
        }
        flush(&store).unwrap();
        println!("committed {next}");
    }
}

#[expect(clippy::print_stdout, reason = "the test that started it reads this")]
fn hold(database: &Path) {
    let store = open(database);
    let lease = store.create(&new_job("leads.csv")).unwrap();
    write(&store, &lease, numbered(0..10)).unwrap();
    let group = Arc::from("192.0.2.0/24");
    assert!(matches!(
        store.claim(&group).blocking_recv().unwrap().unwrap(),
        Claim::Ours(_)
    ));
    store.submit(Write::Group {
        name: group,
        memory: "{\"spent\":3}".into(),
        released: false,
    });
    flush(&store).unwrap();
    println!("holds {}", lease.job);
    // Until it is killed, or its parent has ended.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

#[expect(clippy::print_stdout, reason = "the test that started it reads this")]
fn fill(database: &Path) {
    let store = open(database);
    let lease = store.create(&new_job("leads.csv")).unwrap();
    // With room for a little more than the database as it is now.
    fs::write(database.with_file_name("fill"), vec![1; 150 << 10]).unwrap();
    for next in (0..).step_by(100) {
        if let Err(error) = write(&store, &lease, numbered(next..next + 100)) {
            assert!(matches!(*error, StoreError::Full { .. }), "{error:?}");
            assert!(store.failure().borrow().is_some());
            flush(&store).unwrap_err();
            println!("{error}\ncommitted {next}");
            return;
        }
    }
}

#[expect(clippy::print_stdout, reason = "the test that started it reads this")]
fn more(database: &Path) {
    let store = open(database);
    let lease = store.take(store.jobs().unwrap()[0].number).unwrap();
    let next = u32::try_from(store.entries(lease.job).unwrap().len()).unwrap();
    write(&store, &lease, numbered(next..next + 100)).unwrap();
    assert_filled(&store, lease.job, next + 100);
    println!("afterwards {}", next + 100);
}

#[test]
fn j3_a_killed_process_leaves_whole_transactions() {
    let folder = Folder::new();
    let mut answered = 0;
    for _ in 0..12 {
        let mut other = Other::start("write", &folder.database());
        // What the one before committed is there, and its job can be taken at once.
        assert_eq!(other.hear("starts at "), answered);
        let rounds = rand::rng().random_range(1..15);
        let mut committed = (0..rounds).map(|_| other.hear("committed ")).last().unwrap();
        let rest = other.kill();
        if rest.contains("committed ") {
            // The last line may be cut off.
            let whole = rest.rsplit_once('\n').map_or("", |(whole, _)| whole);
            if whole.contains("committed ") {
                committed = number_after(whole, "committed ");
            }
        }
        let store = folder.open();
        let job = store.jobs().unwrap()[0].clone();
        assert!(!job.taken);
        answered = u32::try_from(store.entries(job.number).unwrap().len()).unwrap();
        assert!(
            answered >= committed && answered.is_multiple_of(10),
            "{answered} of {committed}"
        );
        assert_filled(&store, job.number, answered);
    }
}

#[test]
fn j9_a_job_and_a_group_belong_to_one_process_until_it_ends() {
    let folder = Folder::new();
    let mut other = Other::start("hold", &folder.database());
    let number = i64::from(other.hear("holds "));
    let process = other.child.id();
    let store = folder.open();
    let held = job(&store, number);
    assert_eq!((held.taken, held.process), (true, Some(process)));
    for refused in [store.take(number).map(drop), store.delete(number)] {
        let error = refused.unwrap_err();
        let (id, message) = (held.id.clone(), error.to_string());
        assert!(matches!(error, StoreError::Busy { .. }), "{error:?}");
        assert!(
            message.contains(&id) && message.contains(&format!("process {process}")),
            "{message}"
        );
    }
    let group = Arc::from("192.0.2.0/24");
    let claim = || store.claim(&group).blocking_recv().unwrap().unwrap();
    assert_eq!(claim(), Claim::Theirs);
    other.kill();
    assert!(!job(&store, number).taken);
    let Claim::Ours(Some((memory, _))) = claim() else {
        panic!("the group is free");
    };
    assert_eq!(memory, "{\"spent\":3}");
    assert_filled(&store, store.take(number).unwrap().job, 10);
}

#[test]
fn j2_whoever_lost_a_job_writes_nothing_more_of_it() {
    let folder = Folder::new();
    let store = folder.open();
    let mine = store.create(&new_job("mine.csv")).unwrap();
    let old = store.create(&new_job("lost.csv")).unwrap();
    let new = store.take(old.job).unwrap();
    // All of it waits for one transaction.
    let (tell, told) = std::sync::mpsc::channel();
    let submit = |lease: &Lease, numbers: std::ops::Range<u32>| {
        let tell = tell.clone();
        store.submit(Write::Records {
            lease: lease.clone(),
            records: numbered(numbers),
            done: Box::new(move |result| tell.send(result.map(|entries| entries.len())).unwrap()),
        });
    };
    submit(&mine, 0..5);
    submit(&old, 0..7);
    store.submit(Write::Job {
        lease: old.clone(),
        summary: "{\"lost\":true}".into(),
        state: JobState::Done,
        released: true,
    });
    store.submit(Write::Chunk {
        lease: old.clone(),
        number: 0,
        rows: vec![1],
    });
    submit(&new, 0..9);
    submit(&mine, 5..10);
    let mut lengths: Vec<_> = told
        .iter()
        .take(4)
        .map(|result| result.map_err(|error| error.to_string()))
        .collect();
    lengths.sort();
    let lost = StoreError::LostLease.to_string();
    assert_eq!(lengths, [Ok(5), Ok(5), Ok(9), Err(lost)]);
    flush(&store).unwrap();
    assert_filled(&store, mine.job, 10);
    assert_filled(&store, old.job, 9);
    assert_eq!(store.chunk(old.job, 0).unwrap(), None);
    assert_eq!(job(&store, old.job).summary, "{}");
    assert!(matches!(store.imported(&old, 1, b"x"), Err(StoreError::LostLease)));
    assert!(store.failure().borrow().is_none());
}

#[test]
fn two_stores_of_one_process_share_a_file_as_two_processes_do() {
    let folder = Folder::new();
    let (one, two) = (folder.open(), folder.open());
    let group = Arc::from("google");
    let claim = |store: &SqliteStore| store.claim(&group).blocking_recv().unwrap().unwrap();
    assert_eq!(claim(&one), Claim::Ours(None));
    assert_eq!(claim(&one), Claim::Ours(None), "its own");
    assert_eq!(claim(&two), Claim::Theirs);
    one.submit(Write::Group {
        name: Arc::clone(&group),
        memory: "{}".into(),
        released: true,
    });
    flush(&one).unwrap();
    assert!(matches!(claim(&two), Claim::Ours(Some(_))), "given back");
    assert_eq!(claim(&one), Claim::Theirs);
    drop(two);
    assert!(matches!(claim(&one), Claim::Ours(Some(_))), "its owner ended");
    let lease = one.create(&new_job("leads.csv")).unwrap();
    let two = folder.open();
    assert!(matches!(two.take(lease.job), Err(StoreError::Busy { .. })));
    drop(one);
    assert_ne!(two.take(lease.job).unwrap(), lease);
}

#[test]
fn ten_threads_write_at_once_and_ten_stores_open_at_once() {
    let folder = Folder::new();
    let store = folder.open();
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                let lease = store.create(&new_job("leads.csv")).unwrap();
                for from in (0..1000).step_by(50) {
                    write(&store, &lease, numbered(from..from + 50)).unwrap();
                }
                assert_filled(&store, lease.job, 1000);
            });
        }
    });
    assert_eq!(store.jobs().unwrap().len(), 10);
    let fresh = Folder::new();
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                let store = fresh.open();
                let lease = store.create(&new_job("leads.csv")).unwrap();
                write(&store, &lease, numbered(0..20)).unwrap();
            });
        }
    });
    let store = fresh.open();
    let jobs = store.jobs().unwrap();
    assert_eq!(jobs.len(), 10);
    for job in jobs {
        assert_filled(&store, job.number, 20);
    }
}

/// Both read the new file and one is to write it: SQLite refuses the other at once, whatever time-out it was given.
#[test]
fn a_new_file_that_another_is_setting_up_is_waited_for() {
    let folder = Folder::new();
    let other = rusqlite::Connection::open(folder.database()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE; PRAGMA user_version = 0").unwrap();
    std::thread::scope(|scope| {
        let opening = scope.spawn(|| folder.open());
        std::thread::sleep(Duration::from_millis(200));
        assert!(!opening.is_finished(), "it waits");
        other.execute_batch("COMMIT").unwrap();
        drop(opening.join().unwrap());
    });
}
