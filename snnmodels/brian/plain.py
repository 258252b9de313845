"""Models as ordinary Brian2 objects, for a Brian2 user's own script on any target.

These simulate on Brian2's grid: events take effect at time steps, as in any Brian2 simulation. Nothing of the package
takes part in the run; but where the device is Brian2CUDA's, its known faults are repaired (`brian2cuda`).
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg
import sympy as sp
from brian2 import NeuronGroup, Quantity, Synapses, defaultclock
from brian2.core.base import BrianObject
from brian2.core.variables import Variable
from brian2.equations import Equations
from brian2.equations.refractory import add_refractoriness
from brian2.groups.group import Group
from brian2.parsing.sympytools import str_to_sympy
from brian2.stateupdaters.base import UnsupportedEquationsException
from brian2.stateupdaters.exact import linear
from brian2.utils.logger import get_logger

from ..symbolic.declaration import hybrid_system
from ..symbolic.parsing import UnsupportedExpression, symbol
from ..symbolic.system import HybridSystem
from ..templates import Model, as_model
from ..templates.arguments import check_kind, check_mapping, check_whole, real_array
from ..templates.errors import suggest
from ..templates.expressions import free_names, substitute
from ..templates.model import AMPLITUDE
from ..templates.units import numbers_in, unit_dimension
from .brian2cuda import repair_active_device
from .names import attributes, synapse_attributes

__all__ = ["integration_method", "neuron_group", "synapses"]

logger = get_logger(__name__)

Array = np.ndarray

# Relative deviation of one exact step from the matrix exponential that is still rounding
_ROUNDING = 1e-9
_ATTRIBUTE = "is called like an attribute of Brian2's groups, which would hide it; rename it"


def neuron_group(
    model: str | Path | Model,
    N: int,
    *,
    method: str | None = None,
    drives: Mapping[str, str] | None = None,
    **kwargs: Any,
) -> NeuronGroup:
    """An ordinary `brian2.NeuronGroup` of a model.

    Parameters
    ----------
    model : str, Path or Model
        A name or path as `load_model` takes it, or what that gives.
    N : int
        Number of neurons.
    method : str, optional
        Integration method. By default ``"exact"`` where Brian2's closed form holds at these parameter values, else
        ``"rk4"`` for linear and ``"rk2"`` for nonlinear models; see `integration_method`. Name one yourself if you
        change time constants afterwards. With `drives` it is never ``"exact"``, which Brian2 allows where they are
        constant over a time step.
    drives : mapping of str to str, optional
        What is added to inputs of the model, as expressions in Brian2's syntax with the input's unit. A
        `brian2.TimedArray` (``drives={"I_syn": "stimulus(t, i)"}``) holds its samples, as a `CurrentInput` does.
    **kwargs
        Parameters of the model with their units (``tau_m=10*ms``), one value for all neurons or an array of N;
        initial values of its states (a quantity, an array, or a string such as ``"rand()"``); anything else goes to
        `brian2.NeuronGroup` (``name``, ``dt``, ``refractory``, ...). A model that declares a refractory period brings
        its own.

    Returns
    -------
    brian2.NeuronGroup
        Parameters are constants of the group, shared unless an array was given, and can be set like any other
        (``group.tau_m = 10*ms``). States are at the model's initial values. A neuron that begins above its threshold
        spikes in the first step, as any of Brian2's; the event engine refuses it, or, of a model that resets nothing,
        waits until it has been below.

    Raises
    ------
    TypeError
        For a keyword that is neither a parameter nor a state, nor known to `brian2.NeuronGroup`; for ``refractory``
        where the model declares it.
    ValueError
        If a variable of the model is called like an attribute of Brian2's groups, or the model has no input that is to
        be driven, or reads it elsewhere than in the equations of its states; for what is no model, or no number of
        neurons.
    brian2.DimensionMismatchError
        For a value with another unit.

    Examples
    --------
    >>> from brian2 import ms
    >>> group = neuron_group(load_model("lif"), 10, tau_m=10 * ms)
    """
    model = as_model(model)
    check_whole("N", N)
    check_mapping("drives", {} if drives is None else drives, "expressions by input, as in {'I_syn': 'stimulus(t, i)'}")
    repair_active_device()
    options = set(inspect.signature(NeuronGroup.__init__).parameters) - {"self", "N", "model", "threshold", "reset"}
    for name in (*model.parameters, *model.state_names):
        if name in attributes():
            raise ValueError(f"{model.name}: the variable {name!r} {_ATTRIBUTE}")
    if model.refractory is not None and "refractory" in kwargs:
        raise TypeError(f"{model.name} declares its own refractory period, {model.refractory.duration}; set that")
    known = {*model.parameters, *model.state_names, *options}
    for name in kwargs:
        if name in model.derived:
            raise TypeError(model.no_parameter(name))
        if name not in known:
            raise TypeError(f"{model.name} has no parameter {name!r}; {suggest(name, known)}")
    for name in model.parameters:
        _check_quantity(name, kwargs.get(name, 0.0))
    for name in model.state_names:
        if not isinstance(value := kwargs.get(name, 0.0), str):
            _check_quantity(name, value)
    values = {
        name: kwargs.get(name, Quantity(p.value, dim=unit_dimension(p.unit))) for name, p in model.parameters.items()
    }
    per_neuron = [name for name, value in values.items() if np.ndim(value) > 0]
    equations = _equations(model, per_neuron, drives or {})
    reset = [*map(str, model.reset)]
    if below := _time_below(model):
        equations += f"\nd{below}/dt = int(not ({model.threshold})) : second"
        reset.append(f"{below} = 0*second")
    if method is None and drives:
        method = "rk4" if hybrid_system(model).is_linear else "rk2"
    if method is None:
        dt = kwargs.get("dt") or getattr(kwargs.get("clock"), "dt", None) or defaultclock.dt
        method = integration_method(model, float(dt), {n: np.asarray(v, dtype=float) for n, v in values.items()})
        if method != "exact":
            logger.info(f"{model.name}: integrated by {method}; Brian2's exact method does not apply")
    group = NeuronGroup(
        N,
        equations,
        threshold=model.threshold,
        reset="\n".join(reset) or None,
        method=method,
        **_silence(model, below),
        **{name: value for name, value in kwargs.items() if name in options},
    )
    for name, value in values.items():
        setattr(group, name, value)
    for state in model.states:
        initial = kwargs.get(state.name, state.initial)
        if initial != "0":
            setattr(group, state.name, initial)
    return group


def _check_quantity(name: str, value: Any) -> None:
    """Refuse what holds no numbers; their unit is checked by Brian2."""
    real_array(name, value if getattr(value, "dim", None) is None else np.asarray(value))


def _silence(model: Model, below: str) -> dict[str, str]:
    """What keeps Brian2's neurons from spiking: a refractory period, or that they are still above threshold.

    A neuron that has come below within its period, and is above again, spikes at its end: `below` is the variable that
    tells, where there is one.
    """
    if model.refractory is None:
        return {"refractory": str(model.threshold)} if model.spiking and _stays_above(model) else {}
    if not below:
        return {"refractory": model.refractory.duration}
    still = f"({model.threshold}) and {below} == 0*second"
    return {"refractory": f"not {_passed(model.refractory.duration)} or ({still})"}


def _time_below(model: Model) -> str:
    """The variable that counts how long a neuron has been below threshold since its last spike; empty without need."""
    if model.refractory is None or not model.spiking or not _stays_above(model):
        return ""
    name = "time_below"
    while name in {*model.parameters, *model.state_names, *attributes()}:
        name += "_"
    return name


def _passed(duration: str, suffix: str = "") -> str:
    """Whether a time has passed since the last spike, on the grid, as Brian2 itself tells the end of a period."""
    return f"(timestep(t - lastspike{suffix}, dt) >= timestep({duration}, dt))"


def _hold_duration(model: Model) -> str | None:
    """For how long states are held, where Brian2's ``(unless refractory)`` would hold them for another time."""
    if model.refractory is None or not model.refractory.hold:
        return None
    if model.refractory.hold_duration is None and not _stays_above(model):
        return None
    return model.refractory.durations[-1]


