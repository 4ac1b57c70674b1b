//! The catalogue of scenarios, `e2e/scenarios.toml`, and what of it a run takes: the core, what the changed paths touch, a
//! part that goes round with the number of commits, and the rest in the full run only.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};
use toml_edit::{DocumentMut, Item, Table};

use crate::queue::{Alone, Needs};
use crate::sets::Kind;

/// The rotating scenarios go round in so many commits.
pub const ROUND: usize = 3;

/// Why a scenario is in a run whose turn it merely is.
pub const ROTATING: &str = "rotating";

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

/// One scenario of the catalogue.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// The function's name.
    pub name: String,
    /// When it runs.
    pub tier: Tier,
    /// What it needs to be at work.
    pub needs: Needs,
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

/// Which scenarios run, in the catalogue's order, and which do not.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Selection {
    /// Name and why.
    pub run: Vec<(String, &'static str)>,
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
            let known = ["name", "tier", "weight", "alone", "shares", "paths", "twin", "control", "since"];
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
        let since = table.contains_key("since").then(|| text(table, "since")).transpose()?;
        let paths = texts(table, "paths")?;
        ensure!(!paths.is_empty(), "it is about no path");
        let alone = texts(table, "alone")?.iter().map(|alone| known(alone)).collect::<Result<_>>()?;
        Ok(Entry {
            name: name.clone(),
            tier,
            needs: Needs { weight, alone },
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
    /// Core, affected and rotating.
    Changed {
        /// The paths that differ from what landed last. `None`: nobody knows.
        paths: Option<&'a [String]>,
        /// The paths that differ from the commit with which a scenario has last passed in a full run, by its name. A
        /// path that has not changed since then does not affect the scenario.
        since_passed: &'a BTreeMap<String, BTreeSet<String>>,
        /// How many commits there are.
        commits: usize,
    },
}

/// Selects the scenarios of a run.
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
            Wanted::All => Some("full"),
            Wanted::Named(names) => names.iter().any(|name| entry.name.contains(name)).then_some("named"),
            Wanted::Changed { paths, since_passed, commits } => {
                let since_passed = since_passed.get(&entry.name);
                let touches = |path: &String| {
                    entry.paths.iter().any(|pattern| matches(pattern, path))
                        && since_passed.is_none_or(|changed| changed.contains(path))
                };
                let is_touched = paths.is_none_or(|paths| paths.iter().any(touches));
                let place = rotating.get(entry.name.as_str());
                match entry.tier {
                    Tier::Core => Some("core"),
                    Tier::Rotating | Tier::Full if is_touched => Some("affected"),
                    Tier::Rotating if place.is_some_and(|place| place % ROUND == commits % ROUND) => Some(ROTATING),
                    Tier::Rotating | Tier::Full => None,
                }
            }
        };
        match why {
            Some(why) => selection.run.push((entry.name.clone(), why)),
            None => selection.left_out.push(entry.name.clone()),
        }
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

    fn run(paths: Option<&[&str]>, commits: usize) -> Vec<(String, &'static str)> {
        run_since(paths, &BTreeMap::new(), commits)
    }

    fn run_since(
        paths: Option<&[&str]>,
        since_passed: &BTreeMap<String, BTreeSet<String>>,
        commits: usize,
    ) -> Vec<(String, &'static str)> {
        let paths: Option<Vec<String>> = paths.map(|paths| paths.iter().map(|path| (*path).to_owned()).collect());
        let entries = parse(TOLD).expect("it is good");
        select(&entries, Wanted::Changed { paths: paths.as_deref(), since_passed, commits }).run
    }

    #[test]
    fn runs_the_core_what_is_touched_and_a_part_that_goes_round() {
        let of =
            |run: &[(&str, &'static str)]| run.iter().map(|(name, why)| ((*name).to_owned(), *why)).collect::<Vec<_>>();
        assert_eq!(run(Some(&[]), 3), of(&[("a", "core"), ("b", "rotating")]));
        assert_eq!(run(Some(&[]), 4), of(&[("a", "core"), ("c", "rotating")]));
        assert_eq!(run(Some(&["README.md"]), 5), of(&[("a", "core")]));
        assert_eq!(
            run(Some(&["sql/src/lib.rs", "charts/x.yaml"]), 5),
            of(&[("a", "core"), ("b", "affected"), ("d", "affected")])
        );
        assert_eq!(run(None, 5).len(), 4, "where nobody knows what was changed, all is touched");
    }

    #[test]
    fn a_change_that_a_full_run_has_seen_affects_nothing() {
        let names = |run: Vec<(String, &'static str)>| run.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        let paths = ["sql/src/lib.rs", "charts/x.yaml"];
        let since_passed = BTreeMap::from([
            ("b".to_owned(), BTreeSet::from(["charts/x.yaml".to_owned()])),
            ("d".to_owned(), BTreeSet::from(["charts/x.yaml".to_owned()])),
        ]);
        assert_eq!(
            names(run_since(Some(&paths), &since_passed, 5)),
            ["a", "d"],
            "b has passed with this sql/src/lib.rs"
        );
        assert_eq!(names(run_since(Some(&paths), &BTreeMap::new(), 5)), ["a", "b", "d"]);
    }

    #[test]
    fn says_what_it_leaves_out() {
        let entries = parse(TOLD).expect("it is good");
        let names = ["d".to_owned()];
        let selection = select(&entries, Wanted::Named(&names));
        assert_eq!(selection.run, [("d".to_owned(), "named")]);
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
