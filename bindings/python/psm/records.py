"""What a segment tells of itself: plain tuples with names."""

from __future__ import annotations

from typing import List, NamedTuple


class Stat(NamedTuple):
    """What a segment holds; the fields are those of PSMStat in psm.h."""

    #: bytes of the segment
    size: int
    #: bytes of it that are never handed out
    metadata: int
    #: bytes in allocated blocks, rounding included
    used: int
    #: bytes free, but held ready for one thread each
    cached: int
    #: bytes free otherwise
    free: int
    #: bytes of the largest block that fits in one piece
    largest: int
    #: bytes that the file system has promised
    committed: int
    #: allocated blocks
    blocks: int
    #: processes
    members: int
    #: threads that hold a cache
    caches: int
    #: bytes of the granule of large blocks
    unit: int
    #: bytes of the largest small block
    small_max: int


class Member(NamedTuple):
    """A process that uses a segment."""

    #: of this membership: no other ever has it in this segment
    id: int
    #: process id, in the member's own PID namespace
    pid: int
    #: 0 to 1023
    seat: int
    #: when it began: the low 32 bits of the system's count
    start: int
    #: False if it died and has not been reaped yet
    alive: bool


class Deaths(NamedTuple):
    """An answer of `Segment.deaths`."""

    #: who died without leaving, in the order in which it was found
    members: List[Member]
    #: what to pass to the next call
    cursor: int
    #: some deaths were too long ago to be remembered: ask `Segment.alive`
    missed: bool
