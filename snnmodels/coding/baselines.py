"""Fair comparisons: every network with the same read-outs, fitted on one signal and scored on another.

A network that is moved along its trade-off may be read in four ways, of which each costs more knowledge about the
setting it is at:

* ``raw``: the frozen linear decoder, D of a spike-coding network or the one fitted at a reference setting;
* ``gain``: that estimate times one number, fitted at this setting;
* ``length``: that estimate lengthened by one number, x̂ (1 + c/|x̂|), with c fitted at this setting;
* ``retrained``: a linear decoder of all spike trains, fitted at this setting, and drawn towards the one of ``gain`` as
  far as that helps on a part of the training signal: a decoder fitted from nothing needs many seconds of signal.

Nothing is fitted on what it is scored on: fits use the response to a training signal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve

from .lif import LIFPopulation, LIFResponse
from .network import CodingNetwork
from .readouts import scalar_gain
from .reference import simulate
from .response import Response
from .signals import Signal, low_pass

__all__ = ["READOUTS", "HeldOutPoint", "Samples", "held_out", "held_out_coding", "held_out_lif", "length_offset"]

Array = np.ndarray
READOUTS = ("raw", "gain", "length", "retrained")
RIDGES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
"""Regularisations of a retrained decoder to choose from, in mean squares of an average trace."""


@dataclass(frozen=True)
class HeldOutPoint:
    """One network at one setting, scored on a signal that nothing was fitted on.

    Attributes
    ----------
    setting : float
        Of the network: gain, cost or scale.
    rate : float
        Spikes per second of the population on the test signal.
    loss : mapping of str to float
        Coding loss by read-out.
    length_offset : float
        c of the read-out ``length``; a spike-coding network with linear cost nu should need sqrt(nu)/2.
    """

    setting: float
    rate: float
    loss: Mapping[str, float]
    length_offset: float


@dataclass(frozen=True)
class Samples:
    """Filtered spike trains and signal at every so many steps: what decoders are fitted on, at a tenth of the memory.

    Attributes
    ----------
    traces : array, shape (samples, N)
    target : array, shape (samples, M)
    rate : float
        Spikes per second of the population.
    """

    traces: Array
    target: Array
    rate: float

    @classmethod
    def of(cls, response: Response | LIFResponse, discard: float = 0.5, every: int = 10) -> Samples:
        """Samples of a response.

        Parameters
        ----------
        response : Response or LIFResponse
        discard : float
            Seconds at the start to leave out.
        every : int
            Steps between samples; the traces at the samples are exact.

        Raises
        ------
        ValueError
            If `discard` is negative or leaves nothing, or `every` is not positive.
        """
        if every < 1:
            raise ValueError(f"every = {every} steps between samples; expected at least 1")
        signal = response.signal
        n, tau = _size(response)
        keep = np.exp(-signal.dt / tau)
        count = signal.steps // every
        inside = response.spike_steps < count * every
        steps, neurons = response.spike_steps[inside], response.spike_neurons[inside]
        traces = np.zeros((count, n))
        # a spike decays until the end of its block, where the block is sampled
        np.add.at(traces, (steps // every, neurons), keep ** (every - 1 - steps % every))
        traces = low_pass(traces, keep**every)
        first = signal.first_step(discard)
        late = np.arange(count) * every + every - 1 >= first
        if not late.any():
            raise ValueError(f"no sample of every {every} steps is left after {discard} s of {signal.duration} s")
        target = signal.values[1:][every - 1 : count * every : every]
        return cls(traces[late], target[late], response.rate(discard))


def length_offset(estimate: Array, target: Array) -> float:
    """The c for which x̂ + c x̂/|x̂| comes closest to x: the mean of (x - x̂)·x̂/|x̂|.

    Parameters
    ----------
    estimate, target : array, shape (samples, M)

    Raises
    ------
    ValueError
        If the estimate is zero everywhere.
    """
    length = np.linalg.norm(estimate, axis=1)
    some = length > 0
    if not some.any():
        raise ValueError("the estimate is zero everywhere (no spikes), so no offset can correct its length")
    along = ((target - estimate)[some] * estimate[some]).sum(1) / length[some]
    return float(along.mean())


def held_out(train: Samples, test: Samples, frozen: Array) -> tuple[dict[str, float], float]:
    """Losses on `test` of all read-outs, fitted on `train` at the same setting; and the offset of ``length``.

    Parameters
    ----------
    train, test : Samples
        Of one network at one setting, on two signals.
    frozen : array, shape (M, N)
        Decoder of the read-out ``raw``, on which ``gain`` and ``length`` build.

    Returns
    -------
    losses : dict of str to float
        |x - x̂|², averaged over the samples.
    length_offset : float

    Raises
    ------
    ValueError
        If there are no spikes to read.
    """
    estimate = train.traces @ frozen.T
    gain, offset = scalar_gain(estimate, train.target), length_offset(estimate, train.target)
    raw = test.traces @ frozen.T
    length = np.linalg.norm(raw, axis=1, keepdims=True)
    unit = np.divide(raw, length, out=np.zeros_like(raw), where=length > 0)
    estimates = {
        "raw": raw,
        "gain": gain * raw,
        "length": raw + offset * unit,
        "retrained": test.traces @ regularised_decoder(train, gain * frozen).T,
    }
    return {name: _loss(x, test.target) for name, x in estimates.items()}, offset


def regularised_decoder(train: Samples, prior: Array | None = None) -> Array:
    """Least-squares decoder, drawn towards a prior as far as cross-validation within the training signal asks for.

    Parameters
    ----------
    train : Samples
    prior : array, shape (M, N), or None
        Decoder to start from; None for zero.

    Returns
    -------
    array, shape (M, N)
        Prior plus the change of the ridge, out of `RIDGES`, that does best on quarters that it was not fitted on.

    Raises
    ------
    ValueError
        If there are no spikes.
    """
    size = float((train.traces**2).mean())
    if size == 0:
        raise ValueError("there are no spikes, so no decoder can be fitted")
    base = np.zeros((train.target.shape[1], train.traces.shape[1])) if prior is None else prior
    rest = train.target - train.traces @ base.T
    # sums over the four quarters: everything below is solved from them, without another pass over the samples
    quarters = [(train.traces[q], rest[q]) for q in np.array_split(np.arange(len(rest)), 4)]
    grams, moments = np.array([r.T @ r for r, _ in quarters]), np.array([r.T @ x for r, x in quarters])

    def change(keep: list[int], ridge: float) -> Array:
        count = sum(len(quarters[k][0]) for k in keep)
        gram = grams[keep].sum(0) + ridge * size * count * np.eye(grams.shape[1])
        return np.asarray(solve(gram, moments[keep].sum(0), assume_a="pos")).T

    def score(ridge: float) -> float:
        kept = [[k for k in range(4) if k != left_out] for left_out in range(4)]
        return sum(_loss(r @ change(keep, ridge).T, x) for keep, (r, x) in zip(kept, quarters, strict=True))

    return base + change([0, 1, 2, 3], min(RIDGES, key=score))


def held_out_lif(
    population: LIFPopulation, gains: Sequence[float], train: Signal, test: Signal, discard: float = 0.5
) -> list[HeldOutPoint]:
    """A standard population at several gains, its frozen decoder fitted at its own gain on the training signal.

    Parameters
    ----------
    population : LIFPopulation
    gains : sequence of float
        A gain is at the same time 1/threshold.
    train, test : Signal
    discard : float
        Seconds at the start to leave out.

    Returns
    -------
    list of HeldOutPoint
        In the order of the gains.

    Raises
    ------
    ValueError
        If the signals don't fit the population, or it is silent.
    """
    own, *fitted = population.simulate_gains(train, [population.gain, *gains])
    frozen = regularised_decoder(Samples.of(own, discard))
    found = []
    for gain, one, other in zip(gains, fitted, population.simulate_gains(test, gains), strict=True):
        scored = Samples.of(other, discard)
        losses, offset = held_out(Samples.of(one, discard), scored, frozen)
        found.append(HeldOutPoint(gain, scored.rate, losses, offset))
    return found


def held_out_coding(
    network: Callable[[float], CodingNetwork],
    settings: Iterable[float],
    train: Signal,
    test: Signal,
    discard: float = 0.5,
) -> list[HeldOutPoint]:
    """A spike-coding network at several settings; ``raw`` reads the network's own decoder.

    Parameters
    ----------
    network : callable
        The network at a setting: one network moved by a cost, or networks rescaled.
    settings : iterable of float
    train, test : Signal
    discard : float
        Seconds at the start to leave out.

    Returns
    -------
    list of HeldOutPoint
        In the order of the settings.

    Raises
    ------
    ValueError
        If the signals don't fit the network, it is silent, or its error has another metric than |x - x̂|².
    """
    found = []
    for setting in settings:
        one = network(setting)
        if one.loss.weight is not None:
            raise ValueError("the comparison is of |x - x̂|²; use a network without a weight in its loss")
        samples = [Samples.of(simulate(one, signal), discard) for signal in (train, test)]
        losses, offset = held_out(samples[0], samples[1], one.decoder)
        found.append(HeldOutPoint(setting, samples[1].rate, losses, offset))
    return found


def _size(response: Response | LIFResponse) -> tuple[int, float]:
    if isinstance(response, LIFResponse):
        return response.population.n, response.population.tau
    return response.network.n, response.network.tau


def _loss(estimate: Array, target: Array) -> float:
    return float(((target - estimate) ** 2).sum(1).mean())
