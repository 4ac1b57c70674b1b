//! The viewer of a request. It is the only way to a client with somebody's rights, so that no route can forget to ask who
//! is there, for a CSRF token, or whether it was too often.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{FromRequestParts, OriginalUri};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use chrono::Utc;
use kube::{Api, Client};
use millrace_api::StreamingPipeline;
use millrace_api::names::Names;
use tokio::sync::OwnedSemaphorePermit;

use crate::access::Right;
use crate::api::CSRF_HEADER;
use crate::app::{App, Viewing, is_same_origin};
use crate::audit;
use crate::limit::Bucket;
use crate::mask::{ANNOTATION, Mask};
use crate::refusal::Refusal;
use crate::session::{Session, secret_in};

/// Who asks.
#[derive(Clone)]
pub struct Viewer {
    /// What all routes share.
    pub app: Arc<App>,
    /// The viewer's session.
    pub session: Arc<Session<Viewing>>,
}

impl FromRequestParts<Arc<App>> for Viewer {
    type Rejection = Refusal;

    #[expect(clippy::disallowed_methods, reason = "where a request comes in: sessions and limits are given the time")]
    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refusal> {
        let secret = secret_of(&parts.headers, app.settings.secure_cookies).ok_or_else(logged_out)?;
        let session = app.sessions.touch(&secret, Utc::now()).ok_or_else(logged_out)?;
        if !matches!(parts.method, Method::GET | Method::HEAD) {
            let guarded = guard_change(&parts.headers, |token| session.has_csrf(token));
            guarded.inspect_err(|refusal| audit::foreign_change(&session.identity.user, path_of(parts), refusal))?;
        }
        take(&session.requests)?;
        Ok(Self { app: app.clone(), session })
    }
}

impl Viewer {
    /// Returns the client that acts with the viewer's token.
    pub fn client(&self) -> &Client {
        &self.session.client.client
    }

    /// Returns the viewer's user name.
    pub fn user(&self) -> &str {
        &self.session.identity.user
    }

    /// Judges what the API server said; a token that it does not take any more ends the session.
    pub fn kube(&self, error: &kube::Error, what: &str) -> Refusal {
        self.checked(Refusal::of_kube(error, what))
    }

    fn checked(&self, refusal: Refusal) -> Refusal {
        if let Refusal::Unauthenticated { .. } = refusal {
            self.app.sessions.revoke(&self.session);
        }
        refusal
    }

    /// Reads a pipeline with the viewer's rights.
    pub async fn pipeline(&self, namespace: &str, name: &str) -> Result<(Names, StreamingPipeline), Refusal> {
        let what = format!("pipeline '{name}' in namespace '{namespace}'");
        if !self.app.cluster.covers(namespace) {
            return Err(Refusal::NotFound { what: format!("{what}: the console does not look there") });
        }
        let api: Api<StreamingPipeline> = Api::namespaced(self.client().clone(), namespace);
        let pipeline = api.get(name).await.map_err(|error| match self.kube(&error, &what) {
            Refusal::Forbidden { message, right: _ } => {
                Refusal::Forbidden { right: Some(Right::Pipeline.as_text()), message }
            }
            other => other,
        })?;
        Ok((Names::new(namespace, name), pipeline))
    }

    /// Refuses if the viewer lacks a right.
    pub async fn require(&self, names: &Names, right: Right) -> Result<(), Refusal> {
        let asked = self.session.client.access.require(self.client(), names, right).await;
        asked.map_err(|refusal| self.checked(refusal))
    }

    /// Returns what the viewer does not see of a pipeline. If nobody can say whether they may see all, they may not.
    pub async fn mask(&self, names: &Names, pipeline: &StreamingPipeline) -> Mask {
        let annotation = pipeline.metadata.annotations.as_ref().and_then(|annotations| annotations.get(ANNOTATION));
        let mask = Mask::new(&self.app.settings.masked_fields, annotation.map(String::as_str));
        if mask.is_empty() {
            return mask;
        }
        match self.session.client.access.has(self.client(), names, Right::Unmasked).await {
            Ok(true) => Mask::lifted(),
            Ok(false) | Err(_) => mask,
        }
    }

    /// Counts a search in a store.
    pub fn count_search(&self) -> Result<(), Refusal> {
        take(&self.session.searches)
    }

