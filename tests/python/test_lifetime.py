"""No order of closing, freeing and exiting can crash or leave a dangling view."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
import weakref
from typing import Any, Callable

import pytest

import psm
from conftest import WATCHDOG, file_of


def test_closing_is_deferred_while_a_view_lives(name: str) -> None:
    segment = psm.open(name, "1MiB")
    block = segment.alloc(100)
    view = memoryview(block)
    part = view[10:20]
    other = segment.view(block, 5)
    segment.close()
    assert segment.closed and segment.mapped
    view[:] = b"x" * 100
    view.release()
    assert part.tobytes() == b"x" * 10
    part.release()
    assert segment.mapped and file_of(name).exists()
    assert other.tobytes() == b"xxxxx"
    del other
    assert not segment.mapped
    assert not file_of(name).exists()


def test_closed_segment_refuses_everything(segment: Any) -> None:
    block = segment.alloc(100)
    lock = segment.lock(segment.calloc(1, 16))
    walk = segment.blocks()
    view = memoryview(block)
    segment.close()
    address = block.address
    for access in (
        lambda: segment.alloc(1),
        lambda: segment.calloc(1),
        lambda: segment.aligned(64, 1),
        lambda: segment.realloc(address, 1),
        lambda: segment.free(address),
        lambda: segment.block_at(address),
        lambda: segment.block_at(address, 1),
        lambda: segment.alloc_to(address, 1),
        lambda: segment.free_from(address),
        lambda: segment.user,
        lambda: setattr(segment, "user", 1),
        lambda: segment.user_address,
        lambda: segment.view(address, 1),
        lambda: segment.cast("int *", address),
        lambda: segment.new("int *"),
        lambda: segment.offset(address),
        lambda: segment.address_of(100_000),
        lambda: segment.stat(),
        lambda: segment.check(),
        lambda: segment.sound,
        lambda: segment.members(),
        lambda: segment.reap(),
        lambda: segment.trim(),
        lambda: next(walk),
        lambda: lock.acquire(),
        lambda: block[0],
        lambda: block[:],
        lambda: block.__setitem__(0, 1),
    ):
        with pytest.raises(psm.Closed):
            access()
    with pytest.raises(psm.BlockInUse):
        block.free()
    view.release()
    with pytest.raises(psm.Closed):
        block.free()
    with pytest.raises(BufferError):
        memoryview(block)
    with pytest.raises(psm.Closed):
        lock.release()


def test_freed_block_refuses_access(segment: Any) -> None:
    block = segment.alloc(100)
    block.free()
    for access in (
        lambda: block[0],
        lambda: block[:],
        lambda: block.__setitem__(0, 1),
        lambda: block.free(),
        lambda: segment.free(block),
        lambda: segment.realloc(block, 10),
        lambda: segment.view(block, 10),
        lambda: segment.cast("int *", block),
        lambda: setattr(segment, "user", block),
    ):
        with pytest.raises(psm.DoubleFree):
            access()
    with pytest.raises(BufferError):
        memoryview(block)
    assert segment.stat().blocks == 0


def test_block_with_views_is_not_freed(segment: Any) -> None:
    block = segment.alloc(100)
    view = memoryview(block)
    assert block.exports == 1
    for release in (block.free, lambda: segment.free(block), lambda: segment.realloc(block, 1)):
        with pytest.raises(psm.BlockInUse) as caught:
            release()
        assert isinstance(caught.value, BufferError)
    assert not block.freed and block[:1] == view[:1]
    view.release()
    assert block.exports == 0
    block.free()


def test_failed_free_leaves_the_block_usable(segment: Any) -> None:
    block = segment.alloc(100)
    other = segment.block_at(block)
    other.free()
    with pytest.raises(psm.DoubleFree):
        block.free()


def test_two_threads_free_one_block(segment: Any) -> None:
    """One wins; the other must not free what was allocated there since."""
    for _ in range(200):
        block = segment.alloc(64)
        outcomes = []
        start = threading.Barrier(4)

        def release() -> None:
            start.wait()
            try:
                block.free()
                outcomes.append(segment.alloc(64))
            except psm.DoubleFree:
                outcomes.append(None)

        threads = [threading.Thread(target=release) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        [won] = [outcome for outcome in outcomes if outcome is not None]
        won.free()
    assert segment.stat().blocks == 0


def test_objects_keep_what_they_need(name: str) -> None:
    segment = psm.open(name, "1MiB")
    gone = weakref.ref(segment)
    block = segment.alloc(100)
    del segment
    gc.collect()
    assert gone() is not None
    view = memoryview(block)
    block[:3] = b"abc"
    del block
    gc.collect()
    assert view[:3].tobytes() == b"abc"
    del view
    gc.collect()
    assert gone() is None
    assert not file_of(name).exists()


def test_forgotten_segment_is_left(name: str) -> None:
    psm.open(name, "1MiB").alloc(10)
    gc.collect()
    assert not file_of(name).exists()


def test_garbage_cycle(name: str) -> None:
    class Holder:
        pass

    holder = Holder()
    segment = psm.open(name, "1MiB")
    holder.things = [segment, segment.alloc(10), holder]  # type: ignore[attr-defined]
    holder.view = memoryview(holder.things[1])  # type: ignore[attr-defined]
    del segment, holder
    gc.collect()
    assert not file_of(name).exists()


def test_lock_defers_closing(name: str) -> None:
    segment = psm.open(name, "1MiB")
    lock = segment.lock(segment.calloc(1, 16))
    with lock:
        segment.close()
        assert segment.mapped
    assert not segment.mapped


def test_closing_while_threads_are_inside(new_name: Callable[[], str]) -> None:
    for _ in range(20):
        segment = psm.open(new_name(), "1MiB")
        started = threading.Barrier(4)
        ends = []

        def work() -> None:
            started.wait()
            try:
                while True:
                    segment.free(segment.alloc(50).address)
            except psm.Closed:
                ends.append(True)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        started.wait()
        time.sleep(0.005)
        segment.close()
        for thread in threads:
            thread.join()
        assert len(ends) == 3 and not segment.mapped
        assert not file_of(segment.name).exists()


def test_closing_while_a_thread_waits_for_a_lock(name: str) -> None:
    segment = psm.open(name, "1MiB")
    address = segment.calloc(1, 16).address
    lock = segment.lock(address)
    lock.acquire()
    got = []

    def wait() -> None:
        with segment.lock(address) as owner_died:
            got.append(owner_died)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.05)
    segment.close()
    assert segment.mapped and got == []
    lock.release()
    thread.join()
    assert got == [False] and not segment.mapped


def test_read_only(name: str) -> None:
    with psm.open(name, "1MiB") as writer:
        block = writer.alloc(100)
        block[:3] = b"abc"
        writer.user = block
        code = """if True:
            import sys, psm
            with psm.open(sys.argv[1], readonly=True) as reader:
                assert reader.readonly
                found = reader.block_at(reader.user, 100)
                assert found[:3] == b"abc" and memoryview(found).readonly
                assert reader.view(found, 3).readonly
                def refused(call):
                    try:
                        call()
                    except (psm.ReadOnly, TypeError):
                        return
                    raise AssertionError(call)
                refused(lambda: found.__setitem__(0, 1))
                refused(lambda: reader.alloc(1))
                refused(lambda: setattr(reader, "user", 0))
                refused(lambda: reader.free(found.address))
                # How it is mapped was decided; the second must know.
                with psm.open(sys.argv[1]) as again:
                    assert again.readonly
                    refused(lambda: again.view(found, 3).__setitem__(0, 1))
        """
        run(code, name)
        assert block[:3] == b"abc"


def test_a_million_blocks_do_not_grow_the_process(name: str) -> None:
    with psm.open(name, "1MiB") as segment:

        def turn(count: int) -> int:
            for _ in range(count):
                block = segment.alloc(64)
                with memoryview(block) as view:
                    view[0] = 1
                block.free()
            gc.collect()
            with open("/proc/self/statm") as statm:
                return int(statm.read().split()[1])

        before = turn(20_000)
        assert turn(100_000) - before < 64, "pages"


# ---- The end of the interpreter ---------------------------------------------


def run(code: str, *arguments: str) -> None:
    """Runs a program that must end well and say nothing."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        timeout=WATCHDOG,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


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
    run("import sys, psm; segment = psm.open(sys.argv[1], '1MiB')\n" + EXITS[what], name)
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
    run(code, name)


def test_exit_order_of_two_segments(new_name: Callable[[], str]) -> None:
    names = new_name(), new_name()
    code = """if True:
        import sys, psm
        one, two = (psm.open(name, "1MiB") for name in sys.argv[1:])
        a, b = memoryview(one.alloc(8)), memoryview(two.alloc(8))
        one.user, two.user = 1, 2
        two.close()
    """
    run(code, *names)
    assert [file_of(name).exists() for name in names] == [False, False]
