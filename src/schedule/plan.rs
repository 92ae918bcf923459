//! What a session is to ask, and what it brings back.

use std::{collections::VecDeque, sync::Arc};

use super::{
    domain::{Observation, Tracked},
    places::Life,
    shapes::Shapes,
};
use crate::{
    address::Address,
    dns::Exchanger,
    verdict::{Answer, HostFacts, UnknownRecipients},
};

/// One session: where to, and about whom.
pub(super) struct SessionPlan {
    pub(super) exchangers: Arc<[Exchanger]>,
    /// The only exchanger is an implicit MX.
    pub(super) implicit: bool,
    pub(super) slices: Vec<Slice>,
    /// Somebody who was accepted before, asked about first (HOSTILE R22).
    pub(super) sentinel: Option<Address>,
    /// Refused recipients after which the session ends.
    pub(super) refusals: u32,
    pub(super) ways: Ways,
    /// What the group has shown of itself.
    pub(super) life: Life,
    /// How many targets the group has left.
    pub(super) size: usize,
}

/// What hosts have shown of how they want to be spoken to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ways {
    /// They answer only the first command of a burst (HOSTILE T3).
    pub(super) lockstep: bool,
    /// They have put us to their first-session test.
    pub(super) tested: bool,
    /// They do not want us over IPv6, and can be reached over IPv4 (HOSTILE S15).
    pub(super) only_v4: bool,
}

impl Ways {
    /// Takes in what a session showed.
    pub(super) fn learn(&mut self, shown: Self) {
        self.lockstep |= shown.lockstep;
        self.tested |= shown.tested;
        self.only_v4 |= shown.only_v4;
    }
}

/// What a session asks about one domain.
pub(super) struct Slice {
    /// The domain's number within its group.
    pub(super) domain: usize,
    pub(super) targets: Vec<Tracked>,
    pub(super) control: Option<Shapes>,
    pub(super) need: ControlNeed,
}

/// Whether the session must ask about the control recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ControlNeed {
    /// It is known what the host does with unknown recipients.
    No,
    /// If this session is the first that sees a recipient accepted, and none refused as unknown.
    IfAccepted,
    /// If a recipient is accepted and none refused as unknown after him.
    AfterLast,
    /// A recipient was accepted before.
    Yes,
}

impl ControlNeed {
    /// It depends on what the session brings.
    pub(super) fn may_be_none(self) -> bool {
        matches!(self, Self::IfAccepted | Self::AfterLast)
    }
}

/// What a session learned.
pub(super) struct SessionReport {
    pub(super) slices: Vec<SliceReport>,
    /// Acceptances and refusals at RCPT in order; `true` is a refusal. What was put off is neither.
    pub(super) answers: Vec<bool>,
    /// Some recipient was answered.
    pub(super) spoke: bool,
    /// The reply that shows that the host blocks us.
    pub(super) trip: Option<Trip>,
    /// What the one was answered who was accepted before.
    pub(super) sentinel: Option<Sentinel>,
    /// The host that lies about PIPELINING.
    pub(super) deaf: Option<Arc<str>>,
    pub(super) ways: Ways,
    /// What the group showed of itself.
    pub(super) life: Option<Life>,
}

/// What somebody who was accepted before is answered now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sentinel {
    /// There is no answer, or one that says nothing.
    Open,
    Accepted,
    /// The host refuses everybody.
    Refused,
}

/// A reply that opens the breaker.
#[derive(Clone)]
pub(super) struct Trip {
    pub(super) host: Option<Arc<HostFacts>>,
    pub(super) answer: Arc<Answer>,
}

/// What a session learned about one domain.
pub(super) struct SliceReport {
    pub(super) domain: usize,
    pub(super) answered: Vec<(Tracked, Observation)>,
    /// Back into the queue: not asked, or to be asked again at once.
    pub(super) again: Vec<Tracked>,
    /// Whether the session was to ask about the control recipient.
    pub(super) need: ControlNeed,
    /// The control recipient's answer.
    pub(super) control: ControlAnswer,
    /// The name among the control recipients was answered so, and the random letters are open.
    pub(super) control_name: Option<UnknownRecipients>,
    /// The words of its refusal, if they are not certain by themselves.
    pub(super) control_words: Option<u64>,
}

/// What the control recipient was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ControlAnswer {
    /// It was not asked about.
    NotAsked,
    /// The reply says nothing about the domain.
    Undetermined {
        /// Asking again may help.
        retry: bool,
    },
    /// The host takes it, or refuses it.
    Known(UnknownRecipients),
}

/// One question.
#[derive(Debug)]
pub(super) enum Ask {
    Target(Tracked),
    Control(Address),
    Sentinel(Address),
}

impl Ask {
    pub(super) fn address(&self) -> &Address {
        match self {
            Self::Target(tracked) => &tracked.target.address,
            Self::Control(address) | Self::Sentinel(address) => address,
        }
    }
}

/// The questions of one transaction: one domain, one need for SMTPUTF8.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) slice: usize,
    pub(super) smtputf8: bool,
    pub(super) asks: VecDeque<Ask>,
}

impl Piece {
    /// Questions that belong to no slice.
    pub(super) fn alone(asks: VecDeque<Ask>) -> Self {
        Self {
            slice: usize::MAX,
            smtputf8: false,
            asks,
        }
    }

    /// The first `most` questions; the rest stay.
    pub(super) fn split_off_front(&mut self, most: usize) -> Self {
        let rest = self.asks.split_off(most.min(self.asks.len()));
        let asks = std::mem::replace(&mut self.asks, rest);
        Self {
            slice: self.slice,
            smtputf8: self.smtputf8,
            asks,
        }
    }
}

/// A slice's questions as transactions: those that need SMTPUTF8 apart, so that a host without it still hears the others.
pub(super) fn pieces(index: usize, targets: Vec<Tracked>) -> impl Iterator<Item = Piece> {
    let (mut plain, mut utf8) = (VecDeque::with_capacity(targets.len()), VecDeque::new());
    for tracked in targets {
        let asks = if tracked.target.address.traits().smtputf8 {
            &mut utf8
        } else {
            &mut plain
        };
        asks.push_back(Ask::Target(tracked));
    }
    [(false, plain), (true, utf8)]
        .into_iter()
        .filter(|(_, asks)| !asks.is_empty())
        .map(move |(smtputf8, asks)| Piece {
            slice: index,
            smtputf8,
            asks,
        })
}
