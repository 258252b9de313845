"""Table of gradients: every neuron of the library, beside central differences and beside the oracle.

    python scripts/gradient_table.py --quick            # one linear and one nonlinear neuron: a minute or two
    python scripts/gradient_table.py --processes 2      # docs/results/gradients.json and docs/gradients.md
    python scripts/gradient_table.py --only lif adex    # these again, in the table that is there
    python scripts/gradient_table.py --redraw           # the page again, from the results

The exit status is 1 if a gradient is not what it should be, or nothing can tell. A C++ compiler is needed.
"""

from __future__ import annotations

from snnmodels.studies import scripts  # first: it sets the number of NumPy's threads

# isort: split

import argparse
import datetime
import importlib.metadata
import platform
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sympy as sp

from snnmodels.files import atomic_file, read_json, write_rounded
from snnmodels.gradients import GradientReport, Probe, check_gradient, probe
from snnmodels.gradients.gradient_report import FLOOR
from snnmodels.parallel import run_all
from snnmodels.studies.targets import FEATURES, target_difference
from snnmodels.symbolic.declaration import hybrid_system
from snnmodels.targets.devices import quiet, require_compiler
from snnmodels.templates import catalogue, load_model
from snnmodels.templates.expressions import free_names
from snnmodels.templates.model import Accuracy, Model

Record = dict[str, Any]

KINDS = ("weights", "delays", "input times", "currents", "parameters", "initial states")
DIFFERENCES = 1e-6  # what a gradient may be from central differences
# And from the oracle, and spike times in seconds, of a neuron whose file doesn't say, by whether it is linear
UNDECLARED = {True: Accuracy(1e-12, 1e-9), False: Accuracy(1e-9, 1e-6)}
TARGETS = 1e-12  # and one target from the other
ELEMENTS = {True: 6, False: 2}  # of a group, that are changed for differences


# --- measuring --------------------------------------------------------------------------------------------------------


def measure(name: str) -> Record:
    """Check all gradients of one neuron of the library, with its default synapse.

    Parameters
    ----------
    name : str
        Of its file.

    Returns
    -------
    dict
        ``neuron``, ``linear``, ``rows`` (one for each array of gradients), ``undefined`` (by kind, why there is no
        row), ``loss``, ``spikes``, ``ties``, ``late`` (spike times from the oracle's, in milliseconds); or ``neuron``
        and ``error``, if there is no result.
    """
    try:
        model = with_starts(name)
        linear = hybrid_system(model).is_linear
        driven = [i for i in model.inputs.values() if not i.read_at]
        undefined = {}
        if not driven:
            read = "; ".join(f"the {i.read_at} reads {i.name}" for i in model.inputs.values())
            undefined["currents"] = read or "the neuron has no input"
        with quiet():
            given = _network(model, linear, bool(driven))
            report = check_gradient(given, target="cpp_standalone", tolerance=DIFFERENCES, elements=ELEMENTS[linear])
    except (ValueError, RuntimeError) as error:
        return {"neuron": name, "error": f"{type(error).__name__}: {error}"}
    assert report.time_deviation is not None
    return {
        "neuron": name,
        "linear": linear,
        "undefined": undefined,
        "loss": report.loss,
        "spikes": dict(report.spikes),
        "ties": report.ties,
        "late": report.time_deviation * 1e3 if np.isfinite(report.time_deviation) else "other spikes",
        "rows": list(_rows(report, model, given, linear)),
    }


def _network(model: Model, linear: bool, currents: bool) -> Probe:
    """The network in which a model is checked."""
    return probe(model, trials=2 if linear else 1, delays=True, currents=currents, target="cpp_standalone")


def with_starts(name: str) -> Model:
    """A neuron of the library whose every state starts at a parameter of its own, ``v_0`` for ``v``.

    Parameters
    ----------
    name : str
        Of its file.
    """
    model = load_model(name)
    parts: list[str | Path] = [name]
    if "v" in model.state_names:
        parts.append("initial_potential")
    others = [s for s in model.states if s.name != "v"]
    if not others:
        return load_model(*parts)
    system = hybrid_system(model)
    defaults = {symbol: sp.Float(value) for symbol, value in system.defaults.items()}
    values = {str(x): float(e.xreplace(defaults)) for x, e in system.initial.items()}
    sized = {"v", *model.inputs}  # of which every neuron of the library says how large they are
    units = {x.name: x.unit for x in model.states} | {i.name: i.unit for i in model.inputs.values()}
    starts = {s.name: f"{s.name}_0" for s in others}
    starts |= {x: f"{name}_start" for x, name in starts.items() if name in model.parameters}
    with tempfile.TemporaryDirectory(prefix="gradient-table-") as folder:
        file = Path(folder) / "initial_states.toml"
        lines = [
            'kind = "mechanism"',
            'title = "Initial states"',
            'description = "Every state but v starts at a parameter of its own."',
            "[replace]",
            "initial = { " + ", ".join(f'{s.name} = "{starts[s.name]}"' for s in others) + " }",
            "[parameters]",
        ]
        for s in others:
            alike = [x for x, unit in units.items() if unit == s.unit and x in sized]
            size = f', scale = "scale({alike[0]})"' if alike and not values[s.name] else ""
            lines.append(
                f'{starts[s.name]} = {{ default = "initial({s.name})", unit = "unit({s.name})"{size}, '
                f'description = "{s.name} at time 0" }}'
            )
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return load_model(*parts, file)


