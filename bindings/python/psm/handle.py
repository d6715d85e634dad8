"""An open segment: how it begins, ends and fails. What it can do is elsewhere."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any, Optional, Tuple, Type, TypeVar

from . import errors
from ._psm import ffi, lib
from .addresses import block_of
from .sizes import show_size

CLOSED = int(lib.PSM_GUARD_CLOSED)
_Self = TypeVar("_Self", bound="Handle")


def sentence(code: int) -> str:
    """What the C library says about a result of this thread's last call."""
    text: bytes = ffi.string(lib.PSMerrorString(code))
    return text.decode("utf-8", "replace")


class Handle:
    """A use of a segment by this process, from `psm.open` to `close`."""

    __slots__ = (
        "__weakref__",
        "_guard",
        "_guard_address",
        "_key",
        "_name",
        "_size",
        "address",
        "readonly",
    )

    #: int: the base address, the same in every process
    address: int
    #: bool: the memory can be read but not written
    readonly: bool

    def __init__(self, guard: Any, name: str, size: Optional[int]) -> None:
        self._guard = ffi.gc(guard, lib.guard_release)
        self._guard_address = int(ffi.cast("uintptr_t", guard))
        self._name = name
        self._key = name if name.startswith("shm:") else os.path.abspath(name)
        self._size = size
        self.address = int(lib.guard_base(guard))
        self.readonly = bool(lib.guard_readonly(guard))

    @property
    def name(self) -> str:
        """str: the name it was opened with."""
        return self._name

    @property
    def size(self) -> int:
        """int: bytes of the segment."""
        if self._size is None:
            stat = ffi.new("PSMStat *")
            self._check(lib.guard_stat(self._guard, stat))
            self._size = int(stat.size)
        return self._size

    @property
    def closed(self) -> bool:
        """bool: whether `close` was called; views may keep the memory mapped."""
        return bool(lib.guard_closed(self._guard))

    @property
    def mapped(self) -> bool:
        """bool: whether this Segment still keeps the memory mapped."""
        return bool(lib.guard_mapped(self._guard))

    def close(self) -> None:
        """Leave the segment. A second call does nothing.

        New access is refused from now on. While views of the segment, calls in
        other threads or locks are alive the memory stays mapped, and the
        process leaves when the last of them is gone. The last process to leave
        removes the file, unless the segment is kept.
        """
        lib.guard_close(self._guard)

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        if self.closed:
            return f"<psm.Segment {self._name!r}, closed>"
        kind = ", read-only" if self.readonly else ""
        return f"<psm.Segment {self._name!r}, {show_size(self.size)} at {self.address:#x}{kind}>"

    def _reference(self) -> Tuple[str, bool]:
        """What another process needs to open the same segment."""
        if self.closed:
            raise self._closed_error()
        return self._key, self.readonly

    def __reduce__(self) -> Tuple[Any, ...]:
        from .reference import attach

        return attach, self._reference()

    def _closed_error(self) -> errors.Closed:
        return errors.Closed(f"the segment {self._name!r} is closed")

    def _check(self, code: int) -> int:
        """Returns `code` if it is a success; raises otherwise."""
        if code >= 0:
            return code
        if code == CLOSED:
            raise self._closed_error()
        raise errors.from_code(code, sentence(code))

    def _failure(self) -> errors.Error:
        """The exception for a call that gave nothing."""
        if self.closed:
            return self._closed_error()
        code: int = lib.PSMlastError()
        return errors.from_code(code, sentence(code))


def check_owner(segment: Handle, thing: object) -> None:
    """Refuses a Block or an Array of another segment.

    Raises:
        BadPointer: it is one.
    """
    block = block_of(thing)
    if block is not None and block.segment.address != segment.address:
        raise errors.BadPointer("the block belongs to another segment")
