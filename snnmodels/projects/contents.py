"""The files of arrays that a project reads and writes, described once for its program, its README and its readers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from ..events.plan import EnginePlan
from ..events.schema import Capacity, Room
from ..losses.classification import compiled
from ..losses.observables import Maxima, Primitive, Samples, SpikeTimes
from ..templates.groups import CurrentInput, Drive, Population, Projection, SpikeInput
from ..templates.network import Network

__all__ = ["Contents", "File", "Rooms"]

FLOAT, INTEGER, TRUTH = "<f8", "<i8", "|b1"


@dataclass(frozen=True)
class File:
    """An array in a file of NumPy's format, in C order.

    Attributes
    ----------
    path : str
        In the project.
    role : str
        ``"input"``, ``"value"``, ``"target"``, ``"derivative"``, ``"constant"``, or of results ``"spikes"``,
        ``"state"``, ``"loss"``, ``"predictions"``, ``"gradient"``.
    name : str
        What it belongs to; of a gradient the key in `Outcome.gradients`.
    dtype : str
        NumPy's.
    shape : tuple of int
        `Room` for what a batch decides.
    unit : str
    meaning : str
        For the README.
    shared : bool
        Whether the trials may be left out of the shape, where all have the same.
    """

    path: str
    role: str
    name: str
    dtype: str
    shape: tuple[int, ...]
    unit: str
    meaning: str
    shared: bool = False

    def as_json(self) -> dict[str, Any]:
        """What project.json says of it: sizes that a batch decides go by their names."""
        told = {f.name: getattr(self, f.name) for f in fields(self)}
        return told | {"shape": [n.name if isinstance(n, Room) else n for n in self.shape]}

    @property
    def shown(self) -> str:
        """Its shape for readers."""
        sizes = [n.name if isinstance(n, Room) else str(n) for n in self.shape]
        return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


@dataclass(frozen=True)
class Rooms:
    """Sizes that a batch decides: those of files, and those of the arrays that the engine shares.

    Attributes
    ----------
    trials, threads : Room
    inputs, spikes, samples : tuple of Room
        Spikes of a source of every input, of a neuron of every population, samples of every current.
    capacities, shared : tuple of Room
        Spikes of a neuron that there is room for, by population; trials for which a driven input has values.
    """

    trials: Room
    threads: Room
    inputs: tuple[Room, ...]
    spikes: tuple[Room, ...]
    samples: tuple[Room, ...]
    capacities: tuple[Room, ...]
    shared: tuple[Room, ...]

    @classmethod
    def of(cls, plan: EnginePlan) -> Rooms:
        """Those of a plan."""
        network = plan.network
        return cls(
            Room(1, "trials"),
            Room(1, "threads"),
            tuple(Room(1, f"spikes of {s.name}") for s in network.inputs),
            tuple(Room(1, f"spikes of {p.name}") for p in network.populations),
            tuple(Room(1, f"samples of {c.name}") for c in network.currents),
            tuple(Room(8, f"room for spikes of {p.name}") for p in network.populations),
            tuple(Room(1, f"trials of driven input {d.index}") for d in plan.drives),
        )

    @property
    def capacity(self) -> Capacity:
        """What the engine's arrays are made for."""
        return Capacity(self.trials, self.inputs, self.capacities, self.shared)

    @property
    def all(self) -> list[Room]:
        """All of them, in a fixed order."""
        several = (self.inputs, self.spikes, self.samples, self.capacities, self.shared)
        return [self.trials, self.threads, *(room for rooms in several for room in rooms)]


