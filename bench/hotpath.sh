#!/bin/sh
# Count the instructions of an operation with callgrind.
#
#   bench/hotpath.sh [BUILD]     BUILD is the build folder, by default build/bench
#
# Each count is the difference between a long and a short run, by the
# difference of their operations: start and end cancel out. One line each, with
# a tab between text and count. In a pair both PSMalloc and PSMfree hit the
# thread's own cache; the other lines include the loop that calls them.
# PEERS limits whose lines there are. QUICK=1: only those of PSM.
set -eu

build=${1:-$(dirname "$0")/../build/bench}
peers=${PEERS:-psm mimalloc jemalloc tcmalloc glibc}
[ "${QUICK:-0}" = 0 ] || peers=psm

if ! command -v valgrind >/dev/null; then
  echo "left out: instruction counts, no valgrind" >&2
  exit 0
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# collected OPS PEER WORKLOAD [callgrind option]: the instructions of one run
collected() {
  valgrind --tool=callgrind --callgrind-out-file="$scratch/out" ${4:-} \
    "$build/bench/bench_$2" "$3" ops="$1" ms=0 live=10000 heap=268435456 \
    >/dev/null 2>"$scratch/log" || { cat "$scratch/log" >&2; exit 1; }
  sed -n 's/.*Collected : *\([0-9]*\).*/\1/p' "$scratch/log"
}

# count TEXT SHORT LONG PEER WORKLOAD [callgrind option]: one line of the result
count() {
  text=$1 short=$2 long=$3
  shift 3
  few=$(collected "$short" "$@")
  many=$(collected "$long" "$@")
  awk -v text="$text" -v n="$((many - few))" -v ops="$((long - short))" \
    'BEGIN { printf "%s\t%.1f\n", text, n / ops }'
}

for peer in $peers; do
  [ -x "$build/bench/bench_$peer" ] || continue
  case $peer in
    psm)
      count "PSMalloc, hit" 10240 112640 psm pair --toggle-collect=PSMalloc
      count "PSMfree, own cache" 10240 112640 psm pair --toggle-collect=PSMfree
      ;;
    boost) continue ;;
  esac
  count "pair, $peer" 10240 112640 "$peer" pair
  count "batches, $peer" 10000 210000 "$peer" batch
  count "replacement of 10,000 live, $peer" 40960 245760 "$peer" replace
done