def _stays_above(model: Model) -> bool:
    try:
        return hybrid_system(model).latch is not None
    except UnsupportedExpression:
        return not model.reset


class _Synapses(Synapses):
    """Synapses some of whose variables start from other values than 0, which can be set when there are any."""

    _initial: Mapping[str, str] = {}

    def connect(self, *args: Any, level: int = 0, **kwargs: Any) -> None:
        """As that of Brian2; what was set of these variables before starts anew."""
        super().connect(*args, level=level + 1, **kwargs)
        for name, value in self._initial.items():
            setattr(self, name, value)


def synapses(
    model: str | Path | Model, source: BrianObject, target: NeuronGroup, receptor: str | None = None, **kwargs: Any
) -> Synapses:
    """Ordinary `brian2.Synapses` onto a receptor of a model, not yet connected.

    Parameters
    ----------
    model : str, Path or Model
        Of the target, or its name or path as `load_model` takes it.
    source : brian2 group that emits spikes
    target : brian2.NeuronGroup
        From `neuron_group`.
    receptor : str, optional
        Its name; may be left out if the model has only one.
    **kwargs
        For `brian2.Synapses` (``name``, ``delay``, ...).

    Returns
    -------
    brian2.Synapses
        With one weight per synapse, by the receptor's name for it (usually ``w``). States that the receptor's sources
        have are variables of every synapse here, as they are when the spike arrives: the same, but that with a delay
        those that don't start at rest start later by that. They are event-driven, or, where they drive each other,
        followed from step to step.

    Raises
    ------
    ValueError
        If the receptor isn't one of the model's, or has to be named, or its weight is called like an attribute of
        Brian2's synapses; if it does more than add to a state that ignores arrivals for another time than spikes are
        blocked; for what is no model, or no group of Brian2.

    Examples
    --------
    >>> model = load_model("lif")
    >>> group = neuron_group(model, 10)
    >>> connections = synapses(model, group, group)
    >>> connections.connect()
    >>> connections.w = 0.5
    """
    model = as_model(model)
    for name, group in (("source", source), ("target", target)):
        check_kind(name, group, Group, "a group of Brian2")
    check_kind("receptor", receptor, (str, type(None)), "the name of a receptor")
    repair_active_device()
    if receptor is None and len(model.receptors) == 1:
        receptor = next(iter(model.receptors))
    if receptor is None or receptor not in model.receptors:
        problem = f"no receptor {receptor!r}" if receptor else "several receptors or none; name one"
        raise ValueError(f"{model.name} has {problem}; {suggest(receptor or '', model.receptors)}")
    arrival = model.receptors[receptor]
    if arrival.weight in synapse_attributes():
        raise ValueError(f"{model.name}: the weight {arrival.weight!r} {_ATTRIBUTE}")
    post = {name: f"{name}_post" for name in (*model.state_names, *model.parameters)}
    code = [(s, substitute(s.expression, post)) for s in arrival.on_pre]
    hold, period = _hold_duration(model), model.refractory
    if hold is not None and period is not None and period.arrivals == "ignore":
        for k, (s, rhs) in enumerate(code):
            if s.variable not in period.hold:
                continue
            if s.operator not in ("+=", "-="):
                raise ValueError(
                    f"{model.name}: an arrival through {receptor!r} does {str(s)!r} to a state that ignores it for "
                    f"{hold} after a spike; Brian2's synapses can leave out only what is added there"
                )
            code[k] = (s, f"int{_passed(substitute(hold, post), '_post')}*({rhs})")
    weight = arrival.weight if arrival.source is None else f"({arrival.weight}*{AMPLITUDE})"
    lines = [f"{s.variable}_post {s.operator} {substitute(rhs, {arrival.weight: weight})}" for s, rhs in code]
    equations = [f"{arrival.weight} : {arrival.weight_unit}"]
    if (states := arrival.source) is not None:
        post = {name: f"{name}_post" for name in model.parameters}
        lines = [f"{s.variable} {s.operator} {substitute(s.expression, post)}" for s in states.on_pre] + lines
        units = {s.name: s.unit for s in states.states}
        # of states that drive each other Brian2's closed form divides by zero where two time constants are equal
        coupled = any(set(free_names(rhs)) & (units.keys() - {name}) for name, rhs in states.derivatives.items())
        if coupled:
            kwargs.setdefault("method", "rk4")
        equations += [
            f"d{name}/dt = {substitute(rhs, post)} : {units[name]} ({'clock' if coupled else 'event'}-driven)"
            for name, rhs in states.derivatives.items()
        ]
        equations.append(f"{AMPLITUDE} : 1")
    made = _Synapses(source, target, "\n".join(equations), on_pre="\n".join(lines), **kwargs)
    if states is not None:
        made._initial = {s.name: substitute(s.initial, post) for s in states.states if s.initial != "0"}
    return made


