//! `--i-own`: which domains are claimed, and the token that proves it.
//!
//! The token follows from the domain and a secret: the operator's (`--owner-secret`, for several machines), else one that is
//! made once and kept beside the database.

use std::{
    fs::{self, OpenOptions},
    hash::{Hash as _, Hasher as _},
    io::{self, Write as _},
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::fault::fault;
use crate::{
    address::{Domain, Rules},
    job::Ownership,
    store::stable_hash,
};

/// The file of the secret, beside the database.
const FILE: &str = "owner.key";
/// A secret that can be guessed proves nothing.
const SHORTEST: usize = 16;

/// A secret that is never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Secret(String);

impl Secret {
    /// For whoever uses it.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl std::str::FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

/// The claims, with their tokens; reads or makes the secret only if something is claimed.
pub(super) fn claims(
    domains: &[String],
    secret: Option<&Secret>,
    database: Option<&Path>,
    rules: Rules,
) -> anyhow::Result<Vec<Ownership>> {
    if domains.is_empty() {
        return Ok(Vec::new());
    }
    let keys = match (secret, database) {
        (Some(Secret(text)), _) if text.len() < SHORTEST => {
            return Err(fault(
                format!("`--owner-secret` has fewer than {SHORTEST} characters"),
                "take a random one, such as the output of `openssl rand -hex 16`",
            ));
        }
        (Some(Secret(text)), _) => [stable_hash(text.as_bytes(), 1), stable_hash(text.as_bytes(), 2)],
        (None, Some(database)) => kept(&database.with_file_name(FILE))?,
        (None, None) => {
            return Err(fault(
                "`--i-own` needs a secret, and `--no-store` has no place for one",
                "set `--owner-secret`, or leave `--no-store` out",
            ));
        }
    };
    domains.iter().map(|typed| claim(typed, keys, rules)).collect()
}

fn claim(typed: &str, keys: [u64; 2], rules: Rules) -> anyhow::Result<Ownership> {
    let domain = Domain::parse(typed.trim_end_matches('.'), rules).map_err(|error| {
        fault(
            format!("`--i-own {typed}`: {error}"),
            "write it as in an address: `acme.com`",
        )
    })?;
    let name = domain.as_str();
    if psl::domain_str(name).is_none() && !rules.allow_special_use {
        return Err(fault(
            format!("`--i-own {typed}`: nobody owns a public suffix"),
            "name the domain below it: `acme.com`",
        ));
    }
    Ok(Ownership {
        token: token(keys, name).into(),
        domain: name.into(),
    })
}

/// 128 bits that only who knows the keys can tell (SipHash 2-4 is a keyed function made for that).
#[expect(
    deprecated,
    reason = "the one std hasher whose algorithm (SipHash 2-4) is documented and so stable between releases"
)]
fn token([first, second]: [u64; 2], domain: &str) -> String {
    let half = |part: u8| {
        let mut hasher = std::hash::SipHasher::new_with_keys(first, second);
        (part, domain.as_bytes()).hash(&mut hasher);
        hasher.finish()
    };
    format!("{:016x}{:016x}", half(1), half(2))
}

/// The secret of this installation, made when it is not there.
fn kept(file: &Path) -> anyhow::Result<[u64; 2]> {
    let cannot = |error: io::Error| {
        fault(
            format!("cannot use the secret of `--i-own` in `{}`: {error}", file.display()),
            "mend the file's permissions, or set `--owner-secret`",
        )
    };
    match fs::read_to_string(file) {
        Ok(text) => parse(text.trim()).ok_or_else(|| {
            fault(
                format!(
                    "`{}` is not a secret of `--i-own`: 32 hexadecimal digits",
                    file.display()
                ),
                "delete it for a new one, and publish the record that is named then",
            )
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(file).map_err(cannot),
        Err(error) => Err(cannot(error)),
    }
}

fn parse(text: &str) -> Option<[u64; 2]> {
    let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let half = |range| u64::from_str_radix(text.get(range)?, 16).ok();
    digits.then_some(())?;
    Some([half(0..16)?, half(16..32)?])
}

fn make(file: &Path) -> io::Result<[u64; 2]> {
    let keys: [u64; 2] = [rand::random(), rand::random()];
    if let Some(folder) = file.parent().filter(|folder| *folder != Path::new("")) {
        fs::create_dir_all(folder)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let [first, second] = keys;
    writeln!(options.open(file)?, "{first:016x}{second:016x}")?;
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const SECRET: &str = "correct horse battery";

    fn of(domains: &[&str], secret: Option<&str>, database: Option<&Path>) -> anyhow::Result<Vec<Ownership>> {
        let domains: Vec<String> = domains.iter().map(ToString::to_string).collect();
        let secret = secret.map(|text| Secret(text.to_owned()));
        claims(&domains, secret.as_ref(), database, Rules::default())
    }

    #[test]
    fn p9_a_token_follows_from_the_domain_and_the_secret() {
        let token = |domain, secret| of(&[domain], Some(secret), None).unwrap().remove(0).token;
        let mine = token("acme.com", SECRET);
        assert_eq!(mine.len(), 32);
        assert_eq!(mine, token("ACME.com.", SECRET));
        assert_ne!(mine, token("other.com", SECRET));
        assert_ne!(mine, token("acme.com", "another secret of mine"));
        for (domain, secret, says) in [
            ("acme.com", Some("short"), "16 characters"),
            ("com", Some(SECRET), "no dot"),
            ("co.uk", Some(SECRET), "public suffix"),
            ("a b", Some(SECRET), "--i-own a b"),
            ("acme.com", None, "--no-store"),
        ] {
            let error = of(&[domain], secret, None).unwrap_err();
            assert!(format!("{error:#}").contains(says), "{error:#}");
        }
        assert_eq!(of(&[], None, None).unwrap(), []);
    }

    #[test]
    fn the_secret_of_an_installation_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let database: PathBuf = folder.path().join("state").join("presend.db");
        let first = of(&["acme.com"], None, Some(&database)).unwrap();
        assert_eq!(of(&["acme.com"], None, Some(&database)).unwrap(), first);
        let file = database.with_file_name(FILE);
        assert_eq!(fs::read_to_string(&file).unwrap().trim().len(), 32);
        fs::write(&file, "not a secret").unwrap();
        assert!(of(&["acme.com"], None, Some(&database)).is_err());
    }
}
