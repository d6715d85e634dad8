#!/usr/bin/env python3
"""Run all tests, or the suites named, and add them up.

Every suite runs, whatever became of the others. What they print goes to
build/logs/SUITE.log; the end of a failing one is shown. After the table of suites
comes one of platforms, with the reasons of what was skipped, and after that the names
of what failed, and why the first ones of each suite did. The last line is the sum over all suites.
"""
import collections
import os
import pathlib
import platform
import re
import shutil
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
NAMED = 20  # of the failures of a suite
RECALLED, RECALLED_LINES = 2, 6  # of a suite, told at length at the end
BLAME = re.compile(r"^\S+:\d+: |^E  |fail|error|expected|assert|lost|hang|wrong|corrupt", re.I)
# Whether the benchmarks still run; their figures are of no interest here.
BENCH_CASES = "pair batch larson-4 produce replay-* latency-pair fill-64 members-8"


class Suite:
    def __init__(self, name):
        self.name = name
        self.passed = self.failed = self.skipped = 0
        self.failures = []
        self.reasons = collections.Counter()  # of what was skipped
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

    def log_text(self):
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def fail(self, what, said=""):
        """Without `said`, the log tells why, as far as it goes by now."""
        self.failed += 1
        self.log.flush()
        self.failures.append((what, said or self.log_text()))

    def skip(self, reason, count=1):
        self.skipped += count
        self.reasons[reason] += count

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
                self.fail(name, failure_text(case))
            elif skip is not None or case.get("status") in ("notrun", "disabled"):
                if is_skip(skip):
                    self.skip(skip_reason(case))
                else:
                    self.fail(name, "was not run")
            else:
                self.passed += 1


def failure_text(case):
    """Why, by pytest; or the output of a C test, which ctest keeps whole."""
    blame = next(case.iter("failure"), None)
    blame = next(case.iter("error")) if blame is None else blame
    return "\n".join(filter(None, (blame.text or blame.get("message", ""),
                                   case.findtext("system-out"))))


def skip_reason(case):
    """What a test of ours said, or what pytest did."""
    said = re.search(r"^skipped: (.+)$", case.findtext("system-out") or "", re.MULTILINE)
    return said[1] if said else case.find("skipped").get("message", "").removeprefix("Skipped: ")


def build(suite, preset, target="all"):
    for step in (["--preset", preset],
                 ["--build", "--preset", preset, "--target", target, "--", "-k", "0"]):
        if suite.run("cmake", *step):
            suite.fail("does not build")


def run_ctest(suite, preset, *selection):
    """Another run of one suite may differ in its test preset."""
    results = LOGS / f"{suite.name}.xml"
    results.unlink(missing_ok=True)
    status = suite.run("ctest", "--preset", preset, "-j", JOBS, "--output-junit", results,
                       *selection)
    before = suite.failed
    # A test that was not run was skipped only if it said so.
    suite.take_junit(results, lambda skip: skip is not None
                     and "SKIP_RETURN_CODE" in skip.get("message", ""))
    if status and suite.failed == before:
        suite.fail(f"ctest ended with {status}")


def ctest(preset, *selection, target="all"):
    """A build and its tests, or those that the arguments for ctest select."""
    def run(suite):
        build(suite, preset, target)
        run_ctest(suite, preset, *selection)
    return run


# What the preset of another platform needs.
TOOLS = {
    "i686": ["i686-linux-gnu-gcc"],
    "musl": ["musl-gcc"],
    "musl-shared": ["musl-gcc"],
    "arm64": ["aarch64-linux-gnu-gcc", "qemu-aarch64-static"],
    "s390x": ["s390x-linux-gnu-gcc", "qemu-s390x-static"],
    "riscv64": ["riscv64-linux-gnu-gcc", "qemu-riscv64-static"],
    "mingw64": ["x86_64-w64-mingw32-gcc"],
    "mingw32": ["i686-w64-mingw32-gcc"],
}
ALL_PLATFORMS = ["i686", "musl", "arm64", "s390x"]  # the rest only on request


def foreign(preset, *test_presets):
    """The C tests of another platform, if there are its tools, and other runs of them."""
    def run(suite):
        for tool in TOOLS[preset]:
            if not shutil.which(tool):
                suite.skip(f"{tool} is not installed: tools/setup.sh {suite.name}")
                print(f"skipped: {tool} is not installed")
                return
        build(suite, preset)
        for test_preset in (preset, *test_presets):
            run_ctest(suite, test_preset)
    return run


def musl(suite):
    """Static programs, and dynamic ones."""
    foreign("musl")(suite)
    if shutil.which("musl-gcc"):
        foreign("musl-shared")(suite)


