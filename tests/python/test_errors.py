"""Every result code has its class, and every class is raised where it should be."""

from __future__ import annotations

import ctypes
import mmap
import os
import pickle
from pathlib import Path
from typing import Any, Callable

import pytest

import psm
from conftest import file_of
from psm import _psm, errors


def test_every_code_has_a_class() -> None:
    codes = {word: getattr(_psm.lib, word) for word in dir(_psm.lib) if word.startswith("PSM_E_")}
    assert len(codes) == 22
    for word, code in codes.items():
        error = errors.from_code(code, "a sentence")
        assert type(error) is not psm.Error, word
        assert (error.code, type(error).code, str(error)) == (code, code, "a sentence")
    assert type(errors.from_code(-999, "?")) is psm.Error
    assert errors.from_code(-999, "?").code == -999


@pytest.mark.parametrize(
    "one, other",
    [
        (psm.OutOfMemory, MemoryError),
        (psm.NotFound, FileNotFoundError),
        (psm.Exists, FileExistsError),
        (psm.AccessDenied, PermissionError),
        (psm.BadPointer, ValueError),
        (psm.DoubleFree, ValueError),
        (psm.Closed, ValueError),
        (psm.BlockInUse, BufferError),
        (psm.WrongVersion, psm.NotASegment),
        (psm.Truncated, psm.NotASegment),
    ],
)
def test_classes_fit_the_built_in_ones(one: type, other: type) -> None:
    assert issubclass(one, other) and issubclass(one, psm.Error) and issubclass(one, OSError)


@pytest.mark.parametrize("word", errors.__all__)
def test_errors_survive_pickling(word: str) -> None:
    error = getattr(psm, word)("what happened")
    error.code = -5
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), again.code, again.errno) == ("what happened", -5, error.errno)


def check_sentence(caught: Any, *words: str) -> None:
    text = str(caught.value)
    assert len(text) > 10 and caught.value.code < 0
    for word in words:
        assert word in text, text


def test_not_found(name: str, tmp_path: Path) -> None:
    for options in ({}, {"create": False}, {"readonly": True}, {"create": False, "size": "1MiB"}):
        with pytest.raises(psm.NotFound) as caught:
            psm.open(name, **options)
        check_sentence(caught, name[4:])


def test_exists(segment: Any) -> None:
    with pytest.raises(psm.Exists) as caught:
        psm.open(segment.name, "4MiB", exclusive=True)
    check_sentence(caught, segment.name[4:])


def test_exclusive_creates(name: str) -> None:
    with psm.open(name, "1MiB", exclusive=True) as segment:
        segment.alloc(1)


@pytest.mark.parametrize("size", ["8MiB", 4096, 1, (4 << 20) + 4096])
def test_size_of_a_live_segment(segment: Any, size: Any) -> None:
    with pytest.raises(psm.SizeMismatch) as caught:
        psm.open(segment.name, size)
    check_sentence(caught)


@pytest.mark.parametrize("size", [0, 1, 100, 2**63, 2**64 - 1])
def test_size_that_cannot_be(name: str, size: int) -> None:
    with pytest.raises((psm.SizeMismatch, psm.NotFound, psm.NoSpace, psm.AddressTaken)):
        psm.open(name, size)


def test_size_of_a_wrong_kind(name: str) -> None:
    with pytest.raises(ValueError):
        psm.open(name, "many")
    with pytest.raises(ValueError):
        psm.open(name, -1)
    with pytest.raises(OverflowError):
        psm.open(name, 2**64)


def test_address_taken(name: str) -> None:
    with mmap.mmap(-1, 1 << 20) as taken:
        holder = ctypes.c_char.from_buffer(taken)
        address = ctypes.addressof(holder)
        with pytest.raises(psm.AddressTaken) as caught:
            psm.open(name, "1MiB", address=address)
        check_sentence(caught)
        del holder


def test_address_that_cannot_be(name: str) -> None:
    for address in (1, 4097, 2**63):
        with pytest.raises((psm.AddressTaken, psm.InvalidArgument)):
            psm.open(name, "1MiB", address=address)
    for address in (-4096, 2**64):
        with pytest.raises(psm.BadPointer):
            psm.open(name, "1MiB", address=address)


@pytest.mark.parametrize("name", ["", "shm:", "x" * 5000, "shm:" + "x" * 300, "/no/such/place/x"])
def test_bad_names(name: str) -> None:
    with pytest.raises(psm.BadName):
        psm.open(name, "1MiB")


