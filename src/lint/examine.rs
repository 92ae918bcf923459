//! One row, looked at by every rule that needs nothing but the row and what was answered about its address.
//!
//! Pure, so that rows are looked at on any thread. Rows before and after are `check`'s business.

use std::{borrow::Cow, time::SystemTime};

use super::{
    Finding, Place, Policy, Rule, RuleSet,
    answers::{Answer, Answers},
    duplicate::{Key, Keys},
    equivalent,
    policy::directive,
};
use crate::{
    address::{Address, Fault, Rules, SyntaxError},
    input::{Cells, InputFormat, Layout, Row, RowFaultKind},
    job::suggest,
    lists::{self, UserLists},
    output::{clean, is_formula},
    store::StoreError,
    suppress::{Feedback, Lookup},
    verdict::{Label, ListDecision, Reason, Testimony},
};

/// Characters of a column's name in a message.
const NAME: usize = 40;

/// How the rows of one file are looked at.
pub(super) struct Lens<'a> {
    pub(super) file: usize,
    pub(super) layout: &'a Layout,
    pub(super) policy: &'a Policy,
    pub(super) rules: Rules,
    pub(super) user_lists: &'a UserLists,
    /// What was found out about addresses; `None` below the DNS level.
    pub(super) answers: Option<&'a Answers>,
    /// Who is suppressed; `None` if nobody is.
    pub(super) lookup: Option<&'a Lookup>,
    /// Makes the keys of this run.
    pub(super) keys: &'a Keys,
}

/// What is known of a row beside its findings.
#[derive(Debug, Default)]
pub(super) struct Exam {
    /// For finding duplicates; none where there is no address.
    pub(super) key: Option<Key>,
    /// The same for what a provider takes for one mailbox.
    pub(super) equivalent: Option<Key>,
    /// What the list itself says to leave out.
    pub(super) ignored: RuleSet,
    /// Mail to it would bounce hard.
    pub(super) hard: bool,
    /// Nobody could tell.
    pub(super) unknown: bool,
    /// What the list says to leave out cannot be read.
    pub(super) bad_directive: bool,
    /// Where the address is.
    pub(super) column: Option<usize>,
    /// Its findings are so many of the batch's.
    pub(super) findings: usize,
}

/// Looks at a row; findings are added in the order of the rules' codes.
///
/// # Errors
/// The database of suppressions cannot be read.
pub(super) fn examine(lens: &Lens<'_>, row: &Row, found: &mut Vec<Finding>) -> Result<Exam, StoreError> {
    let before = found.len();
    let mut looking = Looking {
        lens,
        row,
        exam: Exam::default(),
        found,
    };
    looking.all()?;
    let mut exam = looking.exam;
    exam.findings = found.len() - before;
    Ok(exam)
}

struct Looking<'a> {
    lens: &'a Lens<'a>,
    row: &'a Row,
    exam: Exam,
    found: &'a mut Vec<Finding>,
}

