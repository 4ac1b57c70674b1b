//! The catalogue of scenarios, `e2e/scenarios.toml`, and what of it a run takes, in which order: the core, what the
//! changed paths touch, what has not passed since its paths were changed, a part that goes round with the number of
//! commits, and the rest in the full run only. And which of them give way where time is short.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use toml_edit::{DocumentMut, Item, Table};

use crate::queue::{Alone, Needs};
use crate::sets::Kind;

/// The rotating scenarios go round in so many commits.
pub const ROUND: usize = 3;

/// Minutes that a scenario may take unless it states its own.
const MINUTES: u64 = 10;

/// What unproven and rotating scenarios leave of the deadline's 85 minutes, so that a usual run takes about 40.
const RESERVE: Duration = Duration::from_secs(50 * 60);

/// When a scenario runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tier {
    /// In every run.
    Core,
    /// In every third run, and when a path that it is about was changed.
    Rotating,
    /// In the full run, and when a path that it is about was changed.
    Full,
}

/// Why a scenario is in a run. What stands earlier here begins earlier.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Why {
    /// Everything runs.
    Full,
    /// It was asked for by its name.
    Named,
    /// It is in every run.
    Core,
    /// What lands now changes a path that it is about.
    Affected,
    /// A path that it is about was changed since it last passed in a full run, by what landed earlier.
    Unproven,
    /// It is its turn.
    Rotating,
}

impl Why {
    /// Returns the word for it, of nine letters at most.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Named => "named",
            Self::Core => "core",
            Self::Affected => "affected",
            Self::Unproven => "unproven",
            Self::Rotating => "rotating",
        }
    }

    /// Returns whether it may be put off where time is short: it comes round again, at the latest in a full run.
    pub const fn can_wait(self) -> bool {
        match self {
            Self::Full | Self::Named | Self::Core => false,
            Self::Affected | Self::Unproven | Self::Rotating => true,
        }
    }

    /// Returns how much of the time before the deadline it leaves alone: what does not belong to the changes that land now
    /// may make a short run longer, and no long one.
    const fn reserve(self) -> Duration {
        match self {
            Self::Full | Self::Named | Self::Core | Self::Affected => Duration::ZERO,
            Self::Unproven | Self::Rotating => RESERVE,
        }
    }

    /// Returns whether the changes decide that it runs: then there may be any number of this kind.
    pub const fn follows_changes(self) -> bool {
        match self {
            Self::Affected | Self::Unproven => true,
            Self::Full | Self::Named | Self::Core | Self::Rotating => false,
        }
    }
}

/// One scenario of the catalogue.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// The function's name.
    pub name: String,
    /// When it runs.
    pub tier: Tier,
    /// What it needs to be at work.
    pub needs: Needs,
    /// How long it may take with its stores' start, on a slow machine.
    pub time: Duration,
    /// The kind of store set that it shares with others. `None`: it makes its own, or none.
    pub shares: Option<Kind>,
    /// What it is about: paths in the repository; `*` at the end stands for anything.
    pub paths: Vec<String>,
    /// What proves a part of it for less.
    pub twin: String,
    /// What shows that it would notice.
    pub control: String,
    /// The commit that added it. `None`: it is in the record of full runs.
    pub since: Option<String>,
}

impl Entry {
    /// Returns whether it begins with so much time left before the deadline.
    pub fn begins(&self, why: Why, left: Duration) -> bool {
        !why.can_wait() || left >= self.time + why.reserve()
    }

    /// Returns whether the deadline may end it without blame: others have kept it waiting. One that takes longer than
    /// it says is at fault itself, or hangs. `worked`: for how long it has been at work; `None`: not yet.
    pub fn may_be_cut_off(&self, why: Why, worked: Option<Duration>) -> bool {
        why.can_wait() && worked.is_none_or(|worked| worked < self.time)
    }
}

/// Which scenarios run, in the order in which they begin, and which do not, in the catalogue's order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Selection {
    /// Name and why.
    pub run: Vec<(String, Why)>,
    /// Names.
    pub left_out: Vec<String>,
}

/// Reads a catalogue.
pub fn parse(text: &str) -> Result<Vec<Entry>> {
    let document: DocumentMut = text.parse().context("it is no TOML")?;
    let tables = document.get("scenario").and_then(Item::as_array_of_tables).context("there is no [[scenario]]")?;
    let entries = tables.iter().map(entry).collect::<Result<Vec<_>>>()?;
    let mut names = BTreeSet::new();
    for entry in &entries {
        ensure!(names.insert(&entry.name), "'{}' is there twice", entry.name);
    }
    Ok(entries)
}

