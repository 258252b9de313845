"""An ordinary script of Brian2, with recurrence, delays and refractory periods, and its exact gradient.

The script stays as it is; `from_brian2` reads its objects. Training moves the first spikes of two cells to where they
are wanted, by all weights, and the weights go back into the script, which Brian2 then runs.
"""

import brian2 as b2
import matplotlib.pyplot as plt
import numpy as np
from brian2 import ms, mV

import snnmodels as snn

# the script
b2.seed(4)
b2.prefs.codegen.target = "numpy"
equations = """
dv/dt = (-60*mV - v + ge + gi)/(20*ms) : volt (unless refractory)
dge/dt = -ge/(5*ms) : volt
dgi/dt = -gi/(10*ms) : volt
"""
cells = b2.NeuronGroup(100, equations, threshold="v > -50*mV", reset="v = -60*mV", refractory=3 * ms, method="exact",
                       name="cells")  # fmt: skip
cells.v = "-60*mV + 8*mV*rand()"
afferents = b2.SpikeGeneratorGroup(20, np.arange(60) % 20, np.linspace(1, 45, 60) * ms, name="afferents")
drive = b2.Synapses(afferents, cells, "w : volt", on_pre="ge += w", name="drive")
drive.connect(p=0.5)
drive.w = "(4 + 3*rand())*mV"
excitation = b2.Synapses(cells[:80], cells, "w : volt", on_pre="ge += w", delay=1.5 * ms, name="excitation")
excitation.connect(p=0.1)
excitation.w = 1.5 * mV
inhibition = b2.Synapses(cells[80:], cells, "w : volt", on_pre="gi -= w", delay=1 * ms, name="inhibition")
inhibition.connect(p=0.1)
inhibition.w = 6 * mV

# its gradient
network = snn.from_brian2([cells, afferents, drive, excitation, inhibition], output=cells, duration=50 * ms)
wanted = np.full((1, 100, 1), np.inf)  # nothing is asked of the others
wanted[0, :2, 0] = [12e-3, 20e-3]  # seconds
with snn.Simulation(network, snn.SpikeTimeError(tau=5 * ms), batch_size=1, target="cpp_standalone") as simulation:
    outcome = simulation.run(network.trial, wanted)
    before = simulation.spike_times("cells")
    result = snn.train(simulation, (network.trial, wanted), snn.Adam(0.05e-3), epochs=150, batch_size=1, progress=False)
print(outcome)

# back into the script, which Brian2 runs
network.to_brian2(result.values)
monitor = b2.SpikeMonitor(cells)
b2.run(50 * ms)
after = snn.padded_spikes(monitor)
for k in range(2):
    first, goal, now = (1e3 * times[0, k, 0] for times in (before, wanted, after))
    print(f"cell {k}: first spike at {first:.2f} ms, wanted at {goal:.0f} ms, in Brian2 now at {now:.1f} ms")

figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
snn.plots.raster({"before": before, "in Brian2": after}, axes[0], duration=50 * ms)
snn.plots.weights(1e3 * outcome.gradients["drive.w"], axes[1])
axes[1].set_title("gradient by the weights of the drive", fontsize="medium")
figure.savefig("brian2_network.png", dpi=150)
