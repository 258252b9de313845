"""How neurons move between events: by closed forms, or in Taylor steps where the model is nonlinear."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ...events import accuracy
from ...events.bounds import LEVELS, PER_OCTAVE, Bounds
from ...events.series import SeriesProgram
from .crossing import Along, TooManySteps, Unfinished, first_crossing
from .parameters import Parametrised
from .series import Series
from .tape import SPIKE
from .taylor import ARRIVED, FAILED, RUNNING, SPIKED, Control, Lanes, Step, walk, walk_back

__all__ = ["ClosedForm", "Flow", "TaylorSteps"]

_TIME_DIGIT = 2e-17  # seconds; the last digit of a time in a trial of a tenth of a second

Peaks = Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]
"""Neurons, times of a maximum of each, values there."""


class Flow(ABC):
    """The flow of a population's neurons. Neurons are named by their places `which`; None stands for all."""

    def __init__(self, neurons: Parametrised) -> None:
        self.neurons = neurons

    @abstractmethod
    def set(self) -> None:
        """The neurons have new parameters."""

    @abstractmethod
    def advance(self, x: np.ndarray, time: float | np.ndarray, which: np.ndarray | None = None) -> np.ndarray:
        """States a time later.

        Parameters
        ----------
        x : array, shape (n_states, m)
        time : float or array, shape (m,)
            In seconds.
        which : int array, shape (m,), or None

        Returns
        -------
        array, shape (n_states, m)
        """

    @abstractmethod
    def may_cross(self, x: np.ndarray, length: float) -> np.ndarray:
        """Neurons that can't be told not to cross their threshold within a length.

        Parameters
        ----------
        x : array, shape (n_states, n)
            States of all.
        length : float
            In seconds.

        Returns
        -------
        int array
        """

    @abstractmethod
    def first(self, x: np.ndarray, length: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """When neurons first spike, or something else happens to them by itself.

        Parameters
        ----------
        x : array, shape (n_states, m)
        length : array, shape (m,)
            How far to look, in seconds.
        which : int array, shape (m,)

        Returns
        -------
        times : array, shape (m,)
            In seconds from now; inf for never.
        kinds : int array, shape (m,)
            `SPIKE`, or which of the system's transitions it is.

        Raises
        ------
        Unfinished
            If it was not found.
        """

    @abstractmethod
    def peaks(self, x: np.ndarray, length: float, best: np.ndarray) -> Peaks:
        """Smooth maxima of the observed state within a length, those at least that are larger than `best`.

        Parameters
        ----------
        x : array, shape (n_states, n)
            States of all.
        length : float
            In seconds.
        best : array, shape (n,)

        Yields
        ------
        which : int array, shape (m,)
        time, value : array, shape (m,)
            Of one maximum of each.

        Raises
        ------
        Unfinished
            If one was not found.
        """

    @abstractmethod
    def back(
        self, x: np.ndarray | None, costates: np.ndarray, time: float | np.ndarray, which: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Costates a time earlier, and the gradient by the learnable parameters on the way.

        Parameters
        ----------
        x : array, shape (n_states, m), or None
            States a time earlier; may be None where `reads_states` is false.
        costates : array, shape (n_states, m)
        time : float or array, shape (m,)
            In seconds.
        which : int array, shape (m,), or None

        Returns
        -------
        costates : array, shape (n_states, m)
        gradient : array, shape (n_learnable, m), or None
            None where there is nothing to add.
        """

    @property
    @abstractmethod
    def reads_states(self) -> bool:
        """Whether `back` reads states."""


class _Reach:
    """Bounds of a function of the states over a piece of time, looked up in tables.

    Parameters
    ----------
    table : array, shape (LEVELS, 4, n_states) or (LEVELS, 4, n_states, n)
        See `Bounds`.
    longest : float
        Length of the longest piece in seconds.
    """

    def __init__(self, table: np.ndarray, longest: float) -> None:
        self.table = table
        self.lengths = longest * 2.0 ** (-np.arange(LEVELS - 1, -1, -1) / PER_OCTAVE)

    def level(self, length: float | np.ndarray) -> np.ndarray:
        """The shortest length of the ladder that covers a piece; rounding may make a piece a little too long."""
        return np.minimum(np.searchsorted(self.lengths, length), LEVELS - 1)

    def rise(self, rates: np.ndarray, length: float) -> np.ndarray:
        """By how much the function rises at most within the length, shape (n,), from the rates of all neurons."""
        high, low = (row[:, None] if row.ndim == 1 else row for row in self.table[self.level(length), :2])
        return np.maximum(high * rates, low * rates).sum(axis=0)

    def third(self, rates: np.ndarray, length: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Largest and smallest third derivative within lengths, shape (m,), of the neurons `which`."""
        level = self.level(length)
        # shape (m, 2, n_states)
        table = self.table[level, 2:] if self.table.ndim == 3 else self.table[level, 2:, :, which]
        a, b = table[:, 0].T * rates, table[:, 1].T * rates
        return np.maximum(a, b).sum(axis=0), np.minimum(a, b).sum(axis=0)


class ClosedForm(Flow):
    """The flow of a linear model; bounds tell, mostly without an exponential, who can't cross."""

    def __init__(self, neurons: Parametrised, window: float) -> None:
        super().__init__(neurons)
        rules = neurons.rules
        self.window = window
        self._bounds = Bounds.of(rules, "threshold") if rules.spiking else None
        self._peak_bounds = Bounds.of(rules, "peak") if rules.observed is not None else None
        self._gradient = bool(rules.learnable) and not rules.rules["gradient"].is_zero

    def set(self) -> None:
        """Make the tables anew."""
        values = {f"p{k}": np.asarray(v) for k, v in enumerate(self.neurons.p)}
        if self._bounds is not None:
            self.threshold = _Reach(self._bounds.table(values, self.window), self.window)
        if self._peak_bounds is not None:
            self.peak = _Reach(self._peak_bounds.table(values, self.window), self.window)

    def advance(self, x: np.ndarray, time: float | np.ndarray, which: np.ndarray | None = None) -> np.ndarray:
        """States a time later; see `Flow.advance`."""
        return self.neurons("flow", *x, s=time, which=which)

    def may_cross(self, x: np.ndarray, length: float) -> np.ndarray:
        """Neurons whose bound is above threshold; see `Flow.may_cross`."""
        g, rates = self.neurons("event", *x)[0], self.neurons("rate", *x)
        # a bound that overflowed tells nothing
        return np.flatnonzero(~(g + self.threshold.rise(rates, length) <= 0) | (g > 0))

    def first(self, x: np.ndarray, length: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """When neurons first cross their threshold; see `Flow.first`."""
        third = self.threshold.third(self.neurons("rate", *x, which=which), length, which)
        found = first_crossing(self._along("search", x, which), third, np.zeros(which.size), length)
        return found, np.full(which.size, SPIKE)

    def _along(self, rule: str, x: np.ndarray, which: np.ndarray, first: int = 0) -> Along:
        """Outputs of a rule from `first` on, a function and its derivatives, along the flow from x."""

        def at(lanes: np.ndarray, tau: np.ndarray) -> np.ndarray:
            at_lanes, states = which[lanes], x[:, lanes]
            if tau.any():
                states = self.advance(states, tau, at_lanes)
            return self.neurons(rule, *states, which=at_lanes)[first : first + 3]

        return at

    def peaks(self, x: np.ndarray, length: float, best: np.ndarray) -> Peaks:
        """Upward crossings of 0 by minus the slope; between two of them it crosses downward; see `Flow.peaks`."""
        observed = self.neurons.rules.observed
        rates = self.neurons("rate", *x)
        which = np.flatnonzero(~(x[observed] + self.peak.rise(rates, length) <= best))
        if not which.size:
            return
        x, ends = x[:, which], np.full(which.size, length)
        high, low = self.peak.third(rates[:, which], ends, which)
        at = self._along("peak", x, which, 1)
        sign = np.where(rates[observed, which] > 0, 1.0, -1.0)
        tau, live, leaving = np.zeros(which.size), np.arange(which.size), False
        for _ in range(accuracy.MAX_EVENTS):
            up = sign[live] > 0
            third = (np.where(up, high[live], -low[live]), np.where(up, low[live], -high[live]))
            along = _signed(at, live, sign[live])
            try:
                found = first_crossing(along, third, tau[live], ends[live], leaving=leaving)
            except Unfinished as e:
                raise type(e)(int(which[live[e.lane]])) from None
            go = np.isfinite(found)
            if leaving:
                go &= found > tau[live]  # else it is an inflection whose tangent is level
            live, found, up = live[go], found[go], up[go]
            if not live.size:
                return
            if up.any():
                lanes = live[up]
                yield which[lanes], found[up], self.advance(x[:, lanes], found[up], which[lanes])[observed]
            tau[live], sign[live], leaving = found, -sign[live], True
        raise Unfinished(int(which[live[0]]))

    def back(
        self, x: np.ndarray | None, costates: np.ndarray, time: float | np.ndarray, which: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Costates a time earlier, and the gradient on the way; see `Flow.back`."""
        before = self.neurons("back", *costates, s=time, which=which)
        if not self._gradient:
            return before, None
        assert x is not None
        return before, self.neurons("gradient", *x, *costates, s=time, which=which)

    @property
    def reads_states(self) -> bool:
        """Whether a parameter of the flow is learnable."""
        return self._gradient


def _signed(along: Along, lanes: np.ndarray, sign: np.ndarray) -> Along:
    """The function for some of its lanes, in some of them its negative."""
    return lambda some, times: along(lanes[some], times) * sign[some]


class TaylorSteps(Flow):
    """The flow of a nonlinear model, each neuron in steps of its own.

    Events are those of the polynomials. Backward, an event is one of the model, in the states that the polynomials
    gave: that is the derivative of what was simulated up to the tolerance.
    """

    def __init__(self, neurons: Parametrised, window: float, tolerance: float) -> None:
        super().__init__(neurons)
        system, rules = neurons.rules.system, neurons.rules
        program = SeriesProgram.of(system)
        self._crossing = Series(program)
        self._plain = Series(replace(program, event_operations=(), events=()))
        if rules.observed is not None:
            slope = system.f[system.states[rules.observed]]
            self._peak = Series(SeriesProgram.of(replace(system, g=-slope, switches={}, latch=None)))
        self._control = Control(tolerance, window, accuracy.sizes(rules), accuracy.order(tolerance))
        self._ends: dict[int, tuple[bytes, float, np.ndarray]] = {}  # by neuron: where a search began, its time and end

    def set(self) -> None:
        """Compute the constants anew."""
        n = self.neurons
        self._ends.clear()
        self._p = np.array([np.broadcast_to(v, n.n) for v in n.p]).reshape(len(n.p), n.n)
        self._constants = self._plain.constants(self._p)
        if n.rules.observed is not None:
            self._peak_constants = self._peak.constants(self._p)

    def _of(self, values: np.ndarray, which: np.ndarray | None) -> np.ndarray:
        return values if which is None else values[:, which]

    def _steps(self, x: np.ndarray, time: float | np.ndarray, which: np.ndarray | None, tape: list[Step]) -> np.ndarray:
        lanes = Lanes.of(x.copy(), np.broadcast_to(np.asarray(time, dtype=float), x.shape[1:]).copy())
        walk(self._plain, self._of(self._constants, which), self._control, lanes, tape)
        if (stuck := np.flatnonzero(lanes.outcome == RUNNING)).size:
            raise TooManySteps(int(stuck[0] if which is None else which[stuck[0]]))
        return np.where(lanes.outcome == FAILED, np.nan, lanes.x)

    def advance(self, x: np.ndarray, time: float | np.ndarray, which: np.ndarray | None = None) -> np.ndarray:
        """States a time later, not a number where the steps have failed; see `Flow.advance`.

        A search for a crossing has mostly been there already: its end is taken rather than the same steps once more.
        """
        if not self._ends:
            return self._steps(x, time, which, [])
        result, times = np.empty_like(x), np.broadcast_to(time, x.shape[1:])
        numbers = np.arange(x.shape[1]) if which is None else which
        new = []
        for i, j in enumerate(numbers):
            start, passed, end = self._ends.get(int(j), (b"", np.nan, x[:, i]))
            # a spike time loses its last digit when it is counted from the trial's start
            if abs(times[i] - passed) <= _TIME_DIGIT and start == x[:, i].tobytes():
                result[:, i] = end
            else:
                new.append(i)
        if new:
            result[:, new] = self._steps(x[:, new], times[new], numbers[new], [])
        return result

    def may_cross(self, x: np.ndarray, length: float) -> np.ndarray:
        """All neurons: only the steps will tell; see `Flow.may_cross`."""
        return np.arange(x.shape[1])

    def first(self, x: np.ndarray, length: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """When neurons first spike, or another event of theirs is; see `Flow.first`."""
        constants = self._of(self._crossing.constants(self._p), which)
        # one that is above its threshold by rounding crosses at once if it rises; if it falls, it was a spike before
        lanes = Lanes.of(x.copy(), length.copy())
        walk(self._crossing, constants, self._control, lanes, [])
        found = np.where(lanes.outcome == SPIKED, lanes.elapsed, np.inf)
        kinds = lanes.event + (SPIKE if self.neurons.rules.spiking else 0)
        for k in np.flatnonzero((lanes.outcome == SPIKED) | (lanes.outcome == ARRIVED)):
            self._ends[int(which[k])] = (x[:, k].tobytes(), float(lanes.elapsed[k]), lanes.x[:, k].copy())
        return found, kinds

    def peaks(self, x: np.ndarray, length: float, best: np.ndarray) -> Peaks:
        """Upward crossings of 0 by minus the slope; see `Flow.peaks`."""
        observed = self.neurons.rules.observed
        assert observed is not None
        which, rest, passed = np.arange(x.shape[1]), np.full(x.shape[1], length), np.zeros(x.shape[1])
        above = self.neurons("rate", *x)[observed] <= 0
        for _ in range(accuracy.MAX_EVENTS):
            lanes = Lanes.of(x.copy(), rest.copy())
            lanes.above = above
            walk(self._peak, self._peak_constants[:, which], self._control, lanes, [])
            go = lanes.outcome == SPIKED
            if not go.any():
                return
            passed = (passed + lanes.elapsed)[go]
            which, x, rest = which[go], lanes.x[:, go], (rest - lanes.elapsed)[go]
            yield which, passed, x[observed]
            above = np.ones(which.size, dtype=bool)
        raise Unfinished(int(which[0]))

    def back(
        self, x: np.ndarray | None, costates: np.ndarray, time: float | np.ndarray, which: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Costates a time earlier, and the gradient: steps are made again, then reversed; see `Flow.back`."""
        assert x is not None
        steps: list[Step] = []
        self._steps(x, time, which, steps)
        constants = self._of(self._constants, which)
        bars = np.zeros_like(constants)
        before, *_ = walk_back(
            self._plain, constants, self._control, steps, costates.copy(), np.zeros(x.shape[1]), bars
        )
        learnable = self.neurons.rules.learnable
        if not learnable:
            return before, None
        return before, self._plain.parameters(self._of(self._p, which), bars)[list(learnable)]

    @property
    def reads_states(self) -> bool:
        """Always: the linearised flow depends on them."""
        return True