impl Looking<'_> {
    fn all(&mut self) -> Result<(), StoreError> {
        self.directive();
        if self.fault() {
            return Ok(());
        }
        self.cells();
        let typed = self.row.address();
        match Address::parse(typed, self.lens.rules) {
            Ok(address) => self.address(typed, &address)?,
            Err(error) => self.no_address(typed, &error),
        }
        Ok(())
    }

    fn wants(&self, rule: Rule) -> bool {
        self.lens.policy.active().has(rule) && !self.exam.ignored.has(rule)
    }

    /// Adds a finding of a rule that is wanted.
    fn add(
        &mut self,
        rule: Rule,
        column: Option<usize>,
        message: impl Into<Cow<'static, str>>,
    ) -> Option<&mut Finding> {
        if !self.wants(rule) {
            return None;
        }
        self.found.push(Finding {
            rule,
            severity: self.lens.policy.severity(rule),
            place: Place {
                file: self.lens.file,
                line: self.row.line,
            },
            column,
            subject: self.row.address().into(),
            message: message.into().into(),
            suggestion: None,
            reason: None,
            first: None,
        });
        self.found.last_mut()
    }

    /// Where the address is, `offset` characters into it.
    fn column(&self, offset: usize) -> Option<usize> {
        match (&self.row.cells, self.lens.layout.format) {
            (Cells::Record { .. }, InputFormat::Text) => Some(offset + 1),
            (Cells::Record { address, .. }, _) => Some(address + 1),
            (Cells::Object { .. }, _) => None,
        }
    }

    fn start(&self, typed: &str) -> Option<usize> {
        self.column(typed.chars().take_while(|c| c.is_whitespace()).count())
    }

    /// Only rows of text have a second cell that is no cell of theirs.
    fn directive(&mut self) {
        if self.lens.layout.format != InputFormat::Text {
            return;
        }
        if let Cells::Record { record, .. } = &self.row.cells
            && let Some(said) = record.get(1)
        {
            match directive(said) {
                Ok(ignored) => self.exam.ignored = ignored,
                Err(_) => self.exam.bad_directive = true,
            }
        }
    }

    /// What cannot be read as a row is not looked into.
    fn fault(&mut self) -> bool {
        let Some(fault) = &self.row.fault else {
            return false;
        };
        let missing = fault.message.starts_with("the object has no key");
        let rule = match fault.kind() {
            RowFaultKind::Width => Rule::RaggedRow,
            RowFaultKind::Encoding => Rule::EncodingDamage,
            RowFaultKind::Unreadable if missing => Rule::MissingColumn,
            RowFaultKind::Unreadable => Rule::UnreadableRow,
        };
        let message = format!("{}.", capital(&fault.message));
        self.add(rule, fault.column, message);
        true
    }

    fn cells(&mut self) {
        let Cells::Record { record, .. } = &self.row.cells else {
            return;
        };
        let is_table = self.lens.layout.format != InputFormat::Text;
        if !record.as_slice().is_ascii()
            && let Some(cell) = record.iter().position(is_damaged)
        {
            let column = if is_table { Some(cell + 1) } else { self.column(0) };
            let which = self.cell_name(cell);
            self.add(
                Rule::EncodingDamage,
                column,
                format!("Characters were lost{which} when the text changed its encoding."),
            );
        }
        if is_table
            && self.wants(Rule::FormulaCell)
            && let Some(cell) = record.iter().position(|cell| is_formula(cell.as_bytes()))
        {
            let which = self.cell_name(cell);
            self.add(
                Rule::FormulaCell,
                Some(cell + 1),
                format!("A spreadsheet would run what is{which} as a formula."),
            );
        }
    }

    fn cell_name(&self, cell: usize) -> String {
        match self.lens.layout.columns.get(cell) {
            Some(name) if self.lens.layout.header => format!(" in `{}`", clean(name, NAME)),
            _ => String::new(),
        }
    }

    fn no_address(&mut self, typed: &str, error: &SyntaxError) {
        self.exam.hard = true;
        let rule = if is_unsafe(error.fault) {
            Rule::UnsafeCharacter
        } else if error.fault == Fault::SpecialUse {
            Rule::SpecialUseDomain
        } else if error.fault == Fault::DamagedEncoding {
            // Found already, in whichever cell it is.
            return;
        } else {
            Rule::SyntaxFault
        };
        let column = self.column(error.position);
        let meant = error.suggestion.clone().or_else(|| suggest(typed, self.lens.rules));
        if let Some(finding) = self.add(rule, column, error.fault.sentence()) {
            finding.reason = Some(error.fault.name());
            finding.suggestion = meant;
        }
    }

    fn address(&mut self, typed: &str, address: &Address) -> Result<(), StoreError> {
        self.exam.key = Some(self.lens.keys.of(address));
        self.exam.column = self.start(typed);
        if self.wants(Rule::DuplicateProvider) {
            self.exam.equivalent = Some(equivalent::key(address, self.lens.keys));
        }
        let traits = address.traits();
        if typed != address.mailbox() && !is_normal(typed, address) {
            let start = self.start(typed);
            self.add(Rule::NormalisationNeeded, start, not_normal(typed, address));
        }
        if traits.quoted_local || traits.routing_character {
            let start = self.start(typed);
            let message = if traits.quoted_local {
                "The part before the `@` is quoted."
            } else {
                "The part before the `@` holds a character that mail hosts often refuse."
            };
            self.add(Rule::UnusualLocalPart, start, message);
        }
        self.advice(typed, address);
        match self.lens.user_lists.decide(address) {
            Some(ListDecision::Allow) => {}
            Some(ListDecision::Block) => self.suppressed(typed, "The address is on your block list.", "block_listed"),
            None => {
                if let Some(reason) = self.told(address)? {
                    self.suppressed(typed, reason.sentence(), reason.name());
                } else if let Some(answers) = self.lens.answers {
                    self.answered(typed, answers.about(address));
                }
            }
        }
        Ok(())
    }

    fn suppressed(&mut self, typed: &str, message: &'static str, reason: &'static str) {
        let start = self.start(typed);
        if let Some(finding) = self.add(Rule::Suppressed, start, message) {
            finding.reason = Some(reason);
        }
    }

    /// Why the address is suppressed, if it is.
    fn told(&self, address: &Address) -> Result<Option<Reason>, StoreError> {
        let Some(lookup) = self.lens.lookup else {
            return Ok(None);
        };
        let told = lookup.told(address, Feedback::Ignored, SystemTime::now())?;
        let suppressed = told.filter(|told| matches!(told.what, Testimony::Suppressed(_)));
        Ok(suppressed.map(|told| told.reason()))
    }

    fn advice(&mut self, typed: &str, address: &Address) {
        let hits = lists::look_up(address);
        if hits.did_you_mean.is_none() && !hits.disposable && !hits.role && !hits.free {
            return;
        }
        let start = self.start(typed);
        if let Some(meant) = hits.did_you_mean
            && let Some(finding) = self.add(Rule::TypoDomain, start, "The domain looks mistyped.")
        {
            finding.suggestion = Some(meant);
        }
        if hits.disposable {
            self.add(
                Rule::DisposableDomain,
                start,
                "The domain is that of a throw-away mail service.",
            );
        }
        if hits.role {
            self.add(Rule::RoleAddress, start, "The address names a function, not a person.");
        }
        if hits.free {
            self.add(Rule::FreeProvider, start, "The address is at a free mail provider.");
        }
    }

    fn answered(&mut self, typed: &str, answer: Answer) {
        self.exam.hard |= answer.hard;
        let Some((rule, message)) = rule_of(answer) else {
            return;
        };
        if rule == Rule::Unknown {
            if self.lens.policy.lets_pass(answer.reason) {
                return;
            }
            self.exam.unknown = true;
        }
        let start = self.start(typed);
        if let Some(finding) = self.add(rule, start, message) {
            finding.reason = Some(answer.reason);
        }
    }
}

