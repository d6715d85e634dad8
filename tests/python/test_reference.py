"""Hand over by reference: a name and an offset reach the other process, and nothing else."""

from __future__ import annotations

import concurrent.futures
import importlib.util
import multiprocessing
import os
import pickle
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Callable

import pytest

import psm
from conftest import WATCHDOG, file_of

np = pytest.importorskip("numpy")

METHODS = ["fork", "spawn", "forkserver"]
GIB = 1 << 30


def ends_of(array: Any) -> "tuple[int, float, float, int]":
    """Reads both ends, and writes an answer between them."""
    array[1] = os.getpid()
    return os.getpid(), float(array[0]), float(array[-1]), array.address


@pytest.mark.parametrize("method", METHODS)
def test_a_gibibyte_reaches_a_worker_in_200_bytes(name: str, method: str) -> None:
    """It is sparse: only the pages that are touched take memory."""
    context: Any = multiprocessing.get_context(method)
    with psm.open(name, GIB + (64 << 20)) as segment:
        array = segment.array(GIB // 8)
        assert array.nbytes == GIB
        array[0], array[-1] = 1.5, 2.5
        assert len(pickle.dumps(array)) < 200
        with context.Pool(1) as pool:
            pid, first, last, address = pool.apply(ends_of, (array,))
            pool.close()
            pool.join()
        assert pid != os.getpid() and (first, last) == (1.5, 2.5)
        assert array[1] == pid and address == array.address
        array.free()


class Counting(Connection):
    """A connection that knows how many bytes it sends."""

    sent = 0

    def _send_bytes(self, buf: Any) -> None:
        Counting.sent += len(buf)
        super()._send_bytes(buf)  # type: ignore[misc]


def answer_through(pipe: Connection) -> None:
    while True:
        what = pipe.recv()
        if what is None:
            return
        what[:4] = b"pipe" if isinstance(what, psm.Block) else 7
        pipe.send(what)


@pytest.mark.parametrize("method", METHODS)
def test_pipe(segment: Any, method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    mine, other = context.Pipe()
    counting = Counting(os.dup(mine.fileno()))
    process = context.Process(target=answer_through, args=(other,), daemon=True)
    process.start()
    block, array = segment.alloc(1_000_000), segment.array(100_000)
    for what in (block, array):
        Counting.sent = 0
        counting.send(what)
        assert 20 < Counting.sent < 220
        assert mine.poll(WATCHDOG)
        got = mine.recv()
        assert type(got) is type(what) and got.address == what.address
    assert block[:4] == b"pipe" and array[:4].tolist() == [7] * 4
    counting.send(None)
    process.join(WATCHDOG)
    assert process.exitcode == 0
    counting.close()


def answer_queue(questions: Any, answers: Any) -> None:
    while True:
        what = questions.get()
        if what is None:
            return
        what += 1
        answers.put((os.getpid(), what[::2]))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["Queue", "SimpleQueue", "JoinableQueue"])
def test_queue(segment: Any, method: str, kind: str) -> None:
    context: Any = multiprocessing.get_context(method)
    questions, answers = getattr(context, kind)(), getattr(context, kind)()
    process = context.Process(target=answer_queue, args=(questions, answers), daemon=True)
    process.start()
    for i in range(5):
        array = segment.copy(np.full(1000, i))
        questions.put(array)
        pid, got = answers.get()
        assert pid == process.pid and got.address == array.address
        assert got.shape == (500,) and (array == i + 1).all()
        array.free()
    questions.put(None)
    process.join(WATCHDOG)
    assert process.exitcode == 0
    del array, got
    assert segment.stat().blocks == 0


def scale(array: Any, by: float) -> Any:
    array *= by
    result = array.segment.empty_like(array)
    result[:] = array + 1
    return result


@pytest.mark.parametrize("method", METHODS)
def test_executor(segment: Any, method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        array = segment.copy(np.ones((8, 100)))
        results = list(pool.map(scale, array, range(8)))
        for i, result in enumerate(results):
            assert type(result) is psm.Array and (result == i + 1).all()
            assert (array[i] == i).all()
            result.free()
        del results, result
        assert segment.stat().blocks == 1


def test_thread_executor_shares_as_well(segment: Any) -> None:
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for result in pool.map(scale, segment.copy(np.ones((8, 100))), range(8)):
            result.free()


@pytest.mark.parametrize("backend", ["loky", "multiprocessing", "threading"])
def test_joblib(segment: Any, backend: str) -> None:
    """joblib copies large arrays to files of its own; it leaves these alone."""
    if importlib.util.find_spec("joblib") is None:
        pytest.skip("joblib is not installed")
    import joblib

    array = segment.copy(np.ones((4, 50_000)))
    jobs = (joblib.delayed(scale)(array[i], i) for i in range(4))
    results = joblib.Parallel(n_jobs=2, backend=backend, max_nbytes=1000)(jobs)
    for i, result in enumerate(results):
        assert (result[:10] == i + 1).all() and (array[i][:10] == i).all()
    if backend == "loky":
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor().shutdown(wait=True)


def test_unrelated_interpreter(segment: Any, tmp_path: Path) -> None:
    """A program that nobody forked opens what it reads from a file."""
    array = segment.copy(np.arange(1000.0))
    block = segment.alloc(100)
    block[:5] = b"hello"
    path = tmp_path / "reference"
    path.write_bytes(pickle.dumps({"array": array[10:20], "block": block, "segment": segment}))
    assert path.stat().st_size < 600
    code = """if True:
        import os, pickle, sys
        with open(sys.argv[1], "rb") as file:
            got = pickle.load(file)
        import psm
        assert type(got["block"]) is psm.Block and got["block"][:5] == b"hello"
        assert got["array"].tolist() == list(range(10, 20))
        assert got["array"].segment is got["segment"] is got["block"].segment
        assert len(got["segment"].members()) == 2
        got["array"][:] = -1
        got["block"].free()
    """
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(path)],
        cwd=folder,
        check=True,
        timeout=WATCHDOG,
    )
    assert (array[10:20] == -1).all() and array[20] == 20
    assert segment.stat().blocks == 1
    assert [m.pid for m in segment.members()] == [os.getpid()]


