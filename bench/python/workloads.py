"""One workload of one peer: prints the time of an operation as a line of JSON.

    workloads.py CASE PEER SECONDS

A workload is a generator: what it yields first is the operation that is
measured, what comes after that is the cleaning up. A case that a peer has no
way to do is missing in the table WORKLOADS.
"""

import contextlib
import gc
import json
import multiprocessing
import os
import sys
import time
from multiprocessing.shared_memory import SharedMemory

import numpy as np

import psm

NAME = f"shm:psm-bench-{os.getpid()}"
FORK = multiprocessing.get_context("fork")
KEYS = 10_000
ITEMS = 1_000  # increments for each operation of the counter


@contextlib.contextmanager
def segment(size="64MiB"):
    with psm.open(NAME, size) as opened:
        yield opened


# ---- To create and to free ------------------------------------------------------


def block_psm():
    with segment() as opened:
        yield lambda: opened.alloc(64).free()


def block_shared_memory():
    def turn():
        memory = SharedMemory(create=True, size=64)
        memory.close()
        memory.unlink()

    yield turn


def array_psm(count):
    def turn():
        array = opened.array(count)
        array[0] = array[-1] = 1
        array.free()

    with segment() as opened:
        yield turn


def array_shared_memory(count):
    def turn():
        memory = SharedMemory(create=True, size=8 * count)
        array = np.ndarray(count, buffer=memory.buf)
        array[0] = array[-1] = 1
        del array
        memory.close()
        memory.unlink()

    yield turn


def array_manager(count):
    def turn():
        array = manager.Array("d", [0.0]) if count == 1 else manager.Array("d", zeros)
        array[0] = 1

    zeros = np.zeros(count)
    with FORK.Manager() as manager:
        yield turn


# ---- To hand over to a worker and back --------------------------------------------


def with_worker(work, *arguments):
    mine, other = FORK.Pipe()
    process = FORK.Process(target=work, args=(other, *arguments), daemon=True)
    process.start()
    other.close()
    return process, mine


def answer(pipe):
    """Touches both ends of the array and sends it back."""
    while True:
        array = pipe.recv()
        if array is None:
            return
        array[0] = array[-1] = 2
        pipe.send(array)
        del array


def answer_shared_memory(pipe):
    while True:
        message = pipe.recv()
        if message is None:
            return
        name, count = message
        memory = SharedMemory(name)
        array = np.ndarray(count, buffer=memory.buf)
        array[0] = array[-1] = 2
        del array
        memory.close()
        pipe.send(message)


def handover(pipe, what, read):
    pipe.send(what)
    assert read(pipe.recv()) == 2


def handover_psm(count):
    with segment(8 * count + (64 << 20)) as opened:
        array = opened.array(count)
        process, pipe = with_worker(answer)
        yield lambda: handover(pipe, array, lambda got: got[-1])
        pipe.send(None)
        process.join()


def handover_pickle(count):
    array = np.zeros(count)
    process, pipe = with_worker(answer)
    yield lambda: handover(pipe, array, lambda got: got[-1])
    pipe.send(None)
    process.join()


def handover_shared_memory(count):
    memory = SharedMemory(create=True, size=8 * count)
    array = np.ndarray(count, buffer=memory.buf)
    process, pipe = with_worker(answer_shared_memory)
    yield lambda: handover(pipe, (memory.name, count), lambda got: array[-1])
    pipe.send(None)
    process.join()
    array = None  # or the memory could not be closed
    memory.close()
    memory.unlink()


def answer_manager(pipe, queue, back):
    while True:
        array = queue.get()
        if array is None:
            return
        array[0] = array[-1] = 2
        back.put(array)


def handover_manager(count):
    array = np.zeros(count)
    with FORK.Manager() as manager:
        queue, back = manager.Queue(), manager.Queue()
        process, _ = with_worker(answer_manager, queue, back)

        def turn():
            queue.put(array)
            assert back.get()[-1] == 2

        yield turn
        queue.put(None)
        process.join()


# ---- A counter that two processes add to -------------------------------------------


def add_in_rounds(pipe, add):
    while pipe.recv():
        add(ITEMS)
        pipe.send(True)


def counter(add, value):
    """Both add ITEMS; the time is for all of them."""
    process, pipe = with_worker(add_in_rounds, add)
    expected = value()

    def turn():
        nonlocal expected
        pipe.send(True)
        add(ITEMS)
        pipe.recv()
        expected += 2 * ITEMS
        assert value() == expected

    yield turn
    pipe.send(False)
    process.join()


