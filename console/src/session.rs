//! Sessions: who is logged in, for how long, and with which token. In memory only; a restart logs everybody out.
//!
//! A cookie holds a random secret, and the store only its digest. Clocks are passed in, so that all of it is pure.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta, Utc};
use rand::TryRngCore;
use rand::rngs::OsRng;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::limit::Bucket;

/// Name of the cookie over plain HTTP, such as through a port-forward.
const COOKIE: &str = "millrace_session";

/// Name of the cookie over TLS: browsers let no other host and no page without TLS set one that begins so.
/// <https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-rfc6265bis-20#section-4.1.3.2>
const SECURE_COOKIE: &str = "__Host-millrace_session";

/// Bytes of a cookie's secret and of a CSRF token.
const SECRET_BYTES: usize = 32;

/// How long sessions last, and how many there may be.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Time without a request after which a session ends.
    pub idle: TimeDelta,
    /// Time after which a session ends in any case.
    pub longest: TimeDelta,
    /// Sessions at once; one more ends the one that was idle longest.
    pub most: usize,
    /// Sessions of one user at once; one more ends that user's which was idle longest.
    pub most_of_user: usize,
}

impl Default for Terms {
    fn default() -> Self {
        Self { idle: TimeDelta::minutes(30), longest: TimeDelta::hours(8), most: 200, most_of_user: 20 }
    }
}

/// Who somebody is, as Kubernetes has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    /// User name.
    pub user: String,
    /// Groups.
    pub groups: Vec<String>,
}

/// A session; `C` is the client that acts with the viewer's token.
pub struct Session<C> {
    /// Who is logged in.
    pub identity: Identity,
    /// The client that acts with their token.
    pub client: C,
    /// What changes must carry.
    pub csrf: String,
    /// When it ends in any case.
    pub end: DateTime<Utc>,
    /// What is left of its share of requests.
    pub requests: Mutex<Bucket>,
    /// What is left of its share of searches in stores.
    pub searches: Mutex<Bucket>,
    /// Live streams that are open.
    pub streams: Arc<tokio::sync::Semaphore>,
}

impl<C> Session<C> {
    /// Returns whether a CSRF token is the session's.
    pub fn has_csrf(&self, token: &str) -> bool {
        self.csrf.as_bytes().ct_eq(token.as_bytes()).into()
    }
}

type Key = [u8; 32];

struct Held<C> {
    session: Arc<Session<C>>,
    seen: DateTime<Utc>,
}

/// All sessions.
pub struct Sessions<C> {
    terms: Terms,
    held: Mutex<HashMap<Key, Held<C>>>,
}

impl<C> Sessions<C> {
    /// Makes an empty store.
    pub fn new(terms: Terms) -> Self {
        Self { terms, held: Mutex::default() }
    }

    /// Begins a session; returns the secret for the cookie.
    pub fn begin(&self, identity: Identity, client: C, now: DateTime<Utc>) -> (String, Arc<Session<C>>) {
        let secret = secret();
        let user = identity.user.clone();
        let session = Arc::new(Session {
            identity,
            client,
            csrf: self::secret(),
            end: now + self.terms.longest,
            requests: Mutex::new(Bucket::of_requests()),
            searches: Mutex::new(Bucket::of_searches()),
            streams: Arc::new(tokio::sync::Semaphore::new(STREAMS_PER_SESSION)),
        });
        let mut held = self.lock();
        self.sweep(&mut held, now);
        let of_user = held.values().filter(|held| held.session.identity.user == user).count();
        if of_user >= self.terms.most_of_user {
            end_idlest(&mut held, |held| held.session.identity.user == user);
        } else if held.len() >= self.terms.most {
            end_idlest(&mut held, |_| true);
        }
        held.insert(key(&secret), Held { session: session.clone(), seen: now });
        (secret, session)
    }

    /// Returns the session of a cookie's secret, and counts this as a request of it.
    pub fn touch(&self, secret: &str, now: DateTime<Utc>) -> Option<Arc<Session<C>>> {
        let mut held = self.lock();
        self.sweep(&mut held, now);
        let held = held.get_mut(&key(secret))?;
        held.seen = now;
        Some(held.session.clone())
    }

    /// Ends the session of a cookie's secret.
    pub fn end(&self, secret: &str) {
        self.lock().remove(&key(secret));
    }

    /// Ends a session whose token Kubernetes does not take any more.
    pub fn revoke(&self, session: &Arc<Session<C>>) {
        self.lock().retain(|_, held| !Arc::ptr_eq(&held.session, session));
    }

    /// Returns whether a session still holds. A stream that is open does not keep its session from ending, but one that
    /// is looked at counts as a request: `seen` is moved on by [`Sessions::touch`] alone.
    pub fn holds(&self, session: &Arc<Session<C>>, now: DateTime<Utc>) -> bool {
        let mut held = self.lock();
        self.sweep(&mut held, now);
        held.values().any(|held| Arc::ptr_eq(&held.session, session))
    }

    /// Returns when a session that is asked now ends if nothing follows.
    pub fn idle_end(&self, session: &Session<C>, now: DateTime<Utc>) -> DateTime<Utc> {
        (now + self.terms.idle).min(session.end)
    }

