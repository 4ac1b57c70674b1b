//! What the last minute of observations says: what a processor can do, what comes in, what waits, and whether the sink
//! is the limit.

use std::time::Duration;

use crate::observation::{Busy, History, KEPT, Observation, Worker};
use crate::partitions::Load;
use crate::reason::{Hold, SinkEvidence};

/// What there is to decide by.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Estimate {
    pub(crate) load: Load,
    /// Records that wait, all of them.
    pub(crate) lag: u64,
    /// Records a second of a processor that is busy all the time. Absent: none was busy enough to say.
    pub(crate) capacity: Option<f64>,
    /// The same by processors that were young or had little to do: they can do at least this. Absent: they had nothing
    /// to do.
    pub(crate) rough_capacity: Option<f64>,
    /// Records a second that all processors settle.
    pub(crate) rate: f64,
    /// Whether the input has just begun to rise steeply, so that the next look will say how far.
    pub(crate) is_rising: bool,
    /// Whether processors have just begun to take much longer for a record, so that the next looks will say how much.
    pub(crate) is_slowing: bool,
    /// Part of their time that processors work, on average. 0 without any.
    pub(crate) working: f64,
    /// Why more processors would not help. Absent: the sink takes what it is given.
    pub(crate) sink: Option<SinkEvidence>,
}

/// Looks over which the input is averaged: enough for a gust, few enough for a step.
const LOOKS: usize = 3;

/// An input, of all partitions or of the hottest, that is so much more than it was on average is a step: the newest
/// look says more than the average.
const STEP: f64 = 1.1;

/// An input that grew by so much since the look before, or a capacity that fell by so much, is still on its way.
const STEEP: f64 = 1.2;

/// Lag of this many seconds of input is no backlog: what is under way, and what is committed once a second.
const USUAL: f64 = 2.0;

/// A processor younger than this says little of what it can do.
const WARM_UP: Duration = Duration::from_secs(30);

/// One younger than this says nothing of it.
const FIRST_RECORDS: Duration = Duration::from_secs(10);

/// Part of its time that a processor must work for its rate to say what it can do.
const BUSY_ENOUGH: f64 = 0.25;

/// The same, when nothing better is known.
pub(crate) const BARELY_BUSY: f64 = 0.02;

/// Part of its time that a processor may wait for the sink before its rate is the sink's.
const HARDLY_WAITING: f64 = 0.1;

/// Part of its time from which a processor that waits for the sink is held up by it.
const WAITING: f64 = 0.3;

/// How far back it is looked for what a processor can do: six looks, of which three make the median.
const CAPACITY_WINDOW: Duration = Duration::from_secs(30);

/// How far back the sink is judged.
const SINK_WINDOW: Duration = Duration::from_secs(30);

impl Estimate {
    /// Estimates, or says which figures are missing. `has_workers` is whether there should be any.
    pub(crate) fn of(history: &History, has_workers: bool) -> Result<Self, Hold> {
        let newest = history.newest().ok_or(Hold::NothingObserved)?;
        complete(newest, has_workers)?;
        let recent: Vec<&Observation> = history
            .within(KEPT)
            .rev()
            .filter(|look| look.partitions.len() == newest.partitions.len() && complete(look, false).is_ok())
            .take(LOOKS)
            .collect();
        if recent.len() < 2 {
            return Err(Hold::JustStarted);
        }
        let looks = recent.len() as f64;
        let capacity_now = capacity_of(newest, BUSY_ENOUGH, WARM_UP);
        let rough = capacity(history, BARELY_BUSY, FIRST_RECORDS);
        let capacity = capacity(history, BUSY_ENOUGH, WARM_UP);
        let inputs: Vec<f64> = recent.iter().map(|look| input(look)).collect();
        let (smooth, sharp) = (load(newest, &recent), load(newest, &recent[..1]));
        let is_step = sharp.input > STEP * smooth.input || sharp.hottest_input > STEP * smooth.hottest_input;
        Ok(Self {
            load: if is_step { sharp } else { smooth },
            // The second steep look in a row waits for no third.
            is_rising: inputs[0] > STEEP * inputs[1] && inputs.get(2).is_none_or(|third| inputs[1] <= STEEP * third),
            lag: newest.partitions.iter().filter_map(|partition| partition.lag).sum(),
            // The median follows within three looks.
            is_slowing: capacity.zip(capacity_now).is_some_and(|(usual, now)| usual > STEEP * now),
            capacity,
            rough_capacity: rough,
            rate: recent.iter().map(|look| busy(look).map(|busy| busy.rate).sum::<f64>()).sum::<f64>() / looks,
            working: mean(busy(newest).map(|busy| busy.working)),
            sink: sink(history),
        })
    }
}

