"""F6: test accuracy against hidden spikes of EventProp-trained networks: frozen with a knob, retrained, conditioned.

    python scripts/figure_transfer.py --quick            # one seed, a fifth of the training set, 4 + 2 + 6 epochs
    python scripts/figure_transfer.py                    # five seeds
    python scripts/figure_transfer.py --redraw FILE      # the figure again, from a results file

An interrupted run goes on after the last complete seed when the same command is given again.
"""

from __future__ import annotations

from snnmodels.studies import scripts  # first: it sets the number of NumPy's threads

# isort: split

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from snnmodels.files import as_json, folder_for, read_json, write_rounded
from snnmodels.studies.figures import COLOURS, letter
from snnmodels.studies.plots import save_figure
from snnmodels.studies.transfer import TransferSettings, accuracy_at, run_seed

Points = Sequence[Mapping[str, float]]
SYMBOLS = {"nu": "ν", "kappa": "κ"}
# The first is the goal's.
COMPARED_AT = (9.0, 8.0, 7.0)


def main(arguments: list[str] | None = None) -> int:
    """Train what is missing, write results and figure; return the exit status."""
    options = _parse(arguments)
    file = scripts.saved(options, "results.json")
    if file is not None:
        results = read_json(file, "results file", "settings", "seeds")
    else:
        settings = _settings(options.quick)
        seeds = {str(seed): _seed(settings, seed, options.out) for seed in options.seeds}
        results = {
            "command": scripts.command("figure_transfer", arguments),
            "settings": as_json(dataclasses.asdict(settings)),
            "seeds": seeds,
        }
        write_rounded(options.out / "results.json", results)
    for line in describe(results):
        print(line)
    with matplotlib.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        save_figure(draw(results), options.out / "transfer.png", dpi=options.dpi)
    print(options.out / "transfer.png")
    return 0


def describe(results: Mapping[str, Any]) -> list[str]:
    """Accuracies at equal spikes, over seeds, one line per comparison."""
    runs = list(results["seeds"].values())
    lines = []
    for spikes in COMPARED_AT:
        kinds = ("frozen", "frozen_other", "conditioned")
        at = {kind: [accuracy_at(run[kind], spikes) for run in runs] for kind in kinds}
        lines += [f"{kind} at {spikes:g} spikes per sample: {_spread(values)}" for kind, values in at.items()]
        lines.append(f"conditioned - frozen there: {_spread(np.subtract(at['conditioned'], at['frozen']))}")
    for k, setting in enumerate(p["setting"] for p in runs[0]["retrained"]):
        own = [run["retrained"][k] for run in runs]
        behind = [p["accuracy"] - accuracy_at(r["conditioned"], p["spikes"]) for p, r in zip(own, runs, strict=True)]
        count, accuracy = ([p[key] for p in own] for key in ("spikes", "accuracy"))
        lines.append(
            f"retrained at {setting:g}: {_spread(accuracy)} with {_spread(count, 1)} spikes; "
            f"conditioned is behind at equal spikes by {_spread(behind)}"
        )
    for k, setting in enumerate(p["setting"] for p in runs[0]["pressed"]):
        count, accuracy = ([run["pressed"][k][key] for run in runs] for key in ("spikes", "accuracy"))
        spread = np.mean([run["thresholds"][k]["std"] for run in runs])
        lines.append(
            f"price {setting:g}: {_spread(accuracy)} with {_spread(count, 1)} spikes; thresholds vary by {spread:.3f}"
        )
    return lines


