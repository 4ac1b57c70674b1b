//! One situation each, and the sentence that comes of it.

use std::time::Duration;

use millrace_scaling::{
    Busy, Change, Decision, History, Memory, Moment, Observation, Partition, Peak, RestartCost, Settings, Situation,
    Underway, Worker, decide,
};

const NOW: u64 = 100_000;

/// A pipeline of 12 partitions; each processor takes 1,200 records a second.
#[derive(Clone)]
struct Case {
    settings: Settings,
    replicas: u32,
    /// Of each partition.
    lag: u64,
    input: f64,
    workers: Vec<Worker>,
    underway: Underway,
    memory: Memory,
}

fn worker(rate: f64, working: f64, waiting: f64) -> Worker {
    let write = Some(Duration::from_millis(240));
    Worker { age: Duration::from_secs(600), busy: Some(Busy { rate, working, waiting, write }) }
}

fn case(replicas: u32, input: f64, lag: u64) -> Case {
    let each = if replicas == 0 { 0.0 } else { (input * 12.0 / f64::from(replicas)).min(1_200.0) };
    let enough = Peak { replicas, until: None };
    Case {
        settings: Settings {
            min: 0,
            target_utilisation: 0.7,
            highest_utilisation: 0.9,
            down_window: Duration::from_secs(120),
            ..Settings::default()
        },
        replicas,
        lag,
        input,
        workers: vec![worker(each, each / 1_200.0, 0.0); replicas as usize],
        underway: Underway::default(),
        memory: Memory { replicas: Some(replicas), capacity: Some(1_200.0), peaks: vec![enough], last: None },
    }
}

impl Case {
    fn looks(&self) -> [Observation; 3] {
        [NOW - 10, NOW - 5, NOW].map(|at| {
            let partition = Partition { lag: Some(self.lag), input: Some(self.input) };
            Observation { at: Moment(at), partitions: vec![partition; 12], workers: self.workers.clone() }
        })
    }

    fn decide_by(&self, looks: impl IntoIterator<Item = Observation>) -> Decision {
        let mut history = History::default();
        looks.into_iter().for_each(|look| history.push(look));
        self.decide_with(&history)
    }

    fn decide_with(&self, history: &History) -> Decision {
        decide(&Situation {
            now: Moment(NOW),
            settings: &self.settings,
            replicas: self.replicas,
            history,
            underway: &self.underway,
            cost: RestartCost { start: Duration::from_secs(10), stop: Duration::from_secs(4) },
            memory: &self.memory,
        })
    }

    fn decide(&self) -> Decision {
        self.decide_by(self.looks())
    }

    /// By an operator whose predecessor observed until so many seconds ago.
    fn decide_after(&self, seconds_ago: u64) -> Decision {
        let mut history = History::after(Moment(NOW - seconds_ago));
        self.looks().into_iter().for_each(|look| history.push(look));
        self.decide_with(&history)
    }

    fn sentence(&self) -> String {
        self.decide().reason.to_string()
    }

    /// Needed no more than this for the whole window.
    fn quiet(mut self, enough: u32) -> Self {
        self.memory.peaks = vec![Peak { replicas: enough, until: None }];
        self
    }

    fn changed(mut self, seconds_ago: u64, from: u32, rate: f64) -> Self {
        self.memory.last = Some(Change { at: Moment(NOW - seconds_ago), from, to: self.replicas, rate });
        self
    }
}

#[test]
fn a_backlog_that_grows_gets_as_many_as_work_it_off_in_time() {
    // 3,300 a second come in and 2 take 2,400.
    let sentence = case(2, 275.0, 4_000).sentence();
    assert_eq!(
        sentence,
        "Scales 2 → 4: 41,400 records behind and growing by 900 a second; each processor handles 1,200 a second; 4 \
         catch up in 53 s"
    );
}

#[test]
fn a_load_in_the_dead_band_changes_nothing() {
    // 3 take 3,600 a second: at 3,000 they are busier than the target, and not too busy.
    assert_eq!(case(3, 250.0, 300).sentence(), "Keeps 3: processors are busy 83 % of the time, and none is behind");
    // Negative control: without the band, it is a change.
    let mut without = case(3, 250.0, 300);
    without.settings.highest_utilisation = without.settings.target_utilisation;
    assert_eq!(without.decide().replicas, 4);
}

