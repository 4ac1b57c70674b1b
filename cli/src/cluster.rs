//! The API server by the user's kubeconfig, and which pipeline is meant when none is named.

use k8s_openapi::NamespaceResourceScope;
use kube::api::ListParams;
use kube::config::KubeConfigOptions;
use kube::{Api, Client, Config, Resource, ResourceExt};
use millrace_api::StreamingPipeline;
use millrace_api::names::Names;

use crate::Failure;
use crate::arguments::Common;

/// Longest that a connection to the API server may take to be made.
const CONNECT_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);

/// A cluster and the namespace that is looked at.
#[derive(Clone)]
pub struct Cluster {
    /// The API server.
    pub client: Client,
    /// The namespace.
    pub namespace: String,
    /// Who the user is, and where the server.
    pub config: Config,
}

impl Cluster {
    /// Makes a client by the kubeconfig; asks nothing yet.
    pub async fn connect(common: &Common) -> Result<Self, Failure> {
        let configured = match &common.context {
            Some(context) => {
                let options = KubeConfigOptions { context: Some(context.clone()), ..KubeConfigOptions::default() };
                Config::from_kubeconfig(&options).await.map_err(configuring)
            }
            None => Config::infer().await.map_err(configuring),
        };
        let mut config = configured?;
        config.connect_timeout = Some(CONNECT_WITHIN);
        let namespace = common.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config.clone()).map_err(configuring)?;
        Ok(Self { client, namespace, config })
    }

    /// Returns objects of the namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Returns objects of the namespace, or of all.
    pub fn api_of<K>(&self, all_namespaces: bool) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        if all_namespaces { Api::all(self.client.clone()) } else { self.api() }
    }

    /// Returns the pipelines of the namespace, or of all, by name.
    pub async fn pipelines(&self, all_namespaces: bool) -> Result<Vec<StreamingPipeline>, Failure> {
        let listed = self.api_of::<StreamingPipeline>(all_namespaces).list(&ListParams::default()).await;
        let mut pipelines = listed.map_err(Failure::asking("list pipelines"))?.items;
        pipelines.sort_by_key(|pipeline| (pipeline.namespace(), pipeline.name_any()));
        Ok(pipelines)
    }

    /// Returns the named pipeline, or the only one of the namespace.
    pub async fn pipeline(&self, name: Option<&str>) -> Result<StreamingPipeline, Failure> {
        self.pipeline_with(name, "", |_| true).await
    }

    /// Returns the named pipeline, or the only one of the namespace that has what is looked for: `what`, such as
    /// `topic 'users'`.
    pub async fn pipeline_with(
        &self,
        name: Option<&str>,
        what: &str,
        has: impl Fn(&StreamingPipeline) -> bool,
    ) -> Result<StreamingPipeline, Failure> {
        if let Some(name) = name {
            let found = self.api::<StreamingPipeline>().get_opt(name).await;
            let found = found.map_err(Failure::asking(format!("read pipeline '{name}'")))?;
            return found.ok_or_else(|| {
                Failure::mistake(format!("there is no pipeline '{name}' in namespace '{}'", self.namespace))
            });
        }
        only(self.pipelines(false).await?, &self.namespace, what, has).map_err(Failure::mistake)
    }
}

/// Returns the names that are derived from a pipeline.
pub fn names_of(pipeline: &StreamingPipeline) -> Names {
    Names::new(pipeline.namespace().unwrap_or_default(), pipeline.name_any())
}

fn configuring(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::Configure { source: Box::new(error) }
}

fn only(
    pipelines: Vec<StreamingPipeline>,
    namespace: &str,
    what: &str,
    has: impl Fn(&StreamingPipeline) -> bool,
) -> Result<StreamingPipeline, String> {
    let list =
        |pipelines: &[StreamingPipeline]| pipelines.iter().map(ResourceExt::name_any).collect::<Vec<_>>().join(", ");
    if pipelines.is_empty() {
        return Err(format!("there is no pipeline in namespace '{namespace}'; choose another with -n"));
    }
    let all = list(&pipelines);
    let mut fitting: Vec<StreamingPipeline> = pipelines.into_iter().filter(has).collect();
    match (fitting.pop(), fitting.is_empty()) {
        (Some(found), true) => Ok(found),
        (Some(last), false) => {
            fitting.push(last);
            let which = if what.is_empty() { String::new() } else { format!(" with {what}") };
            Err(format!("namespace '{namespace}' has several pipelines{which}: {}; name one", list(&fitting)))
        }
        (None, _) => Err(format!("no pipeline of namespace '{namespace}' has {what}; there are: {all}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipelines(names: &[&str]) -> Vec<StreamingPipeline> {
        let sample = include_str!("../../e2e/samples/accepted/one-of-each.yaml");
        let one: StreamingPipeline = serde_yaml::from_str(sample).expect("the sample is a pipeline");
        let named = |name: &&str| {
            let mut pipeline = one.clone();
            pipeline.metadata.name = Some((*name).to_owned());
            pipeline
        };
        names.iter().map(named).collect()
    }

    fn chosen(names: &[&str], has: impl Fn(&StreamingPipeline) -> bool) -> Result<String, String> {
        only(pipelines(names), "shop", "topic 't'", has).map(|pipeline| pipeline.name_any())
    }

    #[test]
    fn takes_the_only_one_and_asks_back_otherwise() {
        assert_eq!(chosen(&["a"], |_| true), Ok("a".to_owned()));
        assert_eq!(chosen(&["a", "b"], |pipeline| pipeline.name_any() == "b"), Ok("b".to_owned()));
        let wrong = |names: &[&str], all: bool| chosen(names, |_| all).expect_err("nothing is meant");
        assert_eq!(wrong(&["a", "b"], true), "namespace 'shop' has several pipelines with topic 't': a, b; name one");
        assert_eq!(wrong(&["a", "b"], false), "no pipeline of namespace 'shop' has topic 't'; there are: a, b");
        assert_eq!(wrong(&[], true), "there is no pipeline in namespace 'shop'; choose another with -n");
    }
}
