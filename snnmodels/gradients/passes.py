"""A batch that went forward through a simulation, and goes backward whatever the simulation has run since."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

from ..events.engine import SimulationError
from ..losses.base import Observed

__all__ = ["ForwardPass"]


class _Runs(Protocol):
    """What a pass asks of its simulation."""

    @property
    def lock(self) -> AbstractContextManager[Any]: ...

    @property
    def runs(self) -> int: ...

    def holds(self, run: int) -> bool: ...

    def forward(
        self, inputs: Mapping[str, np.ndarray], values: Mapping[str, np.ndarray] | None = None, *, gradient: bool = True
    ) -> Observed: ...

    def backward(self, derivative: Observed) -> dict[str, np.ndarray]: ...


class ForwardPass:
    """A batch that went forward; `Simulation.forward_pass` makes it. For graphs in which passes overlap.

    `Simulation.backward` differentiates whatever batch went through last. A pass differentiates its own: inputs and
    values are copied, and where the simulation has run another batch since, it simulates its own again before it goes
    backward, to the same bits. Passes of one simulation may be used from several threads; they take turns.

    Attributes
    ----------
    observed : array or tuple of array
        As `Simulation.forward` returns; not to be written to.
    """

    def __init__(
        self,
        simulation: _Runs,
        inputs: Mapping[str, np.ndarray],
        values: Mapping[str, np.ndarray] | None,
        *,
        gradient: bool,
    ) -> None:
        self._simulation, self._gradient = simulation, gradient
        with simulation.lock:
            self.observed = simulation.forward(inputs, values, gradient=gradient)
            self._run = simulation.runs
        for array in self.arrays:
            array.flags.writeable = False
        if gradient:
            self._inputs = {name: np.array(x, subok=True) for name, x in inputs.items()}
            self._values = {key: np.array(x, subok=True) for key, x in (values or {}).items()}

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """What was observed, as a tuple even where it is one array."""
        return _arrays(self.observed)

    def backward(self, derivative: Observed) -> dict[str, np.ndarray]:
        """Gradients of this batch for a derivative by `observed`; any number of times.

        Parameters
        ----------
        derivative : array or tuple of array
            In the shapes of `observed`; by a spike time that is ``inf`` it must be 0.

        Returns
        -------
        dict of str to array
            As `Outcome.gradients`.

        Raises
        ------
        ValueError, SimulationError
            As `Simulation.backward`; and if the pass was made with ``gradient=False``.
        """
        if not self._gradient:
            raise ValueError("backward: this pass was made with gradient=False")
        simulation = self._simulation
        with simulation.lock:
            if not simulation.holds(self._run):
                again = simulation.forward(self._inputs, self._values)
                self._run = simulation.runs
                pairs = zip(_arrays(again), self.arrays, strict=True)
                if not all(np.array_equal(x, y) for x, y in pairs):
                    raise SimulationError("a batch that was simulated again came out differently; please report this")
            return simulation.backward(derivative)


def _arrays(observed: Observed) -> tuple[np.ndarray, ...]:
    return observed if isinstance(observed, tuple) else (observed,)
