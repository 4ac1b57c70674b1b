//! Pages that name tests: what docs/real-world.md and docs/security.md name is there and is a test, every row of the former
//! names one or is open, and every parser that is fed is in the table of the latter.

#![expect(clippy::disallowed_methods, reason = "it reads the repository")]

use std::fs;

use millrace_e2e::cluster::repository;
use millrace_e2e::git::Checkout;

/// What makes a function a test.
const ATTRIBUTES: [&str; 3] = ["#[test]", "#[tokio::test", "#[rstest]"];

/// Returns what stands in backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns whether a program has a test of that name.
fn has_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let Some(place) = lines.iter().position(|line| line.contains(&format!("fn {name}("))) else { return false };
    let mut before = lines[..place].iter().rev().take_while(|line| !line.is_empty() && **line != "}");
    before.any(|line| ATTRIBUTES.iter().any(|attribute| line.starts_with(*attribute)))
}

/// Returns what is wrong with a name of the form `path::test`.
fn fault_of_test(path: &str, test: &str) -> Option<String> {
    let Ok(text) = fs::read_to_string(repository().join(path)) else { return Some(format!("there is no '{path}'")) };
    // The scenarios are functions of one program, and its catalogue says which.
    let is_there = match path.starts_with("e2e/tests/cluster/") {
        true => {
            text.contains(&format!("pub async fn {test}("))
                && read("e2e/scenarios.toml").contains(&format!("\"{test}\""))
        }
        false => has_test(&text, test),
    };
    (!is_there).then(|| format!("'{path}' has no test '{test}'"))
}

/// Returns what is wrong with a row of docs/real-world.md.
fn fault_of_row(row: &str) -> Option<String> {
    let tests = row.trim().trim_end_matches('|').rsplit('|').next().unwrap_or_default();
    let is_open = row.contains("**open**");
    let mut named = quoted(tests).peekable();
    if named.peek().is_none() && !is_open {
        return Some("it names no test".to_owned());
    }
    named.find_map(|name| match name.split_once("::") {
        Some((path, test)) => fault_of_test(path, test),
        None if is_open || name.starts_with("e2e/samples/") => {
            (!repository().join(name).is_file()).then(|| format!("there is no '{name}'"))
        }
        None => Some(format!("'{name}' is neither path::test nor a sample")),
    })
}

/// Returns the rows of the tables, which are numbered, each with its heading.
fn rows(page: &str) -> Vec<(String, &str)> {
    let (mut heading, mut rows) = ("", Vec::new());
    for line in page.lines() {
        let number = line.strip_prefix("| ").and_then(|rest| rest.split(" |").next()?.parse::<u32>().ok());
        if let Some(number) = number {
            rows.push((format!("{heading} {number}"), line));
        }
        heading = line.strip_prefix("## ").unwrap_or(heading);
    }
    rows
}

#[test]
fn every_row_names_its_tests_or_is_open() {
    let page = read("docs/real-world.md");
    let rows = rows(&page);
    assert!(rows.len() >= 60, "only {} rows", rows.len());
    let faults: Vec<String> =
        rows.iter().filter_map(|(name, row)| Some(format!("{name}: {}", fault_of_row(row)?))).collect();
    assert!(faults.is_empty(), "docs/real-world.md:\n{}", faults.join("\n"));
}

/// Negative control: rows that name nothing, a file alone, no test of that file, and a function that is none.
#[test]
fn a_row_without_a_test_is_noticed() {
    for (row, fault) in [
        ("| 1 | – | x | y | |", Some("it names no test")),
        (
            "| 2 | – | x | y | `worker/tests/exact.rs` |",
            Some("'worker/tests/exact.rs' is neither path::test nor a sample"),
        ),
        ("| 3 | – | x | y | `worker/tests/no.rs::it` |", Some("there is no 'worker/tests/no.rs'")),
        ("| 4 | – | x | y | `worker/tests/exact.rs::it` |", Some("'worker/tests/exact.rs' has no test 'it'")),
        ("| 5 | – | x | y | `worker/tests/exact.rs::judge` |", Some("'worker/tests/exact.rs' has no test 'judge'")),
        ("| 6 | – | x | y | `e2e/samples/refused/no.yaml` |", Some("there is no 'e2e/samples/refused/no.yaml'")),
        ("| 7 | – | x | **open** | |", None),
        ("| 8 | – | x | y | `worker/tests/exact.rs::control_a_changed_digit_is_noticed` |", None),
    ] {
        assert_eq!(fault_of_row(row).as_deref(), fault, "{row}");
    }
}

#[test]
fn every_parser_that_is_fed_is_in_the_table_and_no_other() {
    let page = read("docs/security.md");
    let named: Vec<&str> = quoted(&page).filter(|name| name.contains(".rs::")).collect();
    let faults: Vec<String> = named
        .iter()
        .filter_map(|name| name.split_once("::").and_then(|(path, test)| fault_of_test(path, test)))
        .collect();
    assert!(faults.is_empty(), "docs/security.md:\n{}", faults.join("\n"));
    let Some(paths) = Checkout.paths() else { return };
    let mut fed = 0;
    for path in paths.iter().filter(|path| path.ends_with(".rs")) {
        let text = read(path);
        let functions = text.lines().filter_map(|line| line.trim().strip_prefix("fn ")?.split('(').next());
        for test in functions.filter(|name| name.starts_with("no_") && name.contains("_breaks_")) {
            fed += 1;
            assert!(named.contains(&format!("{path}::{test}").as_str()), "docs/security.md lacks {path}::{test}");
        }
    }
    assert!(fed >= 25, "only {fed} parsers are fed");
}
