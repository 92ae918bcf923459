//! Reports against the schemas of their readers, with hostile content, and within the limits of the hosts.

use std::{env, fs, path::Path, process::Command};

use serde_json::Value;

use super::run;
use crate::cli::Place;

fn schema(name: &str) -> jsonschema::Validator {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpora/lint")
        .join(name);
    // One pattern of OASIS's schema, for languages, has a bracket too many; strict readers of expressions refuse it.
    let text = fs::read_to_string(path).unwrap().replace("{2}]?$", "{2}$");
    let schema: Value = serde_json::from_str(&text).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

fn assert_valid(validator: &jsonschema::Validator, text: &str) {
    let document: Value = serde_json::from_str(text).unwrap();
    let faults: Vec<String> = validator
        .iter_errors(&document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Addresses, columns and files that try to be something else.
fn hostile() -> Place {
    let place = Place::new();
    let rows = "email,a\"><b,c|d\n\
        x@@y\u{1b}[31m,=cmd,]]><!--\n\
        ::error::x@@y,%0A::warning::,b\n\
        <script>@@x,MÃ¼,&amp;\n\
        a|b`c@@d,x,y\n\
        \"line\nend@@x\",x,y\n\
        =HYPERLINK(1)@@x,x,y\n";
    place.write("a,b::c %25.csv", rows);
    place.write("ok.txt", "jane@acme-corp.com\n");
    place
}

const FILES: [&str; 3] = ["a,b::c %25.csv", "ok.txt", "none.csv"];

fn report(place: &Place, format: &str) -> String {
    let output = format!("{format}=out");
    let ran = run(place, &[&["--redact", "none", "-o", &output][..], &FILES].concat());
    assert_eq!(ran.code, 2, "{}", ran.err);
    place.read("out")
}

#[test]
fn sarif_and_gitlab_are_what_their_schemas_say() {
    let planted = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpora/lint");
    let place = hostile();
    for (format, name) in [
        ("sarif", "sarif-2.1.0.schema.json"),
        ("gitlab", "gitlab-codequality.schema.json"),
    ] {
        let validator = schema(name);
        assert_valid(&validator, &report(&place, format));
        assert_valid(
            &validator,
            &fs::read_to_string(planted.join(format!("planted.{format}"))).unwrap(),
        );
        let clean = run(&place, &["-o", &format!("{format}=clean"), "ok.txt"]);
        assert_eq!(clean.code, 0);
        assert_valid(&validator, &place.read("clean"));
        let broken: Value = serde_json::from_str("{\"version\":\"2.1.0\"}").unwrap();
        assert!(!validator.is_valid(&broken), "{name} refuses something");
    }
}

/// An XSD validator, when somebody has installed one: `XMLSCHEMA` names `xmlschema-validate` (tests/run does that).
#[test]
fn junit_is_what_its_schema_says() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpora/lint");
    let place = hostile();
    place.write("junit.xml", report(&place, "junit"));
    let files = [place.0.path().join("junit.xml"), corpora.join("planted.junit")];
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        let mut reader = quick_xml::Reader::from_str(&text);
        reader.config_mut().check_end_names = true;
        while reader.read_event().unwrap() != quick_xml::events::Event::Eof {}
        assert!(
            text.bytes().all(|byte| byte >= 0x20 || byte == b'\n'),
            "no control characters"
        );
    }
    let Some(program) = env::var_os("XMLSCHEMA").filter(|path| Path::new(path).exists()) else {
        eprintln!("skipped: XMLSCHEMA names no program");
        return;
    };
    place.write("wrong.xml", "<testsuites><testcase/></testsuites>");
    for (file, valid) in files
        .iter()
        .map(|file| (file.clone(), true))
        .chain([(place.0.path().join("wrong.xml"), false)])
    {
        let output = Command::new(&program)
            .arg("--schema")
            .arg(corpora.join("junit-10.xsd"))
            .arg(&file)
            .output()
            .unwrap();
        assert_eq!(
            output.status.success(),
            valid,
            "{}: {}",
            file.display(),
            String::from_utf8_lossy(&output.stdout)
        );
    }
}

#[test]
fn nothing_in_a_list_is_more_than_text() {
    let place = hostile();
    let text = report(&place, "github");
    for line in text.lines() {
        let known = ["::error ", "::warning ", "::notice "]
            .iter()
            .any(|word| line.starts_with(word));
        assert!(known, "a line of its own: {line}");
    }
    assert!(text.contains("file=a%2Cb%3A%3Ac %2525.csv,line=2"), "{text}");
    for format in ["text", "markdown", "csv", "jsonl", "junit", "gitlab", "sarif"] {
        let text = report(&place, format);
        assert!(!text.contains('\u{1b}'), "{format}: {text}");
    }
    let page = report(&place, "markdown");
    assert!(!page.contains("<script>") && !page.contains("`c@@d"), "{page}");
    let csv = report(&place, "csv");
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    for record in reader.records() {
        for cell in &record.unwrap() {
            assert!(!cell.starts_with(['=', '@', '+']), "{cell}");
        }
    }
}

#[test]
fn reports_stay_within_the_limits_of_their_hosts_and_say_what_was_cut() {
    let place = Place::new();
    let mut list: Vec<String> = (0..30_000).map(|number| format!("info{number}@@y")).collect();
    list.push("info@acme-corp.com\n".to_owned());
    let list = list.join("\n");
    place.write("list.txt", &list);
    let formats = ["sarif", "gitlab", "markdown", "github", "junit", "jsonl"];
    let outputs = formats.map(|format| format!("--output={format}=out.{format}"));
    let arguments: Vec<&str> = outputs.iter().map(String::as_str).chain(["list.txt"]).collect();
    let mut command = place.command(&[&["lint", "--level", "syntax"], &arguments[..]].concat());
    command.env("GITHUB_STEP_SUMMARY", place.0.path().join("summary"));
    assert_eq!(command.output().unwrap().status.code(), Some(1));
    let sarif: Value = serde_json::from_str(&place.read("out.sarif")).unwrap();
    let sarif = &sarif["runs"][0];
    assert_eq!(sarif["results"].as_array().unwrap().len(), 25_000);
    let said = sarif["invocations"][0]["toolExecutionNotifications"].to_string();
    assert!(said.contains("5001 of 30001 findings are not shown"), "{said}");
    assert!(sarif["results"][24_999]["level"] == "error", "the worst come first");
    let gitlab: Value = serde_json::from_str(&place.read("out.gitlab")).unwrap();
    assert_eq!(gitlab.as_array().unwrap().len(), 25_001);
    for page in ["out.markdown", "summary"] {
        let page = place.read(page);
        assert!(
            page.len() < 1 << 20 && page.ends_with("findings are not shown here.\n"),
            "{}",
            page.len()
        );
    }
    let commands = place.read("out.github");
    let of = |word: &str| commands.lines().filter(|line| line.starts_with(word)).count();
    assert_eq!(
        (of("::error"), of("::warning"), of("::notice")),
        (10, 1, 1),
        "{commands}"
    );
    assert!(
        commands.contains("29991 of 30001 findings are not annotated"),
        "{commands}"
    );
    assert!(place.read("out.junit").contains("29900 more are not shown here"));
    assert_eq!(place.read("out.jsonl").lines().count(), 30_002, "this one has them all");
}

#[test]
fn addresses_are_hidden_as_asked() {
    let place = Place::new();
    place.write("list.txt", "secret.name@gmial.com\n");
    for (redact, shown, hidden) in [
        ("none", "secret.name@gmail.com", "***"),
        ("local", "s***@gmail.com", "secret"),
        ("all", "***", "gmial"),
    ] {
        let ran = run(&place, &["--redact", redact, "list.txt"]);
        assert!(
            ran.out.contains(shown) && !ran.out.contains(hidden),
            "{redact}: {}",
            ran.out
        );
    }
}
