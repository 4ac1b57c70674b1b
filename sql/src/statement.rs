//! The form of the SQL: one SELECT over one stream, with an UNNEST perhaps. Everything else is refused here by name.

use millrace_terms::{Position, Problem};
use sqlparser::ast::{
    Distinct, Expr, GroupByExpr, Ident, JoinConstraint, JoinOperator, ObjectNamePart, Query, Select, SelectItem,
    SetExpr, Spanned, Statement, TableAlias, TableFactor,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use crate::position::{Result, position_of};

/// The parts of a SELECT that has the right form.
pub(crate) struct Parts {
    pub(crate) items: Vec<SelectItem>,
    pub(crate) stream: Named,
    pub(crate) unnest: Option<Unnest>,
    pub(crate) condition: Option<Expr>,
}

/// A table and the other name that it is given.
pub(crate) struct Named {
    pub(crate) name: Ident,
    pub(crate) alias: Option<Ident>,
}

/// `UNNEST(array) AS table(element, ordinal)`.
pub(crate) struct Unnest {
    pub(crate) array: Expr,
    pub(crate) table: Ident,
    pub(crate) element: Ident,
    pub(crate) ordinal: Option<Ident>,
}

/// Most brackets that are open at once.
const DEEPEST: usize = 12;

const START: Position = Position { line: 1, column: 1 };

/// Parses the SQL.
pub(crate) fn parse(sql: &str) -> Result<Parts> {
    let dialect = PostgreSqlDialect {};
    let tokens = Tokenizer::new(&dialect, sql).tokenize_with_location().map_err(|error| {
        Problem::new(Position { line: error.location.line, column: error.location.column }, lower(&error.message))
    })?;
    within_depth(&tokens)?;
    let mut statements = Parser::new(&dialect)
        .with_tokens_with_locations(tokens)
        .parse_statements()
        .map_err(|error| syntax(error, end(sql)))?;
    if statements.len() > 1 {
        let position = position_of(statements[1].span(), START);
        return Err(Problem::new(position, "a query is one SELECT; remove what follows the first"));
    }
    match statements.pop() {
        Some(Statement::Query(query)) => parts(*query),
        Some(other) => Err(Problem::new(position_of(other.span(), START), "a query is a SELECT")),
        None => Err(Problem::new(START, "there is no SELECT")),
    }
}

/// Refuses brackets that are nested too deeply: the parser tries arguments of functions twice, and so takes twice as long
/// for each level.
fn within_depth(tokens: &[TokenWithSpan]) -> Result<()> {
    let mut depth = 0_usize;
    for TokenWithSpan { token, span } in tokens {
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => depth += 1,
            Token::RParen | Token::RBracket | Token::RBrace => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST {
            let position = Position { line: span.start.line, column: span.start.column };
            let message = format!("the SQL is nested too deeply: more than {DEEPEST} nested brackets");
            return Err(Problem::new(position, message));
        }
    }
    Ok(())
}

/// Takes the position out of the parser's message: "…, found: x at Line: 1, Column: 8".
fn syntax(error: ParserError, end: Position) -> Problem {
    let message = match error {
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
        ParserError::RecursionLimitExceeded => return Problem::new(START, "the SQL is nested too deeply"),
    };
    let Some((text, place)) = message.rsplit_once(" at Line: ") else {
        // What is missing at the end has no place.
        return Problem::new(end, lower(&message));
    };
    let position = place.split_once(", Column: ").and_then(|(line, column)| {
        Some(Position { line: line.trim().parse().ok()?, column: column.trim().parse().ok()? })
    });
    Problem::new(position.unwrap_or(START), lower(text))
}

/// Returns the place behind the last character.
fn end(sql: &str) -> Position {
    let sql = sql.trim_end();
    let last = sql.lines().last().unwrap_or_default();
    Position { line: sql.lines().count().max(1) as u64, column: last.chars().count() as u64 + 1 }
}

/// Our messages begin in lower case; the parser's begin with a capital.
fn lower(message: &str) -> String {
    let mut letters = message.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::new(),
    }
}

fn later(position: Position, what: &str) -> Problem {
    Problem::new(position, format!("{what} not supported yet: for now a query turns each record into rows by itself"))
}

fn parts(query: Query) -> Result<Parts> {
    let here = position_of(query.span(), START);
    let Query { with, body, order_by, limit_clause, fetch, locks, for_clause, settings, format_clause, pipe_operators } =
        query;
    if let Some(with) = with {
        return Err(later(position_of(with.span(), here), "WITH is"));
    }
    let select = match *body {
        SetExpr::Select(select) => *select,
        SetExpr::SetOperation { left, .. } => {
            return Err(later(position_of(left.span(), here), "UNION, EXCEPT and INTERSECT are"));
        }
        other => return Err(Problem::new(position_of(other.span(), here), "a query is a plain SELECT")),
    };
    if let Some(order_by) = order_by {
        return Err(later(position_of(order_by.span(), here), "ORDER BY is"));
    }
    if let Some(limit) = limit_clause {
        return Err(later(position_of(limit.span(), here), "LIMIT is"));
    }
    let plain = fetch.is_none()
        && locks.is_empty()
        && for_clause.is_none()
        && settings.is_none()
        && format_clause.is_none()
        && pipe_operators.is_empty();
    if !plain {
        return Err(later(here, "FETCH, FOR and what else may follow a SELECT are"));
    }
    select_parts(select, here)
}

