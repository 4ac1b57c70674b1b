//! A number that neither `int` nor `uint` holds exactly: with a fraction, with an exponent, `-0`, or very large. Pure.
//!
//! CEL's own functions and operators take it for the double nearest to it. What only looks at it or passes it on sees
//! its text: comparisons of two such numbers, `string()`, and the record that the expression's value becomes part of.

use std::any::Any;
use std::cmp::Ordering;
use std::fmt;

use cel::ExecutionError;
use cel::common::traits::{Adder, Comparer, Divider, Multiplier, Negator, Subtractor, Zeroer};
use cel::common::types::{CelDouble, CelInt, CelString, CelUInt, Type};
use cel::common::value::{CowVal, Val};
use cel::{DeclarationError, Env};

/// Its type, as `type(x)` names it.
pub(crate) static NUMBER: Type = Type::new_unspecified_type("number");

/// A number as it is written.
#[derive(Clone, Copy)]
pub(crate) struct Number<'text> {
    text: &'text str,
    double: CelDouble,
}

/// Returns the value of CEL for the text of a JSON number.
pub(crate) fn number(text: &str) -> Box<dyn Val + '_> {
    // Zero has no sign as an int, so that `-0` would come back as `0`.
    if text != "-0" {
        if let Ok(integer) = text.parse::<i64>() {
            return Box::new(CelInt::from(integer));
        }
        if let Ok(integer) = text.parse::<u64>() {
            return Box::new(CelUInt::from(integer));
        }
    }
    let double = text.parse::<f64>().expect("the syntax of JSON's numbers is within that of Rust's");
    Box::new(Number { text, double: CelDouble::from(double) })
}

/// Returns the text of a value that is such a number.
pub(crate) fn text_of(value: &dyn Val) -> Option<String> {
    // The type's own `Debug` is the way to its text: CEL looks into a value by its Rust type, and this one gives
    // itself out for a double.
    (*value.get_type() == NUMBER).then(|| format!("{value:?}"))
}

/// Adds the conversions, which CEL has for its own types only.
pub(crate) fn declare(environment: &mut Env) -> Result<(), DeclarationError> {
    let of_number = || vec![NUMBER.to_owned()];
    environment.add_type(NUMBER.to_owned())?;
    environment.add_overload("string", "number_to_string", of_number(), |arguments| {
        Ok(CowVal::owned(CelString::from(written(&arguments))))
    })?;
    environment.add_overload("double", "number_to_double", of_number(), |arguments| {
        Ok(CowVal::owned(*arguments[0].downcast_ref::<CelDouble>().expect("a number is a double")))
    })?;
    environment.add_overload("int", "number_to_int64", of_number(), |arguments| {
        whole::<i64>("int", &written(&arguments)).map(|integer| CowVal::owned(CelInt::from(integer)))
    })?;
    environment.add_overload("uint", "number_to_uint64", of_number(), |arguments| {
        whole::<u64>("uint", &written(&arguments)).map(|integer| CowVal::owned(CelUInt::from(integer)))
    })
}

fn written(arguments: &[CowVal<'_, '_>]) -> String {
    text_of(arguments[0].as_ref()).expect("the overload is declared for this type")
}

/// Cuts the fraction off, as CEL does with that of a double; but exactly, also where a double has no room.
fn whole<T: TryFrom<i128>>(function: &str, text: &str) -> Result<T, ExecutionError> {
    let out_of_range = || ExecutionError::function_error(function, format!("{text} is out of range"));
    let Decimal { negative, digits, point } = Decimal::of(text);
    let kept = usize::try_from(point).unwrap_or(0);
    if kept > 38 {
        return Err(out_of_range());
    }
    let digit = |place: usize| i128::from(digits.as_bytes().get(place).map_or(0, |digit| digit - b'0'));
    let magnitude = (0..kept).fold(0_i128, |number, place| number.saturating_mul(10).saturating_add(digit(place)));
    T::try_from(if negative { -magnitude } else { magnitude }).map_err(|_| out_of_range())
}

/// A number's value: `0.DIGITS × 10^point`, without zeros around the digits. Zero has no digits.
struct Decimal {
    negative: bool,
    digits: String,
    point: i64,
}

impl Decimal {
    fn of(text: &str) -> Self {
        let (negative, unsigned) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        let significant = all.trim_start_matches('0');
        let zeros = all.len() - significant.len();
        let digits = significant.trim_end_matches('0').to_owned();
        // An exponent of more digits than an i64 has is as good as endless.
        let endless = if exponent.starts_with('-') { i64::MIN / 2 } else { i64::MAX / 2 };
        let exponent = exponent.parse::<i64>().unwrap_or(endless).clamp(i64::MIN / 2, i64::MAX / 2);
        let point = if digits.is_empty() { 0 } else { whole.len() as i64 - zeros as i64 + exponent };
        Self { negative: negative && !digits.is_empty(), digits, point }
    }
}

