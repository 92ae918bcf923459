//! The DNS of the world: one handler that answers like a recursive resolver, from memory, and fails where the world says so.

mod serve;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use hashbrown::{HashMap, HashSet};
use hickory_resolver::proto::{
    ProtoError,
    rr::{
        Name, RData, Record, RecordData, RecordType,
        rdata::{CNAME, MX, PTR, SOA, TXT},
    },
};

pub(super) use self::serve::DnsServer;
use super::{
    counters::lock,
    world::{DnsFault, Domain, Forgery, World, canonical},
};

/// Time to live where the world gives none.
const TTL: u32 = 300;
/// How long "there is no such thing" may be kept.
const NEGATIVE_TTL: u32 = 60;
/// Aliases followed for one question; the client asks on from there.
const ALIASES_MAX: usize = 16;
/// Names counted; a flood of random names must not grow the table without bound.
const COUNTED_MAX: usize = 100_000;

/// Everything the DNS knows.
#[derive(Debug, Default)]
pub(super) struct Zone {
    names: HashMap<String, Entry>,
    /// Parents of names: they exist and have nothing.
    parents: HashSet<String>,
    latency: Duration,
    asked: Mutex<BTreeMap<String, u64>>,
}

/// A name: what the first, second and so on question of each type is answered, the last for ever.
#[derive(Debug, Default)]
struct Entry {
    turns: BTreeMap<usize, Turn>,
    wildcard: bool,
    /// Questions of each type; only where there is more than one turn.
    asked: Mutex<HashMap<RecordType, usize>>,
}

#[derive(Debug, Default)]
struct Turn {
    records: Vec<Record>,
    fault: Option<DnsFault>,
    fault_times: u64,
    faults_given: AtomicU64,
    /// Types that fail; empty is all.
    only: Vec<RecordType>,
    /// In the place of the answer, and how many records are promised.
    raw: Option<(u16, Vec<u8>)>,
    /// In the place of everything behind the transaction id.
    message: Option<Vec<u8>>,
    forged: Option<(Vec<Forgery>, Vec<RData>)>,
}

/// What the zone says.
enum Answer {
    Records(Vec<Record>),
    NoData,
    Failure(DnsFault),
    /// An answer section of so many records that are these bytes.
    Raw(u16, Vec<u8>),
    /// A whole message but for its id.
    Message(Vec<u8>),
}

impl Zone {
    /// The zone of a world whose hosts have these addresses.
    ///
    /// # Errors
    /// A name that cannot be one.
    pub(super) fn new(world: &World, addresses: &[IpAddr]) -> Result<Self, String> {
        let mut zone = Self {
            latency: Duration::from_millis(world.dns_latency_ms),
            ..Self::default()
        };
        let by_name: HashMap<&str, IpAddr> = world
            .hosts
            .iter()
            .zip(addresses)
            .map(|(host, address)| (&*host.name, *address))
            .collect();
        let listed: HashSet<&str> = world.domains.iter().map(|domain| &*domain.name).collect();
        for (host, address) in world.hosts.iter().zip(addresses) {
            zone.add(&host.name, TTL, RData::from(*address))?;
            for domain in host.serves.iter().filter(|domain| !listed.contains(&***domain)) {
                let exchange = absolute(&host.name)?;
                zone.add(domain, TTL, RData::MX(MX::new(host.preference, exchange)))?;
            }
        }
        for domain in &world.domains {
            zone.add_domain(domain, &by_name)?;
        }
        for name in zone.names.keys() {
            let parents = name.match_indices('.').filter_map(|(dot, _)| name.get(dot + 1..));
            zone.parents.extend(parents.map(str::to_owned));
        }
        Ok(zone)
    }

    fn add(&mut self, name: &str, ttl: u32, data: RData) -> Result<(), String> {
        let record = Record::from_rdata(absolute(name)?, ttl, data);
        self.turn(name).records.push(record);
        Ok(())
    }

    /// What a name answers first.
    fn turn(&mut self, name: &str) -> &mut Turn {
        self.names.entry_ref(name).or_default().turn(0)
    }

