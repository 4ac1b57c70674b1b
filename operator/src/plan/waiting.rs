//! What a disruptive act waits for: people or a time whatever the stores say, or the stores. Pure.

use chrono::{DateTime, Utc};
use millrace_api::Pipeline;
use millrace_api::crd::UpdatePolicy;
use millrace_api::params::rfc3339;
use millrace_api::window::{is_any_open, next_opening};

use super::template::Approval;
use crate::act::Act;
use crate::labels::HOLD_DISRUPTIONS;
use crate::link::Reason;
use crate::observed::Observed;

/// An act that waits.
#[derive(Clone, Debug, PartialEq)]
pub struct Waiting {
    /// Which one.
    pub act: Act,
    /// What it waits for.
    pub cause: Cause,
}

/// What an act waits for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cause {
    /// Why people hold it, in one word. `None`: the stores cannot spare anything now.
    pub hold: Option<Reason>,
    /// What it waits for, in words that follow "waits for".
    pub message: String,
    /// When it ends by itself. `None`: unknown.
    pub until: Option<DateTime<Utc>>,
}

impl Cause {
    /// Makes a cause that lies in the stores.
    pub fn of_stores(message: String) -> Self {
        Self { hold: None, message, until: None }
    }
}

/// Returns why no disruptive act happens now, whatever the stores say; `None`: any may.
pub fn held_by_people(pipeline: &Pipeline, observed: &Observed, approval: &Approval) -> Option<Cause> {
    let cause = |hold, message, until| Some(Cause { hold: Some(hold), message, until });
    if observed.remembered.holds_disruptions {
        let message = format!("the annotation {HOLD_DISRUPTIONS} to be removed");
        return cause(Reason::DisruptionsHeld, message, None);
    }
    if pipeline.update_policy == UpdatePolicy::Manual && !approval.is_given {
        return cause(Reason::ApprovalRequired, format!("approval of the plan: {}", approval.command), None);
    }
    let windows = &pipeline.maintenance_windows;
    if windows.is_empty() || is_any_open(windows, observed.now) {
        return None;
    }
    let opens = next_opening(windows, observed.now);
    let message = match opens {
        Some(opens) => format!("the maintenance window, which opens at {}", rfc3339(opens)),
        None => "the maintenance window".to_owned(),
    };
    cause(Reason::WaitingForWindow, message, opens)
}
