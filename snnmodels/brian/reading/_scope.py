"""Names of a Brian2 group as names of a model: what they stand for in the script, and where it keeps their values."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from brian2 import Synapses, TimedArray
from brian2.core.base import BrianObject
from brian2.core.functions import DEFAULT_FUNCTIONS, Function
from brian2.core.variables import Constant
from brian2.equations.equations import BOOLEAN, DIFFERENTIAL_EQUATION, INTEGER, PARAMETER, Equations
from brian2.groups.group import Group
from brian2.units.fundamentalunits import Quantity

from ...templates import TemplateError
from ...templates.errors import located, suggest
from ...templates.expressions import parse, replace_nodes
from ...templates.units import check_identifier, is_unit_name, unit_of_dimension
from ._slots import Array, Slot, quantity

__all__ = ["NEVER", "Current", "ModelConstant", "Scope", "place", "refuse", "without_grid"]

_MATHEMATICAL = ("pi", "e", "inf")
_RANDOM = ("rand", "randn", "poisson")
_OF_A_GRID = ("dt", "t_in_timesteps")
NEVER = -1e4  # seconds; what Brian2 takes for the last spike of a neuron that has not spiked


def place(of: BrianObject) -> str:
    """What messages call an object of a script."""
    return f"{type(of).__name__} {of.name!r}"


def refuse(of: BrianObject, key: str, message: str) -> TemplateError:
    """The error that says what of an object isn't read, and what to do."""
    return TemplateError(place(of), key, message)


@dataclass
class ModelConstant:
    """A parameter of a model: its values in SI base units, and how the script takes others.

    Attributes
    ----------
    name, unit, description : str
        Name in the model; base unit.
    value : float or array, shape (n,)
    positive : bool
        Whether it has to be more than 0: times that are, but for those at which states start.
    slots : dict of str to Slot
        Where the script keeps it, by the object's name.
    """

    name: str
    unit: str
    value: float | Array
    description: str
    positive: bool
    slots: dict[str, Slot] = field(default_factory=dict)


@dataclass(frozen=True)
class Current:
    """An input of a model that a `TimedArray` drives: its name in the model, and the column of every neuron."""

    name: str
    array: TimedArray
    columns: Array


