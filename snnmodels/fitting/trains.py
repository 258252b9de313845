"""The van Rossum distance of many model neurons at once to the mean of the repetitions of one recording."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..losses.observed import check_positive

__all__ = ["MeanTrainDistance"]


class MeanTrainDistance:
    """Squared van Rossum distance to the mean of recorded spike trains, for the mean number of recorded spikes.

    With k(d) = exp(-|d|/tau), the mean h(t) of k(t - .) over repetitions (summed over the spikes of each) and the mean
    number N of recorded spikes it is

        L = [sum_ij k(t_i - t_j) - 2 sum_i h(t_i) + C]/N,    dL/dt_i = (2/N) [sum_j k'(t_i - t_j) - h'(t_i)]

    over spikes t_i of the model, with C such that L = 0 for a train equal to all repetitions: twice the distance of van
    Rossum (2001), Neural Comput. 13:751, of the model's train and the mean of the recorded ones. A spike without
    counterpart costs 1/N, and so does one that is missing. A train equal to one of several repetitions has more than 0.

    It is `losses.VanRossumDistance` for many candidates: both sums are recursions over sorted spikes, at a cost that is
    linear in their number.

    Parameters
    ----------
    trains : sequence of array, shape (spikes,)
        Repetitions, ascending times in seconds.
    tau : float
        Time constant of the kernel, in seconds.
    start, end : float
        Of the interval whose spikes count, the recorded and the model's, in seconds.

    Raises
    ------
    ValueError
        If there is no recorded spike in the interval, or the kernel or the interval is not positive.
    """

    def __init__(self, trains: Sequence[np.ndarray], tau: float, start: float, end: float) -> None:
        check_positive(tau=tau)
        if not end > start:
            raise ValueError(f"start = {start!r}, end = {end!r}; the interval must end after its start")
        self.tau, self.start, self.end = float(tau), float(start), float(end)
        kept = [np.asarray(t)[(np.asarray(t) >= start) & (np.asarray(t) < end)] for t in trains]
        pooled = np.sort(np.concatenate(kept)) if kept else np.zeros(0)
        if not pooled.size:
            raise ValueError(f"no recorded spike from {start:g} to {end:g} s, so that there is nothing to compare with")
        self.recorded = pooled.size / len(kept)
        self._share = weight = 1 / len(kept)
        self._at = pooled
        # what all spikes up to each, and all from each on, add up to just there
        self._before = self._decayed(pooled) * weight
        self._after = self._decayed(-pooled[::-1])[::-1] * weight
        self._constant = float((self._before + self._after - weight).sum() * weight)
        # of pairs of different repetitions alone, for `between`
        self._apart = self._constant
        if len(kept) > 1:
            own = sum(float((2 * self._decayed(t) - 1).sum()) for t in kept if t.size)
            self._apart = (self._constant * len(kept) ** 2 - own) / (len(kept) * (len(kept) - 1))

    def _decayed(self, times: np.ndarray) -> np.ndarray:
        """Sum over the times up to each of exp(-(distance)/tau), itself included."""
        out, total, last = np.empty(times.size), 0.0, times[0]
        for k, t in enumerate(times):
            total = total * np.exp((last - t) / self.tau) + 1
            out[k], last = total, t
        return out

    def __call__(self, times: np.ndarray, gradient: bool = False) -> tuple[np.ndarray, np.ndarray | None]:
        """Distances of spike trains, and their derivatives by the spike times.

        Parameters
        ----------
        times : array, shape (..., spikes)
            Ascending times in seconds, padded with ``inf``; one train along the last axis.
        gradient : bool
            Whether derivatives are wanted.

        Returns
        -------
        distances : array, shape (...)
        derivatives : array, shape (..., spikes), or None
            Per second; 0 where a spike doesn't count. Where spikes of both meet, the mean of both sides.
        """
        counts = np.isfinite(times) & (times >= self.start) & (times < self.end)
        t = np.where(counts, times, 0.0)
        mean, rise = self._mean(t)
        earlier = self._own(t, counts)
        value = (counts * (1 + 2 * earlier - 2 * mean)).sum(axis=-1) + self._constant
        if not gradient:
            return value / self.recorded, None
        later = self._own(-t[..., ::-1], counts[..., ::-1])[..., ::-1]
        slope = 2 * (later - earlier) / self.tau - 2 * rise
        return value / self.recorded, np.where(counts, slope, 0.0) / self.recorded

    def between(self, times: np.ndarray, gradient: bool = False) -> tuple[np.ndarray, np.ndarray | None]:
        """Distance of the mean of a model's repetitions to the mean of the recorded ones, without bias by their number.

        Inner products are taken of pairs of different repetitions alone, of the model's M as of the recorded ones, as
        Naud, Gerhard, Mensi & Gerstner (2011), Neural Comput. 23:3016, do for their measure Md*:

            L = [sum_(a != b) sum_ij k(t_ai - t_bj)/(M (M - 1)) - 2 sum_a sum_i h(t_ai)/M + C']/N

        so that noise of the model costs nothing where the neuron has it too. It can be a little below 0.

        Parameters
        ----------
        times : array, shape (repetitions, ..., spikes)
            Of the model: ascending times in seconds, padded with ``inf``; two repetitions or more.
        gradient : bool
            Whether derivatives are wanted.

        Returns
        -------
        distances : array, shape (...)
        derivatives : array, shape (repetitions, ..., spikes), or None
        """
        m = len(times)
        counts = np.isfinite(times) & (times >= self.start) & (times < self.end)
        t = np.where(counts, times, np.inf)
        mean, rise = self._mean(np.where(counts, t, 0.0))
        # all spikes of a candidate in their order: pairs of all repetitions, less those of each with itself
        pooled = np.moveaxis(t, 0, -2).reshape(*t.shape[1:-1], -1)
        order = np.argsort(pooled, axis=-1, kind="stable")
        pooled = np.take_along_axis(pooled, order, axis=-1)
        there = np.isfinite(pooled)
        held = np.where(there, pooled, 0.0)
        own = np.where(counts, t, 0.0)
        earlier, alone = self._own(held, there), self._own(own, counts)
        pairs = 2 * ((there * earlier).sum(axis=-1) - (counts * alone).sum(axis=(0, -1)))
        value = pairs / (m * (m - 1)) - 2 * (counts * mean).sum(axis=(0, -1)) / m + self._apart
        if not gradient:
            return value / self.recorded, None
        later = self._own(-held[..., ::-1], there[..., ::-1])[..., ::-1]
        others = np.empty(pooled.shape)
        np.put_along_axis(others, order, later - earlier, axis=-1)
        others = np.moveaxis(others.reshape(*t.shape[1:-1], m, t.shape[-1]), -2, 0)
        itself = self._own(-own[..., ::-1], counts[..., ::-1])[..., ::-1] - alone
        slope = 2 * (others - itself) / (self.tau * m * (m - 1)) - 2 * rise / m
        return value / self.recorded, np.where(counts, slope, 0.0) / self.recorded

    def _mean(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The mean filtered train at times, and its derivative."""
        n = self._at.size
        left, right = np.searchsorted(self._at, t, side="right") - 1, np.searchsorted(self._at, t, side="left")
        before = self._before[left] * np.exp(np.minimum(self._at[left] - t, 0) / self.tau) * (left >= 0)
        place = np.minimum(right, n - 1)
        after = self._after[place] * np.exp(np.minimum(t - self._at[place], 0) / self.tau) * (right < n)
        # recorded spikes at the very time are in both sums
        both = np.maximum(left + 1 - right, 0) * self._share
        return before + after - both, (after - before) / self.tau

    def _own(self, t: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Sum over the earlier spikes of the same train of exp(-(distance)/tau)."""
        out = np.zeros(t.shape)
        total, last = np.zeros(t.shape[:-1]), np.full(t.shape[:-1], -np.inf)
        for k in range(t.shape[-1]):
            here = counts[..., k]
            total = np.where(here, total * np.exp(np.minimum(last - t[..., k], 0) / self.tau), total)
            out[..., k] = total
            total, last = total + here, np.where(here, t[..., k], last)
        return out
