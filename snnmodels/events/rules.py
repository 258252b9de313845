"""What happens to the neurons of a model between events and at them, and its adjoint, as programs without names.

A model's states, parameters and costates are renamed by their place (``x0``, ``p3``, ``l1``), so that no name that a
user may choose can meet a name of generated code, and models that differ in names alone share their programs. Each rule
is a straight-line `Program`; a target prints it and runs it over whatever lanes it has.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sympy as sp
from scipy.linalg import matrix_balance

from ..symbolic.adjoint import DL_DT, Q_SPIKE, S_ARRIVALS, S_RELEASE, Adjoint
from ..symbolic.flows import Flow, evaluate
from ..symbolic.parsing import symbol
from ..symbolic.parts import Arrival, RefractoryPeriod
from ..symbolic.programs import Builder, Program, cotangent
from ..symbolic.system import HybridSystem
from .responses import Additive
from .rule import TIME, Rule

__all__ = ["Rules"]

WEIGHT, EXTERNAL, KICK = (symbol(n) for n in ("w", "a", "q"))
"""Weight of an arrival, ∂l/∂t plus what the spike's arrivals give, σ/ġ."""
_LONGEST_STEP = 5e-3  # seconds, of a nonlinear flow
_SERIES_REACH = 1.0  # norm of A times the longest piece where the flow of a linear model is a series


def _x(i: int) -> sp.Symbol:
    return symbol(f"x{i}")


def _p(k: int) -> sp.Symbol:
    return symbol(f"p{k}")


def _l(i: int) -> sp.Symbol:
    return symbol(f"l{i}")