class Scope:
    """The names of one group, as its own statements and those of its synapses read them.

    Parameters
    ----------
    group : NeuronGroup or PoissonGroup
    namespace : mapping
        Of the script, for what groups don't define.
    changed : collection of str
        Parameters that resets or synapses assign to: they are states with the derivative 0.
    learnable : collection of str
        Parameters of the model to be learned.
    """

    def __init__(
        self, group: Any, namespace: Mapping[str, Any], changed: set[str], learnable: Collection[str] = ()
    ) -> None:
        self.group, self.namespace, self.changed, self.learnable = group, namespace, changed, learnable
        self.equations = getattr(group, "user_equations", Equations(""))
        self.constants: dict[str, ModelConstant] = {}
        self.currents: list[Current] = []
        self.subexpressions: dict[str, str] = {}
        self.time = self.last_spike = self.index = ""
        self._taken = {*self.equations.names}
        self._externals: dict[tuple[str, float, str], str] = {}
        self._numbers: dict[tuple[str, str], Slot] = {}
        self._fixed: dict[str | tuple[str, float, str], tuple[Group, str, str]] = {}

    @property
    def state_names(self) -> list[str]:
        """States of the model that are variables of the group."""
        return [
            name
            for name, e in self.equations.items()
            if e.type == DIFFERENTIAL_EQUATION or (e.type == PARAMETER and name in self.changed)
        ]

    def fresh(self, name: str) -> str:
        """A name of the model that nothing has yet, if possible this one."""
        wanted, k = name.lstrip("_") or "constant", 0
        name = wanted
        while name in self._taken or not _usable(name):
            k += 1
            name = f"{wanted}_{k}"
        self._taken.add(name)
        return name

    def read(self, text: str, key: str) -> str:
        """An expression of the group itself in names of the model."""
        return self.expression(text, self.group, key, lambda name: self.internal(name, self.group, key))

    def expression(self, text: str, owner: Group, key: str, lookup: Callable[[str], str | None]) -> str:
        """An expression in names of the model.

        Parameters
        ----------
        text : str
        owner : Group
            Whose expression it is.
        key : str
            Where it stands, for messages.
        lookup : callable
            What a variable of the owner is in the model; None for what is not one.

        Raises
        ------
        TemplateError
            For what has no counterpart in a model.
        """
        text = " ".join(text.split())  # as it is parsed, so that columns are places in it
        with located(place(owner), key):
            if "timestep" in text:
                text = ast.unparse(without_grid(parse(text).body))
            tree = parse(text).body
        places: dict[ast.expr, str] = {}
        inside: set[int] = set()
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            inside.add(id(node.func))
            if node.func.id in _RANDOM:
                hint = "draw before the run, as PoissonGroup, SpikeGeneratorGroup and TimedArray do"
                raise refuse(owner, key, f"{ast.unparse(node)!r} draws while it runs, which has no gradient; {hint}")
            if node.func.id in DEFAULT_FUNCTIONS:
                continue
            places[node] = self._current(node, owner, key)
            inside |= {id(inner) for inner in ast.walk(node)}
        # an exponent stays a number: a power whose exponent is a parameter has no real derivative by it below 0
        for node in ast.walk(tree):
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow) and isinstance(node.right, ast.Name):
                name = node.right.id
                if lookup(name) is None and not is_unit_name(name) and name not in _MATHEMATICAL:
                    exponent = self.number(name, owner, key)[0]
                    self.fix(name, owner, key, "an exponent, which stays the number that it is; write that number")
                    places[node.right] = str(int(exponent)) if exponent.is_integer() else repr(exponent)
                    inside.add(id(node.right))
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and id(node) not in inside:
                found = lookup(node.id)
                if found is None:
                    found = self.external(node.id, owner, key)
                if found != node.id:
                    places[node] = found
        with located(place(owner), key):
            return places[tree] if tree in places else replace_nodes(text, places)

    def internal(self, name: str, owner: Group, key: str) -> str | None:
        """What a variable of the group is in the model; None for what the group doesn't have."""
        equation = self.equations.get(name)
        if equation is not None:
            if name in self.state_names:
                return name
            if equation.type == PARAMETER:
                return self._parameter(name, owner, key)
            if equation.var_type == BOOLEAN:  # no variable of a model is one
                return f"({self.read(equation.expr.code, f'equations.{name}')})"
            if name not in self.subexpressions:
                self.subexpressions[name] = ""  # Brian2 has refused circular ones
                self.subexpressions[name] = self.read(equation.expr.code, f"equations.{name}")
            return name
        match name:
            case "N":
                return str(len(self.group))
            case "i":
                index = np.arange(len(self.group), dtype=float)
                if not self.index:
                    self.index = self.constant(self.fresh("neuron_index"), "1", index, "number of the neuron, from 0")
                    self._keep(self.index, self.group, lambda _: None, "the number of a neuron is none to learn")
                return self.index
            case "t":
                self.time = self.time or self.fresh("time")
                return self.time
            case "lastspike" if name in self.group.variables:
                self.internal("t", owner, key)
                self.last_spike = self.last_spike or self.fresh("last_spike")
                return self.last_spike
            case "not_refractory" if name in self.group.variables:
                hint = "write int(not_refractory)*(...) around the whole right side, or (unless refractory)"
                raise refuse(owner, key, f"'not_refractory' within an expression isn't read; {hint}")
            case _ if name in _OF_A_GRID:
                raise refuse(
                    owner, key, f"{name!r} is of a time grid, and there is none in continuous time; leave it out"
                )
        return None

    def external(self, name: str, owner: Group, key: str) -> str:
        """What a name that is no variable of its owner is in the model: a unit, or a parameter.

        Raises
        ------
        TemplateError
            If it isn't defined, or is no number.
        """
        if is_unit_name(name) or name in _MATHEMATICAL:
            return name
        value, dim = self.number(name, owner, key)
        unit = unit_of_dimension(dim)
        known = self._externals.get((name, value, unit))
        if known is None:
            known = self.constant(self.fresh(name), unit, value, f"{name!r} of the script")
            self._externals[name, value, unit] = known
        self.constants[known].slots[owner.name] = self.number_slot(name, owner, value, dim)
        return known

    def number_slot(self, name: str, owner: Group, value: float, dim: Any) -> Slot:
        """Where a number of the script is put for an owner: one place, whatever reads it."""

        def put(new: Array) -> None:
            own = {**owner.namespace, name: quantity(new, dim)}  # a dict may be shared with others
            for part in (owner, *(o for o in owner.contained_objects if hasattr(o, "namespace"))):
                part.namespace = own

        key = owner.name, name
        if key not in self._numbers:
            held = np.full(max(1, len(owner)) if isinstance(owner, Synapses) else 1, value)
            self._numbers[key] = Slot(f"{place(owner)}: {name!r}", put, lambda: held, single=True)
        return self._numbers[key]

    def fix(self, name: str, owner: Group, key: str, what: str, *, number: bool = True) -> None:
        """Note that a parameter, or a number of the script, has gone into something as the number that it is.

        Parameters
        ----------
        name : str
            What `owner` calls a number of the script, or a parameter of the model.
        owner, key : Group, str
            Where.
        what : str
            What it has become a part of, and what to do if it is to be learned.
        number : bool
            Whether the name is the script's.
        """
        known: str | tuple[str, float, str] = name
        if number:
            value, dim = self.number(name, owner, key)
            known = name, value, unit_of_dimension(dim)
        self._fixed.setdefault(known, (owner, key, what))

    def check_fixed(self) -> None:
        """Refuse to learn what has been fixed: the gradient would miss that.

        Raises
        ------
        TemplateError
        """
        for known, (owner, key, what) in self._fixed.items():
            name = known if isinstance(known, str) else self._externals.get(known, "")
            if name in self.learnable:
                raise refuse(owner, key, f"{name!r}, which {self.group.name!r} is to learn, is part of {what}")

    def number(self, name: str, owner: Group, key: str) -> tuple[float, Any]:
        """A constant of the script in SI base units, and its dimension.

        Raises
        ------
        TemplateError
            If it isn't defined, or is no number.
        """
        found = self._resolved(name, owner, key)
        if not isinstance(found, Constant):
            raise refuse(owner, key, f"{name!r} is a {type(found).__name__}; expected a number of the script")
        value = np.asarray(found.get_value())
        if value.dtype.kind not in "iuf" or value.ndim:
            raise refuse(owner, key, f"{name!r} is {value!r}; expected one real number")
        return float(value), found.dim

    def learns(self, name: str, owner: Group, key: str) -> bool:
        """Whether a number of the script, as its owner calls it, is a parameter of the group that is to be learned.

        Raises
        ------
        TemplateError
            If it might be another number, which other synapses call the same.
        """
        if name not in self.learnable or name in self.equations.names:
            return False
        value, dim = self.number(name, owner, key)
        known = [number for number, parameter in self._externals.items() if parameter == name]
        if not known or known[0] == (name, value, unit_of_dimension(dim)):
            return True
        if self.group.name not in (others := self.constants[name].slots):
            message = f"{name!r}, which {self.group.name!r} is to learn, is another number in {sorted(others)[0]!r}"
            raise refuse(owner, key, f"{message}; call them differently")
        return False  # but the group's own number

    def _resolved(self, name: str, owner: Group, key: str) -> Any:
        try:
            return owner.resolve_all([name], self.namespace, user_identifiers={name})[name]
        except KeyError:
            known = [*self.equations.names, *(n for n, v in self.namespace.items() if isinstance(v, Quantity))]
            raise refuse(owner, key, f"{name!r} is not defined; {suggest(name, known)}") from None

    def _current(self, call: ast.Call, owner: Group, key: str) -> str:
        """The input of the model that stands for the call of a `TimedArray`."""
        assert isinstance(call.func, ast.Name)
        name, written = call.func.id, ast.unparse(call)
        found = self._resolved(name, owner, key)
        if not isinstance(found, TimedArray):
            what = "a function of yours" if isinstance(found, Function) else "no function"
            hint = "write it out as an expression, of which a derivative can be derived"
            raise refuse(owner, key, f"{written!r} calls {name!r}, {what}; {hint}")
        if owner is not self.group:
            raise refuse(owner, key, f"{written!r}: a TimedArray is read in the equations of states alone")
        expected = f"{name}(t)" if found.values.ndim == 1 else f"{name}(t, i)"
        match call.args:
            case [ast.Name(id="t")] if found.values.ndim == 1:
                columns = np.zeros(len(self.group), dtype=int)
            case [ast.Name(id="t"), index] if found.values.ndim == 2:
                columns = self._columns(index, owner, key, written)
            case _:
                raise refuse(owner, key, f"{written!r} isn't read; write {expected}, and shift the samples themselves")
        most = 1 if found.values.ndim == 1 else found.values.shape[1]
        if columns.min() < 0 or columns.max() >= most:
            raise refuse(owner, key, f"{written!r} reads column {columns.max()}; the array has {most}")
        for current in self.currents:
            if current.array is found and np.array_equal(current.columns, columns):
                return current.name
        self.currents.append(Current(self.fresh(name), found, columns))
        return self.currents[-1].name

    def _columns(self, index: ast.expr, owner: Group, key: str, written: str) -> Array:
        n = len(self.group)
        match index:
            case ast.Constant(value=int() as k):
                return np.full(n, k)
            case ast.Name(id="i"):
                return np.arange(n)
            case ast.Name(id=name) if name in self.equations and self.equations[name].type == PARAMETER:
                if self.equations[name].var_type == INTEGER and name not in self.changed:
                    return np.broadcast_to(self.group.variables[name].get_value(), n).astype(int)
            case ast.Name(id=name) if name not in self.equations:
                self.fix(name, owner, key, f"{written!r}, as the number of a column; write that number")
                return np.full(n, int(self.number(name, owner, key)[0]))
        hint = "the second argument is i, a whole number, or an integer parameter of the group"
        raise refuse(owner, key, f"{written!r} isn't read; {hint}")

    def _parameter(self, name: str, owner: Group, key: str) -> str:
        equation, group = self.equations[name], self.group
        if "linked" in equation.flags:
            raise refuse(
                owner, key, f"{name!r} is linked to another group's variable; copy its values if they are constant"
            )
        if equation.var_type == BOOLEAN:
            raise refuse(owner, key, f"{name!r} is boolean; make it a number, 0 or 1")
        values = np.asarray(group.variables[name].get_value(), dtype=float)
        unit = unit_of_dimension(equation.dim)
        value = float(values.flat[0]) if "shared" in equation.flags else self._own_values(name, values)
        constant = self.constant(name, unit, value, "parameter of the group")

        def put(new: Array) -> None:
            setattr(group, name, quantity(new, equation.dim))

        refusal = "a parameter of whole numbers is none to learn" if equation.var_type == INTEGER else ""
        self._keep(constant, group, put, refusal)
        return constant

    def constant(self, name: str, unit: str, value: float | Array, description: str, *, time: bool = True) -> str:
        """A parameter of the model, made where there is none of the name; `time`: it may have to be positive."""
        if name not in self.constants:
            self._taken.add(name)
            positive = time and unit == "second" and bool(np.all(np.asarray(value) > 0))
            self.constants[name] = ModelConstant(name, unit, value, description, positive)
        return name

    def _keep(self, name: str, owner: Group, put: Callable[[Array], None], refusal: str = "") -> None:
        """Say where the script keeps a constant."""
        constant = self.constants[name]
        slot = Slot(f"{place(owner)}: {name!r}", put, lambda: np.zeros(np.shape(constant.value)), refusal=refusal)
        constant.slots[owner.name] = slot

    def _own_values(self, name: str, values: Array) -> float | Array:
        """A number where all values are the same and none is to be learned, else one for each neuron."""
        if name in self.learnable or (values != values.flat[0]).any():
            return np.broadcast_to(values, len(self.group)).copy()
        return float(values.flat[0])

    def initial(self, state: str) -> str:
        """The initial value of a state: a parameter of the model, or 0 where it is that and not to be learned.

        Parameters
        ----------
        state : str
            Of the group.
        """
        group, equation = self.group, self.equations[state]
        values = np.asarray(group.variables[state].get_value(), dtype=float)
        wanted = f"{state}_0" in self.learnable and f"{state}_0" not in self.equations
        if not wanted and not values.any():
            return "0"

        def put(new: Array) -> None:
            setattr(group, state, quantity(new, equation.dim))

        name, unit = self.fresh(f"{state}_0"), unit_of_dimension(equation.dim)
        self.constant(name, unit, self._own_values(name, values), f"initial value of {state}", time=False)
        self._keep(name, group, put)
        return name

    def period(self, duration: Any) -> str:
        """A refractory period that is a number of the script, as a parameter."""
        group = self.group
        name = self.constant(self.fresh("t_ref"), "second", float(duration), "refractory period")

        def put(new: Array) -> None:
            group._refractory = quantity(new, Quantity(duration).dim)

        self._keep(name, group, put)
        return name

    def own_states(self) -> dict[str, tuple[str, str]]:
        """States that stand for t and lastspike: equation and initial value by name."""
        found = {self.time: (f"d{self.time}/dt = 1 : second", "0")} if self.time else {}
        if self.last_spike:
            found[self.last_spike] = (f"d{self.last_spike}/dt = 0*second/second : second", f"{NEVER}*second")
        return found


def without_grid(tree: ast.expr) -> ast.expr:
    """A tree in which times are compared where it compares their numbers of steps, ``timestep(a, dt)``."""
    return _Times().visit(tree)


class _Times(ast.NodeTransformer):
    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        match node:
            case ast.Compare(
                left=ast.Call(func=ast.Name(id="timestep"), args=[a, ast.Name(id="dt")]),
                comparators=[ast.Call(func=ast.Name(id="timestep"), args=[b, ast.Name(id="dt")])],
            ):
                return ast.Compare(a, node.ops, [b])
        return node


def _usable(name: str) -> bool:
    try:
        check_identifier(name)
    except ValueError:
        return False
    return True
