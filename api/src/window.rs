//! Maintenance windows: when one is open, and when the next one opens. Pure.

use chrono::{DateTime, TimeDelta, Utc};
use millrace_terms::Duration;

use crate::crd;
use crate::params::rfc3339;
use crate::rejected::Rejected;
use crate::schedule::Timetable;

/// Openings that are looked through for one that comes before the window of the one before has closed.
const OPENINGS: usize = 16;

/// A time in which pods of the stores may be restarted.
#[derive(Clone, Debug, PartialEq)]
pub struct MaintenanceWindow {
    openings: Timetable,
    duration: TimeDelta,
}

impl MaintenanceWindow {
    /// Returns whether it is open at a moment: from its opening on, and no more at its end.
    pub fn is_open(&self, now: DateTime<Utc>) -> bool {
        let last = now.checked_sub_signed(self.duration).and_then(|before| self.openings.next_after(before));
        last.is_some_and(|opening| opening <= now)
    }

    /// Returns when it opens next after a moment. `None`: never.
    pub fn opens_after(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.openings.next_after(now)
    }

    /// Returns two openings of which the second comes before the window of the first has closed; `None`: there are none.
    fn overlap(&self) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        let openings: Vec<DateTime<Utc>> =
            std::iter::successors(self.openings.next_after(DateTime::UNIX_EPOCH), |last| {
                self.openings.next_after(*last)
            })
            .take(OPENINGS)
            .collect();
        let pair = openings.windows(2).find(|pair| pair[1] - pair[0] <= self.duration)?;
        Some((pair[0], pair[1]))
    }
}

/// Returns whether any window is open at a moment.
pub fn is_any_open(windows: &[MaintenanceWindow], now: DateTime<Utc>) -> bool {
    windows.iter().any(|window| window.is_open(now))
}

/// Returns when the next window opens after a moment. `None`: none ever does.
pub fn next_opening(windows: &[MaintenanceWindow], now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    windows.iter().filter_map(|window| window.opens_after(now)).min()
}

