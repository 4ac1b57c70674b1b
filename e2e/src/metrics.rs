//! A pod's metrics, asked of the pod itself.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What sizes are told in, in bytes.
pub const MEBIBYTE: f64 = 1024.0 * 1024.0;
/// Where workers and operator serve them.
const HTTP_PORT: u16 = 8080;
/// Longest that the answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The samples of one pod: name with labels, and value.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Vec<(String, f64)>);

impl Metrics {
    /// Returns the sum of a metric over its labels; 0 where there is none.
    pub fn sum(&self, metric: &str) -> f64 {
        let is_it = |name: &str| name.split('{').next() == Some(metric);
        self.0.iter().filter(|(name, _)| is_it(name)).map(|(_, value)| value).sum()
    }

    /// Returns the sum of a metric over the series that have a label of this value.
    pub fn of(&self, metric: &str, label: &str, value: &str) -> f64 {
        let pair = format!("{label}=\"{value}\"");
        let is_it = |name: &str| {
            let (found, labels) = name.trim_end_matches('}').split_once('{').unwrap_or((name, ""));
            found == metric && labels.split(',').any(|found| found == pair)
        };
        self.0.iter().filter(|(name, _)| is_it(name)).map(|(_, value)| value).sum()
    }
}

/// Asks a pod for its metrics.
pub async fn scrape(address: IpAddr) -> Result<Metrics> {
    let answer =
        timeout(PATIENCE, get(address)).await.with_context(|| format!("{address} does not tell its metrics"))?;
    let answer = answer.with_context(|| format!("cannot ask {address} for its metrics"))?;
    ensure!(answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.1 200"), "{address} answers: {answer}");
    Ok(parse(&answer))
}

async fn get(address: IpAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(SocketAddr::new(address, HTTP_PORT)).await?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

fn parse(page: &str) -> Metrics {
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    Metrics(page.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_a_metric_over_its_labels_only() {
        let metrics = parse("# HELP a_total x 1\na_total{b=\"c\"} 2\na_total{b=\"d\"} 3.5\na_total_else 7\n");
        assert_eq!(metrics.sum("a_total"), 5.5);
        assert_eq!(metrics.of("a_total", "b", "d"), 3.5);
        assert_eq!(metrics.sum("none") + metrics.of("a_total", "b", "e"), 0.0);
    }
}
