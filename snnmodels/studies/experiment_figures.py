"""Figures of trained experiments, from the files that `runs` writes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from ..datasets import CLASS_NAMES, yin_yang_split
from ..files import read_archive
from .runs import read_outputs, read_results

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

__all__ = ["draw_confusion", "draw_images", "draw_yin_yang"]


def draw_yin_yang(folder: Path, out: Path) -> Path:
    """Draw the figure of a Yin-Yang results folder, as PNG and PDF.

    The maps show the test set and the network of the first seed.

    Parameters
    ----------
    folder : Path
        With ``results.json`` and the outputs of the first seed.
    out : Path
        Folder of the figure; is made if need be.

    Returns
    -------
    Path
        Of the PNG.

    Raises
    ------
    FileNotFoundError
        If one of the files is missing.
    ValueError
        If the results are of another experiment, or are none.
    """
    from .plots import plot_yin_yang

    name, histories = read_results(folder / "results.json")
    if name != "yin_yang":
        raise ValueError(f"{folder / 'results.json'}: is of the experiment {name}, not of yin_yang")
    samples, labels = yin_yang_split("test")
    times = read_outputs(folder, name, next(iter(histories)))["output"]
    figure = plot_yin_yang(samples, labels, times, list(histories.values()), CLASS_NAMES)
    return _save(figure, out / "yin_yang")


def draw_images(folder: Path, out: Path) -> list[Path]:
    """Draw the figures of an MNIST or digits results folder, as PNG and PDF.

    They are the curves of all seeds, and the confusion matrix and examples of the first seed.

    Parameters
    ----------
    folder : Path
        With ``results.json``, the outputs of the first seed and the examples.
    out : Path
        Folder of the figures; is made if need be.

    Returns
    -------
    list of Path
        Of the PNG files.

    Raises
    ------
    FileNotFoundError
        If one of the files is missing.
    ValueError
        If the results are none, or the examples are of another version.
    """
    from .plots import plot_latency_images

    name, _ = read_results(folder / "results.json")
    class_names = [str(k) for k in range(10)]
    examples = read_archive(folder / f"{name}_examples.npz", "file of examples")
    if "output" not in examples:
        raise ValueError(f"{folder / f'{name}_examples.npz'}: of another version; run the training command again")
    side = math.isqrt(examples["times"].shape[1])
    figure = plot_latency_images(
        examples["times"].reshape(-1, side, side),
        examples["labels"],
        examples["trace_times"],
        examples["traces"],
        class_names,
        examples["output"] if name.endswith("_ttfs") else None,
    )
    return [*draw_confusion(folder, out, class_names), _save(figure, out / f"{name}_examples")]


def draw_confusion(folder: Path, out: Path, class_names: Sequence[str]) -> list[Path]:
    """Draw the curves of all seeds of a results folder and the confusion matrix of the first, as PNG and PDF.

    Parameters
    ----------
    folder : Path
        With ``results.json`` and the outputs of the first seed.
    out : Path
        Folder of the figures; is made if need be.
    class_names : sequence of str

    Returns
    -------
    list of Path
        Of the PNG files.

    Raises
    ------
    FileNotFoundError
        If one of the files is missing.
    ValueError
        If the results are none.
    """
    from .plots import plot_confusion, plot_history

    name, histories = read_results(folder / "results.json")
    kept = read_outputs(folder, name, next(iter(histories)))
    figures = {
        "history": plot_history(list(histories.values())),
        "confusion": plot_confusion(kept["targets"], kept["predictions"], list(class_names)),
    }
    return [_save(figure, out / f"{name}_{kind}") for kind, figure in figures.items()]


def _save(figure: Figure, stem: Path) -> Path:
    from .plots import save_figure

    save_figure(figure, stem.with_suffix(".pdf"))
    return save_figure(figure, stem.with_suffix(".png"), dpi=200)
