//! Why a number of processors is what it is: one sentence with its figures, for events and conditions.

use std::fmt;
use std::time::Duration;

/// Why. `Display` is the sentence.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// More processors, for what comes in and what waits.
    ScaledUp {
        /// Processors before.
        from: u32,
        /// Processors from now on.
        to: u32,
        /// Records that wait longer than usual.
        backlog: f64,
        /// Records a second by which that grows; negative, if it shrinks.
        growth: f64,
        /// Records a second that come in.
        input: f64,
        /// What that is of all that the processors before can do, as a part of 1.
        busy: f64,
        /// Records a second of a busy processor.
        capacity: f64,
        /// How long it takes to process what waits, start of the new ones included. Absent: it does not end.
        caught_up: Option<Duration>,
    },
    /// Fewer processors: the input needs no more.
    ScaledDown {
        /// Processors before.
        from: u32,
        /// Processors from now on.
        to: u32,
        /// Records a second that come in.
        input: f64,
        /// Records a second of a busy processor. Absent: unknown, and nothing comes in.
        capacity: Option<f64>,
        /// For how long no more were needed.
        window: Duration,
    },
    /// The first processors after none.
    Woken {
        /// Processors from now on.
        to: u32,
        /// Records that wait.
        lag: f64,
    },
    /// None, since nothing comes in and nothing waits.
    Slept {
        /// Processors before.
        from: u32,
        /// For how long nothing came.
        window: Duration,
    },
    /// Brought within what the settings and the partitions allow.
    Bounded {
        /// Processors before.
        from: u32,
        /// Processors from now on.
        to: u32,
        /// What does not allow it.
        limit: Limit,
    },
    /// There are none, and nothing waits for one.
    Asleep,
    /// Neither too busy nor too idle.
    WithinTarget {
        /// Processors.
        replicas: u32,
        /// Part of their time that they work.
        working: f64,
    },
    /// Fewer would do now, and might not again soon.
    Waits {
        /// Processors.
        replicas: u32,
        /// How many would do now.
        enough: u32,
        /// How many were needed within the window.
        needed: u32,
        /// The window.
        window: Duration,
    },
    /// Fewer would do for the input; what waits is processed first.
    CatchesUp {
        /// Processors.
        replicas: u32,
        /// Records that wait longer than usual.
        backlog: f64,
    },
    /// A change is wanted, too soon after the last.
    CoolsDown {
        /// Processors.
        replicas: u32,
        /// How many are wanted.
        wanted: u32,
        /// How long until then.
        left: Duration,
    },
    /// More are wanted than are allowed.
    AtLimit {
        /// Processors.
        replicas: u32,
        /// Records that wait longer than usual.
        backlog: f64,
        /// What does not allow it.
        limit: Limit,
    },
    /// One partition has more input than a processor can take: no number of processors helps.
    OnePartition {
        /// Processors.
        replicas: u32,
        /// Which, in the order of the observation.
        partition: usize,
        /// Its records a second.
        input: f64,
        /// Records a second of a busy processor.
        capacity: f64,
    },
    /// More are wanted, and would not help: the sink is the limit.
    SinkLimited {
        /// Processors.
        replicas: u32,
        /// How that is known.
        evidence: SinkEvidence,
    },
    /// More are wanted, and the last ones did not help.
    Ineffective {
        /// Processors before the last change.
        from: u32,
        /// Processors.
        replicas: u32,
        /// Records a second before the last change.
        before: f64,
        /// Records a second now.
        now: f64,
    },
    /// Nothing is decided for now.
    Held {
        /// Processors.
        replicas: u32,
        /// Why.
        hold: Hold,
    },
}

/// What allows no more processors, or no fewer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Limit {
    /// The settings' minimum.
    Min(u32),
    /// The settings' maximum.
    Max(u32),
    /// There are no more partitions than this.
    Partitions(u32),
}

/// How it is known that the sink is the limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SinkEvidence {
    /// Part of its time that the median processor waits for it.
    pub waiting: f64,
    /// Records a second that it takes from all.
    pub rate: f64,
    /// How long 99 of 100 writes take at most, of the slowest processor. Absent: none was made.
    pub write: Option<Duration>,
}

