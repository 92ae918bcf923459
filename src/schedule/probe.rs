//! One session with a mail host: many recipients, one domain a transaction, the control recipient after the first real
//! acceptance.

use std::{collections::VecDeque, num::NonZeroU32, sync::Arc};

use tokio::time::Instant;

use super::{
    domain::{Observation, Tracked},
    open::{NotOpened, Opened, Reach, open},
    places::Life,
    plan::{
        Ask, ControlAnswer, ControlNeed, Piece, Sentinel, SessionPlan, SessionReport, SliceReport, Trip, Ways, pieces,
    },
    scheduler::{GroupContext, Shared},
    shapes::Shapes,
    signals::{Temper, trips, voids_session},
};
use crate::{
    address::Address,
    meter::Talk,
    smtp::{Fault, InTransaction, Mail, Ready, Replies, Reply, Session, Transaction, Transcript, Why},
    verdict::{Answer, HostFacts, Observed, ProbeFailure},
};

/// Commands said in one write; their replies must fit a socket's buffers (RFC 2920 section 3.1).
const BURST: u32 = 100;

/// An open session.
pub(super) enum Live {
    Ready(Session<Ready>),
    InTransaction(Session<InTransaction>),
}

/// What is known of one slice while the session runs.
pub(super) struct Progress {
    pub(super) report: SliceReport,
    /// Not asked about yet.
    pub(super) control: Option<Shapes>,
    /// Being asked about, and the other shape is next if its answer needs that.
    pub(super) first_shape: Option<Address>,
    /// Questions not yet answered.
    pub(super) open: usize,
    pub(super) accepted: bool,
    pub(super) refused_unknown: bool,
    /// The last who was accepted was not followed by one who is unknown.
    pub(super) unproven: bool,
}

/// A host's test of our first session with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trial {
    /// It has not happened, and may.
    MayCome,
    /// It happens: this session brings no answers, the next one does.
    Met,
    /// It was in a session before; once is enough.
    Over,
}

/// Whether a refusal leads to another session over IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum V6 {
    /// The session is over IPv4, or there is nothing else.
    Stays,
    /// The hosts have IPv4 addresses.
    MayLeave,
    /// The host does not want us here: nobody was answered, the next session goes over IPv4.
    Unwelcome,
}

/// A running session.
pub(super) struct Conversation<'a> {
    pub(super) shared: &'a Shared,
    pub(super) group: &'a GroupContext,
    pub(super) host: Arc<HostFacts>,
    pub(super) live: Option<Live>,
    pub(super) started: Instant,
    pub(super) slices: Vec<Progress>,
    pub(super) queue: VecDeque<Piece>,
    pub(super) refusals_left: u32,
    pub(super) recipients_left: u32,
    pub(super) resets_left: u32,
    pub(super) mails_left: u32,
    pub(super) per_transaction: usize,
    pub(super) temper: Temper,
    pub(super) lockstep: bool,
    /// The host offers PIPELINING and answered only the start of a burst.
    pub(super) deaf: bool,
    pub(super) trial: Trial,
    pub(super) v6: V6,
    pub(super) answers: Vec<bool>,
    /// A recipient was answered, with whatever.
    pub(super) spoke: bool,
    pub(super) trip: Option<Trip>,
    pub(super) sentinel: Option<Sentinel>,
    /// Nothing this session said counts.
    pub(super) void: Option<ProbeFailure>,
    pub(super) transcripts: Vec<Arc<Transcript>>,
    /// The last answer at RCPT: most hosts accept everybody in the same words.
    pub(super) last: Option<Arc<Answer>>,
}

