//! The rules: each with a code and a name that never change, a default severity, and a page.
//!
//! Owns the words. Must not look at rows: that is `examine`.

use std::{fmt, fmt::Write as _};

use serde::{Deserialize, Serialize};

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Mail would bounce, or the row is no row.
    Error,
    /// Worth a look before a mailing.
    Warning,
    /// Good to know.
    Note,
}

impl Severity {
    /// Every severity, worst first.
    pub const ALL: [Self; 3] = [Self::Error, Self::Warning, Self::Note];

    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }

    /// The severity of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.name() == name)
    }
}

/// What a finding of a rule makes of its row; thresholds count rows by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Counts {
    /// `--max-invalid`
    Invalid,
    /// `--max-duplicates`
    Duplicate,
    /// `--max-catch-all`
    CatchAll,
    /// `--max-unknown`
    Unknown,
    /// Nothing.
    Nothing,
}

/// Makes the rules and their texts from one table, so that no rule can lack a page.
macro_rules! rules {
    ($($variant:ident $code:literal $name:literal $severity:ident $on:literal $counts:ident $level:literal
        $summary:literal $why:literal $mend:literal)*) => {
        /// What a row can be found to be.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Rule {
            $(#[doc = $summary] $variant,)*
        }

        impl Rule {
            /// Every rule, by code.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The stable code, `PS` and three digits.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// The stable name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The severity when nobody says.
            #[must_use]
            pub fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity,)* }
            }

            /// Whether the rule is looked at when nobody says.
            #[must_use]
            pub fn is_on(self) -> bool {
                match self { $(Self::$variant => $on,)* }
            }

            /// What a finding makes of its row.
            #[must_use]
            pub fn counts(self) -> Counts {
                match self { $(Self::$variant => Counts::$counts,)* }
            }

            /// From which `--level` on it can be found.
            #[must_use]
            pub fn level(self) -> &'static str {
                match self { $(Self::$variant => $level,)* }
            }

            /// One sentence.
            #[must_use]
            pub fn summary(self) -> &'static str {
                match self { $(Self::$variant => $summary,)* }
            }

            /// Why it matters.
            #[must_use]
            pub fn why(self) -> &'static str {
                match self { $(Self::$variant => $why,)* }
            }

            /// What to do.
            #[must_use]
            pub fn mend(self) -> &'static str {
                match self { $(Self::$variant => $mend,)* }
            }
        }
    };
}

