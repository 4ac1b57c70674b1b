//! What every road stands on: the watches that wake it, and one pass at a time over one object, guarded.
//!
//! A pass is a span of its own and is counted. One that panics is a bug that one object brings out, and must not end the
//! operator for all others. One that failed is repeated after a wait that grows; one object delays no other. Objects are
//! watched by their metadata alone: a pass reads what it decides upon itself.

use std::any::Any;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use kube::core::{ApiResource, DynamicObject, DynamicResourceScope, PartialObjectMeta};
use kube::runtime::controller::{self, Action, Config, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::reflector::store::Writer;
use kube::runtime::{Predicate, PredicateConfig, WatchStreamExt, predicates, reflector, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use millrace_terms::causes::chain_of;
use tracing::{Instrument, Span};

use crate::labels::MANAGED_SELECTOR;
use crate::telemetry::{Ended, Telemetry};

/// First and longest wait after a failed pass.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// An object of any kind, as far as its watch tells.
pub type Watched = PartialObjectMeta<DynamicObject>;

/// What a watch tells.
pub type Events<K> = BoxStream<'static, watcher::Result<watcher::Event<K>>>;

/// Which object a pass is about.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Key {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// How a pass went.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Passed {
    /// How it ended.
    pub ended: Ended,
    /// How long to wait when nothing else wakes us. Absent: until something changes. After a failure the road decides.
    pub wait: Option<Duration>,
}

/// Why a pass ended early.
pub type Failed = Box<dyn Error + Send + Sync>;

/// Walks one pass over an object.
pub type Pass = Box<dyn Fn(Key) -> BoxFuture<'static, Result<Passed, Failed>> + Send + Sync>;

/// A road: what is done with each of its objects.
pub struct Road {
    /// Its name in metrics.
    pub name: &'static str,
    /// How a pass is told of in the log.
    pub span: fn(&Key) -> Span,
    /// Walks one pass.
    pub pass: Pass,
    /// Forgets an object that is gone.
    pub forget: Box<dyn Fn(&Key) + Send + Sync>,
    /// Where passes are counted.
    pub telemetry: Telemetry,
}

/// Consecutive failures by object, for the backoff.
#[derive(Debug, Default)]
struct Failures(Mutex<BTreeMap<Key, u32>>);

impl Failures {
    fn next_wait(&self, key: &Key) -> Duration {
        let mut counts = self.0.lock().expect("no holder of this lock panics");
        let count = counts.entry(key.clone()).or_default();
        *count += 1;
        let (first, longest) = BACKOFF;
        let ceiling = first.saturating_mul(1 << (*count).min(10)).min(longest);
        ceiling.mul_f64(rand::random_range(0.5..1.0))
    }

    fn forget(&self, key: &Key) {
        self.0.lock().expect("no holder of this lock panics").remove(key);
    }
}

/// What the watches of a road have in common: whom they ask, and about which namespace.
pub struct Watches<'a> {
    /// The API server.
    pub client: &'a Client,
    /// The namespace. Absent: all.
    pub namespace: Option<&'a str>,
}

impl Watches<'_> {
    /// Returns a controller of the objects of a kind. Writes of their status wake nobody: ours would wake ourselves.
    pub fn controller<K: Resource<DynamicType = ()>>(&self, config: Config) -> Controller<Watched> {
        let resource = ApiResource::erase::<K>(&());
        let writer = Writer::<Watched>::new(resource.clone());
        let cache = writer.as_reader();
        let objects = reflector(writer, self.watch(&resource, watcher::Config::default()))
            .applied_objects()
            .predicate_filter(predicates::generation.combine(predicates::annotations), PredicateConfig::default());
        Controller::for_stream_with(objects, cache, resource).with_config(config)
    }

    /// Lets changes of our objects of a kind wake their owners.
    pub fn owned(&self, controller: Controller<Watched>, resource: ApiResource) -> Controller<Watched> {
        let objects = self.watch(&resource, ours()).touched_objects();
        controller.owns_stream_with(objects, resource)
    }

    /// Watches the metadata of all objects of a kind.
    pub fn watch(&self, resource: &ApiResource, config: watcher::Config) -> Events<Watched> {
        watcher(self.api(resource), config).boxed()
    }

    /// Watches all objects of a kind, for those of which the metadata do not say enough.
    pub fn watch_whole(&self, resource: &ApiResource, config: watcher::Config) -> Events<DynamicObject> {
        watcher(self.api(resource), config).boxed()
    }

    fn api<K>(&self, resource: &ApiResource) -> Api<K>
    where
        K: Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>,
    {
        match self.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, resource),
            None => Api::all_with(self.client.clone(), resource),
        }
    }
}

