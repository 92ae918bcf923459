//! The short way for most lines: those in which nothing can be found but that their address stood there before. No row is made of them.
//!
//! Decides nothing of its own: `examine` finds nothing in what it takes (tested), and all else it leaves alone.

use std::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

use super::{
    Rule,
    examine::{Exam, Lens},
};
use crate::{
    address::Address,
    input::{InputFormat, Layout},
    lists,
};

/// Domains that are remembered, 256 kB of them: most lists have fewer that come often.
const DOMAINS: usize = WAYS << 12;
/// Places of which a domain can have any: what a processor fetches at once.
const WAYS: usize = 8;

/// How lines of one file are told apart.
pub(super) struct Ordinary {
    shape: Shape,
    /// Fingerprints of domains of which nothing can be said, each in its place. Shared by all threads: whoever comes last is remembered.
    quiet: Vec<AtomicU64>,
}

/// How a line has its address.
struct Shape {
    delimiter: Option<u8>,
    /// Which cell it is.
    address: usize,
    cells: usize,
    /// Cells are looked at too.
    formulas: bool,
    is_table: bool,
}

impl Ordinary {
    /// Nothing is remembered yet; none when something is to be found in every row.
    pub(super) fn new(lens: &Lens<'_>) -> Option<Self> {
        let asks = lens.answers.is_some() || lens.lookup.is_some() || !lens.user_lists.is_empty();
        if asks || lens.policy.active().has(Rule::DuplicateProvider) {
            return None;
        }
        let formulas = lens.policy.active().has(Rule::FormulaCell);
        Some(Self {
            shape: Shape::new(lens.layout, formulas)?,
            quiet: (0..DOMAINS).map(|_| AtomicU64::new(0)).collect(),
        })
    }

    /// Where the address is in a line, and what is known of it; nothing when the line takes a closer look.
    pub(super) fn look(&self, lens: &Lens<'_>, line: &[u8]) -> Option<(Range<usize>, Exam)> {
        if !line.is_ascii() {
            return None;
        }
        let at = self.shape.address(line)?;
        let (local, domain) = Address::split_ordinary(line.get(at.clone())?)?;
        let half = lens.keys.of_domain(domain);
        if lists::is_role(str::from_utf8(local).ok()?) || !self.is_quiet(lens, domain, half.domain) {
            return None;
        }
        let column = if self.shape.is_table { self.shape.address + 1 } else { 1 };
        let exam = Exam {
            key: Some(half.with(local)),
            column: Some(column),
            ..Exam::default()
        };
        Some((at, exam))
    }

    /// Whether nothing can be said of a domain, whatever stands before it.
    fn is_quiet(&self, lens: &Lens<'_>, domain: &[u8], print: u64) -> bool {
        let set = usize::try_from(print >> 32).unwrap_or_default() % (DOMAINS / WAYS) * WAYS;
        let places = self.quiet.get(set..set + WAYS).unwrap_or_default();
        if places.iter().any(|place| place.load(Ordering::Relaxed) == print) {
            return true;
        }
        let quiet = str::from_utf8(domain).is_ok_and(|domain| {
            Address::parse(&format!("a@{domain}"), lens.rules).is_ok_and(|address| {
                let hits = lists::look_up(&address);
                let free = hits.free && lens.policy.active().has(Rule::FreeProvider);
                !hits.disposable && !free && hits.did_you_mean.is_none()
            })
        });
        let free = places.iter().find(|place| place.load(Ordering::Relaxed) == 0);
        if let Some(place) = free
            .or_else(|| places.get(usize::try_from(print).unwrap_or_default() % WAYS))
            .filter(|_| quiet)
        {
            place.store(print, Ordering::Relaxed);
        }
        quiet
    }
}

impl Shape {
    fn new(layout: &Layout, formulas: bool) -> Option<Self> {
        let shape = match layout.format {
            InputFormat::Text => Self {
                delimiter: None,
                address: 0,
                cells: 1,
                formulas: false,
                is_table: false,
            },
            InputFormat::Csv if layout.fallback_columns.is_empty() => Self {
                delimiter: layout.delimiter,
                address: layout.address_column,
                cells: layout.columns.len(),
                formulas,
                is_table: true,
            },
            InputFormat::Csv | InputFormat::Ndjson | InputFormat::Xlsx => return None,
        };
        Some(shape)
    }

    /// Where the address is, in a line that has as many cells as it should and none that could be a formula.
    fn address(&self, line: &[u8]) -> Option<Range<usize>> {
        let (mut start, mut number, mut found) = (0, 0, None);
        let mut cell = |end: usize| {
            if self.formulas && line.get(start..end)?.first().is_some_and(|first| is_suspect(*first)) {
                return None;
            }
            if number == self.address {
                found = Some(start..end);
            }
            number += 1;
            start = end + 1;
            Some(())
        };
        if let Some(delimiter) = self.delimiter {
            for end in memchr::memchr_iter(delimiter, line) {
                cell(end)?;
            }
        }
        cell(line.len())?;
        found.filter(|_| number == self.cells)
    }
}

