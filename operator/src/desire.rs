//! `Pipeline` + `Inputs` → `Desired`: every object the pipeline shall have. Pure, and cannot fail: what could fail has
//! failed in `validate`.
//!
//! Each room has the objects of its store, and the scripts and configuration as real files under its `files/`.

use k8s_openapi::api::core::v1::ServiceAccount;
use millrace_api::Pipeline;
use millrace_api::crd::status::StreamingPipelineStatus;
use millrace_api::names::Component;

use crate::cassandra::nodes;
use crate::cassandra::repair::is_switched_on;
use crate::cassandra::ring::replication_factor;
use crate::objects::scope::{Administration, Inputs, Scope, owned_metadata};
use crate::objects::{Objects, network};
use crate::observed::Observed;
use crate::scale::Scale;
use crate::{cassandra, kafka, workers, zookeeper};

/// Gathers what the objects depend on; `scale` is what that step decided, `status` is what the pass before reported.
pub fn inputs(
    pipeline: &Pipeline,
    observed: &Observed,
    status: Option<&StreamingPipelineStatus>,
    scale: &Scale,
    administration: Administration,
) -> Inputs {
    let topics = status.and_then(|status| status.kafka.as_ref()).map_or(&[][..], |kafka| &kafka.topics);
    let bases = topics.iter().map(|topic| (topic.name.clone(), topic.write_timestamp_base));
    Inputs {
        replicas: scale.replicas.clone(),
        write_timestamp_bases: bases.collect(),
        replication_factor: replication_factor(pipeline, observed, status)
            .unwrap_or_else(|| pipeline.cassandra.replication_factor.of_new()),
        has_repair_scheduler: is_switched_on(pipeline, observed, status),
        nodes: nodes::file(pipeline, observed),
        ensemble: scale.membership.ensemble.clone(),
        administration,
    }
}

/// Every object of a pipeline, by component.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Desired {
    /// What no component owns: the service account of all pods, the default-deny NetworkPolicy and that of runs.
    pub shared: Objects,
    /// The ensemble's objects.
    pub zookeeper: Objects,
    /// The brokers' objects.
    pub kafka: Objects,
    /// The nodes' objects; one StatefulSet per rack.
    pub cassandra: Objects,
    /// The producers' objects.
    pub producer: Objects,
    /// The processors' objects; `None` until every write-timestamp base is known.
    pub processor: Option<Objects>,
}

/// Returns every object that the pipeline shall have.
pub fn desire(pipeline: &Pipeline, inputs: &Inputs) -> Desired {
    let administration = &inputs.administration;
    let scope = |component| Scope { pipeline, component, administration };
    // Of a store that someone else runs there is nothing.
    let of_store = |component, objects: fn(&Scope<'_>, &Inputs) -> Objects| match pipeline.manages(component) {
        true => objects(&scope(component), inputs),
        false => Objects::default(),
    };
    Desired {
        shared: shared(&scope(Component::Run)),
        zookeeper: of_store(Component::ZooKeeper, zookeeper::objects::objects),
        kafka: of_store(Component::Kafka, kafka::objects::objects),
        cassandra: of_store(Component::Cassandra, cassandra::objects::objects),
        producer: workers::objects::producer(&scope(Component::Producer), inputs),
        processor: workers::objects::processor(&scope(Component::Processor), inputs),
    }
}

fn shared(scope: &Scope<'_>) -> Objects {
    let pipeline = scope.pipeline;
    let account = ServiceAccount {
        metadata: owned_metadata(pipeline, pipeline.names.shared()),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    };
    Objects {
        service_accounts: vec![account],
        network_policies: vec![network::deny_all(pipeline), workers::objects::runs_policy(scope)],
        ..Objects::default()
    }
}
