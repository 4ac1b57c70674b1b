//! What a viewer may do: asked of Kubernetes with the viewer's own token, and remembered for a few seconds.
//!
//! What goes through the API server is judged there. Messages, rows and measurements do not: each is asked for here
//! first, as the right to `get` a subresource of the pipeline that only exists for this.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use millrace_api::GROUP;
use millrace_api::names::Names;

use crate::api::pipeline::Rights;
use crate::refusal::Refusal;

/// How long an answer counts: as long as a right that was taken away may still work.
const REMEMBERED: Duration = Duration::from_secs(10);
/// How long an answer counts for what the page offers; what is done is asked for anew.
const SHOWN: Duration = Duration::from_secs(60);
/// Answers that are remembered of one session.
const MOST: usize = 1_000;

/// Something that a viewer may be allowed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Right {
    /// Read a pipeline and what is measured of it.
    Pipeline,
    /// Read messages of its topics.
    Messages,
    /// Read rows of its tables.
    Rows,
    /// See masked fields.
    Unmasked,
    /// Read logs of pods.
    Logs,
    /// Read runs.
    Runs,
    /// Create runs.
    Trigger,
    /// Change runs.
    Cancel,
    /// Change a pipeline.
    Pause,
    /// Redrive dead letters: run the worker's command in a pod.
    Redrive,
}

impl Right {
    /// Returns verb, resource and subresource.
    const fn asked(self) -> (&'static str, &'static str, Option<&'static str>) {
        match self {
            Self::Pipeline => ("get", "streamingpipelines", None),
            Self::Messages => ("get", "streamingpipelines", Some("messages")),
            Self::Rows => ("get", "streamingpipelines", Some("rows")),
            Self::Unmasked => ("get", "streamingpipelines", Some("unmasked")),
            Self::Logs => ("get", "pods", Some("log")),
            Self::Runs => ("list", "ingestionruns", None),
            Self::Trigger => ("create", "ingestionruns", None),
            Self::Cancel => ("patch", "ingestionruns", None),
            Self::Pause => ("patch", "streamingpipelines", None),
            // The WebSocket of an execution begins as a GET. Before 1.35, the API server therefore asks for `get` alone,
            // which every user with the right to read everything has; from then on for `create` too:
            // https://github.com/kubernetes/kubernetes/pull/134577. Here `create` is asked for with every version, and
            // `get` is left to the API server. The built-in role edit has both.
            Self::Redrive => ("create", "pods", Some("exec")),
        }
    }

    /// Returns the right as people write it, such as `get streamingpipelines/messages`.
    pub fn as_text(self) -> String {
        match self.asked() {
            (verb, resource, None) => format!("{verb} {resource}"),
            (verb, resource, Some(subresource)) => format!("{verb} {resource}/{subresource}"),
        }
    }

    /// Returns the question to Kubernetes.
    fn question(self, names: &Names) -> ResourceAttributes {
        let (verb, resource, subresource) = self.asked();
        let of_pipeline = resource == "streamingpipelines";
        ResourceAttributes {
            namespace: Some(names.namespace().to_owned()),
            verb: Some(verb.to_owned()),
            group: Some(if resource == "pods" { String::new() } else { GROUP.to_owned() }),
            resource: Some(resource.to_owned()),
            subresource: subresource.map(str::to_owned),
            // A right may be given for one pipeline by its name.
            name: of_pipeline.then(|| names.pipeline().to_owned()),
            ..ResourceAttributes::default()
        }
    }
}

type Remembered = HashMap<(Names, Right), (bool, Instant)>;

/// What Kubernetes said about one viewer.
#[derive(Default)]
pub struct Access {
    remembered: Mutex<Remembered>,
}

impl Access {
    /// Returns whether a viewer has a right; the error is that Kubernetes could not be asked.
    pub async fn has(&self, client: &Client, names: &Names, right: Right) -> Result<bool, Refusal> {
        self.has_since(client, names, right, REMEMBERED).await
    }

    #[expect(clippy::disallowed_methods, reason = "answers of the API server are believed for a while")]
    async fn has_since(
        &self,
        client: &Client,
        names: &Names,
        right: Right,
        longest: Duration,
    ) -> Result<bool, Refusal> {
        if let Some(allowed) = self.recall(names, right, longest, Instant::now()) {
            return Ok(allowed);
        }
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(right.question(names)),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
        let answer = api
            .create(&PostParams::default(), &review)
            .await
            .map_err(|error| Refusal::of_kube(&error, "access review"))?;
        let allowed = answer.status.is_some_and(|status| status.allowed);
        self.remember(names, right, allowed, Instant::now());
        Ok(allowed)
    }

