"""A neuron of one's own as a TOML file: a leaky membrane, a sag that switches on below rest, and a dead time.

The file is all there is to it. `show` and `derive` of the command line read it, its gradient is checked against central
differences and an event-driven reference, and its parameters are learned.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from brian2 import ms, mV, nA

import snnmodels as snn
from snnmodels.losses import Samples, SpikeTimes

Path("sag_neuron.toml").write_text("""
kind = "neuron"
title = "Leaky integrate-and-fire neuron with a sag"
description = "Below v_sag a slow current pulls the membrane back: release from inhibition is followed by a rebound."
default_synapse = "exp_synapse"
equations = '''
dv/dt = (v_rest - v + R*I_syn + s)/tau_m : volt
ds/dt = (g_sag*(v_sag - v)*int(v < v_sag) - s)/tau_s : volt
'''
threshold = "v > v_th"
reset = "v = v_rest"
refractory = { duration = "t_ref", hold = ["v"] }

[inputs]
I_syn = { unit = "amp", scale = "1*nA", description = "synaptic current" }

[states]
v = { initial = "v_rest", scale = "10*mV", description = "membrane potential" }
s = { description = "sag, as a potential" }

[parameters]
tau_m = { default = "10*ms", unit = "second", description = "membrane time constant" }
tau_s = { default = "40*ms", unit = "second", description = "time constant of the sag" }
t_ref = { default = "2*ms", unit = "second", description = "absolute refractory period" }
R = { default = "20*Mohm", unit = "ohm", description = "membrane resistance" }
g_sag = { default = 3, unit = "1", description = "strength of the sag" }
v_rest = { default = "-65*mV", unit = "volt", description = "resting potential" }
v_sag = { default = "-70*mV", unit = "volt", description = "potential below which the sag is on" }
v_th = { default = "-55*mV", unit = "volt", description = "threshold" }
""")

model = snn.load_model("sag_neuron.toml")
report = snn.check_gradient(model, seed=1)
print(f"the gradient of {len(report.rows)} groups {report.verdict} with differences and reference")

# released from a current step, it spikes; how early is learned by the strength of the sag and its time constant
network = snn.Network(
    "rebound",
    inputs=[],
    currents=[snn.CurrentInput("step", 1, interval=10 * ms, unit="amp")],
    populations=[snn.Population("cell", 1, model, {"v_th": -63 * mV}, learnable=["g_sag", "tau_s"])],
    projections=[],
    drives=[snn.Drive("", "step", "cell", [[1.0]], learnable=False)],
    output="cell",
    duration=250 * ms,
)
current = np.where(np.arange(25) < 15, -1.5, 0.0)[None, None] * nA  # samples of 10 ms: trials, channels, samples
trial, wanted = {"step": np.asarray(current)}, np.full((1, 1, 1), 0.16)  # 10 ms after the release
optimiser = snn.Adam(0.05, transforms={"cell.g_sag": "log", "cell.tau_s": "log"})
with snn.Simulation(network, snn.SpikeTimeError(tau=5 * ms), batch_size=1, target="cpp_standalone") as simulation:
    result = snn.train(simulation, (trial, wanted), optimiser, epochs=60, batch_size=1, progress=False)
print({key: float(f"{value:.3g}") for key, value in result.values.items()})

figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
for values, colour in ((network.trainable(), "0.6"), (result.values, snn.plots.PALETTE[0])):
    with snn.Simulation(network, [Samples(interval=0.25 * ms), SpikeTimes()], batch_size=1) as simulation:
        v, spikes = simulation.forward(trial, values, gradient=False)
    t = 0.25e-3 * np.arange(1, v.shape[2] + 1)  # seconds
    snn.plots.traces(t, 1e3 * v[0], axes, unit="mV", spikes=spikes[0], color=colour)
    print(f"first spike {1e3 * (spikes[0, 0, 0] - 0.15):.2f} ms after the release")
figure.savefig("own_model.png", dpi=150)
