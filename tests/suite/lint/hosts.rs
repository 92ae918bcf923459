//! Where pipelines run it: pre-commit for real, the step of the GitHub action with the host's variables, the GitLab template's script.

use std::{env, ffi::OsString, fs, path::Path, process::Command};

use crate::cli::Place;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// PATH with the program that was built in front.
fn path() -> OsString {
    let program = Path::new(env!("CARGO_BIN_EXE_presend")).parent().unwrap();
    let all = env::var_os("PATH").unwrap_or_default();
    env::join_paths([program.to_owned()].into_iter().chain(env::split_paths(&all))).unwrap()
}

/// A program in a folder, without the tester's own settings; its exit code and what it said.
fn run(place: &Place, program: &str, arguments: &[&str], variables: &[(&str, &str)]) -> (i32, String) {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("PRESEND_") || name.starts_with("GIT_") {
            command.env_remove(name);
        }
    }
    let output = command
        .args(arguments)
        .current_dir(place.0.path())
        .env("PATH", path())
        .env("HOME", place.0.path())
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

pub(super) fn git(place: &Place, folder: &str, arguments: &[&str]) -> String {
    let identity = [
        "-C",
        folder,
        "-c",
        "user.name=t",
        "-c",
        "user.email=t@example.com",
        "-c",
        "init.defaultBranch=main",
    ];
    let (code, said) = run(place, "git", &[&identity, arguments].concat(), &[]);
    assert_eq!(code, 0, "{arguments:?}: {said}");
    said.trim().to_owned()
}

/// pre-commit, when somebody has installed it: `PRE_COMMIT` names the program (tests/run does that).
#[test]
fn pre_commit_runs_the_hooks() {
    let Some(program) = env::var_os("PRE_COMMIT").filter(|path| Path::new(path).exists()) else {
        eprintln!("skipped: PRE_COMMIT names no program");
        return;
    };
    let program = program.to_str().unwrap();
    let place = Place::new();
    place.write(
        "hooks/.pre-commit-hooks.yaml",
        fs::read(Path::new(ROOT).join(".pre-commit-hooks.yaml")).unwrap(),
    );
    git(&place, "hooks", &["init", "-q"]);
    git(&place, "hooks", &["add", "-A"]);
    git(&place, "hooks", &["commit", "-qm", "hooks"]);
    let revision = git(&place, "hooks", &["rev-parse", "HEAD"]);
    let hooks = place.0.path().join("hooks");
    let config = format!(
        "repos:\n- repo: {}\n  rev: {revision}\n  hooks:\n  - id: presend-lint-fix\n  - id: presend-lint\n",
        hooks.display()
    );
    place.write("project/.pre-commit-config.yaml", config);
    place.write("project/list.csv", "email\njane@acme-corp.com\n");
    place.write("project/notes.txt", "no list @@\n");
    git(&place, "project", &["init", "-q"]);
    git(&place, "project", &["add", "-A"]);
    let project = place.0.path().join("project");
    let hook = || {
        let script = "cd project && exec \"$0\" run --all-files --verbose";
        run(
            &place,
            "bash",
            &["-c", script, program],
            &[("PRE_COMMIT_HOME", place.0.path().join("pc").to_str().unwrap())],
        )
    };
    let (code, said) = hook();
    assert_eq!(code, 0, "{said}");
    assert!(said.matches("Passed").count() == 2, "{said}");
    fs::write(project.join("list.csv"), "email\n jane@ACME-corp.com\nx@@y\n").unwrap();
    git(&place, "project", &["add", "-A"]);
    let (code, said) = hook();
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("files were modified by this hook") && said.contains("list.csv:3:1: error"),
        "{said}"
    );
    assert_eq!(
        fs::read_to_string(project.join("list.csv")).unwrap(),
        "email\njane@acme-corp.com\nx@@y\n"
    );
}

