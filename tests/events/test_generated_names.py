"""What states, parameters, populations and projections are called changes nothing: generated code has its own names."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np
import pytest

from snnmodels import oracle
from snnmodels.gradients import Simulation
from snnmodels.gradients.probe import SmoothSpikeTimes
from snnmodels.oracle import OracleGradient
from snnmodels.templates import Model, Network, Population, Projection, SpikeInput, load_model
from snnmodels.templates.renaming import renamed
from tests.needs import TARGETS

MS = 1e-3
# Names of arrays, rows and variables that generated code and its runtimes have had or might have, and one of Brian2's.
PARAMETERS = ("columns", "rows", "time", "index", "dt", "w2", "x0", "s", "p0", "sigma", "value", "gradient")
STATES = ("x", "lambda_x", "n", "j")
TOLERANCE = {"lif+exp_synapse+adaptive_threshold+current_adaptation": 1e-9, "eif+exp_synapse": 1e-6}
SCALE = {"lif+exp_synapse+adaptive_threshold+current_adaptation": (1.5, 4.0), "eif+exp_synapse": (15 * MS, 40 * MS)}


def network(model: Model, scale: tuple[float, float], name: Mapping[str, str]) -> Network:
    """Four inputs, three recurrent neurons, two outputs; everything learnable."""
    rng = np.random.default_rng(2)
    weights = [rng.uniform(*scale, shape) for shape in ((4, 3), (3, 3), (3, 2))]
    ends = (("input", "hidden"), ("hidden", "hidden"), ("hidden", "output"))
    projections = tuple(
        Projection(name[f"{a}_{b}"], name[a], name[b], w * (-0.3 if a == b else 1))
        for (a, b), w in zip(ends, weights, strict=True)
    )
    populations = tuple(
        Population(name[p], n, model, learnable=tuple(model.parameters)) for p, n in (("hidden", 3), ("output", 2))
    )
    return Network("named", (SpikeInput(name["input"], 4),), populations, projections, name["output"], 30 * MS)


INPUTS = np.sort(np.random.default_rng(5).uniform(0.3, 15, (2, 4, 2)) * MS, axis=2)
PLAIN = {x: x for x in ("input", "hidden", "output", "input_hidden", "hidden_hidden", "hidden_output")}
OTHER = {
    "input": "w2",
    "hidden": "time",
    "output": "columns",
    "input_hidden": "w",
    "hidden_hidden": "s",
    "hidden_output": "dt",
}


@functools.cache
def reference(model: str) -> OracleGradient:
    """Of the network as it is usually named."""
    plain = network(load_model(model), SCALE[model], PLAIN)
    return oracle.gradient(plain, {"input": INPUTS}, SmoothSpikeTimes(), np.zeros(2, dtype=int))


@pytest.mark.parametrize(
    "target",
    TARGETS,
)
@pytest.mark.parametrize("model", SCALE)
def test_any_name_will_do(model: str, target: str) -> None:
    usual = load_model(model)
    names = dict(zip(usual.parameters, PARAMETERS, strict=False)) | dict(zip(usual.state_names, STATES, strict=False))
    assert len(names) == len(usual.parameters) + len(usual.states)
    wanted = reference(model)
    assert all(np.isfinite(t).any(axis=2).all() for t in wanted.spikes.values())
    named = network(renamed(usual, names), SCALE[model], OTHER)
    with Simulation(named, SmoothSpikeTimes(), batch_size=2, target=target) as simulation:  # type: ignore[arg-type]
        found = simulation.run({OTHER["input"]: INPUTS}, np.zeros(2, dtype=int))
    assert found.loss == pytest.approx(wanted.loss, rel=TOLERANCE[model])
    assert len(found.gradients) == len(wanted.gradients)
    for key, value in wanted.gradients.items():
        owner, _, name = key.partition(".")
        other = found.gradients[f"{OTHER[owner]}.{names.get(name, name)}"]
        scale = np.abs(value).max()
        np.testing.assert_allclose(other, value, rtol=0, atol=TOLERANCE[model] * scale, err_msg=key)
