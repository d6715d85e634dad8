"""The package itself: what is in it, and what it says of itself."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import psm
from conftest import ROOT, WATCHDOG, file_of
from psm.sizes import parse_size, show_size

PACKAGE = Path(psm.__file__).parent


def test_version_is_that_of_the_header() -> None:
    header = (ROOT / "include" / "psm.h").read_text()
    parts = [
        re.search(rf"#define PSM_VERSION_{part} (\d+)", header).group(1)  # type: ignore[union-attr]
        for part in ("MAJOR", "MINOR", "PATCH")
    ]
    assert psm.__version__ == ".".join(parts) == importlib.metadata.version("psm")


def test_extension_exports_its_modules_only() -> None:
    listing = subprocess.run(
        ["nm", "-D", "--defined-only", str(PACKAGE / "_psm.abi3.so")],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    assert sorted(line.split()[-1] for line in listing.splitlines()) == [
        "PyInit__buffer",
        "PyInit__psm",
    ]


def test_import_is_light() -> None:
    """The C parser comes only with the first cdef."""
    code = "import sys, psm; print('pycparser' in sys.modules, 'cffi' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, timeout=WATCHDOG
    )
    assert done.stdout.split() == ["False", "False"]


def test_all_names_exist() -> None:
    for word in psm.__all__:
        assert getattr(psm, word) is not None
    with pytest.raises(AttributeError):
        psm.nonsense


def readme_examples() -> "list[str]":
    text = (ROOT / "bindings" / "python" / "README.md").read_text()
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("example", readme_examples())
def test_readme(example: str, name: str, tmp_path: Path) -> None:
    code = example.replace("shm:psm-example", name)
    assert name in code
    script = tmp_path / "example.py"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        stderr=subprocess.PIPE,
        text=True,
        timeout=WATCHDOG,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert not file_of(name).exists()


@pytest.mark.parametrize(
    "text, nbytes",
    [
        ("0", 0),
        ("4096", 4096),
        ("64MiB", 64 << 20),
        ("64 mib", 64 << 20),
        ("1k", 1000),
        ("10 kB", 10_000),
        ("2GiB", 2 << 30),
        ("3 T", 3 * 10**12),
        ("5 Ti", 5 << 40),
        (12345, 12345),
    ],
)
def test_sizes(text: Any, nbytes: int) -> None:
    assert parse_size(text) == nbytes


@pytest.mark.parametrize("text", ["", "MiB", "-1", "1.5MiB", "1 PiB", "1 M iB", "0x10", "１"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(ValueError):
        parse_size(text)


def test_sizes_of_other_types() -> None:
    with pytest.raises(ValueError):
        parse_size(-1)
    with pytest.raises((TypeError, AttributeError)):
        parse_size(1.5)  # type: ignore[arg-type]
    assert [show_size(n) for n in (0, 1000, 1024, 3 << 20)] == ["0 B", "1000 B", "1 KiB", "3 MiB"]
