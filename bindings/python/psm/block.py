"""A block of a segment."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Optional, Tuple, Type, Union

from . import errors
from ._buffer import Buffer


class Block(Buffer):
    """An allocated block, as one member sees it.

    It is a reference, not the owner: the block stays allocated until some
    member frees it, whatever becomes of this object. `memoryview(block)`,
    `bytes(block)`, `numpy.frombuffer(block)`, `pyarrow.py_buffer(block)` and
    everything else that takes a buffer see its bytes without copying;
    `block[i]` and `block[i:j]` read copies, and assigning to them writes.

    Pickled, it is a name and an offset; so it may be sent to other processes.
    In a `with` statement it is freed at the end.

    Attributes:
        segment: Segment, what it belongs to.
        address: int, the same in every process.
        nbytes: int, bytes.
        exports: int, views of it that are alive in this process, through this
            object or another.
        freed: bool, whether it was freed through this object.
    """

    __slots__ = ("__weakref__",)

    @property
    def offset(self) -> int:
        """int: bytes from the base of the segment, the same for ever."""
        return self.address - self.segment.address

    def free(self) -> None:
        """Give the block back, whoever allocated it.

        Raises:
            BlockInUse: a view of it is alive in this process.
            DoubleFree: it is free already.
            BadPointer: no block begins here any more.
            ReadOnly, Closed: the segment is.

        Safe from any thread of any member.
        """
        self._retire_or_raise()
        try:
            self.segment._free_address(self.address)
        except BaseException:
            self._revive()
            raise

    def free_later(self) -> bool:
        """Give the block back as soon as no view of it is alive in this process.

        No new view can be taken from now on. If this process ends before its
        last view does, or the views are those of a forked child, the block
        stays allocated.

        Returns:
            Whether it was freed at once.

        Raises:
            DoubleFree: it is free already.
            BadPointer, ReadOnly, Closed: as `free`.
        """
        now = self._retire_later()
        if now is None:
            raise errors.DoubleFree("the block has been freed")
        if now:
            try:
                self.segment._free_address(self.address)
            except BaseException:
                self._revive()
                raise
        return now

    def _retire_or_raise(self) -> None:
        if not self._retire():
            if self.freed:
                raise errors.DoubleFree("the block has been freed")
            raise errors.BlockInUse(
                f"{self.exports} view(s) of the block are alive; release them first"
            )

    def __len__(self) -> int:
        return self.nbytes

    def _view(self) -> memoryview:
        try:
            return memoryview(self)
        except BufferError:
            if self.freed:
                raise errors.DoubleFree("the block has been freed") from None
            raise self.segment._closed_error() from None

    def __getitem__(self, index: Union[int, slice]) -> Any:
        with self._view() as view:
            if isinstance(index, slice):
                with view[index] as part:
                    return bytes(part)
            return view[index]

    def __setitem__(self, index: Union[int, slice], value: Any) -> None:
        with self._view() as view:
            if view.readonly:
                raise errors.ReadOnly("the segment was opened for reading")
            view[index] = value

    def __dlpack__(self, **options: Any) -> Any:
        """A DLPack capsule of its bytes, for `numpy.from_dlpack` and the like.

        Raises:
            ImportError: NumPy is not installed.
            BufferError: the block is freed or closed, or cannot be written.
        """
        from .array import bytes_of

        return bytes_of(self).__dlpack__(**options)

    def __dlpack_device__(self) -> Tuple[int, int]:
        """Tuple[int, int]: the processor's memory."""
        return 1, 0

    def __enter__(self) -> Block:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        if not self.freed:
            self.free()

    def __reduce__(self) -> Tuple[Any, ...]:
        from .reference import attach_block

        if self.freed:
            raise errors.DoubleFree("the block has been freed")
        return attach_block, (*self.segment._reference(), self.offset, self.nbytes)

    def __repr__(self) -> str:
        state = ", freed" if self.freed else ""
        return f"<psm.Block of {self.nbytes} bytes at {self.address:#x}{state}>"
