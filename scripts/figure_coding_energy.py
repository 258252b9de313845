"""F8: the trade-off in spikes, synaptic events, synaptic charge and ATP, with each of them priced in the loss.

python scripts/figure_coding_energy.py [--quick] [--out DIR]

The full figure takes about two minutes of CPU time; --quick is one of its three signals.
"""

from __future__ import annotations

from snnmodels.studies import scripts  # first: it sets the number of NumPy's threads

# isort: split

from collections.abc import Mapping
from typing import Any

import numpy as np
import sympy as sp
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from snnmodels.coding import (
    CodingNetwork,
    energy,
    golden_angle_decoder,
    load_coding_network,
    simulate,
    smooth_signal,
)
from snnmodels.coding.energy import charge_per_spike, energy_per_spike
from snnmodels.coding.metabolism import ATTWELL_LAUGHLIN_2001, HOWARTH_2012
from snnmodels.coding.pricing import face_distance, priced_loss, priced_rate
from snnmodels.studies.figures import COLOURS, letter, run_figure
from snnmodels.symbolic.parsing import symbol

DURATION, DISCARD, SEEDS = 5.0, 0.5, (300, 301, 302)
UNITS = ("spikes", "synaptic_events", "synaptic_charge", "atp")
# prices of the average neuron's spike, so that the three are alike in size
PRICES = {
    "spikes": np.geomspace(0.002, 0.3, 6),
    "synaptic_charge": np.geomspace(0.01, 0.2, 5),
    "atp": np.geomspace(0.002, 0.2, 6),
}
SCALES = np.geomspace(0.5, 6, 4)
NAMES = {"spikes": "per spike", "synaptic_charge": "per charge", "atp": "per ATP"}
COLOUR = {"spikes": "blue", "synaptic_charge": "red", "atp": "green"}


def compute(quick: bool) -> dict[str, Any]:
    """Every price on every signal: arrays of shape (seeds, prices, quantities)."""
    network = load_coding_network("joint")
    norms = network.norms
    data: dict[str, Any] = {"tau": network.tau, "norms": norms, "charge_per_norm": charge_per_spike(network) / norms}
    for budget in (HOWARTH_2012, ATTWELL_LAUGHLIN_2001):
        atp = energy_per_spike(network, "atp", budget)
        # ATP of a spike is alpha + beta d, for the theory
        data[f"atp_line_{budget.source[-5:-1]}"] = np.polyfit(norms, atp, 1)
    data["mean_energy"] = [energy_per_spike(network, unit).mean() for unit in PRICES]  # type: ignore[arg-type]
    rows: dict[str, list[Any]] = {name: [] for name in (*PRICES, "rescaled")}
    rho = []
    free = CodingNetwork(golden_angle_decoder(network.n, 0.1), network.loss)
    for seed in SEEDS[: 1 if quick else None]:
        signal = smooth_signal(DURATION, seed=seed)
        late = signal.values[signal.first_step(DISCARD) :]
        rho.append([np.linalg.norm(late, axis=1).mean()])
        for unit, prices in PRICES.items():
            used = energy_per_spike(network, unit)  # type: ignore[arg-type]
            priced = [network.with_parameters(nu=price * used / used.mean()) for price in prices]
            rows[unit].append([_quantities(one, signal) for one in priced])
        rows["rescaled"].append([_quantities(free.rescaled(factor), signal) for factor in SCALES])
    return data | {name: np.array(found) for name, found in rows.items()} | {"rho": np.array(rho)}


def _quantities(network: CodingNetwork, signal: Any) -> list[float]:
    """Energy in the four units, resting ATP, loss, loss with the length put right, median norm of the spikes."""
    response = simulate(network, signal)
    order = np.argsort(network.norms)
    counts = np.cumsum(response.rates(DISCARD)[order])
    median = float(network.norms[order][np.searchsorted(counts, counts[-1] / 2)])
    # the bias of the neurons at work, which their price and norm tell: (eps_1/d + eps_2)/2 = (theta_i - d_i^2/2)/d_i
    cost = np.broadcast_to(np.asarray(network.value("nu"), float), (network.n,))
    bias = float(np.interp(median, network.norms[order], (cost / 2 / network.norms)[order])) if cost.any() else 0.0
    x = response.estimate
    length = np.linalg.norm(x, axis=1, keepdims=True)
    longer = x * np.where(length > 0, 1 + bias / np.maximum(length, 1e-300), 0.0)
    corrected = response.coding_loss(longer, DISCARD)
    used = energy(response, DISCARD)
    raw = response.coding_loss(discard=DISCARD)
    return [*(getattr(used, u) for u in UNITS), used.resting_atp, raw, corrected, median]


LOSS, CORRECTED, MEDIAN = 5, 6, 7


