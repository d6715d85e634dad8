#!/bin/sh
# Package the Rust crates, and build and run a program against the packages in an
# empty place: with the core compiled in, and with an installed library.
# usage: test-crates.sh [LIBRARY_BUILD_DIR]
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
build=${1:-$top/build/release}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$top"

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
cargo package --quiet --allow-dirty --no-verify --target-dir "$work/target" \
  -p psm-sys -p psmalloc-derive -p psmalloc 2>"$work/package.log" || { cat "$work/package.log"; exit 1; }
for crate in psm-sys psmalloc-derive psmalloc; do
  tar -xzf "$work/target/package/$crate-$version.crate" -C "$work"
  [ -e "$work/$crate-$version/README.md" ] || [ $crate != psmalloc ]
done
# Nothing of the tree but what the crate needs.
stray=$(cd "$work/psm-sys-$version" && find . -type f |
  grep -vE '^\./(core/.*\.[ch]|include/psm\.h|bindings/rust/psm-sys/.*|LICENSE|Cargo\.(toml|lock|toml\.orig)|\.cargo_vcs_info\.json)$' || true)
[ -z "$stray" ] || { echo "the package of psm-sys also has: $stray"; exit 1; }

mkdir -p "$work/program/src"
cat >"$work/program/Cargo.toml" <<EOF
[package]
name = "program"
version = "0.0.0"
edition = "2024"
build = "build.rs"
[dependencies]
psmalloc = "$version"
psm-sys = "$version"
[build-dependencies]
cc = "1"
[patch.crates-io]
psm-sys = { path = "$work/psm-sys-$version" }
psmalloc = { path = "$work/psmalloc-$version" }
psmalloc-derive = { path = "$work/psmalloc-derive-$version" }
[workspace]
EOF
cat >"$work/program/build.rs" <<'EOF'
fn main() {
    // What psm-sys tells the build scripts of its dependents.
    let include = std::env::var("DEP_PSM_INCLUDE").expect("DEP_PSM_INCLUDE");
    assert_eq!(std::env::var("DEP_PSM_VERSION").unwrap(), std::env::var("EXPECT_VERSION").unwrap());
    assert_eq!(std::env::var("DEP_PSM_SOURCE").unwrap(), std::env::var("EXPECT_SOURCE").unwrap());
    println!("cargo:rerun-if-env-changed=EXPECT_SOURCE");
    cc::Build::new().file("part.c").include(include).compile("part");
}
EOF
cat >"$work/program/part.c" <<'EOF'
#include <psm.h>
#include <string.h>
int part(PSMHandle segment) {
  char *text = PSMalloc(segment, 6);
  strcpy(text, "hello");
  *(char **)PSMgetUser(segment) = text;
  return PSM_VERSION_MINOR;
}
EOF
cat >"$work/program/src/main.rs" <<'EOF'
unsafe extern "C" {
    fn part(segment: psm_sys::PSMHandle) -> core::ffi::c_int;
}
fn main() {
    let name = format!("shm:psm-crates-{}", std::process::id());
    let segment = psmalloc::Segment::options().size(1 << 20).open(&name).unwrap();
    unsafe { part(segment.base().cast()) };
    segment.enter(|s| {
        let text = unsafe { std::ffi::CStr::from_ptr(s.user_word().load(std::sync::atomic::Ordering::Relaxed)) };
        assert_eq!(text, c"hello");
        let mut map = psmalloc::HashMap::new_in(s.alloc()).unwrap();
        map.insert(1, 2).unwrap();
        assert_eq!(map[&1], 2);
    });
    println!("ok");
}
EOF
cd "$work/program"
export EXPECT_VERSION="$version" CARGO_TARGET_DIR="$work/target"
runs() { cargo run --quiet >"$work/run.log" 2>&1 || { cat "$work/run.log"; exit 1; }; }

echo "the core compiled in"
EXPECT_SOURCE=bundled runs
if ldd "$work/target/debug/program" | grep -q libpsm; then
  echo "the program needs libpsm.so"
  exit 1
fi
[ -e "$build/libpsm.so" ] || { echo "skipped: there is no build of the library in $build"; exit 0; }
echo "an installed library"
cmake --install "$build" --prefix "$work/prefix" >"$work/install.log"
pc=$(find "$work/prefix" -name psm.pc)
PKG_CONFIG_PATH=$(dirname "$pc")
LD_LIBRARY_PATH=$(dirname "$PKG_CONFIG_PATH")
export PKG_CONFIG_PATH LD_LIBRARY_PATH
PSM_SYS_SYSTEM=1 EXPECT_SOURCE=system runs
ldd "$work/target/debug/program" | grep -q "$work/prefix" || { echo "the installed library is not used"; exit 1; }
echo "an installed library of another version"
sed -i 's/^Version: .*/Version: 9.9.9/' "$pc"
if touch "$work/psm-sys-$version/include/psm.h" && PSM_SYS_SYSTEM=1 EXPECT_SOURCE=system cargo build --quiet \
  >"$work/run.log" 2>&1; then
  echo "it was taken"
  exit 1
fi
grep -q "PSM_SYS_SYSTEM=0" "$work/run.log" || { cat "$work/run.log"; exit 1; }
echo "ok"
