//! Why a request is not answered: one enum for all routes, and how it becomes a [`Problem`].

use std::error::Error;
use std::fmt::Display;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use snafu::Snafu;

use crate::api::{FieldProblem, Problem, ProblemReason};

/// Seconds after which it is worth asking a store or the API server again.
const RETRY_AFTER: u32 = 5;

/// Why a request is not answered.
#[derive(Clone, Debug, PartialEq, Snafu)]
pub enum Refusal {
    /// There is no session, or it has ended.
    #[snafu(display("{message}"))]
    Unauthenticated {
        /// What to do.
        message: String,
    },
    /// The viewer lacks a right.
    #[snafu(display("{message}"))]
    Forbidden {
        /// The right, such as `get streamingpipelines/rows`. `None`: it is not a matter of Kubernetes rights.
        right: Option<String>,
        /// What is forbidden, and where.
        message: String,
    },
    /// There is no such thing.
    #[snafu(display("there is no {what}"))]
    NotFound {
        /// The thing.
        what: String,
    },
    /// The request is wrong.
    #[snafu(display("{message}"))]
    Rejected {
        /// What is wrong.
        message: String,
        /// Where.
        fields: Vec<FieldProblem>,
    },
    /// Somebody else was faster.
    #[snafu(display("{message}"))]
    Conflict {
        /// What is in the way.
        message: String,
    },
    /// Too many requests.
    #[snafu(display("too many requests; try again in {seconds} s"))]
    Limited {
        /// Seconds to wait.
        seconds: u32,
    },
    /// Something that the answer needs does not answer.
    #[snafu(display("{message}"))]
    Unavailable {
        /// What does not answer.
        message: String,
        /// Why, outermost first.
        causes: Vec<String>,
    },
    /// The console is broken.
    #[snafu(display("{message}"))]
    Broken {
        /// What went wrong.
        message: String,
        /// Why, outermost first.
        causes: Vec<String>,
    },
}

impl Refusal {
    /// Makes the refusal of a request that is wrong as a whole.
    pub fn rejected(message: impl Display) -> Self {
        Self::Rejected { message: message.to_string(), fields: Vec::new() }
    }

    /// Makes the refusal of a wrong field.
    pub fn field(field: &str, message: impl Display) -> Self {
        let fields = vec![FieldProblem { field: field.to_owned(), message: message.to_string() }];
        Self::Rejected { message: format!("{field}: {message}"), fields }
    }

    /// Makes the refusal of a request that needs something which does not answer.
    pub fn unavailable(message: impl Display, cause: &(dyn Error + 'static)) -> Self {
        let message = message.to_string();
        let causes = chain(cause).into_iter().filter(|cause| *cause != message).collect();
        Self::Unavailable { message, causes }
    }

    /// Makes the refusal of a request that would need a store which someone else runs: this program reaches pods only.
    pub fn external(store: &str) -> Self {
        let message = format!("someone else runs the pipeline's {store}; read it with its own tools");
        Self::Unavailable { message, causes: Vec::new() }
    }

    /// Judges what the API server said to a question about `what`.
    pub fn of_kube(error: &kube::Error, what: &str) -> Self {
        let kube::Error::Api(status) = error else {
            return Self::unavailable("the API server does not answer", error);
        };
        let message = status.message.clone();
        match status.code {
            401 => {
                Self::Unauthenticated { message: "Kubernetes does not take the token any more; log in again".into() }
            }
            403 => Self::Forbidden { right: None, message },
            404 => Self::NotFound { what: what.to_owned() },
            409 => Self::Conflict { message },
            400 | 413 | 422 => {
                let causes = status.details.iter().flat_map(|details| &details.causes);
                let fields = causes
                    .filter(|cause| !cause.field.is_empty())
                    .map(|cause| FieldProblem { field: cause.field.clone(), message: cause.message.clone() })
                    .collect();
                Self::Rejected { message, fields }
            }
            429 => Self::Limited { seconds: RETRY_AFTER },
            _ => Self::Unavailable { message: "the API server cannot answer".to_owned(), causes: vec![message] },
        }
    }

    /// Returns what the viewer is told.
    pub fn problem(&self) -> Problem {
        let mut problem = Problem {
            status: self.status().as_u16(),
            reason: ProblemReason::Bug,
            message: self.to_string(),
            causes: Vec::new(),
            right: None,
            fields: Vec::new(),
            retry_after: None,
        };
        match self {
            Self::Unauthenticated { message: _ } => problem.reason = ProblemReason::Unauthenticated,
            Self::Forbidden { right, message: _ } => {
                problem.reason = ProblemReason::Forbidden;
                problem.right.clone_from(right);
            }
            Self::NotFound { what: _ } => problem.reason = ProblemReason::NotFound,
            Self::Rejected { message: _, fields } => {
                problem.reason = ProblemReason::Rejected;
                problem.fields.clone_from(fields);
            }
            Self::Conflict { message: _ } => problem.reason = ProblemReason::Conflict,
            Self::Limited { seconds } => {
                problem.reason = ProblemReason::Limited;
                problem.retry_after = Some(*seconds);
            }
            Self::Unavailable { message: _, causes } => {
                problem.reason = ProblemReason::Unavailable;
                problem.causes.clone_from(causes);
                problem.retry_after = Some(RETRY_AFTER);
            }
            Self::Broken { message: _, causes } => problem.causes.clone_from(causes),
        }
        problem
    }

    /// Returns the HTTP status.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Unauthenticated { .. } => StatusCode::UNAUTHORIZED,
            Self::Forbidden { .. } => StatusCode::FORBIDDEN,
            Self::NotFound { .. } => StatusCode::NOT_FOUND,
            Self::Rejected { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Conflict { .. } => StatusCode::CONFLICT,
            Self::Limited { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Broken { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        if let Self::Broken { message, causes } = &self {
            tracing::error!(message, ?causes, "a request cannot be answered");
        }
        let problem = self.problem();
        let retry_after = problem.retry_after;
        let mut response = (self.status(), Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// Returns what an error and its causes say, outermost first, without repeating what was said already.
pub fn chain(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut said = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if said.last().is_none_or(|last| !last.contains(&text)) {
            said.push(text);
        }
        next = cause.source();
    }
    said
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn of(code: u16) -> Refusal {
        let status = Status { code, message: "said".to_owned(), ..Status::default() };
        Refusal::of_kube(&kube::Error::Api(Box::new(status)), "run 'a'")
    }

    #[test]
    fn what_the_api_server_says_keeps_its_meaning() {
        let reasons = [401, 403, 404, 409, 422, 429, 500, 503].map(|code| of(code).problem().reason);
        assert_eq!(
            reasons,
            [
                ProblemReason::Unauthenticated,
                ProblemReason::Forbidden,
                ProblemReason::NotFound,
                ProblemReason::Conflict,
                ProblemReason::Rejected,
                ProblemReason::Limited,
                ProblemReason::Unavailable,
                ProblemReason::Unavailable
            ]
        );
        assert_eq!(of(404).problem().message, "there is no run 'a'");
    }

    #[test]
    fn a_server_that_cannot_be_reached_is_unavailable_with_its_cause() {
        let error = kube::Error::Service("connection refused".into());
        let problem = Refusal::of_kube(&error, "pipelines").problem();
        assert_eq!(problem.reason, ProblemReason::Unavailable);
        assert!(problem.causes.iter().any(|cause| cause.contains("connection refused")), "{problem:?}");
    }
}
