"""Blocks of a segment: to allocate, to find again, to publish, to free."""

from __future__ import annotations

import operator
from typing import Any, Optional

from . import errors
from ._buffer import views
from ._psm import ffi, lib
from .addresses import NULL, Address, block_of, to_int, to_pointer
from .block import Block
from .handle import Handle, check_owner


class Allocation(Handle):
    """The calls that make blocks and give them back."""

    __slots__ = ()

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
        address = lib.guard_alloc(self._guard, nbytes)
        if address == 0:
            raise self._failure()
        return Block(self, self._guard_address, address, nbytes)

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

    def realloc(self, block: Address, nbytes: int) -> Block:
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
        check_owner(self, block)
        old = to_pointer(to_int(block))
        if isinstance(block, Block):
            block._retire_or_raise()
        else:
            self._refuse_if_in_use(to_int(block))
        new = lib.guard_realloc(self._guard, old, nbytes)
        if new == 0 and isinstance(block, Block):
            block._revive()
        return self._block(new, nbytes)

    def free(self, block: Address) -> None:
        """Give a block back, whoever allocated it. None and NULL: nothing.

        Args:
            block: a Block, an Array, an address, or a pointer to the block.

        Raises:
            BlockInUse: a view of it is alive in this process, and it is no Array.
            BadPointer: no block begins there; nothing changes.
            DoubleFree: it is free already; nothing changes.
            ReadOnly, Closed: the segment is.
        """
        if block_of(block) is not None:
            check_owner(self, block)
            block.free()
        else:
            address = to_int(block)
            self._refuse_if_in_use(address)
            self._free_address(address)

    def block(self, offset: int, nbytes: Optional[int] = None) -> Block:
        """The Block at an offset that another member handed over.

        Args:
            offset: bytes from the base to where an allocated block begins.
            nbytes: how many bytes of it to use; None: all that may be used,
                which is what was asked for, rounded up.

        Raises:
            BadPointer: no block begins there.
            DoubleFree: the block there is free.
            InvalidArgument: the block is smaller than `nbytes`.
        """
        offset = operator.index(offset)
        if not 0 < offset < self.size:
            raise errors.BadPointer(
                f"no block is at the offset {offset} of a segment of {self.size} bytes; "
                "for an address there is block_at"
            )
        return self.block_at(self.address + offset, nbytes)

    def block_at(self, address: Address, nbytes: Optional[int] = None) -> Block:
        """The Block at an address that was found in memory, after a check.

        Args:
            address: where an allocated block begins: an int, or a CFFI or
                ctypes pointer.
            nbytes: as for `block`.

        Raises:
            BadPointer, DoubleFree, InvalidArgument: as `block`.
        """
        check_owner(self, address)
        where = to_int(address)
        usable: int = lib.guard_usable(self._guard, to_pointer(where))
        if usable == 0:
            if where == 0:
                raise errors.BadPointer("no block begins at NULL")
            raise self._failure()
        if nbytes is None:
            nbytes = usable
        if not 0 <= nbytes <= usable:
            raise errors.InvalidArgument(f"the block has {usable} bytes, not {nbytes}")
        return self._block(where, nbytes)

    # ---- What all members find ----------------------------------------------

    @property
    def root(self) -> Optional[Block]:
        """Block or None: where the others begin to look; None at creation.

        Assign a Block, an Array, the offset of a block, or None. It is kept as
        an address in the 8 bytes of `user`, where C follows it.

        Raises:
            BadPointer, DoubleFree: no allocated block begins there.
            ReadOnly: on assignment.
        """
        address = self.user
        return None if address == 0 else self.block_at(address)

    @root.setter
    def root(self, block: Any) -> None:
        if block is None:
            self.user = None
        elif block_of(block) is not None:
            self.user = self.block_at(block)
        else:
            self.user = self.block(block)

    @property
    def user(self) -> int:
        """int: the 8 bytes that need no allocation; zero at creation.

        Assign any int of 64 bits, or an address in any form. Reading and
        writing are atomic. `root` is the same with a check.

        Raises:
            ReadOnly: on writing.
            OverflowError: the int has more than 64 bits.
        """
        value = ffi.new("uint64_t *")
        self._check(lib.guard_user_get(self._guard, value))
        return int(value[0])

    @user.setter
    def user(self, value: Address) -> None:
        check_owner(self, value)
        number = to_int(value)
        if not 0 <= number < 1 << 64:
            raise OverflowError("the user word has 64 bits")
        self._check(lib.guard_user_set(self._guard, number))

    @property
    def user_address(self) -> int:
        """int: the address of the 8 bytes of `user`; it never changes."""
        if self.closed:
            raise self._closed_error()
        return int(ffi.cast("uintptr_t", lib.PSMgetUser(ffi.cast("PSMHandle", self.address))))

    # ---- In one crash-safe step -----------------------------------------------

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
        check_owner(self, where)
        block = ffi.new("void **")
        slot = ffi.cast("void **", to_pointer(to_int(where)))
        self._check(lib.guard_alloc_to(self._guard, nbytes, slot, block))
        return None if block[0] == NULL else self._block(to_int(block[0]), nbytes)

    def free_from(self, where: Address) -> None:
        """Take the block out of `*where` and free it; NULL comes first.

        Of several callers at once, one frees it. `*where` NULL: nothing. Whether
        views of the block are alive is not looked at.

        Raises:
            BadPointer, DoubleFree: `*where` is no allocated block.
            InvalidArgument: `where` is not in the segment.
        """
        check_owner(self, where)
        slot = ffi.cast("void **", to_pointer(to_int(where)))
        self._check(lib.guard_free_from(self._guard, slot))

    def _refuse_if_in_use(self, address: int) -> None:
        count = views(address) if 0 <= address < 1 << 64 else 0
        if count and not self.closed:
            raise errors.BlockInUse(f"{count} view(s) of the block are alive; release them first")

    def _block(self, address: int, nbytes: int) -> Block:
        if address == 0:
            raise self._failure()
        return Block(self, self._guard_address, address, nbytes)

    def _free_address(self, address: int) -> None:
        if not 0 <= address < 1 << 64:
            raise errors.BadPointer(f"no address: {address:#x}")
        self._check(lib.guard_free(self._guard, address))