/// What a formula in ASCII can begin with.
fn is_suspect(first: u8) -> bool {
    matches!(first, b'=' | b'@' | b'+' | b'-' | b'\t' | b'\r' | b'\n' | 0)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Policy, duplicate::Keys, policy::Choice},
        *,
    };
    use crate::{
        address::Rules,
        input::{Block, InputOptions, Table},
        lint::examine::examine,
        lists::UserLists,
    };

    /// Lines that go the short way, of those where nothing is found.
    fn taken(text: &str, choice: Choice) -> (usize, usize) {
        let options = InputOptions {
            comments: true,
            ..InputOptions::default()
        };
        let mut table = Table::from_reader(&mut text.as_bytes(), "a list", &options).unwrap();
        let layout = table.layout().clone();
        let policy = Policy::new(&[choice], &[], "a list").unwrap();
        let (keys, user_lists) = (Keys::default(), UserLists::default());
        let lens = Lens {
            file: 0,
            layout: &layout,
            policy: &policy,
            rules: Rules::default(),
            user_lists: &user_lists,
            answers: None,
            lookup: None,
            keys: &keys,
        };
        let ordinary = Ordinary::new(&lens).unwrap();
        let (mut block, mut row, mut found) = (Block::default(), crate::input::Row::default(), Vec::new());
        assert!(table.read_block(60_000, &mut block).unwrap());
        let (mut short, mut silent) = (0, 0);
        for line in block.lines(&layout) {
            line.read(&layout, &mut row);
            found.clear();
            let exam = examine(&lens, &row, &mut found).unwrap();
            silent += usize::from(found.is_empty());
            // Twice: what is remembered says the same.
            for _ in 0..2 {
                let Some((at, told)) = ordinary.look(&lens, line.bytes) else {
                    continue;
                };
                short += 1;
                assert!(found.is_empty(), "{:?} {found:?}", str::from_utf8(line.bytes));
                assert_eq!(&line.bytes[at], row.address().as_bytes());
                assert_eq!(
                    (told.key, told.column, told.hard, told.unknown, told.bad_directive),
                    (exam.key, exam.column, exam.hard, exam.unknown, exam.bad_directive)
                );
            }
        }
        assert_eq!(short % 2, 0);
        (short / 2, silent)
    }

    const ADDRESSES: [&str; 28] = [
        "jane.doe@acme-corp.com",
        "Jane@acme-corp.com",
        "jane+news@gmail.com",
        "jane@ACME-corp.com",
        "info@acme-corp.com",
        "info+x@acme-corp.com",
        "team@acme-corp.com",
        "jane@gmial.com",
        "jane@mailinator.com",
        "jane@sub.mailinator.com",
        "jane@gmail.com",
        "jane@acme.test",
        "jane@example.org",
        "jane@acme.nosuchtld",
        "jane@acme",
        " jane@acme-corp.com",
        "jane..doe@acme-corp.com",
        "-jane@acme-corp.com",
        "=jane@acme-corp.com",
        "jane!x@acme-corp.com",
        "jane@xn--bcher-kva.de",
        "jane@b\u{fc}cher.de",
        "j\u{e4}ne@acme-corp.com",
        "M\u{c3}\u{bc}ller@acme-corp.com",
        "jane@acme-corp.com.",
        "<jane@acme-corp.com>",
        "jane@@acme-corp.com",
        "jane@gmail.con",
    ];

    #[test]
    fn nothing_is_found_in_what_goes_the_short_way() {
        let list = ADDRESSES.join("\n") + "\n";
        assert_eq!(taken(&list, Choice::default()), (5, 8));
        let free = Choice {
            severity: vec![("free".into(), crate::lint::Weight::Note)],
            ..Choice::default()
        };
        assert_eq!(taken(&list, free), (3, 6));
    }

    #[test]
    fn cells_are_looked_at_too() {
        let row = |address: &&str| format!("1,{address},Jane\n");
        let mut table = String::from("id,email,name\n");
        table.extend(ADDRESSES.iter().map(row));
        table.push_str("2,a@acme-corp.com\n3,b@acme-corp.com,Doe,x\n4,c@acme-corp.com,=1+1\n+5,d@acme-corp.com,Doe\n");
        table.push_str(
            "-x,e@acme-corp.com,Doe\n@6,f@acme-corp.com,Doe\n7,g@acme-corp.com,\n,h@acme-corp.com,\u{fffd}\n",
        );
        table.push_str("8,,Doe\n9,i@acme-corp.com,M\u{c3}\u{bc}ller\n10,j@acme-corp.com,M\u{fc}ller\n");
        let (short, silent) = taken(&table, Choice::default());
        assert_eq!((short, silent), (5, 10));
    }
}
