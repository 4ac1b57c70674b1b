//! Asks a ZooKeeper server for its mode with the four-letter word `srvr`, which needs no session.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use futures::future::join_all;
use millrace_api::ports::ZOOKEEPER_CLIENT;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::ANSWER_TIMEOUT;

/// Port of ZooKeeper's client protocol and four-letter words.
pub const CLIENT_PORT: u16 = ZOOKEEPER_CLIENT.number;

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
}

impl ZooKeeperFacts {
    /// Returns whether an ensemble of `size` servers has a leader and a majority.
    pub fn has_quorum(&self, size: u32) -> bool {
        let leads = self.servers.values().any(|mode| matches!(mode, Mode::Leader | Mode::Standalone));
        leads && self.servers.len() as u32 > size / 2
    }
}

/// Asks all servers at once; one that does not answer is left out.
pub async fn observe(servers: &BTreeMap<u32, IpAddr>) -> ZooKeeperFacts {
    let answers = servers.iter().map(|(ordinal, address)| async move {
        let mode = timeout(ANSWER_TIMEOUT, ask(SocketAddr::new(*address, CLIENT_PORT))).await.ok()??;
        Some((*ordinal, mode))
    });
    ZooKeeperFacts { servers: join_all(answers).await.into_iter().flatten().collect() }
}

async fn ask(address: SocketAddr) -> Option<Mode> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(b"srvr").await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    mode_of(&answer)
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
        ZooKeeperFacts { servers: (0..).zip(modes.iter().copied()).collect() }
    }

    #[test]
    fn has_quorum_with_leader_and_majority_only() {
        assert!(facts(&[Mode::Standalone]).has_quorum(1));
        assert!(facts(&[Mode::Leader, Mode::Follower]).has_quorum(3));
        assert!(!facts(&[Mode::Leader]).has_quorum(3));
        assert!(!facts(&[Mode::Follower, Mode::Follower]).has_quorum(3));
        assert!(!facts(&[]).has_quorum(1));
    }

    #[test]
    fn reads_the_mode_and_nothing_else() {
        assert_eq!(mode_of("Zookeeper version: 3.9.3\nMode: leader\nNode count: 5\n"), Some(Mode::Leader));
        assert_eq!(mode_of("This ZooKeeper instance is not currently serving requests\n"), None);
    }
}
