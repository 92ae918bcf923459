//! What can be changed while the server runs: lists, reply rules, decisions about verdicts, and the certificate.
//!
//! All or nothing: what cannot be used leaves the old state.

use std::sync::Arc;

use super::Shared;
use crate::job::{Settings, StartError};

/// Changes a running server.
#[derive(Clone)]
pub struct Reloader(pub(super) Shared);

impl Reloader {
    /// Uses these lists, rules and decisions from now on. Questions under way keep theirs; nobody is asked twice.
    ///
    /// # Errors
    /// The reply rules cannot be used; nothing has changed then.
    pub fn settings(&self, settings: Settings) -> Result<(), StartError> {
        let engine = self.0.engines.any().reload(settings)?;
        self.0.engines.replace(engine);
        Ok(())
    }

    /// Reads the certificate again, and says in the log what came of it.
    pub fn certificate(&self) {
        if let Some(tls) = &self.0.options.tls {
            Arc::clone(tls).look();
        }
    }
}
