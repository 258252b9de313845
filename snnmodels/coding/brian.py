"""The derived network as ordinary Brian2 objects, for numpy, cython and C++ standalone.

At most one neuron spikes per time step, the one furthest above its threshold. Brian2 has no such rule, so a one-neuron
group, the hub, holds a contest every step: all neurons above threshold raise the custom event ``candidate``, the hub
keeps the best of them, and only that one passes the threshold condition ``margin > 0 and i == winner``. The hub also
holds what the population has in common: population traces and homeostat-controlled parameters.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import brian2
import numpy as np
from brian2 import NeuronGroup, SpikeMonitor, StateMonitor, Synapses, TimedArray, linked_var, second
from brian2.devices.device import get_device, reset_device, set_device

from ..symbolic.parsing import print_expression, symbol
from ..targets.devices import BrianTarget, cpp_preferences, preferences, quiet, require_compiler
from .network import CodingNetwork, Form, Homeostat, TimeCourse
from .response import Response
from .signals import Signal

__all__ = ["BrianNetwork", "brian_network", "simulate_brian", "simulate_brian_together"]

Array = np.ndarray


@dataclass(frozen=True)
class BrianNetwork:
    """Plain Brian2 objects; put ``objects`` into a `brian2.Network`.

    Attributes
    ----------
    neurons : NeuronGroup
        Variables ``v``, the per-neuron traces that the rule reads, ``margin`` (v minus threshold).
    hub : NeuronGroup
        One neuron: ``winner``, population traces, homeostat-controlled parameters.
    recurrent : Synapses
    spikes : SpikeMonitor
    objects : list
        Everything above and what belongs to it.
    """

    neurons: NeuronGroup
    hub: NeuronGroup
    recurrent: Synapses
    spikes: SpikeMonitor
    levels: StateMonitor | None
    objects: list[Any]

    def response(self, network: CodingNetwork, signal: Signal) -> Response:
        """The recorded spikes as a `Response`, after the run.

        Parameters
        ----------
        network : CodingNetwork
        signal : Signal
            Those that the objects were made of.
        """
        # Brian2 gives the time of the start of the step; half a step guards the division against rounding
        steps = np.floor(np.asarray(self.spikes.t / second) / signal.dt + 0.5).astype(int)
        controlled = {}
        if self.levels is not None:
            controlled = {p: np.asarray(getattr(self.levels, p)[0]) for p in _homeostats(network)}
        return Response(network, signal, steps, np.asarray(self.spikes.i, int), controlled)


def brian_network(
    network: CodingNetwork, signal: Signal, *, form: Form = "threshold", name: str = "coding"
) -> BrianNetwork:
    """Render a coding network into Brian2.

    Parameters
    ----------
    network : CodingNetwork
    signal : Signal
        Its ``dt`` is the time step of the objects.
    form : "threshold" or "weight"
        Whether the costs sit in the threshold or in the weights.
    name : str
        Prefix of the names of the objects; two networks in one `brian2.Network` need two names.

    Returns
    -------
    BrianNetwork

    Raises
    ------
    ValueError
        If signal and network don't fit, or the weight form doesn't exist.
    """
    if form not in ("threshold", "weight"):
        raise ValueError(f"form={form!r} is not 'threshold' or 'weight'")
    weights = network.recurrent_weights(form)
    slow = network.slow_weights(signal.dt)
    read = _traces_read(network, form)
    hub = _hub(network, signal, name, [t for t in read if network.loss.traces[t].scope == "population"])
    neurons = _neurons(network, signal, form, name, read, hub)
    neurons.w_self = weights.diagonal()

    # `number` rather than `i`: the loop counter of Brian2 2.10.1's Cython synapse code is called i too, and reading the
    # presynaptic index as `i` there sends the loop astray without any error
    contest = Synapses(
        neurons,
        hub,
        on_pre="""
        better = int(margin_pre > best_post)
        winner_post = better*number_pre + (1 - better)*winner_post
        best_post = better*margin_pre + (1 - better)*best_post
        """,
        on_event="candidate",
        dt=signal.dt * second,
        name=f"{name}_contest",
    )
    contest.pre.when = "before_thresholds"
    contest.pre.order = 2
    contest.connect()

    on_pre = "v_post -= w" + ("\nh_post += w_slow" if slow is not None else "")
    delay = network.delay_steps(signal.dt) * signal.dt * second
    recurrent = Synapses(
        neurons,
        neurons,
        "w : 1 (constant)" + ("\nw_slow : 1 (constant)" if slow is not None else ""),
        on_pre=on_pre,
        delay=delay,
        dt=signal.dt * second,
        name=f"{name}_recurrent",
    )
    to, origin = np.nonzero(~np.eye(network.n, dtype=bool))
    recurrent.connect(i=origin, j=to)
    recurrent.w = weights[to, origin]
    if slow is not None:
        neurons.w_slow_self = slow.diagonal()
        recurrent.w_slow = slow[to, origin]

    spikes = SpikeMonitor(neurons, name=f"{name}_spikes")
    objects = [neurons, hub, contest, recurrent, spikes, *_to_hub(network, signal, neurons, hub, read, delay, name)]
    levels = None
    if _homeostats(network):
        levels = StateMonitor(
            hub, list(_homeostats(network)), record=True, when="end", dt=signal.dt * second, name=f"{name}_levels"
        )
        objects.append(levels)
    return BrianNetwork(neurons, hub, recurrent, spikes, levels, objects)


def simulate_brian(
    network: CodingNetwork,
    signal: Signal,
    *,
    form: Form = "threshold",
    target: BrianTarget = "numpy",
    directory: str | Path | None = None,
    seed: int = 0,
) -> Response:
    """Simulate a coding network in Brian2.

    Parameters
    ----------
    network : CodingNetwork
    signal : Signal
    form : "threshold" or "weight"
    target : "numpy", "cython" or "cpp_standalone"
    directory : path or None
        Where the C++ project goes; None for a temporary folder that is deleted afterwards.
    seed : int
        Of the voltage noise; the numbers differ between targets.

    Returns
    -------
    Response
        The same spike trains as `simulate`, without voltage noise.

    Raises
    ------
    ValueError
        For an unknown target, a signal that doesn't fit the network, or a weight form that doesn't exist.
    CompilerMissing
        If the target needs a compiler that isn't there.
    """
    return simulate_brian_together([(network, form)], signal, target=target, directory=directory, seed=seed)[0]


def simulate_brian_together(
    cases: Sequence[tuple[CodingNetwork, Form]],
    signal: Signal,
    *,
    target: BrianTarget = "numpy",
    directory: str | Path | None = None,
    seed: int = 0,
) -> list[Response]:
    """Simulate several networks on the same signal in one Brian2 run, and so in one compiled program.

    Parameters
    ----------
    cases : sequence of (CodingNetwork, form)
    signal, target, directory, seed
        As for `simulate_brian`.

    Returns
    -------
    list of Response

    Raises
    ------
    ValueError, CompilerMissing
        As for `simulate_brian`.
    """
    if target not in ("numpy", "cython", "cpp_standalone"):
        raise ValueError(f"target {target!r} is not 'numpy', 'cython' or 'cpp_standalone'")

    def build() -> list[BrianNetwork]:
        brian2.seed(seed)
        rendered = [
            brian_network(network, signal, form=form, name=f"coding{k}") for k, (network, form) in enumerate(cases)
        ]
        run = brian2.Network([o for r in rendered for o in r.objects])
        run.run(signal.steps * signal.dt * second, namespace={})
        return rendered

    with quiet():
        if target == "cpp_standalone":
            with _standalone(directory) as folder:
                rendered = build()
                # not the folder of set_device, which build() doesn't know, but "output" would be the default
                get_device().build(directory=folder, compile=True, run=True)
                return [r.response(network, signal) for r, (network, _) in zip(rendered, cases, strict=True)]
        if target == "cython":
            require_compiler()
        with preferences({"codegen.target": target, **(cpp_preferences() if target == "cython" else {})}):
            rendered = build()
            return [r.response(network, signal) for r, (network, _) in zip(rendered, cases, strict=True)]


@contextmanager
def _standalone(directory: str | Path | None) -> Iterator[str]:
    """C++ standalone as Brian2's device inside the block, the former device afterwards; gives the folder."""
    require_compiler()
    with tempfile.TemporaryDirectory() as temporary, preferences(cpp_preferences()):
        folder = str(directory or temporary)
        set_device("cpp_standalone", directory=folder, build_on_run=False)
        device = get_device()
        device.reinit()
        device.activate(directory=folder, build_on_run=False)
        try:
            yield folder
        finally:
            device.reinit()
            reset_device()


