//! The configuration file: where it is, and errors that show the line.

use std::{
    borrow::Cow,
    env, fs,
    ops::Range,
    path::{Path, PathBuf},
};

use super::{fault::fault, settings::Overlay};
use crate::replies::Class;

/// Which configuration file to read.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct ConfigFile {
    /// Configuration file [default: `./presend.toml`, else `presend/presend.toml` in the XDG configuration folder].
    #[arg(long = "config", value_name = "FILE", env = "PRESEND_CONFIG")]
    config: Option<PathBuf>,
}

impl ConfigFile {
    /// A named file.
    pub(super) fn named(path: &Path) -> Self {
        Self {
            config: Some(path.to_owned()),
        }
    }

    /// The file that was named, else the first `presend.toml` in this folder or one above it, no further up than the repository that
    /// the folder is in and not where anybody may write; a file for all projects of a user comes last.
    pub(super) fn or_above(&self) -> Self {
        let Some(here) = env::current_dir().ok().filter(|_| self.config.is_none()) else {
            return self.clone();
        };
        for folder in here.ancestors() {
            let file = folder.join("presend.toml");
            if file.is_file() && (folder == here || !is_everybodys(folder)) {
                // In this very folder the short name says enough.
                let named = if folder == here {
                    Path::new("presend.toml")
                } else {
                    &file
                };
                return Self::named(named);
            }
            if folder.join(".git").exists() {
                break;
            }
        }
        self.clone()
    }

    /// Finds and reads the file; nothing when there is none.
    pub(super) fn read(&self) -> anyhow::Result<(Option<PathBuf>, Overlay)> {
        let Some(path) = self.config.clone().or_else(found) else {
            return Ok((None, Overlay::default()));
        };
        let text = fs::read_to_string(&path).map_err(|error| {
            fault(
                format!("cannot read `{}`: {error}", path.display()),
                "name a file that exists with `--config`",
            )
        })?;
        let overlay = parse(&text, &path)?;
        Ok((Some(path), overlay))
    }
}

/// Whether anybody may put a file there, as into `/tmp`: what lies above a project there is not its own.
fn is_everybodys(folder: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::metadata(folder).is_ok_and(|metadata| metadata.permissions().mode() & 0o002 != 0)
    }
    #[cfg(not(unix))]
    {
        let _ = folder;
        false
    }
}

/// Reads the text of a configuration file; `path` is for messages and for the files that it names.
pub(super) fn parse(text: &str, path: &Path) -> anyhow::Result<Overlay> {
    let mut overlay: Overlay = toml::from_str(text).map_err(|error| explain(path, text, &error))?;
    overlay.lift_profile()?;
    overlay.relative_to(path.parent().unwrap_or(Path::new("")));
    Ok(overlay)
}

fn found() -> Option<PathBuf> {
    let here = PathBuf::from("presend.toml");
    if here.is_file() {
        return Some(here);
    }
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?;
    Some(folder.join("presend").join("presend.toml")).filter(|path| path.is_file())
}

/// `FILE:LINE:COLUMN`, the sentence, the line with a caret, and the key that was probably meant.
fn explain(path: &Path, text: &str, error: &toml::de::Error) -> anyhow::Error {
    let span = error.span().unwrap_or(0..0);
    let (line, column) = position(text, span.start);
    let (sentence, hint) = match (unknown_key(error.message()), unknown_word(error.message())) {
        (Some(key), _) => (format!("unknown key `{key}`"), unknown_key_hint(key)),
        (None, Some(word)) if error.message().contains("`accepted`") => {
            (format!("no reply class is called `{word}`"), unknown_class_hint(word))
        }
        (None, _) => (
            error.message().trim_end().replace('\n', ", "),
            "`presend config show` lists every key with its value".to_owned(),
        ),
    };
    let excerpt = excerpt(text, line, column, &span);
    fault(
        format!("{}:{line}:{column}: {sentence}\n{excerpt}", path.display()),
        hint,
    )
}

