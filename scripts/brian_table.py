"""Table of spike times: the engine's beside Brian2's own, of every neuron of the library, as the time step shrinks.

    python scripts/brian_table.py --quick            # one linear and one nonlinear neuron
    python scripts/brian_table.py --processes 2      # docs/results/brian.json and docs/brian.md
    python scripts/brian_table.py --only lif adex    # these again, in the table that is there
    python scripts/brian_table.py --missing          # those that the table doesn't have yet
    python scripts/brian_table.py --redraw           # the page again, from the results

Brian2 runs the groups that `neuron_group` and `synapses` make of a model and, for some models, equations written out
here by hand. The exit status is 1 if spikes differ by more than Brian2's time step explains. A C++ compiler is needed
for models with many states.
"""

from __future__ import annotations

from snnmodels.studies import scripts  # first: it sets the number of NumPy's threads

# isort: split

import argparse
import dataclasses
import datetime
import functools
import importlib.metadata
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import brian2
import numpy as np
from brian2 import NeuronGroup, Quantity, SpikeGeneratorGroup, SpikeMonitor, StateMonitor, Synapses, TimedArray

from snnmodels.brian import neuron_group, synapses
from snnmodels.brian.plain import integration_method
from snnmodels.files import atomic_file, read_json, write_rounded
from snnmodels.gradients import Probe, Simulation, probe
from snnmodels.losses import Maxima, SpikeTimes
from snnmodels.symbolic.declaration import hybrid_system
from snnmodels.targets.devices import quiet
from snnmodels.templates import catalogue, load_model
from snnmodels.templates.groups import Population
from snnmodels.templates.model import Model
from snnmodels.templates.units import unit_dimension

Record = dict[str, Any]
Spikes = dict[str, list[np.ndarray]]
"""By population: the spike times of each neuron in seconds."""

STEPS = (4e-6, 1e-6)  # seconds, of Brian2, the finest last
GRID = 4e-6  # seconds; input spikes, delays and samples of currents are due at multiples, which all steps meet
MOST = 8.0  # steps that a spike may be from the engine's, at every step size
MANY = {"hill_tononi": 12.0}  # and of a model in which a current lasts for a part of every step
PEAK = 10e-3  # seconds; and in which time a largest potential may change by its own size, where it is compared

# Mechanisms and synapses that the neurons by themselves do not have
COMPOSITIONS = (
    "lif+exp_synapse+refractory",
    "lif+exp_synapse+dead_time",
    "lif+delta_synapse+refractory",
    "lif+alpha_synapse",
    "lif+exp_conductance",
    "lif+exp_synapse+adaptive_threshold",
    "lif+exp_synapse+current_adaptation+subthreshold_adaptation+refractory",
    "lif+exp_synapse+relative_refractory",
    "lif+exp_synapse+soft_reset",
    "adex+exp_synapse+refractory",
    "lif_conductance+ampa",
)


@dataclass(frozen=True)
class Written:
    """A neuron with exponential current synapses in Brian2's own words, with numbers instead of the library's file.

    Attributes
    ----------
    equations : str
        They read ``I_ext``, which is a current that is given.
    start : mapping of str to str
        Initial values that are not 0.
    """

    equations: str
    threshold: str
    reset: str
    unit: str = "1"
    method: str = "rk2"
    refractory: str | bool = False
    start: Mapping[str, str] = dataclasses.field(default_factory=dict)


