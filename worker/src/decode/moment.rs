//! Text → date, time of day, instant and duration, as the native protocol counts them. Pure.

use chrono::{DateTime, NaiveDate};
use millrace_terms::EpochUnit;

use super::vint;

const NANOSECOND: i64 = 1;
const MICROSECOND: i64 = 1_000 * NANOSECOND;
const MILLISECOND: i64 = 1_000 * MICROSECOND;
const SECOND: i64 = 1_000 * MILLISECOND;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// Reads `2024-02-29` as days since the Unix epoch.
pub(super) fn date(text: &str) -> Option<i32> {
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    let days = date.signed_duration_since(NaiveDate::default()).num_days();
    i32::try_from(days).ok()
}

/// Reads `23:59:59` with at most nine digits after a point as nanoseconds since midnight.
pub(super) fn time(text: &str) -> Option<i64> {
    let (clock, fraction) = match text.split_once('.') {
        Some((clock, fraction)) => (clock, nanoseconds(fraction)?),
        None => (text, 0),
    };
    let mut parts = clock.split(':');
    let mut part = |bound: i64| parts.next().and_then(two_digits).filter(|number| *number < bound);
    let (hours, minutes, seconds) = (part(24)?, part(60)?, part(60)?);
    parts.next().is_none().then_some(hours * HOUR + minutes * MINUTE + seconds * SECOND + fraction)
}

fn two_digits(text: &str) -> Option<i64> {
    match text.as_bytes() {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => Some(i64::from(10 * (tens - b'0') + (ones - b'0'))),
        _ => None,
    }
}

fn nanoseconds(fraction: &str) -> Option<i64> {
    let is_fraction = (1..=9).contains(&fraction.len()) && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let number: i64 = if is_fraction { fraction.parse().ok()? } else { return None };
    Some(number * 10_i64.pow(9 - fraction.len() as u32))
}

/// Reads an instant as milliseconds since the Unix epoch; finer digits are cut off, as the type has none.
///
/// RFC 3339 with any offset; a space instead of the `T`; an offset without its colon or minutes, or after a space; no
/// offset at all, which is UTC. A date without a time is no instant.
pub(super) fn timestamp(text: &str) -> Option<i64> {
    // The usual form first: chrono's reader takes several times as long, and knows leap seconds beside.
    usual(text).or_else(|| DateTime::parse_from_rfc3339(text).ok().map(|moment| moment.timestamp_millis()))
}

/// Returns an integer that counts a unit from the Unix epoch on as milliseconds. A part of a millisecond is cut off
/// toward the past, as the finer digits of a text are.
pub(super) fn epoch(count: i128, unit: EpochUnit) -> Option<i64> {
    let millis = match unit {
        EpochUnit::Seconds => count.checked_mul(1_000)?,
        EpochUnit::Milliseconds => count,
        EpochUnit::Microseconds => count.div_euclid(1_000),
        EpochUnit::Nanoseconds => count.div_euclid(1_000_000),
    };
    i64::try_from(millis).ok()
}

fn usual(text: &str) -> Option<i64> {
    let (day, rest) = (text.get(..10)?, text.get(10..)?);
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (clock, offset) = match rest.bytes().position(|byte| matches!(byte, b'Z' | b'z' | b'+' | b'-' | b' ')) {
        Some(end) => (&rest[..end], offset_minutes(rest[end..].trim_start_matches(' '))?),
        None => (rest, 0),
    };
    Some(day_number(day)? * 86_400_000 + time(clock)? / MILLISECOND - offset * 60_000)
}

/// Reads ten characters `2024-02-29` as days since the Unix epoch.
fn day_number(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let number = |range: std::ops::Range<usize>| {
        bytes[range]
            .iter()
            .try_fold(0, |number, byte| byte.is_ascii_digit().then(|| 10 * number + u32::from(byte - b'0')))
    };
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let date = NaiveDate::from_ymd_opt(number(0..4)? as i32, number(5..7)?, number(8..10)?)?;
    Some(i64::from(date.to_epoch_days()))
}

/// Reads `Z`, `+01:00`, `+0100` or `+01` as minutes.
fn offset_minutes(text: &str) -> Option<i64> {
    if matches!(text, "Z" | "z") {
        return Some(0);
    }
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+')?),
    };
    let (hours, minutes) = (rest.get(..2)?, rest.get(2..)?);
    let minutes = match minutes.strip_prefix(':').unwrap_or(minutes) {
        "" if !minutes.is_empty() => return None,
        "" => 0,
        minutes => two_digits(minutes)?,
    };
    let hours = two_digits(hours)?;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes))
}

/// A unit of a duration: the names it goes by, and what one of it is.
struct Unit {
    names: &'static [&'static str],
    months: i64,
    days: i64,
    nanoseconds: i64,
}

const fn months(names: &'static [&'static str], months: i64) -> Unit {
    Unit { names, months, days: 0, nanoseconds: 0 }
}

const fn days(names: &'static [&'static str], days: i64) -> Unit {
    Unit { names, months: 0, days, nanoseconds: 0 }
}

