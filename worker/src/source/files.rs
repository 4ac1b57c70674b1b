//! The files source: lines and rows of the files of a mounted volume, in the order of the files' names.
//!
//! A pass looks which files match, reads each from where it was left to where it ends, and is followed by a pause. A
//! name stands for its content: files may grow, and are read on from there; one that was replaced or cut is told of and
//! left alone. What is read when, and how far, is decided in `walk`; what a record is, in `rows`.

mod rows;
mod tail;
mod walk;

use std::sync::Arc;
use std::time::Duration;

use millrace_terms::FilesSettings;
use tokio::time::{Instant, sleep_until};

use super::{AcceptFileSnafu, AwaitEndpointSnafu, Batch, FetchRecords, Source};
use crate::backoff::Backoff;
use crate::cursor::ReadMarks;
use walk::{Step, Walk};

/// First and longest wait between attempts to read the cursors.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// The files of one source.
pub struct FilesSource {
    name: String,
    settings: FilesSettings,
    cursors: Arc<dyn ReadMarks>,
    backoff: Backoff,
    /// When the next pass, or the next attempt to read the cursors, begins.
    due: Instant,
    /// Absent: the cursors are not read yet.
    walk: Option<Walk>,
}

impl FilesSource {
    /// Makes the source; it first asks `cursors` how far it came.
    #[expect(clippy::disallowed_methods, reason = "a source is fetched when it is due")]
    pub fn new(name: &str, settings: &FilesSettings, cursors: Arc<dyn ReadMarks>) -> Self {
        Self {
            name: name.to_owned(),
            settings: settings.clone(),
            cursors,
            backoff: Backoff::new(RETRY.0, RETRY.1),
            due: Instant::now(),
            walk: None,
        }
    }

    /// Reads how far the source came. Without that nothing is read: a guess would repeat or skip whole files.
    #[expect(clippy::disallowed_methods, reason = "a source is fetched when it is due")]
    async fn begin(&mut self) -> Result<Walk, FetchRecords> {
        sleep_until(self.due).await;
        let walk = match self.cursors.read(&self.name).await {
            Ok(positions) => {
                Walk::new(&self.settings, positions).map_err(|problem| AcceptFileSnafu { problem }.build())
            }
            Err(problem) => AwaitEndpointSnafu { problem }.fail(),
        };
        self.due = Instant::now() + if walk.is_ok() { Duration::ZERO } else { self.backoff.next_delay() };
        walk
    }
}

impl Source for FilesSource {
    #[expect(clippy::disallowed_methods, reason = "a source is fetched when it is due")]
    async fn next(&mut self) -> Result<Batch, FetchRecords> {
        let mut walk = match self.walk.take() {
            Some(walk) => walk,
            None => self.begin().await?,
        };
        if walk.is_between_passes() {
            sleep_until(self.due).await;
        }
        let stepped = tokio::task::spawn_blocking(move || {
            let step = walk.step();
            (walk, step)
        });
        let (walk, step) = stepped.await.expect("reading a file does not panic");
        self.walk = Some(walk);
        match step {
            Step::Records(batch) => Ok(batch),
            Step::PassEnded(outcome) => {
                self.due = Instant::now() + self.settings.interval.get();
                outcome
            }
        }
    }
}

#[cfg(test)]
mod tests;
