//! The end-to-end tests. Each has a namespace of its own on the cluster that `make cluster` makes; `e2e/run.sh`
//! installs the chart and runs them in a good order.

mod scenario;

mod chart;
mod controls;
mod foreign;
mod generated;
mod harness;
mod idle;
mod one;
mod recreated;
mod sources;
mod three;
mod types;
