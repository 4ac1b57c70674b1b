//! A column's CQL type: parsed from its text at the border, printed as text in settings and statements.
//!
//! What Cassandra refuses whatever the table, such as a collection in a collection that is not frozen, does not parse;
//! what depends on the place of a type, such as the primary key, is judged where the place is known.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use snafu::{Snafu, ensure};

/// Most elements that Cassandra allows a vector.
pub const LARGEST_VECTOR: u16 = 8192;

/// A CQL type that a column may have.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
#[allow(missing_docs, reason = "each variant without contents is the CQL type of that name")]
pub enum ColumnType {
    Ascii,
    Bigint,
    Blob,
    Boolean,
    Date,
    Decimal,
    Double,
    Duration,
    Float,
    Inet,
    Int,
    Smallint,
    Text,
    Time,
    Timestamp,
    Timeuuid,
    Tinyint,
    Uuid,
    Varint,
    /// `list<element>`.
    List(Box<Self>),
    /// `set<element>`.
    Set(Box<Self>),
    /// `map<key, value>`.
    Map(Box<Self>, Box<Self>),
    /// `tuple<member, …>`; always frozen.
    Tuple(Vec<Self>),
    /// `vector<element, dimension>`; always frozen.
    Vector(Box<Self>, u16),
    /// A user-defined type of the keyspace, by its name.
    UserDefined(String),
    /// `frozen<type>`: written as one cell.
    Frozen(Box<Self>),
}

/// Why a text is no type of a column.
#[derive(Clone, Debug, Eq, PartialEq, Snafu)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum ParseType {
    #[snafu(display("'{text}' is not a CQL type: {wanted} is expected at character {position}"))]
    ReadToken { text: String, wanted: &'static str, position: usize },
    #[snafu(display("'{text}' is not a CQL type: {name} is written {form}"))]
    CountParameters { text: String, name: String, form: &'static str },
    #[snafu(display("'{text}' is not a CQL type: a vector has from 1 to {LARGEST_VECTOR} elements"))]
    SizeVector { text: String },
    #[snafu(display(
        "a counter cannot be written idempotently: a record that is delivered twice would be counted twice; \
         use bigint and let the record carry the total"
    ))]
    RefuseCounter,
    #[snafu(display("only collections, tuples and user-defined types can be frozen, not {inner}"))]
    FreezeSimple { inner: String },
    #[snafu(display("durations have no order, so they can be neither in a set nor in the key of a map"))]
    OrderDuration,
    #[snafu(display("{inner} inside {outer} must be frozen; write frozen<{inner}>"))]
    NestUnfrozen { inner: String, outer: &'static str },
}

impl ColumnType {
    /// Every type without parameters.
    pub const SIMPLE: [Self; 19] = [
        Self::Ascii,
        Self::Bigint,
        Self::Blob,
        Self::Boolean,
        Self::Date,
        Self::Decimal,
        Self::Double,
        Self::Duration,
        Self::Float,
        Self::Inet,
        Self::Int,
        Self::Smallint,
        Self::Text,
        Self::Time,
        Self::Timestamp,
        Self::Timeuuid,
        Self::Tinyint,
        Self::Uuid,
        Self::Varint,
    ];

    /// Returns the name of a type, of a type with parameters the part before them.
    pub fn name(&self) -> &str {
        match self {
            Self::Ascii => "ascii",
            Self::Bigint => "bigint",
            Self::Blob => "blob",
            Self::Boolean => "boolean",
            Self::Date => "date",
            Self::Decimal => "decimal",
            Self::Double => "double",
            Self::Duration => "duration",
            Self::Float => "float",
            Self::Inet => "inet",
            Self::Int => "int",
            Self::Smallint => "smallint",
            Self::Text => "text",
            Self::Time => "time",
            Self::Timestamp => "timestamp",
            Self::Timeuuid => "timeuuid",
            Self::Tinyint => "tinyint",
            Self::Uuid => "uuid",
            Self::Varint => "varint",
            Self::List(_) => "list",
            Self::Set(_) => "set",
            Self::Map(..) => "map",
            Self::Tuple(_) => "tuple",
            Self::Vector(..) => "vector",
            Self::UserDefined(name) => name,
            Self::Frozen(_) => "frozen",
        }
    }

