//! The table of docs/scaling.md: every contender in every scenario.

use std::fmt::Write;
use std::time::Duration;

use super::flink::Flink;
use super::judge::{Contender, Outcome, Patience, USUAL, play};
use super::keda::Keda;
use super::numaflow::Numaflow;
use super::ours::Ours;
use super::scenario::{Scenario, held_out, tuning};
use crate::Settings;

/// Seed of the held-out scenarios of the table.
pub const SEED: u64 = 200;

/// Seeds of the held-out scenarios that are only counted.
const COUNTED: std::ops::Range<u64> = 201..211;

/// Two costs that differ by less than this part are equal.
const EQUAL: f64 = 0.01;

/// Plays all scenarios, those by which constants were chosen first.
pub fn results() -> Vec<(Scenario, Vec<Outcome>)> {
    let all = tuning().into_iter().chain(held_out(SEED));
    let played = all.map(|scenario| {
        let outcomes = outcomes(&scenario);
        (scenario, outcomes)
    });
    played.collect()
}

/// Plays one scenario with each contender.
pub fn outcomes(scenario: &Scenario) -> Vec<Outcome> {
    Contender::ALL.map(|contender| play(scenario, contender.policy(scenario).as_mut())).to_vec()
}

/// Returns whether ours costs least, or as little as the least.
pub fn is_best(outcomes: &[Outcome], patience: Patience) -> bool {
    let least = outcomes.iter().map(|outcome| outcome.cost(patience)).fold(f64::MAX, f64::min);
    outcomes[0].cost(patience) <= least * (1.0 + EQUAL)
}

/// Writes the table as Markdown.
pub fn markdown(results: &[(Scenario, Vec<Outcome>)]) -> String {
    let mut page = String::new();
    for is_held_out in [false, true] {
        let title = if is_held_out { "Held-out traces" } else { "Tuning traces" };
        page += &format!("### {title}\n\n");
        for (scenario, outcomes) in results.iter().filter(|(scenario, _)| scenario.is_held_out == is_held_out) {
            write_scenario(&mut page, scenario, outcomes).expect("a String takes all");
        }
    }
    page + &summary(results) + &counted()
}

/// Says how ours does on the held-out traces of other seeds.
fn counted() -> String {
    let played: Vec<Vec<(Scenario, Vec<Outcome>)>> = COUNTED
        .map(|seed| held_out(seed).into_iter().map(|scenario| (scenario.clone(), outcomes(&scenario))).collect())
        .collect();
    let seeds = played.len();
    let mut text = format!("\n### The held-out traces of {seeds} other seeds\n\n");
    text += "| trace | Millrace best or equal | its cost, average | least average of another |\n|---|---|---|---|\n";
    for place in 0..played[0].len() {
        let of_kind: Vec<&(Scenario, Vec<Outcome>)> = played.iter().map(|scenarios| &scenarios[place]).collect();
        let best = of_kind.iter().filter(|(_, outcomes)| is_best(outcomes, USUAL)).count();
        let average = |contender: usize| {
            of_kind.iter().map(|(_, outcomes)| outcomes[contender].cost(USUAL)).sum::<f64>() / seeds as f64
        };
        let others = (1..Contender::ALL.len()).map(|contender| (average(contender), Contender::ALL[contender]));
        let (least, other) = others.min_by(|one, other| one.0.total_cmp(&other.0)).expect("there are others");
        let name = of_kind[0].0.name;
        text += &format!("| {name} | {best} of {seeds} | {:.2} | {least:.2} ({}) |\n", average(0), other.name());
    }
    text
}

fn write_scenario(page: &mut String, scenario: &Scenario, outcomes: &[Outcome]) -> std::fmt::Result {
    writeln!(page, "**{}**: {}.\n", capitalised(scenario.name), scenario.about)?;
    writeln!(
        page,
        "| policy | cost | overshoot | behind: times, longest | processor-hours | of least | rebalances | > 5 s | > \
         30 s |"
    )?;
    writeln!(page, "|---|---|---|---|---|---|---|---|---|")?;
    let least = outcomes.iter().map(|outcome| outcome.cost(USUAL)).fold(f64::MAX, f64::min);
    for (contender, outcome) in Contender::ALL.into_iter().zip(outcomes) {
        let cost = outcome.cost(USUAL);
        let mark = if cost <= least * (1.0 + EQUAL) { "**" } else { "" };
        let longest = outcome.longest_behind().map_or("–".to_owned(), |seconds| format!("{seconds} s"));
        writeln!(
            page,
            "| {} | {mark}{cost:.2}{mark} | {} | {}, {longest} | {:.1} | {:.2} | {} | {} | {} |",
            contender.name(),
            outcome.overshoot,
            outcome.behind.len(),
            outcome.replica_seconds / 3600.0,
            outcome.replica_seconds / outcome.least_seconds,
            outcome.rebalances,
            share(outcome.delayed, outcome.records),
            share(outcome.late, outcome.records),
        )?;
    }
    writeln!(page)
}

