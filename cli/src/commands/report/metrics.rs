//! The metrics of a pod, through a port-forward.

use std::io;
use std::net::SocketAddr;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::archive::MAX_FILE;
use crate::Failure;
use crate::forward::forward;

/// Reads the metrics of a pod.
pub(super) async fn metrics(api: &Api<Pod>, pod: &str, port: u16) -> Result<String, Failure> {
    let forward = forward(api, pod, port, 0).await?;
    let away = |why: String| Failure::away(format!("cannot read the metrics of pod '{pod}': {why}"));
    let answer = ask(forward.address).await.map_err(|error| away(error.to_string()))?;
    body(&answer).map_err(away)
}

/// Asks for `/metrics` and reads the answer to its end. One connection serves one question, so HTTP/1.0 is enough.
async fn ask(address: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    let mut part = vec![0; 16 << 10];
    while !is_whole(&answer) && answer.len() < MAX_FILE {
        match stream.read(&mut part).await? {
            0 => break,
            read => answer.extend_from_slice(&part[..read]),
        }
    }
    Ok(answer)
}

/// Splits an answer into its head and what has come of its body.
fn split(answer: &[u8]) -> Option<(String, &[u8])> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some((String::from_utf8_lossy(&answer[..end]).into_owned(), &answer[end + 4..]))
}

/// Returns whether as much has come as the answer says that it has.
fn is_whole(answer: &[u8]) -> bool {
    let Some((head, body)) = split(answer) else { return false };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        if is_length { value.trim().parse::<usize>().ok() } else { None }
    });
    length.is_some_and(|length| body.len() >= length)
}

/// Returns the text of an answer, or why there is none.
fn body(answer: &[u8]) -> Result<String, String> {
    let (head, body) = split(answer).ok_or_else(|| "the pod does not answer as HTTP does".to_owned())?;
    let status = head.lines().next().unwrap_or_default();
    match status.split(' ').nth(1) {
        Some("200") => Ok(String::from_utf8_lossy(body).into_owned()),
        _ => Err(format!("the pod answers '{status}'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_it_says() {
        let answer = b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\na 1\n";
        assert!(is_whole(answer));
        assert_eq!(body(answer), Ok("a 1\n".to_owned()));
        assert!(!is_whole(&answer[..answer.len() - 1]));
        // Without a length the end of the connection ends it.
        assert!(!is_whole(b"HTTP/1.0 200 OK\r\n\r\na 1\n"));
        assert_eq!(body(b"HTTP/1.0 200 OK\r\n\r\na 1\n"), Ok("a 1\n".to_owned()));
    }

    #[test]
    fn what_is_no_answer_is_said() {
        assert_eq!(body(b"HTTP/1.0 404 Not Found\r\n\r\n"), Err("the pod answers 'HTTP/1.0 404 Not Found'".to_owned()));
        assert_eq!(body(b"junk"), Err("the pod does not answer as HTTP does".to_owned()));
    }
}
