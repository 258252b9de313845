"""What training takes as data: trials, arrays, or batches of one's own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sized
from typing import Any

import numpy as np

from ..datasets.trials import Trials
from ..templates.errors import brief
from ..templates.network import Network

__all__ = ["Batch", "OwnBatches", "TrainingData", "as_training_data", "as_trials", "batches", "epoch_of", "length_of"]

Batch = tuple[Mapping[str, np.ndarray], np.ndarray]

_EXPECTED = "expected Trials(inputs, targets), or (inputs, targets)"


class OwnBatches:
    """Batches that a user makes: whatever can be gone through once in every epoch, in an order of its own.

    Parameters
    ----------
    batches : iterable of (inputs, targets)
        Each as `Simulation.run` takes them.
    network : Network
    """

    def __init__(self, batches: Iterable[Any], network: Network) -> None:
        self._batches = batches
        self._network = network

    def __iter__(self) -> Iterator[Batch]:
        for k, batch in enumerate(self._batches):
            trials = as_trials(f"batch {k + 1} of data", batch, self._network)
            yield trials.take(slice(None))

    def __len__(self) -> int:
        """Batches of an epoch; 0 where that isn't known."""
        return len(self._batches) if isinstance(self._batches, Sized) else 0


TrainingData = Trials | OwnBatches


def as_trials(name: str, data: Any, network: Network) -> Trials:
    """Trials, or what is given as a pair of inputs and targets.

    Parameters
    ----------
    name : str
        For messages.
    data : Trials, or (inputs, targets)
        Inputs are a mapping, or one array where the network has one input.
    network : Network

    Raises
    ------
    ValueError
        For anything else.
    """
    if isinstance(data, Trials):
        return data
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise ValueError(f"{name} is {brief(data)}; {_EXPECTED}")
    inputs, targets = data
    if not isinstance(inputs, Mapping):
        names = [x.name for x in network.inputs] + [x.name for x in network.currents]
        if len(names) != 1:
            raise ValueError(f"{name}: network {network.name!r} has the inputs {names}; give a mapping of these")
        inputs = {names[0]: inputs}
    try:
        return Trials(inputs, targets)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def as_training_data(data: Any, network: Network) -> TrainingData:
    """As `as_trials`, or batches of one's own.

    Raises
    ------
    ValueError
        For anything else, and for an iterator, of which nothing would be left after the first epoch.
    """
    if isinstance(data, Trials | tuple):
        return as_trials("data", data, network)
    if not isinstance(data, Iterable) or isinstance(data, str | Mapping | np.ndarray):
        raise ValueError(f"data is {brief(data)}; {_EXPECTED}, or batches of these, such as a list")
    if isinstance(data, Iterator):
        raise ValueError(
            f"data is {brief(data)}, which can be gone through once; give a list of batches, or an object whose "
            "__iter__ begins anew in each epoch"
        )
    return OwnBatches(data, network)


def epoch_of(data: TrainingData, batch_size: int, rng: np.random.Generator) -> Iterator[Batch]:
    """The batches of an epoch: of trials shuffled, of one's own as they come."""
    if isinstance(data, OwnBatches):
        yield from data
        return
    for which in batches(rng.permutation(len(data)), batch_size):
        yield data.take(which)


def length_of(data: TrainingData, batch_size: int) -> int:
    """Number of batches of an epoch; 0 where that isn't known."""
    return len(data) if isinstance(data, OwnBatches) else math.ceil(len(data) / batch_size)


def batches(order: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Parts of an order, each of `size` but for the last."""
    for start in range(0, len(order), size):
        yield order[start : start + size]
