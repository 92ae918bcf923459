//! The miniature internet: every behaviour a world can ask for, driven by a raw client, and its DNS by hickory-resolver.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig},
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::ResponseCode,
        rr::{RData, RecordType},
    },
};
use presend::lab::{Host, HostCounters, Lab, World};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// A client that sends what it is told and reads replies, nothing more.
struct Client(BufReader<TcpStream>);

impl Client {
    async fn connect(lab: &Lab, host: &str) -> Self {
        let address = lab.host(host).unwrap();
        #[expect(clippy::disallowed_methods, reason = "the raw client of the test, not presend")]
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
            let last = line.as_bytes().get(3) != Some(&b'-');
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
