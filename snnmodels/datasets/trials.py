"""Labelled trials: samples, targets, and the encoding that turns the one into input spike times."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..templates.arguments import check_unmasked
from .lists import SpikeLists
from .targets import named_targets

__all__ = ["Trials"]

Encoder = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Trials:
    """Samples with targets, encoded as input spike times when a batch is taken.

    Encoding at the last moment keeps MNIST at one byte per pixel (47 MB) rather than eight (376 MB).

    Attributes
    ----------
    samples : mapping of str to array, shape (trials, ...), or to SpikeLists
        One per input of the network, by the input's name; samples of currents ``(trials, n, samples)``.
    targets : array, shape (trials, ...), or mapping of str to array
        Class labels, or whatever the loss compares with; a mapping becomes what `named_targets` makes of it.
    encode : callable or None
        Turns an array of samples into spike times in seconds, ``(trials, n)`` or ``(trials, n, spikes)``; None when
        `samples` are spike times already.

    Raises
    ------
    ValueError
        If there are no samples, or their number differs between arrays.
    """

    samples: Mapping[str, np.ndarray | SpikeLists]
    targets: np.ndarray
    encode: Encoder | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.samples, Mapping):
            raise ValueError(f"samples are {type(self.samples).__name__}; expected a mapping of input names to arrays")
        samples = {
            name: array if isinstance(array, SpikeLists) else _array(f"samples[{name!r}]", array)
            for name, array in self.samples.items()
        }
        object.__setattr__(self, "samples", samples)
        given: Any = self.targets
        targets = named_targets(given) if isinstance(given, Mapping) else _array("targets", given)
        object.__setattr__(self, "targets", targets)
        if self.targets.ndim == 0:
            raise ValueError("targets: expected one for each trial, got a single one")
        if not self.samples:
            raise ValueError("samples: expected an array for at least one input, got none")
        for name, array in self.samples.items():
            if len(array.shape) < 2:
                raise ValueError(
                    f"samples[{name!r}]: expected spike times, (trials, n) or (trials, n, spikes), or samples of a "
                    f"current, (trials, n, samples), got {array.shape}"
                )
            if len(array) != len(self.targets):
                raise ValueError(f"samples[{name!r}]: {len(array)} trials, but targets has {len(self.targets)}")
        if len(self.targets) == 0:
            raise ValueError("targets: expected at least one trial, got none")

    def __repr__(self) -> str:
        samples = [f"{name} {array.shape[1:]}" for name, array in self.samples.items()]
        targets = "label" if self.targets.shape[1:] == () and self.targets.dtype.names is None else "targets"
        of = "" if targets == "label" else f" {self.targets.dtype.names or self.targets.shape[1:]}"
        encoder = [f"encoded by {getattr(self.encode, '__name__', type(self.encode).__name__)}"] if self.encode else []
        return f"<Trials: {len(self)} of {', '.join((*samples, targets + of, *encoder))}>"

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, which: np.ndarray | slice) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Spike times by input name, and targets, of the trials that an index array or a slice selects."""
        picked = {name: array[which] for name, array in self.samples.items()}
        if self.encode is not None:
            picked = {name: self.encode(array) for name, array in picked.items()}
        return picked, self.targets[which]

    def subset(self, which: np.ndarray | slice) -> Trials:
        """Select trials by an index array or a slice, still unencoded."""
        samples = {
            name: array.subset(which) if isinstance(array, SpikeLists) else array[which]
            for name, array in self.samples.items()
        }
        return Trials(samples, self.targets[which], self.encode)


def _array(name: str, values: Any) -> np.ndarray:
    check_unmasked(name, values)
    try:
        return np.asarray(values)
    except ValueError:
        raise ValueError(f"{name}: expected an array, got rows of unequal length") from None
