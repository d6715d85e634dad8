#!/bin/sh
# Compile the Rust crates with the oldest compiler that Cargo.toml promises.
# It is taken from rustup, or out of Debian's packages, unpacked beside the build.
# Exits with 77 if it is not to be had.
set -eu
cd "$(dirname "$0")/.."
oldest=$(sed -n 's/^rust-version = "\([0-9.]*\)".*/\1/p' Cargo.toml)
where=build/rust/oldest

unpack() {
  command -v apt-get >/dev/null && command -v dpkg >/dev/null || return 1
  version=$(apt-cache madison rustc-web 2>/dev/null | awk -v v="$oldest" 'index($3, v ".") == 1 { print $3; exit }')
  [ -n "$version" ] || return 1
  mkdir -p "$where/packages"
  (
    cd "$where/packages"
    apt-get download "rustc-web=$version" "libstd-rust-web-dev=$version" \
      "libstd-rust-web-$oldest=$version" >download.log 2>&1 || exit 1
    for package in *.deb; do dpkg -x "$package" ../root; done
    llvm=$(objdump -p ../root/usr/bin/rustc ../root/usr/lib/*/librustc_driver*.so |
      sed -n 's/.*NEEDED *libLLVM.*\.so\.\([0-9]*\).*/\1/p' | head -n 1)
    [ -z "$llvm" ] || apt-get download "libllvm$llvm" >>download.log 2>&1 || exit 1
    for package in libllvm*.deb; do dpkg -x "$package" ../root; done
  )
}

if command -v rustup >/dev/null && rustup run "$oldest" rustc --version >/dev/null 2>&1; then
  RUSTC=$(rustup which --toolchain "$oldest" rustc)
else
  RUSTC=$PWD/$where/root/usr/bin/rustc
  [ -x "$RUSTC" ] || unpack || { echo "skipped: there is no Rust $oldest to be had here"; exit 77; }
  libraries=$(find "$PWD/$where/root/usr/lib" -name 'lib*.so*' -exec dirname {} + | sort -u | tr '\n' ':')
  export LD_LIBRARY_PATH="$libraries${LD_LIBRARY_PATH:-}"
fi
export RUSTC
"$RUSTC" --version
cargo check --quiet --target-dir "$where/target" -p psm-sys -p psmalloc
