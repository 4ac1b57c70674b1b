//! The brokers' settings that change: which every broker takes while it runs, and which need a restart. Pure
//! (docs/decisions/0029-dynamic-broker-settings.md).
//!
//! The files change last. As long as brokers have yet to take values, the files stay as they are; once every broker has them in
//! force the files get them, too, and stand for the checksum of those before. So no pod ever claims settings that it does not
//! have, and nothing is remembered but what the files, the brokers and the status say.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::ResourceExt;
use millrace_api::Pipeline;
use millrace_api::crd::kafka::is_refused;
use millrace_api::crd::time::moment_of;
use millrace_api::names::Component;
use millrace_api::pods::ordinal;

use super::drift::{DESIRED_CHECKSUM, as_json, checksum};
use super::template::{keep_inputs, note_files, stood_for};
use super::waiting::{Cause, Waiting};
use crate::act::Act;
use crate::kafka::changes::is_same_value;
use crate::objects::Objects;
use crate::objects::properties::{SERVER_PROPERTIES, parse};
use crate::objects::scope::{CONFIG_CHECKSUM, Files, checksum as checksum_of};
use crate::observed::Observed;
use crate::readiness::trouble;
use millrace_stores::kafka::{BrokerSettings, Change, ConfigChange, SettingsFacts};

/// How long brokers may take to have in force what they said they would take, and to answer. Then they are restarted.
const PATIENCE: TimeDelta = TimeDelta::minutes(1);

/// Settings by key.
type Properties = BTreeMap<String, String>;

/// The brokers' settings, and what becomes of a change.
#[derive(Debug, Default)]
pub struct Settings {
    /// Those of the files as they are.
    there: Properties,
    /// Those of the files as they shall be.
    wanted: Properties,
    /// What brokers have yet to take before the files change.
    pending: Option<Pending>,
    /// Checksum that pods have which run with these files. `None`: the files change, or there are none yet.
    claimed: Option<String>,
}

/// Values that brokers have yet to take.
#[derive(Debug)]
struct Pending {
    set: Properties,
    /// What is waited for, in words that follow "waits for". `None`: they are to be set.
    cause: Option<String>,
}

impl Pending {
    fn act(&self) -> Act {
        let config = ConfigChange { set: self.set.clone(), ..ConfigChange::default() };
        Act::Kafka(Change::AlterBrokers { config, otherwise: ConfigChange::default() })
    }
}

/// How a change of the files goes.
#[derive(Debug)]
enum Way {
    /// Every broker has it in force.
    InForce,
    /// Brokers have yet to take it.
    Pending(Pending),
    /// With a restart of every broker.
    Restart,
}

/// Judges a change of the brokers' files. Leaves the files as they are while brokers have yet to take it, and has the pods keep
/// their template as long as no broker needs a restart.
pub fn settle(pipeline: &Pipeline, kafka: &mut Objects, observed: &Observed) -> Settings {
    let name = pipeline.names.component(Component::Kafka);
    let set = observed.children.stateful_sets.get(&name);
    let Some(found) = observed.children.config_maps.get(&name) else { return Settings::default() };
    let Some(wanted) = kafka.config_maps.iter_mut().find(|files| files.name_any() == name) else {
        return Settings::default();
    };
    let mut settings = Settings { there: properties(found), wanted: properties(wanted), ..Settings::default() };
    let before = stood_for(found);
    let stands_for = match unchanged(found, wanted, set) {
        Some(stands_for) => {
            settings.claimed = Some(stands_for.clone());
            stands_for
        }
        None => match way(pipeline, observed, found, wanted) {
            Way::InForce => before,
            Way::Pending(pending) => {
                settings.pending = Some(pending);
                wanted.data.clone_from(&found.data);
                before
            }
            Way::Restart => afresh(found, wanted),
        },
    };
    stand_for(wanted, &stands_for);
    kafka.stateful_sets.iter_mut().for_each(|wanted| note_files(&stands_for, wanted));
    if settings.pending.is_some() {
        for (found, wanted) in set.into_iter().zip(&mut kafka.stateful_sets) {
            keep_inputs(found, wanted);
        }
    }
    settings
}

