#!/usr/bin/env python3
"""bench/pause_picture.py: the picture is well-formed, has a row for each mode, a tick for each pause, and puts longer ones further right.

Usage: pause_picture_test.py SOURCE_DIRECTORY
"""
import pathlib
import sys
import unittest
import xml.etree.ElementTree

sys.path.insert(0, str(pathlib.Path(sys.argv.pop(1)) / "bench"))
import pause_picture

SVG = "{http://www.w3.org/2000/svg}"


class PausePicture(unittest.TestCase):
    def picture(self, rows):
        return xml.etree.ElementTree.fromstring(pause_picture.draw("stops < a < second", rows))

    def ticks(self, root):
        return [float(line.get("x1")) for line in root.iter(f"{SVG}line") if line.get("stroke-width") == "2"]

    def test_every_pause_has_its_tick(self):
        root = self.picture([("stw", "note", [150_000.0, 2e6]), ("hybrid", "note", [12.0, 40.0, 0.1]), ("idle", "note", [])])
        ticks = self.ticks(root)
        self.assertEqual(len(ticks), 5)
        self.assertLess(max(ticks[2:]), min(ticks[:2]))
        for x in ticks:
            self.assertGreaterEqual(x, pause_picture.LEFT)
            self.assertLessEqual(x, pause_picture.WIDTH - pause_picture.RIGHT)

    def test_rows_are_named_and_the_longest_is_told(self):
        texts = [text.text for text in self.picture([("stw", "Go 1.3", [150_000.0]), ("hybrid", "Go 1.8", [12.0])]).iter(f"{SVG}text")]
        for wanted in ("stops < a < second", "stw", "Go 1.3", "150.0 ms", "hybrid", "12 µs"):
            self.assertIn(wanted, texts)


if __name__ == "__main__":
    unittest.main()
