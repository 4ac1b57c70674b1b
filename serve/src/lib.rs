//! Serves a router within bounds: how many connections, from whom, how long and large their heads may be, and how they
//! end. Every port of worker, operator and console is served here.
//!
//! A peer that has more connections than it may is hung up on; when all places are taken, further ones wait in the
//! kernel's queue. What a connection buffers, the head of a request included, is bounded; a head that is larger is
//! answered with 431.

mod peers;

use std::net::{Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use futures::FutureExt;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use peers::{Peers, Place};

/// What connections may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most connections at once; further ones wait in the kernel's queue until one ends.
    pub connections: usize,
    /// Most connections of one address; further ones are closed.
    pub of_one_peer: usize,
    /// Longest that the head of a request may take to arrive; also how long a connection may be idle.
    pub head: Duration,
    /// Most bytes that a connection buffers, the head of a request included.
    pub buffer: usize,
    /// Longest that a connection may last, also one whose client does not read. Absent: as long as it is used.
    pub lifetime: Option<Duration>,
    /// How long new connections are still taken after the order to stop: until then clients may be led here.
    pub linger: Duration,
}

impl Limits {
    /// For health and metrics: few short questions, and no single pod may keep the probes out.
    pub const HEALTH: Self = Self {
        connections: 64,
        of_one_peer: 16,
        head: HEAD,
        buffer: 16 << 10,
        lifetime: Some(Duration::from_secs(60)),
        linger: Duration::ZERO,
    };

    /// For the push port: clients may all come from one address.
    pub const PUSH: Self = Self {
        connections: 256,
        of_one_peer: 256,
        head: HEAD,
        buffer: 32 << 10,
        lifetime: None,
        linger: Duration::from_secs(3),
    };

    /// For the console: all may come by one ingress, and some watch for hours.
    pub const CONSOLE: Self = Self {
        connections: 512,
        of_one_peer: 512,
        head: LONGER_THAN_A_PROXY,
        buffer: 16 << 10,
        lifetime: None,
        linger: Duration::ZERO,
    };
}

/// Longest that the head of a request may take to arrive, on every port but the console's.
const HEAD: Duration = Duration::from_secs(15);

/// Proxies in front of a page keep idle connections for a minute, and a request on one that is closed at that moment fails:
/// <https://nginx.org/en/docs/http/ngx_http_upstream_module.html#keepalive_timeout>.
const LONGER_THAN_A_PROXY: Duration = Duration::from_secs(75);

/// Most headers of a request.
const HEADERS: usize = 64;

/// How often the server shows that it is alive.
const PULSE: Duration = Duration::from_secs(1);

/// How long a connection may take to end once it has lasted long enough.
const PARTING: Duration = Duration::from_secs(5);

/// Listens on IPv6 and IPv4, or on IPv4 alone where the machine has no IPv6.
pub async fn listen(port: u16) -> std::io::Result<TcpListener> {
    match TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind(("0.0.0.0", port)).await,
    }
}

/// Serves until `stop`, then lets requests that are under way end, all within `drain`; returns when that is over.
#[expect(clippy::disallowed_methods, reason = "connections are closed by deadlines")]
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    beat: impl Fn() + Send,
    (stop, drain): (CancellationToken, Duration),
) -> Instant {
    let places = Arc::new(Semaphore::new(limits.connections));
    let peers = Peers::new(limits.of_one_peer);
    let finish = CancellationToken::new();
    let mut connections = JoinSet::new();
    let mut pulse = tokio::time::interval(PULSE);
    let mut deadline = None;
    let mut closing = None;
    loop {
        tokio::select! {
            accepted = accept(&listener, &places, &peers) => {
                let serving = connection(accepted.stream, accepted.peer, router.clone(), limits, finish.clone());
                let held = (accepted.place, accepted.of_peer);
                connections.spawn(serving.map(|()| drop(held)));
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

/// Serves until the process ends.
pub async fn serve_always(listener: TcpListener, router: Router, limits: Limits) {
    let never = CancellationToken::new();
    serve(listener, router, limits, || {}, (never, Duration::ZERO)).await;
}

struct Accepted {
    stream: TcpStream,
    peer: SocketAddr,
    place: OwnedSemaphorePermit,
    of_peer: Place,
}

/// Takes the next connection as soon as there is a place for it. Cancel-safe.
async fn accept(listener: &TcpListener, places: &Arc<Semaphore>, peers: &Peers) -> Accepted {
    loop {
        let place = Arc::clone(places).acquire_owned().await.expect("the semaphore is never closed");
        match listener.accept().await {
            // Dropped, and so closed, where its peer has enough.
            Ok((stream, peer)) => {
                if let Some(of_peer) = peers.enter(peer.ip()) {
                    return Accepted { stream, peer, place, of_peer };
                }
            }
            // The client is gone already, or the process has no descriptor left: others end meanwhile.
            Err(error) => {
                tracing::debug!(%error, "cannot take a connection");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, limits: Limits, finish: CancellationToken) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.head);
    builder.max_headers(HEADERS).max_buf_size(limits.buffer);
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        router.call(request)
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = finish.cancelled() => {
            connection.as_mut().graceful_shutdown();
            Some(connection.await)
        }
        () = end_of(limits.lifetime) => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(PARTING, connection).await.ok()
        }
    };
    match ended {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::debug!(%error, "a connection ended early"),
        None => tracing::debug!(%peer, "a connection that lasted too long was cut"),
    }
}

async fn end_of(lifetime: Option<Duration>) {
    match lifetime {
        Some(lifetime) => sleep(lifetime).await,
        None => std::future::pending().await,
    }
}
