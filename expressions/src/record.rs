//! A record as a value of CEL: read as far as an expression asks, and never further. Pure.
//!
//! An object keeps the text of each member until it is asked for, so that a record costs its text and what is looked at.
//! An array is read when it is asked for, but not the objects in it.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use cel::ExecutionError;
use cel::common::traits::{self, Container, Indexer, Iterable, Sizer, Zeroer};
use cel::common::types::{CelBool, CelInt, CelList, CelNull, CelString, MAP_TYPE, Type};
use cel::common::value::{CowVal, Val};

use crate::json;
use crate::number::number;

/// Most elements of arrays that expressions look at in a record: each takes about forty bytes.
pub const MOST_ELEMENTS: usize = 100_000;

/// How deep objects and arrays may stand in each other, as for any JSON that serde reads.
const DEEPEST: usize = 128;

/// Where in a record a value stands, and what of the record was looked at.
#[derive(Clone)]
struct Place {
    depth: usize,
    /// Elements of arrays that were read so far, in all of the record.
    elements: Arc<AtomicUsize>,
}

impl Place {
    fn below(&self) -> Result<Self, ExecutionError> {
        if self.depth == DEEPEST {
            return Err(unreadable(format!("objects and arrays stand more than {DEEPEST} deep in each other")));
        }
        Ok(Self { depth: self.depth + 1, elements: Arc::clone(&self.elements) })
    }
}

static MAP: Type = MAP_TYPE;

/// Returns the value of CEL for the text of a JSON value.
pub(crate) fn value(text: &str) -> Result<Box<dyn Val + '_>, ExecutionError> {
    value_at(text, &Place { depth: 0, elements: Arc::default() })
}

fn value_at<'text>(text: &'text str, place: &Place) -> Result<Box<dyn Val + 'text>, ExecutionError> {
    Ok(match text.as_bytes().first() {
        Some(b'{') => Box::new(Object::new(text, place.below()?)),
        Some(b'[') => Box::new(list(text, &place.below()?)?),
        Some(b'"') => match json::string(text).ok_or_else(|| unreadable("a text has half a character"))? {
            Cow::Borrowed(text) => Box::new(CelString::from(text)),
            Cow::Owned(text) => Box::new(CelString::from(text)),
        },
        Some(b't') => Box::new(CelBool::from(true)),
        Some(b'f') => Box::new(CelBool::from(false)),
        Some(b'n') => Box::new(CelNull),
        _ => number(text),
    })
}

fn list<'text>(text: &'text str, place: &Place) -> Result<CelList<'text>, ExecutionError> {
    let elements = json::elements(text).map_err(unreadable)?.unwrap_or_default();
    let before = place.elements.fetch_add(elements.len(), Ordering::Relaxed);
    if before + elements.len() > MOST_ELEMENTS {
        return Err(unreadable(format!("its arrays have more than {MOST_ELEMENTS} elements that expressions look at")));
    }
    let values: Result<Vec<_>, _> = elements.into_iter().map(|element| value_at(element, place)).collect();
    values.map(CelList::from)
}

fn unreadable(problem: impl ToString) -> ExecutionError {
    ExecutionError::function_error("record", problem)
}

/// A JSON object.
struct Object<'text> {
    text: &'text str,
    place: Place,
    members: OnceLock<Result<Vec<Member<'text>>, ExecutionError>>,
}

struct Member<'text> {
    name: CelString<'text>,
    text: &'text str,
    value: OnceLock<Result<Box<dyn Val + 'text>, ExecutionError>>,
}

impl<'text> Object<'text> {
    fn new(text: &'text str, place: Place) -> Self {
        Self { text, place, members: OnceLock::new() }
    }

    fn members(&self) -> Result<&[Member<'text>], ExecutionError> {
        let read = || {
            let members = json::members(self.text).map_err(unreadable)?.unwrap_or_default();
            let member = |(name, text)| {
                let name = match name {
                    Cow::Borrowed(name) => CelString::from(name),
                    Cow::Owned(name) => CelString::from(name),
                };
                Member { name, text, value: OnceLock::new() }
            };
            Ok(members.into_iter().map(member).collect())
        };
        self.members.get_or_init(read).as_deref().map_err(Clone::clone)
    }

