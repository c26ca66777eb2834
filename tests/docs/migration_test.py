#!/usr/bin/env python3
"""The service of server/README.md on warren and on gRPC C++: the same calls get the same answers.

Usage: migration_test.py NOTES_ON_WARREN NOTES_ON_GRPCPP SMOKE_CLIENT
"""

import pathlib
import re
import subprocess
import sys
import tempfile

PATIENCE = 60


def text(field, value):
    """One string field of a protobuf message."""
    data = value.encode()
    return bytes([field << 3 | 2, len(data)]) + data


def note(name, content):
    return text(1, name) + text(2, content)


CALLS = [
    ("Get", text(1, "absent")),
    ("Upload", note("first", "one")),
    ("Upload", note("second", "two, and longer")),
    ("Upload", note("", "without a name")),
    ("Get", text(1, "first")),
    ("Get", text(1, "second")),
    ("List", b""),
    ("List", text(1, "second")),
    ("List", text(1, "third")),
    ("Chat", note("x", "hello")),
    ("Get", b"\xff\xff"),
    ("NoSuchMethod", b""),
]


def answers(server, client):
    """What the client prints for each call: the size of every message, status code and text."""
    process = subprocess.Popen([server], stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        if not line.startswith("listening on "):
            raise AssertionError(f"{server} printed {line!r}")
        target = line.split()[-1]
        got = []
        with tempfile.TemporaryDirectory() as folder:
            request = pathlib.Path(folder, "request")
            for method, message in CALLS:
                request.write_bytes(message)
                done = subprocess.run([client, "--target", target, "--call", "/notes.Notes/" + method, request], capture_output=True,
                                      text=True, timeout=PATIENCE, check=True)
                got.append(done.stdout)
        return got
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE)


def main():
    after, before = (answers(server, sys.argv[3]) for server in sys.argv[1:3])
    faults = 0
    for (method, message), a, b in zip(CALLS, after, before):
        print(f"{method} {message!r}: {a!r}")
        # Whose words they are differs where the library speaks, not the service.
        own = "status 12 " in a or "status 13 " in a
        if (a.split("status")[0], a.split("status")[1].split()[0]) != (b.split("status")[0], b.split("status")[1].split()[0]) or (not own and a != b):
            print(f"  gRPC C++ says {b!r}")
            faults += 1
    # And they are answers, not failures of two kinds that happen to be alike.
    if [len(re.findall("(?m)^message ", a)) for a in after] != [0, 1, 1, 0, 1, 1, 2, 1, 0, 1, 0, 0]:
        print("not the number of messages that the service sends")
        faults += 1
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