    /// Returns the type as a statement has it: names quoted, and frozen written out wherever it holds. Two types are
    /// the same to Cassandra if these texts are.
    pub fn cql(&self) -> String {
        self.statement(false)
    }

    fn statement(&self, inside: bool) -> String {
        let bare = match self {
            Self::Frozen(inner) if inner.has_cells() => return format!("frozen<{}>", inner.statement(false)),
            Self::Frozen(inner) => return inner.statement(inside),
            Self::List(element) => format!("list<{}>", element.statement(true)),
            Self::Set(element) => format!("set<{}>", element.statement(true)),
            Self::Map(key, value) => format!("map<{}, {}>", key.statement(true), value.statement(true)),
            Self::Tuple(members) => {
                let members: Vec<String> = members.iter().map(|member| member.statement(true)).collect();
                format!("tuple<{}>", members.join(", "))
            }
            Self::Vector(element, dimension) => format!("vector<{}, {dimension}>", element.statement(true)),
            Self::UserDefined(name) => format!("\"{}\"", name.replace('"', "\"\"")),
            simple => simple.name().to_owned(),
        };
        if inside && self.has_cells() { format!("frozen<{bare}>") } else { bare }
    }

    /// Returns whether a value has a cell for each of its parts, and not a single one.
    pub fn has_cells(&self) -> bool {
        matches!(self, Self::List(_) | Self::Set(_) | Self::Map(..) | Self::UserDefined(_))
    }

    /// Returns the types directly inside.
    pub fn parts(&self) -> Vec<&Self> {
        match self {
            Self::List(inner) | Self::Set(inner) | Self::Vector(inner, _) | Self::Frozen(inner) => vec![inner],
            Self::Map(key, value) => vec![key, value],
            Self::Tuple(members) => members.iter().collect(),
            _ => Vec::new(),
        }
    }

    /// Returns the names of the user-defined types in it, itself included.
    pub fn user_types(&self) -> Vec<&str> {
        match self {
            Self::UserDefined(name) => vec![name],
            other => other.parts().into_iter().flat_map(Self::user_types).collect(),
        }
    }

    /// Refuses what Cassandra refuses of a type's parts.
    fn check(&self) -> Result<(), ParseType> {
        match self {
            Self::Frozen(inner) => {
                let freezes = !matches!(**inner, Self::Frozen(_)) && (inner.has_cells() || !inner.parts().is_empty());
                ensure!(freezes, FreezeSimpleSnafu { inner: inner.to_string() });
                // All that is inside is frozen with it.
                return inner.parts().into_iter().try_for_each(Self::check_frozen);
            }
            Self::List(_) | Self::Set(_) | Self::Map(..) => {
                let outer = if let Self::Map(..) = self {
                    "a map"
                } else if let Self::Set(_) = self {
                    "a set"
                } else {
                    "a list"
                };
                for part in self.parts() {
                    ensure!(!part.has_cells(), NestUnfrozenSnafu { inner: part.to_string(), outer });
                }
            }
            Self::Tuple(_) | Self::Vector(..) => return self.parts().into_iter().try_for_each(Self::check_frozen),
            _ => {}
        }
        self.parts().into_iter().try_for_each(Self::check)
    }

    /// Returns whether a set or the keys of a map have durations, which cannot be ordered.
    fn orders_durations(&self) -> bool {
        let orders = match self {
            Self::Set(ordered) | Self::Map(ordered, _) => ordered.has_duration(),
            _ => false,
        };
        orders || self.parts().into_iter().any(Self::orders_durations)
    }

    /// Returns whether there is a duration in it, user-defined types apart.
    pub fn has_duration(&self) -> bool {
        *self == Self::Duration || self.parts().into_iter().any(Self::has_duration)
    }

