//! The end-to-end tests. Each has a namespace of its own on the cluster that `make cluster` makes; `e2e/run.sh`
//! installs the chart and runs them in a good order.

#![expect(clippy::disallowed_methods, reason = "it judges a cluster from outside: by the clock, files and programs")]

mod scenario;

mod chaos;
mod chart;
mod command;
mod console;
mod controls;
mod foreign;
mod generated;
mod grown;
mod guarded;
mod harness;
mod idle;
mod one;
mod recreated;
mod runs;
mod scheduled;
mod scope;
mod sources;
mod sql;
mod three;
mod types;
