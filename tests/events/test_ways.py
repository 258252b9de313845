"""The ways to run a component that a program of C++ is compiled with: no more than its network needs, and no fewer."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from snnmodels.events.plan import EnginePlan
from snnmodels.losses import Maxima, Samples, SpikeTimes
from snnmodels.losses.observables import Primitive
from snnmodels.targets.cpp import engine, program
from snnmodels.targets.cpp.engine import CppEngine, compiled
from snnmodels.targets.cpp.program import Compiled
from snnmodels.targets.process import EXCHANGE, ProgramError
from snnmodels.templates import Network, Population, Projection, SpikeInput, load_model
from tests.oracle.networks import MS

SWEPT, GENERAL, SPARSE = Compiled(False, False), Compiled(False, True), Compiled(True, True)


def network(**options: object) -> Network:
    """Two layers."""
    lif = load_model("lif+exp_synapse")
    w = Projection("w", "in", "a", np.full((3, 2), 0.6), "exp_synapse")
    u = Projection("u", "a", "b", np.full((2, 2), 1.5), "exp_synapse")
    layers = Population("a", 2, lif), Population("b", 2, lif)
    net = Network("two", (SpikeInput("in", 3),), layers, (w, u), "b", 30 * MS)
    return dataclasses.replace(net, **options)  # type: ignore[arg-type]


def plan_of(net: Network, *observed: Primitive) -> EnginePlan:
    return EnginePlan.of(net, observed or [SpikeTimes()])


def test_what_a_program_is_compiled_with() -> None:
    net = network()
    w, u = net.projections
    a, b = net.populations
    back = Projection("back", "b", "b", np.full((2, 2), 0.1), "exp_synapse", delay=1 * MS)
    loop = Projection("loop", "b", "a", np.full((2, 2), 0.1), "exp_synapse", delay=1 * MS)
    delta = Population("b", 2, load_model("lif+delta_synapse"))
    qif = Population("b", 2, load_model("qif+exp_synapse"))
    held = Population("b", 2, load_model("lif+exp_synapse+refractory"))
    assert compiled(plan_of(net)) == SWEPT
    assert compiled(plan_of(net), sweep=False) == GENERAL
    assert compiled(plan_of(net), scatter=True) == SPARSE
    for other, wanted in (
        ({"projections": (w, dataclasses.replace(u, delay=2 * MS))}, SWEPT),
        ({"projections": (w, dataclasses.replace(u, delay=np.full((2, 2), MS)))}, SPARSE),
        ({"projections": (w, dataclasses.replace(u, mask=np.eye(2, dtype=bool)))}, SPARSE),
        ({"projections": (w, u, back)}, GENERAL),
        ({"projections": (w, u, loop)}, SPARSE),
        ({"projections": (w, dataclasses.replace(u, receptor="delta_synapse")), "populations": (a, delta)}, GENERAL),
        ({"populations": (a, qif)}, GENERAL),
        ({"populations": (a, held)}, GENERAL),
        ({"populations": (a, dataclasses.replace(b, learnable=("tau_m",)))}, GENERAL),
        ({"populations": (a, dataclasses.replace(b, parameters={"tau_m": np.array([10.0, 20.0]) * MS}))}, GENERAL),
    ):
        assert compiled(plan_of(network(**other))) == wanted, other
    readout = network(populations=(a, Population("b", 2, load_model("leaky_integrator+exp_synapse"))))
    assert compiled(plan_of(readout, Maxima("b", "v"))) == SWEPT
    assert compiled(plan_of(readout, Samples("b", "v"))) == GENERAL


def test_a_model_that_is_swept_alone_has_less_to_compile() -> None:
    (r, *_) = [p.rules for p in plan_of(network()).groups]
    assert "GENERAL = false" in program.source(r, 8, SWEPT)
    assert "GENERAL = true" in program.source(r, 8, GENERAL)
    assert set(program.units(SWEPT)) == {"program", "adam"}
    assert set(program.units(GENERAL)) == {"program", "adam", "general"}
    assert set(program.units(SPARSE)) == set(program.UNITS)
    with pytest.raises(ValueError, match="scattering needs the general way"):
        Compiled(scatter=True, general=False)


def test_a_program_without_the_general_way_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never a wrong number, were the two descriptions of what can be swept to differ."""
    net = network()
    back = Projection("back", "b", "b", np.full((2, 2), 0.1), "exp_synapse", delay=1 * MS)
    monkeypatch.setattr(engine, "compiled", lambda *_: SWEPT)
    made = CppEngine(plan_of(dataclasses.replace(net, projections=(*net.projections, back))))
    with pytest.raises(ProgramError, match="its program has no other way"):
        made.forward([np.full((1, 3, 1), 5 * MS)])
    made.close()


def test_a_second_network_compiles_its_own_models_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What knows no model is there already."""
    monkeypatch.setenv("SNNMODELS_CACHE", str(tmp_path))
    CppEngine(plan_of(network())).close()
    built: list[str] = []
    real = program.build
    monkeypatch.setattr(program, "build", lambda files, to, flags: (built.append(str(flags)), real(files, to, flags)))
    adaptive = Population("b", 2, load_model("lif+exp_synapse+adaptive_threshold"))
    CppEngine(plan_of(network(populations=(network().populations[0], adaptive)))).close()
    assert built, "its program is new"
    assert sum("MAKER" in flags for flags in built) == 1
    assert not any(EXCHANGE in flags for flags in built)
