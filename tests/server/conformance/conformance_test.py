#!/usr/bin/env python3
"""Runs every case of every suite against conformance_server, started as Connect's conformance runner starts servers.

Usage: conformance_test.py CONFORMANCE_SERVER RAW_FRAME_CLIENT GRPC_CPP_CLIENT

One server for each of the runner's configurations that a gRPC server has: plain or TLS, with and without a limit for messages, and with
certificates of clients. The number of cases is checked, so that none gets lost.
"""

import concurrent.futures
import contextlib
import pathlib
import re
import subprocess
import sys
import tempfile

PATIENCE = 60
LIMIT = 200 * 1024
EVERY_ENCODING = "identity,gzip,deflate"

# Cases by their names, each with how many encodings. RAW: what no proper client sends.
USUAL = {"basic": (10, 3), "errors": (45, 3), "duplicate_metadata": (14, 3), "timeouts": (5, 3), "deadline_propagation": (4, 3),
         "server_empty": (4, 1), "idempotent": (1, 3)}
RAW = {"subformat": (2, 1), "unexpected": (12, 1)}
SIZED = {"message_size": (13, 3)}
CERTIFIED = {"client_certificates": (1, 3)}


def varint(n):
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def number(field, value):
    return varint(field << 3) + varint(value)


def text(field, value):
    return varint(field << 3 | 2) + varint(len(value)) + value


def fields_of(message):
    """The fields of a protobuf message, which has numbers and bytes only."""
    at, out = 0, {}

    def next_varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        tag = next_varint()
        if tag & 7 == 0:
            out[tag >> 3] = next_varint()
        else:
            assert tag & 7 == 2, tag
            size = next_varint()
            out[tag >> 3] = message[at:at + size]
            at += size
    return out


def ask(program, request):
    """Starts a server by the runner's protocol; the process, and what it answers or None."""
    server = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    server.stdin.write(len(request).to_bytes(4, "big") + request)
    server.stdin.flush()
    length = server.stdout.read(4)
    return server, fields_of(server.stdout.read(int.from_bytes(length, "big"))) if len(length) == 4 else None


@contextlib.contextmanager
def running(program, folder, *, tls=False, client_certificate=b"", limit=0, credentials=b""):
    request = number(1, 2) + number(2, 2)  # PROTOCOL_GRPC, HTTP_VERSION_2
    if tls:
        request += number(4, 1)
    if client_certificate:
        request += text(5, client_certificate)
    if limit:
        request += number(6, limit)
    if credentials:
        request += text(7, credentials)
    server, response = ask(program, request)
    try:
        assert response, "conformance_server gave no ServerCompatResponse"
        arguments = ["--target", f"{response[1].decode()}:{response[2]}"]
        assert (3 in response) == tls, "a certificate if and only if TLS was asked for"
        if tls:
            trusted = pathlib.Path(folder, f"trusted-{response[2]}.pem")
            trusted.write_bytes(response[3])
            arguments += ["--ca", str(trusted)]
        yield arguments
    finally:
        server.stdin.close()
        try:
            code = server.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
            raise
        server.stdout.close()
    assert code == 0, f"conformance_server ended with {code}"


def check(client, arguments, suites):
    done = subprocess.run([client, *arguments, "--encodings", EVERY_ENCODING, *suites], capture_output=True, text=True, timeout=PATIENCE,
                          check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    count = int(re.search(r"^(\d+) cases, 0 wrong$", done.stdout, re.MULTILINE)[1])
    expected = sum(cases * encodings for cases, encodings in suites.values())
    assert count == expected, f"{count} cases instead of {expected}"
    return count


def self_signed(folder, name):
    certificate, key = pathlib.Path(folder, name + ".pem"), pathlib.Path(folder, name + ".key")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-subj",
                    f"/CN={name}", "-addext", f"subjectAltName=DNS:{name},IP:127.0.0.1", "-keyout", key, "-out", certificate],
                   check=True, capture_output=True, timeout=PATIENCE)
    return certificate, key


def main():
    program, raw_client, grpcpp_client = sys.argv[1:]
    clients = (raw_client, grpcpp_client)
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = self_signed(folder, "client")

        def usual(tls):
            with running(program, folder, tls=tls) as arguments:
                return [check(raw_client, arguments, {**USUAL, **RAW}), check(grpcpp_client, arguments, USUAL)]

        def sized(tls):
            with running(program, folder, tls=tls, limit=LIMIT) as arguments:
                return [check(client, arguments + ["--limit", str(LIMIT)], SIZED) for client in clients]

        def certified():
            with running(program, folder, tls=True, client_certificate=certificate.read_bytes()) as arguments:
                own = ["--cert", str(certificate), "--key", str(key)]
                counts = [check(client, arguments + own, CERTIFIED) for client in clients]
                stranger = subprocess.run([raw_client, *arguments, "--encodings", "identity", *CERTIFIED], capture_output=True, text=True,
                                          timeout=PATIENCE, check=False)
                assert stranger.returncode == 1, "a client without a certificate was served"
                return counts

        def lent_credentials():
            """A certificate that the runner made for the server."""
            lent, lent_key = self_signed(folder, "localhost")
            credentials = text(1, lent.read_bytes()) + text(2, lent_key.read_bytes())
            with running(program, folder, tls=True, credentials=credentials) as arguments:
                return [check(client, arguments, {"basic": (10, 3)}) for client in clients]

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            jobs = [pool.submit(usual, False), pool.submit(usual, True), pool.submit(sized, False), pool.submit(sized, True),
                    pool.submit(certified), pool.submit(lent_credentials)]
            counts = [job.result() for job in jobs]
        for name, numbers in zip(("frame by frame", "by gRPC C++"), zip(*counts)):
            print(f"{name}: {sum(numbers)} calls {numbers}")

    # What is no request ends the server with a line that says so.
    for wrong in (b"", number(1, 1) + number(2, 1)):
        server = subprocess.run([program], input=len(wrong).to_bytes(4, "big")[:4 if wrong else 2] + wrong, capture_output=True,
                                timeout=PATIENCE, check=False)
        assert server.returncode == 2 and server.stderr.startswith(b"conformance_server: "), server


if __name__ == "__main__":
    main()
