//! A topic followed live.

use axum::extract::{Path, Query};
use axum::response::IntoResponse;
use millrace_api::names::Names;
use tokio::sync::broadcast::error::RecvError;

use super::messages::permitted;
use super::stream::{Sender, answer};
use crate::access::Right;
use crate::api::messages::{Filter as Written, TailBatch};
use crate::messages::filter::Filter;
use crate::messages::render::Masking;
use crate::messages::tap::Look;
use crate::refusal::Refusal;
use crate::viewer::Viewer;

/// Most messages of one batch: more than anybody reads in a second.
const MOST: usize = 100;

/// What one viewer follows.
struct Following {
    viewer: Viewer,
    names: Names,
    filter: Filter,
    partition: Option<i32>,
    masking: Masking,
}

/// Follows a topic.
pub async fn tail(
    viewer: Viewer,
    Path((namespace, name, topic)): Path<(String, String, String)>,
    Query(written): Query<Written>,
) -> Result<impl IntoResponse, Refusal> {
    let (names, masking) = permitted(&viewer, &namespace, &name, &topic, "tail").await?;
    let filter = Filter::parse(&written, &masking)?;
    let permits = viewer.stream()?;
    let mut looks = viewer.app.taps.follow(&viewer.app.cluster, &names, &topic);
    let following = Following { viewer, names, filter, partition: written.partition, masking };
    Ok(answer(move |sender| async move {
        let _permits = permits;
        loop {
            let seen = tokio::select! {
                () = sender.closed() => return,
                seen = looks.recv() => seen,
            };
            if !following.viewer.is_there() {
                return sender.expired().await;
            }
            // A right that was taken away ends the stream.
            if let Err(refusal) = following.viewer.require(&following.names, Right::Messages).await
                && !matches!(refusal, Refusal::Unavailable { .. })
            {
                sender.problem(&refusal).await;
                return;
            }
            let goes_on = match seen {
                Ok(Ok(look)) => following.show(&sender, &look).await,
                Ok(Err(causes)) => {
                    let message = "Kafka does not answer".to_owned();
                    sender.problem(&Refusal::Unavailable { message, causes: causes.to_vec() }).await
                }
                // A viewer this slow misses looks; the next one goes on.
                Err(RecvError::Lagged(_)) => true,
                Err(RecvError::Closed) => return,
            };
            if !goes_on {
                return;
            }
        }
    }))
}

impl Following {
    async fn show(&self, sender: &Sender, look: &Look) -> bool {
        let batch = self.batch(look);
        if batch.messages.is_empty() && batch.skipped == 0 {
            return true;
        }
        sender.send("messages", &batch).await
    }

    fn batch(&self, look: &Look) -> TailBatch {
        let of_partition =
            look.records.iter().filter(|record| self.partition.is_none_or(|only| only == record.partition));
        let mut messages: Vec<_> = of_partition.filter_map(|record| self.filter.take(record, &self.masking)).collect();
        let beyond = messages.len().saturating_sub(MOST);
        messages.truncate(MOST);
        TailBatch { messages, skipped: look.skipped + beyond as u64 }
    }
}
