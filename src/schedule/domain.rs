//! What is known about one domain during a run: its targets, their observations, and whether it refuses unknown recipients.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::{
    guard::Tally,
    memory::{Before, Begun, Times},
    plan::ControlAnswer,
    scheduler::Run,
    shapes::name_of_nobody,
    work::Work,
};
use crate::{
    address::{Address, Domain},
    dns::MailRoute,
    replies::{Class, Confidence, fingerprint},
    smtp::{Stage, Transcript},
    store::{Kept, stable_hash},
    verdict::{
        Answer, Evidence, HostFacts, NotTried, Observed, ProbeFailure, Reason, SecondAnswer, SessionDoubt,
        UnknownRecipients,
    },
};

/// Refusals of one domain with the same words, and nobody accepted, from which on the words prove nothing unless they are
/// certain by themselves (HOSTILE R11: a tenant whose directory is not in sync refuses everybody).
const BLANKET: usize = 3;

/// One address to ask about.
#[derive(Debug, Clone)]
pub struct Target {
    /// The caller's number for it.
    pub id: u32,
    /// The address.
    pub address: Address,
    /// What an earlier run left: its answer, or when to ask again.
    pub history: Option<Box<Kept>>,
}

/// A target with its history.
#[derive(Debug)]
pub(super) struct Tracked {
    pub(super) target: Target,
    /// How many times it was asked about.
    pub(super) attempts: u32,
    /// Whether it was put back at once already, after a lost connection.
    pub(super) requeued: bool,
    /// When it was asked about for the first time.
    pub(super) first_asked: Option<Instant>,
    /// What one host said of it, while another of the same preference is asked.
    pub(super) before: Option<Box<Observation>>,
}

/// What one attempt observed.
#[derive(Debug, Clone)]
pub(super) struct Observation {
    pub(super) host: Option<Arc<HostFacts>>,
    pub(super) answer: Observed<Arc<Answer>, ProbeFailure>,
    /// What another host of the same preference said against it.
    pub(super) second: Option<Arc<SecondAnswer>>,
    /// A rate reply came earlier in the session, or a harvest reply at any time of it: the answer proves nothing.
    pub(super) throttled: bool,
    pub(super) elapsed: Duration,
    /// Empty until its session is over, and when dialogues are not kept.
    pub(super) transcripts: Option<Arc<[Arc<Transcript>]>>,
}

impl Observation {
    /// Nobody asked.
    pub(super) fn not_tried(why: NotTried) -> Self {
        Self {
            host: None,
            answer: Observed::NotTried(why),
            second: None,
            throttled: false,
            elapsed: Duration::ZERO,
            transcripts: None,
        }
    }

    pub(super) fn known(&self) -> Option<&Arc<Answer>> {
        self.answer.known()
    }

    pub(super) fn accepted(&self) -> bool {
        self.known()
            .is_some_and(|answer| answer.stage == Stage::Rcpt && answer.reply.code().is_positive())
    }

    /// A refusal that says "no such mailbox" and nothing else.
    fn proves_refusing(&self) -> bool {
        let dead = |answer: &Arc<Answer>| {
            answer.meaning.class == Class::UserUnknown && answer.meaning.dead_recipient().is_some()
        };
        !self.throttled && self.known().is_some_and(dead)
    }
}

/// The random recipient that should not exist. It stays the same for the whole run: greylisting keys on it.
#[derive(Debug)]
pub(super) struct Control {
    pub(super) address: Option<Address>,
    pub(super) attempts: u32,
    pub(super) first_asked: Option<Instant>,
    pub(super) phase: Phase,
    /// What the name was answered, while the other shape is open.
    pub(super) name: Option<UnknownRecipients>,
    /// The last answer was undetermined, and another day may bring a better one.
    pub(super) may_mend: bool,
    /// Enough recipients were accepted since the last answer that it must be asked again.
    pub(super) recheck: bool,
    /// The words of its last refusal that proves nothing by itself.
    pub(super) refusal: Option<u64>,
    /// A later run may ask it then: this one does not wait so long.
    pub(super) left_until: Option<Instant>,
    /// This run asks it no more.
    pub(super) given_up: bool,
}

impl Control {
    /// In a job it follows from the job's name and the domain: a run that was killed before it could write down whom it asked
    /// about asks about the same recipient again.
    pub(super) fn new(domain: &Domain, job: Option<&str>) -> Self {
        let number = match job {
            Some(job) => stable_hash(domain.as_str().as_bytes(), stable_hash(job.as_bytes(), 0)),
            None => rand::random(),
        };
        Self {
            address: Address::control(&name_of_nobody(number), domain),
            attempts: 0,
            first_asked: None,
            phase: Phase::Idle,
            name: None,
            may_mend: false,
            recheck: false,
            refusal: None,
            left_until: None,
            given_up: false,
        }
    }

