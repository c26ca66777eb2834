#!/usr/bin/env bash
# The checks that read the sources without running them.
#
#   tests/lint.sh          all of them
#   tests/lint.sh --fix    formats the sources in place, then the checks
#   tests/lint.sh --quick  without clang-tidy, which takes a minute or more
#
# clang-format and shellcheck over everything (but golden files, which tests compare byte by byte); clang-tidy over the libraries, servers
# and the plugin (not tests and benchmarks: most of what it says there is about GoogleTest's macros). clang-tidy sees the generated protobuf
# headers, so build/clang is brought up to date first.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fix=no
tidy=yes
for argument in "$@"; do
  case $argument in
    --fix) fix=yes ;;
    --quick) tidy=no ;;
    *)
      echo "tests/lint.sh: unknown option '$argument'; use --fix, --quick or nothing" >&2
      exit 2
      ;;
  esac
done

failed=()
sources() { find . \( -path ./build -o -path ./.git -o -name golden \) -prune -o \( "$@" \) -type f -print0 | sort -z; }

if [[ $fix == yes ]]; then
  sources -name '*.h' -o -name '*.cpp' | xargs -0 -r clang-format-14 -i
fi
count=$(sources -name '*.h' -o -name '*.cpp' | tr -dc '\0' | wc -c)
echo "=== clang-format: $count files"
[[ $count -gt 0 ]] || failed+=("clang-format (found no file)")
sources -name '*.h' -o -name '*.cpp' | xargs -0 -r clang-format-14 --dry-run --Werror ||
  failed+=("clang-format (tests/lint.sh --fix mends it)")

echo "=== shellcheck"
sources -name '*.sh' -o -path ./.ci/run | xargs -0 -r shellcheck || failed+=(shellcheck)

if [[ $tidy == yes ]]; then
  mkdir -p build/clang
  tests/run.sh --no-install --clang --quick >build/clang-for-tidy.log 2>&1 || {
    cat build/clang-for-tidy.log
    failed+=("the clang build")
  }
  mapfile -t files < <(python3 - build/clang/compile_commands.json <<'PY'
import json, os, sys
root = os.getcwd() + os.sep
for entry in json.load(open(sys.argv[1])):
    path = os.path.realpath(os.path.join(entry["directory"], entry["file"]))
    if path.startswith(root) and path.endswith(".cpp") and path[len(root):].split(os.sep)[0] in ("runtime", "netpoll", "server", "proto"):
        print(path[len(root):])
PY
  )
  mapfile -t files < <(printf '%s\n' "${files[@]}" | sort -u)
  echo "=== clang-tidy: ${#files[@]} files"
  [[ ${#files[@]} -gt 1 ]] || failed+=("clang-tidy (found no file)")
  # --quiet leaves the findings; clang's count of warnings suppressed in system headers goes to standard error and says nothing.
  printf '%s\0' "${files[@]}" | xargs -0 -n 4 -P "$(nproc)" clang-tidy-14 --quiet -p build/clang 2>build/clang/clang-tidy.err ||
    failed+=("clang-tidy")
  grep -E 'error:|Error ' build/clang/clang-tidy.err >&2 || true
fi

if [[ ${#failed[@]} -gt 0 ]]; then
  printf 'tests/lint.sh: FAILED: %s\n' "${failed[@]}"
  exit 1
fi
echo 'tests/lint.sh: clean'
