"""Segments, and the blocks and locks in them.

Three rules keep a program from crashing:

- Closing a segment refuses new access at once. The memory stays mapped until
  the last memoryview of it is gone, the last call inside it has returned and
  the last lock is released; then the process leaves the segment.
- A block is freed only when no view of it lives, and refuses access afterwards.
- A pointer made by `Segment.cast` is a C pointer, and like one in C it is the
  program's to keep right: it must not be used after the block has been freed or
  the segment closed.
"""

from __future__ import annotations

import operator
import os
import re
import threading
import weakref
from types import TracebackType
from typing import Any, Iterator, List, NamedTuple, Optional, Tuple, Type, Union, cast

from . import _native as _native
from . import errors
from ._buffer import Buffer
from ._psm import ffi, lib

__all__ = ["Block", "Lock", "Member", "Segment", "Stat", "cdef", "open", "user_ffi"]

Name = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]
#: An address as an int, a Block, or a CFFI pointer.
Address = Any

_CLOSED = int(lib.PSM_GUARD_CLOSED)
_OWNER_DIED = int(lib.PSM_OWNER_DIED)
_NOTHING = ffi.NULL
_SIZE = re.compile(r"\s*(\d+)\s*(?:([kmgt])(i?))?b?\s*", re.IGNORECASE | re.ASCII)


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


def _sentence(code: int) -> str:
    text: bytes = ffi.string(lib.PSMerrorString(code))
    return text.decode("utf-8", "replace")


def parse_size(size: Union[int, str]) -> int:
    """A size in bytes, from an int or from text such as "64MiB" or "10 kB".

    Raises:
        ValueError: the text is no size, or it is negative.
        TypeError: neither an int nor text.
    """
    if isinstance(size, str):
        match = _SIZE.fullmatch(size)
        if match is None:
            raise ValueError(f"not a size: {size!r}; write an int, or text such as '64MiB'")
        number, prefix, binary = match.groups()
        if not prefix:
            return int(number)
        step = "kmgt".index(prefix.lower()) + 1
        unit: int = (1024 if binary else 1000) ** step
        return int(number) * unit
    result = operator.index(size)
    if result < 0:
        raise ValueError(f"a size is not negative: {result}")
    return result


def show_size(nbytes: int) -> str:
    """Bytes as people write them, exactly: "64 MiB", "1000 B"."""
    for unit, name in ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if nbytes >= unit and nbytes % unit == 0:
            return f"{nbytes // unit} {name}"
    return f"{nbytes} B"


_user_ffi: Any = None
_user_ffi_lock = threading.Lock()


def user_ffi() -> Any:
    """The cffi.FFI that `cdef` and `Segment.cast` use unless told otherwise."""
    global _user_ffi
    with _user_ffi_lock:
        if _user_ffi is None:
            from cffi import FFI

            _user_ffi = FFI()
        return _user_ffi


def cdef(source: str) -> None:
    """Declare C structs, for `Segment.cast` and `Segment.new`.

    Args:
        source: declarations as C has them, without preprocessor directives.

    Raises:
        cffi.CDefError: the text cannot be read, or contradicts an earlier one.

    Safe from any thread. A library that is used by strangers makes a cffi.FFI
    of its own and passes it along instead, so that names do not meet.
    """
    user_ffi().cdef(source)


def _address(where: Address) -> int:
    """The int behind an address in any of its forms."""
    if isinstance(where, int):
        return where
    if isinstance(where, Buffer):
        if where.freed:
            raise errors.DoubleFree("the block has been freed")
        return where.address
    if where is None:
        return 0
    try:
        return int(ffi.cast("uintptr_t", where))
    except TypeError:
        raise TypeError(
            f"an address is an int, a Block or a CFFI pointer, not {type(where).__name__}"
        ) from None


def _pointer(address: int) -> Any:
    if not 0 <= address < 1 << 64:
        raise errors.BadPointer(f"no address: {address:#x}")
    return ffi.cast("void *", address)


