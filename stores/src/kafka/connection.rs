//! One request at a time over one TCP connection to one broker: frames, headers, correlation ids.

use std::net::SocketAddr;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, HeaderVersion, Request, StrBytes, encode_request_header_into_buffer};
use snafu::{OptionExt, ResultExt, Snafu, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::answer::Answer;
use crate::ANSWER_TIMEOUT;
use crate::budget::Kind;

/// How much room is made at once for an answer that has not arrived.
const ROOM: usize = 64 << 10;

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
    #[snafu(display("broker at {address} announces an answer of {length} bytes, more than {largest}"))]
    ReadLength { address: SocketAddr, length: usize, largest: usize },
    #[snafu(display("broker at {address} sent more than the answer"))]
    ReadWhole { address: SocketAddr },
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
        let kind = kind_of(R::KEY);
        let reserved = kind.reserve(length).await;
        let _reserved = reserved.context(ReadLengthSnafu { address, length, largest: kind.largest() })?;
        let mut answer = Answer::new(self.read(length).await.context(ExchangeSnafu { address })?);
        let header = ResponseHeader::decode(&mut answer, R::Response::header_version(version)).map_err(code)?;
        ensure!(header.correlation_id == correlation, MatchAnswerSnafu { address });
        let response = R::Response::decode(&mut answer, version).map_err(code)?;
        ensure!(!answer.has_remaining(), ReadWholeSnafu { address });
        Ok(response)
    }

    /// Reads so many bytes; memory is taken as they arrive.
    async fn read(&mut self, length: usize) -> std::io::Result<Bytes> {
        let mut bytes = BytesMut::with_capacity(length.min(ROOM));
        while bytes.len() < length {
            let wanted = (length - bytes.len()).min(ROOM);
            bytes.reserve(wanted);
            if self.stream.read_buf(&mut (&mut bytes).limit(wanted)).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(bytes.freeze())
    }
}

fn kind_of(question: i16) -> Kind {
    if question == ApiKey::Fetch as i16 { Kind::Records } else { Kind::Facts }
}

fn code(error: impl std::fmt::Display) -> AskBroker {
    AskBroker::Code { reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::MetadataRequest;
    use tokio::net::TcpListener;

    use super::*;
    use crate::kafka::version;

    /// Answers whatever it is asked with the same bytes, and says how many the other side took.
    async fn broker(answer: Vec<u8>, repeated: usize) -> (SocketAddr, tokio::task::JoinHandle<usize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("somebody connects");
            let mut taken = 0;
            for _ in 0..repeated {
                if stream.write_all(&answer).await.is_err() {
                    break;
                }
                taken += answer.len();
            }
            taken
        });
        (address, serving)
    }

    async fn asked(answer: Vec<u8>, repeated: usize) -> (String, usize) {
        let (address, serving) = broker(answer, repeated).await;
        let mut connection = Connection::open(address).await.expect("it connects");
        let error = connection.ask(&MetadataRequest::default(), version::METADATA).await.expect_err("it is no answer");
        drop(connection);
        (error.to_string(), serving.await.expect("the broker ends"))
    }

    #[tokio::test]
    async fn an_answer_that_is_announced_too_large_is_not_read() {
        let mut announced = (64_u32 << 20).to_be_bytes().to_vec();
        announced.resize(1 << 20, 0);
        let (error, taken) = asked(announced, 64).await;
        assert!(error.contains("announces an answer of 67108864 bytes, more than 2097152"), "{error}");
        assert!(taken < 16 << 20, "{taken} bytes went into buffers of the system");
    }

    #[tokio::test]
    async fn an_answer_of_arrays_that_are_not_there_is_no_answer() {
        let mut frame = 16_u32.to_be_bytes().to_vec();
        // Correlation, no tags, throttle time, then 2³² - 1 brokers.
        frame.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0]);
        let (error, _) = asked(frame, 1).await;
        assert!(error.contains("cannot encode or decode the protocol"), "{error}");
    }
}
