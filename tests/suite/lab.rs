//! The miniature internet: every behaviour a world can ask for, driven by a raw client, and its DNS by hickory-resolver.
#![expect(
    clippy::disallowed_methods,
    reason = "a raw client, and one that must be refused, are not presend"
)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_smtp::{EmailAddress, Envelope, SendableEmail, SmtpClient, SmtpTransport};
use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig},
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::rr::RecordType,
};
use presend::lab::{Host, HostCounters, Lab, World};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        self, DigitallySignedStruct, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::CryptoProvider,
        pki_types::{CertificateDer, ServerName, UnixTime},
    },
};

/// A client that sends what it is told and reads replies, nothing more.
struct Client<S = TcpStream>(BufReader<S>);

impl Client {
    async fn connect(lab: &Lab, host: &str) -> Self {
        let address = lab.host(host).unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        Self(BufReader::new(stream))
    }

    /// Connects, reads the greeting, says EHLO and MAIL.
    async fn ready(lab: &Lab, host: &str) -> Self {
        let mut client = Self::connect(lab, host).await;
        assert!(client.reply().await.starts_with("220 "));
        client.say("EHLO us.test").await;
        assert_eq!(client.say("MAIL FROM:<probe@us.test>").await, "250 2.1.0 Ok");
        client
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// One reply, lines joined by `|`; empty when the connection ended.
    async fn reply(&mut self) -> String {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            match tokio::time::timeout(Duration::from_secs(10), self.0.read_line(&mut line))
                .await
                .unwrap()
            {
                Ok(0) => break,
                Err(error) => return format!("{:?}", error.kind()),
                Ok(_) => {}
            }
            let line = line.trim_end().to_owned();
            let last = line.as_bytes().get(3) != Some(&b'-') || line.starts_with("SSH");
            lines.push(line);
            if last {
                break;
            }
        }
        lines.join("|")
    }

    async fn say(&mut self, command: &str) -> String {
        self.send(&format!("{command}\r\n")).await;
        self.reply().await
    }

    async fn rcpt(&mut self, address: &str) -> String {
        self.say(&format!("RCPT TO:<{address}>")).await
    }
}

async fn start(world: &str) -> Lab {
    Lab::start(World::parse(world, "test").unwrap()).await.unwrap()
}

fn counts(lab: &Lab, host: &str) -> HostCounters {
    lab.counters().hosts[host].clone()
}

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

fn resolver(lab: &Lab) -> TokioResolver {
    let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
    (udp.port, tcp.port) = (lab.dns().port(), lab.dns().port());
    let server = NameServerConfig::new(lab.dns().ip(), true, vec![udp, tcp]);
    let mut builder = TokioResolver::builder_with_config(
        ResolverConfig::from_name_servers(vec![server]),
        TokioRuntimeProvider::default(),
    );
    builder.options_mut().timeout = Duration::from_millis(200);
    builder.options_mut().attempts = 1;
    builder.build().unwrap()
}

/// The answer as text, or the kind of failure.
async fn ask(resolver: &TokioResolver, name: &str, kind: RecordType) -> String {
    match resolver.lookup(format!("{name}."), kind).await {
        Ok(lookup) => {
            let mut data: Vec<_> = lookup.answers().iter().map(|record| record.data.to_string()).collect();
            data.sort();
            data.join(", ")
        }
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
            format!("{} soa={}", none.response_code, none.soa.is_some())
        }
        Err(NetError::Dns(DnsError::ResponseCode(code))) => code.to_string(),
        Err(NetError::Timeout) => "timeout".into(),
        Err(other) => format!("{other:?}"),
    }
}

