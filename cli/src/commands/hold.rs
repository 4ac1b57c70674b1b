//! `hold` and `release`: whether pods of the stores may be restarted, by the annotation `millrace.dev/hold-disruptions`.

use millrace_api::StreamingPipeline;
use millrace_api::labels::{HOLD_DISRUPTIONS, holds_disruptions};
use serde_json::{Value, json};

use super::Context;
use super::change::{Change, ours, patch, restarts};
use crate::arguments::OfPipeline;
use crate::cluster::names_of;
use crate::screen::write;
use crate::{Failure, Outcome};

/// Holds restarts, or lets them go on.
pub async fn run(context: &Context<'_>, flags: &OfPipeline, held: bool) -> Result<Outcome, Failure> {
    let mut pipeline = context.cluster.pipeline(flags.pipeline.as_deref()).await?;
    let changed = holds_disruptions(&pipeline) != held;
    if changed {
        let name = names_of(&pipeline).pipeline().to_owned();
        let value = if held { json!("true") } else { Value::Null };
        let change = json!({"metadata": {"annotations": {HOLD_DISRUPTIONS: value}}});
        let patched = patch(context, &name, &change).await;
        patched.map_err(Failure::asking(format!("change pipeline '{name}'")))?;
        let annotations = pipeline.metadata.annotations.get_or_insert_default();
        annotations.remove(HOLD_DISRUPTIONS);
        if held {
            annotations.insert(HOLD_DISRUPTIONS.to_owned(), "true".to_owned());
        }
    }
    write(&change(&pipeline, held, changed).text(context.format))?;
    Ok(Outcome::Fine)
}

/// Says what follows for a pipeline as it is now.
fn change(pipeline: &StreamingPipeline, held: bool, changed: bool) -> Change {
    let already = if changed { "" } else { " already" };
    let name = names_of(pipeline).pipeline().to_owned();
    if held {
        let done = format!("restarts of the stores' pods of '{name}' are held{already}");
        let next = "a pod that cannot run is still replaced, and changes to objects, topics, tables and workers \
                    continue";
        let undo = ours("release", pipeline);
        return Change::of(pipeline, changed, done, next.to_owned(), Some(undo));
    }
    let done = format!("restarts of the stores' pods of '{name}' are not held{already}");
    Change::of(pipeline, changed, done, restarts(pipeline), changed.then(|| ours("hold", pipeline)))
}

#[cfg(test)]
mod tests {
    use super::super::change::tests::pipeline;
    use super::*;

    #[test]
    fn holding_and_releasing_undo_each_other() {
        let held = pipeline(json!({HOLD_DISRUPTIONS: "true"}), json!({}), Value::Null);
        let free = pipeline(json!({}), json!({}), Value::Null);
        assert_eq!(change(&held, true, true).undo.as_deref(), Some("millrace release users -n shop"));
        assert_eq!(change(&free, false, true).undo.as_deref(), Some("millrace hold users -n shop"));
        assert!(change(&held, true, false).done.ends_with("are held already"));
        // Nothing was changed, so there is nothing to take back.
        assert_eq!(change(&free, false, false).undo, None);
    }
}
