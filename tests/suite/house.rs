//! The rules of the house that no compiler checks: licences and bans of dependencies, and the size of files.

use std::{env, fs, path::Path, process::Command};

use serde_json::Value;

/// Licences that let presend stay MIT OR Apache-2.0 and its binary be shipped by anyone.
const LICENCES: [&str; 13] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates that must not come in by some feature, and why.
const BANS: [(&str, &str); 4] = [
    (
        "aws-lc-rs",
        "two crypto providers in one build make rustls panic; we use ring",
    ),
    ("aws-lc-sys", "needs cmake"),
    ("native-tls", "needs a system library"),
    ("openssl-sys", "needs a system library"),
];

/// Lines of a source file after which it should be split.
const LINES: usize = 700;

#[test]
fn dependencies_have_allowed_licences_and_none_is_banned() {
    for package in packages() {
        let name = package["name"].as_str().expect("a name");
        let licence = package["license"].as_str().unwrap_or("none given");
        assert!(allowed(licence), "{name} has the licence {licence}");
        if let Some((_, why)) = BANS.iter().find(|(banned, _)| *banned == name) {
            panic!("{name} is banned: {why}");
        }
    }
}

#[test]
fn cargo_deny_is_told_the_same() {
    let told: toml::Table = include_str!("../../deny.toml").parse().expect("TOML");
    let strings = |value: &toml::Value, key: &str| -> Vec<String> {
        let all = value.as_array().expect("an array").iter();
        all.map(|one| one.get(key).unwrap_or(one).as_str().expect("a string").to_owned())
            .collect()
    };
    assert_eq!(strings(&told["licenses"]["allow"], ""), LICENCES);
    let denied = &told["bans"]["deny"];
    let bans: Vec<(String, String)> = strings(denied, "crate")
        .into_iter()
        .zip(strings(denied, "reason"))
        .collect();
    assert_eq!(bans, BANS.map(|(name, why)| (name.to_owned(), why.to_owned())));
}

#[test]
fn licence_expressions_are_understood() {
    let cases = [
        ("MIT", true),
        ("MIT/Apache-2.0", true),
        ("GPL-3.0-only", false),
        ("MIT OR GPL-3.0-only", true),
        ("MIT AND GPL-3.0-only", false),
        ("(MIT OR GPL-3.0-only) AND Unicode-3.0", true),
        ("(MIT AND GPL-3.0-only) OR LGPL-2.1-or-later", false),
        ("MIT OR Apache-2.0 AND GPL-2.0-only", true),
        ("Apache-2.0 WITH LLVM-exception OR GPL-2.0-only", true),
        ("none given", false),
    ];
    for (expression, expected) in cases {
        assert_eq!(allowed(expression), expected, "{expression}");
    }
}

#[test]
fn source_files_stay_readable() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seen = 0;
    for folder in ["src", "tests", "benches", "fuzz/fuzz_targets"] {
        seen += check_sizes(&root.join(folder));
    }
    assert!(seen > 20, "only {seen} source files were found");
}

/// The packages of the build for this machine. Those of other systems may not have been downloaded.
fn packages() -> Vec<Value> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let version = Command::new("rustc").arg("-vV").output().expect("rustc runs");
    let version = String::from_utf8(version.stdout).expect("text");
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .expect("a host");
    let output = Command::new(cargo)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--offline",
            "--locked",
            "--filter-platform",
            host,
        ])
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    metadata["packages"].as_array().expect("packages").clone()
}

/// An SPDX expression of which one alternative holds only allowed licences. `/` is the old way to write OR.
fn allowed(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let tokens: Vec<&str> = expression.split_whitespace().collect();
    let (value, rest) = any(&tokens);
    value && rest.is_empty()
}

fn any<'a>(tokens: &'a [&'a str]) -> (bool, &'a [&'a str]) {
    let (mut value, mut rest) = all(tokens);
    while let Some(("OR", more)) = split(rest) {
        let (other, after) = all(more);
        (value, rest) = (value | other, after);
    }
    (value, rest)
}

fn all<'a>(tokens: &'a [&'a str]) -> (bool, &'a [&'a str]) {
    let (mut value, mut rest) = one(tokens);
    while let Some(("AND", more)) = split(rest) {
        let (other, after) = one(more);
        (value, rest) = (value & other, after);
    }
    (value, rest)
}

fn one<'a>(tokens: &'a [&'a str]) -> (bool, &'a [&'a str]) {
    match split(tokens) {
        Some(("(", inner)) => {
            let (value, rest) = any(inner);
            match split(rest) {
                Some((")", rest)) => (value, rest),
                _ => (false, rest),
            }
        }
        Some((licence, ["WITH", exception, rest @ ..])) => {
            (LICENCES.contains(&format!("{licence} WITH {exception}").as_str()), rest)
        }
        Some((licence, rest)) => (LICENCES.contains(&licence), rest),
        None => (false, tokens),
    }
}

fn split<'a>(tokens: &'a [&'a str]) -> Option<(&'a str, &'a [&'a str])> {
    tokens.split_first().map(|(first, rest)| (*first, rest))
}

/// Fails on a file that is too long; returns how many there are.
fn check_sizes(folder: &Path) -> usize {
    let mut seen = 0;
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            seen += check_sizes(&path);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let lines = fs::read_to_string(&path).expect("text").lines().count();
            assert!(
                lines <= LINES,
                "{} has {lines} lines: split it by concept",
                path.display()
            );
            seen += 1;
        }
    }
    seen
}

#[test]
fn the_readme_names_every_command() {
    let help = assert_cmd::cargo::cargo_bin_cmd!("presend")
        .arg("--help")
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .map_while(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .collect();
    assert!(commands.len() > 5, "{commands:?}");
    let readme = std::fs::read_to_string("README.md").unwrap();
    for command in commands {
        assert!(
            readme.contains(&format!("`presend {command}")),
            "README.md does not name `presend {command}`"
        );
    }
}

/// `module::test` in SECURITY.md is a test in a file of that module; those of `fuzz` are the targets.
#[test]
fn every_test_of_the_threat_model_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let model = fs::read_to_string(root.join("SECURITY.md")).unwrap();
    let mut named = 0;
    for word in model
        .split('`')
        .filter(|word| word.contains("::") && !word.contains(' '))
    {
        let (module, test) = word.rsplit_once("::").unwrap();
        let module = module.rsplit("::").next().unwrap();
        let found = if module == "fuzz" {
            super::fuzz::bodies::TARGETS.iter().any(|target| target.name == test)
        } else {
            let files = ["src", "tests/suite"]
                .map(|folder| sources(&root.join(folder), module))
                .concat();
            files.iter().any(|source| source.contains(&format!("fn {test}(")))
        };
        assert!(found, "SECURITY.md names `{word}`, which is no test");
        named += 1;
    }
    assert!(named > 30, "{named}");
}

/// The files of a module: `MODULE.rs`, and what is in a folder of that name.
fn sources(folder: &Path, module: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        let inside = folder.file_name().is_some_and(|name| name == module);
        if path.is_dir() {
            found.extend(sources(&path, module));
        } else if inside || path.file_stem().is_some_and(|stem| stem == module) {
            found.push(fs::read_to_string(&path).expect("text"));
        }
    }
    found
}
