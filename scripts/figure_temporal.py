"""F8: what learned delays, time constants and thresholds add to learned weights, where only the order of spikes counts.

    python scripts/figure_temporal.py                 # ten seeds: some minutes of CPU time
    python scripts/figure_temporal.py --quick         # one seed, few epochs: half a minute
    python scripts/figure_temporal.py --redraw FILE   # the figure and the table again, from a results file

An interrupted run goes on after the last complete seed when the same command is given again.
"""

from __future__ import annotations

from snnmodels.studies import scripts  # first: it sets the number of NumPy's threads

# isort: split

import argparse
import dataclasses
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from snnmodels.files import as_json, folder_for, read_json, write_rounded
from snnmodels.parallel import run_all
from snnmodels.studies.figures import COLOURS, letter
from snnmodels.studies.plots import save_figure
from snnmodels.studies.temporal import (
    ARMS,
    BOUNDS,
    LOSS,
    SCALES,
    SETUPS,
    TemporalSettings,
    draw_orders,
    order_trials,
    run_seed,
)

Results = Mapping[str, Any]
QUICK: dict[str, Any] = {"epochs": 1, "training_trials": 128, "test_trials": 128}
SHOWN = 3  # classes in the panel of the task
COLOURS_OF = {"nothing": "black", "delays": "blue", "time constants": "orange", "thresholds": "green"}


def main(arguments: list[str] | None = None) -> int:
    """Train what is missing, write results and figure; return the exit status."""
    options = _parse(arguments)
    file = scripts.saved(options, "temporal.json")
    if file is not None:
        results: Results = read_json(file, "results file", "settings", "seeds")
    else:
        settings = dataclasses.replace(TemporalSettings(), **(QUICK if options.quick else {}))
        with scripts.executor(options) as executor:
            runs = run_all(partial(_seed, settings, options.out.absolute()), options.seeds, executor)
        seeds = dict(zip(map(str, options.seeds), runs, strict=True))
        results = {
            "command": scripts.command("figure_temporal", arguments),
            "settings": as_json(dataclasses.asdict(settings)),
            "seeds": seeds,
        }
        write_rounded(options.out / "temporal.json", results)
    for line in describe(results):
        print(line)
    with matplotlib.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        save_figure(draw(results), options.out / "temporal.png", dpi=options.dpi)
    print(options.out / "temporal.png")
    return 0


def accuracies(results: Results, setup: str, arm: str) -> np.ndarray:
    """Test accuracy of every seed."""
    return np.array([run["setups"][setup][arm]["accuracy"] for run in results["seeds"].values()])


def describe(results: Results) -> list[str]:
    """The table of the documentation: accuracies, and how far each arm is above the weights alone of the same seeds."""
    ideal = np.array([run["ideal"] for run in results["seeds"].values()])
    lines = [
        f"ideal observer: {100 * ideal.mean():.2f} %",
        "",
        "| weights | learned beside them | test accuracy | gain | seeds above |",
        "|---|---|--:|--:|--:|",
    ]
    for setup, arms in ARMS.items():
        fixed = accuracies(results, setup, next(iter(arms)))
        for arm in arms:
            own = accuracies(results, setup, arm)
            gain = own - fixed
            error = f" ± {100 * gain.std(ddof=1) / np.sqrt(len(gain)):.1f}" if len(gain) > 1 else ""
            cells = [setup, arm, f"{_percent(own)} %"]
            above = f"{np.count_nonzero(gain > 0)} of {len(gain)}"
            cells += [f"{100 * gain.mean():+.1f}{error} %", above] if arms[arm] else ["", ""]
            lines.append("| " + " | ".join(cells) + " |")
    return lines


def _percent(values: np.ndarray) -> str:
    spread = f" ± {100 * values.std(ddof=1):.1f}" if len(values) > 1 else ""
    return f"{100 * values.mean():.1f}{spread}"


def draw(results: Results) -> Figure:
    """Trials of some classes, and the accuracies of all arms with every seed, for both set-ups."""
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    task, *panels = figure.subplots(1, 1 + len(SETUPS), width_ratios=(1.3, *map(len, ARMS.values())))
    _task(task, results)
    letter(task, "A")
    for axes, setup, text in zip(panels, SETUPS, "BC", strict=True):
        _accuracies(axes, results, setup)
        letter(axes, text)
    return figure


