"""Recordings from files: NumPy archives, CSV and NWB."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..files import named, read_archive
from ..templates.quantities import in_unit
from ..templates.units import quantity_in
from .recording import Recording, as_recording, crossings, is_several

__all__ = ["read_recording"]

_NEEDS = "it needs current and dt, and spikes (spikes_0, spikes_1, ... of repetitions) or voltage"


def read_recording(path: str | Path, *, dt: Any = None, detect: bool = False, level: Any = 0.0) -> Recording:
    """Read a recording.

    Parameters
    ----------
    path : str or Path
        * ``.npz``: `current` ``(samples,)`` or ``(sweeps, samples)`` in ampere, `dt` in seconds, `spikes` or
          `spikes_0`, `spikes_1`, ... (repetitions; of several sweeps `sweep_0_spikes_0`, ...) in seconds, `voltage`
          ``(samples,)``, ``(repetitions, samples)`` or ``(sweeps, repetitions, samples)`` in volts, or whole numbers
          with a `voltage_scale`.
        * ``.csv``: columns with a head: `time` (or `dt` is given), `current`, and `voltage`; a column's unit may stand
          in brackets, as in ``current [pA]``, and is SI without. Spikes are then those of the voltage.
        * ``.nwb``: pairs of current clamp series; needs h5py (``pip install snnmodels[nwb]``).
    dt : float or Quantity, optional
        Between samples, where the file doesn't say; where it does, both must agree.
    detect : bool
        Whether to take spikes from the voltage where the file has none: its upward crossings of `level`,
        of which those less than 2 ms after another are left out.
    level : float or Quantity
        In volts.

    Returns
    -------
    Recording

    Raises
    ------
    OSError
        If the file can't be read.
    ValueError
        If it isn't one of these, lacks something, or as `as_recording`.
    """
    path = Path(path)
    readers = {".npz": _from_npz, ".csv": _from_csv, ".nwb": _from_nwb}
    if path.suffix not in readers:
        raise ValueError(f"{path}: expected a recording that ends in .npz, .csv or .nwb")
    try:
        given = None if dt is None else float(in_unit(dt, "second", "dt"))
        crossed = float(in_unit(level, "volt", "level"))
        current, step, spikes, voltage = readers[path.suffix](path, given)
        recording = as_recording(current, step, spikes, voltage)
        if detect and not recording.has_spikes and recording.has_voltage:
            found = [
                [crossings(row, s.dt, crossed) for row in (s.voltage if s.voltage is not None else ())]
                for s in recording.sweeps
            ]
            # one sweep may be given as a list of one, and its spikes then are too
            recording = as_recording(current, step, found if is_several(current) else found[0], voltage)
    except ValueError as error:
        told = str(error)
        raise ValueError(told if told.startswith(str(path)) else f"{path}: {told}") from None
    return recording


def _from_npz(path: Path, dt: Any) -> tuple[Any, Any, Any, Any]:
    arrays = read_archive(path, "recording")
    if "current" not in arrays or ("dt" not in arrays and dt is None):
        raise ValueError(f"holds {', '.join(arrays) or 'nothing'}; {_NEEDS}")
    if "dt" in arrays and arrays["dt"].size != 1:
        raise ValueError(f"dt has shape {arrays['dt'].shape}; expected one number, in seconds")
    step = dt if "dt" not in arrays else _agreed(arrays["dt"].item(), dt)
    for name, array in arrays.items():
        if array.dtype.kind not in "iuf" and (name in ("current", "voltage") or "spikes" in name):
            raise ValueError(f"{name} is of type {array.dtype}; expected real numbers: times of spikes, and samples")
    current = arrays["current"].astype(float)
    voltage = arrays.get("voltage")
    if voltage is not None:
        voltage = voltage * float(arrays.get("voltage_scale", np.array(1.0)))
    several = current.ndim == 2
    expected = [f"sweep_{k}_spikes" for k in range(len(current))] if several else ["spikes"]
    for key in arrays:
        # any other name would be left out without a word
        if "spike" in key and (several or key != "spikes") and key.rpartition("_")[0] not in expected:
            found = f"{len(current)} sweeps" if several else "one sweep"
            raise ValueError(f"has {key}, which is none of {found}; expected {expected[0]}_0, {expected[0]}_1, ...")
    if "spikes" in arrays and "spikes_0" in arrays:
        raise ValueError("has both spikes and spikes_0; expected one of them")
    if several:
        trains: Any = [_numbered(arrays, f"sweep_{k}_spikes") for k in range(len(current))]
        spikes = trains if any(t is not None for t in trains) else None
        if spikes is not None and None in spikes:
            missing = spikes.index(None)
            raise ValueError(f"has spikes of some sweeps, but no sweep_{missing}_spikes_0; an empty array is silence")
    else:
        spikes = arrays["spikes"] if "spikes" in arrays else _numbered(arrays, "spikes")
    return current, step, spikes, voltage


def _agreed(own: float, given: float | None, within: float = 1e-6) -> float:
    """The file's time between samples; one that is given beside must be the same but for so much of it."""
    if given is not None and not np.isclose(own, given, rtol=within, atol=0):
        raise ValueError(f"its samples are {own:g} s apart, and dt is {given:g} s; leave dt out, or mend the file")
    return float(own)


