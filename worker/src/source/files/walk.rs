//! A pass over the files: which are read, from where, how far, and what is told of those that are not.
//!
//! Blocks, and so runs on a thread that may. Files are read in pieces of bounded size; a file is read to where it ended
//! when the pass came to it, so that one that always grows holds up no other.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use millrace_terms::{FileFormat, FilesSettings};

use super::super::{AcceptFileSnafu, Batch, FetchRecords, Fetched, Records, Unreadable};
use super::rows::{BEGINNING, Reading, Rows};
use super::tail::{Position, TAIL, Tail};
use crate::cursor::{Mark, Positions};
use crate::message::{FILE_HEADER, FILE_OFFSET_HEADER, Header};
use crate::rejection::excerpt;

/// Bytes of a piece; their JSON trees may take twenty times as much.
const PIECE: usize = 64 << 10;

/// Longest record, line break included: about what a Kafka topic takes.
const LONGEST: usize = 1 << 20;

/// What one step gave.
#[derive(Debug)]
pub(super) enum Step {
    /// Records, or at least a position.
    Records(Batch),
    /// All files are read to where they ended.
    PassEnded(Result<Batch, FetchRecords>),
}

/// The files of a source, and how far each has been read.
#[derive(Debug)]
pub(super) struct Walk {
    directory: PathBuf,
    /// Absolute.
    pattern: String,
    format: FileFormat,
    delimiter: u8,
    known: BTreeMap<String, Known>,
    /// Names of the files that this pass has yet to come to. Absent: between passes.
    pass: Option<VecDeque<String>>,
    open: Option<Open>,
    /// What is wrong with files, in words, of this pass.
    troubles: Vec<String>,
    /// Files that end in the middle of a record, of this pass.
    halves: Vec<String>,
}

/// What is known of a file.
#[derive(Debug, Default)]
struct Known {
    position: Position,
    /// How it looked when it had been read to its end, or was found unreadable. Absent: it has not been looked at.
    seen: Option<Look>,
    /// What is wrong with it since then.
    trouble: Option<String>,
    /// What it ends with since then.
    half: Option<String>,
}

/// By what a file that changes gives itself away.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Look {
    length: u64,
    modified: (i64, i64),
    inode: u64,
}

impl Look {
    fn of(metadata: &Metadata) -> Self {
        Self { length: metadata.len(), modified: (metadata.mtime(), metadata.mtime_nsec()), inode: metadata.ino() }
    }
}

/// A file that is being read.
#[derive(Debug)]
struct Open {
    name: String,
    file: File,
    look: Look,
    /// Where the next record begins.
    offset: u64,
    tail: Tail,
    /// Absent: its header is not whole yet.
    reading: Option<Reading>,
}

impl Walk {
    /// Begins where the positions say; the error says which is none.
    pub(super) fn new(settings: &FilesSettings, positions: Positions) -> Result<Self, String> {
        let FilesSettings { directory, path, format, delimiter, interval: _ } = settings;
        let mut known = BTreeMap::new();
        for (name, text) in positions {
            let position = text.parse().map_err(|error| {
                let text = excerpt(&text);
                format!(
                    "the cursor of '{name}' is '{text}', which is not a valid position: {error}; nothing is read until \
                     it is corrected"
                )
            })?;
            known.insert(name, Known { position, ..Known::default() });
        }
        let root = glob::Pattern::escape(&directory.to_string_lossy());
        Ok(Self {
            directory: directory.clone(),
            pattern: format!("{root}/{path}"),
            format: *format,
            // The settings are checked: it is ASCII.
            delimiter: u8::try_from(*delimiter).unwrap_or(b','),
            known,
            pass: None,
            open: None,
            troubles: Vec::new(),
            halves: Vec::new(),
        })
    }

    /// Returns whether the next step begins a pass.
    pub(super) fn is_between_passes(&self) -> bool {
        self.pass.is_none()
    }

    /// Reads on until there are records, or the pass has come to its end.
    pub(super) fn step(&mut self) -> Step {
        if self.pass.is_none() {
            match self.matching() {
                Ok(names) => self.pass = Some(names),
                Err(problem) => return Step::PassEnded(AcceptFileSnafu { problem }.fail()),
            }
        }
        loop {
            if let Some(mut open) = self.open.take() {
                match self.read(&mut open) {
                    Ok(Some(batch)) => {
                        self.open = Some(open);
                        return Step::Records(batch);
                    }
                    Ok(None) => self.close(open),
                    Err(trouble) => self.leave(&open.name, open.look, trouble),
                }
                continue;
            }
            let Some(name) = self.pass.as_mut().and_then(VecDeque::pop_front) else {
                self.pass = None;
                return Step::PassEnded(self.sum_up());
            };
            self.open = self.open(&name);
        }
    }

