"""The exceptions of psm: one class for each result a program can act on.

Each is a `psm.Error`, thus an `OSError`, and besides that the built-in kind
that fits: a full segment is a `MemoryError`, a missing one a
`FileNotFoundError`. The text is the sentence of the C library, which names the
file, address or size in question.
"""

from __future__ import annotations

import errno
from typing import ClassVar, Dict, Optional, Type

from ._psm import lib

__all__ = [
    "AccessDenied",
    "AddressTaken",
    "BadName",
    "BadPointer",
    "BlockInUse",
    "Closed",
    "Corrupt",
    "DoubleFree",
    "Error",
    "Exists",
    "InvalidArgument",
    "NoSpace",
    "NotASegment",
    "NotFound",
    "OutOfMemory",
    "ReadOnly",
    "SizeMismatch",
    "SystemFailure",
    "TooManyMembers",
    "Truncated",
    "WrongFileType",
    "WrongPlatform",
    "WrongState",
    "WrongVersion",
]


class Error(OSError):
    """Any failure of psm.

    Attributes:
        code: int, the `PSM_E_` code of psm.h, negative.
        errno: int or None, the nearest code of the operating system.
    """

    code: int = int(lib.PSM_E_SYSTEM)
    errno: Optional[int]
    _errno: ClassVar[Optional[int]] = None

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        if self._errno is not None:
            self.errno = self._errno


class InvalidArgument(Error, ValueError):
    """An argument is out of its range."""

    code: int = int(lib.PSM_E_INVALID)
    _errno: ClassVar[Optional[int]] = errno.EINVAL


class Closed(Error, ValueError):
    """The segment has been closed in this process."""

    code: int = int(lib.PSM_E_HANDLE)
    _errno: ClassVar[Optional[int]] = errno.EBADF


class BadName(Error, ValueError):
    """The name is empty, too long, or leads nowhere."""

    code: int = int(lib.PSM_E_NAME)
    _errno: ClassVar[Optional[int]] = errno.EINVAL


class SizeMismatch(Error, ValueError):
    """The size is too small, too large, or not that of the segment."""

    code: int = int(lib.PSM_E_SIZE)
    _errno: ClassVar[Optional[int]] = errno.EINVAL


class AddressTaken(Error):
    """The segment's address range is not to be had in this process."""

    code: int = int(lib.PSM_E_ADDRESS)
    _errno: ClassVar[Optional[int]] = errno.EADDRINUSE


class TooManyMembers(Error):
    """All 1024 seats of the segment are taken."""

    code: int = int(lib.PSM_E_MEMBERS)
    _errno: ClassVar[Optional[int]] = errno.EUSERS


class OutOfMemory(Error, MemoryError):
    """The segment is full."""

    code: int = int(lib.PSM_E_NOMEM)
    _errno: ClassVar[Optional[int]] = errno.ENOMEM


class NoSpace(Error):
    """The file system is full; the segment goes on when it has space again."""

    code: int = int(lib.PSM_E_NOSPACE)
    _errno: ClassVar[Optional[int]] = errno.ENOSPC


class AccessDenied(Error, PermissionError):
    """The permissions of the file forbid it."""

    code: int = int(lib.PSM_E_ACCESS)
    _errno: ClassVar[Optional[int]] = errno.EACCES


class NotASegment(Error):
    """The file is not a segment that this process can use; it is untouched."""

    code: int = int(lib.PSM_E_FORMAT)
    _errno: ClassVar[Optional[int]] = errno.EINVAL


class WrongFileType(NotASegment):
    """A directory, a pipe or a device."""

    code: int = int(lib.PSM_E_FILETYPE)


class WrongVersion(NotASegment):
    """A segment of another format version."""

    code: int = int(lib.PSM_E_VERSION)


class WrongPlatform(NotASegment):
    """A segment of another word size or byte order."""

    code: int = int(lib.PSM_E_PLATFORM)


class Truncated(NotASegment):
    """A segment whose file was cut or has grown."""

    code: int = int(lib.PSM_E_TRUNCATED)


class Corrupt(Error):
    """The metadata of the segment contradicts itself."""

    code: int = int(lib.PSM_E_CORRUPT)
    _errno: ClassVar[Optional[int]] = errno.EIO


class BadPointer(Error, ValueError):
    """No block begins at the address, or it lies outside the segment."""

    code: int = int(lib.PSM_E_POINTER)
    _errno: ClassVar[Optional[int]] = errno.EFAULT


class DoubleFree(Error, ValueError):
    """The block is free already."""

    code: int = int(lib.PSM_E_DOUBLE_FREE)
    _errno: ClassVar[Optional[int]] = errno.EINVAL


class Exists(Error, FileExistsError):
    """Exclusive creation was asked for, and the segment exists."""

    code: int = int(lib.PSM_E_EXISTS)
    _errno: ClassVar[Optional[int]] = errno.EEXIST


class NotFound(Error, FileNotFoundError):
    """There is no segment of this name to join."""

    code: int = int(lib.PSM_E_NOT_FOUND)
    _errno: ClassVar[Optional[int]] = errno.ENOENT


class ReadOnly(Error):
    """The segment was opened for reading."""

    code: int = int(lib.PSM_E_READONLY)
    _errno: ClassVar[Optional[int]] = errno.EROFS


class WrongState(Error):
    """Not now: such as unlocking what this process has not locked."""

    code: int = int(lib.PSM_E_STATE)
    _errno: ClassVar[Optional[int]] = errno.EPERM


class BlockInUse(WrongState, BufferError):
    """A memoryview, array or other view of the block is still alive."""

    _errno: ClassVar[Optional[int]] = errno.EBUSY


class SystemFailure(Error):
    """The operating system refused; the sentence says what."""

    code: int = int(lib.PSM_E_SYSTEM)


_CLASSES: Dict[int, Type[Error]] = {
    cls.code: cls
    for cls in (
        InvalidArgument,
        Closed,
        BadName,
        SizeMismatch,
        AddressTaken,
        TooManyMembers,
        OutOfMemory,
        NoSpace,
        AccessDenied,
        NotASegment,
        WrongFileType,
        WrongVersion,
        WrongPlatform,
        Truncated,
        Corrupt,
        BadPointer,
        DoubleFree,
        Exists,
        NotFound,
        ReadOnly,
        WrongState,
        SystemFailure,
    )
}


def from_code(code: int, sentence: str) -> Error:
    """The exception for a result code.

    Args:
        code: a negative `PSM_E_` code.
        sentence: what to tell the user.

    Returns:
        The exception, not raised. A code that is not known here, from a newer
        library, gives a plain `Error`.
    """
    error = _CLASSES.get(code, Error)(sentence)
    error.code = code
    return error
