//! Leadership by a Lease: of several operators exactly one reconciles.
//!
//! A holder renews; a candidate takes over once it has itself watched the Lease stand still for its whole duration, so
//! that clocks of different machines need not agree. Who loses the Lease must stop at once: [`Leadership::hold`] returns
//! then, and the process exits. What it had begun by then is stopped by the [`Fence`]. Every write carries the
//! resourceVersion that was read. Moves to `kube-leader-election` once that crate follows kube 5.
//!
//! A holder that dies is replaced within 15 s: 1 s until a candidate looks and sees the last renewal, 12 s while the Lease
//! stands still, 1 s until the candidate looks again, and 1 s for the answers to four requests, three reads and the write
//! that takes the Lease. A candidate that has just started does not know what was before, and waits as long. Two never
//! lead: a holder writes for 9 s after it asked for its last renewal, which a candidate cannot have seen earlier.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::answer::AskApi;

/// How long a Lease stands still before another may take it.
const DURATION: Duration = Duration::from_secs(12);
/// How often the holder renews, and the limit of a renewal and of a candidate's look.
const RENEWAL: Duration = Duration::from_secs(3);
/// How long the holder goes on after its last successful renewal, counted from when that was asked for.
const GIVE_UP: Duration = Duration::from_secs(9);
/// How long a candidate waits between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// Time between the end of one lead and the start of the next: for clocks that do not run equally fast, and for a request
/// that was sent in the last moment.
const MARGIN: Duration = Duration::from_secs(3);
/// Time for the answers of an API server that is not overloaded, in a failover as a whole.
const ANSWERS: Duration = Duration::from_secs(1);
/// Longest time from the death of a holder to the lead of a candidate that stands by.
const FAILOVER: Duration = Duration::from_secs(15);

const _: () = assert!(GIVE_UP.as_millis() + MARGIN.as_millis() <= DURATION.as_millis(), "two may lead");
const _: () = assert!(2 * RENEWAL.as_millis() < GIVE_UP.as_millis(), "one renewal without an answer ends the lead");
const _: () = assert!(
    LOOK.as_millis() + DURATION.as_millis() + LOOK.as_millis() + ANSWERS.as_millis() <= FAILOVER.as_millis(),
    "a failover takes too long"
);

/// Whether this operator may still write: noted by each renewal of the Lease, asked before each write.
///
/// A process that stood still, or whose renewals hang, must not go on with what it had begun: by the time it notices,
/// another may lead.
#[derive(Clone, Debug, Default)]
pub struct Fence(Arc<Mutex<Option<Instant>>>);

impl Fence {
    /// Returns whether the last renewal is young enough that nobody else can lead.
    #[expect(clippy::disallowed_methods, reason = "leadership is judged by this process's own steady clock")]
    pub fn is_open(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|renewed| renewed.elapsed() < GIVE_UP)
    }

    /// Notes a renewal by the moment it was asked for: it may have been granted any time since.
    pub fn renewed(&self, asked: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked);
    }

    /// Closes at once: the Lease is known to be another's.
    pub fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// What a candidate has seen of the Lease.
#[derive(Default)]
struct Seen {
    /// Its version, and since when it has had that. Absent: it has not looked yet.
    version: Option<(Option<String>, Instant)>,
    /// When another last renewed it. Absent: unknown.
    renewed: Option<DateTime<Utc>>,
}

/// The Lease, and who we are.
#[derive(Clone)]
pub struct Leadership {
    api: Api<Lease>,
    name: String,
    identity: String,
    fence: Fence,
}

