"""The NumPy reference simulation: the derived rule, step by step, as short as it can be said."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import sympy as sp

from ..symbolic.parsing import symbol
from ..templates.arguments import check_choice, check_kind, check_seed
from .network import CodingNetwork, Form, Homeostat, TimeCourse
from .response import Response
from .signals import Signal

__all__ = ["SpikesPerStep", "simulate"]

Array = np.ndarray
SpikesPerStep = Literal["winner", "sequential", "all"]


def simulate(
    network: CodingNetwork,
    signal: Signal,
    *,
    form: Form = "threshold",
    spikes: SpikesPerStep = "winner",
    seed: int = 0,
) -> Response:
    """Simulate a coding network in NumPy.

    Parameters
    ----------
    network : CodingNetwork
    signal : Signal
    form : "threshold" or "weight"
        Whether the costs sit in the threshold or in the weights.
    spikes : "winner", "sequential" or "all"
        Who spikes in a step: the neuron furthest above its threshold; one after the other until nobody is above; or
        everybody who is above, which is wrong (all correct the same error at once) and is here to show it.
    seed : int
        Of the voltage noise.

    Returns
    -------
    Response

    Raises
    ------
    ValueError
        If signal and network don't fit, or the weight form doesn't exist.
    """
    check_kind("network", network, CodingNetwork, "a CodingNetwork")
    check_kind("signal", signal, Signal, "a Signal")
    check_choice("spikes", spikes, get_args(SpikesPerStep))
    check_choice("form", form, get_args(Form))
    check_seed(seed)
    dt, traces, n = signal.dt, network.loss.traces, network.n
    weights = network.recurrent_weights(form)
    to_self, to_others = _split(weights)
    jumps = {k: network.jump(k) for k in traces}
    keeps = {k: float(np.exp(-dt / t.tau)) for k, t in traces.items()}
    keep = keeps[network.loss.readout]
    drive, slow = network.drive(signal), network.slow_weights(dt)
    slow_to_self, slow_to_others = _split(np.zeros((n, n)) if slow is None else slow)
    currents = _currents_per_step(network, keeps) if form == "weight" else {}
    threshold = _threshold_function(network, form, signal)
    homeostats = {p: h for p in network.loss.parameters if isinstance(h := network.value(p), Homeostat)}
    log_value = {p: float(np.log(h.initial)) for p, h in homeostats.items()}
    budget = {p: _budget(h, signal) for p, h in homeostats.items()}
    energy = {p: np.ones(n) if h.energy is None else np.asarray(h.energy, float) for p, h in homeostats.items()}
    # one number per population trace, one per neuron otherwise; only those that somebody reads
    state: dict[str, Array] = {k: np.zeros(n if t.scope == "neuron" else 1) for k, t in traces.items()}
    noise = network.noise * np.sqrt(1 - keep**2)
    random = np.random.default_rng(seed)

    v = network.encoder @ signal.values[0]
    h = np.zeros(n)  # slow current: stays zero unless the network implements the dynamics of the signal
    under_way: deque[list[int]] = deque([[] for _ in range(network.delay_steps(dt))])
    spike_steps: list[int] = []
    spike_neurons: list[int] = []
    controlled = {p: np.empty(signal.steps) for p in homeostats}
    worst_margin = np.empty(signal.steps) if spikes == "sequential" else None

    def spike(j: int, k: int) -> None:
        spike_steps.append(k)
        spike_neurons.append(j)
        v[j] -= to_self[j]
        h[j] += slow_to_self[j]
        for name, trace in traces.items():
            if trace.scope == "neuron":
                state[name][j] += jumps[name][j]
        for p, homeostat in homeostats.items():
            log_value[p] += homeostat.gain * energy[p][j] / budget[p][k]

    def arrive(j: int) -> None:
        np.subtract(v, to_others[j], out=v)
        if slow is not None:
            np.add(h, slow_to_others[j], out=h)
        for name, trace in traces.items():
            if trace.scope == "population":
                state[name][0] += jumps[name][j]

    for k in range(signal.steps):
        v *= keep
        v += network.encoder @ drive[k]
        if slow is not None:
            v += h
            h *= keep
        for name, current in currents.items():
            v += current * state[name]
        if noise:
            v += noise * random.standard_normal(n)
        for name in state:
            state[name] *= keeps[name]
        for p, homeostat in homeostats.items():
            log_value[p] -= homeostat.gain * dt
            controlled[p][k] = np.exp(log_value[p])
        levels = {p: controlled[p][k] for p in homeostats}

        now: list[int] = []
        margin = v - threshold(k, state, levels)
        if spikes == "all":
            now = np.flatnonzero(margin > 0).tolist()
        elif margin[best := int(np.argmax(margin))] > 0:
            now = [best]
        for j in now:
            spike(j, k)
        under_way.append(now)
        for j in under_way.popleft():
            arrive(j)
        while spikes == "sequential":
            margin = v - threshold(k, state, levels)
            best = int(np.argmax(margin))
            if margin[best] <= 0:
                worst_margin[k] = margin[best]  # type: ignore[index]
                break
            spike(best, k)
            arrive(best)

    return Response(
        network, signal, np.asarray(spike_steps, int), np.asarray(spike_neurons, int), controlled, worst_margin
    )


def _split(weights: Array) -> tuple[Array, Array]:
    """The diagonal, and the weights to others with one row per spiking neuron."""
    to_others = np.array(weights.T, order="C")
    np.fill_diagonal(to_others, 0.0)
    return weights.diagonal().copy(), to_others


def _budget(homeostat: Homeostat, signal: Signal) -> Array:
    if isinstance(homeostat.budget, TimeCourse):
        return homeostat.budget.on_grid(signal.steps, signal.dt)
    return np.full(signal.steps, float(homeostat.budget))


def _currents_per_step(network: CodingNetwork, keeps: dict[str, float]) -> dict[str, Array]:
    """Weight form: what one unit of each trace adds to the voltages in a step.

    The exact integral of the derived current: coefficient (e - e_trace), zero for equal time constants.
    """
    keep = keeps[network.loss.readout]
    return {
        name: network.evaluate(coefficient) * (keep - keeps[name])
        for name, coefficient in (network.rule.coefficients or {}).items()
        if keeps[name] != keep
    }


def _threshold_function(
    network: CodingNetwork, form: Form, signal: Signal
) -> Callable[[int, dict[str, Array], dict[str, float]], Array]:
    """The derived threshold as a function of step, traces and homeostat-controlled parameters."""
    expression = network.rule.threshold if form == "threshold" else network.rule.constant
    constants = network.constants()
    # costs that are off leave the expression, and what never changes is evaluated once
    off = {symbol(p): sp.Integer(0) for p, value in constants.items() if np.ndim(value) == 0 and value == 0}
    expression = sp.expand(expression.xreplace(off), power_exp=False)
    moving = [p for p in network.loss.parameters if p not in constants]
    read = [k for k in network.loss.traces if symbol(k) in expression.free_symbols]
    fixed_part, changing_part = expression.as_independent(*map(symbol, [*moving, *read]), as_Add=True)
    fixed = network.evaluate(fixed_part)
    if changing_part == 0:
        return lambda k, state, levels: fixed
    courses = {p: network.course(p, signal) for p in moving if isinstance(network.value(p), TimeCourse)}
    function = sp.lambdify([symbol(a) for a in [*constants, *moving, *read]], changing_part, "numpy")
    values = list(constants.values())

    def threshold(k: int, state: dict[str, Array], levels: dict[str, float]) -> Array:
        changing = [courses[p][k] if p in courses else levels[p] for p in moving]  # type: ignore[index]
        return np.asarray(fixed + function(*values, *changing, *[state[t] for t in read]))

    return threshold
