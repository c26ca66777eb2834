#!/usr/bin/env bash
# Builds what the benchmarks need, measures ours and the peers' in turns, prints the ratios, and writes bench/results/ and README's table.
#   bench/run.sh                          everything, about an hour
#   bench/run.sh --only sched --rounds 9  one part (sched, heap, gc, net, memory, abuse, attacks, grpc; may be given again)
#   bench/run.sh --quick                  one short round of everything: shows that it works, not how fast; changes no published figure
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
deploy/packages.sh build bench
exec python3 bench/compare.py "$@"
