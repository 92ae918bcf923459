//! The table of hostile cases, docs/hostile.md: written when `PRESEND_BLESS=1` is set and compared otherwise. Every row has a
//! case in `tests/cases` or a test whose name begins with its id, or says what it waits for.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::Path,
};

/// id, part, case, what is required, and what the row waits for, if it waits.
const ROWS: &str = include_str!("../hostile.tsv");

/// Rows by their first letter.
const PARTS: [(&str, usize); 6] = [("D", 26), ("S", 17), ("T", 10), ("R", 29), ("P", 16), ("J", 9)];

struct Row {
    id: &'static str,
    part: &'static str,
    case: &'static str,
    required: &'static str,
    waits_for: Option<&'static str>,
}

fn rows() -> Vec<Row> {
    let lines = ROWS.lines().filter(|line| !line.starts_with('#'));
    let row = |line: &'static str| {
        let mut cells = line.split('\t');
        let mut next = || cells.next().unwrap_or_else(|| panic!("a cell is missing: {line}"));
        Row {
            id: next(),
            part: next(),
            case: next(),
            required: next(),
            waits_for: cells.next(),
        }
    };
    lines.map(row).collect()
}

/// Tests by the ids that their names begin with.
fn tests() -> BTreeMap<String, BTreeSet<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in files(&root.join("tests/cases"), "toml") {
        let name = stem(&file);
        let id = name.split('-').next().unwrap_or_default().to_owned();
        tests
            .entry(id)
            .or_default()
            .insert(format!("`tests/cases/{name}.toml`"));
    }
    for folder in ["src", "tests/suite"] {
        for file in files(&root.join(folder), "rs") {
            let text = fs::read_to_string(&file).unwrap();
            let shown = file.strip_prefix(root).unwrap().display().to_string();
            for name in names(&text) {
                for id in ids(name) {
                    tests.entry(id).or_default().insert(format!("`{name}` ({shown})"));
                }
            }
        }
    }
    tests
}

/// Names of the tests in a source file.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let mut marked = false;
    text.lines().filter_map(move |line| {
        let line = line.trim();
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            marked = true;
        } else if let Some(function) = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ") {
            let name = function.split(['(', '<']).next();
            return name.filter(|_| std::mem::take(&mut marked));
        }
        None
    })
}

/// `r4_r5_what_happens` is about R4 and R5.
fn ids(name: &str) -> impl Iterator<Item = String> {
    let is_id = |word: &&str| {
        let (letter, number) = word.split_at(1.min(word.len()));
        "dstrpj".contains(letter) && !letter.is_empty() && number.parse::<u32>().is_ok()
    };
    name.split('_').take_while(is_id).map(str::to_uppercase)
}

fn files(folder: &Path, extension: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|own| own == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

#[test]
fn every_row_is_accounted_for() {
    let (rows, tests) = (rows(), tests());
    for (letter, count) in PARTS {
        let ids: Vec<_> = rows
            .iter()
            .map(|row| row.id)
            .filter(|id| id.starts_with(letter))
            .collect();
        let expected: Vec<_> = (1..=count).map(|number| format!("{letter}{number}")).collect();
        assert_eq!(ids, expected);
    }
    let mut wrong = Vec::new();
    for row in &rows {
        match (tests.contains_key(row.id), row.waits_for) {
            (false, None) => wrong.push(format!("{} has no test", row.id)),
            (true, Some(what)) => wrong.push(format!("{} has a test and still waits for {what}", row.id)),
            (true, None) | (false, Some(_)) => {}
        }
    }
    let known: BTreeSet<_> = rows.iter().map(|row| row.id).collect();
    let unknown = tests.iter().filter(|(id, _)| !known.contains(&***id));
    wrong.extend(unknown.map(|(id, tests)| format!("{id} is no row: {tests:?}")));
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_table_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/hostile.md");
    let checked_in = fs::read_to_string(path).unwrap_or_default();
    let (by_hand, _) = checked_in.split_once(MARK).unwrap_or((&checked_in, ""));
    let page = format!("{}{MARK}{}", by_hand, table());
    if std::env::var_os("PRESEND_BLESS").is_some() {
        fs::write(path, &page).unwrap();
        return;
    }
    assert!(
        checked_in == page,
        "docs/hostile.md is out of date: run with PRESEND_BLESS=1\n{page}"
    );
}

/// What stands behind it is written by the test.
const MARK: &str =
    "<!-- Written by `PRESEND_BLESS=1 cargo test --test suite hostile`; a test fails when it is out of date. -->\n";

fn table() -> String {
    let (rows, tests) = (rows(), tests());
    let open = rows.iter().filter(|row| row.waits_for.is_some()).count();
    let scripted = |row: &&Row| {
        tests
            .get(row.id)
            .is_some_and(|tests| tests.iter().any(|test| test.contains("tests/cases/")))
    };
    let mut out = format!(
        "\n{} rows: {} tested, {} of them by a case file, {open} open.\n",
        rows.len(),
        rows.len() - open,
        rows.iter().filter(scripted).count(),
    );
    let mut part = "";
    for row in &rows {
        if part != row.part {
            part = row.part;
            let _ = write!(
                out,
                "\n## {part}\n\n| id | case | required | tests | result |\n|---|---|---|---|---|\n"
            );
        }
        let named: Vec<_> = tests.get(row.id).into_iter().flatten().map(String::as_str).collect();
        let result = row
            .waits_for
            .map_or_else(|| "passes".to_owned(), |what| format!("open: {what}"));
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {result} |",
            row.id,
            row.case,
            row.required,
            named.join(", ")
        );
    }
    out
}

#[test]
fn names_of_tests_are_found_with_their_ids() {
    let text =
        "#[test]\nfn d1_s16_x() {\n}\nfn d2_helper() {}\n#[tokio::test(start_paused = true)]\nasync fn r4_y() {\n";
    assert_eq!(names(text).collect::<Vec<_>>(), ["d1_s16_x", "r4_y"]);
    assert_eq!(ids("d1_s16_x_t3").collect::<Vec<_>>(), ["D1", "S16"]);
    assert_eq!(ids("s_1_d").count() + ids("dead").count() + ids("").count(), 0);
}
