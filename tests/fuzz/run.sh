#!/usr/bin/env bash
# Builds the libFuzzer targets and runs them, as many at once as there are processors.
#
#   tests/fuzz/run.sh                            all of them, a minute each
#   tests/fuzz/run.sh --seconds 3600 grpc_message http2_session
#
# Options:
#   --seconds S     how long each runs (60)
#   --keep          afterwards takes a few inputs that reach all code the others did over into tests/fuzz/corpus, to be committed
#   --no-install    installs nothing; for machines where that is somebody else's job
#
# Each starts from tests/fuzz/corpus/NAME and from what earlier runs left in build/fuzz/corpus/NAME. An input that makes a target fail is
# kept in build/fuzz/findings, and the exit status is then 1; `build/fuzz/bin/NAME_fuzz FILE` repeats it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

die() {
  printf 'tests/fuzz/run.sh: %s\n' "$*" >&2
  exit 2
}

seconds=60
keep=no
install=yes
names=()
while [[ $# -gt 0 ]]; do
  case $1 in
    --seconds)
      [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || die "--seconds takes a whole number from 1 on, not '${2:-}'"
      seconds=$2
      shift
      ;;
    --keep) keep=yes ;;
    --no-install) install=no ;;
    -h | --help)
      sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
      exit 0
      ;;
    -*) die "unknown option '$1'; tests/fuzz/run.sh --help lists them" ;;
    *)
      [[ -f tests/fuzz/$1_fuzz.cpp ]] || die "there is no target '$1'; there are: $(basename -s _fuzz.cpp -a tests/fuzz/*_fuzz.cpp | xargs)"
      names+=("$1")
      ;;
  esac
  shift
done
if [[ ${#names[@]} -eq 0 ]]; then mapfile -t names < <(basename -s _fuzz.cpp -a tests/fuzz/*_fuzz.cpp); fi

if [[ $install == yes ]]; then deploy/packages.sh build test clang; fi

cmake --preset asan -B build/fuzz -DCMAKE_C_COMPILER=clang-14 -DCMAKE_CXX_COMPILER=clang++-14 -DWARREN_BUILD_SERVER=ON -DWARREN_FUZZ=ON
cmake --build build/fuzz -j "$(nproc)" --target "${names[@]/%/_fuzz}"

mkdir -p build/fuzz/findings build/fuzz/logs
status=0
# A run that is stopped takes its fuzzers with it.
trap 'jobs -p | xargs -r kill 2>/dev/null || true' EXIT
running=0
for name in "${names[@]}"; do
  if [[ $running -ge $(nproc) ]]; then
    wait -n || status=1
    running=$((running - 1))
  fi
  mkdir -p "build/fuzz/corpus/$name"
  "build/fuzz/bin/${name}_fuzz" -max_total_time="$seconds" -timeout=60 -report_slow_units=60 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="build/fuzz/findings/$name-" "build/fuzz/corpus/$name" "tests/fuzz/corpus/$name" >"build/fuzz/logs/$name.log" 2>&1 &
  running=$((running + 1))
done
while [[ $running -gt 0 ]]; do
  wait -n || status=1
  running=$((running - 1))
done

for name in "${names[@]}"; do
  log=build/fuzz/logs/$name.log
  runs=$(awk '/^stat::number_of_executed_units/ { print $2 }' "$log")
  if finding=$(grep -o 'Test unit written to .*' "$log"); then
    status=1
    printf 'fuzz: %s: FAILED: %s; its report is in %s\n' "$name" "${finding#Test unit written to }" "$log"
  elif [[ -z $runs || $runs -eq 0 ]]; then
    status=1
    printf 'fuzz: %s: FAILED: it ran no input; see %s\n' "$name" "$log"
  else
    printf 'fuzz: %s: %d runs in %d s, %s edges, no finding\n' "$name" "$runs" "$seconds" \
      "$(grep -oE 'cov: [0-9]+' "$log" | awk 'END { print $2 + 0 }')"
  fi
done

if [[ $keep == yes ]]; then
  for name in "${names[@]}"; do
    "build/fuzz/bin/${name}_fuzz" -merge=1 -use_counters=0 "tests/fuzz/corpus/$name" "build/fuzz/corpus/$name" >"build/fuzz/logs/$name.merge.log" 2>&1 ||
      die "merging the inputs of $name failed; see build/fuzz/logs/$name.merge.log"
  done
fi
exit "$status"
