"""The calls of the API, one after the other."""

from __future__ import annotations

import array
import io
import os
import pickle
import sys
import threading
from pathlib import Path
from typing import Any, Callable

import pytest

import psm
from conftest import file_of

# ---- Opening ----------------------------------------------------------------


def test_open_creates_joins_and_removes(name: str) -> None:
    with psm.open(name, "1MiB") as first:
        assert file_of(name).exists()
        assert (first.name, first.size, first.closed) == (name, 1 << 20, False)
        with psm.open(name) as second:
            assert second.address == first.address
            assert second.size == 1 << 20
        assert second.closed and not first.closed
        first.alloc(10)
    assert first.closed and not first.mapped
    assert not file_of(name).exists()
    first.close()


def test_open_takes_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ségment.psm"
    for spelling in (path, str(path), os.fsencode(path)):
        with psm.open(spelling, 100_000) as segment:
            assert path.exists()
            assert segment.name == str(path)
        assert not path.exists()
    monkeypatch.chdir(tmp_path)
    with psm.open("here.psm", 100_000):
        assert (tmp_path / "here.psm").exists()


def test_large_pages_come_whole(new_name: Callable[[], str]) -> None:
    committed = []
    for large in (False, True):
        with psm.open(new_name(), "128MiB", large_pages=large) as segment:
            segment.calloc(1, 1000).free()
            committed.append(segment.stat().committed)
            segment.check()
    assert committed[1] >= committed[0] + (1 << 19)


