//! Bytes of a file → records: which are whole, and what is in them. Pure.
//!
//! Pieces begin where a record begins. What is behind the last line break is left for later, since it may be half
//! written. A record that is none is an error in its place and hides none behind it.

use std::ops::Range;

use millrace_expressions::json::append_string;
use millrace_terms::FileFormat;
use serde_json::value::RawValue;

use super::super::Fetched;
use crate::text::BYTE_ORDER_MARK;

/// The bytes of a piece that a record takes, and the record.
pub(super) type Row = (Range<usize>, Result<Box<RawValue>, String>);

/// The records of a piece, and how many of its bytes are done with.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) records: Vec<Row>,
    pub(super) read: usize,
}

/// How much of the beginning of a file says whether it is a JSON array.
pub(super) const BEGINNING: usize = 4 << 10;

/// How the bytes of a file are read.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Reading {
    /// One JSON value a line.
    JsonLines,
    /// Rows of fields of these names.
    Csv { names: Vec<String>, delimiter: u8 },
}

/// Why a file cannot be read at all.
pub(super) type BadBeginning = String;

impl Reading {
    /// Finds out from the beginning of a file how it is read, and where its records begin; `None`: the header is not
    /// whole yet.
    pub(super) fn begin(
        format: FileFormat,
        delimiter: u8,
        beginning: &[u8],
    ) -> Result<Option<(Self, usize)>, BadBeginning> {
        match format {
            FileFormat::JsonLines => {
                let mark = if beginning.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
                if is_array(&beginning[mark..]) {
                    return Err("it is one JSON array, and not a JSON value a line".to_owned());
                }
                Ok(Some((Self::JsonLines, mark)))
            }
            FileFormat::Csv => {
                let Some(header) = CsvRows::new(delimiter, beginning).next() else { return Ok(None) };
                Ok(Some((Self::Csv { names: names(&header)?, delimiter }, header.end)))
            }
        }
    }

    /// Reads the whole records of a piece.
    pub(super) fn rows(&self, piece: &[u8]) -> Rows {
        match self {
            Self::JsonLines => json_lines(piece),
            Self::Csv { names, delimiter } => csv(names, *delimiter, piece),
        }
    }
}

/// Returns whether the first line is the beginning of an array that goes on in the next.
fn is_array(beginning: &[u8]) -> bool {
    let beginning = beginning.trim_ascii_start();
    let Some(end) = beginning.iter().position(|byte| *byte == b'\n') else { return false };
    let first = serde_json::from_slice::<&RawValue>(&beginning[..end]);
    beginning.starts_with(b"[") && first.is_err_and(|error| error.is_eof())
}

fn json_lines(piece: &[u8]) -> Rows {
    let mut rows = Rows::default();
    while let Some(length) = piece[rows.read..].iter().position(|byte| *byte == b'\n') {
        let line = &piece[rows.read..rows.read + length];
        if !line.trim_ascii().is_empty() {
            let text = std::str::from_utf8(line).map_err(|_| "it is not UTF-8".to_owned());
            rows.records.push((rows.read..rows.read + length, text.and_then(Fetched::read)));
        }
        rows.read += length + 1;
    }
    rows
}

fn csv(names: &[String], delimiter: u8, piece: &[u8]) -> Rows {
    let mut rows = Rows::default();
    for row in CsvRows::new(delimiter, piece) {
        rows.read = row.end;
        rows.records.push((row.start..row.end, object(names, &row)));
    }
    // Empty lines at the end are no half-written row.
    if piece[rows.read..].iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
        rows.read = piece.len();
    }
    rows
}

