//! One request at a time over one TCP connection to one broker: frames, headers, correlation ids.

use std::net::SocketAddr;

use bytes::{Buf, BufMut, BytesMut};
use kafka_protocol::messages::{RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, HeaderVersion, Request, StrBytes, encode_request_header_into_buffer};
use snafu::{ResultExt, Snafu, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::ANSWER_TIMEOUT;

/// Largest answer that a broker may send; a larger one is a broken stream.
const MAX_ANSWER: usize = 64 << 20;

/// Why a broker could not be asked.
#[derive(Debug, Snafu)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum AskBroker {
    #[snafu(display("cannot connect to broker at {address}"))]
    Connect { address: SocketAddr, source: std::io::Error },
    #[snafu(display("broker at {address} did not answer in time"))]
    AwaitAnswer { address: SocketAddr },
    #[snafu(display("lost the connection to broker at {address}"))]
    Exchange { address: SocketAddr, source: std::io::Error },
    #[snafu(display("broker at {address} sent an answer of {length} bytes"))]
    ReadLength { address: SocketAddr, length: usize },
    #[snafu(display("broker at {address} answered another request"))]
    MatchAnswer { address: SocketAddr },
    #[snafu(display("cannot encode or decode the protocol: {reason}"))]
    Code { reason: String },
}

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    address: SocketAddr,
    stream: TcpStream,
    next_correlation: i32,
}

impl Connection {
    /// Connects within the answer timeout.
    pub async fn open(address: SocketAddr) -> Result<Self, AskBroker> {
        let connecting = timeout(ANSWER_TIMEOUT, TcpStream::connect(address)).await;
        let Ok(connected) = connecting else {
            return AwaitAnswerSnafu { address }.fail();
        };
        let stream = connected.context(ConnectSnafu { address })?;
        Ok(Self { address, stream, next_correlation: 0 })
    }

    /// Sends a request in the given version of the protocol and awaits its answer.
    pub async fn ask<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response, AskBroker> {
        let address = self.address;
        match timeout(ANSWER_TIMEOUT * 3, self.exchange(request, version)).await {
            Ok(answer) => answer,
            Err(_) => AwaitAnswerSnafu { address }.fail(),
        }
    }

    async fn exchange<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response, AskBroker> {
        let address = self.address;
        let correlation = self.next_correlation;
        self.next_correlation += 1;
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(correlation)
            .with_client_id(Some(StrBytes::from_static_str("millrace")));
        let mut frame = BytesMut::new();
        frame.put_i32(0);
        encode_request_header_into_buffer(&mut frame, &header).map_err(code)?;
        request.encode(&mut frame, version).map_err(code)?;
        let length = frame.len() - 4;
        frame[..4].copy_from_slice(&(length as u32).to_be_bytes());
        self.stream.write_all(&frame).await.context(ExchangeSnafu { address })?;

        let length = self.stream.read_u32().await.context(ExchangeSnafu { address })? as usize;
        ensure!(length <= MAX_ANSWER, ReadLengthSnafu { address, length });
        let mut answer = BytesMut::zeroed(length);
        self.stream.read_exact(&mut answer).await.context(ExchangeSnafu { address })?;
        let mut answer = answer.freeze();
        let header = ResponseHeader::decode(&mut answer, R::Response::header_version(version)).map_err(code)?;
        ensure!(header.correlation_id == correlation, MatchAnswerSnafu { address });
        let response = R::Response::decode(&mut answer, version).map_err(code)?;
        debug_assert!(!answer.has_remaining(), "an answer is decoded whole");
        Ok(response)
    }
}

fn code(error: impl std::fmt::Display) -> AskBroker {
    AskBroker::Code { reason: error.to_string() }
}
