//! What the API server has, and what the user may do. What may not be read is known to be so.

use std::fmt::Debug;

use futures::future::join_all;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
    ValidatingWebhookConfiguration,
};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::{Namespace, Node};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::version::Info;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use serde::de::DeserializeOwned;

use super::super::Context;
use crate::Failure;
use crate::arguments::Check;

/// Names of the resource definitions.
pub(super) const DEFINITIONS: [&str; 2] = ["streamingpipelines.millrace.dev", "ingestionruns.millrace.dev"];
/// Selects what the chart makes.
const PART_OF: &str = "app.kubernetes.io/part-of=millrace";
/// Selects the Deployment of the operator.
const OPERATOR: &str = "app.kubernetes.io/part-of=millrace,app.kubernetes.io/component=operator";

const RBAC: &str = "rbac.authorization.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";

/// What the chart makes: group, resource, and whether it is in the release's namespace.
const INSTALLED: [(&str, &str, bool); 12] = [
    ("apiextensions.k8s.io", "customresourcedefinitions", false),
    (RBAC, "clusterroles", false),
    (RBAC, "clusterrolebindings", false),
    (ADMISSION, "validatingadmissionpolicies", false),
    (ADMISSION, "validatingadmissionpolicybindings", false),
    ("apps", "deployments", true),
    ("", "services", true),
    ("", "serviceaccounts", true),
    // Where helm keeps what it has installed.
    ("", "secrets", true),
    (RBAC, "roles", true),
    (RBAC, "rolebindings", true),
    ("networking.k8s.io", "networkpolicies", true),
];

/// Something that was asked for.
#[derive(Clone, Debug)]
pub(super) enum Known<T> {
    /// It is there.
    Read(T),
    /// The right to do so is missing, such as `list nodes`.
    Forbidden(String),
    /// It cannot be had, for this reason.
    Failed(String),
}

impl<T> Known<T> {
    /// Reads an answer to an attempt to do `what`.
    fn of(answer: Result<T, kube::Error>, what: &str) -> Self {
        match answer {
            Ok(value) => Self::Read(value),
            Err(kube::Error::Api(status)) if matches!(status.code, 401 | 403) => Self::Forbidden(what.to_owned()),
            Err(error) => Self::Failed(Failure::asking(what)(error).chain()),
        }
    }
}

/// What is known of the cluster.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// Namespace of the pipelines.
    pub(super) namespace: String,
    /// Namespace of the release.
    pub(super) release_namespace: String,
    /// StorageClass that pipelines name. `None`: the default one.
    pub(super) storage_class: Option<String>,
    /// Address of the API server.
    pub(super) server: String,
    pub(super) version: Known<Info>,
    /// `None`: the API server does not answer, so nothing else was asked for.
    pub(super) objects: Option<Objects>,
}

/// What the API server has.
#[derive(Clone, Debug)]
pub(super) struct Objects {
    /// What installing takes, such as `create deployments`, and whether the user may do it.
    pub(super) rights: Vec<(String, Known<bool>)>,
    /// Whether the user may give rights that they do not have themselves.
    pub(super) escalate: Known<bool>,
    pub(super) classes: Known<Vec<StorageClass>>,
    pub(super) nodes: Known<Vec<Node>>,
    /// The namespace of the pipelines.
    pub(super) place: Known<Option<Namespace>>,
    /// In the order of [`DEFINITIONS`].
    pub(super) definitions: [Known<Option<CustomResourceDefinition>>; 2],
    pub(super) operators: Known<Vec<Deployment>>,
    pub(super) policies: Known<Vec<ValidatingAdmissionPolicy>>,
    pub(super) bindings: Known<Vec<ValidatingAdmissionPolicyBinding>>,
    pub(super) mutating: Known<Vec<MutatingWebhookConfiguration>>,
    pub(super) validating: Known<Vec<ValidatingWebhookConfiguration>>,
}

