//! Routes and resolver against a DNS server in this process that answers as each test scripts it.

pub(crate) mod server;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use hickory_resolver::proto::{
    op::{Edns, Message, Query, ResponseCode},
    rr::{
        RData, Record, RecordType,
        rdata::{
            A, NS,
            opt::{EdnsCode, EdnsOption},
        },
    },
};
use presend::{
    address::{Domain, Rules},
    dns::{
        AddressAnswer, Canary, DnsFailure, HickoryResolver, MailRoute, MxAnswer, NameServers, Resolve, ResolverOptions,
        Route, RouteFailure, Router, RouterOptions, canary,
    },
    net::Families,
};
use server::{Asked, Sent, Server, a, cname, mx, name, patience};
use tokio::task::JoinSet;

fn domain(text: &str) -> Domain {
    let rules = Rules {
        allow_special_use: true,
    };
    Domain::parse(text, rules).unwrap()
}

/// A small honest zone: every domain has one MX, its host one IPv4 address.
fn plain(asked: &Asked) -> Vec<Sent> {
    let reply = if asked.is(RecordType::MX) {
        asked.answer([mx(10, &format!("mx.{}", asked.name))])
    } else if asked.is(RecordType::A) {
        asked.answer([a(1)])
    } else {
        asked.nothing(ResponseCode::NoError)
    };
    vec![reply.into()]
}

#[tokio::test]
async fn d14_d22_every_kind_of_no_is_told_apart() {
    fn extended_error(asked: &Asked, code: u8) -> Message {
        let mut reply = asked.reply(ResponseCode::ServFail, []);
        let mut edns = Edns::new();
        let option = EdnsOption::Unknown(15, [&[0, code], b"because".as_slice()].concat());
        edns.options_mut().options.push((EdnsCode::Unknown(15), option));
        reply.edns = Some(edns);
        reply
    }
    /// NOERROR by its header, 0x5A0 with the upper bits of the OPT record (RFC 6891 section 6.1.3).
    fn extended_code(asked: &Asked) -> Message {
        let mut reply = asked.nothing(ResponseCode::Unknown(0x5A0));
        reply.edns = Some(Edns::new());
        reply
    }
    fn referral(asked: &Asked) -> Message {
        let mut reply = asked.reply(ResponseCode::NoError, []);
        reply.add_authority(Record::from_rdata(
            name("referral.test"),
            60,
            RData::NS(NS(name("ns.test"))),
        ));
        reply
    }
    let wavering = AtomicUsize::new(0);
    let server = Server::start(move |asked| {
        let reply = match asked.name.as_str() {
            "nodata.test" => asked.nothing(ResponseCode::NoError),
            "nxdomain.test" => asked.nothing(ResponseCode::NXDomain),
            "bare-nodata.test" => asked.reply(ResponseCode::NoError, []),
            "bare-nxdomain.test" => asked.reply(ResponseCode::NXDomain, []),
            "wavering.test" if wavering.fetch_add(1, Relaxed) == 0 => asked.reply(ResponseCode::NXDomain, []),
            "servfail.test" | "wavering.test" => asked.reply(ResponseCode::ServFail, []),
            "network.test" => extended_error(asked, 22),
            "bogus.test" => extended_error(asked, 6),
            "expired.test" => extended_error(asked, 7),
            "refused.test" => asked.reply(ResponseCode::Refused, []),
            "notauth.test" => asked.reply(ResponseCode::NotAuth, []),
            "formerr.test" => asked.reply(ResponseCode::FormErr, []),
            "unassigned.test" => asked.reply(ResponseCode::Unknown(12), []),
            "unassigned-nothing.test" => asked.nothing(ResponseCode::Unknown(12)),
            "extended.test" => extended_code(asked),
            "referral.test" => referral(asked),
            _ => return Vec::new(),
        };
        vec![reply.into()]
    })
    .await;
    let resolver = server.resolver_with(patience());
    let (none, kept) = (Duration::ZERO, Duration::from_mins(2));
    for (name, expected) in [
        ("nodata.test", Ok(MxAnswer::None { ttl: kept })),
        ("nxdomain.test", Ok(MxAnswer::NoSuchDomain { ttl: kept })),
        ("bare-nodata.test", Ok(MxAnswer::None { ttl: none })),
        ("bare-nxdomain.test", Ok(MxAnswer::NoSuchDomain { ttl: none })),
        ("servfail.test", Err(DnsFailure::ServFail)),
        ("network.test", Err(DnsFailure::ServFail)),
        ("bogus.test", Err(DnsFailure::Bogus)),
        ("expired.test", Err(DnsFailure::Bogus)),
        ("refused.test", Err(DnsFailure::Refused)),
        ("notauth.test", Err(DnsFailure::Refused)),
        ("formerr.test", Err(DnsFailure::Malformed)),
        ("unassigned.test", Err(DnsFailure::Malformed)),
        ("unassigned-nothing.test", Err(DnsFailure::Malformed)),
        ("extended.test", Err(DnsFailure::Malformed)),
        ("wavering.test", Err(DnsFailure::ServFail)),
        ("referral.test", Err(DnsFailure::Refused)),
        ("silent.test", Err(DnsFailure::Timeout)),
        // Answered without asking anybody (RFC 6761, RFC 7686).
        ("a.invalid", Ok(MxAnswer::NoSuchDomain { ttl: none })),
        ("a.onion", Ok(MxAnswer::NoSuchDomain { ttl: none })),
        ("localhost", Ok(MxAnswer::None { ttl: none })),
    ] {
        assert_eq!(resolver.mx(name).await, expected, "{name}");
    }
    assert_eq!(server.count("silent.test"), 2, "two attempts");
    assert_eq!(server.count("servfail.test"), 2, "one question, one for its reason");
    assert_eq!(
        server.count("onion") + server.count("invalid") + server.count("localhost"),
        0,
        "d25"
    );
}