/// Runs one session to its end. Every target of the plan comes back, answered or not.
pub(super) async fn run(plan: SessionPlan, group: &GroupContext, shared: &Shared) -> SessionReport {
    let place = tokio::select! {
        place = shared.places.take(plan.life, plan.size) => place,
        () = shared.ended() => None,
    };
    let Some(place) = place else {
        return not_started(plan, None);
    };
    tokio::select! {
        () = group.connects.turn() => {}
        () = shared.ended() => return not_started(plan, None),
    }
    let started = Instant::now();
    let reach = Reach {
        exchangers: &plan.exchangers,
        implicit: plan.implicit,
        only_v4: plan.ways.only_v4,
    };
    let opened = tokio::select! {
        opened = open(reach, (group, shared, &place)) => opened,
        // Others may talk; this one gets all the time it needs when it is its turn again.
        () = place.wanted() => return not_started(plan, Some(Life::Silent)),
    };
    match opened {
        Ok(opened) => {
            let talk = Talk::begin(&shared.meter);
            let report = Conversation::new(plan, opened, group, shared, started).run().await;
            drop(talk);
            report
        }
        // What failed because we stopped says nothing about the host.
        Err(_) if shared.over().is_some() => not_started(plan, None),
        Err(failure) => not_opened(plan, failure, started),
    }
}

/// Whether a host that failed so was silent.
fn life_after(failure: Option<ProbeFailure>) -> Life {
    match failure {
        Some(ProbeFailure::Unreachable | ProbeFailure::Timeout | ProbeFailure::Tarpit) => Life::Silent,
        None
        | Some(
            ProbeFailure::Proxy
            | ProbeFailure::ConnectionLost
            | ProbeFailure::Protocol
            | ProbeFailure::Desynchronised
            | ProbeFailure::TlsInjection
            | ProbeFailure::NotSmtp
            | ProbeFailure::Loop
            | ProbeFailure::NeedsSmtpUtf8
            | ProbeFailure::Internal,
        ) => Life::Shown,
    }
}

/// Every target comes back as it was.
fn not_started(plan: SessionPlan, life: Option<Life>) -> SessionReport {
    let slices = plan.slices.into_iter().map(|slice| SliceReport {
        domain: slice.domain,
        answered: Vec::new(),
        again: slice.targets,
        need: slice.need,
        control: ControlAnswer::NotAsked,
        control_name: None,
        control_words: None,
    });
    SessionReport {
        slices: slices.collect(),
        answers: Vec::new(),
        spoke: false,
        trip: None,
        sentinel: None,
        deaf: None,
        ways: Ways::default(),
        life,
    }
}

/// Every target gets the failure; it says nothing about any of them.
fn not_opened(plan: SessionPlan, failure: NotOpened, started: Instant) -> SessionReport {
    let NotOpened {
        host,
        answer,
        transcripts,
    } = failure;
    let transcripts = shared_by_all(transcripts);
    let elapsed = started.elapsed();
    let trip = answer.known().filter(|answer| trips(answer)).map(|answer| Trip {
        host: host.clone(),
        answer: Arc::clone(answer),
    });
    let life = match &answer {
        Observed::Failed(failure) => life_after(Some(*failure)),
        Observed::Known(_) | Observed::NotTried(_) => Life::Shown,
    };
    let observation = Observation {
        host,
        answer,
        second: None,
        throttled: false,
        elapsed,
        transcripts,
    };
    let sentinel = plan.sentinel.map(|_| Sentinel::Open);
    let slices = plan.slices.into_iter().map(|slice| SliceReport {
        domain: slice.domain,
        answered: slice
            .targets
            .into_iter()
            .map(|tracked| (asked(tracked, started), observation.clone()))
            .collect(),
        again: Vec::new(),
        need: slice.need,
        control: if slice.need == ControlNeed::Yes {
            ControlAnswer::Undetermined { retry: true }
        } else {
            ControlAnswer::NotAsked
        },
        control_name: None,
        control_words: None,
    });
    SessionReport {
        slices: slices.collect(),
        answers: Vec::new(),
        spoke: false,
        trip,
        sentinel,
        deaf: None,
        ways: Ways::default(),
        life: Some(life),
    }
}

/// The dialogues of a session for each of its observations.
fn shared_by_all(transcripts: Vec<Arc<Transcript>>) -> Option<Arc<[Arc<Transcript>]>> {
    (!transcripts.is_empty()).then(|| transcripts.into())
}

