"""Exact gradients at work: potentials, adjoint variables and the accumulating gradient of one trial.

Two inputs, two hidden LIF neurons and one output neuron whose first two spikes are to come at given times. The traces
are those of the forward and the backward simulation of ordinary Brian2 objects on a time grid; the backward one is
drawn on the forward time axis, so read it from right to left. Dashed lines are central differences of the simulated
loss.

python scripts/figure_gradient.py [--out DIR] [--redraw]
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from snnmodels.files import atomic_file, folder_for, read_archive
from snnmodels.gradients.grid import GridSimulation
from snnmodels.losses import SpikeTimeError
from snnmodels.plots import PALETTE
from snnmodels.studies.plots import save_figure
from snnmodels.studies.recording import record
from snnmodels.studies.scripts import options, run, saved
from snnmodels.templates import load_model
from snnmodels.templates.groups import Population, Projection, SpikeInput
from snnmodels.templates.network import Network

MS = 1e-3
DT = 0.1 * MS
STEP = 1e-5  # of the differences, relative
INPUTS = np.array([[[2.0, 18.0], [7.0, 20.0]]]) * MS
TARGET = np.array([[[11.0, 29.0]]]) * MS
COLOURS = {"hidden": PALETTE[:2], "output": (PALETTE[2],)}
GRADIENTS = ("input_hidden.w", "hidden_output.w", "hidden.tau_m")


def network() -> Network:
    """Two inputs, two hidden neurons, one output neuron."""
    lif = load_model("lif+exp_synapse")
    return Network(
        "gradient_illustration",
        (SpikeInput("input", 2),),
        (Population("hidden", 2, lif, learnable=("tau_m",)), Population("output", 1, lif)),
        (
            Projection("", "input", "hidden", np.array([[6.0, 2.6], [2.5, 5.5]])),
            Projection("", "hidden", "output", np.array([[3.0], [4.2]])),
        ),
        output="output",
        duration=45 * MS,
    )


def compute() -> dict[str, np.ndarray]:
    """Traces, spikes, and central differences of the loss by everything learnable."""
    keys = [(f"{p}.{x}", f"{p}.lambda_{x}") for p in ("hidden", "output") for x in ("v", "I_syn")]
    with GridSimulation(network(), SpikeTimeError(tau=5 * MS), batch_size=1, dt=DT) as simulation:
        inputs = {"input": INPUTS}
        backward = [k for _, k in keys] + ["input_hidden.gw", "hidden_output.gw", "hidden.grad_tau_m"]
        recording = record(simulation, inputs, TARGET, [k for k, _ in keys], backward)
        data = {"time": recording.times, "input.spikes": INPUTS[0], "target": TARGET[0]}
        data |= recording.traces
        data["loss"] = np.asarray(recording.outcome.loss)
        for name in ("hidden", "output"):
            data[f"{name}.spikes"] = simulation.spike_times(name)[0].copy()
        start = simulation.network.trainable()
        for key in GRADIENTS:
            data[f"gradient {key}"] = np.ravel(recording.outcome.gradients[key])
            data[f"differences {key}"] = np.zeros(start[key].size)
            for i in range(start[key].size):
                h = STEP * abs(start[key].flat[i])
                losses = []
                for sign in (1, -1):
                    changed = start[key].copy()
                    changed.flat[i] += sign * h
                    values = {**start, key: changed}
                    losses.append(simulation.run(inputs, TARGET, values, gradient=False).loss)
                data[f"differences {key}"][i] = (losses[0] - losses[1]) / (2 * h)
    return data


def draw(data: Mapping[str, np.ndarray]) -> Figure:
    """One column of panels over the time of the trial: forward above, backward below."""
    figure = Figure(figsize=(8.2, 10.2), layout="constrained")
    rows = figure.subplots(6, 1, sharex=True, height_ratios=[0.55, 1.2, 1, 1, 1.2, 0.9])
    spikes, v, lambda_v, lambda_i, weights, tau = rows
    t = data["time"] / MS
    events = np.sort(np.concatenate([data[f"{name}.spikes"].ravel() for name in ("input", "hidden", "output")])) / MS
    _draw_spikes(spikes, data)
    for name in ("hidden", "output"):
        for i, colour in enumerate(COLOURS[name]):
            label = f"hidden {i + 1}" if name == "hidden" else "output"
            at = data[f"{name}.spikes"][i]
            v.plot(*_with_spikes(t, data[f"{name}.v"][:, i], at / MS), color=colour, label=label)
            lambda_v.plot(*_with_jumps(t, data[f"{name}.lambda_v"][:, i], events), color=colour, label=label)
            lambda_i.plot(t, data[f"{name}.lambda_I_syn"][:, i], color=colour, label=label)
            for axes in (v, lambda_v, lambda_i):
                for x in at[np.isfinite(at)] / MS:
                    axes.axvline(x, color=colour, lw=0.8, ls=":", zorder=0)
    v.axhline(1, color="#888888", lw=0.8, zorder=0)
    v.annotate("threshold", (0.4, 1.03), color="#666666", fontsize=8)
    v.set(ylabel="membrane\npotential v", ylim=(-0.05, 1.16))
    lambda_v.set_ylabel("adjoint of v\n$\\lambda_v = dL/dv$")
    lambda_i.set_ylabel("adjoint of the current\n$\\lambda_I = dL/dI$")
    labels = {
        "input_hidden": ["in 1 → hid 1", "in 1 → hid 2", "in 2 → hid 1", "in 2 → hid 2"],
        "hidden_output": ["hid 1 → out", "hid 2 → out"],
    }
    k = 0
    for name, texts in labels.items():
        for i, text in enumerate(texts):
            colour = (*PALETTE[:2], *PALETTE[3:6], PALETTE[2])[k]
            trace = _with_jumps(t, data[f"{name}.gw"][:, i], events)
            _reach(weights, *trace, float(data[f"differences {name}.w"][i]), colour, text)
            k += 1
    weights.set_ylabel("accumulating\n$dL/dw$")
    total = data["hidden.grad_tau_m"].sum(axis=1) * MS
    _reach(tau, t, total, float(data["differences hidden.tau_m"][0]) * MS, "black", "hidden $\\tau_m$")
    tau.set(ylabel="accumulating\n$dL/d\\tau_m$ (1/ms)", xlabel="time t (ms)", xlim=(0, t[-1]))
    v.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    weights.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    deviations = [data[f"gradient {key}"] / data[f"differences {key}"] - 1 for key in GRADIENTS]
    worst = max(float(np.abs(d).max()) for d in deviations)
    tau.annotate(
        f"dashed: central differences of the simulated loss\n(largest relative deviation {worst:.0e})",
        (0.98, 0.5),
        xycoords="axes fraction",
        ha="right",
        va="center",
        fontsize=8.5,
    )
    for axes, text in ((v, "forward in time →"), (lambda_v, "← backward in time")):
        axes.set_title(text, loc="right", fontsize=9, color="#444444", pad=2)
    for axes, text in zip(rows, "ABCDEF", strict=True):
        axes.set_title(text, loc="left", fontweight="bold", fontsize=11, pad=2)
        axes.spines[["top", "right"]].set_visible(False)
        axes.yaxis.label.set_size(9)
        axes.tick_params(labelsize=8)
        if axes.get_legend():
            axes.get_legend().set_frame_on(False)
            for line in axes.get_legend().get_texts():
                line.set_fontsize(8)
    figure.align_ylabels(rows)
    figure.suptitle(
        "The first two output spikes have target times: their loss is differentiated\n"
        "by a second simulation, which runs backward from them",
        fontsize=11,
    )
    return figure


def _draw_spikes(axes: Axes, data: Mapping[str, np.ndarray]) -> None:
    rows = [("input 1", "input", 0), ("input 2", "input", 1), ("hidden 1", "hidden", 0), ("hidden 2", "hidden", 1)]
    rows.append(("output", "output", 0))
    for y, (_, name, i) in enumerate(rows):
        at = data[f"{name}.spikes"][i]
        colour = COLOURS[name][i] if name in COLOURS else "black"
        axes.plot(at[np.isfinite(at)] / MS, np.full(np.isfinite(at).sum(), y), "|", color=colour, ms=9, mew=2)
    target = data["target"].ravel() / MS
    axes.plot(target, [4] * len(target), marker="v", ls="", color="black", ms=5, mfc="none")
    axes.annotate("▽ target", (1.01, 0.12), xycoords="axes fraction", va="center", fontsize=8)
    axes.set(ylim=(4.6, -0.6), yticks=range(5), yticklabels=[r[0] for r in rows], ylabel="spikes")


def _with_spikes(t: np.ndarray, v: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The trace with the two values that it has at each spike, between grid points: threshold and reset."""
    at = at[np.isfinite(at)]
    where = np.repeat(np.searchsorted(t, at), 2)
    return np.insert(t, where, np.repeat(at, 2)), np.insert(v, where, np.tile([1.0, 0.0], len(at)))


