//! How long, how much and from which seed: what CI does in minutes, `make test-full` does at length. Read once, from the
//! environment; `e2e/run.sh` lists the variables.

use std::env;
use std::time::Duration;

use anyhow::{Context, Result};

/// What was asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// Everything, with the long waits.
    pub full: bool,
    /// Chooses faults and moments.
    pub seed: u64,
    /// How long the idle pipeline is watched.
    pub idle: Duration,
    /// How long the pipeline beside a webhook is watched.
    pub injected_idle: Duration,
    /// How long faults go on at least.
    pub chaos: Duration,
    /// How many faults and records there are at least.
    pub chaos_faults: u32,
    /// See `chaos_faults`.
    pub chaos_records: i64,
    /// Records a second while faults go on.
    pub chaos_rate: u32,
    /// Processors that are killed one after the other once those faults are over.
    pub chaos_kills: usize,
    /// How many runs of a schedule there are while operators are killed.
    pub scheduled_runs: usize,
    /// How often stores are rolled under load.
    pub rolls: usize,
    /// How long a store, or the API server, is away while a console's page is open.
    pub away: Duration,
    /// How long a node stands still. Kubernetes gives its pods up after 340 seconds.
    pub node_away: Duration,
    /// The namespace of a failed scenario stays.
    pub keep: bool,
    /// A namespace whose pipeline is used, and kept.
    pub attach: Option<String>,
}

impl Settings {
    /// Reads them. `seed` is the one without `E2E_CHAOS_SEED`: another for each commit.
    pub fn read(seed: u64) -> Result<Self> {
        Self::from(&|name| env::var(name).ok().filter(|text| !text.is_empty()), seed)
    }

    fn from(variable: &dyn Fn(&str) -> Option<String>, seed: u64) -> Result<Self> {
        let number = |name: &str, default: u64| match variable(name) {
            Some(text) => text.parse().with_context(|| format!("{name} is '{text}', not a number")),
            None => Ok(default),
        };
        let full = variable("E2E_FULL").is_some();
        let either = |name: &str, short: u64, long: u64| number(name, if full { long } else { short });
        Ok(Self {
            full,
            seed: number("E2E_CHAOS_SEED", seed)?,
            idle: Duration::from_secs(either("E2E_IDLE_SECONDS", 120, 600)?),
            injected_idle: Duration::from_secs(either("E2E_INJECTED_SECONDS", 60, 600)?),
            chaos: Duration::from_secs(either("E2E_CHAOS_SECONDS", 60, 300)?),
            chaos_faults: u32::try_from(number("E2E_CHAOS_FAULTS", 0)?)?,
            chaos_records: i64::try_from(number("E2E_CHAOS_RECORDS", 0)?)?,
            chaos_rate: u32::try_from(number("E2E_CHAOS_RATE", 1_500)?)?,
            chaos_kills: usize::try_from(either("E2E_CHAOS_KILLS", 10, 50)?)?,
            scheduled_runs: usize::try_from(either("E2E_SCHEDULED_RUNS", 24, 60)?)?,
            rolls: usize::try_from(either("E2E_ROLLS", 3, 50)?)?,
            away: Duration::from_secs(either("E2E_AWAY_SECONDS", 30, 60)?),
            node_away: Duration::from_secs(either("E2E_NODE_AWAY_SECONDS", 60, 360)?),
            keep: variable("E2E_KEEP").is_some(),
            attach: variable("E2E_ATTACH"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(set: &'static [(&'static str, &'static str)]) -> Result<Settings> {
        let variable = |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Settings::from(&variable, 7)
    }

    #[test]
    fn the_full_run_waits_longer_and_what_is_asked_for_comes_first() {
        let short = read(&[]).expect("nothing is needed");
        let long = read(&[("E2E_FULL", "1")]).expect("they are read");
        assert!(short.idle < long.idle && short.chaos < long.chaos && short.scheduled_runs < long.scheduled_runs);
        assert_eq!((short.seed, long.full), (7, true));
        let asked = read(&[("E2E_IDLE_SECONDS", "9"), ("E2E_CHAOS_SEED", "3")]).expect("they are read");
        assert_eq!((asked.idle, asked.seed), (Duration::from_secs(9), 3));
        let error = read(&[("E2E_CHAOS_SEED", "much")]).expect_err("that is not a number");
        assert_eq!(error.to_string(), "E2E_CHAOS_SEED is 'much', not a number");
    }
}
