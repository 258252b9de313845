"""One population of a coding network as Brian2 objects: neurons, the hub with what they share, and their synapses.

The dense form has a voltage per neuron and synapses from all to all. In the low-rank form the hub holds the K numbers
y = x - D r, each neuron reads its voltage off them through linked variables, and a spike takes one synapse to the hub:
with the one of the contest, 2 N synapses in all (and N of the neurons to themselves where there is a delay).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import brian2
import numpy as np
from brian2 import NeuronGroup, SpikeMonitor, StateMonitor, Synapses, TimedArray, linked_var, second

from ..symbolic.parsing import print_expression, symbol
from .factors import Factors, Recurrence
from .network import CodingNetwork, Form, Homeostat, TimeCourse
from .signals import Signal

__all__ = ["RenderedPopulation", "connect_populations", "render_population"]

Array = np.ndarray


@dataclass(frozen=True)
class RenderedPopulation:
    """The objects of one population.

    Attributes
    ----------
    network : CodingNetwork
    recurrence : "dense" or "low_rank"
    neurons, hub : NeuronGroup
    recurrent : Synapses or None
        To each other, or to the hub; None where other neurons do that for them.
    spikes : SpikeMonitor
    levels : StateMonitor or None
        Of parameters that homeostats of the population set.
    objects : list
        Everything.
    """

    network: CodingNetwork
    recurrence: Recurrence
    neurons: NeuronGroup
    hub: NeuronGroup
    recurrent: Synapses | None
    spikes: SpikeMonitor
    levels: StateMonitor | None
    objects: list[Any]


@dataclass(frozen=True)
class _Plan:
    """What the parts of one population have to agree on."""

    network: CodingNetwork
    signal: Signal
    form: Form
    recurrence: Recurrence
    name: str
    fast: Factors | None
    slow: Factors | None
    driven: bool
    bridge: float | None

    @property
    def low_rank(self) -> bool:
        return self.recurrence == "low_rank"

    @property
    def dt(self) -> brian2.Quantity:
        return self.signal.dt * second

    @property
    def tau(self) -> str:
        return f"tau_{self.network.loss.readout}"

    @property
    def left(self) -> Array:
        """What neurons read: of the signals, and of the hub's numbers in the low-rank form."""
        return self.fast.left if self.low_rank and self.fast is not None else self.network.encoder

    @property
    def right(self) -> Array:
        """What a spike subtracts from the hub's numbers."""
        return self.fast.right if self.fast is not None else self.network.decoder

    @property
    def delayed(self) -> bool:
        return self.network.delay_steps(self.signal.dt) > 0

    @property
    def delay(self) -> brian2.Quantity:
        return self.network.delay_steps(self.signal.dt) * self.signal.dt * second

    @property
    def gives_back(self) -> bool:
        """Low-rank form: own resets come before the hub's numbers know of them."""
        return self.low_rank and self.delayed and self.fast is not None

    @property
    def owns(self) -> bool:
        """Low-rank form: whether voltages have a part that is of one neuron alone."""
        diagonal = self.fast is not None and bool(self.fast.diagonal.any())
        currents = self.form == "weight" and bool(self.read)
        return self.low_rank and (self.gives_back or diagonal or currents or self.network.noise > 0)

    @property
    def read(self) -> list[str]:
        """The traces that the simulation has to carry: in the threshold, or in the currents of the weight form."""
        rule = self.network.rule
        if self.form == "threshold":
            return [t for t in self.network.loss.traces if symbol(t) in rule.threshold.free_symbols]
        return [t for t, current in rule.currents.items() if current != 0]

    def read_of(self, scope: str) -> list[str]:
        return [t for t in self.read if self.network.loss.traces[t].scope == scope]

    def homeostats_of(self, scope: str) -> dict[str, Homeostat]:
        return {p: h for p, h in self.network.homeostats.items() if h.scope == scope}


