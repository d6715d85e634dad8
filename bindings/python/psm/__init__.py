"""Memory that several processes share, with malloc and free.

A segment is mapped at the same address in every process that uses it, so a
pointer into it is valid in all of them, in Python, C and every other language.
Any of them may allocate, and any may free what another allocated.

    import psm

    with psm.open("shm:example", "64MiB") as segment:
        block = segment.alloc(100)
        block[:5] = b"hello"
        segment.root = block    # others find it there
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import _native as _native
from . import errors
from ._psm import ffi as _ffi
from ._psm import lib as _lib
from .block import Block
from .errors import *  # noqa: F403
from .lock import Lock
from .records import Deaths, Member, Stat
from .segment import Segment, open, sweep
from .structures import cdef

if TYPE_CHECKING:
    from .array import Array as Array

    ffi: Any

__all__ = [
    "Block",
    "Deaths",
    "Lock",
    "Member",
    "Segment",
    "Stat",
    "cdef",
    "ffi",
    "open",
    "sweep",
]
__all__ += errors.__all__

__version__: str = _ffi.string(_lib.PSMversion()).decode("ascii")


def __getattr__(name: str) -> Any:
    # What takes long to import, or may be missing, waits until it is asked for.
    if name == "ffi":
        from .structures import user_ffi

        return user_ffi()
    if name == "Array":
        from .array import Array

        return Array
    raise AttributeError(f"module 'psm' has no attribute {name!r}")
