//! Files that are not what they were, are not ours, cannot be written or have no room.

use std::{
    fs::{self, OpenOptions},
    io::{Seek, SeekFrom, Write as _},
    process::Command,
};

use presend::store::{SqliteStore, StoreError};
use rusqlite::Connection;

use super::{Folder, assert_filled, new_job, numbered, open, sharing, write};
use presend::store::Store;

const ANSWERS: u32 = 1_000;

/// Opens a database that must be moved aside, whole; returns what the folder held before.
fn assert_moved_aside(folder: &Folder, what: &str) {
    let before: Vec<_> = ["", "-wal", "-shm"]
        .into_iter()
        .filter_map(|suffix| {
            Some((
                suffix,
                fs::read(format!("{}{suffix}", folder.database().display())).ok()?,
            ))
        })
        .collect();
    let opened = SqliteStore::open(&folder.database()).unwrap_or_else(|error| panic!("{what}: {error}"));
    let moved = opened.moved.unwrap_or_else(|| panic!("{what}: was not moved aside"));
    assert!(moved.to_str().unwrap().contains("presend.db.damaged-"), "{what}");
    for (suffix, bytes) in before {
        // The index of the log is rebuilt by whoever reads it.
        if suffix != "-shm" {
            let after = fs::read(format!("{}{suffix}", moved.display())).unwrap_or_default();
            assert!(after == bytes, "{what}: `{suffix}` changed on its way");
        }
    }
    let lease = opened.store.create(&new_job("new.csv")).unwrap();
    write(&opened.store, &lease, numbered(0..3)).unwrap();
    drop(opened.store);
    assert_filled(&folder.open(), lease.job, 3);
}

#[test]
fn j6_a_file_cut_at_any_length_is_moved_aside() {
    let whole = {
        let folder = Folder::new();
        folder.filled(ANSWERS);
        fs::read(folder.database()).unwrap()
    };
    let page = 4096;
    assert!(whole.len() > 10 * page);
    for cut in [
        1,
        15,
        16,
        18,
        28,
        99,
        100,
        511,
        512,
        page - 1,
        page,
        page + 1,
        3 * page,
        3 * page + 700,
        whole.len() - page,
        whole.len() - 1,
    ] {
        let folder = Folder::new();
        fs::write(folder.database(), &whole[..cut]).unwrap();
        assert_moved_aside(&folder, &format!("cut to {cut} of {}", whole.len()));
    }
}

#[test]
fn j6_garbage_is_moved_aside_and_two_in_a_second_do_not_meet() {
    let folder = Folder::new();
    for round in 0_u8..3 {
        fs::write(folder.database(), vec![round + 1; 5000]).unwrap();
        assert_moved_aside(&folder, "garbage");
    }
    let damaged = folder.names().into_iter().filter(|name| name.contains("damaged"));
    assert_eq!(damaged.count(), 3);
    let folder = Folder::new();
    folder.filled(ANSWERS);
    let mut file = OpenOptions::new().write(true).open(folder.database()).unwrap();
    file.write_all(&[0xa5; 4096]).unwrap();
    drop(file);
    assert_moved_aside(&folder, "a first page of garbage");
}

#[test]
fn an_empty_file_becomes_a_database_and_a_log_without_one_is_kept() {
    let folder = Folder::new();
    fs::write(folder.database(), "").unwrap();
    drop(folder.open());
    let folder = Folder::new();
    fs::write(folder.database(), "").unwrap();
    fs::write(format!("{}-wal", folder.database().display()), vec![7; 9000]).unwrap();
    assert_moved_aside(&folder, "only the log");
}

#[test]
fn a_page_of_garbage_is_an_error_and_no_panic() {
    let folder = Folder::new();
    let lease = folder.filled(ANSWERS);
    let length = fs::metadata(folder.database()).unwrap().len();
    let mut file = OpenOptions::new().write(true).open(folder.database()).unwrap();
    for page in 2..length / 4096 {
        file.seek(SeekFrom::Start(page * 4096)).unwrap();
        file.write_all(&[0xa5; 4096]).unwrap();
    }
    drop(file);
    let Ok(opened) = SqliteStore::open(&folder.database()) else {
        panic!("the first pages are whole");
    };
    let read = opened.store.entries(lease.job);
    assert!(
        opened.moved.is_some() || matches!(read, Err(StoreError::Damaged(_))),
        "{read:?}"
    );
}

#[test]
fn databases_of_others_and_of_the_future_are_left_as_they_are() {
    let foreign = "CREATE TABLE bookmark (url TEXT); INSERT INTO bookmark VALUES ('https://example.com');";
    for (sql, said) in [
        (foreign.to_owned(), "belongs to another program"),
        (
            format!("PRAGMA journal_mode = WAL; {foreign}"),
            "belongs to another program",
        ),
        (
            format!("PRAGMA application_id = 5; {foreign}"),
            "belongs to another program",
        ),
        ("PRAGMA application_id = 5;".to_owned(), "belongs to another program"),
        (
            format!("PRAGMA application_id = {}; PRAGMA user_version = 99;", 0x5072_736e),
            "has layout 99, this presend knows 4",
        ),
    ] {
        let folder = Folder::new();
        Connection::open(folder.database())
            .unwrap()
            .execute_batch(&sql)
            .unwrap();
        let before = fs::read(folder.database()).unwrap();
        let error = SqliteStore::open(&folder.database()).unwrap_err();
        assert!(error.to_string().contains(said), "{sql}: {error}");
        assert!(fs::read(folder.database()).unwrap() == before, "{sql}: it was changed");
        assert_eq!(folder.names(), ["presend.db"], "{sql}");
    }
}

