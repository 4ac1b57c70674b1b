//! A record's key → the primary key of the row that its missing value deletes. Pure.
//!
//! The key is a JSON object with the columns of the primary key and nothing else. Where that is one column, the key may
//! also be that column's value alone: as JSON that is no object, or as bare text, which is what our sources and the string
//! serializers of Kafka's clients write. So a text that is itself in quotes is read without them. A key that names less or
//! more than one row is refused: a row too many would be gone.

use serde_json::value::RawValue;

use super::{Cell, Column, LARGEST_RECORD, Table};
use crate::rejection::{BadKeySnafu, Rejection};
use crate::text::key_text;

/// The primary key of a table, as records' keys hold it.
#[derive(Clone, Debug)]
pub(super) struct RowKey {
    /// The table with the columns of its primary key alone.
    key: Table,
}

impl RowKey {
    /// Takes the primary key of a table.
    pub(super) fn of(table: &Table) -> Self {
        let columns = table.columns.iter().filter(|column| column.is_key).cloned().collect();
        Self { key: Table::of(table.name.clone(), columns, table.types.clone()) }
    }

    /// Reads a record's key into the cells of the primary key, in the order of the table's columns.
    pub(super) fn read<'record>(&self, key: Option<&'record [u8]>) -> Result<Vec<Cell<'record>>, Rejection> {
        let key = key.ok_or_else(|| self.refusal("it is null"))?;
        if key.len() > LARGEST_RECORD {
            return Err(self.refusal(&format!("it has {} bytes", key.len())));
        }
        let text = key_text(key).map_err(|problem| self.refusal(&problem))?;
        match self.key.columns.as_slice() {
            [column] if !text.starts_with('{') => Ok(vec![self.alone(column, text)?]),
            _ => {
                let mut cells = Vec::with_capacity(self.key.columns.len());
                self.key.decode_onto(&mut cells, Some(text.as_bytes())).map_err(|rejection| self.unfit(rejection))?;
                Ok(cells)
            }
        }
    }

    /// Reads the value of the one column.
    fn alone<'record>(&self, column: &Column, text: &'record str) -> Result<Cell<'record>, Rejection> {
        if let Ok(json) = serde_json::from_str::<&RawValue>(text)
            && let Ok(cell) = column.parse(&self.key.types, json.get())
            && cell != Cell::Null
        {
            return Ok(cell);
        }
        let quoted = serde_json::Value::from(text).to_string();
        match column.parse(&self.key.types, &quoted) {
            Ok(cell) => Ok(cell.into_owned()),
            Err(fault) => Err(self.unfit(fault.reject(&column.name))),
        }
    }

    /// Says of the key what was found while it was read as if it were a row.
    fn unfit(&self, rejection: Rejection) -> Rejection {
        match rejection {
            Rejection::NotJson { problem } => self.refusal(&format!("it is not a JSON object: {problem}")),
            Rejection::UnknownField { field, .. } => self.refusal(&format!("'{field}' is not part of the primary key")),
            other => self.refusal(&other.to_string()),
        }
    }

    fn refusal(&self, problem: &str) -> Rejection {
        BadKeySnafu { table: self.key.name(), problem }.build()
    }
}

#[cfg(test)]
mod tests {
    use millrace_fuzz::{Corpus, feed};
    use millrace_terms::{ColumnSettings, EpochUnit, RecordSettings, TableSettings, UnknownFields};

    use super::*;

    const ID: &str = "0f3e6a52-6f0b-4c58-9f0e-7b1f0c6f2a11";

    /// A table with these columns as its primary key, and one more.
    fn row_key(columns: &[(&str, &str)]) -> RowKey {
        RowKey::of(&Table::new(&settings(columns)))
    }

    fn settings(columns: &[(&str, &str)]) -> TableSettings {
        let column = |(name, column_type): &(&str, &str)| ColumnSettings {
            name: (*name).to_owned(),
            column_type: column_type.parse().expect("a type"),
        };
        let other = column(&("age", "int"));
        TableSettings {
            name: "people".to_owned(),
            columns: columns.iter().map(column).chain([other]).collect(),
            primary_key: columns.iter().map(|(name, _)| (*name).to_owned()).collect(),
            types: Vec::new(),
        }
    }

    fn said(key: &RowKey, text: Option<&[u8]>) -> String {
        key.read(text).expect_err("no row").to_string()
    }

