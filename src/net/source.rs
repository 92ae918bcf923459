//! Which of the machine's own addresses a connection comes from.
//!
//! Owns the operator's list and the choice for each mail-host group. More addresses never mean more questions: the budget
//! belongs to the group (ETIQUETTE B5: spreading one budget over addresses is snowshoe behaviour).

use std::{
    io,
    net::{IpAddr, UdpSocket},
};

/// The addresses that connections may come from; none means that the system chooses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources(Vec<IpAddr>);

/// An address cannot be a source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The machine does not have it.
    #[error("{ip} is not an address of this machine ({source})")]
    NotHere {
        /// The address.
        ip: IpAddr,
        /// What the system says.
        source: io::Error,
    },
    /// It stands for no single machine.
    #[error("{0} is not the address of one machine")]
    NotOne(IpAddr),
}

impl Sources {
    /// From the operator's list; each is bound once to see whether the machine has it.
    ///
    /// # Errors
    /// The first address that cannot be used.
    pub fn new(addresses: impl IntoIterator<Item = IpAddr>) -> Result<Self, SourceError> {
        let mut sources = Vec::new();
        for ip in addresses.into_iter().map(|ip| ip.to_canonical()) {
            let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
            if ip.is_unspecified() || ip.is_multicast() || broadcast {
                return Err(SourceError::NotOne(ip));
            }
            UdpSocket::bind((ip, 0)).map_err(|source| SourceError::NotHere { ip, source })?;
            if !sources.contains(&ip) {
                sources.push(ip);
            }
        }
        Ok(Self(sources))
    }

    /// The addresses; none means the system's choice.
    #[must_use]
    pub fn addresses(&self) -> &[IpAddr] {
        &self.0
    }

    /// Whether the system chooses.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them is of the same family as `ip`.
    #[must_use]
    pub fn reach(&self, ip: IpAddr) -> bool {
        self.is_empty() || self.0.iter().any(|source| source.is_ipv4() == ip.is_ipv4())
    }

    /// The source of a mail-host group towards `to`. It is the same in every run, as greylisting and reputation want, and a
    /// source that comes or goes moves only the groups that take it (rendezvous hashing).
    #[must_use]
    pub fn of(&self, group: &str, to: IpAddr) -> Option<IpAddr> {
        let fitting = self.0.iter().filter(|source| source.is_ipv4() == to.is_ipv4());
        fitting
            .max_by_key(|source| (weight(group, **source), **source))
            .copied()
    }
}

#[cfg(test)]
impl Sources {
    /// Sources that need not be this machine's.
    pub(super) fn of_test(addresses: &[&str]) -> Self {
        Self(addresses.iter().filter_map(|ip| ip.parse().ok()).collect())
    }
}

/// FNV-1a with MurmurHash3's finish: the standard library's hashes may change with the compiler, a source must not.
fn weight(group: &str, source: IpAddr) -> u64 {
    let eat = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = group.bytes().fold(0xcbf2_9ce4_8422_2325, eat);
    let mut hash = source.to_string().bytes().fold(eat(hash, 0), eat);
    for factor in [0xff51_afd7_ed55_8ccd_u64, 0xc4ce_b9fe_1a85_ec53] {
        hash = (hash ^ (hash >> 33)).wrapping_mul(factor);
    }
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_group_keeps_its_source_and_groups_are_spread() {
        let to = IpAddr::from([192, 0, 2, 1]);
        let three = Sources::of_test(&["198.51.100.1", "198.51.100.2", "198.51.100.3", "2001:db8::1"]);
        let groups: Vec<String> = (0..300).map(|n| format!("network 10.0.{n}.0/24")).collect();
        let mut spread: BTreeMap<IpAddr, u32> = BTreeMap::new();
        for group in &groups {
            let source = three.of(group, to).unwrap();
            assert_eq!(three.of(group, to), Some(source));
            *spread.entry(source).or_default() += 1;
        }
        assert_eq!(spread.len(), 3, "{spread:?}");
        assert!(spread.values().all(|count| (60..=140).contains(count)), "{spread:?}");
        // These words are part of the promise: a new version of presend comes from the same address.
        assert_eq!(three.of("provider google", to).unwrap().to_string(), "198.51.100.3");

        let two = Sources::of_test(&["198.51.100.3", "198.51.100.1"]);
        for group in &groups {
            let before = three.of(group, to).unwrap();
            if before != IpAddr::from([198, 51, 100, 2]) {
                assert_eq!(two.of(group, to), Some(before), "{group} moved without need");
            }
        }
    }

    #[test]
    fn families_do_not_mix() {
        let v4 = Sources::of_test(&["198.51.100.1"]);
        let to: IpAddr = "2001:db8::9".parse().unwrap();
        assert_eq!((v4.of("a", to), v4.reach(to)), (None, false));
        assert!(Sources::default().reach(to) && Sources::default().of("a", to).is_none());
    }

    #[test]
    fn only_addresses_of_this_machine() {
        let new = |ip: &str| Sources::new([ip.parse().unwrap()]).map_err(|error| error.to_string());
        assert_eq!(new("127.9.8.7"), Ok(Sources::of_test(&["127.9.8.7"])));
        assert_eq!(new("::ffff:127.9.8.7"), Ok(Sources::of_test(&["127.9.8.7"])));
        assert!(
            new("192.0.2.77")
                .unwrap_err()
                .starts_with("192.0.2.77 is not an address of this machine (")
        );
        for ip in ["0.0.0.0", "::", "224.0.0.1", "255.255.255.255"] {
            assert_eq!(new(ip), Err(format!("{ip} is not the address of one machine")));
        }
    }
}
