//! `pause` and `resume`: whether a schedule makes runs. An edit of the one field, with the user's own rights.

use kube::Api;
use kube::api::PostParams;
use kube::core::{ApiResource, DynamicObject};
use millrace_api::StreamingPipeline;
use serde_json::{Value, json};

use super::{Context, source};
use crate::arguments::OneSource;
use crate::cluster::names_of;
use crate::screen::write;
use crate::{Failure, Outcome};

/// How often another's change in between is overcome.
const TRIES: usize = 5;

/// Sets whether the schedule of a source is paused.
pub async fn run(context: &Context<'_>, wanted: &OneSource, paused: bool) -> Result<Outcome, Failure> {
    let (pipeline, found) = source::find(context, wanted).await?;
    if found.schedule.is_none() {
        let message = format!("source '{}' has no schedule: it is fetched continuously", found.name);
        return Err(Failure::mistake(message));
    }
    let names = names_of(&pipeline);
    // Untyped, so that fields that this command does not know stay.
    let resource = ApiResource::erase::<StreamingPipeline>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(context.cluster.client.clone(), names.namespace(), &resource);
    let told = |error| Failure::asking(format!("change pipeline '{}'", names.pipeline()))(error);
    let mut tries = TRIES;
    loop {
        let mut object = api.get(names.pipeline()).await.map_err(told)?;
        let was = match set(&mut object.data, &found.name, paused) {
            Some(was) => was,
            None => return Err(Failure::mistake(format!("source '{}' no longer has a schedule", found.name))),
        };
        let said = if paused { "is paused" } else { "makes runs" };
        if was == paused {
            write(&format!("the schedule of '{}' {said} already\n", found.name))?;
            return Ok(Outcome::Fine);
        }
        match api.replace(names.pipeline(), &PostParams::default(), &object).await {
            Ok(_) => {
                write(&format!("the schedule of '{}' {said}\n", found.name))?;
                return Ok(Outcome::Fine);
            }
            Err(kube::Error::Api(status)) if status.code == 409 && tries > 1 => tries -= 1,
            Err(error) => return Err(told(error)),
        }
    }
}

/// Sets the field; returns what it was, or `None` where there is no such schedule.
fn set(pipeline: &mut Value, source: &str, paused: bool) -> Option<bool> {
    let sources = pipeline.pointer_mut("/spec/producer/sources")?.as_array_mut()?;
    let found = sources.iter_mut().find(|found| found["name"] == source)?;
    let schedule = found.get_mut("schedule")?.as_object_mut()?;
    let was = schedule.insert("paused".to_owned(), json!(paused));
    Some(was.and_then(|was| was.as_bool()).unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_one_field_and_nothing_else() {
        let mut pipeline = json!({"spec": {"later": 1, "producer": {"sources": [
            {"name": "a", "schedule": {"cron": "0 2 * * *"}}, {"name": "b", "schedule": {}}, {"name": "c"},
        ]}}});
        assert_eq!(set(&mut pipeline, "a", true), Some(false));
        assert_eq!(set(&mut pipeline, "a", true), Some(true));
        assert_eq!(set(&mut pipeline, "c", true), None);
        assert_eq!(set(&mut pipeline, "d", true), None);
        let expected = json!({"spec": {"later": 1, "producer": {"sources": [
            {"name": "a", "schedule": {"cron": "0 2 * * *", "paused": true}}, {"name": "b", "schedule": {}}, {"name": "c"},
        ]}}});
        assert_eq!(pipeline, expected);
    }
}
