"""Networks as layers of PyTorch: exact gradients by weights, parameters and inputs within any graph of torch.

PyTorch is imported when a name of this package is first used; without it, that says how to install it.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {"Layer": "module", "layer": "module", "simulate": "function"}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        importlib.import_module("torch")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ImportError(
            f"snnmodels.torch.{name} needs PyTorch, which is not installed: pip install 'snnmodels[torch]'"
        ) from None
    value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    return value


def __dir__() -> list[str]:
    return __all__
