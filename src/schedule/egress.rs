//! Does anything leave this machine at all? A run in which no mail host can be reached, or whose proxy is dead, stops, instead of
//! calling every host unreachable (HOSTILE S16) and trying for hours.

use std::{
    collections::HashSet,
    io,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use crate::verdict::NotTried;

/// Mail-host groups that must be out of reach, without a single success, before the network is blamed. In a mailing list one
/// host in a hundred is dead; ten dead ones in a row before the first living one are not a matter of chance.
const LOST_GROUPS: usize = 10;
/// After which a new run may find out that the way is open again.
const TRY_AGAIN: Duration = Duration::from_mins(5);

/// How an attempt to connect failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoConnection {
    /// As it fails where port 25 is filtered: silence, no route, or an answer in the host's stead.
    Blocked,
    /// For a reason that says nothing about the way out.
    Other,
}

impl NoConnection {
    /// Reads the error of a dial; no error is a deadline that passed.
    pub(super) fn new(error: Option<&io::Error>, to: IpAddr) -> Self {
        use io::ErrorKind as Kind;
        match error.map(io::Error::kind) {
            None
            | Some(
                Kind::TimedOut
                | Kind::HostUnreachable
                | Kind::NetworkUnreachable
                | Kind::NetworkDown
                | Kind::PermissionDenied,
            ) => Self::Blocked,
            // A filter that answers with RST looks like the host itself; on this machine only the host can say it.
            Some(Kind::ConnectionRefused) if !to.is_loopback() => Self::Blocked,
            Some(_) => Self::Other,
        }
    }
}

/// The way out of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The machine's own network; a filter closes it.
    Direct,
    /// The operator's proxy; its own faults close it, and never what it says of a host.
    Proxy,
}

impl Way {
    fn closed(self) -> NotTried {
        match self {
            Self::Direct => NotTried::PortBlocked,
            Self::Proxy => NotTried::ProxyDead,
        }
    }
}

/// What the run has seen of the way out.
#[derive(Debug)]
pub(super) struct Egress {
    /// Groups out of reach; `None` once any host was reached.
    lost: Mutex<Option<HashSet<Arc<str>>>>,
    /// Why nobody is asked, and since when.
    closed: watch::Sender<Option<(NotTried, Instant)>>,
}

impl Egress {
    pub(super) fn new() -> Self {
        Self {
            lost: Mutex::new(Some(HashSet::new())),
            closed: watch::Sender::new(None),
        }
    }

    /// A connection stood: from now on a host that cannot be reached is that host's fault.
    pub(super) fn reached(&self) {
        *self.lost.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// No host of this group was reached, as if nothing got out this way. A run has one way out.
    pub(super) fn lost(&self, group: &Arc<str>, way: Way) {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(groups) = lost.as_mut() else { return };
        groups.insert(Arc::clone(group));
        if groups.len() >= LOST_GROUPS && self.closed().is_none() {
            tracing::warn!(groups = groups.len(), ?way, "nothing seems to get out");
            self.closed.send_replace(Some((way.closed(), Instant::now())));
        }
    }

    /// Why nobody is asked, once nothing seems to get out.
    pub(super) fn closed(&self) -> Option<NotTried> {
        self.closed.borrow().map(|(why, _)| why)
    }

    /// A new run begins: what was closed a while ago may be open.
    pub(super) fn try_again(&self) {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        let over = |closed: &mut Option<(NotTried, Instant)>| {
            let over = closed.is_some_and(|(_, since)| since.elapsed() >= TRY_AGAIN);
            if over {
                *closed = None;
            }
            over
        };
        if self.closed.send_if_modified(over) {
            *lost = Some(HashSet::new());
        }
    }

    /// Waits until nothing seems to get out.
    pub(super) async fn blocked(&self) {
        let mut seen = self.closed.subscribe();
        let _ = seen.wait_for(Option::is_some).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s16_only_failures_on_the_way_out_count() {
        use NoConnection::{Blocked, Other};
        use io::ErrorKind as Kind;
        for (kind, to, expected) in [
            (None, "192.0.2.1", Blocked),
            (None, "127.0.0.1", Blocked),
            (Some(Kind::TimedOut), "192.0.2.1", Blocked),
            (Some(Kind::NetworkUnreachable), "2001:db8::1", Blocked),
            (Some(Kind::HostUnreachable), "192.0.2.1", Blocked),
            (Some(Kind::PermissionDenied), "192.0.2.1", Blocked),
            (Some(Kind::ConnectionRefused), "192.0.2.1", Blocked),
            (Some(Kind::ConnectionRefused), "127.0.0.1", Other),
            (Some(Kind::ConnectionRefused), "::1", Other),
            (Some(Kind::ConnectionReset), "192.0.2.1", Other),
            (Some(Kind::Other), "192.0.2.1", Other),
        ] {
            let error = kind.map(io::Error::from);
            let found = NoConnection::new(error.as_ref(), to.parse().unwrap());
            assert_eq!(found, expected, "{kind:?} {to}");
        }
    }

    #[test]
    fn s16_ten_groups_without_a_success() {
        let groups: Vec<Arc<str>> = (0..LOST_GROUPS).map(|n| Arc::from(format!("host {n}"))).collect();
        let (last, others) = groups.split_last().unwrap();
        for (way, why) in [(Way::Direct, NotTried::PortBlocked), (Way::Proxy, NotTried::ProxyDead)] {
            let egress = Egress::new();
            for group in others.iter().chain(others) {
                egress.lost(group, way);
            }
            assert_eq!(egress.closed(), None, "one group counts once");
            egress.lost(last, way);
            assert_eq!(egress.closed(), Some(why));

            let egress = Egress::new();
            egress.reached();
            for group in &groups {
                egress.lost(group, way);
            }
            assert_eq!(egress.closed(), None, "one success is enough");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_run_tries_again() {
        let egress = Egress::new();
        let blame = || {
            for number in 0..LOST_GROUPS {
                egress.lost(&Arc::from(format!("host {number}")), Way::Direct);
            }
        };
        blame();
        egress.try_again();
        assert!(egress.closed().is_some(), "too early");
        tokio::time::advance(TRY_AGAIN).await;
        egress.try_again();
        assert_eq!(egress.closed(), None);
        blame();
        assert!(egress.closed().is_some(), "it counts anew");
    }
}
