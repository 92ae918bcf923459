//! Every behaviour a host can have, but waiting and TLS.

use async_smtp::{EmailAddress, Envelope, SendableEmail, SmtpClient, SmtpTransport};
use presend::lab::{Host, Lab, World};

use super::client::{Client, EHLO, MAIL, counts, start, talk};

#[tokio::test]
async fn a_plain_host_knows_its_mailboxes() {
    let host = Host::serving("mx1.acme.test", &["acme.test"], &["jane"]);
    let lab = Lab::start(World {
        hosts: vec![host],
        ..World::default()
    })
    .await
    .unwrap();
    let mut client = Client::connect(&lab, "mx1.acme.test").await;
    assert_eq!(client.reply().await, "220 mx1.acme.test ESMTP");
    assert_eq!(
        client.say("EHLO us.test").await,
        "250-mx1.acme.test|250-PIPELINING|250-SIZE 36700160|250-ENHANCEDSTATUSCODES|250-8BITMIME|250 SMTPUTF8"
    );
    for (command, reply) in [
        ("RCPT TO:<jane@acme.test>", "503 5.5.1 Error: need MAIL command"),
        ("MAIL FROM:<probe@us.test>", "250 2.1.0 Ok"),
        ("RCPT TO:<Jane@Acme.test>", "250 2.1.5 Ok"),
        (
            "RCPT TO:<joe@acme.test>",
            "550 5.1.1 <joe@acme.test>: Recipient address rejected: User unknown",
        ),
        (
            "RCPT TO:<jane@other.test>",
            "554 5.7.1 <jane@other.test>: Relay access denied",
        ),
        ("RCPT TO:jane@acme.test", "501 5.1.3 Bad recipient address syntax"),
        ("RSET", "250 2.0.0 Ok"),
        ("QUIT", "221 2.0.0 Bye"),
    ] {
        assert_eq!(client.say(command).await, reply, "{command}");
    }
    assert_eq!(client.reply().await, "");
    let seen = counts(&lab, "mx1.acme.test");
    assert_eq!((seen.connections, seen.concurrent_peak, seen.without_quit), (1, 1, 0));
    assert_eq!((seen.recipients, seen.refused, seen.deferred), (5, 4, 0));
    assert_eq!(seen.rcpt_at_us.len(), 5);
    assert_eq!(seen.violations.total(), 0);
    assert_eq!(
        lab.verbs().into_iter().collect::<Vec<_>>(),
        [("EHLO", 1), ("MAIL", 1), ("QUIT", 1), ("RCPT", 5), ("RSET", 1)]
    );
}

