"""Pseudospikes: a loss and its gradient as spikes appear at the end of a trial, and a training that begins in silence.

Above, one neuron gets three spikes through one weight, which is varied; two output spikes have target times. Below, two
neurons learn to tell two patterns of input spikes by which of them spikes first, from weights at which none does.

python scripts/figure_pseudospikes.py [--quick] [--out DIR] [--redraw]
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from snnmodels.datasets import Trials
from snnmodels.gradients import Simulation
from snnmodels.losses import FunctionLoss, Loss, Pseudospikes, SpikeTimeError, TTFSCrossEntropy
from snnmodels.optimisers import Adam
from snnmodels.studies.figures import COLOURS, letter, run_figure
from snnmodels.studies.scripts import run
from snnmodels.templates import load_model
from snnmodels.templates.groups import Population, Projection, SpikeInput
from snnmodels.templates.network import Network
from snnmodels.training import train

MS = 1e-3
END = 40 * MS
TIMES = np.array([[[2.0, 10.0, 18.0]]]) * MS
WANTED = np.array([[[20.0, 34.0]]]) * MS
ERROR = SpikeTimeError(tau=10 * MS, missing=30 * MS)
NEURONS = {"theta": 6.0, "qif": 0.1}  # with the largest weight, in the unit of the input
FIRST = TTFSCrossEntropy(tau0=3 * MS, tau1=20 * MS, alpha=0.1)
EPOCHS = 60


def one(neuron: str) -> Network:
    """A source and a neuron."""
    return Network(
        "one",
        (SpikeInput("input", 1),),
        (Population("output", 1, load_model(neuron)),),
        (Projection("w", "input", "output", np.zeros((1, 1))),),
        "output",
        END,
    )


def sweep(neuron: str, weights: np.ndarray, pseudospikes: bool) -> dict[str, np.ndarray]:
    """Loss, gradient and the times of two spikes, `inf` where there is none, at every weight."""
    read: list[np.ndarray] = []

    def kept(times: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
        read.append(times[0, 0])
        return 0.0, np.zeros(times.shape)

    loss, seen = ERROR, FunctionLoss(kept)
    both: Loss = Pseudospikes(loss) + Pseudospikes(seen, spikes=2) if pseudospikes else loss + seen
    found = []
    with Simulation(one(neuron), both, batch_size=1, target="cpp_standalone") as simulation:
        for w in weights:
            outcome = simulation.run({"input": TIMES}, WANTED, {"w.w": np.array([[w]])})
            spikes = np.pad(read[-1], (0, 2), constant_values=np.inf)[:2]
            found.append([outcome.loss, outcome.gradients["w.w"][0, 0], *spikes])
    of_loss, gradient, *times = np.transpose(found)
    return {"loss": of_loss, "gradient": gradient, "times": np.array(times)}


def patterns() -> tuple[Network, Trials]:
    """Two neurons that are silent, and two patterns of spikes with jitter."""
    rng = np.random.default_rng(0)
    network = Network(
        "silent",
        (SpikeInput("input", 8),),
        (Population("output", 2, load_model("theta")),),
        (Projection("w", "input", "output", 0.02 * rng.uniform(0, 1, (8, 2))),),
        "output",
        30 * MS,
    )
    labels = np.arange(16) % 2
    times = rng.uniform(1, 12, (2, 8))[labels] + rng.normal(0, 0.5, (16, 8))
    return network, Trials({"input": times.clip(0) * MS}, labels)


def compute(quick: bool) -> dict[str, Any]:
    """Sweeps of both neurons, and a training with and without pseudospikes."""
    data: dict[str, Any] = {}
    for neuron, largest in NEURONS.items():
        weights = data[f"{neuron} weights"] = np.linspace(0, largest, 25 if quick else 200)
        for name in ("plain", "pseudo"):
            data |= {f"{neuron} {name} {key}": x for key, x in sweep(neuron, weights, name == "pseudo").items()}
    network, trials = patterns()
    for name, loss in (("plain", FIRST), ("pseudo", Pseudospikes(FIRST))):
        with (
            Simulation(network, loss, batch_size=16, target="cpp_standalone") as simulation,
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")  # that all trials are silent
            result = train(simulation, trials, Adam(0.05), epochs=EPOCHS, batch_size=16, progress=False)
        for key in ("train_loss", "train_error"):
            data[f"{name} {key}"] = result.history.column(key)
        data[f"{name} spikes"] = np.array([e.spikes["output"] for e in result.history.epochs])
    return data


def draw(data: Mapping[str, np.ndarray]) -> Figure:
    """Sweeps of the two neurons in columns, the training below."""
    figure = Figure(figsize=(8.6, 9.2), layout="constrained")
    rows = figure.subplots(4, 2, height_ratios=[1, 1, 1, 1.1])
    for column, (neuron, unit) in enumerate((("theta", ""), ("qif", " (mV)"))):
        scale = 1 if neuron == "theta" else 1 / MS
        times, loss, gradient = (rows[k][column] for k in range(3))
        w = scale * data[f"{neuron} weights"]
        _times(times, w, data[f"{neuron} pseudo times"])
        for name, colour, label in (
            ("plain", "grey", "missing spikes cost a constant"),
            ("pseudo", "blue", "pseudospikes"),
        ):
            style = {"color": COLOURS[colour], "label": label, "zorder": 2 if name == "pseudo" else 3}
            loss.semilogy(w, _cut(data, neuron, data[f"{neuron} {name} loss"], name), **style)
            gradient.plot(w, _cut(data, neuron, data[f"{neuron} {name} gradient"] / scale, name), **style)
        steepest = np.abs(data[f"{neuron} pseudo gradient"][w > w[-1] / 4]).max() / scale
        gradient.set(ylim=(-1.3 * steepest, 0.5 * steepest), xlabel=f"weight{unit}")
        times.set_title(f"{neuron} neuron")
        for axes, label in ((times, "spike times (ms)"), (loss, "loss"), (gradient, "dL/dw")):
            axes.set_ylabel(label)
            for birth in _births(data, neuron) * scale:
                axes.axvline(birth, color=COLOURS["orange"], lw=0.8, ls=":", zorder=0)
    rows[1][0].legend()
    rows[0][0].legend(loc="upper right")
    _training(rows[3][0], rows[3][1], data)
    for axes, text in zip(np.ravel(rows), "ABCDEFGH", strict=True):
        letter(axes, text, -0.14)
    figure.align_ylabels(rows)
    return figure


def _births(data: Mapping[str, np.ndarray], neuron: str) -> np.ndarray:
    """Weights at which the first and the second spike appear."""
    there = np.isfinite(data[f"{neuron} plain times"])
    return np.array([data[f"{neuron} weights"][row.argmax()] for row in there])


def _cut(data: Mapping[str, np.ndarray], neuron: str, y: np.ndarray, name: str) -> np.ndarray:
    """A curve without lines across its jumps."""
    if name == "pseudo":
        return y
    found = y.copy()
    for row in np.isfinite(data[f"{neuron} plain times"]):
        found[row.argmax()] = np.nan
    return found


def _times(axes: Axes, w: np.ndarray, times: np.ndarray) -> None:
    """Two spikes: before the end of the trial, and after it."""
    for k, (row, colour) in enumerate(zip(times / MS, ("green", "pink"), strict=True)):
        axes.plot(w, np.where(row <= END / MS, row, np.nan), color=COLOURS[colour], label=f"spike {k + 1}")
        axes.plot(w, np.where(row > END / MS, row, np.nan), color=COLOURS[colour], ls=(0, (1, 1)), label="pseudospike")
        axes.axhline(WANTED[0, 0, k] / MS, color=COLOURS[colour], lw=0.6, ls="--")
    axes.axhline(END / MS, color="black", lw=0.8)
    axes.annotate("end of the trial", (w[-1], END / MS), ha="right", va="bottom", fontsize=8)
    axes.set(ylim=(0, 2.6 * END / MS))


def _training(left: Axes, right: Axes, data: Mapping[str, np.ndarray]) -> None:
    """Loss and share of errors; spikes."""
    epochs = np.arange(1, len(data["plain train_loss"]) + 1)
    for name, colour, label in (("plain", "grey", "without pseudospikes"), ("pseudo", "blue", "with pseudospikes")):
        left.semilogy(epochs, data[f"{name} train_loss"], color=COLOURS[colour], label=label)
        right.plot(epochs, data[f"{name} spikes"], color=COLOURS[colour], label=f"spikes per trial, {label}")
        errors = data[f"{name} train_error"]
        right.plot(epochs, errors, color=COLOURS[colour], ls="--", label=f"share of errors, {label}")
    left.set(xlabel="epoch", ylabel="loss", title="training from silence")
    right.set(xlabel="epoch", ylabel="spikes, errors", title="spikes within the trial; errors of these")
    left.legend()
    right.legend(loc=(0.22, 0.06))


if __name__ == "__main__":
    run(lambda: run_figure("pseudospikes", __doc__ or "", compute, draw))
