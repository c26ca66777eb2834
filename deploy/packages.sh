#!/usr/bin/env bash
# The one list of what warren needs from Debian 12, and the one place that installs it.
#
#   deploy/packages.sh SET…         installs what is missing of these sets (see the case below); does nothing when nothing is
#   deploy/packages.sh --list SET…  prints the names, for those who install by other means
#
# Runs as root, or through sudo. Installs only packages that are missing and never upgrades one that is there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'deploy/packages.sh: %s\n' "$*" >&2; }

packages_of() {
  case $1 in
    build)  # everything that `cmake --preset release` looks for; enough for deploy/quickstart.sh and its --smoke
      echo cmake ninja-build g++ python3 pkgconf curl
      echo libasio-dev                                               # vocabulary and composed operations of the sockets
      echo libnghttp2-dev                                            # HTTP/2 framing
      echo zlib1g-dev                                                # gzip and deflate of messages
      echo protobuf-compiler libprotobuf-dev libprotoc-dev           # messages; libprotoc: the plugin
      echo libgrpc++-dev protobuf-compiler-grpc                      # --transport grpcpp, the smoke client, the benchmark's peers
      echo prometheus-cpp-dev                                        # /metrics
      echo libcli11-dev libspdlog-dev libssl-dev                     # flags, server logs, TLS
      echo libgtest-dev googletest libbenchmark-dev                  # tests, benchmarks
      ;;
    test)  # what the tests run beside the build
      echo nghttp2-client procps gdb openssl
      ;;
    clang) echo clang-14 ;;                                          # the second compiler
    lint) echo clang-14 clang-format-14 clang-tidy-14 shellcheck ;;
    arm64) echo g++-aarch64-linux-gnu qemu-user ;;                   # cross build, and the tests under emulation
    bench)  # the peers that bench/run.sh measures against, and h2load
      echo golang-go golang-google-grpc-dev golang-github-golang-protobuf-1-3-dev nghttp2-client
      echo libgc-dev libmimalloc-dev pkg-config  # binary trees
      ;;
    promtool) ;;                                                     # not a package: see fetch_promtool
    *)
      say "unknown set '$1'; use build, test, clang, lint, arm64, bench or promtool"
      exit 2
      ;;
  esac
}

installed() { [[ $(dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null) == ii* ]]; }

# Runs a command with the rights to install; says what is to be done where there are none.
as_root() {
  if [[ $(id -u) -eq 0 ]]; then
    env DEBIAN_FRONTEND=noninteractive "$@"
  elif command -v sudo >/dev/null; then
    sudo env DEBIAN_FRONTEND=noninteractive "$@"
  else
    say "needs root for '$*', and there is neither root nor sudo here; run 'deploy/packages.sh ${sets[*]}' as root, then try again"
    exit 1
  fi
}

lists_are_fresh=no
update_lists() {
  [[ $lists_are_fresh == yes ]] && return
  as_root apt-get update -qq
  lists_are_fresh=yes
}

# promtool (it judges our /metrics in the tests) comes in Debian's package of the whole Prometheus server, which would start a daemon on
# port 9090 of this machine. So the package is unpacked into build/tools instead of installed.
fetch_promtool() {
  if command -v promtool >/dev/null || [[ -x build/tools/promtool ]]; then return; fi
  say "fetching promtool into build/tools"
  update_lists
  local unpacked
  unpacked=$(mktemp -d)
  (
    trap 'rm -rf "$unpacked"' EXIT
    cd "$unpacked"
    apt-get download -qq prometheus
    dpkg-deb -x prometheus_*.deb .
    mkdir -p "$OLDPWD/build/tools"
    install -m 755 usr/bin/promtool "$OLDPWD/build/tools/promtool"
  )
}

list_only=no
if [[ ${1:-} == --list ]]; then
  list_only=yes
  shift
fi
if [[ $# -eq 0 ]]; then
  say "name the sets: build, test, clang, lint, arm64, bench, promtool"
  exit 2
fi
sets=("$@")

names=()
for set in "${sets[@]}"; do
  text=$(packages_of "$set")
  read -r -d '' -a more <<<"$text" || true
  names+=("${more[@]}")
done

if [[ $list_only == yes ]]; then
  printf '%s\n' "${names[@]}" | sort -u
  exit 0
fi

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  say "this is not a Debian system (no dpkg or apt-get); install the equivalents of: $(printf '%s\n' "${names[@]}" | sort -u | xargs)"
  exit 1
fi

missing=()
for name in "${names[@]}"; do
  if ! installed "$name"; then missing+=("$name"); fi
done
if [[ ${#missing[@]} -gt 0 ]]; then
  say "installing: ${missing[*]}"
  update_lists
  as_root apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi
for set in "${sets[@]}"; do
  if [[ $set == promtool ]]; then fetch_promtool; fi
done
