//! What is kept of an answer, and the bytes in which it is kept.

use std::{
    env, fs,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use presend::{
    dns::{DnsFailure, Exchanger, MailRoute, NoMailHost, RouteFailure},
    net::SpecialUse,
    replies::{Classifier, Rules, providers},
    smtp::{self, Reply, ReplyCode, Speaker, Stage, Transcript},
    store::{DomainMemory, Judged, Kept, Known, Reading, Source, SqliteStore, Store, StoreError, Understanding, Write},
    verdict::{
        Answer, Evidence, HostFacts, ListDecision, NotTried, Observed, ProbeFailure, SecondAnswer, SessionDoubt,
        UnknownRecipients,
    },
};
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{Folder, at, kept, mailbox, new_job, open, read, record, write};

const NOT_TRIED: [NotTried; 10] = [
    NotTried::NotNeeded,
    NotTried::Level,
    NotTried::NoIdentity,
    NotTried::ProviderPolicy,
    NotTried::AllowListed,
    NotTried::Interrupted,
    NotTried::Budget,
    NotTried::ResolverRewrites,
    NotTried::PortBlocked,
    NotTried::RowUnreadable,
];

const FAILURES: [ProbeFailure; 12] = [
    ProbeFailure::Unreachable,
    ProbeFailure::Timeout,
    ProbeFailure::Tarpit,
    ProbeFailure::ConnectionLost,
    ProbeFailure::NotSmtp,
    ProbeFailure::Loop,
    ProbeFailure::Protocol,
    ProbeFailure::Desynchronised,
    ProbeFailure::TlsInjection,
    ProbeFailure::NeedsSmtpUtf8,
    ProbeFailure::Proxy,
    ProbeFailure::Internal,
];

const UNKNOWN: [UnknownRecipients; 3] = [
    UnknownRecipients::Refused,
    UnknownRecipients::Accepted,
    UnknownRecipients::Contradictory,
];

const DOUBTS: [SessionDoubt; 4] = [
    SessionDoubt::BlanketRefusal,
    SessionDoubt::Throttled,
    SessionDoubt::Inconsistent,
    SessionDoubt::UnusualForm,
];

const SPECIAL: [SpecialUse; 12] = [
    SpecialUse::Loopback,
    SpecialUse::Unspecified,
    SpecialUse::Private,
    SpecialUse::SharedSpace,
    SpecialUse::LinkLocal,
    SpecialUse::Documentation,
    SpecialUse::Benchmarking,
    SpecialUse::Protocol,
    SpecialUse::Multicast,
    SpecialUse::Broadcast,
    SpecialUse::Reserved,
    SpecialUse::NotGlobal,
];

const DNS: [DnsFailure; 6] = [
    DnsFailure::ServFail,
    DnsFailure::Timeout,
    DnsFailure::Refused,
    DnsFailure::Bogus,
    DnsFailure::Loop,
    DnsFailure::Malformed,
];

fn exchanger(host: &str, preference: u16, backup: bool) -> Exchanger {
    Exchanger {
        host: host.into(),
        preference,
        backup,
        addresses: Vec::new(),
    }
}

/// One route of every kind.
fn routes() -> Vec<MailRoute> {
    let mut routes = vec![
        MailRoute::Exchangers(vec![
            exchanger("mx1.example.com", 10, false),
            exchanger("mx2.example.com", 20, true),
        ]),
        MailRoute::ImplicitMx(exchanger("example.com", 0, false)),
        MailRoute::NullMx,
        MailRoute::NoSuchDomain,
        MailRoute::NoMailHost(NoMailHost::NoRecords),
        MailRoute::NoMailHost(NoMailHost::LoopbackMx),
        MailRoute::Failure(RouteFailure::MxIsAddress),
        MailRoute::Failure(RouteFailure::MxUnresolvable),
        MailRoute::Failure(RouteFailure::OtherFamily),
        MailRoute::Failure(RouteFailure::ResolverRewrites),
    ];
    routes.extend(DNS.map(|failure| MailRoute::Failure(RouteFailure::Dns(failure))));
    routes.extend(SPECIAL.map(|special| MailRoute::Failure(RouteFailure::PrivateMx(special))));
    routes
}

fn answer(stage: Stage, code: u16, lines: &[&str], provider: Option<&str>) -> Arc<Answer> {
    let lines = lines.iter().map(|line| Box::from(*line)).collect();
    let reply = Reply::new(ReplyCode::new(code).unwrap(), lines);
    let meaning = presend::replies::classify(stage, &reply, provider);
    Arc::new(Answer { stage, reply, meaning })
}

fn host(provider: Option<&str>, ip: Option<&str>) -> Arc<HostFacts> {
    Arc::new(HostFacts {
        provider: provider.map(|name| &*providers::named(name).unwrap().id),
        name: "mx1.example.com".into(),
        ip: ip.map(|ip| ip.parse().unwrap()),
        preference: 10,
        implicit: false,
        tls: Some(true),
        backup: false,
        untruthful: false,
    })
}

fn transcript() -> Arc<Transcript> {
    let entry = |at, who, text: &str| smtp::Entry {
        at: Duration::from_millis(at),
        who,
        text: text.into(),
    };
    Arc::new(Transcript {
        host: "mx1.example.com".into(),
        peer: "192.0.2.7:25".parse().unwrap(),
        entries: vec![
            entry(0, Speaker::Note, "connected"),
            entry(120, Speaker::Server, "220 mx1.example.com ESMTP"),
            entry(121, Speaker::Client, "EHLO probe.example.com"),
        ],
    })
}

/// One record for each thing that can be kept, so that each variant of each type is there once at least.
fn every_shape() -> Vec<Kept> {
    let base = || Evidence::not_tried(NotTried::Budget);
    let mut all: Vec<Evidence> = NOT_TRIED.map(Evidence::not_tried).into();
    let mut with = |change: &mut dyn FnMut(&mut Evidence)| {
        let mut evidence = base();
        change(&mut evidence);
        all.push(evidence);
    };
    with(&mut |evidence| evidence.route = Observed::Failed(NotTried::Interrupted));
    for route in routes() {
        let route = Arc::new(route);
        with(&mut |evidence| evidence.route = Observed::Known(Arc::clone(&route)));
    }
    for failure in FAILURES {
        with(&mut |evidence| evidence.answer = Observed::Failed(failure));
    }
    for stage in Stage::ALL {
        with(&mut |evidence| {
            evidence.answer = Observed::Known(answer(stage, 451, &["4.7.1 Greylisted", "try again"], None));
            evidence.unknown_recipients = Observed::Failed(stage);
        });
    }
    for unknown in UNKNOWN {
        with(&mut |evidence| evidence.unknown_recipients = Observed::Known(unknown));
    }
    for doubt in DOUBTS {
        with(&mut |evidence| evidence.doubt = Some(doubt));
    }
    for list in [ListDecision::Allow, ListDecision::Block] {
        with(&mut |evidence| evidence.list = Some(list));
    }
    for (provider, ip) in [
        (None, None),
        (Some("google"), Some("192.0.2.7")),
        (None, Some("2001:db8::25")),
    ] {
        with(&mut |evidence| evidence.host = Some(host(provider, ip)));
    }
    let mut kept: Vec<Kept> = all
        .into_iter()
        .zip(0..)
        .map(|(evidence, number)| kept(&mailbox(number), evidence))
        .collect();
    let mut asked = super::kept("jane@example.com", base());
    asked.first_asked = Some(at(1_790_000_000_001));
    asked.due = Some(at(1_790_000_360_000));
    asked.retry_at = Some(at(1_790_000_360_001));
    asked.throttled = true;
    asked.requeued = true;
    asked.evidence.attempts = 3;
    asked.transcripts = vec![transcript(), transcript()];
    asked.source = Source::Store;
    kept.push(asked);
    kept
}

fn memory() -> DomainMemory {
    DomainMemory {
        control: "zq8fk2".into(),
        attempts: 2,
        first_asked: Some(1_790_000_000_000),
        due: None,
        may_mend: true,
        recheck: false,
        refusal: Some(77),
        unknown: Observed::Known(UnknownRecipients::Refused),
        accepted_since_control: 4,
        accepted: true,
    }
}

/// Writes every shape as one batch.
fn write_every_shape(store: &SqliteStore) -> i64 {
    let lease = store.create(&new_job("leads.csv")).unwrap();
    let records = every_shape()
        .into_iter()
        .zip(0..)
        .map(|(kept, number)| record(number, kept));
    write(store, &lease, records.collect()).unwrap();
    store.submit(Write::Domain {
        lease: None,
        name: domain(),
        memory: memory(),
    });
    lease.job
}

fn domain() -> presend::address::Domain {
    presend::address::Domain::parse("acme-corp.com", presend::address::Rules::default()).unwrap()
}

fn assert_every_shape(store: &SqliteStore, job: i64) {
    let entries = store.entries(job).unwrap();
    let expected = every_shape();
    assert_eq!(entries.len(), expected.len());
    for (entry, expected) in entries.iter().zip(expected) {
        assert_eq!(read(store, job, entry.place), expected);
    }
    assert_eq!(store.domain(None, &domain()).unwrap().unwrap().0, memory());
}

#[test]
fn every_shape_of_answer_comes_back() {
    let folder = Folder::new();
    let job = write_every_shape(&folder.open());
    assert_every_shape(&folder.open(), job);
}

fn golden(layout: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/corpora/store/layout-{layout}.db"))
}

/// Layout 1 had a row of evidence for each address. What others may use of its answers they may still use, and nothing else.
#[test]
fn a_database_of_layout_1_is_taken_over() {
    let folder = Folder::new();
    fs::copy(golden(1), folder.database()).unwrap();
    let store = folder.open();
    let job = store.jobs().unwrap()[0].number;
    assert_every_shape(&store, job);
    let known = store.known(7).unwrap();
    assert!(known.iter().all(|known| known.job == job));
    let fresh = Folder::new();
    let fresh = fresh.open();
    write_every_shape(&fresh);
    let expected = fresh.known(7).unwrap().into_iter().map(|known| Known { job, ..known });
    assert!(!known.is_empty() && expected.len() > 0);
    assert_eq!(known, expected.collect::<Vec<_>>());
    assert!(store.knows_anything().unwrap() && store.whereabouts(7).unwrap() == Some((job, 0)));
    store.delete(job).unwrap();
    assert!(!store.knows_anything().unwrap(), "the evidence went with its job");
}

/// The database in `tests/corpora/store` was made by layout 3. A presend that reads it otherwise, or writes other bytes, would read
/// the databases of users wrongly: new variants of kept types go to the end, anything else is a new layout.
#[test]
fn a_database_of_layout_3_means_the_same_for_ever() {
    let golden = golden(3);
    if env::var_os("MAKE_LAYOUT_3").is_some() {
        let folder = Folder::new();
        write_every_shape(&folder.open());
        fs::copy(folder.database(), &golden).unwrap();
    }
    let folder = Folder::new();
    fs::copy(&golden, folder.database()).unwrap();
    let store = folder.open();
    let job = store.jobs().unwrap()[0].number;
    assert_every_shape(&store, job);
    let again = write_every_shape(&store);
    drop(store);
    let connection = rusqlite::Connection::open(folder.database()).unwrap();
    let batch = |job: i64| -> (Vec<u8>, Vec<u8>, Vec<u8>) {
        let sql = "SELECT directory, records, entries FROM batch JOIN pointer USING (job) WHERE job = ?1";
        connection
            .query_row(sql, [job], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .unwrap()
    };
    assert!(batch(job) == batch(again), "the same records became other bytes");
}

#[test]
fn an_answer_means_what_the_rules_of_today_say() {
    let folder = Folder::new();
    let store = folder.open();
    let lease = store.create(&new_job("leads.csv")).unwrap();
    let mut evidence = Evidence::not_tried(NotTried::NotNeeded);
    let said = answer(Stage::Rcpt, 550, &["5.1.1 zzqx house rule"], None);
    evidence.answer = Observed::Known(Arc::clone(&said));
    let entries = write(&store, &lease, vec![record(0, kept("jane@example.com", evidence))]).unwrap();
    let rules = Rules::parse(
        "[[rule]]\nid = \"own\"\nlayer = \"provider\"\nclass = \"mailbox_full\"\nany = [\"zzqx\"]\n\
         example = [\"550 5.1.1 zzqx house rule\"]\nsource = \"a test\"\n",
        "own.toml",
    )
    .unwrap();
    let classifier = Classifier::with_rules(&rules).unwrap();
    let reading = Reading {
        classifier: Some(&classifier),
        ..Reading::default()
    };
    let meaning = |reading| {
        let kept = store.record(lease.job, entries[0].place, reading).unwrap();
        kept.evidence.answer.known().unwrap().meaning.clone()
    };
    assert_eq!(meaning(Reading::default()), said.meaning);
    assert_ne!(meaning(reading).class, said.meaning.class);
    assert_eq!(meaning(reading).class.name(), "mailbox_full");
}

/// As a resolver names a host: escaped, so that nothing else is left.
fn host_name() -> impl Strategy<Value = String> {
    "[!-~]{0,40}"
}

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,40}"
}

