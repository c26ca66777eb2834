#!/usr/bin/env python3
"""Checks the tables of server/README.md against the code: what stands there in backticks exists, and defaults are the code's.

  limits          each option is a member of server_options or tls_options with the default shown ("4 MiB", "10 s", "no"); every member is
                  in the table, but for those of NO_LIMITS
  refusals        what the caller sees in quotation marks is a text of the server's sources; options exist
  attacks         constants are in server/http2/limits.h with the number shown, samples of /metrics are exported, tests are defined
  transports      options exist, and every member of server_options is named
  the client's    options are members of channel_options, texts are in its sources
  flags           of the executables exist, in the sections that name some

Usage: check_server.py SOURCE_DIRECTORY
"""

import ast
import pathlib
import re
import sys

# Members of the options that bound nothing.
NO_LIMITS = {"listen", "reuse_port", "tls", "transport", "tls.certificate", "tls.key", "tls.client_ca", "tls.require_client_certificate",
             "tls.reload_interval", "tls.on_reload"}
FLAGS_IN = ["TLS", "Health, reflection, channelz", "What a refusal means", "gRPC C++ transport"]
UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000}


def members(header, struct):
    """{name: default} of a struct's data members, as the source spells the default."""
    body = re.search(rf"^struct {struct} {{\n(.*?)^}};", header, re.M | re.S).group(1)
    body = re.sub(r"//.*", "", body)
    return {name: (braced or assigned or "0").strip()
            for name, braced, assigned in re.findall(r"(?:^|;)\s*(?:[\w:]+(?:<[^;]*>)?)\s+(\w+)(?:\{([^};]*)\}|\s*=\s*([^;]+))?(?=;)", body)}


def value(text):
    """The number of a default in C++: 4u << 20, 10'000, false."""
    text = {"false": "0", "true": "1"}.get(text, text)
    text = re.sub(r"(?<=\d)[uUlL]+\b", "", text.replace("'", "_"))
    parsed = ast.parse(text, mode="eval").body
    if isinstance(parsed, ast.BinOp) and isinstance(parsed.op, ast.LShift):
        return parsed.left.value << parsed.right.value
    return parsed.value


def shown_value(text):
    """The number of a default in the table: "4 MiB", "2 h", "no", "0: 1 MiB, and growing" (what stands before the colon)."""
    text = text.strip().split(":")[0]
    if text in ("no", "yes"):
        return int(text == "yes")
    number, _, unit = text.partition(" ")
    return int(number) * UNITS.get(unit, 1)


def section(readme, heading):
    return readme.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def table_after(readme, heading, header):
    """The body rows, as lists of cells, of the table with that header line under a heading."""
    lines = section(readme, heading).splitlines()
    at = lines.index(header)
    rows = []
    for line in lines[at + 2:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line[1:-1].split("|")])
    assert rows, f"no table under {heading}"
    return rows


def quoted(cell):
    return re.findall(r"`([^`]+)`", cell)


def check_limits(readme, options):
    seen = set()
    for names, defaults, _ in table_after(readme, "Limits and their defaults", "| option | default | what it bounds |"):
        fields = [name for name in quoted(names) if not name.startswith("server::")]
        shown = re.split(r", (?!and )", defaults) if len(fields) > 1 else [defaults]
        shown = shown * len(fields) if len(shown) == 1 else shown
        if shown[0].startswith("0:"):
            shown = ["0"] * len(fields)
        if len(shown) != len(fields):
            yield f"{names}: {len(fields)} options and {len(shown)} defaults"
            continue
        for field, default in zip(fields, shown):
            seen.add(field)
            if field not in options:
                yield f"{field} is no option"
            elif value(options[field]) != shown_value(default):
                yield f"{field} is {options[field]} in the code, and {default} in the table"
    for missing in sorted(set(options) - seen - NO_LIMITS):
        yield f"{missing} is not in the table of limits"


def spoken(sources, text):
    """Is this a text of the sources? An ellipsis stands for what differs from time to time."""
    return all(part.strip() in sources for part in text.split("…"))


def check_refusals(rows, options, sources):
    for sees, _, option in rows:
        for text in re.findall(r'"([^"]+)"', sees):
            if not spoken(sources, text):
                yield f"the sources do not say \"{text}\""
        for name in quoted(option):
            if re.fullmatch(r"[a-z_.]+", name) and name not in options and not re.search(rf"\b(class|bool) {name}\b", sources):
                yield f"{name} is no option"