/// Why nothing is decided.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Hold {
    /// There is no observation, or none with partitions.
    NothingObserved,
    /// The rates need a second look.
    JustStarted,
    /// The input rises so steeply that the next look will say how far.
    Rising,
    /// Processors take ever longer for a record, and the next looks will say how long.
    Slowing,
    /// The lag of partitions could not be read.
    LagUnknown {
        /// Of how many.
        partitions: usize,
    },
    /// The metrics of processors could not be read.
    WorkersUnknown {
        /// Of how many.
        workers: usize,
    },
    /// Processors are wanted, and none has joined the group.
    NoMembers,
    /// Not all processors have joined the group, long after they should have.
    NotAllJoined {
        /// How many have.
        joined: usize,
    },
    /// No processor was busy enough to say what it can do.
    CapacityUnknown,
    /// The consumer group rebalances.
    Rebalance,
    /// Processors are being replaced.
    Roll,
    /// Which member of the group is not one of the processors, and what to do about it.
    Stranger(String),
    /// What the stores are doing.
    Store(String),
}

impl Reason {
    /// Returns the reason in one word, as conditions and events name it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ScaledUp { .. } | Self::Woken { .. } => "ScaledUp",
            Self::ScaledDown { .. } | Self::Slept { .. } => "ScaledDown",
            Self::Bounded { .. } => "ScaledToLimit",
            Self::Asleep => "Idle",
            Self::WithinTarget { .. } | Self::CatchesUp { .. } => "WithinTarget",
            Self::Waits { .. } | Self::CoolsDown { .. } => "Cooldown",
            Self::AtLimit { limit: Limit::Partitions(_), .. } => "AtPartitionCount",
            Self::AtLimit { .. } => "AtMaxReplicas",
            Self::OnePartition { .. } => "HotPartition",
            Self::SinkLimited { .. } => "SinkBackpressure",
            Self::Ineffective { .. } => "Ineffective",
            Self::Held { hold: Hold::Rebalance, .. } => "RebalanceInProgress",
            Self::Held { hold: Hold::Roll, .. } => "RollInProgress",
            Self::Held { hold: Hold::Stranger(_), .. } => "ForeignMember",
            Self::Held { hold: Hold::Store(_), .. } => "StoreOperationInProgress",
            Self::Held { hold: Hold::Rising | Hold::Slowing, .. } => "WithinTarget",
            Self::Held { .. } => "MetricsUnavailable",
        }
    }
}

impl Reason {
    /// Returns the sentence as it is said of producers: what comes in are requests, and their sink is Kafka.
    pub fn of_producers(&self) -> String {
        match self {
            Self::ScaledUp { from, to, growth, input, busy, capacity, .. } => {
                let refused = match growth.round() {
                    refused if refused >= 1.0 => format!("; {} are refused", Number(refused)),
                    _ => String::new(),
                };
                format!(
                    "Scales {from} → {to}: {} a second come in, {} of what {from} can do{refused}; each producer handles {} a \
                     second",
                    Requests(*input),
                    Percent(*busy),
                    Number(*capacity)
                )
            }
            Self::ScaledDown { from, to, input, capacity, window } => {
                let handles = capacity.map(|capacity| format!(", each producer handles {}", Number(capacity)));
                format!(
                    "Scales {from} → {to}: {} a second come in{}, and no more were needed for {}",
                    Requests(*input),
                    handles.unwrap_or_default(),
                    Time(*window)
                )
            }
            Self::WithinTarget { replicas, working } => {
                format!("Keeps {replicas}: producers use {} of their CPU or buffer", Percent(*working))
            }
            Self::CatchesUp { replicas, .. } => format!("Keeps {replicas}: fewer would be too busy"),
            Self::AtLimit { replicas, limit, .. } => {
                format!("Keeps {replicas}: more producers are needed, but {limit}")
            }
            Self::SinkLimited { replicas, evidence } => format!(
                "Keeps {replicas}: Kafka is the limit; requests that wait for it hold the producers' buffers {} of the time, and \
                 it acknowledges {} a second",
                Percent(evidence.waiting),
                Requests(evidence.rate)
            ),
            Self::Ineffective { from, replicas, before, now } => format!(
                "Keeps {replicas}: {from} answered {} a second, and {replicas} answer {}; something else is the limit",
                Requests(*before),
                Number(*now)
            ),
            Self::Held { replicas, hold } => format!("Keeps {replicas}: {}", hold.of_producers()),
            Self::Woken { .. }
            | Self::Slept { .. }
            | Self::Bounded { .. }
            | Self::Asleep
            | Self::Waits { .. }
            | Self::CoolsDown { .. }
            | Self::OnePartition { .. } => self.to_string(),
        }
    }
}

