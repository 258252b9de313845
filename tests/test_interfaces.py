"""What is given to the package: units are taken or refused by name, and every mistake is told in one clear line."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from brian2 import ms, mV, second
from typer.testing import CliRunner

from snnmodels.brian.assembly import Assembly
from snnmodels.cli import app
from snnmodels.datasets import Trials
from snnmodels.gradients import GridSimulation, Simulation
from snnmodels.losses import MaxVoltageCrossEntropy, SpikeTimeError, TTFSCrossEntropy, VoltageError
from snnmodels.optimisers import SGD, Adam, ExponentialDecay
from snnmodels.templates import Network, Population, Projection, SpikeInput, load_model
from snnmodels.training import train
from tests.needs import COMPILER

LIF = load_model("lif+exp_synapse")
TIMES = np.array([[1e-3, 2e-3, 3e-3]])
LABELS = np.array([0])
LATE = np.array([[1e-3, 2e-3, 30e-3]])
TWICE = np.array([[[1e-3, 2e-3]] * 3])


def network(duration: Any = 30e-3, **projection: Any) -> Network:
    options = {"weights": np.full((3, 2), 3.0)} | projection
    return Network(
        "small",
        (SpikeInput("in", 3),),
        (Population("p", 2, LIF, {}, ("tau_m",)),),
        (Projection("q", "in", "p", **options),),
        "p",
        duration,
    )


def loss_of(
    kind: type[Any],
    times: Any = TIMES,
    targets: Any = LABELS,
    net: Network | None = None,
    **options: Any,
) -> float:
    with kind(net or network(), TTFSCrossEntropy(), batch_size=1, **options) as simulation:
        return float(simulation.run({"in": times}, targets, gradient=False).loss)


def exact(*arguments: Any, **options: Any) -> Callable[[], float]:
    return lambda: loss_of(Simulation, *arguments, **options)


def grid(*arguments: Any, **options: Any) -> Callable[[], float]:
    return lambda: loss_of(GridSimulation, *arguments, **options)


def training(**options: Any) -> Callable[[], Any]:
    def run() -> Any:
        with Simulation(network(), TTFSCrossEntropy(), batch_size=1) as simulation:
            fixed = {"epochs": 1, "batch_size": 1, "progress": False}
            return train(simulation, Trials({"in": TIMES}, LABELS), Adam(1e-3), **fixed | options)

    return run


TAKEN = {
    "spike times": (exact(TIMES / 1e-3 * ms), exact()),
    "spike times on a grid": (grid(TIMES / 1e-3 * ms), grid()),
    "dt": (grid(dt=0.1 * ms), grid(dt=0.1e-3)),
    "window": (exact(window=1 * ms), exact(window=1e-3)),
    "duration": (exact(net=network(30 * ms)), exact()),
    "delay": (exact(net=network(delay=1 * ms)), exact(net=network(delay=1e-3))),
    "list of targets": (exact(targets=[0]), exact()),
    "a mask without a connection": (exact(net=network(mask=np.zeros((3, 2), dtype=bool))), lambda: float(np.log(2))),
}


@pytest.mark.parametrize("what", TAKEN)
def test_quantities_are_taken_with_their_units(what: str) -> None:
    given, plain = TAKEN[what]
    assert given() == pytest.approx(plain(), rel=1e-12)


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "spike times in volts": (exact(TIMES * mV), "spike times of input 'in' has unit volt; expected second"),
    "dt in volts": (grid(dt=1 * mV), "dt has unit volt; expected second"),
    "dt in words": (grid(dt="short"), "dt is 'short'; expected numbers"),
    "dt in milliseconds": (grid(dt=0.25), "30 ms of network 'small' is not a whole number of steps of dt = 250 ms"),
    "an input at the end": (exact(LATE), "input 'in', trial 0, neuron 2: a spike at 30 ms is not before the end"),
    "an input at the end of a grid": (grid(LATE), "input 'in', trial 0, neuron 2: a spike at 30 ms is not before"),
    "an empty mask on a grid": (
        grid(net=network(mask=np.zeros((3, 2), dtype=bool))),
        "projection 'q': its mask excludes every connection; leave the projection out",
    ),
    "too few input spikes": (grid(TWICE, input_spikes=1), "input 'in' has up to 2 spikes per .*set input_spikes"),
    "no input spikes": (grid(input_spikes=0), "input_spikes = 0; it must be a positive whole number"),
    "no order": (grid(order=0), "order = 0; it must be a positive whole number"),
    "half a batch": (exact(max_spikes=1.5), "max_spikes = 1.5; it must be a positive whole number"),
    "a batch of None": (
        lambda: Simulation(network(), TTFSCrossEntropy(), batch_size=None),  # type: ignore[arg-type]
        "batch_size = None; it must be a positive whole number",
    ),
    "threads in words": (exact(threads="two"), "threads = 'two'; it must be a positive whole number"),
    "a tolerance with a unit": (exact(tolerance=1 * ms), "tolerance: expected a plain number in SI units"),
    "a tolerance in words": (exact(tolerance="fine"), "tolerance: expected a finite number, got 'fine'"),
    "a timeout in words": (exact(timeout="soon"), "timeout: expected a finite number, got 'soon'"),
    "targets that are a number": (exact(targets=0), "a number for 1 trials of the inputs; targets have one entry"),
    "those on a grid": (grid(targets=0), "a number for 1 trials of the inputs; targets have one entry"),
    "targets that are None": (exact(targets=None), "targets are None; a loss compares with something"),
    "targets of trials": (lambda: Trials({"in": TIMES}, 0), "targets: expected one for each trial, got a single one"),
    "a delay in seconds": (lambda: network(delay=1.5), "'q' has a delay of 1.5 s, so that nothing arrives in a trial"),
    "all delays": (lambda: network(delay=np.full((3, 2), 1.5)), "'q' has a delay of 1.5 s, so that nothing arrives"),
    "a delay in volts": (lambda: network(delay=1 * mV), "projection 'q': delay has unit volt; expected second"),
    "a duration in volts": (lambda: network(30 * mV), "network 'small': duration has unit volt; expected second"),
    "tau0 in volts": (lambda: TTFSCrossEntropy(tau0=0.5 * mV), "tau0 has unit volt; expected second"),
    "alpha in words": (lambda: TTFSCrossEntropy(alpha="a"), "alpha: expected a finite number, got 'a'"),  # type: ignore[arg-type]
    "a scale with a unit": (lambda: MaxVoltageCrossEntropy(scale=1 * mV), "scale: expected a plain number in SI units"),
    "tau in volts": (lambda: SpikeTimeError(tau=1 * mV), "tau has unit volt; expected second"),
    "an interval in volts": (lambda: VoltageError(interval=1 * mV), "interval has unit volt; expected second"),
    "a rate with a unit": (lambda: Adam(1e-3 * second), "rate: expected a plain number in SI units"),
    "a rate in words": (lambda: SGD("fast"), "rate: expected a finite number, got 'fast'"),  # type: ignore[arg-type]
    "a decay with a unit": (lambda: ExponentialDecay(1e-3 * ms), "initial: expected a plain number in SI units"),
    "bounds with a unit": (lambda: Adam(bounds={"p.tau_m": (1 * ms, 2 * ms)}), "expected a plain number in SI units"),
    "one bound": (lambda: Adam(bounds={"p.tau_m": 3}), r"\['p.tau_m'\]: expected \(lower, upper\), got 3"),  # type: ignore[dict-item]
    "scales in words": (lambda: Adam(scales={"q.w": "a"}), r"scales\['q.w'\]: expected a finite number, got 'a'"),  # type: ignore[dict-item]
    "beta in words": (lambda: Adam(beta1="a"), "beta1: expected a finite number, got 'a'"),  # type: ignore[arg-type]
    "momentum in words": (lambda: SGD(momentum="a"), "momentum: expected a finite number, got 'a'"),  # type: ignore[arg-type]
    "a seed below 0": (training(seed=-1), "seed: expected a whole number from 0 up, got -1"),
    "half an epoch": (training(epochs=1.5), "epochs = 1.5; it must be a positive whole number"),
    "a batch in words": (training(batch_size="a"), "batch_size = 'a'; it must be a positive whole number"),
    "dropout in words": (training(input_dropout="a"), "input_dropout: expected a finite number, got 'a'"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_mistakes_are_told_in_one_line(what: str) -> None:
    make, message = REFUSED[what]
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "command",
    [
        ["check-gradient", "lif", "--seed", "-1"],
        ["train", "yin-yang", "--seed", "-1"],
        ["train", "mnist", "--seed", "-1"],
        ["build", "lif", "out", "--seed", "-1"],
    ],
)
def test_a_seed_below_0_is_refused_by_commands(command: list[str]) -> None:
    result = CliRunner().invoke(app, command, env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert "Invalid value for '--seed': Input should be greater than or equal to 0" in result.output


@pytest.mark.parametrize("kind", [Simulation, GridSimulation])
def test_threads_have_simulations_of_their_own(kind: type[Any]) -> None:
    """Brian2's clock is that of the process: another thread's simulation once changed the time step of a run."""
    steps = {} if kind is Simulation else {"dt": 0.5e-3}
    alone = [loss_of(kind), loss_of(kind, **steps), loss_of(kind)]
    found: dict[int, float] = {}

    def work(k: int, options: dict[str, float]) -> None:
        found[k] = loss_of(kind, **options)

    threads = [threading.Thread(target=work, args=(k, steps if k == 1 else {})) for k in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found.get(k) for k in range(3)] == alone


@pytest.mark.parametrize("target", ["numpy", pytest.param("cpp_standalone", marks=COMPILER)])
def test_an_error_in_a_constructor_is_alone(
    target: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Brian2 warns of every object that was made and never used."""

    def refused(self: Assembly, *_: object) -> None:
        raise ValueError("not this one")

    monkeypatch.setattr(Assembly, "_expose_population", refused)
    # another time step for each target, as programs that are built already are taken as they are
    with pytest.raises(ValueError, match="not this one"):
        GridSimulation(network(29e-3), TTFSCrossEntropy(), batch_size=1, target=target, dt=1e-3)
    gc.collect()
    assert "getting deleted" not in "".join(capfd.readouterr())


def uncaught(script: str) -> str:
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False).stderr


def test_brian_asks_for_no_report_of_our_errors() -> None:
    said = uncaught("import snnmodels as snn\nsnn.load_model('lif').parameters['tau']\n")
    assert said.rstrip().endswith("KeyError: 'tau'")
    assert "encountered an unexpected error" not in said
    said = uncaught("import snnmodels as snn\nsnn.load_model('lfi')\n")
    assert "lfi: " in said.rstrip().splitlines()[-1]
    assert "encountered an unexpected error" not in said


def test_brian_asks_for_reports_of_its_own() -> None:
    own = "import brian2\nbrian2.NeuronGroup(0, 'v : 1')\n"
    assert "encountered an unexpected error" in uncaught("import snnmodels as snn\nsnn.load_model('lif')\n" + own)


def test_a_hook_of_the_users_own_stays() -> None:
    script = """
import sys
import brian2
sys.excepthook = lambda *_: print("mine", file=sys.stderr)
import snnmodels as snn
snn.load_model("lfi")
"""
    assert uncaught(script) == "mine\n"