@dataclass(frozen=True)
class Rules:
    """The rules of one model.

    Attributes
    ----------
    system : HybridSystem
        With canonical names.
    parameters, states, receptors : tuple of str
        The user's names, by place.
    learnable : tuple of int
        Places of the parameters whose gradient is wanted; gradients come in this order, as ``g0``, ``g1``, ...
    per_neuron : tuple of bool
        Which parameters have a value for each neuron.
    observed : int or None
        Place of the state whose maximum is asked for.
    linear : bool
        Whether flow and event function are affine in the states, so that flows are closed forms.
    longest : float
        Longest piece, in seconds, over which a flow may be written; inf for closed forms.
    reach : float
        Time in seconds over which the flow changes by about its own size; see `_reach`.
    rules : mapping of str to Rule
        By name.
    writer : _Writer
        Which wrote them, and writes those that few programs need.
    held : Rules or None
        Rules of a neuron while it is refractory; None for a model that never is.
    """

    system: HybridSystem
    parameters: tuple[str, ...]
    states: tuple[str, ...]
    receptors: tuple[str, ...]
    learnable: tuple[int, ...]
    per_neuron: tuple[bool, ...]
    observed: int | None
    linear: bool
    longest: float
    reach: float
    flow: Flow | None = field(repr=False)
    rules: Mapping[str, Rule] = field(repr=False)
    writer: _Writer = field(repr=False, compare=False)
    held: Rules | None = None

    @classmethod
    def of(
        cls,
        system: HybridSystem,
        values: Mapping[str, float | np.ndarray],
        learnable: Sequence[str] = (),
        observed: str | None = None,
    ) -> Rules:
        """The rules of a system.

        Parameters
        ----------
        system : HybridSystem
        values : mapping of str to float or array
            Parameter values in SI units. They decide in which form a flow is written.
        learnable : sequence of str
            Parameters whose gradient is wanted.
        observed : str, optional
            State whose maximum is asked for.
        """
        return cls._of(_canonical(system), system, values, tuple(learnable), observed)

    @classmethod
    def _of(
        cls,
        bare: HybridSystem,
        system: HybridSystem,
        values: Mapping[str, float | np.ndarray],
        learnable: tuple[str, ...],
        observed: str | None,
    ) -> Rules:
        names = tuple(p.name for p in system.parameters)
        states = tuple(s.name for s in system.states)
        numbers = {f"p{k}": np.asarray(values[n], dtype=float) for k, n in enumerate(names)}
        linear = bare.is_linear and (bare.g is None or _affine(bare.g, bare.states))
        norm = _norm(_linear_part(bare), numbers)
        flow, longest = _flow(bare, numbers, norm) if linear else (None, np.inf)
        places = tuple(names.index(n) for n in learnable)
        seen = states.index(observed) if observed is not None else None
        key = (_key(bare), flow and _form(flow), places, seen)
        if key not in _KNOWN:
            if len(_KNOWN) > 256:
                _KNOWN.clear()
            _KNOWN[key] = _Writer(bare, flow, places, seen)
        return cls(
            bare,
            names,
            states,
            tuple(system.arrivals),
            places,
            tuple(numbers[f"p{k}"].ndim > 0 for k in range(len(names))),
            seen,
            linear,
            longest,
            _reach(norm, linear),
            flow,
            _KNOWN[key].rules,
            _KNOWN[key],
            None if bare.refractory is None else cls._of(bare.held(), system, values, learnable, None),
        )

    def holds_for(self, values: Mapping[str, float | np.ndarray]) -> bool:
        """Whether these rules are right for other parameter values too (time constants apart, pieces short enough)."""
        if self.held is not None and not self.held.holds_for(values):
            return False
        numbers = {f"p{k}": np.asarray(values[n], dtype=float) for k, n in enumerate(self.parameters)}
        if self.flow is None:
            return not self.learnable or self.reach <= 1.2 * _reach(_norm(self._linear_part, numbers), linear=False)
        if not self.flow.holds_for(numbers):
            return False
        return not np.isfinite(self.longest) or self.longest * _norm(self._linear_part, numbers) <= 1.5 * _SERIES_REACH

    @functools.cached_property
    def _linear_part(self) -> _Entries:
        """Taken by SymPy once, not in every batch of a training by parameters."""
        return _linear_part(self.system)

    def gradient_of(self, parameter: str) -> int:
        """Place of a learnable parameter among the gradients."""
        return self.learnable.index(self.parameters.index(parameter))

    @property
    def spiking(self) -> bool:
        """Whether the model has a threshold."""
        return self.system.g is not None

    @property
    def transitions(self) -> int:
        """Number of kinds of events that are no spikes."""
        return len(self.system.transitions)

    @property
    def deciding(self) -> tuple[bool, ...]:
        """Of the driven inputs, which a condition reads: a jump of such a one may turn it."""
        return tuple(bool(k) for k in self.system.knots)

    @property
    def eventful(self) -> bool:
        """Whether anything happens by itself."""
        return self.spiking or self.transitions > 0

    @functools.cached_property
    def lasting(self) -> frozenset[str]:
        """Canonical names of the parameters that anything reads but the states at time 0."""
        own = {n for name, r in self.rules.items() if not name.startswith("initial") for n in r.reads}
        own &= {p.name for p in self.system.parameters}
        return frozenset(own if self.held is None else own | self.held.lasting)

    @property
    def shared(self) -> bool:
        """Whether all neurons have the same parameters, but for those that their states at time 0 alone read."""
        return not any(own and f"p{k}" in self.lasting for k, own in enumerate(self.per_neuron))

    def fires(self, receptor: int) -> bool:
        """Whether an arrival can itself carry the neuron across its threshold."""
        return f"arrive{receptor}" in self.rules and self.rules[f"crossing{receptor}"].program.outputs["g"] != 0

    def moves(self, receptor: int, state: int) -> bool:
        """Whether an arrival through a receptor moves a state itself, by places."""
        return bool(self.rules[f"arrive{receptor}"].program.outputs[f"y{state}"] != _x(state))

    @property
    def sweeps(self) -> bool:
        """Whether a trial may be one sweep, where nothing that its neurons do comes back to them (see runtime/sweep.h).

        The flow has to have a closed form, which all neurons share, and the adjoint reads no states.
        """
        return bool(
            self.linear
            and self.shared
            and np.isinf(self.longest)
            and self.held is None
            and not self.learnable
            and not self.needs_states
        )

    def sweeps_at(self, receptor: int) -> bool:
        """Whether an arrival there leaves the costates as they are, reads no states, and causes no spike at once."""
        back = self.rules[f"arrive_back{receptor}"]
        return (
            not back.reads & {f"x{i}" for i in range(len(self.states))}
            and self.keeps_costates(receptor)
            and not (self.spiking and self.fires(receptor))
        )

    def keeps_costates(self, receptor: int) -> bool:
        """Whether the adjoint of an arrival changes no costate."""
        outputs = self.rules[f"arrive_back{receptor}"].program.outputs
        return all(outputs[f"l{i}"] == _l(i) for i in range(len(self.states)))

    @property
    def scatters(self) -> bool:
        """Whether arrivals may be added up without regard to their order (see runtime/scatter.h).

        They may where the flow is linear and the jumps are additive and leave the event function as it is. What is
        observed between spikes reads states that are not kept then. A refractory neuron is followed as if it were free
        until its release, which puts the held states back: so nothing else may read them meanwhile, and nothing arrive
        at them. The gradient by a parameter is summed from each arrival to the neuron's next event of its own, over
        which a flow has to have a closed form.
        """
        return bool(
            self.linear
            and self.spiking
            and self.shared
            and self.observed is None
            and self._resumes
            and (not self.learnable or np.isinf(self.longest))
            and len(self.states) <= 7
            and self.writer.additive is not None
        )

    @property
    def responses(self) -> tuple[tuple[Rule, Rule | None], ...]:
        """Of a model that scatters, by receptor: what `Additive.response` and `Additive.gradient` write.

        The second is None where nothing is learnable.
        """
        return self.writer.responses

    @property
    def _resumes(self) -> bool:
        """Whether nothing but themselves reads the states that a refractory period holds, and nothing arrives there."""
        if self.system.refractory is None:
            return self.held is None
        hold = set(self.system.refractory.hold)
        arrivals = self.system.arrivals.values()
        return all(x in hold or not f.free_symbols & hold for x, f in self.system.f.items()) and all(
            a.jump[x] == x for a in arrivals for x in hold
        )

    @functools.cached_property
    def needs_states(self) -> bool:
        """Whether the adjoint reads states between its own spikes, so that they have to be computed again."""
        if self.held is not None and self.held.needs_states:
            return True
        reading = [n for n in self.rules if n.startswith("arrive_back")]
        flow = self.learnable and not (self.rules["gradient"].is_zero if self.linear else False)
        x = {f"x{i}" for i in range(len(self.states))}
        return bool(not self.linear or flow or any(self.rules[n].reads & x for n in reading))