/// Counts an attempt.
pub(super) fn asked(mut tracked: Tracked, at: Instant) -> Tracked {
    tracked.attempts = tracked.attempts.saturating_add(1);
    tracked.first_asked.get_or_insert(at);
    tracked
}

impl<'a> Conversation<'a> {
    fn new(plan: SessionPlan, opened: Opened, group: &'a GroupContext, shared: &'a Shared, started: Instant) -> Self {
        let Opened {
            session,
            host,
            transcripts,
            may_leave_v6,
        } = opened;
        let limits = &group.limits;
        let offers = session.extensions();
        let mut slices = Vec::with_capacity(plan.slices.len());
        let sentinel = plan.sentinel.is_some();
        let asks = plan.sentinel.map(|address| VecDeque::from([Ask::Sentinel(address)]));
        let mut queue: VecDeque<Piece> = asks.map(Piece::alone).into_iter().collect();
        let domains = offers.rcpt_domain_max.map_or(usize::MAX, |most| most.get() as usize);
        for (index, slice) in plan.slices.into_iter().enumerate() {
            // Domains beyond the host's limit (RFC 9422 section 4.3) are for another session.
            let (targets, again) = if index < domains {
                (slice.targets, Vec::new())
            } else {
                (Vec::new(), slice.targets)
            };
            slices.push(Progress {
                report: SliceReport {
                    domain: slice.domain,
                    answered: Vec::with_capacity(targets.len()),
                    again,
                    need: slice.need,
                    control: ControlAnswer::NotAsked,
                    control_name: None,
                    control_words: None,
                },
                control: slice.control.filter(|_| index < domains),
                first_shape: None,
                open: targets.len(),
                accepted: false,
                refused_unknown: false,
                unproven: false,
            });
            queue.extend(pieces(index, targets));
        }
        let lockstep = plan.ways.lockstep || !limits.pipelining || !offers.pipelining;
        let mut conversation = Self {
            shared,
            group,
            host,
            live: Some(Live::Ready(session)),
            started,
            slices,
            queue,
            refusals_left: plan.refusals,
            recipients_left: limits.recipients_per_session,
            resets_left: limits.resets,
            mails_left: offers.mail_max.map_or(u32::MAX, NonZeroU32::get),
            per_transaction: offers
                .rcpt_max
                .map_or(u32::MAX, NonZeroU32::get)
                .min(limits.recipients_per_transaction)
                .clamp(1, BURST / 2) as usize,
            temper: Temper::Calm,
            lockstep,
            deaf: false,
            trial: if plan.ways.tested { Trial::Over } else { Trial::MayCome },
            v6: if may_leave_v6 { V6::MayLeave } else { V6::Stays },
            answers: Vec::new(),
            spoke: false,
            trip: None,
            sentinel: sentinel.then_some(Sentinel::Open),
            void: None,
            transcripts,
            last: None,
        };
        for index in 0..conversation.slices.len() {
            conversation.ask_control_if_due(index);
        }
        conversation
    }

    async fn run(mut self) -> SessionReport {
        while self.goes_on() && !self.queue.is_empty() {
            if self.lockstep {
                self.one_by_one().await;
            } else {
                self.burst().await;
            }
        }
        self.close().await
    }

    fn goes_on(&self) -> bool {
        self.goes_on_within(self.live.is_some())
    }

