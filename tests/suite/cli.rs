//! The program as people and scripts meet it: exit codes, messages, settings, files.

pub(crate) mod against_lab;
mod classify;
mod help;
mod jobs;
mod way_out;

use std::{fs, path::Path, process::Output};

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

/// A folder of its own, and the program run in it without the tester's own settings.
pub(crate) struct Place(pub(crate) TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.path().join(name)).unwrap()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.path().join(name).exists()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = assert_cmd::cargo::cargo_bin_cmd!("presend");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PRESEND_") {
                command.env_remove(name);
            }
        }
        command
            .current_dir(self.0.path())
            .env("HOME", self.0.path())
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_STATE_HOME")
            .args(arguments);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::from(self.command(arguments).output().unwrap())
    }
}

pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

pub(crate) fn run(arguments: &[&str]) -> Ran {
    Place::new().run(arguments)
}

#[test]
fn wrong_use_is_2_and_says_what_to_do() {
    let place = Place::new();
    place.write("list.txt", "a@example.com\n");
    for (arguments, said) in [
        (&[][..], "Usage: presend <COMMAND>"),
        (&["chekc"], "a similar subcommand exists: 'check'"),
        (&["check"], "<ADDRESS>..."),
        (&["check", "--levl", "dns", "a@example.com"], "'--level"),
        (
            &["check", "--level", "all", "a@example.com"],
            "[possible values: syntax, dns, smtp]",
        ),
        (
            &["check", "--timeout-reply", "5 parsecs", "a@example.com"],
            "--timeout-reply",
        ),
        (
            &["check", "--retry-ladder", "6m,soon", "a@example.com"],
            "--retry-ladder",
        ),
        (
            &["check", "--nameserver", "ns1", "a@example.com"],
            "`192.0.2.1` or `[2001:db8::1]:5353`",
        ),
        (&["check", "--smtp-port", "0", "a@example.com"], "--smtp-port"),
        (
            &[
                "check",
                "--helo-name",
                "me",
                "--mail-from",
                "a@example.com",
                "b@example.com",
            ],
            "`me`",
        ),
        (
            &["check", "--config", "none.toml", "a@example.com"],
            "cannot read `none.toml`",
        ),
        (&["verify", "none.csv"], "none.csv"),
        (
            &["verify", "list.txt", "--only", "perhaps"],
            "use an action (`send`, `hold`, `drop`)",
        ),
        (
            &["verify", "list.txt", "--split", "a", "--output", "b"],
            "cannot be used with",
        ),
        (
            &["verify", "list.txt", "--json", "--format", "csv"],
            "cannot be used with",
        ),
        (
            &[
                "verify",
                "list.txt",
                "--level",
                "syntax",
                "--output",
                "no/such/folder/out.csv",
            ],
            "no/such/folder/out.csv",
        ),
        (&["lists", "show", "none"], "there is no list `none`"),
        (&["lab", "none.toml"], "none.toml"),
        (&["config", "check"], "presend config check FILE"),
        (&["config", "check", "none.toml"], "cannot read `none.toml`"),
        (&["completions", "tcsh"], "[possible values:"),
        (&["man", "none"], "there is no command `none`"),
    ] {
        let ran = place.run(arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(said), "{arguments:?}: {}", ran.err);
        assert_eq!(ran.out, "", "{arguments:?}");
    }
}

#[test]
fn settings_come_from_flags_then_variables_then_the_file_then_defaults() {
    let place = Place::new();
    place.write(
        "presend.toml",
        "level = \"dns\"\nsmtp_port = 26\nhelo_name = \"file.example\"\nexact = true\n",
    );
    let output = place
        .command(&["config", "show", "--json", "--level", "syntax", "--exact=false"])
        .env("PRESEND_LEVEL", "smtp")
        .env("PRESEND_SMTP_PORT", "27")
        .env("PRESEND_TRUSTED_HOST", "a.example,b.example")
        .output()
        .unwrap();
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    for (key, value, from) in [
        ("level", "\"syntax\"", "--level"),
        ("exact", "false", "--exact"),
        ("smtp_port", "27", "PRESEND_SMTP_PORT"),
        ("trusted_host", "[\"a.example\",\"b.example\"]", "PRESEND_TRUSTED_HOST"),
        ("helo_name", "\"file.example\"", "file"),
        ("no_wait", "false", "default"),
        ("retry_profile", "\"default\"", "default"),
        ("mail_from", "null", "default"),
    ] {
        let setting = &shown["settings"][key];
        assert_eq!(
            (setting["value"].to_string().as_str(), setting["from"].as_str().unwrap()),
            (value, from),
            "{key}"
        );
    }
    assert_eq!(shown["file"], "presend.toml");
}

