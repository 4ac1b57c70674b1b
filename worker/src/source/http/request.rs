//! One request: headers as they are now, a client that goes nowhere else, and what went wrong in words.

use std::str::FromStr;

use millrace_terms::causes::causes;
use millrace_terms::{FollowPages, HeaderSettings, HeaderValue, HttpSettings};
use reqwest::header::{
    CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue as Value, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    InvalidHeaderName, LAST_MODIFIED, LINK, RETRY_AFTER,
};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response, StatusCode, Url};
use snafu::{ResultExt, Snafu, ensure};

use super::super::guard::{Forbidden, Guard};
use super::super::{AcceptAnswerSnafu, AwaitEndpointSnafu, FetchRecords, ReachAddressSnafu, Records};
use super::answer::{Wanted, read, retry_after};
use super::expressions::{Body, Variables};
use super::oauth2::Tokens;
use super::{Failure, oauth2};

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
    /// The expression of the position does not compile.
    #[snafu(display("http.since is not a CEL expression: {problem}"))]
    CompileSince {
        /// What the parser says.
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
    guard: Guard,
    settings: HttpSettings,
    /// What the expressions give. Absent: they are not evaluated yet.
    prepared: Option<Prepared>,
    /// Absent: requests carry no token.
    tokens: Option<Tokens>,
    /// What the last answer said of its state. Absent: nothing.
    validators: Option<Validators>,
}

/// A request as its expressions make it.
struct Prepared {
    url: Url,
    body: Option<Body>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// What a server compares to find out whether it has anything new (RFC 9110, section 13). Kept in memory only: after a
/// restart everything is fetched once more, since nobody knows whether it arrived.
struct Validators {
    url: Url,
    headers: HeaderMap,
}

/// An answer.
pub(super) struct Answered {
    pub(super) records: Records,
    /// The values of its `Link` headers, joined by commas.
    pub(super) link: String,
    /// What stands at the pointer of the cursor, as JSON. Absent: nothing.
    pub(super) cursor: Option<String>,
}

impl Requests {
    pub(super) fn new(settings: &HttpSettings, guard: &Guard) -> Result<Self, PrepareRequests> {
        // It fails if another client has installed it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .dns_resolver(guard.clone())
            .no_proxy()
            .redirect(Policy::none())
            .gzip(true)
            .user_agent(concat!("millrace/", env!("CARGO_PKG_VERSION")))
            .build()
            .context(BuildClientSnafu)?;
        let tokens = settings
            .oauth2
            .as_ref()
            .map(|oauth2| Ok(Tokens::new(oauth2, plain_url(&oauth2.token_url)?, settings.timeout.get())));
        let tokens = tokens.transpose()?;
        Ok(Self { client, guard: guard.clone(), settings: settings.clone(), prepared: None, tokens, validators: None })
    }

    /// Evaluates the expressions.
    pub(super) fn prepare(&mut self, variables: &Variables) -> Result<(), PrepareRequests> {
        let settings = &self.settings;
        let mut url = plain_url(&variables.url(&settings.url)?)?;
        variables.append_query(&mut url, &settings.query)?;
        let body = settings.body.as_ref().map(|expression| variables.body(expression)).transpose()?;
        let headers = settings.headers.iter().map(|settings| header(settings, variables));
        let headers = headers.collect::<Result<_, _>>()?;
        self.prepared = Some(Prepared { url, body, headers });
        Ok(())
    }

    /// Forgets what the last answer said of its state: it was no good.
    pub(super) fn forget(&mut self) {
        self.validators = None;
    }

    /// Returns the address of the endpoint.
    pub(super) fn url(&self) -> &Url {
        &self.prepared().url
    }

    fn prepared(&self) -> &Prepared {
        self.prepared.as_ref().expect("a poll begins by preparing its requests")
    }

