//! The machine itself: where its settings come from, how many files it may open, its routes, its clock.

use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::Instant;

use super::{Check, Status};
use crate::{
    clock::Clock,
    net::{has_ipv6_route, open_file_limit},
};

/// Files a list run opens at most: 512 sessions, name servers, lists and results.
const FILES_WANTED: usize = 1024;
/// Below that hardly a session fits beside the questions to the name server.
const FILES_NEEDED: usize = 128;
/// presend is younger than any earlier time: 2026-01-01, and older than any later one: 2100-01-01.
const EARLIEST: u64 = 1_767_225_600;
const LATEST: u64 = 4_102_444_800;
/// The wall clock may be slewed, not stepped, while we look.
const STEP: Duration = Duration::from_secs(1);

/// What the operating system says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Where the settings come from, for people.
    pub settings: String,
    /// The soft limit on open files.
    pub open_files: usize,
    /// There is a route to the IPv6 internet.
    pub ipv6_route: bool,
    /// What keeps the clock right, where the system tells.
    pub time_source: Option<&'static str>,
}

impl Machine {
    /// Looks at this machine.
    #[must_use]
    pub fn look(settings: String) -> Self {
        let running = |path: &str| Path::new(path).exists();
        // systemd-timesyncd makes the file when it has agreed with a server; chronyd and ntpd only say that they run.
        let time_source = if running("/run/systemd/timesync/synchronized") {
            Some("synchronised by systemd-timesyncd")
        } else if running("/run/chrony/chronyd.pid") || running("/run/chronyd.pid") {
            Some("chronyd runs")
        } else if running("/run/ntpd.pid") || running("/run/ntpsec/ntpd.pid") {
            Some("ntpd runs")
        } else {
            None
        };
        Self {
            settings,
            open_files: open_file_limit(),
            ipv6_route: has_ipv6_route(),
            time_source,
        }
    }

    pub(super) fn settings(&self) -> Check {
        Check::new("settings", Status::Pass, &*self.settings)
    }

    pub(super) fn open_files(&self) -> Check {
        let seen = format!("{} open files permitted", self.open_files);
        let (status, advice) = match self.open_files {
            ..FILES_NEEDED => (Status::Fail, true),
            FILES_NEEDED..FILES_WANTED => (Status::Warn, true),
            FILES_WANTED.. => (Status::Pass, false),
        };
        let check = Check::new("open_files", status, seen);
        if advice {
            check.advice(format!(
                "raise the limit: `ulimit -n {FILES_WANTED}`; large lists take longer without"
            ))
        } else {
            check
        }
    }

    pub(super) fn ipv6(&self) -> Check {
        let seen = if self.ipv6_route {
            "there is a route to IPv6"
        } else {
            "no route to IPv6: hosts that have no IPv4 address cannot be asked"
        };
        Check::new("ipv6", Status::Pass, seen)
    }

    pub(super) fn clock(&self, before: Instants, after: Instants) -> Check {
        let seconds = after.wall.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let steady = after.steady.saturating_duration_since(before.steady);
        let wall = after.wall.duration_since(before.wall);
        let advice = "set the clock and let NTP keep it: retries and dates in results depend on it";
        if !(EARLIEST..LATEST).contains(&seconds) {
            let time = UNIX_EPOCH + Duration::from_secs(seconds.min(LATEST));
            let said = humantime::format_rfc3339_seconds(time);
            return Check::new("clock", Status::Fail, format!("it says {said}")).advice(advice);
        }
        let time = humantime::format_rfc3339_seconds(after.wall);
        if wall.map_or(true, |wall| wall.abs_diff(steady) > STEP) {
            let seen = format!("it says {time} and was stepped during this examination");
            return Check::new("clock", Status::Warn, seen).advice(advice);
        }
        let source = self.time_source.unwrap_or("the system does not say who keeps it right");
        Check::new("clock", Status::Pass, format!("it says {time}; {source}"))
    }
}

/// The two clocks, read together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Instants {
    wall: SystemTime,
    steady: Instant,
}

impl Instants {
    pub(super) fn now(clock: &dyn Clock) -> Self {
        Self {
            wall: clock.now(),
            steady: Instant::now(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine {
            settings: String::new(),
            open_files: 1024,
            ipv6_route: false,
            time_source: None,
        }
    }

    #[test]
    fn few_open_files_are_told() {
        for (open_files, status) in [
            (64, Status::Fail),
            (127, Status::Fail),
            (128, Status::Warn),
            (1023, Status::Warn),
            (1024, Status::Pass),
        ] {
            let check = Machine {
                open_files,
                ..machine()
            }
            .open_files();
            assert_eq!((check.status, check.advice.is_some()), (status, status != Status::Pass));
        }
    }

    #[test]
    fn clocks_that_are_wrong_or_jump_are_told() {
        let steady = Instant::now();
        let at = |wall: u64, steady_s: u64| Instants {
            wall: UNIX_EPOCH + Duration::from_secs(wall),
            steady: steady + Duration::from_secs(steady_s),
        };
        let now = EARLIEST + 86_400;
        for (before, after, status) in [
            (at(now, 0), at(now + 10, 10), Status::Pass),
            (at(now, 0), at(now + 11, 10), Status::Pass),
            (at(now, 0), at(now + 12, 10), Status::Warn),
            (at(now, 0), at(now + 8, 10), Status::Warn),
            (at(now, 0), at(now - 1, 0), Status::Warn),
            (at(0, 0), at(1, 1), Status::Fail),
            (at(LATEST, 0), at(LATEST, 0), Status::Fail),
            (
                at(u64::from(u32::MAX) * 1000, 0),
                at(u64::from(u32::MAX) * 1000, 0),
                Status::Fail,
            ),
        ] {
            let check = machine().clock(before, after);
            assert_eq!(check.status, status, "{}", check.seen);
        }
    }
}