_KNOWN: dict[Any, _Writer] = {}
_FLOWS: dict[Any, Mapping[str, Rule]] = {}


def _affine(e: sp.Expr, states: Sequence[sp.Symbol]) -> bool:
    return all(not (sp.diff(e, x).free_symbols & set(states)) for x in states)


def _canonical(system: HybridSystem) -> HybridSystem:
    """The same system with states, parameters and weights named by their place."""
    names = {x: _x(i) for i, x in enumerate(system.states)} | {p: _p(k) for k, p in enumerate(system.parameters)}

    def renamed(table: Mapping[sp.Symbol, sp.Expr], more: Mapping[sp.Symbol, sp.Expr] | None = None) -> dict:
        return {names[x]: e.xreplace({**names, **(more or {})}) for x, e in table.items()}

    return HybridSystem(
        name=system.name,
        states=tuple(names[x] for x in system.states),
        parameters=tuple(names[p] for p in system.parameters),
        f=renamed(system.f),
        g=None if system.g is None else system.g.xreplace(names),
        h=renamed(system.h),
        arrivals={
            name: Arrival(name, WEIGHT, a.weight_unit, renamed(a.jump, {a.weight: WEIGHT}))
            for name, a in system.arrivals.items()
        },
        initial=renamed(system.initial),
        defaults={names[p]: v for p, v in system.defaults.items()},
        units={names[x]: u for x, u in system.units.items()},
        refractory=None
        if system.refractory is None
        else RefractoryPeriod(
            system.refractory.duration.xreplace(names),
            tuple(names[x] for x in system.refractory.hold),
            system.refractory.arrivals,
        ),
        silence=None if system.silence is None else system.silence.renamed(names),
        switches=renamed(system.switches),
        latch=None if system.latch is None else names[system.latch],
        knots=tuple(renamed(k) for k in system.knots),
        record=None if system.record is None else system.record.renamed(names),
    )


