//! SARIF 2.1.0, for GitHub code scanning and editors. Results beyond 25,000 are refused there, so the worst come first and the
//! number of the others is told as a notification.

use std::io::{self, Write};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::{
    super::{Rule, Shown},
    MOST, Out, Report, Summary,
    kept::Kept,
};

/// What stays as it is in a path of a URI (RFC 3986 section 3.3).
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

pub(super) struct Sarif {
    out: Out,
    kept: Kept,
}

impl Sarif {
    pub(super) fn new(out: Out) -> Self {
        Self {
            out,
            kept: Kept::new(MOST),
        }
    }
}

/// A path as a reference of RFC 3986; its first part must not look like a scheme, which `%3A` prevents.
fn reference(path: &str) -> String {
    let path = path.replace('\\', "/");
    let encoded = utf8_percent_encode(&path, PATH).to_string();
    if path.starts_with('/') {
        format!("file://{encoded}")
    } else {
        encoded
    }
}

fn result(shown: &Shown) -> Value {
    let mut region = json!({ "startLine": shown.line });
    if let (Some(column), true, Value::Object(region)) = (shown.column, shown.by_character, &mut region) {
        region.insert("startColumn".to_owned(), column.into());
    }
    let address = match shown.address.as_str() {
        "" => String::new(),
        address => format!("{address}: "),
    };
    let index = Rule::ALL.iter().position(|rule| *rule == shown.of);
    json!({
        "ruleId": shown.code,
        "ruleIndex": index,
        "level": shown.severity.name(),
        "message": { "text": format!("{address}{}", shown.sentence()) },
        "locations": [{ "physicalLocation": {
            "artifactLocation": { "uri": reference(&shown.file) },
            "region": region,
        }}],
        "partialFingerprints": { "presend/v1": shown.fingerprint },
    })
}

fn rules() -> Vec<Value> {
    let of = |rule: &Rule| {
        json!({
            "id": rule.code(),
            "name": rule.name(),
            "shortDescription": { "text": rule.summary() },
            "fullDescription": { "text": rule.why() },
            "help": { "text": rule.mend(), "markdown": rule.page() },
            "defaultConfiguration": { "enabled": rule.is_on(), "level": rule.severity().name() },
        })
    };
    Rule::ALL.iter().map(of).collect()
}

fn notification(level: &str, text: &str) -> Value {
    json!({ "level": level, "message": { "text": text } })
}

impl Report for Sarif {
    fn finding(&mut self, shown: &Shown) -> io::Result<()> {
        self.kept.add(shown);
        Ok(())
    }

    fn finish(mut self: Box<Self>, summary: &Summary<'_>) -> io::Result<()> {
        let mut said: Vec<Value> = summary
            .problems
            .iter()
            .map(|problem| notification("error", problem))
            .collect();
        said.extend(summary.breaches.iter().map(|breach| {
            let level = if breach.code == 0 { "warning" } else { "error" };
            notification(level, &breach.message)
        }));
        said.extend(self.kept.cut(summary).map(|cut| notification("warning", &cut)));
        let successful = summary.problems.is_empty() && summary.exit_code != 3;
        let run = json!({
            "tool": { "driver": {
                "name": "presend",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules(),
            }},
            "columnKind": "unicodeCodePoints",
            "invocations": [{
                "executionSuccessful": successful,
                "exitCode": summary.exit_code,
                "toolExecutionNotifications": said,
            }],
            "results": self.kept.all().map(result).collect::<Vec<_>>(),
        });
        let document = json!({
            "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
            "version": "2.1.0",
            "runs": [run],
        });
        serde_json::to_writer_pretty(&mut self.out, &document)?;
        self.out.write_all(b"\n")?;
        self.out.close()
    }
}

#[cfg(test)]
mod tests {
    use super::reference;

    #[test]
    fn paths_become_references() {
        for (path, uri) in [
            ("lists/a b.csv", "lists/a%20b.csv"),
            ("x:y.csv", "x%3Ay.csv"),
            ("/tmp/ä?#.csv", "file:///tmp/%C3%A4%3F%23.csv"),
            ("dir\\a.csv", "dir/a.csv"),
            ("../a%41.csv", "../a%2541.csv"),
        ] {
            assert_eq!(reference(path), uri);
        }
    }
}
