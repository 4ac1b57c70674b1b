//! A Kubernetes quantity, such as `500m`, `1.5Gi` or `1e3`, by its value.
//!
//! Rounded up to thousandths, as the API server stores amounts of CPU, memory and storage. Amounts below zero and those
//! of 10^35 and more are not quantities here.

use std::fmt;
use std::str::FromStr;

/// An amount, in thousandths.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Quantity(u128);

/// Why a text is not a quantity.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NotAQuantity(String);

impl fmt::Display for NotAQuantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is not a quantity; write a number with or without a suffix, such as 500m, 0.5 or 1.5Gi", self.0)
    }
}

impl std::error::Error for NotAQuantity {}

impl Quantity {
    /// Returns the amount in whole units, rounded up: bytes, CPUs. `None`: more than 2^64.
    pub fn whole(self) -> Option<u64> {
        self.0.div_ceil(1_000).try_into().ok()
    }

    /// Returns the amount in thousandths: of CPUs, as `m` writes them.
    pub fn thousandths(self) -> u128 {
        self.0
    }
}

/// Suffixes with what they stand for, as thousandths over a divisor.
const SUFFIXES: [(&str, u128, u128); 16] = [
    ("", 1_000, 1),
    ("n", 1, 1_000_000),
    ("u", 1, 1_000),
    ("m", 1, 1),
    ("k", 1_000_000, 1),
    ("M", 1_000_000_000, 1),
    ("G", 1_000_000_000_000, 1),
    ("T", 1_000_000_000_000_000, 1),
    ("P", 1_000_000_000_000_000_000, 1),
    ("E", 1_000_000_000_000_000_000_000, 1),
    ("Ki", 1_000 << 10, 1),
    ("Mi", 1_000 << 20, 1),
    ("Gi", 1_000 << 30, 1),
    ("Ti", 1_000 << 40, 1),
    ("Pi", 1_000 << 50, 1),
    ("Ei", 1_000 << 60, 1),
];

impl FromStr for Quantity {
    type Err = NotAQuantity;

    fn from_str(text: &str) -> Result<Self, NotAQuantity> {
        thousandths(text).map(Self).ok_or_else(|| NotAQuantity(text.to_owned()))
    }
}

fn thousandths(text: &str) -> Option<u128> {
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    let end = unsigned.find(|sign: char| !sign.is_ascii_digit() && sign != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let fraction = fraction.trim_end_matches('0');
    let (multiplier, divisor) = scale(suffix)?;
    let divisor = 10u128.checked_pow(fraction.len().try_into().ok()?)?.checked_mul(divisor)?;
    // At least one digit, and no second point: `parse` sees to both.
    let digits: u128 = match (whole, fraction, number) {
        ("", "", number) if number.trim_matches('.').is_empty() => return None,
        _ => format!("0{whole}{fraction}").parse().ok()?,
    };
    Some(digits.checked_mul(multiplier)?.div_ceil(divisor))
}

/// Returns what a suffix stands for: one of the list, or an exponent such as `e3`.
fn scale(suffix: &str) -> Option<(u128, u128)> {
    if let Some((_, multiplier, divisor)) = SUFFIXES.iter().find(|(known, ..)| *known == suffix) {
        return Some((*multiplier, *divisor));
    }
    let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    let power = 10u128.checked_pow(exponent.unsigned_abs())?;
    match exponent < 0 {
        true => Some((1_000, power)),
        false => Some((power.checked_mul(1_000)?, 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(one: &str, other: &str) -> bool {
        let [one, other] = [one, other].map(|text| text.parse::<Quantity>().unwrap_or_else(|error| panic!("{error}")));
        one == other
    }

    #[test]
    fn every_notation_of_a_value_is_that_value() {
        for (one, other) in [
            ("0.5", "500m"),
            (".5", "500m"),
            ("5.", "5"),
            ("+5", "5"),
            ("1e3", "1k"),
            ("1E3", "1000"),
            ("1e-3", "1m"),
            ("1.5Gi", "1536Mi"),
            ("1024Mi", "1Gi"),
            ("1073741824", "1Gi"),
            ("1E", "1000P"),
            ("1Ei", "1024Pi"),
            ("500000u", "500m"),
            ("500000000n", "500m"),
            ("1.50", "1.5"),
        ] {
            assert!(same(one, other), "{one} {other}");
        }
        for (one, other) in [("1G", "1Gi"), ("500m", "500"), ("1e3", "1e4"), ("1m", "1M")] {
            assert!(!same(one, other), "{one} {other}");
        }
    }

    #[test]
    fn what_is_finer_than_thousandths_is_rounded_up_as_the_api_server_does() {
        for (written, stored) in [("0.3333", "334m"), ("0.0001", "1m"), ("1n", "1m"), ("1.0001", "1001m"), ("0", "0")] {
            assert!(same(written, stored), "{written} {stored}");
        }
        assert_eq!("1.5".parse::<Quantity>().ok().and_then(Quantity::whole), Some(2));
    }

    #[test]
    fn what_is_not_a_quantity_is_none() {
        for text in
            ["", ".", "many", "1 Gi", "1gi", "-1", "1.2.3", "1e", "1e1.5", "Gi", "1KI", "1e99", "9".repeat(60).as_str()]
        {
            assert!(text.parse::<Quantity>().is_err(), "{text}");
        }
    }
}
