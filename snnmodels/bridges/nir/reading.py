"""A NIR graph as a network."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...symbolic.arrivals import jumping_populations, why_jumps_teach_nothing
from ...templates import CurrentInput, Drive, Network, Population, Projection, SpikeInput
from ...templates.arguments import check_kind
from ...templates.errors import brief, suggest
from ...templates.expressions import is_name
from ...templates.quantities import in_unit
from ._graph import LINEAR, NEURONS, PASSING, Graph, read_graph, refuse
from ._neurons import KINDS, Kind, gains, model_of
from ._notes import arrays_of, note_of
from ._paths import Path, Signal, Signals
from ._steps import UNITS, check_steps, check_weights

__all__ = ["from_nir"]

Array = np.ndarray

RESETS = ("value", "subtract")
BEGINNINGS = ("reset", "leak")


def from_nir(
    graph: Any,
    *,
    duration: Any = None,
    dt: Any = None,
    inputs: str | Mapping[str, str] | None = None,
    interval: Any = None,
    reset: str | None = None,
    initial: str | float | None = None,
    output: str | None = None,
    unit: Any = None,
    name: str | None = None,
) -> Network:
    """A NIR graph as a network, in continuous time as its equations say.

    Neurons become populations of their node's name (with underscores for what a name can't have), the linear nodes
    between two of them one projection for each path, a bias a constant current. ``docs/nir.md`` says what each
    node is.

    Parameters
    ----------
    graph : str, Path or nir.NIRGraph
    duration : float or Quantity
        Of a trial, in seconds; may be left out where `to_nir` wrote the graph.
    dt : float or Quantity, optional
        Step in seconds of the simulator that the graph is from, where a spike is a 1 that lasts one step: its area
        is `dt`. Without, a spike is a Dirac pulse of area 1, as NIR's authors have it. A graph of `to_nir` says
        itself.
    inputs : {"spikes", "current"} or mapping of str to these, optional
        What Input nodes are, by name where they differ: sources of spikes, or channels of sampled currents. Spikes
        unless given.
    interval : float or Quantity, optional
        Between samples of currents, in seconds; `dt` unless given.
    reset : {"value", "subtract"}, optional
        Whether a spike sets v to v_reset, as NIR says, or subtracts v_threshold - v_reset from it, as many
        simulators do; NIR doesn't tell. They differ where jumps of v go beyond the threshold. ``"value"`` unless
        given.
    initial : {"reset", "leak"} or float, optional
        Where v starts, which NIR leaves open: at v_reset (v_leak for neurons without threshold; 0 for I), at v_leak,
        or at a number. ``"reset"`` unless given.
    output : str, optional
        The Output node or population that losses read; may be left out where there is one Output.
    unit : {"second", "ms"}, float or Quantity, optional
        Of all times in the graph, in seconds where it is a number, as for graphs that count steps. ``"second"`` unless
        given.
    name : str, optional
        Of the network.

    Returns
    -------
    Network
        Its weights are learned; names with ``learnable`` of `to_nir` keep what they had.

    Raises
    ------
    NIRError
        For what has no counterpart, with the node's name and what to do; if the package ``nir`` is missing.
    ValueError
        For arguments that don't fit, and values that a population can't have.
    OSError
        If a file can't be read.

    Warns
    -----
    UserWarning
        For time constants below 5 `dt` (such a graph is a model in discrete time, whose limit is another system), for
        a graph that looks like one in steps where no `dt` is given, for time constants of seconds, for weights a
        thousand times off, and for neurons whose spikes come at arrivals alone, so that weights have gradient 0.

    Examples
    --------
    >>> network = from_nir("lif.nir", duration=0.1, dt=1e-4, inputs="current")  # doctest: +SKIP
    """
    read = read_graph(graph)
    written = note_of(read.metadata, "the graph")
    _check_written(written, dt, unit)
    chosen = _Choices(
        step=_time(dt, "dt", written.get("dt")),
        unit=_unit(unit, written.get("unit")),
        reset=_one_of("reset", reset, RESETS),
        initial=_beginning(initial),
    )
    length = _time(duration, "duration", written.get("duration"))
    if length is None:
        raise ValueError(
            "duration is missing; NIR has no trials: give its length, as duration=0.1, or --duration 100 (in ms) on "
            "the command line"
        )
    told = check_steps(read, chosen.step, chosen.unit, known=bool(written))
    names = _names(read)
    _check_ends(read)
    sources = _sources(read, names, inputs, _time(interval, "interval", None), chosen.step)
    if interval is not None and not any(isinstance(s, CurrentInput) for s in sources.values()):
        raise ValueError("interval is given, and no input is a current; say which with inputs, or leave it out")
    signals = Signals(read)
    populations, projections, drives = [], [], []
    moved = set()  # populations that a current may take over their threshold
    taken = set(names.values())
    for node in _ordered(read.of(*NEURONS), written):
        signal = signals.into(node)
        _check_sources(read, node, signal)
        neurons = _Neurons(read, node, names[node], chosen)
        currents = [p for p in signal.paths if isinstance(sources.get(p.source), CurrentInput)]
        populations.append(neurons.population(signal.bias, driven=bool(currents)))
        if currents or neurons.drifts(signal.bias):
            moved.add(names[node])
        for path in signal.paths:
            link = f"{names[path.source]}_{names[node]}"
            if path.source in sources and isinstance(sources[path.source], CurrentInput):
                drives.append(neurons.drive(path, read, names[path.source], _free(path, link, read, taken)))
            else:
                projections.append(neurons.projection(path, read, names[path.source], _free(path, link, read, taken)))
    for end in read.of("Output"):
        _read_by(read, end)
    if idle := read.of("Threshold"):
        raise refuse(
            read.said(idle[0]), "is on while its input is above a level, which is no spike", "use a LIF or IF node"
        )
    if not told:
        check_weights(populations, projections)
    order = written.get("order", [])
    projections.sort(key=lambda q: order.index(q.name) if q.name in order else len(order))
    ordered = [sources[n] for n in _ordered(list(sources), written)]
    network = Network(
        name=str(written.get("name", "nir")) if name is None else name,
        inputs=tuple(s for s in ordered if isinstance(s, SpikeInput)),
        populations=tuple(populations),
        projections=tuple(projections),
        output=_output(read, names, output),
        duration=length,
        currents=tuple(s for s in ordered if isinstance(s, CurrentInput)),
        drives=tuple(drives),
    )
    if jumping := tuple(p for p in jumping_populations(network) if p not in moved):
        warnings.warn(
            "this can be simulated, but by the weights before these neurons the gradient is 0: "
            f"{why_jumps_teach_nothing(jumping)}",
            stacklevel=2,
        )
    return network


def _check_written(written: Mapping[str, Any], dt: Any, unit: Any) -> None:
    """Refuse another step or unit than a graph says itself: all weights would be others."""
    if not written:
        return
    step, own = written.get("dt"), written.get("unit") or "second"
    if dt is not None and (step is None or not np.isclose(_time(dt, "dt", None) or 0, step, rtol=1e-9)):
        told = "is a pulse of area 1" if step is None else f"lasts {step:g} s"
        raise ValueError(f"dt is {brief(dt)}, and the graph says that a spike {told}; leave dt out")
    if unit is not None and _unit(unit, None) != UNITS.get(own):
        raise ValueError(f"unit is {brief(unit)}, and the graph says that its times are in {own}; leave unit out")


@dataclass(frozen=True)
class _Choices:
    """What a graph doesn't say."""

    step: float | None
    unit: float
    reset: str | None
    initial: str | float | None

    @property
    def area(self) -> float:
        """Of a spike, in the graph's unit of time."""
        return 1.0 if self.step is None else self.step / self.unit


