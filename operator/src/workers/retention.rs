//! Whether retention is about to delete records that processors have not read, at the pace at which they read. Pure.
//!
//! Kafka says which records that wait are in the last part of their retention (`stores/src/kafka/retention.rs`), and the
//! looks of the last minutes at which pace each partition is read. Records are at risk where more are to be deleted within
//! that part than processors read in it. Decision 35 says why.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use millrace_api::Pipeline;
use millrace_api::crd::condition::ConditionType;
use millrace_stores::kafka::{Position, Retention, notice};
use millrace_terms::{Bytes, Duration as Length};

use crate::looks::{PACE_OVER, Reached};
use crate::observed::Observed;
use crate::rounding::two_digits;
use crate::workers::suspend;

/// How many times as fast as needed processors must read for a risk to be over: at its border, it would come and go.
const EASE: f64 = 2.0;

/// Whether records are about to be deleted unread.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Risk {
    /// None are.
    Absent,
    /// It is unknown right now.
    Unknown,
    /// Some are, for this reason.
    Present(String),
}

/// Judges whether records are about to be deleted unread.
pub fn judge(pipeline: &Pipeline, observed: &Observed) -> Risk {
    let Some(positions) = observed.stores.kafka.as_ref().ok().and_then(|kafka| kafka.positions.as_ref()) else {
        return Risk::Unknown;
    };
    let runs = suspend::processors(pipeline, observed) > 0;
    let was_there = ConditionType::RetentionAtRisk.is_true(&observed.remembered.status.conditions);
    let nothing = Vec::new();
    let topics: BTreeSet<&String> = pipeline.processor.queries.iter().map(|query| &query.from).collect();
    let found = topics.into_iter().map(|topic| {
        let Some(position) = positions.get(topic) else { return Risk::Unknown };
        let before = observed.looks.reached.get(topic).unwrap_or(&nothing);
        Look { topic, position, before, runs, was_there }.judge()
    });
    found.fold(Risk::Absent, worse)
}

/// Returns the first risk, or else that something is unknown.
fn worse(one: Risk, other: Risk) -> Risk {
    match (&one, &other) {
        (Risk::Present(_), _) | (_, Risk::Absent) | (Risk::Unknown, Risk::Unknown) => one,
        (Risk::Absent | Risk::Unknown, _) => other,
    }
}

/// A look at one topic.
struct Look<'a> {
    topic: &'a str,
    position: &'a Position,
    /// How far it was read in the last minutes.
    before: &'a [Reached],
    /// Whether processors are to run.
    runs: bool,
    /// Whether a risk was there before.
    was_there: bool,
}

/// Whether some of a partition's records are about to be deleted unread. `None`: unknown.
type AtRisk = Option<bool>;

