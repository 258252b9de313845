"""
Fitting a neuron to a recording
===============================

A current was injected, spikes were recorded: which parameters of a model give those spikes? Here the "recording" is
made by a neuron whose parameters are known, so that one can see whether they come back.
"""

import matplotlib.pyplot as plt
import numpy as np
from brian2 import ms, mV, pA, pF

import snnmodels as snn
from snnmodels.fitting import as_recording
from snnmodels.fitting.result import simulate_sweeps

# %%
# A frozen noisy current of one second, and the neuron that is to be found.

rng = np.random.default_rng(0)
current = 380e-12 + 150e-12 * np.repeat(rng.normal(size=200), 5)  # ampere; samples of 1 ms
truth = {"C_m": 200e-12, "v_th": -53e-3, "t_ref": 3e-3}  # SI units
silent = as_recording(current, 1 * ms, [])
((spikes, _),) = simulate_sweeps(snn.load_model("lif_current"), silent, truth, "I_syn")
print(len(spikes), "spikes")

figure, axis = plt.subplots(figsize=(7, 2.5), layout="constrained")
axis.plot(np.arange(1000), 1e12 * current, linewidth=0.8)
axis.plot(1e3 * np.asarray(spikes), np.full(len(spikes), 1e12 * current.max()), "k|")
axis.set(xlabel="time (ms)", ylabel="current (pA)")

# %%
# `fit` takes a model, the recording, and bounds of what is free. It begins where the likelihood of the recorded spikes
# leads, searches with many candidates at once, which are neurons of one compiled population, and ends with steps on the
# exact derivatives of the spike times.

result = snn.fit(
    "lif_current",
    current=current * 1e12 * pA,
    dt=1 * ms,
    spikes=spikes,
    free={"C_m": (80 * pF, 400 * pF), "v_th": (-60 * mV, -45 * mV), "t_ref": (1 * ms, 6 * ms)},
    generations=40,
    candidates=48,
    progress=False,
)
print(result)

# %%
# The neuron's own parameters come back, as its spikes have no noise. Those of a real neuron do not, and the result says
# how well each is known.

for name, value in truth.items():
    print(f"{name}: {result.values[name]:.6g}, made with {value:.6g}")

# %%
# A fitted model is a model: it is simulated, combined with synapses and trained as any other.

((again, _),) = simulate_sweeps(snn.load_model("lif_current"), silent, result.values, "I_syn")
print("the same spikes:", len(again) == len(spikes) and bool(np.allclose(again, spikes, atol=1e-6)))