    /// Asks no more in this run; a question that waits is left to the next one.
    pub(super) fn give_up(&mut self, now: Instant) {
        self.given_up = true;
        match self.phase {
            Phase::Waits(due) => self.left_until = Some(due),
            Phase::Due => self.left_until = Some(now),
            Phase::InFlight => return,
            Phase::Idle => {}
        }
        self.phase = Phase::Idle;
    }
}

/// Whether hosts of the same preference were compared by what they say of a recipient (HOSTILE S14).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hosts {
    NotCompared,
    Compared,
    /// One refused whom another accepts: refusals prove nothing.
    Disagree,
}

/// What is being done about the control recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Idle,
    /// A session may be asking.
    InFlight,
    /// It may be asked again then, after an undetermined answer.
    Waits(Instant),
    /// Its time came; the next session asks.
    Due,
}

/// A target that waits for its next attempt.
#[derive(Debug)]
pub(super) struct Delayed {
    pub(super) due: Instant,
    pub(super) tracked: Tracked,
}

/// One domain.
pub(super) struct DomainState {
    /// Who wants to know. Another run that asks about the same domain has a state of its own.
    pub(super) run: Arc<Run>,
    pub(super) name: Domain,
    pub(super) route: Arc<MailRoute>,
    /// Every name beside it has this route.
    pub(super) wildcard_zone: bool,
    /// Which lane of the group serves it.
    pub(super) lane: usize,
    pub(super) waiting: VecDeque<Tracked>,
    pub(super) delayed: Vec<Delayed>,
    pub(super) done: Vec<(Tracked, Observation)>,
    /// One who was refused, and about whom another host of the same preference is to be asked.
    pub(super) second: Option<Box<(Tracked, Observation)>>,
    /// Whether that was done, and what it showed.
    pub(super) hosts: Hosts,
    pub(super) in_flight: usize,
    pub(super) unknown: Observed<UnknownRecipients, Stage>,
    pub(super) control: Control,
    pub(super) accepted_since_control: u32,
    /// Acceptances after which the control recipient is asked about again.
    recheck_accepts: u32,
    /// Somebody was accepted after the last answer that showed that strangers are refused.
    unproven: bool,
    /// What stands behind `unknown`.
    shown: Shown,
    /// A host whose word counts accepted somebody.
    pub(super) accepted: bool,
    /// Vague refusals wait for the proof that the host still accepts somebody, see `ban`.
    pub(super) held: Option<Held>,
    /// What was answered here, earlier runs included.
    pub(super) tally: Tally,
}

/// What shows what a domain's host does with unknown recipients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// Answers about recipients, as far as it is known.
    ByRecipients,
    /// An answer about the control recipient.
    ByControl,
    /// The same, which another run asked about.
    Before,
}

/// What of a domain waits for that proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    /// Every done target from there on.
    pub(super) from: usize,
    /// Those too whose refusals are certain by their words.
    pub(super) certain: bool,
    /// The control recipient too.
    pub(super) control: bool,
}

impl DomainState {
    pub(super) fn new(work: Work<Vec<Target>>, run: Arc<Run>, lane: usize, recheck_accepts: u32, times: Times) -> Self {
        let begun = Begun {
            times,
            max_wait: run.manners.max_wait,
            job: run.ledger.as_ref().map(|ledger| ledger.lease().id.as_str()),
        };
        let Work {
            domain,
            route,
            wildcard_zone,
            targets,
            memory,
        } = work;
        let control = match &memory {
            Some(memory) => Control::recall(memory, &domain, &begun),
            None => Control::new(&domain, begun.job),
        };
        let mut state = Self {
            run,
            name: domain,
            route,
            wildcard_zone,
            lane,
            waiting: VecDeque::with_capacity(targets.len()),
            delayed: Vec::new(),
            done: Vec::new(),
            second: None,
            hosts: Hosts::NotCompared,
            in_flight: 0,
            unknown: Observed::NotTried(NotTried::NotNeeded),
            control,
            accepted_since_control: 0,
            recheck_accepts,
            unproven: false,
            shown: Shown::ByRecipients,
            accepted: false,
            held: None,
            tally: Tally::default(),
        };
        for target in targets {
            match Before::of(target, times) {
                Before::Waiting(tracked) => state.waiting.push_back(tracked),
                Before::Delayed(tracked, due) => state.delayed.push(Delayed { due, tracked }),
                Before::Answered(tracked, observation) => state.settle(tracked, observation),
            }
        }
        if let Some(memory) = memory {
            state.control.recheck = memory.recheck;
            state.accepted |= memory.accepted;
            state.accepted_since_control = memory.accepted_since_control;
            if !matches!(memory.unknown, Observed::NotTried(_)) {
                // What a job knows of its own control recipient it counted.
                let before = memory.attempts == 0 && memory.unknown.known().is_some();
                state.shown = if before { Shown::Before } else { Shown::ByControl };
                state.unknown = memory.unknown;
                state.unproven &= !before;
            }
        }
        state
    }

