//! What the replies of a session lead to: observations, the control recipient, and what must be asked again.

use std::{collections::VecDeque, sync::Arc};

use tokio::time::Instant;

use super::{
    domain::{Observation, Tracked, vague_refusal},
    open::observe,
    plan::{Ask, ControlAnswer, ControlNeed, Piece, Sentinel, Trip},
    probe::{Conversation, Trial, V6, asked},
    shapes::{Shapes, needs_other, other_shape, together},
    signals::{Temper, asks_for_another_session, control_answer, is_about_our_address, is_first_session_test, trips},
};
use crate::{
    address::Address,
    replies::Class,
    smtp::{Ended, Reply, Stage},
    verdict::{Answer, Observed, ProbeFailure},
};

impl Conversation<'_> {
    /// Takes a reply to RCPT, after `accepted` others in the transaction. Gives the question back when it must be put in
    /// another transaction or session.
    pub(super) fn answered(&mut self, slice: usize, ask: Ask, reply: Reply, accepted: usize) -> Option<Ask> {
        self.recipients_left = self.recipients_left.saturating_sub(1);
        let refused = reply.code().is_permanent();
        let answer = self.understood(reply);
        let class = answer.meaning.class;
        if class == Class::TooManyRecipients && accepted > 0 {
            // RFC 5321 section 4.5.3.1.10: the rest goes into another transaction.
            self.per_transaction = self.per_transaction.min(accepted);
            return Some(ask);
        }
        if self.trial != Trial::Over && !self.spoke && is_first_session_test(&answer) {
            // No answer about anybody: all go into the session that the host wants to see, uncounted.
            self.trial = Trial::Met;
            return Some(ask);
        }
        if self.is_unwelcome(&answer) {
            // The refusal counts towards the budget, and says nothing about anybody.
            self.answers.push(refused);
            return Some(ask);
        }
        self.spoke = true;
        if refused || answer.reply.code().is_positive() {
            self.answers.push(refused);
        }
        if refused {
            self.refusals_left = self.refusals_left.saturating_sub(1);
        }
        if trips(&answer) && (!self.group.trusted || answer.reply.code().number() == 421) {
            self.trip = Some(Trip {
                host: Some(Arc::clone(&self.host)),
                answer: Arc::clone(&answer),
            });
        }
        let throttled = self.temper > Temper::Calm;
        self.temper = self.temper.max(Temper::shown_by(class));
        if let Ask::Sentinel(_) = ask {
            self.sentinel = Some(match answer.reply.code() {
                code if code.is_positive() => Sentinel::Accepted,
                code if code.is_permanent() => Sentinel::Refused,
                _ => Sentinel::Open,
            });
        }
        let progress = self.slices.get_mut(slice)?;
        match ask {
            Ask::Sentinel(_) => {}
            Ask::Control(_) if throttled => self.control_undetermined(slice),
            Ask::Control(_) => self.control_answered(slice, &answer),
            Ask::Target(tracked) => {
                progress.open = progress.open.saturating_sub(1);
                let unknown = !throttled && class == Class::UserUnknown && answer.meaning.dead_recipient().is_some();
                progress.accepted |= answer.reply.code().is_positive();
                progress.refused_unknown |= unknown;
                progress.unproven = answer.reply.code().is_positive() || (progress.unproven && !unknown);
                self.keep(slice, tracked, Observed::Known(answer), throttled);
                self.ask_control_if_due(slice);
            }
        }
        None
    }

    /// Whether the first thing the host says of a recipient or the reverse-path is that it does not want us over IPv6
    /// (HOSTILE S15).
    fn is_unwelcome(&mut self, answer: &Answer) -> bool {
        if self.v6 == V6::MayLeave && !self.spoke && is_about_our_address(answer) {
            self.v6 = V6::Unwelcome;
        }
        self.v6 == V6::Unwelcome && is_about_our_address(answer)
    }

    /// The answer that a reply to RCPT is; equal replies are one.
    fn understood(&mut self, reply: Reply) -> Arc<Answer> {
        if let Some(last) = self.last.as_ref().filter(|last| last.reply == reply) {
            return Arc::clone(last);
        }
        let stage = Stage::Rcpt;
        let meaning = self.shared.classify(stage, &reply, self.host.provider);
        let answer = Arc::new(Answer { stage, reply, meaning });
        if answer.reply.code().is_positive() {
            self.last = Some(Arc::clone(&answer));
        }
        answer
    }

    /// Files an answer, or puts the target back when a new session may bring one.
    fn keep(&mut self, slice: usize, tracked: Tracked, answer: Observed<Arc<Answer>, ProbeFailure>, throttled: bool) {
        let now = Instant::now();
        let observation = Observation {
            host: Some(Arc::clone(&self.host)),
            second: None,
            throttled,
            elapsed: now - self.started,
            transcripts: None,
            answer,
        };
        let Some(progress) = self.slices.get_mut(slice) else {
            return;
        };
        let mut tracked = asked(tracked, now);
        if !tracked.requeued && asks_for_another_session(&observation) {
            tracked.requeued = true;
            progress.report.again.push(tracked);
        } else {
            progress.report.answered.push((tracked, observation));
        }
    }

    /// Takes what was said of a control recipient, and asks about the other shape if that needs it.
    fn control_answered(&mut self, index: usize, answer: &Answer) {
        let Some(progress) = self.slices.get_mut(index) else {
            return;
        };
        let report = &mut progress.report;
        let said = control_answer(answer);
        let first = progress.first_shape.take();
        report.control_words = vague_refusal(answer);
        if let Some(first) = first
            && let Some(name) = needs_other(said, answer)
            && let Some(other) = other_shape(&first)
        {
            report.control_name = Some(name);
            // Who wants the control recipient in a session of its own wants both so.
            if !self.group.control_apart {
                self.ask_control(index, other);
            }
        } else {
            report.control = report.control_name.map_or(said, |name| together(name, said));
        }
    }

    /// Asks about the control recipient once a slice is through, if its domain still needs that.
    pub(super) fn ask_control_if_due(&mut self, index: usize) {
        let Some(progress) = self.slices.get_mut(index) else {
            return;
        };
        let due = match progress.report.need {
            ControlNeed::No => false,
            ControlNeed::IfAccepted => progress.accepted && !progress.refused_unknown,
            ControlNeed::AfterLast => progress.unproven,
            ControlNeed::Yes => true,
        };
        if progress.open > 0 || !due || self.host.untruthful {
            return;
        }
        if let Some(Shapes { now, two, name }) = progress.control.take() {
            progress.first_shape = two.then(|| now.clone());
            progress.report.control_name = name;
            self.ask_control(index, now);
        }
    }

    fn ask_control(&mut self, slice: usize, address: Address) {
        self.queue.push_back(Piece {
            slice,
            smtputf8: false,
            asks: VecDeque::from([Ask::Control(address)]),
        });
    }

    /// MAIL FROM was refused: it is about us, and the same for every recipient of this session.
    pub(super) fn mail_refused(&mut self, piece: Piece, reply: Reply) {
        let stage = Stage::Mail;
        let meaning = self.shared.classify(stage, &reply, self.host.provider);
        let answer = Arc::new(Answer { stage, reply, meaning });
        if self.is_unwelcome(&answer) {
            return self.put_back(piece);
        }
        if trips(&answer) {
            self.trip = Some(Trip {
                host: Some(Arc::clone(&self.host)),
                answer: Arc::clone(&answer),
            });
        }
        let others = if piece.smtputf8 {
            VecDeque::new()
        } else {
            std::mem::take(&mut self.queue)
        };
        let affected = std::iter::once(piece).chain(others);
        for piece in affected {
            for ask in piece.asks {
                match ask {
                    Ask::Target(tracked) => {
                        self.keep(piece.slice, tracked, Observed::Known(Arc::clone(&answer)), false);
                    }
                    Ask::Control(_) => self.control_undetermined(piece.slice),
                    Ask::Sentinel(_) => {}
                }
            }
        }
    }

    pub(super) fn fail_all(&mut self, piece: Piece, failure: ProbeFailure) {
        for ask in piece.asks {
            match ask {
                Ask::Target(tracked) => {
                    if let Some(progress) = self.slices.get_mut(piece.slice) {
                        progress.open = progress.open.saturating_sub(1);
                    }
                    self.keep(piece.slice, tracked, Observed::Failed(failure), false);
                }
                Ask::Control(_) => self.control_undetermined(piece.slice),
                Ask::Sentinel(_) => {}
            }
        }
        self.ask_control_if_due(piece.slice);
    }

    fn control_undetermined(&mut self, slice: usize) {
        if let Some(progress) = self.slices.get_mut(slice) {
            progress.report.control = ControlAnswer::Undetermined { retry: true };
        }
    }

    /// The question at the front got no answer because the session ended; the others were not asked at all.
    pub(super) fn lose_first(&mut self, piece: &mut Piece) {
        let first = piece.split_off_front(1);
        self.lose(first);
    }

    /// These questions were on their way when the session ended.
    pub(super) fn lose(&mut self, piece: Piece) {
        if self.deaf || self.shared.stopping() {
            // That the host does not listen to bursts, or that we hurry, says nothing about the recipients.
            return self.put_back(piece);
        }
        let failure = self.void.unwrap_or(ProbeFailure::ConnectionLost);
        self.fail_all(piece, failure);
    }

    pub(super) fn put_back(&mut self, piece: Piece) {
        if !piece.asks.is_empty() {
            self.queue.push_front(piece);
        }
    }

    /// The session ended by itself; remembers why for those whose answer is missing.
    pub(super) fn ended(&mut self, ended: Ended) {
        self.transcripts.extend(ended.transcript.clone().map(Arc::new));
        let stage = ended.stage;
        match observe(ended, Some(&self.host), self.shared) {
            Observed::Failed(failure) => self.void = Some(failure),
            Observed::Known(answer) if trips(&answer) => {
                self.trip = Some(Trip {
                    host: Some(Arc::clone(&self.host)),
                    answer,
                });
                self.void = Some(ProbeFailure::ConnectionLost);
            }
            Observed::Known(_) | Observed::NotTried(_) => {
                tracing::debug!(?stage, "the host ended the session");
                self.void = Some(ProbeFailure::ConnectionLost);
            }
        }
    }
}