/// Characters that cut, hide or turn text.
fn is_unsafe(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::LineBreak
            | Fault::Nul
            | Fault::ControlCharacter
            | Fault::BidiControl
            | Fault::InvisibleCharacter
            | Fault::UnsafeCharacter
            | Fault::LeadingCombiningMark
    )
}

/// What an answer is found to be, and in which words.
fn rule_of(answer: Answer) -> Option<(Rule, &'static str)> {
    let rule = match (answer.reason, answer.label) {
        ("no_such_domain", _) => Rule::NoSuchDomain,
        ("null_mx", _) => Rule::NullMx,
        ("no_mail_host", _) => Rule::NoMailHost,
        ("mx_private" | "mx_is_ip" | "mx_unresolvable", _) => Rule::JunkMx,
        ("mailbox_full", _) => Rule::MailboxFull,
        ("block_listed", _) => Rule::Suppressed,
        (reason, _) if reason.starts_with("suppressed_") => Rule::Suppressed,
        // Healthy as far as it was looked at, or decided by the operator.
        ("level_stop" | "allow_listed", _) | (_, Label::Valid) => return None,
        (_, Label::CatchAll) => Rule::CatchAll,
        (_, Label::Invalid) => Rule::MailboxRefused,
        (_, Label::Unknown) => Rule::Unknown,
    };
    Some((rule, answer.sentence()))
}

