//! Outcome → status: pure. What was planned, done, refused or failed becomes conditions, phase and columns.
//!
//! `Ready` repeats the first unmet link of the chain, in its words. `Reconciling` and `Stalled` follow kstatus, so that
//! `kubectl wait`, `helm --wait` and GitOps tools understand them. Unknown is absent, never zero.

mod components;
mod conditions;
mod planned;
mod summary;

use chrono::{DateTime, Utc};
use millrace_api::crd::condition::{ConditionType, Reason};
use millrace_api::crd::status::{ProducerStatus, ScalingStatus, StreamingPipelineStatus};
use millrace_api::names::Component;
use millrace_api::{Pipeline, Rejected, StreamingPipeline};

use crate::cassandra::{nodes, repair};
use crate::labels::is_paused;
use crate::observed::Observed;
use crate::plan::Plan;
use crate::rounding::two_digits;
use crate::workers::{canary, retention, scaling, sources};
use components::{components, ready_producers};
pub(crate) use conditions::Conditions;
use planned::{planned, progress, proposal, waiting};
pub use summary::Failure;
use summary::{Summary, around_producers, first_of, going_on, phase};

/// How a pass went.
#[derive(Debug)]
pub enum Outcome<'a> {
    /// The resource could not be parsed at all.
    Unparsable {
        /// Every user error.
        rejected: &'a [Rejected],
    },
    /// The world was read and a plan made.
    Planned {
        /// The model.
        pipeline: &'a Pipeline,
        /// User errors that took a part out.
        rejected: &'a [Rejected],
        /// What was there.
        observed: &'a Observed,
        /// What was to be done.
        plan: &'a Plan,
        /// Why carrying it out ended early; `None`: it was carried out.
        failure: Option<Failure>,
    },
    /// The world could not be read.
    Unobserved {
        /// Why.
        failure: Failure,
        /// User errors that took a part out.
        rejected: &'a [Rejected],
    },
}

/// Computes the status. The old one supplies what is kept: transition times and write-timestamp bases.
pub fn report(resource: &StreamingPipeline, outcome: &Outcome<'_>, now: DateTime<Utc>) -> StreamingPipelineStatus {
    let old = resource.status.clone().unwrap_or_default();
    let mut conditions = Conditions::new(resource.metadata.generation.unwrap_or_default(), now, &old.conditions);
    let mut status = StreamingPipelineStatus {
        observed_generation: resource.metadata.generation,
        // What is not observed this time keeps its last value only in the columns' text, never in conditions.
        ..StreamingPipelineStatus::default()
    };
    match outcome {
        Outcome::Unparsable { rejected } => {
            conditions.spec_valid(rejected);
            conditions.keep_links();
            let message = first_of(rejected);
            conditions.add(ConditionType::Ready, false, Reason::SpecInvalid, &message);
            conditions.add(ConditionType::Reconciling, false, Reason::SpecInvalid, &message);
            conditions.add(ConditionType::Stalled, true, Reason::SpecInvalid, &message);
            status = StreamingPipelineStatus {
                conditions: Vec::new(),
                plan: None,
                waiting: Vec::new(),
                planned_actions: Vec::new(),
                ..old
            };
            status.phase = Some("Invalid".to_owned());
            status.observed_generation = resource.metadata.generation;
        }
        Outcome::Unobserved { failure, rejected } => {
            conditions.spec_valid(rejected);
            conditions.keep_links();
            conditions.unknown(ConditionType::Ready, &Reason::ObservationFailed.to_string(), &failure.message);
            conditions.add(ConditionType::Reconciling, true, Reason::ObservationFailed, &failure.message);
            conditions.add(ConditionType::Stalled, false, Reason::ObservationFailed, "the operator tries again");
            status = StreamingPipelineStatus { conditions: Vec::new(), phase: Some("Degraded".to_owned()), ..old };
            status.observed_generation = resource.metadata.generation;
        }
        Outcome::Planned { pipeline, rejected, observed, plan, failure } => {
            let rejected = &[*rejected, plan.refused.as_slice()].concat();
            conditions.spec_valid(rejected);
            for link in &plan.links {
                conditions.add(link.link.condition(), link.met, link.reason, &link.message);
            }
            let sources = sources::judge(pipeline, &observed.stores.sources);
            conditions.push(
                ConditionType::SourcesHealthy,
                sources.status,
                &sources.reason.to_string(),
                &sources.message,
            );
            conditions.intact(&plan.intact);
            conditions.repair(&repair::judge(pipeline, observed));
            conditions.retention(&retention::judge(pipeline, observed));
            conditions.suspended(plan.suspension.as_ref());
            let flow = canary::judge(pipeline, observed, is_paused(resource), &plan.links);
            conditions.flowing(flow.as_ref());
            status.losses.clone_from(&plan.intact.losses);
            // What is decided would not be carried out.
            status.replay = if is_paused(resource) { old.replay.clone() } else { plan.replay.clone() };
            status.drained = plan.suspension.as_ref().and_then(|suspension| suspension.drained.clone());
            let was_ready = conditions.was_true(ConditionType::Ready);
            let summary = Summary::of(plan, rejected, failure.as_ref());
            if is_paused(resource) {
                conditions.paused(&summary, plan);
                status.phase = Some("Paused".to_owned());
            } else {
                let summary = summary.unless_changing(plan, conditions.is_news());
                conditions.summary(&summary, plan);
                status.phase = Some(phase(&summary, plan, was_ready, old.phase.as_deref()).to_owned());
            }
            conditions.contested(&plan.contested);
            conditions.updates(plan);
            status.waiting = waiting(plan, &old.waiting, now);
            status.planned_actions = planned(plan, &status.waiting, nodes::planned(pipeline, observed));
            status.plan = proposal(pipeline, plan, old.plan.as_ref(), now);
            components(&mut status, pipeline, observed, &old);
            // What is decided would not be carried out. What was needed before says nothing of the time since.
            let rests = |component: Component| is_paused(resource) || pipeline.held.contains_key(&component);
            let kept = |before: &ScalingStatus| ScalingStatus { needed: Vec::new(), ..before.clone() };
            if let Some(processor) = &mut status.processor {
                processor.canary_latency = flow.and_then(|flow| flow.latency);
                processor.scaling = match rests(Component::Processor) {
                    true => old.scaling().filter(|_| pipeline.processor.scaling.is_some()).map(kept),
                    false => scaling::judge(pipeline, observed, &going_on(plan, pipeline, observed)),
                };
            }
            if let Some(kafka) = &mut status.kafka {
                kafka.reassignment = plan.reassignment.progress.map(progress);
            }
            status.sources = sources::statuses(&observed.stores.sources, two_digits);
            status.producer = Some(ProducerStatus {
                ready: ready_producers(pipeline, observed),
                sources: Some(sources.column),
                scaling: match rests(Component::Producer) {
                    true => old.producer_scaling().filter(|_| pipeline.producer.scaling.is_some()).map(kept),
                    false => scaling::judge_producers(pipeline, observed, &around_producers(plan, pipeline, observed)),
                },
            });
        }
    }
    status.conditions = conditions.finish();
    // Written by `schedules`; named here, they would become ours.
    status.schedules = None;
    status
}
