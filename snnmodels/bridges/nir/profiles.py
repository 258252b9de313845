"""What backends take of NIR: node types, shapes of graphs, values of parameters, and how they count a spike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...templates.errors import suggest
from ...templates.quantities import in_unit
from ._graph import LINEAR, NEURONS, Graph, NIRError, read_graph
from ._neurons import KINDS
from ._notes import note_of
from ._steps import UNITS, step_of, warn_of_short

__all__ = ["PROFILES", "Gauge", "Profile", "Rule", "check_nir", "profile_of"]

Array = np.ndarray
Values = Mapping[str, Array]

_SAME = "same"
_CLOSE = 1e-6  # relative; files are often of single precision


@dataclass(frozen=True)
class Rule:
    """What a parameter of some nodes must be.

    Attributes
    ----------
    kinds : tuple of str
        Types of nodes.
    parameter : str
    value : str
        ``"same"`` for one value within a node, a number, or another parameter, as it is or over the step:
        ``"tau_syn"``, ``"tau_mem/dt"``.
    """

    kinds: tuple[str, ...]
    parameter: str
    value: str

    def problem(self, values: Values, dt: float | None) -> str:
        """What is wrong with a node; empty if nothing is, or if that depends on a step that isn't given.

        Parameters
        ----------
        values : mapping of str to array
            Parameters of the node.
        dt : float or None
            Step in the graph's unit of time.
        """
        given = values[self.parameter]
        if self.value == _SAME:
            equal = given.size == 0 or (given == given.flat[0]).all()
            return "" if equal else "differs within the node; it takes one value"
        above, _, below = self.value.partition("/")
        if below and dt is None:
            return ""
        wanted = np.asarray(values[above] if above in values else float(above)) / (dt if below and dt else 1.0)
        if np.allclose(given, wanted, rtol=_CLOSE, atol=0 if np.any(wanted) else 1e-12):
            return ""
        told = f" = {_range(wanted)}" if above in values else ""
        return f"is {_range(given)}; it takes {self.value}{told}"


@dataclass(frozen=True)
class Gauge:
    """How a network is written for a backend: several choices of r, w_in and weights say the same.

    Attributes
    ----------
    stepped : bool
        Whether a spike is a 1 that lasts one step (its area is dt), or a pulse of area 1.
    leaky, cuba, w_in : callable
        r of LIF and LI, r of CubaLIF and CubaLI, and w_in of the latter: from tau, tau_mem and tau_syn, and the step.
    """

    stepped: bool
    leaky: Callable[[Array, float], Array]
    cuba: Callable[[Array, float], Array]
    w_in: Callable[[Array, float], Array]


@dataclass(frozen=True)
class Profile:
    """A backend, as its import code has it.

    Attributes
    ----------
    name, title : str
    nodes : tuple of str
        Types that it takes, besides Input and Output.
    rules : tuple of Rule
    circles : str
        ``"any"``, ``"own"`` for a neuron that projects to itself by one Linear or Affine alone, or ``"none"``.
    chain : bool
        Whether every node has at most one before and one behind it.
    unit : str
        Of times: ``"second"`` or ``"ms"``.
    gauge : Gauge or None
        None where the backend's own meaning of parameters is not that of NIR's equations, or unknown: graphs for it
        can be checked alone.
    """

    name: str
    title: str
    nodes: tuple[str, ...]
    rules: tuple[Rule, ...] = ()
    circles: str = "any"
    chain: bool = False
    unit: str = "second"
    gauge: Gauge | None = None

    @property
    def stepped(self) -> bool:
        """Whether a spike is a 1 that lasts one step."""
        return self.gauge is None or self.gauge.stepped


def _ones(tau: Array, dt: float) -> Array:
    return np.ones_like(tau)


def _self(tau: Array, dt: float) -> Array:
    return tau.copy()


def _steps(tau: Array, dt: float) -> Array:
    return tau / dt


_PULSES = Gauge(False, _self, _ones, _self)
_STEPS = Gauge(True, _steps, _steps, _steps)

_CUBA = ("CubaLI", "CubaLIF")
_RESET = ("CubaLIF", "IF", "LIF")
_DENSE = ("Affine", "Linear")


def _same(kinds: tuple[str, ...], *parameters: str) -> tuple[Rule, ...]:
    return tuple(Rule(kinds, p, _SAME) for p in parameters)


PROFILES = {
    p.name: p
    for p in (
        Profile("nir", "NIR's own equations", (*NEURONS, *LINEAR, "Threshold"), gauge=_PULSES),
        Profile(
            "snntorch",
            "snnTorch, snntorch/import_nir.py",
            (*_DENSE, "AvgPool2d", "Conv2d", "CubaLIF", "Flatten", "IF", "LIF"),
            (
                Rule(("CubaLIF", "LIF"), "v_leak", "0"),
                Rule(_RESET, "v_reset", "0"),
                Rule(("IF",), "r", "1"),
                Rule(("LIF",), "r", "tau/dt"),
                Rule(("CubaLIF",), "r", "tau_mem/dt"),
                *_same(_RESET, "v_threshold"),
                *_same(("CubaLIF",), "w_in"),
            ),
            circles="own",
            gauge=_STEPS,
        ),
        Profile(
            "norse",
            "Norse, norse/torch/utils/import_nir.py",
            (*_DENSE, "Conv2d", "CubaLIF", "Flatten", "IF", "LIF", "SumPool2d"),
            (Rule(("IF", "LIF"), "r", "1"), Rule(_RESET, "v_reset", "0"), Rule(("CubaLIF",), "v_leak", "0")),
            gauge=Gauge(True, _ones, _ones, _steps),
        ),
        Profile(
            "lava-dl",
            "Lava-DL, nir_to_lava.py of the NIR paper",
            (*_DENSE, "Conv2d", "CubaLIF", "Flatten", "IF", "SumPool2d"),
            (
                Rule(("CubaLIF",), "v_leak", "0"),
                Rule(("CubaLIF",), "r", "tau_mem/dt"),
                Rule(("CubaLIF", "IF"), "v_reset", "0"),
                Rule(("Conv2d",), "bias", "0"),
                *_same(("CubaLIF",), "tau_mem", "tau_syn", "v_threshold", "w_in"),
                *_same(("IF",), "r", "v_threshold"),
            ),
            circles="own",
            gauge=_STEPS,
        ),
        Profile(
            "spyx",
            "Spyx, spyx/nir.py",
            (*_DENSE, "Conv2d", "CubaLIF", "Flatten", "IF", "LIF", "SumPool2d"),
            (
                Rule(("CubaLIF", "LIF"), "v_leak", "0"),
                Rule(_RESET, "v_reset", "0"),
                Rule(("LIF",), "r", "tau/dt"),
                Rule(("CubaLIF",), "r", "tau_mem/dt"),
                Rule(("CubaLIF",), "w_in", "tau_syn/dt"),
            ),
            circles="own",
            gauge=_STEPS,
        ),
        Profile(
            "jaxsnn",
            "jaxsnn, jaxsnn/event/from_nir.py",
            (*_DENSE, "CubaLIF"),
            (
                Rule(("CubaLIF",), "r", "1"),
                Rule(("CubaLIF",), "w_in", "tau_syn"),
                Rule(("Affine",), "bias", "0"),
                *_same(("CubaLIF",), "tau_mem", "tau_syn", "v_leak", "v_reset", "v_threshold"),
            ),
            circles="none",
            chain=True,
            gauge=_PULSES,
        ),
        Profile(
            "hxtorch",
            "hxtorch (BrainScaleS-2), hxtorch/spiking/utils/from_nir.py",
            ("CubaLI", "CubaLIF", "Linear"),
            (
                *_same(_CUBA, "tau_mem", "tau_syn", "v_leak"),
                *_same(("CubaLIF",), "v_reset", "v_threshold", "r"),
                Rule(_CUBA, "w_in", "tau_syn"),
            ),
            circles="none",
            unit="ms",
            gauge=_PULSES,
        ),
        Profile(
            "sinabs",
            "Sinabs, sinabs/nir.py",
            ("Affine", "Conv1d", "Conv2d", "Flatten", "IF", "LI", "LIF", "SumPool2d"),
            (Rule(("LI", "LIF"), "v_leak", "0"), Rule(("IF", "LI", "LIF"), "r", "1"), Rule(_RESET, "v_reset", "0")),
            circles="none",
        ),
        Profile(
            "rockpool",
            "Rockpool, rockpool/nn/modules/torch/nir.py",
            (*_DENSE, "CubaLIF", "LI"),
            (Rule(("CubaLIF",), "w_in", "1"), Rule(("CubaLIF",), "v_reset", "0")),
            circles="own",
        ),
        Profile("nengo", "Nengo, by NIR's table of primitives", ("Affine", "LI", "LIF")),
        Profile(
            "spinnaker2",
            "SpiNNaker2, by NIR's table of primitives",
            (*_DENSE, "Conv1d", "Conv2d", "CubaLIF", "Flatten", "IF", "LIF", "SumPool2d"),
        ),
    )
}
"""By name. Transcribed from the import code of each, or NIR's own table; none of them runs in the tests here."""


