#!/bin/sh
# Install a build into a temporary prefix, then build and run programs outside
# the tree against it: by find_package and by pkg-config, shared and static.
# usage: test-install.sh [BUILD_DIR]
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
build=$(cd "${1:-$top/build/release}" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

runs() { # PROGRAM: run it on a segment of its own, which must be gone after
  "$1" "$work/segment"
  if [ -e "$work/segment" ]; then
    echo "$1 left its segment behind" >&2
    exit 1
  fi
}

cmake --install "$build" --prefix "$work/first" >"$work/install.log"
# An installation may be moved.
mv "$work/first" "$work/prefix"

cp -r "$top/tests/c/consumer" "$work/source"
cmake -S "$work/source" -B "$work/cmake" -G Ninja -DCMAKE_PREFIX_PATH="$work/prefix" \
  >"$work/configure.log" || { cat "$work/configure.log"; exit 1; }
cmake --build "$work/cmake" >"$work/build.log" || { cat "$work/build.log"; exit 1; }
for program in c_psm c_psm_static cxx_psm cxx_psm_static; do
  echo "find_package: $program"
  runs "$work/cmake/$program"
done

pc=$(find "$work/prefix" -name psm.pc)
libdir=$(dirname "$(dirname "$pc")")
PKG_CONFIG_PATH=$(dirname "$pc")
export PKG_CONFIG_PATH
cc=${CC:-cc}
cd "$work"
echo "pkg-config: shared"
# shellcheck disable=SC2046
$cc -std=c11 source/consumer.c -o shared $(pkg-config --cflags --libs psm) -Wl,-rpath,"$libdir"
runs "$work/shared"
echo "pkg-config: shared, C++"
# shellcheck disable=SC2046
${CXX:-c++} -std=c++17 source/consumer.cpp -o shared_cxx $(pkg-config --cflags --libs psm) \
  -Wl,-rpath,"$libdir"
runs "$work/shared_cxx"
echo "pkg-config: static"
# shellcheck disable=SC2046
$cc -std=c11 source/consumer.c -o static \
  $(pkg-config --static --cflags --libs psm | sed 's/-lpsm/-l:libpsm.a/')
runs "$work/static"
if ldd "$work/static" | grep -q libpsm; then
  echo "the static program needs libpsm.so" >&2
  exit 1
fi
echo "ok"