const fn clock(names: &'static [&'static str], nanoseconds: i64) -> Unit {
    Unit { names, months: 0, days: 0, nanoseconds }
}

/// Cassandra's own form; units in this order, each at most once.
const PLAIN: [Unit; 10] = [
    months(&["y", "Y"], 12),
    months(&["mo", "MO", "Mo", "mO"], 1),
    days(&["w", "W"], 7),
    days(&["d", "D"], 1),
    clock(&["h", "H"], HOUR),
    clock(&["m", "M"], MINUTE),
    clock(&["s", "S"], SECOND),
    clock(&["ms", "MS", "Ms", "mS"], MILLISECOND),
    clock(&["us", "US", "Us", "uS", "µs", "µS"], MICROSECOND),
    clock(&["ns", "NS", "Ns", "nS"], NANOSECOND),
];
/// ISO 8601 before the `T`.
const ISO_DAYS: [Unit; 4] = [months(&["Y"], 12), months(&["M"], 1), days(&["W"], 7), days(&["D"], 1)];
/// ISO 8601 after the `T`.
const ISO_CLOCK: [Unit; 3] = [clock(&["H"], HOUR), clock(&["M"], MINUTE), clock(&["S"], SECOND)];

/// Reads `1y2mo3w4d5h6m7s8ms9us10ns` or ISO 8601's `P1Y2M3DT4H5M6S` and `P2W`, with a sign before all of it, as months,
/// days and nanoseconds, which Cassandra keeps apart.
pub(super) fn duration(text: &str) -> Option<Vec<u8>> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let mut sum = Sum::default();
    match text.strip_prefix('P') {
        None => sum.add(text, &PLAIN)?,
        Some(iso) => match iso.split_once('T') {
            None => sum.add(iso, &ISO_DAYS)?,
            Some(("", time)) => sum.add(time, &ISO_CLOCK)?,
            Some((day, time)) => {
                sum.add(day, &ISO_DAYS)?;
                sum.add(time, &ISO_CLOCK)?;
            }
        },
    }
    let Sum { months, days, nanoseconds } = sum;
    let (months, days) = (i32::try_from(months).ok()?, i32::try_from(days).ok()?);
    let mut bytes = Vec::with_capacity(16);
    for part in [i64::from(months), i64::from(days), nanoseconds] {
        vint::append_signed(sign * part, &mut bytes);
    }
    Some(bytes)
}

#[derive(Default)]
struct Sum {
    months: i64,
    days: i64,
    nanoseconds: i64,
}