class _Neurons:
    """One neuron node as a population, and what comes to it."""

    def __init__(self, graph: Graph, node: str, name: str, chosen: _Choices) -> None:
        self.kind: Kind = KINDS[graph.kind(node)]
        self.name, self.where, self.chosen = name, graph.said(node), chosen
        self.n = int(np.prod(graph.shape(node)))
        self.note = note_of(graph.nodes[node].metadata, self.where)
        self.arrays = arrays_of(graph.nodes[node].metadata, self.where)
        asked = ["r", *self.kind.parameters, *(["w_in"] if self.kind.filtered else [])]
        self.values = {key: graph.each(node, key) for key in asked}
        for key in self.kind.times:
            if (self.values[key] <= 0).any():
                raise refuse(self.where, f"has {key} = {self.values[key].min():g}", "a time constant is more than 0")
        self.spikes, self.currents = gains(self.kind.name, self.values, chosen.area)
        self.filtered = False

    def population(self, bias: Array | None, driven: bool) -> Population:
        """The population, with a bias and whether sampled currents drive it."""
        kind, unit = self.kind, self.chosen.unit
        values = {ours: self.values[k] * (unit if k in kind.times else 1) for k, ours in kind.parameters.items()}
        if kind.name in ("IF", "I"):
            r = self.values["r"]
            values["tau_m"] = unit * np.where(r > 0, 1 / np.where(r > 0, r, 1), 1.0)
        constant = bias is not None and bool(bias.any())
        self.filtered = bool(kind.filtered) and (constant or driven)
        if constant and bias is not None:
            values[kind.current] = bias * self.currents
        start = self._start(values)
        subtract = kind.spiking and (self.chosen.reset or self.note.get("reset", "value")) == "subtract"
        model = model_of(kind, filtered=self.filtered, subtract=subtract, initial=start is not None)
        if start is not None:
            values["v_0"] = start
        each = self.note.get("each", [])
        learnable = [p for p in self.note.get("learnable", []) if p in model.parameters]
        settled = {k: float(v[0]) if k not in each and (v == v[0]).all() else v for k, v in values.items()}
        return Population(self.name, self.n, model, settled, learnable)

    def drifts(self, bias: Array | None) -> bool:
        """Whether the potential of a neuron may rise to its threshold without spikes."""
        above = "v_leak" in self.values and self.kind.spiking and self.values["v_leak"] >= self.values["v_threshold"]
        return bool(np.any(above)) or (bias is not None and bool(bias.any()))

    def _start(self, values: Mapping[str, Array]) -> Array | None:
        """Initial potentials, where they aren't the model's own."""
        wanted = self.chosen.initial
        if wanted is None and "v_0" in self.arrays:
            start = self.arrays["v_0"].ravel()
            if start.size != self.n:
                raise refuse(self.where, f"has {start.size} values of v_0 in its metadata", f"expected {self.n}")
            return start
        if wanted is None:
            wanted = self.note.get("initial", "reset")
        zero = np.zeros(self.n)
        own = values.get("v_rest", values.get("v_reset", zero))
        if wanted == "leak":
            start = own
        elif wanted == "reset":
            start = values.get("v_reset", own)
        else:
            start = np.full(self.n, float(wanted))
        return None if np.array_equal(start, own) else start

    def projection(self, path: Path, graph: Graph, source: str, name: str) -> Projection:
        """A path from spikes."""
        note, arrays = _of_weights(path, graph)
        unit = self.chosen.unit
        if path.weight.ndim == 1:
            exists: Array | None = np.eye(self.n, dtype=bool)
            weights = np.diag(path.weight * self.spikes)
            delay = path.delay if path.delay.ndim == 0 else np.diag(path.delay)
        else:
            weights = np.ascontiguousarray((path.weight * self.spikes[:, None]).T)
            exists = None if path.mask is None else path.mask.T
            delay = path.delay if path.delay.ndim == 0 else np.broadcast_to(path.delay, path.weight.shape).T
        if "mask" in arrays:
            exists = _kept_mask(arrays["mask"], weights, self.where)
        delay = delay * unit
        if "delay" in arrays and arrays["delay"].shape == weights.shape:
            kept, there = arrays["delay"], weights != 0
            if np.allclose(np.broadcast_to(delay, weights.shape)[there], kept[there], rtol=1e-12, atol=0):
                delay = kept
        there = np.ones(weights.shape, dtype=bool) if exists is None else exists
        same = delay.ndim == 0 or (there.any() and (delay[there] == delay[there][0]).all())
        if delay.ndim and same and note.get("delay") != "each":
            delay = delay[there][0]
        elif delay.ndim == 0 and note.get("delay") == "each":
            delay = np.full(weights.shape, float(delay))
        return Projection(
            name,
            source,
            self.name,
            weights,
            mask=None if exists is None or exists.all() else exists,
            learnable=note.get("learnable", ("w",)),
            delay=float(delay) if np.ndim(delay) == 0 else np.array(delay),
        )

    def drive(self, path: Path, graph: Graph, source: str, name: str) -> Drive:
        """A path from sampled currents."""
        if path.delay.any():
            raise refuse(self.where, f"gets the current {source!r} by a Delay", "delay the samples instead")
        note, _ = _of_weights(path, graph)
        weights = path.weight * self.currents if path.weight.ndim == 1 else path.weight * self.currents[:, None]
        weights = np.diag(weights) if weights.ndim == 1 else np.ascontiguousarray(weights.T)
        learnable = note.get("learnable", ("w",))
        return Drive(name, source, self.name, weights, input=self.kind.current, learnable=learnable)


