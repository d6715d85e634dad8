#!/usr/bin/env python3
"""Build PSM for the languages named, or all, and run the tests of each.

A language's tests are tests/swig/test.SUFFIX: it plays story.txt and adds what
only it can do wrong. Each prints TAP. They run with a watchdog, and must leave
no file behind. Exit status 77: everything was skipped.
"""
import os
import pathlib
import re
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "bindings/swig"))
import build  # noqa: E402

SECONDS = 300  # a watchdog


def left_behind(prefix):
    return sorted(path.name for path in pathlib.Path("/dev/shm").glob(f"{prefix[4:]}*"))


def play(name):
    """(passed, failed) of one language; what failed is printed."""
    source = HERE / f"test{build.LANGUAGES[name].suffix}"
    prefix = f"shm:psm-swig-{name}-{os.getpid()}-"
    command = build.command(name, source)
    done = subprocess.run([*command, str(HERE / "story.txt"), prefix], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS)
    text = done.stdout.decode(errors="replace")
    passed = len(re.findall(r"^ok \d+", text, re.M))
    wrong = re.findall(r"^not ok.*", text, re.M)
    if done.returncode:
        wrong.append(f"ended with {done.returncode}: {text[-2000:]}")
    if not re.search(rf"^1\.\.{passed + len(re.findall(r'^not ok', text, re.M))}$", text, re.M):
        wrong.append(f"did not come to its end: {text[-1000:]}")
    kept = f"{prefix[4:]}kept"
    for file in left_behind(prefix):
        (pathlib.Path("/dev/shm") / file).unlink()
        if file != kept:  # that one is opened to be kept
            wrong.append(f"left {file} behind")
    for line in wrong:
        print(f"  {name}: {line}")
    return passed, len(wrong)


def main(names):
    unknown = [name for name in names if name not in build.LANGUAGES]
    if unknown:
        print(f"unknown: {' '.join(unknown)}; there are {' '.join(build.LANGUAGES)}")
        return 2
    passed = failed = skipped = 0
    for name in names or build.LANGUAGES:
        begin = time.monotonic()
        try:
            good, bad = play(name)
        except build.Missing as reason:
            print(f"{name}: skipped: {reason}", flush=True)
            skipped += 1
            continue
        except (SystemExit, OSError, subprocess.SubprocessError) as error:
            print(f"  {name}: {error}")
            good, bad = 0, 1
        print(f"{name}: {good} passed, {bad} failed, {time.monotonic() - begin:.1f} s", flush=True)
        passed += good
        failed += bad
    print(f"{skipped} skipped")
    print(f"{passed} passed, {failed} failed")
    if not passed and not failed:
        return 77
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