#[tokio::test]
async fn nobody_there_is_no_answer() {
    let gone = Server::start(plain).await.address;
    let resolver = HickoryResolver::new(&NameServers::from(gone), patience()).unwrap();
    assert_eq!(resolver.mx("a.test").await, Err(DnsFailure::Timeout));
    assert_eq!(canary(&resolver).await, Canary::Unreachable(DnsFailure::Timeout));
}

#[tokio::test]
async fn d8_cnames_are_followed_and_loops_end() {
    let server = Server::start(|asked| {
        let (label, _) = asked.name.split_once('.').unwrap();
        let to = |target: &str| asked.reply(ResponseCode::NoError, [cname(&asked.name, target)]);
        let reply = match label {
            "short5" => to("short4.test"),
            "short4" => to("short3.test"),
            "short3" => to("short2.test"),
            "alias" | "short2" => to("plain.test"),
            "ping" => to("pong.test"),
            "pong" => to("ping.test"),
            "self" => to("self.test"),
            "circle" => asked.reply(
                ResponseCode::NoError,
                [cname("circle.test", "other.test"), cname("other.test", "circle.test")],
            ),
            "abroad" => to("refused.example"),
            "refused" => asked.reply(ResponseCode::Refused, []),
            "nowhere" => to("gone.test"),
            "hidden" => to("a.invalid"),
            "gone" => asked.nothing(ResponseCode::NXDomain),
            "empty" => to("nodata.test"),
            "nodata" => asked.nothing(ResponseCode::NoError),
            long if long.starts_with("long") => {
                let left: u8 = long.trim_start_matches("long").parse().unwrap();
                to(&if left == 0 {
                    "plain.test".into()
                } else {
                    format!("long{}.test", left - 1)
                })
            }
            _ if asked.is(RecordType::MX) => asked.answer([mx(5, "mx.test")]),
            _ => asked.answer([a(1)]),
        };
        vec![reply.into()]
    })
    .await;
    let resolver = server.resolver();
    let ttl = Duration::from_mins(5);
    let found = || {
        Ok(MxAnswer::Records {
            records: vec![(5, "mx.test".into())],
            ttl,
        })
    };
    let negative = Duration::from_mins(2);
    for (name, expected) in [
        ("alias.test", found()),
        ("short5.test", found()),
        ("long20.test", Err(DnsFailure::Loop)),
        ("ping.test", Err(DnsFailure::Loop)),
        ("self.test", Err(DnsFailure::Loop)),
        ("circle.test", Err(DnsFailure::Loop)),
        ("abroad.test", Err(DnsFailure::Refused)),
        ("nowhere.test", Ok(MxAnswer::NoSuchDomain { ttl: negative })),
        ("hidden.test", Ok(MxAnswer::NoSuchDomain { ttl: Duration::ZERO })),
        ("empty.test", Ok(MxAnswer::None { ttl: negative })),
    ] {
        let before = server.log.lock().unwrap().len();
        assert_eq!(resolver.mx(name).await, expected, "{name}");
        let asked = server.log.lock().unwrap().len() - before;
        assert!(asked <= 10, "{name}: {asked} questions");
    }
}