    /// Keeps an observation that is final for this run.
    pub(super) fn settle(&mut self, tracked: Tracked, observation: Observation) {
        if observation.second.is_some() {
            self.hosts_disagree();
        }
        if observation.accepted() {
            self.accepted_since_control = self.accepted_since_control.saturating_add(1);
            self.accepted |= !observation.host.as_ref().is_some_and(|host| host.untruthful);
            self.unproven = true;
            if self.accepted_since_control >= self.recheck_accepts {
                self.control.recheck = true;
            }
        } else if observation.proves_refusing() && self.hosts != Hosts::Disagree {
            self.unproven = false;
            if self.unknown.known().is_none() {
                self.unknown = Observed::Known(UnknownRecipients::Refused);
                self.shown = Shown::ByRecipients;
            }
        }
        self.done.push((tracked, observation));
    }

    /// A host refused whom another accepts: that somebody was refused does not show any more that strangers are.
    pub(super) fn hosts_disagree(&mut self) {
        self.hosts = Hosts::Disagree;
        if self.control.attempts == 0 && self.unknown.known() == Some(&UnknownRecipients::Refused) {
            self.unknown = Observed::NotTried(NotTried::NotNeeded);
        }
    }

    /// A session could ask something now.
    pub(super) fn has_questions(&self) -> bool {
        !self.waiting.is_empty() || self.second.is_some() || self.wants_control()
    }

    /// Keeps what the control recipient was answered.
    pub(super) fn settle_control(&mut self, answer: ControlAnswer, words: Option<u64>) {
        self.control.refusal = words;
        // A check that stayed open does not undo what was shown before, and must not be repeated at every acceptance.
        self.accepted_since_control = 0;
        self.unproven = false;
        self.control.recheck = false;
        let answer = match answer {
            ControlAnswer::Known(answer) => answer,
            ControlAnswer::Undetermined { retry } => {
                self.control.may_mend = retry;
                if self.unknown.known().is_none() {
                    self.unknown = Observed::Failed(Stage::Rcpt);
                }
                return;
            }
            ControlAnswer::NotAsked => return,
        };
        self.shown = Shown::ByControl;
        let before = self.unknown.known().copied();
        let flipped = before.is_some_and(|before| before != answer);
        self.unknown = Observed::Known(if flipped {
            UnknownRecipients::Contradictory
        } else {
            answer
        });
    }

    /// Keeps an answer about the control recipient; when it is to be asked about again, if this run waits so long.
    pub(super) fn absorb_control(
        &mut self,
        answer: ControlAnswer,
        words: Option<u64>,
        now: Instant,
    ) -> Option<Instant> {
        self.control.attempts = self.control.attempts.saturating_add(1);
        let first = *self.control.first_asked.get_or_insert(now);
        self.settle_control(answer, words);
        self.control.left_until = None;
        let open = matches!(answer, ControlAnswer::Undetermined { retry: true }) && self.is_open();
        let manners = &self.run.manners;
        let steps = manners.ladder.steps(Reason::CatchAllUndetermined).unwrap_or_default();
        let step = steps.get(self.control.attempts as usize - 1).filter(|_| open)?;
        let due = (first + *step).max(now);
        if due - now <= manners.max_wait && !self.control.given_up {
            self.control.phase = Phase::Waits(due);
            Some(due)
        } else {
            self.control.left_until = Some(due);
            None
        }
    }

    /// What another run found out about the domain's host, unless this one knows it.
    pub(super) fn learn(&mut self, unknown: UnknownRecipients) {
        if self.unknown.known().is_none() {
            self.unknown = Observed::Known(unknown);
            self.shown = Shown::Before;
        }
    }

