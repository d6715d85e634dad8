"""C structures, as CFFI declares them."""

from __future__ import annotations

import threading
from typing import Any, Tuple

_ffi: Any = None
_lock = threading.Lock()


def user_ffi() -> Any:
    """The cffi.FFI that `cdef` and `Segment.cast` use unless told otherwise."""
    global _ffi
    with _lock:
        if _ffi is None:
            # Its parser takes longer to import than all the rest of psm.
            from cffi import FFI  # type: ignore[import-untyped, unused-ignore]

            _ffi = FFI()
        return _ffi


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


def pointee(ffi: Any, ctype: Any) -> Tuple[Any, int]:
    """A pointer type, and the bytes of what it points to.

    Raises:
        TypeError: it is no pointer type.
    """
    kind = ffi.typeof(ctype) if isinstance(ctype, str) else ctype
    if getattr(kind, "kind", None) != "pointer":
        raise TypeError(f"not a pointer type: {ctype}; write 'struct name *', or its ctype")
    item = kind.item
    return kind, 1 if item.kind in ("void", "function") else int(ffi.sizeof(item))


def renew_lock() -> None:
    """For a forked child: another thread of the parent may have held it."""
    global _lock
    _lock = threading.Lock()
