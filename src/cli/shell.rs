//! `presend completions` and `presend man`.

use std::io::Write;

use super::{
    Exit,
    args::{CompletionsArgs, ManArgs},
    fault::fault,
};

pub(super) fn completions(args: &CompletionsArgs, command: &mut clap::Command) -> anyhow::Result<Exit> {
    // Into memory first: the generator panics when the reader of a pipe is gone.
    let mut text = Vec::new();
    clap_complete::generate(args.shell, command, "presend", &mut text);
    std::io::stdout().write_all(&text)?;
    Ok(Exit::Done)
}

pub(super) fn man(args: &ManArgs, command: &clap::Command) -> anyhow::Result<Exit> {
    let page = match &args.command {
        None => command.clone(),
        Some(name) => {
            let Some(found) = command.find_subcommand(name) else {
                let names: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
                let known = names.join("`, `");
                return Err(fault(
                    format!("there is no command `{name}`"),
                    format!("the commands are `{known}`"),
                ));
            };
            let full = format!("presend-{name}");
            found.clone().name(full.clone()).display_name(full)
        }
    };
    let mut text = Vec::new();
    clap_mangen::Man::new(page).render(&mut text)?;
    std::io::stdout().write_all(&text)?;
    Ok(Exit::Done)
}
