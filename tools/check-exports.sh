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
case $library in
  *.dll) # the table of names comes last
    objdump=x86_64-w64-mingw32-objdump
    command -v $objdump >/dev/null || objdump=objdump
    $objdump -p "$library" >"$work/table"
    awk '/^\[Ordinal\/Name Pointer\]/ { names = 1 } names && /^\t\[/ { print $NF }' "$work/table"
    ;;
  *)
    nm -D --defined-only "$library" >"$work/table"
    awk '{ print $NF }' "$work/table"
    ;;
esac | LC_ALL=C sort >"$work/exported"

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
