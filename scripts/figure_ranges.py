"""F9: what learned time constants and thresholds add where a quantity spans several octaves, by few neurons.

    python scripts/figure_ranges.py                 # ten seeds: some ten minutes of CPU time
    python scripts/figure_ranges.py --choose        # shared values and starts on seeds 101 and 102, from which ARMS are
    python scripts/figure_ranges.py --quick         # one seed, few trials: half a minute
    python scripts/figure_ranges.py --redraw FILE   # the figure and the table again, from a results file

An interrupted run goes on after the last complete arm when the same command is given again.
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
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from snnmodels.files import as_json, folder_for, read_json, write_rounded
from snnmodels.studies.figures import COLOURS, letter
from snnmodels.studies.plots import save_figure
from snnmodels.studies.ranges import LOSS, TASKS, Arm, RangeSettings, Task, run_arm

Results = Mapping[str, Any]
QUICK: dict[str, Any] = {"epochs": 1, "training_trials": 100, "test_trials": 200}
CHOICE = (101, 102)
SHADES = {
    "shared, as learned begins": "grey",
    "best shared": "black",
    "best shared, cue weights learned": "blue",
    "learned": "orange",
}
UNITS = {"elapsed time": (1e3, "synaptic time constant (ms)"), "intensity": (1.0, "threshold")}


def main(arguments: list[str] | None = None) -> int:
    """Train what is missing, write results and figure; return the exit status."""
    options = _parse(arguments)
    settings = dataclasses.replace(RangeSettings(), **(QUICK if options.quick else {}))
    if options.choose:
        return choose(settings, options.out, scripts.command("figure_ranges", arguments))
    file = scripts.saved(options, "ranges.json")
    if file is not None:
        results: Results = read_json(file, "results file", "settings", "tasks")
    else:
        results = {
            "command": scripts.command("figure_ranges", arguments),
            "settings": as_json(dataclasses.asdict(settings)),
            "seeds": options.seeds,
            "tasks": {
                name: {
                    arm: [_arm(settings, name, given, seed, options.out) for seed in options.seeds]
                    for arm, given in task.arms.items()
                }
                for name, task in TASKS.items()
            },
        }
        write_rounded(options.out / "ranges.json", results)
    for line in describe(results):
        print(line)
    with matplotlib.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        save_figure(draw(results), options.out / "ranges.png", dpi=options.dpi)
    print(options.out / "ranges.png")
    return 0


def choose(settings: RangeSettings, out: Path, command: str) -> int:
    """Errors of every shared value of the grids, fixed and as a start, on the seeds that are for that."""
    found: dict[str, Any] = {}
    for name, task in TASKS.items():
        for kind, learned in (("fixed", ()), ("learned", (task.key,))):
            for start in task.grid:
                runs = [_arm(settings, name, Arm(start, learned), seed, out) for seed in CHOICE]
                errors = [run["error"] for run in runs]
                found.setdefault(name, {}).setdefault(kind, {})[f"{start:g}"] = errors
                print(f"{name}: {kind} {start:g}: {', '.join(f'{e:.3f}' for e in errors)} octaves", flush=True)
    write_rounded(out / "ranges_choice.json", {"command": command, "seeds": list(CHOICE), "errors": found})
    return 0


def describe(results: Results) -> list[str]:
    """The table of the documentation: errors, and how much smaller those of the last arm are on the same seeds."""
    heads = ("task", "arm", "start", "error (octaves)", "learned ones are smaller by", "seeds")
    lines = [f"| {' | '.join(heads)} |", "|---|---|--:|--:|--:|--:|"]
    for name, arms in results["tasks"].items():
        *_, own = (_errors(runs) for runs in arms.values())
        for k, (arm, runs) in enumerate(arms.items()):
            errors = _errors(runs)
            gain = errors - own
            cells = [name if k == 0 else "", arm, _start(name, arm), f"{errors.mean():.3f}{_pm(errors)}", "", ""]
            if k < len(arms) - 1:
                error = f" ± {gain.std(ddof=1) / np.sqrt(len(gain)):.3f}" if len(gain) > 1 else ""
                cells[4:] = [f"{gain.mean():.3f}{error}", f"{np.count_nonzero(gain > 0)} of {len(gain)}"]
            lines.append("| " + " | ".join(cells) + " |")
    return lines


def _errors(runs: list[Results]) -> np.ndarray:
    return np.array([run["error"] for run in runs])


def _pm(values: np.ndarray) -> str:
    return f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else ""


def _start(name: str, arm: str) -> str:
    value = TASKS[name].arms[arm].start
    return f"{1e3 * value:g} ms" if name == "elapsed time" else f"{value:g}"


def draw(results: Results) -> Figure:
    """For each task what is decoded, the errors of all arms, and the values that were learned."""
    figure = Figure(figsize=(11, 6.4), layout="constrained")
    grid = figure.subplots(len(results["tasks"]), 3, width_ratios=(1.1, 1.2, 1))
    letters = iter("ABCDEF")
    for row, (name, arms) in zip(grid, results["tasks"].items(), strict=True):
        _decoded(row[0], name, arms, results)
        _compared(row[1], arms, results)
        _values(row[2], name, arms, results["seeds"])
        for axes in row:
            letter(axes, next(letters))
    return figure


def _decoded(axes: Axes, name: str, arms: Results, results: Results) -> None:
    """What the read-outs of the first seed say."""
    octaves = results["settings"]["octaves"]
    axes.plot([0, octaves], [0, octaves], color="0.75", lw=4, solid_capstyle="butt")
    for arm, runs in arms.items():
        if arm != "best shared, cue weights learned":
            axes.plot(runs[0]["octave"], runs[0]["decoded"], color=_colour(arm), lw=1.2, label=_label(name, arm))
    axes.set(xlabel=f"{name} (octaves)", ylabel="decoded (octaves)", ylim=(-2, octaves + 2))
    axes.legend(frameon=False, fontsize=8)
    axes.set_title(f"{name.capitalize()}: seed {results['seeds'][0]}", fontsize=9.5)


def _label(name: str, arm: str) -> str:
    return arm if arm == "learned" else f"{arm} ({_start(name, arm)})"


def _colour(arm: str) -> str:
    return COLOURS[SHADES[arm]]


def _compared(axes: Axes, arms: Results, results: Results) -> None:
    """Every seed's error in every arm, a line for each seed; mean and standard error."""
    every = np.array([_errors(runs) for runs in arms.values()])
    axes.plot(every, "-", color="0.85", lw=0.8)
    for place, (own, colour) in enumerate(zip(every, map(_colour, arms), strict=True)):
        axes.plot(np.full(len(own), place), own, "o", ms=4, color=colour, alpha=0.45, mew=0)
        error = own.std(ddof=1) / np.sqrt(len(own)) if len(own) > 1 else 0.0
        axes.errorbar(place, own.mean(), yerr=error, fmt="_", ms=22, mew=2, color=colour, capsize=3)
    guess = results["settings"]["octaves"] / np.sqrt(12)
    axes.axhline(guess, color="0.6", lw=1, ls=":")
    axes.text(len(arms) - 0.5, guess, "always the mean", ha="right", va="bottom", color="0.4", fontsize=8)
    axes.set_xticks(range(len(arms)), [arm.replace(" shared", "\nshared").replace(", ", ",\n") for arm in arms])
    axes.tick_params(axis="x", labelsize=8)
    axes.set(xlim=(-0.5, len(arms) - 0.5), ylim=(0, None), ylabel="error (octaves)")
    seeds = "one seed" if every.shape[1] == 1 else f"{every.shape[1]} seeds; mean, standard error"
    axes.set_title(seeds, fontsize=9.5)


