"""Names for segments, processes to share them with, and a watchdog."""

from __future__ import annotations

import faulthandler
import itertools
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Iterator, List

import pytest

ROOT = Path(__file__).resolve().parents[2]
WATCHDOG = 120  # seconds; no test comes near it unless it hangs
_serial = itertools.count()


def file_of(name: str) -> Path:
    """The file behind a segment's name."""
    return Path("/dev/shm") / name[4:] if name.startswith("shm:") else Path(name)


@pytest.fixture(autouse=True)
def watchdog() -> Iterator[None]:
    def hung(*_: Any) -> None:
        raise TimeoutError(f"the test hung for {WATCHDOG} s")

    before = signal.signal(signal.SIGALRM, hung)
    signal.alarm(WATCHDOG)
    # For a hang inside a C call, which no Python handler interrupts.
    faulthandler.dump_traceback_later(WATCHDOG + 30, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def new_name() -> Iterator[Callable[[], str]]:
    """A function that gives unused names; their files go after the test."""
    given: List[str] = []

    def make() -> str:
        given.append(f"shm:psm-py-{os.getpid()}-{next(_serial)}")
        return given[-1]

    yield make
    for name in given:
        file_of(name).unlink(missing_ok=True)


@pytest.fixture
def name(new_name: Callable[[], str]) -> str:
    return new_name()


@pytest.fixture
def segment(name: str) -> Iterator[Any]:
    import psm

    with psm.open(name, "4MiB") as opened:
        yield opened


def run_python(code: str, *arguments: object, python: str = sys.executable) -> None:
    """Runs a program that must end well and say nothing, not even a warning."""
    done = subprocess.run(
        [python, "-W", "error", "-X", "dev", "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        timeout=WATCHDOG,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def in_child(work: Callable[[], object]) -> int:
    """Runs `work` in a child by os.fork; its exit status."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class Peer:
    """A process that answers each line with one line, "ok ..." or "error ..."."""

    def __init__(self, command: List[str]) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def send(self, *words: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()

    def receive(self) -> List[int]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().split()
        assert line and line[0] == "ok", f"the peer says {line}"
        return [int(word, 0) for word in line[1:]]

    def ask(self, *words: object) -> List[int]:
        self.send(*words)
        return self.receive()

    def kill(self) -> None:
        self.process.kill()
        assert self.process.wait(WATCHDOG) == -signal.SIGKILL

    def end(self) -> None:
        """Closes the segment and leaves, with nothing to complain about."""
        self.ask("close")
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(WATCHDOG) == 0

    def abandon(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    pass


def compile_c(program: Path, source: Path) -> Path:
    """A C program with the core in it: no libpsm needs to be installed."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.fail("the tests across languages need a C compiler")
    include = [f"-I{ROOT / 'include'}", f"-I{ROOT / 'core'}"]
    sources = [str(source), str(ROOT / "core" / "psm.c")]
    command = [*compiler.split(), "-std=gnu11", "-O2", "-g", *include, *sources]
    subprocess.run([*command, "-o", str(program), "-pthread"], check=True, timeout=WATCHDOG)
    return program


@pytest.fixture(scope="session")
def peer_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_c(tmp_path_factory.mktemp("peer") / "peer", Path(__file__).with_name("peer.c"))


@pytest.fixture
def peers(peer_program: Path) -> Iterator[Callable[[str], Peer]]:
    """A function that starts a peer: "c" or "python"."""
    started: List[Peer] = []

    def start(language: str) -> Peer:
        script = str(Path(__file__).with_name("peer.py"))
        started.append(Peer([str(peer_program)] if language == "c" else [sys.executable, script]))
        return started[-1]

    yield start
    for peer in started:
        peer.abandon()
