"""The check itself: it must find a wrong gradient, and say what it cannot check."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from snnmodels.eventprop import Outcome, ProbeError, Simulation, check_gradient, probe
from snnmodels.eventprop import gradient_report as report_module
from snnmodels.templates import equations_path, load_model
from tests.exactness.networks import MS, chain, inputs, library_probe

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
    report = check_gradient(library_probe("lif+exp_synapse"), dt=1 * MS, oracle=oracle)
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
    report = check_gradient(library_probe("lif+exp_synapse"), dt=1 * MS, oracle=False)
    assert len(report.failures) == len(report.rows)


def test_the_report_says_what_was_compared() -> None:
    report = check_gradient(library_probe("lif+exp_synapse"), dt=0.5 * MS)
    text = str(report)
    assert "lif+exp_synapse, numpy, dt = 0.5 ms: agrees (tolerance 1e-06)" in text
    for row in report.rows:
        assert row.key in text
    assert f"hidden {report.spikes['hidden']:g}" in text
    assert "unresolved spikes: 0" in text
    assert {r.key: r.elements for r in report.rows}["input_hidden.w"] == (12, 12)
    assert {r.key: r.elements for r in report.rows}["input.times"] == (16, 16)


def test_elements_are_sampled_from_large_groups() -> None:
    report = check_gradient(library_probe("lif+exp_synapse"), dt=1 * MS, elements=3, oracle=False)
    assert report.ok
    assert {r.key: r.elements for r in report.rows}["input_hidden.w"] == (3, 12)
    assert report.time_deviation is None and not report.exact and report.order is None


def test_the_network_made_does_not_depend_on_units() -> None:
    """The same neuron in volts: weights a thousand times smaller, the same spikes."""
    lif = load_model("lif", "exp_synapse")
    small = dataclasses.replace(
        lif, parameters={**lif.parameters, "v_th": dataclasses.replace(lif.parameters["v_th"], value=1e-3)}
    )
    with Simulation(probe(small).network, probe(small).loss, batch_size=2, dt=0.5 * MS) as s:
        found = s.run(probe(small).inputs, np.zeros(2, dtype=int))
    assert all(1 <= n / size <= 4 for n, size in zip(found.spikes.values(), (3, 2), strict=True))
    weights = probe(small).network.projections[0].weights
    np.testing.assert_allclose(weights, 1e-3 * probe(lif).network.projections[0].weights, rtol=1e-6)


def test_a_template_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    text = (equations_path() / "neurons" / "lif.toml").read_text(encoding="utf-8")
    file.write_text(text.replace('"20*ms"', '"11*ms"'), encoding="utf-8")
    report = check_gradient(file, dt=1 * MS, oracle=False)
    assert report.ok
    assert report.name.startswith("mine")


def test_a_model_that_cannot_spike_is_refused() -> None:
    lif = load_model("lif", "exp_synapse")
    parameters = {**lif.parameters, "v_th": dataclasses.replace(lif.parameters["v_th"], value=1e30)}
    stuck = dataclasses.replace(
        lif, name="stuck", parameters=parameters, derivatives={**lif.derivatives, "v": "-v/tau_m"}
    )
    with pytest.raises(ProbeError, match=r"stuck: no weight between .* makes the hidden neurons spike within 40 ms"):
        check_gradient(stuck)


def test_a_network_that_stays_silent_is_refused() -> None:
    network = chain(load_model("lif", "exp_synapse"), (1e-3, 1e-3))
    with pytest.raises(ValueError, match="no neuron of network 'chain' spikes with these inputs; give others"):
        check_gradient(network, inputs=inputs())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inputs": inputs()}, "loss, inputs and targets belong to a network; for a model they are made"),
        ({"target": "cuda"}, "target = 'cuda'; gradients run on"),
        ({"dt": 0.3e-3}, "is not a whole number of steps"),
    ],
)
def test_what_does_not_go_together(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        check_gradient(library_probe("lif+exp_synapse"), **options)  # type: ignore[arg-type]


def test_recurrence_is_declared_by_a_network() -> None:
    with pytest.raises(ValueError, match="recurrent is for a model"):
        check_gradient(chain(load_model("lif"), (3.0, 3.0)), recurrent=True)


def test_the_order_is_read_off_above_rounding() -> None:
    def order(*errors: float) -> float | None:
        steps = tuple((1e-3 / 2**k, e) for k, e in enumerate(errors))
        report = report_module.GradientReport("m", "numpy", 1e-3, 1e-6, (), 1.0, {}, 1.0, 0, False, 1e-6, steps)
        return report.order

    assert order(1e-2, 1e-2 / 8, 1e-2 / 64) == pytest.approx(3)
    assert order(8e-9, 1e-9, 1e-13) is None
    assert order(1e-4, 2.5e-5, 1e-13) == pytest.approx(2)
    assert order(1e-2, float("nan"), 1e-2 / 16) == pytest.approx(2)
