"""Who is there, who died, and what to do with the work of the dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any, Callable

import pytest

import psm
from conftest import WATCHDOG, Peer, in_child


def die(segment: psm.Segment) -> int:
    """A child by fork that is killed; its membership."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, b"%d" % segment.member_id)
        os.kill(os.getpid(), signal.SIGKILL)
    os.close(write)
    number = int(os.read(read, 100))
    os.close(read)
    os.waitpid(child, 0)
    return number


def test_member_id(segment: Any, peers: Callable[[str], Peer]) -> None:
    mine = segment.member_id
    [member] = segment.members()
    assert member.id == mine > 0 and segment.alive(mine) and segment.alive(member)
    with psm.open(segment.name) as again:
        assert again.member_id == mine  # one process is one member

    def child() -> None:
        assert segment.member_id != mine
        assert segment.alive(mine) and segment.alive(segment.member_id)
        assert {m.id for m in segment.members()} == {mine, segment.member_id}
        segment.close()

    assert in_child(child) == 0
    peer = peers("python")
    peer.ask("open", segment.name, segment.size)
    # Up to Python 3.9 a subprocess is forked, and so a member until it calls exec.
    [other] = [m for m in segment.members() if m.id != mine and m.alive]
    assert other.pid == peer.process.pid and segment.alive(other)
    peer.end()
    assert not segment.alive(other)
    assert other.id not in {member.id for member in segment.deaths().members}
    for never in (0, 12345, 2**60):
        assert not segment.alive(never)
    with pytest.raises(OverflowError):
        segment.alive(-1)
    with pytest.raises(TypeError):
        segment.alive("me")


def test_deaths(segment: Any) -> None:
    nothing = segment.deaths()
    assert nothing == ([], nothing.cursor, False)
    cursor = nothing.cursor
    ids = [die(segment) for _ in range(3)]
    news = segment.deaths(cursor)
    assert [m.id for m in news.members] == ids and not news.missed
    assert not any(map(segment.alive, news.members))
    assert segment.deaths(news.cursor).members == []
    assert [m.id for m in segment.deaths(cursor).members] == ids  # another cursor
    with pytest.raises(psm.InvalidArgument):
        segment.deaths(news.cursor + 1)
    assert len(segment.members()) == 1


def test_deaths_that_are_forgotten(new_name: Callable[[], str]) -> None:
    with psm.open(new_name(), "256KiB") as segment:
        ids = [die(segment) for _ in range(3)]
        cursor = segment.deaths().cursor
        for _ in range(80):
            ids.append(die(segment))
            segment.reap()
        news = segment.deaths(cursor)
        assert news.missed
        remembered = [m.id for m in news.members]
        assert len(remembered) >= 8 and remembered == ids[-len(remembered) :]
        assert not any(map(segment.alive, ids))
        assert segment.deaths(news.cursor) == ([], news.cursor, False)


def test_one_of_many_takes_up_the_work(segment: Any) -> None:
    """A cursor in the segment under a lock: each death is heard by one process."""
    board = segment.calloc(32)  # 4 bytes of lock, the cursor at 8, a count at 16
    lock = segment.lock(board)

    def take_up() -> None:
        for _ in range(50):
            with lock, memoryview(board).cast("Q") as words:
                news = segment.deaths(words[1])
                words[2] += len(news.members)
                words[1] = news.cursor

    helpers = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            try:
                take_up()
                segment.close()
            finally:
                os._exit(segment.mapped)
        helpers.append(child)
    for _ in range(10):
        die(segment)
    for child in helpers:
        assert os.waitpid(child, 0)[1] == 0
    take_up()
    with memoryview(board).cast("Q") as words:
        assert words[2] == 10
    board.free()


def test_a_reader_is_no_member(segment: Any) -> None:
    code = """if True:
        import sys, psm
        with psm.open(sys.argv[1], readonly=True) as reader:
            [member] = [m for m in reader.members() if m.alive]
            assert reader.alive(member) and member.pid == int(sys.argv[2])
            for call in (lambda: reader.member_id, lambda: reader.deaths(), reader.reap):
                try:
                    call()
                except psm.ReadOnly:
                    pass
                else:
                    raise AssertionError
    """
    subprocess.run(
        [sys.executable, "-c", code, segment.name, str(os.getpid())], check=True, timeout=WATCHDOG
    )


def test_closed(segment: Any) -> None:
    segment.close()
    for call in (lambda: segment.member_id, lambda: segment.alive(1), lambda: segment.deaths()):
        with pytest.raises(psm.Closed):
            call()
