//! What was read → the bytes of a zip file: every text and object without its secrets, bounded in size, and an index that
//! says what is in it and what is not. Pure.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::{Cursor, Write as _};

use serde_json::Value;
use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::{mask, text};

/// Most bytes of a file.
pub(super) const MAX_FILE: usize = 2 << 20;
/// Most bytes of a log: its end is kept.
pub(super) const MAX_LOG: usize = 512 << 10;
/// Most bytes of all files together, before they are compressed.
pub(super) const MAX_ALL: usize = 64 << 20;

/// Name of the index.
const INDEX: &str = "README.txt";

/// A file of the archive.
struct File {
    about: String,
    text: String,
    /// Whether something of it was left out.
    is_cut: bool,
}

/// What the index begins with.
pub(super) struct Head {
    /// Namespace and name of the pipeline.
    pub(super) pipeline: String,
    /// When it was read, as RFC 3339.
    pub(super) at: String,
    /// Lines of each log that were asked for.
    pub(super) lines: u32,
}

/// Files that are being collected. Whatever goes in is masked here.
pub(super) struct Archive {
    files: BTreeMap<String, File>,
    empty: Vec<String>,
    unread: Vec<String>,
    left: usize,
}

impl Archive {
    pub(super) fn new() -> Self {
        Self { files: BTreeMap::new(), empty: Vec::new(), unread: Vec::new(), left: MAX_ALL }
    }

    /// Adds objects as one file of YAML documents.
    pub(super) fn add_objects(&mut self, path: &str, about: &str, objects: Vec<Value>) {
        if objects.is_empty() {
            self.empty.push(about.to_owned());
            return;
        }
        let mut text = String::new();
        for object in objects {
            match serde_yaml::to_string(&mask::masked(object)) {
                Ok(document) => {
                    text.push_str("---\n");
                    text.push_str(&document);
                }
                Err(error) => self.leave_out(path, &error.to_string()),
            }
        }
        self.add_masked(path, about, text, MAX_FILE, true);
    }

    /// Adds a text.
    pub(super) fn add_text(&mut self, path: &str, about: &str, text: &str) {
        self.add_masked(path, about, text::masked(text), MAX_FILE, true);
    }

    /// Adds a log, of which the end matters.
    pub(super) fn add_log(&mut self, path: &str, about: &str, text: &str) {
        if !text.is_empty() {
            self.add_masked(path, about, text::masked(text), MAX_LOG, false);
        }
    }

    /// Notes what is not in it, and why.
    pub(super) fn leave_out(&mut self, what: &str, why: &str) {
        self.unread.push(format!("{what}: {}", text::masked(why)));
    }

    /// Returns what is not in it, each with the reason.
    pub(super) fn unread(&self) -> &[String] {
        &self.unread
    }

    /// Returns how many files there are, the index included.
    pub(super) fn count(&self) -> usize {
        self.files.len() + 1
    }

    fn add_masked(&mut self, path: &str, about: &str, text: String, most: usize, is_beginning_kept: bool) {
        let is_cut = text.len() > most;
        let text = match (is_cut, is_beginning_kept) {
            (false, _) => text,
            (true, true) => beginning(&text, most).to_owned(),
            (true, false) => end(&text, most).to_owned(),
        };
        match self.left.checked_sub(text.len()) {
            Some(left) => {
                self.left = left;
                self.files.insert(path.to_owned(), File { about: about.to_owned(), text, is_cut });
            }
            None => self.leave_out(path, "the report would be larger than its bound"),
        }
    }

    /// Packs all, the index first.
    pub(super) fn packed(&self, head: &Head) -> Result<Vec<u8>, ZipError> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        let index = self.index(head);
        let files = self.files.iter().map(|(path, file)| (path.as_str(), file.text.as_str()));
        for (path, text) in std::iter::once((INDEX, index.as_str())).chain(files) {
            writer.start_file(path, options)?;
            writer.write_all(text.as_bytes()).map_err(ZipError::Io)?;
        }
        Ok(writer.finish()?.into_inner())
    }

    fn index(&self, head: &Head) -> String {
        let Head { pipeline, at, lines } = head;
        let mut text = format!(
            "Report on pipeline {pipeline}, read at {at} by millrace {}.\n\n\
             Secrets: no Secret was read. Values of environment variables and headers, user information and queries of URLs, \
             queries and bodies of requests, last-applied-configuration, values of keys that are called after secrets, and \
             what looks like a credential in a text are replaced by {}. Logs and messages may still hold data of yours, or a \
             secret that has the form of none: look through them before you send this on.\n\n\
             Bounds: {lines} lines and {} KiB of each log, of which the end is kept; {} KiB of each other file; {} MiB in all.\n\n\
             Files:\n",
            env!("CARGO_PKG_VERSION"),
            text::MASKED,
            MAX_LOG >> 10,
            MAX_FILE >> 10,
            MAX_ALL >> 20,
        );
        for (path, File { about, text: content, is_cut }) in &self.files {
            let cut = if *is_cut { ", cut at its bound" } else { "" };
            let _ = writeln!(text, "  {path}: {about} ({} bytes{cut})", content.len());
        }
        for (title, listed) in [("There are none of these", &self.empty), ("Not in this report", &self.unread)] {
            if !listed.is_empty() {
                let _ = writeln!(text, "\n{title}:");
            }
            for line in listed {
                let _ = writeln!(text, "  {line}");
            }
        }
        text
    }
}

