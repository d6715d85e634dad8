"""Structures of ctypes, NumPy and CFFI, with pointers that other languages follow."""

from __future__ import annotations

import ctypes
from typing import Any, Callable

import pytest

import peer as mine
import psm
from conftest import Peer

np = pytest.importorskip("numpy")

COUNT = 200


class Word(ctypes.Structure):
    pass


Word._fields_ = [
    ("next", ctypes.POINTER(Word)),
    ("text", ctypes.c_void_p),
    ("count", ctypes.c_uint64),
]


class Table(ctypes.Structure):
    _fields_ = [
        ("lock", ctypes.c_uint32),
        ("words", ctypes.c_uint32),
        ("bucket", ctypes.POINTER(Word) * mine.BUCKETS),
        ("slot", ctypes.c_void_p * mine.SLOTS),
    ]


RECORD = np.dtype([("next", "u8"), ("text", "u8"), ("count", "u8")])
HEAD = np.dtype([("lock", "u4"), ("words", "u4"), ("bucket", "u8", 64), ("slot", "u8", 64)])


def text_block(segment: psm.Segment, i: int) -> psm.Block:
    text = b"w%d\0" % i
    block = segment.alloc(len(text))
    block[:] = text
    return block


def build_with_ctypes(segment: psm.Segment) -> None:
    home = segment.calloc(ctypes.sizeof(Table))
    table = Table.from_buffer(home)
    for i in range(COUNT):
        word = Word.from_buffer(segment.calloc(ctypes.sizeof(Word)))
        word.text = text_block(segment, i).address
        word.count = i
        word.next = table.bucket[i % mine.BUCKETS]
        table.bucket[i % mine.BUCKETS] = ctypes.pointer(word)
    table.words = COUNT
    segment.root = home


def build_with_numpy(segment: psm.Segment) -> None:
    table = segment.array((), HEAD)
    table[...] = np.zeros((), HEAD)
    for i in range(COUNT):
        word = segment.array((), RECORD)
        word["text"] = text_block(segment, i).address
        word["count"] = i
        word["next"] = table["bucket"][i % mine.BUCKETS]
        table["bucket"][i % mine.BUCKETS] = word.address
    table["words"] = COUNT
    segment.root = table


def build_with_cffi(segment: psm.Segment) -> None:
    mine.build(segment, COUNT)


BUILDERS = [build_with_ctypes, build_with_numpy, build_with_cffi]


def read_with_ctypes(segment: psm.Segment) -> "list[int]":
    assert segment.root is not None
    table = Table.from_buffer(segment.root)
    words = total = letters = 0
    for link in table.bucket:
        while link:
            word = Word.from_buffer(segment.block_at(link))  # checked, and kept
            words += 1
            total += word.count
            letters += sum(bytes(segment.block_at(word.text)).partition(b"\0")[0])
            link = word.next
    return [words, total, letters]


def read_with_numpy(segment: psm.Segment) -> "list[int]":
    table = np.frombuffer(memoryview(segment.root), HEAD, 1)[0]  # type: ignore[arg-type]
    words = total = letters = 0
    for address in table["bucket"]:
        while address:
            word = np.frombuffer(segment.view(address, RECORD.itemsize), RECORD)[0]
            words += 1
            total += int(word["count"])
            letters += sum(bytes(segment.block_at(word["text"])).partition(b"\0")[0])
            address = word["next"]
    return [words, total, letters]


READERS = [read_with_ctypes, read_with_numpy, mine.walk]
EXPECTED = [COUNT, sum(range(COUNT)), sum(sum(b"w%d" % i) for i in range(COUNT))]


@pytest.mark.parametrize("build", BUILDERS)
def test_c_follows_pointers_of_python(
    segment: Any, peers: Callable[[str], Peer], build: Callable[[Any], None]
) -> None:
    build(segment)
    c = peers("c")
    c.ask("open", segment.name, segment.size)
    assert c.ask("walk") == EXPECTED
    for read in READERS:
        assert read(segment) == EXPECTED
    assert c.ask("clear") == [COUNT]
    c.end()
    assert segment.root is None and segment.stat().blocks == 0


@pytest.mark.parametrize("read", READERS)
def test_python_follows_pointers_of_c(
    segment: Any, peers: Callable[[str], Peer], read: Callable[[Any], "list[int]"]
) -> None:
    c = peers("c")
    c.ask("open", segment.name, segment.size)
    c.ask("build", COUNT)
    assert read(segment) == EXPECTED
    c.kill()
    assert read(segment) == EXPECTED


def test_an_address_found_in_memory(segment: Any) -> None:
    """Every kind of address gives the Block, and what is no block an error."""
    block = segment.alloc(24)
    word = Word.from_buffer(block)
    word.text = block.address
    for form in (
        block.address,
        word.text,
        ctypes.c_void_p(block.address),
        ctypes.pointer(word),
        psm.ffi.cast("char *", block.address),
        np.uint64(block.address),
        np.frombuffer(block, "u8")[1],
        block,
    ):
        found = segment.block_at(form)
        assert (found.address, found.nbytes >= 24) == (block.address, True)
    assert segment.block_at(word.text, 24).nbytes == 24
    for wrong in (
        block.address + 8,
        ctypes.c_void_p(),
        ctypes.POINTER(Word)(),
        psm.ffi.NULL,
        None,
        0,
        segment.address,
        -1,
        1 << 64,
        id(block),
    ):
        with pytest.raises(psm.BadPointer):
            segment.block_at(wrong)
    for nonsense in ("text", b"t", 1.5, object(), [1]):
        with pytest.raises(TypeError):
            segment.block_at(nonsense)
    with pytest.raises(psm.InvalidArgument):
        segment.block_at(block, 10_000)


def test_blocks_by_offset(segment: Any) -> None:
    block = segment.alloc(100)
    same = segment.block(block.offset, 100)
    assert (same.address, same.nbytes) == (block.address, 100)
    assert segment.block(block.offset).nbytes >= 100
    for wrong in (0, -1, 16, block.offset + 1, segment.size, block.address, 1 << 70):
        with pytest.raises(psm.BadPointer):
            segment.block(wrong)
    with pytest.raises(TypeError):
        segment.block("100")
    block.free()
    with pytest.raises(psm.DoubleFree):
        segment.block(same.offset)


def test_root(segment: Any, new_name: Callable[[], str]) -> None:
    assert segment.root is None
    block = segment.alloc(100)
    block[:2] = b"me"
    for form in (block, block.offset):
        segment.root = form
        assert segment.root[:2] == b"me" and segment.user == block.address
    segment.root = None
    assert segment.root is None and segment.user == 0
    for wrong in (block.offset + 1, 5, segment.size, block.address):
        with pytest.raises(psm.BadPointer):
            segment.root = wrong
    with pytest.raises(TypeError):
        segment.root = "block"
    with psm.open(new_name(), "1MiB") as other, pytest.raises(psm.BadPointer):
        segment.root = other.alloc(10)
    assert segment.root is None
    segment.user = 12345  # some other use of the 8 bytes
    with pytest.raises(psm.BadPointer):
        segment.root
    segment.root = block
    block.free()
    with pytest.raises(psm.DoubleFree):
        segment.root
    with pytest.raises(psm.DoubleFree):
        segment.root = block
