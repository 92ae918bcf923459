//! Control recipients of two shapes: a name, and random letters.

use super::*;
use crate::fake::Heard;

fn is_name(rcpt: &str) -> bool {
    rcpt.split('@').next().is_some_and(|local| local.contains('.'))
}

/// Says `to_name` and `to_letters` to strangers of either shape; `None` takes them. `ann` exists.
fn host(
    to_name: Option<&'static str>,
    to_letters: Option<&'static str>,
) -> impl Fn(&Heard<'_>) -> Option<Act> + Send + Sync {
    move |heard| match heard.rcpt()? {
        "ann@one.test" | "eve@one.test" => None,
        name if is_name(name) => to_name.map(say),
        _ => to_letters.map(say),
    }
}

const PATTERN: Option<&str> = Some("553 5.1.3 Bad recipient address syntax");
const STRANGER: Option<&str> = Some("550 5.1.1 User unknown");
const LATER: Option<&str> = Some("451 4.3.0 Try again later");

#[tokio::test(start_paused = true)]
async fn r27_shapes_that_disagree_leave_it_open() {
    for (to_name, to_letters, reason, asked) in [
        (None, None, "accepts_all", 2),
        (None, STRANGER, "catchall_undetermined", 2),
        (None, LATER, "catchall_undetermined", 2),
        (PATTERN, None, "catchall_undetermined", 2),
        (PATTERN, STRANGER, "mailbox_exists", 2),
        (PATTERN, PATTERN, "mailbox_exists", 2),
        // Plain words need no second question.
        (STRANGER, None, "mailbox_exists", 1),
    ] {
        let net = FakeNet::new("", host(to_name, to_letters));
        let run = Run::of(net, impatient(), &["ann@one.test"]).await;
        let case = format!("{to_name:?} {to_letters:?}");
        assert_eq!(run.reason("ann@one.test"), reason, "{case}");
        assert_eq!(run.controls().len(), asked, "{case}: {:?}", run.controls());
        let vague = to_name == PATTERN && to_letters == PATTERN;
        assert_eq!(
            run.connections(),
            if vague { 2 } else { 1 },
            "{case}: one more for whoever exists"
        );
        let refused = usize::from(to_name.is_some()) + usize::from(to_letters.is_some());
        assert!(refused <= 2, "within the budget of a session");
    }
}

#[tokio::test(start_paused = true)]
async fn r27_a_session_whose_refusals_are_spent_leaves_the_other_shape_to_the_next() {
    let script = |heard: &Heard<'_>| match heard.rcpt()? {
        "bob@one.test" => Some(say("550 5.2.1 Mailbox disabled")),
        _ => host(PATTERN, STRANGER)(heard),
    };
    let addresses = ["ann@one.test", "bob@one.test", "eve@one.test"];
    let run = Run::of(FakeNet::new("", script), manners(), &addresses).await;
    assert_eq!(run.reason("ann@one.test"), "mailbox_exists");
    assert_eq!(run.reason("bob@one.test"), "mailbox_disabled");
    let controls = run.controls();
    assert!(
        controls.len() == 2 && is_name(&controls[0]) && !is_name(&controls[1]),
        "{controls:?}"
    );
    assert_eq!(run.connections(), 2);
    for connection in run.net.connections() {
        let refused =
            |(_, line): &&(_, String)| line.starts_with("RCPT") && !line.contains("ann@") && !line.contains("eve@");
        assert!(
            connection.lines.iter().filter(refused).count() <= 2,
            "{:?}",
            connection.lines
        );
    }
}

#[tokio::test(start_paused = true)]
async fn r27_a_retry_asks_about_the_same_letters() {
    let start = tokio::time::Instant::now();
    let script = move |heard: &Heard<'_>| {
        let busy = heard
            .rcpt()
            .is_some_and(|rcpt| rcpt != "ann@one.test" && !is_name(rcpt))
            && start.elapsed() < 3 * MINUTE;
        busy.then(|| say("451 4.7.1 Greylisted, see you later"))
    };
    let run = Run::of(FakeNet::new("", script), manners(), &["ann@one.test"]).await;
    assert_eq!(run.reason("ann@one.test"), "accepts_all");
    let controls = run.controls();
    assert_eq!(controls.len(), 3, "{controls:?}");
    assert_eq!(controls[1], controls[2]);
    assert!(is_name(&controls[0]) && !is_name(&controls[1]));
}

#[tokio::test(start_paused = true)]
async fn r27_microsoft_hears_each_shape_in_a_session_of_its_own() {
    let exo = exchanger("one-test.mail.protection.outlook.com", 0, "127.9.0.3", false);
    let route = MailRoute::Exchangers(vec![exo]);
    let run = Run::over(
        FakeNet::new("", host(None, None)),
        manners(),
        route,
        &["ann@one.test"],
        Stop::new(),
    )
    .await;
    assert_eq!(run.reason("ann@one.test"), "accepts_all");
    for connection in run.net.connections() {
        assert_eq!(
            connection
                .lines
                .iter()
                .filter(|(_, line)| line.starts_with("RCPT"))
                .count(),
            1
        );
    }
    assert_eq!(run.controls().len(), 2);
}
