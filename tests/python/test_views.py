"""Everything that takes a buffer: closing waits for it, freeing is refused, nothing dangles.

Some takers release the buffer at once and go on using the memory. They are the
reason why a view names an object of its own as its owner.
"""

from __future__ import annotations

import array
import ctypes
import gc
import importlib.util
import io
import pickle
import struct
from typing import Any, Callable, Dict

import pytest
from cffi import FFI

import psm
from conftest import file_of, in_child

np = pytest.importorskip("numpy")
pa = pytest.importorskip("pyarrow")

NBYTES = 4096


class Whole(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_uint8 * NBYTES)]


def torch_tensor(block: Any) -> Any:
    import torch

    return torch.frombuffer(block, dtype=torch.uint8)


# Each gives something that indexes the bytes of the block without copying.
TAKERS: Dict[str, Callable[[Any], Any]] = {
    "memoryview": memoryview,
    "memoryview, cast": lambda block: memoryview(block).cast("H").cast("B"),
    "memoryview, slice": lambda block: memoryview(block)[:],
    "numpy.frombuffer": lambda block: np.frombuffer(block, np.uint8),
    "numpy.asarray": np.asarray,
    "numpy.ndarray of a view": lambda block: np.ndarray(NBYTES, np.uint8, memoryview(block)),
    "numpy.from_dlpack": np.from_dlpack,
    "numpy.ndarray of a slice": lambda block: np.ndarray(NBYTES, np.uint8, memoryview(block)[:]),
    "ctypes": lambda block: Whole.from_buffer(block).bytes,
    "ctypes array": (ctypes.c_uint8 * NBYTES).from_buffer,
    "cffi": lambda block: FFI().from_buffer("uint8_t[]", block),
    "pyarrow": lambda block: memoryview(pa.py_buffer(block)),
    "pyarrow array": lambda block: pa.Array.from_buffers(
        pa.uint8(), NBYTES, [None, pa.py_buffer(block)]
    ).to_numpy(),
    "torch": torch_tensor,
}


def take(how: str, block: Any) -> Any:
    if how == "torch" and importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")
    return TAKERS[how](block)


@pytest.mark.parametrize("how", TAKERS)
def test_view_outlives_the_segment(how: str, name: str) -> None:
    segment = psm.open(name, "1MiB")
    block = segment.alloc(NBYTES)
    block[:] = bytes(range(256)) * 16
    view = take(how, block)
    segment.close()
    del segment, block
    gc.collect()
    assert file_of(name).exists(), "the process has left beneath a view"
    assert [int(view[i]) & 255 for i in (0, 255, 256, 4095)] == [0, 255, 0, 255]
    del view
    gc.collect()
    assert not file_of(name).exists(), "the view has kept the segment"


@pytest.mark.parametrize("how", TAKERS)
def test_block_is_not_freed_beneath_a_view(how: str, segment: Any) -> None:
    block = segment.alloc(NBYTES)
    view = take(how, block)
    assert block.exports >= 1
    with pytest.raises(psm.BlockInUse):
        block.free()
    view[0]
    del view
    gc.collect()
    assert block.exports == 0
    block.free()
    with pytest.raises((BufferError, psm.DoubleFree)):
        take(how, block)


def test_ndarray_over_the_block_itself(name: str) -> None:
    """It takes the block as its owner, so it is not counted; but it cannot crash."""
    segment = psm.open(name, "1MiB")
    block = segment.alloc(NBYTES)
    items = np.ndarray(NBYTES, np.uint8, buffer=block)  # type: ignore[call-overload]
    items[:] = 7
    segment.close()
    del block
    gc.collect()
    assert items.sum() == 7 * NBYTES
    del items
    gc.collect()
    assert not segment.mapped and not file_of(name).exists()


def test_copies_take_no_view(segment: Any) -> None:
    block = segment.alloc(16)
    block[:] = struct.pack("<4I", 1, 2, 3, 4)
    assert bytes(block) == bytearray(block) == block[:]
    assert array.array("I", bytes(block)).tolist() == [1, 2, 3, 4]
    assert struct.unpack_from("<I", block, 4) == (2,)
    struct.pack_into("<I", block, 4, 9)
    assert io.BytesIO(b"\0" * 4).readinto(memoryview(block)[:4]) == 4
    assert np.frombuffer(bytes(block), "<u4").tolist() == [0, 9, 3, 4]
    gc.collect()
    assert block.exports == 0
    block.free()


def test_view_and_its_owner(segment: Any) -> None:
    block = segment.alloc(16)
    view = memoryview(block)
    assert view.obj.buffer is block
    again = memoryview(view.obj)
    view[0] = 5
    assert again[0] == 5
    view.release()
    assert block.exports == 1
    again.release()
    assert block.exports == 0
    for made_by_hand in (psm.Block, type(memoryview(block).obj)):
        with pytest.raises(TypeError):
            made_by_hand()
    assert psm.Block.__new__(psm.Block).segment is None
    with pytest.raises(BufferError):
        memoryview(psm.Block.__new__(psm.Block))


