"""The emulator itself, and what runs on it through Brian2CUDA: exported projects, gradients in the portable form."""

from __future__ import annotations

import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from snnmodels.brian.export import export_project
from snnmodels.brian.plan import Plan
from snnmodels.gradients import GridSimulation, grid
from snnmodels.losses import Loss, MaxVoltageCrossEntropy, TTFSCrossEntropy
from snnmodels.templates import Network, Population, Projection, SpikeInput, load_model
from tests.brian.test_export import DT, in_runtime, mixed_network, recorded
from tests.cudacpu import cudacpu
from tests.cudacpu.session import EmulatedSession
from tests.needs import BRIAN2CUDA, COMPILER

SLOW = pytest.mark.slow
ORDERS = ("forward", "reverse", "random:1", "random:2")
BLOCKS = (1024, 32)
pytestmark = COMPILER


# --- the emulator -----------------------------------------------------------------------------------------------------


def build_selftest(folder: Path, check: str) -> Path:
    source = folder / "source"
    source.mkdir()
    shutil.copy(cudacpu.HERE / "selftest.cu", source)
    cudacpu.build(source, folder / check, check=check)
    return folder / check


WRONG = {
    "none": {
        "divergent": "meet at different barriers",
        "unequal": "wait for each other for ever",
        "host_pointer": "points to host memory",
        "host_access": "host code touched device memory",
        "overrun": "past an allocation",
    },
    "race": {
        "overrun": "is not inside an allocation",
        "no_atomic": "RACE in kernel no_atomic",
        "no_barrier": "RACE in kernel no_barrier",
        "between_blocks": "RACE in kernel between_blocks",
    },
    "address": {},
}


@pytest.mark.parametrize("check", ["none", pytest.param("race", marks=SLOW), pytest.param("address", marks=SLOW)])
def test_correct_kernels_are_right_and_wrong_ones_are_found(check: str, tmp_path: Path) -> None:
    out = build_selftest(tmp_path, check)
    for order in ORDERS:
        done = cudacpu.run(out, order=order, results="", timeout=100)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "FAILED" not in done.stdout
        assert "0 failures" in done.stdout
    for kernel, found in WRONG[check].items():
        done = cudacpu.run(out, kernel, results="", timeout=100)
        assert done.returncode != 0, kernel
        assert found in done.stdout + done.stderr, kernel
    if check == "none":
        for kernel in ("no_barrier", "between_blocks"):
            one, other = (cudacpu.run(out, kernel, order=o, results="").stdout for o in ORDERS[:2])
            assert one != other, kernel


FUSES = """
#include <cstdio>
__global__ void fuses(double* x) { x[0] = x[1] * x[2] + x[3]; }
int main()
{
    double given[4] = {0, 1 + 1e-8, 1 - 1e-8, -1}, *there;
    cudaMalloc((void**)&there, sizeof given);
    cudaMemcpy(there, given, sizeof given, cudaMemcpyHostToDevice);
    fuses<<<1, 1>>>(there);
    cudaMemcpy(given, there, sizeof given, cudaMemcpyDeviceToHost);
    std::printf("%.17g", given[0]);
}
"""


@SLOW
@pytest.mark.parametrize("told", ["-fmad=true", "-fmad=false", "-O3"])
def test_products_and_sums_are_fused_only_if_asked_for(told: str, tmp_path: Path) -> None:
    (tmp_path / "program.cu").write_text(FUSES)
    words = [sys.executable, str(cudacpu.HERE / "nvcc"), told, str(tmp_path / "program.cu"), "-o", str(tmp_path / "a")]
    subprocess.run(words, check=True)
    found = float(subprocess.run([tmp_path / "a"], capture_output=True, text=True, check=True).stdout)
    x, y = 1 + 1e-8, 1 - 1e-8
    exactly = float(Fraction(x) * Fraction(y) - 1)
    assert exactly != x * y - 1
    assert found == (exactly if told == "-fmad=true" else x * y - 1)


# --- exported projects ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", ["race", pytest.param("none", marks=SLOW)])
@BRIAN2CUDA
def test_an_exported_project_gives_the_same_numbers(check: str, tmp_path: Path) -> None:
    network, spikes = mixed_network()
    export_project(network, tmp_path / "project", "cuda", spikes=spikes, dt=DT)
    out = tmp_path / check
    cudacpu.build(tmp_path / "project", out, check=check)
    expected_spikes, expected_potential = in_runtime(network, spikes)
    assert len(expected_spikes["hidden"]) > 15
    for order, threads in [(o, n) for o in ORDERS for n in BLOCKS] if check == "none" else [("reverse", 32)]:
        shutil.rmtree(out / "results", ignore_errors=True)
        done = cudacpu.run(out, order=order, max_threads=threads, timeout=300)
        assert done.returncode == 0, done.stderr  # nor would it be 0 with a race
        found_spikes, found_potential = recorded(out)
        np.testing.assert_array_equal(found_spikes["hidden"], expected_spikes["hidden"])
        np.testing.assert_allclose(found_potential["output"], expected_potential["output"], rtol=0, atol=1e-12)


