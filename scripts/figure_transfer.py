"""F6: test accuracy of trained networks within a budget of hidden spikes: one with a knob, frozen, retrained, small.

    python scripts/figure_transfer.py                    # Yin-Yang, ten seeds
    python scripts/figure_transfer.py --mnist DIR        # and MNIST from its files in DIR
    python scripts/figure_transfer.py --quick            # one seed, few epochs: half a minute
    python scripts/figure_transfer.py --redraw FILE      # the figure again, from a results file

An interrupted run goes on after the last complete network when the same command is given again.
"""

from __future__ import annotations

from snnmodels.studies import scripts  # first: it sets the number of NumPy's threads

# isort: split

import argparse
import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from snnmodels.files import as_json, folder_for, read_json, write_rounded
from snnmodels.studies.budgets import accuracies, condensed, spent
from snnmodels.studies.figures import COLOURS, letter
from snnmodels.studies.plots import save_figure

NAMES = {
    "conditioned": "one network with a knob",
    "retrained": "retrained, best of two",
    "retrained_base": "retrained from the base",
    "retrained_scratch": "retrained from scratch",
    "small": "small networks",
    "early": "base, early decision",
    "frozen_gate": "base frozen, gate",
    "frozen_gate_norm": "base frozen, gate by read-out norm",
    "frozen_gate_random": "base frozen, gate at random",
    "frozen_kappa": "base frozen, κ",
    "frozen_nu": "base frozen, ν",
    "adaptive": "adaptive network",
}
LOOK = {
    "conditioned": ("blue", "o-"),
    "retrained": ("black", "D--"),
    "small": ("green", "^--"),
    "early": ("pink", "v:"),
    "frozen_gate": ("sky", "s-"),
    "frozen_kappa": ("red", "s-"),
    "frozen_nu": ("orange", "s-"),
    "adaptive": ("grey", "x-"),
}
OTHERS = {"retrained": "retrained", "small": "small", "frozen": "frozen, the better of κ and ν"}
TASKS = {"yin_yang": "Yin-Yang", "mnist": "MNIST"}


def main(arguments: list[str] | None = None) -> int:
    """Train what is missing, write results and figure; return the exit status."""
    options = _parse(arguments)
    file = scripts.saved(options, "transfer.json")
    if file is not None:
        results = read_json(file, "results file", "tasks", "quick")
    else:
        results = {
            "command": scripts.command("figure_transfer", _anywhere(arguments)),
            "quick": options.quick,
            "tasks": _tasks(options),
        }
        write_rounded(options.out / "transfer.json", results)
    table = "\n".join(describe(results))
    print(table)
    with matplotlib.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        save_figure(draw(results), options.out / "transfer.png", dpi=options.dpi)
    (options.out / "transfer.md").write_text(table + "\n")
    print(options.out / "transfer.png")
    return 0


