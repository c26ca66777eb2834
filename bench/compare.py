#!/usr/bin/env python3
"""Measures our benchmarks and the peers' twins in turns and prints the ratios. See bench/README.md."""
import argparse
import datetime
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import tempfile

import pause_picture

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
README_BEGIN, README_END = "<!-- bench:begin -->", "<!-- bench:end -->"

# Suites of small programs, each with a Go twin that knows the same names and flags.
TWINS = {
    "sched": ["spawn_join", "yield", "pingpong", "chan_buffered", "select2", "timer_start_stop", "mutex_contended",
              "skynet", "fib30", "nqueens10"],
    "heap": ["make16", "make64_noscan", "make1k_noscan"],
    "net": ["echo/1", "echo/1000"],
}
# Goroutines by the million: bytes each, and whether kernel mappings grow with them. In bench_sched and its twin.
CROWDS = {"park_million": 4.4e3, "spawn_million_newborn": 0.4e3}
# Scenarios of bench_abuse, and whether the Go twin has them.
ABUSES = {"none": True, "loops": True, "sleeps": True, "locks": False, "mallocs": False, "idle": True}
ABUSE_BAR_US = 25_000
IDLE_BAR_PERCENT = 0.5
PEERS = ["grpc_cpp_callback", "grpc_cpp_async", "grpc_go"]
SYNC = "grpc_cpp_sync"  # only where calls wait
WITHOUT_COLLECTOR = "warren_gc_off"  # only where handlers make collected objects
CEILING = "nghttp2_echo"  # only where SayHello is called without TLS
CEILING_BAR = 0.65  # of its calls
# What the project promises (time: at most, calls: at least). Rows without a promise show a dash.
TIME_BARS = {
    "spawn_join": 0.35, "yield": 0.40, ("pingpong", 1): 0.30, ("pingpong", 2): 0.35, "chan_buffered": 0.45, "select2": 0.45,
    "timer_start_stop": 0.30, "mutex_contended": 1.0, "skynet": 0.6, "fib30": 0.6, "nqueens10": 0.6,
    "make16": 0.6, "make64_noscan": 0.4, "make1k_noscan": 0.6,
}
# Ours alone, in nanoseconds.
ALONE = {"heap": {"barrier_off": 1.0, "barrier_on": 5.0}}
# bench_gc. Binary trees: at most this part of each peer's time, real and CPU; the larger in the first round only.
TREES = {"go_gc": 0.5, "trees_libgc": 0.8, "trees_mimalloc": 2.5}
TREE_NAMES = ["binary_trees/16", "binary_trees/21"]
ONLY_ONCE = "binary_trees/21"
# How many turns a round is, if not one. The smaller trees take a third of a second, and the machine's speed may change from one to the next;
# what is resident when `churn` looks depends on how long ago a collection was, on both sides.
TURNS = {"binary_trees/16": 9, "churn": 5}
# Rows of counters: benchmark, Ps, [(counter, title, bar for the ratio to Go's, bar for ours alone, at most)].
GC_COUNTERS = [
    ("mark_rate", 1, [("bytes_per_second", "marking 1 GB of linked nodes, MB/s", 1.0, 1000.0, False, 1e6)]),
    ("collect_million_parked", 2, [("real_time", "a collection with 1 000 000 parked goroutines, ms", 0.5, None, True, 1e6)]),
    ("pauses", 2, [("p99_us", "stops of the world, p99 in µs", 1.0, 200.0, True, 1),
                   ("max_us", "stops of the world, longest in µs", 1.0, 1000.0, True, 1),
                   ("delay_p50_us", "delay of a goroutine due each ms, p50 in µs", None, None, True, 1),
                   ("delay_p999_us", "the same, p99.9 in µs", 1.0, None, True, 1),
                   ("cycles", "collections meanwhile", None, None, True, 1)]),
    ("churn", 2, [("resident_over_live", "resident over live bytes after churn", 1.0, None, True, 1),
                  ("worst_resident_over_live", "the same, at its worst", 1.0, None, True, 1)]),
]
GC_MODES = {"stw": "Go 1.3: the world stands", "dijkstra": "Go 1.5: stacks again at the end", "yuasa": "stacks at the beginning",
            "hybrid": "Go 1.8 and since: neither"}
