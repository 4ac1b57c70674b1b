//! YAML text → where each field stands, by the path that admission calls it: `spec.kafka.topics[0].name`. Pure.

use std::collections::BTreeMap;

use granit_parser::{Event, Parser, Span};

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
pub(super) struct Places(BTreeMap<String, Spot>);

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
        self.0.contains_key(path)
    }

    fn nearest(&self, path: &str) -> Option<&Spot> {
        let mut path = path;
        loop {
            if let Some(spot) = self.0.get(path) {
                return Some(spot);
            }
            path = path.rfind(['.', '[']).map_or("", |end| &path[..end]);
            if path.is_empty() {
                return self.0.get("");
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

/// Returns the places of each document, or where the text is no YAML, and why.
pub(super) fn documents(text: &str) -> Result<Vec<Places>, (Place, String)> {
    let mut events = Vec::new();
    for event in Parser::new_from_str(text) {
        match event {
            Ok((event, span)) if is_structure(&event) => events.push((event, span)),
            // Comments, anchors.
            Ok(_) => {}
            Err(error) => {
                let place = Place { line: error.marker().line(), column: error.marker().col() + 1, length: 1 };
                return Err((place, format!("this is no YAML: {error}")));
            }
        }
    }
    let mut reader = Reader { events: events.into_iter().peekable(), places: Places::default() };
    let mut documents = Vec::new();
    while let Some((event, _)) = reader.events.next() {
        if matches!(event, Event::DocumentStart(..)) {
            reader.node("", None);
            documents.push(std::mem::take(&mut reader.places));
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
}

impl<'a, I: Iterator<Item = (Event<'a>, Span)>> Reader<'a, I> {
    /// Reads a value; returns it where it is a name.
    fn node(&mut self, path: &str, key: Option<Place>) -> Option<(String, Place)> {
        while let Some((event, span)) = self.events.next() {
            let begin = Place::of(&span);
            match event {
                Event::Scalar(text, ..) => {
                    self.places.0.insert(path.to_owned(), Spot { key, scalar: Some(begin), begin });
                    return Some((text.into_owned(), begin));
                }
                Event::Alias(_) => {
                    self.places.0.insert(path.to_owned(), Spot { key, scalar: Some(begin), begin });
                    return None;
                }
                Event::SequenceStart(..) => {
                    self.places.0.insert(path.to_owned(), Spot { key, scalar: None, begin });
                    let mut index = 0;
                    while !self.ends(|event| matches!(event, Event::SequenceEnd)) {
                        self.node(&format!("{path}[{index}]"), None);
                        index += 1;
                    }
                    return None;
                }
                Event::MappingStart(..) => {
                    self.places.0.insert(path.to_owned(), Spot { key, scalar: None, begin });
                    while !self.ends(|event| matches!(event, Event::MappingEnd)) {
                        self.field(path);
                    }
                    return None;
                }
                // Nothing is left of this document.
                Event::DocumentEnd | Event::StreamEnd => return None,
                _ => {}
            }
        }
        None
    }

    fn field(&mut self, path: &str) {
        let before = self.places.0.get(path).copied();
        let name = self.node(path, None);
        // The name was read as if it were the value.
        if let Some(before) = before {
            self.places.0.insert(path.to_owned(), before);
        }
        let (name, place) = name.map_or((String::new(), None), |(name, place)| (name, Some(place)));
        let path = if path.is_empty() { name } else { format!("{path}.{name}") };
        self.node(&path, place);
    }

    /// Takes the end of a list or an object, if it is next; the end of all events counts as one.
    fn ends(&mut self, is_end: impl Fn(&Event<'a>) -> bool) -> bool {
        let at_end = self.events.peek().is_none_or(|(event, _)| is_end(event));
        if at_end {
            self.events.next();
        }
        at_end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# first\na: 1\nb:\n- {c: \"x\", d: [2, 3]}\n# between\n- c: &anchor é\n---\ne: *anchor2\n";

    fn at(place: Place) -> (usize, usize, usize) {
        (place.line, place.column, place.length)
    }

    #[test]
    fn finds_every_field_by_its_path() {
        let places = &documents(&TEXT.replace("e: *anchor2", "e: 5")).expect("YAML")[0];
        assert_eq!(at(places.of_value("a")), (2, 4, 1));
        assert_eq!(at(places.of_key("b")), (3, 1, 1));
        assert_eq!(at(places.of_value("b[0].c")), (4, 7, 3));
        assert_eq!(at(places.of_value("b[0].d[1]")), (4, 19, 1));
        assert_eq!(at(places.of_value("b[1].c")), (6, 14, 1));
    }

    #[test]
    fn points_at_what_should_have_a_field_that_is_missing() {
        let places = &documents(&TEXT.replace("e: *anchor2", "e: 5")).expect("YAML")[0];
        assert_eq!(at(places.of_value("b[0].e.f")), (4, 3, 1));
        assert_eq!(at(places.of_value("z")), (2, 1, 1));
        assert!(!places.has("z"));
    }

    #[test]
    fn documents_are_told_apart_and_broken_ones_refused() {
        let all = documents(&TEXT.replace("e: *anchor2", "e: 5")).expect("YAML");
        assert_eq!(all.len(), 2);
        assert_eq!(at(all[1].of_value("e")), (8, 4, 1));
        let (place, message) = documents("a: [1,\nb: }").expect_err("no YAML");
        // Where the list begins that is never closed.
        assert_eq!(place.line, 1);
        assert!(message.starts_with("this is no YAML: "), "{message}");
    }
}