#[test]
fn fewer_come_after_the_window_and_the_cool_down() {
    // 1,200 a second come in; 2 are enough for it.
    let low = case(4, 100.0, 100);
    assert_eq!(low.sentence(), "Keeps 4: 2 would do now, but 4 were needed within the last 2 min");
    let quiet = low.quiet(2);
    assert_eq!(
        quiet.sentence(),
        "Scales 4 → 2: 1,200 records a second come in, each processor handles 1,200, and no more were needed for 2 min"
    );
    assert_eq!(quiet.changed(20, 3, 1_200.0).sentence(), "Keeps 4: 2 are needed; the next change is possible in 40 s");
}

#[test]
fn the_most_that_was_needed_is_what_stays() {
    let mut low = case(6, 100.0, 100);
    low.memory.peaks = vec![Peak { replicas: 3, until: Some(Moment(NOW - 60)) }, Peak { replicas: 2, until: None }];
    assert_eq!(low.decide().replicas, 3);
    low.memory.peaks[0].until = Some(Moment(NOW - 120));
    assert_eq!(low.decide().replicas, 2);
}

#[test]
fn nothing_is_taken_away_from_what_catches_up() {
    assert_eq!(case(6, 100.0, 2_000).quiet(2).sentence(), "Keeps 6: 21,600 records are still behind");
}

#[test]
fn none_are_there_when_nothing_comes_and_the_first_record_wakes_one() {
    assert_eq!(case(2, 0.0, 0).quiet(0).sentence(), "Scales 2 → 0: no records wait, and none arrived for 2 min");
    // A record that waits is reason enough to stay.
    let mut one = case(2, 0.0, 0).quiet(1).looks();
    one[2].partitions[7].lag = Some(1);
    assert_eq!(case(2, 0.0, 0).quiet(1).decide_by(one.clone()).replicas, 1);
    assert_eq!(case(0, 0.0, 0).sentence(), "Keeps 0: no records wait, and none arrive");
    assert_eq!(case(0, 0.0, 0).decide_by(one).reason.to_string(), "Scales 0 → 1: 1 record behind");
    // To wake it takes no rates.
    let [.., newest] = case(0, 300.0, 1_500).looks();
    assert_eq!(case(0, 300.0, 1_500).decide_by([newest]).replicas, 1);
    // As many as it will take, if that is known.
    assert_eq!(case(0, 300.0, 1_500).sentence(), "Scales 0 → 4: 18,000 records behind");
}

#[test]
fn with_a_minimum_it_is_never_less() {
    let mut idle = case(2, 0.0, 0).quiet(0);
    idle.settings.min = 2;
    assert_eq!(idle.decide().replicas, 2);
    let mut none = case(0, 0.0, 0);
    none.settings.min = 2;
    assert_eq!(none.sentence(), "Scales 0 → 2: min is 2");
}

#[test]
fn what_is_not_allowed_is_named() {
    let behind = |max: u32| {
        let mut behind = case(max.min(12), 1_000.0, 20_000);
        behind.settings.max = max;
        behind
    };
    assert_eq!(behind(6).sentence(), "Keeps 6: 216,000 records behind and more processors needed, but max is 6");
    assert_eq!(
        behind(20).sentence(),
        "Keeps 12: 216,000 records behind and more processors needed, but there are 12 partitions"
    );
    let mut too_many = case(9, 100.0, 0);
    too_many.settings.max = 6;
    assert_eq!(too_many.sentence(), "Scales 9 → 6: max is 6");
    let mut more_than_partitions = case(13, 100.0, 0);
    more_than_partitions.settings.max = 20;
    assert_eq!(more_than_partitions.sentence(), "Scales 13 → 12: there are 12 partitions");
}

#[test]
fn a_change_is_given_time() {
    let early = case(2, 275.0, 4_000).changed(12, 1, 1_200.0);
    assert_eq!(early.sentence(), "Keeps 2: 4 are needed; the next change is possible in 18 s");
    let mut starting = case(2, 275.0, 4_000).changed(40, 1, 1_200.0);
    starting.workers.truncate(1);
    assert_eq!(starting.decide().replicas, 4);
    let mut stuck = case(2, 275.0, 4_000).changed(100, 1, 0.0);
    stuck.workers.truncate(1);
    assert_eq!(stuck.sentence(), "Keeps 2: only 1 processor has joined the group");
}

