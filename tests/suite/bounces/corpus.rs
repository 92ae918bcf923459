//! Reports in the shape of real servers', with recipient, event, status and class known.

use std::{collections::BTreeMap, fs, path::Path};

use presend::bounce::{
    Event, EventKind,
    report::{self, Reading},
};

/// What the table says of a file, or what was read in it.
type Answers = BTreeMap<String, Vec<[String; 4]>>;

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpora/bounces"))
}

fn expected() -> Answers {
    let table = fs::read_to_string(folder().join("expected.tsv")).unwrap();
    let mut answers = Answers::new();
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split('\t').collect();
        let answer = [fields[1], fields[2], fields[3], fields[4]].map(str::to_owned);
        answers.entry(fields[0].to_owned()).or_default().push(answer);
    }
    answers
}

pub(super) fn told(event: &Event) -> [String; 4] {
    let class = match event.kind {
        EventKind::Bounced { class, .. } | EventKind::Deferred { class } => class.name(),
        EventKind::Delivered | EventKind::Complained | EventKind::Unsubscribed => "-",
    };
    let status = event.status.map_or_else(|| "-".to_owned(), |status| status.to_string());
    [
        event.recipient.to_string(),
        event.kind.name().to_owned(),
        status,
        class.to_owned(),
    ]
}

fn read(bytes: &[u8]) -> Vec<[String; 4]> {
    // The splitter does so for files of old Macs.
    let lines: Vec<u8> = if bytes.contains(&b'\n') {
        bytes.to_vec()
    } else {
        bytes
            .iter()
            .map(|byte| if *byte == b'\r' { b'\n' } else { *byte })
            .collect()
    };
    match report::read(&lines, None) {
        Reading::Events(_, events) => events.iter().map(told).collect(),
        Reading::Other(other) => vec![["-", "other", "-", other.name()].map(str::to_owned)],
    }
}

#[test]
fn recipient_status_and_class_are_right() {
    let expected = expected();
    let (mut all, mut right) = (0_usize, 0_usize);
    for (file, answers) in &expected {
        let read = read(&fs::read(folder().join(file)).unwrap());
        for answer in answers {
            all += 1;
            if read.contains(answer) {
                right += 1;
            } else {
                eprintln!("{file}: {answer:?} is expected, {read:?} was read");
            }
        }
        if read.len() != answers.len() {
            right = right.saturating_sub(1);
            eprintln!("{file}: {} are expected, {} were read", answers.len(), read.len());
        }
    }
    assert!(expected.len() >= 120, "{} reports", expected.len());
    // 97 % are promised of what nobody has seen; of these every one is known.
    assert_eq!(right, all);
}

#[test]
fn every_report_is_in_the_table_and_names_nobody() {
    let expected = expected();
    let reserved = [
        "example",
        "example.com",
        "example.org",
        "example.net",
        "test",
        "invalid",
        "localhost",
    ];
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name == "expected.tsv" {
            continue;
        }
        assert!(expected.contains_key(&name), "{name} is not in the table");
        let bytes = fs::read(&path).unwrap();
        for word in String::from_utf8_lossy(&bytes).split(|c: char| !(c.is_ascii_alphanumeric() || "@.-_".contains(c)))
        {
            let Some((_, domain)) = word.split_once('@') else {
                continue;
            };
            let domain = domain.trim_end_matches(['.', '-']).to_ascii_lowercase();
            let known = reserved
                .iter()
                .any(|name| domain == *name || domain.ends_with(&format!(".{name}")));
            assert!(
                domain.is_empty() || !domain.contains('.') || known,
                "{name} names {word}"
            );
        }
    }
}
