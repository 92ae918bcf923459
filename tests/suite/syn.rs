//! No SYN to special-use space (HOSTILE D1 to D6, P13): counted by the kernel in a network namespace in which every address
//! answers, and at the dialler everywhere.

use std::{
    collections::BTreeMap,
    env, fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use hickory_resolver::proto::{
    op::ResponseCode,
    rr::{RData, RecordType, rdata::MX},
};
use presend::{
    address::Rules,
    clock::SystemClock,
    dns::{AddressAnswer, DnsFailure, MxAnswer, Resolve, Router, RouterOptions},
    job::{Engine, EngineSeams, Settings, Stop},
    net::{BoxFuture, Call, Dial, DialError, Families, Stream, vet},
    verdict::Label,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpListener,
};

use crate::{
    cli::Place,
    dns::server::{Asked, Sent, Server, name},
    job::settings,
};

/// The address that every host has beside those of its row, where there is one.
const PUBLIC: &str = "8.8.4.4";

/// Hosts by number: their addresses in the first answer, and in every later one where that is another.
const HOSTS: &[(&str, &str)] = &[
    (PUBLIC, ""),
    ("127.0.0.1", ""),
    ("127.255.255.254 ::1", ""),
    ("10.0.0.1", ""),
    ("172.16.0.1 172.31.255.255", ""),
    ("192.168.1.1", ""),
    ("100.64.0.1", ""),
    ("169.254.169.254", ""),
    ("0.0.0.0", ""),
    ("224.0.0.1 239.1.1.1", ""),
    ("240.0.0.1 255.255.255.255", ""),
    ("192.0.2.1 198.51.100.1 203.0.113.1", ""),
    ("198.18.0.1 192.0.0.1 192.88.99.1", ""),
    ("::1 ::", ""),
    ("fc00::1 fd00::1", ""),
    ("fe80::1 ff02::1", ""),
    ("::ffff:127.0.0.1 ::ffff:10.0.0.1", ""),
    ("64:ff9b::7f00:1 64:ff9b::a00:1 64:ff9b:1::808:808", ""),
    ("2002:7f00:1::1 2001:0:a00:1:8000:63bf:f7f7:f7f7", ""),
    ("2001:db8::1 2a00:1450::5efe:a00:1", ""),
    ("10.0.0.1 8.8.4.4 169.254.169.254", ""),
    (PUBLIC, "127.0.0.1"),
    (PUBLIC, "169.254.169.254 10.0.0.1"),
    ("2a00:1450::7", "fe80::1 ::1"),
];

fn addresses(list: &str) -> impl Iterator<Item = IpAddr> {
    list.split_whitespace().map(|ip| ip.parse().unwrap())
}

/// Domain `dN.watched-zone.com` has the host `mN` of it, but for every third, which has no MX and is its own host.
fn domain(number: usize) -> String {
    format!("d{number}.watched-zone.com")
}

/// The number in a name of the zone, and whether it is a host that has addresses.
fn place(name: &str) -> Option<(usize, bool)> {
    let label = name.strip_suffix(".watched-zone.com")?;
    let number: usize = label.get(1..)?.parse().ok()?;
    let is_host = label.starts_with('m') || number % 3 == 2;
    (number < HOSTS.len()).then_some((number, is_host))
}

/// Remembers who asked for a host's addresses before, so that names can change their mind.
#[derive(Default)]
struct Zone(Mutex<BTreeMap<(usize, bool), usize>>);

impl Zone {
    /// The addresses of one family at the `n`th time that they are asked for.
    fn addresses(&self, number: usize, v4: bool) -> Vec<IpAddr> {
        let mut asked = self.0.lock().unwrap();
        let times = asked.entry((number, v4)).or_default();
        *times += 1;
        let (first, later) = HOSTS[number];
        let list = if *times > 1 && !later.is_empty() { later } else { first };
        addresses(list).filter(|ip| ip.is_ipv4() == v4).collect()
    }

    fn answer(&self, asked: &Asked) -> Vec<Sent> {
        let Some((number, is_host)) = place(&asked.name) else {
            return vec![asked.nothing(ResponseCode::NXDomain).into()];
        };
        let data: Vec<RData> = if asked.is(RecordType::MX) && !is_host {
            vec![RData::MX(MX::new(10, name(&format!("m{number}.watched-zone.com"))))]
        } else if is_host && asked.is(RecordType::A) {
            self.addresses(number, true).into_iter().map(RData::from).collect()
        } else if is_host && asked.is(RecordType::AAAA) {
            self.addresses(number, false).into_iter().map(RData::from).collect()
        } else {
            Vec::new()
        };
        if data.is_empty() {
            return vec![asked.nothing(ResponseCode::NoError).into()];
        }
        let mut answer = asked.answer(data);
        for record in &mut answer.answers {
            record.ttl = 0;
        }
        vec![answer.into()]
    }
}

/// The whole program over the zone, where every address of the world is this machine.
#[test]
fn d6_no_syn_goes_to_special_use_space() {
    let script = "ip link set lo up && ip route add local 0.0.0.0/0 dev lo && ip -6 route add local ::/0 dev lo && \
        exec \"$1\" syn::acts_in_a_namespace --exact --nocapture";
    let output = Command::new("unshare")
        .args(["--net", "--map-root-user", "sh", "-c", script, "sh"])
        .arg(env::current_exe().unwrap())
        .env("PRESEND_TEST_ACT", "syn")
        .stdin(Stdio::null())
        .output();
    let Ok(output) = output else {
        return eprintln!("not tested: no `unshare` here; the dialler has a test of its own");
    };
    let (said, faults) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    if !said.contains("acting") {
        return eprintln!("not tested: no network namespace here ({faults}); the dialler has a test of its own");
    }
    assert!(output.status.success() && said.contains("watched"), "{said}{faults}");
}

/// Not a test by itself.
#[test]
fn acts_in_a_namespace() {
    if env::var_os("PRESEND_TEST_ACT").is_none_or(|act| act != "syn") {
        return;
    }
    println!("acting");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(watch());
    println!("watched");
}

async fn watch() {
    let seen = Arc::<Mutex<Vec<IpAddr>>>::default();
    // Linux lets a socket for IPv6 take IPv4 too.
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(accept(listener, Arc::clone(&seen)));
    let zone = Zone::default();
    let dns = Server::start(move |asked| zone.answer(asked)).await;
    let place = Place::new();
    let list: Vec<String> = (0..HOSTS.len())
        .map(|number| format!("ann@{}", domain(number)))
        .collect();
    place.write("list.txt", list.join("\n"));
    let (dns, smtp) = (dns.address.to_string(), port.to_string());
    let mut command = place.command(&[
        "verify",
        "list.txt",
        "--format",
        "csv",
        "--quiet",
        "--no-wait",
        "--no-store",
    ]);
    command
        .args(["--nameserver", &dns, "--smtp-port", &smtp, "--ip", "prefer-v6"])
        .args(["--helo-name", "probe.example.org", "--mail-from", "check@example.org"])
        .args([
            "--timeout-connect",
            "2s",
            "--timeout-reply",
            "2s",
            "--trusted-host",
            ".watched-zone.com",
        ]);
    let before = opened();
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    let tried = opened() - before;
    let results = String::from_utf8(output.stdout).unwrap();
    let reached = seen.lock().unwrap().clone();
    for ip in &reached {
        assert!(vet(*ip, false).is_ok(), "a SYN to {ip}\n{results}");
    }
    // The kernel counts every SYN that left, whoever took it.
    assert_eq!(
        tried,
        reached.len(),
        "a SYN that nobody took\n{results}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let expected: Vec<IpAddr> = addresses("8.8.4.4 2a00:1450::7").collect();
    assert!(expected.iter().all(|ip| reached.contains(ip)), "{reached:?}\n{results}");
    for (number, (first, _)) in HOSTS.iter().enumerate() {
        let row = results.lines().find(|line| line.contains(&domain(number))).unwrap();
        let public = addresses(first).any(|ip| vet(ip, false).is_ok());
        assert_eq!(row.contains(",valid,"), public, "{row}");
    }
    // The watch sees what it is there for.
    let before = opened();
    std::net::TcpStream::connect(("10.0.0.1", port)).unwrap();
    while seen.lock().unwrap().len() == reached.len() {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        (opened() - before, seen.lock().unwrap().last().copied()),
        (1, Some([10, 0, 0, 1].into()))
    );
}

/// Connections that this namespace tried to open.
fn opened() -> usize {
    let text = fs::read_to_string("/proc/self/net/snmp").unwrap();
    let mut rows = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = (rows.next().unwrap(), rows.next().unwrap());
    let at = names.split(' ').position(|name| name == "ActiveOpens").unwrap();
    values.split(' ').nth(at).unwrap().parse().unwrap()
}

/// A mail host at every address: it knows `ann`, and writes down where it was reached.
async fn accept(listener: TcpListener, seen: Arc<Mutex<Vec<IpAddr>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        seen.lock()
            .unwrap()
            .push(stream.local_addr().unwrap().ip().to_canonical());
        tokio::spawn(serve(stream));
    }
}

async fn serve(mut stream: impl Stream) -> io::Result<()> {
    stream.write_all(b"220 mx.watched-zone.com ESMTP\r\n").await?;
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        let unknown = line.starts_with("RCPT") && !line.contains("<ann@");
        let reply = if unknown {
            "550 5.1.1 User unknown\r\n"
        } else {
            "250 ok\r\n"
        };
        stream.write_all(reply.as_bytes()).await?;
        line.clear();
    }
    Ok(())
}