@dataclass(frozen=True)
class Contents:
    """All files of arrays of a project.

    Attributes
    ----------
    plan : EnginePlan
    rooms : Rooms
    gradient : bool
        Whether its program differentiates.
    loss : tuple of (int, tuple of float), or None
        The loss that the program has itself, as `compiled` says it; else derivatives come from files.
    """

    plan: EnginePlan
    rooms: Rooms
    gradient: bool
    loss: tuple[int, tuple[float, ...]] | None

    @classmethod
    def of(cls, plan: EnginePlan, gradient: bool, loss: Any) -> Contents:
        """Those of a project.

        Parameters
        ----------
        plan : EnginePlan
        gradient : bool
        loss : Loss or None
        """
        return cls(plan, Rooms.of(plan), gradient, compiled(loss) if gradient and loss is not None else None)

    @property
    def network(self) -> Network:
        """The network that is simulated."""
        return self.plan.network

    # --- what the program reads -------------------------------------------------------------------------------------

    def times(self, k: int, s: SpikeInput) -> File:
        """Spike times of an input."""
        shape = (self.rooms.trials, s.n, self.rooms.inputs[k])
        what = f"spike times of input `{s.name}`, ascending, padded with inf"
        return File(f"inputs/{s.name}.npy", "input", s.name, FLOAT, shape, "second", what)

    def samples(self, k: int, c: CurrentInput) -> File:
        """Samples of a current."""
        shape = (self.rooms.trials, c.n, self.rooms.samples[k])
        least = c.samples(self.network.duration)
        what = f"samples of current `{c.name}`, at least {least}; ({c.n}, samples) where all trials share them"
        return File(f"inputs/{c.name}.npy", "input", c.name, FLOAT, shape, c.unit, what, shared=True)

    def weights(self, q: Projection) -> File:
        """Weights of a projection."""
        unit = self.network.population(q.target).model.receptors[q.receptor].weight_unit
        what = f"weights from `{q.source}` to `{q.target}`"
        return self._value(f"{q.name}.w", q.weights.shape, unit, what + self._masked(q))

    def delay(self, q: Projection) -> File:
        """Delays of a projection."""
        shape = q.weights.shape if getattr(q.delay, "ndim", 0) else ()
        what = f"delays from `{q.source}` to `{q.target}`, not negative"
        return self._value(f"{q.name}.delay", shape, "second", what + self._masked(q))

    def gain(self, d: Drive) -> File:
        """Weights of a drive."""
        what = f"weights of current `{d.source}` at `{d.target}`"
        return self._value(f"{d.name}.w", d.weights.shape, "SI base units", what)

    def mask(self, q: Projection) -> File | None:
        """Which connections of a projection exist, where not all do."""
        if q.mask is None:
            return None
        what = f"which connections of `{q.name}` exist"
        return File(f"plan/{q.name}.mask.npy", "constant", q.name, TRUTH, q.weights.shape, "", what)

    def _value(self, key: str, shape: tuple[int, ...], unit: str, meaning: str) -> File:
        return File(f"values/{key}.npy", "value", key, FLOAT, shape, unit, meaning)

    def _masked(self, q: Projection) -> str:
        return "" if q.mask is None else "; ignored where there is no connection"

    @property
    def targets(self) -> File | None:
        """Labels, for a loss that the program has itself."""
        if self.loss is None:
            return None
        return File("targets.npy", "target", "targets", INTEGER, (self.rooms.trials,), "", "label of every trial")

    def derivative(self, seen: Primitive) -> File:
        """The derivative of a loss by what is read."""
        read = self.read(seen)
        what = f"derivative of the loss by `{read.path}`" + ", 0 where that is inf" * isinstance(seen, SpikeTimes)
        unit = _per(read.unit)
        return File(f"derivatives/{read.name}.npy", "derivative", read.name, FLOAT, read.shape, unit, what)

    # --- what it writes ---------------------------------------------------------------------------------------------

    def spikes(self, k: int) -> File:
        """Spike times of a population."""
        p = self.network.populations[k]
        shape = (self.rooms.trials, p.n, self.rooms.spikes[k])
        what = f"spike times of `{p.name}`, ascending, padded with inf"
        return File(f"results/{p.name}.spikes.npy", "spikes", f"{p.name}.spikes", FLOAT, shape, "second", what)

    def read(self, seen: Primitive) -> File:
        """What a loss reads."""
        k = self.plan.place(seen)
        if isinstance(seen, SpikeTimes):
            return self.spikes(k)
        assert isinstance(seen, Maxima | Samples)
        p = self.network.populations[k]
        unit = next((s.unit for s in p.model.states if s.name == seen.variable), "1")
        name = f"{p.name}.{seen.variable}"
        if isinstance(seen, Maxima):
            what = f"largest value of `{name}`"
            return File(f"results/{name}.maxima.npy", "state", f"{name}.maxima", FLOAT, self._each(p), unit, what)
        which = [other for other in self.plan.samples if (other.population, other.variable) == (p.name, seen.variable)]
        number = which.index(seen)
        name = f"{name}.samples{number + 1 if number else ''}"
        times = seen.times(self.network.duration).size
        what = f"`{p.name}.{seen.variable}` at {seen.interval!r} s and its multiples, just before an event there"
        return File(f"results/{name}.npy", "state", name, FLOAT, (*self._each(p), times), unit, what)

    def _each(self, p: Population) -> tuple[int, ...]:
        return (self.rooms.trials, p.n)

    @property
    def value(self) -> File | None:
        """The loss."""
        if self.loss is None:
            return None
        return File("results/loss.npy", "loss", "loss", FLOAT, (), "", "loss, the mean over the trials")

    @property
    def predictions(self) -> File | None:
        """Predicted classes."""
        if self.loss is None:
            return None
        what = "predicted class of every trial, -1 where there is none"
        return File("results/predictions.npy", "predictions", "predictions", INTEGER, (self.rooms.trials,), "", what)

    def by(self, key: str, shape: tuple[int, ...], unit: str, *, shared: bool = False) -> File:
        """The gradient by something, in its shape.

        Parameters
        ----------
        key : str
            As in `Outcome.gradients`.
        shape : tuple of int
        unit : str
            Of what it is by.
        shared : bool
            See `File`.
        """
        what = f"derivative of the loss by {key}"
        return File(f"results/gradients/{key}.npy", "gradient", key, FLOAT, shape, _per(unit), what, shared)

    def by_value(self, value: File) -> File:
        """The gradient by a value that a file holds."""
        return self.by(value.name, value.shape, value.unit)

    def by_input(self, given: File, what: str) -> File:
        """The gradient by ``"times"`` or ``"samples"`` of an input."""
        return self.by(f"{given.name}.{what}", given.shape, given.unit, shared=given.shared)

    def by_parameter(self, p: Population, name: str) -> File:
        """The gradient by a parameter: of every neuron where each has its own value."""
        shape = (p.n,) if getattr(p.value(name), "ndim", 0) else ()
        return self.by(f"{p.name}.{name}", shape, p.model.parameters[name].unit)

    def all(self) -> Iterator[File]:
        """All but the constants, in the order in which readers want them."""
        network, targets = self.network, self.targets
        inputs = [self.times(k, s) for k, s in enumerate(network.inputs)]
        currents = [self.samples(k, c) for k, c in enumerate(network.currents)]
        yield from (*inputs, *currents)
        for q in network.projections:
            yield self.weights(q)
            yield self.delay(q)
        for d in network.drives:
            yield self.gain(d)
        observed = list(dict.fromkeys(self.plan.observed))
        if targets is not None:
            yield targets
        elif self.gradient:
            yield from map(self.derivative, observed)
        yield from (self.spikes(p.index) for p in self.plan.populations if p.rules.spiking)
        yield from (self.read(seen) for seen in observed if not isinstance(seen, SpikeTimes))
        yield from (file for file in (self.value, self.predictions) if file is not None)
        if not self.gradient:
            return
        for q in network.projections:
            if "w" in q.learnable:
                yield self.by_value(self.weights(q))
            if "delay" in q.learnable:
                yield self.by_value(self.delay(q))
        for p in network.populations:
            yield from (self.by_parameter(p, name) for name in p.learnable)
        yield from (self.by_value(self.gain(d)) for d in network.drives if d.learnable)
        if self.plan.input_gradients:
            yield from (self.by_input(file, "times") for file in inputs)
            yield from (self.by_input(file, "samples") for file in currents)


def _per(unit: str) -> str:
    """The unit of a derivative of a loss, which has none."""
    return unit if unit in ("", "1") else f"1/({unit})"
