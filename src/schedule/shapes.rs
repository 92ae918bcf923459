//! The two shapes of a control recipient: a name that looks like a person's, and random letters (HOSTILE R27).
//!
//! Either may be taken or refused for its form alone: a pattern rule of the host, an alias. So a host is said to take everybody
//! only if it takes both. The second shape is asked about where the first one's answer would say so, or where the words of its
//! refusal are about its form; elsewhere it would cost a refusal and show nothing new.

use super::plan::ControlAnswer;
use crate::{
    address::Address,
    replies::Class,
    store::stable_hash,
    verdict::{Answer, UnknownRecipients},
};

/// What a session asks about strangers at one domain.
#[derive(Debug, Clone)]
pub(super) struct Shapes {
    /// Asked first: the name, or the random letters where the name was answered before.
    pub(super) now: Address,
    /// Whether the other shape is asked about if need be.
    pub(super) two: bool,
    /// What the name was answered.
    pub(super) name: Option<UnknownRecipients>,
}

impl Shapes {
    /// What to ask at a domain where the name was answered so, or not yet; `known`: what the host does with strangers was
    /// found out before, and is only checked.
    pub(super) fn of(control: &Address, name: Option<UnknownRecipients>, known: bool) -> Option<Self> {
        let now = if name.is_some() {
            other_shape(control)?
        } else {
            control.clone()
        };
        let two = name.is_none() && !known;
        Some(Self { now, two, name })
    }
}

/// A local-part that looks like a person's and belongs to nobody: two words and seven random letters; a bare name may exist.
///
/// No digits: a host that takes everybody but those with digits must not pass for one that refuses strangers.
pub(super) fn name_of_nobody(number: u64) -> String {
    const FIRST: &[&str] = &[
        "karin", "tomas", "elena", "marek", "ingrid", "pavel", "sofia", "henrik", "amelie", "dario",
    ];
    const LAST: &[&str] = &[
        "lindqvist",
        "hartmann",
        "moreau",
        "kowalski",
        "rossetti",
        "verhoeven",
        "novotny",
        "olsson",
    ];
    const ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz";
    let mut left = number;
    let mut pick = |choices: usize| {
        let choices = choices as u64;
        let index = left % choices;
        left /= choices;
        usize::try_from(index).unwrap_or_default()
    };
    let first = FIRST.get(pick(FIRST.len())).copied().unwrap_or_default();
    let last = LAST.get(pick(LAST.len())).copied().unwrap_or_default();
    let mut name = format!("{first}.{last}.");
    for _ in 0..7 {
        name.push(ALPHABET.get(pick(ALPHABET.len())).copied().map_or('x', char::from));
    }
    name
}

/// The random letters that go with a name.
pub(super) fn other_shape(control: &Address) -> Option<Address> {
    Address::control(&random_letters(control.local_part()), &control.to_domain())
}

/// Twelve to twenty letters and digits that follow from the other shape: greylisting sees the same ones again.
fn random_letters(name: &str) -> String {
    const ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let size = 12 + stable_hash(name.as_bytes(), 0) % 9;
    let letter = |place: u64| {
        // No digit in front: some hosts refuse that, whoever it is.
        let choices = if place == 0 { 26 } else { ALPHABET.len() as u64 };
        let index = usize::try_from(stable_hash(name.as_bytes(), place + 1) % choices).unwrap_or_default();
        ALPHABET.get(index).copied().map_or('x', char::from)
    };
    (0..size).map(letter).collect()
}

/// Whether the answer about the name needs that about the random letters.
pub(super) fn needs_other(said: ControlAnswer, answer: &Answer) -> Option<UnknownRecipients> {
    match said {
        ControlAnswer::Known(UnknownRecipients::Accepted) => Some(UnknownRecipients::Accepted),
        ControlAnswer::Known(refused) if answer.meaning.class == Class::BadAddressSyntax => Some(refused),
        ControlAnswer::Known(_) | ControlAnswer::Undetermined { .. } | ControlAnswer::NotAsked => None,
    }
}

/// What both shapes together show.
pub(super) fn together(name: UnknownRecipients, random: ControlAnswer) -> ControlAnswer {
    match random {
        ControlAnswer::Known(random) if random != name => ControlAnswer::Undetermined { retry: false },
        ControlAnswer::Known(_) | ControlAnswer::Undetermined { .. } | ControlAnswer::NotAsked => random,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::address::Rules;

    #[test]
    fn r27_random_letters_are_letters_and_digits_that_follow_from_the_name() {
        let mut all = HashSet::new();
        for number in 0..500 {
            let letters = random_letters(&format!("karin.moreau.{number}"));
            assert!((12..=20).contains(&letters.len()), "{letters}");
            assert!(letters.starts_with(|c: char| c.is_ascii_lowercase()), "{letters}");
            assert!(letters.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
            assert_eq!(letters, random_letters(&format!("karin.moreau.{number}")));
            all.insert(letters);
        }
        assert_eq!(all.len(), 500);
        let lengths: HashSet<usize> = all.iter().map(String::len).collect();
        assert_eq!(lengths.len(), 9, "every length from 12 to 20");
    }

    #[test]
    fn r27_a_name_of_nobody_has_no_digits() {
        let mut all = HashSet::new();
        for number in 0..2_000 {
            let name = name_of_nobody(stable_hash(b"job", number));
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'.'), "{name}");
            assert_eq!(name.split('.').map(str::len).next_back(), Some(7), "{name}");
            all.insert(name);
        }
        assert_eq!(all.len(), 2_000);
    }

    #[test]
    fn r27_what_two_shapes_show() {
        use UnknownRecipients::{Accepted, Refused};
        let known = ControlAnswer::Known;
        let open = |retry| ControlAnswer::Undetermined { retry };
        for (name, random, expected) in [
            (Accepted, known(Accepted), known(Accepted)),
            (Accepted, known(Refused), open(false)),
            (Refused, known(Refused), known(Refused)),
            (Refused, known(Accepted), open(false)),
            (Accepted, open(true), open(true)),
            (Refused, open(false), open(false)),
        ] {
            assert_eq!(together(name, random), expected, "{name:?} {random:?}");
        }
        let control = Address::parse("karin.moreau.x@acme.com", Rules::default()).unwrap();
        let both = Shapes::of(&control, None, false).unwrap();
        assert!(both.now == control && both.two && both.name.is_none());
        let check = Shapes::of(&control, None, true).unwrap();
        assert!(!check.two, "a check asks what it asked");
        let rest = Shapes::of(&control, Some(Accepted), false).unwrap();
        assert!(rest.now == other_shape(&control).unwrap() && !rest.two);
    }
}