def render_population(
    network: CodingNetwork,
    signal: Signal,
    *,
    form: Form,
    recurrence: Recurrence,
    name: str,
    driven: bool = True,
    alone: bool = True,
    bridge: float | None = None,
) -> RenderedPopulation:
    """Render one population.

    Parameters
    ----------
    network : CodingNetwork
    signal : Signal
        Its ``dt`` is the time step.
    form : "threshold" or "weight"
    recurrence : "dense" or "low_rank"
    name : str
        Prefix of the names of the objects.
    driven : bool
        Whether the signal drives it; False for neurons that other neurons drive.
    alone : bool
        Whether its neurons inhibit each other; False where other neurons do that for them.
    bridge : float or None
        Time constant, in seconds, of an after-hyperpolarisation of d² by a neuron's own spike.

    Returns
    -------
    RenderedPopulation
    """
    fast = network.recurrent_factors(form) if alone else None
    slow = network.slow_factors(signal.dt)
    plan = _Plan(network, signal, form, recurrence, name, fast, slow, driven, bridge)
    hub = _hub(plan)
    neurons = _neurons(plan, hub)
    spikes = SpikeMonitor(neurons, name=f"{name}_spikes")
    objects = [neurons, hub, _contest(plan, neurons, hub), spikes]
    recurrent = None
    if fast is not None:
        within = _to_hub_numbers(plan, neurons, hub) if plan.low_rank else [_all_to_all(plan, neurons)]
        recurrent = within[0]
        objects += within
    objects += _to_hub(plan, neurons, hub)
    levels = None
    if shared := list(plan.homeostats_of("population")):
        levels = StateMonitor(hub, shared, record=True, when="end", dt=plan.dt, name=f"{name}_levels")
        objects.append(levels)
    return RenderedPopulation(network, recurrence, neurons, hub, recurrent, spikes, levels, objects)


def connect_populations(
    source: RenderedPopulation, target: RenderedPopulation, sign: int, delay: float, dt: float, name: str
) -> Synapses:
    """Synapses by which spikes of one population add their decoder column, times `sign`, to x - D r of another.

    Parameters
    ----------
    source, target : RenderedPopulation
        In the same form.
    sign : 1 or -1
    delay, dt : float
        Seconds.
    name : str
        Of the synapses.
    """
    step = "+=" if sign > 0 else "-="
    options = {"delay": round(delay / dt) * dt * second, "dt": dt * second, "name": name}
    if target.recurrence == "low_rank":
        code = "\n".join(f"y{m}_post {step} right{m}_pre" for m in range(target.network.dimensions))
        synapses = Synapses(source.neurons, target.hub, on_pre=code, **options)
        synapses.connect()
        return synapses
    weights = target.network.encoder @ source.network.decoder
    to, origin = np.nonzero(weights)
    synapses = Synapses(source.neurons, target.neurons, "w : 1 (constant)", on_pre=f"v_post {step} w", **options)
    synapses.connect(i=origin, j=to)
    synapses.w = weights[to, origin]
    return synapses


def _contest(plan: _Plan, neurons: NeuronGroup, hub: NeuronGroup) -> Synapses:
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
        dt=plan.dt,
        name=f"{plan.name}_contest",
    )
    contest.pre.when = "before_thresholds"
    contest.pre.order = 2
    contest.connect()
    return contest


def _all_to_all(plan: _Plan, neurons: NeuronGroup) -> Synapses:
    assert plan.fast is not None
    weights, slow = plan.fast.dense(), None if plan.slow is None else plan.slow.dense()
    neurons.w_self = weights.diagonal()
    recurrent = Synapses(
        neurons,
        neurons,
        "w : 1 (constant)" + ("\nw_slow : 1 (constant)" if slow is not None else ""),
        on_pre="v_post -= w" + ("\nh_post += w_slow" if slow is not None else ""),
        delay=plan.delay,
        dt=plan.dt,
        name=f"{plan.name}_recurrent",
    )
    to, origin = np.nonzero(~np.eye(plan.network.n, dtype=bool))
    recurrent.connect(i=origin, j=to)
    recurrent.w = weights[to, origin]
    if slow is not None:
        neurons.w_slow_self = slow.diagonal()
        recurrent.w_slow = slow[to, origin]
    return recurrent


def _to_hub_numbers(plan: _Plan, neurons: NeuronGroup, hub: NeuronGroup) -> list[Synapses]:
    code = [f"y{k}_post -= right{k}_pre" for k in range(len(plan.right))]
    if plan.slow is not None:
        code += [f"g{m}_post += slow{m}_pre" for m in range(plan.network.dimensions)]
    options = {"delay": plan.delay, "dt": plan.dt}
    recurrent = Synapses(neurons, hub, on_pre="\n".join(code), name=f"{plan.name}_recurrent", **options)
    recurrent.connect()
    if not plan.gives_back:
        return [recurrent]
    give_back = "own_post += w_self_post - w_diagonal_post" + (
        "" if plan.slow is None else "\nown_h_post -= w_slow_self_post"
    )
    itself = Synapses(neurons, neurons, on_pre=give_back, name=f"{plan.name}_itself", **options)
    itself.connect(j="i")
    return [recurrent, itself]