fn any_route() -> impl Strategy<Value = Observed<Arc<MailRoute>, NotTried>> {
    prop_oneof![
        select(&NOT_TRIED[..]).prop_map(Observed::NotTried),
        select(&NOT_TRIED[..]).prop_map(Observed::Failed),
        select(routes()).prop_map(|route| Observed::Known(Arc::new(route))),
        vec((host_name(), any::<u16>(), any::<bool>()), 1..5).prop_map(|hosts| {
            let exchangers = hosts
                .iter()
                .map(|(host, preference, backup)| exchanger(host, *preference, *backup));
            Observed::Known(Arc::new(MailRoute::Exchangers(exchangers.collect())))
        }),
    ]
}

fn any_host() -> impl Strategy<Value = Option<Arc<HostFacts>>> {
    let provider = option::of(select(&["google", "yahoo", "yandex"][..]));
    let flags = (any::<bool>(), option::of(any::<bool>()), any::<bool>(), any::<bool>());
    option::of((provider, host_name(), option::of(any::<IpAddr>()), any::<u16>(), flags)).prop_map(|host| {
        let (provider, name, ip, preference, (implicit, tls, backup, untruthful)) = host?;
        let provider = provider.and_then(providers::named).map(|provider| &*provider.id);
        Some(Arc::new(HostFacts {
            provider,
            name: name.into(),
            ip,
            preference,
            implicit,
            tls,
            backup,
            untruthful,
        }))
    })
}

