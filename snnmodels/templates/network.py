"""Networks as values: populations of neurons, sources of input spikes and currents, and projections between them.

Values are checked when they are made: what exists is well-formed. Quantities with Brian2 units are accepted wherever
a number in SI units is, and are checked against the unit that is expected.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ._html import page, table
from .arguments import check_kind, check_mapping, has_unit, real_array, sequence_of
from .constraints import violated
from .errors import brief, suggest
from .expressions import is_name
from .model import Model, Parameter

__all__ = [
    "INTERPOLATIONS",
    "MOST",
    "CurrentInput",
    "Drive",
    "Network",
    "Population",
    "Projection",
    "Settled",
    "SpikeInput",
    "check_inputs",
    "check_network",
    "gain_unit",
    "in_unit",
    "learnable_names",
    "take_seconds",
]

Array = np.ndarray

LONGEST_NAME = 100  # characters: a name is part of the names of files
MOST = 1_000_000_000  # neurons of a population, connections of a projection: 8 GB of weights

INTERPOLATIONS = ("hold", "linear")

_SHOWN = 30  # parts of a network that its repr shows

_FAR = 999  # times a usual value: a unit was left out, rather than meant so
_ROUNDING = 1e-12  # of a trial: a sample that is due so little before its end is due at it
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
            _dimension_of(self.unit)
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
        return int(np.ceil((duration * (1 - _ROUNDING) - self.start) / self.interval))


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
            if not has_unit(value) and not isinstance(self.parameters, Settled):
                _warn_of_size(what, array, known[name])
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


@dataclass(frozen=True)
class Network:
    """Populations and projections over trials of length `duration`.

    Attributes
    ----------
    name : str
        For messages and files.
    inputs : tuple of SpikeInput
    populations : tuple of Population
    projections : tuple of Projection
        Recurrent ones included, in any order.
    output : str
        Name of the population that the loss reads.
    duration : float
        Length of a trial in seconds.
    encoding : mapping
        How a data set becomes input spikes, for those who train: ``code`` (the name of a function of
        `snnmodels.datasets`), ``longest`` (seconds) and ``dropout``.
    currents : tuple of CurrentInput
    drives : tuple of Drive
        What the currents drive.
    loss : sequence of mapping
        What it is to be trained on: terms that add up, each a mapping of what `snnmodels.losses.loss_of` reads.

    Raises
    ------
    ValueError
        For a name that is used twice or stands for nothing, weights, masks or delays of a wrong shape or unit, weights
        or delays that aren't finite, a negative delay, a source that never spikes, a duration that isn't positive, a
        current that starts after the end, or a driven input that events read.
    """

    name: str
    inputs: tuple[SpikeInput, ...]
    populations: tuple[Population, ...]
    projections: tuple[Projection, ...]
    output: str
    duration: float
    encoding: Mapping[str, str | float] = field(default_factory=dict)
    currents: tuple[CurrentInput, ...] = ()
    drives: tuple[Drive, ...] = ()
    loss: Sequence[Mapping[str, Any]] = ()

    def __post_init__(self) -> None:
        check_kind("name of the network", self.name, str, "text")
        check_mapping(f"network {self.name!r}: encoding", self.encoding, "a mapping with code, longest and dropout")
        terms = sequence_of(f"network {self.name!r}: loss", self.loss, Mapping, "a sequence of mappings")
        object.__setattr__(self, "loss", tuple(terms))
        kinds = {"inputs": SpikeInput, "populations": Population, "projections": Projection}
        for name, kind in (kinds | {"currents": CurrentInput, "drives": Drive}).items():
            expected = f"a sequence of {kind.__name__}"
            members = tuple(sequence_of(f"network {self.name!r}: {name}", getattr(self, name), kind, expected))
            object.__setattr__(self, name, members)
        groups = (self.inputs, self.currents, self.populations, self.projections, self.drives)
        _check_unique([x.name for group in groups for x in group], self.name)
        populations = {p.name: p for p in self.populations}
        if not isinstance(self.output, str) or self.output not in populations:
            hint = suggest(str(self.output), populations)
            raise ValueError(f"network {self.name!r}: output {brief(self.output)} is not a population; {hint}")
        duration = in_unit(self.duration, "second", f"network {self.name!r}: duration")
        if duration.ndim or not 0 < duration < np.inf:
            found = brief(self.duration)
            raise ValueError(f"network {self.name!r}: duration is {found}; expected a positive time in seconds")
        object.__setattr__(self, "duration", float(duration))
        sources: dict[str, SpikeInput | Population] = {s.name: s for s in self.inputs}
        sources |= populations
        object.__setattr__(self, "projections", tuple(_settled(p, sources, populations) for p in self.projections))
        for q in self.projections:
            if np.min(q.delay) >= self.duration:
                raise ValueError(
                    f"network {self.name!r}: projection {q.name!r} has a delay of {np.min(q.delay):g} s, so that "
                    f"nothing arrives in a trial of {self.duration:g} s; give delays in seconds"
                )

        for current in self.currents:
            of_trial = f"in a trial of {self.duration:g} s; give times in seconds"
            if current.start >= self.duration * (1 - _ROUNDING):
                raise ValueError(f"input {current.name!r} starts at {current.start:g} s, too late {of_trial}")
            if self.duration / current.interval > MOST:
                interval = f"an interval of {current.interval:g} s, more than {MOST} samples"
                raise ValueError(f"input {current.name!r} has {interval} {of_trial}")
        currents = {c.name: c for c in self.currents}
        object.__setattr__(self, "drives", tuple(_settled_drive(d, currents, populations) for d in self.drives))

    def __repr__(self) -> str:
        loss = [f"loss {', '.join(_kind(term) for term in self.loss)}"] if self.loss else []
        head = "; ".join((f"trials of {self.duration:g} s", f"output {self.output}", *loss))
        parts = [*self.inputs, *self.currents, *self.populations, *self.projections, *self.drives]
        more = [f"  and {len(parts) - _SHOWN} more"] if len(parts) > _SHOWN else []
        return "\n".join([f"<Network {self.name!r}: {head}", *(f"  {part}" for part in parts[:_SHOWN]), *more]) + ">"

    def _repr_html_(self) -> str:
        """In a notebook: populations and projections."""
        inputs = [(x.name, x.n, "input") for x in self.inputs] + [(x.name, x.n, "current") for x in self.currents]
        neurons = [(p.name, p.n, p.model.name, ", ".join(p.learnable)) for p in self.populations]
        links: list[Projection | Drive] = [*self.projections, *self.drives]
        ends = [(q.name, q.source, q.target, np.size(q.weights), ", ".join(q.learnable)) for q in links]
        return page(
            f"{self.name}: trials of {self.duration:g} s, output {self.output}",
            "",
            table(("name", "size", "model", "learns"), [*((*x, "") for x in inputs), *neurons]),
            table(("projection", "from", "to", "weights", "learns"), ends),
        )

    def population(self, name: str) -> Population:
        """The population of a name.

        Raises
        ------
        KeyError
            If there is none.
        """
        for p in self.populations:
            if p.name == name:
                return p
        raise KeyError(f"{name!r} is not a population of network {self.name!r}")

    def trainable(self) -> dict[str, Array]:
        """Current values of everything learnable, by key.

        Keys are ``"<projection>.w"``, ``"<projection>.delay"`` and ``"<population>.<parameter>"``. Values are float64
        arrays: weights ``(n_source, n_target)``, a shared delay or parameter ``()``, delays of their own
        ``(n_source, n_target)``, a per-neuron parameter ``(n,)``.
        """
        values: dict[str, Array] = {}
        for p in self.projections:
            if "w" in p.learnable:
                values[f"{p.name}.w"] = np.asarray(p.weights, dtype=float)
            if "delay" in p.learnable:
                values[f"{p.name}.delay"] = np.asarray(p.delay, dtype=float)
        for d in self.drives:
            if "w" in d.learnable:
                values[f"{d.name}.w"] = np.asarray(d.weights, dtype=float)
        for q in self.populations:
            for name in q.learnable:
                values[f"{q.name}.{name}"] = np.asarray(q.value(name), dtype=float)
        return values


def _warn_of_size(what: str, values: Array, parameter: Parameter) -> None:
    """Warn of bare numbers that are of another size than such values are: 20 for 20 ms."""
    usual = parameter.scale or abs(parameter.value)
    largest = np.abs(values).max()
    if parameter.unit == "1" or not usual or not largest or 1 / _FAR < largest / usual < _FAR:
        return
    warnings.warn(
        f"{what} is {largest:g} {parameter.unit}, where {usual:g} {parameter.unit} is usual: a number without a unit "
        "is in SI units; give a quantity, such as 20*ms, to say that it is meant so",
        stacklevel=4,  # where the population is made
    )


def _shown(value: float | Array, unit: str) -> str:
    """One value, or the range of several."""
    array = np.asarray(value)
    said = f"{array:g}" if not array.ndim else f"{array.min():g} to {array.max():g}"
    return said if unit == "1" else f"{said} {unit}"


def _learns(of: Population | Projection | Drive) -> list[str]:
    return [f"learns {', '.join(of.learnable)}"] if of.learnable else []


def _kind(term: Mapping[str, Any]) -> str:
    return str(term.get("kind", "expression"))


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


def _check_unique(names: Iterable[str], network: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            hint = "inputs, populations and projections need one each"
            raise ValueError(f"network {network!r}: the name {name!r} is used twice; {hint}")
        seen.add(name)


def _settled(
    projection: Projection, sources: Mapping[str, SpikeInput | Population], targets: Mapping[str, Population]
) -> Projection:
    """The projection with its receptor chosen and its arrays as arrays, after all checks."""
    where = f"projection {projection.name!r}"
    if projection.source not in sources:
        hint = suggest(projection.source, sources)
        raise ValueError(f"{where}: source {brief(projection.source)} is neither an input nor a population; {hint}")
    if projection.target not in targets:
        hint = suggest(projection.target, targets)
        raise ValueError(f"{where}: target {brief(projection.target)} is not a population; {hint}")
    source, target = sources[projection.source], targets[projection.target]
    if isinstance(source, Population) and not source.model.spiking:
        raise ValueError(f"{where}: source {source.name!r} never spikes ({source.model.name} has no threshold)")
    receptors = target.model.receptors
    receptor = projection.receptor or (next(iter(receptors)) if len(receptors) == 1 else "")
    if receptor not in receptors:
        problem = f"{target.name!r} has no receptor {brief(receptor)}" if receptor else "name a receptor"
        raise ValueError(f"{where}: {problem}; {suggest(receptor, receptors)}")
    shape = (source.n, target.n)
    weights = in_unit(projection.weights, receptors[receptor].weight_unit, f"{where}: weights")
    try:
        mask = None if projection.mask is None else np.asarray(projection.mask)
    except ValueError:  # rows of unequal length
        mask = np.empty(0)
    if weights.shape != shape:
        raise ValueError(f"{where}: weights have shape {weights.shape}; expected (n_source, n_target) = {shape}")
    if not np.isfinite(weights).all():
        raise ValueError(f"{where}: weights are not all finite")
    if mask is not None and (mask.shape != shape or mask.dtype != bool):
        raise ValueError(f"{where}: mask is {mask.dtype} of shape {mask.shape}; expected bool of shape {shape}")
    delay = in_unit(projection.delay, "second", f"{where}: delay")
    if delay.shape not in ((), shape):
        raise ValueError(
            f"{where}: delay has shape {delay.shape}; expected one number or (n_source, n_target) = {shape}"
        )
    if not np.isfinite(delay).all():
        raise ValueError(f"{where}: delay is not finite")
    if (delay < 0).any():
        raise ValueError(f"{where}: a delay of {delay.min():g} s; a spike can't arrive before it is sent")
    return replace(
        projection, weights=weights, receptor=receptor, mask=mask, delay=delay if delay.ndim else float(delay)
    )


def _settled_drive(
    drive: Drive, currents: Mapping[str, CurrentInput], targets: Mapping[str, Population]
) -> Drive:
    """The drive with its input chosen and its weights as an array, after all checks."""
    where = f"drive {drive.name!r}"
    if drive.source not in currents:
        hint = suggest(drive.source, currents)
        raise ValueError(f"{where}: source {brief(drive.source)} is not a current input; {hint}")
    if drive.target not in targets:
        hint = suggest(drive.target, targets)
        raise ValueError(f"{where}: target {brief(drive.target)} is not a population; {hint}")
    source, target = currents[drive.source], targets[drive.target]
    inputs = target.model.inputs
    name = drive.input or (next(iter(inputs)) if len(inputs) == 1 else "")
    if name not in inputs:
        problem = f"{target.model.name} has no input {brief(name)}" if name else "name an input"
        raise ValueError(f"{where}: {problem}; {suggest(name, inputs)}")
    if place := inputs[name].read_at:
        raise ValueError(
            f"{where}: the {place} of {target.model.name} reads {name!r}; a current can drive an input that equations "
            "of states read, and nothing else does"
        )
    weights = in_unit(drive.weights, gain_unit(inputs[name].unit, source.unit), f"{where}: weights")
    shape = (source.n, target.n)
    if weights.shape != shape:
        raise ValueError(f"{where}: weights have shape {weights.shape}; expected (n_source, n_target) = {shape}")
    if not np.isfinite(weights).all():
        raise ValueError(f"{where}: weights are not all finite")
    return replace(drive, weights=weights, input=name)


def check_network(network: Any) -> None:
    """Refuse what is not a `Network`.

    Raises
    ------
    ValueError
    """
    check_kind("network", network, Network, "a Network, as load_network gives")


def check_inputs(inputs: Mapping[str, Any], network: Network) -> None:
    """Refuse inputs of a batch that are not those of a network.

    Raises
    ------
    ValueError
    """
    names = sorted([x.name for x in network.inputs] + [x.name for x in network.currents])
    if sorted(inputs) != names:
        raise ValueError(f"inputs are {sorted(inputs)}; network {network.name!r} has {names}")


def gain_unit(driven: str, current: str) -> str:
    """Unit of the weights with which a current drives an input, from the units of both."""
    from .units import resolve_unit

    return resolve_unit("unit(driven)/unit(current)", {"driven": driven, "current": current})


def _dimension_of(unit: str) -> Any:
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


def in_unit(value: Any, unit: str, where: str) -> Array:
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

        if value.dim is not _dimension_of(unit):
            found = unit_of_dimension(value.dim)
            raise ValueError(f"{where} has unit {found}; expected {unit}")
        value = np.asarray(value)
    return real_array(where, value)
