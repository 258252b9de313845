"""Candidates, forced ones, and a fit of a neuron that is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from snnmodels.fitting.neurons import ForcedNeurons, Neurons, coarse
from snnmodels.fitting.noise import frozen_noise
from snnmodels.fitting.procedure import Repetitions, Settings, fit_spike_trains
from snnmodels.fitting.recording import as_recording
from snnmodels.fitting.search import evolve
from snnmodels.fitting.space import DELAY, Bounds, Space
from snnmodels.fitting.template import bare_model
from snnmodels.fitting.trains import MeanTrainDistance
from tests.needs import COMPILER

MODEL = bare_model("lif_current+current_adaptation")
FIXED = {"g_L": 10e-9, "v_rest": -70e-3}
TRUE = {"C_m": 200e-12, "v_th": -56e-3, "v_reset": -62e-3, "t_ref": 4e-3, "b": 40e-12, "tau_z": 80e-3}
NAMES = tuple(TRUE)
DT = 0.5e-3
CURRENT = 160e-12 + frozen_noise(1, 4000, DT, std=140e-12, seed=3, silent=False)[0]


def spikes_of(rows: np.ndarray, current: np.ndarray = CURRENT) -> np.ndarray:
    """Of candidates, without noise."""
    with Neurons(MODEL, NAMES, FIXED, current, DT, input="I_syn", n=len(rows)) as neurons:
        return neurons.spike_times(rows)[0][0]


def test_a_space_goes_both_ways() -> None:
    space = Space({"tau": Bounds(1e-3, 1e-1, log=True), "v": Bounds(-70.0, -50.0)})
    np.testing.assert_allclose(space.values(np.array([0.5, 0.25])), [1e-2, -65.0])
    places = np.random.default_rng(0).random((5, 2))
    np.testing.assert_allclose(space.places(space.values(places)), places, atol=1e-12)
    h = 1e-6
    slope = (space.values(places + h) - space.values(places - h)) / (2 * h)
    np.testing.assert_allclose(space.slopes(places), slope, rtol=1e-6)
    with pytest.raises(ValueError, match="logarithmic scale must be positive"):
        Bounds(0.0, 1.0, log=True)
    with pytest.raises(ValueError, match="low one must be less"):
        Bounds(1.0, 1.0)


def test_evolution_finds_a_minimum() -> None:
    rng = np.random.default_rng(0)
    wanted = np.array([0.3, 0.7, 0.1, 0.9])

    def objective(x: np.ndarray, limits: np.ndarray) -> np.ndarray:
        return np.asarray(((x - wanted) ** 2 * [1, 10, 100, 1]).sum(axis=1))

    places, losses = evolve(objective, rng.random((40, 4)), 80, rng)
    np.testing.assert_allclose(places[np.argmin(losses)], wanted, atol=1e-3)


def test_a_coarse_current_moves_the_same_charge() -> None:
    np.testing.assert_allclose(coarse(np.arange(7.0), 3), [1.0, 4.0])


@COMPILER
def test_candidates_have_gradients_of_their_own() -> None:
    rows = np.array(list(TRUE.values())) * np.array([[1.0], [1.01], [0.99]])
    distance = MeanTrainDistance([spikes_of(rows[:1])[0]], 10e-3, 0.0, 2.0)
    currents = CURRENT + frozen_noise(2, CURRENT.size, DT, seed=1)
    with Neurons(MODEL, NAMES, FIXED, currents, DT, input="I_syn", n=4) as neurons:
        times, possible = neurons.spike_times(rows, gradient=True)
        assert times.shape[:2] == (2, 3) and possible.all()
        _, by_time = distance(times, gradient=True)
        assert by_time is not None
        found = neurons.gradients(by_time)
        for k, name in enumerate(NAMES):
            h = 1e-6 * np.abs(rows[:, k])
            step = np.zeros(rows.shape)
            step[:, k] = h
            up, down = (distance(neurons.spike_times(rows + s)[0])[0].sum(axis=0) for s in (step, -step))
            # not the one whose spikes are the targets: there the distance has a kink
            np.testing.assert_allclose(found[1:, k], ((up - down) / (2 * h))[1:], rtol=2e-4, err_msg=name)
        assert neurons.simulations == 2 * 3 * (1 + 2 * len(NAMES))


@COMPILER
def test_impossible_candidates_are_told_and_do_no_harm() -> None:
    rows = np.array([list(TRUE.values())] * 3)
    rows[1, NAMES.index("v_reset")] = -50e-3  # above the threshold
    with Neurons(MODEL, NAMES, FIXED, CURRENT, DT, input="I_syn", n=3) as neurons:
        times, possible = neurons.spike_times(rows)
        np.testing.assert_array_equal(possible, [True, False, True])
        np.testing.assert_array_equal(times[0, 0], times[0, 2])
        with pytest.raises(ValueError, match="choose other bounds"):
            neurons.spike_times(rows[1:2])
        with pytest.raises(ValueError, match="4 candidates for a pass of 3"):
            neurons.spike_times(np.repeat(rows[:1], 4, axis=0))


@COMPILER
def test_the_likeliest_constant_is_that_of_the_threshold() -> None:
    train = spikes_of(np.array([list(TRUE.values())]))[0]
    trains = [train[np.isfinite(train)] + shift for shift in (0.0, 1e-3)]
    rows = np.array([[*TRUE.values(), 2e-3], [*TRUE.values(), 3e-3]])
    with ForcedNeurons(MODEL, NAMES, FIXED, CURRENT, DT, trains, input="I_syn", n=2) as forced:
        value, constant, slope = forced.evaluate(rows, gradient=True)
        assert slope is not None
        moved = rows.copy()
        moved[:, NAMES.index("v_th")] += constant * rows[:, -1]
        again, none, _ = forced.evaluate(moved)
        np.testing.assert_allclose(again, value, rtol=1e-9)
        np.testing.assert_allclose(none, 0.0, atol=1e-9)
        np.testing.assert_allclose(slope[:, NAMES.index("v_th")] * 1e-3, 0.0, atol=1e-9)  # of a mV
        for k in (0, 2, 4, 5, 6):
            h = 1e-5 * np.abs(rows[:, k])
            step = np.zeros(rows.shape)
            step[:, k] = h
            up, down = (forced.evaluate(rows + s)[0] for s in (step, -step))
            np.testing.assert_allclose(slope[:, k], (up - down) / (2 * h), rtol=1e-5)
        rows[1, NAMES.index("t_ref")] = 1.0001 * forced.shortest
        assert np.isinf(forced.evaluate(rows)[0][1]) and np.isfinite(forced.evaluate(rows)[0][0])


@COMPILER
@pytest.mark.slow
def test_a_known_neuron_is_found() -> None:
    rng = np.random.default_rng(0)
    truth = spikes_of(np.array([list(TRUE.values())]))[0]
    truth = truth[np.isfinite(truth)] + 0.4e-3
    trains = [np.sort(truth + rng.normal(0, 0.3e-3, truth.size)) for _ in range(4)]
    data = Repetitions(CURRENT, DT, trains, 1.4, 2.0)
    free = {
        "C_m": Bounds(80e-12, 400e-12, log=True), "v_th": Bounds(-57.9e-3, -45e-3), "v_reset": Bounds(-75e-3, -58e-3),
        "t_ref": Bounds(2e-3, 9e-3), "b": Bounds(0.0, 150e-12), "tau_z": Bounds(20e-3, 300e-3, log=True),
        DELAY: Bounds(-0.5e-3, 1.5e-3),
    }  # fmt: skip
    settings = replace(Settings(), every=1, noise_std=2e-12, draws=3)
    fit = fit_spike_trains(MODEL, data, free, FIXED, settings=settings)
    assert fit.losses["fitted"] < 0.1 and fit.losses["validated"] < 0.1
    assert fit.values["C_m"] == pytest.approx(TRUE["C_m"], rel=0.1)
    assert fit.delay == pytest.approx(0.4e-3, abs=0.2e-3)


def test_what_can_not_be_fitted_is_told() -> None:
    train = np.array([0.1, 0.2])
    with pytest.raises(ValueError, match="after the current's 2 s; give times in seconds"):
        Repetitions(CURRENT, DT, [train * 1e3], 1.0, 2.0)
    with pytest.raises(ValueError, match="1 samples that are NaN"):
        Repetitions(np.append(CURRENT, np.nan), DT, [train], 1.0, 2.0)
    with pytest.raises(ValueError, match="repetition 0: spike times must be finite, ascending"):
        Repetitions(CURRENT, DT, [train[::-1]], 1.0, 2.0)
    with pytest.raises(ValueError, match="expected the latter later"):
        Repetitions(CURRENT, DT, [train], 1.0, 3.0)
    assert Repetitions.of(as_recording(CURRENT, DT, [train, train]), 1.0, 2.0).trains == (train, train)
    with pytest.raises(ValueError, match="2 sweeps; expected one"):
        Repetitions.of(as_recording([CURRENT, CURRENT], DT, [train, train]), 1.0, 2.0)
    with pytest.raises(ValueError, match="has no spikes"):
        Repetitions.of(as_recording(CURRENT, DT), 1.0, 2.0)
    data = Repetitions(CURRENT, DT, [train], 1.0, 2.0)
    with pytest.raises(ValueError, match="free has no 'delay'"):
        fit_spike_trains(MODEL, data, {"C_m": Bounds(1e-10, 2e-10)}, FIXED)
    with pytest.raises(ValueError, match="no parameter 'tau_w'"):
        fit_spike_trains(MODEL, data, {"tau_w": Bounds(1e-3, 2e-3), DELAY: Bounds(0.0, 1e-3)}, FIXED)
