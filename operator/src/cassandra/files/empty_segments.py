"""Prints the segments of the commit log in the directory argv[1] that cannot hold a row, one path a line."""

import glob
import os
import struct
import sys
import zlib


def holds_nothing(path):
    """Whether no byte was ever written behind the segment's header, which begins version, id, length of parameters."""
    with open(path, "rb") as segment:
        status = os.fstat(segment.fileno())
        if status.st_blocks == 0:
            # All holes: made when there was no room even for the header. What was synchronised has blocks.
            return all(not part.strip(b"\0") for part in iter(lambda: segment.read(1 << 20), b""))
        start = segment.read(14)
        if len(start) < 14:
            return True
        version, number, length = struct.unpack(">iQH", start)
        end = segment.read(length + 4)
    # Ends with its header, as a compressed segment does until its first write; one that is cut or torn is not it.
    if status.st_size != 18 + length or len(end) != length + 4:
        return False
    summed = struct.pack(">iIII", version, number & 0xFFFFFFFF, number >> 32, length) + end[:length]
    return zlib.crc32(summed) == struct.unpack(">I", end[length:])[0]


for path in sorted(glob.glob(os.path.join(glob.escape(sys.argv[1]), "CommitLog-*.log"))):
    if holds_nothing(path):
        print(path)