#[tokio::test]
async fn d16_d19_malformed_answers_are_failures() {
    const POINTER_TO_NAME: [u8; 2] = [0xc0, 12];
    fn record(rdata: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rdata.len()).unwrap().to_be_bytes();
        [&POINTER_TO_NAME, &[0, 15, 0, 1, 0, 0, 1, 44][..], &length, rdata].concat()
    }
    let server = Server::start(|asked| {
        let end = u16::try_from(asked.raw(0, &[]).len()).unwrap();
        let pointer = |to: u16| (0xc000 | to).to_be_bytes();
        let (label, _) = asked.name.split_once('.').unwrap();
        let bytes = match label {
            "count" => asked.raw(65_535, &record(&[0, 5, 1, b'm', 0])),
            "cut" => asked.raw(1, &record(&[0, 5, 1, b'm', 0])[..9]),
            "rdata0" => asked.raw(1, &record(&[])),
            "rdata1" => asked.raw(1, &record(&[0])),
            "rdata2" => asked.raw(1, &record(&[0, 5])),
            // The exchanger begins at 12 (fixed part) + 2 (preference) and points at itself, or beyond the end.
            "itself" => asked.raw(1, &record(&[&[0, 5][..], &pointer(end + 14)].concat())),
            "beyond" => asked.raw(1, &record(&[&[0, 5][..], &pointer(0x3fff)].concat())),
            "labels" => asked.raw(1, &record(&[&[0, 5][..], &[1, b'x'].repeat(255), &[0]].concat())),
            "longlabel" => asked.raw(1, &record(&[&[0, 5, 0x7f][..], &[b'x'; 127], &[0]].concat())),
            "header" => asked.raw(0, &[])[..11].to_vec(),
            _ => unreachable!("{label}"),
        };
        vec![Sent::Back(bytes)]
    })
    .await;
    let resolver = server.resolver_with(patience());
    for name in [
        "count",
        "cut",
        "rdata0",
        "rdata1",
        "rdata2",
        "itself",
        "beyond",
        "labels",
        "longlabel",
        "header",
    ] {
        let answer = resolver.mx(&format!("{name}.test")).await;
        assert!(matches!(answer, Err(DnsFailure::Malformed)), "{name}: {answer:?}");
    }
}

#[tokio::test]
async fn d17_truncation_means_tcp_once() {
    let server = Server::start(|asked| {
        let mut reply = asked.answer([mx(10, "mx.test")]);
        if !asked.tcp || asked.name.starts_with("always") {
            reply = asked.reply(ResponseCode::NoError, []);
            reply.metadata.truncation = true;
        }
        vec![reply.into()]
    })
    .await;
    let options = ResolverOptions {
        in_flight: 192,
        timeout: Duration::from_millis(2500),
        ..patience()
    };
    let resolver = Arc::new(server.resolver_with(options));
    assert!(matches!(resolver.mx("a.test").await, Ok(MxAnswer::Records { .. })));
    assert_eq!((server.count("udp MX a.test"), server.count("tcp MX a.test")), (1, 1));
    assert!(resolver.mx("always.test").await.is_err());
    assert_eq!(
        (server.count("udp MX always.test"), server.count("tcp MX always.test")),
        (1, 2),
        "hickory believes in a cut answer over TCP when it sees the second"
    );

    // The second round finds connections that are open, and hickory puts 32 questions into one at most.
    for round in 0..2 {
        let mut tasks = JoinSet::new();
        for number in 0..200 {
            let resolver = resolver.clone();
            tasks.spawn(async move { resolver.mx(&format!("d{number}.r{round}.test")).await });
        }
        let answers = tasks.join_all().await;
        let failed: Vec<_> = answers.iter().filter(|answer| answer.is_err()).collect();
        assert!(
            failed.is_empty(),
            "round {round}: {} of 200: {:?}",
            failed.len(),
            failed.first()
        );
    }
}