def _rows(report: GradientReport, model: Model, given: Probe, linear: bool) -> Iterator[Record]:
    """What is kept of each array of gradients, with its failures and remarks in words."""
    for row in report.rows:
        kind, parameter = _kind(row.key, given, model)
        failures, remarks = [], []
        if row.oracle is None or not row.oracle <= (model.accuracy or UNDECLARED[linear]).gradient:
            failures.append(f"{row.oracle:.1e} from the oracle")
        told = row.resolved(report.tolerance)
        if told and not row.differences <= report.tolerance:
            failures.append(f"{row.differences:.1e} from differences, which resolve {row.resolution:.0e}")
        if not row.elements[0]:
            remarks.append("no element that differences could change")
        elif row.norm > 0 and row.differences == 0:
            remarks.append("differences compared elements whose gradient is 0, and nothing else")
        elif not told:
            remarks.append(f"differences resolve only {row.resolution:.0e}")
        if row.norm == 0:
            remarks.append(f"0, and for the oracle too: {_why_zero(model, parameter)}")
        elif row.absolute:
            remarks.append(f"changes the loss by {row.norm:.0e} of its own change only")
        yield {
            "key": row.key,
            "kind": kind,
            "elements": list(row.elements),
            "norm": row.norm,
            "oracle": row.oracle,
            "differences": row.differences if row.elements[0] else None,
            "resolution": row.resolution if row.elements[0] else None,
            "resolved": told,
            "failures": failures,
            "remarks": remarks,
        }


def _kind(key: str, given: Probe, model: Model) -> tuple[str, str]:
    """The column of an array of gradients, and the parameter that it is by, if it is."""
    group, _, name = key.partition(".")
    network = given.network
    if name in ("times", "samples"):
        return ("input times" if name == "times" else "currents"), ""
    if group in {q.name for q in network.projections}:
        return ("delays" if name == "delay" else "weights"), ""
    if group in {d.name for d in network.drives}:
        return "currents", ""
    starts = {s.initial for s in model.states}
    return ("initial states" if name in starts else "parameters"), name


def _why_zero(model: Model, parameter: str) -> str:
    """Who reads a parameter whose gradient is 0."""
    if not parameter:
        return "nothing that follows reaches the loss"
    sources: dict[str, Iterable[str]] = {
        "the equations": model.derivatives.values(),
        "the threshold": [side for side in (model.threshold or "").replace("<", ">").split(">") if side.strip()],
        "the reset": [a.expression for a in model.reset],
        "the refractory period": [model.refractory.duration] if model.refractory else [],
        "initial values": [s.initial for s in model.states],
        "arrivals": [a.expression for r in model.receptors.values() for a in r.on_pre],
    }
    readers = [who for who, texts in sources.items() if any(parameter in free_names(text) for text in texts)]
    if not readers:
        return "nothing reads it"
    verb = "reads" if len(readers) == 1 and not readers[0].endswith("s") else "read"
    return f"{' and '.join(readers)} alone {verb} it, and nothing that this changes reaches the loss here"


def compare(feature: str, name: str) -> Record:
    """Simulate a network of a model, with delays and currents, on both targets.

    Returns
    -------
    dict
        ``feature``, ``model``, ``linear``; ``loss``, ``times`` (seconds) and ``gradients``: how far one target is from
        the other, the first and last relative; ``worst``, the key of the last. Or ``feature``, ``model``, ``error``.
    """
    try:
        model = load_model(name)
        linear = hybrid_system(model).is_linear
        with quiet():
            given = _network(model, linear, any(not i.read_at for i in model.inputs.values()))
            found = target_difference(given, "numpy", "cpp_standalone")
    except (ValueError, RuntimeError) as error:
        return {"feature": feature, "model": name, "error": f"{type(error).__name__}: {error}"}
    if found is None:
        return {"feature": feature, "model": name, "error": "other spikes on one target than on the other"}
    numbers = {"loss": found.loss, "times": found.times, "gradients": found.gradients, "worst": found.worst}
    return {"feature": feature, "model": name, "linear": linear, **numbers}


# --- judging ----------------------------------------------------------------------------------------------------------


