//! Asks a ZooKeeper server for its mode and for who votes, with the four-letter words `srvr` and `conf`, which need no
//! session.

mod session;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use futures::future::{join, join_all};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::ANSWER_TIMEOUT;
use super::reach::Reach;
pub use session::{AskZooKeeper, Reconfiguration, reconfigure};

/// Most bytes of an answer that are read; a list of seven servers with the longest names is half of it.
const LONGEST_ANSWER: u64 = 4 << 10;

/// What a server says it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// Leads a quorum.
    Leader,
    /// Follows a leader.
    Follower,
    /// Alone by configuration: it has no list of servers.
    Standalone,
}

/// Who votes, as a server has it in use.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Configuration {
    /// Grows with every change. 0: none was agreed upon yet, and the server has it from its own file.
    pub version: i64,
    /// Ordinals of the servers that vote.
    pub voters: BTreeSet<u32>,
}

/// The servers that answer as members of a quorum, by ordinal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ZooKeeperFacts {
    /// Mode of each answering server.
    pub servers: BTreeMap<u32, Mode>,
    /// Most nodes that an answering server has in its tree; `None`: none says. An ensemble that nobody has used has 5.
    pub znodes: Option<u64>,
    /// Who votes, as each of them says; one that is alone has nothing to say.
    pub configurations: BTreeMap<u32, Configuration>,
}

impl ZooKeeperFacts {
    /// Returns the ordinal of the leader. `None`: there is none, or two say that they are it.
    pub fn leader(&self) -> Option<u32> {
        let mut leaders = self.servers.iter().filter(|(_, mode)| **mode == Mode::Leader);
        let (leader, _) = leaders.next()?;
        leaders.next().is_none().then_some(*leader)
    }

    /// Returns who votes, as the leader says. `None`: nobody leads, or the leader does not say.
    pub fn committed(&self) -> Option<&Configuration> {
        self.configurations.get(&self.leader()?)
    }

    /// Returns the servers that vote and answer.
    pub fn answering<'a>(&'a self, configuration: &'a Configuration) -> impl Iterator<Item = u32> + 'a {
        configuration.voters.iter().copied().filter(|ordinal| self.servers.contains_key(ordinal))
    }

    /// Returns whether there is a leader and a majority of those that vote. Where the leader does not say who does, as
    /// with settings of an older version of the operator, they are so many.
    pub fn has_quorum(&self, size: u32) -> bool {
        if let Some(committed) = self.committed() {
            return self.answering(committed).count() > committed.voters.len() / 2;
        }
        let leads = self.leader().is_some() || self.servers.values().any(|mode| *mode == Mode::Standalone);
        leads && self.servers.len() as u32 > size / 2
    }
}

/// Asks all servers at once; one that does not answer is left out.
pub async fn observe(servers: &Reach<u32>) -> ZooKeeperFacts {
    let answers = servers.members().map(|(ordinal, address)| async move {
        let (state, configuration) = join(answer(address, "srvr"), answer(address, "conf")).await;
        let state = state?;
        Some((*ordinal, mode_of(&state)?, znodes_of(&state), configuration.as_deref().and_then(configuration_of)))
    });
    let mut facts = ZooKeeperFacts::default();
    for (ordinal, mode, znodes, configuration) in join_all(answers).await.into_iter().flatten() {
        facts.servers.insert(ordinal, mode);
        facts.znodes = facts.znodes.max(znodes);
        facts.configurations.extend(configuration.map(|configuration| (ordinal, configuration)));
    }
    facts
}

/// Returns what a server answers to a word within the answer timeout.
async fn answer(address: SocketAddr, word: &str) -> Option<String> {
    timeout(ANSWER_TIMEOUT, ask(address, word)).await.ok()?
}

