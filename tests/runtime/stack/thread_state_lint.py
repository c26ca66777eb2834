#!/usr/bin/env python3
"""Refuses what a goroutine must not use because it belongs to the thread: a goroutine may wake on another one.

    thread_state_lint.py ROOT        checks the sources below ROOT
    thread_state_lint.py --self-test checks that each rule finds a seeded violation, and nothing in comments and strings

Compilers take the address of a thread_local, of errno, and the value of pthread_self() for constant within a function (the latter two are
declared const) and keep them in a register across a call that parks. So: one thread_local in the whole runtime, read by one
accessor in assembly; errno only in files that read it next to the system call; the thread's identity only where threads are made.
"""
import pathlib
import re
import sys
import tempfile

SUFFIXES = {".h", ".hpp", ".cpp", ".cc", ".c", ".S"}

# runtime/world.cpp, memory_limit.cpp and heap/reservation.cpp parse numbers from the environment when the runtime starts; heap/scavenger.cpp
# asks madvise why not, in a critical section; world.cpp asks for the calling thread's
# stack in a check that is called through a pointer and never parks. runtime/sched/preempt.cpp saves errno around a signal's handler, and
# runtime/os/thread_probe.cpp asks for the clock of a thread that is being started.
# What, where it is refused, the files (or folders, ending in /) that may use it, how often at most, why.
RULES = [
    (re.compile(r"\b(thread_local|__thread)\b"), ["runtime/", "netpoll/", "server/"], {"runtime/sched/m.cpp": 1},
     "the runtime has one thread-local variable, in runtime/sched/m.cpp; keep per-thread state in m, per-goroutine state in g"),
    (re.compile(r"\berrno\b(?!\.h)"), ["runtime/", "netpoll/"],
     {"runtime/os/": None, "runtime/stack/": None, "runtime/heap/reservation.cpp": None, "runtime/world.cpp": None,
      "runtime/memory_limit.cpp": 4, "runtime/heap/scavenger.cpp": 1,
      "runtime/sched/preempt.cpp": 2, "netpoll/sys.cpp": None, "netpoll/sys_call.h": None, "netpoll/notify.cpp": 2, "netpoll/sys_process.cpp": None},
     "errno is read next to the system call, in a file that never parks (listed in thread_state_lint.py); I/O reports by value"),
    (re.compile(r"\b(pthread_self|this_thread|__cxa_get_globals|__errno_location)\b"), ["runtime/", "netpoll/"],
     {"runtime/stack/switch.cpp": None, "runtime/sched/m.cpp": None, "runtime/world.cpp": None,
      "runtime/os/thread_probe.cpp": None},
     "declared const: the compiler keeps its value across a park; ask getm(), or list the file in thread_state_lint.py with a reason"),
]

TOKENS = re.compile(
    r"""//[^\n]*|/\*.*?\*/|R"(?P<d>[^(\s]*)\(.*?\)(?P=d)"|"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'""", re.DOTALL)


def code_only(text):
    """The text with comments and literals blanked, line numbers kept."""
    return TOKENS.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)


def allowance(path, allowed):
    """How many uses the file may have: None without limit, 0 none."""
    for name, count in allowed.items():
        if path == name or (name.endswith("/") and path.startswith(name)):
            return count
    return 0


def check(root):
    findings = []
    files = 0
    for folder in ("runtime", "netpoll", "server"):
        for path in sorted((root / folder).rglob("*")):
            if path.suffix not in SUFFIXES or not path.is_file():
                continue
            files += 1
            name = path.relative_to(root).as_posix()
            code = code_only(path.read_text(encoding="utf-8"))
            for pattern, folders, allowed, why in RULES:
                if not any(name.startswith(f) for f in folders):
                    continue
                limit = allowance(name, allowed)
                if limit is None:
                    continue
                for match in list(pattern.finditer(code))[limit:]:
                    line = code.count("\n", 0, match.start()) + 1
                    findings.append(f"{name}:{line}: {match.group()}: {why}")
    if files == 0:
        findings.append(f"{root}: no sources found; give the repository's root")
    return findings


def self_test():
    with tempfile.TemporaryDirectory() as tmp:
        root = pathlib.Path(tmp)

        def put(name, text):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")

        put("runtime/sched/m.cpp", "thread_local int one;  // the thread_local\n")
        put("runtime/os/futex.cpp", "int f() { return errno; }\n")
        put("runtime/ok.cpp", '// errno\n/* thread_local\n*/ const char* s = "pthread_self \\" __thread"; int n = 1\'000\'000;\nint errno_of;\n')
        assert check(root) == [], check(root)
        put("runtime/sched/m.cpp", "thread_local int one;\nthread_local int two;\n")
        put("server/x.h", "\n\nstatic __thread int three;\n")
        put("netpoll/y.cpp", "int e = errno;\nauto t = std::this_thread::get_id();\n")
        put("runtime/z.cpp", "int n = 1'000; auto t = pthread_self(); int m = 1'000;\n")
        found = [finding.split(": ")[0] for finding in check(root)]
        assert found == ["runtime/sched/m.cpp:2", "runtime/z.cpp:1", "netpoll/y.cpp:1", "netpoll/y.cpp:2", "server/x.h:3"], found
    print("thread_state_lint: the rules find what they should")


def main():
    if sys.argv[1:] == ["--self-test"]:
        self_test()
        return 0
    if len(sys.argv) != 2:
        print("thread_state_lint: give the repository's root, or --self-test", file=sys.stderr)
        return 2
    findings = check(pathlib.Path(sys.argv[1]))
    print("\n".join(findings) if findings else "thread_state_lint: clean")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
