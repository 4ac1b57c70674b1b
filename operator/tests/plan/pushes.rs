//! The number of producers follows what is pushed: clients, producers and Kafka are played, look by look.
//!
//! A producer takes a hundred requests a second and refuses the rest. Each test has a control: the same world without what
//! holds, in which the number changes.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use millrace_api::crd::status::ScalingStatus;
use millrace_operator::looks::Looks;
use millrace_operator::plan::Plan;
use millrace_terms::Work;
use serde_json::{Value, json};

use crate::converge;
use crate::held::{condition, status};
use crate::world::World;

const SET: &str = "users-producer";
/// Requests a second of a producer that is busy all the time.
const CAPACITY: f64 = 100.0;
/// Seconds between two looks.
const EVERY: i64 = 5;
/// Half of what one producer takes.
const LITTLE: f64 = 50.0;
/// More than three producers take, and less than four.
const MUCH: f64 = 350.0;

/// A producer, with requests and seconds since it started.
struct Producer {
    born: DateTime<Utc>,
    answered: f64,
    refused: f64,
    working: f64,
    waiting: f64,
}

/// A pipeline to which clients push.
struct Play {
    world: World,
    /// Requests a second.
    input: f64,
    /// Requests a second that Kafka takes of all producers.
    kafka: f64,
    producers: BTreeMap<String, Producer>,
    /// Every number that Kubernetes was told, in order.
    told: Vec<i32>,
}

impl Play {
    /// Plays a complete pipeline whose producers are scaled so.
    fn new(scaling: Value) -> Self {
        let mut world = World::of("one");
        let producer = &mut world.resource.spec.producer;
        let source = json!({"name": "shop", "topic": "users_created", "key": "id", "push": {}});
        producer.sources = vec![serde_json::from_value(source).expect("it is valid")];
        producer.scaling = Some(serde_json::from_value(scaling).expect("it is valid"));
        converge(&mut world);
        world.observed.now = "2026-01-01T00:00:00Z".parse().expect("a moment");
        let told = vec![world.size(SET)];
        let mut play = Self { world, input: LITTLE, kafka: f64::MAX, producers: BTreeMap::new(), told };
        play.minutes(1);
        play
    }

    fn automatic() -> Self {
        let play = Self::new(json!({"mode": "Auto", "max": 6}));
        assert_eq!((play.scaling().capacity, &play.told[..]), (Some(CAPACITY), &[1][..]));
        play
    }

    fn scaling(&self) -> ScalingStatus {
        status(&self.world).producer_scaling().cloned().expect("it is scaled")
    }

    fn minutes(&mut self, minutes: i64) {
        for _ in 0..minutes * 60 / EVERY {
            self.look();
        }
    }

    fn look(&mut self) -> Plan {
        self.look_at(|_| {})
    }

    /// Lets some seconds pass, and then an operator; `hide` changes what it sees.
    fn look_at(&mut self, hide: impl FnOnce(&mut World)) -> Plan {
        self.world.observed.now += TimeDelta::seconds(EVERY);
        self.flow();
        self.world.settle();
        hide(&mut self.world);
        let plan = self.world.plan();
        self.world.carry_out(&plan);
        let given = self.world.size(SET);
        if self.told.last() != Some(&given) {
            self.told.push(given);
        }
        plan
    }

    /// Clients push to all producers alike.
    fn flow(&mut self) {
        let (seconds, now) = (EVERY as f64, self.world.observed.now);
        let count = self.world.size(SET).max(0);
        // The first has run for long.
        let age = if self.producers.is_empty() { TimeDelta::hours(1) } else { TimeDelta::seconds(EVERY) };
        for ordinal in 0..count {
            let producer = Producer { born: now - age, answered: 0.0, refused: 0.0, working: 0.0, waiting: 0.0 };
            self.producers.entry(format!("{SET}-{ordinal}")).or_insert(producer);
        }
        while self.producers.len() > count as usize {
            self.producers.pop_last();
        }
        for producer in self.producers.values_mut() {
            let comes = self.input / f64::from(count);
            let of_kafka = self.kafka / f64::from(count);
            let taken = comes.min(CAPACITY).min(of_kafka);
            let working = taken / CAPACITY;
            producer.answered += taken * seconds;
            producer.refused += (comes - taken) * seconds;
            producer.working += working * seconds;
            // What Kafka does not take fills the rest of the buffer.
            producer.waiting += if of_kafka < comes.min(CAPACITY) { (1.0 - working) * seconds } else { 0.0 };
        }
        self.world.pushed = self.producers.iter().map(|(name, producer)| (name.clone(), work(producer, now))).collect();
    }
}

