"""The engine on CUDA, on an emulator that runs it on the processor (tests/cudacpu), and on a GPU where there is one."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import subprocess
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import cuba
from benchmarks.cuda_on_paper import kernels
from snnmodels.events.engine import SimulationError
from snnmodels.events.plan import EnginePlan
from snnmodels.files import read_json
from snnmodels.gradients import Outcome, Probe, Simulation, probe
from snnmodels.losses import MaxVoltageCrossEntropy, SpikeTimes, TTFSCrossEntropy
from snnmodels.studies.targets import changes_by_last_bits
from snnmodels.targets.compilation import BuildFailed
from snnmodels.targets.cuda import program
from snnmodels.targets.cuda.engine import CudaEngine
from snnmodels.targets.numpy.engine import NumpyEngine
from snnmodels.targets.process import EXCHANGE, ProgramError
from snnmodels.templates import Network, load_model, load_network
from snnmodels.templates.groups import Projection
from tests.events import test_rounds
from tests.events.agreement import Run, assert_agrees, random_network, reference_of, run
from tests.events.drawn import MS, Drawn
from tests.events.test_drawn_networks import numbered
from tests.exactness.networks import check
from tests.exactness.test_currents import driven
from tests.exactness.test_sources import drawn as plastic
from tests.needs import COMPILER, HAS_NVCC, has_gpu
from tests.oracle.networks import Polynomial, SumOfMaxima, SumOfSamples
from tests.targets.networks import ORDERS, yin_yang

ROOT = Path(__file__).parents[2]
SLOW = pytest.mark.slow


def make(plan: EnginePlan) -> CudaEngine:
    return CudaEngine(plan, trials=2, timeout=300)


def closed(found: Run) -> Run:
    found.engine.close()
    return found


def assert_same(found: Run, expected: Run, relative: float = 1e-12) -> None:
    """The same to rounding: spikes, loss, all gradients, and what is told of crossings."""
    for name, times in expected.spikes.items():
        np.testing.assert_allclose(found.spikes[name], times, rtol=0, atol=1e-14, err_msg=name)
    np.testing.assert_allclose(found.loss, expected.loss, rtol=relative)
    assert found.gradients.keys() == expected.gradients.keys()
    for key, gradient in expected.gradients.items():
        per = 1e3 if key.endswith((".delay", ".times")) else 1.0
        scale = max(np.abs(gradient).max(initial=0.0), 1e-3 * per * max(1.0, abs(expected.loss)))
        np.testing.assert_allclose(found.gradients[key], gradient, rtol=0, atol=relative * scale, err_msg=key)
    assert found.engine.ties == expected.engine.ties
    np.testing.assert_allclose(found.engine.smallest_gdot, expected.engine.smallest_gdot, rtol=1e-9)


# --- against the reference, and the other targets ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "loss"),
    [
        pytest.param(0, None, marks=SLOW),  # of which test_no_races runs a part
        pytest.param(100, None, marks=SLOW),
        (500_000, SumOfMaxima()),
        pytest.param(500_010, SumOfSamples(interval=1.7 * MS), id="samples", marks=SLOW),
        *(pytest.param(1000 * k, None, marks=SLOW) for k in range(2, 12)),
        *(pytest.param(510_000 + 1000 * k, SumOfMaxima(), marks=SLOW) for k in range(4)),
        *(pytest.param(520_000 + 1000 * k, SumOfSamples(interval=1.7 * MS), marks=SLOW) for k in range(4)),
    ],
)
def test_drawn_networks(cuda: str, first: int, loss: Any) -> None:
    (drawn,) = numbered(first, 1, readout=loss is not None)
    found = run(make, drawn.network, drawn.inputs, loss)
    assert_agrees(found, reference_of(drawn.network, drawn.inputs, loss), hardly=1e-3)
    assert_same(found, run(NumpyEngine, drawn.network, drawn.inputs, loss))




@pytest.mark.parametrize("delay", ["each", pytest.param("common", marks=SLOW), pytest.param("none", marks=SLOW)])
@pytest.mark.parametrize("name", ["lif+delta_synapse", pytest.param("lif+alpha_synapse+refractory", marks=SLOW)])
def test_recurrence_masks_and_own_parameters(cuda: str, name: str, delay: str) -> None:
    jumps = "delta" in name
    scale, loops = 0.6 if jumps else 3.0, 0.5 * (not jumps or delay != "none")  # jumps without delay may have no end
    network, inputs = random_network(load_model(name), scale, 3, recurrent=loops, delay=delay, masked=True, own=True)
    found, expected = run(make, network, inputs), run(NumpyEngine, network, inputs)
    assert sum(np.isfinite(t).sum() for t in found.spikes.values()) > 20
    assert_same(found, expected)


@pytest.mark.parametrize(
    ("name", "scale", "loss"),
    [
        pytest.param("qif+exp_synapse+refractory", 0.03, None, marks=SLOW),
        ("izhikevich_2007", 3e-10, None),  # a condition in an equation
        pytest.param("eif+alpha_synapse+current_adaptation", 0.03, None, marks=SLOW),
        pytest.param("qif+delta_synapse", 0.03, None, marks=SLOW),
        pytest.param("qif+exp_synapse", 0.03, SumOfSamples(interval=1.7 * MS), marks=SLOW),
    ],
)
def test_nonlinear_models(cuda: str, name: str, scale: float, loss: Any) -> None:
    network, inputs = random_network(load_model(name), scale, 4, delay="each", duration=20 * MS)
    # Where states are sampled, Taylor steps end elsewhere than on NumPy: they have to be so good that it matters not
    how = 1e-10 if loss is None else 1e-12
    found, expected = (run(on, network, inputs, loss, tolerance=how) for on in (make, NumpyEngine))
    assert sum(np.isfinite(t).sum() for t in found.spikes.values()) > 5
    assert_same(found, expected, 1e-11)


NEURONS = sorted(p.stem for p in (ROOT / "equations" / "neurons").glob("*.toml"))


@COMPILER
@SLOW
@pytest.mark.parametrize("name", NEURONS)
def test_every_neuron_of_the_library(cuda: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With delays, currents and every parameter learnable, as C++ has it; the same bits in every order of threads."""
    model = load_model(name)
    driven = any(not i.read_at for i in model.inputs.values())
    given = probe(model, trials=1, delays=True, currents=driven, target="cpp_standalone")
    outcomes, spikes = [], []
    for target in ("cpp_standalone", "cuda_standalone"):
        with Simulation(given.network, given.loss, batch_size=1, target=target) as simulation:  # type: ignore[arg-type]
            outcomes.append(simulation.run(given.inputs, given.targets))
            spiking = [p.name for p in given.network.populations if p.model.spiking]
            spikes.append([simulation.spike_times(p) for p in spiking])
    for one, other in zip(*spikes, strict=True):
        np.testing.assert_allclose(other, one, rtol=0, atol=1e-13)
    np.testing.assert_allclose(outcomes[1].loss, outcomes[0].loss, rtol=1e-10)
    for key, gradient in outcomes[0].gradients.items():
        apart = np.linalg.norm(outcomes[1].gradients[key] - gradient)
        # flows of both are good for 1e-10; their rounding differs
        assert apart <= 1e-9 * np.linalg.norm(gradient), key
    for order in ORDERS[1:] if cuda == "emulated" else ():
        monkeypatch.setenv("CUDACPU_ORDER", order)
        with Simulation(given.network, given.loss, batch_size=1, target="cuda_standalone") as simulation:
            other = simulation.run(given.inputs, given.targets)
        assert other.loss == outcomes[1].loss
        for key, gradient in outcomes[1].gradients.items():
            assert np.array_equal(other.gradients[key], gradient), key


