//! What a caller may say of a list, in the query or in fields of a form, and no more than that.

use axum::http::Uri;
use serde::{Deserialize, Serialize};
use url::form_urlencoded;

use super::super::{
    problem::{Code, Problem},
    webhook,
};
use crate::{
    input::InputOptions,
    job::Level,
    output::Only,
    verdict::{Action, Label},
};

/// Characters of a text.
const LONGEST: usize = 200;
/// Oldest answer that can be asked for, in seconds: a year.
const OLDEST: u64 = 31_536_000;
/// Results of one page.
const MOST_RESULTS: usize = 1_000;
/// The last number that every reader of JSON can count to.
const LAST: i64 = 9_007_199_254_740_991;
/// Jobs of one page.
const MOST_JOBS: usize = 100;

/// The parameters of a request's address: known ones, each once.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn of(uri: &Uri, known: &[&str]) -> Result<Self, Problem> {
        let mut found: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
            if !known.contains(&&*name) {
                let said = format!("The parameter `{name}` is not known; there are {}.", quoted(known));
                return Err(Problem::new(Code::InvalidQuery, said));
            }
            if found.iter().any(|(other, _)| *other == name) {
                return Err(Problem::new(
                    Code::InvalidQuery,
                    format!("The parameter `{name}` is there twice."),
                ));
            }
            if value.contains('\u{fffd}') {
                return Err(Problem::new(
                    Code::InvalidQuery,
                    format!("The parameter `{name}` is not UTF-8."),
                ));
            }
            found.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(found))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name)?;
        Some(&found.1)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    fn number(&self, name: &str, (least, most): (usize, usize), usual: usize) -> Result<usize, Problem> {
        let Some(text) = self.get(name) else { return Ok(usual) };
        let number = text.parse().ok().filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| wrong(name, &format!("a number from {least} to {most}")))
    }
}

fn quoted(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

fn wrong(name: &str, wanted: &str) -> Problem {
    Problem::new(Code::InvalidQuery, format!("The parameter `{name}` takes {wanted}."))
}

/// How a list is asked about; kept with the job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct How {
    pub(super) level: Option<Level>,
    /// Seconds.
    pub(super) max_age: Option<u64>,
}

/// Everything that can be said of a list.
#[derive(Debug, Default)]
pub(super) struct Options {
    pub(super) input: InputOptions,
    pub(super) name: Option<String>,
    pub(super) how: How,
    /// Where to tell what happens to the list.
    pub(super) webhook: Option<String>,
}

impl Options {
    /// Names of options.
    pub(super) const NAMES: &[&str] = &["column", "sheet", "header", "name", "level", "max_age", "webhook"];

    /// Takes an option; where it stood is the caller's to say.
    pub(super) fn set(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        let longest = if name == "webhook" {
            webhook::LONGEST_URL
        } else {
            LONGEST
        };
        if value.chars().count() > longest || value.chars().any(char::is_control) {
            return Err(wrong(
                name,
                &format!("at most {longest} characters, none of them a control character"),
            ));
        }
        let text = (!value.is_empty()).then(|| value.to_owned());
        match name {
            "column" => self.input.column = text,
            "sheet" => self.input.sheet = text,
            "name" => self.name = text,
            // An empty one is no URL: who asked to be told is not left waiting.
            "webhook" => self.webhook = Some(value.to_owned()),
            "header" => {
                let header = value.parse().map_err(|_| wrong(name, "`true` or `false`"))?;
                self.input.header = Some(header);
            }
            "level" => {
                let levels = [Level::Syntax, Level::Dns, Level::Smtp];
                let level = levels.into_iter().find(|level| level.name() == value);
                self.how.level = Some(level.ok_or_else(|| wrong(name, "`syntax`, `dns` or `smtp`"))?);
            }
            "max_age" => {
                let age = value.parse().ok().filter(|age| *age <= OLDEST);
                self.how.max_age = Some(age.ok_or_else(|| wrong(name, &format!("seconds from 0 to {OLDEST}")))?);
            }
            _ => {
                let said = format!("The option `{name}` is not known; there are {}.", quoted(Self::NAMES));
                return Err(Problem::new(Code::InvalidQuery, said));
            }
        }
        Ok(())
    }
}

/// A part of the list of jobs.
#[derive(Debug)]
pub(super) struct JobsPage {
    pub(super) before: Option<i64>,
    pub(super) limit: usize,
}

