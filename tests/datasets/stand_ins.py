"""Small generated stand-ins of published data sets, in the formats in which these are published."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def write_shd(
    directory: Path, trials: int = 40, spikes: int = 60, length: float = 1.0, seed: int = 0, name: str = "shd"
) -> dict[str, tuple[list[np.ndarray], list[np.ndarray], np.ndarray]]:
    """Files as the Heidelberg digits': half-precision seconds, 16-bit units, labels and speakers.

    A label's spikes are around channels of its own that sweep up or down, so that it can be learned.
    """
    import h5py

    rng = np.random.default_rng(seed)
    written = {}
    for split, n in (("train", trials), ("test", trials // 2)):
        labels = np.arange(n) % 20
        times, units = [], []
        for label in labels:
            t = np.sort(rng.uniform(0, length, rng.integers(spikes // 2, spikes)))
            sweep = t / length if label % 2 else 1 - t / length
            centre = 30 + 60 * (label // 2) + 60 * sweep
            times.append(t.astype(np.float16))
            units.append(np.clip(centre + rng.normal(0, 4, len(t)), 0, 699).astype(np.uint16))
        with h5py.File(directory / f"{name}_{split}.h5", "w") as file:
            group = file.create_group("spikes")
            for key, lists, kind in (("times", times, np.float16), ("units", units, np.uint16)):
                data = group.create_dataset(key, (n,), dtype=h5py.vlen_dtype(kind))
                for k, values in enumerate(lists):
                    data[k] = values
            file["labels"] = labels.astype(np.uint16)
            file["extra/speaker"] = (np.arange(n) // 20 % 10).astype(np.uint16)
        written[split] = (times, units, labels)
    return written


def write_events(path: Path, x: np.ndarray, y: np.ndarray, on: np.ndarray, microseconds: np.ndarray) -> None:
    """A recording of 40-bit events, as N-MNIST's; where the clock's 23 bits go over is the caller's to say."""
    rows = np.stack([x, y, (on << 7) | (microseconds >> 16), (microseconds >> 8) & 255, microseconds & 255], axis=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(rows.astype(np.uint8).tobytes())
