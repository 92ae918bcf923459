//! Every row of the corpora in `tests/corpora/syntax`, and the policy that names each difference.

use std::{fs, path::PathBuf};

use presend::address::{Address, Domain, Fault, SyntaxError, Traits};
use serde::Deserialize;

use super::LAB;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpora")
}

pub(super) struct Row {
    corpus: String,
    line: usize,
    /// The field as it stands in the file.
    field: String,
    pub(super) text: String,
    valid: bool,
    category: String,
    comment: String,
}

pub(super) fn read_corpora() -> Vec<Row> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder().join("syntax"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "tsv"))
        .collect();
    files.sort();
    let mut rows = Vec::new();
    for path in files {
        let corpus = path.file_stem().unwrap().to_string_lossy().into_owned();
        let file = fs::read_to_string(&path).unwrap();
        for (index, line) in file.split_terminator('\n').enumerate().skip(1) {
            let fields: Vec<&str> = line.split('\t').collect();
            let [field, expected, category, comment] = fields[..] else {
                panic!("{corpus}:{}: four fields are wanted", index + 1)
            };
            rows.push(Row {
                corpus: corpus.clone(),
                line: index + 1,
                field: field.to_owned(),
                text: unescape(field),
                valid: match expected {
                    "valid" => true,
                    "invalid" => false,
                    other => panic!("{corpus}:{}: {other}", index + 1),
                },
                category: category.to_owned(),
                comment: comment.to_owned(),
            });
        }
    }
    rows
}

