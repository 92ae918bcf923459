//! A lab whose hosts complain by themselves: what a verifier must never do fails the test, without the test having to ask.

use std::ops::Deref;

use presend::{
    lab::{Lab, LabError, World},
    schedule::Limits,
};

use crate::fake::allowance;

/// Hosts that the program is told to trust (`--trusted-host`).
type Trusted = fn(&str) -> bool;

/// A running lab; dropping it looks at what its hosts saw, and stops it.
pub(crate) struct Watched {
    lab: Lab,
    trusted: Trusted,
}

impl Watched {
    pub(crate) async fn start(world: World, trusted: Trusted) -> Result<Self, LabError> {
        let lab = Lab::start(world).await?;
        Ok(Self { lab, trusted })
    }
}

/// The tests' worlds have their own hosts below `.test`.
pub(crate) fn below_test(host: &str) -> bool {
    host.strip_suffix(".test").is_some()
}

impl Deref for Watched {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.lab
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        for (name, host) in &self.lab.counters().hosts {
            let found = host.complaints((!(self.trusted)(name)).then(|| allowance(&Limits::POLITE)));
            assert!(found.is_empty(), "{name}: {found:?}");
        }
    }
}
