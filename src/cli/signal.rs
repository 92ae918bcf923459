//! Ctrl-C and SIGTERM.

use super::fault::note;
use crate::job::Stop;

/// The signals that end a run. Listens from the moment it is made, so that none falls between the program's first words
/// and the first wait.
pub(super) struct Signals {
    #[cfg(unix)]
    handlers: Option<[tokio::signal::unix::Signal; 2]>,
}

/// The signal to read the configuration again, SIGHUP.
pub(super) struct Hangups {
    #[cfg(unix)]
    handler: Option<tokio::signal::unix::Signal>,
}

impl Hangups {
    /// Starts to listen; needs the runtime.
    pub(super) fn listen() -> Self {
        Self {
            #[cfg(unix)]
            handler: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).ok(),
        }
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        #[cfg(unix)]
        if let Some(handler) = &mut self.handler
            && handler.recv().await.is_some()
        {
            return;
        }
        std::future::pending::<()>().await;
    }
}

impl Signals {
    /// Starts to listen; needs the runtime.
    pub(super) fn listen() -> Self {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let both = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
            let handlers = match both {
                [Ok(interrupt), Ok(terminate)] => Some([interrupt, terminate]),
                // Without handlers the system's own rules end the program.
                _ => None,
            };
            Self { handlers }
        }
        #[cfg(not(unix))]
        Self {}
    }

    /// Starts to listen, from outside of the runtime.
    pub(super) fn listen_on(runtime: &tokio::runtime::Runtime) -> Self {
        let _inside = runtime.enter();
        Self::listen()
    }

    /// Waits for the next signal.
    pub(super) async fn next(&mut self) {
        #[cfg(unix)]
        match &mut self.handlers {
            Some([interrupt, terminate]) => {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            }
            None => std::future::pending().await,
        }
        #[cfg(not(unix))]
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The first signal asks politely, the second ends everything at once.
    pub(super) async fn stop_then_exit(mut self, stop: Stop) {
        self.next().await;
        note("stopping: sessions are being closed and what is known is written; once more to end at once");
        stop.request();
        self.next().await;
        std::process::exit(130);
    }
}
