"""A C process and a Python process share one segment, in both directions."""

from __future__ import annotations

import signal
import time
from typing import Any, Callable

import pytest

import peer as mine
import psm
from conftest import Peer, file_of

SIZE = 16 << 20
Peers = Callable[[str], Peer]
DIRECTIONS = [("c", "python"), ("python", "c"), ("c", "c"), ("python", "python")]
both = pytest.mark.parametrize("one, other", DIRECTIONS)


def expected(count: int) -> "list[int]":
    letters = sum(sum(b"w%d" % i) for i in range(count))
    return [count, sum(range(count)), letters]


def expected_after_change(count: int) -> int:
    """Each bucket is newest first; every second word of it has been doubled."""
    total = 0
    for bucket in range(mine.BUCKETS):
        words = list(range(bucket, count, mine.BUCKETS))[::-1]
        total += sum(value * (2 if k % 2 else 1) for k, value in enumerate(words))
    return total


@both
def test_one_builds_and_the_other_walks_changes_and_frees(
    name: str, peers: Peers, one: str, other: str
) -> None:
    builder, reader = peers(one), peers(other)
    [base] = builder.ask("open", name, SIZE)
    assert reader.ask("open", name, SIZE) == [base]
    with psm.open(name) as segment:
        assert segment.address == base
        before = segment.stat().blocks
        [root] = builder.ask("build", 1000)
        assert segment.user == root
        assert segment.stat().blocks == before + 2001
        assert reader.ask("walk") == expected(1000)
        [changed] = reader.ask("change")
        assert changed > 400
        for peer in (builder, reader):
            words, total, letters = peer.ask("walk")
            assert [words, letters] == [expected(1000)[0], expected(1000)[2]]
            assert total == expected_after_change(1000)
        assert reader.ask("clear") == [1000]
        assert segment.user == 0
        assert segment.stat().blocks == before
        segment.check()
    builder.end()
    reader.end()
    assert not file_of(name).exists()


def test_c_builds_and_this_process_walks(segment: Any, peers: Peers) -> None:
    c = peers("c")
    assert c.ask("open", segment.name, segment.size) == [segment.address]
    c.ask("build", 100)
    table = mine.root(segment)
    assert table.words == 100
    texts = {mine.ffi.string(table.bucket[i].text) for i in range(64)}
    assert b"w99" in texts and b"w63" in texts
    assert mine.walk(segment) == expected(100)
    c.end()
    # The builder is gone; what it built stays, and can be freed here.
    assert mine.clear(segment) == [100]
    segment.check()


def test_this_process_builds_and_c_frees(segment: Any, peers: Peers) -> None:
    c = peers("c")
    mine.build(segment, 100)
    c.ask("open", segment.name, segment.size)
    assert c.ask("walk") == expected(100)
    assert c.ask("clear") == [100]
    c.end()
    assert segment.user == 0
    assert segment.stat().blocks == 0


@pytest.mark.parametrize("language", ["c", "python"])
def test_offsets_and_addresses_are_the_same(segment: Any, peers: Peers, language: str) -> None:
    other = peers(language)
    other.ask("open", segment.name, segment.size)
    for nbytes in (0, 1, 16, 1000, 100_000, 1_000_000):
        block = segment.alloc(nbytes)
        assert other.ask("offset", block.address) == [block.offset]
        assert segment.offset(block) == block.offset
        other.ask("free", block.address)
        with pytest.raises(psm.DoubleFree):
            segment.free(block.address)


@pytest.mark.parametrize("language", ["c", "python"])
def test_lock_excludes_the_other_side(segment: Any, peers: Peers, language: str) -> None:
    other = peers(language)
    other.ask("open", segment.name, segment.size)
    mine.build(segment, 0)
    lock = segment.lock(mine.root(segment))
    assert lock.acquire() is False
    other.send("lock")
    # It cannot have answered: the answer comes only after the release.
    segment.user_address  # any call works while it waits
    time.sleep(0.05)
    counter = mine.root(segment)
    counter.words = 7
    lock.release()
    assert other.receive() == [0]
    with pytest.raises(psm.WrongState):
        lock.release()
    with pytest.raises(psm.WrongState, match="is held"):
        lock.acquire(wait=False)
    assert other.ask("unlock") == [0]
    with lock as owner_died:
        assert owner_died is False


@pytest.mark.parametrize("language", ["c", "python"])
def test_killed_while_holding_the_lock(segment: Any, peers: Peers, language: str) -> None:
    mine.build(segment, 10)
    for _ in range(3):
        other = peers(language)
        other.ask("open", segment.name, segment.size)
        assert other.ask("lock") == [0]
        other.kill()
        lock = segment.lock(mine.root(segment))
        assert lock.acquire(wait=False) is True
        with pytest.raises(psm.WrongState, match="is held"):
            lock.acquire(wait=False)
        lock.release()
        assert lock.acquire(wait=False) is False
        lock.release()
        with lock as owner_died:
            assert owner_died is False
    segment.reap()
    assert mine.walk(segment) == expected(10)
    segment.check()


@pytest.mark.parametrize("language", ["c", "python"])
def test_killed_while_another_waits_for_the_lock(segment: Any, peers: Peers, language: str) -> None:
    mine.build(segment, 0)
    holder, waiter = peers(language), peers("c" if language == "python" else "python")
    for other in (holder, waiter):
        other.ask("open", segment.name, segment.size)
    holder.ask("lock")
    waiter.send("lock")
    time.sleep(0.1)
    holder.kill()
    assert waiter.receive() == [1]
    assert waiter.ask("unlock") == [0]
    waiter.end()


def test_both_at_once_under_load(segment: Any, peers: Peers) -> None:
    mine.build(segment, 0)
    others = [peers("c"), peers("python"), peers("c")]
    rounds = {0: 20000, 1: 1500, 2: 20000}
    for other in others:
        other.ask("open", segment.name, segment.size)
    for i, other in enumerate(others):
        other.send("load", rounds[i], i + 1)
    opened, died = mine.load(segment, 1500, 99)
    assert died == 0
    for other in others:
        more, died = other.receive()
        opened += more
        assert died == 0
    opened += mine.empty(segment)[0]
    assert opened == sum(rounds.values()) + 1500
    mine.clear(segment)
    for other in others:
        other.end()
    assert segment.stat().blocks == 0
    segment.check()
    assert segment.sound


@pytest.mark.parametrize("victim, survivor", [("c", "python"), ("python", "c")])
def test_one_is_killed_under_load_and_the_other_goes_on(
    segment: Any, peers: Peers, victim: str, survivor: str
) -> None:
    mine.build(segment, 0)
    going_on = peers(survivor)
    going_on.ask("open", segment.name, segment.size)
    for turn in range(5):
        dying = peers(victim)
        dying.ask("open", segment.name, segment.size)
        dying.send("load", 10**9, turn)
        going_on.send("load", 20000 if survivor == "c" else 1000, turn + 100)
        time.sleep(0.02 + 0.03 * turn)
        dying.process.send_signal(signal.SIGKILL)
        assert dying.process.wait() == -signal.SIGKILL
        going_on.receive()
        assert mine.load(segment, 100, turn)[1] in (0, 1)
        segment.check()
    mine.empty(segment)
    mine.clear(segment)
    segment.reap()
    # A victim loses at most its parcel in flight, the one it had taken out and
    # the block that was being allocated.
    assert segment.stat().blocks <= 5 * 3
    assert {member.alive for member in segment.members()} == {True}
    going_on.end()
    segment.check()