def _numbered(arrays: Mapping[str, np.ndarray], name: str) -> list[np.ndarray] | None:
    found: list[np.ndarray] = []
    while f"{name}_{len(found)}" in arrays:
        found.append(arrays[f"{name}_{len(found)}"])
    known = sum(key.startswith(f"{name}_") for key in arrays)
    if known != len(found):
        raise ValueError(f"has {known} arrays {name}_..., but no {name}_{len(found)}; number them from 0")
    return found or None


def _from_csv(path: Path, dt: Any) -> tuple[Any, Any, Any, Any]:
    with named(path, "recording"), path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    if len(rows) < 3:
        raise ValueError("has fewer than two samples under its head")
    head, units = [], []
    for cell in rows[0]:
        name, _, unit = cell.partition("[")
        head.append(name.strip().lower())
        if head[-1] in head[:-1]:
            raise ValueError(f"has two columns of the name {head[-1]!r}; which of them was recorded isn't known")
        units.append(unit.rstrip("] ").strip())
    if ignored := [name for name in head if "spike" in name]:
        hint = "spikes of a .csv are those of its voltage; a .npz holds times"
        raise ValueError(f"has a column {ignored[0]!r}, which would not be read: {hint}")
    if "current" not in head or ("time" not in head and dt is None):
        raise ValueError(
            f"has the columns {', '.join(head)}; expected time and current, and voltage if there is one, between "
            "commas, with units in square brackets, as in current [pA]"
        )
    for k, row in enumerate(rows[1:], 2):
        if len(row) != len(head):
            raise ValueError(f"line {k} has {len(row)} cells and the head {len(head)}; expected the same number")
    try:
        table = np.array([[float(cell) for cell in row] for row in rows[1:]])
    except ValueError:
        wrong = next(k for k, row in enumerate(rows[1:], 2) if not all(_is_number(cell) for cell in row))
        raise ValueError(f"line {wrong} is not all numbers") from None
    columns = {}
    for k, (name, unit) in enumerate(zip(head, units, strict=True)):
        base = {"time": "second", "current": "amp", "voltage": "volt"}.get(name)
        scale = quantity_in(f"1*{unit}", base)[0] if unit and base else 1.0
        columns[name] = table[:, k] * scale
    step = dt
    if "time" in columns:
        steps = np.diff(columns["time"])
        if not np.allclose(steps, steps[0], rtol=1e-3, atol=0) or steps[0] <= 0:
            raise ValueError("time doesn't go on in equal steps")
        # times are often written with few digits: what is given is then the better one
        own = _agreed(float(steps.mean()), dt, 1e-3)
        step = own if dt is None else dt
    return columns["current"], step, None, columns.get("voltage")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _from_nwb(path: Path, dt: Any) -> tuple[Any, Any, Any, Any]:
    """Pairs of a CurrentClampStimulusSeries and the CurrentClampSeries of the same sweep."""
    try:
        import h5py
    except ImportError:
        raise ValueError("reading NWB needs h5py; install it: pip install 'snnmodels[nwb]'") from None
    with named(path, "recording"), h5py.File(path, "r") as file:
        stimuli = _series(file.get("stimulus/presentation"), "CurrentClampStimulusSeries")
        answers = _series(file.get("acquisition"), "CurrentClampSeries")
    pairs = sorted(stimuli.keys() & answers.keys())
    if not pairs:
        raise ValueError(
            f"{len(stimuli)} CurrentClampStimulusSeries and {len(answers)} CurrentClampSeries, of which none have the "
            "same sweep_number"
        )
    steps = {step for n in pairs for step in (stimuli[n][1], answers[n][1])}
    if len(steps) > 1:
        rates = ", ".join(f"{1 / s:g}" for s in sorted(steps))
        raise ValueError(f"sweeps are sampled at {rates} Hz; expected one rate")
    return [stimuli[n][0] for n in pairs], _agreed(steps.pop(), dt), None, [answers[n][0] for n in pairs]


def _series(group: Any, kind: str) -> dict[int, tuple[np.ndarray, float]]:
    """Samples in SI units and the time between them, by sweep number."""
    found: dict[int, tuple[np.ndarray, float]] = {}
    for k, (name, series) in enumerate(() if group is None else sorted(group.items())):
        attributes = getattr(series, "attrs", {})
        if attributes.get("neurodata_type") not in (kind, kind.encode()):
            continue
        data = series["data"]
        scale, offset = (float(data.attrs.get(name, 1.0 - k)) for k, name in enumerate(("conversion", "offset")))
        values = data[()].astype(float) * scale + offset
        if "starting_time" not in series or "rate" not in series["starting_time"].attrs:
            raise ValueError(f"{name} has no rate of samples; series with times of their own are not read")
        number = int(attributes.get("sweep_number", k))
        if number in found:
            raise ValueError(f"{name}: sweep {number} is there twice")
        found[number] = (values, 1.0 / float(series["starting_time"].attrs["rate"]))
    return found