    /// One transaction, one command at a time, at the group's pace.
    async fn one_by_one(&mut self) {
        let Some(mut piece) = self.next_piece() else { return };
        let Some(session) = self.reset().await else {
            return self.put_back(piece);
        };
        match session.mail_from(&self.shared.manners.identity, piece.smtputf8).await {
            Err(ended) => {
                self.ended(ended);
                self.lose(piece);
            }
            Ok(Mail::Refused(session, reply)) => {
                self.live = Some(Live::Ready(session));
                self.mail_refused(piece, reply);
            }
            Ok(Mail::Accepted(session)) => {
                let mut session = Some(session);
                let mut accepted = 0;
                while self.goes_on_within(session.is_some()) {
                    let Some(ask) = piece.asks.pop_front() else { break };
                    let Some(open) = session.take() else { break };
                    self.group.questions.turn().await;
                    let began = Instant::now();
                    match open.rcpt_to(ask.address()).await {
                        Ok((open, reply)) => {
                            self.shared.meter.took("recipient", began.elapsed());
                            session = Some(open);
                            let positive = reply.code().is_positive();
                            if let Some(ask) = self.answered(piece.slice, ask, reply, accepted) {
                                piece.asks.push_front(ask);
                                break;
                            }
                            accepted += usize::from(positive);
                        }
                        Err(ended) => {
                            self.ended(ended);
                            piece.asks.push_front(ask);
                            self.lose_first(&mut piece);
                        }
                    }
                }
                self.live = session.map(Live::InTransaction);
                self.put_back(piece);
            }
        }
    }

    /// As [`Self::goes_on`], while the session is out of `live`.
    fn goes_on_within(&self, open: bool) -> bool {
        open && self.trip.is_none()
            && self.trial != Trial::Met
            && self.v6 != V6::Unwelcome
            && self.sentinel != Some(Sentinel::Refused)
            && self.refusals_left > 0
            && self.recipients_left > 0
            && !self.shared.stopping()
    }

    /// Several transactions in one write.
    async fn burst(&mut self) {
        let fresh = matches!(self.live, Some(Live::Ready(_)));
        let mut batch = Vec::new();
        let mut commands = 0;
        while commands < BURST as usize {
            let resets = u32::from(!fresh || !batch.is_empty());
            if resets > self.resets_left || self.mails_left == 0 {
                break;
            }
            let Some(piece) = self.next_piece() else { break };
            self.resets_left -= resets;
            self.mails_left -= 1;
            commands += piece.asks.len() + 2;
            batch.push(piece);
        }
        if batch.is_empty() {
            return self.leave().await;
        }
        let recipients: Vec<Vec<&Address>> = batch
            .iter()
            .map(|piece| piece.asks.iter().map(Ask::address).collect())
            .collect();
        let transactions: Vec<Transaction<'_>> = batch
            .iter()
            .zip(&recipients)
            .map(|(piece, recipients)| Transaction {
                recipients,
                smtputf8: piece.smtputf8,
            })
            .collect();
        let mut replies = Vec::with_capacity(batch.len());
        let identity = &self.shared.manners.identity;
        let began = Instant::now();
        let result = match self.live.take() {
            Some(Live::Ready(session)) => session.burst(identity, &transactions, &mut replies).await,
            Some(Live::InTransaction(session)) => session.burst(identity, &transactions, &mut replies).await,
            None => return batch.into_iter().for_each(|piece| self.put_back(piece)),
        };
        self.shared.meter.took("burst", began.elapsed());
        match result {
            Ok(session) => self.live = Some(Live::InTransaction(session)),
            Err(ended) => {
                // A host that offers PIPELINING and then hears only the first command is spoken to in lockstep (HOSTILE T3).
                self.deaf = matches!(ended.why, Why::Fault(Fault::Timeout | Fault::Tarpit)) && !replies.is_empty();
                self.ended(ended);
            }
        }
        let mut replies = replies.into_iter();
        for piece in batch {
            match replies.next() {
                Some(Replies { mail, rcpt }) if mail.code().is_positive() => self.burst_answered(piece, rcpt),
                Some(Replies { mail, .. }) => self.mail_refused(piece, mail),
                None => self.lose(piece),
            }
        }
    }

    fn burst_answered(&mut self, mut piece: Piece, replies: Vec<Reply>) {
        let mut postponed = VecDeque::new();
        let mut accepted = 0;
        for reply in replies {
            let Some(ask) = piece.asks.pop_front() else { break };
            let positive = reply.code().is_positive();
            postponed.extend(self.answered(piece.slice, ask, reply, accepted));
            accepted += usize::from(positive);
        }
        let unanswered = Piece {
            slice: piece.slice,
            smtputf8: piece.smtputf8,
            asks: piece.asks,
        };
        if !unanswered.asks.is_empty() {
            self.lose(unanswered);
        }
        self.put_back(Piece {
            slice: piece.slice,
            smtputf8: piece.smtputf8,
            asks: postponed,
        });
    }

