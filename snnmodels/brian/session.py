"""Where an assembly runs: in this process, step by step, or as a compiled program (see worker.py)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import brian2
import numpy as np
from brian2 import Network, defaultclock, second

from ..targets.devices import alone, preferences, quiet
from .assembly import Assembly
from .initialisation import Copy, Fill, Initialisation
from .plan import Plan

__all__ = ["RuntimeSession", "Session"]


class Session(ABC):
    """Runs the forward and the backward simulation of a plan, again and again."""

    @abstractmethod
    def write(self, key: str, values: np.ndarray) -> None:
        """Set the first elements of an array of the assembly before a run.

        Parameters
        ----------
        key : str
            As in `Assembly.arrays`.
        values : array
            At most as many as there are elements; the shape doesn't matter.
        """

    @abstractmethod
    def forward(self) -> None:
        """Simulate all trials forward."""

    @abstractmethod
    def backward(self) -> None:
        """Simulate the adjoint of the last forward run backward."""

    @abstractmethod
    def read(self, key: str) -> np.ndarray:
        """Read an array of the assembly after a run (a view; copy it to keep it)."""

    @abstractmethod
    def close(self) -> None:
        """Release processes and files."""


class RuntimeSession(Session):
    """Brian2's runtime targets: the code objects are made once and stepped here.

    `brian2.Network.run` prepares all code again on every call, which would cost more than a short trial.

    Parameters
    ----------
    plan : Plan
    target : {"numpy", "cython"}

    Attributes
    ----------
    after_step : callable or None
        Called at the end of every step, when arrays can be read. After step k (from 0) of a forward run they hold the
        states at the time ``(k + 1) dt``; after step k of a backward run the costates at ``(steps - k - 1) dt``.
    """

    after_step: Callable[[], None] | None = None

    def __init__(self, plan: Plan, target: str) -> None:
        with alone():
            self._assemble(plan, target)

    def _assemble(self, plan: Plan, target: str) -> None:
        brian2.set_device("runtime")
        # Brian2 warns of code whose order could matter; here every name is assigned once
        with preferences({"codegen.target": target}), quiet():
            previous = defaultclock.dt
            defaultclock.dt = plan.dt * second
            try:
                self.assembly = Assembly(plan)
                for network in (self.assembly.forward, self.assembly.backward):
                    # what Network.run does before its loop
                    network._clocks = {x.clock for x in network.sorted_objects}
                    network.before_run({})
            finally:
                self._dt, defaultclock.dt = defaultclock.dt, previous

    def write(self, key: str, values: np.ndarray) -> None:
        """Set an array; see `Session.write`."""
        for variable in self.assembly.arrays[key]:
            variable.get_value()[: np.size(values)] = np.ravel(values)

    def read(self, key: str) -> np.ndarray:
        """Read an array; see `Session.read`."""
        return np.asarray(self.assembly.arrays[key][0].get_value())

    def forward(self) -> None:
        """Simulate forward; see `Session.forward`."""
        with alone():
            self._run(self.assembly.forward, self.assembly.initial_forward)

    def backward(self) -> None:
        """Simulate backward; see `Session.backward`."""
        with alone():
            self._run(self.assembly.backward, self.assembly.initial_backward)

    def _run(self, network: Network, initial: Initialisation) -> None:
        for item in initial:
            array = item.variable.get_value()
            match item:
                case Fill(value=value, stride=stride):
                    array[...] = value + stride * np.arange(array.size).reshape(array.shape) if stride else value
                case Copy(source=source, offset=offset):
                    array[...] = source.get_value() + offset
        previous = defaultclock.dt
        try:
            defaultclock.dt = self._dt
            defaultclock.set_interval(0 * second, self.assembly.duration)
            objects = [x for x in network.sorted_objects if x.active]
            with np.errstate(all="ignore"):
                for _ in range(self.assembly.plan.steps):
                    for x in objects:
                        x.run()
                    defaultclock.advance()
                    if self.after_step is not None:
                        self.after_step()
        finally:
            defaultclock.dt = previous

    def close(self) -> None:
        """Nothing to release."""
