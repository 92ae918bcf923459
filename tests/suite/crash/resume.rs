//! Jobs that end politely and go on, and what later jobs need not ask.

use std::process::Command;

use presend::store::JobState;
use serde_json::Value;

use super::{Net, WORLD, list, strangers};
use crate::cli::columns;

fn jobs(net: &Net) -> Vec<Value> {
    let ran = net.place.run(&["jobs", "list", "--json", "--db", "jobs.db"]);
    serde_json::from_str(&ran.out).unwrap()
}

fn id(net: &Net) -> String {
    jobs(net)[0]["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_job_that_was_stopped_goes_on_with_the_same_command() {
    for signal in ["-INT", "-TERM"] {
        let net = Net::new(WORLD);
        net.place.write("list.csv", list(0));
        let command = ["verify", "list.csv", "--output", "out.csv", "--retry-ladder", "2s"];
        let mut child = net.spawn(&command);
        // The answers of the greylisting host wait for their second question; the slow one is still being asked, perhaps.
        net.wait_for(|seen| {
            ["mx.grey.test", "mx.all.test", "mx.plain.test"].iter().all(|name| {
                let host = &seen.hosts[*name];
                host.connections > 0 && host.commands.get("QUIT").copied().unwrap_or(0) == host.connections
            })
        });
        let pid = child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(130));
        let rows = net.place.read("out.csv").lines().count();
        assert_eq!(rows, list(0).lines().count(), "{signal}: every row is written");
        let before = jobs(&net);
        assert_eq!(
            (before.len(), &before[0]["state"], &before[0]["taken"]),
            (1, &"open".into(), &false.into())
        );
        let ran = net.run(&command);
        assert!(ran.code == 0, "{}", ran.err);
        let reasons = columns(&net.place.read("out.csv"), b',', &["presend_reason"]);
        for unfinished in ["interrupted", "greylisted"] {
            assert!(!reasons.contains(unfinished), "{signal}: {reasons}");
        }
        let after = jobs(&net);
        assert_eq!((after.len(), &after[0]["state"]), (1, &JobState::Done.name().into()));
        let asked = net.asked();
        for (recipient, times) in &asked {
            let most = 1 + usize::from(recipient.ends_with("@grey.test"));
            // The slow host's session was cut short: one question may have been on its way.
            let most = most + usize::from(recipient.ends_with("@slow.test"));
            assert!(*times <= most, "{signal}: {recipient} {times}");
        }
        assert_eq!(net.lab.counters().sum(|host| host.without_quit), 0, "{signal}");
    }
}

