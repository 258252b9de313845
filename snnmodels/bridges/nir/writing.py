"""A network as a NIR graph."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...files import atomic_file
from ...templates import Drive, Network, Population, Projection
from ...templates.network import check_network
from ...templates.quantities import in_unit
from ._graph import Graph, NIRError, package, refuse
from ._neurons import Match, gains, match
from ._notes import noted
from ._steps import UNITS, warn_of_short
from .profiles import Gauge, Profile, problems, profile_of

__all__ = ["to_nir"]

Array = np.ndarray

_MOST = 10_000_000  # elements of the two matrices around delays of their own


def to_nir(network: Network, path: str | Path | None = None, *, profile: str = "nir", dt: Any = None) -> Any:
    """A network as a NIR graph, which any of NIR's backends may read.

    Inputs, populations and projections become nodes of their names; the population that losses read leads to an Output.
    What NIR has no place for (names, what is learned, the length of a trial, masks) is kept in the metadata, with
    which `from_nir` makes the same network again. Losses and encodings are not kept.

    Parameters
    ----------
    network : Network
        Of populations that NIR has neurons for: lif and leaky_integrator with exp_synapse or delta_synapse,
        integrate_and_fire with delta_synapse, each with soft_reset and initial_potential or without.
    path : str or Path, optional
        A file to write, too; replaced if it exists.
    profile : str
        The backend that it is for, of ``snnmodels.bridges.PROFILES``: ``"nir"`` writes spikes as pulses of area 1.
    dt : float or Quantity, optional
        Step of the backend in seconds, for profiles that count a spike as a 1 that lasts one step.

    Returns
    -------
    nir.NIRGraph

    Raises
    ------
    NIRError
        For what has no counterpart in NIR, or the profile doesn't take, by name, with what to do; if the package
        ``nir`` is missing.
    OSError
        If the file can't be written.

    Warns
    -----
    UserWarning
        For time constants below 5 `dt`, with which the backend simulates another system.

    Examples
    --------
    >>> graph = to_nir(load_network("yin_yang"), "yin_yang.nir")  # doctest: +SKIP
    """
    check_network(network)
    nir = package()
    wanted = profile_of(profile)
    writer = _Writer(network, wanted, _step(wanted, dt), nir)
    graph = writer.graph()
    plain = Graph(graph.nodes, tuple(graph.edges))
    if writer.step is not None:
        warn_of_short(plain, writer.step, stacklevel=3)
    if found := problems(plain, wanted, writer.step):
        more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
        raise NIRError(f"network {network.name!r} for {wanted.name}: {'; '.join(found[:3])}{more}")
    if path is not None:
        content = io.BytesIO()
        nir.write(content, graph)
        with atomic_file(path, "NIR graph") as file:
            file.write(content.getvalue())
    return graph


def _step(profile: Profile, dt: Any) -> float | None:
    """The step in the profile's unit of time."""
    if profile.gauge is None:
        raise NIRError(
            f"{profile.name} reads parameters otherwise than NIR's equations say, or how is not known, so that nothing "
            "can be written for it; write with profile 'nir' and look at what check_nir says"
        )
    if not profile.stepped:
        if dt is not None:
            raise NIRError(f"dt is given, and profile {profile.name!r} writes pulses of area 1; leave it out")
        return None
    if dt is None:
        raise NIRError(f"dt is missing; a spike of {profile.name} is a 1 that lasts one step: give its length")
    seconds = in_unit(dt, "second", "dt")
    if seconds.ndim or not 0 < seconds < np.inf:
        raise NIRError(f"dt is {dt}; expected a positive time in seconds")
    return float(seconds) / UNITS[profile.unit]