def profile_of(name: str) -> Profile:
    """The profile of a name.

    Raises
    ------
    NIRError
        If there is none.
    """
    if name not in PROFILES:
        raise NIRError(f"there is no profile {name!r}; {suggest(str(name), PROFILES)}")
    return PROFILES[name]


def check_nir(graph: Any, profile: str = "nir", *, dt: Any = None) -> list[str]:
    """What a backend can't take of a graph, by name.

    Parameters
    ----------
    graph : str, Path or nir.NIRGraph
    profile : str
        A name of `PROFILES`.
    dt : float or Quantity, optional
        Step of the backend in seconds. Without, what depends on it isn't looked at.

    Returns
    -------
    list of str
        One line for each problem; empty where it takes all, and means by it what the graph says.

    Raises
    ------
    NIRError
        For an unknown profile, and for what is no graph.
    OSError
        If a file can't be read.

    Warns
    -----
    UserWarning
        For time constants below 5 `dt`, with which a backend in steps simulates another system than the equations.
    """
    wanted = profile_of(profile)
    step = None
    if dt is not None:
        seconds = in_unit(dt, "second", "dt")
        if seconds.ndim or not 0 < seconds < np.inf:
            raise ValueError(f"dt is {dt}; expected a positive time in seconds")
        step = float(seconds) / UNITS[wanted.unit]
    read = read_graph(graph)
    if step is not None and wanted.stepped:
        warn_of_short(read, step, stacklevel=3)
    return _of_writing(read, wanted, step) + problems(read, wanted, step)


