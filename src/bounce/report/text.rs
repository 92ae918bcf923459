//! Bounces in words only: qmail's, Exim's, old sendmail's, and those of gateways, in the languages of their authors.
//!
//! No form of one server is read by itself. What they have in common is enough: the recipient stands on a line of its own or
//! behind a word like `to`, what the host said stands below it, and the message that came back is set off.

use std::{collections::HashMap, sync::LazyLock};

use super::{
    address::{self, Spot},
    diagnosis::Told,
    headers::Headers,
    kind::Phrases,
    parts, returned,
};
use crate::smtp::Stage;

/// Most lines that are read.
const LINE_LIMIT: usize = 3_000;
/// Most recipients of one message.
const RECIPIENT_LIMIT: usize = 1_000;
/// Most lines that tell of one recipient.
const OWN: usize = 40;
/// Longest part of a text that is given to the classifier as one reply.
const TELLING: usize = 900;

/// Fields that follow `To:` where a server repeats those of the message.
const ADDRESSED: [&str; 10] = [
    "Subject:", "Betreff:", "Objet:", "Objet :", "Asunto:", "Oggetto:", "Cc:", "CC:", "Sent:", "Date:",
];

/// A text, with the fields of the returned message cut off.
#[derive(Debug)]
pub(super) struct Text<'t> {
    lines: Vec<&'t str>,
    pub(super) original: Option<Headers>,
}

/// A recipient found in a text, and what was told of it: the best telling first.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) recipient: std::sync::Arc<str>,
    pub(super) told: Vec<Told>,
    pub(super) remote: Option<String>,
}

/// Words before an address that is no recipient.
const OTHERS: [&str; 22] = [
    "from:",
    "from",
    "mail from:",
    "sender",
    "contact",
    "postmaster at",
    "by",
    "reply-to:",
    "envelope-from",
    "write to",
    "mail to",
    "forward",
    "please",
    "id",
    "message-id:",
    "support",
    "help",
    "helo",
    "ehlo",
    "von",
    "de",
    "received",
];

/// Words in the label of an address that is no recipient: `Sender Address:`.
const SENDERS: [&str; 8] = [
    "sender",
    "from",
    "originator",
    "absender",
    "expéditeur",
    "remitente",
    "mittente",
    "отправител",
];

/// Words before an address that is one.
const RECIPIENTS: [&str; 48] = [
    "to",
    "to:",
    "recipient",
    "recipient:",
    "recipients:",
    "recipient(s):",
    "address",
    "address:",
    "addresses:",
    "addressee",
    "user",
    "user:",
    "mailbox",
    "mailbox:",
    "deliver",
    "rcpt to:",
    "reach",
    "for",
    "for:",
    "account",
    "account:",
    "an",
    "an:",
    "für",
    "empfänger:",
    "empfänger",
    "à",
    "à:",
    "destinataire",
    "destinataire:",
    "pour",
    "a",
    "a:",
    "destinatario:",
    "destinatario",
    "para",
    "para:",
    "destinatário:",
    "destinatari:",
    "получателю",
    "получатель:",
    "кому:",
    "адрес",
    "宛先:",
    "宛先",
    "受信者:",
    "reciever:",
    "receiver:",
];

