//! Documents that come over the wire → records: how they are written, and what of them is a record. Pure.
//!
//! Texts may be in any encoding that their sender names, and UTF-8 or UTF-16 with a byte order mark is recognised. A
//! text that its encoding does not allow is refused, never patched.

use std::ops::Range;

use encoding_rs::{Encoding, UTF_8};
use serde_json::Error;
use serde_json::value::RawValue;

use super::records::{Fetched, Read, Unreadable};

/// How a document is written, by its Content-Type.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Form {
    /// One JSON value: an array of records, or a record.
    Json,
    /// A record a line.
    Lines,
}

impl Form {
    /// Reads a Content-Type; `None`: it is neither.
    pub(crate) fn of(content_type: &str) -> Option<Self> {
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/json" | "text/json" => Some(Self::Json),
            "application/x-ndjson"
            | "application/ndjson"
            | "application/jsonl"
            | "application/x-jsonlines"
            | "application/jsonlines"
            | "application/x-json-stream"
            | "application/stream+json" => Some(Self::Lines),
            // RFC 6839: what has this suffix is JSON, whatever else it is.
            other if other.starts_with("application/") && other.ends_with("+json") => Some(Self::Json),
            _ => None,
        }
    }
}

/// Returns the text of a body; the error says what is wrong with its bytes.
pub(crate) fn text(bytes: Vec<u8>, content_type: &str) -> Result<String, String> {
    let encoding = match charset(content_type) {
        Some(label) => Encoding::for_label(label.as_bytes())
            .ok_or_else(|| format!("charset '{}' is not known", crate::rejection::excerpt(label)))?,
        None => UTF_8,
    };
    // A byte order mark is surer than what a server's configuration says.
    let (encoding, mark) = Encoding::for_bom(&bytes).unwrap_or((encoding, 0));
    if encoding == UTF_8 {
        let mut text = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            format!("byte {at} is not UTF-8; name another encoding with charset in the Content-Type")
        })?;
        text.drain(..mark);
        return Ok(text);
    }
    let text = encoding.decode_without_bom_handling_and_without_replacement(&bytes[mark..]);
    text.map(Into::into).ok_or_else(|| format!("it is not {}", encoding.name()))
}

fn charset(content_type: &str) -> Option<&str> {
    let parameters = content_type.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    let mut charsets = parameters.filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
    charsets.next().map(|(_, value)| value.trim().trim_matches('"'))
}

/// A JSON document. Its records are told apart even if there are numbers in it that are none.
#[derive(Clone, Debug)]
pub struct Document {
    /// Nothing but one JSON value.
    json: String,
    /// What was really written, where `json` has other numbers in place of `NaN` and its like, at the same bytes.
    written: Option<String>,
}

impl Document {
    /// Takes a document over; an error is the parser's, and comes with the text.
    pub fn read(text: String) -> Result<Self, (Error, String)> {
        let Err(error) = is_json(&text) else { return Ok(Self { json: text, written: None }) };
        match without_constants(&text).filter(|plain| is_json(plain).is_ok()) {
            Some(json) => Ok(Self { json, written: Some(text) }),
            None => Err((error, text)),
        }
    }

    /// Returns the document with nothing in it but JSON.
    pub(crate) fn json(&self) -> &str {
        &self.json
    }

    /// Returns the part of the document that is a value between these bytes.
    pub(crate) fn part(&self, bytes: Range<usize>) -> Self {
        let written = self.written.as_ref().map(|written| written[bytes.clone()].to_owned());
        Self { json: self.json[bytes].to_owned(), written }
    }

    /// Returns what was written where a part of [`Self::json`] stands; an error comes with the bytes.
    pub(crate) fn written<'a>(&'a self, part: &'a str) -> Result<&'a str, Unreadable> {
        let Some(written) = &self.written else { return Ok(part) };
        let start = part.as_ptr().addr() - self.json.as_ptr().addr();
        let text = &written[start..start + part.len()];
        is_json(text).map(|()| text).map_err(|_| {
            let problem = "NaN and Infinity are not JSON numbers; null or a text can stand for them";
            Unreadable::new(problem, text.as_bytes(), Vec::new())
        })
    }

