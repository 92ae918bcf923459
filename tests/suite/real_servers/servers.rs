//! Starts `tests/real/up` and reads what the servers wrote down.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::client::Client;

/// Every address that `tests/real/dns/test.zone` names.
pub(super) const ADDRESSES: [Ipv4Addr; 20] = [
    loopback(11),
    loopback(12),
    loopback(13),
    loopback(14),
    loopback(15),
    loopback(16),
    loopback(17),
    loopback(18),
    loopback(19),
    loopback(20),
    loopback(21),
    loopback(22),
    loopback(31),
    loopback(32),
    loopback(33),
    loopback(34),
    loopback(35),
    loopback(36),
    loopback(37),
    Ipv4Addr::LOCALHOST,
];

/// The commands a prober may say, by Postfix's names for them; `commands` is the sum.
const PROBE_VERBS: [&str; 8] = ["ehlo", "helo", "starttls", "mail", "rcpt", "rset", "quit", "commands"];

/// How Postfix sums up a session in which only QUIT was said: ours, to see that it is alive.
const GREETING_ONLY: &str = "quit=1 commands=1\n";

/// How Exim notes a session that the client left without QUIT.
const EXIM_LOST: &str = " unexpected disconnection while reading SMTP command ";

/// The address of the set-up in network `net`.
pub(super) const fn loopback(net: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, net, 1)
}

/// Running servers. They stop when this is dropped, and also when the test process dies: their supervisor reads from a
/// pipe that only we hold open.
pub(super) struct Servers {
    supervisor: Child,
    dir: TempDir,
    pub(super) smtp_port: u16,
    pub(super) dns: SocketAddr,
}