impl Hold {
    /// Returns it as it is said of producers.
    fn of_producers(&self) -> String {
        match self {
            Self::Slowing => "producers slow down; the next observations will show how far".to_owned(),
            Self::WorkersUnknown { workers: 1 } => "the metrics of 1 producer are unknown".to_owned(),
            Self::WorkersUnknown { workers } => format!("the metrics of {workers} producers are unknown"),
            Self::NoMembers => "no producer is ready".to_owned(),
            Self::NotAllJoined { joined: 1 } => "only 1 producer is ready".to_owned(),
            Self::NotAllJoined { joined } => format!("only {joined} producers are ready"),
            Self::CapacityUnknown => "the capacity of a producer is unknown until one has been busy".to_owned(),
            Self::Roll => "producers are being replaced".to_owned(),
            Self::NothingObserved
            | Self::JustStarted
            | Self::Rising
            | Self::LagUnknown { .. }
            | Self::Rebalance
            | Self::Stranger(_)
            | Self::Store(_) => self.to_string(),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ScaledUp { from, to, backlog, input, busy, capacity, .. } if *backlog < *capacity => {
                write!(f, "Scales {from} → {to}: {} a second come in, {} of what", Records(*input), Percent(*busy))?;
                write!(f, " {from} can do; each processor handles {} a second", Number(*capacity))
            }
            Self::ScaledUp { from, to, backlog, growth, capacity, caught_up, .. } => {
                write!(f, "Scales {from} → {to}: {} behind and {}", Records(*backlog), Growth(*growth))?;
                write!(f, "; each processor handles {} a second; ", Number(*capacity))?;
                match caught_up {
                    Some(time) => write!(f, "{to} catch up in {}", Time(*time)),
                    None => write!(f, "{to} do not catch up"),
                }
            }
            Self::ScaledDown { from, to, input, capacity, window } => {
                write!(f, "Scales {from} → {to}: {} a second come in", Records(*input))?;
                if let Some(capacity) = capacity {
                    write!(f, ", each processor handles {}", Number(*capacity))?;
                }
                write!(f, ", and no more were needed for {}", Time(*window))
            }
            Self::Woken { to, lag } => write!(f, "Scales 0 → {to}: {} behind", Records(*lag)),
            Self::Slept { from, window } => {
                write!(f, "Scales {from} → 0: no records wait, and none arrived for {}", Time(*window))
            }
            Self::Bounded { from, to, limit } => write!(f, "Scales {from} → {to}: {limit}"),
            Self::Asleep => write!(f, "Keeps 0: no records wait, and none arrive"),
            Self::WithinTarget { replicas, working } => {
                write!(f, "Keeps {replicas}: processors are busy {} of the time, and none is behind", Percent(*working))
            }
            Self::Waits { replicas, enough, needed, window } => write!(
                f,
                "Keeps {replicas}: {enough} would do now, but {needed} were needed within the last {}",
                Time(*window)
            ),
            Self::CatchesUp { replicas, backlog } => {
                write!(f, "Keeps {replicas}: {} are still behind", Records(*backlog))
            }
            Self::CoolsDown { replicas, wanted, left } => {
                write!(f, "Keeps {replicas}: {wanted} are needed; the next change is possible in {}", Time(*left))
            }
            Self::AtLimit { replicas, backlog, limit } => {
                write!(f, "Keeps {replicas}: {} behind and more processors needed, but {limit}", Records(*backlog))
            }
            Self::OnePartition { replicas, partition, input, capacity } => write!(
                f,
                "Keeps {replicas}: partition {partition} alone gets {} a second, and a processor handles {}; more \
                 processors do not help; use keys that spread better",
                Records(*input),
                Number(*capacity)
            ),
            Self::SinkLimited { replicas, evidence } => {
                let SinkEvidence { waiting, rate, write } = evidence;
                write!(f, "Keeps {replicas}: Cassandra is the limit; processors wait for it {} of", Percent(*waiting))?;
                write!(f, " their time, and it accepts {} a second", Records(*rate))?;
                match write {
                    Some(time) => write!(f, "; 99 % of writes take at most {}", Time(*time)),
                    None => Ok(()),
                }
            }
            Self::Ineffective { from, replicas, before, now } => write!(
                f,
                "Keeps {replicas}: {from} processed {} a second, and {replicas} process {}; something else is the limit",
                Records(*before),
                Number(*now)
            ),
            Self::Held { replicas, hold } => write!(f, "Keeps {replicas}: {hold}"),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Min(min) => write!(f, "min is {min}"),
            Self::Max(max) => write!(f, "max is {max}"),
            Self::Partitions(1) => write!(f, "there is 1 partition"),
            Self::Partitions(partitions) => write!(f, "there are {partitions} partitions"),
        }
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingObserved => write!(f, "the partitions are unknown"),
            Self::JustStarted => write!(f, "rates need a second observation"),
            Self::Rising => write!(f, "the input rises; the next observation will show how far"),
            Self::Slowing => write!(f, "processors slow down; the next observations will show how far"),
            Self::LagUnknown { partitions: 1 } => write!(f, "the lag of 1 partition is unknown"),
            Self::LagUnknown { partitions } => write!(f, "the lag of {partitions} partitions is unknown"),
            Self::WorkersUnknown { workers: 1 } => write!(f, "the metrics of 1 processor are unknown"),
            Self::WorkersUnknown { workers } => write!(f, "the metrics of {workers} processors are unknown"),
            Self::NoMembers => write!(f, "no processor has joined the group"),
            Self::NotAllJoined { joined: 1 } => write!(f, "only 1 processor has joined the group"),
            Self::NotAllJoined { joined } => write!(f, "only {joined} processors have joined the group"),
            Self::CapacityUnknown => write!(f, "the capacity of a processor is unknown until one has been busy"),
            Self::Rebalance => write!(f, "the consumer group rebalances"),
            Self::Roll => write!(f, "processors are being replaced"),
            Self::Stranger(what) | Self::Store(what) => write!(f, "{what}"),
        }
    }
}