    /// Returns the record that stands there in [`Self::json`].
    pub(crate) fn record(&self, json: &RawValue) -> Result<Box<RawValue>, Unreadable> {
        match &self.written {
            None => Ok(json.to_owned()),
            Some(_) => self.written(json.get()).map(|text| Fetched::read(text).expect("it was just read")),
        }
    }
}

fn is_json(text: &str) -> Result<(), Error> {
    serde_json::from_str::<&RawValue>(text).map(drop)
}

/// Puts a number of as many bytes in the place of each constant of JavaScript and Python that is none of JSON; `None`:
/// there is no such constant.
fn without_constants(text: &str) -> Option<String> {
    const CONSTANTS: [&[u8]; 2] = [b"NaN", b"Infinity"];
    let mut bytes = text.as_bytes().to_vec();
    let (mut in_string, mut escaped, mut found) = (false, false, false);
    for at in 0..bytes.len() {
        match bytes[at] {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            _ => {
                if let Some(constant) = CONSTANTS.iter().find(|constant| bytes[at..].starts_with(constant)) {
                    bytes[at..at + constant.len()].fill(b'1');
                    found = true;
                }
            }
        }
    }
    found.then(|| String::from_utf8(bytes).expect("digits in the place of letters"))
}

/// The lines of a text, each a record.
#[derive(Clone, Debug)]
pub(crate) struct Lines {
    text: String,
    position: usize,
    line: usize,
}

impl Lines {
    pub(crate) fn new(text: String) -> Self {
        Self { text, position: 0, line: 0 }
    }
}

impl Iterator for Lines {
    type Item = Read;

