//! Counts as the status has them: rounded, so that records on their way do not change it at every pass. Pure.

/// Rounds down to two significant digits.
pub fn two_digits(count: i64) -> i64 {
    let mut scale = 1;
    while count / scale >= 100 {
        scale *= 10;
    }
    count / scale * scale
}

#[cfg(test)]
mod tests {
    use super::two_digits;

    #[test]
    fn rounds_down_to_two_digits() {
        let rounded = [0, 7, 99, 100, 123, 4567, 999_999].map(two_digits);
        assert_eq!(rounded, [0, 7, 99, 100, 120, 4500, 990_000]);
    }
}
