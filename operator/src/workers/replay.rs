//! Reading a topic's records again: processors stop, their offsets are set back, and they start with a later write-timestamp
//! base. Pure.
//!
//! The annotation `millrace.dev/replay` asks for it, and its nonce counts once. Each step is in the status before it is carried
//! out, and each pass judges by what there is, so that an operator that is killed anywhere goes on. Offsets are set only while
//! no processor runs and the group has no members, and processors start only when the later base is in the status.

use std::collections::BTreeMap;

use millrace_api::Pipeline;
use millrace_api::crd::status::{ReplayPhase, ReplayStatus};
use millrace_api::crd::time::time_of;
use millrace_api::names::Component;
use millrace_api::replay::{Replay, in_short, nonce_of};

use crate::labels::REPLAY;
use crate::link::{Link, LinkState};
use crate::observed::{Observed, Remembered};
use crate::workers::suspend;
use millrace_stores::kafka::{Change, records, refusal, set_back};

/// Links that must be met before processors are stopped, since they could not start again.
const STORES: [Link; 4] = [Link::ZooKeeper, Link::Kafka, Link::Topics, Link::Cassandra];

/// What a pass does about a replay.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Nothing; the status says this of the last one.
    Keeps(Option<ReplayStatus>),
    /// It begins, unless people hold it.
    Begins {
        /// What the status says of it, if it begins.
        status: ReplayStatus,
        /// What it leads to.
        change: Change,
        /// What it waits for, in words that follow "waits for"; `None`: nothing.
        waits_for: Option<String>,
    },
    /// It goes on.
    Goes {
        /// What the status says of it.
        status: ReplayStatus,
        /// The offsets to set. `None`: none, now.
        change: Option<Change>,
    },
}

/// Returns the replay for which no processor may run; `None`: there is none.
pub fn running(remembered: &Remembered) -> Option<&ReplayStatus> {
    remembered.status.replay.as_ref().filter(|replay| replay.phase.stops_processors())
}

/// Returns how many processors there shall be: none while offsets are set back.
pub fn processors(pipeline: &Pipeline, observed: &Observed) -> u32 {
    if running(&observed.remembered).is_some() { 0 } else { suspend::processors(pipeline, observed) }
}

/// Returns the replay of which the offsets are to be looked at; `None`: none is asked for or goes on.
pub fn question(pipeline: &Pipeline, remembered: &Remembered) -> Option<Replay> {
    if let Some(running) = running(remembered) {
        return running.request.parse().ok();
    }
    let asked: Replay = asked(remembered)?.parse().ok()?;
    is_read(pipeline, &asked.topic).then_some(asked)
}

/// Returns the topic whose offsets were found to be set back in this pass: its base must become a later one, since rows that were
/// deleted or that another query computes would lose against what is there.
pub fn rewound(before: Option<&ReplayStatus>, now: Option<&ReplayStatus>) -> Option<String> {
    let now = now.filter(|now| now.phase == ReplayPhase::Rewound)?;
    let replay: Replay = now.request.parse().ok()?;
    before.is_some_and(|before| before.phase == ReplayPhase::Rewinding).then_some(replay.topic)
}

/// Judges what this pass does about a replay.
pub fn judge(pipeline: &Pipeline, observed: &Observed, links: &[LinkState]) -> Next {
    let remembered = &observed.remembered;
    if let Some(before) = running(remembered) {
        return match before.request.parse::<Replay>() {
            Ok(replay) => proceed(pipeline, observed, before, &replay),
            Err(message) => ends(observed, before, ReplayPhase::Refused, message),
        };
    }
    let Some(text) = asked(remembered) else { return Next::Keeps(remembered.status.replay.clone()) };
    let status = |phase, message| ReplayStatus {
        request: in_short(text),
        phase,
        message,
        since: time_of(observed.now),
        from: None,
        to: None,
    };
    let refuse = |message| Next::Keeps(Some(status(ReplayPhase::Refused, message)));
    let replay: Replay = match text.parse() {
        Ok(replay) => replay,
        Err(message) => return refuse(format!("annotation {REPLAY}: {message}")),
    };
    if !is_read(pipeline, &replay.topic) {
        return refuse(format!("no query that can run reads topic '{}'", replay.topic));
    }
    let offsets = match &observed.spans {
        Some(Ok(spans)) => match refusal(spans, replay.from) {
            Some(refusal) => return refuse(refusal),
            None => Ok(set_back(spans, replay.from)),
        },
        Some(Err(error)) => Err(format!("the brokers to tell the offsets: {error}")),
        None => Err("the brokers to tell the offsets".to_owned()),
    };
    let begins = format!("the processors stop, and then topic '{}' is read again from {}", replay.topic, replay.from);
    Next::Begins {
        status: status(ReplayPhase::Stopping, begins),
        waits_for: hindrance(pipeline, observed, links).or_else(|| offsets.as_ref().err().cloned()),
        change: rewind(pipeline, &replay, offsets.unwrap_or_default()),
    }
}

