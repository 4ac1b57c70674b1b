//! A pipeline's sources → what the trigger form and the schedules need.

use millrace_api::StreamingPipeline;
use millrace_api::crd::{self, Source};

use super::moment;
use crate::api::sources::{ParamView, ScheduleView, SourceView};

/// Returns the sources of a pipeline.
pub fn sources(resource: &StreamingPipeline) -> Vec<SourceView> {
    resource.spec.producer.sources.iter().map(|source| of(resource, source)).collect()
}

fn of(resource: &StreamingPipeline, source: &Source) -> SourceView {
    let not_runnable = not_runnable(source);
    SourceView {
        name: source.name.clone(),
        kind: kind(source).to_owned(),
        topic: source.topic.clone(),
        runnable: not_runnable.is_none(),
        not_runnable,
        params: source.params.iter().map(param).collect(),
        schedule: source.schedule.as_ref().map(|schedule| self::schedule(resource, &source.name, schedule)),
    }
}

/// Returns what a source is.
pub fn kind(source: &Source) -> &'static str {
    let Source { http, generator, push, files, kafka, .. } = source;
    match (http, generator, push, files, kafka) {
        (Some(_), ..) => "http",
        (_, Some(_), ..) => "generator",
        (_, _, Some(_), ..) => "push",
        (_, _, _, Some(_), _) => "files",
        (_, _, _, _, Some(_)) => "kafka",
        (None, None, None, None, None) => "nothing",
    }
}

/// Returns why no run of a source can be asked for: what `millrace_api::run` refuses, for the form to say it first.
fn not_runnable(source: &Source) -> Option<String> {
    if source.push.is_some() {
        return Some("records are pushed to it, so there is nothing to fetch".to_owned());
    }
    let asks_since = source.http.as_ref().is_some_and(|http| http.since.is_some());
    let has_position = source.files.is_some() || source.kafka.is_some() || asks_since;
    let message = "it is read continuously and has one position, which a run would move; give it a schedule";
    (has_position && source.schedule.is_none()).then(|| message.to_owned())
}

fn param(param: &crd::Param) -> ParamView {
    let crd::Param { name, param_type, default, description, minimum, maximum, choices, pattern } = param;
    ParamView {
        name: name.clone(),
        kind: param_type.as_str().to_owned(),
        default: default.clone(),
        description: description.clone(),
        minimum: *minimum,
        maximum: *maximum,
        choices: choices.clone(),
        pattern: pattern.clone(),
    }
}

fn schedule(resource: &StreamingPipeline, source: &str, written: &crd::Schedule) -> ScheduleView {
    let statuses = resource.status.iter().flat_map(|status| status.schedules.iter().flatten());
    let status = statuses.into_iter().find(|status| status.source == source);
    ScheduleView {
        cron: written.cron.clone(),
        time_zone: written.time_zone.clone(),
        paused: written.paused,
        concurrency_policy: format!("{:?}", written.concurrency_policy),
        catch_up: format!("{:?}", written.catch_up),
        next: status.and_then(|status| status.next_schedule_time.as_ref()).map(moment),
        last: status.and_then(|status| status.last_schedule_time.as_ref()).map(moment),
        last_run: status.and_then(|status| status.last_run.clone()),
        missed: status.map(|status| status.missed),
        last_missed: status.and_then(|status| status.last_missed_time.as_ref()).map(moment),
        last_missed_reason: status.and_then(|status| status.last_missed_reason.clone()),
        active: status.map(|status| status.active),
        message: status.and_then(|status| status.message.clone()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::pipeline::fixtures::pipeline;
    use super::*;

    fn source(written: Value) -> SourceView {
        let mut resource = pipeline(Value::Null);
        resource.spec.producer.sources = vec![serde_json::from_value(written).expect("a source")];
        sources(&resource).remove(0)
    }

    #[test]
    fn says_which_sources_can_be_run() {
        let http = json!({"name": "a", "topic": "t", "key": "id", "http": {"url": "http://a/"}, "schedule": {"paused": true},
            "params": [{"name": "day", "type": "integer", "enum": ["1", "2"], "default": "1"}]});
        let http = source(http);
        assert!(http.runnable);
        assert_eq!(http.params[0].choices, ["1", "2"]);
        let schedule = http.schedule.expect("a schedule");
        assert!(schedule.paused);
        assert_eq!((schedule.missed, schedule.active), (None, None));
        let push = source(json!({"name": "a", "topic": "t", "key": "id", "push": {}}));
        assert!(!push.runnable && push.not_runnable.is_some());
    }
}
