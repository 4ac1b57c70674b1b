//! The last stretch to Kafka: one record, sent until it is acknowledged or refused for good.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Shared;
use crate::backoff::Backoff;
use crate::kafka::{Placed, PublishRecord, Publisher, Receipt};
use crate::message::Outgoing;

/// First and longest wait before a record that Kafka did not acknowledge is sent again.
pub(super) const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// How a record ended.
#[derive(Debug)]
pub(crate) enum Sent {
    /// All in-sync replicas have it, there.
    Acknowledged(Placed),
    /// Kafka refuses it for good.
    Refused(String),
    /// The wait was given up; it may or may not be in Kafka.
    GivenUp,
}

/// Awaits the receipt of a record, and sends it again until Kafka acknowledges or refuses it.
pub(crate) async fn deliver<P: Publisher>(
    shared: &Shared<P>,
    record: Outgoing,
    mut receipt: Receipt,
    give_up: CancellationToken,
) -> Sent {
    let mut retry = Backoff::new(RETRY.0, RETRY.1);
    loop {
        match receipt.await {
            Ok(placed) => return Sent::Acknowledged(placed),
            Err(error @ PublishRecord::RefuseRecord { .. }) => return Sent::Refused(error.to_string()),
            Err(error @ PublishRecord::AwaitBroker { .. }) => shared.telemetry.publish_failed(&error.to_string()),
        }
        tokio::select! {
            () = tokio::time::sleep(retry.next_delay()) => {}
            () = give_up.cancelled() => return Sent::GivenUp,
        }
        receipt = shared.publisher.publish(&record);
    }
}
