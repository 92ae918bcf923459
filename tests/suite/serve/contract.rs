//! The description fits what is sent.

use std::{path::Path, process::Command};

use super::*;

/// Every member of `value` is described by `schema`, and every required one is there.
fn fits(document: &Value, schema: &Value, value: &Value, place: &str) {
    let schema = match schema["$ref"].as_str() {
        Some(name) => &document["components"]["schemas"][name.rsplit('/').next().unwrap()],
        None => schema,
    };
    if let Some(choices) = schema["oneOf"].as_array() {
        let choice = choices
            .iter()
            .find(|choice| value.is_null() == (choice["type"] == "null"));
        return fits(
            document,
            choice.unwrap_or_else(|| panic!("{place}: {value}")),
            value,
            place,
        );
    }
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                // Members of a map have no names.
                let named = schema["properties"].get(name);
                let described = named.unwrap_or(&schema["additionalProperties"]);
                assert!(described.is_object(), "{place}/{name} is not described");
                fits(document, described, member, &format!("{place}/{name}"));
            }
            for name in schema["required"].as_array().into_iter().flatten() {
                assert!(
                    members.contains_key(name.as_str().unwrap()),
                    "{place}/{name} is missing"
                );
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                fits(document, &schema["items"], item, &format!("{place}/{index}"));
            }
        }
        Value::Null => {
            let types = schema["type"].as_array();
            let may_be = schema["type"] == "null" || types.is_some_and(|types| types.contains(&json!("null")));
            assert!(may_be, "{place} is null");
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn results_have_the_members_that_are_described() {
    let api = Api::start(Limits::default());
    let document = api.get("/openapi.json").json();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["title"], "presend");
    let schemas = &document["components"]["schemas"];
    for address in [
        "valid@sandbox.test",
        "nobody@sandbox.test",
        "no address",
        "anyone@null-mx.test",
        "anyone@catch-all.test",
    ] {
        let result = api.verify(&json!({ "address": address, "transcript": true }));
        fits(&document, &schemas["Result"], &result, address);
    }
    let reply = api.post(
        "/v1/classify",
        &json!({ "reply": "451 4.7.1 Greylisted, try again in 5 minutes" }),
    );
    fits(&document, &schemas["ReplyReading"], &reply.json(), "classify");
    let made = api.send("/v1/jobs", b"email\nvalid@sandbox.test\n", "text/csv", None);
    let place = made.header("location").to_owned();
    fits(&document, &schemas["Job"], &made.json(), "a new job");
    let late = Instant::now() + Duration::from_secs(30);
    while api.get(&place).json()["state"] != "done" {
        assert!(Instant::now() < late);
    }
    fits(
        &document,
        &schemas["Job"],
        &api.get(&place).json(),
        "a job that is done",
    );
    fits(&document, &schemas["Jobs"], &api.get("/v1/jobs").json(), "jobs");
    let page = api.get(&format!("{place}/results")).json();
    fits(&document, &schemas["Results"], &page, "results");
    let problem = api.get("/nothing");
    fits(&document, &schemas["ProblemBody"], &problem.json(), "problem");
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(
                operation["summary"].is_string() && operation["operationId"].is_string(),
                "{method} {path}"
            );
            assert!(operation["responses"]["503"].is_object(), "{method} {path}");
        }
    }
}

#[test]
fn every_code_is_documented() {
    let page = include_str!("../../../docs/api.md");
    for code in presend::serve::Code::ALL {
        assert!(
            page.contains(&format!("`{}`", code.name())),
            "docs/api.md does not name `{}`",
            code.name()
        );
        assert!(code.status().is_client_error() || code.status().is_server_error());
    }
}

#[test]
fn the_page_loads_nothing_from_elsewhere() {
    let api = Api::start(Limits::default());
    let page = api.get("/docs");
    assert!(page.header("content-security-policy").contains("default-src 'none'"));
    for path in ["/docs", "/docs/page.js", "/docs/page.css", "/openapi.json"] {
        let part = api.get(path);
        assert_eq!(part.status, 200, "{path}");
        // What webhooks look like is no link.
        let text = part
            .text
            .replace("https://hooks.example.com", "")
            .replace("^https://", "");
        assert!(!text.contains("https://") && !text.contains("http://"), "{path}");
        assert!(!part.text.contains("innerHTML"), "{path}");
    }
}

/// Schemathesis, when somebody has installed it: `SCHEMATHESIS` names the program (tests/run does that).
#[test]
fn schemathesis_finds_nothing() {
    let Some(program) = std::env::var_os("SCHEMATHESIS").filter(|path| Path::new(path).exists()) else {
        eprintln!("skipped: SCHEMATHESIS names no program");
        return;
    };
    let limits = Limits {
        max_wait: Duration::from_millis(200),
        max_pending: 100_000,
        max_jobs: 100_000,
        ..Limits::default()
    };
    let api = Api::start(limits);
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/schemathesis");
    let output = Command::new(program)
        .env("SCHEMATHESIS_HOOKS", format!("{folder}/hooks.py"))
        .args(["--config-file", &format!("{folder}/schemathesis.toml")])
        .args([
            "run",
            &api.url("/openapi.json"),
            "--checks",
            "all",
            "--max-examples",
            "50",
        ])
        .args(["--suppress-health-check", "all", "--no-color"])
        .current_dir(std::env::temp_dir())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    println!("{said}");
}
