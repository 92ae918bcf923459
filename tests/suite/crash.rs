//! Jobs that are killed, stopped and taken up again, through the program, counted at the mail hosts.
//!
//! `PRESEND_KILLS=1000 cargo test --test suite crash::` is the long form; `PRESEND_SEED` repeats one.

mod budget;
mod resume;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use presend::lab::World;
use tokio::runtime::Runtime;

use super::{
    cli::{Place, Ran, columns},
    watch::{Watched, below_test},
};

/// Trusted hosts: several recipients at once, slow enough that kills meet open sessions; and rows that need nobody.
pub(crate) const WORLD: &str = r#"
record_lines = true
[[host]]
name = "mx.plain.test"
serves = ["plain.test", "second.test"]
mailboxes = ["user0", "user2", "user4", "user6"]
reply_delay_ms = 8
[[host]]
name = "mx.all.test"
serves = ["all.test"]
catch_all = true
reply_delay_ms = 8
[[host]]
name = "mx.grey.test"
serves = ["grey.test"]
mailboxes = ["user0", "user1", "user2", "user3", "user4", "user5", "user6", "user7", "user8", "user9"]
greylist_ms = 300
[[host]]
name = "mx.slow.test"
serves = ["slow.test"]
mailboxes = ["user1"]
pipelining = "off"
greeting_delay_ms = 150
reply_delay_ms = 30
"#;

/// What is answered is in the file so long after the host's last word, on a machine that does other things too.
const MOMENT: Duration = Duration::from_millis(400);

/// A world that is served, a folder, and when it began.
pub(crate) struct Net {
    lab: Watched,
    pub(crate) place: Place,
    start: Instant,
    // Last: it serves the lab until everything else is gone.
    _runtime: Runtime,
}

/// One connection of a host: who was asked about, from when to when.
struct Talk {
    from: Duration,
    until: Duration,
    quit: bool,
    recipients: Vec<String>,
}

impl Net {
    pub(crate) fn new(world: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let start = Instant::now();
        let lab = runtime
            .block_on(Watched::start(World::parse(world, "world").unwrap(), below_test))
            .unwrap();
        Self {
            lab,
            place: Place::new(),
            start,
            _runtime: runtime,
        }
    }

    fn arguments(&self, arguments: &[&str]) -> Vec<String> {
        let (dns, port) = (self.lab.dns().to_string(), self.lab.smtp_port().to_string());
        let all = ["--nameserver", &dns, "--smtp-port", &port, "--allow-special-use"];
        let identity = ["--helo-name", "probe.example.net", "--mail-from", "pm@example.net"];
        let rest = ["--trusted-host", ".test", "--db", "jobs.db"];
        [arguments, &all, &identity, &rest]
            .concat()
            .into_iter()
            .map(String::from)
            .collect()
    }

    pub(crate) fn spawn(&self, arguments: &[&str]) -> Child {
        Command::new(assert_cmd::cargo::cargo_bin!("presend"))
            .args(self.arguments(arguments))
            .current_dir(self.place.0.path())
            .env("HOME", self.place.0.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        let arguments = self.arguments(arguments);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.place.run(&arguments)
    }

    fn talks(&self) -> Vec<Talk> {
        let mut talks = Vec::new();
        for host in self.lab.counters().hosts.values() {
            let mut connections: BTreeMap<u64, Talk> = BTreeMap::new();
            for line in &host.lines {
                let at = Duration::from_micros(line.at_us);
                let talk = connections.entry(line.connection).or_insert(Talk {
                    from: at,
                    until: at,
                    quit: false,
                    recipients: Vec::new(),
                });
                talk.until = at;
                talk.quit |= line.text == "QUIT";
                let recipient = line
                    .text
                    .strip_prefix("RCPT TO:<")
                    .and_then(|rest| rest.strip_suffix('>'));
                talk.recipients.extend(recipient.map(str::to_ascii_lowercase));
            }
            talks.extend(connections.into_values());
        }
        talks
    }

    /// How often each recipient was asked about.
    pub(crate) fn asked(&self) -> BTreeMap<String, usize> {
        count(self.talks().into_iter().flat_map(|talk| talk.recipients))
    }

    /// Waits until the hosts have seen enough.
    pub(crate) fn wait_for(&self, what: impl Fn(&presend::lab::Counters) -> bool) {
        let until = Instant::now() + Duration::from_secs(30);
        while !what(&self.lab.counters()) {
            assert!(Instant::now() < until, "{:?}", self.lab.counters());
            std::thread::yield_now();
        }
    }
}

fn count(all: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    all.fold(BTreeMap::new(), |mut counts, one| {
        *counts.entry(one).or_default() += 1;
        counts
    })
}

/// Whom the list does not name.
pub(crate) fn strangers(asked: &BTreeMap<String, usize>) -> BTreeSet<&str> {
    let stranger = |rcpt: &&str| !rcpt.starts_with("user");
    asked.keys().map(String::as_str).filter(stranger).collect()
}

/// Rows that ask, rows that repeat, and rows that need nobody: many of these make the import and the writing take long.
fn list(idle: usize) -> String {
    let mut list = String::from("n,email\n");
    let mut n = 0;
    let mut row = |text: &str| {
        let _ = writeln!(list, "{n},{text}");
        n += 1;
    };
    for user in 0..12 {
        for domain in [
            "plain.test",
            "grey.test",
            "second.test",
            "slow.test",
            "all.test",
            "nowhere.test",
        ] {
            if domain != "slow.test" || user < 4 {
                row(&format!("user{user}@{domain}"));
            }
        }
        row("not an address");
        row(&format!("USER{user}@Plain.test"));
        row("\"no end");
        for number in 0..idle / 12 {
            row(&format!("idle {number}"));
        }
    }
    list.replace("\"no end", "a@b@c")
}

/// Random numbers that a seed repeats (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % most
    }
}

