//! What the API server answered when it did not do as it was asked, as a sentence: kube's own words append a dump of the
//! answer's every field.

use std::error::Error;
use std::fmt;

use kube::core::Status;
use millrace_terms::causes::causes;

/// Why the API server was asked in vain.
#[derive(Debug)]
pub struct AskApi(Box<kube::Error>);

impl AskApi {
    /// Returns the server's answer; `None`: there was none.
    pub fn status(&self) -> Option<&Status> {
        match self.0.as_ref() {
            kube::Error::Api(status) => Some(status),
            _ => None,
        }
    }
}

impl From<kube::Error> for AskApi {
    fn from(error: kube::Error) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Display for AskApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_ref() {
            kube::Error::Api(status) if !status.message.is_empty() => f.write_str(status.message.trim()),
            kube::Error::Api(status) => write!(f, "the API server answered {} {}", status.code, status.reason),
            kube::Error::Service(error) => write!(f, "the API server cannot be reached: {}", last_of(error.as_ref())),
            kube::Error::HyperError(error) => write!(f, "the API server cannot be reached: {}", last_of(error)),
            other => write!(f, "{other}"),
        }
    }
}

/// What there is to say was said.
impl Error for AskApi {}

/// Returns the cause that has no further one: what is above it only repeats that there was an error.
fn last_of(error: &(dyn Error + 'static)) -> String {
    causes(error).last().map_or_else(|| error.to_string(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(code: u16, message: &str, reason: &str) -> String {
        let status = Status { code, ..Status::failure(message, reason) };
        AskApi::from(kube::Error::Api(Box::new(status))).to_string()
    }

    #[test]
    fn an_answer_is_its_sentence_and_nothing_else() {
        let message = "statefulsets.apps \"users-kafka\" is forbidden: exceeded quota: few, requested: count/statefulsets.apps=1, used: count/statefulsets.apps=2, limited: count/statefulsets.apps=2";
        assert_eq!(said(403, message, "Forbidden"), message);
        let too_large = "ConfigMap \"users-processor\" is invalid: []: Too long: may not be more than 1048576 bytes";
        assert_eq!(said(422, too_large, "Invalid"), too_large);
        assert_eq!(said(500, "etcdserver: request is too large\n", ""), "etcdserver: request is too large");
        assert_eq!(said(503, "", "ServiceUnavailable"), "the API server answered 503 ServiceUnavailable");
    }

    #[test]
    fn a_server_that_is_away_is_named_with_the_last_cause() {
        let refused = std::io::Error::other("connection refused");
        let error = AskApi::from(kube::Error::Service(Box::new(refused)));
        assert_eq!(error.to_string(), "the API server cannot be reached: connection refused");
    }
}
