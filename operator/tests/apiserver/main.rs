//! The operator on a real API server, with everything else of a cluster played: between the unit tests, in which there is
//! no API server, and the end-to-end tests, in which all is real (docs/tests.md).
//!
//! `.ci/test apiserver` runs it, but for `figures`: it needs `kube-apiserver`, `etcd`, `helm` and `openssl` on PATH.

#![expect(clippy::disallowed_methods, reason = "it starts programs, reads files and waits for both")]

mod admission;
mod deletion;
mod fencing;
mod figures;
mod foreign;
mod gate;
mod growth;
mod idle;
mod kills;
mod normal;
mod others;
mod policies;
mod rights;
mod scaling;
mod server;
mod snapshot;
mod stage;
mod stale;
mod upgrade;
mod versions;
mod wire;
mod world;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

/// How long a condition is waited for: a limit for what hangs, far above what anything here takes.
struct Patience(Instant);

impl Default for Patience {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Patience {
    const LIMIT: Duration = Duration::from_secs(120);
    /// How often a condition is looked at.
    const LOOK: Duration = Duration::from_millis(50);

    /// Fails once the limit is reached.
    fn ensure(&self, what: &str) -> Result<()> {
        ensure!(self.0.elapsed() < Self::LIMIT, "not within {} s: {what}", Self::LIMIT.as_secs());
        Ok(())
    }

    /// Lets a moment pass on this thread.
    fn pause(&self, what: &str) -> Result<()> {
        self.ensure(what)?;
        std::thread::sleep(Self::LOOK);
        Ok(())
    }
}

/// Waits until a condition holds, and returns what it found.
async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let patience = Patience::default();
    loop {
        if let Some(found) = condition().await? {
            return Ok(found);
        }
        patience.ensure(what)?;
        tokio::time::sleep(Patience::LOOK).await;
    }
}
