//! `plan`: what a file would change, and what that restarts, before it is applied.
//!
//! The API server judges the file by a dry run, so that admission says what it would say and fills in what it would fill in.
//! What follows from a spec is what the operator's own pure steps make of it: those of this command's version.

use std::collections::BTreeSet;

use kube::api::{Api, PostParams};
use kube::core::{ApiResource, DynamicObject};
use millrace_api::labels::{PAUSED, is_paused};
use millrace_api::{StreamingPipeline, validate};
use millrace_operator::preview::{Change, Effect, changes};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::change::{remove_annotation, restarts};
use super::{Context, validate as files};
use crate::arguments::Plan;
use crate::screen::{Format, Screen, document, printable, write};
use crate::{Failure, Outcome};

/// How often another's change in between is overcome, such as a status that the operator writes.
const TRIES: usize = 5;
/// Longest value that is shown.
const MAX_SHOWN: usize = 60;

/// What a file would change.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Preview {
    namespace: String,
    pipeline: String,
    /// Whether there is no such pipeline yet.
    is_new: bool,
    /// What the API server or the operator refuses, in sentences. Empty: nothing.
    refused: Vec<String>,
    /// Fields of the spec that differ.
    fields: Vec<Field>,
    /// What the operator would do.
    changes: Vec<Change>,
    /// When pods of the stores would be restarted. Absent: none would be.
    restarts: Option<String>,
}

/// A field of the spec that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Field {
    path: String,
    from: Value,
    to: Value,
}

/// Shows what a file would change.
pub async fn run(context: &Context<'_>, flags: &Plan) -> Result<Outcome, Failure> {
    let file = flags.file.display().to_string();
    let text = files::read(&flags.file)?;
    let wanted = pipeline_in(&text).map_err(|why| Failure::mistake(format!("'{file}': {why}")))?;
    // What kubectl refuses although the API server would drop it, such as a misspelt field.
    let faults = files::faults(&text);
    let name = wanted.metadata.name.clone().unwrap_or_default();
    let namespace = wanted.metadata.namespace.clone().unwrap_or_else(|| context.cluster.namespace.clone());
    // Untyped, so that fields that this command does not know stay.
    let resource = ApiResource::erase::<StreamingPipeline>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(context.cluster.client.clone(), &namespace, &resource);
    if !faults.is_empty() {
        let refused = Preview { namespace, pipeline: name, refused: faults, ..Preview::of(false) };
        return show(context, &refused);
    }
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let mut tries = TRIES;
    let (found, judged) = loop {
        let found = api.get_opt(&name).await.map_err(Failure::asking(format!("read pipeline '{name}'")))?;
        let judged = match &found {
            Some(found) => api.replace(&name, &dry_run, &applied(found, &wanted)).await,
            None => api.create(&dry_run, &wanted).await,
        };
        match judged {
            Err(kube::Error::Api(status)) if status.code == 409 && tries > 1 => tries -= 1,
            judged => break (found, judged),
        }
    };
    let mut preview = match judged {
        Ok(judged) => preview(found, judged)?,
        // Refused by admission; all else is no answer.
        Err(kube::Error::Api(status)) if [400, 422].contains(&status.code) => {
            Preview { refused: vec![status.message.clone()], ..Preview::of(found.is_none()) }
        }
        Err(error) => return Err(Failure::asking(format!("try '{file}'"))(error)),
    };
    (preview.namespace, preview.pipeline) = (namespace, name);
    show(context, &preview)
}

fn show(context: &Context<'_>, preview: &Preview) -> Result<Outcome, Failure> {
    let text = match context.format {
        Format::Table => shown(preview, context.screen),
        format => document(format, preview),
    };
    write(&text)?;
    Ok(Outcome::wrong_if(!preview.refused.is_empty()))
}

/// Returns the only pipeline among the documents of a file.
fn pipeline_in(text: &str) -> Result<DynamicObject, String> {
    let mut pipelines = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let value = Value::deserialize(document).map_err(|error| format!("not valid YAML: {error}"))?;
        if value["kind"] == "StreamingPipeline" {
            pipelines.push(value);
        }
    }
    let count = pipelines.len();
    let (Some(pipeline), 1) = (pipelines.pop(), count) else {
        return Err(match count {
            0 => "it contains no StreamingPipeline".to_owned(),
            count => format!("{count} StreamingPipelines instead of one; give one at a time"),
        });
    };
    if pipeline["metadata"]["name"].as_str().is_none_or(str::is_empty) {
        return Err("metadata.name is missing".to_owned());
    }
    serde_json::from_value(pipeline).map_err(|error| format!("not a StreamingPipeline: {error}"))
}

/// Returns a pipeline as it would be after the file was applied. Labels and annotations of others stay.
fn applied(found: &DynamicObject, wanted: &DynamicObject) -> DynamicObject {
    let mut applied = found.clone();
    applied.data["spec"] = wanted.data["spec"].clone();
    let labels = wanted.metadata.labels.clone().unwrap_or_default();
    applied.metadata.labels.get_or_insert_default().extend(labels);
    let annotations = wanted.metadata.annotations.clone().unwrap_or_default();
    applied.metadata.annotations.get_or_insert_default().extend(annotations);
    applied
}