def test_mode_and_keep(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    with psm.open(path, "1MiB", mode=0o640, keep=True) as segment:
        assert path.stat().st_mode & 0o777 == 0o640
        block = segment.alloc(100)
        block[:] = b"k" * 100
        segment.user = block
    assert path.exists()
    with psm.open(path, create=False) as segment:
        found = segment.block_at(segment.user, 100)
        assert bytes(found) == b"k" * 100
        assert found.address == block.address
        found.free()
        segment.check()


def test_address(name: str) -> None:
    with psm.open(name, "1MiB") as segment:
        address = segment.address
    with psm.open(name, "1MiB", address=address) as segment:
        assert segment.address == address


def test_repr(segment: Any) -> None:
    assert repr(segment) == f"<psm.Segment {segment.name!r}, 4 MiB at {segment.address:#x}>"
    block = segment.alloc(10)
    assert repr(block) == f"<psm.Block of 10 bytes at {block.address:#x}>"
    block.free()
    assert repr(block).endswith(", freed>")
    segment.close()
    assert repr(segment) == f"<psm.Segment {segment.name!r}, closed>"


# ---- Blocks -----------------------------------------------------------------


def test_block_is_a_buffer(segment: Any) -> None:
    block = segment.alloc(100)
    assert block.address % 16 == 0
    assert (block.nbytes, len(block), block.segment) == (100, 100, segment)
    assert block.offset == block.address - segment.address
    block[:] = bytes(range(100))
    block[0] = 200
    block[10:13] = b"abc"
    assert block[0] == 200 and block[-1] == 99 and block[10:14] == b"abc\x0d"
    assert isinstance(block[10:13], bytes)
    view = memoryview(block)
    assert (view.nbytes, view.format, view.readonly, view.c_contiguous) == (100, "B", False, True)
    view[1:3] = b"xy"
    assert bytes(block)[:3] == b"\xc8xy"
    assert array.array("B", block)[1] == ord("x")
    assert io.BytesIO(b"0123456789").readinto(block) == 10
    assert block[:10] == b"0123456789"
    numbers = view[16:96].cast("d")
    numbers[3] = 1.5
    assert segment.view(block.address + 16 + 24, 8).cast("d")[0] == 1.5
    for wrong in (100, -101):
        with pytest.raises(IndexError):
            block[wrong]
    with pytest.raises(ValueError):
        block[:5] = b"four"
    with pytest.raises(TypeError):
        block[0] = "x"


def test_block_of_no_bytes(segment: Any) -> None:
    one, other = segment.alloc(0), segment.alloc(0)
    assert one.address != other.address
    assert bytes(one) == b"" and len(one) == 0
    one.free()
    other.free()


def test_with_block_frees(segment: Any) -> None:
    with segment.alloc(100) as block:
        block[:1] = b"x"
        assert segment.stat().blocks == 1
    assert block.freed and segment.stat().blocks == 0
    with segment.alloc(100) as block:
        block.free()
    with pytest.raises(RuntimeError), segment.alloc(100) as block:
        raise RuntimeError
    assert block.freed


def test_calloc_is_zero(segment: Any) -> None:
    for _ in range(20):
        block = segment.calloc(100, 3)
        assert bytes(block) == bytes(300)
        block[:] = b"\xff" * 300
        block.free()


@pytest.mark.parametrize("alignment", [1, 16, 64, 256, 4096, 65536])
def test_aligned(segment: Any, alignment: int) -> None:
    with segment.aligned(alignment, 100) as block:
        assert block.address % max(alignment, 16) == 0


def test_realloc(segment: Any) -> None:
    block = segment.alloc(10)
    block[:] = b"0123456789"
    bigger = segment.realloc(block, 100_000)
    assert block.freed and not bigger.freed
    assert bigger[:10] == b"0123456789" and len(bigger) == 100_000
    smaller = segment.realloc(bigger.address, 5)
    assert smaller[:] == b"01234"
    with pytest.raises(psm.OutOfMemory):
        segment.realloc(smaller, 1 << 40)
    assert smaller[:] == b"01234"
    smaller.free()
    assert segment.stat().blocks == 0
    new = segment.realloc(0, 10)
    assert len(new) == 10


def test_free_takes_every_form(segment: Any) -> None:
    segment.free(segment.alloc(10))
    segment.free(segment.alloc(10).address)
    segment.free(segment.new("char *", 10))
    segment.free(None)
    segment.free(0)
    segment.free(psm.ffi.NULL)
    assert segment.stat().blocks == 0
    with pytest.raises(TypeError):
        segment.free("block")


def test_block_from_an_address(segment: Any) -> None:
    block = segment.alloc(100)
    block[:4] = b"data"
    same = segment.block_at(block.address, 100)
    assert (same.address, same.nbytes, same[:4]) == (block.address, 100, b"data")
    usable = segment.block_at(block.address)
    assert usable.nbytes >= 100
    with pytest.raises(psm.InvalidArgument):
        segment.block_at(block.address, usable.nbytes + 1)
    for wrong in (block.address + 16, segment.address, 0, 12345, 1 << 63):
        with pytest.raises(psm.BadPointer):
            segment.block_at(wrong)
    same.free()
    with pytest.raises(psm.DoubleFree):
        segment.block_at(block.address)
    with pytest.raises(psm.DoubleFree):
        block.free()


def test_alloc_to_and_free_from(segment: Any) -> None:
    slot = segment.calloc(1, 8)
    block = segment.alloc_to(slot, 100)
    assert int.from_bytes(slot[:], sys.byteorder) == block.address
    assert block.nbytes == 100
    segment.free_from(slot)
    assert slot[:] == bytes(8)
    segment.free_from(slot)
    assert segment.stat().blocks == 1
    block = segment.alloc_to(segment.user_address, 10)
    assert segment.user == block.address
    segment.free_from(segment.user_address)
    with pytest.raises(psm.InvalidArgument):
        segment.alloc_to(slot.address + 1, 10)
    with pytest.raises(psm.InvalidArgument):
        segment.alloc_to(4096, 10)


def test_user(segment: Any) -> None:
    assert segment.user == 0
    block = segment.alloc(16)
    for value, expected in (
        (block, block.address),
        (segment.new("int *"), None),
        (2**64 - 1, 2**64 - 1),
        (None, 0),
    ):
        segment.user = value
        assert segment.user == (expected if expected is not None else segment.user)
    for wrong in (-1, 2**64):
        with pytest.raises(OverflowError):
            segment.user = wrong
    view = segment.view(segment.user_address, 8).cast("Q")
    view[0] = 42
    assert segment.user == 42


# ---- Typed access -----------------------------------------------------------


def test_structs(segment: Any) -> None:
    psm.cdef("struct psm_test_point { double x, y; struct psm_test_point *next; };")
    one = segment.new("struct psm_test_point *")
    two = segment.new("struct psm_test_point *", 3)
    assert one.next == psm.ffi.NULL and two[2].x == 0
    one.x, one.next = 1.5, two
    two[1].y = 2.5
    again = segment.cast("struct psm_test_point *", segment.address_of(segment.offset(one)))
    assert again.x == 1.5 and again.next[1].y == 2.5
    assert segment.cast("struct psm_test_point *", 0) == psm.ffi.NULL
    kind = psm.ffi.typeof("struct psm_test_point *")
    assert segment.cast(kind, one).x == 1.5
    block = segment.block_at(one)
    assert segment.cast("double *", block)[0] == 1.5
    with pytest.raises(TypeError):
        segment.cast("struct psm_test_point", one)
    for address in (segment.address + segment.size - 8, segment.address - 8, 4096):
        with pytest.raises(psm.BadPointer):
            segment.cast("struct psm_test_point *", address)


def test_structs_of_an_ffi_of_ones_own(segment: Any) -> None:
    from cffi import FFI

    own = FFI()
    own.cdef("struct psm_test_point { int different; };")
    point = segment.new("struct psm_test_point *", ffi=own)
    point.different = 7
    assert segment.cast("struct psm_test_point *", point, ffi=own).different == 7


def test_view(segment: Any) -> None:
    block = segment.alloc(100)
    view = segment.view(block, 100)
    view[:3] = b"abc"
    assert block[:3] == b"abc"
    assert segment.view(block.address + 1, 1).tobytes() == b"b"
    assert segment.view(block, 0).nbytes == 0
    for address, nbytes in (
        (segment.address + segment.size - 1, 2),
        (segment.address - 1, 1),
        (segment.address, segment.size + 1),
        (0, 1),
        ((1 << 64) - 1, 2),
    ):
        with pytest.raises(psm.BadPointer):
            segment.view(address, nbytes)
    assert segment.view(segment.address, segment.size).nbytes == segment.size
    with pytest.raises(psm.InvalidArgument):
        segment.view(block, -1)


def test_offsets(segment: Any) -> None:
    block = segment.alloc(10)
    assert segment.offset(block) == block.offset
    assert segment.address_of(block.offset) == block.address
    assert segment.offset(0) == 0 and segment.address_of(0) == 0
    with pytest.raises(psm.BadPointer):
        segment.offset(segment.address + segment.size)
    with pytest.raises(psm.BadPointer):
        segment.address_of(segment.size)


# ---- Looking inside ---------------------------------------------------------


def test_stat_blocks_members(segment: Any) -> None:
    blocks = [segment.alloc(nbytes) for nbytes in (1, 100, 1000, 10_000, 300_000)]
    stat = segment.stat()
    assert stat.size == segment.size and stat.blocks == 5 and stat.members == 1
    assert stat.used >= 311_101
    found = list(segment.blocks())
    assert sorted(b.address for b in blocks) == [b.address for b in found]
    usable = {b.address: b.nbytes for b in found}
    assert all(usable[b.address] >= b.nbytes for b in blocks)
    [member] = segment.members()
    assert (member.pid, member.alive) == (os.getpid(), True)
    for block in found:
        block.free()
    assert segment.stat().blocks == 0
    assert segment.sound
    segment.check()
    assert segment.reap() == 0
    assert segment.trim() >= 0


def test_threads(segment: Any) -> None:
    failures = []

    def work(seed: int) -> None:
        try:
            held = []
            for i in range(2000):
                block = segment.alloc(16 + (i * seed) % 500)
                block[:] = bytes([seed]) * len(block)
                held.append(block)
                if len(held) > 50:
                    old = held.pop(i % 50)
                    assert old[:] == bytes([seed]) * len(old)
                    old.free()
            for block in held:
                block.free()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert segment.stat().blocks == 0
    segment.check()


# ---- References -------------------------------------------------------------


def test_pickles_are_references(segment: Any) -> None:
    block = segment.alloc(1_000_000)
    block[:3] = b"abc"
    sent = pickle.dumps(block)
    assert len(sent) < 200
    got = pickle.loads(sent)
    assert (got.address, got.nbytes, got[:3]) == (block.address, 1_000_000, b"abc")
    again = pickle.loads(pickle.dumps([segment, block, block]))
    assert again[0] is again[1].segment is got.segment
    block.free()
    with pytest.raises(psm.DoubleFree):
        pickle.loads(sent)


def test_pickle_of_what_is_closed(new_name: Callable[[], str]) -> None:
    with psm.open(new_name(), "1MiB") as segment:
        sent = pickle.dumps(segment)
    with pytest.raises(psm.Closed):
        pickle.dumps(segment)
    with pytest.raises(psm.NotFound):
        pickle.loads(sent)
