"""Whether a graph is a model in discrete time, and what that means for one in continuous time."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import numpy as np

from ...templates import Population, Projection
from ._graph import NEURONS, Graph
from ._neurons import KINDS

__all__ = ["FEW", "UNITS", "check_steps", "check_weights", "step_of", "warn_of_short"]

UNITS = {"second": 1.0, "ms": 1e-3}
FEW = 5  # steps within a time constant, below which a model in steps is another system than its limit

_LONGEST = 2e-3  # s, of a step that is taken for one
_SLOW = 1.0  # s, from which time constants are taken for milliseconds or steps
_FAR = 1000  # times the distance from reset to threshold that a jump is off


def step_of(graph: Graph, unit: float) -> float | None:
    """The step in whose terms weights are written (r = tau/dt, w_in = tau_syn/dt), in the graph's unit of time.

    None where the parameters give no single one that is shorter than the time constants, and not too long for a step.

    Parameters
    ----------
    graph : Graph
    unit : float
        Of time in the graph, in seconds.
    """
    found = set()
    for name in graph.of("LIF", "LI", "CubaLIF", "CubaLI"):
        pairs = [("tau", "r")] if graph.kind(name) in ("LIF", "LI") else [("tau_mem", "r"), ("tau_syn", "w_in")]
        for time, factor in pairs:
            tau, k = graph.value(name, time).ravel(), graph.value(name, factor).ravel()
            if tau.size != k.size or (tau <= 0).any() or (k < 1.5).any():
                return None
            found |= set((tau / k).tolist())
    if not found or max(found) > (1 + 1e-5) * min(found):
        return None
    step = float(np.median(list(found)))
    return step if step * unit <= _LONGEST else None


def check_steps(graph: Graph, step: float | None, unit: float, known: bool) -> bool:
    """Warn of graphs that are models in discrete time; whether a missing step was warned of.

    Parameters
    ----------
    graph : Graph
    step : float or None
        In seconds, of the simulator that the graph is from.
    unit : float
        Of time in the graph, in seconds.
    known : bool
        Whether the graph says itself what a spike is.
    """
    shortest = [
        graph.value(name, key).min() * unit for name in graph.of(*NEURONS) for key in KINDS[graph.kind(name)].times
    ]
    if shortest and min(shortest) >= _SLOW:
        warnings.warn(
            f"the shortest time constant of this graph is {min(shortest):g} s; if its times are in milliseconds give "
            "unit='ms', if in steps the length of one, as unit=1e-3",
            stacklevel=3,
        )
    guess, told = None, False
    if step is None and not known:
        guess = step_of(graph, unit)
        told = guess is not None and not np.isclose(guess, 1.0)  # a step of 1 has the area of a pulse
        if guess is not None and told:
            warnings.warn(
                f"r and w_in of this graph are its time constants over {guess * unit:.3g} s, as those of simulators "
                f"with that step, in which a spike lasts one step; give dt={guess * unit:.3g}, or every jump is "
                f"{1 / guess:.3g} times theirs",
                stacklevel=3,
            )
    used = step / unit if step is not None else guess
    if used is not None:
        warn_of_short(graph, used, stacklevel=4)
    return told


def warn_of_short(graph: Graph, step: float, stacklevel: int) -> None:
    """Warn of time constants of less than `FEW` steps.

    Parameters
    ----------
    graph : Graph
    step : float
        In the graph's unit of time.
    stacklevel : int
        Of whoever is to be told.
    """
    said = []
    for name in graph.of(*NEURONS):
        for key in KINDS[graph.kind(name)].times:
            shortest = graph.value(name, key).min()
            if 0 < shortest < FEW * step * (1 - 1e-9):
                said.append(f"{key} of {name!r} is {shortest / step:.3g} dt")
    if said:
        more = f" and {len(said) - 3} more" if len(said) > 3 else ""
        warnings.warn(
            f"{', '.join(said[:3])}{more}: with less than {FEW} steps in a time constant a simulation in steps is "
            "another system than these equations in continuous time, and has other spikes",
            stacklevel=stacklevel,
        )


def check_weights(populations: Iterable[Population], projections: Iterable[Projection]) -> None:
    """Warn of jumps that are far from the distance between reset and threshold: a spike was meant otherwise."""
    largest: dict[str, float] = {}
    for q in projections:
        largest[q.target] = max(largest.get(q.target, 0.0), float(np.abs(q.weights).max()))
    for p in populations:
        if not p.model.spiking or not largest.get(p.name):
            continue
        distance = float(np.median(np.asarray(p.value("v_th")) - np.asarray(p.value("v_reset"))))
        if not 1 / _FAR <= largest[p.name] / distance <= _FAR:
            warnings.warn(
                f"the largest weight to {p.name!r} is {largest[p.name] / distance:.3g} times its distance from reset "
                "to threshold; is a spike there a pulse of area 1, or of a step dt? (argument dt)",
                stacklevel=3,
            )
