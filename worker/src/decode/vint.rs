//! Integers in as few bytes as they need, as the native protocol writes parts of durations and lengths in vectors: the
//! leading ones of the first byte say how many bytes follow.

/// Appends an integer of either sign: zero, -1, 1, -2 and so on become 0, 1, 2, 3.
pub(super) fn append_signed(number: i64, bytes: &mut Vec<u8>) {
    append((number << 1 ^ number >> 63) as u64, bytes);
}

/// Appends an integer.
pub(super) fn append(number: u64, bytes: &mut Vec<u8>) {
    let bits = (u64::BITS - number.leading_zeros()) as usize;
    // Each byte that follows costs one bit of the first.
    let length = bits.div_ceil(7).clamp(1, 9);
    let marks = (0xff00_u16 >> (length - 1)) as u8;
    if length == 9 {
        bytes.push(marks);
    }
    let begin = bytes.len();
    bytes.extend_from_slice(&number.to_be_bytes()[8 - length.min(8)..]);
    if length < 9 {
        bytes[begin] |= marks;
    }
}
