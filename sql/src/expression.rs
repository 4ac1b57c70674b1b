//! One expression of the SQL, checked and typed node by node, so that every error has its place.
//!
//! Comes in as the parser's tree, goes out as DataFusion's, with the fields it reads as columns of a stage's schema.
//! Knows an expression by listing it: what is not here is refused.

mod call;
mod operator;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field as ArrowField, FieldRef, IntervalUnit};
use datafusion_common::{DFSchema, DataFusionError, ScalarValue};
use datafusion_expr::expr::{Cast, TryCast};
use datafusion_expr::{Expr, ExprSchemable, Operator};
use millrace_terms::{Position, Problem};
use sqlparser::ast::{
    self, BinaryOperator, CastKind, CeilFloorKind, DateTimeField, Spanned, TrimWhereField, UnaryOperator, Value,
};

use crate::extract::Step;
use crate::position::{Result, position_of};
use crate::scope::{Field, Read, Scope};
use crate::types::{self, CASTS, Class};

/// Deepest nesting; each level costs stack where the expression is evaluated.
const DEEPEST: usize = 128;

/// The fields that the expressions of one stage read: the columns of its batches.
#[derive(Default)]
pub(crate) struct Inputs {
    fields: Vec<Field>,
    arrow: Vec<FieldRef>,
}

impl Inputs {
    /// Returns the column of a field; equal ones share it.
    fn column(&mut self, field: Field, data_type: DataType) -> Expr {
        let index = self.fields.iter().position(|known| known.read == field.read && known.is_at(&field));
        let index = index.unwrap_or_else(|| {
            let name = self.fields.len().to_string();
            self.arrow.push(Arc::new(ArrowField::new(name, data_type, true)));
            self.fields.push(field);
            self.fields.len() - 1
        });
        Expr::Column(datafusion_common::Column::new_unqualified(index.to_string()))
    }

    /// Returns the schema as it is now.
    pub(crate) fn schema(&self) -> DFSchema {
        DFSchema::from_unqualified_fields(self.arrow.clone().into(), std::collections::HashMap::new())
            .expect("column names are numbers, each once")
    }

    /// Returns the fields, in the order of the columns.
    pub(crate) fn into_fields(self) -> Vec<Field> {
        self.fields
    }
}

impl Field {
    fn is_at(&self, other: &Self) -> bool {
        self.level == other.level && self.path == other.path
    }
}

/// What an expression is.
pub(crate) enum Term {
    /// A field as it stands in the record.
    Field(Field),
    /// To be computed.
    Computed(Expr),
}

/// Translates the expressions of one stage.
pub(crate) struct Translate<'a> {
    scope: &'a Scope<'a>,
    inputs: &'a mut Inputs,
    /// The latest known place, for what the parser has no place of.
    here: Position,
    depth: usize,
}

impl<'a> Translate<'a> {
    pub(crate) fn new(scope: &'a Scope<'a>, inputs: &'a mut Inputs, here: Position) -> Self {
        Self { scope, inputs, here, depth: 0 }
    }