def _of_weights(path: Path, graph: Graph) -> tuple[dict[str, Any], dict[str, Array]]:
    """The note and the arrays of the node whose weights a path has."""
    if not path.names:
        return {}, {}
    node = path.names[-1]
    metadata = graph.nodes[node].metadata
    return note_of(metadata, graph.said(node)), arrays_of(metadata, graph.said(node))


def _kept_mask(mask: Array, weights: Array, where: str) -> Array:
    kept = mask != 0
    if kept.shape != weights.shape or weights[~kept].any():
        raise refuse(where, "gets weights outside of the mask in their metadata", "remove snnmodels_mask from it")
    return kept


def _sources(
    graph: Graph,
    names: Mapping[str, str],
    inputs: str | Mapping[str, str] | None,
    interval: float | None,
    step: float | None,
) -> dict[str, SpikeInput | CurrentInput]:
    """The Input nodes."""
    nodes = graph.of("Input")
    wanted = dict(inputs) if isinstance(inputs, Mapping) else dict.fromkeys(nodes, inputs) if inputs else {}
    for node, kind in wanted.items():
        if node not in nodes:
            raise ValueError(f"inputs names {brief(node)}, which is no Input; {suggest(str(node), nodes)}")
        if kind not in ("spikes", "current"):
            raise ValueError(f"inputs: {node!r} is {brief(kind)}; expected 'spikes' or 'current'")
    found: dict[str, SpikeInput | CurrentInput] = {}
    for node in nodes:
        n, note = int(np.prod(graph.shape(node))), note_of(graph.nodes[node].metadata, graph.said(node))
        kind = wanted.get(node, note.get("kind", "spikes"))
        if kind == "spikes":
            found[node] = SpikeInput(names[node], n)
            continue
        kept = {k: note[k] for k in ("interval", "interpolation", "start", "unit") if k in note}
        between = interval or kept.get("interval") or step
        if between is None:
            raise ValueError(f"inputs: {node!r} is a current; give interval, the time between its samples, or dt")
        found[node] = CurrentInput(names[node], n, **{**kept, "interval": between})
    return found