#[tokio::test]
async fn every_key_changes_what_a_host_says() {
    let lab = start(include_str!("keys.toml")).await;
    #[rustfmt::skip]
    let dialogues: &[(&str, &[(&str, &str)])] = &[
        ("kinds", &[("", "220"), EHLO, MAIL,
            ("RCPT TO:<full@k.test>", "452 4.2.2 <full@k.test>: Mailbox is over quota"),
            ("RCPT TO:<old@k.test>", "550 5.2.1"), ("RCPT TO:<busy@k.test>", "450 4.2.1"),
            ("RCPT TO:<gone@k.test>", "551 5.1.6"), ("RCPT TO:<fwd@k.test>", "251 2.1.5"),
            ("RCPT TO:<jane@k.test>", "550-5.7.1 first|550 5.7.1 for p@us.test from 127.0.0.1 at kinds.test"),
            ("RCPT TO:<turn@k.test>", "450 4.0.0 later"), ("RCPT TO:<turn@k.test>", "250 2.1.5 now"),
            ("RCPT TO:<turn@k.test>", "250 2.1.5 now"), ("RCPT TO:<nobody@k.test>", "550 No <nobody@k.test> here")]),
        ("catch-all", &[("", "220"), EHLO, MAIL, ("RCPT TO:<x@c.test>", "250 2.1.5"), ("RCPT TO:<x@d.test>", "554 5.7.1")]),
        ("bare", &[("", "220"), ("EHLO us.test", "250 bare.test"), ("MAIL FROM:<p@us.test>", "250 Ok"),
            ("RCPT TO:<x@bare.test>", "550 <x@bare.test>: Recipient"), ("STARTTLS", "502 Error")]),
        ("bare", &[("", "220"), EHLO, ("MAIL FROM:<p@us.test> SMTPUTF8", "555 Unsupported"), MAIL,
            ("RCPT TO:<jörg@bare.test>", "553 Non-ASCII")]),
        ("old", &[("", "220"), ("EHLO us.test", "502 5.5.1"), ("HELO us.test", "250 old.test"), MAIL]),
        ("limits", &[("", "220"), ("EHLO us.test", "250-limits.test|250-PIPELINING|250-SIZE 36700160|250-ENHANCEDSTATUSCODES|250-8BITMIME|250-SMTPUTF8|250 LIMITS RCPTMAX=2"),
            MAIL, ("RCPT TO:<a@l.test>", "250"), ("RCPT TO:<a@m.test>", "451 4.3.0"), ("RCPT TO:<b@l.test>", "250"),
            ("RCPT TO:<c@l.test>", "452 4.5.3"), MAIL_NESTED, ("RSET", "250"), MAIL, ("RCPT TO:<a@m.test>", "250")]),
        ("errors", &[("", "220"), EHLO, MAIL, ("RCPT TO:<x@e.test>", "550"), ("RCPT TO:<y@e.test>", "550"),
            ("", "421 4.7.0 Error: too many errors"), ("", "")]),
        ("ban", &[("", "220"), EHLO, MAIL, ("RCPT TO:<x@ban.test>", "550 5.1.1"), ("RCPT TO:<y@ban.test>", "550 5.1.1"),
            ("RCPT TO:<jane@ban.test>", "550 5.7.1 Too many invalid recipients from 127.0.0.1")]),
        ("ban", &[("", "550 5.7.1 Too many"), ("", "")]),
        ("grey", &[("", "220"), EHLO, MAIL, ("RCPT TO:<free@g.test>", "250"), ("RCPT TO:<jane@g.test>", "451 4.7.1"),
            ("RCPT TO:<jane@g.test>", "451 4.7.1")]),
        ("blocked", &[("", "554 5.7.1 Blocked, see https://dnsbl.test/?q=127.0.0.1"), ("", "")]),
        ("ehlo-block", &[("", "220"), ("EHLO us.test", "550 5.7.1 no"), ("EHLO us.test", "250"), MAIL]),
        ("mail-block", &[("", "220"), EHLO, ("MAIL FROM:<p@us.test>", "550 5.7.1 <p@us.test> refused"), ("RCPT TO:<a@mb.test>", "503")]),
        ("first-two", &[("", "220"), EHLO, MAIL, ("RCPT TO:<a@f.test>", "250 2.1.5"), ("RCPT TO:<b@f.test>", "250 2.1.5"),
            ("RCPT TO:<a@f.test>", "550 5.7.1 enough")]),
        ("postscreen", &[("", "220"), EHLO, MAIL, ("RCPT TO:<a@p.test>", "450 4.3.2"), ("QUIT", "221"), ("", "")]),
        ("postscreen", &[("", "220"), EHLO, MAIL, ("RCPT TO:<a@p.test>", "250 2.1.5")]),
        ("drop-connect", &[("", "")]),
        ("drop-ehlo", &[("", "220"), ("EHLO us.test", "")]),
        ("drop-mail", &[("", "220"), EHLO, ("MAIL FROM:<p@us.test>", "421 4.0.0 bye"), ("", "")]),
        ("drop-rcpt", &[("", "220"), EHLO, MAIL, ("RCPT TO:<a@dr.test>", "250"), ("RCPT TO:<b@dr.test>", "")]),
        ("reset", &[("", "220"), EHLO, ("MAIL FROM:<p@us.test>", "ConnectionReset")]),
        ("not-smtp", &[("", "SSH-2.0-OpenSSH_9.2")]),
        ("own-words", &[("", "220"), EHLO, ("MAIL FROM:<p@us.test>", "250 as you like"), ("RCPT TO:<a@ow.test>", "250 2.1.5 Ok"),
            ("RSET", "250 2.0.0")]),
        ("tls-required", &[("", "220"), EHLO, ("MAIL FROM:<p@us.test>", "530 5.7.0"), ("STARTTLS", "220 2.0.0")]),
        ("tls-refused", &[("", "220"), EHLO, ("STARTTLS", "454 4.7.0"), MAIL]),
        ("tls-inject", &[("", "220"), EHLO, ("STARTTLS", "220 2.0.0"), ("", "250 2.0.0 Ok")]),
        ("tls-broken", &[("", "220"), EHLO, ("STARTTLS", "220 2.0.0"), ("hello", "\u{16}\u{3}\u{1}\0\u{4}oops"), ("", "")]),
        ("tls-only", &[("", "220"), EHLO, MAIL, ("RCPT TO:<nobody@to.test>", "250 2.1.5")]),
    ];
    for (host, dialogue) in dialogues {
        let mut client = Client::connect(&lab, &format!("{host}.test")).await;
        talk(&mut client, host, dialogue).await;
    }
    assert_eq!(lab.counters().violations(), 0);
}