impl<'t> Text<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let lines: Vec<&str> = text.lines().take(LINE_LIMIT).collect();
        let (end, fields_at) = returned::at(&lines);
        let original = fields_at.and_then(|at| {
            let rest = lines.get(at..)?;
            let block: Vec<&str> = rest.iter().take(200).map(|line| line.trim_end()).collect();
            parts::fields(block.join("\r\n").as_bytes()).filter(|headers| headers.len() >= 2)
        });
        let lines = lines.into_iter().take(end).collect();
        Self { lines, original }
    }

    /// What people read, without the returned message, on one line.
    pub(super) fn whole(&self) -> String {
        let mut whole = String::new();
        for line in &self.lines {
            if whole.len() > TELLING {
                break;
            }
            whole.push_str(line.trim());
            whole.push(' ');
        }
        whole
    }

    /// Whether the text itself names a recipient, not only the message that came back.
    pub(super) fn names(&self, headers: &Headers) -> bool {
        headers.get("x-failed-recipients").is_some() || !choose(&self.candidates(headers, None)).is_empty()
    }

    /// Everybody whom the text names as a recipient, by `given` names first.
    pub(super) fn failed(&self, headers: &Headers, original: Option<&Headers>) -> Vec<Failed> {
        let candidates = self.candidates(headers, original);
        let mut named: Vec<std::sync::Arc<str>> = headers
            .addresses(&["x-failed-recipients"])
            .iter()
            .take(RECIPIENT_LIMIT)
            .filter_map(|text| address::mailbox(text))
            .collect();
        if named.is_empty() {
            named = choose(&candidates);
        }
        if named.is_empty()
            && let Some(only) = only_recipient(headers, original)
        {
            named.push(only);
        }
        named.dedup();
        let own_lines: Vec<&Candidate> = candidates.iter().filter(|found| found.own_line).collect();
        let mut mentions: HashMap<&str, Vec<&Candidate>> = HashMap::new();
        for found in &candidates {
            mentions.entry(&found.mailbox).or_default().push(found);
        }
        let alone = named.len() == 1;
        named
            .into_iter()
            .map(|recipient| {
                let mentions = mentions.get(&*recipient).map(Vec::as_slice).unwrap_or_default();
                self.tell(recipient, mentions, &own_lines, alone)
            })
            .collect()
    }

    /// Addresses with how much they look like a recipient.
    fn candidates(&self, headers: &Headers, original: Option<&Headers>) -> Vec<Candidate> {
        let own = headers.addresses(&[
            "to",
            "delivered-to",
            "x-original-to",
            "return-path",
            "from",
            "reply-to",
            "x-apparently-to",
            "cc",
        ]);
        let senders = original
            .map(|fields| fields.addresses(&["from", "return-path", "sender", "reply-to"]))
            .unwrap_or_default();
        let mailed = original
            .map(|fields| {
                fields.addresses(&[
                    "to",
                    "cc",
                    "bcc",
                    "x-original-to",
                    "original-recipient",
                    "apparently-to",
                ])
            })
            .unwrap_or_default();
        let among = |list: &[Box<str>], text: &str| list.iter().any(|known| known.eq_ignore_ascii_case(text));
        let mut candidates = Vec::new();
        let mut known: HashMap<Box<str>, i32> = HashMap::new();
        for (number, line) in self.lines.iter().enumerate() {
            for spot in address::all(line) {
                if candidates.len() >= 4 * RECIPIENT_LIMIT {
                    return candidates;
                }
                let standing = *known.entry(spot.text.into()).or_insert_with(|| {
                    let sends = among(&own, spot.text) || among(&senders, spot.text) || is_role(spot.text);
                    i32::from(among(&mailed, spot.text)) * 6 - i32::from(sends) * 8
                });
                let Some(mailbox) = address::mailbox(spot.text) else {
                    continue;
                };
                let (score, own_line) = standing_in_line(line, spot);
                let below = self.lines.get(number + 1).map_or("", |line| line.trim_start());
                // To whom the message was, not who did not get it: a list may stand there, which is well.
                let addressed = ADDRESSED.iter().any(|field| below.starts_with(field));
                candidates.push(Candidate {
                    mailbox,
                    line: number,
                    score: score + standing,
                    own_line: own_line && !addressed && score + standing >= 3,
                    addressed,
                });
            }
        }
        candidates
    }

    /// What the text tells of a recipient, who is mentioned in these places; recipients stand alone on `own_lines`.
    fn tell(
        &self,
        recipient: std::sync::Arc<str>,
        mentions: &[&Candidate],
        own_lines: &[&Candidate],
        alone: bool,
    ) -> Failed {
        let mut told = Vec::new();
        let mut remote = None;
        let best = mentions
            .iter()
            .max_by_key(|found| (!found.addressed, found.score, std::cmp::Reverse(found.line)));
        if let Some(place) = best.map(|found| found.line) {
            let after = own_lines.partition_point(|other| other.line <= place);
            let mut others = own_lines.get(after..).unwrap_or_default().iter().take(OWN);
            let next = others.find(|other| other.mailbox != recipient);
            let next = next.map_or(self.lines.len(), |other| other.line);
            let end = next.min(place + OWN);
            let own = self.lines.get(place..end).unwrap_or_default();
            remote = host_in(own);
            told.extend(replies(own));
            // Lines of its own were read whole.
            let elsewhere = mentions
                .iter()
                .filter(|found| !(place..end).contains(&found.line))
                .take(8);
            let elsewhere = elsewhere.filter_map(|found| Some(Told::read(self.lines.get(found.line)?)));
            told.extend(elsewhere.filter(|told| told.code.is_some()));
            if alone {
                told.extend(replies(&self.lines));
            }
            let paragraph = paragraph(own, &recipient);
            if !paragraph.is_empty() {
                told.push(Told::read(&paragraph));
            }
        } else if alone {
            told.extend(replies(&self.lines));
        }
        if alone {
            remote = remote.or_else(|| host_in(&self.lines));
        }
        Failed {
            recipient,
            told,
            remote,
        }
    }
}

