"""A spike-coding network derived from a loss with a cost of one's own; its price is changed while the network runs.

The cost is written as an equation: the square of each neuron's spikes, filtered with 50 ms. Its derivative moves the
threshold of a neuron that has spiked, and the price says how much: fewer spikes, larger error, and the same weights.
"""

import matplotlib.pyplot as plt
import numpy as np

import snnmodels as snn
from snnmodels.coding import TimeCourse, Trace, golden_angle_decoder, log_uniform_norms, simulate, smooth_signal

loss = snn.joint_loss(
    {"fatigue": "price*a**2", "spikes": "0.002*r"},
    traces={"a": Trace("neuron", tau=0.05)},
    parameters={"price": 1e-4},
)
decoder = golden_angle_decoder(40, log_uniform_norms(40, 0.05, 0.4))
price = TimeCourse(np.array([1e-4, 1e-4, 1e-2, 1e-2]), 0.5)  # raised after a second
network = snn.CodingNetwork(decoder, loss, {"price": price})
response = simulate(network, smooth_signal(2.0))

late = response.times > 1.0
for name, when in (("low", ~late), ("high", late)):
    error = ((response.target - response.estimate) ** 2).sum(axis=1)[when].mean()
    rate = np.isin(response.spike_steps, np.flatnonzero(when)).sum() / (when.sum() * response.signal.dt)
    print(f"price {name}: {rate:.0f} spikes per second, squared error {error:.4f}")

figure, axes = plt.subplots(2, 1, figsize=(7, 5), sharex=True, layout="constrained")
snn.plots.coding_error(response.times, response.target.T, response.estimate.T, axes[0])
spikes = snn.padded_spikes(response.spike_neurons, response.spike_times, decoder.shape[1])
snn.plots.raster(spikes, axes[1], duration=2.0)
figure.savefig("coding_network.png", dpi=150)
