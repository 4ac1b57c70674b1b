//! Facts → findings: each thing that is the matter with a pipeline, as its conditions and events show it. Pure.

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use millrace_api::crd::StreamingPipelineStatus;
use millrace_api::crd::condition::{ConditionStatus, ConditionType, Link, Reason};
use millrace_api::crd::time::moment_of;
use millrace_api::names::Component;
use millrace_api::params::rfc3339;

use super::explanation::{Evidence, Kind, Verdict};
use super::facts::{Facts, Warning, component_of};
use super::fixes::{Fix, Names, of_pods, of_reason, of_source};

/// How old the last occurrence of a warning may be: what a controller tries in vain it tries more and more rarely, up to
/// every 17 minutes.
const RECENT: TimeDelta = TimeDelta::minutes(20);
/// Most warnings, sources or partitions that are evidence.
pub(super) const MOST: usize = 3;

/// Something that is the matter.
pub(super) struct Finding {
    pub(super) verdict: Verdict,
    pub(super) cause: String,
    pub(super) since: Option<DateTime<Utc>>,
    pub(super) evidence: Vec<Evidence>,
    pub(super) fix: Option<Fix>,
}

impl Finding {
    /// Returns the finding with what to do about the reason of another condition.
    fn with_fix_of(self, condition: &Condition, names: Names<'_>) -> Self {
        Self { fix: of_reason(&condition.reason, names), ..self }
    }
}

/// A look at a pipeline with a status.
pub(super) struct Look<'a> {
    pub(super) facts: &'a Facts,
    pub(super) status: &'a StreamingPipelineStatus,
}

