"""How close neurons come to their thresholds without a spike, found by going through a trial once more."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .neurons import Neurons
from .state import State, Values
from .tape import ComponentTape, Event, Piece

__all__ = ["approaches", "slopes"]

_PARTS = 8  # of a stretch without events, in which at most one maximum is looked for
_HALVINGS = 30  # of a part around a maximum: its time to 1e-9 of the part, its value to the square of that


def slopes(values: Values, tape: ComponentTape, k: int) -> np.ndarray:
    """Rates at which the event function of a population's neurons crossed 0 in a trial, shape (crossings,).

    Parameters
    ----------
    values : Values
    tape : ComponentTape
        Of the population's component.
    k : int
        Population.
    """
    n = values.neurons[k]
    events = [e for piece in tape.pieces for e in piece.events if e.population == k]
    if not events:
        return np.empty(0)
    which = np.array([e.neuron for e in events])
    return np.asarray(n("search", *np.stack([e.x for e in events], axis=1), which=which)[1])


def approaches(values: Values, tape: ComponentTape, k: int) -> np.ndarray:
    """Largest value of the event function from which each neuron turned back without a spike, -inf if it never rose.

    That is its largest maximum over time, or value at the end of the trial where it is rising. Maxima are between
    events, and at arrivals.

    Parameters
    ----------
    values, tape, k
        As for `slopes`.

    Returns
    -------
    array, shape (n,)
        In the unit of the threshold; at most 0 but for rounding.
    """
    return _Course(values, tape, k).best


class _Course:
    """One population through one trial."""

    def __init__(self, values: Values, tape: ComponentTape, k: int) -> None:
        self.n: Neurons = values.neurons[k]
        self.k = k
        self.best = np.full(self.n.n, -np.inf)
        state = State.initial(values, k)
        free = np.zeros(self.n.n, dtype=bool)  # who could have spiked just before the instant
        fired = np.zeros(self.n.n, dtype=bool)
        everyone = np.arange(self.n.n)
        before = state.x.copy()
        for piece in tape.pieces:
            state.begin(piece)
            fired[[e.neuron for e in piece.instant if e.population == k]] = True
            if piece.end == piece.start:
                continue  # another round of the same instant, or the end
            moved = (state.x != before).any(axis=0)
            if moved.any():
                where = moved & free & ~fired & ~state.held
                self._instant(self._event(before, everyone), self._event(state.x, everyone), where)
            fired[:] = False
            self._through(state, piece)
            state.advance(piece)
            free, before = ~state.held, state.x.copy()
        g, rate = self._event(before, everyone)
        self._offer(np.where(free & (rate > 0), g, -np.inf))

    def _event(self, x: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        g, rate, *_ = self.n("search", *x, which=which)
        shape = (which.size,)
        return np.broadcast_to(g, shape), np.broadcast_to(rate, shape)

    def _offer(self, values: np.ndarray) -> None:
        np.maximum(self.best, values, out=self.best)

    def _instant(
        self, before: tuple[np.ndarray, np.ndarray], after: tuple[np.ndarray, np.ndarray], where: np.ndarray
    ) -> None:
        """A maximum that arrivals make: of what rose before and falls or jumps down, or jumps up and falls."""
        (g, rate), (then, rate_then) = before, after
        kept = where & (then >= g) & ((then > g) | (rate > 0)) & (rate_then <= 0)
        left = where & (then < g) & (rate > 0)
        self._offer(np.where(kept, then, np.where(left, g, -np.inf)))

    def _through(self, state: State, piece: Piece) -> None:
        """Offer the maxima inside a piece, after its instant."""
        own: dict[int, list[Event]] = {}
        for e in piece.events:
            if e.population == self.k:
                own.setdefault(e.neuron, []).append(e)
        rest = ~state.held
        rest[list(own)] = False
        which = np.flatnonzero(rest)
        if which.size:
            self._stretch(state.x[:, which], np.full(which.size, piece.end - piece.start), which)
        for j, events in own.items():
            self._between(state.x[:, [j]], piece, j, events)

    def _between(self, x: np.ndarray, piece: Piece, j: int, events: Sequence[Event]) -> None:
        """One neuron that spikes in a piece: up to each spike, and on from its reset."""
        which, time = np.array([j]), piece.start
        for e in events:
            self._stretch(x, np.array([e.time - time]), which)
            x, time = self.n("reset", *e.x[:, None], which=which), e.time
        if self.n.held is None:
            self._stretch(x, np.array([piece.end - time]), which)

    def _stretch(self, x: np.ndarray, length: np.ndarray, which: np.ndarray) -> None:
        """Offer the maxima inside a stretch without events."""
        _, rate = self._event(x, which)
        for part in range(1, _PARTS + 1):
            late = length * part / _PARTS
            _, slope = self._event(self.n.flow.advance(x, late, which), which)
            turns = np.flatnonzero((rate > 0) & (slope <= 0))
            if turns.size:
                low, high = late[turns] - length[turns] / _PARTS, late[turns]
                self._top(x[:, turns], low, high, which[turns])
            rate = slope

    def _top(self, x: np.ndarray, low: np.ndarray, high: np.ndarray, which: np.ndarray) -> None:
        """Offer the maximum between two times, at the first of which the event function rises."""
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            _, rate = self._event(self.n.flow.advance(x, middle, which), which)
            low, high = np.where(rate > 0, middle, low), np.where(rate > 0, high, middle)
        g, _ = self._event(self.n.flow.advance(x, low, which), which)
        np.maximum.at(self.best, which, g)
