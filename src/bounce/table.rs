//! Events as rows: an export whose columns are named by the operator, or known by their usual names.
//!
//! Must not guess what a value means beyond the words listed here: a row that says something else is named and left out.

use std::{collections::BTreeMap, fmt, str::FromStr};

use super::{
    event::{Event, EventKind, Origin},
    report::{self, Diagnosed, diagnose},
    service, when,
};
use crate::replies::{Class, Persistence};

/// What a column can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// Whose event it is.
    Recipient,
    /// What happened, in a word.
    Event,
    /// When.
    Date,
    /// The status code of RFC 3463.
    Status,
    /// What the host said.
    Reply,
    /// The reply code, when it has a column of its own.
    Code,
    /// Why, in a word: one of presend's classes, or a category of another system.
    Class,
    /// The host that said it.
    Mta,
    /// The `Message-ID`.
    MessageId,
    /// The list or campaign.
    List,
    /// The event's own name.
    Id,
}

/// Each field, its name in `--map`, and what columns are usually called, without marks and in lower case.
const FIELDS: [(Field, &str, &[&str]); 11] = [
    (
        Field::Recipient,
        "recipient",
        &[
            "recipient",
            "email",
            "emailaddress",
            "address",
            "rcpt",
            "rcptto",
            "recipientaddress",
            "recipientemail",
            "finalrecipient",
            "to",
            "subscriber",
            "contact",
            "contactemail",
            "mail",
        ],
    ),
    (
        Field::Event,
        "event",
        &[
            "event",
            "eventtype",
            "bouncetype",
            "type",
            "kind",
            "eventname",
            "action",
            "dsnaction",
            "activity",
            "recordtype",
        ],
    ),
    (
        Field::Date,
        "date",
        &[
            "date",
            "time",
            "timestamp",
            "eventtime",
            "eventdate",
            "bouncedat",
            "bouncedate",
            "bouncetime",
            "createdat",
            "created",
            "datetime",
            "occurredat",
            "occurred",
            "timelogged",
            "loggedat",
            "processedat",
            "lastbounce",
            "lastbounced",
            "datebounced",
            "when",
        ],
    ),
    (
        Field::Status,
        "status",
        &[
            "status",
            "dsnstatus",
            "dsn",
            "enhancedcode",
            "enhancedstatus",
            "enhancedstatuscode",
            "statuscode",
            "errorcodeenhanced",
        ],
    ),
    (
        Field::Reply,
        "reply",
        &[
            "reply",
            "reason",
            "diagnostic",
            "diagnosticcode",
            "dsndiag",
            "smtpresponse",
            "response",
            "error",
            "errormessage",
            "bouncereason",
            "bouncemessage",
            "message",
            "details",
            "description",
            "smtpreply",
            "diagnosticmessage",
            "failurereason",
        ],
    ),
    (
        Field::Code,
        "code",
        &["code", "smtpcode", "replycode", "errorcode", "bouncecode"],
    ),
    (
        Field::Class,
        "class",
        &[
            "class",
            "category",
            "bouncecategory",
            "bouncecat",
            "bounceclass",
            "classification",
            "bounceclassification",
            "subtype",
            "bouncesubtype",
        ],
    ),
    (
        Field::Mta,
        "mta",
        &[
            "mta",
            "remotemta",
            "mx",
            "mxhost",
            "dsnmta",
            "host",
            "remotehost",
            "destinationhost",
        ],
    ),
    (
        Field::MessageId,
        "message_id",
        &[
            "messageid",
            "msgid",
            "smtpid",
            "headermessageid",
            "headermessageid",
            "emailid",
        ],
    ),
    (
        Field::List,
        "list",
        &[
            "list",
            "listid",
            "listname",
            "campaign",
            "campaignid",
            "campaignname",
            "mailing",
            "tenant",
            "jobid",
            "vmta",
            "stream",
            "tag",
        ],
    ),
    (
        Field::Id,
        "id",
        &["id", "eventid", "bounceid", "uuid", "sgeventid", "feedbackid"],
    ),
];

/// `--map recipient=Email,date=When`: which column holds what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mapping(BTreeMap<Field, String>);

/// A mapping that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// Not `FIELD=COLUMN`.
    #[error("`{0}` is not FIELD=COLUMN")]
    Form(String),
    /// No field has this name.
    #[error(
        "no field is called `{0}`; there are `recipient`, `event`, `date`, `status`, `reply`, `code`, `class`, `mta`, `message_id`, `list`, `id`"
    )]
    Field(String),
    /// One field is named twice.
    #[error("`{0}` is named twice")]
    Twice(String),
}