def describe(results: Mapping[str, Any]) -> list[str]:
    """The tables of the documentation: accuracies within budgets, and differences, over seeds."""
    lines = []
    for task, of in results["tasks"].items():
        seeds = of["seeds"]
        arms = next(iter(seeds.values()))["arms"]
        for count, fractions in of["budgets"].items():
            words = {"spikes": "all hidden spikes count", "decided": "those before the decision count"}[count]
            budgets = _row(f"{100 * f:.0f} %" for f in fractions)
            lines += ["", f"| {TASKS[task]}, {len(seeds)} seed{'s' * (len(seeds) > 1)}: {words} | {budgets}"]
            lines += ["|---|" + "---|" * len(fractions)]
            for arm, name in NAMES.items():
                if arm in arms:
                    lines.append(f"| {name} | {_row(map(_spread, accuracies(seeds, arm, count).T))}")
            own = accuracies(seeds, "conditioned", count)
            for other, name in OTHERS.items():
                gain = own - accuracies(seeds, other, count)
                lines.append(f"| knob − {name} | {_row(_spread(column, sign=True) for column in gain.T)}")
            lines.append(f"| spikes of the knob's network | {_row(map(_spread, spent(seeds, 'conditioned', count).T))}")
        base = [s["base"]["test"] for s in seeds.values()]
        lines += ["", f"{TASKS[task]}, base: accuracy {_spread(np.array([b['accuracy'] for b in base]))}"]
        for key in ("spikes", "decided"):
            lines.append(f"base: {key} {_spread(np.array([b[key] for b in base]), digits=1)}")
        lines.append(f"base: neurons that spike {_spread(np.array([s['neurons'] for s in seeds.values()]), digits=1)}")
        off = []
        for seed in seeds.values():
            control = seed["control"]
            third = len(control) // 3
            last = [control[k * third + third // 2 : (k + 1) * third] for k in range(3)]
            off.append([np.mean([b["spikes"] / b["budget"] for b in part]) - 1 for part in last])
        lines.append(f"control: spikes over budget, second half of each third: {_row(map(_spread, np.array(off).T))}")
    return lines


def draw(results: Mapping[str, Any]) -> Figure:
    """Accuracy against the budget for each task, by both counts for Yin-Yang, and the knob under a changing budget."""
    tasks = results["tasks"]
    rows = 3 if "mnist" in tasks else 2
    figure = Figure(figsize=(10.5, 3.7 * rows + 0.7), layout="constrained")
    axes = figure.subplots(rows, 2).ravel()
    _budgets(axes[0], tasks["yin_yang"], "spikes", "Yin-Yang: all hidden spikes count")
    _budgets(axes[1], tasks["yin_yang"], "decided", "Yin-Yang: hidden spikes before the decision count")
    _differences(axes[2], tasks["yin_yang"], "Yin-Yang")
    _control(axes[3], tasks["yin_yang"])
    if "mnist" in tasks:
        _budgets(axes[4], tasks["mnist"], "spikes", "MNIST: all hidden spikes count")
        _differences(axes[5], tasks["mnist"], "MNIST")
    for axis, of in zip(axes, "ABCDEF", strict=False):
        letter(axis, of)
    figure.legend(*axes[0].get_legend_handles_labels(), frameon=False, ncols=4, loc="outside lower center")
    if results["quick"]:
        figure.suptitle("--quick: shows that everything runs, and no result", color="red")
    return figure


def _budgets(axes: Axes, of: Mapping[str, Any], count: str, title: str) -> None:
    fractions, seeds = 100 * np.array(of["budgets"][count]), of["seeds"]
    for arm, (colour, style) in LOOK.items():
        if arm not in next(iter(seeds.values()))["arms"]:
            continue
        found = accuracies(seeds, arm, count)
        complete = ~np.isnan(found).any(axis=0)
        mean, spread = found[:, complete].mean(axis=0), _deviation(found[:, complete])
        axes.errorbar(
            fractions[complete], mean, yerr=spread, fmt=style, color=COLOURS[colour], ms=4.5, lw=1.4, elinewidth=0.8,
            label=NAMES[arm],
        )  # fmt: skip
    several = "one seed" if len(seeds) == 1 else f"{len(seeds)} seeds: mean, standard deviation"
    axes.set(xlabel="budget, % of the base network's hidden spikes", ylabel="test accuracy")
    axes.invert_xaxis()
    axes.set_title(f"{title}\n({several})", fontsize=9.5)


def _differences(axes: Axes, of: Mapping[str, Any], task: str) -> None:
    fractions, seeds = 100 * np.array(of["budgets"]["spikes"]), of["seeds"]
    own = accuracies(seeds, "conditioned")
    for arm in ("retrained", "small", "early", "frozen_gate", "frozen_kappa", "frozen_nu"):
        colour, style = LOOK[arm]
        gain = 100 * (own - accuracies(seeds, arm))
        axes.errorbar(
            fractions, gain.mean(axis=0), yerr=_deviation(gain), fmt=style, color=COLOURS[colour], ms=4, elinewidth=0.8
        )
    axes.axhline(-1, color="0.6", lw=0.8, ls=":")
    axes.axhline(0, color="0.6", lw=0.8)
    axes.set(xlabel="budget, % of the base network's hidden spikes", ylabel="gain in accuracy, points", ylim=(-6, 12))
    axes.invert_xaxis()
    title = f"{task}: gain of the knob's network over the others"
    axes.set_title(f"{title}\n(percentage points; dotted: 1 behind; cut off above)", fontsize=9.5)


def _control(axes: Axes, of: Mapping[str, Any]) -> None:
    runs = [s["control"] for s in of["seeds"].values()]
    base = [s["base"]["validation"]["spikes"] for s in of["seeds"].values()]
    spikes = np.array([[100 * b["spikes"] / whole for b in run] for run, whole in zip(runs, base, strict=True)])
    knobs = np.array([[b["knob"] for b in run] for run in runs])
    axes.step(
        np.arange(spikes.shape[1]), [100 * b["budget"] / base[0] for b in runs[0]], color="0.5", lw=3, label="budget"
    )
    axes.plot(spikes.mean(axis=0), color=COLOURS["blue"], lw=1, label="hidden spikes")
    axes.set(xlabel=f"batch of {of['settings']['batch_size']} test trials", ylabel="% of the base network's spikes")
    axes.set_ylim(0, 130)
    twin = axes.twinx()
    twin.plot(knobs.mean(axis=0), color=COLOURS["pink"], lw=1)
    twin.spines["right"].set_visible(True)
    twin.set(ylabel="knob k: fraction of neurons on", ylim=(0, 1.3))
    twin.yaxis.label.set_color(COLOURS["pink"])
    axes.legend(frameon=False, fontsize=8, loc="upper right")
    axes.set_title("The network keeps a budget: d ln k = −η (spikes/budget − 1)", fontsize=9.5)


def _tasks(options: argparse.Namespace) -> dict[str, Any]:
    """Results of the tasks that are asked for, condensed."""
    # Brian2, only where it is needed: drawing does without
    from snnmodels.studies.transfer import run_seed
    from snnmodels.studies.transfer_tasks import mnist_task, settings_for, yin_yang_task
    from snnmodels.targets.devices import quiet

    tasks = {"yin_yang": (yin_yang_task(1000, 1000) if options.quick else yin_yang_task(), options.seeds)}
    if options.mnist is not None:
        few = {"training": 2000, "validation": 500, "test": 500} if options.quick else {}
        tasks["mnist"] = (mnist_task(options.mnist, **few), options.mnist_seeds)
    found: dict[str, Any] = {}
    for name, (task, seeds) in tasks.items():
        settings = settings_for(name, options.quick)
        every = {}
        for seed in seeds:
            with quiet():
                result = run_seed(task, settings, seed, options.out / f"{name}_seed{seed}")
            every[str(seed)] = condensed(result, task.budgets(settings))
        found[name] = {
            "settings": as_json(dataclasses.asdict(settings)), "budgets": task.budgets(settings), "seeds": every,
        }  # fmt: skip
    return found


def _anywhere(arguments: list[str] | None) -> list[str]:
    """The arguments without the place where the files of MNIST lie here."""
    given = sys.argv[1:] if arguments is None else arguments
    return ["DIR" if k and given[k - 1] == "--mnist" else word for k, word in enumerate(given)]


def _deviation(values: np.ndarray) -> np.ndarray:
    return values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros(values.shape[1])


def _row(cells: Any) -> str:
    return " | ".join(cells) + " |"


def _spread(values: np.ndarray, digits: int = 3, *, sign: bool = False) -> str:
    missing = int(np.isnan(values).sum())
    if missing:
        return f"not reached in {missing} of {len(values)}"
    spread = f" ± {values.std(ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{values.mean():{'+' if sign else ''}.{digits}f}{spread}"


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    out = "output/transfer, or output/transfer_quick"
    parser = scripts.options(__doc__, quick="one seed, few epochs: shows that everything runs", out=out, dpi=110)
    parser.add_argument("--seeds", type=int, nargs="+", help="of Yin-Yang; default: 1 to 10, with --quick 1")
    parser.add_argument("--mnist", type=Path, metavar="DIR", help="MNIST too, from its files in DIR")
    parser.add_argument("--mnist-seeds", type=int, nargs="+", help="default: 1 to 3, with --quick 1")
    options = parser.parse_args(arguments)
    options.seeds = options.seeds or ([1] if options.quick else list(range(1, 11)))
    options.mnist_seeds = options.mnist_seeds or ([1] if options.quick else [1, 2, 3])
    options.out = options.out or Path("output", "transfer_quick" if options.quick else "transfer")
    folder_for(options.out, "folder of results")
    return options


if __name__ == "__main__":
    scripts.run(main, "interrupted; the same command goes on after the last complete network")
