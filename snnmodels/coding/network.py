"""A spike-coding network: a decoder, a joint loss and values for its parameters.

The weights follow from the decoder alone; the values of the cost parameters sit in the threshold. They may be numbers,
one number per neuron, time courses, or set by a homeostat, and may change at any instant without new weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, get_args

import numpy as np
import sympy as sp

from ..symbolic.parsing import symbol
from ..templates.arguments import check_choice, check_kind, check_mapping, check_numbers, real_array
from ..templates.errors import brief
from .factors import Factors, Recurrence
from .loss import NORM, JointLoss
from .signals import Signal, step_matrices
from .spike_rule import SpikeRule, derive

__all__ = ["CodingNetwork", "Form", "Homeostat", "TimeCourse", "Value"]

Array = np.ndarray
Form = Literal["threshold", "weight"]
Scope = Literal["population", "neuron"]


@dataclass(frozen=True)
class TimeCourse:
    """A parameter that changes in time: constant within bins of `dt` seconds, the last value held for ever.

    Attributes
    ----------
    values : array, shape (bins,), or (bins, N) for a value per neuron
    dt : float
        Seconds.
    """

    values: Array
    dt: float

    def __post_init__(self) -> None:
        """Refuse anything but rows of finite numbers."""
        object.__setattr__(self, "values", real_array("values of a time course", self.values))
        check_numbers(dt=self.dt)
        if np.ndim(self.values) not in (1, 2) or 0 in np.shape(self.values) or not np.isfinite(self.values).all():
            raise ValueError(
                "a time course needs a one-dimensional, non-empty array of finite values, or one of shape (bins, N)"
            )
        if not self.dt > 0:
            raise ValueError(f"time course dt must be positive seconds, not {self.dt!r}")

    @classmethod
    def from_steps(cls, steps: Mapping[float, float | Array], duration: float, dt: float) -> TimeCourse:
        """A staircase of values that hold from a time on.

        Parameters
        ----------
        steps : mapping of float to float, or to arrays of shape (N,)
            Values by time in seconds; the first time must be 0.
        duration, dt : float
            Length of the course and of a bin, in seconds.

        Raises
        ------
        ValueError
            If the first time isn't 0, or a value is not finite.
        """
        if not dt > 0:
            raise ValueError(f"a time course needs bins of positive seconds, not {dt!r}")
        times = sorted(steps)
        if not times or times[0] != 0:
            raise ValueError("a staircase must start at time 0")
        bins = np.arange(max(round(duration / dt), 1)) * dt
        index = np.searchsorted(np.asarray(times) - dt / 2, bins, side="right") - 1
        return cls(np.asarray([steps[t] for t in times], float)[index], dt)

    def on_grid(self, steps: int, dt: float) -> Array:
        """Value in every step of a simulation, shape (steps,) or (steps, N).

        Parameters
        ----------
        steps : int
            Number of time steps.
        dt : float
            Their length in seconds.

        Raises
        ------
        ValueError
            If a bin is not a whole number of steps.
        """
        ratio = round(self.dt / dt)
        if ratio < 1 or abs(ratio * dt / self.dt - 1) > 1e-6:
            raise ValueError(f"time course bins of {self.dt} s are not a multiple of the time step {dt} s")
        return np.asarray(self.values, float)[np.minimum(np.arange(steps) // ratio, len(self.values) - 1)]


SPAN = 10.0
"""A controlled parameter stays within this factor of its initial value where no bounds are given."""


@dataclass(frozen=True)
class Homeostat:
    """Control of a cost parameter p by an energy budget: d ln p/dt = gain (energy rate / budget - 1), within bounds.

    The control is integral, so without bounds p would fall as long as a silent population saves its budget, and the
    population would spend the savings in one burst when its input returns (integrator wind-up). ln p itself is kept
    within the bounds, not only what is used of it, so that it leaves them at the first spike above the budget
    (Åström & Rundqwist 1989, conditional integration).

    Attributes
    ----------
    initial : float
        p at time 0, positive.
    budget : float, array of shape (N,) or TimeCourse
        Energy per second that the population may use, or every neuron with scope "neuron"; with unit energies, spikes
        per second.
    gain : float
        In 1/s.
    energy : array, shape (N,), or None
        Energy of one spike of each neuron, for example its number of synapses; None for 1.
    minimum, maximum : float or None
        Bounds of p; None for a tenth of the initial value, and ten times it.
    scope : "population" or "neuron"
        Whether all neurons share p and the budget, or each has its own.
    """

    initial: float
    budget: float | Array | TimeCourse
    gain: float
    energy: Array | None = None
    minimum: float | None = None
    maximum: float | None = None
    scope: Scope = "population"

    def __post_init__(self) -> None:
        """Refuse values for which the logarithm or the quotient do not exist, and bounds without the initial value."""
        check_numbers(initial=self.initial, gain=self.gain)
        check_choice("scope", self.scope, get_args(Scope))
        if self.energy is not None:
            object.__setattr__(self, "energy", real_array("energy", self.energy))
        if isinstance(self.budget, TimeCourse):
            budgets = self.budget.values
        elif isinstance(self.budget, list | tuple | np.ndarray):
            object.__setattr__(self, "budget", budgets := real_array("budget", self.budget))
        else:
            check_numbers(budget=self.budget)
            budgets = np.asarray([self.budget])
        if not self.initial > 0:
            raise ValueError(f"a homeostat needs a positive initial value, not {self.initial!r}")
        if not (np.asarray(budgets) > 0).all() or not np.isfinite(budgets).all():
            raise ValueError("a homeostat needs a positive budget")
        per_neuron = isinstance(self.budget, np.ndarray) or np.ndim(budgets) == 2
        if per_neuron and self.scope == "population":
            raise ValueError("a budget for each neuron needs scope='neuron'; a population has one budget")
        if not self.gain > 0:
            raise ValueError(f"a homeostat needs a positive gain, not {self.gain!r}")
        for key in ("minimum", "maximum"):
            if getattr(self, key) is not None:
                check_numbers(**{key: getattr(self, key)})
        if not 0 < self.low <= self.initial <= self.high:
            raise ValueError(
                "a homeostat needs 0 < minimum <= initial <= maximum, not "
                f"{self.low!r}, {self.initial!r}, {self.high!r}"
            )

    @property
    def low(self) -> float:
        """The least p."""
        return self.initial / SPAN if self.minimum is None else self.minimum

    @property
    def high(self) -> float:
        """The greatest p."""
        return self.initial * SPAN if self.maximum is None else self.maximum

    def budget_in_steps(self, steps: int, dt: float) -> Array:
        """The budget in every step, shape (steps,), or (steps, N) where it is one per neuron.

        Parameters
        ----------
        steps : int
        dt : float
            Of the simulation, in seconds.
        """
        if isinstance(self.budget, TimeCourse):
            return self.budget.on_grid(steps, dt)
        return np.broadcast_to(self.budget, (steps, *np.shape(self.budget)))


Value = float | Array | TimeCourse | Homeostat


@dataclass(frozen=True)
class CodingNetwork:
    """A network ready to be simulated, by `simulate` (NumPy) or `simulate_brian`.

    Attributes
    ----------
    decoder : array, shape (M, N)
    loss : JointLoss
    parameters : mapping of str to Value
        Replaces the defaults of the loss.
    delay : float
        Seconds from a spike to its effect on other neurons and on population traces. A neuron's own reset and its own
        traces are immediate.
    noise : float
        Standard deviation that the voltage noise alone would give a voltage in the long run.
    name : str
    """

    decoder: Array
    loss: JointLoss
    parameters: Mapping[str, Value] = field(default_factory=dict)
    delay: float = 0.0
    noise: float = 0.0
    name: str = "coding network"

    def __repr__(self) -> str:
        costs = ", ".join(cost.name for cost in self.loss.costs)
        replaced = [f"{name} = {brief(value)}" for name, value in self.parameters.items()]
        about = (f"{self.n} neurons code {len(self.decoder)} signals", f"costs {costs}", *replaced)
        return f"<CodingNetwork {self.name!r}: {'; '.join(about)}>"

    def __post_init__(self) -> None:
        """Check shapes and names."""
        object.__setattr__(self, "decoder", real_array("the decoder", self.decoder))
        check_kind("loss", self.loss, JointLoss, "a JointLoss, as joint_loss gives")
        check_numbers(delay=self.delay, noise=self.noise)
        check_mapping("parameters", self.parameters, "values by name")
        if np.ndim(self.decoder) != 2 or 0 in self.decoder.shape or not np.isfinite(self.decoder).all():
            raise ValueError(f"the decoder must be a finite matrix of shape (M, N), not {np.shape(self.decoder)}")
        if (np.linalg.norm(self.decoder, axis=0) == 0).any():
            raise ValueError("every column of the decoder must be non-zero: a neuron without effect can't help")
        for key, matrix in (("weight", self.loss.weight), ("dynamics", self.loss.dynamics)):
            if matrix is not None and len(matrix) != self.dimensions:
                raise ValueError(f"{key} of the loss is {matrix.shape}, but the decoder has {self.dimensions} signals")
        if self.delay < 0 or self.noise < 0:
            raise ValueError("delay and noise must not be negative, and finite")
        self._check_parameters()

    def _check_parameters(self) -> None:
        population = {
            s.name for c in self.loss.costs if self.loss.scope_of(c) == "population" for s in c.expression.free_symbols
        }
        in_jumps = {s.name for t in self.loss.traces.values() for s in t.jump.free_symbols}
        for name, value in self.parameters.items():
            if name not in self.loss.parameters:
                raise ValueError(
                    f"{name!r} is not a parameter of the loss; it has {', '.join(self.loss.parameters) or 'none'}"
                )
            if isinstance(value, TimeCourse | Homeostat):
                if name in in_jumps:
                    raise ValueError(f"{name!r} scales the jump of a trace and must stay constant")
                self._check_per_neuron(name, value, name in population)
                continue
            value = real_array(f"{name!r}", value)
            if np.ndim(value) and np.shape(value) != (self.n,):
                raise ValueError(f"{name!r} has shape {np.shape(value)}; use one number, or one per neuron ({self.n},)")
            if np.ndim(value) and name in population:
                raise ValueError(f"{name!r} belongs to a population cost and must be one number")
            if not np.isfinite(value).all():
                raise ValueError(f"{name!r} must be finite")

    def _check_per_neuron(self, name: str, value: TimeCourse | Homeostat, of_population: bool) -> None:
        """What has a value for each neuron has N of them, and belongs to a cost of each neuron."""
        budget = value.budget if isinstance(value, Homeostat) else value
        values = budget.values[0] if isinstance(budget, TimeCourse) else budget
        if np.ndim(values) and np.shape(values) != (self.n,):
            raise ValueError(f"{name!r} has {np.size(values)} values at a time; use one, or one per neuron ({self.n})")
        if isinstance(value, Homeostat) and value.energy is not None and value.energy.shape != (self.n,):
            raise ValueError(f"the energy of {name!r} has shape {value.energy.shape}; use one per neuron ({self.n},)")
        own = value.scope == "neuron" if isinstance(value, Homeostat) else np.ndim(values) > 0
        if own and of_population:
            raise ValueError(f"{name!r} belongs to a population cost and must be one number")

    @property
    def dimensions(self) -> int:
        """M, the number of signals."""
        return self.decoder.shape[0]

    @property
    def n(self) -> int:
        """N, the number of neurons."""
        return self.decoder.shape[1]

    @property
    def tau(self) -> float:
        """Time constant of the read-out in seconds."""
        return self.loss.traces[self.loss.readout].tau

    @cached_property
    def rule(self) -> SpikeRule:
        """The derived spike rule."""
        return derive(self.loss)

    @cached_property
    def metric(self) -> Array:
        """W, shape (M, M)."""
        return np.eye(self.dimensions) if self.loss.weight is None else self.loss.weight

    @cached_property
    def encoder(self) -> Array:
        """Feed-forward weights DᵀW, shape (N, M)."""
        return self.decoder.T @ self.metric

    @cached_property
    def norms(self) -> Array:
        """d_i, the lengths of the columns in the metric W, shape (N,)."""
        return np.sqrt(np.einsum("im,mi->i", self.encoder, self.decoder))

    def with_parameters(self, **parameters: Value) -> CodingNetwork:
        """The same network, same weights, with other values of the cost parameters."""
        return replace(self, parameters={**self.parameters, **parameters})

    def rescaled(self, factor: float) -> CodingNetwork:
        """Another network whose decoder, and with it every weight, is `factor` times this one's ("retrained")."""
        return replace(self, decoder=self.decoder * factor)

    def value(self, name: str) -> Value:
        """The value of a parameter: the network's own, else the default."""
        return self.parameters.get(name, self.loss.parameters[name].value)

    @property
    def homeostats(self) -> dict[str, Homeostat]:
        """Those among the values, by parameter."""
        return {p: h for p in self.loss.parameters if isinstance(h := self.value(p), Homeostat)}

    def constants(self) -> dict[str, float | Array]:
        """Parameters that don't change in time, and the decoder norms under the name ``d``."""
        fixed = {p: self.value(p) for p in self.loss.parameters}
        return {NORM.name: self.norms} | {p: v for p, v in fixed.items() if not isinstance(v, TimeCourse | Homeostat)}

    def evaluate(self, expression: sp.Expr) -> Array:
        """An expression in the norm d and constant parameters, per neuron, shape (N,)."""
        constants = self.constants()
        names = sorted(s.name for s in expression.free_symbols)
        missing = [n for n in names if n not in constants]
        if missing:
            raise ValueError(f"{missing[0]!r} changes in time, so {expression} has no constant value")
        function = sp.lambdify([symbol(n) for n in names], expression, "numpy")
        return np.broadcast_to(np.asarray(function(*[constants[n] for n in names]), float), (self.n,)).copy()

    def jump(self, trace: str) -> Array:
        """What a spike of each neuron adds to a trace, shape (N,)."""
        return self.evaluate(self.loss.traces[trace].jump)

    def recurrent_weights(self, form: Form = "threshold") -> Array:
        """What a spike of neuron j (column) subtracts from the voltage of neuron i (row), shape (N, N).

        Raises
        ------
        ValueError
            For the weight form of costs that are not quadratic or whose weights change in time.
        """
        return self.recurrent_factors(form).dense()

    def recurrent_factors(self, form: Form = "threshold") -> Factors:
        """The same weights as DᵀW times D; the weight form adds to the diagonal, and a column per population trace.

        Raises
        ------
        ValueError
            As for `recurrent_weights`.
        """
        left, right, diagonal = [self.encoder], [self.decoder], np.zeros(self.n)
        if form == "weight":
            self._check_weight_form()
            for trace, weight in self.rule.activity_weights.items():
                if self.loss.traces[trace].scope == "neuron":
                    diagonal += self.evaluate(weight)
                    continue
                coefficient = self.evaluate((self.rule.coefficients or {})[trace])
                # a cost that is off would only raise the rank
                if coefficient.any():
                    left.append(coefficient[:, None])
                    right.append(self.jump(trace)[None, :])
        return Factors(np.hstack(left), np.vstack(right), diagonal)

    def _check_weight_form(self) -> None:
        if self.delay:
            raise ValueError("the weight form is equivalent only without delays; use form='threshold'")
        # reading the currents raises for costs that are not quadratic, evaluating them for weights that change
        for current in self.rule.currents.values():
            names = {s.name for s in current.free_symbols}
            moving = [p for p in self.loss.parameters if p in names and p not in self.constants()]
            if moving:
                raise ValueError(f"{moving[0]!r} changes in time and sits in the weights; use form='threshold'")

    def drive(self, signal: Signal) -> Array:
        """What the signal adds to x - D r in every step, before encoding: shape (steps, M).

        x_{k+1} - e x_k with e = exp(-dt/tau), or Q c_k where the network implements the dynamics of the signal.

        Raises
        ------
        ValueError
            If the signal doesn't fit the network.
        """
        if signal.dimensions != self.dimensions:
            raise ValueError(f"the signal has {signal.dimensions} dimensions, the decoder {self.dimensions}")
        if self.loss.dynamics is None:
            return signal.values[1:] - np.exp(-signal.dt / self.tau) * signal.values[:-1]
        if signal.drive is None:
            raise ValueError("the loss declares dynamics, so the signal needs a drive: use dynamical_signal()")
        _, gain = step_matrices(self.loss.dynamics, signal.dt)
        return signal.drive @ gain.T

    def chosen_recurrence(self, form: Form, asked: Recurrence | None) -> Recurrence:
        """What is asked for, or, where nothing is, the low-rank form whenever its rank is below the number of neurons.

        A step costs both forms N times M operations, for the signal has to be encoded anyhow, and a spike costs the
        dense form N more: the low-rank form never does more work then, and takes 2 M N numbers instead of N².

        Raises
        ------
        ValueError
            For anything but "dense", "low_rank" and None.
        """
        if asked is not None:
            check_choice("recurrence", asked, get_args(Recurrence))
            return asked
        return "low_rank" if self.recurrent_factors(form).rank < self.n else "dense"

    def slow_factors(self, dt: float) -> Factors | None:
        """What r adds to the voltages in one step where the network implements dynamics, shape (N, N), else None.

        Exact for the step: DᵀW times (exp(A dt) - e) D, which is dt DᵀW (A + lambda) D for small steps.
        """
        if self.loss.dynamics is None:
            return None
        propagator, _ = step_matrices(self.loss.dynamics, dt)
        right = (propagator - np.exp(-dt / self.tau) * np.eye(self.dimensions)) @ self.decoder
        return Factors(self.encoder, right, np.zeros(self.n))

    def delay_steps(self, dt: float) -> int:
        """The delay in whole steps; refused if it isn't a multiple of dt."""
        steps = round(self.delay / dt)
        if abs(steps * dt - self.delay) > 1e-6 * dt:
            raise ValueError(f"delay of {self.delay} s is not a multiple of the time step {dt} s")
        return steps

    def course(self, name: str, signal: Signal) -> float | Array:
        """A constant parameter, or the values of a time course in every step, shape (steps,) or (steps, N).

        Parameters
        ----------
        name : str
            Of a parameter of the loss.
        signal : Signal
            On whose grid a time course is given.

        Raises
        ------
        ValueError
            If a homeostat sets the parameter, or a bin of its course is not a whole number of steps.
        """
        value = self.value(name)
        if isinstance(value, Homeostat):
            raise ValueError(f"{name!r} is set by a homeostat and known only after the simulation")
        return value.on_grid(signal.steps, signal.dt) if isinstance(value, TimeCourse) else value
