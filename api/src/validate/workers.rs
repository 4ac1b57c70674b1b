//! Parses the producer and the processor.

use std::collections::BTreeSet;

use millrace_terms::{
    Bytes, CANARY_TABLE, Duration, EpochUnit, Origin, RecordSettings, SqlSettings, StreamColumn, Tombstones,
    UnknownFields,
};

use super::Parse;
use super::members::{Defaults, MEBIBYTE};
use crate::crd::rules::ONLY_PUSHES;
use crate::names::{Component, KafkaPrefix, Names};
use crate::pipeline::{Processor, Producer, PushFrom, Query, RunnableSource, Scaling};
use crate::{access, crd};

/// Some 20 MiB at rest, the buffer and room for a large answer.
const PRODUCER: Defaults = Defaults { cpu: "50m", memory: 128 * MEBIBYTE };
/// Some 40 MiB at rest, the buffer and the client's queues.
const PROCESSOR: Defaults = Defaults { cpu: "50m", memory: 256 * MEBIBYTE };

/// Upper bound of the window of rows in flight: more than any node wants, since the window follows its answers.
const DEFAULT_MAX_IN_FLIGHT: u32 = 1024;

impl Parse {
    pub(super) fn producer(&mut self, written: &crd::Producer, names: &Names) -> Producer {
        let crd::Producer {
            replicas,
            scaling,
            resources,
            pod_template,
            buffer_memory,
            push_from,
            push_service,
            sources,
        } = written;
        let (mut continuous, mut runnable, mut secrets) = (Vec::new(), Vec::new(), BTreeSet::new());
        for (index, source) in sources.iter().enumerate() {
            let mut own = BTreeSet::new();
            let Some(settings) = self.source(&format!("spec.producer.sources[{index}]"), source, names, &mut own)
            else {
                continue;
            };
            if !matches!(settings.origin, Origin::Push(_)) {
                runnable.push(RunnableSource {
                    settings: settings.clone(),
                    params: source.params.clone(),
                    // Parsed later: what is wrong with it takes out this source alone.
                    schedule: None,
                    secrets: own.iter().cloned().collect(),
                });
            }
            if source.schedule.is_none() {
                continuous.push(settings);
                secrets.extend(own);
            }
        }
        let crd::PushFrom { namespaces, pod_labels, addresses } = push_from.clone().unwrap_or_default();
        for (index, block) in addresses.iter().enumerate() {
            if let Some(message) = access::not_a_block(block) {
                self.reject(format!("spec.producer.pushFrom.addresses[{index}]"), message);
            }
        }
        // With schedules alone there is nothing to fetch continuously.
        let wanted = if sources.iter().all(|source| source.schedule.is_some()) { 0 } else { *replicas };
        Producer {
            replicas: self.count("spec.producer.replicas", wanted),
            scaling: scaling.as_ref().and_then(|scaling| self.producer_scaling(scaling, sources)),
            resources: self.resources("spec.producer.resources", resources, &PRODUCER),
            pods: self.pods(Component::Producer, pod_template.as_ref()),
            buffer_memory: self.parse("spec.producer.bufferMemory", buffer_memory, Bytes(0)),
            sources: continuous,
            runnable,
            secrets: secrets.into_iter().collect(),
            push_from: PushFrom { namespaces, pod_labels, addresses },
            push_service: push_service.clone().unwrap_or_default(),
        }
    }

    pub(super) fn processor(&mut self, written: &crd::Processor, prefix: &KafkaPrefix) -> Processor {
        let crd::Processor {
            replicas,
            scaling,
            canary,
            resources,
            pod_template,
            buffer_memory,
            max_in_flight,
            queries,
            dead_letter,
        } = written;
        Processor {
            replicas: self.count("spec.processor.replicas", *replicas),
            scaling: scaling.as_ref().and_then(|scaling| self.scaling("spec.processor.scaling", scaling)),
            canary: canary.as_ref().map(|crd::Canary { interval }| {
                self.parse("spec.processor.canary.interval", interval, Duration::from_secs(10))
            }),
            resources: self.resources("spec.processor.resources", resources, &PROCESSOR),
            pods: self.pods(Component::Processor, pod_template.as_ref()),
            buffer_memory: self.parse("spec.processor.bufferMemory", buffer_memory, Bytes(0)),
            max_in_flight: max_in_flight.map_or(DEFAULT_MAX_IN_FLIGHT, i32::unsigned_abs),
            queries: queries.iter().map(query_of).collect(),
            left_out: BTreeSet::new(),
            dead_letter_topic: match dead_letter {
                Some(dead_letter) => dead_letter.topic.clone(),
                None => prefix.dead_letter_topic(),
            },
        }
    }

