//! Runs every file of `tests/cases`, and of any other folder that is named: a world, a list, and what must come of them.
//! docs/hostile.md explains the format. Nothing here knows a single case.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::allow_attributes,
    missing_docs,
    reason = "a test that meets the unexpected must stop"
)]

mod case;
mod check;
mod run;
#[path = "../suite/socks.rs"]
#[allow(
    dead_code,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "the suite uses the rest; the proxy is not presend"
)]
mod socks;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use libtest_mimic::{Arguments, Failed, Trial};

use self::case::Case;

/// Folders of cases besides our own, separated by `:`.
const FOLDERS: &str = "PRESEND_CASES";

fn main() -> ExitCode {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let (mut folders, rest): (Vec<_>, Vec<_>) = std::env::args().partition(|argument| Path::new(argument).is_dir());
    folders.extend(
        std::env::var_os(FOLDERS)
            .iter()
            .flat_map(std::env::split_paths)
            .map(|path| path.display().to_string()),
    );
    if folders.is_empty() {
        folders.push(ours.display().to_string());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = Arc::new(runtime.expect("a runtime"));
    let mut trials = Vec::new();
    for folder in folders {
        let files = files(Path::new(&folder));
        if files.is_empty() {
            eprintln!("{folder}: there is no case in it (*.toml)");
            return ExitCode::FAILURE;
        }
        for file in files {
            let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let runtime = Arc::clone(&runtime);
            trials.push(Trial::test(name, move || {
                let case = Case::load(&file).map_err(Failed::from)?;
                run::run(&case, &runtime).map_err(|wrong| Failed::from(format!("{}\n{wrong}", file.display())))
            }));
        }
    }
    libtest_mimic::run(&Arguments::from_iter(rest), trials).exit_code()
}

/// The cases of a folder, in the order of their names.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    files
}