fn entry(table: &Table) -> Result<Entry> {
    let name = text(table, "name")?;
    let read = || {
        for (key, _) in table {
            let known = ["name", "tier", "weight", "alone", "minutes", "shares", "paths", "twin", "control", "since"];
            ensure!(known.contains(&key), "there is no field '{key}'");
        }
        let tier = match text(table, "tier")?.as_str() {
            "core" => Tier::Core,
            "rotating" => Tier::Rotating,
            "full" => Tier::Full,
            other => bail!("there is no tier '{other}'"),
        };
        let weight = table.get("weight").and_then(Item::as_integer).context("weight is missing")?;
        let weight = u32::try_from(weight).context("weight is no weight")?;
        let shares = match table.get("shares").map(|_| text(table, "shares")).transpose()?.as_deref() {
            None => None,
            Some("one") => Some(Kind::One),
            Some("three") => Some(Kind::Three),
            Some(other) => bail!("there is no set of '{other}' to share"),
        };
        let minutes = match table.get("minutes") {
            None => MINUTES,
            Some(_) if tier == Tier::Core => bail!("the core always runs, so its minutes would say nothing"),
            Some(item) => {
                let stated = item.as_integer().and_then(|minutes| u64::try_from(minutes).ok());
                stated.filter(|minutes| *minutes > 0).context("minutes are no minutes")?
            }
        };
        let since = table.contains_key("since").then(|| text(table, "since")).transpose()?;
        let paths = texts(table, "paths")?;
        ensure!(!paths.is_empty(), "it is about no path");
        let alone = texts(table, "alone")?.iter().map(|alone| known(alone)).collect::<Result<_>>()?;
        Ok(Entry {
            name: name.clone(),
            tier,
            needs: Needs { weight, alone },
            time: Duration::from_secs(60 * minutes),
            shares,
            paths,
            twin: text(table, "twin")?,
            control: text(table, "control")?,
            since,
        })
    };
    read().with_context(|| format!("scenario '{name}'"))
}

fn known(alone: &str) -> Result<Alone> {
    let found = Alone::ALL.into_iter().find(|(_, name)| *name == alone);
    found.map(|(alone, _)| alone).with_context(|| format!("nobody can have '{alone}' alone"))
}

fn text(table: &Table, key: &str) -> Result<String> {
    let found = table.get(key).and_then(Item::as_str).filter(|text| !text.is_empty());
    found.map(str::to_owned).with_context(|| format!("{key} is missing"))
}

fn texts(table: &Table, key: &str) -> Result<Vec<String>> {
    let Some(items) = table.get(key) else { return Ok(Vec::new()) };
    let items = items.as_array().with_context(|| format!("{key} is no list"))?;
    items.iter().map(|item| item.as_str().map(str::to_owned).with_context(|| format!("{key} holds no text"))).collect()
}

/// Returns whether a path is what a pattern stands for.
pub fn matches(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => path.starts_with(beginning),
        None => pattern == path,
    }
}

/// What a selection depends on.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    /// Every scenario.
    All,
    /// Those whose name contains one of these.
    Named(&'a [String]),
    /// Core, affected, unproven and rotating.
    Changed {
        /// The paths that differ from what landed last. `None`: nobody knows.
        paths: Option<&'a [String]>,
        /// The paths that differ from the commit with which a scenario has last passed in a full run, or that added it,
        /// by its name. Others do not touch it; without an entry, only `paths` do.
        since_passed: &'a BTreeMap<String, BTreeSet<String>>,
        /// How many commits there are.
        commits: usize,
    },
}

