//! What a user may say about scaling, and what is the same for all. The mode (automatic, recommended only, off) is not the
//! decision's business.

use std::time::Duration;

/// Bounds, targets and patience of the decision.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Fewest processors. 0: none while nothing comes in and nothing waits.
    pub min: u32,
    /// Most processors; never more than there are partitions.
    pub max: u32,
    /// How busy processors are to be after a change, as a part of 1.
    pub target_utilisation: f64,
    /// How busy they may become before more are wanted. The room between the two is the dead band: a load that stays in
    /// it changes nothing.
    pub highest_utilisation: f64,
    /// How long it may take to process what waits, once the processors are there.
    pub catch_up: Duration,
    /// Shortest time from any change to more processors.
    pub up_cooldown: Duration,
    /// Shortest time from any change to fewer processors.
    pub down_cooldown: Duration,
    /// Fewer processors only when the input of all this time would have needed no more than these.
    pub down_window: Duration,
    /// Whether any number of workers can share the input evenly, as producers share the requests of clients that push.
    /// Otherwise it comes in partitions, each of which one processor reads.
    pub is_divisible: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            min: 1,
            max: 12,
            target_utilisation: 0.75,
            highest_utilisation: 0.95,
            catch_up: Duration::from_secs(60),
            // Longer than a rebalance, so that what the last change did can be seen.
            up_cooldown: Duration::from_secs(30),
            down_cooldown: Duration::from_secs(60),
            // Longer than most gusts. The HPA's 300 s cost 7 % more on the tuning traces, 60 s 3 % less.
            down_window: Duration::from_secs(120),
            is_divisible: false,
        }
    }
}
