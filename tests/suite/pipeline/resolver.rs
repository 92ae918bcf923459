//! Resolvers that are silent, broken, forged or lying. The lab's DNS always sends good messages, so most of these are bytes of a
//! scripted server, while the mail hosts are the lab's.

use std::{fmt::Write as _, net::IpAddr};

use hickory_resolver::proto::{
    op::{Edns, Query, ResponseCode},
    rr::{
        RData, RecordType,
        rdata::opt::{EdnsCode, EdnsOption},
    },
};

use super::{Net, differences, labels, sessions};
use crate::dns::server::{Asked, Sent, Server, mx, name};

const VALID: &str = "valid mailbox_exists";
const MALFORMED: &str = "unknown dns_malformed";

/// HOSTILE.md id, which is the first label as well; what becomes of `jane` at `ID.test`.
const CASES: &[(&str, &str)] = &[
    ("d14-answered", VALID),
    ("d14-silent", "unknown dns_timeout"),
    ("d16-count", MALFORMED),
    ("d16-cut", MALFORMED),
    ("d18-forged-first", VALID),
    ("d18-forged-only", "unknown dns_timeout"),
    ("d19-rdata0", MALFORMED),
    ("d19-rdata1", MALFORMED),
    ("d19-rdata2", MALFORMED),
    ("d19-pointer-loop", MALFORMED),
    ("d19-labels", MALFORMED),
    ("d22-servfail", "unknown dns_servfail"),
    ("d22-bogus", "unknown dns_bogus"),
];

/// An MX record of the name that was asked about.
fn record(rdata: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rdata.len()).unwrap().to_be_bytes();
    [&[0xc0, 12, 0, 15, 0, 1, 0, 0, 1, 44][..], &length, rdata].concat()
}

fn forged(asked: &Asked) -> Vec<Sent> {
    let evil = || asked.answer([mx(0, "mx.evil.test")]);
    let mut wrong_id = evil();
    wrong_id.metadata.id = !asked.message.metadata.id;
    let mut wrong_question = evil();
    wrong_question.queries[0] = Query::query(name("other.test"), RecordType::MX);
    vec![
        wrong_id.into(),
        wrong_question.into(),
        Sent::Elsewhere(evil().to_vec().unwrap()),
    ]
}

/// What a question about the exchangers of `ID.test` gets.
fn exchangers(asked: &Asked, id: &str) -> Vec<Sent> {
    let end = u16::try_from(asked.raw(0, &[]).len()).unwrap();
    let good = || Sent::from(asked.answer([mx(10, "mx.known.test")]));
    let bytes = match id {
        "d14-answered" => return vec![good()],
        "d14-silent" => return Vec::new(),
        "d18-forged-first" => return forged(asked).into_iter().chain([good()]).collect(),
        "d18-forged-only" => return forged(asked),
        "d22-servfail" => return vec![asked.reply(ResponseCode::ServFail, []).into()],
        "d22-bogus" => {
            let mut reply = asked.reply(ResponseCode::ServFail, []);
            let mut edns = Edns::new();
            let bogus = EdnsOption::Unknown(15, vec![0, 6]);
            edns.options_mut().options.push((EdnsCode::Unknown(15), bogus));
            reply.edns = Some(edns);
            return vec![reply.into()];
        }
        "d16-count" => asked.raw(65_535, &record(&[0, 5, 1, b'm', 0])),
        "d16-cut" => asked.raw(1, &record(&[0, 5, 1, b'm', 0])[..9]),
        "d19-rdata0" => asked.raw(1, &record(&[])),
        "d19-rdata1" => asked.raw(1, &record(&[0])),
        "d19-rdata2" => asked.raw(1, &record(&[0, 5])),
        // The exchanger begins at 12 (fixed part) + 2 (preference) and points at itself.
        "d19-pointer-loop" => {
            let itself = (0xc000 | (end + 14)).to_be_bytes();
            asked.raw(1, &record(&[&[0, 5][..], &itself].concat()))
        }
        "d19-labels" => asked.raw(1, &record(&[&[0, 5][..], &[1, b'x'].repeat(255), &[0]].concat())),
        _ => return vec![asked.nothing(ResponseCode::NXDomain).into()],
    };
    vec![Sent::Back(bytes)]
}

fn script(asked: &Asked, known: IpAddr, evil: IpAddr) -> Vec<Sent> {
    let host = match asked.name.as_str() {
        "mx.known.test" => Some(known),
        "mx.evil.test" => Some(evil),
        _ => None,
    };
    match host {
        Some(ip) if asked.is(RecordType::A) => vec![asked.answer([RData::from(ip)]).into()],
        Some(_) => vec![asked.nothing(ResponseCode::NoError).into()],
        None if asked.is(RecordType::MX) => exchangers(asked, asked.name.trim_end_matches(".test")),
        None => vec![asked.nothing(ResponseCode::NXDomain).into()],
    }
}

#[test]
fn d14_d16_d18_d19_d22_what_is_no_answer_is_never_a_no() {
    let quoted: Vec<String> = CASES.iter().map(|(id, _)| format!("\"{id}.test\"")).collect();
    let domains = quoted.join(", ");
    let net = Net::new(&format!(
        "[[host]]\nname = \"mx.known.test\"\nserves = [{domains}]\nmailboxes = [\"jane\"]\n\
         [[host]]\nname = \"mx.evil.test\"\nserves = [{domains}]\nmailboxes = [\"jane\"]\n"
    ));
    let ip = |host: &str| net.lab.host(host).unwrap().ip();
    let (known, evil) = (ip("mx.known.test"), ip("mx.evil.test"));
    let server = net
        .runtime
        .block_on(Server::start(move |asked| script(asked, known, evil)));
    let mut list = String::new();
    for (id, _) in CASES {
        let _ = writeln!(list, "jane@{id}.test");
    }
    net.place.write("list.txt", list);
    let mut command = net.place.command(&["verify", "list.txt", "--no-wait"]);
    command.args(net.flags_asking(server.address)).args(super::IDENTITY);
    let ran = super::Ran::from(command.output().unwrap());
    assert!(ran.code == 0 || ran.code == 3, "{}: {}", ran.code, ran.err);
    let expected: Vec<String> = CASES.iter().map(|(id, _)| format!("jane@{id}.test")).collect();
    let expected = expected
        .iter()
        .zip(CASES)
        .map(|(address, (_, expected))| (address.as_str(), *expected));
    let wrong = differences(expected, &labels(&ran));
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(net.seen("mx.evil.test").connections, 0, "a forged answer was believed");
}

#[test]
fn d21_a_resolver_that_rewrites_is_not_believed_about_anything() {
    let mut world =
        String::from("[[host]]\nname = \"mx.known.test\"\nserves = [\"known.test\"]\nmailboxes = [\"jane\"]\n");
    for registry in ["com", "org"] {
        let _ = writeln!(
            world,
            "[[domain]]\nname = \"{registry}\"\na = \"mx.known.test\"\nwildcard = true"
        );
    }
    let net = Net::new(&world);
    let ran = net.verify("jane@known.test\njane@nowhere.test\n", &["--no-wait"]);
    let rewritten = "unknown dns_rewritten";
    let expected = [("jane@known.test", rewritten), ("jane@nowhere.test", rewritten)];
    assert_eq!(differences(expected, &labels(&ran)), [""; 0], "{}", ran.err);
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert_eq!(sessions(&net.lab.counters()), (0, 0));
}
