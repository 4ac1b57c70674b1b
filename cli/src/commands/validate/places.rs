//! YAML text → documents as kubectl reads them, and where each field stands, by the path that admission calls it:
//! `spec.kafka.topics[0].name`. Pure.

use std::collections::{BTreeMap, HashMap};

use granit_parser::{Event, Parser, ScalarStyle, Span, Tag};
use serde_json::{Map, Value};

use super::scalars;

/// The name that takes the fields of other objects in.
const MERGE: &str = "<<";

/// Most values that the aliases of a text may repeat.
const MOST_REPEATED: usize = 100_000;

/// A stretch of one line. Line and column count from 1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
    /// In characters, at least 1.
    pub(super) length: usize,
}

/// Where a field's name and its value stand.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Spot {
    key: Option<Place>,
    /// `None`: it is a list or an object, which is best pointed at by its name.
    scalar: Option<Place>,
    begin: Place,
}

/// The places of one document.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Places {
    spots: BTreeMap<String, Spot>,
    /// What kubectl reads otherwise than it looks, in words.
    readings: BTreeMap<String, String>,
}

impl Places {
    /// Returns where to point for what is wrong with a value; where there is none, at what should have it.
    pub(super) fn of_value(&self, path: &str) -> Place {
        let spot = self.nearest(path);
        spot.and_then(|spot| spot.scalar.or(spot.key)).or(spot.map(|spot| spot.begin)).unwrap_or(Place::START)
    }

    /// Returns where the name of a field stands.
    pub(super) fn of_key(&self, path: &str) -> Place {
        let spot = self.nearest(path);
        spot.map_or(Place::START, |spot| spot.key.unwrap_or(spot.begin))
    }

    /// Returns whether there is such a field.
    pub(super) fn has(&self, path: &str) -> bool {
        self.spots.contains_key(path)
    }

    /// Returns what kubectl reads otherwise than it looks at a field, in words.
    pub(super) fn reading(&self, path: &str) -> Option<&str> {
        self.readings.get(path).map(String::as_str)
    }

    fn nearest(&self, path: &str) -> Option<&Spot> {
        let mut path = path;
        loop {
            if let Some(spot) = self.spots.get(path) {
                return Some(spot);
            }
            path = path.rfind(['.', '[']).map_or("", |end| &path[..end]);
            if path.is_empty() {
                return self.spots.get("");
            }
        }
    }
}

impl Place {
    /// The first character.
    pub(super) const START: Self = Self { line: 1, column: 1, length: 1 };

    fn of(span: &Span) -> Self {
        let length =
            if span.start.line() == span.end.line() { span.end.col().saturating_sub(span.start.col()) } else { 1 };
        Self { line: span.start.line(), column: span.start.col() + 1, length: length.max(1) }
    }
}

/// Returns each document with its places, or where kubectl cannot read the text, and why.
pub(super) fn documents(text: &str) -> Result<Vec<(Value, Places)>, (Place, String)> {
    let mut events = Vec::new();
    for event in Parser::new_from_str(text) {
        match event {
            Ok((event, span)) if is_structure(&event) => events.push((event, span)),
            // Comments, anchors.
            Ok(_) => {}
            Err(error) => {
                let place = Place { line: error.marker().line(), column: error.marker().col() + 1, length: 1 };
                return Err((place, format!("this is not valid YAML: {error}")));
            }
        }
    }
    let mut reader = Reader {
        events: events.into_iter().peekable(),
        places: Places::default(),
        anchors: HashMap::new(),
        repeated: 0,
        refused: None,
    };
    let mut documents = Vec::new();
    while let Some((event, _)) = reader.events.next() {
        if matches!(event, Event::DocumentStart(..)) {
            let value = reader.node("", None);
            if let Some((place, problem)) = reader.refused.take() {
                return Err((place, problem));
            }
            documents.push((value, std::mem::take(&mut reader.places)));
        }
    }
    Ok(documents)
}

fn is_structure(event: &Event<'_>) -> bool {
    matches!(
        event,
        Event::DocumentStart(..)
            | Event::DocumentEnd
            | Event::Scalar(..)
            | Event::Alias(_)
            | Event::SequenceStart(..)
            | Event::SequenceEnd
            | Event::MappingStart(..)
            | Event::MappingEnd
    )
}

