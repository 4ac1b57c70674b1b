//! Due times: a cron expression in a time zone, and which moments it names. Pure; croner has the grammar and the rules
//! for changing clocks, chrono-tz the zones.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use millrace_terms::Duration;

use crate::crd::schedule::{CatchUp, ConcurrencyPolicy};
use crate::crd::{self, Param, RunTemplate};
use crate::names::scheduled_run;
use crate::params;
use crate::rejected::Rejected;

/// A validated schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// Due times. Absent: runs are only made on demand.
    pub timetable: Option<Timetable>,
    /// What happens at a due time while a run is under way.
    pub concurrency_policy: ConcurrencyPolicy,
    /// How late a run may start. Absent: any time.
    pub starting_deadline: Option<Duration>,
    /// What becomes of due times that passed.
    pub catch_up: CatchUp,
    /// Most due times that are caught up with.
    pub max_catch_up: usize,
    /// Succeeded runs that are kept.
    pub successful_history: usize,
    /// Failed and cancelled runs that are kept.
    pub failed_history: usize,
    /// Whether due times pass without a run.
    pub paused: bool,
    /// What the runs are like.
    pub run: RunTemplate,
}

/// A cron expression in a time zone.
#[derive(Clone, Debug, PartialEq)]
pub struct Timetable {
    cron: Cron,
    time_zone: Tz,
}

/// Why there is no timetable: the field that is wrong, and what is.
pub type WrongTimetable = (&'static str, String);

impl Timetable {
    /// Parses a cron expression of five fields and the name of a time zone.
    pub fn parse(cron: &str, time_zone: &str) -> Result<Self, WrongTimetable> {
        // The parser takes `,` for a list of nothing, and a search for its due times goes through 3,000 years.
        if cron.split_whitespace().flat_map(|field| field.split(',')).any(str::is_empty) {
            return Err(("cron", format!("'{cron}' has a list with an empty element; correct it")));
        }
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser
            .parse(cron)
            .map_err(|error| ("cron", format!("'{cron}' is not a cron expression of five fields: {error}")))?;
        let time_zone = time_zone
            .parse()
            .map_err(|_| ("timeZone", format!("'{time_zone}' is not an IANA time zone, such as Europe/Berlin")))?;
        Ok(Self { cron, time_zone })
    }

    /// Returns the first due time after a moment. `None`: there is none.
    pub fn next_after(&self, moment: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let local = moment.with_timezone(&self.time_zone);
        let next = self.cron.find_next_occurrence(&local, false).ok()?.with_timezone(&Utc);
        // Whatever the clocks do, due times go forward.
        (next > moment).then_some(next)
    }

    /// Returns the due times after a moment, up to and including another, oldest first.
    pub fn between(&self, after: DateTime<Utc>, until: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> + '_ {
        let next = move |moment: &DateTime<Utc>| self.next_after(*moment).filter(|due| *due <= until);
        std::iter::successors(next(&after), next)
    }
}

/// Parses a schedule, and holds its runs' params against what the source declares; `path` is that of the schedule.
pub(crate) fn parse(path: &str, written: &crd::Schedule, declared: &[Param]) -> Result<Schedule, Vec<Rejected>> {
    let crd::Schedule {
        cron,
        time_zone,
        concurrency_policy,
        starting_deadline,
        catch_up,
        max_catch_up,
        successful_runs_history_limit,
        failed_runs_history_limit,
        paused,
        run,
    } = written;
    let mut rejected = Vec::new();
    let timetable = cron.as_ref().and_then(|cron| match Timetable::parse(cron, time_zone) {
        Ok(timetable) => Some(timetable),
        Err((field, problem)) => {
            rejected.push(Rejected::new(format!("{path}.{field}"), problem));
            None
        }
    });
    if timetable.as_ref().is_some_and(|timetable| timetable.next_after(DateTime::UNIX_EPOCH).is_none()) {
        rejected.push(Rejected::new(format!("{path}.cron"), "it matches no calendar date; correct day and month"));
    }
    let starting_deadline = starting_deadline.as_ref().and_then(|text| match text.parse::<Duration>() {
        Ok(deadline) => Some(deadline),
        Err(error) => {
            rejected.push(Rejected::new(format!("{path}.startingDeadline"), error));
            None
        }
    });
    // Without due times, values without a default come with each run that is requested.
    if timetable.is_some()
        && let Err(wrong) = params::values(declared, &run.params, &format!("{path}.run.params"))
    {
        rejected.extend(wrong);
    }
    if !rejected.is_empty() {
        return Err(rejected);
    }
    let count = |number: i32| usize::try_from(number).unwrap_or_default();
    Ok(Schedule {
        timetable,
        concurrency_policy: *concurrency_policy,
        starting_deadline,
        catch_up: *catch_up,
        max_catch_up: count(*max_catch_up),
        successful_history: count(*successful_runs_history_limit),
        failed_history: count(*failed_runs_history_limit),
        paused: *paused,
        run: run.clone(),
    })
}

/// A range of time that is to be fetched again, step by step.
#[derive(Clone, Debug, PartialEq)]
pub struct Backfill {
    /// Name of the backfill: the label that its runs share, and part of their names.
    pub name: String,
    /// Begin of the first step.
    pub from: DateTime<Utc>,
    /// End of the last step, which is cut there.
    pub to: DateTime<Utc>,
    /// Where each step begins.
    pub step: Step,
    /// Param that each step's begin is given as. Absent: none; expressions have it as `run.time`.
    pub from_param: Option<String>,
    /// Param that each step's end is given as. Absent: none.
    pub to_param: Option<String>,
    /// Params that all runs have alike.
    pub params: BTreeMap<String, String>,
    /// Runs that may be under way at once; at least 1.
    pub max_active: usize,
}

/// Where the steps of a backfill begin.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A fixed time after one another.
    Every(Duration),
    /// At the due times of a schedule; the first one at the range's begin.
    Due(Box<Timetable>),
}