class _Writer:
    """Nodes and edges of one network."""

    def __init__(self, network: Network, profile: Profile, step: float | None, nir: Any) -> None:
        self.network, self.profile, self.step, self.nir = network, profile, step, nir
        self.unit = UNITS[profile.unit]
        self.nodes: dict[str, Any] = {}
        self.edges: list[tuple[str, str]] = []
        ends: Sequence[Any] = (*network.inputs, *network.currents, *network.populations)
        links: Sequence[Any] = (*network.projections, *network.drives)
        self.names = {x.name: x.name for x in (*ends, *links)}
        if "output" in self.names:  # which is the name that backends look for
            self.names["output"] = self._unused("output_neurons")
        self.matches = {p.name: match(p) for p in network.populations}
        self.values = {p.name: self._values(p) for p in network.populations}
        self.gains = {
            n: gains(self.matches[n].kind.name, v, 1.0 if step is None else step) for n, v in self.values.items()
        }
        self.biases = {p.name: self._bias(p) for p in network.populations}

    def graph(self) -> Any:
        """The graph."""
        network, nir = self.network, self.nir
        for source in network.inputs:
            self.nodes[self.names[source.name]] = nir.Input(
                {"input": np.array([source.n])}, metadata=noted({"name": source.name})
            )
        for current in network.currents:
            keys = ("interval", "interpolation", "start", "unit")
            note = {"name": current.name, "kind": "current", **{k: getattr(current, k) for k in keys}}
            self.nodes[self.names[current.name]] = nir.Input({"input": np.array([current.n])}, metadata=noted(note))
        for p in network.populations:
            self.nodes[self.names[p.name]] = self._neurons(p)
        for q in network.projections:
            self._projection(q)
        for d in network.drives:
            self._drive(d)
        for name, bias in self.biases.items():
            if bias is not None:
                raise refuse(
                    f"population {name!r}",
                    "has a constant input, and nothing projects to it; NIR keeps a bias at a projection",
                    "add a projection, or raise v_rest",
                )
        n = network.population(network.output).n
        self.nodes["output"] = nir.Output({"output": np.array([n])}, metadata=noted({"kind": "output"}))
        self.edges.append((self.names[network.output], "output"))
        written = {
            "format": 1,
            "name": network.name,
            "duration": network.duration,
            "profile": self.profile.name,
            "dt": None if self.step is None else self.step * self.unit,
            "unit": self.profile.unit,
            "order": list(dict.fromkeys(x for pair in self.names.items() for x in pair)),
        }
        return nir.NIRGraph(self.nodes, self.edges, metadata=noted(written), type_check=False)

    def _values(self, p: Population) -> dict[str, Array]:
        """Parameters of the node of a population, one for each neuron, in the profile's unit of time."""
        kind, gauge = self.matches[p.name].kind, self._gauge()

        def each(name: str) -> Array:
            return np.broadcast_to(np.asarray(p.value(name), dtype=float), (p.n,)).copy()

        found = {k: each(ours) / (self.unit if k in kind.times else 1) for k, ours in kind.parameters.items()}
        step = 1.0 if self.step is None else self.step
        if kind.name in ("IF", "I"):
            found["r"] = self.unit / each("tau_m")
        elif kind.filtered:
            found["r"] = gauge.cuba(found["tau_mem"], step)
            found["w_in"] = gauge.w_in(found["tau_syn"], step)
        else:
            found["r"] = gauge.leaky(found["tau"], step)
        return found

    def _gauge(self) -> Gauge:
        assert self.profile.gauge is not None
        return self.profile.gauge

    def _neurons(self, p: Population) -> Any:
        known: Match = self.matches[p.name]
        if known.subtract and not known.kind.filtered:
            raise refuse(
                f"population {p.name!r} ({p.model.name})",
                "subtracts at a spike what a jump brought beyond the threshold, and NIR sets v to v_reset",
                "leave soft_reset out, or use exp_synapse, where both are the same",
            )
        each = [name for name in (*p.model.parameters, "v_0") if name in p.model.parameters and np.ndim(p.value(name))]
        note: dict[str, Any] = {"name": p.name, "learnable": list(p.learnable), "each": each}
        arrays = {}
        if known.initial:
            arrays["v_0"] = np.broadcast_to(np.asarray(p.value("v_0"), dtype=float), (p.n,)).copy()
        else:
            note["initial"] = "leak" if known.kind.leaky else "reset"
        if known.subtract:
            note["reset"] = "subtract"
        return getattr(self.nir, known.kind.name)(**self.values[p.name], metadata=noted(note, **arrays))

    def _bias(self, p: Population) -> Array | None:
        """The constant input of a population as a NIR current, until a projection has taken it."""
        known = self.matches[p.name]
        if known.kind.current not in p.model.parameters:
            return None
        constant = np.asarray(p.value(known.kind.current), dtype=float)
        if not constant.any():
            return None
        return np.broadcast_to(constant / self.gains[p.name][1], (p.n,)).copy()

    def _linear(self, name: str, target: str, weight: Array, metadata: dict[str, Any]) -> None:
        """A node of weights (n_out, n_in), with the bias of its target if none has it yet."""
        bias = self.biases[target]
        self.biases[target] = None
        weight = np.ascontiguousarray(weight)
        if bias is None:
            self.nodes[name] = self.nir.Linear(weight, metadata=metadata)
        else:
            self.nodes[name] = self.nir.Affine(weight, bias, metadata=metadata)

    def _projection(self, q: Projection) -> None:
        names, spikes = self.names, self.gains[q.target][0]
        weights = q.weights if q.mask is None else np.where(q.mask, q.weights, 0.0)
        weight = weights.T / spikes[:, None]
        note: dict[str, Any] = {"name": q.name, "learnable": list(q.learnable)}
        arrays: dict[str, Array] = {} if q.mask is None else {"mask": q.mask}
        if np.ndim(q.delay):
            note["delay"] = "each"
        here, source, target = names[q.name], names[q.source], names[q.target]
        delay = np.asarray(q.delay, dtype=float)
        there = np.ones(weights.shape, dtype=bool) if q.mask is None else q.mask
        if not delay.any():
            self._linear(here, q.target, weight, noted(note, **arrays))
            self.edges += [(source, here), (here, target)]
            return
        late = self._unused(f"{here}_delay")
        if delay.ndim == 0 or (delay == delay[:, :1]).all():
            self._delay(late, np.broadcast_to(delay[:, 0] if delay.ndim else delay, weights.shape[:1]))
            self._linear(here, q.target, weight, noted(note, **arrays))
            self.edges += [(source, late), (late, here), (here, target)]
        elif (delay == delay[:1]).all() and self.biases[q.target] is None:  # a bias must not be delayed
            self._delay(late, delay[0])
            self._linear(here, q.target, weight, noted(note, **arrays))
            self.edges += [(source, here), (here, late), (late, target)]
        else:
            self._each_delayed(q, there, weight, noted(note, **arrays, delay=delay), late)

    def _each_delayed(self, q: Projection, there: Array, weight: Array, metadata: dict[str, Any], late: str) -> None:
        """A delay for each connection: signals are copied for each, delayed, and added up."""
        j, i = np.nonzero(there)
        n_in, n_out = there.shape
        if j.size * (n_in + n_out) > _MOST:
            raise refuse(
                f"projection {q.name!r}",
                f"has delays of its own for {j.size} connections, which NIR can only hold as two matrices, too large",
                "give it one delay, or one for each source or each target",
            )
        copies, sums = np.zeros((j.size, n_in)), np.zeros((n_out, j.size))
        k = np.arange(j.size)
        copies[k, j] = 1.0
        sums[i, k] = weight[i, j]
        here, copied = self.names[q.name], self._unused(f"{self.names[q.name]}_copies")
        self.nodes[copied] = self.nir.Linear(copies)
        self._delay(late, np.asarray(q.delay)[j, i])
        self._linear(here, q.target, sums, metadata)
        self.edges += [(self.names[q.source], copied), (copied, late), (late, here), (here, self.names[q.target])]

    def _delay(self, name: str, seconds: Array) -> None:
        self.nodes[name] = self.nir.Delay(np.ascontiguousarray(seconds) / self.unit)

    def _drive(self, d: Drive) -> None:
        known = self.matches[d.target]
        if d.input != known.kind.current:
            raise refuse(
                f"drive {d.name!r}",
                f"adds a current to the potential of {d.target!r}, and a {known.kind.name} filters it by its synapse",
                "use delta_synapse there, or a population of its own for the current",
            )
        weight = d.weights.T / self.gains[d.target][1][:, None]
        note = {"name": d.name, "learnable": list(d.learnable)}
        here = self.names[d.name]
        self._linear(here, d.target, weight, noted(note))
        self.edges += [(self.names[d.source], here), (here, self.names[d.target])]

    def _unused(self, name: str) -> str:
        taken: Mapping[str, Any] = {**self.nodes, **self.names, **dict.fromkeys(self.names.values())}
        k, free = 2, name
        while free in taken:
            free, k = f"{name}_{k}", k + 1
        return free
