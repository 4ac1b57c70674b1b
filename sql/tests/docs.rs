//! The list of functions in `docs/sql.md` is the one that there is. `UPDATE_GENERATED=1` writes it.

#![expect(clippy::disallowed_methods, reason = "tests read fixtures and the clock")]

use millrace_sql::FUNCTIONS;

const BEGIN: &str = "<!-- functions, by sql/tests/docs.rs -->\n";
const END: &str = "<!-- end of functions -->";

#[test]
fn the_documentation_lists_every_function() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/sql.md");
    let text = std::fs::read_to_string(path).expect("the page");
    let (before, rest) = text.split_once(BEGIN).expect("the begin of the list");
    let (_, after) = rest.split_once(END).expect("the end of the list");
    let list: String = FUNCTIONS
        .iter()
        .map(|(kind, names)| {
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            format!("  - {kind}: {}\n", names.join(", "))
        })
        .collect();
    let wanted = format!("{before}{BEGIN}{list}{END}{after}");
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(path, wanted).expect("the page can be written");
    } else {
        assert!(text == wanted, "docs/sql.md is stale: UPDATE_GENERATED=1 cargo test --workspace --test docs");
    }
}
