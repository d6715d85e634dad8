"""NumPy arrays in a segment."""

from __future__ import annotations

import copy
import gc
import pickle
import subprocess
import sys
from typing import Any

import pytest

import psm
from conftest import WATCHDOG, file_of

np = pytest.importorskip("numpy")

POINT = np.dtype([("x", "f8"), ("y", "i4"), ("tag", "S4")])


@pytest.mark.parametrize("shape", [0, 1, 7, (3, 4), (2, 0, 5), (), (2, 3, 4, 5), [2, 2]])
@pytest.mark.parametrize("dtype", ["f8", "u1", ">i4", "c16", "?", "U5", "M8[us]", POINT, float])
def test_shapes_and_dtypes(segment: Any, shape: Any, dtype: Any) -> None:
    array = segment.array(shape, dtype)
    like = np.zeros(shape, dtype)
    assert isinstance(array, psm.Array) and isinstance(array, np.ndarray)
    assert (array.shape, array.dtype) == (like.shape, like.dtype)
    assert array.strides == like.strides or array.size == 0
    assert array.flags.c_contiguous and array.flags.writeable and not array.flags.owndata
    assert array.address % 64 == 0
    assert array.block.nbytes == array.nbytes
    array[...] = like
    assert np.array_equal(array, like)
    got = pickle.loads(pickle.dumps(array))
    assert (got.shape, got.dtype, got.address) == (array.shape, array.dtype, array.address)
    array.free()
    del array, got
    assert segment.stat().blocks == 0


def test_order(segment: Any) -> None:
    array = segment.array((3, 5), order="F")
    assert array.flags.f_contiguous and not array.flags.c_contiguous
    got = pickle.loads(pickle.dumps(array))
    assert got.strides == array.strides
    assert segment.empty_like(array).flags.f_contiguous
    assert segment.empty_like(array[0]).flags.c_contiguous


def test_copy_and_empty_like(segment: Any) -> None:
    private = np.arange(12.0).reshape(3, 4)
    for source in (private, private.T, private[::2, ::-1], private.tolist(), segment.copy(private)):
        shared = segment.copy(source)
        assert np.array_equal(shared, source) and shared.block is not None
        like = segment.empty_like(source)
        assert (like.shape, like.dtype) == (shared.shape, shared.dtype)
        assert like.address != shared.address
    assert segment.empty_like(private, "i2").dtype == np.int16
    assert segment.copy(5).shape == ()


def test_arrays_that_cannot_be(segment: Any) -> None:
    for dtype in (object, [("a", object)], np.dtype("O")):
        with pytest.raises(psm.InvalidArgument):
            segment.array(3, dtype)
    with pytest.raises(psm.InvalidArgument):
        segment.copy([object()])
    for shape in (-1, (2, -3)):
        with pytest.raises(psm.InvalidArgument):
            segment.array(shape)
    for shape in ("3", 1.5, None, (2, "x")):
        with pytest.raises(TypeError):
            segment.array(shape)
    with pytest.raises(TypeError):
        segment.array(3, "no such type")
    with pytest.raises(ValueError):
        segment.array((3, 3), order="X")
    with pytest.raises(psm.OutOfMemory):
        segment.array((1 << 20, 1 << 20))
    assert segment.stat().blocks == 0


def test_views_keep_the_block(segment: Any) -> None:
    array = segment.array((10, 10))
    array[:] = np.arange(100).reshape(10, 10)
    block = array.block
    views = [
        array[3],
        array[1:, ::2],
        array.T,
        array.reshape(100),
        array.view("u8"),
        np.asarray(array),
        memoryview(array),
        array[2:][1:].ravel(),
        array.diagonal(),
        np.lib.stride_tricks.sliding_window_view(array, (2, 2)),
        iter(array),
        array.flat,
    ]
    del array
    while views:
        with pytest.raises(psm.BlockInUse):
            block.free()
        views.pop()
    gc.collect()
    block.free()


def test_views_keep_the_segment(name: str) -> None:
    segment = psm.open(name, "1MiB")
    tail = segment.array(1000, "i4")[990:]
    tail[:] = 7
    segment.close()
    assert segment.mapped and tail.sum() == 70
    with pytest.raises(psm.Closed):
        pickle.dumps(tail)
    del tail
    assert not segment.mapped and not file_of(name).exists()


