//! Tokens by OAuth 2.0's client credentials grant (RFC 6749, section 4.4): asked for when there is none, and again a
//! minute before one ends or when an endpoint refuses it.

use std::time::Duration;

use millrace_terms::OAuth2Settings;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Response, StatusCode, Url};
use serde::Deserialize;
use tokio::time::Instant;

use super::super::guard::Guard;
use super::super::{AcceptAnswerSnafu, AwaitEndpointSnafu, FetchRecords, ReachAddressSnafu};

/// How long before its end a token is not used any more.
const EARLY: Duration = Duration::from_secs(60);

/// How long a token lasts whose server does not say.
const USUAL: Duration = Duration::from_secs(300);

/// How long a token is used at most, whatever its server says.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Largest answer of a token server, in bytes.
const LARGEST: usize = 64 << 10;

/// The tokens of a source.
#[derive(Debug)]
pub(super) struct Tokens {
    settings: OAuth2Settings,
    url: Url,
    timeout: Duration,
    /// Whether the server takes the client's secret in the body only.
    in_body: bool,
    /// Absent: none was asked for, or the last one is at its end.
    held: Option<(HeaderValue, Instant)>,
}

/// What a token server answers.
#[derive(Deserialize)]
struct Answer {
    access_token: String,
    #[serde(default)]
    expires_in: Option<serde_json::Value>,
}

impl Tokens {
    /// Makes them of an address that is checked already.
    pub(super) fn new(settings: &OAuth2Settings, url: Url, timeout: Duration) -> Self {
        Self { settings: settings.clone(), url, timeout, in_body: false, held: None }
    }

    /// Throws the token away; returns whether there was one.
    pub(super) fn forget(&mut self) -> bool {
        self.held.take().is_some()
    }

    /// Returns the value of the header `Authorization`.
    #[expect(clippy::disallowed_methods, reason = "a token lasts for a while")]
    pub(super) async fn header(&mut self, client: &Client, guard: &Guard) -> Result<HeaderValue, FetchRecords> {
        if let Some((value, end)) = &self.held
            && Instant::now() < *end
        {
            return Ok(value.clone());
        }
        guard
            .check_literal(&self.url)
            .map_err(|forbidden| ReachAddressSnafu { problem: forbidden.to_string() }.build())?;
        let asked = Instant::now();
        let mut response = self.ask(client).await?;
        if matches!(response.status(), StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED) && !self.in_body {
            // RFC 6749 lets a server take the secret in the body only.
            self.in_body = true;
            response = self.ask(client).await?;
            self.in_body = response.status().is_success();
        }
        let status = response.status();
        if !status.is_success() {
            let problem = format!("the token server '{}' answers {status}", self.host());
            let passing = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
            return if passing { AwaitEndpointSnafu { problem }.fail() } else { AcceptAnswerSnafu { problem }.fail() };
        }
        let Answer { access_token, expires_in } = self.read(response).await?;
        let mut value = HeaderValue::from_str(&format!("Bearer {access_token}"))
            .map_err(|_| self.refuse("gives a token with characters that no header may have"))?;
        value.set_sensitive(true);
        let lasts = expires_in.and_then(|seconds| seconds.as_u64().or_else(|| seconds.as_str()?.parse().ok()));
        let lasts = lasts.map_or(USUAL, Duration::from_secs).min(LONGEST);
        // One that ends sooner is used for one request.
        self.held = Some((value.clone(), asked + lasts.saturating_sub(EARLY)));
        Ok(value)
    }

    async fn ask(&self, client: &Client) -> Result<Response, FetchRecords> {
        let id = secret("clientIdFrom", &self.settings.client_id).await?;
        let password = secret("clientSecretFrom", &self.settings.client_secret).await?;
        let mut form = vec![("grant_type", "client_credentials")];
        form.extend(self.settings.scope.iter().map(|scope| ("scope", scope.as_str())));
        form.extend(self.settings.audience.iter().map(|audience| ("audience", audience.as_str())));
        let mut request = client.post(self.url.clone()).timeout(self.timeout);
        if self.in_body {
            form.extend([("client_id", id.as_str()), ("client_secret", password.as_str())]);
        } else {
            request = request.basic_auth(encoded(&[("", id.as_str())]), Some(encoded(&[("", password.as_str())])));
        }
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(encoded(&form));
        request.send().await.map_err(|error| {
            let what = millrace_terms::causes::causes(&error).last().map_or_else(String::new, ToString::to_string);
            AwaitEndpointSnafu { problem: format!("the token server '{}' cannot be read: {what}", self.host()) }.build()
        })
    }

    async fn read(&self, mut response: Response) -> Result<Answer, FetchRecords> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|_| self.refuse("does not answer to the end"))? {
            body.extend_from_slice(&chunk);
            if body.len() > LARGEST {
                return Err(self.refuse("answers with more than a token"));
            }
        }
        serde_json::from_slice(&body).map_err(|_| self.refuse("answers without 'access_token'"))
    }

    fn refuse(&self, problem: &str) -> FetchRecords {
        AcceptAnswerSnafu { problem: format!("the token server '{}' {problem}", self.host()) }.build()
    }

    fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }
}

/// Returns the header that a token goes into.
pub(super) const HEADER: reqwest::header::HeaderName = AUTHORIZATION;

async fn secret(field: &str, path: &str) -> Result<String, FetchRecords> {
    let text = tokio::fs::read_to_string(path).await.map_err(|error| {
        AcceptAnswerSnafu { problem: format!("oauth2.{field} cannot be read from '{path}': {error}") }.build()
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Encodes names and values as forms do; a single value without a name as it would stand behind one.
fn encoded(form: &[(&str, &str)]) -> String {
    let mut url = Url::parse("form:").expect("it is a URL");
    url.query_pairs_mut().extend_pairs(form);
    url.query().unwrap_or_default().trim_start_matches('=').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_encoded() {
        assert_eq!(encoded(&[("a", "b c"), ("d", "é&=")]), "a=b+c&d=%C3%A9%26%3D");
        assert_eq!(encoded(&[("", "p+q/=:")]), "p%2Bq%2F%3D%3A");
    }
}