#[derive(Debug)]
struct Candidate {
    mailbox: std::sync::Arc<str>,
    line: usize,
    score: i32,
    own_line: bool,
    /// It stands where the message says whom it is to.
    addressed: bool,
}

/// The recipients among the candidates: all that stand alone on a line, else the best one.
fn choose(candidates: &[Candidate]) -> Vec<std::sync::Arc<str>> {
    let mut chosen: Vec<std::sync::Arc<str>> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for found in candidates.iter().filter(|found| found.own_line) {
        if chosen.len() < RECIPIENT_LIMIT && seen.insert(&*found.mailbox) {
            chosen.push(found.mailbox.clone());
        }
    }
    if chosen.is_empty() {
        let best = candidates
            .iter()
            .filter(|found| found.score > -3)
            .max_by_key(|found| (!found.addressed, found.score, std::cmp::Reverse(found.line)));
        chosen.extend(best.map(|found| found.mailbox.clone()));
    }
    chosen
}

/// Roles that answer for hosts and are not mailed.
fn is_role(text: &str) -> bool {
    let local = text.split('@').next().unwrap_or_default().to_ascii_lowercase();
    [
        "postmaster",
        "mailer-daemon",
        "mailerdaemon",
        "abuse",
        "noreply",
        "no-reply",
        "support",
        "helpdesk",
    ]
    .contains(&local.as_str())
}

/// How much an address looks like a recipient by its line, and whether the line is its own.
fn standing_in_line(line: &str, spot: Spot<'_>) -> (i32, bool) {
    let before = line
        .get(..spot.start)
        .unwrap_or_default()
        .trim_end_matches(['<', '"', '\'', '(', '[', '*'])
        .trim();
    let after = line
        .get(spot.end..)
        .unwrap_or_default()
        .trim_start_matches(['>', '"', '\'', ')', ']', '*', '.'])
        .trim();
    let bare = before.chars().all(|c| !c.is_alphanumeric());
    // `554 5.0.0 <jane@example.com>... Service unavailable`, of old sendmails.
    let coded = before.len() <= 14
        && before.starts_with(['4', '5'])
        && before
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b" .".contains(&byte));
    if coded
        && line
            .get(spot.end..)
            .is_some_and(|rest| rest.starts_with(">...") || rest.starts_with("..."))
    {
        return (9, true);
    }
    let lower = before.to_lowercase();
    let last = lower.rsplit([' ', '\t', '<', '(']).next().unwrap_or_default();
    if bare {
        let alone = after.is_empty() || after.starts_with([':', ',', ';', '-', '(', '.', '=']);
        // `jane@example.com Invalid Address, ERROR_CODE :550 ...`
        let tells = spot.start < 6 && !after.is_empty() && Told::read(after).code.is_some();
        return if alone || tells {
            (10, true)
        } else {
            (6, spot.start < 6 && after.starts_with("on "))
        };
    }
    if lower.ends_with("rcpt to:") || lower.ends_with("rcpt to") {
        return (7, false);
    }
    let of_sender = SENDERS.iter().any(|word| lower.contains(word)) && last.ends_with(':');
    if of_sender || lower.ends_with("mail from:") || lower.ends_with("mail from") || OTHERS.contains(&last) {
        return (-6, false);
    }
    // A name of the recipient, or a label, before its address on a line of its own.
    let labelled = RECIPIENTS
        .iter()
        .any(|word| lower.ends_with(word) && (last.ends_with(':') || lower.len() == word.len()));
    if labelled && (after.is_empty() || after.starts_with([',', ';', '<', '('])) {
        return (9, true);
    }
    if RECIPIENTS.contains(&last) {
        return (6, false);
    }
    // An X.400 address with one of ours in it.
    if lower.ends_with("dda:smtp=") {
        return (9, true);
    }
    if line.contains("://") || lower.contains("message-id") {
        return (-6, false);
    }
    (i32::from(after.is_empty()) * 2, false)
}

