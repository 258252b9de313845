"""What is wrong with a coding network before it runs, and what went wrong while it ran.

What can't give a meaningful result is refused (`ValueError`); what may be meant, but mostly isn't, is a `CodingWarning`
that names the cause. Both simulators call `check_before` and `check_after`, so that NumPy and Brian2 say the same.
"""

from __future__ import annotations

import warnings

import numpy as np
import sympy as sp
from scipy.optimize import linprog

from ..symbolic.parsing import symbol
from ..templates.errors import brief
from .network import CodingNetwork, Homeostat, TimeCourse
from .response import Response
from .signals import Signal

__all__ = ["CodingWarning", "check_after", "check_before", "check_number", "uncorrected_direction"]

Array = np.ndarray

BUSY = 0.5
"""Fraction of time steps with a spike from which on one spike per step is said to hold the network up."""
WINDOW = 5.0
"""Time constants of the read-out over which that fraction is taken: a jump of the signal is caught up with sooner."""


class CodingWarning(UserWarning):
    """A network that runs, but probably not as it is meant to; the message says why and what to do."""


def check_before(network: CodingNetwork, signal: Signal) -> None:
    """Refuse or warn of what can be told without a simulation.

    Parameters
    ----------
    network : CodingNetwork
    signal : Signal
        On whose grid it is going to run.

    Raises
    ------
    ValueError
        If a threshold at rest is not finite, or no error satisfies all thresholds (the bounding box is empty), so that
        somebody spikes without end whatever the signal.

    Warns
    -----
    CodingWarning
        For a direction in which nobody corrects errors, thresholds that are negative for good, and costs that fall with
        activity.
    """
    _check_thresholds(network, signal)
    _check_concavity(network)
    direction = uncorrected_direction(network)
    if direction is not None:
        at = ", ".join(f"{x:.2g}" for x in direction[:8]) + (", ..." if len(direction) > 8 else "")
        furthest = float((signal.values @ network.metric @ direction).max())
        what = f"the signal goes there, up to {furthest:.2g}" if furthest > 0 else "the signal never goes there"
        _warn(
            f"the decoder is one-sided: no spike corrects an error in the direction ({at}), so that the bounding box "
            f"is unbounded there ({what}); add neurons whose columns point that way"
        )


def check_after(response: Response) -> None:
    """Warn of what a simulation under the rule of one spike per step shows.

    Parameters
    ----------
    response : Response

    Raises
    ------
    ValueError
        If a threshold was not a number at the greatest activity reached.

    Warns
    -----
    CodingWarning
        If at some time there is a spike in half of all steps or more: then the step, not the loss, limits the rate.
    """
    _check_reached(response)
    signal, network = response.signal, response.network
    width = min(max(round(WINDOW * network.tau / signal.dt), 1), signal.steps)
    spiking = np.zeros(signal.steps + 1, int)
    spiking[1:][response.spike_steps] = 1
    total = np.cumsum(spiking)
    busy = (total[width:] - total[:-width]) / width
    worst = int(np.argmax(busy))
    # a run no longer than a time constant is all transient
    if busy[worst] < BUSY or signal.duration < network.tau:
        return
    stuck = busy[worst] > 0.98
    cause = (
        "the rate is saturated at one spike per step and the error is no longer held"
        if stuck
        else "the time step is too large for the rate"
    )
    late = "; with a delay or noise, higher costs" if network.delay or network.noise else ""
    _warn(
        f"there are spikes in {100 * busy[worst]:.0f} % of the steps from {worst * signal.dt:.4g} to "
        f"{(worst + width) * signal.dt:.4g} s: {cause}. Use a smaller dt than {signal.dt:g} s, longer decoder columns, "
        f"higher costs or a smaller signal{late}"
    )


def _check_reached(response: Response) -> None:
    """The threshold at the greatest value of every trace; polynomials can't fail."""
    network = response.network
    threshold, traces = network.rule.threshold, network.loss.traces
    read = [t for t in traces if symbol(t) in threshold.free_symbols]
    if threshold.is_polynomial(*map(symbol, read)):
        return
    known: dict[str, float | Array] = {name: response.trace(name).max(0) for name in read}
    known |= {name: network.norms if name == "d" else _extremes(network, name)[0] for name in _others(threshold, read)}
    function = sp.lambdify([symbol(n) for n in known], threshold, "numpy")
    with np.errstate(all="ignore"):
        check_number(network, -np.broadcast_to(function(*known.values()), (network.n,)), response.signal.duration)


def _others(expression: sp.Expr, traces: list[str]) -> list[str]:
    return sorted({s.name for s in expression.free_symbols} - set(traces))


def check_number(network: CodingNetwork, margin: Array, time: float) -> None:
    """Refuse margins V - theta that are not numbers: their neurons would never spike again, without a word.

    Parameters
    ----------
    network : CodingNetwork
    margin : array, shape (N,)
    time : float
        Seconds, for the message.

    Raises
    ------
    ValueError
    """
    broken = np.flatnonzero(np.isnan(margin))
    if broken.size:
        raise ValueError(
            f"{network.name}: the threshold of neuron {broken[0]} is not a number within {time:.6g} s: a cost can't be "
            f"computed at the activity reached. The threshold is {brief(str(network.rule.threshold))}"
        )


