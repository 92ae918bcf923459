//! A record of one dialogue, for people and for tests.

use std::{net::SocketAddr, sync::Arc, time::Duration};

/// One session as it was spoken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transcript {
    /// MX host name.
    pub host: Arc<str>,
    /// Where we connected to.
    pub peer: SocketAddr,
    /// What was said, in order.
    pub entries: Vec<Entry>,
}

/// One thing said or noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Time since the connection was opened.
    pub at: Duration,
    /// Who spoke.
    pub who: Speaker,
    /// One line without its line end; control characters were replaced.
    pub text: Box<str>,
}

/// Who spoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Speaker {
    /// presend.
    Client,
    /// The mail host.
    Server,
    /// A note of ours: connected, TLS agreed, time-out.
    Note,
}
