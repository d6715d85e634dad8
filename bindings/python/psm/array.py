"""NumPy arrays whose items lie in a segment. Only this module needs NumPy."""

from __future__ import annotations

import math
from types import TracebackType
from typing import TYPE_CHECKING, Any, Optional, Tuple, Type, Union

import numpy as np

from . import errors
from ._buffer import Export
from .block import Block
from .reference import attach_array

if TYPE_CHECKING:
    from .allocation import Allocation
    from .segment import Segment

    _Base = np.ndarray[Any, np.dtype[Any]]
else:
    _Base = np.ndarray

_ALIGNMENT = 64  # bytes: what vector instructions and Arrow like best


class Array(_Base):
    """A NumPy array in a segment, from `Segment.array` and its like.

    It is an ndarray in all respects. Its slices and views are Arrays of the
    same block, which is not freed while one of them lives; what NumPy computes
    from it is an ordinary ndarray in private memory.

    Pickled, it is a name, an offset, a shape and a dtype; so it may be sent to
    other processes, whatever its size. In a `with` statement it is freed at
    the end, as by `free`.
    """

    @property
    def block(self) -> Optional[Block]:
        """Block or None: what its items lie in; None in private memory."""
        base: Any = self.base
        if type(base) is Export:  # the common case, and the quick one
            return base.buffer  # type: ignore[return-value]
        while isinstance(base, np.ndarray):
            base = base.base
        if isinstance(base, memoryview):
            base = base.obj
        block = base.buffer if isinstance(base, Export) else None
        return block if isinstance(block, Block) else None

    @property
    def segment(self) -> Optional[Segment]:
        """Segment or None: what it lies in."""
        block = self.block
        return None if block is None else block.segment

    @property
    def address(self) -> int:
        """int: where its first item is, the same in every process."""
        address: int = self.__array_interface__["data"][0]
        return address

    def free(self) -> None:
        """Give the block back as soon as no view of it is alive in this process.

        The array is such a view itself, as are its slices: the memory returns
        to the segment when the last of them is gone. Until then they can be
        used, but none can be taken from the block or sent to others.

        Raises:
            DoubleFree: it is free already.
            InvalidArgument: the array is not in a segment.
        """
        self._block_or_raise().free_later()

    def _block_or_raise(self) -> Block:
        block = self.block
        if block is None:
            raise errors.InvalidArgument(
                "the array is not in a segment; Segment.copy makes one that is"
            )
        return block

    def __enter__(self) -> Array:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        if not self._block_or_raise().freed:
            self.free()

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        """What NumPy computed: this array if it was the output, else an ndarray."""
        if array is self:
            return self
        plain = np.asarray(array)
        return plain[()] if return_scalar or plain.ndim == 0 else plain

    def __reduce__(self) -> Any:
        return self.__reduce_ex__(2)

    def __reduce_ex__(self, protocol: Any) -> Any:
        block = self.block
        if block is None:
            return np.asarray(self).__reduce_ex__(protocol)
        if block.freed:
            raise errors.DoubleFree("the block of the array has been freed")
        dtype = self.dtype if self.dtype.names or self.dtype.subdtype else self.dtype.str
        start = self.address - block.address
        return attach_array, (
            *block.segment._reference(),
            block.offset,
            block.nbytes,
            start,
            dtype,
            self.shape,
            None if self.flags.c_contiguous else self.strides,
        )


def inside(
    block: Block,
    shape: Tuple[int, ...],
    dtype: Any,
    start: int = 0,
    strides: Optional[Tuple[int, ...]] = None,
    order: Any = "C",
) -> Array:
    """The Array that lies in a block, `start` bytes from its beginning."""
    return np.ndarray.__new__(Array, shape, dtype, memoryview(block), start, strides, order)


def bytes_of(block: Block) -> Any:
    """An ndarray of the bytes of a block."""
    return np.frombuffer(memoryview(block), np.uint8)


def allocate(
    segment: Allocation, shape: Union[int, Tuple[int, ...]], dtype: Any, order: str
) -> Array:
    """See `Segment.array`."""
    kind = np.dtype(dtype)
    if kind.hasobject:
        raise errors.InvalidArgument(
            f"the dtype {kind} holds Python objects, which other processes cannot follow"
        )
    lengths = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    if lengths and min(lengths) < 0:
        raise errors.InvalidArgument(f"a shape is not negative: {shape}")
    block = segment.aligned(_ALIGNMENT, math.prod(lengths) * kind.itemsize)
    try:
        return inside(block, lengths, kind, order=order)
    except BaseException:
        block.free()
        raise


def allocate_like(segment: Allocation, array: Any, dtype: Any) -> Array:
    """See `Segment.empty_like`."""
    like = np.asarray(array)
    order = "F" if like.flags.f_contiguous and not like.flags.c_contiguous else "C"
    return allocate(segment, like.shape, like.dtype if dtype is None else dtype, order)


def allocate_copy(segment: Allocation, array: Any) -> Array:
    """See `Segment.copy`."""
    result = allocate_like(segment, array, None)
    result[...] = array
    return result
