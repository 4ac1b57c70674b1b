//! Shutdown: SIGTERM and SIGINT become a token that the roads watch.

use snafu::{ResultExt, Snafu};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Why signals cannot be received.
#[derive(Debug, Snafu)]
#[snafu(display("cannot receive signals"))]
pub struct WatchSignals {
    source: std::io::Error,
}

/// Returns a token that is cancelled by the first SIGTERM or SIGINT.
pub fn on_signal() -> Result<CancellationToken, WatchSignals> {
    let mut terminate = signal(SignalKind::terminate()).context(WatchSignalsSnafu)?;
    let mut interrupt = signal(SignalKind::interrupt()).context(WatchSignalsSnafu)?;
    let stop = CancellationToken::new();
    let told = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        told.cancel();
    });
    Ok(stop)
}
