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
PEERS = ["grpc_cpp_callback", "grpc_cpp_async", "grpc_go"]
# What the project promises (time: at most, calls: at least). Rows without a promise show a dash.
TIME_BARS = {
    "spawn_join": 0.35, "yield": 0.40, ("pingpong", 1): 0.30, ("pingpong", 2): 0.35, "chan_buffered": 0.45, "select2": 0.45,
    "timer_start_stop": 0.30, "mutex_contended": 1.0, "skynet": 0.6, "fib30": 0.6, "nqueens10": 0.6,
}
CALL_BARS = {"10x100": 3.0, "10x10": 2.0}
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
    targets = ["bench_peers"] + [f"bench_{suite}" for suite in suites] + (["greeter_server"] if "grpc" in suites else [])
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


def compare_servers(directory, rounds, seconds, failures):
    program = directory / "bin" / "bench_grpc"
    rows = []
    for scenario in ("10x100", "10x10", "1x1"):
        print(f"  {scenario}", file=sys.stderr, flush=True)
        command = [str(program), "--each-round", "--rounds", str(rounds), "--seconds", str(seconds), "--scenarios", scenario,
                   "--servers", ",".join(["warren", *PEERS])]
        try:
            lines = [json.loads(line) for line in call(command, limit=RUN_SECONDS_LIMIT + rounds * 4 * (20 + 3 * seconds)).splitlines()]
        except Failed as e:
            failures.append(f"{scenario}: {e}")
            continue
        medians = {line["server"]: line for line in lines if "round" not in line}
        by_round = {}
        for line in lines:
            if "round" in line:
                by_round.setdefault(line["round"], {})[line["server"]] = line["rpcs_per_cpu_second"]
        rows.append({
            "scenario": scenario,
            "medians": medians,
            "ratio_to_best": spread([r["warren"] / max(r[peer] for peer in PEERS) for r in by_round.values()]),
            "ratio_to": {peer: spread([r["warren"] / r[peer] for r in by_round.values()]) for peer in PEERS},
            "rounds": [by_round[r] for r in sorted(by_round)],
        })
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
                bar = TIME_BARS.get(name_at_ps, TIME_BARS.get(row["benchmark"])) if clock == "real" else None
                out.append(f"| {name} | {row['ps']} | {time_text(r['warren_ns'])} | {time_text(r['go_ns'])} "
                           f"| {ratio_text(r['ratio'])} | {bar_text(bar, r['ratio'], True)} |")
        out += failure_lines(section)
        out += ["", f"{where_text(section['setting'])} {section['setting']['go'].replace('go version ', '')}.", ""]
    if "grpc" in sections:
        section = sections["grpc"]
        out += ["**gRPC unary calls per server CPU second**, connections × streams, echo of 5 bytes, no TLS. "
                "Ratio: ours / the best peer's of the round, larger is better.", ""]
        out += ["| scenario | warren | gRPC C++ callback | gRPC C++ async | grpc-go | ratio to the best | bar |",
                "|---|---|---|---|---|---|---|"]
        for row in section["rows"]:
            figures = " | ".join(f"{row['medians'][s]['rpcs_per_cpu_second']:,.0f}" for s in ["warren", *PEERS])
            out.append(f"| {row['scenario'].replace('x', ' × ')} | {figures} | {ratio_text(row['ratio_to_best'])} "
                       f"| {bar_text(CALL_BARS.get(row['scenario']), row['ratio_to_best'], False)} |")
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
    parser.add_argument("--only", action="append", choices=[*TWINS, "grpc"], help="measure this part; may be given again")
    parser.add_argument("--rounds", type=int, default=5, help="times both sides are measured (5)")
    parser.add_argument("--quick", action="store_true", help="one short round; the figures go to bench/results/quick.*, not to README")
    parser.add_argument("--no-build", action="store_true", help="measure what is built already")
    parser.add_argument("--build-dir", type=pathlib.Path, default=ROOT / "build" / "release", help="build/release")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error(f"--rounds {options.rounds}: at least one round")
    suites = options.only or [*TWINS, "grpc"]
    rounds = 1 if options.quick else options.rounds
    twin_seconds, server_seconds = (0.05, 0.3) if options.quick else (0.4, 2.0)
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
        failures = []
        print(f"{suite}:", file=sys.stderr)
        if suite == "grpc":
            where, rows = setting(rounds, server_seconds), compare_servers(directory, rounds, server_seconds, failures)
        else:
            where, rows = setting(rounds, twin_seconds), compare_twins(suite, directory, rounds, twin_seconds, failures)
        sections[suite] = {"setting": where, "rows": rows, "failures": failures}
        failed += failures
    table = markdown(sections)
    latest.write_text(json.dumps(sections, indent=1) + "\n", encoding="utf-8")
    latest.with_suffix(".md").write_text(table, encoding="utf-8")
    if not options.quick:
        write_readme(table)
    print(table)
    for failure in failed:
        print(f"bench: {failure}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