fn select_parts(select: Select, here: Position) -> Result<Parts> {
    let Select {
        select_token: _,
        optimizer_hints: _,
        distinct,
        select_modifiers,
        top,
        top_before_distinct: _,
        projection,
        exclude,
        into,
        from,
        lateral_views,
        prewhere,
        selection,
        connect_by,
        group_by,
        cluster_by,
        distribute_by,
        sort_by,
        having,
        named_window,
        qualify,
        window_before_qualify: _,
        value_table_mode,
        flavor: _,
    } = select;
    if !matches!(distinct, None | Some(Distinct::All)) {
        return Err(later(here, "DISTINCT is"));
    }
    match &group_by {
        GroupByExpr::Expressions(expressions, modifiers) if expressions.is_empty() && modifiers.is_empty() => {}
        other => return Err(later(position_of(other.span(), here), "GROUP BY is")),
    }
    if let Some(having) = &having {
        return Err(later(position_of(having.span(), here), "HAVING is"));
    }
    if !named_window.is_empty() || qualify.is_some() {
        return Err(later(here, "windows are"));
    }
    let plain = select_modifiers.is_none()
        && top.is_none()
        && exclude.is_none()
        && into.is_none()
        && lateral_views.is_empty()
        && prewhere.is_none()
        && connect_by.is_empty()
        && cluster_by.is_empty()
        && distribute_by.is_empty()
        && sort_by.is_empty()
        && value_table_mode.is_none();
    if !plain {
        return Err(Problem::new(here, "a query has SELECT, FROM, UNNEST and WHERE, and nothing else"));
    }
    let mut tables = Vec::new();
    for table in from {
        tables.push(table.relation);
        for join in table.joins {
            let position = position_of(join.span(), here);
            let crossed = match join.join_operator {
                JoinOperator::CrossJoin(JoinConstraint::None) => true,
                JoinOperator::Join(_) | JoinOperator::Inner(_) => false,
                _ if matches!(join.relation, TableFactor::UNNEST { .. }) => {
                    return Err(Problem::new(position, "an array is unnested by CROSS JOIN UNNEST(…) AS name"));
                }
                _ => false,
            };
            if !crossed {
                return Err(later(position, "joins of streams are"));
            }
            tables.push(join.relation);
        }
    }
    let mut tables = tables.into_iter();
    let Some(first) = tables.next() else {
        return Err(Problem::new(here, "the SELECT has no FROM; name the stream in it"));
    };
    let stream = stream(first, here)?;
    let unnest = tables.next().map(|table| unnest(table, here)).transpose()?;
    if let Some(third) = tables.next() {
        return Err(later(position_of(third.span(), here), "more than one UNNEST is"));
    }
    Ok(Parts { items: projection, stream, unnest, condition: selection })
}

fn stream(table: TableFactor, here: Position) -> Result<Named> {
    let position = position_of(table.span(), here);
    match table {
        TableFactor::Table { name, alias, args: None, with_ordinality: false, .. } => {
            let alias = match alias {
                Some(TableAlias { columns, .. }) if !columns.is_empty() => {
                    return Err(Problem::new(position, "the stream's columns have their names in `columns`"));
                }
                other => other.map(|alias| alias.name),
            };
            match <[ObjectNamePart; 1]>::try_from(name.0) {
                Ok([ObjectNamePart::Identifier(name)]) => Ok(Named { name, alias }),
                _ => Err(Problem::new(
                    position,
                    "a stream has one name; write a topic with dots in double quotes, FROM \"a.b\"",
                )),
            }
        }
        TableFactor::Derived { .. } => Err(later(position, "subqueries are")),
        _ => Err(Problem::new(position, "the first in FROM is the stream")),
    }
}

fn unnest(table: TableFactor, here: Position) -> Result<Unnest> {
    let position = position_of(table.span(), here);
    let TableFactor::UNNEST { alias, array_exprs, with_offset: false, with_offset_alias: None, with_ordinality } =
        table
    else {
        return Err(later(position, "joins of streams are"));
    };
    let Ok([array]) = <[Expr; 1]>::try_from(array_exprs) else {
        return Err(Problem::new(position, "UNNEST takes one array"));
    };
    let position = position_of(array.span(), position);
    let Some(TableAlias { name: table, columns, .. }) = alias else {
        return Err(Problem::new(position, "what UNNEST yields needs a name: UNNEST(…) AS name"));
    };
    let mut names = columns.into_iter().map(|column| column.name);
    let (element, ordinal) = match (names.next(), names.next(), names.next(), with_ordinality) {
        (None, None, None, false) => (table.clone(), None),
        (Some(element), None, None, false) => (element, None),
        (Some(element), Some(ordinal), None, true) => (element, Some(ordinal)),
        (_, _, _, true) => {
            return Err(Problem::new(position, "WITH ORDINALITY needs two names: AS name(element, position)"));
        }
        _ => return Err(Problem::new(position, "UNNEST yields one column: AS name, or AS name(element)")),
    };
    Ok(Unnest { array, table, element, ordinal })
}
