"""What is given to a fit, checked, and as the task that a search needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..templates.arguments import check_kind, check_mapping
from ..templates.errors import brief, suggest
from ..templates.model import Model
from ..templates.quantities import in_unit
from .free import unit_of
from .likelihood import SOFTNESS
from .recording import Recording, as_recording, crossings
from .space import DELAY, Bounds, Space
from .terms import LOSSES, LossSettings

__all__ = ["check_delay", "input_of", "near", "recording_of", "values_of", "weights_of"]


def input_of(model: Model, input: str) -> str:
    """The input of a model that the current drives: the one that is named, or the only one."""
    if not input and len(model.inputs) == 1:
        return next(iter(model.inputs))
    if input not in model.inputs:
        problem = f"{model.name} has no input {brief(input)}" if input else f"name an input of {model.name}"
        raise ValueError(f"input: {problem}; {suggest(input, model.inputs)}")
    return input


def recording_of(
    model: Model, recording: Any, current: Any, dt: Any, spikes: Any, voltage: Any, input: str, settings: LossSettings
) -> Recording:
    """The recording that is given, or made of the arrays that are."""
    if recording is not None:
        check_kind("recording", recording, Recording, "a Recording, as read_recording gives")
        if any(x is not None for x in (current, dt, spikes, voltage)):
            raise ValueError("give either a recording or current, dt, spikes and voltage")
    elif current is None or dt is None:
        raise ValueError("current and dt are needed: the current that was injected, and the time between its samples")
    else:
        state = next((s for s in model.states if s.name == settings.variable), None)
        unit = model.inputs[input].unit
        voltage_unit = "volt" if state is None else state.unit
        recording = as_recording(current, dt, spikes, voltage, unit=unit, voltage_unit=voltage_unit)
    if not (recording.has_spikes or recording.has_voltage):
        raise ValueError(
            "nothing was recorded: give spikes or voltage (in a file, an array spikes of a .npz, or a column voltage "
            "of a .csv, in which detect=True or --detect finds spikes)"
        )
    if recording.has_voltage and settings.variable not in model.state_names:
        hint = suggest(settings.variable, model.state_names)
        raise ValueError(f"settings.variable: {model.name} has no state {settings.variable!r}; {hint}")
    _check_spikes_taken(model, recording, settings.variable)
    return recording


def _check_spikes_taken(model: Model, recording: Recording, variable: str) -> None:
    """Refuse a voltage with spikes in it, none of them given, for a model whose potential has no course of a spike."""
    if recording.has_spikes or variable not in {change.variable for change in model.reset}:
        return
    if next(s.unit for s in model.states if s.name == variable) != "volt":
        return
    found = sum(len(crossings(row, s.dt)) for s in recording.sweeps if s.voltage is not None for row in s.voltage)
    if found:
        raise ValueError(
            f"the recorded voltage crosses 0 V {found} times, and no spikes are given: {model.name} is reset where it "
            "spikes and has no such course. Take spikes from the voltage with read_recording(..., detect=True) or "
            "--detect (of arrays, by snnmodels.fitting.crossings), or cut them out if the model shall not spike"
        )


def near(space: Space, start: Mapping[str, float]) -> np.ndarray:
    """The place of the values near which to begin, which must be within the bounds of free parameters."""
    for name, value in start.items():
        if name not in space.names:
            raise ValueError(f"start[{name!r}]: it is not free; {suggest(name, space.names)}")
        bounds = space.bounds[name]
        if not bounds.low <= value <= bounds.high:
            raise ValueError(f"start[{name!r}] is {value:g}, outside of its bounds {bounds.low:g} and {bounds.high:g}")
    return space.placed(start)


def values_of(model: Model, given: Mapping[str, Any] | None, what: str) -> dict[str, float]:
    """Values by name, in SI base units."""
    if given is None:
        return {}
    check_mapping(what, given, "values by name of the parameter")
    found = {}
    for name, value in given.items():
        number = in_unit(value, unit_of(model, name), f"{what}[{name!r}]")
        if number.ndim:
            raise ValueError(f"{what}[{name!r}] has shape {number.shape}; expected one number")
        parameter = model.parameters.get(name)
        if parameter is not None and (problem := parameter.problem(number)):
            raise ValueError(f"{what}[{name!r}] {problem}")
        found[name] = float(number)
    return found


def weights_of(
    model: Model, recording: Recording, losses: Any, bounds: Mapping[str, Bounds], fixed: Mapping[str, float]
) -> dict[str, float]:
    """Weights of the terms, checked against what was recorded."""
    if losses is None:
        losses = {"spikes": 1.0} if recording.has_spikes and model.spiking else {}
        losses |= {"voltage": 1.0} if recording.has_voltage else {}
    check_mapping("losses", losses, "weights by name, as in {'spikes': 1, 'voltage': 0.5}")
    weights: dict[str, float] = {}
    for name, weight in losses.items():
        if name not in LOSSES:
            raise ValueError(f"losses: there is no {brief(name)}; {suggest(str(name), LOSSES)}")
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < float("inf"):
            raise ValueError(f"losses[{name!r}] is {brief(weight)}; expected a weight of at least 0")
        if weight:
            weights[name] = float(weight)
    if not weights:
        raise ValueError(f"losses: nothing is left to minimise; expected weights of some of {', '.join(LOSSES)}")
    on_spikes = [name for name in weights if name != "voltage"]
    if on_spikes and not model.spiking:
        raise ValueError(f"losses: {on_spikes[0]!r} needs spikes, and {model.name} has no threshold")
    if on_spikes and not recording.has_spikes:
        hint = "give spikes; --detect, read_recording(..., detect=True) and `crossings` find them in a voltage"
        raise ValueError(f"losses: {on_spikes[0]!r} needs recorded spikes; {hint}")
    if on_spikes and not any(len(t) for s in recording.sweeps for t in s.spikes):
        raise ValueError(
            f"losses: {on_spikes[0]!r} needs recorded spikes, and there is no spike in any sweep. Where they were "
            "to be taken from a voltage, it nowhere crosses the level: give a lower one, as level=-20*mV or "
            "--level=-20mV. losses={'voltage': 1} or --loss voltage=1 fits a voltage without spikes"
        )
    if "voltage" in weights and not recording.has_voltage:
        raise ValueError("losses: 'voltage' needs a recorded voltage")
    forced = "likelihood" in weights or ("voltage" in weights and recording.has_spikes and model.spiking)
    if "likelihood" in weights and SOFTNESS not in {**bounds, **fixed}:
        unit = unit_of(model, SOFTNESS)
        raise ValueError(
            f"losses: 'likelihood' needs {SOFTNESS!r}, over which the hazard of a spike grows e-fold, in {unit}; give "
            "its bounds in free, or its value in fixed"
        )
    if forced and DELAY in bounds:
        raise ValueError(
            f"free[{DELAY!r}]: recorded spikes are forced on the model for 'likelihood' and 'voltage', and can't be "
            f"moved; give {DELAY!r} in fixed"
        )
    return weights


def check_delay(recording: Recording, bounds: Mapping[str, Bounds], fixed: Mapping[str, float]) -> None:
    """Refuse a delay with which the spikes of a model would not be in the sweeps."""
    shortest = min(s.duration for s in recording.sweeps)
    told = f"the shortest sweep lasts {shortest:g} s; the delay is that from a spike of the model to the recorded one"
    if DELAY in fixed and not abs(fixed[DELAY]) < shortest:
        raise ValueError(f"fixed[{DELAY!r}] is {fixed[DELAY]:g} s, and {told}")
    if DELAY in bounds:
        for end in (bounds[DELAY].low, bounds[DELAY].high):
            if not abs(end) < shortest:
                raise ValueError(f"free[{DELAY!r}]: a bound is {end:g} s, and {told}")
