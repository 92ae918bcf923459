//! `presend lint --rules` and `--show-config`.

use std::io::Write;

use serde_json::{Value, json};

use super::{
    super::{
        Exit,
        paint::{BOLD, DIM, paint},
    },
    Plan,
};
use crate::lint::{Rule, pages};

pub(super) fn rules(as_json: bool, as_markdown: bool) -> anyhow::Result<Exit> {
    let mut out = anstream::stdout();
    if as_markdown {
        out.write_all(pages().as_bytes())?;
        return Ok(Exit::Done);
    }
    if as_json {
        let of = |rule: &Rule| {
            json!({
                "code": rule.code(),
                "name": rule.name(),
                "severity": rule.severity().name(),
                "on": rule.is_on(),
                "level": rule.level(),
                "summary": rule.summary(),
                "why": rule.why(),
                "do": rule.mend(),
            })
        };
        let all: Vec<Value> = Rule::ALL.iter().map(of).collect();
        serde_json::to_writer_pretty(&mut out, &all)?;
        writeln!(out)?;
        return Ok(Exit::Done);
    }
    for rule in Rule::ALL {
        let severity = if rule.is_on() { rule.severity().name() } else { "off" };
        writeln!(
            out,
            "{}  {:<22}{severity:<9}{:<8}{}",
            paint(BOLD, rule.code()),
            rule.name(),
            rule.level(),
            rule.summary()
        )?;
    }
    Ok(Exit::Done)
}

/// The settings as a configuration file has them.
pub(super) fn config(plan: &Plan) -> anyhow::Result<Exit> {
    let mut out = anstream::stdout();
    match &plan.resolved.file {
        Some(file) => writeln!(
            out,
            "{}",
            paint(DIM, format!("# configuration file: {}", file.display()))
        )?,
        None => writeln!(out, "{}", paint(DIM, "# no configuration file here or above"))?,
    }
    let mut lint = plan.lint.clone();
    lint.level = Some(plan.resolved.level());
    let document = toml::Table::from_iter([("lint".to_owned(), toml::Value::try_from(&lint)?)]);
    write!(out, "{}", toml::to_string(&document)?)?;
    Ok(Exit::Done)
}
