#!/usr/bin/env python3
"""/metrics while calls pour in: promtool accepts every page, counters only grow, and the calls are all counted.

Usage: scrape_test.py GREETER_SERVER SMOKE_CLIENT PROMTOOL H2LOAD
"""

import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import live_server

GREETER, live_server.CLIENT, PROMTOOL, H2LOAD = sys.argv[1:5]
del sys.argv[1:5]
SAY_HELLO = {"grpc_service": "helloworld.Greeter", "grpc_method": "SayHello"}
CALLS = 20000

# Names others rely on; server/admin/runtime_metrics.cpp says which of Go's are there and why the others are not.
NAMES = """go_gc_duration_seconds go_goroutines go_info go_threads go_memstats_alloc_bytes go_memstats_alloc_bytes_total
go_memstats_frees_total go_memstats_gc_sys_bytes go_memstats_heap_alloc_bytes go_memstats_heap_idle_bytes go_memstats_heap_inuse_bytes
go_memstats_heap_objects go_memstats_heap_released_bytes go_memstats_heap_sys_bytes go_memstats_last_gc_time_seconds
go_memstats_lookups_total go_memstats_mallocs_total go_memstats_next_gc_bytes go_memstats_stack_inuse_bytes go_memstats_stack_sys_bytes go_memstats_sys_bytes
go_gc_gogc_percent go_sched_gomaxprocs_threads go_gc_cycles_total_gc_cycles_total
process_cpu_seconds_total process_max_fds process_open_fds process_resident_memory_bytes process_start_time_seconds
process_virtual_memory_bytes process_virtual_memory_max_bytes process_network_receive_bytes_total process_network_transmit_bytes_total
promhttp_metric_handler_requests_total promhttp_metric_handler_requests_in_flight
grpc_server_started_total grpc_server_handled_total grpc_server_msg_received_total grpc_server_msg_sent_total
grpc_server_handling_seconds
warren_sched_steals_total warren_sched_parks_total warren_sched_ps warren_sched_threads warren_netpoll_wakeups_total
warren_gc_collections_total warren_gc_pause_seconds warren_heap_served_total""".split()


def samples(page):
    return {match[1]: float(match[2]) for match in re.finditer(r"(?m)^([^#\s].*) (\S+)$", page)}


def types(page):
    return dict(re.findall(r"(?m)^# TYPE (\S+) (\S+)$", page))


class Scrape(unittest.TestCase):
    def accepted(self, page):
        done = subprocess.run([PROMTOOL, "check", "metrics"], input=page, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False)
        self.assertEqual((done.returncode, done.stdout), (0, ""))

    def test_under_load(self):
        with live_server.running(GREETER) as server, tempfile.TemporaryDirectory() as folder:
            page = server.get("/metrics")
            self.accepted(page)
            kinds = types(page)
            for name in NAMES:
                self.assertIn(name, kinds)
            # Every code of every method is there before the first call, at 0.
            self.assertEqual(len(re.findall(r'(?m)^grpc_server_handled_total\{.*grpc_method="SayHello".*\} 0$', page)), 17)

            body = pathlib.Path(folder, "body")
            body.write_bytes(b"\0\0\0\0\x07\x0a\x05world")
            load = subprocess.Popen([H2LOAD, "-n", str(CALLS), "-c", "4", "-m", "10", "-d", str(body),
                                     "-H", "content-type: application/grpc", "-H", "te: trailers",
                                     f"http://{server.grpc[0]}:{server.grpc[1]}/helloworld.Greeter/SayHello"],
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            before, scrapes = samples(page), 1
            while True:
                ended = load.poll() is not None
                page = server.get("/metrics")
                scrapes += 1
                self.accepted(page)
                now, kinds = samples(page), types(page)
                for series, value in before.items():
                    if kinds.get(series.split("{")[0]) == "counter":
                        self.assertGreaterEqual(now[series], value, series)
                before = now
                if ended:
                    break
            said = load.stdout.read()
            load.stdout.close()
            self.assertIn(f"{CALLS} succeeded", said)
            self.assertEqual(server.metric("grpc_server_started_total", **SAY_HELLO), CALLS)
            self.assertEqual(server.metric("grpc_server_handled_total", grpc_code="OK", **SAY_HELLO), CALLS)
            self.assertEqual(server.metric("grpc_server_msg_received_total", **SAY_HELLO), CALLS)
            self.assertEqual(server.metric("grpc_server_msg_sent_total", **SAY_HELLO), CALLS)
            self.assertEqual(server.metric("grpc_server_handling_seconds_count", **SAY_HELLO), CALLS)
            self.assertGreaterEqual(server.metric("promhttp_metric_handler_requests_total", code="200"), scrapes)

    def test_a_collection_shows(self):
        with live_server.running(GREETER) as server:
            for _ in range(3):
                self.assertEqual(server.call("/warren.v1.Runtime/Collect").status, 0)
            self.assertEqual(server.metric("warren_gc_collections_total", trigger="manual"), 3)
            self.assertGreaterEqual(server.metric("go_gc_duration_seconds_count"), 3)
            self.assertGreater(server.metric("go_memstats_last_gc_time_seconds"), 1.7e9)
            self.accepted(server.get("/metrics"))

    def test_the_index_names_the_pages(self):
        with live_server.running(GREETER) as server:
            index = server.get("/")
            self.assertIn("/metrics", index)
            self.assertIn("/healthz", index)


if __name__ == "__main__":
    unittest.main()