impl FromStr for Mapping {
    type Err = MappingError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut mapping = BTreeMap::new();
        for pair in text.split(',').filter(|pair| !pair.trim().is_empty()) {
            let (name, column) = pair
                .split_once('=')
                .ok_or_else(|| MappingError::Form(pair.to_owned()))?;
            let name = name.trim().to_ascii_lowercase();
            let known = FIELDS.iter().find(|(_, known, _)| *known == name);
            let (field, ..) = known.ok_or_else(|| MappingError::Field(name.clone()))?;
            if mapping.insert(*field, column.trim().to_owned()).is_some() {
                return Err(MappingError::Twice(name));
            }
        }
        Ok(Self(mapping))
    }
}

impl Mapping {
    /// The column of the recipient, when the operator names it.
    #[must_use]
    pub fn recipient(&self) -> Option<&str> {
        self.0.get(&Field::Recipient).map(String::as_str)
    }
}

/// Where each field stands among the columns of one file.
#[derive(Debug, Clone, Default)]
pub struct Columns(BTreeMap<Field, usize>);

/// Columns that make no events.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ColumnsError {
    /// A column of `--map` is not there.
    #[error("there is no column `{0}`; there are {1}")]
    Missing(String, String),
    /// A field that every event needs has no column.
    #[error("no column is known to hold the {0}; name it with `--map {0}=COLUMN`, of {1}")]
    Unknown(&'static str, String),
}

impl Columns {
    /// The columns of a file with these names, as the operator maps them, else by their usual names.
    ///
    /// # Errors
    /// A named column is missing, or none is known to hold the recipient or the date.
    pub fn find(names: &[String], mapping: &Mapping) -> Result<Self, ColumnsError> {
        let all = || {
            let shown: Vec<String> = names
                .iter()
                .take(40)
                .map(|name| format!("`{}`", report::clean(name, 60)))
                .collect();
            shown.join(", ")
        };
        let mut columns = BTreeMap::new();
        for (field, column) in &mapping.0 {
            let exact = names.iter().position(|name| name.trim() == column);
            let place = exact.or_else(|| names.iter().position(|name| plain(name) == plain(column)));
            let place = place.ok_or_else(|| ColumnsError::Missing(report::clean(column, 60).into(), all()))?;
            columns.insert(*field, place);
        }
        for (field, _, usual) in &FIELDS {
            if columns.contains_key(field) {
                continue;
            }
            let place = usual
                .iter()
                .find_map(|usual| names.iter().position(|name| plain(name) == *usual))
                .filter(|place| !columns.values().any(|taken| taken == place));
            if let Some(place) = place {
                columns.insert(*field, place);
            }
        }
        for (field, name) in [(Field::Recipient, "recipient"), (Field::Date, "date")] {
            if !columns.contains_key(&field) {
                return Err(ColumnsError::Unknown(name, all()));
            }
        }
        Ok(Self(columns))
    }

    /// Whether the columns tell of anything but an address and a date.
    #[must_use]
    pub fn tell_something(&self) -> bool {
        [Field::Event, Field::Status, Field::Reply, Field::Code, Field::Class]
            .iter()
            .any(|field| self.0.contains_key(field))
    }

    /// The event of one row; `None` when it tells nothing about delivery.
    ///
    /// # Errors
    /// What is wrong with the row.
    pub fn event<'r>(&self, cell: impl Fn(usize) -> Option<&'r str>) -> Result<Option<Event>, String> {
        let get = |field| {
            let text = cell(*self.0.get(&field)?)?.trim();
            (!text.is_empty()).then_some(text)
        };
        // Some exports say what happened where others have a status code.
        let said = || {
            get(Field::Status)
                .filter(|text| !text.starts_with(|c: char| c.is_ascii_digit()) && Happened::read(text).is_some())
        };
        let word = get(Field::Event).or_else(said).unwrap_or_default();
        let happened =
            Happened::read(word).ok_or_else(|| format!("`{}` is no known event", report::clean(word, 40)))?;
        if happened == Happened::Nothing {
            return Ok(None);
        }
        let recipient = get(Field::Recipient).ok_or("the recipient is missing")?;
        let recipient = report::mailbox(recipient).ok_or("the recipient is no address")?;
        let at = when::parse(get(Field::Date).ok_or("the date is missing")?).ok_or("the date cannot be read")?;
        let diagnosed = diagnosed(&get);
        let class = get(Field::Class).and_then(named_class);
        let kind = happened.kind(&diagnosed, class);
        let text = |field, limit| get(field).map(|text: &str| report::clean(text.trim_matches(['<', '>']), limit));
        Ok(Some(Event {
            recipient,
            kind,
            at,
            status: diagnosed.status,
            reply: diagnosed.reply,
            remote_mta: diagnosed.remote,
            message_id: text(Field::MessageId, 250),
            list: text(Field::List, 200),
            origin: Origin::Table,
            foreign_id: text(Field::Id, 250),
        }))
    }
}

