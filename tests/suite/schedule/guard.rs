//! Lists of guesses, and what a run remembers of hosts and domains for the next one.

use presend::{
    schedule::{GuardLimits, Standing},
    store::{Ledger, NewJob, Patience, SqliteStore, Store},
};

use super::*;
use crate::fake::Heard;

/// Every fifth of the names that somebody made up exists.
fn guessed(from: usize, count: usize, domain: &str) -> Vec<String> {
    let name = |n: usize| if n.is_multiple_of(5) { "user" } else { "guess" };
    (from..from + count)
        .map(|n| format!("{}{n:03}@{domain}", name(n)))
        .collect()
}

fn knows_users(heard: &Heard<'_>) -> Option<Act> {
    (!heard.rcpt()?.starts_with("user")).then(|| say("550 5.1.1 User unknown"))
}

fn count(run: &Run, reason: &str) -> usize {
    run.findings
        .keys()
        .filter(|address| run.reason(address) == reason)
        .count()
}

#[tokio::test(start_paused = true)]
async fn p9_a_list_of_guesses_is_left_alone_and_its_neighbours_are_not() {
    let mut list = guessed(0, 200, "one.test");
    list.extend((0..20).map(|n| format!("user{n:03}@two.test")));
    let list: Vec<&str> = list.iter().map(String::as_str).collect();
    let run = Run::of(FakeNet::new("", knows_users), manners(), &list).await;
    let guarded = count(&run, "abuse_guard");
    let refused = count(&run, "mailbox_unknown");
    assert!((50..=52).contains(&refused), "{refused} were refused");
    assert!(
        guarded > 100
            && run
                .findings
                .keys()
                .all(|address| address.ends_with("@one.test") || run.reason(address) == "mailbox_exists")
    );
    // Whoever was accepted last may come again, because so many were refused after it.
    let asked: std::collections::HashSet<String> = run.net.recipients().into_iter().map(|(_, rcpt)| rcpt).collect();
    let strangers: std::collections::HashSet<_> = run.controls().into_iter().collect();
    assert_eq!(
        asked.len() + guarded,
        list.len() + strangers.len(),
        "nobody else was asked about"
    );
    for (address, finding) in &run.findings {
        if run.reason(address) == "abuse_guard" {
            assert_eq!(
                (run.label(address), finding.standing),
                (Label::Unknown, Standing::Final)
            );
            assert_eq!(judge(&finding.evidence, &Policy::default()).action.name(), "hold");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn p9_ordinary_lists_ones_own_hosts_and_ones_own_domains_are_not_guarded() {
    let list = guessed(0, 200, "mail.one.test");
    let list: Vec<&str> = list.iter().map(String::as_str).collect();
    let owned = |domain: &str| Manners {
        owned: vec![domain.into()],
        ..manners()
    };
    let raised = Manners {
        limits: Limits {
            guard: GuardLimits {
                refusals: 50,
                percent: 90,
            },
            ..Limits::POLITE
        },
        ..manners()
    };
    for (manners, guards) in [
        (trusted(), false),
        (owned("one.test"), false),
        (owned("mail.one.test"), false),
        (owned("ne.test"), true),
        (raised, false),
    ] {
        let run = Run::of(FakeNet::new("", knows_users), manners, &list).await;
        assert_eq!(count(&run, "abuse_guard") > 0, guards);
    }
    let fifth_dead: Vec<String> = (0..200)
        .map(|n| format!("{}{n}@one.test", if n % 5 == 0 { "gone" } else { "user" }))
        .collect();
    let list: Vec<&str> = fifth_dead.iter().map(String::as_str).collect();
    let run = Run::of(FakeNet::new("", knows_users), manners(), &list).await;
    assert_eq!(
        (count(&run, "mailbox_unknown"), count(&run, "mailbox_exists")),
        (40, 160)
    );
}

/// Asks with a store; the reasons of the last words.
async fn with_store(store: &Arc<dyn Store>, net: &FakeNet, manners: Manners, list: &[String]) -> Vec<&'static str> {
    let lease = store.create(&NewJob::unlisted()).unwrap();
    let clock = Arc::new(SystemClock);
    let ledger = Ledger::new(
        Arc::clone(store),
        lease,
        (Patience::default(), false),
        None,
        clock.clone(),
    )
    .unwrap();
    let seams = Seams {
        meter: presend::meter::Meter::default(),
        dial: Arc::new(net.clone()),
        clock,
        classifier: None,
    };
    net.allows(if manners.trusted.contain("mx.fake.test") {
        &Limits::TRUSTED
    } else {
        &manners.limits
    });
    let errand = Errand {
        stop: Stop::new(),
        ledger: Some(ledger),
        tally: Arc::default(),
        hurried: false,
    };
    let (mut scheduler, mut receiver) = Scheduler::new(manners.clone(), seams).run(manners, errand);
    let address = |text: &String| Address::parse(text, RULES).unwrap();
    let target = |(id, text): (u32, &String)| Target {
        id,
        address: address(text),
        history: None,
    };
    scheduler.add(Work {
        domain: address(&list[0]).to_domain(),
        route: Arc::new(MailRoute::Exchangers(vec![exchanger(
            "mx.fake.test",
            10,
            "127.9.0.1",
            false,
        )])),
        wildcard_zone: false,
        targets: (0..).zip(list).map(target).collect::<Vec<_>>().into(),
        memory: None,
    });
    scheduler.finish().await;
    let mut reasons = vec![""; list.len()];
    while let Some(batch) = receiver.recv().await {
        for finding in batch
            .into_iter()
            .filter(|finding| finding.standing != Standing::Attempt)
        {
            reasons[finding.id as usize] = judge(&finding.evidence, &Policy::default()).reason.name();
        }
    }
    store.flush().await.unwrap().unwrap();
    reasons
}

#[tokio::test(start_paused = true)]
async fn p12_a_restart_does_not_begin_to_count_anew() {
    let store: Arc<dyn Store> = Arc::new(SqliteStore::private().unwrap());
    let net = FakeNet::new("", knows_users);
    let first = with_store(&store, &net, manners(), &guessed(0, 40, "one.test")).await;
    assert!(!first.contains(&"abuse_guard"), "32 refusals are too few to tell");
    let second = with_store(&store, &net, manners(), &guessed(40, 40, "one.test")).await;
    let refused = second.iter().filter(|reason| **reason == "mailbox_unknown").count();
    assert!((18..=20).contains(&refused), "{refused} more make fifty");
    assert!(second.contains(&"abuse_guard"));
    let asked = net.recipients().len();
    let third = with_store(&store, &net, manners(), &guessed(80, 40, "one.test")).await;
    assert_eq!(third, ["abuse_guard"; 40]);
    assert_eq!(net.recipients().len(), asked, "nobody was asked about");
    let other = with_store(&store, &net, manners(), &guessed(0, 5, "two.test")).await;
    assert!(!other.contains(&"abuse_guard"), "another domain of the same hosts");
}

#[tokio::test(start_paused = true)]
async fn t3_a_host_deaf_to_bursts_is_known_in_the_next_run() {
    let store: Arc<dyn Store> = Arc::new(SqliteStore::private().unwrap());
    // It never hears more than the first command of what arrives together.
    let script = |heard: &Heard<'_>| {
        let bursting = heard.connection == 0 && heard.before.iter().any(|line| line.starts_with("MAIL"));
        if bursting && heard.line != "QUIT" {
            Some(Act::Hang)
        } else {
            knows_users(heard)
        }
    };
    let net = FakeNet::new("PIPELINING", script);
    let list = ["user1@one.test".to_owned(), "guess2@one.test".to_owned()];
    assert_eq!(
        with_store(&store, &net, trusted(), &list).await,
        ["mailbox_exists", "mailbox_unknown"]
    );
    assert_eq!(net.connections().len(), 2, "a burst, then lockstep");
    // In lockstep from the start: this host would hang again if it met a burst.
    let again = FakeNet::new("PIPELINING", knows_users);
    assert_eq!(
        with_store(&store, &again, trusted(), &list).await,
        ["mailbox_exists", "mailbox_unknown"]
    );
    assert_eq!(again.connections().len(), 1);
    assert!(net.bursts() > 0);
    assert_eq!(
        again.bursts(),
        0,
        "commands that came before the one in front was answered"
    );
}
