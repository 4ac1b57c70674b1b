//! One session with a ZooKeeper server, to change who votes: the few requests that this takes, in ZooKeeper's format.
//!
//! Numbers are big-endian; a text or buffer is its length and its bytes, a length of -1 is none; a frame is its length
//! and its bytes (zookeeper.jute, `ZooDefs.OpCode`, `KeeperException.Code`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use snafu::{OptionExt, ResultExt, Snafu, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::ANSWER_TIMEOUT;

/// Most bytes of a frame that are read; the longest answer is a list of seven servers.
const LARGEST_FRAME: usize = 64 << 10;

/// How long the server keeps a session that has fallen silent, in milliseconds.
const SESSION_TIMEOUT: i32 = 10_000;

const AUTH: i32 = 100;
const RECONFIG: i32 = 16;
const CLOSE: i32 = -11;

/// What a request for authentication is numbered with.
const XID_OF_AUTH: i32 = -4;
const XID_OF_RECONFIG: i32 = 1;
const XID_OF_CLOSE: i32 = 2;

/// The configuration is another one by now: the next observation sees it.
const BAD_VERSION: i32 = -103;

/// A change of who votes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reconfiguration {
    /// Servers that are to vote, by ordinal, each with its line of the configuration.
    pub joining: BTreeMap<u32, String>,
    /// Ordinals of the servers that are to vote no more.
    pub leaving: BTreeSet<u32>,
    /// Version of the configuration that it changes. Where it is another one by now, nothing is changed.
    pub version: i64,
}

/// Why a server could not be asked, or did not do it.
#[derive(Debug, Snafu)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum AskZooKeeper {
    #[snafu(display("no ZooKeeper server that stays has an address"))]
    FindAddress,
    #[snafu(display("cannot connect to the ZooKeeper server at {address}"))]
    Connect { address: SocketAddr, source: std::io::Error },
    #[snafu(display("the ZooKeeper server at {address} did not answer in time"))]
    AwaitAnswer { address: SocketAddr },
    #[snafu(display("lost the connection to the ZooKeeper server at {address}"))]
    Exchange { address: SocketAddr, source: std::io::Error },
    #[snafu(display("the ZooKeeper server at {address} announces an answer of {length} bytes, more than {largest}"))]
    ReadLength { address: SocketAddr, length: u32, largest: usize },
    #[snafu(display("the ZooKeeper server at {address} sent an invalid answer"))]
    Decode { address: SocketAddr },
    #[snafu(display("the ZooKeeper server at {address} refuses a session"))]
    BeginSession { address: SocketAddr },
    #[snafu(display("the ZooKeeper server at {address} refuses the operator's password"))]
    Authenticate { address: SocketAddr },
    #[snafu(display("ZooKeeper refuses it: {reason}"))]
    Reconfigure { reason: String },
}

impl Reconfiguration {
    /// Returns it in words.
    pub fn describe(&self) -> String {
        let named = |ordinals: Vec<String>| match &ordinals[..] {
            [only] => format!("ZooKeeper server {only}"),
            _ => format!("ZooKeeper servers {}", ordinals.join(", ")),
        };
        let joining: Vec<String> = self.joining.keys().map(u32::to_string).collect();
        let leaving: Vec<String> = self.leaving.iter().map(u32::to_string).collect();
        match (joining.is_empty(), leaving.is_empty()) {
            (false, true) => format!("add {} to the voters", named(joining)),
            (true, _) => format!("remove {} from the voters", named(leaving)),
            (false, false) => format!("add {} to the voters, and remove {}", named(joining), named(leaving)),
        }
    }

    /// Returns the reason of its event.
    pub fn event_reason(&self) -> &'static str {
        "ZooKeeperReconfigured"
    }
}

/// Changes who votes, by way of the server there, with the password of ZooKeeper's user `super`. `None`: there is none.
///
/// That it was done is not said: a server whose leader leaves hangs up instead. What came of it is what the servers say
/// next.
///
/// # Errors
///
/// Fails if the server cannot be reached, does not answer in time, or refuses the change.
pub async fn reconfigure(
    server: Option<SocketAddr>,
    password: &str,
    change: &Reconfiguration,
) -> Result<(), AskZooKeeper> {
    let address = server.context(FindAddressSnafu)?;
    match timeout(ANSWER_TIMEOUT * 3, exchange(address, password, change)).await {
        Ok(done) => done,
        Err(_) => AwaitAnswerSnafu { address }.fail(),
    }
}