/// What the host said, out of every column that may tell.
fn diagnosed<'r>(get: &impl Fn(Field) -> Option<&'r str>) -> Diagnosed {
    let reply = get(Field::Reply).unwrap_or_default();
    let mut status = get(Field::Status);
    let mut said = reply.to_owned();
    // A reply code may stand in a column of its own, or where a status is expected.
    let is_code =
        |text: &&str| text.len() == 3 && text.starts_with(['4', '5']) && text.bytes().all(|byte| byte.is_ascii_digit());
    let code = get(Field::Code)
        .filter(is_code)
        .or_else(|| status.take_if(|text| is_code(text)));
    if let Some(code) = code
        && diagnose(reply, None, None).code().is_none()
    {
        said = format!("{code} {reply}");
    }
    let code = get(Field::Code).filter(|text| text.contains('.'));
    let mta = get(Field::Mta).map(|host| host.split([' ', '(', '[']).next().unwrap_or(host));
    diagnose(&said, status.or(code), mta)
}

/// Letters and digits in lower case.
fn plain(name: &str) -> String {
    name.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

/// What a word says that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Happened {
    Delivered,
    /// Bounced; for good or not, when the word says.
    Bounced(Option<bool>),
    Deferred,
    Complained,
    Unsubscribed,
    /// Nothing about delivery.
    Nothing,
}

impl Happened {
    fn read(word: &str) -> Option<Self> {
        let word = plain(word);
        Some(match word.as_str() {
            "" | "bounce" | "bounced" | "failed" | "fail" | "failure" | "undeliverable" | "undelivered" | "b"
            | "rb" | "f" | "rejected" | "error" | "blocked" | "block" | "undetermined" => Self::Bounced(None),
            "hard" | "hardbounce" | "hardbounced" | "permanent" | "permanentbounce" | "permanentfailure"
            | "invalid" | "badmailbox" => Self::Bounced(Some(true)),
            "soft" | "softbounce" | "softbounced" | "temporarybounce" | "transientbounce" => Self::Bounced(Some(false)),
            "delivered" | "delivery" | "deliver" | "relayed" | "relay" | "d" | "success" | "accepted" | "ok" => {
                Self::Delivered
            }
            "deferred" | "deferral" | "delayed" | "delay" | "transient" | "temporary" | "tempfail"
            | "temporaryfailure" | "t" | "retry" | "deliverydelay" => Self::Deferred,
            "complaint" | "complained" | "spam" | "spamreport" | "spamcomplaint" | "abuse" | "fbl" | "feedback"
            | "markedasspam" => Self::Complained,
            "unsubscribe" | "unsubscribed" | "optout" | "optedout" | "groupunsubscribe" | "listunsubscribe" => {
                Self::Unsubscribed
            }
            "open" | "opened" | "click" | "clicked" | "sent" | "send" | "processed" | "queued" | "injected"
            | "received" | "reception" | "dropped" | "drop" | "rendered" | "printed" | "statuschange"
            | "groupresubscribe" | "subscribe" | "subscribed" | "autoresponder" | "autoreply" | "vacation"
            | "challenge" => Self::Nothing,
            _ => return None,
        })
    }

    fn kind(self, diagnosed: &Diagnosed, named: Option<Class>) -> EventKind {
        let class = match named {
            Some(named) if diagnosed.is_vague() => named,
            _ => diagnosed.class,
        };
        match self {
            Self::Delivered if diagnosed.status.is_none_or(|status| status.class == 2) => EventKind::Delivered,
            Self::Deferred => EventKind::Deferred { class },
            Self::Complained => EventKind::Complained,
            Self::Unsubscribed => EventKind::Unsubscribed,
            Self::Bounced(None)
                if diagnosed.status.is_some_and(|status| status.class == 2) && diagnosed.code().is_none() =>
            {
                EventKind::Delivered
            }
            Self::Bounced(told) => {
                let hard = told == Some(true);
                let class = if hard && class == Class::Unknown {
                    Class::UserUnknown
                } else {
                    class
                };
                let persistence = match told {
                    _ if diagnosed.has_code() => diagnosed.persistence,
                    Some(true) => Persistence::Permanent,
                    Some(false) => Persistence::Transient,
                    None => diagnosed.persistence,
                };
                EventKind::Bounced { class, persistence }
            }
            Self::Delivered | Self::Nothing => EventKind::Bounced {
                class,
                persistence: diagnosed.persistence,
            },
        }
    }
}

