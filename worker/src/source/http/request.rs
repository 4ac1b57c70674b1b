//! One request: headers as they are now, a client that goes nowhere else, and what went wrong in words.

use std::str::FromStr;

use millrace_terms::causes::causes;
use millrace_terms::{HeaderSettings, HeaderValue, HttpSettings};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue as Value, InvalidHeaderName, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response, StatusCode, Url};
use snafu::{ResultExt, Snafu, ensure};

use super::super::guard::{Forbidden, Guard};
use super::super::{AcceptAnswerSnafu, AwaitEndpointSnafu, Batch, FetchRecords, ReachAddressSnafu};
use super::Failure;
use super::answer::{records, retry_after};
use super::expressions::{Body, Variables};

/// Why an endpoint cannot be asked at all.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(super)))]
pub enum PrepareRequests {
    /// The address is no URL.
    #[snafu(display("cannot read the URL '{url}'"))]
    ParseUrl {
        /// As written.
        url: String,
        /// What the parser says.
        source: <Url as FromStr>::Err,
    },
    /// The address is of another kind.
    #[snafu(display(
        "cannot use the URL '{url}'; it must start with http:// or https:// and have no user information"
    ))]
    AcceptUrl {
        /// As written.
        url: String,
    },
    /// A header's name is none.
    #[snafu(display("cannot use '{name}' as a header name"))]
    ParseHeader {
        /// As written.
        name: String,
        /// What the parser says.
        source: InvalidHeaderName,
    },
    /// An expression fails, or gives what does not fit its place.
    #[snafu(display("http.{field}: '{expression}' {problem}"))]
    EvaluateExpression {
        /// Where it stands.
        field: String,
        /// As written.
        expression: String,
        /// What is wrong.
        problem: String,
    },
    /// The HTTP client cannot be built.
    #[snafu(display("cannot build the HTTP client"))]
    BuildClient {
        /// Why.
        source: reqwest::Error,
    },
}

/// Everything that stays the same from request to request.
pub(super) struct Requests {
    client: Client,
    method: Method,
    url: Url,
    body: Option<Body>,
    guard: Guard,
    headers: Vec<(HeaderName, HeaderValue)>,
    pointer: String,
    max_response: u64,
    timeout: std::time::Duration,
}

impl Requests {
    pub(super) fn new(settings: &HttpSettings, guard: &Guard, variables: &Variables) -> Result<Self, PrepareRequests> {
        let text = variables.url(&settings.url)?;
        let mut url = Url::parse(&text).context(ParseUrlSnafu { url: &text })?;
        variables.append_query(&mut url, &settings.query)?;
        let body = settings.body.as_ref().map(|expression| variables.body(expression)).transpose()?;
        let plain = url.username().is_empty() && url.password().is_none();
        ensure!(plain && ["http", "https"].contains(&url.scheme()), AcceptUrlSnafu { url: &settings.url });
        // Whoever came first has installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .dns_resolver(guard.clone())
            .no_proxy()
            .redirect(Policy::none())
            .gzip(true)
            .user_agent(concat!("millrace/", env!("CARGO_PKG_VERSION")))
            .build()
            .context(BuildClientSnafu)?;
        let headers: Result<_, _> = settings.headers.iter().map(|settings| header(settings, variables)).collect();
        Ok(Self {
            client,
            method: match settings.method {
                millrace_terms::Method::Get => Method::GET,
                millrace_terms::Method::Post => Method::POST,
            },
            url,
            body,
            guard: guard.clone(),
            headers: headers?,
            pointer: settings.records.clone(),
            max_response: settings.max_response.0,
            timeout: settings.timeout.get(),
        })
    }