def _key(system: HybridSystem) -> Any:
    maps = (system.f, system.h, system.initial, system.switches, *(a.jump for a in system.arrivals.values()))
    events = (system.g, system.refractory, system.latch, system.silence, system.record)
    events += tuple(tuple(k.items()) for k in system.knots)
    return (system.states, system.parameters, *events, *(tuple(m.items()) for m in maps))


def _form(flow: Flow) -> tuple[Any, ...]:
    return tuple(flow.closed_form.items()), flow.series, flow.order


_Entries = tuple[tuple[int, int, sp.Expr], ...]


def _linear_part(system: HybridSystem) -> _Entries:
    """The entries of ∂f/∂x at time 0 that are not 0, each with its row and column."""
    jacobian = system.jacobian().xreplace(dict(system.initial))
    n = len(system.states)
    return tuple((i, j, jacobian[i, j]) for i in range(n) for j in range(n) if jacobian[i, j] != 0)


def _reach(norm: float, linear: bool) -> float:
    """Time over which the flow changes by about its own size, by its linear part, at the start where it is nonlinear.

    Taylor steps are no longer than that. Their length is chosen by what the states do, and a fast mode that is at rest
    does nothing; but costates see it, and over many of its time constants a polynomial is no exponential.
    """
    reach = 1 / max(norm, 1e-30)
    return reach if linear else min(_LONGEST_STEP, reach) if np.isfinite(norm) else _LONGEST_STEP


def _norm(entries: _Entries, numbers: Mapping[str, np.ndarray]) -> float:
    """Norm of ∂f/∂x at time 0, balanced (units differ between states), of the neuron in which entries are largest."""
    n = 1 + max((max(i, j) for i, j, _ in entries), default=0)
    a = np.zeros((n, n))
    for i, j, entry in entries:
        a[i, j] = np.max(np.abs(evaluate(entry, {s: numbers[s.name] for s in entry.free_symbols})))
    if not np.isfinite(a).all():
        return np.inf
    return float(np.linalg.norm(matrix_balance(a, permute=False)[0], 1))


def _flow(system: HybridSystem, numbers: Mapping[str, np.ndarray], norm: float) -> tuple[Flow, float]:
    """Flow of a linear system, and the longest time that it holds for; `norm` is that of its linear part."""
    longest = _SERIES_REACH / max(norm, 1e-30)
    flow = Flow.of(system, longest / 2, numbers)
    return flow, (longest if flow.series else np.inf)