    /// Refuses what is wrong in a type that is frozen from outside.
    fn check_frozen(&self) -> Result<(), ParseType> {
        if let Self::Frozen(_) = self {
            return self.check();
        }
        self.parts().into_iter().try_for_each(Self::check_frozen)
    }
}

/// Writes the type as a user would.
impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List(inner) | Self::Set(inner) | Self::Frozen(inner) => write!(f, "{}<{inner}>", self.name()),
            Self::Map(key, value) => write!(f, "map<{key}, {value}>"),
            Self::Tuple(members) => {
                let members: Vec<String> = members.iter().map(Self::to_string).collect();
                write!(f, "tuple<{}>", members.join(", "))
            }
            Self::Vector(element, dimension) => write!(f, "vector<{element}, {dimension}>"),
            Self::UserDefined(name) if !is_plain(name) => write!(f, "\"{}\"", name.replace('"', "\"\"")),
            simple => f.write_str(simple.name()),
        }
    }
}

impl From<ColumnType> for String {
    fn from(column_type: ColumnType) -> Self {
        column_type.to_string()
    }
}

impl TryFrom<String> for ColumnType {
    type Error = ParseType;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl FromStr for ColumnType {
    type Err = ParseType;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut reader = Reader { text, position: 0 };
        let column_type = reader.column_type()?;
        ensure!(reader.peek().is_none(), reader.wants("the end"));
        column_type.check()?;
        ensure!(!column_type.orders_durations(), OrderDurationSnafu);
        Ok(column_type)
    }
}

/// Returns whether a name needs no quotes.
fn is_plain(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase()) && name.bytes().all(is_name_byte)
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'
}

/// Reads a type from left to right.
struct Reader<'text> {
    text: &'text str,
    position: usize,
}

/// What stands between angle brackets.
enum Parameter {
    Type(ColumnType),
    Number(u16),
}

impl<'text> Reader<'text> {
    fn column_type(&mut self) -> Result<ColumnType, ParseType> {
        if self.peek() == Some(b'"') {
            return self.quoted().map(ColumnType::UserDefined);
        }
        let name = self.word()?;
        if self.peek() != Some(b'<') {
            return self.simple(name);
        }
        let parameters = self.parameters()?;
        self.parameterised(&name, parameters)
    }

    fn simple(&self, name: String) -> Result<ColumnType, ParseType> {
        ensure!(name != "counter", RefuseCounterSnafu);
        if let Some(form) = form_of(&name) {
            return CountParametersSnafu { text: self.text, name, form }.fail();
        }
        // The other name of text.
        let known = if name == "varchar" { "text" } else { &name };
        let simple = ColumnType::SIMPLE.into_iter().find(|simple| simple.name() == known);
        Ok(simple.unwrap_or(ColumnType::UserDefined(name)))
    }

    fn parameterised(&self, name: &str, parameters: Vec<Parameter>) -> Result<ColumnType, ParseType> {
        use Parameter::{Number, Type};

        let mut parameters = parameters.into_iter();
        let given = (parameters.next(), parameters.next(), parameters.len());
        Ok(match (name, given) {
            ("list", (Some(Type(element)), None, 0)) => ColumnType::List(Box::new(element)),
            ("set", (Some(Type(element)), None, 0)) => ColumnType::Set(Box::new(element)),
            ("frozen", (Some(Type(inner)), None, 0)) => ColumnType::Frozen(Box::new(inner)),
            ("map", (Some(Type(key)), Some(Type(value)), 0)) => ColumnType::Map(Box::new(key), Box::new(value)),
            ("vector", (Some(Type(element)), Some(Number(dimension)), 0)) => {
                ensure!((1..=LARGEST_VECTOR).contains(&dimension), SizeVectorSnafu { text: self.text });
                ColumnType::Vector(Box::new(element), dimension)
            }
            ("tuple", (first, second, _)) => {
                let mut members = Vec::new();
                for parameter in first.into_iter().chain(second).chain(parameters) {
                    match parameter {
                        Type(member) => members.push(member),
                        Number(_) => return self.miscounted(name),
                    }
                }
                ColumnType::Tuple(members)
            }
            (name, _) => return self.miscounted(name),
        })
    }

