//! Resources and measurements → what the API says of them. Pure, but for the clock that is passed in.

pub mod events;
pub mod graph;
pub mod pace;
pub mod pipeline;
pub mod pods;
pub mod resource;
pub mod runs;
pub mod scaling;
pub mod signals;
pub mod sources;
pub mod why;

use chrono::{DateTime, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Returns the moment of a Kubernetes time.
pub fn moment(time: &Time) -> DateTime<Utc> {
    millrace_api::crd::time::moment_of(time)
}

/// Puts a word between single quotes for a shell, if it needs them.
pub fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:=,@".contains(letter);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_cannot_leave_their_quotes() {
        assert_eq!(quoted("orders-1"), "orders-1");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("a b; rm"), "'a b; rm'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