    /// Translates an expression that may be a plain field.
    pub(crate) fn term(&mut self, written: &ast::Expr) -> Result<Term> {
        let position = position_of(written.span(), self.here);
        self.here = position;
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(Problem::new(position, format!("the expression is nested deeper than {DEEPEST} levels")));
        }
        let term = match written {
            ast::Expr::Nested(inner) => self.term(inner),
            ast::Expr::Identifier(name) => self.scope.resolve(position, std::slice::from_ref(name)).map(Term::Field),
            ast::Expr::CompoundIdentifier(names) => self.scope.resolve(position, names).map(Term::Field),
            ast::Expr::BinaryOp { left, op: BinaryOperator::Arrow, right } => self.path(left, right, Read::Json),
            ast::Expr::BinaryOp { left, op: BinaryOperator::LongArrow, right } => self.path(left, right, Read::Text),
            ast::Expr::Cast { kind, expr, data_type, array: false, format: None } => {
                self.cast(position, kind, expr, data_type)
            }
            other => self.compute(position, other).map(Term::Computed),
        };
        self.depth -= 1;
        term
    }

    /// Translates an expression whose value is needed here.
    pub(crate) fn value(&mut self, written: &ast::Expr) -> Result<Expr> {
        let position = position_of(written.span(), self.here);
        match self.term(written)? {
            Term::Computed(expr) => Ok(expr),
            Term::Field(field) => {
                self.here = position;
                self.read(field)
            }
        }
    }

    /// Returns a field's value to compute with.
    pub(crate) fn read(&mut self, field: Field) -> Result<Expr> {
        match types::arrow(field.read) {
            Some(data_type) => Ok(self.inputs.column(field, data_type)),
            None => Err(Problem::new(
                self.here,
                format!(
                    "{} is json, which has no type to compute with; CAST it, or take its text with ->>",
                    field.name
                ),
            )),
        }
    }

    /// Translates a condition.
    pub(crate) fn condition(&mut self, written: &ast::Expr) -> Result<Expr> {
        let position = position_of(written.span(), self.here);
        let expr = self.value(written)?;
        match self.class(position, &expr)? {
            Class::Boolean => Ok(expr),
            Class::Null => self.cast_to(position, expr, &DataType::Boolean),
            other => Err(Problem::new(position, format!("a condition is boolean, and this is {}", other.name()))),
        }
    }

    /// Returns the class of an expression's value.
    pub(crate) fn class(&self, position: Position, expr: &Expr) -> Result<Class> {
        self.data_type(position, expr).map(|data_type| Class::of(&data_type))
    }

    /// Returns the expression as a type that it can be converted to.
    pub(crate) fn cast_to(&self, position: Position, expr: Expr, data_type: &DataType) -> Result<Expr> {
        expr.cast_to(data_type, &self.inputs.schema()).map_err(|error| said(position, &error))
    }

    fn data_type(&self, position: Position, expr: &Expr) -> Result<DataType> {
        expr.get_type(&self.inputs.schema()).map_err(|error| said(position, &error))
    }

    fn path(&mut self, left: &ast::Expr, right: &ast::Expr, read: Read) -> Result<Term> {
        let position = position_of(right.span(), self.here);
        let mut field = match self.term(left)? {
            Term::Field(field) if field.read == Read::Json => field,
            Term::Field(Field { name, read: Read::Text, .. }) => {
                return Err(Problem::new(position, format!("{name} is text; write -> before the last step, then ->>")));
            }
            Term::Field(Field { name, .. }) => {
                return Err(Problem::new(position, format!("'{name}' is not declared as json, so it has no fields")));
            }
            Term::Computed(_) => {
                return Err(Problem::new(
                    position,
                    "-> and ->> follow a json column or another ->; beside || put each path in parentheses",
                ));
            }
        };
        let step = match right {
            ast::Expr::Value(value) => match &value.value {
                Value::SingleQuotedString(name) => Some(Step::Field(name.clone())),
                Value::Number(digits, _) => digits.parse().ok().map(Step::Element),
                _ => None,
            },
            _ => None,
        };
        let Some(step) = step else {
            return Err(Problem::new(
                position,
                "after -> and ->> comes a field name in single quotes or the number of an element from 0; \
                 to convert the value, put the path in parentheses",
            ));
        };
        let arrow = if read == Read::Text { "->>" } else { "->" };
        match &step {
            Step::Field(name) => field.name.push_str(&format!("{arrow}'{name}'")),
            Step::Element(index) => field.name.push_str(&format!("{arrow}{index}")),
        }
        field.path.push(step);
        field.read = read;
        Ok(Term::Field(field))
    }

    fn cast(&mut self, position: Position, kind: &CastKind, inner: &ast::Expr, to: &ast::DataType) -> Result<Term> {
        let Some((data_type, read)) = types::cast(to) else {
            return Err(Problem::new(position, format!("there is no CAST to {to}; there are {CASTS}")));
        };
        let attempt = match kind {
            CastKind::Cast | CastKind::DoubleColon => false,
            CastKind::TryCast | CastKind::SafeCast => true,
        };
        let expr = match self.term(inner)? {
            Term::Field(field) if field.read == Read::Json => {
                if attempt {
                    return Err(Problem::new(position, "TRY_CAST takes text here: write ->> instead of ->"));
                }
                let field = Field { read, is_cast: true, ..field };
                if types::arrow(read).as_ref() == Some(&data_type) {
                    return Ok(Term::Field(field));
                }
                let read_type = types::arrow(read).expect("a CAST reads a type");
                self.inputs.column(field, read_type)
            }
            // Text is text already.
            Term::Field(field) if field.read == Read::Text && data_type == DataType::Utf8 => {
                return Ok(Term::Field(field));
            }
            Term::Field(field) => {
                let read_type = types::arrow(field.read).expect("what is not json has a type");
                self.inputs.column(field, read_type)
            }
            Term::Computed(expr) => expr,
        };
        let from = self.data_type(position, &expr)?;
        let sensible = arrow::compute::can_cast_types(&from, &data_type)
            && !(Class::of(&from) == Class::Boolean && Class::of(&data_type).is_moment())
            && !(Class::of(&from).is_number() && Class::of(&data_type) == Class::Date);
        if !sensible {
            return Err(Problem::new(position, format!("{} cannot be CAST to {to}", Class::of(&from).name())));
        }
        let expr = Box::new(expr);
        Ok(Term::Computed(match attempt {
            true => Expr::TryCast(TryCast::new(expr, data_type)),
            false => Expr::Cast(Cast::new(expr, data_type)),
        }))
    }

    fn compute(&mut self, position: Position, written: &ast::Expr) -> Result<Expr> {
        match written {
            ast::Expr::Value(value) => literal(position, &value.value),
            ast::Expr::TypedString(typed) => {
                let text = ast::Expr::Value(typed.value.clone());
                let Some((data_type, _)) = types::cast(&typed.data_type) else {
                    return Err(Problem::new(
                        position,
                        format!("there is no type {}; there are {CASTS}", typed.data_type),
                    ));
                };
                let text = self.value(&text)?;
                constant(position, text, &data_type)
            }
            ast::Expr::Interval(interval) => self.interval(position, interval),
            ast::Expr::UnaryOp { op, expr } => self.unary(position, *op, expr),
            ast::Expr::BinaryOp { left, op, right } => self.binary(position, left, op, right),
            ast::Expr::IsNull(expr) => Ok(Expr::IsNull(Box::new(self.presence(expr)?))),
            ast::Expr::IsNotNull(expr) => Ok(Expr::IsNotNull(Box::new(self.presence(expr)?))),
            ast::Expr::IsTrue(expr) => Ok(Expr::IsTrue(Box::new(self.condition(expr)?))),
            ast::Expr::IsNotTrue(expr) => Ok(Expr::IsNotTrue(Box::new(self.condition(expr)?))),
            ast::Expr::IsFalse(expr) => Ok(Expr::IsFalse(Box::new(self.condition(expr)?))),
            ast::Expr::IsNotFalse(expr) => Ok(Expr::IsNotFalse(Box::new(self.condition(expr)?))),
            ast::Expr::IsUnknown(expr) => Ok(Expr::IsUnknown(Box::new(self.condition(expr)?))),
            ast::Expr::IsNotUnknown(expr) => Ok(Expr::IsNotUnknown(Box::new(self.condition(expr)?))),
            ast::Expr::IsDistinctFrom(left, right) => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                self.operation(position, left, Operator::IsDistinctFrom, right)
            }
            ast::Expr::IsNotDistinctFrom(left, right) => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                self.operation(position, left, Operator::IsNotDistinctFrom, right)
            }
            ast::Expr::InList { expr, list, negated } => self.in_list(position, expr, list, *negated),
            ast::Expr::Between { expr, negated, low, high } => self.between(position, expr, *negated, low, high),
            ast::Expr::Like { negated, any: false, expr, pattern, escape_char: None } => {
                self.like(position, *negated, expr, pattern, false)
            }
            ast::Expr::ILike { negated, any: false, expr, pattern, escape_char: None } => {
                self.like(position, *negated, expr, pattern, true)
            }
            ast::Expr::Case { operand, conditions, else_result, .. } => {
                self.case(position, operand.as_deref(), conditions, else_result.as_deref())
            }
            ast::Expr::Function(call) => self.function(position, call),
            ast::Expr::Extract { field, expr, .. } => self.extract(position, field, expr),
            ast::Expr::Ceil { expr, field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) } => {
                let argument = self.value(expr)?;
                self.call(position, "ceil", vec![argument])
            }
            ast::Expr::Floor { expr, field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) } => {
                let argument = self.value(expr)?;
                self.call(position, "floor", vec![argument])
            }
            ast::Expr::Position { expr, r#in } => {
                let arguments = vec![self.value(r#in)?, self.value(expr)?];
                self.call(position, "strpos", arguments)
            }
            ast::Expr::Substring { expr, substring_from, substring_for, .. } => {
                let mut arguments = vec![self.value(expr)?];
                match substring_from {
                    Some(from) => arguments.push(self.value(from)?),
                    None => arguments.push(Expr::Literal(ScalarValue::Int64(Some(1)), None)),
                }
                if let Some(length) = substring_for {
                    arguments.push(self.value(length)?);
                }
                self.call(position, "substr", arguments)
            }
            ast::Expr::Trim { expr, trim_where, trim_what, trim_characters: None } => {
                let mut arguments = vec![self.value(expr)?];
                if let Some(what) = trim_what {
                    arguments.push(self.value(what)?);
                }
                let name = match trim_where {
                    None | Some(TrimWhereField::Both) => "btrim",
                    Some(TrimWhereField::Leading) => "ltrim",
                    Some(TrimWhereField::Trailing) => "rtrim",
                };
                self.call(position, name, arguments)
            }
            ast::Expr::Subquery(_) | ast::Expr::Exists { .. } | ast::Expr::InSubquery { .. } => Err(Problem::new(
                position,
                "subqueries are not supported yet: for now a query turns each record into rows by itself",
            )),
            ast::Expr::CompoundFieldAccess { .. } => Err(Problem::new(
                position,
                "the fields of json are written column->'field', and elements of an array column->0",
            )),
            other => Err(Problem::new(position, format!("'{}' is not supported", short(&other.to_string())))),
        }
    }

    /// The value of what is only asked for its being there; a JSON value may be.
    fn presence(&mut self, written: &ast::Expr) -> Result<Expr> {
        match self.term(written)? {
            Term::Computed(expr) => Ok(expr),
            Term::Field(field) => {
                let read = if field.read == Read::Json { Read::Text } else { field.read };
                let data_type = types::arrow(read).expect("what is not json has a type");
                Ok(self.inputs.column(Field { read, ..field }, data_type))
            }
        }
    }

    fn interval(&mut self, position: Position, interval: &ast::Interval) -> Result<Expr> {
        let plain = interval.last_field.is_none()
            && interval.leading_precision.is_none()
            && interval.fractional_seconds_precision.is_none();
        let text = match interval.value.as_ref() {
            ast::Expr::Value(value) if plain => match (&value.value, &interval.leading_field) {
                (Value::SingleQuotedString(text), None) => Some(text.clone()),
                (Value::SingleQuotedString(text), Some(unit)) => Some(format!("{text} {unit}")),
                _ => None,
            },
            _ => None,
        };
        let Some(text) = text else {
            return Err(Problem::new(position, "an interval is written INTERVAL '1 day'"));
        };
        constant(
            position,
            Expr::Literal(ScalarValue::Utf8(Some(text)), None),
            &DataType::Interval(IntervalUnit::MonthDayNano),
        )
    }

    fn unary(&mut self, position: Position, op: UnaryOperator, inner: &ast::Expr) -> Result<Expr> {
        match op {
            UnaryOperator::Not => Ok(Expr::Not(Box::new(self.condition(inner)?))),
            UnaryOperator::Plus => self.value(inner),
            UnaryOperator::Minus => {
                if let ast::Expr::Value(value) = inner
                    && let Value::Number(digits, _) = &value.value
                {
                    return literal(position, &Value::Number(format!("-{digits}"), false));
                }
                // A subtraction, since it notices an overflow.
                let value = self.value(inner)?;
                self.operation(position, Expr::Literal(ScalarValue::Int64(Some(0)), None), Operator::Minus, value)
            }
            other => Err(Problem::new(position, format!("the operator {other} is not supported"))),
        }
    }
}

