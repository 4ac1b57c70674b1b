//! What `Ready` says of a pass, and the phase: the failure, the user's errors, or the first unmet link in its words. Pure.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use millrace_api::crd::condition::{ConditionType, Link, Reason};
use millrace_api::names::Component;
use millrace_api::{Pipeline, Rejected};
use millrace_scaling::Underway;

use crate::act::Act;
use crate::observed::Observed;
use crate::plan::Plan;
use crate::plan::template::Kept;
use crate::plan::waiting::Waiting;
use crate::readiness;
use crate::workers::load::stranger;
use crate::workers::suspend::Suspension;

/// A failed pass.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The whole chain of errors, as one sentence.
    pub message: String,
    /// Whether only a changed spec can help.
    pub rejected: bool,
}

/// What `Ready` says.
pub(super) struct Summary {
    pub(super) ready: bool,
    pub(super) stalled: bool,
    pub(super) reason: Reason,
    pub(super) message: String,
}

impl Summary {
    pub(super) fn of(plan: &Plan, rejected: &[Rejected], failure: Option<&Failure>) -> Self {
        if let Some(failure) = failure {
            let reason = if failure.rejected { Reason::ApplyRejected } else { Reason::ApplyFailed };
            return Self { ready: false, stalled: failure.rejected, reason, message: failure.message.clone() };
        }
        if !rejected.is_empty() {
            return Self { ready: false, stalled: true, reason: Reason::SpecInvalid, message: first_of(rejected) };
        }
        let unready = |reason, message| Self { ready: false, stalled: false, reason, message };
        match (&plan.suspension, trouble(plan)) {
            (Some(Suspension { is_done: false, message, .. }), _) => unready(Reason::Suspending, message.clone()),
            (Some(suspension), None) => unready(Reason::Suspended, suspension.message.clone()),
            (Some(suspension), Some((reason, trouble))) => {
                unready(reason, format!("{trouble}; {}", suspension.message))
            }
            (None, Some((reason, trouble))) => unready(reason, trouble),
            (None, None) => {
                let ready = "every link of the readiness chain is met";
                let (reason, message) = match held(plan) {
                    Some((reason, held)) => (reason, format!("{ready}; {held}")),
                    None => (Reason::AllComponentsReady, ready.to_owned()),
                };
                Self { ready: true, stalled: false, reason, message }
            }
        }
    }
}

/// Returns what keeps data from flowing: the first unmet link, or else data that is gone.
fn trouble(plan: &Plan) -> Option<(Reason, String)> {
    if let Some(link) = plan.first_unmet() {
        return Some((link.reason, format!("{}: {}", link.link.condition(), link.message)));
    }
    let (reason, message) = plan.intact.first.clone()?;
    Some((reason, format!("{}: {message}", ConditionType::DataIntact)))
}

/// Returns what people or a time hold although the pipeline is ready, and why.
pub(super) fn held(plan: &Plan) -> Option<(Reason, String)> {
    if let Some(waiting) = plan.held_by_people() {
        let pods = match plan.outdated {
            0 => format!("{} waits", waiting.act.describe()),
            1 => "1 pod with an outdated template waits".to_owned(),
            pods => format!("{pods} pods with an outdated template wait"),
        };
        return Some((waiting.cause.hold?, format!("{pods} for {}", waiting.cause.message)));
    }
    let reason = plan.kept.first()?.reason;
    let message = match requires_update(plan).filter(|_| reason == Reason::OperatorUpgraded) {
        Some(message) => message,
        None => {
            let stores = names_of(plan.kept.iter());
            format!("changes of {stores} wait for approval of the plan: {}", plan.approval.command)
        }
    };
    Some((reason, message))
}

/// Returns the stores whose template a new version of the operator changes, and what to do. `None`: there are none.
pub(super) fn requires_update(plan: &Plan) -> Option<String> {
    let of_operator: Vec<&Kept> = plan.kept.iter().filter(|kept| !kept.by_people).collect();
    let when = match of_operator.first()?.reason {
        Reason::OperatorUpgraded => "with the next change of their spec, or now",
        _ => "when the plan is approved",
    };
    Some(format!(
        "this version of the operator has a different template for the pods of {}, which keep running unchanged; they \
         receive it {when}: {}",
        names_of(of_operator),
        plan.approval.command
    ))
}

/// Returns the stores of StatefulSets, each once.
fn names_of<'a>(kept: impl IntoIterator<Item = &'a Kept>) -> String {
    let stores: BTreeSet<Component> = kept.into_iter().map(|kept| kept.component).collect();
    stores.into_iter().map(|component| format!("{component:?}")).collect::<Vec<_>>().join(", ")
}

impl Summary {
    /// Returns whether all is as the spec asks for: data flows, or everything is drained.
    pub(super) fn is_settled(&self) -> bool {
        self.ready || self.reason == Reason::Suspended
    }

