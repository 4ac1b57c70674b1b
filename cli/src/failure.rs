//! Why a command could not do what it was asked, with its exit code and what to do about it.

use std::error::Error;
use std::io;
use std::net::SocketAddr;

use kube::core::Status;
use millrace_stores::cassandra::{AskCassandra, PreviewTable};
use millrace_stores::kafka::AskKafka;
use snafu::Snafu;

/// How a command that did its work ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// All is well: exit code 0.
    Fine,
    /// It found something wrong, and has told it: exit code 1.
    Wrong,
}

impl Outcome {
    /// Returns [`Outcome::Wrong`] if so.
    pub fn wrong_if(wrong: bool) -> Self {
        if wrong { Self::Wrong } else { Self::Fine }
    }
}

/// Why a command could not do its work.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Failure {
    #[snafu(display("{message}"))]
    Mistake { message: String },
    #[snafu(display("cannot use the kubeconfig"))]
    Configure { source: Box<dyn Error + Send + Sync> },
    #[snafu(display("cannot {what}"))]
    Ask { what: String, source: Box<kube::Error> },
    #[snafu(display("{message}"))]
    Away { message: String },
    #[snafu(display("cannot listen on {address}"))]
    Listen { address: SocketAddr, source: io::Error },
    #[snafu(display("cannot query Kafka"), context(false))]
    Kafka { source: AskKafka },
    #[snafu(display("cannot query Cassandra"), context(false))]
    Cassandra { source: AskCassandra },
    #[snafu(display("cannot read table"), context(false))]
    Table { source: PreviewTable },
    #[snafu(display("cannot read '{file}'"))]
    ReadFile { file: String, source: io::Error },
    #[snafu(display("cannot write '{file}'"))]
    WriteFile { file: String, source: io::Error },
    #[snafu(display("cannot read the log of pod '{pod}'"))]
    ReadLog { pod: String, source: io::Error },
    #[snafu(display("cannot write"), context(false))]
    Write { source: io::Error },
}

impl Failure {
    /// Makes a failure of what was typed: there is no such thing, or it cannot be meant.
    pub fn mistake(message: impl Into<String>) -> Self {
        Self::Mistake { message: message.into() }
    }

    /// Makes a failure of something that does not run or answer.
    pub fn away(message: impl Into<String>) -> Self {
        Self::Away { message: message.into() }
    }

    /// Returns a function that makes a failure of the API server's answer to an attempt to do `what`.
    pub fn asking(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        move |error| Self::Ask { what, source: Box::new(error) }
    }

    /// Returns 2 for what was typed wrongly, and 3 for what cannot be reached or is forbidden.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Mistake { .. } | Self::ReadFile { .. } | Self::WriteFile { .. } => 2,
            Self::Ask { source, .. } => match api_code(source) {
                // Refused by admission, already there, not there.
                Some(400 | 404 | 409 | 422) if !is_not_installed(source) => 2,
                _ => 3,
            },
            Self::Kafka { source: AskKafka::FindTopic { .. } | AskKafka::FindPartition { .. } } => 2,
            Self::Table { source: PreviewTable::Ask { .. } } => 3,
            Self::Table { .. } => 2,
            Self::Configure { .. }
            | Self::Away { .. }
            | Self::Listen { .. }
            | Self::Kafka { .. }
            | Self::Cassandra { .. }
            | Self::ReadLog { .. }
            | Self::Write { .. } => 3,
        }
    }

    /// Returns what can be done about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Configure { .. } => {
                Some("set KUBECONFIG or --context; `kubectl config get-contexts` lists the contexts".to_owned())
            }
            Self::Ask { source, .. } => match api_code(source) {
                Some(401) => Some("log in to the cluster again; `kubectl auth whoami` shows who you are".to_owned()),
                Some(403) => Some("the right is missing; docs/command.md lists what each command needs".to_owned()),
                Some(404) if is_not_installed(source) => {
                    Some("Millrace is not installed in this cluster; install it first (docs/install.md)".to_owned())
                }
                Some(_) => None,
                None => Some("check whether `kubectl get streamingpipelines` reaches the cluster".to_owned()),
            },
            Self::Kafka { .. } | Self::Cassandra { .. } | Self::Away { .. } => {
                Some("`millrace status` shows what is not ready".to_owned())
            }
            _ => None,
        }
    }

    /// Returns the message with all its causes.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let answer = api_status(error);
            let said = answer.map_or_else(|| error.to_string(), |status| status.message.clone());
            if !text.contains(&said) {
                text.push_str(": ");
                text.push_str(&said);
            }
            // Its own causes repeat it.
            cause = if answer.is_some() { None } else { error.source() };
        }
        text
    }

    /// Returns whether the reader of the output has closed it, which is no failure.
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Write { source } if source.kind() == io::ErrorKind::BrokenPipe)
    }
}

fn api_code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// Returns whether the API server does not know the kind of resource at all.
fn is_not_installed(error: &kube::Error) -> bool {
    let says = |status: &Status| {
        status.message.contains("page not found") || status.message.contains("could not find the requested resource")
    };
    matches!(error, kube::Error::Api(status) if status.code == 404 && says(status))
}

/// Returns what the API server answered, where that is the error.
fn api_status<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Status> {
    let plain = error.downcast_ref::<kube::Error>();
    match plain.or_else(|| error.downcast_ref::<Box<kube::Error>>().map(|boxed| &**boxed))? {
        kube::Error::Api(status) => Some(status),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(code: u16, message: &str) -> Failure {
        let status: Status =
            serde_json::from_value(serde_json::json!({"code": code, "message": message})).expect("a status");
        Failure::asking("list pods")(kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn the_code_says_whose_turn_it_is() {
        assert_eq!(Failure::mistake("no").exit_code(), 2);
        assert_eq!(answered(404, "pods \"a\" not found").exit_code(), 2);
        assert_eq!(answered(403, "forbidden").exit_code(), 3);
        assert_eq!(answered(404, "404 page not found").exit_code(), 3);
        assert_eq!(Failure::away("no broker runs").exit_code(), 3);
        let topic = AskKafka::FindTopic { topic: "x".to_owned() };
        assert_eq!(Failure::from(topic).exit_code(), 2);
        assert_eq!(Failure::from(AskKafka::FindAddress).exit_code(), 3);
    }

    #[test]
    fn the_message_names_the_cause_once() {
        let forbidden = answered(403, "pods is forbidden: User \"jane\" cannot list resource \"pods\"");
        assert_eq!(
            forbidden.chain(),
            "cannot list pods: pods is forbidden: User \"jane\" cannot list resource \"pods\""
        );
        assert!(forbidden.hint().is_some_and(|hint| hint.contains("right")));
        assert_eq!(Failure::mistake("no").hint(), None);
    }
}
