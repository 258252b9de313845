"""Projects of the event engine: complete, equal to the simulation in Python, and no silent wrong numbers."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import snnmodels as snn
from snnmodels.gradients import Simulation
from snnmodels.losses import MaxVoltageCrossEntropy, Samples, SpikeTimes, TTFSCrossEntropy
from snnmodels.projects import export_simulation, load_results
from snnmodels.templates import Network, Population, Projection, SpikeInput, load_model
from tests.exactness.test_currents import driven
from tests.exactness.test_sources import drawn as plastic
from tests.needs import COMPILER

ROOT = Path(__file__).parents[2]
EMULATOR = f"{sys.executable} {ROOT / 'tests' / 'cudacpu' / 'nvcc'}"
MS = 1e-3
SLOW = pytest.mark.slow
needs_nvcc = pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc on PATH")


def layered() -> Network:
    """Two layers of one model, so that little is compiled, with delays and parameters to learn."""
    rng, model = np.random.default_rng(3), load_model("lif+exp_synapse")
    return Network(
        "layered",
        (SpikeInput("input", 4),),
        (
            Population("hidden", 9, model, {"tau_m": 15 * MS}, learnable=("tau_m",)),
            Population("output", 3, model, {"tau_m": 21 * MS}, learnable=("tau_m",)),
        ),
        (
            Projection("up", "input", "hidden", rng.normal(2.6, 0.9, (4, 9)), delay=0.5 * MS, learnable=("w", "delay")),
            Projection("out", "hidden", "output", rng.normal(0.9, 0.3, (9, 3))),
        ),
        "output",
        40 * MS,
    )


def batch(trials: int, seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray]:
    rng = np.random.default_rng(seed)
    times = np.sort(rng.uniform(0, 25 * MS, (trials, 4, 2)), axis=2)
    times[0, 1, 1] = np.inf
    return {"input": times}, rng.integers(0, 3, trials)


def make(folder: Path, *arguments: str) -> None:
    """Run make with nothing but PATH in the environment."""
    command = ["make", "-s", *arguments]
    environment = {"PATH": os.environ["PATH"]}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=550)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr == ""


def start(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["./main", *arguments], cwd=folder, env={}, capture_output=True, text=True, timeout=300)


def run(folder: Path, *arguments: str) -> None:
    done = start(folder, *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def put(folder: Path, values: Mapping[str, Any]) -> None:
    for path, array in values.items():
        np.save(folder / path, array)


def assert_equal(folder: Path, simulation: Simulation, outcome: Any, relative: float = 1e-12) -> None:
    """The same to rounding: spikes, loss, predictions, all gradients."""
    found = load_results(folder)
    spiking = [p.name for p in simulation.plan.populations if p.rules.spiking]
    assert list(found.spikes) == spiking
    for name in spiking:
        np.testing.assert_allclose(found.spikes[name], simulation.spike_times(name), rtol=relative, atol=0)
    if found.loss is not None:
        np.testing.assert_allclose(found.loss, outcome.loss, rtol=10 * relative)
        np.testing.assert_array_equal(found.predictions, outcome.predictions)
    gradients: dict[str, np.ndarray] = outcome.gradients
    assert found.gradients.keys() == gradients.keys()
    for key, gradient in gradients.items():
        assert found.gradients[key].shape == gradient.shape, key
        scale = np.abs(gradient).max(initial=0.0)
        assert scale > 0, key
        np.testing.assert_allclose(found.gradients[key], gradient, rtol=0, atol=10 * relative * scale, err_msg=key)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gradient project in C++, copied elsewhere before it is built."""
    folder = tmp_path_factory.mktemp("projects")
    inputs, labels = batch(3)
    export_simulation(
        layered(), folder / "project", inputs=inputs, what="gradient", loss=TTFSCrossEntropy(), targets=labels
    )
    shutil.move(folder / "project", folder / "a copy elsewhere")
    make(folder / "a copy elsewhere", "-j2", "CXXFLAGS=-O0")
    return folder / "a copy elsewhere"