/// Reads what there is.
pub(super) async fn read(context: &Context<'_>, flags: &Check) -> Facts {
    let cluster = &context.cluster;
    let version = Known::of(cluster.client.apiserver_version().await, "read the version of the API server");
    // Each further question would wait as long.
    let objects = match version {
        Known::Failed(_) => None,
        Known::Read(_) | Known::Forbidden(_) => {
            Some(objects(&cluster.client, &cluster.namespace, &flags.release_namespace).await)
        }
    };
    Facts {
        namespace: cluster.namespace.clone(),
        release_namespace: flags.release_namespace.clone(),
        storage_class: flags.storage_class.clone(),
        server: cluster.config.cluster_url.to_string(),
        version,
        objects,
    }
}

async fn objects(client: &Client, namespace: &str, release: &str) -> Objects {
    let (all, ours) = (ListParams::default(), ListParams::default().labels(PART_OF));
    let places: Api<Namespace> = Api::all(client.clone());
    let place = async { Known::of(places.get_opt(namespace).await, &format!("get namespace '{namespace}'")) };
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let definition = async |name: &str| Known::of(definitions.get_opt(name).await, "get customresourcedefinitions");
    let [pipelines, runs] = DEFINITIONS;
    let cluster_wide = tokio::join!(
        list::<StorageClass>(Api::all(client.clone()), &all, "list storageclasses"),
        list::<Node>(Api::all(client.clone()), &all, "list nodes"),
        list::<ValidatingAdmissionPolicy>(Api::all(client.clone()), &ours, "list validatingadmissionpolicies"),
        list::<ValidatingAdmissionPolicyBinding>(
            Api::all(client.clone()),
            &ours,
            "list validatingadmissionpolicybindings"
        ),
        list::<MutatingWebhookConfiguration>(Api::all(client.clone()), &all, "list mutatingwebhookconfigurations"),
        list::<ValidatingWebhookConfiguration>(Api::all(client.clone()), &all, "list validatingwebhookconfigurations"),
    );
    let (classes, nodes, policies, bindings, mutating, validating) = cluster_wide;
    let (place, pipelines, runs, operators, rights, escalate) = tokio::join!(
        place,
        definition(pipelines),
        definition(runs),
        operators(client, release),
        rights(client, release),
        may(client, "escalate", RBAC, "clusterroles", None),
    );
    Objects {
        rights,
        escalate,
        classes,
        nodes,
        place,
        definitions: [pipelines, runs],
        operators,
        policies,
        bindings,
        mutating,
        validating,
    }
}

async fn list<K>(api: Api<K>, params: &ListParams, what: &str) -> Known<Vec<K>>
where
    K: Clone + DeserializeOwned + Debug,
{
    Known::of(api.list(params).await.map(|listed| listed.items), what)
}

/// Looks for the operator everywhere, or, where that is not allowed, in the release's namespace.
async fn operators(client: &Client, release: &str) -> Known<Vec<Deployment>> {
    let operator = ListParams::default().labels(OPERATOR);
    match list::<Deployment>(Api::all(client.clone()), &operator, "list deployments").await {
        Known::Forbidden(_) => list(Api::namespaced(client.clone(), release), &operator, "list deployments").await,
        known => known,
    }
}

/// Asks for the rights that installing and upgrading take.
async fn rights(client: &Client, release: &str) -> Vec<(String, Known<bool>)> {
    let asked = INSTALLED.into_iter().flat_map(|what| ["create", "patch"].map(|verb| (verb, what)));
    let asked = asked.map(|(verb, (group, resource, is_namespaced))| async move {
        let namespace = is_namespaced.then_some(release);
        (format!("{verb} {resource}"), may(client, verb, group, resource, namespace).await)
    });
    join_all(asked).await
}

async fn may(client: &Client, verb: &str, group: &str, resource: &str, namespace: Option<&str>) -> Known<bool> {
    let attributes = ResourceAttributes {
        group: Some(group.to_owned()),
        resource: Some(resource.to_owned()),
        verb: Some(verb.to_owned()),
        namespace: namespace.map(str::to_owned),
        ..ResourceAttributes::default()
    };
    let spec =
        SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..SelfSubjectAccessReviewSpec::default() };
    let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let answer = api.create(&PostParams::default(), &review).await;
    Known::of(answer.map(|review| review.status.is_some_and(|status| status.allowed)), "check your rights")
}