struct Reader<'a, I: Iterator<Item = (Event<'a>, Span)>> {
    events: std::iter::Peekable<I>,
    places: Places,
    anchors: HashMap<usize, Value>,
    /// How many values aliases have repeated.
    repeated: usize,
    /// Where and why kubectl cannot read it, or would leave a part out.
    refused: Option<(Place, String)>,
}

impl<'a, I: Iterator<Item = (Event<'a>, Span)>> Reader<'a, I> {
    /// Reads the next value, that of the field at `path` whose name stands at `key`.
    fn node(&mut self, path: &str, key: Option<Place>) -> Value {
        let Some((event, span)) = self.events.next() else {
            return Value::Null;
        };
        let begin = Place::of(&span);
        let is_one = matches!(event, Event::Scalar(..) | Event::Alias(_));
        self.places.spots.insert(path.to_owned(), Spot { key, scalar: is_one.then_some(begin), begin });
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => match is_text(style, tag.as_deref()) {
                true => (Value::from(text.into_owned()), anchor),
                false => (self.plain(path, &text, &span), anchor),
            },
            Event::Alias(anchor) => (self.again(anchor, begin), 0),
            Event::SequenceStart(_, anchor, _) => {
                let mut items = Vec::new();
                while !self.ends(|event| matches!(event, Event::SequenceEnd)) {
                    let item = self.node(&format!("{path}[{}]", items.len()), None);
                    items.push(item);
                }
                (Value::Array(items), anchor)
            }
            Event::MappingStart(_, anchor, _) => {
                let (mut fields, mut lines) = (Map::new(), HashMap::new());
                while !self.ends(|event| matches!(event, Event::MappingEnd)) {
                    self.field(path, &mut fields, &mut lines);
                }
                (Value::Object(fields), anchor)
            }
            // Nothing is left of this document.
            _ => (Value::Null, 0),
        };
        if anchor > 0 {
            self.anchors.insert(anchor, value.clone());
        }
        value
    }

    /// Reads the next field of an object; `lines` are those in which its names stand so far.
    fn field(&mut self, path: &str, fields: &mut Map<String, Value>, lines: &mut HashMap<String, usize>) {
        let Some((event, span)) = self.events.next() else {
            return;
        };
        let place = Place::of(&span);
        let (written, name) = match event {
            Event::Scalar(text, style, _, tag) if is_text(style, tag.as_deref()) => (None, Some(text.into_owned())),
            Event::Scalar(text, ..) if text == MERGE => return self.merge(path, place, fields),
            Event::Scalar(text, ..) => {
                let name = scalars::name(&text);
                (Some(text.into_owned()), name)
            }
            _ => (None, None),
        };
        let Some(name) = name else {
            self.refuse(place, "a name must be a string, a number or a boolean; quote it".to_owned());
            return;
        };
        if let Some(first) = lines.insert(name.clone(), place.line) {
            let problem = format!(
                "field '{name}' is duplicated, first in line {first}, and kubectl would silently use the last one; \
                 remove one"
            );
            self.refused.get_or_insert((place, problem));
            return;
        }
        let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        if let Some(written) = written.filter(|written| *written != name) {
            self.note(&below, &written, &name);
        }
        let value = self.node(&below, Some(place));
        fields.insert(name, value);
    }

    /// Takes the fields of other objects in; those of the first of several count.
    fn merge(&mut self, path: &str, place: Place, fields: &mut Map<String, Value>) {
        let merged = match self.node(&format!("{path}.{MERGE}"), None) {
            Value::Array(items) => items,
            other => vec![other],
        };
        for object in merged.into_iter().rev() {
            match object {
                Value::Object(object) => fields.extend(object),
                _ => {
                    let problem = format!("{MERGE} accepts an object or a list of objects; name one, or remove it");
                    return self.refuse(place, problem);
                }
            }
        }
    }

    /// Returns the value of a scalar without quotes, and notes if it is another than it looks.
    fn plain(&mut self, path: &str, text: &str, span: &Span) -> Value {
        let Some(value) = scalars::plain(text) else {
            self.refuse(Place::of(span), format!("{text} is a number that JSON does not have"));
            return Value::Null;
        };
        // Where nothing is written, there is no text to quote.
        let is_written = span.start.line() != span.end.line() || span.start.col() != span.end.col();
        let read = value.to_string();
        if is_written && !value.is_string() && read != text {
            self.note(path, text, &read);
        }
        value
    }

    /// Returns the value of an anchor once more.
    fn again(&mut self, anchor: usize, place: Place) -> Value {
        let Some(value) = self.anchors.get(&anchor) else {
            self.refuse(place, "an alias must repeat a value, not a name".to_owned());
            return Value::Null;
        };
        self.repeated += parts(value);
        if self.repeated > MOST_REPEATED {
            self.refuse(place, format!("the aliases of this document repeat more than {MOST_REPEATED} values"));
            return Value::Null;
        }
        value.clone()
    }

    fn note(&mut self, path: &str, written: &str, read: &str) {
        let reading = format!("kubectl reads the unquoted {written} as {read}: quote it if it is a string");
        self.places.readings.entry(path.to_owned()).or_insert(reading);
    }

    /// Notes why kubectl cannot read the document; the first reason counts.
    fn refuse(&mut self, place: Place, problem: String) {
        self.refused.get_or_insert_with(|| (place, format!("kubectl cannot read this: {problem}")));
    }

    /// Takes the end of a list or an object, if it is next; the end of all events counts as one.
    fn ends(&mut self, is_end: impl Fn(&Event<'a>) -> bool) -> bool {
        let at_end = self.refused.is_some() || self.events.peek().is_none_or(|(event, _)| is_end(event));
        if at_end {
            self.events.next();
        }
        at_end
    }
}

