"""Runs one of warren's servers for a test, and talks to it: over HTTP with the standard library, over gRPC with smoke_client.

Every server listens on ports the system chose, and is ended by its own process id.
"""

import contextlib
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request

CLIENT = None  # smoke_client; set by tests that call
PATIENCE = 30  # seconds until a test gives up on something that should have happened


class Answer:
    def __init__(self, output):
        self.messages = re.findall(r"(?m)^message (\d+)$", output)
        ended = re.search(r"(?m)^status (\d+) ?(.*)$", output)
        self.status = int(ended[1]) if ended else None
        self.text = ended[2] if ended else ""


class LiveServer:
    def __init__(self, process, lines):
        self.process = process
        self.lines = lines
        self.grpc = self._address("listening on ")
        self.admin = self._address("admin on ")

    def _address(self, prefix):
        for line in self.lines:
            if line.startswith(prefix):
                host, port = line[len(prefix):].rsplit(":", 1)
                return host, int(port)
        return None

    def connect(self, address):
        return socket.create_connection(address, timeout=PATIENCE)

    def get(self, path):
        with urllib.request.urlopen(f"http://{self.admin[0]}:{self.admin[1]}{path}", timeout=PATIENCE) as response:
            return response.read().decode()

    @contextlib.contextmanager
    def calling(self, method, message=b""):
        """A gRPC client in the middle of a call: a process that prints what comes."""
        with tempfile.TemporaryDirectory() as folder:
            request = pathlib.Path(folder, "request")
            request.write_bytes(message)
            command = [str(CLIENT), "--target", "%s:%d" % self.grpc, "--call", method, str(request)]
            client = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            try:
                yield client
            finally:
                if client.poll() is None:
                    client.kill()
                    client.wait()
                client.stdout.close()

    def call(self, method, message=b""):
        """One RPC, to its end."""
        with self.calling(method, message) as client:
            return Answer(client.stdout.read())

    def metric(self, name, **labels):
        """The sum of the samples of that name that carry these labels."""
        total, found = 0.0, False
        for line in self.get("/metrics").splitlines():
            match = re.match(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$", line)
            if not match or match[1] != name:
                continue
            have = dict(re.findall(r'(\w+)="([^"]*)"', match[2] or ""))
            if all(have.get(key) == value for key, value in labels.items()):
                total += float(match[3])
                found = True
        if not found:
            raise AssertionError(f"/metrics has no {name} with {labels}")
        return total


def eventually(what, condition):
    """Asks again until the condition holds. What it waits for has no event a client could wait for."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {PATIENCE} s: {what}")
        time.sleep(0.02)


# An address of this process alone (all of 127/8 is loopback). A port that the system chose on 127.0.0.1 may be somebody else's the moment
# its server ends: another test's server or client. On this address a port that was left stays free, and nobody answers there.
OWN_HOST = "127.%d.%d.%d" % (64 + (os.getpid() >> 16 & 63), os.getpid() >> 8 & 255, os.getpid() & 255)


@contextlib.contextmanager
def running(executable, *arguments, environment=None, host="127.0.0.1"):
    """Yields a server that is ready. At the end of the block it gets SIGTERM, unless it ended before, and must exit with status 0."""
    command = [executable, "--listen", f"{host}:0", "--admin", f"{host}:0", *arguments]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
        watchdog = threading.Timer(4 * PATIENCE, process.kill)
        watchdog.start()
        try:
            lines = []
            for line in process.stdout:
                lines.append(line.rstrip("\n"))
                if line.startswith("admin on "):
                    break
            server = LiveServer(process, lines)
            yield server
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            status = process.wait(timeout=2 * PATIENCE)
            rest = process.stdout.read()
            log.seek(0)
            said = log.read()
            if status != 0:
                raise AssertionError(f"exit status {status} instead of 0; standard error: {said}")
            if rest:
                raise AssertionError(f"more on standard output than the two addresses: {rest}")
        except BaseException:
            log.seek(0)
            print("--- the server's standard error:\n" + log.read())
            raise
        finally:
            watchdog.cancel()
            if process.poll() is None:
                process.kill()
                process.wait()
            process.stdout.close()
