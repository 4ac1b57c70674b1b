//! The HTTP source: one endpoint, polled; the records of its answers, page by page.
//!
//! Polls start on a grid of `interval` and never overlap; what a slow poll misses is skipped. The pages of a poll follow
//! each other at once, each as a batch of its own. Retries of a failed page follow their own backoff (or the server's
//! Retry-After) and leave the grid as it is. Bounded in bytes, time, pages and rate.

mod answer;
mod expressions;
mod oauth2;
mod pages;
mod request;
mod since;

use std::sync::Arc;
use std::time::Duration;

use millrace_terms::HttpSettings;
use reqwest::Url;
use tokio::time::{Instant, sleep_until};

use super::guard::Guard;
use super::pace::Pace;
use super::{AcceptAnswerSnafu, AwaitEndpointSnafu, Batch, FetchRecords, Source};
use crate::backoff::Backoff;
use crate::cursor::{Mark, ReadMarks};
use pages::{After, Pages, Said};
use request::{Answered, CompileSinceSnafu, Requests};
use since::Since;

pub use expressions::Variables;
pub use request::PrepareRequests;

/// First and longest wait between attempts while the endpoint cannot be reached.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// Failures in a row after which a poll is not gone on with but begun anew.
const PAGE_FAILURES: u32 = 10;

/// Shortest wait after an answer that somebody has to fix.
const MEND: Duration = Duration::from_secs(30);

/// An endpoint and when to ask it next.
pub struct HttpSource {
    requests: Requests,
    variables: Variables,
    settings: HttpSettings,
    /// Where the source stands. Absent: the endpoint has no position.
    position: Option<Kept>,
    pace: Option<Pace>,
    backoff: Backoff,
    /// The page that comes next in the poll under way. Absent: a poll begins.
    page: Option<(Url, Option<Pages>)>,
    /// Start of the poll on the grid that comes next, or that is being retried.
    tick: Instant,
    due: Instant,
}

/// The position of an endpoint that has one.
struct Kept {
    since: Since,
    source: String,
    cursors: Arc<dyn ReadMarks>,
    is_read: bool,
}

/// A failed poll, and how long the server wants to be left alone.
pub(crate) struct Failure {
    error: FetchRecords,
    /// Absent: the server says nothing.
    retry_after: Option<Duration>,
}

impl HttpSource {
    /// Prepares the requests to an endpoint, whose expressions are over `variables`. An endpoint with a position is asked
    /// from where `cursors` say that the source of this name stands.
    #[expect(clippy::disallowed_methods, reason = "a source is fetched when it is due")]
    pub fn new(
        name: &str,
        settings: &HttpSettings,
        guard: &Guard,
        variables: &Variables,
        cursors: Option<Arc<dyn ReadMarks>>,
    ) -> Result<Self, PrepareRequests> {
        let now = Instant::now();
        let mut requests = Requests::new(settings, guard)?;
        let position = match settings.since.as_deref().zip(cursors) {
            Some((expression, cursors)) => {
                let since = Since::new(expression).map_err(|problem| CompileSinceSnafu { problem }.build())?;
                Some(Kept { since, source: name.to_owned(), cursors, is_read: false })
            }
            None => None,
        };
        if position.is_none() {
            requests.prepare(variables)?;
        }
        Ok(Self {
            requests,
            variables: variables.clone(),
            settings: settings.clone(),
            position,
            pace: settings.max_requests_per_second.map(|rate| Pace::new(rate, Duration::ZERO, now)),
            backoff: Backoff::new(RETRY.0, RETRY.1),
            page: None,
            tick: now,
            due: now,
        })
    }

