//! A JSON array as lines: each of its elements becomes a line of NDJSON, of which one at a time is in memory.
//!
//! What is no JSON ends it: an array is one value, and nobody knows what the rest of a broken one was meant to be. An element that
//! holds no address is a row with a fault, as a line is.

use std::io::{self, Read, Write};

use serde::de::IgnoredAny;

use super::{InputError, ROW_LIMIT};

/// How deep an element may be nested, as deep as serde_json reads a line.
const DEEPEST: u32 = 120;
const CHUNK: usize = 64 << 10;

/// Splits the array.
#[derive(Debug, Default)]
struct Splitter {
    element: Vec<u8>,
    /// The element is longer than a row may be: its beginning is kept, and the row gets a fault.
    cut: bool,
    /// Elements before this one.
    index: u64,
    /// From 0.
    line: u64,
    depth: u32,
    place: Place,
    string: Text,
}

#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
enum Place {
    #[default]
    Before,
    /// After `[`: an element or the end.
    First,
    /// In an element.
    Inside,
    /// After `]`.
    After,
}

#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
enum Text {
    #[default]
    Outside,
    Inside,
    Escaped,
}

/// What is wrong with an array.
#[derive(Debug)]
struct Fault {
    element: Option<u64>,
    deep: bool,
    reason: String,
}

impl From<String> for Fault {
    fn from(reason: String) -> Self {
        Self {
            element: None,
            deep: false,
            reason,
        }
    }
}

impl Splitter {
    fn fault(&self, what: impl std::fmt::Display) -> Fault {
        let reason = format!("element {} (line {}): {what}", self.index, self.line + 1);
        Fault {
            element: Some(self.index),
            ..reason.into()
        }
    }

    fn push(&mut self, bytes: &[u8], lines: &mut Vec<u8>) -> Result<(), Fault> {
        for &byte in bytes {
            self.line += u64::from(byte == b'\n');
            match self.place {
                Place::Before | Place::First | Place::After if byte.is_ascii_whitespace() => {}
                Place::Before if byte == b'[' => self.place = Place::First,
                Place::Before => return Err(format!("line {}: it begins with something else", self.line + 1).into()),
                Place::After => return Err(format!("line {}: something stands after the array", self.line + 1).into()),
                Place::First if byte == b']' => self.place = Place::After,
                Place::First | Place::Inside => {
                    self.place = Place::Inside;
                    self.inside(byte, lines)?;
                }
            }
        }
        Ok(())
    }

    fn inside(&mut self, byte: u8, lines: &mut Vec<u8>) -> Result<(), Fault> {
        let kept = match (self.string, byte) {
            (Text::Escaped, _) => {
                self.string = Text::Inside;
                byte
            }
            (Text::Inside, 0..0x20) => return Err(self.fault("a control character stands in a string")),
            (Text::Inside, b'\\') => {
                self.string = Text::Escaped;
                byte
            }
            (Text::Inside | Text::Outside, b'"') => {
                self.string = match self.string {
                    Text::Outside => Text::Inside,
                    Text::Inside | Text::Escaped => Text::Outside,
                };
                byte
            }
            (Text::Outside, b',' | b']') if self.depth == 0 => {
                self.end(lines)?;
                if byte == b']' {
                    self.place = Place::After;
                }
                return Ok(());
            }
            (Text::Outside, b'[' | b'{') => {
                self.depth += 1;
                if self.depth > DEEPEST {
                    return Err(Fault {
                        deep: true,
                        ..self.fault(format_args!("it is nested more than {DEEPEST} deep"))
                    });
                }
                byte
            }
            (Text::Outside, b']' | b'}') => {
                let Some(depth) = self.depth.checked_sub(1) else {
                    return Err(self.fault("a bracket is closed that was not opened"));
                };
                self.depth = depth;
                byte
            }
            (Text::Outside, byte) if byte.is_ascii_whitespace() => b' ',
            (Text::Inside | Text::Outside, _) => byte,
        };
        if self.element.len() < ROW_LIMIT {
            self.element.push(kept);
        } else {
            self.cut = true;
        }
        Ok(())
    }

