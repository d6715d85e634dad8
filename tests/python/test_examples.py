"""The examples do what they say, end well and leave nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from conftest import ROOT, WATCHDOG, compile_c, file_of

EXAMPLES = ROOT / "examples" / "python"


def run_example(script: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / script), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        timeout=WATCHDOG,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_parallel_map() -> None:
    output = run_example("workers/parallel_map.py", 16)
    match = re.fullmatch(r"16 parts of (\d+) bytes, each sent in (\d+) bytes\n", output)
    assert match and int(match[1]) == 1 << 20 and int(match[2]) < 200


def test_reused_buffers() -> None:
    output = run_example("workers/reused_buffers.py", 100)
    match = re.fullmatch(r"100 pictures of 921600 bytes went through (\d) buffers\n", output)
    assert match and 1 < int(match[1]) <= 4


def test_web_cache() -> None:
    output = run_example("workers/web_cache.py", 3)
    match = re.fullmatch(r"(\d+) pages made, (\d+) found; 1 of 3 workers was killed\n", output)
    assert match and int(match[1]) + int(match[2]) == 400 and int(match[2]) > 300


def test_tree(name: str, tmp_path: Path) -> None:
    """A C program builds it; Python reads it, frees it, and C goes on."""
    program = compile_c(tmp_path / "tree", ROOT / "examples" / "c" / "tree.c")
    with subprocess.Popen(
        [str(program), name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as builder:
        assert builder.stdin is not None and builder.stdout is not None
        builder.stdin.write("the cat and the dog\nand the bird\n\n")
        builder.stdin.flush()
        assert builder.stdout.readline() == "ready\n"
        done = subprocess.run(
            [sys.executable, str(EXAMPLES / "tree.py"), name],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            timeout=WATCHDOG,
        )
        builder.communicate("done\n", WATCHDOG)
    assert done.stdout == "and 2\nbird 1\ncat 1\ndog 1\nthe 3\n"
    assert done.stderr == "5 words; 0 blocks left\n"
    assert builder.returncode == 0
    assert not file_of(name).exists()


def test_every_example_is_tested() -> None:
    elsewhere = {"hello.py", "queue.py", "words.py"}  # tests/matrix, test_cross_language
    workers = {"parallel_map.py", "reused_buffers.py", "web_cache.py"}
    assert {path.name for path in EXAMPLES.glob("*.py")} == {"tree.py", *elsewhere}
    assert {path.name for path in EXAMPLES.glob("workers/*.py")} == workers
