"""Where a search begins: at the maximum of the likelihood of forced spikes, which is smooth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize

from ..events.engine import SimulationError
from ..templates.constraints import evaluated
from ..templates.expressions import parse_threshold
from ..templates.model import Model
from .likelihood import SOFTNESS
from .space import DELAY, Bounds, Space

if TYPE_CHECKING:
    from .task import Task

__all__ = ["Likeliest", "likeliest", "softness_bounds", "threshold_parameter"]

Array = np.ndarray

_SHIFTS = np.linspace(-5.0, 1.0, 64)  # softnesses by which the threshold without noise is beside the soft one


@dataclass(frozen=True)
class Likeliest:
    """What the likelihood found.

    Attributes
    ----------
    place : array, shape (parameters,)
        With the threshold, and the delay where it is free, at which the model without noise is nearest.
    softness : float
        In the unit of the threshold.
    told : str
    simulations : int
    """

    place: Array
    softness: float
    told: str
    simulations: int


def threshold_parameter(model: Model, names: Sequence[str]) -> str:
    """The parameter among some that lifts the threshold as it grows, one for one; empty if there is none."""
    assert model.threshold is not None
    left, right = parse_threshold(model.threshold)
    rng = np.random.default_rng(0)
    values = {p.name: p.value for p in model.parameters.values()}
    values |= {name: float(x) for name, x in zip(model.state_names, rng.random(len(model.state_names)), strict=True)}
    values |= dict.fromkeys(model.inputs, 0.0)

    def margin(shift: str = "", by: float = 0.0) -> float:
        moved = values if not shift else {**values, shift: values[shift] + by}
        return float(evaluated(left, moved) - evaluated(right, moved))

    def lifts(name: str) -> bool:
        step = 1e-3 * (abs(values[name]) or 1.0)
        return all(abs((margin(name, s) - margin()) / s + 1) < 1e-6 for s in (step, 7 * step))

    try:
        return next((name for name in names if name in values and lifts(name)), "")
    except KeyError:  # a subexpression stands in the threshold
        return ""


def softness_bounds(model: Model, space: Space) -> Bounds:
    """Bounds of the softness: from a two-hundredth of the threshold's range to a third."""
    name = threshold_parameter(model, space.names)
    if name:
        width = space.bounds[name].high - space.bounds[name].low
    else:
        assert model.threshold is not None
        left, right = parse_threshold(model.threshold)
        values = {p.name: p.value for p in model.parameters.values()} | dict.fromkeys(model.inputs, 0.0)
        for state in model.states:
            values[state.name] = float(evaluated(state.initial, values))
        width = abs(float(evaluated(left, values) - evaluated(right, values)))
    return Bounds(width / 200, width / 3, log=True)


def likeliest(task: Task) -> Likeliest | str:
    """The maximum of the likelihood, with a threshold and a delay that fit the spike times; or why there is none.

    L-BFGS on the exact gradient goes from the middle of the bounds, and where a refractory period is free, from a short
    and from a long one: recorded intervals bound it, and the likelihood has several maxima along it. A soft threshold
    lies above that of the same neuron without noise, of which so many softnesses below are tried as candidates.

    Parameters
    ----------
    task : Task
        Whose softness, where it is neither free nor fixed, is searched beside the parameters.
    """
    model, space = task.model, task.space
    own = {name: b for name, b in space.bounds.items() if name not in (DELAY, SOFTNESS)}
    soft = Space(own | {SOFTNESS: space.bounds.get(SOFTNESS) or softness_bounds(model, space)})
    fixed = {n: x for n, x in task.fixed.items() if n not in (DELAY, SOFTNESS)}
    delays = space.bounds.get(DELAY)
    delay = task.fixed.get(DELAY, 0.0) if delays is None else (delays.low + delays.high) / 2
    data = task.likelihood_recording
    shortest = min((float(np.diff(t).min()) for s in data.sweeps for t in s.spikes if len(t) > 1), default=np.inf)
    bounds, first = [(0.0, 1.0)] * len(soft), np.full(len(soft), 0.5)
    starts = [first]
    period = model.refractory.duration if model.refractory is not None else ""
    if period in own:
        k = soft.index(period)
        most = float(soft.placed({period: 0.999 * shortest})[k])
        if not most:
            return f"{period} is at least {own[period].low:g} s, longer than the shortest recorded interval"
        bounds[k] = (0.0, most)
        starts = [np.where(np.arange(len(soft)) == k, share * most, first) for share in (0.25, 0.75)]
    try:
        with task.objective(
            data, 1, space=soft, weights={"likelihood": 1.0}, fixed=fixed, shifted=True, delay=delay
        ) as objective:
            found = [_climbed(objective, x, bounds) for x in starts]
            place, value = min(found, key=lambda f: f[1])
            objective(place[None])
            constant, simulations = float(objective.constants[0]), objective.simulations
    except (SimulationError, ValueError) as error:
        return f"spikes can't be forced on {model.name}: {error}"
    if not value < np.inf:
        return (
            f"spikes can't be forced on {model.name} in the middle of the bounds: its potential runs away before it "
            "spikes, a constraint is broken, or a recorded interval is shorter than its refractory period"
        )
    values = soft.named(place)
    softness = values[SOFTNESS]
    told = f"likelihood {', '.join(f'{v:.4f}' for _, v in found)} nats per spike, softness {softness:.3g}"
    best = space.placed({**values, DELAY: delay})
    # without noise nothing lifts the potential over the threshold, which lies lower then; and the delay
    name = threshold_parameter(model, space.names)
    with task.objective(task.search_recording, len(_SHIFTS), tau=task.widest) as objective:
        for scanned, tried in (
            (name, (values.get(name, 0.0) + (constant + _SHIFTS) * softness).tolist()),
            (DELAY, [] if delays is None else np.linspace(delays.low, delays.high, 15).tolist()),
        ):
            if scanned in space.names and tried:
                at = {n: x for n, x in space.named(best).items() if n != scanned}
                places = np.array([space.placed({**at, scanned: x}) for x in tried])
                best = places[int(np.argmin(objective(places)[0]))]
        simulations += objective.simulations
    return Likeliest(best, softness, told, simulations)


def _climbed(
    objective: Callable[..., tuple[Array, Array | None]], first: Array, bounds: list[tuple[float, float]]
) -> tuple[Array, float]:
    """The maximum of a likelihood from one place: there, and minus its logarithm."""

    def value(place: Array) -> tuple[float, Array]:
        losses, slopes = objective(np.clip(place, 0, 1)[None], gradient=True)
        assert slopes is not None
        return (float(losses[0]), slopes[0]) if np.isfinite(losses[0]) else (1e6, np.zeros(len(place)))

    options = {"maxiter": 60, "ftol": 1e-5}
    found = minimize(value, first, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return np.clip(found.x, 0, 1), float(found.fun) if found.fun < 1e6 else np.inf
