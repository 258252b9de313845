"""What a training does not move is told: its loss may fall by the others all the same."""

from __future__ import annotations

import warnings

import numpy as np

import snnmodels as snn

TIMES = np.array([[1e-3, 4e-3, 2e-3], [3e-3, 2e-3, 5e-3]])


def said(synapse: str, **options: object) -> list[str]:
    """Warnings of two epochs with two layers, of which a weight alone causes a spike."""
    lif = snn.load_model(f"lif+{synapse}")
    weights = 1.5 if synapse == "delta_synapse" else 4.0
    network = snn.Network(
        "two layers",
        [snn.SpikeInput("input", 3)],
        [snn.Population("hidden", 2, lif), snn.Population("output", 2, lif)],
        [
            snn.Projection("first", "input", "hidden", np.full((3, 2), weights), learnable=["w", "delay"], delay=1e-3),
            snn.Projection("second", "hidden", "output", np.array([[weights, 0.6], [0.6, weights]])),
        ],
        "output",
        40e-3,
    )
    adam = snn.Adam(1e-3, **options)  # type: ignore[arg-type]
    with (
        snn.Simulation(network, snn.TTFSCrossEntropy(), batch_size=2) as simulation,
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        data = {"input": TIMES + np.array([[0.0], [1e-4]])}, np.array([0, 1])
        result = snn.train(simulation, data, adam, epochs=2, batch_size=2, progress=False)
    moved = {key for key, value in result.values.items() if not np.array_equal(value, network.trainable()[key])}
    assert moved == ({"first.delay"} if synapse == "delta_synapse" else set(result.values))
    return [str(w.message) for w in caught]


def test_weights_that_no_spike_moves_with_are_told_once() -> None:
    (told,) = said("delta_synapse", scales={"first.delay": 1e-3})
    assert told.startswith("the first epoch has not moved first.w, second.w, by which the gradient is 0: in 'hidden', ")
    assert "such as exp_synapse" in told


def test_nothing_is_told_where_all_moves() -> None:
    assert said("exp_synapse", scales={"first.delay": 1e-3}) == []


def test_what_is_held_on_purpose_is_not_told() -> None:
    held = {"first.w": 0.0, "second.w": 0.0, "first.delay": 1e-3}
    assert said("delta_synapse", scales=held) == []
