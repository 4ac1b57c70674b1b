//! What all routes share: the console's own client, what it watches and measures, and who is logged in.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Request, Response, Uri};
use kube::client::{Body, ClientBuilder, DynBody};
use kube::config::AuthInfo;
use kube::{Client, Config};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tower::layer::layer_fn;
use tower::util::BoxService;
use tower::{BoxError, ServiceExt};

use crate::access::Access;
use crate::cluster::Cluster;
use crate::limit::Buckets;
use crate::measure::sampler::Measured;
use crate::messages::tap::Taps;
use crate::rows::Tables;
use crate::session::Sessions;

/// Searches in topics that go on at once: each may hold some megabytes.
pub const SEARCHES: usize = 2;
/// Live streams at once, of all viewers.
pub const STREAMS: usize = 256;

/// Longest until the API server begins to answer. One that stands still refuses nothing: without a bound, nobody would learn
/// that it is away.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What the flags say.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Names of fields that are masked in every pipeline.
    pub masked_fields: Vec<String>,
    /// Whether the cookie is only sent over TLS.
    pub secure_cookies: bool,
}

/// What acts with a viewer's token.
pub struct Viewing {
    /// The client.
    pub client: Client,
    /// What Kubernetes has said about the viewer.
    pub access: Access,
}

/// What all routes share.
pub struct App {
    /// What the flags say.
    pub settings: Settings,
    /// The client with the console's own account: token reviews, and nothing else here.
    pub own: Client,
    /// How the API server is reached, without anybody's credentials.
    pub api_server: Config,
    /// What is watched.
    pub cluster: Cluster,
    /// What was measured.
    pub measured: Measured,
    /// Asks workers.
    pub workers: reqwest::Client,
    /// Counts the samples.
    pub ticks: watch::Receiver<u64>,
    /// Who is logged in.
    pub sessions: Sessions<Viewing>,
    /// Logins of each address.
    pub logins: Buckets<IpAddr>,
    /// Searches that may begin.
    pub searches: Semaphore,
    /// Streams that may begin.
    pub streams: Arc<Semaphore>,
    /// Topics that are followed.
    pub taps: Taps,
    /// Sessions with Cassandra.
    pub tables: Tables,
}

impl App {
    /// Makes the client that acts with a viewer's token, and with nothing of the console's own.
    pub fn client_of(&self, token: String) -> Result<Client, kube::Error> {
        let mut config = self.api_server.clone();
        config.auth_info = AuthInfo { token: Some(token.into()), ..AuthInfo::default() };
        client(config)
    }
}

/// Makes a client that waits no longer than ten seconds for the begin of an answer; what has begun, such as a watch
/// or a log, goes on for as long as it likes.
pub fn client(config: Config) -> Result<Client, kube::Error> {
    client_within(config, ANSWER_TIMEOUT)
}

fn client_within(config: Config, longest: Duration) -> Result<Client, kube::Error> {
    type Inner = BoxService<Request<Body>, Response<Box<DynBody>>, BoxError>;
    let bounded = layer_fn(|inner: Inner| {
        inner.map_future(move |answer| async move {
            let silent = |_| Err(format!("no answer within {longest:?}").into());
            timeout(longest, answer).await.unwrap_or_else(silent)
        })
    });
    Ok(ClientBuilder::try_from(config)?.with_layer(&bounded).build())
}

/// Returns a configuration without the credentials of the user or account that it was made for.
pub fn without_credentials(config: &Config) -> Config {
    let mut bare = config.clone();
    bare.auth_info = AuthInfo::default();
    bare.headers = Vec::new();
    bare
}

/// Returns whether a page of this origin may send changes to this host: it is the host's own.
pub fn is_same_origin(origin: &str, host: &str) -> bool {
    let parsed: Option<Uri> = origin.parse().ok();
    parsed
        .and_then(|uri| uri.authority().map(|authority| authority.as_str().eq_ignore_ascii_case(host)))
        .unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_page_s_own_origin_is_the_same() {
        assert!(is_same_origin("http://127.0.0.1:8080", "127.0.0.1:8080"));
        for origin in ["http://127.0.0.1:8081", "http://evil.example", "null", "", "http://127.0.0.1:8080.evil.example"]
        {
            assert!(!is_same_origin(origin, "127.0.0.1:8080"), "{origin}");
        }
    }

    #[tokio::test]
    async fn a_server_that_stands_still_is_said_to_be_away() {
        // It listens, and nobody accepts.
        let still = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", still.local_addr().expect("it has an address"));
        let config = Config::new(address.parse().expect("an address"));
        let client = client_within(config, Duration::from_millis(20)).expect("a client");
        let error = client.apiserver_version().await.expect_err("nobody answers");
        let refusal = crate::refusal::Refusal::of_kube(&error, "version").problem();
        assert_eq!(refusal.message, "the API server does not answer");
        assert!(refusal.causes.iter().any(|cause| cause.contains("no answer within 20ms")), "{refusal:?}");
    }

    #[test]
    fn nothing_of_the_console_s_own_credentials_goes_on_to_a_viewer() {
        let mut config = Config::new("https://10.0.0.1".parse().expect("an address"));
        config.auth_info = AuthInfo {
            token: Some("own".to_owned().into()),
            token_file: Some("/token".to_owned()),
            client_certificate_data: Some("own".to_owned()),
            ..AuthInfo::default()
        };
        let bare = without_credentials(&config);
        assert!(bare.auth_info.token.is_none() && bare.auth_info.token_file.is_none());
        assert!(bare.auth_info.client_certificate_data.is_none());
        assert_eq!(bare.cluster_url, config.cluster_url);
    }
}
