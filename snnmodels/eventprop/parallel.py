"""Several compiled simulations that share each batch, one per core."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import numpy as np

from ..templates.network import Network
from .protocol import Loss, Outcome
from .simulation import Simulation

__all__ = ["ParallelSimulation"]


class ParallelSimulation:
    """Splits every batch among several C++ standalone programs that run at the same time.

    Brian2's threads don't speed up networks of this kind; processes do. Use it where one network is trained on several
    cores; to train several networks, give each a `Simulation` of its own.

    Parameters
    ----------
    network : Network
    loss : Loss
        A mean over trials.
    workers : int
        Programs, each with its share of the batch.
    batch_size : int
        Trials of all programs together.
    **options
        As for `Simulation`.

    Raises
    ------
    ValueError
        If there are fewer trials than workers.
    """

    def __init__(self, network: Network, loss: Loss, *, workers: int = 2, batch_size: int = 32, **options: Any) -> None:
        if not 1 <= workers <= batch_size:
            raise ValueError(f"workers = {workers!r}; it must be between 1 and batch_size = {batch_size}")
        self.loss = loss
        share = -(-batch_size // workers)
        if options.setdefault("target", "cpp_standalone") != "cpp_standalone":
            raise ValueError(
                f"target = {options['target']!r}; several workers need target = 'cpp_standalone', since Brian2's "
                "runtime has one clock for all"
            )
        self._simulations: list[Simulation] = []
        try:
            for _ in range(workers):
                self._simulations.append(Simulation(network, loss, batch_size=share, **options))
        except BaseException:
            self.close()
            raise
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="snnmodels")

    @property
    def network(self) -> Network:
        """The network with its current values."""
        return self._simulations[0].network

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all programs."""
        if hasattr(self, "_threads"):
            self._threads.shutdown()
        for s in self._simulations:
            s.close()

    def run(
        self,
        inputs: Mapping[str, np.ndarray],
        targets: np.ndarray,
        values: Mapping[str, np.ndarray] | None = None,
        *,
        gradient: bool = True,
    ) -> Outcome:
        """Loss and gradients of a batch; see `Simulation.run`."""
        parts = [p for p in np.array_split(np.arange(len(targets)), len(self._simulations)) if p.size]
        jobs = [
            self._threads.submit(
                s.run, {k: np.asarray(v)[part] for k, v in inputs.items()}, targets[part], values, gradient=gradient
            )
            for s, part in zip(self._simulations, parts, strict=False)
        ]
        outcomes = [job.result() for job in jobs]
        weights = np.array([p.size for p in parts]) / len(targets)
        return _joined(outcomes, weights)


def _joined(outcomes: list[Outcome], weights: np.ndarray) -> Outcome:
    """One outcome from those of the parts; the loss of each is a mean over its own trials."""
    first = outcomes[0]
    gradients = {}
    for key in first.gradients:
        parts = [w * o.gradients[key] for w, o in zip(weights, outcomes, strict=True)]
        gradients[key] = _stacked(parts, 0.0) if key.endswith(".times") else np.sum(parts, axis=0)
    predictions = None
    if first.predictions is not None:
        predictions = np.concatenate([o.predictions for o in outcomes if o.predictions is not None])
    return Outcome(
        float(sum(w * o.loss for w, o in zip(weights, outcomes, strict=True))),
        predictions,
        gradients,
        {k: float(sum(w * o.spikes[k] for w, o in zip(weights, outcomes, strict=True))) for k in first.spikes},
        min(o.smallest_gdot for o in outcomes),
        _stacked([o.output for o in outcomes], np.inf),
        sum(o.unresolved for o in outcomes),
    )


def _stacked(arrays: list[np.ndarray], padding: float) -> np.ndarray:
    """Arrays below each other, padded where they hold different numbers of spikes."""
    if arrays[0].ndim < 3:
        return np.concatenate(arrays)
    longest = max(a.shape[2] for a in arrays)
    return np.concatenate(
        [np.pad(a, ((0, 0), (0, 0), (0, longest - a.shape[2])), constant_values=padding) for a in arrays]
    )
