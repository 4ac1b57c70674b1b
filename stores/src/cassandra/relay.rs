//! Stands between the Cassandra driver and a node, and passes frames on whose size is within bounds.
//!
//! The driver makes room for whatever length the head of a frame announces (2 GB and more), and offers no bound and no
//! stream of one's own. So it is led to a port of this machine's loopback, behind which each frame's head is read first;
//! a connection whose node announces too much is cut. What the driver sends goes through unread.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::ANSWER_TIMEOUT;
use crate::budget::Kind;

/// Length of a frame's head.
const HEAD: usize = 9;
/// How a node's frames begin, in the version that the driver speaks: 4.
const VERSION: u8 = 0x84;
/// Most connections at once: the driver has one for control and one for questions, and may be changing them.
const CONNECTIONS: usize = 8;

/// A way to one node; closed when it is dropped.
#[derive(Debug)]
pub(super) struct Relay {
    address: SocketAddr,
    /// Ended when it is dropped.
    _serving: JoinSet<()>,
}

impl Relay {
    /// Opens a way to a node.
    pub(super) async fn open(node: SocketAddr, kind: Kind) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, node, kind));
        Ok(Self { address, _serving: serving })
    }

    /// Returns where the driver is led to.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn serve(listener: TcpListener, node: SocketAddr, kind: Kind) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((driver, _)) => { connections.spawn(connect(driver, node, kind)); }
                // No descriptor is left: others end meanwhile.
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

/// Relays one connection until either side ends it.
async fn connect(mut driver: TcpStream, node: SocketAddr, kind: Kind) {
    let Ok(Ok(mut there)) = timeout(ANSWER_TIMEOUT, TcpStream::connect(node)).await else { return };
    let _ = (driver.set_nodelay(true), there.set_nodelay(true));
    let (mut from_driver, mut to_driver) = driver.split();
    let (mut from_node, mut to_node) = there.split();
    let ended = tokio::select! {
        asked = copy(&mut from_driver, &mut to_node) => asked.map(|_| ()),
        answered = relay(&mut from_node, &mut to_driver, kind) => answered,
    };
    if let Err(error) = ended {
        tracing::debug!(%node, %error, "a connection to Cassandra ended");
    }
}

/// Passes frames on until there are no more, or one is not as it must be.
async fn relay(
    node: &mut (impl AsyncRead + Unpin),
    driver: &mut (impl AsyncWrite + Unpin),
    kind: Kind,
) -> std::io::Result<()> {
    let mut head = [0; HEAD];
    loop {
        node.read_exact(&mut head).await?;
        let [version, .., a, b, c, d] = head;
        if version != VERSION {
            return Err(std::io::Error::other(format!("a frame of version byte {version:#x}")));
        }
        let length = u32::from_be_bytes([a, b, c, d]);
        let Some(_reserved) = kind.reserve(length as usize).await else {
            tracing::warn!(length, largest = kind.largest(), "a Cassandra node announces a frame that is too large");
            return Err(std::io::Error::other("a frame that is too large"));
        };
        driver.write_all(&head).await?;
        let passed = copy(&mut (&mut *node).take(length.into()), driver).await?;
        if passed < length.into() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: u32, body: &[u8]) -> Vec<u8> {
        [&[VERSION, 0, 0, 0, 8][..], &length.to_be_bytes(), body].concat()
    }

    async fn passed(sent: &[u8]) -> (Vec<u8>, String) {
        let mut driver = Vec::new();
        let error = relay(&mut &sent[..], &mut driver, Kind::Facts).await.expect_err("it ends");
        (driver, error.to_string())
    }

    #[tokio::test]
    async fn frames_pass_as_they_are() {
        let sent = [frame(3, b"abc"), frame(0, b""), frame(1, b"d")].concat();
        assert_eq!(passed(&sent).await.0, sent);
    }

    #[tokio::test]
    async fn not_even_the_head_of_a_frame_that_is_too_large_passes() {
        for length in [Kind::Facts.largest() as u32 + 1, 2 << 30, u32::MAX] {
            let sent = [frame(1, b"a"), frame(length, &[0; 1000])].concat();
            let (driver, error) = passed(&sent).await;
            assert_eq!((driver, error.as_str()), (frame(1, b"a"), "a frame that is too large"), "{length}");
        }
        assert!(passed(b"HTTP/1.1 200 OK\r\n\r\n").await.1.contains("version byte 0x48"));
    }

    /// Whatever a node sends: what passes are whole frames within the bound, and at most one that is not whole.
    #[test]
    fn no_stream_of_frames_breaks_the_relay() {
        let whole = [frame(3, b"abc"), frame(0, b""), frame(200, &[7; 200])].concat();
        let corpus = millrace_fuzz::Corpus { inputs: &[&whole], words: &["\u{0}", "\u{7f}"], longest: 64 << 10 };
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        millrace_fuzz::feed("CQL frames", corpus, |input| {
            let (driver, _) = runtime.block_on(passed(input));
            assert!(input.starts_with(&driver));
            let mut rest = &driver[..];
            while let Some(head) = rest.get(..HEAD) {
                let length = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) as usize;
                assert!(head[0] == VERSION && length <= Kind::Facts.largest());
                rest = rest.get(HEAD + length..).unwrap_or_default();
            }
        });
    }

    /// A node whose every frame announces 2 GB and never ends; the driver gets nothing to make room by.
    #[tokio::test]
    async fn a_node_that_announces_2_gb_opens_no_session() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let node = listener.local_addr().expect("it is bound");
        let serving = tokio::spawn(async move {
            let mut sent = 0;
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().await.expect("somebody connects");
                let _ = stream.write_all(&frame(2 << 30, &[])).await;
                while stream.write_all(&[0; 65536]).await.is_ok() {
                    sent += 65536;
                }
            }
            sent
        });
        let error = super::super::open_at(node, node.ip()).await.expect_err("it is no node");
        assert!(error.to_string().contains("cannot open a session"), "{error}");
        serving.abort();
    }
}
