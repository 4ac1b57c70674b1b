//! Asks the pod of an attempt under way what it has counted so far. It is asked again soon: whatever goes wrong here is told
//! by the attempt's end.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::handshake;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use millrace_api::ports::WORKER_HTTP;
use millrace_terms::{RUN_COUNTS_PATH, RunCounts};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest that the answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Largest answer that is read, in bytes: four numbers.
const LARGEST: usize = 1024;

/// Asks the pod at an address. `None`: it does not answer.
pub async fn ask(address: IpAddr) -> Option<RunCounts> {
    ask_at(SocketAddr::new(address, WORKER_HTTP.number)).await
}

async fn ask_at(address: SocketAddr) -> Option<RunCounts> {
    match timeout(PATIENCE, get(address)).await {
        Ok(Ok(counts)) => Some(counts),
        Ok(Err(error)) => {
            tracing::debug!(%address, error, "an attempt does not tell its counts");
            None
        }
        Err(_) => None,
    }
}

async fn get(address: SocketAddr) -> Result<RunCounts, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TokioIo::new(TcpStream::connect(address).await?);
    let (mut sender, connection) = handshake(stream).await?;
    // It ends with the sender.
    tokio::spawn(connection);
    let request = Request::get(RUN_COUNTS_PATH).header(HOST, address.to_string()).body(Empty::<Bytes>::new())?;
    let answer = sender.send_request(request).await?;
    if !answer.status().is_success() {
        return Err(format!("it answers {}", answer.status()).into());
    }
    let body = Limited::new(answer.into_body(), LARGEST).collect().await?.to_bytes();
    Ok(serde_json::from_slice(&body)?)
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use tokio::net::TcpListener;

    use super::*;

    async fn asked(answer: &'static str) -> Option<RunCounts> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it has an address");
        let router = Router::new().route(RUN_COUNTS_PATH, get(move || async move { answer }));
        let served = tokio::spawn(async move { axum::serve(listener, router).await });
        let counts = ask_at(address).await;
        served.abort();
        counts
    }

    #[tokio::test]
    async fn takes_what_an_attempt_tells_and_nothing_else() {
        let counts = RunCounts { read: 9, produced: 7, rejected: 1, bytes: 70 };
        assert_eq!(asked(r#"{"read":9,"produced":7,"rejected":1,"bytes":70}"#).await, Some(counts));
        assert_eq!(asked("<html>").await, None);
        let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
        assert_eq!(ask_at(closed).await, None);
    }
}