def _of_writing(graph: Graph, profile: Profile, step: float | None) -> list[str]:
    """Whether a spike of the graph is what a spike of the backend is."""
    written, stepped = note_of(graph.metadata, "the graph"), profile.stepped
    if not written:
        own = step_of(graph, UNITS[profile.unit])
        if own is None or step is None or np.isclose(own, step, rtol=1e-3):
            return []
        return [f"the graph: its r and w_in are those of a step of {own:.6g}, and dt is {step:.6g}"]
    found = []
    if (unit := written.get("unit") or "second") != profile.unit:
        found.append(f"the graph: its times are in {unit}; {profile.name} takes {profile.unit}")
    kept = None if written.get("dt") is None else written["dt"] / UNITS[profile.unit]
    again = f"write the network again with profile {profile.name!r}"
    if stepped and kept is None:
        told = f"a spike is a pulse of area 1; in {profile.name} it is a 1 that lasts one step"
        found.append(f"the graph: {told}" + (f"; {again}" if profile.gauge else ""))
    elif kept is not None and (not stepped or (step is not None and not np.isclose(kept, step, rtol=1e-6))):
        other = f"has dt = {step:.6g}" if stepped and step else "is a pulse of area 1"
        found.append(f"the graph: a spike lasts one step of {kept:.6g}; in {profile.name} it {other}; {again}")
    return found


def problems(graph: Graph, profile: Profile, step: float | None) -> list[str]:
    """What a profile can't take of nodes and edges; `step` in the profile's unit of time."""
    found = []
    for name in graph.nodes:
        kind = graph.kind(name)
        if kind in ("Input", "Output", "Identity"):
            continue
        if kind not in profile.nodes:
            takes = ", ".join(sorted(profile.nodes))
            found.append(f"{graph.said(name)}: {profile.name} takes no {kind}; it takes {takes}")
            continue
        rules = [rule for rule in profile.rules if kind in rule.kinds]
        values = {key: graph.value(name, key) for key in _read_by(kind)} if rules else {}
        said = [(rule.parameter, rule.problem(values, step)) for rule in rules]
        found += [f"{graph.said(name)}: {parameter} {text}" for parameter, text in said if text]
    return found + _of_edges(graph, profile)


def _read_by(kind: str) -> tuple[str, ...]:
    if kind in KINDS:
        known = KINDS[kind]
        return ("r", *known.parameters, *(("w_in",) if known.filtered else ()))
    return {"Affine": ("weight", "bias"), "Conv1d": ("bias",), "Conv2d": ("bias",)}.get(kind, ())


def _of_edges(graph: Graph, profile: Profile) -> list[str]:
    found = []
    if profile.chain:
        for ends, word in ((graph.before, "before"), (graph.after, "behind")):
            several = {n: len(m) for n, m in ends.items() if len(m) > 1}
            takes = f"{profile.name} takes a chain"
            found += [f"{graph.said(n)} has {k} nodes {word} it; {takes}" for n, k in several.items()]
    if profile.circles != "any":
        for circle in _circles(graph):
            own = len(circle) == 2 and {graph.kind(n) in NEURONS for n in circle} == {True, False}
            own = own and all(graph.kind(n) in (*NEURONS, "Affine", "Linear") for n in circle)
            if not (own and profile.circles == "own"):
                takes = "no circles" if profile.circles == "none" else "circles of one neuron and one Linear or Affine"
                found.append(f"{' -> '.join((*circle, circle[0]))} is a circle; {profile.name} takes {takes}")
    return found


def _circles(graph: Graph) -> list[list[str]]:
    """Groups of nodes that reach each other; each in the order in which it was found."""
    reach: dict[str, set[str]] = {}
    for start in graph.nodes:
        seen: set[str] = set()
        ahead = list(graph.after[start])
        while ahead:
            node = ahead.pop()
            if node not in seen:
                seen.add(node)
                ahead += graph.after[node]
        reach[start] = seen
    found: list[list[str]] = []
    done: set[str] = set()
    for node in graph.nodes:
        if node in reach[node] and node not in done:
            circle = [node, *(n for n in graph.nodes if n != node and n in reach[node] and node in reach[n])]
            done |= set(circle)
            found.append(circle)
    return found


def _range(values: Array) -> str:
    low, high = float(np.min(values)), float(np.max(values))
    return f"{low:.6g}" if low == high else f"{low:.6g} to {high:.6g}"