def test_free_later(segment: Any) -> None:
    block = segment.alloc(100)
    view = memoryview(block)
    half = view[:50]
    assert block.free_later() is False
    assert block.freed and segment.stat().blocks == 1
    for access in (lambda: block[0], block.free, block.free_later, lambda: segment.free(block)):
        with pytest.raises(psm.DoubleFree):
            access()
    with pytest.raises(BufferError):
        memoryview(block)
    view[:] = b"x" * 100
    view.release()
    assert segment.stat().blocks == 1 and half[0] == ord("x")
    half.release()
    assert segment.stat().blocks == 0
    other = segment.alloc(100)
    assert other.free_later() is True
    assert segment.stat().blocks == 0
    segment.check()


def test_free_later_of_a_closed_segment(new_name: Callable[[], str]) -> None:
    """The last view frees the block and then leaves."""
    names = new_name(), new_name()
    with psm.open(names[0], "1MiB") as watcher:
        segment = psm.open(names[0])
        view = memoryview(segment.alloc(100))
        view.obj.buffer.free_later()
        segment.close()
        assert watcher.stat().blocks == 1
        del view
        assert watcher.stat().blocks == 0
    alone = psm.open(names[1], "1MiB")
    block = alone.alloc(10)
    view = memoryview(block)
    assert block.free_later() is False
    alone.close()
    view.release()
    assert not alone.mapped and not file_of(names[1]).exists()


def test_free_later_is_not_done_by_a_forked_child(segment: Any) -> None:
    block = segment.alloc(100)
    view = memoryview(block)
    block.free_later()

    def child() -> None:
        view.release()
        assert segment.stat().blocks == 1

    assert in_child(child) == 0
    assert segment.stat().blocks == 1
    view.release()
    assert segment.stat().blocks == 0


def test_free_later_that_fails_is_told(
    segment: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    monkeypatch.setattr("sys.unraisablehook", lambda what: told.append(str(what.exc_value)))
    block = segment.alloc(100)
    view = memoryview(block)
    block.free_later()

    def child() -> None:  # somebody who has no right to
        segment.free(block.address)

    assert in_child(child) == 0
    view.release()
    assert len(told) == 1 and "free" in told[0]
    segment.check()


def test_one_block_by_several_names(segment: Any) -> None:
    """Views count for the block, through whichever object they were taken."""
    block = segment.alloc(100)
    names = [block, segment.block(block.offset), pickle.loads(pickle.dumps(block))]
    view = memoryview(names[1])
    assert [name.exports for name in names] == [1, 1, 1]
    for free in (*(name.free for name in names), lambda: segment.free(block.address)):
        with pytest.raises(psm.BlockInUse):
            free()
    with pytest.raises(psm.BlockInUse):
        segment.realloc(block.address, 1000)
    assert names[2].free_later() is False
    for name in names:  # it is as good as freed
        with pytest.raises(BufferError):
            memoryview(name)
        with pytest.raises(psm.DoubleFree):
            name.free_later()
    view[0] = 1
    view.release()
    assert segment.stat().blocks == 0


def test_arrays_by_several_names(segment: Any) -> None:
    array = segment.copy(np.arange(10))
    again = pickle.loads(pickle.dumps(array))
    array.free()
    with pytest.raises(psm.DoubleFree):
        again.free()
    del array
    assert segment.stat().blocks == 1 and again.sum() == 45
    del again
    assert segment.stat().blocks == 0


def test_views_of_a_segment_keep_no_block(segment: Any) -> None:
    block = segment.alloc(100)
    view = segment.view(block, 100)
    assert block.exports == 0
    block.free()
    assert view.nbytes == 100


def test_a_child_does_not_wait_for_its_parents_variables(segment: Any) -> None:
    """What it receives it may free, though copies of the parent's views live in it."""
    array = segment.array(10)
    sent = pickle.dumps(array)

    def child() -> None:
        with pytest.raises(psm.BlockInUse):
            array.block.free()  # inherited, and so are its views
        got = pickle.loads(sent)
        got.free()
        del got
        assert segment.stat().blocks == 0

    assert in_child(child) == 0
    assert segment.stat().blocks == 0


def test_views_of_many_blocks(segment: Any) -> None:
    blocks = [segment.alloc(16) for _ in range(5000)]
    views = [memoryview(block) for block in blocks for _ in range(3)]
    assert {block.exports for block in blocks} == {3}
    for block in blocks[::2]:
        assert block.free_later() is False
    del views[::2]
    gc.collect()
    assert sum(block.exports for block in blocks) == len(views)
    views.clear()
    assert segment.stat().blocks == 2500
    for block in blocks[1::2]:
        block.free()
    assert segment.stat().blocks == 0