impl Sum {
    /// Adds numbers with units, at least one.
    fn add(&mut self, text: &str, units: &[Unit]) -> Option<()> {
        let mut units = units.iter();
        let mut rest = text;
        loop {
            let digits = rest.len() - rest.trim_start_matches(|first: char| first.is_ascii_digit()).len();
            let number: i64 = rest[..digits].parse().ok()?;
            let after = &rest[digits..];
            let length = after.find(|first: char| first.is_ascii_digit()).unwrap_or(after.len());
            // What was passed over cannot come any more.
            let unit = units.find(|unit| unit.names.contains(&&after[..length]))?;
            self.months = self.months.checked_add(number.checked_mul(unit.months)?)?;
            self.days = self.days.checked_add(number.checked_mul(unit.days)?)?;
            self.nanoseconds = self.nanoseconds.checked_add(number.checked_mul(unit.nanoseconds)?)?;
            rest = &after[length..];
            if rest.is_empty() {
                return Some(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use scylla::cluster::metadata::{ColumnType, NativeType};
    use scylla::serialize::value::SerializeValue;
    use scylla::serialize::writers::CellWriter;
    use scylla::value::CqlDuration;

    use super::*;

    /// What the driver makes of a duration.
    fn driven(months: i32, days: i32, nanoseconds: i64) -> Vec<u8> {
        let mut buffer = Vec::new();
        let duration = CqlDuration { months, days, nanoseconds };
        let written = duration.serialize(&ColumnType::Native(NativeType::Duration), CellWriter::new(&mut buffer));
        written.expect("it serializes");
        // The length comes first.
        buffer.split_off(4)
    }

    #[test]
    fn durations_are_read_in_both_forms() {
        for (text, months, days, nanoseconds) in [
            ("1y2mo3w4d5h6m7s8ms9us10ns", 14, 25, 5 * HOUR + 6 * MINUTE + 7 * SECOND + 8_009_010),
            ("12h30m", 0, 0, 12 * HOUR + 30 * MINUTE),
            ("1m", 0, 0, MINUTE),
            ("1mo", 1, 0, 0),
            ("15µs", 0, 0, 15_000),
            ("-1mo2d", -1, -2, 0),
            ("0s", 0, 0, 0),
            ("P1Y2M3DT4H5M6S", 14, 3, 4 * HOUR + 5 * MINUTE + 6 * SECOND),
            ("P2W", 0, 14, 0),
            ("-PT1M", 0, 0, -MINUTE),
            ("P1M", 1, 0, 0),
            ("2147483647mo2147483647d9223372036854775807ns", i32::MAX, i32::MAX, i64::MAX),
        ] {
            assert_eq!(duration(text), Some(driven(months, days, nanoseconds)), "{text}");
        }
        for text in [
            "",
            "-",
            "P",
            "PT",
            "P1DT",
            "1",
            "h",
            "1h1h",
            "1m1h",
            "1.5h",
            "1h ",
            " 1h",
            "--1h",
            "1parsec",
            "PT1D",
            "1é",
            "2147483648mo",
            "2147483648d",
            "9223372036854775808ns",
            "99999999999999999999h",
            "P0001-00-02T14:14:00",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn times_of_day_are_nanoseconds_since_midnight() {
        for (text, nanoseconds) in [
            ("00:00:00", 0),
            ("23:59:59.999999999", 24 * HOUR - 1),
            ("01:02:03.5", HOUR + 2 * MINUTE + 3 * SECOND + 500 * MILLISECOND),
        ] {
            assert_eq!(time(text), Some(nanoseconds), "{text}");
        }
        for text in [
            "",
            "24:00:00",
            "23:60:00",
            "23:59:60",
            "1:02:03",
            "01:02",
            "01:02:03.",
            "01:02:03.1234567890",
            "01:02:03Z",
            "01:02:03:04",
            "+1:02:03",
        ] {
            assert_eq!(time(text), None, "{text}");
        }
    }

    #[test]
    fn instants_are_read_in_the_usual_forms() {
        let wanted = 1_704_164_645_678;
        for text in [
            "2024-01-02T03:04:05.678Z",
            "2024-01-02T03:04:05.678999Z",
            "2024-01-02t03:04:05.678z",
            "2024-01-02T04:04:05.678+01:00",
            "2024-01-01T17:34:05.678-09:30",
            "2024-01-02 03:04:05.678Z",
            "2024-01-02 03:04:05.678",
            "2024-01-02T03:04:05.678",
            "2024-01-02 04:04:05.678+0100",
            "2024-01-02 04:04:05.678+01",
            "2024-01-02 04:04:05.678 +01:00",
            "2024-01-01 17:34:05.678-0930",
        ] {
            assert_eq!(timestamp(text), Some(wanted), "{text}");
        }
        assert_eq!(timestamp("1969-12-31 23:59:59.001"), Some(-999));
        for text in [
            "",
            "2024-01-02",
            "2024-01-02 03:04",
            "2024-1-2 03:04:05",
            "2023-02-29 00:00:00",
            "2024-01-02 25:00:00",
            "2024-01-02 03:04:05 CET",
            "2024-01-02 03:04:05+1",
            "2024-01-02 03:04:05+01:",
            "2024-01-02 03:04:05+24:00",
            "2024-01-02 03:04:05 ",
            "2024-01-02  03:04:05",
            "1704164645",
            "é024-01-02 03:04:05",
        ] {
            assert_eq!(timestamp(text), None, "{text}");
        }
    }

    #[test]
    fn integers_count_what_the_column_says() {
        use EpochUnit as Unit;
        for (count, unit, millis) in [
            (1_704_164_645, Unit::Seconds, Some(1_704_164_645_000)),
            (-1, Unit::Seconds, Some(-1_000)),
            (1_704_164_645_678, Unit::Milliseconds, Some(1_704_164_645_678)),
            (1_704_164_645_678_999, Unit::Microseconds, Some(1_704_164_645_678)),
            (-1, Unit::Microseconds, Some(-1)),
            (-1_000, Unit::Microseconds, Some(-1)),
            (-1_001, Unit::Microseconds, Some(-2)),
            (1_704_164_645_678_999_999, Unit::Nanoseconds, Some(1_704_164_645_678)),
            // Beyond 64 bits, and in range all the same.
            (10_000_000_000_000_000_000, Unit::Nanoseconds, Some(10_000_000_000_000)),
            (i128::from(i64::MAX), Unit::Milliseconds, Some(i64::MAX)),
            (i128::from(i64::MAX) + 1, Unit::Milliseconds, None),
            (i128::from(i64::MAX), Unit::Seconds, None),
            (i128::MAX, Unit::Seconds, None),
        ] {
            assert_eq!(epoch(count, unit), millis, "{count} {unit:?}");
        }
        // As the digits of a text.
        assert_eq!(epoch(-998_999, Unit::Microseconds), timestamp("1969-12-31 23:59:59.001001"));
    }

    proptest! {
        #[test]
        fn durations_are_what_the_driver_makes_of_them(
            negative in any::<bool>(), months in 0..=i32::MAX, days in 0..=i32::MAX, nanoseconds in 0..=i64::MAX,
        ) {
            let sign = if negative { -1 } else { 1 };
            let text = format!("{}{months}mo{days}d{nanoseconds}ns", if negative { "-" } else { "" });
            let wanted = driven(sign * months, sign * days, i64::from(sign) * nanoseconds);
            prop_assert_eq!(duration(&text), Some(wanted));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,30}|[-P0-9ymowdhsnuT:. +Z]{0,30}") {
            let _ = (duration(&text), time(&text), timestamp(&text), date(&text));
        }
    }
}
