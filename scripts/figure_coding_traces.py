"""F2: one network at three values of the linear cost: signal and read-out, spikes by neuron size, error.

python scripts/figure_coding_traces.py [--quick] [--out DIR]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

from snnmodels.coding import load_coding_network, simulate, smooth_signal
from snnmodels.studies.figures import COLOURS, letter, run_figure
from snnmodels.studies.scripts import run

NUS = (0.002, 0.03, 0.2)
SHOWN = 4.0


def compute(quick: bool) -> dict[str, Any]:
    """Three simulations of the same network."""
    signal = smooth_signal(12.0, seed=2).until(SHOWN if quick else 12.0)
    network = load_coding_network("joint")
    data: dict[str, Any] = {"norms": network.norms}
    shown = round(SHOWN / signal.dt)
    data["time"], data["signal"] = signal.times[1 : shown + 1 : 10], signal.values[1 : shown + 1 : 10]
    for k, nu in enumerate(NUS):
        response = simulate(network.with_parameters(nu=nu), signal)
        error = np.linalg.norm(response.target - response.estimate, axis=1)
        data[f"estimate{k}"], data[f"error{k}"] = response.estimate[:shown:10], error[:shown:10]
        inside = response.spike_steps < shown
        data[f"spike_times{k}"], data[f"spike_neurons{k}"] = (
            response.spike_times[inside],
            response.spike_neurons[inside],
        )
        data[f"rate{k}"], data[f"loss{k}"] = response.rate(0.5), response.coding_loss(discard=0.5)
    return data


def draw(data: Mapping[str, np.ndarray]) -> Figure:
    """A column per cost, a row per quantity."""
    figure = Figure(figsize=(10.5, 6.6), layout="constrained")
    axes = figure.subplots(3, 3, sharex=True, sharey="row", height_ratios=[1, 1.3, 0.7])
    t, norms = data["time"], data["norms"]
    for k, nu in enumerate(NUS):
        signals, raster, error = axes[:, k]
        for m, colour in enumerate((COLOURS["blue"], COLOURS["red"])):
            signals.plot(t, data["signal"][:, m], color="0.72", lw=4, label="signal x" if m == 0 else None)
            signals.plot(t, data[f"estimate{k}"][:, m], color=colour, lw=1, label=f"read-out $\\hat x_{m + 1}$")
        signals.set_title(
            f"ν = {nu:g}\n{float(data[f'rate{k}']):.0f} spikes/s, coding loss {float(data[f'loss{k}']):.2g}"
        )
        raster.semilogy(
            data[f"spike_times{k}"], norms[data[f"spike_neurons{k}"]], "|", color="black", ms=3.5, mew=0.5, alpha=0.7
        )
        raster.axhline(np.sqrt(nu), color=COLOURS["orange"], lw=1.3, label="√ν: norm in use, and size of the box")
        raster.set_ylim(0.9 * norms.min(), 1.1 * norms.max())
        raster.yaxis.set_major_formatter(ScalarFormatter())
        raster.yaxis.set_minor_formatter(NullFormatter())
        raster.set_yticks([0.03, 0.1, 0.3, 0.6])
        error.semilogy(t, data[f"error{k}"], color=COLOURS["grey"], lw=0.6)
        error.axhline(np.sqrt(nu), color=COLOURS["orange"], lw=1.3, label="√ν")
        error.set(xlabel="time (s)", xlim=(0, SHOWN), ylim=(3e-3, 3))
    axes[0, 0].set_ylabel("signal")
    axes[1, 0].legend(loc="upper right", handlelength=1.2)
    axes[0, 0].legend(loc="lower left", ncols=3, columnspacing=0.8, handlelength=1.2, borderpad=0)
    low, high = axes[0, 0].get_ylim()
    axes[0, 0].set_ylim(low - 0.18 * (high - low), high)
    axes[1, 0].set_ylabel("spikes: neurons sorted by\ndecoder norm d (fine to coarse)")
    axes[2, 0].set_ylabel("error $|x - \\hat x|$")
    for row, text in enumerate("ABC"):
        letter(axes[row, 0], text, -0.12)
    figure.suptitle("A higher price of a spike: the same network, with the same weights, uses fewer and larger spikes")
    return figure


if __name__ == "__main__":
    run(lambda: run_figure("coding_traces", __doc__ or "", compute, draw))
