//! What a mailing would get back: [`Class::hardness`] is the one table, [`BounceTable`] the operator's changes to it.

use serde::{Deserialize, Serialize};

use crate::replies::{Class, Hardness, Persistence};

/// Hard, soft, pending, or no bounce expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BounceKind {
    /// The address is dead: mail to it bounces permanently and costs reputation.
    Hard,
    /// Mail would bounce for a reason that is not the address's death.
    Soft,
    /// Mail would be queued and retried.
    Pending,
    /// No bounce is expected, or nothing is known.
    None,
}

impl BounceKind {
    /// Every kind, worst first.
    pub const ALL: [Self; 4] = [Self::Hard, Self::Soft, Self::Pending, Self::None];

    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hard => "hard",
            Self::Soft => "soft",
            Self::Pending => "pending",
            Self::None => "none",
        }
    }
}

impl From<Hardness> for BounceKind {
    fn from(hardness: Hardness) -> Self {
        match hardness {
            Hardness::Hard => Self::Hard,
            Hardness::Soft => Self::Soft,
            Hardness::Pending => Self::Pending,
            Hardness::None => Self::None,
        }
    }
}

/// The forecast: kind and class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bounce {
    /// How bad.
    pub kind: BounceKind,
    /// Which class of bounce; `None` when no bounce is expected.
    pub class: Option<Class>,
}

impl Bounce {
    /// No bounce has no class.
    fn new(kind: BounceKind, class: Option<Class>) -> Self {
        let class = class.filter(|_| kind != BounceKind::None);
        Self { kind, class }
    }
}

/// Which kind of bounce each class is, where the operator sees it otherwise than [`Class::hardness`]. Changes forecasts only,
/// never a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BounceTable([Option<BounceKind>; Class::ALL.len()]);

impl Default for BounceTable {
    fn default() -> Self {
        Self([None; Class::ALL.len()])
    }
}

impl FromIterator<(Class, BounceKind)> for BounceTable {
    fn from_iter<I: IntoIterator<Item = (Class, BounceKind)>>(entries: I) -> Self {
        let mut table = Self::default();
        for (class, kind) in entries {
            if let Some(slot) = table.0.get_mut(class as usize) {
                *slot = Some(kind);
            }
        }
        table
    }
}

impl BounceTable {
    /// What the operator says about this class.
    #[must_use]
    pub fn changed(&self, class: Class) -> Option<BounceKind> {
        self.0.get(class as usize).copied().flatten()
    }

    /// The kind of a bounce of this class. A transient reply is never `hard`, whoever says so: it is tried again first.
    #[must_use]
    pub fn kind(&self, class: Class, persistence: Persistence) -> BounceKind {
        match (self.changed(class), persistence) {
            (Some(BounceKind::Hard), Persistence::Transient) => BounceKind::Pending,
            (Some(kind), _) => kind,
            (None, _) => class.hardness(persistence).into(),
        }
    }
}

/// The mail will arrive, or nothing is known against it.
pub(super) fn nothing_expected() -> Bounce {
    Bounce::new(BounceKind::None, None)
}

/// What a mailing would get back to an address that is proven dead: `hard`, unless the operator's table says otherwise.
pub(super) fn of_death(class: Option<Class>, table: &BounceTable) -> Bounce {
    let kind = class.and_then(|class| table.changed(class));
    Bounce::new(kind.unwrap_or(BounceKind::Hard), class)
}

/// What a mailing would get back from a host that answered so, when the address itself is not proven dead: `hard` only if the
/// operator's table says so.
pub(super) fn of_class(class: Class, persistence: Persistence, table: &BounceTable) -> Bounce {
    let mut kind = table.kind(class, persistence);
    if kind == BounceKind::Hard && table.changed(class).is_none() {
        kind = BounceKind::Soft;
    }
    Bounce::new(kind, Some(class))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_a_place_of_its_own_in_the_table() {
        for (index, class) in Class::ALL.iter().enumerate() {
            assert_eq!(*class as usize, index, "{class:?}");
            let table = BounceTable::from_iter([(*class, BounceKind::Soft)]);
            let changed = Class::ALL.iter().filter(|other| table.changed(**other).is_some());
            assert_eq!(changed.collect::<Vec<_>>(), [class]);
        }
    }

    #[test]
    fn a_transient_reply_is_never_hard_and_an_unproven_death_only_by_the_operators_word() {
        let hard: BounceTable = Class::ALL.iter().map(|class| (*class, BounceKind::Hard)).collect();
        for class in Class::ALL {
            assert_eq!(
                of_class(*class, Persistence::Transient, &hard).kind,
                BounceKind::Pending
            );
            assert_eq!(of_class(*class, Persistence::Permanent, &hard).kind, BounceKind::Hard);
            for persistence in [Persistence::Transient, Persistence::Permanent] {
                let kind = of_class(*class, persistence, &BounceTable::default()).kind;
                assert_ne!(kind, BounceKind::Hard, "{class:?}");
            }
        }
    }

    #[test]
    fn the_operators_table_comes_first() {
        use BounceKind::{Hard, None, Pending, Soft};
        use Persistence::{Permanent, Transient};
        for (class, persistence, by_default, changed) in [
            (Class::Policy, Permanent, Soft, Hard),
            (Class::Policy, Transient, Pending, Soft),
            (Class::MailboxFull, Permanent, Soft, Hard),
            (Class::MailboxFull, Transient, Soft, None),
            (Class::Greylisted, Transient, Pending, Soft),
            (Class::Unknown, Permanent, Soft, Pending),
        ] {
            let kind = |table| of_class(class, persistence, &table).kind;
            assert_eq!(kind(BounceTable::default()), by_default, "{class:?}");
            assert_eq!(kind(BounceTable::from_iter([(class, changed)])), changed, "{class:?}");
        }
        assert_eq!(of_death(Option::None, &BounceTable::default()).kind, Hard);
        let table = BounceTable::from_iter([(Class::UserDisabled, Soft)]);
        assert_eq!(of_death(Some(Class::UserDisabled), &table).kind, Soft);
        assert_eq!(of_death(Some(Class::UserUnknown), &table).kind, Hard);
    }
}
