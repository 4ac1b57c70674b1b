//! Everything impure that the road needs: client, event recorder, telemetry, and what the administrator set.

use kube::Client;
use kube::runtime::events::{Recorder, Reporter};

use crate::desire::Administration;
use crate::lease::Fence;
use crate::telemetry::Telemetry;

/// Shared by all reconciles.
#[derive(Clone)]
pub struct Context {
    /// The API server.
    pub client: Client,
    /// Publishes events on pipelines.
    pub recorder: Recorder,
    /// Logs and metrics.
    pub telemetry: Telemetry,
    /// What the administrator set for all pipelines.
    pub administration: Administration,
    /// Closed when another operator may lead; every write asks it first.
    pub fence: Fence,
}

impl Context {
    /// Makes the context of one operator process. `instance` is its pod's name.
    pub fn new(
        client: Client,
        instance: String,
        administration: Administration,
        telemetry: Telemetry,
        fence: Fence,
    ) -> Self {
        let reporter = Reporter { controller: "millrace-operator".to_owned(), instance: Some(instance) };
        Self { recorder: Recorder::new(client.clone(), reporter), client, telemetry, administration, fence }
    }
}
