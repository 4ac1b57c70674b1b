//! The tables of docs/scaling.md are those that the simulator and the measured costs give. `make generate` writes them.

#![expect(clippy::disallowed_methods, reason = "tests read fixtures and the clock")]

use millrace_scaling::paper::{self, Costs};
use millrace_scaling::simulation::table;

const TABLES: [(&str, &str); 2] = [
    ("<!-- simulation, by scaling/tests/generated.rs -->\n", "<!-- end of simulation -->"),
    ("<!-- paper, by scaling/tests/generated.rs -->\n", "<!-- end of paper -->"),
];

fn read(page: &str) -> String {
    let path = format!("{}/../docs/{page}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_page_has_the_tables_that_the_simulator_prints() {
    let page = read("scaling.md");
    let costs = Costs::from_benchmark(&read("benchmark.md")).expect("docs/benchmark.md has the costs of a record");
    let tables = [table::markdown(&table::results()), paper::markdown(&paper::LARGE, &costs)];
    let mut wanted = page.clone();
    for ((begin, end), table) in TABLES.into_iter().zip(tables) {
        let (before, rest) = wanted.split_once(begin).expect("the begin of a table");
        let (_, after) = rest.split_once(end).expect("the end of a table");
        wanted = format!("{before}{begin}\n{table}\n{end}{after}");
    }
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/scaling.md");
        std::fs::write(path, wanted).expect("the page can be written");
    } else {
        assert!(page == wanted, "docs/scaling.md is stale: run make generate");
    }
}
