//! The HTTP source: one endpoint, polled; its answer's records.
//!
//! Polls start on a grid of `interval` and never overlap; what a slow poll misses is skipped. Retries of a failed poll
//! follow their own backoff (or the server's Retry-After) and leave the grid as it is. Bounded in bytes, time and rate.

mod answer;
mod expressions;
mod request;

use std::time::Duration;

use millrace_terms::HttpSettings;
use tokio::time::{Instant, sleep_until};

use super::guard::Guard;
use super::pace::Pace;
use super::{Batch, FetchRecords, Source};
use crate::backoff::Backoff;
use request::Requests;

pub use expressions::Variables;
pub use request::PrepareRequests;

/// First and longest wait between attempts while the endpoint cannot be reached.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// Shortest wait after an answer that somebody has to mend.
const MEND: Duration = Duration::from_secs(30);

/// An endpoint and when to ask it next.
pub struct HttpSource {
    requests: Requests,
    interval: Duration,
    pace: Option<Pace>,
    backoff: Backoff,
    /// Start of the poll on the grid that comes next, or that is being retried.
    tick: Instant,
    due: Instant,
}

/// A failed poll, and how long the server wants to be left alone.
pub(crate) struct Failure {
    error: FetchRecords,
    /// Absent: the server says nothing.
    retry_after: Option<Duration>,
}

impl HttpSource {
    /// Prepares the requests to an endpoint, whose expressions are over `variables`.
    #[expect(clippy::disallowed_methods, reason = "a source is fetched when it is due")]
    pub fn new(settings: &HttpSettings, guard: &Guard, variables: &Variables) -> Result<Self, PrepareRequests> {
        let now = Instant::now();
        Ok(Self {
            requests: Requests::new(settings, guard, variables)?,
            interval: settings.interval.get(),
            pace: settings.max_requests_per_second.map(|rate| Pace::new(rate, Duration::ZERO, now)),
            backoff: Backoff::new(RETRY.0, RETRY.1),
            tick: now,
            due: now,
        })
    }

    fn schedule(&mut self, outcome: &Result<Batch, Failure>, now: Instant) {
        match outcome {
            Ok(_) => {
                self.backoff.reset();
                self.tick = next_tick(self.tick, self.interval, now);
                self.due = self.tick;
            }
            Err(Failure { error: FetchRecords::AwaitEndpoint { .. }, retry_after }) => {
                let backoff = self.backoff.next_delay();
                self.due = now + retry_after.unwrap_or_default().max(backoff);
            }
            Err(Failure {
                error:
                    FetchRecords::AcceptAnswer { .. } | FetchRecords::ReachAddress { .. } | FetchRecords::AcceptFile { .. },
                ..
            }) => {
                self.due = now + self.interval.max(MEND);
            }
        }
    }
}

impl Source for HttpSource {
    #[expect(clippy::disallowed_methods, reason = "a source is fetched when it is due")]
    async fn next(&mut self) -> Result<Batch, FetchRecords> {
        sleep_until(self.due).await;
        if let Some(pace) = &mut self.pace {
            sleep_until(pace.take(1, Instant::now())).await;
        }
        let outcome = self.requests.fetch().await;
        self.schedule(&outcome, Instant::now());
        outcome.map_err(|failure| failure.error)
    }
}

/// Returns the first tick of the grid after `now`, and after `tick`.
fn next_tick(tick: Instant, interval: Duration, now: Instant) -> Instant {
    let passed = now.saturating_duration_since(tick);
    let skipped = passed.as_millis() / interval.as_millis().max(1);
    tick + interval * u32::try_from(skipped).unwrap_or(u32::MAX - 1).saturating_add(1)
}

#[cfg(test)]
mod tests;
