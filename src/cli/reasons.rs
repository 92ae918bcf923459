//! `presend reasons`: the closed lists of reasons and classes, for people, programs and `docs/reasons.md`.

use std::{fmt::Write as _, io::Write as _};

use super::{
    Exit,
    args::ReasonsArgs,
    classify::elsewhere,
    paint::{BOLD, DIM, paint},
};
use crate::output::{Entry, classes, reasons};

pub(super) fn run(args: &ReasonsArgs) -> anyhow::Result<Exit> {
    let reasons = reasons();
    let classes = classes();
    let mut out = anstream::stdout();
    if args.json {
        let all: Vec<Entry> = reasons.into_iter().chain(classes).collect();
        serde_json::to_writer_pretty(&mut out, &all)?;
        writeln!(out)?;
    } else if args.markdown {
        out.write_all(markdown(&reasons, &classes).as_bytes())?;
    } else {
        out.write_all(people(&reasons, &classes).as_bytes())?;
    }
    Ok(Exit::Done)
}

fn people(reasons: &[Entry], classes: &[Entry]) -> String {
    let mut text = String::new();
    for (heading, entries) in [
        ("REASONS: why a verdict is what it is", reasons),
        ("CLASSES: what a reply says, and what a bounce is filed under", classes),
    ] {
        let _ = writeln!(text, "{}\n", paint(BOLD, heading));
        for entry in entries {
            let name = paint(BOLD, entry.name());
            let _ = writeln!(text, "{name}\n  {}\n  {}", entry.sentence, paint(DIM, entry.advice));
            if let Some(names) = &entry.names {
                let filed = format!("{} {}: {}", names.bounce.kind, names.of.name(), elsewhere(names.of));
                let _ = writeln!(text, "  {}", paint(DIM, filed));
            }
        }
        text.push('\n');
    }
    text.pop();
    text
}

fn markdown(reasons: &[Entry], classes: &[Entry]) -> String {
    let cell = |text: &str| text.replace('|', "\\|");
    let code = |name: &str| {
        if name.is_empty() {
            String::new()
        } else {
            format!("`{name}`")
        }
    };
    let mut text = String::from(
        "# Reasons and classes\n\nThis page is the output of `presend reasons --markdown`. All names are stable.\n\n## Reasons\n\n\
         Every verdict has one reason of this closed list. The last column is the class under which a bounce would be filed; \
         other systems' names for it are in the second table.\n\n\
         | reason | what it means | what to do | class |\n|---|---|---|---|\n",
    );
    for entry in reasons {
        let class = entry.names.as_ref().map_or("", |names| names.of.name());
        let (name, class) = (code(entry.name()), code(class));
        let _ = writeln!(
            text,
            "| {name} | {} | {} | {class} |",
            cell(entry.sentence),
            cell(entry.advice)
        );
    }
    text.push_str(
        "\n## Classes\n\nWhat a reply says, and `bounce.class` of a result. \"Bounce\" is the kind forecast for a permanent reply; a \
         transient one is never `hard`. `[bounce]` in `presend.toml` (or `--bounce`) changes the kinds, for example `policy = \"hard\"`; \
         it never changes a label.\n\n\
         | class | what it means | what to do | bounce | HubSpot | Mailpro | ZeroBounce | NeverBounce | RFC 3463 | Sisimai | KumoMTA |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for entry in classes {
        let _ = write!(
            text,
            "| {} | {} | {} |",
            code(entry.name()),
            cell(entry.sentence),
            cell(entry.advice)
        );
        let Some(names) = &entry.names else { continue };
        let zerobounce = [names.zerobounce.status, names.zerobounce.sub_status].join(" ");
        for name in [
            names.bounce.kind,
            names.hubspot,
            names.mailpro,
            zerobounce.trim_end(),
            names.neverbounce,
            names.rfc3463,
            names.sisimai,
            names.kumomta,
        ] {
            let _ = write!(text, " {name} |");
        }
        text.push('\n');
    }
    text
}