const VERIFY: [&str; 7] = [
    "verify",
    "list.csv",
    "--output",
    "out.csv",
    "--retry-ladder",
    "1s,2s,4s",
    "--quiet",
];
const COLUMNS: [&str; 4] = ["n", "email", "presend_label", "presend_reason"];

/// Kills one job at random moments and lets it end; says how many kills met it.
fn killed_job(idle: usize, kills: usize, expected: &str, dice: &mut Dice) -> usize {
    let net = Net::new(WORLD);
    net.place.write("list.csv", list(idle));
    let mut moments = Vec::new();
    while moments.len() < kills {
        let mut child = net.spawn(&VERIFY);
        let reach = [250, 700, 1800][usize::try_from(dice.below(3)).unwrap()];
        std::thread::sleep(Duration::from_millis(dice.below(reach)));
        if child.try_wait().unwrap().is_some() {
            break;
        }
        child.kill().unwrap();
        moments.push(net.start.elapsed());
        child.wait().unwrap();
    }
    let ran = net.run(&VERIFY);
    assert!(ran.code == 0, "{}: {}", ran.code, ran.err);
    let rows = columns(&net.place.read("out.csv"), b',', &COLUMNS);
    for (came, expected) in rows.split('/').zip(expected.split('/')) {
        assert_eq!(came, expected);
    }
    assert_eq!(rows.len(), expected.len(), "every row once");
    check_questions(&net, &moments);
    let left = |name: &str| net.place.run(&["jobs", "list", "--db", "jobs.db"]).out.contains(name);
    assert!(!left("importing") && !left("open") && !left("(deleted)"));
    let files = std::fs::read_dir(net.place.0.path()).unwrap();
    let left = |file: &std::fs::DirEntry| file.file_name().to_string_lossy().contains(".presend-");
    // An empty one is younger than a minute; it may belong to a process that just starts.
    let rows = |file: &std::fs::DirEntry| file.metadata().unwrap().len() > 0;
    assert!(
        !files.map(Result::unwrap).any(|file| left(&file) && rows(&file)),
        "rows were left behind"
    );
    moments.len()
}

/// Whatever was answered, but for the sessions that a kill met, was asked once; twice at the host that greylists.
fn check_questions(net: &Net, kills: &[Duration]) {
    let met = |talk: &Talk| {
        let within = |kill: &&Duration| talk.from <= **kill && talk.until + MOMENT >= **kill;
        !talk.quit || kills.iter().any(|kill| within(&kill))
    };
    let (met, whole): (Vec<Talk>, Vec<Talk>) = net.talks().into_iter().partition(met);
    let whole = count(whole.into_iter().flat_map(|talk| talk.recipients));
    for (recipient, times) in &whole {
        let most = if recipient.ends_with("@grey.test") { 2 } else { 1 };
        assert!(
            *times <= most,
            "{recipient} was asked {times} times in sessions that no kill met"
        );
    }
    let met = count(met.into_iter().flat_map(|talk| talk.recipients));
    for (recipient, times) in &met {
        assert!(
            *times <= kills.len(),
            "{recipient} was asked {times} times in sessions that {} kills met",
            kills.len()
        );
    }
    let asked = net.asked();
    for domain in ["plain.test", "second.test", "all.test", "grey.test", "slow.test"] {
        let strangers = strangers(&asked);
        let here: Vec<_> = strangers
            .iter()
            .filter(|rcpt| rcpt.ends_with(&format!("@{domain}")))
            .collect();
        // Of both shapes, where everybody is taken.
        let most = if domain == "all.test" { 2 } else { 1 };
        assert!(here.len() <= most, "the control recipient stays the same: {here:?}");
    }
}

#[test]
fn j1_killed_jobs_answer_every_row_once_and_ask_nobody_again() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let kills = usize::try_from(number("PRESEND_KILLS").unwrap_or(50)).unwrap();
    let seed = number("PRESEND_SEED").unwrap_or_else(rand::random);
    eprintln!("PRESEND_SEED={seed}");
    let mut dice = Dice(seed);
    let expected = [0, 24_000].map(|idle| {
        let net = Net::new(WORLD);
        net.place.write("list.csv", list(idle));
        let ran = net.run(&VERIFY);
        assert!(ran.code == 0, "{}", ran.err);
        check_questions(&net, &[]);
        (idle, columns(&net.place.read("out.csv"), b',', &COLUMNS))
    });
    let mut done = 0;
    for (idle, expected) in expected.iter().cycle() {
        done += killed_job(*idle, (kills - done).min(10), expected, &mut dice);
        if done == kills {
            break;
        }
    }
}

#[test]
fn a_second_process_is_told_who_works_on_the_job() {
    let net = Net::new(WORLD);
    net.place.write("list.csv", list(0));
    let mut child = net.spawn(&VERIFY);
    net.wait_for(|seen| seen.sum(|host| host.connections) > 0);
    let ran = net.run(&VERIFY);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains(&format!("(process {})", child.id())), "{}", ran.err);
    assert!(child.wait().unwrap().success());
    check_questions(&net, &[]);
}
