"""Numbers from samples. Pure."""

from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Sample:
    """What a run had come to at one moment; everything counts from the run's start."""

    seconds: float
    rows: int
    # CPU seconds.
    client: float
    cassandra: float
    broker: float
    # Of the whole machine: spent on anything, and taken by the hypervisor.
    busy: float
    stolen: float


def percentile(values: list[float], share: float) -> float:
    """Returns the smallest value that at least `share` of all values do not exceed (nearest rank)."""
    ordered = sorted(values)
    rank = -(-len(ordered) * share // 1)
    return ordered[max(int(rank), 1) - 1]


def at_rows(samples: list[Sample], rows: float) -> Sample:
    """Returns the moment at which `rows` were reached, between the two samples around it."""
    after = next(index for index, sample in enumerate(samples) if sample.rows >= rows)
    if after == 0:
        return samples[0]
    low, high = samples[after - 1], samples[after]
    part = (rows - low.rows) / (high.rows - low.rows)
    between = {name: getattr(low, name) + part * (getattr(high, name) - getattr(low, name))
               for name in Sample.__dataclass_fields__}
    return Sample(**between)


def stretch(begin: Sample, end: Sample, cores: int) -> dict:
    """Returns rate and cost between two moments."""
    rows, seconds = end.rows - begin.rows, end.seconds - begin.seconds

    def micros(name: str) -> float:
        return round((getattr(end, name) - getattr(begin, name)) / rows * 1e6, 2)

    known = sum(getattr(end, name) - getattr(begin, name) for name in ("client", "cassandra", "broker"))
    return {
        "seconds": round(seconds, 3),
        "rows_per_second": round(rows / seconds, 1),
        "client_micros": micros("client"),
        "cassandra_micros": micros("cassandra"),
        "broker_micros": micros("broker"),
        # Of the machine's capacity: work of others, and what the hypervisor took.
        "others_share": round(max(end.busy - begin.busy - known, 0) / (seconds * cores), 4),
        "stolen_share": round((end.stolen - begin.stolen) / (seconds * cores), 4),
    }


def summary(samples: list[Sample], records: int, cores: int) -> dict:
    """Returns what the samples of a drain say: the whole of it, and its steady part from 10 % to 90 % of the rows."""
    whole = stretch(samples[0], at_rows(samples, records), cores)
    steady = stretch(at_rows(samples, 0.1 * records), at_rows(samples, 0.9 * records), cores)
    return {"whole": whole, "steady": steady}


def spread(values: list[float]) -> dict:
    """Returns median and range."""
    return {"median": median(values), "least": min(values), "most": max(values), "runs": len(values)}


def latency(readings: list[float]) -> dict:
    """Returns the percentiles of readings in seconds, in milliseconds."""
    points = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "max": 1.0}
    return {name: round(percentile(readings, share) * 1e3, 2) for name, share in points.items()}