#[test]
fn a_sink_that_is_the_limit_gets_no_more_writers() {
    let mut waits = case(4, 600.0, 9_000);
    waits.workers = vec![worker(750.0, 0.17, 0.83); 4];
    assert_eq!(
        waits.sentence(),
        "Keeps 4: Cassandra is the limit; processors wait for it 83 % of their time, and it accepts 3,000 records a \
         second; 99 % of writes take at most 240 ms"
    );
    // Negative control: the same backlog, and processors that work.
    assert_eq!(case(4, 600.0, 9_000).decide().replicas, 12);
}

#[test]
fn what_did_not_help_is_not_tried_again_for_a_while() {
    let behind = case(4, 600.0, 9_000);
    let after = |seconds_ago: u64, before: f64| {
        let mut after = behind.clone().changed(seconds_ago, 2, before);
        after.workers = vec![worker(600.0, 0.5, 0.0); 4];
        after.memory.capacity = Some(1_200.0);
        after
    };
    assert_eq!(
        after(120, 2_350.0).sentence(),
        "Keeps 4: 2 processed 2,350 records a second, and 4 process 2,400; something else is the limit"
    );
    // Too early to say; long ago; and a step that did help.
    assert_eq!(after(40, 2_350.0).decide().replicas, 12);
    assert_eq!(after(600, 2_350.0).decide().replicas, 12);
    assert_eq!(after(120, 1_200.0).decide().replicas, 12);
}

#[test]
fn a_partition_that_no_processor_can_take_is_named() {
    let hot = case(6, 200.0, 400);
    let mut looks = hot.looks();
    for look in &mut looks {
        look.partitions[3] = Partition { lag: Some(500_000), input: Some(1_400.0) };
    }
    let decision = hot.decide_by(looks);
    assert_eq!(decision.reason.name(), "HotPartition", "{}", decision.reason);
    assert_eq!(
        decision.reason.to_string(),
        "Keeps 6: partition 3 alone gets 1,400 records a second, and a processor handles 1,200; more processors do not \
         help; use keys that spread better"
    );
}

/// Each would be a change without what holds it.
#[test]
fn what_goes_on_and_what_is_unknown_hold() {
    let behind = case(2, 275.0, 4_000);
    assert_eq!(behind.decide().replicas, 4);
    let store = Some("node cassandra-r1-2 joins".to_owned());
    for (underway, sentence) in [
        (Underway { rebalance: true, ..Underway::default() }, "Keeps 2: the consumer group rebalances"),
        (Underway { roll: true, ..Underway::default() }, "Keeps 2: processors are being replaced"),
        (Underway { store, ..Underway::default() }, "Keeps 2: node cassandra-r1-2 joins"),
    ] {
        assert_eq!(Case { underway, ..behind.clone() }.sentence(), sentence);
    }
    let mut looks = behind.looks();
    looks[2].partitions[4].lag = None;
    assert_eq!(behind.decide_by(looks).reason.to_string(), "Keeps 2: the lag of 1 partition is unknown");
    let mut looks = behind.looks();
    looks[2].workers[0].busy = None;
    assert_eq!(behind.decide_by(looks).reason.to_string(), "Keeps 2: the metrics of 1 processor are unknown");
    let mut looks = behind.looks();
    looks[2].workers.clear();
    assert_eq!(behind.decide_by(looks).reason.to_string(), "Keeps 2: no processor has joined the group");
    let [.., newest] = behind.looks();
    assert_eq!(behind.decide_by([newest]).reason.to_string(), "Keeps 2: rates need a second observation");
    assert_eq!(behind.decide_by([]).reason.to_string(), "Keeps 2: the partitions are unknown");
    let mut new = case(2, 275.0, 4_000);
    new.memory = Memory::default();
    new.workers = vec![Worker { age: Duration::from_secs(3), ..worker(1_200.0, 1.0, 0.0) }; 2];
    assert_eq!(new.sentence(), "Keeps 2: the capacity of a processor is unknown until one has been busy");
}

