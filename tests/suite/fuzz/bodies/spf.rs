//! SPF records of a zone that wants to keep the evaluator busy (RFC 7208 section 11.1).

use std::{
    net::IpAddr,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use presend::{
    dns::{AddressAnswer, DnsFailure, Found, MxAnswer, Records, Resolve},
    doctor::spf::{Sender, SpfResult, check_host},
    net::BoxFuture,
};
use tokio::runtime::Builder;

/// Ten terms, each with a list of ten names (RFC 7208 section 4.6.4), the names of the address, and the record itself.
const QUESTIONS: usize = 140;
const TTL: Duration = Duration::from_mins(5);

/// Every record is a line of the input, in turn; every name has addresses, exchangers and pointers, but for some that have none.
struct Zone {
    lines: Vec<String>,
    texts: AtomicUsize,
    asked: AtomicUsize,
}

impl Zone {
    fn ask(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }
}

impl Resolve for Zone {
    fn mx<'a>(&'a self, domain: &'a str) -> BoxFuture<'a, Result<MxAnswer, DnsFailure>> {
        self.ask();
        let records = (0..20)
            .map(|number| (number, format!("m{number}.{domain}").into()))
            .collect();
        Box::pin(async move { Ok(MxAnswer::Records { records, ttl: TTL }) })
    }

    fn addresses<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<AddressAnswer, DnsFailure>> {
        self.ask();
        assert!(host.len() <= 1_024 && !host.is_empty(), "{host:?}");
        let answer = match host.len() % 5 {
            0 => Ok(AddressAnswer::NoSuchDomain { ttl: TTL }),
            1 => Err(DnsFailure::ServFail),
            _ => Ok(AddressAnswer::Addresses {
                addresses: vec![
                    "192.0.2.7".parse().expect("an address"),
                    "2001:db8::7".parse().expect("an address"),
                ],
                ttl: TTL,
            }),
        };
        Box::pin(async move { answer })
    }
}

impl Records for Zone {
    fn text<'a>(&'a self, _name: &'a str) -> BoxFuture<'a, Result<Found<Box<str>>, DnsFailure>> {
        self.ask();
        let number = self.texts.fetch_add(1, Ordering::Relaxed);
        let line = self.lines.get(number % self.lines.len().max(1));
        let found = line.map_or(Found::None, |line| Found::Records(vec![Box::from(&**line)]));
        Box::pin(async move { Ok(found) })
    }

    fn pointers(&self, _address: IpAddr) -> BoxFuture<'_, Result<Found<Box<str>>, DnsFailure>> {
        self.ask();
        let names = (0..20).map(|number| format!("p{number}.example.org").into()).collect();
        Box::pin(async move { Ok(Found::Records(names)) })
    }
}

/// The evaluation ends, asks no more than the RFC allows, and says something short.
pub(super) fn body(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let zone = Zone {
        lines: text.lines().map(String::from).collect(),
        texts: AtomicUsize::new(0),
        asked: AtomicUsize::new(0),
    };
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    let mut understood = false;
    for ip in ["192.0.2.7", "2001:db8::9"] {
        zone.asked.store(0, Ordering::Relaxed);
        zone.texts.store(0, Ordering::Relaxed);
        let sender = Sender {
            ip: ip.parse().expect("an address"),
            helo: "mx.example.org",
            local_part: "strong-bad+%{x}",
            domain: "a.example.org",
        };
        let checked = runtime.block_on(check_host(&zone, sender));
        let asked = zone.asked.load(Ordering::Relaxed);
        assert!(asked <= QUESTIONS, "{asked} questions");
        let said = checked.result.to_string();
        assert!(said.len() <= 2 * text.len() + 500, "{} bytes", said.len());
        assert!(checked.term.is_none_or(|term| text.contains(&*term)));
        understood |= !matches!(
            checked.result,
            SpfResult::None | SpfResult::PermError(_) | SpfResult::TempError(_)
        );
    }
    understood
}
