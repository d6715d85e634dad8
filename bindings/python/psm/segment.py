"""Segments: `open` gives one, `sweep` clears away what the dead have left.

Three rules keep a program from crashing:

- Closing a segment refuses new access at once. The memory stays mapped until
  the last view of it is gone, the last call inside it has returned and the last
  lock is released; then the process leaves the segment.
- A block is freed only when no view of it lives, and refuses access afterwards.
- A pointer made by `Segment.cast` or `Segment.new` is a C pointer, and like one
  in C it is the program's to keep right: it must not be used after the block
  has been freed or the segment closed.
"""

from __future__ import annotations

import os
import stat
from typing import List, Optional, Union

from . import errors
from ._psm import ffi, lib
from .addresses import NULL, to_pointer
from .handle import sentence
from .inspection import Inspection
from .reference import remember
from .sizes import parse_size

Name = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]

_SHARED_MEMORY = "/dev/shm"


class Segment(Inspection):
    """An open segment. `psm.open` makes one; `close` or `with` ends it.

    The calls are those of psm.h; each raises `Closed` once it is closed, and
    `Corrupt` if the metadata turns out to be damaged. All are safe from any
    thread, and other Python threads run meanwhile. Pickled, it is its name.

    Attributes:
        address: int, the base address, the same in every process.
        readonly: bool, the memory can be read but not written.
    """

    __slots__ = ()


def open(
    name: Name,
    size: Union[int, str, None] = None,
    *,
    create: bool = True,
    exclusive: bool = False,
    keep: bool = False,
    mode: int = 0o600,
    address: Optional[int] = None,
    readonly: bool = False,
    large_pages: bool = False,
) -> Segment:
    """Join the segment `name`, or create it with `size` if nobody uses it.

    Args:
        name: a path, as the built-in open takes it; "shm:NAME" is NAME in the
            system's directory for shared memory.
        size: bytes as an int, or text such as "64MiB". None joins a segment
            of whatever size and creates none.
        create: False never creates.
        exclusive: True never joins.
        keep: the file outlives its users, and the next one goes on with it.
        mode: permission bits of a new file.
        address: where to map it, a multiple of the page size; None: PSM chooses.
        readonly: map it for reading; never creates.
        large_pages: have small blocks in pages of 2 MiB, if the system can: faster in much
            memory, larger in little.

    Returns:
        The Segment. Opening the same one again in a process is counted, and
        cannot change how it is mapped.

    Raises:
        NotFound: there is none to join.
        Exists: `exclusive`, and it exists.
        SizeMismatch: too small, too large, or not the size of the segment.
        AddressTaken: its addresses are in use in this process.
        NotASegment: the file is something else, or of another version.
        AccessDenied, BadName, NoSpace, TooManyMembers, SystemFailure.
        ValueError: `size` is no size.

    Safe from any thread.
    """
    path = os.fsencode(name)
    if b"\0" in path:
        raise errors.BadName("a name does not contain the null character")
    options = ffi.new("PSMOptions *")
    options.size = 0 if size is None else parse_size(size)
    options.address = NULL if address is None else to_pointer(address)
    options.mode = mode
    if readonly:
        options.flags |= lib.PSM_OPEN_READONLY
    elif not create or (size is None and not exclusive):
        options.flags |= lib.PSM_OPEN_JOIN
    if exclusive:
        options.flags |= lib.PSM_OPEN_EXCLUSIVE
    if keep:
        options.flags |= lib.PSM_OPEN_KEEP
    if large_pages:
        options.flags |= lib.PSM_OPEN_LARGE_PAGES
    code = ffi.new("int *")
    guard = lib.guard_open(path, options, code)
    if guard == NULL:
        raise errors.from_code(code[0], sentence(code[0]))
    segment = Segment(guard, os.fsdecode(name), None if size is None else int(options.size))
    remember(segment)
    return segment


def sweep(directory: Name = _SHARED_MEMORY) -> List[str]:
    """Remove the segments in a directory whose users have all died.

    It is not needed where a name is used again: to open it does the same. Files
    that are no segments, segments in use and segments that are kept stay.

    Args:
        directory: where to look, not in the folders below it.

    Returns:
        The paths of the files that are gone.

    Raises:
        OSError: the directory cannot be read.

    Safe at any time; but who opens one of these names with another size in the
    very moment in which it is swept gets a SizeMismatch.
    """
    removed = []
    where = os.fsdecode(directory)
    for path in sorted(os.path.join(where, name) for name in os.listdir(where)):
        try:
            status = os.lstat(path)
            if stat.S_ISREG(status.st_mode) and status.st_size > 0:
                # What the dead have left is begun afresh, and the last one removes it.
                open(path, status.st_size).close()
        except OSError:
            pass
        if not os.path.lexists(path):
            removed.append(path)
    return removed
