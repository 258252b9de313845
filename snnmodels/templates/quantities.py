"""Numbers, arrays and quantities with units as numbers in SI units, checked against the unit that is expected.

Brian2 is imported where something has a unit, and not before.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .arguments import has_unit, real_array
from .errors import brief

__all__ = ["dimension_of", "gain_unit", "in_unit", "take_seconds"]


def gain_unit(driven: str, current: str) -> str:
    """Unit of the weights with which a current drives an input, from the units of both."""
    from .units import resolve_unit

    return resolve_unit("unit(driven)/unit(current)", {"driven": driven, "current": current})


def dimension_of(unit: str) -> Any:
    """Brian2's dimension of a base unit; see `units.unit_dimension`."""
    from .units import unit_dimension

    return unit_dimension(unit)


def take_seconds(of: Any, *names: str) -> None:
    """Times among the attributes of a frozen object that were given with units, as plain numbers of seconds.

    Raises
    ------
    ValueError
        For another unit, or an array.
    """
    for name in names:
        value = getattr(of, name)
        if has_unit(value):
            seconds = in_unit(value, "second", name)
            if seconds.ndim:
                raise ValueError(f"{name}: expected one time, got {brief(value)}")
            object.__setattr__(of, name, float(seconds))


def in_unit(value: Any, unit: str, where: str) -> np.ndarray:
    """A number, array or Brian2 quantity as a float64 array in SI units.

    Parameters
    ----------
    value : number, array or Quantity
        A plain number is in SI units already.
    unit : str
        Base unit in Brian2's syntax.
    where : str
        Begins the message of an error.

    Raises
    ------
    ValueError
        For another unit, or what is no number.
    """
    if has_unit(value):
        from .units import unit_of_dimension

        if value.dim is not dimension_of(unit):
            found = unit_of_dimension(value.dim)
            raise ValueError(f"{where} has unit {found}; expected {unit}")
        value = np.asarray(value)
    return real_array(where, value)
