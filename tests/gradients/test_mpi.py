"""Batches divided among processes: the same bits with one process and with several."""

import os
import shutil
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

import snnmodels as snn
from snnmodels.datasets import yin_yang_latency, yin_yang_split
from snnmodels.gradients import mpi

ROOT = Path(__file__).parents[2]


class Group:
    """Threads that stand in for processes: what `MPISimulation` uses of a communicator."""

    def __init__(self, size):
        self.size, self._barrier, self._held = size, threading.Barrier(size, timeout=60), [None] * size

    def member(self, rank):
        group = self

        class Member:
            size = group.size

            def __init__(self):
                self.rank = rank

            def allgather(self, sendobj):
                group._held[rank] = sendobj
                group._barrier.wait()
                every = list(group._held)
                group._barrier.wait()
                return every

        return Member()


def in_group(size, work):
    """What `work` returns or raises, given the communicator of each of some threads."""
    group, found = Group(size), [None] * size

    def one(rank):
        try:
            found[rank] = work(group.member(rank))
        except Exception as error:
            found[rank] = error

    threads = [threading.Thread(target=one, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@pytest.fixture(scope="module")
def network():
    onto = {"weights": {"distribution": "normal", "mean": 4, "std": 1}}
    return snn.load_network("yin_yang", seed=1, hidden={"n": 12, "learnable": ["tau_m"]}, hidden_output=onto)


SAMPLES, LABELS = (x[:11] for x in yin_yang_split("train"))
INPUTS = {"input": yin_yang_latency(SAMPLES)}


def outcome(network, comm, parts=4, inputs=INPUTS, **options):
    simulation = mpi.MPISimulation(network, snn.TTFSCrossEntropy(), parts=parts, batch_size=12, comm=comm)
    return simulation.run(inputs, LABELS, **options)


@pytest.fixture(scope="module")
def alone(network):
    (found,) = in_group(1, lambda comm: outcome(network, comm))
    return found


def equal(one, other):
    assert one.loss == other.loss
    assert one.gradients.keys() == other.gradients.keys()
    for key, gradient in one.gradients.items():
        np.testing.assert_array_equal(other.gradients[key], gradient)
    np.testing.assert_array_equal(one.predictions, other.predictions)
    np.testing.assert_array_equal(one.output, other.output)
    for name in ("spikes", "smallest_gdot", "ties", "silent"):
        assert getattr(one, name) == getattr(other, name)


@pytest.mark.parametrize("size", [2, 3])
def test_any_number_of_processes_gives_the_same_bits(network, alone, size):
    for found in in_group(size, lambda comm: outcome(network, comm)):
        equal(found, alone)


def test_it_is_the_batch_of_a_simulation_to_rounding(network, alone):
    with snn.Simulation(network, snn.TTFSCrossEntropy(), batch_size=12) as simulation:
        whole = simulation.run(INPUTS, LABELS)
    assert alone.loss == pytest.approx(whole.loss, rel=1e-14)
    assert set(alone.gradients) == {"input_hidden.w", "hidden_output.w", "hidden.tau_m", "input.times"}
    for key, gradient in whole.gradients.items():
        scale = np.abs(gradient).max()
        assert scale > 0
        np.testing.assert_allclose(alone.gradients[key], gradient, rtol=0, atol=1e-13 * scale)
    np.testing.assert_array_equal(alone.output, whole.output)
    np.testing.assert_array_equal(alone.predictions, whole.predictions)
    assert (alone.silent, alone.ties) == (whole.silent, whole.ties)
    assert alone.spikes == pytest.approx(whole.spikes, rel=1e-14)
    (one,) = in_group(1, lambda comm: outcome(network, comm, parts=1))
    for key, gradient in whole.gradients.items():
        np.testing.assert_array_equal(one.gradients[key], gradient)


def test_fewer_trials_than_parts(network):
    def work(comm):
        simulation = mpi.MPISimulation(network, snn.TTFSCrossEntropy(), parts=4, batch_size=12, comm=comm)
        return simulation.run({"input": INPUTS["input"][:2]}, LABELS[:2])

    (one,), several = in_group(1, work), in_group(3, work)
    for found in several:
        equal(found, one)


def test_what_goes_wrong_in_one_goes_wrong_in_all(network):
    late = {"input": INPUTS["input"] + np.where(np.arange(11) == 10, 1.0, 0.0)[:, None]}  # in the last part alone
    for found in in_group(2, lambda comm: outcome(network, comm, inputs=late)):
        assert isinstance(found, ValueError)
        assert "is not before the end of the trial" in str(found)
    for what, given in (("inputs", {"inputs": {"input": INPUTS["input"] * 0.5}}),
                        ("values", {"values": {"hidden_output.w": np.ones((12, 3))}}),
                        ("gradient", {"gradient": False})):  # fmt: skip
        for found in in_group(2, lambda comm, g=given: outcome(network, comm, **(g if comm.rank else {}))):
            assert isinstance(found, snn.SimulationError)
            assert f"processes 0 and 1 differ in {what}: all have to run the same program" in str(found)
    ragged = {"inputs": {"input": [[0.001], [0.002, 0.003]]}}  # no checksum can be taken of it
    for found in in_group(2, lambda comm: outcome(network, comm, **(ragged if comm.rank else {}))):
        assert isinstance(found, ValueError)


def test_arguments(network, monkeypatch):
    (found,) = in_group(1, lambda comm: outcome(network, comm, parts=0))
    assert "parts = 0" in str(found)
    for found in in_group(2, lambda comm: outcome(network, comm, parts=1)):
        assert "parts = 1, of 2 processes; give at least as many" in str(found)
    if shutil.which("mpiexec") is None:
        monkeypatch.setitem(sys.modules, "mpi4py", None)
        with pytest.raises(ImportError, match=r"needs mpi4py and an MPI .* pip install 'snnmodels\[mpi\]'"):
            snn.MPISimulation(network)
    (simulation,) = in_group(1, lambda comm: mpi.MPISimulation(network, snn.TTFSCrossEntropy(), comm=comm))
    assert repr(simulation).startswith("<MPISimulation: process 0 of 1, 1 parts of up to 32 trials; <Simulation: ")


def trained(network, comm, file, epochs=2, seed=0):
    with mpi.MPISimulation(network, snn.TTFSCrossEntropy(), parts=2, batch_size=5, comm=comm) as simulation:
        return snn.train(
            simulation, (INPUTS, LABELS), snn.Adam(1e-2, scales={"hidden.tau_m": 0.01}), epochs=epochs, batch_size=5,
            seed=seed, checkpoint=file, progress=False, validation=(INPUTS, LABELS),
        ).values  # fmt: skip


def test_training_and_resumption_give_the_same_weights(network, tmp_path):
    files = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (one,) = in_group(1, lambda comm: trained(network, comm, tmp_path / "one.npz"))
        in_group(2, lambda comm: trained(network, comm, tmp_path / "two.npz", epochs=1))
        files = sorted(p.name for p in tmp_path.iterdir())
        several = in_group(2, lambda comm: trained(network, comm, tmp_path / "two.npz"))
    assert files == ["one.npz", "two.npz"]
    start = network.trainable()
    for values in several:
        for key, value in one.items():
            assert not np.array_equal(value, start[key])
            np.testing.assert_array_equal(values[key], value)


def test_processes_that_do_not_train_the_same_are_told(network, tmp_path):
    """One sees the checkpoint, the other doesn't; or they have other seeds."""
    in_group(1, lambda comm: trained(network, comm, tmp_path / "0.npz", epochs=1))
    for found in in_group(2, lambda comm: trained(network, comm, tmp_path / f"{comm.rank}.npz")):
        assert "processes 0 and 1 differ in epochs that they go on after" in str(found)
    for found in in_group(2, lambda comm: trained(network, comm, None, seed=comm.rank)):
        assert "processes 0 and 1 differ in settings" in str(found)


# --- with MPI ---------------------------------------------------------------------------------------------------------

SCRIPT = """
import sys, warnings
from pathlib import Path
import numpy as np
import snnmodels as snn
from snnmodels.datasets import yin_yang_latency, yin_yang_split

warnings.simplefilter("ignore")
out, target = Path(sys.argv[1]), sys.argv[2]
samples, labels = (x[:40] for x in yin_yang_split("train"))
data = snn.Trials({"input": samples}, labels, yin_yang_latency)
onto = {"weights": {"distribution": "normal", "mean": 4, "std": 1}}
network = snn.load_network("yin_yang", seed=1, hidden={"n": 12, "learnable": ["tau_m"]}, hidden_output=onto)
options = dict(epochs=3, batch_size=16, seed=3, validation=data, checkpoint=out / "run.npz", progress=False)
with snn.MPISimulation(network, snn.TTFSCrossEntropy(), parts=4, batch_size=16, target=target) as simulation:
    result = snn.train(simulation, data, snn.Adam(1e-2, scales={"hidden.tau_m": 0.01}), **options)
    if simulation.leads:
        np.savez(out / "values.npz", **result.values)
"""


def mpiexec():
    """The launcher beside mpi4py's MPI, or on the path."""
    beside = Path(sys.prefix) / "bin" / "mpiexec"
    return str(beside) if beside.is_file() else shutil.which("mpiexec")


def launch(tmp_path, processes, *arguments, script=SCRIPT):
    pytest.importorskip("mpi4py", reason="needs mpi4py: pip install 'snnmodels[mpi]'")
    if mpiexec() is None:
        pytest.skip("needs mpiexec: pip install 'snnmodels[mpi]'")
    file = tmp_path / "script.py"
    file.write_text(script)
    command = [mpiexec(), "-n", str(processes), sys.executable, "-m", "mpi4py", str(file), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("target", ["numpy", "cpp_standalone"])
def test_mpi_gives_the_weights_of_one_process(tmp_path, target):
    if target != "numpy" and shutil.which("g++") is None:
        pytest.skip("needs a C++ compiler")
    values = []
    for processes in (1, 2, 4):
        folder = tmp_path / str(processes)
        folder.mkdir()
        launch(tmp_path, processes, folder, target)
        assert sorted(p.name for p in folder.iterdir()) == ["run.npz", "values.npz"]
        with np.load(folder / "values.npz") as archive:
            values.append({key: archive[key] for key in archive.files})
    assert set(values[0]) == {"input_hidden.w", "hidden_output.w", "hidden.tau_m"}
    for other in values[1:]:
        for key, value in values[0].items():
            np.testing.assert_array_equal(other[key], value)


@pytest.mark.slow
def test_an_error_of_one_process_ends_all(tmp_path):
    script = """
import sys
import numpy as np
import snnmodels as snn

network = snn.load_network("yin_yang", hidden={"n": 3})
times = np.full((4, 5), 1e-3)
times[3] = 1.0  # of the last part, which is process 1's
with snn.MPISimulation(network, snn.TTFSCrossEntropy(), batch_size=4) as simulation:
    try:
        simulation.run({"input": times}, np.zeros(4, int))
    except ValueError as error:
        print("told:", str(error)[:60])
"""
    said = launch(tmp_path, 2, script=script)
    assert said.count("told: input 'input', trial 1, neuron 0: a spike at 1000 ms") == 2
