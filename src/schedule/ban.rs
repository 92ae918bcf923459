//! A silent ban: a host accepts the first recipients of ours and then refuses everybody (HOSTILE R22).
//!
//! A vague refusal after an acceptance counts once the host accepts somebody again. After two in a row, or where nobody else is
//! left to ask about, whoever was accepted last is asked about once more: if he is refused now, so is everybody, whoever they
//! are. Some hosts ban in the words of an unknown user, so from the third of those in a row on they wait for the same proof; it is
//! asked for after four, then eight and so on, because an old list may well have so many. Owns that rule for one set of hosts.
//! Must not know budgets.

use super::domain::{Observation, vague_refusal};
use crate::address::Address;

/// Vague refusals in a row after which nobody else is asked about before the one who exists.
const IN_A_ROW: u32 = 2;
/// Certain refusals in a row from which on they wait for the proof, and after which it is asked for: at first, and at most.
const CERTAIN: u32 = 3;
const PATIENCE: [u32; 2] = [4, 64];

/// What a set of hosts has shown lately.
#[derive(Debug)]
pub(super) struct Suspicion {
    /// Whoever was accepted last.
    good: Option<Address>,
    /// Vague refusals since.
    in_a_row: u32,
    /// Certain ones since.
    certain: u32,
    /// Certain ones after which he is asked about.
    patience: u32,
    /// He was refused: he comes first from now on.
    banned: bool,
    /// Domains, by number, whose refusals wait for the proof.
    held: Vec<usize>,
}

impl Default for Suspicion {
    fn default() -> Self {
        Self {
            good: None,
            in_a_row: 0,
            certain: 0,
            patience: PATIENCE[0],
            banned: false,
            held: Vec::new(),
        }
    }
}

/// What an answer does to those that came before it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    None,
    /// The domain's vague refusals wait for a proof from now on.
    Holds,
    /// Its certain ones do too, those before this one included.
    HoldsBack,
    /// These domains' refusals count: the host still tells recipients apart.
    Proves(Vec<usize>),
}

impl Suspicion {
    /// An answer about a target.
    pub(super) fn heard(&mut self, domain: usize, address: &Address, observation: &Observation) -> Effect {
        let counts = |host: &crate::verdict::HostFacts| !host.backup && !host.untruthful;
        if observation.accepted() && !observation.throttled && observation.host.as_deref().is_none_or(counts) {
            if !address.traits().smtputf8 && !self.banned {
                self.good = Some(address.clone());
            }
            return self.accepted();
        }
        let Some(answer) = observation.known().filter(|_| !observation.throttled) else {
            return Effect::None;
        };
        if vague_refusal(answer).is_some() {
            self.refused_vaguely(domain)
        } else if answer.meaning.dead_recipient().is_some() {
            self.refused_certainly(domain)
        } else {
            Effect::None
        }
    }

    fn refused_certainly(&mut self, domain: usize) -> Effect {
        if self.good.is_none() {
            return Effect::None;
        }
        self.certain += 1;
        if self.certain < CERTAIN {
            return Effect::None;
        }
        self.hold(domain);
        Effect::HoldsBack
    }

    /// A refusal in words that name nobody, of a target or of the control recipient.
    pub(super) fn refused_vaguely(&mut self, domain: usize) -> Effect {
        if self.good.is_none() {
            return Effect::None;
        }
        self.in_a_row += 1;
        self.hold(domain);
        Effect::Holds
    }

    fn accepted(&mut self) -> Effect {
        (self.in_a_row, self.certain) = (0, 0);
        match self.held.as_slice() {
            [] => Effect::None,
            _ => Effect::Proves(std::mem::take(&mut self.held)),
        }
    }

    /// Whom to ask about before anybody else; `others`: there is somebody else to ask about.
    pub(super) fn ask_first(&self, others: bool) -> Option<&Address> {
        let many = self.in_a_row >= IN_A_ROW || self.certain >= self.patience;
        let due = self.banned || many || !others && !self.held.is_empty();
        self.good.as_ref().filter(|_| due)
    }

    /// A domain that waits for the proof.
    pub(super) fn waits(&self) -> Option<usize> {
        self.held.first().copied()
    }

    /// A domain that was told the same as one that waits.
    pub(super) fn hold(&mut self, domain: usize) {
        if !self.is_held(domain) {
            self.held.push(domain);
        }
    }

    /// A domain that is given up; its number is another's soon.
    pub(super) fn forget(&mut self, domain: usize) {
        self.held.retain(|held| *held != domain);
    }

    /// Whether a domain waits for the proof.
    pub(super) fn is_held(&self, domain: usize) -> bool {
        self.held.contains(&domain)
    }

    /// He was accepted again.
    pub(super) fn cleared(&mut self) -> Vec<usize> {
        self.banned = false;
        if self.certain >= CERTAIN {
            self.patience = (self.patience * 2).min(PATIENCE[1]);
        }
        (self.in_a_row, self.certain) = (0, 0);
        std::mem::take(&mut self.held)
    }

    /// He was refused (`banned`), or there was no answer: the refusals that wait prove nothing.
    pub(super) fn not_cleared(&mut self, banned: bool) -> Vec<usize> {
        self.banned |= banned;
        (self.in_a_row, self.certain) = (0, 0);
        std::mem::take(&mut self.held)
    }
}
