"""Encoders: from samples to input spike times in seconds, with ``inf`` for an input that stays silent."""

from __future__ import annotations

import numpy as np

__all__ = ["drop_spikes", "image_latency", "level_crossings", "yin_yang_latency"]


def yin_yang_latency(samples: np.ndarray, longest: float = 30e-3) -> np.ndarray:
    """Latency code of Yin-Yang samples: one spike per coordinate at ``longest * value``, and a bias spike at 0.

    Wunderlich & Pehle (2021), Sci. Rep. 11:12829, https://doi.org/10.1038/s41598-021-91786-z.

    Parameters
    ----------
    samples : array, shape (trials, 4)
        (x, y, 1-x, 1-y), each in [0, 1].
    longest : float
        Spike time of the value 1, in seconds.

    Returns
    -------
    array, shape (trials, 5)
        Spike times in seconds; the last column is the bias.

    Raises
    ------
    ValueError
        If the shape is another, a value lies outside [0, 1], or `longest` isn't positive.
    """
    samples = np.asarray(samples, dtype=float)
    if samples.ndim != 2 or samples.shape[1] != 4:
        raise ValueError(f"samples: expected shape (trials, 4), got {samples.shape}")
    if not ((samples >= 0) & (samples <= 1)).all():
        raise ValueError("samples: expected values between 0 and 1")
    _check_positive("longest", longest)
    return np.concatenate([samples * longest, np.zeros((len(samples), 1))], axis=1)


def image_latency(images: np.ndarray, longest: float = 20e-3, faintest: int = 1) -> np.ndarray:
    """Latency code of grey images: bright pixels spike early, at ``longest * (1 - pixel / 255)``.

    Wunderlich & Pehle (2021), Sci. Rep. 11:12829, https://doi.org/10.1038/s41598-021-91786-z.

    Parameters
    ----------
    images : array of uint8, shape (trials, ...)
        Grey values; all axes but the first are flattened.
    longest : float
        Spike time of a black pixel, were it to spike, in seconds.
    faintest : int
        Pixels up to this value stay silent.

    Returns
    -------
    array, shape (trials, pixels)
        Spike times in seconds; ``inf`` for a silent pixel.

    Raises
    ------
    ValueError
        If the images aren't bytes, or `longest` isn't positive.
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim < 2:
        raise ValueError(f"images: expected uint8 of shape (trials, ...), got {images.dtype} of shape {images.shape}")
    _check_positive("longest", longest)
    # 256 grey values: a table is several times faster than arithmetic on every pixel.
    grey = np.arange(256)
    times = np.where(grey > faintest, (1 - grey / 255) * longest, np.inf)
    return times[images.reshape(len(images), -1)]


def level_crossings(
    signals: np.ndarray, dt: float, level: float, *, start: float = 0.0, refractory: float = 0.0
) -> np.ndarray:
    """Send-on-delta code of signals: a spike whenever a signal has moved by `level` since its last spike.

    Every component has an *on* and an *off* source. A receiver that adds `level` at each on spike and subtracts it at
    each off spike, beginning with `start`, follows the signal to within `level`, except while more than one spike is
    due (at the beginning, or where the signal moves faster than ``level/refractory``). Event cameras report the
    logarithm of each pixel's light like this. Between samples the signal is taken to be linear.

    Miskowicz (2006), Sensors 6:49, https://doi.org/10.3390/s6010049; Lichtsteiner, Posch & Delbruck (2008), IEEE J.
    Solid-State Circuits 43:566, https://doi.org/10.1109/JSSC.2007.914337.

    Parameters
    ----------
    signals : array, shape (trials, m, samples)
        Values at the times 0, dt, 2 dt, ...
    dt : float
        Seconds between samples.
    level : float
        In the unit of the signals.
    start : float
        What a receiver takes the signals to be before the first spike.
    refractory : float
        Shortest time between two spikes of a component, in seconds.

    Returns
    -------
    array, shape (trials, 2 m, spikes)
        Spike times in seconds, ascending, padded with ``inf``, all before the last sample: the on source of component
        j is 2 j, its off source 2 j + 1.

    Raises
    ------
    ValueError
        If the shape is another, a value is not finite, or `dt`, `level` or `refractory` is out of range.
    """
    signals = np.asarray(signals, dtype=float)
    if signals.ndim != 3 or signals.shape[2] < 2 or not signals.size:
        raise ValueError(f"signals: expected shape (trials, m, samples) with two samples or more, got {signals.shape}")
    if not np.isfinite(signals).all():
        raise ValueError("signals: expected finite values, got NaN or inf")
    _check_positive("dt", dt)
    if not (level > 0 and np.isfinite(level)):
        raise ValueError(f"level: expected a positive number, got {level}")
    if not 0 <= refractory < np.inf:
        raise ValueError(f"refractory: expected a time of at least 0 in seconds, got {refractory}")
    trials, m, samples = signals.shape
    x = signals.reshape(trials * m, samples)
    known = np.full(len(x), float(start))
    ready = np.zeros(len(x))  # time from which a component may spike
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for k in range(samples - 1):
        slope, begin, end = (x[:, k + 1] - x[:, k]) / dt, k * dt, (k + 1) * dt
        while True:
            # where the signal is when the component may spike next, and when it will be a level away
            now = np.maximum(ready, begin)
            off = x[:, k] + slope * (now - begin) - known
            due = np.abs(off) >= level
            with np.errstate(divide="ignore", invalid="ignore"):
                wait = np.where(due, 0.0, (level - np.sign(slope) * off) / np.abs(slope))
            time = now + wait
            fires = np.flatnonzero((now < end) & (time < end))
            if not fires.size:
                break
            up = np.where(due, off > 0, slope > 0)[fires]
            known[fires] += np.where(up, level, -level)
            ready[fires] = time[fires] + refractory
            found.append((2 * fires + ~up, time[fires]))
    return _trains(found, 2 * len(x)).reshape(trials, 2 * m, -1)


def drop_spikes(times: np.ndarray, probability: float, rng: np.random.Generator) -> np.ndarray:
    """Input-spike dropout: remove each spike independently with the given probability.

    Parameters
    ----------
    times : array, shape (trials, n) or (trials, n, spikes)
        Spike times in seconds, ascending, padded with ``inf``.
    probability : float
        In [0, 1).
    rng : numpy.random.Generator
        Source of the draw.

    Returns
    -------
    array
        A copy with dropped spikes at ``inf``, still ascending along the last axis if that is the spikes'.

    Raises
    ------
    ValueError
        If the probability lies outside [0, 1).
    """
    if not 0 <= probability < 1:
        raise ValueError(f"probability: expected a number from 0 up to, but not including, 1, got {probability}")
    kept = np.where(rng.random(times.shape) < probability, np.inf, times)
    return np.sort(kept, axis=-1) if times.ndim == 3 else kept


def _trains(found: list[tuple[np.ndarray, np.ndarray]], n: int) -> np.ndarray:
    """Spike times by source, ``(n, spikes)``, of sources and times in the order of time."""
    source = np.concatenate([s for s, _ in found] or [np.zeros(0, dtype=int)])
    times = np.concatenate([t for _, t in found] or [np.zeros(0)])
    order = np.argsort(source, kind="stable")
    count = np.bincount(source, minlength=n)
    place = np.arange(source.size) - np.repeat(np.cumsum(count) - count, count)
    result = np.full((n, max(int(count.max()), 1)), np.inf)
    result[source[order], place] = times[order]
    return result


def _check_positive(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{name}: expected a positive time in seconds, got {value}")
