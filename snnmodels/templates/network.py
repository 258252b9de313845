"""Networks as values: populations of neurons, sources of input spikes and currents, and projections between them.

Values are checked when they are made: what exists is well-formed. Quantities with Brian2 units are accepted wherever
a number in SI units is, and are checked against the unit that is expected.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ._html import page, table
from .arguments import check_kind, check_mapping, sequence_of
from .errors import brief, suggest
from .groups import MOST, ROUNDING, CurrentInput, Drive, Population, Projection, SpikeInput
from .quantities import gain_unit, in_unit

__all__ = ["Network", "check_inputs", "check_network"]

_SHOWN = 30  # parts of a network that its repr shows


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
        for name, kind in _PARTS.items():
            given = getattr(self, name)
            expected = f"a sequence of {kind.__name__}{_elsewhere(given, name)}"
            members = tuple(sequence_of(f"network {self.name!r}: {name}", given, kind, expected))
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
            if current.start >= self.duration * (1 - ROUNDING):
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

    def trainable(self) -> dict[str, np.ndarray]:
        """Current values of everything learnable, by key.

        Keys are ``"<projection>.w"``, ``"<projection>.delay"`` and ``"<population>.<parameter>"``. Values are float64
        arrays: weights ``(n_source, n_target)``, a shared delay or parameter ``()``, delays of their own
        ``(n_source, n_target)``, a per-neuron parameter ``(n,)``.
        """
        values: dict[str, np.ndarray] = {}
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


def _kind(term: Mapping[str, Any]) -> str:
    return str(term.get("kind", "expression"))


def _check_unique(names: Iterable[str], network: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            hint = "inputs, populations and projections need one each"
            raise ValueError(f"network {network!r}: the name {name!r} is used twice; {hint}")
        seen.add(name)


_PARTS = {
    "inputs": SpikeInput,
    "populations": Population,
    "projections": Projection,
    "currents": CurrentInput,
    "drives": Drive,
}


def _elsewhere(given: Any, name: str) -> str:
    """Where parts of a network belong that are not among those of this name, as the end of a message."""
    found = given if isinstance(given, list | tuple) else (given,)
    places = {place: kind for place, kind in _PARTS.items() if any(isinstance(part, kind) for part in found)}
    return "".join(f"; {kind.__name__} goes to {place}" for place, kind in places.items() if place != name)


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
        raise ValueError(f"{where}: {problem}; {target.model.receptor_hint(receptor)}")
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


