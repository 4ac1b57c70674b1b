//! The operator's files import each other along the road only: in no circle, and none that stands later. Which stands where
//! is said by `src/lib.rs`; what imports what is read from the files.

#![expect(clippy::disallowed_methods, reason = "tests read fixtures and the clock")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Files by module, such as `kafka::link`, with their text.
type Files = BTreeMap<String, String>;
/// Which modules each module imports.
type Imports = BTreeMap<String, BTreeSet<String>>;

/// Returns every file of a crate but its roots.
fn files() -> Result<Files> {
    let mut files = Files::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut files)?;
    files.retain(|module, _| module != "lib" && module != "main");
    Ok(files)
}

fn collect(folder: &Path, above: &str, files: &mut Files) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list '{}'", folder.display()))? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|stem| stem.to_str()).context("a file's name is text")?;
        let module = if above.is_empty() { name.to_owned() } else { format!("{above}::{name}") };
        if path.is_dir() {
            collect(&path, &module, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.insert(module, fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

fn imports(files: &Files) -> Imports {
    files.iter().map(|(module, text)| (module.clone(), imports_of(module, text, files))).collect()
}

/// Returns the modules whose items a file names: in `use`, by whole paths, or by the name of a module that it imports or
/// has as a child. Tests at its end do not count.
fn imports_of(module: &str, text: &str, files: &Files) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let code: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    let children = files.keys().filter_map(|file| file.strip_prefix(module)?.strip_prefix("::"));
    let mut known: BTreeMap<String, String> = children
        .filter(|child| !child.contains("::"))
        .map(|child| (child.to_owned(), format!("{module}::{child}")))
        .collect();
    let mut found = BTreeSet::new();
    for used in uses(&code) {
        if let Some(path) = absolute(module, &used, &known) {
            let name = used.rsplit("::").next().unwrap_or_default();
            if files.contains_key(&path) {
                known.insert(name.to_owned(), path.clone());
            }
            found.extend(file_of(&path, files));
        }
    }
    for path in paths(&code) {
        found.extend(absolute(module, &path, &known).and_then(|path| file_of(&path, files)));
    }
    found.remove(module);
    found
}

/// Returns a path from the crate's root; `None`: it leads elsewhere.
fn absolute(module: &str, path: &str, known: &BTreeMap<String, String>) -> Option<String> {
    let (first, rest) = path.split_once("::").unwrap_or((path, ""));
    let base = match first {
        "crate" => return Some(rest.to_owned()),
        "super" => module.rsplit_once("::").map_or("", |(above, _)| above),
        "self" => module,
        first => known.get(first)?,
    };
    Some([base, rest].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("::"))
}

/// Returns the file that a path leads into: the longest beginning of it that is one.
fn file_of(path: &str, files: &Files) -> Option<String> {
    let mut path = path;
    loop {
        if files.contains_key(path) {
            return Some(path.to_owned());
        }
        path = path.rsplit_once("::")?.0;
    }
}

/// Returns the paths that `use` lists, one for each name.
fn uses(code: &str) -> Vec<String> {
    let begins = |line: &&str| line.trim_start().starts_with("use ") || line.trim_start().starts_with("pub use ");
    let mut all = Vec::new();
    let mut rest = code;
    while let Some(line) = rest.lines().find(begins) {
        let start = line.as_ptr() as usize - rest.as_ptr() as usize;
        let end = rest[start..].find(';').map_or(rest.len(), |length| start + length);
        let statement: String = rest[start..end].split_whitespace().collect::<Vec<_>>().join(" ");
        expand("", statement.trim_start_matches("pub ").trim_start_matches("use "), &mut all);
        rest = &rest[end..];
    }
    all
}

fn expand(before: &str, tree: &str, all: &mut Vec<String>) {
    let Some(open) = tree.find('{') else {
        let path = tree.split(" as ").next().unwrap_or_default().trim();
        all.push(format!("{before}{path}").trim_end_matches("::self").to_owned());
        return;
    };
    let before = format!("{before}{}", tree[..open].trim());
    let inner = tree[open + 1..].trim_end().trim_end_matches('}');
    let (mut depth, mut start) = (0, 0);
    for (at, character) in inner.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&before, inner[start..at].trim(), all);
                start = at + 1;
            }
            _ => {}
        }
    }
    if !inner[start..].trim().is_empty() {
        expand(&before, inner[start..].trim(), all);
    }
}

/// Returns every path of two names or more.
fn paths(code: &str) -> Vec<String> {
    let is_part = |character: char| character.is_alphanumeric() || character == '_' || character == ':';
    let words = code.split(|character: char| !is_part(character));
    words.filter(|word| word.contains("::")).map(|word| word.trim_matches(':').to_owned()).collect()
}

