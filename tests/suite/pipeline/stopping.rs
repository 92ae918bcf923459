//! A run that is told to stop writes every row, leaves no host without QUIT, and says how it ended.

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Read},
    process::{Child, Command},
    time::{Duration, Instant},
};

use super::{super::cli::columns, Net, sessions};

/// How long a polite end may take; a reply is waited for a few seconds more.
const SOON: Duration = Duration::from_secs(15);

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill")
        .args([name, &child.id().to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}

/// Waits until the mail hosts have seen enough, so that the signal falls into open sessions.
fn wait_for(net: &Net, what: impl Fn(&presend::lab::Counters) -> bool) {
    let until = Instant::now() + SOON;
    while !what(&net.lab.counters()) {
        assert!(
            Instant::now() < until,
            "the run does not get there: {:?}",
            net.lab.counters()
        );
        std::thread::yield_now();
    }
}

/// Code, standard output and standard error of a child that must end soon.
fn end(mut child: Child) -> (Option<i32>, String, String) {
    let mut out = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        out.read_to_string(&mut text).unwrap();
        text
    });
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    (child.wait().unwrap().code(), reader.join().unwrap(), err)
}

/// Slow hosts: one answers every command after a second, one waits before it greets, one greylists.
const SLOW: &str = "\
[[host]]\nname = \"mx.slow.test\"\nserves = [\"slow.test\"]\npipelining = \"off\"\nreply_delay_ms = 500\nmailboxes = [\"user0\"]\n\
[[host]]\nname = \"mx.late.test\"\nserves = [\"late.test\"]\ngreeting_delay_ms = 2000\n\
[[host]]\nname = \"mx.grey.test\"\nserves = [\"grey.test\"]\ngreylist_ms = 86400000\n";

#[test]
fn j8_a_signal_ends_the_run_politely_with_every_row_written() {
    for name in ["-INT", "-TERM"] {
        let net = Net::new(SLOW);
        let mut list = String::from("n,email\n");
        for n in 0..40 {
            let _ = writeln!(list, "{n},user{n}@slow.test");
        }
        list.push_str("40,jane@late.test\n41,jane@grey.test\n42,jane@\n");
        net.place.write("list.csv", &list);
        let child = net.spawn(&["verify", "list.csv"]);
        // Somebody was answered, somebody waits for the second rung of the ladder.
        wait_for(&net, |seen| {
            seen.hosts["mx.slow.test"].recipients > 1 && seen.hosts["mx.grey.test"].deferred > 0
        });
        let asked = Instant::now();
        signal(&child, name);
        let (code, out, err) = end(child);
        assert!(asked.elapsed() < SOON, "{name}: {:?}", asked.elapsed());
        assert_eq!(code, Some(130), "{name}: {err}");
        assert!(err.contains("interrupted"), "{name}: {err}");
        let order = columns(&out, b',', &["n"]);
        let expected: Vec<String> = (0..43).map(|n| n.to_string()).collect();
        assert_eq!(order, expected.join("/"), "{name}");
        let reasons = columns(&out, b',', &["presend_reason"]);
        for reason in ["interrupted", "syntax_empty_domain"] {
            assert!(reasons.contains(reason), "{name}: {reason}: {reasons}");
        }
        assert!(!reasons.contains("internal"), "{name}: {reasons}");
        assert_eq!(net.seen("mx.slow.test").without_quit, 0, "{name}");
    }
}

#[test]
fn a_run_whose_time_is_up_stops_politely_and_leaves_the_rest() {
    let net = Net::new(SLOW);
    net.place.write("list.txt", super::users(40, "slow.test"));
    let ran = net.run(&["verify", "list.txt", "--until", "2s"]);
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert!(
        ran.err.contains("time is up") && ran.err.contains("jobs resume"),
        "{}",
        ran.err
    );
    assert!(!ran.err.contains("(interrupted)"), "{}", ran.err);
    assert_eq!(ran.out.lines().count(), 41);
    assert!(ran.out.contains("interrupted"), "{}", ran.out);
    assert_eq!(net.seen("mx.slow.test").without_quit, 0);
    let usage = net.run(&["verify", "list.txt", "--until", "soon"]);
    assert_eq!(usage.code, 2, "{}", usage.err);
}

#[test]
fn j8_an_interrupted_run_completes_its_files() {
    let net = Net::new(SLOW);
    let list = super::users(40, "slow.test");
    net.place.write("list.txt", &list);
    let child = net.spawn(&["verify", "list.txt", "--output", "out.csv"]);
    wait_for(&net, |seen| seen.hosts["mx.slow.test"].recipients > 1);
    assert!(!net.place.has("out.csv"), "a file appears when it is complete");
    signal(&child, "-INT");
    let (code, ..) = end(child);
    assert_eq!((code, net.place.read("out.csv").lines().count()), (Some(130), 41));
}

#[test]
fn j8_check_stops_too() {
    let net = Net::new(SLOW);
    let child = net.spawn(&["check", "user0@slow.test", "user1@slow.test"]);
    wait_for(&net, |seen| seen.hosts["mx.slow.test"].commands.contains_key("EHLO"));
    signal(&child, "-INT");
    let (code, _, err) = end(child);
    assert_eq!(code, Some(130), "{err}");
    assert_eq!(sessions(&net.lab.counters()).1, 0);
}

#[test]
fn the_second_signal_ends_at_once() {
    let net = Net::new(
        "[[host]]\nname = \"mx.mute.test\"\nserves = [\"mute.test\"]\nscript = [{ on = \"greeting\", then = \"hang\" }]\n",
    );
    net.place.write("list.txt", "jane@mute.test\n");
    let mut child = net.spawn(&["verify", "list.txt"]);
    wait_for(&net, |seen| seen.hosts["mx.mute.test"].connections > 0);
    signal(&child, "-INT");
    // The first signal is answered in words; only then can a second be told from it.
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut text = String::new();
    while !text.contains("stopping") {
        assert!(said.read_line(&mut text).unwrap() > 0, "{text}");
    }
    signal(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn a_reader_that_goes_away_ends_the_run_without_a_word() {
    let net = Net::plain();
    let list = super::users(20_000, "known.test");
    net.place.write("list.txt", list);
    let mut child = net.spawn(&["verify", "list.txt", "--quiet"]);
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    out.read_line(&mut first).unwrap();
    assert!(first.starts_with("address,presend_label"), "{first}");
    drop(out);
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!((child.wait().unwrap().code(), err.as_str()), (Some(0), ""));
}
