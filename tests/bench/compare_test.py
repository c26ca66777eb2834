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


if __name__ == "__main__":
    unittest.main()