def draw(results: Mapping[str, Any]) -> Figure:
    """Accuracy against spikes with every seed faint, and the conditioned network under a budget."""
    runs = list(results["seeds"].values())
    knob = SYMBOLS[results["settings"]["knob"]]
    other = next(symbol for symbol in SYMBOLS.values() if symbol != knob)
    figure = Figure(figsize=(10.5, 4.3), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    _curve(left, [r["frozen"] for r in runs], "red", "s-", f"frozen, threshold raised by {knob}B")
    _curve(left, [r["frozen_other"] for r in runs], "orange", "^-", f"frozen, threshold raised by {other}")
    _curve(left, [r["conditioned"] for r in runs], "blue", "o-", f"one network, trained with {knob} drawn per batch")
    _curve(left, [r["retrained"] for r in runs], "black", "D--", f"retrained for each {knob}")
    _curve(left, [r["pressed"] for r in runs], "green", "v--", "retrained with a price on spikes,\nthresholds learned")
    left.axvline(COMPARED_AT[0], color="0.85", lw=1, zorder=0)
    left.set(xlabel="hidden spikes per sample", ylabel="test accuracy", ylim=(0.3, 1.0))
    left.legend(frameon=False, fontsize=8, loc="lower right")
    seeds = "one seed" if len(runs) == 1 else f"{len(runs)} seeds: faint; mean, standard deviation"
    left.set_title(f"Yin-Yang, 5-100-3 ({seeds})", fontsize=9.5)
    letter(left, "A")

    batches = [r["homeostat"] for r in runs]
    spikes = np.array([[b["spikes"] for b in batch] for batch in batches])
    knobs = np.array([[b["knob"] for b in batch] for batch in batches])
    right.step(np.arange(spikes.shape[1]), [b["budget"] for b in batches[0]], color="0.5", lw=3, label="budget")
    right.plot(spikes.mean(axis=0), color=COLOURS["blue"], lw=1, label="hidden spikes per sample")
    right.set(xlabel=f"batch of {results['settings']['batch_size']} test samples", ylabel="spikes per sample")
    right.set_ylim(6, 14)
    twin = right.twinx()
    twin.plot(knobs.mean(axis=0), color=COLOURS["pink"], lw=1)
    twin.spines["right"].set_visible(True)
    twin.set(ylabel=f"{knob} of the homeostat", ylim=(0, 1.8 * knobs.mean(axis=0).max()))
    twin.yaxis.label.set_color(COLOURS["pink"])
    right.legend(frameon=False, fontsize=8, loc="upper right")
    right.set_title(f"The conditioned network keeps a budget:\nd ln {knob} = η (spikes/budget − 1)", fontsize=9.5)
    letter(right, "B")
    return figure


def _curve(axes: Axes, curves: Sequence[Points], colour: str, style: str, label: str) -> None:
    both = np.array([[(p["spikes"], p["accuracy"]) for p in points] for points in curves])
    for curve in both if len(both) > 1 else ():
        axes.plot(*curve.T, style[1:], color=COLOURS[colour], alpha=0.2, lw=0.8)
    mean = both.mean(axis=0)
    spread = both.std(axis=0, ddof=1) if len(both) > 1 else np.zeros_like(mean)
    (x, y), (dx, dy) = mean.T, spread.T
    axes.errorbar(x, y, yerr=dy, xerr=dx, fmt=style, color=COLOURS[colour], ms=4.5, lw=1.5, elinewidth=0.8, label=label)


def _seed(settings: TransferSettings, seed: int, out: Path) -> dict[str, Any]:
    """Result of a seed: the one in `out`, if it is complete and of the same settings, else a new one."""
    from snnmodels.targets.devices import quiet

    file = out / f"seed{seed}.json"
    if file.exists():
        kept = read_json(file, "results file", "settings", "result")
        if kept["settings"] != as_json(dataclasses.asdict(settings)):
            raise ValueError(f"{file}: is of a run with other settings; remove it or name another folder with --out")
        return dict(kept["result"])
    print(f"seed {seed}", flush=True)
    with quiet():
        result = run_seed(settings, seed)
    write_rounded(file, {"settings": as_json(dataclasses.asdict(settings)), "result": result})
    return result


def _settings(quick: bool) -> TransferSettings:
    settings = TransferSettings()
    if not quick:
        return settings
    return dataclasses.replace(
        settings, base_epochs=4, more_epochs=2, conditioned_epochs=6, rate=1e-2, more_rate=8e-3, training_trials=1000
    )


def _spread(values: Sequence[float] | np.ndarray, digits: int = 3) -> str:
    known = np.asarray(values, dtype=float)
    if np.isnan(known).any():
        return f"not reached in {int(np.isnan(known).sum())} of {len(known)} seeds"
    spread = f" ± {known.std(ddof=1):.{digits}f}" if len(known) > 1 else ""
    return f"{known.mean():.{digits}f}{spread}"


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    out = "output/transfer, or output/transfer_quick"
    parser = scripts.options(__doc__, quick="one seed, few epochs: a minute or two", out=out, dpi=110)
    parser.add_argument("--seeds", type=int, nargs="+", help="default: 1 to 5, with --quick 1")
    options = parser.parse_args(arguments)
    options.seeds = options.seeds or ([1] if options.quick else [1, 2, 3, 4, 5])
    options.out = options.out or Path("output", "transfer_quick" if options.quick else "transfer")
    folder_for(options.out, "folder of results")
    return options


if __name__ == "__main__":
    scripts.run(main, "interrupted; the same command goes on after the last complete seed")