@pytest.fixture
def copy(project: Path, tmp_path: Path) -> Path:
    """The built project, to be spoilt."""
    shutil.copytree(project, tmp_path / "project", ignore=shutil.ignore_patterns("*.o", "src", "results"))
    return tmp_path / "project"


# --- a project of C++ -----------------------------------------------------------------------------------------------


@COMPILER
def test_a_copied_project_equals_the_simulation(copy: Path) -> None:
    run(copy)
    inputs, labels = batch(3)
    with Simulation(layered(), TTFSCrossEntropy(), batch_size=11) as simulation:
        assert_equal(copy, simulation, simulation.run(inputs, labels))

        # as its README says
        text = (copy / "README.md").read_text()
        for path in re.findall(r"^\| `(results/.*?\.npy)`", text, re.M):
            assert (copy / path).exists()
        (printed,) = re.findall(r"^    import numpy, pathlib\n(?:    .*\n)+", text, re.M)
        code = "\n".join(line[4:] for line in printed.splitlines())
        said = subprocess.run([sys.executable, "-c", code], cwd=copy, capture_output=True, text=True, check=True).stdout
        assert "gradients/up.w (4, 9)\n" in said
        assert "output.spikes (3, 3, " in said

        # another batch, other weights and delays, threads
        inputs, labels = batch(11, seed=1)
        weights = np.random.default_rng(2).normal(2.8, 0.9, (4, 9))
        values = {"up.w": weights, "up.delay": np.array(1.5 * MS)}
        put(copy, {"inputs/input.npy": inputs["input"], "targets.npy": labels})
        put(copy, {f"values/{key}.npy": value for key, value in values.items()})
        run(copy, "--threads", "2")
        assert_equal(copy, simulation, simulation.run(inputs, labels, values))
    run(copy, "--forward")
    assert not load_results(copy).gradients


def wrong() -> list[Any]:
    """What a file is replaced by, and what is said of it; None: it is removed."""
    times = batch(3)[0]["input"]

    def at(value: float, *place: int) -> np.ndarray:
        changed = times.copy()
        changed[place] = value
        return changed

    cases: list[tuple[str, Any, str]] = [
        ("inputs/input.npy", None, "inputs/input.npy: No such file"),
        ("values/up.w.npy", None, "values/up.w.npy: No such file"),
        ("plan/reals.npy", None, "plan/reals.npy: No such file"),
        ("values/up.w.npy", np.zeros((4, 8)), r"values/up.w.npy: shape \(4, 8\); expected \(4, 9\)"),
        ("values/up.w.npy", np.zeros(36), r"values/up.w.npy: shape \(36,\); expected \(4, 9\)"),
        ("values/up.w.npy", np.zeros((4, 9), np.float32), "values/up.w.npy: holds <f4; expected float64"),
        ("values/up.w.npy", np.zeros((9, 4)).T, "Fortran's order"),
        ("values/up.w.npy", np.full((4, 9), np.nan), "values/up.w.npy: holds a value that is not finite"),
        ("values/up.w.npy", np.full((4, 9), 1e300), "population 'hidden'.*"),
        ("values/up.delay.npy", np.array(-1e-3), "values/up.delay.npy: holds a negative delay"),
        ("values/up.delay.npy", np.full((4, 9), 1e-3), r"values/up.delay.npy: shape \(4, 9\); expected \(\)"),
        ("inputs/input.npy", at(np.nan, 1, 2, 0), "trial 1, source 2: a spike time is NaN"),
        ("inputs/input.npy", at(-1e-3, 2, 0, 0), "trial 2, source 0: a spike time is negative"),
        ("inputs/input.npy", times[:, :, ::-1].copy(), "trial 0, source 0: spike times are not ascending"),
        ("inputs/input.npy", at(5.0, 0, 3, 1), "trial 0, source 3: a spike is not before the end of the trial"),
        ("inputs/input.npy", times[0], r"shape \(4, 2\); expected \(trials, 4, spikes of input\)"),
        ("inputs/input.npy", times[:0], "inputs/input.npy: no trials"),
        ("inputs/input.npy", b"\x93NUMPY\x01\x00\xff\xff{'descr'", "ends within its header"),
        ("plan/population0.p0.npy", np.zeros(1), "plan/population0.p0.npy: is not as it was written"),
        ("inputs/input.npy", b"\x93NUMPY\x01\x00\x04\x00{'\xe4'", "its header is damaged"),
        ("inputs/input.npy", b"Trials", "not a .npy file"),
        ("inputs/input.npy", "cut", "cut off"),
        ("targets.npy", np.array([0, 1]), "for as many trials as inputs/input.npy"),
        ("targets.npy", np.array([0, 3, 1]), "label 3 of trial 1 is none of the 3 outputs"),
        ("targets.npy", np.array([0, -1, 1]), "label -1 of trial 1"),
        ("targets.npy", np.zeros(3), "targets.npy: holds float64; expected int64"),
    ]
    return [pytest.param(*case, id=f"{k}-{case[0]}") for k, case in enumerate(cases)]


