//! Asks a node for all nodes, without the driver: the driver has to know beforehand what a node calls itself, and connects to
//! what others advertise by itself.
//!
//! Two questions over one connection, in version 4 of the native protocol
//! (<https://github.com/apache/cassandra/blob/trunk/doc/native_protocol_v4.spec>). Answers are bounded.

use std::net::{IpAddr, SocketAddr};

use bytes::{BufMut, BytesMut};
use snafu::{OptionExt, ResultExt, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

use super::{AskCassandra, AuthenticateSnafu, ExchangeSnafu, ReadAnswerSnafu, SpeakSnafu};
use crate::budget::Kind;

/// First bytes of frames: of questions, and of answers.
const QUESTION: u8 = 0x04;
const ANSWER: u8 = 0x84;
/// Kinds of frames.
const STARTUP: u8 = 0x01;
const READY: u8 = 0x02;
const AUTHENTICATE: u8 = 0x03;
const QUERY: u8 = 0x07;
const RESULT: u8 = 0x08;
/// Consistency ONE; tables of the node itself need no other.
const ONE: u16 = 1;
/// Kind of a result that has rows.
const ROWS: i32 = 2;
/// Flag of a result whose columns are all of one table.
const ONE_TABLE: i32 = 1;
/// Columns of each question.
const COLUMNS: usize = 4;

const LOCAL: &str = "SELECT host_id, data_center, rpc_address, rpc_port FROM system.local";
const OTHERS: &str = "SELECT host_id, data_center, native_address, native_port FROM system.peers_v2";

/// A node as another knows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Peer {
    /// Its identity.
    pub(crate) host_id: Uuid,
    /// Its datacenter.
    pub(crate) datacenter: String,
    /// Where clients reach it.
    pub(crate) address: SocketAddr,
}

/// Asks a node for itself and all others that it knows.
pub(crate) async fn peers(node: SocketAddr) -> Result<Vec<Peer>, AskCassandra> {
    let address = node.ip();
    let mut stream = TcpStream::connect(node).await.context(ExchangeSnafu { address })?;
    let mut options = BytesMut::new();
    options.put_u16(1);
    for text in ["CQL_VERSION", "3.0.0"] {
        options.put_u16(text.len() as u16);
        options.put_slice(text.as_bytes());
    }
    let (kind, _) = ask(&mut stream, address, STARTUP, &options).await?;
    ensure!(kind != AUTHENTICATE, AuthenticateSnafu { address });
    ensure!(kind == READY, SpeakSnafu { address });
    let mut found = Vec::new();
    for statement in [LOCAL, OTHERS] {
        let mut query = BytesMut::new();
        query.put_u32(statement.len() as u32);
        query.put_slice(statement.as_bytes());
        query.put_u16(ONE);
        query.put_u8(0);
        let (kind, answer) = ask(&mut stream, address, QUERY, &query).await?;
        let rows = if kind == RESULT { rows(&answer) } else { None };
        let reason = "it is not as the protocol has it";
        found.extend(rows.with_context(|| ReadAnswerSnafu { statement, reason })?);
    }
    Ok(found)
}

/// Sends a frame and awaits the answer: its kind and its body.
async fn ask(stream: &mut TcpStream, address: IpAddr, kind: u8, body: &[u8]) -> Result<(u8, Vec<u8>), AskCassandra> {
    let mut frame = BytesMut::new();
    frame.put_slice(&[QUESTION, 0, 0, 0, kind]);
    frame.put_u32(body.len() as u32);
    frame.put_slice(body);
    stream.write_all(&frame).await.context(ExchangeSnafu { address })?;
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.context(ExchangeSnafu { address })?;
    let [version, flags, _, _, kind, a, b, c, d] = head;
    let length = u32::from_be_bytes([a, b, c, d]);
    // No flag was asked for; one would change the form of the body.
    ensure!(version == ANSWER && flags == 0, SpeakSnafu { address });
    let reserved = Kind::Facts.reserve(length as usize).await;
    let _reserved = reserved.context(SpeakSnafu { address })?;
    let mut body = Vec::new();
    // Memory is taken as bytes arrive.
    stream.take(length.into()).read_to_end(&mut body).await.context(ExchangeSnafu { address })?;
    ensure!(body.len() == length as usize, SpeakSnafu { address });
    Ok((kind, body))
}