/// The one address that the returned message was for.
fn only_recipient(headers: &Headers, original: Option<&Headers>) -> Option<std::sync::Arc<str>> {
    let original = original?;
    let own = headers.addresses(&["from"]);
    let mut mailed = original.addresses(&["to"]);
    mailed.extend(original.addresses(&["cc"]));
    mailed.retain(|text| !own.contains(text));
    match mailed.as_slice() {
        [only] => address::mailbox(only),
        _ => None,
    }
}

static REFUSED_DATA: LazyLock<Phrases> =
    LazyLock::new(|| Phrases::new(&["need rcpt", "no valid recipients", "valid rcpt command"]));

/// Every reply in some lines, put together from its own lines.
fn replies(lines: &[&str]) -> Vec<Told> {
    let mut told: Vec<Told> = Vec::new();
    let mut number = 0;
    // The answer to RCPT comes after DATA was sent, and then DATA is refused.
    let pipelined = lines.iter().any(|line| REFUSED_DATA.are_in(line));
    while let Some(raw) = lines.get(number) {
        let line = raw.trim();
        let first = Told::read(line);
        number += 1;
        if first.code.is_none() || told.len() >= 12 {
            continue;
        }
        // The step is often named in the line before, and the words go on below.
        let before = number
            .checked_sub(2)
            .and_then(|index| lines.get(index))
            .map_or("", |line| line.trim());
        let mut whole = line.to_owned();
        let from = number;
        let indent = indentation(raw);
        while let Some(raw) = lines.get(number) {
            let next = raw.trim().trim_start_matches("<<< ");
            // Postfix breaks its lines anywhere, before an address as well.
            let wordless = number == from && !first.text.contains(' ');
            let goes_on = next.starts_with('<') && (wordless || indentation(raw) >= indent.max(1));
            let ends = next.is_empty()
                || number - from >= 12
                || whole.len() > TELLING
                || next.starts_with([':', '<', '>', '-', '=']) && !goes_on;
            let another = Told::read(next).code.is_some_and(|code| Some(code) != first.code);
            if ends || another || next.contains('@') && next.ends_with(':') {
                break;
            }
            whole.push(' ');
            whole.push_str(next);
            number += 1;
        }
        let mut reply = Told::read(&whole);
        reply.stage = reply.stage.or_else(|| Told::read(before).stage);
        if pipelined {
            reply.stage = Some(Stage::Rcpt);
        }
        told.push(reply);
    }
    // What the other host answered says more than what this one made of it; both say more than a step that went well.
    // A code without words says least: `5.1.10` is one thing to Exchange and another to RFC 7505.
    told.sort_by_key(|reply| (reply.enhanced.is_none(), !reply.text.contains(' ')));
    told
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// A line drawn across the text: what follows is something else, often a signature.
fn is_rule(line: &str) -> bool {
    line.len() >= 8 && line.bytes().all(|byte| b"_-=~*#+".contains(&byte))
}

/// The words below a recipient, without its own line where that holds nothing else.
fn paragraph(own: &[&str], recipient: &str) -> String {
    let mut words = String::new();
    for (index, line) in own.iter().enumerate() {
        let line = line.trim();
        let ends = line.is_empty() && words.len() > 20 || is_rule(line);
        if index > 0 && ends || words.len() > TELLING {
            break;
        }
        let rest = if index == 0 {
            line.split_once(recipient)
                .map_or(line, |(_, rest)| rest)
                .trim_start_matches(['>', ':', ' ', '"', '\'', ')', '.'])
        } else {
            line
        };
        words.push_str(rest);
        words.push(' ');
    }
    words.trim().to_owned()
}

/// The host that is named as the one that answered.
fn host_in(lines: &[&str]) -> Option<String> {
    const LEADS: [&str; 8] = [
        "host ",
        "while talking to ",
        "server for ",
        "by ",
        "from ",
        "connected to ",
        "remote host ",
        "mta ",
    ];
    lines.iter().take(60).find_map(|line| {
        let lower = line.to_ascii_lowercase();
        LEADS.iter().find_map(|lead| {
            let at = lower.find(lead)? + lead.len();
            let name = lower.get(at..)?;
            let name = name
                .split(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '-'))
                .next()?
                .trim_end_matches('.');
            let is_host =
                name.contains('.') && name.len() <= 255 && name.bytes().any(|byte| byte.is_ascii_alphabetic());
            is_host.then(|| name.to_owned())
        })
    })
}
