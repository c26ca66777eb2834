#!/usr/bin/env python3
"""Runs gdb with warren-gdb.py on a live process and on a core file. Usage: gdb_test.py TARGET SCRIPT live|core

Exits with 77 (skipped) where there is no gdb, or where the machine does not let it do its work.
"""
import os
import pathlib
import re
import resource
import shutil
import subprocess
import sys
import tempfile

SKIP = 77


def skip(why):
    print("skipped:", why)
    sys.exit(SKIP)


def gdb(script, arguments, more=()):
    command = ["gdb", "-nx", "-batch", "-iex", "set debuginfod enabled off", "-ex", "set pagination off", *arguments]
    for line in (f"source {script}", "info goroutines", "goroutine all bt", *more):
        command += ["-ex", line]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    return done.stdout + "\n---- stderr\n" + done.stderr


def expect(text, pattern, what):
    if not re.search(pattern, text, re.DOTALL):
        print(f"FAILED: {what}: no match for\n  {pattern}\nin\n{text}")
        sys.exit(1)


def check(text):
    expect(text, r"\n +1 \[", "the main goroutine is listed")
    expect(text, r"\n +\d+ \[chan receive\] in [^\n]*waits_for_value[^\n]*, started at [^\n]*spawns_them[^\n]* by goroutine 1\n",
           "the receiver, where it waits and who started it")
    expect(text, r"\n +\d+ \[sync\.WaitGroup\.Wait\] in [^\n]*waits_for_group", "the waiter for the group")
    expect(text, r"goroutine \d+ \[chan receive\]:\n(#[^\n]*\n)*#\d+ [^\n]*waits_for_value[^\n]*\n#\d+ [^\n]*calls_the_waiter[^\n]*\n",
           "the receiver's frames in order")
    expect(text, r"goroutine \d+ \[sync\.WaitGroup\.Wait\]:\n(#[^\n]*\n)*#\d+ [^\n]*waits_for_group", "the waiter's frames")
    for complaint in ("corrupt stack", "Traceback", "Error while", "Python Exception"):
        if complaint in text:
            print(f"FAILED: gdb says '{complaint}':\n{text}")
            sys.exit(1)


def live(target, script):
    process = subprocess.Popen([target, "wait"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        if process.stdout.readline() != "ready\n":
            print("FAILED: the target did not come up")
            sys.exit(1)
        text = gdb(script, ["-p", str(process.pid)], ["goroutine 999999 bt", "goroutine x bt"])
        if "Operation not permitted" in text or "ptrace: " in text and "[chan receive]" not in text:
            skip("this machine does not let gdb attach")
        check(text)
        expect(text, r"no goroutine 999999; info goroutines lists them", "an id that does not exist")
        expect(text, r"usage: goroutine ID COMMAND", "no id")
        process.stdin.close()
        if process.wait(timeout=30) != 0:
            print("FAILED: the process did not survive the visit")
            sys.exit(1)
    finally:
        process.kill()
        process.wait()


def core(target, script):
    with tempfile.TemporaryDirectory() as directory:
        resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
        if resource.getrlimit(resource.RLIMIT_CORE)[0] == 0:
            skip("no core files allowed here (ulimit -Hc)")
        # The heap's reservation is half a terabyte of address space, which a dump would walk: less will do.
        subprocess.run([target, "abort"], cwd=directory, timeout=100, check=False, env={**os.environ, "WARREN_HEAP_RESERVE": "64M"},
                       stderr=subprocess.DEVNULL)
        files = [f for f in pathlib.Path(directory).iterdir() if f.name.startswith("core")]
        if not files:
            skip("the kernel writes core files elsewhere (kernel.core_pattern)")
        check(gdb(script, [target, str(files[0])]))


def main():
    target, script, mode = sys.argv[1:]
    if shutil.which("gdb") is None:
        skip("no gdb; deploy/packages.sh test installs it")
    {"live": live, "core": core}[mode](target, script)
    print("ok")


main()
