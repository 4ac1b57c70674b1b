//! The number of processors follows the load: input, processors and consumer group are played, look by look.
//!
//! A processor takes a thousand records a second of the partitions that it has. Each test has a control: the same world
//! without what holds, in which the number changes.

use std::collections::BTreeMap;
use std::time::SystemTime;

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::api::core::v1::Pod;
use millrace_api::crd::status::ScalingStatus;
use millrace_operator::labels::COMPONENT_LABEL;
use millrace_operator::looks::Looks;
use millrace_operator::plan::Plan;
use millrace_scaling::{History, Moment};
use millrace_stores::kafka::{GroupClient, Position};
use millrace_terms::Work;
use serde_json::{Value, json};

use crate::held::{condition, status};
use crate::world::World;
use crate::{brokers, converge};

const TOPIC: &str = "users_created";
const PROCESSOR: &str = "users-processor";
const PARTITIONS: usize = 6;
/// Records a second of a processor that is busy all the time.
const CAPACITY: f64 = 1_000.0;
/// Seconds between two looks.
const EVERY: i64 = 5;
/// Half of what one processor takes.
const LITTLE: f64 = 500.0;
/// More than three processors take, and less than six.
const MUCH: f64 = 3_500.0;

/// A processor, with records and seconds since it started.
struct Processor {
    born: DateTime<Utc>,
    settled: f64,
    working: f64,
    waiting: f64,
}

/// Offsets of a partition; records come in parts.
#[derive(Clone, Copy, Default)]
struct Log {
    end: f64,
    committed: f64,
}

/// A pipeline under a load.
struct Play {
    world: World,
    /// Records a second that come in.
    input: f64,
    /// Records a second that Cassandra takes of all processors.
    sink: f64,
    logs: [Log; PARTITIONS],
    processors: BTreeMap<String, Processor>,
    /// Processors that were made so far.
    made: usize,
    /// Every number that Kubernetes was told, in order.
    told: Vec<i32>,
}

impl Play {
    /// Plays a complete pipeline that is scaled so.
    fn new(scaling: Value) -> Self {
        let mut world = World::of("one");
        world.resource.spec.kafka.topics[0].partitions = PARTITIONS as i32;
        world.resource.spec.processor.scaling = Some(serde_json::from_value(scaling).expect("it is valid"));
        converge(&mut world);
        world.observed.now = "2026-01-01T00:00:00Z".parse().expect("a moment");
        let mut play = Self {
            world,
            input: LITTLE,
            sink: f64::MAX,
            logs: [Log::default(); PARTITIONS],
            processors: BTreeMap::new(),
            made: 0,
            told: Vec::new(),
        };
        let given = play.given();
        play.told.push(given);
        play
    }

    /// Plays one that is scaled automatically, and of which is known what its processors can do.
    fn automatic() -> Self {
        let mut play = Self::new(json!({"mode": "Auto", "max": 6}));
        play.minutes(1);
        assert_eq!((play.scaling().capacity, &play.told[..]), (Some(CAPACITY), &[1][..]));
        play
    }

    fn given(&self) -> i32 {
        let deployment = &self.world.observed.children.deployments[PROCESSOR];
        deployment.spec.as_ref().and_then(|spec| spec.replicas).expect("it is set")
    }

    fn scaling(&self) -> ScalingStatus {
        status(&self.world).scaling().cloned().expect("it is scaled")
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
        self.start_processors();
        self.world.observed.now += TimeDelta::seconds(EVERY);
        self.flow();
        self.world.settle();
        hide(&mut self.world);
        let plan = self.world.plan();
        self.world.carry_out(&plan);
        let given = self.given();
        if self.told.last() != Some(&given) {
            self.told.push(given);
        }
        plan
    }

