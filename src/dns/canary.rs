//! Does the resolver tell the truth about names that do not exist? (HOSTILE.md D21)

use rand::Rng;

use super::{AddressAnswer, DnsFailure, MxAnswer, Resolve};

/// What the resolver says about names that nobody has registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Canary {
    /// They do not exist, or it refuses to look.
    Honest,
    /// They have addresses or mail hosts: its answers prove nothing.
    Rewrites,
    /// It could not be asked.
    Unreachable(DnsFailure),
}

/// Asks for two random names under two registries without wildcards; both must be answered before the resolver is accused.
pub async fn canary(resolver: &dyn Resolve) -> Canary {
    let (first, second) = (random_name("com"), random_name("org"));
    match tokio::join!(answers(resolver, &first), answers(resolver, &second)) {
        (Ok(true), Ok(true)) => Canary::Rewrites,
        (Err(failure), Err(_)) => Canary::Unreachable(failure),
        (Ok(_), _) | (_, Ok(_)) => Canary::Honest,
    }
}

/// Whether anything is served under `name`.
async fn answers(resolver: &dyn Resolve, name: &str) -> Result<bool, DnsFailure> {
    let (mx, addresses) = tokio::join!(resolver.mx(name), resolver.addresses(name));
    match (mx, addresses) {
        (Ok(MxAnswer::Records { .. }), _) | (_, Ok(AddressAnswer::Addresses { .. })) => Ok(true),
        // A lab serves its own zones only and refuses the rest.
        (Err(failure), Err(_)) if failure != DnsFailure::Refused => Err(failure),
        (Ok(_) | Err(_), Ok(_) | Err(_)) => Ok(false),
    }
}

/// 20 random letters are registered by nobody: 26^20 is far more than all names there are.
fn random_name(registry: &str) -> String {
    let mut random = rand::rng();
    let label: String = (0..20).map(|_| char::from(random.random_range(b'a'..=b'z'))).collect();
    format!("{label}.{registry}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::net::BoxFuture;

    const TTL: Duration = Duration::from_secs(60);

    /// Answers by the registry of the name.
    struct Says(
        fn(registry: &str) -> Result<MxAnswer, DnsFailure>,
        fn(registry: &str) -> Result<AddressAnswer, DnsFailure>,
    );

    impl Resolve for Says {
        fn mx<'a>(&'a self, domain: &'a str) -> BoxFuture<'a, Result<MxAnswer, DnsFailure>> {
            let (_, registry) = domain.split_once('.').unwrap();
            Box::pin(async { self.0(registry) })
        }
        fn addresses<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<AddressAnswer, DnsFailure>> {
            let (_, registry) = host.split_once('.').unwrap();
            Box::pin(async { self.1(registry) })
        }
    }

    fn advert() -> Result<AddressAnswer, DnsFailure> {
        let addresses = vec!["192.0.2.80".parse().unwrap()];
        Ok(AddressAnswer::Addresses { addresses, ttl: TTL })
    }

    #[tokio::test]
    async fn d21_only_two_answered_names_accuse_the_resolver() {
        let nothing = |_: &str| Ok(MxAnswer::NoSuchDomain { ttl: TTL });
        let no_address = |_: &str| Ok(AddressAnswer::NoSuchDomain { ttl: TTL });
        let table = [
            (Says(nothing, no_address), Canary::Honest),
            (
                Says(|_| Ok(MxAnswer::None { ttl: TTL }), |_| advert()),
                Canary::Rewrites,
            ),
            (Says(nothing, |_| advert()), Canary::Rewrites),
            (
                Says(
                    |_| {
                        Ok(MxAnswer::Records {
                            records: vec![(0, "ads.test".into())],
                            ttl: TTL,
                        })
                    },
                    no_address,
                ),
                Canary::Rewrites,
            ),
            (
                Says(nothing, |registry| {
                    if registry == "com" {
                        advert()
                    } else {
                        Ok(AddressAnswer::None { ttl: TTL })
                    }
                }),
                Canary::Honest,
            ),
            (
                Says(|_| Err(DnsFailure::Refused), |_| Err(DnsFailure::Refused)),
                Canary::Honest,
            ),
            (
                Says(|_| Err(DnsFailure::Timeout), |_| Err(DnsFailure::Timeout)),
                Canary::Unreachable(DnsFailure::Timeout),
            ),
            (
                Says(|_| Err(DnsFailure::ServFail), |_| Ok(AddressAnswer::None { ttl: TTL })),
                Canary::Honest,
            ),
        ];
        for (row, (says, expected)) in table.into_iter().enumerate() {
            assert_eq!(canary(&says).await, expected, "row {row}");
        }
    }

    #[test]
    fn names_are_not_repeated() {
        assert_ne!(random_name("com"), random_name("com"));
        assert_eq!(random_name("com").len(), 24);
    }
}