    /// Refuses a viewer who lacks a right.
    pub async fn require(&self, client: &Client, names: &Names, right: Right) -> Result<(), Refusal> {
        if self.has(client, names, right).await? {
            return Ok(());
        }
        let right = right.as_text();
        let message =
            format!("you may not '{right}' for pipeline '{}' in namespace '{}'", names.pipeline(), names.namespace());
        Err(Refusal::Forbidden { right: Some(right), message })
    }

    /// Returns all that a viewer may do with a pipeline.
    pub async fn rights(&self, client: &Client, names: &Names) -> Rights {
        let ask = async |right| self.has_since(client, names, right, SHOWN).await.ok();
        let (messages, rows, unmasked, logs) =
            tokio::join!(ask(Right::Messages), ask(Right::Rows), ask(Right::Unmasked), ask(Right::Logs));
        let (runs, trigger, cancel, pause, redrive) = tokio::join!(
            ask(Right::Runs),
            ask(Right::Trigger),
            ask(Right::Cancel),
            ask(Right::Pause),
            ask(Right::Redrive)
        );
        Rights { messages, rows, unmasked, logs, runs, trigger, cancel, pause, redrive }
    }

    fn recall(&self, names: &Names, right: Right, longest: Duration, now: Instant) -> Option<bool> {
        let remembered = self.lock();
        let (allowed, asked) = remembered.get(&(names.clone(), right))?;
        (now.saturating_duration_since(*asked) < longest).then_some(*allowed)
    }

    fn remember(&self, names: &Names, right: Right, allowed: bool, now: Instant) {
        let mut remembered = self.lock();
        if remembered.len() >= MOST {
            remembered.retain(|_, (_, asked)| now.saturating_duration_since(*asked) < SHOWN);
        }
        if remembered.len() < MOST {
            remembered.insert((names.clone(), right), (allowed, now));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Remembered> {
        self.remembered.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_for_the_right_that_is_meant() {
        let names = Names::new("shop", "users");
        let asked = |right: Right| {
            let ResourceAttributes { namespace, verb, group, resource, subresource, name, .. } = right.question(&names);
            let words = [namespace, verb, group, resource, subresource, name];
            words.map(|word| word.unwrap_or_else(|| "-".to_owned())).join(" ")
        };
        assert_eq!(asked(Right::Messages), "shop get millrace.dev streamingpipelines messages users");
        assert_eq!(asked(Right::Rows), "shop get millrace.dev streamingpipelines rows users");
        assert_eq!(asked(Right::Unmasked), "shop get millrace.dev streamingpipelines unmasked users");
        assert_eq!(asked(Right::Logs), "shop get  pods log -");
        assert_eq!(asked(Right::Trigger), "shop create millrace.dev ingestionruns - -");
        assert_eq!(asked(Right::Pause), "shop patch millrace.dev streamingpipelines - users");
        assert_eq!(asked(Right::Redrive), "shop create  pods exec -");
        assert_eq!(Right::Messages.as_text(), "get streamingpipelines/messages");
        assert_eq!(Right::Redrive.as_text(), "create pods/exec");
    }

    #[test]
    fn an_answer_counts_for_a_moment_and_for_its_own_question_alone() {
        let (access, now) = (Access::default(), Instant::now());
        let (users, orders) = (Names::new("shop", "users"), Names::new("shop", "orders"));
        access.remember(&users, Right::Rows, true, now);
        let recall = |names, right, now| access.recall(names, right, REMEMBERED, now);
        assert_eq!(recall(&users, Right::Rows, now), Some(true));
        assert_eq!(recall(&users, Right::Messages, now), None);
        assert_eq!(recall(&orders, Right::Rows, now), None);
        assert_eq!(recall(&users, Right::Rows, now + REMEMBERED), None);
        assert_eq!(access.recall(&users, Right::Rows, SHOWN, now + REMEMBERED), Some(true));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (access, now) = (Access::default(), Instant::now());
        for number in 0..2 * MOST {
            access.remember(&Names::new("shop", number.to_string()), Right::Rows, true, now);
        }
        assert_eq!(access.lock().len(), MOST);
        access.remember(&Names::new("shop", "later"), Right::Rows, true, now + SHOWN);
        assert_eq!(access.recall(&Names::new("shop", "later"), Right::Rows, REMEMBERED, now + SHOWN), Some(true));
    }
}
