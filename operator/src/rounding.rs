//! Counts and rates as the status has them: rounded, so that records on their way do not change it at every pass. Pure.

/// Rounds down to two significant digits.
pub fn two_digits(count: i64) -> i64 {
    let mut scale = 1;
    while count / scale >= 100 {
        scale *= 10;
    }
    count / scale * scale
}

/// Rounds a rate to three significant digits.
pub fn three_digits(rate: f64) -> f64 {
    if rate == 0.0 || !rate.is_finite() {
        return 0.0;
    }
    let scale = 10_f64.powi(2 - rate.abs().log10().floor() as i32);
    (rate * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::{three_digits, two_digits};

    #[test]
    fn rounds_down_to_two_digits() {
        let rounded = [0, 7, 99, 100, 123, 4567, 999_999].map(two_digits);
        assert_eq!(rounded, [0, 7, 99, 100, 120, 4500, 990_000]);
    }

    #[test]
    fn rounds_rates_to_three_digits_and_no_further() {
        let rates = [0.0, 0.012_34, 7.0, 99.96, 1_234.5, 999_600.0];
        let rounded = rates.map(three_digits);
        assert_eq!(rounded, [0.0, 0.0123, 7.0, 100.0, 1_230.0, 1_000_000.0]);
        assert_eq!(rounded.map(three_digits), rounded, "what is rounded stays");
        assert_eq!(three_digits(f64::INFINITY), 0.0);
    }
}