@SLOW
def test_currents(cuda: str) -> None:
    network, inputs = driven(load_model("lif+exp_synapse"), 1.0, 5)
    outcomes = []
    for target in ("numpy", "cuda_standalone"):
        with Simulation(network, Polynomial(), batch_size=2, target=target) as simulation:  # type: ignore[arg-type]
            outcomes.append(simulation.run(inputs, np.zeros(2, dtype=int)))
    same_outcomes(*outcomes)
    assert np.abs(outcomes[0].gradients["held.samples"]).max() > 0


@pytest.mark.parametrize("delays", ["one", pytest.param("each", marks=SLOW)])
def test_states_of_sources(cuda: str, delays: str) -> None:
    check(plastic(load_model("lif+tsodyks_markram"), 1, weight=10, delays=delays), "cuda_standalone", timeout=300)


def same_outcomes(one: Outcome, other: Outcome, relative: float = 1e-12) -> None:
    np.testing.assert_allclose(one.loss, other.loss, rtol=relative)
    assert one.gradients.keys() == other.gradients.keys()
    for key, gradient in one.gradients.items():
        atol = relative * np.abs(gradient).max(initial=0.0)
        np.testing.assert_allclose(other.gradients[key], gradient, rtol=0, atol=atol, err_msg=key)


# --- many neurons for each thread of a block --------------------------------------------------------------------------


