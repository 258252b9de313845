"""What the weights of spikes are multiplied by, from the spike times of their neuron: by matrix exponentials.

Derivatives are those of a complex step (Squire & Trapp 1998, SIAM Rev. 40:110), so that nothing here is an adjoint.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.linalg
import sympy as sp

from ..symbolic.declaration import source_system
from ..symbolic.system import HybridSystem
from ..templates.network import Network

Array = np.ndarray

_STEP = 1e-40  # far below rounding: the derivative's error is its square


class Amplitudes:
    """The states of one source neuron for a projection, as a function of its spike times and of parameters."""

    def __init__(self, system: HybridSystem, values: dict[str, float]) -> None:
        x, p = system.states, system.parameters
        zero = dict.fromkeys(x, 0)
        rates = sp.Matrix([system.f[s] for s in x])
        matrix = rates.jacobian(list(x)).row_join(rates.xreplace(zero))
        self.parameters = tuple(s.name for s in p)
        self.values = np.array([values[n] for n in self.parameters], dtype=complex)
        modules = [{"Step": lambda z: float(np.real(z) > 0)}, "numpy"]
        self._matrix = sp.lambdify([p], matrix, modules=modules)
        jump = system.arrivals["spike"].jump
        self._jump = sp.lambdify([x, p], [jump[s] for s in x], modules=modules)
        self._initial = sp.lambdify([p], [system.initial[s] for s in x], modules=modules)

    def of(self, times: Sequence[float] | Array, values: Array | None = None) -> Array:
        """The amplitude of each spike of a neuron.

        Parameters
        ----------
        times : array, shape (k,)
            All its spikes so far, in seconds.
        values : array, shape (n_parameters,), optional
            Complex where derivatives are wanted.
        """
        p = self.values if values is None else values
        x = np.array([*self._initial(p), 1.0], dtype=complex)
        flow = np.zeros((x.size, x.size), dtype=complex)
        flow[:-1] = self._matrix(p)
        last, found = 0.0, []
        for t in times:
            x = scipy.linalg.expm(flow * (t - last)) @ x
            x[:-1] = self._jump(x[:-1], p)
            last = t
            found.append(x[-2])
        return np.array(found)

    def derivatives(self, times: Sequence[float]) -> tuple[Array, Array]:
        """Of each amplitude by each time, shape (k, k), and by each parameter, shape (k, n_parameters)."""
        steps = 1j * _STEP * np.eye(len(times))
        by_time = [self.of(np.asarray(times) + step).imag / _STEP for step in steps]
        moved = [self.values + 1j * _STEP * row for row in np.eye(self.values.size)]
        by_parameter = [self.of(times, v).imag / _STEP for v in moved]
        k = len(times)
        return np.reshape(by_time, (k, k)).T, np.reshape(by_parameter, (-1, k)).T


def amplitudes(network: Network) -> list[Amplitudes | None]:
    """Those of every projection, None where weights are multiplied by nothing."""
    targets = {p.name: p for p in network.populations}
    found: list[Amplitudes | None] = []
    for q in network.projections:
        target = targets[q.target]
        system = source_system(target.model, q.receptor)
        read = () if system is None else (p.name for p in system.parameters)
        values = {name: float(target.value(name)) for name in read}
        found.append(None if system is None else Amplitudes(system, values))
    return found