def check_attacks(readme, options, limits, metrics, headers, tests):
    for attack, limit, metric, test in table_after(readme, "Attacks", "| attack | limit | metric (`warren_grpc_…`) | test |"):
        for name, number in re.findall(r"`(k[A-Z]\w+)`(?: ([\d ]*\d))?", limit):
            constant = re.search(rf"\b{name} = ([^;]+);", limits)
            if constant is None:
                yield f"{attack}: there is no {name}"
            elif number and value(constant.group(1)) != int(number.replace(" ", "")):
                yield f"{attack}: {name} is {constant.group(1)}"
        for name in quoted(limit):
            if re.fullmatch(r"[a-z_]+(\.[a-z_]+)?", name) and name not in options:
                yield f"{attack}: {name} is no option"
        for name in quoted(metric):
            family, _, labels = name.partition("{")
            if family.endswith("()"):  # a counter of an object that users make
                if f" {family}" not in headers:
                    yield f"{attack}: there is no {family}"
            elif family and family != "…" and f'"warren_grpc_{family}"' not in metrics and f'"{family}"' not in metrics:
                yield f"{attack}: no metric {family}"
            for label in re.findall(r'(?:reason|result)="(\w+)"', labels):
                if f'"{label}"' not in metrics:
                    yield f"{attack}: no metric has the label {label}"
        for name in quoted(test):
            suite, _, case = name.partition(".")
            case = re.escape(case.rstrip("*…")) + (r"\w*" if case[-1:] in "*…" else "")
            if not re.search(rf"\bTEST(?:_F|_P)?\({suite}, {case}\)", tests):
                yield f"{attack}: no test {name}"


def check_transports(readme, options):
    rows = table_after(readme, "gRPC C++ transport", "| | native | grpcpp |")
    text = " ".join(" ".join(row) for row in rows)
    named = [re.escape(name).replace(r"\*", r"\w*") for name in quoted(text)]
    for name in sorted(set(options) - {"tls", "transport"}):
        if not name.startswith("tls.") and not any(re.fullmatch(pattern, name) for pattern in named):
            yield f"the table of transports does not name {name}"
    for name in quoted(rows[0][2]):
        if not any(re.fullmatch(re.escape(name).replace(r"\*", r"\w*"), option) for option in [*options, "limit"]):
            yield f"{name} is no option"


def check_flags(readme, parser):
    for heading in FLAGS_IN:
        flags = re.findall(r"`(--[a-z-]+)", section(readme, heading))
        if not flags:
            yield f"{heading} names no flag"
        for flag in flags:
            if not re.search(rf'[",!]{flag}[",]', parser):
                yield f"{heading}: the executables have no {flag}"


def main():
    root = pathlib.Path(sys.argv[1])

    def read(*patterns):
        return "\n".join(file.read_text() for pattern in patterns for file in sorted(root.glob(pattern)))

    readme = (root / "server" / "README.md").read_text()
    include = root / "server" / "include" / "warren"
    options = members((include / "grpc" / "server.h").read_text(), "server_options")
    options |= {f"tls.{name}": default for name, default in members((include / "grpc" / "tls.h").read_text(), "tls_options").items()}
    client = members(read("server/include/warren/grpc/channel.h"), "channel_options")
    # Texts that a compiler would put together from several literals.
    sources = re.sub(r'"\s*\n\s*"', "", read("server/grpc/*.cpp", "server/grpc/*.h", "server/http2/*.cpp", "server/include/warren/*.h",
                                            "server/include/warren/grpc/*.h"))
    client_sources = re.sub(r'"\s*\n\s*"', "", read("server/client/*.cpp", "server/client/*.h", "server/include/warren/grpc/client*.h"))
    faults = list(check_limits(readme, options))
    faults += check_refusals(table_after(readme, "What a refusal means", "| the caller sees | because | option |"), options, sources)
    faults += check_refusals(table_after(readme, "Calling services", "| the call ends with | because | option |"), client, client_sources)
    faults += check_attacks(readme, options, read("server/http2/limits.h", "server/grpc/limits.h"), read("server/admin/*.cpp"),
                            read("server/include/warren/grpc/*.h"), re.sub(r"\s+", " ", read("tests/server/**/*.cpp")))
    faults += check_transports(readme, options)
    faults += check_flags(readme, read("server/host/flags.cpp"))
    print(f"{len(options)} options of the server, {len(client)} of the channel")
    print("\n".join(faults))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
