//! `presend config example`: a configuration file with every setting, what it does, and its default or an example. Made of the
//! settings themselves, so that none can be missing.

use std::io::{self, Write};

use clap::{Args as _, Command};
use serde_json::{Map, Value, json};

use super::{
    Exit,
    lint::LintOverlay,
    serve::ServeOverlay,
    settings::{Overlay, object},
    show::toml_value,
};
use crate::suppress::PolicyTable;

const HEAD: &str = "\
# presend.toml: every setting. What stands behind `#` is the default, or an example where there is none; take the `#` away to
# set it. Names of files are relative to this file. Flags and `PRESEND_*` variables win over it; `presend config check` reads it.
";

pub(super) fn run() -> anyhow::Result<Exit> {
    write(&mut anstream::stdout().lock())?;
    Ok(Exit::Done)
}

fn write(out: &mut impl Write) -> anyhow::Result<()> {
    out.write_all(HEAD.as_bytes())?;
    let defaults = object(&Overlay::of_service())?;
    write_settings(out, &Overlay::augment_args(Command::new("presend")), &defaults)?;
    write_bounce_policy(out)?;
    writeln!(out, "\n# What only `presend serve` needs.\n[serve]")?;
    let defaults = object(&ServeOverlay::defaults())?;
    write_settings(out, &ServeOverlay::augment_args(Command::new("serve")), &defaults)?;
    writeln!(out, "\n# What only `presend lint` needs: docs/lint.md.\n[lint]")?;
    let defaults = object(&LintOverlay::defaults())?;
    write_settings(out, &LintOverlay::augment_args(Command::new("lint")), &defaults)?;
    writeln!(out, "\n# == Only here, neither a flag nor a variable ==")?;
    for (key, _, help) in LintOverlay::only_in_file() {
        write_setting(out, (key, help), &defaults)?;
    }
    Ok(())
}

fn write_settings(out: &mut impl Write, command: &Command, defaults: &Map<String, Value>) -> io::Result<()> {
    let mut part = None;
    for arg in command.get_arguments() {
        let key = arg.get_id().as_str();
        let heading = arg.get_help_heading();
        if heading != part && heading != Some("Server") {
            let heading = heading.unwrap_or_default();
            writeln!(out, "\n# == {heading} ==")?;
            part = arg.get_help_heading();
        }
        let help = arg.get_long_help().or_else(|| arg.get_help());
        let help = help.map(ToString::to_string).unwrap_or_default();
        write_setting(out, (key, &help), defaults)?;
    }
    Ok(())
}

fn write_bounce_policy(out: &mut impl Write) -> anyhow::Result<()> {
    writeln!(
        out,
        "\n# After which bounces an address gets no more mail: docs/suppression.md.\n[bounce_policy]"
    )?;
    let defaults = object(&PolicyTable::written_out())?;
    for key in defaults.keys() {
        write_setting(out, (key, PolicyTable::help(key)), &defaults)?;
    }
    Ok(())
}

fn write_setting(out: &mut impl Write, (key, help): (&str, &str), defaults: &Map<String, Value>) -> io::Result<()> {
    writeln!(out)?;
    for line in wrapped(help) {
        writeln!(out, "# {line}")?;
    }
    let default = defaults.get(key).filter(|value| !value.is_null()).cloned();
    let value = example(key).or(default).or_else(|| of_lint(key)).unwrap_or_default();
    writeln!(out, "#{key} = {}", toml_value(&value))
}

