//! Does anything leave this machine at all? A run in which no mail host can be reached stops, instead of calling every host
//! unreachable (HOSTILE S16).

use std::{
    collections::HashSet,
    io,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

/// Mail-host groups that must be out of reach, without a single success, before the network is blamed. In a mailing list one
/// host in a hundred is dead; ten dead ones in a row before the first living one are not a matter of chance.
const SILENT_GROUPS: usize = 10;
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

/// What the run has seen of the way out.
#[derive(Debug)]
pub(super) struct Egress {
    /// Groups out of reach; `None` once any host was reached.
    silent: Mutex<Option<HashSet<Arc<str>>>>,
    /// Since when.
    blocked: watch::Sender<Option<Instant>>,
}

impl Egress {
    pub(super) fn new() -> Self {
        Self {
            silent: Mutex::new(Some(HashSet::new())),
            blocked: watch::Sender::new(None),
        }
    }

    /// A connection stood: from now on a host that cannot be reached is that host's fault.
    pub(super) fn reached(&self) {
        *self.silent.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Every address of a host of this group failed as it would if port 25 were filtered.
    pub(super) fn silent(&self, group: &Arc<str>) {
        let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(groups) = silent.as_mut() else { return };
        groups.insert(Arc::clone(group));
        if groups.len() >= SILENT_GROUPS && !self.is_blocked() {
            tracing::warn!(groups = groups.len(), "port 25 seems blocked");
            self.blocked.send_replace(Some(Instant::now()));
        }
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.borrow().is_some()
    }

    /// A new run begins: what was blocked a while ago may be open.
    pub(super) fn try_again(&self) {
        let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        let over = |since: &mut Option<Instant>| {
            let over = since.is_some_and(|since| since.elapsed() >= TRY_AGAIN);
            if over {
                *since = None;
            }
            over
        };
        if self.blocked.send_if_modified(over) {
            *silent = Some(HashSet::new());
        }
    }

    /// Waits until nothing seems to get out.
    pub(super) async fn blocked(&self) {
        let mut seen = self.blocked.subscribe();
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
        let groups: Vec<Arc<str>> = (0..SILENT_GROUPS).map(|n| Arc::from(format!("host {n}"))).collect();
        let (last, others) = groups.split_last().unwrap();
        let egress = Egress::new();
        for group in others.iter().chain(others) {
            egress.silent(group);
        }
        assert!(!egress.is_blocked(), "one group counts once");
        egress.silent(last);
        assert!(egress.is_blocked());

        let egress = Egress::new();
        egress.reached();
        for group in &groups {
            egress.silent(group);
        }
        assert!(!egress.is_blocked(), "one success is enough");
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_run_tries_again() {
        let egress = Egress::new();
        let blame = || {
            for number in 0..SILENT_GROUPS {
                egress.silent(&Arc::from(format!("host {number}")));
            }
        };
        blame();
        egress.try_again();
        assert!(egress.is_blocked(), "too early");
        tokio::time::advance(TRY_AGAIN).await;
        egress.try_again();
        assert!(!egress.is_blocked());
        blame();
        assert!(egress.is_blocked(), "it counts anew");
    }
}