/// Returns what selects our own objects in a watch.
pub fn ours() -> watcher::Config {
    watcher::Config::default().labels(MANAGED_SELECTOR)
}

/// Walks a road until the process ends.
pub async fn keep(road: Road, controller: Controller<Watched>) {
    let walker = Arc::new(Walker { road, failures: Failures::default() });
    controller
        .run(reconcile, |_, error, _| match *error {}, Arc::clone(&walker))
        .for_each(|outcome| {
            match outcome {
                Ok(_) => {}
                Err(controller::Error::ObjectNotFound(gone)) => walker.forget(&gone),
                // What is left are watches that begin anew.
                Err(error) => tracing::debug!(%error, road = walker.road.name, "controller"),
            }
            std::future::ready(())
        })
        .await;
}

struct Walker {
    road: Road,
    failures: Failures,
}

impl Walker {
    /// Forgets an object that is not there any more; the controller asks for no pass over it.
    fn forget(&self, gone: &ObjectRef<DynamicObject>) {
        let key = Key { namespace: gone.namespace.clone().unwrap_or_default(), name: gone.name.clone() };
        self.failures.forget(&key);
        (self.road.forget)(&key);
    }

    /// Walks one pass, guarded. Returns how long to wait when nothing else wakes us.
    #[expect(clippy::disallowed_methods, reason = "passes are timed")]
    async fn guard(&self, key: &Key) -> Option<Duration> {
        let span = (self.road.span)(key);
        let begun = Instant::now();
        let pass = async { (self.road.pass)(key.clone()).await };
        let Passed { ended, wait } = match AssertUnwindSafe(pass).catch_unwind().instrument(span.clone()).await {
            Ok(Ok(passed)) => passed,
            Ok(Err(error)) => {
                tracing::error!(parent: &span, error = %chain_of(error.as_ref()), "reconcile failed");
                Passed { ended: Ended::Failed, wait: None }
            }
            Err(panic) => {
                let message = text_of(panic.as_ref());
                tracing::error!(parent: &span, message, "the reconcile panicked, which is a bug");
                Passed { ended: Ended::Failed, wait: None }
            }
        };
        self.road.telemetry.reconciled(self.road.name, ended, begun.elapsed());
        if ended == Ended::Failed {
            return Some(self.failures.next_wait(key));
        }
        self.failures.forget(key);
        wait
    }
}

async fn reconcile(watched: Arc<Watched>, walker: Arc<Walker>) -> Result<Action, Infallible> {
    let key = Key { namespace: watched.namespace().unwrap_or_default(), name: watched.name_any() };
    Ok(walker.guard(&key).await.map_or_else(Action::await_change, Action::requeue))
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_longer_after_each_failure_and_begins_anew_after_a_success() {
        let (failures, key) = (Failures::default(), Key { namespace: "data".to_owned(), name: "users".to_owned() });
        for ceiling in [2, 4, 8, 16, 32, 60, 60] {
            let (wait, ceiling) = (failures.next_wait(&key), Duration::from_secs(ceiling));
            assert!(ceiling / 2 <= wait && wait <= ceiling, "{wait:?} of at most {ceiling:?}");
        }
        let other = Key { name: "orders".to_owned(), ..key.clone() };
        assert!(failures.next_wait(&other) <= Duration::from_secs(2), "another object's failures are its own");
        failures.forget(&key);
        assert!(failures.next_wait(&key) <= Duration::from_secs(2));
    }
}