def assert_as_cpp(
    network: Network, inputs: dict[str, np.ndarray], loss: Any, targets: np.ndarray, *, barely: bool = False
) -> Outcome:
    """The same spikes, loss and gradients as in C++; the outcome there.

    Where spikes are `barely` spikes, gradients are compared in norm, and may differ by twice what last bits of the
    parameters do to those of C++.
    """
    outcomes, spikes = [], []
    for target in ("cpp_standalone", "cuda_standalone"):
        with Simulation(network, loss, batch_size=len(targets), target=target, input_gradients=False) as simulation:  # type: ignore[arg-type]
            outcomes.append(simulation.run(inputs, targets))
            spikes.append([simulation.spike_times(p.name) for p in network.populations if p.model.spiking])
    for one, other in zip(*spikes, strict=True):
        np.testing.assert_allclose(other, one, rtol=0, atol=1e-13)
    if not barely:
        same_outcomes(*outcomes)
        return outcomes[0]
    np.testing.assert_allclose(outcomes[1].loss, outcomes[0].loss, rtol=1e-12)
    rounding = changes_by_last_bits(Probe(network, inputs, loss, targets), "cpp_standalone")
    for key, gradient in outcomes[0].gradients.items():
        assert rounding[key] < 1e-10, key
        apart = np.linalg.norm(outcomes[1].gradients[key] - gradient) / np.linalg.norm(gradient)
        assert apart <= max(1e-12, 2 * rounding[key]), f"{key}: {apart:.1e} apart, last bits do {rounding[key]:.1e}"
    return outcomes[0]


@COMPILER
@SLOW
@pytest.mark.parametrize("delays", ["common", "own", "none"])
def test_4000_neurons_with_few_connections(cuda: str, delays: str) -> None:
    """The CUBA network as its first neurons spike."""
    whole, times = cuba.network(4000, delays, duration=46 * MS)
    network = dataclasses.replace(whole, duration=17 * MS)
    early = np.where(times < network.duration, times, np.inf)
    outcome = assert_as_cpp(network, {"input": early}, cuba.SumOfSpikeTimes(), np.zeros(1, dtype=int))
    assert outcome.spikes["exc"] > 200


@COMPILER
@SLOW
def test_two_hidden_layers_of_1000_neurons(cuda: str) -> None:
    rng = np.random.default_rng(0)
    whole = load_network("mnist")
    hidden, output = whole.populations
    layers = [dataclasses.replace(hidden, name=name, n=1000) for name in ("first", "second")]
    sizes = ((784, 1000, 0.078, 0.045), (1000, 1000, 0.008, 0.01), (1000, 10, 0.1, 0.2))
    ends = (("input", "first"), ("first", "second"), ("second", "output"))
    projections = tuple(
        Projection("", *end, rng.normal(mean, spread, (rows, columns)))
        for end, (rows, columns, mean, spread) in zip(ends, sizes, strict=True)
    )
    network = dataclasses.replace(whole, populations=(*layers, output), projections=projections)
    grey = np.where(rng.random((2, 784)) < 0.2, rng.uniform(0, 20 * MS, (2, 784)), np.inf)
    outcome = assert_as_cpp(network, {"input": grey}, MaxVoltageCrossEntropy(), np.array([1, 2]), barely=True)
    assert min(outcome.spikes["first"], outcome.spikes["second"]) > 500


# --- what must not matter ---------------------------------------------------------------------------------------------


@COMPILER
@pytest.mark.usefixtures("emulated")
def test_the_order_of_threads_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = busy()  # of the program that `test_going_back_twice` has: compiling is what takes time
    runs = []
    for order in ORDERS:
        monkeypatch.setenv("CUDACPU_ORDER", order)
        runs.append(closed(run(make, drawn.network, drawn.inputs)))
    assert sum(np.isfinite(t).sum() for t in runs[0].spikes.values()) > 20
    for other in runs[1:]:
        assert other.loss == runs[0].loss
        for key, gradient in runs[0].gradients.items():
            assert np.array_equal(other.gradients[key], gradient), key