    /// Runs as many processors as Kubernetes is told.
    fn start_processors(&mut self) {
        let (given, pods) = (self.given() as usize, &mut self.world.observed.children.pods);
        while self.processors.len() < given {
            // The first has run for long.
            let age = if self.made == 0 { TimeDelta::hours(1) } else { TimeDelta::zero() };
            let name = format!("{PROCESSOR}-{}", self.made);
            self.made += 1;
            pods.insert(name.clone(), pod(&name));
            let born = self.world.observed.now - age;
            self.processors.insert(name, Processor { born, settled: 0.0, working: 0.0, waiting: 0.0 });
        }
        while self.processors.len() > given {
            let (name, _) = self.processors.pop_last().expect("there is one");
            pods.remove(&name);
        }
    }

    /// Records come, and the processors take them.
    fn flow(&mut self) {
        let (seconds, now) = (EVERY as f64, self.world.observed.now);
        for log in &mut self.logs {
            log.end += self.input * seconds / PARTITIONS as f64;
        }
        let count = self.processors.len();
        for (place, processor) in self.processors.values_mut().enumerate() {
            let may = CAPACITY.min(self.sink / count as f64) * seconds;
            let mut left = may;
            for log in self.logs.iter_mut().skip(place).step_by(count) {
                let taken = (log.end - log.committed).min(left);
                log.committed += taken;
                left -= taken;
            }
            let working = (may - left) / CAPACITY;
            processor.settled += may - left;
            processor.working += working;
            // With records left it would go on if it could.
            processor.waiting += if left > 0.0 { 0.0 } else { seconds - working };
        }
        self.world.work =
            self.processors.iter().map(|(name, processor)| (name.clone(), work(processor, now))).collect();
        let offset = |offset: f64| offset as i64;
        let numbered = || (0..).zip(&self.logs);
        let behind = |log: &Log| offset(log.end) - offset(log.committed);
        let position = Position {
            end: self.logs.iter().map(|log| offset(log.end)).sum(),
            committed: self.logs.iter().map(|log| offset(log.committed)).sum(),
            beyond: 0,
            lag: self.logs.iter().map(behind).sum(),
            behind: numbered().map(|(number, log)| (number, behind(log))).filter(|(_, lag)| *lag > 0).collect(),
            ends: numbered().map(|(number, log)| (number, offset(log.end))).collect(),
            at: Some(SystemTime::from(now)),
            ..Position::default()
        };
        self.world.read.insert(TOPIC.to_owned(), position);
    }
}

fn work(processor: &Processor, now: DateTime<Utc>) -> Work {
    let uptime = (now - processor.born).num_milliseconds().unsigned_abs();
    Work {
        uptime,
        joined: true,
        assigned: Some(uptime),
        settled: processor.settled as u64,
        working: (processor.working * 1e3) as u64,
        waiting: (processor.waiting * 1e3) as u64,
        ..Work::default()
    }
}

fn pod(name: &str) -> Pod {
    let pod = json!({
        "metadata": {"name": name, "labels": {(COMPONENT_LABEL): "processor"}},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    });
    serde_json::from_value(pod).expect("a pod")
}

/// Little, much and little again: one, six and one processors, and nothing else is touched.
#[test]
fn a_square_wave_scales_up_and_down_once_and_disturbs_nothing() {
    let mut play = Play::automatic();
    for (input, minutes) in [(MUCH, 3), (LITTLE, 5)] {
        play.input = input;
        for _ in 0..minutes * 60 / EVERY {
            let plan = play.look();
            assert!(plan.acts.is_empty() && plan.waiting.is_empty(), "{:?}", plan.acts);
            assert!(plan.apply.len() == plan.apply.deployments.len(), "another object than the processors' changes");
            assert_eq!(condition(&play.world, "Ready").map(|ready| ready.status).as_deref(), Some("True"));
        }
        let last = play.scaling().last_scaled.expect("it was scaled");
        let says = if input == MUCH { "Scales 1 → 6: " } else { "Scales 6 → 1: " };
        assert!(last.message.starts_with(says), "{}", last.message);
    }
    assert_eq!(play.told, [1, 6, 1]);
    let lag: i64 = play.world.read[TOPIC].lag;
    assert_eq!(lag, 0, "nothing is left behind");
}

