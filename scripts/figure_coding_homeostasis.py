"""F9: what an energy budget does to the code after silence, after changes of the input, and after loss of neurons.

python scripts/figure_coding_homeostasis.py [--quick] [--out DIR]

One network of mixed norms (N = 100) under four regimes: a fixed price; a budget of the population without bounds that
matter; the same with bounds; and a budget of each neuron, which is its own rate at the fixed price on a circle. The
signal has a constant length and a direction that wanders at random. Rates are relative to the budget, losses to the
mean square of the signal in the same window.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from snnmodels.coding import (
    CodingNetwork,
    Homeostat,
    Signal,
    TimeCourse,
    circle_signal,
    golden_angle_decoder,
    joint_loss,
    log_uniform_norms,
    simulate,
    smooth_signal,
)
from snnmodels.studies.figures import COLOURS, letter, run_figure, window_mean
from snnmodels.studies.scripts import run

N = 100
PRICE = 0.03
BOUNDS = (PRICE / 4, 10 * PRICE)
GAIN, GAIN_OF_NEURONS = 4.0, 0.3
LOST = 0.4
DT = 1e-4
# what happens when, in seconds
SILENCE, BACK, DOUBLE, HALF, DIRECTION, TURNED, LOSS, END = 4.0, 9.0, 13.0, 17.0, 19.0, 25.0, 27.0, 33.0
WINDOWS = {
    "before": (2.0, SILENCE),
    "0.2 s after silence": (BACK, BACK + 0.2),
    "2 to 4 s after": (BACK + 2, DOUBLE),
    "doubled, 0.3 s": (DOUBLE, DOUBLE + 0.3),
    "doubled, last 2 s": (HALF - 2, HALF),
    "one direction, 0.5 s": (DIRECTION, DIRECTION + 0.5),
    "one direction, last 2 s": (TURNED - 2, TURNED),
    "neurons lost, 1 s": (LOSS, LOSS + 1),
    "neurons lost, last 3 s": (END - 3, END),
}
REGIMES = ("fixed price", "population, unbounded", "population, bounded", "neurons, bounded")
EVERY, WIDTH = 0.02, 0.1


def story(seed: int) -> Signal:
    """A signal that wanders about the unit circle, with a silence, a doubling, and a time in which it keeps still."""
    speed = 2 * np.pi * smooth_signal(END, dimensions=1, seed=seed, rms=0.5).values[:, 0]
    t = np.arange(len(speed)) * DT
    angle = np.cumsum(np.where((t > DIRECTION) & (t <= TURNED), 0.0, speed)) * DT
    x = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    x[(t > DOUBLE) & (t <= HALF)] *= 2
    x[(t > SILENCE) & (t <= BACK)] = 0.0
    return Signal(x, DT)


def population(seed: int) -> CodingNetwork:
    """Mixed norms with a fixed price, of which a random part is lost at `LOSS`."""
    loss = joint_loss({"sparsity": "nu*r", "lesion": "off*r"}, parameters={"nu": PRICE, "off": 0.0})
    gone = np.zeros(N)
    gone[np.random.default_rng(1000 + seed).permutation(N)[: round(LOST * N)]] = 1e6
    course = TimeCourse.from_steps({0.0: np.zeros(N), LOSS: gone}, END, 0.1)
    return CodingNetwork(golden_angle_decoder(N, log_uniform_norms(N, 0.03, 0.6)), loss, {"off": course})


def regimes(network: CodingNetwork, turns: int) -> tuple[dict[str, CodingNetwork], float]:
    """The network under each regime, and the budget: its own rate at the fixed price, on a circle."""
    circle = circle_signal(2.0 * (turns + 1), frequency=0.5)
    rates = simulate(network.with_parameters(off=0.0), circle).rates(2.0)
    budget, each = float(rates.sum()), np.maximum(rates, 0.2)
    low, high = BOUNDS
    prices: dict[str, float | Homeostat] = {
        "fixed price": PRICE,
        "population, unbounded": Homeostat(PRICE, budget, GAIN, minimum=1e-12, maximum=1e6),
        "population, bounded": Homeostat(PRICE, budget, GAIN, minimum=low, maximum=high),
        "neurons, bounded": Homeostat(PRICE, each, GAIN_OF_NEURONS, minimum=low, maximum=high, scope="neuron"),
    }
    return {name: network.with_parameters(nu=price) for name, price in prices.items()}, budget


def compute(quick: bool) -> dict[str, Any]:
    """Rates and losses in windows, for several seeds; courses of the first."""
    warnings.simplefilter("ignore")
    seeds = 1 if quick else 5
    rates, losses = (np.empty((len(REGIMES), len(WINDOWS), seeds)) for _ in range(2))
    data: dict[str, Any] = {"time": np.arange(EVERY, END + EVERY / 2, EVERY)}
    every, width = round(EVERY / DT), round(WIDTH / DT)
    for s in range(seeds):
        signal, network = story(s), population(s)
        cases, budget = regimes(network, 1 if quick else 5)
        power = (signal.values[1:] ** 2).sum(1)
        for r, name in enumerate(REGIMES):
            response = simulate(cases[name], signal)
            squared = ((response.target - response.estimate) ** 2).sum(1)
            counts = np.bincount(response.spike_steps, minlength=signal.steps)
            for w, (start, stop) in enumerate(WINDOWS.values()):
                part = slice(round(start / DT), round(stop / DT))
                rates[r, w, s] = counts[part].sum() / (stop - start) / budget
                losses[r, w, s] = squared[part].mean() / power[part].mean()
            if s == 0:
                data[f"rate{r}"] = window_mean(counts, width, every) / DT / budget
                data[f"loss{r}"] = window_mean(squared, width, every)
                if name != "fixed price":
                    price = response.prices("nu", every)
                    data[f"price{r}"] = price if price.ndim == 1 else np.quantile(price, [0.1, 0.5, 0.9], axis=1)
        if s == 0:
            data["power"] = window_mean(power, width, every)
    return data | {"rates": rates, "losses": losses}


def table(data: Mapping[str, np.ndarray]) -> str:
    """Rate over budget and relative loss, by window and regime."""
    lines = ["| spikes / budget; loss / |x|² | " + " | ".join(REGIMES) + " |", "|---" * (1 + len(REGIMES)) + "|"]
    for w, window in enumerate(WINDOWS):
        cells = []
        for r in range(len(REGIMES)):
            rate, loss = data["rates"][r, w], 100 * data["losses"][r, w]
            cells.append(f"{rate.mean():.2f} ± {rate.std():.2f}; {loss.mean():.2f} ± {loss.std():.2f} %")
        lines.append(f"| {window} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(data: Mapping[str, np.ndarray]) -> Figure:
    """Rate, price and loss of one seed over the story."""
    figure = Figure(figsize=(10.5, 7.2), layout="constrained")
    axes = figure.subplots(3, 1, sharex=True)
    rate, price, loss = axes
    t, colours = data["time"], [COLOURS[c] for c in ("grey", "red", "blue", "green")]
    steps = min(len(t), len(data["rate0"]))
    t = t[:steps]
    for r, (name, colour) in enumerate(zip(REGIMES, colours, strict=True)):
        rate.semilogy(t, np.maximum(data[f"rate{r}"][:steps], 0.03), color=colour, lw=1, label=name)
        loss.semilogy(t, np.maximum(data[f"loss{r}"][:steps], 1e-4), color=colour, lw=1)
        if name == "fixed price":
            price.axhline(PRICE, color=colour, lw=1)
        elif name.startswith("neurons"):
            low, middle, high = data[f"price{r}"][:, :steps]
            price.fill_between(t, low, high, color=colour, alpha=0.2, lw=0, label="80 % of the neurons")
            price.semilogy(t, middle, color=colour, lw=1)
        else:
            price.semilogy(t, np.maximum(data[f"price{r}"][:steps], 1e-6), color=colour, lw=1)
    loss.semilogy(t, np.maximum(data["power"][:steps], 1e-4), color="black", lw=0.8, ls=":", label="|x|²")
    marks = {SILENCE: "silence", BACK: "back", DOUBLE: "doubled", HALF: "", DIRECTION: "one direction", TURNED: "",
             LOSS: f"{LOST:.0%} of the neurons lost"}
    for row in axes:
        for when in marks:
            row.axvline(when, color="0.6", lw=0.8, ls=":")
        row.yaxis.set_minor_formatter(NullFormatter())
    for when, text in marks.items():
        rate.text(when + 0.15, 22, text, fontsize=8, va="top")
    rate.axhline(1, color="black", lw=0.8, ls="--")
    rate.set(ylabel="spikes, relative\nto the budget", ylim=(0.025, 25))
    price.set(ylabel="price ν", ylim=(1e-3, 1))
    loss.set(ylabel="coding loss\nover 0.1 s", xlabel="time (s)", xlim=(0, END), ylim=(1e-4, 30))
    rate.set_title("A budget without bounds is saved in silence and spent in one burst; bounds keep it from winding up")
    rate.legend(loc="lower right", ncols=4, borderpad=0)
    price.legend(loc="lower right", borderpad=0)
    loss.legend(loc="lower right", borderpad=0)
    for row, text in zip(axes, "ABC", strict=True):
        letter(row, text, -0.06)
    return figure


if __name__ == "__main__":
    run(lambda: run_figure("coding_homeostasis", __doc__ or "", compute, draw, table=table))
