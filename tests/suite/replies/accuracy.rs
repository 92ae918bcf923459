//! The measured report: `docs/accuracy.md`, written when `PRESEND_BLESS=1` is set and compared otherwise.

use std::{collections::BTreeMap, fmt::Write};

use presend::{
    replies::{About, Class, DeadKind, classify},
    smtp::{Reply, Stage},
};

use super::{STAGES, corpus, corpus::Row};

/// What one classifier did on one corpus.
#[derive(Default)]
struct Score {
    rows: usize,
    false_invalid: usize,
    foreign: usize,
    about: (usize, usize),
    class: (usize, usize),
    dead: (usize, usize),
    dead_undisputed: (usize, usize),
    matrix: BTreeMap<(&'static str, &'static str), usize>,
    wrong: Vec<(&'static Row, Class, String)>,
}

fn score(rows: &'static [Row], provider_known: bool) -> Score {
    let reasons = disputed();
    let mut score = Score::default();
    for row in rows {
        let provider = row.provider().filter(|_| provider_known);
        let reply = row.reply();
        let meaning = classify(row.stage, &reply, provider);
        score.rows += 1;
        let about_us = row.is_about_us();
        score.foreign += usize::from(about_us);
        score.false_invalid += usize::from(
            about_us
                && STAGES
                    .iter()
                    .any(|stage| classify(*stage, &reply, provider).dead_recipient().is_some()),
        );
        if row.is_dead() && !row.is_double() {
            let found = usize::from(matches!(
                meaning.class,
                Class::UserUnknown | Class::UserDisabled | Class::UserMoved
            ));
            score.dead = (score.dead.0 + found, score.dead.1 + 1);
            if !reasons.contains_key(row.text) {
                score.dead_undisputed = (score.dead_undisputed.0 + found, score.dead_undisputed.1 + 1);
            }
        }
        if let Some(about) = row.about.filter(|_| !row.is_double()) {
            *score.matrix.entry((name(about), name(meaning.about))).or_default() += 1;
            score.about.1 += 1;
            score.about.0 += usize::from(about == meaning.about);
        }
        if !row.is_double() {
            let right = row.classes.contains(&meaning.class);
            score.class.1 += 1;
            score.class.0 += usize::from(right);
            if !right
                || row
                    .about
                    .is_some_and(|about| about != meaning.about && row.classes.len() < 2)
            {
                score.wrong.push((row, meaning.class, meaning.rule.to_string()));
            }
        }
    }
    score
}

fn name(about: About) -> &'static str {
    match about {
        About::Recipient => "recipient",
        About::Sender => "sender",
        About::Server => "server",
        About::Unclear => "unclear",
    }
}

fn percent((part, whole): (usize, usize)) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "corpora have hundreds of rows")]
    let share = 100.0 * part as f64 / whole.max(1) as f64;
    share
}

/// A simple rule: which replies it takes for a dead mailbox.
type Naive = fn(&Reply) -> bool;

/// What simple rules do: false `invalid` among rows about us, and recall of dead mailboxes.
fn naive(rows: &'static [Row], invalid: Naive) -> ((usize, usize), (usize, usize)) {
    let (mut wrong, mut found) = ((0, 0), (0, 0));
    for row in rows.iter().filter(|row| row.stage == Stage::Rcpt && !row.is_double()) {
        let says = invalid(&row.reply());
        if row.is_about_us() {
            wrong.1 += 1;
            wrong.0 += usize::from(says);
        }
        if row.is_dead() {
            found.1 += 1;
            found.0 += usize::from(says);
        }
    }
    (wrong, found)
}

/// Our reasons to read a row otherwise than its source.
fn disputed() -> BTreeMap<&'static str, &'static str> {
    include_str!("../../corpora/replies-disputed.tsv")
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once('\t'))
        .collect()
}