rules! {
    UnreadableRow "PS101" "unreadable-row" Error true Nothing "syntax"
        "The row cannot be taken apart."
        "It is longer than 1 MiB, has a cell over 64 KiB, a quote without its partner, or is no JSON. Whatever imports the list next \
            skips it, or worse, joins it with its neighbours."
        "Mend the row; a quote inside a quoted cell is written twice."
    RaggedRow "PS102" "ragged-row" Error true Nothing "syntax"
        "The row has more or fewer cells than the header."
        "Columns have shifted: what stands in the address column may be another field, and mail would go out with the wrong name."
        "Quote the cell that holds the delimiter, or add the missing cells."
    EncodingDamage "PS103" "encoding-damage" Error true Nothing "syntax"
        "Characters were lost or turned into others when the text changed its encoding."
        "`Ã¼` for `ü` and `\u{FFFD}` are what is left of a file that was read in one encoding and written in another. In an address they \
            make another mailbox, in a name they reach the reader."
        "Export the list again as UTF-8; the damage cannot be undone here."
    MissingColumn "PS104" "missing-column" Error true Nothing "syntax"
        "The file has no column, or the object no key, that holds addresses."
        "Nothing of the file can be checked, so it does not count as checked."
        "Name the column with `--column`, or `column` in `[lint]`."
    FormulaCell "PS105" "formula-cell" Warning true Nothing "syntax"
        "A spreadsheet would run the cell as a formula."
        "Cells that begin with `=`, `+`, `-` or `@` are run when the file is opened (OWASP, CSV injection). Telephone numbers are \
            let through."
        "Remove the cell, or put a `'` in front. `presend verify` does that in what it writes."
    SyntaxFault "PS201" "syntax-fault" Error true Invalid "syntax"
        "The text is no address that mail can go to."
        "RFC 5321 and the DNS do not know such an address; a mailing bounces at once, at the sender's own server."
        "Mend or drop it; where it is plain what was meant, the finding says so."
    UnsafeCharacter "PS202" "unsafe-character" Error true Invalid "syntax"
        "There is a control, invisible or direction-changing character in the address."
        "Such characters forge commands, logs and what people see (CVE-2021-42574)."
        "Type the address anew."
    SpecialUseDomain "PS203" "special-use-domain" Error true Invalid "syntax"
        "The domain is reserved and never reaches the public internet."
        "`example.com`, `.test`, `.invalid` and their like (RFC 6761) are for documents and tests."
        "Drop it; in lists of fixtures, `--allow-special-use` or an override for the file lets it pass."
    NormalisationNeeded "PS204" "normalisation-needed" Warning true Nothing "syntax"
        "The address is not written the way it is sent."
        "White space, `mailto:`, brackets, upper case in the domain or decomposed letters make two of one contact in programs that \
            compare text."
        "`presend lint --fix` writes the normal form."
    UnusualLocalPart "PS205" "unusual-local-part" Warning true Nothing "syntax"
        "The part before the `@` is quoted or holds characters that mail hosts often refuse."
        "The form is legal and rare; most such rows are typing errors, and many programs refuse them."
        "Ask the contact, or ignore the row."
    Duplicate "PS301" "duplicate" Warning true Duplicate "syntax"
        "The address stands in an earlier row in the same form."
        "The contact gets everything twice, and counts twice."
        "Keep one of the rows; `presend lint --fix` drops rows that are equal in every cell."
    DuplicateCase "PS302" "duplicate-case" Warning true Duplicate "syntax"
        "The address stands in an earlier row, in other upper and lower case."
        "No large mail host tells them apart, so the contact gets everything twice."
        "Keep one of the rows."
    DuplicateProvider "PS303" "duplicate-provider" Warning false Duplicate "syntax"
        "The provider delivers the address to the same mailbox as an earlier row's."
        "Gmail ignores dots, most providers a `+tag`; people use them to sort their mail."
        "Decide which one the contact gave you; off unless it is selected."
    TypoDomain "PS401" "typo-domain" Warning true Nothing "syntax"
        "The domain is one slip away from that of a large provider, or ends in a name that is no top-level domain."
        "Such domains exist, and often belong to people who collect the mail."
        "Ask the contact; `presend lint --fix-suggested` takes the suggestion."
    DisposableDomain "PS402" "disposable" Warning true Nothing "syntax"
        "The domain is that of a throw-away mail service."
        "The mailbox is gone in an hour, and the next mailing bounces."
        "Drop it, or ask for another address."
    RoleAddress "PS403" "role" Warning true Nothing "syntax"
        "The address names a function, not a person."
        "Nobody in particular asked for the mail; such addresses are often spam traps and complain more."
        "Leave it out of mailings to people; in lists of companies ignore the rule."
    FreeProvider "PS404" "free" Note false Nothing "syntax"
        "The address is at a free mail provider."
        "For lists that should hold company addresses."
        "Off unless it is selected."
    NoSuchDomain "PS501" "no-such-domain" Error true Invalid "dns"
        "The domain does not exist."
        "Every mail to it bounces hard."
        "Drop it; the typing error may be in the suggestion."
    NullMx "PS502" "null-mx" Error true Invalid "dns"
        "The domain says that it takes no mail (RFC 7505)."
        "Every mail to it bounces hard."
        "Drop it."
    NoMailHost "PS503" "no-mail-host" Error true Invalid "dns"
        "The domain exists and has no host for mail."
        "Every mail to it bounces hard."
        "Drop it."
    JunkMx "PS504" "junk-mx" Warning true Nothing "dns"
        "The domain's MX records lead nowhere: to private addresses, to an IP address for a name, or to names without an address."
        "Mail waits for days and then bounces."
        "Hold it back; the owner of the domain must mend the DNS."
    MailboxRefused "PS601" "mailbox-refused" Error true Invalid "smtp"
        "The mail host says that there is no such mailbox, or that it is closed."
        "Mail to it bounces hard, which providers count against the sender."
        "Drop it."
    CatchAll "PS602" "catch-all" Warning true CatchAll "smtp"
        "The mail host takes mail for every name at this domain, so nobody knows whether the mailbox exists."
        "Some bounce later, some are read by nobody."
        "Send to contacts you know, in small numbers."
    MailboxFull "PS603" "mailbox-full" Warning true Nothing "smtp"
        "The mailbox exists and is full."
        "It is often one that nobody reads any more."
        "Hold it back and ask again in a few days."
    Suppressed "PS604" "suppressed" Error true Invalid "syntax"
        "The address must not be mailed: it is on your block list or among the suppressed ones."
        "It bounced, complained or asked not to be mailed."
        "Drop it."
    Unknown "PS605" "unknown" Warning true Unknown "dns"
        "Nobody could tell; the reason is one of `presend reasons`."
        "Too many of them say more about the run than about the list, which is why it ends with 3 then."
        "Run again later; `--ignore unknown/REASON` lets one reason pass."
}