    /// What the host does with unknown recipients, as far as a later run may build on it: that one recipient is unknown shows
    /// it to those only who ask about others in the same breath.
    pub(super) fn known_for_good(&self) -> Observed<UnknownRecipients, Stage> {
        match (self.shown, &self.unknown) {
            (Shown::ByRecipients, Observed::Known(_)) => Observed::NotTried(NotTried::NotNeeded),
            (Shown::ByRecipients | Shown::ByControl | Shown::Before, unknown) => unknown.clone(),
        }
    }

    /// Whether the last who are accepted must be followed by a stranger who is refused: a host may refuse some and then take
    /// everybody (HOSTILE R21). What another run found out stands for its week.
    pub(super) fn checks_last(&self) -> bool {
        let open = match &self.unknown {
            Observed::Known(known) => *known == UnknownRecipients::Refused && self.shown != Shown::Before,
            Observed::NotTried(_) => true,
            Observed::Failed(_) => false,
        };
        open && self.waiting.is_empty() && self.delayed.is_empty() && self.second.is_none()
    }

    /// Whether it is still open what the host does with unknown recipients. One that takes everything is asked nothing more, so
    /// a check that became due in the meantime would wait for ever.
    pub(super) fn is_open(&self) -> bool {
        self.unknown.known().is_none() || self.control.recheck && !self.takes_everything()
    }

    /// Whether the next session should ask about the control recipient: somebody was really accepted, the question is open,
    /// and no undetermined answer waits for its retry or was the last.
    pub(super) fn wants_control(&self) -> bool {
        let possible = match self.control.phase {
            Phase::Due => true,
            // An undetermined answer that waits for nothing is the last word.
            Phase::Idle => self.control.recheck || !matches!(self.unknown, Observed::Failed(_)),
            Phase::InFlight | Phase::Waits(_) => false,
        };
        let control = &self.control;
        let last = self.unproven && self.in_flight == 0 && self.checks_last();
        self.accepted && (self.is_open() || last) && possible && !control.given_up && control.address.is_some()
    }

    /// Targets that wait to be asked about, now or later.
    pub(super) fn left(&self) -> usize {
        self.waiting.len() + self.delayed.len()
    }

    /// Whether nothing is left to ask or to wait for.
    pub(super) fn is_complete(&self) -> bool {
        !self.has_questions()
            && self.delayed.is_empty()
            && self.held.is_none()
            && self.in_flight == 0
            && !matches!(self.control.phase, Phase::InFlight | Phase::Waits(_))
    }

    /// Whether the host was shown to take everything, so that asking about more addresses adds nothing.
    pub(super) fn takes_everything(&self) -> bool {
        self.unknown.known() == Some(&UnknownRecipients::Accepted)
    }

    /// Holds its refusals until the host shows that it still accepts somebody; those already done with, as far as nobody was
    /// accepted after them, if they were `certain`.
    pub(super) fn hold(&mut self, certain: bool, control: bool) {
        let dead = |(_, other): &&(Tracked, Observation)| {
            other
                .known()
                .is_some_and(|answer| answer.meaning.dead_recipient().is_some())
        };
        let mut from = self.done.len();
        if certain {
            from -= self.done.iter().rev().take_while(dead).count();
        }
        let held = self.held.get_or_insert(Held {
            from,
            certain,
            control: false,
        });
        held.from = held.from.min(from);
        held.certain |= certain;
        held.control |= control;
    }

    /// The refusals that wait for a proof will not get it: they are as good as said in anger. Those that are certain by their
    /// words stand where the proof was not `asked` for.
    pub(super) fn doubt_held(&mut self, asked: bool) {
        let Some(Held { from, certain, control }) = self.held.take() else {
            return;
        };
        let certain = certain && asked;
        for (_, observation) in self.done.iter_mut().skip(from) {
            observation.throttled |= observation.known().is_some_and(|answer| {
                vague_refusal(answer).is_some() || certain && answer.meaning.dead_recipient().is_some()
            });
        }
        let refused = self.unknown.known() == Some(&UnknownRecipients::Refused);
        if refused && control {
            self.unknown = Observed::Failed(Stage::Rcpt);
        } else if refused && self.control.attempts == 0 && !self.done.iter().any(|(_, other)| other.proves_refusing()) {
            self.unknown = Observed::NotTried(NotTried::NotNeeded);
        }
    }

    /// Moves every target that waits, for whatever reason, to the done ones.
    pub(super) fn give_up(&mut self, observation: &Observation) {
        self.done.extend(self.second.take().map(|second| *second));
        self.doubt_held(false);
        let delayed = self.delayed.drain(..).map(|delayed| delayed.tracked);
        for tracked in self.waiting.drain(..).chain(delayed) {
            self.done.push((tracked, observation.clone()));
        }
    }