    /// Makes one request and reads its answer.
    pub(super) async fn fetch(&mut self, url: &Url) -> Result<Answered, Failure> {
        self.guard
            .check_literal(url)
            .map_err(|forbidden| ReachAddressSnafu { problem: forbidden.to_string() }.build())?;
        let mut response = self.send(url).await?;
        // A token may have been taken back before its time.
        if response.status() == StatusCode::UNAUTHORIZED && self.tokens.as_mut().is_some_and(Tokens::forget) {
            response = self.send(url).await?;
        }
        let empty = |link| Answered { records: Records::default(), link, cursor: None };
        // Nothing has changed since the last answer.
        if response.status() == StatusCode::NOT_MODIFIED {
            return Ok(empty(String::new()));
        }
        self.check_status(&response)?;
        let headers = response.headers();
        let text = |value: &Value| value.to_str().unwrap_or_default().to_owned();
        let content_type = headers.get(CONTENT_TYPE).map(text).unwrap_or_default();
        let link = headers.get_all(LINK).iter().map(text).collect::<Vec<_>>().join(", ");
        let validators = Validators::of(url, headers);
        let body = self.read(response).await?;
        let wanted = Wanted {
            pointer: &self.settings.records,
            are: self.settings.records_are,
            cursor: match self.settings.pagination.as_ref().map(|pagination| &pagination.follow) {
                Some(FollowPages::Cursor { pointer, .. }) => Some(pointer),
                _ => None,
            },
        };
        let (records, cursor) = read(body, &content_type, wanted).map_err(|problem| self.refuse(problem))?;
        self.validators = validators;
        Ok(Answered { records, link, cursor })
    }

    async fn send(&mut self, url: &Url) -> Result<Response, Failure> {
        let mut headers = self.current_headers().await?;
        if let Some(tokens) = &mut self.tokens {
            headers.insert(oauth2::HEADER, tokens.header(&self.client, &self.guard).await?);
        }
        let method = match self.settings.method {
            millrace_terms::Method::Get => Method::GET,
            millrace_terms::Method::Post => Method::POST,
        };
        // Of an endpoint with pages the first may be unchanged and another not.
        if self.settings.pagination.is_none() && method == Method::GET {
            let known = self.validators.iter().filter(|validators| validators.url == *url);
            known.for_each(|validators| headers.extend(validators.headers.clone()));
        }
        let mut request = self.client.request(method, url.clone()).timeout(self.settings.timeout.get());
        if let Some(body) = &self.prepared().body {
            request = match body {
                Body::Text(text) => request.body(text.clone()),
                Body::Json(text) => request.header(CONTENT_TYPE, "application/json").body(text.clone()),
            };
        }
        // Last, so that a content type of the source's own is the one that is sent.
        let request = request.headers(headers);
        request.send().await.map_err(|error| self.describe(error))
    }

    /// Reads the headers, files included, so that a rotated Secret is picked up.
    async fn current_headers(&self) -> Result<HeaderMap, FetchRecords> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.prepared().headers {
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
            if (body.len() + chunk.len()) as u64 > self.settings.max_response.0 {
                let problem = format!(
                    "answers with more than maxResponse, {} bytes: raise it, or ask for fewer records",
                    self.settings.max_response.0
                );
                return Err(self.refuse(problem));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    pub(super) fn refuse(&self, problem: String) -> Failure {
        AcceptAnswerSnafu { problem: format!("'{}' {problem}", self.host()) }.build().into()
    }

    /// Puts a client error into words, without the URL: its query may hold a credential.
    fn describe(&self, error: reqwest::Error) -> Failure {
        let error = error.without_url();
        if let Some(forbidden) = causes(&error).find_map(|cause| cause.downcast_ref::<Forbidden>()) {
            return ReachAddressSnafu { problem: forbidden.to_string() }.build().into();
        }
        let what = match error.is_timeout() {
            true => format!("no complete answer within {} ms", self.settings.timeout.get().as_millis()),
            // The last cause says what happened, the others only where.
            false => causes(&error).last().map_or_else(|| error.to_string(), ToString::to_string),
        };
        AwaitEndpointSnafu { problem: format!("'{}' cannot be read: {what}", self.host()) }.build().into()
    }

    fn host(&self) -> &str {
        self.url().host_str().unwrap_or_default()
    }
}

impl From<FetchRecords> for Failure {
    fn from(error: FetchRecords) -> Self {
        Self { error, retry_after: None }
    }
}

impl Validators {
    fn of(url: &Url, answered: &HeaderMap) -> Option<Self> {
        let mut headers = HeaderMap::new();
        for (given, asked) in [(ETAG, IF_NONE_MATCH), (LAST_MODIFIED, IF_MODIFIED_SINCE)] {
            if let Some(value) = answered.get(given) {
                headers.insert(asked, value.clone());
            }
        }
        (!headers.is_empty()).then(|| Self { url: url.clone(), headers })
    }
}

/// Reads an address that requests may go to.
fn plain_url(text: &str) -> Result<Url, PrepareRequests> {
    let url = Url::parse(text).context(ParseUrlSnafu { url: text })?;
    let plain = url.username().is_empty() && url.password().is_none();
    ensure!(plain && ["http", "https"].contains(&url.scheme()), AcceptUrlSnafu { url: text });
    Ok(url)
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
