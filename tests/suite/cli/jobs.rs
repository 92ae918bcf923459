//! `presend jobs` and the settings of the database, as people meet them.

use std::{fs, path::Path};

use presend::store::{JobState, Lease, NewJob, SqliteStore, Store, Write};
use serde_json::Value;

use super::{Place, Ran};

const SUMMARY: &str = r#"{"unique":980,"rows":1000,"answered":490,"by_label":{"valid":400,"invalid":60,"unknown":30},
    "by_reason":{"mailbox_exists":400,"mailbox_unknown":60,"greylisted":30}}"#;

/// A job in the database at the usual place.
fn make(store: &SqliteStore, source: &str, state: JobState, summary: &str) -> Lease {
    let job = NewJob {
        source: source.into(),
        settings: r#"{"level":"smtp"}"#.into(),
        layout: r#"{"columns":["email"]}"#.into(),
    };
    let lease = store.create(&job).unwrap();
    store.imported(&lease, 1000, source.as_bytes()).unwrap();
    store.submit(Write::Job {
        lease: lease.clone(),
        summary: summary.into(),
        state,
        released: true,
    });
    store.flush().blocking_recv().unwrap().unwrap();
    lease
}

fn database(place: &Place) -> std::path::PathBuf {
    place.0.path().join(".local/state/presend/presend.db")
}

fn open(place: &Place) -> SqliteStore {
    SqliteStore::open(&database(place)).unwrap().store
}

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}{}", ran.out, ran.err))
}

