//! `presend config show|check|example`.

use std::io::Write;

use clap::ArgMatches;
use serde_json::{Map, Value, json};

use super::{
    Exit,
    args::{ConfigArgs, ConfigCommand, ShowArgs},
    config::ConfigFile,
    example,
    fault::fault,
    paint::{DIM, paint},
    schema,
    settings::{Origin, Profile, Resolved},
};

pub(super) fn run(args: &ConfigArgs, matches: &ArgMatches) -> anyhow::Result<Exit> {
    match &args.command {
        ConfigCommand::Show(args) => show(args, matches),
        ConfigCommand::Schema => schema::run(),
        ConfigCommand::Check { file } => {
            let config = file.as_deref().map_or_else(ConfigFile::default, ConfigFile::named);
            check(&config, matches)
        }
        ConfigCommand::Example => example::run(),
    }
}

fn show(args: &ShowArgs, matches: &ArgMatches) -> anyhow::Result<Exit> {
    let resolved = Resolved::new(&args.overlay, matches, &args.config, Profile::Bulk)?;
    let file = resolved.file.as_ref().map(|path| path.display().to_string());
    let mut out = anstream::stdout();
    if args.json {
        let settings: Map<String, Value> = resolved
            .entries()
            .map(|(key, value, origin)| {
                (
                    key.to_owned(),
                    json!({ "value": value, "from": from(origin, key, None) }),
                )
            })
            .collect();
        let serve: Map<String, Value> = resolved
            .serve_entries()?
            .into_iter()
            .map(|(key, value, origin)| {
                let origin = from(origin, &key, None);
                (key, json!({ "value": value, "from": origin }))
            })
            .collect();
        let all = json!({ "file": file, "settings": settings, "serve": serve });
        serde_json::to_writer_pretty(&mut out, &all)?;
        writeln!(out)?;
        return Ok(Exit::Done);
    }
    // Lines can be pasted into a configuration file.
    match &file {
        Some(file) => writeln!(out, "{}", paint(DIM, format!("# configuration file: {file}")))?,
        None => writeln!(
            out,
            "{}",
            paint(DIM, "# no configuration file: ./presend.toml or --config FILE")
        )?,
    }
    let file = file.as_deref();
    for (key, value, origin) in resolved.entries() {
        write_setting(&mut out, key, value, &from(origin, key, file))?;
    }
    writeln!(out, "\n[serve]")?;
    for (key, value, origin) in resolved.serve_entries()? {
        write_setting(&mut out, &key, &value, &from(origin, &key, file))?;
    }
    Ok(Exit::Done)
}

fn write_setting(out: &mut impl Write, key: &str, value: &Value, origin: &str) -> std::io::Result<()> {
    if value.is_null() {
        return writeln!(out, "{}", paint(DIM, format!("# {key} is not set")));
    }
    let line = format!("{key} = {}", toml_value(value));
    writeln!(out, "{line:<44}  {}", paint(DIM, format!("# {origin}")))
}

/// A value as a configuration file has it. JSON's scalars and arrays are TOML's; its objects are not.
pub(super) fn toml_value(value: &Value) -> String {
    if let Some(table) = value.as_object() {
        let entry = |(key, value): (&String, &Value)| format!("{key} = {}", toml_value(value));
        let entries: Vec<_> = table.iter().map(entry).collect();
        format!("{{ {} }}", entries.join(", "))
    } else if let Some(array) = value.as_array() {
        let entries: Vec<_> = array.iter().map(toml_value).collect();
        format!("[{}]", entries.join(", "))
    } else {
        value.to_string()
    }
}

fn from(origin: Origin, key: &str, file: Option<&str>) -> String {
    match origin {
        Origin::Flag => format!("--{}", key.replace('_', "-")),
        Origin::Environment => format!("PRESEND_{}", key.to_uppercase()),
        Origin::File => file.unwrap_or("file").to_owned(),
        Origin::Default => "default".to_owned(),
    }
}

/// Reads the file, the lists it names and the identity, as a run would.
fn check(config: &ConfigFile, matches: &ArgMatches) -> anyhow::Result<Exit> {
    let resolved = Resolved::new(&super::settings::Overlay::default(), matches, config, Profile::Bulk)?;
    let Some(file) = &resolved.file else {
        return Err(fault(
            "there is no configuration file",
            "name one: `presend config check FILE`; `presend config show` prints what one can hold",
        ));
    };
    resolved.to_settings(false)?;
    writeln!(anstream::stdout(), "{}: no problem", file.display())?;
    Ok(Exit::Done)
}