def theory(data: Mapping[str, np.ndarray], unit: str, prices: np.ndarray) -> dict[str, np.ndarray]:
    """Norm at work, loss and energy in the four units at prices of the average neuron's spike."""
    norms, rho, tau = data["norms"], float(data["rho"].mean()), float(data["tau"])
    q = float(data["charge_per_norm"].mean())
    beta, alpha = data["atp_line_2012"]
    first, second = {
        "spikes": (np.ones_like(prices), np.zeros_like(prices)),
        "synaptic_charge": (np.zeros_like(prices), np.ones_like(prices) / norms.mean()),
        "atp": tuple(np.ones_like(prices) * part / (alpha + beta * norms.mean()) for part in (alpha, beta)),
    }[unit]
    eps_1, eps_2 = prices * first, prices * second
    d = np.clip(np.sqrt(eps_1), norms.min(), norms.max())
    rate = priced_rate(d, eps_1, eps_2, rho, tau)
    synapses = len(norms) - 1 + 2
    used = {"spikes": rate, "synaptic_events": synapses * rate, "synaptic_charge": q * d * rate}
    return {"norm": d, "loss": priced_loss(d, eps_1, eps_2), **used, "atp": (alpha + beta * d) * rate}


def table(data: Mapping[str, np.ndarray]) -> str:
    """The numbers of docs/coding_networks.md."""
    q = data["charge_per_norm"]
    lines = [f"charge of a spike over its norm: {q.min():.0f} to {q.max():.0f}"]
    for unit, prices in PRICES.items():
        found, expected = data[unit], theory(data, unit, prices)
        lines.append(f"price {NAMES[unit]}, {len(found)} signal(s), mean ± standard deviation (over the theory)")
        for k, price in enumerate(prices):
            values = [
                _spread(found[:, k, j]) + f" ({(found[:, k, j] / expected[u][k]).mean():.2f})"
                for j, u in enumerate(UNITS)
            ]
            loss = f"{_spread(found[:, k, LOSS])} ({(found[:, k, LOSS] / expected['loss'][k]).mean():.2f})"
            norm = f"{_spread(found[:, k, MEDIAN])} ({(found[:, k, MEDIAN] / expected['norm'][k]).mean():.2f})"
            text = ", ".join(f"{u} {v}" for u, v in zip(UNITS, values, strict=True))
            corrected = _spread(found[:, k, CORRECTED])
            lines.append(f"  {price:.3g}: {text}; loss {loss}, length put right {corrected}, norm {norm}")
        first, last = found[:, 0], found[:, -1]
        text = ", ".join(f"{u} {_spread(first[:, j] / last[:, j])}" for j, u in enumerate(UNITS))
        total = (first[:, 3] + first[:, 4]) / (last[:, 3] + last[:, 4])
        worse = _spread(last[:, LOSS] / first[:, LOSS])
        lines.append(f"  first over last price: {text}, ATP with rest {_spread(total)}, loss 1/{worse}")
    return "\n".join(lines)


def _spread(values: np.ndarray) -> str:
    return f"{values.mean():.3g}" + (f" ± {values.std(ddof=1):.1g}" if len(values) > 1 else "")


def draw(data: Mapping[str, np.ndarray]) -> Figure:
    """Faces and norms at work, then loss against each unit of energy."""
    figure = Figure(figsize=(11.5, 7.4), layout="constrained")
    grid = figure.subplots(2, 3)
    _faces(grid[0, 0])
    _norms(grid[0, 1], data)
    spikes = data["spikes"]
    saved = {u: (spikes[:, 0, j] / spikes[:, -1, j]).mean() for j, u in enumerate(UNITS)}
    charge = data["synaptic_charge"]
    few, bad = ((charge[:, 0, j] / charge[:, -1, j]).mean() for j in (0, LOSS))
    titles = {
        "spikes": f"A price per spike saves spikes, here {saved['spikes']:.0f} x;\n"
        f"one per charge {few:.1f} x, at {1 / bad:.0f} x the loss",
        "synaptic_events": "Synaptic events: the same as spikes,\nsince every neuron reaches all others",
        "synaptic_charge": "Synaptic charge: only a bias saves any,\n"
        f"{saved['synaptic_charge']:.1f} x by the price per spike of C",
        "atp": f"ATP: {saved['atp']:.1f} x by the price per spike of C;\ncharge is what is left",
    }
    labels = (
        "spikes/s of the population",
        "synaptic events/s",
        "synaptic charge/s (resets of the receiver)",
        "ATP/s for spikes and synapses",
    )
    axes_of = (grid[0, 2], grid[1, 0], grid[1, 1], grid[1, 2])
    for j, (unit, axes, label) in enumerate(zip(UNITS, axes_of, labels, strict=True)):
        _tradeoff(axes, data, j, unit)
        axes.set(xlabel=label, ylabel="coding loss $\\langle|x-\\hat x|^2\\rangle$", xscale="log", yscale="log")
        axes.set_ylim(1e-4, 300)
        axes.set_title(titles[unit])
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes_of[0].legend(loc="upper right", fontsize=7, borderpad=0, handlelength=2)
    resting = float(spikes[0, 0, 4])
    axes_of[2].set_xlim(4e3, 1.2e5)
    axes_of[3].set_xlim(2e10, 1e12)
    axes_of[3].axvline(resting, color="0.6", ls=":", lw=1)
    axes_of[3].text(1.05 * resting, 120, "resting potentials, on top of it", fontsize=7.5, color="0.4", va="center")
    for axes, text in zip(grid.flat, "ABCDEF", strict=True):
        letter(axes, text)
    return figure


