//! Why a request is refused, and how that is told: status, headers, and a JSON object with what to do.
//!
//! `acknowledged` in the answer says how many records of the request are certain to be in Kafka; it is absent where
//! nobody knows yet.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use millrace_terms::{Bytes, Duration};
use serde_json::json;
use snafu::Snafu;

/// Seconds after which a client may come back when memory is short: as long as Kafka usually takes to make room.
const RETRY_SOON: u32 = 1;

/// Seconds after which a client may come back when Kafka is away.
const RETRY_LATER: u32 = 5;

/// Why a request was not taken in, or is not known to be.
#[derive(Debug, Snafu)]
pub(super) enum Refusal {
    #[snafu(display("there is no source '{name}' that takes pushed records"))]
    FindSource { name: String },
    #[snafu(display("there is nothing at this path; records are pushed to /sources/NAME"))]
    FindPath,
    #[snafu(display("records are pushed by POST"))]
    UseMethod,
    #[snafu(display("the request carries no bearer token, or not the right one"))]
    Authorize,
    #[snafu(display("the token of this source cannot be read, so nobody may push: {problem}"))]
    ReadToken { problem: String },
    #[snafu(display(
        "Content-Type is '{given}'; send application/json, another type that ends with +json, or application/x-ndjson"
    ))]
    ReadFormat { given: String },
    #[snafu(display("Content-Encoding is '{given}'; send the body as it is, or packed with gzip"))]
    Unpack { given: String },
    #[snafu(display("the body is larger than {limit}; split it, or raise maxBody"))]
    FitBody { limit: Bytes },
    #[snafu(display(
        "the request needs more than bufferMemory from record {records} on; split it, or raise bufferMemory"
    ))]
    FitRecords { records: usize },
    #[snafu(display("the body did not arrive within {limit}"))]
    AwaitBody { limit: Duration },
    #[snafu(display("the body cannot be read: {problem}"))]
    ReadBody { problem: String },
    #[snafu(display("the body is not valid JSON: {problem}"))]
    ParseBody { problem: String },
    #[snafu(display("record {record}: {problem}; nothing of this request was sent"))]
    AcceptRecord { record: usize, problem: String },
    #[snafu(display("too many records wait for Kafka; send this again later"))]
    AwaitMemory,
    #[snafu(display("Kafka cannot be used: {problem}; send this again later"))]
    AwaitKafka { problem: String },
    #[snafu(display(
        "Kafka has not acknowledged all records within {limit}; some or all may arrive, so send this again with the same \
         keys"
    ))]
    AwaitAcknowledgement { limit: Duration },
    #[snafu(display("the worker stops before Kafka has acknowledged all records; send this again with the same keys"))]
    Stop,
    #[snafu(display("record {record}: {problem}; the other records were sent"))]
    SendRecord { record: usize, problem: String, acknowledged: usize },
}

impl Refusal {
    /// Returns the stable name of the outcome, for the metric's label and the answer.
    pub(super) fn outcome(&self) -> &'static str {
        match self {
            Self::FindSource { .. } | Self::FindPath | Self::UseMethod => "UnknownSource",
            Self::Authorize => "Unauthorized",
            Self::ReadToken { .. } => "TokenMissing",
            Self::ReadFormat { .. } => "BadContentType",
            Self::Unpack { .. } => "BadContentEncoding",
            Self::FitBody { .. } | Self::FitRecords { .. } => "TooLarge",
            Self::AwaitBody { .. } => "BodyTimeout",
            Self::ReadBody { .. } => "BodyBroken",
            Self::ParseBody { .. } | Self::AcceptRecord { .. } => "BadRecord",
            Self::AwaitMemory => "Busy",
            Self::AwaitKafka { .. } | Self::AwaitAcknowledgement { .. } | Self::Stop => "Unavailable",
            Self::SendRecord { .. } => "RefusedByKafka",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::FindSource { .. } | Self::FindPath => StatusCode::NOT_FOUND,
            Self::UseMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::Authorize => StatusCode::UNAUTHORIZED,
            Self::ReadFormat { .. } | Self::Unpack { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::FitBody { .. } | Self::FitRecords { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::AwaitBody { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::ReadBody { .. } | Self::ParseBody { .. } | Self::AcceptRecord { .. } => StatusCode::BAD_REQUEST,
            Self::AwaitMemory => StatusCode::TOO_MANY_REQUESTS,
            Self::ReadToken { .. } | Self::AwaitKafka { .. } | Self::AwaitAcknowledgement { .. } | Self::Stop => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::SendRecord { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        }
    }

    /// Returns after how many seconds the same request may be sent again; `None`: it will be refused again.
    fn retry_after(&self) -> Option<u32> {
        match self.status() {
            StatusCode::TOO_MANY_REQUESTS => Some(RETRY_SOON),
            StatusCode::SERVICE_UNAVAILABLE => Some(RETRY_LATER),
            _ => None,
        }
    }

    /// Returns how many records are in Kafka for certain; `None`: it is not known.
    fn acknowledged(&self) -> Option<usize> {
        match self {
            Self::AwaitAcknowledgement { .. } | Self::Stop => None,
            Self::SendRecord { acknowledged, .. } => Some(*acknowledged),
            _ => Some(0),
        }
    }

    /// Returns the number of the record that is to blame, counted from 1.
    fn record(&self) -> Option<usize> {
        match self {
            Self::AcceptRecord { record, .. } | Self::SendRecord { record, .. } => Some(*record),
            _ => None,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut told = json!({"error": self.outcome(), "message": self.to_string()});
        if let Some(acknowledged) = self.acknowledged() {
            told["acknowledged"] = json!(acknowledged);
        }
        if let Some(record) = self.record() {
            told["record"] = json!(record);
        }
        let mut response = (self.status(), Json(told)).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        match self {
            Self::Authorize => drop(headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            // What is left of the body is not waited for.
            Self::AwaitBody { .. } => drop(headers.insert(header::CONNECTION, HeaderValue::from_static("close"))),
            _ => {}
        }
        response
    }
}
