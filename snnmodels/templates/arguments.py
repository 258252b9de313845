"""Kinds of arguments, refused by name: what is no number, no array of numbers, or no object of the kind."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import wraps
from inspect import signature
from typing import Any, cast

import numpy as np

from .errors import brief, suggest

__all__ = [
    "check_callable",
    "check_choice",
    "check_kind",
    "check_mapping",
    "check_numbers",
    "check_seed",
    "check_unmasked",
    "check_whole",
    "dimensions",
    "has_unit",
    "real_array",
    "sequence_of",
    "suggests_keywords",
]


def check_numbers(**values: Any) -> None:
    """Refuse what is not one finite real number without a unit, by its name.

    Raises
    ------
    ValueError
    """
    for name, value in values.items():
        if not _is_number(value):
            what = "plain number in SI units" if has_unit(value) else "finite number"
            raise ValueError(f"{name}: expected a {what}, got {brief(value)}")


def has_unit(value: Any) -> bool:
    """Whether a value is a quantity of Brian2: it has a dimension, where tensors have a method of that name.

    Parameters
    ----------
    value : object
    """
    return hasattr(value, "dim") and not callable(value.dim)


def _is_number(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim == 0 and value.dtype.kind in "iuf" and not has_unit(value) and bool(np.isfinite(value))
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond floats
        return False


def check_whole(name: str, n: Any, least: int = 1) -> None:
    """Refuse what is not a whole number from `least` up.

    Parameters
    ----------
    name : str
        What it is called, for the message.
    n : int
    least : int

    Raises
    ------
    ValueError
    """
    if not _is_number(n) or n < least or int(n) != n:
        wanted = "a positive whole number" if least == 1 else f"a whole number from {least} up"
        raise ValueError(f"{name} = {brief(n)}; it must be {wanted}")


def check_seed(seed: Any) -> None:
    """Refuse what is not a whole number from 0 up.

    Raises
    ------
    ValueError
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"seed: expected a whole number from 0 up, got {brief(seed)}")


def check_kind(name: str, value: Any, kind: type | tuple[type, ...], expected: str) -> None:
    """Refuse a value of another type.

    Parameters
    ----------
    name : str
    value : object
    kind : type or tuple of type
    expected : str
        What would be right, for the message: ``"a Signal"``.

    Raises
    ------
    ValueError
    """
    if not isinstance(value, kind):
        raise ValueError(f"{name} is {brief(value)}; expected {expected}")


def check_callable(name: str, value: Any, expected: str) -> None:
    """Refuse what can't be called; see `check_kind`.

    Raises
    ------
    ValueError
    """
    if not callable(value):
        raise ValueError(f"{name} is {brief(value)}; expected {expected}")


def check_mapping(name: str, value: Any, expected: str) -> None:
    """Refuse what is not a mapping with names as its keys; see `check_kind`.

    Raises
    ------
    ValueError
    """
    check_kind(name, value, Mapping, expected)
    for key in value:
        if not isinstance(key, str):
            raise ValueError(f"{name} has the key {brief(key)}; expected {expected}")


def check_choice(name: str, value: Any, options: tuple[str, ...]) -> None:
    """Refuse a text that is none of the options.

    Raises
    ------
    ValueError
    """
    if not isinstance(value, str) or value not in options:
        raise ValueError(f"{name}={brief(value)} is not {', '.join(map(repr, options[:-1]))} or {options[-1]!r}")


def dimensions(name: str, value: Any) -> int:
    """Number of dimensions of an array, or of what would be one.

    Parameters
    ----------
    name : str
        What it is, for the message.
    value : array or sequence

    Raises
    ------
    ValueError
        For rows of unequal length.
    """
    try:
        return np.ndim(value)
    except ValueError:
        raise ValueError(f"{name}: expected an array, got rows of unequal length") from None


def sequence_of(name: str, value: Any, kind: type, expected: str) -> list[Any]:
    """The members of a sequence, all of one type; for the parameters see `check_kind`.

    Raises
    ------
    ValueError
    """
    try:
        members = None if isinstance(value, str | bytes) else list(value)
    except TypeError:
        members = None
    if members is None or not all(isinstance(member, kind) for member in members):
        raise ValueError(f"{name} is {brief(value)}; expected {expected}")
    return members


def check_unmasked(name: str, value: Any) -> None:
    """Refuse masked values: as an array they would be whatever number stands behind the mask.

    Parameters
    ----------
    name : str
        What it is, for the message.
    value : object

    Raises
    ------
    ValueError
    """
    if np.ma.is_masked(value):
        raise ValueError(f"{name} has masked values; fill them, as .filled(np.inf) does where there is no spike")


def real_array(name: str, value: Any) -> np.ndarray:
    """Numbers as a float64 array.

    Parameters
    ----------
    name : str
        What they are, for the message.
    value : number or array

    Raises
    ------
    ValueError
        For what isn't numbers: text, objects, dates, complex numbers, rows of unequal length, quantities with a unit,
        masked values.
    """
    if has_unit(value):
        raise ValueError(f"{name} has a unit; expected plain numbers in SI units")
    check_unmasked(name, value)
    try:
        array = np.asarray(value)
        if array.dtype.kind in "biuf":
            return np.asarray(array, dtype=float)
    except (TypeError, ValueError):
        pass
    raise ValueError(f"{name} is {brief(value)}; expected numbers")


def suggests_keywords[F: Callable[..., Any]](called: F) -> F:
    """Decorate a function or a class so that a misspelt keyword is told with what may have been meant.

    Parameters
    ----------
    called : function or class
        Not one that looks at the frame of its caller, as a wrapper stands between, nor one that passes keywords on: who
        takes them tells.

    Returns
    -------
    function or class
        It raises a `TypeError`, as Python does, which also names the nearest argument.
    """
    if isinstance(called, type):
        called.__init__ = suggests_keywords(called.__init__)  # type: ignore[misc]
        return called
    parameters = signature(called).parameters.values()
    assert not any(p.kind is p.VAR_KEYWORD for p in parameters), f"{called.__qualname__} passes keywords on"
    known = [p.name for p in parameters if p.name != "self"]
    name = called.__qualname__.removesuffix(".__init__")

    @wraps(called)
    def checked(*args: Any, **kwargs: Any) -> Any:
        for keyword in kwargs:
            if keyword not in known:
                raise TypeError(f"{name}() has no argument {keyword!r}; {suggest(keyword, known)}")
        return called(*args, **kwargs)

    return cast(F, checked)
