//! The closed lists of reasons and classes as data, for `presend reasons` and the API.

use serde::Serialize;

use crate::{
    replies::{Class, Persistence},
    verdict::{BounceKind, Reason},
};

/// One line of either list.
#[derive(Serialize)]
pub(crate) struct Entry {
    #[serde(flatten)]
    name: Name,
    pub(crate) sentence: &'static str,
    pub(crate) advice: &'static str,
    #[serde(flatten)]
    pub(crate) names: Option<Names>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Name {
    Reason(&'static str),
    Class(&'static str),
}

/// Under what a bounce is filed, by us and by others.
#[derive(Serialize)]
pub(crate) struct Names {
    pub(crate) bounce: Bounce,
    pub(crate) hubspot: &'static str,
    pub(crate) mailpro: &'static str,
    pub(crate) zerobounce: ZeroBounce,
    pub(crate) neverbounce: &'static str,
    pub(crate) sisimai: &'static str,
    pub(crate) kumomta: &'static str,
    pub(crate) rfc3463: &'static str,
    #[serde(skip)]
    pub(crate) of: Class,
}

#[derive(Serialize)]
pub(crate) struct Bounce {
    pub(crate) kind: &'static str,
    class: Class,
}

#[derive(Serialize)]
pub(crate) struct ZeroBounce {
    pub(crate) status: &'static str,
    pub(crate) sub_status: &'static str,
}

impl Entry {
    fn of_reason(reason: Reason) -> Self {
        Self {
            name: Name::Reason(reason.name()),
            sentence: reason.sentence(),
            advice: reason.advice(),
            names: reason.class().map(|class| Names {
                bounce: Bounce {
                    // The host says so and our DNS does not: no proof.
                    kind: if reason == Reason::DomainDoubt {
                        BounceKind::Soft.name()
                    } else {
                        class.hardness(Persistence::Permanent).name()
                    },
                    class,
                },
                ..Names::of(class)
            }),
        }
    }

    fn of_class(class: Class) -> Self {
        Self {
            name: Name::Class(class.name()),
            sentence: class.sentence(),
            advice: class.advice(),
            names: Some(Names::of(class)),
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self.name {
            Name::Reason(name) | Name::Class(name) => name,
        }
    }
}

impl Names {
    fn of(class: Class) -> Self {
        let zerobounce = class.zerobounce();
        Self {
            bounce: Bounce {
                kind: class.hardness(Persistence::Permanent).name(),
                class,
            },
            hubspot: class.hubspot(),
            mailpro: class.mailpro(),
            zerobounce: ZeroBounce {
                status: zerobounce.status,
                sub_status: zerobounce.sub_status,
            },
            neverbounce: class.neverbounce(),
            sisimai: class.sisimai(),
            kumomta: class.kumomta(),
            rfc3463: class.enhanced(),
            of: class,
        }
    }
}

/// Reasons by name; two faults may share one.
pub(crate) fn reasons() -> Vec<Entry> {
    let mut all: Vec<Entry> = Vec::new();
    for reason in Reason::all() {
        if !all.iter().any(|entry| entry.name() == reason.name()) {
            all.push(Entry::of_reason(reason));
        }
    }
    all
}

/// Every class a bounce is filed under.
pub(crate) fn classes() -> Vec<Entry> {
    Class::ALL.iter().copied().map(Entry::of_class).collect()
}