#[tokio::test]
async fn the_dns_tells_no_from_cannot_say() {
    let lab = start(
        r#"
        [[host]]
        name = "mx1.acme.test"
        ip = "127.77.0.9"
        serves = ["acme.test", "bücher.test"]
        [[domain]]
        name = "null.test"
        mx = "0 ."
        [[domain]]
        name = "implicit.test"
        a = ["mx1.acme.test", "10.0.0.1", "::1"]
        [[domain]]
        name = "odd.test"
        mx = ["localhost", "20 192.0.2.1", "5 mx1.acme.test"]
        txt = "v=spf1 -all"
        [[domain]]
        name = "empty.test"
        [[domain]]
        name = "alias.test"
        cname = "odd.test"
        [[domain]]
        name = "round.test"
        cname = "and.test"
        [[domain]]
        name = "and.test"
        cname = "round.test"
        [[domain]]
        name = "wild.test"
        wildcard = true
        mx = "10 mx1.acme.test"
        [[domain]]
        name = "9.2.0.192.in-addr.arpa"
        ptr = "mx1.acme.test"
        [[domain]]
        name = "sick.test"
        fail = "servfail"
        [[domain]]
        name = "shut.test"
        fail = "refused"
        [[domain]]
        name = "mute.test"
        fail = "timeout"
        [[domain]]
        name = "gone.test"
        fail = "nxdomain"
        [[domain]]
        name = "shaky.test"
        mx = "10 mx1.acme.test"
        fail = "servfail"
        fail_times = 1
        "#,
    )
    .await;
    let resolver = resolver(&lab);
    for (name, kind, expected) in [
        ("acme.test", RecordType::MX, "10 mx1.acme.test."),
        ("xn--bcher-kva.test", RecordType::MX, "10 mx1.acme.test."),
        ("acme.test", RecordType::A, "No Error soa=true"),
        ("mx1.acme.test", RecordType::A, "127.77.0.9"),
        ("null.test", RecordType::MX, "0 ."),
        ("implicit.test", RecordType::MX, "No Error soa=true"),
        ("implicit.test", RecordType::A, "10.0.0.1, 127.77.0.9"),
        ("implicit.test", RecordType::AAAA, "::1"),
        (
            "odd.test",
            RecordType::MX,
            "10 localhost., 20 192.0.2.1., 5 mx1.acme.test.",
        ),
        ("odd.test", RecordType::TXT, "v=spf1 -all"),
        ("empty.test", RecordType::MX, "No Error soa=true"),
        ("alias.test", RecordType::TXT, "odd.test., v=spf1 -all"),
        ("any.thing.wild.test", RecordType::MX, "10 mx1.acme.test."),
        ("9.2.0.192.in-addr.arpa", RecordType::PTR, "mx1.acme.test."),
        ("test", RecordType::MX, "No Error soa=true"),
        ("nowhere.test", RecordType::MX, "Non-Existent Domain soa=true"),
        ("nowhere.elsewhere", RecordType::MX, "Non-Existent Domain soa=true"),
        ("gone.test", RecordType::MX, "Non-Existent Domain soa=true"),
        ("sick.test", RecordType::MX, "Server Failure"),
        ("shut.test", RecordType::MX, "Query Refused"),
        ("mute.test", RecordType::MX, "timeout"),
        ("shaky.test", RecordType::MX, "10 mx1.acme.test."),
    ] {
        assert_eq!(ask(&resolver, name, kind).await, expected, "{kind} {name}");
    }
    let asked = lab.counters().dns;
    assert_eq!(asked["MX acme.test"], 1);
    assert_eq!(
        asked["MX shaky.test"], 2,
        "the resolver asks again after the one SERVFAIL"
    );
}

/// Commands and the beginning of the replies to them. An empty command only reads; an empty reply is the end.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(client: &mut Client<S>, host: &str, dialogue: &[(&str, &str)]) {
    for (command, expected) in dialogue {
        let reply = if command.is_empty() {
            client.reply().await
        } else {
            client.say(command).await
        };
        let as_said = if expected.is_empty() {
            reply.is_empty()
        } else {
            reply.starts_with(expected)
        };
        assert!(as_said, "{host}, {command}: got {reply:?}, expected {expected:?}");
    }
}