# From the papers that the library's files cite, not from the files
BY_HAND = {
    "lif": Written(
        """dv/dt = (I_syn + I_ext - v)/(20*ms) : 1
        dI_syn/dt = -I_syn/(5*ms) : 1""",
        "v > 1",
        "v = 0",
        method="rk4",
    ),
    "lif+exp_synapse+refractory": Written(
        """dv/dt = (I_syn + I_ext - v)/(20*ms) : 1 (unless refractory)
        dI_syn/dt = -I_syn/(5*ms) : 1""",
        "v > 1",
        "v = 0",
        method="rk4",
        refractory="2*ms",
    ),
    "qif": Written(
        """dv/dt = ((v + 65*mV)*(v + 50*mV)/(15*mV) + I_syn + I_ext)/(10*ms) : volt
        dI_syn/dt = -I_syn/(5*ms) : volt""",
        "v > 20*mV",
        "v = -80*mV",
        unit="volt",
        start={"v": "-65*mV"},
    ),
    "eif": Written(
        """dv/dt = (-65*mV - v + 3.48*mV*exp((v + 59.9*mV)/(3.48*mV)) + I_syn + I_ext)/(10*ms) : volt
        dI_syn/dt = -I_syn/(5*ms) : volt""",
        "v > -42.5*mV",
        "v = -68*mV",
        unit="volt",
        start={"v": "-65*mV"},
    ),
    "adex": Written(
        """dv/dt = (30*nS*(-70.6*mV - v) + 30*nS*2*mV*exp((v + 50.4*mV)/(2*mV)) - w_a + I_syn + I_ext)/(281*pF) : volt
        dw_a/dt = (4*nS*(v + 70.6*mV) - w_a)/(144*ms) : amp
        dI_syn/dt = -I_syn/(5*ms) : amp""",
        "v > -40.4*mV",
        "v = -70.6*mV; w_a += 80.5*pA",
        unit="amp",
        start={"v": "-70.6*mV"},
    ),
    "izhikevich": Written(
        """dv/dt = (0.04*v**2 + 5*v + 140 - u + I_syn + I_ext)/ms : 1
        du/dt = 0.02*(0.2*v - u)/ms : 1
        dI_syn/dt = -I_syn/(5*ms) : 1""",
        "v > 30",
        "v = -65; u += 8",
        start={"v": "-65", "u": "-13"},
    ),
    "theta": Written(
        """dtheta/dt = (1 - cos(theta) + (1 + cos(theta))*(I_syn + I_ext))/(10*ms) : 1
        dI_syn/dt = -I_syn/(5*ms) : 1""",
        "theta > pi",
        "theta -= 2*pi",
    ),
    "gif": Written(
        """dv/dt = (4*nS*(-70*mV - v) - z + I_syn + I_ext)/(80*pF) : volt (unless refractory)
        dz/dt = -z/(100*ms) : amp
        dth/dt = -th/(100*ms) : volt
        dI_syn/dt = -I_syn/(5*ms) : amp""",
        "v > -35*mV + th",
        "v = -55*mV; z += 10*pA; th += 10*mV",
        unit="amp",
        method="rk4",
        refractory="4*ms",
        start={"v": "-70*mV"},
    ),
    "hodgkin_huxley": Written(
        """dv/dt = (12*uS*m**3*h*(50*mV - v) + 3.6*uS*n**4*(-77*mV - v) + 30*nS*(-54.402*mV - v) + I_syn
                  + I_ext)/(100*pF) : volt
        dm/dt = 0.1/mV*(v + 40*mV)/(1 - exp(-(v + 40*mV)/(10*mV)))/ms*(1 - m) - 4*exp(-(v + 65*mV)/(18*mV))/ms*m : 1
        dh/dt = 0.07*exp(-(v + 65*mV)/(20*mV))/ms*(1 - h) - h/(1 + exp(-(v + 35*mV)/(10*mV)))/ms : 1
        dn/dt = a_n*(1 - n) - 0.125*exp(-(v + 65*mV)/(80*mV))/ms*n : 1
        a_n = 0.01/mV*(v + 55*mV)/(1 - exp(-(v + 55*mV)/(10*mV)))/ms : Hz
        dI_syn/dt = -I_syn/(5*ms) : amp""",
        "v > 0*mV",
        "",
        unit="amp",
        refractory="v > 0*mV",
        start={
            "v": "-65*mV",
            "m": "0.052932485257249584",
            "h": "0.5961207535084603",
            "n": "0.3176769140606974",
        },
    ),
}


