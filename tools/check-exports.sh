#!/bin/sh
# The shared library exports exactly the functions of the public header, and
# all of them begin with PSM.
# usage: check-exports.sh [LIBRARY]
set -eu
tools=$(cd "$(dirname "$0")" && pwd)
library=${1:-$tools/../build/release/libpsm.so}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

PYTHONPATH=$tools PYTHONDONTWRITEBYTECODE=1 \
  python3 -c 'import fenced; print("\n".join(fenced.functions()))' | LC_ALL=C sort >"$work/declared"
nm -D --defined-only "$library" >"$work/nm"
awk '{ print $NF }' "$work/nm" | LC_ALL=C sort >"$work/exported"

if [ ! -s "$work/declared" ]; then
  echo "the header declares nothing" >&2
  exit 1
fi
if grep -v '^PSM' "$work/declared" >&2; then
  echo "public names begin with PSM" >&2
  exit 1
fi
if ! diff -u "$work/declared" "$work/exported"; then
  echo "'-' is declared and not exported, '+' exported and not declared" >&2
  exit 1
fi
echo "$(wc -l <"$work/exported") exports, ok"