const EHLO: (&str, &str) = ("EHLO us.test", "250");
const MAIL: (&str, &str) = ("MAIL FROM:<p@us.test>", "250");

#[tokio::test]
async fn every_key_changes_what_a_host_says() {
    let lab = start(include_str!("lab_keys.toml")).await;
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
        (6, 3, 2)
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
            { name = "pause.test", greeting_delay_ms = 100, enforce_sync = true },
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
async fn waiting_is_as_long_as_the_world_says() {
    let lab = start(
        r#"
        idle_timeout_ms = 150
        host = [
            { name = "far.test", serves = "far.test", catch_all = true, latency_ms = 50 },
            { name = "slow.test", reply_delay_ms = 60 },
            { name = "errors.test", serves = "errors.test", mailboxes = ["jane"], error_delay_ms = 80 },
            { name = "drip.test", byte_delay_ms = 2 },
            { name = "late.test", script = [{ on = "ehlo", reply = "250 at last", after_ms = 70 }] },
            { name = "mute.test", script = [{ on = "ehlo", then = "hang" }] },
            { name = "shut.test", down = true },
            { name = "one.test", connections_max = 1 },
            { name = "grey.test", serves = "grey.test", catch_all = true, greylist_ms = 60 },
        ]
        "#,
    )
    .await;
    let ms = |from: Instant| from.elapsed().as_millis();

    let begun = Instant::now();
    let mut client = Client::ready(&lab, "far.test").await;
    assert!(
        (150..400).contains(&ms(begun)),
        "connecting, EHLO and MAIL pay one round trip each: {}",
        ms(begun)
    );
    let begun = Instant::now();
    client.send(&"RCPT TO:<a@far.test>\r\n".repeat(50)).await;
    for _ in 0..50 {
        assert!(client.reply().await.starts_with("250"));
    }
    assert!(
        (50..120).contains(&ms(begun)),
        "a burst pays one round trip: {}",
        ms(begun)
    );

    let begun = Instant::now();
    let mut client = Client::connect(&lab, "slow.test").await;
    talk(&mut client, "slow.test", &[("", "220"), EHLO, MAIL]).await;
    assert!(ms(begun) >= 180, "{}", ms(begun));

    let mut client = Client::ready(&lab, "errors.test").await;
    let begun = Instant::now();
    client.rcpt("jane@errors.test").await;
    assert!(ms(begun) < 80, "{}", ms(begun));
    client.rcpt("joe@errors.test").await;
    assert!(ms(begun) >= 80, "{}", ms(begun));

    let begun = Instant::now();
    let mut client = Client::connect(&lab, "drip.test").await;
    assert_eq!(client.reply().await, "220 drip.test ESMTP");
    assert!(ms(begun) >= 40, "{}", ms(begun));

    let mut client = Client::connect(&lab, "late.test").await;
    client.reply().await;
    let begun = Instant::now();
    talk(&mut client, "late.test", &[("EHLO us.test", "250 at last")]).await;
    assert!(ms(begun) >= 70, "{}", ms(begun));

    let mut client = Client::connect(&lab, "mute.test").await;
    client.reply().await;
    let begun = Instant::now();
    assert_eq!(client.say("EHLO us.test").await, "");
    assert!(ms(begun) >= 150, "silence until the idle limit: {}", ms(begun));

    let mut client = Client::connect(&lab, "late.test").await;
    talk(
        &mut client,
        "late.test",
        &[("", "220"), ("", "421 4.4.2 Error: timeout"), ("", "")],
    )
    .await;

    let refused = TcpStream::connect(lab.host("shut.test").unwrap()).await;
    assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);

    let mut first = Client::connect(&lab, "one.test").await;
    first.reply().await;
    let mut second = Client::connect(&lab, "one.test").await;
    assert!(second.reply().await.starts_with("421 4.7.0 Too many"));
    assert_eq!(counts(&lab, "one.test").concurrent_peak, 2);

    let mut client = Client::ready(&lab, "grey.test").await;
    let begun = Instant::now();
    while client.rcpt("jane@grey.test").await.starts_with("451") {
        assert!(ms(begun) < 5000);
    }
    assert!(ms(begun) >= 59, "{}", ms(begun));
}