@COMPILER
@pytest.mark.parametrize(("path", "content", "said"), wrong())
def test_a_wrong_file_is_an_error_and_leaves_no_results(project: Path, path: str, content: Any, said: str) -> None:
    run(project)
    file = project / path
    right = file.read_bytes()
    try:
        if content is None:
            file.unlink()
        elif isinstance(content, str):
            file.write_bytes(right[:-8])
        elif isinstance(content, bytes):
            file.write_bytes(content)
        else:
            np.save(file, content)
        done = start(project)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
        assert re.search(said, done.stderr), done.stderr
        assert not {"results", "results.tmp"} & {p.name for p in project.iterdir()}
        with pytest.raises(FileNotFoundError, match="has no results"):
            load_results(project)
    finally:
        file.write_bytes(right)
    run(project)
    assert load_results(project).gradients


@COMPILER
def test_wrong_words_are_refused(project: Path) -> None:
    for words in (["--backward"], ["--threads"], ["--threads", "none"], ["--threads", "0"]):
        done = start(project, *words)
        assert (done.returncode, done.stderr) == (1, "usage: ./main [--forward] [--threads N]\n")


@COMPILER
def test_an_interrupted_run_leaves_no_results(copy: Path) -> None:
    run(copy)
    inputs, labels = batch(20_000)
    put(copy, {"inputs/input.npy": inputs["input"], "targets.npy": labels})
    going = subprocess.Popen(["./main"], cwd=copy, stderr=subprocess.PIPE)
    until = time.monotonic() + 30
    while (copy / "results").exists() and time.monotonic() < until:
        time.sleep(1e-3)
    # a second one must not take the first one's results away
    other = start(copy)
    assert (other.returncode, other.stderr) == (1, "error: another run is under way in this folder\n")
    going.send_signal(signal.SIGINT)
    going.communicate()
    assert going.returncode == -signal.SIGINT
    assert not (copy / "results").exists()
    (copy / "results.tmp").mkdir(exist_ok=True)  # as one that is killed while it writes leaves it
    (copy / "results.tmp/loss.npy").touch()
    inputs, labels = batch(2)
    put(copy, {"inputs/input.npy": inputs["input"], "targets.npy": labels})
    run(copy)
    assert len(load_results(copy).spikes["output"]) == 2
    assert not (copy / "results.tmp").exists()


