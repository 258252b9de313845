"""A page for every neuron of the library, and one for its synapses and one for its mechanisms: docs/models.

    python scripts/model_pages.py --processes 2         # simulate every neuron, draw, write all pages
    python scripts/model_pages.py --only lif adex       # simulate and draw these again, write all pages
    python scripts/model_pages.py --redraw              # the pages again, from docs/results/responses.json

Pages come from the templates; only the responses are simulated, by the event engine. A C++ compiler is needed.
"""

from __future__ import annotations

from snnmodels.studies import scripts  # first: it sets the number of NumPy's threads

# isort: split

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import sympy as sp
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from snnmodels.files import atomic_file, folder_for, read_json, write_rounded
from snnmodels.gradients import Simulation
from snnmodels.losses.observables import Observable, Samples, SpikeTimes
from snnmodels.parallel import run_all
from snnmodels.plots import PALETTE
from snnmodels.reports import added_equations, equations
from snnmodels.studies.plots import save_figure
from snnmodels.symbolic import Adjoint, HybridSystem, hybrid_system
from snnmodels.templates import TemplateError, catalogue, load_model
from snnmodels.templates.groups import CurrentInput, Drive, Population
from snnmodels.templates.library import Entry, read
from snnmodels.templates.model import DRIVE, Model
from snnmodels.templates.network import Network
from snnmodels.templates.schema import MechanismFile, NeuronFile, SynapseFile

Record = dict[str, Any]

DURATION, ONSET = 0.5, 0.02  # of a trial, and when the current starts; seconds
# Trials of neurons that need more time to show what they do, or less
TRIALS = {
    "hill_tononi": 3.0,  # sodium that came in is lost in 1.25 s
    "hindmarsh_rose": 2.0,  # several bursts
    "partial_refractory_lif": 0.06,  # periods after a spike
    "resonate_and_fire": 0.1,  # about 16 turns
    "terman_rubin_gpe": 1.4,  # without input, the pause between two bursts
}
SAMPLE = 0.1e-3  # between the points of a drawn state
BELOW, ABOVE = 0.9, 1.5  # the drawn currents, in rheobases and in least currents of repetitive firing
CURRENTS = (1.02, 1.1, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0)  # those of the f-I curve, in the latter
NEAR = {
    "resonate_and_fire": CURRENTS[0],  # another than `ABOVE`: it would draw a spike every 0.5 ms
    "partial_refractory_lif": 8.0,  # so far above that the potential is at threshold while spikes are still blocked
}
FURTHER = {"partial_refractory_lif": (5.0, 8.0, 12.0)}  # more of the f-I curve, up to where it is another one
SEEN = {
    "partial_refractory_lif": "At the higher step the potential passes the threshold while spikes are still blocked; "
    "the neuron spikes when `t_tot` is over, and no rate is higher than its inverse."
}
REPEATED = 4  # spikes from which on a neuron fires repetitively, if it goes on
STILL = 1e-9  # a threshold that moves less, relative, does so by rounding
LONG = 1.0  # seconds; lines of longer trials are thinner
SILENT = 2.0  # firing has ended where silence follows that is longer than so many of the longest intervals
INTEGRATES = 1.2  # by how much the least current grows with half of the time, where there is no rheobase
LARGEST = 1000.0  # the highest current that is tried, in typical inputs
HALVINGS = 12  # of the range in which the rheobase lies
HOSTS = ("lif", "lif_current")  # the neurons in which synapses and mechanisms are shown, if they fit
DPI = 80
SETTLED = 0.02  # the last two intervals differ less than this where firing is steady

ROOT = Path(__file__).resolve().parents[1]
PREFIXES = {-12: "p", -9: "n", -6: "µ", -3: "m", 0: ""}
LETTERS = {"volt": "V", "amp": "A", "siemens": "S", "amp/metre**2": "A/m²", "volt/second": "V/s", "1/second": "1/s"}


# --- simulation -------------------------------------------------------------------------------------------------------


