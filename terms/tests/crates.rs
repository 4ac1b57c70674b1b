//! Which of our crates may link which: read from their manifests, so that no convenience ties two again.

#![expect(clippy::disallowed_methods, reason = "tests read fixtures and the clock")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Each crate's directory, and those of the crates that it may link.
const MAY_LINK: [(&str, &[&str]); 12] = [
    // What all share links none of us.
    ("terms", &[]),
    ("serve", &[]),
    ("fuzz", &[]),
    ("expressions", &[]),
    // A pure decision, judged by a simulator: it knows no resource and no store.
    ("scaling", &[]),
    // DataFusion stays where SQL is compiled: the worker, the operator's own child process, the command.
    ("sql", &["terms"]),
    ("api", &["expressions", "terms"]),
    ("stores", &["api", "terms"]),
    // The data plane knows settings, not resources.
    ("worker", &["expressions", "heap", "profile", "serve", "sql", "terms"]),
    ("operator", &["api", "scaling", "serve", "sql", "stores", "terms"]),
    // What a spec would change is what the operator's pure steps make of it.
    ("cli", &["api", "operator", "sql", "stores", "terms"]),
    // It has the viewer's rights, and nothing of who writes.
    ("console", &["api", "serve", "stores", "terms"]),
];

/// The same for tests alone: the operator's read what the command makes of a status, the console's what a worker really
/// writes, and parsers are fed with broken bytes.
const TESTS_MAY_LINK: [(&str, &str); 9] = [
    ("operator", "cli"),
    ("console", "worker"),
    ("console", "fuzz"),
    ("cli", "fuzz"),
    ("terms", "fuzz"),
    ("sql", "fuzz"),
    ("api", "fuzz"),
    ("stores", "fuzz"),
    ("worker", "fuzz"),
];

/// What keeps a crate small and quick to compile: beginnings of names that it may not link.
const FOREIGN: [(&str, &[&str]); 3] = [
    ("terms", &["arrow", "datafusion", "k8s-openapi", "kube", "rdkafka", "scylla", "sqlparser", "tokio"]),
    ("api", &["arrow", "datafusion", "rdkafka", "scylla", "sqlparser"]),
    ("scaling", &["arrow", "chrono", "datafusion", "k8s-openapi", "kube", "rdkafka", "scylla", "sqlparser", "tokio"]),
];

/// Names of dependencies by section of the manifest.
type Manifest = BTreeMap<String, BTreeSet<String>>;

fn parse(text: &str) -> Manifest {
    let mut sections = Manifest::new();
    let mut section = String::new();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        } else if let Some((key, _)) = line.split_once('=') {
            let name = key.split('.').next().unwrap_or_default().trim().to_owned();
            sections.entry(section.clone()).or_default().insert(name);
        }
    }
    sections
}

fn read(directory: &str) -> Manifest {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(directory).join("Cargo.toml");
    parse(&std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// Returns what a crate links and may not.
fn forbidden(directory: &str, manifest: &Manifest) -> Vec<String> {
    let (_, may_link) = MAY_LINK.into_iter().find(|(of, _)| *of == directory).expect("every crate has its line");
    let foreign = FOREIGN.into_iter().find(|(of, _)| *of == directory).map_or(&[][..], |(_, names)| names);
    let mut found = Vec::new();
    for (section, names) in manifest.iter().filter(|(section, _)| section.ends_with("dependencies")) {
        for name in names {
            let is_forbidden = match name.strip_prefix("millrace-") {
                Some(ours) if section == "dev-dependencies" && TESTS_MAY_LINK.contains(&(directory, ours)) => false,
                Some(ours) => !may_link.contains(&ours),
                // A crate's tests may run on what it does not link itself.
                None if section == "dev-dependencies" => false,
                None => foreign.iter().any(|stem| name.starts_with(stem)),
            };
            if is_forbidden {
                found.push(format!("{directory} links {name} in [{section}]"));
            }
        }
    }
    found
}

#[test]
fn no_crate_links_what_it_must_not() {
    for (directory, may_link) in MAY_LINK {
        let manifest = read(directory);
        assert_eq!(forbidden(directory, &manifest), Vec::<String>::new());
        // A manifest that was not understood would have nothing forbidden in it.
        for ours in may_link {
            let name = format!("millrace-{ours}");
            assert!(manifest["dependencies"].contains(&name), "{directory} does not link {name}; take it off the list");
        }
    }
}

/// Negative control: one line in a manifest is enough.
#[test]
fn a_forbidden_link_is_found_in_every_section_and_form() {
    for (directory, section, line) in [
        ("api", "dependencies", "millrace-sql.workspace = true"),
        ("api", "dev-dependencies", "millrace-sql = { path = \"../sql\" }"),
        ("api", "dependencies", "datafusion-expr.workspace = true"),
        ("terms", "dependencies", "kube.workspace = true"),
        ("worker", "dependencies", "millrace-api.workspace = true"),
        ("console", "dependencies", "millrace-operator.workspace = true"),
        ("console", "dependencies", "millrace-worker.workspace = true"),
    ] {
        let mut manifest = read(directory);
        let mut added = parse(&format!("[{section}]\n{line}"));
        let names = added.remove(section).expect("the line is understood");
        let name = names.first().expect("it names a crate").clone();
        manifest.entry(section.to_owned()).or_default().extend(names);
        assert_eq!(forbidden(directory, &manifest), [format!("{directory} links {name} in [{section}]")]);
    }
}
