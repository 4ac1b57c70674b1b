//! The commands: each reads what it needs, has a pure function draw it, and says how it ended.

pub mod approve;
pub mod backfill;
pub mod change;
pub mod check;
pub mod console;
pub mod explain;
#[cfg(test)]
mod fixtures;
pub mod follow;
pub mod hold;
pub mod lag;
pub mod logs;
pub mod pause;
pub mod peek;
pub mod plan;
pub mod record;
pub mod replay;
pub mod report;
pub mod restart;
pub mod rows;
pub mod runs;
pub mod source;
pub mod status;
pub mod suspend;
pub mod trigger;
pub mod validate;

use clap::CommandFactory;

use crate::arguments::{Arguments, Command};
use crate::cluster::Cluster;
use crate::screen::{Format, Screen, write};
use crate::{Failure, Outcome};

/// What every command is given.
pub struct Context<'a> {
    /// The cluster.
    pub cluster: Cluster,
    /// How to write.
    pub format: Format,
    /// Where to.
    pub screen: &'a Screen,
}

/// Runs what was typed.
pub async fn run(arguments: &Arguments, screen: &Screen) -> Result<Outcome, Failure> {
    let format = arguments.common.output;
    match &arguments.command {
        Command::Completion { shell } => return completion(*shell),
        Command::Validate(flags) => return validate::run(flags, format, screen),
        _ => {}
    }
    let context = Context { cluster: Cluster::connect(&arguments.common).await?, format, screen };
    match &arguments.command {
        Command::Status(flags) => status::run(&context, flags).await,
        Command::Explain(flags) => explain::run(&context, flags).await,
        Command::Check(flags) => check::run(&context, flags).await,
        Command::Plan(flags) => plan::run(&context, flags).await,
        Command::Lag(flags) => lag::run(&context, flags).await,
        Command::Peek(flags) => peek::run(&context, flags).await,
        Command::Tail(flags) => peek::tail(&context, flags).await,
        Command::Rows(flags) => rows::run(&context, flags).await,
        Command::Logs(flags) => logs::run(&context, flags).await,
        Command::Trigger(flags) => trigger::run(&context, flags).await,
        Command::Runs(flags) => runs::run(&context, flags).await,
        Command::Backfill(flags) => backfill::run(&context, flags).await,
        Command::Pause(flags) => pause::run(&context, flags, true).await,
        Command::Resume(flags) => pause::run(&context, flags, false).await,
        Command::Hold(flags) => hold::run(&context, flags, true).await,
        Command::Release(flags) => hold::run(&context, flags, false).await,
        Command::Approve(flags) => approve::run(&context, flags).await,
        Command::Restart(flags) => restart::run(&context, flags).await,
        Command::Replay(flags) => replay::run(&context, flags).await,
        Command::Suspend(flags) => suspend::run(&context, flags, true).await,
        Command::Unsuspend(flags) => suspend::run(&context, flags, false).await,
        Command::Report(flags) => report::run(&context, flags).await,
        Command::Console(flags) => console::run(&context, flags).await,
        // Need no cluster.
        Command::Validate(_) | Command::Completion { .. } => Ok(Outcome::Fine),
    }
}

fn completion(shell: clap_complete::Shell) -> Result<Outcome, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "millrace", &mut script);
    write(&String::from_utf8_lossy(&script))?;
    Ok(Outcome::Fine)
}