PICTURE = "pauses.svg"
CPU_BARS = {"echo/1": 0.8, "echo/1000": 0.6}
# What bench_grpc measures: scenario, figure, how it is called, at most (True) or at least, bar for the ratio to the best of the peers.
CALLS, P50, P99, RSS, EACH = "rpcs_per_cpu_second", "p50_us", "p99_us", "rss_kb", "bytes_per_connection"
GRPC_ROWS = [
    ("10x100", CALLS, "10 × 100", False, 6.0, PEERS),
    ("10x100_100b", CALLS, "10 × 100, 100 B", False, 6.0, PEERS),
    ("10x100_10k", CALLS, "10 × 100, 10 KiB", False, 3.0, PEERS),
    ("10x10", CALLS, "10 × 10", False, 3.5, PEERS),
    ("50x20_100b", CALLS, "50 × 20, 100 B", False, 5.0, PEERS),
    ("50x20_complex", CALLS, "50 × 20, complex message", False, 3.0, PEERS),
    ("1x1", CALLS, "1 × 1", False, 1.4, PEERS),
    ("1x1", P50, "1 × 1, p50 in µs", True, 0.9, PEERS),
    ("4x1_1m", CALLS, "4 × 1, 1 MiB both ways", False, 1.3, PEERS),
    ("chat_10x10", CALLS, "ping-pong on 10 × 10 streams, round trips", False, 3.0, PEERS),
    ("stream_5000", CALLS, "10 × 1 streams of 5 000 replies, messages", False, 4.0, PEERS),
    ("tls_10x100", CALLS, "10 × 100, TLS", False, 2.0, PEERS),
    ("sleep_10000", CALLS, "10 000 calls that sleep 5 ms", False, 2.0, [*PEERS, SYNC]),
    ("sleep_10000", RSS, "10 000 calls that sleep 5 ms, resident kB (bar: gRPC C++ sync)", True, 0.3, [SYNC]),
    ("collected_10x100", CALLS, "10 × 100, 100 B, each request kept for 512 calls (ratio: to `GOGC=off`)", False, 0.9, [WITHOUT_COLLECTOR]),
    ("open_loop", P99, "p99 in µs at half of the slowest peer's peak", True, 0.6, PEERS),
    ("idle_10000", EACH, "resident bytes per idle connection (10 000)", True, 0.3, PEERS),
]
IDLE_BAR_BYTES = 12_000
# bench_attacks: what a second connection waits, p99; what the server may hold in memory at its worst: twice the most that the attackers of
# one attack make it hold by its limits (zero_windows: 50 connections with 20 answers of 60 kB each).
ATTACK_BAR_US = 50_000
ATTACK_BAR_RSS_KB = 128 << 10
# All of them take three and a half minutes: each has reached its limits, or what it holds, within the first tenths of a second.
ATTACK_SECONDS, ATTACK_ROUNDS = 2.0, 3
RUN_SECONDS_LIMIT = 180


class Failed(Exception):
    """A program did not give its figures; the text is one line."""