def test_a_relative_name_is_found_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with psm.open("relative.psm", "1MiB") as segment:
        block = segment.alloc(10)
        sent = pickle.dumps(block).hex()
        code = "import pickle, sys; pickle.loads(bytes.fromhex(sys.argv[1])).free()"
        subprocess.run([sys.executable, "-c", code, sent], cwd="/", check=True, timeout=WATCHDOG)
        assert segment.stat().blocks == 0


def test_within_one_process_it_is_the_same_segment(segment: Any) -> None:
    assert pickle.loads(pickle.dumps(segment)) is segment
    block = segment.alloc(10)
    got = pickle.loads(pickle.dumps(block))
    assert got.segment is segment and got.address == block.address


def test_the_last_reference_leaves(name: str) -> None:
    """What was received keeps the segment open, and nothing else does."""
    code = """if True:
        import gc, pickle, sys
        got = pickle.loads(bytes.fromhex(sys.argv[1]))
        print(len(got.segment.members()), flush=True)
        del got
        gc.collect()
        print("gone", flush=True)
        sys.stdin.read()
    """
    with psm.open(name, "1MiB") as segment:
        sent = pickle.dumps(segment.array(10)).hex()
        with subprocess.Popen(
            [sys.executable, "-c", code, sent],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "2\n"
            assert process.stdout.readline() == "gone\n"
            assert [m.pid for m in segment.members()] == [os.getpid()]
            process.communicate("", WATCHDOG)


def test_references_to_what_is_gone(new_name: Callable[[], str]) -> None:
    with psm.open(new_name(), "1MiB") as segment:
        block, array = segment.alloc(100), segment.array(10)
        sent = [pickle.dumps(what) for what in (block, array)]
        block.free()
        array.free()
        with pytest.raises(psm.DoubleFree):
            pickle.dumps(block)
        del array
        for data in sent:
            with pytest.raises((psm.DoubleFree, psm.BadPointer)):
                pickle.loads(data)
        other = segment.alloc(40)  # at the same place, perhaps, but smaller
        with pytest.raises((psm.InvalidArgument, psm.DoubleFree, psm.BadPointer)):
            pickle.loads(sent[0])
        other.free()
    for data in sent:
        with pytest.raises(psm.NotFound):
            pickle.loads(data)


def test_pool_initializer_keeps_the_segment(name: str) -> None:
    """The pattern of the documentation: one open for each worker."""
    with psm.open(name, "4MiB") as segment:
        context: Any = multiprocessing.get_context("spawn")
        with context.Pool(1, initializer=keep, initargs=(segment,)) as pool:
            ids = [pool.apply(member_id, (segment.alloc(10),)) for _ in range(3)]
            assert len(set(ids)) == 1 and ids[0] != segment.member_id
            pool.close()
            pool.join()
    assert not file_of(name).exists()


kept: Any = None


def keep(segment: psm.Segment) -> None:
    global kept
    kept = segment


def member_id(block: psm.Block) -> int:
    assert block.segment is kept
    return block.segment.member_id
