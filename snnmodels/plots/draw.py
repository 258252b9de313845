"""Functions that draw one thing on given axes, and return these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ..datasets.spikes import spike_pairs
from ..templates.quantities import in_unit

__all__ = ["PALETTE", "coding_error", "learning_curves", "raster", "traces", "weights"]

# Okabe & Ito, https://jfly.uni-koeln.de/color: distinguishable with any common colour vision; their yellow, hard to see
# on white, made darker, and two more to have ten.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000", "#999999", "#882255", "#B8B000")

Array = np.ndarray


def raster(spikes: Any, ax: Axes | None = None, *, trial: int = 0, duration: Any = None, **style: Any) -> Axes:
    """Spikes of a trial, a row for each neuron; groups one above the other.

    Parameters
    ----------
    spikes : array of shape (trials, n, spikes), or mapping of str to such arrays
        Seconds, filled with ``inf``, as `Simulation.spike_times` and `padded_spikes` give them; by name of a group.
    ax : matplotlib.axes.Axes, optional
        New ones without.
    trial : int
    duration : float or Quantity, optional
        Where the axis ends, in seconds.
    **style
        For ``Axes.plot``.

    Raises
    ------
    ValueError
        For another shape, or a trial that isn't there.
    """
    ax = _axes(ax)
    groups: Mapping[str, Any] = spikes if isinstance(spikes, Mapping) else {"": spikes}
    begin, ticks, names = 0, [], []
    for k, (name, times) in enumerate(groups.items()):
        i, t = spike_pairs(times, trial)
        n = np.shape(times)[1]
        size = max(1.5, min(8.0, 160 / max(n, 1)))
        look: dict[str, Any] = {"marker": "|", "ls": "", "ms": size, "color": PALETTE[k % len(PALETTE)]}
        ax.plot(1e3 * t, begin + i, **(look | style))
        ticks.append(begin + (n - 1) / 2)
        names.append(name)
        begin += n
        if k < len(groups) - 1:
            ax.axhline(begin - 0.5, color="0.8", lw=0.8, zorder=0)
    if isinstance(spikes, Mapping):
        ax.set_yticks(ticks, names)
    else:
        ax.set_ylabel("neuron")
        ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_ylim(-0.5, begin - 0.5)
    ax.set_xlim(0, None if duration is None else 1e3 * float(in_unit(duration, "second", "duration")))
    ax.set_xlabel("time (ms)")
    return ax


def traces(
    times: Any,
    values: Any,
    ax: Axes | None = None,
    *,
    unit: str = "",
    labels: Sequence[str] | None = None,
    threshold: float | None = None,
    spikes: Any = None,
    **style: Any,
) -> Axes:
    """One line for each neuron, and its spikes above the lines.

    Parameters
    ----------
    times : array, shape (samples,)
        Seconds, or a quantity.
    values : array, shape (samples,) or (n, samples)
        As `Samples` of one trial gives them.
    ax : matplotlib.axes.Axes, optional
        New ones without.
    unit : str
        Of the values, for the axis.
    labels : sequence of str, optional
        One for each neuron.
    threshold : float, optional
        Drawn as a line.
    spikes : array, shape (n, spikes), optional
        Seconds, filled with ``inf``.
    **style
        For ``Axes.plot``.

    Raises
    ------
    ValueError
        If shapes don't fit.
    """
    t, lines = in_unit(times, "second", "times"), np.atleast_2d(np.asarray(values, dtype=float))
    if t.ndim != 1 or lines.ndim != 2 or lines.shape[1] != len(t):
        raise ValueError(f"values have shape {np.shape(values)}; expected (n, samples) for {t.shape} times")
    n = len(lines)
    if labels is not None and len(labels) != n:
        raise ValueError(f"labels: {len(labels)} for {n} lines")
    if spikes is not None and (np.ndim(spikes) != 2 or len(spikes) != n):
        raise ValueError(f"spikes have shape {np.shape(spikes)}; expected (n, spikes) for {n} lines")
    ax = _axes(ax)
    for k, line in enumerate(lines):
        look: dict[str, Any] = {"color": PALETTE[k % len(PALETTE)], "lw": 1.2}
        look["label"] = None if labels is None else labels[k]
        ax.plot(1e3 * t, line, **(look | style))
    if threshold is not None:
        ax.axhline(threshold, color="0.6", ls=":", lw=1)
    if spikes is not None:
        # in parts of the axes' height, so that they stand above the lines whatever these are
        for k, row in enumerate(np.asarray(spikes, dtype=float)):
            at = 1e3 * row[np.isfinite(row)]
            height = np.full(len(at), 1.02 + 0.03 * k)
            ax.plot(at, height, "|", color=PALETTE[k % len(PALETTE)], transform=ax.get_xaxis_transform(), clip_on=False)
    if labels is not None:
        ax.legend(frameon=False)
    ax.set_xlabel("time (ms)")
    ax.set_ylabel(f"({unit})" if unit else "")
    ax.margins(x=0)
    return ax


def weights(values: Any, ax: Axes | None = None, *, unit: str = "", mask: Any = None, **style: Any) -> Axes:
    """A matrix of weights in colours around 0, with a bar; connections that don't exist are left blank.

    Parameters
    ----------
    values : array, shape (n_source, n_target)
        SI units.
    ax : matplotlib.axes.Axes, optional
        New ones without.
    unit : str
        For the bar.
    mask : bool array of that shape, optional
        As `Projection.mask`.
    **style
        For ``Axes.imshow``.

    Raises
    ------
    ValueError
        If a shape doesn't fit.
    """
    matrix = np.array(values, dtype=float)
    if matrix.ndim != 2:
        raise ValueError(f"values have shape {matrix.shape}; expected (n_source, n_target)")
    if mask is not None:
        if np.shape(mask) != matrix.shape:
            raise ValueError(f"mask has shape {np.shape(mask)}; expected {matrix.shape}")
        matrix[~np.asarray(mask, dtype=bool)] = np.nan
    ax = _axes(ax)
    largest = float(np.nanmax(np.abs(matrix), initial=0.0)) or 1.0
    look: dict[str, Any] = {"cmap": "RdBu_r", "aspect": "auto", "interpolation": "nearest"}
    image = ax.imshow(matrix, **({"vmin": -largest, "vmax": largest} | look | style))
    assert ax.figure is not None
    ax.figure.colorbar(image, ax=ax, label=f"weight ({unit})" if unit else "weight")
    ax.set_xlabel("target neuron")
    ax.set_ylabel("source neuron")
    return ax


def learning_curves(history: Any, ax: Axes | None = None, *, measure: str = "loss") -> Axes:
    """Loss or error of training, validation and test set over epochs.

    Parameters
    ----------
    history : History
        `TrainingResult.history`.
    ax : matplotlib.axes.Axes, optional
        New ones without.
    measure : {"loss", "error"}

    Raises
    ------
    ValueError
        For another measure, or where there is none of it.
    """
    if measure not in ("loss", "error"):
        raise ValueError(f"measure is {measure!r}; expected 'loss' or 'error'")
    found = {name: history.column(f"{name}_{measure}") for name in ("train", "validation", "test")}
    found = {name: column for name, column in found.items() if np.isfinite(column).any()}
    if not found:
        why = "it has no epochs" if not history.epochs else "the loss doesn't classify"
        raise ValueError(f"the history has no {measure}: {why}")
    ax = _axes(ax)
    for (name, column), colour in zip(found.items(), PALETTE[:2] + PALETTE[3:4], strict=False):
        ax.plot(history.column("epoch"), column, color=colour, label=name)
    ax.set_xlabel("epoch")
    ax.set_ylabel(measure)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(frameon=False)
    return ax


def coding_error(times: Any, signals: Any, estimates: Any, ax: Axes | None = None) -> Axes:
    """Signals as lines, what a network's read-out makes of them over these, and the squared error of all below.

    Parameters
    ----------
    times : array, shape (samples,)
        Seconds, or a quantity.
    signals, estimates : array, shape (signals, samples)
    ax : matplotlib.axes.Axes, optional
        New ones without.

    Raises
    ------
    ValueError
        If shapes don't fit.
    """
    x, estimated = np.atleast_2d(np.asarray(signals, dtype=float)), np.atleast_2d(np.asarray(estimates, dtype=float))
    if x.shape != estimated.shape:
        raise ValueError(f"estimates have shape {estimated.shape}; expected that of signals, {x.shape}")
    ax = traces(times, x, ax, color="0.6", lw=2.5)
    traces(times, estimated, ax, lw=1)
    error = float(((x - estimated) ** 2).sum(axis=0).mean())
    ax.set_title(f"mean squared error {error:.3g}", fontsize="medium")
    ax.set_ylabel("signal (grey), estimate")
    return ax


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(6, 3.2), layout="constrained")[1]