impl Preview {
    fn of(is_new: bool) -> Self {
        Self {
            namespace: String::new(),
            pipeline: String::new(),
            is_new,
            refused: Vec::new(),
            fields: Vec::new(),
            changes: Vec::new(),
            restarts: None,
        }
    }
}

/// Compares a pipeline as it is with one as it would be.
fn preview(found: Option<DynamicObject>, judged: DynamicObject) -> Result<Preview, Failure> {
    let mut preview = Preview::of(found.is_none());
    let spec = |object: &DynamicObject| object.data["spec"].clone();
    if let Some(found) = &found {
        compare("spec", &spec(found), &spec(&judged), &mut preview.fields);
    }
    let parse = |object: DynamicObject| {
        object.try_parse::<StreamingPipeline>().map_err(|error| {
            Failure::mistake(format!(
                "this command does not understand the pipeline: {error}; use one of the operator's version"
            ))
        })
    };
    let after = parse(judged)?;
    let judged = validate(&after, millrace_sql::judge);
    preview.refused = judged.rejected.iter().map(ToString::to_string).collect();
    let before = found.map(parse).transpose()?.and_then(|before| validate(&before, millrace_sql::judge).pipeline);
    if let (Some(before), Some(wanted)) = (before, judged.pipeline) {
        preview.changes = changes(&before, &wanted);
    }
    if preview.changes.iter().any(|change| change.effect >= Effect::PossibleRestart) {
        preview.restarts = Some(restarts(&after));
    } else if is_paused(&after) && !preview.changes.is_empty() {
        let resume = remove_annotation(&after, PAUSED);
        preview.restarts = Some(format!("nothing happens until the operator is no longer paused (`{resume}`)"));
    }
    Ok(preview)
}

/// Collects the fields that differ. Items that have a name are compared by it.
fn compare(path: &str, from: &Value, to: &Value, fields: &mut Vec<Field>) {
    match (from, to) {
        (from, to) if from == to => {}
        (Value::Object(before), Value::Object(after)) => {
            for key in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
                let of = |object: &serde_json::Map<String, Value>| object.get(key).cloned().unwrap_or(Value::Null);
                compare(&format!("{path}.{key}"), &of(before), &of(after), fields);
            }
        }
        (Value::Array(before), Value::Array(after)) if are_named(before) && are_named(after) => {
            for name in before.iter().chain(after).filter_map(name_of).collect::<BTreeSet<_>>() {
                let of = |items: &[Value]| {
                    items.iter().find(|item| name_of(item) == Some(name)).cloned().unwrap_or(Value::Null)
                };
                compare(&format!("{path}[{name}]"), &of(before), &of(after), fields);
            }
        }
        (from, to) => fields.push(Field { path: path.to_owned(), from: from.clone(), to: to.clone() }),
    }
}

fn are_named(items: &[Value]) -> bool {
    items.iter().all(|item| name_of(item).is_some())
}

fn name_of(item: &Value) -> Option<&str> {
    item.get("name")?.as_str()
}

fn shown(preview: &Preview, screen: &Screen) -> String {
    let Preview { namespace, pipeline, is_new, refused, fields, changes, restarts } = preview;
    let mut text = String::new();
    if !refused.is_empty() {
        text.push_str(&format!(
            "pipeline '{pipeline}' in namespace '{namespace}' would be refused, as a whole or in part:\n"
        ));
        refused.iter().for_each(|why| text.push_str(&format!("  - {}\n", printable(why))));
    }
    if *is_new {
        if refused.is_empty() {
            text.push_str(&format!("pipeline '{pipeline}' would be created in namespace '{namespace}'\n"));
        }
        return text;
    }
    if fields.is_empty() {
        if refused.is_empty() {
            text.push_str(&format!("nothing of pipeline '{pipeline}' in namespace '{namespace}' would change\n"));
        }
        return text;
    }
    let rows: Vec<Vec<String>> =
        fields.iter().map(|field| vec![field.path.clone(), short(&field.from), short(&field.to)]).collect();
    text.push_str(&screen.table(&["FIELD", "NOW", "THEN"], &rows));
    if !changes.is_empty() {
        let row =
            |change: &Change| vec![change.component.to_string(), effect(change.effect).to_owned(), change.what.clone()];
        let rows: Vec<Vec<String>> = changes.iter().map(row).collect();
        text.push('\n');
        text.push_str(&screen.table(&["COMPONENT", "PODS", "WHAT CHANGES"], &rows));
    }
    match restarts {
        Some(restarts) => text.push_str(&format!("\n{restarts}\n")),
        None => text.push_str("\nno pod of a store is restarted\n"),
    }
    text
}

fn effect(effect: Effect) -> &'static str {
    match effect {
        Effect::None => "no restart",
        Effect::Rollout => "rolling update",
        Effect::PossibleRestart => "restart, unless the brokers accept it while they run",
        Effect::Restart => "restart one at a time",
    }
}

