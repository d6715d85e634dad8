"""What lies in a segment: bytes, C structures, NumPy arrays, locks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Tuple, Union
from typing import cast as as_type

from . import errors
from ._buffer import Buffer
from ._psm import ffi as _ffi
from ._psm import lib
from .addresses import Address, to_int, to_pointer
from .allocation import Allocation
from .handle import check_owner
from .lock import Lock
from .structures import pointee, user_ffi

if TYPE_CHECKING:
    from .array import Array


_array: Any = None


def _numpy_side() -> Any:
    """The module psm.array, which is imported when it is first needed."""
    global _array
    if _array is None:
        from . import array

        _array = array
    return _array


class Access(Allocation):
    """The calls that look at memory as something."""

    __slots__ = ()

    # ---- Bytes and addresses --------------------------------------------------

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
        return memoryview(as_type(Any, Buffer(self, self._guard_address, where, nbytes)))

    def offset(self, address: Address) -> int:
        """Bytes from the base to an address, the same for ever; 0 for NULL.

        Raises:
            BadPointer: it is not in the segment.
        """
        check_owner(self, address)
        result = _ffi.new("uint64_t *")
        self._check(lib.guard_offset(self._guard, to_pointer(to_int(address)), result))
        return int(result[0])

    def address_of(self, offset: int) -> int:
        """The address at an offset; 0, which is NULL, for 0.

        Raises:
            BadPointer: it is not in the segment.
        """
        result = _ffi.new("void **")
        self._check(lib.guard_address(self._guard, offset, result))
        return to_int(result[0])

    def _span(self, address: Address, nbytes: int) -> int:
        check_owner(self, address)
        where = to_int(address)
        if nbytes < 0:
            raise errors.InvalidArgument(f"a size is not negative: {nbytes}")
        if where == 0:
            raise errors.BadPointer("NULL is not in the segment")
        self._check(lib.guard_span(self._guard, to_pointer(where), nbytes))
        return where

    # ---- C structures -----------------------------------------------------------

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
        kind, nbytes = pointee(ffi, ctype)
        where = to_int(address)
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
        kind, nbytes = pointee(ffi, ctype)
        return ffi.cast(kind, self.calloc(count, nbytes).address)

    # ---- NumPy --------------------------------------------------------------------

    def array(
        self,
        shape: Union[int, Tuple[int, ...]],
        dtype: Any = float,
        order: str = "C",
    ) -> Array:
        """Allocate a NumPy array; its items are not initialised.

        Args:
            shape: one number, or one for each dimension.
            dtype: anything that `numpy.dtype` takes, but Python objects.
            order: "C" for rows first, "F" for columns first.

        Returns:
            The Array, aligned to 64 bytes. Its slices and views keep the
            block, and `free` gives it back.

        Raises:
            InvalidArgument: the dtype holds Python objects.
            ImportError: NumPy is not installed.
            As `alloc`.
        """
        made: Array = _numpy_side().allocate(self, shape, dtype, order)
        return made

    def empty_like(self, array: Any, dtype: Any = None) -> Array:
        """An array with the shape, dtype and order of another, as `array`."""
        made: Array = _numpy_side().allocate_like(self, array, dtype)
        return made

    def copy(self, array: Any) -> Array:
        """A copy in this segment of anything that `numpy.asarray` takes, as `array`."""
        made: Array = _numpy_side().allocate_copy(self, array)
        return made

    # ---- Locks --------------------------------------------------------------------

    def lock(self, address: Address) -> Lock:
        """The robust lock at an address: 4 bytes, zero at first; see `Lock`."""
        check_owner(self, address)
        return Lock(self, address)
