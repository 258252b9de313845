"""
A spike-coding network from a loss
==================================

A network that codes a signal in spikes, with no training: from a loss on coding error and activity its thresholds and
weights follow, and one number trades precision against energy while it runs.
"""

import matplotlib.pyplot as plt
import numpy as np

import snnmodels as snn
from snnmodels.coding import TimeCourse, Trace, golden_angle_decoder, log_uniform_norms, simulate, smooth_signal

# %%
# The signal has two dimensions. A neuron that spikes adds its column of the decoder to the estimate, which decays
# between spikes; here there are fine and coarse neurons in all directions. A spike is emitted where it lowers the loss:
# that is the threshold, and the effect of one neuron's spike on the others' loss is the weight between them. The cost
# of activity is the square of a trace of each neuron's spikes, so that each spike makes the next one dearer.

decoder = golden_angle_decoder(40, log_uniform_norms(40, 0.05, 0.4))
loss = snn.joint_loss(
    {"fatigue": "price*a**2", "spikes": "0.002*r"},
    traces={"a": Trace("neuron", tau=0.05)},
    parameters={"price": 1e-4},
)
network = snn.CodingNetwork(decoder, loss)
print(network)

signal = smooth_signal(2.0)
response = simulate(network, signal)
print(f"{len(response.spike_times)} spikes in {signal.duration:g} s")

figure, axes = plt.subplots(2, 1, figsize=(7, 4.5), sharex=True, layout="constrained")
axes[0].plot(1e3 * response.times, response.target, linewidth=1)
axes[0].plot(1e3 * response.times, response.estimate, linewidth=0.7, color="k")
axes[0].set_ylabel("signal, estimate")
spikes = snn.padded_spikes(response.spike_neurons, response.spike_times, decoder.shape[1])
snn.plots.raster(spikes, axes[1], duration=signal.duration)

# %%
# The price is the knob. The same network, its weights untouched, with other prices:

prices = np.geomspace(1e-4, 1e-2, 7)
errors, rates = [], []
for price in prices:
    run = simulate(snn.CodingNetwork(decoder, loss, {"price": price}), signal)
    errors.append(((run.target - run.estimate) ** 2).sum(axis=1).mean())
    rates.append(len(run.spike_times) / signal.duration)
print(f"{rates[0]:.0f} to {rates[-1]:.0f} spikes per second, squared error {errors[0]:.2g} to {errors[-1]:.2g}")

figure, axis = plt.subplots(figsize=(4.5, 3.2), layout="constrained")
axis.semilogy(rates, errors, "o-")
axis.set(xlabel="spikes per second, all neurons", ylabel="squared coding error")

# %%
# It may be moved while the network runs: here it is raised after one second.

raised = TimeCourse(np.array([prices[0], prices[0], prices[-1], prices[-1]]), 0.5)
run = simulate(snn.CodingNetwork(decoder, loss, {"price": raised}), signal)
figure, axis = plt.subplots(figsize=(7, 2.6), layout="constrained")
snn.plots.coding_error(run.times, run.target.T, run.estimate.T, axis)

# %%
# Each cost gives its own threshold adaptation, and costs are equations of your own. The derivation is on the
# page about spike-coding networks.