def _with_jumps(t: np.ndarray, trace: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The trace with both values around each event, at the event: what jumps between grid points is upright."""
    at = at[np.isfinite(at) & (at > t[0]) & (at < t[-1])]
    where = np.searchsorted(t, at + 1e-9, side="right")  # an event at a grid point acts behind it
    sides = np.stack([trace[where - 1], trace[where]], axis=1).ravel()
    return np.insert(t, np.repeat(where, 2), np.repeat(at, 2)), np.insert(trace, np.repeat(where, 2), sides)


def _reach(axes: Axes, t: np.ndarray, trace: np.ndarray, goal: float, colour: str, label: str) -> None:
    """An accumulating gradient and the difference quotient that it reaches at time 0."""
    axes.plot(t, trace, color=colour, label=label)
    axes.axhline(goal, color=colour, lw=1, ls=(0, (5, 4)), alpha=0.9)


def main(arguments: list[str] | None = None) -> Path:
    """Simulate or read saved data, draw, and save ``gradient.npz`` and ``gradient.png``."""
    parser = options(__doc__, quick="as in the other scripts; this one is always quick", out="output/gradient", dpi=150)
    given = parser.parse_args(arguments)
    given.out = given.out or Path("output/gradient")
    folder_for(given.out, "folder of results")
    file = saved(given, "gradient.npz")
    if file is None:
        file = given.out / "gradient.npz"
        data = compute()
        with atomic_file(file, "results") as opened:
            np.savez_compressed(opened, **data)  # type: ignore[arg-type]
    picture = save_figure(draw(read_archive(file, "file of results")), given.out / "gradient.png", dpi=given.dpi)
    print(picture)
    return picture


if __name__ == "__main__":
    run(main)
