//! How a file is laid out, from its first rows: format, delimiter, header, address column.
//!
//! Must not read the file: it judges a sample.

use super::{
    InputError, InputFormat, InputOptions, Layout,
    delimited::{CellBuffer, Step},
    error::{cut, list},
    ndjson,
};
use crate::lists;

/// How much decoded text is looked at.
pub(super) const SAMPLE: usize = 256 << 10;
/// How many rows are looked at.
const ROWS: usize = 50;
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// The start of a file.
pub(super) struct Sample<'a> {
    /// For messages.
    pub(super) name: &'a str,
    /// Of the file name, as written.
    pub(super) extension: &'a str,
    /// Decoded text, without byte order mark.
    pub(super) bytes: &'a [u8],
    /// The sample is the whole file.
    pub(super) whole: bool,
    pub(super) encoding: &'static str,
    /// Cells of the widest row, when the text is a sheet of a workbook: then only header and columns are open.
    pub(super) sheet_width: Option<usize>,
}

/// What the sample shows.
pub(super) struct Sniffed {
    pub(super) layout: Layout,
    /// The first line is `sep=;`.
    pub(super) separator_line: bool,
}

/// Judges a sample.
pub(super) fn sniff(sample: &Sample<'_>, options: &InputOptions) -> Result<Sniffed, InputError> {
    let unsupported = |what| {
        let name = sample.name.into();
        Err(InputError::Unsupported { name, what })
    };
    let first = sample.bytes.iter().find(|b| !b.is_ascii_whitespace());
    let is_json = options.format == Some(InputFormat::Ndjson) || sample.extension.eq_ignore_ascii_case("json");
    match first {
        None if sample.whole => return Err(empty(sample, "it holds no text")),
        Some(b'[') if is_json => {
            return unsupported("one JSON array; write one object a line (NDJSON), for example with `jq -c '.[]'`");
        }
        _ if is_binary(sample.bytes) => {
            return unsupported(
                "binary, as pictures, programs and databases are; export the list as CSV, NDJSON or plain text",
            );
        }
        _ => {}
    }
    if sample.sheet_width.is_some() {
        let layout = table(sample, sample.bytes, Some(b','), options)?;
        return Ok(Sniffed {
            layout,
            separator_line: false,
        });
    }
    let separator = separator_line(sample.bytes);
    let (body, sep) = separator.map_or((sample.bytes, None), |(sep, skip)| {
        (sample.bytes.get(skip..).unwrap_or_default(), Some(sep))
    });
    let delimiter = sep.or_else(|| delimiter(body, sample.whole));
    let layout = match format(sample, options, sep.is_some(), delimiter) {
        InputFormat::Text => text(sample, options)?,
        InputFormat::Csv | InputFormat::Xlsx => table(sample, body, delimiter, options)?,
        InputFormat::Ndjson => objects(sample, options)?,
    };
    let separator_line = sep.is_some() && layout.format == InputFormat::Csv;
    Ok(Sniffed { layout, separator_line })
}

/// Binary numbers leave NULs side by side and other control characters; a damaged list has the one or the other.
fn is_binary(bytes: &[u8]) -> bool {
    let is_control = |b: u8| b.is_ascii_control() && !matches!(b, 0 | b'\t'..=b'\r' | 0x1A | 0x1B | 0x7F);
    let controls = bytes.iter().filter(|b| is_control(**b));
    let kinds = controls.fold(0_u32, |kinds, b| kinds | 1 << (b % 32)).count_ones();
    match kinds {
        0 => false,
        1 | 2 => memchr::memmem::find(bytes, b"\0\0").is_some(),
        3.. => bytes.contains(&0),
    }
}

fn empty(sample: &Sample<'_>, what: &'static str) -> InputError {
    InputError::Empty {
        name: sample.name.into(),
        what,
    }
}

/// Excel's `sep=;` on a line of its own: the delimiter, and the length of the line.
fn separator_line(bytes: &[u8]) -> Option<(u8, usize)> {
    let (head, rest) = bytes.split_at_checked(5)?;
    let (key, separator) = head
        .split_last_chunk::<1>()
        .map(|(key, [separator])| (key, *separator))?;
    if !key.eq_ignore_ascii_case(b"sep=") || !(separator == b'\t' || separator.is_ascii_punctuation()) {
        return None;
    }
    let end = match rest {
        [b'\r', b'\n', ..] => 2,
        [b'\r' | b'\n', ..] => 1,
        _ => return None,
    };
    Some((separator, head.len() + end))
}

