//! Prints the tables of docs/scaling.md, what tuned figures of the others cost, or one policy's way through one
//! scenario.
//!
//! ```text
//! cargo run -p millrace-scaling --example scaling                          the table of all scenarios
//! cargo run -p millrace-scaling --example scaling tuning                   the same without the held-out ones
//! cargo run -p millrace-scaling --example scaling grid                     figures for the tuned contenders
//! cargo run -p millrace-scaling --example scaling paper                    what a large pipeline needs
//! cargo run -p millrace-scaling --example scaling explain 'square wave'    our reasons, second by second
//! ```

use millrace_scaling::paper::{self, Costs};
use millrace_scaling::simulation::judge::play;
use millrace_scaling::simulation::ours::Ours;
use millrace_scaling::simulation::scenario::{held_out, tuning};
use millrace_scaling::simulation::table;

#[expect(clippy::disallowed_methods, reason = "the command line comes in here")]
fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => print!("{}", table::markdown(&table::results())),
        ["tuning"] => {
            let results: Vec<_> =
                tuning().into_iter().map(|scenario| (scenario.clone(), table::outcomes(&scenario))).collect();
            print!("{}", table::markdown(&results));
        }
        ["grid"] => table::grid().into_iter().for_each(|(figure, cost)| println!("{figure:50} {cost:.3}")),
        ["paper"] => match Costs::from_benchmark(include_str!("../../docs/benchmark.md")) {
            Some(costs) => print!("{}", paper::markdown(&paper::LARGE, &costs)),
            None => eprintln!("docs/benchmark.md has no costs"),
        },
        ["explain", name] => explain(name),
        _ => eprintln!("usage: scaling [tuning | grid | paper | explain NAME]"),
    }
}

fn explain(name: &str) {
    let mut scenarios = tuning().into_iter().chain(held_out(table::SEED));
    let Some(scenario) = scenarios.find(|scenario| scenario.name == name) else {
        eprintln!("there is no scenario '{name}'");
        return;
    };
    let mut ours = Ours::new(&scenario);
    let outcome = play(&scenario, &mut ours);
    ours.reasons.iter().for_each(|(second, reason)| println!("{second:6} {reason}"));
    println!("{outcome:?}");
}
