"""Figures of training runs: functions of arrays or histories that return a Matplotlib figure, and its saving."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from ..files import atomic_file, folder_for
from ..plots import PALETTE
from ..training.history import History

__all__ = ["plot_confusion", "plot_history", "plot_latency_images", "plot_yin_yang", "save_figure"]

_SETS = {"train": ("training", "#0072B2"), "validation": ("validation", "#E69F00"), "test": ("test", "#D55E00")}
# Without its light end, which fades on white.
_SEQUENTIAL = LinearSegmentedColormap.from_list("viridis_dark", colormaps["viridis"](np.linspace(0, 0.9, 256)))
_SILENT = "#D9D9D9"


def plot_history(histories: Sequence[History], title: str = "") -> Figure:
    """Error and loss over epochs: every run as a thin line, their mean as a thick one.

    Parameters
    ----------
    histories : sequence of History
        One per seed; runs may have stopped at different epochs, the mean goes as far as all of them do.
    title : str
        Above the figure.

    Raises
    ------
    ValueError
        If there is no run, or one without epochs.
    """
    _check_histories(histories)
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    error, loss = figure.subplots(1, 2)
    _draw_curves(error, loss, histories)
    if title:
        figure.suptitle(title)
    return figure


def plot_yin_yang(
    samples: np.ndarray,
    labels: np.ndarray,
    spike_times: np.ndarray,
    histories: Sequence[History],
    class_names: Sequence[str] = ("yin", "yang", "dot"),
) -> Figure:
    """Show the data set, when each output neuron fires for each sample, and error and loss over epochs.

    Parameters
    ----------
    samples : array, shape (trials, 2 or more)
        The first two columns are the coordinates.
    labels : int array, shape (trials,)
    spike_times : array, shape (trials, 3)
        First output spikes in seconds, ``inf`` for a silent neuron.
    histories : sequence of History
        One per seed.
    class_names : sequence of str

    Raises
    ------
    ValueError
        If shapes don't fit.
    """
    _check_histories(histories)
    spike_times = np.asarray(spike_times, dtype=float)
    n = len(class_names)
    if spike_times.shape != (len(samples), n):
        raise ValueError(f"spike_times: expected shape ({len(samples)}, {n}), got {spike_times.shape}")
    figure = Figure(figsize=(11.5, 7.0), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=(1.1, 1))
    above, below = parts
    data_axes, *maps = above.subplots(1, 1 + n, sharex=True, sharey=True)
    for k, name in enumerate(class_names):
        at = labels == k
        data_axes.scatter(samples[at, 0], samples[at, 1], s=7, color=PALETTE[k], label=name, linewidths=0)
    data_axes.set(title="data set", ylabel="y")
    # Below the axes, where it hides no sample.
    data_axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=n, markerscale=2.5, frameon=False, handletextpad=0,
        columnspacing=1,
    )  # fmt: skip
    first = np.where(np.isfinite(spike_times).any(axis=1), spike_times.min(axis=1, initial=np.inf), 0.0)
    delay = 1e3 * (spike_times - first[:, None])
    spread = delay[np.isfinite(delay)]
    longest = max(float(np.quantile(spread, 0.98)), 1e-3) if spread.size else 1.0
    for k, axes in enumerate(maps):
        silent = ~np.isfinite(delay[:, k])
        axes.scatter(samples[silent, 0], samples[silent, 1], s=7, color=_SILENT, linewidths=0)
        # The earliest neurons last, so that they are on top.
        order = np.flatnonzero(~silent)[np.argsort(-delay[~silent, k])]
        drawn = axes.scatter(
            samples[order, 0], samples[order, 1], c=delay[order, k], s=7, cmap=_SEQUENTIAL, vmin=0, vmax=longest,
            linewidths=0,
        )  # fmt: skip
        axes.set_title(f"output “{class_names[k]}”")
    silence = ", grey: silent" if np.isinf(delay).any() else ""
    above.colorbar(drawn, ax=maps, extend="max", pad=0.01).set_label(f"delay to first output\nspike (ms){silence}")
    for axes in (data_axes, *maps):
        axes.set(aspect="equal", xlabel="x", xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    error, loss = below.subplots(1, 2)
    _draw_curves(error, loss, histories)
    return figure


def plot_confusion(targets: np.ndarray, predictions: np.ndarray, class_names: Sequence[str], title: str = "") -> Figure:
    """Confusion matrix: how many trials of each class were taken for which.

    Parameters
    ----------
    targets, predictions : int array, shape (trials,)
        A prediction of -1 (no output spike) gets a column of its own if it occurs.
    class_names : sequence of str
    title : str
        Above the matrix; the accuracy by default.

    Raises
    ------
    ValueError
        If the shapes differ or a class has no name.
    """
    targets, predictions = np.asarray(targets), np.asarray(predictions)
    n = len(class_names)
    if targets.shape != predictions.shape or targets.ndim != 1 or not len(targets):
        raise ValueError(f"expected targets and predictions of one shape (trials,), got {targets.shape} and "
                         f"{predictions.shape}")  # fmt: skip
    if targets.min() < 0 or max(targets.max(), predictions.max()) >= n or predictions.min() < -1:
        raise ValueError(f"expected classes from 0 to {n - 1} (predictions from -1), for which there are names")
    counts = np.zeros((n, n + 1), dtype=int)
    np.add.at(counts, (targets, predictions), 1)
    columns = [*class_names, "none"]
    if not counts[:, n].any():
        counts, columns = counts[:, :n], columns[:n]
    figure = Figure(figsize=(1.9 + 0.52 * len(columns), 1.6 + 0.5 * n), layout="constrained")
    axes = figure.subplots()
    # On a logarithmic scale, since the errors are what one wants to see.
    norm = LogNorm(1, max(2, counts.max()))
    image = axes.imshow(np.ma.masked_equal(counts, 0), cmap="Blues", norm=norm)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            dark = float(norm(count)) > 0.55
            axes.text(column, row, str(count), ha="center", va="center", fontsize=8, color="w" if dark else "k")
    axes.set(
        xlabel="predicted", ylabel="true", title=title or f"accuracy {100 * np.mean(targets == predictions):.2f} %"
    )
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(n), class_names)
    figure.colorbar(image, ax=axes, label="trials", shrink=0.85)
    return figure


def plot_latency_images(
    times: np.ndarray,
    labels: np.ndarray,
    trace_times: np.ndarray,
    traces: np.ndarray,
    class_names: Sequence[str],
    first_spikes: np.ndarray | None = None,
    trace_label: str = "membrane potential",
) -> Figure:
    """Input images as spike times, and the output's traces below each.

    Parameters
    ----------
    times : array, shape (images, height, width)
        Input spike times in seconds, ``inf`` for silent pixels.
    labels : int array, shape (images,)
    trace_times : array, shape (steps,)
        In seconds.
    traces : array, shape (images, classes, steps)
        Membrane potential of each output neuron; the label's is drawn thick.
    class_names : sequence of str
    first_spikes : array, shape (images, classes), optional
        First spike of each output neuron in seconds, ``inf`` for none. The earliest is the answer, and dots are drawn
        there; without them the largest maximum is, and dots are drawn at the maxima.
    trace_label : str
        What the traces are, with a unit if there is one.

    Raises
    ------
    ValueError
        If shapes don't fit.
    """
    times, traces = np.asarray(times, dtype=float), np.asarray(traces, dtype=float)
    n = len(class_names)
    if times.ndim != 3:
        raise ValueError(f"times: expected shape (images, height, width), got {times.shape}")
    if traces.shape != (len(times), n, len(trace_times)):
        raise ValueError(f"traces: expected shape ({len(times)}, {n}, {len(trace_times)}), got {traces.shape}")
    if first_spikes is not None and first_spikes.shape != (len(times), n):
        raise ValueError(f"first_spikes: expected shape ({len(times)}, {n}), got {first_spikes.shape}")
    if n > len(PALETTE):
        raise ValueError(f"class_names: expected at most {len(PALETTE)}, got {n}")
    figure = Figure(figsize=(1.2 + 2.3 * len(times), 5.0), layout="constrained")
    rows = figure.subplots(2, len(times), squeeze=False, height_ratios=(1, 1.1))
    finite = times[np.isfinite(times)]
    # what lies far below the threshold would leave no room for what happens at it
    lowest = traces.min() if first_spikes is None else max(traces.min(), -2 * abs(traces.max()))
    margin = 0.05 * float(traces.max() - lowest) or 1.0
    latest = 1e3 * float(finite.max()) if finite.size else 1.0
    for i, (picture, axes) in enumerate(zip(rows[0], rows[1], strict=True)):
        shown = picture.imshow(np.ma.masked_invalid(1e3 * times[i]), cmap=_SEQUENTIAL.reversed(), vmin=0, vmax=latest)
        picture.set_facecolor(_SILENT)
        answers = traces[i].max(axis=1) if first_spikes is None else -first_spikes[i]
        answer = f"read as {class_names[answers.argmax()]}" if np.isfinite(answers).any() else "no answer"
        picture.set(xticks=[], yticks=[])
        picture.set_title(f"{class_names[labels[i]]}, {answer}", fontsize=10)
        for k in range(n):
            thick = {"linewidth": 2.4, "zorder": 3} if k == labels[i] else {"linewidth": 0.9}
            axes.plot(1e3 * trace_times, traces[i, k], color=PALETTE[k], **thick)
            if first_spikes is None:
                top = traces[i, k].argmax()
                dot = (trace_times[top], traces[i, k, top])
            else:
                dot = (first_spikes[i, k], traces.max())
            if np.isfinite(dot[0]):
                axes.plot(1e3 * dot[0], dot[1], "o", color=PALETTE[k], markersize=4, zorder=4)
        axes.set(xlabel="time (ms)", xlim=1e3 * np.array([trace_times[0], trace_times[-1]]))
        axes.set_ylim(lowest - margin, traces.max() + margin)
        axes.tick_params(labelleft=i == 0)
        _tidy(axes)
    rows[1, 0].set_ylabel(trace_label)
    figure.colorbar(shown, ax=rows[0].tolist(), label="input spike (ms)\ngrey: silent", pad=0.01)
    handles = [Line2D([], [], color=PALETTE[k], linewidth=2, label=name) for k, name in enumerate(class_names)]
    figure.legend(handles=handles, loc="outside lower center", ncols=n, frameon=False, title="output neuron")
    return figure


def _draw_curves(error: Any, loss: Any, histories: Sequence[History]) -> None:
    """Curves of every set that was measured, into two axes."""
    shortest = min(len(history.epochs) for history in histories)
    for name, (label, colour) in _SETS.items():
        for axes, what, factor in ((error, "error", 100.0), (loss, "loss", 1.0)):
            columns = [factor * history.column(f"{name}_{what}") for history in histories]
            if any(np.isnan(column).all() for column in columns):
                continue
            for history, column in zip(histories, columns, strict=True):
                axes.plot(history.column("epoch"), column, color=colour, linewidth=0.6, alpha=0.45)
            mean = np.mean([column[:shortest] for column in columns], axis=0)
            last = f" ({mean[-1]:.2f} %)" if what == "error" else ""
            epochs = histories[0].column("epoch")[:shortest]
            axes.plot(epochs, mean, color=colour, linewidth=2.2, label=label + last)
    runs = f"thick: mean of {len(histories)} runs" if len(histories) > 1 else None
    for axes, unit in ((error, "error (%)"), (loss, "loss")):
        axes.set(xlabel="epoch", ylabel=unit, yscale="log")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.grid(which="both", linewidth=0.4, alpha=0.5)
        axes.set_axisbelow(True)
        if axes.get_lines():
            axes.legend(title=runs, frameon=False)
        _tidy(axes)


def _tidy(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)


def _check_histories(histories: Sequence[History]) -> None:
    if not histories or any(not history.epochs for history in histories):
        raise ValueError("histories: expected at least one run, each with at least one epoch")


def save_figure(figure: Figure, path: Path, dpi: int | None = None) -> Path:
    """Save a figure, complete or not at all.

    Parameters
    ----------
    figure : matplotlib Figure
    path : Path
        Its ending says of which kind; its folder is made if need be.
    dpi : int, optional
        Resolution.

    Returns
    -------
    Path

    Raises
    ------
    OSError
        If it can't be written; see `named`.
    """
    folder_for(path.parent, "folder of figures")
    with atomic_file(path, "figure") as file:
        figure.savefig(file, format=path.suffix[1:], dpi=dpi or "figure")
    return path