#[tokio::test]
async fn d18_forged_answers_are_ignored() {
    let server = Server::start(|asked| {
        let evil = || asked.answer([mx(0, "evil.test")]);
        let mut wrong_id = evil();
        wrong_id.metadata.id = !asked.message.metadata.id;
        let mut wrong_question = evil();
        wrong_question.queries[0] = Query::query(name("other.test"), RecordType::MX);
        let mut forged = vec![
            wrong_id.into(),
            wrong_question.into(),
            Sent::Elsewhere(evil().to_vec().unwrap()),
            Sent::Back(vec![0; 1]),
        ];
        if asked.name != "forged.test" {
            forged.push(asked.answer([mx(10, "good.test")]).into());
        }
        forged
    })
    .await;
    let resolver = server.resolver_with(patience());
    let ttl = Duration::from_mins(5);
    let good = MxAnswer::Records {
        records: vec![(10, "good.test".into())],
        ttl,
    };
    assert_eq!(resolver.mx("a.test").await, Ok(good));
    assert_eq!(resolver.mx("forged.test").await, Err(DnsFailure::Timeout));
}

#[tokio::test]
async fn d15_398_mx_records_are_sorted_and_cut() {
    let server = Server::start(|asked| {
        let mut reply = if asked.is(RecordType::MX) {
            let all = (0..398u16)
                .rev()
                .map(|number| mx(number % 117, &format!("M{number}.Many.TEST")));
            asked.answer(all)
        } else {
            asked.answer([a(u8::try_from(asked.name.len()).unwrap())])
        };
        if !asked.tcp && asked.is(RecordType::MX) {
            reply = asked.reply(ResponseCode::NoError, []);
            reply.metadata.truncation = true;
        }
        vec![reply.into()]
    })
    .await;
    let resolver = server.resolver();
    let Ok(MxAnswer::Records { records, .. }) = resolver.mx("many.test").await else {
        panic!()
    };
    assert_eq!(records.len(), 100);
    assert_eq!(records[0], (0, "m0.many.test".into()), "lower-case, no final dot");
    assert!(records.is_sorted());
    assert!(
        records.iter().all(|(preference, _)| *preference < 30),
        "the best are kept"
    );

    let route = server.router().route(&domain("many.test")).await;
    let MailRoute::Exchangers(exchangers) = &*route else {
        panic!("{route:?}")
    };
    assert!(exchangers.iter().map(|mx| mx.addresses.len()).sum::<usize>() <= 5);
    assert!(server.count(" A ") <= 20, "{} hosts looked up", server.count(" A "));
}

#[tokio::test]
async fn d20_a_wildcard_zone_is_a_normal_zone() {
    let server = Server::start(plain).await;
    let router = server.router();
    for name in ["exampel.test", "no-such-name.exampel.test"] {
        let route = router.route(&domain(name)).await;
        assert!(
            matches!(&*route, MailRoute::Exchangers(all) if all.len() == 1),
            "{route:?}"
        );
    }
}

#[tokio::test]
async fn d20_one_question_a_registrable_domain_tells_whether_its_zone_answers_every_name() {
    let server = Server::start(|asked| {
        let parent = asked.name.split_once('.').map_or("", |(_, parent)| parent);
        let exchanger = match (parent, asked.name.as_str()) {
            ("wild.test", _) | (_, "deep.down.wild.test" | "one.plain.test" | "one.sick.test") => {
                Some("mx.host.test".to_owned())
            }
            // Every name has a host of its own.
            ("single.test", name) => Some(format!("{name}.mail.test")),
            _ => None,
        };
        let reply = match (exchanger, parent) {
            (Some(host), _) if asked.is(RecordType::MX) => asked.answer([mx(10, &host)]),
            (None, "bare.test" | "host.test") if asked.is(RecordType::A) => asked.answer([a(1)]),
            (Some(_), _) | (None, "bare.test" | "host.test") => asked.nothing(ResponseCode::NoError),
            (None, "sick.test") => asked.nothing(ResponseCode::ServFail),
            (None, _) if asked.name.ends_with(".mail.test") && asked.is(RecordType::A) => asked.answer([a(2)]),
            (None, _) => asked.nothing(ResponseCode::NXDomain),
        };
        vec![reply.into()]
    })
    .await;
    let router = server.router();
    for (name, expected) in [
        ("typo.wild.test", true),
        ("other.wild.test", true),
        ("deep.down.wild.test", true),
        ("made-up.bare.test", true),
        ("one.plain.test", false),
        ("two.plain.test", false),
        ("one.single.test", false),
        ("one.sick.test", false),
        ("wild.test", false),
    ] {
        let name = domain(name);
        let route = router.route(&name).await;
        assert_eq!(
            router.in_wildcard_zone(&name, &route).await,
            expected,
            "{name} {route:?}"
        );
    }
    let questions = |zone: &str| server.count(&format!(".{zone}.test"));
    assert_eq!(questions("wild"), 4, "three names and one beside them");
    assert_eq!(questions("plain"), 3, "two names and one beside them");
    // A question that fails is asked twice.
    assert!(questions("sick") <= 3);
    let mut together = JoinSet::new();
    let router = Arc::new(server.router());
    for number in 0..50 {
        let router = Arc::clone(&router);
        together.spawn(async move {
            let name = domain(&format!("n{number}.wild.test"));
            let route = router.route(&name).await;
            router.in_wildcard_zone(&name, &route).await
        });
    }
    assert_eq!(together.join_all().await, [true; 50]);
    assert_eq!(questions("wild"), 4 + 50 + 1, "asked together, asked once");
}