# --- measuring --------------------------------------------------------------------------------------------------------


def measure(name: str, steps: Sequence[float] = STEPS) -> Record:
    """Compare Brian2's spike times of a small network of a model with the engine's.

    Parameters
    ----------
    name : str
        Of a neuron of the library, or a composition.
    steps : sequence of float
        Of Brian2, in seconds: multiples or parts of `GRID`.

    Returns
    -------
    dict
        ``model``, ``linear``, ``methods`` (of Brian2, by population), ``spikes`` (of every neuron, by population),
        ``runs``: a list of ``by`` (``"plain"`` or ``"hand"``), ``dt`` (seconds), and ``late`` and ``early``, how far
        Brian2's spikes are after and before the engine's at most, in steps, or ``other``, what differs otherwise. Where
        they are earlier than `MOST`, ``shorter``: how much earlier the engine's own are at most if refractory periods
        end a step sooner, as they do in Brian2. For a model that doesn't spike ``peak``, the deviation of its largest
        potential, relative, instead. Or ``model`` and ``error``, if there is no result.
    """
    brian2.prefs.codegen.target = "numpy"  # a few neurons: nothing to compile
    try:
        with quiet():
            given = case(name)
            exact, peaks = engine(given)
            runs, methods = [], {}
            for by in ("plain", "hand") if name in BY_HAND else ("plain",):
                for dt in steps if by == "plain" else steps[-1:]:
                    found, largest, methods[by] = brian(given, dt, BY_HAND[name] if by == "hand" else None)
                    record = {"by": by, "dt": dt} | compared(exact, found, dt)
                    if float(record.get("early", 0.0)) > MOST:
                        record["shorter"] = compared(exact, engine(shortened(given, dt))[0], dt).get("early", 0.0)
                    if peaks is not None:
                        assert largest is not None
                        record["peak"] = float(np.abs(largest / peaks - 1).max())
                    runs.append(record)
    except (ValueError, RuntimeError) as error:
        return {"model": name, "error": f"{type(error).__name__}: {error}"}
    return {
        "model": name,
        "linear": hybrid_system(given.network.populations[1].model).is_linear,
        "methods": methods["plain"],
        "spikes": {p: [len(t) for t in trains] for p, trains in exact.items()},
        "runs": runs,
    }


def case(name: str) -> Probe:
    """A network of four sources, three hidden and two output neurons, with delays and a current, on the grid `GRID`.

    Parameters
    ----------
    name : str
        See `measure`.
    """
    model = load_model(name)
    driven = any(not i.read_at for i in model.inputs.values()) and model.spiking
    given = probe(model, trials=1, delays=True, currents=driven, target=_target(model))
    wires = [dataclasses.replace(q, delay=_on_grid(np.asarray(q.delay))) for q in given.network.projections]
    spiking = {s.name for s in given.network.inputs}
    inputs = {n: _on_grid(x) if n in spiking else x for n, x in given.inputs.items()}
    return dataclasses.replace(
        given, network=dataclasses.replace(given.network, projections=tuple(wires)), inputs=inputs
    )


def _target(model: Model) -> Literal["numpy", "cpp_standalone"]:
    """Where a few trials of a model are simulated sooner, compilation included."""
    return "numpy" if hybrid_system(model).is_linear or len(model.states) <= 3 else "cpp_standalone"


def _on_grid(times: np.ndarray) -> np.ndarray:
    return np.round(times / GRID) * GRID


def engine(given: Probe) -> tuple[Spikes, np.ndarray | None]:
    """Spike times of the engine and, where the output does not spike, its largest potentials.

    Parameters
    ----------
    given : Probe
    """
    spiking = [p.name for p in given.network.populations if p.model.spiking]
    output = given.network.populations[-1]
    read: Any = [SpikeTimes(p) for p in spiking]
    if not output.model.spiking:
        read.append(Maxima(variable=_potential(output.model)))
    with Simulation(given.network, read, target=_target(output.model)) as simulation:
        observed = simulation.forward(given.inputs)
    trains = {p: [t[np.isfinite(t)] for t in x[0]] for p, x in zip(spiking, observed, strict=False)}
    return trains, None if output.model.spiking else observed[-1][0]


