//! `--redact`: no local-part in any format, in any field.

use std::{sync::Arc, time::Duration};

use presend::{
    input::{InputFormat, RowFault},
    output::{Detail, Format, Output, Privacy, Target},
    smtp::{Entry, Speaker, Transcript},
};

use super::{Shared, answered, broken, layout, object, options, record};

const REDACTED: Detail = Detail {
    transcript: true,
    privacy: Privacy::Redacted,
};
const FORMATS: [Format; 5] = [Format::Csv, Format::Ndjson, Format::Json, Format::Table, Format::Xlsx];

/// Outcomes and rows in which `secret.local` stands wherever it can.
fn rows() -> Vec<(presend::input::Row, presend::job::Outcome)> {
    let address = "Secret.Local+tag@acme.example";
    let reply = "550 5.1.1 <secret.local+tag@acme.example>: secret.local unknown, see https://x.example/?id=Secret.Local%40acme";
    let mut heard = answered(address, reply);
    heard.hits.did_you_mean = Some("secret.local@acme.example".into());
    let entry = |text: &str| Entry {
        at: Duration::ZERO,
        who: Speaker::Client,
        text: text.into(),
    };
    heard.transcripts = vec![Arc::new(Transcript {
        host: "mx1.acme.example".into(),
        peer: "127.0.0.1:25".parse().unwrap(),
        entries: vec![
            entry("RCPT TO:<Secret.Local+tag@acme.example>"),
            entry("550 no secret.local here"),
            // What is cut to fit must be masked before.
            entry(&format!("RCPT TO:<{}secret.local@acme.example>", "x".repeat(990))),
        ],
    })];
    let mut typo = broken("secret.local.acme.example");
    typo.evidence.syntax.as_mut().unwrap().suggestion = Some("secret.local@acme.example".into());
    let quoted = answered("\"secret local\"@acme.example", "250 Ok");
    let mut faulty = record(&["secret.local@acme.example", ""], 0);
    faulty.fault = Some(RowFault {
        column: Some(1),
        message: "no <secret.local@acme.example>".into(),
    });
    let others = "Jane <secret.local@acme.example>; \"secret.local\"@b.example";
    vec![
        (record(&[address, others], 0), heard.clone()),
        (record(&["secret.local.acme.example", ""], 0), typo),
        (record(&["\"secret local\"@acme.example", "x"], 0), quoted),
        (faulty, broken("secret.local")),
        (record(&[address], 0), heard.clone()),
        (record(&[address, "a", others, "c"], 0), heard.clone()),
        (
            object(
                &format!("{{\"email\":\"{address}\",\"secret.local@k\":[{{\"cc\":\"<{address}>\"}}],\"n\":1}}"),
                address,
            ),
            heard,
        ),
    ]
}

#[test]
fn no_format_shows_a_local_part() {
    let layout = layout(InputFormat::Csv, Some(b','), &["email", "note"], 0);
    for format in FORMATS {
        for (row, outcome) in rows() {
            let mut options = options(format);
            let bytes = |options: &_| {
                let shared = Shared::default();
                let output = &mut Output::single(&layout, options, Target::new(shared.clone(), false));
                presend::job::Sink::write(output, &row, &outcome).unwrap();
                presend::job::Sink::flush(output).unwrap();
                let rendered = if format == Format::Xlsx {
                    chunk(&layout, options, &row, &outcome)
                } else {
                    shared.text()
                };
                rendered.to_lowercase()
            };
            let secret = |text: &str| text.contains("secret.local") || text.contains("secret local");
            assert!(secret(&bytes(&options)), "{format:?} never shows it");
            options.detail = REDACTED;
            let shown = bytes(&options);
            assert!(!secret(&shown), "{format:?}: {shown}");
            assert!(shown.contains("s***"), "{format:?}: {shown}");
        }
    }
}

/// The rendered cells of a workbook before they are packed.
fn chunk(
    layout: &presend::input::Layout,
    options: &presend::output::Options,
    row: &presend::input::Row,
    outcome: &presend::job::Outcome,
) -> String {
    let mut chunk = presend::output::Chunk::default();
    presend::output::Renderer::new(layout, options, false).row(row, outcome, &mut chunk);
    format!("{chunk:?}")
        .split(['[', ',', ']'])
        .filter_map(|byte| byte.trim().parse::<u8>().ok())
        .map(char::from)
        .collect()
}

#[test]
fn what_is_not_personal_stays() {
    let layout = layout(InputFormat::Csv, Some(b','), &["email", "note"], 0);
    let mut options = options(Format::Csv);
    options.detail = REDACTED;
    let shared = Shared::default();
    let mut output = Output::single(&layout, &options, Target::new(shared.clone(), false));
    let (row, outcome) = &rows()[0];
    presend::job::Sink::write(&mut output, row, outcome).unwrap();
    output.finish().unwrap();
    let text = shared.text();
    insta::assert_snapshot!(text.lines().nth(1).unwrap(), @r#"S***@acme.example,Jane <s***@acme.example>; s***@b.example,invalid,mailbox_unknown,drop,hard,user_unknown,s***@acme.example,S***@acme.example,false,false,false,mx1.acme.example,,550,5.1.1,"<s***@acme.example>: s*** unknown, see https://x.example/?id=s***%40acme",,2026-11-21T10:00:00Z"#);
}
