//! The dialogue of one connection: a command line goes in, a reply comes out. No sockets, no waiting.

use std::{net::IpAddr, sync::atomic::Ordering::Relaxed, time::Duration};

use super::{
    Shared,
    counters::{Line, Tally, micros},
    host::{Act, Behaviour, Moment, Question, Text},
    monitor::{Monitor, Verb},
    world::{On, Pipelining, StartTls, Then},
};

/// What the connection does after a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Continue,
    Close,
    Reset,
    Hang,
    StartTls,
    /// The words of the script, again and again.
    Flood,
}

/// An endless text is sent in pieces of about this size.
const FLOOD_PIECE: usize = 16 << 10;

/// The state of one connection.
pub(super) struct Session<'h> {
    pub(super) host: &'h Behaviour,
    pub(super) shared: &'h Shared,
    /// Replies not sent yet.
    pub(super) out: Vec<u8>,
    /// Counts not taken over yet.
    pub(super) tally: Tally,
    /// QUIT was said.
    pub(super) quit: bool,
    /// Sees every byte in both directions.
    monitor: Monitor,
    /// Replies that the monitor has not seen: a burst is one when all of it was sent before the first reply.
    unseen: Vec<u8>,
    /// What is sent for ever.
    pub(super) flood: Vec<u8>,
    client: IpAddr,
    /// `client` as text, for replies.
    client_text: String,
    /// Number of this connection at the host.
    connection: u64,
    /// Connections open at the host when this one came, this one included.
    open: u64,
    /// Counted as over already.
    over: bool,
    /// Number of this session among the client's.
    nth: u32,
    trial: Trial,
    tls: bool,
    /// The name after EHLO or HELO, and whether it was EHLO.
    greeted: Option<(Box<[u8]>, bool)>,
    transaction: Option<Transaction>,
    refusals: u32,
    recipients_refused: u32,
    occurrences: [u32; 9],
    /// Wait of a script before the reply just written, and before every byte of it.
    scripted_wait: Duration,
    scripted_gap: Option<Duration>,
    key: Vec<u8>,
}

/// The test of a client's first session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trial {
    /// There is none, or not any more.
    None,
    /// This session is tested.
    Begun,
    /// It came to RCPT: the next one is not.
    Taken,
}

struct Transaction {
    from: Box<[u8]>,
    smtputf8: bool,
    recipients: u32,
    domains: Vec<Box<[u8]>>,
}

impl<'h> Session<'h> {
    /// Counts a connection as open, until the session says something last or is dropped.
    pub(super) fn new(host: &'h Behaviour, shared: &'h Shared, client: IpAddr) -> Self {
        let (connection, open) = host.meter.opened();
        shared.peak.fetch_max(shared.open.fetch_add(1, Relaxed) + 1, Relaxed);
        Self {
            host,
            shared,
            out: Vec::with_capacity(4096),
            tally: Tally::default(),
            quit: false,
            monitor: Monitor::new(),
            unseen: Vec::new(),
            flood: Vec::new(),
            client,
            client_text: client.to_string(),
            connection,
            open,
            over: false,
            nth: host.session_of(client),
            trial: if host.tests(client) { Trial::Begun } else { Trial::None },
            tls: false,
            greeted: None,
            transaction: None,
            refusals: 0,
            recipients_refused: 0,
            occurrences: [0; 9],
            scripted_wait: Duration::ZERO,
            scripted_gap: None,
            key: Vec::new(),
        }
    }

    /// Hands the counts over; before replies leave, so that who reads a reply finds it counted.
    pub(super) fn report(&mut self) {
        self.tally.violations.add(self.monitor.take());
        self.tally.bytes_out += self.out.len() as u64;
        self.host.meter.take(&mut self.tally, micros(self.shared.start));
    }

    /// Bytes of the client, before they are answered.
    pub(super) fn heard(&mut self, bytes: &[u8]) {
        self.monitor.heard(bytes);
    }

    /// Everything that came together is answered.
    pub(super) fn answered(&mut self) {
        self.monitor.said(&self.unseen);
        self.unseen.clear();
    }