@COMPILER
def test_damaged_results_are_refused(copy: Path) -> None:
    run(copy)
    for path, content in (
        ("results/loss.npy", b""),
        ("results/gradients/up.w.npy", b"\x93NUMPY"),
        ("project.json", b"{}"),
        ("project.json", b'{"timing": "precise", "files": [1]}'),
    ):
        right = (copy / path).read_bytes()
        (copy / path).write_bytes(content)
        with pytest.raises(ValueError, match=re.escape(path.rpartition("/")[2])):
            load_results(copy)
        (copy / path).write_bytes(right)
    put(copy, {"results/output.spikes.npy": np.zeros((2, 3, 1))})  # of another batch
    with pytest.raises(ValueError, match=r"output\.spikes"):
        load_results(copy)
    (copy / "results/output.spikes.npy").unlink()
    with pytest.raises(OSError, match=r"output\.spikes"):
        load_results(copy)


# --- writing one ----------------------------------------------------------------------------------------------------


def test_nothing_of_this_machine_is_in_a_project(tmp_path: Path) -> None:
    inputs, _ = batch(1)
    for target in ("cpp", "cuda"):
        made = export_simulation(layered(), tmp_path / target, target, inputs=inputs)  # type: ignore[arg-type]
        sources = list((tmp_path / target / "src").iterdir())
        assert len(sources) == made.sources
        for file in (*sources, *(tmp_path / target / name for name in ("Makefile", "README.md", "project.json"))):
            text = file.read_text()
            for word in (sys.prefix, str(tmp_path), "/tmp", "=native\n"):
                assert word not in text, file
            assert file.suffix == ".h" or not re.search(r"@\w+@", text), f"a placeholder was left in {file}"
        described = json.loads((tmp_path / target / "project.json").read_text())["files"]
        for f in described:
            assert f["path"].startswith("results/") or (tmp_path / target / f["path"]).exists()
            assert f"`{f['path']}`" in (tmp_path / target / "README.md").read_text()


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    inputs, labels = batch(2)
    out = tmp_path / "project"
    whole: dict[str, Any] = {"inputs": inputs, "what": "gradient", "loss": TTFSCrossEntropy()}
    cases: list[tuple[dict[str, Any], str]] = [
        ({**whole, "what": "backward"}, "what = 'backward'; expected 'forward' or 'gradient'"),
        ({**whole, "target": "numpy"}, "target = 'numpy'; expected 'cpp' or 'cuda'"),
        ({**whole, "what": "forward"}, 'are for what = "gradient"'),
        ({**whole, "inputs": {}}, "inputs are"),
        ({**whole, "inputs": {"input": np.zeros((2, 3, 1))}}, "spike times of input 'input' have shape"),
        ({**whole, "targets": labels + 5}, "label"),
        ({**whole, "targets": labels[:1]}, "for 1 trial"),
        ({**whole, "loss": SpikeTimes(), "targets": labels}, "other losses take none here"),
        ({**whole, "loss": "ttfs"}, "loss is 'ttfs'; expected a Loss"),
        ({**whole, "loss": MaxVoltageCrossEntropy()}, "spiking population"),
    ]
    for arguments, said in cases:
        with pytest.raises(ValueError, match=re.escape(said)):
            export_simulation(layered(), out, **arguments)
        assert not list(tmp_path.iterdir())
    export_simulation(layered(), out, inputs=inputs)
    with pytest.raises(FileExistsError, match="earlier project"):
        export_simulation(layered(), out, inputs=inputs)


# --- a project of CUDA ----------------------------------------------------------------------------------------------


@pytest.fixture
def cuda_project(tmp_path: Path) -> Path:
    inputs, labels = batch(3)
    how: dict[str, Any] = {"what": "gradient", "loss": TTFSCrossEntropy(), "targets": labels}
    export_simulation(layered(), tmp_path / "project", "cuda", inputs=inputs, **how)
    shutil.move(tmp_path / "project", tmp_path / "a cuda project elsewhere")
    return tmp_path / "a cuda project elsewhere"


