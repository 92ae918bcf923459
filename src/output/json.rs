//! NDJSON and JSON: the original row and the result, side by side.
//!
//! An NDJSON object stays as it is and gets the key `presend`; cells of text and CSV become `{"row": {...}, "presend": {...}}`.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::{Detail, Render, columns::PREFIX, schema::write_result};
use crate::{
    input::{Cells, Layout, Row},
    job::Outcome,
};

/// The key of the result.
const KEY: &str = "presend";

#[derive(Debug)]
pub(super) struct Ndjson {
    /// The key of each original column, unique; `None` for an earlier run's columns.
    columns: Vec<Option<String>>,
    detail: Detail,
}

impl Ndjson {
    pub(super) fn new(layout: &Layout, detail: Detail) -> Self {
        let mut keys = Keys::default();
        let key = |name: &String| (!name.starts_with(PREFIX)).then(|| keys.unused(name));
        Self {
            columns: layout.columns.iter().map(key).collect(),
            detail,
        }
    }

    fn result(&self, row: &Row, outcome: &Outcome, out: &mut Vec<u8>) {
        // Writing to memory cannot fail, and no map key is anything but a string.
        let _ = write_result(outcome, Some(row), self.detail, out);
    }

    fn record(&self, record: &::csv::StringRecord, address: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"row\":{");
        let mut first = true;
        for (index, cell) in record.iter().enumerate() {
            let spare;
            let key = match self.columns.get(index) {
                Some(Some(key)) => key.as_str(),
                Some(None) => continue,
                None => {
                    spare = format!("column_{}", index + 1);
                    &spare
                }
            };
            let privacy = self.detail.privacy;
            member(&mut first, &privacy.text(key), out);
            let cell = if index == address {
                privacy.typed(cell)
            } else {
                privacy.text(cell)
            };
            append(&cell, out);
        }
        out.extend_from_slice(b"},\"presend\":");
    }
}

impl Render for Ndjson {
    fn header(&self, _out: &mut Vec<u8>) {}

    fn row(&self, row: &Row, outcome: &Outcome, out: &mut Vec<u8>) {
        match &row.cells {
            Cells::Record { record, address } => self.record(record, *address, out),
            Cells::Object { object, address } => members(&self.detail.privacy.object(object, address), out),
        }
        self.result(row, outcome, out);
        out.extend_from_slice(b"}\n");
    }
}

/// Two columns of one name would make an object with two equal keys, of which readers keep one. A header has as many columns as
/// fit into its line, so names are counted and not compared with each other.
#[derive(Default)]
struct Keys {
    used: HashSet<String>,
    /// The number to try next for a name that came before.
    next: HashMap<String, usize>,
}

impl Keys {
    fn unused(&mut self, name: &str) -> String {
        if self.used.insert(name.to_owned()) {
            return name.to_owned();
        }
        let next = self.next.entry(name.to_owned()).or_insert(2);
        loop {
            let key = format!("{name}_{next}");
            *next += 1;
            if self.used.insert(key.clone()) {
                return key;
            }
        }
    }
}

/// One array; the rows are those of [`Ndjson`].
#[derive(Debug)]
pub(super) struct Json(pub(super) Ndjson);

impl Render for Json {
    fn header(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"[");
    }

    fn separator(&self) -> &'static [u8] {
        b","
    }

    fn row(&self, row: &Row, outcome: &Outcome, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\n");
        self.0.row(row, outcome, out);
        // Without the line end: the next row, or the footer, begins with one.
        out.pop();
    }

    fn footer(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\n]\n");
    }
}

/// The object's members, all but an earlier result, and the key of the new one.
fn members(object: &Map<String, Value>, out: &mut Vec<u8>) {
    out.push(b'{');
    let mut first = true;
    for (key, value) in object.iter().filter(|(key, _)| *key != KEY) {
        member(&mut first, key, out);
        append(value, out);
    }
    member(&mut first, KEY, out);
}

fn member(first: &mut bool, key: &str, out: &mut Vec<u8>) {
    if !std::mem::take(first) {
        out.push(b',');
    }
    append(key, out);
    out.push(b':');
}

/// Appends JSON; writing to memory cannot fail.
fn append<T: serde::Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    let _ = serde_json::to_writer(out, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_columns_get_keys_of_their_own() {
        let mut keys = Keys::default();
        let names = ["a", "a_2", "a", "b", "a", "a_2", "b"];
        assert_eq!(
            names.map(|name| keys.unused(name)),
            ["a", "a_2", "a_3", "b", "a_4", "a_2_2", "b_2"]
        );
    }

    /// A header of 20 KB took minutes when every name was compared with all others.
    #[test]
    fn p5_a_header_of_equal_names_is_counted_once() {
        let mut keys = Keys::default();
        for _ in 0..100_000 {
            keys.unused("a");
        }
        assert_eq!(keys.next["a"], 100_001, "one try for each");
    }
}