def _homeostats(network: CodingNetwork) -> dict[str, Homeostat]:
    return {p: h for p in network.loss.parameters if isinstance(h := network.value(p), Homeostat)}


def _traces_read(network: CodingNetwork, form: Form) -> list[str]:
    """The traces that the simulation has to carry: those in the threshold, or in the currents of the weight form."""
    rule = network.rule
    if form == "threshold":
        return [t for t in network.loss.traces if symbol(t) in rule.threshold.free_symbols]
    return [t for t, current in rule.currents.items() if current != 0]


def _hub(network: CodingNetwork, signal: Signal, name: str, traces: list[str]) -> NeuronGroup:
    equations = ["winner : integer", "best : 1"]
    step: list[str] = []
    values: dict[str, float] = {}
    namespace: dict[str, Any] = {}
    for t in traces:
        equations += [f"d{t}/dt = -{t}/tau_{t} : 1", f"tau_{t} : second (constant)"]
        step.append(f"{t} = {t}*exp(-dt/tau_{t})")
        values[f"tau_{t}"] = network.loss.traces[t].tau
    for p, homeostat in _homeostats(network).items():
        equations += [f"dlog_{p}/dt = -gain_{p} : 1", f"gain_{p} : hertz (constant)", f"{p} : 1"]
        step += [f"log_{p} = log_{p} - gain_{p}*dt", f"{p} = exp(log_{p})"]
        values |= {f"log_{p}": float(np.log(homeostat.initial)), p: homeostat.initial, f"gain_{p}": homeostat.gain}
        if isinstance(homeostat.budget, TimeCourse):
            course = TimedArray(homeostat.budget.values * brian2.Hz, dt=homeostat.budget.dt * second)
            namespace[f"budget_course_{p}"] = course
            equations.append(f"budget_{p} : hertz")
            # stored, since synapses can't look into the namespace of the hub
            step.append(f"budget_{p} = budget_course_{p}(t)")
        else:
            equations.append(f"budget_{p} : hertz (constant)")
            values[f"budget_{p}"] = homeostat.budget
    hub = NeuronGroup(
        1,
        "\n".join(equations),
        method=_exact_step("\n".join(step)),
        namespace=namespace,
        dt=signal.dt * second,
        name=f"{name}_hub",
    )
    for variable, value in values.items():
        getattr(hub, f"{variable}_")[:] = value
    # the weight form's currents read population traces as they were before this step's decay
    hub.state_updater.order = 1
    hub.winner = -1
    hub.run_regularly("winner = -1\nbest = 0", when="start", dt=signal.dt * second, name=f"{name}_new_contest")
    return hub


