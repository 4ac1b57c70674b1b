//! Java properties: the format of `server.properties` and `zoo.cfg`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Renders settings, one line each, sorted by key. Whatever a key or value holds, it stays one setting.
pub fn render(settings: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for (key, value) in settings {
        escape(&mut text, key, true);
        text.push('=');
        escape(&mut text, value, false);
        text.push('\n');
    }
    text
}

fn escape(text: &mut String, raw: &str, key: bool) {
    for (index, character) in raw.chars().enumerate() {
        match character {
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\\' => text.push_str("\\\\"),
            ' ' if key || index == 0 => text.push_str("\\ "),
            '=' | ':' | '#' | '!' if key => {
                text.push('\\');
                text.push(character);
            }
            ' '..='~' => text.push(character),
            // The servers read Latin-1.
            other => {
                let mut units = [0; 2];
                for unit in other.encode_utf16(&mut units) {
                    write!(text, "\\u{unit:04x}").expect("a String takes all that is written to it");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(key: &str, value: &str) -> String {
        render(&BTreeMap::from([(key.to_owned(), value.to_owned())]))
    }

    #[test]
    fn keeps_plain_settings_plain() {
        assert_eq!(one("listeners", "PLAINTEXT://:9092"), "listeners=PLAINTEXT://:9092\n");
    }

    #[test]
    fn keeps_a_value_with_line_breaks_one_setting() {
        assert_eq!(one("a", "1\nbroker.id=7\r\tx\\"), "a=1\\nbroker.id=7\\r\\tx\\\\\n");
    }

    #[test]
    fn keeps_a_strange_key_one_key() {
        assert_eq!(one("broker.id =7", " é 🦀"), "broker.id\\ \\=7=\\ \\u00e9 \\ud83e\\udd80\n");
    }
}
