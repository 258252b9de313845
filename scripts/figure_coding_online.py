"""F4: costs changed while the network runs: a stepped linear cost, and an energy budget that sets the cost itself.

python scripts/figure_coding_online.py [--quick] [--out DIR]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from snnmodels.coding import Homeostat, Response, TimeCourse, load_coding_network, simulate, smooth_signal
from snnmodels.studies.figures import COLOURS, letter, run_figure, window_mean
from snnmodels.studies.scripts import run

LEVELS = (0.004, 0.1, 0.015)
BUDGETS = (250.0, 800.0, 400.0)
GAIN = 4.0
WINDOW = 0.1
EVERY = 0.01


def compute(quick: bool) -> dict[str, Any]:
    """Two simulations of one network on one signal, and static networks to compare with."""
    hold = 2.0 if quick else 6.0
    signal = smooth_signal(18.0, seed=4).until(3 * hold)
    network = load_coding_network("joint")
    times = (0.0, hold, 2 * hold)
    stepped = TimeCourse.from_steps(dict(zip(times, LEVELS, strict=True)), signal.duration, 1e-3)
    budget = TimeCourse.from_steps(dict(zip(times, BUDGETS, strict=True)), signal.duration, 1e-3)
    data: dict[str, Any] = {"hold": hold, "time": np.arange(EVERY, signal.duration + EVERY / 2, EVERY)}
    data["signal_time"], data["signal"] = signal.times[1::20], signal.values[1::20]
    data |= _course("stepped", simulate(network.with_parameters(nu=stepped), signal))
    data["stepped_nu"] = stepped.on_grid(signal.steps, signal.dt)[::20]
    controlled = simulate(network.with_parameters(nu=Homeostat(0.02, budget, GAIN)), signal)
    data |= _course("budget", controlled)
    data["budget_nu"] = controlled.controlled["nu"][::20]
    for k, nu in enumerate(LEVELS):
        data |= _course(f"static{k}", simulate(network.with_parameters(nu=nu), signal))
    spikes = controlled.spike_times
    # the second half of every hold: the price has settled
    data["kept"] = [((spikes > s + hold / 2) & (spikes <= s + hold)).sum() / (hold / 2) for s in times]
    return data


def _course(name: str, response: Response) -> dict[str, np.ndarray]:
    """Running rate and loss, and the read-out."""
    dt = response.signal.dt
    width, every = round(WINDOW / dt), round(EVERY / dt)
    counts = np.bincount(response.spike_steps, minlength=response.signal.steps)
    squared = ((response.target - response.estimate) ** 2).sum(1)
    return {
        f"{name}_estimate": response.estimate[::20],
        f"{name}_rate": window_mean(counts, width, every) / dt,
        f"{name}_loss": window_mean(squared, width, every),
    }


def draw(data: Mapping[str, np.ndarray]) -> Figure:
    """A column per experiment, a row per quantity."""
    figure = Figure(figsize=(10.5, 7.2), layout="constrained")
    axes = figure.subplots(4, 2, sharex=True, sharey="row", height_ratios=[1.2, 0.8, 1, 1])
    t, fine, hold = data["time"], data["signal_time"], float(data["hold"])
    for column, name, colour in ((0, "stepped", "blue"), (1, "budget", "red")):
        signals, price, rate, loss = axes[:, column]
        for m in range(2):
            signals.plot(fine, data["signal"][:, m], color="0.72", lw=3.5, label="signal" if m == 0 else None)
            label = "read-out" if m == 0 else None
            signals.plot(fine, data[f"{name}_estimate"][:, m], color=COLOURS[colour], lw=0.6, alpha=0.8, label=label)
        price.semilogy(fine, data[f"{name}_nu"], color=COLOURS[colour])
        if name == "stepped":
            for k, nu in enumerate(LEVELS):
                label = "networks with this ν all along" if k == 0 else None
                inside = (t > k * hold) & (t <= (k + 1) * hold)
                rate.plot(t[inside], data[f"static{k}_rate"][inside], color="0.75", lw=3.5, label=label)
                loss.plot(t[inside], data[f"static{k}_loss"][inside], color="0.75", lw=3.5)
                price.text((k + 0.5) * hold, 1.3 * nu, f"ν = {nu:g}", ha="center", va="bottom", fontsize=8)
        else:
            label = "budget f*"
            for k, f in enumerate(BUDGETS):
                rate.plot([k * hold, (k + 1) * hold], [f, f], color="black", ls="--", lw=1, label=label)
                label = None
                kept = f"used {float(data['kept'][k]):.0f}/s of {f:.0f}/s"
                rate.text((k + 0.5) * hold, 22, kept, ha="center", va="center", fontsize=8)
        label = f"rate over {WINDOW:g} s"
        rate.semilogy(t, data[f"{name}_rate"], color=COLOURS[colour], lw=1.1, label=label)
        loss.semilogy(t, data[f"{name}_loss"], color=COLOURS[colour], lw=1.1)
        for row in axes[:, column]:
            for k in (1, 2):
                row.axvline(k * hold, color="0.6", lw=0.8, ls=":")
        rate.set_ylim(15, 3e3)
        rate.legend(loc="upper right", ncols=2, handlelength=1.6, borderpad=0)
        for row in (price, rate, loss):
            row.yaxis.set_minor_formatter(NullFormatter())
        loss.set(xlabel="time (s)", xlim=(0, 3 * hold))
    axes[0, 0].set_title("ν is stepped: rate and precision follow at once")
    axes[0, 1].set_title("The energy budget is stepped: ν adjusts itself to it")
    low, high = axes[0, 0].get_ylim()
    axes[0, 0].set_ylim(low, high + 0.2 * (high - low))
    axes[0, 0].legend(loc="upper right", ncols=2, borderpad=0)
    for row, text in enumerate(("signal and\nread-out", "linear cost ν", "spikes/s of the\npopulation")):
        axes[row, 0].set_ylabel(text)
    axes[3, 0].set_ylabel(f"coding loss\nover {WINDOW:g} s")
    for column, text in enumerate("AB"):
        letter(axes[0, column], text, -0.04)
    return figure


if __name__ == "__main__":
    run(lambda: run_figure("coding_online", __doc__ or "", compute, draw))
