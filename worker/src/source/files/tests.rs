//! The source on a directory of this machine.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Mutex;

use futures::future::BoxFuture;
use millrace_terms::{Duration as Span, FileFormat};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::cursor::Positions;
use crate::source::place;

/// Positions, or why they cannot be read.
#[derive(Default)]
struct Kept(Mutex<VecOfAnswers>);

type VecOfAnswers = Vec<Result<Positions, String>>;

impl ReadMarks for Kept {
    fn read(&self, _: &str) -> BoxFuture<'static, Result<Positions, String>> {
        let answer = self.0.lock().expect("nobody panics").pop().unwrap_or_else(|| Ok(Positions::new()));
        Box::pin(std::future::ready(answer))
    }
}

struct Volume(TempDir);

/// What one pass gave.
#[derive(Debug, Default, PartialEq)]
struct Pass {
    records: Vec<Result<Value, String>>,
    positions: Positions,
    /// The note, or the trouble, at its end.
    said: String,
}

impl Volume {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("it is in a directory")).expect("a directory");
        fs::write(path, text).expect("it can be written");
    }

    fn append(&self, name: &str, text: &str) {
        let file = fs::OpenOptions::new().append(true).open(self.path(name));
        file.and_then(|mut file| file.write_all(text.as_bytes())).expect("it can be written");
    }

    fn source(&self, path: &str, format: FileFormat, answers: VecOfAnswers) -> FilesSource {
        let settings = FilesSettings {
            directory: self.0.path().to_owned(),
            path: path.to_owned(),
            format,
            delimiter: ',',
            interval: Span::from_millis(1),
        };
        FilesSource::new("exports", &settings, Arc::new(Kept(Mutex::new(answers))))
    }

    fn lines(&self, positions: Positions) -> FilesSource {
        self.source("**/*.jsonl", FileFormat::JsonLines, vec![Ok(positions)])
    }
}

async fn pass(source: &mut FilesSource) -> Pass {
    let mut pass = Pass::default();
    loop {
        match source.next().await {
            Ok(batch) if batch.marks.is_empty() => {
                pass.said = batch.note;
                return pass;
            }
            Ok(batch) => {
                pass.positions.extend(batch.marks.into_iter().map(|mark| (mark.part, mark.position)));
                pass.records.extend(batch.records.map(|record| {
                    record
                        .map(|record| serde_json::from_str(record.record.get()).expect("JSON"))
                        .map_err(|record| format!("{}: {}", place(&record.headers), record.problem))
                }));
            }
            Err(error) => {
                pass.said = format!("{}: {error}", error.outcome());
                return pass;
            }
        }
    }
}

fn values(values: impl IntoIterator<Item = Value>) -> Vec<Result<Value, String>> {
    values.into_iter().map(Ok).collect()
}

#[tokio::test]
async fn reads_files_in_the_order_of_their_names_and_then_what_is_new() {
    let volume = Volume::new();
    volume.write("b.jsonl", "2\n");
    volume.write("a/z.jsonl", "1\n");
    volume.write("b.json", "0\n");
    volume.write(".hidden.jsonl", "0\n");
    let mut source = volume.lines(Positions::new());
    assert_eq!(pass(&mut source).await.records, values([json!(1), json!(2)]));
    assert_eq!(pass(&mut source).await, Pass::default());
    volume.append("b.jsonl", "3\n4\n");
    volume.write("a/y.jsonl", "5\n");
    assert_eq!(pass(&mut source).await.records, values([json!(5), json!(3), json!(4)]));
}

#[tokio::test]
async fn records_say_where_they_stood() {
    let volume = Volume::new();
    volume.write("a.jsonl", "{}\n\n{}\n");
    let batch = volume.lines(Positions::new()).next().await.expect("records");
    let places: Vec<String> = batch.records.map(|record| place(&record.expect("a record").headers)).collect();
    assert_eq!(places, ["file=a.jsonl file-offset=0", "file=a.jsonl file-offset=4"]);
}

#[tokio::test]
async fn a_half_written_line_waits_for_its_line_break_and_is_told_of() {
    let volume = Volume::new();
    volume.write("a.jsonl", "1\n{\"id\":");
    let mut source = volume.lines(Positions::new());
    let first = pass(&mut source).await;
    assert_eq!(first.records, values([json!(1)]));
    let waits = "'a.jsonl' ends in the middle of a record that begins at byte 2, which waits for its line break";
    assert_eq!(first.said, waits);
    assert_eq!(pass(&mut source).await.said, waits);
    volume.append("a.jsonl", "7}\n");
    let then = pass(&mut source).await;
    assert_eq!((then.records, then.said), (values([json!({"id": 7})]), String::new()));
}

#[tokio::test]
async fn goes_on_where_it_was_after_a_restart() {
    let volume = Volume::new();
    volume.write("a.jsonl", &"1\n".repeat(50_000));
    let before = pass(&mut volume.lines(Positions::new())).await;
    assert_eq!(before.records.len(), 50_000);
    volume.append("a.jsonl", "2\n");
    assert_eq!(pass(&mut volume.lines(before.positions)).await.records, values([json!(2)]));
}