/// Returns whether a scalar is a text whatever it looks like.
fn is_text(style: ScalarStyle, tag: Option<&Tag>) -> bool {
    style != ScalarStyle::Plain || tag.is_some_and(|tag| tag.suffix() == "str")
}

/// Returns how many values there are in a value, itself included.
fn parts(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(parts).sum::<usize>(),
        Value::Object(fields) => 1 + fields.values().map(parts).sum::<usize>(),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TEXT: &str = "# first\na: 1\nb:\n- {c: \"x\", d: [2, 3]}\n# between\n- c: &anchor é\n---\ne: *anchor2\n";

    fn at(place: Place) -> (usize, usize, usize) {
        (place.line, place.column, place.length)
    }

    #[test]
    fn finds_every_field_by_its_path() {
        let (_, places) = &documents(&TEXT.replace("e: *anchor2", "e: 5")).expect("YAML")[0];
        assert_eq!(at(places.of_value("a")), (2, 4, 1));
        assert_eq!(at(places.of_key("b")), (3, 1, 1));
        assert_eq!(at(places.of_value("b[0].c")), (4, 7, 3));
        assert_eq!(at(places.of_value("b[0].d[1]")), (4, 19, 1));
        assert_eq!(at(places.of_value("b[1].c")), (6, 14, 1));
    }

    #[test]
    fn points_at_what_should_have_a_field_that_is_missing() {
        let (_, places) = &documents(&TEXT.replace("e: *anchor2", "e: 5")).expect("YAML")[0];
        assert_eq!(at(places.of_value("b[0].e.f")), (4, 3, 1));
        assert_eq!(at(places.of_value("z")), (2, 1, 1));
        assert!(!places.has("z"));
    }

    #[test]
    fn documents_are_told_apart_and_broken_ones_refused() {
        let all = documents(&TEXT.replace("e: *anchor2", "e: 5")).expect("YAML");
        assert_eq!(all.len(), 2);
        assert_eq!(at(all[1].1.of_value("e")), (8, 4, 1));
        let (place, message) = documents("a: [1,\nb: }").expect_err("no YAML");
        // Where the list begins that is never closed.
        assert_eq!(place.line, 1);
        assert!(message.starts_with("this is not valid YAML: "), "{message}");
    }

    fn read(text: &str) -> Value {
        documents(text).expect("YAML").remove(0).0
    }

    #[test]
    fn values_are_what_kubectl_makes_of_them() {
        let value = read("a: y\nb: 'y'\nc: !!str y\nd: |\n  y\ny: 010\n1: ~\ne:\nf: [1_000, 12:30:45, 2024-01-02]\n");
        let expected = json!({"a": true, "b": "y", "c": "y", "d": "y\n", "true": 8, "1": null, "e": null,
            "f": [1_000, "12:30:45", "2024-01-02"]});
        assert_eq!(value, expected);
    }

    #[test]
    fn anchors_are_repeated_and_merged() {
        let value = read("a: &one {b: 1, c: 2}\nd: *one\ne: {<<: *one, c: 3}\nf: {<<: [{b: 4}, *one]}\n");
        let expected =
            json!({"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 2}, "e": {"b": 1, "c": 3}, "f": {"b": 4, "c": 2}});
        assert_eq!(value, expected);
    }

    /// The negative control of what is refused: the same name in other objects, and one that takes the place of a
    /// merged one.
    #[test]
    fn names_may_come_again_in_other_objects() {
        let value = read("a: {b: 1}\nb: {b: [{b: 1}, {b: 2}]}\n'a.b': 3\nc: &c {b: 1}\nd: {<<: *c, b: 2}\n");
        assert_eq!((&value["b"]["b"][1]["b"], &value["a.b"], &value["d"]["b"]), (&json!(2), &json!(3), &json!(2)));
        assert_eq!(documents("a: 1\n---\na: 2\n").expect("YAML").len(), 2);
    }

    #[test]
    fn what_is_read_otherwise_than_it_looks_is_noted() {
        let (_, places) =
            documents("a: y\nb: yes\nc: 8\nd: 010\n\"e\": 'on'\ny: x\nf:\ng: ~\n").expect("YAML").remove(0);
        let noted = |path: &str| places.reading(path);
        assert_eq!(noted("a"), Some("kubectl reads the unquoted y as true: quote it if it is a string"));
        assert_eq!(noted("d"), Some("kubectl reads the unquoted 010 as 8: quote it if it is a string"));
        assert_eq!(noted("true"), Some("kubectl reads the unquoted y as true: quote it if it is a string"));
        assert_eq!(noted("g"), Some("kubectl reads the unquoted ~ as null: quote it if it is a string"));
        assert!(["c", "e", "f"].into_iter().all(|path| noted(path).is_none()), "as they look");
        assert_eq!(at(places.of_key("true")), (6, 1, 1));
    }

    #[test]
    fn what_kubectl_cannot_read_is_refused_with_its_place() {
        for (text, line, says) in [
            ("a: 1\nb: .nan\n", 2, ".nan is a number that JSON does not have"),
            ("a: 1\n~: 2\n", 2, "a name must be a string, a number or a boolean"),
            ("a: 1\n? [b]\n: 2\n", 2, "a name must be a string, a number or a boolean"),
            ("a: 1\n<<: 5\n", 2, "kubectl cannot read this: << accepts an object or a list of objects"),
            ("a: {b: 1}\nc:\n  <<: [{d: 1}, e]\n", 3, "<< accepts an object or a list of objects"),
            ("a:\n  <<:\n", 2, "<< accepts an object or a list of objects"),
            ("a: 1\nb: 2\na: 3\n", 3, "field 'a' is duplicated, first in line 1, and kubectl would silently use"),
            ("a:\n- b: 1\n  \"b\": 2\n", 3, "field 'b' is duplicated, first in line 2"),
            ("y: 1\ntrue: 2\n", 2, "field 'true' is duplicated, first in line 1"),
            ("a: {b: 1, c: {b: 2}, b: 3}\n", 1, "field 'b' is duplicated, first in line 1"),
        ] {
            let (place, problem) = documents(text).expect_err(text);
            assert!(place.line == line && problem.contains(says), "{place:?} {problem}");
        }
        let mut bomb = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n".to_owned();
        for level in 1..9 {
            let below = format!("*a{}", level - 1);
            bomb.push_str(&format!("a{level}: &a{level} [{}]\n", [below.as_str(); 10].join(", ")));
        }
        let (_, problem) = documents(&bomb).expect_err("a bomb");
        assert!(problem.contains("repeat more than"), "{problem}");
    }
}
