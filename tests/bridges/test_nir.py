"""NIR graphs, read and written: against a simulation of NIR's own equations, closed forms, and what was written."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from math import exp, log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from brian2 import ms
from numpy.testing import assert_allclose, assert_array_equal
from typer.testing import CliRunner

import snnmodels as snn
from snnmodels import bridges
from snnmodels.bridges import PROFILES, NIRError, check_nir, from_nir, to_nir
from snnmodels.cli import app
from snnmodels.gradients import SimulationError
from snnmodels.losses import Samples, SpikeTimes
from tests.bridges.graphs import Reference, convolved, drawn, pooled

nir = pytest.importorskip("nir", reason="needs the package nir (pip install 'snnmodels[nir]')")

Array = np.ndarray

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "nir"
published = pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published NIR graphs are not on this machine")
END = 0.1

# spikes of most graphs here come at arrivals alone; one test looks at what is told of that
pytestmark = pytest.mark.filterwarnings("ignore:this can be simulated, but by the weights")


def graph(*nodes: Any, edges: list[tuple[str, str]] | None = None, **named: Any) -> Any:
    """A sequence, or named nodes with edges."""
    if nodes:
        named = {f"x{k}": node for k, node in enumerate(nodes)}
        edges = [(f"x{k}", f"x{k + 1}") for k in range(len(nodes) - 1)]
    return nir.NIRGraph(named, edges or [], type_check=False)


def lif(n: int = 1, **changed: float) -> Any:
    values = {"tau": 0.02, "r": 0.02, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0} | changed
    return nir.LIF(**{k: np.full(n, v) for k, v in values.items()})


def cuba(n: int = 1, **changed: float) -> Any:
    values = {"tau_syn": 5e-3, "tau_mem": 0.02, "r": 1.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0}
    return nir.CubaLIF(**{k: np.full(n, v) for k, v in (values | {"w_in": 5e-3} | changed).items()})


def ends(n: int, m: int) -> tuple[Any, Any]:
    return nir.Input(np.array([n])), nir.Output(np.array([m]))


def simulate(network: snn.Network, inputs: dict[str, Array]) -> tuple[dict[str, list[list[float]]], dict[str, Array]]:
    """Spike times of each neuron, and potentials at the end."""
    spiking = [p.name for p in network.populations if p.model.spiking]
    reads: list[Any] = [SpikeTimes(n) for n in spiking]
    reads += [Samples(p.name, variable="v", interval=network.duration) for p in network.populations]
    with snn.Simulation(network, reads, batch_size=1) as simulation:
        found = simulation.forward(inputs, gradient=False)
    spikes = {n: [list(t[np.isfinite(t)]) for t in a[0]] for n, a in zip(spiking, found, strict=False)}
    v = {p.name: a[0, :, 0] for p, a in zip(network.populations, found[len(spiking) :], strict=True)}
    return spikes, v


def given(network: snn.Network, spikes: Any, currents: Any) -> dict[str, Array]:
    """What the reference is given, as a network takes it."""
    inputs: dict[str, Array] = {n: samples[None] for n, (_, samples) in currents.items()}
    for source in network.inputs:
        times = [sorted(t for j, t in spikes.get(source.name, []) if j == k) for k in range(source.n)]
        inputs[source.name] = np.full((1, source.n, max([1, *map(len, times)])), np.inf)
        for k, row in enumerate(times):
            inputs[source.name][0, k, : len(row)] = row
    return inputs


def compare(drawn_graph: Any, spikes: Any, currents: Any, end: float = END, **options: Any) -> int:
    """Spikes and potentials of the network that a graph is read as, and those of its own equations; how many spikes."""
    reference = Reference(drawn_graph, options.get("dt") or 1.0)
    reference.run(spikes, currents, end)
    theirs = {re.sub(r"\W", "_", name): name for name in reference.neurons}
    if currents:
        options |= {"inputs": dict.fromkeys(currents, "current"), "interval": next(iter(currents.values()))[0]}
    network = from_nir(drawn_graph, duration=end, **options)
    found, v = simulate(network, given(network, spikes, currents))
    for name, trains in found.items():
        for k, train in enumerate(trains):
            assert_allclose(train, [t for j, t in reference.spikes[theirs[name]] if j == k], rtol=0, atol=1e-14)
    largest = max(1.0, *(np.abs(value).max() for value in v.values()))
    for name, value in v.items():
        assert_allclose(value, reference.v[theirs[name]].ravel(), rtol=0, atol=1e-12 * largest)
    return sum(len(train) for trains in found.values() for train in trains)


# --- reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 7, 21, 27, 35])
def test_drawn_graphs_are_their_own_equations(seed: int) -> None:
    assert compare(*drawn(seed, nir)) > 2


@pytest.mark.slow
def test_many_drawn_graphs_are_their_own_equations() -> None:
    found = [compare(*drawn(seed, nir)) for seed in range(100, 220)]
    assert np.mean([n > 2 for n in found]) > 0.9


CONVOLUTIONS = {
    "strided": ((2, 5, 4), (3, 2, 3, 2), {"stride": 2, "padding": 1, "dilation": 1, "groups": 1}),
    "dilated": ((2, 5, 6), (2, 2, 2, 3), {"stride": (1, 2), "padding": (0, 1), "dilation": 2, "groups": 1}),
    "groups": ((4, 3, 4), (2, 2, 2, 2), {"stride": 1, "padding": "valid", "dilation": 1, "groups": 2}),
    "same": ((1, 3, 4), (2, 1, 2, 3), {"stride": 1, "padding": "same", "dilation": 1, "groups": 1}),
    "line": ((2, 6), (3, 2, 3), {"stride": 2, "padding": 1, "dilation": 1, "groups": 1}),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions_and_pools_are_exact_matrices(name: str) -> None:
    shape, kernel, options = CONVOLUTIONS[name]
    rng = np.random.default_rng(3)
    weight, bias = rng.normal(0.5, 0.5, kernel), rng.normal(0, 0.1, kernel[0])
    kind = "Conv2d" if len(shape) == 3 else "Conv1d"
    conv = getattr(nir, kind)(None, weight, bias=bias, **options)
    x = convolved(np.zeros(shape), conv, kind)
    conv.output_type = {"output": np.array(x.shape)}  # nir's own takes all kernels for square
    nodes: dict[str, Any] = {"in": nir.Input(np.array(shape)), "conv": conv}
    if kind == "Conv2d":
        pool = "SumPool2d" if name == "same" else "AvgPool2d"
        nodes["pool"] = getattr(nir, pool)(np.array([2, 1]), np.array([1, 1]), np.array([1, 0]))
        x = pooled(x, nodes["pool"], pool)
    nodes |= {"flat": nir.Flatten({"input": np.array(x.shape)}, 0, -1), "n": lif(x.size)}
    nodes["out"] = nir.Output(np.array([x.size]))
    names = list(nodes)
    spikes = {"in": [(k, float(t)) for k in range(int(np.prod(shape))) for t in rng.uniform(0, 50e-3, 2)]}
    assert compare(graph(edges=list(pairwise(names)), **nodes), spikes, {}) > 5


def test_a_convolution_has_no_weights_where_it_has_none() -> None:
    conv = nir.Conv1d(4, np.ones((1, 1, 2)), 1, 0, 1, 1, np.zeros(1))
    network = from_nir(graph(nir.Input(np.array([1, 4])), conv, lif(3), nir.Output(np.array([3]))), duration=END)
    (q,) = network.projections
    assert q.mask is not None
    assert_array_equal(q.mask.sum(axis=0), [2, 2, 2])


def test_spikes_of_simulators_in_steps_have_the_area_of_a_step() -> None:
    """r = tau/dt: the jump is the weight."""
    weight = np.array([[0.7]])
    one, other = ends(1, 1)
    stepped = graph(one, nir.Linear(weight), lif(r=0.02 / 1e-3), other)
    assert_allclose(from_nir(stepped, duration=END, dt=1e-3).projections[0].weights, [[0.7]], rtol=1e-15)
    stepped = graph(one, nir.Linear(weight), cuba(r=20.0, w_in=5.0), other)
    network = from_nir(stepped, duration=END, dt=1 * ms)
    assert_allclose(network.projections[0].weights, [[0.7 * 20]], rtol=1e-15)
    assert compare(stepped, {"x0": [(0, 1e-3), (0, 2e-3)]}, {}, dt=1e-3) > 0


def test_times_in_milliseconds() -> None:
    one, other = ends(1, 1)
    si = graph(one, nir.Delay(np.array([2e-3])), nir.Affine(np.array([[0.7]]), np.array([0.1])), cuba(w_in=0.01), other)
    late = nir.Delay(np.array([2.0]))
    slow = cuba(tau_syn=5, tau_mem=20, w_in=0.01)
    in_ms = graph(one, late, nir.Affine(np.array([[0.7]]), np.array([0.1])), slow, other)
    a, b = from_nir(si, duration=END), from_nir(in_ms, duration=END, unit="ms")
    assert_allclose(b.projections[0].weights, a.projections[0].weights / 1e3, rtol=1e-15)  # area 1 is 1 ms there
    assert_allclose(b.projections[0].delay, 2e-3, rtol=1e-15)
    for name in ("tau_m", "tau_syn", "I_in"):
        assert_allclose(b.populations[0].value(name), a.populations[0].value(name), rtol=1e-15)


@pytest.mark.parametrize("kind", ["IF", "I"])
def test_perfect_integrators_count_currents_over_time(kind: str) -> None:
    node = nir.IF(np.array([50.0]), np.array([9.0])) if kind == "IF" else nir.I(np.array([50.0]))
    one, other = ends(1, 1)
    network = from_nir(graph(one, nir.Affine(np.array([[0.01]]), np.array([0.2])), node, other), duration=END)
    _, v = simulate(network, {"x0": np.array([[[0.01, 0.02]]])})
    assert_allclose(v["x2"], 50 * (0.2 * END + 2 * 0.01), rtol=1e-14)


def test_where_potentials_start() -> None:
    one, other = ends(1, 1)
    free = graph(one, nir.Linear(np.ones((1, 1))), lif(v_leak=1.2), other)  # spikes by itself, from 0 on
    period = 0.02 * log(1.2 / 0.2)
    none = {"x0": np.full((1, 1, 1), np.inf)}
    spikes, _ = simulate(from_nir(free, duration=END), none)
    assert_allclose(spikes["x2"][0], period * np.arange(1, 3), rtol=1e-13)
    with pytest.raises(SimulationError, match="'x2': neuron 0 is above its threshold at time 0"):
        simulate(from_nir(free, duration=END, initial="leak"), none)
    (late, *_), *_ = simulate(from_nir(free, duration=END, initial=0.5), none)[0]["x2"]
    assert late == pytest.approx(0.02 * log(0.7 / 0.2), rel=1e-13)


def test_reset_by_subtraction_keeps_what_a_jump_brought() -> None:
    one, other = ends(1, 1)
    jump = graph(one, nir.Linear(np.array([[1.5]])), lif(), other)
    spike = {"x0": np.array([[[0.09]]])}
    assert_allclose(simulate(from_nir(jump, duration=END), spike)[1]["x2"], 0, atol=1e-15)
    left = simulate(from_nir(jump, duration=END, reset="subtract"), spike)[1]["x2"]
    assert_allclose(left, 0.5 * exp(-0.5), rtol=1e-13)


def test_single_numbers_are_those_of_all_neurons() -> None:
    one, other = ends(2, 3)
    single = nir.LIF(*(np.array(v) for v in (0.02, 0.02, 0.0, 1.0, 0.0)))
    network = from_nir(graph(one, nir.Linear(np.ones((3, 2))), single, other), duration=END)
    assert network.populations[0].n == 3


def test_subgraphs_are_written_out() -> None:
    """As snnTorch writes recurrent layers: a graph within the graph."""
    inner = graph(
        input=nir.Input(np.array([2])),
        lif=lif(2),
        w_rec=nir.Linear(np.array([[0.0, -0.2], [-0.3, 0.0]])),
        output=nir.Output(np.array([2])),
        edges=[("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")],
    )
    one, other = ends(1, 2)
    whole = graph(one, nir.Linear(np.array([[0.9], [0.7]])), inner, other)
    network = from_nir(whole, duration=END)
    assert [(q.name, q.source, q.target) for q in network.projections] == [
        ("x1", "x0", "x2_lif"),
        ("x2_w_rec", "x2_lif", "x2_lif"),
    ]
    assert network.output == "x2_lif"


def test_delays_between_two_matrices_are_those_of_connections() -> None:
    copies = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    one, other = ends(2, 1)
    late = nir.Delay(np.array([1e-3, 2e-3, 3e-3]))
    sums = nir.Linear(np.array([[0.1, 0.2, 0.3]]))
    network = from_nir(graph(one, nir.Linear(copies), late, sums, lif(), other), duration=END)
    first, second = network.projections  # two ways from the first input
    assert_allclose(first.weights, [[0.1], [0.3]], rtol=1e-15)
    assert_array_equal(first.delay, [[1e-3], [3e-3]])
    assert_allclose(second.weights, [[0.2], [0.0]], rtol=1e-15)
    assert second.delay == 2e-3
    assert second.mask is not None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cuba_lif", "cuba_li"])
def test_gradients_of_filtered_currents(name: str) -> None:
    folder = Path(bridges.__file__).parent / "nir"
    model = snn.load_model(folder / f"{name}.toml", folder / "filtered_synapse.toml")
    report = snn.check_gradient(model)
    assert report.ok
    assert "output.I_in" in [row.key for row in report.rows]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [10, 35])
def test_gradients_of_graphs(seed: int) -> None:
    """By every weight, delay, parameter and sample, against differences and the package's own reference."""
    read, spikes, currents = drawn(seed, nir)
    inputs = dict.fromkeys(currents, "current")
    network = from_nir(read, duration=END, inputs=inputs, interval=5e-3 if currents else None)
    learnt = [replace(p, learnable=list(p.model.parameters)) for p in network.populations]
    network = replace(network, populations=tuple(learnt))
    report = snn.check_gradient(network, inputs=given(network, spikes, currents))
    assert report.ok, report


