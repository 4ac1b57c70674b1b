//! The functions that SQL may call: those whose value follows from their arguments alone, so that a record that is
//! written again becomes the same row.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use datafusion_expr::ScalarUDF;
use datafusion_functions::{core, datetime, math, regex, string, unicode};

/// The functions by kind, for the documentation, too.
pub const FUNCTIONS: [(&str, &[&str]); 5] = [
    ("choice", &["coalesce", "greatest", "least", "nullif", "nvl", "nvl2"]),
    (
        "text",
        &[
            "ascii",
            "bit_length",
            "btrim",
            "character_length",
            "chr",
            "concat",
            "concat_ws",
            "contains",
            "ends_with",
            "find_in_set",
            "initcap",
            "left",
            "levenshtein",
            "lower",
            "lpad",
            "ltrim",
            "octet_length",
            "replace",
            "reverse",
            "right",
            "rpad",
            "rtrim",
            "split_part",
            "starts_with",
            "strpos",
            "substr",
            "substr_index",
            "to_hex",
            "translate",
            "upper",
        ],
    ),
    ("regular expressions", &["regexp_count", "regexp_instr", "regexp_like", "regexp_replace"]),
    (
        "numbers",
        &[
            "abs", "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "ceil", "cos", "cosh", "cot",
            "degrees", "exp", "floor", "gcd", "isnan", "iszero", "lcm", "ln", "log", "log10", "log2", "nanvl", "pi",
            "power", "radians", "round", "signum", "sin", "sinh", "sqrt", "tan", "tanh", "trunc",
        ],
    ),
    (
        "time",
        &[
            "date_bin",
            "date_part",
            "date_trunc",
            "from_unixtime",
            "make_date",
            "to_char",
            "to_date",
            "to_timestamp",
            "to_timestamp_micros",
            "to_timestamp_millis",
            "to_timestamp_nanos",
            "to_timestamp_seconds",
            "to_unixtime",
        ],
    ),
];

static BY_NAME: LazyLock<HashMap<String, Arc<ScalarUDF>>> = LazyLock::new(|| {
    let all = [
        core::functions(),
        datetime::functions(),
        math::functions(),
        regex::functions(),
        string::functions(),
        unicode::functions(),
    ];
    let allowed: Vec<&str> = FUNCTIONS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    let mut by_name = HashMap::new();
    for function in all.into_iter().flatten().filter(|function| allowed.contains(&function.name())) {
        for alias in function.aliases() {
            by_name.insert(alias.clone(), Arc::clone(&function));
        }
        by_name.insert(function.name().to_owned(), function);
    }
    by_name
});

/// Longest text that a padding function may make.
pub(crate) const LONGEST_PADDING: i64 = 10_000;

/// Returns the function of a name, or why there is none.
pub(crate) fn function(name: &str) -> Result<Arc<ScalarUDF>, String> {
    let name = name.to_lowercase();
    if let Some(function) = BY_NAME.get(&name) {
        return Ok(Arc::clone(function));
    }
    Err(match name.as_str() {
        "now" | "current_timestamp" | "current_date" | "current_time" | "localtimestamp" | "today" | "random"
        | "rand" | "uuid" | "gen_random_uuid" => {
            format!("{name}() would give another value when a record is written again; take the value from the record")
        }
        "count" | "sum" | "avg" | "mean" | "min" | "max" | "median" | "stddev" | "variance" | "array_agg"
        | "string_agg" | "first_value" | "last_value" | "approx_distinct" | "bool_and" | "bool_or" => format!(
            "{name}() is an aggregate, which is not supported yet: for now a query turns each record into rows by itself"
        ),
        "tumble" | "hop" | "session" | "row_number" | "rank" | "lag" | "lead" => format!(
            "{name}() needs a window, which is not supported yet: for now a query turns each record into rows by itself"
        ),
        _ => format!("there is no function '{name}'"),
    })
}

#[cfg(test)]
mod tests {
    use datafusion_expr::Volatility;

    use super::*;

    #[test]
    fn every_function_exists_and_depends_on_its_arguments_alone() {
        for name in FUNCTIONS.iter().flat_map(|(_, names)| *names) {
            let function = function(name).unwrap_or_else(|problem| panic!("{problem}"));
            assert_eq!(function.signature().volatility, Volatility::Immutable, "{name}");
        }
        assert!(function("random").is_err_and(|problem| problem.contains("another value")));
    }
}
