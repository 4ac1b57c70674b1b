//! How many processors or producers there shall be where their number follows a load: what `millrace_scaling` decides, and what
//! the status remembers of it. Pure.
//!
//! The status comes first: one pass records a decision, and the next finds it there and carries it out. So an operator that
//! dies between the two leaves nothing half done, and the next one goes on from the same number, with the same cool-downs.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use millrace_api::Pipeline;
use millrace_api::crd::status::{NeededStatus, ScaledStatus, ScalingStatus};
use millrace_api::crd::time::{moment_of, time_of};
use millrace_api::names::Component;
use millrace_api::pipeline::Scaling;
use millrace_scaling::{
    Change, Decision, History, Hold, Memory, Moment, Peak, Reason, Settings, Situation, Underway, decide,
};

use crate::observed::Observed;
use crate::rounding::three_digits;
use crate::workers::load;

/// How often the load is looked at, as the simulator has it.
pub const EVERY: Duration = Duration::from_secs(5);

/// The reasons whose sentences name what the stores do, or who else is in the group.
const NAMING: [&str; 2] = ["StoreOperationInProgress", "ForeignMember"];

/// How long after a change of their number not all processors need have joined for those before it to count as enough.
const SETTLES: TimeDelta = TimeDelta::minutes(2);

/// How far ahead of this operator's clock another operator's may have been. A time further ahead is of a clock that was
/// wrong, and to wait for it would hold the number as long as the clock was ahead.
const SKEW: Duration = Duration::from_secs(60);

/// Returns how many processors there shall be, but for a suspension: the number that was last decided on, or that of the
/// spec.
pub fn wanted(pipeline: &Pipeline, observed: &Observed) -> u32 {
    Pool::of_processors(pipeline, observed).wanted()
}

/// Returns the same of producers.
pub fn wanted_producers(pipeline: &Pipeline, observed: &Observed) -> u32 {
    Pool::of_producers(pipeline, observed).wanted()
}

/// Returns how many processors there were before a change that is so recent that not all need have joined. `None`: there
/// was none.
pub fn settles_from(pipeline: &Pipeline, observed: &Observed) -> Option<u32> {
    Pool::of_processors(pipeline, observed).settles_from(observed.now)
}

/// Returns the same of producers.
pub fn producers_settle_from(pipeline: &Pipeline, observed: &Observed) -> Option<u32> {
    Pool::of_producers(pipeline, observed).settles_from(observed.now)
}

/// Judges how many processors the load needs. `None`: nobody asks.
pub fn judge(pipeline: &Pipeline, observed: &Observed, underway: &Underway) -> Option<ScalingStatus> {
    Pool::of_processors(pipeline, observed).judge(pipeline, observed, underway)
}

/// Judges how many producers the pushes need. `None`: nobody asks.
pub fn judge_producers(pipeline: &Pipeline, observed: &Observed, underway: &Underway) -> Option<ScalingStatus> {
    Pool::of_producers(pipeline, observed).judge(pipeline, observed, underway)
}

/// The processors or the producers of a pipeline: workers whose number may follow a load.
struct Pool<'a> {
    component: Component,
    /// The number of the spec.
    asked: u32,
    /// How it follows the load. `None`: it does not.
    scaling: Option<&'a Scaling>,
    /// How many Kubernetes was told to run.
    given: u32,
    /// What the last decision left.
    before: Option<&'a ScalingStatus>,
    /// The last looks at the load.
    history: &'a History,
}

impl<'a> Pool<'a> {
    fn of_processors(pipeline: &'a Pipeline, observed: &'a Observed) -> Self {
        let component = Component::Processor;
        let deployment = observed.children.deployments.get(&pipeline.names.component(component));
        Self {
            component,
            asked: pipeline.processor.replicas,
            scaling: pipeline.processor.scaling.as_ref(),
            given: deployment.and_then(|found| found.spec.as_ref()?.replicas).map_or(0, count),
            before: observed.remembered.status.scaling(),
            history: &observed.looks.history,
        }
    }

    fn of_producers(pipeline: &'a Pipeline, observed: &'a Observed) -> Self {
        let component = Component::Producer;
        let set = observed.children.stateful_sets.get(&pipeline.names.component(component));
        Self {
            component,
            asked: pipeline.producer.replicas,
            scaling: pipeline.producer.scaling.as_ref(),
            given: set.and_then(|found| found.spec.as_ref()?.replicas).map_or(0, count),
            before: observed.remembered.status.producer_scaling(),
            history: &observed.looks.pushes.history,
        }
    }

