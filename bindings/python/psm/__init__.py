"""Memory that several processes share, with malloc and free.

A segment is mapped at the same address in every process that uses it, so a
pointer into it is valid in all of them, in Python, C and every other language.
Any of them may allocate, and any may free what another allocated.

    import psm

    with psm.open("shm:example", "64MiB") as segment:
        block = segment.alloc(100)
        block[:5] = b"hello"
        segment.user = block.address    # others find it there
"""

from __future__ import annotations

from typing import Any

from . import errors
from ._psm import ffi as _ffi
from ._psm import lib as _lib
from .errors import *  # noqa: F403
from .segment import Block, Lock, Member, Segment, Stat, cdef, open

__all__ = [
    "Block",
    "Lock",
    "Member",
    "Segment",
    "Stat",
    "cdef",
    "ffi",
    "open",
    *errors.__all__,
]

__version__: str = _ffi.string(_lib.PSMversion()).decode("ascii")


def __getattr__(name: str) -> Any:
    # The parser behind `ffi` takes longer to import than all the rest.
    if name == "ffi":
        from .segment import user_ffi

        return user_ffi()
    raise AttributeError(f"module 'psm' has no attribute {name!r}")
