//! What happens to jobs and verifications, announced to whoever listens inside the server: webhooks above all.
//!
//! What happened is in the database ([`crate::store::Happening`]), written in the very transaction in which it happens, by whichever
//! process did it: nothing is lost by a kill, and nothing is announced that did not happen. Here is only the bell.
//!
//! How to listen: keep the number of the last happening that was dealt with in a table of your own, in the transaction in which it
//! was dealt with. Then, from the start of the server on:
//!
//! ```text
//! let mut bell = shared.bell.listen();
//! loop {
//!     while there are happenings = store.happenings(last, 100)? { deal with them; last = the last one's number }
//!     bell.rings().await;
//! }
//! ```
//!
//! A bell that rings while nobody waits is remembered. It may ring for nothing, and another process (`presend jobs cancel`) does
//! not ring it: look again from time to time ([`LOOK`] does that in [`Listener::rings`]).

use std::time::Duration;

use tokio::sync::watch;

/// How long a listener waits at most.
const LOOK: Duration = Duration::from_secs(5);

/// Rung after something happened.
#[derive(Debug, Clone)]
pub(super) struct Bell(watch::Sender<()>);

/// One who waits for the bell.
#[derive(Debug)]
pub(super) struct Listener(watch::Receiver<()>);

impl Bell {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(()))
    }

    /// Something is in the database.
    pub(super) fn ring(&self) {
        self.0.send_replace(());
    }

    pub(super) fn listen(&self) -> Listener {
        Listener(self.0.subscribe())
    }
}

impl Listener {
    /// Waits until there is something to look for.
    pub(super) async fn rings(&mut self) {
        // The bell is the server's: when it is gone, nobody listens any longer.
        let _ = tokio::time::timeout(LOOK, self.0.changed()).await;
    }
}