#[test]
fn a_log_of_another_program_is_left_to_it() {
    let folder = Folder::new();
    let other = Connection::open(folder.database()).unwrap();
    other
        .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE bookmark (url TEXT);")
        .unwrap();
    let log = format!("{}-wal", folder.database().display());
    let before = (fs::read(folder.database()).unwrap(), fs::read(&log).unwrap());
    SqliteStore::open(&folder.database()).unwrap_err();
    assert!((fs::read(folder.database()).unwrap(), fs::read(&log).unwrap()) == before);
}

#[test]
fn places_that_cannot_be_used_say_why() {
    let folder = Folder::new();
    fs::write(folder.0.path().join("file"), "").unwrap();
    for path in ["", "file/below/presend.db"] {
        let error = SqliteStore::open(&folder.0.path().join(path)).unwrap_err();
        assert!(matches!(error, StoreError::Open { .. }), "{path}: {error:?}");
        assert!(error.to_string().contains("`--db FILE` names another"), "{error}");
    }
    drop(open(&folder.0.path().join("made/on/the/way/presend.db")));
}

#[test]
fn j3_a_torn_end_of_the_log_loses_whole_transactions_only() {
    let folder = Folder::new();
    let store = folder.open();
    let lease = store.create(&new_job("leads.csv")).unwrap();
    for from in (0..500).step_by(50) {
        write(&store, &lease, numbered(from..from + 50)).unwrap();
    }
    // A copy of what is there while it is open is what a killed process leaves.
    let log = fs::read(format!("{}-wal", folder.database().display())).unwrap();
    let database = fs::read(folder.database()).unwrap();
    drop(store);
    let mut seen = Vec::new();
    for part in 0..=20 {
        let torn = Folder::new();
        fs::write(torn.database(), &database).unwrap();
        let mut log = log[..log.len() * part / 20].to_vec();
        if part == 19 {
            let middle = log.len() / 2;
            log[middle..].fill(0xa5);
        }
        fs::write(format!("{}-wal", torn.database().display()), log).unwrap();
        let store = torn.open();
        let jobs = store.jobs().unwrap();
        let answers = jobs.first().map_or(0, |job| store.entries(job.number).unwrap().len());
        assert!(answers.is_multiple_of(50), "{answers}");
        if let Some(job) = jobs.first() {
            assert_filled(&store, job.number, u32::try_from(answers).unwrap());
        }
        seen.push(answers);
    }
    assert_eq!((seen.first(), seen.last()), (Some(&0), Some(&500)), "{seen:?}");
    assert!(seen.iter().any(|answers| (1..500).contains(answers)), "{seen:?}");
}

/// A file system of its own, 600 KiB large, where the system lets us have one; the error's own test is beside the writer.
#[test]
fn j3_a_full_disk_keeps_what_was_committed() {
    let folder = Folder::new();
    let mount = folder.0.path().join("small");
    fs::create_dir(&mount).unwrap();
    let script = r#"mount -t tmpfs -o size=600k none "$1" && "$2" store::sharing::acts_as_another_process --exact --nocapture &&
        cp "$1"/presend.db* "$3" && rm "$1"/fill && mount -o remount,size=8m "$1" &&
        PRESEND_TEST_ACT=more "$2" store::sharing::acts_as_another_process --exact --nocapture"#;
    let program = std::env::current_exe().unwrap();
    let output = Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", script, "sh"])
        .args([mount.as_path(), program.as_path(), folder.0.path()])
        .env("PRESEND_TEST_ACT", "fill")
        .env("PRESEND_TEST_DATABASE", mount.join("presend.db"))
        .output();
    let output = match output {
        Ok(output) if !String::from_utf8_lossy(&output.stderr).contains("unshare:") => output,
        _ => return eprintln!("not tested: no mount namespace here"),
    };
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let faults = String::from_utf8_lossy(&output.stderr);
    if faults.contains("mount:") && !said.contains("committed") {
        return eprintln!("not tested: no tmpfs here");
    }
    assert!(output.status.success(), "{said}{faults}");
    assert!(said.contains("no space left for the database"), "{said}");
    let committed = sharing::number_after(&said, "committed ");
    assert!(committed > 0);
    // The copy that was taken while the disk was full.
    let store = folder.open();
    let job = store.jobs().unwrap()[0].number;
    assert_filled(&store, job, committed);
    assert_eq!(sharing::number_after(&said, "afterwards "), committed + 100, "{said}");
}