# --- the portable form ------------------------------------------------------------------------------------------------


def single() -> tuple[Network, Loss]:
    rng = np.random.default_rng(0)
    population = Population("output", 5, load_model("lif+exp_synapse"), learnable=("tau_m", "v_th"))
    projection = Projection("input_output", "input", "output", rng.normal(1.6, 0.3, (4, 5)))
    return Network("single", [SpikeInput("input", 4)], [population], [projection], "output", 0.03), TTFSCrossEntropy()


def layers(readout: bool) -> tuple[Network, Loss]:
    """Recurrent, with a mask and an adaptive threshold; the loss reads output spikes, or the maximum of a membrane."""
    rng = np.random.default_rng(0)
    adaptive = load_model("lif+exp_synapse+adaptive_threshold")
    last = load_model("leaky_integrator+exp_synapse" if readout else "lif+exp_synapse")
    populations = [
        Population("hidden", 6, adaptive, {"tau_m": rng.uniform(0.012, 0.02, 6)}, learnable=("tau_m", "v_th")),
        Population("output", 3, last, learnable=("tau_syn",)),
    ]
    projections = [
        Projection("input_hidden", "input", "hidden", rng.normal(2.2, 0.4, (4, 6))),
        Projection("loop", "hidden", "hidden", rng.normal(0, 0.1, (6, 6)), mask=~np.eye(6, dtype=bool)),
        Projection("hidden_output", "hidden", "output", rng.normal(0.9, 0.2, (6, 3))),
    ]
    network = Network("layers", [SpikeInput("input", 4)], populations, projections, "output", 0.03)
    return network, MaxVoltageCrossEntropy() if readout else TTFSCrossEntropy()


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        ("single", "none"),
        pytest.param("single", "race", marks=SLOW),
        pytest.param("layers", "none", marks=SLOW),
        pytest.param("layers", "race", marks=SLOW),
        pytest.param("readout", "none", marks=SLOW),
    ],
)
@BRIAN2CUDA
def test_the_portable_gradient(kind: str, check: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal to those of Brian2's numpy and C++, in every order of threads; the race detector would end the program."""
    network, loss = single() if kind == "single" else layers(kind == "readout")
    inputs = {"input": np.sort(np.random.default_rng(1).uniform(0, 0.012, (2, 4, 2)), axis=2)}
    labels = np.array([0, 2])
    options = {"batch_size": 2, "dt": 0.5e-3, "max_spikes": 16}
    expected = []
    for target in ("numpy",) if kind == "single" else ("numpy", "cpp_standalone"):
        with GridSimulation(network, loss, target=target, **options) as simulation:  # type: ignore[arg-type]
            expected.append((simulation.run(inputs, labels), simulation.spike_times(network.populations[0].name)))
    assert np.isfinite(expected[0][1]).sum() > 10
    made: list[EmulatedSession] = []

    def session(plan: Plan, target: str) -> EmulatedSession:
        made.append(EmulatedSession(plan, tmp_path, check))
        return made[-1]

    monkeypatch.setattr(grid, "RuntimeSession", session)
    with GridSimulation(network, loss, **options) as simulation:  # type: ignore[arg-type]
        for order in ORDERS[:2] if kind == "single" or check == "race" else ORDERS:
            for threads in BLOCKS if check == "none" else BLOCKS[1:]:
                made[0].options = {"order": order, "max_threads": threads}
                outcome = simulation.run(inputs, labels)
                for other, times in expected:
                    found = simulation.spike_times(network.populations[0].name)
                    np.testing.assert_allclose(found, times, rtol=0, atol=1e-14)
                    np.testing.assert_allclose(outcome.loss, other.loss, rtol=1e-12)
                    assert outcome.gradients.keys() == other.gradients.keys()
                    for key, gradient in other.gradients.items():
                        scale = np.abs(gradient).max()
                        assert scale > 0, key
                        np.testing.assert_allclose(
                            outcome.gradients[key], gradient, rtol=0, atol=1e-12 * scale, err_msg=key
                        )
    assert len(made) == 1
