"""The documentation is true: its programs run, and its reference is that of the package."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any, Iterator, Tuple

import pytest

import psm
from conftest import ROOT, WATCHDOG, file_of

pytest.importorskip("numpy")
pytest.importorskip("pyarrow")
import psm.arrow  # noqa: E402  (it needs pyarrow)

PAGE = ROOT / "docs" / "python.md"


def test_reference_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "python-reference.py"), "--check"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=WATCHDOG,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_page_runs(name: str, tmp_path: Path) -> None:
    """Under a name of its own, so that two runs do not meet."""
    page = tmp_path / "python.md"
    page.write_text(PAGE.read_text().replace("shm:tutorial", name))
    done = subprocess.run(
        [
            *(sys.executable, str(ROOT / "tools" / "readme-snippets.py")),
            *("--python", sys.executable, str(page)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=WATCHDOG,
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.count(": ok") >= 6
    assert not file_of(name).exists()


def public() -> Iterator[Tuple[str, Any]]:
    """Everything that a user sees, by its name."""
    for module, names in (
        (psm, [*psm.__all__, "Array"]),
        (psm.arrow, ["write_table", "read_table"]),
    ):
        for name in names:
            thing = getattr(module, name)
            if name == "ffi":
                continue
            yield name, thing
            if inspect.isclass(thing) and not issubclass(thing, (psm.Error, tuple)):
                for member, value in inspect.getmembers(thing):
                    owner = value.fget if isinstance(value, property) else value
                    if not member.startswith("_") and "psm" in (
                        getattr(owner, "__module__", "") or ""
                    ):
                        yield f"{name}.{member}", owner


@pytest.mark.parametrize("name, thing", [pytest.param(*pair, id=pair[0]) for pair in public()])
def test_docstrings(name: str, thing: Any) -> None:
    """Each says what it is, its arguments and, if it can fail, how."""
    text = inspect.getdoc(thing) or ""
    assert text and text[0].isalnum() or text[0] == "`", name
    if not inspect.isfunction(thing):
        return
    signature = inspect.signature(thing)
    parameters = [word for word in signature.parameters if word != "self"]
    if "Args:" in text:
        for word in parameters:
            assert f"    {word}: " in text, f"{name} does not tell of {word}"
    assert all(
        p.annotation is not inspect.Parameter.empty
        for p in list(signature.parameters.values())[len(signature.parameters) - len(parameters) :]
    )
    assert signature.return_annotation is not inspect.Signature.empty
    # The reference has it.
    assert f".{thing.__name__}" in PAGE.read_text()