type Said = Observed<(Stage, u16, Vec<String>), ProbeFailure>;

fn any_answer() -> impl Strategy<Value = Said> {
    prop_oneof![
        select(&NOT_TRIED[..]).prop_map(Observed::NotTried),
        select(&FAILURES[..]).prop_map(Observed::Failed),
        (select(&Stage::ALL[..]), 200..600_u16, vec(text(), 0..4)).prop_map(Observed::Known),
    ]
}

fn answer_of(host: &HostFacts, code: u16, line: &str) -> Arc<Answer> {
    answer(Stage::Rcpt, code, &[line], host.provider)
}

prop_compose! {
    fn any_evidence()(
        list in option::of(select(&[ListDecision::Allow, ListDecision::Block][..])),
        route in any_route(),
        host in any_host(),
        said in any_answer(),
        unknown_recipients in prop_oneof![
            select(&NOT_TRIED[..]).prop_map(Observed::NotTried),
            select(&Stage::ALL[..]).prop_map(Observed::Failed),
            select(&UNKNOWN[..]).prop_map(Observed::Known),
        ],
        doubt in option::of(select(&DOUBTS[..])),
        other in (any_host(), 200..600_u16, text()),
        attempts in any::<u32>(),
        in_wildcard_zone in any::<bool>(),
    ) -> Evidence {
        let provider = host.as_ref().and_then(|host| host.provider);
        let answer = match said {
            Observed::Known((stage, code, lines)) => {
                let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
                Observed::Known(answer(stage, code, &lines, provider))
            }
            Observed::Failed(why) => Observed::Failed(why),
            Observed::NotTried(why) => Observed::NotTried(why),
        };
        let second = other.0.map(|host| {
            let answer = answer_of(&host, other.1, &other.2);
            Arc::new(SecondAnswer { host, answer })
        });
        let wildcard_zone = in_wildcard_zone && route.known().is_some();
        Evidence { syntax: None, list, told: None, route, wildcard_zone, host, answer, second, unknown_recipients, doubt, attempts }
    }
}

