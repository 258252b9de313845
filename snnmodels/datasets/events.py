"""Event-camera recordings: the 40-bit binary files of N-MNIST and N-Caltech101, from the user's files.

Orchard, Jayawant, Cohen & Thakor (2015), Front. Neurosci. 9:437, https://doi.org/10.3389/fnins.2015.00437.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..files import named
from ..templates.arguments import check_whole
from .lists import SpikeLists

__all__ = ["EventSet", "load_nmnist", "read_events"]

_BYTES = 5  # of an event
_OVERFLOW = 240  # a row that no sensor of this format has: the clock went over
_TICKS = 2**13  # microseconds by which it went
_SIDE = 34  # of N-MNIST's frames


class EventSet(NamedTuple):
    """`spikes` of each recording; `labels`, shape (trials,), int64."""

    spikes: SpikeLists
    labels: np.ndarray


def read_events(path: str | Path, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Read one recording: of every event 8 bits of column, 8 of row, 1 of polarity and 23 of microseconds.

    An event in row 240 is none, but says that the clock of all later ones, and its own, is 8192 µs further.

    Parameters
    ----------
    path : str or Path
    width, height : int
        Of the frame, in pixels.

    Returns
    -------
    times : array, shape (events,)
        Seconds, in the order of the file.
    units : int array, shape (events,)
        ``(polarity * height + row) * width + column``: first the pixels' off events, then their on events; below
        ``2 * height * width``.

    Raises
    ------
    OSError
        If there is no such file, or it can't be read; see `snnmodels.files.named`.
    ValueError
        If its length is no multiple of five bytes, or an event lies outside of the frame.
    """
    for name, size in (("width", width), ("height", height)):
        check_whole(name, size)
    with named(path, "recording of events"):
        raw = np.frombuffer(Path(path).read_bytes(), np.uint8)
    if len(raw) % _BYTES:
        raise ValueError(
            f"{path}: {len(raw)} bytes, which are not {_BYTES} for each event; it is cut off, or of another format"
        )
    x, y, high, middle, low = raw.reshape(-1, _BYTES).T.astype(np.int64)
    over = y == _OVERFLOW
    ticks = ((high & 127) << 16) + (middle << 8) + low + _TICKS * np.cumsum(over)
    x, y, on, ticks = (array[~over] for array in (x, y, high >> 7, ticks))
    outside = (x >= width) | (y >= height)
    if outside.any():
        k = int(outside.argmax())
        raise ValueError(
            f"{path}: event {k} is in column {x[k]} and row {y[k]}; expected a frame of {width} × {height} pixels"
        )
    return ticks * 1e-6, (on * height + y) * width + x


def load_nmnist(directory: str | Path, split: str, per_class: int | None = None) -> EventSet:
    """Read N-MNIST: the digits of MNIST seen by an event camera that moves, 34 × 34 pixels of two polarities.

    Parameters
    ----------
    directory : str or Path
        Holds ``Train`` and ``Test`` with a folder ``0`` to ``9`` for each digit, as published.
    split : {"train", "test"}
    per_class : int, optional
        Of each digit at most as many recordings, the first by name.

    Returns
    -------
    EventSet
        Times in seconds of 2312 units, as `read_events` numbers them; digits in their order.

    Raises
    ------
    FileNotFoundError
        If a folder is missing or empty.
    ValueError
        If a file is damaged or has no events, or `split` is unknown.
    """
    if split not in ("train", "test"):
        raise ValueError(f"split: expected 'train' or 'test', got {split!r}")
    if per_class is not None:
        check_whole("per_class", per_class)
    times, units, labels = [], [], []
    for digit in range(10):
        folder = Path(directory) / split.capitalize() / str(digit)
        files = sorted(folder.glob("*.bin"))[:per_class]
        if not files:
            what = "no file *.bin" if folder.is_dir() else "no such folder"
            raise FileNotFoundError(
                f"{folder}: {what}. Download N-MNIST from https://www.garrickorchard.com/datasets/n-mnist, unpack "
                "Train.zip and Test.zip into one directory, and name that directory"
            )
        for file in files:
            t, i = read_events(file, _SIDE, _SIDE)
            if not len(t):
                raise ValueError(f"{file}: has no events, as no recording of N-MNIST is; unpack it again")
            times.append(t)
            units.append(i.astype(np.uint16))
            labels.append(digit)
    return EventSet(SpikeLists.of(times, units, 2 * _SIDE * _SIDE), np.array(labels, dtype=np.int64))
