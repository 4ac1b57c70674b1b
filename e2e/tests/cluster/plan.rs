//! What a run does: the catalogue, what was changed and what was asked for → the scenarios in their order. And what can be
//! checked without a cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, Utc};
use millrace_e2e::catalogue::{self, Entry, Selection, Wanted, matches};
use millrace_e2e::cluster::repository;
use millrace_e2e::full_runs::{self, FullRun, History};
use millrace_e2e::git::Checkout;
use millrace_e2e::settings::Settings;

use crate::{SCENARIOS, injected, shop, sources, sql, troubles, types};

/// The record of full runs.
const RECORD: &str = "docs/full-runs.jsonl";

/// What a run does.
pub struct Plan {
    /// The catalogue.
    pub entries: Vec<Entry>,
    /// What of it runs.
    pub selection: Selection,
    /// How long and how much.
    pub settings: Settings,
    /// The commit that is tried. `None`: the working tree is no commit.
    pub commit: Option<String>,
    /// What the selection stands on, in words.
    why: String,
    /// Only some scenarios were asked for.
    pub is_partial: bool,
}

impl Plan {
    /// Makes the plan of a run of these scenarios; none: of those whose turn it is.
    pub fn make(names: &[String]) -> Result<Self> {
        let entries = entries()?;
        let commits = Checkout.commits().unwrap_or_default();
        let settings = Settings::read(commits as u64)?;
        let base = Checkout.base();
        let paths = base.as_deref().and_then(|base| Checkout.changed_since(base));
        let since_passed = since_passed(&entries)?;
        let (wanted, why) = if !names.is_empty() {
            (Wanted::Named(names), "those that were asked for".to_owned())
        } else if settings.full {
            (Wanted::All, "all, with the long waits".to_owned())
        } else {
            let changed = match (&base, &paths) {
                (Some(base), Some(paths)) => format!("{} paths changed since {base:.12}", paths.len()),
                _ => "the changes are unknown, so everything is affected".to_owned(),
            };
            let why = format!("core, affected, unproven and rotating: commit {commits}, {changed}");
            (Wanted::Changed { paths: paths.as_deref(), since_passed: &since_passed, commits }, why)
        };
        let selection = catalogue::select(&entries, wanted);
        ensure!(!selection.run.is_empty(), "no scenario is called like {}", names.join(", "));
        Ok(Self { entries, selection, settings, commit: clean_commit(), why, is_partial: !names.is_empty() })
    }

    /// Prints it.
    pub fn print(&self) {
        println!("scenarios: {}; seed {}", self.why, self.settings.seed);
        for (name, why) in &self.selection.run {
            println!("  {:<9} {name}", why.name());
        }
        for name in &self.selection.left_out {
            println!("  NOT RUN   {name}");
        }
    }

    /// Returns a scenario's entry.
    pub fn entry(&self, name: &str) -> Result<&Entry> {
        self.entries.iter().find(|entry| entry.name == name).with_context(|| format!("there is no '{name}'"))
    }

    /// Returns what is wrong with the scenarios that do not run: when they have last passed.
    /// `put_off`: those of the selection that did not run after all, with the reason.
    pub fn stale(&self, put_off: &BTreeMap<String, String>) -> Result<Vec<String>> {
        let runs = recorded()?;
        let left_out = |name: &str| self.selection.left_out.iter().chain(put_off.keys()).any(|left| left == name);
        Ok(full_runs::stale(&self.entries, left_out, &runs, &Checkout, newest()))
    }
}

/// Reads the record of full runs.
fn recorded() -> Result<Vec<FullRun>> {
    full_runs::parse(&fs::read_to_string(repository().join(RECORD)).unwrap_or_default())
}

/// Returns the paths that differ from the commit with which each scenario has last passed in a full run, or that added
/// it, by its name. Those whose commit is not in this history are left out.
fn since_passed(entries: &[Entry]) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let runs = recorded()?;
    let mut changed: BTreeMap<&str, Option<BTreeSet<String>>> = BTreeMap::new();
    let mut since = BTreeMap::new();
    for entry in entries {
        let Some(commit) = full_runs::proven_with(entry, &runs, &Checkout) else { continue };
        let differ = changed
            .entry(commit)
            .or_insert_with(|| Checkout.changed_since(commit).map(|paths| paths.into_iter().collect()));
        if let Some(differ) = differ {
            since.insert(entry.name.clone(), differ.clone());
        }
    }
    Ok(since)
}

/// Returns the commit that is checked out. `None`: the working tree differs from it, but for what records runs.
fn clean_commit() -> Option<String> {
    let commit = Checkout.commit()?;
    let changed = Checkout.changed_since(&commit)?;
    changed.iter().all(|path| path == RECORD).then_some(commit)
}

/// Adds a full run to the record.
pub fn record(run: &FullRun) -> Result<()> {
    let path = repository().join(RECORD);
    let text = fs::read_to_string(&path).unwrap_or_default();
    let line = serde_json::to_string(run).context("a run is JSON")?;
    fs::write(&path, format!("{text}{line}\n")).with_context(|| format!("cannot write {RECORD}"))
}

/// Returns when the newest commit was made: an old checkout is judged as it was then.
fn newest() -> DateTime<Utc> {
    Checkout.commit().and_then(|commit| Checkout.time_of(&commit)).unwrap_or_else(Utc::now)
}

fn entries() -> Result<Vec<Entry>> {
    catalogue::parse(include_str!("../../scenarios.toml")).context("e2e/scenarios.toml")
}

/// A check by its name.
type Check = (&'static str, fn() -> Result<()>);

/// Checks what needs no cluster; returns whether all is well. The last line is as cargo's own.
pub fn check() -> bool {
    let checks: [Check; 8] = [
        ("the_catalogue_names_every_scenario_and_no_other", names_are_known),
        ("every_path_of_the_catalogue_is_there", paths_are_there),
        ("the_pipeline_with_sql_is_valid_but_for_the_broken_query", sql::check),
        ("the_pipeline_with_every_type_is_valid", types::check),
        ("the_pipeline_with_every_source_is_valid", sources::check),
        ("the_pipeline_of_the_shop_is_valid", shop::check),
        ("the_pipeline_beside_a_webhook_is_valid", injected::check),
        ("the_page_marks_the_troubles_that_are_tried", troubles::check),
    ];
    let mut failed = 0;
    for (name, check) in checks {
        match check() {
            Ok(()) => println!("test {name} ... ok"),
            Err(error) => {
                failed += 1;
                println!("test {name} ... FAILED: {error:#}");
            }
        }
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {word}. {} passed; {failed} failed", checks.len() - failed);
    failed == 0
}

fn names_are_known() -> Result<()> {
    let told: Vec<String> = entries()?.into_iter().map(|entry| entry.name).collect();
    let told: BTreeSet<&str> = told.iter().map(String::as_str).collect();
    let known: BTreeSet<&str> = SCENARIOS.iter().map(|(name, _)| *name).collect();
    let differ: Vec<_> = told.symmetric_difference(&known).collect();
    ensure!(differ.is_empty(), "only the catalogue or only the program knows {differ:?}");
    Ok(())
}

fn paths_are_there() -> Result<()> {
    let Some(paths) = Checkout.paths() else { return Ok(()) };
    for entry in entries()? {
        for pattern in &entry.paths {
            let is_there = paths.iter().any(|path| matches(pattern, path));
            ensure!(is_there, "scenario '{}' is about '{pattern}', which there is not", entry.name);
        }
    }
    Ok(())
}
