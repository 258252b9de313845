"""The Spiking Heidelberg Digits and Spiking Speech Commands, and other HDF5 files of their form, from the user's files.

Spoken digits and words as spikes of 700 channels of a model of the inner ear. Cramer, Stradmann, Schemmel & Zenke
(2022), IEEE Trans. Neural Netw. Learn. Syst. 33:2744, https://doi.org/10.1109/TNNLS.2020.3044364.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..files import named
from .lists import SpikeLists

__all__ = ["SHD_CLASSES", "SpeechSet", "load_shd", "load_ssc", "read_spike_file"]

CHANNELS = 700
SHD_CLASSES = tuple(f"{language} {digit}" for language in ("English", "German") for digit in range(10))
"""What the labels of the digits stand for."""

_FILES = {
    "shd": {"train": "shd_train.h5", "test": "shd_test.h5"},
    "ssc": {"train": "ssc_train.h5", "validation": "ssc_valid.h5", "test": "ssc_test.h5"},
}
_CLASSES = {"shd": 20, "ssc": 35}
_LONGEST = 10.0  # seconds; the recordings are below two


class SpeechSet(NamedTuple):
    """`spikes` and `labels` of each trial, shape (trials,), int64; `speakers` alike, or None where there are none."""

    spikes: SpikeLists
    labels: np.ndarray
    speakers: np.ndarray | None


def load_shd(directory: str | Path, split: str) -> SpeechSet:
    """Read the Spiking Heidelberg Digits: twenty classes, the digits in English and German.

    Times are published in half precision, so that those of late spikes are multiples of half a millisecond or a whole
    one; they are taken as they are.

    Parameters
    ----------
    directory : str or Path
        Holds ``shd_train.h5`` and ``shd_test.h5``.
    split : {"train", "test"}

    Returns
    -------
    SpeechSet
        Times in seconds of 700 units, labels from 0 to 19, and who spoke.

    Raises
    ------
    FileNotFoundError
        If the directory or the file is missing, saying what to get.
    ImportError
        If h5py is not installed.
    ValueError
        If the file is damaged or of another form, or `split` is unknown.
    """
    return _load("shd", directory, split)


def load_ssc(directory: str | Path, split: str) -> SpeechSet:
    """Read the Spiking Speech Commands: 35 classes of words; see `load_shd`.

    Parameters
    ----------
    directory : str or Path
        Holds ``ssc_train.h5``, ``ssc_valid.h5`` and ``ssc_test.h5``.
    split : {"train", "validation", "test"}

    Returns
    -------
    SpeechSet
        Times in seconds of 700 units, and labels from 0 to 34.

    Raises
    ------
    FileNotFoundError, ImportError, ValueError
        As `load_shd`.
    """
    return _load("ssc", directory, split)


def read_spike_file(path: str | Path, n: int, classes: int | None = None) -> SpeechSet:
    """Read an HDF5 file of spikes: ``spikes/times`` and ``spikes/units``, one list for each trial, and ``labels``.

    Parameters
    ----------
    path : str or Path
    n : int
        Number of units.
    classes : int, optional
        Labels have to be below it.

    Returns
    -------
    SpeechSet
        With speakers, where there is ``extra/speaker``.

    Raises
    ------
    OSError
        If there is no such file, or it can't be read; see `snnmodels.files.named`.
    ImportError
        If h5py is not installed.
    ValueError
        If the file is damaged, lacks something of the three, has units beyond `n`, times that are no seconds, or
        another number of labels than trials.
    """
    try:
        import h5py
    except ImportError:
        raise ImportError("reading HDF5 needs h5py; install it: pip install 'snnmodels[data]'") from None
    path = Path(path)
    with named(path, "file of spikes"):
        head = path.open("rb").read(8)
    if head[:2] == b"\x1f\x8b":
        raise ValueError(f"{path}: is compressed; unpack it with gunzip first")
    if head != b"\x89HDF\r\n\x1a\n":
        raise ValueError(f"{path}: is no HDF5 file (starts with {head.hex() or 'nothing'}); download it again")
    try:
        with h5py.File(path, "r") as file:
            content = {name: _content(file, name) for name in ("spikes/times", "spikes/units", "labels")}
            speakers = file["extra/speaker"][()] if "extra/speaker" in file else None
    except _Missing as missing:
        raise ValueError(f"{path}: {missing}") from None
    except Exception as error:  # HDF5 fails in many ways on damaged bytes
        raise ValueError(f"{path}: damaged, or not a file of spikes ({error}); download it again") from None
    times, units, labels = content.values()
    for name, lists, kinds, expected in (
        ("spikes/times", times, "f", "seconds as floating-point numbers"),
        ("spikes/units", units, "iu", "whole numbers"),
    ):
        if lists.ndim != 1 or lists.dtype != object:
            raise ValueError(f"{path}: {name} is {lists.dtype} of shape {lists.shape}; expected a list for each trial")
        found = {getattr(x, "dtype", np.dtype(object)).kind for x in lists if len(x)} - set(kinds)
        if found:
            wrong = next(x.dtype for x in lists if len(x) and x.dtype.kind in found)
            raise ValueError(f"{path}: {name} are {wrong}; expected {expected}")
    if labels.shape != times.shape or labels.dtype.kind not in "iu":
        raise ValueError(
            f"{path}: labels are {labels.dtype} of shape {labels.shape}; expected a whole number for each of "
            f"{len(times)} trials"
        )
    if classes is not None and len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(f"{path}: labels go from {labels.min()} to {labels.max()}; expected 0 to {classes - 1}")
    if speakers is not None and (speakers.shape != labels.shape or speakers.dtype.kind not in "iu"):
        raise ValueError(
            f"{path}: extra/speaker are {speakers.dtype} of shape {speakers.shape}; expected a whole number for each "
            f"of {len(labels)} trials"
        )
    try:
        spikes = SpikeLists.of(list(times), list(units), n)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return SpeechSet(spikes, labels.astype(np.int64), None if speakers is None else speakers.astype(np.int64))


class _Missing(Exception):
    """The file lacks a data set."""


def _content(file: Any, name: str) -> np.ndarray:
    if name not in file:
        raise _Missing(f"has no {name}; expected spikes/times, spikes/units and labels")
    return np.asarray(file[name][()])


def _load(name: str, directory: str | Path, split: str) -> SpeechSet:
    files = _FILES[name]
    if split not in files:
        raise ValueError(f"split: expected one of {', '.join(files)}, got {split!r}")
    directory = Path(directory)
    path = directory / files[split]
    if not path.is_file():
        what = f"no file {path.name}" if directory.is_dir() else "no such directory"
        packed = f"; {path.name}.gz is there, unpack it with gunzip" if path.with_suffix(".h5.gz").is_file() else ""
        raise FileNotFoundError(
            f"{directory}: {what}{packed}. Download {' and '.join(f'{f}.gz' for f in files.values())} of the "
            "Heidelberg spiking data sets from https://zenkelab.org/datasets/, unpack them into one directory, and "
            "name that directory"
        )
    found = read_spike_file(path, CHANNELS, _CLASSES[name])
    if found.spikes.last > _LONGEST:
        raise ValueError(
            f"{path}: the last spike is at {found.spikes.last:g} s; expected seconds, of recordings below two: are "
            "these milliseconds?"
        )
    return found
