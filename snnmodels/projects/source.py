"""What a project's program has to know of its network, as C++: ``plan.h``, for ``files/project.h``."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..events.engine import FAILURES, explain, not_finite
from ..events.plan import PopulationPlan
from ..events.schema import Array, Entries, Room, arrays, is_sparse, padded
from ..losses.observables import Maxima, Primitive, Samples, SpikeTimes
from ..targets.cpp.layout import Ways, describe
from .contents import FLOAT, INTEGER, Contents, File

__all__ = ["KNOTS", "constants", "plan_source"]

KNOTS = ("sample", "fraction")
"""What a file of constants holds of each current of a driven input: `DrivePart.sample` and `DrivePart.fraction`."""

_LOSSES = ("FIRST_SPIKES", "LARGEST_VALUES")  # by the number that `compiled` gives them


class _Number(float):
    """A time that shows as a hole to be filled in."""

    def __format__(self, how: str) -> str:
        return "@time@"


class _Slope(float):
    """A slope that does."""

    def __format__(self, how: str) -> str:
        return "@slope@"


class _Neuron(int):
    """A neuron that does."""

    def __format__(self, how: str) -> str:
        return "@neuron@"


class _Key(str):
    """A key that does."""

    def __repr__(self) -> str:
        return "'@key@'"


def constants(contents: Contents, views: Mapping[str, np.ndarray]) -> dict[str, tuple[File, np.ndarray]]:
    """What the program takes as it is, by the key of the engine's array.

    Parameters
    ----------
    contents : Contents
    views : mapping of str to array
        The engine's arrays, filled but for weights, delays and the batch.
    """
    keys = ["reals", *(f"samples{k}.times" for k in range(len(contents.plan.samples)))]
    for p in contents.plan.groups:
        own = [f"p{k}" for k in range(len(p.rules.parameters))]
        bounds = ("bounds", "peak_bounds") if isinstance(p, PopulationPlan) else ()
        keys += [f"{p.key}.{key}" for key in (*own, "initial", *bounds)]
    keys += [f"drive{d.index}.{key}" for d in contents.plan.drives for key in ("times", "jumps")]
    return {key: (_constant(key, FLOAT, views[key]), views[key]) for key in keys if views[key].size}


def knots(contents: Contents) -> list[tuple[File, np.ndarray]]:
    """Of every current of every driven input, what `KNOTS` names."""
    found = []
    for d in contents.plan.drives:
        for k, part in enumerate(d.parts):
            for key, dtype in zip(KNOTS, (INTEGER, FLOAT), strict=True):
                values = np.ascontiguousarray(getattr(part, key), dtype=dtype)
                found.append((_constant(f"drive{d.index}.{key}{k}", dtype, values), values))
    return found


def _constant(key: str, dtype: str, values: np.ndarray) -> File:
    return File(f"plan/{key}.npy", "constant", key, dtype, values.shape, "", "")


def plan_source(
    contents: Contents,
    entries: Mapping[int, Entries],
    models: Sequence[int],
    ways: Ways,
    given: Mapping[str, tuple[File, np.ndarray]],
) -> str:
    """The header.

    Parameters
    ----------
    contents : Contents
    entries : mapping of int to Entries
        Of the projections that are kept as entries.
    models : sequence of int
        Number of the model of every group of the plan.
    ways : Ways
        With the room of the threads, where they can be chosen.
    given : mapping
        As `constants` gives.
    """
    plan, rooms = contents.plan, contents.rooms
    printer = _Printer(rooms.all)
    declared = {a.key: a for a in arrays(plan, rooms.capacity, entries)}
    words = describe(plan, rooms.capacity, declared, models, ways)
    loss = contents.loss
    parts = {
        "rooms": printer.several(json.dumps(room.name) for room in rooms.all),
        "trials": printer.room(rooms.trials),
        "threads": printer.room(ways.threads) if isinstance(ways.threads, Room) else "-1",
        "words": printer.several(printer.word(w, list(declared)) for w in words),
        "fields": printer.several(printer.field(a) for a in declared.values()),
        "constants": printer.several(f"{{{json.dumps(key)}, {printer.fixed(*pair)}}}" for key, pair in given.items()),
        "knots": printer.several(printer.fixed(*pair) for pair in knots(contents)),
        "inputs": printer.several(_inputs(contents, printer)),
        "currents": printer.several(_currents(contents, printer)),
        "drives": printer.several(_drives(contents, printer)),
        "gains": printer.several(_gains(contents, printer)),
        "projections": printer.several(_projections(contents, printer)),
        "populations": printer.several(_populations(contents, printer)),
        "observed": printer.several(_observed(contents, printer)),
        "gradient": printer.truth(contents.gradient),
        "input gradients": printer.truth(plan.input_gradients),
        "loss": "FROM_FILES" if loss is None else _LOSSES[loss[0]],
        "its constants": printer.several(map(repr, loss[1] if loss else ())),
        "targets": printer.file(contents.targets),
        "value": printer.file(contents.value),
        "predictions": printer.file(contents.predictions),
        "duration": repr(plan.network.duration),
        "failures": printer.several(_failures(contents)),
        "not finite": json.dumps(not_finite(_Key(), _Slope())),
    }
    body = "\n".join(f"    // {what}\n    {text}," for what, text in parts.items())
    return f"// Generated: network {json.dumps(plan.network.name)}; see project.h.\n#pragma once\n\n" + (
        f"namespace snn_project {{\n\nstatic const Plan PLAN = {{\n{body}\n}};\n\n}}  // namespace snn_project\n"
    )


class _Printer:
    """Prints the structures of project.h."""

    def __init__(self, rooms: Sequence[Room]) -> None:
        self._places = {id(room): k for k, room in enumerate(rooms)}

    def several(self, items: Iterable[str]) -> str:
        """A list."""
        return f"{{{', '.join(items)}}}"

    def truth(self, value: bool) -> str:
        return "true" if value else "false"

    def room(self, room: Room) -> str:
        """The place of a room."""
        return str(self._places[id(room)])

    def dims(self, shape: Sequence[int]) -> str:
        """A shape."""
        each = (f"{{0, {self.room(n)}}}" if isinstance(n, Room) else f"{{{n}, -1}}" for n in shape)
        return self.several(each)

    def file(self, file: File | None) -> str:
        """A file, or none."""
        if file is None:
            return '{nullptr, "", {}}'
        return f"{{{json.dumps(file.path)}, {json.dumps(file.dtype)}, {self.dims(file.shape)}}}"

    def fixed(self, file: File | None, values: np.ndarray | None) -> str:
        """A file that is not to be replaced, or none."""
        checksum = (
            0 if values is None or file is None else zlib.crc32(np.ascontiguousarray(values, file.dtype).tobytes())
        )
        return f"{{{self.file(file)}, {checksum}u}}"

    def field(self, a: Array) -> str:
        """An array that the engine shares."""
        return f"{{{json.dumps(a.key)}, {np.dtype(a.dtype).itemsize}, {self.dims(a.shape)}}}"

    def word(self, w: int | Array, keys: Sequence[str]) -> str:
        """A number that the engine reads."""
        if isinstance(w, Array):
            return f"{{FIELD, {keys.index(w.key)}}}" if w.nbytes else "{NUMBER, -1}"
        return f"{{ROOM, {self.room(w)}}}" if isinstance(w, Room) else f"{{NUMBER, {w}}}"


def _inputs(contents: Contents, to: _Printer) -> Iterable[str]:
    for k, s in enumerate(contents.network.inputs):
        times = contents.times(k, s)
        yield f"{{{s.n}, {to.file(times)}, {to.file(contents.by_input(times, 'times'))}}}"


def _currents(contents: Contents, to: _Printer) -> Iterable[str]:
    for k, c in enumerate(contents.network.currents):
        samples, least = contents.samples(k, c), c.samples(contents.network.duration)
        yield f"{{{c.n}, {least}, {to.file(samples)}, {to.file(contents.by_input(samples, 'samples'))}}}"


def _drives(contents: Contents, to: _Printer) -> Iterable[str]:
    at = 0
    for d in contents.plan.drives:
        parts = []
        for part in d.parts:
            places = f"{part.current}, {part.drive}, {at}, {at + 1}"
            parts.append(f"{{{places}, {part.interval!r}, {to.truth(part.linear)}}}")
            at += len(KNOTS)
        flags = f"{to.truth(d.linear)}, {to.truth(d.wanted)}"
        shared = to.room(contents.rooms.shared[d.index])
        yield f"{{{d.population}, {d.times.size}, {shared}, {flags}, {to.several(parts)}}}"


def _gains(contents: Contents, to: _Printer) -> Iterable[str]:
    for d in contents.network.drives:
        file, shape = contents.gain(d), d.weights.shape
        learnable = to.truth(bool(d.learnable))
        yield f"{{{shape[0]}, {shape[1]}, {learnable}, {to.file(file)}, {to.file(contents.by_value(file))}}}"


def _projections(contents: Contents, to: _Printer) -> Iterable[str]:
    for p in contents.plan.projections:
        q = p.projection
        rows, columns = q.weights.shape
        weights, delay = contents.weights(q), contents.delay(q)
        flags = (is_sparse(p), bool(delay.shape), "w" in q.learnable, "delay" in q.learnable)
        files = (weights, delay, contents.by_value(weights), contents.by_value(delay))
        words = [str(rows), str(columns), str(padded(columns)), *map(to.truth, flags)]
        words += [to.fixed(contents.mask(q), q.mask), *map(to.file, files)]
        yield to.several(words)


def _populations(contents: Contents, to: _Printer) -> Iterable[str]:
    rooms = contents.rooms
    for p in contents.plan.populations:
        learned = to.several(_learned(contents, p, p.rules.parameters[k], to) for k in p.rules.learnable)
        places = f"{to.room(rooms.capacities[p.index])}, {to.room(rooms.spikes[p.index])}"
        spiking, times = to.truth(p.rules.spiking), to.file(contents.spikes(p.index))
        yield f"{{{p.population.n}, {places}, {spiking}, {learned}, {times}}}"


def _learned(contents: Contents, p: PopulationPlan, name: str, to: _Printer) -> str:
    """A parameter, and where what it moves in states of sources is told."""
    file = contents.by_parameter(p.population, name)
    more = [
        f"{{{s.index}, {s.rules.gradient_of(name)}, {s.n}}}" for s in contents.plan.sources_of(p.index, name)
    ]
    return f"{{{to.truth(bool(file.shape))}, {to.file(file)}, {to.several(more)}}}"


def _observed(contents: Contents, to: _Printer) -> Iterable[str]:
    plan = contents.plan
    for seen in dict.fromkeys(plan.observed):
        place = plan.samples.index(seen) if isinstance(seen, Samples) else plan.place(seen)
        files = f"{to.file(contents.read(seen))}, {to.file(contents.derivative(seen))}"
        yield f"{{{_kind(seen)}, {place}, {plan.place(seen)}, {files}}}"


def _kind(seen: Primitive) -> str:
    kinds: dict[type[Any], str] = {SpikeTimes: "SPIKES", Maxima: "MAXIMA", Samples: "SAMPLES"}
    return next(kind for of, kind in kinds.items() if isinstance(seen, of))


def _failures(contents: Contents) -> Iterable[str]:
    """What the engine says of networks without a trajectory, with holes."""
    for p in contents.plan.populations:
        for what in FAILURES:
            for neuron in (_Neuron(0), -1):
                for time in (_Number(0), -1.0):
                    text = explain(contents.plan, what, p.index, neuron, time)
                    known = f"{'true' if neuron >= 0 else 'false'}, {'true' if time >= 0 else 'false'}"
                    yield f"{{{json.dumps(what)}, {p.index}, {known}, {json.dumps(text)}}}"