    fn add_domain(&mut self, domain: &Domain, hosts: &HashMap<&str, IpAddr>) -> Result<(), String> {
        for (number, said) in std::iter::once(domain).chain(&domain.then).enumerate() {
            if number > 0 && !(said.name.is_empty() && said.then.is_empty()) {
                return Err(format!("a `then` of {} has a name or a `then` of its own", domain.name));
            }
            let owner = absolute(&domain.name)?;
            let ttl = said.ttl.unwrap_or(TTL);
            let records = data(said, &domain.name, hosts)?;
            let turn = self.names.entry_ref(&domain.name).or_default().turn(number);
            let record = |data| Record::from_rdata(owner.clone(), ttl, data);
            turn.records.extend(records.into_iter().map(record));
            turn.fault = said.fail;
            turn.fault_times = said.fail_times;
            turn.only.clone_from(&said.only);
            turn.raw = said.raw.clone().map(|raw| (said.raw_count.unwrap_or(1), raw.0));
            turn.message = said.message.clone().map(|message| message.0);
            if let Some(forged) = &said.forged {
                let evil = Domain {
                    mx: forged.mx.clone(),
                    a: forged.a.clone(),
                    ..Domain::default()
                };
                turn.forged = Some((forged.ways.clone(), data(&evil, &domain.name, hosts)?));
            }
        }
        self.names.entry_ref(&domain.name).or_default().wildcard = domain.wildcard;
        Ok(())
    }

    /// Questions so far, by `"MX acme.test"`.
    pub(super) fn asked(&self) -> BTreeMap<String, u64> {
        lock(&self.asked).clone()
    }

    fn count(&self, kind: RecordType, name: &str) {
        let mut asked = lock(&self.asked);
        let question = format!("{kind} {name}");
        if asked.len() < COUNTED_MAX || asked.contains_key(&question) {
            *asked.entry(question).or_default() += 1;
        }
    }

    /// The entry of a name, or of the nearest wildcard above it.
    fn entry(&self, name: &str) -> Option<&Entry> {
        self.names.get(name).or_else(|| {
            let above = name.match_indices('.').filter_map(|(dot, _)| name.get(dot + 1..));
            above
                .filter_map(|parent| self.names.get(parent))
                .find(|entry| entry.wildcard)
        })
    }

    /// What a question gets; over TCP a fault of UDP alone is none.
    fn answer(&self, name: &str, kind: RecordType, udp: bool) -> Answer {
        let mut found = Vec::new();
        let mut name = name.to_owned();
        for _ in 0..ALIASES_MAX {
            let Some(entry) = self.entry(&name) else {
                return match found.is_empty() {
                    true if self.parents.contains(&name) => Answer::NoData,
                    true => Answer::Failure(DnsFault::Nxdomain),
                    false => Answer::Records(found),
                };
            };
            let Some(turn) = entry.turn_for(kind) else {
                return Answer::NoData;
            };
            if let Some(answer) = turn.misbehaves(kind, udp) {
                return answer;
            }
            let owner = || absolute(&name).unwrap_or_else(|_| Name::root());
            let matching = turn
                .records
                .iter()
                .filter(|record| record.record_type() == kind || kind == RecordType::ANY);
            let before = found.len();
            found.extend(matching.map(|record| Record::from_rdata(owner(), record.ttl, record.data.clone())));
            if found.len() > before {
                return Answer::Records(found);
            }
            let alias = turn.records.iter().find_map(|record| {
                let target = CNAME::try_borrow(&record.data)?;
                Some((record.ttl, target.0.clone()))
            });
            let Some((ttl, target)) = alias else {
                break;
            };
            found.push(Record::from_rdata(owner(), ttl, RData::CNAME(CNAME(target.clone()))));
            name = plain(&target);
        }
        if found.is_empty() {
            Answer::NoData
        } else {
            Answer::Records(found)
        }
    }

