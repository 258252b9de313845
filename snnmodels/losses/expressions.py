"""Losses that are written down: an expression over spikes and states, or a Python function with its derivative."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..templates.arguments import check_callable, check_kind, check_mapping, check_numbers, has_unit, real_array
from ..templates.errors import brief, located, suggest
from ..templates.expressions import free_names
from ..templates.network import Network
from ..templates.spike_times import with_room
from ..templates.units import evaluate_quantity, expression_dimension, unit_dimension, unit_of_dimension
from ._language import Read, Written, compiled
from .base import Loss, LossValue, alike, shown, take_times
from .integrals import Constant, Integral, integral_dimension
from .observables import FinalValues, FirstSpikes, Maxima, Observable, Samples, SpikeTimes
from .observed import check_within, checked_spike_times, labels_of, neurons_read

__all__ = ["ExpressionLoss", "FunctionLoss"]


@dataclass(frozen=True)
class ExpressionLoss(Loss):
    """A loss written as an expression; its derivative is taken symbolically.

    The expression is evaluated for everything that it names and summed over all of it: over spikes, samples or neurons
    of one population; the loss is the mean over trials. It may name

    * ``t``, the time of every spike, and ``first_spike``, that of the first spike of every neuron, in seconds;
    * ``maximum(v)`` and ``final(v)``, the largest value over time of a state and its value at the end of the trial, and
      ``sample(v)``, its values every `interval`, at the times ``t_sample``;
    * ``integral((v - v_0)**2)``, the integral over the trial of a smooth expression in states and parameters of the
      model and in constants, as one more state of the model;
    * `constants` and `targets` by name, and ``is_label``: 1 for the neuron whose number is the trial's target, else 0;
    * sums within it: ``sum_spikes(...)`` and ``sum_samples(...)`` give a number for each neuron, ``sum_neurons(...)``
      one for the trial, of which functions may be taken.

    A term counts where all that it names is there: spikes that don't happen add nothing and have no derivative
    (`silent_trials` counts the trials that lack one), and neither does what a target leaves open as ``inf`` or NaN.
    Target j of a neuron belongs to its spike or sample j. Losses of several populations are sums of such losses.

    Attributes
    ----------
    expression : str
        In the syntax of equations: arithmetic and smooth functions.
    constants : mapping of str to number, str, Quantity or array
        Values with their units (``"5*ms"``, ``5*ms``), or plain numbers without one; an array has one for each neuron.
    targets : mapping of str to str
        Names of what trials are compared with, and their base units (``"second"``, ``"1"``). A run's `targets` are then
        an array of shape ``(trials,)``, ``(trials, n)`` or ``(trials, n, k)``; with several names a mapping of them.
    population : str
        Whose spikes and states are read; the output's if empty.
    interval : float
        Seconds between samples.
    score : str
        Expression with a value for each neuron; the predicted class is the neuron in which it is largest, -1 where none
        has one. Without it the loss doesn't classify.

    Raises
    ------
    ValueError
        For an expression that can't be read or has no derivative, unknown names, or values without the right unit.

    Examples
    --------
    >>> ExpressionLoss("((t - wanted)/tau)**2", {"tau": "1*ms"}, {"wanted": "second"}).targets
    {'wanted': 'second'}
    """

    expression: str
    constants: Mapping[str, Any] = field(default_factory=dict)
    targets: Mapping[str, str] = field(default_factory=dict)
    population: str = ""
    interval: float = 1e-3
    score: str = ""

    def __post_init__(self) -> None:
        for name in ("expression", "score", "population"):
            check_kind(name, getattr(self, name), str, "text")
        check_mapping("constants", self.constants, "values by name, as in {'tau': '5*ms'}")
        check_mapping("targets", self.targets, "units by name, as in {'wanted': 'second'}")
        take_times(self)
        check_numbers(interval=self.interval)
        constants = {}
        for name, value in self.constants.items():
            with located("", f"constants[{name!r}]"):
                constants[name] = _constant(value)
        object.__setattr__(self, "constants", constants)
        for name, unit in self.targets.items():
            with located("", f"targets[{name!r}]"):
                check_kind("its unit", unit, str, "a base unit such as 'second'")
                unit_dimension(unit)
            if name in constants:
                raise ValueError(f"{name!r} is both a constant and a target; choose another name")
        object.__setattr__(self, "targets", dict(self.targets))
        for name in ("expression", "score"):
            with located("", name):
                self._compiled(name)
        used = set().union(*(w.names for w in self._expressions))
        for read in self._reads:
            inside = set(free_names(read.of)) if read.kind == "integral" else set()
            if inside & set(self.targets):
                raise ValueError(
                    f"integral({read.of}) names the target {min(inside & set(self.targets))!r}; the model that is "
                    "integrated is the same in all trials: name constants, or sample the state"
                )
            used |= inside
        for name in (*self.constants, *self.targets):
            if name not in used:
                raise ValueError(f"{name!r} is given but not used in {brief(self.expression)}; use it or remove it")
        if len(self.targets) > 1 and "is_label" in used:
            raise ValueError("is_label reads the targets as labels; name no more than one target beside it")

    @property
    def _expressions(self) -> tuple[Written, ...]:
        found = (self._compiled("expression"), self._compiled("score"))
        return tuple(w for w in found if w is not None)

    def _compiled(self, which: str) -> Written | None:
        """The expression, or the score if there is one."""
        text, names = getattr(self, which), (*self.constants, *self.targets)
        return compiled(text, names, which == "score") if text or which == "expression" else None

    @property
    def _reads(self) -> tuple[Read, ...]:
        """Everything that is read, once."""
        return tuple(dict.fromkeys(read for w in self._expressions for read in w.reads.values()))

    @property
    def observes(self) -> Observable | tuple[Observable, ...]:
        """What the expression names, in the order in which it does."""
        seen = tuple(self._observable(read) for read in self._reads)
        return seen if len(seen) > 1 else seen[0]

    def _observable(self, read: Read) -> Observable:
        match read.kind:
            case "t":
                return SpikeTimes(self.population)
            case "first_spike":
                return FirstSpikes(self.population)
            case "maximum":
                return Maxima(self.population, read.of)
            case "sample":
                return Samples(self.population, read.of, self.interval)
            case "integral":
                names = set(free_names(read.of))
                own = tuple((k, v) for k, v in sorted(self.constants.items()) if k in names)
                return Integral(self.population, read.of, own)
        return FinalValues(self.population, read.of)

    @property
    def target_names(self) -> tuple[str, ...]:
        """As `targets` says; see `Loss.target_names`."""
        return tuple(self.targets)

    def check(self, network: Network) -> None:
        """Check units; see `Loss.check`."""
        name = self.population or network.output
        model = next((p.model for p in network.populations if p.name == name), None)
        if model is None:
            return  # the observables say so
        units = {s.name: unit_dimension(s.unit) for s in model.states}
        second = unit_dimension("second")
        known = {"t_sample": second, "is_label": unit_dimension("1")}
        known |= {k: unit_dimension(constant.unit) for k, constant in self.constants.items()}
        known |= {k: unit_dimension(unit) for k, unit in self.targets.items()}
        for written in self._expressions:
            here = dict(known)
            for placeholder, read in written.reads.items():
                if read.kind in ("t", "first_spike"):
                    here[placeholder] = second
                elif isinstance(seen := self._observable(read), Integral):
                    here[placeholder] = integral_dimension(seen, model)
                elif read.of in units:
                    here[placeholder] = units[read.of]
                else:
                    raise ValueError(
                        f"{brief(written.text)}: {model.name} has no state {read.of!r}; {suggest(read.of, units)}"
                    )
            for placeholder, stage in written.stages.items():
                try:
                    here[placeholder] = expression_dimension(stage.text, here)
                except ValueError as error:
                    raise ValueError(f"the loss {brief(written.text)}: {written.in_words(str(error))}") from None

    def check_targets(self, targets: Any, network: Network, name: str = "targets", reach: float = 1.0) -> None:
        """Refuse targets of other shapes, and times that spikes are compared with after the end of the trial.

        See `Loss.check_targets`.
        """
        trials, n = len(targets), neurons_read(self.population, network)
        kinds = {read.kind for read in self._reads}
        samples = len(Samples(interval=self.interval).times(network.duration)) if "sample" in kinds else None
        if "is_label" in set().union(*(w.names for w in self._expressions)):
            labels_of(targets, trials, n, name)
        for key, unit in self.targets.items():
            array = self._given(key, targets, trials, n)
            if array.ndim == 3:
                _matched(key, array, array.shape[2] if "t" in kinds else None, samples)
            if kinds & {"t", "first_spike"} and unit_dimension(unit) == unit_dimension("second"):
                check_within(array, network, f"target {key!r}", reach)

    def evaluate(self, observed: Any, targets: np.ndarray) -> LossValue:
        """Evaluate on what is read; see `Loss.evaluate`.

        Raises
        ------
        ValueError
            Also if a value or derivative is not finite, as that of a logarithm at 0.
        """
        seen = dict(zip(self._reads, alike(self, observed), strict=True))
        arrays = {read: self._array(read, x) for read, x in seen.items()}
        trials, n = next(iter(arrays.values())).shape[:2]
        items = {read.each: x.shape[2] for read, x in arrays.items()}
        names = self._names(targets, trials, n, arrays)
        loss, *score = (_filled(w, arrays, names) for w in self._expressions)
        value, by = self._expressions[0].value(*loss, (trials, n, items))
        gradients = []
        for read, x in seen.items():
            placeholder = next((p for p, r in self._expressions[0].reads.items() if r == read), None)
            flat = np.zeros(arrays[read].shape) if placeholder is None else by[placeholder]
            gradients.append(flat.reshape(np.shape(x)) / trials)
        predictions = None
        if score:
            scores = self._expressions[1].scores(*score[0], (trials, n, items))
            predictions = np.where(np.isfinite(scores.max(axis=1)), scores.argmax(axis=1), -1)
        return LossValue(float(value.sum() / trials), shown(self, gradients), predictions)

    def silent_trials(self, observed: Any, targets: np.ndarray) -> int:
        """Count the trials in which a spike that is read is missing; see `Loss.silent_trials`.

        Spikes are asked for by the label, where the expression names it, and by every finite target of a neuron that is
        a time. Where there is neither, a trial is counted that has none of them.
        """
        seen = zip(self._reads, alike(self, observed), strict=True)
        arrays = [self._array(read, x) for read, x in seen if read.kind in ("t", "first_spike")]
        if not arrays:
            return 0
        heard = np.max([np.isfinite(x).sum(axis=2) for x in arrays], axis=0)
        asked = self._asked(targets, *heard.shape)
        lacking = ~heard.any(axis=1) if asked is None else (heard < asked).any(axis=1)
        return int(np.count_nonzero(lacking))

    def spikes_needed(self, observed: Any, targets: np.ndarray) -> np.ndarray:
        """As many as the targets that are times ask for, or the label; see `Loss.spikes_needed`."""
        asked = self._asked(targets, *np.shape(alike(self, observed)[0])[:2])
        if asked is None:
            raise ValueError(
                f"{brief(self.expression)} compares t with no target of each spike, so that it is open how many spikes "
                "of a neuron it needs; name first_spike, or give `spikes`"
            )
        return asked

    def _asked(self, targets: np.ndarray, trials: int, n: int) -> np.ndarray | None:
        """How many spikes of each neuron the targets ask for, ``(trials, n)``; None if they are not of neurons."""
        asked = None
        if "is_label" in set().union(*(w.names for w in self._expressions)):
            asked = (np.arange(n) == labels_of(targets, trials, n)[:, None]).astype(int)
        for name, unit in self.targets.items():
            if unit_dimension(unit) == unit_dimension("second"):
                array = np.asarray(_target(name, targets, len(self.targets)), dtype=float)
                if array.ndim > 1:  # else it is for any neuron
                    there = np.isfinite(array.reshape(trials, n, -1))  # spike k has target k, whatever gaps there are
                    wanted = (there * np.arange(1, there.shape[2] + 1)).max(axis=2, initial=0)
                    asked = wanted if asked is None else np.maximum(asked, wanted)
        return asked

    def _array(self, read: Read, x: np.ndarray) -> np.ndarray:
        """What was observed as ``(trials, n, items)``."""
        if read.kind == "t":
            return checked_spike_times(x)
        array = np.asarray(x, dtype=float)
        wanted = 3 if read.each == "sample" else 2
        if array.ndim != wanted:
            raise ValueError(f"{read.kind}({read.of}): expected {wanted} dimensions, got shape {array.shape}")
        return array if wanted == 3 else array[:, :, None]

    def _given(self, name: str, targets: Any, trials: int, n: int) -> np.ndarray:
        """The targets of a name, ``(trials,)``, ``(trials, n)`` or ``(trials, n, k)``."""
        array = real_array(f"target {name!r}", _target(name, targets, len(self.targets)))
        if array.shape[:1] != (trials,) or array.ndim > 3 or array.shape[1:2] not in ((), (n,)):
            raise ValueError(
                f"target {name!r} has shape {array.shape}; expected ({trials},), ({trials}, {n}) or ({trials}, {n}, k)"
            )
        return array

    def _names(
        self, targets: np.ndarray, trials: int, n: int, arrays: Mapping[Read, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Values of all names, with gaps as they are given."""
        names = {}
        for name, constant in self.constants.items():
            array = np.asarray(constant.value, dtype=float)
            if array.shape not in ((), (n,)):
                raise ValueError(f"constant {name!r} has shape {array.shape}; expected one number or shape ({n},)")
            names[name] = array.reshape(1, -1, 1)
        used = set().union(*(w.names for w in self._expressions))
        if "is_label" in used:
            label = labels_of(targets, trials, n)
            names["is_label"] = (np.arange(n) == label[:, None]).astype(float)[:, :, None]
        samples = next((x.shape[2] for read, x in arrays.items() if read.each == "sample"), None)
        if "t_sample" in used:
            if samples is None:
                raise ValueError(f"{brief(self.expression)} names t_sample, but samples nothing")
            names["t_sample"] = self.interval * np.arange(1, samples + 1)[None, None, :]
        spikes = next((x.shape[2] for read, x in arrays.items() if read.kind == "t"), None)
        for name in self.targets:
            array = self._given(name, targets, trials, n)
            single = array.ndim < 3
            names[name] = array.reshape(trials, -1, 1) if single else _matched(name, array, spikes, samples)
        return names


