//! `presend serve` and `presend keys` as programs: the log, the end, the errors.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
};

use super::*;

pub(super) fn presend(arguments: &[&str], database: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_presend"));
    command
        .args(arguments)
        .env("PRESEND_DB", database)
        .env_remove("PRESEND_LOG")
        .current_dir(database.parent().unwrap());
    command
}

/// Starts a server; its address is in its first words.
pub(super) fn start(command: &mut Command) -> (Child, BufReader<std::process::ChildStderr>, String) {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    log.read_line(&mut line).unwrap();
    let address = line.split("http://").nth(1).unwrap_or_else(|| panic!("{line}"));
    let address = address.split(';').next().unwrap().to_owned();
    (child, log, address)
}

#[cfg(unix)]
#[test]
fn a_server_logs_without_addresses_and_ends_politely() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("presend.db");
    let (mut child, mut log, address) = start(&mut presend(
        &["serve", "--sandbox", "--bind", "127.0.0.1:0"],
        &database,
    ));
    let url = format!("http://{address}/v1/verify");
    let ask = |name: &str| {
        let body = json!({ "address": name }).to_string();
        read(
            agent()
                .post(&url)
                .header("content-type", "application/json")
                .header("x-request-id", "mine")
                .send(body.as_bytes()),
        )
    };
    assert_eq!(ask("valid@sandbox.test").status, 200);
    assert_eq!(ask("Very.Secret@sandbox.test").json()["label"], "invalid");
    assert_eq!(
        read(agent().get(format!("http://{address}/hidden@secret.test")).call()).status,
        404
    );
    let killed = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    let mut text = String::new();
    log.read_to_string(&mut text).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(0), "{text}");
    for secret in ["valid@", "ecret", "sandbox.test\"", "hidden"] {
        let logged: String = text.lines().filter(|line| line.starts_with('{')).collect();
        assert!(!logged.contains(secret), "{secret}: {text}");
    }
    let lines: Vec<Value> = text
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |target: &str| lines.iter().filter(|line| line["target"] == target).count();
    assert_eq!((of("presend::request"), of("presend::audit")), (3, 2), "{text}");
    assert!(
        lines
            .iter()
            .any(|line| line["request"] == "mine" && line["status"] == 200),
        "{text}"
    );
}

#[test]
fn keys_are_shown_once_listed_and_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("presend.db");
    let run = |arguments: &[&str]| presend(arguments, &database).output().unwrap();
    let added = run(&[
        "keys",
        "add",
        "--name",
        "crm",
        "--rate",
        "10/s",
        "--quota",
        "10000/day",
        "--scope",
        "verify,admin",
    ]);
    assert!(added.status.success(), "{added:?}");
    let key = String::from_utf8(added.stdout).unwrap();
    let key: ApiKey = key.trim().parse().unwrap();
    let listed: Value = serde_json::from_slice(&run(&["keys", "list", "--json"]).stdout).unwrap();
    assert_eq!(
        (&listed[0]["id"], &listed[0]["rate"]),
        (&json!(key.id()), &json!("10/s"))
    );
    assert_eq!(listed[0]["scopes"], json!(["admin", "verify"]));
    let secret = key.reveal().rsplit_once('_').unwrap().1.to_owned();
    assert!(!listed.to_string().contains(&secret));
    let bytes = std::fs::read(&database).unwrap();
    assert!(
        !bytes.windows(secret.len()).any(|window| window == secret.as_bytes()),
        "the database holds the secret"
    );
    assert!(run(&["keys", "revoke", key.id()]).status.success());
    assert_eq!(run(&["keys", "revoke", key.id()]).status.code(), Some(2));
    let listed: Value = serde_json::from_slice(&run(&["keys", "list", "--json"]).stdout).unwrap();
    assert!(listed[0]["revoked_at"].is_string());
    for wrong in [
        &["keys", "add", "--name", "a\nb"][..],
        &["keys", "add", "--name", "crm", "--rate", "many"],
        &["keys", "add", "--name", "crm", "--scope", "fly"],
        &["keys", "add"],
    ] {
        assert_eq!(run(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn a_server_that_cannot_start_says_why_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("presend.db");
    let said = |arguments: &[&str]| {
        let output = presend(arguments, &database).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let open = said(&["serve", "--sandbox", "--bind", "0.0.0.0:0"]);
    assert!(
        open.contains("there are no keys") && open.contains("presend keys add"),
        "{open}"
    );
    let limit = said(&["serve", "--sandbox", "--max-batch", "1000"]);
    assert!(
        limit.contains("`max_batch`") && limit.contains("from 1 to 100"),
        "{limit}"
    );
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = said(&["serve", "--sandbox", "--bind", &taken.local_addr().unwrap().to_string()]);
    assert!(taken.contains("cannot listen") && taken.contains("--bind"), "{taken}");
    std::fs::write(folder.path().join("presend.toml"), "[serve]\nmax_bodi = 3\n").unwrap();
    let misspelt = said(&["serve", "--sandbox"]);
    assert!(
        misspelt.contains("presend.toml:2:1") && misspelt.contains("max_bodi"),
        "{misspelt}"
    );
}

#[test]
fn the_file_sets_limits_and_flags_win() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("presend.db");
    std::fs::write(
        folder.path().join("presend.toml"),
        "[serve]\nbind = \"127.0.0.1:0\"\nmax_body = 30\nmax_batch = 2\n",
    )
    .unwrap();
    let (mut child, _log, address) = start(&mut presend(&["serve", "--sandbox", "--max-body", "200"], &database));
    let send = |body: &str| {
        let url = format!("http://{address}/v1/verify/batch");
        read(
            agent()
                .post(url)
                .header("content-type", "application/json")
                .send(body.as_bytes()),
        )
    };
    let two = send("{\"addresses\":[\"valid@sandbox.test\",\"nobody@sandbox.test\"]}");
    let three = send("{\"addresses\":[\"a\",\"b\",\"c\"]}");
    let large = send(&format!("{{\"addresses\":[\"{}\"]}}", "a".repeat(200)));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(two.status, 200, "{two:?}");
    assert_eq!(three.problem(), (400, "invalid_value".to_owned()));
    assert_eq!(large.problem(), (413, "body_too_large".to_owned()));
}
