#!/usr/bin/env python3
"""Wrong flags, wrong values, ports that cannot be had: one line that says what, which value and what to do, and the exit status.

Usage: flags_test.py WARREND
"""

import os
import re
import socket
import subprocess
import sys
import tempfile
import unittest

import live_server

WARREND = sys.argv.pop(1)


def start(*arguments, **environment):
    return subprocess.run([WARREND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=live_server.PATIENCE,
                          env={**os.environ, **environment}, check=False)


class Flags(unittest.TestCase):
    def expect_line(self, status, pattern, *arguments, **environment):
        done = start(*arguments, **environment)
        self.assertEqual(done.returncode, status, done)
        self.assertEqual(done.stdout, "", done)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertRegex(done.stderr, "^warrend: ")
        self.assertRegex(done.stderr, pattern)

    def test_a_flag_that_does_not_exist(self):
        self.expect_line(2, "--frobnicate.*see warrend --help", "--frobnicate")

    def test_a_word_that_is_no_flag(self):
        self.expect_line(2, "serve.*see warrend --help", "serve")

    def test_a_flag_without_its_value(self):
        self.expect_line(2, "--listen.*see warrend --help", "--listen")

    def test_a_flag_given_twice(self):
        self.expect_line(2, "--listen.*see warrend --help", "--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0")

    def test_addresses_that_are_none(self):
        for bad in ("nonsense", "127.0.0.1", "127.0.0.1:99999", "127.0.0.1:http0", "127.0.0.1:-1", "[::1"):
            with self.subTest(bad):
                self.expect_line(2, "--listen: .*" + re.escape(bad), "--listen", bad, "--admin", "off")
        for bad in ("nonsense", "127.0.0.1:99999"):
            with self.subTest(bad):
                self.expect_line(2, "--admin: .*" + bad, "--listen", "127.0.0.1:0", "--admin", bad)

    def test_an_address_of_another_machine(self):
        self.expect_line(1, "--listen: .*192.0.2.1:0", "--listen", "192.0.2.1:0", "--admin", "off")  # for documentation, nobody has it

    def test_a_port_in_use(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = "127.0.0.1:%d" % taken.getsockname()[1]
            self.expect_line(1, f"--listen: .*{address}.*in use", "--listen", address, "--admin", "off")
            self.expect_line(1, f"--admin: .*{address}.*in use", "--listen", "127.0.0.1:0", "--admin", address)

    def test_a_transport_that_is_not_there(self):
        self.expect_line(2, "--transport carrier-pigeon: .*use native", "--transport", "carrier-pigeon")

    def test_tls_files_that_cannot_be_used(self):
        self.expect_line(2, "--tls-cert without --tls-key: ", "--tls-cert", "x.pem")
        self.expect_line(2, "--tls-key without --tls-cert: ", "--tls-key", "x.pem")
        self.expect_line(2, "--tls-ca x.pem: there is no TLS without", "--tls-ca", "x.pem")
        self.expect_line(2, "--tls-client maybe: must be required or optional", "--tls-client", "maybe")
        self.expect_line(2, "TLS certificate /no-such.pem: No such file", "--tls-cert", "/no-such.pem", "--tls-key", "/no-such.pem",
                         "--listen", "127.0.0.1:0", "--admin", "off")

    def test_unix_sockets(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "x.sock")
            with open(path, "w", encoding="ascii"):
                self.expect_line(1, "--listen: .*" + re.escape(path) + ".*in use", "--listen", "unix:" + path, "--admin", "off")
        self.expect_line(2, "--listen: .*unix:", "--listen", "unix:", "--admin", "off")
        self.expect_line(2, "--listen: .*SO_REUSEPORT", "--listen", "unix:/x", "--reuse-port", "--admin", "off")

    def test_grace_out_of_range_or_no_number(self):
        for bad in ("-1", "soon", "1e9", "nan"):
            with self.subTest(bad):
                self.expect_line(2, "--grace", "--grace=" + bad)

    def test_the_environment_is_checked_too_and_the_command_line_wins(self):
        self.expect_line(2, "--transport pigeon", WARREN_TRANSPORT="pigeon")
        self.expect_line(2, "--listen: .*nonsense", WARREN_LISTEN="nonsense", WARREN_ADMIN="off")
        self.expect_line(2, "--transport native2", "--transport", "native2", WARREN_TRANSPORT="pigeon")

    def test_a_file_with_flags(self):
        self.expect_line(2, "no-such-file", "--config", "/no-such-file.toml")
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write('transport = "pigeon"\n')
            file.flush()
            self.expect_line(2, "--transport pigeon", "--config", file.name)
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write("frobnicate = 1\n")
            file.flush()
            self.expect_line(2, "frobnicate", "--config", file.name)

    def test_help_and_version(self):
        done = start("--help")
        self.assertEqual(done.returncode, 0)
        for flag in ("--listen", "--admin", "--transport", "--tls-cert", "--grace", "WARREN_LISTEN"):
            self.assertIn(flag, done.stdout)
        done = start("--version")
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stdout, r"^warrend \d+\.\d+\.\d+\n$")

    def test_addresses_from_the_environment_and_ipv6(self):
        environment = {**os.environ, "WARREN_GRACE": "3"}
        with live_server.running(WARREND, environment=environment) as server:
            self.assertEqual(server.grpc[0], "127.0.0.1")
            self.assertNotEqual(server.grpc[1], 0)
            self.assertNotEqual(server.admin[1], 0)


if __name__ == "__main__":
    unittest.main()
