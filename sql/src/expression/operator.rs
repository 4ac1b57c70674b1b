//! Operators, comparisons and CASE: which operands go together, and the type in which they meet.

use arrow::datatypes::DataType;
use datafusion_common::ScalarValue;
use datafusion_expr::expr::{Between, BinaryExpr, Case, InList, Like};
use datafusion_expr::type_coercion::binary::{BinaryTypeCoercer, comparison_coercion, like_coercion};
use datafusion_expr::type_coercion::other::{
    get_coerce_type_for_case_expression, get_coerce_type_for_case_when, get_coerce_type_for_list,
};
use datafusion_expr::{Expr, Operator};
use millrace_terms::{Position, Problem};
use sqlparser::ast::{self, BinaryOperator, CaseWhen, Spanned};

use super::{Translate, call, constant, said};
use crate::position::{Result, position_of};
use crate::types::Class;

impl Translate<'_> {
    pub(super) fn binary(
        &mut self,
        position: Position,
        left: &ast::Expr,
        op: &BinaryOperator,
        right: &ast::Expr,
    ) -> Result<Expr> {
        let operator = match op {
            BinaryOperator::Plus => Operator::Plus,
            BinaryOperator::Minus => Operator::Minus,
            BinaryOperator::Multiply => Operator::Multiply,
            BinaryOperator::Divide => Operator::Divide,
            BinaryOperator::Modulo => Operator::Modulo,
            BinaryOperator::StringConcat => Operator::StringConcat,
            BinaryOperator::Gt => Operator::Gt,
            BinaryOperator::Lt => Operator::Lt,
            BinaryOperator::GtEq => Operator::GtEq,
            BinaryOperator::LtEq => Operator::LtEq,
            BinaryOperator::Eq => Operator::Eq,
            BinaryOperator::NotEq => Operator::NotEq,
            BinaryOperator::And => Operator::And,
            BinaryOperator::Or => Operator::Or,
            BinaryOperator::PGRegexMatch => Operator::RegexMatch,
            BinaryOperator::PGRegexIMatch => Operator::RegexIMatch,
            BinaryOperator::PGRegexNotMatch => Operator::RegexNotMatch,
            BinaryOperator::PGRegexNotIMatch => Operator::RegexNotIMatch,
            other => return Err(Problem::new(position, format!("the operator {other} is not supported"))),
        };
        if matches!(operator, Operator::And | Operator::Or) {
            let (left, right) = (self.condition(left)?, self.condition(right)?);
            return Ok(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), operator, Box::new(right))));
        }
        let (left, right) = (self.value(left)?, self.value(right)?);
        self.operation(position, left, operator, right)
    }

    /// Makes an operation of operands that go together.
    pub(super) fn operation(
        &mut self,
        position: Position,
        left: Expr,
        operator: Operator,
        right: Expr,
    ) -> Result<Expr> {
        let (left, right) = self.meet(position, left, right)?;
        let (left_class, right_class) = (self.class(position, &left)?, self.class(position, &right)?);
        let both = |is: fn(Class) -> bool| {
            [left_class, right_class].into_iter().all(|class| class == Class::Null || is(class))
        };
        let fits = match operator {
            Operator::StringConcat => [left_class, right_class].contains(&Class::Text),
            Operator::RegexMatch | Operator::RegexIMatch | Operator::RegexNotMatch | Operator::RegexNotIMatch => {
                call::regular_expression(position, &right)?;
                both(|class| class == Class::Text)
            }
            operator if operator.is_numerical_operators() => {
                both(Class::is_number) || both(|class| class.is_moment() || class == Class::Other)
            }
            _ => comparable(left_class, right_class),
        };
        if !fits {
            let (left, right) = (left_class.name(), right_class.name());
            return Err(Problem::new(
                position,
                format!("{left} and {right} cannot be combined in '{operator}'; CAST one of them"),
            ));
        }
        let (left_type, right_type) = (self.data_type(position, &left)?, self.data_type(position, &right)?);
        let (left_type, right_type) = BinaryTypeCoercer::new(&left_type, &operator, &right_type)
            .get_input_types()
            .map_err(|error| said(position, &error))?;
        let left = self.cast_to(position, left, &left_type)?;
        let right = self.cast_to(position, right, &right_type)?;
        Ok(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), operator, Box::new(right))))
    }

    /// Reads a literal text beside a date or a timestamp as one, now, so that a misspelt one is found now.
    fn meet(&self, position: Position, left: Expr, right: Expr) -> Result<(Expr, Expr)> {
        let moment = |data_type: DataType| Some(data_type).filter(|data_type| Class::of(data_type).is_moment());
        let (left_type, right_type) = (self.data_type(position, &left)?, self.data_type(position, &right)?);
        Ok(match (moment(left_type), moment(right_type)) {
            (Some(data_type), None) if is_text(&right) => (left, constant(position, right, &data_type)?),
            (None, Some(data_type)) if is_text(&left) => (constant(position, left, &data_type)?, right),
            _ => (left, right),
        })
    }

    pub(super) fn in_list(
        &mut self,
        position: Position,
        expr: &ast::Expr,
        list: &[ast::Expr],
        negated: bool,
    ) -> Result<Expr> {
        let mut expr = self.value(expr)?;
        let mut items = Vec::new();
        for item in list {
            let position = position_of(item.span(), position);
            let item = self.value(item)?;
            let (left, item) = self.meet(position, expr, item)?;
            let (class, of_item) = (self.class(position, &left)?, self.class(position, &item)?);
            if !comparable(class, of_item) {
                return Err(Problem::new(
                    position,
                    format!("{} and {} cannot be combined in IN; CAST one of them", class.name(), of_item.name()),
                ));
            }
            expr = left;
            items.push(item);
        }
        let expr_type = self.data_type(position, &expr)?;
        let item_types = items.iter().map(|item| self.data_type(position, item)).collect::<Result<Vec<_>>>()?;
        let Some(common) = get_coerce_type_for_list(&expr_type, &item_types) else {
            return Err(Problem::new(position, "the values in IN have no common type; CAST them"));
        };
        let expr = self.cast_to(position, expr, &common)?;
        let items = items.into_iter().map(|item| self.cast_to(position, item, &common)).collect::<Result<Vec<_>>>()?;
        Ok(Expr::InList(InList::new(Box::new(expr), items, negated)))
    }

    pub(super) fn between(
        &mut self,
        position: Position,
        expr: &ast::Expr,
        negated: bool,
        low: &ast::Expr,
        high: &ast::Expr,
    ) -> Result<Expr> {
        let expr = self.value(expr)?;
        let (low, high) = (self.value(low)?, self.value(high)?);
        let (expr, low) = self.meet(position, expr, low)?;
        let (expr, high) = self.meet(position, expr, high)?;
        let class = self.class(position, &expr)?;
        for bound in [&low, &high] {
            let of_bound = self.class(position, bound)?;
            if !comparable(class, of_bound) {
                return Err(Problem::new(
                    position,
                    format!("{} and {} cannot be combined in BETWEEN; CAST one of them", class.name(), of_bound.name()),
                ));
            }
        }
        let [of_expr, of_low, of_high] = [&expr, &low, &high].map(|part| self.data_type(position, part));
        let common = comparison_coercion(&of_expr?, &of_low?)
            .zip(of_high.ok())
            .and_then(|(common, of_high)| comparison_coercion(&common, &of_high))
            .ok_or_else(|| Problem::new(position, "the bounds of BETWEEN have no common type; CAST them"))?;
        let [expr, low, high] = [expr, low, high].map(|part| self.cast_to(position, part, &common).map(Box::new));
        Ok(Expr::Between(Between::new(expr?, negated, low?, high?)))
    }

    pub(super) fn like(
        &mut self,
        position: Position,
        negated: bool,
        expr: &ast::Expr,
        pattern: &ast::Expr,
        any_case: bool,
    ) -> Result<Expr> {
        let (expr, pattern) = (self.value(expr)?, self.value(pattern)?);
        let (expr_type, pattern_type) = (self.data_type(position, &expr)?, self.data_type(position, &pattern)?);
        let texts =
            [&expr_type, &pattern_type].into_iter().all(|part| matches!(Class::of(part), Class::Text | Class::Null));
        let common = like_coercion(&expr_type, &pattern_type).filter(|_| texts);
        let Some(common) = common else {
            return Err(Problem::new(position, "LIKE compares texts; CAST the value AS text"));
        };
        let expr = Box::new(self.cast_to(position, expr, &common)?);
        let pattern = Box::new(self.cast_to(position, pattern, &common)?);
        Ok(Expr::Like(Like::new(negated, expr, pattern, None, any_case)))
    }

    pub(super) fn case(
        &mut self,
        position: Position,
        operand: Option<&ast::Expr>,
        conditions: &[CaseWhen],
        otherwise: Option<&ast::Expr>,
    ) -> Result<Expr> {
        let operand = operand.map(|operand| self.value(operand)).transpose()?;
        let mut whens = Vec::new();
        let mut results = Vec::new();
        for CaseWhen { condition, result } in conditions {
            whens.push(match operand {
                Some(_) => self.value(condition)?,
                None => self.condition(condition)?,
            });
            results.push(self.value(result)?);
        }
        let otherwise = otherwise.map(|otherwise| self.value(otherwise)).transpose()?;
        let classes = results.iter().chain(&otherwise).map(|result| self.class(position, result));
        let classes = classes.collect::<Result<Vec<_>>>()?;
        let first = classes.iter().copied().find(|class| *class != Class::Null).unwrap_or(Class::Null);
        if let Some(odd) = classes.iter().find(|class| !comparable(first, **class)) {
            return Err(Problem::new(
                position,
                format!("one result of CASE is {}, another {}; CAST one of them", first.name(), odd.name()),
            ));
        }
        let no_common =
            |what| move || Problem::new(position, format!("the {what} of CASE have no common type; CAST them"));
        let types =
            |exprs: &[Expr]| exprs.iter().map(|expr| self.data_type(position, expr)).collect::<Result<Vec<_>>>();
        let otherwise_type = otherwise.as_ref().map(|otherwise| self.data_type(position, otherwise)).transpose()?;
        let result_type = get_coerce_type_for_case_expression(&types(&results)?, otherwise_type.as_ref())
            .ok_or_else(no_common("results"))?;
        let (operand, when_type) = match operand {
            None => (None, DataType::Boolean),
            Some(operand) => {
                let common = get_coerce_type_for_case_when(&types(&whens)?, &self.data_type(position, &operand)?)
                    .ok_or_else(no_common("values"))?;
                (Some(Box::new(self.cast_to(position, operand, &common)?)), common)
            }
        };
        let mut pairs = Vec::new();
        for (when, result) in whens.into_iter().zip(results) {
            let when = self.cast_to(position, when, &when_type)?;
            let result = self.cast_to(position, result, &result_type)?;
            pairs.push((Box::new(when), Box::new(result)));
        }
        let otherwise = otherwise.map(|otherwise| self.cast_to(position, otherwise, &result_type).map(Box::new));
        Ok(Expr::Case(Case::new(operand, pairs, otherwise.transpose()?)))
    }
}

/// Returns whether values of two classes can be compared, or be results of one CASE.
fn comparable(left: Class, right: Class) -> bool {
    left == right
        || left == Class::Null
        || right == Class::Null
        || (left.is_number() && right.is_number())
        || (left.is_moment() && right.is_moment())
}

fn is_text(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(ScalarValue::Utf8(Some(_)), _))
}
