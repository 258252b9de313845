"""brian2modelfitting: differential evolution on the coincidence factor. Needs: pip install brian2modelfitting.

Version 0.4 needs older packages than pip chooses: 'numpy<2' 'pandas<2.3' 'scipy<1.14' 'scikit-learn<1.6'
'bayesian-optimization<2'. Runs in an environment of its own and doesn't import this project:

    python benchmarks/peers/modelfitting.py DIR SECONDS SAMPLES ROUNDS    # prints one line of JSON

The model is the LIF with a spike-triggered current of `snnmodels.studies.recorded_neuron`, with the same bounds,
simulated
by Brian2 in steps of 0.1 ms (C++ standalone). Its refinement by gradients is of `TraceFitter` alone: squared errors of
traces, no spikes.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from brian2 import amp, defaultclock, ms, pA, pF, second, set_device
from brian2 import mV as millivolt
from brian2modelfitting import GammaFactor, NevergradOptimizer, SpikeFitter

MODEL = """
dv/dt = (10*nS*(-70*mV - v) - z + I)/C_m : volt (unless refractory)
dz/dt = -z/tau_z : amp
C_m : farad (constant)
v_th : volt (constant)
v_reset : volt (constant)
t_ref : second (constant)
b : amp (constant)
tau_z : second (constant)
"""


def main() -> None:
    """Fit, and print the best values, the error, simulations and seconds."""
    folder, seconds, samples, rounds = sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    np.random.seed(0)
    with np.load(Path(folder) / "first_half.npz") as data:
        dt = float(data["dt"])
        current = data["current"][: round(seconds / dt)]
        trains = [data[f"spikes_{k}"] for k in range(9)]
    trains = [t[t < seconds] for t in trains]
    set_device("cpp_standalone", directory=tempfile.mkdtemp())
    defaultclock.dt = dt * second
    began = time.perf_counter()
    fitter = SpikeFitter(
        model=MODEL,
        input_var="I",
        input=np.tile(current, (len(trains), 1)) * amp,
        output=[t * second for t in trains],
        dt=dt * second,
        n_samples=samples,
        threshold="v > v_th",
        reset="v = v_reset; z += b",
        refractory="t_ref",
        method="exponential_euler",
        param_init={"v": -70 * millivolt},
    )
    best, error = fitter.fit(
        n_rounds=rounds,
        optimizer=NevergradOptimizer("DE"),
        metric=GammaFactor(delta=4 * ms, time=seconds * second),
        callback=None,
        C_m=[80, 400] * pF,
        v_th=[-57.9, -42] * millivolt,
        v_reset=[-80, -58] * millivolt,
        t_ref=[3, 11] * ms,
        b=[0, 200] * pA,
        tau_z=[20, 400] * ms,
    )
    print(
        json.dumps(
            {
                "values": {name: float(value) for name, value in best.items()},
                "error": float(error),
                "simulations": samples * rounds,
                "seconds": time.perf_counter() - began,
                "cpu_seconds": _cpu(),
                "refines_spikes": hasattr(SpikeFitter, "refine"),
            }
        )
    )


def _cpu() -> float:
    import resource

    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


if __name__ == "__main__":
    main()