    /// Makes one request and reads its answer.
    pub(super) async fn fetch(&self) -> Result<Batch, Failure> {
        self.guard
            .check_literal(&self.url)
            .map_err(|forbidden| ReachAddressSnafu { problem: forbidden.to_string() }.build())?;
        let headers = self.current_headers().await?;
        let mut request = self.client.request(self.method.clone(), self.url.clone()).timeout(self.timeout);
        if let Some(body) = &self.body {
            request = match body {
                Body::Text(text) => request.body(text.clone()),
                Body::Json(text) => request.header(CONTENT_TYPE, "application/json").body(text.clone()),
            };
        }
        // Last, so that a content type of the source's own is the one that is sent.
        let request = request.headers(headers);
        let response = request.send().await.map_err(|error| self.describe(error))?;
        self.check_status(&response)?;
        let body = self.read(response).await?;
        let records = records(&body, &self.pointer).map_err(|problem| self.refuse(problem))?;
        Ok(Batch { records, ..Batch::default() })
    }

    /// Reads the headers, files included, so that a rotated Secret is picked up.
    async fn current_headers(&self) -> Result<HeaderMap, FetchRecords> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let text = match value {
                HeaderValue::Literal(text) | HeaderValue::Expression(text) => text.clone(),
                HeaderValue::File(path) => tokio::fs::read_to_string(path).await.map_err(|error| {
                    let problem = format!("the value of header '{name}' cannot be read from '{path}': {error}");
                    AcceptAnswerSnafu { problem }.build()
                })?,
            };
            let mut value = Value::from_str(text.trim_end_matches(['\r', '\n'])).map_err(|_| {
                let problem = format!("the value of header '{name}' has characters that no header may have");
                AcceptAnswerSnafu { problem }.build()
            })?;
            value.set_sensitive(true);
            headers.append(name, value);
        }
        Ok(headers)
    }

    #[expect(clippy::disallowed_methods, reason = "Retry-After may name a time of day")]
    fn check_status(&self, response: &Response) -> Result<(), Failure> {
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let passing = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(&status);
        if passing || status.is_server_error() {
            let problem = format!("'{}' answers {status}", self.host());
            let error = AwaitEndpointSnafu { problem }.build();
            let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            let retry_after = header.and_then(|text| retry_after(text, chrono::Utc::now()));
            return Err(Failure { error, retry_after });
        }
        let problem = match status.is_redirection() {
            true => format!("answers {status}, a redirect, and redirects are not followed: use the final URL"),
            false => format!("answers {status}"),
        };
        Err(self.refuse(problem))
    }

    /// Reads the body up to the bound, which counts decompressed bytes.
    async fn read(&self, mut response: Response) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.describe(error))? {
            if (body.len() + chunk.len()) as u64 > self.max_response {
                let problem = format!(
                    "answers with more than maxResponse, {} bytes: raise it, or ask for fewer records",
                    self.max_response
                );
                return Err(self.refuse(problem));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn refuse(&self, problem: String) -> Failure {
        AcceptAnswerSnafu { problem: format!("'{}' {problem}", self.host()) }.build().into()
    }

    /// Puts a client error into words, without the URL: its query may hold a credential.
    fn describe(&self, error: reqwest::Error) -> Failure {
        let error = error.without_url();
        if let Some(forbidden) = causes(&error).find_map(|cause| cause.downcast_ref::<Forbidden>()) {
            return ReachAddressSnafu { problem: forbidden.to_string() }.build().into();
        }
        let what = match error.is_timeout() {
            true => format!("no complete answer within {} ms", self.timeout.as_millis()),
            // The last cause says what happened, the others only where.
            false => causes(&error).last().map_or_else(|| error.to_string(), ToString::to_string),
        };
        AwaitEndpointSnafu { problem: format!("'{}' cannot be read: {what}", self.host()) }.build().into()
    }

    fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }
}

impl From<FetchRecords> for Failure {
    fn from(error: FetchRecords) -> Self {
        Self { error, retry_after: None }
    }
}

fn header(settings: &HeaderSettings, variables: &Variables) -> Result<(HeaderName, HeaderValue), PrepareRequests> {
    let name = HeaderName::from_str(&settings.name).context(ParseHeaderSnafu { name: &settings.name })?;
    let value = match &settings.value {
        HeaderValue::Expression(expression) => {
            HeaderValue::Literal(variables.text(&format!("headers.{name}"), expression)?)
        }
        given => given.clone(),
    };
    Ok((name, value))
}