def test_names_of_a_wrong_kind() -> None:
    with pytest.raises(psm.BadName):
        psm.open("a\0b", "1MiB")
    for wrong in (None, 7, 1.5):
        with pytest.raises(TypeError):
            psm.open(wrong, "1MiB")  # type: ignore[arg-type]


def test_not_a_segment(tmp_path: Path) -> None:
    for content in (b"precious text\n", b"x" * 100_000, os.urandom(1 << 20), bytes(1 << 20)):
        path = tmp_path / "file"
        path.write_bytes(content)
        with pytest.raises(psm.NotASegment) as caught:
            psm.open(path, 1 << 20)
        check_sentence(caught)
        assert path.read_bytes() == content


def test_wrong_file_type(tmp_path: Path) -> None:
    with pytest.raises(psm.WrongFileType):
        psm.open(tmp_path, "1MiB")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(psm.WrongFileType):
        psm.open(pipe, "1MiB")
    with pytest.raises(psm.WrongFileType):
        psm.open("/dev/null", "1MiB")


def test_access_denied(segment: Any) -> None:
    path = file_of(segment.name)
    path.chmod(0)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            segment.close()
            if os.geteuid() == 0:
                os.seteuid(65534)  # root may open every file
            psm.open(segment.name, "4MiB")
        except psm.AccessDenied as error:
            status = 0 if path.name in str(error) else 2
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


def test_out_of_memory(segment: Any) -> None:
    with pytest.raises(psm.OutOfMemory) as caught:
        segment.alloc(5 << 20)
    check_sentence(caught)
    assert isinstance(caught.value, MemoryError)
    held = []
    with pytest.raises(psm.OutOfMemory):
        while True:
            held.append(segment.alloc(10_000))
    assert len(held) > 200
    for block in held:
        block.free()
    segment.alloc(3 << 20).free()
    for nbytes in (2**63 - 1, 2**64 - 1):
        with pytest.raises(psm.OutOfMemory):
            segment.alloc(nbytes)
    for count, size in ((2**32, 2**32), (2**63, 2)):
        with pytest.raises(psm.OutOfMemory):
            segment.calloc(count, size)
    for wrong in (-1, 2**64):
        with pytest.raises(OverflowError):
            segment.alloc(wrong)
    with pytest.raises(TypeError):
        segment.alloc("10")
    segment.check()


def test_pointers_that_are_no_blocks(segment: Any, new_name: Callable[[], str]) -> None:
    block = segment.alloc(100)
    inside = block.address
    outside = ctypes.create_string_buffer(100)
    with psm.open(new_name(), "1MiB") as other:
        foreign = other.alloc(100)
        for wrong in (
            inside + 1,
            inside + 16,
            inside - 16,
            segment.address,
            segment.address + 64,
            segment.address + segment.size,
            segment.address - 16,
            ctypes.addressof(outside),
            foreign.address,
            16,
            2**64 - 16,
        ):
            with pytest.raises((psm.BadPointer, psm.DoubleFree)):
                segment.free(wrong)
        with pytest.raises(psm.BadPointer):
            segment.free(foreign)
        with pytest.raises(psm.BadPointer):
            segment.realloc(foreign, 10)
        with pytest.raises(psm.BadPointer):
            segment.user = foreign
        with pytest.raises(psm.BadPointer):
            segment.free(-1)
    assert segment.stat().blocks == 1
    segment.check()
    block.free()


def test_double_free(segment: Any) -> None:
    for nbytes in (10, 1000, 500_000):
        block = segment.alloc(nbytes)
        address = block.address
        block.free()
        with pytest.raises(psm.DoubleFree):
            block.free()
        # Behind the block's back the heap itself finds it.
        with pytest.raises((psm.DoubleFree, psm.BadPointer)) as caught:
            segment.free(address)
        check_sentence(caught)
    segment.check()


def test_locks_that_cannot_be(segment: Any) -> None:
    block = segment.calloc(16)
    for wrong in (block.address + 1, block.address + 2, 0, 4096, segment.address + segment.size):
        with pytest.raises(psm.InvalidArgument):
            segment.lock(wrong).acquire()
    with pytest.raises(psm.WrongState) as caught:
        segment.lock(block).release()
    check_sentence(caught)
    with pytest.raises(psm.InvalidArgument):
        segment.aligned(24, 10)


def test_an_old_error_is_not_reported_again(segment: Any) -> None:
    with pytest.raises(psm.OutOfMemory):
        segment.alloc(1 << 40)
    block = segment.alloc(10)
    block.free()
    assert segment.offset(segment.address) == 0
    assert segment.offset(0) == 0
