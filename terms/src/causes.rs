//! The causes behind an error: for logs and statuses, which have the whole chain, and for finding one of our own inside.

use std::error::Error;

/// Returns the causes of an error, the nearest first, without itself.
pub fn causes(error: &dyn Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}

/// Returns an error with all its causes in one line, without repeating what was said already.
pub fn chain_of(error: &dyn Error) -> String {
    causes(error).map(ToString::to_string).fold(error.to_string(), |text, cause| match text.contains(&cause) {
        true => text,
        false => format!("{text}: {cause}"),
    })
}

#[cfg(test)]
mod tests {
    use snafu::{ResultExt, Snafu};

    use super::*;

    #[derive(Debug, Snafu)]
    enum Outer {
        #[snafu(display("cannot read the file"))]
        Read { source: std::io::Error },
    }

    #[test]
    fn says_each_cause_once() {
        let error: Result<(), Outer> = Err(std::io::Error::other("disk on fire")).context(ReadSnafu);
        assert_eq!(error.err().map(|error| chain_of(&error)), Some("cannot read the file: disk on fire".to_owned()));
    }
}