impl JobsPage {
    pub(super) fn of(uri: &Uri) -> Result<Self, Problem> {
        let query = Query::of(uri, &["cursor", "limit"])?;
        let number = |text: &str| text.parse().ok().filter(|number| (1..=LAST).contains(number));
        let before = query
            .get("cursor")
            .map(|text| number(text).ok_or_else(|| wrong("cursor", CURSOR)));
        Ok(Self {
            before: before.transpose()?,
            limit: query.number("limit", (1, MOST_JOBS), 20)?,
        })
    }
}

const CURSOR: &str = "the `next` of an earlier page";

/// A part of the results, and which of them.
#[derive(Debug)]
pub(super) struct ResultsPage {
    /// The first row, from 0.
    pub(super) from: usize,
    pub(super) limit: usize,
    pub(super) label: Option<Label>,
    pub(super) action: Option<Action>,
    /// A size was asked for.
    pub(super) has_limit: bool,
}

impl ResultsPage {
    pub(super) fn of(uri: &Uri) -> Result<Self, Problem> {
        let query = Query::of(uri, &["label", "action", "cursor", "limit"])?;
        // A row's number within a list fits into 32 bits.
        let from = query
            .get("cursor")
            .map(|text| text.parse::<u32>().map_err(|_| wrong("cursor", CURSOR)));
        let from = from.transpose()?.unwrap_or_default() as usize;
        let only = |name: &str| query.get(name).map(|text| (text.parse::<Only>().ok(), text));
        let label = match only("label") {
            None => None,
            Some((Some(Only::Label(label)), _)) => Some(label),
            Some(_) => return Err(wrong("label", "`valid`, `invalid`, `catch-all` or `unknown`")),
        };
        let action = match only("action") {
            None => None,
            Some((Some(Only::Action(action)), _)) => Some(action),
            Some(_) => return Err(wrong("action", "`send`, `hold` or `drop`")),
        };
        Ok(Self {
            from,
            limit: query.number("limit", (1, MOST_RESULTS), 100)?,
            label,
            action,
            has_limit: query.get("limit").is_some(),
        })
    }

    /// All rows.
    pub(super) fn all() -> Self {
        Self {
            from: 0,
            limit: MOST_RESULTS,
            label: None,
            action: None,
            has_limit: false,
        }
    }

    pub(super) fn wants(&self, label: Label, action: Action) -> bool {
        self.label.is_none_or(|wanted| wanted == label) && self.action.is_none_or(|wanted| wanted == action)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_parameters_are_taken_and_each_once() {
        let parse = |text: &str| ResultsPage::of(&text.parse().unwrap()).map_err(|problem| problem.detail);
        let page = parse("/x?cursor=7&limit=2&label=catch-all&action=hold").unwrap();
        assert_eq!((page.from, page.limit, page.has_limit), (7, 2, true));
        assert!(page.wants(Label::CatchAll, Action::Hold) && !page.wants(Label::Valid, Action::Hold));
        assert_eq!(
            parse("/x").map(|page| (page.from, page.limit, page.has_limit)),
            Ok((0, 100, false))
        );
        for (text, says) in [
            ("/x?limit=0", "`limit` takes a number from 1 to 1000"),
            ("/x?limit=1001", "`limit`"),
            ("/x?limit=1&limit=1", "twice"),
            ("/x?cursor=-1", "`cursor`"),
            ("/x?cursor=99999999999", "`cursor`"),
            ("/x?label=send", "`label`"),
            ("/x?action=valid", "`action`"),
            ("/x?fields=all", "`fields` is not known"),
            ("/x?label=%ff", "not UTF-8"),
        ] {
            let said = parse(text).unwrap_err();
            assert!(said.contains(says), "{text}: {said}");
        }
    }

    #[test]
    fn options_are_read_or_refused_by_name() {
        let mut options = Options::default();
        for (name, value) in [
            ("column", "E-mail"),
            ("level", "dns"),
            ("max_age", "60"),
            ("header", "false"),
            ("name", "x"),
        ] {
            options.set(name, value).unwrap();
        }
        let how = How {
            level: Some(Level::Dns),
            max_age: Some(60),
        };
        assert_eq!((options.how, options.input.header), (how, Some(false)));
        for (name, value) in [
            ("level", "all"),
            ("max_age", "-1"),
            ("max_age", "31536001"),
            ("header", "yes"),
            ("name", "a\r\nb"),
            ("helo_name", "x"),
        ] {
            let problem = Options::default().set(name, value).unwrap_err();
            assert!(
                problem.code == Code::InvalidQuery && problem.detail.contains(name),
                "{name}"
            );
        }
        assert!(Options::default().set("column", &"x".repeat(201)).is_err());
    }
}
