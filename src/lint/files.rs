//! Which files are checked: files, folders with lists in them, patterns.
//!
//! Links to folders are not followed inside of folders, so that no walk goes in a circle.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
};

use super::policy::glob;
use crate::output::clean;

/// Extensions of lists, in folders.
const LISTS: [&str; 9] = ["csv", "tsv", "tab", "psv", "txt", "list", "ndjson", "jsonl", "xlsx"];
/// What lists are packed in.
const PACKED: [&str; 4] = ["gz", "gzip", "zst", "zstd"];
/// Folders inside of folders.
const DEEPEST: usize = 100;

/// The files to check, and what could not be found.
#[derive(Debug, Default)]
pub struct Found {
    /// In the order in which they were named; those of a folder by name.
    pub files: Vec<PathBuf>,
    /// A sentence each.
    pub problems: Vec<String>,
}

/// Finds what was named. `-` is standard input.
#[must_use]
pub fn find(named: &[PathBuf]) -> Found {
    let mut walk = Walk::default();
    for path in named {
        let before = walk.found.files.len() + walk.found.problems.len();
        let pattern = path
            .to_str()
            .filter(|text| text.contains(['*', '?', '[']) && !path.exists());
        if path.as_os_str() == "-" {
            walk.found.files.push(path.clone());
        } else if let Some(pattern) = pattern {
            walk.pattern(pattern);
        } else if path.is_dir() {
            walk.folder(path, &|path| is_list(path), 0);
        } else {
            walk.add(path);
        }
        let shown = clean(&path.display().to_string(), 200).into_owned();
        if walk.found.files.len() + walk.found.problems.len() == before && !walk.again {
            let what = if pattern.is_some() {
                "matches no file"
            } else {
                "holds no list"
            };
            let known = LISTS.join(", .");
            walk.found
                .problems
                .push(format!("`{shown}` {what}; lists in folders end in .{known}"));
        }
        walk.again = false;
    }
    walk.found
}

#[derive(Default)]
struct Walk {
    found: Found,
    seen: HashSet<PathBuf>,
    /// Something was there that was named before.
    again: bool,
}

impl Walk {
    fn add(&mut self, path: &Path) {
        let same = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if self.seen.insert(same) {
            self.found.files.push(path.to_owned());
        } else {
            self.again = true;
        }
    }

    fn pattern(&mut self, pattern: &str) {
        let matcher = match glob(pattern.strip_prefix("./").unwrap_or(pattern)) {
            Ok(matcher) => matcher,
            Err(error) => {
                self.found.problems.push(error.to_string());
                return;
            }
        };
        // Everything up to the first part with a mark is a folder.
        let parts: Vec<&str> = pattern.split('/').collect();
        let fixed = parts.iter().take_while(|part| !part.contains(['*', '?', '['])).count();
        let start = parts.get(..fixed).unwrap_or_default().join("/");
        let start = match (start.as_str(), pattern.starts_with('/')) {
            ("", true) => Path::new("/"),
            ("", false) => Path::new("."),
            (start, _) => Path::new(start),
        };
        self.folder(
            start,
            &|path| matcher.is_match(path.strip_prefix("./").unwrap_or(path)),
            0,
        );
    }

    fn folder(&mut self, folder: &Path, wanted: &dyn Fn(&Path) -> bool, depth: usize) {
        let entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => {
                let shown = clean(&folder.display().to_string(), 200).into_owned();
                self.found
                    .problems
                    .push(format!("cannot read the folder `{shown}`: {error}"));
                return;
            }
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            let Ok(kind) = entry.file_type() else { continue };
            let path = match folder.as_os_str().to_str() {
                Some(".") => PathBuf::from(entry.file_name()),
                _ => entry.path(),
            };
            if kind.is_dir() && !hidden && depth < DEEPEST {
                self.folder(&path, wanted, depth + 1);
            } else if !kind.is_dir() && !hidden && wanted(&path) && path.metadata().is_ok_and(|of| of.is_file()) {
                self.add(&path);
            }
        }
    }
}

fn is_list(path: &Path) -> bool {
    let extension = |path: &Path| {
        path.extension()
            .and_then(|end| end.to_str())
            .map(str::to_ascii_lowercase)
    };
    let Some(end) = extension(path) else { return false };
    if PACKED.contains(&end.as_str()) {
        let inner = path.file_stem().map(Path::new).and_then(extension);
        return inner.is_some_and(|inner| LISTS.contains(&inner.as_str()));
    }
    LISTS.contains(&end.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "b.csv",
            "a.txt",
            "sub/c.ndjson.gz",
            "sub/deep/d.csv",
            "x.rs",
            ".hidden.csv",
            ".git/e.csv",
            "we[i]rd.csv",
        ] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "a@b.c\n").unwrap();
        }
        folder
    }

    fn names(folder: &Path, named: &[&str]) -> (Vec<String>, usize) {
        let named: Vec<PathBuf> = named.iter().map(|name| folder.join(name)).collect();
        let found = find(&named);
        let relative = |path: &PathBuf| path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
        (found.files.iter().map(relative).collect(), found.problems.len())
    }

    #[test]
    fn files_folders_and_patterns_are_found_once_and_in_order() {
        let folder = place();
        for (named, files, problems) in [
            (
                &["."][..],
                &["a.txt", "b.csv", "sub/c.ndjson.gz", "sub/deep/d.csv", "we[i]rd.csv"][..],
                0,
            ),
            (&["b.csv", "a.txt", "b.csv"], &["b.csv", "a.txt"], 0),
            (&["*.csv"], &["b.csv", "we[i]rd.csv"], 0),
            (&["**/*.csv"], &["b.csv", "sub/deep/d.csv", "we[i]rd.csv"], 0),
            (&["sub/*/*.csv"], &["sub/deep/d.csv"], 0),
            (&["we[i]rd.csv"], &["we[i]rd.csv"], 0),
            (&["*.xlsx", "none.csv"], &["none.csv"], 1),
            (&["{b,c}*.csv"], &["{b,c}*.csv"], 0),
        ] {
            let (found, said) = names(folder.path(), named);
            if named == ["{b,c}*.csv"] {
                assert_eq!((found, said), (vec!["b.csv".to_owned()], 0));
                continue;
            }
            let found: Vec<&str> = found
                .iter()
                .map(|name| name.strip_prefix("./").unwrap_or(name))
                .collect();
            assert_eq!((found.as_slice(), said), (files, problems), "{named:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_that_holds_itself_is_walked_once() {
        let folder = place();
        std::os::unix::fs::symlink(folder.path(), folder.path().join("sub/loop")).unwrap();
        std::os::unix::fs::symlink("itself", folder.path().join("itself")).unwrap();
        let (found, problems) = names(folder.path(), &["sub"]);
        assert_eq!((found.len(), problems), (2, 0));
        let (found, _) = names(folder.path(), &["itself"]);
        assert_eq!(found, ["itself"]);
    }
}
