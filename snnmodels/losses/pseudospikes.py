"""Spikes that are missing, put where they would come after the trial, so that a loss sees them appear smoothly.

A neuron whose potential diverges at a spike (quadratic, theta) is never tangent to its threshold: the number of its
spikes changes where one crosses the end of the trial, and there alone. If from the end T on its input were a constant
at which it spikes, the next spike would come a time D(v(T)) later, which the state at the end decides. D is 0 for a
neuron that is just about to spike, so that this time continues that of the spike which has left the trial.
Source: Klos & Memmesheimer (2023), arXiv:2309.14523.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp

from ..symbolic.declaration import hybrid_system, threshold_sides
from ..symbolic.flows import evaluate
from ..symbolic.parsing import parse_expression, print_expression, symbol
from ..templates.arguments import check_kind, check_whole
from ..templates.constraints import broken
from ..templates.errors import brief
from ..templates.groups import Population
from ..templates.model import DRIVE
from ..templates.network import Network
from ..templates.quantities import in_unit
from ..templates.units import quantity_in, variables_in
from .base import Loss, LossValue, SumOfLosses, alike, evaluated, shown
from .integrals import Integral
from .observables import FinalValues, FirstSpikes, Observable, SpikeTimes
from .observed import checked_spike_times

__all__ = ["Pseudospikes"]

_CLOSED_FORM = 1e-9  # how far a declared time may be from what the equations say, relative
_APART = 1e-6  # relative, of the values with which it is compared
_REACH = 10.0  # lengths of a trial: beyond it no spike is wanted, but a time was given in another unit
_PLACES = (0.1, 0.4, 0.7, 0.95)  # between reset and threshold, where it is compared


@dataclass(frozen=True)
class Pseudospikes(Loss):
    """A loss on spike times in which missing spikes are replaced by pseudospikes, after the end of the trial.

    A neuron that has fewer spikes than the loss needs gets the rest where they would come if its input were constant
    from the end of the trial on: its file says when (``[pseudospike]``). These times are smooth functions of the state
    at the end, so that the loss has an exact gradient where spikes are missing, too, which makes them come. As a spike
    crosses the end, its time and the loss are continuous, and for the theta neuron so is the gradient. For a neuron
    that is cut off at a finite potential the derivative of that time changes there by a factor: dv/dt at the cut with
    the input at the end over that with the constant.

    Predictions are those of spikes alone. Pseudospikes act on no other neuron: gradients reach other populations
    through spikes.

    Attributes
    ----------
    loss : Loss
        That of the spike times, of one or several populations; no sum.
    drive : str, number or Quantity, optional
        The constant, in the unit of the input; what the neuron's file says unless given.
    spikes : int, optional
        How many spikes each neuron has at least, with pseudospikes; as many as the loss needs unless given.

    Raises
    ------
    ValueError
        For a loss that reads no spike times, or their number alone.

    Examples
    --------
    >>> Pseudospikes(TTFSCrossEntropy(), drive=0.5).drive
    0.5
    """

    loss: Loss
    drive: Any = None
    spikes: int | None = None

    def __post_init__(self) -> None:
        check_kind("loss", self.loss, Loss, "a Loss")
        if isinstance(self.loss, SumOfLosses | Pseudospikes):
            raise ValueError(f"pseudospikes are for one loss, not for a {type(self.loss).__name__}; wrap its terms")
        if self.loss.no_gradient or self.loss.surrogates:
            raise ValueError(f"{type(self.loss).__name__} counts spikes, and a pseudospike is none; leave it as it is")
        if not any(isinstance(seen, SpikeTimes | FirstSpikes) for seen in self.loss.observables):
            raise ValueError(f"{type(self.loss).__name__} reads no spike times, of which some could be missing")
        if self.spikes is not None:
            check_whole("spikes", self.spikes)

    @property
    def observes(self) -> Observable | tuple[Observable, ...]:
        """Known for a network alone.

        Raises
        ------
        ValueError
        """
        raise ValueError("what pseudospikes read depends on the neurons; take loss.for_network(network)")

    def evaluate(self, observed: Any, targets: np.ndarray) -> LossValue:
        """Possible for a network alone.

        Raises
        ------
        ValueError
        """
        return self.observes  # type: ignore[return-value]  # which says so

    def for_network(self, network: Network) -> Loss:
        """The loss with what it reads of a network, whose parameters are taken as they are.

        Parameters
        ----------
        network : Network

        Raises
        ------
        ValueError
            If a neuron that is read declares no pseudospikes, a mechanism has changed what its file says of them, or it
            wouldn't spike with the constant.
        """
        loss = self.loss.for_network(network)
        loss.check(network)
        read = [seen for seen in loss.observables if isinstance(seen, SpikeTimes | FirstSpikes)]
        runs = {seen.population: _free_run(seen, network, self.drive) for seen in read}
        return _WithPseudospikes(loss, tuple(runs.values()), self.spikes)

    @property
    def target_names(self) -> tuple[str, ...]:
        """Those of the loss; see `Loss.target_names`."""
        return self.loss.target_names

    def check_targets(self, targets: Any, network: Network, name: str = "targets", reach: float = 1.0) -> None:
        """Check those of the loss, which may be later than the trial, as pseudospikes are; see `Loss.check_targets`."""
        self.loss.check_targets(targets, network, name, _REACH * reach)

    def check(self, network: Network) -> None:
        """Check the loss, and that there can be pseudospikes; see `Loss.check`."""
        self.for_network(network)


@dataclass(frozen=True)
class _FreeRun:
    """The neurons of a population after the end of the trial.

    Attributes
    ----------
    population : str
        As observables name it.
    name : str
        The population's.
    state : str
        What decides when the neuron spikes.
    first, interval : str
        Expressions of the time until the first pseudospike, in the state, and of that between two of them.
    drive : float
    constraints : tuple of str
        What must hold so that the neuron spikes.
    values : mapping of str to float or array
        Parameters that are not learned.
    learned : tuple of str
        Parameters whose values are read, as they change: each as the integral of itself over the trial.
    duration : float
        Of a trial, in seconds.
    """

    population: str
    name: str
    state: str
    first: str
    interval: str
    drive: float
    constraints: tuple[str, ...]
    values: Mapping[str, Any]
    learned: tuple[str, ...]
    duration: float

    @property
    def observables(self) -> tuple[Observable, ...]:
        """What is read: the state at the end, and what is learned."""
        return FinalValues(self.population, self.state), *(Integral(self.population, name) for name in self.learned)

    def numbers(self, read: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Values of all names, ``(trials, n)``, of those of the observables.

        Raises
        ------
        ValueError
            If the neurons wouldn't spike.
        """
        shape = np.shape(read[0])
        values = {name: np.broadcast_to(np.asarray(x, dtype=float), shape) for name, x in self.values.items()}
        values |= {name: x / self.duration for name, x in zip(self.learned, read[1:], strict=True)}
        values |= {DRIVE: np.full(shape, self.drive), self.state: np.asarray(read[0])}
        # all trials have the same parameters
        if shape[0] and (problem := broken(self.constraints, {name: x[0] for name, x in values.items()})):
            raise ValueError(
                f"population {self.name!r} has no pseudospikes: {problem}; take a `drive` at which its neurons spike"
            )
        return values

    def times(self, numbers: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Until the first pseudospike, and between two of them, each ``(trials, n)``."""
        first, interval = (_computed(_expression(text), numbers) for text in (self.first, self.interval))
        if not np.isfinite(first).all():
            trial, neuron = (int(k) for k in np.argwhere(~np.isfinite(first))[0])
            raise ValueError(
                f"population {self.name!r}: the time of a pseudospike is not finite in trial {trial}, neuron {neuron}, "
                f"with {self.state} = {numbers[self.state][trial, neuron]:g} at the end"
            )
        return first, interval

    def slopes(self, numbers: Mapping[str, np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Derivatives of both times by every observable."""
        found = []
        for name in (self.state, *self.learned):
            per = 1.0 if name == self.state else 1 / self.duration
            first, interval = (_computed(_expression(text, name), numbers) for text in (self.first, self.interval))
            found.append((per * first, per * interval))
        return found


@lru_cache(256)  # a training asks in every batch
def _expression(text: str, by: str = "") -> sp.Expr:
    """An expression, or its derivative by a name."""
    return sp.diff(parse_expression(text), symbol(by)) if by else parse_expression(text)


def _computed(expression: sp.Expr, numbers: Mapping[str, np.ndarray]) -> np.ndarray:
    """The values of an expression in the shape of those of the names."""
    shape = next(iter(numbers.values())).shape
    return np.broadcast_to(evaluate(expression, {s: numbers[s.name] for s in expression.free_symbols}), shape)


def _free_run(seen: Observable, network: Network, drive: Any) -> _FreeRun:
    """What goes on after the end in a population of which spikes are read."""
    p = network.population(seen.primitive(network).population)
    declared = p.model.pseudospike
    if declared is None:
        raise ValueError(
            f"population {p.name!r}: {p.model.name} declares no pseudospikes, as qif and theta do; take the loss "
            "without them, or write [pseudospike] in the file of the neuron (equations/README.md says how)"
        )
    where = f"population {p.name!r}: drive"
    unit = p.model.inputs[declared.input].unit
    if drive is None:
        constant = declared.drive
    elif isinstance(drive, str):
        try:
            constant = quantity_in(drive, unit)[0]
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
    else:
        given = in_unit(drive, unit, where)
        if given.ndim or not np.isfinite(given):
            raise ValueError(f"{where} is {brief(drive)}; expected one finite number")
        constant = float(given)
    state, first, interval = _closed_form(p)
    used = sorted({s.name for e in (first, interval) for s in e.free_symbols} - {state.name, DRIVE})
    names = sorted({*used, *(n for text in declared.constraints for n in variables_in(text))} - {DRIVE})
    run = _FreeRun(
        seen.population,
        p.name,
        state.name,
        print_expression(first),
        print_expression(interval),
        constant,
        declared.constraints,
        {name: p.value(name) for name in names if name not in p.learnable},
        tuple(name for name in names if name in p.learnable),
        network.duration,
    )
    start = np.zeros((1, p.n))
    run.numbers([start, *(start + p.value(name) * run.duration for name in run.learned)])  # says what doesn't hold
    _check_closed_form(p, run, first)
    return run


def _closed_form(p: Population) -> tuple[sp.Symbol, sp.Expr, sp.Expr]:
    """The state that decides about pseudospikes, the time until the first in it, and that between two.

    Between two, the neuron goes from where the reset puts it to its threshold.
    """
    model = p.model
    assert model.pseudospike is not None
    if model.refractory is not None:
        raise _changed(p, "it has a refractory period, and no state says at the end how much of that is over")
    system, (state, threshold) = hybrid_system(model), threshold_sides(model)
    first = parse_expression(model.pseudospike.time)
    if state not in system.states or not first.free_symbols & set(system.states) <= {state}:
        raise _changed(p, f"their time has to depend on one state, the left side of {model.threshold!r}")
    interval = first.subs(state, system.h[state].subs(state, threshold))
    if others := interval.free_symbols & set(system.states):
        raise _changed(p, f"its threshold or reset reads {min(s.name for s in others)!r}")
    return state, first, interval


def _changed(p: Population, why: str) -> ValueError:
    return ValueError(
        f"population {p.name!r}: the pseudospikes that the neuron's file declares are not those of {p.model.name}: "
        f"{why}; take the loss without them, or a model without what changes this"
    )


def _check_closed_form(p: Population, run: _FreeRun, first: sp.Expr) -> None:
    """Refuse a time that is not what the equations say: it falls by dt in dt, and is 0 at the threshold.

    A mechanism may have changed either. Other states are drawn, and parameters differ a little from what they are, so
    that nothing holds by chance, or only until something is learned.
    """
    model, rng = p.model, np.random.default_rng(0)
    assert model.pseudospike is not None
    state, threshold = threshold_sides(model)
    after = hybrid_system(model).h
    shape = (len(_PLACES), p.n)
    numbers = {x.name: rng.normal(size=shape) for x in after} | {DRIVE: np.full(shape, run.drive)}
    for parameter in model.parameters.values():
        own = np.asarray(p.value(parameter.name))
        size = np.where(own == 0, parameter.scale or 1.0, own)
        numbers[parameter.name] = own + _APART * size * rng.normal(size=shape)
    numbers[state.name] = top = _computed(threshold, numbers)
    bottom = _computed(after[state], numbers)
    numbers[state.name] = bottom + np.array(_PLACES)[:, None] * (top - bottom)
    free = parse_expression(model.pseudospike.derivatives[state.name])
    with np.errstate(all="ignore"):
        flow = _computed(sp.diff(first, state) * free + 1, numbers)
        end = _computed(first.subs(state, threshold), numbers) / _computed(_expression(run.interval), numbers)
    if not (np.abs(flow) < _CLOSED_FORM).all():
        raise _changed(p, f"as time passes, their time decreases otherwise than d{state}/dt says")
    if not (np.abs(end) < _CLOSED_FORM).all():
        raise _changed(p, f"their time is not 0 at the threshold, {model.threshold!r}")


@dataclass(frozen=True)
class _WithPseudospikes(Loss):
    """`Pseudospikes` of one network: the loss, and what goes on after the end."""

    loss: Loss
    runs: tuple[_FreeRun, ...]
    spikes: int | None

    @property
    def observes(self) -> Observable | tuple[Observable, ...]:
        """What the loss reads, then what the runs do."""
        return (*self.loss.observables, *(seen for run in self.runs for seen in run.observables))

    def evaluate(self, observed: Any, targets: np.ndarray) -> LossValue:
        """Evaluate the loss on spikes and pseudospikes; see `Loss.evaluate`.

        Raises
        ------
        ValueError
            Also where the neurons wouldn't spike with the constant, as parameters have been learned.
        """
        own, free = self._parts(observed)
        filled = self._filled(own, free, targets)
        found, by = evaluated(self.loss, shown(self.loss, [x for x, _ in filled]), targets)
        slopes = {run.population: run.slopes(numbers) for run, numbers in free}
        by_free = {place: [np.zeros(first.shape) for first, _ in found] for place, found in slopes.items()}
        gradients = []
        for seen, x, (_, ahead), slope in zip(self.loss.observables, own, filled, by, strict=True):
            if ahead is None:
                gradients.append(slope)
                continue
            slope = np.reshape(slope, ahead.shape)
            there = np.where(ahead < 0, slope, 0.0)[:, :, : np.shape(x)[2] if x.ndim == 3 else 1]
            gradients.append(there.reshape(np.shape(x)))
            later = np.where(ahead >= 0, slope, 0.0)
            apart = (later * np.maximum(ahead, 0)).sum(axis=2)
            for total, (first, interval) in zip(by_free[seen.population], slopes[seen.population], strict=True):
                total += later.sum(axis=2) * first + apart * interval
        gradients += [g for run, _ in free for g in by_free[run.population]]
        predictions = found.predictions
        if predictions is not None:
            predictions = self.loss.evaluate(shown(self.loss, own), targets).predictions
        return LossValue(found.value, tuple(gradients), predictions)

    @property
    def target_names(self) -> tuple[str, ...]:
        """Those of the loss; see `Loss.target_names`."""
        return self.loss.target_names

    def check_targets(self, targets: Any, network: Network, name: str = "targets", reach: float = 1.0) -> None:
        """Check those of the loss; see `Pseudospikes.check_targets`."""
        self.loss.check_targets(targets, network, name, _REACH * reach)

    def silent_trials(self, observed: Any, targets: np.ndarray) -> int:
        """Count the trials in which a spike is missing and there is no pseudospike; see `Loss.silent_trials`."""
        own, free = self._parts(observed)
        return self.loss.silent_trials(shown(self.loss, [x for x, _ in self._filled(own, free, targets)]), targets)

    def pseudospikes(self, observed: Any, targets: np.ndarray) -> dict[str, float]:
        """Mean number of them per trial; see `Loss.pseudospikes`."""
        own, free = self._parts(observed)
        numbers: dict[str, float] = {}
        names = {run.population: run.name for run in self.runs}
        for seen, (_, ahead) in zip(self.loss.observables, self._filled(own, free, targets), strict=True):
            if ahead is not None:
                name, number = names[seen.population], float(np.count_nonzero(ahead >= 0)) / max(len(ahead), 1)
                numbers[name] = max(number, numbers.get(name, 0.0))
        return numbers

    def _parts(self, observed: Any) -> tuple[list[np.ndarray], list[tuple[_FreeRun, dict[str, np.ndarray]]]]:
        """What the loss reads, and of every run the values of its names."""
        values = [np.asarray(x, dtype=float) for x in alike(self, observed)]
        start = len(self.loss.observables)
        own, free = values[:start], []
        for run in self.runs:
            end = start + len(run.observables)
            free.append((run, run.numbers(values[start:end])))
            start = end
        return own, free

    def _filled(
        self, own: Sequence[np.ndarray], free: Sequence[tuple[_FreeRun, Mapping[str, np.ndarray]]], targets: Any
    ) -> list[tuple[np.ndarray, np.ndarray | None]]:
        """Every array that the loss reads with its pseudospikes, and where these are.

        The latter is the number of intervals between the first pseudospike and this one, -1 where there is none, shape
        ``(trials, n, k)``; None for what is no spike time.
        """
        runs = {run.population: (run.duration, *run.times(numbers)) for run, numbers in free}
        needed: np.ndarray | None = None
        filled: list[tuple[np.ndarray, np.ndarray | None]] = []
        for seen, x in zip(self.loss.observables, own, strict=True):
            if not isinstance(seen, SpikeTimes | FirstSpikes):
                filled.append((x, None))
                continue
            end, first, interval = runs[seen.population]
            times = checked_spike_times(x)
            if isinstance(seen, FirstSpikes):
                wanted = np.ones(times.shape[:2], dtype=int)
            elif self.spikes is not None:
                wanted = np.full(times.shape[:2], self.spikes)
            else:
                if needed is None:
                    needed = self.loss.spikes_needed(shown(self.loss, own), targets)
                wanted = needed
            order = np.arange(max(times.shape[2], int(wanted.max(initial=0))))
            spikes = np.isfinite(times).sum(axis=2)[:, :, None]
            ahead = np.where((order >= spikes) & (order < wanted[:, :, None]), order - spikes, -1)
            # states are read before what happens at that time: after a spike at the end there is an interval more
            at_end = np.where(np.isfinite(times), times, 0.0).max(axis=2, initial=0.0) >= end
            ahead += (ahead >= 0) & at_end[:, :, None]
            all_times = np.full(ahead.shape, np.inf)
            all_times[:, :, : times.shape[2]] = times
            later = end + first[:, :, None] + np.maximum(ahead, 0) * interval[:, :, None]
            all_times = np.where(ahead >= 0, later, all_times)
            filled.append((all_times if x.ndim == 3 else all_times[:, :, 0], ahead))
        return filled