#[test]
fn the_step_of_the_action_reports_and_fails_as_the_lint_does() {
    let place = Place::new();
    place.write(
        "lists/-a b.csv",
        "email\njane@acme-corp.com\ninfo@acme-corp.com\nx@@y\n",
    );
    place.write("lists/$(touch pwned).txt", "joe@acme-corp.com\n");
    let folder = place.0.path().to_str().unwrap().to_owned();
    let inside = |name: &str| format!("{folder}/{name}");
    let script = format!("{ROOT}/action/run");
    let action = |variables: &[(&str, &str)]| {
        for name in ["output", "summary"] {
            place.write(name, "");
        }
        let (output, summary) = (inside("output"), inside("summary"));
        let host = [
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_OUTPUT", &output),
            ("GITHUB_STEP_SUMMARY", &summary),
            ("RUNNER_TEMP", &folder),
            ("INPUT_LEVEL", "syntax"),
            ("INPUT_CACHE", "true"),
            ("PRESEND_API_KEY", ""),
            ("PRESEND_BASELINE_KEY", ""),
        ];
        run(&place, "bash", &[&script], &[&host, variables].concat())
    };
    let (code, said) = action(&[
        ("INPUT_FILES", "lists\n"),
        ("INPUT_ARGS", "--severity=role=note\n--max-bounces=100%"),
        ("INPUT_SARIF", "out.sarif"),
    ]);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("::error file=lists/-a b.csv,line=4,title=PS201 syntax-fault::x***"),
        "{said}"
    );
    assert!(
        said.contains("::notice file=lists/-a b.csv,line=3,title=PS403 role::i***@acme-corp.com"),
        "{said}"
    );
    assert_eq!(
        place.read("output"),
        "exit-code=1\nfindings=2\nerrors=1\nwarnings=0\nrows=4\nsarif=out.sarif\n"
    );
    let page = place.read("summary");
    assert!(
        page.starts_with("## presend lint") && page.contains("| PS201 syntax-fault |"),
        "{page}"
    );
    assert!(place.has("out.sarif") && !place.has("pwned"));
    // Names are names, whatever they look like.
    let (code, said) = action(&[("INPUT_FILES", "lists/$(touch pwned).txt\n--rules")]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("cannot read `--rules`") && !place.has("pwned"), "{said}");
    assert!(place.read("output").starts_with("exit-code=2\n"));
    let (code, _) = action(&[("INPUT_FILES", "lists/$(touch pwned).txt")]);
    assert_eq!(
        (code, place.read("output").starts_with("exit-code=0\nfindings=0\n")),
        (0, true)
    );
}

#[test]
fn the_action_names_every_input_that_its_step_reads() {
    let action = fs::read_to_string(format!("{ROOT}/action.yml")).unwrap();
    let script = fs::read_to_string(format!("{ROOT}/action/run")).unwrap();
    let (inputs, rest) = action.split_once("outputs:\n").unwrap();
    for name in ["files", "level", "args", "config", "api", "sarif", "cache", "presend"] {
        assert!(inputs.contains(&format!("\n  {name}:\n")), "{name}");
        let variable = format!("INPUT_{}", name.to_uppercase());
        assert!(
            rest.contains(&format!("{variable}: ${{{{ inputs.{name} }}}}")),
            "{name}"
        );
        assert!(script.contains(&variable), "{name}");
    }
    // What a workflow's author or a contributor wrote must not be read by the shell.
    let run = rest.lines().find(|line| line.trim_start().starts_with("run:")).unwrap();
    assert!(!run.contains("${{"), "{run}");
}

#[test]
fn the_script_of_the_gitlab_template_writes_its_reports() {
    let template = fs::read_to_string(format!("{ROOT}/templates/presend-lint.yml")).unwrap();
    let (_, script) = template.split_once("    - >-\n").unwrap();
    let lines = script
        .lines()
        .take_while(|line| line.starts_with("      "))
        .map(str::trim);
    let script = lines.collect::<Vec<_>>().join(" ");
    let script = script
        .replace("$[[ inputs.level ]]", "syntax")
        .replace("$[[ inputs.options ]]", "--max-bounces 100%")
        .replace("$[[ inputs.files ]]", ".");
    assert!(!script.contains("$[["), "{script}");
    let place = Place::new();
    place.write("list.csv", "email\nx@@y\n");
    let (code, said) = run(
        &place,
        "bash",
        &["-c", &script],
        &[("PRESEND_LINT_CACHE", ".presend/cache.db")],
    );
    assert_eq!(code, 1, "{said}");
    assert!(
        place.has("gl-code-quality-report.json") && place.has("presend-lint.xml"),
        "{said}"
    );
}