def _values(axes: Axes, name: str, arms: Results, seeds: Sequence[int]) -> None:
    """What every neuron has after learning, a column for each seed, and where it began."""
    factor, label = UNITS[name]
    task: Task = TASKS[name]
    for place, run in enumerate(arms["learned"]):
        values = factor * np.array(run["values"])
        axes.plot(np.full(len(values), place + 1), values, "o", ms=4, color=_colour("learned"), alpha=0.7, mew=0)
    axes.axhline(factor * task.arms["learned"].start, color="0.6", lw=1, ls="--")
    axes.set(yscale="log", xlabel="seed", ylabel=label)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xticks(range(1, len(seeds) + 1), list(map(str, seeds)))
    axes.set_title("learned, and start (dashed)", fontsize=9.5)


def _arm(settings: RangeSettings, name: str, arm: Arm, seed: int, out: Path) -> dict[str, Any]:
    """Result of an arm: the one in `out`, if it is complete and of the same settings, else a new one."""
    from snnmodels.targets.devices import quiet

    task, learned = TASKS[name], "_".join(key.replace(".", "_") for key in arm.learned) or "fixed"
    made_from = as_json(
        {**dataclasses.asdict(settings), **dataclasses.asdict(arm), "factor": task.factor, "loss": repr(LOSS)}
    )
    file = out / f"{name.split()[0]}_{learned}_{arm.start:g}_seed{seed}.json"

    def make() -> dict[str, Any]:
        with quiet():
            return run_arm(settings, task, arm, seed)

    return scripts.kept_part(file, made_from, make, f"{name}, {learned}, from {arm.start:g}, seed {seed}")


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    out = "output/ranges, or output/ranges_quick"
    parser = scripts.options(__doc__, quick="one seed, few trials: half a minute", out=out, dpi=120)
    parser.add_argument("--seeds", type=int, nargs="+", help="default: 31 to 40, with --quick 1")
    parser.add_argument("--choose", action="store_true", help="try shared values and starts on seeds 101 and 102")
    options = parser.parse_args(arguments)
    options.seeds = options.seeds or ([1] if options.quick else list(range(31, 41)))
    options.out = options.out or Path("output", "ranges_quick" if options.quick else "ranges")
    folder_for(options.out, "folder of results")
    return options


if __name__ == "__main__":
    scripts.run(main, "interrupted; the same command goes on after the last complete arm")