/// A run that a backfill asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct BackfillRun {
    /// Its name.
    pub name: String,
    /// Begin of its step.
    pub from: DateTime<Utc>,
    /// End of its step.
    pub to: DateTime<Utc>,
    /// All its params.
    pub params: BTreeMap<String, String>,
}

/// Most runs of one backfill.
pub const MAX_BACKFILL_RUNS: usize = 1000;

/// Longest name of a backfill: it is the value of a label.
const LONGEST_BACKFILL_NAME: usize = 40;

/// Returns the name of a backfill without a name: the same range always has the same one, so that an interrupted backfill
/// continues where it was, no matter who requests it.
pub fn backfill_name(from: DateTime<Utc>, to: DateTime<Utc>) -> String {
    format!("{}-{}", from.format("%Y%m%d%H%M"), to.format("%Y%m%d%H%M"))
}

/// Says what is wrong with the name of a backfill.
pub fn check_backfill_name(name: &str) -> Result<(), String> {
    let is_plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    let is_good = (1..=LONGEST_BACKFILL_NAME).contains(&name.len()) && name.chars().all(is_plain);
    if !is_good || name.starts_with('-') || name.ends_with('-') {
        return Err(format!("it must be up to {LONGEST_BACKFILL_NAME} lower-case letters, digits and dashes"));
    }
    Ok(())
}

