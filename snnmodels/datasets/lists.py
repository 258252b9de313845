"""Spikes of many trials, listed one by one as recordings and event cameras give them, and padded batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..templates.arguments import check_numbers, check_whole, has_unit
from ..templates.errors import brief
from ..templates.quantities import in_unit
from .spikes import padded_spikes

__all__ = ["SpikeLists"]

Array = np.ndarray


@dataclass(frozen=True)
class SpikeLists:
    """Spikes of many trials as lists of times and units; what `Trials` takes as samples of an input.

    An index or a slice pads those trials alone, ``(trials, n, spikes)``, so that thousands of trials of thousands of
    spikes take the memory of their spikes and not of the busiest unit's in the busiest trial.

    Attributes
    ----------
    times : float array, shape (spikes,)
        Seconds from the beginning of the spike's trial, not negative; in any order within a trial, and of any
        floating-point type: half precision stays as it is until a batch is made.
    units : int array, shape (spikes,)
        Which of the input's `n` neurons spiked.
    starts : int array, shape (trials + 1,)
        Trial k has the spikes from ``starts[k]`` to ``starts[k + 1]``.
    n : int
        Number of units, of which some may not spike.

    Raises
    ------
    ValueError
        For times that are no floating-point numbers, negative or not finite, units that are no indices below `n`, or
        starts that don't divide the spikes.

    Examples
    --------
    >>> lists = SpikeLists.of([[3e-3, 1e-3], [2e-3]], [[0, 1], [1]], n=2)
    >>> lists[:1]
    array([[[0.003],
            [0.001]]])
    """

    times: Array
    units: Array
    starts: Array
    n: int

    def __post_init__(self) -> None:
        check_whole("n", self.n)
        times, units, starts = (np.asarray(x) for x in (self.times, self.units, self.starts))
        if times.ndim != 1 or units.shape != times.shape:
            raise ValueError(f"times have shape {times.shape} and units {units.shape}; expected one of each per spike")
        _check_kinds("", times, units)
        ends = starts.ndim == 1 and len(starts) > 1 and starts[0] == 0 and starts[-1] == len(times)
        if not ends or (np.diff(starts) < 0).any():
            raise ValueError(f"starts are {brief(starts.tolist())}; expected to ascend from 0 to the number of spikes")
        for name, array in (("times", times), ("units", units), ("starts", starts)):
            object.__setattr__(self, name, array)
        self._refuse(~np.isfinite(times) | (times < 0), "a spike at {time:g} s; times are finite and not negative")
        self._refuse((units < 0) | (units >= self.n), f"a spike of unit {{unit}}; units go from 0 to {self.n - 1}")

    @staticmethod
    def of(times: Sequence[Any], units: Sequence[Any], n: int) -> SpikeLists:
        """Of the times and the units of each trial.

        Parameters
        ----------
        times : sequence of array, shape (spikes,)
            One for each trial: seconds, or with Brian2's units.
        units : sequence of int array, shape (spikes,)
            One for each trial.
        n : int
            Number of units.

        Raises
        ------
        ValueError
            If there is no trial, or times and units are not as many; and as `SpikeLists`, naming the trial.
        """
        if len(times) != len(units) or len(times) == 0:
            raise ValueError(f"{len(times)} trials of times and {len(units)} of units; expected as many, and some")
        in_seconds, indices = [], []
        for k, (t, i) in enumerate(zip(times, units, strict=True)):
            seconds = in_unit(t, "second", f"times of trial {k}") if has_unit(t) else np.asarray(t)
            which = np.asarray(i)
            if seconds.ndim != 1 or which.shape != seconds.shape:
                raise ValueError(
                    f"trial {k}: times have shape {seconds.shape} and units {which.shape}; expected one of each per "
                    "spike"
                )
            _check_kinds(f"trial {k}: ", seconds, which)
            # of no spikes it says nothing that an empty list has another type
            in_seconds.append(seconds if len(seconds) else np.empty(0, np.float16))
            indices.append(which if len(which) else np.empty(0, np.uint8))
        starts = np.concatenate([[0], np.cumsum([len(t) for t in in_seconds])])
        return SpikeLists(np.concatenate(in_seconds), np.concatenate(indices), starts, n)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __repr__(self) -> str:
        of = f"{len(self)} trials of {self.n} units, {len(self.times) / len(self):.0f} spikes each"
        return f"<SpikeLists: {of}, the last at {self.last:.3g} s>"

    def __getitem__(self, which: Array | slice) -> Array:
        """Spike times of the trials that an index array or a slice selects, ``(trials, n, spikes)``, as `Trials` do."""
        some = self.subset(which)
        trial = np.repeat(np.arange(len(some)), np.diff(some.starts))
        return np.asarray(padded_spikes(some.units, some.times.astype(float), self.n, trial=trial, trials=len(some)))

    @property
    def shape(self) -> tuple[int, int]:
        """Number of trials and of units."""
        return len(self), self.n

    @property
    def last(self) -> float:
        """Time of the latest spike in seconds; 0 where there is none."""
        return float(self.times.max(initial=0))

    def subset(self, which: Array | slice) -> SpikeLists:
        """Select trials by an index array or a slice, still as lists.

        Raises
        ------
        ValueError
            If none is left.
        """
        chosen = np.arange(len(self))[which]
        if chosen.ndim != 1 or not len(chosen):
            raise ValueError("no trial is selected; give a slice or an array of indices of one or more")
        sizes = np.diff(self.starts)[chosen]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        spikes = np.repeat(self.starts[chosen] - starts[:-1], sizes) + np.arange(starts[-1])
        return SpikeLists(self.times[spikes], self.units[spikes], starts, self.n)

    def before(self, end: float) -> SpikeLists:
        """The spikes before a time, which may be the end of a network's trial.

        Parameters
        ----------
        end : float or Quantity
            Seconds.
        """
        if has_unit(end):
            end = float(in_unit(end, "second", "end"))
        check_numbers(end=end)
        kept = self.times.astype(float) < end
        starts = np.concatenate([[0], np.cumsum(kept)])[self.starts]
        return SpikeLists(self.times[kept], self.units[kept], starts, self.n)

    def _refuse(self, bad: Array, what: str) -> None:
        if bad.any():
            k = int(bad.argmax())
            trial = int(np.searchsorted(self.starts, k, side="right")) - 1
            raise ValueError(f"trial {trial}: {what.format(time=float(self.times[k]), unit=int(self.units[k]))}")


def _check_kinds(where: str, times: Array, units: Array) -> None:
    if len(times) and times.dtype.kind != "f":
        raise ValueError(
            f"{where}times are {times.dtype}; expected seconds as floating-point numbers: ticks * 1e-6 of ticks of a "
            "microsecond"
        )
    if len(units) and units.dtype.kind not in "iu":
        raise ValueError(f"{where}units are {units.dtype}; expected a whole number for each spike")
