"""A lock in a segment, which survives its owner."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Optional, Type

from ._psm import ffi, lib
from .addresses import Address, to_int, to_pointer

if TYPE_CHECKING:
    from .handle import Handle

_OWNER_DIED = int(lib.PSM_OWNER_DIED)


class Lock:
    """A robust lock in a segment: 4 bytes, aligned to 4, zero at first.

    If its owner dies or leaves, the next one gets it at once and is told so:

        with segment.lock(address) as owner_died:
            if owner_died:
                ...    # repair what the lock guards

    It belongs to the process, not to the thread, and is not recursive. While
    it is held, closing the segment is deferred.
    """

    __slots__ = ("_pointer", "_segment")

    def __init__(self, segment: Handle, address: Address) -> None:
        self._segment = segment
        self._pointer = ffi.cast("uint32_t *", to_pointer(to_int(address)))

    def acquire(self, wait: bool = True) -> bool:
        """Wait for the lock and take it; or take it at once, or not at all.

        Args:
            wait: False raises WrongState if another process or this one holds
                it. A lock whose owner died or left is taken in either way.

        Returns:
            Whether the previous owner died while holding it.

        Raises:
            InvalidArgument: the address is not in the segment or not aligned.
            WrongState: it is held, and `wait` is False.
            ReadOnly, Closed: the segment is.

        Safe from any thread of any member. Other threads run while it waits; a
        signal such as Ctrl-C is handled when the lock has been obtained.
        """
        take = lib.guard_lock if wait else lib.guard_trylock
        code: int = take(self._segment._guard, self._pointer)
        self._segment._check(code)
        return code == _OWNER_DIED

    def release(self) -> None:
        """Give the lock back.

        Raises:
            WrongState: this process does not hold it.
            Closed: the segment is, and held no lock.

        Safe from any thread of the process that acquired it.
        """
        self._segment._check(lib.guard_unlock(self._segment._guard, self._pointer))

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.release()
