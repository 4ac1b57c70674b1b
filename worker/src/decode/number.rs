//! Decimal text → varint and decimal as the native protocol has them: exact, whatever their size. Pure.

/// Most digits of a number: reading takes the square of it, and nobody has more.
const MOST_DIGITS: usize = 10_000;
/// Digits that surely fit a u64.
const CHUNK: usize = 18;

/// Reads an integer; a fraction or an exponent is none.
pub(super) fn varint(text: &str) -> Option<Vec<u8>> {
    let Parts { negative, whole, fraction, exponent } = Parts::of(text)?;
    if !fraction.is_empty() || exponent != 0 || text.contains(['.', 'e', 'E']) {
        return None;
    }
    let mut bytes = Vec::new();
    append_integer(negative, whole, "", &mut bytes)?;
    Some(bytes)
}

/// Reads a number: its scale in four bytes, then all of its digits as an integer. `1.50` keeps its zero, as it does in
/// Cassandra.
pub(super) fn decimal(text: &str) -> Option<Vec<u8>> {
    let Parts { negative, whole, fraction, exponent } = Parts::of(text)?;
    let scale = i32::try_from((fraction.len() as i64).checked_sub(exponent)?).ok()?;
    let mut bytes = scale.to_be_bytes().to_vec();
    append_integer(negative, whole, fraction, &mut bytes)?;
    Some(bytes)
}

/// The parts of a number in the syntax of JSON.
struct Parts<'text> {
    negative: bool,
    whole: &'text str,
    fraction: &'text str,
    exponent: i64,
}

