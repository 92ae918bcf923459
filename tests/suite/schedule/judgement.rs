//! What a session as a whole says about single answers, and what is known of providers.

use super::*;

const STRANGER: &str = "550 Sorry, no mailbox here by that name";

fn at(host: &str) -> MailRoute {
    MailRoute::Exchangers(vec![exchanger(host, 0, "127.9.0.4", false)])
}

fn refuse_all_but(known: &'static str, words: &'static str) -> impl Fn(&crate::fake::Heard<'_>) -> Option<Act> {
    move |heard| (heard.rcpt()? != known).then(|| say(words))
}

#[tokio::test(start_paused = true)]
async fn strangers_are_refused_in_the_words_of_their_siblings_once_somebody_is_accepted() {
    let addresses = [
        "ann@one.test",
        "bob@one.test",
        "cid@one.test",
        "dan@one.test",
        "eve@one.test",
    ];
    let run = Run::of(
        FakeNet::new("", refuse_all_but("ann@one.test", STRANGER)),
        manners(),
        &addresses,
    )
    .await;
    assert_eq!(run.reason("ann@one.test"), "mailbox_exists");
    for address in &addresses[1..] {
        assert_eq!(run.reason(address), "mailbox_unknown", "{address}");
    }
    // The same words, and nobody accepted: the host may mean us.
    let run = Run::of(
        FakeNet::new("", refuse_all_but("nobody", STRANGER)),
        manners(),
        &addresses,
    )
    .await;
    for address in addresses {
        assert_eq!(run.reason(address), "blanket_refusal", "{address}");
    }
    // Words that are certain by themselves need no sibling.
    let certain = "550 5.1.1 User unknown";
    let run = Run::of(
        FakeNet::new("", refuse_all_but("nobody", certain)),
        manners(),
        &addresses,
    )
    .await;
    for address in addresses {
        assert_eq!(run.reason(address), "mailbox_unknown", "{address}");
    }
}

