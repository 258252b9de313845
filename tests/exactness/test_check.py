"""The check itself: it must find a wrong gradient or spike, and say what it cannot check."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from snnmodels import oracle
from snnmodels.cli import app, gradient
from snnmodels.gradients import Outcome, ProbeError, Simulation, SimulationError, check_gradient, probe
from snnmodels.gradients.gradient_report import GradientReport, GradientRow
from snnmodels.targets import devices
from snnmodels.templates import equations_path, load_model
from tests.exactness.networks import LINEAR, MS, chain, inputs, library_probe, one

# the module, which the package's function of this name hides
check = importlib.import_module("snnmodels.gradients.check")

SPOILED = ("hidden_output.w", "hidden.tau_m", "input.times")


@pytest.mark.parametrize("key", SPOILED)
@pytest.mark.parametrize("oracle", [False, True])
def test_a_wrong_gradient_is_found(monkeypatch: pytest.MonkeyPatch, key: str, oracle: bool) -> None:
    run = Simulation.run

    def spoiled(self: Simulation, *args: object, **kwargs: object) -> Outcome:
        outcome = run(self, *args, **kwargs)  # type: ignore[arg-type]
        if key not in outcome.gradients:
            return outcome
        value = outcome.gradients[key]
        return dataclasses.replace(outcome, gradients={**outcome.gradients, key: value * (1 + 3e-6)})

    monkeypatch.setattr(Simulation, "run", spoiled)
    report = check_gradient(library_probe("lif+exp_synapse"), oracle=oracle, elements=2)
    assert not report.ok
    assert {line.partition(":")[0] for line in report.failures} == {key}
    assert len(report.failures) == (2 if oracle else 1)
    assert "DISAGREES" in str(report)
    assert f"beyond tolerance: {key}: 3.0e-06 from central differences" in str(report)
    row = next(r for r in report.rows if r.key == key)
    assert row.differences == pytest.approx(3e-6, rel=1e-2)


def test_a_wrong_zero_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Simulation.run

    def silent(self: Simulation, *args: object, **kwargs: object) -> Outcome:
        outcome = run(self, *args, **kwargs)  # type: ignore[arg-type]
        return dataclasses.replace(outcome, gradients={k: 0 * v for k, v in outcome.gradients.items()})

    monkeypatch.setattr(Simulation, "run", silent)
    report = check_gradient(library_probe("lif+exp_synapse"), oracle=False, elements=1)
    assert len(report.failures) == len(report.rows)


@pytest.mark.parametrize(
    ("moved", "message"),
    [
        (lambda t: t + 3e-9, r"spike times: 3\.0e-06 ms from the reference's"),
        (lambda t: np.where(t == t[np.isfinite(t)].max(), np.inf, t), "more or fewer spikes than in the reference"),
    ],
)
def test_wrong_spikes_are_found(monkeypatch: pytest.MonkeyPatch, moved: object, message: str) -> None:
    right = Simulation.spike_times
    monkeypatch.setattr(Simulation, "spike_times", lambda self, name: moved(right(self, name)))  # type: ignore[operator]
    report = check_gradient(library_probe("lif+exp_synapse"), elements=0)
    assert len(report.failures) == 1
    assert re.match(message, report.failures[0])


def test_the_report_says_what_was_compared() -> None:
    report = check_gradient(library_probe("lif+exp_synapse"), elements=24)
    text = str(report)
    assert "lif+exp_synapse, numpy: agrees (tolerance 1e-06)" in text
    for row in report.rows:
        assert row.key in text
    assert f"hidden {report.spikes['hidden']:g}" in text
    assert f"smallest |ġ| {report.smallest_gdot:.3g} per second; ties: 0" in text
    assert f"spike times: {report.time_deviation * 1e3:.1e} ms from the reference's" in text  # type: ignore[operator]
    assert {r.key: r.elements for r in report.rows}["input_hidden.w"] == (12, 12)
    assert {r.key: r.elements for r in report.rows}["input.times"] == (16, 16)


def test_nonlinear_models_are_checked_on_the_compiled_target_where_there_is_a_compiler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing() -> None:
        raise devices.CompilerMissing("none")

    linear, nonlinear = load_model("lif"), load_model("qif")
    monkeypatch.setattr(devices, "require_compiler", lambda: None)
    assert (check._target_for(linear), check._target_for(nonlinear)) == ("numpy", "cpp_standalone")
    monkeypatch.setattr(devices, "require_compiler", missing)
    assert check._target_for(nonlinear) == "numpy"


def test_elements_are_sampled_from_large_groups() -> None:
    report = check_gradient(library_probe("lif+exp_synapse"), elements=3, oracle=False)
    assert report.ok
    assert {r.key: r.elements for r in report.rows}["input_hidden.w"] == (3, 12)
    assert report.time_deviation is None


def test_ties_are_reported() -> None:
    network, times, *_ = one([1.5, 1.7, 6.0], [3.0, 3.0, 7.0])
    report = check_gradient(network, inputs=times, elements=0)
    assert report.ties == 1
    assert "ties: 1\nwhere events meet at one instant the loss may have a kink" in re.sub(" *\n", "\n", str(report))


def test_differences_at_a_kink_say_nothing() -> None:
    """Two arrivals at one instant fire the neuron together: earlier ones don't move the spike, later ones do."""
    network, times, *_ = one([0.6, 0.7], [5.0, 5.0], load_model("lif+delta_synapse"))
    report = check_gradient(network, inputs=times)
    assert report.ok
    assert report.unresolved == ("input.times",)
    assert "differences don't resolve the tolerance for input.times: not counted" in str(report)
    alone = check_gradient(network, inputs=times, oracle=False)
    assert alone.verdict == "UNRESOLVED"  # whatever the other groups say
    assert alone.unjudged == ("input.times",)
    assert "nothing tells whether the gradient is right for input.times" in str(alone)


