//! The ledger of minutes: one JSON line in `target/minutes.jsonl` for each step of `.ci/test` and each scenario, and the
//! scenarios' table at the end. `.ci/test` writes the lines of the steps.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::cluster::target;

/// Ticks of `/proc/stat` in a second; Linux gives this number to every program.
const TICKS: f64 = 100.0;

/// What a scenario took. Times are in seconds; `None`: it did not get so far, or has no such part.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Minutes {
    /// `test`; the steps' lines say `step`.
    pub kind: &'static str,
    /// The scenario.
    pub name: String,
    /// When it began.
    pub start: DateTime<Utc>,
    /// From the resource to Ready, of a store set that is new or was handed on.
    pub ready: Option<f64>,
    /// What the scenario itself did, without waiting for its turn.
    pub body: Option<f64>,
    /// Until all that it made was gone, or handed on.
    pub teardown: Option<f64>,
    /// CPU seconds of the whole machine from its start to its end, what ran beside it included.
    pub cpu: f64,
    /// Store sets that it started.
    pub sets: u32,
    /// `passed` or `failed`.
    pub result: &'static str,
}

impl Minutes {
    /// Adds the line to the ledger.
    pub fn record(&self) -> Result<()> {
        let path = target().join("minutes.jsonl");
        fs::create_dir_all(target())?;
        let mut line = serde_json::to_string(self).context("a line of the ledger is JSON")?;
        line.push('\n');
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let mut file = file.with_context(|| format!("cannot open {}", path.display()))?;
        // In one write, since steps and scenarios may write at once.
        file.write_all(line.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Returns the CPU seconds that this machine has spent since it began, idle time and waiting for disks left out.
pub fn cpu_seconds() -> f64 {
    fs::read_to_string("/proc/stat").ok().as_deref().and_then(parse_cpu).unwrap_or_default()
}

fn parse_cpu(stat: &str) -> Option<f64> {
    let fields: Vec<f64> =
        stat.lines().next()?.split_whitespace().skip(1).map_while(|field| field.parse().ok()).collect();
    // user, nice, system, (idle, iowait), irq, softirq, steal; the guests' time is in user already.
    let [user, nice, system, _, _, irq, softirq, steal] = *fields.first_chunk()?;
    Some([user, nice, system, irq, softirq, steal].iter().sum::<f64>() / TICKS)
}

/// Returns the table of what was run, in the order in which it ended.
pub fn table(all: &[Minutes]) -> String {
    let mut table =
        format!("{:<68} {:>6} {:>6} {:>6} {:>6} {:>4}\n", "scenario", "ready", "body", "down", "cpu", "sets");
    let seconds = |time: Option<f64>| time.map_or_else(|| "-".to_owned(), |time| format!("{time:.0}"));
    for minutes in all {
        let Minutes { name, ready, body, teardown, cpu, sets, result, kind: _, start: _ } = minutes;
        let [ready, body, teardown] = [ready, body, teardown].map(|time| seconds(*time));
        let failed = if *result == "passed" { "" } else { "  FAILED" };
        let line = writeln!(table, "{name:<68} {ready:>6} {body:>6} {teardown:>6} {cpu:>6.0} {sets:>4}{failed}");
        line.expect("a String takes every line");
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_the_processors_did_and_not_what_they_waited_for() {
        let stat = "cpu  100 200 300 9999 8888 10 20 30 40 50\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(parse_cpu(stat), Some(6.6));
        assert_eq!(parse_cpu("cpu 1 2\n"), None);
    }
}