/// The text with the id and the times replaced.
fn plain(text: &str, id: &str) -> String {
    let line = |line: &str| match line.trim_start() {
        word if word.starts_with("made ") || word.starts_with("last active ") => {
            line.chars().take(16).collect::<String>() + "TIME"
        }
        _ => line.replace(id, "IDIDIDID"),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn looking_for_jobs_makes_no_database() {
    let place = Place::new();
    let ran = place.run(&["jobs", "list"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, ""));
    assert!(
        ran.err.contains("there is no database") && ran.err.contains("presend verify leads.csv"),
        "{}",
        ran.err
    );
    assert_eq!(place.run(&["jobs", "list", "--json"]).out.trim(), "[]");
    let ran = place.run(&["jobs", "show", "abcd"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("there is no job `abcd`"), "{}", ran.err);
    assert!(!place.has(".local"));
}

#[test]
fn jobs_are_listed_newest_first() {
    let place = Place::new();
    let store = open(&place);
    let first = make(&store, "leads.csv", JobState::Done, SUMMARY);
    let second = make(
        &store,
        "\u{1b}]0;evil\u{7}\u{202e}vsc.csv",
        JobState::Open,
        "not JSON at all",
    );
    drop(store);
    let ran = place.run(&["jobs", "list"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let lines: Vec<&str> = ran.out.lines().collect();
    assert!(
        lines[0].starts_with("id        state  rows ") && lines[0].ends_with("list"),
        "{}",
        ran.out
    );
    assert!(
        lines[1].starts_with(&second.id) && lines[2].starts_with(&first.id),
        "{}",
        ran.out
    );
    assert!(lines[2].contains("done") && lines[2].contains("490 (50.0 %)") && lines[2].ends_with("leads.csv"));
    assert!(!ran.out.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{:?}", ran.out);
    let all = json(&place.run(&["jobs", "list", "--json"]));
    assert_eq!(all[0]["id"], second.id);
    assert_eq!(all[0]["source"], "\u{1b}]0;evil\u{7}\u{202e}vsc.csv");
    assert_eq!((&all[0]["answered"], &all[0]["eta"]), (&Value::Null, &Value::Null));
    assert_eq!(all[1]["state"], "done");
    assert_eq!(
        all[1]["by_label"].to_string(),
        r#"{"valid":400,"unknown":30,"invalid":60}"#
    );
    assert_eq!(
        (&all[1]["by_reason"]["greylisted"], &all[1]["rows"]),
        (&30.into(), &1000.into())
    );
    assert_eq!(all[1]["settings"]["level"], "smtp");
}

#[test]
fn a_job_is_shown_by_the_first_letters_of_its_id() {
    let place = Place::new();
    let store = open(&place);
    let job = make(&store, "my leads.csv", JobState::Open, SUMMARY);
    drop(store);
    let ran = place.run(&["jobs", "show", &job.id[..3]]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    insta::assert_snapshot!(plain(&ran.out, &job.id), @r#"
    IDIDIDID  open  my leads.csv
      rows          1,000
      addresses     980 different
      answered      490 (50.0 %)
      worked on by  nobody
      made          TIME
      last active   TIME
      ready         unknown
      settings      {"level":"smtp"}

      labels
      valid                              400   81.6 %
      invalid                             60   12.2 %
      unknown                             30    6.1 %

      reasons
      mailbox_exists                     400   81.6 %  The mail host accepted this recipient and refuses unknown ones.
      mailbox_unknown                     60   12.2 %  The mail host says that there is no such mailbox.
      greylisted                          30    6.1 %  The mail host greylists unknown senders (RFC 6647).

    next  go on:  presend jobs resume IDIDIDID
          write out what is answered:  presend jobs export IDIDIDID
          give it up:  presend jobs cancel IDIDIDID
    "#);
    let shown = json(&place.run(&["jobs", "show", &job.id, "--json"]));
    assert_eq!(
        (&shown["id"], &shown["unique"], &shown["taken"]),
        (&job.id.as_str().into(), &980.into(), &false.into())
    );
    for wrong in ["", "0", &format!("{}x", job.id)] {
        let ran = place.run(&["jobs", "show", wrong]);
        assert_eq!(ran.code, 2);
        assert!(
            ran.err.contains("there is no job") && ran.err.contains("presend jobs list"),
            "{}",
            ran.err
        );
    }
}

#[test]
fn what_several_ids_start_with_names_none() {
    let place = Place::new();
    let store = open(&place);
    // Ids have 31 possible first letters.
    let mut ids: Vec<String> = (0..40).map(|_| store.create(&new()).unwrap().id).collect();
    drop(store);
    ids.sort();
    let twice = ids.windows(2).find(|pair| pair[0][..1] == pair[1][..1]).unwrap()[0][..1].to_owned();
    let ran = place.run(&["jobs", "delete", &ids[0], &twice]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.err.contains(&format!("jobs have an id that starts with `{twice}`")),
        "{}",
        ran.err
    );
    assert_eq!(open(&place).jobs().unwrap().len(), 40, "nothing is deleted");
}

fn new() -> NewJob {
    NewJob {
        source: "leads.csv".into(),
        settings: "{}".into(),
        layout: "{}".into(),
    }
}

#[test]
fn a_job_is_cancelled_once_and_then_deleted() {
    let place = Place::new();
    let store = open(&place);
    let job = make(&store, "leads.csv", JobState::Open, SUMMARY);
    let done = make(&store, "done.csv", JobState::Done, SUMMARY);
    drop(store);
    for _ in 0..2 {
        let ran = place.run(&["jobs", "cancel", &job.id]);
        assert_eq!((ran.code, ran.out), (0, format!("job {} is cancelled\n", job.id)));
    }
    assert_eq!(
        json(&place.run(&["jobs", "show", &job.id, "--json"]))["answered"],
        490,
        "what was answered stays"
    );
    let ran = place.run(&["jobs", "cancel", &done.id]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.err.contains("is done") && ran.err.contains("presend jobs delete"),
        "{}",
        ran.err
    );
    let ran = place.run(&["jobs", "delete", &job.id, &job.id]);
    assert_eq!(
        (ran.code, ran.out),
        (0, format!("job {} is deleted: 1,000 rows of leads.csv\n", job.id))
    );
    let gone = json(&place.run(&["jobs", "delete", &done.id, "--json"]));
    assert_eq!(gone[0]["source"], "done.csv");
    assert_eq!(place.run(&["jobs", "list", "--json"]).out.trim(), "[]");
    let bytes = fs::read(database(&place)).unwrap();
    assert!(
        memchr::memmem::find(&bytes, b"leads.csv").is_none() && memchr::memmem::find(&bytes, b"done.csv").is_none()
    );
}

#[test]
fn a_job_that_is_worked_on_is_left_alone() {
    let place = Place::new();
    let store = open(&place);
    let job = store.create(&new()).unwrap();
    let process = format!("process {}", std::process::id());
    for command in ["cancel", "delete"] {
        let ran = place.run(&["jobs", command, &job.id]);
        assert_eq!(ran.code, 2);
        assert!(
            ran.err
                .contains(&format!("another presend works on job {} ({process})", job.id)),
            "{}",
            ran.err
        );
    }
    let ran = place.run(&["jobs", "show", &job.id]);
    assert!(
        ran.out.contains(&process) && ran.out.contains("it is being worked on"),
        "{}",
        ran.out
    );
    assert!(place.run(&["jobs", "list"]).out.contains(&process));
}

#[test]
fn the_database_is_where_it_is_said_to_be() {
    let place = Place::new();
    let shown = |command: &mut assert_cmd::Command| -> String {
        let shown: Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
        shown["settings"]["db"]["value"].as_str().unwrap().to_owned()
    };
    let show = ["config", "show", "--json"];
    assert_eq!(shown(&mut place.command(&show)), database(&place).to_str().unwrap());
    let state = place.0.path().join("state");
    assert_eq!(
        shown(place.command(&show).env("XDG_STATE_HOME", &state)),
        state.join("presend/presend.db").to_str().unwrap()
    );
    assert_eq!(
        shown(place.command(&show).env("XDG_STATE_HOME", "relative")),
        database(&place).to_str().unwrap()
    );
    place.write("conf/presend.toml", "db = \"own.db\"\n");
    let own = Path::new("conf").join("own.db");
    assert_eq!(
        shown(&mut place.command(&["config", "show", "--json", "--config", "conf/presend.toml"])),
        own.to_str().unwrap()
    );
    let store = SqliteStore::open(&place.0.path().join(&own)).unwrap().store;
    make(&store, "leads.csv", JobState::Done, "{}");
    drop(store);
    let listed = json(&place.run(&["jobs", "list", "--json", "--config", "conf/presend.toml"]));
    assert_eq!(listed[0]["source"], "leads.csv");
    for arguments in [&["--db", "conf/own.db"][..], &[]] {
        let mut command = place.command(&[&["jobs", "list", "--json"][..], arguments].concat());
        let ran = Ran::from(command.env("PRESEND_DB", "conf/own.db").output().unwrap());
        assert_eq!(json(&ran)[0]["source"], "leads.csv");
    }
    let ran = Ran::from(
        place
            .command(&["jobs", "list"])
            .env_remove("HOME")
            .env_remove("XDG_STATE_HOME")
            .output()
            .unwrap(),
    );
    assert!(ran.code == 2 && ran.err.contains("--db FILE"), "{}", ran.err);
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let place = Place::new();
    for arguments in [&["--offline", "--refresh"][..], &["--offline", "--no-store"]] {
        let ran = place.run(&[&["check", "--level", "syntax", "a@acme-corp.com"][..], arguments].concat());
        assert_eq!(ran.code, 2, "{arguments:?}");
        assert!(ran.err.contains("leave one of them out"), "{}", ran.err);
    }
    for arguments in [
        &["--max-age", "old"][..],
        &["--keep-days", "soon"],
        &["--keep-days", "40000"],
    ] {
        let ran = place.run(&[&["check", "a@acme-corp.com"][..], arguments].concat());
        assert_eq!(ran.code, 2, "{arguments:?}");
        assert!(ran.err.contains(arguments[0]), "{}", ran.err);
    }
}

#[test]
fn a_damaged_database_is_moved_aside_with_a_message() {
    let place = Place::new();
    place.write("own.db", vec![0xa5; 9000]);
    let ran = place.run(&["jobs", "list", "--db", "own.db"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(
        ran.err
            .contains("the database `own.db` is damaged; it was moved to `own.db.damaged-"),
        "{}",
        ran.err
    );
    let foreign = rusqlite::Connection::open(place.0.path().join("foreign.db")).unwrap();
    foreign.execute_batch("CREATE TABLE bookmark (url TEXT)").unwrap();
    let ran = place.run(&["jobs", "list", "--db", "foreign.db"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("it belongs to another program"), "{}", ran.err);
}

/// Root may write anywhere, so as root the program runs as somebody else, from a copy that everybody may read.
#[cfg(unix)]
#[test]
fn a_database_that_may_not_be_written_is_an_error() {
    use std::os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    };
    let place = Place::new();
    drop(SqliteStore::open(&place.0.path().join("file/presend.db")).unwrap());
    drop(SqliteStore::open(&place.0.path().join("folder/presend.db")).unwrap());
    let mode = |name: &str, mode| {
        fs::set_permissions(place.0.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    mode("", 0o755);
    mode("file", 0o777);
    mode("file/presend.db", 0o444);
    mode("folder", 0o555);
    mode("folder/presend.db", 0o666);
    let program = place.0.path().join("presend");
    // By another process: a test that starts one at the same time would inherit the file, and it could not be run.
    let mut copy = std::process::Command::new("cp");
    copy.arg(assert_cmd::cargo::cargo_bin!("presend")).arg(&program);
    assert!(copy.status().unwrap().success());
    let root = fs::metadata(&program).unwrap().uid() == 0;
    for (database, said) in [
        ("file/presend.db", "read-only"),
        ("folder/presend.db", "folder/presend.db"),
        ("none/presend.db", "there is no database"),
    ] {
        let mut command = std::process::Command::new(&program);
        command
            .args(["jobs", "list", "--db", database])
            .current_dir(place.0.path());
        if root {
            command.uid(65_534);
        }
        let ran = Ran::from(command.output().unwrap());
        assert_eq!(
            ran.code,
            if database.starts_with("none") { 0 } else { 2 },
            "{database}: {}",
            ran.err
        );
        assert!(ran.err.contains(said), "{database}: {}", ran.err);
    }
    mode("folder", 0o755);
}