    /// Returns the right to one more live stream, for as long as it is held.
    pub fn stream(&self) -> Result<(OwnedSemaphorePermit, OwnedSemaphorePermit), Refusal> {
        let of_session = self.session.streams.clone().try_acquire_owned();
        let of_all = self.app.streams.clone().try_acquire_owned();
        of_session.ok().zip(of_all.ok()).ok_or(Refusal::Limited { seconds: 10 })
    }

    /// Returns whether the session still holds.
    #[expect(clippy::disallowed_methods, reason = "where a request comes in: sessions and limits are given the time")]
    pub fn is_there(&self) -> bool {
        self.app.sessions.holds(&self.session, Utc::now())
    }
}

/// Returns the whole path of a request; routers that are nested see the rest of it only.
fn path_of(parts: &Parts) -> &str {
    parts.extensions.get::<OriginalUri>().map_or_else(|| parts.uri.path(), |uri| uri.path())
}

/// Refuses a change that does not come from the page itself.
fn guard_change(headers: &HeaderMap, has_csrf: impl Fn(&str) -> bool) -> Result<(), Refusal> {
    let forbidden = |message: &str| Err(Refusal::Forbidden { right: None, message: message.to_owned() });
    if !comes_from_here(headers) {
        return forbidden("changes come from the console's own page only");
    }
    let token = headers.get(CSRF_HEADER).and_then(|token| token.to_str().ok()).unwrap_or_default();
    if !has_csrf(token) {
        return forbidden("the header x-millrace-csrf lacks the session's token");
    }
    Ok(())
}

/// Returns whether a request is not from another site's page. What is no browser sends no origin.
pub fn comes_from_here(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &axum::http::HeaderValue| value.to_str().ok());
    match (text(header::ORIGIN), text(header::HOST)) {
        (None, _) => true,
        (Some(origin), Some(host)) => is_same_origin(origin, host),
        (Some(_), None) => false,
    }
}

/// Returns the secret in a request's cookies: of the name that the console gives, secure or not, and of no other.
pub fn secret_of(headers: &HeaderMap, secure: bool) -> Option<String> {
    let mut cookies = headers.get_all(header::COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
    cookies.find_map(|cookies| secret_in(cookies, secure).map(str::to_owned))
}

#[expect(clippy::disallowed_methods, reason = "where a request comes in: sessions and limits are given the time")]
fn take(bucket: &std::sync::Mutex<Bucket>) -> Result<(), Refusal> {
    let mut bucket = bucket.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    bucket.take(Instant::now()).map_err(|wait| Refusal::Limited { seconds: wait.as_secs_f64().ceil().max(1.0) as u32 })
}

fn logged_out() -> Refusal {
    Refusal::Unauthenticated { message: "there is no session, or it has ended; log in".to_owned() }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().expect("a value"))).collect()
    }

    fn is_let_through(pairs: &[(&'static str, &str)]) -> bool {
        guard_change(&headers(pairs), |token| token == "right").is_ok()
    }

    #[test]
    fn a_change_needs_the_session_s_token_and_the_page_s_origin() {
        let own = ("origin", "http://console:8080");
        let host = ("host", "console:8080");
        assert!(is_let_through(&[("x-millrace-csrf", "right"), own, host]));
        // What is no browser has no origin, but the token all the same.
        assert!(is_let_through(&[("x-millrace-csrf", "right")]));
        assert!(!is_let_through(&[]));
        assert!(!is_let_through(&[("x-millrace-csrf", "wrong"), own, host]));
        assert!(!is_let_through(&[("x-millrace-csrf", ""), own, host]));
        assert!(!is_let_through(&[("x-millrace-csrf", "right"), ("origin", "http://evil.example"), host]));
        assert!(!is_let_through(&[("x-millrace-csrf", "right"), ("origin", "null"), host]));
    }

    #[test]
    fn the_session_s_cookie_is_found_among_others() {
        let both = headers(&[("cookie", "a=b; millrace_session=abc; __Host-millrace_session=def")]);
        assert_eq!(secret_of(&both, false).as_deref(), Some("abc"));
        assert_eq!(secret_of(&both, true).as_deref(), Some("def"));
        // A page of a sister domain may set the plain name, and it opens nothing over TLS.
        assert_eq!(secret_of(&headers(&[("cookie", "millrace_session=abc")]), true), None);
        assert_eq!(secret_of(&headers(&[("cookie", "a=b")]), false), None);
    }
}
