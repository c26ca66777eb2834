#!/usr/bin/env python3
"""What one call, and one idle connection, asks of malloc in a gRPC server.

    bench/grpc/cost.py [--build-dir build/release] [--server greeter_server] [--calls 20000] [--connections 500]

Prints allocations per unary call (h2load, 10 connections x 100 calls in flight, after as many calls to warm up), and the blocks that an idle
connection holds which has made one call, by size. Any server does that takes --listen and serves helloworld.Greeter: give its path below bin/.
"""
import argparse
import mmap
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SIZES = 4096
IDLE_SECONDS = 2.5  # greeter_server's sessions go to sleep after one
MESSAGE = b"\0\0\0\0\7\n\5world"


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(index, value, name=b""):
    head = bytes([index]) if index < 15 else bytes([15, index - 15])
    return head + (bytes([len(name)]) + name if index == 0 else b"") + bytes([len(value)]) + value


HEADERS = (b"\x83\x86" + literal(4, b"/helloworld.Greeter/SayHello") + literal(1, b"bench") + literal(31, b"application/grpc")
           + literal(0, b"trailers", b"te"))


def connect(port):
    """A connection that has made one call."""
    s = socket.create_connection(("127.0.0.1", port), timeout=20)
    s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + frame(1, 4, 1, HEADERS) + frame(0, 1, 1, MESSAGE))
    data = b""
    while MESSAGE not in data:
        more = s.recv(65536)
        if not more:
            sys.exit("cost.py: the server closed the connection")
        data += more
    s.sendall(frame(4, 1, 0, b""))
    return s


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build-dir", type=pathlib.Path, default=ROOT / "build" / "release")
    parser.add_argument("--server", default="greeter_server")
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--connections", type=int, default=500)
    options = parser.parse_args()
    library = options.build_dir.resolve() / "bin" / "libcount_allocations.so"
    if not library.exists():
        sys.exit(f"cost.py: {library} does not exist; build target count_allocations")
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "counts")
        request = pathlib.Path(folder, "request")
        request.write_bytes(MESSAGE)
        server = subprocess.Popen([options.build_dir.resolve() / "bin" / options.server, "--listen", "127.0.0.1:0"],
                                  env={**os.environ, "COUNT_ALLOCATIONS": str(path), "LD_PRELOAD": str(library), "WARREN_ADMIN": "off"},
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            port = int(server.stdout.readline().rsplit(":", 1)[1])
            with open(path, "rb") as file:
                shared = mmap.mmap(file.fileno(), 8 * (3 + SIZES + 1), prot=mmap.PROT_READ)

            def counts():
                return struct.unpack(f"<{3 + SIZES + 1}q", shared[:])

            def load(calls):
                subprocess.run(["h2load", "-n", str(calls), "-c10", "-m100", "-H", "content-type: application/grpc", "-H", "te: trailers", "-d",
                                request, f"http://127.0.0.1:{port}/helloworld.Greeter/SayHello"], check=True, stdout=subprocess.DEVNULL)

            # The connections of a run cost the same in both, and so fall out of the difference.
            load(options.calls)
            before = counts()
            load(options.calls)
            middle = counts()
            load(3 * options.calls)
            after = counts()
            each = [((after[i] - middle[i]) - (middle[i] - before[i])) / (2 * options.calls) for i in range(3)]
            print(f"per unary call: {each[0]:.2f} allocations, {each[2]:.0f} bytes")

            kept = [connect(port) for _ in range(10)]
            before = counts()
            kept += [connect(port) for _ in range(options.connections)]
            time.sleep(IDLE_SECONDS)
            after = counts()
            rows = [(16 * i + 8, (after[3 + i] - before[3 + i]) / options.connections) for i in range(SIZES + 1)]
            rows = [(size, n) for size, n in rows if n > 0.02]
            print(f"per idle connection: {sum(n for _, n in rows):.1f} blocks, {sum((size + 8) * n for size, n in rows):.0f} bytes")
            for size, n in sorted(rows, key=lambda row: -row[0] * row[1]):
                print(f"  {n:6.2f} of {size:6d} bytes")
            for s in kept:
                s.close()
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=30)


if __name__ == "__main__":
    main()
