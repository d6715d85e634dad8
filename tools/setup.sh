#!/bin/sh
# Install what is missing for the named groups, and only that.
# usage: setup.sh GROUP...
#   build     compiler, CMake, Ninja
#   python    .venv with the Python package and pytest, up to date with the tree
#   test      build and python, and what else the tests run
#   bench     build, the allocators to compare with, valgrind and git
#   bench-python  python, and the package to compare with
#   rust      cargo, and the libclang that bindgen reads psm.h with
#   format    clang-format
#   coverage  build, and gcovr
#   model     gcc, and spin
#   fuzz      clang with its fuzzer
#   swig      build, SWIG, and the languages it makes bindings for
#   i686      build, and a compiler for 32-bit x86
#   musl      build, and the C library musl
#   windows   build, mingw-w64 for x86-64, and wine
#   windows-32   build, and mingw-w64 for i686 (its wine takes another architecture's packages: not here)
#   arm64 s390x riscv64   build, and a compiler and an emulator of that processor
set -eu
cd "$(dirname "$0")/.."

say() { echo "setup: $*"; }
has() { command -v "$1" >/dev/null 2>&1; }
installed() { has dpkg && dpkg -s "$1" 2>/dev/null | grep -q '^Status: .* installed$'; }

missing=""
need() { # PACKAGE CHECK...: it is needed unless the check succeeds or it is there
  package=$1
  shift
  "$@" >/dev/null 2>&1 || installed "$package" || missing="$missing $package"
}
header() { [ -e "/usr/include/$1" ] || [ -e "/usr/local/include/$1" ]; }

perl_header() { [ -e "$(perl -MConfig -e 'print $Config{archlibexp}')/CORE/perl.h" ]; }
ruby_header() { [ -e "$(ruby -rrbconfig -e 'print RbConfig::CONFIG["rubyhdrdir"]')/ruby.h" ]; }

clang_fuzzes() {
  runtime=$(clang --print-file-name="libclang_rt.fuzzer-$(uname -m).a" 2>/dev/null)
  [ -e "$runtime" ]
}

# Debian 12 has a Boost with flat maps beside its usual one; only one can be
# installed, so one that is there stays, and what it lacks is skipped.
boost_package() {
  if grep -q '^VERSION_ID="12"' /etc/os-release 2>/dev/null; then
    echo libboost1.81-dev
  else
    echo libboost-dev
  fi
}

clang_has_libcxx() {
  echo '#include <string>' | clang++ -stdlib=libc++ -x c++ -fsyntax-only - 2>/dev/null
}

wine_loader() { [ -x /usr/lib/wine/wine64 ] || has wine64 || has wine; }