def uncorrected_direction(network: CodingNetwork) -> Array | None:
    """A unit vector u in which no neuron corrects errors, D_iᵀ W u <= 0 for all i; None if there is none.

    The bounding box is unbounded exactly if there is one.

    Parameters
    ----------
    network : CodingNetwork

    Returns
    -------
    array, shape (M,), or None
    """
    m, encoder = network.dimensions, network.encoder / np.linalg.norm(network.encoder, axis=1, keepdims=True)
    # if some of the neurons surround the origin then all of them do, so try few first
    for count in dict.fromkeys((min(network.n, 40 * m), network.n)):
        spaced = encoder[np.linspace(0, network.n - 1, count).astype(int)]
        direction = _open_direction(spaced)
        if direction is None:
            return None
    return direction


def _open_direction(normals: Array) -> Array | None:
    """Some u != 0 with normals u <= 0, or None."""
    m = normals.shape[1]
    _, sizes, directions = np.linalg.svd(normals, full_matrices=True)
    if len(sizes) < m or sizes[-1] <= 1e-12 * sizes[0]:
        return np.asarray(directions[-1])
    result = linprog(normals.sum(0), A_ub=normals, b_ub=np.zeros(len(normals)), bounds=[(-1, 1)] * m)
    if result.status != 0 or result.fun > -1e-9:
        return None
    return np.asarray(result.x / np.linalg.norm(result.x))


def _extremes(network: CodingNetwork, name: str) -> list[float | Array]:
    """The values of a parameter that matter: itself, or the least and the greatest of its course."""
    value = network.value(name)
    if isinstance(value, TimeCourse):
        return [float(np.min(value.values)), float(np.max(value.values))]
    return [value.initial] if isinstance(value, Homeostat) else [value]


def _corners(network: CodingNetwork, expression: sp.Expr) -> list[Array]:
    """An expression of parameters and traces, shape (N,), at rest, at the ends of every course that it depends on."""
    names = sorted(s.name for s in expression.free_symbols)
    function = sp.lambdify([symbol(n) for n in names], expression, "numpy")
    known: list[dict[str, float | Array]] = [{}]
    for name in names:
        values: list[float | Array]
        if name in network.loss.traces:
            values = [np.zeros(1)]
        else:
            values = [network.norms] if name == "d" else _extremes(network, name)
        known = [{**one, name: v} for one in known for v in values]
    with np.errstate(all="ignore"):
        return [np.broadcast_to(np.asarray(function(*one.values()), float), (network.n,)) for one in known]


def _check_thresholds(network: CodingNetwork, signal: Signal) -> None:
    threshold = network.rule.threshold
    for theta in _corners(network, threshold):
        bad = np.flatnonzero(~np.isfinite(theta))
        if bad.size:
            raise ValueError(
                f"the threshold of neuron {bad[0]} is {theta[bad[0]]} at rest: a cost is not finite where no neuron "
                f"has been active. The threshold is {brief(str(threshold))}"
            )
        low = np.flatnonzero(theta <= 0)
        if not low.size or _recovers(network):
            continue
        if not _has_inside(network, theta):
            raise ValueError(
                f"the bounding box is empty: the threshold of neuron {low[0]} is {theta[low[0]]:.3g} and those of "
                f"{low.size} of {network.n} neurons are not positive, so that somebody spikes in every step whatever "
                f"the signal; raise the costs (a negative linear cost has to stay above -d² = "
                f"{-float(network.norms[low[0]] ** 2):.3g})"
            )
        _warn(
            f"the threshold of neuron {low[0]} is {theta[low[0]]:.3g} (those of {low.size} of {network.n} are not "
            "positive): it spikes without a signal, and the error is kept away from 0"
        )


def _recovers(network: CodingNetwork) -> bool:
    """Whether activity raises the threshold, as with a set-point, so that one below 0 is a beginning and no state."""
    return any(
        (slope >= 0).all() and (slope > 0).any()
        for trace in network.loss.traces
        for slope in _slopes(network, trace)
    )


def _slopes(network: CodingNetwork, trace: str) -> list[Array]:
    derivative = sp.diff(network.rule.threshold, symbol(trace))
    return [] if derivative == 0 else _corners(network, derivative)


def _has_inside(network: CodingNetwork, theta: Array) -> bool:
    """Whether some error has all voltages at or below threshold."""
    m = network.dimensions
    result = linprog(np.zeros(m), A_ub=network.encoder, b_ub=theta, bounds=[(None, None)] * m)
    return bool(result.status != 2)


def _check_concavity(network: CodingNetwork) -> None:
    for trace in network.loss.traces:
        for slope in _slopes(network, trace):
            if (slope < 0).any():
                _warn(
                    f"activity lowers thresholds: their slope in the trace {trace!r} is {float(slope.min()):.3g} at "
                    "rest, so that every spike makes the next one cheaper and rates may run away; the cost of that "
                    "trace should be convex (a positive weight on its square)"
                )
                break


def _warn(message: str) -> None:
    warnings.warn(message, CodingWarning, stacklevel=4)
