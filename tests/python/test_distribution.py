"""The sdist, the wheel that is built from it elsewhere, and what they do when installed."""

from __future__ import annotations

import email
import email.message
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import List

import pytest

import psm
from conftest import ROOT, file_of

PACKAGE = ROOT / "bindings" / "python" / "psm"
MINUTES = 10 * 60  # a watchdog: these tests use the network


def call(*command: object, cwd: Path = ROOT) -> str:
    """Runs a command that must succeed; what it printed."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env={**environment, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=MINUTES,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    call(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", folder, ROOT)
    [path] = folder.iterdir()
    return path


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built in an empty folder, from what the sdist holds and nothing else."""
    folder = tmp_path_factory.mktemp("elsewhere")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder)
    [tree] = folder.iterdir()
    out = tmp_path_factory.mktemp("wheel")
    call(sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", out, tree, cwd=folder)
    [path] = out.iterdir()
    return path


def test_contents_of_the_sdist(sdist: Path) -> None:
    assert sdist.name == f"psm-{psm.__version__}.tar.gz"
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for needed in ("LICENSE", "README.md", "pyproject.toml", "include/psm.h", "core/psm.c"):
        assert needed in names
    for path in (ROOT / "core").rglob("*.[ch]"):
        assert str(path.relative_to(ROOT)) in names
    tops = {name.partition("/")[0] for name in names if name}
    assert tops <= {
        "CHANGELOG.md",
        "LICENSE",
        "PKG-INFO",
        "README.md",
        "bindings",
        "core",
        "include",
        "pyproject.toml",
    }


def test_contents_of_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    info = f"psm-{psm.__version__}.dist-info"
    sources = {f"psm/{path.name}" for path in PACKAGE.iterdir() if path.is_file()}
    assert {"psm/py.typed", "psm/_buffer.pyi", "psm/_psm.pyi"} < sources
    expected = {f"{info}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "licenses/LICENSE")}
    assert names == sources | expected | {"psm/_psm.abi3.so"}


def metadata(wheel: Path, name: str) -> email.message.Message:
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(f"psm-{psm.__version__}.dist-info/{name}").decode()
    return email.message_from_string(text)


def test_metadata(wheel: Path) -> None:
    fields = metadata(wheel, "METADATA")
    assert fields["Name"] == "psm" and fields["Version"] == psm.__version__
    assert fields["Requires-Python"] == ">=3.9"
    assert "MIT" in (fields["License-Expression"] or fields["License"] or "")
    assert "# psm for Python" in str(fields.get_payload())
    needed = [line for line in fields.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert needed == ["cffi>=1.15"]
    assert {"numpy", "arrow", "test"} <= set(fields.get_all("Provides-Extra", []))
    for classifier in fields.get_all("Classifier", []):
        assert " :: " in classifier


def test_tag(wheel: Path) -> None:
    """One file for every CPython from 3.9 on."""
    assert wheel.name.startswith(f"psm-{psm.__version__}-cp39-abi3-linux_")
    assert metadata(wheel, "WHEEL")["Root-Is-Purelib"] == "false"


def test_extension_needs_what_every_linux_has(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        library = archive.extract("psm/_psm.abi3.so", tmp_path)
    listing = call("readelf", "-d", library)
    needed = set(re.findall(r"NEEDED.*\[(.*)\]", listing))
    assert needed <= {"libc.so.6", "libpthread.so.0", "ld-linux-x86-64.so.2"}, needed
    assert "RPATH" not in listing and "RUNPATH" not in listing


def interpreters() -> List[str]:
    """Each CPython from 3.9 on that can be found here, by its real path."""
    folders = [*os.environ.get("PATH", "").split(os.pathsep), "/usr/bin", "/usr/local/bin"]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    folders += [str(folder / "bin") for folder in sorted(pyenv.glob("3.*"))]
    found = {}
    code = (
        "import os, sys, venv; assert sys.version_info >= (3, 9)\n"
        "assert sys.implementation.name == 'cpython'\n"
        "print(os.path.realpath(sys.executable))"
    )
    for folder in dict.fromkeys(folders):
        for name in ("python3", *(f"python3.{minor}" for minor in range(9, 20))):
            if "shims" in folder or not shutil.which(name, path=folder):
                continue
            done = subprocess.run(
                [os.path.join(folder, name), "-c", code],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            if done.returncode == 0:
                found.setdefault(done.stdout.strip(), os.path.join(folder, name))
    return sorted(found)


SMOKE = """
import multiprocessing, os, pickle, sys

def upper(block):
    block[:5] = block[:5].upper()
    return block

def main():
    from importlib.metadata import distributions
    assert {d.metadata["Name"] for d in distributions()} <= {"psm", "cffi", "pycparser"}
    import psm
    assert os.path.realpath(psm.__file__).startswith(os.path.realpath(sys.prefix)), psm.__file__
    assert "numpy" not in sys.modules
    with psm.open(sys.argv[1], "4MiB") as segment:
        block = segment.alloc(100)
        block[:5] = b"hello"
        with memoryview(block) as view:
            try:
                block.free()
            except psm.BlockInUse:
                pass
            else:
                raise AssertionError
        for method in ("fork", "spawn"):
            with multiprocessing.get_context(method).Pool(1) as pool:
                assert pool.apply(upper, (block,)).address == block.address
                pool.close()
                pool.join()
        assert block[:5] == b"HELLO"
        psm.cdef("struct node { struct node *next; };")
        node = segment.new("struct node *")
        node.next = node
        segment.root = segment.block_at(node)
        assert segment.root.address == segment.address + segment.root.offset
        segment.check()
        segment.root.free()
        view = memoryview(block)
        segment.close()
        assert bytes(view[:5]) == b"HELLO" and segment.mapped
        view.release()
        assert not segment.mapped

if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("python", interpreters())
def test_in_a_clean_environment(python: str, wheel: Path, name: str, tmp_path: Path) -> None:
    home = tmp_path / "environment"
    call(python, "-m", "venv", "--without-pip", home)
    inside = home / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", inside, "--disable-pip-version-check"]
    call(*pip, "install", "--quiet", wheel)
    script = tmp_path / "smoke.py"
    script.write_text(SMOKE)
    assert call(inside, "-X", "dev", "-W", "error", script, name, cwd=tmp_path) == ""
    assert not file_of(name).exists()


def test_there_are_interpreters() -> None:
    assert os.path.realpath(sys.executable) in interpreters()


def test_cibuildwheel_builds_all_that_is_promised() -> None:
    pytest.importorskip("cibuildwheel", reason="cibuildwheel is not installed")
    lines = call(
        *(sys.executable, "-m", "cibuildwheel", "--print-build-identifiers"),
        *("--platform", "linux", "--archs", "x86_64,aarch64", ROOT),
    )
    assert sorted(re.findall(r"^cp\S+$", lines, re.MULTILINE)) == [
        "cp39-manylinux_aarch64",
        "cp39-manylinux_x86_64",
        "cp39-musllinux_aarch64",
        "cp39-musllinux_x86_64",
    ]