    /// SOA of the zone that denies `name`: its top-level domain if the world has it, else the root.
    fn denial(&self, name: &str) -> Vec<Record> {
        let top = name.rsplit('.').next().unwrap_or_default();
        let owner = if self.parents.contains(top) { top } else { "" };
        let root = Name::root;
        let soa = SOA::new(root(), root(), 1, 3600, 600, 86_400, NEGATIVE_TTL);
        let owner = absolute(owner).unwrap_or_else(|_| root());
        vec![Record::from_rdata(owner, NEGATIVE_TTL, RData::SOA(soa))]
    }

    /// What somebody else sends before the answer: how it is betrayed, and the records.
    fn forged(&self, name: &str, kind: RecordType) -> Option<(&[Forgery], Vec<Record>)> {
        let turn = self.entry(name)?.turns.get(&0)?;
        let (ways, data) = turn.forged.as_ref().filter(|_| turn.concerns(kind))?;
        let owner = absolute(name).ok()?;
        let record = |data: &RData| Record::from_rdata(owner.clone(), TTL, data.clone());
        let matching = data.iter().filter(|data| data.record_type() == kind);
        Some((ways, matching.map(record).collect()))
    }
}

impl Entry {
    fn turn(&mut self, number: usize) -> &mut Turn {
        self.turns.entry(number).or_default()
    }

    /// What this question is answered.
    fn turn_for(&self, kind: RecordType) -> Option<&Turn> {
        let mut nth = 0;
        if self.turns.len() > 1 {
            let mut asked = lock(&self.asked);
            let asked = asked.entry(kind).or_default();
            nth = *asked;
            *asked += 1;
        }
        self.turns.get(&nth).or_else(|| self.turns.values().next_back())
    }
}

impl Turn {
    /// Whether the fault, the raw bytes and the forgeries are meant for such questions.
    fn concerns(&self, kind: RecordType) -> bool {
        self.only.is_empty() || self.only.contains(&kind)
    }

    /// What comes in the place of the records, if anything.
    fn misbehaves(&self, kind: RecordType, udp: bool) -> Option<Answer> {
        if !self.concerns(kind) {
            return None;
        }
        let given = self.faults_given.fetch_add(1, Relaxed);
        let fault = self.fault.filter(|fault| {
            let due = self.fault_times == 0 || given < self.fault_times;
            due && (udp || *fault != DnsFault::TruncateUdp)
        });
        let raw = || Some(Answer::Raw(self.raw.as_ref()?.0, self.raw.as_ref()?.1.clone()));
        let message = || self.message.clone().map(Answer::Message);
        fault.map(Answer::Failure).or_else(message).or_else(raw)
    }
}

/// The records of a domain, or of what it says later.
fn data(domain: &Domain, name: &str, hosts: &HashMap<&str, IpAddr>) -> Result<Vec<RData>, String> {
    let mut data = Vec::new();
    for mx in &domain.mx {
        data.push(RData::MX(MX::new(mx.preference, absolute(&mx.host)?)));
    }
    for text in &domain.a {
        let address = text
            .parse()
            .ok()
            .or_else(|| hosts.get(&*canonical(text).ok()?).copied());
        let unknown = || format!("`{text}` (a of {name}) is neither an address nor a host of this world");
        data.push(RData::from(address.ok_or_else(unknown)?));
    }
    if let Some(target) = &domain.cname {
        data.push(RData::CNAME(CNAME(absolute(&canonical(target)?)?)));
    }
    if let Some(target) = &domain.ptr {
        data.push(RData::PTR(PTR(absolute(&canonical(target)?)?)));
    }
    data.extend(domain.txt.iter().map(|text| RData::TXT(TXT::new(vec![text.clone()]))));
    Ok(data)
}

/// Lower case, no final dot.
fn plain(name: &Name) -> String {
    let mut text = name.to_ascii();
    text.make_ascii_lowercase();
    if text.ends_with('.') {
        text.pop();
    }
    text
}

fn absolute(name: &str) -> Result<Name, String> {
    Name::from_ascii(format!("{name}.")).map_err(|error: ProtoError| format!("`{name}` is no domain name: {error}"))
}
