//! What a log line says of a rejected record: which field, and what is expected there; nothing of what stands there.
//!
//! Logs are read and kept by more people than the records are, and know neither masked fields nor rights. The whole
//! message is in the dead letter and in the answer to a push.

use crate::mapping::MapRecord;
use crate::rejection::Rejection;

/// Returns what is wrong with a record that cannot be mapped. Empty: the reason says it all.
pub(super) fn of_source(rejection: &MapRecord) -> String {
    match rejection {
        MapRecord::EvaluateField { field, expression, .. } => format!("field '{field}': '{expression}' fails"),
        MapRecord::EncodeField { field, expression, given, .. } => {
            format!("field '{field}': '{expression}' gives {given}")
        }
        MapRecord::TakeKey { key, state, .. } => format!("the key field '{key}' is {state}"),
        MapRecord::FitRecord { length, .. } => format!("the encoded record has {length} bytes"),
        _ => String::new(),
    }
}

/// Returns what is wrong with a record that becomes a dead letter.
pub(super) fn of_query(rejection: &Rejection) -> String {
    match rejection {
        Rejection::NotJson { .. } => "the record is not a JSON object".to_owned(),
        Rejection::BadKey { table, .. } => {
            format!("the record has no value, and its key does not name a row of table '{table}'")
        }
        Rejection::UnknownField { table, .. } => format!("table '{table}' has no column for a field"),
        Rejection::UnknownElement { path, type_name } => {
            format!("field '{}': type '{type_name}' has no such field", column(path))
        }
        Rejection::BadValue { column: path, wanted, .. } => format!("field '{}' wants {wanted}", column(path)),
        Rejection::BadField { query, field, wanted, .. } => format!("query '{query}': field {field} wants {wanted}"),
        Rejection::BadColumn { query, column, .. } => format!("query '{query}': column '{column}' cannot be computed"),
        Rejection::BadCondition { query, .. } => format!("query '{query}': WHERE cannot be computed"),
        Rejection::RefusedByCassandra { .. } => "cassandra refuses the row".to_owned(),
        Rejection::MissingKey { .. }
        | Rejection::RepeatedField { .. }
        | Rejection::TooLarge { .. }
        | Rejection::TooManyRows { .. } => rejection.to_string(),
    }
}

/// Returns the column of a path such as `tags["a key"]` or `address.city`: the rest may be the record's own.
fn column(path: &str) -> &str {
    path.split(['.', '[']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "hunter2";

    /// Every kind, with the value wherever a value can be.
    fn rejections() -> Vec<Rejection> {
        let text = |text: &str| text.to_owned();
        let (query, table) = (text("q"), text("t"));
        vec![
            Rejection::NotJson { problem: text(SECRET) },
            Rejection::MissingKey { column: text("id"), table: table.clone(), state: "null" },
            Rejection::BadKey { table: table.clone(), problem: text(SECRET) },
            Rejection::UnknownField { field: text(SECRET), table },
            Rejection::UnknownElement { path: format!("a[\"{SECRET}\"].b"), type_name: text("address") },
            Rejection::BadValue { column: format!("tags.{SECRET}"), wanted: "an int".into(), excerpt: text(SECRET) },
            Rejection::RepeatedField { field: text("age") },
            Rejection::TooLarge { length: 2, limit: 1 },
            Rejection::BadField { query: query.clone(), field: text("a"), wanted: "an int", excerpt: text(SECRET) },
            Rejection::BadColumn { query: query.clone(), column: text("c"), problem: text(SECRET) },
            Rejection::BadCondition { query: query.clone(), problem: text(SECRET) },
            Rejection::TooManyRows { query, limit: 1 },
            Rejection::RefusedByCassandra { problem: text(SECRET) },
        ]
    }

    #[test]
    fn no_line_has_anything_of_a_value() {
        let mut quoting = 0;
        for rejection in rejections() {
            quoting += usize::from(rejection.to_string().contains(SECRET));
            let said = of_query(&rejection);
            assert!(!said.contains(SECRET) && !said.is_empty(), "{said}");
        }
        assert_eq!(quoting, 9, "the whole messages do quote, so this test can fail");
    }

    #[test]
    fn says_which_field_and_what_it_wants() {
        let bad = Rejection::BadValue { column: "tags[3]".into(), wanted: "an int".into(), excerpt: "\"x\"".into() };
        assert_eq!(of_query(&bad), "field 'tags' wants an int");
    }

    #[test]
    fn an_expression_that_fails_is_told_without_what_it_was_given() {
        let (field, expression) = ("age".to_owned(), "int(record.age)".to_owned());
        let failed = MapRecord::EvaluateField { field, expression, problem: SECRET.to_owned() };
        assert_eq!(of_source(&failed), "field 'age': 'int(record.age)' fails");
        assert_eq!(of_source(&MapRecord::ReadRecord { problem: SECRET.to_owned() }), "");
    }
}