class Cell:
    """One neuron, its current from `ONSET` on, and what is seen of it.

    Parameters
    ----------
    name : str
        Of a neuron of the library.
    """

    def __init__(self, name: str) -> None:
        self.model = load_model(name)
        self.input = next(iter(self.model.inputs.values()))
        self.state = drawn_state(self.model)
        self.duration = TRIALS.get(name, DURATION)
        self._threshold, read = moving_threshold(self.model, self.state)
        current = CurrentInput("step", 1, 2 * self.duration, "hold", start=ONSET, unit=self.input.unit)
        self.network = Network(
            "one",
            (),
            (Population("cell", 1, self.model),),
            (),
            "cell",
            self.duration,
            currents=(current,),
            drives=(Drive("gain", "step", "cell", np.ones((1, 1)), input=self.input.name),),
        )
        self._seen: list[Observable] = [Samples(variable=x, interval=SAMPLE) for x in (self.state, *read)]
        if self.model.spiking:
            self._seen.append(SpikeTimes())
        options: Any = {"target": "cpp_standalone", "batch_size": 1, "input_gradients": False}
        self._simulation = Simulation(self.network, self._seen, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._simulation.close()

    def run(self, amplitude: float) -> tuple[np.ndarray, np.ndarray | None, list[float]]:
        """The drawn state, the threshold at these times and the spike times of one trial, all in SI units."""
        found = self._simulation.forward({"step": np.full((1, 1, 1), amplitude)}, gradient=False)
        if not self.model.spiking:
            return found[0][0, 0], None, []
        *states, times = (np.asarray(x)[0, 0] for x in found)
        threshold = None if self._threshold is None else self._threshold(*states[1:]) * np.ones(len(states[0]))
        return states[0], threshold, [float(t) for t in times[np.isfinite(times)]]

    def spikes(self, amplitude: float) -> list[float]:
        """Spike times of one trial, in seconds."""
        return self.run(amplitude)[2]

    def goes_on(self, times: Sequence[float]) -> bool:
        """Whether a neuron that spiked at these times has not fallen silent by the end of the trial."""
        return len(times) > 1 and self.duration - times[-1] <= SILENT * float(np.diff(times).max())


def drawn_state(model: Model) -> str:
    """The state that the threshold compares, or the first."""
    left = (model.threshold or "").partition(">")[0].strip()
    return left if left in model.state_names else model.states[0].name


def moving_threshold(model: Model, state: str) -> tuple[Callable[..., Any] | None, list[str]]:
    """What a state is compared with, as a function of other states, and the names of these.

    No function, if the neuron has no threshold, or one that can't be drawn beside the state.
    """
    system = hybrid_system(model)
    if system.g is None:
        return None, []
    compared = next(x for x in system.variables if x.name == state)
    threshold = (compared - system.g).subs(system.defaults)
    read = sorted(threshold.free_symbols, key=str)
    if compared in read:
        return None, []
    return sp.lambdify(read, threshold), [x.name for x in read]


def respond(name: str) -> Record:
    """Rheobase, f-I curve and step responses of a neuron, in SI units.

    Returns
    -------
    dict
        ``rheobase``: the least step that makes a spike within the trial; None where the neuron has no threshold, fires
        without input, or never fires. ``integrates``: whether that is set by the length of the trial alone.
        ``repetitive``: the least step that makes it fire until the end of the trial, None where none does.
    """
    with Cell(name) as cell:
        return _respond(cell)


def _respond(cell: Cell) -> Record:
    typical = cell.input.scale or 1.0
    record: Record = {
        "neuron": cell.model.name.partition("+")[0],
        "input": cell.input.name,
        "unit": cell.input.unit,
        "state": cell.state,
        "duration": cell.duration,
    }
    record |= {"rheobase": None, "integrates": False, "repetitive": None, "pacemaker": False, "rates": []}
    if not cell.model.spiking:
        return record | {"steps": list(_steps(cell, [0.5 * typical, typical]))}
    record["pacemaker"] = bool(cell.spikes(0.0))
    if record["pacemaker"]:
        currents = [c * typical for c in (0.0, 0.25, 0.5, 0.75, 1.0, 1.5)]
        drawn = [0.0, typical]
    else:
        rheobase = _least(cell, typical, lambda times: len(times) >= 1)
        if rheobase is None:
            return record | {"steps": list(_steps(cell, [typical]))}
        soon = _least(cell, typical, lambda times: bool(times) and times[0] < (ONSET + cell.duration) / 2)
        record["integrates"] = soon is None or soon > INTEGRATES * rheobase
        repetitive = _least(cell, typical, lambda times: len(times) >= REPEATED and cell.goes_on(times))
        record |= {"rheobase": rheobase, "repetitive": repetitive}
        multiples = (*CURRENTS, *FURTHER.get(record["neuron"], ()))
        currents = [] if repetitive is None else [c * repetitive for c in multiples]
        drawn = [BELOW * rheobase, NEAR.get(record["neuron"], ABOVE) * (repetitive or rheobase)]
    for current in currents:
        times = [t for t in cell.spikes(current) if t > ONSET]
        record["rates"].append({"current": current, **_rates(times, cell.goes_on(times))})
    return record | {"steps": list(_steps(cell, drawn))}


def _least(cell: Cell, typical: float, enough: Callable[[Sequence[float]], bool]) -> float | None:
    """The least constant current with enough spikes within the trial, by doubling and bisection."""
    low, high = 0.0, typical / 16
    while not enough(cell.spikes(high)):
        low, high = high, 2 * high
        if high > LARGEST * typical:
            return None
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if enough(cell.spikes(middle)) else (middle, high)
    return high


def _rates(times: Sequence[float], goes_on: bool) -> Record:
    """The rate of the first interval and of the last, in hertz, and whether the last ones are alike.

    The last is 0 where firing has ended.
    """
    intervals = np.diff(times)
    if not len(intervals):
        return {"spikes": len(times), "first": None, "last": None, "steady": False}
    steady = goes_on and len(intervals) > 1 and abs(intervals[-1] / intervals[-2] - 1) < SETTLED
    last = float(1 / intervals[-1]) if goes_on else 0.0
    return {"spikes": len(times), "first": float(1 / intervals[0]), "last": last, "steady": bool(steady)}


def _steps(cell: Cell, currents: Sequence[float]) -> Iterator[Record]:
    for current in currents:
        values, threshold, spikes = cell.run(current)
        yield {"current": current, "values": values, "threshold": threshold, "spikes": spikes}


# --- figures ----------------------------------------------------------------------------------------------------------


def in_words(unit: str, size: float) -> tuple[float, str]:
    """The factor with which a value of this size is easy to read, and what its unit is called then."""
    if unit not in LETTERS:
        return 1.0, "" if unit == "1" else unit
    exponent = 3 * int(np.floor(np.log10(size) / 3 + 1e-9)) if size > 0 else 0
    exponent = min(max(exponent, min(PREFIXES)), 0)
    return 10.0**-exponent, PREFIXES[exponent] + LETTERS[unit]


def _label(name: str, unit: str) -> str:
    return f"{name} ({unit})" if unit else name


def draw(record: Record) -> Figure:
    """The response to steps, and the f-I curve where there is one."""
    curve = bool(record["rates"])
    figure = Figure(figsize=(9, 2.9), layout="constrained")
    axes = figure.subplots(1, 2, width_ratios=[2, 1], squeeze=False)[0]
    if not curve:
        axes[1].axis("off")
    largest = max([abs(s["current"]) for s in record["steps"]] + [abs(r["current"]) for r in record["rates"]])
    factor, unit = in_words(record["unit"], largest)
    _draw_steps(axes[0], record, factor, unit)
    if curve:
        _draw_rates(axes[1], record, factor, unit)
    return figure


def _draw_steps(axes: Axes, record: Record, factor: float, unit: str) -> None:
    model = load_model(record["neuron"])
    state = next(s for s in model.states if s.name == record["state"])
    scale, state_unit = in_words(state.unit, max(float(np.abs(s["values"]).max()) for s in record["steps"]))
    jumps = any(a.variable == state.name for a in model.reset)
    moved = {a.variable for a in model.reset} & set(moving_threshold(model, state.name)[1])
    name = (model.threshold or "").partition(">")[2].strip()
    width = 1.0 if record["duration"] <= LONG else 0.5
    for k, step in enumerate(record["steps"]):
        times = 1e3 * SAMPLE * np.arange(1, len(step["values"]) + 1)
        values = scale * np.asarray(step["values"])
        label = f"{factor * step['current']:.3g} {unit}".strip()
        spikes = 1e3 * np.asarray(step["spikes"])
        after = np.searchsorted(times, spikes)
        after = after[(after > 0) & (after < len(times))]
        threshold = None if step["threshold"] is None else scale * np.asarray(step["threshold"])
        if threshold is not None:  # one line for all steps, if it never moves
            moves = np.ptp(threshold) > STILL * np.abs(threshold).max()
            broken = np.insert(threshold, after, np.nan) if moved else threshold
            axes.plot(np.insert(times, after, times[after]) if moved else times, broken, ls="--", lw=0.8, zorder=3 - k,
                      color=PALETTE[k] if moves else "#999999", alpha=0.7, label="_")  # fmt: skip
        if jumps:  # a break in the line at every reset, and a stroke from the threshold to the first value after
            begin = values[after - 1] if threshold is None else threshold[after - 1]
            axes.vlines(times[after], begin, values[after], color=PALETTE[k], lw=0.8 * width)
            times, values = np.insert(times, after, times[after]), np.insert(values, after, np.nan)
        axes.plot(times, values, color=PALETTE[k], lw=width, label=label, zorder=2 - k)
        axes.plot(spikes, np.full(len(spikes), 1.03 + 0.04 * k), "|", color=PALETTE[k], ms=5,
                  transform=axes.get_xaxis_transform(), clip_on=False)  # fmt: skip
    axes.axvline(1e3 * ONSET, color="#999999", lw=0.8, ls=":")
    if record["steps"][0]["threshold"] is not None:
        axes.plot([], [], color="#999999", lw=0.8, ls="--", label=f"threshold: {name}")
    axes.set(xlabel="time (ms)", ylabel=_label(state.name, state_unit), xlim=(0, 1e3 * record["duration"]))
    _legend(axes)


def _legend(axes: Axes) -> None:
    """In a row above the axes and the ticks of spikes, where no line is."""
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.07), ncols=4, fontsize=7, frameon=False, columnspacing=1.2)


