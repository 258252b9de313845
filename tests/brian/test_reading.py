"""Scripts of Brian2, read as networks: their spikes are Brian2's own, and their gradients are exact."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence

import brian2
import numpy as np
import pytest
from brian2 import (
    Hz,
    NeuronGroup,
    PoissonGroup,
    PoissonInput,
    Quantity,
    SpikeGeneratorGroup,
    SpikeMonitor,
    StateMonitor,
    Synapses,
    TimedArray,
    ms,
    mV,
    us,
)

import snnmodels as snn
from snnmodels.brian import ReadNetwork
from snnmodels.gradients import probe
from snnmodels.gradients.probe import SmoothSpikeTimes
from snnmodels.losses import Samples, SpikeTimes
from snnmodels.symbolic import hybrid_system
from snnmodels.templates import TemplateError, catalogue, load_model, with_values
from snnmodels.templates.expressions import free_names
from snnmodels.templates.identity import identity
from snnmodels.templates.units import unit_dimension
from tests.brian.scripts import SCRIPTS, Script
from tests.needs import COMPILER

# spikes may be that many steps from Brian2's, which tests thresholds and begins and ends periods on its grid
STEPS = 8
CHEAP = ("adaptive_threshold",)
COMPILED = ("hodgkin_huxley", "morris_lecar")  # minutes in NumPy
LIF = """
dv/dt = (E - v + ge)/tau : volt (unless refractory)
dge/dt = -ge/tau_e : volt
"""
NUMBERS = {"E": -60 * mV, "tau": 10 * ms, "tau_e": 5 * ms, "v_th": -50 * mV, "v_r": -65 * mV}


@pytest.fixture(autouse=True)
def numpy_target() -> Iterator[None]:
    brian2.start_scope()
    old = brian2.prefs.codegen.target
    brian2.prefs.codegen.target = "numpy"
    brian2.defaultclock.dt = 100 * us
    yield
    brian2.prefs.codegen.target = old
    brian2.defaultclock.dt = 100 * us


def read(script: Script) -> ReadNetwork:
    return snn.from_brian2(
        script.objects, script.output, script.duration, learnable=script.learnable, namespace=script.namespace
    )


def spikes_of(network: snn.Network, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    with snn.Simulation(network, SpikeTimes(), batch_size=1) as simulation:
        spikes = simulation.forward(inputs, gradient=False)[0]
    return [row[np.isfinite(row)] for row in spikes]


def brians(script: Script, dt: Quantity) -> list[np.ndarray]:
    """Spike times of Brian2: what it records at t is reached a step later."""
    brian2.defaultclock.dt = dt
    group = next(o for o in script.objects if o.name == script.output)
    monitor = SpikeMonitor(group)
    brian2.Network(*script.objects, monitor).run(script.duration * brian2.second, namespace=script.namespace)
    trains = monitor.spike_trains()
    return [np.asarray(trains[k]) + float(dt) for k in range(len(group))]


def assert_brians(name: str, dt: Quantity, steps: float = STEPS) -> None:
    script = SCRIPTS[name]()
    network = read(script)
    ours, theirs = spikes_of(network, dict(network.trial)), brians(script, dt)
    assert [len(x) for x in ours] == [len(x) for x in theirs]
    assert sum(map(len, ours)) > 2
    for x, y in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=steps * float(dt))


def marked(names: Iterable[str], cheap: Sequence[str], compiled: Sequence[str] = ()) -> list[object]:
    """Names of tests, of which some are cheap, and some need a compiler."""
    return [
        pytest.param(n, marks=[*([] if n in cheap else [pytest.mark.slow]), *([COMPILER] if n in compiled else [])])
        for n in names
    ]


@pytest.mark.parametrize("name", CHEAP)
def test_spikes_are_brians(name: str) -> None:
    assert_brians(name, 20 * us)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_spikes_are_brians_at_a_microsecond(name: str) -> None:
    assert_brians(name, 1 * us)


@pytest.mark.parametrize("name", marked(SCRIPTS, CHEAP, COMPILED))
def test_gradients_are_those_of_differences_and_of_the_reference(name: str) -> None:
    network = read(SCRIPTS[name]())
    target = "cpp_standalone" if name in COMPILED else "numpy"
    report = snn.check_gradient(network, inputs=dict(network.trial), elements=1, target=target)
    assert report.verdict == "agrees"
    assert {row.key for row in report.rows} >= set(network.trainable())


def group(n: int = 2, equations: str = LIF, **options: object) -> NeuronGroup:
    defaults = {"threshold": "v > v_th", "reset": "v = v_r", "refractory": 2 * ms, "namespace": NUMBERS}
    return NeuronGroup(n, equations, name="cells", method="euler", **{**defaults, **options})


def driven(cells: NeuronGroup, **options: object) -> list[object]:
    source = SpikeGeneratorGroup(2, [0, 1], [1, 2] * ms, name="source")
    syn = Synapses(source, cells, **{"model": "w : volt", "on_pre": "ge += w", "name": "syn", **options})
    syn.connect()
    return [source, cells, syn]


def test_what_is_read_has_the_names_and_values_of_the_script() -> None:
    cells = group(3)
    cells.v = [-60, -55, -58] * mV
    source, _, syn = driven(cells, delay=1.5 * ms)
    syn.w = "(1 + i + 2*j)*mV"
    network = snn.from_brian2([source, cells, syn], cells, 50 * ms)
    (population,), (projection,) = network.populations, network.projections
    assert (population.name, population.n, projection.name) == ("cells", 3, "syn")
    assert population.value("tau") == pytest.approx(10e-3)
    np.testing.assert_allclose(population.value("v_0"), [-60e-3, -55e-3, -58e-3])
    np.testing.assert_allclose(projection.weights, 1e-3 * (1 + np.arange(2)[:, None] + 2 * np.arange(3)))
    assert (projection.delay, projection.mask) == (1.5e-3, None)
    model = population.model
    assert model.derivatives == {"v": "(E - v + ge)/tau", "ge": "-ge/tau_e"}
    assert model.refractory is not None and (model.refractory.hold, model.refractory.arrivals) == (("v",), "ignore")
    assert model.receptors["syn"].weight == "w"
    np.testing.assert_allclose(network.trial["source"], [[[1e-3], [2e-3]]])


def test_names_come_from_where_it_is_called() -> None:
    tau_of_mine = 7 * ms
    cells = NeuronGroup(1, "dv/dt = (1.2 - v)/tau_of_mine : 1", threshold="v > 1", reset="v = 0", name="cells")
    network = snn.from_brian2(cells, "cells", 30 * ms)
    assert network.populations[0].value("tau_of_mine") == pytest.approx(float(tau_of_mine))


@pytest.mark.parametrize("names", [("S", "beta", "Q", "lambda_", "E1"), ("x0", "l1", "p0", "zeta", "I")])
def test_any_names_give_the_same_gradients(names: tuple[str, ...]) -> None:
    outcomes = []
    for v, s, tau, tau_s, th in (("v", "s", "tau", "tau_s", "th"), names):
        brian2.start_scope()
        equations = f"d{v}/dt = ({s} - {v})/{tau} : 1\nd{s}/dt = -{s}/{tau_s} : 1"
        own = {tau: 10 * ms, tau_s: 4 * ms, th: 1.0}
        cells = NeuronGroup(2, equations, threshold=f"{v} > {th}", reset=f"{v} = 0", name="cells", namespace=own)
        source = SpikeGeneratorGroup(2, [0, 1, 0], [1, 2, 5] * ms, name="source")
        syn = Synapses(source, cells, "w : 1", on_pre=f"{s} += w", delay=1 * ms, name="syn")
        syn.connect()
        syn.w = [2, 3, 4, 1]
        network = snn.from_brian2([cells, source, syn], "cells", 30 * ms, learnable={"cells": [tau, tau_s, th]})
        with snn.Simulation(network, SmoothSpikeTimes(), batch_size=1) as simulation:
            found = simulation.run(network.trial, np.zeros(1)).gradients
        keys = ("syn.w", f"cells.{tau}", f"cells.{tau_s}", f"cells.{th}")
        outcomes.append(np.concatenate([np.ravel(found[key]) for key in keys]))
    np.testing.assert_allclose(outcomes[1], outcomes[0], rtol=1e-12)


def test_names_that_mean_something_else_get_other_ones() -> None:
    """Numbers of a group and of its synapses may have the same name."""
    numbers = {"tau": 10 * ms, "lambda_": 2.0, "N_0": 150 * Hz}
    equations = "dv/dt = lambda_*N_0 - v/tau : 1"
    cells = NeuronGroup(1, equations, threshold="v > 1", reset="v = 0", name="cells", namespace=numbers)
    source = SpikeGeneratorGroup(1, [0], [1] * ms, name="source")
    other = {"tau": 0.25}
    syn = Synapses(source, cells, "w : 1", on_pre="v += tau*w", namespace=other, name="syn")
    syn.connect()
    network = snn.from_brian2([source, cells, syn], "cells", 30 * ms)
    values = {k: float(network.populations[0].value(k)) for k in network.populations[0].model.parameters}
    assert values == {"lambda_": 2.0, "N_0": 150.0, "tau": 0.01, "tau_1": 0.25}


def test_poisson_spikes_are_drawn_once_by_seed_and_name() -> None:
    cells = group()
    poisson = PoissonGroup(3, rates="(100 + 400*i)*Hz", name="poisson")
    syn = Synapses(poisson, cells, on_pre="ge += 3*mV", name="syn")
    syn.connect(p=1)
    background = PoissonInput(cells, "ge", N=50, rate=8 * Hz, weight=1 * mV)
    objects = [cells, poisson, syn, background]
    first, again, other = (snn.from_brian2(objects, "cells", 1.0, seed=seed) for seed in (0, 0, 1))
    for name in ("poisson", background.name):
        np.testing.assert_array_equal(first.trial[name], again.trial[name])
        assert first.trial[name].shape != other.trial[name].shape or (first.trial[name] != other.trial[name]).any()
    counts = np.isfinite(first.trial["poisson"][0]).sum(axis=1)
    assert all(abs(counts - [100, 500, 900]) < 5 * np.sqrt([100, 500, 900]))  # five standard deviations
    counts = np.isfinite(first.trial[background.name][0]).sum(axis=1)
    assert all(abs(counts - 400) < 5 * 20)
    assert [r.on_pre[0].expression for r in first.populations[0].model.receptors.values()] == ["w"]  # shared by both
    one_to_one = next(p for p in first.projections if p.source == background.name)
    np.testing.assert_array_equal(one_to_one.mask, np.eye(2, dtype=bool))


def test_columns_of_a_timed_array_and_constants_of_the_source() -> None:
    own = {"stimulus": TimedArray(np.arange(6).reshape(3, 2) * mV, dt=10 * ms), "k": 1}
    equations = """
    dv/dt = (stimulus(t, column) + stimulus(t, k) - v)/(10*ms) : volt
    column : integer (constant)
    gain : 1 (constant)
    """
    cells = NeuronGroup(3, equations, threshold="v > 1*mV", reset="v = 0*mV", name="cells", namespace=own)
    cells.column, cells.gain = [0, 1, 0], [1, 2, 3]
    other = NeuronGroup(2, "v : volt", name="other")
    syn = Synapses(cells[1:], other, "w : volt", on_pre="jump = gain_pre*w\nv += jump*(1 + i)/N_pre", name="syn")
    syn.connect()
    syn.w = 1 * mV
    network = snn.from_brian2([cells, other, syn], "cells", 30 * ms)
    np.testing.assert_allclose(network.projections[0].weights, 1e-3 * np.array([[0, 0], [1, 1], [3, 3]]))
    gains = [drive.weights.tolist() for drive in network.drives]
    assert gains == [[[1, 0, 1], [0, 1, 0]], [[0, 0, 0], [1, 1, 1]]]
    assert network.populations[1].model.derivatives == {"v": "0*volt/second"}


def test_rates_that_a_timed_array_gives_are_followed() -> None:
    stimulus = TimedArray([[0, 100], [1000, 200], [100, 500]] * Hz, dt=100 * ms)
    source = PoissonGroup(2, rates="stimulus(t, i) + base*(1 + i)", name="source")
    objects = [group(), source, Synapses(source, name="none")]
    names = {"stimulus": stimulus, "base": 50 * Hz, **NUMBERS}
    spikes = snn.from_brian2(objects, "cells", 0.35, namespace=names).trial["source"][0]
    expected = np.array([[50, 1050, 150, 150], [200, 300, 600, 600]]) * [0.1, 0.1, 0.1, 0.05]  # the last sample holds
    for row, mean in zip(spikes, expected, strict=True):
        counts, _ = np.histogram(row[np.isfinite(row)], bins=[0, 0.1, 0.2, 0.3, 0.35])
        assert (abs(counts - mean) < 5 * np.sqrt(mean)).all()  # five standard deviations
        assert (np.diff(row[np.isfinite(row)]) >= 0).all()


def test_rates_that_time_or_several_arrays_give_are_followed() -> None:
    names: dict[str, object] = {"slow": TimedArray([100, 900, 300] * Hz, dt=100 * ms), "fall": 100 * ms}
    names |= {"fast": TimedArray([200, 0, 500, 100] * Hz, dt=50 * ms), "peak": 2000 * Hz, **NUMBERS}
    both = PoissonGroup(1, rates="slow(t) + fast(t)", name="both")
    decaying = PoissonGroup(2, rates="peak*exp(-t/fall)*(1 + i) + slow(t)", name="decaying")
    drawn = snn.from_brian2([group(), both, decaying], "cells", 0.25, namespace=names).trial
    edges = np.array([0, 0.05, 0.1, 0.15, 0.2, 0.25])
    steps = np.array([100, 100, 900, 900, 300])  # Hz of the slow array; the last sample of the fast one holds
    means = {("both", 0): (steps + np.array([200, 0, 500, 100, 100])) * 0.05}
    means |= {("decaying", k): 200 * (1 + k) * -np.diff(np.exp(-edges / 0.1)) + steps * 0.05 for k in (0, 1)}
    for (name, k), mean in means.items():
        row = drawn[name][0, k]
        counts, _ = np.histogram(row[np.isfinite(row)], bins=edges)
        assert (abs(counts - mean) < 5 * np.sqrt(mean)).all(), name  # five standard deviations


def test_spikes_with_a_period_come_again() -> None:
    source = SpikeGeneratorGroup(2, [0, 1, 1], [1, 2, 3] * ms, period=10 * ms, name="source")
    cells = group()
    syn = Synapses(source, cells, "w : volt", on_pre="ge += w", name="syn")
    syn.connect()
    times = snn.from_brian2([source, cells, syn], "cells", 22 * ms).trial["source"][0]
    np.testing.assert_allclose(times[0][:3], [1e-3, 11e-3, 21e-3])
    np.testing.assert_allclose(times[1][:4], [2e-3, 3e-3, 12e-3, 13e-3])
    assert np.isinf(times[1][4:]).all()


def test_the_last_sample_of_a_current_holds() -> None:
    own = {"stimulus": TimedArray([1.0, 2.0] * mV, dt=5 * ms)}
    equations = "dv/dt = (stimulus(t) - v)/(4*ms) : volt"
    cells = NeuronGroup(1, equations, name="cells", method="euler", namespace=own)
    trace = StateMonitor(cells, "v", record=0)
    network = snn.from_brian2([cells, trace], "cells", 20 * ms)
    np.testing.assert_allclose(network.trial["stimulus"], [[1e-3, 2e-3, 2e-3, 2e-3]])
    with snn.Simulation(network, Samples(variable="v", interval=20e-3), batch_size=1) as simulation:
        end = simulation.forward(dict(network.trial), gradient=False)[0, 0, 0]
    at_5 = 1e-3 * (1 - np.exp(-5 / 4))
    assert end == pytest.approx(2e-3 + (at_5 - 2e-3) * np.exp(-15 / 4), rel=1e-12)


def test_a_timed_array_in_a_condition() -> None:
    """Closed form: v decays in the first and the third sample alone."""
    own = {"stimulus": TimedArray([2.0, 1.0, 3.0] * mV, dt=5 * ms)}
    equations = "dv/dt = -v*int(stimulus(t) > 1.5*mV)/(4*ms) : volt"
    cells = NeuronGroup(1, equations, name="cells", method="euler", namespace=own)
    cells.v = 1 * mV
    network = snn.from_brian2([cells], "cells", 13 * ms)
    with snn.Simulation(network, Samples(variable="v", interval=13e-3), batch_size=1) as simulation:
        end = simulation.forward(dict(network.trial), gradient=False)[0, 0, 0]
    assert end == pytest.approx(1e-3 * np.exp(-(5 + 3) / 4), rel=1e-9)


ROUND_TRIPS = (
    *("lif+exp_synapse+refractory", "partial_refractory_lif", "morris_lecar", "lif_conductance+ampa"),
    "lif+tsodyks_markram",
)
ALL = [e.name for e in catalogue() if e.kind == "neuron"]
ALL += [
    *("lif+exp_synapse+dead_time", "lif+delta_synapse+refractory", "lif+alpha_synapse", "lif+exp_conductance"),
    *("lif+exp_synapse+adaptive_threshold", "lif+exp_synapse+relative_refractory", "lif+exp_synapse+soft_reset"),
    *("adex+exp_synapse+refractory", "lif+exp_synapse:exc+exp_synapse:inh"),
    *("lif+tsodyks_markram", "lif_conductance+nmda_saturating"),
]


@pytest.mark.parametrize("name", marked(dict.fromkeys([*ROUND_TRIPS, *ALL]), ROUND_TRIPS))
def test_plain_groups_are_read_as_the_model_that_they_came_from(name: str) -> None:
    model = load_model(name)
    cells = snn.neuron_group(model, 2, name="cells", method="euler")
    source = SpikeGeneratorGroup(1, [0], [1] * ms, name="source")
    objects = [cells, source]
    for receptor, arrival in model.receptors.items():
        syn = snn.synapses(model, source, cells, receptor, name=f"to_{receptor}")
        syn.connect()
        setattr(syn, arrival.weight, Quantity(1.0, dim=unit_dimension(arrival.weight_unit)))
        objects.append(syn)
    there = hybrid_system(model)
    here = hybrid_system(snn.from_brian2(objects, "cells", 50 * ms).populations[0].model)
    assert set(here.states) == set(there.states)
    for x in there.states:
        assert (here.f[x] - there.f[x]).expand() == 0
        assert (here.h[x] - there.h[x]).expand() == 0
    assert here.g == there.g or (here.g - there.g).expand() == 0
    assert here.latch == there.latch
    assert here.durations == there.durations
    assert (here.refractory and here.refractory.hold) == (there.refractory and there.refractory.hold)
    for receptor, arrival in there.arrivals.items():
        other = here.arrivals[f"to_{receptor}"]
        names = {other.weight: arrival.weight}
        assert all((other.jump[x].xreplace(names) - arrival.jump[x]).expand() == 0 for x in there.states)
    assert {f"to_{receptor}" for receptor in there.sources} == here.sources.keys()
    for receptor, sent in there.sources.items():
        (arrival,), (other,) = (s.arrivals.values() for s in (sent, here.sources[f"to_{receptor}"]))
        assert set(here.sources[f"to_{receptor}"].states) == set(sent.states)
        for x in sent.states:
            assert (here.sources[f"to_{receptor}"].f[x] - sent.f[x]).expand() == 0
            assert (other.jump[x] - arrival.jump[x]).expand() == 0
            assert (here.sources[f"to_{receptor}"].initial[x] - sent.initial[x]).expand() == 0


NEURONS = tuple(e.name for e in catalogue() if e.kind == "neuron")


@pytest.mark.parametrize("name", marked((ROUND_TRIPS[0], *NEURONS), ROUND_TRIPS[:1], NEURONS))
def test_plain_groups_have_the_gradients_of_the_network_that_they_came_from(name: str) -> None:
    """All but by parameters of initial values: those of groups are numbers."""
    target = "cpp_standalone" if name in NEURONS else "numpy"
    given = probe(load_model(name), trials=1, delays=True, target=target)
    times = given.inputs["input"][0]
    groups: dict[str, object] = {
        "input": SpikeGeneratorGroup(*_flat(times), name="input"),
        **{
            p.name: snn.neuron_group(p.model, p.n, name=p.name, method="euler", **_with_units(p))
            for p in given.network.populations
        },
    }
    wires = []
    for q in given.network.projections:
        model = next(p.model for p in given.network.populations if p.name == q.target)
        arrival = model.receptors[q.receptor]
        wire = snn.synapses(model, groups[q.source], groups[q.target], arrival.name, name=q.name)
        wire.connect()
        setattr(wire, arrival.weight, Quantity(np.ravel(q.weights), dim=unit_dimension(arrival.weight_unit)))
        wire.delay = np.ravel(q.delay) * brian2.second
        wires.append(wire)
    free = {
        p.name: [n for n in p.learnable if not any(n in free_names(s.initial) for s in p.model.states)]
        for p in given.network.populations
    }
    learnable = {**free, **{q.name: list(q.learnable) for q in given.network.projections}}
    network = snn.from_brian2([*groups.values(), *wires], "output", given.network.duration, learnable=learnable)
    outcomes = []
    for n, inputs in ((given.network, given.inputs), (network, network.trial)):
        with snn.Simulation(n, given.loss, batch_size=1, target=target) as simulation:
            outcomes.append(simulation.run(inputs, given.targets))
    theirs, ours = outcomes
    assert ours.loss == pytest.approx(theirs.loss, rel=1e-12)
    assert ours.gradients.keys() >= {"input_hidden.w", "input_hidden.delay", "hidden_output.w", "input.times"}
    values = given.network.trainable()
    for key, gradient in ours.gradients.items():
        scale = np.abs(theirs.gradients[key]).max()
        # what has no effect has a gradient of rounding: a part in 1e13 of the loss for as large a change as the value
        none = 1e-13 * abs(theirs.loss) / size if (size := np.abs(values.get(key, 0.0)).max()) else 0.0
        np.testing.assert_allclose(gradient, theirs.gradients[key], rtol=1e-9, atol=1e-9 * scale + none, err_msg=key)


def _flat(times: np.ndarray) -> tuple[int, np.ndarray, Quantity]:
    """Spike times, shape (n, spikes), as a SpikeGeneratorGroup takes them."""
    return len(times), np.repeat(np.arange(len(times)), times.shape[1]), times.ravel() * brian2.second


def _with_units(p: snn.Population) -> dict[str, Quantity]:
    return {n: Quantity(p.value(n), dim=unit_dimension(q.unit)) for n, q in p.model.parameters.items()}


def test_trained_values_go_back_into_the_objects() -> None:
    cells = NeuronGroup(
        2, LIF + "gain : 1", threshold="v > v_th", reset="v = v_r*gain", refractory=2 * ms, name="cells", method="euler"
    )
    cells.namespace.update(NUMBERS)
    cells.gain, cells.v = 1, -60 * mV
    source = SpikeGeneratorGroup(2, [0, 1], [1, 2] * ms, name="source")
    syn = Synapses(source, cells, "w : volt", on_pre="ge += w", name="syn")
    syn.connect(i=[0, 1, 1, 1], j=[1, 0, 1, 1])  # the last one a second synapse
    syn.w, syn.delay = [1, 2, 3, 4] * mV, [0, 1, 2, 3] * ms
    learnable = {"cells": ["tau", "gain", "v_0", "t_ref"], "syn": ["w", "delay"]}
    network = snn.from_brian2([cells, source, syn], "cells", 50 * ms, learnable=learnable)
    values = {key: 1.25 * value for key, value in network.trainable().items()}
    values["syn.delay"][0, 1] = 0.5e-3
    network.to_brian2(values)
    assert float(cells.namespace["tau"]) == pytest.approx(12.5e-3)
    np.testing.assert_allclose(cells.gain[:], 1.25)
    np.testing.assert_allclose(np.asarray(cells.v[:]), -75e-3)
    np.testing.assert_allclose(np.asarray(syn.w[:]), [1.25e-3, 2.5e-3, 3.75e-3, 5e-3])
    np.testing.assert_allclose(np.asarray(syn.delay[:]), [0.5e-3, 1.25e-3, 2.5e-3, 3.75e-3])
    again = snn.from_brian2([cells, source, syn], "cells", 50 * ms, learnable=learnable)
    there = {p.name: p.mask for p in network.projections}
    for key, value in again.trainable().items():
        where = there.get(key.partition(".")[0], np.ones(value.shape, dtype=bool))
        np.testing.assert_allclose(value[where], values[key][where], err_msg=key)
    one = with_values(network, {"cells.tau": np.float64(8e-3)})
    assert isinstance(one, ReadNetwork)
    one.to_brian2()
    assert float(cells.namespace["tau"]) == pytest.approx(8e-3)
    assert not any("trial" in key or "targets" in key for key in identity(network))


def test_values_that_the_script_has_no_room_for_are_not_written() -> None:
    cells = group()
    objects = driven(cells, model="", on_pre="ge += jump", namespace={"jump": 2 * mV})
    objects[2].connect(i=0, j=0)  # a second synapse of a pair, with the same number
    network = snn.from_brian2(objects, "cells", 50 * ms)
    assert {p.name for p in network.projections} == {"syn", "syn_2"}
    same = {key: np.full((2, 2), 3e-3) for key in ("syn.w", "syn_2.w")}
    network.to_brian2(same)
    assert float(objects[2].namespace["jump"]) == pytest.approx(3e-3)
    with pytest.raises(ValueError, match=r"Synapses 'syn': 'jump' is one number for all synapses; declare it"):
        network.to_brian2(same | {"syn.w": np.array([[1.0, 2.0], [3.0, 4.0]])})
    assert float(objects[2].namespace["jump"]) == pytest.approx(3e-3)
    objects[2] = Synapses(objects[0], cells, "w : volt\nf : 1", on_pre="ge += w*f", name="product")
    objects[2].connect()
    network = snn.from_brian2(objects, "cells", 50 * ms)
    with pytest.raises(ValueError, match=r"'product': on_pre: the values of 'product.w' can't be set"):
        network.to_brian2()


def test_one_variable_of_two_pathways_takes_one_value() -> None:
    cells = group()
    cells.v = -60 * mV
    objects = driven(cells, on_pre={"up": "ge += w", "down": "v -= 0.1*w; ge += 2*mV"})
    objects[2].w = 1 * mV
    network = snn.from_brian2(objects, "cells", 50 * ms)
    assert [p.name for p in network.projections] == ["syn_down_ge", "syn_down_v", "syn_up"]
    keys = ("syn_down_v.w", "syn_up.w")
    values = {key: 2 * network.trainable()[key] for key in keys}
    network.to_brian2(values)
    np.testing.assert_allclose(np.asarray(objects[2].w[:]), 2e-3)
    values["syn_up.w"] = 2 * values["syn_up.w"]
    with pytest.raises(ValueError, match=r"'syn': 'w' is to have several values at once, one by 'syn_up.w'; give"):
        network.to_brian2(values)
    np.testing.assert_allclose(np.asarray(objects[2].w[:]), 2e-3)


def test_numbers_of_a_shared_namespace_are_put_where_they_are_learned() -> None:
    numbers = dict(NUMBERS)
    cells, other = group(namespace=numbers), NeuronGroup(1, LIF, name="other", refractory=1 * ms, namespace=numbers)
    syn = Synapses(cells, other, on_pre={"up": "ge += jump", "down": "v += jump*ge/mV"}, name="syn", namespace=numbers)
    syn.connect()
    numbers["jump"] = syn.namespace["jump"] = 2 * mV
    learnable = {"cells": ["tau"], "other": ["tau", "jump"]}
    objects = [cells, other, syn]
    network = snn.from_brian2(objects, "cells", 50 * ms, learnable=learnable)
    network.to_brian2({"cells.tau": np.float64(8e-3), "other.tau": np.float64(9e-3)})
    assert [float(o.namespace["tau"]) for o in (cells, other)] == [8e-3, 9e-3]
    assert (numbers["tau"], syn.namespace) == (10 * ms, numbers)
    assert network.trainable().keys() == {"cells.tau", "other.tau", "other.jump"}  # of both pathways
    network.to_brian2({"other.jump": np.float64(3e-3)})
    assert all(float(o.namespace["jump"]) == 3e-3 for o in (syn, *syn._pathways))


def test_numbers_of_connections_and_exponents_are_numbers() -> None:
    own = {"power": 2, "v_s": 1 * mV, **NUMBERS}
    cells = group(equations="dv/dt = -v_s*(v/v_s)**power/tau : volt", namespace=own, threshold=None, reset=None)
    source = SpikeGeneratorGroup(3, [0], [1] * ms, name="source")
    syn = Synapses(source, cells, "w : volt", on_pre="v += w/N_incoming*(1 + i)", name="syn")
    syn.connect(i=[0, 1, 2, 0], j=[0, 0, 0, 1])
    syn.w = 6 * mV
    network = snn.from_brian2([cells, source, syn], "cells", 50 * ms)
    np.testing.assert_allclose(network.projections[0].weights, 1e-3 * np.array([[2, 6], [4, 0], [6, 0]]))
    assert "power" not in network.populations[0].model.parameters
    assert network.populations[0].model.derivatives["v"] == "-v_s*(v/v_s)**2/tau"


def test_products_of_synaptic_values_are_weights() -> None:
    cells = group()
    source = SpikeGeneratorGroup(2, [0, 1], [1, 2] * ms, name="source")
    syn = Synapses(
        source, cells, "w : 1\nu : volt\nx = 2*w : 1", on_pre="ge += x*u*(1 - ge_post/mV)\nv += 0.5*w*u", name="syn"
    )
    syn.connect()
    syn.w, syn.u = "1 + i", "(1 + j)*mV"
    network = snn.from_brian2([cells, source, syn], "cells", 50 * ms)
    products = 1e-3 * (1 + np.arange(2)[:, None]) * (1 + np.arange(2))
    (ge,) = (p for p in network.projections if p.name == "syn_ge")
    (v,) = (p for p in network.projections if p.name == "syn_v")
    arrivals = hybrid_system(network.populations[0].model).arrivals
    for projection, state, wanted in ((ge, "ge", 2 * products), (v, "v", 0.5 * products)):
        arrival = arrivals[projection.receptor]
        (x,) = (s for s in arrival.jump if s.name == state)
        per_weight = (arrival.jump[x] - x).coeff(arrival.weight).subs(dict.fromkeys(arrival.jump, 0))
        np.testing.assert_allclose(float(per_weight) * projection.weights, wanted)


def stdp(cells: NeuronGroup) -> list[object]:
    model = "w : volt\ndapre/dt = -apre/(20*ms) : volt (event-driven)"
    return driven(cells, model=model, on_pre="ge += w\napre += 1*mV", on_post="w = clip(w + apre, 0*mV, 5*mV)")


def plastic(
    on_pre: object,
    start: object,
    delay: object = None,
    model: str = "w : volt\ndx/dt = (1 - x)/(20*ms) : 1 (event-driven)",
) -> list[object]:
    objects = driven(group(), model=model, on_pre=on_pre, delay=delay)
    objects[2].x = start
    return objects


def regularly(cells: NeuronGroup) -> list[object]:
    cells.run_regularly("v += 1*mV", dt=5 * ms)
    return [cells]


def operation(cells: NeuronGroup) -> list[object]:
    return [cells, brian2.NetworkOperation(lambda: None, name="mine")]


def summed(cells: NeuronGroup) -> list[object]:
    syn = Synapses(cells, cells, "x_post = v_pre - v_post : volt (summed)", name="gap")
    syn.connect()
    return [cells, syn]


def linked(cells: NeuronGroup) -> list[object]:
    other = NeuronGroup(2, "y : volt", name="other")
    cells.x = brian2.linked_var(other, "y")
    return [cells, other]


def onto_itself(cells: NeuronGroup, on_pre: str) -> list[object]:
    syn = Synapses(cells, cells, "w : volt", on_pre=on_pre, name="back")
    syn.connect()
    return [cells, syn]


def unconnected(cells: NeuronGroup) -> list[object]:
    return [cells, Synapses(cells, cells, "w : volt", on_pre="v_post += w", name="syn")]


def poisson(cells: NeuronGroup, rates: str) -> list[object]:
    source = PoissonGroup(1, rates, name="source")
    syn = Synapses(source, cells, on_pre="ge += 1*mV", name="from_source")
    syn.connect()
    return [cells, source, syn]


COUPLED = "dv/dt = x/tau : volt\nx : volt"
REFUSED = {
    "noise": (lambda: [group(equations="dv/dt = -v/tau + sigma*xi : volt")], r"cells': equations.v: noise \(xi\)"),
    "stdp": (lambda: stdp(group()), r"Synapses 'syn': on_post \(post\): what changes synapses"),
    "states that differ": (
        lambda: plastic("ge += w*x; x *= 0.5", "rand()"),
        r"Synapses 'syn': equations.x: they start from values that differ; states of synapses are read where all syn",
    ),
    "states that start late": (
        lambda: plastic("ge += w*x; x *= 0.5", 0.3, delay=1 * ms),
        r"equations.x: it starts at 0.3, and not at rest, and with a delay would start later by that; let 'x' start",
    ),
    "states of two pathways": (
        lambda: plastic({"up": "ge += w*x", "down": "x *= 0.5"}, 1),
        "equations.x: a state of synapses that have several pathways; let one pathway do all of it",
    ),
    "states that do nothing": (
        lambda: plastic("ge += w*x; v += w; x *= 0.5", 1),
        "on_pre: what changes 'v' has no factor of the states; let its synapses be others",
    ),
    "two amplitudes": (
        lambda: plastic("ge += w*x; v += w*x**2", 1),
        "on_pre: statements that make several things of the states; a spike has one amplitude",
    ),
    "states of the target": (
        lambda: plastic("ge += w*x; x *= 1 - ge_post/mV", 1),
        r"on_pre: the states read 'ge_post'; what they read are numbers of the script, and parameters that all syn",
    ),
    "states that weights follow": (
        lambda: plastic("ge += w*x; w = w*x", 1),
        r"'w = w\*x' changes 'w' of the synapse; what changes synapses",
    ),
    "states that are kept": (
        lambda: plastic("r = x*0.5; ge += w*r", 1, model="w : volt\nr : 1\ndx/dt = (r - x)/(9*ms) : 1 (event-driven)"),
        "equations.x: reads 'r', which keeps what the last spike made of it",
    ),
    "states that are no sums": (
        lambda: plastic("ge += w + 2*mV*x", 1),
        r"on_pre: 'w \+ 2\*mV\*x' is no product with a factor of the states; write a weight times what they make",
    ),
    "states behind a shorthand": (
        lambda: plastic("r = x*0.5; ge += w*r*x", 1),
        "on_pre: 'w.r.x' reads r, x; let one of them be all that on_pre makes of the states",
    ),
    "on_post": (lambda: driven(group(), on_post="w += 1*mV"), r"Synapses 'syn': on_post \(post\): what changes"),
    "weights": (lambda: driven(group(), on_pre="ge += w; w *= 0.9"), r"syn': on_pre: 'w \*= 0.9' changes 'w' of the"),
    "source": (lambda: onto_itself(group(), "v_pre += w"), "changes the source"),
    "run_regularly": (lambda: regularly(group()), r"cells': run_regularly \(cells_run_regularly\): runs code at"),
    "network_operation": (lambda: operation(group()), r"'mine': network_operation: runs Python in every step"),
    "summed": (lambda: summed(group(equations=COUPLED)), r"'gap': equations.x_post: a summed"),
    "linked": (lambda: linked(group(equations=f"{COUPLED} (linked)")), "equations.v: 'x' is linked"),
    "events": (lambda: [group(events={"burst": "v > 1*mV"})], r"events.burst: isn't read"),
    "every step": (lambda: [_unheld(reset="", refractory=False)], r"reset: a spike leaves the neuron above its thresh"),
    "random": (lambda: [group(threshold="rand() < 10*Hz*dt")], r"threshold: 'rand\(\)' draws while it runs"),
    "random period": (lambda: [group(refractory="2*ms*rand()")], r"refractory: 'rand\(\)' draws while it runs"),
    "threshold": (lambda: [group(threshold="v > v_th and ge > 1*mV")], "threshold: .* is no crossing of a threshold"),
    "condition": (lambda: [group(refractory="v > 2*v_th")], "refractory: the condition 'v > 2 . v_th' isn't read"),
    "grid": (lambda: [group(equations="dv/dt = -v/dt : volt")], "equations.v: 'dt' is of a time grid"),
    "function": (
        lambda: [group(equations="dv/dt = -f(v)/tau : volt", namespace={**NUMBERS, "f": _own_function()})],
        r"equations.v: 'f\(v\)' calls 'f', a function of yours",
    ),
    "no derivative": (lambda: [group(equations="dv/dt = -ceil(v/mV)*mV/tau : volt")], "equations: .* 'ceil'"),
    "shifted": (
        lambda: [
            group(equations="dv/dt = s(t - 1*ms)/tau : volt", namespace={**NUMBERS, "s": TimedArray([1] * mV, 1 * ms)})
        ],
        r"equations.v: 's\(t - 1 \* ms\)' isn't read; write s\(t\)",
    ),
    "undefined": (lambda: [group(equations="dv/dt = -v/tau_x : volt")], "equations.v: 'tau_x' is not defined"),
    "boolean": (lambda: [group(equations="dv/dt = int(a)*mV/ms : volt\na : boolean")], "equations.v: 'a' is boolean"),
    "rates below 0": (
        lambda: poisson(group(), "10*Hz*(1 - t/(20*ms))"),
        "PoissonGroup 'source': rates: .* is -0.05 Hz for neuron 0 at 0.0201 s; a rate is a number from 0 up",
    ),
    "drawn rates": (lambda: poisson(group(), "10*Hz*rand()"), r"source': rates: 'rand\(\)' draws while it runs"),
    "several": (
        lambda: driven(group(), model="w : volt\nu : 1", on_pre="ge += w + u*v_post"),
        "on_pre: .* is no weight times something of the target",
    ),
    "random weight": (lambda: driven(group(), on_pre="ge += rand()*mV"), r"on_pre: 'rand\(\)' draws while it runs"),
    "rates in volt": (lambda: poisson(group(), "10*mV*(1 + i)"), "source': rates: .* is in volt, expected hertz"),
    "nothing": (lambda: [group(equations="x : 1", threshold=None, reset=None)], "equations: has no differential"),
    "unconnected": (lambda: unconnected(group()), "Synapses 'syn': connect: has not been called"),
    "missing": (lambda: driven(group())[1:], "Synapses 'syn': source: 'source' is not among the objects"),
    "inactive part": (lambda: [_inactive_part(group())], r"active \(cells_spike_thresholder\): is False"),
    "or the threshold": (
        lambda: [group(refractory="v > v_th or t - lastspike < 5*ms")],
        "refractory: 'v > v_th or t - lastspike < 5.ms' joins conditions, .* give the time alone",
    ),
    "at its own reset": (
        lambda: onto_itself(_unheld(), "v_post += w"),
        "'back': on_pre: at a neuron's own spike, Brian2 does this before the reset",
    ),
    "before its own reset": (
        lambda: onto_itself(_unheld(), "ge_post += 0.1*w*(1 - v_post/mV)"),
        "'back': on_pre: at a neuron's own spike, Brian2 does this before the reset",
    ),
    "held, then read": (
        lambda: driven(group(), on_pre="v += w; ge += 0.1*v"),
        "'cells': on_pre: 'v' is held while refractory, and 'ge .= 0.1.v' reads it after Synapses 'syn'",
    ),
    "stale in a reset": (
        lambda: [_unheld(reset="x = 0.5*v; v = 0*mV; ge += x")],
        "'cells': reset: 'x' is read after what it is made of has changed; write what it stands for",
    ),
    "stale on arrival": (
        lambda: driven(_unheld(), on_pre="x = 0.5*v; v += w; ge += x"),
        "'syn': on_pre: 'x' is read after what it is made of has changed; write what it stands for",
    ),
    "never refractory": (lambda: [group(refractory=False)], "'cells': refractory: states are held .unless refractory"),
    "last spike without a period": (
        lambda: [_spiked(group(threshold=None, reset=None))],
        "'cells': lastspike: has been set",
    ),
    "in a threshold": (
        lambda: [group(threshold="v > s(t)", namespace={**NUMBERS, "s": TimedArray([1] * mV, 1 * ms)})],
        "'cells': TimedArray 's': the threshold reads it",
    ),
    "last spike": (lambda: [_spiked(group())], "cells': lastspike: has been set"),
    "inactive": (lambda: [_inactive(group())], "active: is False"),
}


def _unheld(**options: object) -> NeuronGroup:
    return group(equations=LIF.replace(" (unless refractory)", ""), **options)


def _inactive(cells: NeuronGroup) -> NeuronGroup:
    cells.active = False
    return cells


def _inactive_part(cells: NeuronGroup) -> NeuronGroup:
    cells.thresholder["spike"].active = False
    return cells


def _spiked(cells: NeuronGroup) -> NeuronGroup:
    cells.lastspike = -1 * ms
    return cells


def _own_function() -> object:
    return brian2.check_units(v=brian2.volt, result=brian2.volt)(lambda v: v)


@pytest.mark.parametrize("what", REFUSED)
def test_what_has_no_gradient_or_no_limit_is_refused_by_name(what: str) -> None:
    make, message = REFUSED[what]
    objects = make()
    with pytest.raises(TemplateError, match=message):
        snn.from_brian2(objects, "cells", 50 * ms)


def test_a_number_that_all_synapses_share_is_learned_as_one() -> None:
    """It is a parameter of the target, of all that reads it; else each synapse has a weight that begins with it."""
    numbers = {**NUMBERS, "jump": 6 * mV}
    cells = group(namespace=numbers)
    source = SpikeGeneratorGroup(3, [0, 1, 2, 0, 1], [1, 2, 3, 5, 6] * ms, name="source")
    syn = Synapses(source, cells, on_pre="ge += 2*jump", delay=1 * ms, name="syn", namespace=numbers)
    syn.connect()
    cells.v = -60 * mV
    other = Synapses(source, cells, on_pre="ge -= less", delay=2 * ms, name="other", namespace={"less": 1 * mV})
    other.connect(p=1)
    objects = [cells, source, syn, other]
    gradients = []
    for learnable in ({"cells": ["jump"]}, {}):
        network = snn.from_brian2(objects, "cells", 40 * ms, learnable=learnable)
        with snn.Simulation(network, SmoothSpikeTimes(), batch_size=1) as simulation:
            gradients.append(simulation.run(network.trial, np.zeros(1)).gradients)
            (spikes,) = simulation.spike_times("cells")
    assert np.isfinite(spikes).any(axis=1).all()
    shared, own = gradients
    assert [key for key in shared if key != "source.times"] == ["other.w", "cells.jump"]
    np.testing.assert_allclose(shared["cells.jump"], 2 * own["syn.w"].sum(), rtol=1e-12)
    np.testing.assert_allclose(shared["other.w"], own["other.w"], rtol=1e-12)
    network = snn.from_brian2(objects, "cells", 40 * ms, learnable={"cells": ["jump"]})
    network.to_brian2({"cells.jump": np.float64(7e-3)})
    assert float(syn.namespace["jump"]) == 7e-3
    third = Synapses(source, cells, on_pre="ge -= jump", name="third", namespace={"jump": 1 * mV})
    third.connect()
    with pytest.raises(TemplateError, match="'third': on_pre: 'jump', which 'cells' is to learn, is another number in"):
        snn.from_brian2([*objects, third], "cells", 40 * ms, learnable={"cells": ["jump"]})


LEAK = "dv/dt = k*(v/mV)**p*mV/tau - p*v/tau : volt\ngain : 1 (constant)"


@pytest.mark.parametrize(
    ("on_pre", "learns", "message"),
    [
        ("v += w*gain_pre", "gain", "syn': on_pre: 'gain', which 'cells' is to learn, is part of a weight"),
        ("v += w*(u + k)", "k", "syn': on_pre: 'k', which 'cells' is to learn, is part of a weight"),
        ("v += w", "p", "cells': equations.v: 'p', which 'cells' is to learn, is part of an exponent"),
    ],
)
def test_what_became_a_number_is_not_learned(on_pre: str, learns: str, message: str) -> None:
    """Its gradient would miss the weights or exponents that it is part of."""
    numbers = {**NUMBERS, "k": 0.5, "p": 2.0}
    cells = group(equations=LEAK, namespace=numbers)
    cells.gain = [1, 2]
    syn = Synapses(
        cells, cells, "w : volt\nu : 1", on_pre=on_pre, delay=1 * ms, name="syn", namespace={"k": numbers["k"]}
    )
    syn.connect()
    assert snn.from_brian2([cells, syn], "cells", 50 * ms).projections
    with pytest.raises(TemplateError, match=message):
        snn.from_brian2([cells, syn], "cells", 50 * ms, learnable={"cells": [learns]})


def test_a_spike_that_resets_nothing_is_read_with_a_warning() -> None:
    """Brian2's neuron would spike again at the end of its period if it were above its threshold then."""
    with pytest.warns(UserWarning, match="spikes again only when it has been below"):
        snn.from_brian2(group(reset="", equations=LIF.replace(" (unless refractory)", "")), "cells", 50 * ms)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        above = group(reset="", refractory="v > v_th", equations=LIF.replace(" (unless refractory)", ""))
        snn.from_brian2(above, "cells", 50 * ms)


