//! End-to-end tests on a real cluster: what they share. The scenarios themselves are in `tests/cluster/`.
//!
//! ```text
//! catalogue  which scenarios there are, and which of them a run takes
//! settings   how long and how much
//! queue, turn    whose turn it is; a scenario's log and times
//! sets       store sets that scenarios hand on
//! minutes    the ledger of minutes
//! full_runs, git    when each scenario has last passed, and what was changed
//! namespace  one test, one namespace: made, told of, dumped on failure, deleted and timed
//! cluster    the API server, kubectl, helm, and a way onto the nodes
//! spec       pipelines as test data
//! live       a pipeline in the cluster: apply, wait, look
//! operator   the operator's pods and their lease; faults that are switched on through the chart
//! command    the built command `millrace`
//! process    signals to the real processes inside containers
//! console    the console through a port-forward, as somebody with a token
//! cut        packets between pods dropped on their node
//! clock      a processor whose clock is wrong
//! disk       a store's own disk, to be filled and slowed down
//! isr        what brokers note of their replicas
//! kafka, table, metrics, audit, events    what Kafka, Cassandra, workers and the API server say
//! ledger     which rows there must be, and which there are
//! ```
//!
//! Nothing here sleeps to wait for something: [`wait::eventually`] asks until the answer is there or time is up.

#![expect(clippy::disallowed_methods, reason = "it judges a cluster from outside: by the clock, files and programs")]

pub mod audit;
pub mod catalogue;
pub mod clock;
pub mod cluster;
pub mod command;
pub mod console;
pub mod cut;
pub mod disk;
pub mod events;
pub mod figures;
pub mod full_runs;
pub mod git;
pub mod isr;
pub mod kafka;
pub mod ledger;
pub mod live;
pub mod metrics;
pub mod minutes;
pub mod namespace;
pub mod operator;
pub mod process;
pub mod queue;
pub mod sets;
pub mod settings;
pub mod spec;
pub mod table;
pub mod turn;
pub mod wait;

pub use cluster::Cluster;
pub use ledger::{Comparison, Ledger, Person};
pub use live::Live;
pub use namespace::{TestNamespace, in_namespace, in_shared};
pub use spec::Spec;
pub use turn::Turn;
pub use wait::eventually;