def _hub(plan: _Plan) -> NeuronGroup:
    network = plan.network
    equations = ["winner : integer", "best : 1"]
    step: list[str] = []
    values: dict[str, Any] = {}
    namespace: dict[str, Any] = {}
    if plan.low_rank:
        equations.append(f"{plan.tau} : second (constant)")
        values[plan.tau] = network.tau
        if plan.driven:
            namespace["signal_drive"] = TimedArray(network.drive(plan.signal), dt=plan.dt)
        for k in range(plan.left.shape[1]):
            terms, of_signal = [f"y{k}*exp(-dt/{plan.tau})"], k < network.dimensions
            if of_signal and plan.driven:
                terms.append(f"signal_drive(t, {k})")
                values[f"y{k}"] = plan.signal.values[0, k]
            if of_signal and plan.slow is not None:
                terms.append(f"g{k}")
            equations.append(f"dy{k}/dt = -y{k}/{plan.tau} : 1")
            step.append(f"y{k} = {' + '.join(terms)}")
            if of_signal and plan.slow is not None:
                equations.append(f"dg{k}/dt = -g{k}/{plan.tau} : 1")
                step.append(f"g{k} = g{k}*exp(-dt/{plan.tau})")
    for t in plan.read_of("population"):
        equations += [f"d{t}/dt = -{t}/tau_{t} : 1", f"tau_{t} : second (constant)"]
        step.append(f"{t} = {t}*exp(-dt/tau_{t})")
        values[f"tau_{t}"] = network.loss.traces[t].tau
    for p, homeostat in plan.homeostats_of("population").items():
        equations += [f"dlog_{p}/dt = -gain_{p} : 1", f"gain_{p} : hertz (constant)", f"{p} : 1"]
        equations += [f"low_{p} : 1 (constant)", f"high_{p} : 1 (constant)"]
        step += [f"log_{p} = clip(log_{p} - gain_{p}*dt, low_{p}, high_{p})", f"{p} = exp(log_{p})"]
        values |= {f"log_{p}": float(np.log(homeostat.initial)), p: homeostat.initial, **_control(p, homeostat)}
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
        dt=plan.dt,
        name=f"{plan.name}_hub",
    )
    for variable, value in values.items():
        getattr(hub, f"{variable}_")[:] = value
    # the weight form's currents read population traces as they were before this step's decay
    hub.state_updater.order = 1
    hub.winner = -1
    hub.run_regularly("winner = -1\nbest = 0", when="start", dt=plan.dt, name=f"{plan.name}_new_contest")
    return hub


def _control(p: str, homeostat: Homeostat) -> dict[str, float]:
    low, high = float(np.log(homeostat.low)), float(np.log(homeostat.high))
    return {f"gain_{p}": homeostat.gain, f"low_{p}": low, f"high_{p}": high}