class _Writer:
    """Writes the rules of a canonical system."""

    def __init__(
        self, system: HybridSystem, flow: Flow | None, learnable: tuple[int, ...], observed: int | None
    ) -> None:
        self.system, self.learnable, self.observed = system, learnable, observed
        self.adjoint = Adjoint.derive(system)
        self.x = tuple(s.name for s in system.states)
        self.l = tuple(f"l{i}" for i in range(len(self.x)))
        self.y = tuple(f"y{i}" for i in range(len(self.x)))
        self.g = tuple(f"g{k}" for k in range(len(learnable)))
        self.costates = {c: _l(i) for i, c in enumerate(self.adjoint.costates.values())}
        self.identity = {s: s for s in system.states}
        self.flows: Mapping[str, Rule] = {}
        if flow is not None:
            key = (tuple(system.f.items()), *_form(flow), learnable)  # may be that of a refractory period as well
            if key not in _FLOWS:
                if len(_FLOWS) > 256:
                    _FLOWS.clear()
                _FLOWS[key] = self._flows(flow)
            self.flows = _FLOWS[key]

    @functools.cached_property
    def rules(self) -> Mapping[str, Rule]:
        rules = {"rate": self._rule(self.x, {f"d{i}": e for i, e in enumerate(self.system.f.values())})}
        initial = dict(zip(self.y, self.system.initial.values(), strict=True))
        rules["initial"] = self._rule((), initial)
        rules["initial_back"] = self._rule(self.l, self._gradients(self.adjoint.initial))
        rules |= self.flows
        if self.system.g is not None:
            rules |= self._spike()
        for k in range(len(self.system.transitions)):
            rules |= self._transition(k)
        for k, flags in enumerate(self.system.knots):
            if flags:
                after = {x: flags.get(x, x) for x in self.system.states}
                rules[f"knot{k}"] = self._rule(self.x, dict(zip(self.y, after.values(), strict=True)))
        for k, name in enumerate(self.system.arrivals):
            rules |= self._arrival(k, name)
        if self.adjoint.release is not None:
            rules |= self._release()
        if self.observed is not None:
            rules |= self._peak(self.system.states[self.observed])
        return rules

    def _rule(self, inputs: Sequence[str], outputs: Mapping[str, sp.Expr]) -> Rule:
        program = Program((), {k: sp.sympify(e) for k, e in outputs.items()}).simplified()
        return Rule(program, tuple(inputs), tuple(outputs))

    def _gradients(self, table: Mapping[sp.Symbol, sp.Expr]) -> dict[str, sp.Expr]:
        return {
            g: table.get(_p(k), sp.Integer(0)).xreplace(self.costates)
            for g, k in zip(self.g, self.learnable, strict=True)
        }

    def _flows(self, flow: Flow) -> dict[str, Rule]:
        b = Builder()
        after = flow.write(b, self.identity, TIME)
        program = b.program(dict(zip(self.y, after.values(), strict=True))).simplified()
        wrt = dict(zip(self.l, self.system.states, strict=True))
        wrt |= {g: _p(k) for g, k in zip(self.g, self.learnable, strict=True)}
        back = program.vjp(wrt).rename({cotangent(y): _l(i) for i, y in enumerate(self.y)})
        return {
            "flow": Rule(program, self.x, self.y),
            "back": Rule(back.select(self.l).simplified(), self.l, self.l),
            "gradient": Rule(back.select(self.g).simplified(), (*self.x, *self.l), self.g),
        }

    def _spike(self) -> dict[str, Rule]:
        spike, firing = self.adjoint.spike, self.system.firing
        assert spike is not None and firing is not None
        rename = {**self.costates, DL_DT: EXTERNAL, S_ARRIVALS: sp.Integer(0), Q_SPIKE: KICK}
        jump = {k: e.xreplace(rename) for k, e in zip(self.l, spike.jump.values(), strict=True)}
        rules = {
            "event": self._rule(self.x, {"g": self.system.rising}),
            "reset": self._rule(self.x, dict(zip(self.y, self.system.h.values(), strict=True))),
            "sigma": self._rule((*self.x, *self.l, "a"), {"sigma": spike.sigma.xreplace(rename), "gdot": spike.gdot}),
            "spike_back": self._rule(
                (*self.x, *self.l, "q"),
                jump | {k: e.xreplace(rename) for k, e in self._gradients(spike.parameters).items()},
            ),
        }
        rules["search"] = self._rule(self.x, {f"v{k}": e for k, e in enumerate(self._along(firing, 2))})
        return rules

    def _transition(self, k: int) -> dict[str, Rule]:
        """An event that is no spike: states after it, its adjoint, and how fast its function changes."""
        event, jump = self.system.transitions[k], self.adjoint.transitions[k]
        rename = {**self.costates, Q_SPIKE: KICK}
        back = {n: e.xreplace(rename) for n, e in zip(self.l, jump.jump.values(), strict=True)}
        back |= {n: e.xreplace(rename) for n, e in self._gradients(jump.parameters).items()}
        sensitivity = {"sigma": jump.sigma.xreplace(rename), "gdot": jump.gdot}
        return {
            f"turn{k}": self._rule(self.x, dict(zip(self.y, event.jump.values(), strict=True))),
            f"turn_sigma{k}": self._rule((*self.x, *self.l), sensitivity),
            f"turn_back{k}": self._rule((*self.x, *self.l, "q"), back),
        }

    def _release(self) -> dict[str, Rule]:
        """End of a refractory period: sensitivity to its time, and what that gives to what the duration reads."""
        release, period = self.adjoint.release, self.system.refractory
        assert release is not None and period is not None
        table = {p: e.xreplace({S_RELEASE: EXTERNAL}) for p, e in release.parameters.items()}
        return {
            "release": self._rule((*self.x, *self.l), {"s": release.sensitivity.xreplace(self.costates)}),
            "duration": self._rule((), {"d": period.duration}),
            "duration_back": self._rule(("a",), self._gradients(table)),
        }

    def _peak(self, state: sp.Symbol) -> dict[str, Rule]:
        """A maximum is an upward crossing of minus the slope; v0 is the value itself, then minus its derivatives."""
        value, *slopes = self._along(state, 3)
        return {"peak": self._rule(self.x, {"v0": value} | {f"v{k + 1}": -e for k, e in enumerate(slopes)})}

    def _along(self, e: sp.Expr, order: int) -> list[sp.Expr]:
        """An expression in the states and its derivatives by time along the flow."""
        result = [e]
        for _ in range(order):
            result.append(sp.Add(*(sp.diff(result[-1], x) * f for x, f in self.system.f.items())))
        return result

    def _arrival(self, k: int, name: str) -> dict[str, Rule]:
        arrival, jump = self.system.arrivals[name], self.adjoint.arrivals[name]
        return {
            f"arrive{k}": self._rule((*self.x, "w"), dict(zip(self.y, arrival.jump.values(), strict=True))),
            f"arrive_back{k}": self._rule((*self.x, *self.l, "w"), self._arrival_back(name)),
            f"crossing{k}": self._rule((*self.x, "w"), {"g": jump.crossing}),
        }

    def _arrival_back(self, name: str) -> dict[str, sp.Expr]:
        jump = self.adjoint.arrivals[name]
        back = {"gw": jump.gradient.xreplace(self.costates), "s": jump.sensitivity.xreplace(self.costates)}
        back |= {k: e.xreplace(self.costates) for k, e in zip(self.l, jump.jump.values(), strict=True)}
        return back | self._gradients(jump.parameters)

    @functools.cached_property
    def additive(self) -> tuple[Additive, ...] | None:
        """The arrivals, by receptor, if all are additive jumps that leave the event function as it is."""
        if not self.flows or any(a.crossing != 0 for a in self.adjoint.arrivals.values()):
            return None
        found = [
            Additive.of(arrival.jump, self._arrival_back(name), WEIGHT, self.l, self.g)
            for name, arrival in self.system.arrivals.items()
        ]
        return None if None in found else tuple(a for a in found if a is not None)

    @functools.cached_property
    def responses(self) -> tuple[tuple[Rule, Rule | None], ...]:
        back, gradient = self.flows["back"], self.flows["gradient"]
        order = tuple(f"{name}{i}" for name in "yz" for i in range(len(self.x)))
        return tuple(
            (
                Rule(a.response(back), (), order),
                Rule(a.gradient(back, gradient, self.system.states), self.l, self.g) if self.learnable else None,
            )
            for a in self.additive or ()
        )