def failures(results: Mapping[str, Any]) -> list[str]:
    """What is not as it should be, a line each."""
    lines = []
    for r in results["neurons"]:
        if "error" in r:
            lines.append(f"{r['neuron']}: {r['error']}")
            continue
        late, declared = r["late"], _declared(r)
        if isinstance(late, str) or not late <= declared.spike_times * 1e3:
            lines.append(f"{r['neuron']}: spike times, {late} ms from the oracle's")
        lines += [f"{r['neuron']}: {row['key']}: {text}" for row in r["rows"] for text in row["failures"]]
        for kind in KINDS:
            if kind not in r["undefined"] and not any(row["kind"] == kind for row in r["rows"]):
                lines.append(f"{r['neuron']}: nothing was measured of {kind}")
    for r in results["targets"]:
        if "error" in r:
            lines.append(f"{r['model']}: {r['error']}")
        elif not max(r["loss"], r["gradients"]) <= TARGETS:
            lines.append(f"{r['model']}: NumPy and C++ are {max(r['loss'], r['gradients']):.1e} apart ({r['worst']})")
    return lines


def _declared(record: Record) -> Accuracy:
    """What the file of a neuron says that it is held to."""
    known = any(e.name == record["neuron"] for e in catalogue() if e.kind == "neuron")
    said = load_model(record["neuron"]).accuracy if known else None
    return said or UNDECLARED[record["linear"]]


# --- the page ---------------------------------------------------------------------------------------------------------


def page(results: Mapping[str, Any]) -> str:
    """The table as Markdown.

    Parameters
    ----------
    results : mapping
        As in ``gradients.json``.
    """
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    wrong = failures(results)
    lines = [
        "# Gradients of every neuron",
        "",
        f"<!-- written by `{results['command']}` -->",
        "",
        f"{results['date']}, `{results['command']}`; {versions}; compiled target, float64. Numbers by parameter:",
        "[results/gradients.json](results/gradients.json).",
        "",
        *_explained().splitlines(),
        "",
        f"**{'Everything passes.' if not wrong else f'{len(wrong)} of these do not pass:'}**",
        *([""] if wrong else []),
        *(f"* {line}" for line in wrong),
        "",
        f"| neuron | | {' | '.join(KINDS)} | spike times | declared |",
        "|---|---|" + "--:|" * (len(KINDS) + 2),
        *(_line(r) for r in results["neurons"]),
        "",
        "## What is zero, undefined or not resolved",
        "",
        "A gradient that is 0 in one population and not in the other is left out here.",
        "",
        *_notes(results["neurons"]),
        "",
        "## NumPy and C++",
        "",
        "The same networks on both targets: how far one is from the other, spike times in seconds, loss and gradients",
        f"relative (the worst array in norm). They pass within {TARGETS:.0e}.",
        "",
        "| feature | model | spike times | loss | gradients | worst |",
        "|---|---|--:|--:|--:|---|",
        *(
            f"| {r['feature']} | {r['model']} | **{r['error']}** | | | |"
            if "error" in r
            else f"| {r['feature']} | {r['model']} | {r['times']:.0e} | {r['loss']:.0e} | {r['gradients']:.0e} | "
            f"`{r['worst']}` |"
            for r in results["targets"]
        ),
        "",
    ]
    return "\n".join(lines)


def _explained() -> str:
    """What was measured, and what the numbers mean."""
    return f"""\
Each neuron, with its default synapse, is put in a network of four sources, three hidden and two output neurons that
spike a few times each. Every synapse has a delay of its own, a sampled current drives the hidden neurons, every
parameter is learnable, and so is the value at which every state starts. The loss is a polynomial of the output's spike
times (of its largest potential, where it has no threshold).

A cell has the largest deviation of the gradient **from the oracle · from central differences**, over both populations
and all arrays of the column. Deviations are relative, in norm, for each array of gradients; of one that changes the
loss by less than {FLOOR:g} of its own relative change they are relative to that. With the oracle all elements are
compared, with differences a few (`elements` in the results). A gradient passes within what the neuron's file declares
(`[accuracy]`, in the last column: gradient · spike times) of the oracle, and within {DIFFERENCES:.0e} of differences,
if they resolve that or are ten times further away than they resolve. Nonlinear flows are followed to 1e-10, as by
default. Before the deviations of parameters and initial states is how many there are."""


def _line(r: Record) -> str:
    """A neuron's line."""
    if "error" in r:
        return f"| {r['neuron']} | | {' | '.join(['**no result**'] * (len(KINDS) + 2))} |"
    late = r["late"] if isinstance(r["late"], str) else f"{r['late']:.0e} ms"
    cells = [_cell(r, kind) for kind in KINDS]
    declared = _declared(r)
    cells += [late, f"{declared.gradient:.0e} · {declared.spike_times * 1e3:.0e} ms"]
    return f"| {r['neuron']} | {'linear' if r['linear'] else 'nonlinear'} | {' | '.join(cells)} |"


