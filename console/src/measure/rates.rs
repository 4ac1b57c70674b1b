//! Readings of a pipeline's workers, now and before → [`Rates`], or why they are unknown. Pure.

use std::collections::BTreeMap;

use millrace_api::names::Component;

use super::reading::{Histogram, Reading};

/// What a worker answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Name of the pod.
    pub pod: String,
    /// Its UID.
    pub uid: String,
    /// Which worker.
    pub component: Component,
    /// When it began, in seconds since the Unix epoch. `None`: unknown.
    pub started: Option<i64>,
    /// Its counters, or why there are none.
    pub reading: Result<Reading, String>,
}

/// The last counters of each worker, by UID, and when they were read, in seconds since the Unix epoch.
pub type Before = BTreeMap<String, (f64, Reading)>;

/// What happened, a second.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rates {
    /// By source.
    pub sources: BTreeMap<String, SourceRates>,
    /// Sends that Kafka did not acknowledge.
    pub publish_failures: f64,
    /// Records that came from Kafka.
    pub consumed: f64,
    /// Rows that Cassandra has acknowledged.
    pub written: f64,
    /// Writes that it did not acknowledge.
    pub write_failures: f64,
    /// Records that no query could use.
    pub dead_letters: f64,
    /// Seconds of work, of all workers together.
    pub busy: f64,
    /// Seconds without a record.
    pub idle: f64,
    /// Seconds of waiting for Cassandra.
    pub back_pressured: f64,
    /// Durations of write requests: counts, not a second.
    pub write_seconds: Histogram,
    /// Ages of records: counts, not a second.
    pub record_age: Histogram,
}

/// What happened of one source, a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SourceRates {
    /// Records that Kafka has acknowledged.
    pub produced: f64,
    /// Records that were refused.
    pub rejected: f64,
    /// Requests that failed.
    pub failed_requests: f64,
}

/// Returns what the workers of some components did since `before`, all together, or why that is unknown.
///
/// `wanted` is the number of pods that the resource asks for. `last_sample` is when the pods were looked at before, in
/// seconds since the Unix epoch: a worker that began since then counted from zero.
pub fn rates(
    answers: &[Answer],
    components: &[Component],
    wanted: u32,
    before: &Before,
    now: f64,
    last_sample: Option<f64>,
) -> Result<Rates, String> {
    let mut sum = Rates::default();
    let of_these: Vec<&Answer> = answers.iter().filter(|answer| components.contains(&answer.component)).collect();
    let lasting = of_these.iter().filter(|answer| answer.component != Component::Run).count();
    if lasting == 0 && wanted > 0 {
        return Err(format!("no {} runs", components[0]));
    }
    for answer in of_these {
        let reading =
            answer.reading.as_ref().map_err(|cause| format!("{} does not return its metrics: {cause}", answer.pod))?;
        let zero = Reading::default();
        let (since, earlier) = match (before.get(&answer.uid), last_sample, answer.started) {
            (Some((since, earlier)), _, _) => (*since, earlier),
            (None, Some(last), Some(started)) if started as f64 >= last.floor() => (last, &zero),
            (None, _, _) => return Err(format!("{} was asked for the first time", answer.pod)),
        };
        add(&mut sum, reading, earlier, (now - since).max(f64::EPSILON));
    }
    Ok(sum)
}

fn add(sum: &mut Rates, now: &Reading, before: &Reading, seconds: f64) {
    // A counter that fell began anew.
    let rate = |now: f64, before: f64| if now < before { now / seconds } else { (now - before) / seconds };
    for (source, produced) in &now.produced {
        let before = before.produced.get(source).copied().unwrap_or_default();
        sum.sources.entry(source.clone()).or_default().produced += rate(*produced, before);
    }
    for (source, rejected) in &now.rejected {
        let before = before.rejected.get(source).copied().unwrap_or_default();
        sum.sources.entry(source.clone()).or_default().rejected += rate(*rejected, before);
    }
    for (source, failed) in &now.failed_requests {
        let before = before.failed_requests.get(source).copied().unwrap_or_default();
        sum.sources.entry(source.clone()).or_default().failed_requests += rate(*failed, before);
    }
    sum.publish_failures += rate(now.publish_failures, before.publish_failures);
    sum.consumed += rate(now.consumed, before.consumed);
    sum.written += rate(now.written, before.written);
    sum.write_failures += rate(now.write_failures, before.write_failures);
    sum.dead_letters += rate(now.dead_letters, before.dead_letters);
    sum.busy += rate(now.busy, before.busy);
    sum.idle += rate(now.idle, before.idle);
    sum.back_pressured += rate(now.back_pressured, before.back_pressured);
    sum.write_seconds.add(&now.write_seconds.since(&before.write_seconds));
    sum.record_age.add(&now.record_age.since(&before.record_age));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(consumed: f64) -> Reading {
        Reading { consumed, produced: BTreeMap::from([("users".to_owned(), 2.0 * consumed)]), ..Reading::default() }
    }

    fn answer(uid: &str, reading: Result<Reading, String>) -> Answer {
        Answer {
            pod: format!("pod-{uid}"),
            uid: uid.to_owned(),
            component: Component::Processor,
            started: Some(50),
            reading,
        }
    }

    fn consumed(answers: &[Answer], before: &Before) -> Result<f64, String> {
        rates(answers, &[Component::Processor], 2, before, 110.0, Some(100.0)).map(|rates| rates.consumed)
    }

    fn before(consumed: f64) -> Before {
        BTreeMap::from([("a".to_owned(), (100.0, reading(consumed)))])
    }

    #[test]
    fn rates_are_what_was_counted_since_the_last_time() {
        let answers = [answer("a", Ok(reading(150.0)))];
        assert_eq!(consumed(&answers, &before(50.0)), Ok(10.0));
        let all = rates(&answers, &[Component::Processor], 1, &before(50.0), 110.0, Some(100.0)).expect("known");
        assert_eq!(all.sources["users"].produced, 20.0);
    }

    #[test]
    fn one_worker_that_does_not_answer_makes_the_sum_unknown() {
        let answers = [answer("a", Ok(reading(150.0))), answer("b", Err("connection refused".to_owned()))];
        assert_eq!(
            consumed(&answers, &before(50.0)),
            Err("pod-b does not return its metrics: connection refused".to_owned())
        );
    }

    #[test]
    fn no_worker_is_unknown_unless_none_is_wanted() {
        assert_eq!(consumed(&[], &before(50.0)), Err("no processor runs".to_owned()));
        assert_eq!(rates(&[], &[Component::Processor], 0, &before(50.0), 110.0, None), Ok(Rates::default()));
    }

    #[test]
    fn a_worker_counts_from_zero_only_if_it_began_since_the_last_time() {
        let old = [answer("b", Ok(reading(150.0)))];
        assert_eq!(consumed(&old, &Before::new()), Err("pod-b was asked for the first time".to_owned()));
        let new = [Answer { started: Some(104), ..answer("b", Ok(reading(150.0))) }];
        assert_eq!(consumed(&new, &Before::new()), Ok(15.0));
    }

    #[test]
    fn a_restarted_container_takes_nothing_away() {
        assert_eq!(consumed(&[answer("a", Ok(reading(30.0)))], &before(50.0)), Ok(3.0));
    }
}
