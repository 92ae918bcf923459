//! The whole path, through the program, against a miniature internet: a list in, labels and reasons out, and what the mail
//! hosts saw of it. Names of tests carry the ids of HOSTILE.md that they cover.

mod demo;
mod dns;
mod dry_run;
mod faults;
mod formats;
mod hosts;
mod limits;
mod lists;
mod output;
mod outward;
mod proxy;
mod resolver;
mod retries;
mod stopping;
mod turncoats;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    process::{Child, Stdio},
};

use assert_cmd::Command;
use presend::lab::{Counters, HostCounters, World};
use tokio::runtime::Runtime;

use super::{
    cli::{Place, Ran},
    watch::{Watched, below_test},
};

/// A world that is served, and a folder in which the program runs.
struct Net {
    lab: Watched,
    place: Place,
    // Last: it serves the lab until everything else is gone.
    runtime: Runtime,
}

impl Net {
    fn new(world: &str) -> Self {
        let world = World::parse(world, "world.toml").unwrap_or_else(|error| panic!("{error}\n{world}"));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let lab = runtime.block_on(Watched::start(world, below_test)).unwrap();
        Self {
            lab,
            place: Place::new(),
            runtime,
        }
    }

    /// One host that knows `jane`.
    fn plain() -> Self {
        Self::new("[[host]]\nname = \"mx.known.test\"\nserves = [\"known.test\"]\nmailboxes = [\"jane\"]\n")
    }

    /// The program with what points it at the lab; hosts below `.test` are trusted, so that nothing waits for politeness.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.place.command(arguments);
        // Each run of a test asks again; what is kept has tests of its own.
        command
            .args(self.flags())
            .args(IDENTITY)
            .env("PRESEND_NO_STORE", "true");
        command
    }

    fn flags(&self) -> Vec<String> {
        self.flags_asking(self.lab.dns())
    }

    /// As [`Self::flags`], for another name server than the lab's.
    fn flags_asking(&self, nameserver: SocketAddr) -> Vec<String> {
        let (dns, port) = (nameserver.to_string(), self.lab.smtp_port().to_string());
        ["--nameserver", &dns, "--smtp-port", &port]
            .into_iter()
            .chain(["--allow-special-use", "--trusted-host", ".test"])
            .map(String::from)
            .collect()
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        Ran::from(self.command(arguments).output().unwrap())
    }

    /// `presend verify` on a list that is written first.
    fn verify(&self, list: &str, arguments: &[&str]) -> Ran {
        self.place.write("list.csv", list);
        self.run(&[&["verify", "list.csv"][..], arguments].concat())
    }

    /// The program running beside the test.
    fn spawn(&self, arguments: &[&str]) -> Child {
        let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin!("presend"));
        command
            .args(arguments)
            .args(self.flags())
            .args(IDENTITY)
            .env("PRESEND_NO_STORE", "true")
            .current_dir(self.place.0.path())
            .env("HOME", self.place.0.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    fn seen(&self, host: &str) -> HostCounters {
        self.lab.counters().hosts.get(host).cloned().unwrap()
    }
}

const IDENTITY: [&str; 4] = [
    "--helo-name",
    "probe.example.net",
    "--mail-from",
    "postmaster@example.net",
];

/// `label reason` by the first column of the output.
fn labels(ran: &Ran) -> BTreeMap<String, String> {
    let mut reader = csv::Reader::from_reader(ran.out.as_bytes());
    let header = reader.headers().unwrap().clone();
    let column = |name: &str| header.iter().position(|cell| cell == name).unwrap();
    let (label, reason) = (column("presend_label"), column("presend_reason"));
    reader
        .records()
        .map(|row| {
            let row = row.unwrap();
            (row[0].to_owned(), format!("{} {}", &row[label], &row[reason]))
        })
        .collect()
}

/// Differences between what is expected and what came, one a line; empty when there are none.
fn differences<'a>(
    expected: impl IntoIterator<Item = (&'a str, &'a str)>,
    came: &BTreeMap<String, String>,
) -> Vec<String> {
    expected
        .into_iter()
        .filter_map(|(address, expected)| {
            let came = came.get(address).map_or("no row", String::as_str);
            (came != expected).then(|| format!("{address}: expected {expected}, came {came}"))
        })
        .collect()
}

/// A list of `user0`, `user1` and so on at one domain.
fn users(count: usize, domain: &str) -> String {
    (0..count).fold(String::new(), |list, n| list + &format!("user{n}@{domain}\n"))
}

/// Connections, and sessions that were left without QUIT.
fn sessions(counters: &Counters) -> (u64, u64) {
    (
        counters.sum(|host| host.connections),
        counters.sum(|host| host.without_quit),
    )
}
