#!/usr/bin/env python3
"""Checks the concept table of runtime/README.md: every file, test and metric it names exists.

A row is | concept | where | test | metric |. In its cells, what stands in backticks is checked:
  where   a path from the root of the tree, which exists; `path:word` also wants the word in that file
  test    a path under tests/, and after it any number of Suite.Case names that the file defines
  metric  names that a scrape of warrend contains; a build without the server cannot tell and says so
A row of something that does not exist yet says "issue N" under "where" and has a dash under "test" and "metric".
A row of something that exists has a file and a test. Its metric may be a dash: not everything can be counted.

Usage: check_concepts.py SOURCE_DIRECTORY [--warrend EXECUTABLE]
"""

import argparse
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import warrend_process

DASH = "–"


def rows_of(text):
    """Yields (line number, cells) of the body rows of every table headed by the four names."""
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        if not line.startswith("|"):
            inside = False
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if cells == ["concept", "where", "test", "metric"]:
            inside = True
        elif inside and not re.fullmatch(r"[-:| ]+", line):
            yield number, cells


def quoted(cell):
    return re.findall(r"`([^`]+)`", cell)


def defines_case(source, name):
    suite, case = name.split(".")
    return re.search(r"\b(TYPED_)?TEST(_F|_P)?\(\s*" + re.escape(suite) + r"\s*,\s*" + re.escape(case) + r"\s*\)", source) is not None


def check_where(root, cell):
    for item in quoted(cell):
        path, _, word = item.partition(":")
        file = root / path
        if not file.exists():
            yield f"no file {path}"
        elif word and word not in file.read_text():
            yield f"{path} does not mention {word}"


def check_tests(root, cell):
    source = None
    for item in quoted(cell):
        if "/" in item:
            path = root / item
            source = path.read_text() if path.is_file() else None
            if source is None:
                yield f"no test file {item}"
            elif not item.startswith("tests/"):
                yield f"{item} is not under tests/"
        elif source is None:
            yield f"test {item} follows no existing file"
        elif not defines_case(source, item):
            yield f"no test {item} in the file named before it"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("--warrend", type=pathlib.Path)
    arguments = parser.parse_args()
    root = arguments.source

    if arguments.warrend:
        with warrend_process.running(arguments.warrend) as server:
            text = server.get("/metrics")
        exported = set(re.findall(r"^# TYPE (\S+) ", text, re.M)) | set(re.findall(r"^([a-zA-Z_:][\w:]*)", text, re.M))
        known_metric = exported.__contains__
    else:
        print("metrics are not checked: this build has no server to scrape")
        known_metric = lambda name: True

    table = root / "runtime" / "README.md"
    faults, built, planned = [], 0, 0
    for number, cells in rows_of(table.read_text()):
        if len(cells) != 4:
            faults.append(f"{table}:{number}: {len(cells)} cells instead of 4")
            continue
        concept, where, test, metric = cells
        here = list(check_where(root, where)) + list(check_tests(root, test))
        here += [f"warrend exports no metric {name}" for name in quoted(metric) if not known_metric(name)]
        if re.search(r"\bissue \d+\b", where) and not quoted(where):
            planned += 1
            if (test, metric) != (DASH, DASH):
                here.append(f"not built yet, so test and metric must be {DASH}")
        else:
            built += 1
            if not quoted(where):
                here.append("names no file, and no issue that brings it")
            if not quoted(test):
                here.append("names no test")
        if not metric:
            here.append(f"empty metric; write {DASH} where nothing can be counted")
        faults += [f"{table}:{number}: {concept}: {fault}" for fault in here]

    if built == 0:
        faults.append(f"{table}: no concept table found")
    print(f"{built} concepts built, {planned} planned")
    print("\n".join(faults))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