def _constant(value: Any) -> Constant:
    """A constant in SI base units."""
    if isinstance(value, Constant):
        return value
    if isinstance(value, str):
        number, dimension, _ = evaluate_quantity(value)
        return Constant(number, unit_of_dimension(dimension))
    unit = unit_of_dimension(value.dim) if has_unit(value) else "1"
    array = real_array("it", np.asarray(value) if has_unit(value) else value)
    if array.ndim > 1 or not np.isfinite(array).all():
        raise ValueError(f"it is {brief(value)}; expected a finite number, or one for each neuron")
    return Constant(tuple(array.tolist()) if array.ndim else float(array), unit)


def _target(name: str, targets: np.ndarray, count: int) -> Any:
    """The targets of a name."""
    found = np.asarray(targets).dtype.names
    if found is None:
        if count > 1:
            raise ValueError(f"targets: expected a mapping with {name!r}, as the loss names {count} of them")
        return targets
    if name not in found:
        given = ", ".join(map(repr, found)) or "none"
        raise ValueError(f"targets: {name!r}, which the loss reads, is missing; given: {given}")
    return targets[name]


def _matched(name: str, array: np.ndarray, spikes: int | None, samples: int | None) -> np.ndarray:
    """Targets of single spikes or samples, as many as there are of these."""
    if samples is not None:
        if array.shape[2] != samples:
            raise ValueError(f"target {name!r} has {array.shape[2]} values for each neuron and {samples} samples")
        return array
    if spikes is None:
        raise ValueError(f"target {name!r} has {array.shape[2]} values for each neuron, of which the loss reads one")
    return with_room(array[:, :, :spikes], spikes)


