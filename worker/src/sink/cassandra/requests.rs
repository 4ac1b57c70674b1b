//! Which rows share a request: those of one set of replicas, within what the server takes in one batch.
//!
//! An unlogged batch is as safe as its rows alone, since each is idempotent by its timestamp; it is cheaper by a third
//! for the server and by most of the driver's work for us (docs/benchmark.md). Rows of several sets of replicas would
//! make the coordinator send on what a client can send where it belongs, so they never share one.

use std::ops::Range;

use scylla::client::session::Session;

use super::super::Row;

/// Rows of a full request: beyond it a batch is hardly cheaper, and a late one keeps more rows waiting.
pub(super) const ROWS: usize = 32;

/// Most rows that are sorted into requests at once.
pub(super) const MOST_AT_ONCE: usize = 512;

/// Bytes of a batch that every server takes without a warning: Cassandra's default `batch_size_warn_threshold`.
const DEFAULT_BYTES: usize = 5 << 10;

/// What a row and each of its cells weigh in a batch beside their values, by the server's reckoning: timestamps, times
/// to live and deletion times (Cassandra's `PartitionUpdate.dataSize`). Values weigh no more than their JSON.
const OVERHEAD: usize = 20;

/// What one request may hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Bounds {
    /// Rows.
    pub(super) rows: usize,
    /// Bytes by the server's reckoning.
    pub(super) bytes: usize,
}

/// What a server takes by default.
impl Default for Bounds {
    fn default() -> Self {
        Self::of_settings(&[])
    }
}

impl Bounds {
    /// Asks the server for its thresholds; one that does not tell has the defaults.
    pub(super) async fn of_server(session: &Session) -> Self {
        Self::of_settings(&settings(session).await.unwrap_or_default())
    }

    fn of_settings(settings: &[(String, String)]) -> Self {
        let value = |wanted: &str| settings.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
        let bytes = value("batch_size_warn_threshold")
            .and_then(size)
            .or_else(|| value("batch_size_warn_threshold_in_kb")?.parse::<usize>().ok().map(|kib| kib << 10))
            .unwrap_or(DEFAULT_BYTES);
        // Only a warning in the server's log, and every row is its own partition: the default of 10 is for logged ones.
        let partitions = value("unlogged_batch_across_partitions_warn_threshold").and_then(|value| value.parse().ok());
        Self { rows: partitions.unwrap_or(10).clamp(1, ROWS), bytes }
    }

    /// Returns the requests of rows that have the same replicas.
    pub(super) fn requests(&self, rows: &[Row<'_>]) -> Vec<Range<usize>> {
        self.requests_where(rows, |_, _| true)
    }

    /// Returns the requests of rows that stand together where they have the same replicas.
    pub(super) fn requests_where(
        &self,
        rows: &[Row<'_>],
        have_same_replicas: impl Fn(usize, usize) -> bool,
    ) -> Vec<Range<usize>> {
        let mut requests: Vec<Range<usize>> = Vec::with_capacity(rows.len() / self.rows + 1);
        let mut bytes = 0;
        for (index, row) in rows.iter().enumerate() {
            let size = row.bytes + OVERHEAD * (1 + row.cells.len());
            let fits = |request: &&mut Range<usize>| {
                request.len() < self.rows && bytes + size <= self.bytes && have_same_replicas(request.start, index)
            };
            match requests.last_mut().filter(fits) {
                Some(request) => {
                    request.end += 1;
                    bytes += size;
                }
                None => {
                    requests.push(index..index + 1);
                    bytes = size;
                }
            }
        }
        requests
    }
}

async fn settings(session: &Session) -> Option<Vec<(String, String)>> {
    let statement = "SELECT name, value FROM system_views.settings WHERE name IN \
                     ('batch_size_warn_threshold', 'batch_size_warn_threshold_in_kb', \
                     'unlogged_batch_across_partitions_warn_threshold')";
    let answer = session.query_unpaged(statement, ()).await.ok()?.into_rows_result().ok()?;
    let rows = answer.rows::<(String, Option<String>)>().ok()?;
    Some(rows.flatten().filter_map(|(name, value)| Some((name, value?))).collect())
}

/// Reads a size as `cassandra.yaml` writes it: a number with B, KiB, MiB or GiB.
fn size(text: &str) -> Option<usize> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let number: usize = text[..digits].parse().ok()?;
    let shift = match text[digits..].trim() {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return None,
    };
    number.checked_shl(shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(sizes: &[usize]) -> Vec<Row<'static>> {
        let row = |(record, bytes): (usize, &usize)| Row {
            record,
            cells: &[],
            deletes: false,
            timestamp: None,
            bytes: *bytes,
        };
        sizes.iter().enumerate().map(row).collect()
    }

    fn lengths(requests: &[Range<usize>]) -> Vec<usize> {
        requests.iter().map(Range::len).collect()
    }

    #[test]
    fn rows_share_a_request_up_to_its_bounds() {
        let bounds = Bounds { rows: 3, bytes: 10 * (100 + OVERHEAD) };
        assert_eq!(lengths(&bounds.requests(&rows(&[100; 7]))), [3, 3, 1]);
        let bounds = Bounds { rows: 32, bytes: 2 * (100 + OVERHEAD) };
        assert_eq!(lengths(&bounds.requests(&rows(&[100; 5]))), [2, 2, 1]);
        assert_eq!(lengths(&bounds.requests(&rows(&[100, 9_999, 100]))), [1, 1, 1], "a large row goes alone");
        assert!(bounds.requests(&[]).is_empty());
    }

    #[test]
    fn rows_of_other_replicas_never_share_one() {
        let bounds = Bounds { rows: 32, bytes: 1 << 20 };
        let sets = ["a", "a", "b", "c", "c"];
        let requests = bounds.requests_where(&rows(&[1; 5]), |first, second| sets[first] == sets[second]);
        assert_eq!(lengths(&requests), [2, 1, 2]);
    }

    #[test]
    fn bounds_are_the_servers_own() {
        let settings = |pairs: &[(&str, &str)]| {
            let owned = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            Bounds::of_settings(&owned.collect::<Vec<_>>())
        };
        assert_eq!(settings(&[]), Bounds { rows: 10, bytes: 5 << 10 });
        let raised =
            [("batch_size_warn_threshold", "64KiB"), ("unlogged_batch_across_partitions_warn_threshold", "1000")];
        assert_eq!(settings(&raised), Bounds { rows: ROWS, bytes: 64 << 10 });
        assert_eq!(settings(&[("batch_size_warn_threshold_in_kb", "7")]).bytes, 7 << 10);
        assert_eq!(settings(&[("batch_size_warn_threshold", "much")]).bytes, DEFAULT_BYTES);
    }
}
