#!/usr/bin/env bash
# From a bare Debian 12 to a running gRPC server.
#
#   deploy/quickstart.sh [-- WARREND-OPTIONS…]   installs what is missing, builds build/release, runs warrend in the foreground
#   deploy/quickstart.sh --smoke                 the same, but tries it: calls by the official gRPC C++ client, a scrape of /metrics,
#                                                SIGTERM; exit status 0 if all of it went well
#
# warrend prints its addresses when it is ready; Ctrl-C or SIGTERM ends it in good order.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'quickstart: %s\n' "$*"; }
die() {
  printf 'quickstart: %s\n' "$*" >&2
  exit "${status:-1}"
}

smoke=no
while [[ $# -gt 0 ]]; do
  case $1 in
    --smoke) smoke=yes ;;
    -h | --help)
      sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
      exit 0
      ;;
    --)
      shift
      break
      ;;
    *) status=2 die "unknown option '$1'; use --smoke, or put warrend's own options behind --" ;;
  esac
  shift
done
if [[ $smoke == yes && $# -gt 0 ]]; then status=2 die "--smoke takes no warrend options ('$1'): it chooses its own ports"; fi

deploy/packages.sh build

targets=(warrend greeter_server)
if [[ $smoke == yes ]]; then targets+=(smoke_client); fi
log=build/quickstart.log
mkdir -p build
say "building ${targets[*]} (details in $log)"
if ! { cmake --preset release && cmake --build --preset release --target "${targets[@]}"; } >"$log" 2>&1; then
  tail -n 40 "$log" >&2
  die "the build failed; all of its output is in $log"
fi

if [[ $smoke == no ]]; then
  exec build/release/bin/warrend "$@"
fi

# --- smoke ------------------------------------------------------------------------------------------------------------------------------

output=$(mktemp)
server=
end() {
  if [[ -n $server ]]; then kill -KILL "$server" 2>/dev/null || true; fi
  rm -f "$output" "$output.metrics"
}
trap end EXIT
fail() {
  printf -- '--- warrend said:\n' >&2
  cat "$output" >&2
  die "smoke: $*"
}

build/release/bin/warrend --listen 127.0.0.1:0 --admin 127.0.0.1:0 >"$output" 2>&1 &
server=$!

# Prints the address on the line that begins with $1, once warrend has printed it.
address_after() {
  local tries address
  for ((tries = 0; tries < 300; ++tries)); do
    address=$(sed -n "s/^$1 *\(127\.0\.0\.1:[0-9][0-9]*\).*/\1/p" "$output" | head -n 1)
    if [[ -n $address ]]; then
      echo "$address"
      return
    fi
    kill -0 "$server" 2>/dev/null || return 1
    sleep 0.1
  done
  return 1
}
target=$(address_after 'listening on') || fail "warrend did not print 'listening on ADDR:PORT' within 30 seconds"
admin=$(address_after 'admin on') || fail "warrend did not print its admin address"
say "warrend serves gRPC on $target, metrics on $admin"

build/release/bin/smoke_client --target "$target" || fail "the gRPC client found a fault"

curl --silent --show-error --fail --max-time 10 "http://$admin/metrics" >"$output.metrics" || fail "/metrics could not be read"
for name in go_goroutines go_gc_duration_seconds go_memstats_heap_alloc_bytes process_cpu_seconds_total grpc_server_handled_total; do
  grep -q "^$name" "$output.metrics" || fail "/metrics lacks $name"
done
say "/metrics: $(grep -c -v '^#' "$output.metrics") samples"
promtool=$(command -v promtool || echo build/tools/promtool)
if [[ -x $promtool ]]; then
  "$promtool" check metrics <"$output.metrics" || fail "promtool does not accept /metrics"
  say "promtool accepts them"
else
  say "promtool is not installed: the format of /metrics was not checked (tests/run.sh does)"
fi

kill -TERM "$server"
code=0
wait "$server" || code=$?
server=
[[ $code -eq 0 ]] || fail "after SIGTERM warrend ended with status $code instead of 0"
say "warrend ended in good order; everything works"
