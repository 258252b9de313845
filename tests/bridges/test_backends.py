"""Written graphs in simulators that they are written for, where these are installed: our spikes, up to their steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import snnmodels as snn

pytestmark = pytest.mark.slow
DURATION = 60e-3
TIMES = np.sort(np.random.default_rng(0).uniform(1, 30, (1, 4, 3)), axis=2) * 1e-3


def network() -> snn.Network:
    """Two layers of current-based neurons, whose outputs spike several times."""
    rng, lif = np.random.default_rng(1), snn.load_model("lif+exp_synapse")
    return snn.Network(
        "small",
        [snn.SpikeInput("in", 4)],
        [snn.Population("hidden", 6, lif), snn.Population("out", 2, lif)],
        [
            snn.Projection("a", "in", "hidden", rng.uniform(1, 3, (4, 6))),
            snn.Projection("b", "hidden", "out", rng.uniform(0.5, 1.5, (6, 2))),
        ],
        "out",
        DURATION,
    )


def snntorch(graph: Any, dt: float) -> Callable[[Any, Any], tuple[Any, Any]]:
    found = pytest.importorskip("snntorch.import_nir", reason="needs snnTorch").import_from_nir(graph)
    return found  # type: ignore[no-any-return]


def norse(graph: Any, dt: float) -> Callable[[Any, Any], tuple[Any, Any]]:
    found = pytest.importorskip("norse.torch.utils.import_nir", reason="needs Norse").from_nir(graph, dt=dt)
    return found  # type: ignore[no-any-return]


@pytest.mark.filterwarnings("ignore")  # of theirs
@pytest.mark.parametrize(("read", "steps"), [(snntorch, [1e-4]), (norse, [1e-4, 2e-5])])  # snnTorch knows no other
def test_a_written_graph_has_our_spikes_elsewhere(read: Callable[[Any, float], Any], steps: list[float]) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    pytest.importorskip("nir", reason="needs the package nir")
    with snn.Simulation(network(), snn.SpikeTimeError(), batch_size=1) as simulation:
        simulation.run({"in": TIMES}, np.full((1, 2, 1), np.inf), gradient=False)
        ours = simulation.spike_times("out")[0]
    assert (np.isfinite(ours).sum(axis=1) >= 5).all()
    late = []
    for dt in steps:
        theirs = read(snn.to_nir(network(), profile=read.__name__, dt=dt), dt)
        x = torch.zeros(round(DURATION / dt), 1, 4)
        for source, times in enumerate(TIMES[0]):
            for t in times:
                x[int(t / dt), 0, source] += 1
        state, spikes = None, []
        with torch.no_grad():
            for one in x:
                given, state = theirs(one, state)
                spikes.append(given[0].numpy().ravel())
        found = [dt * np.flatnonzero(column) for column in np.array(spikes).T]
        assert [len(t) for t in found] == list(np.isfinite(ours).sum(axis=1))
        late.append(max(float(np.abs(t - o[: len(t)]).max()) for t, o in zip(found, ours, strict=True)))
    assert late[0] < 2e-3, late
    if len(steps) > 1:
        assert late[1] < 0.4 * late[0], late  # of first order in the step
    print(f"{read.__name__}: late by at most {', '.join(f'{1e3 * t:.2f} ms' for t in late)}")
