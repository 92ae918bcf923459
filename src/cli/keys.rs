//! `presend keys`: keys of the HTTP API.

use std::{io::Write as _, time::SystemTime};

use clap::ArgMatches;
use serde::Serialize;

use super::{
    Exit,
    config::ConfigFile,
    database,
    fault::{fault, note},
    settings::{Overlay, Profile, Resolved},
};
use crate::{
    output,
    serve::{Allowance, ApiKey, Scope},
    store::KeyRecord,
};

/// `presend keys`
#[derive(Debug, clap::Args)]
#[command(
    about = "Keys of the HTTP API: add, list, revoke",
    after_long_help = "\
Examples:
  presend keys add --name crm --rate 10/s --quota 10000/day
  presend keys add --name dashboard --scope admin
  presend keys list
  presend keys revoke k7mqab2xy9

A key is shown once; the database holds only its hash. Keys of one tenant see the same verifications. A revoked key ends at once, in \
servers that are running too."
)]
pub(super) struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Debug, clap::Subcommand)]
enum KeysCommand {
    /// Make a key and show it, once
    Add {
        /// What people call it.
        #[arg(long, value_name = "NAME")]
        name: String,
        /// Whose it is: keys of one tenant see the same things [default: the name].
        #[arg(long, value_name = "TENANT")]
        tenant: Option<String>,
        /// What it may do. Repeatable.
        #[arg(
            long,
            value_enum,
            value_name = "SCOPE",
            value_delimiter = ',',
            default_value = "verify"
        )]
        scope: Vec<Scope>,
        /// Requests it may send, such as `10/s` [default: any number].
        #[arg(long, value_name = "COUNT/UNIT")]
        rate: Option<Allowance>,
        /// Addresses it may ask about, such as `10000/day` [default: any number].
        #[arg(long, value_name = "COUNT/UNIT")]
        quota: Option<Allowance>,
        #[command(flatten)]
        database: KeyDatabase,
    },
    /// Every key, without its secret
    List {
        /// One JSON array.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        database: KeyDatabase,
    },
    /// End a key at once
    Revoke {
        /// Its id: the part of the key between the two `_`.
        id: String,
        #[command(flatten)]
        database: KeyDatabase,
    },
}

#[derive(Debug, clap::Args)]
struct KeyDatabase {
    /// Database of the server [default: as for `presend serve`].
    #[arg(long, value_name = "FILE", env = "PRESEND_DB")]
    db: Option<std::path::PathBuf>,
    #[command(flatten)]
    config: ConfigFile,
}

/// A key as it is listed.
#[derive(Serialize)]
struct Listed<'a> {
    id: &'a str,
    name: &'a str,
    tenant: &'a str,
    scopes: Vec<&'a str>,
    rate: Option<&'a str>,
    quota: Option<&'a str>,
    created_at: String,
    revoked_at: Option<String>,
}

fn day(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}

pub(super) fn run(args: &KeysArgs, matches: &ArgMatches) -> anyhow::Result<Exit> {
    let open = |database: &KeyDatabase| {
        let overlay = Overlay::of_jobs(database.db.clone());
        database::open(&Resolved::new(&overlay, matches, &database.config, Profile::Bulk)?)
    };
    match &args.command {
        KeysCommand::Add {
            name,
            tenant,
            scope,
            rate,
            quota,
            database,
        } => {
            let tenant = tenant.as_ref().unwrap_or(name);
            for (option, text) in [("--name", name), ("--tenant", tenant)] {
                check(option, text)?;
            }
            let mut scopes: Vec<&str> = scope.iter().map(|scope| scope.name()).collect();
            scopes.sort_unstable();
            scopes.dedup();
            let key = ApiKey::generate()?;
            open(database)?.add_key(KeyRecord {
                id: key.id().to_owned(),
                name: name.clone(),
                tenant: tenant.clone(),
                hash: key.hash(),
                scopes: scopes.join(","),
                rate: rate.map(|rate| rate.to_string()),
                quota: quota.map(|quota| quota.to_string()),
                created_at: SystemTime::now(),
                revoked_at: None,
            })?;
            writeln!(std::io::stdout(), "{}", key.reveal())?;
            note(&format!(
                "this is the only time the key is shown; `presend keys revoke {}` ends it",
                key.id()
            ));
        }
        KeysCommand::List { json, database } => list(&open(database)?.keys()?, *json)?,
        KeysCommand::Revoke { id, database } => {
            let shown = output::clean(id, 80);
            if !open(database)?.revoke_key(id)? {
                return Err(fault(
                    format!("there is no key `{shown}` to revoke"),
                    "`presend keys list` shows them",
                ));
            }
            note(&format!("the key `{shown}` is revoked"));
        }
    }
    Ok(Exit::Done)
}

fn check(option: &str, text: &str) -> anyhow::Result<()> {
    let plain = |character: char| character.is_alphanumeric() || " -_.@".contains(character);
    if !text.trim().is_empty() && text.len() <= 100 && text.chars().all(plain) {
        return Ok(());
    }
    Err(fault(
        format!("`{option}` cannot be used"),
        "use up to 100 letters, digits, spaces and `-_.@`",
    ))
}

fn list(keys: &[KeyRecord], json: bool) -> anyhow::Result<()> {
    let mut out = anstream::stdout();
    let listed: Vec<Listed<'_>> = keys
        .iter()
        .map(|key| Listed {
            id: &key.id,
            name: &key.name,
            tenant: &key.tenant,
            scopes: key.scopes.split(',').collect(),
            rate: key.rate.as_deref(),
            quota: key.quota.as_deref(),
            created_at: day(key.created_at),
            revoked_at: key.revoked_at.map(day),
        })
        .collect();
    if json {
        serde_json::to_writer_pretty(&mut out, &listed)?;
        writeln!(out)?;
        return Ok(());
    }
    if listed.is_empty() {
        note("there are no keys; `presend keys add --name NAME` makes one");
    }
    for key in listed {
        let state = key
            .revoked_at
            .map_or_else(|| "active".to_owned(), |at| format!("revoked {at}"));
        writeln!(
            out,
            "{}  {}  tenant {}  {}  rate {}  quota {}  made {}  {state}",
            key.id,
            key.name,
            key.tenant,
            key.scopes.join(","),
            key.rate.unwrap_or("any"),
            key.quota.unwrap_or("any"),
            key.created_at,
        )?;
    }
    Ok(())
}
