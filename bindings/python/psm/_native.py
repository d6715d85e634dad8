"""Loads psm._buffer, the second module in the file of psm._psm.

It comes first of all: it refuses to be imported where psm cannot work.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import ExtensionFileLoader
from types import ModuleType

_NAME = "psm._buffer"


def _load() -> ModuleType:
    home = importlib.util.find_spec("psm._psm")
    if home is None or home.origin is None:
        raise ImportError("psm._psm is missing; install the package, as with: pip install .")
    loader = ExtensionFileLoader(_NAME, home.origin)
    spec = importlib.util.spec_from_file_location(_NAME, home.origin, loader=loader)
    if spec is None:
        raise ImportError(f"{_NAME} cannot be loaded", name=_NAME)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


if _NAME not in sys.modules:
    sys.modules[_NAME] = _load()
