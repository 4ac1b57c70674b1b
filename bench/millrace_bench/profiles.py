"""What the worker's generator makes, as far as the harness must know it beforehand: ids, and when each is due.

The ids repeat crate `profile` (SplitMix64), which promises that they never change; the schedule repeats the pace of
worker/src/source/generator.rs.
"""

import uuid

MASK = (1 << 64) - 1
GAMMA = 0x9E37_79B9_7F4A_7C15
TICK = 0.02
LARGEST_BATCH = 200


def mix(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58_476D_1CE4_E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D0_49BB_1331_11EB) & MASK
    return z ^ (z >> 31)


def profile_id(seed: int, index: int) -> uuid.UUID:
    """Returns the id of the person at `index` of the sequence `seed`."""
    state = mix(mix((seed + GAMMA) & MASK) ^ (index * 0xD134_2543_DE82_EF95 & MASK))
    halves = (mix((state + GAMMA * step) & MASK) for step in (1, 2))
    return uuid.UUID(bytes=b"".join(half.to_bytes(8, "big") for half in halves), version=4)


def due(index: int, rate: int) -> float:
    """Returns after how many seconds a generator of `rate` records a second lets go of a record."""
    batch = min(max(int(rate * TICK), 1), LARGEST_BATCH)
    return index // batch * batch / rate
