"""Addresses in the forms in which Python code meets them."""

from __future__ import annotations

import operator
import sys
from typing import Any, Optional, cast

from . import errors
from ._buffer import Buffer
from ._psm import ffi

#: An address: an int of any kind, a Block, an Array, a CFFI or ctypes pointer,
#: or None for NULL.
Address = Any

NULL = ffi.NULL


def block_of(thing: object) -> Optional[Buffer]:
    """The Block behind a Block or an Array; None for anything else."""
    if isinstance(thing, Buffer):
        return thing
    array: Any = sys.modules.get("psm.array")
    if array is not None and isinstance(thing, array.Array):
        return cast(Any, thing).block  # type: ignore[no-any-return]
    return None


def to_int(where: Address) -> int:
    """The int behind an address in any of its forms.

    Raises:
        DoubleFree: it is a Block, or an Array in one, that has been freed.
        TypeError: it is no address.
    """
    if where is None:
        return 0
    if isinstance(where, int):
        return where
    if isinstance(where, ffi.CData):
        return int(ffi.cast("uintptr_t", where))
    block = block_of(where)
    if block is not None:
        if block.freed:
            raise errors.DoubleFree("the block has been freed")
        return int(where.address)
    ctypes = sys.modules.get("ctypes")
    if ctypes is not None and isinstance(where, (ctypes._Pointer, ctypes.c_void_p)):
        return ctypes.cast(where, ctypes.c_void_p).value or 0
    try:
        return operator.index(where)
    except TypeError:
        raise TypeError(
            "an address is an int, a Block, an Array, or a CFFI or ctypes pointer, "
            f"not {type(where).__name__}"
        ) from None


def to_pointer(address: int) -> Any:
    """A `void *` for an int.

    Raises:
        BadPointer: the int does not fit.
    """
    if not 0 <= address < 1 << 64:
        raise errors.BadPointer(f"no address: {address:#x}")
    return ffi.cast("void *", address)
