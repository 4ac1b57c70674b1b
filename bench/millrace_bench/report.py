"""The page and its plots, from a result. Pure but for reading the one and writing the others."""

import json
from pathlib import Path
from statistics import median

from .figures import spread
from .plan import FAULTS
from .plots import Bar, bars, dots, lines

OURS = "millrace"

METHOD = """\
## What is measured, and how sure it is

Every client gets the same records from the same topic (6 partitions, one broker, zstd) and writes them to the same table
of 12 columns (one node, one replica), and each promises the same: an offset is committed only after its row is
acknowledged. Clients run as processes of the host, next to the kind nodes that run the stores: client, broker and
Cassandra share the machine's cores, as in the first figures. Each is set up as its own experts would (below), with the
concurrency that was best in a sweep.

- **A run** starts with an empty table, a new consumer group and a quiet node. The order of the peers is reversed every
  second time. A JVM that has not compiled what runs often is slower by half: the first million rows and more count for
  nothing. A peer's figure is the median of its runs.
- **Rows** are counted by the node itself: applied writes of this table (`system_views.local_write_latency`), asked for
  every 200 ms. It is the same measure for all, however often or rarely a client commits.
- **rows/s** is the steady part, between 10 % and 90 % of the rows; **whole** is exec to the last row, start included;
  **first row** is exec until a `SELECT` gives a row, asked for every 5 ms.
- **Ceiling**: latte writes the same kind of rows with the same statement from memory, without Kafka and JSON, measured
  by the same counter.
- **CPU** is user and system time of the steady part, from `/proc`, in steps of 10 ms over seconds: of all processes that
  the client has started, of the broker's and of Cassandra's JVM. What Cassandra flushes and compacts after the last row
  is not in it. **Others** is the share of the machine that nobody of these three used: other work on the machine, the
  harness itself, the kernel. A run with much of it is a disturbed one.
- **Memory**: peak is the kernel's high-water mark of resident memory (for several processes their sum); resting is what
  is resident 3 s after the last commit.
- **Lost, mixed, foreign, twice**: after each run the table is read whole and compared with the records, cell by cell.
  Lost rows are not there, mixed ones differ in a cell, foreign ones nobody sent, twice is how many more writes than
  records the node has applied. For the ceiling rows are only counted.
- **Latency** is open loop: the worker's producer sends at a fixed rate, the same for all or a share of the peer's own
  rows/s, however slow the client is. Every 200th record is asked for by its id from when it is due until it is there; the
  producer lets go of records by batches that divide 200 at most of these rates, so that it is the first of its batch.
  *Since due* counts from the moment the schedule gives, so a stalled producer flatters nobody; *since produced* from
  the header that the producer sets, in whole milliseconds. A reading is too long by at most the *bracket*: from sending
  the last question that found nothing to the answer that found the row. The producer and the questions run on the same
  cores and are part of what the client has to live with. Paced runs come after the drains and are done once.
"""


def write(result_path: Path, docs: Path) -> None:
    """Writes docs/benchmark.md and docs/benchmark/*.svg."""
    result = json.loads(result_path.read_text())
    plots = plots_of(result)
    (docs / "benchmark").mkdir(parents=True, exist_ok=True)
    for name, content in plots.items():
        (docs / "benchmark" / f"{name}.svg").write_text(content)
    (docs / "benchmark.md").write_text(page(result, plots))


def rows_of(result: dict) -> list[dict]:
    """Returns one line for each peer that has drained, the fastest first."""
    lines_ = []
    for name, peer in result["peers"].items():
        runs = [run for run in result["drains"] if run["peer"] == name]
        if not runs:
            continue

        def middle(*path: str) -> float | None:
            values = [value for run in runs if (value := at(run, path)) is not None]
            return median(values) if values else None

        lines_.append({
            "name": name, "title": peer["title"], "ceiling": peer["ceiling"], "concurrency": runs[-1]["concurrency"],
            "rate": spread([run["steady"]["rows_per_second"] for run in runs]),
            "whole": middle("whole", "seconds"), "first_row": middle("first_row_seconds"),
            "client": middle("steady", "client_micros"), "cassandra": middle("steady", "cassandra_micros"),
            "broker": middle("steady", "broker_micros"), "others": middle("steady", "others_share"),
            "peak": middle("peak_bytes"), "resting": middle("resting_bytes"),
            **{fault: sum(run.get(fault) or 0 for run in runs) for fault in FAULTS},
        })
    ceiling = next((line["rate"]["median"] for line in lines_ if line["ceiling"]), None)
    for line in lines_:
        line["of_ceiling"] = line["rate"]["median"] / ceiling if ceiling else None
    return sorted(lines_, key=lambda line: -line["rate"]["median"])