    /// What `found` makes of every done target and the evidence about it. The domain's own facts are added here, when they are
    /// complete: a sentinel that flips late re-opens what looked `valid` before.
    pub(super) fn conclude<T>(&mut self, found: impl Fn(Tracked, Observation, Evidence) -> T) -> Vec<T> {
        let blanket = self.blanket_refusal();
        if blanket.is_some() && self.unknown.known() == Some(&UnknownRecipients::Refused) {
            // The same words for everybody do not show that strangers are told apart.
            self.unknown = Observed::Failed(Stage::Rcpt);
        }
        let done = std::mem::take(&mut self.done);
        let refused_by: HashSet<Arc<str>> = done
            .iter()
            .filter(|(_, observation)| observation.proves_refusing())
            .filter_map(|(_, observation)| Some(Arc::clone(&observation.host.as_ref()?.name)))
            .collect();
        let conclude = |(tracked, observation): (Tracked, Observation)| {
            // That the primary host refuses strangers does not show that its backup does (HOSTILE S13).
            let host = observation.host.as_ref();
            let unproven = self.control.attempts == 0
                && host.is_some_and(|host| host.backup && !refused_by.contains(&host.name))
                && self.unknown.known() == Some(&UnknownRecipients::Refused);
            let evidence = Evidence {
                syntax: None,
                list: None,
                told: None,
                route: Observed::Known(Arc::clone(&self.route)),
                wildcard_zone: self.wildcard_zone,
                host: observation.host.clone(),
                answer: observation.answer.clone(),
                second: observation.second.clone(),
                unknown_recipients: if unproven {
                    Observed::Failed(Stage::Rcpt)
                } else {
                    self.unknown.clone()
                },
                doubt: doubt(&tracked.target.address, &observation, (blanket, self.hosts)),
                attempts: tracked.attempts,
            };
            found(tracked, observation, evidence)
        };
        done.into_iter().map(conclude).collect()
    }

    /// The words with which the host refused everybody, the control recipient included, when it accepted nobody and the words
    /// are not certain by themselves. Somebody accepted shows that it tells recipients apart, and then that a stranger is
    /// refused in the words of his siblings is only natural; a backup host that refused nobody shows nothing.
    fn blanket_refusal(&self) -> Option<u64> {
        let counts = |host: &HostFacts| !host.backup && !host.untruthful;
        let real = |observation: &Observation| observation.accepted() && observation.host.as_deref().is_none_or(counts);
        if self.done.iter().any(|(_, observation)| real(observation)) {
            return None;
        }
        let mut words = self.control.refusal;
        let mut count = usize::from(words.is_some());
        let mut refused_by = HashSet::new();
        let mut backups = HashSet::new();
        for (_, observation) in &self.done {
            let Some(answer) = observation.known() else { continue };
            let host = observation.host.as_deref();
            if observation.accepted() {
                backups.extend(host.map(|host| &*host.name));
            }
            if answer.meaning.dead_recipient().is_some() {
                let these = vague_refusal(answer)?;
                if words.is_some_and(|words| words != these) {
                    return None;
                }
                words = Some(these);
                count += 1;
                refused_by.extend(host.map(|host| &*host.name));
            }
        }
        words.filter(|_| count >= BLANKET && backups.is_disjoint(&refused_by))
    }
}

/// The words of a refusal that would kill its recipient and is not certain by itself.
pub(super) fn vague_refusal(answer: &Answer) -> Option<u64> {
    let vague = answer.meaning.dead_recipient().is_some() && answer.meaning.confidence != Confidence::High;
    vague.then(|| fingerprint(&answer.reply))
}

/// Why the answer about this address proves nothing.
fn doubt(address: &Address, observation: &Observation, (blanket, hosts): (Option<u64>, Hosts)) -> Option<SessionDoubt> {
    let answer = observation.known();
    let traits = address.traits();
    let refused_form = answer.is_some_and(|answer| answer.meaning.class == Class::BadAddressSyntax);
    if observation.throttled {
        Some(SessionDoubt::Throttled)
    } else if refused_form && (traits.smtputf8 || traits.quoted_local) {
        Some(SessionDoubt::UnusualForm)
    } else if hosts == Hosts::Disagree && answer.is_some_and(|answer| answer.meaning.dead_recipient().is_some()) {
        Some(SessionDoubt::Inconsistent)
    } else {
        blanket
            .filter(|words| answer.and_then(|answer| vague_refusal(answer)) == Some(*words))
            .map(|_| SessionDoubt::BlanketRefusal)
    }
}
