//! Judges the `fields` of each source: does every expression compile, and has every field a column?
//!
//! A fault belongs to one source and takes that source out; everything else goes on.

use millrace_expressions::environment;
use millrace_terms::{PROFILE_FIELDS, expression};

use super::{Fault, syntax};
use crate::crd::{Source, StreamingPipelineSpec};
use crate::pipeline::{Pipeline, Query, Table};
use crate::rejected::Rejected;

/// The only variable of a field's expression.
pub use millrace_expressions::RECORD_VARIABLE;

/// Returns every fault, in the order of the resource.
pub(super) fn check(spec: &StreamingPipelineSpec, pipeline: &Pipeline) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (index, source) in spec.producer.sources.iter().enumerate() {
        let path = format!("spec.producer.sources[{index}]");
        let rejected = expressions(&path, source).chain(columns(&path, source, pipeline));
        faults.extend(rejected.map(|rejected| Fault { name: source.name.clone(), rejected }));
    }
    faults
}

fn expressions<'a>(path: &'a str, source: &'a Source) -> impl Iterator<Item = Rejected> + 'a {
    source.fields.iter().filter_map(move |(field, expression)| {
        let fault = fault_of(expression, &[RECORD_VARIABLE])?;
        Some(Rejected::new(format!("{path}.fields.{field}"), fault))
    })
}

/// Returns why an expression can never be evaluated over these variables.
pub(super) fn fault_of(expression: &str, known: &[&str]) -> Option<String> {
    if let Err(exceeded) = expression::check(expression) {
        return Some(format!("'{}' {exceeded}", shown(expression)));
    }
    let program = match environment().compile(expression) {
        Ok(program) => program,
        Err(errors) => return Some(format!("'{expression}' is not a CEL expression: {}", syntax::sentence(&errors))),
    };
    if let Some(variable) = unknown_variable(&program, expression, known) {
        return Some(match known {
            [] => format!("'{expression}' uses '{variable}', but there are no variables here"),
            [only] => {
                format!("'{expression}' uses '{variable}', but the only variable is '{only}'; write {only}.{variable}")
            }
            several => format!("'{expression}' uses '{variable}', but the variables are {}", several.join(" and ")),
        });
    }
    let function = unknown_function(&program)?;
    Some(format!(
        "'{expression}' calls '{function}', which is not a function of CEL's standard library or its strings extension"
    ))
}

/// Returns the beginning of an expression that may be very long.
fn shown(expression: &str) -> String {
    const LONGEST: usize = 60;
    match expression.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &expression[..end]),
        None => expression.to_owned(),
    }
}

/// Returns a function that no evaluation can find.
fn unknown_function(program: &cel::Program) -> Option<String> {
    let mut context = cel::Context::with_env(environment());
    let references = program.references();
    let mut functions = references.functions();
    functions.sort_unstable();
    // Operators are functions, too, with names that nobody could write as a call.
    let called = functions.into_iter().filter(|name| name.starts_with(|first: char| first.is_ascii_alphabetic()));
    // A name that the library has cannot be given to another function.
    called.into_iter().find(|name| context.add_function(name, || 0_i64).is_ok()).map(str::to_owned)
}

/// Returns a variable that nothing binds. Expressions with macros bind variables of their own and are left alone.
fn unknown_variable(program: &cel::Program, expression: &str, known: &[&str]) -> Option<String> {
    let has_macro =
        [".map(", ".filter(", ".all(", ".exists(", ".exists_one("].iter().any(|call| expression.contains(call));
    if has_macro {
        return None;
    }
    let references = program.references();
    let mut variables = references.variables();
    variables.sort_unstable();
    variables.into_iter().find(|variable| !known.contains(variable) && !variable.starts_with('@')).map(str::to_owned)
}

fn columns(path: &str, source: &Source, pipeline: &Pipeline) -> Vec<Rejected> {
    let (fields, named) = fields_of(source);
    if fields.is_empty() {
        return Vec::new();
    }
    let mut rejected = Vec::new();
    // A query with SQL says itself which fields it wants.
    let by_name = |query: &&Query| query.from == source.topic && query.sql.is_none();
    for query in pipeline.processor.queries.iter().filter(by_name) {
        let Some(table) = pipeline.cassandra.table(&query.into) else {
            continue;
        };
        let context = format!("table '{}', which query '{}' fills from topic '{}'", table.name, query.name, query.from);
        for field in &fields {
            if table.columns.iter().all(|column| column.name != *field) {
                let place = if named { format!("{path}.fields.{field}") } else { path.to_owned() };
                rejected.push(Rejected::new(
                    place,
                    format!("field '{field}' has no column in {context}; add the column or remove the field"),
                ));
            }
        }
        for key in key_columns(table).filter(|key| !fields.contains(key)) {
            rejected.push(Rejected::new(
                format!("{path}.fields"),
                format!("primary-key column '{key}' has no value in {context}; add a field '{key}'"),
            ));
        }
    }
    if !fields.contains(&source.key.as_str()) {
        rejected.push(Rejected::new(
            format!("{path}.key"),
            format!("'{}' is not a field of the record; name one of them", source.key),
        ));
    }
    rejected
}

/// Returns the fields of the source's records, and whether the resource names them. Empty: not known before it runs.
fn fields_of(source: &Source) -> (Vec<&str>, bool) {
    if !source.fields.is_empty() {
        return (source.fields.keys().map(String::as_str).collect(), true);
    }
    if source.generator.is_some() {
        return (PROFILE_FIELDS.to_vec(), false);
    }
    (Vec::new(), false)
}

fn key_columns(table: &Table) -> impl Iterator<Item = &str> {
    table.partition_key.iter().chain(&table.clustering_key).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown(expression: &str) -> Option<String> {
        unknown_function(&environment().compile(expression).expect("the expression compiles"))
    }

    #[test]
    fn knows_the_functions_of_the_standard_library_and_no_others() {
        let known = [
            "string(record.a) + '-' + record.b",
            "int(record.a) > 3 && !(record.b in ['x'])",
            "double(record.a) * -1.0",
            "uint(record.a)",
            "size(record.list) + record.list.size()",
            "record.a.contains('x') || record.a.startsWith('y') || record.a.endsWith('z')",
            "record.a.matches('^x+$')",
            "timestamp(record.at) + duration('1h')",
            "timestamp(record.at).getFullYear()",
            "has(record.a) ? record.a : ''",
            "record.list.map(one, one.name)[0]",
            "record.list.filter(one, one > 1).exists(two, two == 2)",
            "record.list.all(one, one != null)",
            "bytes(record.a) == b'x'",
            "type(record.a) == type('')",
            "record['a b']",
            "record.?a.?b.orValue('x').lowerAscii().split(',')[0].trim().replace('a', 'b').substring(1)",
            "record.list.join('-')",
        ];
        for expression in known {
            assert_eq!(unknown(expression), None, "{expression}");
        }
        assert_eq!(unknown("strng(record.a)").as_deref(), Some("strng"));
        assert_eq!(unknown("record.a.uppercase()").as_deref(), Some("uppercase"));
    }
}
