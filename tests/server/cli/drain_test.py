#!/usr/bin/env python3
"""SIGTERM: what runs is finished, streams without an end are told to go, exit status 0.

Usage: drain_test.py WARREND SMOKE_CLIENT [TRANSPORT]
"""

import os
import signal
import subprocess
import sys
import unittest

import live_server

WARREND = sys.argv.pop(1)
live_server.CLIENT = sys.argv.pop(1)
TRANSPORT = sys.argv.pop(1) if len(sys.argv) > 1 else "native"
os.environ["WARREN_TRANSPORT"] = TRANSPORT


class Drain(unittest.TestCase):
    def ends_streams(self, method, signal_number):
        with live_server.running(WARREND, host=live_server.OWN_HOST) as server, server.calling(method) as client:
            self.assertRegex(client.stdout.readline(), "^message ")  # the stream runs
            server.process.send_signal(signal_number)
            answer = live_server.Answer(client.stdout.read())
            self.assertEqual(answer.status, 14, answer.text)
            self.assertIn("the server is shutting down", answer.text)  # its own words, not those of a broken connection
            self.assertEqual(server.process.wait(timeout=live_server.PATIENCE), 0)
            with self.assertRaises(OSError):
                server.connect(server.grpc)
            with self.assertRaises(OSError):
                server.connect(server.admin)

    def test_sigterm_during_a_stream_of_stats(self):
        self.ends_streams("/warren.v1.Runtime/WatchStats", signal.SIGTERM)

    def test_sigint_during_a_health_watch(self):
        self.ends_streams("/grpc.health.v1.Health/Watch", signal.SIGINT)

    def test_sigterm_without_clients(self):
        with live_server.running(WARREND) as server:
            server.process.send_signal(signal.SIGTERM)
            # Or the end of the block would send a second one, which ends the process at once if it comes late enough.
            self.assertEqual(server.process.wait(timeout=live_server.PATIENCE), 0)

    def test_sigterm_with_idle_connections_on_both_ports(self):
        with live_server.running(WARREND) as server, server.connect(server.grpc), server.connect(server.admin) as admin:
            admin.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertIn(b"200 OK", admin.recv(4096))
            server.process.send_signal(signal.SIGTERM)
            self.assertEqual(server.process.wait(timeout=live_server.PATIENCE), 0)

    def test_the_ports_can_be_had_again_at_once(self):
        with live_server.running(WARREND, host=live_server.OWN_HOST) as server:
            server.call("/grpc.health.v1.Health/Check")
            server.get("/healthz")
            listen, admin = ("%s:%d" % server.grpc, "%s:%d" % server.admin)
        again = subprocess.Popen([WARREND], stdout=subprocess.PIPE, text=True,
                                 env={**os.environ, "WARREN_LISTEN": listen, "WARREN_ADMIN": admin})
        try:
            self.assertEqual(again.stdout.readline(), f"listening on {listen}\n")
            self.assertEqual(again.stdout.readline(), f"admin on {admin}\n")
            again.send_signal(signal.SIGTERM)
            self.assertEqual(again.wait(timeout=live_server.PATIENCE), 0)
        finally:
            if again.poll() is None:
                again.kill()
                again.wait()
            again.stdout.close()


if __name__ == "__main__":
    unittest.main()
