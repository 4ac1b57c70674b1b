//! `validate`: files against what admission and the operator would say, without a cluster.
//!
//! ```text
//! scalars  a plain scalar as kubectl reads it
//! places   YAML text → documents, and where each field stands
//! schema   a document against the resource's schema, as the API server judges it
//! rules    schema, then CEL rules, then what only a program can judge (millrace-api; SQL: millrace-sql)
//! excerpt  a fault with its line and a mark below the place
//! ```

mod excerpt;
mod places;
mod rules;
mod scalars;
mod schema;

use std::io::Read;
use std::path::Path;

use serde::Serialize;
use snafu::ResultExt;

use crate::arguments::Validate;
use crate::failure::ReadFileSnafu;
use crate::screen::{Format, Screen, document, write};
use crate::{Failure, Outcome};
use excerpt::excerpt;
use places::Place;
use rules::{Checked, check};

/// Something wrong, and where.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Fault {
    /// Path of the field. Empty: the document as a whole.
    path: String,
    /// What is wrong, and what to do.
    message: String,
    /// Line from 1.
    line: usize,
    /// Column from 1.
    column: usize,
    /// Characters that it is about.
    #[serde(skip)]
    length: usize,
    /// The faulty line of an expression, with a mark. Absent: it is about no expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    expression: Option<String>,
}

/// What there is to say of a file.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct FileReport {
    file: String,
    /// Resources of ours in it.
    resources: usize,
    faults: Vec<Fault>,
}

/// Checks files.
pub fn run(flags: &Validate, format: Format, screen: &Screen) -> Result<Outcome, Failure> {
    let mut texts = Vec::new();
    for file in &flags.files {
        texts.push((file.display().to_string(), read(file)?));
    }
    let checked = check(&texts.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>());
    let mut reports = Vec::new();
    let mut told = String::new();
    for ((file, text), Checked { resources, faults }) in texts.iter().zip(checked) {
        for fault in &faults {
            told.push_str(&excerpt(file, text, fault, screen));
            told.push('\n');
        }
        reports.push(FileReport { file: file.clone(), resources, faults });
    }
    match format {
        Format::Table => {
            told.push_str(&summary(&reports));
            write(&told)?;
        }
        format => write(&document(format, &reports))?,
    }
    let nothing = reports.iter().all(|report| report.resources == 0 && report.faults.is_empty());
    if nothing {
        return Err(Failure::mistake("the input has no StreamingPipeline and no IngestionRun"));
    }
    Ok(Outcome::wrong_if(reports.iter().any(|report| !report.faults.is_empty())))
}

/// Returns what is wrong with a text, in sentences, as `validate` finds it.
pub(super) fn faults(text: &str) -> Vec<String> {
    let checked = check(&[text]).into_iter().flat_map(|checked| checked.faults);
    checked.map(|fault| format!("line {}: {}: {}", fault.line, fault.path, fault.message)).collect()
}

/// Reads a file that was named on the command line; `-` is standard input.
#[expect(clippy::disallowed_methods, reason = "a file that was named on the command line; nothing else runs")]
pub(super) fn read(file: &Path) -> Result<String, Failure> {
    let name = file.display().to_string();
    if name == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context(ReadFileSnafu { file: "standard input" })?;
        return Ok(text);
    }
    std::fs::read_to_string(file).context(ReadFileSnafu { file: name })
}

fn summary(reports: &[FileReport]) -> String {
    let mut text = String::new();
    for FileReport { file, resources, faults } in reports {
        let said = match (resources, faults.len()) {
            (0, 0) => "not a resource of Millrace, not checked".to_owned(),
            (1, 0) => "1 resource, valid".to_owned(),
            (count, 0) => format!("{count} resources, valid"),
            (_, 1) => "1 error".to_owned(),
            (_, count) => format!("{count} errors"),
        };
        text.push_str(&format!("{file}: {said}\n"));
    }
    text
}

impl Fault {
    fn new(path: &str, message: impl Into<String>, place: Place) -> Self {
        let Place { line, column, length } = place;
        Self { path: path.to_owned(), message: message.into(), line, column, length, expression: None }
    }
}