def shortened(given: Probe, dt: float) -> Probe:
    """The same with refractory periods as long as Brian2 holds a neuron: of n steps, rounded as there, n - 1.

    Parameters
    ----------
    given : Probe
    dt : float
    """
    populations = []
    for p in given.network.populations:
        parameters = dict(p.model.parameters)
        for duration in set(p.model.refractory.durations) & set(parameters) if p.model.refractory else ():
            steps = int(parameters[duration].value / dt + 1e-3)  # as Brian2's timestep()
            value = (steps - 1) * dt
            parameters[duration] = dataclasses.replace(parameters[duration], default=f"{value!r}*second", value=value)
        populations.append(dataclasses.replace(p, model=dataclasses.replace(p.model, parameters=parameters)))
    return dataclasses.replace(given, network=dataclasses.replace(given.network, populations=tuple(populations)))


def _potential(model: Model) -> str:
    return "v" if "v" in model.state_names else model.state_names[0]


def brian(
    given: Probe, dt: float, written: Written | None = None
) -> tuple[Spikes, np.ndarray | None, dict[str, str]]:
    """The same from Brian2 at a time step, and its methods of integration.

    What Brian2 records at t has happened by t + dt, and what is due at t takes effect then; so input spikes are given
    a step earlier, and spikes are taken for a step later.

    Parameters
    ----------
    given : Probe
    dt : float
        Seconds.
    written : Written, optional
        Instead of the groups that the package makes of the models.
    """
    brian2.start_scope()
    brian2.defaultclock.dt = dt * brian2.second
    network = given.network
    groups: dict[str, Any] = {}
    for source in network.inputs:
        times = given.inputs[source.name][0]
        neuron, k = np.nonzero(np.isfinite(times))
        due = np.round(times[neuron, k] / dt - 1) * dt
        groups[source.name] = SpikeGeneratorGroup(source.n, neuron, due * brian2.second)
    for p in network.populations:
        expressions, arrays = _current(given, p)
        if written is None:
            method = None if expressions else _method(p.model.name)
            groups[p.name] = neuron_group(p.model, p.n, method=method, drives=expressions or None, namespace=arrays)
        else:
            groups[p.name] = _group(written, p, expressions, arrays)
    wires = []
    for q in network.projections:
        model = next(p.model for p in network.populations if p.name == q.target)
        receptor = model.receptors[q.receptor or next(iter(model.receptors))]
        source, target = groups[q.source], groups[q.target]
        if written is None:
            wire, weight = synapses(model, source, target, receptor.name), receptor.weight
        else:
            wire, weight = Synapses(source, target, f"w : {written.unit}", on_pre="I_syn_post += w"), "w"
        wire.connect()
        dimension = unit_dimension(receptor.weight_unit)
        setattr(wire, weight, Quantity(np.asarray(q.weights, dtype=float).ravel(), dim=dimension))
        wire.delay = np.asarray(q.delay, dtype=float).ravel() * brian2.second
        wires.append(wire)
    monitors = {p.name: SpikeMonitor(groups[p.name]) for p in network.populations if p.model.spiking}
    last = network.populations[-1]
    trace = None if last.model.spiking else StateMonitor(groups[last.name], _potential(last.model), record=True)
    parts = [*groups.values(), *wires, *monitors.values(), *([] if trace is None else [trace])]
    brian2.Network(*parts).run(network.duration * brian2.second, namespace={})
    spikes = {
        p: [np.asarray(m.t / brian2.second)[np.asarray(m.i) == i] + dt for i in range(m.source.N)]
        for p, m in monitors.items()
    }
    peaks = None if trace is None else np.asarray(getattr(trace, _potential(last.model))).max(axis=1)
    methods = {p.name: str(groups[p.name].method_choice) for p in network.populations}
    return spikes, peaks, methods


