"""
From a Brian2 script to its gradient
====================================

A script as you have it: `from_brian2` reads its objects, the gradient is that of the script's limit for small steps,
and trained values go back into it.
"""

import brian2 as b2
import matplotlib.pyplot as plt
import numpy as np
from brian2 import ms, mV

import snnmodels as snn

b2.seed(1)
b2.prefs.codegen.target = "numpy"

# %%
# Twenty excitatory and five inhibitory cells, driven by ten inputs. Nothing here is of snnmodels.

tau_m, v_rest, v_th = 20 * ms, -60 * mV, -50 * mV
equations = """
dv/dt = (v_rest - v + ge + gi)/tau_m : volt (unless refractory)
dge/dt = -ge/(5*ms) : volt
dgi/dt = -gi/(10*ms) : volt
"""
cells = b2.NeuronGroup(25, equations, threshold="v > v_th", reset="v = v_rest", refractory=2 * ms, method="exact",
                       name="cells")  # fmt: skip
cells.v = v_rest
source = b2.SpikeGeneratorGroup(10, np.arange(40) % 10, np.linspace(1, 40, 40) * ms, name="source")
drive = b2.Synapses(source, cells, "w : volt", on_pre="ge += w", name="drive")
drive.connect(p=0.6)
drive.w = "(6 + 4*rand())*mV"
inhibition = b2.Synapses(cells[20:], cells[:20], "w : volt", on_pre="gi -= w", delay=1 * ms, name="inhibition")
inhibition.connect(p=0.5)
inhibition.w = 4 * mV

# %%
# `from_brian2` makes a network of the objects. Numbers of the script become parameters, and those in `learnable` get a
# gradient. `network.trial` holds the script's own input.

network = snn.from_brian2(
    [cells, source, drive, inhibition], output=cells, duration=50 * ms, learnable={"cells": ["tau_m", "v_th"]}
)
print(network)

# %%
# The loss asks the first two cells for their first spike at other times, and the others for nothing.

wanted = np.full((1, 25, 1), np.inf)
wanted[0, :2, 0] = [13e-3, 28e-3]  # seconds
with snn.Simulation(network, snn.SpikeTimeError(tau=5 * ms), batch_size=1) as simulation:
    outcome = simulation.run(network.trial, wanted)
    before = simulation.spike_times("cells")
print(outcome)

figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
snn.plots.weights(outcome.gradients["drive.w"], axis)
axis.set_title("gradient of the loss by the weights of the drive", fontsize="medium")

# %%
# Training steps all weights, and the two numbers of the script. Each has its own scale: weights are of millivolts, the
# time constant is 0.02 seconds.

optimiser = snn.Adam(0.1e-3, scales={"cells.tau_m": 0.2, "cells.v_th": 0.2})
with snn.Simulation(network, snn.SpikeTimeError(tau=5 * ms), batch_size=1) as simulation:
    result = snn.train(simulation, (network.trial, wanted), optimiser, epochs=100, batch_size=1, progress=False)
print("loss", outcome.loss, "->", result.history.epochs[-1].train_loss)

# %%
# The values go back into the script, which Brian2 runs, on its time grid. `v_th` and `tau_m` are numbers of the script
# outside of its objects, which go to the namespace of the group.

network.to_brian2(result.values)
monitor = b2.SpikeMonitor(cells)
b2.run(50 * ms)
after = snn.padded_spikes(monitor)
for k in range(2):
    first, now, goal = (1e3 * spikes[0, k, 0] for spikes in (before, after, wanted))
    print(f"cell {k}: {first:.2f} ms -> {now:.2f} ms, wanted {goal:g} ms")

figure, axis = plt.subplots(figsize=(7, 3), layout="constrained")
snn.plots.raster({"before": before, "in Brian2, trained": after}, axis, duration=50 * ms)