@COMPILER
@pytest.mark.usefixtures("emulated")
@pytest.mark.parametrize("threads", [32, pytest.param(64, marks=SLOW), pytest.param(256, marks=SLOW)])
def test_the_size_of_blocks_is_a_matter_of_rounding(planted: Any, threads: int) -> None:
    """How many threads share the neurons of a trial decides the order of sums over them, and nothing else."""
    planted("device.cuh", "constexpr int THREADS = 128,", f"constexpr int THREADS = {threads},")
    network, times, labels = yin_yang(3, hidden=70)
    outcomes = []
    for target in ("numpy", "cuda_standalone"):
        with Simulation(network, TTFSCrossEntropy(), batch_size=3, target=target) as simulation:  # type: ignore[arg-type]
            outcomes.append(simulation.run(times, labels))
    assert outcomes[0].spikes["hidden"] > 10
    same_outcomes(*outcomes)


def test_batches_of_all_sizes_one_after_the_other(cuda: str) -> None:
    """Room that one batch has made, and what it has left there, are nothing to the next; nor is a second way back."""
    network, times, labels = yin_yang(7)
    for batch in ([0, 1, 2], [6], [0, 1, 2, 3, 4, 5, 6], [3, 4]):
        outcomes = []
        for target in ("numpy", "cuda_standalone"):
            with Simulation(network, TTFSCrossEntropy(), batch_size=7, target=target) as fresh:  # type: ignore[arg-type]
                outcomes.append(fresh.run({"input": times["input"][batch]}, labels[batch]))
        same_outcomes(*outcomes)
    with Simulation(network, TTFSCrossEntropy(), batch_size=7, target="cuda_standalone") as simulation:
        for batch in ([6], [0, 1, 2, 3, 4, 5, 6], [3, 4]):
            outcome = simulation.run({"input": times["input"][batch]}, labels[batch])
        same_outcomes(outcomes[1], outcome, 0.0)


def test_going_back_twice(cuda: str) -> None:
    (drawn,) = numbered(0, 1)  # refractory neurons among others
    plan = EnginePlan.of(drawn.network, [SpikeTimes()])
    engine = make(plan)
    engine.forward([drawn.inputs[i.name] for i in drawn.network.inputs])
    pull = np.ones(engine.observed()[0].shape)
    engine.pull([pull])
    first = [engine.weight_gradient(q.index) for q in plan.projections]
    engine.pull([pull])
    for q, expected in zip(plan.projections, first, strict=True):
        assert np.array_equal(engine.weight_gradient(q.index), expected)
    engine.close()


@SLOW
def test_more_spikes_than_there_is_room_for(cuda: str) -> None:
    """Lists grow until everything fits."""
    network, inputs = random_network(load_model("lif+exp_synapse"), 12.0, 2, recurrent=0.2, duration=60 * MS, trials=1)
    found, expected = closed(run(make, network, inputs)), run(NumpyEngine, network, inputs)
    assert sum(np.isfinite(t).sum() for t in found.spikes.values()) > 500
    for name, times in expected.spikes.items():
        np.testing.assert_allclose(found.spikes[name], times, rtol=0, atol=1e-11, err_msg=name)


@SLOW
def test_what_meets_at_one_instant(cuda: str) -> None:
    """Arrivals of one instant come in the order of their sources, and a refractory period may end with the trial."""
    for first, delay in test_rounds.KINKS:
        network, inputs = test_rounds.kink(first, delay)
        found = closed(run(make, network, inputs, SumOfMaxima()))
        assert_agrees(found, reference_of(network, inputs, SumOfMaxima()), hardly=1e-3)
    network, inputs = test_rounds.released_at_the_end()
    found = closed(run(make, network, inputs))
    assert_agrees(found, reference_of(network, inputs))
    assert np.isfinite(found.spikes["b"]).sum() == 2


# --- what has no result -----------------------------------------------------------------------------------------------


def messages(network: Network, inputs: dict[str, np.ndarray], **options: Any) -> list[str]:
    said = []
    for target in ("numpy", "cuda_standalone"):
        with (
            Simulation(network, Polynomial(), batch_size=2, target=target, **options) as simulation,  # type: ignore[arg-type]
            pytest.raises(SimulationError) as caught,
        ):
            simulation.run(inputs, np.zeros(2, dtype=int))
        said.append(str(caught.value))
    return said


def test_failures_are_told_as_on_other_targets(cuda: str) -> None:
    lif = load_model("lif+delta_synapse")
    network, inputs = random_network(lif, 0.6, 1, recurrent=0.5, delay="common")
    one, other = messages(network, inputs, max_spikes=5)
    assert one.split(" at ")[0] == other.split(" at ")[0]
    assert "max_spikes = 5" in one
    loud, inputs = random_network(lif, 0.6, 1, recurrent=-40.0)
    one, other = messages(loud, inputs)
    assert "spike twice at the same instant" in one
    assert "spike twice at the same instant" in other