fn work(producer: &Producer, now: DateTime<Utc>) -> Work {
    Work {
        uptime: (now - producer.born).num_milliseconds().unsigned_abs(),
        joined: true,
        settled: producer.answered.round() as u64,
        refused: producer.refused.round() as u64,
        working: (producer.working * 1e3).round() as u64,
        waiting: (producer.waiting * 1e3).round() as u64,
        ..Work::default()
    }
}

/// Little, much and little again. No template and no setting changes with the number, so that no producer is restarted.
#[test]
fn a_square_wave_scales_up_and_down_and_restarts_nothing() {
    let mut play = Play::automatic();
    for (input, minutes) in [(MUCH, 3), (LITTLE, 5)] {
        play.input = input;
        for _ in 0..minutes * 60 / EVERY {
            let plan = play.look();
            assert!(plan.acts.is_empty() && plan.waiting.is_empty(), "{:?}", plan.acts);
            assert!(plan.apply.len() == plan.apply.stateful_sets.len(), "another object than the producers' changes");
            assert_eq!(condition(&play.world, "Ready").map(|ready| ready.status).as_deref(), Some("True"));
        }
        let most = play.told.iter().copied().max().expect("it was told");
        let last = play.scaling().last_scaled.expect("it was scaled");
        if input == MUCH {
            assert!((4..=6).contains(&most) && play.told.is_sorted(), "{:?}", play.told);
            let is_told = last.message.contains("requests a second come in") && last.message.contains("refused");
            assert!(last.message.starts_with("Scales ") && is_told, "{}", last.message);
        } else {
            let says = format!("Scales {most} → 1: 50 requests a second come in, each producer handles 100");
            assert!(last.message.starts_with(&says), "{}", last.message);
        }
    }
    assert_eq!(play.told.last(), Some(&1));
}

/// The number is recorded before it is carried out.
#[test]
fn a_number_of_producers_is_in_the_status_one_pass_before_kubernetes_is_told() {
    let mut play = Play::automatic();
    play.input = MUCH;
    for _ in 0..60 / EVERY {
        if play.scaling().current == 1 {
            play.look();
        }
    }
    let decided = play.scaling().current;
    assert!(decided > 1 && play.world.size(SET) == 1, "{decided}");
    // The operator dies here; the next one has no look.
    play.world.observed.looks = Looks::default();
    play.look();
    assert_eq!((play.scaling().current, play.world.size(SET)), (decided, decided));
}

#[test]
fn nothing_is_written_while_nothing_is_pushed() {
    let mut play = Play::automatic();
    play.input = 0.0;
    play.minutes(4);
    let before = status(&play.world);
    for number in 0..30 {
        if number % 7 == 0 {
            play.world.observed.looks = Looks::default();
        }
        assert!(play.look().is_empty());
        assert_eq!(status(&play.world), before, "look {number}");
    }
    // The control: requests are news.
    play.input = MUCH;
    play.minutes(1);
    assert_ne!(status(&play.world).producer, before.producer);
}

