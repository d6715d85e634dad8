"""Random programs over two processes, compared with a model in plain Python.

One process is this one, the other is a child that is started anew when it has
been killed. What passes between them are pickled references.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import pickle
import signal
from typing import Any, Dict, Tuple

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("hypothesis")

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

import psm
from conftest import WATCHDOG, file_of

SIZE = 1 << 20
_serial = itertools.count()
SIDES = st.sampled_from(["here", "there"])


class Side:
    """What either process does when it is told; its objects have numbers."""

    def __init__(self, name: str) -> None:
        self.segment = psm.open(name, SIZE)
        self.held: Dict[int, Any] = {}

    def alloc(self, number: int, nbytes: int, fill: int) -> bytes:
        block = self.segment.alloc(nbytes)
        block[:] = bytes([fill]) * nbytes
        return self.keep(number, block)

    def array(self, number: int, shape: Tuple[int, ...], fill: int) -> bytes:
        array = self.segment.array(shape, "u1")
        array[...] = fill
        return self.keep(number, array)

    def keep(self, number: int, what: Any) -> bytes:
        self.held[number] = what
        return pickle.dumps(what)

    def receive(self, number: int, data: bytes) -> int:
        self.held[number] = pickle.loads(data)
        return len(data)

    def read(self, number: int) -> bytes:
        what = self.held[number]
        return what.tobytes() if isinstance(what, np.ndarray) else bytes(what)

    def fill(self, number: int, fill: int) -> None:
        what = self.held[number]
        if isinstance(what, np.ndarray):
            what[...] = fill
        else:
            what[:] = bytes([fill]) * len(what)

    def free(self, number: int) -> None:
        self.held[number].free()
        del self.held[number]

    def drop(self, number: int) -> None:
        self.held.pop(number, None)

    def root(self, number: int) -> None:
        self.segment.root = self.held[number]

    def root_bytes(self) -> bytes:
        return b"" if self.segment.root is None else bytes(self.segment.root)

    def close(self) -> None:
        self.held.clear()
        self.segment.close()


def serve(name: str, pipe: Any) -> None:
    side = Side(name)
    while True:
        verb, *arguments = pipe.recv()
        try:
            pipe.send(getattr(side, verb)(*arguments))
        except psm.Error as error:
            pipe.send(error)
        if verb == "close":
            return


class Program(RuleBasedStateMachine):
    """The model: for each block its bytes, and whether each side has heard of it."""

    blocks = Bundle("blocks")

    def __init__(self) -> None:
        super().__init__()
        self.name = f"shm:psm-py-model-{os.getpid()}-{next(_serial)}"
        self.here = Side(self.name)
        self.start()
        self.content: Dict[int, bytes] = {}
        self.sent: Dict[int, bytes] = {}
        self.heard: Dict[str, set[int]] = {"here": set(), "there": set()}
        self.root: "int | None" = None
        self.next = itertools.count()

    def start(self) -> None:
        context = multiprocessing.get_context("fork")
        self.pipe, other = context.Pipe()
        self.child = context.Process(target=serve, args=(self.name, other), daemon=True)
        self.child.start()
        other.close()

    def on(self, side: str, verb: str, *arguments: Any) -> Any:
        if side == "here":
            return getattr(self.here, verb)(*arguments)
        self.pipe.send((verb, *arguments))
        assert self.pipe.poll(WATCHDOG), "the other process hangs"
        answer = self.pipe.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def with_block(self, side: str, number: int) -> None:
        """Makes sure that a side holds a block, by reference if need be."""
        if number not in self.heard[side]:
            assert self.on(side, "receive", number, self.sent[number]) < 200
            self.heard[side].add(number)

    def add(self, side: str, number: int, sent: bytes, content: bytes) -> int:
        self.sent[number], self.content[number] = sent, content
        self.heard[side].add(number)
        return number

    @rule(target=blocks, side=SIDES, nbytes=st.integers(0, 9000), fill=st.integers(0, 255))
    def alloc(self, side: str, nbytes: int, fill: int) -> int:
        number = next(self.next)
        sent = self.on(side, "alloc", number, nbytes, fill)
        return self.add(side, number, sent, bytes([fill]) * nbytes)

    @rule(
        target=blocks,
        side=SIDES,
        shape=st.lists(st.integers(0, 12), min_size=1, max_size=3).map(tuple),
        fill=st.integers(0, 255),
    )
    def array(self, side: str, shape: Tuple[int, ...], fill: int) -> int:
        number = next(self.next)
        sent = self.on(side, "array", number, shape, fill)
        return self.add(side, number, sent, bytes([fill]) * int(np.prod(shape)))

    @rule(target=blocks, side=SIDES, count=st.integers(20, 60))
    def many(self, side: str, count: int) -> Any:
        return multiple(*(self.alloc(side, 40 + i % 3, i) for i in range(count)))

    @rule(side=SIDES, number=blocks, fill=st.integers(0, 255))
    def write(self, side: str, number: int, fill: int) -> None:
        self.with_block(side, number)
        self.on(side, "fill", number, fill)
        self.content[number] = bytes([fill]) * len(self.content[number])

    @rule(side=SIDES, number=blocks)
    def read(self, side: str, number: int) -> None:
        self.with_block(side, number)
        assert self.on(side, "read", number) == self.content[number]

    @rule(side=SIDES, number=consumes(blocks))
    def free(self, side: str, number: int) -> None:
        self.with_block(side, number)
        self.on(side, "free", number)
        other = "here" if side == "there" else "there"
        if number in self.heard[other]:  # what it holds is stale, and it is told so
            with pytest.raises((psm.DoubleFree, psm.BadPointer)):
                self.on(other, "free", number) if self.is_block(number) else self.on(
                    other, "receive", number, self.sent[number]
                )
            self.on(other, "drop", number)
        for heard in self.heard.values():
            heard.discard(number)
        del self.content[number]
        if self.root == number:
            self.here.segment.root = self.root = None

    def is_block(self, number: int) -> bool:
        return b"attach_block" in self.sent[number]

    @rule(side=SIDES, number=blocks)
    def set_root(self, side: str, number: int) -> None:
        self.with_block(side, number)
        self.on(side, "root", number)
        self.root = number

    @rule()
    def kill(self) -> None:
        """What the dead one allocated stays, and the other goes on with it."""
        self.child.kill()
        self.child.join()
        assert self.child.exitcode == -signal.SIGKILL
        self.heard["there"].clear()
        self.start()

    @invariant()
    def sound(self) -> None:
        segment = self.here.segment
        segment.check()
        assert segment.stat().blocks == len(self.content)
        root = self.here.root_bytes()
        assert root.startswith(b"" if self.root is None else self.content[self.root])

    def teardown(self) -> None:
        for number, content in self.content.items():
            self.with_block("here", number)
            assert self.on("here", "read", number) == content
            self.on("here", "free", number)
        self.heard["here"].clear()
        self.here.segment.reap()
        assert self.here.segment.stat().blocks == 0
        self.on("there", "close")
        self.child.join(WATCHDOG)
        assert self.child.exitcode == 0
        self.here.close()
        assert not file_of(self.name).exists()


def test_random_programs() -> None:
    run_state_machine_as_test(
        Program,
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