async fn exchange(address: SocketAddr, password: &str, change: &Reconfiguration) -> Result<(), AskZooKeeper> {
    let stream = TcpStream::connect(address).await.context(ConnectSnafu { address })?;
    let mut session = Session { address, stream };
    session.begin().await?;
    session.authenticate(password).await?;
    session.send(&reconfig_request(change)).await?;
    let code = match session.reply(XID_OF_RECONFIG).await {
        Err(AskZooKeeper::Exchange { .. }) => return Ok(()),
        code => code?,
    };
    // A session that is not ended ends by itself.
    if session.send(&close_request()).await.is_ok() {
        let _ = session.reply(XID_OF_CLOSE).await;
    }
    match refusal(code) {
        Some(reason) => ReconfigureSnafu { reason }.fail(),
        None => Ok(()),
    }
}

/// Returns what an error of a reconfiguration means. `None`: it is none, or none that another look does not settle.
fn refusal(code: i32) -> Option<String> {
    let reason = match code {
        0 | BAD_VERSION => return None,
        -13 => "too few of the new voters are connected and in sync",
        -14 => "another change is in progress",
        -102 => "the servers do not know the operator's password",
        -123 => "the servers do not allow it",
        other => return Some(format!("error {other}")),
    };
    Some(reason.to_owned())
}

/// An open connection.
struct Session {
    address: SocketAddr,
    stream: TcpStream,
}

impl Session {
    async fn begin(&mut self) -> Result<(), AskZooKeeper> {
        let address = self.address;
        self.send(&connect_request()).await?;
        let answer = self.receive().await?;
        let timeout = session_timeout(&answer).context(DecodeSnafu { address })?;
        ensure!(timeout > 0, BeginSessionSnafu { address });
        Ok(())
    }

    /// That a password is another's shows only in what is refused later; a server that takes none hangs up.
    async fn authenticate(&mut self, password: &str) -> Result<(), AskZooKeeper> {
        let address = self.address;
        self.send(&auth_request(password)).await?;
        match self.reply(XID_OF_AUTH).await {
            Ok(0) => Ok(()),
            Ok(_) | Err(AskZooKeeper::Exchange { .. }) => AuthenticateSnafu { address }.fail(),
            Err(error) => Err(error),
        }
    }

    /// Awaits the answer to a request. Returns its error code; 0 is none.
    async fn reply(&mut self, xid: i32) -> Result<i32, AskZooKeeper> {
        let address = self.address;
        let answer = self.receive().await?;
        let (answered, code) = reply_header(&answer).context(DecodeSnafu { address })?;
        ensure!(answered == xid, DecodeSnafu { address });
        Ok(code)
    }

    async fn send(&mut self, frame: &[u8]) -> Result<(), AskZooKeeper> {
        self.stream.write_all(frame).await.context(ExchangeSnafu { address: self.address })
    }

    async fn receive(&mut self) -> Result<Vec<u8>, AskZooKeeper> {
        let address = self.address;
        let length = self.stream.read_u32().await.context(ExchangeSnafu { address })?;
        ensure!(length as usize <= LARGEST_FRAME, ReadLengthSnafu { address, length, largest: LARGEST_FRAME });
        let mut answer = vec![0; length as usize];
        self.stream.read_exact(&mut answer).await.context(ExchangeSnafu { address })?;
        Ok(answer)
    }
}

/// A frame that is being written.
struct Frame(Vec<u8>);

impl Frame {
    fn new() -> Self {
        // The length, which is known at the end.
        Self(vec![0; 4])
    }

