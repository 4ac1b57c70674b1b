//! The end-to-end scenarios, one program: `e2e/run.sh` installs the chart and calls it.
//!
//! ```text
//! cluster                 checks without a cluster: the catalogue, and the scenarios' test data. `cargo test` does this
//! cluster plan [NAME...]  prints which scenarios a run takes, and why
//! cluster run [NAME...]   runs them, and ends with a line `N passed, N failed`
//! ```
//!
//! Each scenario has a thread and a runtime of its own, a turn in the queue and a log; one that fails, fails alone.

#![expect(clippy::disallowed_methods, reason = "it judges a cluster from outside: by the clock, files and programs")]

mod plan;
mod run;
mod scenario;

mod browser;
mod chaos;
mod chart;
mod command;
mod console;
mod controls;
mod external;
mod foreign;
mod generated;
mod grown;
mod guarded;
mod harness;
mod idle;
mod injected;
mod lost;
mod nodes;
mod one;
mod recreated;
mod rolls;
mod runs;
mod scaled;
mod scheduled;
mod scope;
mod shop;
mod sources;
mod sql;
mod three;
mod troubles;
mod types;
mod upgraded;
mod versions;

use std::process::ExitCode;

use anyhow::Result;
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use millrace_e2e::Turn;

/// A scenario's name in the catalogue, and the scenario.
type Scenario = (&'static str, fn(Turn) -> LocalBoxFuture<'static, Result<()>>);

/// Every scenario. When and beside which others they run is said by `e2e/scenarios.toml`.
const SCENARIOS: &[Scenario] = &[
    ("an_idle_pipeline_is_left_alone", |turn| idle::an_idle_pipeline_is_left_alone(turn).boxed_local()),
    ("a_guarded_pipeline_keeps_strangers_out_and_tells_what_happens", |turn| {
        guarded::a_guarded_pipeline_keeps_strangers_out_and_tells_what_happens(turn).boxed_local()
    }),
    ("one_of_each_takes_rows_and_changes", |turn| one::one_of_each_takes_rows_and_changes(turn).boxed_local()),
    ("a_column_of_every_type_takes_what_fits_and_nothing_else", |turn| {
        types::a_column_of_every_type_takes_what_fits_and_nothing_else(turn).boxed_local()
    }),
    ("a_lost_volume_is_reported_and_its_rows_are_read_again", |turn| {
        lost::a_lost_volume_is_reported_and_its_rows_are_read_again(turn).boxed_local()
    }),
    ("a_pipeline_survives_its_operator_and_comes_back_with_its_data", |turn| {
        recreated::a_pipeline_survives_its_operator_and_comes_back_with_its_data(turn).boxed_local()
    }),
    ("runs_are_accounted_for", |turn| runs::runs_are_accounted_for(turn).boxed_local()),
    ("queries_with_sql_write_what_they_say", |turn| sql::queries_with_sql_write_what_they_say(turn).boxed_local()),
    ("the_command_shows_what_is_there", |turn| command::the_command_shows_what_is_there(turn).boxed_local()),
    ("ten_troubles_are_named_on_the_cluster", |turn| {
        troubles::ten_troubles_are_named_on_the_cluster(turn).boxed_local()
    }),
    ("a_pipeline_grows_while_records_arrive", |turn| grown::a_pipeline_grows_while_records_arrive(turn).boxed_local()),
    ("brokers_come_and_go_while_records_arrive", |turn| {
        grown::brokers_come_and_go_while_records_arrive(turn).boxed_local()
    }),
    ("zookeeper_grows_and_shrinks_while_records_arrive", |turn| {
        grown::zookeeper_grows_and_shrinks_while_records_arrive(turn).boxed_local()
    }),
    ("cassandra_nodes_come_and_go_while_records_arrive", |turn| {
        grown::cassandra_nodes_come_and_go_while_records_arrive(turn).boxed_local()
    }),
    ("processors_follow_a_square_wave", |turn| scaled::processors_follow_a_square_wave(turn).boxed_local()),
    ("a_pipeline_lives_on_the_stores_of_another", |turn| {
        external::a_pipeline_lives_on_the_stores_of_another(turn).boxed_local()
    }),
    ("a_foreign_object_is_left_alone", |turn| foreign::a_foreign_object_is_left_alone(turn).boxed_local()),
    ("a_failure_is_dumped_and_its_namespace_deleted", |turn| {
        harness::a_failure_is_dumped_and_its_namespace_deleted(turn).boxed_local()
    }),
    ("helm_test_takes_one_record_through", |turn| chart::helm_test_takes_one_record_through(turn).boxed_local()),
    ("generated_records_are_rows_once_whatever_comes_between", |turn| {
        generated::generated_records_are_rows_once_whatever_comes_between(turn).boxed_local()
    }),
    ("pushed_filed_and_copied_records_are_rows_once", |turn| {
        sources::pushed_filed_and_copied_records_are_rows_once(turn).boxed_local()
    }),
    ("sources_that_people_have", |turn| shop::sources_that_people_have(turn).boxed_local()),
    ("beside_a_mutating_webhook", |turn| injected::beside_a_mutating_webhook(turn).boxed_local()),
    ("scheduled_runs_survive_kills_of_the_operator", |turn| {
        scheduled::scheduled_runs_survive_kills_of_the_operator(turn).boxed_local()
    }),
    ("full_and_slow_disks_lose_nothing", |turn| chaos::full_and_slow_disks_lose_nothing(turn).boxed_local()),
    ("faults_at_random_lose_nothing", |turn| chaos::faults_at_random_lose_nothing(turn).boxed_local()),
    ("three_of_each_survive_a_kill_of_every_kind", |turn| {
        three::three_of_each_survive_a_kill_of_every_kind(turn).boxed_local()
    }),
    ("rolls_wait_for_every_replica_and_lose_nothing", |turn| {
        rolls::rolls_wait_for_every_replica_and_lose_nothing(turn).boxed_local()
    }),
    ("a_drained_node_and_one_that_stands_still_lose_nothing", |turn| {
        nodes::a_drained_node_and_one_that_stands_still_lose_nothing(turn).boxed_local()
    }),
    ("a_cut_off_leader_takes_nothing_with_it", |turn| {
        chaos::a_cut_off_leader_takes_nothing_with_it(turn).boxed_local()
    }),
    ("sabotage_is_noticed", |turn| controls::sabotage_is_noticed(turn).boxed_local()),
    ("scope_of_one_namespace_reaches_no_other", |turn| {
        scope::scope_of_one_namespace_reaches_no_other(turn).boxed_local()
    }),
    ("stores_change_their_versions_under_load", |turn| {
        versions::stores_change_their_versions_under_load(turn).boxed_local()
    }),
    ("an_upgrade_restarts_no_store_and_can_be_backed_out", |turn| {
        upgraded::an_upgrade_restarts_no_store_and_can_be_backed_out(turn).boxed_local()
    }),
    ("the_page_works_in_a_browser", |turn| browser::the_page_works_in_a_browser(turn).boxed_local()),
    ("the_console_shows_and_does_what_its_viewer_may", |turn| {
        console::the_console_shows_and_does_what_its_viewer_may(turn).boxed_local()
    }),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ended = match arguments.split_first().map(|(verb, names)| (verb.as_str(), names)) {
        Some(("run", names)) => run::run(names),
        Some(("plan", names)) => plan::Plan::make(names).map(|plan| {
            plan.print();
            true
        }),
        _ => Ok(plan::check()),
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
