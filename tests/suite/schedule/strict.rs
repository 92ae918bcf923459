//! Hosts that ban whoever asks too much, as the best-known ones do (ETIQUETTE B2, B3): none of them ever bans us, and asking
//! takes hardly longer than the budgets demand.

use std::{
    collections::{HashMap, VecDeque},
    sync::Mutex,
};

use tokio::time::Instant;

use super::{world::World, *};
use crate::fake::Heard;

const HOUR: Duration = Duration::from_hours(1);

/// What a strict host remembers of us.
#[derive(Default)]
struct Memory {
    banned: Option<&'static str>,
    refusals: VecDeque<Instant>,
    in_session: HashMap<usize, usize>,
    answers: VecDeque<(Instant, bool)>,
    first_seen: HashMap<String, Instant>,
}

impl Memory {
    /// MDaemon's 3 refusals a session, Cisco's 25 an hour, Forcepoint's half of more than five recipients within a minute.
    fn judge(&mut self, connection: usize, refused: bool) {
        let now = Instant::now();
        self.answers.push_back((now, refused));
        self.answers.retain(|(at, _)| now - *at < MINUTE);
        if !refused {
            return;
        }
        let in_session = self.in_session.entry(connection).or_default();
        *in_session += 1;
        self.refusals.push_back(now);
        self.refusals.retain(|at| now - *at < HOUR);
        let refused = self.answers.iter().filter(|(_, refused)| *refused).count();
        if *in_session >= 3 {
            self.banned = Some("3 in a session");
        } else if self.refusals.len() >= 25 {
            self.banned = Some("25 in an hour");
        } else if self.answers.len() > 5 && refused * 2 >= self.answers.len() {
            self.banned = Some("half of a minute's");
        }
    }

    fn answer(&mut self, heard: &Heard<'_>) -> Option<Act> {
        let rcpt = heard.rcpt()?;
        let now = Instant::now();
        if self.banned.is_some() {
            return Some(say("554 5.7.1 Client host blocked"));
        }
        if heard.connection == 0 {
            return Some(say("450 4.3.2 Service currently unavailable"));
        }
        let first = *self.first_seen.entry(rcpt.to_owned()).or_insert(now);
        if now - first < 5 * MINUTE {
            return Some(say("451 4.7.1 Greylisted, please come back in five minutes"));
        }
        let refused = !rcpt.starts_with("user");
        self.judge(heard.connection, refused);
        refused.then(|| say("550 5.1.1 User unknown"))
    }
}

/// One host: so many living and dead recipients, in domains of ten.
struct Host {
    living: usize,
    dead: usize,
}

impl Host {
    fn addresses(&self, number: usize) -> Vec<String> {
        let all = self.living + self.dead;
        // The dead ones are spread evenly.
        let dead = |n: usize| (n + 1) * self.dead / all > n * self.dead / all;
        let name = |n: usize| if dead(n) { "nobody" } else { "user" };
        let domains = all.div_ceil(50);
        (0..all)
            .map(|n| format!("{}{n}@d{}.h{number}.test", name(n), n % domains))
            .collect()
    }

    /// No scheduler that keeps the budgets can be done sooner: the most demanding one alone.
    fn bound(&self, limits: &Limits) -> Duration {
        let count = |number: usize| u32::try_from(number).unwrap();
        // Everybody is asked about twice, after a session that brings nothing.
        let asked = 2 * (self.living + self.dead);
        let sessions = 1 + asked.div_ceil(limits.recipients_per_session as usize);
        let pace = (limits.gap * count(asked)).max(limits.reconnect * count(sessions - 1));
        // The first word about anybody comes after the test and the first step of the ladder.
        let first = limits.reconnect + 6 * MINUTE;
        let last = count(self.dead).saturating_sub(1);
        let hours = HOUR * (last / limits.refusals_per_hour);
        let minutes = MINUTE * (last % limits.refusals_per_hour / limits.refusals_per_minute);
        let breaks = limits.reconnect * (last / limits.refusals_per_session);
        pace.max(first + breaks.max(hours + minutes))
    }
}

#[tokio::test(start_paused = true)]
async fn strict_hosts_never_ban_and_wait_hardly_longer_than_the_budgets_demand() {
    let hosts = [
        // A clean list: sessions and recipients bind.
        Host { living: 600, dead: 3 },
        // A usual one: the hour binds.
        Host { living: 360, dead: 40 },
        // A bad one: the hour and the pause at 40 % bind.
        Host { living: 60, dead: 90 },
        // A small one: greylisting and the minute bind.
        Host { living: 12, dead: 12 },
    ];
    let start = Instant::now();
    let memories: Vec<Arc<Mutex<Memory>>> = hosts.iter().map(|_| Arc::default()).collect();
    let nets = memories.iter().enumerate().map(|(number, memory)| {
        let memory = Arc::clone(memory);
        let net = FakeNet::new("", move |heard| memory.lock().unwrap().answer(heard));
        (format!("127.9.{number}.1").parse().unwrap(), net)
    });
    let world = World::new(nets.collect());
    let lists: Vec<Vec<String>> = (0..).zip(&hosts).map(|(number, host)| host.addresses(number)).collect();
    let findings = world.ask(manners(), &lists).await;
    for (number, ((host, memory), list)) in hosts.iter().zip(&memories).zip(&lists).enumerate() {
        assert_eq!(memory.lock().unwrap().banned, None, "host {number}");
        for address in list {
            let verdict = judge(&findings[address].evidence, &Policy::default());
            let expected = if address.starts_with("user") {
                Label::Valid
            } else {
                Label::Invalid
            };
            assert_eq!(verdict.label, expected, "{address}: {:?}", verdict.reason);
        }
        let (last, _) = world.net(number).recipients().pop().unwrap();
        let (took, bound) = (last - start, host.bound(&Limits::POLITE));
        let ratio = took.as_secs_f64() / bound.as_secs_f64();
        println!("host {number}: {took:?}, the budgets demand {bound:?}: {ratio:.3}");
        assert!(
            (1.0..=1.15).contains(&ratio),
            "host {number}: {took:?} of {bound:?}: {ratio:.3}"
        );
    }
}
