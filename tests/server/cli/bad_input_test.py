#!/usr/bin/env python3
"""What strangers send to the two ports: each gets its answer, and the server goes on.

Usage: bad_input_test.py WARREND SMOKE_CLIENT
"""

import contextlib
import os
import socket
import sys
import unittest

import live_server

WARREND = sys.argv.pop(1)
live_server.CLIENT = sys.argv.pop(1)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\0\0\0\4\0\0\0\0\0"
WATCH = "/warren.v1.Runtime/WatchStats"


def read_all(connection):
    """Everything until the peer closes or resets."""
    data = b""
    try:
        while piece := connection.recv(65536):
            data += piece
    except ConnectionResetError:
        pass
    return data


class BadInput(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.context = live_server.running(WARREND)
        cls.server = cls.context.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.context.__exit__(None, None, None)

    def tearDown(self):
        # Whatever a test sent, the server serves on.
        self.assertIsNone(self.server.process.poll())
        self.assertEqual(self.server.call("/grpc.health.v1.Health/Check").status, 0)
        self.assertEqual(self.server.get("/healthz"), "ok\n")

    def send(self, address, data):
        with self.server.connect(address) as connection:
            connection.sendall(data)
            return read_all(connection)

    # --- the gRPC port ---

    def test_http_1_1_on_the_grpc_port_gets_a_line_it_can_read(self):
        before = self.server.metric("warren_grpc_connections_ended_total", reason="not_http2")
        answer = self.send(self.server.grpc, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertRegex(answer, b"^HTTP/1.1 400 ")
        live_server.eventually("counted as not_http2",
                               lambda: self.server.metric("warren_grpc_connections_ended_total", reason="not_http2") == before + 1)

    def test_garbage_on_the_grpc_port_is_closed(self):
        for garbage in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\0" * 100, os.urandom(4096), b"\r\n\r\n"):
            self.send(self.server.grpc, garbage)

    def test_garbage_after_the_preface_gets_goaway_and_is_closed(self):
        answer = self.send(self.server.grpc, PREFACE + SETTINGS + b"\xff" * 64)
        self.assertIn(b"\x07", answer[:200])  # a GOAWAY frame among what it said

    def test_a_frame_that_never_ends(self):
        with self.server.connect(self.server.grpc) as connection:
            connection.sendall(PREFACE + SETTINGS + b"\0\0\x20\1\4\0\0\0\1half a header block")
            connection.shutdown(socket.SHUT_WR)
            read_all(connection)

    def test_a_preface_that_never_ends(self):
        with self.server.connect(self.server.grpc) as connection:
            connection.sendall(PREFACE[:10])

    def test_a_message_over_the_limit_is_resource_exhausted(self):
        self.assertEqual(self.server.call("/warren.v1.Runtime/GetStats", b"\0" * (5 << 20)).status, 8)

    def test_bytes_that_are_no_message_of_that_type(self):
        answer = self.server.call("/grpc.health.v1.Health/Check", b"\x0a\xff\xff\xff\xff\x0f")
        self.assertNotIn(answer.status, (None, 0), answer.text)

    def test_unknown_methods_and_services(self):
        for method in ("/warren.v1.Runtime/NoSuch", "/no.such.Service/M", "/", "/x"):
            self.assertEqual(self.server.call(method).status, 12, method)

    def test_a_client_that_vanishes_in_the_middle_of_a_stream(self):
        cancelled = {"grpc_service": "warren.v1.Runtime", "grpc_method": "WatchStats", "grpc_code": "Canceled"}
        before = self.server.metric("grpc_server_handled_total", **cancelled)
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(self.server.calling(WATCH, b"\x0a\x05\x10\x80\xad\xe2\x04")) for _ in range(5)]  # every 10 ms
            for client in clients:
                self.assertRegex(client.stdout.readline(), "^message ")
            for client in clients:
                client.kill()
        live_server.eventually("the handlers saw it", lambda: self.server.metric("grpc_server_handled_total", **cancelled) == before + 5)

    # --- the admin port ---

    def test_garbage_on_the_admin_port_is_400(self):
        for garbage in (b"\x16\x03\x01\x02\x00", b"\0" * 100, b"\xff" * 5000, b"GET\r\n\r\n", b"A" * 3000):
            self.assertRegex(self.send(self.server.admin, garbage), b"^HTTP/1.1 400 Bad Request\r\n")

    def test_a_grpc_client_on_the_admin_port_is_told_so(self):
        answer = self.send(self.server.admin, PREFACE)
        self.assertRegex(answer, b"^HTTP/1.1 505 ")
        self.assertIn(b"this is the admin port", answer)

    def test_refusals_of_the_admin_port(self):
        for request, status in ((b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", 405),
                                (b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404),
                                (b"GET /" + b"a" * 4000 + b" HTTP/1.1\r\n", 414),
                                (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 9000, 431),
                                (b"GET / HTTP/1.1\r\n\r\n", 400)):
            self.assertRegex(self.send(self.server.admin, request), b"^HTTP/1.1 %d " % status)

    def test_half_a_request_and_gone(self):
        with self.server.connect(self.server.admin) as connection:
            connection.sendall(b"GET /metr")
        with self.server.connect(self.server.admin) as connection:
            connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")  # and does not read the answer

    def test_requests_in_one_piece_and_byte_by_byte(self):
        one = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        last = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        self.assertEqual(self.send(self.server.admin, one + one + last).count(b"HTTP/1.1 200 OK\r\n"), 3)
        with self.server.connect(self.server.admin) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in last:
                connection.sendall(bytes([byte]))
            self.assertEqual(read_all(connection).count(b"HTTP/1.1 200 OK\r\n"), 1)

    def test_the_connection_after_the_last_one_allowed_is_503(self):
        # The places of connections before these are free a moment after they were closed. tearDown needs one: all are closed before it runs.
        idle = []
        try:
            while len(idle) < 64:
                connection = self.server.connect(self.server.admin)
                try:
                    connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                    answer = connection.recv(4096)  # once it is answered it has its place
                except OSError:  # refused, and closed before the request was sent
                    answer = b""
                if answer.startswith(b"HTTP/1.1 200 OK\r\n"):
                    idle.append(connection)
                else:
                    connection.close()
            with self.server.connect(self.server.admin) as connection:
                self.assertRegex(read_all(connection), b"^HTTP/1.1 503 ")
        finally:
            for connection in idle:
                connection.close()
        live_server.eventually("a place is free again", lambda: self.is_open())

    def is_open(self):
        with self.server.connect(self.server.admin) as connection:
            try:
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            except OSError:
                return False
            return read_all(connection).startswith(b"HTTP/1.1 200 ")


if __name__ == "__main__":
    unittest.main()