    /// Returns a member; `None`: there is none of that name.
    fn member(&self, name: &dyn Val) -> Result<Option<&Member<'text>>, ExecutionError> {
        let Some(name) = name.downcast_ref::<CelString>() else { return Ok(None) };
        let members = self.members()?;
        let found = members.binary_search_by(|member| member.name.inner().cmp(name.inner()));
        Ok(found.ok().map(|index| &members[index]))
    }
}

impl<'text> Member<'text> {
    fn value(&self, place: &Place) -> Result<&(dyn Val + 'text), ExecutionError> {
        self.value.get_or_init(|| value_at(self.text, place)).as_deref().map_err(Clone::clone)
    }
}

/// The object as compact JSON: this is how it gets into the record that the expression's value becomes part of.
impl fmt::Debug for Object<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut compact = Vec::with_capacity(self.text.len());
        json::append(self.text, &mut compact);
        formatter.write_str(std::str::from_utf8(&compact).map_err(|_| fmt::Error)?)
    }
}

impl Val for Object<'_> {
    fn get_type(&self) -> &Type {
        &MAP
    }

    fn cel_type() -> &'static Type {
        &MAP
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_iterable<'b, 'v>(&'b self) -> Option<&'b (dyn Iterable + 'v)>
    where
        Self: 'v,
    {
        self.members().is_ok().then_some(self)
    }

    fn as_sizer(&self) -> Option<&dyn Sizer> {
        self.members().is_ok().then_some(self)
    }

    fn as_zeroer(&self) -> Option<&dyn Zeroer> {
        self.members().is_ok().then_some(self)
    }

    fn equals(&self, other: &dyn Val) -> bool {
        let (Some(indexer), Some(sizer), Ok(members)) = (other.as_indexer(), other.as_sizer(), self.members()) else {
            return false;
        };
        let same = |member: &Member<'_>| match (member.value(&self.place), indexer.get(&member.name)) {
            (Ok(own), Ok(theirs)) => own.equals(theirs.as_ref()),
            _ => false,
        };
        *other.get_type() == MAP && *sizer.size().inner() == members.len() as i64 && members.iter().all(same)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(Object::new(self.text, self.place.clone()))
    }
}

impl Container for Object<'_> {
    fn contains(&self, name: &dyn Val) -> Result<bool, ExecutionError> {
        self.member(name).map(|member| member.is_some())
    }
}

impl Indexer for Object<'_> {
    fn get<'b, 'v>(&'b self, name: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        match self.member(name)? {
            Some(member) => member.value(&self.place).map(CowVal::Borrowed),
            None => {
                let name = name.downcast_ref::<CelString>().map(CelString::inner);
                Err(ExecutionError::no_such_key(name.unwrap_or("what is no text")))
            }
        }
    }

    fn steal<'v>(self: Box<Self>, name: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(name).map(CowVal::into_owned)
    }
}

impl Iterable for Object<'_> {
    fn iter<'b, 'v>(&'b self) -> Box<dyn traits::Iterator<'b, 'v> + 'b>
    where
        Self: 'v,
    {
        Box::new(Names(self.members().unwrap_or_default().iter()))
    }
}

struct Names<'b, 'text>(std::slice::Iter<'b, Member<'text>>);

impl<'b, 'v, 'text: 'v> traits::Iterator<'b, 'v> for Names<'b, 'text> {
    fn next(&mut self) -> Option<&'b (dyn Val + 'v)> {
        self.0.next().map(|member| &member.name as &dyn Val)
    }
}

impl Sizer for Object<'_> {
    fn size(&self) -> CelInt {
        CelInt::from(self.members().map_or(0, <[_]>::len) as i64)
    }
}

impl Zeroer for Object<'_> {
    fn is_zero_value(&self) -> bool {
        self.members().is_ok_and(<[_]>::is_empty)
    }
}