/// Reads the rows of a result. `None`: it is none. Nodes without an address for clients are left out.
fn rows(answer: &[u8]) -> Option<Vec<Peer>> {
    let mut read = Read(answer);
    if read.int()? != ROWS {
        return None;
    }
    let flags = read.int()?;
    if flags & !ONE_TABLE != 0 || read.int()? != COLUMNS as i32 {
        return None;
    }
    // Keyspace and table stand before all columns, or before the name of each.
    let (before_all, of_each) = if flags & ONE_TABLE != 0 { (2, 1) } else { (0, 3) };
    for _ in 0..before_all {
        read.text()?;
    }
    for _ in 0..COLUMNS {
        for _ in 0..of_each {
            read.text()?;
        }
        // The types of these columns have no parts.
        read.take(2)?;
    }
    let mut peers = Vec::new();
    for _ in 0..read.int()? {
        let [host_id, datacenter, address, port] = [read.value()?, read.value()?, read.value()?, read.value()?];
        let (Some(host_id), Some(datacenter), Some(address), Some(port)) = (host_id, datacenter, address, port) else {
            continue;
        };
        let address = match *address {
            [a, b, c, d] => IpAddr::from([a, b, c, d]),
            _ => IpAddr::from(<[u8; 16]>::try_from(address).ok()?),
        };
        let port = u16::try_from(i32::from_be_bytes(port.try_into().ok()?)).ok()?;
        peers.push(Peer {
            host_id: Uuid::from_slice(host_id).ok()?,
            datacenter: String::from_utf8(datacenter.to_vec()).ok()?,
            address: SocketAddr::new(address, port),
        });
    }
    Some(peers)
}

/// What is left to read of a body.
struct Read<'a>(&'a [u8]);

impl<'a> Read<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn int(&mut self) -> Option<i32> {
        Some(i32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = u16::from_be_bytes(self.take(2)?.try_into().ok()?);
        self.take(length.into())
    }

    /// Reads a value of a row; the inner `None`: null.
    fn value(&mut self) -> Option<Option<&'a [u8]>> {
        match usize::try_from(self.int()?) {
            Ok(length) => Some(Some(self.take(length)?)),
            Err(_) => Some(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Vec<u8> {
        [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat()
    }

    fn value(value: &[u8]) -> Vec<u8> {
        [&(value.len() as i32).to_be_bytes()[..], value].concat()
    }

    /// Returns a result of two rows, the second of a node without an address.
    fn result() -> Vec<u8> {
        let int = |number: i32| number.to_be_bytes().to_vec();
        let mut parts = vec![int(ROWS), int(ONE_TABLE), int(4), text("system"), text("peers_v2")];
        for (name, kind) in [("host_id", 0x0c), ("data_center", 0x0d), ("native_address", 0x10), ("native_port", 0x09)]
        {
            parts.extend([text(name), vec![0, kind]]);
        }
        parts.push(int(2));
        parts.extend([value(&[7; 16]), value(b"dc1"), value(&[10, 8, 0, 1]), value(&9042_i32.to_be_bytes())]);
        parts.extend([value(&[8; 16]), value(b"dc1"), int(-1), int(-1)]);
        parts.concat()
    }

    #[test]
    fn a_result_is_read_as_the_protocol_has_it() {
        let expected = Peer {
            host_id: Uuid::from_bytes([7; 16]),
            datacenter: "dc1".to_owned(),
            address: "10.8.0.1:9042".parse().expect("an address"),
        };
        assert_eq!(rows(&result()), Some(vec![expected]));
        // The controls: an answer that ends early, and one of another kind.
        assert_eq!(rows(&result()[..result().len() - 1]), None);
        assert_eq!(rows(&1_i32.to_be_bytes()), None);
    }

    #[test]
    fn no_result_of_peers_breaks_its_reader() {
        let whole = result();
        let corpus = millrace_fuzz::Corpus { inputs: &[&whole], words: &["\u{0}", "\u{7f}"], longest: 4 << 10 };
        millrace_fuzz::feed("peers", corpus, |input| {
            // A number of rows that are not there ends at the first of them.
            let _ = rows(input);
        });
    }
}