/// A whole number with commas.
struct Number(f64);

/// How many records.
struct Records(f64);

/// How many requests.
struct Requests(f64);

/// By how much a backlog grows.
struct Growth(f64);

/// A part of 1 in percent.
struct Percent(f64);

/// A time in the largest unit that fits.
struct Time(Duration);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:.0}", self.0.max(0.0));
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                write!(f, ",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.0.round() == 1.0 { "record" } else { "records" };
        write!(f, "{} {noun}", Number(self.0))
    }
}

impl fmt::Display for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.0.round() == 1.0 { "request" } else { "requests" };
        write!(f, "{} {noun}", Number(self.0))
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.round() {
            grows if grows > 0.0 => write!(f, "growing by {} a second", Number(grows)),
            shrinks if shrinks < 0.0 => write!(f, "shrinking by {} a second", Number(-shrinks)),
            _ => write!(f, "not growing"),
        }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} %", self.0 * 100.0)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0 => write!(f, "{} ms", self.0.as_millis()),
            1..120 => write!(f, "{seconds} s"),
            120..7200 => write!(f, "{} min", (seconds + 30) / 60),
            _ => write!(f, "{} h", (seconds + 1800) / 3600),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The control is the sentence of processors, which has other words.
    #[test]
    fn reasons_of_producers_are_about_requests_and_kafka() {
        let up = |growth| Reason::ScaledUp {
            from: 1,
            to: 3,
            backlog: 0.0,
            growth,
            input: 200.0,
            busy: 2.0,
            capacity: 100.0,
            caught_up: None,
        };
        let window = Duration::from_secs(120);
        let evidence = SinkEvidence { waiting: 0.7, rate: 1_030.4, write: None };
        let held = |hold| Reason::Held { replicas: 3, hold };
        let table = [
            (
                up(100.0),
                "Scales 1 → 3: 200 requests a second come in, 200 % of what 1 can do; 100 are refused; each producer handles \
                 100 a second",
            ),
            (
                up(0.0),
                "Scales 1 → 3: 200 requests a second come in, 200 % of what 1 can do; each producer handles 100 a second",
            ),
            (
                Reason::ScaledDown { from: 3, to: 1, input: 50.0, capacity: Some(100.0), window },
                "Scales 3 → 1: 50 requests a second come in, each producer handles 100, and no more were needed for 2 min",
            ),
            (
                Reason::ScaledDown { from: 3, to: 1, input: 1.0, capacity: None, window },
                "Scales 3 → 1: 1 request a second come in, and no more were needed for 2 min",
            ),
            (Reason::WithinTarget { replicas: 2, working: 0.64 }, "Keeps 2: producers use 64 % of their CPU or buffer"),
            (Reason::CatchesUp { replicas: 2, backlog: 0.0 }, "Keeps 2: fewer would be too busy"),
            (
                Reason::AtLimit { replicas: 4, backlog: 0.0, limit: Limit::Max(4) },
                "Keeps 4: more producers are needed, but max is 4",
            ),
            (
                Reason::SinkLimited { replicas: 2, evidence },
                "Keeps 2: Kafka is the limit; requests that wait for it hold the producers' buffers 70 % of the time, and it \
                 acknowledges 1,030 requests a second",
            ),
            (
                Reason::Ineffective { from: 2, replicas: 4, before: 200.0, now: 205.0 },
                "Keeps 4: 2 answered 200 requests a second, and 4 answer 205; something else is the limit",
            ),
            (Reason::Bounded { from: 1, to: 2, limit: Limit::Min(2) }, "Scales 1 → 2: min is 2"),
            (held(Hold::Roll), "Keeps 3: producers are being replaced"),
            (held(Hold::WorkersUnknown { workers: 1 }), "Keeps 3: the metrics of 1 producer are unknown"),
            (held(Hold::NoMembers), "Keeps 3: no producer is ready"),
            (held(Hold::JustStarted), "Keeps 3: rates need a second observation"),
        ];
        for (reason, sentence) in table {
            assert_eq!(reason.of_producers(), sentence);
            let words = [" processor", "partition", "Cassandra", "record"];
            assert!(!words.iter().any(|word| sentence.contains(word)), "{sentence}");
        }
        assert!(up(0.0).to_string().contains("each processor handles"));
    }

    /// Each sentence as an event shows it.
    #[test]
    fn reasons_are_sentences_with_figures() {
        let seconds = Duration::from_secs;
        let evidence = SinkEvidence { waiting: 0.83, rate: 3_012.4, write: Some(Duration::from_millis(240)) };
        let up = Reason::ScaledUp {
            from: 2,
            to: 4,
            backlog: 41_000.0,
            growth: 900.0,
            input: 3_300.0,
            busy: 1.375,
            capacity: 1_200.0,
            caught_up: Some(seconds(45)),
        };
        let busy = Reason::ScaledUp {
            from: 2,
            to: 3,
            backlog: 0.0,
            growth: 0.0,
            input: 2_200.0,
            busy: 0.917,
            capacity: 1_200.0,
            caught_up: None,
        };
        let down = Reason::ScaledDown { from: 4, to: 2, input: 1_500.0, capacity: Some(1_200.0), window: seconds(300) };
        let held = |hold| Reason::Held { replicas: 3, hold };
        let table = [
            (
                up,
                "ScaledUp",
                "Scales 2 → 4: 41,000 records behind and growing by 900 a second; each processor handles 1,200 a \
                 second; 4 catch up in 45 s",
            ),
            (
                busy,
                "ScaledUp",
                "Scales 2 → 3: 2,200 records a second come in, 92 % of what 2 can do; each processor handles 1,200 a \
                 second",
            ),
            (
                down,
                "ScaledDown",
                "Scales 4 → 2: 1,500 records a second come in, each processor handles 1,200, and no more were needed \
                 for 5 min",
            ),
            (Reason::Woken { to: 1, lag: 1.0 }, "ScaledUp", "Scales 0 → 1: 1 record behind"),
            (
                Reason::Slept { from: 2, window: seconds(300) },
                "ScaledDown",
                "Scales 2 → 0: no records wait, and none arrived for 5 min",
            ),
            (
                Reason::Bounded { from: 9, to: 6, limit: Limit::Partitions(6) },
                "ScaledToLimit",
                "Scales 9 → 6: there are 6 partitions",
            ),
            (Reason::Asleep, "Idle", "Keeps 0: no records wait, and none arrive"),
            (
                Reason::WithinTarget { replicas: 2, working: 0.64 },
                "WithinTarget",
                "Keeps 2: processors are busy 64 % of the time, and none is behind",
            ),
            (
                Reason::Waits { replicas: 4, enough: 2, needed: 4, window: seconds(90) },
                "Cooldown",
                "Keeps 4: 2 would do now, but 4 were needed within the last 90 s",
            ),
            (
                Reason::CatchesUp { replicas: 4, backlog: 1_234_567.0 },
                "WithinTarget",
                "Keeps 4: 1,234,567 records are still behind",
            ),
            (
                Reason::CoolsDown { replicas: 4, wanted: 6, left: seconds(20) },
                "Cooldown",
                "Keeps 4: 6 are needed; the next change is possible in 20 s",
            ),
            (
                Reason::AtLimit { replicas: 6, backlog: 500.0, limit: Limit::Max(6) },
                "AtMaxReplicas",
                "Keeps 6: 500 records behind and more processors needed, but max is 6",
            ),
            (
                Reason::OnePartition { replicas: 6, partition: 3, input: 1_400.0, capacity: 1_200.0 },
                "HotPartition",
                "Keeps 6: partition 3 alone gets 1,400 records a second, and a processor handles 1,200; more processors \
                 do not help; use keys that spread better",
            ),
            (
                Reason::SinkLimited { replicas: 4, evidence },
                "SinkBackpressure",
                "Keeps 4: Cassandra is the limit; processors wait for it 83 % of their time, and it accepts 3,012 \
                 records a second; 99 % of writes take at most 240 ms",
            ),
            (
                Reason::Ineffective { from: 2, replicas: 4, before: 2_000.0, now: 2_050.0 },
                "Ineffective",
                "Keeps 4: 2 processed 2,000 records a second, and 4 process 2,050; something else is the limit",
            ),
            (held(Hold::Rebalance), "RebalanceInProgress", "Keeps 3: the consumer group rebalances"),
            (
                held(Hold::Store("node cassandra-r1-2 joins".to_owned())),
                "StoreOperationInProgress",
                "Keeps 3: node cassandra-r1-2 joins",
            ),
            (
                held(Hold::Stranger("client 'x' at 10.0.0.7 is a member of group 'g'".to_owned())),
                "ForeignMember",
                "Keeps 3: client 'x' at 10.0.0.7 is a member of group 'g'",
            ),
            (
                held(Hold::LagUnknown { partitions: 2 }),
                "MetricsUnavailable",
                "Keeps 3: the lag of 2 partitions is unknown",
            ),
        ];
        for (reason, name, sentence) in table {
            assert_eq!((reason.name(), reason.to_string().as_str()), (name, sentence));
        }
    }
}
