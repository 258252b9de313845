"""Standalone projects: complete, without traces of this machine, and equal to the simulation in Brian2's runtime."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import brian2
import numpy as np
import pytest

from snnmodels.brian.assembly import Assembly
from snnmodels.brian.brian2cuda import generating_cuda
from snnmodels.brian.export import (
    driven_population,
    encoded_sample,
    export_project,
    read_spikes,
    regular_spikes,
    write_makefile,
)
from snnmodels.brian.export.drive import exact_weight_for_one_spike, weight_for_one_spike
from snnmodels.brian.export.simulation import check_input_spikes, one_trial
from snnmodels.brian.plan import Plan
from snnmodels.datasets import yin_yang_latency, yin_yang_split
from snnmodels.targets.devices import (
    CompilerMissing,
    curand_folder,
    preferences,
    quiet,
    require_compiler,
)
from snnmodels.templates import Network, Population, Projection, SpikeInput, load_model, load_network
from tests.needs import BRIAN2CUDA, COMPILER

DT = 1e-4
needs_nvcc = pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc on PATH")


@pytest.fixture(scope="module")
def yin_yang() -> Network:
    return load_network("yin_yang", seed=3)


def mixed_network() -> tuple[Network, dict[str, np.ndarray]]:
    """Recurrent, with a mask, per-neuron parameters, and a read-out that doesn't spike."""
    rng = np.random.default_rng(1)
    lif = load_model("lif", "exp_synapse")
    populations = (
        Population("hidden", 12, lif, {"tau_m": rng.uniform(0.01, 0.03, 12)}),
        Population("output", 2, load_model("leaky_integrator", "exp_synapse")),
    )
    projections = (
        Projection("input_hidden", "input", "hidden", rng.normal(2.5, 0.5, (4, 12)), "exp_synapse"),
        Projection(
            "loop", "hidden", "hidden", rng.normal(-0.3, 0.1, (12, 12)), "exp_synapse", mask=~np.eye(12, dtype=bool)
        ),
        Projection("hidden_output", "hidden", "output", rng.normal(0.3, 0.1, (12, 2)), "exp_synapse"),
    )
    network = Network("mixed", (SpikeInput("input", 4),), populations, projections, "output", 0.04)
    return network, {"input": np.array([[0.0, 0.011], [0.002, 0.013], [0.0051, np.inf], [0.008, 0.02]])}


@pytest.fixture(scope="module")
def mixed() -> tuple[Network, dict[str, np.ndarray]]:
    return mixed_network()


