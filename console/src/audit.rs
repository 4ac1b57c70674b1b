//! One line for each action and each reading of records, for every user and every outcome. No line has anything of a
//! record.

use millrace_api::names::Names;
use tracing::info;

use crate::refusal::Refusal;

/// Says what a viewer, by the name of their user, did or was refused.
pub fn action<T>(user: &str, action: &str, names: &Names, object: &str, outcome: &Result<T, Refusal>) {
    let (outcome, cause) = match outcome {
        Ok(_) => ("done", String::new()),
        Err(refusal) => ("refused", refusal.to_string()),
    };
    let (namespace, pipeline) = (names.namespace(), names.pipeline());
    info!(target: "audit", user, action, namespace, pipeline, object, outcome, cause, "a viewer acted");
}

/// Says what records or rows a viewer read, how, and whether they saw fields that are masked for others.
pub fn read<T>(user: &str, how: &str, names: &Names, object: &str, unmasked: bool, outcome: &Result<T, Refusal>) {
    let (outcome, cause) = match outcome {
        Ok(_) => ("done", String::new()),
        Err(refusal) => ("refused", refusal.to_string()),
    };
    let (namespace, pipeline) = (names.namespace(), names.pipeline());
    info!(
        target: "audit", user, action = "read", how, namespace, pipeline, object, unmasked, outcome, cause,
        "a viewer read"
    );
}

/// Says who logged in, or was not let in.
pub fn login(address: &str, outcome: &Result<String, Refusal>) {
    match outcome {
        Ok(user) => info!(target: "audit", user, action = "login", address, outcome = "done", "a viewer logged in"),
        Err(refusal) => {
            info!(target: "audit", action = "login", address, outcome = "refused", cause = %refusal, "a login was refused");
        }
    }
}

/// Says that a change was refused before anybody looked at it, since it does not come from the viewer's own page.
pub fn foreign_change(user: &str, path: &str, refusal: &Refusal) {
    info!(target: "audit", user, action = "change", object = path, outcome = "refused", cause = %refusal, "a change was refused");
}