impl Servers {
    /// Starts all of them and returns when all answer.
    pub(super) fn start() -> Self {
        // One at a time, so that two tests do not choose the same ports.
        static STARTING: Mutex<()> = Mutex::new(());
        let _guard = STARTING.lock();
        let dir = TempDir::with_prefix("presend-real-").expect("a temporary directory");
        let ports = [free_port(), free_port(), free_port()];
        let mut supervisor = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/up"))
            .arg(dir.path())
            .args(ports.map(|port| port.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("tests/real/up starts");
        let mut line = String::new();
        BufReader::new(supervisor.stdout.take().expect("piped"))
            .read_line(&mut line)
            .expect("text");
        assert_eq!(
            line, "ready\n",
            "the real servers did not start; see above, and run tests/real/install"
        );
        Self {
            supervisor,
            dir,
            smtp_port: ports[0],
            dns: SocketAddr::from((Ipv4Addr::LOCALHOST, ports[1])),
        }
    }

    /// The logs of those that return a test's mail: Postfix's and Exim's.
    pub(super) fn return_logs(&self) -> [PathBuf; 2] {
        ["postfix/mail.log", "exim-returns/mainlog"].map(|name| self.dir.path().join(name))
    }

    /// The certificate of every server.
    pub(super) fn certificate(&self) -> PathBuf {
        self.dir.path().join("cert")
    }

    /// Waits until the servers have written down the end of every session, and returns what they wrote.
    pub(super) fn record(&self) -> Record {
        // Postfix's log passes through one queue: once this session is in it, the beginnings of all earlier ones are too.
        let looks = count(&Record::read(self.dir.path()).postfix, GREETING_ONLY);
        Client::greet(loopback(20), self.smtp_port).say("QUIT");
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let record = Record::read(self.dir.path());
            if record.open_sessions() == 0 && count(&record.postfix, GREETING_ONLY) > looks {
                return record;
            }
            assert!(Instant::now() < deadline, "sessions never ended:\n{}", record.text());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        let _ = self.supervisor.wait();
    }
}

/// A port that is free on every address.
fn free_port() -> u16 {
    loop {
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = first.local_addr().expect("bound").port();
        let others = ADDRESSES.iter().filter(|address| **address != Ipv4Addr::LOCALHOST);
        if others
            .map(|address| TcpListener::bind((*address, port)))
            .all(|bound| bound.is_ok())
        {
            return port;
        }
    }
}

/// What the mail servers wrote down.
pub(super) struct Record {
    postfix: String,
    exim: String,
    files: Vec<PathBuf>,
}

/// One SMTP session as Postfix wrote it down.
#[derive(Default)]
pub(super) struct Session {
    pub(super) set_up: String,
    /// Recipients that were refused for good.
    pub(super) refused: u32,
    /// How often each command was said.
    verbs: BTreeMap<String, u32>,
    /// 421 after too many errors.
    closed_by_server: bool,
}

impl Session {
    fn new(set_up: &str) -> Self {
        Self {
            set_up: set_up.to_owned(),
            ..Self::default()
        }
    }
}

impl Record {
    fn read(dir: &Path) -> Self {
        let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap_or_default();
        let mut files = Vec::new();
        for queue in [
            "incoming", "active", "deferred", "hold", "maildrop", "corrupt", "bounce", "defer",
        ] {
            regular_files(&dir.join("postfix/queue").join(queue), &mut files);
        }
        regular_files(&dir.join("postfix/mailboxes"), &mut files);
        regular_files(&dir.join("exim/spool/input"), &mut files);
        files.extend(Some(dir.join("exim/mailbox")).filter(|mailbox| mailbox.exists()));
        Self {
            postfix: read("postfix/mail.log"),
            exim: read("exim/mainlog"),
            files,
        }
    }

    /// Both logs.
    pub(super) fn text(&self) -> String {
        format!("{}{}", self.postfix, self.exim)
    }

    fn open_sessions(&self) -> usize {
        let postfix = count(&self.postfix, ": connect from ") - count(&self.postfix, ": disconnect from ");
        let opened = count(&self.exim, "(TCP/IP connection count = ");
        let ended = count(&self.exim, " closed by ") + count(&self.exim, EXIM_LOST);
        postfix + opened.saturating_sub(ended)
    }

    /// Every finished session with Postfix, in order, without those in which only we looked whether it is alive.
    pub(super) fn sessions(&self) -> Vec<Session> {
        let mut open: HashMap<&str, Session> = HashMap::new();
        let mut sessions = Vec::new();
        let lines = self.postfix.split_inclusive('\n');
        for line in lines.filter(|line| !line.ends_with(GREETING_ONLY)) {
            // `<time> <host> postfix/<set-up>/smtpd[<pid>]: <event>`
            let Some((process, event)) = line
                .split_once(" postfix/")
                .and_then(|(_, line)| line.split_once("]: "))
            else {
                continue;
            };
            if event.starts_with("connect from ") {
                let (set_up, _) = process.split_once('/').expect("a set-up");
                open.insert(process, Session::new(set_up));
            } else if let Some(session) = open.get_mut(process) {
                session.refused += u32::from(event.contains(": reject: RCPT from ") && event.contains("]: 5"));
                session.closed_by_server |= event.starts_with("too many errors");
                if let Some(summary) = event.strip_prefix("disconnect from ") {
                    session.verbs = summary.split_whitespace().filter_map(verb_count).collect();
                    sessions.extend(open.remove(process));
                }
            }
        }
        sessions
    }

    /// Reply code and recipient of every refusal by Postfix, in order.
    pub(super) fn refusals(&self) -> impl Iterator<Item = (&str, &str)> {
        self.postfix.lines().filter_map(|line| {
            let (_, reply) = line.split_once(": reject: RCPT from localhost[127.0.0.1]: ")?;
            let (_, recipient) = reply.split_once(" to=<")?;
            Some((reply.get(..3)?, recipient.split_once('>')?.0))
        })
    }

    /// Nothing but questions reached the servers, and each session was left with QUIT.
    pub(super) fn proves_no_message(&self) -> Result<(), String> {
        if let Some(file) = self.files.first() {
            return Err(format!("a queued message: {}", file.display()));
        }
        if let Some(line) = self
            .postfix
            .lines()
            .find(|line| line.contains("message-id=") || line.contains("from=<") && line.contains("size="))
        {
            return Err(format!("Postfix queued a message: {line}"));
        }
        if let Some(line) = self.exim.lines().find(|line| line.contains(" <= ")) {
            return Err(format!("Exim queued a message: {line}"));
        }
        if let Some(line) = self.exim.lines().find(|line| line.contains(EXIM_LOST)) {
            return Err(format!("a session with Exim was left without QUIT: {line}"));
        }
        let sessions = self.sessions();
        if sessions.is_empty() {
            return Err("nobody asked Postfix anything".to_owned());
        }
        for session in &sessions {
            if let Some(verb) = session.verbs.keys().find(|verb| !PROBE_VERBS.contains(&verb.as_str())) {
                return Err(format!("`{verb}` was said to {}", session.set_up));
            }
            if session.verbs.get("quit") != Some(&1) && !session.closed_by_server {
                return Err(format!("a session with {} was left without QUIT", session.set_up));
            }
        }
        Ok(())
    }
}

/// `rcpt=3/6` was said six times and accepted three times; `quit=1` was accepted each time.
fn verb_count(token: &str) -> Option<(String, u32)> {
    let (verb, counts) = token.split_once('=')?;
    let (_, said) = counts.split_once('/').unwrap_or(("", counts));
    Some((verb.to_owned(), said.parse().ok()?))
}

fn count(text: &str, what: &str) -> usize {
    text.matches(what).count()
}

fn regular_files(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            regular_files(&entry.path(), into);
        } else {
            into.push(entry.path());
        }
    }
}
