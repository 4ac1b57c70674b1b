//! Sample files: a name, what shall be said of it, and one or two documents.

use std::fs;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

/// A file of `e2e/samples/` or `examples/`.
pub struct Sample {
    /// File name without its ending.
    pub name: String,
    /// What must be said of it; `None` for one that must be accepted.
    pub refusal: Option<Refusal>,
    /// What to create, and perhaps what to update it to.
    pub documents: Vec<Value>,
}

/// Where a sample must be refused, and in which words.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// Path of the field.
    pub path: String,
    /// Part of the message.
    pub says: String,
}

/// Returns the samples of a directory of `e2e/samples/`, by name.
pub fn sample_files(directory: &str) -> Vec<Sample> {
    files(&format!("e2e/samples/{directory}"))
}

/// Returns the examples that are pipelines.
pub fn example_files() -> Vec<Sample> {
    let mut examples = files("examples");
    examples.retain(|example| example.documents.iter().all(|document| document["kind"] == "StreamingPipeline"));
    examples
}

fn files(directory: &str) -> Vec<Sample> {
    let directory = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(directory);
    let mut paths: Vec<PathBuf> = fs::read_dir(&directory)
        .expect("the directory of samples")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    paths.sort();
    paths.iter().map(read).collect()
}

fn read(path: &PathBuf) -> Sample {
    let name = path.file_stem().expect("a file name").to_string_lossy().into_owned();
    let text = fs::read_to_string(path).expect("a sample is a readable file");
    let comment = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).map(|rest| rest.trim().to_owned());
    let refusal = comment("# path:").zip(comment("# says:")).map(|(path, says)| Refusal { path, says });
    let documents = serde_yaml::Deserializer::from_str(&text)
        .map(|document| Value::deserialize(document).unwrap_or_else(|error| panic!("{name} is not YAML: {error}")))
        .collect();
    Sample { name, refusal, documents }
}
