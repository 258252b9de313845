"""What tests of library models share: one neuron at a constant current, and its equations as functions."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import sympy as sp

from snnmodels.gradients import Simulation
from snnmodels.gradients.probe import SmoothSpikeTimes
from snnmodels.symbolic.declaration import hybrid_system
from snnmodels.templates import Model, Network, Population, Projection, SpikeInput, load_model

MS, MV, PA, NA, NS = 1e-3, 1e-3, 1e-12, 1e-9, 1e-9
# a receptor that drives nothing, so that the input stays a constant parameter of the model
UNDRIVEN = "population_trace"


@functools.cache
def undriven(name: str) -> Model:
    """A model of the library whose input is a parameter."""
    return load_model(name, UNDRIVEN)


def spike_train(
    model: str | Model, duration: float, *, target: str = "numpy", tolerance: float = 1e-10, **parameters: Any
) -> np.ndarray:
    """Spike times in ms of one neuron at constant input, for a duration in ms; parameters are in SI units."""
    model = undriven(model) if isinstance(model, str) else model
    network = Network(
        "one",
        (SpikeInput("none", 1),),
        (Population("neuron", 1, model, parameters),),
        (Projection("w", "none", "neuron", np.zeros((1, 1))),),
        "neuron",
        duration * MS,
    )
    options: Any = {"target": target, "tolerance": tolerance, "max_spikes": 4096, "input_gradients": False}
    with Simulation(network, SmoothSpikeTimes(), batch_size=1, **options) as simulation:
        simulation.run({"none": np.full((1, 1, 1), np.inf)}, np.zeros(1, dtype=int), gradient=False)
        times = simulation.spike_times("neuron")[0, 0]
    return times[np.isfinite(times)] / MS


class Equations:
    """The states' rates, without receptors, as functions of numbers in SI units.

    Parameters
    ----------
    name : str
        Of a neuron of the library.
    **parameters
        That differ from the defaults.
    """

    def __init__(self, name: str, **parameters: float) -> None:
        system = hybrid_system(undriven(name))
        self.states = [x for x in system.states if x.name != "B" and not x.name.startswith("_")]
        values = {p: parameters.get(p.name, v) for p, v in system.defaults.items() if p.name != "I_syn"}
        self.input = next(p for p in system.parameters if p.name == "I_syn")
        f = sp.Matrix([system.f[x] for x in self.states]).xreplace(values)
        self.rates = self._function(f)
        self.jacobian = self._function(f.jacobian(self.states))

    def _function(self, matrix: sp.Matrix) -> Callable[[Any, float], np.ndarray]:
        compiled = sp.lambdify([self.states, self.input], matrix, "numpy")
        return lambda x, current: np.array(compiled(list(x), current), dtype=float)


Parameters = Mapping[str, float]
