"""The maps of a model and of its adjoint as NumPy functions over the neurons of a population."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np
import sympy as sp

from ..symbolic.adjoint import DL_DT, Q_SPIKE, S_ARRIVALS, S_RELEASE, Adjoint
from ..symbolic.declaration import driven_system
from ..symbolic.divided_differences import MODULES
from ..symbolic.parts import DriveStates
from ..symbolic.steps import Step
from ..symbolic.system import HybridSystem
from ..templates.groups import Population
from ..templates.model import Model

Array = np.ndarray


class Rows:
    """Expressions as one function of stacked arrays: one (n_symbols, m) array per group, result (n_expressions, m)."""

    def __init__(self, expressions: Sequence[sp.Expr], *groups: Sequence[sp.Symbol]) -> None:
        self.n = len(expressions)
        arguments = [tuple(group) for group in groups]
        self._function = sp.lambdify(arguments, list(expressions), modules=MODULES, cse=True)

    def __call__(self, *arrays: Array) -> Array:
        result = np.empty((self.n, arrays[0].shape[1]))
        for k, value in enumerate(self._function(*arrays)):
            result[k] = value
        return result


class Arrivals:
    """Arrival map of one receptor, and its adjoint; `w` has shape (1, m)."""

    def __init__(self, adjoint: Adjoint, receptor: str, parameters: Sequence[sp.Symbol]) -> None:
        system, jump = adjoint.system, adjoint.arrivals[receptor]
        x, lam, w = system.states, list(adjoint.costates.values()), [jump.weight]
        self.can_fire = jump.can_fire
        self.parameters = tuple(jump.parameters)
        self.after = Rows([system.arrivals[receptor].jump[s] for s in x], x, parameters, w)
        # rows: weight gradient, sensitivity to the time of arrival, costates before, parameter gradients
        self.back = Rows(
            [jump.gradient, jump.sensitivity, *jump.jump.values(), *jump.parameters.values()], x, parameters, lam, w
        )


class Turn:
    """An event that is no spike: a condition of the equations turns, or the neuron comes below its threshold."""

    def __init__(self, adjoint: Adjoint, k: int, drives: Sequence[DriveStates]) -> None:
        system, jump = adjoint.system, adjoint.transitions[k]
        x, p, lam = system.states, system.parameters, list(adjoint.costates.values())
        event = system.transitions[k].event
        # its surface may move with the currents as well
        moved = sp.Add(*(sp.diff(event, d.value) * d.slope for d in drives))
        self.event = Rows([event, jump.gdot + moved], x, p)
        self.after = Rows([system.transitions[k].jump[s] for s in x], x, p)
        self.sigma = Rows([jump.sigma], x, p, lam)
        self.parameters = tuple(jump.parameters)
        self.back = Rows([*jump.jump.values(), *jump.parameters.values()], x, p, lam, [Q_SPIKE])


class Redecided:
    """The conditions that read a current, just after it has jumped: from x and p then to x."""

    def __init__(self, system: HybridSystem, current: sp.Symbol) -> None:
        again: dict[sp.Symbol, sp.Expr] = {}
        for flag, surface in system.switches.items():  # one may contain those before it
            if surface.free_symbols & {current, *again}:
                again[flag] = Step(surface.xreplace(again))
        self.none = not again
        self.after = Rows([again.get(s, s) for s in system.states], system.states, system.parameters)


def _with_currents(model: Model, driven: tuple[str, ...]) -> tuple[HybridSystem, tuple[DriveStates, ...]]:
    system, drives = driven_system(model, driven)
    added = {x for d in drives for x in (d.value, d.slope)}
    own = tuple(x for x in system.states if x not in added)
    bare = replace(
        system,
        states=own,
        parameters=(*system.parameters, *(d.value for d in drives), *(d.slope for d in drives)),
        f={x: system.f[x] for x in own},
        h={x: system.h[x] for x in own},
        arrivals={name: replace(a, jump={x: a.jump[x] for x in own}) for name, a in system.arrivals.items()},
        initial={x: system.initial[x] for x in own},
        knots=(),
    )
    return bare, drives


class Dynamics:
    """A model compiled; arguments are states (n_states, m), parameters (n_parameters, m), costates (n_states, m).

    Currents that drive inputs are the last parameters, which change with time, followed by their slopes; f reads them,
    and conditions may.
    """

    def __init__(self, model: Model, driven: tuple[str, ...] = ()) -> None:
        system, drives = _with_currents(model, driven)
        adjoint = Adjoint.derive(system)
        x, p, lam = system.states, system.parameters, list(adjoint.costates.values())
        self.system, self.adjoint = system, adjoint
        self.spiking = system.g is not None
        self.f = Rows([system.f[s] for s in x], x, p)
        self.initial = Rows([system.initial[s] for s in x], p)
        self.flow = Rows([-e for e in adjoint.flow.values()], x, p, lam)
        self.start_parameters = tuple(adjoint.initial)
        self.start = Rows(list(adjoint.initial.values()), lam, p)
        self.receptors = {name: Arrivals(adjoint, name, p) for name in system.arrivals}
        self._integrands: dict[tuple[str, ...], Rows] = {}
        self._affine: dict[str | None, Rows] = {}
        self.refractory = system.refractory is not None
        self.durations = Rows(system.durations, p)
        if system.refractory is not None and adjoint.release is not None:
            held, release = Adjoint.derive(system.held()), adjoint.release
            self.hold = [x.index(s) for s in system.refractory.hold]
            self.held_receptors = {name: Arrivals(held, name, p) for name in system.arrivals}
            self.release = Rows([release.sensitivity], x, p, lam)
            self.release_parameters = tuple(release.parameters)
            self.release_back = Rows(list(release.parameters.values()), p, [S_RELEASE])
        self.redecided = [Redecided(system, d.value) for d in drives]
        self.turns = [Turn(adjoint, k, drives) for k in range(len(system.transitions))]
        # what is watched, the event function of spikes first: rows are the function and its rate of change, which tells
        # a crossing from a touch
        self.watched = [turn.event for turn in self.turns]
        if adjoint.spike is not None:
            spike, rising = adjoint.spike, system.rising
            assert rising is not None
            rate = sp.Add(*(sp.diff(rising, s) * rhs for s, rhs in system.f.items()))
            self.event = Rows([rising, rate], x, p)
            self.watched.insert(0, self.event)
            self.after_spike = Rows([system.h[s] for s in x], x, p)
            self.sigma = Rows([spike.sigma], x, p, lam, [DL_DT, S_ARRIVALS])
            self.spike_parameters = tuple(spike.parameters)
            self.spike_back = Rows([*spike.jump.values(), *spike.parameters.values()], x, p, lam, [Q_SPIKE])

    def receptor(self, name: str, held: bool) -> Arrivals:
        """What an arrival through a receptor does, to a neuron that is refractory or to one that is not."""
        return self.held_receptors[name] if held else self.receptors[name]

    def integrand(self, parameters: tuple[str, ...]) -> Rows:
        """λ·∂f/∂p for the named parameters."""
        if parameters not in self._integrands:
            table = {p.name: e for p, e in self.adjoint.integrand.items()}
            lam = list(self.adjoint.costates.values())
            rows = Rows([table[p] for p in parameters], self.system.states, self.system.parameters, lam)
            self._integrands[parameters] = rows
        return self._integrands[parameters]

    def affine(self, parameter: str | None = None) -> Rows:
        """For f = A x + b the rows of A, then b; or of their derivatives by a parameter."""
        if parameter not in self._affine:
            system = self.system
            f = sp.Matrix([system.f[x] for x in system.states])
            if parameter is not None:
                f = f.diff(next(p for p in system.parameters if p.name == parameter))
            b = f.xreplace(dict.fromkeys(system.states, sp.Integer(0)))
            self._affine[parameter] = Rows([*f.jacobian(list(system.states)), *b], system.parameters)
        return self._affine[parameter]


_compiled: dict[str, Dynamics] = {}


def _dynamics(model: Model, driven: tuple[str, ...]) -> Dynamics:
    """Compiled once per model: a check by differences asks for the same one again and again."""
    # by all that a model is compared by; what it prints of itself is shorter
    key = repr(([getattr(model, f.name) for f in fields(model) if f.compare], driven))
    if key not in _compiled:
        if len(_compiled) > 64:
            _compiled.clear()
        _compiled[key] = Dynamics(model, driven)
    return _compiled[key]


class Neurons:
    """A population with its parameter values.

    Attributes
    ----------
    p : array, shape (n_parameters, n)
        The last rows are the currents of `driven`, then their slopes, 0 here.
    driven : tuple of str
        Inputs of the model that currents drive.
    learnable : tuple of str
        Parameters whose gradient is wanted; `in_flow` those of them that f reads.
    durations : array, shape (n,)
        Refractory periods in seconds; empty for a model without.

    Raises
    ------
    ValueError
        For a refractory period that is negative or not finite.
    """

    def __init__(self, population: Population, driven: tuple[str, ...] = ()) -> None:
        self.population, self.name, self.n, self.driven = population, population.name, population.n, driven
        self.dynamics = d = _dynamics(population.model, driven)
        self.states = tuple(s.name for s in d.system.states)
        self.p = np.zeros((len(d.system.parameters), self.n))
        self.n_own = len(self.p) - 2 * len(driven)
        for row, parameter in zip(self.p, d.system.parameters[: self.n_own], strict=False):
            row[:] = population.value(parameter.name)
        self.currents = tuple(s.name for s in d.system.parameters[self.n_own : self.n_own + len(driven)])
        self.learnable = tuple(population.learnable)
        flow_parameters = {s.name for s in d.adjoint.integrand}
        self.in_flow = tuple(name for name in self.learnable if name in flow_parameters)
        periods = d.durations(self.p)
        if not ((periods >= 0) & np.isfinite(periods)).all():
            raise ValueError(f"population {self.name!r}: refractory periods of {periods} s; expected at least 0")
        self.durations = periods[0] if d.refractory else np.empty(0)

    def initial(self) -> Array:
        """State at time 0, shape (n_states, n)."""
        return self.dynamics.initial(self.p)

    def free(self, held: Array) -> Array:
        """Factors of f, shape (n_states, n): 0 for the held states of the neurons that are refractory, else 1."""
        factors = np.ones((len(self.states), self.n))
        if self.dynamics.refractory:
            factors[np.ix_(self.dynamics.hold, np.flatnonzero(held))] = 0.0
        return factors


class Layout:
    """How the arrays of all populations lie in one vector, as the solver wants them."""

    def __init__(self, shapes: Sequence[tuple[int, int]]) -> None:
        self.shapes = shapes
        ends = np.cumsum([a * b for a, b in shapes])
        self.slices = [slice(int(e) - a * b, int(e)) for e, (a, b) in zip(ends, shapes, strict=True)]

    def split(self, y: Array) -> list[Array]:
        """Views of the vector, one array per population."""
        return [y[s].reshape(shape) for s, shape in zip(self.slices, self.shapes, strict=True)]

    def join(self, arrays: Sequence[Array]) -> Array:
        """The vector of the arrays."""
        return np.concatenate([a.ravel() for a in arrays]) if arrays else np.empty(0)
