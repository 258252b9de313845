"""Known parameters come back from spikes alone, for five models: `pytest --run-slow -s` prints to how many digits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from brian2 import ms, mV, nS, pA, pF

import snnmodels as snn
from snnmodels.fitting import as_recording
from snnmodels.fitting.result import simulate_sweeps

DT, SAMPLES = 1e-3, 1000

# g_L and v_rest are given: spike times don't tell the scale and the origin of the potential
_LIF = {"C_m": (200e-12, 80 * pF, 400 * pF), "v_th": (-53e-3, -58 * mV, -45 * mV), "t_ref": (3e-3, 1 * ms, 6 * ms)}
_THRESHOLD = {"beta": (4e-3, 0 * mV, 10 * mV), "tau_a": (60e-3, 20 * ms, 300 * ms)}
_CURRENT = {"b": (60e-12, 0 * pA, 200 * pA), "tau_z": (80e-3, 20 * ms, 400 * ms)}
_ADEX = {
    "C_m": (250e-12, 80 * pF, 500 * pF), "v_T": (-51e-3, -58 * mV, -45 * mV), "t_ref": (3e-3, 1 * ms, 6 * ms),
    "a": (3e-9, 0 * nS, 10 * nS), **_CURRENT,
}  # fmt: skip

MODELS: dict[str, tuple[str, Mapping[str, tuple[float, Any, Any]]]] = {
    "LIF with refractoriness": ("lif_current", _LIF),
    "adaptive threshold": ("lif_current+adaptive_threshold", _LIF | _THRESHOLD),
    "spike-triggered current": ("lif_current+current_adaptation", _LIF | _CURRENT),
    "both": ("lif_current+adaptive_threshold+current_adaptation", _LIF | _THRESHOLD | _CURRENT),
    "AdEx with refractoriness": ("adex+refractory", _ADEX),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_parameters_of_five_models_come_back_from_spikes_alone(name: str) -> None:
    components, parameters = MODELS[name]
    model = snn.load_model(components)
    truth = {p: value for p, (value, _, _) in parameters.items()}
    rng, slow = np.random.default_rng(5), np.zeros(SAMPLES)
    for k in range(1, SAMPLES):
        slow[k] = slow[k - 1] * np.exp(-1 / 3) + rng.normal() * np.sqrt(1 - np.exp(-2 / 3))
    current = 0.6e-9 + 0.25e-9 * slow
    (spikes, _), = simulate_sweeps(model, as_recording(current, DT, []), truth, "I_syn")
    assert len(spikes) > 2 * len(truth)
    free = {p: (low, high) for p, (_, low, high) in parameters.items()}
    result = snn.fit(model, current=current, dt=DT, spikes=spikes, free=free, progress=False)
    digits = {p: -np.log10(max(abs(result.values[p] / value - 1), 1e-16)) for p, value in truth.items()}
    print(f"{name}: {len(spikes)} spikes, {result.simulations} simulations, {result.seconds:.0f} s, digits",
          {p: round(float(d), 1) for p, d in digits.items()}, result.polish)  # fmt: skip
    assert min(digits.values()) > 6
    assert result.coincidence[0] == pytest.approx((1.0, 1.0))
