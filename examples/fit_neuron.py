"""A neuron fitted to a recording: spikes of one second, and a template at the end.

The recording is made here, by a neuron whose parameters are known; yours is arrays, or a file for
`snn.read_recording`.
"""

import numpy as np
from brian2 import ms, mV, pA, pF

import snnmodels as snn
from snnmodels.fitting import as_recording, write_report
from snnmodels.fitting.result import simulate_sweeps

rng = np.random.default_rng(0)
current = 380e-12 + 150e-12 * np.repeat(rng.normal(size=200), 5)  # ampere; samples of 1 ms
truth = {"C_m": 200e-12, "v_th": -53e-3, "t_ref": 3e-3}  # SI units
silent = as_recording(current, 1 * ms, [])
((spikes, _),) = simulate_sweeps(snn.load_model("lif_current"), silent, truth, "I_syn")

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
for name, value in truth.items():
    print(f"{name}: off by {abs(result.values[name] / value - 1):.0e}")

write_report(result, "fit_neuron")  # fitted.toml, fit.json, fit.png
print(snn.load_model("fit_neuron/fitted.toml"))
