//! How one host answers: the keys of the world prepared for quick look-ups, and what it remembers across sessions.

use std::{net::IpAddr, sync::Mutex, time::Duration};

use hashbrown::{HashMap, HashSet};
use tokio::time::Instant;

use super::{
    counters::{HostCounters, Meter, lock},
    world::{Host, On, Script},
};

/// Triplets and turns remembered per host.
const REMEMBERED_MAX: usize = 100_000;

/// A reply, or raw bytes, ready to be sent.
#[derive(Debug)]
pub(super) struct Text {
    bytes: Box<[u8]>,
    /// There may be `{rcpt}` and its like inside.
    braces: bool,
}

impl Text {
    /// Raw bytes.
    fn raw(bytes: impl Into<Box<[u8]>>) -> Self {
        let bytes = bytes.into();
        let braces = memchr::memchr(b'{', &bytes).is_some();
        Self { bytes, braces }
    }

    /// A reply, one or several lines; CRLF is added.
    fn reply(text: &str) -> Self {
        let mut bytes = Vec::with_capacity(text.len() + 2);
        for line in text.lines() {
            bytes.extend_from_slice(line.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        Self::raw(bytes)
    }

    /// A reply of one line without its enhanced code, unless `enhanced`.
    fn plain(text: &str, enhanced: bool) -> Self {
        let (code, rest) = text.split_at_checked(4).unwrap_or((text, ""));
        match crate::smtp::EnhancedStatusCode::split(rest) {
            Some((_, rest)) if !enhanced => Self::reply(&format!("{code}{rest}")),
            _ => Self::reply(text),
        }
    }

    /// Appends the text to `out`; `value` gives what stands for a name in braces.
    pub(super) fn write<'v>(&self, out: &mut Vec<u8>, value: impl Fn(&[u8]) -> Option<&'v [u8]>) {
        if !self.braces {
            out.extend_from_slice(&self.bytes);
            return;
        }
        let mut rest = &*self.bytes;
        while let Some((before, after)) = split_once(rest, b'{') {
            out.extend_from_slice(before);
            let filled = split_once(after, b'}').and_then(|(name, after)| Some((value(name)?, after)));
            if let Some((value, after)) = filled {
                out.extend_from_slice(value);
                rest = after;
            } else {
                out.push(b'{');
                rest = after;
            }
        }
        out.extend_from_slice(rest);
    }

    /// The text so often that it has about `size` bytes, braces as they are.
    pub(super) fn repeated(&self, size: usize) -> Vec<u8> {
        self.bytes.repeat((size / self.bytes.len().max(1)).max(1))
    }

    /// 2yz.
    pub(super) fn is_positive(&self) -> bool {
        self.bytes.first() == Some(&b'2')
    }
}

fn split_once(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let (before, rest) = bytes.split_at_checked(memchr::memchr(at, bytes)?)?;
    Some((before, rest.get(1..)?))
}

/// What a script sends, and the script.
#[derive(Debug)]
pub(super) struct Act {
    pub(super) script: Script,
    pub(super) text: Option<Text>,
}

impl Act {
    fn new(script: &Script) -> Self {
        let repeated = |raw: &[u8]| {
            let times = usize::try_from(script.repeat.max(1)).unwrap_or(1);
            Text::raw(raw.repeat(times.min(SCRIPT_BYTES_MAX / raw.len().max(1))))
        };
        let text = match (&script.reply, &script.send, &script.hex) {
            (Some(reply), ..) => Some(Text::reply(reply)),
            (None, Some(raw), _) => Some(repeated(raw.as_bytes())),
            (None, None, Some(raw)) => Some(repeated(&raw.0)),
            (None, None, None) => None,
        };
        Self {
            script: script.clone(),
            text,
        }
    }