impl Leadership {
    /// Names the Lease that operators of `namespace` share. `identity` must be unique among them.
    pub fn new(client: Client, namespace: &str, name: &str, identity: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity: identity.to_owned(),
            fence: Fence::default(),
        }
    }

    /// Returns what tells writers whether this operator still leads.
    pub fn fence(&self) -> Fence {
        self.fence.clone()
    }

    /// Waits until this operator holds the Lease. Returns when it was last renewed before, by the clock of the operator that
    /// did. `None`: unknown, as when there was no Lease.
    #[expect(clippy::disallowed_methods, reason = "leadership is judged by this process's own steady clock")]
    pub async fn acquire(&self) -> Option<DateTime<Utc>> {
        let mut seen = Seen::default();
        loop {
            let asked = Instant::now();
            // A look that hangs must not delay the next one. If it has taken the Lease without an answer, the next one finds
            // that the Lease is ours.
            match timeout(RENEWAL, self.try_acquire(&mut seen)).await {
                Ok(Ok(true)) => {
                    self.fence.renewed(asked);
                    return seen.renewed;
                }
                Ok(Ok(false)) => {}
                Ok(Err(error)) => tracing::warn!(%error, "cannot read or take the lease"),
                Err(_) => tracing::warn!("the API server did not return the lease"),
            }
            sleep(LOOK).await;
        }
    }

    /// Renews until the Lease is lost; then the caller must stop at once.
    #[expect(clippy::disallowed_methods, reason = "leadership is judged by this process's own steady clock")]
    pub async fn hold(&self) {
        let mut next = Instant::now() + RENEWAL;
        loop {
            sleep_until(next).await;
            let asked = Instant::now();
            // After a renewal that hung for its whole limit, the next one is due at once.
            next = asked + RENEWAL;
            match timeout(RENEWAL, self.renew()).await {
                Ok(Ok(true)) => self.fence.renewed(asked),
                Ok(Ok(false)) => {
                    self.fence.close();
                    return tracing::error!("another operator took the lease");
                }
                Ok(Err(error)) => tracing::warn!(error = %AskApi::from(error), "cannot renew the lease"),
                Err(_) => tracing::warn!("the API server did not answer the renewal of the lease"),
            }
            if !self.fence.is_open() {
                return tracing::error!("the lease could not be renewed in time");
            }
        }
    }

    /// Gives the Lease up, so that another takes over without waiting.
    pub async fn release(&self) {
        let released = async {
            let Some(mut lease) = self.api.get_opt(&self.name).await? else {
                return Ok(());
            };
            if self.is_held_by_us(&lease) {
                lease.spec.get_or_insert_default().holder_identity = None;
                self.api.replace(&self.name, &PostParams::default(), &lease).await?;
            }
            Ok::<_, kube::Error>(())
        };
        if let Err(error) = released.await {
            tracing::warn!(error = %AskApi::from(error), "cannot release the lease");
        }
    }

    /// Takes the Lease if nobody holds it, or if its holder has not renewed while we watched.
    #[expect(clippy::disallowed_methods, reason = "leadership is judged by this process's own steady clock")]
    async fn try_acquire(&self, seen: &mut Seen) -> Result<bool, kube::Error> {
        let Some(mut lease) = self.api.get_opt(&self.name).await? else {
            let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
            let lease = Lease { metadata, spec: Some(self.spec(0)) };
            return self.wrote(self.api.create(&PostParams::default(), &lease).await);
        };
        let version = lease.metadata.resource_version.clone();
        let stood_still = match &seen.version {
            Some((before, since)) if *before == version => since.elapsed() >= DURATION,
            _ => {
                seen.version = Some((version, Instant::now()));
                false
            }
        };
        // One that has become ours meanwhile was taken by a look without an answer.
        if seen.renewed.is_none() || !self.is_held_by_us(&lease) {
            seen.renewed = renewal_of(&lease);
        }
        let free = lease.spec.as_ref().is_none_or(|spec| spec.holder_identity.as_deref().unwrap_or("").is_empty());
        if !(free || stood_still || self.is_held_by_us(&lease)) {
            return Ok(false);
        }
        let transitions = lease.spec.as_ref().and_then(|spec| spec.lease_transitions).unwrap_or(0);
        lease.spec = Some(self.spec(transitions + 1));
        self.wrote(self.api.replace(&self.name, &PostParams::default(), &lease).await)
    }

    async fn renew(&self) -> Result<bool, kube::Error> {
        let Some(mut lease) = self.api.get_opt(&self.name).await? else {
            return Ok(false);
        };
        if !self.is_held_by_us(&lease) {
            return Ok(false);
        }
        lease.spec.get_or_insert_default().renew_time = Some(now());
        self.wrote(self.api.replace(&self.name, &PostParams::default(), &lease).await)
    }

    /// A conflict means that somebody else wrote first.
    fn wrote(&self, answer: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
        match answer {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn is_held_by_us(&self, lease: &Lease) -> bool {
        lease.spec.as_ref().is_some_and(|spec| spec.holder_identity.as_deref() == Some(&self.identity))
    }

    fn spec(&self, transitions: i32) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(DURATION.as_secs() as i32),
            acquire_time: Some(now()),
            renew_time: Some(now()),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }
}

fn renewal_of(lease: &Lease) -> Option<DateTime<Utc>> {
    let renewed = lease.spec.as_ref()?.renew_time.as_ref()?;
    DateTime::from_timestamp(renewed.0.as_second(), 0)
}

fn now() -> MicroTime {
    MicroTime(Timestamp::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fence_is_open_only_after_a_recent_renewal() {
        let fence = Fence::default();
        assert!(!fence.is_open());
        fence.renewed(Instant::now());
        assert!(fence.clone().is_open());
        fence.renewed(Instant::now().checked_sub(GIVE_UP).expect("the machine has run for some seconds"));
        assert!(!fence.is_open());
    }

    #[test]
    fn the_fence_closes_at_once_when_the_lease_is_anothers() {
        let fence = Fence::default();
        fence.renewed(Instant::now());
        fence.close();
        assert!(!fence.is_open());
    }
}
