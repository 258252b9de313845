"""Handwritten digits, 8 x 8 pixels: two hidden layers of LIF neurons, a layer of readouts, and a loss of one's own.

Brighter pixels spike earlier. The largest potential of each readout says how much the image looks like its digit; the
loss is their cross entropy, and a small price keeps potentials in bounds.
"""

import itertools

import matplotlib.pyplot as plt
import numpy as np
from brian2 import ms

import snnmodels as snn
from snnmodels.datasets import image_latency, load_digits

rng = np.random.default_rng(1)
sizes = {"pixels": 64, "first": 80, "second": 60, "digits": 10}
lif, readout = snn.load_model("lif+exp_synapse"), snn.load_model("leaky_integrator+exp_synapse")
network = snn.Network(
    "digits",
    inputs=[snn.SpikeInput("pixels", 64)],
    populations=[snn.Population(name, sizes[name], readout if name == "digits" else lif) for name in list(sizes)[1:]],
    projections=[
        snn.Projection("", a, b, rng.normal(12 / sizes[a], 8 / np.sqrt(sizes[a]), (sizes[a], sizes[b])))
        for a, b in itertools.pairwise(sizes)
    ],
    output="digits",
    duration=40 * ms,
)
loss = snn.ExpressionLoss(
    "log(sum_neurons(exp(maximum(v)/s))) - sum_neurons(is_label*maximum(v)/s) + price*sum_neurons(maximum(v)**2)",
    constants={"s": 1.0, "price": 0.01},
    score="maximum(v)",
)
training, test = (
    snn.Trials({"pixels": digits.images}, digits.labels, lambda pixels: image_latency(pixels, 20e-3))
    for digits in map(load_digits, ("train", "test"))
)
with snn.Simulation(network, loss, batch_size=32, target="cpp_standalone") as simulation:
    result = snn.train(simulation, training, snn.Adam(snn.ExponentialDecay(1e-2, 0.95)), epochs=20, progress=False)
    held_out = snn.evaluate(simulation, test, result.values)
    simulation.run(*test.take(slice(1)), result.values, gradient=False)
    spikes = {name: simulation.spike_times(name) for name in ("first", "second")}

print(f"{100 * (1 - held_out.error):.1f} % of {len(test)} digits that it was not trained on")
figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
snn.plots.raster(spikes, axes[0], duration=network.duration)
snn.plots.learning_curves(result.history, axes[1], measure="error")
figure.savefig("digits.png", dpi=150)