def integration_method(model: Model, dt: float, values: Mapping[str, float | Array]) -> str:
    """The method of Brian2 for a model: ``"exact"`` where that equals the matrix exponential, ``"rk4"`` or ``"rk2"``.

    Nonlinear models take rk2. A spike that runs away (the exponential neuron) grows without bound within a step; with
    the nested evaluations of rk4 that ends as inf - inf, and NaN never crosses a threshold, so that the neuron would
    be silent from then on. With the single intermediate evaluation of rk2 it ends beyond the threshold, as it should.

    Linear models take Brian2's closed form if it holds, else rk4. The form doesn't exist for singular systems (a
    membrane without leak), divides by zero when two time constants are equal, and misreads some names of states
    (``E``); so its step is computed at these values and compared. Where states drive each other in a loop, the search
    for a closed form takes minutes or fails on complex eigenvalues, and isn't tried.

    Parameters
    ----------
    model : Model
    dt : float
        Time step in seconds.
    values : mapping of str to float or array
        Value of every parameter, SI units; arrays have one per neuron.

    Returns
    -------
    str
    """
    try:
        system = hybrid_system(model)
    except UnsupportedExpression:
        # a function without a derivative is not linear either
        return "rk2"
    if not system.is_linear:
        return "rk2"
    if _has_loop(system):
        return "rk4"
    equations = Equations(_equations(model, (), {}))
    numbers = {name: number for rhs in model.derivatives.values() for name, number in numbers_in(rhs).items()}
    phases: dict[float, HybridSystem] = {1.0: system}
    if model.refractory is not None:
        equations = add_refractoriness(equations)
        phases[0.0] = system.held()
    try:
        code = linear(equations, _variables(model, numbers)).replace("int(not_refractory)", "not_refractory")
    except (UnsupportedEquationsException, sp.SympifyError, ZeroDivisionError):
        return "rk4"
    columns = np.broadcast_arrays(*(np.atleast_1d(v) for v in values.values()))
    for combination in np.unique(np.stack(columns), axis=1).T if columns else [()]:
        here = dict(zip(values, map(float, combination), strict=True))
        for free, phase in phases.items():
            exact = _matrix_exponential(phase, here, dt)
            brian = _one_step(code, phase, {**here, **numbers, "not_refractory": free}, dt)
            # not >, because NaN fails every comparison
            if not (np.abs(brian - exact) <= _ROUNDING * np.abs(exact)).all():
                return "rk4"
    return "exact"