/// Written as it is sent; a domain may be written in its own letters.
pub(super) fn is_normal(typed: &str, address: &Address) -> bool {
    let traits = address.traits();
    let domain = typed.rsplit_once('@').map_or("", |(_, domain)| domain);
    !traits.cleaned && !traits.mapped && !domain.bytes().any(|b| b.is_ascii_uppercase())
}

fn not_normal(typed: &str, address: &Address) -> &'static str {
    let traits = address.traits();
    if traits.cleaned {
        "There is something around the address that does not belong to it."
    } else if traits.mapped {
        "Letters are not in their normal form (NFC, UTS 46)."
    } else if typed
        .rsplit_once('@')
        .is_some_and(|(_, domain)| domain.bytes().any(|b| b.is_ascii_uppercase()))
    {
        "The domain has upper-case letters."
    } else {
        "The address is not written the way it is sent."
    }
}

/// Lost characters, and UTF-8 that was read as Windows-1252: `Ã¼`, `â€™`.
fn is_damaged(cell: &str) -> bool {
    if cell.is_ascii() {
        return false;
    }
    let mut chars = cell.chars().peekable();
    while let Some(c) = chars.next() {
        let next = chars.peek().copied().unwrap_or(' ');
        match c {
            '\u{FFFD}' => return true,
            // The first byte of two, and a second one; letters follow each other otherwise.
            'Ã' | 'Â'
                if matches!(
                    next,
                    '\u{80}'..='\u{BF}' | 'Œ' | 'œ' | 'Š' | 'š' | 'Ÿ' | 'Ž' | 'ž' | 'ƒ' | '€' | '™'
                ) =>
            {
                return true;
            }
            'â' if next == '€' => return true,
            _ => {}
        }
    }
    false
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    first + chars.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_told_from_letters() {
        for text in ["\u{FFFD}", "MÃ¼ller", "CafÃ©", "Oâ€™Neil", "Â©"] {
            assert!(is_damaged(text), "{text}");
        }
        for text in ["Müller", "SÃO", "Ângela", "crâne", "Ãfrica", "plain"] {
            assert!(!is_damaged(text), "{text}");
        }
    }

    #[test]
    fn answers_become_findings() {
        let of = |label, reason| {
            rule_of(Answer {
                label,
                reason,
                hard: false,
            })
            .map(|(rule, _)| rule)
        };
        for (label, reason, rule) in [
            (Label::Unknown, "level_stop", None),
            (Label::Valid, "mailbox_exists", None),
            (Label::Invalid, "no_such_domain", Some(Rule::NoSuchDomain)),
            (Label::Invalid, "mailbox_disabled", Some(Rule::MailboxRefused)),
            (Label::Unknown, "mx_private", Some(Rule::JunkMx)),
            (Label::CatchAll, "accepts_all", Some(Rule::CatchAll)),
            (Label::Unknown, "mailbox_full", Some(Rule::MailboxFull)),
            (Label::Unknown, "dns_timeout", Some(Rule::Unknown)),
            (Label::Unknown, "no_identity", Some(Rule::Unknown)),
            (Label::Invalid, "block_listed", Some(Rule::Suppressed)),
        ] {
            assert_eq!(of(label, reason), rule, "{reason}");
        }
    }
}
