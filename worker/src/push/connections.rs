//! The connections of the push port: how many, how long their heads may take, and how they end.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures::FutureExt;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// What connections may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most connections at once; further ones wait in the kernel's queue until one ends.
    pub connections: usize,
    /// Longest that the head of a request may take to arrive; also how long a connection may be idle.
    pub head: Duration,
    /// How long new connections are still taken after the order to stop: until then clients may be led here.
    pub linger: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 256, head: Duration::from_secs(15), linger: Duration::from_secs(3) }
    }
}

/// Most headers of a request.
const HEADERS: usize = 64;

/// Most bytes that a connection buffers, the head of a request included.
const BUFFER: usize = 32 << 10;

/// How often the server shows that it is alive.
const PULSE: Duration = Duration::from_secs(1);

/// Serves until `stop`, then lets requests that are under way end, all within `drain`; returns when that is over.
#[expect(clippy::disallowed_methods, reason = "connections are closed by deadlines")]
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    beat: impl Fn() + Send,
    (stop, drain): (CancellationToken, Duration),
) -> Instant {
    let places = Arc::new(Semaphore::new(limits.connections));
    let finish = CancellationToken::new();
    let mut connections = JoinSet::new();
    let mut pulse = tokio::time::interval(PULSE);
    let mut deadline = None;
    let mut closing = None;
    loop {
        tokio::select! {
            (stream, place) = accept(&listener, &places) => {
                connections.spawn(connection(stream, router.clone(), limits.head, finish.clone()).map(|()| drop(place)));
            }
            // Ended ones are forgotten at once.
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            _ = pulse.tick() => beat(),
            () = stop.cancelled(), if deadline.is_none() => {
                deadline = Some(Instant::now() + drain);
                closing = Some(Instant::now() + limits.linger.min(drain / 4));
            }
            () = sleep_until(closing.unwrap_or_else(Instant::now)), if closing.is_some() => break,
        }
    }
    drop(listener);
    finish.cancel();
    let deadline = deadline.unwrap_or_else(Instant::now);
    let mut end = pin!(sleep_until(deadline));
    loop {
        tokio::select! {
            ended = connections.join_next() => if ended.is_none() { break },
            () = &mut end => break,
        }
    }
    beat();
    deadline
}

/// Takes the next connection as soon as there is a place for it. Cancel-safe.
async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    loop {
        let place = Arc::clone(places).acquire_owned().await.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, _)) => return (stream, place),
            // The client is gone already, or the process has no descriptor left: others end meanwhile.
            Err(error) => {
                tracing::debug!(%error, "cannot take a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, router: Router, head: Duration, finish: CancellationToken) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(head).max_headers(HEADERS).max_buf_size(BUFFER);
    let service = TowerToHyperService::new(router);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = finish.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