const MAIL_NESTED: (&str, &str) = ("MAIL FROM:<q@us.test>", "503 5.5.1 Error: nested");

#[tokio::test]
async fn violations_are_refused_and_counted() {
    let lab = start(
        r#"
        record_lines = true
        [[host]]
        name = "mx.test"
        serves = "mx.test"
        mailboxes = ["jane"]
        "#,
    )
    .await;
    let mut client = Client::ready(&lab, "mx.test").await;
    assert!(client.rcpt("jane@mx.test").await.starts_with("250"));
    for verb in [
        "DATA",
        "BDAT 5 LAST",
        "VRFY jane",
        "EXPN all",
        "AUTH PLAIN AAAA",
        "data",
    ] {
        assert!(client.say(verb).await.starts_with("502 5.5.1"), "{verb}");
    }
    for unknown in ["XYZZY", "", "RCPT\tTO:<jane@mx.test>"] {
        client.send(&format!("{unknown}\r\n")).await;
        assert!(client.reply().await.starts_with("500 5.5.2"), "{unknown}");
    }
    client.send("NOOP\n").await;
    assert!(client.reply().await.starts_with("250"));
    client.send(&"x".repeat(9000)).await;
    assert!(client.reply().await.starts_with("500 5.5.2 Line too long"));
    client.send("x\r\nNOOP\r\n").await;
    assert!(client.reply().await.starts_with("250"));
    drop(client);
    let seen = counts(&lab, "mx.test");
    assert_eq!(
        (seen.violations.forbidden, seen.violations.unknown, seen.violations.line),
        (8, 4, 2),
        "two NOOPs as well, and what is too long is no command"
    );
    assert_eq!(seen.commands["DATA"], 2);
    assert_eq!(seen.lines[2].text, "RCPT TO:<jane@mx.test>");
    assert_eq!(seen.lines[2].connection, 1);
}