    fn end(&mut self, lines: &mut Vec<u8>) -> Result<(), Fault> {
        if self.cut {
            // One byte over the limit is as much over it as all of them.
            lines.append(&mut self.element);
            lines.resize(lines.len() + ROW_LIMIT, b' ');
            lines.push(b'x');
            self.cut = false;
        } else {
            let element = self.element.trim_ascii();
            if element.is_empty() {
                return Err(self.fault("there is nothing between two commas"));
            }
            // What is passed over is not looked at by serde_json.
            let text = str::from_utf8(element).map_err(|_| self.fault("it is not UTF-8"))?;
            if let Err(error) = serde_json::from_str::<IgnoredAny>(text) {
                let said = error.to_string();
                return Err(self.fault(said.split(" at line ").next().unwrap_or_default()));
            }
            lines.extend_from_slice(element);
        }
        lines.push(b'\n');
        self.element.clear();
        self.index += 1;
        Ok(())
    }

    fn finish(&self) -> Result<(), Fault> {
        match self.place {
            Place::After => Ok(()),
            Place::Before => Err("it is empty".to_owned().into()),
            Place::First | Place::Inside => Err(self.fault("it ends before the array does")),
        }
    }
}

/// Writes each element of the array as a line.
pub(super) fn to_lines(from: &mut dyn Read, to: &mut dyn Write, name: &str) -> Result<(), InputError> {
    let read = |source: io::Error| InputError::Read {
        name: name.into(),
        source,
    };
    let broken = |fault: Fault| InputError::NotAnArray {
        name: name.into(),
        element: fault.element,
        deep: fault.deep,
        reason: fault.reason,
    };
    let (mut splitter, mut lines) = (Splitter::default(), Vec::new());
    let mut bytes = vec![0; CHUNK];
    loop {
        let length = from.read(&mut bytes).map_err(read)?;
        if length == 0 {
            break;
        }
        let chunk = bytes.get(..length).unwrap_or_default();
        splitter.push(chunk, &mut lines).map_err(broken)?;
        to.write_all(&lines).map_err(read)?;
        lines.clear();
    }
    splitter.finish().map_err(broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Result<String, String> {
        let mut out = Vec::new();
        // However it is cut, it is the same.
        let whole = to_lines(&mut text.as_bytes(), &mut out, "x").map_err(|error| error.to_string());
        let (mut splitter, mut each) = (Splitter::default(), Vec::new());
        let mut single = text
            .as_bytes()
            .iter()
            .try_for_each(|byte| splitter.push(&[*byte], &mut each));
        single = single.and_then(|()| splitter.finish());
        assert_eq!(whole.is_ok(), single.is_ok(), "{text}");
        if whole.is_ok() {
            assert_eq!(out, each);
        }
        whole.map(|()| String::from_utf8(out).unwrap())
    }

    #[test]
    fn each_element_is_a_line() {
        for (text, expected) in [
            ("[]", ""),
            (" [ ] \n", ""),
            ("[\"a@b.test\"]", "\"a@b.test\"\n"),
            ("[\"a\",\n \"b\" ]", "\"a\"\n\"b\"\n"),
            (
                "[{\"email\":\"a,]\\\"}\",\n\"n\":[1,[2]]},null]",
                "{\"email\":\"a,]\\\"}\", \"n\":[1,[2]]}\nnull\n",
            ),
            ("[1,true,[]]", "1\ntrue\n[]\n"),
        ] {
            assert_eq!(lines(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_array_is_told_with_its_place() {
        let deep = format!("[{}", "[".repeat(100_000));
        for (text, says) in [
            ("", "empty"),
            ("{}", "line 1: it begins with something else"),
            ("[\"a\"", "element 0"),
            ("[\"a\",]", "element 1 (line 1): there is nothing"),
            ("[\"a\"\n\"b\"]", "element 0 (line 2): trailing characters"),
            ("[\"a\n\"]", "control character"),
            ("[NaN]", "element 0"),
            ("[1] x", "after the array"),
            ("[}]", "not opened"),
            ("[\"\u{e9}\\x\"]", "invalid escape"),
            (&deep, "nested more than 120 deep"),
        ] {
            let error = lines(text).unwrap_err();
            assert!(error.contains(says), "{text:.40}: {error}");
        }
        let error = to_lines(&mut &b"[\"\xff\"]"[..], &mut Vec::new(), "x").unwrap_err();
        assert!(error.to_string().contains("not UTF-8"), "{error}");
    }

    #[test]
    fn an_element_that_is_too_long_is_cut() {
        let text = format!("[\"{}\",\"b\"]", "a".repeat(3 * ROW_LIMIT));
        let lines = lines(&text).unwrap();
        let lengths: Vec<usize> = lines.lines().map(str::len).collect();
        assert!(lengths[0] > ROW_LIMIT && lengths[0] < 3 * ROW_LIMIT, "{lengths:?}");
        assert_eq!(lengths[1], 3);
    }
}
