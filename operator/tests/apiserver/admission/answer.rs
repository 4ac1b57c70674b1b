//! A scratch namespace, and what the API server answers to a sample in it.

use std::fmt;

use kube::api::{Api, DeleteParams, PostParams};
use kube::core::{ApiResource, DynamicObject};
use kube::{Client, CustomResourceExt, ResourceExt};
use millrace_api::{IngestionRun, StreamingPipeline};
use serde_json::{Value, json};

use super::PATIENCE;
use super::sample::{Refusal, Sample};
use crate::server::{Who, make_namespace, server};

/// What the API server said.
pub enum Answer {
    /// Accepted, and this is what it would store.
    Accepted(Value),
    /// Refused, for these reasons.
    Refused(Vec<Fault>),
    /// The sample could not even be tried.
    NotTried(String),
}

/// One reason of a refusal.
pub struct Fault {
    /// Path of the field; empty where the server gives none.
    field: String,
    message: String,
}

impl Fault {
    /// Returns whether this is the expected reason: at the field, or where the server gives no field, naming it.
    pub fn fits(&self, refusal: &Refusal) -> bool {
        let here = self.field == refusal.path || (self.field.is_empty() && self.message.contains(&refusal.path));
        here && self.message.contains(&refusal.says)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted(_) => f.write_str("accepted"),
            Self::NotTried(error) => write!(f, "not tried: {error}"),
            Self::Refused(faults) => {
                let faults: Vec<String> =
                    faults.iter().map(|Fault { field, message }| format!("[{field}] {message}")).collect();
                f.write_str(&faults.join("; "))
            }
        }
    }
}

/// A scratch namespace.
pub struct Scratch {
    client: Client,
    namespace: String,
}

impl Scratch {
    /// Makes the namespace.
    pub async fn make(namespace: &str) -> Self {
        let made = async {
            let client = server().await?.client(Who::Everybody).await?;
            make_namespace(&client, namespace).await?;
            anyhow::Ok(client)
        };
        Self { client: made.await.expect("the API server is there"), namespace: namespace.to_owned() }
    }

    /// Tries a sample: creates it by dry run, or creates its first document and updates it to the second by dry run.
    pub async fn attempt(&self, sample: &Sample) -> Answer {
        let tried = tokio::time::timeout(PATIENCE, async {
            match sample.documents.as_slice() {
                [document] => self.send(true, document).await,
                [first, second] => self.update(first, second).await,
                documents => Answer::NotTried(format!("has {} documents", documents.len())),
            }
        });
        tried.await.unwrap_or_else(|_| Answer::NotTried("the API server does not answer".to_owned()))
    }

    async fn update(&self, first: &Value, second: &Value) -> Answer {
        match self.send(false, first).await {
            Answer::Accepted(_) => {}
            other => return Answer::NotTried(format!("the first document is not accepted: {other}")),
        }
        let name = first["metadata"]["name"].as_str().unwrap_or_default();
        let answer = self.replace(name, second).await;
        if let Err(error) = self.api(first).delete(name, &DeleteParams::default()).await {
            return Answer::NotTried(format!("cannot delete the first document: {error}"));
        }
        answer
    }

    /// Replaces by dry run, again when somebody else, such as an operator's status, came between.
    async fn replace(&self, name: &str, document: &Value) -> Answer {
        loop {
            let current = match self.api(document).get(name).await {
                Ok(current) => current,
                Err(error) => return Answer::NotTried(error.to_string()),
            };
            let mut document = document.clone();
            document["metadata"]["resourceVersion"] = json!(current.resource_version());
            let path = format!("{}/{name}", self.path(&document));
            match self.request("PUT", &path, true, &document).await {
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                answer => return read(answer),
            }
        }
    }

    async fn send(&self, dry_run: bool, document: &Value) -> Answer {
        read(self.request("POST", &self.path(document), dry_run, document).await)
    }

    /// Sends a request with strict field validation, which kube's own parameters for create and replace lack.
    async fn request(&self, method: &str, path: &str, dry_run: bool, body: &Value) -> Result<Value, kube::Error> {
        let mut request = kube::core::Request::new(path)
            .create(&PostParams { dry_run, field_manager: None }, body.to_string().into_bytes())
            .expect("a request");
        *request.method_mut() = method.parse().expect("a method");
        *request.uri_mut() = format!("{}&fieldValidation=Strict", request.uri()).parse().expect("a URI");
        self.client.request(request).await
    }

    fn path(&self, document: &Value) -> String {
        let resource = resource_of(document);
        format!("/apis/{}/namespaces/{}/{}", resource.api_version, self.namespace, resource.plural)
    }

    fn api(&self, document: &Value) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource_of(document))
    }
}

/// Returns the resource that a document is of.
fn resource_of(document: &Value) -> ApiResource {
    match document["kind"] == "IngestionRun" {
        true => IngestionRun::api_resource(),
        false => StreamingPipeline::api_resource(),
    }
}

fn read(answer: Result<Value, kube::Error>) -> Answer {
    match answer {
        Ok(stored) => Answer::Accepted(stored),
        Err(kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 422) => {
            let causes = status.details.map(|details| details.causes).unwrap_or_default();
            let faults: Vec<Fault> = causes
                .into_iter()
                .map(|cause| Fault { field: cause.field.replace("<nil>", ""), message: cause.message })
                .collect();
            if faults.is_empty() {
                return Answer::Refused(vec![Fault { field: String::new(), message: status.message }]);
            }
            Answer::Refused(faults)
        }
        Err(error) => Answer::NotTried(error.to_string()),
    }
}
