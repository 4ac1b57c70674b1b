//! Commits in the background, on a thread of its own that waits for each answer.
//!
//! librdkafka's asynchronous commit tells nobody how it ended: rdkafka 0.39 enables the commit event, but the event is
//! made only when the callback that it replaces is set. Waiting on the polling thread would hold up the records.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};

use super::super::Event;
use super::callbacks::Callbacks;
use crate::message::Offsets;

/// The polling thread's end of the committing thread.
pub(super) struct Committer {
    offsets: Sender<Offsets>,
    thread: JoinHandle<()>,
}

impl Committer {
    /// Starts the thread.
    pub(super) fn start(consumer: Arc<BaseConsumer<Callbacks>>) -> std::io::Result<Self> {
        let (offsets, received) = channel();
        let thread = thread::Builder::new().name("committer".to_owned()).spawn(move || run(&consumer, &received))?;
        Ok(Self { offsets, thread })
    }

    /// Asks for a commit; its outcome becomes an event.
    pub(super) fn commit(&self, offsets: Offsets) {
        // The thread ends only after `stop`.
        let _ = self.offsets.send(offsets);
    }

    /// Waits for the commit under way and ends the thread.
    pub(super) fn stop(self) {
        drop(self.offsets);
        if self.thread.join().is_err() {
            tracing::error!("the committing thread has panicked");
        }
    }
}

fn run(consumer: &BaseConsumer<Callbacks>, received: &Receiver<Offsets>) {
    let callbacks = consumer.context();
    for offsets in received {
        let committed = callbacks.list(&offsets).and_then(|list| consumer.commit(&list, CommitMode::Sync));
        let outcome = committed.map(|()| offsets).map_err(|error| error.to_string());
        callbacks.tell(Event::Committed(outcome));
    }
}
