//! Store sets that are handed on: scenarios that leave the stores as they find them use one pipeline's stores one after
//! the other, each with fresh topics and tables. A set that a scenario did not leave clean is thrown away.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use millrace_api::IngestionRun;
use millrace_api::names::Component;
use millrace_stores::cassandra::open;
use tokio::sync::watch;

use crate::kafka::KafkaClient;
use crate::spec::KEYSPACE;
use crate::{Live, Spec, TestNamespace, eventually};

/// Longest that a set may take to be emptied.
const EMPTIED_WITHIN: Duration = Duration::from_secs(120);

/// Sets of one of each that are handed on beside each other. Of three of each there is one.
const MOST: usize = 2;

/// What a set is made of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// One of each store, as in [`Spec::one`].
    One,
    /// Three of each, as in [`Spec::three`].
    Three,
}

impl Kind {
    /// Returns the label of the sets' namespaces.
    pub const fn label(self) -> &'static str {
        match self {
            Self::One => "shared-one",
            Self::Three => "shared-three",
        }
    }

    /// Returns the pipeline that a set has between two scenarios: no workers, and nothing that they would want.
    fn at_rest(self) -> Spec {
        match self {
            Self::One => Spec::one(),
            Self::Three => Spec::three(),
        }
        .at_rest()
    }
}

/// The sets of a run. Clones are the same.
#[derive(Clone)]
pub struct Sets {
    all: Arc<watch::Sender<Vec<Set>>>,
    /// The namespace of the set that stays.
    pub attached: Option<String>,
}

#[derive(Clone, Debug)]
struct Set {
    kind: Kind,
    /// `None`: it is being made.
    namespace: Option<String>,
    is_free: bool,
}

/// What a scenario gets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Taken {
    /// A set that another scenario has left, in this namespace.
    Used(String),
    /// None: the scenario makes one.
    New,
}

impl Sets {
    /// Begins without a set. Where `attached` is a namespace, the one set of kind [`Kind::One`] is there, and stays.
    pub fn new(attached: Option<String>) -> Self {
        Self { all: Arc::new(watch::Sender::new(Vec::new())), attached }
    }

    /// Waits until a set is free, or another one may be made.
    pub async fn take(&self, kind: Kind) -> Taken {
        let most = match kind {
            Kind::One if self.attached.is_none() => MOST,
            Kind::One | Kind::Three => 1,
        };
        let mut changes = self.all.subscribe();
        loop {
            let mut taken = None;
            self.all.send_if_modified(|sets| {
                taken = take(sets, kind, most);
                taken.is_some()
            });
            match taken {
                Some(taken) => return taken,
                None => changes.changed().await.expect("these sets hold the sender"),
            }
        }
    }

    /// Hands a clean set on.
    pub fn hand_on(&self, kind: Kind, namespace: &str) {
        self.all.send_modify(|sets| {
            let is_ours = |set: &&mut Set| set.namespace.as_deref() == Some(namespace);
            let place = sets.iter().position(|set| set.kind == kind && set.namespace.is_none());
            if let Some(set) = sets.iter_mut().find(is_ours) {
                set.is_free = true;
            } else if let Some(place) = place {
                sets[place] = Set { kind, namespace: Some(namespace.to_owned()), is_free: true };
            }
        });
    }

    /// Throws a set away; `namespace` is none where it was never made.
    pub fn throw_away(&self, kind: Kind, namespace: Option<&str>) {
        self.all.send_modify(|sets| {
            let is_it = |set: &Set| namespace.is_some() && set.namespace.as_deref() == namespace;
            let is_new = |set: &Set| set.kind == kind && set.namespace.is_none();
            if let Some(place) = sets.iter().position(is_it).or_else(|| sets.iter().position(is_new)) {
                sets.remove(place);
            }
        });
    }
}

fn take(sets: &mut Vec<Set>, kind: Kind, most: usize) -> Option<Taken> {
    if let Some(set) = sets.iter_mut().find(|set| set.kind == kind && set.is_free) {
        set.is_free = false;
        return set.namespace.clone().map(Taken::Used);
    }
    let may_be_made = sets.iter().filter(|set| set.kind == kind).count() < most;
    may_be_made.then(|| {
        sets.push(Set { kind, namespace: None, is_free: false });
        Taken::New
    })
}

/// Begins to bring the pipeline of a set to rest, and does not wait for it.
pub async fn rest(namespace: &TestNamespace, kind: Kind) -> Result<()> {
    let spec = kind.at_rest();
    Live::found(namespace, &spec).change(&spec).await
}

/// Brings a pipeline to rest and empties its stores: no workers, no runs, no topics, no rows, no position of the group.
pub async fn empty(live: &Live, kind: Kind) -> Result<()> {
    live.change(&kind.at_rest()).await?;
    let client = || live.namespace.cluster.client.clone();
    let runs: Api<IngestionRun> = Api::namespaced(client(), &live.namespace.name);
    runs.delete_collection(&DeleteParams::background(), &ListParams::default()).await.context("cannot delete runs")?;
    // At rest the operator wants nothing of what is removed below.
    live.await_condition("TopicsReady", "True", "", EMPTIED_WITHIN).await?;
    live.await_condition("CassandraReady", "True", "", EMPTIED_WITHIN).await?;
    eventually("workers and runs are gone", EMPTIED_WITHIN, async || {
        let workers = [Component::Producer, Component::Processor, Component::Run];
        let mut pods: Vec<Pod> = Vec::new();
        for worker in workers {
            pods.extend(live.pods(worker).await?);
        }
        let left = runs.list(&ListParams::default()).await?.items;
        Ok((pods.is_empty() && left.is_empty()).then_some(()))
    })
    .await?;
    let emptied = async || {
        let mut kafka: KafkaClient = live.kafka().await?;
        kafka.delete_group().await?;
        kafka.delete_topics().await?;
        Ok(Some(()))
    };
    eventually("Kafka is emptied", EMPTIED_WITHIN, emptied).await?;
    let addresses = live.addresses(Component::Cassandra).await?;
    let address = addresses.values().next().context("no Cassandra node has an address")?;
    let session = open(*address).await.context("cannot reach Cassandra")?;
    let drop = format!("DROP KEYSPACE IF EXISTS {KEYSPACE}");
    session.query_unpaged(drop, ()).await.context("cannot drop the keyspace")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_clean_set_is_handed_on_and_another_is_thrown_away() {
        let sets = Sets::new(None);
        assert_eq!(sets.take(Kind::One).await, Taken::New);
        assert_eq!(sets.take(Kind::One).await, Taken::New);
        let third = sets.take(Kind::One);
        tokio::pin!(third);
        assert!(futures::poll!(&mut third).is_pending(), "two are in use");
        assert_eq!(sets.take(Kind::Three).await, Taken::New);
        sets.hand_on(Kind::One, "a");
        assert_eq!(third.await, Taken::Used("a".to_owned()));
        sets.throw_away(Kind::One, Some("a"));
        assert_eq!(sets.take(Kind::One).await, Taken::New);
        sets.hand_on(Kind::One, "b");
        assert_eq!(sets.take(Kind::One).await, Taken::Used("b".to_owned()));
    }

    #[tokio::test]
    async fn an_attached_namespace_has_the_only_set() {
        let sets = Sets::new(Some("mine".to_owned()));
        assert_eq!(sets.take(Kind::One).await, Taken::New);
        let second = sets.take(Kind::One);
        tokio::pin!(second);
        assert!(futures::poll!(&mut second).is_pending());
        sets.hand_on(Kind::One, "mine");
        assert_eq!(second.await, Taken::Used("mine".to_owned()));
    }
}
