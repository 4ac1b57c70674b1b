//! JSON paths of one document, read in one pass: each path's value as the piece of text that it is.
//!
//! Comes from the paths that a query uses; nothing else of a record is looked at, beyond its being JSON.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// One step down a JSON document.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Step {
    /// The field of an object.
    Field(String),
    /// The element of an array, from 0.
    Element(usize),
}

/// The paths to read, as a tree.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extractor {
    root: Node,
    slots: usize,
}

#[derive(Clone, Debug, Default)]
struct Node {
    /// Where this value itself goes.
    slot: Option<usize>,
    children: Vec<(Step, Node)>,
}

impl Extractor {
    /// Returns the slot of a path, a new one unless the path is known. An empty path is the document itself.
    pub(crate) fn slot(&mut self, path: &[Step]) -> usize {
        let mut node = &mut self.root;
        for step in path {
            let index = node.children.iter().position(|(known, _)| known == step).unwrap_or_else(|| {
                node.children.push((step.clone(), Node::default()));
                node.children.len() - 1
            });
            node = &mut node.children[index].1;
        }
        *node.slot.get_or_insert_with(|| {
            self.slots += 1;
            self.slots - 1
        })
    }

    /// Returns how many slots there are.
    pub(crate) fn slots(&self) -> usize {
        self.slots
    }

    /// Reads a JSON document into the slots; what the document does not have is `None`.
    pub(crate) fn read<'text>(
        &self,
        text: &'text str,
        slots: &mut [Option<&'text str>],
    ) -> Result<(), serde_json::Error> {
        slots.fill(None);
        let mut deserializer = serde_json::Deserializer::from_str(text);
        Visit { node: &self.root, slots }.deserialize(&mut deserializer)?;
        deserializer.end()
    }
}

impl Node {
    /// Forgets what an earlier field of the same name has left: the last of them counts.
    fn forget(&self, slots: &mut [Option<&str>]) {
        if let Some(slot) = self.slot {
            slots[slot] = None;
        }
        for (_, child) in &self.children {
            child.forget(slots);
        }
    }

    /// Returns the child for a field; records mostly have the fields in one order, so the next one is tried first.
    fn field(&self, name: &str, expected: usize) -> Option<usize> {
        let is = |(step, _): &(Step, Self)| matches!(step, Step::Field(field) if field == name);
        match self.children.get(expected) {
            Some(child) if is(child) => Some(expected),
            _ => self.children.iter().position(is),
        }
    }
}

struct Visit<'node, 'slots, 'text> {
    node: &'node Node,
    slots: &'slots mut [Option<&'text str>],
}

impl<'text> DeserializeSeed<'text> for Visit<'_, '_, 'text> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'text>>(self, deserializer: D) -> Result<(), D::Error> {
        let Self { node, slots } = self;
        let Some(slot) = node.slot else {
            return deserializer.deserialize_any(Visit { node, slots });
        };
        let text = <&RawValue as serde::Deserialize>::deserialize(deserializer)?.get();
        slots[slot] = Some(text);
        if node.children.is_empty() {
            return Ok(());
        }
        // Both the value and something in it: what has been read is JSON, so this cannot fail.
        serde_json::Deserializer::from_str(text)
            .deserialize_any(Visit { node, slots })
            .map_err(serde::de::Error::custom)
    }
}

impl<'text> Visitor<'text> for Visit<'_, '_, 'text> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'text>>(self, mut map: A) -> Result<(), A::Error> {
        let mut expected = 0;
        while let Some(Name(field)) = map.next_key()? {
            match self.node.field(&field, expected) {
                Some(index) => {
                    expected = index + 1;
                    let node = &self.node.children[index].1;
                    node.forget(self.slots);
                    map.next_value_seed(Visit { node, slots: &mut *self.slots })?;
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'text>>(self, mut seq: A) -> Result<(), A::Error> {
        for index in 0.. {
            let wanted = self.node.children.iter().find(|(step, _)| *step == Step::Element(index));
            let more = match wanted {
                Some((_, node)) => seq.next_element_seed(Visit { node, slots: &mut *self.slots })?.is_some(),
                None => seq.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                break;
            }
        }
        Ok(())
    }

    // A value that is neither object nor array has nothing in it.

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// A field name that borrows from the record unless it is escaped.
#[derive(serde::Deserialize)]
struct Name<'text>(#[serde(borrow)] Cow<'text, str>);

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str) -> Step {
        Step::Field(name.to_owned())
    }

    fn read<'text>(paths: &[Vec<Step>], text: &'text str) -> Vec<Option<&'text str>> {
        let mut extractor = Extractor::default();
        let places: Vec<usize> = paths.iter().map(|path| extractor.slot(path)).collect();
        let mut slots = vec![None; extractor.slots()];
        extractor.read(text, &mut slots).expect("JSON");
        places.into_iter().map(|place| slots[place]).collect()
    }

    #[test]
    fn reads_each_path_as_it_stands_in_the_text() {
        let text = r#"{"x":[1, {"deep":"\u00e9"}],"a":{"b":{"c":1.50}, "d":null},"a\u0062":true}"#;
        let paths = [
            vec![field("a"), field("b"), field("c")],
            vec![field("a"), field("b")],
            vec![field("a"), field("d")],
            vec![field("ab")],
            vec![field("x"), Step::Element(1), field("deep")],
            vec![field("x"), Step::Element(2)],
            vec![field("x"), field("deep")],
            vec![field("none"), field("deep")],
        ];
        let values =
            [Some("1.50"), Some(r#"{"c":1.50}"#), Some("null"), Some("true"), Some(r#""\u00e9""#), None, None, None];
        assert_eq!(read(&paths, text), values);
    }

    #[test]
    fn the_last_of_two_equal_fields_counts_with_all_that_is_in_it() {
        let paths = [vec![field("a"), field("b")], vec![field("a")]];
        assert_eq!(read(&paths, r#"{"a":{"b":1},"a":{"c":2}}"#), [None, Some(r#"{"c":2}"#)]);
        assert_eq!(read(&paths[..1], r#"{"a":{"b":1},"a":7}"#), [None]);
    }

    #[test]
    fn what_is_not_json_is_refused_also_where_nobody_looks() {
        let mut extractor = Extractor::default();
        extractor.slot(&[field("a")]);
        for text in ["", "{", r#"{"a":1,"b":oops}"#, r#"{"a":1} {}"#, r#"{"b":[1,}"#, r#"{"a":tru}"#] {
            assert!(extractor.read(text, &mut [None]).is_err(), "{text}");
        }
    }
}