def windows(preset):
    """Built by mingw-w64 and run under wine; what wine has started is ended after that."""
    def run(suite):
        foreign(preset)(suite)
        folder = ROOT / "build" / preset
        if not (folder / "psm.dll").exists():
            return
        if suite.run("tools/check-exports.sh", folder / "psm.dll"):
            suite.fail("exports of psm.dll")
        else:
            suite.passed += 1
        cache = (folder / "CMakeCache.txt").read_text(encoding="utf-8")
        loader = re.search(r"^PSM_WINE:\w+=(/.+)$", cache, re.MULTILINE)
        if loader:
            suite.run("tests/windows/wine", loader[1], folder, "--end")
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
        ("glibc", "tools/check-glibc.sh", "build/release/libpsm.so"),
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
            suite.skip(f"{name}: see {suite.log_path.relative_to(ROOT)}")
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
        text = suite.log_text()
        if status == SKIPPED:
            suite.skip(text.splitlines()[-1])
            print(text.splitlines()[-1])
            return
        counts = re.findall(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$", text, re.MULTILINE)
        skips = sum(map(int, re.findall(r"^(\d+) skipped$", text, re.MULTILINE)))
        passed, failed, skipped = ([int(count or 0) for count in counts[-1]] if counts
                                   else (int(status == 0), 0, 0))
        suite.passed += passed
        said = re.findall(r"^skipped: (.+)$", text, re.MULTILINE)[:skipped + skips]
        for reason in said:
            suite.skip(reason)
        if len(said) < skipped + skips:
            suite.skip(f"see {suite.log_path.relative_to(ROOT)}", skipped + skips - len(said))
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


def platforms(suite):
    """Processes of the platforms meet: of those that are part of all tests, or are built."""
    build(suite, "dev", "psm")
    build(suite, "dev", "examples/c/all")
    linux = [preset for preset in TOOLS if not preset.startswith("mingw")]
    others = [preset for preset in linux if preset in ALL_PLATFORMS
              or (ROOT / "build" / preset / "CMakeCache.txt").exists()]
    for preset in others:
        if all(map(shutil.which, TOOLS[preset])):
            build(suite, preset, "examples/c/all")
    program("tests/platforms/run.py", *others)(suite)


SUITES = {
    "c-dev": ctest("dev", "-LE", "cpp"),
    "c-release": ctest("release", "-LE", "cpp"),
    "c-asan": ctest("asan", "-LE", "cpp"),
    "cpp": ctest("dev", "-L", "cpp", target="tests/cpp/all"),
    "cpp-release": ctest("release", "-L", "cpp", target="tests/cpp/all"),
    "cpp-asan": ctest("asan", "-L", "cpp", target="tests/cpp/all"),
    "c-tsan": ctest("tsan"),
    "i686": foreign("i686"),
    "musl": musl,
    "arm64": foreign("arm64", "arm64-at-64k", "arm64-at-38"),
    "s390x": foreign("s390x"),
    "riscv64": foreign("riscv64", "riscv64-at-38"),
    "windows": windows("mingw64"),
    "windows-32": windows("mingw32"),
    "platforms": platforms,
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


# Suites of each platform; those that are named nowhere are this machine's.
PLATFORMS = {
    f"Linux, {platform.machine()}": [],
    "Linux, 32-bit x86": ["i686"],
    "Linux with musl": ["musl"],
    "Linux, aarch64 (QEMU)": ["arm64"],
    "Linux, s390x (QEMU)": ["s390x"],
    "Linux, riscv64 (QEMU)": ["riscv64"],
    "Windows (wine)": ["windows"],
    "Windows, 32 bits (wine)": ["windows-32"],
    "one meets the other": ["platforms"],
}
ON_REQUEST = ["riscv64"]  # not part of all


def show_platforms(done, everything):
    """What was run on each, and why something was not."""
    named = {name for names in PLATFORMS.values() for name in names}
    print(f"\n{'platform':<26}{'passed':>8}{'failed':>8}{'skipped':>9}{'seconds':>9}")
    for title, names in PLATFORMS.items():
        here = [suite for suite in done
                if suite.name in names or (not names and suite.name not in named)]
        if not here:
            if everything:
                print(f"{title:<26}{'not run':>8}")
            continue
        passed, failed, skipped, seconds = (sum(getattr(suite, key) for suite in here) for key in
                                            ("passed", "failed", "skipped", "seconds"))
        print(f"{title:<26}{passed:>8}{failed:>8}{skipped:>9}{seconds:>9.1f}")
        reasons = sum((suite.reasons for suite in here), collections.Counter())
        for reason, count in reasons.most_common():
            print(f"    {count} skipped: {reason}")


def show_failures(suite):
    print(f"\n--- {suite.name} failed: {', '.join(what for what, said in suite.failures[:NAMED])}")
    for line in suite.log_text().splitlines()[-60:]:
        print(f"    {line}")
    print(f"    ({suite.log_path.relative_to(ROOT)})", flush=True)


def recall_failures(done):
    """Once more where no one has to look for it: an excerpt of a long run is its end."""
    for suite in done:
        told = set()
        for what, said in suite.failures[:NAMED]:
            print(f"\nFAILED {suite.name}: {what}")
            if said in told or len(told) == RECALLED:
                continue
            told.add(said)
            lines = [line for line in said.splitlines() if line.strip()]
            blame = [line for line in lines if BLAME.search(line)]
            for line in (blame or lines)[-RECALLED_LINES:]:
                print(f"    {line[:200]}")


def main(names):
    unknown = [name for name in names if name not in SUITES]
    if unknown:
        print(f"no such suite: {', '.join(unknown)}; there are {', '.join(SUITES)}")
        return 2
    LOGS.mkdir(parents=True, exist_ok=True)
    done = []
    for name in names or [name for name in SUITES if name not in ON_REQUEST]:
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
        if suite.passed + suite.failed + suite.skipped == 0:
            suite.fail("no test ran")
        suite.log.close()
        if suite.failed:
            show_failures(suite)
        done.append(suite)

    print(f"\n{'suite':<12}{'passed':>8}{'failed':>8}{'skipped':>9}{'seconds':>9}")
    for suite in done:
        print(f"{suite.name:<12}{suite.passed:>8}{suite.failed:>8}{suite.skipped:>9}"
              f"{suite.seconds:>9.1f}")
    show_platforms(done, not names)
    passed, failed, skipped = (sum(getattr(suite, key) for suite in done)
                               for key in ("passed", "failed", "skipped"))
    recall_failures(done)
    print(f"\n{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