#[tokio::test]
async fn d6_a_name_that_changes_its_mind_is_not_asked_again() {
    let asked_before = AtomicBool::new(false);
    let server = Server::start(move |asked| {
        let mut reply = if asked.is(RecordType::MX) {
            asked.answer([mx(10, "mx.test")])
        } else if !asked.is(RecordType::A) {
            return vec![asked.nothing(ResponseCode::NoError).into()];
        } else if asked_before.swap(true, Relaxed) {
            asked.answer([RData::A(A::new(127, 0, 0, 1))])
        } else {
            asked.answer([a(1)])
        };
        reply.answers[0].ttl = 0;
        vec![reply.into()]
    })
    .await;
    let router = server.router();
    for _ in 0..3 {
        let route = router.route(&domain("a.test")).await;
        let MailRoute::Exchangers(exchangers) = &*route else {
            panic!("{route:?}")
        };
        assert_eq!(exchangers[0].addresses[0].ip().to_string(), "8.8.8.1");
    }
    assert_eq!(server.count("udp A mx.test"), 1);
}

#[tokio::test]
async fn d23_odd_ttls_reach_the_router_as_they_are() {
    let server = Server::start(|asked| {
        let ttl = if asked.name.starts_with("zero") { 0 } else { 1 << 31 };
        let mut reply = asked.answer([mx(10, "mx.test")]);
        reply.answers[0].ttl = ttl;
        vec![reply.into()]
    })
    .await;
    let resolver = server.resolver();
    for (name, longest) in [("zero.test", 0), ("huge.test", 24 * 60 * 60)] {
        let Ok(MxAnswer::Records { ttl, .. }) = resolver.mx(name).await else {
            panic!("{name}")
        };
        assert!(ttl <= Duration::from_secs(longest), "{name}: {ttl:?}");
    }
}