fn short(value: &Value) -> String {
    let text = match value {
        Value::Null => return "-".to_owned(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ONE: &str = include_str!("../../../e2e/samples/accepted/one-of-each.yaml");

    /// Returns a pipeline, as it is and with changes at pointers of its spec.
    fn pair(changes: &[(&str, Value)]) -> (DynamicObject, DynamicObject) {
        let mut found = pipeline_in(ONE).expect("the sample is a pipeline");
        found.metadata.namespace = Some("shop".to_owned());
        let mut judged = found.clone();
        for (pointer, value) in changes {
            let (parent, key) = pointer.rsplit_once('/').expect("a pointer begins with '/'");
            let parent = judged.data["spec"].pointer_mut(parent).expect("the parent exists");
            match parent {
                Value::Array(items) => items.push(value.clone()),
                parent => parent[key] = value.clone(),
            }
        }
        (found, judged)
    }

    fn previewed(changes: &[(&str, Value)]) -> Preview {
        let (found, judged) = pair(changes);
        preview(Some(found), judged).expect("both are pipelines")
    }

    fn told(preview: &Preview) -> Vec<(String, Effect)> {
        preview.changes.iter().map(|change| (change.component.to_string(), change.effect)).collect()
    }

    fn owned(told: &[(&str, Effect)]) -> Vec<(String, Effect)> {
        told.iter().map(|(component, effect)| ((*component).to_owned(), *effect)).collect()
    }

    #[test]
    fn an_equal_spec_changes_nothing() {
        let preview = previewed(&[]);
        assert_eq!((preview.fields, preview.changes, preview.restarts), (Vec::new(), Vec::new(), None));
    }

    #[test]
    fn says_which_pods_a_change_restarts() {
        let limits = json!({"requests": {"memory": "900Mi"}, "limits": {"memory": "900Mi"}});
        let preview = previewed(&[("/kafka/resources", limits)]);
        assert_eq!(told(&preview), owned(&[("kafka", Effect::Restart)]));
        assert!(preview.changes[0].what.contains("spec.containers[kafka].resources"), "{:?}", preview.changes);
        assert!(preview.restarts.is_some_and(|restarts| restarts.contains("one at a time")));

        let preview = previewed(&[("/processor/maxInFlight", json!(77))]);
        assert_eq!(told(&preview), owned(&[("processor", Effect::Rollout)]));
        assert_eq!(preview.restarts, None);

        let topic = json!({"name": "late", "partitions": 2});
        let preview = previewed(&[("/kafka/topics/-", topic)]);
        assert_eq!(told(&preview), owned(&[("kafka", Effect::None)]));
        assert_eq!(preview.changes[0].what, "topic 'late' is created with 2 partitions");
    }

    #[test]
    fn what_brokers_may_accept_while_they_run_is_told_from_what_they_cannot() {
        let preview = previewed(&[("/kafka/config", json!({"message.max.bytes": "2097152"}))]);
        assert_eq!(told(&preview), owned(&[("kafka", Effect::PossibleRestart)]));
        assert_eq!(preview.changes[0].what, "message.max.bytes");
    }

    #[test]
    fn more_servers_restart_the_brokers_that_connect_to_them() {
        let preview = previewed(&[("/zookeeper/replicas", json!(3))]);
        assert!(told(&preview).contains(&("zookeeper".to_owned(), Effect::None)), "{:?}", preview.changes);
        assert!(told(&preview).iter().any(|(component, effect)| component == "kafka" && *effect == Effect::Restart));
    }

    #[test]
    fn fields_are_named_by_their_items() {
        let preview = previewed(&[("/processor/maxInFlight", json!(77))]);
        assert_eq!(preview.fields[0].path, "spec.processor.maxInFlight");
        let (from, to) = (json!([{"name": "a", "x": 1}, {"name": "b"}]), json!([{"name": "b"}, {"name": "a", "x": 2}]));
        let mut fields = Vec::new();
        compare("spec.topics", &from, &to, &mut fields);
        assert_eq!(fields, [Field { path: "spec.topics[a].x".to_owned(), from: json!(1), to: json!(2) }]);
    }

    #[test]
    fn a_file_has_one_pipeline() {
        let two = format!("{ONE}\n---\n{ONE}");
        assert_eq!(pipeline_in(&two).expect_err("two"), "2 StreamingPipelines instead of one; give one at a time");
        assert_eq!(pipeline_in("kind: Pod").expect_err("none"), "it contains no StreamingPipeline");
        assert!(pipeline_in("a: [").is_err_and(|error| error.starts_with("not valid YAML")));
    }

    #[test]
    fn draws_fields_and_effects() {
        let preview = previewed(&[("/kafka/topics/-", json!({"name": "late", "partitions": 2}))]);
        let screen = Screen::default();
        let text = shown(&preview, &screen);
        assert!(text.contains("spec.kafka.topics[late]"), "{text}");
        assert!(text.contains("no restart"), "{text}");
        assert!(text.ends_with("no pod of a store is restarted\n"), "{text}");
        let refused = Preview { refused: vec!["spec.x: no".to_owned()], ..Preview::of(false) };
        assert!(shown(&refused, &screen).contains("would be refused"));
    }
}
