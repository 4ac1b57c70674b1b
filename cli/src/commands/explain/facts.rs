//! What is known of a pipeline: its status, the warnings about its objects, and how long records wait in its topics.
//!
//! What the user may not read, or what does not answer, is named, and the rest is explained without it.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::try_join;
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::ListParams;
use millrace_api::StreamingPipeline;
use millrace_api::crd::condition::ConditionType;
use millrace_api::crd::{ScalingMode, StreamingPipelineStatus};
use millrace_api::names::{Component, Names};

use crate::Failure;
use crate::cluster::names_of;
use crate::commands::Context;
use crate::stores::kafka;

/// Most events of a namespace that are looked through.
const MAX_EVENTS: u32 = 500;

/// What is known of a pipeline.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) namespace: String,
    pub(super) pipeline: String,
    /// Generation of the spec that is there now.
    pub(super) generation: Option<i64>,
    /// Processors that are wanted.
    pub(super) processors: i32,
    /// Whether the operator sets their number by the load.
    pub(super) is_scaled: bool,
    /// What the operator last reported. `None`: it has not looked yet.
    pub(super) status: Option<StreamingPipelineStatus>,
    /// Warnings about the pipeline's objects.
    pub(super) warnings: Vec<Warning>,
    /// Partitions in which records wait, the one with the oldest record first. Empty: nothing waits, or it is unknown.
    pub(super) behind: Vec<Behind>,
    /// What could not be read, and why.
    pub(super) unread: Vec<String>,
    pub(super) now: DateTime<Utc>,
}

/// A warning that Kubernetes gave.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Warning {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) reason: String,
    pub(super) message: String,
    /// When it was last given.
    pub(super) last: DateTime<Utc>,
}

/// A partition in which records wait for the processors.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Behind {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) records: i64,
    /// How long the oldest record waits.
    pub(super) waited: Duration,
}

/// Reads what there is.
#[expect(clippy::disallowed_methods, reason = "where the command reads the clock; what judges is given the time")]
pub(super) async fn read(context: &Context<'_>, pipeline: &StreamingPipeline) -> Facts {
    let names = names_of(pipeline);
    let now = Utc::now();
    let mut unread = Vec::new();
    let warnings = warnings(context, &names).await.unwrap_or_else(|failure| {
        unread.push(format!("events: {}", failure.chain()));
        Vec::new()
    });
    let mut behind = Vec::new();
    if may_be_behind(pipeline) {
        behind = waiting(context, pipeline, &names, now).await.unwrap_or_else(|failure| {
            unread.push(format!("how long records wait: {}", failure.chain()));
            Vec::new()
        });
    }
    Facts { warnings, behind, unread, ..Facts::of(pipeline, now) }
}

impl Facts {
    /// Returns what the resource alone says.
    pub(super) fn of(pipeline: &StreamingPipeline, now: DateTime<Utc>) -> Self {
        let names = names_of(pipeline);
        let scaling = pipeline.spec.processor.scaling.as_ref();
        Self {
            namespace: names.namespace().to_owned(),
            pipeline: names.pipeline().to_owned(),
            generation: pipeline.metadata.generation,
            processors: pipeline.wanted_processors(),
            is_scaled: scaling.is_some_and(|scaling| scaling.mode == Some(ScalingMode::Auto)),
            status: pipeline.status.clone(),
            warnings: Vec::new(),
            behind: Vec::new(),
            unread: Vec::new(),
            now,
        }
    }
}

/// Returns whether it is worth asking the brokers: the pipeline is ready, and the status does not rule a lag out.
fn may_be_behind(pipeline: &StreamingPipeline) -> bool {
    let is_ready = |status: &&StreamingPipelineStatus| ConditionType::Ready.is_true(&status.conditions);
    pipeline.status.as_ref().filter(is_ready).is_some_and(|status| status.lag != Some(0))
}

async fn warnings(context: &Context<'_>, names: &Names) -> Result<Vec<Warning>, Failure> {
    let api: Api<Event> = context.cluster.api();
    let of = |selector| ListParams::default().fields(selector).limit(MAX_EVENTS);
    // That no StorageClass is the default is reported as if it were nothing to worry about.
    let (warning, unbound) = (of("type=Warning"), of("reason=FailedBinding"));
    let listed = try_join(api.list(&warning), api.list(&unbound)).await;
    let (warnings, unbound) = listed.map_err(Failure::asking("list events"))?;
    let of_pipeline = |warning: &Warning| component_of(names.pipeline(), &warning.name).is_some();
    Ok(warnings.items.into_iter().chain(unbound.items).filter_map(warning_of).filter(of_pipeline).collect())
}

/// Returns the component that an object is of by its name; claims are called after their template first. `None`: it is
/// not one of the pipeline's.
pub(in crate::commands) fn component_of(pipeline: &str, name: &str) -> Option<Component> {
    let rest = name.strip_prefix("data-").unwrap_or(name).strip_prefix(pipeline)?.strip_prefix('-')?;
    Component::ALL.into_iter().find(|component| {
        rest.strip_prefix(component.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    })
}

fn warning_of(event: Event) -> Option<Warning> {
    let series = event.series.and_then(|series| series.last_observed_time);
    let times = [series, event.event_time].into_iter().flatten().map(|time| time.0);
    let last = times.chain(event.last_timestamp.map(|time| time.0)).max()?;
    Some(Warning {
        kind: event.involved_object.kind?,
        name: event.involved_object.name?,
        reason: event.reason?,
        message: event.message?,
        last: DateTime::from_timestamp(last.as_second(), 0)?,
    })
}

/// Asks the brokers for how long records wait.
async fn waiting(
    context: &Context<'_>,
    pipeline: &StreamingPipeline,
    names: &Names,
    now: DateTime<Utc>,
) -> Result<Vec<Behind>, Failure> {
    let topics: BTreeSet<&String> = pipeline.spec.processor.queries.iter().map(|query| &query.from).collect();
    let mut reached = kafka(&context.cluster, names).await?;
    let mut behind = Vec::new();
    for topic in topics {
        for lag in reached.client.lag_by_partition(&names.consumer_group(), topic).await? {
            if let (Some(records @ 1..), Some(waited)) = (lag.records(), lag.waited(now.timestamp_millis())) {
                behind.push(Behind { topic: topic.clone(), partition: lag.partition, records, waited });
            }
        }
    }
    behind.sort_by_key(|behind| std::cmp::Reverse(behind.waited));
    Ok(behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_of_the_pipeline_that_they_are_called_after() {
        assert_eq!(component_of("users", "users-kafka-0"), Some(Component::Kafka));
        assert_eq!(component_of("users", "data-users-cassandra-r1-0"), Some(Component::Cassandra));
        assert_eq!(component_of("users", "users-processor"), Some(Component::Processor));
        // Control: those of another pipeline, whose name begins alike.
        assert_eq!(component_of("users", "users-eu-kafka-0"), None);
        assert_eq!(component_of("users", "usersx-kafka-0"), None);
        assert_eq!(component_of("users", "users-kafkaesque-0"), None);
    }
}
