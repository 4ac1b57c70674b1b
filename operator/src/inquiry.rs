//! Asks a worker's own HTTP endpoints: small answers, soon. Every caller asks again, so what goes wrong is no error.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::handshake;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use millrace_api::ports::WORKER_HTTP;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest that the answer may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks the worker at an address; its answer is JSON of at most `largest` bytes. `None`: it does not answer so.
pub async fn ask<T: DeserializeOwned>(address: IpAddr, path: &str, largest: usize) -> Option<T> {
    ask_at(SocketAddr::new(address, WORKER_HTTP.number), path, largest).await
}

async fn ask_at<T: DeserializeOwned>(address: SocketAddr, path: &str, largest: usize) -> Option<T> {
    match timeout(PATIENCE, get(address, path, largest)).await {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(error)) => {
            tracing::debug!(%address, path, error, "a worker does not answer");
            None
        }
        Err(_) => None,
    }
}

async fn get<T: DeserializeOwned>(
    address: SocketAddr,
    path: &str,
    largest: usize,
) -> Result<T, Box<dyn Error + Send + Sync>> {
    let stream = TokioIo::new(TcpStream::connect(address).await?);
    let (mut sender, connection) = handshake(stream).await?;
    // It ends with the sender.
    tokio::spawn(connection);
    let request = Request::get(path).header(HOST, address.to_string()).body(Empty::<Bytes>::new())?;
    let answer = sender.send_request(request).await?;
    if !answer.status().is_success() {
        return Err(format!("it answers {}", answer.status()).into());
    }
    let body = Limited::new(answer.into_body(), largest).collect().await?.to_bytes();
    Ok(serde_json::from_slice(&body)?)
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use millrace_terms::{RUN_COUNTS_PATH, RunCounts};
    use tokio::net::TcpListener;

    use super::*;

    async fn asked(answer: &'static str) -> Option<RunCounts> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it has an address");
        let router = Router::new().route(RUN_COUNTS_PATH, get(move || async move { answer }));
        let served = tokio::spawn(async move { axum::serve(listener, router).await });
        let counts = ask_at(address, RUN_COUNTS_PATH, 64).await;
        served.abort();
        counts
    }

    #[tokio::test]
    async fn takes_what_a_worker_tells_and_nothing_else() {
        let counts = RunCounts { read: 9, produced: 7, rejected: 1, bytes: 70 };
        assert_eq!(asked(r#"{"read":9,"produced":7,"rejected":1,"bytes":70}"#).await, Some(counts));
        assert_eq!(asked("<html>").await, None);
        assert_eq!(
            asked(r#"{"read":9,"produced":7,"rejected":1,                                "bytes":70}    "#).await,
            None,
            "too large"
        );
        let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
        assert_eq!(ask_at::<RunCounts>(closed, RUN_COUNTS_PATH, 64).await, None);
    }
}