/// Compares by value: `1.50` equals `1.5`.
fn compare(one: &str, other: &str) -> Ordering {
    let (one, other) = (Decimal::of(one), Decimal::of(other));
    let magnitude = |number: &Decimal| (!number.digits.is_empty(), number.point);
    let larger = magnitude(&one).cmp(&magnitude(&other)).then_with(|| one.digits.cmp(&other.digits));
    match (one.negative, other.negative) {
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (true, true) => larger.reverse(),
        (false, false) => larger,
    }
}

/// Compares two JSON texts or two JSON numbers: numbers by value, texts letter by letter. `None`: they are not of a kind.
pub fn compare_json(one: &str, other: &str) -> Option<Ordering> {
    let is_number = |json: &str| json.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    match (is_number(one), is_number(other)) {
        (true, true) => Some(compare(one, other)),
        (false, false) => Some(crate::json::string(one)?.cmp(&crate::json::string(other)?)),
        _ => None,
    }
}

impl fmt::Debug for Number<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.text)
    }
}

impl Comparer for Number<'_> {
    fn compare(&self, other: &dyn Val) -> Result<Ordering, ExecutionError> {
        let integer = |other: &dyn Val| {
            let int = other.downcast_ref::<CelInt>().map(|integer| integer.inner().to_string());
            int.or_else(|| other.downcast_ref::<CelUInt>().map(|integer| integer.inner().to_string()))
        };
        match text_of(other).or_else(|| integer(other)) {
            Some(other) => Ok(compare(self.text, &other)),
            None => self.double.compare(other),
        }
    }
}

impl Val for Number<'_> {
    fn get_type(&self) -> &Type {
        &NUMBER
    }

    fn cel_type() -> &'static Type {
        &NUMBER
    }

    fn as_adder<'b, 'v>(&'b self) -> Option<&'b (dyn Adder + 'v)>
    where
        Self: 'v,
    {
        Some(&self.double)
    }

    fn as_comparer(&self) -> Option<&dyn Comparer> {
        Some(self)
    }

    fn as_divider<'b, 'v>(&'b self) -> Option<&'b (dyn Divider + 'v)>
    where
        Self: 'v,
    {
        Some(&self.double)
    }

    fn as_multiplier<'b, 'v>(&'b self) -> Option<&'b (dyn Multiplier + 'v)>
    where
        Self: 'v,
    {
        Some(&self.double)
    }

    fn as_negator<'b, 'v>(&'b self) -> Option<&'b (dyn Negator + 'v)>
    where
        Self: 'v,
    {
        Some(&self.double)
    }

    fn as_subtractor<'b, 'v>(&'b self) -> Option<&'b (dyn Subtractor + 'v)>
    where
        Self: 'v,
    {
        Some(&self.double)
    }

    fn as_zeroer(&self) -> Option<&dyn Zeroer> {
        Some(&self.double)
    }

    fn equals(&self, other: &dyn Val) -> bool {
        Comparer::compare(self, other).is_ok_and(Ordering::is_eq)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(*self)
    }

    /// A double for computing: the operators of CEL's own doubles look here at their right-hand side.
    fn as_any(&self) -> Option<&dyn Any> {
        Some(&self.double)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn compares_by_value_whatever_the_size() {
        for (one, other, expected) in [
            ("1.50", "1.5", Ordering::Equal),
            ("-0", "0.0", Ordering::Equal),
            ("1e2", "100", Ordering::Equal),
            ("36893488147419103233", "36893488147419103234", Ordering::Less),
            ("-1.1", "-1.10000000000000000000001", Ordering::Greater),
            ("0.001", "-5", Ordering::Greater),
            ("1e-400", "0", Ordering::Greater),
            ("1e99999999999999999999", "1e9223372036854775807", Ordering::Equal),
        ] {
            assert_eq!(compare(one, other), expected, "{one} {other}");
        }
    }

    #[test]
    fn whole_numbers_are_exact_and_in_range() {
        let int = |text| whole::<i64>("int", text).ok();
        assert_eq!(int("123456789012345678.9"), Some(123_456_789_012_345_678));
        assert_eq!(
            (int("-1.9"), int("-0"), int("1e3"), int("0.5e1"), int("9e-1")),
            (Some(-1), Some(0), Some(1000), Some(5), Some(0))
        );
        assert_eq!((int("9223372036854775808"), int("1e400"), int("1e40")), (None, None, None));
        assert_eq!(whole::<u64>("uint", "-1.5").ok(), None);
    }

    proptest! {
        #[test]
        fn compares_as_doubles_do_where_they_are_exact(one in -1000i32..1000, other in -1000i32..1000, scale in 0u32..4) {
            let text = |number: i32| format!("{:.3}", f64::from(number) / f64::from(2_u32.pow(scale)));
            let value = |number: i32| text(number).parse::<f64>().expect("a number");
            prop_assert_eq!(Some(compare(&text(one), &text(other))), value(one).partial_cmp(&value(other)));
        }
    }
}