impl Look<'_> {
    fn judge(&self) -> Risk {
        let Retention { time, bytes, .. } = self.position.retention;
        worse(
            time.map_or(Risk::Absent, |time| self.by_time(time)),
            bytes.map_or(Risk::Absent, |bytes| self.by_size(bytes)),
        )
    }

    /// Judges by the age of records: those that wait and are due soon, against those that are read until then.
    fn by_time(&self, kept: Duration) -> Risk {
        if self.position.behind.is_empty() {
            return Risk::Absent;
        }
        let Some(due) = &self.position.due else { return Risk::Unknown };
        let within = notice(kept);
        let judged: BTreeMap<i32, AtRisk> =
            due.iter().map(|(index, due)| (*index, self.outruns(*due as f64, *index, within))).collect();
        self.verdict(&judged, || {
            let records: i64 = due.iter().filter(|(index, _)| judged[*index] == Some(true)).map(|(_, due)| due).sum();
            format!(
                "topic '{}' deletes records after {} (retention.ms), and {} that processors have not read are due within {}",
                self.topic,
                length(kept),
                two_digits(records),
                length(within)
            )
        })
    }

    /// Judges by the size of logs that have begun to lose their beginnings: the log's start moves on with its end, and the
    /// group may be so near to it that it is overtaken within a quarter of the time in which a log is replaced.
    fn by_size(&self, kept: u64) -> Risk {
        let judged: BTreeMap<i32, AtRisk> =
            self.position.behind.keys().map(|index| (*index, self.is_overtaken(*index, kept))).collect();
        self.verdict(&judged, || {
            format!(
                "topic '{}' keeps {} of each partition (retention.bytes), and deletes records faster than processors read \
                 those that are left",
                self.topic,
                Bytes(kept)
            )
        })
    }

    fn is_overtaken(&self, index: i32, kept: u64) -> AtRisk {
        let Position { starts, ends, behind, retention, .. } = self.position;
        let (start, end, behind) = (starts.get(&index)?, ends.get(&index)?, behind.get(&index)?);
        // Nothing was deleted yet, and how much there is room for is unknown.
        if *start == 0 {
            return Some(false);
        }
        let written = self.pace(index, |reached| &reached.written, ends)?;
        if written <= 0.0 {
            return Some(false);
        }
        // A whole segment goes at once.
        let certain = kept as f64 / (kept as f64 + retention.segment.unwrap_or(0) as f64);
        let room = (end - start) as f64 * certain;
        let within = notice(Duration::try_from_secs_f64(room / written).unwrap_or(Duration::MAX));
        let deleted = *behind as f64 + written * within.as_secs_f64() - room;
        self.outruns(deleted, index, within)
    }

    /// Returns whether so many records of a partition are more than what is read of it within a time.
    fn outruns(&self, records: f64, index: i32, within: Duration) -> AtRisk {
        if records <= 0.0 {
            return Some(false);
        }
        let pace = match self.runs {
            true => self.pace(index, |reached| &reached.read, &self.position.reached)?,
            false => 0.0,
        };
        let ease = if self.was_there { EASE } else { 1.0 };
        Some(records * ease > pace * within.as_secs_f64())
    }

    /// Returns the records a second by which offsets of a partition have moved on in the last minutes. `None`: unknown, as
    /// after they were set back, or while too little time has passed.
    fn pace(&self, index: i32, of: impl Fn(&Reached) -> &BTreeMap<i32, i64>, now: &BTreeMap<i32, i64>) -> Option<f64> {
        let first = self.before.first()?;
        let time = self.position.at?.duration_since(first.at).ok().filter(|time| *time >= PACE_OVER)?;
        let moved = match (of(first).get(&index), now.get(&index)) {
            (None, None) => 0,
            (Some(before), Some(now)) => now - before,
            _ => return None,
        };
        (moved >= 0).then(|| moved as f64 / time.as_secs_f64())
    }

    fn verdict(&self, judged: &BTreeMap<i32, AtRisk>, what: impl FnOnce() -> String) -> Risk {
        if judged.values().any(|found| *found == Some(true)) {
            let why = match self.runs {
                true => "at their pace, some are deleted first",
                false => "no processor is to run",
            };
            return Risk::Present(format!("{}: {why}", what()));
        }
        if judged.values().any(Option::is_none) { Risk::Unknown } else { Risk::Absent }
    }
}