class Block(Buffer):
    """An allocated block, as one member sees it.

    It is a reference, not the owner: the block stays allocated until some
    member frees it, whatever becomes of this object. `memoryview(block)`,
    `bytes(block)`, `numpy.frombuffer(block)` and everything else that takes a
    buffer see its bytes without copying; `block[i]` and `block[i:j]` read
    copies, and assigning to them writes.

    In a `with` statement it is freed at the end.

    Attributes:
        address: int, the same in every process.
        nbytes: int, bytes.
        exports: int, views of it that are alive in this process.
        freed: bool, whether it was freed through this object.
    """

    __slots__ = ("__weakref__", "_segment")
    _segment: "Segment"

    def __init__(self, segment: "Segment", address: int, nbytes: int) -> None:
        super().__init__(segment._guard_address, address, nbytes)
        self._segment = segment

    @property
    def segment(self) -> "Segment":
        """The Segment it belongs to."""
        return self._segment

    @property
    def offset(self) -> int:
        """Bytes from the base of the segment, the same for ever."""
        return self.address - self._segment.address

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
            self._segment._free_address(self.address)
        except BaseException:
            self._revive()
            raise

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
            raise self._segment._closed_error() from None

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

    def __enter__(self) -> "Block":
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
        return _unpickle_block, (*self._segment._reference(), self.offset, self.nbytes)

    def __repr__(self) -> str:
        state = ", freed" if self.freed else ""
        return f"<psm.Block of {self.nbytes} bytes at {self.address:#x}{state}>"


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

    def __init__(self, segment: "Segment", address: Address) -> None:
        self._segment = segment
        self._pointer = ffi.cast("uint32_t *", _pointer(_address(address)))

    def acquire(self) -> bool:
        """Wait for the lock and take it.

        Returns:
            Whether the previous owner died while holding it.

        Raises:
            InvalidArgument: the address is not in the segment or not aligned.
            ReadOnly, Closed: the segment is.

        Safe from any thread of any member. Other threads run while it waits; a
        signal such as Ctrl-C is handled when the lock has been obtained.
        """
        code: int = lib.guard_lock(self._segment._guard, self._pointer)
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


