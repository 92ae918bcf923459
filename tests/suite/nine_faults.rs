//! The nine faults of other verifiers, each with a test that carries its name.

use std::{net::Ipv4Addr, sync::Arc};

use presend::{
    dns::{DnsFailure, MailRoute, RouteFailure},
    replies::{Classifier, classify},
    smtp::{Identity, Reply, Stage},
    stop::Stop,
    verdict::{Action, Evidence, Label, NotTried, Observed, Policy, ProbeFailure, judge, read_alone},
};
use serde_json::Value;

use crate::{
    fake::{Act, FakeNet, Heard, MINUTE, mailboxes, say},
    schedule::{Run, exchanger, impatient, manners},
};

fn label(stage: Stage, text: &str) -> &'static str {
    read_alone(Classifier::built_in(), (stage, text), None, &Policy::default()).label()
}

/// The program's output as JSON, in a folder without settings.
fn program(arguments: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let output = assert_cmd::cargo::cargo_bin_cmd!("presend")
        .args(arguments)
        .current_dir(folder.path())
        .env("HOME", folder.path())
        .env_remove("XDG_CONFIG_HOME")
        .env_remove("XDG_STATE_HOME")
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn fault_1_a_5_7_1_is_not_read_as_invalid() {
    for text in [
        "550 5.7.1 Access denied",
        "550 5.7.1 Message rejected",
        "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org",
        "550 5.7.1 Recipient not authorized, your IP has been found on a block list",
        "554 5.7.1 <jane@example.com>: Relay access denied",
        "550 5.7.1 Your message was rejected by the recipient's policy",
    ] {
        assert_eq!(label(Stage::Rcpt, text), "unknown", "{text}");
    }
}

#[test]
fn fault_2_unknown_is_not_read_as_false() {
    let answers = [
        ProbeFailure::Unreachable,
        ProbeFailure::Proxy,
        ProbeFailure::Timeout,
        ProbeFailure::Tarpit,
        ProbeFailure::ConnectionLost,
        ProbeFailure::NotSmtp,
        ProbeFailure::Loop,
        ProbeFailure::Protocol,
        ProbeFailure::Desynchronised,
        ProbeFailure::TlsInjection,
        ProbeFailure::NeedsSmtpUtf8,
        ProbeFailure::Internal,
    ]
    .map(Observed::Failed);
    let unasked = [
        NotTried::NoIdentity,
        NotTried::Budget,
        NotTried::Interrupted,
        NotTried::PortBlocked,
    ]
    .map(Observed::NotTried);
    for answer in answers.into_iter().chain(unasked) {
        let evidence = Evidence {
            route: Observed::Known(Arc::new(MailRoute::Exchangers(Vec::new()))),
            answer,
            ..Evidence::not_tried(NotTried::NotNeeded)
        };
        let verdict = judge(&evidence, &Policy::default());
        assert_eq!(
            (verdict.label, verdict.action),
            (Label::Unknown, Action::Hold),
            "{evidence:?}"
        );
    }
    assert_eq!(label(Stage::Rcpt, "451 4.7.1 Greylisted"), "unknown");
}

#[test]
fn fault_3_servfail_is_not_read_as_invalid() {
    for failure in [
        DnsFailure::ServFail,
        DnsFailure::Timeout,
        DnsFailure::Refused,
        DnsFailure::Bogus,
        DnsFailure::Loop,
        DnsFailure::Malformed,
    ] {
        let route = MailRoute::Failure(RouteFailure::Dns(failure));
        let evidence = Evidence {
            route: Observed::Known(Arc::new(route)),
            ..Evidence::not_tried(NotTried::NotNeeded)
        };
        let verdict = judge(&evidence, &Policy::default());
        assert_eq!(verdict.label, Label::Unknown, "{failure:?}");
        assert!(verdict.reason.name().starts_with("dns_"), "{failure:?}");
    }
    // A mail host that reports its own DNS trouble proves as little.
    assert_eq!(
        label(Stage::Rcpt, "451 4.4.3 Domain lookup failed: SERVFAIL"),
        "unknown"
    );
}

#[tokio::test(start_paused = true)]
async fn fault_4_a_failed_control_is_not_read_as_not_catch_all() {
    for refusal in [
        "451 4.3.0 Try again",
        "550 Not now",
        "554 5.7.1 Access denied",
        "252 2.5.2 Who knows",
    ] {
        let script = move |heard: &Heard<'_>| (heard.rcpt()? != "ann@one.test").then(|| say(refusal));
        let run = Run::of(FakeNet::new("", script), impatient(), &["ann@one.test"]).await;
        assert_eq!(run.reason("ann@one.test"), "catchall_undetermined", "{refusal}");
    }
    let dropped = |heard: &Heard<'_>| (heard.rcpt()? != "ann@one.test").then_some(Act::Drop);
    let run = Run::of(FakeNet::new("", dropped), impatient(), &["ann@one.test"]).await;
    assert_eq!(
        run.label("ann@one.test"),
        Label::Unknown,
        "{}",
        run.reason("ann@one.test")
    );
}

#[test]
fn fault_5_a_disposable_domain_is_not_read_as_a_syntax_fault() {
    let result = program(&["check", "--json", "--level", "syntax", "jane@mailinator.com"]);
    assert_eq!(
        (&result["label"], &result["reason"]),
        (&"unknown".into(), &"level_stop".into())
    );
    assert_eq!(result["flags"]["disposable"], true);
}

#[test]
fn fault_6_an_enhanced_code_is_not_read_as_a_reply_code() {
    for (text, expected) in [
        ("250 5.1.1 fine", "accepted"),
        ("450 5.1.1 User unknown", "unknown"),
        ("421 4.7.0 550 5.1.1 No such user", "unknown"),
        ("451 4.3.0 upstream said 550 User unknown", "unknown"),
        ("5.1.1 User unknown", "unknown"),
        ("550 5.1.1 User unknown", "invalid"),
    ] {
        assert_eq!(label(Stage::Rcpt, text), expected, "{text}");
    }
    let reply = Reply::parse("450 5.1.1 User unknown").unwrap();
    assert_eq!(reply.enhanced(), None, "a class that contradicts the code is no code");
    assert_eq!(classify(Stage::Rcpt, &reply, None).dead_recipient(), None);
}

#[tokio::test(start_paused = true)]
async fn fault_7_greylisting_is_not_retried_at_once() {
    for words in [
        "451 4.7.1 Greylisted",
        "450 4.7.1 Greylisted, try again in 1 second",
        "450 4.2.0 Greylisted for 10 minutes",
    ] {
        let script = move |heard: &Heard<'_>| {
            let first = heard.connection == 0;
            heard
                .rcpt()
                .filter(|_| first)
                .map(|_| say(words))
                .or_else(|| mailboxes(&["ann@one.test"])(heard))
        };
        let run = Run::of(FakeNet::new("", script), manners(), &["ann@one.test"]).await;
        assert_eq!(run.reason("ann@one.test"), "mailbox_exists", "{words}");
        let asked = run.net.recipients();
        let wait = if words.contains("10 minutes") { 10 } else { 6 };
        assert!(
            asked[1].0 - asked[0].0 >= wait * MINUTE,
            "{words}: {:?}",
            asked[1].0 - asked[0].0
        );
    }
}