def compared(results: dict[str, dict]) -> str:
    """Returns a line for each peer of each result, by name, in the order of the results."""
    header = ["result", "memtables", "peer", "rows/s", "least–most", "of the ceiling", "CPU µs: client", "Cassandra"]
    return table(header, [
        [name, result["plan"].get("memtable") or "the operator's", line["title"], f"{line['rate']['median']:,.0f}",
         f"{line['rate']['least']:,.0f}–{line['rate']['most']:,.0f}", percent(line["of_ceiling"]).strip(" ()"),
         f"{line['client']:.1f}", f"{line['cassandra']:.1f}"]
        for name, result in results.items() for line in rows_of(result)])


def at(run: dict, path: tuple[str, ...]):
    for key in path:
        run = run.get(key) if run else None
    return run


def style(line: dict) -> str:
    return "s1" if line["ceiling"] else "s0" if line["name"] == OURS else "rest"


def plots_of(result: dict) -> dict[str, str]:
    """Returns the plots that there are data for."""
    plots, rows = {}, rows_of(result)
    if rows:
        plots["throughput"] = bars("Rows a second, steady part: median and range", [
            Bar(row["title"], (row["rate"]["median"],), f"{row['rate']['median']:,.0f}{percent(row['of_ceiling'])}",
                (row["rate"]["least"], row["rate"]["most"]), style(row)) for row in rows])
        cheapest = sorted(rows, key=lambda row: row["client"] + row["cassandra"] + row["broker"])
        plots["cpu"] = bars("CPU microseconds a row", [
            Bar(row["title"], (row["client"], row["cassandra"], row["broker"]),
                f"{row['client']:.1f} + {row['cassandra']:.0f} + {row['broker']:.1f}") for row in cheapest],
            ("client", "Cassandra", "broker"))
        plots["memory"] = bars("Resident memory of the client at its peak, MiB", [
            Bar(row["title"], (row["peak"] / 2**20,), f"{row['peak'] / 2**20:,.0f}", None, style(row))
            for row in sorted(rows, key=lambda row: row["peak"])])
    if result["latencies"]:
        titles = {name: peer["title"] for name, peer in result["peers"].items()}
        plots["latency"] = dots("From due to readable", [
            (f"{titles[run['peer']]} {load(run)}",
             {shown: run["since_due_ms"][key] for key, shown in (("p50", "p50"), ("p99", "p99"), ("p999", "p99.9"))})
            for run in paced(result)])
    if result["sweep"]:
        series: dict[str, list[tuple[float, float]]] = {}
        # Ours and the ceiling first, so that they have the same colours everywhere.
        peers = result["peers"]
        for run in sorted(result["sweep"], key=lambda run: (run["peer"] != OURS, not peers[run["peer"]]["ceiling"])):
            title = result["peers"][run["peer"]]["title"]
            series.setdefault(title, []).append((run["concurrency"], run["rows_per_second"]))
        plots["sweep"] = lines("Rows a second over concurrency", series, "BENCH_CONCURRENCY")
    return plots


def paced(result: dict) -> list[dict]:
    """Returns the paced runs: those at one rate for all, then those at a share of each client's maximum."""
    return sorted(result["latencies"], key=lambda run: (
        run["share"] is not None, run["share"] or run["rate"], run["since_due_ms"]["p50"]))


def load(run: dict) -> str:
    return f"{run['rate']:,}/s" if run["share"] is None else f"{run['share']:.0%}: {run['rate']:,}/s"


def percent(share: float | None) -> str:
    return "" if share is None else f" ({share:.0%})"


def table(header: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, ["---"] * len(header), *rows]) + "\n"


def mebibytes(size: float | None) -> str:
    return "–" if size is None else f"{size / 2**20:,.0f}"