    /// Refuses the names of the canary's topic and table for anything else.
    pub(super) fn leave_to_canary(&mut self, spec: &crd::StreamingPipelineSpec, names: &Names) {
        if spec.processor.canary.is_none() {
            return;
        }
        let topic = names.canary_topic();
        if let Some(index) = spec.kafka.topics.iter().position(|declared| declared.name == topic) {
            let path = format!("spec.kafka.topics[{index}].name");
            self.reject(path, format!("'{topic}' is the topic of spec.processor.canary; use another name"));
        }
        if spec.processor.dead_letter.as_ref().is_some_and(|letters| letters.topic == topic) {
            let message = format!("'{topic}' is the topic of spec.processor.canary; use another name");
            self.reject("spec.processor.deadLetter.topic", message);
        }
        if let Some(index) = spec.cassandra.tables.iter().position(|declared| declared.name == CANARY_TABLE) {
            let path = format!("spec.cassandra.tables[{index}].name");
            self.reject(path, format!("'{CANARY_TABLE}' is the table of spec.processor.canary; use another name"));
        }
    }

    /// Parses how the number of producers follows what is pushed. `None`: it does not.
    fn producer_scaling(&mut self, written: &crd::ProducerScaling, sources: &[crd::Source]) -> Option<Scaling> {
        const PATH: &str = "spec.producer.scaling";
        let scaling = self.scaling(PATH, &written.with_defaults())?;
        if !sources.iter().all(|source| source.push.is_some() || source.schedule.is_some()) {
            self.reject(PATH, ONLY_PUSHES);
        }
        Some(scaling)
    }

    /// Parses how a number follows the load. `None`: it does not.
    fn scaling(&mut self, parent: &str, written: &crd::Scaling) -> Option<Scaling> {
        let crd::Scaling { mode, min, max, target_utilisation, catch_up, down_window } = written;
        let path = |field: &str| format!("{parent}.{field}");
        if *min < 1 {
            self.reject(path("min"), format!("{min} is below 1, and scaling to 0 is not supported; use 1 or more"));
        }
        if min > max {
            self.reject(path("min"), format!("{min} is above max, which is {max}; lower min or raise max"));
        }
        let scaling = Scaling {
            is_automatic: *mode == Some(crd::ScalingMode::Auto),
            min: self.count(&path("min"), *min),
            max: self.count(&path("max"), *max),
            target_utilisation: self.count(&path("targetUtilisation"), *target_utilisation),
            catch_up: self.parse(&path("catchUp"), catch_up, Duration::from_secs(0)),
            down_window: self.parse(&path("downWindow"), down_window, Duration::from_secs(0)),
        };
        match mode {
            Some(crd::ScalingMode::Auto | crd::ScalingMode::Recommend) => Some(scaling),
            Some(crd::ScalingMode::Off) | None => None,
        }
    }
}

fn query_of(written: &crd::Query) -> Query {
    let crd::Query { name, from, into, sql, columns, tombstones, unknown_fields, epoch_units } = written;
    let columns = columns
        .iter()
        .map(|column| StreamColumn { name: column.name.clone(), column_type: column.column_type })
        .collect();
    Query {
        name: name.clone(),
        from: from.clone(),
        into: into.clone(),
        sql: sql.as_ref().map(|text| SqlSettings { text: text.clone(), columns }),
        records: RecordSettings {
            tombstones: match tombstones {
                crd::Tombstones::Reject => Tombstones::Reject,
                crd::Tombstones::Skip => Tombstones::Skip,
                crd::Tombstones::Delete => Tombstones::Delete,
            },
            unknown_fields: match unknown_fields {
                None | Some(crd::UnknownFields::Refuse) => UnknownFields::Refuse,
                Some(crd::UnknownFields::Ignore) => UnknownFields::Ignore,
            },
            epoch_units: epoch_units.iter().map(|(column, unit)| (column.clone(), epoch_unit_of(*unit))).collect(),
        },
    }
}

fn epoch_unit_of(written: crd::EpochUnit) -> EpochUnit {
    match written {
        crd::EpochUnit::Seconds => EpochUnit::Seconds,
        crd::EpochUnit::Milliseconds => EpochUnit::Milliseconds,
        crd::EpochUnit::Microseconds => EpochUnit::Microseconds,
        crd::EpochUnit::Nanoseconds => EpochUnit::Nanoseconds,
    }
}
