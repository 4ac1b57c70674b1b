//! An unpacked batch of records, walked before it is decoded: are the records and headers there that it announces?
//!
//! The codec makes room for as many as are announced, before it reads the first.

use snafu::{OptionExt, Snafu, ensure};

/// Most memory that the records of one batch may take beside their bytes.
const MOST_MEMORY: usize = 48 << 20;
/// What one record takes as the codec holds it, and as we do.
const RECORD: usize = 320;
/// The same of one header.
const HEADER: usize = 160;

/// Why a batch is not decoded.
#[derive(Debug, PartialEq, Snafu)]
pub(super) enum WalkBatch {
    #[snafu(display("the batch does not hold the {announced} records that it announces"))]
    FindRecords { announced: i32 },
    #[snafu(display("the batch holds more records and headers than fit {MOST_MEMORY} bytes of memory"))]
    FitMemory,
}

/// What a batch says of its records, of their times and offsets the lowest.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Announced {
    offset: i64,
    time: i64,
    records: i32,
}

impl Announced {
    /// Reads the fields from the head of a batch. `None`: it is shorter than that.
    pub(super) fn by(batch: &[u8]) -> Option<Self> {
        Some(Self {
            offset: i64::from_be_bytes(batch.get(..8)?.try_into().ok()?),
            time: i64::from_be_bytes(batch.get(27..35)?.try_into().ok()?),
            records: i32::from_be_bytes(batch.get(57..61)?.try_into().ok()?),
        })
    }
}

/// Walks the records of a batch.
pub(super) fn walk(plain: &[u8], announced: Announced) -> Result<(), WalkBatch> {
    let short = FindRecordsSnafu { announced: announced.records };
    let mut rest = plain;
    let mut memory = 0;
    for _ in 0..announced.records {
        memory += RECORD + HEADER * record(&mut rest, announced).context(short)?;
        ensure!(memory <= MOST_MEMORY, FitMemorySnafu);
    }
    Ok(())
}

/// Takes one record, and returns how many headers it has.
fn record(rest: &mut &[u8], announced: Announced) -> Option<usize> {
    // Behind the attributes.
    let mut record = bytes(rest)?.get(1..)?;
    announced.time.checked_add(varint(&mut record)?)?;
    announced.offset.checked_add(varint(&mut record)?)?;
    skip_nullable(&mut record)?;
    skip_nullable(&mut record)?;
    let headers = usize::try_from(varint(&mut record)?).ok()?;
    // A header is two lengths at least.
    (headers <= record.len() / 2).then_some(headers)
}

fn bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(varint(rest)?).ok()?;
    let (bytes, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(bytes)
}

/// Passes over a key or a value; -1: there is none.
fn skip_nullable(rest: &mut &[u8]) -> Option<()> {
    let mut ahead = *rest;
    match varint(&mut ahead)? {
        -1 => *rest = ahead,
        _ => {
            bytes(rest)?;
        }
    }
    Some(())
}

/// Reads a zigzag varint of up to ten bytes.
fn varint(rest: &mut &[u8]) -> Option<i64> {
    let mut value = 0_u64;
    for shift in (0..70).step_by(7) {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record without key, with a value of one byte and no headers.
    const PLAIN: [u8; 8] = [14, 0, 0, 0, 1, 2, b'v', 0];

    fn walk(plain: &[u8], records: i32) -> Result<(), WalkBatch> {
        super::walk(plain, Announced { records, ..Announced::default() })
    }

    #[test]
    fn walks_what_is_there() {
        assert_eq!(walk(&PLAIN.repeat(3), 3), Ok(()));
        let with_header = [22, 0, 0, 0, 1, 2, b'v', 2, 2, b'h', 2, b'1'];
        assert_eq!(walk(&with_header, 1), Ok(()));
        assert_eq!(walk(&[], 0), Ok(()));
    }

    #[test]
    fn refuses_records_and_headers_that_are_announced_only() {
        assert_eq!(walk(&PLAIN, i32::MAX), Err(WalkBatch::FindRecords { announced: i32::MAX }));
        // 2³⁰ headers in a record that ends there.
        let headers = [22, 0, 0, 0, 1, 2, b'v', 0x80, 0x80, 0x80, 0x80, 0x08];
        assert_eq!(walk(&headers, 1), Err(WalkBatch::FindRecords { announced: 1 }));
    }

    #[test]
    fn refuses_times_that_cannot_be_counted_to() {
        let later = [14, 0, 2, 0, 1, 2, b'v', 0];
        let announced = Announced { time: i64::MAX, records: 1, ..Announced::default() };
        assert_eq!(super::walk(&later, announced), Err(WalkBatch::FindRecords { announced: 1 }));
        assert_eq!(super::walk(&PLAIN, announced), Ok(()));
    }

    #[test]
    fn refuses_more_than_memory_holds() {
        let most = i32::try_from(MOST_MEMORY / RECORD).expect("it is small");
        let records = PLAIN.repeat(usize::try_from(most).expect("it is small") + 1);
        assert_eq!(walk(&records, most), Ok(()));
        assert_eq!(walk(&records, most + 1), Err(WalkBatch::FitMemory));
    }

    #[test]
    fn varints_are_zigzag() {
        for (bytes, value) in [(&[0][..], 0), (&[1], -1), (&[2], 1), (&[0xff, 0x01], -128), (&[0x80, 0x02], 128)] {
            assert_eq!(varint(&mut &bytes[..]), Some(value), "{bytes:?}");
        }
        assert_eq!(varint(&mut &[0x80; 11][..]), None);
        assert_eq!(varint(&mut &[0x80][..]), None);
    }
}