/// The number is recorded before it is carried out.
#[test]
fn a_number_is_in_the_status_one_pass_before_kubernetes_is_told() {
    let mut play = Play::automatic();
    play.input = MUCH;
    for _ in 0..60 / EVERY {
        if play.scaling().current == 1 {
            play.look();
        }
    }
    assert_eq!((play.scaling().current, play.given()), (6, 1));
    // The operator dies here; the next one has no look.
    play.world.observed.looks = Looks::default();
    play.look();
    assert_eq!((play.scaling().current, play.given()), (6, 6));
}

#[test]
fn nothing_is_written_for_an_idle_pipeline() {
    let mut play = Play::automatic();
    play.input = 0.0;
    play.minutes(4);
    let before = status(&play.world);
    for number in 0..60 {
        if number % 7 == 0 {
            play.world.observed.looks = Looks::default();
        }
        assert!(play.look().is_empty());
        assert_eq!(status(&play.world), before, "look {number}");
    }
    // The control: records are news.
    play.input = MUCH;
    play.minutes(1);
    assert_ne!(status(&play.world).processor, before.processor);
}

/// What goes on holds, and what is missing: the number stays for two minutes, and changes when it is over.
#[test]
fn the_number_is_held_while_something_goes_on_or_is_unknown() {
    type Hide = fn(&mut World);
    let holds: [(&str, Hide); 6] = [
        ("RebalanceInProgress", |world| brokers(world).group.as_mut().expect("it is known").stable = false),
        ("RollInProgress", |world| world.roll_out(0)),
        ("StoreOperationInProgress", |world| {
            brokers(world).topics.get_mut(TOPIC).expect("it is there").partitions[0].in_sync = 0;
        }),
        ("ForeignMember", |world| {
            let group = brokers(world).group.as_mut().expect("it is known");
            group.clients.insert(GroupClient { id: "kcat".to_owned(), host: "/10.0.0.7".to_owned() });
        }),
        ("MetricsUnavailable", |world| world.observed.stores.processors.clear()),
        ("MetricsUnavailable", |world| brokers(world).positions = None),
    ];
    for (reason, hide) in holds {
        let mut play = Play::automatic();
        play.input = MUCH;
        for _ in 0..2 * 60 / EVERY {
            play.look_at(hide);
            assert_eq!(play.scaling().reason, reason, "{}", play.scaling().message);
        }
        assert_eq!(play.told, [1], "{reason}");
        play.minutes(1);
        assert_eq!(play.told, [1, 6], "the control: {reason} is over");
    }
}

/// Cassandra takes less than comes in: more processors would not help.
#[test]
fn a_sink_that_is_the_limit_gets_no_more_processors() {
    let mut play = Play::automatic();
    play.sink = 300.0;
    play.minutes(5);
    assert_eq!(play.told, [1]);
    let said = play.scaling();
    assert_eq!(said.reason, "SinkBackpressure");
    assert!(
        said.message.starts_with("Keeps 1: Cassandra is the limit; processors wait for it 70 %"),
        "{}",
        said.message
    );
    // The control: the same backlog, and a sink that takes it.
    play.sink = f64::MAX;
    play.input = MUCH;
    play.minutes(1);
    assert_eq!(play.told, [1, 6]);
}

/// A single look decides nothing, and the numbers of a wave are the same.
#[test]
fn operators_that_die_again_and_again_scale_alike() {
    let mut play = Play::automatic();
    for (input, minutes) in [(MUCH, 4), (LITTLE, 6)] {
        play.input = input;
        for number in 0..minutes * 60 / EVERY {
            if number % 4 == 0 {
                play.world.observed.looks = Looks::default();
                let before = play.scaling();
                play.look();
                assert_eq!(play.scaling(), before, "a new operator has only one look");
            } else {
                play.look();
            }
        }
    }
    assert_eq!(play.told, [1, 6, 1]);
}

