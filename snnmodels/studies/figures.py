"""What the scripts of the coding figures share: options, saved data, and a common look."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..files import atomic_file, folder_for, read_archive
from . import scripts
from .plots import save_figure

__all__ = ["COLOURS", "QUICK", "letter", "mark_quick", "run_figure", "window_mean"]

Array = np.ndarray
Data = Mapping[str, Array]

# Okabe & Ito, https://jfly.uni-koeln.de/color: distinguishable with any common colour vision
COLOURS = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "red": "#D55E00",
    "pink": "#CC79A7",
    "sky": "#56B4E9",
    "grey": "#888888",
    "black": "#000000",
}
_STYLE: dict[str, Any] = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
}


QUICK = "is_quick"
"""Name under which saved data tell whether they are of a --quick run."""

def run_figure(
    name: str,
    description: str,
    compute: Callable[[bool], dict[str, Any]],
    draw: Callable[[Data], Figure],
    arguments: list[str] | None = None,
    *,
    table: Callable[[Data], str] | None = None,
) -> Path:
    """Parse options, simulate or read saved data, draw, and save ``<name>.npz`` and ``<name>.png``.

    A picture of a ``--quick`` run says so, also when it is drawn again.

    Parameters
    ----------
    name : str
    description : str
        For ``--help``.
    compute : callable
        ``compute(quick)`` returns everything that `draw` needs, as arrays or numbers.
    draw : callable
    arguments : list of str or None
        Command line; None for that of the process.
    table : callable or None
        Numbers of the data, those that the documentation cites, which are printed and saved as ``<name>.md``.

    Returns
    -------
    Path
        Of the picture.

    Raises
    ------
    FileNotFoundError
        If the data to be redrawn aren't there.
    """
    parser = scripts.options(
        description, quick="shorter simulations, fewer points: under a minute", out="output", dpi=150
    )
    given = parser.parse_args(arguments)
    given.out = given.out or Path("output")
    folder_for(given.out, "folder of results")
    file = scripts.saved(given, f"{name}.npz")
    if file is None:
        file = given.out / f"{name}.npz"
        data = {**compute(given.quick), QUICK: bool(given.quick)}
        with atomic_file(file, "results") as opened:
            np.savez_compressed(opened, **data)
    saved = read_archive(file, "file of results")
    if table is not None:
        print(text := table(saved))
        (given.out / f"{name}.md").write_text(text + "\n")
    with matplotlib.rc_context(_STYLE):
        figure = draw(saved)
        if saved.get(QUICK):
            mark_quick(figure)
        picture = save_figure(figure, given.out / f"{name}.png", dpi=given.dpi)
    print(picture)
    return picture


def mark_quick(figure: Figure) -> None:
    """Write across the bottom of a figure that it is of a --quick run, below everything else."""
    text = "--quick: shorter simulations, fewer points and seeds than in the documentation"
    figure.supxlabel(text, fontsize=8, color=COLOURS["red"])


def letter(axes: Axes, text: str, x: float = -0.02) -> None:
    """A bold panel letter at the upper left, outside the axes.

    Parameters
    ----------
    axes : matplotlib Axes
        Flat or in three dimensions.
    text : str
    x : float
        Where it ends, in widths of the axes.
    """
    put = axes.text2D if hasattr(axes, "text2D") else axes.text
    put(x, 1.03, text, transform=axes.transAxes, fontweight="bold", fontsize=12, ha="right", va="bottom")


def window_mean(values: Array, width: int, every: int) -> Array:
    """Mean of the last `width` values, taken every `every` steps; the first windows are shorter.

    Parameters
    ----------
    values : array, shape (steps,)
    width, every : int
        In steps.

    Returns
    -------
    array, shape (steps // every,)
    """
    total = np.concatenate([[0.0], np.cumsum(np.asarray(values, float))])
    ends = np.arange(every, len(values) + 1, every)
    starts = np.maximum(ends - width, 0)
    return np.asarray((total[ends] - total[starts]) / (ends - starts))
