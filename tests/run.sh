#!/usr/bin/env bash
# Builds warren and runs its tests, from a bare Debian 12 on: installs what is missing first.
#
#   tests/run.sh             the release build and every test
#   tests/run.sh --asan      runtime and netpoll under AddressSanitizer, with their tests
#   tests/run.sh --tsan      the same under ThreadSanitizer
#   tests/run.sh --tiny      the same with tiny capacities and random yields; WARREN_SEED=n for other ones
#   tests/run.sh --arm64     the runtime cross-built for aarch64, its tests under qemu-user
#   tests/run.sh --clang     everything built and tested with clang 14
#   tests/run.sh --kqueue    netpoll on its kqueue back end, with its tests; the kqueue library is that of CMAKE_PREFIX_PATH, if set there,
#                            else a small one on top of epoll that comes with the tests (tests/netpoll/kqueue)
#
# Several may be named: they run one after the other. Options:
#   --quick                  leaves out the tests labelled "stress"; with --tiny builds and runs those of runtime/sched and runtime/sync only;
#                            with --clang builds libraries and servers only, and runs nothing
#   --server                 with --asan or --tsan: the server and the client instead, in a build folder of their own, with their tests; with
#                            --tsan those that need no gRPC C++ (server/README.md, "Under the sanitizers")
#   --no-install             installs nothing; for machines where that is somebody else's job
#   -- ARGUMENTS…            go to ctest, e.g. `-- -R chan`
#
# A compiler warning is an error with --clang and in CI (CI=true). Ends with one summary line per build; the exit status is 0 only if every
# build and every test passed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() { sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; }
die() {
  printf 'tests/run.sh: %s\n' "$*" >&2
  exit 2
}

modes=()
quick=no
server=no
install=yes
ctest_arguments=()
while [[ $# -gt 0 ]]; do
  case $1 in
    --asan | --tsan | --tiny | --arm64 | --clang | --kqueue | --release) modes+=("${1#--}") ;;
    --quick) quick=yes ;;
    --server) server=yes ;;
    --no-install) install=no ;;
    -h | --help)
      usage
      exit 0
      ;;
    --)
      shift
      ctest_arguments=("$@")
      break
      ;;
    *) die "unknown option '$1'; tests/run.sh --help lists them (ctest's own go behind --)" ;;
  esac
  shift
done
if [[ ${#modes[@]} -eq 0 ]]; then modes=(release); fi
if [[ $quick == yes ]]; then ctest_arguments+=(-LE stress); fi
if [[ $server == yes ]]; then
  for i in "${!modes[@]}"; do
    case ${modes[i]} in
      asan | tsan) modes[i]+=-server ;;
      *) die "--server goes with --asan and --tsan alone" ;;
    esac
  done
fi

if [[ $install == yes ]]; then
  sets=(build test promtool)
  for mode in "${modes[@]}"; do
    case $mode in clang | arm64) sets+=("$mode") ;; esac
  done
  deploy/packages.sh "${sets[@]}"
fi
export PATH="$PWD/build/tools:$PATH"  # promtool, where deploy/packages.sh had to put it there

# With more compilers at once than memory can hold (gRPC's headers take about 1 GB each) the machine swaps; one per 1.5 GB it is.
jobs=$(nproc)
memory_jobs=$(awk '/MemAvailable/ { n = int($2 / 1572864); print n < 1 ? 1 : n }' /proc/meminfo)
if [[ $memory_jobs -lt $jobs ]]; then jobs=$memory_jobs; fi

summaries=()

# ThreadSanitizer of GCC 12 knows only the address layout of kernels with little randomisation: without it, it runs everywhere.
fixed_addresses=()
if setarch -R true 2>/dev/null; then fixed_addresses=(setarch -R); fi

# Runs the tests of build directory $2 and adds a line about them to the summary.
run_ctest() {
  local mode=$1 directory=$2 status=0
  local log=$directory/ctest-summary.txt cases=$directory/Testing/Temporary/LastTest.log
  local -a prefix=()
  if [[ $mode == tsan* ]]; then prefix=("${fixed_addresses[@]}"); fi
  # What other programs of a shared machine do can show in tests of threads, most of all under the sanitizers: a test that fails is tried
  # twice more. What fails every time fails; ctest names what did not pass at once.
  "${prefix[@]}" ctest --repeat until-pass:3 --test-dir "$directory" --output-on-failure --no-tests=error -j "$jobs" "${ctest_arguments[@]}" 2>&1 |
    tee "$log" || status=1
  local line passed skipped
  line=$(grep -E '^[0-9]+% tests passed' "$log" || echo 'no test ran')
  passed=$(awk '/^\[  PASSED  \] [0-9]+ test/ { n += $4 } END { print n + 0 }' "$cases" 2>/dev/null || echo 0)
  # GoogleTest lists a skipped case twice, the second time without its duration.
  skipped=$(grep -E '^\[  SKIPPED \] [A-Za-z_0-9/]+\.[A-Za-z_0-9/]+$' "$cases" 2>/dev/null | awk '{ print $4 }' | sort -u | xargs || true)
  summaries+=("$mode: $line; $passed GoogleTest cases passed${skipped:+; skipped: $skipped}")
  if grep -q '^The following tests did not run:' "$log"; then
    summaries+=("$mode: $(sed -n '/^The following tests did not run:/,/^$/p' "$log" | xargs)")
  fi
  return "$status"
}

