"""The contenders that live in this project: the package, its portable form, and what is written by hand.

python -m benchmarks.contenders limit|grid|package|calls|synapses TASK.npz OPTIONS, as `benchmarks.serving` starts it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from snnmodels import __version__
from snnmodels.gradients import GradientSource, GridSimulation, Simulation
from snnmodels.optimisers import Adam
from snnmodels.targets import Target
from snnmodels.training.loop import TOGETHER

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
    """`Simulation`, with the option ``target`` (C++ standalone without it), and the package's Adam.

    Forward and backward are what the engine takes; the rest of a batch is the loss, gathering gradients, and Adam.
    """

    def __init__(self, task: Task, meter: Meter, options: Mapping[str, Any]) -> None:
        super().__init__(task, meter, options)
        self.target: Target = options.get("target", "cpp_standalone")
        self.simulation: Any
        self.simulation, passes = self.start(task)
        for name in ("forward", "backward"):
            setattr(passes, name, meter.timed(name, getattr(passes, name)))
        self.values = {key: np.array(value) for key, value in self.simulation.network.trainable().items()}
        self.optimiser = Adam(RATE)
        (source,) = self.simulation.network.inputs
        self.input = source.name
        self.hidden = self.simulation.network.populations[0].name
        self._spikes = float("nan")

    def start(self, task: Task) -> tuple[GradientSource, Any]:
        """Make a simulation; returns also what has the methods ``forward`` and ``backward`` of its passes."""
        simulation = Simulation(
            network_of(task),
            loss_of(task),
            batch_size=self.batch_size,
            target=self.target,
            input_gradients=False,
        )
        return simulation, simulation._engine

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


class CallsContender(PackageContender):
    """The same, many batches in a call, as `train` has them trained on where nothing in Python looks in between."""

    def __init__(self, task: Task, meter: Meter, options: Mapping[str, Any]) -> None:
        super().__init__(task, meter, options)
        self.together = max(1, TOGETHER // self.batch_size)

    def steps(self, batches: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
        """Train on several batches."""
        with self.meter.section("batch", len(batches)):
            given = [({self.input: times}, labels) for times, labels in batches]
            outcomes = self.simulation.fit(given, self.values, self.optimiser)
        self._spikes = outcomes[-1].spikes[self.hidden]

class SynapsesContender(PackageContender):
    """`GridSimulation`, Brian2 Synapses on a time grid, at the task's dt; writing inputs is no part of its passes."""

    def start(self, task: Task) -> tuple[GradientSource, Any]:
        """Make a simulation; see `PackageContender.start`."""
        simulation = GridSimulation(
            network_of(task),
            loss_of(task),
            batch_size=self.batch_size,
            dt=task.settings["dt"],
            target="cpp_standalone",
            input_gradients=False,
        )
        return simulation, simulation._session


CONTENDERS: dict[str, type[Contender]] = {
    "limit": LimitContender,
    "grid": GridContender,
    "package": PackageContender,
    "calls": CallsContender,
    "synapses": SynapsesContender,
}

if __name__ == "__main__":
    serve(CONTENDERS[sys.argv.pop(1)], __version__)