/// Says on how many traces ours is best, also where waiting costs much less or more.
fn summary(results: &[(Scenario, Vec<Outcome>)]) -> String {
    let mut text = String::from("### Where Millrace costs least\n\n");
    text +=
        "| a record that waited > 5 s, > 30 s costs | best or equal on tuning traces | on held-out traces | not on |\n";
    text += "|---|---|---|---|\n";
    let tenth = Patience { delayed: 0.1, late: 1.0 };
    let tenfold = Patience { delayed: 10.0, late: 100.0 };
    for patience in [tenth, USUAL, tenfold] {
        let of = |is_held_out: bool| {
            let all = results.iter().filter(|(scenario, _)| scenario.is_held_out == is_held_out);
            let best = all.clone().filter(|(_, outcomes)| is_best(outcomes, patience)).count();
            format!("{best} of {}", all.count())
        };
        let others: Vec<String> = results
            .iter()
            .filter(|(_, outcomes)| !is_best(outcomes, patience))
            .map(|(scenario, outcomes)| format!("{} ({})", scenario.name, best(outcomes, patience).name()))
            .collect();
        let others = if others.is_empty() { "–".to_owned() } else { others.join(", ") };
        let (tuned, held) = (of(false), of(true));
        let Patience { delayed, late } = patience;
        text += &format!("| {delayed} and {late} times its processing | {tuned} | {held} | {others} |\n");
    }
    text
}

fn best(outcomes: &[Outcome], patience: Patience) -> Contender {
    let cost = |place: &usize| outcomes[*place].cost(patience);
    let place = (0..outcomes.len()).min_by(|one, other| cost(one).total_cmp(&cost(other)));
    Contender::ALL[place.unwrap_or_default()]
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn share(part: f64, all: f64) -> String {
    match part / all {
        _ if part < 0.5 => "0".to_owned(),
        share if share < 0.0005 => "< 0.1 %".to_owned(),
        share => format!("{:.1} %", share * 100.0),
    }
}

/// Returns what each figure of the tuned contenders costs, on average over the tuning scenarios.
pub fn grid() -> Vec<(String, f64)> {
    let scenarios = tuning();
    let average = |cost: &dyn Fn(&Scenario) -> Outcome| {
        scenarios.iter().map(|scenario| cost(scenario).cost(USUAL)).sum::<f64>() / scenarios.len() as f64
    };
    let mut costs = Vec::new();
    for (seconds, stabilization) in pairs([0.7, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0], [60, 120, 300]) {
        let cost = average(&|scenario| play(scenario, &mut Keda::tuned(scenario, seconds, stabilization)));
        costs.push((format!("KEDA, {seconds} s, stabilisation {stabilization} s"), cost));
    }
    for (target, lookback) in pairs([2.0, 3.0, 5.0, 7.0, 10.0], [15, 30, 60, 120]) {
        let cost = average(&|scenario| play(scenario, &mut Numaflow::tuned(scenario, target, lookback)));
        costs.push((format!("Numaflow, {target} s, look back {lookback} s"), cost));
    }
    for (window, scale_down_interval) in pairs([15, 30, 45, 60, 120], [30, 60, 120, 300]) {
        let cost = average(&|scenario| play(scenario, &mut Flink::tuned(scenario, window, scale_down_interval)));
        costs.push((format!("Flink, {window} s, fewer after {scale_down_interval} s"), cost));
    }
    for (target, window) in
        pairs([(0.65, 0.85), (0.7, 0.9), (0.75, 0.9), (0.75, 0.95), (0.8, 0.95)], [60, 120, 180, 300])
    {
        let settings = |scenario: &Scenario| Settings {
            min: scenario.min,
            max: scenario.max,
            target_utilisation: target.0,
            highest_utilisation: target.1,
            down_window: Duration::from_secs(window),
            ..Settings::default()
        };
        let cost = average(&|scenario| play(scenario, &mut Ours::with(settings(scenario), scenario)));
        costs.push((format!("Millrace, {} to {}, window {window} s", target.0, target.1), cost));
    }
    costs
}

/// Returns each of these with each of those.
fn pairs<A: Copy, B: Copy, const N: usize, const M: usize>(these: [A; N], those: [B; M]) -> Vec<(A, B)> {
    these.into_iter().flat_map(|this| those.map(|that| (this, that))).collect()
}
