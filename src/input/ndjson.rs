//! One JSON object or string a line.

use serde_json::{Map, Value};

use super::{CELL_LIMIT, Cells, RowFault, error::cut, too_long};

/// Key of a bare string.
pub(super) const BARE: &str = "address";
/// Key of a line that is neither an object nor a string: what stood there stays with the row.
const LINE: &str = "line";

/// Reads one line; what is no JSON is a row with a fault.
pub(super) fn row(line: &[u8], key: &str) -> (Cells, Option<RowFault>) {
    let (object, fault) = match object(line) {
        Ok(object) => (object, None),
        Err(fault) => {
            let text = String::from_utf8_lossy(line).into_owned();
            (Map::from_iter([(LINE.to_owned(), Value::String(text))]), Some(fault))
        }
    };
    let (address, fault) = match (object.get(key), fault) {
        (_, Some(fault)) => ("", Some(fault)),
        (Some(Value::String(text)), None) if text.len() > CELL_LIMIT => ("", Some(too_long(CELL_LIMIT))),
        (Some(Value::String(text)), None) => (text.as_str(), None),
        (Some(_), None) => ("", Some(RowFault::new(None, format!("`{}` is not a string", cut(key))))),
        (None, None) => (
            "",
            Some(RowFault::new(None, format!("the object has no key `{}`", cut(key)))),
        ),
    };
    let address = address.into();
    (Cells::Object { object, address }, fault)
}

/// The object on a line; a bare string becomes one.
pub(super) fn object(line: &[u8]) -> Result<Map<String, Value>, RowFault> {
    match serde_json::from_slice(line) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(Value::String(text)) => Ok(Map::from_iter([(BARE.to_owned(), Value::String(text))])),
        Ok(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_)) => {
            Err(RowFault::new(Some(1), "the line is neither a JSON object nor a string"))
        }
        Err(error) => {
            let text = error.to_string();
            let reason = text.split(" at line ").next().unwrap_or_default();
            Err(RowFault::new(
                Some(error.column()),
                format!("the line is not JSON: {reason}"),
            ))
        }
    }
}