def _neurons(plan: _Plan, hub: NeuronGroup) -> NeuronGroup:
    network, signal, rule, tau = plan.network, plan.signal, plan.network.rule, plan.tau
    own, shared = plan.read_of("neuron"), plan.read_of("population")
    values: dict[str, Any] = {tau: network.tau, "d": network.norms}
    namespace: dict[str, Any] = {}
    linked = [*shared, *plan.homeostats_of("population")]
    equations = ["d : 1 (constant)", "margin : 1", "number : integer (constant)", "winner : integer (linked)"]
    reset: list[str] = []
    code: list[str] = []

    # what the voltage, or the part of it that is of one neuron alone, gets in a step besides decay and signal
    extra, extra_step = [], []
    if plan.form == "weight":
        currents, coefficients = rule.currents, rule.coefficients or {}
        for t in plan.read:
            extra.append(f"({print_expression(currents[t])})*{t}")
            extra_step.append(f"({print_expression(coefficients[t])})*(exp(-dt/{tau}) - exp(-dt/tau_{t}))*{t}")
    if network.noise:
        equations.append("noise : 1 (constant, shared)")
        values["noise"] = network.noise
        extra.append(f"noise*sqrt(2/{tau})*xi")
        extra_step.append(f"noise*sqrt(1 - exp(-2*dt/{tau}))*randn()")

    if plan.low_rank:
        # the hub's numbers are linked, the products are summed when the margin is taken
        linked += [f"y{k}" for k in range(plan.left.shape[1])]
        voltage = [f"left{k}*y{k}" for k in range(plan.left.shape[1])]
        for k, column in enumerate(plan.left.T):
            equations.append(f"left{k} : 1 (constant)")
            values[f"left{k}"] = column
        for k, row in enumerate(plan.right):
            equations.append(f"right{k} : 1 (constant)")
            values[f"right{k}"] = row
        if plan.owns:
            voltage.append("own")
            own_slow = ["own_h/dt"] if plan.gives_back and plan.slow is not None else []
            equations.append(f"down/dt = {' + '.join([f'-own/{tau}', *own_slow, *extra])} : 1")
            terms = [f"own*exp(-dt/{tau})", *(["own_h"] if own_slow else []), *extra_step]
            code.append(f"own = {' + '.join(terms)}")
            if own_slow:
                equations += [f"down_h/dt = -own_h/{tau} : 1", "w_slow_self : 1 (constant)"]
                code.append(f"own_h = own_h*exp(-dt/{tau})")
                reset.append("own_h += w_slow_self")
            if plan.fast is not None:
                equations += ["w_self : 1 (constant)", "w_diagonal : 1 (constant)"]
                values |= {"w_self": plan.fast.of_itself(), "w_diagonal": plan.fast.diagonal}
                reset.append("own -= w_self" if plan.gives_back else "own -= w_diagonal")
        equations.append(f"v = {' + '.join(voltage)} : 1")
        if plan.slow is not None:
            for m, row in enumerate(plan.slow.right):
                equations.append(f"slow{m} : 1 (constant)")
                values[f"slow{m}"] = row
            if plan.gives_back:
                values["w_slow_self"] = plan.slow.of_itself()
    else:
        # the drive of the whole step arrives at its end: exact for x sampled on the grid, whatever it does in between
        right_side, step = [f"-v/{tau}"], [f"v*exp(-dt/{tau})"]
        if plan.driven:
            namespace["signal_drive"] = TimedArray(network.drive(signal), dt=plan.dt)
            drive = " + ".join(f"enc{m}*drive{m}" for m in range(network.dimensions))
            equations += [f"drive{m} = signal_drive(t, {m}) : 1 (shared)" for m in range(network.dimensions)]
            equations += [f"enc{m} : 1 (constant)" for m in range(network.dimensions)]
            values |= {f"enc{m}": network.encoder[:, m] for m in range(network.dimensions)}
            right_side.append(f"({drive})/dt")
            step.append(drive)
            values["v"] = network.encoder @ signal.values[0]
        if plan.slow is not None:
            equations += [f"dh/dt = -h/{tau} : 1", "w_slow_self : 1 (constant)"]
            right_side.append("h/dt")
            step.append("h")
            reset.append("h += w_slow_self")
        equations.append(f"dv/dt = {' + '.join([*right_side, *extra])} : 1")
        code.append(f"v = {' + '.join([*step, *extra_step])}")
        if plan.slow is not None:
            code.append(f"h = h*exp(-dt/{tau})")
        if plan.fast is not None:
            equations.append("w_self : 1 (constant)")
            reset.append("v -= w_self")

    if plan.bridge is not None:
        equations += ["dbridge/dt = -bridge/tau_bridge : 1", "tau_bridge : second (constant, shared)"]
        values["tau_bridge"] = plan.bridge
        code.append("bridge = bridge*exp(-dt/tau_bridge)")
        reset.append("bridge += d**2")
    carried = dict.fromkeys([network.loss.readout, *plan.read])
    equations += [f"tau_{t} : second (constant, shared)" for t in carried]
    values |= {f"tau_{t}": network.loss.traces[t].tau for t in carried}
    for t in own:
        equations += [f"d{t}/dt = -{t}/tau_{t} : 1", f"jump_{t} : 1 (constant)"]
        code.append(f"{t} = {t}*exp(-dt/tau_{t})")
        reset.append(f"{t} += jump_{t}")
        values[f"jump_{t}"] = network.jump(t)
    for t in shared:
        equations.append(f"jump_{t} : 1 (constant)")
        values[f"jump_{t}"] = network.jump(t)
    for p in network.loss.parameters:
        value = network.value(p)
        if isinstance(value, TimeCourse):
            namespace[f"course_{p}"] = TimedArray(value.values, dt=value.dt * second)
            one_each = np.ndim(value.values) == 2
            equations.append(f"{p} = course_{p}(t{', i' if one_each else ''}) : 1{'' if one_each else ' (shared)'}")
        elif not isinstance(value, Homeostat):
            equations.append(f"{p} : 1 (constant{'' if np.ndim(value) else ', shared'})")
            values[p] = value
    for p, homeostat in network.homeostats.items():
        equations.append(f"energy_{p} : 1 (constant)")
        values[f"energy_{p}"] = np.ones(network.n) if homeostat.energy is None else homeostat.energy
    for p, homeostat in plan.homeostats_of("neuron").items():
        equations += [f"dlog_{p}/dt = -gain_{p} : 1", f"{p} : 1", f"gain_{p} : hertz (constant, shared)"]
        equations += [f"low_{p} : 1 (constant, shared)", f"high_{p} : 1 (constant, shared)"]
        code += [f"log_{p} = clip(log_{p} - gain_{p}*dt, low_{p}, high_{p})", f"{p} = exp(log_{p})"]
        reset.append(f"log_{p} = clip(log_{p} + gain_{p}*energy_{p}/budget_{p}, low_{p}, high_{p})")
        values |= {f"log_{p}": float(np.log(homeostat.initial)), p: homeostat.initial, **_control(p, homeostat)}
        if isinstance(homeostat.budget, TimeCourse):
            budgets = homeostat.budget.values
            namespace[f"budget_course_{p}"] = TimedArray(budgets * brian2.Hz, dt=homeostat.budget.dt * second)
            arguments = "t, i" if budgets.ndim == 2 else "t"
            equations.append(f"budget_{p} = budget_course_{p}({arguments}) : hertz")
        else:
            equations.append(f"budget_{p} : hertz (constant)")
            values[f"budget_{p}"] = homeostat.budget

    threshold = print_expression(rule.threshold if plan.form == "threshold" else rule.constant)
    equations += [f"theta = {threshold} : 1", *[f"{p} : 1 (linked)" for p in linked]]
    neurons = NeuronGroup(
        network.n,
        "\n".join(equations),
        method=_exact_step("\n".join(code)),
        threshold="margin > 0 and i == winner",
        reset="\n".join(reset),
        events={"candidate": "margin > 0"},
        namespace=namespace,
        dt=plan.dt,
        name=f"{plan.name}_neurons",
    )
    for variable in ("winner", *linked):
        setattr(neurons, variable, linked_var(hub, variable))
    for variable, value in values.items():
        setattr(neurons, f"{variable}_", value)
    neurons.number = "i"
    # margin is stored so that events, contest and threshold all see one value
    margin = "v - bridge - theta" if plan.bridge is not None else "v - theta"
    neurons.run_regularly(
        f"margin = {margin}", when="before_thresholds", dt=plan.dt, name=f"{plan.name}_margin"
    )
    neurons.set_event_schedule("candidate", when="before_thresholds", order=1)
    return neurons


def _to_hub(plan: _Plan, neurons: NeuronGroup, hub: NeuronGroup) -> list[Synapses]:
    """What spikes do to the hub: population traces jump, after the delay; budgets are spent at once."""
    spent = [
        f"log_{p}_post = clip(log_{p}_post + gain_{p}_post*energy_{p}_pre/budget_{p}_post, low_{p}_post, high_{p}_post)"
        for p in plan.homeostats_of("population")
    ]
    found = []
    for label, statements, after in (
        ("inhibition", [f"{t}_post += jump_{t}_pre" for t in plan.read_of("population")], plan.delay),
        ("budget", spent, 0 * second),
    ):
        if statements:
            synapses = Synapses(
                neurons, hub, on_pre="\n".join(statements), delay=after, dt=plan.dt, name=f"{plan.name}_{label}"
            )
            synapses.connect()
            found.append(synapses)
    return found


def _exact_step(code: str) -> Any:
    """A Brian2 integration method that is the exact step of these linear equations, ready made."""

    def method(equations: Any, variables: Any, method_options: Any = None) -> str:
        return code

    return method