/// The user's number stays; the control is the same load in the other mode.
#[test]
fn a_recommendation_changes_nothing() {
    let mut play = Play::new(json!({"mode": "Recommend", "max": 6}));
    play.minutes(1);
    assert_eq!((play.scaling().recommended, play.scaling().current), (1, 1));
    play.input = MUCH;
    for _ in 0..60 / EVERY {
        assert!(play.look().is_empty());
    }
    let said = play.scaling();
    assert_eq!((said.current, said.recommended, said.last_scaled), (1, 6, None));
    assert!(said.message.starts_with("Would scale 1 → 6: "), "{}", said.message);
    let scaling = play.world.resource.spec.processor.scaling.as_mut().expect("it is scaled");
    scaling.mode = Some(millrace_api::crd::ScalingMode::Auto);
    play.minutes(1);
    assert_eq!(play.told, [1, 6]);
}

#[test]
fn a_lower_bound_holds_at_once_and_says_so() {
    let mut play = Play::automatic();
    let scaling = |play: &mut Play, min| {
        play.world.resource.spec.processor.scaling.as_mut().expect("it is scaled").min = min;
    };
    scaling(&mut play, 3);
    play.look();
    let said = play.scaling();
    assert_eq!((said.reason.as_str(), said.message.as_str()), ("ScaledToLimit", "Scales 1 → 3: min is 3"));
    play.minutes(10);
    assert_eq!(play.told, [1, 3], "one would do");
    scaling(&mut play, 1);
    play.minutes(5);
    assert_eq!(play.told, [1, 3, 1], "the control");
}

/// A user's bound is an order. The control: while processors are replaced, it waits.
#[test]
fn a_bound_that_is_changed_holds_while_a_store_is_in_trouble() {
    let mut play = Play::automatic();
    play.input = MUCH;
    play.minutes(2);
    let bounds = |play: &mut Play, min, max| {
        let scaling = play.world.resource.spec.processor.scaling.as_mut().expect("it is scaled");
        (scaling.min, scaling.max) = (min, max);
    };
    let trouble = |world: &mut World| {
        brokers(world).topics.get_mut(TOPIC).expect("it is there").partitions[0].in_sync = 0;
    };
    play.look_at(trouble);
    assert_eq!(play.scaling().reason, "StoreOperationInProgress");
    bounds(&mut play, 1, 3);
    for _ in 0..3 {
        play.look_at(|world| world.roll_out(0));
    }
    assert_eq!((&play.told[..], play.scaling().reason.as_str()), (&[1, 6][..], "RollInProgress"));
    play.look_at(trouble);
    let said = play.scaling();
    assert_eq!((said.reason.as_str(), said.message.as_str()), ("ScaledToLimit", "Scales 6 → 3: max is 3"));
    play.look_at(trouble);
    assert_eq!(play.told, [1, 6, 3]);
    bounds(&mut play, 5, 6);
    play.look_at(trouble);
    play.look_at(trouble);
    assert_eq!(play.told, [1, 6, 3, 5], "the user sends more writers to a broken store");
}

/// A status that anyone has edited starts no processors. The control is a number that the bounds allow.
#[test]
fn a_number_beyond_the_bounds_that_nobody_decided_is_not_followed() {
    let told = |number| {
        let mut play = Play::automatic();
        let status = play.world.resource.status.as_mut().expect("it was reported");
        let scaling = status.processor.as_mut().and_then(|processor| processor.scaling.as_mut()).expect("it is scaled");
        scaling.current = number;
        play.look();
        play.given()
    };
    assert_eq!([500, 4].map(told), [6, 4]);
}