impl Resolve for Zone {
    fn mx<'a>(&'a self, domain: &'a str) -> BoxFuture<'a, Result<MxAnswer, DnsFailure>> {
        let ttl = Duration::ZERO;
        let answer = match place(domain) {
            None => MxAnswer::NoSuchDomain { ttl },
            Some((_, true)) => MxAnswer::None { ttl },
            Some((number, false)) => MxAnswer::Records {
                records: vec![(10, format!("m{number}.watched-zone.com").into())],
                ttl,
            },
        };
        Box::pin(async move { Ok(answer) })
    }

    fn addresses<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<AddressAnswer, DnsFailure>> {
        let ttl = Duration::ZERO;
        let addresses: Vec<IpAddr> = place(host)
            .map(|(number, _)| [true, false].map(|v4| self.addresses(number, v4)).concat())
            .unwrap_or_default();
        let answer = if addresses.is_empty() {
            AddressAnswer::None { ttl }
        } else {
            AddressAnswer::Addresses { addresses, ttl }
        };
        Box::pin(async move { Ok(answer) })
    }
}

/// Hosts in memory at every address; dials are written down.
#[derive(Clone, Default)]
struct Dialled(Arc<Mutex<Vec<IpAddr>>>);

impl Dial for Dialled {
    fn dial<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Result<Box<dyn Stream>, DialError>> {
        self.0.lock().unwrap().push(call.to.ip());
        let (ours, theirs) = tokio::io::duplex(4096);
        tokio::spawn(serve(theirs));
        Box::pin(async move { Ok(Box::new(ours) as Box<dyn Stream>) })
    }
}