def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NVCC", "/nowhere/nvcc")
    network, _, _ = yin_yang(1)
    with pytest.raises(BuildFailed, match=r"/nowhere/nvcc is not there.*NVCC"):
        Simulation(network, TTFSCrossEntropy(), target="cuda_standalone")
    with pytest.raises(ValueError, match="threads = 2"):
        Simulation(network, TTFSCrossEntropy(), target="cuda_standalone", threads=2)


@pytest.mark.skipif(not HAS_NVCC or has_gpu(), reason="needs nvcc, and no GPU")
@SLOW
def test_nvcc_takes_the_program_and_a_missing_gpu_is_told() -> None:
    (drawn,) = numbered(0, 1)
    plan = EnginePlan.of(drawn.network, [SpikeTimes()])
    with pytest.raises(ProgramError, match="no GPU was found"):
        make(plan)


def calls_of(ptx: str) -> dict[str, set[str]]:
    """What every function calls."""
    found: dict[str, set[str]] = {}
    for part in re.split(r"\n(?=(?:\.visible |\.weak )?\.(?:func|entry) )", ptx)[1:]:
        name = re.search(r"\.(?:func|entry)\s+(?:\([^)]*\)\s*)?([\w$]+)", part)
        assert name is not None
        found.setdefault(name[1], set()).update(re.findall(r"\bcall(?:\.uni)?\s+(?:\([^)]*\),\s*)?([\w$]+)", part))
    return found


@pytest.mark.skipif(not HAS_NVCC, reason="needs nvcc")
@SLOW
@pytest.mark.parametrize("name", ["qif+exp_synapse+refractory", "lif_conductance"])
def test_nvcc_has_nothing_to_say(name: str, tmp_path: Path) -> None:
    """No warning; and no function calls itself, for which a GPU would have to be told to make room on the stack."""
    network, _ = random_network(load_model(name), 0.03, 4)
    plan = EnginePlan.of(network, [SpikeTimes()])
    files, _ = program.sources([p.rules for p in plan.groups], plan.tolerance)
    for file, text in (files | {"program.cu": program.main_file()}).items():
        (tmp_path / file).write_text(text)
    flags = [*(flag for flag in program.FLAGS if flag != "-w"), "-arch=sm_90", "-Xptxas", "-v", "-keep"]
    words = ["nvcc", *flags, f'-DSNN_EXCHANGE="{EXCHANGE}"', "-c", "program.cu", "-o", "program.o"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:3000]
    assert not re.findall(r".*(?:warning|error).*", done.stderr)
    assert kernels(done.stderr).keys() >= {"forward", "backward"}
    calls = calls_of((tmp_path / "program.ptx").read_text())
    assert all(any(kernel in name for name in calls) for kernel in ("forward", "backward"))
    TopologicalSorter(calls).prepare()  # raises an error where calls go in a circle


# --- faults that are planted are found --------------------------------------------------------------------------------


def busy() -> Drawn:
    """Refractory neurons, recurrence, delays; several spikes in a piece. Without the last third of a trial."""
    (drawn,) = numbered(0, 1)
    network = dataclasses.replace(drawn.network, duration=0.65 * drawn.network.duration)
    return dataclasses.replace(drawn, network=network)


@COMPILER
@pytest.mark.usefixtures("races")
def test_no_races() -> None:
    drawn = busy()
    expected = run(NumpyEngine, drawn.network, drawn.inputs)
    assert all(np.isfinite(times).sum() > 3 for times in expected.spikes.values())
    assert_same(run(make, drawn.network, drawn.inputs), expected)


@COMPILER
@SLOW
@pytest.mark.usefixtures("races")
@pytest.mark.parametrize("kind", ["delta", "maxima", "currents", "sources"])
def test_no_races_elsewhere(kind: str) -> None:
    if kind == "delta":
        model = load_model("lif+delta_synapse+refractory")
        network, inputs = random_network(model, 0.6, 5, recurrent=0.5, delay="each", masked=True)
        closed(run(make, network, inputs))
    elif kind == "maxima":
        (drawn,) = numbered(500_004, 1, readout=True)
        closed(run(make, drawn.network, drawn.inputs, SumOfMaxima()))
    elif kind == "sources":
        check(plastic(load_model("lif+tsodyks_markram"), 1, weight=10), "cuda_standalone", timeout=300)
    else:
        network, inputs = driven(load_model("lif+exp_synapse"), 1.0, 5)
        with Simulation(network, Polynomial(), batch_size=2, target="cuda_standalone") as simulation:
            simulation.run(inputs, np.zeros(2, dtype=int))


