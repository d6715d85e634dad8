"""Sizes as people write them."""

from __future__ import annotations

import operator
import re
from typing import Union

_SIZE = re.compile(r"\s*(\d+)\s*(?:([kmgt])(i?))?b?\s*", re.IGNORECASE | re.ASCII)


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