impl Settings {
    /// Returns what is to be done to the brokers, and what they are waited for. `is_kept`: the files stay as they are until
    /// people approve others.
    pub fn steps(self, pipeline: &Pipeline, observed: &Observed, is_kept: bool) -> (Vec<Act>, Option<Waiting>) {
        if pipeline.held.contains_key(&Component::Kafka) {
            return (Vec::new(), None);
        }
        let Self { there, wanted, pending, claimed } = self;
        let pending = pending.filter(|_| !is_kept);
        let values = if is_kept || pending.is_some() { there } else { wanted };
        let claimed = claimed.filter(|_| !is_kept);
        let is_pending = |key: &str| pending.as_ref().is_some_and(|pending| pending.set.contains_key(key));
        let corrections = |facts| {
            let lost = lost(observed, facts, &values, claimed.as_deref());
            corrections(facts, &values, &is_pending, &lost)
        };
        let mut acts: Vec<Act> = facts(observed).and_then(corrections).map(Act::Kafka).into_iter().collect();
        let Some(pending) = pending else { return (acts, None) };
        let act = pending.act();
        match pending.cause {
            None => {
                acts.push(act);
                (acts, None)
            }
            Some(cause) => (acts, Some(Waiting { act, cause: Cause::of_stores(cause) })),
        }
    }
}

/// Returns what the files stand for, if they are as they were last wanted, whatever others have made of them since.
fn unchanged(found: &ConfigMap, wanted: &ConfigMap, set: Option<&StatefulSet>) -> Option<String> {
    let own = own_checksum(wanted);
    let carried = [Some(&own), found.annotations().get(CONFIG_CHECKSUM), set.and_then(checksum_in)];
    let was_wanted = |stands_for: &&String| {
        let mut as_written = wanted.clone();
        stand_for(&mut as_written, stands_for);
        found.annotations().get(DESIRED_CHECKSUM) == Some(&checksum(&as_json(&as_written)))
    };
    let noted = carried.into_iter().flatten().find(was_wanted).cloned();
    noted.or_else(|| (found.data == wanted.data).then(|| stood_for(found)))
}

/// Returns how a change of the files goes.
fn way(pipeline: &Pipeline, observed: &Observed, found: &ConfigMap, wanted: &ConfigMap) -> Way {
    let set = observed.children.stateful_sets.get(&found.name_any());
    // Of files that others have changed it is unknown what the pods run with.
    let is_known = set.and_then(checksum_in) == Some(&stood_for(found));
    match changed(found, wanted).filter(|change| is_known && is_by_people(pipeline, change)) {
        Some(change) => taken(pipeline, observed, change),
        None => Way::Restart,
    }
}

/// Returns whether all values are those of the spec, of which the brokers were asked.
fn is_by_people(pipeline: &Pipeline, change: &Properties) -> bool {
    let config = &pipeline.kafka.member.config;
    change.iter().all(|(key, value)| config.get(key) == Some(value) && !is_refused(key))
}

/// Returns the values that are changed or added. `None`: something else is changed, too.
fn changed(found: &ConfigMap, wanted: &ConfigMap) -> Option<Properties> {
    let others = |files: &ConfigMap| {
        let mut others = files.data.clone().unwrap_or_default();
        others.remove(SERVER_PROPERTIES);
        others
    };
    let (before, after) = (properties(found), properties(wanted));
    let is_kept = before.keys().all(|key| after.contains_key(key));
    (is_kept && others(found) == others(wanted))
        .then(|| after.into_iter().filter(|(key, value)| before.get(key) != Some(value)).collect())
}

