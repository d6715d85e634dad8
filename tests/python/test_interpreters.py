"""Threads, the interpreter's lock, subinterpreters and free-threaded builds."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import threading
import time
from typing import Any, Callable

import pytest

import psm
from conftest import WATCHDOG, Peer


def test_others_run_while_a_thread_waits_for_a_lock(
    segment: Any, peers: Callable[[str], Peer]
) -> None:
    """Were the interpreter's lock held, nobody could tell the peer to unlock."""
    import peer as mine

    mine.build(segment, 0)
    peer = peers("c")
    peer.ask("open", segment.name, segment.size)
    peer.ask("lock")
    got = threading.Event()

    def wait() -> None:
        with segment.lock(mine.root(segment)):
            got.set()

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.05)
    assert not got.is_set()
    peer.ask("unlock")
    assert got.wait(WATCHDOG)
    thread.join()


@pytest.mark.parametrize("call", ["check", "stat", "walk"])
def test_others_run_during_long_calls(name: str, call: str) -> None:
    """With a switch interval of ages only a call that gives the lock up lets others run."""
    with psm.open(name, "64MiB") as segment:
        held = [segment.alloc(16) for _ in range(200_000)]
        work = {
            "check": segment.check,
            "stat": segment.stat,
            "walk": lambda: next(segment.blocks()),
        }[call]
        turns, stop, started = [0], threading.Event(), threading.Event()

        def count() -> None:
            started.set()
            while not stop.is_set():
                turns[0] += 1
                time.sleep(0)  # gives the lock back at once

        before = sys.getswitchinterval()
        thread = threading.Thread(target=count)
        try:
            thread.start()
            started.wait()
            sys.setswitchinterval(WATCHDOG)
            seen = turns[0]
            while turns[0] == seen:
                work()
        finally:
            sys.setswitchinterval(before)
            stop.set()
            thread.join()
        assert turns[0] > seen
        del held


def subinterpreters() -> Any:
    for name in ("_interpreters", "_xxsubinterpreters"):
        try:
            return __import__(name)
        except ImportError:
            pass
    pytest.skip("this Python has no subinterpreters to test with")


SUBINTERPRETER = """
import sys
for name in ("_interpreters", "_xxsubinterpreters"):
    try:
        interpreters = __import__(name)
        break
    except ImportError:
        pass
{first}
other = interpreters.create()
code = '''if True:
    import sys
    sys.path[:] = {path!r}
    try:
        import psm
    except ImportError as error:
        assert "subinterpreter" in str(error), error
        assert "psm" not in sys.modules
    else:
        raise AssertionError("it was imported")
'''
result = interpreters.run_string(other, code)
assert not result, result
interpreters.destroy(other)
import psm
with psm.open({name!r}, "1MiB") as segment:
    segment.alloc(10).free()
"""


@pytest.mark.parametrize("first", ["", "import psm"])
def test_a_subinterpreter_is_refused(name: str, first: str) -> None:
    """In words, and the main interpreter goes on, whoever came first."""
    subinterpreters()
    code = SUBINTERPRETER.format(first=first, path=sys.path, name=name)
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=WATCHDOG,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_views_come_and_go_in_threads(segment: Any) -> None:
    """The count of views is exact, whoever takes and gives them."""
    block = segment.alloc(64)
    failures = []

    def work() -> None:
        try:
            for _ in range(3000):
                with memoryview(block) as view:
                    view[0] = 1
                try:
                    block.free()
                    failures.append("freed beneath the view that is held")
                except psm.BlockInUse:
                    pass
        except BaseException as error:
            failures.append(repr(error))

    held = memoryview(block)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == [] and block.exports == 1
    held.release()
    block.free()


def test_free_threaded() -> None:
    """Without the interpreter's lock: the package does not claim to work, so Python turns it on."""
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        pytest.skip("this Python has the interpreter's lock; there is no free-threaded one here")
    code = "import sys, psm; assert sys._is_gil_enabled()"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=WATCHDOG)