    /// The last reply is about to leave: a client that reads it and connects again has one connection, not two.
    fn leave(&mut self) {
        if !std::mem::replace(&mut self.over, true) {
            if self.trial == Trial::Taken {
                self.host.passed(self.client);
            }
            self.host.meter.closed();
            self.shared.open.fetch_sub(1, Relaxed);
        }
    }

    fn ended(&mut self, next: Next) -> Next {
        if matches!(next, Next::Close | Next::Reset) {
            self.leave();
        }
        next
    }

    /// The greeting; the client may have spoken `early`.
    pub(super) fn greet(&mut self, early: bool) -> Next {
        if early {
            self.monitor.early();
        }
        let next = self.greeting(early);
        if !matches!(next, Next::Hang | Next::Flood) {
            // Whatever it was, the client may speak from now on.
            self.monitor.said(b"220 \n");
        }
        self.ended(next)
    }

    fn greeting(&mut self, early: bool) -> Next {
        if early && self.host.keys.enforce_sync {
            return self.out_of_step();
        }
        if let Some(act) = self.scripted(On::Greeting, b"") {
            return self.play(act, b"");
        }
        let limit = self.host.keys.connections_max;
        if limit > 0 && self.open > u64::from(limit) {
            self.say("421", "4.7.0", "Too many concurrent connections from your address");
            return Next::Close;
        }
        if self.host.is_banned(self.client) {
            self.write(&self.host.ban_reply, b"");
            return Next::Close;
        }
        self.out.extend_from_slice(b"220 ");
        self.out.extend_from_slice(self.host.keys.name.as_bytes());
        self.out.extend_from_slice(b" ESMTP\r\n");
        Next::Continue
    }

    /// One command line without its end.
    pub(super) fn line(&mut self, line: &[u8]) -> Next {
        let verb = Verb::of(line);
        self.tally.command(verb);
        if self.shared.record_lines {
            self.tally.lines.push(Line {
                connection: self.connection,
                at_us: micros(self.shared.start),
                text: String::from_utf8_lossy(line).into_owned(),
            });
        }
        let behind_another = !self.unseen.is_empty();
        if self.host.keys.enforce_sync && behind_another && self.monitor.violations().burst > 0 {
            let next = self.out_of_step();
            return self.ended(next);
        }
        let mark = self.out.len();
        let next = match on(verb).and_then(|on| self.scripted(on, line)) {
            Some(act) => {
                // A positive reply keeps the command's effect; only the words are the script's.
                if act.text.as_ref().is_some_and(Text::is_positive) {
                    self.command(verb, line);
                    self.out.truncate(mark);
                }
                self.play(act, line)
            }
            None => self.command(verb, line),
        };
        let next = self.judge(verb, mark, next);
        self.ended(next)
    }

    /// Counts the reply that starts at `mark`, and ends the session after too many refusals.
    fn judge(&mut self, verb: Verb, mark: usize, next: Next) -> Next {
        self.unseen.extend(self.out.get(mark..).unwrap_or_default());
        match (self.out.get(mark), verb) {
            (Some(b'4'), Verb::Rcpt) => self.tally.deferred += 1,
            (Some(b'5'), Verb::Rcpt) => {
                self.tally.refused += 1;
                self.host.refused(self.client);
                self.refusals += 1;
                self.recipients_refused += 1;
                self.host.meter.refused(self.recipients_refused);
            }
            (Some(b'5'), _) => self.refusals += 1,
            _ => {}
        }
        let limit = self.host.keys.errors_max;
        if limit > 0 && self.refusals >= limit && next == Next::Continue {
            self.say("421", "4.7.0", "Error: too many errors");
            return Next::Close;
        }
        next
    }

    /// A line that never ended within the limit.
    pub(super) fn too_long(&mut self) {
        self.say("500", "5.5.2", "Line too long");
    }

    /// The client said nothing for too long.
    pub(super) fn idle(&mut self) {
        self.say("421", "4.4.2", "Error: timeout exceeded");
    }