/// Parses a window; `path` is its own.
pub(crate) fn parse(path: &str, written: &crd::MaintenanceWindow) -> Result<MaintenanceWindow, Rejected> {
    let crd::MaintenanceWindow { schedule, duration, time_zone } = written;
    let openings = Timetable::parse(schedule, time_zone).map_err(|(field, problem)| {
        let field = if field == "cron" { "schedule" } else { field };
        Rejected::new(format!("{path}.{field}"), problem)
    })?;
    let wrong_duration = |problem: String| Rejected::new(format!("{path}.duration"), problem);
    let parsed = duration.parse::<Duration>().map_err(|error| wrong_duration(format!("{error}")))?;
    let long = TimeDelta::from_std(parsed.get()).ok().filter(|long| *long > TimeDelta::zero());
    let Some(long) = long else {
        return Err(wrong_duration(format!("'{duration}' is not a valid length; write, for example, 2h")));
    };
    let window = MaintenanceWindow { openings, duration: long };
    if window.opens_after(DateTime::UNIX_EPOCH).is_none() {
        let problem = "it matches no calendar date; correct day and month";
        return Err(Rejected::new(format!("{path}.schedule"), problem));
    }
    if let Some((first, second)) = window.overlap() {
        return Err(wrong_duration(format!(
            "the window that opens at {} would still be open when the next one opens at {}; shorten it, or let it open \
             less often",
            rfc3339(first),
            rfc3339(second)
        )));
    }
    Ok(window)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("a moment")
    }

    fn written(schedule: &str, duration: &str, time_zone: &str) -> crd::MaintenanceWindow {
        let [schedule, duration, time_zone] = [schedule, duration, time_zone].map(str::to_owned);
        crd::MaintenanceWindow { schedule, duration, time_zone }
    }

    fn window(schedule: &str, duration: &str, time_zone: &str) -> MaintenanceWindow {
        parse("spec.maintenanceWindows[0]", &written(schedule, duration, time_zone)).expect("it is valid")
    }

    #[test]
    fn is_open_from_its_opening_up_to_its_end() {
        let window = window("0 2 * * *", "2h", "UTC");
        for (moment, is_open) in [
            ("2026-01-10T01:59:59Z", false),
            ("2026-01-10T02:00:00Z", true),
            ("2026-01-10T03:59:59Z", true),
            ("2026-01-10T04:00:00Z", false),
        ] {
            assert_eq!(window.is_open(at(moment)), is_open, "{moment}");
        }
        assert_eq!(window.opens_after(at("2026-01-10T02:00:00Z")), Some(at("2026-01-11T02:00:00Z")));
    }

    #[test]
    fn opens_by_the_clock_of_its_time_zone() {
        let window = window("0 2 * * *", "1h", "Europe/Berlin");
        assert!(window.is_open(at("2026-01-10T01:30:00Z")), "winter: an hour before UTC");
        assert!(!window.is_open(at("2026-07-10T01:30:00Z")));
        assert!(window.is_open(at("2026-07-10T00:30:00Z")), "summer: two hours before UTC");
    }

    #[test]
    fn a_window_whose_hour_is_skipped_opens_right_after_and_one_that_comes_twice_opens_once() {
        let window = window("30 2 * * *", "1h", "Europe/Berlin");
        // On 29 March 2026 clocks go from 02:00 to 03:00, which is 01:00 UTC.
        assert!(!window.is_open(at("2026-03-29T00:59:00Z")));
        assert!(window.is_open(at("2026-03-29T01:00:00Z")) && window.is_open(at("2026-03-29T01:59:00Z")));
        assert!(!window.is_open(at("2026-03-29T02:00:00Z")));
        // On 25 October 2026 clocks go from 03:00 back to 02:00, which is 01:00 UTC.
        assert!(window.is_open(at("2026-10-25T00:45:00Z")));
        assert!(!window.is_open(at("2026-10-25T01:45:00Z")), "it is half past two a second time, and it stays closed");
    }

    #[test]
    fn the_next_opening_is_that_of_whichever_window_opens_first() {
        let windows = [window("0 2 * * SAT", "2h", "UTC"), window("0 3 * * WED", "2h", "UTC")];
        // 2026-01-05 is a Monday.
        let monday = at("2026-01-05T00:00:00Z");
        assert_eq!(next_opening(&windows, monday), Some(at("2026-01-07T03:00:00Z")));
        assert!(!is_any_open(&windows, monday) && is_any_open(&windows, at("2026-01-10T02:30:00Z")));
        assert_eq!(next_opening(&[], monday), None);
    }

    #[rstest]
    #[case::six_fields("0 0 2 * * *", "2h", "UTC", "schedule", "is not a cron expression of five fields")]
    #[case::no_such_hour("0 25 * * *", "2h", "UTC", "schedule", "is not a cron expression of five fields")]
    #[case::a_day_that_never_comes("0 2 30 2 *", "2h", "UTC", "schedule", "it matches no calendar date")]
    #[case::no_such_zone("0 2 * * *", "2h", "Europe/Berlyn", "timeZone", "is not an IANA time zone")]
    #[case::no_duration("0 2 * * *", "2 hours", "UTC", "duration", "'2 hours' is not a duration")]
    #[case::nothing("0 2 * * *", "0s", "UTC", "duration", "'0s' is not a valid length")]
    #[case::never_closes("0 * * * *", "1h", "UTC", "duration", "would still be open when the next one opens")]
    #[case::two_days_in_a_row("0 2 * * SAT,SUN", "30h", "UTC", "duration", "would still be open")]
    fn what_is_no_window_says_which_field_is_wrong(
        #[case] schedule: &str,
        #[case] duration: &str,
        #[case] time_zone: &str,
        #[case] field: &str,
        #[case] says: &str,
    ) {
        let refused = parse("spec.maintenanceWindows[1]", &written(schedule, duration, time_zone)).expect_err(says);
        assert_eq!(refused.path, format!("spec.maintenanceWindows[1].{field}"));
        assert!(refused.message.contains(says), "{refused}");
    }

    #[test]
    fn windows_that_follow_each_other_are_none_that_overlap() {
        window("0 * * * *", "59m", "UTC");
        window("0 2 * * SAT,SUN", "23h", "UTC");
    }
}
