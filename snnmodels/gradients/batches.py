"""What every simulation asks of a batch, with one wording."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..losses.base import Loss
from ..templates.arguments import check_mapping, dimensions
from ..templates.errors import brief
from ..templates.network import Network, check_inputs

__all__ = ["CLOSED", "check_spiking", "check_targets", "count_trials"]

CLOSED = "This simulation was closed: make a new one to go on."


def count_trials(inputs: Mapping[str, np.ndarray], network: Network, most: int, targets: Any = None) -> int:
    """Number of trials of the inputs, which are all there.

    Parameters
    ----------
    inputs : mapping of str to array
        Spike times ``(trials, n)`` or ``(trials, n, spikes)``, and samples of currents ``(trials, n, samples)``; those
        of fewer dimensions are the same in all trials.
    network : Network
    most : int
        Trials that a batch may have.
    targets : array, optional
        As many as there are trials, where no input tells that.

    Raises
    ------
    ValueError
        If inputs are missing or unknown, have no trials, or another number of them than each other.
    """
    currents = {c.name for c in network.currents}
    names = [s.name for s in network.inputs] + sorted(currents)
    what = "spike times and samples of currents" if currents else "spike times"
    check_mapping("inputs", inputs, f"a mapping of {sorted(names)} to {what}")
    check_inputs(inputs, network)
    trials = {}
    for name, times in inputs.items():
        if name in currents:
            if dimensions(f"samples of input {name!r}", times) == 3:
                trials[name] = len(times)
            continue
        if dimensions(f"spike times of input {name!r}", times) < 2:
            raise ValueError(
                f"spike times of input {name!r} have shape {np.shape(times)}; expected (trials, n) or "
                "(trials, n, spikes), also for one trial"
            )
        trials[name] = len(times)
    if len(set(trials.values())) > 1:
        raise ValueError(f"inputs differ in their number of trials: {trials}")
    if not trials and targets is not None and dimensions("targets", targets) > 0:
        trials["targets"] = len(targets)
    found = next(iter(trials.values()), 1)
    if not 1 <= found <= most:
        raise ValueError(
            f"{found} trials; this simulation takes 1 to batch_size = {most}: make it with a larger one, or give it "
            "(or train) smaller batches"
        )
    return found


def check_targets(targets: Any, trials: int, loss: Loss, network: Network) -> None:
    """Refuse targets that are not as many as the trials, or that the loss can compare with no run of the network."""
    single = dimensions("targets", targets) == 0
    if single or len(targets) != trials:
        alone = "a number" if isinstance(targets, int | float | np.number | np.ndarray) else brief(targets)
        given = alone if single else f"{len(targets)} targets"
        raise ValueError(f"{given} for {trials} trials of the inputs; targets have one entry for each trial")
    loss.check_targets(targets, network)


def check_spiking(population: str, spiking: Sequence[str]) -> None:
    """Refuse the name of a population that is none of those that spike.

    Parameters
    ----------
    population : str
    spiking : sequence of str

    Raises
    ------
    ValueError
    """
    if population not in spiking:
        raise ValueError(f"no spiking population {population!r}; there are {', '.join(spiking)}")