def _has_loop(system: HybridSystem) -> bool:
    """Whether any state drives itself through others."""
    drives = np.array(system.jacobian().applyfunc(lambda entry: int(entry != 0)), dtype=int)
    np.fill_diagonal(drives, 0)
    return bool(np.linalg.matrix_power(drives + np.eye(len(drives), dtype=int), len(drives)).T[drives > 0].any())


def _matrix_exponential(system: HybridSystem, values: Mapping[str, float], dt: float) -> Array:
    """One step of x' = Mx + c as a matrix on (x, 1), its last row left out."""
    numbers = {symbol(name): value for name, value in values.items()}
    at_zero = dict.fromkeys(system.states, 0)
    matrix = system.jacobian().row_join(sp.Matrix([system.f[x].xreplace(at_zero) for x in system.states]))
    augmented = np.zeros((len(system.states) + 1,) * 2)
    augmented[:-1] = np.array(matrix.subs(numbers), dtype=float)
    return scipy.linalg.expm(augmented * dt)[:-1]


def _one_step(code: str, system: HybridSystem, values: Mapping[str, float], dt: float) -> Array:
    """The same matrix from the statements ``_x = ...`` of a state updater."""
    expressions = {}
    for line in code.splitlines():
        variable, _, expression = line.partition(" = ")
        if variable.startswith("_"):
            expressions[variable[1:]] = str_to_sympy(expression)
    names = [*(x.name for x in system.states), *values, "dt"]
    step = sp.lambdify(names, [expressions[x.name] for x in system.states], modules="numpy")
    n = len(system.states)
    with np.errstate(all="ignore"):
        outputs = [np.array(step(*map(np.float64, (*x, *values.values(), dt)))) for x in (*np.eye(n), np.zeros(n))]
    return np.stack([*(output - outputs[-1] for output in outputs[:-1]), outputs[-1]], axis=1)


