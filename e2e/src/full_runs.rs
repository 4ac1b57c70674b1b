//! The record of full runs, `docs/full-runs.jsonl`: which scenario passed when. One that has not passed for too long fails
//! the tests, so that what CI leaves out is not forgotten.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use anyhow::{Context, Result};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::catalogue::Entry;

/// Most commits since a scenario has passed.
pub const MOST_COMMITS: usize = 40;
/// Most days since then.
pub const MOST_DAYS: TimeDelta = TimeDelta::days(10);

/// One full run.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct FullRun {
    /// `full`; lines of other kinds are somebody else's.
    pub kind: String,
    /// The commit that was checked out.
    pub commit: String,
    /// When it ended.
    pub at: DateTime<Utc>,
    /// The seed of its faults.
    pub seed: u64,
    /// What became of each scenario: `passed` or `failed`.
    pub verdicts: BTreeMap<String, String>,
}

impl FullRun {
    /// Returns whether a scenario has passed in it.
    pub fn has_passed(&self, name: &str) -> bool {
        self.verdicts.get(name).is_some_and(|verdict| verdict == "passed")
    }
}

/// What git says of a commit.
pub trait History {
    /// Returns how many commits have come since; `None`: it is not in this history.
    fn commits_since(&self, commit: &str) -> Option<usize>;
    /// Returns when a commit was made.
    fn time_of(&self, commit: &str) -> Option<DateTime<Utc>>;
}

/// Reads the full runs of a record.
pub fn parse(text: &str) -> Result<Vec<FullRun>> {
    let mut runs = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let read = || -> Result<Option<FullRun>> {
            let value: serde_json::Value = serde_json::from_str(line)?;
            if value["kind"] != "full" {
                return Ok(None);
            }
            Ok(Some(serde_json::from_value(value)?))
        };
        runs.extend(read().with_context(|| format!("line {} of the record of full runs", number + 1))?);
    }
    Ok(runs)
}

/// Returns the newest run in which a scenario has passed.
pub fn last_passed<'a>(runs: &'a [FullRun], name: &str) -> Option<&'a FullRun> {
    runs.iter().filter(|run| run.has_passed(name)).max_by_key(|run| run.at)
}

/// Returns the commit whose changes a scenario need not see again: the newest one of this history with which it has
/// passed in a full run, or else the one that added it. `None`: nobody knows one.
pub fn proven_with<'a>(entry: &'a Entry, runs: &'a [FullRun], history: &dyn History) -> Option<&'a str> {
    let mut passes: Vec<&FullRun> = runs.iter().filter(|run| run.has_passed(&entry.name)).collect();
    passes.sort_by_key(|run| Reverse(run.at));
    let mut commits = passes.into_iter().map(|run| run.commit.as_str()).chain(entry.since.as_deref());
    commits.find(|commit| history.commits_since(commit).is_some())
}