/// Converts a literal now.
fn constant(position: Position, literal: Expr, data_type: &DataType) -> Result<Expr> {
    let Expr::Literal(value, _) = &literal else {
        return Err(Problem::new(position, "a literal is required here"));
    };
    match value.cast_to(data_type) {
        Ok(value) => Ok(Expr::Literal(value, None)),
        Err(_) => {
            Err(Problem::new(position, format!("{} is no {}", short(&value.to_string()), Class::of(data_type).name())))
        }
    }
}

fn literal(position: Position, value: &Value) -> Result<Expr> {
    let value = match value {
        Value::Number(digits, _) => {
            let integer = digits.parse().ok().map(|number| ScalarValue::Int64(Some(number)));
            let double = || digits.parse().ok().filter(|number: &f64| number.is_finite());
            match integer.or_else(|| double().map(|number| ScalarValue::Float64(Some(number)))) {
                Some(value) => value,
                None => return Err(Problem::new(position, format!("{} is not a number", short(digits)))),
            }
        }
        Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => ScalarValue::Utf8(Some(text.clone())),
        Value::DollarQuotedString(text) => ScalarValue::Utf8(Some(text.value.clone())),
        Value::Boolean(truth) => ScalarValue::Boolean(Some(*truth)),
        Value::Null => ScalarValue::Null,
        other => {
            return Err(Problem::new(position, format!("the literal {} is not supported", short(&other.to_string()))));
        }
    };
    Ok(Expr::Literal(value, None))
}

/// Returns what DataFusion says as a problem: one line, without its own prefix.
fn said(position: Position, error: &DataFusionError) -> Problem {
    Problem::new(position, plain(error))
}

/// Returns what DataFusion says, in one line and without the names of its own errors.
pub(crate) fn plain(error: &DataFusionError) -> String {
    let mut root = error;
    while let DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) = root {
        root = inner;
    }
    let text = root.strip_backtrace();
    let text = text.lines().next().unwrap_or_default();
    let prefixes = [
        "Arrow error: ",
        "Execution error: ",
        "Error during planning: ",
        "Cast error: ",
        "Parser error: ",
        "Compute error: ",
        "Arithmetic overflow: ",
        "Invalid argument error: ",
        "External error: ",
    ];
    let mut text = text;
    while let Some(rest) = prefixes.iter().find_map(|prefix| text.strip_prefix(prefix)) {
        text = rest;
    }
    short(text)
}

/// A piece of foreign text for a message.
fn short(text: &str) -> String {
    const LONGEST: usize = 120;
    let mut piece: String = text.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(LONGEST).is_some() {
        piece.push('…');
    }
    piece
}