impl Rule {
    /// The rule of this name or code.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let same = |rule: &&Self| rule.name() == name || rule.code().eq_ignore_ascii_case(name);
        Self::ALL.iter().find(same).copied()
    }

    /// The rules of a code's beginning, a code, a name, or `all`; none for any other word.
    #[must_use]
    pub fn matching(word: &str) -> Vec<Self> {
        if word == "all" {
            return Self::ALL.to_vec();
        }
        if let Some(rule) = Self::named(word) {
            return vec![rule];
        }
        let group = |rule: &Self| {
            let start = rule.code().get(..word.len());
            word.len() == 3 && start.is_some_and(|start| start.eq_ignore_ascii_case(word))
        };
        Self::ALL.iter().copied().filter(group).collect()
    }

    /// Its page.
    #[must_use]
    pub fn page(self) -> String {
        let mut page = format!("## {} `{}`\n\n{}\n\n", self.code(), self.name(), self.summary());
        let _ = write!(page, "{}\n\n**Do:** {}\n\n", self.why(), self.mend());
        let severity = if self.is_on() {
            format!("`{}`", self.severity().name())
        } else {
            format!("off (`{}` when it is selected)", self.severity().name())
        };
        let _ = writeln!(page, "Severity: {severity}. From `--level {}` on.", self.level());
        page
    }

    /// Where its page is, for reports that link to it.
    #[must_use]
    pub fn address_of_page(self) -> String {
        let anchor = format!("{}-{}", self.code().to_ascii_lowercase(), self.name());
        format!("docs/rules.md#{anchor}")
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code(), self.name())
    }
}

/// The whole of `docs/rules.md`.
#[must_use]
pub fn pages() -> String {
    let mut text = String::from(
        "# The rules of `presend lint`\n\nMade by `presend lint --rules --markdown`; a test compares. Codes and names never change their \
         meaning.\nA rule is named by its name (`role`), its code (`PS403`) or the code of its group (`PS4`).\n\n\
         | code | name | severity | level | |\n|---|---|---|---|---|\n",
    );
    for rule in Rule::ALL {
        let severity = if rule.is_on() { rule.severity().name() } else { "off" };
        let (code, name, level, summary) = (rule.code(), rule.name(), rule.level(), rule.summary());
        let anchor = format!("{}-{name}", code.to_ascii_lowercase());
        let _ = writeln!(
            text,
            "| [{code}](#{anchor}) | `{name}` | {severity} | {level} | {summary} |"
        );
    }
    for rule in Rule::ALL {
        text.push('\n');
        text.push_str(&rule.page());
    }
    text
}

/// Some of the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RuleSet(u64);

impl RuleSet {
    /// All of them.
    pub const ALL: Self = Self(u64::MAX);

    /// Adds a rule.
    pub fn add(&mut self, rule: Rule) {
        self.0 |= 1 << rule as u8;
    }

    /// Takes a rule out.
    pub fn remove(&mut self, rule: Rule) {
        self.0 &= !(1 << rule as u8);
    }

    /// Whether the rule is in it.
    #[must_use]
    pub fn has(self, rule: Rule) -> bool {
        self.0 >> rule as u8 & 1 == 1
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What is in both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in either.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl FromIterator<Rule> for RuleSet {
    fn from_iter<I: IntoIterator<Item = Rule>>(rules: I) -> Self {
        let mut set = Self::default();
        rules.into_iter().for_each(|rule| set.add(rule));
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_and_names_are_stable_words_of_their_own() {
        let mut seen = HashSet::new();
        let mut before = "";
        for rule in Rule::ALL {
            let (code, name) = (rule.code(), rule.name());
            assert!(seen.insert(code) && seen.insert(name), "{rule} is used twice");
            assert!(code.len() == 5 && code.starts_with("PS") && code > before, "{code}");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{name}");
            for text in [rule.summary(), rule.why(), rule.mend()] {
                assert!(text.ends_with('.') && !text.contains("  "), "{rule}: {text}");
            }
            before = code;
        }
        assert!(Rule::ALL.len() <= 64, "a set has 64 bits");
    }

    #[test]
    fn rules_are_named_by_name_code_and_group() {
        assert_eq!(Rule::matching("role"), [Rule::RoleAddress]);
        assert_eq!(Rule::matching("ps403"), [Rule::RoleAddress]);
        assert_eq!(
            Rule::matching("PS3"),
            [Rule::Duplicate, Rule::DuplicateCase, Rule::DuplicateProvider]
        );
        assert_eq!(Rule::matching("all").len(), Rule::ALL.len());
        for word in ["", "PS", "PS9", "roles", "PS4033"] {
            assert!(Rule::matching(word).is_empty(), "{word}");
        }
    }

    #[test]
    fn sets_hold_what_was_added() {
        let mut set: RuleSet = [Rule::Unknown, Rule::UnreadableRow].into_iter().collect();
        assert!(set.has(Rule::Unknown) && set.has(Rule::UnreadableRow) && !set.has(Rule::NullMx));
        set.remove(Rule::Unknown);
        assert!(!set.has(Rule::Unknown) && !set.is_empty());
        assert_eq!(set.and(RuleSet::ALL), set);
    }
}