@COMPILER
def test_a_cuda_project_equals_the_simulation(cuda_project: Path) -> None:
    make(cuda_project, f"NVCC={EMULATOR}")
    run(cuda_project)
    with Simulation(layered(), TTFSCrossEntropy(), batch_size=3) as simulation:
        assert_equal(cuda_project, simulation, simulation.run(*batch(3)))
    np.save(cuda_project / "values/up.w.npy", np.zeros((4, 8)))
    assert "expected (4, 9)" in start(cuda_project).stderr
    assert not (cuda_project / "results").exists()
    assert start(cuda_project, "--threads", "2").stderr == "usage: ./main [--forward]\n"


@SLOW
@needs_nvcc
def test_nvcc_compiles_and_links_a_cuda_project(cuda_project: Path) -> None:
    make(cuda_project)
    assert os.access(cuda_project / "main", os.X_OK)
    done = start(cuda_project)
    if done.returncode:
        assert (done.returncode, done.stderr[:29]) == (1, "error: no GPU was found (CUDA")
        return
    with Simulation(layered(), TTFSCrossEntropy(), batch_size=3) as simulation:
        assert_equal(cuda_project, simulation, simulation.run(*batch(3)))


# --- other networks and losses --------------------------------------------------------------------------------------


def masked() -> tuple[Network, dict[str, np.ndarray]]:
    """Recurrent, masked, a delay for each connection, parameters of each neuron, refractory, and a silent read-out."""
    rng, model = np.random.default_rng(5), load_model("lif+alpha_synapse+refractory")
    w, mask, each = rng.normal(0.5, 0.4, (8, 8)), rng.random((8, 8)) < 0.5, rng.uniform(1, 4, (8, 8)) * MS
    learnt = ("w", "delay")
    network = Network(
        "masked",
        (SpikeInput("a", 5), SpikeInput("b", 2)),
        (
            Population("hidden", 8, model, {"tau_m": rng.uniform(10, 30, 8) * MS}, learnable=("tau_m", "v_th")),
            Population("readout", 3, load_model("leaky_integrator+exp_synapse"), learnable=("tau_m",)),
        ),
        (
            Projection("qa", "a", "hidden", rng.normal(1.6, 0.6, (5, 8)), delay=rng.uniform(0, 3 * MS, (5, 8))),
            Projection("qb", "b", "hidden", rng.normal(1.6, 0.6, (2, 8)), learnable=learnt, delay=1 * MS),
            Projection("loop", "hidden", "hidden", w, mask=mask, learnable=learnt, delay=each),
            Projection("out", "hidden", "readout", rng.normal(0.3, 0.4, (8, 3)), mask=rng.random((8, 3)) < 0.6),
        ),
        "readout",
        40 * MS,
    )
    times = [np.sort(rng.uniform(0, 35 * MS, (4, n, 6)), axis=2) for n in (5, 2)]
    return network, {"a": times[0], "b": times[1]}


def built(tmp_path: Path, target: str, network: Network, inputs: dict[str, np.ndarray], **how: Any) -> Path:
    """A built project; that of C++ for the processor at hand, as the engine itself is."""
    export_simulation(network, tmp_path / "project", target, inputs=inputs, **how)  # type: ignore[arg-type]
    make(tmp_path / "project", *([f"NVCC={EMULATOR}"] if target == "cuda" else ["ARCH=-march=native"]))
    return tmp_path / "project"


def in_process(network: Network, loss: Any, target: str) -> Simulation:
    """The same engine, for nonlinear flows of different engines agree to their tolerance alone."""
    same: Any = f"{target}_standalone"
    return Simulation(network, loss, batch_size=4, target=same)


@pytest.fixture(autouse=True)
def emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NVCC", EMULATOR)


