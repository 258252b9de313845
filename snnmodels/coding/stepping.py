"""One population of a spike-coding network, step by step: voltages in either form, traces, thresholds, budgets.

`simulate` runs one population, `simulate_populations` an excitatory and an inhibitory one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import sympy as sp

from ..symbolic.parsing import symbol
from .factors import Factors, Recurrence
from .network import CodingNetwork, Form, Homeostat, TimeCourse
from .signals import Signal

__all__ = ["Population", "Voltages", "make_voltages"]

Array = np.ndarray


class Voltages(Protocol):
    """The voltages of N neurons, which decay, are driven through the encoder, and change at spikes."""

    def advance(self, drive: Array) -> None:
        """One step: decay, then what the signal adds to x - D r."""

    def push(self, amounts: Array) -> None:
        """Add one number per neuron."""

    def read(self) -> Array:
        """v, shape (N,); not to be written to."""

    def reset(self, j: int) -> None:
        """What a spike does to its own neuron, at once."""

    def arrive(self, j: int) -> None:
        """What a spike does to the other neurons, after the delay."""

    def rows(self, decoder: Array) -> Array:
        """What spikes of other populations subtract, one row per neuron of theirs, for `subtract`."""

    def add(self, row: Array) -> None:
        """Add a row of `rows`."""

    def subtract(self, row: Array) -> None:
        """Subtract a row of `rows`."""


class DenseVoltages:
    """N voltages; a spike subtracts a column of the N by N weights."""

    def __init__(self, encoder: Array, initial: Array, keep: float, fast: Factors | None, slow: Factors | None):
        self._encoder, self._keep, self._fast, self._slow = encoder, keep, fast is not None, slow is not None
        self._v = encoder @ initial
        if fast is not None:
            self._to_self, self._to_others = _split(fast.dense())
        if slow is not None:
            self._h = np.zeros(len(encoder))
            self._slow_to_self, self._slow_to_others = _split(slow.dense())

    def advance(self, drive: Array) -> None:
        self._v *= self._keep
        self._v += self._encoder @ drive
        if self._slow:
            self._v += self._h
            self._h *= self._keep

    def push(self, amounts: Array) -> None:
        self._v += amounts

    def read(self) -> Array:
        return self._v

    def reset(self, j: int) -> None:
        if self._fast:
            self._v[j] -= self._to_self[j]
        if self._slow:
            self._h[j] += self._slow_to_self[j]

    def arrive(self, j: int) -> None:
        if self._fast:
            self._v -= self._to_others[j]
        if self._slow:
            self._h += self._slow_to_others[j]

    def rows(self, decoder: Array) -> Array:
        return np.ascontiguousarray((self._encoder @ decoder).T)

    def add(self, row: Array) -> None:
        self._v += row

    def subtract(self, row: Array) -> None:
        self._v -= row


class LowRankVoltages:
    """v = left y + own: a spike subtracts a column of `right` from the K numbers y.

    ``own`` holds what is of one neuron alone. A neuron's reset is immediate while its spike reaches y after the delay
    only: own takes the reset at the spike, and gives it back when y brings it.
    """

    def __init__(
        self, encoder: Array, initial: Array, keep: float, fast: Factors | None, slow: Factors | None, delayed: bool
    ):
        n, m = encoder.shape
        left = encoder if fast is None else fast.left
        self._keep, self._fast, self._slow, self._delayed = keep, fast, slow, delayed
        self._left = np.ascontiguousarray(left)
        self._y = np.concatenate([initial, np.zeros(left.shape[1] - m)])
        self._of_signal = self._y[:m]  # a view
        self._v = np.empty(n)
        # only where something is of one neuron alone: this would be the one array of N that every step decays
        self._own = np.zeros(n) if delayed or (fast is not None and fast.diagonal.any()) else None
        if fast is not None:
            self._to_self = fast.of_itself()
            self._right = np.ascontiguousarray(fast.right.T)
        if slow is not None:
            self._g, self._slow_right = np.zeros(m), np.ascontiguousarray(slow.right.T)
            self._slow_to_self, self._own_h = slow.of_itself(), np.zeros(n)

    def advance(self, drive: Array) -> None:
        self._y *= self._keep
        self._of_signal += drive
        if self._own is not None:
            self._own *= self._keep
        if self._slow is not None:
            self._of_signal += self._g
            self._g *= self._keep
            if self._own is not None and self._delayed:
                self._own += self._own_h
                self._own_h *= self._keep

    def push(self, amounts: Array) -> None:
        if self._own is None:
            self._own = np.zeros(len(self._v))
        self._own += amounts

    def read(self) -> Array:
        np.dot(self._left, self._y, self._v)
        return self._v if self._own is None else np.add(self._v, self._own, self._v)

    def reset(self, j: int) -> None:
        if self._fast is None or self._own is None:
            return
        self._own[j] -= self._to_self[j] if self._delayed else self._fast.diagonal[j]
        if self._slow is not None and self._delayed:
            self._own_h[j] += self._slow_to_self[j]

    def arrive(self, j: int) -> None:
        if self._fast is None:
            return
        self._y -= self._right[j]
        if self._slow is not None:
            self._g += self._slow_right[j]
        if self._delayed and self._own is not None:
            self._own[j] += self._to_self[j] - self._fast.diagonal[j]
            if self._slow is not None:
                self._own_h[j] -= self._slow_to_self[j]

    def rows(self, decoder: Array) -> Array:
        return np.ascontiguousarray(decoder.T)

    def add(self, row: Array) -> None:
        self._of_signal += row

    def subtract(self, row: Array) -> None:
        self._of_signal -= row


def make_voltages(
    network: CodingNetwork, initial: Array, dt: float, form: Form, recurrence: Recurrence, *, alone: bool = True
) -> Voltages:
    """The voltages of a population at the start.

    Parameters
    ----------
    network : CodingNetwork
    initial : array, shape (M,)
        x - D r.
    dt : float
    form : "threshold" or "weight"
    recurrence : "dense" or "low_rank"
    alone : bool
        Whether its neurons inhibit each other; False where other neurons do that for them.
    """
    keep = float(np.exp(-dt / network.tau))
    fast = network.recurrent_factors(form) if alone else None
    slow = network.slow_factors(dt)
    if recurrence == "dense":
        return DenseVoltages(network.encoder, initial, keep, fast, slow)
    return LowRankVoltages(network.encoder, initial, keep, fast, slow, network.delay_steps(dt) > 0)


class Population:
    """Everything of one population that changes in time, and what was recorded of it."""

    def __init__(self, network: CodingNetwork, signal: Signal, form: Form, voltages: Voltages, seed: int):
        dt, traces, n = signal.dt, network.loss.traces, network.n
        self.network, self.voltages = network, voltages
        keeps = {k: float(np.exp(-dt / t.tau)) for k, t in traces.items()}
        keep = keeps[network.loss.readout]
        self._currents = _currents_per_step(network, keeps) if form == "weight" else {}
        self._threshold, in_threshold = _threshold_function(network, form, signal)
        # one number per population trace, one per neuron otherwise; only those that somebody reads
        read = [k for k in traces if k in in_threshold or k in self._currents]
        self._keeps = {k: keeps[k] for k in read}
        self._state: dict[str, Array] = {k: np.zeros(n if traces[k].scope == "neuron" else 1) for k in read}
        self._own_jumps = {k: network.jump(k) for k in read if traces[k].scope == "neuron"}
        self._shared_jumps = {k: network.jump(k) for k in read if traces[k].scope == "population"}
        self._noise = network.noise * np.sqrt(1 - keep**2)
        self._random = np.random.default_rng(seed)
        self._budgets = {p: _Budget(h, n, signal) for p, h in network.homeostats.items()}
        self.controlled = {p: b.course for p, b in self._budgets.items() if b.course is not None}
        self._levels: dict[str, Array | float] = {}
        self._under_way: deque[list[int]] = deque([[] for _ in range(network.delay_steps(dt))])
        self.spike_steps: list[int] = []
        self.spike_neurons: list[int] = []

    def advance(self, drive: Array, k: int) -> None:
        """Everything up to the decision of step k."""
        self.voltages.advance(drive)
        for name, current in self._currents.items():
            self.voltages.push(current * self._state[name])
        if self._noise:
            self.voltages.push(self._noise * self._random.standard_normal(self.network.n))
        for name, keep in self._keeps.items():
            self._state[name] *= keep
        for p, budget in self._budgets.items():
            self._levels[p] = budget.advance(k)

    def margin(self, k: int, bridge: Array | None = None) -> Array:
        """V - theta, or V - bridge - theta, shape (N,)."""
        v = self.voltages.read() if bridge is None else self.voltages.read() - bridge
        return v - self._threshold(k, self._state, self._levels)

    def spike(self, j: int, k: int) -> None:
        """What a spike of neuron j in step k does at once."""
        self.spike_steps.append(k)
        self.spike_neurons.append(j)
        self.voltages.reset(j)
        for name, jump in self._own_jumps.items():
            self._state[name][j] += jump[j]
        for budget in self._budgets.values():
            budget.spend(j, k)

    def arrivals(self, now: list[int]) -> list[int]:
        """The spikes that arrive in this step, after those of now have set out."""
        self._under_way.append(now)
        return self._under_way.popleft()

    def arrive(self, j: int) -> None:
        """What a spike of neuron j does to others, and to traces of the population."""
        self.voltages.arrive(j)
        for name, jump in self._shared_jumps.items():
            self._state[name][0] += jump[j]


class _Budget:
    """The logarithm of one controlled parameter, of the population or of every neuron."""

    def __init__(self, homeostat: Homeostat, n: int, signal: Signal):
        self._homeostat, self._own = homeostat, homeostat.scope == "neuron"
        self._low, self._high = np.log(homeostat.low), np.log(homeostat.high)
        self._energy = np.ones(n) if homeostat.energy is None else np.asarray(homeostat.energy, float)
        self._log = np.full(n, np.log(homeostat.initial)) if self._own else float(np.log(homeostat.initial))
        self._budget = homeostat.budget_in_steps(signal.steps, signal.dt)
        self._fall = homeostat.gain * signal.dt
        self.course = None if self._own else np.empty(signal.steps)

    def advance(self, k: int) -> Array | float:
        # clamping the integral itself, rather than what is read of it, is what keeps it from winding up
        if self.course is None:
            self._log = np.maximum(self._log - self._fall, self._low)
            return np.asarray(np.exp(self._log))
        self._log = max(self._log - self._fall, self._low)
        self.course[k] = np.exp(self._log)
        return float(self.course[k])

    def spend(self, j: int, k: int) -> None:
        homeostat = self._homeostat
        if isinstance(self._log, np.ndarray):
            budget = self._budget[k] if self._budget.ndim == 1 else self._budget[k, j]
            self._log[j] = min(self._log[j] + homeostat.gain * self._energy[j] / budget, self._high)
        else:
            self._log = min(self._log + homeostat.gain * self._energy[j] / self._budget[k], self._high)


def _split(weights: Array) -> tuple[Array, Array]:
    """The diagonal, and the weights to others with one row per spiking neuron."""
    to_others = np.array(weights.T, order="C")
    np.fill_diagonal(to_others, 0.0)
    return weights.diagonal().copy(), to_others


def _currents_per_step(network: CodingNetwork, keeps: Mapping[str, float]) -> dict[str, Array]:
    """Weight form: what one unit of each trace adds to the voltages in a step.

    The exact integral of the derived current: coefficient (e - e_trace), zero for equal time constants.
    """
    keep = keeps[network.loss.readout]
    return {
        name: network.evaluate(coefficient) * (keep - keeps[name])
        for name, coefficient in (network.rule.coefficients or {}).items()
        if keeps[name] != keep
    }


ThresholdFunction = Callable[[int, Mapping[str, Array], Mapping[str, "Array | float"]], Array]


def _threshold_function(network: CodingNetwork, form: Form, signal: Signal) -> tuple[ThresholdFunction, list[str]]:
    """The derived threshold as a function of step, traces and homeostat-controlled parameters; the traces it reads."""
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
        return lambda k, state, levels: fixed, []
    courses = {p: network.course(p, signal) for p in moving if isinstance(network.value(p), TimeCourse)}
    function = sp.lambdify([symbol(a) for a in [*constants, *moving, *read]], changing_part, "numpy")
    values = list(constants.values())

    def threshold(k: int, state: Mapping[str, Array], levels: Mapping[str, Array | float]) -> Array:
        changing = [courses[p][k] if p in courses else levels[p] for p in moving]  # type: ignore[index]
        return np.asarray(fixed + function(*values, *changing, *[state[t] for t in read]))

    return threshold, read
