//! Waiting for a condition: asked again and again until it holds or time is up.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(300);

/// Asks `probe` until it gives a value; returns it with the time that this took.
///
/// An error counts as "not yet", since faults are what these tests are about; the last one is told when time is up.
pub async fn eventually<T>(
    what: &str,
    limit: Duration,
    mut probe: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<(T, Duration)> {
    let began = Instant::now();
    loop {
        let error = match tokio::time::timeout(limit.max(LOOK), probe()).await {
            Ok(Ok(Some(value))) => return Ok((value, began.elapsed())),
            Ok(Ok(None)) => String::new(),
            Ok(Err(error)) => format!("; the last look failed: {error:#}"),
            Err(_) => "; the last look did not end".to_owned(),
        };
        if began.elapsed() >= limit {
            bail!("not within {} s: {what}{error}", limit.as_secs());
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn gives_the_value_once_it_is_there() {
        let mut looks = 0;
        let waited = eventually("three looks", Duration::from_secs(10), async || {
            looks += 1;
            Ok((looks == 3).then_some(looks))
        });
        assert_eq!(waited.await.expect("it is there at the third look").0, 3);
    }

    #[tokio::test]
    async fn says_what_it_waited_for_and_why_not() {
        let waited = eventually::<()>("the moon", Duration::ZERO, async || bail!("clouds"));
        let error = waited.await.expect_err("it never comes").to_string();
        assert_eq!(error, "not within 0 s: the moon; the last look failed: clouds");
    }
}
