//! The miniature internet: worlds and their faults, the demo, starting and stopping; hosts and DNS in the modules below.
#![expect(
    clippy::disallowed_methods,
    reason = "a raw client, and one that must be refused, are not presend"
)]

mod client;
mod dns;
mod hosts;
mod wire;

use hickory_resolver::proto::rr::RecordType;
use presend::lab::{Host, Lab, World, serve};
use tokio::net::TcpStream;

use self::{
    client::{Client, start},
    dns::{ask, resolver},
};

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

#[tokio::test]
async fn hosts_that_are_all_down_have_a_port_that_refuses() {
    let lab = start(r#"host = [{ name = "a.test", down = true }]"#).await;
    let a = lab.host("a.test").unwrap();
    assert_ne!(a.port(), 0);
    assert!(TcpStream::connect(a).await.is_err());
}

#[tokio::test]
async fn the_lab_says_what_can_be_asked() {
    for (world, said, unsaid) in [
        ("", "No mail host is in this world", "--smtp-port"),
        (r#"host = [{ name = "a.test" }]"#, "Hosts up: 1 of 1", "--level dns"),
        (
            r#"host = [{ name = "a.test" }, { name = "b.test", down = true }, { name = "c.test" }]"#,
            "Hosts up: 2 of 3",
            "--level dns",
        ),
        (
            r#"host = [{ name = "a.test", down = true }]"#,
            "Hosts up: 0 of 1",
            "--level dns",
        ),
    ] {
        let mut out = Vec::new();
        let world = World::parse(world, "world.toml").unwrap();
        serve(world, &mut out, std::future::ready(())).await.unwrap();
        let out = String::from_utf8(out).unwrap();
        assert!(out.starts_with(said), "{out}");
        assert!(!out.contains(unsaid) && !out.contains("--smtp-port 0 "), "{out}");
        assert!(
            out.contains("--nameserver 127.0.0.1:") && out.contains("Ctrl-C"),
            "{out}"
        );
    }
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
            r#"domain = [{ name = "a.test" }, { name = "A.test" }]"#,
            "two domains have the name a.test",
        ),
        (
            "host = [{ ip = \"127.9.9.9\" }]",
            "name of a host: `` is no domain name",
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
    let world = presend::lab::demo_world();
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