def _faces(axes: Any) -> None:
    d = np.geomspace(0.02, 1, 200)
    distance = sp.lambdify([symbol(s) for s in ("d", "eps_1", "eps_2")], face_distance(), "numpy")
    cases = (
        ("no price", 0.0, 0.0, "grey"),
        ("per spike, ε₁ = 0.02", 0.02, 0.0, "blue"),
        ("per charge, ε₂ = 0.3", 0.0, 0.3, "red"),
        ("both", 0.02, 0.3, "green"),
    )
    for name, eps_1, eps_2, colour in cases:
        axes.plot(d, distance(d, eps_1, eps_2), color=COLOURS[colour], label=name)
        if eps_1:
            axes.plot(np.sqrt(eps_1), distance(np.sqrt(eps_1), eps_1, eps_2), "o", color=COLOURS[colour], ms=5)
    axes.set(xscale="log", xlabel="decoder norm d", ylabel="distance of the face θ/d", xlim=(0.02, 1), ylim=(0, 0.85))
    axes.set_title("A price per spike selects d = √ε₁ (dots);\na price per charge lifts all faces alike")
    axes.legend(loc="upper left", fontsize=7.5, borderpad=0, handlelength=1.5)


def _norms(axes: Any, data: Mapping[str, np.ndarray]) -> None:
    norms = data["norms"]
    for unit, prices in PRICES.items():
        fine = np.geomspace(prices[0], prices[-1], 60)
        axes.plot(fine, theory(data, unit, fine)["norm"], color=COLOURS[COLOUR[unit]], lw=1)
        _errorbar(axes, np.tile(prices, (len(data[unit]), 1)), data[unit][:, :, MEDIAN], COLOUR[unit], "o", NAMES[unit])
    axes.axhspan(0.5 * norms.min(), norms.min(), color="0.93", lw=0)
    axes.text(0.3, 0.86 * norms.min(), "no such neurons", fontsize=7.5, color="0.4", va="center", ha="right")
    axes.set(xscale="log", yscale="log", ylim=(0.75 * norms.min(), 1.3 * norms.max()))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_yticks([0.03, 0.1, 0.3], ["0.03", "0.1", "0.3"])
    axes.set_xlabel("price of the average neuron's spike")
    axes.set_ylabel("median norm of the spikes")
    axes.set_title("Norms at work (lines: theory)")
    axes.legend(loc="upper left", fontsize=7.5, borderpad=0, handlelength=1)


def _tradeoff(axes: Any, data: Mapping[str, np.ndarray], j: int, unit: str) -> None:
    for priced, prices in PRICES.items():
        fine = np.geomspace(prices[0], prices[-1], 60)
        expected = theory(data, priced, fine)
        axes.plot(expected[unit], expected["loss"], color=COLOURS[COLOUR[priced]], lw=3, alpha=0.25)
        found = data[priced]
        _errorbar(axes, found[:, :, j], found[:, :, LOSS], COLOUR[priced], "o-", f"price {NAMES[priced]}, raw")
        label = "dotted: read-out's length put right" if priced == "atp" else None
        _errorbar(axes, found[:, :, j], found[:, :, CORRECTED], COLOUR[priced], "o:", label, hollow=True)
    found = data["rescaled"]
    _errorbar(axes, found[:, :, j], found[:, :, LOSS], "black", "D-", "equal neurons, rescaled")


def _errorbar(
    axes: Any, x: np.ndarray, y: np.ndarray, colour: str, style: str, label: str | None, hollow: bool = False
) -> None:
    """Mean over signals with standard deviations."""
    error = [v.std(axis=0, ddof=1) if len(v) > 1 else None for v in (x, y)]
    face = "white" if hollow else COLOURS[colour]
    axes.errorbar(
        x.mean(0), y.mean(0), xerr=error[0], yerr=error[1], fmt=style, color=COLOURS[colour], mfc=face, ms=3.8, lw=1.1,
        elinewidth=0.8, label=label,
    )  # fmt: skip


if __name__ == "__main__":
    scripts.run(lambda: run_figure("coding_energy", __doc__ or "", compute, draw, table=table))