def counter_psm():
    with segment() as opened:
        block = opened.calloc(16)
        lock = opened.lock(block)
        words = memoryview(block).cast("Q")

        def add(count):
            for _ in range(count):
                with lock:
                    words[1] += 1

        yield from counter(add, lambda: words[1])


def counter_value():
    shared = FORK.Value("Q", 0)

    def add(count):
        for _ in range(count):
            with shared.get_lock():
                shared.value += 1

    yield from counter(add, lambda: shared.value)


def counter_manager():
    with FORK.Manager() as manager:
        shared, lock = manager.Value("Q", 0), manager.Lock()

        def add(count):
            for _ in range(count):
                with lock:
                    shared.value += 1

        yield from counter(add, lambda: shared.value)


def counter_ultradict():
    from UltraDict import UltraDict

    shared = UltraDict(shared_lock=True, size=1 << 20)
    shared["n"] = 0

    def add(count):
        for _ in range(count):
            with shared.lock:
                shared["n"] += 1

    yield from counter(add, lambda: shared["n"])


# ---- A value by its key -------------------------------------------------------------


def in_turn(get):
    state = [0]

    def turn():
        key = state[0] = (state[0] + 7919) % KEYS
        assert get(3 * key) == key

    return turn


def lookup_in(keys, values):
    keys[:] = np.arange(KEYS) * 3
    values[:] = np.arange(KEYS)
    return in_turn(lambda key: values[keys.searchsorted(key)])


def lookup_psm():
    with segment() as opened:
        yield lookup_in(opened.array(KEYS, "i8"), opened.array(KEYS, "i8"))


def lookup_shared_memory():
    memory = SharedMemory(create=True, size=16 * KEYS)
    both = np.ndarray((2, KEYS), "i8", memory.buf)
    yield lookup_in(both[0], both[1])
    del both
    gc.collect()
    with contextlib.suppress(BufferError):
        memory.close()
    memory.unlink()


def lookup_manager():
    with FORK.Manager() as manager:
        table = manager.dict({3 * key: key for key in range(KEYS)})
        yield in_turn(lambda key: table[key])


def lookup_ultradict():
    from UltraDict import UltraDict

    table = UltraDict({3 * key: key for key in range(KEYS)}, size=16 << 20)
    yield in_turn(lambda key: table[key])


MB, GB = 125_000, 125_000_000  # items of 8 bytes

WORKLOADS = {
    "block": {"psm": block_psm, "shared_memory": block_shared_memory},
    "array": {
        "psm": lambda: array_psm(100),
        "shared_memory": lambda: array_shared_memory(100),
        "Manager": lambda: array_manager(100),
    },
    "array1m": {
        "psm": lambda: array_psm(MB),
        "shared_memory": lambda: array_shared_memory(MB),
    },
    "hand1m": {
        "psm": lambda: handover_psm(MB),
        "shared_memory": lambda: handover_shared_memory(MB),
        "pickle": lambda: handover_pickle(MB),
        "Manager": lambda: handover_manager(MB),
    },
    "hand1g": {
        "psm": lambda: handover_psm(GB),
        "shared_memory": lambda: handover_shared_memory(GB),
        "pickle": lambda: handover_pickle(GB),
    },
    "counter": {
        "psm": counter_psm,
        "Value": counter_value,
        "Manager": counter_manager,
        "UltraDict": counter_ultradict,
    },
    "lookup": {
        "psm": lookup_psm,
        "shared_memory": lookup_shared_memory,
        "Manager": lookup_manager,
        "UltraDict": lookup_ultradict,
    },
}


def measure(turn, seconds):
    """Nanoseconds of one operation, after a warm-up of a tenth of the time."""

    def timed(turns):
        begin = time.perf_counter_ns()
        for _ in range(turns):
            turn()
        return time.perf_counter_ns() - begin

    turns = 1
    while (spent := timed(turns)) < seconds * 1e8:
        turns *= 2
    if spent < seconds * 1e10:  # else one operation takes long enough to be measured once
        turns = max(1, int(turns * seconds * 1e9 / spent))
        spent = timed(turns)
    return spent / turns, turns


def main(case, peer, seconds):
    workload = WORKLOADS[case][peer]()
    ns, turns = measure(next(workload), float(seconds))
    for _ in workload:
        raise AssertionError("a workload yields once")
    each = ns / (2 * ITEMS) if case == "counter" else ns
    print(json.dumps({"ns": each, "turns": turns}))


if __name__ == "__main__":
    main(*sys.argv[1:])