/// Takes any certificate, as presend and every MTA do.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[tokio::test]
async fn unknown_recipients_are_refused_after_starttls_only() {
    let lab = start(
        r#"
        [[host]]
        name = "tls.test"
        serves = "tls.test"
        mailboxes = ["jane"]
        starttls = "required"
        refuse_only_in_tls = true
        "#,
    )
    .await;
    let mut client = Client::connect(&lab, "tls.test").await;
    talk(&mut client, "tls.test", &[("", "220"), EHLO, ("STARTTLS", "220")]).await;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    let name = ServerName::try_from("tls.test").unwrap();
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, client.0.into_inner())
        .await
        .unwrap();
    let mut client = Client(BufReader::new(stream));
    #[rustfmt::skip]
    talk(&mut client, "tls.test", &[
        ("MAIL FROM:<p@us.test>", "503 5.5.1"), // EHLO of before does not count
        EHLO, ("STARTTLS", "503"), MAIL,
        ("RCPT TO:<jane@tls.test>", "250"), ("RCPT TO:<joe@tls.test>", "550 5.1.1"), ("QUIT", "221"), ("", ""),
    ])
    .await;
    let seen = counts(&lab, "tls.test");
    assert_eq!((seen.tls, seen.without_quit, seen.violations.total()), (1, 0, 0));
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

#[tokio::test]
async fn a_lab_can_be_stopped_and_worlds_can_share_a_machine() {
    let world = r#"host = [{ name = "a.test" }, { name = "b.test", ip = "127.99.1.1" }]"#;
    let first = start(world).await;
    let second = start(world).await;
    let (a, b) = (first.host("a.test").unwrap(), second.host("a.test").unwrap());
    assert_ne!(a, b);
    assert_eq!(first.host("b.test").unwrap().ip().to_string(), "127.99.1.1");
    assert!(!a.ip().to_string().starts_with("127.0."), "{a}");
    let mut client = Client::connect(&first, "a.test").await;
    assert!(client.reply().await.starts_with("220"));
    first.stop().await;
    assert_eq!(client.reply().await, "", "stopping ends open sessions");
    let refused = TcpStream::connect(a).await;
    assert!(refused.is_err());
    drop(second);
}

#[test]
fn faults_of_a_world_name_file_line_and_column() {
    for (text, line, words) in [
        (
            "[[host]]\nname = \"a.test\"\nmailbox = [\"jane\"]\n",
            3,
            "unknown field `mailbox`",
        ),
        (
            "[[domain]]\nname = \"a.test\"\nmx = [\"ten mx.a.test\"]\n",
            3,
            "`ten mx.a.test` is no MX record",
        ),
        ("[[domain]]\nname = \"a..test\"\n", 2, "`a..test` is no domain name"),
        (
            "[[domain]]\nname = \"a.test\"\nfail = \"broken\"\n",
            3,
            "unknown variant `broken`",
        ),
        (
            "[[host]]\nname = \"a.test\"\nscript = [{ on = \"data\" }]\n",
            3,
            "unknown variant `data`",
        ),
        ("smtp_port = 70000\n", 1, "70000"),
        ("[[host]\n", 1, "unclosed array table"),
    ] {
        let message = World::parse(text, "world.toml").unwrap_err().to_string();
        assert!(message.starts_with("world.toml: "), "{message}");
        assert!(message.contains(&format!("line {line}, column ")), "{message}");
        assert!(message.contains(words), "{message}");
    }
    let message = World::load("no/such/world.toml".as_ref()).unwrap_err().to_string();
    assert!(message.starts_with("no/such/world.toml: "), "{message}");
}

