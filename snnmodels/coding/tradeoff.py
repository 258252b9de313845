"""Trade-off sweeps: coding loss against activity, along a cost of one network or over rescaled networks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import sympy as sp

from ..symbolic.parsing import symbol
from .energy import synapses_per_spike
from .network import CodingNetwork
from .readouts import length_corrected
from .reference import simulate
from .response import Response
from .signals import Signal

__all__ = ["TradeoffPoint", "at_equal_rate", "measure", "slope", "sweep_cost", "sweep_scale"]

Array = np.ndarray
READOUTS = ("raw", "corrected")


@dataclass(frozen=True)
class TradeoffPoint:
    """One simulation on the plane of loss and activity.

    Attributes
    ----------
    setting : float
        Value of the cost parameter, or factor of the decoder.
    rate : float
        Spikes per second of the population.
    synaptic_events : float
        Per second; `energy` has the other units.
    loss : dict of str to float
        Coding loss by read-out.
    penalties : dict of str to float
        Time average of every cost term divided by its weight, that is, of what the weight penalises.
    """

    setting: float
    rate: float
    synaptic_events: float
    loss: dict[str, float]
    penalties: dict[str, float]


def measure(
    response: Response, setting: float, readouts: Sequence[str] = ("raw",), discard: float = 0.5
) -> TradeoffPoint:
    """Loss, activity and penalised terms of one response.

    Parameters
    ----------
    response : Response
    setting : float
        What is varied; only passed on.
    readouts : sequence of "raw", "corrected"
        Those that need no fit, which this signal could not score; `held_out_coding` has the others.
    discard : float
        Seconds at the start to leave out.

    Returns
    -------
    TradeoffPoint

    Raises
    ------
    ValueError
        For an unknown read-out, or a `discard` that is negative or leaves nothing.
    """
    rates = response.rates(discard)
    losses = {name: response.coding_loss(_estimate(response, name), discard) for name in readouts}
    events = float(rates @ synapses_per_spike(response.network))
    return TradeoffPoint(float(setting), float(rates.sum()), events, losses, _penalties(response, discard))


def sweep_cost(
    network: CodingNetwork,
    parameter: str,
    values: Iterable[float],
    signal: Signal,
    readouts: Sequence[str] = ("raw",),
    discard: float = 0.5,
) -> list[TradeoffPoint]:
    """One network, one cost parameter at several values: nothing else changes, in particular no weight.

    Parameters
    ----------
    network : CodingNetwork
    parameter : str
        Of the loss.
    values : iterable of float
    signal : Signal
    readouts, discard
        As for `measure`.

    Returns
    -------
    list of TradeoffPoint
        In the order of the values, which are their settings.

    Raises
    ------
    ValueError
        If the loss has no such parameter, a value is not finite, the signal doesn't fit, or as for `measure`.
    """
    return [
        measure(simulate(network.with_parameters(**{parameter: value}), signal), value, readouts, discard)
        for value in values
    ]


def sweep_scale(
    network: CodingNetwork,
    factors: Iterable[float],
    signal: Signal,
    readouts: Sequence[str] = ("raw",),
    discard: float = 0.5,
) -> list[TradeoffPoint]:
    """Several networks with rescaled decoders, all weights new: the retrained networks to compare with.

    Parameters
    ----------
    network : CodingNetwork
    factors : iterable of float
        By which the decoder is multiplied.
    signal : Signal
    readouts, discard
        As for `measure`.

    Returns
    -------
    list of TradeoffPoint
        In the order of the factors, which are their settings.

    Raises
    ------
    ValueError
        If a factor is 0 or not finite, the signal doesn't fit, or as for `measure`.
    """
    return [measure(simulate(network.rescaled(f), signal), f, readouts, discard) for f in factors]


def slope(points: Sequence[TradeoffPoint], readout: str = "raw") -> float:
    """Slope of log loss against log rate, by least squares.

    Parameters
    ----------
    points : sequence of TradeoffPoint
        Two or more, of different rates.
    readout : str
        One of those measured.
    """
    return float(np.polyfit(np.log([p.rate for p in points]), np.log([p.loss[readout] for p in points]), 1)[0])


def at_equal_rate(points: Sequence[TradeoffPoint], reference: Sequence[TradeoffPoint], readout: str = "raw") -> Array:
    """Loss of every point over the reference's raw loss at the same rate, interpolated on logarithmic axes.

    Parameters
    ----------
    points : sequence of TradeoffPoint
    reference : sequence of TradeoffPoint
        In any order.
    readout : str
        Of `points`; one of those measured.

    Returns
    -------
    array, shape (points,)

    Raises
    ------
    ValueError
        If a rate lies outside the reference's, where there is nothing to compare with.
    """
    known = sorted((p.rate, p.loss["raw"]) for p in reference)
    rates, losses = np.log([r for r, _ in known]), np.log([loss for _, loss in known])
    wanted = np.log([p.rate for p in points])
    if wanted.min() < rates.min() or wanted.max() > rates.max():
        raise ValueError(
            f"rates {np.exp(wanted.min()):.0f} to {np.exp(wanted.max()):.0f}/s are not all within the "
            f"reference's {np.exp(rates.min()):.0f} to {np.exp(rates.max()):.0f}/s"
        )
    return np.asarray([p.loss[readout] for p in points]) / np.exp(np.interp(wanted, rates, losses))


def _estimate(response: Response, readout: str) -> Array:
    match readout:
        case "raw":
            return response.estimate
        case "corrected":
            return length_corrected(response)
    raise ValueError(
        f"read-out {readout!r} is not one of {', '.join(READOUTS)}; read-outs that are fitted are scored on another "
        "signal, by snnmodels.coding.held_out_coding"
    )


def _penalties(response: Response, discard: float) -> dict[str, float]:
    """Time average of d cost/d weight for every cost and every parameter that it is linear in."""
    first = response.signal.first_step(discard)
    network, found = response.network, {}
    for cost in network.loss.costs:
        used = [t for t in network.loss.traces if symbol(t) in cost.expression.free_symbols]
        weights = [p for p in network.loss.parameters if symbol(p) in cost.expression.free_symbols]
        weights = [p for p in weights if not sp.diff(cost.expression, symbol(p)).has(symbol(p))]
        for weight in weights:
            penalised = sp.diff(cost.expression, symbol(weight))
            others = [p for p in network.loss.parameters if symbol(p) in penalised.free_symbols]
            if any(p not in network.constants() for p in others):
                continue
            found[weight] = _penalty(response, penalised, used, first)
    return found


def _penalty(response: Response, penalised: sp.Expr, traces: Sequence[str], first: int) -> float:
    """Time average of an expression in traces, summed over neurons where they are of single ones."""
    network = response.network
    constants = sorted(s.name for s in penalised.free_symbols if s.name not in traces)
    function = sp.lambdify([symbol(n) for n in [*traces, *constants]], penalised, "numpy")
    if network.loss.traces[traces[0]].scope == "population":
        shared = [network.constants()[n] for n in constants]
        return float(np.mean(function(*[response.trace(t)[first:] for t in traces], *shared)))
    # neurons that never spike have traces of zero, and one number says what they cost
    values = [np.broadcast_to(network.constants()[n], network.n) for n in constants]
    silent = np.ones(network.n, bool)
    silent[response.spike_neurons] = False
    total = float(np.broadcast_to(function(*[0.0] * len(traces), *values), network.n)[silent].sum())
    active = np.flatnonzero(~silent)
    for some in np.array_split(active, len(active) // 64 + 1):
        columns = [response.trace(t, some)[first:] for t in traces]
        over_time = np.broadcast_to(function(*columns, *[v[some] for v in values]), columns[0].shape)
        total += float(over_time.mean(0).sum())
    return total