#[test]
fn what_config_show_prints_is_a_configuration_file() {
    let place = Place::new();
    let flags = [
        "--helo-name",
        "a.example",
        "--trusted-host",
        "mx.a.example",
        "--retry-ladder",
        "1m,2h",
        "--retry",
        "greylisted=6m+31m,sender_blocked=",
        "--source-ip",
        "127.0.0.1,127.0.0.2",
        "--ip=prefer-v4",
    ];
    let first = place.run(&[&["config", "show"][..], &flags].concat());
    place.write("presend.toml", &first.out);
    assert_eq!(place.run(&["config", "check"]).out, "presend.toml: no problem\n");
    let values = |text: &str| -> Vec<String> {
        text.lines()
            .filter_map(|line| Some(line.split_once(" # ")?.0.trim().to_owned()))
            .collect()
    };
    let second = place.run(&["config", "show"]);
    assert_eq!(values(&first.out), values(&second.out));
    assert!(second.out.contains("# presend.toml"), "{}", second.out);
}

#[test]
fn every_setting_is_a_flag_a_variable_and_a_key_of_one_name() {
    let place = Place::new();
    let help = place.run(&["check", "--help"]).out;
    let shown: Value = serde_json::from_str(&place.run(&["config", "show", "--json"]).out).unwrap();
    for key in shown["settings"].as_object().unwrap().keys() {
        assert!(
            help.contains(&format!("--{}", key.replace('_', "-"))),
            "{key} has no flag"
        );
        // A wrong value is refused, or shown with its origin: either way the variable is read.
        let variable = format!("PRESEND_{}", key.to_uppercase());
        let mut command = place.command(&["config", "show", "--json"]);
        let output = command.env(&variable, "true").output().unwrap();
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        let read = text.contains(&variable) || text.contains(&format!("--{}", key.replace('_', "-")));
        assert!(read, "{variable} is not read: {text}");
    }
}

