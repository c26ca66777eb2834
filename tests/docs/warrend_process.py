"""Runs a warren server on free ports for the length of a `with` block."""

import contextlib
import http.client
import re
import signal
import subprocess
import threading


class server_process:
    def __init__(self, process, lines):
        self.process = process
        self.lines = lines

    def address(self, prefix):
        """(host, port) from the line that begins with prefix."""
        for line in self.lines:
            found = re.match(re.escape(prefix) + r"\D*(127\.0\.0\.1):(\d+)", line)
            if found:
                return found[1], int(found[2])
        raise AssertionError(f"no line '{prefix} ADDR:PORT' among {self.lines}")

    def get(self, path):
        connection = http.client.HTTPConnection(*self.address("admin on"), timeout=30)
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read().decode()
        assert response.status == 200, f"GET {path}: status {response.status}"
        return body


@contextlib.contextmanager
def running(executable, arguments=("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"), expect=("listening on", "admin on")):
    """Yields when every line of `expect` was printed; afterwards SIGTERM, and the exit status must be 0."""
    process = subprocess.Popen([executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    # A server that hangs before it is ready must not hang the test: its end closes the pipe that is read below.
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    lines = []
    try:
        waiting = list(expect)
        for line in process.stdout:
            lines.append(line.rstrip())
            waiting = [prefix for prefix in waiting if not line.startswith(prefix)]
            if not waiting:
                break
        assert not waiting, f"{executable} ended without printing {waiting}; it said {lines}"
        yield server_process(process, lines)
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
        status = process.wait()
        assert status == 0, f"{executable}: status {status} after SIGTERM; it said {lines} {rest}"
    finally:
        watchdog.cancel()
        if process.poll() is None:
            process.kill()
            process.wait()
