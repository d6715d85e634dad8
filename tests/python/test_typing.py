"""The annotations: complete, consistent, and what a user's checker makes of them."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT, WATCHDOG

PACKAGE = ROOT / "bindings" / "python" / "psm"
BIN = Path(sys.executable).parent

PROGRAM = """
from pathlib import Path
from typing import Any
from typing import List, Optional
import psm

def use(segment: psm.Segment) -> int:
    block: psm.Block = segment.alloc(10)
    block[:4] = b"abcd"
    view: memoryview = memoryview(block)
    root: Optional[psm.Block] = segment.root
    segment.root = block
    segment.root = None
    array: psm.Array = segment.array((2, 3), "f4")
    members: List[psm.Member] = segment.members()
    with segment.lock(block) as owner_died:
        flag: bool = owner_died
    return view.nbytes + array.nbytes + len(members) + segment.stat().blocks + flag

with psm.open(Path("x"), "1MiB", keep=True) as opened:
    use(opened)
try:
    psm.open("shm:x", 5, create=False)
except psm.OutOfMemory as error:
    code: int = error.code
"""

WRONG = [
    'psm.open("x", 1.5)',
    'psm.open("x", 1, True)',
    'psm.open("x").alloc("10")',
    'psm.open("x").alloc(1).nbytes = 5',
    'psm.open("x").no_such_call()',
    'psm.open("x").stat().blcks',
]


def checker(name: str) -> str:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    return name


def call(*command: object, cwd: Path) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "VIRTUAL_ENV": sys.prefix, "PATH": f"{BIN}:{os.environ['PATH']}"}
    return subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=WATCHDOG,
    )


def mypy(*what: object, cwd: Path) -> "subprocess.CompletedProcess[str]":
    options = ("--strict", "--cache-dir", os.devnull, "--config-file", os.devnull)
    return call(sys.executable, "-m", checker("mypy"), *options, *what, cwd=cwd)


def pyright(*what: object, cwd: Path) -> "subprocess.CompletedProcess[str]":
    """basedpyright is pyright in a wheel that brings its own JavaScript engine."""
    return call(sys.executable, "-m", checker("basedpyright"), *what, cwd=cwd)


def test_mypy_on_the_package(tmp_path: Path) -> None:
    done = mypy(PACKAGE, cwd=tmp_path)
    assert done.returncode == 0, done.stdout


def test_pyright_on_the_package(tmp_path: Path) -> None:
    config = tmp_path / "pyrightconfig.json"
    config.write_text(f'{{"typeCheckingMode": "standard", "include": ["{PACKAGE}"]}}')
    done = pyright("--project", config, "--level", "error", cwd=tmp_path)
    assert done.returncode == 0, done.stdout


def test_every_public_type_is_known(tmp_path: Path) -> None:
    done = pyright("--verifytypes", "psm", "--ignoreexternal", cwd=tmp_path)
    assert re.search(r"Path of py.typed file: .*py.typed", done.stdout), done.stdout
    assert "Type completeness score: 100%" in done.stdout, done.stdout


@pytest.mark.parametrize("check", [mypy, pyright])
def test_a_program_of_a_user(tmp_path: Path, check: Any) -> None:
    good = tmp_path / "good.py"
    good.write_text(PROGRAM)
    wrong = tmp_path / "wrong.py"
    wrong.write_text("import psm\n\n" + "\n".join(WRONG) + "\n")
    if check is pyright:
        (tmp_path / "pyrightconfig.json").write_text('{"typeCheckingMode": "standard"}')
    done = check("good.py", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    done = check("wrong.py", cwd=tmp_path)
    found = {
        int(line) for line in re.findall(r"wrong\.py:(\d+)(?::\d+)?(?: -|:) error", done.stdout)
    }
    assert found == set(range(3, 3 + len(WRONG))), done.stdout
