//! The clock that the schedules of a pipeline go by: the machine's, or a faster one on which they are rehearsed.
//!
//! The annotation `millrace.dev/schedule-clock: 60x since 2026-01-01T00:00:00Z` lets a minute pass in each second from
//! that moment on. It is a function of the machine's clock alone, so that every operator reads the same.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use kube::ResourceExt;
use millrace_api::StreamingPipeline;

/// The annotation.
pub const CLOCK_ANNOTATION: &str = "millrace.dev/schedule-clock";
/// Fastest clock.
const FASTEST: i32 = 1000;

/// A clock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Clock {
    origin: DateTime<Utc>,
    factor: i32,
}

impl Clock {
    /// Returns the clock of a pipeline, or what is wrong with its annotation.
    pub fn of(pipeline: &StreamingPipeline) -> Result<Self, String> {
        let Some(text) = pipeline.annotations().get(CLOCK_ANNOTATION) else {
            return Ok(Self { origin: DateTime::UNIX_EPOCH, factor: 1 });
        };
        parse(text).ok_or_else(|| {
            format!(
                "metadata.annotations[{CLOCK_ANNOTATION}] is '{text}'; write, for example, '60x since \
                 2026-01-01T00:00:00Z', at most {FASTEST}x, or remove it"
            )
        })
    }

    /// Returns what it shows when the machine's clock shows `real`.
    pub fn at(&self, real: DateTime<Utc>) -> DateTime<Utc> {
        let since = real - self.origin;
        since.checked_mul(self.factor).and_then(|passed| self.origin.checked_add_signed(passed)).unwrap_or(real)
    }

    /// Returns how long the machine takes until so much of its time has passed.
    pub fn wait(&self, passes: TimeDelta) -> Duration {
        (passes / self.factor).to_std().unwrap_or_default()
    }
}

fn parse(text: &str) -> Option<Clock> {
    let (factor, origin) = text.split_once("x since ")?;
    let factor = factor.parse().ok().filter(|factor| (1..=FASTEST).contains(factor))?;
    Some(Clock { origin: DateTime::parse_from_rfc3339(origin).ok()?.to_utc(), factor })
}

#[cfg(test)]
mod tests {
    use millrace_api::crd::StreamingPipelineSpec;

    use super::*;

    fn pipeline(clock: Option<&str>) -> StreamingPipeline {
        let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../e2e/samples/accepted/one-of-each.yaml");
        let text = std::fs::read_to_string(sample).expect("the sample is there");
        let read: StreamingPipeline = serde_yaml::from_str(&text).expect("a pipeline");
        let spec: StreamingPipelineSpec = read.spec;
        let mut pipeline = StreamingPipeline::new("users", spec);
        pipeline.metadata.annotations = clock.map(|clock| [(CLOCK_ANNOTATION.to_owned(), clock.to_owned())].into());
        pipeline
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("a moment")
    }

    #[test]
    fn without_the_annotation_it_is_the_machines() {
        let clock = Clock::of(&pipeline(None)).expect("a clock");
        assert_eq!(clock.at(at("2026-03-01T12:34:56Z")), at("2026-03-01T12:34:56Z"));
        assert_eq!(clock.wait(TimeDelta::seconds(90)), Duration::from_secs(90));
    }

    #[test]
    fn a_faster_one_goes_from_its_moment_on() {
        let clock = Clock::of(&pipeline(Some("60x since 2026-03-01T00:00:00Z"))).expect("a clock");
        assert_eq!(clock.at(at("2026-03-01T00:00:00Z")), at("2026-03-01T00:00:00Z"));
        assert_eq!(clock.at(at("2026-03-01T00:01:01Z")), at("2026-03-01T01:01:00Z"));
        assert_eq!(clock.wait(TimeDelta::minutes(3)), Duration::from_secs(3));
        assert_eq!(clock.wait(TimeDelta::minutes(-3)), Duration::ZERO, "it is due already");
    }

    #[test]
    fn an_annotation_that_cannot_be_read_says_how_to_write_it() {
        for wrong in [
            "",
            "60",
            "0x since 2026-01-01T00:00:00Z",
            "-1x since 2026-01-01T00:00:00Z",
            "60x since today",
            "5000x since 2026-01-01T00:00:00Z",
        ] {
            let said = Clock::of(&pipeline(Some(wrong))).expect_err(wrong);
            assert!(said.contains("write, for example, '60x since"), "{said}");
        }
    }
}