/// Returns whether the brokers take values while they run.
fn taken(pipeline: &Pipeline, observed: &Observed, set: Properties) -> Way {
    let brokers = observed.children.given(&pipeline.names.component(Component::Kafka)).cast_signed();
    let wait = |set, cause: String| wait(observed, Pending { set, cause: Some(cause) });
    let answer = |broker: i32| facts(observed)?.brokers.get(&broker);
    if let Some(silent) = (0..brokers).find(|broker| answer(*broker).is_none()) {
        // Brokers that do not run may need this very change to do so.
        return match observed.children.all_pods_of(Component::Kafka).any(|pod| trouble(pod).is_some()) {
            true => Way::Restart,
            false => wait(set, format!("broker {silent}, which does not report its settings")),
        };
    }
    let answers: Vec<(i32, &BrokerSettings)> =
        (0..brokers).filter_map(|broker| Some((broker, answer(broker)?))).collect();
    let Some((behind, _)) = answers.iter().find(|(_, broker)| !has_all(broker, &set)) else { return Way::InForce };
    if !answers.iter().all(|(_, broker)| broker.answer == Some(Ok(())) && can_tell(broker, &set)) {
        return Way::Restart;
    }
    let is_set = |(key, value): (&String, &String)| {
        let found = facts(observed).and_then(|facts| facts.for_all.get(key));
        found.is_some_and(|found| is_same_value(value, found))
    };
    match set.iter().all(is_set) {
        true => wait(set, format!("broker {behind}, which has not applied it yet")),
        false => Way::Pending(Pending { set, cause: None }),
    }
}

/// Waits, unless that has gone on for too long: the status says since when.
fn wait(observed: &Observed, pending: Pending) -> Way {
    let action = pending.act().describe();
    let mut waiting = observed.remembered.status.waiting.iter();
    let since = waiting.find(|waiting| waiting.action == action).map(|waiting| moment_of(&waiting.since));
    match since.is_some_and(|since| since + PATIENCE < observed.now) {
        true => Way::Restart,
        false => Way::Pending(pending),
    }
}

/// Returns whether a broker has all these values in force. Those that it was given alone are people's.
fn has_all(broker: &BrokerSettings, wanted: &Properties) -> bool {
    wanted.iter().all(|(key, value)| {
        let setting = broker.settings.get(key);
        let is_same = |found: &String| is_same_value(value, found);
        setting.is_some_and(|setting| setting.is_own || setting.value.as_ref().is_some_and(is_same))
    })
}

/// Returns whether a broker takes such settings while it runs, and tells whether it has.
fn can_tell(broker: &BrokerSettings, wanted: &Properties) -> bool {
    let mut settings = wanted.keys().map(|key| broker.settings.get(key));
    settings.all(|setting| setting.is_some_and(|setting| !setting.is_read_only && setting.value.is_some()))
}

/// Returns the values that brokers had in force when the files got them, and that are lost since, as when somebody unset what
/// was set for all. Only of pods that claim these files.
fn lost(observed: &Observed, facts: &SettingsFacts, values: &Properties, claimed: Option<&str>) -> Properties {
    let Some(claimed) = claimed else { return Properties::new() };
    let claims = |pod: &&Pod| pod.annotations().get(CONFIG_CHECKSUM).is_some_and(|noted| noted == claimed);
    let pods = observed.children.pods_of(Component::Kafka).filter(claims);
    let brokers: Vec<&BrokerSettings> =
        pods.filter_map(|pod| facts.brokers.get(&ordinal(pod)?.cast_signed())).collect();
    let is_lost = |(key, value): &(&String, &String)| {
        let mut settings = brokers.iter().filter_map(|broker| broker.settings.get(*key));
        settings.any(|setting| {
            let differs = setting.value.as_ref().is_some_and(|found| !is_same_value(value, found));
            differs && !setting.is_read_only && !setting.is_own
        })
    };
    let lost = values.iter().filter(|(key, _)| !facts.for_all.contains_key(*key)).filter(is_lost);
    lost.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Returns the change by which no value that is set for all brokers stands over another one of their files. `None`: none does.
fn corrections(
    facts: &SettingsFacts,
    values: &Properties,
    is_pending: &dyn Fn(&str) -> bool,
    lost: &Properties,
) -> Option<Change> {
    let mut config = ConfigChange { set: lost.clone(), ..ConfigChange::default() };
    let mut otherwise = ConfigChange::default();
    for (key, found) in facts.for_all.iter().filter(|(key, _)| !is_pending(key)) {
        let target = match values.get(key) {
            Some(wanted) if is_same_value(wanted, found) => continue,
            Some(wanted) => {
                config.set.insert(key.clone(), wanted.clone());
                Some(wanted)
            }
            None => {
                config.unset.insert(key.clone());
                begun_with(facts, key)
            }
        };
        // What cannot be set at all is unset, so that a restart brings the value of the file.
        match target.and_then(|target| half_way(found, target)) {
            Some(step) => {
                otherwise.set.insert(key.clone(), step);
            }
            None => {
                otherwise.unset.insert(key.clone());
            }
        }
    }
    (!config.is_empty()).then_some(Change::AlterBrokers { config, otherwise })
}

/// Returns the value that a broker falls back to. `None`: unknown.
fn begun_with<'a>(facts: &'a SettingsFacts, key: &str) -> Option<&'a String> {
    facts.brokers.values().find_map(|broker| broker.settings.get(key)?.begun_with.as_ref())
}

