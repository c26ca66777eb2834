#!/usr/bin/env python3
"""TLS, mTLS and unix sockets as operators have them: flags, gRPC's own client, and certificates that change under a running server.

Usage: secure_test.py WARREND SMOKE_CLIENT [TRANSPORT]
"""

import os
import pathlib
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import unittest

import live_server

WARREND = sys.argv.pop(1)
live_server.CLIENT = sys.argv.pop(1)
TRANSPORT = sys.argv.pop(1) if len(sys.argv) > 1 else "native"
os.environ["WARREN_TRANSPORT"] = TRANSPORT


def openssl(*arguments, **options):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=live_server.PATIENCE, **options)


class Authority:
    def __init__(self, folder, name):
        self.folder, self.certificate, self.key = folder, folder / f"{name}.pem", folder / f"{name}.key"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-subj", f"/CN={name}",
                "-keyout", self.key, "-out", self.certificate)

    def issue(self, file, name):
        """Replaces file.pem and file.key, each in one step."""
        cert, key, request = (self.folder / f"{file}.{kind}" for kind in ("pem", "key", "csr"))
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}", "-addext",
                f"subjectAltName=DNS:{name},IP:127.0.0.1", "-keyout", f"{key}.new", "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial", "-days", "1",
                "-copy_extensions", "copy", "-out", f"{cert}.new")
        os.rename(f"{cert}.new", cert)
        os.rename(f"{key}.new", key)
        return cert, key


def smoke(target, ca=None, identity=(None, None)):
    """gRPC C++'s client: health, unary and streaming calls, deadlines."""
    environment = dict(os.environ)
    for name, value in (("CA", ca), ("CERT", identity[0]), ("KEY", identity[1])):
        if value:
            environment["SMOKE_TLS_" + name] = str(value)
    return subprocess.run([live_server.CLIENT, "--target", target], env=environment, capture_output=True, text=True,
                          timeout=4 * live_server.PATIENCE, check=False)


class Secure(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.addCleanup(self.temporary.cleanup)
        self.folder = pathlib.Path(self.temporary.name)
        self.authority = Authority(self.folder, "authority")
        self.cert, self.key = self.authority.issue("server", "localhost")

    def shown(self, server):
        """The certificate that the server shows."""
        context = ssl.create_default_context(cafile=self.authority.certificate)
        context.set_alpn_protocols(["h2"])
        with socket.create_connection(server.grpc, timeout=live_server.PATIENCE) as plain:
            with context.wrap_socket(plain, server_hostname="localhost") as secure:
                self.assertEqual(secure.selected_alpn_protocol(), "h2")
                return secure.getpeercert(binary_form=True)

    def test_calls_through_tls(self):
        with live_server.running(WARREND, "--tls-cert", self.cert, "--tls-key", self.key) as server:
            done = smoke("localhost:%d" % server.grpc[1], self.authority.certificate)
            self.assertEqual(done.returncode, 0, done)
            self.assertNotEqual(smoke("localhost:%d" % server.grpc[1]).returncode, 0)  # in plain text: nothing
            if TRANSPORT == "native":  # gRPC C++ does not count its handshakes
                self.assertGreater(server.metric("warren_grpc_tls_handshakes_total", result="done"), 0)
                self.assertGreater(server.metric("warren_grpc_tls_handshakes_total", result="failed"), 0)
            self.assertGreater(server.metric("warren_grpc_tls_certificate_expiry_timestamp_seconds"), 1.7e9)

    def test_client_certificates(self):
        clients = Authority(self.folder, "clients")
        alice = clients.issue("alice", "alice")
        eve = self.authority.issue("eve", "eve")  # signed, but not by whom the server asks for
        flags = ["--tls-cert", self.cert, "--tls-key", self.key, "--tls-ca", clients.certificate]
        with live_server.running(WARREND, *flags) as server:
            target = "localhost:%d" % server.grpc[1]
            self.assertEqual(smoke(target, self.authority.certificate, alice).returncode, 0)
            self.assertNotEqual(smoke(target, self.authority.certificate).returncode, 0)
            self.assertNotEqual(smoke(target, self.authority.certificate, eve).returncode, 0)
        with live_server.running(WARREND, *flags, "--tls-client", "optional") as server:
            self.assertEqual(smoke("localhost:%d" % server.grpc[1], self.authority.certificate).returncode, 0)

    def test_sighup_reads_the_files_again(self):
        with live_server.running(WARREND, "--tls-cert", self.cert, "--tls-key", self.key) as server:
            before = self.shown(server)
            self.authority.issue("server", "localhost")
            server.process.send_signal(signal.SIGHUP)
            live_server.eventually("the new certificate is shown", lambda: self.shown(server) != before)
            self.key.write_text("nonsense")
            server.process.send_signal(signal.SIGHUP)
            live_server.eventually("the failure is counted", lambda: server.metric("warren_grpc_tls_reload_failures_total") >= 1)
            self.shown(server)

    def test_sighup_without_tls_ends_nothing(self):
        with live_server.running(WARREND) as server:
            server.process.send_signal(signal.SIGHUP)
            self.assertEqual(smoke("%s:%d" % server.grpc).returncode, 0)

    def test_unix_socket(self):
        path = self.folder / "warrend.sock"
        command = [WARREND, "--listen", f"unix:{path}", "--admin", "off"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            try:
                self.assertEqual(process.stdout.readline(), f"listening on unix:{path}\n")
                done = smoke(f"unix:{path}")
                self.assertEqual(done.returncode, 0, done)
            finally:
                process.terminate()
            self.assertEqual(process.wait(timeout=live_server.PATIENCE), 0)
        self.assertFalse(path.exists())


if __name__ == "__main__":
    unittest.main()