/// Returns the sets of modules that import each other in a circle.
fn circles(imports: &Imports) -> BTreeSet<Vec<String>> {
    let reached = |from: &str| {
        let mut reached = BTreeSet::new();
        let mut open = vec![from.to_owned()];
        while let Some(module) = open.pop() {
            for next in imports.get(&module).into_iter().flatten() {
                if reached.insert(next.clone()) {
                    open.push(next.clone());
                }
            }
        }
        reached
    };
    let reach: BTreeMap<&String, BTreeSet<String>> = imports.keys().map(|module| (module, reached(module))).collect();
    let is_mutual = |one: &String, other: &String| {
        reach[one].contains(other) && reach.get(other).is_some_and(|back| back.contains(one))
    };
    let circle = |one: &&String| imports.keys().filter(|other| is_mutual(one, other)).cloned().collect();
    reach.keys().filter(|one| reach[**one].contains(**one)).map(circle).collect()
}

/// Returns the imports of what stands later, or of what stands nowhere.
fn against(order: &[Vec<String>], imports: &Imports) -> Vec<String> {
    let place = |module: &str| {
        let room = module.split("::").next().unwrap_or_default();
        order.iter().position(|row| row.iter().any(|name| name == room))
    };
    let mut found = Vec::new();
    for (module, imported) in imports {
        if place(module).is_none() {
            found.push(format!("{module} stands nowhere"));
        }
        let later = imported.iter().filter(|imported| place(imported) > place(module));
        found.extend(later.map(|imported| format!("{module} imports {imported}, which stands later")));
    }
    found
}

/// Returns the order of the road as `lib.rs` states it: rows of names, each followed by what it is.
fn order() -> Result<Vec<Vec<String>>> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs"))?;
    let (_, rest) = text.split_once("imports only what stands above it").context("lib.rs states the order")?;
    let block = rest.split("```text").nth(1).and_then(|rest| rest.split("```").next()).context("lib.rs lists it")?;
    let rows = block.lines().map(|line| line.trim_start_matches("//!").trim()).filter(|line| !line.is_empty());
    Ok(rows.map(|row| row.split("  ").next().unwrap_or_default().split(' ').map(str::to_owned).collect()).collect())
}

#[test]
fn no_file_imports_another_in_a_circle() -> Result<()> {
    let imports = imports(&files()?);
    assert_eq!(circles(&imports), BTreeSet::new());
    Ok(())
}

#[test]
fn no_file_imports_what_stands_later_on_the_road() -> Result<()> {
    let imports = imports(&files()?);
    assert_eq!(against(&order()?, &imports), Vec::<String>::new());
    Ok(())
}

#[test]
fn every_kind_of_import_is_seen() -> Result<()> {
    let imports = imports(&files()?);
    for (module, imported) in [
        ("apply", "write"),
        ("plan::roll", "plan::disruption"),
        ("plan", "plan::drift"),
        ("chain", "kafka::link"),
        ("kafka::objects", "objects::properties"),
        ("runs", "runs::endings"),
        ("runs::report", "report"),
    ] {
        assert!(imports[module].contains(imported), "{module} imports {imported}: {:?}", imports[module]);
    }
    Ok(())
}

fn made_up(files: &[(&str, &str)]) -> Imports {
    imports(&files.iter().map(|(module, text)| ((*module).to_owned(), (*text).to_owned())).collect())
}

#[test]
fn a_circle_is_found_however_the_files_name_each_other() {
    for (one, other) in [
        ("use crate::other::Thing;", "use crate::one::Thing;"),
        ("use crate::{nothing, other::{self, Thing}};", "fn f() { crate::one::f() }"),
        ("use crate::other;\nfn f() { other::g() }", "use crate::{\n    one::{\n        f,\n    },\n};"),
    ] {
        let circle = circles(&made_up(&[("one", one), ("other", other), ("nothing", "use crate::one::f;")]));
        assert!(
            circle.iter().any(|circle| circle.contains(&"one".to_owned()) && circle.contains(&"other".to_owned())),
            "{one}"
        );
    }
    let room = circles(&made_up(&[("room", "use child::f;"), ("room::child", "use super::g;")]));
    assert_eq!(room, BTreeSet::from([vec!["room".to_owned(), "room::child".to_owned()]]));
    let straight = made_up(&[
        ("one", "use crate::other::Thing;"),
        ("other", "// use crate::one::Thing;\n#[cfg(test)]\nuse crate::one;"),
    ]);
    assert_eq!(circles(&straight), BTreeSet::new());
}

#[test]
fn an_import_of_what_stands_later_is_found() {
    let order = [vec!["first".to_owned()], vec!["second".to_owned(), "beside".to_owned()]];
    let imports = made_up(&[
        ("first", "use crate::second::inner::f;"),
        ("second", "use crate::beside::f;"),
        ("second::inner", "use crate::first::g;"),
        ("beside", ""),
        ("stray", ""),
    ]);
    assert_eq!(against(&order, &imports), ["first imports second::inner, which stands later", "stray stands nowhere"]);
}