#[tokio::test(start_paused = true)]
async fn d6_the_dialler_is_given_vetted_addresses_only() {
    let dialled = Dialled::default();
    let zone = Arc::new(Zone::default());
    let options = RouterOptions {
        families: Families::V6AndV4,
        ..RouterOptions::default()
    };
    let seams = EngineSeams {
        route: Arc::new(Router::new(Arc::<Zone>::clone(&zone), options)),
        dial: Arc::new(dialled.clone()),
        clock: Arc::new(SystemClock),
    };
    let settings = Settings {
        rules: Rules::default(),
        trusted: Vec::new(),
        ..settings()
    };
    let engine = Engine::with_seams(settings, seams).unwrap();
    let list: Vec<String> = (0..HOSTS.len())
        .map(|number| format!("ann@{}", domain(number)))
        .collect();
    let outcomes = engine.check(&list, &Stop::new()).await.unwrap();
    let dialled = dialled.0.lock().unwrap().clone();
    let mut public = 0;
    for ((first, _), outcome) in HOSTS.iter().zip(&outcomes) {
        let good = addresses(first).any(|ip| vet(ip, false).is_ok());
        public += usize::from(good);
        assert_eq!(
            outcome.verdict.label == Label::Valid,
            good,
            "{first}: {:?}",
            outcome.verdict.reason
        );
    }
    assert!(dialled.iter().all(|ip| vet(*ip, false).is_ok()), "{dialled:?}");
    // One resolution for each host: a name that changes its mind is not asked again before it is dialled.
    assert!(zone.0.lock().unwrap().values().all(|times| *times == 1));
    assert!((1..=public).contains(&dialled.len()), "{dialled:?} for {public} hosts");
    assert!(dialled.contains(&Ipv4Addr::new(8, 8, 4, 4).into()));
}
