//! Whose letters a worker sends back: a processor those of the topics that it consumes, a producer those of its sources.

use std::collections::BTreeMap;

use millrace_terms::{Bytes, KafkaSettings, PipelineName, ProcessSettings, ProduceSettings, SourceSettings};
use snafu::{OptionExt, ResultExt, Snafu};

use crate::mapping::{CompileMapping, Mapping};

/// What a worker needs to know for its letters.
pub struct LetterDesk {
    pub(super) pipeline: PipelineName,
    pub(super) kafka: KafkaSettings,
    pub(super) buffer_memory: Bytes,
    /// What the names of consumer groups begin with.
    pub(super) group: String,
    pub(super) topic: String,
    pub(super) ways: Ways,
}

/// How letters go back.
pub(crate) enum Ways {
    /// To these topics, as they are.
    Topics(Vec<String>),
    /// Through the mapping of the source of this name.
    Sources(BTreeMap<String, Way>),
}

/// How the letters of a source go back.
pub(crate) struct Way {
    pub(super) topic: String,
    pub(super) mapping: Mapping,
}

/// Why a worker has no letters.
#[derive(Debug, Snafu)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum OpenDesk {
    #[snafu(display("the producer's settings name no dead-letter topic"))]
    FindTopic,
    #[snafu(display("cannot use the fields"))]
    Compile { source: CompileMapping },
}

impl LetterDesk {
    /// Makes that of a processor.
    pub fn of_processor(settings: &ProcessSettings) -> Self {
        Self {
            pipeline: settings.pipeline.clone(),
            kafka: settings.kafka.clone(),
            buffer_memory: settings.buffer_memory,
            group: settings.consumer_group.clone(),
            topic: settings.dead_letter_topic.clone(),
            ways: Ways::Topics(settings.topics().into_iter().map(str::to_owned).collect()),
        }
    }

    /// Makes that of a producer: of all sources of the pipeline, whichever producer runs them.
    pub fn of_producer(settings: &ProduceSettings) -> Result<Self, OpenDesk> {
        let way = |source: &SourceSettings| {
            let mapping = Mapping::compile(source).context(CompileSnafu)?;
            Ok((source.name.clone(), Way { topic: source.topic.clone(), mapping }))
        };
        let ways: Result<_, OpenDesk> = settings.sources.iter().map(way).collect();
        let PipelineName { namespace, name } = &settings.pipeline;
        Ok(Self {
            pipeline: settings.pipeline.clone(),
            kafka: settings.kafka.clone(),
            buffer_memory: settings.buffer_memory,
            group: format!("{namespace}.{name}.sources"),
            topic: settings.dead_letter_topic.clone().context(FindTopicSnafu)?,
            ways: Ways::Sources(ways?),
        })
    }
}
