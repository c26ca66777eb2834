#!/usr/bin/env python3
"""Checks what the documents promise: commands that exist, with the options shown, and links that lead somewhere.

Commands are the lines of README.md's and CONTRIBUTING.md's plain and `sh` code blocks, and what stands there in backticks, that begin with
the path of a script of this tree or of build/release/bin. A script must be executable and spell out every option shown; an executable must
exist among those built (--bin) and list the option in its --help. Relative links of every Markdown file must lead to a file.

Usage: check_docs.py SOURCE_DIRECTORY [--bin DIRECTORY]
"""

import argparse
import pathlib
import re
import shlex
import subprocess
import sys

# The commands a newcomer is told to type; README.md must contain them whatever else it says.
REQUIRED = ["deploy/quickstart.sh", "tests/run.sh"]


def commands_of(text):
    """Every shell command shown in the text."""
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.M | re.S):
        if language in ("", "sh"):
            for line in block.splitlines():
                yield line.removeprefix("$ ")
    prose = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    yield from re.findall(r"`([^`\n]+)`", prose)


def check_command(root, bin_directory, command):
    try:
        words = shlex.split(command, comments=True)
    except ValueError:
        return
    if not words:
        return
    program = words[0]
    options = [word.split("=")[0] for word in words[1:] if re.match(r"--\w", word)]
    if re.match(r"(deploy|tests|bench)/[\w/.-]+\.(sh|py)$|\.ci/run$", program):
        script = root / program
        if not script.is_file():
            yield f"no script {program}"
            return
        if not script.stat().st_mode & 0o100:
            yield f"{program} is not executable"
        text = script.read_text()
        for option in options:
            if option not in text:
                yield f"{program} knows no {option}"
    elif program.startswith("build/release/bin/") and bin_directory:
        executable = bin_directory / pathlib.Path(program).name
        if not executable.is_file():
            yield f"{program} is not among the executables built"
            return
        if options:
            usage = subprocess.run([executable, "--help"], capture_output=True, text=True, timeout=60, check=False).stdout
            for option in options:
                if option not in usage:
                    yield f"{program} --help does not list {option}"


def check_links(root, file, text):
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:|#", target):
            continue
        if not (file.parent / target.split("#")[0]).exists():
            yield f"the link {target} leads nowhere"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("--bin", type=pathlib.Path)
    arguments = parser.parse_args()
    root = arguments.source.resolve()

    faults, checked = [], 0
    documents = [file for file in sorted(root.rglob("*.md")) if file.relative_to(root).parts[0] not in ("build", ".git")]
    for file in documents:
        text = file.read_text()
        here = list(check_links(root, file, text))
        if file.parent == root:
            for command in commands_of(text):
                checked += 1
                here += check_command(root, arguments.bin, command)
        faults += [f"{file.relative_to(root)}: {fault}" for fault in here]

    shown = list(commands_of((root / "README.md").read_text()))
    for command in REQUIRED:
        if not any(line.split("#")[0].strip() == command for line in shown):
            faults.append(f"README.md does not show the command {command}")

    print(f"{len(documents)} documents, {checked} commands and names looked at")
    print("\n".join(faults))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
