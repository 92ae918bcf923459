//! Rows as they are kept: encoded one after the other, and read back without knowing the file they came from.

use csv::StringRecord;
use serde::{Deserialize, Serialize, Serializer};

use super::{Cells, Row, RowFault};

/// What was kept cannot be read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a kept row cannot be read")]
pub struct BrokenRow;

impl Row {
    /// Appends the row to `to`.
    ///
    /// # Errors
    /// A JSON value cannot be written.
    pub fn encode(&self, to: &mut Vec<u8>) -> Result<(), BrokenRow> {
        let fault = self.fault.as_ref().map(|fault| (fault.column, &*fault.message));
        // Tuples add nothing of their own, so their parts may be read one by one.
        let place = (self.file.as_deref(), self.line, fault);
        match &self.cells {
            Cells::Record { record, address } => put(&(place, false, *address, InTurn(record)), to),
            Cells::Object { object, address } => {
                let object = serde_json::to_string(object).map_err(|_| BrokenRow)?;
                put(&(place, true, 0_usize, 0_usize, &**address, object), to)
            }
        }
    }

    /// Reads the next row of `from` into `self`, whose memory is used again; `false` at the end.
    ///
    /// # Errors
    /// The bytes are not what [`Row::encode`] wrote.
    pub fn decode(&mut self, from: &mut &[u8]) -> Result<bool, BrokenRow> {
        if from.is_empty() {
            return Ok(false);
        }
        let (file, line): (Option<&str>, u64) = take(from)?;
        let fault: Option<(Option<usize>, &str)> = take(from)?;
        let (is_object, address, cells): (bool, usize, usize) = take(from)?;
        if is_object {
            let address: &str = take(from)?;
            let object: &str = take(from)?;
            self.cells = Cells::Object {
                address: address.into(),
                object: serde_json::from_str(object).map_err(|_| BrokenRow)?,
            };
        } else {
            let record = self.record(address);
            for _ in 0..cells {
                record.push_field(take(from)?);
            }
        }
        if self.file.as_deref() != file {
            self.file = file.map(Into::into);
        }
        self.line = line;
        self.fault = fault.map(|(column, message)| RowFault::new(column, message));
        Ok(true)
    }
}

/// The cells of a record, behind their number.
struct InTurn<'a>(&'a StringRecord);

impl Serialize for InTurn<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.0)
    }
}

fn put<T: Serialize + ?Sized>(value: &T, to: &mut Vec<u8>) -> Result<(), BrokenRow> {
    let bytes = std::mem::take(to);
    *to = postcard::to_extend(value, bytes).map_err(|_| BrokenRow)?;
    Ok(())
}

fn take<'a, T: Deserialize<'a>>(from: &mut &'a [u8]) -> Result<T, BrokenRow> {
    let (value, rest) = postcard::take_from_bytes(from).map_err(|_| BrokenRow)?;
    *from = rest;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::{InputOptions, Table};

    fn rows(text: &str) -> Vec<Row> {
        let mut table = Table::from_reader(&mut text.as_bytes(), "list", &InputOptions::default()).unwrap();
        std::iter::from_fn(|| table.next_row().unwrap()).collect()
    }

    #[test]
    fn a_row_comes_back_as_it_was() {
        let lists = [
            "email,name\na@b.example,\"Ann, \"\"A\"\"\"\nc@d.example\n,\n",
            "a@b.example\nç@d.example\n",
            "{\"email\":\"a@b.example\",\"n\":1.50,\"z\":[1,{\"y\":null}]}\n{\"email\":7}\n\"c@d.example\"\n",
        ];
        for list in lists {
            let (rows, mut bytes) = (rows(list), Vec::new());
            for row in &rows {
                row.encode(&mut bytes).unwrap();
            }
            let (mut from, mut row) = (bytes.as_slice(), Row::default());
            for expected in &rows {
                assert!(row.decode(&mut from).unwrap());
                assert_eq!(format!("{row:?}"), format!("{expected:?}"));
            }
            assert!(!row.decode(&mut from).unwrap());
        }
    }

    #[test]
    fn bytes_that_are_no_rows_are_an_error() {
        let mut bytes = Vec::new();
        rows("email,name\na@b.example,Ann\n")[0].encode(&mut bytes).unwrap();
        for cut in 1..bytes.len() {
            assert!(Row::default().decode(&mut &bytes[..cut]).is_err(), "{cut}");
        }
        assert!(Row::default().decode(&mut [0xff; 64].as_slice()).is_err());
    }
}
