//! Which lines of a file were added since a revision, as the `git` program tells it.
//!
//! Names of files and revisions are hostile: nothing of them is read as an option or a pattern, and git runs no helper of the
//! repository for the comparison.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    input::{Cells, Row},
    output::clean,
};

/// The lines of one file that count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// First and last line of each piece, ascending; `None` is the whole file.
    pieces: Option<Vec<(u64, u64)>>,
}

/// git cannot tell.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The program is not there or does not run.
    #[error("cannot run `git`: {0}")]
    Run(std::io::Error),
    /// It said no.
    #[error("git cannot tell what changed in `{file}` since `{revision}`: {said}")]
    Refused {
        /// The file.
        file: String,
        /// The revision as given.
        revision: String,
        /// Its own words.
        said: String,
    },
}

impl Changed {
    /// What was added to `file` since `revision`, committed or not; all of it when the revision does not have it.
    ///
    /// # Errors
    /// git is missing, the file is in no repository, or there is no such revision.
    pub fn since(revision: &str, file: &Path) -> Result<Self, GitError> {
        let (folder, name) = place(file);
        let refused = |said: &[u8]| GitError::Refused {
            file: clean(&file.display().to_string(), 200).into_owned(),
            revision: clean(revision, 100).into_owned(),
            said: clean(String::from_utf8_lossy(said).trim(), 300).into_owned(),
        };
        let commit = format!("{revision}^{{commit}}");
        let found = git(
            &folder,
            &[
                OsStr::new("rev-parse"),
                "--verify".as_ref(),
                "--end-of-options".as_ref(),
                commit.as_ref(),
            ],
        )?;
        if !found.status.success() {
            return Err(refused(&found.stderr));
        }
        let commit = String::from_utf8_lossy(&found.stdout).trim().to_owned();
        let listed = git(&folder, &[OsStr::new("ls-tree"), commit.as_ref(), "--".as_ref(), &name])?;
        if !listed.status.success() {
            return Err(refused(&listed.stderr));
        }
        if listed.stdout.is_empty() {
            return Ok(Self { pieces: None });
        }
        let arguments = [
            "diff",
            "--no-color",
            "--no-ext-diff",
            "--no-textconv",
            "--no-renames",
            "--text",
            "--unified=0",
        ];
        let mut arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        arguments.extend([OsStr::new(&commit), OsStr::new("--"), &name]);
        let compared = git(&folder, &arguments)?;
        if !compared.status.success() {
            return Err(refused(&compared.stderr));
        }
        Ok(Self {
            pieces: Some(pieces(&compared.stdout)),
        })
    }

    /// Whether a row has one of the lines.
    #[must_use]
    pub fn has(&self, row: &Row) -> bool {
        let Some(pieces) = &self.pieces else { return true };
        let inner = match &row.cells {
            Cells::Record { record, .. } => memchr::memchr_iter(b'\n', record.as_slice().as_bytes()).count(),
            Cells::Object { .. } => 0,
        };
        let (first, last) = (row.line, row.line + inner as u64);
        let at = pieces.partition_point(|(_, end)| *end < first);
        pieces.get(at).is_some_and(|(start, _)| *start <= last)
    }

    /// Whether there are any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces.as_ref().is_some_and(Vec::is_empty)
    }
}

/// The folder to run in, and the file as a path that is no pattern there.
fn place(file: &Path) -> (PathBuf, std::ffi::OsString) {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let name = file.file_name().unwrap_or_default().to_owned();
    (folder.unwrap_or(Path::new(".")).to_owned(), name)
}

fn git(folder: &Path, arguments: &[&OsStr]) -> Result<std::process::Output, GitError> {
    Command::new("git")
        .current_dir(folder)
        // A repository's own configuration may name programs to run.
        .args([
            "--literal-pathspecs",
            "--no-pager",
            "-c",
            "core.fsmonitor=false",
            "-c",
            "core.quotePath=true",
        ])
        .args(arguments)
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("LC_ALL", "C")
        .env_remove("GIT_EXTERNAL_DIFF")
        .env_remove("GIT_DIFF_OPTS")
        .stdin(Stdio::null())
        .output()
        .map_err(GitError::Run)
}

/// The added lines of `@@ -a,b +c,d @@`. Lines of the file itself begin with `+` or `-`, so none is taken for one.
fn pieces(diff: &[u8]) -> Vec<(u64, u64)> {
    let hunk = |line: &[u8]| -> Option<(u64, u64)> {
        let text = str::from_utf8(line.strip_prefix(b"@@ ")?.get(..line.len().min(80).saturating_sub(3))?);
        let text = text.unwrap_or_else(|error| {
            let valid = line.get(3..3 + error.valid_up_to()).unwrap_or_default();
            str::from_utf8(valid).unwrap_or_default()
        });
        let added = text.split(' ').find_map(|word| word.strip_prefix('+'))?;
        let (start, count) = added.split_once(',').unwrap_or((added, "1"));
        let (start, count): (u64, u64) = (start.parse().ok()?, count.parse().ok()?);
        (count > 0).then(|| (start, start + count - 1))
    };
    diff.split(|byte| *byte == b'\n').filter_map(hunk).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn added_lines_are_read_from_a_comparison() {
        let diff = b"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1,2 @@\n-a\n+b\n+@@ -9 +99 @@\n@@ -5,2 +7,0 @@\n-x\n@@ -9,0 +8 @@ tail \xff\n+z\n";
        assert_eq!(pieces(diff), [(1, 2), (8, 8)]);
        assert_eq!(pieces(b""), []);
    }

    #[test]
    fn a_row_counts_when_one_of_its_lines_does() {
        let changed = Changed {
            pieces: Some(vec![(2, 3), (7, 7)]),
        };
        let row = |line, text: &str| Row {
            line,
            cells: Cells::Record {
                record: csv::StringRecord::from(vec![text]),
                address: 0,
            },
            ..Row::default()
        };
        for (line, text, counts) in [
            (1, "a", false),
            (2, "a", true),
            (3, "a", true),
            (4, "a", false),
            (5, "a\nb\nc", true),
            (8, "a", false),
        ] {
            assert_eq!(changed.has(&row(line, text)), counts, "{line}");
        }
    }
}