def _filled(
    written: Written, arrays: Mapping[Read, np.ndarray], names: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Values of placeholders and names with 0 in their gaps, and where there are none."""
    values = {placeholder: arrays[read] for placeholder, read in written.reads.items()}
    values |= {name: x for name, x in names.items() if name in written.names}
    there = {name: np.isfinite(x) for name, x in values.items()}
    gaps = {name: mask for name, mask in there.items() if not mask.all()}
    return {name: np.where(there[name], x, 0.0) if name in gaps else x for name, x in values.items()}, gaps


@dataclass(frozen=True)
class FunctionLoss(Loss):
    """A loss that is a Python function of what the network does, with its derivative.

    Attributes
    ----------
    function : callable
        ``function(observed, targets)`` returns the loss (a mean over the trials) and its derivative by what was
        observed, in the same shapes. Where `reads` are several observables, `observed` and the derivative are tuples.
        Spike times are padded with ``inf``, where the derivative must be 0. `check_gradient` compares it with
        differences.
    reads : Observable or tuple of Observable
        What the function is given.
    predict : callable, optional
        ``predict(observed)`` returns a class for each trial; without it the loss doesn't classify.
    """

    function: Callable[[Any, Any], tuple[float, Any]]
    reads: Observable | tuple[Observable, ...] = field(default_factory=SpikeTimes)
    predict: Callable[[Any], np.ndarray] | None = None

    def __post_init__(self) -> None:
        check_callable("function", self.function, "a function of what was observed and of targets")
        if self.predict is not None:
            check_callable("predict", self.predict, "a function of what was observed")

    @property
    def observes(self) -> Observable | tuple[Observable, ...]:
        """As `reads` says."""
        return self.reads

    def evaluate(self, observed: Any, targets: np.ndarray) -> LossValue:
        """Call the function and check what it returns; see `Loss.evaluate`.

        Raises
        ------
        ValueError
            If that is no finite loss with a finite derivative in the shapes of what was observed, and 0 at the padding,
            or no class for each trial.
        """
        name = getattr(self.function, "__name__", "function")
        returned = self.function(observed, targets)
        if not (isinstance(returned, tuple) and len(returned) == 2):
            raise ValueError(f"{name}: expected a tuple (loss, derivative), got {type(returned).__name__}")
        value = returned[0]
        if np.ndim(value) != 0 or not np.isfinite(value):
            raise ValueError(f"{name}: expected the loss to be one finite number, got {brief(value)}")
        gradients = []
        for seen, x, given in zip(self.observables, alike(self, observed), alike(self, returned[1]), strict=True):
            gradient = real_array(f"{name}: derivative by {seen}", given)
            if gradient.shape != np.shape(x):
                raise ValueError(f"{name}: expected a derivative of shape {np.shape(x)}, got {gradient.shape}")
            if not np.isfinite(gradient).all():
                raise ValueError(f"{name}: the derivative is NaN or inf for {np.sum(~np.isfinite(gradient))} values")
            if gradient[np.isinf(x)].any():
                raise ValueError(f"{name}: the derivative must be 0 where a spike time is inf (padding)")
            gradients.append(gradient)
        predictions = None
        if self.predict is not None:
            predictions, trials = np.asarray(self.predict(observed)), len(alike(self, observed)[0])
            if predictions.shape != (trials,) or not np.issubdtype(predictions.dtype, np.integer):
                raise ValueError(f"predict: expected {trials} integers, got {predictions.dtype} {predictions.shape}")
        return LossValue(float(value), shown(self, gradients), predictions)
