"""What a Segment, a Block and an Array are when they are pickled: where to look.

The receiver opens the segment if it has not done so. What it received keeps it
open; when the last of that is gone, the receiver leaves.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, Tuple

from . import structures

if TYPE_CHECKING:
    from .array import Array
    from .block import Block
    from .handle import Handle
    from .segment import Segment

_lock = threading.Lock()
_known: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()


def remember(segment: Handle) -> None:
    """Lets references that arrive from elsewhere find a segment that is open here."""
    with _lock:
        known = _known.get(segment._key)
        if known is None or known.closed:
            _known[segment._key] = segment


def attach(key: str, readonly: bool) -> Segment:
    """This process's Segment for a reference that another process sent.

    Raises:
        As `psm.open`.
    """
    from .segment import open

    known: Any = _known.get(key)
    if known is None or known.closed:
        known = open(key, create=False, readonly=readonly)
    segment: Segment = known
    return segment


def attach_block(key: str, readonly: bool, offset: int, nbytes: int) -> Block:
    """The Block of a reference.

    Raises:
        As `psm.open` and `Segment.block`.
    """
    return attach(key, readonly).block(offset, nbytes)


def attach_array(
    key: str,
    readonly: bool,
    offset: int,
    nbytes: int,
    start: int,
    dtype: Any,
    shape: Tuple[int, ...],
    strides: Tuple[int, ...],
) -> Array:
    """The Array of a reference: `start` bytes into a block.

    Raises:
        As `psm.open` and `Segment.block`.
    """
    from .array import inside

    return inside(attach_block(key, readonly, offset, nbytes), shape, dtype, start, strides)


def _after_fork_in_child() -> None:
    """Another thread of the parent may have held a lock when it forked."""
    global _lock
    _lock = threading.Lock()
    structures.renew_lock()


os.register_at_fork(after_in_child=_after_fork_in_child)
