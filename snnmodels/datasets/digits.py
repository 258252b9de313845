"""Small real handwritten digits (8 × 8 pixels) that ship with scikit-learn, for tests and quick demonstrations.

E. Alpaydin & C. Kaynak (1998), "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository,
https://doi.org/10.24432/C50P49 (its test set of 1797 images).
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from .mnist import ImageSet

__all__ = ["load_digits"]

Split = Literal["train", "validation", "test"]
_BOUNDS = {"train": (0, 1297), "validation": (1297, 1547), "test": (1547, 1797)}
_SHUFFLE_SEED = 0


def load_digits(split: Split) -> ImageSet:
    """One of three disjoint sets: ``"train"`` (1297), ``"validation"`` (250) or ``"test"`` (250 images).

    Images are rows of 64 pixels; their 17 grey levels are stretched to 0 ... 255, so that what suits MNIST suits them.

    Raises
    ------
    ImportError
        If scikit-learn is not installed.
    ValueError
        If `split` is unknown.
    """
    if split not in _BOUNDS:
        raise ValueError(f"split: expected one of {', '.join(_BOUNDS)}, got {split!r}")
    try:
        from sklearn.datasets import load_digits as load
    except ImportError:
        raise ImportError("the digits data set ships with scikit-learn; install it: pip install scikit-learn") from None
    images, labels = load(return_X_y=True)
    # The file is ordered by writer, so parts of it as it stands would differ in handwriting.
    order = np.random.default_rng(_SHUFFLE_SEED).permutation(len(labels))
    first, last = _BOUNDS[split]
    picked = order[first:last]
    return ImageSet(np.rint(images[picked] * (255 / 16)).astype(np.uint8), labels[picked].astype(np.int64))