fn report() -> String {
    let mut out = String::from(
        "# Accuracy of the reply classifier\n\nWritten by `PRESEND_BLESS=1 cargo test --test suite replies::accuracy`; the test fails when this page is out of date.\n\
         Corpora: `tests/corpora/replies-*.tsv` (sources and licences in the notice there). A row is read at the stage its source gives, else at RCPT.\n\
         \"False invalid\" counts rows about the sender or the server that could become `invalid` at any stage. \"Recall\" counts 5yz rows labelled unknown or\n\
         disabled that are found. About-whom counts rows where the corpus is certain; for Sisimai, where all classes that its\n\
         reason covers agree.\n\n\
         | corpus | provider | rows | false invalid | about-whom | class | recall | recall without disputed rows |\n|---|---|---|---|---|---|---|---|\n",
    );
    let corpora = [("providers", corpus::providers()), ("sisimai", corpus::sisimai())];
    for (corpus, rows) in corpora {
        for known in [true, false] {
            let score = score(rows, known);
            let _ = writeln!(
                out,
                "| {corpus} | {} | {} | {} of {} | {:.1} % | {:.1} % | {:.1} % ({} of {}) | {:.1} % |",
                if known { "known" } else { "not known" },
                score.rows,
                score.false_invalid,
                score.foreign,
                percent(score.about),
                percent(score.class),
                percent(score.dead),
                score.dead.0,
                score.dead.1,
                percent(score.dead_undisputed),
            );
        }
    }
    out.push_str(
        "\n## Simple rules on the same rows at RCPT\n\n| corpus | rule | false invalid | recall |\n|---|---|---|---|\n",
    );
    for (corpus, rows) in corpora {
        let rules: [(&str, Naive); 3] = [
            ("any 5yz", |reply| reply.code().is_permanent()),
            ("550 only", |reply| reply.code().number() == 550),
            ("enhanced code 5.1.x or 5.2.1 only", |reply| {
                reply
                    .enhanced()
                    .is_some_and(|code| code.class == 5 && (code.subject == 1 || code.pair() == (2, 1)))
            }),
        ];
        for (rule, invalid) in rules {
            let (wrong, found) = naive(rows, invalid);
            let _ = writeln!(
                out,
                "| {corpus} | {rule} | {:.1} % ({} of {}) | {:.1} % |",
                percent(wrong),
                wrong.0,
                wrong.1,
                percent(found)
            );
        }
    }
    let reasons = disputed();
    for (corpus, rows) in corpora {
        let score = score(rows, true);
        let _ = writeln!(
            out,
            "\n## {corpus}: about whom (label, ours, rows)\n\n| label | ours | rows |\n|---|---|---|"
        );
        for ((label, ours), count) in &score.matrix {
            let _ = writeln!(out, "| {label} | {ours} | {count} |");
        }
        let _ = writeln!(
            out,
            "\n## {corpus}: rows read otherwise than labelled\n\n| label | ours | rule | reply | why |\n|---|---|---|---|---|"
        );
        for (row, class, rule) in &score.wrong {
            let text: String = row
                .text
                .chars()
                .take(110)
                .map(|c| if c == '|' { '/' } else { c })
                .collect();
            let why = reasons.get(row.text).copied().unwrap_or("undeclared");
            let _ = writeln!(
                out,
                "| {} | {} | {rule} | {text} | {why} |",
                row.classes[0].name(),
                class.name()
            );
        }
    }
    out
}

#[test]
fn the_checked_in_report_is_what_the_rules_do() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/accuracy.md");
    let report = report();
    if std::env::var_os("PRESEND_BLESS").is_some() {
        std::fs::write(path, &report).unwrap();
    }
    let checked_in = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        checked_in == report,
        "docs/accuracy.md is out of date: run with PRESEND_BLESS=1\n{report}"
    );
}

#[test]
fn nothing_about_us_is_ever_invalid() {
    for rows in [corpus::providers(), corpus::sisimai()] {
        for known in [true, false] {
            assert_eq!(score(rows, known).false_invalid, 0);
        }
    }
}

#[test]
fn the_thresholds_hold() {
    let providers = score(corpus::providers(), true);
    assert!(percent(providers.about) >= 97.0, "about {:?}", providers.about);
    assert!(percent(providers.class) >= 90.0, "class {:?}", providers.class);
    assert!(percent(providers.dead) >= 92.0, "dead {:?}", providers.dead);
    let blind = score(corpus::providers(), false);
    assert!(percent(blind.class) >= 90.0, "class {:?}", blind.class);
    let sisimai = score(corpus::sisimai(), true);
    assert!(percent(sisimai.class) >= 90.0, "class {:?}", sisimai.class);
    assert!(
        percent(sisimai.dead_undisputed) >= 92.0,
        "dead {:?}",
        sisimai.dead_undisputed
    );
}

#[test]
fn every_row_read_otherwise_is_declared_with_a_reason() {
    let reasons = disputed();
    let mut used = Vec::new();
    for rows in [corpus::providers(), corpus::sisimai()] {
        for (row, class, rule) in score(rows, true).wrong {
            assert!(
                reasons.contains_key(row.text),
                "{} by {rule}: declare `{}`",
                class.name(),
                row.text
            );
            used.push(row.text);
        }
    }
    for text in reasons.keys() {
        assert!(used.contains(text), "no longer disputed: {text}");
    }
}

#[test]
fn a_dead_recipient_agrees_with_its_class() {
    for row in corpus::all() {
        let meaning = classify(row.stage, &row.reply(), row.provider());
        if let Some(dead) = meaning.dead_recipient() {
            let class = match dead.kind() {
                DeadKind::Unknown => Class::UserUnknown,
                DeadKind::Disabled => Class::UserDisabled,
                DeadKind::Moved => Class::UserMoved,
                DeadKind::BadSyntax => Class::BadAddressSyntax,
                DeadKind::DomainNoMail => Class::DomainNoMail,
            };
            assert_eq!(meaning.class, class, "{}", row.text);
        }
    }
}