/// Says what an observation lacks.
fn complete(observation: &Observation, has_workers: bool) -> Result<(), Hold> {
    let unknown = observation.partitions.iter().filter(|partition| partition.lag.is_none()).count();
    let mute = observation.workers.iter().filter(|worker| worker.busy.is_none()).count();
    if observation.partitions.is_empty() {
        return Err(Hold::NothingObserved);
    }
    if unknown > 0 {
        return Err(Hold::LagUnknown { partitions: unknown });
    }
    if observation.partitions.iter().any(|partition| partition.input.is_none()) {
        return Err(Hold::JustStarted);
    }
    if mute > 0 {
        return Err(Hold::WorkersUnknown { workers: mute });
    }
    if has_workers && observation.workers.is_empty() {
        return Err(Hold::NoMembers);
    }
    Ok(())
}

fn load(newest: &Observation, recent: &[&Observation]) -> Load {
    let mut load = Load { partitions: newest.partitions.len() as u32, ..Load::default() };
    for (index, partition) in newest.partitions.iter().enumerate() {
        let input = mean(recent.iter().filter_map(|look| look.partitions[index].input));
        let backlog = (partition.lag.unwrap_or_default() as f64 - input * USUAL).max(0.0);
        load.input += input;
        load.backlog += backlog;
        // Its input first: a backlog ends.
        if (input, backlog) > (load.hottest_input, load.hottest_backlog) {
            (load.hottest, load.hottest_input, load.hottest_backlog) = (index, input, backlog);
        }
    }
    load
}

/// Returns what comes into all partitions.
fn input(observation: &Observation) -> f64 {
    observation.partitions.iter().filter_map(|partition| partition.input).sum()
}

fn busy(observation: &Observation) -> impl Iterator<Item = &Busy> {
    observation.workers.iter().filter_map(|worker| worker.busy.as_ref())
}

/// Returns the median over the last looks of the median over processors: one that is slow, or one look that is odd,
/// changes nothing.
fn capacity(history: &History, enough: f64, old_enough: Duration) -> Option<f64> {
    let looks = history.within(CAPACITY_WINDOW);
    median(looks.filter_map(|look| capacity_of(look, enough, old_enough)).collect())
}

/// Returns the median over the processors of one look.
fn capacity_of(look: &Observation, enough: f64, old_enough: Duration) -> Option<f64> {
    let of_worker = |worker: &Worker| {
        let busy = worker.busy.filter(|busy| busy.working >= enough && busy.waiting < HARDLY_WAITING)?;
        (worker.age >= old_enough && busy.rate > 0.0).then_some(busy.rate / busy.working)
    };
    median(look.workers.iter().filter_map(of_worker).collect())
}

/// Returns the evidence that the sink is the limit: most processors wait for it a good part of their time, in two of
/// three looks and in the newest. Time in which a processor had nothing to do, or the group stood still, does not
/// count.
fn sink(history: &History) -> Option<SinkEvidence> {
    let share = |busy: &Busy| {
        let taken = busy.working + busy.waiting;
        (taken > BARELY_BUSY).then_some(busy.waiting / taken)
    };
    let waiting = |look: &Observation| median(busy(look).filter_map(share).collect());
    let looks: Vec<f64> = history.within(SINK_WINDOW).filter_map(waiting).collect();
    let held_up = looks.iter().filter(|waiting| **waiting >= WAITING).count();
    let newest = *looks.last().filter(|waiting| **waiting >= WAITING)?;
    let observation = history.newest()?;
    (held_up * 3 >= looks.len() * 2 && held_up >= 2).then(|| SinkEvidence {
        waiting: newest,
        rate: busy(observation).map(|busy| busy.rate).sum(),
        write: busy(observation).filter_map(|busy| busy.write).max(),
    })
}

/// Returns the mean; 0 of nothing.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    if count == 0.0 { 0.0 } else { sum / count }
}

