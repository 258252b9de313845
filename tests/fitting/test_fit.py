"""Fits: known parameters come back, gradients are right, an interruption changes nothing, and bad input is told."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from brian2 import ms, mV, nS, pF

import snnmodels as snn
from snnmodels import oracle
from snnmodels.fitting import Bounds, FitInterrupted, LossSettings, as_recording, parse_free, parse_value, write_report
from snnmodels.fitting.free import free_parameters
from snnmodels.fitting.objective import Objective
from snnmodels.fitting.result import simulate_sweeps
from snnmodels.fitting.search import Evolution, curvature, polish
from snnmodels.fitting.searching import _Search
from snnmodels.fitting.space import Space
from tests.needs import COMPILER

DT = 1e-3


def current(n: int, seed: int = 0, mean: float = 0.38e-9, std: float = 0.15e-9) -> np.ndarray:
    rng, x = np.random.default_rng(seed), np.zeros(n)
    for k in range(1, n):
        x[k] = x[k - 1] * np.exp(-1 / 3) + rng.normal() * np.sqrt(1 - np.exp(-2 / 3))
    return mean + std * x


def recorded(model: Any, truth: Mapping[str, float], n: int = 400, seeds: tuple[int, ...] = (0,)) -> Any:
    """What a neuron of known parameters does with drawn currents."""
    currents = [current(n, seed) for seed in seeds]
    silent = as_recording(currents, DT, [[] for _ in currents])
    found = simulate_sweeps(model, silent, truth, "I_syn", variable="v", interval=DT)
    voltages = [np.concatenate([[-0.07], v[:-1]]) for _, v in found]  # the first sample is at 0
    return as_recording(currents, DT, [t for t, _ in found], voltages)


LIF = snn.load_model("lif_current")
TRUTH = {"C_m": 200e-12, "v_th": -53e-3, "t_ref": 3e-3}
FREE = {"C_m": (80 * pF, 400 * pF), "v_th": (-60 * mV, -45 * mV), "t_ref": (1 * ms, 6 * ms)}


def test_parameters_come_back_from_spikes_alone(tmp_path: Path) -> None:
    data = recorded(LIF, TRUTH, 600)
    assert len(data.sweeps[0].spikes[0]) > 8
    result = snn.fit(LIF, replace_voltage(data), free=FREE, generations=30, candidates=32, progress=False)
    for name, value in TRUTH.items():
        assert result.values[name] == pytest.approx(value, rel=1e-9)
    assert result.coincidence[0] == (1.0, 1.0)
    assert not result.undetermined
    assert result.converged
    write_report(result, tmp_path)
    again = snn.load_model(tmp_path / "fitted.toml")
    assert again.parameters["C_m"].value == result.values["C_m"]
    assert (tmp_path / "fit.png").stat().st_size > 10_000
    assert "C_m" in str(result)


@COMPILER
def test_standard_errors_are_given_at_a_minimum_alone() -> None:
    seen = set()
    for seed in (0, 2):
        (sweep,) = replace_voltage(recorded(LIF, TRUTH, 400, (seed,))).sweeps
        (train,) = sweep.spikes
        spikes = np.sort(train + np.random.default_rng(seed).normal(0, 0.3e-3, len(train)))  # measured with that error
        data = as_recording(sweep.current, DT, spikes)
        for options in ({"candidates": 16, "generations": 12}, {"candidates": 8, "generations": 2, "polish_steps": 0}):
            result = snn.fit(LIF, data, free=FREE, seed=seed, progress=False, likelihood=False, **options)
            errors, converged = result.errors, result.converged
            seen.add(converged)
            assert ("±" in str(result), "not converged" in str(result)) == (converged, not converged)
            assert result.summary()["converged"] is converged
            if converged:
                assert all(abs(result.values[name] - x) < 4 * errors[name] for name, x in TRUTH.items())
                # the same deviations a little beside the minimum
                beside = replace(result, bends=replace(result.bends, slope=result.bends.hessian @ np.full(3, 0.05)))
                assert "standard errors from where the loss would be least" in beside.not_converged
            else:
                assert np.isnan(list(errors.values())).all()
                assert result.summary()["parameters"]["C_m"]["standard_error"] is None
    assert seen == {True, False}
    assert replace(result, noise=1e-11).not_converged.startswith("searched under noise")
    odd = replace(result, coincidence=((0.28, 1.0),))
    assert "the coincidence in sweep 0 is 0.28" in odd.misfit
    assert "take another model" in str(odd)
    assert replace(result, coincidence=((0.9, 1.0),)).misfit == ""
    assert "no better than by a constant" in replace(odd, weights={"voltage": 2.0}, loss=2.5).misfit


def replace_voltage(data: Any) -> Any:
    return replace(data, sweeps=tuple(replace(s, voltage=None) for s in data.sweeps))


def test_a_subthreshold_voltage_of_two_sweeps_tells_the_membrane() -> None:
    passive = snn.load_model("lif_current")
    truth = {"C_m": 150e-12, "g_L": 12e-9, "v_th": 1.0, "v_reset": -0.07}  # it never spikes
    data = recorded(passive, truth, 200, (1, 2))
    data = replace(data, sweeps=tuple(replace(s, spikes=()) for s in data.sweeps))
    free = {"C_m": (50 * pF, 500 * pF), "g_L": (5 * nS, 50 * nS)}
    result = snn.fit(passive, data, free=free, fixed={"v_th": 1.0}, generations=15, candidates=16, progress=False,
                     settings=LossSettings(voltage_interval=DT))  # fmt: skip
    assert result.weights == {"voltage": 1.0}
    for name in free:
        assert result.values[name] == pytest.approx(truth[name], rel=1e-6)


def objective(weights: Mapping[str, float], free: Mapping[str, Any] | None = None, **fixed: float) -> Objective:
    data = recorded(LIF, TRUTH, 200, (0, 3))
    space = Space(free_parameters(LIF, {**FREE, **(free or {})}))
    # with forced spikes, NumPy takes minutes; test_likelihood has it there
    forced = {"voltage", "likelihood"} & weights.keys()
    return Objective(
        LIF, data, space, fixed, weights, input="I_syn", n=8, settings=LossSettings(),
        target="cpp_standalone" if forced else "numpy",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("weights", "free", "fixed"),
    [
        ({"spikes": 1.0}, {"delay": (-2 * ms, 2 * ms)}, {}),
        ({"intervals": 1.0}, {}, {}),
        pytest.param({"voltage": 1.0}, {}, {}, marks=COMPILER),
        pytest.param({"likelihood": 1.0}, {"Delta_u": (1 * mV, 4 * mV)}, {}, marks=COMPILER),
        pytest.param({"spikes": 0.7, "voltage": 0.5, "likelihood": 0.3}, {}, {"Delta_u": 2e-3}, marks=COMPILER),
    ],
)
def test_gradients_of_all_terms_agree_with_differences(
    weights: dict[str, float], free: dict[str, Any], fixed: dict[str, float]
) -> None:
    with objective(weights, free, **fixed) as of:
        place = of.space.placed({"C_m": 210e-12, "v_th": -53.5e-3, "t_ref": 2e-3})
        k, h = len(place), 1e-6
        losses, slopes = of(np.vstack([place, place + h * np.eye(k), place - h * np.eye(k)]), gradient=True)
        assert slopes is not None
        differences = (losses[1 : k + 1] - losses[k + 1 :]) / (2 * h)
        assert np.abs(differences).max() > 1e-3
        np.testing.assert_allclose(slopes[0], differences, rtol=2e-5, atol=2e-6 * np.abs(differences).max())


def test_derivatives_of_spikes_agree_with_the_reference() -> None:
    with objective({"spikes": 1.0}) as of:
        place = of.space.placed({"C_m": 205e-12, "v_th": -53.2e-3, "t_ref": 2.9e-3})
        residuals, slopes = of.spike_residuals(place)
        values = of.space.named(place)
        data = recorded(LIF, TRUTH, 200, (0, 3))
        found, rows = [], []
        for sweep in data.sweeps:
            cell = snn.Population("cell", 1, LIF, values, learnable=list(values))
            network = snn.Network(
                "one", [], [cell], [], "cell", sweep.duration,
                currents=[snn.CurrentInput("current", 1, DT, unit="amp")],
                drives=[snn.Drive("", "current", "cell", np.ones((1, 1)), "I_syn", learnable=())],
            )  # fmt: skip
            inputs = {"current": sweep.current[None, None]}
            with snn.Simulation(network, snn.SpikeTimeError(), batch_size=1) as simulation:
                times = simulation.run(inputs, np.full((1, 1, 1), 0.01), gradient=False).output
            for j in range(int(np.isfinite(times).sum())):
                one = snn.SpikeTimeFunction(lambda t, _, j=j: (float(t[0, 0, j]), np.eye(t.shape[2])[j][None, None]))
                exact = oracle.gradient(network, inputs, one, np.zeros((1, 1)))
                found.append(exact.loss)
                rows.append([exact.gradients[f"cell.{name}"] for name in of.names])
        recorded_times = np.concatenate([np.sort(s.spikes[0]) for s in data.sweeps])
        np.testing.assert_allclose(residuals, np.array(found) - recorded_times, atol=1e-12)
        np.testing.assert_allclose(slopes, np.array(rows, dtype=float) * of.space.slopes(place), rtol=1e-8)


def test_an_interrupted_fit_goes_on_to_the_same_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = replace_voltage(recorded(LIF, TRUTH, 200))
    options: dict[str, Any] = {"free": FREE, "candidates": 8, "generations": 6, "starts": 2, "polish_steps": 0,
                               "progress": False, "target": "numpy", "likelihood": False}  # fmt: skip
    whole = snn.fit(LIF, data, **options)
    calls, step = [0], Evolution.step

    def interrupted(self: Evolution) -> None:
        calls[0] += 1
        if calls[0] == 8:
            raise KeyboardInterrupt
        step(self)

    monkeypatch.setattr(Evolution, "step", interrupted)
    with pytest.raises(FitInterrupted, match=r"search 2, after generation 1; .*fit\.json holds it"):
        snn.fit(LIF, data, checkpoint=tmp_path / "fit.json", **options)
    resumed = snn.fit(LIF, data, checkpoint=tmp_path / "fit.json", **options)
    assert resumed.values == whole.values
    assert (resumed.loss, calls[0]) == (whole.loss, 13)
    with pytest.raises(ValueError, match="another seed"):
        snn.fit(LIF, data, checkpoint=tmp_path / "fit.json", **{**options, "seed": 1})
    monkeypatch.undo()
    with ThreadPoolExecutor(2) as executor:
        elsewhere = snn.fit(LIF, data, executor=executor, checkpoint=tmp_path / "own.json", **options)
        assert elsewhere.values == whole.values
        files = sorted(tmp_path.glob("own*"))
        assert [f.name for f in files] == ["own_0.json", "own_1.json"]
        files[1].write_bytes(files[0].read_bytes())
        with pytest.raises(ValueError, match=r"own_1\.json: is of a fit with another starts"):
            snn.fit(LIF, data, executor=executor, checkpoint=tmp_path / "own.json", **options)


@pytest.mark.parametrize("where", ["_begun", "polished", "_result"])
def test_ctrl_c_outside_of_a_generation_says_what_is_kept(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = replace_voltage(recorded(LIF, TRUTH, 200))
    options: dict[str, Any] = {"free": FREE, "candidates": 8, "generations": 2, "polish_steps": 1, "progress": False,
                               "target": "numpy", "likelihood": False}  # fmt: skip

    def ctrl_c(*_: Any) -> None:
        raise KeyboardInterrupt

    module = sys.modules["snnmodels.fitting.fit"]
    monkeypatch.setattr(_Search if where == "_begun" else module, where, ctrl_c)
    kept = "nothing is kept yet" if where == "_begun" else r"fit\.json holds it"
    with pytest.raises(FitInterrupted, match=kept):
        snn.fit(LIF, data, checkpoint=tmp_path / "fit.json", **options)
    with pytest.raises(FitInterrupted, match="nothing is kept without a checkpoint"):
        snn.fit(LIF, data, **options)
    monkeypatch.undo()
    snn.fit(LIF, data, checkpoint=tmp_path / "fit.json", **options)
    if where == "_begun":  # what another fit has left is not this one's
        monkeypatch.setattr(_Search, where, ctrl_c)
        with pytest.raises(FitInterrupted, match="nothing is kept yet"):
            snn.fit(LIF, data, checkpoint=tmp_path / "fit.json", resume=False, **options)


def test_ctrl_c_while_an_executor_searches_leaves_it_without_the_rest() -> None:
    class Waiting(Executor):
        def __init__(self) -> None:
            self.given: list[Future[Any]] = []

        def submit(self, *_: Any, **__: Any) -> Future[Any]:
            self.given.append(Future())
            if len(self.given) == 2:
                self.given[-1].set_exception(KeyboardInterrupt())
            return self.given[-1]

    executor = Waiting()
    with pytest.raises(FitInterrupted, match="interrupted in the searches; nothing is kept"):
        snn.fit(LIF, replace_voltage(recorded(LIF, TRUTH, 200)), free=FREE, starts=3, executor=executor,
                progress=False, target="numpy", likelihood=False)  # fmt: skip
    assert [f.cancelled() for f in executor.given] == [True, False, True]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"free": {"tref": (1, 2)}}, "no parameter 'tref'; did you mean 't_ref'.* there is C_m, .*, v_th"),
        ({"start": {"g_L": 10 * nS}}, r"start\['g_L'\]: it is not free"),
        ({"start": {"C_m": 900 * pF}}, r"start\['C_m'\] is 9e-10, outside of its bounds 8e-11 and 4e-10"),
        ({"free": {}}, "free names no parameter"),
        ({"free": {"C_m": (1 * mV, 2 * mV)}}, r"free\['C_m'\] has unit volt; expected farad"),
        ({"free": {"C_m": (2e-10, 1e-10)}}, r"free\['C_m'\]: .* must be less"),
        ({"free": {"C_m": (-1e-10, 1e-10)}}, r"free\['C_m'\]: C_m is -1e-10 farad"),
        ({"free": {"C_m": (1e-10, 2e-10, "cubic")}}, "expected 'log' or 'linear'"),
        ({"free": {"v_th": (0.5, 0.9)}}, "no spike of 8 candidates, where .* exclude spiking"),
        ({"fixed": {"C_m": 1e-10}}, "'C_m' is both free and fixed"),
        ({"losses": {"spike": 1}}, "there is no 'spike'; did you mean 'spikes'"),
        ({"losses": {"likelihood": 1}}, "'likelihood' needs 'Delta_u'"),
        ({"losses": {"voltage": 1}}, "needs a recorded voltage"),
        ({"losses": {"spikes": -1}}, "weight of at least 0"),
        ({"spikes": []}, "there is no spike in any sweep.*--level=-20mV"),
        ({"spikes": None}, "nothing was recorded.*column voltage of a .csv"),
        ({"spikes": None, "voltage": np.where(np.arange(100) == 9, 0.02, -0.07)}, "crosses 0 V 1 times.*--detect"),
        ({"input": "I"}, "no input 'I'"),
        ({"dt": None}, "current and dt are needed"),
        ({"candidates": 2}, "candidates"),
        ({"free": {**FREE, "delay": (0.0, 0.2)}}, r"free\['delay'\]: a bound is 0.2 s, .* shortest sweep lasts 0.1 s"),
        ({"fixed": {"delay": -0.1}}, r"fixed\['delay'\] is -0.1 s, and the shortest sweep lasts 0.1 s"),
        ({"noise": 8e-12}, "noise is 8e-12; expected True, False or a Noise"),
    ],
)
def test_what_can_not_be_fitted_is_told(changes: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {
        "free": FREE, "current": current(100), "dt": DT, "spikes": [0.02], "candidates": 8, "generations": 1,
        "target": "numpy", "progress": False, "likelihood": False,
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        snn.fit(LIF, **{**given, **changes})


def test_free_parameters_are_logarithmic_where_that_is_sensible() -> None:
    bounds = free_parameters(LIF, {**FREE, "t_ref": (1 * ms, 2 * ms), "g_L": Bounds(1e-9, 2e-9, log=True)})
    assert {name: b.log for name, b in bounds.items()} == {"C_m": True, "v_th": False, "t_ref": False, "g_L": True}
    assert parse_free("C_m:80pF:400pF:linear", LIF) == ("C_m", Bounds(80e-12, 400e-12))
    assert parse_free("v_th:-60mV:-45e-3*volt", LIF)[1] == Bounds(-60e-3, -45e-3)
    assert parse_value("g_L=10nS", LIF) == ("g_L", pytest.approx(10e-9))
    for text, message in (("C_m:1pF", "NAME:LOW:HIGH"), ("C_m:1pF:2ms", "--free"), ("x:1:2", "no parameter 'x'")):
        with pytest.raises(ValueError, match=message):
            parse_free(text, LIF)


def test_a_quadratic_is_polished_to_its_minimum() -> None:
    matrix = np.array([[2.0, 0.5], [0.5, 1.0]])

    def sloped(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        off = places - np.array([0.3, 1.2])  # the minimum of the second is beyond the cube
        return 0.5 * np.einsum("ki,ij,kj->k", off, matrix, off), off @ matrix

    np.testing.assert_allclose(curvature(sloped, np.array([0.5, 0.5])), matrix, rtol=1e-9)
    found = polish(sloped, np.array([0.9, 0.1]))
    np.testing.assert_allclose(found.place, [0.35, 1.0], atol=1e-5)


def test_a_neuron_too_fast_for_the_coincidence_factor_is_fitted():
    spikes = np.arange(4e-3, 60e-3, 4e-3)  # 250 per second: within 4 ms of anything
    result = snn.fit(
        "lif_current", current=np.full(60, 2e-9), dt=1e-3, spikes=spikes, free={"v_th": (-60e-3, -50e-3)}, candidates=4,
        generations=0, likelihood=False, polish_steps=0, target="numpy", progress=False,
    )  # fmt: skip
    assert "spikes, of the neuron 14; at this rate all coincide within 4 ms by chance" in str(result)
    assert np.isnan(result.coincidence[0][0])