prop_compose! {
    fn any_kept()(
        evidence in any_evidence(),
        mailbox in text(),
        times in (option::of(0..1_u64 << 47), option::of(0..1_u64 << 47), option::of(0..1_u64 << 47), 0..1_u64 << 47),
        flags in any::<(bool, bool)>(),
        elapsed in any::<u32>(),
        dialogues in 0..3_usize,
    ) -> Kept {
        Kept {
            mailbox: mailbox.into(),
            evidence,
            first_asked: times.0.map(at),
            due: times.1.map(at),
            throttled: flags.0,
            requeued: flags.1,
            retry_at: times.2.map(at),
            checked_at: at(times.3),
            elapsed: Duration::from_millis(elapsed.into()),
            transcripts: vec![transcript(); dialogues],
            source: if flags.0 { Source::Store } else { Source::Live },
            judged: flags.1.then(|| Judged {
                label: presend::verdict::Label::Unknown,
                reason: "greylisted".into(),
                rule: flags.0.then(|| "greylist".into()),
            }),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_answer_comes_back(all in vec(any_kept(), 1..30)) {
        let folder = Folder::new();
        let store = open(&folder.database());
        let lease = store.create(&new_job("leads.csv")).unwrap();
        // Equal records lie close together, and records share what they hold, within a batch and beyond it.
        let shared = [all.clone(), all.clone(), all.clone()].concat();
        let (mut entries, mut numbers) = (Vec::new(), 0..);
        for batch in shared.chunks(2 * all.len()) {
            let records = batch.iter().cloned().zip(&mut numbers);
            let records = records.map(|(kept, number)| record(number, kept)).collect();
            entries.extend(write(&store, &lease, records).unwrap());
        }
        drop(store);
        let store = open(&folder.database());
        prop_assert_eq!(&store.entries(lease.job).unwrap(), &entries);
        for (entry, kept) in entries.iter().zip(&shared) {
            prop_assert_eq!(&read(&store, lease.job, entry.place), kept);
        }
        let places: Vec<_> = entries.iter().map(|entry| entry.place).collect();
        let excerpt = store.excerpt(lease.job, &places, usize::MAX).unwrap().unwrap();
        let mut understanding = Understanding::new(Reading::default());
        for (number, kept) in shared.iter().enumerate().rev() {
            let shown = Kept { mailbox: "".into(), judged: None, ..kept.clone() };
            prop_assert_eq!(excerpt.read(number, &mut understanding).unwrap(), shown);
        }
        prop_assert!(matches!(excerpt.read(shared.len(), &mut understanding), Err(StoreError::Gone)));
        prop_assert!(store.excerpt(lease.job, &places, 100).unwrap().is_none());
    }
}
