import unittest

from millrace_bench.figures import Sample, at_rows, latency, percentile, spread, summary
from millrace_bench.profiles import due, profile_id


def sample(seconds, rows, client=0.0):
    return Sample(seconds, rows, client, cassandra=10 * client, broker=client / 10, busy=12 * client, stolen=0.0)


class Figures(unittest.TestCase):
    def test_a_percentile_is_the_value_of_nearest_rank(self):
        values = [float(value) for value in range(100, 0, -1)]
        self.assertEqual([percentile(values, share) for share in (0.5, 0.99, 0.999, 1.0)], [50, 99, 100, 100])
        self.assertEqual(percentile([7.0], 0.5), 7.0)

    def test_a_moment_between_two_samples_is_interpolated(self):
        between = at_rows([sample(0, 0), sample(1, 0), sample(3, 200, client=4)], 50)
        self.assertEqual((between.seconds, between.client), (1.5, 1.0))

    def test_the_steady_part_leaves_out_start_and_end(self):
        # A second of start, 80 rows in 8 s, a slow end.
        samples = [sample(0, 0), sample(1, 10, 1.0), sample(9, 90, 1.8), sample(19, 100, 2.0)]
        figures = summary(samples, 100, cores=2)
        self.assertEqual(figures["steady"]["rows_per_second"], 10)
        self.assertEqual(figures["steady"]["client_micros"], 10_000)
        self.assertEqual(figures["steady"]["cassandra_micros"], 100_000)
        self.assertEqual(figures["whole"]["seconds"], 19)
        # 12 times the client's work was done, 11.1 times of it known.
        self.assertAlmostEqual(figures["steady"]["others_share"], 0.8 * 0.9 / 16, places=4)

    def test_latencies_are_told_in_milliseconds(self):
        self.assertEqual(latency([0.001] * 99 + [0.5]),
                         {"p50": 1.0, "p90": 1.0, "p99": 1.0, "p999": 500.0, "max": 500.0})

    def test_a_spread_has_median_and_range(self):
        self.assertEqual(spread([3.0, 1.0, 2.0]), {"median": 2.0, "least": 1.0, "most": 3.0, "runs": 3})


class Profiles(unittest.TestCase):
    def test_ids_are_those_of_crate_profile(self):
        # From its golden values.
        self.assertEqual(str(profile_id(1, 0)), "6ec85f1f-8547-4c0c-acf6-3afcc21a470a")
        self.assertEqual(str(profile_id(1, 1)), "a0c56030-2266-4c7f-907f-cfaa80a16c7f")
        self.assertEqual(str(profile_id(7, 123_456)), "6464225c-25e1-4d36-baa1-a73ebe685731")

    def test_records_are_due_in_batches_of_a_tick(self):
        self.assertEqual([due(index, 100) for index in (0, 1, 2, 3)], [0.0, 0.0, 0.02, 0.02])
        # Never more than 200 at once, however fast.
        self.assertEqual([due(index, 20_000) for index in (199, 200)], [0.0, 0.01])