fn object(names: &[String], row: &CsvRow) -> Result<Box<RawValue>, String> {
    if row.fields.len() != names.len() {
        return Err(format!("the row has {} fields, the header names {}", row.fields.len(), names.len()));
    }
    let mut json = Vec::with_capacity(row.text.len() * 2);
    for (number, (name, span)) in (1..).zip(names.iter().zip(&row.fields)) {
        let called = if name.is_empty() { &name_by_place(number) } else { name };
        let text = std::str::from_utf8(&row.text[span.clone()]);
        let text = text.map_err(|_| format!("field '{called}' is not UTF-8"))?;
        if name.is_empty() && text.is_empty() {
            continue;
        }
        json.push(if json.is_empty() { b'{' } else { b',' });
        append_string(called, &mut json);
        json.push(b':');
        append_string(text, &mut json);
    }
    if json.is_empty() {
        json.push(b'{');
    }
    json.push(b'}');
    Fetched::read(&String::from_utf8(json).expect("it is made of texts"))
}

/// Returns how a field without a name is called, counted from 1.
fn name_by_place(number: usize) -> String {
    format!("column{number}")
}

/// Reads the names of the fields. One may have none, as the index has that some programs write; it is called by its
/// place, `column1` for the first, and left out of records where it is empty.
fn names(header: &CsvRow) -> Result<Vec<String>, BadBeginning> {
    let mut names: Vec<String> = Vec::with_capacity(header.fields.len());
    for (number, span) in (1..).zip(&header.fields) {
        let name = std::str::from_utf8(&header.text[span.clone()])
            .map_err(|_| format!("the name of field {number} in its header is not UTF-8"))?;
        if !name.is_empty() && names.iter().any(|other| other == name) {
            return Err(format!("its header names '{}' twice", crate::rejection::excerpt(name)));
        }
        names.push(name.to_owned());
    }
    for number in (1..).zip(&names).filter(|(_, name)| name.is_empty()).map(|(number, _)| number) {
        let name = name_by_place(number);
        if names.contains(&name) {
            return Err(format!(
                "its field {number} has no name, and another one has the name '{name}' that it would get"
            ));
        }
    }
    if names.iter().all(String::is_empty) {
        return Err("its header names no field".to_owned());
    }
    Ok(names)
}

/// A whole row.
struct CsvRow {
    /// Where it begins in the piece.
    start: usize,
    /// Where the next one begins, or line breaks before it.
    end: usize,
    /// Its fields, without quotes, one behind the other.
    text: Vec<u8>,
    fields: Vec<Range<usize>>,
}

/// The whole rows of a piece.
struct CsvRows<'piece> {
    reader: csv_core::Reader,
    piece: &'piece [u8],
    position: usize,
}

impl<'piece> CsvRows<'piece> {
    fn new(delimiter: u8, piece: &'piece [u8]) -> Self {
        Self { reader: csv_core::ReaderBuilder::new().delimiter(delimiter).build(), piece, position: 0 }
    }
}

