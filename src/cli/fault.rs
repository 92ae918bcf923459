//! Errors as people read them: one sentence, then what to do.

use std::{fmt, io};

use crate::output::clean;

/// A sentence for a person and, where one helps, a hint.
#[derive(Debug)]
pub(super) struct Fault {
    message: String,
    hint: Option<String>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

/// An error with a hint.
pub(super) fn fault(message: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Fault {
        message: message.into(),
        hint: Some(hint.into()),
    })
}

/// Was the reader of our output gone? That ends a run and is no error.
pub(super) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|io| io.kind() == io::ErrorKind::BrokenPipe)
    })
}

/// Writes `error: ...` and `hint: ...` to standard error.
pub(super) fn report(error: &anyhow::Error) {
    let mut text = format!("\x1b[1;31merror:\x1b[0m {}", sentence(error));
    let hint = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Fault>()?.hint.as_deref());
    if let Some(hint) = hint {
        text.push_str("\n\x1b[1;36mhint:\x1b[0m ");
        text.push_str(&harmless(hint));
    }
    note(&text);
}

/// The error and what caused it, in one text.
pub(super) fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for (index, cause) in error.chain().map(|cause| harmless(&cause.to_string())).enumerate() {
        // Parsers end their messages with a line end.
        let cause = cause.trim_end();
        // Transparent errors repeat their source.
        if index > 0 && !text.ends_with(cause) {
            text.push_str(": ");
            text.push_str(cause);
        } else if index == 0 {
            text.push_str(cause);
        }
    }
    text
}

/// Messages repeat what stands in files; lines stay, nothing else may act on the terminal.
fn harmless(text: &str) -> String {
    let lines: Vec<_> = text.split('\n').map(|line| clean(line, line.len())).collect();
    lines.join("\n")
}

/// Writes one line for people; a closed standard error has nobody to tell.
pub(super) fn note(text: &str) {
    let _ = io::Write::write_fmt(&mut anstream::stderr(), format_args!("{text}\n"));
}

/// A hint on its own.
pub(super) fn hint(text: &str) {
    note(&format!("\x1b[1;36mhint:\x1b[0m {text}"));
}