fn format(sample: &Sample<'_>, options: &InputOptions, sep: bool, delimiter: Option<u8>) -> InputFormat {
    if let Some(format) = options.format {
        return format;
    }
    match sample.extension.to_ascii_lowercase().as_str() {
        "csv" | "tsv" | "tab" | "psv" => return InputFormat::Csv,
        "ndjson" | "jsonl" | "json" => return InputFormat::Ndjson,
        _ => {}
    }
    let first = rows(sample.bytes, None, sample.whole, 1);
    let first = first.first().and_then(|row| row.first()).map_or("", |cell| cell.trim());
    if first.starts_with('{') {
        return InputFormat::Ndjson;
    }
    let quoted = sample.bytes.trim_ascii_start().starts_with(b"\"");
    let told = options.column.is_some() || options.header == Some(true);
    if sep || delimiter.is_some() || quoted || told || hint(first) > 0 {
        InputFormat::Csv
    } else {
        InputFormat::Text
    }
}

/// The first records of `bytes`, blank ones left out.
fn rows(bytes: &[u8], delimiter: Option<u8>, whole: bool, limit: usize) -> Vec<Vec<String>> {
    let mut cells = CellBuffer::default();
    let mut record = csv::StringRecord::new();
    let (mut rows, mut at) = (Vec::new(), 0);
    while rows.len() < limit && at < bytes.len() {
        let rest = bytes.get(at..).unwrap_or_default();
        match cells.split(rest, delimiter, whole) {
            Step::Record { total, .. } => {
                at += total;
                record.clear();
                cells.copy_to(&mut record);
                let row: Vec<String> = record.iter().map(str::to_owned).collect();
                if row.len() > 1 || row.iter().any(|cell| !cell.trim_matches(' ').is_empty()) {
                    rows.push(row);
                }
            }
            Step::More => break,
            Step::Unclosed { .. } | Step::TooLong { .. } => {
                let Some(end) = memchr::memchr2(b'\n', b'\r', rest) else {
                    break;
                };
                at += end + 1;
            }
        }
    }
    rows
}

/// The delimiter that splits most rows alike, and one of whose columns holds addresses; `None` for a list of one column.
fn delimiter(bytes: &[u8], whole: bool) -> Option<u8> {
    let mut best = None;
    let mut best_score = 0;
    for delimiter in DELIMITERS {
        let rows = rows(bytes, Some(delimiter), whole, ROWS);
        let width = width(&rows);
        let alike = rows.iter().filter(|row| row.len() == width).count();
        if width < 2 || alike * 2 < rows.len() {
            continue;
        }
        let addresses = (0..width)
            .map(|column| {
                let cell = |row: &&Vec<String>| row.get(column).is_some_and(|cell| is_bare_address(cell));
                rows.iter().filter(cell).count()
            })
            .max()
            .unwrap_or_default();
        if alike + addresses > best_score {
            best_score = alike + addresses;
            best = Some(delimiter);
        }
    }
    best
}

/// The commonest number of cells; the first row decides between equals.
fn width(rows: &[Vec<String>]) -> usize {
    let count = |width: usize| rows.iter().filter(|row| row.len() == width).count();
    let mut best = rows.first().map_or(0, Vec::len);
    for row in rows {
        if count(row.len()) > count(best) {
            best = row.len();
        }
    }
    best
}

fn is_bare_address(cell: &str) -> bool {
    let cell = cell.trim();
    cell.len() <= 320
        && cell
            .split_once('@')
            .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty())
        && !cell.contains(|c: char| c.is_whitespace() || ",;|".contains(c))
}

