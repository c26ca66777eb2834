#!/usr/bin/env python3
"""Runs every interoperability case of warren's client against gRPC C++'s server, in plain text and over TLS.

Usage: grpcpp_server_test.py GRPCPP_SERVER WARREN_INTEROP_CLIENT
"""

import pathlib
import subprocess
import sys
import tempfile

PATIENCE = 240


def port(line, kind):
    word, number = line.split()
    assert word == kind, line
    return int(number)


def main():
    server_program, client = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        root = str(pathlib.Path(folder) / "root.pem")
        with subprocess.Popen([server_program, root], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            try:
                plain = port(server.stdout.readline(), "plain")
                tls = port(server.stdout.readline(), "tls")
                subprocess.run([client, "--target", "127.0.0.1:%d" % plain], check=True, timeout=PATIENCE)
                secure = [client, "--target", "127.0.0.1:%d" % tls, "--root", root, "--server-name"]
                subprocess.run(secure + ["interop.test"], check=True, timeout=PATIENCE)
                # The certificate is for that name only.
                wrong = subprocess.run(secure + ["other.test", "empty_unary"], capture_output=True, timeout=PATIENCE, check=False)
                assert wrong.returncode == 1 and b"TLS" in wrong.stdout, wrong
            finally:
                server.stdin.close()
                server.wait(PATIENCE)


if __name__ == "__main__":
    main()