/// Returns the request of the annotation, unless its nonce has counted.
fn asked(remembered: &Remembered) -> Option<&str> {
    let text = remembered.replay.as_deref()?;
    let nonce = nonce_of(text);
    let before = remembered.status.replay.as_ref();
    let has_counted = before.is_some_and(|before| nonce_of(&before.request) == nonce);
    (!nonce.is_empty() && !has_counted).then_some(text)
}

fn is_read(pipeline: &Pipeline, topic: &str) -> bool {
    pipeline.processor.queries.iter().any(|query| query.from == topic)
}

/// Returns what a replay waits for before its processors are stopped.
fn hindrance(pipeline: &Pipeline, observed: &Observed, links: &[LinkState]) -> Option<String> {
    if pipeline.suspend || observed.remembered.status.drained.is_some() {
        return Some("the end of the suspension (spec.suspend)".to_owned());
    }
    // They could not be stopped.
    if let Some(rejected) = pipeline.held.get(&Component::Processor) {
        return Some(format!("the spec to be corrected: {rejected}"));
    }
    let unmet = links.iter().find(|link| !link.met && STORES.contains(&link.link))?;
    Some(format!("{}: {}", unmet.link.condition(), unmet.message))
}

/// Carries a replay on that has begun.
fn proceed(pipeline: &Pipeline, observed: &Observed, before: &ReplayStatus, replay: &Replay) -> Next {
    let is_stopping = before.phase == ReplayPhase::Stopping;
    let asked = observed.remembered.replay.as_deref().map(nonce_of);
    if is_stopping && asked.as_ref() != Some(&replay.nonce) {
        let message = "the annotation was removed or changed before any offset was set".to_owned();
        return ends(observed, before, ReplayPhase::Cancelled, message);
    }
    let stays = |message| Next::Goes { status: ReplayStatus { message, ..before.clone() }, change: None };
    if let Some(left) = still_there(pipeline, observed) {
        return stays(format!("offsets of topic '{}' are set back once no processor is left: {left}", replay.topic));
    }
    let spans = match &observed.spans {
        Some(Ok(spans)) => spans,
        Some(Err(error)) => return stays(format!("the brokers do not tell the offsets: {error}")),
        None => return stays("the brokers have yet to tell the offsets".to_owned()),
    };
    let offsets = set_back(spans, replay.from);
    let topic = &replay.topic;
    if is_stopping {
        if let Some(refusal) = refusal(spans, replay.from) {
            return ends(observed, before, ReplayPhase::Refused, refusal);
        }
        let from: i64 = offsets.values().sum();
        let count = records(spans, &offsets);
        let (partitions, of) = (offsets.len(), spans.len());
        let message =
            format!("{count} records in {partitions} of {of} partitions of topic '{topic}' are to be read again");
        let status = ReplayStatus { from: Some(from), to: Some(from + count), ..after(observed, before, message) };
        return Next::Goes { status: ReplayStatus { phase: ReplayPhase::Rewinding, ..status }, change: None };
    }
    if offsets.is_empty() {
        let count = before.to.unwrap_or(0) - before.from.unwrap_or(0);
        let message = format!(
            "{count} records of topic '{topic}' are read again from {}; the topic's lag shows how many are left",
            replay.from
        );
        return ends(observed, before, ReplayPhase::Rewound, message);
    }
    Next::Goes { status: before.clone(), change: Some(rewind(pipeline, replay, offsets)) }
}

/// Ends the time without processors.
fn ends(observed: &Observed, before: &ReplayStatus, phase: ReplayPhase, message: String) -> Next {
    Next::Goes { status: ReplayStatus { phase, ..after(observed, before, message) }, change: None }
}

/// Returns what the status says from now on, with the phase of before.
fn after(observed: &Observed, before: &ReplayStatus, message: String) -> ReplayStatus {
    ReplayStatus { message, since: time_of(observed.now), ..before.clone() }
}

fn rewind(pipeline: &Pipeline, replay: &Replay, offsets: BTreeMap<i32, i64>) -> Change {
    let group = pipeline.kafka.prefix.consumer_group();
    Change::Rewind { group, topic: replay.topic.clone(), from: replay.from, offsets }
}

/// Returns what may still read and commit; `None`: nothing does. What is unknown may.
fn still_there(pipeline: &Pipeline, observed: &Observed) -> Option<String> {
    if let Some(left) = suspend::processors_left(pipeline, observed) {
        return Some(left);
    }
    let facts = observed.stores.kafka.as_ref().ok();
    match facts.and_then(|facts| facts.group.as_ref()).map(|group| group.members) {
        None => Some("whether their group has members is unknown".to_owned()),
        Some(0) => None,
        Some(1) => Some("their group still has 1 member".to_owned()),
        Some(members) => Some(format!("their group still has {members} members")),
    }
}
