//! A miniature internet on loopback: a stub.

use std::{io, net::SocketAddr, path::Path};

/// A miniature internet.
#[derive(Debug, Clone, Default)]
pub struct World {}

/// A world that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read")]
pub struct WorldError;

/// A lab that cannot start.
#[derive(Debug, thiserror::Error)]
#[error("cannot start")]
pub struct LabError;

impl World {
    /// Reads a world from a file.
    ///
    /// # Errors
    /// The file cannot be read, or is not a world.
    pub fn load(path: &Path) -> Result<Self, WorldError> {
        let _ = path;
        Err(WorldError)
    }
}

/// The world of `presend demo`.
///
/// # Errors
/// Never.
pub fn demo_world() -> Result<World, WorldError> {
    Ok(World {})
}

/// The list of `presend demo`: CSV with a header.
#[must_use]
pub fn demo_list() -> &'static str {
    "name,email\nJane,jane@known.example\nJohn,john\n"
}

/// A running miniature internet.
#[derive(Debug)]
pub struct Lab {}

impl Lab {
    /// Starts DNS and hosts on the current tokio runtime.
    ///
    /// # Errors
    /// An address or port cannot be had.
    #[expect(clippy::unused_async, reason = "a stub")]
    pub async fn start(world: World) -> Result<Self, LabError> {
        let _ = world;
        Ok(Self {})
    }

    /// Where the DNS listens.
    #[must_use]
    pub fn dns(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 53))
    }

    /// The one port of all hosts.
    #[must_use]
    pub fn smtp_port(&self) -> u16 {
        25
    }
}

/// Serves a world until `stop` is ready.
///
/// # Errors
/// The lab cannot start.
pub async fn serve(
    world: World,
    out: &mut (dyn io::Write + Send),
    stop: impl Future<Output = ()> + Send,
) -> Result<(), LabError> {
    let _ = (world, out);
    stop.await;
    Ok(())
}
