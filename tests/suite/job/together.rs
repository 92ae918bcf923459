//! Several runs in one engine: a host sees one budget, and nobody is asked about twice at once.

use std::sync::Mutex;

use presend::store::SqliteStore;
use tokio::time::Instant;

use super::*;
use crate::fake::{Act, MINUTE, SECOND, say};

fn polite(patience: Duration) -> Settings {
    Settings {
        trusted: Vec::new(),
        max_wait: patience,
        ..settings()
    }
}

fn living(names: &[&str], host: &str) -> Vec<String> {
    names.iter().map(|name| format!("{name}@{host}")).collect()
}

fn table(addresses: &[String]) -> Table {
    let text = addresses.join("\n");
    Table::from_reader(&mut text.as_bytes(), "list", &InputOptions::default()).unwrap()
}

/// Refusals within any minute and any hour, as the host saw them.
fn most_refused(net: &FakeNet, dead: &str) -> (usize, usize) {
    let times: Vec<Instant> = net
        .recipients()
        .into_iter()
        .filter(|(_, rcpt)| rcpt.contains(dead))
        .map(|(at, _)| at)
        .collect();
    let within = |window| {
        let count = |first: &Instant| {
            times
                .iter()
                .filter(|at| **at >= *first && **at - *first < window)
                .count()
        };
        times.iter().map(count).max().unwrap_or(0)
    };
    (within(MINUTE), within(60 * MINUTE))
}

#[tokio::test(start_paused = true)]
async fn two_lists_at_a_strict_host_share_its_budget() {
    let net = FakeNet::new("", mailboxes(&["ann@strict.test"]));
    let engine = engine(polite(Duration::MAX), net.clone());
    let lists: Vec<Vec<String>> = (0..2)
        .map(|list| {
            (0..15)
                .map(|number| format!("dead{list}.{number}@strict.test"))
                .collect()
        })
        .collect();
    let (stop, progress) = (Stop::new(), [Progress::default(), Progress::default()]);
    let (mut one, mut two) = (Kept::default(), Kept::default());
    let (first, second) = tokio::join!(
        engine.verify(table(&lists[0]), &mut one, &progress[0], stop.clone()),
        engine.verify(table(&lists[1]), &mut two, &progress[1], stop.clone()),
    );
    assert!(first.unwrap().complete && second.unwrap().complete);
    for (kept, list) in [(&one, &lists[0]), (&two, &lists[1])] {
        let rows: Vec<&str> = kept.0.iter().map(|(row, _)| row.as_str()).collect();
        assert_eq!(
            rows,
            list.iter().map(String::as_str).collect::<Vec<_>>(),
            "each list its own rows"
        );
        assert!(
            kept.0.iter().all(|(_, reason)| *reason == "mailbox_unknown"),
            "{:?}",
            kept.0
        );
    }
    let (minute, hour) = most_refused(&net, "dead");
    assert!(minute <= 2 && hour <= 20, "{minute} refusals a minute, {hour} an hour");
    assert_eq!(net.recipients().len(), 30, "each was asked about once");
    for pair in net.connections().windows(2) {
        let (earlier, later) = (pair[0].lines.last().unwrap().0, pair[1].opened);
        assert!(later >= earlier, "two connections at once");
    }
}

