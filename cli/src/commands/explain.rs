//! `explain`: why a pipeline is not ready or slow, what shows it, and the command that helps.
//!
//! ```text
//! facts        the resource, the warnings about its objects, and how long records wait → Facts; the only part that asks
//! judge        Facts → Explanation: what is the matter first, with its evidence   pure, as all below
//! look         what conditions and events show
//! slow         records that wait for long
//! fixes        a reason and a message → what to do, and the command
//! tell         an Explanation as a paragraph
//! explanation  what it consists of
//! ```

mod explanation;
mod facts;
mod fixes;
mod judge;
mod look;
mod slow;
mod tell;

use chrono::{DateTime, Utc};
use millrace_api::StreamingPipeline;

use super::Context;
use crate::arguments::OfPipeline;
use crate::screen::{Format, Screen, document, write};
use crate::{Failure, Outcome};
use explanation::Verdict;
use facts::Facts;
pub(in crate::commands) use facts::component_of;
use judge::judge;
use tell::paragraph;

/// Explains a pipeline by its resource alone, as `-o json` prints it: without events, and without asking the brokers. The
/// operator's tests read in it whether what they report leads to the true cause.
pub fn explained(pipeline: &StreamingPipeline, now: DateTime<Utc>) -> String {
    document(Format::Json, &judge(&Facts::of(pipeline, now)))
}

/// Explains a pipeline.
pub async fn run(context: &Context<'_>, flags: &OfPipeline) -> Result<Outcome, Failure> {
    let pipeline = context.cluster.pipeline(flags.pipeline.as_deref()).await?;
    let facts = facts::read(context, &pipeline).await;
    let explanation = judge(&facts);
    let text = match context.format {
        Format::Table => paragraph(&explanation, facts.now, context.screen),
        format => document(format, &explanation),
    };
    write(&text)?;
    Ok(Outcome::wrong_if(!matches!(explanation.verdict, Verdict::Well | Verdict::Held)))
}

/// Returns the paragraph, for a report.
pub(super) async fn drawn(context: &Context<'_>, pipeline: &StreamingPipeline) -> String {
    let facts = facts::read(context, pipeline).await;
    paragraph(&judge(&facts), facts.now, &Screen::default())
}
