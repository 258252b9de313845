"""The Yin-Yang data set: points in a yin-yang sign, by region.

Kriener, Göltz & Petrovici (2022), "The Yin-Yang dataset", Proc. NICE, 107-111, https://doi.org/10.1145/3517343.3517380.
The same seeds give the published arrays bit for bit.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np

__all__ = ["CLASS_NAMES", "PUBLISHED_SETS", "YinYangSet", "classify_yin_yang", "yin_yang", "yin_yang_split"]

CLASS_NAMES = ("yin", "yang", "dot")
Split = Literal["train", "validation", "test"]
PUBLISHED_SETS: dict[str, tuple[int, int]] = {"train": (5000, 42), "validation": (1000, 41), "test": (1000, 40)}
"""Number of samples and seed of each published set."""


class YinYangSet(NamedTuple):
    """`samples` are (x, y, 1-x, 1-y), shape (n, 4); `labels` are 0 yin, 1 yang, 2 dot, shape (n,)."""

    samples: np.ndarray
    labels: np.ndarray


def classify_yin_yang(x: float, y: float, r_small: float = 0.1, r_big: float = 0.5) -> int:
    """Region of a point in the sign: 0 yin, 1 yang, 2 dot.

    Parameters
    ----------
    x, y : float
        Coordinates; the sign is the disc of radius `r_big` around ``(r_big, r_big)``.
    r_small, r_big : float
        Radii of the dots and of the sign.
    """
    # Square roots, not squared distances: a comparison that rounds otherwise would move points between regions.
    to_left = math.sqrt((x - 0.5 * r_big) ** 2 + (y - r_big) ** 2)
    to_right = math.sqrt((x - 1.5 * r_big) ** 2 + (y - r_big) ** 2)
    if to_left < r_small or to_right < r_small:
        return 2
    in_left_lobe = to_left <= 0.5 * r_big
    in_upper_half = y > r_big and to_right > 0.5 * r_big
    on_right_dot = to_right <= r_small
    return int(on_right_dot or in_left_lobe or in_upper_half)


def yin_yang(n: int, seed: int, r_small: float = 0.1, r_big: float = 0.5) -> YinYangSet:
    """Draw `n` points, each from a region drawn uniformly first, so that the classes are balanced on average.

    Parameters
    ----------
    n : int
        Number of samples.
    seed : int
        Seed of NumPy's legacy `RandomState`, whose stream is frozen; the published sets depend on it.
    r_small, r_big : float
        Radii of the dots and of the sign, ``0 < r_small < r_big / 2``.

    Returns
    -------
    YinYangSet
        Samples in [0, 1] for the default radii, float64; labels, int64.

    Raises
    ------
    ValueError
        If `n` is not positive or the dots don't fit into the sign.
    """
    if n < 1:
        raise ValueError(f"n: expected a positive number of samples, got {n}")
    if not 0 < r_small < r_big / 2:
        raise ValueError(f"r_small, r_big: expected 0 < r_small < r_big / 2, got {r_small} and {r_big}")
    rng = np.random.RandomState(seed)
    samples = np.empty((n, 4))
    labels = np.empty(n, dtype=np.int64)
    for i in range(n):
        wanted = rng.randint(3)
        while True:
            x, y = (rng.rand(2) * 2.0 * r_big).tolist()
            inside = math.sqrt((x - r_big) ** 2 + (y - r_big) ** 2) <= r_big
            if inside and classify_yin_yang(x, y, r_small, r_big) == wanted:
                break
        samples[i] = x, y, 1.0 - x, 1.0 - y
        labels[i] = wanted
    return YinYangSet(samples, labels)


def yin_yang_split(split: Split) -> YinYangSet:
    """One of the published sets: ``"train"`` (5000), ``"validation"`` (1000) or ``"test"`` (1000 samples).

    Raises
    ------
    ValueError
        For a set of another name.
    """
    if split not in PUBLISHED_SETS:
        raise ValueError(f"split: expected one of {', '.join(PUBLISHED_SETS)}, got {split!r}")
    n, seed = PUBLISHED_SETS[split]
    return yin_yang(n, seed)