/// Returns the runs of a backfill, oldest first, or what is wrong with it. Makes nothing: that is the dry run.
pub fn backfill(pipeline: &str, source: &str, wanted: &Backfill) -> Result<Vec<BackfillRun>, String> {
    let Backfill { name, from, to, step, from_param, to_param, params, max_active } = wanted;
    check_backfill_name(name).map_err(|problem| format!("the name '{name}': {problem}"))?;
    if from >= to {
        return Err(format!(
            "the range ends at {} before it begins at {}",
            params::rfc3339(*to),
            params::rfc3339(*from)
        ));
    }
    if *max_active == 0 {
        return Err("with 0 runs at once, nothing would ever be fetched; allow at least 1".to_owned());
    }
    if from_param.is_some() && from_param == to_param {
        return Err("begin and end of a step need two params; choose another param for one".to_owned());
    }
    if let Some(taken) = [from_param, to_param].into_iter().flatten().find(|param| params.contains_key(*param)) {
        return Err(format!("the param '{taken}' is set by each step and cannot be set for all steps"));
    }
    let mut begins = vec![*from];
    while let Some(next) = next_step(step, *begins.last().expect("there is a first step"))?.filter(|next| next < to) {
        if begins.len() == MAX_BACKFILL_RUNS {
            return Err(format!(
                "the range has more than {MAX_BACKFILL_RUNS} steps; use longer steps or a shorter range"
            ));
        }
        begins.push(next);
    }
    let ends = begins.iter().skip(1).copied().chain([*to]).collect::<Vec<_>>();
    Ok(begins
        .into_iter()
        .zip(ends)
        .map(|(from, to)| {
            let mut params = params.clone();
            params.extend(from_param.clone().map(|param| (param, params::rfc3339(from))));
            params.extend(to_param.clone().map(|param| (param, params::rfc3339(to))));
            BackfillRun { name: scheduled_run(pipeline, &format!("{source}-{name}"), from), from, to, params }
        })
        .collect())
}