    fn applies(&self, moment: &Moment<'_>) -> bool {
        let script = &self.script;
        script.on == moment.on
            && moment.nth >= script.from
            && (script.to == 0 || moment.nth <= script.to)
            && (script.sessions == 0 || moment.session <= script.sessions)
            && moment.session >= script.since
            && script.tls.is_none_or(|tls| tls == moment.tls)
            && script
                .has
                .as_ref()
                .is_none_or(|text| contains(moment.line, text.as_bytes()))
    }
}

/// Whether `text` is in `line`, whatever its case.
fn contains(line: &[u8], text: &[u8]) -> bool {
    text.is_empty() || line.windows(text.len()).any(|part| part.eq_ignore_ascii_case(text))
}

/// A point in a session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment<'l> {
    pub(super) on: On,
    /// Occurrence of it in the session, from 1.
    pub(super) nth: u32,
    /// Number of the session among the client's, from 1.
    pub(super) session: u32,
    pub(super) tls: bool,
    pub(super) line: &'l [u8],
}

/// A repeated script sends at most so much.
const SCRIPT_BYTES_MAX: usize = 64 << 20;

/// What happens to a mailbox.
#[derive(Debug)]
enum Answer {
    Accept,
    Always(Text),
    /// One per question, the last for ever.
    Turns(Vec<Text>),
}

/// A recipient as asked about.
pub(super) struct Question<'q> {
    pub(super) client: IpAddr,
    pub(super) from: &'q [u8],
    /// Between the angle brackets.
    pub(super) path: &'q [u8],
    pub(super) tls: bool,
}

/// One host, ready to serve.
#[derive(Debug)]
pub(super) struct Behaviour {
    pub(super) keys: Host,
    pub(super) ip: IpAddr,
    pub(super) meter: Meter,
    pub(super) ban_reply: Text,
    domains: HashSet<Box<[u8]>>,
    answers: HashMap<Box<[u8]>, Answer>,
    acts: Vec<Act>,
    unknown: Text,
    relay_denied: Text,
    greylist_reply: Text,
    greylisted: HashSet<Box<[u8]>>,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    clients: HashMap<IpAddr, Client>,
    first_asked: HashMap<Box<[u8]>, Instant>,
    turns: HashMap<Box<[u8]>, usize>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Client {
    sessions: u32,
    refusals: u32,
    /// It came to RCPT in a session and left.
    passed: bool,
}

impl Behaviour {
    pub(super) fn new(keys: Host, ip: IpAddr) -> Self {
        let key = |text: &str| folded(text.as_bytes(), keys.case_sensitive);
        let plain = |text: &str| Text::plain(text, keys.enhanced);
        let kinds = [
            (&keys.full, "452 4.2.2 <{rcpt}>: Mailbox is over quota"),
            (
                &keys.disabled,
                "550 5.2.1 <{rcpt}>: The account that you tried to reach is disabled",
            ),
            (
                &keys.throttled,
                "450 4.2.1 The user you are trying to contact is receiving mail at a rate that prevents additional messages from being delivered",
            ),
            (
                &keys.moved,
                "551 5.1.6 <{rcpt}>: Recipient has moved and takes no mail here",
            ),
            (&keys.forwarded, "251 2.1.5 <{rcpt}>: User not local; will forward"),
        ];
        let mut answers = HashMap::with_capacity(keys.mailboxes.len());
        answers.extend(keys.mailboxes.iter().map(|mailbox| (key(mailbox), Answer::Accept)));
        for (mailboxes, text) in kinds {
            answers.extend(
                mailboxes
                    .iter()
                    .map(|mailbox| (key(mailbox), Answer::Always(plain(text)))),
            );
        }
        for (mailbox, replies) in &keys.reply {
            let mut texts: Vec<_> = replies.0.iter().map(|reply| Text::reply(reply)).collect();
            let answer = match texts.pop() {
                None => Answer::Accept,
                Some(only) if texts.is_empty() => Answer::Always(only),
                Some(last) => {
                    texts.push(last);
                    Answer::Turns(texts)
                }
            };
            answers.insert(key(mailbox), answer);
        }
        Self {
            ip,
            meter: Meter::default(),
            ban_reply: plain(&keys.ban_reply),
            domains: keys
                .serves
                .iter()
                .map(|domain| folded(domain.as_bytes(), false))
                .collect(),
            answers,
            acts: keys.script.iter().map(Act::new).collect(),
            unknown: plain(&keys.unknown),
            relay_denied: plain(&keys.relay_denied),
            greylist_reply: plain(&keys.greylist_reply),
            greylisted: keys.greylist_only.iter().map(|mailbox| key(mailbox)).collect(),
            memory: Mutex::default(),
            keys,
        }
    }