/// They wait for processors that come and go, and for nothing else: neither for a store nor for figures.
#[test]
fn the_users_bounds_hold_whatever_the_stores_do() {
    let trouble = "TopicsReady: a partition has no leader";
    let store = Underway { store: Some(trouble.to_owned()), ..Underway::default() };
    let bounded = |replicas: u32, underway: &Underway| {
        let mut bounded = case(replicas, 100.0, 0);
        (bounded.settings.min, bounded.settings.max) = (3, 6);
        bounded.underway = underway.clone();
        bounded
    };
    assert_eq!(bounded(9, &store).sentence(), "Scales 9 → 6: max is 6");
    assert_eq!(bounded(2, &store).sentence(), "Scales 2 → 3: min is 3");
    assert_eq!(bounded(9, &store).decide_by([]).replicas, 6);
    // The controls: within the bounds the store holds, and processors that come and go hold all.
    assert_eq!(bounded(4, &store).sentence(), format!("Keeps 4: {trouble}"));
    for underway in [Underway { rebalance: true, ..store.clone() }, Underway { roll: true, ..store.clone() }] {
        assert_eq!([9, 2].map(|replicas| bounded(replicas, &underway).decide().replicas), [9, 2]);
    }
    // How many partitions there are is nobody's order.
    let mut more_than_partitions = bounded(13, &store);
    more_than_partitions.settings.max = 20;
    assert_eq!(more_than_partitions.sentence(), format!("Keeps 13: {trouble}"));
}

/// What was remembered of the time before the gap says nothing of the gap. The controls: an operator that followed at once,
/// and one that has observed for a whole window.
#[test]
fn nothing_is_taken_away_for_a_window_that_nobody_observed() {
    let mut low = case(4, 100.0, 100);
    let ended = |seconds_ago| Peak { replicas: 4, until: Some(Moment(NOW - seconds_ago)) };
    low.memory.peaks = vec![ended(700), Peak { replicas: 2, until: None }];
    let Decision { replicas, reason, memory } = low.decide_after(600);
    assert_eq!((replicas, reason.name()), (4, "Cooldown"), "{reason}");
    assert_eq!(memory.peaks, [ended(10), Peak { replicas: 2, until: None }], "the first look is ten seconds old");
    assert_eq!(low.decide_after(25).replicas, 2);
    let mut history = History::after(Moment(NOW - 600));
    for seconds_ago in (0..=120).rev().step_by(5) {
        let [.., newest] = low.looks();
        history.push(Observation { at: Moment(NOW - seconds_ago), ..newest });
    }
    assert_eq!(low.decide_with(&history).replicas, 2);
    // Nor is it news where nothing could be taken away.
    let idle = case(2, 100.0, 100);
    assert_eq!(idle.decide_after(600).memory, idle.decide().memory);
}

/// An unknown need counts as one for all that run: what is missing is not zero.
#[test]
fn after_a_gap_the_window_begins_anew() {
    let low = case(4, 100.0, 100).quiet(2);
    assert_eq!(low.decide().replicas, 2);
    let mut looks = low.looks();
    looks[2].partitions[0].lag = None;
    let memory = low.decide_by(looks).memory;
    assert_eq!(Case { memory, ..low }.decide().replicas, 4);
}

#[test]
fn a_number_that_someone_else_has_set_stays_for_a_window() {
    let mut low = case(4, 100.0, 100).quiet(2);
    low.memory.replicas = Some(2);
    let decision = low.decide();
    assert_eq!((decision.replicas, decision.memory.replicas), (4, Some(4)));
}

#[test]
fn what_is_remembered_is_small_and_readable() {
    let decision = case(2, 275.0, 4_000).decide();
    let text = serde_json::to_string(&decision.memory).expect("memory is plain data");
    assert_eq!(
        text,
        concat!(
            r#"{"replicas":4,"capacity":1200.0,"peaks":[{"replicas":4}],"#,
            r#""last":{"at":100000,"from":2,"to":4,"rate":2400.0}}"#
        )
    );
    assert_eq!(serde_json::from_str::<Memory>(&text).expect("it is read back"), decision.memory);
}