def in_runtime(
    network: Network, spikes: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Spikes (time step, neuron), sorted, by population, and recorded potentials, from Brian2's numpy target."""
    with preferences({"codegen.target": "numpy"}):
        brian2.defaultclock.dt = DT * brian2.second
        trial = one_trial(network, spikes, DT)
        brian2.Network(trial.objects).run(network.duration * brian2.second)
    found = {name: ordered(np.asarray(m.i), np.asarray(m.t_)) for name, m in trial.spikes.items()}
    return found, {name: np.asarray(m.v).T for name, m in trial.states.items()}


def ordered(i: np.ndarray, t: np.ndarray) -> np.ndarray:
    return np.array(sorted(zip(np.rint(t / DT).astype(int), i, strict=True)), dtype=int).reshape(-1, 2)


def make(folder: Path, *arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run make with nothing but PATH in the environment."""
    return subprocess.run(
        ["make", *arguments],
        cwd=folder,
        env={"PATH": path or os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=1500,
    )


def recorded(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What a project has left in results/, read as its README says."""
    project = json.loads((folder / "project.json").read_text())

    def read(entry: dict[str, str]) -> np.ndarray:
        return np.fromfile(folder / "results" / entry["file"], entry["dtype"])

    spikes = {name: ordered(read(m["i"]), read(m["t"])) for name, m in project["spikes"].items()}
    return spikes, {name: read(m["variables"]["v"]).reshape(-1, m["n"]) for name, m in project["states"].items()}


def texts(folder: Path) -> dict[Path, str]:
    return {
        p: p.read_text() for p in folder.rglob("*") if p.is_file() and p.parent.name not in ("static_arrays", "results")
    }


@pytest.mark.parametrize("target", ["cpp", pytest.param("cuda", marks=BRIAN2CUDA)])
def test_no_path_of_this_machine_and_no_leftovers(
    mixed: tuple[Network, dict[str, np.ndarray]], tmp_path: Path, target: str
) -> None:
    network, spikes = mixed
    project = export_project(network, tmp_path / "project", target, spikes=spikes, dt=DT)
    content = texts(project.directory)
    for file, text in content.items():
        for path in (sys.prefix, sys.base_prefix, str(tmp_path), "/tmp", "site-packages/brian"):
            assert path not in text, file
        if file.suffix in (".md", ".json"):
            assert "@" not in text, f"a placeholder was left in {file}"
    assert {"Makefile", "README.md", "read_results.py", "project.json"} <= {p.name for p in content}
    assert "\n## Build and run\n\n    make " in content[project.directory / "README.md"]
    assert not (project.directory / "makefile").exists()
    listed = (project.directory / "Makefile").read_text()
    assert "=native" not in listed
    assert "@sources@" not in listed
    sources = [p for p in content if p.suffix in (".cpp", ".cu")]
    assert len(sources) == project.sources > 10
    assert all(str(p.relative_to(project.directory)) in listed for p in sources)


def test_brian_is_left_as_it_was(mixed: tuple[Network, dict[str, np.ndarray]], tmp_path: Path) -> None:
    network, spikes = mixed
    flags = list(brian2.prefs["codegen.cpp.extra_compile_args_gcc"])
    brian2.defaultclock.dt = 0.25 * brian2.ms
    export_project(network, tmp_path / "project", spikes=spikes)
    assert brian2.get_device() is brian2.all_devices["runtime"]
    assert brian2.prefs["codegen.cpp.extra_compile_args_gcc"] == flags
    assert float(brian2.defaultclock.dt) == 0.25e-3


@pytest.mark.slow
@COMPILER
def test_copied_project_builds_with_path_only_and_equals_the_runtime(
    mixed: tuple[Network, dict[str, np.ndarray]], tmp_path: Path
) -> None:
    network, spikes = mixed
    export_project(network, tmp_path / "project", spikes=spikes, dt=DT)
    elsewhere = tmp_path / "a copy elsewhere"
    shutil.move(tmp_path / "project", elsewhere)
    built = make(elsewhere, "-j2", "run")
    assert built.returncode == 0, built.stderr

    expected_spikes, expected_potential = in_runtime(network, spikes)
    found_spikes, found_potential = recorded(elsewhere)
    assert len(expected_spikes["hidden"]) > 15
    np.testing.assert_array_equal(found_spikes["hidden"], expected_spikes["hidden"])
    assert np.abs(expected_potential["output"]).max() > 0.1
    np.testing.assert_allclose(found_potential["output"], expected_potential["output"], rtol=0, atol=1e-12)

    # the reader without packages, from another folder
    def read(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-S", str(elsewhere / "read_results.py"), *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    assert f"hidden: {len(expected_spikes['hidden'])} spikes of 12 neurons" in read().stdout
    first = read("hidden").stdout.splitlines()[0].split("\t")
    assert (round(float(first[0]) / DT), int(first[1])) == tuple(expected_spikes["hidden"][0])
    assert float(read("output", "v").stdout.splitlines()[-1].split("\t")[1]) == found_potential["output"][-1, 0]
    assert read("nobody").returncode == 1

    # other weights without building again, as the README says
    count = {s["name"]: s["count"] for s in json.loads((elsewhere / "project.json").read_text())["synapses"]}
    np.zeros(count["input_hidden"]).tofile(elsewhere / "silent.bin")
    command = ["./main", "--results_dir", "results/", "input_hidden.w=silent.bin"]
    silent = subprocess.run(command, cwd=elsewhere, check=True, capture_output=True, timeout=60)
    assert (silent.stdout, silent.stderr) == (b"", b"")
    assert len(recorded(elsewhere)[0]["hidden"]) == 0


@COMPILER
def test_makefile_without_compiler_says_so(mixed: tuple[Network, dict[str, np.ndarray]], tmp_path: Path) -> None:
    network, spikes = mixed
    export_project(network, tmp_path / "project", spikes=spikes)
    result = make(tmp_path / "project", "CXX=no-such-compiler")
    assert result.returncode != 0
    assert "no C++ compiler no-such-compiler: install g++" in result.stderr


@pytest.mark.slow
@COMPILER
def test_yin_yang_project_equals_the_runtime(yin_yang: Network, tmp_path: Path) -> None:
    spikes = encoded_sample(yin_yang)
    assert spikes is not None
    export_project(yin_yang, tmp_path / "project", spikes=spikes, dt=DT)
    built = make(tmp_path / "project", "-j2", "run", "ARCH=")
    assert built.returncode == 0, built.stderr
    expected, _ = in_runtime(yin_yang, spikes)
    found, _ = recorded(tmp_path / "project")
    assert len(expected["hidden"]) > 50
    assert len(expected["output"]) > 0
    for population in ("hidden", "output"):
        np.testing.assert_array_equal(found[population], expected[population])


def build_for_cuda(folder: Path) -> None:
    """Compile and link a CUDA project; no GPU is needed for that."""
    toolkit = Path(shutil.which("nvcc") or "").resolve().parents[1]
    curand = curand_folder()
    if curand is None and not list(toolkit.glob("**/curand.h")):
        pytest.skip("cuRAND is neither in the CUDA toolkit nor installed as nvidia-curand")
    built = make(folder, "-j2", *([f"CURAND={curand}"] if curand else []))
    assert built.returncode == 0, built.stderr[-3000:]
    assert os.access(folder / "main", os.X_OK)
    libraries = subprocess.run(["ldd", folder / "main"], capture_output=True, text=True, check=True).stdout
    assert "libcurand.so.10 => /" in libraries


@pytest.mark.slow
@needs_nvcc
@BRIAN2CUDA
def test_cuda_project_compiles_and_links(yin_yang: Network, tmp_path: Path) -> None:
    spikes = encoded_sample(yin_yang)
    assert spikes is not None
    export_project(yin_yang, tmp_path / "project", "cuda", spikes=spikes, dt=DT)
    build_for_cuda(tmp_path / "project")


@pytest.mark.slow
@needs_nvcc
@BRIAN2CUDA
def test_everything_that_training_uses_compiles_for_cuda(tmp_path: Path) -> None:
    """Forward and backward simulation with sub-step events: index-linked stores, custom events, generated functions."""
    rng = np.random.default_rng(0)
    model = load_model("lif", "exp_synapse", "adaptive_threshold")
    network = Network(
        "trained",
        (SpikeInput("input", 3),),
        (Population("output", 4, model, learnable=("tau_m", "v_th")),),
        (Projection("input_output", "input", "output", rng.normal(1, 0.1, (3, 4)), "exp_synapse"),),
        "output",
        0.02,
    )
    with generating_cuda(), quiet():
        brian2.set_device("cuda_standalone", directory=None, build_on_run=False)
        brian2.defaultclock.dt = 0.5 * brian2.ms
        assembly = Assembly(Plan.of(network, 2, 0.5e-3))
        assembly.forward.run(assembly.duration)
        assembly.backward.run(assembly.duration)
        brian2.device.build(directory=str(tmp_path), compile=False, run=False)
    write_makefile(tmp_path, "cuda")
    build_for_cuda(tmp_path)


class TestFolder:
    def test_other_files_are_left_alone(self, mixed: tuple[Network, dict[str, np.ndarray]], tmp_path: Path) -> None:
        network, spikes = mixed
        (tmp_path / "thesis.tex").write_text("mine")
        with pytest.raises(FileExistsError, match="holds files that are no exported project"):
            export_project(network, tmp_path, spikes=spikes, overwrite=True)
        assert (tmp_path / "thesis.tex").read_text() == "mine"

    def test_a_file_is_no_folder(self, mixed: tuple[Network, dict[str, np.ndarray]], tmp_path: Path) -> None:
        network, spikes = mixed
        (tmp_path / "file").touch()
        with pytest.raises(FileExistsError, match="file is a file"):
            export_project(network, tmp_path / "file", spikes=spikes)

    def test_earlier_project_only_when_allowed(
        self, mixed: tuple[Network, dict[str, np.ndarray]], tmp_path: Path
    ) -> None:
        network, spikes = mixed
        export_project(network, tmp_path / "new/project", spikes=spikes)
        (tmp_path / "new/project/main").touch()
        with pytest.raises(FileExistsError, match="holds an earlier project"):
            export_project(network, tmp_path / "new/project", spikes=spikes)
        export_project(network, tmp_path / "new/project", spikes=spikes, overwrite=True)
        assert not (tmp_path / "new/project/main").exists()

    def test_wrong_target_and_step(self, mixed: tuple[Network, dict[str, np.ndarray]], tmp_path: Path) -> None:
        network, spikes = mixed
        with pytest.raises(ValueError, match="'fortran' is not one of cpp, cuda"):
            export_project(network, tmp_path / "project", "fortran", spikes=spikes)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="dt: expected a positive time step"):
            export_project(network, tmp_path / "project", spikes=spikes, dt=0)
        assert not (tmp_path / "project").exists()


class TestInputSpikes:
    source = SpikeInput("input", 3)

    def test_on_the_grid_in_three_shapes(self) -> None:
        times = np.array([0.00104, np.inf, 0.002])
        for shaped in (times, times[:, None], times[None, :, None]):
            indices, seconds = check_input_spikes(self.source, shaped, 0.01, 1e-4)
            np.testing.assert_array_equal(indices, [0, 2])
            np.testing.assert_allclose(seconds, [0.001, 0.002], rtol=1e-14)

    @pytest.mark.parametrize(
        ("times", "message"),
        [
            (np.zeros(4), r"shape \(4,\); expected \(3, spikes\)"),
            (np.zeros((2, 3, 1)), r"shape \(2, 3, 1\); expected \(3, spikes\) for one trial"),
            (np.array([0, np.nan, 0]), "a spike time is NaN"),
            (np.array([0, -1e-3, 0]), "a spike time is negative"),
            (np.array([0, 0.01, 0]), "a spike at 10 ms is not before the end of the trial at 10 ms"),
            (np.array([[0, 1e-5], [0, np.inf], [0, np.inf]]), "two spikes within one step of 0.1 ms"),
        ],
    )
    def test_wrong_ones(self, times: np.ndarray, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            check_input_spikes(self.source, times, 0.01, 1e-4)

    def test_an_input_without_spikes(self, mixed: tuple[Network, dict[str, np.ndarray]], tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"given for \['inptu'\]; the network has the inputs \['input'\]"):
            export_project(mixed[0], tmp_path / "project", spikes={"inptu": np.zeros(4)})

    def test_file(self, mixed: tuple[Network, dict[str, np.ndarray]], tmp_path: Path) -> None:
        network, spikes = mixed
        np.savez(tmp_path / "spikes.npz", **spikes)
        np.testing.assert_array_equal(read_spikes(str(tmp_path / "spikes.npz"), network)["input"], spikes["input"])
        np.savez(tmp_path / "other.npz", other=np.zeros(2))
        with pytest.raises(ValueError, match=r"other.npz: holds \['other'\]; expected one array per input"):
            read_spikes(str(tmp_path / "other.npz"), network)
        (tmp_path / "text.npz").write_text("0.1 0.2")
        for name in ("text.npz", "absent.npz"):
            with pytest.raises(ValueError, match=f"{name}: not a readable .npz file"):
                read_spikes(str(tmp_path / name), network)

    def test_defaults(self, yin_yang: Network, mixed: tuple[Network, dict[str, np.ndarray]]) -> None:
        sample = encoded_sample(yin_yang)
        assert sample is not None
        expected = yin_yang_latency(yin_yang_split("test").samples[:1], longest=0.03)[0]
        np.testing.assert_array_equal(sample["input"], expected)
        assert encoded_sample(mixed[0]) is None
        np.testing.assert_allclose(regular_spikes(mixed[0])["input"][:, 0], [0, 0.005, 0.01, 0.015])


class TestSingleModel:
    def test_weight_is_the_smallest_power_of_two_that_causes_a_spike(self) -> None:
        model = load_model("lif", "delta_synapse")
        # v jumps by the weight; the threshold is v > 1
        assert weight_for_one_spike(model, "delta_synapse") == 2.0
        assert exact_weight_for_one_spike(model, "delta_synapse") == 2.0
        refractory = load_model("lif+exp_synapse+refractory")
        weight = exact_weight_for_one_spike(refractory, "exp_synapse")
        assert weight == weight_for_one_spike(load_model("lif+exp_synapse"), "exp_synapse")

    def test_driven_neurons_spike(self) -> None:
        network, spikes = driven_population(load_model("lif"), n=4, duration=0.05, seed=2)
        found, _ = in_runtime(network, spikes)
        assert len(found["neurons"]) > 4
        again, _ = driven_population(load_model("lif"), n=4, duration=0.05, seed=2)
        np.testing.assert_array_equal(again.projections[0].weights, network.projections[0].weights)

    def test_model_without_threshold_gets_weight_one(self) -> None:
        network, _ = driven_population(load_model("leaky_integrator"))
        assert 0.5 < network.projections[0].weights.mean() < 1.5

    def test_wrong_numbers(self) -> None:
        with pytest.raises(ValueError, match="n: expected a positive number, got 0"):
            driven_population(load_model("lif"), n=0)

    def test_what_the_grid_has_no_rules_for_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"the refractory period of lif.* is not supported by the grid simulation"):
            driven_population(load_model("lif", "refractory"))
        network, spikes = driven_population(load_model("lif"), n=2, weight=1.0)
        delayed = dataclasses.replace(network.projections[0], delay=1e-3)
        network = dataclasses.replace(network, projections=(delayed,))
        with pytest.raises(ValueError, match="its delay is not supported by the grid simulation"):
            one_trial(network, spikes, DT)


def test_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(CompilerMissing, match=r"g\+\+ is not installed: apt-get install g\+\+"):
        require_compiler()
    with pytest.raises(CompilerMissing, match="nvcc is not installed: install NVIDIA's CUDA toolkit"):
        require_compiler("nvcc")
