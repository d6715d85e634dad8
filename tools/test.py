#!/usr/bin/env python3
"""Run all tests, or the suites named, and add them up.

Every suite runs, whatever became of the others. What they print goes to
build/logs/SUITE.log; the end of a failing one is shown. The last line is the
sum over all suites.
"""
import os
import pathlib
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as xml

ROOT = pathlib.Path(__file__).resolve().parent.parent
LOGS = ROOT / "build" / "logs"
PYTHON = ROOT / ".venv" / "bin" / "python"
JOBS = str(os.cpu_count() or 2)
SUITE_SECONDS = 3600  # a watchdog
SKIPPED = 77
# Whether the benchmarks still run; their figures are of no interest here.
BENCH_CASES = "pair batch larson-4 produce replay-* latency-pair fill-64 members-8"


class Suite:
    def __init__(self, name):
        self.name = name
        self.passed = self.failed = self.skipped = 0
        self.failures = []
        self.log_path = LOGS / f"{name}.log"
        self.log = open(self.log_path, "w", encoding="utf-8")

    def run(self, *command, log=None):
        """The exit status of a command; its output goes to the log."""
        out = log or self.log
        self.log.write(f"$ {' '.join(map(str, command))}\n")
        self.log.flush()
        try:
            return subprocess.run([str(word) for word in command], cwd=ROOT, stdout=out,
                                  stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                  timeout=SUITE_SECONDS).returncode
        except (OSError, subprocess.TimeoutExpired) as error:
            self.log.write(f"{error}\n")
            self.log.flush()
            return 1

    def fail(self, what):
        self.failed += 1
        self.failures.append(what)

    def take_junit(self, path, is_skip):
        """Add up a JUnit file."""
        if not path.exists():
            self.fail("no results")
            return
        for case in xml.parse(path).getroot().iter("testcase"):
            name = case.get("name", "")
            if case.get("classname", name) != name:
                name = f"{case.get('classname')}.{name}"
            skip = case.find("skipped")
            if case.find("failure") is not None or case.find("error") is not None:
                self.fail(name)
            elif skip is not None or case.get("status") in ("notrun", "disabled"):
                if is_skip(skip):
                    self.skipped += 1
                else:
                    self.fail(name)
            else:
                self.passed += 1


def ctest(preset, *selection, target="all"):
    """A build and its tests, or those that the arguments for ctest select."""
    def run(suite):
        for step in (["--preset", preset],
                     ["--build", "--preset", preset, "--target", target, "--", "-k", "0"]):
            if suite.run("cmake", *step):
                suite.fail("does not build")
        results = LOGS / f"{suite.name}.xml"
        status = suite.run("ctest", "--preset", preset, "-j", JOBS, "--output-junit", results,
                           *selection)
        before = suite.failed
        # A test that was not run was skipped only if it said so.
        suite.take_junit(results, lambda skip: skip is not None
                         and "SKIP_RETURN_CODE" in skip.get("message", ""))
        if status and suite.failed == before:
            suite.fail(f"ctest ended with {status}")
    return run


def pytest(suite, folder="tests/python"):
    if suite.run("tools/setup.sh", "python"):
        suite.fail("does not install")
        return
    results = LOGS / f"{suite.name}.xml"
    status = suite.run(PYTHON, "-m", "pytest", folder, f"--junit-xml={results}",
                       "-p", "no:cacheprovider")
    before = suite.failed
    suite.take_junit(results, lambda skip: True)
    if status and suite.failed == before:
        suite.fail(f"pytest ended with {status}")


def matrix(suite):
    pytest(suite, "tests/matrix")


def tools(suite):
    """The checks; each counts as one test. They need the release build."""
    for preset, *targets in [("release", "psm", "psm_static"), ("bench", "bench_psm", "bench_record", "bench_recovery")]:
        if suite.run("cmake", "--preset", preset) or suite.run(
                "cmake", "--build", "--preset", preset, "--target", *targets):
            suite.fail(f"{preset} does not build")
    if suite.run("tools/setup.sh", "python"):
        suite.fail("python does not install")
    for name, *command in [
        ("layers", "tools/check-layers.py"),
        ("exports", "tools/check-exports.sh", "build/release/libpsm.so"),
        ("versions", "tools/check-versions.py"),
        ("header", "tools/check-header.sh", PYTHON),
        ("install", "tools/test-install.sh", "build/release"),
        ("readme", "tools/readme-snippets.py", "--python", PYTHON, "README.md",
         "docs/robustness.md", "docs/cpp.md", "bindings/swig/README.md"),
        ("instructions", "bench/count", "build/bench"),
        ("bench", "env", "QUICK=1", "ROUNDS=1", "PEERS=psm", f"CASES={BENCH_CASES}",
         "bench/run", "build/bench", LOGS / "bench"),
        ("format", "tools/format.sh", "--check"),
    ]:
        status = suite.run(*command)
        if status == 0:
            suite.passed += 1
        elif status == SKIPPED:
            suite.skipped += 1
        else:
            suite.fail(name)