    /// The script for this point.
    pub(super) fn act(&self, moment: &Moment<'_>) -> Option<&Act> {
        self.acts.iter().find(|act| act.applies(moment))
    }

    /// Counts a session of this client; returns its number, from 1.
    pub(super) fn session_of(&self, client: IpAddr) -> u32 {
        let mut memory = lock(&self.memory);
        let client = memory.clients.entry(client).or_default();
        client.sessions = client.sessions.saturating_add(1);
        client.sessions
    }

    /// Whether sessions of this client are still tested.
    pub(super) fn tests(&self, client: IpAddr) -> bool {
        self.keys.first_session_test
            && !lock(&self.memory)
                .clients
                .get(&client)
                .is_some_and(|client| client.passed)
    }

    /// A tested session is over: the client passed.
    pub(super) fn passed(&self, client: IpAddr) {
        lock(&self.memory).clients.entry(client).or_default().passed = true;
    }

    /// What this host saw.
    pub(super) fn seen(&self) -> HostCounters {
        let memory = lock(&self.memory);
        let clients = memory.clients.iter();
        HostCounters {
            clients: clients.map(|(ip, client)| (*ip, client.sessions.into())).collect(),
            ..self.meter.snapshot(self.ip)
        }
    }

    pub(super) fn refused(&self, client: IpAddr) {
        if self.keys.ban_after > 0 {
            let mut memory = lock(&self.memory);
            let client = memory.clients.entry(client).or_default();
            client.refusals = client.refusals.saturating_add(1);
        }
    }

    pub(super) fn is_banned(&self, client: IpAddr) -> bool {
        let limit = self.keys.ban_after;
        limit > 0
            && lock(&self.memory)
                .clients
                .get(&client)
                .is_some_and(|client| client.refusals >= limit)
    }

    /// The reply about a recipient; `None` accepts. `key` is scratch space.
    pub(super) fn answer(&self, question: &Question<'_>, key: &mut Vec<u8>) -> Option<&Text> {
        let at = memchr::memrchr(b'@', question.path).unwrap_or(question.path.len());
        fold_into(key, question.path, at, self.keys.case_sensitive);
        let domain = key.get(at + 1..).unwrap_or_default();
        if !self.domains.contains(domain) {
            return Some(&self.relay_denied);
        }
        let mut at = at;
        if self.keys.plus_tags
            && let Some(plus) = key.get(..at).and_then(|local| memchr::memchr(b'+', local))
        {
            key.drain(plus..at);
            at = plus;
        }
        let (local, _) = key.split_at_checked(at).unwrap_or_default();
        if self.is_greylisted(question, key, local) {
            return Some(&self.greylist_reply);
        }
        if self.keys.refuse_only_in_tls && !question.tls {
            return None;
        }
        match self.answers.get(&**key).or_else(|| self.answers.get(local)) {
            Some(Answer::Accept) => None,
            Some(Answer::Always(text)) => Some(text),
            Some(Answer::Turns(texts)) => self.turn(key, texts),
            None if self.keys.catch_all => None,
            None => Some(&self.unknown),
        }
    }

    fn turn<'t>(&self, key: &[u8], texts: &'t [Text]) -> Option<&'t Text> {
        let mut memory = lock(&self.memory);
        let turns = room_in(&mut memory.turns).entry(key.into()).or_insert(0);
        let text = texts.get(*turns).or(texts.last());
        *turns += 1;
        text
    }

    fn is_greylisted(&self, question: &Question<'_>, key: &[u8], local: &[u8]) -> bool {
        let Some(delay) = self.keys.greylist_ms else {
            return false;
        };
        let only = &self.greylisted;
        if !only.is_empty() && !only.contains(key) && !only.contains(local) {
            return false;
        }
        let triplet = [question.client.to_string().as_bytes(), question.from, key].join(&b'\n');
        let mut memory = lock(&self.memory);
        let now = Instant::now();
        let first = *room_in(&mut memory.first_asked).entry(triplet.into()).or_insert(now);
        now.duration_since(first) < Duration::from_millis(delay)
    }
}

