//! Measured figures, gathered over all tests in `target/e2e-figures.json` for docs and reports.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::cluster::target;

type Figures = BTreeMap<String, BTreeMap<String, f64>>;

/// Writes a figure of a test down, in place of an earlier run's. Tests of several processes may do so at once.
pub fn record(test: &str, figure: &str, value: f64) -> Result<()> {
    let path = target().join("e2e-figures.json");
    fs::create_dir_all(target())?;
    let lock = File::create(target().join("e2e-figures.lock")).context("cannot make the figures' lock")?;
    lock.lock().context("cannot take the figures' lock")?;
    let mut figures: Figures = match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).with_context(|| format!("{} is no JSON", path.display()))?,
        Err(_) => Figures::default(),
    };
    figures.entry(test.to_owned()).or_default().insert(figure.to_owned(), (value * 10.0).round() / 10.0);
    fs::write(&path, serde_json::to_vec_pretty(&figures)?).with_context(|| format!("cannot write {}", path.display()))
}

/// Writes a time down, in seconds.
pub fn record_time(test: &str, figure: &str, took: Duration) -> Result<()> {
    record(test, &format!("{figure}_seconds"), took.as_secs_f64())
}