def _task(axes: Axes, results: Results) -> None:
    """Several trials of some classes of the first seed."""
    settings = TemporalSettings(**results["settings"])
    seed = int(next(iter(results["seeds"])))
    orders = draw_orders(settings, seed)
    shades = ("blue", "orange", "green", "red", "pink", "sky", "grey", "black")
    for k, order in enumerate(orders[:SHOWN]):
        inputs, _ = order_trials(settings, order[None], 6, np.random.default_rng([seed, 3, k])).take(slice(None))
        trials = inputs["input"]
        for row, times in enumerate(trials):
            height = (SHOWN - 1 - k) * (len(trials) + 2) + len(trials) - 1 - row
            for channel, time in enumerate(times):
                axes.plot(1e3 * time, height, "|", ms=7, mew=2, color=COLOURS[shades[channel % len(shades)]])
    centre = [(SHOWN - 1 - k) * 8 + 2.5 for k in range(SHOWN)]
    axes.set_yticks(centre, [f"class {k + 1}" for k in range(SHOWN)])
    axes.set(xlabel="time (ms)", ylim=(-1, SHOWN * 8 - 1), xlim=(0, None))
    n = settings.classes
    axes.set_title(f"Order of {settings.channels} channels\n(colours), {n} classes", fontsize=9.5)


def _accuracies(axes: Axes, results: Results, setup: str) -> None:
    """Every seed's accuracy in every arm, a line for each seed; mean and standard error."""
    arms = tuple(ARMS[setup])
    runs = results["seeds"].values()
    every = 100 * np.array([accuracies(results, setup, arm) for arm in arms])
    axes.plot(every, "-", color="0.85", lw=0.8)
    for place, (arm, own) in enumerate(zip(arms, every, strict=True)):
        colour = COLOURS[COLOURS_OF[arm]]
        axes.plot(np.full(len(own), place), own, "o", ms=4, color=colour, alpha=0.45, mew=0)
        error = own.std(ddof=1) / np.sqrt(len(own)) if len(own) > 1 else 0.0
        axes.errorbar(place, own.mean(), yerr=error, fmt="_", ms=22, mew=2, color=colour, capsize=3, elinewidth=1.4)
    axes.axhline(100 * np.mean([run["ideal"] for run in runs]), color="0.6", lw=1, ls="--")
    chance = 100 / results["settings"]["classes"]
    axes.axhline(chance, color="0.6", lw=1, ls=":")
    for height, text in ((100 * np.mean([run["ideal"] for run in runs]), "ideal observer"), (chance, "chance")):
        axes.text(len(arms) - 0.5, height, text, ha="right", va="bottom", color="0.4", fontsize=8)
    axes.set_xticks(range(len(arms)), [arm.replace("time ", "time\n") for arm in arms])
    axes.tick_params(axis="x", labelsize=8)
    axes.set(
        xlim=(-0.5, len(arms) - 0.5), ylim=(0, 108), ylabel="test accuracy (%)", xlabel="learned beside the weights"
    )
    seeds = "one seed" if len(runs) == 1 else f"{len(runs)} seeds; mean, standard error"
    axes.set_title(f"{setup.capitalize()}\n({seeds})", fontsize=9.5)


def _seed(settings: TemporalSettings, out: Path, seed: int) -> dict[str, Any]:
    """Result of a seed: the one in `out`, if it is complete and of the same settings, else a new one."""
    from snnmodels.targets.devices import quiet

    def make() -> dict[str, Any]:
        with quiet():
            return run_seed(settings, seed)

    return scripts.kept_part(out / f"seed{seed}.json", _made_from(settings), make, f"seed {seed}")


def _made_from(settings: TemporalSettings) -> dict[str, Any]:
    """Everything that a seed's result depends on, so that none is taken for one of other settings."""
    return as_json({**dataclasses.asdict(settings), "scales": SCALES, "bounds": BOUNDS, "loss": repr(LOSS)})


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    out = "output/temporal, or output/temporal_quick"
    parser = scripts.options(__doc__, quick="one seed, few epochs: half a minute", out=out, dpi=120)
    parser.add_argument("--seeds", type=int, nargs="+", help="default: 11 to 20, with --quick 1")
    scripts.several(parser, "seeds trained at a time")
    options = parser.parse_args(arguments)
    options.seeds = options.seeds or ([1] if options.quick else list(range(11, 21)))
    options.out = options.out or Path("output", "temporal_quick" if options.quick else "temporal")
    folder_for(options.out, "folder of results")
    return options


if __name__ == "__main__":
    scripts.run(main, "interrupted; the same command goes on after the last complete seed")
