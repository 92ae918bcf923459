//! Does a zone answer every name with the same route? (HOSTILE.md D20)

use rand::Rng;

use super::{Exchanger, MailRoute};
use crate::net::Vetted;

/// A name beside others below a registrable domain that nobody has entered: 26^16 is more than all names there are. `None` when
/// it would be too long to be asked about (RFC 1035 section 2.3.4).
pub(super) fn sibling(registered: &str) -> Option<String> {
    let mut random = rand::rng();
    let label: String = (0..16).map(|_| char::from(random.random_range(b'a'..=b'z'))).collect();
    Some(format!("{label}.{registered}")).filter(|name| name.len() <= 253)
}

/// Whether mail for both names goes to the same hosts. A name that takes no mail, or of which nothing is known, shares no way.
pub(super) fn same_way(one: &MailRoute, other: &MailRoute) -> bool {
    match (one, other) {
        (MailRoute::Exchangers(one), MailRoute::Exchangers(other)) => {
            let host = |exchanger: &Exchanger| (exchanger.preference, exchanger.host.clone());
            one.iter().map(host).eq(other.iter().map(host))
        }
        // The host of an implicit MX is the name itself.
        (MailRoute::ImplicitMx(one), MailRoute::ImplicitMx(other)) => {
            let addresses = |exchanger: &Exchanger| {
                let mut addresses: Vec<_> = exchanger.addresses.iter().copied().map(Vetted::ip).collect();
                addresses.sort_unstable();
                addresses
            };
            addresses(one) == addresses(other)
        }
        (
            MailRoute::Exchangers(_)
            | MailRoute::ImplicitMx(_)
            | MailRoute::NullMx
            | MailRoute::NoSuchDomain
            | MailRoute::NoMailHost(_)
            | MailRoute::Failure(_),
            _,
        ) => false,
    }
}
