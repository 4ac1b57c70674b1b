//! Unpacks record batches of every codec that Kafka knows, bounded in bytes.

use std::io::Read;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use kafka_protocol::records::Compression;
use lz4_flex::frame::FrameDecoder;
use snafu::{OptionExt, ResultExt, Snafu, ensure};

use crate::budget::Kind;

/// Largest batch, unpacked: as much as a whole answer of records.
const MAX_BATCH: u64 = Kind::Records.largest() as u64;

/// What Java's clients put before their blocks of Snappy; followed by two version numbers of four bytes each.
const SNAPPY_BLOCKS: &[u8] = b"\x82SNAPPY\0";
const SNAPPY_HEADER: usize = 16;

/// Why a batch cannot be unpacked.
#[derive(Debug, Snafu)]
pub(super) enum Unpack {
    #[snafu(display("the batch is broken"))]
    Read { source: std::io::Error },
    #[snafu(display("the batch is broken"))]
    ReadSnappy { source: snap::Error },
    #[snafu(display("the batch ends in the middle of a block"))]
    ReadBlock,
    #[snafu(display("the batch is larger than {MAX_BATCH} bytes"))]
    Bound,
}

/// Returns the records of a batch as they were before they were compressed.
pub(super) fn unpacked(packed: &Bytes, compression: Compression) -> Result<Bytes, Unpack> {
    match compression {
        Compression::None => Ok(packed.clone()),
        Compression::Gzip => read(MultiGzDecoder::new(&packed[..])),
        Compression::Lz4 => read(FrameDecoder::new(&packed[..])),
        Compression::Zstd => read(zstd::Decoder::new(&packed[..]).context(ReadSnafu)?),
        Compression::Snappy => match packed.strip_prefix(SNAPPY_BLOCKS) {
            Some(_) => snappy_blocks(packed.get(SNAPPY_HEADER..).context(ReadBlockSnafu)?),
            None => Ok(snappy(packed)?.into()),
        },
    }
}

fn read(unpacking: impl Read) -> Result<Bytes, Unpack> {
    let mut plain = Vec::new();
    unpacking.take(MAX_BATCH + 1).read_to_end(&mut plain).context(ReadSnafu)?;
    ensure!(plain.len() as u64 <= MAX_BATCH, BoundSnafu);
    Ok(plain.into())
}

fn snappy(block: &[u8]) -> Result<Vec<u8>, Unpack> {
    let length = snap::raw::decompress_len(block).context(ReadSnappySnafu)?;
    ensure!(length as u64 <= MAX_BATCH, BoundSnafu);
    snap::raw::Decoder::new().decompress_vec(block).context(ReadSnappySnafu)
}

/// Reads blocks that each stand behind their length.
fn snappy_blocks(mut blocks: &[u8]) -> Result<Bytes, Unpack> {
    let mut plain = Vec::new();
    while let Some((length, rest)) = blocks.split_first_chunk::<4>() {
        let (block, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize).context(ReadBlockSnafu)?;
        plain.extend(snappy(block)?);
        ensure!(plain.len() as u64 <= MAX_BATCH, BoundSnafu);
        blocks = rest;
    }
    ensure!(blocks.is_empty(), ReadBlockSnafu);
    Ok(plain.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn packed(compression: Compression, plain: &[u8]) -> Bytes {
        let packed = match compression {
            Compression::None => plain.to_vec(),
            Compression::Gzip => {
                let mut packing = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                packing.write_all(plain).expect("it is packed");
                packing.finish().expect("it is packed")
            }
            Compression::Lz4 => {
                let mut packing = lz4_flex::frame::FrameEncoder::new(Vec::new());
                packing.write_all(plain).expect("it is packed");
                packing.finish().expect("it is packed")
            }
            Compression::Zstd => zstd::encode_all(plain, 1).expect("it is packed"),
            Compression::Snappy => snap::raw::Encoder::new().compress_vec(plain).expect("it is packed"),
        };
        packed.into()
    }

    #[test]
    fn unpacks_every_codec_and_no_rubbish() {
        let plain = b"a record, a record, a record".repeat(50);
        let codecs = [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
        for codec in codecs {
            assert_eq!(unpacked(&packed(codec, &plain), codec).expect("it is whole"), plain, "{codec:?}");
        }
        for codec in &codecs[1..] {
            let half = packed(*codec, &plain);
            unpacked(&half.slice(..half.len() / 2), *codec).expect_err("it is cut off");
        }
    }

    #[test]
    fn unpacks_snappy_as_java_writes_it() {
        let mut framed = SNAPPY_BLOCKS.to_vec();
        framed.extend([0, 0, 0, 1, 0, 0, 0, 1]);
        for part in ["first ", "second"] {
            let block = packed(Compression::Snappy, part.as_bytes());
            framed.extend((block.len() as u32).to_be_bytes());
            framed.extend(&block[..]);
        }
        let framed = Bytes::from(framed);
        assert_eq!(unpacked(&framed, Compression::Snappy).expect("it is whole"), "first second");
        unpacked(&framed.slice(..framed.len() - 1), Compression::Snappy).expect_err("it is cut off");
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let zeros = vec![0; MAX_BATCH as usize + 1];
        for codec in [Compression::Gzip, Compression::Snappy, Compression::Zstd] {
            let refused = unpacked(&packed(codec, &zeros), codec).expect_err("it is too large");
            assert_eq!(refused.to_string(), "the batch is larger than 16777216 bytes", "{codec:?}");
        }
    }
}
