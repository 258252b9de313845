"""Integrals over a trial of expressions in the states: one more state of the population's model.

With ``dq/dt = expression`` and ``q = 0`` at the start, the integral is q at the end of the trial. A simulation that is
exact in the states is then exact in their integral, whatever happens in between, and so is its gradient.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..templates.errors import brief, suggest
from ..templates.expressions import free_names, substitute
from ..templates.groups import Population
from ..templates.model import Model, Parameter, State
from ..templates.network import Network
from ..templates.units import Dimension, expression_dimension, unit_dimension, unit_of_dimension
from .observables import AtEnd, Observable, Primitive, Samples

__all__ = ["Constant", "Integral", "integral_dimension", "with_integrals"]


@dataclass(frozen=True)
class Constant:
    """A number, or one for each neuron, in SI base units.

    Attributes
    ----------
    value : float or tuple of float
    unit : str
        Base unit in Brian2's syntax.
    """

    value: float | tuple[float, ...]
    unit: str = "1"

    def __str__(self) -> str:
        number = f"{self.value:g}" if isinstance(self.value, float) else f"[{', '.join(f'{v:g}' for v in self.value)}]"
        return number if self.unit == "1" else f"{number} {self.unit}"


@dataclass(frozen=True)
class Integral(AtEnd):
    """The integral over a trial of a smooth expression in states and parameters: ``(trials, n)``.

    Attributes
    ----------
    expression : str
        In the syntax of equations.
    constants : tuple of (str, Constant)
        What it names beside states and parameters of the model.
    """

    expression: str = "v"
    constants: tuple[tuple[str, Constant], ...] = ()

    @property
    def state(self) -> str:
        """What its state is called: another name for another integral."""
        told = repr((" ".join(self.expression.split()), self.constants))
        return f"integral_{zlib.crc32(told.encode()):08x}"

    def primitive(self, network: Network) -> Primitive:
        """Its state at the end; see `Observable.primitive`.

        Raises
        ------
        ValueError
            If the network has no such state; `with_integrals` makes it, for a `Simulation` and the reference.
        """
        name = self.population or network.output
        model = next((p.model for p in network.populations if p.name == name), None)
        if model is not None and self.state not in model.state_names:
            raise ValueError(
                f"the loss reads the integral of {self.expression!r}, for which {model.name} has no state; a "
                "Simulation and the reference add it, a time grid does not"
            )
        return Samples(self.population, self.state, network.duration).primitive(network)


def integral_dimension(seen: Integral, model: Model) -> Dimension:
    """The dimension of an integral over states and parameters of a model.

    Parameters
    ----------
    seen : Integral
    model : Model

    Raises
    ------
    ValueError
        If it names something unknown, something that a constant and the model both call so, or isn't consistent.
    """
    known = {s.name: unit_dimension(s.unit) for s in model.states}
    known |= {p.name: unit_dimension(p.unit) for p in model.parameters.values()}
    what = f"integral({seen.expression})"
    for name, constant in seen.constants:
        if name in known:
            raise ValueError(f"{brief(what)}: {name!r} is a constant, and also a variable of {model.name}; rename it")
        known[name] = unit_dimension(constant.unit)
    for name in free_names(seen.expression):
        if name not in known:
            raise ValueError(
                f"{brief(what)}: {name!r} is neither a state or parameter of {model.name} nor a constant; "
                f"{suggest(name, known)}"
            )
    try:
        return expression_dimension(seen.expression, known) * unit_dimension("second")
    except ValueError as error:
        raise ValueError(f"{brief(what)}: {error}") from None


def with_integrals(network: Network, observables: Sequence[Observable]) -> Network:
    """A network whose models have a state for each of the integrals that are read of them.

    Parameters
    ----------
    network : Network
        Not changed.
    observables : sequence of Observable
        Those that are no integrals don't matter.

    Returns
    -------
    Network
        The same one if nothing is missing; otherwise its trainable values are the same.

    Raises
    ------
    ValueError
        If an integral names something unknown, or its units aren't consistent.
    """
    wanted: dict[str, list[Integral]] = {}
    for seen in dict.fromkeys(o for o in observables if isinstance(o, Integral)):
        wanted.setdefault(seen.population or network.output, []).append(seen)
    if not wanted:
        return network
    populations = []
    for p in network.populations:
        for seen in wanted.get(p.name, ()):
            p = _with_integral(p, seen)
        populations.append(p)
    return replace(network, populations=tuple(populations))


def _with_integral(p: Population, seen: Integral) -> Population:
    """A population with one more state; constants carry its name, so that none meets another."""
    model = p.model
    if seen.state in model.state_names:
        return p
    unit = unit_of_dimension(integral_dimension(seen, model))
    named = {name: f"{seen.state}_{name}" for name, _ in seen.constants}
    rhs = substitute(seen.expression, named)
    parameters = dict(model.parameters)
    values = dict(p.parameters)
    equations = f"{model.equations.rstrip()}\nd{seen.state}/dt = {rhs} : {unit}"
    for name, constant in seen.constants:
        value = np.asarray(constant.value)
        own = named[name]
        parameters[own] = Parameter(own, float(value.flat[0]), constant.unit, repr(constant.value))
        values[own] = value if value.ndim else float(value)
        equations += f"\n{own} : {constant.unit} (constant, shared)"
    # what a current adds to an input that nothing in the model drives
    added = {n: f"{n} + {i.drive}" for n, i in model.inputs.items() if n in parameters and n in free_names(rhs)}
    opened = {seen.state: substitute(rhs, added)} if added else {}
    extended = replace(
        model,
        states=(*model.states, State(seen.state, unit, description=f"integral of {seen.expression}")),
        derivatives={**model.derivatives, seen.state: rhs},
        open_derivatives={**model.open_derivatives, **opened},
        parameters=parameters,
        equations=equations,
    )
    return replace(p, model=extended, parameters=values)