def spoiled_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Simulation.run

    def spoiled(self: Simulation, *args: object, **kwargs: object) -> Outcome:
        outcome = run(self, *args, **kwargs)  # type: ignore[arg-type]
        return dataclasses.replace(outcome, gradients={k: 28 * v for k, v in outcome.gradients.items()})

    monkeypatch.setattr(Simulation, "run", spoiled)


def spoiled_spikes(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Simulation.spike_times
    monkeypatch.setattr(Simulation, "spike_times", lambda self, name: right(self, name) + 1e-6)


def spoiled_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    right = oracle.gradient

    def spoiled(*args: object, **kwargs: object) -> object:
        exact = right(*args, **kwargs)  # type: ignore[arg-type]
        return dataclasses.replace(exact, gradients={k: 1.1 * v for k, v in exact.gradients.items()})

    monkeypatch.setattr(oracle, "gradient", spoiled)


def coarse_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "STEPS", (1e-13,))


def nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pass


@pytest.mark.parametrize(
    ("spoil", "oracle", "verdict", "code"),
    [
        (nothing, True, "agrees", 0),
        (nothing, False, "agrees", 0),
        (spoiled_gradient, True, "DISAGREES", 1),
        (spoiled_gradient, False, "DISAGREES", 1),
        (spoiled_spikes, True, "DISAGREES", 1),
        (spoiled_reference, True, "DISAGREES", 1),
        (coarse_differences, True, "agrees", 0),  # with the reference, that says it of all elements
        (coarse_differences, False, "UNRESOLVED", 3),
    ],
)
def test_the_verdict_follows_from_all_that_was_compared(
    monkeypatch: pytest.MonkeyPatch, spoil: Callable[[pytest.MonkeyPatch], None], oracle: bool, verdict: str, code: int
) -> None:
    case = library_probe("lif+exp_synapse")
    monkeypatch.setattr(check, "probe", lambda *_, **__: case)  # made once
    monkeypatch.setattr(check, "check_gradient", functools.partial(check_gradient, elements=1))
    spoil(monkeypatch)
    result = CliRunner().invoke(app, ["check-gradient", "lif", *([] if oracle else ["--no-oracle"])])
    assert f"lif+exp_synapse, numpy: {verdict} " in result.stdout
    assert result.exit_code == code
    assert ("error: " in result.stderr) == (code > 0)


def test_what_takes_long_says_what_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradient, "PATIENCE", 0.05)
    result = CliRunner().invoke(app, ["check-gradient", "lif"])
    assert result.exit_code == 0, result.output
    assert "s: deriving the adjoint, and looking for weights" in result.stderr
    assert re.search(r"s: differences of the loss by \S+, group \d+ of 13", result.stderr)


def row(differences: float, resolution: float, oracle: float | None = None) -> GradientRow:
    return GradientRow("g", (1, 1), 1.0, differences, resolution, oracle)