    fn wanted(&self) -> u32 {
        let Some(scaling) = self.scaling.filter(|scaling| scaling.is_automatic) else {
            return self.asked;
        };
        // As with a HorizontalPodAutoscaler: 0 switches it off.
        if self.asked == 0 {
            return 0;
        }
        match self.before.map(|status| count(status.current)) {
            Some(decided) if decided > 0 => allowed(scaling, decided, self.given),
            // Of those that run already none is stopped before the load is known.
            _ if self.given > 0 => self.given,
            _ => allowed(scaling, self.asked, self.given),
        }
    }

    fn settles_from(&self, now: DateTime<Utc>) -> Option<u32> {
        self.scaling.filter(|scaling| scaling.is_automatic)?;
        let last = self.before?.last_scaled.as_ref()?;
        let is_recent = (now - moment_of(&last.at)).abs() < SETTLES;
        (is_recent && count(last.to) == self.wanted()).then(|| count(last.from))
    }

    fn judge(&self, pipeline: &Pipeline, observed: &Observed, underway: &Underway) -> Option<ScalingStatus> {
        let scaling = self.scaling?;
        let (before, current) = (self.before, self.wanted());
        let now = load::moment(observed.now);
        let memory = before.map(|before| memory_of(before, now)).unwrap_or_default();
        if let Some(said) = self.rests(pipeline, observed, current) {
            // What was needed before counts for nothing when it goes on.
            let memory = Memory { peaks: Vec::new(), ..memory };
            let last_scaled = before.and_then(|before| before.last_scaled.clone());
            return Some(status(before, said, memory, last_scaled, observed.now));
        }
        let settings = Settings { is_divisible: self.component == Component::Producer, ..settings_of(scaling) };
        let situation = Situation {
            now,
            settings: &settings,
            replicas: current,
            history: self.history,
            underway,
            cost: load::cost(&observed.children, self.component),
            memory: &memory,
        };
        let Decision { replicas, reason, memory: left } = decide(&situation);
        let sentence = match self.component {
            Component::Producer => reason.of_producers(),
            _ => in_words(&reason, pipeline, observed),
        };
        let last_scaled = match left.last.filter(|_| scaling.is_automatic && replicas != current) {
            Some(change) => Some(scaled(change, sentence.clone())),
            None => before.and_then(|before| before.last_scaled.clone()),
        };
        let said = match before.filter(|before| is_old_news(before, &reason, &situation)) {
            Some(before) => Said::again(before),
            None => Said {
                current: if scaling.is_automatic { replicas } else { current },
                recommended: replicas,
                reason: reason.name().to_owned(),
                message: if scaling.is_automatic { sentence } else { sentence.replacen("Scales ", "Would scale ", 1) },
            },
        };
        Some(status(before, said, left, last_scaled, observed.now))
    }

    /// Says why nothing is decided, where no worker shall run. `None`: they shall.
    fn rests(&self, pipeline: &Pipeline, observed: &Observed, current: u32) -> Option<Said> {
        let said = |reason: &str, why: &str| {
            let message = format!("Keeps {current}: {why}");
            Some(Said { current, recommended: current, reason: reason.to_owned(), message })
        };
        if self.asked == 0 {
            return said("ScaledToZero", &format!("spec.{}.replicas is 0", self.component.as_str()));
        }
        if pipeline.suspend || observed.remembered.status.drained.is_some() {
            return said("Suspended", "the pipeline is suspended");
        }
        let replay = observed.remembered.status.replay.as_ref();
        if self.component == Component::Processor && replay.is_some_and(|replay| replay.phase.stops_processors()) {
            return said("Replaying", "the processors are stopped to read a topic again");
        }
        None
    }
}

/// Returns a number within the user's bounds. One beyond them stays where Kubernetes has it already: to follow bounds that
/// were changed is a decision, with a reason and an event. What else a status says was decided by nobody.
fn allowed(scaling: &Scaling, number: u32, given: u32) -> u32 {
    let fewest = if given > 0 { scaling.min.min(given) } else { scaling.min };
    number.max(fewest).min(scaling.max.max(given))
}

/// What is said of the number.
struct Said {
    current: u32,
    recommended: u32,
    reason: String,
    message: String,
}

impl Said {
    fn again(before: &ScalingStatus) -> Self {
        Self {
            current: count(before.current),
            recommended: count(before.recommended),
            reason: before.reason.clone(),
            message: before.message.clone(),
        }
    }
}

