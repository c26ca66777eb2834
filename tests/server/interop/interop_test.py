#!/usr/bin/env python3
"""Runs every interoperability case against an interop_server of its own, and looks at the server's counts afterwards.

Usage: interop_test.py INTEROP_SERVER INTEROP_CLIENT [SERVER-FLAG…]
"""

import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "cli"))
import live_server  # noqa: E402


def main():
    server_program, client, *flags = sys.argv[1:]
    with live_server.running(server_program, *flags) as server:
        subprocess.run([client, "--target", "%s:%d" % server.grpc], check=True, timeout=4 * live_server.PATIENCE)
        # The client has gone: nothing of it may stay behind, in particular no handler of a cancelled call.
        live_server.eventually("no call is left running", lambda: server.metric("grpc_server_started_total")
                               == server.metric("grpc_server_handled_total"))
    # A case that fails is told apart from one that passes.
    assert subprocess.run([client, "--target", "127.0.0.1:1"], capture_output=True, check=False).returncode == 1
    assert subprocess.run([client], capture_output=True, check=False).returncode == 2


if __name__ == "__main__":
    main()