/// Returns a time in whole hours, or minutes where it is shorter than a few.
fn length(time: Duration) -> Length {
    let unit = if time.as_secs() >= 4 * 3_600 { 3_600 } else { 60 };
    match time.as_secs() / unit * unit {
        0 => Length::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        seconds => Length::from_secs(seconds),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::looks::remember;

    const HOUR: u64 = 3_600;

    /// Of a week, the last 42 hours.
    const WEEK: Retention = Retention { time: Some(Duration::from_secs(168 * HOUR)), bytes: None, segment: None };

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// Returns a topic of two partitions in which so many records of the first are due, ten minutes after the first look.
    fn waiting(due: i64) -> Position {
        Position {
            retention: WEEK,
            behind: [(0, 5_000_000)].into(),
            reached: [(0, 6_000), (1, 900_000)].into(),
            due: Some([(0, due)].into_iter().filter(|(_, due)| *due > 0).collect()),
            at: Some(at(600)),
            ..Position::default()
        }
    }

    /// Returns the first look: since then the first partition was read at 10 records/s, and the other at 1,500.
    fn before() -> Vec<Reached> {
        vec![Reached { at: at(0), read: [(0, 0), (1, 0)].into(), written: BTreeMap::new() }]
    }

    fn judged(position: &Position, before: &[Reached], runs: bool, was_there: bool) -> Risk {
        Look { topic: "users", position, before, runs, was_there }.judge()
    }

    fn running(position: &Position) -> Risk {
        judged(position, &before(), true, false)
    }

    fn is_present(risk: &Risk) -> bool {
        matches!(risk, Risk::Present(_))
    }

    #[test]
    fn records_that_no_processor_reads_are_at_risk_once_they_are_due() {
        let stopped = |due| judged(&waiting(due), &[], false, false);
        assert_eq!(stopped(0), Risk::Absent);
        let message = "topic 'users' deletes records after 168h (retention.ms), and 12000 that processors have not read are due \
                       within 42h: no processor is to run";
        assert_eq!(stopped(12_345), Risk::Present(message.to_owned()));
        assert_eq!(stopped(12_999), stopped(12_000), "a few more are no other message");
    }

    /// In 42 hours, 1,512,000 records are read.
    #[test]
    fn records_are_at_risk_if_more_are_due_than_are_read_until_then() {
        assert_eq!(running(&waiting(1_500_000)), Risk::Absent);
        assert!(is_present(&running(&waiting(1_600_000))));
        // The whole topic is read fast enough; this partition is not, which stands still.
        let stands = Position { reached: [(0, 0), (1, 900_000)].into(), ..waiting(1) };
        assert!(is_present(&running(&stands)));
    }

    #[test]
    fn a_risk_ends_only_where_processors_are_clearly_faster() {
        let later = |due| judged(&waiting(due), &before(), true, true);
        assert!(is_present(&later(1_500_000)));
        assert_eq!(later(750_000), Risk::Absent);
    }

    #[test]
    fn what_is_unknown_is_no_risk_and_no_safety() {
        assert_eq!(judged(&waiting(10), &[], true, false), Risk::Unknown, "the pace");
        let soon = Position { at: Some(at(30)), ..waiting(10) };
        assert_eq!(running(&soon), Risk::Unknown, "the pace of half a minute");
        let back = Position { reached: [(0, -1), (1, 0)].into(), ..waiting(10) };
        assert_eq!(running(&back), Risk::Unknown, "the topic is read again");
        assert_eq!(running(&Position { due: None, ..waiting(10) }), Risk::Unknown, "what is due");
        // The control: nothing is due, whatever the pace.
        assert_eq!(judged(&waiting(0), &[], true, false), Risk::Absent);
    }

    #[test]
    fn topics_that_keep_everything_and_those_that_are_read_are_at_no_risk() {
        let stopped = |position: &Position| judged(position, &[], false, false);
        // As compacted topics are, and those with a retention of -1.
        assert_eq!(stopped(&Position { retention: Retention::default(), ..waiting(10) }), Risk::Absent);
        let read = Position { behind: BTreeMap::new(), due: None, ..waiting(0) };
        assert_eq!(stopped(&read), Risk::Absent);
        assert_eq!(stopped(&Position { retention: WEEK, ..Position::default() }), Risk::Absent, "just created");
    }

    /// Of 100 records/s for a retention of 8 hours, only 50 are read. The first record is deleted unread after 16 hours, and
    /// the warning comes a quarter of the retention before that.
    #[test]
    fn the_warning_comes_a_quarter_of_the_retention_before_the_loss() {
        let (written, read, kept, notice) = (100, 50, 8 * HOUR, 2 * HOUR);
        let position = |seconds: u64| {
            // What was written until then is older than the rest of its retention.
            let old = seconds.saturating_sub(kept - notice) * written;
            let (reached, end) = (seconds * read, seconds * written);
            let due = old.saturating_sub(reached).cast_signed();
            Position {
                retention: Retention { time: Some(Duration::from_secs(kept)), ..Retention::default() },
                behind: [(0, (end - reached).cast_signed())].into(),
                reached: [(0, reached.cast_signed())].into(),
                due: Some([(0, due)].into_iter().filter(|(_, due)| *due > 0).collect()),
                at: Some(at(seconds)),
                ..Position::default()
            }
        };
        let mut looks = BTreeMap::new();
        let (mut warned, mut lost) = (None, None);
        for minute in 1..=20 * 60 {
            let now = position(minute * 60);
            remember(&mut looks, &[("users".to_owned(), now.clone())].into());
            if is_present(&judged(&now, &looks["users"], true, false)) {
                warned = warned.or(Some(minute));
            }
            let gone = (minute * 60).saturating_sub(kept) * written;
            if gone > minute * 60 * read {
                lost = lost.or(Some(minute));
            }
        }
        assert_eq!((warned, lost), (Some(14 * 60 + 1), Some(16 * 60 + 1)));
    }

    /// A log that has lost its beginning and has room for 1,000 records; at one a second, it is replaced in 1,000 s, half of
    /// which is the notice.
    fn full(behind: i64, segment: u64) -> (Position, Vec<Reached>) {
        let position = Position {
            retention: Retention { time: None, bytes: Some(1 << 30), segment: Some(segment) },
            starts: [(0, 100)].into(),
            ends: [(0, 1_100)].into(),
            behind: [(0, behind)].into(),
            reached: [(0, 1_100 - behind)].into(),
            at: Some(at(600)),
            ..Position::default()
        };
        let before = Reached { at: at(0), read: [(0, 1_100 - behind)].into(), written: [(0, 500)].into() };
        (position, vec![before])
    }

    #[test]
    fn a_group_near_the_start_of_a_full_log_is_at_risk() {
        let judged = |behind, segment| {
            let (position, before) = full(behind, segment);
            judged(&position, &before, true, false)
        };
        assert!(is_present(&judged(800, 0)));
        assert_eq!(judged(400, 0), Risk::Absent);
        assert!(is_present(&judged(400, 1 << 30)), "half of the log may go at once");
    }

    #[test]
    fn a_log_that_has_room_or_no_input_deletes_nothing_by_size() {
        let stopped = |position: &Position, before: &[Reached]| judged(position, before, false, false);
        let (position, before) = full(1_000, 0);
        assert!(is_present(&stopped(&position, &before)));
        let roomy = Position { starts: [(0, 0)].into(), ..position.clone() };
        assert_eq!(stopped(&roomy, &before), Risk::Absent);
        let quiet = [Reached { written: [(0, 1_100)].into(), ..before[0].clone() }];
        assert_eq!(stopped(&position, &quiet), Risk::Absent);
        // The control: as fast as it comes, it is read.
        let keeps_up = [Reached { read: [(0, -500)].into(), ..before[0].clone() }];
        assert_eq!(judged(&position, &keeps_up, true, false), Risk::Absent);
    }

    #[test]
    fn a_risk_of_one_topic_stands_over_what_is_unknown_of_another() {
        let present = || Risk::Present("x".to_owned());
        assert_eq!(worse(Risk::Unknown, present()), present());
        assert_eq!(worse(present(), Risk::Unknown), present());
        assert_eq!(worse(Risk::Unknown, Risk::Absent), Risk::Unknown);
        assert_eq!(worse(Risk::Absent, Risk::Absent), Risk::Absent);
    }
}