/// Forgets everything when a map is full: a flood must not grow it without bound.
fn room_in<V>(map: &mut HashMap<Box<[u8]>, V>) -> &mut HashMap<Box<[u8]>, V> {
    if map.len() >= REMEMBERED_MAX {
        map.clear();
    }
    map
}

/// Lower case; of the domain only when `case_sensitive`.
fn folded(text: &[u8], case_sensitive: bool) -> Box<[u8]> {
    let mut key = Vec::with_capacity(text.len());
    let at = memchr::memrchr(b'@', text).unwrap_or(text.len());
    fold_into(&mut key, text, at, case_sensitive);
    key.into()
}

fn fold_into(key: &mut Vec<u8>, text: &[u8], at: usize, case_sensitive: bool) {
    key.clear();
    key.extend_from_slice(text);
    let kept = if case_sensitive { at } else { 0 };
    if let Some(rest) = key.get_mut(kept..) {
        rest.make_ascii_lowercase();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: Option<&Text>) -> String {
        let mut out = Vec::new();
        if let Some(text) = text {
            text.write(&mut out, |name| (name == b"rcpt").then_some(&b"R"[..]));
        }
        String::from_utf8(out).unwrap()
    }

    fn ask(host: &Behaviour, path: &str) -> String {
        let question = Question {
            client: IpAddr::from([127, 0, 0, 1]),
            from: b"probe@us.test",
            path: path.as_bytes(),
            tls: false,
        };
        said(host.answer(&question, &mut Vec::new()))
    }

    #[test]
    fn mailboxes_are_found_at_one_domain_or_at_all() {
        let keys = Host {
            unknown: "550 5.1.1 no".into(),
            full: vec!["max".into()],
            plus_tags: true,
            ..Host::serving("mx.a.test", &["a.test", "b.test"], &["jane", "joe@b.test"])
        };
        let host = Behaviour::new(keys, IpAddr::from([127, 9, 9, 9]));
        for (path, reply) in [
            ("jane@a.test", ""),
            ("JANE@B.TEST", ""),
            ("jane+news@a.test", ""),
            ("joe@b.test", ""),
            ("joe@a.test", "550 5.1.1 no\r\n"),
            ("max@a.test", "452 4.2.2 <R>: Mailbox is over quota\r\n"),
            ("jane@c.test", "554 5.7.1 <R>: Relay access denied\r\n"),
            ("jane", "554 5.7.1 <R>: Relay access denied\r\n"),
            ("", "554 5.7.1 <R>: Relay access denied\r\n"),
        ] {
            assert_eq!(ask(&host, path), reply, "{path}");
        }
    }

    #[test]
    fn case_counts_when_the_world_says_so() {
        let keys = Host {
            case_sensitive: true,
            ..Host::serving("mx.a.test", &["a.test"], &["Jane"])
        };
        let host = Behaviour::new(keys, IpAddr::from([127, 9, 9, 9]));
        assert_eq!(ask(&host, "Jane@A.test"), "");
        assert!(ask(&host, "jane@a.test").starts_with("550"));
    }

    #[test]
    fn replies_take_turns() {
        let mut keys = Host::serving("mx.a.test", &["a.test"], &[]);
        let replies = ["451 later", "250-ok\n250 done"].map(str::to_owned).to_vec();
        keys.reply.insert("jane".into(), super::super::world::Replies(replies));
        let host = Behaviour::new(keys, IpAddr::from([127, 9, 9, 9]));
        let seen: Vec<_> = (0..3).map(|_| ask(&host, "jane@a.test")).collect();
        assert_eq!(
            seen,
            ["451 later\r\n", "250-ok\r\n250 done\r\n", "250-ok\r\n250 done\r\n"]
        );
    }

    #[test]
    fn texts_lose_their_code_and_keep_foreign_braces() {
        assert_eq!(
            said(Some(&Text::plain("550 5.1.1 <{rcpt}> {x} {", false))),
            "550 <R> {x} {\r\n"
        );
        assert_eq!(said(Some(&Text::plain("550 5.1.1 a", true))), "550 5.1.1 a\r\n");
    }
}