def program(*command, build=None):
    """A suite that counts for itself, or passes as one; with the release build of a target."""
    def run(suite):
        if build and (suite.run("cmake", "--preset", "release") or suite.run(
                "cmake", "--build", "--preset", "release", "--target", build)):
            suite.fail("does not build")
            return
        status = suite.run(*command)
        suite.log.flush()
        if status == SKIPPED:
            suite.skipped += 1
            print(suite.log_path.read_text(encoding="utf-8", errors="replace").splitlines()[-1])
            return
        text = suite.log_path.read_text(encoding="utf-8", errors="replace")
        counts = re.findall(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$", text, re.MULTILINE)
        suite.skipped += sum(map(int, re.findall(r"^(\d+) skipped$", text, re.MULTILINE)))
        passed, failed, skipped = ([int(count or 0) for count in counts[-1]] if counts
                                   else (int(status == 0), 0, 0))
        suite.passed += passed
        suite.skipped += skipped
        for _ in range(failed):
            suite.fail("see the log")
        if status and not failed:
            suite.fail(f"{command[0]} ended with {status}")
    return run


def rust(suite):
    """The crates; the tests across languages also take the Python package."""
    suite.run("tools/setup.sh", "build", "rust", "python")
    if suite.run("cmake", "--preset", "release") or suite.run(
            "cmake", "--build", "--preset", "release", "--target", "psm", "psm_static"):
        suite.fail("does not build")  # tools/test-crates.sh installs it
    program("tools/test-rust.py")(suite)


SUITES = {
    "c-dev": ctest("dev", "-LE", "cpp"),
    "c-release": ctest("release", "-LE", "cpp"),
    "c-asan": ctest("asan", "-LE", "cpp"),
    "cpp": ctest("dev", "-L", "cpp", target="tests/cpp/all"),
    "cpp-release": ctest("release", "-L", "cpp", target="tests/cpp/all"),
    "cpp-asan": ctest("asan", "-L", "cpp", target="tests/cpp/all"),
    "c-tsan": ctest("tsan"),
    "python": pytest,
    "rust": rust,
    "swig": program("tests/swig/run.py"),
    "matrix": matrix,
    "tools": tools,
    "model": program("tests/model/run.py"),
    "kill": program("build/release/tests/kill/kill", build="kill"),
    "soak": program("build/release/tests/soak/soak", "500", build="soak"),
    "soak-paused": program("build/release/tests/soak/soak_paused", "500", build="soak_paused"),
    "fuzz": program("tests/fuzz/run", "--time", "60"),
}


def show_failures(suite):
    print(f"\n--- {suite.name} failed: {', '.join(suite.failures[:20])}")
    lines = suite.log_path.read_text(encoding="utf-8", errors="replace").splitlines()
    for line in lines[-60:]:
        print(f"    {line}")
    print(f"    ({suite.log_path.relative_to(ROOT)})", flush=True)


def main(names):
    unknown = [name for name in names if name not in SUITES]
    if unknown:
        print(f"no such suite: {', '.join(unknown)}; there are {', '.join(SUITES)}")
        return 2
    LOGS.mkdir(parents=True, exist_ok=True)
    done = []
    for name in names or SUITES:
        print(f"{name} ...", flush=True)
        for old in LOGS.glob(f"{name}.xml"):
            old.unlink()
        suite = Suite(name)
        begin = time.monotonic()
        try:
            SUITES[name](suite)
        except Exception as error:  # the other suites still run
            suite.fail(repr(error))
        suite.seconds = time.monotonic() - begin
        suite.log.close()
        if suite.passed + suite.failed + suite.skipped == 0:
            suite.fail("no test ran")
        if suite.failed:
            show_failures(suite)
        done.append(suite)

    print(f"\n{'suite':<12}{'passed':>8}{'failed':>8}{'skipped':>9}{'seconds':>9}")
    for suite in done:
        print(f"{suite.name:<12}{suite.passed:>8}{suite.failed:>8}{suite.skipped:>9}"
              f"{suite.seconds:>9.1f}")
    passed, failed, skipped = (sum(getattr(suite, key) for suite in done)
                               for key in ("passed", "failed", "skipped"))
    print()
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