#[tokio::test]
async fn worlds_that_cannot_be_are_refused() {
    for (text, words) in [
        (
            r#"host = [{ name = "a.test" }, { name = "a.test" }]"#,
            "two hosts have the name a.test",
        ),
        (
            r#"host = [{ name = "a.test", ip = "10.0.0.1" }]"#,
            "10.0.0.1, which is not loopback",
        ),
        (
            r#"host = [{ name = "a.test", ip = "127.9.9.9" }, { name = "b.test", ip = "127.9.9.9" }]"#,
            "two hosts have the address",
        ),
        (
            r#"domain = [{ name = "a.test", a = "mx.nowhere.test" }]"#,
            "`mx.nowhere.test` (a of a.test) is neither",
        ),
        (r#"base = "10.0.0.0""#, "base 10.0.0.0 is not in 127.0.0.0/8"),
    ] {
        let message = Lab::start(World::parse(text, "w").unwrap())
            .await
            .err()
            .unwrap()
            .to_string();
        assert!(message.contains(words), "{message}");
    }
}

#[tokio::test]
async fn serving_says_how_to_ask_and_what_was_asked() {
    let world = World {
        hosts: vec![Host::serving("mx.test", &["mx.test"], &["jane"])],
        ..World::default()
    };
    let mut out = Vec::new();
    presend::lab::serve(world, &mut out, async {}).await.unwrap();
    let text = String::from_utf8(out).unwrap();
    for words in [
        "--nameserver 127.0.0.1:",
        "--smtp-port ",
        "--allow-special-use",
        "--helo-name",
        "--mail-from",
        "connections",
        "total",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

/// Rows of the demo list: the last column.
fn demo_addresses() -> impl Iterator<Item = &'static str> {
    presend::lab::demo_list()
        .lines()
        .skip(1)
        .map(|row| row.rsplit(',').next().unwrap())
}

#[tokio::test]
async fn the_demo_world_has_a_place_for_every_address_of_its_list() {
    let world = presend::lab::demo_world().unwrap();
    let absent = ["gmail.con", "alte-firma.example"];
    let special = ["kaputter-dns.example", "geschlossen.example", "karussell.example"];
    let hosts: Vec<_> = world.hosts.iter().map(|host| host.name.clone()).collect();
    let lab = Lab::start(world).await.unwrap();
    let resolver = resolver(&lab);
    let (mut asked, mut seen) = (0, Vec::new());
    for address in demo_addresses() {
        asked += 1;
        let domain = address
            .rsplit_once('@')
            .map(|(_, domain)| idna::domain_to_ascii_strict(domain));
        let Some(Ok(domain)) = domain else {
            continue;
        };
        if !domain.contains('.') || special.contains(&&*domain) {
            continue;
        }
        let answer = ask(&resolver, &domain, RecordType::MX).await;
        assert_eq!(
            answer.starts_with("Non-Existent"),
            absent.contains(&&*domain),
            "{domain}: {answer}"
        );
        seen.push(answer);
    }
    assert!((60..=90).contains(&asked), "{asked} addresses");
    for host in hosts {
        let address = format!("{host}.");
        let used = seen.iter().any(|answer| answer.contains(&address));
        assert!(used, "no address of the list reaches {host}");
        assert!(ask(&resolver, &host, RecordType::A).await.starts_with("127."), "{host}");
    }
}

#[tokio::test]
async fn hosts_are_in_networks_of_their_own() {
    let hosts = (0..250)
        .map(|number| Host::serving(&format!("mx{number}.test"), &[], &[]))
        .collect();
    let lab = Lab::start(World {
        hosts,
        ..World::default()
    })
    .await
    .unwrap();
    let networks: std::collections::HashSet<_> = lab
        .counters()
        .hosts
        .values()
        .map(|host| host.ip.to_string().rsplit_once('.').unwrap().0.to_owned())
        .collect();
    assert_eq!(networks.len(), 250);
}