/// How much a column name sounds like addresses, 0 to 3.
fn hint(name: &str) -> u8 {
    if name.len() > 40 || name.contains(['.', '@']) {
        return 0;
    }
    let plain: String = name
        .chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect();
    match plain.as_str() {
        "email" | "emails" | "emailaddress" | "emailaddresses" | "mail" | "mailaddress" | "emailadresse" => 3,
        "address" | "addresses" | "recipient" | "recipients" | "adresse" | "correo" | "courriel" => 1,
        other if other.contains("mail") => 2,
        _ => 0,
    }
}

fn text(sample: &Sample<'_>, options: &InputOptions) -> Result<Layout, InputError> {
    let lines: Vec<Vec<u8>> = sample
        .bytes
        .split(|b| matches!(b, b'\n' | b'\r'))
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty() && !line.starts_with(b"#"))
        .take(ROWS)
        .map(<[u8]>::to_vec)
        .collect();
    if lines.is_empty() && sample.whole {
        return Err(empty(sample, "it holds nothing but blank lines and comments"));
    }
    if options.format.is_none() && !lines.iter().any(|line| line.contains(&b'@')) {
        return Err(InputError::NoAddressColumn {
            name: sample.name.into(),
            seen: format!(
                "it looks like plain text, with no `@` in the first {} line(s)",
                lines.len()
            ),
        });
    }
    Ok(Layout {
        format: InputFormat::Text,
        encoding: sample.encoding.into(),
        columns: vec!["address".into()],
        ..Layout::default()
    })
}

fn table(
    sample: &Sample<'_>,
    body: &[u8],
    delimiter: Option<u8>,
    options: &InputOptions,
) -> Result<Layout, InputError> {
    let rows = rows(body, delimiter, sample.whole, ROWS + 1);
    let header = options
        .header
        .unwrap_or_else(|| has_header(&rows, options.column.as_deref()));
    let data = rows.get(usize::from(header)..).unwrap_or_default();
    if data.is_empty() && sample.whole {
        let what = if header && !rows.is_empty() {
            "it holds a header and no rows"
        } else {
            "it holds no rows"
        };
        return Err(empty(sample, what));
    }
    let names: &[String] = rows.first().filter(|_| header).map_or(&[], Vec::as_slice);
    let least = match names {
        [] => width(data).max(1),
        names => names.len(),
    };
    let name = |index: usize| match names.get(index).map(|name| name.trim()) {
        // Beside the header of a sheet there may be columns without a name.
        None | Some("") if sample.sheet_width.is_some() || names.is_empty() => format!("column_{}", index + 1),
        name => name.unwrap_or_default().to_owned(),
    };
    let columns: Vec<String> = (0..sample.sheet_width.unwrap_or(least).max(1)).map(name).collect();
    let known = lists::recognise(&columns).filter(|_| header && options.column.is_none());
    let address_column = match &options.column {
        Some(column) => named_column(sample, column, &columns)?,
        None if known.is_some() => known.as_ref().map_or(0, |known| known.address),
        // Not one row fits into the sample: there is nothing to guess by, and each row will tell its own fault.
        None if rows.is_empty() => 0,
        None => guess_column(data, &columns).ok_or_else(|| no_column(sample, &rows, header))?,
    };
    Ok(Layout {
        format: match sample.sheet_width {
            Some(_) => InputFormat::Xlsx,
            None => InputFormat::Csv,
        },
        delimiter,
        encoding: sample.encoding.into(),
        columns,
        header,
        address_column,
        guessed: options.column.is_none() && known.is_none(),
        export: known.as_ref().map(|known| known.name.into()),
        fallback_columns: known.map(|known| known.fallback).unwrap_or_default(),
        ..Layout::default()
    })
}

fn has_header(rows: &[Vec<String>], column: Option<&str>) -> bool {
    let Some((first, data)) = rows.split_first() else {
        return false;
    };
    if first.iter().any(|cell| cell.contains('@')) {
        return false;
    }
    let named = |cell: &String| column.is_some_and(|column| same_name(cell, column) && !is_number(cell));
    if first.iter().any(|cell| hint(cell) > 0 || named(cell)) {
        return true;
    }
    let is_name = |cell: &String| !cell.trim().is_empty() && !is_number(cell);
    let addresses_below = data.iter().any(|row| row.iter().any(|cell| cell.contains('@')));
    first.len() > 1 && first.iter().all(is_name) && addresses_below
}

