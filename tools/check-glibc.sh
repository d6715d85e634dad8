#!/bin/sh
# The shared library needs nothing of glibc that is younger than 2.28, on which the wheels
# for Linux are built. Symbols that are younger only by their version do not count: glibc
# 2.33 and 2.34 gave new ones to old functions.
# usage: check-glibc.sh [LIBRARY]
set -eu
library=${1:-$(dirname "$0")/../build/release/libpsm.so}
newest=28
renamed='^(f?stat|lstat|fstatat)(64)?$|^pthread_'

work=$(mktemp)
trap 'rm -f "$work"' EXIT

objdump -T "$library" | sed -n 's/.*(*GLIBC_2\.\([0-9]*\)[0-9.]*)* *\([A-Za-z_0-9]*\)$/\1 \2/p' | sort -u >"$work"
if [ ! -s "$work" ]; then
  echo "skipped: $library is not linked with glibc"
  exit 77
fi
younger=$(awk -v newest=$newest -v renamed="$renamed" '$1 > newest && $2 !~ renamed { print $2 }' "$work")
if [ -n "$younger" ]; then
  echo "younger than glibc 2.$newest:" "$younger" >&2
  exit 1
fi
echo "$(wc -l <"$work") symbols of glibc, ok"
