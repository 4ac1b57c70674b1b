import unittest
import xml.etree.ElementTree as xml

from millrace_bench.plots import steps
from millrace_bench.report import compared, page, plots_of, rows_of


def run(peer, rate, **more):
    part = {"seconds": 10.0, "rows_per_second": rate, "client_micros": 5.0, "cassandra_micros": 60.0,
            "broker_micros": 2.0, "others_share": 0.01, "stolen_share": 0.0}
    return {"peer": peer, "concurrency": 128, "first_row_seconds": 0.4, "whole": part, "steady": part,
            "peak_bytes": 40 << 20, "lost": 0, "twice": 0, **more}


def peer(title, ceiling=False):
    return {"title": title, "description": "It is.", "sweep": [64, 128], "settings": {"a": 1}, "versions": {"b": "2"},
            "ceiling": ceiling}


LATENCY = {"p50": 2.0, "p90": 5.0, "p99": 20.0, "p999": 40.0, "max": 50.0}


def paced(name: str, share: float | None, rate: int) -> dict:
    return {"peer": name, "share": share, "rate": rate, "samples": 10, "given_up": 0, "since_due_ms": LATENCY,
            "since_produced_ms": LATENCY, "producer_late_ms": LATENCY, "bracket_ms": LATENCY}


RESULT = {
    "plan": {"records": 1000, "repetitions": 3, "sweep_records": 500},
    "machine": {"cores": 2, "cpu": "Some CPU", "memory_gib": 24, "date": "today", "commit": "abc"},
    "stores": {"images": {"kafka": "kafka:1"}, "configuration": {"server.properties": "a=b\n"}},
    "peers": {"latte": peer("latte", ceiling=True), "millrace": peer("Ours & <more>"), "silent": peer("Silent")},
    "sweep": [{"peer": "millrace", "concurrency": 64, "rows_per_second": 10.0},
              {"peer": "millrace", "concurrency": 128, "rows_per_second": 20.0}],
    "drains": [run("latte", 100.0), run("latte", 100.0),
               *(run("millrace", rate, mixed=1, resting_bytes=20 << 20) for rate in (120.0, 125.0, 140.0))],
    "latencies": [paced("millrace", 0.5, 60), paced("millrace", None, 2_500)],
    "resumed": [{"machine": {"date": "tomorrow", "commit": "def"}, "versions": {"millrace": {"built from": "def"}}}],
    "failures": [{"peer": "silent", "message": "no row within 90 s:\nand its log"}],
}


class Report(unittest.TestCase):
    def test_a_peer_is_told_by_its_median_and_as_a_share_of_the_ceiling(self):
        ours, ceiling = rows_of(RESULT)
        self.assertEqual((ours["name"], ours["rate"]["median"], ours["of_ceiling"]), ("millrace", 125.0, 1.25))
        self.assertEqual((ours["mixed"], ceiling["resting"]), (3, None))

    def test_results_are_compared_with_their_own_ceiling(self):
        other = {**RESULT, "plan": {"memtable": "trie"}, "drains": [run("latte", 200.0), run("millrace", 220.0)]}
        header, _, *lines = compared({"before": RESULT, "after": other}).splitlines()
        self.assertIn("| memtables |", header)
        self.assertEqual([line.split(" | ")[:6] for line in lines], [
            ["| before", "the operator's", "Ours & <more>", "125", "120–140", "125%"],
            ["| before", "the operator's", "latte", "100", "100–100", "100%"],
            ["| after", "trie", "Ours & <more>", "220", "220–220", "110%"],
            ["| after", "trie", "latte", "200", "200–200", "100%"],
        ])

    def test_every_plot_is_well_formed_and_on_the_page(self):
        plots = plots_of(RESULT)
        self.assertEqual(set(plots), {"throughput", "cpu", "memory", "latency", "sweep"})
        text = page(RESULT, plots)
        for name, content in plots.items():
            xml.fromstring(content)
            self.assertIn(f"(benchmark/{name}.svg)", text)

    def test_losses_and_failures_are_published(self):
        text = page(RESULT, plots_of(RESULT))
        self.assertIn("0 / 3 / 0 / 0", text)
        self.assertIn("- silent: `no row within 90 s:`", text)

    def test_a_run_that_broke_off_says_when_it_went_on_and_with_what(self):
        text = page(RESULT, plots_of(RESULT))
        self.assertIn("gone on with tomorrow, commit `def`, with others of Ours & <more>: built from def", text)

    def test_rates_that_all_have_alike_come_before_shares(self):
        text = page(RESULT, plots_of(RESULT))
        self.assertLess(text.index("| 2,500/s |"), text.index("| 50%: 60/s |"))

    def test_a_result_that_broke_off_still_makes_a_page(self):
        partial = {**RESULT, "drains": [], "latencies": [], "sweep": []}
        self.assertEqual(plots_of(partial), {})
        self.assertIn("# Benchmark", page(partial, {}))

    def test_axes_have_a_few_round_steps(self):
        self.assertEqual(steps(31_550), [0, 10_000, 20_000, 30_000, 40_000])
        self.assertEqual(steps(9.9), [0, 2, 4, 6, 8, 10])


if __name__ == "__main__":
    unittest.main()
