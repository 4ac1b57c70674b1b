//! The value of a Kafka record: the bytes of its text, or what it is instead. Pure.

/// What some programs begin a UTF-8 text with.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Returns the bytes that are to be read as JSON; the error says which other format they are in.
pub(crate) fn plain(value: &[u8]) -> Result<&[u8], String> {
    match value {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Err("it is UTF-16; values are read as UTF-8".to_owned()),
        [0, one, two, three, four, _, ..] => {
            let schema = u32::from_be_bytes([*one, *two, *three, *four]);
            Err(format!(
                "it begins with a zero byte and schema id {schema}, as the serializers of a schema registry write it; \
                 values are read as plain JSON"
            ))
        }
        value => Ok(value.strip_prefix(BYTE_ORDER_MARK).unwrap_or(value)),
    }
}

/// Returns the text of a Kafka record's key; the error says what it is instead. Binary keys of other serializers may be valid
/// UTF-8, and taken for texts they would name rows that do not exist.
pub(crate) fn key_text(key: &[u8]) -> Result<&str, String> {
    let text = std::str::from_utf8(plain(key)?).map_err(|_| "it is not UTF-8".to_owned())?;
    match text.contains('\0') {
        true => Err("it has a zero byte, so it is neither JSON nor text".to_owned()),
        false => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_key_is_no_text() {
        assert_eq!(key_text(b"ann"), Ok("ann"));
        assert_eq!(key_text(b"\xef\xbb\xbfann"), Ok("ann"));
        for (key, problem) in [
            (&b"\0\0\0\0\x07ann"[..], "schema id 7"),
            (b"\0\0\0\x07", "a zero byte"),
            (b"\0\0\0\0\0\0\0\x07", "a zero byte and schema id 0"),
            (b"\xff", "not UTF-8"),
        ] {
            let said = key_text(key).expect_err("no text");
            assert!(said.contains(problem), "{said}");
        }
    }

    #[test]
    fn other_formats_are_named_and_a_byte_order_mark_is_passed_over() {
        assert_eq!(plain(b"{}"), Ok(&b"{}"[..]));
        assert_eq!(plain(b"\xef\xbb\xbf{}"), Ok(&b"{}"[..]));
        assert_eq!(plain(b""), Ok(&b""[..]));
        assert!(plain(b"\0\0\0\x01\x02{}").expect_err("a registry's").contains("schema id 258"));
        assert!(plain(b"\xff\xfe{\0}\0").expect_err("UTF-16").contains("UTF-16"));
    }
}
