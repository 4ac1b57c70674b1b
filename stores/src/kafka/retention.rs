//! How long topics keep records, as the brokers have it, and from when on records that wait are about to be deleted. Pure.

use std::time::Duration;

/// Shortest notice of a deletion that people can act on, where the retention allows it.
const SHORTEST_NOTICE: Duration = Duration::from_secs(3_600);

/// What a topic keeps of a partition. Kafka deletes whole segments, and only those of which every record may go: by time, a
/// record is kept for longer than it says; by size, up to a segment more is kept and goes at once.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Retention {
    /// How long records are kept. `None`: for ever.
    pub time: Option<Duration>,
    /// How many bytes of a partition are kept. `None`: all.
    pub bytes: Option<u64>,
    /// Bytes of a segment. `None`: unknown.
    pub segment: Option<u64>,
}

impl Retention {
    /// Reads the settings of a topic, those that it has from the brokers included. A topic that is only compacted deletes
    /// nothing by age or size.
    pub(super) fn of<'a>(settings: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut found = Self::default();
        let mut deletes = true;
        for (key, value) in settings {
            // Kafka writes "no limit" as -1, which is no unsigned number.
            let limit = value.trim().parse::<u64>().ok();
            match key {
                "cleanup.policy" => deletes = value.split(',').any(|policy| policy.trim() == "delete"),
                "retention.ms" => found.time = limit.map(Duration::from_millis),
                "retention.bytes" => found.bytes = limit,
                "segment.bytes" => found.segment = limit,
                _ => {}
            }
        }
        if deletes { found } else { Self::default() }
    }

    /// Returns how old a record must be to be about to be deleted. `None`: none is deleted because of its age.
    pub(super) fn due_age(&self) -> Option<Duration> {
        let time = self.time?;
        Some(time.saturating_sub(notice(time)))
    }
}

/// Returns how long before its deletion an unread record is worth a warning: a quarter of its retention, and at least an
/// hour, but never more than half of the retention, in which a healthy pipeline reads every record.
pub fn notice(retention: Duration) -> Duration {
    (retention / 4).max(SHORTEST_NOTICE.min(retention / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn settings_are_read_as_brokers_write_them() {
        let week = Duration::from_millis(604_800_000);
        let defaults = [
            ("cleanup.policy", "delete"),
            ("retention.ms", "604800000"),
            ("retention.bytes", "-1"),
            ("segment.bytes", "1073741824"),
        ];
        let expected = Retention { time: Some(week), bytes: None, segment: Some(1 << 30) };
        assert_eq!(Retention::of(defaults), expected);
        assert_eq!(Retention::of([("retention.ms", "-1"), ("retention.bytes", "-1")]), Retention::default());
        // Compacted topics have a retention, too, and do not use it.
        let compacted = |policy| [("cleanup.policy", policy), ("retention.ms", "604800000")];
        assert_eq!(Retention::of(compacted("compact")), Retention::default());
        assert_eq!(Retention::of(compacted("compact,delete")).time, Some(week));
    }

    #[test]
    fn notice_is_a_quarter_an_hour_or_half() {
        assert_eq!(notice(168 * HOUR), 42 * HOUR);
        assert_eq!(notice(4 * HOUR), HOUR);
        assert_eq!(notice(3 * HOUR), HOUR);
        assert_eq!(notice(HOUR), HOUR / 2);
    }

    #[test]
    fn records_are_due_once_they_are_older_than_the_rest() {
        let kept = |time| Retention { time, ..Retention::default() }.due_age();
        assert_eq!(kept(Some(168 * HOUR)), Some(126 * HOUR));
        assert_eq!(kept(None), None);
    }
}