@pytest.mark.parametrize(
    ("rows", "time", "verdict"),
    [
        ((row(1e-7, 1e-8),), None, "agrees"),
        ((row(3e-6, 1e-8),), None, "DISAGREES"),
        ((row(3e-6, 2e-6),), None, "UNRESOLVED"),
        ((row(3e-6, 2e-6), row(1e-7, 1e-8)), None, "UNRESOLVED"),
        ((row(3e-6, 2e-6), row(3e-6, 1e-8)), None, "DISAGREES"),
        ((), 0.0, "UNRESOLVED"),
        ((row(3e-6, 2e-6, 1e-7),), 0.0, "agrees"),
        ((row(3e-6, 2e-6, 1e-5),), 0.0, "DISAGREES"),
        ((row(1.0, 2e-6),), None, "DISAGREES"),  # however little they resolve, they resolve that
        ((row(1e-7, 1e-8, 1e-7),), 2e-9, "DISAGREES"),
        ((row(1e-7, 1e-8, 1e-7),), np.inf, "DISAGREES"),
        ((row(1e-7, 1e-8, np.nan),), 0.0, "DISAGREES"),
        ((row(np.nan, np.nan, 1e-9),), 0.0, "DISAGREES"),
    ],
)
def test_verdicts(rows: tuple[GradientRow, ...], time: float | None, verdict: str) -> None:
    report = GradientReport("m", "numpy", 1e-6, rows, 1.0, {}, 1.0, 0, time)
    assert f"m, numpy: {verdict} " in str(report)
    assert report.ok == (verdict == "agrees")
    assert bool(report.failures) == (verdict == "DISAGREES")


def test_what_was_not_tested_is_told() -> None:
    rows = (row(0.0, 0.0), GradientRow("other", (1, 1), 0.0, 0.0, 0.0, 0.0))
    report = GradientReport("m", "numpy", 1e-6, rows, 1.0, {}, 1.0, 0, 0.0, "a polynomial")
    said = " ".join(report.remarks())
    assert "not of the network's own loss, which needs targets, but of a polynomial" in said
    assert "no effect on this loss, so that nothing was tested: other" in said


@pytest.mark.parametrize("name", LINEAR)
def test_the_networks_made_spike_a_few_times(name: str) -> None:
    case = library_probe(name)
    with Simulation(case.network, case.loss, batch_size=2) as s:
        found = s.run(case.inputs, case.targets, gradient=False)
        trains = [s.spike_times(p.name) for p in case.network.populations if p.model.spiking]
    for train in trains:
        counts = np.isfinite(train).sum(axis=2)
        assert counts.min() >= 1
        assert 1.3 <= counts.mean() <= 2.5
    assert found.ties == 0


def test_the_network_made_does_not_depend_on_units() -> None:
    """The same neuron in volts: weights a thousand times smaller, the same spikes."""
    lif = load_model("lif", "exp_synapse")
    small = dataclasses.replace(
        lif, parameters={**lif.parameters, "v_th": dataclasses.replace(lif.parameters["v_th"], value=1e-3)}
    )
    weights = probe(small).network.projections[0].weights
    np.testing.assert_allclose(weights, 1e-3 * probe(lif).network.projections[0].weights, rtol=1e-6)


def test_a_template_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    text = (equations_path() / "neurons" / "lif.toml").read_text(encoding="utf-8")
    file.write_text(text.replace('"20*ms"', '"11*ms"'), encoding="utf-8")
    report = check_gradient(file, oracle=False, elements=1)
    assert report.ok
    assert report.name.startswith("mine")


def changed(name: str, **values: float) -> object:
    lif = load_model("lif", "exp_synapse")
    parameters = {k: dataclasses.replace(p, value=values.get(k, p.value)) for k, p in lif.parameters.items()}
    return dataclasses.replace(lif, name=name, parameters=parameters)


def test_a_model_that_cannot_spike_is_refused() -> None:
    with pytest.raises(ProbeError, match=r"stuck: no weight between .* makes the hidden neurons spike within 40 ms"):
        check_gradient(dataclasses.replace(changed("stuck"), derivatives={"v": "-v/tau_m", "I_syn": "-I_syn/tau_syn"}))  # type: ignore[type-var,arg-type]


def test_a_model_without_trajectory_is_refused() -> None:
    with pytest.raises(SimulationError, match="neuron 0 is above its threshold at time 0"):
        check_gradient(changed("over", v_th=-1.0, v_reset=-2.0))  # type: ignore[arg-type]


def test_a_network_that_stays_silent_is_refused() -> None:
    network = chain(load_model("lif", "exp_synapse"), (1e-3, 1e-3))
    with pytest.raises(ValueError, match="no neuron of network 'chain' spikes with these inputs; give others"):
        check_gradient(network, inputs=inputs())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inputs": inputs()}, "loss, inputs and targets belong to a network; for a model they are made"),
        ({"target": "cuda"}, "target = 'cuda'; the event engine runs on numpy, cpp_standalone, cuda_standalone"),
        ({"window": -1 * MS}, "window = -0.001 s; it must be a positive time"),
    ],
)
def test_what_does_not_go_together(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        check_gradient(library_probe("lif+exp_synapse"), **options)  # type: ignore[arg-type]


def test_recurrence_is_declared_by_a_network() -> None:
    with pytest.raises(ValueError, match="recurrent is for a model"):
        check_gradient(chain(load_model("lif"), (3.0, 3.0)), recurrent=True)
