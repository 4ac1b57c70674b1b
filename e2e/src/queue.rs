//! Whose turn it is: scenarios run beside each other as far as the machine carries them.
//!
//! One scenario at a time is next: it prepares its store set while others are at work, and then waits until there is
//! room for it. Those that need something for themselves wait until the others have let go of it. Nobody waits for two
//! things at once but the one that is next, so that nothing can lock up.

use std::collections::BTreeSet;

use tokio::sync::watch;

/// How much the machine carries at once. A small pipeline has weight 2, one that only rests weight 1.
pub const CAPACITY: u32 = 5;

/// What a scenario has for itself while it is at work.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Alone {
    /// Looks closely at the operator, or ends it. Other pipelines go on meanwhile.
    Operator,
    /// Changes the chart's release, which all pipelines follow.
    Release,
    /// Stops the API server, or measures what it is asked.
    ApiServer,
    /// Measures something that others would slow down.
    Cpu,
}

impl Alone {
    /// Every value with its name in `scenarios.toml`.
    pub const ALL: [(Self, &'static str); 4] =
        [(Self::Operator, "Operator"), (Self::Release, "Release"), (Self::ApiServer, "ApiServer"), (Self::Cpu, "Cpu")];

    /// Returns whether nobody else can be at work meanwhile.
    const fn is_of_all(self) -> bool {
        match self {
            Self::Operator => false,
            Self::Release | Self::ApiServer | Self::Cpu => true,
        }
    }
}

/// What a scenario needs to be at work.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Needs {
    /// Its share of [`CAPACITY`].
    pub weight: u32,
    /// What it has for itself.
    pub alone: BTreeSet<Alone>,
}

impl Needs {
    /// Returns whether the machine carries nothing beside it, not even while it or another one prepares itself: three of
    /// each start slowly enough alone.
    fn fills_the_machine(&self) -> bool {
        self.weight >= CAPACITY
    }

    fn has_all_to_itself(&self) -> bool {
        self.alone.iter().any(|alone| alone.is_of_all())
    }
}

/// How far a scenario is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Next,
    AtWork,
    /// Removes what it made.
    Leaving,
}

/// The scenarios that have begun and not ended. Clones are the same queue.
#[derive(Clone)]
pub struct Queue(watch::Sender<State>);

#[derive(Debug, Default)]
struct State(Vec<(String, Needs, Phase)>);

impl Default for Queue {
    fn default() -> Self {
        Self(watch::Sender::new(State::default()))
    }
}

impl Queue {
    /// Waits until a scenario may begin to prepare itself.
    pub async fn begin(&self, name: &str, needs: &Needs) {
        self.when(|state| state.begin(name, needs)).await;
    }

    /// Waits until a scenario may be at work; returns at once if it is already.
    pub async fn work(&self, name: &str) {
        self.when(|state| state.work(name)).await;
    }

    /// A scenario only removes what it has made.
    pub fn leave(&self, name: &str) {
        self.0.send_modify(|state| state.leave(name));
    }

    /// A scenario has ended.
    pub fn end(&self, name: &str) {
        self.0.send_modify(|state| state.0.retain(|(known, _, _)| known != name));
    }

    async fn when(&self, mut attempt: impl FnMut(&mut State) -> bool) {
        // Subscribed first, so that no change between an attempt and the wait is missed.
        let mut changes = self.0.subscribe();
        while !self.0.send_if_modified(&mut attempt) {
            changes.changed().await.expect("this queue holds the sender");
        }
    }
}

impl State {
    fn begin(&mut self, name: &str, needs: &Needs) -> bool {
        let is_next = self.0.iter().any(|(_, _, phase)| *phase == Phase::Next);
        let lets_nobody_begin = |other: &Needs| other.has_all_to_itself() || other.fills_the_machine();
        let is_quiet = !needs.fills_the_machine() || self.at_work().next().is_none();
        let free = !is_next && is_quiet && !self.at_work().any(lets_nobody_begin);
        if free {
            self.0.push((name.to_owned(), needs.clone(), Phase::Next));
        }
        free
    }

    fn work(&mut self, name: &str) -> bool {
        let Some(place) = self.0.iter().position(|(known, _, _)| known == name) else { return false };
        let (_, needs, phase) = &self.0[place];
        let may = *phase == Phase::AtWork || self.has_room_for(needs);
        if may {
            self.0[place].2 = Phase::AtWork;
        }
        may
    }