#[tokio::test]
async fn a_file_that_was_replaced_or_cut_is_told_of_and_left_alone() {
    let volume = Volume::new();
    for name in ["a", "b", "c"] {
        volume.write(&format!("{name}.jsonl"), "1\n2\n");
    }
    let mut source = volume.lines(Positions::new());
    let kept = pass(&mut source).await.positions;
    volume.write("a.jsonl", "3\n4\n5\n");
    volume.write("b.jsonl", "1\n");
    volume.append("c.jsonl", "6\n");
    let told = "BadFile: 'a.jsonl' was replaced after 4 bytes were read, and is left alone; give the new content a name \
                of its own; 'b.jsonl' has shrunk to 2 bytes after 4 were read, and is left alone; give the new content a \
                name of its own";
    for source in [&mut source, &mut volume.lines(kept)] {
        let after = pass(source).await;
        assert_eq!((after.records, after.said.as_str()), (values([json!(6)]), told));
        // Until somebody changes something.
        assert_eq!(pass(source).await.said, told);
    }
    volume.write("a.jsonl", "1\n2\n7\n");
    volume.write("b.jsonl", "1\n2\n");
    let after = pass(&mut source).await;
    assert_eq!((after.records, after.said), (values([json!(7)]), String::new()));
}

#[tokio::test]
async fn a_link_out_of_the_volume_is_not_followed() {
    let (volume, outside) = (Volume::new(), Volume::new());
    outside.write("secret.jsonl", "1\n");
    volume.write("in/real.jsonl", "2\n");
    std::os::unix::fs::symlink(outside.path("secret.jsonl"), volume.path("a.jsonl")).expect("a link");
    std::os::unix::fs::symlink(volume.path("in/real.jsonl"), volume.path("b.jsonl")).expect("a link");
    let pass = pass(&mut volume.source("*.jsonl", FileFormat::JsonLines, Vec::new())).await;
    assert_eq!(pass.records, values([json!(2)]));
    assert_eq!(pass.said, "BadFile: 'a.jsonl' is a link that leads out of the volume, and is not followed");
}

#[tokio::test]
async fn a_line_that_is_too_long_is_told_of_and_hides_none_behind_it() {
    let volume = Volume::new();
    let long = "x".repeat(3 << 20);
    volume.write("a.jsonl", &format!("1\n{long}"));
    let mut source = volume.lines(Positions::new());
    let first = pass(&mut source).await;
    assert_eq!(first.records, values([json!(1)]));
    volume.append("a.jsonl", "\n2\n");
    let then = pass(&mut source).await;
    let length = long.len() + 1;
    let problem = format!(
        "file=a.jsonl file-offset=2: no record ends within 1048576 bytes; a line of {length} bytes is passed over"
    );
    assert_eq!(then.records, [Err(problem), Ok(json!(2))]);
    // Also from before it: the part of it that is read last is no record of its own.
    assert_eq!(pass(&mut volume.lines(first.positions)).await, then);
    volume.append("a.jsonl", "3\n");
    assert_eq!(pass(&mut volume.lines(then.positions)).await.records, values([json!(3)]));
}

#[tokio::test]
async fn a_quote_that_is_never_closed_costs_one_line() {
    let volume = Volume::new();
    let row = format!("2,{}\n", "b".repeat(1_000));
    volume.write("a.csv", &format!("id,text\n1,\"open\n{}", row.repeat(2_000)));
    let pass = pass(&mut volume.source("*.csv", FileFormat::Csv, Vec::new())).await;
    assert_eq!(pass.records.len(), 2_001);
    assert!(
        pass.records[0].as_ref().is_err_and(|told| told.contains("a line of 8 bytes is passed over")),
        "{:?}",
        pass.records[0]
    );
    assert_eq!(pass.records[1], Ok(json!({"id": "2", "text": "b".repeat(1_000)})));
}

#[tokio::test]
async fn rows_of_csv_are_named_by_each_files_header_also_after_a_restart() {
    let volume = Volume::new();
    volume.write("a.csv", "id,name\n1,x\n");
    volume.write("b.csv", "name,id\ny,2\n");
    volume.write("c.csv", "id,id\n3,3\n");
    let first = pass(&mut volume.source("*.csv", FileFormat::Csv, Vec::new())).await;
    assert_eq!(first.records, values([json!({"id": "1", "name": "x"}), json!({"id": "2", "name": "y"})]));
    assert_eq!(first.said, "BadFile: 'c.csv' cannot be read: its header names 'id' twice");
    volume.append("b.csv", "z,4\n");
    let then = pass(&mut volume.source("*.csv", FileFormat::Csv, vec![Ok(first.positions)])).await;
    assert_eq!(then.records, values([json!({"id": "4", "name": "z"})]));
}

#[tokio::test]
async fn nothing_is_read_until_the_cursors_are_known() {
    let volume = Volume::new();
    volume.write("a.jsonl", "1\n");
    let kept = pass(&mut volume.lines(Positions::new())).await.positions;
    let answers = vec![Ok(kept), Err("kafka is away".to_owned())];
    let mut source = volume.source("*.jsonl", FileFormat::JsonLines, answers);
    assert_eq!(pass(&mut source).await.said, "Unavailable: kafka is away");
    volume.append("a.jsonl", "2\n");
    assert_eq!(pass(&mut source).await.records, values([json!(2)]));

    let broken: Positions = BTreeMap::from([("a.jsonl".to_owned(), "seven".to_owned())]);
    let said = pass(&mut volume.lines(broken)).await.said;
    assert!(said.starts_with("BadFile: the cursor of 'a.jsonl' is 'seven', which is not a valid position: "), "{said}");
}

#[tokio::test]
async fn a_volume_that_is_not_there_is_told_of() {
    let volume = Volume::new();
    let mut source = volume.lines(Positions::new());
    let directory = volume.0.path().to_owned();
    drop(volume);
    let wanted = format!("BadFile: there is no directory '{}'; is the volume mounted?", directory.display());
    assert_eq!(pass(&mut source).await.said, wanted);
}