#[tokio::test(start_paused = true)]
async fn one_question_serves_all_who_ask_it() {
    let net = FakeNet::new("", mailboxes(&["ann@slow.test"]));
    let folder = tempfile::tempdir().unwrap();
    for store in [false, true] {
        let mut engine = engine(polite(Duration::ZERO), net.clone());
        if store {
            engine = engine.with_store(Arc::new(SqliteStore::open(&folder.path().join("a.db")).unwrap().store));
        }
        let before = net.recipients().len();
        let typed = living(&["ann", "bob"], "slow.test");
        let stop = Stop::new();
        let asking = (0..20).map(|_| engine.check(&typed, &stop));
        let answers = futures_join(asking).await;
        for outcomes in answers {
            let reasons: Vec<_> = outcomes.iter().map(|outcome| outcome.verdict.reason.name()).collect();
            assert_eq!(reasons, ["mailbox_exists", "mailbox_unknown"]);
        }
        let asked: Vec<String> = net
            .recipients()
            .into_iter()
            .skip(before)
            .map(|(_, rcpt)| rcpt)
            .collect();
        assert_eq!(asked, typed, "store: {store}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_requests_to_one_domain_shares_sessions_and_the_control_recipient() {
    let names: Vec<String> = (0..9).map(|number| format!("user{number}@busy.test")).collect();
    let known: Vec<&'static str> = names.iter().map(|name| &*name.clone().leak()).collect();
    let net = FakeNet::new("", mailboxes(known.leak()));
    let engine = engine(polite(Duration::ZERO), net.clone());
    let (stop, typed): (_, Vec<Vec<String>>) = (Stop::new(), names.iter().map(|name| vec![name.clone()]).collect());
    let answers = futures_join(typed.iter().map(|typed| engine.check(typed, &stop))).await;
    for outcomes in answers {
        assert_eq!(outcomes[0].verdict.reason.name(), "mailbox_exists");
    }
    let controls = net
        .recipients()
        .iter()
        .filter(|(_, rcpt)| !names.contains(rcpt))
        .count();
    assert!(
        net.connections().len() <= 3 && controls <= 2,
        "{} sessions, {controls} controls",
        net.connections().len()
    );
}

/// Waits for all, in order.
async fn futures_join<F: Future<Output = Result<Vec<Outcome>, presend::job::VerifyError>>>(
    asking: impl Iterator<Item = F>,
) -> Vec<Vec<Outcome>> {
    let mut all: Vec<_> = asking.map(Box::pin).collect();
    let mut answers: Vec<Option<Vec<Outcome>>> = all.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, answer) in all.iter_mut().zip(&mut answers) {
            if answer.is_none()
                && let std::task::Poll::Ready(outcomes) = future.as_mut().poll(context)
            {
                *answer = Some(outcomes.unwrap());
            }
        }
        if answers.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    answers.into_iter().flatten().collect()
}

#[tokio::test(start_paused = true)]
async fn a_request_does_not_wait_for_a_long_list() {
    let names: Vec<String> = (0..200).map(|number| format!("user{number}@big.test")).collect();
    let known: &'static [&'static str] = names
        .iter()
        .map(|name| &*name.clone().leak())
        .collect::<Vec<_>>()
        .leak();
    let mut all = known.to_vec();
    all.push("ann@big.test");
    let net = FakeNet::new("", mailboxes(all.leak()));
    let engine = engine(polite(Duration::MAX), net.clone());
    let started = Instant::now();
    let done = Mutex::new(None);
    let (stop, progress, mut kept) = (Stop::new(), Progress::default(), Kept::default());
    let request = async {
        tokio::time::sleep(5 * SECOND).await;
        let outcomes = engine.check(&["ann@big.test".to_owned()], &Stop::new()).await.unwrap();
        *done.lock().unwrap() = Some(started.elapsed());
        outcomes[0].verdict.reason.name()
    };
    let (summary, reason) = tokio::join!(engine.verify(table(&names), &mut kept, &progress, stop), request);
    assert!(summary.unwrap().complete);
    assert_eq!(reason, "mailbox_exists");
    let (answered, took) = (done.lock().unwrap().unwrap(), started.elapsed());
    assert!(
        answered < MINUTE && took > 3 * MINUTE,
        "answered after {answered:?}, the list took {took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn who_stops_leaves_the_others_alone() {
    // Puts everybody off at first.
    let net = FakeNet::new("", |heard| {
        let rcpt = heard.rcpt()?;
        (heard.connection == 0).then(|| say("451 4.7.1 Greylisted, please try again later"))?;
        (rcpt != "x").then_some(Act::Say("451 4.7.1 Greylisted, please try again later".to_owned()))
    });
    let engine = engine(polite(10 * MINUTE), net.clone());
    let (leaves, stays) = (Stop::new(), Stop::new());
    let (one, two) = (living(&["ann"], "grey.test"), living(&["ann", "bob"], "grey.test"));
    let (left, stayed, ()) = tokio::join!(engine.check(&one, &leaves), engine.check(&two, &stays), async {
        tokio::time::sleep(20 * SECOND).await;
        leaves.request();
    });
    assert_eq!(left.unwrap()[0].verdict.reason.name(), "interrupted");
    let reasons: Vec<_> = stayed
        .unwrap()
        .iter()
        .map(|outcome| outcome.verdict.reason.name())
        .collect();
    assert!(
        reasons
            .iter()
            .all(|reason| *reason != "interrupted" && *reason != "greylisted"),
        "{reasons:?}"
    );
}