#[tokio::test]
async fn bursts_are_answered_in_order_and_counted_where_they_are_not_allowed() {
    let lab = start(
        r#"
        host = [
            { name = "on.test", serves = "on.test", mailboxes = ["a", "c"] },
            { name = "off.test", serves = "off.test", catch_all = true, pipelining = "off" },
            { name = "strict.test", pipelining = "off", enforce_sync = true },
            { name = "broken.test", serves = "broken.test", catch_all = true, pipelining = "broken" },
            { name = "pause.test", greeting_delay_ms = 300, enforce_sync = true },
        ]
        "#,
    )
    .await;
    let burst = |host: &str| {
        ["a", "b", "c"]
            .map(|local| format!("RCPT TO:<{local}@{host}>\r\n"))
            .concat()
    };
    let mut codes = Vec::new();
    for host in ["on.test", "off.test"] {
        let mut client = Client::ready(&lab, host).await;
        client.send(&burst(host)).await;
        for _ in 0..3 {
            codes.push(client.reply().await[..3].to_owned());
        }
    }
    assert_eq!(codes, ["250", "550", "250", "250", "250", "250"]);
    assert_eq!(counts(&lab, "on.test").violations.total(), 0);
    assert_eq!(counts(&lab, "off.test").violations.burst, 2);

    let mut client = Client::connect(&lab, "on.test").await;
    client.reply().await;
    client.send("EHLO us.test\r\nMAIL FROM:<p@us.test>\r\n").await;
    client.reply().await;
    client.reply().await;
    assert_eq!(counts(&lab, "on.test").violations.burst, 1, "nothing may follow EHLO");

    let mut client = Client::connect(&lab, "strict.test").await;
    client.reply().await;
    client.send("EHLO us.test\r\nMAIL FROM:<p@us.test>\r\n").await;
    talk(
        &mut client,
        "strict.test",
        &[("", "250"), ("", "554 5.5.0 Error: SMTP protocol sync"), ("", "")],
    )
    .await;

    let mut client = Client::ready(&lab, "broken.test").await;
    client.send(&burst("broken.test")).await;
    talk(&mut client, "broken.test", &[("", "250 2.1.5"), ("NOOP", "250 2.0.0")]).await;

    let mut client = Client::connect(&lab, "pause.test").await;
    client.send("EHLO us.test\r\n").await;
    talk(&mut client, "pause.test", &[("", "554 5.5.0"), ("", "")]).await;
    assert_eq!(counts(&lab, "pause.test").violations.early, 1);
}

#[tokio::test]
async fn a_whole_client_can_talk_but_not_deliver() {
    let hosts = vec![Host::serving("mx.test", &["mx.test"], &["jane"])];
    let lab = Lab::start(World {
        hosts,
        ..World::default()
    })
    .await
    .unwrap();
    let stream = Client::connect(&lab, "mx.test").await.0;
    let mut transport = SmtpTransport::new(SmtpClient::new(), stream).await.unwrap();
    let address = |text: &str| EmailAddress::new(text.to_owned()).unwrap();
    let envelope = Envelope::new(Some(address("p@us.test")), vec![address("jane@mx.test")]).unwrap();
    let sent = transport
        .send(SendableEmail::new(envelope, "Subject: no\r\n\r\nno\r\n"))
        .await;
    let error = sent.unwrap_err();
    assert!(
        format!("{error:?}").contains("not implemented"),
        "DATA is refused: {error:?}"
    );
    assert_eq!(counts(&lab, "mx.test").violations.forbidden, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_after_the_other_is_one_at_a_time() {
    let lab = start(r#"host = [{ name = "mx.test", serves = "mx.test", mailboxes = "jane" }]"#).await;
    for _ in 0..200 {
        let mut client = Client::ready(&lab, "mx.test").await;
        assert_eq!(client.say("QUIT").await, "221 2.0.0 Bye");
    }
    let seen = lab.counters();
    assert_eq!((seen.concurrent_peak, seen.hosts["mx.test"].concurrent_peak), (1, 1));
    assert_eq!(
        (seen.hosts["mx.test"].connections, seen.hosts["mx.test"].without_quit),
        (200, 0)
    );
}

#[tokio::test]
async fn a_scripted_reply_names_the_address_it_is_about() {
    let lab = start(
        r#"[[host]]
        name = "mx.a.test"
        serves = ["a.test"]
        script = [{ on = "mail", to = 1, reply = "450 no {from}" }, { on = "rcpt", reply = "550 no {rcpt} of {from}" }]"#,
    )
    .await;
    let mut client = Client::connect(&lab, "mx.a.test").await;
    for (command, reply) in [
        ("EHLO us.test", "250"),
        ("MAIL FROM:<probe@us.test>", "450 no probe@us.test"),
        ("MAIL FROM:<other@us.test>", "250 2.1.0 Ok"),
        ("RCPT TO:<jane@a.test>", "550 no jane@a.test of other@us.test"),
    ] {
        if command.starts_with("EHLO") {
            client.reply().await;
        }
        let said = client.say(command).await;
        assert!(said.starts_with(reply), "{command}: {said}");
    }
}