# --- what is refused, and warned of -----------------------------------------------------------------------------------


def wrong(*middle: Any, n: int = 1, m: int = 1, **options: Any) -> Callable[[], Any]:
    one, other = ends(n, m)
    return lambda: from_nir(graph(one, *middle, other), **{"duration": END, **options})


LINEAR = nir.Linear(np.ones((1, 1)))
READOUT = nir.LI(*np.full((3, 1), 0.1))
TWO_WAYS = graph(
    a=nir.Input(np.array([1])),
    n=lif(),
    out=nir.Output(np.array([1])),
    edges=[("a", "n"), ("a", "n"), ("n", "out")],
)
AROUND = graph(
    a=nir.Input(np.array([1])), n=lif(), out=nir.Output(np.array([1])), edges=[("a", "n"), ("n", "a"), ("n", "out")]
)
NOTED = nir.NIRGraph({"n": lif()}, [], metadata={"snnmodels": '{"dt": "x"}'}, type_check=False)
ROOT = graph(w=LINEAR, n=lif(), out=nir.Output(np.array([1])), edges=[("w", "n"), ("n", "out")])
DEAD_END = graph(n=lif(), w=LINEAR, out=nir.Output(np.array([1])), edges=[("n", "w"), ("n", "out")])
LATE = nir.Delay(np.full(1, 0.01))
KERNEL = nir.Conv1d(None, np.ones((1, 1, 3)), 1, 0, 1, 1, np.zeros(1))
CIRCLE = graph(
    a=nir.Input(np.array([1])),
    s=nir.Scale(np.ones(1)),
    d=nir.Delay(np.ones(1)),
    n=lif(),
    out=nir.Output(np.array([1])),
    edges=[("a", "s"), ("s", "d"), ("d", "s"), ("s", "n"), ("n", "out")],
)
REFUSED = {
    "threshold": (wrong(LINEAR, READOUT, nir.Threshold(np.ones(1))), r"'x4' \(Output\) reads 'x3' \(Threshold\)"),
    "potential": (wrong(READOUT, LINEAR, lif()), r"'x1' \(LI\) sends its potential to 'x3'.*Output alone"),
    "matrix out": (wrong(lif(), LINEAR), r"'x3' \(Output\) reads 'x2' \(Linear\).*put a LI or CubaLI node before"),
    "no neuron": (wrong(LINEAR), r"'x2' \(Output\) reads 'x1' \(Linear\)"),
    "sizes": (wrong(nir.Linear(np.ones((2, 3))), lif(2), n=2, m=2), r"'x1' \(Linear\) takes 3 values, and 'x0' give"),
    "narrow": (wrong(LINEAR, lif(2), m=2), r"'x2' \(LIF\) takes 2 values, and 'x1' gives 1"),
    "weight": (wrong(nir.Linear(np.ones((1, 1, 1))), lif()), r"a weight of shape \(1, 1, 1\); expected \(out, in\)"),
    "infinite": (wrong(nir.Linear(np.full((1, 1), np.inf)), lif()), "a weight that is not finite"),
    "tau": (wrong(LINEAR, lif(tau=0.0)), r"tau = 0; a time constant is more than 0"),
    "threshold below reset": (wrong(LINEAR, lif(v_reset=2.0)), "population 'x2'.*v_reset < v_th"),
    "negative delay": (wrong(nir.Delay(np.array([-1.0])), lif()), "a delay of -1"),
    "delayed bias": (wrong(nir.Affine(np.ones((1, 1)), np.ones(1)), LATE, lif()), "put the bias behind"),
    "delayed current": (wrong(LATE, lif(), inputs="current", interval=0.01), "delay the samples"),
    "no duration": (wrong(LINEAR, lif(), duration=None), "duration is missing"),
    "current": (wrong(LINEAR, lif(), inputs="current"), "give interval"),
    "inputs": (wrong(LINEAR, lif(), inputs={"in": "spikes"}), "inputs names 'in', which is no Input; there is x0"),
    "kind of input": (wrong(LINEAR, lif(), inputs="rates"), "expected 'spikes' or 'current'"),
    "reset": (wrong(LINEAR, lif(), reset="zero"), "reset is 'zero'; expected 'value' or 'subtract'"),
    "initial": (wrong(LINEAR, lif(), initial="zero"), "initial is 'zero'"),
    "unit": (wrong(LINEAR, lif(), unit="us"), "unit is 'us'; expected 'second', 'ms' or a time in seconds"),
    "interval": (wrong(LINEAR, lif(), interval=1e-3), "no input is a current"),
    "empty": (wrong(nir.Linear(np.ones((1, 1))), lif(0)), r"'x2' \(LIF\) has no values of tau"),
    "before an input": (lambda: from_nir(AROUND, duration=END), r"'a' \(Input\) comes behind 'n'; an Input is where"),
    "metadata": (lambda: from_nir(NOTED, duration=END), r"the graph has dt = 'x' in its metadata snnmodels; remove"),
    "root": (lambda: from_nir(ROOT, duration=END), r"'w' \(Linear\) has no node before it; put an Input there"),
    "dead end": (lambda: from_nir(DEAD_END, duration=END), r"'w' \(Linear\) leads nowhere"),
    "output": (wrong(LINEAR, lif(), output="lif"), "output is 'lif'; there is x2, x3"),
    "twice": (lambda: from_nir(TWO_WAYS, duration=END), r"edge \('a', 'n'\) is there twice"),
    "circle": (lambda: from_nir(CIRCLE, duration=END), "a circle without a neuron"),
    "no graph": (lambda: from_nir(7, duration=END), "expected a nir.NIRGraph or the path of a file, got 7"),
    "no edge": (lambda: from_nir(graph(n=lif(), edges=[("n", "m")]), duration=END), "names 'm', which is no node"),
    "no output": (lambda: from_nir(graph(n=lif(), edges=[]), duration=END), "output is missing"),
    "kernel": (wrong(KERNEL, lif()), r"expected \(channels, length\)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_says_where_and_what_to_do(name: str) -> None:
    call, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.filterwarnings("ignore:.*less than 5 steps")
def test_a_graph_in_steps_is_warned_of() -> None:
    one, other = ends(1, 1)
    stepped = graph(one, LINEAR, cuba(tau_syn=2e-4, tau_mem=1e-3, r=10.0, w_in=2.0), other)
    with pytest.warns(UserWarning, match=r"give dt=0\.0001, or every jump is 1e\+04 times"):
        from_nir(stepped, duration=END)
    with pytest.warns(UserWarning, match=r"tau_syn of 'x2' is 2 dt: with less than 5 steps"):
        from_nir(stepped, duration=END, dt=1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from_nir(graph(one, LINEAR, cuba(tau_syn=5e-4, tau_mem=1e-3, r=10.0, w_in=5.0), other), duration=END, dt=1e-4)


def test_times_that_are_no_seconds_are_warned_of() -> None:
    one, other = ends(1, 1)
    steps = graph(one, LINEAR, lif(tau=10.0, r=10.0), other)  # as of a simulator whose unit of time is its step
    with pytest.warns(UserWarning, match=r"shortest time constant of this graph is 10 s; if .* unit='ms', if in steps"):
        from_nir(steps, duration=END)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "the shortest time constant")
        network = from_nir(steps, duration=END, unit=1 * ms)
    assert network.populations[0].value("tau_m") == 0.01
    assert network.projections[0].weights == 1.0


def test_neurons_that_spike_at_arrivals_alone_are_warned_of() -> None:
    """And those that a bias, a current or their rest takes over the threshold are not: there is a gradient."""
    one, other = ends(1, 1)
    told = r"by the weights before these neurons the gradient is 0: in 'x2' arrivals make .* jump"
    with pytest.warns(UserWarning, match=told):
        network = from_nir(graph(one, nir.Linear(np.full((1, 1), 1.5)), lif(), other), duration=END)
    loss = snn.SpikeTimeError()
    with snn.Simulation(network, loss, batch_size=1) as simulation:
        outcome = simulation.run({"x0": np.array([[5e-3]])}, np.array([[[6e-3]]]))
    assert outcome.spikes["x2"] == 1
    assert not outcome.gradients[f"{network.projections[0].name}.w"].any()
    affine = nir.Affine(np.ones((1, 1)), np.array([1.5]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from_nir(graph(one, affine, lif(), other), duration=END)
        from_nir(graph(one, LINEAR, lif(v_leak=1.1), other), duration=END)
        from_nir(graph(one, LINEAR, lif(), other), duration=END, inputs="current", interval=1e-3)
        from_nir(graph(one, LINEAR, cuba(), other), duration=END)


def test_weights_of_another_size_are_warned_of() -> None:
    one, other = ends(1, 1)
    with pytest.warns(UserWarning, match=r"largest weight to 'x2' is 1\.6e-05 times its .*; is a spike"):
        from_nir(graph(one, LINEAR, lif(r=4.0), other), duration=END, dt=0.8e-7)


# --- writing ----------------------------------------------------------------------------------------------------------


def same(a: snn.Network, b: snn.Network) -> None:
    """All that networks have, weights and parameters to 1e-15 of their size."""
    assert (a.name, a.duration, a.output, a.inputs, a.currents) == (b.name, b.duration, b.output, b.inputs, b.currents)
    for p, q in zip(a.populations, b.populations, strict=True):
        assert (p.name, p.n, p.learnable, p.model.equations) == (q.name, q.n, q.learnable, q.model.equations)
        assert (p.model.states, p.model.threshold, p.model.reset) == (q.model.states, q.model.threshold, q.model.reset)
        assert p.model.receptors == q.model.receptors
        for name in p.model.parameters:
            assert np.shape(p.value(name)) == np.shape(q.value(name)), name
            assert_allclose(q.value(name), p.value(name), rtol=1e-15, atol=0)
    for p, q in zip((*a.projections, *a.drives), (*b.projections, *b.drives), strict=True):
        assert (p.name, p.source, p.target, p.learnable) == (q.name, q.source, q.target, q.learnable)
        there = getattr(p, "mask", None)
        assert (there is None) == (getattr(q, "mask", None) is None)
        if there is not None:
            assert_array_equal(q.mask, there)
        there = np.ones(p.weights.shape, dtype=bool) if there is None else there
        assert_allclose(q.weights[there], p.weights[there], rtol=1e-15, atol=0)
        if hasattr(p, "delay"):
            assert np.shape(p.delay) == np.shape(q.delay)
            ours, theirs = (np.broadcast_to(x.delay, there.shape)[there] for x in (p, q))
            assert_allclose(theirs, ours, rtol=1e-15)


def everything(seed: int = 0) -> snn.Network:
    """A network of all that can be written."""
    rng = np.random.default_rng(seed)
    cuba, lif, li, perfect, started = map(
        snn.load_model,
        (
            "lif+exp_synapse",
            "lif+delta_synapse",
            "leaky_integrator+delta_synapse",
            "integrate_and_fire+delta_synapse",
            "lif+exp_synapse+initial_potential+soft_reset",
        ),
    )
    late = np.array([1e-3, 2e-3])
    mask = rng.random((4, 3)) < 0.6
    mask[0, 0] = True
    return snn.Network(
        "everything",
        inputs=(snn.SpikeInput("output", 4),),  # the name that the Output has
        populations=(
            snn.Population("z", 3, cuba, {"tau_m": rng.uniform(8e-3, 2e-2, 3), "v_rest": 0.1}, ["tau_m", "v_th"]),
            snn.Population("b", 2, started, {"v_0": rng.uniform(-0.5, 0.5, 2), "tau_syn": 3 * ms}, ["v_0"]),
            snn.Population("a", 2, perfect, {"tau_m": 7 * ms, "v_th": np.array([1.0, 1.0])}),
            snn.Population("c", 2, lif, {"I_syn": np.array([0.3, 0.0]), "v_rest": -0.2, "v_reset": -0.3}, ["I_syn"]),
            snn.Population("last", 2, li, {"tau_m": 13 * ms}),
        ),
        projections=(
            snn.Projection("in_z", "output", "z", rng.normal(2, 1, (4, 3)), mask=mask, delay=1.5 * ms),
            snn.Projection("z_b", "z", "b", rng.normal(2, 1, (3, 2)), "", None, True, rng.uniform(0, 3e-3, (3, 2))),
            snn.Projection("z_z", "z", "z", rng.normal(-0.2, 0.1, (3, 3)), learnable=False),
            snn.Projection("b_a", "b", "a", rng.normal(0.5, 0.1, (2, 2)), delay=np.ones((2, 2)) * late[:, None]),
            snn.Projection("a_c", "a", "c", rng.normal(0.5, 0.1, (2, 2)), delay=np.ones((2, 2)) * late),
            snn.Projection("back", "c", "a", rng.normal(0.1, 0.1, (2, 2)), "", None, ["delay"], np.ones((2, 2)) * late),
            snn.Projection("other", "z", "c", rng.normal(0.5, 0.1, (3, 2))),
            snn.Projection("c_last", "c", "last", rng.normal(0.5, 0.1, (2, 2))),
        ),
        output="last",
        duration=0.05,
        currents=(snn.CurrentInput("stimulus", 1, 2e-3, "linear", 1e-3),),
        drives=(snn.Drive("stimulus_c", "stimulus", "c", np.array([[0.4, 0.5]])),),
    )


def test_a_network_comes_back_from_a_file(tmp_path: Path) -> None:
    network = everything()
    assert nir.read(str(write(network, tmp_path))).nodes  # with nir's own checks of types
    back = from_nir(tmp_path / "a.nir")
    same(network, back)
    rng = np.random.default_rng(1)
    inputs = {"output": np.sort(rng.uniform(0, 40e-3, (1, 4, 6))), "stimulus": rng.uniform(0, 2, (1, 1, 26))}
    (spikes, v), (again, v_again) = simulate(network, inputs), simulate(back, inputs)
    assert sum(len(t) for trains in spikes.values() for t in trains) > 10
    for name, trains in spikes.items():
        for a, b in zip(trains, again[name], strict=True):
            assert_allclose(b, a, rtol=1e-15, atol=1e-17)
    for name, value in v.items():
        assert_allclose(v_again[name], value, rtol=1e-13)


def write(network: snn.Network, folder: Path, **options: Any) -> Path:
    to_nir(network, folder / "a.nir", **options)
    return folder / "a.nir"


@pytest.mark.parametrize("seed", range(8))
def test_what_was_read_comes_back(seed: int) -> None:
    read, _, currents = drawn(seed, nir)
    inputs = dict.fromkeys(currents, "current")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = from_nir(read, duration=END, inputs=inputs, interval=5e-3 if currents else None)
    if any(q.name.endswith("_2") for q in network.projections):
        pytest.skip("two delays between one pair")
    same(network, from_nir(to_nir(network)))


def test_yin_yang_comes_back_with_its_gradients(tmp_path: Path) -> None:
    network = snn.load_network("yin_yang", hidden={"n": 20, "learnable": ["tau_m"]})
    back = from_nir(write(network, tmp_path))
    same(network, back)
    times, labels = np.random.default_rng(0).uniform(0, 30e-3, (4, 5)), np.arange(4) % 3
    outcomes = []
    for one in (network, back):
        with snn.Simulation(one, snn.TTFSCrossEntropy(), batch_size=4) as simulation:
            outcomes.append(simulation.run({"input": times}, labels))
    assert outcomes[0].loss == outcomes[1].loss
    for key, gradient in outcomes[0].gradients.items():
        assert_array_equal(outcomes[1].gradients[key], gradient)


WRITING = [name for name, profile in PROFILES.items() if profile.gauge is not None]


@pytest.mark.parametrize("profile", WRITING)
def test_every_profile_that_writes_reads_back(profile: str, tmp_path: Path) -> None:
    network = snn.load_network("yin_yang", hidden={"n": 7})
    dt = 1e-4 if PROFILES[profile].stepped else None
    path = write(network, tmp_path, profile=profile, dt=dt)
    assert check_nir(path, profile, dt=dt) == []
    same(network, from_nir(path))
    values = nir.read(str(path)).nodes["hidden"]
    assert_allclose(values.tau_mem, 20 if PROFILES[profile].unit == "ms" else 0.02)
    other = "jaxsnn" if PROFILES[profile].stepped else "norse"
    (line, *_) = check_nir(path, other, dt=None if PROFILES[profile].stepped else 1e-4)
    assert "a spike" in line or "its times" in line


def test_what_a_profile_can_not_take_is_named() -> None:
    one, other = ends(1, 1)
    odd = graph(one, LINEAR, nir.Delay(np.full(1, 0.01)), lif(v_leak=0.5, r=200.0), other)
    found = check_nir(odd, "snntorch", dt=1e-4)
    assert found == [
        "node 'x2' (Delay): snntorch takes no Delay; it takes Affine, AvgPool2d, Conv2d, CubaLIF, Flatten, IF, LIF, "
        "Linear",
        "node 'x3' (LIF): v_leak is 0.5; it takes 0",
    ]
    assert check_nir(odd, "nir") == []
    (line,) = check_nir(graph(one, LINEAR, lif(r=7.0), other), "snntorch", dt=1e-4)
    assert line == "node 'x2' (LIF): r is 7; it takes tau/dt = 200"
    two = lif(2)
    two.v_threshold = np.array([1.0, 2.0])
    (line,) = check_nir(graph(two), "snntorch")
    assert line == "node 'x0' (LIF): v_threshold differs within the node; it takes one value"
    edges = [("a", "v"), ("v", "b"), ("b", "w"), ("w", "a"), ("b", "x"), ("x", "b")]
    recurrent = graph(a=lif(), b=lif(), v=LINEAR, w=LINEAR, x=LINEAR, edges=edges)
    (line,) = check_nir(recurrent, "spyx")
    assert "is a circle; spyx takes circles of one neuron and one Linear or Affine" in line
    assert "jaxsnn takes a chain" in " ".join(check_nir(recurrent, "jaxsnn"))
    with pytest.raises(NIRError, match=r"there is no profile 'snntroch'; did you mean 'snntorch'\?"):
        check_nir(recurrent, "snntroch")


def network_of(model: str, **parameters: Any) -> snn.Network:
    p = snn.Population("cells", 1, snn.load_model(*model.split(" ")), parameters)
    q = snn.Projection("", "in", "cells", np.ones((1, 1)), next(iter(p.model.receptors)))
    return snn.Network("one", (snn.SpikeInput("in", 1),), (p,), (q,), "cells", 0.05)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("lif+exp_synapse+refractory", r"population 'cells' \(lif\+exp_synapse\+refractory\) has a refractory period"),
        ("lif+exp_synapse+adaptive_threshold", "has adaptive_threshold, which NIR has no place for"),
        ("lif+exp_synapse+bias_current", "add I_e to v_rest"),
        ("lif+delta_synapse+soft_reset", "leave soft_reset out, or use exp_synapse"),
        ("lif+exp_synapse+exp_synapse:inh", "has the receptors exp_synapse, inh"),
        ("lif+alpha_synapse", r"is no neuron of NIR; what can be written is lif\+delta_synapse \(LIF\)"),
        ("eif+exp_synapse", "is no neuron of NIR"),
    ],
)
def test_models_without_a_counterpart_are_refused(model: str, message: str) -> None:
    with pytest.raises(NIRError, match=message):
        to_nir(network_of(model))


def test_what_else_can_not_be_written() -> None:
    network = network_of("lif+delta_synapse", I_syn=0.4)
    with pytest.raises(NIRError, match="has a constant input, and nothing projects to it"):
        to_nir(replace(network, projections=()))
    current = snn.CurrentInput("stimulus", 1, 1e-3)
    drive = snn.Drive("", "stimulus", "cells", np.ones((1, 1)))
    driven = replace(network_of("lif+exp_synapse"), currents=(current,), drives=(drive,))
    with pytest.raises(NIRError, match=r"drive 'stimulus_cells' adds a current .* a CubaLIF filters it"):
        to_nir(driven)
    with pytest.raises(NIRError, match="dt is missing; a spike of snntorch is a 1 that lasts one step"):
        to_nir(network, profile="snntorch")
    with pytest.raises(NIRError, match="profile 'nir' writes pulses of area 1; leave it out"):
        to_nir(network, dt=1e-4)
    with pytest.raises(NIRError, match="sinabs reads parameters otherwise"):
        to_nir(network, profile="sinabs")
    with pytest.raises(NIRError, match=r"for jaxsnn: node 'cells' \(LIF\): jaxsnn takes no LIF"):
        to_nir(network, profile="jaxsnn")
    with pytest.warns(UserWarning, match="tau of 'cells' is 2 dt"):
        to_nir(network, profile="spyx", dt=10e-3)
    with pytest.raises(ValueError, match="the graph says that a spike is a pulse of area 1; leave dt out"):
        from_nir(to_nir(network), dt=1e-4)


# --- published graphs -------------------------------------------------------------------------------------------------


def closed_form(x: Array, tau: float, threshold: float, single: bool) -> tuple[Array, list[float]]:
    """Potential at the ends of steps of 0.1 ms in which x is held, and spike times, of v' = (x - v)/tau, reset to 0.

    `single` rounds what the published trace rounds to single precision: threshold - x.
    """
    v, trace, spikes = 0.0, [], []
    for k, i in enumerate(x):
        left = 1e-4
        above = float(np.float32(threshold) - np.float32(i)) if single else threshold - i
        if i > threshold and (wait := -tau * log(above / (v - i))) <= left:
            left -= wait
            spikes.append(k * 1e-4 + wait)
            v = i + (v - i) * exp(-wait / tau) - threshold
        v = i + (v - i) * exp(-left / tau)
        trace.append(v)
    return np.array(trace), spikes


@published
def test_the_published_trace_of_one_neuron() -> None:
    """lif_exact.csv: input, potential and spikes of lif_norse.nir, whose input is a current of steps of 0.1 ms."""
    x, v, spiking = np.loadtxt(PUBLISHED / "lif_exact.csv", delimiter=",").T
    network = from_nir(PUBLISHED / "lif_norse.nir", duration=0.1, dt=1e-4, inputs="current")
    with snn.Simulation(network, [Samples(variable="v", interval=1e-4), SpikeTimes()], batch_size=1) as simulation:
        ours, times = simulation.forward({"input": x[None, None]}, gradient=False)
    ours, times = ours[0, 0], times[0, 0]
    first = int(np.flatnonzero(spiking)[0])
    assert_array_equal(np.floor(times / 1e-4), np.flatnonzero(spiking))
    assert_allclose(ours[:first], v[:first], rtol=0, atol=2e-13)
    # behind the first spike the published potential is that of a threshold in single precision
    assert_allclose(ours, v, rtol=0, atol=4e-9)
    tau, threshold = network.populations[0].value("tau_m"), network.populations[0].value("v_th")
    exact, at = closed_form(x, float(tau), float(threshold), single=False)
    assert_allclose(ours, exact, rtol=0, atol=2e-14)
    assert_allclose(times, at, rtol=1e-14)
    assert_allclose(closed_form(x, float(tau), float(threshold), single=True)[0], v, rtol=0, atol=1e-12)


@published
def test_the_published_graph_of_rockpool_is_its_own_equation() -> None:
    """Its Output has the shape (1, 1, 1); weight 0.04 and r = 24.02 are tau exp(-dt/tau)/dt."""
    x = np.loadtxt(PUBLISHED / "lif_exact.csv", delimiter=",")[:, 0]
    network = from_nir(PUBLISHED / "lif_rockpool.nir", duration=0.1, dt=1e-4, inputs="current")
    assert network.drives[0].weights[0, 0] == pytest.approx(0.04 * 24.019737, rel=1e-6)
    with snn.Simulation(network, Samples(variable="v", interval=1e-4), batch_size=1) as simulation:
        v = simulation.forward({"input": x[None, None]}, gradient=False)
    gain, p = network.drives[0].weights[0, 0], network.populations[0]
    exact, _ = closed_form(x * gain, float(p.value("tau_m")), float(p.value("v_th")), single=False)
    assert_allclose(np.asarray(v).reshape(-1), exact, rtol=0, atol=1e-13)


@published
def test_the_published_graphs_are_read() -> None:
    two = from_nir(PUBLISHED / "two_lif_neurons.nir", duration=0.1)
    none = {"in": np.full((1, 1, 1), np.inf)}
    assert_allclose(simulate(two, none)[0]["lif1"][0], 0.01 * log(6) * np.arange(1, 6), rtol=1e-13)
    with pytest.warns(UserWarning, match=r"tau_syn of 'lif1.lif' is 2.22 dt, tau_mem of 'lif2' is 2.22 dt"):
        braille = from_nir(PUBLISHED / "braille_noDelay_bias_zero.nir", duration=0.1, dt=1e-4)
    file = nir.read(str(PUBLISHED / "braille_noDelay_bias_zero.nir"))
    weights = {q.name: q.weights for q in braille.projections}
    gain = file.nodes["lif1.lif"].tau_mem[:, None] / 1e-4  # what is left of r w_in dt/tau_syn
    assert_allclose(weights["fc1"].T, file.nodes["fc1"].weight * gain, rtol=1e-6)


@published
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*less than 5 steps")
def test_the_published_recurrent_graph_is_its_own_equations() -> None:
    file, rng = nir.read(str(PUBLISHED / "braille_noDelay_bias_zero.nir")), np.random.default_rng(0)
    spikes = {"input": [(k, float(t)) for k in range(12) for t in rng.uniform(0, 8e-3, 3)]}
    assert compare(file, spikes, {}, end=10e-3, dt=1e-4) > 10


# --- commands ---------------------------------------------------------------------------------------------------------


def test_the_commands(tmp_path: Path) -> None:
    runner = CliRunner()

    def run(*words: Any) -> Any:
        return runner.invoke(app, ["nir", *map(str, words)])

    path, file = tmp_path / "a.nir", tmp_path / "a.toml"
    found = run("export", "yin_yang", path, "--profile", "snntorch", "--dt", 0.1)
    assert found.stdout == f"{path}: 6 nodes, 5 edges, for snntorch\n"
    assert run("check", path, "--profile", "snntorch", "--dt", 0.1).stdout == f"{path}: snntorch takes all of it\n"
    other = run("check", path, "--profile", "sinabs")
    assert other.exit_code == 1
    assert "sinabs takes no CubaLIF" in other.stdout
    assert "without --dt" in other.stderr
    assert run("import", path, file).exit_code == 0
    same(snn.load_network("yin_yang"), replace(snn.load_network(file), encoding={}))
    bad = run("export", "yin_yang", path, "--profile", "norse")
    assert bad.exit_code == 2
    assert bad.stderr == "error: dt is missing; a spike of norse is a 1 that lasts one step: give its length\n"
    (tmp_path / "no.nir").write_text("no")
    assert "can't be read as a NIR graph" in run("check", tmp_path / "no.nir").stderr
    assert "no such file" in run("check", tmp_path / "none.nir").stderr.lower()
    one, other = ends(1, 1)
    nir.write(str(path), graph(one, LINEAR, cuba(tau_syn=2e-4, tau_mem=1e-3, r=10.0, w_in=2.0), other))
    found = run("import", path, file, "--duration", 50, "--initial", "0.5", "--reset", "subtract")
    assert found.stderr.startswith("warning: r and w_in of this graph are its time constants over 0.0001 s")
    assert snn.load_network(file).populations[0].value("v_0") == 0.5