/// Returns the middle value, the lower of two.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{Moment, Partition};

    fn worker(rate: f64, working: f64, waiting: f64) -> Worker {
        let write = Some(Duration::from_millis(240));
        Worker { age: Duration::from_secs(100), busy: Some(Busy { rate, working, waiting, write }) }
    }

    fn look(at: u64, workers: Vec<Worker>) -> Observation {
        let partition = Partition { lag: Some(100), input: Some(50.0) };
        Observation { at: Moment(at), partitions: vec![partition; 4], workers }
    }

    fn history(looks: impl IntoIterator<Item = Observation>) -> History {
        let mut history = History::default();
        looks.into_iter().for_each(|look| history.push(look));
        history
    }

    #[test]
    fn one_slow_processor_and_one_odd_look_change_no_capacity() {
        let usual = || vec![worker(500.0, 0.5, 0.0), worker(510.0, 0.5, 0.0), worker(90.0, 0.9, 0.0)];
        let odd = vec![worker(10.0, 1.0, 0.0); 3];
        let looks = [look(0, usual()), look(5, odd), look(10, usual())];
        let estimate = Estimate::of(&history(looks), true).expect("all is known");
        assert_eq!(estimate.capacity, Some(1000.0));
    }

    /// Controls: each alone would have been taken for a processor that can do a fifth of what it can.
    #[test]
    fn processors_that_wait_warm_up_or_have_little_to_do_say_nothing_of_capacity() {
        let young = Worker { age: Duration::from_secs(29), ..worker(200.0, 1.0, 0.0) };
        for odd in [worker(200.0, 1.0, 0.2), young, worker(40.0, 0.2, 0.0)] {
            let estimate = Estimate::of(&history([look(0, vec![odd]), look(5, vec![odd])]), true);
            assert_eq!(estimate.expect("all is known").capacity, None, "{odd:?}");
        }
        let estimate = Estimate::of(&history([look(0, vec![]), look(5, vec![worker(200.0, 1.0, 0.0)])]), true);
        assert_eq!(estimate.expect("all is known").capacity, Some(200.0));
    }

    #[test]
    fn what_is_under_way_is_no_backlog() {
        let mut looks = [look(0, vec![]), look(5, vec![])];
        let waits = |looks: &[Observation; 2]| {
            Estimate::of(&history(looks.clone()), false).map(|estimate| (estimate.load.input, estimate.load.backlog))
        };
        assert_eq!(waits(&looks), Ok((200.0, 0.0)));
        looks[1].partitions[2].lag = Some(350);
        assert_eq!(waits(&looks), Ok((200.0, 250.0)));
    }

    #[test]
    fn a_step_counts_at_once_and_is_waited_for_once() {
        let seen = |inputs: &[f64]| {
            let looks = inputs.iter().zip(0..).map(|(input, place)| {
                let partition = Partition { lag: Some(0), input: Some(*input) };
                Observation { partitions: vec![partition; 4], ..look(place * 5, vec![]) }
            });
            let estimate = Estimate::of(&history(looks), false).expect("all is known");
            (estimate.load.input, estimate.is_rising)
        };
        assert_eq!(seen(&[100.0, 100.0, 106.0]), (408.0, false));
        assert_eq!(seen(&[100.0, 100.0, 400.0]), (1_600.0, true));
        // A look in the middle of a step sees a part of it.
        assert_eq!(seen(&[100.0, 200.0, 400.0]), (1_600.0, false));
        assert_eq!(seen(&[200.0, 400.0, 400.0]), (1_600.0, false));
        // Downwards it takes three looks.
        assert_eq!(seen(&[400.0, 400.0, 100.0]), (1_200.0, false));
    }

    #[test]
    fn a_missing_figure_is_named_and_never_zero() {
        let full = || look(5, vec![worker(500.0, 0.5, 0.0)]);
        let hold = |newest: Observation| Estimate::of(&history([look(0, vec![]), newest]), true).map(|_| ());
        let mut newest = full();
        newest.partitions[1].lag = None;
        assert_eq!(hold(newest), Err(Hold::LagUnknown { partitions: 1 }));
        let mut newest = full();
        newest.workers[0].busy = None;
        assert_eq!(hold(newest), Err(Hold::WorkersUnknown { workers: 1 }));
        let mut newest = full();
        newest.partitions[3].input = None;
        assert_eq!(hold(newest), Err(Hold::JustStarted));
        assert_eq!(hold(look(5, vec![])), Err(Hold::NoMembers));
        assert_eq!(hold(full()), Ok(()));
        assert_eq!(Estimate::of(&history([full()]), true), Err(Hold::JustStarted));
        assert_eq!(Estimate::of(&History::default(), true), Err(Hold::NothingObserved));
    }

    #[test]
    fn the_sink_is_the_limit_when_most_processors_wait_for_it_again_and_again() {
        let waits = || vec![worker(200.0, 0.2, 0.8), worker(200.0, 0.3, 0.7), worker(900.0, 0.9, 0.0)];
        let works = || vec![worker(900.0, 0.9, 0.0); 3];
        let sink = |looks: [Vec<Worker>; 3]| {
            let looks = looks.into_iter().zip([0, 5, 10]).map(|(workers, at)| look(at, workers));
            Estimate::of(&history(looks), true).expect("all is known").sink
        };
        let write = Some(Duration::from_millis(240));
        assert_eq!(sink([works(), waits(), waits()]), Some(SinkEvidence { waiting: 0.7, rate: 1300.0, write }));
        // Once is a pause, and what is over is over.
        assert_eq!(sink([works(), works(), waits()]), None);
        assert_eq!(sink([waits(), waits(), works()]), None);
    }
}