#[tokio::test]
async fn d21_the_canary_finds_a_resolver_that_rewrites() {
    type Says = fn(&Asked) -> Message;
    let table: [(Says, Canary); 3] = [
        (
            |asked| {
                if asked.is(RecordType::A) {
                    asked.answer([a(80)])
                } else {
                    asked.nothing(ResponseCode::NoError)
                }
            },
            Canary::Rewrites,
        ),
        (|asked| asked.nothing(ResponseCode::NXDomain), Canary::Honest),
        (|asked| asked.reply(ResponseCode::Refused, []), Canary::Honest),
    ];
    for (row, (script, expected)) in table.into_iter().enumerate() {
        let server = Server::start(move |asked| vec![script(asked).into()]).await;
        assert_eq!(canary(&server.resolver()).await, expected, "row {row}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_routes_cost_one_question_each() {
    let server = Server::start(plain).await;
    let router = Arc::new(server.router());
    let mut tasks = JoinSet::new();
    for _ in 0..500 {
        let router = router.clone();
        tasks.spawn(async move { router.route(&domain("a.test")).await });
    }
    let found = tasks.join_all().await;
    assert!(found.windows(2).all(|pair| Arc::ptr_eq(&pair[0], &pair[1])));
    router.route(&domain("a.test")).await;
    let log = server.log.lock().unwrap();
    let mut log: Vec<&str> = log.iter().map(String::as_str).collect();
    log.sort_unstable();
    assert_eq!(log, ["udp A mx.a.test", "udp AAAA mx.a.test", "udp MX a.test"]);
}

#[tokio::test]
async fn one_dead_domain_costs_one_wait() {
    let server = Server::start(|_| Vec::new()).await;
    let router = Router::new(Arc::new(server.resolver_with(patience())), RouterOptions::default());
    for _ in 0..3 {
        let route = router.route(&domain("a.test")).await;
        assert_eq!(*route, MailRoute::Failure(RouteFailure::Dns(DnsFailure::Timeout)));
    }
    assert_eq!(server.count("MX a.test"), 2, "two attempts");
}

#[tokio::test]
async fn a_family_of_second_choice_is_asked_about_only_where_there_is_nothing_else() {
    let server = Server::start(|asked| {
        let (label, _) = asked.name.split_once('.').unwrap();
        let reply = match (label, asked.query.query_type()) {
            ("four", RecordType::A) => asked.answer([a(4)]),
            ("six", RecordType::AAAA) => asked.answer([RData::AAAA("2a00::6".parse().unwrap())]),
            ("gone", _) => asked.nothing(ResponseCode::NXDomain),
            _ => asked.nothing(ResponseCode::NoError),
        };
        vec![reply.into()]
    })
    .await;
    for (families, four, six) in [
        (Families::V4ThenV6, 1, 2),
        (Families::OnlyV4, 1, 2),
        (Families::OnlyV6, 2, 1),
        (Families::V4AndV6, 2, 2),
    ] {
        let resolver = server.resolver_with(ResolverOptions { families, ..patience() });
        for (name, address, questions) in [
            ("four.test", Some("8.8.8.4"), four),
            ("six.test", Some("2a00::6"), six),
            ("gone.test", None, if families == Families::V4AndV6 { 2 } else { 1 }),
            ("none.test", None, 2),
        ] {
            let before = server.count(name);
            let answer = resolver.addresses(name).await.unwrap();
            let found = match answer {
                AddressAnswer::Addresses { addresses, .. } => Some(addresses[0].to_string()),
                AddressAnswer::None { .. } | AddressAnswer::NoSuchDomain { .. } => None,
            };
            assert_eq!(found.as_deref(), address, "{name}");
            assert_eq!(server.count(name) - before, questions, "{name} {families:?}");
        }
    }
}

#[tokio::test]
async fn a_slow_chain_of_cnames_meets_the_deadline_of_the_whole_lookup() {
    // Every hop comes over TCP after `BURST`: each in time, all six not.
    let server = Server::start(|asked| {
        let left: u8 = asked.name.trim_end_matches(".test").parse().unwrap();
        let mut reply = match left {
            0 => asked.answer([mx(10, "mx.test")]),
            left => asked.reply(
                ResponseCode::NoError,
                [cname(&asked.name, &format!("{}.test", left - 1))],
            ),
        };
        if !asked.tcp {
            reply = asked.reply(ResponseCode::NoError, []);
            reply.metadata.truncation = true;
        }
        vec![reply.into()]
    })
    .await;
    let resolver = server.resolver_with(ResolverOptions {
        attempts: 1,
        ..patience()
    });
    assert_eq!(resolver.mx("6.test").await, Err(DnsFailure::Timeout));
    assert!(server.resolver().mx("6.test").await.is_ok());
}

#[tokio::test]
async fn questions_in_flight_are_limited() {
    let server = Server::start(|_| Vec::new()).await;
    let options = ResolverOptions {
        in_flight: 1,
        attempts: 1,
        ..patience()
    };
    let resolver = Arc::new(server.resolver_with(options));
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for number in 0..3 {
        let resolver = resolver.clone();
        tasks.spawn(async move { resolver.mx(&format!("d{number}.test")).await });
    }
    tasks.join_all().await;
    assert!(started.elapsed() >= options.timeout * 3, "one after the other");
}

#[test]
fn the_system_configuration_works_or_says_what_to_do() {
    if let Err(error) = HickoryResolver::from_system(ResolverOptions::default()) {
        assert!(error.to_string().contains("--nameserver"), "{error}");
    }
}
