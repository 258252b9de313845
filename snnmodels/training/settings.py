"""What decides a run of training, so that a checkpoint goes on with nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.lists import SpikeLists
from ..datasets.trials import Trials
from ..files import OtherRun, as_json
from ..gradients.source import GradientSource
from ..optimisers import Optimiser
from ..templates.errors import warn_caller
from ..templates.identity import checksum, description, identity
from .data import OwnBatches, TrainingData
from .history import EpochRecord, package_versions

__all__ = ["refuse_other", "refuse_other_rates", "settings_of", "warn_of_versions"]

# settings of which a checksum is kept, so that its values tell nobody anything
_CHECKSUMS = {
    "data": "is of a run on other training data",
    "validation": "is of a run with other validation data, or with none",
    "test": "is of a run with other test data, or with none",
    "initial_values": "is of a run that began with other initial values than the network has, or values= gives",
}


def settings_of(
    source: GradientSource,
    data: Mapping[str, TrainingData | None],
    optimiser: Optimiser,
    start: Mapping[str, np.ndarray],
    **others: Any,
) -> dict[str, Any]:
    """Everything that decides a run, as JSON gives it back.

    Parameters
    ----------
    source : GradientSource
    data : mapping of str to Trials, OwnBatches or None
        ``"data"`` and what it is judged on. Of batches of one's own nothing is known.
    optimiser : Optimiser
    start : mapping of str to array
        Initial values.
    **others
        As `description` tells them.
    """
    trials = data["data"]
    assert trials is not None
    return as_json(
        {
            "network": source.network.name,
            "declared": identity(source.network),
            "loss": description(source.loss),
            "simulation": {"class": type(source).__qualname__, **getattr(source, "settings", {})},
            "optimiser": optimiser.settings(),
            "trials": "batches of one's own" if isinstance(trials, OwnBatches) else len(trials),
            "encoder": None if isinstance(trials, OwnBatches) else description(trials.encode),
            **{name: _fingerprint(given) if isinstance(given, Trials) else None for name, given in data.items()},
            "initial_values": checksum(start),
            **{name: description(other) for name, other in others.items()},
        }
    )


def refuse_other(path: Path, now: Mapping[str, Any], then: Mapping[str, Any]) -> None:
    """Refuse a checkpoint whose settings are others than those now, by the first that differs; a seed decides others.

    Raises
    ------
    OtherRun
    """
    for name in sorted({**then, **now}, key=lambda name: name != "seed"):
        old, new = then.get(name), now.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            where = next((k for k in {**old, **new} if old.get(k) != new.get(k)), None)
            if where is None:
                continue
            name, old, new = f"{name} {where}", old.get(where), new.get(where)
        if old != new:
            what = _CHECKSUMS.get(name) or f"is of a run with {name} = {old}, not {new}"
            raise OtherRun(path, what)


_SAME_RATE = 1e-9  # of learning rates that are the same but for last bits


def refuse_other_rates(path: Path, optimiser: Optimiser, epochs: Sequence[EpochRecord]) -> None:
    """Refuse a checkpoint whose epochs had other learning rates than the schedule gives now, whatever it reads.

    Raises
    ------
    OtherRun
    """
    assert callable(optimiser.schedule)
    for k, record in enumerate(epochs):
        rate = float(optimiser.schedule(k))
        # another machine's last bits are no other schedule
        if not math.isclose(rate, record.learning_rate, rel_tol=_SAME_RATE):
            had = f"is of a run with a learning rate of {record.learning_rate!r} in epoch {k + 1}"
            raise OtherRun(path, f"{had}, for which the schedule now gives {rate!r}")


def warn_of_versions(path: Path, then: Mapping[str, str]) -> None:
    """Warn that a run goes on with other packages than it began with: its last digits may be others."""
    now = package_versions()
    other = [name for name in {**then, **now} if then.get(name) != now.get(name)]
    changed = [f"{name} {then.get(name)}, now {now.get(name)}" for name in other]
    if changed:
        warn_caller(f"{path}: began with {'; '.join(changed)}; the last digits may be others")


def _fingerprint(data: Trials) -> int:
    """Checksum of a data set and of how it is encoded (by one trial)."""
    encoded, _ = data.take(slice(1))
    arrays: dict[str, np.ndarray] = {"targets": data.targets}
    for name, given in data.samples.items():
        if isinstance(given, SpikeLists):
            found = {"times": given.times, "units": given.units, "starts": given.starts}
        else:
            found = {"samples": given}
        arrays |= {f"{name}.{part}": array for part, array in found.items()}
    return checksum({**arrays, **{f"{name} encoded": array for name, array in encoded.items()}})