libclang() {
  for library in /usr/lib/llvm-*/lib/libclang.so* /usr/lib/llvm-*/lib/libclang-[0-9]*.so* \
    /usr/lib/*/libclang-[0-9]*.so*; do
    [ -e "$library" ] && return 0
  done
  return 1
}

# The first Python that can make an environment and build extensions for it.
suits() {
  has "$1" && "$1" -c 'import ensurepip, os, sysconfig, venv
assert os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h"))' 2>/dev/null
}
find_python() {
  for python in "${PYTHON3:-python3}" /usr/bin/python3; do
    if suits "$python"; then
      return 0
    fi
  done
  return 1
}

apt_install() {
  if [ -z "$missing" ]; then
    return 0
  fi
  if ! has apt-get; then
    say "there is no apt-get here; please install what Debian calls:$missing"
    return 1
  fi
  root=""
  if [ "$(id -u)" != 0 ]; then
    if ! has sudo; then
      say "only root can install; please run: apt-get install$missing"
      return 1
    fi
    root="sudo"
  fi
  say "installing$missing"
  mkdir -p build/logs
  # Cross compilers exclude gcc-multilib: what is there stays.
  install="$root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends --no-remove"
  # shellcheck disable=SC2086
  $install $missing >build/logs/apt.log 2>&1 && return 0
  say "updating the list of packages"
  $root apt-get update >>build/logs/apt.log 2>&1 || say "apt-get update had errors"
  # shellcheck disable=SC2086
  $install $missing >>build/logs/apt.log 2>&1 && return 0
  tail -n 20 build/logs/apt.log
  failed=""
  for package in $missing; do # one that cannot be had does not keep the others away
    $install "$package" >>build/logs/apt.log 2>&1 || failed="$failed $package"
  done
  [ -z "$failed" ] && return 0
  say "could not install$failed (build/logs/apt.log)"
  return 1
}

make_environment() {
  if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    find_python || { say "no python3 with venv and headers"; return 1; }
    say "creating .venv with $python"
    rm -rf .venv
    "$python" -m venv .venv
  fi
  stamp=.venv/psm-installed
  sources="include core bindings/python pyproject.toml"
  if [ -e $stamp ]; then
    # shellcheck disable=SC2086
    newer=$(find $sources -name __pycache__ -prune -o -newer $stamp -print | head -n 1)
    if [ -z "$newer" ]; then
      return 0
    fi
  fi
  say "installing the Python package into .venv"
  touch .venv/psm-begun
  if ! .venv/bin/python -m pip install --quiet --disable-pip-version-check ".[test]"; then
    say "not all that the tests use is to be had; those that need it will be skipped"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check . "pytest>=7" || return 1
  fi
  mv .venv/psm-begun $stamp
}

if [ $# = 0 ]; then
  sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
  exit 2
fi
groups=" "
for group in "$@"; do
  case $group in
    test) groups="$groups build python rust format model fuzz swig i686 musl arm64 s390x windows windows-32 $group " ;;
    bench | coverage | swig | i686 | musl | arm64 | s390x | riscv64 | windows | windows-32) groups="$groups build $group " ;;
    bench-python) groups="$groups python $group " ;;
    build | python | rust | format | model | fuzz) groups="$groups$group " ;;
    *) say "unknown group: $group"; exit 2 ;;
  esac
done
in_groups() { case $groups in *" $1 "*) ;; *) return 1 ;; esac; }

if in_groups build || in_groups python; then
  need gcc has "${CC:-cc}"
  need libc6-dev header stdio.h
  need ninja-build has ninja
fi
if in_groups build; then
  need cmake has cmake
fi
if in_groups python && ! find_python; then
  need python3-venv false
  need python3-dev false
fi
if in_groups rust; then
  need cargo-web has cargo # the newest that Debian 12 has
  need libclang-dev libclang
  need pkg-config has pkg-config
fi
if in_groups test; then
  need g++ has "${CXX:-c++}"
  need binutils has nm
  need pkg-config has pkg-config
  need util-linux has setarch
  need "$(boost_package)" header boost/version.hpp
  need libabsl-dev header absl/container/flat_hash_map.h
  need libc++-dev clang_has_libcxx
  need libc++abi-dev clang_has_libcxx
fi
if in_groups format; then
  need clang-format has clang-format
fi
if in_groups test || in_groups bench; then
  need valgrind has valgrind
fi
if in_groups swig; then
  need swig has swig
  need g++ has "${CXX:-c++}"
  need libperl-dev perl_header
  need tcl has tclsh
  need tcl-dev header tcl/tcl.h
  need lua5.4 has lua5.4
  need liblua5.4-dev header lua5.4/lua.h
  need ruby has ruby
  need ruby-dev ruby_header
  need default-jdk-headless has javac
  need mono-mcs has mcs
  need mono-runtime has mono
  need libmono-system-core4.0-cil false
  need nodejs has node
  need libnode-dev header node/node.h
  need golang-go has go
  need guile-3.0 has guile-3.0
  need guile-3.0-dev header guile/3.0/libguile.h
  need pkg-config has pkg-config
  need ldc has ldc2
  need php-cli has php
  need php-dev has php-config
fi
if in_groups model; then
  need gcc has gcc
  need libc6-dev header stdio.h
  need spin has spin
fi
if in_groups fuzz; then
  need clang has clang
  need libclang-rt-dev clang_fuzzes
fi
if in_groups i686; then
  need gcc-i686-linux-gnu has i686-linux-gnu-gcc
  need libc6-dev-i386-cross [ -e /usr/i686-linux-gnu/include/stdio.h ]
fi
if in_groups windows; then
  need gcc-mingw-w64-x86-64-win32 has x86_64-w64-mingw32-gcc
  need wine64 wine_loader
  need util-linux has flock
fi
if in_groups windows-32; then
  need gcc-mingw-w64-i686-win32 has i686-w64-mingw32-gcc
fi
if in_groups musl; then
  need musl-tools has musl-gcc
fi
for group in arm64=aarch64 s390x=s390x riscv64=riscv64; do
  if in_groups "${group%=*}"; then
    cpu=${group#*=}
    need qemu-user-static has "qemu-$cpu-static"
    need "gcc-$cpu-linux-gnu" has "$cpu-linux-gnu-gcc"
    need "libc6-dev-${group%=*}-cross" [ -e "/usr/$cpu-linux-gnu/include/stdio.h" ]
  fi
done
if in_groups coverage; then
  need gcovr has gcovr
fi

status=0
apt_install || status=1

# Each of these can do without the others: one that is not to be had does not keep them away.
if in_groups bench; then
  for peer in "g++ has ${CXX:-c++}" "git has git" "libmimalloc-dev false" \
    "libjemalloc-dev header jemalloc/jemalloc.h" \
    "libgoogle-perftools-dev header gperftools/tcmalloc.h" \
    "$(boost_package) header boost/interprocess/managed_shared_memory.hpp" \
    "libabsl-dev header absl/container/btree_map.h" \
    "libaprutil1-dev header apr-1.0/apr_rmm.h" "libmm-dev header mm.h" \
    "libpmemobj-dev header libpmemobj.h"; do
    missing=""
    # shellcheck disable=SC2086
    need $peer
    apt_install || status=1
  done
fi
if in_groups python; then
  make_environment || status=1
fi
if in_groups bench-python && ! .venv/bin/python -c 'import numpy, UltraDict, atomics' 2>/dev/null; then
  say "installing what psm is compared with into .venv"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check numpy UltraDict atomics ||
    say "UltraDict is not to be had; its figures will be missing"
fi
exit $status