def _variables(model: Model, numbers: Iterable[str]) -> dict[str, Variable]:
    """What Brian2's symbolic part wants to know: which names are constants."""
    constants = {name: Variable(name, constant=True, scalar=True) for name in (*model.parameters, *numbers)}
    return {**{name: Variable(name) for name in (*model.state_names, "not_refractory")}, **constants}


def _equations(model: Model, per_neuron: Collection[str], drives: Mapping[str, str]) -> str:
    """The model's equations, with some parameters one per neuron instead of shared, and what is held marked so."""
    driven = _driven(model, drives) if drives else {}
    held = {} if model.refractory is None else {f"d{name}/dt": name for name in model.refractory.hold}
    lines = []
    for line in model.equations.splitlines():
        name, _, rest = line.partition(":")
        left, _, right = name.partition("=")
        if left.strip() in driven:
            right = driven[left.strip()]
            line = f"{left.strip()} = {right} :{rest}"
        if name.strip() in per_neuron:
            line = line.replace("(constant, shared)", "(constant)")
        elif left.strip() in held:
            line = _held(left.strip(), right.strip(), rest.strip(), model)
        lines.append(line)
    return "\n".join(lines)


def _driven(model: Model, drives: Mapping[str, str]) -> dict[str, str]:
    """Right sides with something added to inputs, by left side."""
    for name in drives:
        if name not in model.inputs:
            raise ValueError(f"{model.name} has no input {name!r}; {suggest(name, model.inputs)}")
        if place := model.inputs[name].read_at:
            raise ValueError(f"the {place} of {model.name} reads {name!r}; only what equations read can be driven")
    found = {}
    for state, rhs in model.open_derivatives.items():
        for name, i in model.inputs.items():
            # Brian2 takes no bare 0 for a quantity
            rhs = substitute(rhs, {i.drive: drives[name]}) if name in drives else rhs.replace(f" + {i.drive}", "")
        found[f"d{state}/dt"] = rhs
    return found


def _held(derivative: str, rhs: str, unit: str, model: Model) -> str:
    """The equation of a state that is held while its neuron is refractory."""
    assert model.refractory is not None
    if (hold := _hold_duration(model)) is not None:
        return f"{derivative} = int{_passed(hold)}*({rhs}) : {unit}"
    if model.refractory.arrivals == "ignore":
        return f"{derivative} = {rhs} : {unit} (unless refractory)"
    # the flag would also keep arrivals from the state
    return f"{derivative} = int(not_refractory)*({rhs}) : {unit}"