    fn sweep(&self, held: &mut HashMap<Key, Held<C>>, now: DateTime<Utc>) {
        held.retain(|_, held| now < held.seen + self.terms.idle && now < held.session.end);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Held<C>>> {
        self.held.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Live streams of one session: several pages of several tabs.
pub const STREAMS_PER_SESSION: usize = 16;

fn end_idlest<C>(held: &mut HashMap<Key, Held<C>>, of: impl Fn(&Held<C>) -> bool) {
    let idlest = held.iter().filter(|(_, held)| of(held)).min_by_key(|(_, held)| held.seen).map(|(key, _)| *key);
    if let Some(key) = idlest {
        held.remove(&key);
    }
}

fn key(secret: &str) -> Key {
    Sha256::digest(secret).into()
}

fn secret() -> String {
    let mut bytes = [0_u8; SECRET_BYTES];
    OsRng.try_fill_bytes(&mut bytes).expect("the system has random numbers");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const fn name_of_cookie(secure: bool) -> &'static str {
    if secure { SECURE_COOKIE } else { COOKIE }
}

/// Returns the secret in a `Cookie` header.
pub fn secret_in(cookies: &str, secure: bool) -> Option<&str> {
    let mut pairs = cookies.split(';').filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == name_of_cookie(secure)).map(|(_, value)| value)
}

/// Returns the `Set-Cookie` header that gives a secret; an empty one takes the cookie away.
pub fn cookie(secret: &str, secure: bool, longest: TimeDelta) -> String {
    let age = if secret.is_empty() { 0 } else { longest.num_seconds() };
    let name = name_of_cookie(secure);
    let secure = if secure { "; Secure" } else { "" };
    format!("{name}={secret}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age}{secure}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: TimeDelta = TimeDelta::minutes(1);

    fn identity(user: &str) -> Identity {
        Identity { user: user.to_owned(), groups: Vec::new() }
    }

    fn begin() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).expect("a moment")
    }

    #[test]
    fn a_session_lasts_while_it_is_used_and_ends_when_it_is_not() {
        let sessions = Sessions::new(Terms::default());
        let (secret, _) = sessions.begin(identity("ann"), (), begin());
        assert!(sessions.touch(&secret, begin() + MINUTE * 29).is_some());
        assert!(sessions.touch(&secret, begin() + MINUTE * 58).is_some());
        assert!(sessions.touch(&secret, begin() + MINUTE * 88).is_none());
        // It does not come back.
        assert!(sessions.touch(&secret, begin() + MINUTE * 58).is_none());
    }

    #[test]
    fn a_session_ends_in_any_case_at_last() {
        let sessions = Sessions::new(Terms::default());
        let (secret, session) = sessions.begin(identity("ann"), (), begin());
        for step in 1..32 {
            assert!(sessions.touch(&secret, begin() + MINUTE * 15 * step).is_some());
        }
        assert!(sessions.touch(&secret, begin() + TimeDelta::hours(8)).is_none());
        assert!(!sessions.holds(&session, begin() + TimeDelta::hours(8)));
    }

    #[test]
    fn only_the_secret_that_was_given_opens_a_session() {
        let sessions = Sessions::new(Terms::default());
        let (secret, session) = sessions.begin(identity("ann"), (), begin());
        assert_eq!(secret.len(), 64);
        assert!(sessions.touch(&secret, begin()).is_some());
        for wrong in ["", &secret[1..], &session.csrf, &"0".repeat(64)] {
            assert!(sessions.touch(wrong, begin()).is_none(), "{wrong}");
        }
        sessions.end(&secret);
        assert!(sessions.touch(&secret, begin()).is_none());
    }

    #[test]
    fn a_revoked_token_ends_its_session_and_no_other() {
        let sessions = Sessions::new(Terms::default());
        let (ann, session) = sessions.begin(identity("ann"), (), begin());
        let (bob, _) = sessions.begin(identity("bob"), (), begin());
        sessions.revoke(&session);
        assert!(sessions.touch(&ann, begin()).is_none());
        assert!(sessions.touch(&bob, begin()).is_some());
    }

    #[test]
    fn sessions_are_bounded_and_one_user_cannot_push_out_others() {
        let sessions = Sessions::new(Terms { most: 3, most_of_user: 2, ..Terms::default() });
        let (bob, _) = sessions.begin(identity("bob"), (), begin());
        let of_ann: Vec<String> =
            (1..=4).map(|minute| sessions.begin(identity("ann"), (), begin() + MINUTE * minute).0).collect();
        let alive = |secret: &String| sessions.touch(secret, begin() + MINUTE * 5).is_some();
        assert!(alive(&bob));
        assert_eq!(of_ann.iter().map(alive).collect::<Vec<_>>(), [false, false, true, true]);
    }

    #[test]
    fn a_csrf_token_is_that_of_its_session_alone() {
        let sessions = Sessions::new(Terms::default());
        let (secret, ann) = sessions.begin(identity("ann"), (), begin());
        let (_, bob) = sessions.begin(identity("bob"), (), begin());
        assert!(ann.has_csrf(&ann.csrf.clone()));
        for wrong in ["", &bob.csrf, &secret, &ann.csrf[1..]] {
            assert!(!ann.has_csrf(wrong), "{wrong}");
        }
    }

    #[test]
    fn the_cookie_is_kept_from_scripts_and_other_sites() {
        let set = cookie("abc", false, TimeDelta::hours(8));
        assert_eq!(set, "millrace_session=abc; Path=/; HttpOnly; SameSite=Strict; Max-Age=28800");
        let secure = "__Host-millrace_session=abc; Path=/; HttpOnly; SameSite=Strict; Max-Age=28800; Secure";
        assert_eq!(cookie("abc", true, TimeDelta::hours(8)), secure);
        assert_eq!(secret_in("theme=dark; millrace_session=abc", false), Some("abc"));
        assert_eq!(secret_in("xmillrace_session=abc", false), None);
        assert_eq!(secret_in("__Host-millrace_session=abc", true), Some("abc"));
        assert_eq!(secret_in("__Host-millrace_session=abc", false), None);
    }
}