/// Returns a number on the way from one to another, at most doubled and at least halved: pools of threads take no larger step.
/// `None`: they are no such numbers, or there is none between.
fn half_way(from: &str, to: &str) -> Option<String> {
    let (from, to): (i64, i64) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
    let next = if to > from { from.saturating_mul(2).min(to) } else { (from / 2 + from % 2).max(to) };
    (from > 0 && next != to).then(|| next.to_string())
}

fn facts(observed: &Observed) -> Option<&SettingsFacts> {
    observed.stores.kafka.as_ref().ok()?.settings.as_ref()
}

fn properties(files: &ConfigMap) -> Properties {
    let text = files.data.as_ref().and_then(|data| data.get(SERVER_PROPERTIES));
    text.map(|text| parse(text)).unwrap_or_default()
}

fn own_checksum(files: &ConfigMap) -> String {
    checksum_of(&files.data.clone().unwrap_or_default())
}

/// Has files stand for a checksum.
fn stand_for(files: &mut ConfigMap, stands_for: &str) {
    if own_checksum(files) != stands_for {
        files.annotations_mut().insert(CONFIG_CHECKSUM.to_owned(), stands_for.to_owned());
    }
}

/// Returns the checksum of new files. Pods of one that was carried over have begun with one or another of several files: after
/// it comes one that none has had, so that the way back to the first files reaches those that began with later ones.
fn afresh(found: &ConfigMap, wanted: &ConfigMap) -> String {
    let mut files: Files = wanted.data.clone().unwrap_or_default();
    let carried = found.annotations().get(CONFIG_CHECKSUM);
    files.extend(carried.map(|carried| (CONFIG_CHECKSUM.to_owned(), carried.clone())));
    checksum_of(&files)
}

/// Returns the checksum in the template of a StatefulSet.
fn checksum_in(set: &StatefulSet) -> Option<&String> {
    set.spec.as_ref()?.template.metadata.as_ref()?.annotations.as_ref()?.get(CONFIG_CHECKSUM)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `DynamicThreadPool` of Kafka refuses less than half and more than double of the number in force.
    #[test]
    fn numbers_are_approached_by_halves_and_doubles() {
        let steps = |from: &str, to: &str| {
            let mut all = vec![from.to_owned()];
            while let Some(next) = all.last().and_then(|last| half_way(last, to)) {
                all.push(next);
            }
            all
        };
        assert_eq!(steps("64", "8"), ["64", "32", "16"], "8 itself is the half of 16");
        assert_eq!(steps("8", "50"), ["8", "16", "32"]);
        assert_eq!(steps("7", "1"), ["7", "4", "2"]);
        for (from, to) in [("8", "8"), ("8", "16"), ("8", "4"), ("0", "9"), ("-1", "9"), ("producer", "lz4")] {
            assert_eq!(half_way(from, to), None, "{from} to {to}");
        }
    }
}
