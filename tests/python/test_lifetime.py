"""No order of closing, freeing and exiting can crash or leave a dangling view."""

from __future__ import annotations

import gc
import pickle
import threading
import time
import weakref
from typing import Any, Callable

import pytest

import psm
from conftest import file_of, run_python


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
    with pytest.raises(psm.WrongState), lock:
        lock.acquire(wait=False)  # what is not taken defers nothing
    with lock:
        segment.close()
        assert segment.mapped
    assert not segment.mapped
    with pytest.raises(psm.Closed):
        lock.acquire(wait=False)


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
        run_python(code, name)
        assert block[:3] == b"abc"


def pages() -> int:
    """Resident pages of this process that are its own, not the segment's."""
    gc.collect()
    with open("/proc/self/statm") as statm:
        _, resident, shared, *_ = map(int, statm.read().split())
    return resident - shared


def test_a_million_blocks_do_not_grow_the_process(name: str) -> None:
    with psm.open(name, "1MiB") as segment:

        def turn(count: int) -> None:
            for _ in range(count):
                block = segment.alloc(64)
                with memoryview(block) as view:
                    view[0] = 1
                block.free()

        turn(20_000)
        before, objects = pages(), len(gc.get_objects())
        turn(1_000_000)
        assert pages() - before < 1000  # 4 bytes for each; the least leak is 16
        assert len(gc.get_objects()) - objects < 100
        assert segment.stat().blocks == 0


@pytest.mark.parametrize(
    "what",
    [
        "segment.free(segment.alloc(100).address)",
        "segment.free(segment.new('int *'))",
        "segment.array(10).free()",
        "segment.copy([1, 2, 3])[1:].free()",
        "pickle.loads(pickle.dumps(segment.alloc(10))).free()",
        "segment.root = segment.alloc(10); segment.root.free()",
        "segment.realloc(segment.alloc(10), 5000).free()",
        "refused(lambda: segment.free(segment.address))",
        "refused(lambda: segment.alloc(1 << 40))",
        "refused(lambda: psm.open('/no/such/place'))",
        "psm.open(segment.name).close()",
        "segment.members(); segment.deaths(); list(segment.blocks()); segment.stat()",
        "b = segment.alloc(10); v = memoryview(b); b.free_later(); del v",
    ],
)
def test_nothing_leaks_by(what: str, segment: Any) -> None:
    def refused(call: Callable[[], object]) -> None:
        with pytest.raises(psm.Error):
            call()

    code = compile(what, "test", "exec")
    names = {"segment": segment, "psm": psm, "pickle": pickle, "refused": refused}

    def turn(count: int) -> None:
        for _ in range(count):
            exec(code, names)

    growth = []
    for _ in range(6):  # a leak grows in each of them
        before, objects = pages(), len(gc.get_objects())
        turn(2000)
        growth.append((pages() - before, len(gc.get_objects()) - objects))
        if growth[-1][0] < 8 and growth[-1][1] < 100:
            break
    else:
        pytest.fail(f"pages and objects grow: {growth}")
    names.clear()
    assert segment.stat().blocks == 0