@SLOW
@COMPILER
@pytest.mark.parametrize("target", ["cpp", "cuda"])
def test_masks_delays_and_maxima(target: str, tmp_path: Path) -> None:
    network, inputs = masked()
    labels = np.array([0, 2, 1, 1])
    loss = MaxVoltageCrossEntropy(scale=0.1)
    folder = built(tmp_path, target, network, inputs, what="gradient", loss=loss, targets=labels)
    run(folder)
    with in_process(network, loss, target) as simulation:
        assert_equal(folder, simulation, simulation.run(inputs, labels))
        # delays in another order
        delays = np.random.default_rng(1).uniform(1, 5, (8, 8)) * MS
        put(folder, {"values/loop.delay.npy": delays})
        run(folder)
        assert_equal(folder, simulation, simulation.run(inputs, labels, {"loop.delay": delays}))


@SLOW
@COMPILER
@pytest.mark.parametrize("target", ["cpp", "cuda"])
def test_states_of_sources(target: str, tmp_path: Path) -> None:
    case = plastic(load_model("lif+tsodyks_markram"), 1, weight=10)
    # so late that sources have spiked several times
    weaker = (replace(q, weights=0.3 * q.weights) if q.name == "out" else q for q in case.network.projections)
    network = replace(case.network, projections=tuple(weaker))
    inputs = {k: np.repeat(v, 4, axis=0) for k, v in case.inputs.items()}
    labels, loss = np.array([0, 2, 1, 1]), TTFSCrossEntropy()
    folder = built(tmp_path, target, network, inputs, what="gradient", loss=loss, targets=labels)
    run(folder)
    with in_process(network, loss, target) as simulation:
        assert_equal(folder, simulation, simulation.run(inputs, labels))


@SLOW
@COMPILER
@pytest.mark.parametrize("target", ["cpp", "cuda"])
@pytest.mark.parametrize(("name", "scale"), [("lif+exp_synapse", 1.6), ("qif+exp_synapse+refractory", 0.03)])
def test_currents_and_derivatives_from_files(name: str, scale: float, target: str, tmp_path: Path) -> None:
    network, inputs = driven(load_model(name), scale, 3)
    last = network.populations[-1].name
    read = [SpikeTimes(last), Samples(last, "v", 1.7 * MS), SpikeTimes(network.populations[0].name)]
    folder = built(tmp_path, target, network, inputs, what="gradient", loss=read)
    assert "derivatives/" in start(folder).stderr
    run(folder, "--forward")
    with in_process(network, read, target) as simulation:
        observed = simulation.forward(inputs)
        found = load_results(folder)
        names = [f"{last}.spikes", f"{last}.v.samples", f"{network.populations[0].name}.spikes"]
        rng, derivatives = np.random.default_rng(9), []
        (folder / "derivatives").mkdir()
        for key, values in zip(names, observed, strict=True):
            derivatives.append(np.where(np.isfinite(values), rng.normal(size=values.shape), 0.0))
            np.save(folder / f"derivatives/{key}.npy", derivatives[-1])
        gradients = simulation.backward(tuple(derivatives))
        np.testing.assert_allclose(found.states[names[1]], observed[1], rtol=0, atol=1e-11 * np.abs(observed[1]).max())
        run(folder)
        assert_equal(folder, simulation, _Found(gradients), relative=1e-11)
    np.save(folder / f"derivatives/{names[0]}.npy", np.ones(observed[0].shape))
    assert "must be 0 where a spike time is inf" in start(folder).stderr


@dataclasses.dataclass
class _Found:
    gradients: dict[str, np.ndarray]


@SLOW
@COMPILER
def test_a_forward_project_samples_what_does_not_spike(tmp_path: Path) -> None:
    network, inputs = masked()
    folder = built(tmp_path, "cpp", network, inputs, interval=0.5 * MS)
    run(folder)
    found = load_results(folder)
    with in_process(network, [Samples(interval=0.5 * MS), SpikeTimes("hidden")], "cpp") as simulation:
        samples, spikes = simulation.forward(inputs, gradient=False)
    # built as the engine itself is, so bit for bit
    np.testing.assert_array_equal(found.states["readout.v.samples"], samples)
    np.testing.assert_array_equal(found.spikes["hidden"], spikes)
    assert snn.load_results is load_results