/// Returns what is wrong with the scenarios that `names` accepts: each has passed in a full run that is young, or is new
/// itself. `now` is when the newest commit was made: an old checkout is judged as it was judged then.
pub fn stale(
    entries: &[Entry],
    is_judged: impl Fn(&str) -> bool,
    runs: &[FullRun],
    history: &dyn History,
    now: DateTime<Utc>,
) -> Vec<String> {
    let is_young = |commit: &str, at: DateTime<Utc>| {
        history.commits_since(commit).is_none_or(|commits| commits <= MOST_COMMITS) && now - at <= MOST_DAYS
    };
    let mut stale = Vec::new();
    for entry in entries.iter().filter(|entry| is_judged(&entry.name)) {
        let is_new = entry.since.as_deref().is_some_and(|since| {
            history.commits_since(since).is_some() && history.time_of(since).is_some_and(|at| is_young(since, at))
        });
        match last_passed(runs, &entry.name) {
            _ if is_new => {}
            Some(run) if is_young(&run.commit, run.at) => {}
            Some(run) => {
                stale.push(format!("'{}' has last passed on {} in {}", entry.name, run.at.date_naive(), run.commit))
            }
            None => stale.push(format!("'{}' has never passed in a full run", entry.name)),
        }
    }
    stale
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::catalogue::Tier;
    use crate::queue::Needs;

    /// Commits are named by how many have come since; a day for each four.
    struct Counted;

    impl History for Counted {
        fn commits_since(&self, commit: &str) -> Option<usize> {
            commit.parse().ok()
        }

        fn time_of(&self, commit: &str) -> Option<DateTime<Utc>> {
            Some(now() - TimeDelta::hours(6 * self.commits_since(commit)? as i64))
        }
    }

    fn now() -> DateTime<Utc> {
        "2026-11-29T12:00:00Z".parse().expect("a time")
    }

    fn entry(since: Option<&str>) -> Entry {
        Entry {
            name: "a".to_owned(),
            tier: Tier::Full,
            needs: Needs::default(),
            time: Duration::ZERO,
            shares: None,
            paths: Vec::new(),
            twin: String::new(),
            control: String::new(),
            since: since.map(str::to_owned),
        }
    }

    fn run(commit: &str, days: i64, verdict: &str) -> FullRun {
        FullRun {
            kind: "full".to_owned(),
            commit: commit.to_owned(),
            at: now() - TimeDelta::days(days),
            seed: 1,
            verdicts: [("a".to_owned(), verdict.to_owned())].into(),
        }
    }

    fn judged(entry: Entry, runs: &[FullRun]) -> Vec<String> {
        stale(&[entry], |_| true, runs, &Counted, now())
    }

    #[test]
    fn a_scenario_that_has_not_passed_for_too_long_is_stale() {
        assert_eq!(judged(entry(None), &[run("40", 10, "passed")]), [""; 0]);
        let told = ["'a' has last passed on 2026-11-28 in 41"];
        assert_eq!(judged(entry(None), &[run("41", 1, "passed")]), told, "too many commits");
        let told = ["'a' has last passed on 2026-11-18 in 3"];
        assert_eq!(judged(entry(None), &[run("3", 11, "passed"), run("1", 0, "failed")]), told, "too many days");
        assert_eq!(judged(entry(None), &[run("gone", 1, "passed")]), [""; 0], "its date is all that is known");
    }

    #[test]
    fn no_record_at_all_is_stale_unless_the_scenario_is_new() {
        let told = ["'a' has never passed in a full run"];
        assert_eq!(judged(entry(None), &[]), told);
        assert_eq!(judged(entry(None), &[run("1", 0, "failed")]), told);
        assert_eq!(judged(entry(Some("39")), &[]), [""; 0]);
        assert_eq!(judged(entry(Some("41")), &[]), told);
        assert_eq!(judged(entry(Some("nowhere")), &[]), told);
        assert_eq!(stale(&[entry(None)], |_| false, &[], &Counted, now()), [""; 0], "who runs now is not judged");
    }

    #[test]
    fn a_scenario_is_proven_with_the_newest_pass_of_this_history_or_else_since_it_was_added() {
        let passes = [run("7", 2, "passed"), run("3", 1, "passed"), run("2", 0, "failed"), run("gone", 0, "passed")];
        assert_eq!(proven_with(&entry(Some("9")), &passes, &Counted), Some("3"));
        assert_eq!(proven_with(&entry(Some("9")), &passes[2..], &Counted), Some("9"));
        assert_eq!(proven_with(&entry(Some("gone")), &passes[2..], &Counted), None);
        assert_eq!(proven_with(&entry(None), &[], &Counted), None);
    }

    #[test]
    fn reads_full_runs_among_lines_of_other_kinds() {
        let line = serde_json::to_string(&run("1", 1, "passed")).expect("a line");
        let text = format!("{{\"kind\": \"fresh\", \"commit\": \"x\", \"rows_s\": 1}}\n\n{line}\n");
        assert_eq!(parse(&text).expect("it is good"), [run("1", 1, "passed")]);
        let error = parse("{\"kind\": \"full\"}\n").expect_err("half a line");
        assert_eq!(error.to_string(), "line 1 of the record of full runs");
    }
}
