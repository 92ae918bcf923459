//! The ladder as it is configured, seen at the hosts.

use super::{Net, differences, labels};

const WORLD: &str = r#"
[[host]]
name = "mx.full.test"
serves = ["full.test"]
mailboxes = ["jane"]
reply.jane = ["452 4.2.2 Mailbox full", "250 2.1.5 Ok"]

[[host]]
name = "mx.grey.test"
serves = ["grey.test"]
mailboxes = ["jane"]
greylist_ms = 500

[[host]]
name = "mx.lost.test"
serves = ["lost.test"]
mailboxes = ["jane"]
script = [{ on = "greeting", sessions = 1, then = "close" }]
"#;

const LIST: &str =
    "jane@full.test\nnobody@full.test\njane@grey.test\nnobody@grey.test\njane@lost.test\nnobody@lost.test\n";

#[test]
fn delays_of_single_reasons_come_from_the_file_and_from_flags() {
    let file = "[retry]\nmailbox_full = [\"700ms\"]\ngreylisted = [\"800ms\"]\nconnection_lost = [\"600ms\"]\n";
    let flags = ["--retry", "mailbox_full=700ms,greylisted=800ms,connection_lost=600ms"];
    for (file, flags) in [(file, &[][..]), ("", &flags)] {
        let net = Net::new(WORLD);
        net.place.write("presend.toml", file);
        let ran = net.verify(LIST, flags);
        let expected = ["full", "grey", "lost"].map(|domain| (format!("jane@{domain}.test"), "valid mailbox_exists"));
        let expected = expected.iter().map(|(address, expected)| (address.as_str(), *expected));
        assert_eq!(
            differences(expected, &labels(&ran)),
            Vec::<String>::new(),
            "{}",
            ran.err
        );
    }
}

#[test]
fn without_them_a_full_mailbox_is_not_waited_for_and_the_others_say_when() {
    let net = Net::new(WORLD);
    net.place.write(
        "presend.toml",
        "[retry]\nprofile = \"mailpro\"\ngreylisted = [\"20m\"]\n",
    );
    let ran = net.verify(LIST, &["--no-wait", "--format", "ndjson"]);
    let seconds = |address: &str| {
        let line = ran.out.lines().find(|line| line.contains(address)).unwrap();
        let result: serde_json::Value = serde_json::from_str(line).unwrap();
        let result = result.get("presend").unwrap_or(&result);
        let time = |key: &str| humantime::parse_rfc3339(result[key].as_str()?).ok();
        let wait = time("retry_at")?.duration_since(time("checked_at")?).unwrap();
        Some(wait.as_secs_f64().round())
    };
    assert_eq!(seconds("jane@full.test"), None);
    assert_eq!(seconds("jane@grey.test"), Some(1200.0), "the reason's own delay");
    assert_eq!(
        seconds("jane@lost.test"),
        Some(420.0),
        "a connection fault of the profile"
    );
}
