"""The nonlinear neurons of the library do what their sources say: closed forms, patterns, other simulators' spikes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from snnmodels.templates import load_model
from tests.templates.library_checks import MS, MV, NA, NS, PA, Equations, Parameters, spike_train

STEP = 0.01  # ms, of the runs of other simulators


class Train(NamedTuple):
    """Spikes of another simulator at a step of 0.01 ms: how many, the first one, intervals after it, the last interval.

    A spike is put at the end of its step, and its reset acts then. A first spike is so up to one step late, an interval
    up to one step off where the integration is exact; `steps` is more where its error adds to that. The first spike is
    None where those runs started from another state than the file does (of gates, or a hundredth away).
    """

    source: str
    model: str
    parameters: Parameters
    duration: float
    count: int
    first: float | None
    intervals: tuple[float, ...]
    last: float | None
    steps: float = 1.0


TRAINS = [
    Train("Brian2", "adex", {"I_syn": 1 * NA}, 500, 17, 11.720, (13.53, 15.76, 18.52), 36.040, 1.5),
    Train("NEST", "adex", {"I_syn": 1 * NA}, 500, 17, 11.730, (13.52, 15.76, 18.52), 36.040),
    # a reset 0.01 ms late loses as much of the fast rise after it: at 0.02 of the steps of NEST's Euler method
    Train("Brian2", "izhikevich", {"I_syn": 10}, 1000, 23, 3.120, (23.11, 44.84, 44.82), 44.820, 2),
    Train("NEST", "izhikevich", {"I_syn": 10}, 1000, 23, 3.150, (23.15, 44.86, 44.84), 44.840, 6),
    Train("Brian2", "izhikevich_2007", {"I_syn": 100 * PA}, 1000, 13, 48.180, (73.44, 76.11, 76.03), 76.020, 3),
    Train("Brian2", "lif_ahp", {"I_syn": 2 * NA}, 300, 16, 13.860, (18.14, 18.14, 18.14), 18.140),
    Train("NEST", "lif_ahp", {"I_syn": 2 * NA}, 300, 16, 13.863, (18.14, 18.14, 18.14), 18.137),
    Train("Brian2", "morris_lecar", {"I_syn": 0.45, "phi": 66.667}, 300, 3, None, (99.30,), 99.310),
    Train("Brian2", "fitzhugh_nagumo", {"I_syn": 0.5}, 200, 5, 2.760, (41.10, 39.48, 39.47), 39.470, 2.5),
    Train("Brian2", "hindmarsh_rose", {"I_syn": 2}, 60, 9, None, (4.66, 4.92, 5.21), None),
    Train("Brian2", "hodgkin_huxley", {"I_syn": 1 * NA}, 60, 4, 1.900, (14.92, 14.65), 14.640),
    Train("NEST", "hodgkin_huxley", {"I_syn": 1 * NA}, 60, 4, None, (14.94, 14.65), 14.640, 2),
    Train("Brian2", "traub", {"I_syn": 300 * PA}, 60, 4, 3.240, (16.93, 16.94), 16.940),
    Train("NEST", "traub", {"I_syn": 300 * PA}, 60, 4, None, (16.94, 16.94), 16.940),
    Train("Brian2", "wang_buzsaki", {"I_syn": 100 * PA}, 60, 3, None, (16.75,), 16.750),
]


LONG = {"izhikevich_2007", "fitzhugh_nagumo", "hindmarsh_rose", "traub", "wang_buzsaki"}  # to simulate in NumPy


@pytest.mark.parametrize(
    "train",
    [
        pytest.param(t, marks=pytest.mark.slow if t.model in LONG else (), id=f"{t.model}-{t.source}")
        for t in TRAINS
    ],
)
def test_spikes_of_other_simulators(train: Train) -> None:
    times = spike_train(train.model, train.duration, **train.parameters)
    assert len(times) == train.count
    wanted, found = [*train.intervals], [*np.diff(times)[: len(train.intervals)]]
    if train.first is not None:
        wanted, found = [train.first, *wanted], [times[0], *found]
    if train.last is not None:
        wanted, found = [*wanted, train.last], [*found, times[-1] - times[-2]]
    printed = STEP / 2  # the last digit
    np.testing.assert_allclose(found, wanted, rtol=0, atol=train.steps * STEP + printed)


# --- closed forms ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("current", [0.04, 0.25, 1.0])
def test_theta_has_its_period(current: float) -> None:
    times = spike_train("theta", 300, I_syn=current)
    period = np.pi * 10 / np.sqrt(current)
    np.testing.assert_allclose(times, period * (0.5 + np.arange(len(times))), rtol=1e-10)
    assert len(times) == int(300 / period + 0.5)


def test_theta_is_silent_without_input() -> None:
    assert len(spike_train("theta", 300, I_syn=-1e-3)) == 0


def test_adex_loses_stability_where_naud_et_al_say() -> None:
    equations = Equations("adex")
    C, g, E, vT, D, a, tau = 281e-12, 30 * NS, -70.6 * MV, -50.4 * MV, 2 * MV, 4 * NS, 144 * MS
    assert a / g > C / g / tau  # a Hopf bifurcation comes first
    ratio = C / g / tau
    v = vT + D * np.log(1 + ratio)
    rheobase = (g + a) * (vT - E - D + D * np.log(1 + ratio)) + D * g * (a / g - ratio)
    rest = [v, a * (v - E)]
    np.testing.assert_allclose(equations.rates(rest, rheobase) * MS, 0, atol=1e-14)
    eigenvalues = np.linalg.eigvals(equations.jacobian(rest, rheobase))
    assert np.abs(eigenvalues.imag).min() > 1
    np.testing.assert_allclose(eigenvalues.real, 0, atol=1e-9)


def test_izhikevich_starts_by_a_saddle_node_at_4() -> None:
    equations = Equations("izhikevich")
    v = -(5 - 0.2) / (2 * 0.04)
    np.testing.assert_allclose(equations.rates([v, 0.2 * v], 4.0), 0, atol=1e-9)
    assert np.linalg.det(equations.jacobian([v, 0.2 * v], 4.0)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("factor", "spikes"), [(0.99, False), (1.01, True)])
def test_izhikevich_2007_starts_by_a_saddle_node(factor: float, spikes: bool) -> None:
    k, b, rise = 0.7 * NS / MV, -2 * NS, 20 * MV
    rheobase = (b + k * rise) ** 2 / (4 * k)
    assert rheobase == pytest.approx(51.43 * PA, rel=1e-4)
    assert (len(spike_train("izhikevich_2007", 2000, I_syn=factor * rheobase)) > 0) == spikes


@pytest.mark.parametrize(("sign", "current"), [(-1, 0.3313), (1, 1.4187)])
def test_fitzhugh_nagumo_changes_stability_by_hopf_bifurcations(sign: int, current: float) -> None:
    v = sign * np.sqrt(1 - 0.8 / 12.5)
    rest = [v, (v + 0.7) / 0.8]
    exact = rest[1] - v + v**3 / 3
    assert exact == pytest.approx(current, abs=5e-5)
    equations = Equations("fitzhugh_nagumo")
    np.testing.assert_allclose(equations.rates(rest, exact), 0, atol=1e-9)
    eigenvalues = np.linalg.eigvals(equations.jacobian(rest, exact))
    np.testing.assert_allclose(eigenvalues.real, 0, atol=1e-9)
    assert np.abs(eigenvalues.imag).min() > 1


@pytest.mark.parametrize(("current", "resting"), [(39.95, 3), (39.97, 1)])
def test_morris_lecar_loses_rest_at_39_96(current: float, resting: int) -> None:
    """A saddle-node: two of three fixed points meet; currents in uA/cm2."""
    equations, v = Equations("morris_lecar"), np.linspace(-70, 40, 40001) * MV
    n = 0.5 * (1 + np.tanh((v - 12 * MV) / (17.4 * MV)))
    rate = equations.rates([v, n], current * 1e-2)[0, 0]
    assert np.count_nonzero(np.diff(np.sign(rate))) == resting


@pytest.mark.slow
def test_hindmarsh_rose_bursts_at_2_and_spikes_tonically_at_4() -> None:
    late = np.diff(spike_train("hindmarsh_rose", 1500, I_syn=2))[10:]
    assert late.max() > 5 * late.min()
    late = np.diff(spike_train("hindmarsh_rose", 1500, I_syn=4))[-20:]
    assert np.ptp(late) < 0.01


def test_lif_ahp_starts_at_its_rheobase_with_a_first_spike_in_closed_form() -> None:
    assert len(spike_train("lif_ahp", 200, I_syn=1.4999 * NA)) == 0
    assert spike_train("lif_ahp", 20, I_syn=2 * NA)[0] == pytest.approx(10 * np.log(4), rel=1e-10)


# --- patterns of AdEx -----------------------------------------------------------------------------------------------

# Naud et al. (2008), as refitted in Brian2's example, in pF, nS, mV, ms and pA in the order of `NAMES`
PATTERNS = {
    "tonic": (200, 10, -70, -50, 2, 2, 30, 0, -58, 500),
    "adapting": (200, 12, -70, -50, 2, 2, 300, 60, -58, 500),
    "initial burst": (130, 18, -58, -50, 2, 4, 150, 120, -50, 400),
    "bursting": (200, 10, -58, -50, 2, 2, 120, 100, -46, 210),
    "accelerating": (200, 12, -70, -50, 2, -10, 300, 0, -58, 300),
    "delayed bursting": (100, 10, -65, -50, 2, -10, 90, 30, -47, 110),
    "transient": (100, 10, -65, -50, 2, 10, 90, 100, -47, 180),
    "irregular": (100, 12, -60, -50, 2, -11, 130, 30, -48, 160),
}
UNITS = (PA, NS, MV, MV, MV, NS, MS, PA, MV, PA)
NAMES = ("C_m", "g_L", "E_L", "v_T", "delta_T", "a", "tau_z", "b", "v_reset", "I_syn")


def pattern(name: str, duration: float = 500, **more: float) -> np.ndarray:
    values = dict(zip(NAMES, np.multiply(PATTERNS[name], UNITS), strict=True))
    return spike_train("adex", duration, **{**values, **more})


def test_adex_tonic() -> None:
    d = np.diff(pattern("tonic"))
    assert np.ptp(d[-20:]) < 1e-3
    assert d[-1] / d[0] < 1.1


def test_adex_adapting() -> None:
    d = np.diff(pattern("adapting"))
    assert np.all(np.diff(d) > 0)
    assert d[-1] > 5 * d[0]


def test_adex_initial_burst() -> None:
    d = np.diff(pattern("initial burst"))
    assert np.all(d[:2] < 10)
    assert np.all(d[2:] > 50)
    assert np.ptp(d[4:]) < 0.1


def test_adex_bursting() -> None:
    d = np.diff(pattern("bursting"))[2:]
    assert np.all(d[0::2] > 100)
    assert np.all(d[1::2] < 10)


def test_adex_accelerating() -> None:
    d = np.diff(pattern("accelerating"))
    assert np.all(np.diff(d) < 0)
    assert d[-1] < 0.6 * d[0]


def test_adex_delayed_bursting() -> None:
    times = pattern("delayed bursting")
    d = np.diff(times)
    assert times[0] > 50
    np.testing.assert_allclose(d[4:8], d[8:12], rtol=5e-3)
    assert d[3] > 5 * d[:3].max()


def test_adex_transient() -> None:
    assert len(pattern("transient")) == 1


def test_adex_irregular_is_irregular_for_long_but_not_chaotic() -> None:
    """Solved exactly it comes to a period of ten spikes, whose intervals no two are alike; a grid hides that."""
    one, other = (np.diff(pattern("irregular", 1500, v_reset=-48 * MV + more)) for more in (0, 1e-12))
    period = one[-10:]
    np.testing.assert_allclose(one[-20:-10], period, atol=2e-2)
    apart = np.abs(period[:, None] - period) + 9 * np.eye(10)
    assert apart.min() > 0.01  # ms
    assert len(one) == len(other)
    np.testing.assert_allclose(other, one, rtol=0, atol=1e-4)


def test_adex_cut_at_0_mV_differs_by_the_time_from_the_lower_cut() -> None:
    """To v_peak = 0 mV it takes exp(-5) of the time constant more, less what the rest of the current does."""
    low, high = (spike_train("adex", 30, I_syn=1 * NA, v_peak=v)[0] for v in (-40.4 * MV, 0.0))
    assert high - low == pytest.approx(281 / 30 * np.exp(-5), rel=0.02)


def test_models_name_no_variable_as_a_weight() -> None:
    for name in ("adex", "izhikevich", "izhikevich_2007", "theta"):
        model = load_model(name)
        assert not {"w", "delay"} & {*model.state_names, *model.parameters}
