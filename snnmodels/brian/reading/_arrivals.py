"""Synapses, and what arrives through them, as receptors and connections."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sympy as sp
from brian2 import Subgroup, Synapses
from brian2.equations.equations import BOOLEAN, PARAMETER, SUBEXPRESSION
from brian2.units.fundamentalunits import DIMENSIONLESS

from ...symbolic.parsing import UnsupportedExpression, parse_expression, print_expression, symbol
from ...templates import Assignment
from ...templates.constraints import evaluated
from ...templates.errors import located
from ...templates.expressions import called_functions, free_names, substitute
from ...templates.units import expression_dimension, unit_dimension, unit_of_dimension, variables_in
from ._population import WEIGHT, PopulationReader, Shorthands, read_statements
from ._scope import place, refuse
from ._slots import Array, Slot, quantity
from ._states import SynapticStates, differential_equations

__all__ = ["Arrivals", "assigned", "read_arrivals", "whole_group"]

_PRODUCT = "a weight, which is one number; declare that as one variable of the synapses, or let a state read it"
_PLASTIC = "what changes synapses while they run has no gradient; leave plasticity out, and learn weights by gradients"


@dataclass(frozen=True)
class Arrivals:
    """Connections of one kind, at most one from a source to a target.

    Attributes
    ----------
    name : str
        Of the projection.
    source, target : str
        Names of groups.
    receptor : str
        Of the target's model.
    i, j : int array, shape (synapses,)
        Source and target of each synapse, of the whole groups.
    weights : array, shape (synapses,)
    delay : float or array, shape (synapses,)
        Seconds.
    learnable : bool
        Whether the weights are a quantity of the script, which can be learned.
    chosen : int array, shape (synapses,)
        Which synapses of the script they are.
    weight_slot, delay_slot : Slot
        Where the script keeps weights and delays, one for each of its synapses.
    """

    name: str
    source: str
    target: str
    receptor: str
    i: Array
    j: Array
    weights: Array
    delay: float | Array
    learnable: bool
    chosen: Array
    weight_slot: Slot
    delay_slot: Slot


def whole_group(group: Any) -> tuple[Any, int]:
    """The group that a subgroup is of, and where that begins in it."""
    return (group.source, group.start) if isinstance(group, Subgroup) else (group, 0)


def assigned(synapses: Synapses) -> set[str]:
    """Variables of the target that the synapses assign to."""
    found, own = set(), {*synapses.equations, *differential_equations(synapses)}
    for pathway in synapses._pathways:
        for s in read_statements(pathway.code, place(synapses), f"on_pre ({pathway.objname})"):
            if s.variable not in own:
                found.add(s.variable.removesuffix("_post"))
    return found


def read_arrivals(synapses: Synapses, reader: PopulationReader, learned: Collection[str] = ()) -> list[Arrivals]:
    """What all pathways of some synapses do.

    Parameters
    ----------
    synapses : Synapses
    reader : PopulationReader
        Of the target, to which receptors are added.
    learned : collection of str
        Parameters that the source is to learn.

    Raises
    ------
    TemplateError
        For what has no gradient, or no counterpart in a network.
    """
    _refuse_plasticity(synapses)
    i, j = np.asarray(synapses.i[:], dtype=int), np.asarray(synapses.j[:], dtype=int)
    source, first_source = whole_group(synapses.source)
    _, first_target = whole_group(synapses.target)
    rank = _rank(i * (j.max(initial=0) + 1) + j)
    found = []
    slots: dict[str, Slot] = {}
    for pathway in synapses._pathways:
        name = synapses.name if len(synapses._pathways) == 1 else f"{synapses.name}_{pathway.objname}"
        delays = _delay_slot(synapses, pathway)
        delay = np.asarray(pathway.variables["delay"].get_value(), dtype=float)
        reading = _Pathway(synapses, pathway, reader, slots, learned)
        parts = reading.parts()
        source_states = None if reading.states is None else reading.states.document(reading.sent, delay)
        for part, (statements, weight) in parts.items():
            whole = f"{name}_{part}" if part else name
            receptor = reader.receptor(whole, place(synapses), statements, weight.unit, weight.name, source_states)
            own = (
                (source is reader.group)
                & (i + first_source == j + first_target)
                & (np.broadcast_to(delay, len(i)) <= 0)
            )
            if own.any() and reader.at_own_reset(receptor):
                does = "at a neuron's own spike, Brian2 does this before the reset, and a network after it"
                raise refuse(synapses, _key(pathway), f"{does}; give a delay, or connect(condition='i != j')")
            for k in range(rank.max(initial=-1) + 1):
                chosen = np.flatnonzero(rank == k)
                found.append(
                    Arrivals(
                        name=whole if k == 0 else f"{whole}_{k + 1}",
                        source=source.name,
                        target=reader.group.name,
                        receptor=receptor,
                        i=i[chosen] + first_source,
                        j=j[chosen] + first_target,
                        weights=weight.values[chosen],
                        delay=float(delay.flat[0]) if pathway.variables["delay"].scalar else delay[chosen],
                        learnable=weight.learnable,
                        chosen=chosen,
                        weight_slot=weight.slot,
                        delay_slot=delays,
                    )
                )
    return found


def _key(pathway: Any) -> str:
    """What messages call the statements of a pathway."""
    return "on_pre" if pathway.objname == "pre" else f"on_pre ({pathway.objname})"


def _rank(pairs: Array) -> Array:
    """How many synapses of the same pair come before each."""
    order = np.argsort(pairs, kind="stable")
    in_order = pairs[order]
    starts = np.r_[True, in_order[1:] != in_order[:-1]] if len(pairs) else np.zeros(0, dtype=bool)
    places = np.arange(len(pairs))
    ranks = np.empty(len(pairs), dtype=int)
    ranks[order] = places - np.maximum.accumulate(np.where(starts, places, 0))
    return ranks


def _refuse_plasticity(synapses: Synapses) -> None:
    for pathway in synapses._pathways:
        if pathway.prepost != "pre":
            raise refuse(synapses, f"on_post ({pathway.objname})", _PLASTIC)
    for name in differential_equations(synapses):
        if len(synapses._pathways) > 1:
            hint = "let one pathway do all of it"
            raise refuse(synapses, f"equations.{name}", f"a state of synapses that have several pathways; {hint}")
    for name in synapses.summed_updaters:
        hint = "let spikes drive a state of the target instead"
        raise refuse(synapses, f"equations.{name}", f"a summed variable couples neurons continuously; {hint}")
    if not synapses._connect_called:
        raise refuse(synapses, "connect", "has not been called, so that there are none; call it, or leave them out")
    for pathway in synapses._pathways:
        if pathway.event != "spike":
            raise refuse(synapses, f"on_event {pathway.event!r}", "isn't read; connect by spikes")


@dataclass
class _Weight:
    """A weight for each synapse: what it is called, its unit and values, and where the script keeps it."""

    name: str
    unit: str
    values: Array
    slot: Slot
    learnable: bool = True


@dataclass
class _PerSynapse:
    """Something that each synapse has a value of; `parameter` is whether it is a variable that can be set."""

    name: str
    values: Array
    dim: Any
    parameter: bool = False


@dataclass
class _Pathway:
    """Reads the statements of one pathway in names of the target's model."""

    synapses: Synapses
    pathway: Any
    reader: PopulationReader
    slots: dict[str, Slot]
    learned: Collection[str]
    here: dict[str, _PerSynapse] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.shorthands = Shorthands(self.synapses, self.key)
        has_states = bool(differential_equations(self.synapses))
        self.states = SynapticStates(self.synapses, self.reader, self.key) if has_states else None
        self._sending = False  # whether what is read is of the source, for all of its synapses
        self._key_of_equation = ""  # where that is an equation
        self._temporary: dict[str, tuple[int, str]] = {}
        self._constants: dict[str, str] = {}

    def sent(self, text: str, key: str) -> str:
        """An expression that has one value for all synapses of a source, in names of the model."""
        self._sending, self._key_of_equation = True, key if key.startswith("equations.") else ""
        try:
            return self.reader.scope.expression(text, self.synapses, key, self._lookup)
        finally:
            self._sending, self._key_of_equation = False, ""

    @property
    def key(self) -> str:
        return _key(self.pathway)

    def parts(self) -> dict[str, tuple[tuple[Assignment, ...], _Weight]]:
        """Statements with their weight; those of different weights by the state that they change."""
        scope = self.reader.scope
        read: list[tuple[str, Assignment, str, _Weight | None]] = []
        amplified = []
        for s in read_statements(self.pathway.code, place(self.synapses), self.key):
            if self.states is not None and s.variable in self.states.names:
                self.states.assign(s, self.sent(s.expression, self.key))
                self.shorthands.state_changed(self.states.names[s.variable])
                continue
            state = self._state(s)
            if state is None:
                self._define(s)
                continue
            jump = self._constant_jump(s) if state in scope.state_names else None
            if jump is not None:
                read.append((state, s, WEIGHT, jump))
                amplified.append(False)
            else:
                text, by_states = self._expression(s.expression), False
                if self.states is not None:
                    text, by_states = self.states.factor(text, self._temporary)
                read.append((state, s, text, None))
                amplified.append(by_states)
            self.shorthands.state_changed(state)
        if any(amplified) and not all(s.operator in ("+=", "-=") for _, s, *_ in read):
            hint = "add what the states give, as in g += w*u*x"
            raise refuse(self.synapses, self.key, f"a statement that sets what the states are a factor of; {hint}")
        if self.states is not None and not all(amplified):
            hint = "let its synapses be others, without states"
            state = next(x for x, found in zip((x for x, *_ in read), amplified, strict=True) if not found)
            raise refuse(self.synapses, self.key, f"what changes {state!r} has no factor of the states; {hint}")
        single = self._single(*(text for _, _, text, _ in read))
        if single and all(jump is None for *_, jump in read):
            texts = [Assignment(x, s.operator, substitute(text, {single: WEIGHT})) for x, s, text, _ in read]
            return {"": (tuple(texts), self._variable(self.here[single]))}
        if len(read) > 1:
            changed = [x for x, *_ in read]
            others = {x for x, _, text, _ in read for y in changed if y != x and y in free_names(text)}
            if others or len(set(changed)) < len(changed):
                hint = "give each state its own pathway, as in on_pre={'a': ..., 'b': ...}"
                raise refuse(self.synapses, self.key, f"statements of several weights that read each other; {hint}")
        found: dict[str, tuple[tuple[Assignment, ...], _Weight]] = {}
        for x, s, text, jump in read:
            expression, weight = (WEIGHT, jump) if jump is not None else self._weighted(text)
            found[x if len(read) > 1 else ""] = (Assignment(x, s.operator, expression),), weight
        return found

    def _state(self, s: Assignment) -> str | None:
        """The state of the target that a statement changes; None where it makes a variable of its own."""
        name, synapses, scope = s.variable, self.synapses, self.reader.scope
        if name in synapses.equations and not self._is_temporary(s):
            raise refuse(synapses, self.key, f"{str(s)!r} changes {name!r} of the synapse; {_PLASTIC}")
        if name.endswith("_pre") and name not in scope.equations:
            raise refuse(synapses, self.key, f"{str(s)!r} changes the source; let another pathway of synapses do that")
        post = name.removesuffix("_post")
        if post in scope.state_names:
            return post
        if (name in synapses.variables and not self._is_temporary(s)) or s.operator != "=":
            target = self.reader.group.name
            raise refuse(synapses, self.key, f"{str(s)!r} assigns to {name!r}, which is no state of {target!r}")
        return None

    def _is_temporary(self, s: Assignment) -> bool:
        """Whether a parameter of synapses with states is set anew by every spike, before anything reads it."""
        if self.states is None or s.operator != "=" or s.variable not in self.synapses.equations:
            return False
        e = self.synapses.equations[s.variable]
        if s.variable in free_names(s.expression):
            return False
        return e.type == PARAMETER and f"_each_{s.variable}" not in self.here and s.variable not in self._constants

    def _define(self, s: Assignment) -> None:
        """Let a variable that a statement makes stand for its right side."""
        if self.states is None:
            self.shorthands.define(s.variable, self._expression(s.expression))
            return
        text = self.sent(s.expression, self.key)
        self.shorthands.define(s.variable, text)
        self._temporary[f"_temporary_{s.variable}"] = self.states.place, text

    def _expression(self, text: str) -> str:
        return self.reader.scope.expression(text, self.synapses, self.key, self._lookup)

    def _lookup(self, name: str) -> str | None:
        synapses, scope = self.synapses, self.reader.scope
        if self.states is not None and name in self.states.names:
            return self.states.names[name]
        if not self._sending and f"_temporary_{name}" in self._temporary:
            return f"_temporary_{name}"  # as it was when it was made, whatever has changed since
        if self._key_of_equation and f"_temporary_{name}" in self._temporary:
            hint = "make it a state of its own, with the derivative 0"
            message = f"reads {name!r}, which keeps what the last spike made of it; {hint}"
            raise refuse(synapses, self._key_of_equation, message)
        if meaning := self.shorthands.get(name):
            return meaning
        equation = synapses.equations.get(name)
        if equation is not None and equation.type == SUBEXPRESSION:
            return f"({self._expression(equation.expr.code)})"
        if equation is not None and equation.type == PARAMETER:
            if equation.var_type == BOOLEAN or "linked" in equation.flags:
                expected = "expected a number for each synapse, neither boolean nor linked"
                raise refuse(synapses, f"equations.{name}", expected)
            if self._sending:
                return self._shared(name, equation.dim)
            return self._each(name, equation.dim, parameter=True)
        if name in ("i", "j", "N_pre", "N_post", "N_incoming", "N_outgoing", "N"):
            return self._each(name, DIMENSIONLESS)
        if self._sending and name in synapses.variables and name != "dt":
            constant = scope.internal(name.removesuffix("_post"), synapses, self.key) if name.endswith("_post") else ""
            if constant in self.reader.constants and not np.ndim(self.reader.constants[constant].value):
                return constant  # a parameter that all neurons of the target share
            hint = "what they read are numbers of the script, and parameters that all synapses or neurons share"
            raise refuse(synapses, self.key, f"the states read {name!r}; {hint}")
        if name.endswith("_pre") and name in synapses.variables:
            return self._of_source(name)
        if name.endswith("_post") or (name in synapses.variables and name != "dt"):
            return scope.internal(name.removesuffix("_post"), synapses, self.key)
        return scope.internal(name, synapses, self.key) if name in ("t", "dt", "t_in_timesteps") else None

    def _of_source(self, name: str) -> str:
        group, _ = whole_group(self.synapses.source)
        equation = getattr(group, "user_equations", {}).get(name.removesuffix("_pre"))
        if equation is None or equation.type != PARAMETER or "constant" not in equation.flags:
            hint = "only constant parameters of the source can be, as (constant) in its equations"
            raise refuse(self.synapses, self.key, f"{name!r} is read when a spike arrives; {hint}")
        if (own := name.removesuffix("_pre")) in self.learned:
            raise refuse(self.synapses, self.key, f"{own!r}, which {group.name!r} is to learn, is part of {_PRODUCT}")
        return self._each(name, equation.dim)

    def _shared(self, name: str, dim: Any) -> str:
        """The parameter of the model that is a parameter of the synapses which all of them share."""
        assert self.states is not None
        if name not in self._constants:
            value, unit = self.states.shared(name, "have"), unit_of_dimension(dim)
            parameter = self.reader.scope.fresh(name)
            self._constants[name] = self.reader.scope.constant(parameter, unit, value, f"{name!r} of the synapses")
            self.reader.constants[parameter].slots[self.synapses.name] = self._slot(name, dim)
        return self._constants[name]

    def _each(self, name: str, dim: Any, *, parameter: bool = False) -> str:
        """The name that stands for what each synapse has a value of."""
        own = f"_each_{name}"  # no variable of Brian2 begins so
        if own not in self.here:
            held = self.synapses.state(name, use_units=False)
            values = np.asarray(held if np.isscalar(held) else held[:], dtype=float)
            self.here[own] = _PerSynapse(name, np.broadcast_to(values, len(self.synapses)), dim, parameter)
        return own

    def _variable(self, of: _PerSynapse) -> _Weight:
        name, dim = of.name, of.dim
        return _Weight(name, unit_of_dimension(dim), of.values.copy(), self._slot(name, dim))

    def _slot(self, name: str, dim: Any) -> Slot:
        """Where a variable of the synapses is kept; the same for all that reads it."""
        synapses = self.synapses
        if name not in self.slots:

            def put(values: Array) -> None:
                setattr(synapses, name, quantity(values, dim))

            def values() -> Array:
                held = np.asarray(synapses.state(name, use_units=False)[:], dtype=float)
                return np.broadcast_to(held, len(synapses))

            what = f"{place(synapses)}: {name!r}"
            self.slots[name] = Slot(what, put, values, single=synapses.variables[name].scalar)
        return self.slots[name]

    def _constant_jump(self, s: Assignment) -> _Weight | None:
        """The weight of a statement whose right side is a number of the script."""
        synapses, scope = self.synapses, self.reader.scope
        names = variables_in(s.expression)
        if s.operator not in ("+=", "-=", "=") or called_functions(s.expression):
            return None
        if any(n in self.shorthands or n in synapses.variables for n in names):
            return None
        if any(scope.learns(n, synapses, self.key) for n in names):
            return None  # a parameter of the target, which all these synapses share
        numbers = {n: scope.number(n, synapses, self.key) for n in names}
        value = float(evaluated(s.expression, {n: v for n, (v, _) in numbers.items()}))
        dim = self._dimension(s.expression, {n: d for n, (_, d) in numbers.items()})
        values = np.full(len(synapses), value)
        if s.expression not in names:
            for n in names:
                scope.fix(n, synapses, self.key, _PRODUCT)
            return _Weight("w", unit_of_dimension(dim), values, _no_slot(synapses, self.key))

        slot = scope.number_slot(s.expression, synapses, value, dim)
        return _Weight(s.expression, unit_of_dimension(dim), values, slot)

    def _single(self, *texts: str) -> str:
        """The one variable of the synapses that expressions read; empty where they read none, or more."""
        used = {name for text in texts for name in free_names(text) if name in self.here}
        return next((name for name in used if len(used) == 1 and self.here[name].parameter), "")

    def _weighted(self, text: str) -> tuple[str, _Weight]:
        """An expression in a weight and what is of the target.

        A variable of the synapses is the weight wherever it stands; of several values that differ from synapse to
        synapse it is the product.
        """
        if single := self._single(text):
            return substitute(text, {single: WEIGHT}), self._variable(self.here[single])
        n = len(self.synapses)
        if not any(name in self.here for name in free_names(text)):
            return f"{WEIGHT}*({text})", _Weight("w", "1", np.ones(n), _no_slot(self.synapses, self.key), False)
        try:
            whole = parse_expression(text, numbers=False)  # units stay, for their dimensions
        except UnsupportedExpression as error:
            raise refuse(self.synapses, self.key, str(error)) from None
        each = [symbol(name) for name in self.here]
        rest, factor = sp.factor_terms(whole).as_independent(*each, as_Add=False)
        constants = self.reader.constants
        left = set(variables_in(print_expression(factor))) - self.here.keys()
        if any(name not in constants or not isinstance(constants[name].value, float) for name in left):
            mixed = text.replace("_each_", "")
            hint = f"what synapses have is read as a factor of what {' and '.join(sorted(left))} give"
            raise refuse(self.synapses, self.key, f"{mixed!r} is no weight times something of the target; {hint}")
        for x in left:
            self.reader.scope.fix(x, self.synapses, self.key, _PRODUCT, number=False)
        written = print_expression(factor)
        values: dict[str, Any] = {name: self.here[name].values for name in self.here}
        values |= {x: np.float64(constants[x].value) for x in left}
        dims: dict[str, Any] = {name: self.here[name].dim for name in self.here}
        dims |= {x: unit_dimension(constants[x].unit) for x in left}
        dim = self._dimension(written, dims)
        weights = np.broadcast_to(evaluated(written, values), n).astype(float)
        rest_text = print_expression(rest)
        expression = WEIGHT if rest == 1 else f"{WEIGHT}*({rest_text})"
        return expression, _Weight("w", unit_of_dimension(dim), weights, _no_slot(self.synapses, self.key))

    def _dimension(self, text: str, dims: Mapping[str, Any]) -> Any:
        with located(place(self.synapses), self.key):
            return expression_dimension(text, dims)


def _no_slot(synapses: Synapses, key: str) -> Slot:
    """The place of a weight that the script has no variable for."""
    refusal = "the weight is an expression; declare it as one variable of the synapses"
    return Slot(f"{place(synapses)}: {key}", lambda _: None, lambda: np.zeros(len(synapses)), refusal=refusal)


def _delay_slot(synapses: Synapses, pathway: Any) -> Slot:
    """Where the delays of a pathway are kept."""
    variable = pathway.variables["delay"]

    def values() -> Array:
        return np.broadcast_to(np.asarray(variable.get_value(), dtype=float), len(synapses))

    what = f"{place(synapses)}: the delay of {pathway.objname!r}"
    return Slot(what, variable.set_value, values, single=variable.scalar)
