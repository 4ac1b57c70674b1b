//! Switches that break the delivery promise on purpose, so that tests can show that they would notice.
//!
//! Read from `MILLRACE_SABOTAGE`, a comma-separated list, in builds with debug assertions only; in any other build
//! the set is always empty and every branch on it is compiled away.

/// One way to break the promise.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sabotage {
    /// Offsets are committed when a record arrives, not when its row is acknowledged.
    CommitBeforeWrite,
    /// Rows are written without the timestamp of their position, so that a replay may undo later writes.
    NoWriteTimestamp,
    /// Rows are written with the time of day as their timestamp, as most programs do.
    ClockTimestamp,
    /// The memory bound is ignored.
    UnboundedBuffer,
    /// Records that can never be written are passed over without a dead letter.
    DropDeadLetter,
    /// The producer asks for the leader's acknowledgement only, without idempotence.
    WeakAcks,
    /// A source's position is kept when its records are fetched, not when Kafka has acknowledged them.
    CursorBeforeAck,
}

/// The switches that are on.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Sabotages {
    #[cfg(debug_assertions)]
    on: Vec<Sabotage>,
}

/// Environment variable with the names of the switches.
pub const VARIABLE: &str = "MILLRACE_SABOTAGE";

#[cfg(debug_assertions)]
impl Sabotages {
    /// Makes a set with one switch on.
    pub fn only(sabotage: Sabotage) -> Self {
        Self { on: vec![sabotage] }
    }

    /// Reads the switches' names; returns the first unknown name as error.
    pub fn parse(text: &str) -> Result<Self, String> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        let on: Result<Vec<_>, _> = names.map(Self::named).collect();
        Ok(Self { on: on? })
    }

    /// Returns whether a switch is on.
    pub fn has(&self, sabotage: Sabotage) -> bool {
        self.on.contains(&sabotage)
    }

    fn named(name: &str) -> Result<Sabotage, String> {
        match name {
            "commit-before-write" => Ok(Sabotage::CommitBeforeWrite),
            "no-write-timestamp" => Ok(Sabotage::NoWriteTimestamp),
            "clock-timestamp" => Ok(Sabotage::ClockTimestamp),
            "unbounded-buffer" => Ok(Sabotage::UnboundedBuffer),
            "drop-dead-letter" => Ok(Sabotage::DropDeadLetter),
            "weak-acks" => Ok(Sabotage::WeakAcks),
            "cursor-before-ack" => Ok(Sabotage::CursorBeforeAck),
            unknown => Err(unknown.to_owned()),
        }
    }
}

#[cfg(not(debug_assertions))]
impl Sabotages {
    /// Refuses every name: this build cannot be sabotaged.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Ok(Self::default()) } else { Err(text.to_owned()) }
    }

    /// Returns false.
    pub const fn has(&self, _sabotage: Sabotage) -> bool {
        false
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;

    #[test]
    fn reads_a_list_of_names_and_refuses_unknown_ones() {
        let both = Sabotages::parse("commit-before-write, no-write-timestamp").expect("both names exist");
        assert!(both.has(Sabotage::CommitBeforeWrite) && both.has(Sabotage::NoWriteTimestamp));
        assert!(!both.has(Sabotage::UnboundedBuffer));
        assert_eq!(Sabotages::parse(""), Ok(Sabotages::default()));
        assert_eq!(Sabotages::parse("no-such"), Err("no-such".to_owned()));
    }
}
