//! Hosts that stop answering truly in the middle of a session, without saying so.

use super::*;
use crate::fake::Heard;

const BAN: &str = "550 Sorry, no mailbox here by that name";

/// Takes whoever starts with `user` until it was asked about so many recipients; then refuses everybody.
fn banning(after: usize, taking: &'static str) -> impl Fn(&Heard<'_>) -> Option<Act> + Send + Sync {
    banning_in_words(after, taking, BAN)
}

fn banning_in_words(
    after: usize,
    taking: &'static str,
    words: &'static str,
) -> impl Fn(&Heard<'_>) -> Option<Act> + Send + Sync {
    let asked = std::sync::atomic::AtomicUsize::new(0);
    move |heard| {
        let rcpt = heard.rcpt()?;
        let before = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        (before >= after || !rcpt.starts_with(taking)).then(|| say(words))
    }
}

fn list() -> Vec<String> {
    (0..30).map(|n| format!("user{n:02}@d{}.test", n / 10)).collect()
}

#[tokio::test(start_paused = true)]
async fn r22_a_ban_amid_a_session_makes_nobody_invalid_and_ends_the_asking() {
    let list = list();
    let addresses: Vec<&str> = list.iter().map(String::as_str).collect();
    for (manners, most) in [(impatient(), 8), (manners(), 10)] {
        let run = Run::of(FakeNet::new("", banning(5, "user")), manners, &addresses).await;
        let asked = run.net.recipients();
        assert!(
            asked.len() <= most,
            "five, two refused, and whoever was accepted last: {asked:?}"
        );
        assert_eq!(asked[4].1, asked[7].1, "the last one accepted comes again");
        for address in &addresses {
            assert_eq!(run.label(address), Label::Unknown, "{address}");
        }
        assert_eq!(run.reason("user00@d0.test"), "catchall_undetermined");
        assert_eq!(run.reason("user05@d0.test"), "harvest_protection");
        assert_eq!(
            run.reason("user29@d2.test"),
            "budget_spent",
            "nobody else heard what was said in anger"
        );
        for address in &addresses[5..] {
            assert!(run.findings[*address].retry_at.is_some(), "{address}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn r22_a_refused_stranger_may_be_a_ban_too() {
    // It takes everybody, and bans whoever asks for a second recipient.
    let net = FakeNet::new("", banning(1, ""));
    let run = Run::of(net, impatient(), &["user00@d0.test"]).await;
    assert_eq!(run.reason("user00@d0.test"), "catchall_undetermined");
    assert_eq!(run.net.recipients().len(), 3);
    // The same words for strangers alone are no ban.
    let run = Run::of(FakeNet::new("", banning(99, "user")), impatient(), &["user00@d0.test"]).await;
    assert_eq!(run.reason("user00@d0.test"), "mailbox_exists");
    assert_eq!(run.net.recipients().len(), 3, "{:?}", run.net.recipients());
}

#[tokio::test(start_paused = true)]
async fn r22_vague_refusals_count_where_somebody_is_accepted_afterwards() {
    let addresses = [
        "user1@d0.test",
        "dead1@d0.test",
        "user2@d0.test",
        "dead2@d0.test",
        "user3@d1.test",
    ];
    let run = Run::of(FakeNet::new("", banning(99, "user")), manners(), &addresses).await;
    for (address, reason) in [
        ("user1@d0.test", "mailbox_exists"),
        ("dead1@d0.test", "mailbox_unknown"),
        ("dead2@d0.test", "mailbox_unknown"),
        ("user3@d1.test", "mailbox_exists"),
    ] {
        assert_eq!(run.reason(address), reason, "{address}");
    }
    let asked = run.net.recipients();
    assert_eq!(
        asked.len(),
        5 + 1 + 1,
        "each, one stranger, and once whoever exists: {asked:?}"
    );
    // Plain words prove themselves.
    let run = Run::of(
        FakeNet::new("", mailboxes(&["user1@d0.test"])),
        manners(),
        &addresses[..2],
    )
    .await;
    assert_eq!(run.reason("dead1@d0.test"), "mailbox_unknown");
    assert_eq!(run.net.recipients().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn r22_a_ban_in_the_words_of_an_unknown_user_makes_nobody_invalid() {
    for words in [
        "550 5.1.1 User unknown",
        "550 No such user here",
        "550 5.2.1 Mailbox disabled",
    ] {
        let net = FakeNet::new("", banning_in_words(3, "user", words));
        let addresses: Vec<String> = (0..12).map(|n| format!("user{n:02}@d0.test")).collect();
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        let run = Run::of(net, manners(), &addresses).await;
        for address in &addresses {
            assert_eq!(run.label(address), Label::Unknown, "{address}: {}", run.reason(address));
        }
        let asked = run.net.recipients();
        let again = asked.iter().filter(|(_, rcpt)| rcpt == "user02@d0.test").count();
        assert!(again > 1, "whoever was accepted last is asked about again: {asked:?}");
        assert!(asked.len() < 12, "{asked:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn many_unknown_in_a_row_are_believed_and_cost_few_questions() {
    let mut addresses: Vec<String> = (0..60).map(|n| format!("gone{n:02}@d0.test")).collect();
    addresses.insert(0, "user1@d0.test".into());
    addresses.push("user2@d1.test".into());
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let script = |heard: &Heard<'_>| (!heard.rcpt()?.starts_with("user")).then(|| say("550 5.1.1 User unknown"));
    let owned = Manners {
        owned: vec!["d0.test".into()],
        ..manners()
    };
    let run = Run::of(FakeNet::new("", script), owned, &addresses).await;
    for address in &addresses[1..61] {
        assert_eq!(run.reason(address), "mailbox_unknown", "{address}");
    }
    assert_eq!(run.reason("user2@d1.test"), "mailbox_exists");
    let asked = run.net.recipients();
    let again = asked.iter().filter(|(_, rcpt)| rcpt.starts_with("user1@")).count() - 1;
    assert!((1..=5).contains(&again), "after 4, 8, 16, 32: {again} times");
}

#[tokio::test(start_paused = true)]
async fn r22_without_an_answer_about_the_sentinel_nothing_is_proven() {
    let script = |heard: &Heard<'_>| match (heard.connection, heard.rcpt()?) {
        (0, "user1@d0.test") => None,
        (0, _) => Some(say(BAN)),
        _ => Some(say("451 4.3.0 Try again later")),
    };
    let addresses = ["user1@d0.test", "user2@d0.test", "user3@d0.test"];
    let run = Run::of(FakeNet::new("", script), impatient(), &addresses).await;
    for address in addresses {
        assert_eq!(run.label(address), Label::Unknown, "{address}: {}", run.reason(address));
    }
}