    fn next(&mut self) -> Option<Read> {
        loop {
            let rest = self.text.get(self.position..).filter(|rest| !rest.is_empty())?;
            let length = rest.find('\n').unwrap_or(rest.len());
            let (start, line) = (self.position, rest[..length].trim_ascii());
            self.position += length + 1;
            self.line += 1;
            if line.is_empty() {
                continue;
            }
            return Some(match Fetched::read(line) {
                Ok(record) => Ok(Fetched { record, headers: Vec::new() }),
                Err(error) => {
                    let problem = format!("line {}, from byte {start} on, is not valid JSON: {error}", self.line);
                    Err(Unreadable::new(problem, line.as_bytes(), Vec::new()))
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use millrace_fuzz::{Corpus, feed};

    use super::*;
    use crate::source::Records;

    #[test]
    fn the_content_type_says_the_form() {
        for (content_type, form) in [
            ("application/json; charset=utf-8", Some(Form::Json)),
            ("Application/X-NDJSON", Some(Form::Lines)),
            ("application/jsonl", Some(Form::Lines)),
            ("application/cloudevents+json", Some(Form::Json)),
            ("application/vnd.api+json; ext=x", Some(Form::Json)),
            ("text/plain", None),
            ("text/html", None),
            ("", None),
        ] {
            assert_eq!(Form::of(content_type), form, "{content_type}");
        }
    }

    #[test]
    fn texts_are_read_in_the_encoding_that_is_named_or_marked() {
        let utf_16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        let marked = [&b"\xff\xfe"[..], &utf_16("é")].concat();
        assert_eq!(text("\u{feff}é".into(), "").as_deref(), Ok("é"));
        assert_eq!(text(marked.clone(), "").as_deref(), Ok("é"));
        assert_eq!(text(marked, "application/json; charset=utf-8").as_deref(), Ok("é"));
        assert_eq!(text(utf_16("é"), "application/json; charset=UTF-16LE").as_deref(), Ok("é"));
        assert_eq!(text(vec![0xe9], "application/json; charset=\"iso-8859-1\"").as_deref(), Ok("é"));
        let problem = text(vec![b'"', 0xe9], "application/json").expect_err("not UTF-8");
        assert_eq!(problem, "byte 1 is not UTF-8; name another encoding with charset in the Content-Type");
        assert_eq!(text(vec![1], "a/b; charset=ebcdic").expect_err("none"), "charset 'ebcdic' is not known");
        assert_eq!(text(vec![0x81], "a/b; charset=shift_jis").expect_err("half a character"), "it is not Shift_JIS");
    }

    #[test]
    fn lines_are_records_with_or_without_a_last_line_break() {
        let read = |text: &str| {
            let lines = Lines::new(text.to_owned());
            lines
                .map(|line| line.map(|line| line.record.get().to_owned()).map_err(|line| line.problem))
                .collect::<Vec<_>>()
        };
        assert_eq!(read("{\"a\":1.0}\r\n\n2"), [Ok("{\"a\":1.0}".to_owned()), Ok("2".to_owned())]);
        assert_eq!(read("1\n2\n").len(), 2);
        assert_eq!(read(""), []);
        let problem = read("1\n\n{\"a\":\n")[1].clone().expect_err("half a record");
        assert!(problem.starts_with("line 3, from byte 3 on, is not valid JSON: "), "{problem}");
    }

    #[test]
    fn constants_within_texts_are_left_alone() {
        assert_eq!(without_constants(r#"{"NaN":"a \" NaN"}"#), None);
        assert_eq!(without_constants(r#"["\\",NaN,-Infinity]"#).as_deref(), Some(r#"["\\",111,-11111111]"#));
    }

    /// Whatever encoding a document names and whatever bytes it has: a text or what is wrong with it, never a patched one.
    #[test]
    fn no_document_breaks_its_reader() {
        let inputs: &[&[u8]] = &[
            b"\xef\xbb\xbf[{\"a\":1.50},NaN,{\"b\":[-Infinity,\"\\u00e9\"]}]",
            b"\xff\xfe[\0\"\0\xe9\0\"\0]\0",
            b"\xfe\xff\0[\0\"\xd8\x3d\xde\x00\0\"\0]",
            b"{\"a\":\"\x83e\x83X\x83g\"}\n\r\n[2]\n",
            b"\x1b$B\x25F\x1b(B",
        ];
        let words =
            &["[", "]", "{", "}", ",", "\"", "\\", "\\ud800", "\n", "NaN", "Infinity", "-", "\u{feff}", "\u{1b}$B"];
        let corpus = Corpus { inputs, words, longest: 16 << 10 };
        let charsets =
            ["utf-8", "utf-16le", "utf-16be", "iso-8859-1", "shift_jis", "gb18030", "iso-2022-jp", "euc-kr", "big5"];
        feed("documents in any encoding", corpus, |input| {
            for charset in charsets {
                let Ok(read) = text(input.to_vec(), &format!("application/json; charset={charset}")) else { continue };
                let lines = Lines::new(read.clone()).count();
                assert!(lines <= read.len());
                if let Ok(document) = Document::read(read) {
                    assert!(is_json(document.json()).is_ok());
                    Records::written(document).for_each(drop);
                }
            }
        });
    }

    #[test]
    fn no_content_type_breaks_its_reader() {
        let inputs: &[&[u8]] =
            &[b"Application/X-NDJSON", b"application/vnd.api+json; ext=x; Charset=\"iso-8859-1\"", b"a/b"];
        let words = &[";", "=", "\"", "/", "+json", "charset=", "utf-7", "\u{e9}", " "];
        feed("content types", Corpus { inputs, words, longest: 4096 }, |input| {
            let content_type = String::from_utf8_lossy(input);
            let _ = (Form::of(&content_type), text(b"[\xe9]".to_vec(), &content_type));
        });
    }
}