    #[test]
    fn an_object_has_the_columns_in_any_order() {
        let key = row_key(&[("id", "uuid"), ("line", "int")]);
        let text = format!(r#"{{"line":3,"id":"{ID}"}}"#);
        let id = Cell::Uuid(ID.parse().expect("a UUID"));
        assert_eq!(key.read(Some(text.as_bytes())), Ok(vec![id, Cell::Int(3)]));
        let one = row_key(&[("line", "int")]);
        assert_eq!(one.read(Some(br#"{"line":3}"#)), Ok(vec![Cell::Int(3)]));
    }

    #[test]
    fn the_value_of_one_column_may_stand_alone_as_json_or_as_text() {
        let of = |column_type: &str, text: &'static str| {
            let cells = row_key(&[("id", column_type)]).read(Some(text.as_bytes())).expect("a key");
            cells[0].encoded(<[u8]>::to_vec).expect("a value")
        };
        assert_eq!(of("text", "ann"), b"ann");
        assert_eq!(of("text", "\"ann\""), b"ann");
        assert_eq!(of("text", "7"), b"7");
        assert_eq!(of("text", "null"), b"null");
        assert_eq!(of("text", " a \"b\""), b" a \"b\"");
        assert_eq!(of("ascii", "ann"), b"ann");
        assert_eq!(of("bigint", "-2"), (-2_i64).to_be_bytes());
        assert_eq!(of("boolean", "true"), [1]);
        let uuid = ID.parse::<uuid::Uuid>().expect("a UUID");
        assert_eq!(of("uuid", ID), uuid.as_bytes());
        assert_eq!(of("timestamp", "1970-01-01T00:00:01Z"), 1_000_i64.to_be_bytes());
        assert_eq!(of("timestamp", "1000"), 1_000_i64.to_be_bytes());
    }

    #[test]
    fn integers_in_a_key_count_what_they_count_in_a_record() {
        let units = [("id".to_owned(), EpochUnit::Seconds)].into();
        let records = RecordSettings { epoch_units: units, ..RecordSettings::default() };
        let key = RowKey::of(&Table::new(&settings(&[("id", "timestamp")])).reading(&records));
        for text in ["5", r#"{"id":5}"#, "1970-01-01T00:00:05Z"] {
            assert_eq!(key.read(Some(text.as_bytes())), Ok(vec![Cell::Timestamp(5_000)]), "{text}");
        }
    }

    #[test]
    fn no_key_breaks_its_reader() {
        let keys =
            [row_key(&[("id", "text")]), row_key(&[("id", "bigint")]), row_key(&[("id", "uuid"), ("line", "int")])];
        let inputs: &[&[u8]] = &[br#"{"id":"a","line":3}"#, b"ann", b"\"ann\"", b"-7", b"\0\0\0\0\x07ann"];
        let words = &["{", "}", "\"id\":", "\"", ",", "null", "\\ud800", "\u{0}", "\u{feff}"];
        feed("keys of tombstones", Corpus { inputs, words, longest: 4096 }, |input| {
            for key in &keys {
                let cells = key.read(Some(input)).unwrap_or_default();
                assert!(cells.iter().all(|cell| !matches!(cell, Cell::Null | Cell::Unset)));
            }
        });
    }

    #[test]
    fn a_binary_key_names_no_row() {
        let one = row_key(&[("id", "text")]);
        for (key, problem) in [(&b"\0\0\0\0\x07ann"[..], "schema id 7"), (b"\0\0\0\x07", "a zero byte")] {
            assert!(said(&one, Some(key)).contains(problem));
        }
        assert_eq!(one.read(Some("\u{feff}ann".as_bytes())), Ok(vec![Cell::Text("ann".into())]));
    }

    #[test]
    fn a_key_that_does_not_name_one_row_is_refused_with_the_reason() {
        let both = row_key(&[("id", "text"), ("line", "int")]);
        let one = row_key(&[("id", "int")]);
        let begin = "the record has no value, and its key does not name a row of table 'people': ";
        let cases: [(&RowKey, Option<&[u8]>, &str); 9] = [
            (&both, None, "it is null"),
            (&both, Some(b"\xff"), "it is not UTF-8"),
            (
                &both,
                Some(b"{\"id\":\"a\"}"),
                "field 'line' is absent, but it is part of the primary key of table 'people'",
            ),
            (&both, Some(b"{\"id\":\"a\",\"line\":1,\"age\":2}"), "'age' is not part of the primary key"),
            (&both, Some(b"{\"id\":\"a\",\"id\":\"b\",\"line\":1}"), "field 'id' is there twice"),
            (&one, Some(b"{\"id\":null}"), "field 'id' is null, but it is part of the primary key of table 'people'"),
            (&one, Some(b"007"), "field 'id' wants int, a JSON integer of 32 bits, not \"007\""),
            (&one, Some(b"null"), "field 'id' wants int, a JSON integer of 32 bits, not \"null\""),
            (&one, Some(b""), "field 'id' wants int, a JSON integer of 32 bits, not \"\""),
        ];
        for (key, text, problem) in cases {
            assert_eq!(said(key, text), format!("{begin}{problem}"));
        }
        let not_json = said(&both, Some(b"a"));
        assert!(not_json.starts_with(&format!("{begin}it is not a JSON object: ")), "{not_json}");
        let ignoring = Table::new(&settings(&[("id", "text"), ("line", "int")]));
        let records = RecordSettings { unknown_fields: UnknownFields::Ignore, ..RecordSettings::default() };
        let ignoring = RowKey::of(&ignoring.reading(&records));
        let wider = said(&ignoring, Some(b"{\"id\":\"a\",\"line\":1,\"age\":2}"));
        assert_eq!(wider, format!("{begin}'age' is not part of the primary key"), "also where fields are ignored");
        // The control: the whole key is taken.
        assert_eq!(both.read(Some(b"{\"id\":\"a\",\"line\":1}")), Ok(vec![Cell::Text("a".into()), Cell::Int(1)]));
    }
}
