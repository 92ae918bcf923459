//! A mail host that knew nobody for an hour, and the age of events: by the program.

use std::{
    fmt::Write as _,
    time::{Duration, SystemTime},
};

use super::{check, events};
use crate::cli::Place;

const GONE: &str = "550 5.1.1 User unknown";

/// So many people of a domain, and what happened to each so long ago.
fn crowd(people: usize, event: &str, ago: Duration) -> String {
    let mut text = "recipient,event,date,reply\n".to_owned();
    for person in 0..people {
        let at = SystemTime::now() - ago + Duration::from_secs(person as u64);
        let reply = if event == "bounced" { GONE } else { "" };
        let at = humantime::format_rfc3339_seconds(at);
        writeln!(text, "p{person}@big-provider.com,{event},{at},{reply}").unwrap();
    }
    text
}

#[test]
fn an_outage_waits_for_a_person_who_decides_about_all_of_it_at_once() {
    let place = Place::new();
    let hours = |hours| Duration::from_hours(hours);
    place.write("delivered.csv", crowd(300, "delivered", hours(20 * 24)));
    place.write("bounced.csv", crowd(300, "bounced", hours(3)));
    place.run(&["bounces", "import", "delivered.csv"]);
    let ran = place.run(&["bounces", "import", "bounced.csv"]);
    assert!(ran.err.contains("suppressed 0; 300 wait for a person"), "{}", ran.err);
    let waiting = place.run(&["suppress", "review"]).out;
    assert!(
        waiting.contains("unknown_in_a_wave") && waiting.contains(GONE),
        "{waiting}"
    );
    assert_eq!(
        check(&place, &["p7@big-provider.com"])[0].1,
        "level_stop",
        "nobody is invalid for it meanwhile"
    );
    let of = |args: &[&str]| place.run(&[&["suppress", "review", "--rule", "unknown_in_a_wave"], args].concat());
    assert_eq!(of(&["--domain", "other.com"]).out, "");
    assert!(
        of(&["--domain", "other.com", "--approve-all"])
            .err
            .contains("decided about 0 entries")
    );
    let ran = of(&["--domain", "big-provider.com", "--reject-all", "--note", "their outage"]);
    assert!(
        ran.code == 0 && ran.err.contains("decided about 300 entries"),
        "{}",
        ran.err
    );
    assert_eq!(place.run(&["suppress", "review"]).out, "");
    let ran = place.run(&["bounces", "import", "bounced.csv", "delivered.csv"]);
    assert!(ran.err.contains("suppressed 0"), "the same files again: {}", ran.err);
    let why = place.run(&["suppress", "why", "p7@big-provider.com"]).out;
    assert!(
        why.contains("is not suppressed") && why.contains("their outage"),
        "{why}"
    );
    // What bounces when the outage is over is gone.
    let one = format!("recipient,event,date,reply\np7@big-provider.com,bounced,{},{GONE}\n", {
        humantime::format_rfc3339_seconds(SystemTime::now() + Duration::from_secs(2))
    });
    place.write("later.csv", one);
    place.run(&["bounces", "import", "later.csv"]);
    let listed = place.run(&["suppress", "review"]).out + &place.run(&["suppress", "list"]).out;
    assert!(listed.contains("p7@big-provider.com"), "{listed}");
}

#[test]
fn without_the_rule_everybody_is_suppressed_at_once() {
    let place = Place::new();
    place.write("presend.toml", "[bounce_policy]\noutage_count = 0\n");
    place.write("delivered.csv", crowd(60, "delivered", Duration::from_hours(20 * 24)));
    place.write("bounced.csv", crowd(60, "bounced", Duration::from_hours(3)));
    let ran = place.run(&["bounces", "import", "delivered.csv", "bounced.csv"]);
    assert!(ran.err.contains("suppressed 60"), "{}", ran.err);
    place.write("presend.toml", "[bounce_policy]\noutage_count = 1\n");
    let ran = place.run(&["suppress", "apply"]);
    assert!(ran.code == 2 && ran.err.contains("from 2 to 1000000"), "{}", ran.err);
}

#[test]
fn old_events_are_forgotten_and_every_suppression_keeps_its_reason() {
    let place = Place::new();
    place.write("presend.toml", "[bounce_policy]\nkeep_days = 14\n");
    place.write(
        "events.csv",
        events(&[
            ("gone@acme-corp.com", "bounced", 300, GONE),
            ("let.go@acme-corp.com", "bounced", 300, GONE),
            ("fine@acme-corp.com", "delivered", 300, ""),
        ]),
    );
    let ran = place.run(&["bounces", "import", "events.csv"]);
    assert!(ran.err.contains("suppressed 2"), "{}", ran.err);
    place.run(&["suppress", "remove", "let.go@acme-corp.com", "--note", "a new mailbox"]);
    // As if that had been last year.
    let connection = rusqlite::Connection::open(place.0.path().join(".local/state/presend/presend.db")).unwrap();
    connection
        .execute_batch("UPDATE event SET added_at = at; DELETE FROM bounce_state WHERE name = 'forgot_at'")
        .unwrap();
    drop(connection);
    let ran = place.run(&["suppress", "apply"]);
    assert!(
        ran.err.contains("2 events were too old and are forgotten"),
        "{}",
        ran.err
    );
    let why = place.run(&["suppress", "why", "gone@acme-corp.com"]).out;
    assert!(
        why.contains("is suppressed: hard bounced on") && why.contains(GONE) && why.contains("rule hard of default+"),
        "{why}"
    );
    let why = place.run(&["suppress", "why", "let.go@acme-corp.com"]).out;
    assert!(
        why.contains("a new mailbox") && why.contains(GONE) && why.contains("event 2  forgotten for its age"),
        "{why}"
    );
    assert_eq!(check(&place, &["gone@acme-corp.com"])[0].1, "suppressed_hard_bounce");
    let again = place.run(&["suppress", "apply"]);
    assert!(
        !again.err.contains("let go") && !again.err.contains("forgotten"),
        "{}",
        again.err
    );
}
