"""What a network is made of: sources of spikes and currents, populations, projections and drives, as values.

Each is checked by itself when it is made; what takes two of them is checked by `network.Network`.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .arguments import check_kind, check_mapping, has_unit, sequence_of
from .constraints import violated
from .errors import brief
from .expressions import is_name
from .model import Model, Parameter
from .quantities import dimension_of, in_unit

__all__ = [
    "INTERPOLATIONS",
    "MOST",
    "ROUNDING",
    "CurrentInput",
    "Drive",
    "Population",
    "Projection",
    "Settled",
    "SpikeInput",
    "learnable_names",
]

Array = np.ndarray

LONGEST_NAME = 100  # characters: a name is part of the names of files
MOST = 1_000_000_000  # neurons of a population, connections of a projection: 8 GB of weights

INTERPOLATIONS = ("hold", "linear")

_FAR = 999  # times a usual value: a unit was left out, rather than meant so
_TINY = 1e-5  # times a usual time constant: a slip of unit, though a unit was given
ROUNDING = 1e-12  # of a trial: a sample that is due so little before its end is due at it
_LEARNABLE = ("w", "delay")  # what a projection can learn, in the order of the keys


@dataclass(frozen=True)
class SpikeInput:
    """`n` sources that emit given spike times.

    Attributes
    ----------
    name : str
        Unique in the network; the key of its spike times, of shape ``(trials, n, spikes)``, in a run.
    n : int

    Raises
    ------
    ValueError
        For a name that is no identifier, or what is no number of sources.
    """

    name: str
    n: int

    def __post_init__(self) -> None:
        _check_group("input", self)


@dataclass(frozen=True)
class CurrentInput:
    """`n` channels of sampled currents, constant or linear between samples, so that they are exact in continuous time.

    Attributes
    ----------
    name : str
        Unique in the network; the key of its samples, of shape ``(trials, n, samples)``, in a run.
    n : int
        Number of channels.
    interval : float
        Seconds from one sample to the next.
    interpolation : {"hold", "linear"}
        A sample holds until the next one is due, or the current goes to the next in a straight line.
    start : float
        When the first sample is due, in seconds; before, the current is 0.
    unit : str
        Of the samples, a base unit in Brian2's syntax (``"amp"``).

    Raises
    ------
    ValueError
        For an interval that is no positive time, a start before 0, another interpolation, or what is no base unit.
    """

    name: str
    n: int
    interval: float
    interpolation: str = "hold"
    start: float = 0.0
    unit: str = "1"

    def __post_init__(self) -> None:
        _check_group("input", self)
        where = f"input {self.name!r}"
        for key, positive in (("interval", True), ("start", False)):
            time = in_unit(getattr(self, key), "second", f"{where}: {key}")
            if time.ndim or not 0 <= time < np.inf or (positive and time == 0):
                expected = "a positive time in seconds" if positive else "a time in seconds, not negative"
                raise ValueError(f"{where}: {key} is {brief(getattr(self, key))}; expected {expected}")
            object.__setattr__(self, key, float(time))
        if self.interpolation not in INTERPOLATIONS:
            expected = " or ".join(map(repr, INTERPOLATIONS))
            raise ValueError(f"{where}: interpolation is {brief(self.interpolation)}; expected {expected}")
        check_kind(f"{where}: unit", self.unit, str, "a base unit such as 'amp'")
        try:
            dimension_of(self.unit)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None

    def knots(self, duration: float) -> Array:
        """Times within a trial at which a sample is due, in seconds; the current has its kinks and steps there alone.

        Parameters
        ----------
        duration : float
            Length of the trial in seconds.
        """
        return self.start + self.interval * np.arange(self._intervals(duration))

    def samples(self, duration: float) -> int:
        """Number of samples that cover a trial: one for each knot and, where lines are drawn, the end of the last one.

        Parameters
        ----------
        duration : float
            Length of the trial in seconds.
        """
        return self._intervals(duration) + (self.interpolation == "linear")

    def _intervals(self, duration: float) -> int:
        return int(np.ceil((duration * (1 - ROUNDING) - self.start) / self.interval))


class Settled(dict[str, float | Array]):
    """Values of a population that have been checked: they may have had a unit when they were given."""


@dataclass(frozen=True)
class Population:
    """`n` neurons of one model.

    Attributes
    ----------
    name : str
        Unique in the network.
    n : int
    model : Model
        As `load_model` gives.
    parameters : mapping of str to float or array
        Values in SI base units that replace the model's defaults; an array of shape ``(n,)`` gives each neuron its own.
    learnable : sequence of str
        Parameters whose gradient is wanted.

    Raises
    ------
    ValueError
        For a parameter that the model doesn't have, or a value with another shape or unit, or that isn't finite, or not
        positive where it must be.
    """

    name: str
    n: int
    model: Model
    parameters: Mapping[str, float | Array] = field(default_factory=dict)
    learnable: Sequence[str] = ()

    def __post_init__(self) -> None:
        _check_group("population", self)
        where = f"population {self.name!r}"
        model: Any = self.model
        if not isinstance(model, Model):
            raise ValueError(f"{where}: model is {brief(model)}; expected a Model, as load_model gives")
        check_mapping(f"{where}: parameters", self.parameters, "values by name, as in {'tau_m': 10*ms}")
        names = sequence_of(f"{where}: learnable", self.learnable, str, "a list of names, as in ['tau_m']")
        object.__setattr__(self, "learnable", tuple(names))
        known = self.model.parameters
        for name in (*self.parameters, *self.learnable):
            if not isinstance(name, str) or name not in known:
                raise ValueError(f"{where}: {self.model.no_parameter(name)}")
        values: dict[str, float | Array] = {}
        for name, value in self.parameters.items():
            what = f"{where}: parameter {name!r}"
            array = in_unit(value, known[name].unit, what)
            if array.shape not in ((), (self.n,)):
                raise ValueError(f"{what} has shape {array.shape}; expected one number or shape ({self.n},)")
            if array.ndim and (receptor := self.model.source_of(name)):
                raise ValueError(
                    f"{what} has a value for each neuron, but belongs to those that project to {receptor!r}; give "
                    "one number; a second receptor, as 'tsodyks_markram:other', has parameters of its own"
                )
            if problem := known[name].problem(array):
                raise ValueError(f"{what} {problem}")
            if not isinstance(self.parameters, Settled):
                _warn_of_size(what, array, known[name], has_unit(value))
            values[name] = array if array.ndim else float(array)
        if problem := violated(self.model, {name: values.get(name, p.value) for name, p in known.items()}):
            raise ValueError(f"population {self.name!r}: {problem}")
        object.__setattr__(self, "parameters", Settled(values))

    def __repr__(self) -> str:
        units = {name: parameter.unit for name, parameter in self.model.parameters.items()}
        own = [f"{name} = {_shown(value, units[name])}" for name, value in self.parameters.items()]
        return f"<Population {self.name!r}: {'; '.join((f'{self.n} {self.model.name}', *own, *_learns(self)))}>"

    def value(self, parameter: str) -> float | Array:
        """The value of a parameter in SI units: the population's own, else the model's default."""
        if parameter in self.parameters:
            return self.parameters[parameter]
        return self.model.parameters[parameter].value


@dataclass(frozen=True)
class Projection:
    """All-to-all (or masked) connections from `source` to `target`.

    Attributes
    ----------
    name : str
        Unique; empty for ``"source_target"``.
    source, target : str
        An input or a population, and a population, by name; they may be the same.
    weights : array, shape (n_source, n_target)
        In SI base units of the receptor's weight.
    receptor : str
        Name of a receptor of the target's model; may be left empty if that has only one.
    mask : bool array, shape (n_source, n_target), or None
        Which connections exist; None for all.
    learnable : sequence of str
        What the gradient is wanted of, out of ``"w"`` and ``"delay"``; True is short for ``("w",)``, False for ``()``.
    delay : float, or array of shape (n_source, n_target)
        Seconds, not negative, from a spike to its arrival: one for all connections, or one for each.

    Raises
    ------
    ValueError
        For a name that is no identifier, or an unknown name in `learnable`. The rest is checked by `Network`, which
        knows both ends.
    """

    name: str
    source: str
    target: str
    weights: Array
    receptor: str = ""
    mask: Array | None = None
    learnable: Sequence[str] = ("w",)
    delay: float | Array = 0.0

    def __repr__(self) -> str:
        connections = "all-to-all" if self.mask is None else f"{int(np.sum(self.mask))} connections"
        parts = [f"{self.source} -> {self.target}", *([self.receptor] if self.receptor else ()), connections]
        delay = [f"delay {_shown(self.delay, 'second')}"] if np.any(self.delay) or "delay" in self.learnable else []
        return f"<Projection {self.name!r}: {'; '.join((*parts, *delay, *_learns(self)))}>"

    def __post_init__(self) -> None:
        _name_by_ends("projection", self, "receptor")
        object.__setattr__(self, "learnable", learnable_names(self.learnable, f"projection {self.name!r}"))


@dataclass(frozen=True)
class Drive:
    """Adds currents to an input of a population's model: for each neuron the sum over channels of weight times current.

    Attributes
    ----------
    name : str
        Unique; empty for ``"source_target"``.
    source : str
        A current input.
    target : str
        A population.
    weights : array, shape (n_source, n_target)
        Gains, in SI base units of the driven input's unit over that of the current.
    input : str
        Name of an input of the target's model; may be left empty if that has only one. What synapses add to it, or the
        parameter that it is where nothing does, stays.
    learnable : sequence of str
        ``("w",)`` where the gradient by the weights is wanted; True is short for it, False for ``()``.

    Raises
    ------
    ValueError
        For a name that is no identifier, or an unknown name in `learnable`. The rest is checked by `Network`, which
        knows both ends.
    """

    name: str
    source: str
    target: str
    weights: Array
    input: str = ""
    learnable: Sequence[str] = ("w",)

    def __repr__(self) -> str:
        parts = [f"{self.source} -> {self.target}", *([self.input] if self.input else ()), *_learns(self)]
        return f"<Drive {self.name!r}: {'; '.join(parts)}>"

    def __post_init__(self) -> None:
        _name_by_ends("drive", self, "input")
        object.__setattr__(self, "learnable", learnable_names(self.learnable, f"drive {self.name!r}", ("w",)))


def _warn_of_size(what: str, values: Array, parameter: Parameter, meant: bool) -> None:
    """Warn of bare numbers that are of another size than such values are: 20 for 20 ms.

    A quantity is `meant` so, unless it is a time constant of nanoseconds: time steps or spikes would be without end.
    """
    usual = parameter.scale or abs(parameter.value)
    size = np.abs(values)
    largest, least = size.max(), size.min()
    if not usual or not largest:
        return
    if parameter.unit == "second" and parameter.positive and least / usual < _TINY:
        problem = "a trial has more time steps or spikes than can be waited for, if it is so short"
        found = least
    elif parameter.unit != "1" and not meant and not 1 / _FAR < largest / usual < _FAR:
        problem = "a number without a unit is in SI units; give a quantity, such as 20*ms, to say that it is meant so"
        found = largest
    else:
        return
    warnings.warn(
        f"{what} is {found:g} {parameter.unit}, where {usual:g} {parameter.unit} is usual: {problem}",
        stacklevel=4,  # where the population is made
    )


def _shown(value: float | Array, unit: str) -> str:
    """One value, or the range of several."""
    array = np.asarray(value)
    said = f"{array:g}" if not array.ndim else f"{array.min():g} to {array.max():g}"
    return said if unit == "1" else f"{said} {unit}"


def _learns(of: Population | Projection | Drive) -> list[str]:
    return [f"learns {', '.join(of.learnable)}"] if of.learnable else []


def learnable_names(
    value: bool | Sequence[str], where: str, known: Sequence[str] = _LEARNABLE
) -> tuple[str, ...]:
    """What a projection learns, in a fixed order: True is short for the weights, False for nothing.

    Parameters
    ----------
    value : bool or sequence of str
        Names out of `known`.
    where : str
        Begins the message of an error.
    known : sequence of str
        What there is to learn, ``"w"`` first.

    Raises
    ------
    ValueError
        For anything that a projection doesn't have.
    """
    if isinstance(value, bool):
        return ("w",) if value else ()
    expected = f"expected true, false, or a list of names out of {' and '.join(f'"{name}"' for name in known)}"
    value = sequence_of(f"{where}: learnable", value, str, expected.removeprefix("expected "))
    for name in value:
        if name not in known:
            raise ValueError(f"{where}: learnable names {brief(name)}; {expected}")
    return tuple(name for name in known if name in value)


def _check_group(kind: str, of: SpikeInput | CurrentInput | Population) -> None:
    """Check name and size; a size that is one of NumPy's becomes Python's, which programs are laid out by."""
    name, n = of.name, of.n
    _check_name(kind, name)
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or not 1 <= n <= MOST:
        raise ValueError(f"{kind} {name!r}: n is {brief(n)}; expected a whole number from 1 up, at most {MOST}")
    object.__setattr__(of, "n", int(n))


def _name_by_ends(kind: str, of: Projection | Drive, place: str) -> None:
    """Check the names of what connects a source and a target at a place, and name it by these where it has none."""
    for end in ("source", "target", place):
        if not isinstance(getattr(of, end), str):
            raise ValueError(f"{kind} {brief(of.name)}: {end} is {brief(getattr(of, end))}; expected a name")
    if isinstance(of.name, str) and not of.name:
        object.__setattr__(of, "name", f"{of.source}_{of.target}")
    _check_name(kind, of.name)


def _check_name(kind: str, name: Any) -> None:
    # it becomes that of Brian2 objects and of files
    if not (isinstance(name, str) and is_name(name) and len(name) <= LONGEST_NAME):
        allowed = f"ASCII letters, digits and underscores, at most {LONGEST_NAME}"
        raise ValueError(f"{kind} {brief(name)}: expected a name of {allowed}")