    fn miscounted(&self, name: &str) -> Result<ColumnType, ParseType> {
        let form = form_of(name).unwrap_or("without parameters");
        CountParametersSnafu { text: self.text, name, form }.fail()
    }

    fn parameters(&mut self) -> Result<Vec<Parameter>, ParseType> {
        self.position += 1;
        let mut parameters = Vec::new();
        loop {
            parameters.push(match self.peek() {
                Some(digit) if digit.is_ascii_digit() => Parameter::Number(self.number()?),
                _ => Parameter::Type(self.column_type()?),
            });
            match self.peek() {
                Some(b',') => self.position += 1,
                Some(b'>') => break,
                _ => return self.wants("',' or '>'").fail(),
            }
        }
        self.position += 1;
        Ok(parameters)
    }

    fn number(&mut self) -> Result<u16, ParseType> {
        let digits = self.take(|byte| byte.is_ascii_digit());
        digits.parse().or_else(|_| SizeVectorSnafu { text: self.text }.fail())
    }

    fn word(&mut self) -> Result<String, ParseType> {
        let begins = self.peek().is_some_and(|first| first.is_ascii_lowercase());
        ensure!(begins, self.wants("the name of a type"));
        Ok(self.take(is_name_byte).to_owned())
    }

    fn quoted(&mut self) -> Result<String, ParseType> {
        let mut name = String::new();
        loop {
            self.position += 1;
            name.push_str(self.take_to_quote());
            if !self.text[self.position..].starts_with('"') {
                return self.wants("a closing quote").fail();
            }
            self.position += 1;
            // Two quotes are one in the name.
            if !self.text[self.position..].starts_with('"') {
                return Ok(name);
            }
            name.push('"');
        }
    }

    fn take_to_quote(&mut self) -> &'text str {
        self.take(|byte| byte != b'"')
    }

    fn take(&mut self, fits: impl Fn(u8) -> bool) -> &'text str {
        let rest = &self.text[self.position..];
        let length = rest.bytes().position(|byte| !fits(byte)).unwrap_or(rest.len());
        self.position += length;
        &rest[..length]
    }

    /// Skips spaces and returns what comes then.
    fn peek(&mut self) -> Option<u8> {
        self.take(|byte| byte == b' ');
        self.text.as_bytes().get(self.position).copied()
    }

    fn wants(&self, wanted: &'static str) -> ReadTokenSnafu<&'text str, &'static str, usize> {
        ReadTokenSnafu { text: self.text, wanted, position: self.position + 1 }
    }
}

