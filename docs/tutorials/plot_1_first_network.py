"""
A first network, and its gradient
=================================

Two neurons driven by three spikes: what comes out, how a loss on it changes with every weight, and that this is right.
"""

import matplotlib.pyplot as plt
import numpy as np
from brian2 import ms

import snnmodels as snn
from snnmodels.losses import Samples, SpikeTimes

# %%
# A model is a template of the library, or a file of yours. This one is a leaky integrate-and-fire neuron whose synapses
# make a current that decays exponentially; it has no units, its threshold is 1.

model = snn.load_model("lif+exp_synapse")
print(model)

# %%
# Populations, inputs and projections make a network. Times are in seconds, or in Brian2's units; weights have the shape
# (sources, targets).

network = snn.Network(
    "first",
    inputs=[snn.SpikeInput("in", 3)],
    populations=[snn.Population("cells", 2, model, {"tau_m": 15 * ms}, learnable=["tau_m"])],
    projections=[
        snn.Projection("in_cells", "in", "cells", np.array([[2.5, 1.0], [3.0, 2.0], [1.0, 3.5]]), delay=1 * ms)
    ],
    output="cells",
    duration=40 * ms,
)

# %%
# A batch is an array of spike times by input, of shape (trials, sources, spikes), in seconds; what has fewer spikes is
# filled with ``inf``. To look at what happens, let a simulation read potentials and spikes.

times = np.array([[[2e-3, 18e-3], [5e-3, np.inf], [8e-3, 20e-3]]])
with snn.Simulation(network, [Samples(variable="v", interval=0.1e-3), SpikeTimes()], batch_size=1) as simulation:
    v, spikes = simulation.forward({"in": times}, gradient=False)
print("spikes at", 1e3 * spikes[0], "ms")

t = 0.1 * np.arange(1, v.shape[2] + 1)
figure, axis = plt.subplots(figsize=(7, 3), layout="constrained")
for k in range(2):
    axis.plot(t, v[0, k], label=f"cell {k}")
    axis.plot(1e3 * spikes[0, k][np.isfinite(spikes[0, k])], np.full(np.isfinite(spikes[0, k]).sum(), 1.05), "k|")
axis.axhline(1.0, color="grey", linewidth=0.8)
axis.set(xlabel="time (ms)", ylabel="membrane potential")
axis.legend()

# %%
# There is no time step: the spikes are where the potential crosses the threshold, to rounding. A loss makes a number of
# them, and the gradient comes with it. Here the first spike of each cell is wanted at another time.

wanted = np.array([[[8e-3], [12e-3]]])  # trials, neurons, spikes
with snn.Simulation(network, snn.SpikeTimeError(tau=1 * ms), batch_size=1) as simulation:
    outcome = simulation.run({"in": times}, wanted)
print(outcome)
print(outcome.gradients["in_cells.w"])  # of the loss, by each weight
print(outcome.gradients["cells.tau_m"])  # per second

# %%
# That is the derivative of the simulated loss. Take one weight, and change it:

weights, step = np.array(network.projections[0].weights), 1e-5


def loss(change):
    """The loss with the first weight of the second source changed."""
    moved = weights.copy()
    moved[1, 0] += change
    with snn.Simulation(network, snn.SpikeTimeError(tau=1 * ms), batch_size=1) as simulation:
        return simulation.run({"in": times}, wanted, {"in_cells.w": moved}, gradient=False).loss


difference = (loss(step) - loss(-step)) / (2 * step)
exact = outcome.gradients["in_cells.w"][1, 0]
print(f"differences {difference:.8f}, gradient {exact:.8f}")

# %%
# `check_gradient` does so for everything, and compares with an event-driven reference that shares no code with the
# engine.

report = snn.check_gradient(network, loss=snn.SpikeTimeError(tau=1 * ms), inputs={"in": times}, targets=wanted)
print(report.verdict, {row.key: f"{row.oracle:.0e}" for row in report.rows})

# %%
# A few steps along the gradient bring the spikes where they are wanted.

optimiser = snn.Adam(0.02, scales={"cells.tau_m": 1e-2}, bounds={"cells.tau_m": (5e-3, 50e-3)})
with snn.Simulation(network, snn.SpikeTimeError(tau=1 * ms), batch_size=1) as simulation:
    result = snn.train(simulation, ({"in": times}, wanted), optimiser, epochs=200, batch_size=1, progress=False)
    simulation.run({"in": times}, wanted, result.values, gradient=False)
    trained = simulation.spike_times("cells")[0, :, 0]
print("first spikes at", 1e3 * trained, "ms; wanted at", 1e3 * wanted[0, :, 0])
snn.plots.learning_curves(result.history)