    fn int(mut self, value: i32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn long(mut self, value: i64) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn boolean(mut self, value: bool) -> Self {
        self.0.push(value.into());
        self
    }

    fn buffer(self, value: &[u8]) -> Self {
        let mut frame = self.int(value.len() as i32);
        frame.0.extend(value);
        frame
    }

    /// Writes a list with commas; an empty one is none.
    fn list(self, values: &[String]) -> Self {
        if values.is_empty() { self.int(-1) } else { self.buffer(values.join(",").as_bytes()) }
    }

    fn done(mut self) -> Vec<u8> {
        let length = self.0.len() as u32 - 4;
        self.0[..4].copy_from_slice(&length.to_be_bytes());
        self.0
    }
}

fn connect_request() -> Vec<u8> {
    let no_password = [0; 16];
    Frame::new().int(0).long(0).int(SESSION_TIMEOUT).long(0).buffer(&no_password).boolean(false).done()
}

fn auth_request(password: &str) -> Vec<u8> {
    let user = format!("super:{password}");
    Frame::new().int(XID_OF_AUTH).int(AUTH).int(0).buffer(b"digest").buffer(user.as_bytes()).done()
}

fn reconfig_request(change: &Reconfiguration) -> Vec<u8> {
    let Reconfiguration { joining, leaving, version } = change;
    let joining: Vec<String> = joining.values().cloned().collect();
    let leaving: Vec<String> = leaving.iter().map(|ordinal| (ordinal + 1).to_string()).collect();
    // The third list would replace the whole configuration.
    Frame::new().int(XID_OF_RECONFIG).int(RECONFIG).list(&joining).list(&leaving).int(-1).long(*version).done()
}

fn close_request() -> Vec<u8> {
    Frame::new().int(XID_OF_CLOSE).int(CLOSE).done()
}

/// Returns the timeout of the session that an answer begins, in milliseconds; 0: it begins none. `None`: it is no such
/// answer.
fn session_timeout(answer: &[u8]) -> Option<i32> {
    int_at(answer, 4)
}

/// Returns the number of the request that an answer is for, and its error code. `None`: it is no answer.
fn reply_header(answer: &[u8]) -> Option<(i32, i32)> {
    Some((int_at(answer, 0)?, int_at(answer, 12)?))
}

fn int_at(bytes: &[u8], begin: usize) -> Option<i32> {
    bytes.get(begin..)?.first_chunk().copied().map(i32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Frames as ZooKeeper's own classes write them, of `org.apache.zookeeper.proto` in 3.9.5.
    const CONNECT: &str =
        "0000002d000000000000000000000000000027100000000000000000000000100000000000000000000000000000000000";
    const AUTH: &str = "00000028fffffffc0000006400000000000000066469676573740000000e73757065723a50415353574f5244";
    const JOIN: &str = "0000006700000001000000100000004b7365727665722e323d623a323838383a333838383a7061727469636970616e\
                        743b323138312c7365727665722e333d633a323838383a333838383a7061727469636970616e743b32313831ffffff\
                        ffffffffff0000000100000006";
    const LEAVE: &str = "0000001f0000000100000010ffffffff00000003322c33ffffffff0000000100000006";
    const CLOSE: &str = "0000000800000002fffffff5";
    const CONNECTED: &str = "0000002500000000000027100000000100000abc000000100000000000000000000000000000000000";
    const REFUSED: &str = "0000002500000000000000000000000000000000000000100000000000000000000000000000000000";
    const AUTHENTICATED: &str = "00000010fffffffc000000000000000000000000";
    const NOT_AUTHENTICATED: &str = "00000010fffffffc0000000000000000ffffff8d";
    const BAD_VERSION: &str = "0000001000000001000000010000000bffffff99";
    const NO_QUORUM: &str = "0000001000000001000000010000000bfffffff3";
    const CONFIGURED: &str = "0000008f00000001000000010000000b00000000000000377365727665722e323d623a323838383a33383838\
                              3a7061727469636970616e743b323138310a76657273696f6e3d313030303030303036000000000000000100\
                              0000000000000200000000000000030000000000000004000000050000000600000007000000000000000800\
                              0000090000000a000000000000000b";
    const CLOSED: &str = "0000001000000002000000010000000c00000000";

    fn bytes(hexadecimal: &str) -> Vec<u8> {
        let digit = |digit: char| digit.to_digit(16).expect("it is a hexadecimal digit") as u8;
        let digits: Vec<u8> = hexadecimal.chars().map(digit).collect();
        digits.chunks(2).map(|pair| (pair[0] << 4) | pair[1]).collect()
    }

    fn join() -> Reconfiguration {
        let line =
            |ordinal: u32, host: &str| (ordinal, format!("server.{}={host}:2888:3888:participant;2181", ordinal + 1));
        let joining = [line(1, "b"), line(2, "c")].into();
        Reconfiguration { joining, leaving: BTreeSet::new(), version: 0x1_0000_0006 }
    }

    fn leave() -> Reconfiguration {
        Reconfiguration { joining: BTreeMap::new(), leaving: [1, 2].into(), version: 0x1_0000_0006 }
    }

    #[test]
    fn requests_are_those_of_zookeepers_own_client() {
        assert_eq!(connect_request(), bytes(CONNECT));
        assert_eq!(auth_request("PASSWORD"), bytes(AUTH));
        assert_eq!(reconfig_request(&join()), bytes(JOIN));
        assert_eq!(reconfig_request(&leave()), bytes(LEAVE));
        assert_eq!(close_request(), bytes(CLOSE));
    }

    /// Plays a server: for each exchange, what it expects and what it answers. Then it hangs up.
    async fn played(exchanges: &[(&'static str, &'static str)]) -> (SocketAddr, tokio::task::JoinHandle<()>) {
        let exchanges = exchanges.to_vec();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("somebody connects");
            for (expected, answer) in exchanges {
                let expected = bytes(expected);
                let mut request = vec![0; expected.len()];
                stream.read_exact(&mut request).await.expect("a request comes");
                assert_eq!(request, expected);
                stream.write_all(&bytes(answer)).await.expect("the answer is taken");
            }
        });
        (address, serving)
    }

