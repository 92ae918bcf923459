//! The examples of docs/clients.md are run as they stand, against the sandbox.

use std::process::Command;

use super::*;

/// Language, program, and what it prints.
fn examples() -> Vec<(&'static str, &'static str, &'static str)> {
    let page = include_str!("../../../docs/clients.md");
    let mut blocks = page
        .split("\n```")
        .skip(1)
        .step_by(2)
        .map(|block| block.split_once('\n').unwrap());
    let mut all = Vec::new();
    while let Some((language, program)) = blocks.next() {
        let (kind, printed) = blocks.next().expect("what it prints");
        assert_eq!(kind, "text", "{program}");
        all.push((language, program, printed));
    }
    all
}

/// How a program of this language is run, when that is possible here.
fn interpreter(language: &str) -> Option<Vec<&'static str>> {
    let (how, needs) = match language {
        "sh" => (vec!["sh", "-c"], &["curl", "openssl"][..]),
        "python" => (vec!["python3", "-c"], &["python3"][..]),
        "javascript" => (vec!["node", "--input-type=module", "--eval"], &["node"][..]),
        other => panic!("nothing runs {other}"),
    };
    let there = |program: &&str| Command::new(program).arg("--version").output().is_ok();
    needs.iter().all(there).then_some(how)
}

#[test]
fn every_example_prints_what_it_says() {
    let api = Api::start(Limits::default());
    let all = examples();
    assert_eq!(all.len(), 6);
    for (language, program, printed) in all {
        let Some(how) = interpreter(language) else {
            eprintln!("skipped: nothing here runs {language}; apt-get install curl openssl python3 nodejs");
            continue;
        };
        let program = program.replace("http://localhost:8025", &api.url(""));
        let mut command = Command::new(how[0]);
        command.args(&how[1..]).arg(&program).env("NO_COLOR", "1");
        // A proxy of the machine's is not the way to this machine.
        for variable in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
            command.env_remove(variable);
        }
        let ran = command.output().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{program}\n{said}");
        assert_eq!(
            String::from_utf8_lossy(&ran.stdout).trim_end(),
            printed.trim_end(),
            "{program}\n{said}"
        );
    }
}