impl Look<'_> {
    pub(super) fn names(&self) -> Names<'_> {
        Names { namespace: &self.facts.namespace, pipeline: &self.facts.pipeline }
    }

    fn condition(&self, condition: ConditionType, status: ConditionStatus) -> Option<&Condition> {
        condition.of(&self.status.conditions).filter(|found| ConditionStatus::of(found) == status)
    }

    /// Makes a finding of a condition, with what to do about its reason.
    pub(super) fn of_condition(&self, verdict: Verdict, condition: &Condition) -> Finding {
        Finding {
            verdict,
            cause: condition.message.clone(),
            since: Some(moment_of(&condition.last_transition_time)),
            evidence: vec![Evidence::of_condition(condition)],
            fix: of_reason(&condition.reason, self.names()),
        }
    }

    /// Returns why the pipeline is not ready.
    pub(super) fn ready(&self) -> Option<Finding> {
        let Some(ready) = ConditionType::Ready.of(&self.status.conditions) else {
            let cause = "the operator has not checked it yet".to_owned();
            return Some(Finding { verdict: Verdict::Unknown, cause, since: None, evidence: Vec::new(), fix: None });
        };
        match ConditionStatus::of(ready) {
            ConditionStatus::True => None,
            ConditionStatus::Unknown if ready.reason == Reason::Paused.to_string() => {
                Some(self.of_condition(Verdict::Paused, ready))
            }
            ConditionStatus::Unknown => Some(self.of_condition(Verdict::Unknown, ready)),
            ConditionStatus::False if is_suspended(&ready.reason) => Some(self.of_condition(Verdict::Suspended, ready)),
            ConditionStatus::False => Some(self.unmet(ready)),
        }
    }

    /// Returns the link or the data that `Ready` repeats, with what Kubernetes says about its pods.
    fn unmet(&self, ready: &Condition) -> Finding {
        if ready.reason == Reason::SpecInvalid.to_string() {
            let errors = self.condition(ConditionType::SpecValid, ConditionStatus::False);
            return self.of_condition(Verdict::NotReady, errors.unwrap_or(ready)).with_fix_of(ready, self.names());
        }
        let links = Link::ALL.map(|link| (link.condition(), Some(link)));
        let repeated = links.into_iter().chain([(ConditionType::DataIntact, None)]).find_map(|(condition, link)| {
            let found = self.condition(condition, ConditionStatus::False)?;
            ready.message.starts_with(&format!("{condition}: ")).then_some((found, link))
        });
        let (condition, link) = repeated.unwrap_or((ready, None));
        let mut finding = self.of_condition(Verdict::NotReady, condition);
        if condition.reason != Reason::ApplyingChanges.to_string()
            && condition.type_ != ConditionType::DataIntact.as_str()
        {
            finding.fix = of_pods(&condition.reason, &condition.message, self.names());
        }
        finding.evidence.extend(self.warnings(&condition.message, link).into_iter().map(Evidence::of_warning));
        finding
    }

    /// Returns the newest warnings about what a message names, or about the pods of a link, each once.
    fn warnings(&self, message: &str, link: Option<Link>) -> Vec<&Warning> {
        let component = link.map(component_of_link);
        let is_named = |warning: &Warning| {
            message.contains(&format!("'{}'", warning.name)) || message.contains(&format!("\"{}\"", warning.name))
        };
        let is_of =
            |warning: &Warning| component.is_some() && component_of(&self.facts.pipeline, &warning.name) == component;
        let mut found: Vec<&Warning> = self.facts.warnings.iter().collect();
        found.retain(|warning| self.facts.now - warning.last < RECENT && (is_named(warning) || is_of(warning)));
        found.sort_by_key(|warning| (!is_named(warning), std::cmp::Reverse(warning.last)));
        let mut once: Vec<&Warning> = Vec::new();
        for warning in found {
            if !once.iter().any(|known| (&known.name, &known.reason) == (&warning.name, &warning.reason)) {
                once.push(warning);
            }
        }
        once.truncate(MOST);
        once
    }

    /// Returns that the status is about another spec than the one that is there.
    pub(super) fn outdated(&self) -> Option<Finding> {
        (self.status.observed_generation != self.facts.generation).then(|| Finding {
            verdict: Verdict::Unknown,
            cause: "the operator has not processed the current spec yet; the pipeline was ready with the previous spec"
                .to_owned(),
            since: None,
            evidence: Vec::new(),
            fix: Some(Fix {
                text: "wait a moment; if it persists, check whether the operator runs".to_owned(),
                command: Some(format!("millrace check -n {}", self.facts.namespace)),
            }),
        })
    }

    /// Returns that nothing is written since nobody wants it.
    pub(super) fn stopped(&self) -> Option<Finding> {
        let condition = Link::Processor.condition().of(&self.status.conditions)?;
        let is_scaled = condition.reason == Reason::ScaledToZero.to_string();
        is_scaled.then(|| {
            let cause = "no rows are written, since spec.processor.replicas is 0: records stay in Kafka".to_owned();
            Finding { cause, ..self.of_condition(Verdict::Degraded, condition) }
        })
    }

    /// Returns that sources fail, with what each says.
    pub(super) fn sources(&self) -> Option<Finding> {
        let condition = self.condition(ConditionType::SourcesHealthy, ConditionStatus::False)?;
        let mut finding = self.of_condition(Verdict::Degraded, condition);
        finding.fix = of_source(&condition.reason, &condition.message, self.names());
        let failing = self.status.sources.iter().filter(|source| !source.message.is_empty()).take(MOST);
        finding.evidence.extend(failing.map(|source| Evidence {
            kind: Kind::Source,
            object: source.name.clone(),
            reason: source.state.clone(),
            time: source.last_success.as_ref().map(|time| rfc3339(moment_of(time))),
            message: source.message.clone(),
        }));
        Some(finding)
    }

    /// Returns that canary records do not become readable rows.
    pub(super) fn canary(&self) -> Option<Finding> {
        let condition = self.condition(ConditionType::DataFlowing, ConditionStatus::False)?;
        Some(self.of_condition(Verdict::Degraded, condition))
    }

    pub(super) fn repair(&self) -> Option<Finding> {
        let condition = self.condition(ConditionType::RepairOnSchedule, ConditionStatus::False)?;
        Some(self.of_condition(Verdict::Degraded, condition))
    }

    /// Returns that records are about to be deleted unread.
    pub(super) fn retention(&self) -> Option<Finding> {
        let condition = self.condition(ConditionType::RetentionAtRisk, ConditionStatus::True)?;
        Some(self.of_condition(Verdict::Degraded, condition))
    }

    pub(super) fn contested(&self) -> Option<Finding> {
        let condition = self.condition(ConditionType::Contested, ConditionStatus::True)?;
        Some(self.of_condition(Verdict::Degraded, condition))
    }

    /// Returns that restarts, or a new template, wait for people or a time.
    pub(super) fn held(&self) -> Option<Finding> {
        let held = self.condition(ConditionType::UpdatesHeld, ConditionStatus::True);
        let condition = held.or_else(|| self.condition(ConditionType::RequiresUpdate, ConditionStatus::True))?;
        let mut finding = self.of_condition(Verdict::Held, condition);
        let waiting = self.status.waiting.iter().take(MOST).map(|waiting| Evidence {
            kind: Kind::Plan,
            object: waiting.action.clone(),
            reason: String::new(),
            time: Some(rfc3339(moment_of(&waiting.since))),
            message: format!("waits for {}", waiting.cause),
        });
        let plan = self.status.plan.iter().flat_map(|plan| {
            let approved = if plan.approved { "approved" } else { "not approved" };
            plan.actions.iter().take(MOST).map(move |action| Evidence {
                kind: Kind::Plan,
                object: format!("plan {}", plan.hash),
                reason: approved.to_owned(),
                time: Some(rfc3339(moment_of(&plan.since))),
                message: action.clone(),
            })
        });
        finding.evidence.extend(waiting.chain(plan));
        Some(finding)
    }
}

fn is_suspended(reason: &str) -> bool {
    [Reason::Suspending, Reason::Suspended].iter().any(|known| known.to_string() == reason)
}

fn component_of_link(link: Link) -> Component {
    match link {
        Link::ZooKeeper => Component::ZooKeeper,
        Link::Kafka | Link::Topics => Component::Kafka,
        Link::Cassandra => Component::Cassandra,
        Link::Processor => Component::Processor,
        Link::Producer => Component::Producer,
    }
}