    fn has_room_for(&self, needs: &Needs) -> bool {
        let taken: u32 = self.at_work().map(|other| other.weight).sum();
        let is_leaving = self.0.iter().any(|(_, _, phase)| *phase == Phase::Leaving);
        let is_quiet = !is_leaving || !needs.alone.iter().any(|alone| [Alone::ApiServer, Alone::Cpu].contains(alone));
        let is_free = |other: &Needs| {
            other.alone.is_disjoint(&needs.alone) && !other.has_all_to_itself() && !needs.has_all_to_itself()
        };
        // One that is heavier than the machine carries runs when nobody else does.
        let is_light = taken == 0 || taken + needs.weight <= CAPACITY;
        is_light && is_quiet && self.at_work().all(is_free)
    }

    fn at_work(&self) -> impl Iterator<Item = &Needs> {
        self.0.iter().filter(|(_, _, phase)| *phase == Phase::AtWork).map(|(_, needs, _)| needs)
    }

    fn leave(&mut self, name: &str) {
        for (known, _, phase) in &mut self.0 {
            if known == name {
                *phase = Phase::Leaving;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(weight: u32, alone: &[Alone]) -> Needs {
        Needs { weight, alone: alone.iter().copied().collect() }
    }

    #[test]
    fn one_prepares_itself_while_others_are_at_work_up_to_the_capacity() {
        let mut state = State::default();
        let small = needs(2, &[]);
        assert!(state.begin("one", &small));
        assert!(!state.begin("two", &small), "one is next");
        assert!(state.work("one"));
        assert!(state.begin("two", &small) && state.work("two"));
        assert!(state.begin("heavy", &needs(4, &[])));
        assert!(!state.work("heavy"), "four of five are taken");
        state.leave("one");
        assert!(!state.work("heavy"));
        state.leave("two");
        assert!(state.work("heavy") && state.work("heavy"));
    }

    #[test]
    fn what_changes_all_pipelines_waits_for_all_and_lets_nobody_begin() {
        let mut state = State::default();
        assert!(state.begin("other", &needs(1, &[])) && state.work("other"));
        assert!(state.begin("release", &needs(2, &[Alone::Release])));
        assert!(!state.work("release"));
        state.leave("other");
        assert!(state.work("release"), "removing what it made may go on behind");
        assert!(!state.begin("third", &needs(1, &[])));
        state.leave("release");
        assert!(state.begin("api-server", &needs(2, &[Alone::ApiServer])));
        assert!(!state.work("api-server"), "what is being removed asks the API server");
        state.0.retain(|(name, _, _)| name == "api-server");
        assert!(state.work("api-server"));
    }

    #[test]
    fn one_at_a_time_has_the_operator_and_others_go_on_beside_it() {
        let mut state = State::default();
        assert!(state.begin("kills", &needs(2, &[Alone::Operator])) && state.work("kills"));
        assert!(state.begin("other", &needs(2, &[])) && state.work("other"));
        assert!(state.begin("looks", &needs(1, &[Alone::Operator])));
        assert!(!state.work("looks"));
        state.leave("kills");
        assert!(state.work("looks"));
    }

    #[test]
    fn one_that_fills_the_machine_prepares_itself_alone() {
        let (small, three) = (needs(2, &[]), needs(CAPACITY, &[]));
        let mut state = State::default();
        assert!(state.begin("small", &small) && state.work("small"));
        assert!(!state.begin("three", &three));
        state.leave("small");
        assert!(state.begin("three", &three) && state.work("three"));
        assert!(!state.begin("next", &small) && !state.begin("three again", &three));
        state.leave("three");
        assert!(state.begin("next", &small));
    }

    #[tokio::test]
    async fn one_that_waits_is_woken_by_one_that_leaves() {
        let queue = Queue::default();
        queue.begin("first", &needs(3, &[])).await;
        queue.work("first").await;
        queue.begin("second", &needs(3, &[])).await;
        let waits = queue.work("second");
        tokio::pin!(waits);
        assert!(futures::poll!(&mut waits).is_pending());
        queue.leave("first");
        waits.await;
        queue.end("second");
    }
}
