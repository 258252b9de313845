"""A picture of a fit: potentials, recorded and fitted, and their spikes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ..files import as_json, atomic_file
from ..plots import PALETTE
from .result import FitResult, simulate_sweeps

__all__ = ["draw", "write_report"]

_SWEEPS = 4  # that are shown
_SHOWN = 2.0  # seconds of each


def write_report(result: FitResult, folder: str | Path) -> None:
    """Write ``fitted.toml``, ``fit.json`` and ``fit.png`` (potential and spikes beside the recorded ones).

    Parameters
    ----------
    result : FitResult
    folder : str or Path
        Is made where it doesn't exist.

    Raises
    ------
    OSError
        If something can't be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    result.save(folder / "fitted.toml")
    with atomic_file(folder / "fit.json", "report") as file:
        file.write(json.dumps(as_json(result.summary()), indent=1).encode())
    figure = draw(result)
    with atomic_file(folder / "fit.png", "figure") as file:
        figure.savefig(file, format="png", dpi=150)


def draw(result: FitResult) -> Figure:
    """The first sweeps: recorded potential (grey), that of the fitted model, and spikes of both above them.

    Parameters
    ----------
    result : FitResult
    """
    sweeps = result.recording.sweeps[:_SWEEPS]
    state = next((s for s in result.model.states if s.name == "v"), result.model.states[0])
    values = dict(result.fitted)
    interval = 0.25e-3
    traces = simulate_sweeps(
        result.model, type(result.recording)(sweeps), values, result.input, variable=state.name, interval=interval
    )
    scale, unit = (1e3, "mV") if state.unit == "volt" else (1.0, "" if state.unit == "1" else state.unit)
    figure = Figure(figsize=(9, 1.2 + 2.2 * len(sweeps)), layout="constrained")
    all_axes = figure.subplots(len(sweeps), 1, squeeze=False)[:, 0]
    for k, (ax, sweep, (_, trace)) in enumerate(zip(all_axes, sweeps, traces, strict=True)):
        end = min(sweep.duration, _SHOWN)
        t = interval * np.arange(1, len(trace) + 1)
        if sweep.voltage is not None:
            # the mean of several would have no spikes
            at = sweep.dt * np.arange(len(sweep.current))
            ax.plot(at, scale * sweep.voltage[0], color="0.6", lw=1.2, label="recorded")
        ax.plot(t, scale * trace, color=PALETTE[0], lw=1, label=result.model.name)
        rows = [*sweep.spikes, result.spikes[k]]
        for row, train in enumerate(rows):
            colour = "0.4" if row < len(rows) - 1 else PALETTE[0]
            height = np.full(len(train), 1.04 + 0.05 * (len(rows) - row))
            ax.plot(train, height, "|", color=colour, ms=5, transform=ax.get_xaxis_transform(), clip_on=False)
        factor, reliability = result.coincidence[k]
        told = f"{len(result.spikes[k])} spikes in {sweep.duration:g} s"
        if np.isfinite(factor):
            told += f", coincidence {factor:.2f}" + (f" (repetitions: {reliability:.2f})" if reliability != 1 else "")
        ax.set_xlim(0, end)
        ax.set_ylabel(f"sweep {k}\n{state.name}" + (f" ({unit})" if unit else ""))
        ax.text(1.0, -0.02, told, transform=ax.transAxes, ha="right", va="top", fontsize="small")
    all_axes[-1].set_xlabel("time (s)")
    all_axes[0].legend(loc="lower left", frameon=False, fontsize="small")
    return figure