fn unknown_key(message: &str) -> Option<&str> {
    message.strip_prefix("unknown field `")?.split('`').next()
}

/// The word of an enumeration that serde does not know.
fn unknown_word(message: &str) -> Option<&str> {
    message.strip_prefix("unknown variant `")?.split('`').next()
}

fn unknown_class_hint(word: &str) -> String {
    match nearest(&word.replace('-', "_"), Class::ALL.iter().map(|class| class.name())) {
        Some(meant) => format!("did you mean `{meant}`? `presend reasons` lists every class"),
        None => "`presend reasons` lists every class".to_owned(),
    }
}

fn unknown_key_hint(key: &str) -> String {
    let mut keys = Overlay::keys();
    keys.extend(Overlay::serve_keys());
    keys.extend(Overlay::lint_keys());
    match nearest(&key.replace('-', "_"), keys.iter().map(String::as_str)) {
        Some(meant) => format!("did you mean `{meant}`? `presend config show` lists every key"),
        None => "`presend config show` lists every key".to_owned(),
    }
}

/// Line and column from 1, in characters.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
    (before.matches('\n').count() + 1, column)
}

fn excerpt(text: &str, line: usize, column: usize, span: &Range<usize>) -> String {
    let shown = without_secret(text.lines().nth(line - 1).unwrap_or_default());
    let shown: String = shown.chars().take(120).collect();
    let marked = text
        .get(span.clone())
        .map_or(1, |part| part.lines().next().unwrap_or_default().chars().count());
    let number = line.to_string();
    let margin = " ".repeat(number.len());
    let indent = " ".repeat(column - 1);
    let carets = "^".repeat(marked.clamp(1, 80));
    format!("{margin} |\n{number} | {shown}\n{margin} | {indent}{carets}")
}

/// A line as errors may repeat it: a proxy's login is starred, so that columns stay.
fn without_secret(line: &str) -> Cow<'_, str> {
    let login = line
        .find("proxy")
        .and_then(|key| {
            let at = line.rfind('@')?;
            let start = key + "proxy".len();
            let rest = line.get(start..at)?;
            // Anything else between the key and a sign may be part of the login already.
            let sign = rest
                .find('=')
                .filter(|sign| rest.get(..*sign).is_some_and(|gap| gap.trim().is_empty()));
            Some((start + sign.map_or(0, |sign| sign + 1), at))
        })
        .and_then(|(start, end)| Some((line.get(..start)?, line.get(start..end)?, line.get(end..)?)));
    match login {
        Some((before, login, after)) => format!("{before}{}{after}", "*".repeat(login.chars().count())).into(),
        None => line.into(),
    }
}

/// The known word that was probably meant.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.84)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// A variable that is one or two letters away from a setting would be ignored in silence; others are not ours to judge.
pub(super) fn refuse_misspelt_environment() -> anyhow::Result<()> {
    let of_server = Overlay::serve_keys().into_iter().map(|key| format!("serve_{key}"));
    let of_lint = Overlay::lint_keys().into_iter().map(|key| format!("lint_{key}"));
    let known: Vec<String> = Overlay::keys()
        .into_iter()
        .chain(of_server)
        .chain(of_lint)
        .map(|key| format!("PRESEND_{}", key.to_uppercase()))
        .chain(
            [
                "PRESEND_CONFIG",
                "PRESEND_LOG",
                "PRESEND_API_KEY",
                "PRESEND_BASELINE_KEY",
            ]
            .map(str::to_owned),
        )
        .collect();
    for (name, _) in env::vars_os() {
        let Some(name) = name.to_str().filter(|name| name.starts_with("PRESEND_")) else {
            continue;
        };
        if known.iter().any(|known| known == name) {
            continue;
        }
        let near = known.iter().find(|known| strsim::osa_distance(known, name) <= 2);
        if let Some(near) = near {
            return Err(fault(
                format!("unknown environment variable `{name}`"),
                format!("did you mean `{near}`? `presend config show` lists every setting"),
            ));
        }
    }
    Ok(())
}