/// Returns whether a reason is not worth a write: an operator that has just started has only one look, and while processors
/// come and go after a change, that nothing is decided was to be expected.
fn is_old_news(before: &ScalingStatus, reason: &Reason, situation: &Situation<'_>) -> bool {
    let Reason::Held { hold, .. } = reason else { return false };
    if count(before.current) != situation.replicas {
        return false;
    }
    let patience = situation.cost.start * 2 + situation.cost.stop;
    let is_settling = situation.memory.last.is_some_and(|last| situation.now.since(last.at) < patience);
    *hold == Hold::JustStarted || is_settling
}

/// Makes the status. Message and time stay those of when number and reason were first these: the figures of each look would
/// be a write of their own. What the stores do, and who is in the group, has no figures of looks.
fn status(
    before: Option<&ScalingStatus>,
    said: Said,
    memory: Memory,
    last_scaled: Option<ScaledStatus>,
    now: DateTime<Utc>,
) -> ScalingStatus {
    let Said { current, recommended, reason, message } = said;
    let (current, recommended) = (current.cast_signed(), recommended.cast_signed());
    let is_same = |before: &&ScalingStatus| {
        (before.current, before.recommended, &before.reason) == (current, recommended, &reason)
            && (!NAMING.contains(&reason.as_str()) || before.message == message)
    };
    let same = before.filter(is_same);
    ScalingStatus {
        message: same.map_or(message, |same| same.message.clone()),
        since: same.map_or_else(|| time_of(now), |same| same.since.clone()),
        current,
        recommended,
        reason,
        last_scaled,
        capacity: memory.capacity.map(three_digits),
        needed: memory.peaks.iter().map(needed).collect(),
    }
}

fn scaled(change: Change, message: String) -> ScaledStatus {
    let Change { at, from, to, rate } = change;
    ScaledStatus { at: time(at), from: from.cast_signed(), to: to.cast_signed(), rate: three_digits(rate), message }
}

fn needed(peak: &Peak) -> NeededStatus {
    NeededStatus { replicas: peak.replicas.cast_signed(), until: peak.until.map(time) }
}

/// Returns what the last decision left, as far as it was made by now.
fn memory_of(status: &ScalingStatus, now: Moment) -> Memory {
    let is_past = |at: Moment| at.since(now) <= SKEW;
    let peak =
        |needed: &NeededStatus| Peak { replicas: count(needed.replicas), until: needed.until.as_ref().map(moment) };
    let change = |last: &ScaledStatus| Change {
        at: moment(&last.at),
        from: count(last.from),
        to: count(last.to),
        rate: last.rate,
    };
    let peaks: Vec<Peak> = status.needed.iter().map(peak).collect();
    // Without one of them, the others are less than was needed. Without any, the window begins anew.
    let is_sound = peaks.iter().all(|peak| peak.until.is_none_or(is_past));
    Memory {
        replicas: Some(count(status.current)),
        capacity: status.capacity.filter(|capacity| *capacity > 0.0),
        peaks: if is_sound { peaks } else { Vec::new() },
        last: status.last_scaled.as_ref().map(change).filter(|change| is_past(change.at)),
    }
}

fn settings_of(scaling: &Scaling) -> Settings {
    let Scaling { is_automatic: _, min, max, target_utilisation, catch_up, down_window } = scaling;
    Settings {
        min: *min,
        max: *max,
        target_utilisation: f64::from(*target_utilisation) / 100.0,
        catch_up: catch_up.get(),
        down_window: down_window.get(),
        ..Settings::default()
    }
}

/// Returns the reason's sentence. A partition has its topic: the decision knows only its place among all of them.
fn in_words(reason: &Reason, pipeline: &Pipeline, observed: &Observed) -> String {
    let sentence = reason.to_string();
    let (Reason::OnePartition { partition, .. }, Ok(kafka)) = (reason, &observed.stores.kafka) else {
        return sentence;
    };
    match load::names(pipeline, kafka).get(*partition) {
        Some((topic, number)) => sentence.replacen(
            &format!("partition {partition} alone"),
            &format!("partition {number} of topic '{topic}' alone"),
            1,
        ),
        None => sentence,
    }
}