#[test]
fn a_wrong_configuration_file_is_shown_by_line_and_column() {
    let place = Place::new();
    place.write("presend.toml", "level = \"dns\"\n\nhelo_nam = \"mail.example.com\"\n");
    insta::assert_snapshot!(place.run(&["config", "show"]).err, @r#"
    error: presend.toml:3:1: unknown key `helo_nam`
      |
    3 | helo_nam = "mail.example.com"
      | ^^^^^^^^
    hint: did you mean `helo_name`? `presend config show` lists every key
    "#);
    for (text, said) in [
        ("level = \"dsn\"", "presend.toml:1:9: unknown variant `dsn`"),
        ("level = \"dns\"\nlevel = \"dns\"", "presend.toml:2:1: duplicate key"),
        ("exact = yes", "presend.toml:1:9:"),
        ("smtp_port = 70000", "presend.toml:1:13:"),
        ("timeout_reply = 5", "presend.toml:1:17:"),
        ("nameserver = [\"192.0.2.1\", \"ns1\"]", "presend.toml:1:"),
        ("[[level]]", "presend.toml:1:"),
        ("é = 1", "presend.toml:1:1:"),
        ("allow_list = [\"none.txt\"]", "none.txt"),
        (
            "helo_name = \"x\"\nmail_from = \"y\"",
            "the sender's identity cannot be used",
        ),
    ] {
        place.write("presend.toml", text);
        let ran = place.run(&["config", "check"]);
        assert_eq!(ran.code, 2, "{text}: {}", ran.out);
        assert!(
            ran.err.starts_with("error: ") && ran.err.contains(said),
            "{text}: {}",
            ran.err
        );
        assert!(!ran.err.contains('\u{1b}'), "{text}: {}", ran.err);
    }
}

#[test]
fn the_file_is_found_here_or_in_the_configuration_folder() {
    let place = Place::new();
    place.write(".config/presend/presend.toml", "smtp_port = 26\n");
    place.write("xdg/presend/presend.toml", "smtp_port = 27\n");
    let port = |command: &mut Command| {
        let shown: Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
        shown["settings"]["smtp_port"]["value"].clone()
    };
    let show = ["config", "show", "--json"];
    assert_eq!(port(&mut place.command(&show)), 26);
    assert_eq!(
        port(place.command(&show).env("XDG_CONFIG_HOME", place.0.path().join("xdg"))),
        27
    );
    place.write("presend.toml", "smtp_port = 28\n");
    assert_eq!(port(&mut place.command(&show)), 28);
    assert_eq!(
        port(place.command(&show).env("PRESEND_CONFIG", "xdg/presend/presend.toml")),
        27
    );
    assert_eq!(
        port(&mut place.command(&[&show[..], &["--config", ".config/presend/presend.toml"]].concat())),
        26
    );
}

#[test]
fn lists_named_in_the_file_are_relative_to_it() {
    let place = Place::new();
    place.write("conf/presend.toml", "block_list = [\"block.txt\"]\n");
    place.write("conf/block.txt", "spam@example.com\n");
    let ran = place.run(&["config", "check", "conf/presend.toml"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
}

#[test]
fn a_misspelt_variable_is_refused_and_a_foreign_one_is_not() {
    let place = Place::new();
    let output = place
        .command(&["config", "show"])
        .env("PRESEND_HELO_NAM", "x.example")
        .output()
        .unwrap();
    let ran = Ran::from(output);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("did you mean `PRESEND_HELO_NAME`?"), "{}", ran.err);
    let output = place
        .command(&["config", "show"])
        .env("PRESEND_TEST_SOMETHING", "1")
        .output()
        .unwrap();
    assert!(output.status.success());
}

#[test]
fn reasons_are_listed_for_people_programs_and_the_manual() {
    let all: Vec<Value> = serde_json::from_str(&run(&["reasons", "--json"]).out).unwrap();
    assert!(all.len() > 60, "{}", all.len());
    let people = run(&["reasons"]).out;
    let page = run(&["reasons", "--markdown"]).out;
    for entry in &all {
        let name = entry["reason"].as_str().or(entry["class"].as_str()).unwrap();
        assert!(people.contains(&format!("{name}\n  ")), "{name}");
        assert!(page.contains(&format!("| `{name}` | ")), "{name}");
    }
    let entry = |key: &str, name: &str| all.iter().find(|entry| entry[key] == name).unwrap();
    for entry in [entry("reason", "sender_blocked"), entry("class", "ip_blocklisted")] {
        assert_eq!(entry["bounce"]["class"], "ip_blocklisted");
        assert_eq!(entry["hubspot"], "IP_REPUTATION");
        assert_eq!(entry["zerobounce"]["sub_status"], "antispam_system");
    }
}

#[test]
fn completions_and_manual_know_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = run(&["completions", shell]);
        assert_eq!(ran.code, 0, "{shell}: {}", ran.err);
        assert!(
            ran.out.contains("--helo-name") || ran.out.contains("helo-name"),
            "{shell}"
        );
    }
    assert!(run(&["man"]).out.contains(".TH presend 1"));
    assert!(run(&["man", "verify"]).out.contains(".TH presend-verify 1"));
}

#[test]
fn a_reader_that_is_gone_is_no_error() {
    // The reading end is closed before the program starts, so its first write fails.
    let place = Place::new();
    place.write("list.txt", "a@example.com\n");
    for arguments in [
        &["reasons"][..],
        &["completions", "bash"],
        &["man"],
        &["config", "show"],
        &["--help"],
        &["check", "--level", "syntax", "--json", "a@example.com"],
        &["verify", "--level", "syntax", "list.txt"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin!("presend"));
        let mut child = command
            .args(arguments)
            .env("HOME", place.0.path())
            .current_dir(place.0.path())
            .stdout(writer)
            .spawn()
            .unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{arguments:?}");
    }
}

