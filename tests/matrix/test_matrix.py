"""Every language reads what every other wrote, and frees what it allocated.

The programs are examples/<language>/hello and queue; examples/README.md says
what they write. Each pair has a segment of its own, and must leave no file.
"""

from __future__ import annotations

import itertools
import os
import re
import select
import signal
import subprocess
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest
from languages import LANGUAGES, registry

import psm

SECONDS = 120  # a watchdog
COUNT = 10000
SUM = sum((i + k) % 256 for i in range(COUNT) for k in range(i % 200))
PIPE_BYTES = 1 << 16
_serial = itertools.count()

HERE = list(registry().commands)
pairs = pytest.mark.parametrize(
    "one, other", list(itertools.product(HERE, HERE)), ids=lambda language: language
)


@pytest.fixture
def name() -> Iterator[str]:
    """The name of a segment; its file must be gone after the test."""
    plain = f"psm-matrix-{os.getpid()}-{next(_serial)}"
    yield f"shm:{plain}"
    file = Path("/dev/shm") / plain
    left = file.exists()
    file.unlink(missing_ok=True)
    assert not left, f"{file} was left behind"


def start(language: str, story: str, *arguments: object) -> "subprocess.Popen[bytes]":
    words = [*registry().commands[language][story], *map(str, arguments)]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)


def end(process: "subprocess.Popen[bytes]") -> str:
    """Close its input, and give what it still says; it must end well."""
    try:
        out, err = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"{process.args} hung: {out!r} {err!r}") from None
    assert process.returncode == 0, f"{process.args}: {err.decode()}"
    assert not err, f"{process.args}: {err.decode()}"
    return out.decode()


def abandon(*processes: "subprocess.Popen[bytes]") -> None:
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_programs_are_here(language: str) -> None:
    if language in registry().missing:
        pytest.skip(registry().missing[language])
    assert language not in registry().broken, registry().broken[language]


@pairs
def test_hello(name: str, one: str, other: str) -> None:
    writer = start(one, "hello", "write", name)
    try:
        assert writer.stdout is not None
        line = writer.stdout.readline().decode()
        wrote = re.fullmatch(r"wrote (\d+)\n", line)
        assert wrote, f"{one} says {line!r}"
        said = end(start(other, "hello", "read", name))
        assert said == f"read {wrote[1]} hello from {one}\n"
        with psm.open(name) as segment:
            segment.check()
            assert segment.stat().blocks == 0 and segment.user == 0
        assert end(writer) == ""
    finally:
        abandon(writer)


@pairs
def test_queue(name: str, one: str, other: str) -> None:
    both = [("queue", "produce", name, COUNT), ("queue", "consume", name, COUNT)]
    producer_first = (HERE.index(one) + HERE.index(other)) % 2 == 0
    if producer_first:
        producer, consumer = start(one, *both[0]), start(other, *both[1])
    else:
        consumer, producer = start(other, *both[1]), start(one, *both[0])
    try:
        # Wait for the producer first: the consumer can only wait for it.
        assert end(producer) == f"produced {COUNT} {SUM}\n"
        assert end(consumer) == f"consumed {COUNT} {SUM}\n"
    finally:
        abandon(producer, consumer)


class Churner:
    """A process that allocates and frees for ever, and says so now and then."""

    def __init__(self, language: str, name: str) -> None:
        self.language = language
        self.process = start(language, "hello", "churn", name)
        assert self.process.stdout is not None
        self.out = self.process.stdout.fileno()
        self.turns()

    def _read(self) -> bytes:
        if os.get_blocking(self.out):
            ready, _, _ = select.select([self.out], [], [], SECONDS)
            assert ready, f"{self.language} says nothing more"
        data = os.read(self.out, PIPE_BYTES)
        assert data, f"{self.language} ended: {self.process.stderr and self.process.stderr.read()!r}"
        return data

    def turns(self) -> None:
        """Wait until it says something that it cannot have said before this call."""
        os.set_blocking(self.out, False)
        stale = 0
        try:
            while stale <= PIPE_BYTES:
                stale += len(self._read())
        except BlockingIOError:
            pass
        os.set_blocking(self.out, True)
        seen = self._read()
        while seen.count(b"\n") < 2:
            seen += self._read()
        assert re.fullmatch(rb"turn \d+", seen.split(b"\n")[-2]), seen

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()
        assert self.process.returncode == -signal.SIGKILL


def check_segment(segment: Any, churners: Dict[str, Churner], dead: int) -> None:
    segment.check()
    assert segment.sound
    assert segment.stat().members == len(churners) + 1  # and this process
    # A killed one leaves the blocks that it kept, and one in flight.
    assert segment.stat().blocks <= 33 * len(churners) + 34 * dead


def test_all_at_once_and_each_is_killed_in_turn(name: str) -> None:
    able, unable = churning()
    if unable:
        print(f"no role churn: {' '.join(unable)}")
    assert len(able) >= 2
    churners: Dict[str, Churner] = {}
    with psm.open(name, "4MiB") as segment:
        try:
            for language in able:
                churners[language] = Churner(language, name)
            check_segment(segment, churners, 0)
            for dead, victim in enumerate(able, 1):
                churners.pop(victim).kill()
                for survivor in churners.values():
                    survivor.turns()
                segment.reap()
                check_segment(segment, churners, dead)
                churners[victim] = Churner(victim, name)
            for churner in churners.values():
                end(churner.process)
            check_segment(segment, {}, len(able))
        finally:
            abandon(*(churner.process for churner in churners.values()))


def churning() -> Tuple[List[str], List[str]]:
    """The languages whose hello has the role `churn`, and those that lack it."""
    able: List[str] = []
    for language in HERE:
        folder = Path(__file__).resolve().parents[2] / "examples" / language
        if any("churn" in file.read_text() for file in folder.glob("hello.*")):
            able.append(language)
    return able, [language for language in HERE if language not in able]


def test_the_grid_is_as_large_as_promised() -> None:
    if registry().missing:
        pytest.skip(f"not all are here: {' '.join(registry().missing)}")
    assert len(HERE) >= 12
