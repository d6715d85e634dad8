"""Loads psm._buffer, the second module in the file of psm._psm."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import ExtensionFileLoader
from types import ModuleType

from . import _psm

_NAME = "psm._buffer"


def _load() -> ModuleType:
    loader = ExtensionFileLoader(_NAME, str(_psm.__file__))
    spec = importlib.util.spec_from_file_location(_NAME, _psm.__file__, loader=loader)
    if spec is None:
        raise ImportError(f"{_NAME} cannot be loaded", name=_NAME)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


if _NAME not in sys.modules:
    sys.modules[_NAME] = _load()
