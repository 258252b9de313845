"""F5: what adaptation and inhibition do: activity is handed on, rates grow as rho^(2/3), the norm in use is sqrt(nu).

python scripts/figure_coding_mechanisms.py [--quick] [--out DIR]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

from snnmodels.coding import (
    CodingNetwork,
    Signal,
    circle_signal,
    golden_angle_decoder,
    load_coding_network,
    log_uniform_norms,
    simulate,
    smooth_signal,
)
from snnmodels.coding.theory import mixed_norms_rate, self_consistent_rate
from snnmodels.studies.figures import COLOURS, letter, run_figure
from snnmodels.studies.scripts import run

KAPPA = 0.001
NU = 0.02


def compute(quick: bool) -> dict[str, Any]:
    """Three experiments."""
    data: dict[str, Any] = {}
    # a weak cost, so that the hand-over takes its time
    adapting = load_coding_network("slow_adaptation").with_parameters(mu=6e-5)
    still = Signal(np.tile([0.9, 0.25], (25001, 1)), 1e-4)
    response = simulate(adapting, still)
    plain = simulate(adapting.with_parameters(mu=0.0), still)
    angle = np.degrees(np.arctan2(adapting.decoder[1], adapting.decoder[0]))
    data["signal_angle"] = np.degrees(np.arctan2(0.25, 0.9))
    for name, r in (("adapting", response), ("plain", plain)):
        data[f"{name}_times"], data[f"{name}_angles"] = r.spike_times, angle[r.spike_neurons]
        data[f"{name}_active"] = (r.rates(2.0) > 0).sum()

    mixed = load_coding_network("joint")
    wide = CodingNetwork(golden_angle_decoder(100, log_uniform_norms(100, 0.03, 1.2)), mixed.loss)
    radii = np.geomspace(0.4, 5, 4 if quick else 8)
    data["radii"], data["tau"] = radii, mixed.tau
    for name, values in (("inhibited", {"kappa": KAPPA}), ("linear", {"nu": NU})):
        network = wide.with_parameters(**values)
        runs = [simulate(network, circle_signal(2.5 if quick else 6.5, radius=rho)) for rho in radii]
        data[f"{name}_rate"] = [r.rate(0.5) for r in runs]
        data[f"{name}_loss"] = [r.coding_loss(discard=0.5) for r in runs]

    nus = np.geomspace(0.002, 0.2, 4 if quick else 8)
    signal = smooth_signal(8.0, seed=6).until(2.5 if quick else 8.0)
    found = []
    for nu in nus:
        rates = simulate(mixed.with_parameters(nu=nu), signal).rates(0.2)
        order = np.argsort(mixed.norms)
        cumulative = np.cumsum(rates[order]) / rates.sum()
        found.append(np.interp([0.05, 0.5, 0.95], cumulative, mixed.norms[order]))
    data["nus"], data["norm_quantiles"] = nus, np.array(found)
    data["norm_range"] = np.array([mixed.norms.min(), mixed.norms.max()])
    return data


def draw(data: Mapping[str, np.ndarray]) -> Figure:
    """Adaptation above, inhibition and norms below."""
    figure = Figure(figsize=(10.5, 7.2), layout="constrained")
    grid = figure.add_gridspec(2, 6, height_ratios=[1, 1.1])
    _hand_over(
        figure.add_subplot(grid[0, :3]), data, "plain", "Without adaptation the same few neurons fire for ever", "A"
    )
    _hand_over(
        figure.add_subplot(grid[0, 3:]), data, "adapting", "With slow adaptation activity spreads to neighbours", "B"
    )
    _growth(figure.add_subplot(grid[1, :2]), data, "rate", "C")
    _growth(figure.add_subplot(grid[1, 2:4]), data, "loss", "D")
    _norms(figure.add_subplot(grid[1, 4:]), data)
    return figure


def _hand_over(axes: Any, data: Mapping[str, np.ndarray], name: str, title: str, text: str) -> None:
    axes.plot(data[f"{name}_times"], data[f"{name}_angles"], "|", color=COLOURS["blue"], ms=5, mew=0.7)
    axes.axhline(float(data["signal_angle"]), color=COLOURS["orange"], lw=1.2, label="direction of the signal")
    axes.set(xlabel="time since the signal was switched on (s)", ylabel="decoder angle of the neuron (°)")
    axes.set(xlim=(0, 2.5), ylim=(-95, 125), yticks=(-90, -45, 0, 45, 90))
    axes.set_title(f"{title}\n({int(data[f'{name}_active'])} neurons active after 2 s)")
    axes.legend(loc="upper right")
    letter(axes, text, -0.04)


def _growth(axes: Any, data: Mapping[str, np.ndarray], quantity: str, text: str) -> None:
    rho, tau = data["radii"], float(data["tau"])
    fine = np.geomspace(rho.min(), rho.max(), 60)
    inhibited = [self_consistent_rate(lambda f: KAPPA * (1 + 2 * f * tau), r, tau) for r in fine]
    if quantity == "rate":
        theory = {"inhibited": inhibited, "linear": mixed_norms_rate(NU, fine, tau)}
    else:
        cost = KAPPA * (1 + 2 * np.array(inhibited) * tau)
        theory = {"inhibited": cost / 3, "linear": np.full(fine.size, NU / 3)}
    labels = {"inhibited": f"feedback inhibition κ = {KAPPA:g}", "linear": f"linear cost ν = {NU:g}"}
    for name, colour, marker in (("linear", "grey", "s"), ("inhibited", "pink", "o")):
        measured = data[f"{name}_{quantity}"]
        exponent = np.polyfit(np.log(rho), np.log(measured), 1)[0]
        axes.loglog(fine, theory[name], color=COLOURS[colour], lw=1.2)
        axes.loglog(rho, measured, marker, color=COLOURS[colour], ms=5, label=f"{labels[name]}: ρ$^{{{exponent:.2f}}}$")
    axes.set_xlabel("length ρ of the signal")
    if quantity == "rate":
        axes.set_ylabel("spikes/s of the population")
        axes.set_title("Inhibition turns rates ∝ ρ into rates ∝ ρ$^{2/3}$\n(lines: theory)")
    else:
        axes.set_ylabel("coding loss")
        axes.set_title("and lets the error grow with the signal\ninstead (lines: theory)")
    axes.set_xticks([0.5, 1, 2, 5])
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * (high / low) ** 0.28)
    axes.yaxis.set_minor_formatter(NullFormatter())
    ticks = [100, 200, 500, 1000, 2000] if quantity == "rate" else [0.003, 0.005, 0.01, 0.02]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.legend(loc="upper left", handlelength=0.8, borderpad=0)
    letter(axes, text, -0.1)


def _norms(axes: Any, data: Mapping[str, np.ndarray]) -> None:
    nus, quantiles = data["nus"], data["norm_quantiles"]
    fine = np.geomspace(nus.min(), nus.max(), 50)
    axes.loglog(fine, np.sqrt(fine), color=COLOURS["orange"], label="theory: d* = √ν")
    spread = np.abs(quantiles[:, [0, 2]].T - quantiles[:, 1])
    label = "median norm of spikes, 5 to 95 %"
    axes.errorbar(nus, quantiles[:, 1], yerr=spread, fmt="o", color=COLOURS["blue"], ms=5, lw=1, label=label)
    low, high = data["norm_range"]
    axes.axhspan(0.5 * low, low, color="0.93")
    axes.axhspan(high, 2 * high, color="0.93")
    axes.text(nus[0], 1.05 * high, "no such neurons", fontsize=8, color="0.4", va="bottom")
    axes.set(xlabel="linear cost ν", ylabel="decoder norm d", ylim=(0.75 * low, 1.6 * high))
    axes.set_title("The price picks the neurons:\nthose of norm √ν")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_yticks([0.03, 0.1, 0.3], ["0.03", "0.1", "0.3"])
    axes.legend(loc="lower right", borderpad=0, bbox_to_anchor=(1, 0.1))
    letter(axes, "E", -0.1)


if __name__ == "__main__":
    run(lambda: run_figure("coding_mechanisms", __doc__ or "", compute, draw))