#[tokio::test(start_paused = true)]
async fn s13_that_the_primary_host_refuses_makes_nobody_valid_at_its_backup() {
    // The primary host is away at first; its backup accepts one recipient and breaks off. Back again, the primary refuses.
    for (words, reason) in [
        (STRANGER, "blanket_refusal"),
        ("550 5.1.1 User unknown", "mailbox_unknown"),
    ] {
        let script = move |heard: &crate::fake::Heard<'_>| match heard.connection {
            0 => Some(Act::Drop),
            1 if heard.before.iter().any(|line| line.starts_with("RCPT")) => Some(Act::Drop),
            1 => None,
            _ => heard.rcpt().map(|_| say(words)),
        };
        let route = MailRoute::Exchangers(vec![
            exchanger("mx1.fake.test", 10, "127.9.0.1", false),
            exchanger("mx2.fake.test", 20, "127.9.0.2", true),
        ]);
        let addresses = ["ann@one.test", "bob@one.test", "cid@one.test", "dan@one.test"];
        let run = Run::over(FakeNet::new("", script), manners(), route, &addresses, Stop::new()).await;
        assert_eq!(run.reason("ann@one.test"), "backup_mx_only", "{words}");
        for address in &addresses[1..] {
            assert_eq!(run.reason(address), reason, "{address}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_harvest_reply_voids_the_whole_session() {
    let script = |heard: &crate::fake::Heard<'_>| match heard.rcpt()? {
        "ann@one.test" => None,
        "bob@one.test" => Some(say("550 5.1.1 User unknown")),
        _ => Some(say(
            "550 5.7.1 Too many invalid recipients, directory harvest attack suspected",
        )),
    };
    let addresses = ["ann@one.test", "bob@one.test", "cid@one.test"];
    let run = Run::of(FakeNet::new("", script), impatient(), &addresses).await;
    for address in addresses {
        assert_eq!(
            (run.label(address), run.reason(address)),
            (Label::Unknown, "harvest_protection"),
            "{address}"
        );
        assert!(run.findings[address].retry_at.is_some(), "{address}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rate_reply_voids_later_refusals_and_leaves_earlier_ones() {
    let script = |heard: &crate::fake::Heard<'_>| match heard.rcpt()? {
        "bob@one.test" => Some(say("450 4.7.1 Rate limit exceeded, slow down")),
        _ => Some(say("550 5.1.1 User unknown")),
    };
    let addresses = ["ann@one.test", "bob@one.test", "cid@one.test"];
    let hasty = Manners {
        max_wait: Duration::ZERO,
        ..trusted()
    };
    let run = Run::of(FakeNet::new("PIPELINING", script), hasty, &addresses).await;
    assert_eq!(run.reason("ann@one.test"), "mailbox_unknown");
    assert_eq!(run.reason("bob@one.test"), "rate_limited");
    assert_ne!(
        run.label("cid@one.test"),
        Label::Invalid,
        "{}",
        run.reason("cid@one.test")
    );
}

#[tokio::test(start_paused = true)]
async fn a_block_names_the_blocklist_to_everybody_it_keeps_from_being_asked() {
    let script = |heard: &crate::fake::Heard<'_>| {
        heard
            .rcpt()
            .map(|_| say("554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org"))
    };
    let addresses: Vec<String> = (0..9).map(|n| format!("user{n}@d{}.test", n % 3)).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    // Patience ends with the third block: no run waits for a day.
    for (manners, most) in [(impatient(), 1), (manners(), 3)] {
        let start = tokio::time::Instant::now();
        let run = Run::of(FakeNet::new("", script), manners, &addresses).await;
        assert!(run.net.recipients().len() <= most, "{:?}", run.net.recipients());
        assert!(start.elapsed() < 6 * 60 * MINUTE, "{:?}", start.elapsed());
        for address in &addresses {
            let finding = &run.findings[*address];
            assert_eq!(
                (run.label(address), run.reason(address)),
                (Label::Unknown, "sender_blocked")
            );
            assert!(finding.retry_at.is_some(), "{address}");
            let answer = finding.evidence.answer.known().unwrap();
            assert_eq!(answer.meaning.blocklist.as_deref(), Some("Spamhaus ZEN"), "{address}");
            assert!(answer.reply.text().contains("zen.spamhaus.org"), "{address}");
        }
        assert!(run.findings.values().any(|finding| finding.evidence.attempts == 0));
    }
}

#[tokio::test(start_paused = true)]
async fn microsofts_control_recipient_has_a_session_of_its_own() {
    let net = FakeNet::new("", mailboxes(&["ann@one.test"]));
    let route = at("one-test.mail.protection.outlook.com");
    let run = Run::over(net, manners(), route, &["ann@one.test"], Stop::new()).await;
    assert_eq!(run.reason("ann@one.test"), "mailbox_exists");
    let sessions: Vec<Vec<String>> = run
        .net
        .connections()
        .iter()
        .map(|connection| {
            let rcpt = |(_, line): &(_, String)| line.strip_prefix("RCPT TO:<").map(str::to_owned);
            connection.lines.iter().filter_map(rcpt).collect()
        })
        .collect();
    assert_eq!(sessions.len(), 2, "{sessions:?}");
    assert_eq!(sessions[0], ["ann@one.test>"]);
    assert_eq!(sessions[1].len(), 1, "{sessions:?}");
    assert_ne!(sessions[1], sessions[0]);
}

#[tokio::test(start_paused = true)]
async fn r26_an_untruthful_providers_yes_is_never_valid_and_costs_no_control() {
    let net = FakeNet::new("", |heard| {
        (heard.rcpt()? == "bob@one.test").then(|| say("550 5.1.1 User unknown"))
    });
    let route = at("mta5.am0.yahoodns.net");
    let run = Run::over(net, manners(), route, &["ann@one.test", "bob@one.test"], Stop::new()).await;
    assert_eq!(run.reason("ann@one.test"), "provider_untruthful");
    assert_eq!(run.reason("bob@one.test"), "mailbox_unknown");
    assert_eq!(run.controls(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn providers_that_forbid_probing_are_asked_only_by_name() {
    let addresses = ["ann@one.test", "bob@one.test"];
    let ask = |manners| {
        let net = FakeNet::new("", mailboxes(&["ann@one.test"]));
        Run::over(
            net,
            manners,
            at("one.olc.protection.outlook.com"),
            &addresses,
            Stop::new(),
        )
    };
    let of = |name: &str| Manners {
        probe_providers: vec![name.to_owned()],
        ..manners()
    };
    for manners in [manners(), of("google")] {
        let run = ask(manners).await;
        assert_eq!(run.connections(), 0, "nobody was dialled");
        for address in addresses {
            assert_eq!(
                (run.label(address), run.reason(address)),
                (Label::Unknown, "provider_policy")
            );
        }
    }
    let forbidden = Manners {
        probe_forbidden: true,
        ..manners()
    };
    for manners in [of("outlook.com"), of("hotmail"), forbidden] {
        let run = ask(manners).await;
        assert_eq!(run.reason("ann@one.test"), "mailbox_exists");
        assert_eq!(run.reason("bob@one.test"), "mailbox_unknown");
        for connection in run.net.connections() {
            let asked = connection
                .lines
                .iter()
                .filter(|(_, line)| line.starts_with("RCPT"))
                .count();
            assert_eq!(asked, 1, "one recipient a session: {:?}", connection.lines);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn recipients_in_a_transaction_are_what_the_provider_takes() {
    let addresses: Vec<String> = (0..7).map(|n| format!("user{n}@one.test")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let narrow = Manners {
        limits: Limits {
            recipients_per_transaction: 3,
            ..Limits::POLITE
        },
        ..manners()
    };
    let net = FakeNet::new("", |heard| {
        (!heard.rcpt()?.starts_with("user")).then(|| say("550 5.1.1 User unknown"))
    });
    let run = Run::of(net, narrow, &addresses).await;
    let mut longest = 0;
    let mut now = 0;
    for line in run.net.lines() {
        now = if line.starts_with("RCPT") { now + 1 } else { 0 };
        longest = longest.max(now);
    }
    assert_eq!(longest, 3, "{:?}", run.net.lines());
}
