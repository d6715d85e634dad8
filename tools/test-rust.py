#!/usr/bin/env python3
"""Run all tests and checks of the Rust crates; the last line is the sum.

Each check counts as one test, and cargo's tests count as themselves. A test
that lacks something prints a line `skipped: REASON`, and so does this script.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SECONDS = 1800  # a watchdog
SKIPPED = 77
STABLE = {**os.environ, "CARGO_TERM_COLOR": "never"}
NIGHTLY = {**STABLE, "RUSTC_BOOTSTRAP": "1"}
DOCS = {**STABLE, "RUSTDOCFLAGS": "-D warnings"}
DENY = ["--", "-D", "warnings"]

# What runs, and in which environment. `cargo test` counts for itself.
STEPS = [
    ("the committed bindings", STABLE,
     ["cargo", "test", "-p", "psm-sys", "--features", "bindgen", "--test", "against_c"]),
    ("tests", STABLE, ["cargo", "test", "--workspace", "--no-fail-fast", "--", "--show-output"]),
    ("the feature nightly", NIGHTLY,
     ["cargo", "test", "-p", "psmalloc", "--features", "nightly", "--test", "nightly",
      "--target-dir", "build/rust/nightly"]),
    ("clippy", STABLE, ["cargo", "clippy", "--workspace", "--all-targets", *DENY]),
    ("documentation", DOCS, ["cargo", "doc", "--workspace", "--no-deps"]),
    ("format", STABLE, ["cargo", "fmt", "--all", "--check"]),
    ("packages", STABLE, ["tools/test-crates.sh"]),
    ("the oldest compiler", STABLE, ["tools/rust-oldest.sh"]),
]
COMPONENTS = {"clippy": "cargo-clippy", "format": "cargo-fmt"}


class Sum:
    passed = failed = skipped = 0


def oldest():
    text = (ROOT / "Cargo.toml").read_text()
    return tuple(map(int, re.search(r'^rust-version = "(\d+)\.(\d+)', text, re.M).groups()))


def why_not():
    """Why nothing can run, or None."""
    if not shutil.which("cargo"):
        return "there is no cargo; tools/setup.sh rust installs it"
    said = subprocess.run(["rustc", "--version"], capture_output=True, text=True).stdout
    found = re.match(r"rustc (\d+)\.(\d+)", said)
    if not found or tuple(map(int, found.groups())) < oldest():
        return f"rustc is {said.strip() or 'missing'}, and it takes {'.'.join(map(str, oldest()))}"
    return None


def run(name, environment, command):
    component = COMPONENTS.get(name)
    if component and not shutil.which(component):
        print(f"skipped: {name}: there is no {component}", flush=True)
        Sum.skipped += 1
        return
    print(f"$ {' '.join(command)}", flush=True)
    done = subprocess.run(command, cwd=ROOT, env=environment, text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS)
    print(done.stdout, flush=True)
    skips = len(re.findall(r"^skipped: ", done.stdout, re.M))
    Sum.skipped += skips
    results = re.findall(r"^test result: .* (\d+) passed; (\d+) failed;", done.stdout, re.M)
    if command[:2] != ["cargo", "test"] or not results:
        Sum.passed += done.returncode == 0
        Sum.failed += done.returncode not in (0, SKIPPED)
        return
    passed = sum(int(result[0]) for result in results) - skips
    failed = sum(int(result[1]) for result in results)
    Sum.passed += passed
    Sum.failed += max(failed, int(done.returncode != 0))


def main():
    reason = why_not()
    if reason:
        print(f"skipped: {reason}")
        return SKIPPED
    for step in STEPS:
        run(*step)
    print(f"{Sum.passed} passed, {Sum.failed} failed, {Sum.skipped} skipped", flush=True)
    return int(Sum.failed > 0)


if __name__ == "__main__":
    sys.exit(main())
