#!/usr/bin/env python3
"""Runs smoke_client against a warrend of its own.

Usage: smoke_test.py WARREND SMOKE_CLIENT [WARREND-FLAG…]
"""

import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "cli"))
import live_server  # noqa: E402


def main():
    warrend, client, *flags = sys.argv[1:]
    with live_server.running(warrend, *flags) as server:
        subprocess.run([client, "--target", "%s:%d" % server.grpc], check=True, timeout=4 * live_server.PATIENCE)
    # And it does say when there is nobody.
    gone = subprocess.run([client, "--target", "%s:%d" % server.grpc], capture_output=True, text=True, check=False)
    assert gone.returncode == 1 and "no connection" in gone.stderr, gone
    assert subprocess.run([client], stderr=subprocess.PIPE, check=False).returncode == 2


if __name__ == "__main__":
    main()