def _draw_rates(axes: Axes, record: Record, factor: float, unit: str) -> None:
    currents = np.array([factor * r["current"] for r in record["rates"]])
    for key, colour, label in (("first", PALETTE[1], "first interval"), ("last", PALETTE[0], "last")):
        rates = np.array([np.nan if r[key] is None else r[key] for r in record["rates"]], dtype=float)
        axes.plot(currents, rates, "o-", color=colour, ms=3.5, lw=1, label=label)
    if record["rheobase"] is not None and not record["integrates"]:
        axes.axvline(factor * record["rheobase"], color="#999999", lw=0.8, ls=":", label="rheobase")
    axes.set(xlabel=_label(record["input"], unit), ylabel="1/interval (Hz)", ylim=(0, None))
    _legend(axes)


# --- pages ------------------------------------------------------------------------------------------------------------


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([c.replace("|", r"\|") for c in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _body(of: HybridSystem | Adjoint) -> str:
    """Rendered equations, without their heading."""
    return equations(of)._repr_markdown_().partition("\n")[2].strip()


def page(name: str, records: Mapping[str, Record], gradients: Mapping[str, Record]) -> str:
    """The page of a neuron.

    Parameters
    ----------
    name : str
    records : mapping of str to dict
        By neuron, what `respond` found.
    gradients : mapping of str to dict
        By neuron, its entry in the results of ``scripts/gradient_table.py``.
    """
    model = load_model(name)
    system = hybrid_system(model)
    template = read(next(e.path for e in _entries("neuron") if e.name == name))
    assert isinstance(template, NeuronFile)
    states = [(f"`{s.name}`", s.unit, f"`{s.initial}`", s.description) for s in model.states]
    parameters = [(f"`{p.name}`", f"`{p.default}`", p.unit, p.description) for p in model.parameters.values()]
    blocks = [
        f"# {name}: {template.title}",
        "<!-- written by `python scripts/model_pages.py` -->",
        f"[`equations/neurons/{name}.toml`](../../equations/neurons/{name}.toml), with its default synapse "
        f"[`{template.default_synapse}`](synapses.md#{template.default_synapse}).",
        template.description.strip(),
        "## Equations",
        _body(system),
        "States:",
        _table(("state", "unit", "starts at", ""), states),
        "## Parameters",
        _table(("parameter", "default", "unit", ""), parameters),
        "## Response",
        _response(name, records.get(name)),
        *_pseudospikes(model),
        "## Adjoint",
        f"`snnmodels derive {name}` derives it step by step.",
        _body(Adjoint.derive(system)),
        "## Checked against",
        _checked(name, gradients.get(name)),
        "## References",
        "\n".join(f"* {r}" for r in template.references),
    ]
    return "\n\n".join(blocks) + "\n"


def _pseudospikes(model: Model) -> list[str]:
    declared = model.pseudospike
    if declared is None:
        return []
    constant = f"{declared.drive:g} {model.inputs[declared.input].unit}".removesuffix(" 1")
    return [
        "## Pseudospikes",
        f"For a loss with [pseudospikes](../eventprop.md#pseudospikes): with {declared.input} = `{DRIVE}` from the end "
        f"of a trial on, by default {constant} (where `{'`, `'.join(declared.constraints)}`), the next spike comes "
        "after",
        f"```\n{declared.time}\n```",
    ]


def _response(name: str, record: Record | None) -> str:
    if record is None:
        return f"Not simulated yet: `python scripts/model_pages.py --only {name}`."
    picture = f"![Response of {name} to current steps](../figures/models/{name}.png)"
    model = load_model(name)
    what = (
        f"The input {record['input']} steps from 0 to the values in the legend at {1e3 * ONSET:g} ms; the state is "
        f"drawn every {1e3 * SAMPLE:g} ms; ticks above are spikes"
    )
    if moving_threshold(model, record["state"])[1]:
        what += "; the dashed lines are the threshold, in the colours of the steps"
    if not model.spiking:
        return f"{picture}\n\n{what}. The neuron has no threshold, so there is no f-I curve."
    within = f"within {1e3 * (record['duration'] - ONSET):g} ms"
    if record["pacemaker"]:
        start = "It spikes without input, from where it starts."
    elif record["rheobase"] is None:
        return f"{picture}\n\n{what}. No current up to {LARGEST:g} typical inputs makes it spike {within}."
    elif record["integrates"]:
        start = f"Any input above 0 makes it spike in the end; {within} the least is set by that time alone."
    else:
        start = f"The least step that makes a spike {within} is {_in_words(record, 'rheobase')}."
    if not record["rates"]:
        return (
            f"{picture}\n\n{what}. {start} No step makes {REPEATED} spikes and more until the "
            f"end of a trial of {1e3 * record['duration']:g} ms, so there is no f-I curve."
        )
    later = record["repetitive"] is not None and record["repetitive"] > 1.001 * record["rheobase"]
    if later and not record["integrates"]:
        start += f" It goes on firing until the end of a trial from {_in_words(record, 'repetitive')} on."
    fired = [r for r in record["rates"] if r["last"] is not None]
    settled = sum(r["steady"] for r in fired)
    steady = (
        f"The last two intervals differ by less than {100 * SETTLED:g} % at {settled} of the {len(fired)} currents "
        "with intervals"
    )
    if 2 * settled < len(fired):
        steady += ", so that this is no steady f-I curve: intervals still change, or spikes come in bursts"
    ended = sum(r["last"] == 0 for r in fired)
    if ended:
        steady += f". At {ended} firing ends within the trial, and the last rate is drawn as 0"
    return (
        f"{picture}\n\n{what}. {start} Right: the inverse of the first and of the last interval of a trial of "
        f"{1e3 * record['duration']:g} ms. {steady}." + (f" {SEEN[name]}" if name in SEEN else "")
    )


def _in_words(record: Record, key: str) -> str:
    """A current with its unit."""
    factor, unit = in_words(record["unit"], record[key])
    return f"{factor * record[key]:.4g} {unit}".strip()


def _checked(name: str, row: Record | None) -> str:
    if row is None:
        return "The neuron is not in the [table of gradients](../gradients.md) yet."
    numbers = {key: [r[key] for r in row["rows"] if r[key] is not None] for key in ("oracle", "differences")}
    parts = [
        f"{label} by at most {max(numbers[key]):.0e}"
        for key, label in (("oracle", "from the independent oracle"), ("differences", "from central differences"))
        if numbers[key]
    ]
    return f"Its gradients differ {' and '.join(parts)} ([table of gradients](../gradients.md))."


def parts_page(kind: str, title: str) -> str:
    """The page of all synapses or of all mechanisms."""
    blocks = [f"# {title}", "<!-- written by `python scripts/model_pages.py` -->"]
    blocks += [
        "Equations are those that each brings to a neuron, or changes there. `unit(v)` is the unit that the neuron "
        "gives to `v`, `scale(v)` the scale."
    ]
    for entry in _entries(kind):
        blocks += [f"## {entry.name}", *_part(entry)]
    return "\n\n".join(blocks) + "\n"


def _part(entry: Entry) -> Iterator[str]:
    """The section of a synapse or mechanism."""
    template = read(entry.path)
    assert isinstance(template, SynapseFile | MechanismFile)
    folder = entry.path.parent.name
    yield (
        f"**{template.title}**, [`equations/{folder}/{entry.name}.toml`](../../equations/{folder}/{entry.name}.toml)."
    )
    yield template.description.strip()
    names, required, weight = {*template.states, *template.parameters}, [], None
    if isinstance(template, SynapseFile):
        weight = template.weight
        names.add(weight.name)
    else:
        required = template.requires
    neuron = next(n for n in (*HOSTS, *(e.name for e in _entries("neuron"))) if _fits(n, *required, entry.name))
    without = None if weight else hybrid_system(load_model(neuron, *required))
    system = hybrid_system(load_model(neuron, *required, entry.name))
    added = added_equations(system, names, without)._repr_markdown_().strip()
    beside = f" with {' and '.join(f'`{r}`' for r in required)}" if required else ""
    yield f"In `{neuron}`{beside}:"
    yield added.replace("Between events the state $x$ follows\n\n", "")
    if weight:
        yield f"The weight `{weight.name}`, in `{weight.unit}`: {weight.description}."
    if template.states:
        yield _table(("state", ""), [(f"`{name}`", state.description) for name, state in template.states.items()])
    if template.parameters:
        rows = [(f"`{n}`", f"`{p.default}`", f"`{p.unit}`", p.description) for n, p in template.parameters.items()]
        yield _table(("parameter", "default", "unit", ""), rows)
    yield "\n".join(f"* {r}" for r in template.references)


def _fits(*parts: str) -> bool:
    """Whether components go together."""
    try:
        load_model(*parts)
    except TemplateError:
        return False
    return True


def index(records: Mapping[str, Record]) -> str:
    """The list of all pages."""
    rows = []
    for e in _entries("neuron"):
        picture = f'<img src="../figures/models/{e.name}.png" width="480">' if e.name in records else "not yet"
        rows.append((f"[{e.name}]({e.name}.md)", e.title, picture))
    return (
        "# Models of the library\n\n<!-- written by `python scripts/model_pages.py` -->\n\n"
        "Also [synapses](synapses.md) and [mechanisms](mechanisms.md).\n\n"
        f"{_table(('neuron', 'title', 'response to current steps, and rates'), rows)}\n"
    )


def _entries(kind: str) -> list[Entry]:
    return [e for e in catalogue() if e.kind == kind]


def pages(records: Mapping[str, Record], gradients: Mapping[str, Record]) -> Iterator[tuple[str, str]]:
    """File names and texts of all pages."""
    yield "README.md", index(records)
    yield "synapses.md", parts_page("synapse", "Synapses")
    yield "mechanisms.md", parts_page("mechanism", "Mechanisms")
    for entry in _entries("neuron"):
        yield f"{entry.name}.md", page(entry.name, records, gradients)


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate, draw, and write the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="simulate these neurons alone")
    parser.add_argument("--redraw", action="store_true", help="simulate nothing, write the pages")
    scripts.several(parser, "neurons simulated at a time")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", metavar="DIR", help="default: docs")
    given = parser.parse_args(arguments)
    known = [e.name for e in _entries("neuron")]
    for name in given.only or ():
        if name not in known:
            raise ValueError(f"--only {name}: the library has no such neuron")
    file = given.out / "results" / "responses.json"
    records = load_responses(file)
    if not given.redraw:
        folder_for(file.parent, "folder of results")

        def keep(name: str, record: Record) -> None:
            save_figure(draw(record), given.out / "figures" / "models" / f"{name}.png", dpi=DPI)
            record["steps"] = [{k: s[k] for k in ("current", "spikes")} for s in record["steps"]]
            records[name] = record
            write_rounded(file, {"neurons": [records[name] for name in sorted(records)]})
            print(name, flush=True)

        with scripts.executor(given) as executor:
            run_all(respond, given.only or known, executor, each=keep)
    records = load_responses(file)  # as written, so that pages do not depend on who simulates
    gradients = load_gradients()
    folder_for(given.out / "models", "folder of pages")
    for name, text in pages(records, gradients):
        with atomic_file(given.out / "models" / name, "page") as opened:
            opened.write(text.encode("utf-8"))


def load_responses(file: Path) -> dict[str, Record]:
    """By neuron, what was simulated; nothing where nothing was."""
    if not file.is_file():
        return {}
    return {r["neuron"]: r for r in read_json(file, "results file", "neurons")["neurons"]}


def load_gradients() -> dict[str, Record]:
    """By neuron, its entry in the results of ``scripts/gradient_table.py``."""
    found = read_json(ROOT / "docs" / "results" / "gradients.json", "results file", "neurons", "targets")
    return {r["neuron"]: r for r in found["neurons"]}


if __name__ == "__main__":
    scripts.run(main)
