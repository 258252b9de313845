"""States of synapses that only the spikes of their source change, as states that each source has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sympy as sp
from brian2 import Synapses
from brian2.equations.equations import DIFFERENTIAL_EQUATION, SingleEquation

from ...symbolic.parsing import UnsupportedExpression, parse_expression, print_expression, symbol
from ...templates import Assignment
from ...templates.constraints import evaluated
from ...templates.expressions import free_names
from ...templates.model import AMPLITUDE
from ...templates.units import unit_of_dimension, variables_in
from ._population import PopulationReader
from ._scope import place, refuse

__all__ = ["SynapticStates", "differential_equations"]

_SHARED = "states of synapses are read where all synapses of a source share them"
_ROUNDING = 1e-9  # of the terms of a rate that is 0


def differential_equations(synapses: Synapses) -> dict[str, SingleEquation]:
    """Equations of states of the synapses, event-driven or not, by name."""
    given = {} if synapses.event_driven is None else dict(synapses.event_driven)
    return {n: e for n, e in {**synapses.equations, **given}.items() if e.type == DIFFERENTIAL_EQUATION}


@dataclass
class SynapticStates:
    """Reads the states of some synapses; see `tsodyks_markram` of the library for what becomes of them.

    Attributes
    ----------
    synapses : Synapses
    reader : PopulationReader
        Of the target, whose model gets the parameters.
    key : str
        What messages call the statements.
    names : dict of str to str
        What a state is called in the model.
    """

    synapses: Synapses
    reader: PopulationReader
    key: str
    names: dict[str, str] = field(default_factory=dict)
    _code: list[str] = field(default_factory=list)
    _amplitude: tuple[int, str] | None = None

    def __post_init__(self) -> None:
        self.equations = differential_equations(self.synapses)
        for name, equation in self.equations.items():
            if equation.stochastic_variables:
                noise = " and ".join(sorted(equation.stochastic_variables))
                raise refuse(self.synapses, f"equations.{name}", f"noise ({noise}) has no gradient; take it out")
            self.names[name] = self.reader.scope.fresh(name)

    @property
    def place(self) -> int:
        """How many statements there are so far."""
        return len(self._code)

    def assign(self, s: Assignment, text: str) -> None:
        """Take a statement that changes a state, with its right side in names of the model."""
        self._check(text, self.key)
        self._code.append(f"{self.names[s.variable]} {s.operator} {text}")

    def factor(self, text: str, temporary: Mapping[str, tuple[int, str]]) -> tuple[str, bool]:
        """Take out of what arrives the factor that these states give, which becomes the amplitude.

        Parameters
        ----------
        text : str
            The right side, in names of the model.
        temporary : mapping of str to (int, str)
            What names stand for that statements before have made, and at which place.

        Returns
        -------
        rest : str
        found : bool
            Whether there was such a factor.
        """
        own = {*self.names.values(), *temporary} & set(free_names(text))
        if not own:
            return text, False
        try:
            whole = parse_expression(text, numbers=False)  # units stay, for their dimensions
        except UnsupportedExpression as error:
            raise refuse(self.synapses, self.key, str(error)) from None
        rest, factor = sp.factor_terms(whole).as_independent(*(symbol(n) for n in own), as_Add=False)
        written = print_expression(factor)
        if set(variables_in(written)) - own - self.reader.constants.keys():
            plain = text.replace("_each_", "").replace("_temporary_", "")
            hint = "write a weight times what they make, as in g += w*u*x"
            raise refuse(self.synapses, self.key, f"{plain!r} is no product with a factor of the states; {hint}")
        held = [t for t in temporary if t in own]
        at, amplitude = (self.place, written)
        if held:
            if written != held[0]:
                text = text.replace("_each_", "").replace("_temporary_", "")
                own = {n.removeprefix("_temporary_") for n in own}
                hint = f"let one of them be all that {self.key} makes of the states, as in r = u*x; g += w*r"
                raise refuse(self.synapses, self.key, f"{text!r} reads {', '.join(sorted(own))}; {hint}")
            at, amplitude = temporary[held[0]]
        self._check(amplitude, self.key)
        if self._amplitude is not None and self._amplitude != (at, amplitude):
            hint = "a spike has one amplitude; give the others synapses of their own"
            raise refuse(self.synapses, self.key, f"statements that make several things of the states; {hint}")
        self._amplitude = at, amplitude
        return print_expression(rest), True

    def document(self, read: Callable[[str, str], str], delays: Any) -> dict[str, Any]:
        """The table ``[source]`` of a synapse.

        Parameters
        ----------
        read : callable
            An expression and where it stands, in names of the model.
        delays : array
            Of the synapses, in seconds.

        Raises
        ------
        TemplateError
            Where the synapses don't share what they start from, or start elsewhere than at rest and have delays.
        """
        lines, initial, rates = [], {}, {}
        for name, equation in self.equations.items():
            key = f"equations.{name}"
            rates[name] = read(equation.expr.code, key)
            self._check(rates[name], key)
            unit = unit_of_dimension(equation.dim)
            value = self.shared(name, "start from")
            lines.append(f"d{self.names[name]}/dt = {rates[name]} : {unit}")
            initial[name] = value
        if np.any(np.asarray(delays) > 0):
            self._check_rest(rates, initial)
        code = list(self._code)
        if self._amplitude is not None:
            code.insert(self._amplitude[0], f"{AMPLITUDE} = {self._amplitude[1]}")
        return {
            "equations": "\n".join(lines),
            "on_pre": code,
            "states": {self.names[n]: {"initial": self._written(n, v)} for n, v in initial.items()},
        }

    def shared(self, name: str, what: str) -> float:
        """The one value that all synapses have of a variable.

        Raises
        ------
        TemplateError
            If they differ.
        """
        held = np.ravel(np.asarray(self.synapses.state(name, use_units=False)[:], dtype=float))
        if (held != held[:1]).any():
            hint = "give all synapses one value, or others objects of their own"
            raise refuse(self.synapses, f"equations.{name}", f"they {what} values that differ; {_SHARED}; {hint}")
        return float(held[0]) if len(held) else 0.0

    def _check_rest(self, rates: Mapping[str, str], initial: Mapping[str, float]) -> None:
        """With a delay the states of a synapse would be those at the arrival: the same, if they start at rest."""
        constants = self.reader.constants
        start = {self.names[n]: v for n, v in initial.items()}
        for name, rate in rates.items():
            fixed = {n: np.float64(constants[n].value) for n in free_names(rate) if n in constants}

            def at(states: Mapping[str, float], rate: str = rate, fixed: Mapping[str, Any] = fixed) -> float:
                known = {n: np.float64(states.get(n, 0.0)) for n in free_names(rate) if n in start}
                return float(evaluated(rate, {**fixed, **known}))

            # each state's own part, and what is left without any
            terms = [at({}), *(at({n: v}) - at({}) for n, v in start.items())]
            if abs(at(start)) > _ROUNDING * sum(map(abs, terms)):
                hint = f"let {name!r} start where its equation has it rest, or leave the delays out"
                message = f"it starts at {initial[name]:g}, and not at rest, and with a delay would start later by that"
                raise refuse(self.synapses, f"equations.{name}", f"{message}; {hint}")

    def _written(self, name: str, value: float) -> str:
        unit = unit_of_dimension(self.equations[name].dim)
        return repr(value) if unit == "1" or value == 0 else f"{value!r}*{unit}"

    def _check(self, text: str, key: str) -> None:
        """Refuse what reads more than these states and parameters."""
        scope = self.reader.scope
        if others := sorted(set(free_names(text)) & {*scope.state_names, scope.time, scope.last_spike, scope.index}):
            raise refuse(self.synapses, key, f"{text!r} reads {others[0]!r} of {place(scope.group)}; {_SHARED}")
