import os
import unittest

from millrace_bench.plan import PEERS, QUICK, Plan, read_peers


class Peers(unittest.TestCase):
    def test_every_peer_keeps_the_contract(self):
        peers = read_peers()
        self.assertTrue({"latte", "millrace", "go", "python"} <= {peer.name for peer in peers})
        self.assertTrue(peers[0].ceiling)
        for peer in peers:
            self.assertEqual(list(peer.sweep), sorted(set(peer.sweep)), peer.name)
            for file in ("build", "run"):
                self.assertTrue(os.access(PEERS / peer.name / file, os.X_OK), f"{peer.name}/{file}")

    def test_an_unknown_peer_is_refused_by_name(self):
        with self.assertRaisesRegex(SystemExit, "no such peer: abacus"):
            read_peers(("abacus",))

    def test_a_plan_survives_the_way_to_the_inner_process(self):
        self.assertEqual(Plan.from_json(QUICK.to_json()), QUICK)
