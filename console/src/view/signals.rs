//! History → the golden signals of each stage, over the last minute.

use millrace_api::names::Names;

use super::pipeline::series;
use crate::api::history::{Measure, Sample, SampleValue, SeriesKey};
use crate::api::pipeline::{Stage, StageSignals};
use crate::measure::history::History;

/// Returns the signals of each source, of the processors and of the writes to Cassandra.
pub fn signals(names: &Names, sources: &[String], history: &History) -> Vec<StageSignals> {
    let unknown = history.unknown(names);
    let stages = sources.iter().map(|source| (Stage::Source, Some(source.as_str())));
    let stages = stages.chain([(Stage::Processor, None), (Stage::Sink, None)]);
    stages.map(|(stage, name)| of_stage(names, stage, name, history, &unknown)).collect()
}

fn of_stage(names: &Names, stage: Stage, name: Option<&str>, history: &History, unknown: &[String]) -> StageSignals {
    let recent =
        |measure| history.recent(names, &SeriesKey { name: name.map(str::to_owned), ..series(Some(stage), measure) });
    let in_rate = recent(Measure::InRate);
    // Percentiles are over the last minute already.
    let latest = |measure| history.latest(names, &series(Some(stage), measure));
    StageSignals {
        stage,
        name: name.unwrap_or(names.pipeline()).to_owned(),
        in_rate,
        out_rate: recent(Measure::OutRate),
        error_rate: recent(Measure::ErrorRate),
        p50_seconds: latest(Measure::LatencyP50),
        p99_seconds: latest(Measure::LatencyP99),
        busy: recent(Measure::Busy),
        idle: recent(Measure::Idle),
        back_pressured: recent(Measure::BackPressured),
        age_p50_seconds: latest(Measure::AgeP50),
        age_p99_seconds: latest(Measure::AgeP99),
        unknown: in_rate.is_none().then(|| unknown.join("; ")).filter(|causes| !causes.is_empty()),
    }
}

/// Returns the latest value of every series; `None`: there is no sample yet.
pub fn sample(names: &Names, history: &History) -> Option<Sample> {
    let excerpt = history.excerpt(names, 1);
    let time = *excerpt.times.last()?;
    let values = excerpt
        .series
        .into_iter()
        .map(|(key, values)| SampleValue { key, value: values.last().copied().flatten() })
        .collect();
    Some(Sample { time, values, unknown: excerpt.unknown })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn unknown_signals_have_their_cause_and_known_ones_none() {
        let names = Names::new("shop", "users");
        let mut history = History::default();
        let values = BTreeMap::from([
            (series(Some(Stage::Processor), Measure::InRate), Some(5.0)),
            (series(Some(Stage::Sink), Measure::InRate), None),
        ]);
        history.push(&names, 5, values, vec!["a is gone".to_owned()]);
        let signals = signals(&names, &[], &history);
        assert_eq!((signals[0].in_rate, &signals[0].unknown), (Some(5.0), &None));
        assert_eq!((signals[1].in_rate, signals[1].unknown.as_deref()), (None, Some("a is gone")));
        let sample = sample(&names, &history).expect("a sample");
        assert_eq!((sample.time, sample.values.len()), (5, 2));
        assert_eq!(super::sample(&names, &History::default()), None);
    }
}