async fn ask(address: SocketAddr, word: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(word.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.take(LONGEST_ANSWER).read_to_end(&mut answer).await.ok()?;
    Some(String::from_utf8_lossy(&answer).into_owned())
}

/// Reads who votes from what a server has in use. `None`: it has no version, as one that stands alone.
fn configuration_of(answer: &str) -> Option<Configuration> {
    let version = answer.lines().find_map(|line| line.strip_prefix("version="))?;
    let version = i64::from_str_radix(version.trim(), 16).ok().filter(|version| *version >= 0)?;
    Some(Configuration { version, voters: answer.lines().filter_map(voter_of).collect() })
}

/// Returns the ordinal of the server in a line such as `server.1=HOST:2888:3888:participant;0.0.0.0:2181`. `None`: it
/// does not vote, or the line is another.
fn voter_of(line: &str) -> Option<u32> {
    let (number, server) = line.strip_prefix("server.")?.split_once('=')?;
    let (server, _) = server.split_once(';').unwrap_or((server, ""));
    let number: u32 = number.parse().ok()?;
    server.trim().ends_with(":participant").then(|| number.checked_sub(1)).flatten()
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
        ZooKeeperFacts { servers: (0..).zip(modes.iter().copied()).collect(), ..ZooKeeperFacts::default() }
    }

    /// As 3.9.5 answers `conf`; the second server asks to be let in.
    const CONF: &str = "clientPort=2181\nserverId=1\nelectionAlg=3\nquorumPort=2888\npeerType=0\nmembership: \n\
                        server.1=a:2888:3888:participant;0.0.0.0:2181\nserver.2=b:2888:3888:observer;0.0.0.0:2181\n\
                        server.3=c:2888:3888:participant\nversion=10000000b";

    #[test]
    fn has_quorum_with_leader_and_majority_only() {
        assert!(facts(&[Mode::Standalone]).has_quorum(1));
        assert!(facts(&[Mode::Leader, Mode::Follower]).has_quorum(3));
        assert!(!facts(&[Mode::Leader]).has_quorum(3));
        assert!(!facts(&[Mode::Follower, Mode::Follower]).has_quorum(3));
        assert!(!facts(&[]).has_quorum(1));
        assert!(!facts(&[Mode::Leader, Mode::Leader]).has_quorum(3), "one of them has lost its quorum");
    }

    #[test]
    fn a_majority_is_one_of_those_that_vote_and_not_of_those_that_are_wanted() {
        let voting = |modes: &[Mode], voters: &[u32]| {
            let configuration = Configuration { version: 7, voters: voters.iter().copied().collect() };
            ZooKeeperFacts { configurations: [(0, configuration)].into(), ..facts(modes) }
        };
        assert!(voting(&[Mode::Leader], &[0]).has_quorum(3), "three are wanted, and one votes");
        assert!(!voting(&[Mode::Leader, Mode::Follower], &[0, 3, 4]).has_quorum(1), "the second does not vote");
        assert!(!voting(&[Mode::Leader], &[]).has_quorum(1), "nobody votes");
    }

    #[test]
    fn who_votes_is_what_the_only_leader_says() {
        let said = |version| Configuration { version, voters: [0, 1].into() };
        let mut both = ZooKeeperFacts {
            configurations: [(0, said(6)), (1, said(7))].into(),
            ..facts(&[Mode::Follower, Mode::Leader])
        };
        assert_eq!((both.leader(), both.committed()), (Some(1), Some(&said(7))));
        both.servers.insert(0, Mode::Leader);
        assert_eq!((both.leader(), both.committed()), (None, None));
    }

    #[test]
    fn reads_who_votes_and_the_version_and_nothing_else() {
        let found = Configuration { version: 0x1_0000_000b, voters: [0, 2].into() };
        assert_eq!(configuration_of(CONF), Some(found));
        assert_eq!(configuration_of("serverId=0\n"), None, "it stands alone");
        assert_eq!(configuration_of("version=-1\n"), None);
        assert_eq!(configuration_of("conf is not executed because it is not in the whitelist.\n"), None);
        assert_eq!(voter_of("server.0=a:2888:3888:participant"), None);
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
        let srvr = b"Zookeeper version: 3.9.5\nMode: leader\n";
        let inputs: &[&[u8]] = &[srvr, b"not currently serving requests\n", CONF.as_bytes()];
        let words = &["Mode: ", "\n", "\r", "follower", "server.", "version=", ";"];
        let corpus = millrace_fuzz::Corpus { inputs, words, longest: 8 << 10 };
        millrace_fuzz::feed("srvr", corpus, |input| {
            let answer = String::from_utf8_lossy(input);
            let _ = (mode_of(&answer), znodes_of(&answer), configuration_of(&answer));
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
