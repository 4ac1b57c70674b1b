//! Asks a ZooKeeper server for its mode with the four-letter word `srvr`, which needs no session.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use futures::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::ANSWER_TIMEOUT;
use super::reach::Reach;

/// Most bytes of an answer that are read; a server's is some 200.
const LONGEST_ANSWER: u64 = 4 << 10;

/// What a server says it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// Leads a quorum.
    Leader,
    /// Follows a leader.
    Follower,
    /// Alone by configuration.
    Standalone,
}

/// The servers that answer as members of a quorum, by ordinal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ZooKeeperFacts {
    /// Mode of each answering server.
    pub servers: BTreeMap<u32, Mode>,
    /// Most nodes that an answering server has in its tree; `None`: none says. An ensemble that nobody has used has 5.
    pub znodes: Option<u64>,
}

impl ZooKeeperFacts {
    /// Returns whether an ensemble of `size` servers has a leader and a majority.
    pub fn has_quorum(&self, size: u32) -> bool {
        let leads = self.servers.values().any(|mode| matches!(mode, Mode::Leader | Mode::Standalone));
        leads && self.servers.len() as u32 > size / 2
    }
}

/// Asks all servers at once; one that does not answer is left out.
pub async fn observe(servers: &Reach<u32>) -> ZooKeeperFacts {
    let answers = servers.members().map(|(ordinal, address)| async move {
        let answer = timeout(ANSWER_TIMEOUT, ask(address)).await.ok()??;
        Some((*ordinal, mode_of(&answer)?, znodes_of(&answer)))
    });
    let mut facts = ZooKeeperFacts::default();
    for (ordinal, mode, znodes) in join_all(answers).await.into_iter().flatten() {
        facts.servers.insert(ordinal, mode);
        facts.znodes = facts.znodes.max(znodes);
    }
    facts
}

async fn ask(address: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(b"srvr").await.ok()?;
    let mut answer = Vec::new();
    stream.take(LONGEST_ANSWER).read_to_end(&mut answer).await.ok()?;
    Some(String::from_utf8_lossy(&answer).into_owned())
}

fn znodes_of(answer: &str) -> Option<u64> {
    answer.lines().find_map(|line| line.strip_prefix("Node count: "))?.trim().parse().ok()
}

fn mode_of(answer: &str) -> Option<Mode> {
    match answer.lines().find_map(|line| line.strip_prefix("Mode: "))?.trim() {
        "leader" => Some(Mode::Leader),
        "follower" => Some(Mode::Follower),
        "standalone" => Some(Mode::Standalone),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(modes: &[Mode]) -> ZooKeeperFacts {
        ZooKeeperFacts { servers: (0..).zip(modes.iter().copied()).collect(), znodes: None }
    }

    #[test]
    fn has_quorum_with_leader_and_majority_only() {
        assert!(facts(&[Mode::Standalone]).has_quorum(1));
        assert!(facts(&[Mode::Leader, Mode::Follower]).has_quorum(3));
        assert!(!facts(&[Mode::Leader]).has_quorum(3));
        assert!(!facts(&[Mode::Follower, Mode::Follower]).has_quorum(3));
        assert!(!facts(&[]).has_quorum(1));
    }

    /// Serves one connection, and returns how many bytes it could send before the other side hung up.
    async fn endless() -> (SocketAddr, tokio::task::JoinHandle<usize>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("somebody connects");
            let line = b"Mode of much: none\n".repeat(4096);
            let mut sent = 0;
            while stream.write_all(&line).await.is_ok() {
                sent += line.len();
            }
            sent
        });
        (address, serving)
    }

    #[tokio::test]
    async fn a_server_that_never_stops_sending_is_left_after_4_kb() {
        let (address, serving) = endless().await;
        let facts = observe(&Reach::at(BTreeMap::from([(0, address)]))).await;
        assert_eq!(facts, ZooKeeperFacts::default());
        let sent = serving.await.expect("it ends when nobody reads");
        assert!(sent < 16 << 20, "{sent} bytes went into buffers of the system");
    }

    #[test]
    fn no_answer_breaks_its_reader() {
        let inputs: &[&[u8]] = &[b"Zookeeper version: 3.9.5\nMode: leader\n", b"not currently serving requests\n"];
        let corpus = millrace_fuzz::Corpus { inputs, words: &["Mode: ", "\n", "\r", "follower"], longest: 8 << 10 };
        millrace_fuzz::feed("srvr", corpus, |input| {
            let answer = String::from_utf8_lossy(input);
            let _ = (mode_of(&answer), znodes_of(&answer));
        });
    }

    #[test]
    fn reads_mode_and_node_count_and_nothing_else() {
        let answer = "Zookeeper version: 3.9.5\nZxid: 0x11f\nMode: leader\nNode count: 72\n";
        assert_eq!((mode_of(answer), znodes_of(answer)), (Some(Mode::Leader), Some(72)));
        assert_eq!(znodes_of("Node count: many\n"), None);
        assert_eq!(mode_of("This ZooKeeper instance is not currently serving requests\n"), None);
    }
}