    /// Fetches the next page of the poll under way, or the first one of the next.
    async fn fetch(&mut self) -> Result<Batch, Failure> {
        let (url, pages) = match self.page.clone() {
            Some(page) => page,
            None => self.begin().await?,
        };
        self.page = Some((url.clone(), pages.clone()));
        let Answered { mut records, link, cursor } = self.requests.fetch(&url).await?;
        if let Some(Kept { since, .. }) = &mut self.position {
            since
                .look(records.clone())
                .map_err(|problem| self.requests.refuse(format!("cannot be followed: {problem}")))?;
        }
        let Some(mut pages) = pages else { return Ok(self.end(Batch { records, ..Batch::default() })) };
        let said = Said { link: &link, cursor: cursor.as_deref(), records: records.cut(u64::MAX).0 };
        match pages.after(&url, said).map_err(|problem| self.requests.refuse(problem))? {
            After::Page(next) => {
                self.page = Some((next, Some(pages)));
                Ok(Batch { records, more: true, ..Batch::default() })
            }
            After::End => Ok(self.end(Batch { records, ..Batch::default() })),
            After::Bound => {
                // Where the records beyond stand is unknown, so the position stays.
                self.position.iter_mut().for_each(|kept| kept.since.give_up());
                let note = format!(
                    "there are more pages than pagination.maxPages, {}; raise it, or ask for more records a page",
                    self.settings.pagination.as_ref().map_or(0, |pagination| pagination.max_pages)
                );
                Ok(self.end(Batch { records, note, ..Batch::default() }))
            }
        }
    }

    /// Begins a poll: reads the position if that was not done, and evaluates what depends on it.
    async fn begin(&mut self) -> Result<(Url, Option<Pages>), Failure> {
        if let Some(kept) = &mut self.position {
            if !kept.is_read {
                let read = kept.cursors.read(&kept.source).await;
                let positions = read.map_err(|problem| AwaitEndpointSnafu { problem }.build())?;
                kept.since.begin(positions.get(since::PART).cloned()).map_err(|position| {
                    let problem = format!(
                        "the position that is kept of source '{}' is {position}, which is neither a JSON string nor a \
                         JSON number; correct it in the cursors topic",
                        kept.source
                    );
                    AcceptAnswerSnafu { problem }.build()
                })?;
                kept.is_read = true;
            }
            self.variables.set_since(kept.since.value());
            let prepared = self.requests.prepare(&self.variables);
            prepared
                .map_err(|error| AcceptAnswerSnafu { problem: millrace_terms::causes::chain_of(&error) }.build())?;
        }
        let pages = self.settings.pagination.as_ref().map(Pages::new);
        let url = self.requests.url().clone();
        Ok((pages.as_ref().map_or_else(|| url.clone(), |pages| pages.first(&url)), pages))
    }

    /// Ends a poll with its last batch, which takes the position along.
    fn end(&mut self, batch: Batch) -> Batch {
        self.page = None;
        let moved = self.position.as_mut().and_then(|kept| kept.since.end());
        let mark = moved.map(|position| Mark { part: since::PART.to_owned(), position });
        Batch { marks: mark.into_iter().collect(), ..batch }
    }

    /// Gives the poll under way up: the next one begins with the first page.
    fn give_up(&mut self) {
        self.page = None;
        self.position.iter_mut().for_each(|kept| kept.since.give_up());
    }

    fn schedule(&mut self, outcome: &Result<Batch, Failure>, now: Instant) {
        match outcome {
            Ok(Batch { more: true, .. }) => {
                self.backoff.reset();
                self.due = now;
            }
            Ok(_) => {
                self.backoff.reset();
                self.tick = next_tick(self.tick, self.settings.interval.get(), now);
                self.due = self.tick;
            }
            Err(Failure { error: FetchRecords::AwaitEndpoint { .. }, retry_after }) => {
                let backoff = self.backoff.next_delay();
                self.due = now + retry_after.unwrap_or_default().max(backoff);
                // A page may be gone for good, as one is whose cursor has expired.
                if self.backoff.failures().is_multiple_of(PAGE_FAILURES) {
                    self.give_up();
                }
            }
            Err(Failure {
                error:
                    FetchRecords::AcceptAnswer { .. } | FetchRecords::ReachAddress { .. } | FetchRecords::AcceptFile { .. },
                ..
            }) => {
                // What somebody has to fix is looked at from the first page on.
                self.give_up();
                self.requests.forget();
                self.due = now + self.settings.interval.get().max(MEND);
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
        let outcome = self.fetch().await;
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
