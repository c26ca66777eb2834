#!/usr/bin/env python3
"""Starts the greeter that README.md shows and calls it as a gRPC client would, with curl's HTTP/2.

Usage: readme_greeter_test.py GREETER_EXECUTABLE
"""

import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import warrend_process


def message(field_one):
    """A protobuf message whose field 1 is this string (short: one byte of length), framed for gRPC."""
    text = field_one.encode()
    body = bytes([0x0A, len(text)]) + text if text else b""
    return b"\0" + len(body).to_bytes(4, "big") + body


def call(address, request):
    """(body of the answer, its headers and trailers as text)"""
    with tempfile.TemporaryDirectory() as folder:
        sent, got, headers = (pathlib.Path(folder) / name for name in ("sent", "got", "headers"))
        sent.write_bytes(request)
        subprocess.run(
            ["curl", "--silent", "--show-error", "--max-time", "30", "--http2-prior-knowledge", "--data-binary", f"@{sent}",
             "-H", "content-type: application/grpc", "-H", "te: trailers", "-D", headers, "-o", got,
             f"http://{address[0]}:{address[1]}/helloworld.Greeter/SayHello"],
            check=True)
        return got.read_bytes() if got.exists() else b"", headers.read_text()


def main():
    with warrend_process.running(sys.argv[1], arguments=("127.0.0.1:0",), expect=("listening on",)) as greeter:
        address = greeter.address("listening on")
        body, headers = call(address, message("world"))
        assert "grpc-status: 0" in headers, headers
        assert b"world" in body, body
    print("the greeter of README.md answers")


if __name__ == "__main__":
    sys.exit(main())
