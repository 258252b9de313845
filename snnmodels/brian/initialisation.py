"""What is set before each run, as data that every target carries out in its own way."""

from __future__ import annotations

from dataclasses import dataclass

from brian2.core.variables import Variable

__all__ = ["Copy", "Fill", "Initialisation"]


@dataclass(frozen=True)
class Fill:
    """Before a run: every element of a variable set to `value`, or element i to ``value + stride*i``."""

    variable: Variable
    value: float
    stride: float = 0


@dataclass(frozen=True)
class Copy:
    """Before a run: a variable set to another plus a constant, element by element."""

    variable: Variable
    source: Variable
    offset: float = 0


Initialisation = list[Fill | Copy]
