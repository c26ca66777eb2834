#!/usr/bin/env python3
"""Compiles the examples of runtime/gc/README.md and compares what the compiler, or the program, says with what the guide quotes.

A C++ block is preceded by one of
  <!-- right -->   it must compile
  <!-- wrong -->   it must not, and the compiler's words must contain the text block that follows
  <!-- fatal -->   it compiles, is linked and run with WARREN_CHECKPTR=1, and must die with the words of the text block that follows

Usage: guide_test.py GUIDE COMPILER INCLUDE_DIRECTORY WORK_DIRECTORY [LIBRARY FLAGS…]
Without a library the fatal ones are compiled only.
"""

import os
import pathlib
import re
import subprocess
import sys

HEADERS = ["arena", "cleanup", "function", "gc", "go", "hash_map", "ordered_map", "ptr", "string", "sync", "vector", "weak"]
PROLOGUE = "".join(f"#include <warren/{name}.h>\n" for name in HEADERS) + "".join(
    f"#include <{name}>\n" for name in ["functional", "memory", "string", "string_view", "vector"]
)
BLOCK = re.compile(r"<!-- (right|wrong|fatal) -->\n```cpp\n(.*?)```\n(?:```text\n(.*?)```\n)?", re.S)


def squeeze(text):
    return re.sub(r"\s+", " ", text).strip()


def main():
    guide, compiler, include, work = sys.argv[1:5]
    library, flags = (sys.argv[5], sys.argv[6:]) if len(sys.argv) > 5 else (None, [])
    text = pathlib.Path(guide).read_text()
    work = pathlib.Path(work)
    work.mkdir(parents=True, exist_ok=True)
    blocks = BLOCK.findall(text)
    faults = []
    if len(blocks) != text.count("```cpp"):
        faults.append(f"{text.count('```cpp')} C++ blocks, {len(blocks)} of them marked right, wrong or fatal")
    for number, (kind, code, quoted) in enumerate(blocks, 1):
        name = f"example {number} ({kind}: {code.splitlines()[0]})"
        source = work / f"example_{number}.cpp"
        source.write_text(PROLOGUE + code)
        run_it = kind == "fatal" and library is not None
        command = [compiler, "-std=c++20", f"-I{include}", str(source)]
        command += [*flags, library, "-lpthread", "-o", str(work / f"example_{number}")] if run_it else ["-fsyntax-only"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if (kind == "wrong") == (result.returncode == 0):
            faults.append(f"{name}: {'compiles' if result.returncode == 0 else 'does not compile: ' + result.stderr}")
            continue
        said = result.stderr
        if kind == "right":
            continue
        if not quoted:
            faults.append(f"{name}: the guide quotes nothing")
            continue
        if kind == "fatal":
            if not run_it:
                continue
            environment = dict(os.environ, WARREN_CHECKPTR="1")
            result = subprocess.run([work / f"example_{number}"], capture_output=True, text=True, env=environment, timeout=60, check=False)
            if result.returncode == 0:
                faults.append(f"{name}: ends well")
            said = result.stderr
        if squeeze(quoted) not in squeeze(said):
            faults.append(f"{name}: the guide quotes “{squeeze(quoted)}”, but this was said:\n{said}")
    print(f"{len(blocks)} examples")
    for fault in faults:
        print("guide:", fault)
    return 1 if faults or not blocks else 0


if __name__ == "__main__":
    sys.exit(main())