/// `\xNN` is one byte; bytes that are no UTF-8 become what the input layer would make of them.
fn unescape(field: &str) -> String {
    let bytes = field.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let code = bytes
            .get(at..at + 4)
            .filter(|escape| escape.starts_with(br"\x"))
            .and_then(|escape| std::str::from_utf8(&escape[2..]).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(code.unwrap_or(bytes[at]));
        at += if code.is_some() { 4 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

type Outcome = Result<Traits, Fault>;

/// What presend says: the fault, or the traits of what it took.
fn ask(row: &Row, text: &str) -> Outcome {
    let fault = |error: SyntaxError| error.fault;
    if !is_domain_corpus(row) {
        return Address::parse(text, LAB).map(|address| address.traits()).map_err(fault);
    }
    Domain::parse(text, LAB).map(|_| Traits::default()).map_err(fault)
}

/// Faults that say only that the public root does not hold such a name.
const NAMES: [Fault; 3] = [Fault::DotlessDomain, Fault::NumericTld, Fault::UnknownTld];

/// The row as it stands; and once more below `.test` when its top-level domain was all that displeased, so that no fault of
/// syntax or IDNA hides behind the name.
fn outcomes(row: &Row) -> Vec<(bool, Outcome)> {
    let first = ask(row, &row.text);
    let below_test = first.is_err_and(|fault| NAMES.contains(&fault));
    let second = below_test.then(|| ask(row, &format!("{}.test", row.text)));
    [Some(first), second]
        .into_iter()
        .flatten()
        .zip([false, true])
        .map(|(outcome, below)| (below, outcome))
        .collect()
}

pub(super) fn is_domain_corpus(row: &Row) -> bool {
    matches!(row.corpus.as_str(), "idna_test_v2" | "uasg_icann_domains")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Policy {
    class: Vec<Class>,
}

/// Rows where presend differs on purpose. Every condition that is given must hold.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Class {
    reason: String,
    /// What the corpus says; presend says the opposite.
    expected: String,
    /// File names without `.tsv`.
    corpora: Vec<String>,
    /// presend's fault; needed where the corpus says `valid`.
    fault: Option<String>,
    /// The traits presend saw, where it took the address.
    traits: Option<Vec<String>>,
    /// A part of the category.
    category: Option<String>,
    /// The fields as they stand in the file.
    rows: Option<Vec<String>>,
    /// Whether this is about the second answer, below `.test`.
    #[serde(default)]
    below_test: bool,
}

impl Class {
    fn covers(&self, row: &Row, below_test: bool, outcome: Outcome) -> bool {
        let here = self.corpora.contains(&row.corpus)
            && self.below_test == below_test
            && self.category.as_ref().is_none_or(|part| row.category.contains(part))
            && self.rows.as_ref().is_none_or(|rows| rows.contains(&row.field));
        here && match outcome {
            Err(fault) => self.expected == "valid" && self.fault.as_deref() == Some(fault.name()),
            Ok(seen) => {
                let names = trait_names(seen);
                self.expected == "invalid"
                    && self.fault.is_none()
                    && self
                        .traits
                        .as_ref()
                        .is_none_or(|wanted| wanted.iter().all(|name| names.contains(&name.as_str())))
            }
        }
    }
}

fn trait_names(traits: Traits) -> Vec<&'static str> {
    let Traits {
        quoted_local,
        smtputf8,
        subaddress,
        routing_character,
        symbol_domain,
        mapped,
        cleaned,
    } = traits;
    [
        (quoted_local, "quoted_local"),
        (smtputf8, "smtputf8"),
        (subaddress, "subaddress"),
        (routing_character, "routing_character"),
        (symbol_domain, "symbol_domain"),
        (mapped, "mapped"),
        (cleaned, "cleaned"),
    ]
    .into_iter()
    .filter_map(|(set, name)| set.then_some(name))
    .collect()
}

#[test]
fn every_corpus_row_agrees_or_is_declared() {
    let text = fs::read_to_string(folder().join("syntax-policy.toml")).unwrap();
    let policy: Policy = toml::from_str(&text).unwrap();
    let mut covered = vec![0_usize; policy.class.len()];
    let mut complaints = Vec::new();
    for class in &policy.class {
        let anchored =
            class.fault.is_some() || class.traits.is_some() || class.category.is_some() || class.rows.is_some();
        assert!(
            anchored && !class.reason.is_empty(),
            "a class that says nothing: {:?}",
            class.reason
        );
    }
    let (rows, mut agreed, mut declared) = (read_corpora(), 0, 0);
    let answers = rows.iter().flat_map(|row| {
        outcomes(row)
            .into_iter()
            .map(move |(below, outcome)| (row, below, outcome))
    });
    for (row, below_test, outcome) in answers {
        if outcome.is_ok() == row.valid {
            agreed += 1;
            continue;
        }
        let covers = |index: &usize| policy.class[*index].covers(row, below_test, outcome);
        let classes: Vec<usize> = (0..covered.len()).filter(covers).collect();
        if let [index] = classes[..] {
            covered[index] += 1;
            declared += 1;
        } else {
            complaints.push(format!(
                "{}, {} classes",
                complaint(row, below_test, outcome),
                classes.len()
            ));
        }
    }
    for (class, count) in policy.class.iter().zip(&covered) {
        if *count == 0 {
            complaints.push(format!("this class covers no row: {}", class.reason));
        }
    }
    println!(
        "{} rows, {} answers: {agreed} agreed, {declared} declared in {} classes",
        rows.len(),
        agreed + declared,
        covered.len()
    );
    assert!(rows.len() >= 7_852, "rows are missing: {}", rows.len());
    assert!(
        complaints.is_empty(),
        "{} differences:\n{}",
        complaints.len(),
        complaints.join("\n")
    );
}

fn complaint(row: &Row, below_test: bool, outcome: Outcome) -> String {
    let says = match outcome {
        Ok(traits) => format!("ok {:?}", trait_names(traits)),
        Err(fault) => fault.name().to_owned(),
    };
    let (corpus, line, field, category) = (&row.corpus, row.line, &row.field, &row.category);
    let comment = row.comment.chars().take(60).collect::<String>();
    let place = if below_test { " below .test" } else { "" };
    format!("{corpus}:{line} {field:?}{place} [{category}] {comment}: presend says {says}")
}

/// The sources also say what an international name turns into.
#[test]
fn international_names_become_the_a_labels_the_corpora_name() {
    let mut compared = 0;
    for row in read_corpora().iter().filter(|row| is_domain_corpus(row) && row.valid) {
        let ascii = row
            .comment
            .split_once("toAsciiN=")
            .and_then(|(_, rest)| rest.split(' ').next())
            .or_else(|| Some(row.comment.rsplit_once("converts to ")?.1).filter(|name| name.is_ascii()));
        let (Some(ascii), Ok(name)) = (ascii, Domain::parse(&format!("{}.test", row.text), LAB)) else {
            continue;
        };
        assert_eq!(
            name.as_str(),
            format!("{}.test", ascii.to_ascii_lowercase()),
            "{}:{}",
            row.corpus,
            row.line
        );
        compared += 1;
    }
    assert!(compared > 400, "only {compared} rows were compared");
}
