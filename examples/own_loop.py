"""A training loop of one's own: a schedule, gradients clipped to a norm, and a stop where the loss is low enough.

Four trials, in each of which one neuron is to spike at its own time.
"""

import matplotlib.pyplot as plt
import numpy as np
from brian2 import ms

import snnmodels as snn

rng = np.random.default_rng(0)
lif = snn.load_model("lif+exp_synapse")
network = snn.Network(
    "times",
    inputs=[snn.SpikeInput("in", 12)],
    populations=[snn.Population("hidden", 20, lif), snn.Population("out", 1, lif, learnable=["tau_m"])],
    projections=[
        snn.Projection("", "in", "hidden", rng.normal(1.0, 0.8, (12, 20))),
        snn.Projection("", "hidden", "out", rng.normal(0.4, 0.4, (20, 1))),
    ],
    output="out",
    duration=40 * ms,
)
inputs = {"in": rng.uniform(0, 10e-3, (4, 12))}  # seconds; trials, sources
wanted = np.array([10e-3, 12e-3, 14e-3, 16e-3]).reshape(4, 1, 1)  # trials, neurons, spikes

optimiser = snn.Adam(snn.ExponentialDecay(0.02, 0.99), scales={"out.tau_m": 1e-2}, bounds={"out.tau_m": (5e-3, 50e-3)})
values, losses = network.trainable(), []
with snn.Simulation(network, snn.SpikeTimeError(tau=2 * ms), batch_size=4, target="cpp_standalone") as simulation:
    for epoch in range(300):
        optimiser.start_epoch(epoch)  # the schedule's rate
        outcome = simulation.run(inputs, wanted, values)
        losses.append(outcome.loss)
        if outcome.loss < 1e-3 and not outcome.silent:
            break
        gradients = {key: outcome.gradients[key] for key in values}
        norm = np.sqrt(sum(float((g**2).sum()) for g in gradients.values()))
        optimiser.step(values, {key: g / max(1.0, norm) for key, g in gradients.items()})
    times = simulation.spike_times("out")[:, 0, 0]

print(f"after {len(losses)} steps: spikes at {', '.join(f'{1e3 * t:.2f}' for t in times)} ms")
plt.figure(figsize=(5, 3), layout="constrained")
plt.semilogy(losses)
plt.xlabel("step")
plt.ylabel("mean squared error / (2 ms)²")
plt.savefig("own_loop.png", dpi=150)