fn is_number(cell: &str) -> bool {
    cell.trim().parse::<f64>().is_ok()
}

fn same_name(name: &str, wanted: &str) -> bool {
    name.trim().to_lowercase() == wanted.trim().to_lowercase()
}

/// `--column`: a name first, then a number from 1.
fn named_column(sample: &Sample<'_>, column: &str, columns: &[String]) -> Result<usize, InputError> {
    let exact = columns.iter().position(|name| name == column);
    if let Some(index) = exact.or_else(|| columns.iter().position(|name| same_name(name, column))) {
        return Ok(index);
    }
    let name = sample.name.into();
    let columns = columns.to_vec();
    match column.trim().parse::<usize>() {
        Ok(number) if (1..=columns.len()).contains(&number) => Ok(number - 1),
        Ok(column) => Err(InputError::ColumnOutOfRange { name, column, columns }),
        Err(_) => Err(InputError::MissingColumn {
            name,
            column: cut(column),
            columns,
        }),
    }
}

fn no_column(sample: &Sample<'_>, rows: &[Vec<String>], header: bool) -> InputError {
    let first = rows.first().map(|row| list(row)).unwrap_or_default();
    let what = if header { "the header is" } else { "the first row is" };
    InputError::NoAddressColumn {
        name: sample.name.into(),
        seen: format!("{what} {first}; no `@` in most of the first {} row(s)", rows.len()),
    }
}

/// The column where most filled cells hold an `@`; its name decides between several.
fn guess_column(data: &[Vec<String>], columns: &[String]) -> Option<usize> {
    let scored = columns.iter().enumerate().map(|(index, name)| {
        let cells = data.iter().filter_map(|row| row.get(index));
        let filled = cells.clone().filter(|cell| !cell.trim().is_empty()).count();
        let at = cells.filter(|cell| cell.contains('@')).count();
        (index, hint(name), at * 2 > filled, at)
    });
    // Reversed, because the last of equals wins.
    scored
        .rev()
        .filter(|(_, hint, most, _)| *most || *hint > 1)
        .max_by_key(|(_, hint, most, at)| (*most, *hint, *at))
        .map(|(index, ..)| index)
}

fn objects(sample: &Sample<'_>, options: &InputOptions) -> Result<Layout, InputError> {
    let mut keys: Vec<(String, usize)> = Vec::new();
    let mut lines = 0;
    let cut_off = usize::from(!sample.whole);
    let all: Vec<&[u8]> = sample.bytes.split(|b| matches!(b, b'\n' | b'\r')).collect();
    let complete = all.get(..all.len() - cut_off).unwrap_or_default();
    for line in complete.iter().filter(|line| !line.trim_ascii().is_empty()).take(ROWS) {
        lines += 1;
        for (key, value) in ndjson::object(line).unwrap_or_default() {
            let at = usize::from(value.as_str().is_some_and(|text| text.contains('@')));
            match keys.iter_mut().find(|(known, _)| *known == key) {
                Some((_, count)) => *count += at,
                None => keys.push((key, at)),
            }
        }
    }
    let names: Vec<String> = keys.iter().map(|(key, _)| key.clone()).collect();
    let key = if let Some(wanted) = &options.column {
        let exact = names.iter().find(|name| *name == wanted);
        let found = exact.or_else(|| names.iter().find(|name| same_name(name, wanted)));
        found.cloned().ok_or_else(|| InputError::MissingColumn {
            name: sample.name.into(),
            column: cut(wanted),
            columns: names.clone(),
        })?
    } else {
        let filled = keys.into_iter().rev().filter(|(_, at)| *at > 0);
        let best = filled.max_by_key(|(key, at)| (hint(key), *at));
        best.map(|(key, _)| key).ok_or_else(|| InputError::NoAddressColumn {
            name: sample.name.into(),
            seen: if names.is_empty() {
                format!("none of the first {lines} line(s) is a JSON object or string")
            } else {
                format!("its keys are {}; no value holds an `@`", list(&names))
            },
        })?
    };
    Ok(Layout {
        format: InputFormat::Ndjson,
        encoding: sample.encoding.into(),
        address_key: Some(key),
        guessed: options.column.is_none(),
        ..Layout::default()
    })
}