def test_a_neurons_own_spike_may_arrive_where_the_reset_is_not_touched() -> None:
    """What is ignored while refractory, later, from others, or added to other states, is what Brian2 does, too."""
    for cells, on_pre, options in (
        (group, "v_post += w", {}),
        (_unheld, "v_post += w", {"delay": 0.1 * ms}),
        (_unheld, "ge_post += w", {}),
    ):
        brian2.start_scope()
        neurons = cells()
        syn = Synapses(neurons, neurons, "w : volt", on_pre=on_pre, name="back", **options)
        syn.connect()
        assert snn.from_brian2([neurons, syn], "cells", 50 * ms).projections
    neurons = _unheld()
    others = Synapses(neurons, neurons, "w : volt", on_pre="v_post += w", name="others")
    others.connect("i != j")
    assert snn.from_brian2([neurons, others], "cells", 50 * ms).projections


def test_arguments_that_fit_nothing_are_refused() -> None:
    objects = driven(group())
    for wrong, message in (
        ({"output": "cell"}, "output is 'cell'; expected a NeuronGroup; did you mean 'cells'"),
        ({"duration": 5 * mV}, "duration has unit volt; expected second"),
        ({"duration": [1.0, 2.0]}, r"duration is .*; expected one time in seconds"),
        ({"learnable": {"source": ["times"]}}, "learnable: 'source' is a source of spikes, which has no parameters"),
        ({"learnable": {"cell": ["tau"]}}, "learnable: there is no object 'cell'; did you mean 'cells'"),
        ({"learnable": {"cells": ["tua"]}}, "population 'cells': .* has no parameter 'tua'; did you mean 'tau'"),
        ({"learnable": {"cells": "tau"}}, "learnable: 'cells' has the text 'tau'; expected a list"),
        ({"learnable": {"syn": ["weight"]}}, "projection 'syn': learnable names 'weight'"),
        ({"seed": -1}, "seed: expected a whole number"),
        ({"objects": 3}, "3 is no object of Brian2"),
    ):
        arguments = {"objects": objects, "output": "cells", "duration": 50 * ms, **wrong}
        with pytest.raises(ValueError, match=message):
            snn.from_brian2(**arguments)


