#!/bin/sh
# The public headers compile alone, psm.h as C11 and as C++17, and its fenced part
# is what CFFI and SWIG can read. Compilers and SWIG are used if they are there.
# usage: check-header.sh [PYTHON]   (an interpreter that has cffi)
set -eu
tools=$(cd "$(dirname "$0")" && pwd)
include=$(cd "$tools/../include" && pwd)
python=${1:-$tools/../.venv/bin/python}
[ -x "$python" ] || python=python3
export PYTHONDONTWRITEBYTECODE=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

strict="-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror -fsyntax-only"
printf '#include "psm.h"\nint main(void) { return PSM_OK; }\n' >"$work/alone.c"
printf '#include "psm.h"\n#include "psm.h"\nint main() { return PSM_OK; }\n' >"$work/alone.cpp"
# shellcheck disable=SC2086
for pair in gcc:g++ clang:clang++; do
  c=${pair%:*} cxx=${pair#*:}
  if command -v "$c" >/dev/null; then
    "$c" -std=c11 -Wstrict-prototypes $strict -I"$include" "$work/alone.c"
    echo "$c: C11 ok"
  fi
  if command -v "$cxx" >/dev/null; then
    "$cxx" -std=c++17 $strict -I"$include" "$work/alone.cpp"
    for header in psm.hpp $(cd "$include" && echo psm/*.hpp); do
      printf '#include "%s"\n#include "%s"\n' "$header" "$header" >"$work/alone.cpp"
      "$cxx" -std=c++17 $strict -I"$include" "$work/alone.cpp"
    done
    echo "$cxx: C++17 ok"
  fi
done

PYTHONPATH=$tools "$python" - <<'END'
import cffi
import fenced

ffi = cffi.FFI()
ffi.cdef(fenced.text())
names = fenced.functions()
parsed = {key.split()[1] for key in ffi._parser._declarations if key.startswith("function ")}
if set(names) != parsed:
    raise SystemExit(f"CFFI reads other functions: {sorted(set(names) ^ parsed)}")
print(f"cffi: {len(names)} functions ok")
END

if command -v swig >/dev/null; then
  python3 "$tools/fenced.py" >"$work/fenced.h"
  {
    printf '%%module psm\n%%{\n#include "psm.h"\n%%}\n%%include <stdint.i>\n'
    printf '%%include "fenced.h"\n'
  } >"$work/psm.i"
  (cd "$work" && swig -python -I"$work" -o psm_wrap.c psm.i)
  echo "swig: ok"
fi
