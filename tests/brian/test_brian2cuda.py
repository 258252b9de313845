"""Brian2CUDA's faults as plain groups meet them, on the emulator: there without the repairs, and gone with them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import brian2
import numpy as np
import pytest
from brian2 import ms

from snnmodels.brian import brian2cuda as repairs
from snnmodels.brian import neuron_group, plain, synapses
from snnmodels.brian.brian2cuda import repaired_brian2cuda
from snnmodels.targets.devices import cuda_preferences, preferences, quiet
from snnmodels.templates import load_model
from tests.cudacpu import cudacpu
from tests.needs import COMPILER

brian2cuda = pytest.importorskip("brian2cuda")
CUDAStandaloneCodeObject = brian2cuda.codeobject.CUDAStandaloneCodeObject
CUDAStandaloneDevice = brian2cuda.device.CUDAStandaloneDevice

Results = dict[str, tuple[str, np.dtype]]
BARRIER = "bool initialize_semaphores = (!semaphore);\n        __syncthreads();"


@pytest.fixture
def unrepaired(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Brian2CUDA as it was before; what is repaired here is so to the end of the test alone."""
    monkeypatch.setattr(repairs, "_repaired", False)
    monkeypatch.setattr(CUDAStandaloneCodeObject, "templater", CUDAStandaloneCodeObject.templater)
    monkeypatch.setattr(CUDAStandaloneDevice, "copy_source_files", CUDAStandaloneDevice.copy_source_files)
    with preferences(cuda_preferences()), quiet():
        yield


def simulate() -> dict[str, tuple[brian2.BrianObject, str]]:
    """Neurons with delays of their own up to 40 steps and rate monitors, in two runs; what is to be compared."""
    brian2.defaultclock.dt = 0.1 * ms
    rng = np.random.default_rng(3)
    model = load_model("lif+exp_synapse+adaptive_threshold")
    i, t = np.repeat(np.arange(6), 5), rng.uniform(0, 9, 30)
    source = brian2.SpikeGeneratorGroup(6, i, t * ms, name="source")
    neurons = neuron_group(model, 12, method="exact", name="neurons")
    arrive = synapses(model, source, neurons, name="arrive")
    arrive.connect()
    arrive.w = rng.uniform(0.5, 1.5, 72)
    arrive.delay = rng.integers(0, 41, 72) * 0.1 * ms
    spikes = brian2.SpikeMonitor(neurons, name="spikes")
    rate = brian2.PopulationRateMonitor(neurons, name="rate")
    part = brian2.PopulationRateMonitor(neurons[3:9], name="part")
    network = brian2.Network(source, neurons, arrive, spikes, rate, part)
    network.run(7 * ms)
    network.run(6 * ms)
    return {
        "v": (neurons, "v"),
        "count": (spikes, "count"),
        **{f"{m.name}.{k}": (m, k) for m in (rate, part) for k in ("rate", "t")},
    }


def project(folder: Path) -> Results:
    """Write the simulation as a CUDA project; where its results will be."""
    brian2.set_device("cuda_standalone", directory=None, build_on_run=False)
    try:
        kept = simulate()
        variables = {key: group.variables[name] for key, (group, name) in kept.items()}
        brian2.device.build(directory=str(folder), compile=False, run=False)
        file = brian2.device.get_array_filename
        return {key: (Path(file(v)).name, np.dtype(v.dtype)) for key, v in variables.items()}
    finally:
        brian2.device.reinit()
        brian2.set_device("runtime")


def test_a_plain_group_repairs_the_device_it_is_made_for(
    unrepaired: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    former = CUDAStandaloneCodeObject.templater
    with preferences({"codegen.target": "numpy"}):
        simulate()  # on another device
    assert CUDAStandaloneCodeObject.templater is former
    project(tmp_path / "repaired")
    assert CUDAStandaloneCodeObject.templater is not former
    assert BARRIER in (tmp_path / "repaired/brianlib/spikequeue.h").read_text()
    assert "_earlier" in (tmp_path / "repaired/code_objects/rate_codeobject.cu").read_text()
    with repaired_brian2cuda():
        pass  # takes out no more than it has put in
    assert CUDAStandaloneCodeObject.templater is not former


def test_repairs_are_taken_out_again_and_are_for_one_version(unrepaired: None, monkeypatch: pytest.MonkeyPatch) -> None:
    former = CUDAStandaloneCodeObject.templater, CUDAStandaloneDevice.copy_source_files
    with repaired_brian2cuda():
        assert CUDAStandaloneCodeObject.templater is not former[0]
    assert (CUDAStandaloneCodeObject.templater, CUDAStandaloneDevice.copy_source_files) == former
    monkeypatch.setattr(brian2cuda, "__version__", "1.0b2")
    with repaired_brian2cuda():
        assert CUDAStandaloneCodeObject.templater is former[0]


@pytest.mark.slow
@COMPILER
@pytest.mark.parametrize("repaired", [False, True], ids=["unrepaired", "repaired"])
def test_delays_and_rates(unrepaired: None, repaired: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with preferences({"codegen.target": "numpy"}):
        kept = simulate()
        expected = {key: np.array(group.variables[name].get_value()) for key, (group, name) in kept.items()}
    assert expected["count"].sum() > 20
    assert len(expected["rate.t"]) == 130
    if not repaired:
        monkeypatch.setattr(plain, "repair_active_device", lambda: None)
    with repaired_brian2cuda() if repaired else nullcontext():
        results = project(tmp_path / "project")

    def found(out: Path) -> dict[str, np.ndarray]:
        return {key: np.fromfile(out / "results" / name, dtype) for key, (name, dtype) in results.items()}

    out, raced = tmp_path / "none", tmp_path / "race"
    cudacpu.build(tmp_path / "project", out)
    cudacpu.build(tmp_path / "project", raced, check="race")
    done = cudacpu.run(raced, order="reverse", max_threads=64, timeout=300)
    reports = done.stderr.split("CUDACPU RACE in kernel ")[1:]
    assert all(report.startswith("_before_run_kernel_arrive_pre_push_spikes") for report in reports)
    reads = [report for report in reports if "read after write" in report or "write after read" in report]
    if not repaired:
        assert reads
        assert all("prepare" in report for report in reads)
        assert cudacpu.run(out, order="forward", timeout=300).returncode != 0
        assert cudacpu.run(out, order="reverse", timeout=300).returncode == 0  # by good luck
        np.testing.assert_allclose(found(out)["v"], expected["v"], rtol=0, atol=1e-12)
        for name in ("rate", "part"):
            assert np.abs(found(out)[f"{name}.rate"] - expected[f"{name}.rate"]).max() > 0
        return
    # all threads write the same value at one place
    assert not reads
    (same,) = reports
    (line,) = set(re.findall(r"push_spikes\.cu:(\d+)", same))
    source = (tmp_path / "project/code_objects/before_run_arrive_pre_push_spikes.cu").read_text().splitlines()
    assert source[int(line) - 1].strip() == "arrive_pre.no_or_const_delay_mode = scalar_delay;"
    for order in ("forward", "reverse", "random:1"):
        for threads in (1024, 64):
            done = cudacpu.run(out, order=order, max_threads=threads, timeout=300)
            assert done.returncode == 0, done.stderr
            for key, value in found(out).items():
                np.testing.assert_allclose(value, expected[key], rtol=1e-12, atol=1e-12, err_msg=key)