def test_what_is_declared_for_each_neuron_is_learned_for_each() -> None:
    cells = group(3, equations=LIF + "gain : 1\nleak : 1 (shared)", reset="v = v_r*gain*leak")
    cells.gain, cells.leak, cells.v = 1, 1, -60 * mV
    learnable = {"cells": ["gain", "leak", "tau", "v_0", "ge_0"]}
    values = snn.from_brian2(cells, "cells", 50 * ms, learnable=learnable).trainable()
    shapes = {key: value.shape for key, value in values.items()}
    assert shapes == {"cells.gain": (3,), "cells.leak": (), "cells.tau": (), "cells.v_0": (3,), "cells.ge_0": (3,)}


def test_a_standalone_device_is_refused() -> None:
    cells = group()
    brian2.set_device("cpp_standalone", build_on_run=False)
    with pytest.raises(ValueError, match=r"values of a standalone device can't be read; call set_device\('runtime'\)"):
        snn.from_brian2(cells, "cells", 50 * ms)


def test_a_script_that_has_run_is_refused() -> None:
    cells = group()
    network = brian2.Network(cells)
    network.store()
    network.run(0.1 * ms)
    for objects in (network, cells):
        with pytest.raises(ValueError, match="has run; read it before, or restore its beginning"):
            snn.from_brian2(objects, "cells", 50 * ms)
    network.restore()
    assert snn.from_brian2(cells, "cells", 50 * ms).populations