def call(command, env=None, limit=RUN_SECONDS_LIMIT):
    """Runs a program and returns what it printed."""
    try:
        done = subprocess.run(command, env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        raise Failed(f"{pathlib.Path(command[0]).name}: no result within {limit} s") from None
    except OSError as e:
        raise Failed(f"{pathlib.Path(command[0]).name}: {e.strerror}; build it (without --no-build)") from None
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["it printed nothing"]
        fatal = next((line for line in lines if "fatal" in line), lines[-1])
        raise Failed(f"{pathlib.Path(command[0]).name}: ended with status {done.returncode}: {fatal}")
    return done.stdout


def spread(values):
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def build(suites, directory):
    """Configures and builds only what these suites need."""
    targets = [f"bench_{'sched' if suite == 'memory' else suite}" for suite in suites]
    if suites != ["attacks"]:
        targets.append("bench_peers")
    if "grpc" in suites:
        targets += ["greeter_server", "bench_load_server"]
    for command in (["cmake", "--preset", "release", "-B", str(directory)], ["cmake", "--build", str(directory), "--target", *targets]):
        if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
            sys.exit(f"bench: {' '.join(command)} failed; mend the build, or measure a part with --only")


def one_time(program, name, maxprocs, seconds):
    """Real and CPU nanoseconds per operation of one benchmark in a process of its own."""
    command = [str(program), f"--benchmark_filter=^{re.escape(name)}$", f"--benchmark_min_time={seconds}", "--benchmark_format=json"]
    report = json.loads(call(command, {"WARREN_MAXPROCS": str(maxprocs), "GOMAXPROCS": str(maxprocs)}))
    rows = [row for row in report["benchmarks"] if row["name"] == name]
    if len(rows) != 1 or rows[0].get("error_occurred"):
        raise Failed(f"{program.name}: reports {len(rows)} results for {name}, expected one")
    if rows[0]["time_unit"] != "ns":
        raise Failed(f"{program.name}: reports {name} in {rows[0]['time_unit']}, expected ns")
    return {"real": rows[0]["real_time"], "cpu": rows[0]["cpu_time"]}


def compare_twins(suite, directory, rounds, seconds, failures):
    ours, twin = directory / "bin" / f"bench_{suite}", directory / "bin" / "peers" / f"go_{suite}"
    rows = []
    for maxprocs in [p for p in (1, 2) if p <= len(os.sched_getaffinity(0))]:
        for name in TWINS[suite]:
            print(f"  {name}, {maxprocs} P", file=sys.stderr, flush=True)
            pairs = []
            try:
                for _ in range(rounds):
                    pairs.append([one_time(ours, name, maxprocs, seconds), one_time(twin, name, maxprocs, seconds)])
            except Failed as e:
                failures.append(f"{name}, {maxprocs} P: {e}")
                continue
            row = {"benchmark": name, "ps": maxprocs, "rounds": pairs}
            for clock in ("real", "cpu"):
                row[clock] = {
                    "warren_ns": statistics.median(a[clock] for a, _ in pairs),
                    "go_ns": statistics.median(b[clock] for _, b in pairs),
                    "ratio": spread([a[clock] / b[clock] for a, b in pairs]),
                }
            rows.append(row)
    return rows


def counters_of(program, name, maxprocs, env=None):
    """What one run of one benchmark reports: times in ns and counters."""
    command = [str(program), f"--benchmark_filter=^{re.escape(name)}", "--benchmark_format=json"]
    report = json.loads(call(command, {"WARREN_MAXPROCS": str(maxprocs), "GOMAXPROCS": str(maxprocs), **(env or {})}, 4 * RUN_SECONDS_LIMIT))
    rows = [row for row in report["benchmarks"] if row["name"].startswith(name)]
    if len(rows) != 1 or rows[0].get("error_occurred"):
        raise Failed(f"{program.name}: reports {len(rows)} results for {name}, expected one")
    return rows[0]


def compare_alone(suite, directory, rounds, seconds, failures):
    rows = []
    for name, bar in ALONE.get(suite, {}).items():
        try:
            runs = [one_time(directory / "bin" / f"bench_{suite}", name, 1, seconds)["real"] for _ in range(rounds)]
            rows.append({"benchmark": name, "bar": bar, "ns": spread(runs)})
        except Failed as e:
            failures.append(f"{name}: {e}")
    return rows


def compare_trees(directory, rounds, quick, failures):
    rows = []
    programs = {"warren": directory / "bin" / "bench_gc", **{peer: directory / "bin" / "peers" / peer for peer in TREES}}
    for name in TREE_NAMES[: 1 if quick else None]:
        for maxprocs in [p for p in (1, 2) if p <= len(os.sched_getaffinity(0))]:
            print(f"  {name}, {maxprocs} P", file=sys.stderr, flush=True)
            try:
                runs = [{side: {clock: row[f"{clock}_time"] for clock in ("real", "cpu")}
                         for side, row in ((side, counters_of(program, name, maxprocs)) for side, program in programs.items())}
                        for _ in range(1 if quick or name == ONLY_ONCE else rounds * TURNS.get(name, 1))]
            except Failed as e:
                failures.append(f"{name}, {maxprocs} P: {e}")
                continue
            for clock in ("real", "cpu"):
                rows.append({"benchmark": name, "ps": maxprocs, "clock": clock,
                             "medians": {side: statistics.median(run[side][clock] for run in runs) for side in programs},
                             "ratios": {peer: spread([run["warren"][clock] / run[peer][clock] for run in runs]) for peer in TREES}})
    return rows


def compare_gc(directory, rounds, quick, failures):
    ours, twin = directory / "bin" / "bench_gc", directory / "bin" / "peers" / "go_gc"
    rows = []
    for name, maxprocs, counters in GC_COUNTERS[:2] if quick else GC_COUNTERS:
        print(f"  {name}", file=sys.stderr, flush=True)
        try:
            pairs = [(counters_of(ours, name, maxprocs), counters_of(twin, name, maxprocs)) for _ in range(rounds * TURNS.get(name, 1))]
        except Failed as e:
            failures.append(f"{name}: {e}")
            continue
        for key, title, bar, own_bar, at_most, unit in counters:
            rows.append({"benchmark": name, "title": title, "ps": maxprocs, "bar": bar, "own_bar": own_bar, "at_most": at_most,
                         "warren": statistics.median(a[key] for a, _ in pairs) / unit,
                         "go": statistics.median(b[key] for _, b in pairs) / unit,
                         "ratio": spread([a[key] / b[key] for a, b in pairs if b[key]] or [0.0])})
    return rows


def draw_pauses(directory, path, failures):
    """The program of `pauses` in each of the modes, once."""
    rows = []
    for mode, note in GC_MODES.items():
        print(f"  pauses, {mode}", file=sys.stderr, flush=True)
        with tempfile.NamedTemporaryFile(mode="r", suffix=".txt") as file:
            try:
                counters_of(directory / "bin" / "bench_gc", "pauses", 2, {"WARREN_GCMODE": mode, "BENCH_PAUSES_FILE": file.name})
            except Failed as e:
                failures.append(f"pauses, {mode}: {e}")
                continue
            rows.append((mode, note, [int(line) / 1e3 for line in file]))
    path.write_text(pause_picture.draw("Each stop of the world: 1 GB live, 100 000 goroutines, 200 MB/s allocated, 30 s", rows), encoding="utf-8")
    return [{"mode": mode, "pauses_us": pauses} for mode, _, pauses in rows]


def compare_servers(directory, rounds, seconds, failures):
    program = directory / "bin" / "bench_grpc"
    measured = {}
    for scenario in dict.fromkeys(row[0] for row in GRPC_ROWS):
        print(f"  {scenario}", file=sys.stderr, flush=True)
        command = [str(program), "--each-round", "--rounds", str(rounds), "--seconds", str(seconds), "--scenarios", scenario,
                   *(["--quick"] if seconds < 1 else [])]
        try:
            lines = [json.loads(line) for line in call(command, limit=RUN_SECONDS_LIMIT + rounds * 5 * (30 + 4 * seconds)).splitlines()]
        except Failed as e:
            failures.append(f"{scenario}: {e}")
            continue
        by_round = {}
        for line in lines:
            if "round" in line:
                by_round.setdefault(line["round"], {})[line["server"]] = line
        measured[scenario] = {line["server"]: line for line in lines if "round" not in line}, [by_round[r] for r in sorted(by_round)]
    return [grpc_row(row, *measured[row[0]]) for row in GRPC_ROWS if row[0] in measured]


def grpc_row(row, medians, by_round):
    """One line of the table: a scenario's figure of every server, and ours as a part of the best peer's and of the ceiling's."""
    scenario, figure, title, at_most, bar, peers = row
    best = min if at_most else max
    made = {
        "scenario": scenario, "figure": figure, "title": title, "at_most": at_most, "bar": bar,
        "medians": medians,
        "ratio_to_best": spread([r["warren"][figure] / max(best(r[peer][figure] for peer in peers), 1) for r in by_round]),
        "rounds": [{server: line[figure] for server, line in r.items()} for r in by_round],
    }
    if figure == CALLS and CEILING in medians:
        made["ratio_to_ceiling"] = spread([r["warren"][figure] / max(r[CEILING][figure], 1) for r in by_round])
    return made


def compare_attacks(directory, rounds, seconds, failures):
    """Ours only: the bars are absolute. The median of the rounds, the attacks in turns; of memory and of what was counted the extremes."""
    program = directory / "bin" / "bench_attacks"
    by_attack = {}
    for name in call([str(program), "--list"]).split():
        by_attack[name] = []
    for _ in range(rounds):
        for name, runs in by_attack.items():
            print(f"  {name}", file=sys.stderr, flush=True)
            try:
                runs.append(json.loads(call([str(program), "--seconds", str(seconds), name]).splitlines()[-1]))
            except Failed as e:
                failures.append(f"{name}: {e}")
    return [attack_row(name, runs) for name, runs in by_attack.items() if runs]


def attack_row(name, runs):
    row = {"attack": name, "rounds": runs, "counter": runs[0]["counter"],
           **{key: statistics.median(run[key] for run in runs) for key in runs[0] if key not in ("attack", "counter")}}
    row["rss_kb"] = max(run["rss_kb"] for run in runs)
    row["counted"] = min(run["counted"] for run in runs)
    return row


def short_sample(name):
    """`connections_ended_total{reason="abuse"}`: a sample without the prefix all of them have and without labels that say what is called."""
    family, _, labels = name.partition("{")
    kept = [label for label in labels.rstrip("}").split(",") if label.startswith(("reason=", "grpc_code="))]
    return f"`{family.removeprefix('warren_grpc_')}{'{' + ','.join(kept) + '}' if kept else ''}`"


def compare_abuse(directory, rounds, seconds, failures):
    """Medians over the rounds, 2 Ps. mallocs with a time slice of 100 µs, or nobody would be preempted inside malloc often enough."""
    sides = {"warren": directory / "bin" / "bench_abuse", "go": directory / "bin" / "peers" / "go_abuse"}
    rows = []
    for name, has_twin in ABUSES.items():
        print(f"  {name}", file=sys.stderr, flush=True)
        row = {"scenario": name}
        try:
            for side, program in sides.items():
                if side == "go" and not has_twin:
                    continue
                env = {"WARREN_MAXPROCS": "2", "GOMAXPROCS": "2", **({"WARREN_SLICE_US": "100"} if name == "mallocs" else {})}
                command = [str(program), "--seconds", str(seconds), name]
                runs = [json.loads(call(command, env).splitlines()[-1]) for _ in range(rounds)]
                row[side] = {key: statistics.median(run[key] for run in runs) for key in runs[0] if key.endswith(("_us", "_percent"))}
        except Failed as e:
            failures.append(f"{name}: {e}")
            continue
        rows.append(row)
    return rows


def compare_memory(directory, failures):
    """One process each: a million goroutines made once tell enough."""
    rows = []
    for maxprocs in [p for p in (1, 2) if p <= len(os.sched_getaffinity(0))]:
        for name in CROWDS:
            print(f"  {name}, {maxprocs} P", file=sys.stderr, flush=True)
            row = {"benchmark": name, "ps": maxprocs}
            try:
                for side, program in (("warren", "bench_sched"), ("go", "peers/go_sched")):
                    command = [str(directory / "bin" / program), f"--benchmark_filter=^{name}$", "--benchmark_format=json"]
                    report = json.loads(call(command, {"WARREN_MAXPROCS": str(maxprocs), "GOMAXPROCS": str(maxprocs)}))
                    row[side] = {key: report["benchmarks"][0][key] for key in ("real_time", "bytes_each", "more_mappings")}
            except (Failed, KeyError, IndexError) as e:
                failures.append(f"{name}, {maxprocs} P: {e}")
                continue
            rows.append(row)
    return rows


def setting(rounds, seconds):
    """Where and how a section was measured."""
    def first_line(command):
        try:
            return call(command).splitlines()[0]
        except (Failed, IndexError):
            return "unknown"
    revision = first_line(["git", "-C", str(ROOT), "describe", "--always", "--dirty"])
    models = re.findall(r"^model name\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "revision": revision,
        "cpu": models[0] if models else platform.machine(),
        "processors": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "go": first_line(["go", "version"]),
        "grpc_cpp": first_line(["pkg-config", "--modversion", "grpc++"]),
        "grpc_go": first_line(["dpkg-query", "-W", "-f", "${Version}", "golang-google-grpc-dev"]),
        "load_before": os.getloadavg()[0],
        "rounds": rounds,
        "seconds_per_run": seconds,
    }


def ratio_text(ratio):
    return f"{ratio['median']:.2f} ({ratio['min']:.2f}–{ratio['max']:.2f})"


def time_text(ns):
    return f"{ns:.1f} ns" if ns < 1e5 else f"{ns / 1e6:.1f} ms"


def bar_text(bar, ratio, at_most):
    if bar is None:
        return "–"
    met = ratio["median"] <= bar if at_most else ratio["median"] >= bar
    return f"{'≤' if at_most else '≥'} {bar:g}: {'met' if met else 'missed'}"


def where_text(s):
    return (f"Measured {s['date']} at {s['revision']}: {s['processors']} × {s['cpu']}, Linux {s['kernel']}, "
            f"rounds in turns: {s['rounds']}, {s['seconds_per_run']:g} s each.")


def failure_lines(section):
    """What gave no figure is said where the figure would stand."""
    return [""] + [f"- Not measured: {failure}" for failure in section["failures"]] if section["failures"] else []


def markdown(sections):
    out = []
    for suite in (s for s in TWINS if s in sections):
        section = sections[suite]
        clocks = ("real", "cpu") if suite == "net" else ("real",)
        titles = {"sched": "Scheduler, channels, timers, locks", "heap": "Allocation", "net": "TCP echo"}
        out += [f"**{titles[suite]}**: time per operation. Ratio: ours / Go's, smaller is better; median (minimum–maximum) of the rounds.",
                ""]
        out += ["| benchmark | Ps | warren | Go | ratio | bar |", "|---|---|---|---|---|---|"]
        for row in section["rows"]:
            for clock in clocks:
                r = row[clock]
                name = row["benchmark"] + (", CPU" if clock == "cpu" else "")
                name_at_ps = (row["benchmark"], row["ps"])
                bar = TIME_BARS.get(name_at_ps, TIME_BARS.get(row["benchmark"])) if clock == "real" else CPU_BARS.get(row["benchmark"])
                out.append(f"| {name} | {row['ps']} | {time_text(r['warren_ns'])} | {time_text(r['go_ns'])} "
                           f"| {ratio_text(r['ratio'])} | {bar_text(bar, r['ratio'], True)} |")
        for row in section.get("alone", []):
            met = "met" if row["ns"]["median"] <= row["bar"] else "missed"
            out.append(f"| {row['benchmark']} | 1 | {time_text(row['ns']['median'])} | – | – | ≤ {row['bar']:g} ns: {met} |")
        out += failure_lines(section)
        out += ["", f"{where_text(section['setting'])} {section['setting']['go'].replace('go version ', '')}.", ""]
    if "gc" in sections:
        section = sections["gc"]
        out += ["**Collector**, against Go's. Ratio: ours / Go's, median (minimum–maximum) of the rounds.", ""]
        out += ["| figure | Ps | warren | Go | ratio | bar |", "|---|---|---|---|---|---|"]
        for row in section["rows"]:
            bars = []
            if row["bar"] is not None:
                bars.append(bar_text(row["bar"], row["ratio"], row["at_most"]) + " of Go's")
            if row["own_bar"] is not None:
                met = row["warren"] <= row["own_bar"] if row["at_most"] else row["warren"] >= row["own_bar"]
                bars.append(f"{'≤' if row['at_most'] else '≥'} {row['own_bar']:,g}: {'met' if met else 'missed'}")
            out.append(f"| {row['title']} | {row['ps']} | {row['warren']:,.4g} | {row['go']:,.4g} | {ratio_text(row['ratio'])} "
                       f"| {'; '.join(bars) or '–'} |")
        out += ["", "Binary trees: a node is 16 bytes, two pointers. Ratio: ours / the peer's, real time or CPU of the process; mimalloc frees "
                "node by node.", ""]
        out += ["| depth | Ps | clock | warren | Go | libgc | mimalloc | of Go's | of libgc's | of mimalloc's |", "|---|---|---|---|---|---|---|---|---|---|"]
        for row in section.get("trees", []):
            times = " | ".join(time_text(row["medians"][side]) for side in ("warren", *TREES))
            ratios = " | ".join(f"{row['ratios'][peer]['median']:.2f}, {bar_text(bar, row['ratios'][peer], True)}" for peer, bar in TREES.items())
            out.append(f"| {row['benchmark'].split('/')[1]} | {row['ps']} | {row['clock']} | {times} | {ratios} |")
        if section.get("modes"):
            out += ["", f"![each stop of the world, by the collector's mode](bench/results/{PICTURE})"]
        out += failure_lines(section)
        out += ["", f"{where_text(section['setting'])} {section['setting']['go'].replace('go version ', '')}.", ""]
    if "memory" in sections:
        section = sections["memory"]
        out += ["**One million goroutines**: resident bytes and page tables of each; kernel mappings more than before.", ""]
        out += ["| benchmark | Ps | warren | Go | bar |", "|---|---|---|---|---|"]
        for row in section["rows"]:
            cells = [f"{row[side]['bytes_each']:,.0f} B, {row[side]['more_mappings']:.0f} mappings, {row[side]['real_time'] / 1e9:.1f} s"
                     for side in ("warren", "go")]
            bar = CROWDS[row["benchmark"]]
            met = "met" if row["warren"]["bytes_each"] <= bar else "missed"
            out.append(f"| {row['benchmark']} | {row['ps']} | {' | '.join(cells)} | ≤ {bar:,.0f} B: {met} |")
        out += failure_lines(section)
        out += ["", where_text(section["setting"]), ""]
    if "abuse" in sections:
        section = sections["abuse"]
        out += ["**Latency under abuse**, 2 Ps: from when a prober was due to an echo goroutine's answer; p50 / p99 / p99.9 in ms.", ""]
        out += ["| beside it | warren | Go | bar |", "|---|---|---|---|"]
        for row in section["rows"]:
            if row["scenario"] == "idle":
                cells = [f"{row[side]['cpu_percent']:.3f} % of a core" for side in ("warren", "go")]
                met = row["warren"]["cpu_percent"] <= IDLE_BAR_PERCENT
                bar = f"≤ {IDLE_BAR_PERCENT:g} %: {'met' if met else 'missed'}"
            else:
                cells = [" / ".join(f"{row[side][q] / 1e3:.2f}" for q in ("p50_us", "p99_us", "p999_us")) if side in row else "–"
                         for side in ("warren", "go")]
                bar = f"p99.9 ≤ {ABUSE_BAR_US / 1e3:g} ms: {'met' if row['warren']['p999_us'] <= ABUSE_BAR_US else 'missed'}"
            out.append(f"| {row['scenario']} | {' | '.join(cells)} | {bar} |")
        out += failure_lines(section)
        out += ["", where_text(section["setting"]), ""]
    if "attacks" in sections:
        section = sections["attacks"]
        out += ["**A second connection during attacks**: from when its call was due, one each millisecond, to the answer; ms. "
                "CPU meanwhile: what the server used of its processor between a call and its answer. "
                "Queued: processors the server had to do without because others had them; "
                "well above zero the figures are those of the machine. Memory: the server's at its most, in the worst round. "
                "Counted: the sample of `/metrics` by which the attack is seen, in the round in which it was least.", ""]
        out += ["| attack | p50 | p99 | longest | CPU meanwhile, p99 | server's CPU | queued | memory, MB | counted | bar |",
                "|---|---|---|---|---|---|---|---|---|---|"]
        for row in section["rows"]:
            times = " | ".join(f"{row[key] / 1e3:.2f}" for key in ("p50_us", "p99_us", "max_us", "cpu_p99_us"))
            held = row["p99_us"] <= ATTACK_BAR_US and row["rss_kb"] <= ATTACK_BAR_RSS_KB and row["counted"] > 0
            out.append(f"| {row['attack'].replace('_', ' ')} | {times} | {row['server_cpu']:.2f} | {row['server_queued']:.2f} "
                       f"| {row['rss_kb'] / 1024:.0f} | {row['counted']:,} {short_sample(row['counter'])} "
                       f"| p99 ≤ {ATTACK_BAR_US / 1e3:g} ms, memory ≤ {ATTACK_BAR_RSS_KB >> 10} MB, counted: {'met' if held else 'missed'} |")
        out += failure_lines(section)
        out += ["", where_text(section["setting"]), ""]
    if "grpc" in sections:
        section = sections["grpc"]
        out += ["**gRPC**, calls per server CPU second unless another figure is named; connections × streams, unary echo of 5 bytes, no TLS "
                "unless said. Ratio: ours / the best peer's of the round. Bare nghttp2 is no peer but the ceiling: an echo with nothing above "
                "nghttp2.", ""]
        out += ["| scenario | warren | gRPC C++ callback | gRPC C++ async | gRPC C++ sync | grpc-go | ratio to the best | bar "
                "| bare nghttp2 | ratio to it | bar |",
                "|---|---|---|---|---|---|---|---|---|---|---|"]
        for row in section["rows"]:
            # Sections of before have calls only.
            figure = row.get("figure", CALLS)
            at_most, bar = row.get("at_most", False), row.get("bar")
            figures = " | ".join(f"{row['medians'][s][figure]:,.0f}" if s in row["medians"] else "–"
                                 for s in ["warren", "grpc_cpp_callback", "grpc_cpp_async", SYNC, "grpc_go"])
            bars = bar_text(bar, row["ratio_to_best"], at_most)
            if row["scenario"] == "idle_10000":
                bars += f"; ≤ {IDLE_BAR_BYTES:,} B: {'met' if row['medians']['warren'][figure] <= IDLE_BAR_BYTES else 'missed'}"
            ceiling = f"{row['medians'][CEILING][figure]:,.0f}" if CEILING in row["medians"] else "–"
            above = row.get("ratio_to_ceiling")
            of_ceiling = f"{ratio_text(above)} | {bar_text(CEILING_BAR, above, False)}" if above else "– | –"
            out.append(f"| {row.get('title', row['scenario'].replace('x', ' × '))} | {figures} | {ratio_text(row['ratio_to_best'])} | {bars} "
                       f"| {ceiling} | {of_ceiling} |")
        out += failure_lines(section)
        s = section["setting"]
        out += ["", f"{where_text(s)} gRPC C++ {s['grpc_cpp']}, grpc-go {s['grpc_go']}.", ""]
    return "\n".join(out)


def write_readme(table):
    """Puts the table between README's markers. Leaves a README without them alone."""
    path = ROOT / "README.md"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    begin, end = text.find(README_BEGIN), text.find(README_END)
    if begin < 0 or end < begin:
        print(f"bench: README.md has no {README_BEGIN} … {README_END}, its table is not renewed", file=sys.stderr)
        return
    path.write_text(text[: begin + len(README_BEGIN)] + "\n" + table + text[end:], encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=[*TWINS, "gc", "memory", "abuse", "attacks", "grpc"],
                        help="measure this part; may be given again")
    parser.add_argument("--rounds", type=int, help=f"times both sides are measured (5; attacks: {ATTACK_ROUNDS})")
    parser.add_argument("--quick", action="store_true", help="one short round; the figures go to bench/results/quick.*, not to README")
    parser.add_argument("--no-build", action="store_true", help="measure what is built already")
    parser.add_argument("--build-dir", type=pathlib.Path, default=ROOT / "build" / "release", help="build/release")
    options = parser.parse_args()
    if options.rounds is not None and options.rounds < 1:
        parser.error(f"--rounds {options.rounds}: at least one round")
    suites = options.only or [*TWINS, "gc", "memory", "abuse", "attacks", "grpc"]
    rounds = 1 if options.quick else options.rounds or 5
    attack_rounds = 1 if options.quick else options.rounds or ATTACK_ROUNDS
    twin_seconds, server_seconds = (0.05, 0.3) if options.quick else (0.4, 2.0)
    abuse_seconds = 1.0 if options.quick else 5.0
    directory = options.build_dir.resolve()
    if not options.no_build:
        build(suites, directory)

    # A part measured alone replaces its own section only; each section says when and where it was measured.
    RESULTS.mkdir(exist_ok=True)
    stem = "quick" if options.quick else "latest"
    latest = RESULTS / f"{stem}.json"
    sections = json.loads(latest.read_text(encoding="utf-8")) if latest.exists() and not options.quick else {}
    failed = []
    for suite in suites:
        failures, more = [], {}
        print(f"{suite}:", file=sys.stderr)
        if suite == "grpc":
            where, rows = setting(rounds, server_seconds), compare_servers(directory, rounds, server_seconds, failures)
        elif suite == "attacks":
            seconds = 0.5 if options.quick else ATTACK_SECONDS
            where, rows = setting(attack_rounds, seconds), compare_attacks(directory, attack_rounds, seconds, failures)
        elif suite == "gc":
            # Quick: without what takes half a minute a run.
            where, rows = setting(rounds, 30), compare_gc(directory, rounds, options.quick, failures)
            more = {"trees": compare_trees(directory, rounds, options.quick, failures),
                    "modes": [] if options.quick else draw_pauses(directory, RESULTS / PICTURE, failures)}
        elif suite == "memory":
            where, rows = setting(1, 0), compare_memory(directory, failures)
        elif suite == "abuse":
            where, rows = setting(rounds, abuse_seconds), compare_abuse(directory, rounds, abuse_seconds, failures)
        else:
            where, rows = setting(rounds, twin_seconds), compare_twins(suite, directory, rounds, twin_seconds, failures)
            more = {"alone": compare_alone(suite, directory, rounds, twin_seconds, failures)}
        sections[suite] = {"setting": where, "rows": rows, **more, "failures": failures}
        failed += failures
    table = markdown(sections)
    latest.write_text(json.dumps(sections, indent=1) + "\n", encoding="utf-8")
    latest.with_suffix(".md").write_text(table.replace(f"(bench/results/{PICTURE})", f"({PICTURE})"), encoding="utf-8")  # beside it
    if not options.quick:
        write_readme(table)
    print(table)
    for failure in failed:
        print(f"bench: {failure}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