/// Says how a type with parameters is written.
fn form_of(name: &str) -> Option<&'static str> {
    Some(match name {
        "list" => "list<type>",
        "set" => "set<type>",
        "map" => "map<type, type>",
        "tuple" => "tuple<type, …>",
        "vector" => "vector<type, number>",
        "frozen" => "frozen<type>",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> ColumnType {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn types_are_read_and_written_as_cassandra_has_them() {
        for (written, shown, statement) in [
            ("int", "int", "int"),
            ("varchar", "text", "text"),
            ("set< text >", "set<text>", "set<text>"),
            ("map<text,frozen<list<int>>>", "map<text, frozen<list<int>>>", "map<text, frozen<list<int>>>"),
            ("frozen<list<set<int>>>", "frozen<list<set<int>>>", "frozen<list<frozen<set<int>>>>"),
            ("tuple<int, list<text>>", "tuple<int, list<text>>", "tuple<int, frozen<list<text>>>"),
            ("frozen<tuple<int>>", "frozen<tuple<int>>", "tuple<int>"),
            ("vector<float, 3>", "vector<float, 3>", "vector<float, 3>"),
            ("set<vector<float,3>>", "set<vector<float, 3>>", "set<vector<float, 3>>"),
            ("address", "address", "\"address\""),
            ("list<frozen<address>>", "list<frozen<address>>", "list<frozen<\"address\">>"),
            ("frozen<\"Odd \"\"name\">", "frozen<\"Odd \"\"name\">", "frozen<\"Odd \"\"name\">"),
        ] {
            let column_type = parsed(written);
            assert_eq!(column_type.to_string(), shown);
            assert_eq!(column_type.cql(), statement);
            assert_eq!(parsed(&column_type.cql()).cql(), statement, "what Cassandra says is the same type");
        }
    }

    #[test]
    fn what_is_no_type_is_refused_in_words() {
        for (text, message) in [
            ("", "'' is not a CQL type: the name of a type is expected at character 1"),
            ("Int", "'Int' is not a CQL type: the name of a type is expected at character 1"),
            ("list<int", "'list<int' is not a CQL type: ',' or '>' is expected at character 9"),
            ("list<int>>", "'list<int>>' is not a CQL type: the end is expected at character 10"),
            ("list<>", "'list<>' is not a CQL type: the name of a type is expected at character 6"),
            ("other.type", "'other.type' is not a CQL type: the end is expected at character 6"),
            ("\"address", "'\"address' is not a CQL type: a closing quote is expected at character 9"),
            ("list", "'list' is not a CQL type: list is written list<type>"),
            ("map<text>", "'map<text>' is not a CQL type: map is written map<type, type>"),
            ("tuple<int, 3>", "'tuple<int, 3>' is not a CQL type: tuple is written tuple<type, …>"),
            ("vector<float>", "'vector<float>' is not a CQL type: vector is written vector<type, number>"),
            ("text<int>", "'text<int>' is not a CQL type: text is written without parameters"),
            ("vector<float, 0>", "'vector<float, 0>' is not a CQL type: a vector has from 1 to 8192 elements"),
            ("vector<float, 70000>", "'vector<float, 70000>' is not a CQL type: a vector has from 1 to 8192 elements"),
            (
                "counter",
                "a counter cannot be written idempotently: a record that is delivered twice would be counted twice; use \
                 bigint and let the record carry the total",
            ),
            ("set<duration>", "durations have no order, so they can be neither in a set nor in the key of a map"),
            (
                "frozen<list<map<tuple<duration>, int>>>",
                "durations have no order, so they can be neither in a set nor in the key of a map",
            ),
            ("frozen<int>", "only collections, tuples and user-defined types can be frozen, not int"),
            ("set<list<int>>", "list<int> inside a set must be frozen; write frozen<list<int>>"),
            ("list<address>", "address inside a list must be frozen; write frozen<address>"),
            ("map<text, map<text, int>>", "map<text, int> inside a map must be frozen; write frozen<map<text, int>>"),
        ] {
            let error = text.parse::<ColumnType>().expect_err(text);
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn names_of_user_defined_types_are_found_at_any_depth() {
        let column_type = parsed("map<text, frozen<tuple<address, list<frozen<phone>>>>>");
        assert_eq!(column_type.user_types(), ["address", "phone"]);
    }

    #[test]
    fn a_type_is_its_text_in_settings() {
        let json = serde_json::to_string(&parsed("map<text,int>")).expect("it serializes");
        assert_eq!(json, r#""map<text, int>""#);
        assert_eq!(serde_json::from_str::<ColumnType>(&json).expect("it reads"), parsed("map<text, int>"));
        let error = serde_json::from_str::<ColumnType>(r#""counter""#).expect_err("no counter");
        assert!(error.to_string().starts_with("a counter cannot be written idempotently"), "{error}");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-z<>, 0-9\"é]{0,40}|(frozen<|list<|map<text, |tuple<|int|,|>|vector<){0,12}") {
            if let Ok(column_type) = text.parse::<ColumnType>() {
                prop_assert_eq!(&parsed(&column_type.to_string()), &column_type);
                prop_assert_eq!(parsed(&column_type.cql()).cql(), column_type.cql());
            }
        }
    }
}
