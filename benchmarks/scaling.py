"""How the cost of a trial grows with batch size, hidden neurons and spikes: Yin-Yang, package and limit.

python -m benchmarks.scaling             # writes docs/results/scaling.json and docs/figures/scaling.png
python -m benchmarks.scaling --quick     # three points of each, few batches
python -m benchmarks.scaling --draw      # only the figure, from the results

One thing is varied at a time, from 200 hidden neurons, batch 32 and the published initial weights. Spikes are varied by
a factor on the input weights.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from snnmodels.plots import PALETTE

from .command import command_line
from .contenders import CONTENDERS
from .report import BASES
from .run import ENTRIES, describe_machine, summarise
from .serving import Meter, round_of
from .tasks import yin_yang

RESULTS = Path("docs/results/scaling.json")
FIGURE = Path("docs/figures/scaling.png")
SWEEPS: dict[str, Sequence[float]] = {
    "batch_size": (1, 4, 16, 32, 64, 128, 256, 512),
    "hidden": (50, 100, 200, 500, 1000, 2000),
    "drive": (0.6, 0.8, 1.0, 1.5, 2.0, 3.0),
}
QUICK: dict[str, Sequence[float]] = {
    "batch_size": (1, 8, 32),
    "hidden": (50, 100, 200),
    "drive": (0.8, 1.0, 1.5),
}
LABELS = {"batch_size": "batch size", "hidden": "hidden neurons", "drive": "hidden spikes per trial"}
COLOURS = {"limit": PALETTE[6], "package": PALETTE[0], "calls": PALETTE[2]}


def main(arguments: list[str] | None = None) -> int:
    """Measure, write, draw; return the exit status."""
    options = _parse(arguments)
    if options.draw:
        if not options.out.exists():
            print(f"{options.out}: no results yet; run python -m benchmarks.scaling", file=sys.stderr)
            return 2
        results = json.loads(options.out.read_text())
    else:
        results = measure(QUICK if options.quick else SWEEPS, options.rounds, options.trials)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(results, indent=1) + "\n")
    options.figure.parent.mkdir(parents=True, exist_ok=True)
    draw(results).savefig(options.figure, dpi=200)
    print(f"results: {options.out}\nfigure: {options.figure}")
    return 0


def measure(sweeps: Mapping[str, Sequence[float]], rounds: int, trials: int) -> dict[str, Any]:
    """Run all sweeps; at each point the contenders, all in this process, take turns.

    Parameters
    ----------
    sweeps : mapping of str to sequence
        Values by the name of a parameter of `benchmarks.tasks.yin_yang`.
    rounds : int
    trials : int
        Of one round, in as many batches as that makes.
    """
    results: dict[str, Any] = {"machine": describe_machine(), "rounds": rounds, "trials": trials, "sweeps": {}}
    for name, values in sweeps.items():
        points = []
        for value in values:
            print(f"{LABELS[name]}: {name} = {value:g}", file=sys.stderr)
            points.append({"value": value} | _point({name: value}, rounds, trials))
        results["sweeps"][name] = points
    return results


def _point(settings: Mapping[str, Any], rounds: int, trials: int) -> dict[str, Any]:
    task = yin_yang(max(trials, settings.get("batch_size", 1)), **settings)
    size = task.settings["batch_size"]
    batches = max(1, trials // size)
    with ExitStack() as stack:
        contenders = {}
        for key in COLOURS:
            contenders[key] = CONTENDERS[key](task, Meter(), {})
            stack.callback(contenders[key].close)
        for contender in contenders.values():
            contender.meter.find_children()  # those of all, of which one works at a time
        answers: dict[str, list[dict[str, Any]]] = {key: [] for key in COLOURS}
        for k in range(rounds):
            for key, contender in contenders.items():
                answers[key].append(round_of(contender, batches, 60.0, warm_up=k == 0))
    bases = {key: (answers[key], {"batch_size": size}) for key in BASES if key in answers}
    return {key: summarise(answers[key], {"batch_size": size}, bases) for key in COLOURS}


def draw(results: Mapping[str, Any]) -> Figure:
    """CPU time per trial of the passes (lines) and of a whole batch (dashed) in each sweep."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    grid = figure.subplots(1, 3)
    for axes, (name, points) in zip(grid, results["sweeps"].items(), strict=True):
        _panel(axes, name, points)
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False)
    return figure


def _panel(axes: Axes, name: str, points: Sequence[Mapping[str, Any]]) -> None:
    for key, colour in COLOURS.items():
        x = [p[key]["hidden_spikes"] if name == "drive" else p["value"] for p in points]
        for section, style, what in (("passes", "o-", "forward and backward"), ("batch", "o--", "whole batch")):
            if section not in points[0][key]["cpu"]:  # nobody can tell the passes apart
                continue
            y = [p[key]["cpu"][section] for p in points]
            filled = colour if section == "passes" else "white"
            label = f"{ENTRIES[key].label}, {what}"
            axes.plot(x, y, style, color=colour, markersize=4, markerfacecolor=filled, linewidth=1.3, label=label)
    axes.set(xlabel=LABELS[name], ylabel="CPU time per trial (ms)", xscale="log", yscale="log")
    places: list[float] = []
    for v in (float(f"{v:.2g}") for v in x) if name == "drive" else x:
        if not places or v >= 1.9 * places[-1]:  # their numbers need room
            places.append(v)
    axes.set_xticks(places)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="x", which="minor", length=0)
    axes.spines[["top", "right"]].set_visible(False)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = command_line("scaling", __doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=1024, help="trials of a round (default: 1024)")
    parser.add_argument("--out", type=Path, default=RESULTS, help=f"results (default: {RESULTS})")
    parser.add_argument("--figure", type=Path, default=FIGURE, help=f"figure (default: {FIGURE})")
    parser.add_argument("--draw", action="store_true", help="only draw the figure from the results")
    parser.add_argument("--quick", action="store_true", help="three points of each, 2 rounds of 96 trials")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.trials = 2, 96
    if options.rounds < 1 or options.trials < 1:
        parser.error("--rounds and --trials: expected at least 1")
    return options


if __name__ == "__main__":
    sys.exit(main())
