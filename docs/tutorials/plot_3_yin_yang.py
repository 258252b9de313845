"""
Training on Yin-Yang
====================

A task of two dimensions that no linear classifier solves, coded in spike times. The network of Wunderlich & Pehle
(2021): five inputs, one hidden layer, three outputs, and the class is the output that spikes first.
"""

import matplotlib.pyplot as plt
import numpy as np

import snnmodels as snn
from snnmodels.datasets import CLASS_NAMES, yin_yang_latency, yin_yang_split

# %%
# A sample is a point and its mirror; the encoder turns four numbers into five spike times, the last one a fixed one.

training, test = yin_yang_split("train"), yin_yang_split("test")
print(training.samples[0], "->", 1e3 * yin_yang_latency(training.samples[:1])[0], "ms")

figure, axis = plt.subplots(figsize=(4, 4), layout="constrained")
for label, name in enumerate(CLASS_NAMES):
    points = training.samples[training.labels == label]
    axis.plot(points[:, 0], points[:, 1], ".", markersize=3, label=name)
axis.set_aspect("equal")
axis.legend()

# %%
# The network is a file of the library, and anything in it can be changed. `Trials` joins samples, labels and encoder.

network = snn.load_network("yin_yang", hidden={"n": 60})
sets = {
    "train": snn.Trials({"input": training.samples[:2000]}, training.labels[:2000], yin_yang_latency),
    "test": snn.Trials({"input": test.samples}, test.labels, yin_yang_latency),
}

# %%
# The compiled target keeps a program alive between batches. 20 epochs take seconds; published are 300 epochs of 5000
# samples with 200 hidden neurons.

optimiser = snn.Adam(snn.ExponentialDecay(5e-3, 0.95))
with snn.Simulation(network, snn.TTFSCrossEntropy(), batch_size=32, target="cpp_standalone") as simulation:
    result = snn.train(simulation, sets["train"], optimiser, epochs=20, batch_size=32, progress=False)
    held_out = snn.evaluate(simulation, sets["test"], result.values)
    simulation.run({"input": yin_yang_latency(test.samples[:32])}, test.labels[:32], result.values, gradient=False)
    outputs = simulation.spike_times("output")[:, :, 0]
print(f"{100 * (1 - held_out.error):.1f} % of {len(test.labels)} samples that it was not trained on")
snn.plots.learning_curves(result.history, measure="error")

# %%
# What the outputs do: the first spike of each for some samples, and the one that should come first.

figure, axis = plt.subplots(figsize=(7, 3), layout="constrained")
for k, name in enumerate(CLASS_NAMES):
    axis.plot(1e3 * outputs[:, k], "o", markersize=4, label=name)
right = np.take_along_axis(outputs, test.labels[:32, None], axis=1)[:, 0]
axis.plot(1e3 * right, "ks", markersize=9, fillstyle="none", label="the label's")
axis.set(xlabel="sample", ylabel="first spike (ms)")
axis.legend(ncols=4, fontsize="small")

# %%
# What was trained is kept in a network's file; the arrays are beside it. The settings and results of the published
# experiment, over 20 seeds, are on the page about training.

snn.save_network(snn.with_values(network, result.values), "yin_yang_trained.toml")
