//! `status`: the readiness chain as a tree with causes, from the resource's own conditions.
//!
//! A link hangs below what waits for it, so that the deepest link that is not met is the cause.

mod report;
mod tree;

use millrace_api::StreamingPipeline;

use super::Context;
use crate::arguments::Status;
use crate::screen::{Format, document, write};
use crate::{Failure, Outcome};
pub use report::{Link, Report, State, report};
pub use tree::tree;

/// Shows one pipeline, or all.
pub async fn run(context: &Context<'_>, flags: &Status) -> Result<Outcome, Failure> {
    let pipelines: Vec<StreamingPipeline> = match &flags.pipeline {
        Some(name) => vec![context.cluster.pipeline(Some(name)).await?],
        None => context.cluster.pipelines(flags.all_namespaces).await?,
    };
    if pipelines.is_empty() {
        let place = match flags.all_namespaces {
            true => "in any namespace".to_owned(),
            false => format!("in namespace '{}'; search all namespaces with -A", context.cluster.namespace),
        };
        return Err(Failure::mistake(format!("there is no pipeline {place}")));
    }
    let reports: Vec<Report> = pipelines.iter().map(report).collect();
    let text = match (context.format, &flags.pipeline) {
        (Format::Table, _) => reports.iter().map(|report| tree(report, context.screen)).collect::<Vec<_>>().join("\n"),
        (format, Some(_)) => document(format, &reports[0]),
        (format, None) => document(format, &reports),
    };
    write(&text)?;
    Ok(Outcome::wrong_if(reports.iter().any(|report| report.ready != State::Met)))
}
