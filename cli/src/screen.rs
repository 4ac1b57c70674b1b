//! What is written: tables that fit the terminal, colours only on one, and documents for scripts.

use std::io::{self, Write};

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

/// How things are written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// One JSON document; one a line where they come one after another.
    Json,
    /// One YAML document.
    Yaml,
}

/// A colour with a meaning.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Colour {
    /// Well.
    Green,
    /// Wrong.
    Red,
    /// Unknown, or about to change.
    Yellow,
    /// Beside the point.
    Dim,
    /// The point.
    Bold,
}

impl Colour {
    fn code(self) -> &'static str {
        match self {
            Self::Green => "32",
            Self::Red => "31",
            Self::Yellow => "33",
            Self::Dim => "2",
            Self::Bold => "1",
        }
    }
}

/// Where it is written to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Screen {
    /// Columns. `None`: it is no terminal, and nothing is wrapped.
    pub width: Option<u16>,
    /// Whether it shows colours.
    pub colour: bool,
}

impl Screen {
    /// Looks at standard output and `NO_COLOR`.
    #[expect(clippy::disallowed_methods, reason = "whether colours are wanted is said by the environment alone")]
    pub fn of_stdout() -> Self {
        let terminal = console::Term::stdout();
        let width = if terminal.is_term() { terminal.size_checked().map(|(_, columns)| columns) } else { None };
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { width, colour: terminal.is_term() && !unwanted }
    }

    /// Returns a text in a colour, where there are colours.
    pub fn paint(&self, colour: Colour, text: &str) -> String {
        match self.colour {
            true => format!("\u{1b}[{}m{text}\u{1b}[0m", colour.code()),
            false => text.to_owned(),
        }
    }

    /// Returns a table without lines; on a terminal its cells are wrapped so that it fits.
    pub fn table(&self, header: &[&str], rows: &[Vec<String>]) -> String {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).set_header(header);
        match self.width {
            Some(width) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width),
            None => table.set_content_arrangement(ContentArrangement::Disabled),
        };
        for row in rows {
            table.add_row(row.iter().map(|cell| printable(cell)));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let mut text = String::new();
        for line in table.lines() {
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Writes a text to standard output at once.
pub fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Returns a value as a document; as a table there is none.
pub fn document(format: Format, value: &impl Serialize) -> String {
    match format {
        Format::Yaml => serde_yaml::to_string(value).expect("what we report is YAML"),
        Format::Json | Format::Table => {
            let mut text = serde_json::to_string_pretty(value).expect("what we report is JSON");
            text.push('\n');
            text
        }
    }
}

/// Returns a text in which nothing can command the terminal: control characters but tabs and line ends are written as
/// escapes.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => shown.push(character),
            control if control.is_control() => shown.extend(control.escape_unicode()),
            other => shown.push(other),
        }
    }
    shown
}

/// Returns what there is, or a dash for what is unknown: never a zero.
pub fn known<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Returns a time span as people read it, in at most two units: `3d4h`, `5m12s`, `800ms`.
pub fn span(span: std::time::Duration) -> String {
    let seconds = span.as_secs();
    let two = |large: u64, name: &str, rest: u64, small: &str| match rest {
        0 => format!("{large}{name}"),
        rest => format!("{large}{name}{rest}{small}"),
    };
    match seconds {
        0 if span.subsec_millis() > 0 => format!("{}ms", span.subsec_millis()),
        0..60 => format!("{seconds}s"),
        60..3_600 => two(seconds / 60, "m", seconds % 60, "s"),
        3_600..86_400 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "m"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn spans_have_two_units_at_most() {
        let seconds = |seconds| span(Duration::from_secs(seconds));
        assert_eq!(
            [seconds(0), seconds(59), seconds(312), seconds(7_200), seconds(273_600)].join(" "),
            "0s 59s 5m12s 2h 3d4h"
        );
        assert_eq!(span(Duration::from_millis(250)), "250ms");
    }

    #[test]
    fn a_value_cannot_command_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\tc\n\u{7}"), "a\\u{1b}[2Jb\tc\n\\u{7}");
        assert_eq!(printable("Liège"), "Liège");
    }

    #[test]
    fn colours_are_only_where_they_show() {
        assert_eq!(Screen::default().paint(Colour::Red, "no"), "no");
        assert_eq!(Screen { width: None, colour: true }.paint(Colour::Red, "no"), "\u{1b}[31mno\u{1b}[0m");
    }

    #[test]
    fn a_table_fits_the_terminal_and_is_whole_elsewhere() {
        let rows = [vec!["users".to_owned(), "a message that is longer than the terminal is wide".to_owned()]];
        let whole = Screen::default().table(&["NAME", "MESSAGE"], &rows);
        assert_eq!(whole, "NAME   MESSAGE\nusers  a message that is longer than the terminal is wide\n");
        let narrow = Screen { width: Some(30), colour: false }.table(&["NAME", "MESSAGE"], &rows);
        assert!(narrow.lines().all(|line| line.chars().count() <= 30), "{narrow}");
        assert!(narrow.lines().count() > 2, "{narrow}");
    }
}
