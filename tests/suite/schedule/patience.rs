//! Budgets, breakers, retries and sentinels: how the scheduler behaves over hours.

use presend::verdict::Reason;

use super::*;

const HOUR: Duration = Duration::from_hours(1);

fn retrying(ladder: impl Into<Ladder>) -> Manners {
    Manners {
        ladder: ladder.into(),
        ..manners()
    }
}

/// When each connection came, in minutes after the first.
fn minutes(run: &Run) -> Vec<u64> {
    let connections = run.net.connections();
    let after = |opened: tokio::time::Instant| (opened - connections[0].opened).as_secs() / 60;
    connections.iter().map(|connection| after(connection.opened)).collect()
}

#[tokio::test(start_paused = true)]
async fn connection_faults_are_retried_by_the_profile() {
    for (profile, expected) in [
        (RetryProfile::Default, &[0, 6, 31, 125][..]),
        (RetryProfile::Mailpro, &[0, 7, 45]),
        (RetryProfile::Patient, &[0, 6, 31, 125, 480, 1440, 2880, 4320]),
    ] {
        let net = FakeNet::new("", |heard| heard.line.is_empty().then_some(Act::Drop));
        let run = Run::of(net, retrying(Ladder::new(profile)), &["ann@one.test"]).await;
        assert_eq!(run.reason("ann@one.test"), "connection_lost");
        assert_eq!(minutes(&run), expected, "{profile:?}");
        assert!(run.findings["ann@one.test"].retry_at.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_mailbox_is_asked_about_again_only_by_the_patient() {
    for (ladder, expected, reason) in [
        (Ladder::default(), &[0][..], "mailbox_full"),
        (Ladder::new(RetryProfile::Mailpro), &[0], "mailbox_full"),
        (Ladder::new(RetryProfile::Patient), &[0, 1440, 2880], "mailbox_exists"),
        (
            Ladder::default().with(Reason::MailboxFull, vec![40 * HOUR]),
            &[0, 2400],
            "mailbox_exists",
        ),
    ] {
        let start = tokio::time::Instant::now();
        let net = FakeNet::new("", move |heard| match heard.rcpt()? {
            "ann@one.test" if start.elapsed() < 30 * HOUR => Some(say("452 4.2.2 Mailbox full")),
            "ann@one.test" => None,
            _ => Some(say("550 5.1.1 User unknown")),
        });
        let run = Run::of(net, retrying(ladder), &["ann@one.test"]).await;
        assert_eq!((run.reason("ann@one.test"), minutes(&run)), (reason, expected.to_vec()));
        let mends = run.findings["ann@one.test"].retry_at.is_some();
        assert!(!mends, "no other time is promised");
    }
}

#[tokio::test(start_paused = true)]
async fn one_reason_has_its_own_delays_or_none() {
    for (steps, expected) in [(vec![10 * MINUTE, 20 * MINUTE], &[0, 10, 20][..]), (Vec::new(), &[0])] {
        let net = FakeNet::new("", |heard| heard.rcpt().map(|_| say("451 4.7.1 Greylisted")));
        let ladder = Ladder::default().with(Reason::Greylisted, steps);
        let run = Run::of(net, retrying(ladder), &["ann@one.test"]).await;
        assert_eq!(
            (run.reason("ann@one.test"), minutes(&run)),
            ("greylisted", expected.to_vec())
        );
    }
}

#[tokio::test(start_paused = true)]
async fn r13_a_first_session_test_is_met_once_and_is_no_attempt() {
    // Greylisting begins behind the test: its first step counts from the second session.
    let start = tokio::time::Instant::now();
    let net = FakeNet::new("", move |heard| {
        let rcpt = heard.rcpt()?;
        match heard.connection {
            0 => Some(say("450 4.3.2 Service currently unavailable")),
            _ if start.elapsed() < 5 * MINUTE => Some(say("450 4.2.0 Greylisted")),
            _ if rcpt.starts_with("user") => None,
            _ => Some(say("550 5.1.1 User unknown")),
        }
    });
    let run = Run::of(net, manners(), &["user1@one.test", "user2@two.test", "user3@one.test"]).await;
    for address in ["user1@one.test", "user2@two.test", "user3@one.test"] {
        assert_eq!(run.reason(address), "mailbox_exists");
        assert_eq!(run.findings[address].evidence.attempts, 2, "{address}");
    }
    let asked: Vec<u64> = run
        .net
        .recipients()
        .iter()
        .map(|(at, _)| (*at - start).as_secs())
        .collect();
    assert!(asked[1] - asked[0] >= 30, "a polite while later: {asked:?}");
    assert!((360..400).contains(&(asked[4] - asked[1])), "{asked:?}");
    let first = &run.net.connections()[0];
    let lines: Vec<&str> = first
        .lines
        .iter()
        .map(|(_, line)| line.split(' ').next().unwrap())
        .collect();
    assert_eq!(lines, ["EHLO", "MAIL", "RCPT", "QUIT"], "one recipient is enough");
}

#[tokio::test(start_paused = true)]
async fn r13_words_that_never_end_are_a_transient_answer() {
    let net = FakeNet::new("", |heard| {
        heard.rcpt().map(|_| say("450 4.3.2 Service currently unavailable"))
    });
    let run = Run::of(net, manners(), &["ann@one.test", "bob@one.test"]).await;
    for address in ["ann@one.test", "bob@one.test"] {
        assert_eq!(run.label(address), Label::Unknown);
        assert_eq!(run.findings[address].evidence.attempts, 4);
        assert!(run.findings[address].retry_at.is_some());
    }
    assert_eq!(minutes(&run), [0, 0, 6, 31, 125], "the test, then the ladder");
}

#[tokio::test(start_paused = true)]
async fn r13_the_same_words_after_an_answer_are_no_test() {
    let net = FakeNet::new("", |heard| match heard.rcpt()? {
        "ann@one.test" => Some(say("550 5.1.1 User unknown")),
        _ if heard.connection == 0 => Some(say("450 4.3.2 Service currently unavailable")),
        "bob@one.test" => None,
        _ => Some(say("550 5.1.1 User unknown")),
    });
    let run = Run::of(net, manners(), &["ann@one.test", "bob@one.test"]).await;
    assert_eq!(run.reason("bob@one.test"), "mailbox_exists");
    assert_eq!(run.findings["bob@one.test"].evidence.attempts, 2);
    assert_eq!(minutes(&run), [0, 6]);
}

#[tokio::test(start_paused = true)]
async fn r3_an_undetermined_control_is_retried_and_stays_unknown() {
    let script = |heard: &crate::fake::Heard<'_>| {
        (heard.rcpt()? != "ann@one.test").then(|| say("451 4.3.0 Temporary lookup failure"))
    };
    let run = Run::of(FakeNet::new("", script), manners(), &["ann@one.test"]).await;
    assert_eq!(run.reason("ann@one.test"), "catchall_undetermined");
    let controls = run.controls();
    assert_eq!(controls.len(), 4, "at once and at each step of the ladder");
    assert!(
        controls.iter().all(|control| *control == controls[0]),
        "the same control recipient: {controls:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_undetermined_control_says_when_to_ask_again() {
    let script = |heard: &crate::fake::Heard<'_>| {
        (heard.rcpt()? != "ann@one.test").then(|| say("450 4.7.1 Greylisted, try again later"))
    };
    let run = Run::of(FakeNet::new("", script), impatient(), &["ann@one.test"]).await;
    assert_eq!(run.reason("ann@one.test"), "catchall_undetermined");
    assert!(run.findings["ann@one.test"].retry_at.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_sentinel_that_stays_undetermined_does_not_keep_the_group_busy() {
    let addresses: Vec<String> = (0..70).map(|n| format!("user{n}@one.test")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let net = FakeNet::new("", |heard| {
        let real = heard.rcpt()?.starts_with("user");
        let text = if heard.connection == 0 {
            "550 5.1.1 User unknown"
        } else {
            "451 4.3.0 Try again later"
        };
        (!real).then(|| say(text))
    });
    let run = Run::of(net, manners(), &addresses).await;
    assert!(run.controls().len() <= 3, "{:?}", run.controls());
    for address in addresses {
        assert_eq!(run.reason(address), "mailbox_exists", "{address}");
    }
}

#[tokio::test(start_paused = true)]
async fn r12_greylisting_is_retried_with_the_same_envelope_and_control() {
    let start = tokio::time::Instant::now();
    let script = move |heard: &crate::fake::Heard<'_>| {
        let rcpt = heard.rcpt()?;
        if start.elapsed() < 5 * MINUTE {
            Some(say("451 4.7.1 Greylisting in action, please come back in 300 seconds"))
        } else {
            mailboxes(&["ann@one.test"])(heard).or(Some(say(&format!("250 2.1.5 <{rcpt}> Ok"))))
        }
    };
    let run = Run::of(FakeNet::new("", script), manners(), &["ann@one.test"]).await;
    assert_eq!(run.reason("ann@one.test"), "mailbox_exists");
    assert_eq!(run.findings["ann@one.test"].evidence.attempts, 2);
    let asked = run.net.recipients();
    assert_eq!(asked[0].1, asked[1].1);
    let waited = asked[1].0 - asked[0].0;
    assert!((6 * MINUTE..7 * MINUTE).contains(&waited), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn greylisting_without_patience_says_when_to_ask_again() {
    let script = |heard: &crate::fake::Heard<'_>| heard.rcpt().map(|_| say("450 4.7.1 Greylisted, see you later"));
    let run = Run::of(FakeNet::new("", script), impatient(), &["ann@one.test"]).await;
    assert_eq!(run.reason("ann@one.test"), "greylisted");
    assert!(run.findings["ann@one.test"].retry_at.is_some());
    assert_eq!(run.connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn budgets_hold_at_the_server() {
    let addresses: Vec<String> = (0..60).map(|n| format!("nobody{n}@d{}.test", n % 7)).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let run = Run::of(FakeNet::new("", mailboxes(&[])), manners(), &addresses).await;
    assert!(addresses.iter().all(|address| run.reason(address) == "mailbox_unknown"));
    let refused = run.net.recipients();
    for (window, most) in [(MINUTE, 2), (60 * MINUTE, 20)] {
        for (index, (first, _)) in refused.iter().enumerate() {
            let within = refused[index..].iter().filter(|(at, _)| *at - *first < window).count();
            assert!(within <= most, "{within} refusals within {window:?}");
        }
    }
    for connection in run.net.connections() {
        let asked = connection
            .lines
            .iter()
            .filter(|(_, line)| line.starts_with("RCPT"))
            .count();
        assert!(asked <= 2, "{asked} refusals in one session");
        assert_eq!(connection.lines.last().unwrap().1, "QUIT");
    }
    for pair in run.net.connections().windows(2) {
        assert!(pair[1].opened - pair[0].opened >= 30 * SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_lies_between_questions_and_ten_make_a_session() {
    let addresses: Vec<String> = (0..25).map(|n| format!("user{n}@one.test")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let net = FakeNet::new("PIPELINING", |heard| {
        (!heard.rcpt()?.starts_with("user")).then(|| say("550 5.1.1 User unknown"))
    });
    let run = Run::of(net, manners(), &addresses).await;
    assert!(addresses.iter().all(|address| run.reason(address) == "mailbox_exists"));
    let asked = run.net.recipients();
    for pair in asked.windows(2) {
        assert!(pair[1].0 - pair[0].0 >= SECOND, "{:?}", pair[1].0 - pair[0].0);
    }
    for connection in run.net.connections() {
        assert!(
            connection
                .lines
                .iter()
                .filter(|(_, line)| line.starts_with("RCPT"))
                .count()
                <= 10
        );
    }
    assert_eq!(
        run.controls().len(),
        2,
        "in the first session, and after the last who was accepted"
    );
}

#[tokio::test(start_paused = true)]
async fn r6_a_block_stops_the_group_and_is_never_invalid() {
    let script = |heard: &crate::fake::Heard<'_>| {
        heard
            .rcpt()
            .map(|_| say("554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org"))
    };
    let addresses = ["ann@one.test", "bob@one.test", "cid@two.test"];
    let run = Run::of(FakeNet::new("", script), impatient(), &addresses).await;
    for address in addresses {
        assert_eq!(
            (run.label(address), run.reason(address)),
            (Label::Unknown, "sender_blocked")
        );
        assert!(run.findings[address].retry_at.is_some(), "{address}");
    }
    assert_eq!(run.net.recipients().len(), 1, "one block is enough");
}

#[tokio::test(start_paused = true)]
async fn r14_a_421_ends_the_session_and_labels_nobody() {
    let script = |heard: &crate::fake::Heard<'_>| {
        let rcpt = heard.rcpt()?;
        let asked = heard.before.iter().filter(|line| line.starts_with("RCPT")).count();
        match (heard.connection, asked) {
            (0, 1) => Some(Act::Bye("421 4.3.2 Closing this session, come again".into())),
            _ if rcpt.starts_with("user") => None,
            _ => Some(say("550 5.1.1 User unknown")),
        }
    };
    let addresses = ["user1@one.test", "user2@one.test", "user3@one.test"];
    let run = Run::of(FakeNet::new("", script), manners(), &addresses).await;
    for address in addresses {
        assert_eq!(run.reason(address), "mailbox_exists", "{address}");
    }
    let opened: Vec<_> = run
        .net
        .connections()
        .iter()
        .map(|connection| connection.opened)
        .collect();
    assert_eq!(opened.len(), 2);
    assert!(
        opened[1] - opened[0] >= 90 * MINUTE,
        "the breaker stays open for 90 minutes"
    );
}

#[tokio::test(start_paused = true)]
async fn r21_a_sentinel_that_flips_reopens_what_looked_valid() {
    let addresses: Vec<String> = (0..70).map(|n| format!("user{n}@one.test")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let net = FakeNet::new("", |heard| {
        let real = heard.rcpt()?.starts_with("user");
        (!real && heard.connection < 3).then(|| say("550 5.1.1 User unknown"))
    });
    let run = Run::of(net, manners(), &addresses).await;
    assert!(run.controls().len() >= 2, "asked again after 50 accepted");
    for address in addresses {
        assert_eq!(run.reason(address), "inconsistent", "{address}");
    }
}

#[tokio::test(start_paused = true)]
async fn r21_the_last_who_are_accepted_are_followed_by_a_stranger() {
    // The refusals look like proof, and the list ends long before fifty were accepted.
    for (count, refused) in [(2, 1), (5, 2), (12, 2), (30, 20)] {
        let addresses: Vec<String> = (0..count).map(|n| format!("user{n}@one.test")).collect();
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        let asked = std::sync::atomic::AtomicU32::new(0);
        let net = FakeNet::new("", move |heard| {
            heard.rcpt()?;
            let before = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            (before < refused).then(|| say("550 5.1.1 User unknown"))
        });
        let run = Run::of(net, manners(), &addresses).await;
        let valid = addresses.iter().filter(|address| run.label(address) == Label::Valid);
        assert_eq!(valid.count(), 0, "{refused} of {count} refused");
        assert_eq!(run.controls().len(), 1, "{refused} of {count} refused");
    }
}

#[tokio::test(start_paused = true)]
async fn one_who_is_unknown_after_the_last_who_is_accepted_is_proof_enough() {
    let net = FakeNet::new("", |heard| {
        (!heard.rcpt()?.starts_with("user")).then(|| say("550 5.1.1 User unknown"))
    });
    let addresses = ["user1@one.test", "user2@one.test", "gone@one.test"];
    let run = Run::of(net, manners(), &addresses).await;
    assert_eq!(run.reason("user2@one.test"), "mailbox_exists");
    assert_eq!(run.controls().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn r11_a_tenant_that_refuses_everybody_alike_is_not_believed() {
    let refuse = |heard: &crate::fake::Heard<'_>| {
        heard
            .rcpt()
            .map(|_| say("550 5.4.1 Recipient address rejected: Access denied"))
    };
    let exo = exchanger("one-test.mail.protection.outlook.com", 0, "127.9.0.3", false);
    let route = MailRoute::Exchangers(vec![exo]);
    let stop = Stop::new();
    let few = Run::over(
        FakeNet::new("", refuse),
        manners(),
        route.clone(),
        &["ann@one.test"],
        stop.clone(),
    )
    .await;
    assert_eq!(few.reason("ann@one.test"), "mailbox_unknown");
    let all = ["ann@one.test", "bob@one.test", "cid@one.test", "dan@one.test"];
    let many = Run::over(FakeNet::new("", refuse), manners(), route, &all, stop).await;
    for address in all {
        assert_eq!(many.reason(address), "blanket_refusal");
    }
}

#[tokio::test(start_paused = true)]
async fn stopping_closes_sessions_politely_and_answers_everybody() {
    let stop = Stop::new();
    let stopped = stop.clone();
    let addresses: Vec<String> = (0..30).map(|n| format!("user{n}@one.test")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let net = FakeNet::new("", move |heard| {
        if heard.rcpt()? == "user4@one.test" {
            stop.request();
        }
        None
    });
    let route = MailRoute::Exchangers(vec![exchanger("mx.fake.test", 10, "127.9.0.1", false)]);
    let run = Run::over(net, manners(), route, &addresses, stopped).await;
    assert_eq!(run.reason("user29@one.test"), "interrupted");
    assert_eq!(
        run.reason("user1@one.test"),
        "catchall_undetermined",
        "no control was asked any more"
    );
    assert_eq!(run.connections(), 1);
    assert_eq!(run.net.lines().last().unwrap(), "QUIT");
    assert_eq!(run.net.recipients().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn r22_a_vague_refusal_of_the_control_makes_nobody_valid() {
    let script = |heard: &crate::fake::Heard<'_>| (heard.rcpt()? != "ann@one.test").then(|| say("550 Not now"));
    let run = Run::of(FakeNet::new("", script), manners(), &["ann@one.test"]).await;
    assert_eq!(run.reason("ann@one.test"), "catchall_undetermined");
    assert_eq!(run.controls().len(), 1, "a permanent answer is not asked for again");
}

#[tokio::test(start_paused = true)]
async fn stopping_does_not_wait_for_a_silent_host() {
    let stop = Stop::new();
    let stopped = stop.clone();
    let net = FakeNet::new("", move |heard| {
        heard.rcpt()?;
        stop.request();
        Some(Act::Hang)
    });
    let start = tokio::time::Instant::now();
    let route = MailRoute::Exchangers(vec![exchanger("mx.fake.test", 10, "127.9.0.1", false)]);
    let run = Run::over(net, manners(), route, &["ann@one.test"], stopped).await;
    assert_eq!(run.reason("ann@one.test"), "interrupted");
    assert!(start.elapsed() < 10 * SECOND, "{:?}", start.elapsed());
    assert_eq!(run.net.lines().last().unwrap(), "QUIT");
}