/// What a setting without a default can be like.
fn example(key: &str) -> Option<Value> {
    Some(match key {
        "helo_name" => json!("probe.example.com"),
        "mail_from" => json!("postmaster@example.com"),
        "allow_list" => json!(["allow.txt"]),
        "block_list" => json!(["block.txt"]),
        "replies" => json!("replies.toml"),
        "bounce" => json!({ "policy": "hard", "greylisted": "soft" }),
        "trusted_host" => json!(["mx.example.com"]),
        "probe_provider" => json!(["mimecast"]),
        "i_own" => json!(["example.com"]),
        "owner_secret" => json!("a long text that nobody else knows"),
        "retry" => json!({ "greylisted": ["6m", "31m"], "sender_blocked": [] }),
        "retry_ladder" => json!(["6m", "31m", "2h 5m"]),
        "db" => json!("/var/lib/presend/presend.db"),
        "max_age" => json!("7days"),
        "source_ip" => json!(["192.0.2.7"]),
        "proxy" => json!("socks5://127.0.0.1:1080"),
        "nameserver" => json!(["127.0.0.1:53"]),
        "tls_cert" => json!("chain.pem"),
        "tls_key" => json!("key.pem"),
        "trusted_proxy" => json!(["10.0.0.0/8"]),
        "cors_origin" => json!(["https://app.example.com"]),
        "mailing_list" => json!("newsletter"),
        "classes" => json!({ "domain_not_found": "hard" }),
        "receive_ses_cert" => json!(["sns.pem"]),
        "receive_ses_topic" => json!(["arn:aws:sns:eu-west-1:123456789012:bounces"]),
        "receive_sendgrid_key" => json!("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE..."),
        "receive_mailgun_key" => json!("the signing key of its webhooks"),
        "receive_postmark_login" => json!("presend:a long password"),
        _ => return None,
    })
}

/// The same for `presend lint`.
fn of_lint(key: &str) -> Option<Value> {
    Some(match key {
        "select" => json!(["PS1", "PS2", "typo-domain"]),
        "ignore" => json!(["role", "unknown/greylisted"]),
        "severity" => json!({ "free": "note", "role": "off" }),
        "level" => json!("dns"),
        "max_invalid" => json!("2%"),
        "max_catch_all" => json!("5%"),
        "max_duplicates" => json!(100),
        "min_rows" => json!(1000),
        "baseline" => json!("lint.json"),
        "baseline_key_file" => json!("/run/secrets/baseline"),
        "cache" => json!("lint.db"),
        "max_cache_age" => json!("7days"),
        "api" => json!("https://presend.example.com"),
        "files" => json!(["lists", "seeds/*.csv"]),
        "column" => json!("email"),
        "override" => json!([{ "files": ["seeds/**"], "ignore": ["special-use-domain", "role"] }]),
        _ => return None,
    })
}

/// Lines of at most 116 characters.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() < 116 => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{super::config, *};

    fn made() -> String {
        let mut text = Vec::new();
        write(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn every_line_of_the_example_can_be_set_by_itself_and_with_all_others() {
        let text = made();
        assert!(
            !text.contains(" = null"),
            "a setting has neither default nor example: {text}"
        );
        let mut all = String::new();
        for line in text.lines() {
            let setting = line.strip_prefix('#').filter(|rest| !rest.starts_with(' '));
            let line = setting.unwrap_or(line);
            all.push_str(line);
            all.push('\n');
            if setting.is_some() {
                let table = all.lines().rfind(|line| line.starts_with('[')).unwrap_or_default();
                let alone = format!("{table}\n{line}\n");
                config::parse(&alone, Path::new("one.toml")).unwrap_or_else(|error| panic!("{line}: {error:#}"));
            }
        }
        config::parse(&all, Path::new("all.toml")).unwrap_or_else(|error| panic!("{error:#}"));
        let policy = object(&PolicyTable::written_out()).unwrap();
        let keys = [Overlay::keys(), Overlay::serve_keys(), Overlay::lint_keys()].concat();
        for key in keys.iter().chain(policy.keys()) {
            assert!(text.contains(&format!("\n#{key} = ")), "{key}");
        }
    }

    #[test]
    fn the_example_beside_the_service_is_the_one_that_is_made() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/deploy/presend.toml");
        if std::env::var_os("PRESEND_BLESS").is_some() {
            std::fs::write(path, made()).unwrap();
        }
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            kept == made(),
            "docs/deploy/presend.toml is out of date: run with PRESEND_BLESS=1"
        );
    }
}
