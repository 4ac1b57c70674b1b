//! Logging in and out, and the API's own description.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::Utc;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::Api;
use kube::api::PostParams;

use crate::access::Access;
use crate::api::document;
use crate::api::session::{Login, Session};
use crate::app::{App, Viewing};
use crate::audit;
use crate::refusal::Refusal;
use crate::session::{self, Identity, Terms};
use crate::viewer::{Viewer, comes_from_here, secret_of};

/// Longest token that is looked at, in bytes: one with many groups has a few thousand.
const LONGEST_TOKEN: usize = 16 << 10;

/// Begins a session with a Kubernetes token.
#[expect(clippy::disallowed_methods, reason = "where a request comes in: sessions and limits are given the time")]
pub async fn begin(
    State(app): State<Arc<App>>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Json(login): Json<Login>,
) -> Result<Response, Refusal> {
    if !comes_from_here(&headers) {
        let message = "logins come from the console's own page only".to_owned();
        return Err(Refusal::Forbidden { right: None, message });
    }
    app.logins
        .take(&address.ip(), Instant::now())
        .map_err(|wait| Refusal::Limited { seconds: wait.as_secs_f64().ceil() as u32 })?;
    let identified = identify(&app, login.token.trim()).await;
    let user = identified.as_ref().map(|(identity, _)| identity.user.clone());
    audit::login(&address.ip().to_string(), &user.map_err(Clone::clone));
    let (identity, viewing) = identified?;
    // A login in place of another leaves nothing of it.
    if let Some(secret) = secret_of(&headers, app.settings.secure_cookies) {
        app.sessions.end(&secret);
    }
    let (secret, session) = app.sessions.begin(identity, viewing, Utc::now());
    let cookie = session::cookie(&secret, app.settings.secure_cookies, Terms::default().longest);
    Ok(([(header::SET_COOKIE, cookie)], Json(described(&app, &session))).into_response())
}

/// Says who is logged in.
pub async fn read(viewer: Viewer) -> Json<Session> {
    Json(described(&viewer.app, &viewer.session))
}

/// Ends the session.
pub async fn end(viewer: Viewer, headers: HeaderMap) -> Response {
    if let Some(secret) = secret_of(&headers, viewer.app.settings.secure_cookies) {
        viewer.app.sessions.end(&secret);
    }
    let cookie = session::cookie("", viewer.app.settings.secure_cookies, Terms::default().longest);
    (StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response()
}

/// Describes the API.
pub async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document::json()).into_response()
}

#[expect(clippy::disallowed_methods, reason = "where a request comes in: sessions and limits are given the time")]
fn described(app: &App, session: &session::Session<Viewing>) -> Session {
    Session {
        user: session.identity.user.clone(),
        groups: session.identity.groups.clone(),
        csrf: session.csrf.clone(),
        idle_end: app.sessions.idle_end(session, Utc::now()),
        end: session.end,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// Asks Kubernetes whose token it is.
async fn identify(app: &App, token: &str) -> Result<(Identity, Viewing), Refusal> {
    let unknown = || Refusal::Unauthenticated { message: "Kubernetes does not know this token".to_owned() };
    if token.is_empty() || token.len() > LONGEST_TOKEN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(unknown());
    }
    let review = TokenReview {
        spec: TokenReviewSpec { token: Some(token.to_owned()), audiences: None },
        ..TokenReview::default()
    };
    let api: Api<TokenReview> = Api::all(app.own.clone());
    let answer = api.create(&PostParams::default(), &review).await.map_err(|error| {
        match Refusal::of_kube(&error, "token review") {
            // The console's own rights are not the viewer's fault.
            Refusal::Unauthenticated { message } | Refusal::Forbidden { message, .. } => Refusal::Broken {
                message: "the console may not ask whose token it is".to_owned(),
                causes: vec![message],
            },
            other => other,
        }
    })?;
    let status = answer.status.filter(|status| status.authenticated == Some(true)).ok_or_else(unknown)?;
    let user = status.user.ok_or_else(unknown)?;
    let identity = Identity { user: user.username.ok_or_else(unknown)?, groups: user.groups.unwrap_or_default() };
    let client = app.client_of(token.to_owned()).map_err(|error| Refusal::Broken {
        message: "no client can be made".to_owned(),
        causes: crate::refusal::chain(&error),
    })?;
    Ok((identity, Viewing { client, access: Access::default() }))
}
