#!/usr/bin/env python3
"""bench/compare.py: the gRPC table. The ceiling is no peer; its column and its bar stand where it was measured, and nowhere else.

Usage: compare_test.py SOURCE_DIRECTORY
"""
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(sys.argv.pop(1)) / "bench"))
import compare

SETTING = {"date": "2026-01-01", "revision": "r", "cpu": "c", "processors": 2, "kernel": "k", "rounds": 3, "seconds_per_run": 2,
           "go": "go", "grpc_cpp": "1", "grpc_go": "1"}
UNARY = next(row for row in compare.GRPC_ROWS if row[0] == "10x100")
LATENCY = next(row for row in compare.GRPC_ROWS if row[:2] == ("1x1", compare.P50))


def lines(figure, **calls):
    return {server: {figure: value} for server, value in calls.items()}


def cells(row):
    """The last three of the row's line: bare nghttp2, our part of it, the bar."""
    text = compare.markdown({"grpc": {"setting": SETTING, "rows": [row], "failures": []}})
    head, line = (next(line for line in text.splitlines() if line.startswith(begin)) for begin in ("| scenario", f"| {row['title']}"))
    assert head.count("|") == line.count("|"), line
    return [cell.strip() for cell in line.strip("|").split("|")][-3:]


class GrpcTable(unittest.TestCase):
    def row(self, which, *rounds):
        return compare.grpc_row(which, rounds[0], list(rounds))

    def test_a_ceiling_has_its_columns(self):
        row = self.row(UNARY, *(lines(compare.CALLS, warren=warren, grpc_cpp_callback=50, grpc_cpp_async=40, grpc_go=20, nghttp2_echo=1000)
                                for warren in (700, 600, 650)))
        self.assertEqual(row["ratio_to_ceiling"], {"min": 0.6, "median": 0.65, "max": 0.7})
        self.assertEqual(row["ratio_to_best"]["max"], 14)  # the best peer's, not the ceiling's
        self.assertEqual(cells(row), ["1,000", "0.65 (0.60–0.70)", "≥ 0.65: met"])

    def test_below_the_bar_is_missed(self):
        row = self.row(UNARY, lines(compare.CALLS, warren=640, grpc_cpp_callback=50, grpc_cpp_async=40, grpc_go=20, nghttp2_echo=1000))
        self.assertEqual(cells(row)[2], "≥ 0.65: missed")

    def test_without_a_ceiling_there_are_dashes(self):
        row = self.row(UNARY, lines(compare.CALLS, warren=640, grpc_cpp_callback=50, grpc_cpp_async=40, grpc_go=20))
        self.assertNotIn("ratio_to_ceiling", row)
        self.assertEqual(cells(row), ["–", "–", "–"])

    def test_latency_has_no_part_of_the_ceiling(self):
        row = self.row(LATENCY, lines(compare.P50, warren=20, grpc_cpp_callback=50, grpc_cpp_async=40, grpc_go=60, nghttp2_echo=18))
        self.assertEqual(row["ratio_to_best"]["median"], 0.5)
        self.assertEqual(cells(row), ["18", "–", "–"])


class AttackTable(unittest.TestCase):
    """The second connection's wait is the median of the rounds; memory and what was counted are those of the worst."""

    def row(self, *rounds):
        return compare.attack_row("rapid_reset", [
            {"attack": "rapid_reset", "p50_us": 1, "p99_us": p99, "max_us": 1, "cpu_p99_us": 1, "server_cpu": 0.5, "server_queued": 0.1,
             "rss_kb": rss << 10, "counter": 'warren_grpc_connections_ended_total{reason="abuse"}', "counted": counted}
            for p99, rss, counted in rounds])

    def cells(self, row):
        text = compare.markdown({"attacks": {"setting": SETTING, "rows": [row], "failures": []}})
        head, line = (next(line for line in text.splitlines() if line.startswith(begin)) for begin in ("| attack", "| rapid reset"))
        assert head.count("|") == line.count("|"), line
        return [cell.strip() for cell in line.strip("|").split("|")][-3:]

    def test_held(self):
        memory, counted, bar = self.cells(self.row((10_000, 20, 7), (99_000, 30, 5), (20_000, 25, 9)))
        self.assertEqual((memory, counted), ("30", '5 `connections_ended_total{reason="abuse"}`'))
        self.assertTrue(bar.endswith(": met"), bar)

    def test_each_bar_can_be_missed(self):
        for worse in ((51_000, 20, 7), (10_000, 129, 7), (10_000, 20, 0)):
            self.assertTrue(self.cells(self.row(worse))[2].endswith(": missed"), worse)

    def test_labels_that_say_what_is_called_are_left_out(self):
        self.assertEqual(compare.short_sample('grpc_server_handled_total{grpc_method="M",grpc_code="OK"}'),
                         '`grpc_server_handled_total{grpc_code="OK"}`')
        self.assertEqual(compare.short_sample("warren_grpc_accept_errors_total"), "`accept_errors_total`")


if __name__ == "__main__":
    unittest.main()
