//! Server-sent events: a task that sends, bounded, and ends with its viewer or its session.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::refusal::Refusal;

/// Events that a slow viewer may be behind before the sender waits.
const BEHIND: usize = 8;
/// From one sign of life to the next where there is nothing to send. It is an event, since a page cannot see comments.
const ALIVE: Duration = Duration::from_secs(10);

/// The sender's end of a stream.
pub struct Sender(mpsc::Sender<Event>);

impl Sender {
    /// Sends an event; returns whether anybody is still there.
    pub async fn send<T: Serialize>(&self, name: &str, data: &T) -> bool {
        match Event::default().event(name).json_data(data) {
            Ok(event) => self.0.send(event).await.is_ok(),
            Err(error) => {
                tracing::error!(name, %error, "an event cannot be written");
                false
            }
        }
    }

    /// Says what could not be asked.
    pub async fn problem(&self, refusal: &Refusal) -> bool {
        self.send("problem", &refusal.problem()).await
    }

    /// Says that the session has ended.
    pub async fn expired(&self) {
        self.send("expired", &serde_json::json!({})).await;
    }

    /// Returns when nobody is there any more.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}

/// Answers with what a task sends.
pub fn answer<F>(task: impl FnOnce(Sender) -> F) -> Sse<impl Stream<Item = Result<Event, Infallible>>>
where
    F: Future<Output = ()> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(BEHIND);
    tokio::spawn(task(Sender(sender)));
    let events = futures::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|event| (Ok(event), receiver))
    });
    let alive = Event::default().event("ping").data("{}");
    Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE).event(alive))
}
