//! Ctrl-C and SIGTERM, from the first row to the last: the system's own rules do not come back once somebody listened.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{runtime::Runtime, time};

use super::super::{fault::note, signal::Signals};
use crate::job::Stop;

/// How long whoever only reads and writes has to end; a pipe that says nothing more never would.
const GRACE: Duration = Duration::from_secs(2);

/// Listens as long as it lives.
pub(super) struct Interrupt {
    pub(super) runtime: Runtime,
    pub(super) stop: Stop,
    /// Somebody is asked, and to be taken leave of.
    asking: Arc<AtomicBool>,
}

impl Interrupt {
    /// Starts to listen.
    pub(super) fn listen() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let (stop, asking) = (Stop::new(), Arc::new(AtomicBool::new(false)));
        let signals = Signals::listen_on(&runtime);
        runtime.spawn(end(signals, stop.clone(), Arc::clone(&asking)));
        Ok(Self { runtime, stop, asking })
    }

    /// From now on it is up to whoever is asked when this ends; a second signal ends it at once.
    pub(super) fn asking(&self) {
        self.asking.store(true, Ordering::Relaxed);
    }

    /// Nobody is asked any more. What was answered is still written down when that was interrupted.
    pub(super) fn asked(&self) {
        self.asking.store(self.stop.is_requested(), Ordering::Relaxed);
    }

    pub(super) fn happened(&self) -> bool {
        self.stop.is_requested()
    }

    /// Nobody waits for what was left behind.
    pub(super) fn end(self) {
        self.runtime.shutdown_background();
    }
}

async fn end(mut signals: Signals, stop: Stop, asking: Arc<AtomicBool>) {
    signals.next().await;
    note("stopping: what is known is written; once more to end at once");
    stop.request();
    let graceful = async {
        time::sleep(GRACE).await;
        while asking.load(Ordering::Relaxed) {
            time::sleep(GRACE).await;
        }
    };
    tokio::select! {
        () = signals.next() => {}
        () = graceful => {}
    }
    std::process::exit(130);
}