    /// Links are judged before the plan is carried out. So a spec that was never Ready is not Ready by the facts of the
    /// one before it; a repair of the same spec lets Ready stand.
    pub(super) fn unless_changing(self, plan: &Plan, spec_is_news: bool) -> Self {
        // What people hold is no change under way: it may take weeks, and the message says it.
        let rolls = plan.outdated > 0 && plan.held_by_people().is_none();
        let is_under_way = !plan.is_empty() || rolls || plan.is_under_way();
        if !self.ready || !spec_is_news || !is_under_way {
            return self;
        }
        Self { ready: false, stalled: false, reason: Reason::ApplyingChanges, message: under_way(plan) }
    }
}

/// Returns what goes on that a change of the number of processors would disturb, or that would be taken for their load.
pub(super) fn going_on(plan: &Plan, pipeline: &Pipeline, observed: &Observed) -> Underway {
    let group = observed.stores.kafka.as_ref().ok().and_then(|facts| facts.group.as_ref());
    let deployment = observed.children.deployments.get(&pipeline.names.component(Component::Processor));
    let replicas = |deployment: &Deployment| deployment.spec.as_ref().and_then(|spec| spec.replicas);
    // Another number is no other template.
    let is_replaced = |wanted: &Deployment| deployment.is_some_and(|found| replicas(found) == replicas(wanted));
    Underway {
        // One without members has nobody to share partitions among.
        rebalance: group.is_some_and(|group| !group.stable && group.members > 0),
        roll: readiness::is_rolling_out(deployment) || plan.apply.deployments.iter().any(is_replaced),
        stranger: group.and_then(|group| stranger(pipeline, group)),
        store: of_stores(plan),
    }
}

/// Returns what goes on that a change of the number of producers would disturb, or that would be taken for what is pushed.
pub(super) fn around_producers(plan: &Plan, pipeline: &Pipeline, observed: &Observed) -> Underway {
    let set = observed.children.stateful_sets.get(&pipeline.names.component(Component::Producer));
    let replicas = |set: &StatefulSet| set.spec.as_ref().and_then(|spec| spec.replicas);
    // Another number is no other template.
    let is_replaced = |wanted: &StatefulSet| {
        set.is_some_and(|found| found.metadata.name == wanted.metadata.name && replicas(found) == replicas(wanted))
    };
    // Settings that wait for the processors would come with another number at once.
    let is_held = plan.holds.iter().any(|hold| hold.component == Component::Producer);
    Underway {
        rebalance: false,
        roll: readiness::is_set_rolling_out(set) || plan.apply.stateful_sets.iter().any(is_replaced) || is_held,
        stranger: None,
        store: of_stores(plan),
    }
}

/// Returns what the stores are doing. `None`: nothing but their work.
fn of_stores(plan: &Plan) -> Option<String> {
    let of_stores = [Link::ZooKeeper, Link::Kafka, Link::Topics, Link::Cassandra];
    let unmet = plan.first_unmet().filter(|link| of_stores.contains(&link.link));
    let rolls = plan.outdated > 0 && plan.held_by_people().is_none();
    match unmet {
        Some(link) => Some(format!("{}: {}", link.link.condition(), link.message)),
        None if !plan.acts.is_empty() || rolls || plan.is_under_way() => {
            Some(under_way(plan).replacen("in progress: ", "", 1))
        }
        None => None,
    }
}

pub(super) fn under_way(plan: &Plan) -> String {
    let step = plan.acts.first().map(Act::describe).or_else(|| plan.growing.first().cloned());
    match step.or_else(|| plan.membership.waits.clone()) {
        Some(step) => format!("in progress: {step}"),
        None if !plan.waiting.is_empty() => {
            let Waiting { act, cause } = &plan.waiting[0];
            format!("in progress: {}; it waits for {}", act.describe(), cause.message)
        }
        None if plan.outdated > 0 => {
            format!("in progress: {} pods with an outdated template are being restarted one by one", plan.outdated)
        }
        None if plan.is_setting_back() => "in progress: processors are stopped to read a topic again".to_owned(),
        None if plan.reassignment.is_wanted => "in progress: partitions are being moved to other brokers".to_owned(),
        None if plan.membership.is_wanted => "in progress: the ZooKeeper ensemble is being changed".to_owned(),
        None => "in progress: changed objects are being applied".to_owned(),
    }
}

pub(super) fn phase(summary: &Summary, plan: &Plan, was_ready: bool, before: Option<&str>) -> &'static str {
    match (&plan.suspension, before) {
        _ if summary.ready => "Running",
        _ if summary.stalled => "Invalid",
        (Some(Suspension { is_done: true, .. }), _) => "Suspended",
        (Some(_), _) => "Suspending",
        (None, Some("Suspended" | "Suspending" | "Resuming")) => "Resuming",
        (None, before) if was_ready || before == Some("Degraded") => "Degraded",
        (None, _) => "Creating",
    }
}

pub(super) fn first_of(rejected: &[Rejected]) -> String {
    match rejected {
        [] => String::new(),
        [only] => only.to_string(),
        [first, rest @ ..] => format!("{first} (and {} more; see the condition SpecValid)", rest.len()),
    }
}
