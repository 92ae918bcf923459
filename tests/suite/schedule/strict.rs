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

/// One host: so many living and dead recipients, in domains of forty.
struct Host {
    living: usize,
    dead: usize,
}

impl Host {
    fn all(&self) -> usize {
        self.living + self.dead
    }

    /// The dead ones lie evenly in the list.
    fn is_dead(&self, n: usize) -> bool {
        n == 0 || n * self.dead / self.all() > (n - 1) * self.dead / self.all()
    }

    fn addresses(&self, number: usize) -> Vec<String> {
        let name = |n: usize| if self.is_dead(n) { "nobody" } else { "user" };
        (0..self.all())
            .map(|n| format!("{}{n}@d{}.h{number}.test", name(n), n / 40))
            .collect()
    }

    /// No scheduler that keeps the budgets and does not know who is dead can count on being done sooner (one that happens to ask
    /// about a dead one last can be): the most demanding budget alone.
    fn bound(&self, limits: &Limits) -> Duration {
        let count = |number: usize| u32::try_from(number).unwrap();
        // A domain whose mailboxes all exist needs a control recipient.
        let domains: Vec<usize> = (0..self.all()).collect();
        let controls = domains
            .chunks(40)
            .filter(|domain| !domain.iter().any(|n| self.is_dead(*n)));
        let controls = controls.count();
        // Everybody is asked about twice, after a session that brings nothing.
        let asked = 2 * (self.all() + controls);
        let sessions = 1 + asked.div_ceil(limits.recipients_per_session as usize);
        let pace = (limits.gap * count(asked)).max(limits.reconnect * count(sessions - 1));
        // The first word about anybody comes after the test and the first step of the ladder.
        let first = limits.reconnect + 6 * MINUTE;
        // Nobody may be asked about while one more refusal would be too many. Unless most are dead, somebody living is likely to
        // come behind the last dead one, and waits for that.
        let behind = usize::from(2 * (self.dead + controls) < self.all() + controls);
        let refusals = count(self.dead + controls + behind);
        let hours = (refusals - 1) / limits.refusals_per_hour;
        let rest = refusals - hours * limits.refusals_per_hour;
        let minutes = MINUTE * ((rest - 1) / limits.refusals_per_minute);
        let breaks = limits.reconnect * ((rest - 1) / limits.refusals_per_session);
        // They are found as they lie in the list.
        let found = pace * rest / refusals;
        pace.max(HOUR * hours + found.max(first + minutes.max(breaks)))
    }
}

#[tokio::test(start_paused = true)]
async fn strict_hosts_never_ban_and_wait_hardly_longer_than_the_budgets_demand() {
    let hosts = [
        // A clean list: sessions and recipients bind.
        Host { living: 600, dead: 3 },
        // A usual one: the hour binds.
        Host { living: 360, dead: 40 },
        // A bad one: the hour binds, and the pauses at 40 % pass in it.
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
    let mut ratios = Vec::new();
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
        ratios.push(ratio);
    }
    let fast = |ratio: &f64| (1.0..=1.15).contains(ratio);
    assert!(ratios.iter().all(fast), "{ratios:.3?}");
}

/// A strict host at one address.
fn strict() -> FakeNet {
    let memory = Mutex::new(Memory::default());
    FakeNet::new("", move |heard| memory.lock().unwrap().answer(heard))
}

#[tokio::test(start_paused = true)]
async fn the_outlook_comes_true_and_comes_nearer() {
    for host in [Host { living: 360, dead: 40 }, Host { living: 60, dead: 90 }] {
        let world = World::new(vec![("127.9.0.1".parse().unwrap(), strict())]);
        let (mut scheduler, mut receiver) = world.scheduler(manners());
        world
            .work(0, &host.addresses(0), 0)
            .into_iter()
            .for_each(|work| scheduler.add(work));
        let view = scheduler.waiting();
        let start = Instant::now();
        let mut samples = Vec::new();
        {
            let asking = scheduler.finish();
            tokio::pin!(asking);
            let mut tick = tokio::time::interval(5 * MINUTE);
            loop {
                tokio::select! {
                    () = &mut asking => break,
                    _ = tick.tick() => {
                        let Some(critical) = view.critical() else { continue };
                        assert_eq!(&*critical.group, "host 127.9.0.1");
                        let left = critical.done_at.duration_since(std::time::SystemTime::now()).unwrap_or_default();
                        samples.push((start.elapsed(), left));
                    }
                }
            }
        }
        let took = start.elapsed();
        drop(view);
        while receiver.recv().await.is_some() {}
        println!("{} living, {} dead: {took:?}; {samples:?}", host.living, host.dead);
        assert!(samples.len() > 10);
        for (at, left) in &samples[3..] {
            let said = (*at + *left).as_secs_f64() / took.as_secs_f64();
            assert!((0.6..=1.5).contains(&said), "at {at:?} {left:?} were left of {took:?}");
        }
        for hour in samples[3..].windows(13) {
            assert!(hour[12].1 < hour[0].1, "{:?} is no nearer than {:?}", hour[12], hour[0]);
        }
    }
}
