"""Who uses a segment, what it holds, and its upkeep."""

from __future__ import annotations

import operator
from typing import Any, Iterator, List, Union

from ._psm import ffi, lib
from .access import Access
from .addresses import to_int
from .block import Block
from .handle import CLOSED
from .records import Deaths, Member, Stat

_STATE = int(lib.PSM_E_STATE)
_ROOM = 64  # deaths that are read at once


class Inspection(Access):
    """The calls that look at the segment itself."""

    __slots__ = ()

    # ---- What it holds ----------------------------------------------------------

    @property
    def sound(self) -> bool:
        """bool: whether no damage to the metadata has been met; see `check`."""
        code: int = lib.guard_error(self._guard)
        if code == CLOSED:
            raise self._closed_error()
        return code == 0

    def check(self) -> None:
        """Check every invariant of the metadata. Others may go on.

        Raises:
            Corrupt: one does not hold; the sentence says which.
        """
        self._check(lib.guard_check(self._guard))

    def stat(self) -> Stat:
        """Count what the segment holds; time grows with the segment's size."""
        stat = ffi.new("PSMStat *")
        self._check(lib.guard_stat(self._guard, stat))
        return Stat(*(int(getattr(stat, field)) for field in Stat._fields))

    def blocks(self) -> Iterator[Block]:
        """Each allocated block in the order of addresses, with its usable size.

        Blocks that come and go meanwhile may or may not be seen.
        """
        step = ffi.new("PSMBlock *")
        while self._check(lib.guard_walk(self._guard, step)):
            yield self._block(to_int(step.address), int(step.size))

    # ---- Members ------------------------------------------------------------------

    def members(self) -> List[Member]:
        """The processes that use the segment; those that only read are not listed."""
        room = 16
        while True:
            found = ffi.new("PSMMember[]", room)
            count = self._check(lib.guard_members(self._guard, found, room))
            if count <= room:
                return [_member(found[i]) for i in range(count)]
            room = count

    @property
    def member_id(self) -> int:
        """int: this process's membership, as `Member.id`; never used again.

        What to write beside data that this process is at work on, so that
        others find it after its death. A child by fork has one of its own.

        Raises:
            ReadOnly: who only reads has none.
        """
        number = ffi.new("uint64_t *")
        self._check(lib.guard_self(self._guard, number))
        return int(number[0])

    def alive(self, member: Union[int, Member]) -> bool:
        """Whether a member is alive: it neither died nor left.

        Args:
            member: a Member or its id; an id that never was is not alive.
        """
        number = member.id if isinstance(member, Member) else operator.index(member)
        return bool(self._check(lib.guard_alive(self._guard, number)))

    def deaths(self, cursor: int = 0) -> Deaths:
        """Who died without leaving since an earlier call; each once per cursor.

        With a cursor of its own, every process hears of every death. With one
        cursor in the segment, under a `lock`, exactly one of them does: it
        stores the new cursor after the work is done. Dead members are reaped
        first, so nothing that is reported is still at work.

        Args:
            cursor: that of the last answer; 0 begins with the oldest death
                that the segment remembers, of 8 to 1024 by its size.

        Raises:
            InvalidArgument: the cursor is beyond the last death.
            ReadOnly: the segment is.
        """
        place = ffi.new("uint64_t *", cursor)
        found = ffi.new("PSMMember[]", _ROOM)
        members: List[Member] = []
        missed = False
        while True:
            count: int = lib.guard_deaths(self._guard, place, found, _ROOM)
            if count == _STATE:
                missed = True
            elif self._check(count) == 0:
                return Deaths(members, int(place[0]), missed)
            else:
                members += [_member(found[i]) for i in range(count)]

    # ---- Upkeep -------------------------------------------------------------------

    def reap(self) -> int:
        """Give back what dead members still held.

        It also happens by itself, to some when a process joins and to all when memory runs out.

        Returns:
            How many were reaped.
        """
        return self._check(lib.guard_reap(self._guard))

    def trim(self) -> int:
        """Give memory that is free back to the file system.

        Returns:
            Bytes.
        """
        given = ffi.new("uint64_t *")
        self._check(lib.guard_trim(self._guard, given))
        return int(given[0])


def _member(m: Any) -> Member:
    return Member(int(m.id), int(m.pid), int(m.seat), int(m.start), bool(m.alive))
