//! A name server from a few lines of text: `NAME TYPE DATA`; `*` is every name that has no line.
//!
//! Beside A, AAAA, MX, TXT and PTR: `NODATA`, `SERVFAIL`, `SILENT` (no answer in time), and `DELAY` in milliseconds. Names without a
//! line do not exist.

use std::{collections::HashMap, net::IpAddr, sync::Mutex, time::Duration};

use presend::{
    dns::{AddressAnswer, DnsFailure, Found, MxAnswer, Records, Resolve},
    net::BoxFuture,
};

pub(super) struct FakeDns {
    names: HashMap<String, Vec<(String, String)>>,
    pub(super) asked: Mutex<Vec<String>>,
}

const TTL: Duration = Duration::from_mins(5);

impl FakeDns {
    pub(super) fn new(zone: &str) -> Self {
        let mut names: HashMap<String, Vec<(String, String)>> = HashMap::new();
        for line in zone.lines().filter(|line| !line.trim().is_empty()) {
            let mut words = line.splitn(3, ' ');
            let mut word = || words.next().unwrap_or_default().to_owned();
            let (name, kind, data) = (word(), word(), word());
            names.entry(name).or_default().push((kind, data));
        }
        Self {
            names,
            asked: Mutex::default(),
        }
    }

    /// The data of these types; `None` is a name that does not exist.
    async fn find(&self, name: &str, kinds: &[&str]) -> Result<Option<Vec<String>>, DnsFailure> {
        self.asked.lock().unwrap().push(format!("{} {name}", kinds[0]));
        let every = self.names.get("*");
        if let Some((_, delay)) = every.and_then(|lines| lines.iter().find(|(kind, _)| kind == "DELAY")) {
            tokio::time::sleep(Duration::from_millis(delay.parse().unwrap())).await;
        }
        let every = every.filter(|lines| lines.iter().any(|(kind, _)| kind != "DELAY"));
        let Some(lines) = self.names.get(name).or(every) else {
            return Ok(None);
        };
        for (kind, _) in lines {
            match &**kind {
                "SERVFAIL" => return Err(DnsFailure::ServFail),
                "SILENT" => {
                    tokio::time::sleep(Duration::from_secs(10)).await;
                    return Err(DnsFailure::Timeout);
                }
                _ => {}
            }
        }
        let data = lines.iter().filter(|(kind, _)| kinds.contains(&&**kind));
        Ok(Some(data.map(|(_, data)| data.clone()).collect()))
    }

    async fn found(&self, name: &str, kind: &str) -> Result<Found<Box<str>>, DnsFailure> {
        Ok(match self.find(name, &[kind]).await? {
            None => Found::NoSuchDomain,
            Some(data) if data.is_empty() => Found::None,
            Some(data) => Found::Records(data.into_iter().map(Into::into).collect()),
        })
    }
}

impl Resolve for FakeDns {
    fn mx<'a>(&'a self, domain: &'a str) -> BoxFuture<'a, Result<MxAnswer, DnsFailure>> {
        Box::pin(async move {
            let record = |text: &String| {
                let (preference, host) = text.split_once(' ').unwrap();
                (preference.parse().unwrap(), Box::from(host.trim_end_matches('.')))
            };
            Ok(match self.find(domain, &["MX"]).await? {
                None => MxAnswer::NoSuchDomain { ttl: TTL },
                Some(data) if data.is_empty() => MxAnswer::None { ttl: TTL },
                Some(data) => MxAnswer::Records {
                    records: data.iter().map(record).collect(),
                    ttl: TTL,
                },
            })
        })
    }

    fn addresses<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<AddressAnswer, DnsFailure>> {
        Box::pin(async move {
            Ok(match self.find(host, &["A", "AAAA"]).await? {
                None => AddressAnswer::NoSuchDomain { ttl: TTL },
                Some(data) if data.is_empty() => AddressAnswer::None { ttl: TTL },
                Some(data) => AddressAnswer::Addresses {
                    addresses: data.iter().map(|ip| ip.parse().unwrap()).collect(),
                    ttl: TTL,
                },
            })
        })
    }
}

impl Records for FakeDns {
    fn text<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Found<Box<str>>, DnsFailure>> {
        Box::pin(self.found(name, "TXT"))
    }

    fn pointers(&self, address: IpAddr) -> BoxFuture<'_, Result<Found<Box<str>>, DnsFailure>> {
        Box::pin(async move {
            let name = match address {
                IpAddr::V4(ip) => {
                    let [a, b, c, d] = ip.octets();
                    format!("{d}.{c}.{b}.{a}.in-addr.arpa")
                }
                IpAddr::V6(ip) => {
                    let digits = format!("{:032x}", u128::from(ip));
                    let nibbles: String = digits.chars().rev().flat_map(|digit| [digit, '.']).collect();
                    format!("{nibbles}ip6.arpa")
                }
            };
            self.found(&name, "PTR").await
        })
    }
}