# Not -Werror for everybody: it would compile everything anew that deploy/quickstart.sh has compiled without it.
strict=()
if [[ ${CI:-} == true ]]; then strict=(-DCMAKE_COMPILE_WARNING_AS_ERROR=ON); fi

configure_and_build() {
  local directory=$1
  shift
  cmake "$@" "${strict[@]}" && cmake --build "$directory" -j "$jobs"
}

# The server and the client. With AddressSanitizer all their tests but those that build a project of somebody else's, which is not instrumented;
# with ThreadSanitizer those that need no gRPC C++ (nor try the command line, the plugin, the examples).
sanitized_server() {
  local sanitizer=$1 folder=build/$1-server status=0
  local -a targets=(tests/server/all)
  local left_out='outside_'
  if [[ $sanitizer == tsan ]]; then
    targets=(tests/server/{http2,grpc,client,tls,services,admin}/all)
    left_out+='|grpcpp_|interop_|warren_interop_|smoke_|plugin_|conformance_|(flags|bad_input|secure|drain|scrape)_test$'
  fi
  cmake --preset "$sanitizer" -B "$folder" -DWARREN_BUILD_SERVER=ON "${strict[@]}" &&
    cmake --build "$folder" -j "$jobs" --target "${targets[@]}" || return 1
  ctest_arguments+=(-E "^($left_out)")
  run_ctest "$sanitizer-server" "$folder/tests/server" || status=1
  ctest_arguments=("${ctest_arguments[@]:0:${#ctest_arguments[@]}-2}")
  return "$status"
}

run_mode() {
  local mode=$1
  case $mode in
    tiny)
      local -a part=()
      if [[ $quick == yes ]]; then part=(--target tests/runtime/sched/all tests/runtime/sync/all); fi
      cmake --preset tiny "${strict[@]}" && cmake --build build/tiny -j "$jobs" "${part[@]}" || return 1
      if [[ $quick == no ]]; then
        run_ctest tiny build/tiny
      else
        local status=0
        run_ctest tiny build/tiny/tests/runtime/sched || status=1
        run_ctest tiny build/tiny/tests/runtime/sync || status=1
        return "$status"
      fi
      ;;
    release | asan | tsan | arm64)
      configure_and_build "build/$mode" --preset "$mode" && run_ctest "$mode" "build/$mode"
      ;;
    asan-server | tsan-server) sanitized_server "${mode%-server}" ;;
    kqueue)
      local kqueue_prefix=${CMAKE_PREFIX_PATH:-}
      if [[ -z $kqueue_prefix ]]; then
        kqueue_prefix=$PWD/build/kqueue-library/prefix
        configure_and_build build/kqueue-library -S tests/netpoll/kqueue -B build/kqueue-library -G Ninja -DCMAKE_BUILD_TYPE=Release \
          -DCMAKE_INSTALL_PREFIX="$kqueue_prefix" && cmake --install build/kqueue-library || return 1
      fi
      configure_and_build build/kqueue -S . -B build/kqueue -G Ninja -DCMAKE_BUILD_TYPE=Release -DWARREN_NETPOLL=kqueue \
        -DCMAKE_PREFIX_PATH="$kqueue_prefix" -DWARREN_BUILD_SERVER=OFF -DWARREN_BUILD_BENCH=OFF || return 1
      ctest_arguments+=(-L netpoll)
      local status=0
      run_ctest kqueue build/kqueue || status=1
      ctest_arguments=("${ctest_arguments[@]:0:${#ctest_arguments[@]}-2}")
      return "$status"
      ;;
    clang)
      local parts=ON
      if [[ $quick == yes ]]; then parts=OFF; fi
      configure_and_build build/clang -S . -B build/clang -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_EXPORT_COMPILE_COMMANDS=ON \
        -DCMAKE_C_COMPILER=clang-14 -DCMAKE_CXX_COMPILER=clang++-14 -DCMAKE_COMPILE_WARNING_AS_ERROR=ON \
        -DWARREN_BUILD_TESTS=$parts -DWARREN_BUILD_BENCH=$parts || return 1
      if [[ $quick == yes ]]; then
        summaries+=("clang: libraries and servers built without a warning")
      else
        run_ctest clang build/clang
      fi
      ;;
  esac
}

failed=()
for mode in "${modes[@]}"; do
  printf '\n=== tests/run.sh: %s\n' "$mode"
  before=${#summaries[@]}
  if ! run_mode "$mode"; then
    failed+=("$mode")
    if [[ ${#summaries[@]} -eq $before ]]; then summaries+=("$mode: the build failed"); fi
  fi
done

printf '\n=== tests/run.sh: summary\n'
printf '%s\n' "${summaries[@]}"
if [[ ${#failed[@]} -gt 0 ]]; then
  printf 'tests/run.sh: FAILED: %s\n' "${failed[*]}"
  exit 1
fi
echo 'tests/run.sh: all passed'
