"""The contenders that live in this project: the package in both forms, and what is written by hand.

python -m benchmarks.contenders limit|grid|package TASK.npz OPTIONS, as `benchmarks.serving` starts it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from snnmodels import __version__
from snnmodels.eventprop import Adam
from snnmodels.eventprop.simulation import Simulation

from .limit import Limit
from .limit._binding import Loop
from .limit.grid import GridLimit
from .serving import Contender, Meter, Task, serve
from .tasks import loss_of, network_of

# Adam runs in full, but weights stay where they are, so that all batches and all contenders have the same work.
RATE = 1e-15


class LoopContender(Contender):
    """A hand-written loop."""

    limit: Loop

    def step(self, times: np.ndarray, labels: np.ndarray) -> None:
        """Train on a batch."""
        with self.meter.section("batch"):
            with self.meter.section("forward"):
                self.limit.forward(times)
            self.limit.loss(labels)
            with self.meter.section("backward"):
                self.limit.backward()
            self.limit.adam(RATE)

    def hidden_spikes(self) -> float:
        """Spikes per trial."""
        return self.limit.hidden_spikes()

    def close(self) -> None:
        """Free the memory."""
        self.limit.close()


class LimitContender(LoopContender):
    """The event engine, with the option ``first_only``."""

    def __init__(self, task: Task, meter: Meter, options: Mapping[str, Any]) -> None:
        super().__init__(task, meter, options)
        first_only = bool(options.get("first_only"))
        self.limit = Limit(network_of(task), loss_of(task), batch_size=self.batch_size, first_only=first_only)


class GridContender(LoopContender):
    """The grid method, with the option ``dt``; without it, the task's."""

    def __init__(self, task: Task, meter: Meter, options: Mapping[str, Any]) -> None:
        super().__init__(task, meter, options)
        dt = float(options.get("dt") or task.settings["dt"])
        self.limit = GridLimit(network_of(task), loss_of(task), batch_size=self.batch_size, dt=dt)


class PackageContender(Contender):
    """`Simulation` on C++ standalone, with the option ``projections``, and the package's Adam.

    Forward and backward are what the compiled program takes; the rest of a batch is inputs, loss, gradients and Adam.
    """

    def __init__(self, task: Task, meter: Meter, options: Mapping[str, Any]) -> None:
        super().__init__(task, meter, options)
        self.simulation = Simulation(
            network_of(task),
            loss_of(task),
            batch_size=self.batch_size,
            dt=task.settings["dt"],
            target="cpp_standalone",
            projections=options["projections"],
            input_gradients=False,
            max_spikes=options.get("max_spikes", 64),
        )
        session = self.simulation._session
        for name in ("forward", "backward"):
            setattr(session, name, meter.timed(name, getattr(session, name)))
        self.values = {key: np.array(value) for key, value in self.simulation.network.trainable().items()}
        self.optimiser = Adam(RATE)
        (source,) = self.simulation.network.inputs
        self.input = source.name
        self.hidden = self.simulation.network.populations[0].name
        self._spikes = float("nan")

    def step(self, times: np.ndarray, labels: np.ndarray) -> None:
        """Train on a batch."""
        with self.meter.section("batch"):
            outcome = self.simulation.run({self.input: times}, labels, self.values)
            self.optimiser.step(self.values, outcome.gradients)
        self._spikes = outcome.spikes[self.hidden]

    def hidden_spikes(self) -> float:
        """Spikes per trial."""
        return self._spikes

    def close(self) -> None:
        """End the compiled program."""
        self.simulation.close()


if __name__ == "__main__":
    contenders = {"limit": LimitContender, "grid": GridContender, "package": PackageContender}
    serve(contenders[sys.argv.pop(1)], __version__)
