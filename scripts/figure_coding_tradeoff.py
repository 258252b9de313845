"""F3: coding loss against activity, for a standard population, retrained networks, and one network moved by costs.

python scripts/figure_coding_tradeoff.py [--quick] [--out DIR]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from snnmodels.coding import (
    CodingNetwork,
    LIFPopulation,
    Signal,
    TradeoffPoint,
    golden_angle_decoder,
    load_coding_network,
    ring_decoder,
    scalar_gain,
    smooth_signal,
    sweep_cost,
    sweep_scale,
)
from snnmodels.coding.theory import mixed_norms_loss, mixed_norms_rate, retrained_curve
from snnmodels.studies.figures import COLOURS, letter, run_figure
from snnmodels.studies.scripts import run

GAINS = (0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 4.5, 7.0, 12.0)
FROZEN_AT = 2.0
DISCARD = 0.5


def compute(quick: bool) -> dict[str, Any]:
    """Sweeps; every curve is an array of rate, loss and setting."""
    signal = smooth_signal(2.0 if quick else 12.0, seed=0)
    step = 3 if quick else 1
    data: dict[str, Any] = {"rho": np.linalg.norm(signal.values, axis=1).mean(), "tau": 0.02}
    data |= _standard(signal, GAINS[::step])

    fixed = load_coding_network("joint")
    free = CodingNetwork(golden_angle_decoder(100, 0.1), fixed.loss)
    data["retrained"] = _curve(sweep_scale(free, np.geomspace(0.25, 7, 9)[::step], signal), "raw")
    sweeps = {
        "nu": np.geomspace(0.002, 0.3, 9),
        "kappa": np.geomspace(1e-5, 0.02, 9),
        "mu": np.geomspace(1e-4, 0.3, 9),
    }
    for cost, values in sweeps.items():
        points = sweep_cost(fixed, cost, values[::step], signal, ("raw", "corrected"), DISCARD)
        data[cost], data[f"{cost}_corrected"] = _curve(points, "raw"), _curve(points, "corrected")

    ring = CodingNetwork(ring_decoder(100, 0.1), fixed.loss)
    values = np.r_[0, np.geomspace(0.002, 0.12, 8)][::step]
    points = sweep_cost(ring, "nu", values, signal, ("raw", "gain"), DISCARD)
    data["equal"], data["equal_gain"] = _curve(points, "raw"), _curve(points, "gain")
    return data


def _standard(signal: Signal, gains: Sequence[float]) -> dict[str, np.ndarray]:
    trained = LIFPopulation(gain=FROZEN_AT).simulate(signal)
    decoder = trained.fit_decoder(DISCARD)
    curves: dict[str, list[tuple[float, float, float]]] = {"lif_retrained": [], "lif_frozen": [], "lif_gain": []}
    first = round(DISCARD / signal.dt)
    for gain in sorted({*gains, FROZEN_AT}):
        response = LIFPopulation(gain=gain).simulate(signal)
        rate = response.rate(DISCARD)
        factor = scalar_gain((response.traces @ decoder.T)[first:], response.target[first:])
        own = response.fit_decoder(DISCARD)
        curves["lif_retrained"].append((rate, response.coding_loss(own, discard=DISCARD), gain))
        curves["lif_frozen"].append((rate, response.coding_loss(decoder, discard=DISCARD), gain))
        curves["lif_gain"].append((rate, response.coding_loss(decoder, factor, DISCARD), gain))
    return {name: np.array(points) for name, points in curves.items()}


def _curve(points: Sequence[TradeoffPoint], readout: str) -> np.ndarray:
    return np.array([(p.rate, p.loss[readout], p.setting) for p in points])


def draw(data: Mapping[str, np.ndarray]) -> Figure:
    """Three panels on the same axes: the problem, the solution, and why equal neurons can't."""
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, middle, right = figure.subplots(1, 3, sharex=True, sharey=True)
    rho, tau = float(data["rho"]), float(data["tau"])
    rate = np.geomspace(60, 3e4, 50)
    theory = retrained_curve(rate, rho, tau)

    left.plot(rate, theory, color="0.75", lw=3, zorder=0, label="theory (λρ)²/12f²")
    _plot(left, data["lif_retrained"], "green", "o-", "LIF, decoder retrained at each rate: slope")
    _plot(left, data["lif_frozen"], "red", "s-", f"LIF, decoder frozen (trained at gain {FROZEN_AT:g})")
    _plot(left, data["lif_gain"], "orange", "^--", "LIF, frozen, with a scalar gain")
    _plot(left, data["retrained"], "black", "D-", "spike-coding networks, retrained: slope")
    left.set_title("Standard networks leave their curve\nunless they are retrained")
    left.set_ylabel("coding loss $\\langle|x-\\hat x|^2\\rangle$")

    middle.plot(rate, theory, color="0.75", lw=3, zorder=0, label="theory, retrained: (λρ)²/12f²")
    nu = np.geomspace(0.0015, 0.35, 50)
    middle.plot(
        mixed_norms_rate(nu, rho, tau),
        mixed_norms_loss(nu),
        color="#BFDDF0",
        lw=3,
        zorder=0,
        label="theory, ν: loss ν/3",
    )
    _plot(middle, data["nu"], "blue", "o-", "linear cost ν: slope")
    _plot(middle, data["kappa"], "pink", "s-", "feedback inhibition κ: slope")
    _plot(middle, data["mu"], "green", "^-", "adaptation μ: slope")
    _plot(middle, data["nu_corrected"], "blue", "o:", "ν, length-corrected read-out: slope", hollow=True)
    middle.set_title("One network, fixed weights: a scalar in the\nthreshold moves it along the curve")

    right.plot(rate, theory, color="0.75", lw=3, zorder=0, label="theory, retrained")
    _plot(right, data["nu"], "blue", "o-", "fine and coarse neurons, ν")
    _plot(right, data["equal"], "red", "s-", "equal neurons (d = 0.1), ν")
    _plot(right, data["equal_gain"], "orange", "^--", "equal neurons, scalar gain")
    start = data["equal"][0]
    right.annotate("ν = 0", start[:2], (1.25 * start[0], 0.45 * start[1]), color=COLOURS["red"], fontsize=8)
    right.set_title("Equal neurons buy few spikes for much loss:\nevery spike has one size")
    for axes, text in zip((left, middle, right), "ABC", strict=True):
        axes.set(xscale="log", yscale="log", xlabel="activity (spikes/s of the population)", xlim=(60, 2.5e4))
        axes.legend(loc="upper right", handlelength=2, fontsize=7.3, borderpad=0)
        letter(axes, text)
    left.set_ylim(2e-5, 2e3)
    return figure


def _plot(axes: Any, curve: np.ndarray, colour: str, style: str, label: str, hollow: bool = False) -> None:
    face = "white" if hollow else COLOURS[colour]
    if label.endswith("slope"):
        label = f"{label} {np.polyfit(np.log(curve[:, 0]), np.log(curve[:, 1]), 1)[0]:.2f}"
    axes.plot(curve[:, 0], curve[:, 1], style, color=COLOURS[colour], ms=4, mfc=face, label=label)


if __name__ == "__main__":
    run(lambda: run_figure("coding_tradeoff", __doc__ or "", compute, draw))