    /// Returns the names of the files that match, relative to the directory, in order.
    #[expect(clippy::disallowed_methods, reason = "called where blocking is allowed")]
    fn matching(&self) -> Result<VecDeque<String>, String> {
        if !self.directory.is_dir() {
            return Err(format!("there is no directory '{}'; is the volume mounted?", self.directory.display()));
        }
        let options = glob::MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: true,
        };
        let found = glob::glob_with(&self.pattern, options).map_err(|error| error.to_string())?;
        let name = |path: &Path| path.strip_prefix(&self.directory).ok()?.to_str().map(str::to_owned);
        // A directory that cannot be listed hides its files, and says so when a file in it cannot be read.
        let mut names: Vec<String> = found.flatten().filter_map(|path| name(&path)).collect();
        names.sort_unstable();
        Ok(names.into())
    }

    /// Opens a file if there is anything new about it.
    #[expect(clippy::disallowed_methods, reason = "called where blocking is allowed")]
    fn open(&mut self, name: &str) -> Option<Open> {
        let path = self.directory.join(name);
        let metadata = match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => metadata,
            // A directory, a pipe; or gone since it was listed.
            Ok(_) => return None,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => {
                self.troubles.push(unreadable(name, &error));
                return None;
            }
        };
        let look = Look::of(&metadata);
        let known = self.known.entry(name.to_owned()).or_default();
        if known.seen == Some(look) {
            self.troubles.extend(known.trouble.clone());
            self.halves.extend(known.half.clone());
            return None;
        }
        let position = known.position;
        match begin(&self.directory, name, look, position) {
            Ok(Some(open)) => Some(open),
            Ok(None) => None,
            Err(trouble) => {
                self.leave(name, look, trouble);
                None
            }
        }
    }

    /// Reads the next piece of a file; `None`: there is nothing more in it for this pass.
    fn read(&mut self, open: &mut Open) -> Result<Option<Batch>, String> {
        let unreadable = |error| unreadable(&open.name, &error);
        if open.reading.is_none() {
            let wanted = match self.format {
                FileFormat::JsonLines => BEGINNING,
                FileFormat::Csv => LONGEST,
            };
            let beginning = at(&open.file, 0, wanted.min(length(open.look.length))).map_err(unreadable)?;
            let begun = Reading::begin(self.format, self.delimiter, &beginning);
            match begun.map_err(|problem| format!("'{}' cannot be read: {problem}", open.name))? {
                Some((reading, begin)) => {
                    open.reading = Some(reading);
                    if open.offset < begin as u64 {
                        open.offset = begin as u64;
                        open.tail = Tail::default();
                        open.tail.push(&beginning[..begin]);
                    }
                }
                None if beginning.len() >= LONGEST => {
                    return Err(format!(
                        "'{}' cannot be read: its header does not end within {LONGEST} bytes",
                        open.name
                    ));
                }
                None => return Ok(None),
            }
        }
        let Some(reading) = &open.reading else { return Ok(None) };
        let left = length(open.look.length.saturating_sub(open.offset));
        let mut wanted = PIECE;
        loop {
            let piece = at(&open.file, open.offset, wanted.min(left).min(LONGEST))
                .map_err(|error| self::unreadable(&open.name, &error))?;
            let rows = reading.rows(&piece);
            if rows.read > 0 {
                return Ok(Some(take(open, &piece, rows)));
            }
            if piece.len() >= LONGEST {
                return too_long(open, &piece).map_err(|error| self::unreadable(&open.name, &error));
            }
            if piece.len() >= left || piece.len() < wanted {
                return Ok(None);
            }
            wanted *= 4;
        }
    }

    /// Notes that a file has been read to where it ended.
    fn close(&mut self, open: Open) {
        let Open { name, look, offset, tail, .. } = open;
        let half = (offset < look.length).then(|| {
            format!(
                "'{name}' ends in the middle of a record that begins at byte {offset}, which waits for its line break"
            )
        });
        self.halves.extend(half.clone());
        let known = Known { position: tail.position(offset), seen: Some(look), trouble: None, half };
        self.known.insert(name, known);
    }

    /// Notes that a file is not read on while it looks like this.
    fn leave(&mut self, name: &str, look: Look, trouble: String) {
        self.troubles.push(trouble.clone());
        let known = self.known.entry(name.to_owned()).or_default();
        (known.seen, known.trouble, known.half) = (Some(look), Some(trouble), None);
    }

    fn sum_up(&mut self) -> Result<Batch, FetchRecords> {
        let (troubles, halves) = (std::mem::take(&mut self.troubles), std::mem::take(&mut self.halves));
        if !troubles.is_empty() {
            return AcceptFileSnafu { problem: all_of(&troubles) }.fail();
        }
        Ok(Batch { note: all_of(&halves), ..Batch::default() })
    }
}

/// Most files that are named at once; how many more there are is said.
const NAMED: usize = 20;

/// Returns what is wrong with each file, in one text.
fn all_of(sentences: &[String]) -> String {
    let named = sentences.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join("; ");
    match sentences.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named}; and {more} more"),
    }
}