    /// Returns what comes of a change at a server that is played.
    async fn outcome(exchanges: &[(&'static str, &'static str)], change: &Reconfiguration) -> Result<(), String> {
        let (address, serving) = played(exchanges).await;
        let outcome = reconfigure(Some(address), "PASSWORD", change).await.map_err(|error| error.to_string());
        serving.await.expect("it was asked as it should be");
        outcome.map_err(|message| message.replace(&address.to_string(), "ADDRESS"))
    }

    fn refused(message: &str) -> Result<(), String> {
        Err(message.to_owned())
    }

    #[tokio::test]
    async fn a_change_is_asked_for_once_the_password_is_taken() {
        let begun = [(CONNECT, CONNECTED), (AUTH, AUTHENTICATED), (JOIN, CONFIGURED), (CLOSE, CLOSED)];
        assert_eq!(outcome(&begun, &join()).await, Ok(()));
        // A change by someone else is seen at the next look, and so is what a leader that leaves does not answer.
        let changed = [(CONNECT, CONNECTED), (AUTH, AUTHENTICATED), (LEAVE, BAD_VERSION), (CLOSE, CLOSED)];
        assert_eq!(outcome(&changed, &leave()).await, Ok(()));
        let hangs_up = [(CONNECT, CONNECTED), (AUTH, AUTHENTICATED), (LEAVE, "")];
        assert_eq!(outcome(&hangs_up, &leave()).await, Ok(()));
    }

    #[tokio::test]
    async fn what_a_server_refuses_is_said() {
        assert_eq!(
            outcome(&[(CONNECT, REFUSED)], &join()).await,
            refused("the ZooKeeper server at ADDRESS refuses a session")
        );
        let password = refused("the ZooKeeper server at ADDRESS refuses the operator's password");
        assert_eq!(outcome(&[(CONNECT, CONNECTED), (AUTH, NOT_AUTHENTICATED)], &join()).await, password);
        assert_eq!(outcome(&[(CONNECT, CONNECTED), (AUTH, "")], &join()).await, password);
        let quorum = [(CONNECT, CONNECTED), (AUTH, AUTHENTICATED), (JOIN, NO_QUORUM), (CLOSE, CLOSED)];
        let said = refused("ZooKeeper refuses it: too few of the new voters are connected and in sync");
        assert_eq!(outcome(&quorum, &join()).await, said);
        let nobody = reconfigure(None, "PASSWORD", &join()).await.map_err(|error| error.to_string());
        assert_eq!(nobody, refused("no ZooKeeper server that stays has an address"));
    }

    #[tokio::test]
    async fn answers_that_mean_no_good_are_no_answers() {
        let large = "00010001";
        let said = refused("the ZooKeeper server at ADDRESS announces an answer of 65537 bytes, more than 65536");
        assert_eq!(outcome(&[(CONNECT, large)], &join()).await, said);
        let none = refused("the ZooKeeper server at ADDRESS sent an invalid answer");
        assert_eq!(outcome(&[(CONNECT, "00000000")], &join()).await, none);
        assert_eq!(
            outcome(&[(CONNECT, CONNECTED), (AUTH, CLOSED)], &join()).await,
            none,
            "it is that of another request"
        );
        let cut = refused("lost the connection to the ZooKeeper server at ADDRESS");
        assert_eq!(outcome(&[(CONNECT, "00000025000000")], &join()).await, cut);
    }

    #[test]
    fn no_answer_breaks_its_reader() {
        let inputs = [CONNECTED, AUTHENTICATED, CONFIGURED].map(bytes);
        let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
        let corpus = millrace_fuzz::Corpus { inputs: &inputs, words: &["\u{0}", "\u{7f}"], longest: 8 << 10 };
        millrace_fuzz::feed("session", corpus, |input| {
            let _ = (session_timeout(input), reply_header(input));
        });
    }

    #[test]
    fn says_who_votes_and_who_does_not() {
        assert_eq!(join().describe(), "add ZooKeeper servers 1, 2 to the voters");
        let one = Reconfiguration { leaving: [2].into(), ..leave() };
        assert_eq!(one.describe(), "remove ZooKeeper server 2 from the voters");
        let both = Reconfiguration { leaving: [0].into(), ..join() };
        assert_eq!(both.describe(), "add ZooKeeper servers 1, 2 to the voters, and remove ZooKeeper server 0");
    }
}