    /// After the handshake nothing of before counts (RFC 3207 section 4.2).
    pub(super) fn secured(&mut self) {
        self.tls = true;
        self.greeted = None;
        self.transaction = None;
        self.monitor.secured();
        self.host.meter.secured();
    }

    /// The wait that the reply starting at `mark` deserves.
    pub(super) fn wait_before(&mut self, mark: usize) -> Duration {
        let keys = &self.host.keys;
        let refused = matches!(self.out.get(mark), Some(b'4' | b'5'));
        let error = if refused { keys.error_delay_ms } else { 0 };
        Duration::from_millis(keys.reply_delay_ms + error) + std::mem::take(&mut self.scripted_wait)
    }

    /// The wait before every byte of the reply just written.
    pub(super) fn gap(&mut self) -> Duration {
        let usual = Duration::from_millis(self.host.keys.byte_delay_ms);
        self.scripted_gap.take().unwrap_or(usual)
    }

    fn out_of_step(&mut self) -> Next {
        self.say("554", "5.5.0", "Error: SMTP protocol synchronization");
        Next::Close
    }

    fn scripted(&mut self, on: On, line: &[u8]) -> Option<&'h Act> {
        let occurrence = self.occurrences.get_mut(on as usize)?;
        *occurrence += 1;
        let moment = Moment {
            on,
            nth: *occurrence,
            session: self.nth,
            tls: self.tls,
            line,
        };
        self.host.act(&moment)
    }

    /// A scripted reply knows the address in the command that it answers, though the command has no effect.
    fn play(&mut self, act: &Act, line: &[u8]) -> Next {
        if let Some(text) = &act.text {
            let said = |prefix| path(line, prefix).map(|(path, _)| path);
            self.write_for(text, said(b"RCPT TO:<").unwrap_or_default(), said(b"MAIL FROM:<"));
        }
        self.scripted_wait = Duration::from_millis(act.script.after_ms);
        self.scripted_gap = act.script.byte_delay_ms.map(Duration::from_millis);
        if let (Some(text), true) = (&act.text, act.script.endless) {
            // Some at once, as a host would that has much to say.
            self.flood = text.repeated(FLOOD_PIECE);
            return Next::Flood;
        }
        match act.script.then {
            Then::Continue => Next::Continue,
            Then::Close => Next::Close,
            Then::Reset => Next::Reset,
            Then::Hang => Next::Hang,
        }
    }

    /// The usual effect and reply of a command.
    fn command(&mut self, verb: Verb, line: &[u8]) -> Next {
        match verb {
            Verb::Rcpt => self.rcpt(line),
            Verb::Mail => self.mail(line),
            Verb::Ehlo if self.host.keys.helo_only => self.say("502", "5.5.1", "Error: command not recognized"),
            Verb::Ehlo | Verb::Helo => self.hello(verb, line),
            Verb::Starttls => return self.starttls(),
            Verb::Rset => {
                self.transaction = None;
                self.say("250", "2.0.0", "Ok");
            }
            Verb::Noop => self.say("250", "2.0.0", "Ok"),
            Verb::Quit => {
                self.quit = true;
                self.say("221", "2.0.0", "Bye");
                return Next::Close;
            }
            Verb::Data | Verb::Bdat | Verb::Vrfy | Verb::Expn | Verb::Auth => {
                self.say("502", "5.5.1", "Error: command not implemented");
            }
            Verb::Other => self.say("500", "5.5.2", "Error: command not recognized"),
        }
        Next::Continue
    }

    fn hello(&mut self, verb: Verb, line: &[u8]) {
        let name = line.get(5..).unwrap_or_default();
        let extended = verb == Verb::Ehlo;
        self.greeted = Some((name.into(), extended));
        self.transaction = None;
        let keys = &self.host.keys;
        if !extended {
            self.out.extend_from_slice(format!("250 {}\r\n", keys.name).as_bytes());
            return;
        }
        let mut lines = vec![keys.name.clone()];
        let mut offer = |offered: bool, keyword: &str| {
            if offered {
                lines.push(keyword.to_owned());
            }
        };
        offer(keys.pipelining != Pipelining::Off, "PIPELINING");
        offer(keys.size > 0, &format!("SIZE {}", keys.size));
        offer(keys.starttls != StartTls::Off && !self.tls, "STARTTLS");
        offer(keys.enhanced, "ENHANCEDSTATUSCODES");
        offer(keys.eightbitmime, "8BITMIME");
        offer(keys.smtputf8, "SMTPUTF8");
        lines.extend(keys.extensions.iter().cloned());
        let last = lines.len() - 1;
        for (index, line) in lines.iter().enumerate() {
            let separator = if index == last { ' ' } else { '-' };
            self.out
                .extend_from_slice(format!("250{separator}{line}\r\n").as_bytes());
        }
    }

    fn starttls(&mut self) -> Next {
        match self.host.keys.starttls {
            _ if self.tls => self.say("503", "5.5.1", "Error: TLS is active already"),
            StartTls::Off => self.say("502", "5.5.1", "Error: command not implemented"),
            StartTls::Refused => self.say("454", "4.7.0", "TLS not available due to local problem"),
            StartTls::On
            | StartTls::Required
            | StartTls::Expired
            | StartTls::HugeChain
            | StartTls::OnlyOld
            | StartTls::Broken
            | StartTls::Stall
            | StartTls::Endless => {
                self.say("220", "2.0.0", "Ready to start TLS");
                return Next::StartTls;
            }
            StartTls::Inject => {
                self.say("220", "2.0.0", "Ready to start TLS");
                self.say("250", "2.0.0", "Ok");
                return Next::StartTls;
            }
        }
        Next::Continue
    }

    fn mail(&mut self, line: &[u8]) {
        let keys = &self.host.keys;
        if self.greeted.is_none() {
            return self.say("503", "5.5.1", "Error: send HELO/EHLO first");
        }
        if keys.starttls == StartTls::Required && !self.tls {
            return self.say("530", "5.7.0", "Must issue a STARTTLS command first");
        }
        if self.transaction.is_some() {
            return self.say("503", "5.5.1", "Error: nested MAIL command");
        }
        let Some((from, parameters)) = path(line, b"MAIL FROM:<") else {
            return self.say("501", "5.5.4", "Syntax: MAIL FROM:<address>");
        };
        let smtputf8 = parameters
            .split(|byte| *byte == b' ')
            .any(|word| word.eq_ignore_ascii_case(b"SMTPUTF8"));
        if smtputf8 && !keys.smtputf8 {
            return self.say("555", "5.5.4", "Unsupported option: SMTPUTF8");
        }
        self.transaction = Some(Transaction {
            from: from.into(),
            smtputf8,
            recipients: 0,
            domains: Vec::new(),
        });
        self.say("250", "2.1.0", "Ok");
    }

    fn rcpt(&mut self, line: &[u8]) {
        let host = self.host;
        let Some(transaction) = &mut self.transaction else {
            return self.say("503", "5.5.1", "Error: need MAIL command");
        };
        let Some((path, _)) = path(line, b"RCPT TO:<") else {
            return self.say("501", "5.1.3", "Bad recipient address syntax");
        };
        if host.is_banned(self.client) {
            return self.write(&host.ban_reply, path);
        }
        if self.trial != Trial::None {
            self.trial = Trial::Taken;
            return self.say("450", "4.3.2", "Service currently unavailable");
        }
        if !path.is_ascii() && !transaction.smtputf8 {
            return self.say("553", "5.6.7", "Non-ASCII addresses are not permitted without SMTPUTF8");
        }
        if transaction.recipients >= host.keys.recipients_max {
            return self.say("452", "4.5.3", "Error: too many recipients");
        }
        if host.keys.domains_max > 0 {
            let at = memchr::memrchr(b'@', path).map_or(path.len(), |at| at + 1);
            let domain = path.get(at..).unwrap_or_default();
            if !transaction.domains.iter().any(|seen| seen.eq_ignore_ascii_case(domain)) {
                if transaction.domains.len() >= host.keys.domains_max as usize {
                    return self.say(
                        "451",
                        "4.3.0",
                        "Multiple destination domains per transaction is unsupported",
                    );
                }
                transaction.domains.push(domain.into());
            }
        }
        let question = Question {
            client: self.client,
            from: &transaction.from,
            path,
            tls: self.tls,
        };
        match host.answer(&question, &mut self.key) {
            None => {
                transaction.recipients += 1;
                self.say("250", "2.1.5", "Ok");
            }
            Some(text) => {
                transaction.recipients += u32::from(text.is_positive());
                self.write(text, path);
            }
        }
    }

    fn say(&mut self, code: &str, enhanced: &str, text: &str) {
        self.out.extend_from_slice(code.as_bytes());
        if self.host.keys.enhanced {
            self.out.push(b' ');
            self.out.extend_from_slice(enhanced.as_bytes());
        }
        self.out.push(b' ');
        self.out.extend_from_slice(text.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    fn write(&mut self, text: &Text, rcpt: &[u8]) {
        self.write_for(text, rcpt, None);
    }

    /// As [`Self::write`], with a sender in the place of the transaction's.
    fn write_for(&mut self, text: &Text, rcpt: &[u8], from: Option<&[u8]>) {
        let known = self
            .transaction
            .as_ref()
            .map_or(&b""[..], |transaction| &transaction.from);
        let from = from.unwrap_or(known);
        let values = |name: &[u8]| match name {
            b"rcpt" => Some(rcpt),
            b"from" => Some(from),
            b"helo" => Some(self.greeted.as_ref().map_or(&b""[..], |(name, _)| name)),
            b"client" => Some(self.client_text.as_bytes()),
            b"host" => Some(self.host.keys.name.as_bytes()),
            _ => None,
        };
        text.write(&mut self.out, values);
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

fn on(verb: Verb) -> Option<On> {
    Some(match verb {
        Verb::Ehlo => On::Ehlo,
        Verb::Helo => On::Helo,
        Verb::Starttls => On::Starttls,
        Verb::Mail => On::Mail,
        Verb::Rcpt => On::Rcpt,
        Verb::Rset => On::Rset,
        Verb::Noop => On::Noop,
        Verb::Quit => On::Quit,
        Verb::Data | Verb::Bdat | Verb::Vrfy | Verb::Expn | Verb::Auth | Verb::Other => return None,
    })
}

/// The path after `prefix`, which ends in `<`, and the parameters behind it. `>` inside quotes does not end it.
fn path<'l>(line: &'l [u8], prefix: &[u8]) -> Option<(&'l [u8], &'l [u8])> {
    let (verb, rest) = line.split_at_checked(prefix.len())?;
    if !verb.eq_ignore_ascii_case(prefix) {
        return None;
    }
    let (mut quoted, mut escaped) = (false, false);
    let end = rest.iter().position(|byte| {
        let (is_quoted, is_escaped) = (quoted, std::mem::take(&mut escaped));
        match byte {
            _ if is_escaped => {}
            b'\\' if is_quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
        *byte == b'>' && !is_quoted
    })?;
    Some((rest.get(..end)?, rest.get(end + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_end_at_the_bracket_outside_quotes() {
        for (line, expected) in [
            ("RCPT TO:<a@b.test>", Some(("a@b.test", ""))),
            ("rcpt to:<a@b.test> NOTIFY=NEVER", Some(("a@b.test", " NOTIFY=NEVER"))),
            (r#"RCPT TO:<"a>\"b"@b.test> X"#, Some((r#""a>\"b"@b.test"#, " X"))),
            ("RCPT TO:<>", Some(("", ""))),
            ("RCPT TO:a@b.test", None),
            ("RCPT TO:<a@b.test", None),
            ("RCPT", None),
        ] {
            let found = path(line.as_bytes(), b"RCPT TO:<");
            let found =
                found.map(|(path, rest)| (std::str::from_utf8(path).unwrap(), std::str::from_utf8(rest).unwrap()));
            assert_eq!(found, expected, "{line}");
        }
    }
}