class Segment:
    """An open segment. `psm.open` makes one; `close` or `with` ends it.

    The calls are those of psm.h; each raises `Closed` once it is closed, and
    `Corrupt` if the metadata turns out to be damaged. All are safe from any
    thread, and other Python threads run meanwhile.
    """

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

    # ---- Life ---------------------------------------------------------------

    @property
    def name(self) -> str:
        """The name it was opened with."""
        return self._name

    @property
    def size(self) -> int:
        """Bytes of the segment."""
        if self._size is None:
            self._size = self.stat().size
        return self._size

    @property
    def closed(self) -> bool:
        """Whether `close` was called; views may keep the memory mapped."""
        return bool(lib.guard_closed(self._guard))

    @property
    def mapped(self) -> bool:
        """Whether this Segment still keeps the memory mapped."""
        return bool(lib.guard_mapped(self._guard))

    def close(self) -> None:
        """Leave the segment. A second call does nothing.

        New access is refused from now on. While memoryviews of the segment,
        calls in other threads or locks are alive the memory stays mapped, and
        the process leaves when the last of them is gone. The last process to
        leave removes the file, unless the segment is kept.
        """
        lib.guard_close(self._guard)

    def __enter__(self) -> "Segment":
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
        if self.closed:
            raise self._closed_error()
        return self._key, self.readonly

    def __reduce__(self) -> Tuple[Any, ...]:
        return _unpickle_segment, self._reference()

    def _closed_error(self) -> errors.Closed:
        return errors.Closed(f"the segment {self._name!r} is closed")

    def _check(self, code: int) -> int:
        """Returns `code` if it is a success; raises otherwise."""
        if code >= 0:
            return code
        if code == _CLOSED:
            raise self._closed_error()
        raise errors.from_code(code, _sentence(code))

    def _failure(self) -> errors.Error:
        """The exception for a call that gave NULL."""
        if self.closed:
            return self._closed_error()
        code: int = lib.PSMlastError()
        return errors.from_code(code, _sentence(code))

    # ---- Blocks -------------------------------------------------------------

    def alloc(self, nbytes: int) -> Block:
        """Allocate; the bytes are not initialised.

        Args:
            nbytes: 0 gives a block of its own.

        Returns:
            The Block, aligned to 16 bytes. Any member may free it.

        Raises:
            OutOfMemory: the segment is full.
            NoSpace: the file system is full.
            ReadOnly, Closed: the segment is.
        """
        return self._block(lib.guard_alloc(self._guard, nbytes), nbytes)

    def calloc(self, count: int, size: int = 1) -> Block:
        """Allocate `count` times `size` bytes, all zero.

        Returns, raises: as `alloc`.
        """
        return self._block(lib.guard_calloc(self._guard, count, size), count * size)

    def aligned(self, alignment: int, nbytes: int) -> Block:
        """Allocate at a multiple of `alignment`, a power of two in bytes.

        Returns, raises: as `alloc`; InvalidArgument for another alignment.
        """
        return self._block(lib.guard_aligned(self._guard, alignment, nbytes), nbytes)

    def realloc(self, block: Union[Block, Address], nbytes: int) -> Block:
        """Change a block's size; its content up to the smaller size stays.

        Args:
            block: a Block, which is used up as if freed, or its address.
            nbytes: the new size.

        Returns:
            The new Block, perhaps at another address.

        Raises:
            BlockInUse: a view of `block` is alive in this process.
            BadPointer, DoubleFree: it is no allocated block.
            As `alloc`; the old block is then untouched.
        """
        self._own(block)
        old = _pointer(_address(block))
        if isinstance(block, Block):
            block._retire_or_raise()
        new = lib.guard_realloc(self._guard, old, nbytes)
        if new == _NOTHING and isinstance(block, Block):
            block._revive()
        return self._block(new, nbytes)

    def free(self, block: Union[Block, Address]) -> None:
        """Give a block back, whoever allocated it. None and NULL: nothing.

        Args:
            block: a Block, an address, or a CFFI pointer to the block.

        Raises:
            BlockInUse: it is a Block, and a view of it is alive.
            BadPointer: no block begins there; nothing changes.
            DoubleFree: it is free already; nothing changes.
            ReadOnly, Closed: the segment is.
        """
        if isinstance(block, Block):
            self._own(block)
            block.free()
        else:
            self._free_address(_address(block))

    def block(self, address: Address, nbytes: Optional[int] = None) -> Block:
        """The Block at an address that another member handed over.

        Args:
            address: where an allocated block begins.
            nbytes: how many bytes of it to use; None: all that may be used.

        Raises:
            BadPointer: no block begins there.
            DoubleFree: the block there is free.
            InvalidArgument: the block is smaller than `nbytes`.
        """
        self._own(address)
        where = _address(address)
        usable: int = lib.guard_usable(self._guard, _pointer(where))
        if usable == 0:
            if where == 0:
                raise errors.BadPointer("no block begins at NULL")
            raise self._failure()
        if nbytes is None:
            nbytes = usable
        if not 0 <= nbytes <= usable:
            raise errors.InvalidArgument(f"the block has {usable} bytes, not {nbytes}")
        return Block(self, where, nbytes)

    def alloc_to(self, where: Address, nbytes: int) -> Optional[Block]:
        """Allocate and publish in one crash-safe step: `*where = block`.

        If this process is killed, the block is either in `*where` or free.

        Args:
            where: an address in the segment, aligned to a pointer's size.
            nbytes: the size of the block, which is not initialised.

        Returns:
            The Block, or None if another member has taken it out already.

        Raises:
            InvalidArgument: `where` is not in the segment.
            As `alloc`; `*where` is then unchanged.
        """
        self._own(where)
        block = ffi.new("void **")
        slot = ffi.cast("void **", _pointer(_address(where)))
        self._check(lib.guard_alloc_to(self._guard, nbytes, slot, block))
        return None if block[0] == _NOTHING else self._block(block[0], nbytes)

    def free_from(self, where: Address) -> None:
        """Take the block out of `*where` and free it; NULL comes first.

        Of several callers at once, one frees it. `*where` NULL: nothing.

        Raises:
            BadPointer, DoubleFree: `*where` is no allocated block.
            InvalidArgument: `where` is not in the segment.
        """
        self._own(where)
        slot = ffi.cast("void **", _pointer(_address(where)))
        self._check(lib.guard_free_from(self._guard, slot))

    def _block(self, pointer: Any, nbytes: int) -> Block:
        if pointer == _NOTHING:
            raise self._failure()
        return Block(self, int(ffi.cast("uintptr_t", pointer)), nbytes)

    def _free_address(self, address: int) -> None:
        self._check(lib.guard_free(self._guard, _pointer(address)))

    def _own(self, block: object) -> None:
        if isinstance(block, Block) and block._segment.address != self.address:
            raise errors.BadPointer("the block belongs to another segment")

    # ---- Typed access -------------------------------------------------------

    @property
    def user(self) -> int:
        """The 8 bytes that need no allocation, as an int; zero at creation.

        The place for a root: assign an address, a Block, a CFFI pointer, None
        for 0, or any int of 64 bits. Reading and writing are atomic.

        Raises:
            ReadOnly: on writing.
            OverflowError: the int has more than 64 bits.
        """
        value = ffi.new("uint64_t *")
        self._check(lib.guard_user_get(self._guard, value))
        return int(value[0])

    @user.setter
    def user(self, value: Address) -> None:
        self._own(value)
        number = _address(value)
        if not 0 <= number < 1 << 64:
            raise OverflowError("the user word has 64 bits")
        self._check(lib.guard_user_set(self._guard, number))

    @property
    def user_address(self) -> int:
        """The address of the 8 bytes of `user`; it never changes."""
        if self.closed:
            raise self._closed_error()
        return int(ffi.cast("uintptr_t", lib.PSMgetUser(ffi.cast("PSMHandle", self.address))))

    def view(self, address: Address, nbytes: int) -> memoryview:
        """The bytes at an address, without copying.

        Args:
            address: anywhere in the segment, such as inside a block.
            nbytes: how many.

        Returns:
            A memoryview of unsigned bytes; its `cast` gives other types. The
            segment stays mapped while it lives. Whether the block there is
            freed meanwhile is for the program to know.

        Raises:
            BadPointer: not all of it lies in the segment.
        """
        where = self._span(address, nbytes)
        return memoryview(cast(Any, Buffer(self._guard_address, where, nbytes)))

    def cast(self, ctype: Any, address: Address, ffi: Any = None) -> Any:
        """A C pointer to what lies at an address.

            psm.cdef("struct node { struct node *next; long value; };")
            node = segment.cast("struct node *", segment.user)
            print(node.value, node.next)

        Pointers that C stored are followed as in C, and `node.next = other`
        stores one that C can follow.

        Args:
            ctype: a pointer type, as text or as a CFFI ctype.
            address: where; 0 gives a NULL pointer.
            ffi: the cffi.FFI that knows the type; None: that of `psm.cdef`.

        Returns:
            A CFFI pointer. It does not keep the segment mapped.

        Raises:
            BadPointer: the object does not lie in the segment.
            TypeError: not a pointer type.
        """
        if ffi is None:
            ffi = user_ffi()
        kind, nbytes = _pointee(ffi, ctype)
        where = _address(address)
        if where != 0:
            self._span(address, nbytes)
        return ffi.cast(kind, where)

    def new(self, ctype: Any, count: int = 1, ffi: Any = None) -> Any:
        """Allocate `count` C objects, all zero.

        Args:
            ctype: a pointer type, as for `ffi.new`: "struct node *".
            count: how many, side by side.
            ffi: as for `cast`.

        Returns:
            A CFFI pointer to the first. `free` takes it, in any member.

        Raises:
            As `calloc` and `cast`.
        """
        if ffi is None:
            ffi = user_ffi()
        kind, nbytes = _pointee(ffi, ctype)
        return ffi.cast(kind, self.calloc(count, nbytes).address)

    def offset(self, address: Address) -> int:
        """Bytes from the base to an address, the same for ever; 0 for NULL.

        Raises:
            BadPointer: it is not in the segment.
        """
        self._own(address)
        result = ffi.new("uint64_t *")
        self._check(lib.guard_offset(self._guard, _pointer(_address(address)), result))
        return int(result[0])

    def address_of(self, offset: int) -> int:
        """The address at an offset; 0, which is NULL, for 0.

        Raises:
            BadPointer: it is not in the segment.
        """
        result = ffi.new("void **")
        self._check(lib.guard_address(self._guard, offset, result))
        return int(ffi.cast("uintptr_t", result[0]))

    def _span(self, address: Address, nbytes: int) -> int:
        self._own(address)
        where = _address(address)
        if nbytes < 0:
            raise errors.InvalidArgument(f"a size is not negative: {nbytes}")
        if where == 0:
            raise errors.BadPointer("NULL is not in the segment")
        self._check(lib.guard_span(self._guard, _pointer(where), nbytes))
        return where

    # ---- A lock -------------------------------------------------------------

    def lock(self, address: Address) -> Lock:
        """The robust lock at an address: 4 bytes, zero at first; see `Lock`."""
        self._own(address)
        return Lock(self, address)

    # ---- Looking inside, and upkeep -----------------------------------------

    @property
    def sound(self) -> bool:
        """Whether no damage to the metadata has been met; see `check`."""
        code: int = lib.guard_error(self._guard)
        if code == _CLOSED:
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
            yield Block(self, int(ffi.cast("uintptr_t", step.address)), int(step.size))

    def members(self) -> List[Member]:
        """The processes that use the segment; those that only read are not listed."""
        room = 16
        while True:
            found = ffi.new("PSMMember[]", room)
            count = self._check(lib.guard_members(self._guard, found, room))
            if count <= room:
                return [
                    Member(int(m.id), int(m.pid), int(m.seat), int(m.start), bool(m.alive))
                    for m in found[0:count]
                ]
            room = count

    def reap(self) -> int:
        """Give back what dead members still held.

        It also happens by itself, when a process joins and when memory runs out.

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


def _pointee(ffi_: Any, ctype: Any) -> Tuple[Any, int]:
    """A pointer type, and the bytes of what it points to."""
    kind = ffi_.typeof(ctype) if isinstance(ctype, str) else ctype
    if getattr(kind, "kind", None) != "pointer":
        raise TypeError(f"not a pointer type: {ctype}; write 'struct name *', or its ctype")
    item = kind.item
    return kind, 1 if item.kind in ("void", "function") else int(ffi_.sizeof(item))


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
    options.address = _NOTHING if address is None else _pointer(address)
    options.mode = mode
    if readonly:
        options.flags |= lib.PSM_OPEN_READONLY
    elif not create or (size is None and not exclusive):
        options.flags |= lib.PSM_OPEN_JOIN
    if exclusive:
        options.flags |= lib.PSM_OPEN_EXCLUSIVE
    if keep:
        options.flags |= lib.PSM_OPEN_KEEP
    code = ffi.new("int *")
    guard = lib.guard_open(path, options, code)
    if guard == _NOTHING:
        raise errors.from_code(code[0], _sentence(code[0]))
    return Segment(guard, os.fsdecode(name), None if size is None else int(options.size))


_attach_lock = threading.Lock()
_attached: "weakref.WeakValueDictionary[str, Segment]" = weakref.WeakValueDictionary()


def _unpickle_segment(key: str, readonly: bool) -> Segment:
    """This process's Segment for a reference that another process sent."""
    with _attach_lock:
        segment = _attached.get(key)
        if segment is None or segment.closed or segment.readonly != readonly:
            segment = open(key, create=False, readonly=readonly)
            _attached[key] = segment
        return segment


def _unpickle_block(key: str, readonly: bool, offset: int, nbytes: int) -> Block:
    segment = _unpickle_segment(key, readonly)
    return segment.block(segment.address_of(offset), nbytes)


def _after_fork_in_child() -> None:
    global _attach_lock, _user_ffi_lock
    _attach_lock = threading.Lock()
    _user_ffi_lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork_in_child)