#[tokio::test(start_paused = true)]
async fn fault_8_not_only_the_first_mx_is_asked() {
    for failing in ["554 5.3.2 No service", "421 4.3.2 Going down"] {
        let script = move |heard: &Heard<'_>| match heard.connection {
            0 => Some(Act::Bye(failing.to_owned())),
            _ => mailboxes(&["ann@one.test"])(heard),
        };
        let hosts = (1..=3).map(|n| {
            let ip = Ipv4Addr::new(127, 9, 0, n).to_string();
            exchanger(&format!("mx{n}.fake.test"), 10 * u16::from(n), &ip, n > 1)
        });
        let route = MailRoute::Exchangers(hosts.collect());
        let run = Run::over(
            FakeNet::new("", script),
            impatient(),
            route,
            &["ann@one.test"],
            Stop::new(),
        )
        .await;
        assert_eq!(run.reason("ann@one.test"), "mailbox_exists", "{failing}");
        let host = run.findings["ann@one.test"].evidence.host.clone().unwrap();
        assert_eq!(&*host.name, "mx2.fake.test");
    }
}

#[test]
fn fault_9_no_helo_name_is_made_up() {
    let shown = program(&["config", "show", "--json"]);
    for key in ["helo_name", "mail_from"] {
        assert_eq!(shown["settings"][key]["value"], Value::Null, "{key} has a default");
    }
    for (helo, from) in [
        ("", "jane@example.com"),
        ("localhost", "jane@example.com"),
        ("mail.example.com", ""),
    ] {
        assert!(Identity::new(helo, from).is_err(), "{helo:?} {from:?}");
    }
    let verdict = judge(&Evidence::not_tried(NotTried::NoIdentity), &Policy::default());
    assert_eq!((verdict.label, verdict.reason.name()), (Label::Unknown, "no_identity"));
}