#[test]
fn check_explains_each_address() {
    let ran = run(&["check", "--level", "syntax", "jane.doe@acme-corp.com", "jane..doe"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    insta::assert_snapshot!(ran.out, @r#"
    jane.doe@acme-corp.com  unknown  level_stop
      why           The chosen level stops before the mail host is asked.
      advice        Run again with `--level smtp` for an answer about the mailbox.
      action        hold

    jane..doe  invalid  syntax_no_at_sign
      why           There is no `@` in the address.
                    jane..doe
                             ^
      advice        Mend or drop the address.
      action        drop
    "#);
}

#[test]
fn check_keeps_a_suggestion_apart_from_its_word() {
    let ran = run(&["check", "--level", "syntax", "jane.doe@gmail.con"]);
    assert!(ran.out.contains("did you mean  jane.doe@gmail.com?"), "{}", ran.out);
}

#[test]
fn what_is_suggested_is_an_address() {
    let long_ascii = format!("{}@gmail.con", "a".repeat(65));
    let long_utf8 = format!("{}@gmai.com", "\u{5b57}".repeat(11) + &"\u{1f980}".repeat(53));
    for typed in [
        ".jane@gmial.com",
        "jane..doe@gmail.con",
        "jane.@gmail.con",
        "jane@-acme.con",
        "jane@acme-.con",
        "jane@xn--zz--zz.con",
        &long_ascii,
        &long_utf8,
    ] {
        let ran = run(&["check", "--level", "syntax", "--json", typed]);
        let result: Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!(result["did_you_mean"], Value::Null, "{typed}");
    }
}

#[test]
fn check_writes_one_result_a_line() {
    let ran = run(&["check", "--level", "syntax", "--json", "jane.doe@acme-corp.com", "jane"]);
    let results: Vec<Value> = ran
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(results.len(), 2);
    assert_eq!(
        (&results[0]["schema"], &results[0]["label"]),
        (&"presend/1".into(), &"unknown".into())
    );
    assert_eq!(
        (&results[1]["label"], &results[1]["reason"]),
        (&"invalid".into(), &"syntax_no_at_sign".into())
    );
}

const LEADS: &str = "name;email;phone\nJane;Jane.Doe@acme-corp.com;+49 170 1\n=1+1;jane;x\nJoe;joe@acme-corp.com;\n";

fn verify(place: &Place, arguments: &[&str]) -> Ran {
    place.run(&[&["verify", "--level", "syntax"][..], arguments].concat())
}

/// The cells of some columns, rows by `/`, cells by `,`.
pub(crate) fn columns(text: &str, delimiter: u8, names: &[&str]) -> String {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .from_reader(text.as_bytes());
    let header = reader.headers().unwrap().clone();
    let indices: Vec<usize> = names
        .iter()
        .map(|name| header.iter().position(|cell| cell == *name).unwrap())
        .collect();
    let row = |record: csv::StringRecord| {
        indices
            .iter()
            .map(|i| record[*i].to_owned())
            .collect::<Vec<_>>()
            .join(",")
    };
    reader
        .records()
        .map(|record| row(record.unwrap()))
        .collect::<Vec<_>>()
        .join("/")
}

#[test]
fn verify_keeps_rows_columns_and_order() {
    let place = Place::new();
    place.write("leads.csv", LEADS);
    let ran = verify(&place, &["leads.csv"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(
        columns(
            &ran.out,
            b';',
            &["name", "email", "phone", "presend_label", "presend_action"]
        ),
        "Jane,Jane.Doe@acme-corp.com,+49 170 1,unknown,hold/'=1+1,jane,x,invalid,drop/Joe,joe@acme-corp.com,,unknown,hold"
    );
    for said in [
        "reading `leads.csv`: CSV with `;`",
        "column 2 `email`",
        "guessed",
        "3 rows",
        "level_stop",
        "33.3 %",
    ] {
        assert!(ran.err.contains(said), "{said}: {}", ran.err);
    }
    let raw = verify(&place, &["leads.csv", "--raw", "--quiet"]);
    assert_eq!(columns(&raw.out, b';', &["name"]), "Jane/=1+1/Joe");
    assert_eq!(raw.err, "");
}

#[test]
fn verify_twice_gives_the_same_columns() {
    let place = Place::new();
    place.write("leads.csv", LEADS);
    assert_eq!(verify(&place, &["leads.csv", "--output", "once.csv"]).code, 0);
    assert_eq!(
        verify(&place, &["once.csv", "--column", "email", "--output", "twice.csv"]).code,
        0
    );
    let header = |name: &str| place.read(name).lines().next().unwrap().to_owned();
    assert_eq!(header("once.csv"), header("twice.csv"));
}

#[test]
fn verify_reads_standard_input_and_filters() {
    let place = Place::new();
    let mut command = place.command(&[
        "verify", "--level", "syntax", "-", "--only", "invalid", "--format", "ndjson",
    ]);
    let ran = Ran::from(
        command
            .write_stdin("a@acme-corp.com\nbogus\nb@acme-corp.com\n")
            .output()
            .unwrap(),
    );
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(ran.out.lines().count(), 1);
    let row: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (&row["row"]["address"], &row["presend"]["label"]),
        (&"bogus".into(), &"invalid".into())
    );
}

#[test]
fn verify_keeps_ndjson_objects() {
    let place = Place::new();
    place.write(
        "leads.ndjson",
        "{\"z\":1,\"email\":\"jane\"}\n{\"email\":\"a@acme-corp.com\",\"tags\":[1,2]}\n",
    );
    let ran = verify(&place, &["leads.ndjson"]);
    let starts: Vec<&str> = ran
        .out
        .lines()
        .filter_map(|line| line.split("\"presend\"").next())
        .collect();
    assert_eq!(
        starts,
        [
            "{\"z\":1,\"email\":\"jane\",",
            "{\"email\":\"a@acme-corp.com\",\"tags\":[1,2],"
        ]
    );
    let array: Vec<Value> = serde_json::from_str(&verify(&place, &["leads.ndjson", "--json"]).out).unwrap();
    assert_eq!(array.len(), 2);
}

#[test]
fn verify_splits_by_action() {
    let place = Place::new();
    place.write("leads.csv", LEADS);
    let ran = verify(&place, &["leads.csv", "--split", "out"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{}", ran.err);
    let rows = |name: &str| place.read(name).lines().count() - 1;
    assert_eq!(
        (rows("out/send.csv"), rows("out/hold.csv"), rows("out/drop.csv")),
        (0, 2, 1)
    );
    assert!(ran.err.contains("drop.csv"), "{}", ran.err);
}

#[test]
fn verify_refuses_a_list_it_cannot_use_and_writes_nothing() {
    let place = Place::new();
    place.write("empty.csv", "");
    place.write("leads.csv", LEADS);
    place.write("numbers.csv", "a,b\n1,2\n3,4\n");
    for (arguments, said) in [
        (&["empty.csv"][..], "empty.csv"),
        (&["leads.csv", "--column", "mail"], "mail"),
        (&["leads.csv", "--column", "9"], "9"),
        (&["numbers.csv"], "numbers.csv"),
        (&["."], "."),
    ] {
        let ran = verify(&place, &[arguments, &["--output", "out.csv"]].concat());
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(said), "{arguments:?}: {}", ran.err);
        assert!(!place.has("out.csv"), "{arguments:?}");
    }
}

#[test]
fn lists_have_counts_sources_and_no_problem() {
    let all: Vec<Value> = serde_json::from_str(&run(&["lists", "show", "--json"]).out).unwrap();
    assert!(
        all.iter()
            .any(|list| list["name"] == "disposable" && list["entries"].as_u64().unwrap() > 1_000)
    );
    assert!(run(&["lists", "show"]).out.contains("disposable"));
    assert!(
        all.iter()
            .any(|list| list["name"] == "replies" && list["entries"].as_u64().unwrap() > 200)
    );
    assert!(
        run(&["lists", "show", "providers"])
            .out
            .contains("outlook.com (or outlook, hotmail): ")
    );
    assert_eq!(run(&["lists", "check"]).out, "8 lists, no problem\n");
}

#[test]
fn the_page_of_reasons_is_current() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reasons.md");
    let page = fs::read_to_string(page).unwrap_or_default();
    let printed = run(&["reasons", "--markdown"]).out;
    assert!(
        page == printed,
        "docs/reasons.md is stale: cargo run -- reasons --markdown > docs/reasons.md"
    );
}