@functools.cache
def _method(name: str) -> str:
    """What `neuron_group` would choose at the finest step, where the search for a closed form may take a minute."""
    model = load_model(name)
    return integration_method(model, STEPS[-1], {n: p.value for n, p in model.parameters.items()})


def _current(given: Probe, population: Population) -> tuple[dict[str, str], dict[str, TimedArray]]:
    """What sampled currents add to the inputs of a population, as expressions, and the arrays that these name."""
    expressions: dict[str, str] = {}
    arrays: dict[str, TimedArray] = {}
    for d in given.network.drives:
        if d.target != population.name:
            continue
        current = next(c for c in given.network.currents if c.name == d.source)
        assert current.interpolation == "linear"
        driven = d.input or next(iter(population.model.inputs))
        unit = Quantity(1.0, dim=unit_dimension(population.model.inputs[driven].unit))
        values = np.asarray(d.weights).T @ given.inputs[d.source][0]  # of each neuron at each knot
        slopes = np.diff(values, axis=1) / current.interval
        piece = 1e-4  # seconds; knots are multiples
        starts = np.round(np.array([current.start, current.interval]) / piece)
        count = int(np.ceil(given.network.duration / piece))
        knot = np.clip((np.arange(count) - starts[0]) // starts[1], -1, slopes.shape[1] - 1).astype(int)
        on = (knot >= 0)[:, None]
        arrays |= {
            f"value_{driven}": TimedArray(np.where(on, values.T[knot], 0.0) * unit, dt=piece * brian2.second),
            f"slope_{driven}": TimedArray(
                np.where(on, slopes.T[knot], 0.0) * unit / brian2.second, dt=piece * brian2.second
            ),
            f"knot_{driven}": TimedArray(
                np.where(on[:, 0], current.start + knot * current.interval, 0.0) * brian2.second,
                dt=piece * brian2.second,
            ),
        }
        expressions[driven] = f"(value_{driven}(t, i) + slope_{driven}(t, i)*(t - knot_{driven}(t)))"
    return expressions, arrays


def _group(
    written: Written, population: Population, expressions: Mapping[str, str], arrays: Mapping[str, TimedArray]
) -> NeuronGroup:
    """A group of what is written by hand."""
    (current,) = expressions.values() or (f"0*{written.unit}" if written.unit != "1" else "0",)
    group = NeuronGroup(
        population.n,
        f"{written.equations}\nI_ext = {current} : {written.unit}",
        threshold=written.threshold,
        reset=written.reset.replace("; ", "\n") or None,
        refractory=written.refractory,
        method=written.method,
        namespace=dict(arrays),
    )
    for state, value in written.start.items():
        setattr(group, state, value)
    return group


def compared(exact: Spikes, found: Spikes, dt: float) -> Record:
    """How far spikes are apart at most, in steps of Brian2, or what differs otherwise.

    Parameters
    ----------
    exact, found : dict
        Of the engine, and of Brian2.
    dt : float
    """
    late = early = 0.0
    for p, trains in exact.items():
        counts, others = [len(t) for t in trains], [len(t) for t in found[p]]
        if counts != others:
            return {"other": f"{p}: the engine has {counts} spikes, Brian2 {others}"}
        for one, other in zip(trains, found[p], strict=True):
            late = max(late, float((other - one).max(initial=0.0)) / dt)
            early = max(early, float((one - other).max(initial=0.0)) / dt)
    return {"late": late, "early": early}


# --- judging ----------------------------------------------------------------------------------------------------------


def failures(results: Mapping[str, Any]) -> list[str]:
    """What is not as it should be, a line each."""
    lines = []
    for r in results["models"]:
        if "error" in r:
            lines.append(f"{r['model']}: {r['error']}")
            continue
        if max(max(n) for n in r["spikes"].values()) < 2:
            lines.append(f"{r['model']}: no neuron spikes twice")
        for run in r["runs"]:
            where = f"{r['model']}, {_by(run)} at {run['dt'] * 1e6:g} us"
            if "other" in run:
                lines.append(f"{where}: {run['other']}")
                continue
            most = MANY.get(r["model"], MOST)
            bounds = {"late": most, "early": max(most, run.get("shorter", 0.0))}
            # not max: NaN is beyond every bound
            lines += [
                f"{where}: a spike {run[way]:.1f} steps {way}" for way, n in bounds.items() if not run[way] <= n
            ]
            if "peak" in run and not run["peak"] <= most * run["dt"] / PEAK:
                lines.append(f"{where}: a largest potential {run['peak']:.0e} from the engine's")
    return lines


def _by(run: Mapping[str, Any]) -> str:
    return "by hand" if run["by"] == "hand" else "plain groups"


# --- the page ---------------------------------------------------------------------------------------------------------


def page(results: Mapping[str, Any]) -> str:
    """The table as Markdown.

    Parameters
    ----------
    results : mapping
        As in ``brian.json``.
    """
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    wrong = failures(results)
    columns = [f"{dt * 1e6:g} µs" for dt in STEPS] + [f"by hand, {STEPS[-1] * 1e6:g} µs"]
    lines = [
        "# Spike times of Brian2 and of the engine",
        "",
        f"<!-- written by `{results['command']}` -->",
        "",
        f"{results['date']}, `{results['command']}`; {versions}. Numbers: [results/brian.json](results/brian.json).",
        "",
        *_explained().splitlines(),
        "",
        f"**{'Everything passes.' if not wrong else f'{len(wrong)} of these do not pass:'}**",
        *([""] if wrong else []),
        *(f"* {line}" for line in wrong),
        "",
        f"| model | spikes, hidden · output | integrated by | {' | '.join(columns)} |",
        "|---|--:|---|" + "--:|" * len(columns),
        *(_line(r) for r in results["models"]),
    ]
    if missing := [n for n in models() if n not in {r["model"] for r in results["models"]}]:
        lines += ["", f"Not measured yet: {', '.join(missing)}."]
    early = [(r["model"], run) for r in results["models"] for run in r.get("runs", []) if "shorter" in run]
    if early:
        lines += ["", "Earlier spikes, and how much earlier the engine's own are with periods of n - 1 steps:", ""]
        lines += [
            f"* {name}, {_by(run)} at {run['dt'] * 1e6:g} µs: {run['early']:.1f} steps, {run['shorter']:.1f} steps"
            for name, run in early
        ]
    silent = [(r["model"], run) for r in results["models"] for run in r.get("runs", []) if "peak" in run]
    if silent:
        lines += ["", "Without a threshold, the largest potential of the output instead, relative:", ""]
        lines += [f"* {name}, {_by(run)} at {run['dt'] * 1e6:g} µs: {run['peak']:.0e}" for name, run in silent]
    return "\n".join(lines) + "\n"


def _explained() -> str:
    many = "".join(f", {n:g} of {m}" for m, n in MANY.items())
    return f"""Brian2 itself, on its grid, against the event engine, which has none. Each model is put in the network of
[gradients.md](gradients.md): four sources, three hidden neurons that a sampled current drives as well, two output
neurons, a delay for each synapse. Input spikes and delays are multiples of {GRID * 1e6:g} µs, which every step
meets, so that what remains is Brian2's own error. It runs the groups that `neuron_group` and `synapses` make of the
file ("integrated by" is the method that these choose, hidden · output) and, for {len(BY_HAND)} models, equations
that the script has written by hand.

Both must have the same number of spikes, of every neuron. A cell has how much later · earlier than the engine's a
spike of Brian2 is at most, **in steps**; the same number of steps at all step sizes means an error that shrinks as
the step. Up to {MOST:g} steps pass, which is declared and not derived{many}; earlier spikes also
pass if refractory periods of n - 1 steps make the engine's own as early (below). Where the error comes from:

* Brian2 tests thresholds at the end of a step, so that a spike is up to one step late, and so are its reset, and what
  follows from it at other neurons: later spikes add that up.
* A refractory period of n steps begins when the spike is recorded, a step before its reset is felt: the state is held
  for n - 1 steps, and what follows may be early. A period that is no multiple of the step is rounded to one: 3.75 ms
  of glif1 are 937 steps of 4 µs.
* What Brian2 records at t is the state that it reaches at t + dt, and what is due at t takes effect then. Both are
  counted here: input spikes are given a step earlier, and output spikes are taken for a step later.
* What integration adds is smaller, but where a spike runs away within a few steps, and in hill_tononi, whose current
  after a spike lasts while c > 0. Counted down by 2000 steps of 1 µs, c ends at 5e-14 by rounding; the middle of rk2's
  next step is below 0, so that c stays there, and the first half of each step has the current."""


def _line(r: Record) -> str:
    if "error" in r:
        return f"| {r['model']} | **{r['error'].replace('|', '/')}** |" + " |" * (len(STEPS) + 2)
    cells = []
    for by, dt in [*(("plain", dt) for dt in STEPS), ("hand", STEPS[-1])]:
        run = next((x for x in r["runs"] if x["by"] == by and np.isclose(x["dt"], dt)), None)
        cells.append("" if run is None else run.get("other") or f"{run['late']:.1f} · {run['early']:.1f}")
    counts = " · ".join(" ".join(map(str, n)) for n in r["spikes"].values())
    return f"| {r['model']} | {counts} | {' · '.join(r['methods'].values())} | {' | '.join(cells)} |"


# --- running ----------------------------------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> int:
    """Measure, write results and page; return the exit status."""
    options = scripts.table_options(
        "brian",
        __doc__,
        arguments,
        quick="one linear and one nonlinear neuron",
        docs=Path(__file__).parents[1] / "docs",
        row="MODEL",
        missing=True,
    )
    file = scripts.saved(options, "results/brian.json")
    out = options.out / "results" / "brian.json"
    if file is None:
        for results in _measured(options, arguments):
            write_rounded(out, results)
    results = read_json(file or out, "results file", "models", "versions", "command", "date")
    with atomic_file(options.out / "brian.md", "page") as opened:
        opened.write(page(results).encode())
    wrong = failures(results)
    for line in wrong:
        print(f"FAILS: {line}")
    print(options.out / "brian.md")
    return 1 if wrong else 0


def models() -> list[str]:
    """All that the table has a row of."""
    return [e.name for e in catalogue() if e.kind == "neuron"] + list(COMPOSITIONS)


def _measured(options: argparse.Namespace, arguments: list[str] | None) -> Iterator[Record]:
    """Results of what is asked for, with those of the rest of an earlier table, anew with each that is there."""
    every, records = models(), {}
    wanted, command = every, scripts.command("brian_table", arguments)
    if options.quick:
        wanted = ["lif", "adex"]
    for name in options.only or ():
        if name not in every:
            raise ValueError(f"--only: the table has no {name!r}; it has {', '.join(every)}")
    if options.only or options.missing:
        earlier = read_json(options.out / "results" / "brian.json", "results file", "models", "command")
        records, command = {r["model"]: r for r in earlier["models"]}, earlier["command"]
        wanted = options.only or [n for n in every if n not in records]
    with scripts.executor(options) as executor:
        for record in map(measure, wanted) if executor is None else executor.map(measure, wanted):
            print(record["model"], record.get("error", "done"), flush=True)
            records[record["model"]] = record
            yield {
                "command": command,
                "date": datetime.date.today().isoformat(),
                "versions": {"Python": platform.python_version()}
                | {p: importlib.metadata.version(p) for p in ("snnmodels", "numpy", "brian2")},
                "models": [records[n] for n in every if n in records],
            }


if __name__ == "__main__":
    scripts.run(main)
