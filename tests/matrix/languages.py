"""The example programs of every language: how each is built, and run.

A row is one language. `command(language, story)` gives the words that run its
`hello` or `queue`; it raises Missing, with the reason, where a program cannot be
had here. The rows of bindings/swig/build.py follow by themselves.
"""

from __future__ import annotations

import functools
import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Callable, Dict, List

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bindings" / "swig"))
import build as swig  # noqa: E402

sys.path.append(str(ROOT / "tools"))

Missing = swig.Missing
Command = Callable[[str], List[str]]


@functools.lru_cache(maxsize=None)
def made(*command: str) -> None:
    """Run a build once."""
    if shutil.which(command[0]) is None:
        raise Missing(f"there is no {command[0]}")
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout[-4000:]}")


def with_cmake(language: str) -> Command:
    def command(story: str) -> List[str]:
        sources = list((ROOT / "examples" / language).glob(f"{story}.*"))
        if not sources:
            raise Missing(f"there is no examples/{language}/{story}")
        made("cmake", "--preset", "release")
        made("cmake", "--build", "--preset", "release", "--target", f"examples/{language}/all")
        program = ROOT / "build" / "release" / "examples" / language / story
        if not program.exists():
            raise Missing(f"the build has no {program.relative_to(ROOT)}")
        return [str(program)]

    return command


def rust(story: str) -> List[str]:
    if not (ROOT / "examples" / "rust" / f"{story}.rs").exists():
        raise Missing(f"there is no examples/rust/{story}.rs")
    reason = importlib.import_module("test-rust").why_not()
    if reason:
        raise Missing(reason)
    made("cargo", "build", "--quiet", "--release", "--package", "psm-tests", "--bins")
    program = ROOT / os.environ.get("CARGO_TARGET_DIR", "build/rust") / "release" / story
    if not program.exists():
        raise Missing(f"cargo made no {program.name}")
    return [str(program)]


def python(story: str) -> List[str]:
    return [sys.executable, str(ROOT / "examples" / "python" / f"{story}.py")]


def with_swig(language: str) -> Command:
    def command(story: str) -> List[str]:
        suffix = swig.LANGUAGES[language].suffix
        return swig.command(language, ROOT / "examples" / language / f"{story}{suffix}")

    return command


LANGUAGES: Dict[str, Command] = {
    "c": with_cmake("c"),
    "cpp": with_cmake("cpp"),
    "python": python,
    "rust": rust,
    **{language: with_swig(language) for language in swig.LANGUAGES},
}


class Registry:
    """What can be run here, and why the rest cannot."""

    def __init__(self) -> None:
        self.commands: Dict[str, Dict[str, List[str]]] = {}
        self.missing: Dict[str, str] = {}
        self.broken: Dict[str, str] = {}
        for language, command in LANGUAGES.items():
            try:
                self.commands[language] = {story: command(story) for story in ("hello", "queue")}
            except Missing as reason:
                self.missing[language] = str(reason)
            except (RuntimeError, SystemExit, OSError, subprocess.SubprocessError) as error:
                self.broken[language] = str(error)


@functools.lru_cache(maxsize=None)
def registry() -> Registry:
    return Registry()
