//! Java properties: the format of `server.properties` and `zoo.cfg`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::str::Chars;

/// File with the settings of the brokers.
pub const SERVER_PROPERTIES: &str = "server.properties";

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

/// Reads what [`render`] wrote.
pub fn parse(text: &str) -> BTreeMap<String, String> {
    let setting = |line: &str| {
        let mut characters = line.chars();
        let key = unescape(&mut characters, Some('='));
        (key, unescape(&mut characters, None))
    };
    text.lines().map(setting).collect()
}

/// Reads up to an end that is not escaped. `None`: to the last character.
fn unescape(characters: &mut Chars<'_>, end: Option<char>) -> String {
    let mut units: Vec<u16> = Vec::new();
    while let Some(character) = characters.next().filter(|character| Some(*character) != end) {
        let plain = match (character, (character == '\\').then(|| characters.next()).flatten()) {
            ('\\', Some('n')) => '\n',
            ('\\', Some('r')) => '\r',
            ('\\', Some('t')) => '\t',
            ('\\', Some('u')) => {
                let digits: String = characters.by_ref().take(4).collect();
                units.extend(u16::from_str_radix(&digits, 16).ok());
                continue;
            }
            ('\\', Some(escaped)) => escaped,
            (plain, _) => plain,
        };
        units.extend_from_slice(plain.encode_utf16(&mut [0; 2]));
    }
    String::from_utf16_lossy(&units)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_wrote() {
        let settings = [
            ("listeners", "PLAINTEXT://:9092"),
            ("a", "1\nbroker.id=7\r\tx\\"),
            ("broker.id =7", " é 🦀"),
            ("ends\\", "= and \\u0041"),
            ("empty", ""),
        ];
        let settings: BTreeMap<String, String> = settings.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        assert_eq!(parse(&render(&settings)), settings);
    }

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
