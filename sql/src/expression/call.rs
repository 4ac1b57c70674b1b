//! Calls of functions, with arguments of the types that these take.

use std::sync::Arc;

use datafusion_common::{DataFusionError, ScalarValue};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion_expr::type_coercion::functions::fields_with_udf;
use datafusion_expr::{Expr, ExprSchemable};
use millrace_terms::{Position, Problem};
use sqlparser::ast::{self, DateTimeField, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectNamePart};

use super::{Translate, short};
use crate::functions::{LONGEST_PADDING, function};
use crate::position::{Result, position_of};
use crate::types::Class;

impl Translate<'_> {
    pub(super) fn extract(&mut self, position: Position, field: &DateTimeField, expr: &ast::Expr) -> Result<Expr> {
        let value = self.value(expr)?;
        if !self.class(position, &value)?.is_moment() {
            return Err(Problem::new(position, "EXTRACT takes a date or a timestamp"));
        }
        let part = Expr::Literal(ScalarValue::Utf8(Some(field.to_string().to_lowercase())), None);
        self.call(position, "date_part", vec![part, value])
    }

    pub(super) fn function(&mut self, position: Position, call: &ast::Function) -> Result<Expr> {
        let ast::Function { name, uses_odbc_syntax: _, parameters, args, filter, null_treatment, over, within_group } =
            call;
        let [ObjectNamePart::Identifier(name)] = name.0.as_slice() else {
            return Err(Problem::new(position, format!("there is no function '{name}'")));
        };
        let position = position_of(name.span, position);
        let name = &name.value;
        if over.is_some() {
            return Err(Problem::new(
                position,
                "windows (OVER) are not supported yet: for now a query turns each record into rows by itself",
            ));
        }
        // The name comes first: of an unknown function, the arguments do not matter.
        function(name).map_err(|message| Problem::new(position, message))?;
        let plain = matches!(parameters, FunctionArguments::None)
            && filter.is_none()
            && null_treatment.is_none()
            && within_group.is_empty();
        let FunctionArguments::List(list) = args else {
            return Err(Problem::new(position, format!("{name} is called with arguments in parentheses")));
        };
        if !plain || list.duplicate_treatment.is_some() || !list.clauses.is_empty() {
            return Err(Problem::new(position, format!("{name} takes values and nothing else")));
        }
        let mut arguments = Vec::new();
        for argument in &list.args {
            match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) => arguments.push(self.value(argument)?),
                _ => return Err(Problem::new(position, format!("{name} takes values and nothing else"))),
            }
        }
        self.call(position, &name.to_lowercase(), arguments)
    }

    /// Calls a function with arguments of the types that it takes.
    pub(super) fn call(&mut self, position: Position, name: &str, arguments: Vec<Expr>) -> Result<Expr> {
        let function = function(name).map_err(|message| Problem::new(position, message))?;
        match (function.name(), arguments.as_slice()) {
            ("lpad" | "rpad", [_, length, ..]) => bounded_padding(position, name, length)?,
            ("regexp_count" | "regexp_instr" | "regexp_like" | "regexp_replace", [_, pattern, ..]) => {
                regular_expression(position, pattern)?;
            }
            _ => {}
        }
        let schema = self.inputs.schema();
        let wrong = |_: DataFusionError| {
            let types: Vec<&str> = arguments
                .iter()
                .map(|argument| argument.get_type(&schema).map_or("?", |data_type| Class::of(&data_type).name()))
                .collect();
            Problem::new(position, format!("{name} does not take ({})", types.join(", ")))
        };
        let fields = arguments
            .iter()
            .map(|argument| argument.to_field(&schema).map(|(_, field)| field))
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(&wrong)?;
        let wanted = fields_with_udf(&fields, function.as_ref()).map_err(&wrong)?;
        // A text that holds a number needs a CAST in the query.
        let from_text = fields
            .iter()
            .zip(&wanted)
            .any(|(from, to)| Class::of(from.data_type()) == Class::Text && Class::of(to.data_type()) != Class::Text);
        if from_text {
            return Err(wrong(DataFusionError::Plan("a text is not a number".to_owned())));
        }
        let converted = arguments
            .iter()
            .zip(&wanted)
            .map(|(argument, field)| argument.clone().cast_to(field.data_type(), &schema))
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(&wrong)?;
        // Some functions exist only as what they are rewritten to.
        let context = SimplifyContext::builder().with_schema(Arc::new(schema.clone())).build();
        let simplified = function.simplify(converted, &context).map_err(&wrong)?;
        let expr = match simplified {
            ExprSimplifyResult::Simplified(expr) => expr,
            ExprSimplifyResult::Original(arguments) => {
                Expr::ScalarFunction(ScalarFunction::new_udf(function, arguments))
            }
        };
        expr.get_type(&schema).map_err(&wrong)?;
        Ok(expr)
    }
}

/// Tries a regular expression that the SQL spells out.
pub(super) fn regular_expression(position: Position, pattern: &Expr) -> Result<()> {
    let Expr::Literal(ScalarValue::Utf8(Some(pattern)), _) = pattern else {
        return Ok(());
    };
    match regex::Regex::new(pattern) {
        Ok(_) => Ok(()),
        Err(error) => {
            let reason = error.to_string();
            let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            Err(Problem::new(position, format!("'{}' is not a valid regular expression: {reason}", short(pattern))))
        }
    }
}

/// Padding makes memory out of a number, so the number must be in the SQL.
fn bounded_padding(position: Position, name: &str, length: &Expr) -> Result<()> {
    match length {
        Expr::Literal(ScalarValue::Int64(Some(length)), _) if *length <= LONGEST_PADDING => Ok(()),
        _ => Err(Problem::new(
            position,
            format!("the length that {name} pads to must be a number in the SQL, at most {LONGEST_PADDING}"),
        )),
    }
}