/// Selects the scenarios of a run, and puts them in order.
pub fn select(entries: &[Entry], wanted: Wanted<'_>) -> Selection {
    let rotating: BTreeMap<&str, usize> = entries
        .iter()
        .filter(|entry| entry.tier == Tier::Rotating)
        .enumerate()
        .map(|(place, entry)| (entry.name.as_str(), place))
        .collect();
    let mut selection = Selection::default();
    for entry in entries {
        let why = match wanted {
            Wanted::All => Some(Why::Full),
            Wanted::Named(names) => names.iter().any(|name| entry.name.contains(name)).then_some(Why::Named),
            Wanted::Changed { paths, since_passed, commits } => {
                let since_passed = since_passed.get(&entry.name);
                let is_about = |path: &String| entry.paths.iter().any(|pattern| matches(pattern, path));
                let touches =
                    |path: &String| is_about(path) && since_passed.is_none_or(|changed| changed.contains(path));
                let is_affected = paths.is_none_or(|paths| paths.iter().any(touches));
                let is_unproven = since_passed.is_some_and(|changed| changed.iter().any(is_about));
                let place = rotating.get(entry.name.as_str());
                match entry.tier {
                    Tier::Core => Some(Why::Core),
                    Tier::Rotating | Tier::Full if is_affected => Some(Why::Affected),
                    Tier::Rotating | Tier::Full if is_unproven => Some(Why::Unproven),
                    Tier::Rotating if place.is_some_and(|place| place % ROUND == commits % ROUND) => {
                        Some(Why::Rotating)
                    }
                    Tier::Rotating | Tier::Full => None,
                }
            }
        };
        match why {
            Some(why) => selection.run.push((entry.name.clone(), why)),
            None => selection.left_out.push(entry.name.clone()),
        }
    }
    // Stable: those of one kind stay in the catalogue's order.
    selection.run.sort_by_key(|(_, why)| *why);
    if let Wanted::Changed { commits, paths: _, since_passed: _ } = wanted {
        // Not all of them may fit into the time. Each commit begins with another one, so that none is always the last.
        let unproven = selection.run.partition_point(|(_, why)| *why < Why::Unproven)
            ..selection.run.partition_point(|(_, why)| *why <= Why::Unproven);
        let first = commits.checked_rem(unproven.len()).unwrap_or_default();
        selection.run[unproven].rotate_left(first);
    }
    selection
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: &str = r#"
[[scenario]]
name = "a"
tier = "core"
weight = 2
alone = ["Operator"]
paths = ["operator/*"]
twin = "none"
control = "none"

[[scenario]]
name = "b"
tier = "rotating"
weight = 2
paths = ["sql/*", "Cargo.toml"]
twin = "none"
control = "none"

[[scenario]]
name = "c"
tier = "rotating"
weight = 2
minutes = 20
paths = ["worker/*"]
twin = "none"
control = "none"

[[scenario]]
name = "d"
tier = "full"
weight = 4
paths = ["charts/*"]
twin = "none"
control = "none"
since = "abc"
"#;

    fn run(paths: Option<&[&str]>, commits: usize) -> Vec<(String, Why)> {
        run_since(paths, &BTreeMap::new(), commits)
    }

    fn run_since(
        paths: Option<&[&str]>,
        since_passed: &BTreeMap<String, BTreeSet<String>>,
        commits: usize,
    ) -> Vec<(String, Why)> {
        let paths: Option<Vec<String>> = paths.map(|paths| paths.iter().map(|path| (*path).to_owned()).collect());
        let entries = parse(TOLD).expect("it is good");
        select(&entries, Wanted::Changed { paths: paths.as_deref(), since_passed, commits }).run
    }

    fn of(run: &[(&str, Why)]) -> Vec<(String, Why)> {
        run.iter().map(|(name, why)| ((*name).to_owned(), *why)).collect()
    }

    /// Returns what has changed since each of these scenarios has passed.
    fn since_passed(of: &[(&str, &str)]) -> BTreeMap<String, BTreeSet<String>> {
        of.iter().map(|(name, path)| ((*name).to_owned(), BTreeSet::from([(*path).to_owned()]))).collect()
    }

    #[test]
    fn runs_the_core_what_is_touched_and_a_part_that_goes_round() {
        assert_eq!(run(Some(&[]), 3), of(&[("a", Why::Core), ("b", Why::Rotating)]));
        assert_eq!(run(Some(&[]), 4), of(&[("a", Why::Core), ("c", Why::Rotating)]));
        assert_eq!(run(Some(&["README.md"]), 5), of(&[("a", Why::Core)]));
        assert_eq!(
            run(Some(&["sql/src/lib.rs", "charts/x.yaml"]), 5),
            of(&[("a", Why::Core), ("b", Why::Affected), ("d", Why::Affected)])
        );
        assert_eq!(run(None, 5).len(), 4, "where nobody knows what was changed, all is touched");
    }

    #[test]
    fn a_change_that_a_full_run_has_seen_affects_nothing() {
        let paths = ["sql/src/lib.rs", "charts/x.yaml"];
        let passed = since_passed(&[("b", "charts/x.yaml"), ("d", "charts/x.yaml")]);
        assert_eq!(
            run_since(Some(&paths), &passed, 5),
            of(&[("a", Why::Core), ("d", Why::Affected)]),
            "b has passed with this sql/src/lib.rs"
        );
        assert_eq!(run_since(Some(&paths), &BTreeMap::new(), 5).len(), 3, "without a record it is affected");
    }

    /// Of several commits that land together, the newest alone says little.
    #[test]
    fn a_change_that_landed_earlier_counts_until_a_full_run_has_seen_it() {
        let newest = ["README.md"];
        let passed = since_passed(&[("b", "sql/src/lib.rs"), ("c", "sql/src/lib.rs"), ("d", "README.md")]);
        assert_eq!(run_since(Some(&newest), &passed, 5), of(&[("a", Why::Core), ("b", Why::Unproven)]));
        assert_eq!(run_since(Some(&newest), &BTreeMap::new(), 5), of(&[("a", Why::Core)]), "nothing tells of it");
    }

    #[test]
    fn what_lands_now_begins_first_and_whose_turn_it_merely_is_last() {
        let passed = since_passed(&[("b", "sql/src/lib.rs"), ("d", "charts/x.yaml")]);
        assert_eq!(
            run_since(Some(&["charts/x.yaml"]), &passed, 4),
            of(&[("a", Why::Core), ("d", Why::Affected), ("b", Why::Unproven), ("c", Why::Rotating)])
        );
        // The control: in the catalogue, d is the last.
        let entries = parse(TOLD).expect("it is good");
        assert_eq!(select(&entries, Wanted::All).run.last(), Some(&("d".to_owned(), Why::Full)));
    }

    #[test]
    fn each_commit_begins_with_another_one_of_the_unproven() {
        let passed = since_passed(&[("b", "sql/x"), ("c", "worker/x"), ("d", "charts/x")]);
        let unproven = |commits| {
            let run = run_since(Some(&[]), &passed, commits);
            run.into_iter().filter(|(_, why)| *why == Why::Unproven).map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(unproven(3), ["b", "c", "d"]);
        assert_eq!(unproven(4), ["c", "d", "b"]);
        assert_eq!(unproven(5), ["d", "b", "c"]);
    }

    #[test]
    fn one_that_can_wait_begins_only_with_its_minutes_left() {
        let entries = parse(TOLD).expect("it is good");
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        let [core, usual, long, _] = &entries[..] else { panic!("there are four") };
        for (why, reserve) in [(Why::Affected, 0), (Why::Unproven, 50), (Why::Rotating, 50)] {
            let begins = |entry: &Entry, left: u64| entry.begins(why, minutes(left + reserve));
            assert!(begins(usual, 10) && !begins(usual, 9), "{why:?}");
            assert!(begins(long, 20) && !begins(long, 19), "{why:?}");
        }
        for why in [Why::Full, Why::Named, Why::Core] {
            assert!(core.begins(why, Duration::ZERO), "{why:?}");
        }
    }

    #[test]
    fn the_deadline_is_the_fault_of_what_must_run_and_of_what_takes_longer_than_it_says() {
        let entries = parse(TOLD).expect("it is good");
        let minutes = |minutes: u64| Some(Duration::from_secs(60 * minutes));
        let long = &entries[2];
        for why in [Why::Affected, Why::Unproven, Why::Rotating] {
            assert!(long.may_be_cut_off(why, None) && long.may_be_cut_off(why, minutes(19)), "{why:?}");
            assert!(!long.may_be_cut_off(why, minutes(20)), "{why:?}: it hangs");
        }
        assert!(!entries[0].may_be_cut_off(Why::Core, None) && !long.may_be_cut_off(Why::Named, minutes(1)));
    }

    #[test]
    fn says_what_it_leaves_out() {
        let entries = parse(TOLD).expect("it is good");
        let names = ["d".to_owned()];
        let selection = select(&entries, Wanted::Named(&names));
        assert_eq!(selection.run, of(&[("d", Why::Named)]));
        assert_eq!(selection.left_out, ["a", "b", "c"]);
        assert_eq!(select(&entries, Wanted::All).left_out, [""; 0]);
    }

    #[test]
    fn refuses_a_catalogue_with_a_mistake() {
        for (wrong, told) in [
            (TOLD.replace("\"core\"", "\"cor\""), "scenario 'a': there is no tier 'cor'"),
            (TOLD.replace("\"Operator\"", "\"Operators\""), "scenario 'a': nobody can have 'Operators' alone"),
            (TOLD.replace("since", "sinec"), "scenario 'd': there is no field 'sinec'"),
            (TOLD.replace("\"b\"", "\"a\""), "'a' is there twice"),
            (TOLD.replace("= 20", "= 0"), "scenario 'c': minutes are no minutes"),
            (TOLD.replace("= 20", "= \"20\""), "scenario 'c': minutes are no minutes"),
            (
                TOLD.replace("alone =", "minutes = 20\nalone ="),
                "scenario 'a': the core always runs, so its minutes would say nothing",
            ),
        ] {
            assert_eq!(format!("{:#}", parse(&wrong).expect_err("it is wrong")), told);
        }
    }

    #[test]
    fn a_pattern_stands_for_what_begins_like_it() {
        assert!(
            matches("sql/*", "sql/src/lib.rs") && matches("a/runs*", "a/runs.rs") && matches("Makefile", "Makefile")
        );
        assert!(!matches("sql/*", "sqlite/src") && !matches("Makefile", "docs/Makefile"));
    }
}
