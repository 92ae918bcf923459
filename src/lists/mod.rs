//! Lists about domains and local-parts: bundled (`lists/*`) and the user's own. Facts and advice only: a list never says
//! whether a mailbox exists.
//!
//! Measured with `cargo test --release --lib lists::tests::measure -- --ignored --nocapture`: 40 ns for a listed domain, 90 ns for an
//! unlisted one, 200 to 300 ns where a suggestion is looked for or made. The first look-up builds the indexes (0.9 ms); nothing is built before.

mod bundled;
mod check;
mod exports;
mod suggest;
mod user;

use crate::address::{Address, Rules};

pub use bundled::{ListInfo, catalogue};
pub use check::{Problem, check};
pub use exports::{Export, Recognised, exports, recognise};
pub use suggest::suggest_domain;
pub use user::{UserListError, UserLists};

/// What the lists know about an address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, each reported by its own name"
)]
pub struct ListHits {
    /// The local-part names a function, not a person (RFC 2142 names and the usual info/sales/support).
    pub role: bool,
    /// The local-part is a word that often, but not always, names a function (`hello`, `team`); never set with `role`.
    pub role_hint: bool,
    /// The registered domain, or a parent of it, is a throw-away mail service.
    pub disposable: bool,
    /// The domain is a free mail provider.
    pub free: bool,
    /// The whole address with the domain that was probably meant.
    pub did_you_mean: Option<Box<str>>,
}

/// Whether special-use names may be asked about was decided for the address as typed.
const ANY_NAME: Rules = Rules {
    allow_special_use: true,
};

/// Whether a domain is a free mail provider's.
pub(crate) fn is_free(domain: &str) -> bool {
    bundled::is_free(domain)
}

/// Whether a local-part names a function, not a person.
pub(crate) fn is_role(local_part: &str) -> bool {
    bundled::role(local_part) == Some(bundled::Role::Strong)
}

/// Builds the indexes now, so that no look-up has to.
pub(crate) fn prepare() {
    let _ = bundled::role("a");
    let _ = bundled::is_disposable("a.b") || bundled::is_free("a.b");
    let _ = suggest::for_unlisted("a.b");
}

/// Looks an address up in every bundled list.
#[must_use]
pub fn look_up(address: &Address) -> ListHits {
    let domain = address.domain();
    let role = bundled::role(address.local_part());
    let disposable = bundled::is_disposable(domain);
    let free = bundled::is_free(domain);
    let meant = if disposable || free {
        None
    } else {
        suggest::for_unlisted(domain)
    };
    ListHits {
        role: role == Some(bundled::Role::Strong),
        role_hint: role == Some(bundled::Role::Weak),
        disposable,
        free,
        did_you_mean: meant
            .map(|domain| format!("{}@{domain}", address.local_part()))
            // The name that was meant may be longer than the one that was typed.
            .filter(|meant| Address::parse(meant, ANY_NAME).is_ok())
            .map(Into::into),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(text: &str) -> ListHits {
        look_up(&Address::parse(text, Rules::default()).unwrap())
    }

    #[test]
    fn flags_are_independent_facts() {
        let cases = [
            ("info@acme-corp.com", "role"),
            ("Postmaster@acme-corp.com", "role"),
            ("support+de@acme-corp.com", "role"),
            ("hello@acme-corp.com", "role_hint"),
            ("jane.doe@acme-corp.com", ""),
            ("alexa@acme-corp.com", ""),
            ("2019@acme-corp.com", ""),
            ("jane@mailinator.com", "disposable"),
            ("jane@x.y.mailinator.com", "disposable"),
            ("jane@mymailinatorbox.com", ""),
            ("jane@gmail.com", "free"),
            ("sales@gmail.com", "role free"),
            ("jane@duck.com", "free"),
            ("jane@mail.gmail.com", ""),
        ];
        for (text, want) in cases {
            let hits = hits(text);
            let got: Vec<&str> = [
                ("role", hits.role),
                ("role_hint", hits.role_hint),
                ("disposable", hits.disposable),
                ("free", hits.free),
            ]
            .iter()
            .filter_map(|&(name, set)| set.then_some(name))
            .collect();
            assert_eq!(got.join(" "), want, "{text}");
            assert_eq!(hits.did_you_mean, None, "{text}");
        }
    }

    #[test]
    fn the_suggestion_is_a_whole_address() {
        assert_eq!(
            hits("Jane.Doe@gmial.com").did_you_mean.as_deref(),
            Some("Jane.Doe@gmail.com")
        );
    }

    /// Not an assertion: prints nanoseconds per look-up.
    #[test]
    #[ignore = "a measurement; run it alone and in release"]
    fn measure() {
        for text in [
            "jane@gmail.com",
            "jane@x.mailinator.com",
            "info@acme-corp.com",
            "jane@gmial.com",
            "jane@hotmeeel.com",
        ] {
            let address = Address::parse(text, Rules::default()).unwrap();
            let cold = std::time::Instant::now();
            std::hint::black_box(look_up(&address));
            let cold = cold.elapsed();
            let start = std::time::Instant::now();
            for _ in 0..1_000_000 {
                std::hint::black_box(look_up(std::hint::black_box(&address)));
            }
            println!("{text}: {} ns, first {cold:?}", start.elapsed().as_nanos() / 1_000_000);
        }
    }
}
