"""Candidates, forced ones, the noise of a neuron, and a fit of one that is known and was recorded several times."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import snnmodels as snn
from snnmodels.fitting.likelihood import SOFTNESS
from snnmodels.fitting.neurons import Neurons
from snnmodels.fitting.noise import Noise, frozen_noise
from snnmodels.fitting.objective import Objective
from snnmodels.fitting.recording import Recording, as_recording
from snnmodels.fitting.search import evolve
from snnmodels.fitting.searching import nearest_noise
from snnmodels.fitting.space import DELAY, Bounds, Space
from snnmodels.fitting.starting import likeliest, threshold_parameter
from snnmodels.fitting.task import Task
from snnmodels.fitting.template import bare_model
from snnmodels.fitting.terms import LossSettings
from snnmodels.fitting.trains import MeanTrainDistance
from tests.needs import COMPILER

MODEL = bare_model("lif_current+current_adaptation")
FIXED = {"g_L": 10e-9, "v_rest": -70e-3}
TRUE = {"C_m": 200e-12, "v_th": -56e-3, "v_reset": -62e-3, "t_ref": 4e-3, "b": 40e-12, "tau_z": 80e-3}
NAMES = tuple(TRUE)
DT = 0.5e-3
CURRENT = 160e-12 + frozen_noise(1, 4000, DT, std=140e-12, seed=3, silent=False)[0]
FREE = {
    "C_m": Bounds(80e-12, 400e-12, log=True), "v_th": Bounds(-57.9e-3, -45e-3), "v_reset": Bounds(-75e-3, -58e-3),
    "t_ref": Bounds(2e-3, 9e-3), "b": Bounds(0.0, 150e-12), "tau_z": Bounds(20e-3, 300e-3, log=True),
    DELAY: Bounds(-0.5e-3, 1.5e-3),
}  # fmt: skip


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
    (sweep,) = as_recording(np.arange(7.0) * 1e-12, 1e-3, [2e-3, 6.5e-3]).sweeps
    coarse = sweep.coarse(3)
    np.testing.assert_allclose(coarse.current, [1e-12, 4e-12])
    assert (coarse.dt, [t.tolist() for t in coarse.spikes]) == (3e-3, [[2e-3]])


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
    space = Space({name: FREE[name] for name in NAMES} | {SOFTNESS: Bounds(0.5e-3, 5e-3)})
    of = Objective(
        MODEL, as_recording(CURRENT, DT, trains), space, FIXED, {"likelihood": 1.0}, input="I_syn", n=16,
        settings=LossSettings(), shifted=True,
    )  # fmt: skip
    with of:
        place = space.placed({**TRUE, SOFTNESS: 2e-3})
        k, h = len(place), 1e-6
        losses, slopes = of(np.vstack([place, place + h * np.eye(k), place - h * np.eye(k)]), gradient=True)
        assert slopes is not None
        differences = (losses[1 : k + 1] - losses[k + 1 :]) / (2 * h)
        np.testing.assert_allclose(slopes[0], differences, rtol=2e-5, atol=1e-6 * np.abs(differences).max())
        constant = of.constants[0]
        moved = space.placed({**TRUE, SOFTNESS: 2e-3, "v_th": TRUE["v_th"] + constant * 2e-3})
        again, _ = of(moved[None])
        assert again[0] == pytest.approx(losses[0], rel=1e-9)
        assert of.constants[0] == pytest.approx(0.0, abs=1e-9)
        late = space.placed({**TRUE, "t_ref": 1.0001 * float(np.diff(trains[0]).min())})
        assert np.isinf(of(late[None])[0][0])


def task_of(trains: list[np.ndarray], **changes: Any) -> Task:
    """A fit of the known neuron to recorded trains."""
    given: dict[str, Any] = {
        "model": MODEL, "recording": as_recording(CURRENT, DT, trains), "space": Space(FREE), "fixed": FIXED,
        "weights": {"spikes": 1.0}, "input": "I_syn", "candidates": 16, "settings": LossSettings(), "generations": 4,
        "likelihood": True, "noise": Noise(), "seed": 0, "target": "cpp_standalone",
    }  # fmt: skip
    return Task(**{**given, **changes})


@COMPILER
def test_the_noise_of_a_neuron_is_found_from_its_repetitions() -> None:
    row = np.array([list(TRUE.values())])
    noisy = CURRENT + frozen_noise(8, CURRENT.size, DT, std=20e-12, seed=11, silent=False)
    with Neurons(MODEL, NAMES, FIXED, noisy, DT, input="I_syn", n=1) as neurons:
        times = neurons.spike_times(row)[0][:, 0]
    task = task_of([t[np.isfinite(t)] for t in times])
    place = task.space.placed({**TRUE, DELAY: 0.0})
    assert nearest_noise(task, place[None]) == pytest.approx(20e-12, rel=0.3)
    quiet = spikes_of(row)[0]
    same = task_of([quiet[np.isfinite(quiet)]] * 3)
    assert nearest_noise(same, place[None]) == 0.0
    with same.objective(task.recording, 2, noise=Noise(20e-12, draws=2, alone=0.0)) as of:
        (loss,), _ = of(place[None])
    assert abs(loss) < 0.15  # the mean of its own repetitions, but for their number


@COMPILER
def test_distances_under_noise_and_without_it_add_up() -> None:
    row = np.array([list(TRUE.values())])
    with Neurons(MODEL, NAMES, FIXED, CURRENT + frozen_noise(3, CURRENT.size, DT, std=20e-12, seed=5), DT,
                 input="I_syn", n=1) as neurons:  # fmt: skip
        times = neurons.spike_times(row)[0][:, 0]
    task = task_of([t[np.isfinite(t)] for t in times])
    places = np.stack([task.space.placed({**TRUE, "b": b, DELAY: 0.2e-3}) for b in (44e-12, 38e-12)])
    k, h = places.shape[1], 1e-7
    found = []
    for noise in (None, Noise(20e-12, draws=3, alone=0.0), Noise(20e-12, draws=3, alone=0.5)):
        with task.objective(task.recording, 16, noise=noise) as of:
            losses, slopes = of(places, gradient=True)
            assert slopes is not None
            found.append((losses, slopes))
            steps = np.vstack([places[0] + h * np.eye(k), places[0] - h * np.eye(k)])
            up, down = of(steps)[0].reshape(2, k)
        np.testing.assert_allclose(slopes[0], (up - down) / (2 * h), rtol=1e-4, atol=1e-5 * np.abs(slopes[0]).max())
    (plain, slope), (noisy, noisy_slope), (both, both_slope) = found
    np.testing.assert_allclose(both, noisy + 0.5 * plain, rtol=1e-12)
    np.testing.assert_allclose(both_slope, noisy_slope + 0.5 * slope, rtol=1e-9)
    with pytest.raises(ValueError, match="alone is -1; expected a weight of at least 0"):
        Noise(alone=-1.0)


def test_stages_end_with_noise_and_without_it() -> None:
    trains = [np.array([0.1, 0.2]), np.array([0.1, 0.21])]
    stages = task_of(trains).stages
    assert [(s.name, s.noisy, s.alone) for s in stages[2:]] == [
        ("noise", True, 0.0), ("noise again", True, 0.0), ("both", True, 1.0)
    ]  # fmt: skip
    assert [s.name for s in task_of(trains, noise=Noise(alone=0.0)).stages[2:]] == ["noise", "noise again"]
    assert len(task_of(trains[:1]).stages) == len(task_of(trains, noise=None).stages) == 2


@COMPILER
def test_a_size_of_noise_that_was_found_stays_where_the_second_look_finds_none(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = iter([20e-12, 0.0])
    monkeypatch.setattr("snnmodels.fitting.searching.nearest_noise", lambda task, places: next(sizes))
    train = spikes_of(np.array([list(TRUE.values())]))[0]
    trains = [train[np.isfinite(train)] + shift for shift in (0.0, 0.2e-3)]
    result = snn.fit(
        MODEL, current=CURRENT, dt=DT, spikes=trains, free=FREE, fixed=FIXED, candidates=4, generations=2,
        likelihood=False, progress=False,
    )  # fmt: skip
    assert result.noise == 20e-12
    assert not any("no noise" in told for told in result.stages)


def test_noise_of_no_size_wants_a_current_that_was_repeated() -> None:
    with pytest.raises(ValueError, match="no current was repeated, so that its size can't be found"):
        snn.fit(MODEL, current=CURRENT, dt=DT, spikes=[0.1, 0.2], free=FREE, fixed=FIXED, noise=Noise(), progress=False)
    with pytest.raises(ValueError, match=r"give Noise\(std=...\)"):
        Noise().currents(1, 10, DT)
    with pytest.raises(ValueError, match="std is 0; expected more than 0"):
        Noise(0.0)


def test_the_parameter_that_lifts_the_threshold_is_found() -> None:
    assert threshold_parameter(MODEL, NAMES) == "v_th"
    assert threshold_parameter(bare_model("lif_current+adaptive_threshold"), ["beta", "v_th"]) == "v_th"
    assert threshold_parameter(MODEL, ["C_m"]) == ""
    assert threshold_parameter(snn.load_model("adex"), ["v_T", "delta_T"]) == ""


def test_a_likelihood_that_can_not_be_is_told() -> None:
    train = np.array([0.1, 0.103, 0.2])
    told = likeliest(task_of([train], space=Space(FREE | {"t_ref": Bounds(4e-3, 9e-3)})))
    assert told == "t_ref is at least 0.004 s, longer than the shortest recorded interval"
    model = snn.load_model("partial_refractory_lif")
    told = likeliest(task_of([train], model=model, space=Space({"v_th": FREE["v_th"]}), fixed={}, target="numpy"))
    assert isinstance(told, str) and told.startswith("spikes can't be forced on partial_refractory_lif")


@COMPILER
@pytest.mark.slow
def test_a_neuron_that_was_recorded_several_times_is_found() -> None:
    noisy = CURRENT + frozen_noise(6, CURRENT.size, DT, std=10e-12, seed=11, silent=False)
    with Neurons(MODEL, NAMES, FIXED, noisy, DT, input="I_syn", n=1) as neurons:
        times = neurons.spike_times(np.array([list(TRUE.values())]))[0][:, 0]
    trains = [t[np.isfinite(t)] + 0.4e-3 for t in times]
    (sweep,) = as_recording(CURRENT, DT, trains).sweeps
    recording = Recording((sweep.until(1.4),))
    result = snn.fit(MODEL, recording, free=FREE, fixed=FIXED, progress=False)
    assert result.noise  # what 26 spikes say of its size is another matter
    for name in ("C_m", "t_ref", "b", "tau_z"):
        assert result.values[name] == pytest.approx(TRUE[name], rel=0.15), name
    assert result.values[DELAY] == pytest.approx(0.4e-3, abs=0.4e-3)
    factor, reliability = result.coincidence[0]
    assert factor / reliability > 0.9
