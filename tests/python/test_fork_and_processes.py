"""Members by fork, multiprocessing and executors; and their deaths."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import signal
import threading
from typing import Any, List

import pytest

import psm
from conftest import WATCHDOG, file_of, in_child

METHODS = ["fork", "spawn", "forkserver"]


def test_child_by_fork_is_a_member(segment: Any) -> None:
    before = segment.alloc(100)
    before[:3] = b"old"

    def child() -> None:
        assert {m.pid for m in segment.members()} == {os.getpid(), os.getppid()}
        assert before[:3] == b"old"
        before.free()
        new = segment.alloc(100)
        new[:3] = b"new"
        segment.user = new
        segment.close()

    assert in_child(child) == 0
    assert [m.pid for m in segment.members() if m.alive] == [os.getpid()]
    found = segment.block_at(segment.user, 100)
    assert found[:3] == b"new"
    found.free()
    with pytest.raises(psm.DoubleFree):
        segment.free(before.address)
    assert segment.stat().blocks == 0
    segment.check()


def test_child_that_ends_without_closing(segment: Any) -> None:
    def child() -> None:
        for _ in range(1000):
            segment.alloc(64).free()

    for _ in range(20):
        assert in_child(child) == 0
    segment.reap()
    assert len(segment.members()) == 1
    assert segment.stat().blocks == 0
    segment.check()


def test_grandchildren(segment: Any) -> None:
    counter = segment.calloc(16)
    lock = segment.lock(counter)

    def add(depth: int) -> None:
        for _ in range(50):
            with lock:
                counter[8] = counter[8] + 1
        if depth:
            assert in_child(lambda: add(depth - 1)) == 0

    add(3)
    assert counter[8] == 200


def test_view_in_a_child(segment: Any) -> None:
    view = memoryview(segment.alloc(10))
    view[:] = b"0123456789"

    def child() -> None:
        segment.close()
        assert view.tobytes() == b"0123456789" and segment.mapped
        view[0] = 1
        view.release()
        assert not segment.mapped

    assert in_child(child) == 0
    assert view[0] == 1 and segment.mapped


def test_parent_leaves_before_its_child(name: str) -> None:
    segment = psm.open(name, "1MiB")
    block = segment.alloc(10)
    read, write = os.pipe()

    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(write)
            os.read(read, 1)
            block[:2] = b"ok"
            assert block[:2] == b"ok"
            segment.close()
            assert not file_of(name).exists()
            status = 0
        finally:
            os._exit(status)
    os.close(read)
    segment.close()
    assert not segment.mapped and file_of(name).exists()
    os.close(write)
    assert os.waitpid(child, 0)[1] == 0
    assert not file_of(name).exists()


def test_fork_while_threads_allocate(segment: Any) -> None:
    stop = threading.Event()
    failures: List[BaseException] = []

    def work() -> None:
        try:
            while not stop.is_set():
                segment.alloc(100).free()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        assert in_child(lambda: [segment.alloc(100).free() for _ in range(100)]) == 0
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    segment.reap()
    segment.check()
    # The forking thread is not inside a call, but the others may be: what their
    # copies had in flight belongs to the parent, so nothing is lost.
    assert segment.stat().blocks == 0


# ---- multiprocessing --------------------------------------------------------


def fill(segment: psm.Segment, block: psm.Block, queue: Any) -> None:
    block[:] = b"w" * len(block)
    answer = segment.alloc(100_000)
    answer[:] = b"a" * len(answer)
    queue.put((os.getpid(), answer))


@pytest.mark.parametrize("method", METHODS)
def test_process(segment: Any, method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    queue = context.Queue()
    block = segment.alloc(100_000)
    process = context.Process(target=fill, args=(segment, block, queue))
    process.start()
    pid, answer = queue.get(timeout=WATCHDOG)
    process.join()
    assert process.exitcode == 0 and pid == process.pid != os.getpid()
    assert block[:] == b"w" * 100_000 and answer[:] == b"a" * 100_000
    block.free()
    answer.free()
    assert segment.stat().blocks == 0


def upper(block: psm.Block) -> psm.Block:
    result = block.segment.alloc(len(block))
    result[:] = block[:].upper()
    block.free()
    return result


@pytest.mark.parametrize("method", METHODS)
def test_executor(segment: Any, method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        blocks = []
        for i in range(50):
            blocks.append(segment.alloc(1000))
            blocks[-1][:] = b"%4d" % i + b"x" * 996
        for i, result in enumerate(pool.map(upper, blocks)):
            assert result[:] == b"%4d" % i + b"X" * 996
            result.free()
    assert segment.stat().blocks == 0
    segment.check()


def forever(segment: psm.Segment, ready: Any) -> None:
    ready.set()
    while True:
        segment.alloc(100).free()


@pytest.mark.parametrize("method", METHODS)
def test_worker_is_killed(segment: Any, method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    for _ in range(3):
        ready = context.Event()
        process = context.Process(target=forever, args=(segment, ready))
        process.start()
        assert ready.wait(WATCHDOG)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        for _ in range(100):
            segment.alloc(100).free()
    segment.reap()
    assert [m.pid for m in segment.members()] == [os.getpid()]
    assert segment.stat().blocks <= 3
    segment.check()
