//! The objects of one component, by kind, and what all components make them with.
//!
//! `scope` has names, labels, Services and budgets, `pod` the pods and their StatefulSets, `user_defined` what the user adds
//! to them, `network` who may talk to whom.

pub mod network;
pub mod pod;
pub mod properties;
pub mod scope;
pub mod user_defined;

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

/// Objects of one component, by kind. What takes them all, `extend`, `apply` and `drift`, names them without `..`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Objects {
    /// Identities of pods; none may use the Kubernetes API.
    pub service_accounts: Vec<ServiceAccount>,
    /// Configuration.
    pub config_maps: Vec<ConfigMap>,
    /// Headless and client Services.
    pub services: Vec<Service>,
    /// Who may talk to whom.
    pub network_policies: Vec<NetworkPolicy>,
    /// At most one member down by choice.
    pub disruption_budgets: Vec<PodDisruptionBudget>,
    /// Stores and producers.
    pub stateful_sets: Vec<StatefulSet>,
    /// Processors.
    pub deployments: Vec<Deployment>,
}

impl Objects {
    /// Returns whether there is no object.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns how many objects there are.
    pub fn len(&self) -> usize {
        let Self {
            service_accounts,
            config_maps,
            services,
            network_policies,
            disruption_budgets,
            stateful_sets,
            deployments,
        } = self;
        service_accounts.len()
            + config_maps.len()
            + services.len()
            + network_policies.len()
            + disruption_budgets.len()
            + stateful_sets.len()
            + deployments.len()
    }

    /// Takes over the objects of another.
    pub fn extend(&mut self, other: Self) {
        let Self {
            service_accounts,
            config_maps,
            services,
            network_policies,
            disruption_budgets,
            stateful_sets,
            deployments,
        } = other;
        self.service_accounts.extend(service_accounts);
        self.config_maps.extend(config_maps);
        self.services.extend(services);
        self.network_policies.extend(network_policies);
        self.disruption_budgets.extend(disruption_budgets);
        self.stateful_sets.extend(stateful_sets);
        self.deployments.extend(deployments);
    }
}
