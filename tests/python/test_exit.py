"""However the interpreter ends, it is silent and leaves no file."""

from __future__ import annotations

from typing import Callable

import pytest

from conftest import file_of, run_python

EXITS = {
    "open": "",
    "block": "block = segment.alloc(10)",
    "view": "view = memoryview(segment.alloc(10))",
    "view of the segment": "view = segment.view(segment.address, 100)",
    "view after closing": "view = memoryview(segment.alloc(10)); segment.close()",
    "closed": "segment.close()",
    "generator": "walk = segment.blocks(); segment.alloc(1); segment.alloc(1); next(walk)",
    "pointer": "node = segment.new('int *')",
    "lock object": "lock = segment.lock(segment.calloc(4))",
    "cycle": "class C: pass\nc = C(); c.c = c; c.s = segment; c.v = memoryview(segment.alloc(1))",
    "twice": "more = [psm.open(sys.argv[1]) for _ in range(5)]",
    "in a module": "sys.modules['psm_test_x'] = [segment, segment.alloc(1)]; del segment",
    "hook": "import atexit; atexit.register(lambda: segment.alloc(1))",
    "sys.exit": "sys.exit(0)",
    "array": "a = segment.array(1000); a[:] = 1",
    "slice of an array": "a = segment.array((100, 100))[1:, ::2]",
    "freed array": "a = segment.array(1000); a.free(); b = a[5:]",
    "array after closing": "a = segment.array(1000); segment.close(); a[:] = 2",
    "array in a module": "import builtins; builtins.psm_test_array = segment.array(9)",
    "array of a freed name": "a = segment.array(9); s = segment; del segment, s",
    "thread": """
import threading
threading.Thread(target=lambda: [segment.alloc(9).free() for _ in range(10000)]).start()""",
    "array in a thread": """
import threading, time
def work(a=segment.array(1000)):
    time.sleep(0.05); a[:] = 1
threading.Thread(target=work).start()""",
    "deleter": """
class Late:
    def __init__(self, segment): self.segment = segment; self.block = segment.alloc(1)
    def __del__(self):
        try:
            self.block.free()
        except Exception:
            pass
late = Late(segment)""",
}


@pytest.mark.parametrize("what", EXITS)
def test_exit(what: str, name: str) -> None:
    run_python("import sys, psm; segment = psm.open(sys.argv[1], '1MiB')\n" + EXITS[what], name)
    assert not file_of(name).exists()


DAEMONS = {
    "allocating": "while True: segment.free(segment.alloc(50).address)",
    "viewing": "while True: memoryview(segment.alloc(0)).tobytes()",
    "waiting for a lock": "segment.lock(address).acquire()",
    "opening": "while True: psm.open(sys.argv[1]).close()",
}


@pytest.mark.parametrize("what", DAEMONS)
def test_exit_with_daemon_threads(what: str, name: str) -> None:
    code = f"""if True:
        import sys, threading, time, psm
        segment = psm.open(sys.argv[1], "8MiB")
        address = segment.calloc(16).address
        segment.lock(address).acquire()
        def work():
            try:
                {DAEMONS[what]}
            except psm.Error:
                pass
        for _ in range(3):
            threading.Thread(target=work, daemon=True).start()
        time.sleep(0.05)
    """
    run_python(code, name)


def test_exit_order_of_two_segments(new_name: Callable[[], str]) -> None:
    names = new_name(), new_name()
    code = """if True:
        import sys, psm
        one, two = (psm.open(name, "1MiB") for name in sys.argv[1:])
        a, b = memoryview(one.alloc(8)), memoryview(two.alloc(8))
        one.user, two.user = 1, 2
        two.close()
    """
    run_python(code, *names)
    assert [file_of(name).exists() for name in names] == [False, False]