impl Iterator for CsvRows<'_> {
    type Item = CsvRow;

    fn next(&mut self) -> Option<CsvRow> {
        let breaks = self.piece[self.position..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let start = self.position + breaks;
        let (mut text, mut ends) = (vec![0; 512], vec![0; 32]);
        let (mut written, mut fields) = (0, 0);
        // Never called with nothing: that would tell it of the end of the file, and end a row that is half written.
        while self.position < self.piece.len() {
            let (result, read, wrote, ended) =
                self.reader.read_record(&self.piece[self.position..], &mut text[written..], &mut ends[fields..]);
            self.position += read;
            written += wrote;
            fields += ended;
            match result {
                csv_core::ReadRecordResult::OutputFull => text.resize(text.len() * 2, 0),
                csv_core::ReadRecordResult::OutputEndsFull => ends.resize(ends.len() * 2, 0),
                csv_core::ReadRecordResult::Record => {
                    text.truncate(written);
                    let starts = std::iter::once(0).chain(ends.iter().copied());
                    let fields = starts.zip(ends.iter().copied()).take(fields).map(|(from, to)| from..to).collect();
                    return Some(CsvRow { start, end: self.position, text, fields });
                }
                csv_core::ReadRecordResult::InputEmpty | csv_core::ReadRecordResult::End => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use millrace_fuzz::{Corpus, feed};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn begin_csv(text: &str) -> Result<Option<(Reading, usize)>, BadBeginning> {
        Reading::begin(FileFormat::Csv, b',', text.as_bytes())
    }

    /// Where each row ends, and what it is.
    type Rows = Vec<(usize, Result<Value, String>)>;

    fn values(rows: super::Rows, begin: usize) -> Rows {
        let value = |json: Box<RawValue>| serde_json::from_str(json.get()).expect("JSON");
        rows.records.into_iter().map(|(bytes, record)| (bytes.start + begin, record.map(value))).collect()
    }

    fn csv_records(text: &str) -> (Rows, usize) {
        let (reading, begin) = begin_csv(text).expect("a good header").expect("a whole header");
        let rows = reading.rows(&text.as_bytes()[begin..]);
        let read = rows.read + begin;
        (values(rows, begin), read)
    }

    #[test]
    fn lines_are_records_and_the_last_one_waits_for_its_line_break() {
        let text = "{\"a\":1}\r\n\n \nnull\n{\"a\":\n{\"b\":2}\n{\"half\":";
        let rows = Reading::JsonLines.rows(text.as_bytes());
        let read = rows.read;
        let records: Vec<(usize, Option<Value>)> =
            values(rows, 0).into_iter().map(|(at, record)| (at, record.ok())).collect();
        assert_eq!(
            records,
            [(0, Some(json!({"a": 1}))), (12, Some(json!(null))), (17, None), (23, Some(json!({"b": 2})))]
        );
        assert_eq!(read, text.find("{\"half").expect("it is there"));
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_record() {
        let beginning = [BYTE_ORDER_MARK, b"{}\n"].concat();
        assert_eq!(Reading::begin(FileFormat::JsonLines, b',', &beginning), Ok(Some((Reading::JsonLines, 3))));
        let beginning = [BYTE_ORDER_MARK, b"a,b\n"].concat();
        let (reading, begin) =
            Reading::begin(FileFormat::Csv, b',', &beginning).expect("a good header").expect("a whole one");
        assert_eq!(begin, beginning.len());
        assert_eq!(reading, Reading::Csv { names: vec!["a".to_owned(), "b".to_owned()], delimiter: b',' });
    }

    #[test]
    fn rows_are_objects_of_texts_named_by_the_header() {
        let (records, read) = csv_records("id,name\r\n1,\"Liège, \"\"home\"\"\nof 3\"\r\n2,\r\n\r\n3,x");
        assert_eq!(
            records,
            [(9, Ok(json!({"id": "1", "name": "Liège, \"home\"\nof 3"}))), (36, Ok(json!({"id": "2", "name": ""})))]
        );
        assert!(read < "id,name\r\n1,\"Liège, \"\"home\"\"\nof 3\"\r\n2,\r\n\r\n3,x".len());
    }

    #[test]
    fn a_row_of_another_width_is_no_record_and_hides_none() {
        let (records, _) = csv_records("id,name\n1\n2,b\n3,c,d\n");
        let problem = |fields| Err(format!("the row has {fields} fields, the header names 2"));
        assert_eq!(records, [(8, problem(1)), (10, Ok(json!({"id": "2", "name": "b"}))), (14, problem(3))]);
    }

    #[test]
    fn an_open_quote_waits_for_its_end() {
        let (records, read) = csv_records("id,name\n1,\"a\nb\n2,c\n");
        assert_eq!((records, read), (Vec::new(), 8));
    }

    #[test]
    fn headers_that_cannot_name_fields_are_refused() {
        assert_eq!(begin_csv(",,\n").expect_err("no name"), "its header names no field");
        let taken = "its field 1 has no name, and another one has the name 'column1' that it would get";
        assert_eq!(begin_csv(",column1\n").expect_err("a name that is taken"), taken);
        assert_eq!(begin_csv("a,b,a\n").expect_err("a name twice"), "its header names 'a' twice");
        assert_eq!(begin_csv("a,b"), Ok(None));
    }

    #[test]
    fn fields_without_a_name_are_called_by_their_place_and_left_out_where_they_are_empty() {
        let (records, _) = csv_records(",id,s,\n0,1,a,\n1,2,b,c\n");
        let expected = [
            json!({"column1": "0", "id": "1", "s": "a"}),
            json!({"column1": "1", "id": "2", "s": "b", "column4": "c"}),
        ];
        assert_eq!(records.into_iter().map(|(_, record)| record).collect::<Vec<_>>(), expected.map(Ok));
    }

    #[test]
    fn an_array_over_several_lines_is_no_file_of_lines() {
        let begin = |text: &str| Reading::begin(FileFormat::JsonLines, b',', text.as_bytes());
        for array in ["[\n{\"a\":1},\n{\"a\":2}\n]\n", " [ {\"a\":1},\n{\"a\":2}]\n"] {
            assert_eq!(begin(array).expect_err(array), "it is one JSON array, and not a JSON value a line");
        }
        for lines in ["[1,2]\n[3]\n", "{\"a\":[\n", "[\"half", "[1,]\n", "\n"] {
            assert!(begin(lines).is_ok(), "{lines}");
        }
    }

    #[test]
    fn empty_lines_at_the_end_are_done_with() {
        let (records, read) = csv_records("a\n1\n\n\r\n");
        assert_eq!((records.len(), read), (1, 7));
    }

    /// Whatever stands in a file: records lie one behind the other, and within what is done with.
    #[test]
    fn no_file_breaks_its_reader() {
        let inputs: &[&[u8]] = &[
            b"id,name\r\n1,\"Li\xc3\xa8ge, \"\"home\"\"\nof 3\"\r\n2,\r\n\r\n3,x\n",
            b"\xef\xbb\xbf,id\tname,\n0,1\ta,\n1,2\tb,c\n",
            b"{\"a\":1}\r\n\n \nnull\n{\"a\":\n{\"b\":[2]}\n{\"half\":",
            b"[\n{\"a\":1},\n{\"a\":2}\n]\n",
        ];
        let words = &[",", "\t", "\"", "\"\"", "\n", "\r", "\r\n", "\u{feff}", "{", "[", "null", "\u{0}", "column1"];
        let corpus = Corpus { inputs, words, longest: 16 << 10 };
        let formats = [(FileFormat::Csv, b','), (FileFormat::Csv, b'\t'), (FileFormat::JsonLines, b',')];
        feed("files of CSV and NDJSON", corpus, |input| {
            for (format, delimiter) in formats {
                let beginning = &input[..input.len().min(BEGINNING)];
                let Ok(Some((reading, begin))) = Reading::begin(format, delimiter, beginning) else { continue };
                let rows = reading.rows(&input[begin..]);
                assert!(begin + rows.read <= input.len());
                let mut behind = 0;
                for (bytes, _) in &rows.records {
                    assert!(behind <= bytes.start && bytes.start <= bytes.end && bytes.end <= rows.read);
                    behind = bytes.end;
                }
            }
        });
    }

    proptest! {
        /// Wherever the writer had come when we looked, the same records are read, each once.
        #[test]
        fn reading_in_pieces_gives_what_reading_at_once_gives(
            rows in prop::collection::vec(("[a-z\",\n]{0,8}", "[a-zé]{0,6}"), 1..12),
            looks in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
            let mut text = "k,v\r\n".to_owned();
            text.extend(rows.iter().map(|(k, v)| format!("{},{v}\r\n", quoted(k))));
            let bytes = text.as_bytes();
            let (reading, begin) = begin_csv(&text).expect("a good header").expect("a whole header");
            let mut looks: Vec<usize> = looks.iter().map(|look| look.index(bytes.len())).collect();
            looks.push(bytes.len());
            looks.sort_unstable();
            let (mut position, mut records) = (begin, Vec::new());
            for end in looks.into_iter().filter(|end| *end > begin) {
                if end > position {
                    let found = reading.rows(&bytes[position..end]);
                    position += found.read;
                    records.extend(values(found, 0).into_iter().map(|(_, record)| record));
                }
            }
            let expected: Vec<_> = rows.iter().map(|(k, v)| Ok(json!({"k": k, "v": v}))).collect();
            prop_assert_eq!(records, expected);
            prop_assert_eq!(position, bytes.len());
        }
    }
}
