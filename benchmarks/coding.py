"""Time one spike-coding network, 1000 neurons and 10 s of signal at dt = 0.1 ms, on several machineries.

python benchmarks/coding.py [--neurons N] [--seconds T] [--dense-seconds T]

* dense NumPy loop: the textbook loop, v = e v + D^T(...) - W s, with a matrix-vector product in every step
* NumPy reference: the package's, one column of the weights at a spike only
* C++ standalone: the rendered Brian2 network; compilation is listed apart

Both of the package are in the dense form, with N² weights; `benchmarks.coding_scale` times the low-rank form.

All on one thread. The dense loop is timed on the first second of the signal and its time scaled up, since its steps all
cost the same; --dense-seconds 10 runs all of it. Spike trains are compared with the reference's.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import brian2
import numpy as np
from rich.console import Console
from rich.table import Table

from snnmodels.coding import (
    CodingNetwork,
    Signal,
    brian_network,
    energy,
    golden_angle_decoder,
    load_coding_network,
    log_uniform_norms,
    simulate,
    smooth_signal,
)
from snnmodels.targets.devices import cpp_preferences, preferences, quiet, require_compiler

Spikes = tuple[np.ndarray, np.ndarray]


def dense_loop(network: CodingNetwork, signal: Signal) -> tuple[float, Spikes]:
    """The textbook loop for a linear cost; seconds and spikes."""
    keep = np.exp(-signal.dt / network.tau)
    weights, encoder, drive = network.recurrent_weights(), network.encoder, network.drive(signal)
    threshold = (network.norms**2 + network.value("nu")) / 2
    v, s = encoder @ signal.values[0], np.zeros(network.n)
    found = []
    start = time.perf_counter()
    for k in range(signal.steps):
        v = keep * v + encoder @ drive[k]
        margin = v - threshold
        winner = int(np.argmax(margin))
        s[:] = 0.0
        if margin[winner] > 0:
            s[winner] = 1.0
            found.append((k, winner))
        v = v - weights @ s
    seconds = time.perf_counter() - start
    steps, neurons = np.array(found, int).reshape(-1, 2).T
    return seconds, (steps, neurons)


def cpp_standalone(network: CodingNetwork, signal: Signal) -> tuple[float, float, Spikes]:
    """Seconds to generate and compile, seconds to run (the whole process, files included), and spikes."""
    require_compiler()
    with tempfile.TemporaryDirectory() as directory, preferences(cpp_preferences()), quiet():
        brian2.set_device("cpp_standalone", directory=directory, build_on_run=False)
        start = time.perf_counter()
        rendered = brian_network(network, signal, recurrence="dense")
        run = brian2.Network(rendered.objects)
        run.run(signal.duration * brian2.second, namespace={})
        brian2.device.build(directory=directory, compile=True, run=False)
        built = time.perf_counter()
        brian2.device.run(directory=directory, with_output=False)
        done = time.perf_counter()
        response = rendered.response(network, signal)
        return built - start, done - built, (response.spike_steps, response.spike_neurons)


def main() -> None:
    """Run everything, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--neurons", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=10.0, help="of signal")
    parser.add_argument("--dense-seconds", type=float, default=1.0, help="of signal that the dense loop really runs")
    parser.add_argument("--nu", type=float, default=0.003, help="linear cost")
    options = parser.parse_args()

    n = options.neurons
    decoder = golden_angle_decoder(n, log_uniform_norms(n, 0.03, 0.6))
    network = CodingNetwork(decoder, load_coding_network("joint").loss, {"nu": options.nu})
    signal = smooth_signal(options.seconds)
    start_of_it = Signal(signal.values[: round(options.dense_seconds / signal.dt) + 1], signal.dt)

    start = time.perf_counter()
    response = simulate(network, signal, recurrence="dense")
    reference = time.perf_counter() - start
    expected = (response.spike_steps, response.spike_neurons)
    dense, dense_spikes = dense_loop(network, start_of_it)
    dense *= signal.steps / start_of_it.steps
    build, cpp, cpp_spikes = cpp_standalone(network, signal)

    used = energy(response)
    console = Console()
    console.print(
        f"{n} neurons, {options.seconds:g} s of signal, {signal.steps} steps: {used.spikes:.0f} spikes/s, "
        f"{used.synaptic_events:.3g} synaptic events/s"
    )
    table = Table("", "seconds", "times real time", "dense loop / this", "spikes that differ")
    rows = (
        ("dense NumPy loop", dense, _differing(expected, dense_spikes, start_of_it.steps)),
        ("NumPy reference", reference, 0),
        ("C++ standalone", cpp, _differing(expected, cpp_spikes, signal.steps)),
        ("C++ standalone with its build", cpp + build, _differing(expected, cpp_spikes, signal.steps)),
    )
    for name, seconds, differing in rows:
        table.add_row(
            name, f"{seconds:.2f}", f"{seconds / options.seconds:.2f}", f"{dense / seconds:.1f}", str(differing)
        )
    console.print(table)


def _differing(expected: Spikes, found: Spikes, steps: int) -> int:
    inside = expected[0] < steps
    one = set(zip(expected[0][inside].tolist(), expected[1][inside].tolist(), strict=True))
    return len(one ^ set(zip(found[0].tolist(), found[1].tolist(), strict=True)))


if __name__ == "__main__":
    main()
