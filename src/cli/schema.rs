//! `presend config schema`: a JSON Schema of the configuration file, made of the same fields that read it.
//!
//! Editors check and complete `presend.toml` by it; `docs/presend.schema.json` is its output.

use std::{any::TypeId, io::Write};

use clap::{Arg, ArgAction, Args, Command};
use serde_json::{Map, Value, json};

use super::{Exit, lint::LintOverlay, serve::ServeOverlay, settings::Overlay};
use crate::{
    lint::{Rule, Threshold},
    replies::Class,
    suppress::{BouncePolicy, PolicyTable},
    verdict::Reason,
};

/// Prints the schema.
pub(super) fn run() -> anyhow::Result<Exit> {
    let mut out = anstream::stdout();
    serde_json::to_writer_pretty(&mut out, &schema())?;
    writeln!(out)?;
    Ok(Exit::Done)
}

fn schema() -> Value {
    let mut keys = properties::<Overlay>();
    keys.insert(
        "bounce".to_owned(),
        table_of(
            Class::ALL.iter().map(|class| class.name()),
            &one_of(&["hard", "soft", "pending", "none"]),
        ),
    );
    keys.insert("retry".to_owned(), retry());
    keys.insert("bounce_policy".to_owned(), bounce_policy());
    keys.insert("serve".to_owned(), table(properties::<ServeOverlay>()));
    keys.insert("lint".to_owned(), lint());
    let Value::Object(mut all) = table(keys) else {
        return Value::Null;
    };
    all.insert("$schema".to_owned(), "http://json-schema.org/draft-07/schema#".into());
    all.insert("title".to_owned(), "presend.toml".into());
    Value::Object(all)
}

/// A key for each option, with its help.
fn properties<T: Args>() -> Map<String, Value> {
    let command = T::augment_args(Command::new("presend"));
    command
        .get_arguments()
        .map(|arg| (arg.get_id().to_string(), property(arg)))
        .collect()
}

fn property(arg: &Arg) -> Value {
    let is = |id: TypeId| arg.get_value_parser().type_id() == id;
    let numbers = [
        TypeId::of::<u16>(),
        TypeId::of::<u32>(),
        TypeId::of::<u64>(),
        TypeId::of::<usize>(),
    ];
    let choices: Vec<String> = arg
        .get_possible_values()
        .iter()
        .map(|value| value.get_name().to_owned())
        .collect();
    let mut of = if is(TypeId::of::<bool>()) {
        json!({ "type": "boolean" })
    } else if is(TypeId::of::<Threshold>()) {
        json!({ "oneOf": [{ "type": "integer", "minimum": 0 }, { "type": "string", "pattern": "^ *[0-9]+(\\.[0-9]{1,4})? *%? *$" }] })
    } else if numbers.into_iter().any(is) {
        json!({ "type": "integer", "minimum": 0 })
    } else if choices.is_empty() {
        json!({ "type": "string" })
    } else {
        json!({ "enum": choices })
    };
    let several = matches!(arg.get_action(), ArgAction::Append);
    if several {
        of = json!({ "type": "array", "items": of });
    }
    if let (Value::Object(of), Some(help)) = (&mut of, arg.get_help()) {
        of.insert("description".to_owned(), help.to_string().into());
    }
    of
}

fn table(keys: Map<String, Value>) -> Value {
    let properties = Value::Object(keys);
    let of = [
        ("type", "object".into()),
        ("additionalProperties", false.into()),
        ("properties", properties),
    ];
    of.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn table_of<'a>(names: impl Iterator<Item = &'a str>, of: &Value) -> Value {
    table(names.map(|name| (name.to_owned(), of.clone())).collect())
}

fn one_of(words: &[&str]) -> Value {
    json!({ "enum": words })
}

/// The keys are those of the table; what they may be is said where they are used.
fn bounce_policy() -> Value {
    let Ok(Value::Object(mut keys)) = serde_json::to_value(PolicyTable::default()) else {
        return json!({ "type": "object" });
    };
    for (key, of) in &mut keys {
        *of = match key.as_str() {
            "profile" => one_of(&BouncePolicy::PROFILES),
            "reach" => json!({ "type": "string" }),
            "review" => json!({ "type": "boolean" }),
            "classes" => json!({ "type": "object" }),
            _ => json!({ "type": "integer", "minimum": 0 }),
        };
    }
    table(keys)
}

fn retry() -> Value {
    let delays = json!({ "type": "array", "items": { "type": "string" } });
    let mut of = table_of(Reason::all().map(Reason::name), &delays);
    if let Some(Value::Object(keys)) = of.get_mut("properties") {
        keys.insert("profile".to_owned(), one_of(&["default", "mailpro", "patient"]));
    }
    of
}

fn lint() -> Value {
    let mut keys = properties::<LintOverlay>();
    let strings = json!({ "type": "array", "items": { "type": "string" } });
    let groups = ["PS1", "PS2", "PS3", "PS4", "PS5", "PS6", "all"];
    let names = Rule::ALL
        .iter()
        .flat_map(|rule| [rule.name(), rule.code()])
        .chain(groups);
    let severity = table_of(names, &one_of(&["error", "warning", "note", "off"]));
    keys.insert("severity".to_owned(), severity.clone());
    for (key, of, what) in LintOverlay::only_in_file() {
        let mut of = match of {
            "strings" => strings.clone(),
            "level" => one_of(&["syntax", "dns", "smtp"]),
            "overrides" => overrides(&strings, &severity),
            _ => json!({ "type": "string" }),
        };
        if let Value::Object(of) = &mut of {
            of.insert("description".to_owned(), what.into());
        }
        keys.insert(key.to_owned(), of);
    }
    table(keys)
}

fn overrides(strings: &Value, severity: &Value) -> Value {
    let keys = [
        ("files", strings),
        ("select", strings),
        ("ignore", strings),
        ("severity", severity),
    ];
    let keys = keys.into_iter().map(|(key, of)| (key.to_owned(), of.clone())).collect();
    let mut one = table(keys);
    if let Value::Object(one) = &mut one {
        one.insert("required".to_owned(), json!(["files"]));
    }
    json!({ "type": "array", "items": one })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(of: &Value) -> Vec<String> {
        let mut keys: Vec<String> = of["properties"].as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys
    }

    #[test]
    fn every_key_of_the_file_is_described() {
        let schema = schema();
        let sorted = |mut keys: Vec<String>| {
            keys.sort();
            keys
        };
        let mut all = Overlay::keys();
        all.extend(["serve", "lint", "bounce_policy"].map(str::to_owned));
        assert_eq!(keys(&schema), sorted(all));
        assert_eq!(keys(&schema["properties"]["serve"]), sorted(Overlay::serve_keys()));
        assert_eq!(keys(&schema["properties"]["lint"]), sorted(Overlay::lint_keys()));
    }
}