def drains(rows: list[dict]) -> str:
    header = ["client", "in flight", "rows/s", "of ceiling", "whole", "first row", "client µs", "Cassandra µs",
              "broker µs", "peak MiB", "resting MiB", "others", " / ".join(FAULTS)]
    return table(header, [[
        f"**{row['title']}**" if row["name"] == OURS else row["title"], str(row["concurrency"]),
        f"{row['rate']['median']:,.0f} ({row['rate']['least']:,.0f}–{row['rate']['most']:,.0f})",
        "–" if row["of_ceiling"] is None else f"{row['of_ceiling']:.0%}",
        f"{row['whole']:.1f} s", f"{row['first_row']:.2f} s",
        f"{row['client']:.1f}", f"{row['cassandra']:.1f}", f"{row['broker']:.1f}", mebibytes(row["peak"]),
        mebibytes(row["resting"]), f"{row['others']:.0%}", " / ".join(str(row[fault]) for fault in FAULTS),
    ] for row in rows])


def latencies(result: dict) -> str:
    header = ["client", "rate", "p50", "p99", "p99.9", "max", "p50 / p99 since produced", "producer late p99",
              "bracket p50 / p99", "samples", "not within 20 s"]
    rows = []
    for run in paced(result):
        since, made = run["since_due_ms"], run["since_produced_ms"]
        rows.append([result["peers"][run["peer"]]["title"], load(run),
                     *(f"{since[point]:,.1f}" for point in ("p50", "p99", "p999", "max")),
                     f"{made['p50']:,.1f} / {made['p99']:,.1f}", f"{run['producer_late_ms']['p99']:,.1f}",
                     f"{run['bracket_ms']['p50']:,.1f} / {run['bracket_ms']['p99']:,.1f}", str(run["samples"]),
                     str(run["given_up"])])
    return table(header, rows)


def page(result: dict, plots: dict[str, str]) -> str:
    """Returns docs/benchmark.md."""
    plan, machine, stores = result["plan"], result["machine"], result["stores"]
    rows = rows_of(result)

    def plot(name: str, alternative: str) -> list[str]:
        return [f"![{alternative}](benchmark/{name}.svg)\n"] if name in plots else []

    parts = [
        "<!-- Generated by `bench/bench.py report` from bench/results/latest.json; never edited. -->\n",
        "# Benchmark\n",
        f"{plan['records']:,} records, {plan['repetitions']} run{'s' * (plan['repetitions'] != 1)} of each client, on "
        f"{machine['cores']} cores ({machine['cpu']}), {machine['memory_gib']} GiB, {machine['date']}, commit "
        f"`{machine['commit']}`. `make bench` makes this page anew, `make bench-quick` a smaller one in ten minutes. "
        "Figures of other machines, or of a busy one, are other figures: compare within this page.\n",
        *(resumed(step, result["peers"]) for step in result["resumed"]),
        "## Drain\n", drains(rows), *plot("throughput", "rows a second"), *plot("cpu", "CPU a row"),
        *plot("memory", "peak memory"),
    ]
    if result["latencies"]:
        parts += ["## Latency\n", "Milliseconds, since due unless said otherwise.\n", latencies(result),
                  *plot("latency", "latency")]
    if result["sweep"]:
        parts += ["## Sweep\n", f"The first {plan['sweep_records']:,} records at each concurrency, once.\n",
                  *plot("sweep", "sweep")]
    if result["failures"]:
        told = [f"- {failure['peer']}: `{failure['message'].splitlines()[0]}`\n" for failure in result["failures"]]
        parts += ["## Failed\n", *told]
    parts += [METHOD, "## Settings\n", *(settings(peer) for peer in result["peers"].values()),
              f"Stores: {', '.join(stores['images'].values())}, as the operator renders them:\n"]
    for name, content in sorted(stores["configuration"].items()):
        parts.append(f"<details><summary>{name}</summary>\n\n```\n{content.strip()}\n```\n\n</details>\n")
    return "\n".join(parts)


def resumed(step: dict, peers: dict) -> str:
    """Says when a run that had broken off went on, and which clients were other ones from then on."""
    machine = step["machine"]
    others = "; ".join(f"{peers[name]['title']}: {', '.join(f'{key} {value}' for key, value in versions.items())}"
                       for name, versions in step["versions"].items())
    return (f"Broken off, and gone on with {machine['date']}, commit `{machine['commit']}`"
            f"{f', with others of {others}' if others else ''}: the last paced runs at least are from then.\n")


def settings(peer: dict) -> str:
    told = {**peer["versions"], **peer["settings"]}
    items = "; ".join(f"{key}: {value if isinstance(value, str) else json.dumps(value)}" for key, value in told.items())
    return f"- **{peer['title']}**: {peer['description']} {items}. Swept: {', '.join(map(str, peer['sweep']))}.\n"