/// Returns whole lines from the beginning, at most so many bytes.
fn beginning(text: &str, most: usize) -> &str {
    let mut until = most;
    while !text.is_char_boundary(until) {
        until -= 1;
    }
    let whole = &text[..until];
    whole.rfind('\n').map_or(whole, |line| &whole[..=line])
}

/// Returns whole lines up to the end, at most so many bytes.
fn end(text: &str, most: usize) -> &str {
    let mut from = text.len() - most;
    while !text.is_char_boundary(from) {
        from += 1;
    }
    let whole = &text[from..];
    whole.find('\n').map_or(whole, |line| &whole[line + 1..])
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use serde_json::json;
    use zip::ZipArchive;

    use super::*;

    fn head() -> Head {
        Head { pipeline: "shop/users".to_owned(), at: "2026-01-01T00:00:00Z".to_owned(), lines: 1_000 }
    }

    /// Unpacks an archive: each file's name and text, in order.
    fn unpacked(archive: &Archive) -> Vec<(String, String)> {
        let packed = archive.packed(&head()).expect("an archive");
        let mut opened = ZipArchive::new(Cursor::new(packed)).expect("it opens");
        let mut files = Vec::new();
        for index in 0..opened.len() {
            let mut file = opened.by_index(index).expect("a file");
            let name = file.name().expect("a name").into_owned();
            let mut text = String::new();
            file.read_to_string(&mut text).expect("a text");
            files.push((name, text));
        }
        files
    }

    #[test]
    fn no_planted_secret_is_in_any_file() {
        let planted = "hunter2hunter2";
        let mut archive = Archive::new();
        let env = json!([{"name": "GREETING", "value": planted}]);
        archive.add_objects("objects/pods.yaml", "pods", vec![json!({"kind": "Pod", "spec": {"env": env}})]);
        archive.add_text("status.txt", "status", &format!("GET https://a:{planted}@b/ answers 401"));
        archive.add_log("logs/a.log", "a log", &format!("Authorization: Bearer {planted}\nstarted\n"));
        archive.leave_out("metrics of pod 'a'", &format!("cannot reach https://a:{planted}@b/"));
        let files = unpacked(&archive);
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["README.txt", "logs/a.log", "objects/pods.yaml", "status.txt"]);
        assert!(files.iter().all(|(name, text)| !name.contains(planted) && !text.contains(planted)), "{files:?}");
        // Control: everything else is there, and the search finds what is.
        for kept in ["GREETING", "answers 401", "started", "cannot reach https://<masked>@b/"] {
            assert!(files.iter().any(|(_, text)| text.contains(kept)), "{kept}: {files:?}");
        }
    }

    #[test]
    fn every_file_and_the_whole_are_bounded() {
        let mut archive = Archive::new();
        let line = "a line of a log\n";
        archive.add_log("logs/long.log", "a log", &format!("first\n{}last\n", line.repeat(MAX_LOG / line.len() + 1)));
        archive.add_text("long.txt", "a text", &format!("first\n{}last\n", line.repeat(MAX_FILE / line.len() + 1)));
        let files: BTreeMap<String, String> = unpacked(&archive).into_iter().collect();
        let (log, long) = (&files["logs/long.log"], &files["long.txt"]);
        assert!(log.len() <= MAX_LOG && log.starts_with(line) && log.ends_with("last\n"));
        assert!(long.len() <= MAX_FILE && long.starts_with("first\n") && long.ends_with(line));
        assert_eq!(files["README.txt"].matches("cut at its bound").count(), 2, "{}", files["README.txt"]);

        archive.left = 10;
        archive.add_text("more.txt", "more", "more than ten bytes");
        let files: BTreeMap<String, String> = unpacked(&archive).into_iter().collect();
        assert!(!files.contains_key("more.txt"));
        assert!(files["README.txt"].contains("more.txt: the report would be larger than its bound"));
        // Control: what fits is taken.
        archive.add_text("less.txt", "less", "fits");
        assert!(unpacked(&archive).iter().any(|(name, _)| name == "less.txt"));
    }

    #[test]
    fn texts_are_cut_between_lines_and_never_within_a_sign() {
        assert_eq!((beginning("ä\nbcd", 4), end("ab\ncä", 4)), ("ä\n", "cä"));
        assert_eq!((beginning("ääää", 3), end("ääää", 3)), ("ä", "ä"));
    }

    #[test]
    fn the_index_says_what_is_not_there() {
        let mut archive = Archive::new();
        archive.add_objects("objects/jobs.yaml", "Jobs", Vec::new());
        archive.leave_out("nodes", "cannot list nodes: forbidden");
        let index = &unpacked(&archive)[0].1;
        assert!(
            index.starts_with("Report on pipeline shop/users, read at 2026-01-01T00:00:00Z by millrace "),
            "{index}"
        );
        assert!(index.contains("There are none of these:\n  Jobs\n"), "{index}");
        assert!(index.contains("Not in this report:\n  nodes: cannot list nodes: forbidden\n"), "{index}");
        assert!(index.contains("1000 lines and 512 KiB of each log"), "{index}");
    }
}
