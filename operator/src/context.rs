//! Everything impure that the road needs: client, events, telemetry, and what the administrator set.

use std::sync::Arc;

use kube::Client;
use millrace_api::names::Names;

use crate::compiler::Compiler;
use crate::events::Events;
use crate::hands::{Hands, OverTheNetwork};
use crate::lease::Fence;
use crate::ledger::Ledger;
use crate::looks::LastLooks;
use crate::objects::scope::Administration;
use crate::telemetry::Telemetry;

/// Shared by all reconciles.
#[derive(Clone)]
pub struct Context {
    /// The API server.
    pub client: Client,
    /// Publishes events on pipelines.
    pub events: Events,
    /// Logs and metrics.
    pub telemetry: Telemetry,
    /// What the administrator set for all pipelines.
    pub administration: Administration,
    /// Compiles the SQL of queries, beside this process.
    pub compiler: Compiler,
    /// Closed when another operator may lead; every write asks it first.
    pub fence: Fence,
    /// Reaches the stores.
    pub hands: Arc<dyn Hands>,
    /// What was written of each object.
    pub ledger: Ledger,
    /// What was seen of each pipeline's load.
    pub looks: LastLooks,
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
        let events = Events::new(client.clone(), instance);
        let compiler = Compiler::default();
        let hands = Arc::new(OverTheNetwork::new(administration.allowed_stores.clone()));
        let (ledger, looks) = (Ledger::default(), LastLooks::default());
        Self { client, events, telemetry, administration, compiler, fence, hands, ledger, looks }
    }

    /// Forgets what is known of a pipeline that is gone.
    pub fn forget(&self, names: &Names) {
        self.telemetry.pipeline_gone(names);
        self.compiler.forget(names);
        self.ledger.forget(names);
        self.looks.forget(names);
    }
}