/// A class by presend's name, or by a name of HubSpot's, PowerMTA's, KumoMTA's or Sisimai's.
fn named_class(name: &str) -> Option<Class> {
    let wanted = plain(name);
    let same = |known: &str| !known.is_empty() && plain(known) == wanted;
    let all = || Class::ALL.iter().copied();
    all()
        .find(|class| same(class.name()))
        .or_else(|| service::hubspot_class(name))
        .or_else(|| all().find(|class| same(class.mailpro()) || same(class.kumomta()) || same(class.sisimai())))
}

impl fmt::Display for Mapping {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |field: &Field| {
            FIELDS
                .iter()
                .find(|(known, ..)| known == field)
                .map_or("", |(_, name, _)| name)
        };
        let pairs: Vec<String> = self
            .0
            .iter()
            .map(|(field, column)| format!("{}={column}", named(field)))
            .collect();
        formatter.write_str(&pairs.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: &str, mapping: &str, row: &str) -> Result<Option<Event>, String> {
        let names: Vec<String> = header.split('|').map(str::to_owned).collect();
        let columns = Columns::find(&names, &mapping.parse().unwrap()).map_err(|error| error.to_string())?;
        let cells: Vec<&str> = row.split('|').collect();
        columns.event(|index| cells.get(index).copied())
    }

    #[test]
    fn rows_are_read_by_usual_and_by_named_columns() {
        let bounced = |class, persistence| EventKind::Bounced { class, persistence };
        for (header, mapping, row, expected) in [
            (
                "Email|Bounced At|Reason|Status",
                "",
                "jane@example.com|2026-11-22T10:00:00Z|550 5.1.1 No such user|5.1.1",
                bounced(Class::UserUnknown, Persistence::Permanent),
            ),
            (
                "Kunde|Wann|Was",
                "recipient=Kunde,date=wann,event=Was",
                "jane@example.com|22.11.2026|hard",
                bounced(Class::UserUnknown, Persistence::Permanent),
            ),
            (
                "type|timeLogged|rcpt|dsnStatus|dsnDiag|bounceCat",
                "",
                "b|2026-11-22 10:00:00+0100|jane@example.com|4.2.2 (over quota)|smtp;452 4.2.2 mailbox full|quota-issues",
                bounced(Class::MailboxFull, Persistence::Transient),
            ),
            (
                "email|date|event",
                "",
                "jane@example.com|1795341600|delivered",
                EventKind::Delivered,
            ),
            (
                "email|date|category",
                "",
                "jane@example.com|1795341600|UNKNOWN_USER",
                bounced(Class::UserUnknown, Persistence::Permanent),
            ),
            (
                "email|date|code|error",
                "",
                "jane@example.com|1795341600|552|mailbox is full",
                bounced(Class::MailboxFull, Persistence::Permanent),
            ),
        ] {
            let event = read(header, mapping, row).unwrap().unwrap();
            assert_eq!((&*event.recipient, event.kind), ("jane@example.com", expected), "{row}");
        }
        assert_eq!(
            read("email|date|event", "", "jane@example.com|1795341600|open"),
            Ok(None)
        );
    }

    #[test]
    fn rows_and_columns_that_cannot_be_used_say_why() {
        for (header, mapping, row, expected) in [
            ("email|event", "", "a@example.com|bounce", "date"),
            ("email|date", "reply=Grund", "", "`Grund`"),
            ("email|date|event", "", "jane@example.com||bounce", "date is missing"),
            (
                "email|date|event",
                "",
                "jane@example.com|soon|bounce",
                "date cannot be read",
            ),
            ("email|date|event", "", "jane|1795341600|bounce", "no address"),
            (
                "email|date|event",
                "",
                "jane@example.com|1795341600|exploded",
                "`exploded`",
            ),
        ] {
            let error = read(header, mapping, row).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        for mapping in ["recipient", "colour=red", "date=a,date=b"] {
            assert!(mapping.parse::<Mapping>().is_err(), "{mapping}");
        }
    }
}
