"""How accurately nonlinear flows are followed: one set of numbers, so that all targets take the same steps."""

from __future__ import annotations

import sympy as sp

from ..symbolic.parsing import parse_expression, symbol
from .rules import Rules

__all__ = ["EVENTS_APART", "MAX_EVENTS", "MAX_STEPS", "order", "sizes"]

MAX_STEPS = 100_000
"""Steps of one neuron within a piece after which its state is taken to run away."""
MAX_EVENTS = 10_000
"""Spikes, other events or maxima of one neuron within a piece after which there is taken to be no end of them."""
EVENTS_APART = 1e-12
"""Of a step: events of one neuron that are closer are at one time, and the first in order happens."""

_TIGHT = 1e-12  # tolerance from which on the higher order takes fewer operations
_SIZES = {
    "volt": 1e-3,
    "amp": 1e-10,
    "siemens": 1e-8,
    "ohm": 1e8,
    "farad": 1e-10,
    "coulomb": 1e-12,
    "second": 1e-2,
    "hertz": 1e2,
    "metre": 1e-6,
    "meter": 1e-6,
    "mole": 1e-12,
}


def order(tolerance: float) -> int:
    """Order of the Taylor steps for a tolerance."""
    return 16 if tolerance <= _TIGHT else 12


def sizes(rules: Rules) -> tuple[float, ...]:
    """By how much the states of a model typically move, from their units alone; 1 where a unit is unknown."""
    known = {symbol(name): sp.Float(size) for name, size in _SIZES.items()}
    units = (parse_expression(rules.system.units[x], numbers=False) for x in rules.system.states)
    return tuple(float(u.xreplace({s: known.get(s, sp.Integer(1)) for s in u.free_symbols})) for u in units)