impl<'text> Parts<'text> {
    fn of(text: &'text str) -> Option<Self> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, self::exponent(exponent)?),
            None => (rest, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (mantissa, None),
        };
        let is_whole = is_digits(whole) && (whole == "0" || !whole.starts_with('0'));
        let is_number = is_whole && fraction.is_none_or(is_digits);
        is_number.then_some(Self { negative, whole, fraction: fraction.unwrap_or_default(), exponent })
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if is_digits(digits) { text.parse().ok() } else { None }
}

/// Appends an integer in two's complement, most significant byte first, in as few bytes as hold it.
fn append_integer(negative: bool, whole: &str, fraction: &str, bytes: &mut Vec<u8>) -> Option<()> {
    let digits = [whole.trim_start_matches('0'), fraction];
    let length = digits[0].len() + digits[1].len();
    if length > MOST_DIGITS {
        return None;
    }
    if length <= CHUNK {
        let magnitude = digits.iter().flat_map(|part| part.bytes()).fold(0, |number, digit| number * 10 + value(digit));
        let number = if negative { -(magnitude as i64) } else { magnitude as i64 };
        append_shortest(&number.to_be_bytes(), bytes);
        return Some(());
    }
    // One byte more than the digits need, so that the first is nothing but the sign.
    let mut complement = vec![0];
    complement.extend(
        magnitude(digits.iter().flat_map(|part| part.bytes())).iter().rev().flat_map(|limb| limb.to_be_bytes()),
    );
    if negative {
        let mut carry = true;
        for byte in complement.iter_mut().rev() {
            (*byte, carry) = (!*byte).overflowing_add(u8::from(carry));
        }
    }
    append_shortest(&complement, bytes);
    Some(())
}

/// Multiplies digits together into limbs of 32 bits, the least significant first.
fn magnitude(digits: impl Iterator<Item = u8>) -> Vec<u32> {
    let mut limbs: Vec<u32> = Vec::new();
    let mut add = |factor: u64, summand: u64| {
        let mut carry = summand;
        for limb in &mut limbs {
            carry += u64::from(*limb) * factor;
            *limb = carry as u32;
            carry >>= 32;
        }
        if carry > 0 {
            limbs.push(carry as u32);
        }
    };
    let (mut factor, mut summand) = (1, 0);
    for digit in digits {
        (factor, summand) = (factor * 10, summand * 10 + value(digit));
        if factor == 1_000_000_000 {
            add(factor, summand);
            (factor, summand) = (1, 0);
        }
    }
    add(factor, summand);
    limbs
}

fn value(digit: u8) -> u64 {
    u64::from(digit - b'0')
}

/// Appends two's complement without the leading bytes that only repeat the sign.
fn append_shortest(complement: &[u8], bytes: &mut Vec<u8>) {
    let repeats = |pair: &&[u8]| matches!((pair[0], pair[1] >> 7), (0, 0) | (0xff, 1));
    let spare = complement.windows(2).take_while(repeats).count();
    bytes.extend_from_slice(&complement[spare..]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use scylla::value::CqlDecimal;

    use super::*;

    /// Divides by ten again and again: another way than the one that is tested.
    fn digits_of(bytes: &[u8]) -> String {
        let negative = bytes[0] >> 7 == 1;
        let mut magnitude = bytes.to_vec();
        if negative {
            let mut carry = true;
            for byte in magnitude.iter_mut().rev() {
                (*byte, carry) = (!*byte).overflowing_add(u8::from(carry));
            }
        }
        let mut digits = Vec::new();
        while magnitude.iter().any(|byte| *byte != 0) {
            let mut remainder = 0u16;
            for byte in &mut magnitude {
                let dividend = remainder << 8 | u16::from(*byte);
                *byte = (dividend / 10) as u8;
                remainder = dividend % 10;
            }
            digits.push(b'0' + remainder as u8);
        }
        digits.reverse();
        let digits = String::from_utf8(digits).expect("digits are ASCII");
        match (digits.is_empty(), negative) {
            (true, _) => "0".to_owned(),
            (false, true) => format!("-{digits}"),
            (false, false) => digits,
        }
    }

    #[test]
    fn integers_are_written_in_as_few_bytes_as_hold_them() {
        for (text, bytes) in [
            ("0", &[0][..]),
            ("-0", &[0]),
            ("1", &[1]),
            ("127", &[127]),
            ("128", &[0, 128]),
            ("-128", &[128]),
            ("-129", &[255, 127]),
            ("9223372036854775808", &[0, 128, 0, 0, 0, 0, 0, 0, 0]),
            ("-9223372036854775808", &[128, 0, 0, 0, 0, 0, 0, 0]),
        ] {
            assert_eq!(varint(text).as_deref(), Some(bytes), "{text}");
        }
    }

    #[test]
    fn decimals_keep_every_digit_and_their_scale() {
        for (text, scale, unscaled) in [
            ("0", 0, "0"),
            ("1.50", 2, "150"),
            ("-0.001", 3, "-1"),
            ("1.5e3", -2, "15"),
            ("15E-3", 3, "15"),
            ("1e+2", -2, "1"),
            ("123456789012345678901234567890.123456789", 9, "123456789012345678901234567890123456789"),
        ] {
            let bytes = decimal(text).expect(text);
            let (head, tail) = bytes.split_at(4);
            assert_eq!(head, i32::to_be_bytes(scale), "{text}");
            assert_eq!(digits_of(tail), unscaled, "{text}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "-", "+1", "01", "1.", ".5", "1e", "1e+", "0x10", "1 ", "NaN", "Infinity", "1_000", "--1"] {
            assert_eq!(varint(text), None, "{text}");
            assert_eq!(decimal(text), None, "{text}");
        }
        for text in ["1.0", "1e3", "1E0", "1e0"] {
            assert_eq!(varint(text), None, "{text}");
        }
        assert_eq!(decimal("1e2147483649"), None, "a scale of more than 32 bits");
        assert_eq!(decimal("1e99999999999999999999"), None);
        assert!(decimal("1e2147483648").is_some());
        let long = "9".repeat(MOST_DIGITS);
        assert!(varint(&long).is_some());
        assert_eq!(varint(&format!("{long}9")), None);
    }

    proptest! {
        #[test]
        fn integers_are_those_of_the_text(text in "0|-?[1-9][0-9]{0,120}") {
            let bytes = varint(&text).expect("an integer");
            prop_assert_eq!(digits_of(&bytes), text);
            let repeats_sign = |first: u8, second: u8| matches!((first, second >> 7), (0, 0) | (255, 1));
            prop_assert!(bytes.len() == 1 || !repeats_sign(bytes[0], bytes[1]), "{:?}", bytes);
        }

        #[test]
        fn integers_are_those_of_the_machine(number in any::<i128>()) {
            let mut shortest = Vec::new();
            append_shortest(&number.to_be_bytes(), &mut shortest);
            prop_assert_eq!(varint(&number.to_string()), Some(shortest));
        }

        #[test]
        fn decimals_are_those_of_the_text(
            sign in "-?", whole in "0|[1-9][0-9]{0,40}", fraction in "[0-9]{1,40}", exponent in -1000i64..1000,
        ) {
            let text = format!("{sign}{whole}.{fraction}e{exponent}");
            let bytes = decimal(&text).expect("a number");
            let scale = fraction.len() as i64 - exponent;
            let read = CqlDecimal::from_signed_be_bytes_slice_and_exponent(&bytes[4..], scale as i32);
            let (digits, exponent) = read.as_signed_be_bytes_slice_and_exponent();
            prop_assert_eq!(&bytes[..4], &exponent.to_be_bytes()[..]);
            let unscaled = format!("{whole}{fraction}");
            let unscaled = unscaled.trim_start_matches('0');
            let wanted = if unscaled.is_empty() { "0".to_owned() } else { format!("{sign}{unscaled}") };
            prop_assert_eq!(digits_of(digits), wanted);
        }
    }
}
