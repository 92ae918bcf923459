//! Exports of other programs, known by their header (`lists/exports.toml`).
//!
//! Owns the table and the look-up. Must not look at rows.

use std::sync::LazyLock;

use serde::Deserialize;

use super::check::Problem;

const PATH: &str = "lists/exports.toml";
const TEXT: &str = include_str!("../../lists/exports.toml");

/// One known form of an export.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// Stable id.
    pub id: Box<str>,
    /// As people call it.
    pub name: Box<str>,
    /// Columns that a file of this form has.
    pub headers: Vec<Box<str>>,
    /// Names of the address column, the best first.
    pub address: Vec<Box<str>>,
    /// Columns that stand in for an empty address.
    #[serde(default)]
    pub fallback: Vec<Box<str>>,
    /// Where this is known from.
    pub source: Box<str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    export: Vec<Export>,
}

static ALL: LazyLock<Vec<Export>> = LazyLock::new(|| parse(TEXT).unwrap_or_default());

fn parse(text: &str) -> Result<Vec<Export>, toml::de::Error> {
    toml::from_str::<RawFile>(text).map(|file| file.export)
}

/// A header that was recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recognised {
    /// The program.
    pub name: &'static str,
    /// Index of the address column.
    pub address: usize,
    /// Columns that stand in for an empty address, in this order.
    pub fallback: Vec<usize>,
}

/// Every known export, in the order in which they are tried.
#[must_use]
pub fn exports() -> &'static [Export] {
    &ALL
}

/// The export that has this header, if one is known.
#[must_use]
pub fn recognise(header: &[String]) -> Option<Recognised> {
    let plain: Vec<String> = header.iter().map(|name| plain(name)).collect();
    let find = |name: &str| plain.iter().position(|other| *other == self::plain(name));
    ALL.iter().find_map(|export| {
        let fits = export.headers.iter().all(|name| find(name).is_some());
        let address = export.address.iter().find_map(|name| find(name)).filter(|_| fits)?;
        Some(Recognised {
            name: &export.name,
            address,
            fallback: export.fallback.iter().filter_map(|name| find(name)).collect(),
        })
    })
}

/// Letters and digits in lower case. Longer than any known name is none.
fn plain(name: &str) -> String {
    let letters = name.chars().filter(|c| c.is_alphanumeric());
    letters.take(60).flat_map(char::to_lowercase).collect()
}

/// What is wrong with the table.
pub(super) fn check() -> Vec<Problem> {
    problems(TEXT)
}

fn problems(text: &str) -> Vec<Problem> {
    let at = |line, message: String| Problem {
        path: PATH,
        line,
        message,
    };
    let all = match parse(text) {
        Ok(all) => all,
        Err(error) => {
            let start = error.span().map_or(0, |span| span.start);
            let line = text.get(..start).unwrap_or_default().lines().count().max(1);
            return vec![at(line, error.message().to_owned())];
        }
    };
    let mut problems = Vec::new();
    for (index, export) in all.iter().enumerate() {
        let id = format!("id = \"{}\"", export.id);
        let line = text.lines().position(|line| line == id).map_or(1, |line| line + 1);
        let mut problem = |message: &str| problems.push(at(line, format!("`{}` {message}", export.id)));
        if all.iter().take(index).any(|other| other.id == export.id) {
            problem("is there twice");
        }
        if export.headers.len() < 2 {
            problem("needs two headers at least: one alone is anybody's");
        }
        if export.address.is_empty() || export.source.trim().is_empty() {
            problem("needs an address and a source");
        }
        let names = || export.headers.iter().chain(&export.address).chain(&export.fallback);
        if names().any(|name| plain(name).is_empty()) {
            problem("has a name without letters");
        }
        let covers = |other: &&Export| {
            let has = |name: &str| export.headers.iter().any(|own| plain(own) == plain(name));
            other.headers.iter().all(|name| has(name))
        };
        if all.iter().take(index).find(covers).is_some() {
            problem("is never reached: an earlier one asks for less");
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    type Expected = Option<(&'static str, usize, &'static [usize])>;

    #[test]
    fn headers_are_recognised() {
        let zero_bounce = "Email Address|First Name|ZB Status|ZB Sub Status|ZB Free Email|ZB Did You Mean";
        let cases: [(&str, Expected); 8] = [
            (zero_bounce, Some(("ZeroBounce results", 0, &[]))),
            (
                "id|e-mail|ZB_STATUS|ZB Sub status",
                Some(("ZeroBounce results", 1, &[])),
            ),
            ("Name|ZB Status|ZB Sub Status", None),
            (
                "email_address|status|sub_status|free_email|did_you_mean",
                Some(("ZeroBounce results (API names)", 0, &[])),
            ),
            (
                "Record ID|First Name|Last Name|Email|Phone Number|Contact owner|Additional email addresses",
                Some(("HubSpot contacts", 3, &[])),
            ),
            (
                "firstname|persoEmail|proEmail|linkedinUrl",
                Some(("La Growth Machine leads", 2, &[1])),
            ),
            ("Record ID|Company name", None),
            ("email|name", None),
        ];
        for (header, expected) in cases {
            let header: Vec<String> = header.split('|').map(str::to_owned).collect();
            let got = recognise(&header);
            let got = got
                .as_ref()
                .map(|known| (known.name, known.address, known.fallback.as_slice()));
            assert_eq!(got, expected, "{header:?}");
        }
    }

    #[test]
    fn the_table_is_in_order_and_broken_ones_are_named_by_line() {
        assert_eq!(problems(TEXT), []);
        let entry = |id: &str, headers: &str| {
            format!(
                "[[export]]\nid = \"{id}\"\nname = \"n\"\nheaders = [{headers}]\naddress = [\"A\"]\nsource = \"s\"\n"
            )
        };
        let cases = [
            (entry("a", "\"x\", \"y\""), vec![]),
            (entry("a", "\"x\""), vec!["lists/exports.toml:2: `a` needs two headers"]),
            (
                entry("a", "\"x\", \"-\""),
                vec!["lists/exports.toml:2: `a` has a name without letters"],
            ),
            (
                entry("a", "\"x\", \"y\"") + &entry("b", "\"z\", \"Y\", \"X\""),
                vec!["lists/exports.toml:8: `b` is never reached"],
            ),
            ("\n\nexport = 1".into(), vec!["lists/exports.toml:3: invalid type"]),
        ];
        for (text, expected) in cases {
            let got: Vec<String> = problems(&text).iter().map(ToString::to_string).collect();
            assert_eq!(got.len(), expected.len(), "{got:?}");
            for (got, expected) in got.iter().zip(expected) {
                assert!(got.starts_with(expected), "{got}");
            }
        }
    }
}
