"""Brian2 scripts as users write them, small: what `from_brian2` is tested on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from brian2 import (
    Hz,
    Mohm,
    NeuronGroup,
    SpikeGeneratorGroup,
    Synapses,
    TimedArray,
    ms,
    mV,
    nA,
    nS,
    pA,
    pF,
    usiemens,
)

__all__ = ["SCRIPTS", "Script"]


@dataclass
class Script:
    """Objects of a script, what is read of them, and what its equations read."""

    objects: list[Any]
    output: str
    duration: float
    learnable: dict[str, list[str]]
    namespace: dict[str, Any] = field(default_factory=dict)


SCRIPTS: dict[str, Callable[[], Script]] = {}


def script(make: Callable[[], Script]) -> Callable[[], Script]:
    SCRIPTS[make.__name__] = make
    return make


def generator(n: int, times: list[tuple[int, float]], name: str = "inputs") -> SpikeGeneratorGroup:
    """Spikes of (source, milliseconds)."""
    return SpikeGeneratorGroup(n, [k for k, _ in times], np.array([t for _, t in times]) * ms, name=name)


def draw(n: int, spikes: int, end: float, seed: int, name: str = "inputs") -> SpikeGeneratorGroup:
    """Drawn spikes on whole microseconds, until a number of milliseconds."""
    rng = np.random.default_rng(seed)
    return generator(n, [(k, round(t, 2)) for k in range(n) for t in rng.uniform(0.2, end, spikes)], name)


def vogels_abbott(n: int, synapses: int, duration: float, **others: Any) -> Script:
    """Currents of two kinds in a sparse network, as Brian2's example CUBA has them, its kinds being subgroups."""
    namespace = {
        **{"taum": 20 * ms, "taue": 5 * ms, "taui": 10 * ms},
        **{"Vt": -50 * mV, "Vr": -60 * mV, "El": -49 * mV, "we": 1.62 * mV, "wi": -9 * mV},
        **others,
    }
    eqs = """
    dv/dt  = (ge+gi-(v-El))/taum : volt (unless refractory)
    dge/dt = -ge/taue : volt
    dgi/dt = -gi/taui : volt
    """
    P = NeuronGroup(n, eqs, threshold="v>Vt", reset="v = Vr", refractory=5 * ms, method="exact", name="P")
    rng, excitatory = np.random.default_rng(3), 4 * n // 5
    P.v = (-60 + 9.5 * rng.random(n)) * mV
    Ce = Synapses(P[:excitatory], P, on_pre="ge += we", name="Ce")
    Ci = Synapses(P[excitatory:], P, on_pre="gi += wi", name="Ci")
    for S, begin, end, k in ((Ce, 0, excitatory, 4 * synapses // 5), (Ci, excitatory, n, synapses // 5)):
        S.connect(i=rng.integers(0, end - begin, k), j=rng.integers(0, n, k))
        S.delay = 0.5 * ms
    return Script([P, Ce, Ci], "P", duration, {"P": ["taum", "El", "t_ref", "v_0"], "Ce": ["w", "delay"]}, namespace)


@script
def cuba() -> Script:
    return vogels_abbott(20, 50, 20e-3, El=-45 * mV)


@script
def cuba_of_200() -> Script:
    return vogels_abbott(200, 800, 20e-3, we=16 * mV, wi=-90 * mV)


@script
def coba() -> Script:
    """Conductances, with units, as in Brian2's example of the same name."""
    namespace = {
        **{"Cm": 200 * pF, "gl": 10 * nS, "El": -60 * mV, "Ee": 0 * mV, "Ei": -80 * mV},
        **{"taue": 5 * ms, "taui": 10 * ms, "VT": -50 * mV, "Vr": -60 * mV},
    }
    eqs = """
    dv/dt = (gl*(El-v) + I_e + I_i + 120*pA)/Cm : volt (unless refractory)
    I_e = ge*(Ee-v) : amp
    I_i = gi*(Ei-v) : amp
    dge/dt = -ge*(1./taue) : siemens
    dgi/dt = -gi*(1./taui) : siemens
    """
    cells = NeuronGroup(
        4, eqs, threshold="v > VT", reset="v = Vr", refractory="2*ms", name="cells", method="rk2", namespace=namespace
    )
    cells.v = "El + 2*mV*i"
    cells.ge = [1, 2, 3, 0] * nS
    source = draw(5, 3, 18, 4)
    exc = Synapses(source, cells, "w : siemens", on_pre="ge_post += w", name="exc")
    exc.connect()
    exc.w = "4*nS + i*nS"
    inh = Synapses(cells, cells, "w : siemens", on_pre="gi_post += w", delay=1.25 * ms, name="inh")
    inh.connect(condition="i != j")
    inh.w = 2 * nS
    learnable = {"cells": ["Cm", "Ee", "taui", "ge_0"], "inh": ["w", "delay"]}
    return Script([cells, source, exc, inh], "cells", 25e-3, learnable)


@script
def adaptive_threshold() -> Script:
    """A threshold that is a state, moved by the reset; arrivals move the potential itself."""
    eqs = """
    dv/dt = -v/(10*ms) + 1.5*mV/ms : volt
    dvt/dt = (10*mV - vt)/(15*ms) : volt
    """
    cells = NeuronGroup(2, eqs, threshold="v>vt", reset="v = 0*mV; vt += jump", name="cells", method="exact")
    cells.vt = 10 * mV
    source = generator(1, [(0, 3.1), (0, 9.4)])
    pulse = Synapses(source, cells, on_pre="v += 2*mV", name="pulse")
    pulse.connect()
    return Script([cells, source, pulse], "cells", 25e-3, {"cells": ["jump", "vt_0"]}, {"jump": 3 * mV})


@script
def spike_frequency_adaptation() -> Script:
    """A current after each spike; the weight of the synapses is called as a number that the neuron reads."""
    eqs = """
    dv/dt = (E_L - v + R*(I_ext - w))/tau : volt
    dw/dt = (a*(v - E_L) - w)/tau_w : amp
    tau : second (constant, shared)
    I_ext : amp
    """
    namespace = {"E_L": -70 * mV, "R": 100 * Mohm, "tau_w": 40 * ms, "a": 1 * nS, "b": 60 * pA}
    cells = NeuronGroup(3, eqs, threshold="v > -50*mV", reset="v = E_L\nw += b", name="cells", method="rk4")
    cells.tau, cells.v = 10 * ms, -70 * mV
    cells.I_ext = [0.35, 0.4, 0.45] * nA
    source = draw(2, 2, 15, 1)
    syn = Synapses(source, cells, "R : volt", on_pre="v_post += R", name="syn")
    syn.connect()
    syn.R = "1*mV + 0.5*mV*i"
    return Script([cells, source, syn], "cells", 30e-3, {"cells": ["tau", "b", "I_ext", "a"]}, namespace)


@script
def adex() -> Script:
    """Brette and Gerstner's neuron, its cut a number of the script."""
    namespace = {
        **{"C": 281 * pF, "gL": 30 * nS, "EL": -70.6 * mV, "VT": -50.4 * mV, "DeltaT": 2 * mV},
        **{"tauw": 40 * ms, "a": 4 * nS, "b": 80 * pA, "Vr": -60 * mV, "Vcut": -40 * mV},
    }
    eqs = """
    dvm/dt = (gL*(EL - vm) + gL*DeltaT*exp((vm - VT)/DeltaT) + I - w)/C : volt
    dw/dt = (a*(vm - EL) - w)/tauw : amp
    I : amp
    """
    cells = NeuronGroup(
        2, eqs, threshold="vm>Vcut", reset="vm=Vr; w+=b", method="rk4", name="cells", namespace=namespace
    )
    cells.vm, cells.I = "EL", [1.2, 1.5] * nA
    return Script([cells], "cells", 30e-3, {"cells": ["C", "DeltaT", "b", "I"]})


@script
def izhikevich() -> Script:
    """Izhikevich's neurons of several kinds, with delta synapses among them."""
    eqs = """
    dv/dt = (0.04/ms/mV)*v**2 + (5/ms)*v + 140*mV/ms - u + I : volt
    du/dt = a*(b*v - u) : volt/second
    a : 1/second
    b : 1/second
    c : volt
    d : volt/second
    I : volt/second
    """
    cells = NeuronGroup(3, eqs, threshold="v >= 30*mV", reset="v = c; u += d", method="rk4", name="cells")
    cells.a, cells.b = [0.02, 0.02, 0.1] / ms, 0.2 / ms
    cells.c, cells.d = [-65, -55, -65] * mV, [8, 4, 2] * mV / ms
    cells.v, cells.I = -65 * mV, [10, 12, 9] * mV / ms
    cells.u = "b*v"
    syn = Synapses(cells, cells, "w : volt", on_pre="v_post += w", delay=2 * ms, name="syn")
    syn.connect(condition="i != j")
    syn.w = [2, -1, 1, 2, 3, -2] * mV
    return Script([cells, syn], "cells", 25e-3, {"cells": ["a", "d", "I"], "syn": ["w", "delay"]})


@script
def recurrent_with_delays() -> Script:
    """A delay and a weight for each synapse; several synapses of a pair; an explicit namespace."""
    eqs = """
    dv/dt = (i_syn - v)/tau : 1 (unless refractory)
    di_syn/dt = -i_syn/tau_s : 1
    """
    own = {"tau": 10 * ms, "tau_s": 3 * ms}
    cells = NeuronGroup(
        4, eqs, threshold="v > 1", reset="v = 0", refractory=1.5 * ms, namespace=own, name="cells", method="exact"
    )
    source = draw(3, 3, 12, 5)
    feed = Synapses(source, cells, "w : 1", on_pre="i_syn += w", name="feed")
    feed.connect()
    feed.connect(i=[0, 1], j=[1, 2])  # a second synapse
    rng = np.random.default_rng(2)
    feed.w = rng.uniform(0.8, 2.2, len(feed))
    feed.delay = np.round(rng.uniform(0, 2, len(feed)), 2) * ms
    back = Synapses(cells, cells, "w : 1\ngain : 1 (shared, constant)", on_pre="i_syn += gain*w", name="back")
    back.connect(condition="abs(i - j) == 1")
    back.w, back.gain = rng.uniform(-0.6, 0.8, len(back)), 1.5
    back.delay = np.round(rng.uniform(0.5, 3, len(back)), 2) * ms
    learnable = {"cells": ["tau", "tau_s", "t_ref"], "feed": ["w", "delay"], "back": ["delay"]}
    return Script([cells, source, feed, back], "cells", 25e-3, learnable)


@script
def several_synapses() -> Script:
    """Three kinds of synapses onto one group, one of two pathways with delays of their own, an alpha function."""
    eqs = """
    dv/dt = (-v + g_a*(3 - v) + g_s + x)/tau : 1
    dg_a/dt = -g_a/(3*ms) : 1
    dg_s/dt = (y - g_s)/tau_r : 1
    dy/dt = -y/tau_r : 1
    dx/dt = -x/(8*ms) : 1
    """
    cells = NeuronGroup(2, eqs, threshold="v > vth", reset="v -= vth", name="cells", method="rk4")
    source = draw(4, 3, 15, 8)
    fast = Synapses(source, cells, "w : 1", on_pre="g_a += w", name="fast")
    fast.connect()
    fast.w = 0.4
    slow = Synapses(
        source,
        cells,
        "w : 1",
        on_pre={"first": "y += w", "second": "x -= 0.3*w"},
        delay={"first": 1 * ms, "second": 4 * ms},
        name="slow",
    )
    slow.connect(condition="(i + j) % 2 == 0")
    slow.w = "1.2 + 0.4*i"
    kick = Synapses(source, cells, on_pre="v += 0.1*(2 - v)", name="kick")
    kick.connect(j="i % 2")
    return Script(
        [cells, source, fast, slow, kick],
        "cells",
        25e-3,
        {"cells": ["tau_r", "vth"]},
        {
            "tau": 8 * ms,
            "tau_r": 4 * ms,
            "vth": 0.9,
        },
    )


@script
def short_term_plasticity() -> Script:
    """Tsodyks and Markram's synapses, in the two ways in which Brian2's documentation has them."""
    eqs = """
    dv/dt = (E_L - v + ge + gi)/(12*ms) : volt
    dge/dt = -ge/(3*ms) : volt
    dgi/dt = -gi/(6*ms) : volt
    """
    cells = NeuronGroup(3, eqs, threshold="v > v_th", reset="v = E_L", name="cells", method="exact")
    cells.v = -70 * mV
    source = draw(4, 4, 25, 6)
    depressing = Synapses(
        source,
        cells,
        """
        w : volt
        dx/dt = (1 - x)/taud : 1 (event-driven)
        du/dt = (U - u)/tauf : 1 (event-driven)
        """,
        on_pre="ge += w*u*x\nx *= 1 - u\nu += U*(1 - u)",
        delay=1.25 * ms,
        name="depressing",
    )
    depressing.connect()
    depressing.w = "40*mV + 4*mV*j"
    depressing.x, depressing.u = 1, 0.5
    facilitating = Synapses(
        source,
        cells,
        """
        w_S : volt
        U_0 : 1
        r_S : 1
        du_S/dt = -Omega_f*u_S : 1 (event-driven)
        dx_S/dt = Omega_d*(1 - x_S) : 1 (event-driven)
        """,
        on_pre="u_S += U_0*(1 - u_S); r_S = u_S*x_S; x_S -= r_S; gi += w_S*r_S",
        name="facilitating",
    )
    facilitating.connect(condition="i != j")
    facilitating.w_S, facilitating.U_0 = "-8*mV - 1*mV*i", 0.2
    facilitating.x_S = 0.8
    numbers = {"E_L": -70 * mV, "v_th": -58 * mV, "taud": 20 * ms, "tauf": 9 * ms, "U": 0.5}
    numbers |= {"Omega_d": 40 * Hz, "Omega_f": 30 * Hz}
    learnable = {"cells": ["v_th", "taud", "tauf", "U", "Omega_d", "Omega_f", "U_0"], "depressing": ["w", "delay"]}
    return Script([cells, source, depressing, facilitating], "cells", 30e-3, learnable, numbers)


@script
def heterogeneous() -> Script:
    """Time constants, thresholds and refractory periods of each neuron; a drive that depends on its number."""
    eqs = """
    dv/dt = (1.5 + 0.2*i/N - v)/tau : 1 (unless refractory)
    tau : second
    v_th : 1
    period : second
    """
    cells = NeuronGroup(4, eqs, threshold="v > v_th", reset="v = 0", refractory="period + 0.5*ms", name="cells")
    cells.tau, cells.v_th = [6, 8, 10, 12] * ms, [0.9, 1, 1.1, 1.2]
    cells.period = "1*ms + i*0.5*ms"
    return Script([cells], "cells", 30e-3, {"cells": ["tau", "v_th", "period"]})


@script
def sampled_currents() -> Script:
    """A TimedArray for each neuron and one for all, and a pulse that the equation switches."""
    stimulus = TimedArray(np.array([[0, 2, 1], [6, 5, 4], [3, 8, 9]]) * 100 * pA, dt=5 * ms)
    common = TimedArray([0.0, 0.3, -0.1, 0.2] * nA, dt=4 * ms)
    eqs = """
    dv/dt = (-70*mV - v + R*I)/tau : volt (unless refractory)
    I = stimulus(t, i) + common(t) + 0.1*nA*int(t > 6.5*ms and t < 12.2*ms) : amp
    """
    cells = NeuronGroup(
        3, eqs, threshold="v > -50*mV", reset="v = -65*mV", refractory=2 * ms, name="cells", method="rk2"
    )
    cells.v = -70 * mV
    namespace = {"R": 80 * Mohm, "tau": 9 * ms, "stimulus": stimulus, "common": common}
    return Script([cells], "cells", 30e-3, {"cells": ["R", "tau"]}, namespace)


@script
def hodgkin_huxley() -> Script:
    """Traub and Miles' channels; a spike resets nothing."""
    namespace = {
        **{"Cm": 200 * pF, "gl": 10 * nS, "El": -60 * mV, "EK": -90 * mV, "ENa": 50 * mV, "VT": -63 * mV},
        **{"g_na": 20 * usiemens, "g_kd": 6 * usiemens},
    }
    eqs = """
    dv/dt = (gl*(El-v) - g_na*(m*m*m)*h*(v-ENa) - g_kd*(n*n*n*n)*(v-EK) + I)/Cm : volt
    dm/dt = 0.32*(mV**-1)*4*mV/exprel((13.*mV-v+VT)/(4*mV))/ms*(1-m)
            - 0.28*(mV**-1)*5*mV/exprel((v-VT-40.*mV)/(5*mV))/ms*m : 1
    dn/dt = 0.032*(mV**-1)*5*mV/exprel((15.*mV-v+VT)/(5*mV))/ms*(1.-n) - .5*exp((10.*mV-v+VT)/(40.*mV))/ms*n : 1
    dh/dt = 0.128*exp((17.*mV-v+VT)/(18.*mV))/ms*(1.-h) - 4./(1+exp((40.*mV-v+VT)/(5.*mV)))/ms*h : 1
    I : amp
    """
    cells = NeuronGroup(2, eqs, threshold="v > -40*mV", refractory="v > -40*mV", method="rk4", name="cells")
    cells.v, cells.h, cells.I = -65 * mV, 0.9, np.array([1.0, 1.6]) * nA
    return Script([cells], "cells", 15e-3, {"cells": ["g_na", "I", "VT"]}, namespace)


@script
def feedforward() -> Script:
    """Two layers, the ends of whose synapses are subgroups; a parameter that the reset changes; t and lastspike."""
    hidden = NeuronGroup(
        6,
        "dv/dt = (1.3 + 0.3*sin(2*pi*f*t) - v)/(7*ms) : 1",
        threshold="v > 1",
        reset="v = 0",
        name="hidden",
        method="rk4",
    )
    hidden.v = np.linspace(0, 0.8, 6)
    eqs = """
    dv/dt = (s - v)/(10*ms) : 1
    ds/dt = -s/(4*ms) : 1
    theta : 1
    """
    top = NeuronGroup(
        2, eqs, threshold="v > theta", reset="v = 0\nstep = 0.1\ntheta += step", name="top", method="exact"
    )
    top.theta = 0.5
    up = Synapses(hidden[:4], top[1:], "w : 1", on_pre="s += w", name="up")
    up.connect()
    up.w = [0.6, 0.7, 0.8, 0.9]
    down = Synapses(hidden[2:], top[:1], "w : 1", on_pre="s += w", name="down")
    down.connect()
    down.w = 0.8
    return Script([hidden, top, up, down], "top", 25e-3, {"hidden": ["f"], "top": ["theta_0"]}, {"f": 50 * Hz})


@script
def relative_refractory() -> Script:
    """A leak that is stronger for a while after each spike, told by lastspike; no state is held."""
    eqs = "dv/dt = (1.6 - v*(1 + 2*int(t - lastspike < 3*ms)))/(8*ms) : 1"
    cells = NeuronGroup(2, eqs, threshold="v > 1", reset="v = 0", refractory=1 * ms, name="cells", method="rk4")
    cells.v = [0.1, 0.4]
    return Script([cells], "cells", 30e-3, {"cells": ["v_0", "t_ref"]})