/// Opens a file at a position; `None`: it is gone. Refuses one that is not the file that was read so far.
#[expect(clippy::disallowed_methods, reason = "called where blocking is allowed")]
fn begin(directory: &Path, name: &str, look: Look, position: Position) -> Result<Option<Open>, String> {
    let file = match File::open(directory.join(name)) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(name, &error)),
    };
    let unreadable = |error: io::Error| unreadable(name, &error);
    // Asked of the open file: a link may lead elsewhere by now, to our own secrets for instance.
    let real = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).map_err(unreadable)?;
    if !real.starts_with(directory.canonicalize().map_err(unreadable)?) {
        return Err(format!("'{name}' is a link that leads out of the volume, and is not followed"));
    }
    let again = "give the new content a name of its own";
    if look.length < position.offset {
        let (length, offset) = (look.length, position.offset);
        return Err(format!(
            "'{name}' has shrunk to {length} bytes after {offset} were read, and is left alone; {again}"
        ));
    }
    let start = position.tail_start();
    let tail = at(&file, start, length(position.offset - start)).map_err(unreadable)?;
    if position.offset > 0 && !position.knows(&tail) {
        let offset = position.offset;
        return Err(format!("'{name}' was replaced after {offset} bytes were read, and is left alone; {again}"));
    }
    let tail = Tail::of(tail);
    Ok(Some(Open { name: name.to_owned(), file, look, offset: position.offset, tail, reading: None }))
}

/// Makes a batch of the whole records of a piece.
fn take(open: &mut Open, piece: &[u8], rows: Rows) -> Batch {
    let begin = open.offset;
    open.offset += rows.read as u64;
    open.tail.push(&piece[..rows.read]);
    let records = rows.records.into_iter().map(|(bytes, record)| {
        let headers = place(&open.name, begin + bytes.start as u64);
        match record {
            Ok(record) => Ok(Fetched { record, headers }),
            Err(problem) => Err(Unreadable::new(problem, &piece[bytes], headers)),
        }
    });
    Batch { records: Records::made(records), marks: vec![mark(open)], ..Batch::default() }
}

/// Begins to pass over a line that is longer than a record may be.
fn too_long(open: &mut Open, piece: &[u8]) -> io::Result<Option<Batch>> {
    // What is between here and the line break is never taken for a record of its own, also not after a restart: the
    // mark stays before it until its end is found.
    match piece.iter().position(|byte| *byte == b'\n') {
        // A row over several lines, whose quote is not closed: only the first line is given up.
        Some(end) => Ok(Some(passed_over(open, &piece[..=end], end as u64 + 1))),
        None => pass_over(open),
    }
}

/// Looks for the end of a line that is too long; `None`: it is not written yet.
fn pass_over(open: &mut Open) -> io::Result<Option<Batch>> {
    let from = open.offset;
    let mut position = from;
    while position < open.look.length {
        let piece = at(&open.file, position, PIECE)?;
        if piece.is_empty() {
            break;
        }
        match piece.iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                position += end as u64 + 1;
                let start = position.saturating_sub(TAIL as u64).max(from);
                let tail = at(&open.file, start, length(position - start))?;
                return Ok(Some(passed_over(open, &tail, position - from)));
            }
            None => position += piece.len() as u64,
        }
    }
    Ok(None)
}

/// Notes that a line of this length, which ends with the bytes of `tail`, was passed over.
fn passed_over(open: &mut Open, tail: &[u8], length: u64) -> Batch {
    let from = open.offset;
    open.offset += length;
    open.tail.push(tail);
    let problem = format!("no record ends within {LONGEST} bytes; a line of {length} bytes is passed over");
    let record = Err(Unreadable { length, ..Unreadable::new(problem, tail, place(&open.name, from)) });
    Batch { records: Records::made([record]), marks: vec![mark(open)], ..Batch::default() }
}

fn mark(open: &Open) -> Mark {
    Mark { part: open.name.clone(), position: open.tail.position(open.offset).text() }
}

fn place(name: &str, offset: u64) -> Vec<Header> {
    vec![Header::text(FILE_HEADER, name), Header::text(FILE_OFFSET_HEADER, offset.to_string())]
}

/// Reads up to `length` bytes from `offset` on; fewer only at the end of the file.
fn at(file: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let mut read = 0;
    while read < length {
        match file.read_at(&mut bytes[read..], offset + read as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(read);
    Ok(bytes)
}

fn length(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn unreadable(name: &str, error: &io::Error) -> String {
    format!("'{name}' cannot be read: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_files_are_named_and_the_others_counted() {
        let sentences = |count: usize| (0..count).map(|file| format!("file {file} is none")).collect::<Vec<_>>();
        assert_eq!(all_of(&sentences(2)), "file 0 is none; file 1 is none");
        let all = all_of(&sentences(NAMED));
        assert!(all.ends_with("; file 19 is none"), "{all}");
        assert!(all_of(&sentences(23)).ends_with("; file 19 is none; and 3 more"));
    }
}