def test_free_waits_for_the_last_view(segment: Any) -> None:
    array = segment.array(100, "i4")
    array[:] = 1
    part = array[50:]
    array.free()
    with pytest.raises(psm.DoubleFree):
        array.free()
    with pytest.raises(psm.DoubleFree):
        pickle.dumps(array)
    with pytest.raises(psm.DoubleFree):
        segment.root = part
    del array
    assert segment.stat().blocks == 1 and part.sum() == 50
    del part
    assert segment.stat().blocks == 0
    with segment.array(10) as array:
        array[:] = 1
    del array
    assert segment.stat().blocks == 0
    with segment.array(10) as array:
        segment.free(array)
    del array
    assert segment.stat().blocks == 0


def test_what_is_computed_is_private(segment: Any) -> None:
    array = segment.copy(np.arange(6.0).reshape(2, 3))
    for result in (array + 1, array @ array.T, np.sin(array), array > 2, array.mean(axis=0)):
        assert type(result) is np.ndarray
    assert isinstance(array.sum(), np.float64) and isinstance(array[0, 1], np.float64)
    array += 1
    assert type(array) is psm.Array and array.block is not None
    assert np.add(array, 1, out=array) is array
    for private in (array.copy(), array[array > 2], array.astype("f4"), copy.deepcopy(array)):
        assert getattr(private, "block", None) is None
        again = pickle.loads(pickle.dumps(private))
        assert type(again) is np.ndarray and np.array_equal(again, private)
    with pytest.raises(psm.InvalidArgument):
        array.copy().free()


def test_root_and_addresses(segment: Any) -> None:
    array = segment.array(10, "i8")
    array[:] = range(10)
    segment.root = array
    assert segment.root.address == array.address
    assert segment.offset(array[3:]) == array.block.offset + 24
    assert segment.view(array[3:], 8).cast("q")[0] == 3
    assert segment.cast("long *", array)[9] == 9
    assert segment.block_at(array).nbytes >= 80
    with pytest.raises(psm.BadPointer):
        segment.block_at(array[2:])
    with pytest.raises(TypeError):
        segment.offset(np.arange(3))


def test_read_only(name: str) -> None:
    with psm.open(name, "1MiB") as segment:
        array = segment.copy(np.arange(5))
        segment.root = array
        code = """if True:
            import pickle, sys, psm
            with psm.open(sys.argv[1], readonly=True) as reader:
                array = pickle.loads(bytes.fromhex(sys.argv[2]))
                assert array.tolist() == [0, 1, 2, 3, 4]
                assert not array.flags.writeable
                try:
                    array[0] = 1
                except ValueError:
                    pass
                else:
                    raise AssertionError
        """
        sent = pickle.dumps(array).hex()
        subprocess.run([sys.executable, "-c", code, name, sent], check=True, timeout=WATCHDOG)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickled_slices(segment: Any, protocol: int) -> None:
    array = segment.copy(np.arange(60.0).reshape(3, 4, 5))
    points = segment.array(5, POINT)
    points["y"] = range(5)
    for part in (array, array[1], array[::-1, 1:, ::2], array.T, points, points["y"], points[::2]):
        got = pickle.loads(pickle.dumps(part, protocol))
        assert type(got) is psm.Array and got.address == part.address
        assert (got.shape, got.strides, got.dtype) == (part.shape, part.strides, part.dtype)
        assert np.array_equal(got, part)
    assert copy.copy(points["y"]).tolist() == [0, 1, 2, 3, 4]


def test_without_numpy(name: str) -> None:
    """All but arrays works where NumPy cannot be imported."""
    code = """if True:
        import sys
        sys.modules["numpy"] = None
        import psm
        with psm.open(sys.argv[1], "1MiB") as segment:
            block = segment.alloc(10)
            segment.root = block
            segment.free(segment.root)
            for call in (lambda: segment.array(3), lambda: psm.Array, lambda: block.__dlpack__()):
                try:
                    call()
                except ImportError:
                    pass
                else:
                    raise AssertionError
    """
    subprocess.run([sys.executable, "-c", code, name], check=True, timeout=WATCHDOG)
