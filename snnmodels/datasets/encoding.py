"""Encoders: from samples to input spike times in seconds, with ``inf`` for an input that stays silent."""

from __future__ import annotations

import numpy as np

__all__ = ["drop_spikes", "image_latency", "yin_yang_latency"]


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


def _check_positive(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{name}: expected a positive time in seconds, got {value}")
