//! The control plane. One road, one file per step:
//!
//! ```text
//! observe (ctx, &pipeline)          -> Observed      reads: children, quorum, ISR, ring, lag
//! validate(&resource)               -> Validated     pure; in `millrace-api`: every user error with its path;
//!                                                    `compiler` has the SQL compiled beside the process
//! scale   (&pipeline, &observed)    -> Scale         pure
//! desire  (&pipeline, &inputs)      -> Desired       pure, cannot fail
//! plan    (&pipeline, desired, &observed, membership) -> Plan  pure; apply / hold / act
//! apply   (ctx, &plan)              -> Applied       the only writer of children and of the stores
//! report  (&resource, outcome)      -> Status        pure
//! publish (ctx, &resource, &status) -> ()            writes the status only if it differs; events on transitions
//! ```
//!
//! `runs` walks a smaller road of the same steps for each IngestionRun, and `schedules` makes the runs that are due. `road`
//! guards every pass of the three, and `write` every write. Each store has a room with its objects, what changes it and its
//! links of the readiness chain; `hands` reaches the stores for `observe` and `apply`, with the small
//! clients of the crate `stores`.
//!
//! A file imports only what stands above it here, or beside it in its own row (`tests/imports.rs`):
//!
//! ```text
//! answer                                   what the API server answers, as a sentence
//! telemetry lease key events compiler server  what the process stands on
//! difference                               how an object as it is differs from one as it is wanted
//! ledger looks                             what was written of it, and seen of its load
//! act observed link readiness rounding allowed   what there is and what may be done, in words that all share
//! causes                                   what keeps pods from running, in sentences
//! intact kept                              data that is gone, and volumes that do not fit
//! objects                                  what objects are made with
//! inquiry                                  how workers are asked
//! hands                                    how the stores are asked and changed
//! context                                  all that is impure, for every step
//! write road                               what guards every write and every pass
//! zookeeper kafka cassandra workers        one room per store, and that of the workers
//! observe                                  the road, in its order
//! scale
//! desire
//! preview                                  what another spec would lead to, for people who look before they apply
//! chain                                    judged for `plan` and `report`
//! plan
//! apply
//! report
//! publish
//! controller                               walks it for pipelines
//! runs                                     the smaller road
//! schedules
//! smoke                                    `helm test`
//! ```

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests read fixtures and the clock"))]

pub mod act;
pub mod allowed;
pub mod answer;
pub mod apply;
pub mod cassandra;
pub mod causes;
pub mod chain;
pub mod compiler;
pub mod context;
pub mod controller;
pub mod desire;
pub mod difference;
pub mod events;
pub mod hands;
pub mod inquiry;
pub mod intact;
pub mod kafka;
pub mod kept;
pub mod key;
pub mod lease;
pub mod ledger;
pub mod link;
pub mod looks;
pub mod objects;
pub mod observe;
pub mod observed;
pub mod plan;
pub mod preview;
pub mod publish;
pub mod readiness;
pub mod report;
pub mod road;
pub mod rounding;
pub mod runs;
pub mod scale;
pub mod schedules;
pub mod server;
pub mod smoke;
pub mod telemetry;
pub mod workers;
pub mod write;
pub mod zookeeper;

pub use millrace_api::labels;