fn next_step(step: &Step, begin: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, String> {
    match step {
        Step::Every(every) if every.get() < std::time::Duration::from_secs(60) => {
            Err(format!("a step of {every} is too short; make it at least 1m"))
        }
        Step::Every(every) => {
            Ok(begin.checked_add_signed(chrono::TimeDelta::from_std(every.get()).map_err(|error| error.to_string())?))
        }
        Step::Due(timetable) => Ok(timetable.next_after(begin)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("a moment")
    }

    fn due(cron: &str, zone: &str, after: &str, until: &str) -> Vec<String> {
        let timetable = Timetable::parse(cron, zone).expect("a timetable");
        timetable.between(at(after), at(until)).map(params::rfc3339).collect()
    }

    #[test]
    fn a_list_of_nothing_is_no_field() {
        for cron in ["0 , * * *", ", * * * *", "0 1, * * *", "0 ,1 * * *", "0 1,,2 * * *"] {
            let (field, problem) = Timetable::parse(cron, "UTC").expect_err(cron);
            assert!(field == "cron" && problem.contains("an empty element"), "{cron}: {problem}");
        }
        assert!(Timetable::parse("0,30 1,2 * * MON,FRI", "UTC").is_ok());
    }

    #[test]
    fn the_name_of_a_backfill_says_its_whole_range() {
        let day = |day: u32| at(&format!("2026-01-0{day}T00:00:00Z"));
        let name = backfill_name(day(1), day(2));
        assert_eq!(name, "202601010000-202601020000");
        assert_ne!(backfill_name(day(1), day(3)), name);
        assert_eq!(check_backfill_name(&name), Ok(()));
        for wrong in ["", "-a", "a-", "Again", "a b", &"a".repeat(41)] {
            assert!(check_backfill_name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_fixed_time_that_clocks_skip_is_due_right_after() {
        // On 29 March 2026 clocks in Berlin go from 02:00 to 03:00, which is 01:00 UTC.
        assert_eq!(
            due("30 2 * * *", "Europe/Berlin", "2026-03-27T12:00:00Z", "2026-03-30T12:00:00Z"),
            ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
        );
        // What is stepped goes by the clock: nothing between 01:45 and 03:00.
        assert_eq!(due("*/15 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z"), [""; 0]);
        // Before and after the gap nothing changes.
        assert_eq!(
            due("30 1 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z"),
            ["2026-03-29T00:30:00Z"]
        );
    }

    #[test]
    fn a_fixed_time_that_comes_twice_is_due_once() {
        // On 25 October 2026 clocks in Berlin go from 03:00 back to 02:00, which is 01:00 UTC.
        assert_eq!(
            due("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z"),
            ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
        );
        // Asked again from between the two, it is not due a second time.
        assert_eq!(due("30 2 * * *", "Europe/Berlin", "2026-10-25T00:45:00Z", "2026-10-25T12:00:00Z"), [""; 0]);
        // What is stepped goes by the clock: both hours.
        assert_eq!(due("*/30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z").len(), 4);
    }

    #[test]
    fn control_in_utc_clocks_change_nothing() {
        assert_eq!(
            due("30 2 * * *", "UTC", "2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z"),
            ["2026-03-29T02:30:00Z", "2026-03-30T02:30:00Z"]
        );
    }

    #[test]
    fn what_is_no_timetable_says_which_field_is_wrong() {
        for (cron, zone, field) in [
            ("* * * * * *", "UTC", "cron"),
            ("60 * * * *", "UTC", "cron"),
            ("0 2 * *", "UTC", "cron"),
            ("0 2 * * *", "Europe/Berlyn", "timeZone"),
        ] {
            assert_eq!(Timetable::parse(cron, zone).expect_err(cron).0, field, "{cron} {zone}");
        }
        assert!(Timetable::parse("0 2 * * MON-FRI", "America/New_York").is_ok());
    }

    fn days(from: &str, to: &str) -> Backfill {
        Backfill {
            name: "again".to_owned(),
            from: at(from),
            to: at(to),
            step: Step::Due(Box::new(Timetable::parse("0 0 * * *", "Europe/Berlin").expect("a timetable"))),
            from_param: Some("from".to_owned()),
            to_param: Some("to".to_owned()),
            params: BTreeMap::from([("pages".to_owned(), "3".to_owned())]),
            max_active: 2,
        }
    }

    #[test]
    fn a_backfill_covers_its_range_without_gap_or_overlap_also_where_days_are_short() {
        let runs = backfill("users", "orders", &days("2026-03-27T23:00:00Z", "2026-03-30T10:00:00Z")).expect("runs");
        let steps: Vec<(String, String)> =
            runs.iter().map(|run| (run.params["from"].clone(), run.params["to"].clone())).collect();
        let expected = [
            ("2026-03-27T23:00:00Z", "2026-03-28T23:00:00Z"),
            ("2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
            ("2026-03-29T22:00:00Z", "2026-03-30T10:00:00Z"),
        ];
        assert_eq!(steps, expected.map(|(from, to)| (from.to_owned(), to.to_owned())));
        assert!(runs.iter().all(|run| run.params["pages"] == "3"));
        let names: std::collections::BTreeSet<&str> = runs.iter().map(|run| run.name.as_str()).collect();
        assert_eq!(names.len(), 3);
        assert_eq!(backfill("users", "orders", &days("2026-03-27T23:00:00Z", "2026-03-30T10:00:00Z")), Ok(runs));
    }

    #[test]
    fn a_backfill_that_cannot_be_meant_is_refused() {
        let good = days("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z");
        let wrong = |change: fn(&mut Backfill)| {
            let mut wanted = good.clone();
            change(&mut wanted);
            backfill("users", "orders", &wanted).expect_err("refused")
        };
        assert!(wrong(|wanted| wanted.to = wanted.from).contains("before it begins"));
        assert!(wrong(|wanted| wanted.max_active = 0).contains("at least 1"));
        assert!(wrong(|wanted| wanted.to_param = Some("from".to_owned())).contains("two params"));
        assert!(wrong(|wanted| drop(wanted.params.insert("to".to_owned(), "x".to_owned()))).contains("'to'"));
        assert!(wrong(|wanted| wanted.step = Step::Every(Duration::from_secs(1))).contains("at least 1m"));
        assert!(wrong(|wanted| wanted.step = Step::Every(Duration::from_secs(60))).contains("more than 1000"));
    }
}