    /// The next transaction's questions, within what the host takes in one.
    fn next_piece(&mut self) -> Option<Piece> {
        let most = self.per_transaction.min(self.recipients_left as usize).max(1);
        loop {
            let piece = self.queue.front_mut()?;
            let part = piece.split_off_front(most);
            if piece.asks.is_empty() {
                self.queue.pop_front();
            }
            if part.smtputf8 && !self.offers_smtputf8() {
                self.fail_all(part, ProbeFailure::NeedsSmtpUtf8);
                continue;
            }
            return Some(part);
        }
    }

    fn offers_smtputf8(&self) -> bool {
        match &self.live {
            Some(Live::Ready(session)) => session.extensions().smtputf8,
            Some(Live::InTransaction(session)) => session.extensions().smtputf8,
            None => true,
        }
    }

    /// A session outside a transaction, for the next one; `None` when it is over.
    async fn reset(&mut self) -> Option<Session<Ready>> {
        let live = self.live.take()?;
        let used_up = self.mails_left == 0 || (self.resets_left == 0 && matches!(live, Live::InTransaction(_)));
        if used_up {
            self.live = Some(live);
            self.leave().await;
            return None;
        }
        self.mails_left -= 1;
        match live {
            Live::Ready(session) => Some(session),
            Live::InTransaction(session) => {
                self.resets_left -= 1;
                match session.rset().await {
                    Ok(session) => Some(session),
                    Err(ended) => {
                        self.ended(ended);
                        None
                    }
                }
            }
        }
    }

    /// Says QUIT; what is still in the queue is for another session.
    async fn leave(&mut self) {
        let left = match self.live.take() {
            Some(Live::Ready(session)) => session.quit().await,
            Some(Live::InTransaction(session)) => session.quit().await,
            None => return,
        };
        match left {
            Ok(transcript) => self.transcripts.extend(transcript.map(Arc::new)),
            Err(ended) => self.ended(ended),
        }
    }

    async fn close(mut self) -> SessionReport {
        self.leave().await;
        for piece in std::mem::take(&mut self.queue) {
            let Some(progress) = self.slices.get_mut(piece.slice) else {
                continue;
            };
            for ask in piece.asks {
                match ask {
                    Ask::Target(tracked) => progress.report.again.push(tracked),
                    Ask::Control(_) | Ask::Sentinel(_) => {}
                }
            }
        }
        let transcripts = shared_by_all(self.transcripts);
        let doubt = self.void.filter(|failure| voids_session(*failure));
        let harvest = self.temper == Temper::Harvest;
        let mut slices: Vec<SliceReport> = self.slices.into_iter().map(|progress| progress.report).collect();
        for slice in &mut slices {
            let asked = slice.control != ControlAnswer::NotAsked || slice.control_name.is_some();
            if (doubt.is_some() || harvest) && asked {
                slice.control = ControlAnswer::Undetermined { retry: true };
                slice.control_name = None;
                slice.control_words = None;
            }
            for (_, observation) in &mut slice.answered {
                observation.transcripts.clone_from(&transcripts);
                observation.throttled |= harvest;
                if let Some(failure) = doubt {
                    observation.answer = Observed::Failed(failure);
                }
            }
        }
        SessionReport {
            slices,
            answers: self.answers,
            spoke: self.spoke,
            trip: self.trip,
            sentinel: self.sentinel,
            deaf: self.deaf.then(|| Arc::clone(&self.host.name)),
            ways: Ways {
                lockstep: self.deaf,
                tested: self.trial == Trial::Met,
                only_v4: self.v6 == V6::Unwelcome,
            },
            life: Some(life_after(self.void)),
        }
    }
}