def _cell(r: Record, kind: str) -> str:
    if kind in r["undefined"]:
        return f"undefined: {r['undefined'][kind]}"
    rows = [row for row in r["rows"] if row["kind"] == kind]
    if not rows:
        return "**not measured**"
    oracle = max(row["oracle"] for row in rows)
    told = [row["differences"] for row in rows if row["resolved"]]
    text = f"{oracle:.0e} · {max(told):.0e}" if told else f"{oracle:.0e} · not resolved"
    if kind in KINDS[-2:]:
        text = f"{len({row['key'].partition('.')[2] for row in rows})}: {text}"
    return f"**{text}**" if any(row["failures"] for row in rows) else text


def _notes(records: Sequence[Record]) -> Iterator[str]:
    """Remarks, a line for each neuron that has some."""
    for r in records:
        if "error" in r:
            continue
        nonzero = {row["key"].partition(".")[2] for row in r["rows"] if row["norm"] > 0}
        texts: dict[str, list[str]] = {}
        for row in r["rows"]:
            parameter = row["key"].partition(".")[2]
            for remark in row["remarks"]:
                if remark.startswith("changes the loss") or (
                    remark.startswith("0,") and row["kind"] in KINDS[-2:] and parameter in nonzero
                ):
                    continue
                texts.setdefault(remark, []).append(f"`{row['key']}`")
        if r["ties"]:
            texts["several spikes at one instant, where a gradient may be one-sided"] = ["at times"]
        if texts:
            yield f"* {r['neuron']}: " + "; ".join(f"{', '.join(keys)}: {remark}" for remark, keys in texts.items())


# --- running ----------------------------------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> int:
    """Measure, write results and page; return the exit status."""
    options = scripts.table_options(
        "gradients",
        __doc__,
        arguments,
        quick="one linear and one nonlinear neuron",
        docs=Path(__file__).parents[1] / "docs",
        row="NEURON",
    )
    file = scripts.saved(options, "results/gradients.json")
    if file is not None:
        results = read_json(file, "results file", "neurons", "targets", "versions", "command", "date")
    else:
        require_compiler()
        results = _measured(options, arguments)
        write_rounded(options.out / "results" / "gradients.json", results)
        results = read_json(options.out / "results" / "gradients.json", "results file", "neurons")
    with atomic_file(options.out / "gradients.md", "page") as opened:
        opened.write(page(results).encode())
    wrong = failures(results)
    for line in wrong:
        print(f"FAILS: {line}")
    print(options.out / "gradients.md")
    return 1 if wrong else 0


def _measured(options: argparse.Namespace, arguments: list[str] | None) -> Record:
    """Results of what is asked for, with those of the rest of an earlier table."""
    every = [e.name for e in catalogue() if e.kind == "neuron"]
    file = options.out / "results" / "gradients.json"
    wanted, features, kept = every, FEATURES, {}
    command = scripts.command("gradient_table", arguments)
    if options.quick:
        linear = {n: hybrid_system(load_model(n)).is_linear for n in every}
        wanted = [next(n for n in every if linear[n] is kind) for kind in (True, False)]
        features = dict(list(FEATURES.items())[:1])
    if options.only:
        for name in options.only:
            if name not in every:
                raise ValueError(f"--only: {name!r} is no neuron of the library; there is {', '.join(every)}")
        kept = read_json(file, "results file", "neurons", "targets", "command")
        wanted, command = options.only, kept["command"]
        there = {r["feature"] for r in kept["targets"]}
        features = {name: model for name, model in FEATURES.items() if name not in there}
    with scripts.executor(options) as executor:
        records = run_all(measure, wanted, executor, each=_told)
        targets = run_all(_compared, features.items(), executor, each=_told)
    if kept:
        fresh = {r["neuron"]: r for r in records}
        before = {r["neuron"]: r for r in kept["neurons"]} | fresh
        records = [before[n] for n in every if n in before]
        compared = {r["feature"]: r for r in (*kept["targets"], *targets)}
        targets = [compared[name] for name in FEATURES if name in compared]
    packages = ("snnmodels", "numpy", "scipy", "sympy", "brian2")
    return {
        "command": command,
        "date": datetime.date.today().isoformat(),
        "versions": {"Python": platform.python_version()} | {p: importlib.metadata.version(p) for p in packages},
        "neurons": records,
        "targets": targets,
    }


def _compared(feature: tuple[str, str]) -> Record:
    return compare(*feature)


def _told(_: object, record: Record) -> None:
    print(record.get("neuron") or record["model"], record.get("error", "done"), flush=True)


if __name__ == "__main__":
    scripts.run(main)