fn count(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

fn moment(time: &Time) -> Moment {
    load::moment(moment_of(time))
}

fn time(moment: Moment) -> Time {
    let seconds = i64::try_from(moment.0).unwrap_or(0);
    time_of(DateTime::from_timestamp(seconds, 0).unwrap_or(DateTime::UNIX_EPOCH))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use k8s_openapi::api::apps::v1::Deployment;
    use millrace_api::crd::status::ProcessorStatus;
    use millrace_stores::kafka::{GroupClient, GroupFacts, KafkaFacts, PartitionFacts, TopicFacts};
    use serde_json::json;

    use super::*;
    use crate::observed::Stores;

    fn pipeline(replicas: u32, is_automatic: bool) -> Pipeline {
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e/samples/accepted/scaling-of-processors.yaml");
        let text = std::fs::read_to_string(sample).expect("the sample is there");
        let resource = serde_yaml::from_str(&text).expect("the sample is a pipeline");
        let mut pipeline = millrace_api::validate_sources(&resource).pipeline.expect("it is valid");
        pipeline.processor.replicas = replicas;
        pipeline.processor.scaling.as_mut().expect("it is scaled").is_automatic = is_automatic;
        pipeline
    }

    fn status_of(current: i32) -> ScalingStatus {
        let status = json!({
            "current": current, "recommended": current, "reason": "WithinTarget", "message": "Keeps them",
            "since": "2026-01-01T00:00:00Z", "capacity": 1230.0,
            "lastScaled": {"at": "2026-01-01T00:00:00Z", "from": 1, "to": current, "rate": 800.0, "message": "Scales"},
            "needed": [{"replicas": 4, "until": "2026-01-01T00:05:00Z"}, {"replicas": 2}],
        });
        serde_json::from_value(status).expect("it is a status")
    }

    fn observed(scaling: Option<ScalingStatus>, given: Option<i32>) -> Observed {
        let mut observed = Observed::default();
        let processor = ProcessorStatus { scaling, ..ProcessorStatus::default() };
        observed.remembered.status.processor = Some(processor);
        let deployment = |replicas: i32| {
            let deployment = json!({"spec": {"replicas": replicas, "selector": {}, "template": {}}});
            serde_json::from_value::<Deployment>(deployment).expect("it is a Deployment")
        };
        let deployment = given.map(|replicas| ("users-processor".to_owned(), deployment(replicas)));
        observed.children.deployments.extend(deployment);
        observed
    }

    #[test]
    fn the_recorded_number_wins_and_the_spec_only_begins_and_ends() {
        let wanted = |replicas, is_automatic, current: Option<i32>, given| {
            wanted(&pipeline(replicas, is_automatic), &observed(current.map(status_of), given))
        };
        assert_eq!(wanted(2, true, Some(5), Some(5)), 5);
        assert_eq!(wanted(2, true, Some(5), Some(1)), 5, "an operator died before it told Kubernetes");
        assert_eq!(wanted(2, true, Some(500), Some(2)), 6, "nobody decided on that");
        assert_eq!(wanted(2, true, Some(500), None), 6, "nor here");
        assert_eq!(wanted(2, true, Some(9), Some(9)), 9, "the user has lowered max, and a decision will say so");
        assert_eq!(wanted(2, true, None, Some(7)), 7, "those that run are left alone until the load is known");
        assert_eq!(wanted(2, true, None, None), 2);
        assert_eq!(wanted(50, true, None, None), 6, "the sample's max");
        assert_eq!(wanted(0, true, Some(5), Some(5)), 0);
        assert_eq!(wanted(3, true, Some(0), Some(0)), 3, "after 0");
        assert_eq!(wanted(2, false, Some(5), Some(5)), 2, "the control: a recommendation");
    }

    #[test]
    fn what_is_remembered_is_what_the_status_has() {
        let minute = |minutes: u64| Moment(1_767_225_600 + minutes * 60);
        let memory = memory_of(&status_of(4), minute(5));
        let expected = Memory {
            replicas: Some(4),
            capacity: Some(1230.0),
            peaks: vec![Peak { replicas: 4, until: Some(minute(5)) }, Peak { replicas: 2, until: None }],
            last: Some(Change { at: minute(0), from: 1, to: 4, rate: 800.0 }),
        };
        assert_eq!(memory, expected);
        let said = Said::again(&status_of(4));
        let last = status_of(4).last_scaled;
        let again = status(Some(&status_of(4)), said, memory, last, DateTime::UNIX_EPOCH);
        assert_eq!(again, status_of(4), "nothing new is nothing to write");
        let broken = ScalingStatus { capacity: Some(0.0), ..status_of(4) };
        assert_eq!(memory_of(&broken, minute(5)).capacity, None, "somebody wrote it");
    }

    /// The first is a clock that was ahead by a month; the others are the controls.
    #[test]
    fn a_time_that_is_far_ahead_of_the_clock_holds_nothing() {
        let counts = |now: &str| {
            let mut seen = observed(Some(status_of(4)), None);
            seen.now = now.parse().expect("a moment");
            let memory = memory_of(&status_of(4), load::moment(seen.now));
            (memory.last.is_some(), memory.peaks.len(), settles_from(&pipeline(2, true), &seen))
        };
        assert_eq!(counts("2025-12-01T00:00:00Z"), (false, 0, None));
        assert_eq!(counts("2025-12-31T23:59:30Z"), (true, 0, Some(1)), "the change is half a minute ahead");
        assert_eq!(counts("2026-01-01T00:04:30Z"), (true, 2, None), "the need's end is");
    }

    #[test]
    fn figures_alone_are_no_news_and_what_the_stores_do_is() {
        let said = |reason: &str, message: &str| Said {
            current: 4,
            recommended: 4,
            reason: reason.to_owned(),
            message: message.to_owned(),
        };
        let now = "2026-01-01T01:00:00Z".parse().expect("a moment");
        let memory = |before: &ScalingStatus| memory_of(before, load::moment(now));
        let made = |before: &ScalingStatus, said| status(Some(before), said, memory(before), None, now);
        let same = made(&status_of(4), said("WithinTarget", "Keeps them, with other figures"));
        assert_eq!((same.message.as_str(), same.since), ("Keeps them", status_of(4).since));
        let other = made(&status_of(4), said("Cooldown", "Keeps them for now"));
        assert_eq!((other.message.as_str(), other.since.clone()), ("Keeps them for now", time_of(now)));
        let moves = made(&other, said(NAMING[0], "Keeps 4: partitions are moved"));
        let joins = made(&moves, said(NAMING[0], "Keeps 4: a node joins"));
        assert_eq!(joins.message, "Keeps 4: a node joins");
    }

    /// What brokers say that know of so many partitions.
    fn kafka(partitions: i32) -> KafkaFacts {
        let partition = |index| PartitionFacts {
            index,
            leader: Some(0),
            replicas: vec![0],
            in_sync: 1,
            adding: Vec::new(),
            removing: Vec::new(),
        };
        let topic = TopicFacts {
            id: uuid::Uuid::nil(),
            partitions: (0..partitions).map(partition).collect(),
            config: std::collections::BTreeMap::new(),
        };
        KafkaFacts { topics: [("users_created".to_owned(), topic)].into(), ..KafkaFacts::default() }
    }

    /// The control is a group of processors.
    #[test]
    fn a_member_that_is_no_processor_is_named() {
        let pipeline = pipeline(2, true);
        let (namespace, name) = (pipeline.names.namespace(), pipeline.names.pipeline());
        let group = |clients: &[(&str, &str)]| {
            let client = |(id, host): &(&str, &str)| GroupClient { id: (*id).to_owned(), host: (*host).to_owned() };
            GroupFacts { stable: true, members: clients.len(), clients: clients.iter().map(client).collect() }
        };
        let (ours, long) = (format!("millrace-consumer-{namespace}-{name}"), "x".repeat(1_000));
        let (ours, long) = (ours.as_str(), long.as_str());
        let named = |clients: &[(&str, &str)]| load::stranger(&pipeline, &group(clients));
        assert_eq!(named(&[(ours, "/10.0.0.5"), (ours, "/10.0.0.6")]), None);
        let found = named(&[(ours, "/10.0.0.5"), ("kcat\n", "/10.0.0.7"), ("z", "/10.0.0.8")]);
        let found = found.expect("it is no processor");
        let says =
            format!("client 'kcat?' at 10.0.0.7 (and 1 more) is a member of the consumer group '{name}-processor'");
        assert!(found.starts_with(&says), "{found}");
        let long = named(&[(long, "/10.0.0.7")]).expect("it is no processor");
        assert!(long.len() < 400, "{long}");
    }

    #[test]
    fn partitions_are_counted_once_the_brokers_know_of_all() {
        let pipeline = pipeline(2, true);
        let counted = |partitions| load::names(&pipeline, &kafka(partitions)).len();
        assert_eq!([0, 2, 5].map(counted), [0, 0, 0]);
        assert_eq!([6, 7].map(counted), [6, 7], "the control");
    }

    #[test]
    fn a_hot_partition_is_named_with_its_topic() {
        let pipeline = pipeline(2, true);
        let mut seen = observed(None, None);
        seen.stores = Stores { kafka: Ok(kafka(6)), ..Stores::default() };
        let hot = Reason::OnePartition { replicas: 2, partition: 3, input: 900.0, capacity: 500.0 };
        let sentence = in_words(&hot, &pipeline, &seen);
        assert!(sentence.starts_with("Keeps 2: partition 3 of topic 'users_created' alone gets 900"), "{sentence}");
        // The control: without a topic it has its place.
        let nameless = in_words(&hot, &pipeline, &observed(None, None));
        assert!(nameless.starts_with("Keeps 2: partition 3 alone gets 900"), "{nameless}");
    }
}