#[test]
fn a_running_job_tells_when_it_will_be_ready_and_which_host_is_last() {
    let net = Net::new(WORLD);
    net.place.write("list.csv", "user0@grey.test\nuser0@plain.test\n");
    let mut child = net.spawn(&["verify", "list.csv", "--output", "out.csv", "--retry-ladder", "1h"]);
    let until = std::time::Instant::now() + std::time::Duration::from_mins(1);
    let job = loop {
        match jobs(&net).pop() {
            Some(job) if job["eta"].is_string() && job["waiting_hosts"] == 1 => break job,
            last => assert!(std::time::Instant::now() < until, "{last:?}"),
        }
        std::thread::yield_now();
    };
    let ready = humantime::parse_rfc3339(job["eta"].as_str().unwrap()).unwrap();
    let left = ready.duration_since(std::time::SystemTime::now()).unwrap().as_secs();
    assert!((3_000..4_000).contains(&left), "{left}");
    assert_eq!(job["last_group"], "host mx.grey.test, waits for the time to ask again");
    let shown = |id: &Value| {
        net.place
            .run(&["jobs", "show", id.as_str().unwrap(), "--db", "jobs.db"])
            .out
    };
    let text = shown(&job["id"]);
    for said in [
        "ready         about 20",
        "(in 59m",
        "waiting       1 group of mail hosts",
        "last          host mx.grey.test, waits for the time to ask again",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let after = &jobs(&net)[0];
    assert_eq!(
        (&after["eta"], &after["waiting_hosts"]),
        (&Value::Null, &0.into()),
        "nobody waits any more"
    );
    assert!(shown(&job["id"]).contains("ready         unknown"));
}

#[test]
fn what_no_wait_leaves_is_asked_when_it_is_due() {
    let net = Net::new(WORLD);
    net.place.write(
        "list.csv",
        "user0@grey.test\nuser1@grey.test\nuser0@plain.test\nuser1@plain.test\n",
    );
    let ladder = ["--retry-ladder", "3s,6s"];
    let began = std::time::Instant::now();
    let ran = net.run(&[&["verify", "list.csv", "--no-wait"][..], &ladder].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(
        ran.out.contains("greylisted") && ran.out.contains("mailbox_exists"),
        "{}",
        ran.out
    );
    let job = &jobs(&net)[0];
    let retry = job["retry_at"].as_str().unwrap();
    assert!(
        ran.err
            .contains(&format!("still to come, not before {retry}:  presend jobs resume")),
        "{}",
        ran.err
    );
    let retry = humantime::parse_rfc3339(retry).unwrap();
    let from = std::time::SystemTime::now() - began.elapsed();
    let wait = retry.duration_since(from).unwrap().as_secs_f32();
    // Told in whole seconds, and the question was asked a moment after the start.
    assert!((2.0..30.0).contains(&wait), "{wait}");
    let shown = net
        .place
        .run(&["jobs", "show", job["id"].as_str().unwrap(), "--db", "jobs.db"]);
    assert!(shown.out.contains("next question not before 20"), "{}", shown.out);
    let asked = net.asked();
    let id = id(&net);
    let ran = net.run(&[&["jobs", "resume", &id, "--no-wait"][..], &ladder].concat());
    if began.elapsed().as_secs() < 3 {
        assert!(ran.out.contains("greylisted"), "{}", ran.out);
        assert_eq!(net.asked(), asked, "nothing is due yet");
    }
    let half = net.place.run(&["jobs", "export", &id, "--db", "jobs.db"]);
    assert!(half.out.contains("mailbox_exists"), "{}{}", half.out, half.err);
    let ran = net.run(&[&["jobs", "resume", &id][..], &ladder].concat());
    assert_eq!(
        columns(&ran.out, b',', &["presend_reason"]),
        "mailbox_exists/mailbox_exists/mailbox_exists/mailbox_unknown",
        "{}",
        ran.err
    );
    let asked = net.asked();
    assert_eq!((asked["user0@grey.test"], asked["user0@plain.test"]), (2, 1));
    assert_eq!(strangers(&asked).len(), 1, "{asked:?}");
    let job = &jobs(&net)[0];
    assert_eq!((&job["state"], &job["retry_at"]), (&"done".into(), &Value::Null));
    let export = net.place.run(&["jobs", "export", &id, "--db", "jobs.db"]);
    assert_eq!(
        (export.code, columns(&export.out, b',', &["presend_reason"])),
        (0, columns(&ran.out, b',', &["presend_reason"]))
    );
    net.place.write("other.csv", "user9@grey.test\n");
    let ran = net.run(&["jobs", "resume", &id, "other.csv"]);
    assert!(ran.code == 2 && ran.err.contains("are not those of job"), "{}", ran.err);
}

#[test]
fn a_later_job_asks_only_what_is_not_known() {
    let net = Net::new(WORLD);
    let verify = |list: &str, options: &[&str]| {
        net.place.write("list.txt", list);
        net.run(&[&["verify", "list.txt"][..], options].concat())
    };
    let reasons = |ran: &super::Ran| columns(&ran.out, b',', &["presend_reason"]);
    let ran = verify("user0@plain.test\nuser0@all.test\n", &[]);
    assert_eq!(reasons(&ran), "mailbox_exists/accepts_all");
    let first = net.asked();
    assert_eq!(strangers(&first).len(), 3, "two shapes where everybody is taken");
    // Other addresses of the same domains: the control recipients stand.
    let ran = verify("user2@plain.test\nuser1@plain.test\nuser5@all.test\n", &[]);
    assert_eq!(reasons(&ran), "mailbox_exists/mailbox_unknown/accepts_all");
    let second = net.asked();
    assert_eq!(strangers(&second), strangers(&first));
    assert!(strangers(&second).iter().all(|stranger| second[*stranger] == 1));
    let all = "user0@plain.test\nuser1@plain.test\nuser2@plain.test\nuser0@all.test\n";
    for options in [&[][..], &["--offline"], &["--max-age", "1h"]] {
        let ran = verify(all, options);
        assert_eq!(
            reasons(&ran),
            "mailbox_exists/mailbox_unknown/mailbox_exists/accepts_all",
            "{options:?}"
        );
        assert_eq!(net.asked(), second, "{options:?}");
    }
    let ran = verify("user4@plain.test\nuser0@plain.test\n", &["--offline"]);
    assert!(reasons(&ran).ends_with("/mailbox_exists"), "{}", ran.out);
    assert_eq!(net.asked(), second);
    let ran = verify(all, &["--refresh"]);
    assert_eq!(
        reasons(&ran),
        "mailbox_exists/mailbox_unknown/mailbox_exists/accepts_all"
    );
    let refreshed = net.asked();
    assert_eq!(refreshed["user0@plain.test"], 2);
    assert_eq!(refreshed["user1@plain.test"], 1, "refused less than three hours ago");
    let ran = verify("user0@plain.test\n", &["--max-age", "0s"]);
    assert_eq!(reasons(&ran), "mailbox_exists");
    assert_eq!(net.asked()["user0@plain.test"], 3);
}

#[test]
fn j7_what_a_host_says_of_one_domain_is_kept_of_no_other() {
    // Both domains are served by one host: of `honest.test` it refuses strangers, of the attacker's domain it takes everybody.
    let net = Net::new(
        "record_lines = true\n[[host]]\nname = \"mx.both.test\"\nserves = [\"evil.test\", \"honest.test\"]\nmailboxes = [\"user0\"]\n\
         script = [{ on = \"rcpt\", has = \"@evil.test\", reply = \"250 2.1.5 Ok\" }]\n",
    );
    let verify = |list: &str| {
        net.place.write("list.txt", list);
        let ran = net.run(&["verify", "list.txt"]);
        columns(&ran.out, b',', &["presend_reason"])
    };
    assert_eq!(verify("user0@evil.test\nuser1@evil.test\n"), "accepts_all/accepts_all");
    assert_eq!(
        verify("user0@honest.test\nuser1@honest.test\n"),
        "mailbox_exists/mailbox_unknown"
    );
    // The other way round: that strangers are refused at one domain proves nothing about the other.
    assert_eq!(
        verify("user2@evil.test\nuser2@honest.test\n"),
        "accepts_all/mailbox_unknown"
    );
    let asked = net.asked();
    let of = |domain: &str| {
        strangers(&asked)
            .into_iter()
            .filter(|stranger| stranger.ends_with(domain))
            .count()
    };
    // Strangers of two shapes, and no third for the second list.
    assert_eq!((of("@evil.test"), of("@honest.test") <= 1), (2, true), "{asked:?}");
}

#[test]
fn a_question_that_fails_does_not_push_out_a_good_answer() {
    let world = "record_lines = true\n[[host]]\nname = \"mx.moody.test\"\nserves = [\"moody.test\"]\nmailboxes = [\"user0\"]\n\
        script = [{ on = \"rcpt\", since = 2, reply = \"451 4.7.1 Come again\" }]\n";
    let net = Net::new(world);
    net.place.write("list.txt", "user0@moody.test\n");
    let reason = |options: &[&str]| {
        columns(
            &net.run(&[&["verify", "list.txt"][..], options].concat()).out,
            b',',
            &["address", "presend_reason"],
        )
    };
    assert_eq!(reason(&[]), "user0@moody.test,mailbox_exists");
    assert_ne!(reason(&["--refresh", "--no-wait"]), "user0@moody.test,mailbox_exists");
    let asked = net.asked();
    assert_eq!(reason(&["--offline"]), "user0@moody.test,mailbox_exists");
    assert_eq!(net.asked(), asked);
}

#[test]
fn j9_two_processes_share_a_group_and_ask_nobody_twice() {
    let net = Net::new(WORLD);
    let users = |from: usize| (from..from + 6).fold(String::new(), |list, n| list + &format!("user{n}@slow.test\n"));
    net.place.write("one.txt", users(0));
    net.place.write("two.txt", users(3));
    let mut one = net.spawn(&["verify", "one.txt", "--output", "one.csv"]);
    net.wait_for(|seen| seen.hosts["mx.slow.test"].connections > 0);
    let two = net.run(&["verify", "two.txt", "--output", "two.csv"]);
    assert_eq!(two.code, 0, "{}", two.err);
    assert!(one.wait().unwrap().success());
    let asked = net.asked();
    assert!(asked.iter().all(|(_, times)| *times == 1), "{asked:?}");
    assert_eq!(strangers(&asked).len(), 0, "a sibling was refused: {asked:?}");
    assert_eq!(net.lab.counters().hosts["mx.slow.test"].concurrent_peak, 1);
    assert_eq!(net.place.read("two.csv").lines().count(), 7);
}
