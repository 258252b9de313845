"""Free parameters as users write them: bounds with units, and the scale on which they are searched."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..templates.arguments import check_mapping, has_unit
from ..templates.errors import brief, suggest
from ..templates.model import Model
from ..templates.quantities import in_unit
from ..templates.units import quantity_in
from .likelihood import SOFTNESS
from .space import DELAY, Bounds

__all__ = ["free_parameters", "parse_free", "parse_number", "parse_value", "unit_of"]

_RATIO = 4.0  # of bounds, from which on equal steps are equal ratios unless something else is said


def unit_of(model: Model, name: str) -> str:
    """The base unit of what may be free: a parameter of the model, the softness of its threshold, or the delay.

    Raises
    ------
    ValueError
        For anything else.
    """
    if name == DELAY:
        return "second"
    if name == SOFTNESS:
        from ..templates.expressions import parse_threshold
        from ..templates.units import expression_dimension, unit_dimension, unit_of_dimension

        if model.threshold is None:
            raise ValueError(f"{model.name} has no threshold, so that there is no {SOFTNESS}")
        known = {s.name: unit_dimension(s.unit) for s in model.states}
        known |= {p.name: unit_dimension(p.unit) for p in model.parameters.values()}
        return str(unit_of_dimension(expression_dimension(parse_threshold(model.threshold)[0], known)))
    if name not in model.parameters:
        if name in model.derived:
            raise ValueError(model.no_parameter(name))
        options = [*model.parameters, DELAY, SOFTNESS]
        close, there = suggest(str(name), options), suggest("", options)
        # a near miss may be meant for something else
        hint = there if close == there else f"{close} {there}"
        raise ValueError(f"{model.name} has no parameter {brief(name)}; {hint}")
    return model.parameters[name].unit


def free_parameters(model: Model, free: Any) -> dict[str, Bounds]:
    """Bounds by name, from what a user gives.

    Parameters
    ----------
    model : Model
    free : mapping of str to (low, high) or (low, high, "log" or "linear") or Bounds
        Numbers are in SI units; quantities are checked. Without a word the scale is logarithmic where both bounds are
        positive and a factor of 4 apart.

    Raises
    ------
    ValueError
        Naming the parameter.
    """
    check_mapping("free", free, "bounds by name of the parameter, as in {'tau_m': (5*ms, 50*ms)}")
    if not free:
        raise ValueError("free names no parameter; give bounds by name, as in {'tau_m': (5*ms, 50*ms)}")
    found = {}
    for name, given in free.items():
        where = f"free[{name!r}]"
        unit = unit_of(model, name)
        if isinstance(given, Bounds):
            found[name] = given
            continue
        scale = None
        if isinstance(given, Sequence) and len(given) == 3 and isinstance(given[2], str):
            scale, given = given[2], given[:2]
            if scale not in ("log", "linear"):
                raise ValueError(f"{where}: the scale is {brief(scale)}; expected 'log' or 'linear'")
        try:
            ends = in_unit(np.asarray(given) if not _quantities(given) else _stacked(given), unit, where)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{error}" if str(error).startswith(where) else f"{where}: {error}") from None
        if ends.shape != (2,):
            raise ValueError(f"{where} is {brief(given)}; expected (low, high), as in (5*ms, 50*ms)")
        low, high = ends.tolist()
        log = scale == "log" if scale else low > 0 and high / low >= _RATIO
        try:
            found[name] = Bounds(low, high, log)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        parameter = model.parameters.get(name)
        if parameter is not None:
            for end in (low, high):
                if problem := parameter.problem(end):
                    raise ValueError(f"{where}: {name} {problem}")
    return found


def parse_free(text: str, model: Model) -> tuple[str, Bounds]:
    """A free parameter as the command line writes it: ``tau_m:5ms:50ms``, ``v_th:-55mV:-40mV:linear``.

    Raises
    ------
    ValueError
        Naming what is wrong.
    """
    parts = text.split(":")
    if len(parts) not in (3, 4):
        raise ValueError(f"--free {text}: expected NAME:LOW:HIGH or NAME:LOW:HIGH:log, as in tau_m:5ms:50ms")
    name, *ends = parts
    unit = unit_of(model, name)
    try:
        numbers = [_number(end, unit) for end in ends[:2]]
    except ValueError as error:
        raise ValueError(f"--free {text}: {error}") from None
    given: tuple[Any, ...] = (*numbers, *ends[2:])
    return name, free_parameters(model, {name: given})[name]


def parse_number(text: str, unit: str, option: str) -> float:
    """A number with its unit as the command line writes it, in a base unit: ``0.1ms``.

    Raises
    ------
    ValueError
        Naming the option.
    """
    try:
        return _number(text, unit)
    except ValueError as error:
        raise ValueError(f"{option} {text}: {error}") from None


def parse_value(text: str, model: Model) -> tuple[str, float]:
    """A value as the command line writes it, in SI base units: ``g_L=10nS``.

    Raises
    ------
    ValueError
        Naming what is wrong.
    """
    name, sign, number = text.partition("=")
    if not sign:
        raise ValueError(f"--fixed {text}: expected NAME=VALUE, as in g_L=10nS")
    unit = unit_of(model, name)
    try:
        return name, _number(number, unit)
    except ValueError as error:
        raise ValueError(f"--fixed {text}: {error}") from None


def _number(text: str, unit: str) -> float:
    """A number with its unit: 5ms is 5*ms."""
    written = re.sub(r"^([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*((?![eE][-+]?\d)[A-Za-z].*)$", r"\1*\2", text.strip())
    plain = re.fullmatch(r"[-+]?[\d.]+(?:[eE][-+]?\d+)?", written)
    return float(quantity_in(float(written) if plain else written, unit)[0])


def _quantities(given: Any) -> bool:
    return isinstance(given, Sequence) and any(has_unit(x) for x in given)


def _stacked(given: Sequence[Any]) -> Any:
    """Two quantities as one array with their unit; a bare 0 has any."""
    from brian2 import Quantity

    dimensions = {x.dim for x in given if has_unit(x)}
    bare = [x for x in given if not has_unit(x) and x != 0]
    if len(dimensions) > 1 or bare:
        raise ValueError(f"{brief(given)} mixes units; expected two quantities of one unit")
    return Quantity([float(np.asarray(x)) for x in given], dim=dimensions.pop())