/// What goes on holds, and what is missing: the number stays for two minutes, and changes when it is over.
#[test]
fn the_number_of_producers_is_held_while_something_goes_on_or_is_unknown() {
    type Hide = fn(&mut World);
    let holds: [(&str, Hide); 3] = [
        ("RollInProgress", |world| {
            let set = world.observed.children.stateful_sets.get_mut(SET).expect("it is there");
            set.status.as_mut().expect("it has a status").updated_replicas = Some(0);
        }),
        ("StoreOperationInProgress", |world| {
            let kafka = world.observed.stores.kafka.as_mut().expect("the brokers answer");
            kafka.topics.get_mut("users_created").expect("it is there").partitions[0].in_sync = 0;
        }),
        ("MetricsUnavailable", |world| world.observed.stores.producers.clear()),
    ];
    for (reason, hide) in holds {
        let mut play = Play::automatic();
        play.input = MUCH;
        for _ in 0..2 * 60 / EVERY {
            play.look_at(hide);
            assert_eq!(play.scaling().reason, reason, "{}", play.scaling().message);
        }
        assert_eq!(play.told, [1], "{reason}");
        play.minutes(2);
        assert!(play.told.len() > 1, "the control: {reason} is over");
    }
}

/// Kafka takes less than is pushed: more producers would not help, although requests are refused.
#[test]
fn kafka_that_is_the_limit_gets_no_more_producers() {
    let mut play = Play::automatic();
    play.kafka = 30.0;
    play.minutes(4);
    assert_eq!(play.told, [1]);
    let said = play.scaling();
    assert_eq!(said.reason, "SinkBackpressure", "{}", said.message);
    assert!(said.message.starts_with("Keeps 1: Kafka is the limit; "), "{}", said.message);
    // The control: as many requests are refused, and Kafka would take them.
    play.kafka = f64::MAX;
    play.input = MUCH;
    play.minutes(2);
    assert!(play.told.len() > 1, "{:?}", play.told);
}

/// The user's number stays; the control is the same load in the other mode.
#[test]
fn a_recommendation_changes_no_number_of_producers() {
    let mut play = Play::new(json!({"mode": "Recommend", "max": 6}));
    play.input = MUCH;
    for _ in 0..60 / EVERY {
        assert!(play.look().is_empty());
    }
    let said = play.scaling();
    assert!(said.current == 1 && said.recommended > 1 && said.last_scaled.is_none(), "{said:?}");
    assert!(said.message.starts_with("Would scale 1 → "), "{}", said.message);
    let scaling = play.world.resource.spec.producer.scaling.as_mut().expect("it is scaled");
    scaling.mode = Some(millrace_api::crd::ScalingMode::Auto);
    play.minutes(1);
    assert!(play.told.len() > 1, "{:?}", play.told);
}

/// 0 is the user's word, and a suspended pipeline comes back with the number that it had.
#[test]
fn no_producer_runs_where_none_is_asked_for_or_the_pipeline_is_suspended() {
    let mut play = Play::automatic();
    play.input = MUCH;
    play.minutes(3);
    let many = play.world.size(SET);
    assert!(many > 1);
    play.world.resource.spec.suspend = true;
    let generation = &mut play.world.resource.metadata.generation;
    *generation = generation.map(|generation| generation + 1);
    play.minutes(1);
    assert_eq!((play.world.size(SET), play.scaling().reason.as_str()), (0, "Suspended"));
    play.world.resource.spec.suspend = false;
    play.minutes(3);
    assert_eq!(play.world.size(SET), many);
    play.world.resource.spec.producer.replicas = 0;
    play.minutes(1);
    assert_eq!((play.world.size(SET), play.scaling().reason.as_str()), (0, "ScaledToZero"));
}

/// The control of all of the above: without `scaling` nobody looks, and nothing is said of it.
#[test]
fn producers_that_are_not_scaled_have_neither_looks_nor_a_status_of_it() {
    for scaling in [None, Some(json!({"max": 6})), Some(json!({"mode": "Off"}))] {
        let mut play = Play::automatic();
        play.world.resource.spec.producer.scaling =
            scaling.map(|scaling| serde_json::from_value(scaling).expect("it is valid"));
        play.input = MUCH;
        play.minutes(3);
        assert_eq!(play.told, [1]);
        assert!(play.world.observed.looks.pushes.history.newest().is_none());
        assert_eq!(status(&play.world).producer.and_then(|producer| producer.scaling), None);
    }
}
