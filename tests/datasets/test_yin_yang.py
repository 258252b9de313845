"""The Yin-Yang generator gives the published arrays, bit for bit."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from snnmodels.datasets import PUBLISHED_SETS, classify_yin_yang, yin_yang, yin_yang_split

DATA = Path(__file__).parents[3] / "shared" / "data" / "yin_yang"

# SHA-256 of the published arrays' bytes (float64 and int64, little-endian, C order).
SHA256 = {
    "train": (
        "f5a4054d56f2a058f8250fba7ff9720458e1625db7af78a295e45701745b2228",
        "534d12acda4f9dbc7208a99d3646115a4aa7d74ca31d6d23f822079a568559b7",
    ),
    "validation": (
        "5eac358bdf2122763dce3703a79f3005e56e46a4db25ec329a07333d0f7b8093",
        "5a4c2f605814a620f514c1091f10441ce562cd81e902ce701b3cf94ae7576f7d",
    ),
    "test": (
        "7bab3ed668ed4992679cff6339fe21bfe7d0c921ddc6187eaa3bc6ef34b888d7",
        "daa0f8f4e3b37b1ddec2afee22f09afb768f0e575f3f568e7469f1ebc6af73c1",
    ),
}


@pytest.mark.parametrize("split", list(PUBLISHED_SETS))
def test_checksum_is_that_of_the_published_arrays(split):
    samples, labels = yin_yang_split(split)
    assert hashlib.sha256(samples.astype("<f8").tobytes()).hexdigest() == SHA256[split][0]
    assert hashlib.sha256(labels.astype("<i8").tobytes()).hexdigest() == SHA256[split][1]


@pytest.mark.skipif(not DATA.is_dir(), reason="the published Yin-Yang arrays are not on this machine")
@pytest.mark.parametrize("split", list(PUBLISHED_SETS))
def test_equals_the_published_arrays(split):
    samples, labels = yin_yang_split(split)
    np.testing.assert_array_equal(samples, np.load(DATA / f"{split}_samples.npy"))
    np.testing.assert_array_equal(labels, np.load(DATA / f"{split}_labels.npy"))


@pytest.mark.parametrize(
    ("point", "region"),
    [
        ((0.25, 0.5), 2),  # left dot
        ((0.75, 0.5), 2),  # right dot
        ((0.5, 0.9), 1),  # upper half
        ((0.5, 0.1), 0),  # lower half
        ((0.25, 0.3), 1),  # left lobe reaches into the lower half
        ((0.75, 0.7), 0),  # right lobe reaches into the upper half
    ],
)
def test_regions(point, region):
    assert classify_yin_yang(*point) == region


def test_symmetry_of_the_sign():
    """A half turn about the centre exchanges yin and yang and keeps the dots."""
    samples, labels = yin_yang(300, seed=3)
    turned = [classify_yin_yang(1 - x, 1 - y) for x, y in samples[:, :2]]
    np.testing.assert_array_equal(turned, np.array([1, 0, 2])[labels])


def test_points_lie_in_the_sign_and_mirror_columns_match():
    samples, labels = yin_yang(500, seed=1)
    assert (np.hypot(samples[:, 0] - 0.5, samples[:, 1] - 0.5) <= 0.5).all()
    np.testing.assert_array_equal(samples[:, 2:], 1 - samples[:, :2])
    assert set(labels) == {0, 1, 2}


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"n: expected a positive number of samples, got 0"):
        yin_yang(0, seed=1)
    with pytest.raises(ValueError, match="r_small"):
        yin_yang(1, seed=1, r_small=0.3)
    with pytest.raises(ValueError, match="expected one of train, validation, test, got 'dev'"):
        yin_yang_split("dev")