/// What came in while no operator was there is unknown, however little came before and comes after. The control is an
/// operator that followed at once.
#[test]
fn an_outage_that_is_longer_than_the_window_begins_it_anew() {
    let seconds_until_fewer = |outage: TimeDelta| {
        let mut play = Play::automatic();
        play.input = MUCH;
        play.minutes(2);
        play.input = LITTLE;
        play.minutes(1);
        let last = Moment(play.world.observed.now.timestamp().unsigned_abs());
        play.world.observed.now += outage;
        play.world.observed.looks = Looks { history: History::after(last), ..Looks::default() };
        let looks = (1..60_i64).find(|_| {
            play.look();
            play.told == [1, 6, 1]
        });
        looks.expect("it ends") * EVERY
    };
    // Of the two minutes of the window, one is over.
    let (at_once, anew) = (seconds_until_fewer(TimeDelta::seconds(15)), seconds_until_fewer(TimeDelta::minutes(10)));
    assert!((30..90).contains(&at_once) && (120..150).contains(&anew), "{at_once} s and {anew} s");
}

/// As with a HorizontalPodAutoscaler, 0 is the user's word.
#[test]
fn no_processor_runs_where_the_spec_asks_for_none() {
    let mut play = Play::automatic();
    play.world.resource.spec.processor.replicas = 0;
    play.minutes(1);
    assert_eq!((&play.told[..], play.scaling().reason.as_str()), (&[1, 0][..], "ScaledToZero"));
    play.world.resource.spec.processor.replicas = 2;
    play.minutes(1);
    assert_eq!(play.told, [1, 0, 2], "it begins anew with the spec's number");
}

/// A suspended pipeline has no load to follow, and comes back with the number that it had.
#[test]
fn a_suspension_changes_no_number() {
    let mut play = Play::automatic();
    play.input = MUCH;
    play.minutes(2);
    let suspend = |play: &mut Play, suspend| {
        play.world.resource.spec.suspend = suspend;
        let generation = &mut play.world.resource.metadata.generation;
        *generation = generation.map(|generation| generation + 1);
    };
    suspend(&mut play, true);
    play.input = 0.0;
    play.minutes(5);
    assert_eq!((&play.told[..], play.scaling().reason.as_str()), (&[1, 6, 0][..], "Suspended"));
    suspend(&mut play, false);
    play.input = MUCH;
    play.minutes(3);
    assert_eq!(play.told, [1, 6, 0, 6]);
}

/// Nothing is decided that would not be carried out, and when it goes on, the window begins anew.
#[test]
fn a_pause_and_a_spec_that_holds_the_processors_change_no_number() {
    type Stop = fn(&mut World, bool);
    let stops: [Stop; 2] = [
        |world, is_on| {
            let paused = [("millrace.dev/paused".to_owned(), "true".to_owned())];
            world.resource.metadata.annotations = is_on.then(|| paused.into());
        },
        |world, is_on| {
            world.resource.spec.processor.pod_template = is_on.then(|| json!({"nodeSelektor": {}}));
        },
    ];
    for stop in stops {
        let mut play = Play::automatic();
        play.input = MUCH;
        play.minutes(2);
        play.input = LITTLE;
        play.minutes(1);
        stop(&mut play.world, true);
        play.minutes(5);
        let said = play.scaling();
        assert_eq!((said.current, said.needed, &play.told[..]), (6, Vec::new(), &[1, 6][..]));
        stop(&mut play.world, false);
        play.minutes(1);
        assert_eq!(play.told, [1, 6], "it was little for a minute, as far as is known");
        play.minutes(4);
        assert_eq!(play.told, [1, 6, 1], "the control");
    }
}

/// The control of all of the above: without `scaling` the load is not even looked at.
#[test]
fn a_pipeline_that_is_not_scaled_has_neither_looks_nor_a_status_of_it() {
    for scaling in [None, Some(json!({"max": 6})), Some(json!({"mode": "Off"}))] {
        let mut play = Play::automatic();
        play.world.resource.spec.processor.scaling =
            scaling.map(|scaling| serde_json::from_value(scaling).expect("it is valid"));
        play.input = MUCH;
        play.minutes(3);
        assert_eq!(play.told, [1]);
        assert!(play.world.observed.looks.history.newest().is_none());
        assert_eq!(status(&play.world).processor.and_then(|processor| processor.scaling), None);
    }
}
