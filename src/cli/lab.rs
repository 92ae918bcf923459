//! `presend lab`: serves a miniature internet until it is interrupted.

use super::{Exit, args::LabArgs};
use crate::lab::{self, World};

pub(super) fn run(args: &LabArgs) -> anyhow::Result<Exit> {
    let world = World::load(&args.world)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let stop = async {
        // Without a signal handler the lab runs until it is killed.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    runtime.block_on(lab::serve(world, &mut std::io::stdout(), stop))?;
    Ok(Exit::Done)
}
