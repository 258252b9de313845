"""Delays that are learned: the same spikes in six orders, which weights alone hardly tell apart.

Eight channels spike once each, in one of six orders, with a jitter and a shift that all share. Six output neurons with
a short memory see them directly; the one that spikes first names the order. From the same beginning, weights are
learned, or weights and delays.
"""

import matplotlib.pyplot as plt
import numpy as np
from brian2 import ms

import snnmodels as snn

rng = np.random.default_rng(1)
orders = np.array([rng.permutation(8) for _ in range(6)]) * 3e-3  # seconds


def draw(trials):
    """Spike times of each trial, and which order they are in."""
    labels = rng.integers(6, size=trials)
    shift, jitter = rng.uniform(0, 10e-3, (trials, 1)), rng.normal(0, 0.5e-3, (trials, 8))
    return np.maximum(orders[labels] + shift + jitter, 0), labels


training, test = draw(400), draw(1000)
network = snn.Network(
    "orders",
    inputs=[snn.SpikeInput("channels", 8)],
    populations=[snn.Population("out", 6, snn.load_model("lif+exp_synapse"), {"tau_m": 4 * ms, "tau_syn": 1 * ms})],
    projections=[
        snn.Projection(
            "", "channels", "out", rng.uniform(2.6, 3.0, (8, 6)), learnable=["w", "delay"], delay=np.full((8, 6), 5e-3)
        )
    ],
    output="out",
    duration=70 * ms,
)
weights, delays = "channels_out.w", "channels_out.delay"
begin, accuracy, trained = network.trainable(), {}, {}
with snn.Simulation(network, snn.TTFSCrossEntropy(), batch_size=20, target="cpp_standalone") as simulation:
    for learned in ((weights,), (weights, delays)):
        only = {delays: {"scales": {delays: 0.02}, "bounds": {delays: (0, 25e-3)}}}
        optimiser = snn.Adam(0.02, **(only[delays] if delays in learned else {}))
        values = {key: begin[key] for key in learned}
        result = snn.train(simulation, training, optimiser, epochs=40, batch_size=20, values=values, progress=False)
        accuracy[learned] = 1 - snn.evaluate(simulation, test, result.values, batch_size=20).error
        trained[learned] = result.values
for learned, right in accuracy.items():
    what = " and ".join(key.split(".")[1] for key in learned)
    print(f"{what} learned: {100 * right:.1f} % of {len(test[1])} new trials")

arrivals = orders[:, :, None] + trained[weights, delays][delays]  # orders, channels, neurons
figure, axes = plt.subplots(1, 2, figsize=(8, 3), sharey=True, layout="constrained")
for k, ax in enumerate(axes):
    for order in range(6):
        look = {"color": snn.plots.PALETTE[0], "s": 30, "zorder": 3} if order == k else {"color": "0.8", "s": 12}
        ax.scatter(1e3 * arrivals[order, :, k], np.arange(8), **look)
    ax.set(title=f"arrivals at neuron {k}: its order (blue), others", xlabel="time (ms)", ylabel="" if k else "channel")
figure.savefig("delays.png", dpi=150)
