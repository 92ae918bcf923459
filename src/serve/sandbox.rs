//! The sandbox: a miniature internet inside the server, with an address for every label and most reasons.

use std::time::Duration;

use crate::{
    job::Settings,
    lab::{Lab, LabError, World, WorldError},
    smtp::{Identity, IdentityError, Timeouts},
};

/// The sandbox cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Its world cannot be read.
    #[error(transparent)]
    World(#[from] WorldError),
    /// Its servers cannot start.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// Its own name cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// A running sandbox; it ends when it is dropped.
pub struct Sandbox {
    lab: Lab,
}

impl Sandbox {
    /// Starts its name server and its mail hosts.
    ///
    /// # Errors
    /// Sockets cannot be had.
    pub async fn start() -> Result<Self, SandboxError> {
        let world = World::parse(include_str!("sandbox.toml"), "sandbox.toml")?;
        Ok(Self {
            lab: Lab::start(world).await?,
        })
    }

    /// Settings that ask the sandbox and nobody else.
    ///
    /// # Errors
    /// Its own name cannot be used.
    pub fn settings(&self) -> Result<Settings, SandboxError> {
        Ok(Settings {
            trusted: vec!["test".into()],
            timeouts: Timeouts {
                connect: Duration::from_millis(1500),
                reply: Duration::from_millis(1500),
                session: Duration::from_secs(4),
            },
            retry_ladder: vec![Duration::from_secs(2)].into(),
            max_wait: Duration::from_mins(1),
            ..Settings::for_lab(
                Identity::new("probe.presend.example", "postmaster@presend.example")?,
                vec![self.lab.dns()],
                self.lab.smtp_port(),
            )
        })
    }
}
