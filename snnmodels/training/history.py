"""What a training run did, epoch by epoch, as JSON."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from ..files import atomic_file, read_json
from ..templates.errors import suggest

__all__ = ["EpochRecord", "History", "package_versions"]

_PACKAGES = ("snnmodels", "brian2", "brian2cuda", "numpy", "scipy", "sympy")


@dataclass(frozen=True)
class EpochRecord:
    """One epoch.

    Attributes
    ----------
    epoch : int
        Counted from 1.
    learning_rate : float
    train_loss, validation_loss, test_loss : float or None
        Means over trials; those of the training set are taken while the values change. None if not measured.
    train_error, validation_error, test_error : float or None
        Fraction of trials classified wrongly; None if not measured, or if the loss doesn't classify.
    spikes : mapping of str to float
        Mean number of spikes per training trial of each population.
    smallest_gdot : float or None
        Smallest rate at which an event function crossed 0 in the epoch; None when nothing spiked.
    silent_trials : int
        Training trials in which a spike that the loss needs was missing.
    seconds : float
        Wall time of the epoch, validation and test included.
    pseudospikes : mapping of str to float
        Mean number per training trial of those that stood in for missing spikes, by population.
    """

    epoch: int
    learning_rate: float
    train_loss: float
    train_error: float | None
    spikes: Mapping[str, float]
    smallest_gdot: float | None
    silent_trials: int
    seconds: float
    validation_loss: float | None = None
    validation_error: float | None = None
    test_loss: float | None = None
    test_error: float | None = None
    pseudospikes: Mapping[str, float] = field(default_factory=dict)


@dataclass
class History:
    """Settings, package versions and epochs of one run.

    Attributes
    ----------
    settings : mapping of str to JSON values
    versions : mapping of str to str
    epochs : list of EpochRecord
    status : str
        ``"running"``, ``"finished"`` or ``"stopped early"``.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    epochs: list[EpochRecord] = field(default_factory=list)
    status: str = "running"

    def __repr__(self) -> str:
        return f"<History: {len(self.epochs)} epochs, {self.status}>"

    def column(self, name: str) -> np.ndarray:
        """One field of every epoch as a float array, NaN where it is None.

        Raises
        ------
        ValueError
            If epochs have no such field.
        """
        there = [f.name for f in fields(EpochRecord)]
        if name not in there:
            raise ValueError(f"epochs have no {name!r}; {suggest(name, there)}")
        return np.array(
            [math.nan if (v := getattr(record, name)) is None else v for record in self.epochs], dtype=float
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain dictionaries and lists, ready for JSON."""
        return {
            "status": self.status,
            "settings": dict(self.settings),
            "versions": dict(self.versions),
            "epochs": [asdict(record) for record in self.epochs],
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> History:
        """Inverse of `to_dict`.

        Raises
        ------
        ValueError
            If a field is missing or unknown.
        """
        try:
            epochs = [EpochRecord(**record) for record in data["epochs"]]
            return History(data["settings"], data["versions"], epochs, data["status"])
        except (KeyError, TypeError) as error:
            expected = ", ".join(f.name for f in fields(EpochRecord))
            raise ValueError(f"not a training history ({error}); an epoch has the fields {expected}") from None

    def save(self, path: str | Path) -> None:
        """Write as JSON, atomically."""
        with atomic_file(path, "history") as file:
            file.write(json.dumps(self.to_dict(), indent=1, allow_nan=False).encode())

    @staticmethod
    def load(path: str | Path) -> History:
        """Read what `save` wrote.

        Raises
        ------
        ValueError
            If the file holds something else.
        """
        content = read_json(path, "training history", "epochs")
        try:
            return History.from_dict(content)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on, of those that are installed."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
