//! A source with an end: as many records or as much time as a run asks for, or what the source has now.

use std::future::pending;

use tokio::time::{Instant, sleep_until};

use super::{Batch, FetchRecords, Source};

/// When a source without limits is at its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// After one answer.
    FirstBatch,
    /// When it has nothing more for now.
    EmptyBatch,
    /// When it says so itself.
    Exhausted,
}

/// The limits of a run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Most records. Absent: no such limit.
    pub records: Option<u64>,
    /// When it ends, however much there is. Absent: no such limit.
    pub until: Option<Instant>,
    /// When it ends otherwise.
    pub end: End,
}

/// A source within limits.
#[derive(Debug)]
pub struct Limited<S> {
    source: S,
    limits: Limits,
}

impl<S> Limited<S> {
    /// Puts limits on a source.
    pub fn new(source: S, limits: Limits) -> Self {
        Self { source, limits }
    }
}

impl<S: Source> Source for Limited<S> {
    async fn next(&mut self) -> Result<Batch, FetchRecords> {
        let until = self.limits.until;
        let time_is_up = async {
            match until {
                Some(until) => sleep_until(until).await,
                None => pending().await,
            }
        };
        let mut batch = tokio::select! {
            biased;
            () = time_is_up => return Ok(Batch { exhausted: true, ..Batch::default() }),
            fetched = self.source.next() => fetched?,
        };
        if let Some(left) = &mut self.limits.records {
            let (taken, more) = batch.records.cut(*left);
            *left -= taken;
            if more {
                // The position would be behind records that nobody has sent.
                batch.marks.clear();
            }
            batch.exhausted |= *left == 0;
        }
        // Without a limit of its own, a run takes what there is now.
        if self.limits.until.is_none() {
            batch.exhausted |= match self.limits.end {
                End::FirstBatch => self.limits.records.is_none() && !batch.more,
                End::EmptyBatch => batch.records.is_known_empty() && batch.marks.is_empty(),
                End::Exhausted => false,
            };
        }
        Ok(batch)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cursor::Mark;
    use crate::source::memory::MemorySource;
    use crate::source::{Document, Read, Records};

    fn batch(records: &[i64]) -> Result<Batch, FetchRecords> {
        let marks = vec![Mark { part: "a".to_owned(), position: "1".to_owned() }];
        Ok(Batch { records: records.iter().collect(), marks, ..Batch::default() })
    }

    fn text(read: Read) -> String {
        read.expect("a value").record.get().to_owned()
    }

    async fn drained(source: MemorySource, limits: Limits) -> (Vec<String>, Vec<usize>) {
        let mut limited = Limited::new(source, limits);
        let (mut records, mut marks) = (Vec::new(), Vec::new());
        loop {
            let batch = limited.next().await.expect("memory never fails here");
            marks.push(batch.marks.len());
            records.extend(batch.records.map(text));
            if batch.exhausted {
                return (records, marks);
            }
        }
    }

    #[tokio::test]
    async fn ends_after_so_many_records_and_keeps_no_position_behind_those_that_are_cut() {
        let limits = Limits { records: Some(3), until: None, end: End::FirstBatch };
        let source = MemorySource::new([batch(&[1, 2]), batch(&[3, 4]), batch(&[5])]);
        assert_eq!(drained(source, limits).await, (["1", "2", "3"].map(str::to_owned).to_vec(), vec![1, 0]));
        let whole = MemorySource::new([batch(&[1, 2]), batch(&[3]), batch(&[5])]);
        assert_eq!(drained(whole, limits).await.1, [1, 1]);
    }

    #[tokio::test]
    async fn ends_after_one_answer_or_when_there_is_nothing_more() {
        let first = Limits { records: None, until: None, end: End::FirstBatch };
        let source = || MemorySource::new([batch(&[1]), batch(&[2]), Ok(Batch::default()), batch(&[3])]);
        assert_eq!(drained(source(), first).await.0, ["1"]);
        let empty = Limits { end: End::EmptyBatch, ..first };
        assert_eq!(drained(source(), empty).await.0, ["1", "2"]);
    }

    /// Never at its end.
    struct Endless;

    impl Source for Endless {
        async fn next(&mut self) -> Result<Batch, FetchRecords> {
            tokio::time::sleep(Duration::from_millis(1)).await;
            batch(&[1])
        }
    }

    #[tokio::test]
    async fn ends_when_its_time_is_up_and_not_before() {
        let begin = Instant::now();
        let until = Some(begin + Duration::from_millis(60));
        let mut limited = Limited::new(Endless, Limits { records: None, until, end: End::FirstBatch });
        let mut batches = 0;
        while !limited.next().await.expect("it never fails").exhausted {
            batches += 1;
        }
        assert!(begin.elapsed() >= Duration::from_millis(60));
        assert!(batches > 1, "a duration asks again and again");
    }

    #[tokio::test]
    async fn a_text_is_cut_without_being_read() {
        let document = || Document::read("[1, [2], {\"a\": 3}]".to_owned()).expect("JSON");
        let mut records = Records::written(document());
        assert_eq!(records.cut(2), (2, true));
        assert_eq!(records.map(text).collect::<Vec<_>>(), ["1", "[2]"]);
        let mut records = Records::written(document());
        assert_eq!(records.cut(3), (3, false));
        assert_eq!(records.count(), 3);
        let mut records = Records::lines("1\n\n2\n3".to_owned());
        assert_eq!(records.cut(2), (2, true));
        assert_eq!(records.map(text).collect::<Vec<_>>(), ["1", "2"]);
    }
}