RULES = {
    "Taylor steps while refractory": "qif+exp_synapse+refractory",
    "conditions": "integrate_and_fire_or_burst",
    "conductances": "lif_conductance",
    "no reset": "fitzhugh_nagumo",
}


@COMPILER
@SLOW
@pytest.mark.usefixtures("races")
@pytest.mark.parametrize("what", RULES)
def test_no_races_whatever_the_rules(what: str) -> None:
    given = probe(load_model(RULES[what]), trials=2, delays=True, target="cpp_standalone")
    outcomes = []
    for target in ("cpp_standalone", "cuda_standalone"):
        with Simulation(given.network, given.loss, batch_size=2, target=target) as simulation:  # type: ignore[arg-type]
            outcomes.append(simulation.run(given.inputs, given.targets))
    np.testing.assert_allclose(outcomes[1].loss, outcomes[0].loss, rtol=1e-10)


BARRIER = "        const int n = s.raw, first = *have;\n        __syncthreads();\n"
ATOMIC = "const int slot = atomicAdd(&s.raw, 1);"


@COMPILER
@pytest.mark.usefixtures("races")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(BARRIER, BARRIER.replace("        __syncthreads();\n", ""), id="barrier"),
        pytest.param(ATOMIC, "const int slot = s.raw++;", id="atomic", marks=SLOW),
    ],
)
def test_a_planted_race_is_found(planted: Any, old: str, new: str) -> None:
    planted("forward.cuh", old, new)
    drawn = busy()
    with pytest.raises(ProgramError, match="CUDACPU RACE in kernel forward"):
        run(make, drawn.network, drawn.inputs)


@COMPILER
@SLOW
@pytest.mark.usefixtures("emulated")
def test_a_planted_factor_is_found(planted: Any) -> None:
    planted("backward.cuh", "gw += out[0], sensitivity = out[1];", "gw += 1.0001 * out[0], sensitivity = out[1];")
    drawn = busy()
    found, expected = run(make, drawn.network, drawn.inputs), run(NumpyEngine, drawn.network, drawn.inputs)
    with pytest.raises(AssertionError, match=r"q\d+\.w"):
        assert_same(found, expected)


@COMPILER
@SLOW
@pytest.mark.usefixtures("emulated")
def test_a_way_back_of_many_steps_is_gone_in_pieces(planted: Any) -> None:
    """With room for two steps instead of 32, the way between two events is gone again for every two of them."""
    network, inputs = random_network(load_model("qif+exp_synapse+refractory"), 0.03, 4, delay="each", duration=20 * MS)
    whole = run(make, network, inputs)
    planted("crossing.cuh", "constexpr int MANY = 32;", "constexpr int MANY = 2;")
    pieces = run(make, network, inputs)
    assert sum(np.isfinite(t).sum() for t in whole.spikes.values()) > 5
    assert pieces.loss == whole.loss
    for key, gradient in whole.gradients.items():
        assert np.array_equal(pieces.gradients[key], gradient), key
    planted("crossing.cuh", "while (rest != 0)", "while (rest < 0)")  # the last piece alone
    last = run(make, network, inputs)
    assert not all(np.array_equal(last.gradients[key], gradient) for key, gradient in whole.gradients.items())


# --- the script that compares everything where there is a GPU ---------------------------------------------------------


@COMPILER
@SLOW
def test_the_script_compares_a_neuron(cuda: str, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("check_cuda", ROOT / "scripts/check_cuda.py")
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.main(["--only", "lif", "--out", str(tmp_path)]) == 0
    found = read_json(tmp_path / "results" / "cuda.json", "results file", "neurons", "times", "device")
    assert "| lif | closed form |" in (tmp_path / "cuda_check.md").read_text()
    (record,) = found["neurons"]
    assert record["neuron"] == "lif"
    assert script.passes(record)
    assert not script.passes({**record, "gradients": 1e-4})
    assert not script.passes({**record, "times": None})
    with pytest.raises(ValueError, match="--only lief: the library has no such neuron"):
        script.main(["--only", "lief"])
