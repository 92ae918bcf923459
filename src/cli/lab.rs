//! `presend lab`: serves a miniature internet until it is interrupted.

use super::{Exit, args::LabArgs, signal::Signals};
use crate::lab::{self, World};

pub(super) fn run(args: &LabArgs) -> anyhow::Result<Exit> {
    let world = World::load(&args.world)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = Signals::listen();
        lab::serve(world, &mut std::io::stdout(), signals.next()).await
    })?;
    Ok(Exit::Done)
}