def _check_ends(graph: Graph) -> None:
    """Refuse linear nodes that nothing comes to, or that lead nowhere: nir itself would add inputs and outputs."""
    for node in graph.of("Input"):
        if graph.before[node]:
            first = graph.before[node][0]
            raise refuse(graph.said(node), f"comes behind {first!r}", "an Input is where a graph begins")
    for node in graph.of("Output"):
        if graph.after[node]:
            raise refuse(graph.said(node), f"leads to {graph.after[node][0]!r}", "an Output is where a graph ends")
    for node in graph.of(*LINEAR, "Threshold"):
        if not graph.before[node]:
            raise refuse(graph.said(node), "has no node before it", "put an Input there")
        if not graph.after[node]:
            raise refuse(graph.said(node), "leads nowhere", "connect it, or leave it out")


def _check_sources(graph: Graph, node: str, signal: Signal) -> None:
    """Refuse what reads a potential: only an Output can."""
    for path in signal.paths:
        kind = graph.kind(path.source)
        if kind in KINDS and not KINDS[kind].spiking:
            raise refuse(
                graph.said(path.source),
                f"sends its potential to {node!r}; populations send spikes",
                "connect it to an Output alone, or make it a spiking neuron",
            )
        if kind == "Threshold":
            raise refuse(graph.said(path.source), f"leads to {node!r}", "use a LIF or IF node in its place")


