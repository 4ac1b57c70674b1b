//! A scenario's turn: its place in the queue, its own log, the store sets that it shares, and what it took.

use std::fs::{self, File};
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use tokio::sync::{Mutex as Gate, OwnedMutexGuard};

use crate::cluster::target;
use crate::minutes::{Minutes, cpu_seconds};
use crate::queue::Queue;
use crate::sets::{Kind, Sets};
use crate::settings::Settings;

/// What all scenarios of a run have in common. Clones are the same.
#[derive(Clone)]
pub struct Run {
    /// How long and how much.
    pub settings: Arc<Settings>,
    /// Whose turn it is.
    pub queue: Queue,
    /// Store sets that are handed on.
    pub sets: Sets,
    /// Held while a store set starts: two cores start one at a time.
    starting: Arc<Gate<()>>,
    began: Instant,
}

impl Run {
    /// Begins a run.
    pub fn new(settings: Settings) -> Self {
        let sets = Sets::new(settings.attach.clone());
        Self {
            settings: Arc::new(settings),
            queue: Queue::default(),
            sets,
            starting: Arc::default(),
            began: Instant::now(),
        }
    }

    /// Prints a line with the time since the run began.
    pub fn say(&self, line: impl AsRef<str>) {
        let elapsed = self.began.elapsed().as_secs();
        println!("[{:>2}:{:02}] {}", elapsed / 60, elapsed % 60, line.as_ref());
    }
}

/// The turn of one scenario. Clones are the same.
#[derive(Clone)]
pub struct Turn {
    /// What it has in common with the others.
    pub run: Run,
    /// The scenario.
    pub name: &'static str,
    /// The kind of store set that it shares with others.
    pub shares: Option<Kind>,
    log: Arc<Mutex<File>>,
    times: Arc<Mutex<Times>>,
}

struct Times {
    start: DateTime<Utc>,
    cpu: f64,
    ready: Option<Duration>,
    work: Option<Instant>,
    body: Option<Duration>,
    left: Option<Instant>,
    sets: u32,
    /// Namespaces that it is at work in: one within another is part of the same work.
    open: u32,
}

impl Turn {
    /// Begins a turn with a log of its own in `target/e2e-logs/`.
    pub fn begin(run: &Run, name: &'static str, shares: Option<Kind>) -> Result<Self> {
        let directory = target().join("e2e-logs");
        fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let path = directory.join(format!("{name}.log"));
        let log = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let times = Times {
            start: Utc::now(),
            cpu: cpu_seconds(),
            ready: None,
            work: None,
            body: None,
            left: None,
            sets: 0,
            open: 0,
        };
        Ok(Self { run: run.clone(), name, shares, log: Arc::new(Mutex::new(log)), times: Arc::new(Mutex::new(times)) })
    }

    /// Writes a line to the scenario's log.
    pub fn log(&self, line: &str) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        // The verdict counts, not the story.
        let _ = writeln!(log, "{line}");
    }

    /// Waits until no other store set starts; none does until the guard is dropped.
    pub async fn starting(&self) -> OwnedMutexGuard<()> {
        self.run.starting.clone().lock_owned().await
    }

    /// Counts a store set that is started.
    pub fn starts_set(&self) {
        self.times().sets += 1;
    }

    /// Notes how long the first pipeline took to be Ready.
    pub fn is_ready(&self, took: Duration) {
        self.run.say(format!("{}: Ready after {:.0} s", self.name, took.as_secs_f64()));
        self.times().ready.get_or_insert(took);
    }

    /// Waits until the scenario may be at work. May be called again.
    pub async fn work(&self) {
        self.run.queue.work(self.name).await;
        self.times().work.get_or_insert_with(Instant::now);
    }

    /// Returns how long ago the scenario began to be at work. `None`: it is not there yet.
    pub fn worked(&self) -> Option<Duration> {
        self.times().work.map(|work| work.elapsed())
    }

    /// The scenario has opened a namespace.
    pub fn open(&self) {
        self.times().open += 1;
    }

    /// The scenario is done with a namespace; with the last one it only removes what it has made.
    pub fn leave(&self) {
        let mut times = self.times();
        times.open = times.open.saturating_sub(1);
        if times.open > 0 {
            return;
        }
        if times.left.is_none() {
            times.left = Some(Instant::now());
            times.body = times.work.map(|work| work.elapsed());
        }
        drop(times);
        self.run.queue.leave(self.name);
    }

    /// Ends the turn and returns what it took.
    pub fn end(&self, passed: bool) -> Minutes {
        self.times().open = 0;
        self.leave();
        self.run.queue.end(self.name);
        let times = self.times();
        let seconds = |time: Option<Duration>| time.map(|time| (time.as_secs_f64() * 10.0).round() / 10.0);
        Minutes {
            kind: "test",
            name: self.name.to_owned(),
            start: times.start,
            ready: seconds(times.ready),
            body: seconds(times.body),
            teardown: seconds(times.left.map(|left| left.elapsed())),
            cpu: (cpu_seconds() - times.cpu).round(),
            sets: times.sets,
            result: if passed { "passed" } else { "failed" },
        }
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