def _neurons(
    network: CodingNetwork, signal: Signal, form: Form, name: str, read: list[str], hub: NeuronGroup
) -> NeuronGroup:
    rule, own = network.rule, [t for t in read if network.loss.traces[t].scope == "neuron"]
    shared_traces = [t for t in read if t not in own]
    tau = f"tau_{network.loss.readout}"
    values: dict[str, Any] = {tau: network.tau, "d": network.norms}
    namespace: dict[str, Any] = {"signal_drive": TimedArray(network.drive(signal), dt=signal.dt * second)}
    linked = [*shared_traces, *_homeostats(network)]

    # the drive of the whole step arrives at its end: exact for x sampled on the grid, whatever x does in between
    drive = " + ".join(f"enc{m}*drive{m}" for m in range(network.dimensions))
    voltage = [f"-v/{tau}", f"({drive})/dt"]
    step = [f"v*exp(-dt/{tau})", drive]
    equations = [f"drive{m} = signal_drive(t, {m}) : 1 (shared)" for m in range(network.dimensions)]
    equations += [f"enc{m} : 1 (constant)" for m in range(network.dimensions)]
    equations += ["d : 1 (constant)", "w_self : 1 (constant)", "margin : 1"]
    equations += ["number : integer (constant)", "winner : integer (linked)"]
    equations += [f"{p} : 1 (linked)" for p in linked]
    reset = ["v -= w_self"]
    carried = dict.fromkeys([network.loss.readout, *read])
    equations += [f"tau_{t} : second (constant, shared)" for t in carried]
    values |= {f"tau_{t}": network.loss.traces[t].tau for t in carried}

    if form == "weight":
        currents, coefficients = rule.currents, rule.coefficients or {}
        for t in read:
            voltage.append(f"({print_expression(currents[t])})*{t}")
            step.append(f"({print_expression(coefficients[t])})*(exp(-dt/{tau}) - exp(-dt/tau_{t}))*{t}")
    if network.loss.dynamics is not None:
        equations += [f"dh/dt = -h/{tau} : 1", "w_slow_self : 1 (constant)"]
        voltage.append("h/dt")
        step.append("h")
        reset.append("h += w_slow_self")
    if network.noise:
        equations.append("noise : 1 (constant, shared)")
        values["noise"] = network.noise
        voltage.append(f"noise*sqrt(2/{tau})*xi")
        step.append(f"noise*sqrt(1 - exp(-2*dt/{tau}))*randn()")
    equations.append(f"dv/dt = {' + '.join(voltage)} : 1")
    code = [f"v = {' + '.join(step)}"]
    if network.loss.dynamics is not None:
        code.append(f"h = h*exp(-dt/{tau})")
    for t in own:
        equations += [f"d{t}/dt = -{t}/tau_{t} : 1", f"jump_{t} : 1 (constant)"]
        code.append(f"{t} = {t}*exp(-dt/tau_{t})")
        reset.append(f"{t} += jump_{t}")
        values[f"jump_{t}"] = network.jump(t)
    for p in network.loss.parameters:
        value = network.value(p)
        if isinstance(value, TimeCourse):
            namespace[f"course_{p}"] = TimedArray(value.values, dt=value.dt * second)
            equations.append(f"{p} = course_{p}(t) : 1 (shared)")
        elif not isinstance(value, Homeostat):
            equations.append(f"{p} : 1 (constant{'' if np.ndim(value) else ', shared'})")
            values[p] = value
    for key, homeostat in _homeostats(network).items():
        equations.append(f"energy_{key} : 1 (constant)")
        values[f"energy_{key}"] = np.ones(network.n) if homeostat.energy is None else homeostat.energy
    for t in shared_traces:
        equations.append(f"jump_{t} : 1 (constant)")
        values[f"jump_{t}"] = network.jump(t)

    threshold = print_expression(rule.threshold if form == "threshold" else rule.constant)
    equations.append(f"theta = {threshold} : 1")
    neurons = NeuronGroup(
        network.n,
        "\n".join(equations),
        method=_exact_step("\n".join(code)),
        threshold="margin > 0 and i == winner",
        reset="\n".join(reset),
        events={"candidate": "margin > 0"},
        namespace=namespace,
        dt=signal.dt * second,
        name=f"{name}_neurons",
    )
    for variable in ("winner", *linked):
        setattr(neurons, variable, linked_var(hub, variable))
    for variable, value in values.items():
        setattr(neurons, f"{variable}_", value)
    neurons.number = "i"
    neurons.v = network.encoder @ signal.values[0]
    for m in range(network.dimensions):
        setattr(neurons, f"enc{m}", network.encoder[:, m])
    # margin is stored so that events, contest and threshold all see one value
    neurons.run_regularly("margin = v - theta", when="before_thresholds", dt=signal.dt * second, name=f"{name}_margin")
    neurons.set_event_schedule("candidate", when="before_thresholds", order=1)
    return neurons


def _to_hub(
    network: CodingNetwork,
    signal: Signal,
    neurons: NeuronGroup,
    hub: NeuronGroup,
    read: list[str],
    delay: brian2.Quantity,
    name: str,
) -> list[Synapses]:
    """What spikes do to the hub: population traces jump, after the delay; budgets are spent at once."""
    found = []
    traces = [t for t in read if network.loss.traces[t].scope == "population"]
    for label, statements, after in (
        ("inhibition", [f"{t}_post += jump_{t}_pre" for t in traces], delay),
        (
            "budget",
            [f"log_{p}_post += gain_{p}_post*energy_{p}_pre/budget_{p}_post" for p in _homeostats(network)],
            0 * second,
        ),
    ):
        if statements:
            synapses = Synapses(
                neurons, hub, on_pre="\n".join(statements), delay=after, dt=signal.dt * second, name=f"{name}_{label}"
            )
            synapses.connect()
            found.append(synapses)
    return found


def _exact_step(code: str) -> Any:
    """A Brian2 integration method that is the exact step of these linear equations, ready made."""

    def method(equations: Any, variables: Any, method_options: Any = None) -> str:
        return code

    return method