def _read_by(graph: Graph, end: str) -> str:
    """The neuron that an Output reads."""
    node = end
    while node == end or graph.kind(node) in PASSING:
        before = graph.before[node]
        if len(before) != 1:
            raise refuse(graph.said(node), f"reads {len(before)} nodes", "an output of a network is one population")
        (node,) = before
    if graph.kind(node) not in NEURONS:
        raise refuse(
            graph.said(end),
            f"reads {node!r} ({graph.kind(node)}), and an output of a network is a population",
            "put a LI or CubaLI node before the Output",
        )
    given, size = int(np.prod(graph.shape(end))), int(np.prod(graph.shape(node)))
    if given != size:
        raise refuse(graph.said(end), f"has {given} values, and {node!r} gives {size}", "correct its shape")
    return node


def _output(graph: Graph, names: Mapping[str, str], wanted: str | None) -> str:
    ends = {end: _read_by(graph, end) for end in graph.of("Output")}
    if wanted is None:
        kept = [end for end in ends if note_of(graph.nodes[end].metadata, graph.said(end)).get("kind") == "output"]
        if len(ends) != 1 and len(kept) != 1:
            raise ValueError(f"output is missing; the graph has the Output nodes {', '.join(ends) or 'none'}: name one")
        return names[ends[(kept or list(ends))[0]]]
    of_population = {names[node]: node for node in graph.of(*NEURONS)}
    if wanted in ends:
        return names[ends[wanted]]
    if wanted not in of_population:
        raise ValueError(f"output is {brief(wanted)}; {suggest(str(wanted), [*ends, *of_population])}")
    return wanted


def _names(graph: Graph) -> dict[str, str]:
    """A name for each input and neuron."""
    found: dict[str, str] = {}
    for node in graph.of("Input", *NEURONS):
        kept = note_of(graph.nodes[node].metadata, graph.said(node)).get("name")
        name = kept if isinstance(kept, str) and is_name(kept) else _clean(node)
        found[node] = _unused(name, set(found.values()))
    return found


def _free(path: Path, ends: str, graph: Graph, taken: set[str]) -> str:
    """A name for a projection: of the node that holds its weights, or of its ends."""
    note, _ = _of_weights(path, graph)
    kept = note.get("name")
    own = _clean(path.names[-1]) if path.names else ends
    name = _unused(kept if isinstance(kept, str) and is_name(kept) else own, taken)
    taken.add(name)
    return name


def _clean(name: str) -> str:
    text = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return text if is_name(text) else f"n{text}"


def _unused(name: str, taken: set[str]) -> str:
    k, free = 2, name
    while free in taken:
        free, k = f"{name}_{k}", k + 1
    return free


def _ordered(nodes: list[str], written: Mapping[str, Any]) -> list[str]:
    order = written.get("order", [])
    return sorted(nodes, key=lambda node: order.index(node) if node in order else len(order))


def _time(value: Any, key: str, otherwise: float | None) -> float | None:
    if value is None:
        return None if otherwise is None else float(otherwise)
    time = in_unit(value, "second", key)
    if time.ndim or not 0 < time < np.inf:
        raise ValueError(f"{key} is {brief(value)}; expected a positive time in seconds")
    return float(time)


def _unit(value: Any, otherwise: Any) -> float:
    found = otherwise or "second" if value is None else value
    if isinstance(found, str):
        if found not in UNITS:
            expected = ", ".join(map(repr, UNITS))
            raise ValueError(f"unit is {brief(found)}; expected {expected} or a time in seconds")
        return UNITS[found]
    return _time(found, "unit", None) or 1.0


def _one_of(key: str, value: Any, known: tuple[str, ...]) -> str | None:
    if value is not None and value not in known:
        raise ValueError(f"{key} is {brief(value)}; expected {' or '.join(map(repr, known))}")
    return value


def _beginning(value: Any) -> str | float | None:
    if value is None or isinstance(value, str):
        return _one_of("initial", value, BEGINNINGS)
    check_kind("initial", value, (int, float, np.number), "'reset', 'leak' or a number")
    if not np.isfinite(value):
        raise ValueError(f"initial is {brief(value)}; expected 'reset', 'leak' or a number")
    return float(value)
