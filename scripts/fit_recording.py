"""Fit five models of the library to nine repetitions of one current in a cortical neuron: table, figure, templates.

    python scripts/fit_recording.py --data DIR                  # DIR with first_half.npz; some minutes of CPU time each
    python scripts/fit_recording.py --data DIR --only gif adex  # these again, the others as they are
    python scripts/fit_recording.py --data DIR --quick          # a minute: small populations, one model
    python scripts/fit_recording.py --data DIR --redraw         # table and figure from the fitted templates

Each is fitted in two ways, under noise and without it, and under noise alone. The first 7 s are fitted, the next 3 s
choose. Every fitted model is a template in docs/results/recording, which
`load_model` reads; the table and the figure are of these files, simulated anew.
"""

from __future__ import annotations

from snnmodels.studies import scripts  # first: it sets the number of NumPy's threads

# isort: split

import resource
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from snnmodels.files import folder_for, read_json, write_between, write_rounded
from snnmodels.fitting.recording import Recording, Sweep
from snnmodels.fitting.space import DELAY
from snnmodels.fitting.template import bare_model
from snnmodels.studies import recorded_neuron as study
from snnmodels.studies.figures import COLOURS
from snnmodels.studies.plots import save_figure
from snnmodels.templates import load_model, save_model

QUICK: dict[str, Any] = {"candidates": 16, "generations": 8, "likelihood": False}
WAYS = ("both", "noise")  # of `study.PROCEDURES`
DOCS = Path("docs")
PAGE = DOCS / "recording.md"
BEGIN, END = "<!-- recording: written by python scripts/fit_recording.py -->", "<!-- recording: end -->"


def main(arguments: list[str] | None = None) -> int:
    """Fit what is asked for, and write templates, results, table and figure; return the exit status."""
    parser = scripts.options(
        __doc__, quick="one model, small populations", out="docs, or output/recording with --quick", dpi=150
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder with first_half.npz")
    parser.add_argument("--only", nargs="+", choices=tuple(study.CANDIDATES), help="fit these, and keep the others")
    parser.add_argument("--procedures", nargs="+", choices=WAYS, default=list(WAYS), help="default: both of them")
    parser.add_argument("--seed", type=int, default=0, help="of the search, default: %(default)s")
    options = parser.parse_args(arguments)
    out = options.out or (Path("output/recording") if options.quick else DOCS)
    results = out / "results" / "recording"
    folder_for(results, "folder of results")
    folder_for(out / "figures", "folder of figures")
    data = study.read_data(options.data)
    asked = options.only or (["current"] if options.quick else list(study.CANDIDATES))
    fitted = {"seed": options.seed, "progress": False, **(QUICK if options.quick else {})}
    for way in [] if options.redraw is not None else options.procedures:
        for key in asked:
            _fit(key, way, data, fitted, results, options.seed)
    found = {(key, way): results / f"{_name(key, way)}.json" for key in study.CANDIDATES for way in WAYS}
    rows = {what: _row(*what, path, data) for what, path in found.items() if path.is_file()}
    if not rows:
        raise FileNotFoundError(f"{results}: no fitted model; run once without --redraw")
    table = _table(rows)
    print(table)
    if out == DOCS:
        write_between(PAGE, BEGIN, table, END)
    save_figure(_draw(rows, data), out / "figures" / "recording.png", dpi=options.dpi)
    return 0


def _name(key: str, way: str) -> str:
    """Of the files of one model fitted in one way."""
    return key if way == WAYS[0] else f"{key}_{way}"


def _fit(key: str, way: str, data: Sweep, options: dict[str, Any], folder: Path, seed: int) -> None:
    """Fit one model and write its template and what is known of the fit."""
    candidate = study.CANDIDATES[key]
    others = {}
    if candidate.after:
        before = folder / f"{_name(candidate.after, way)}.json"
        if not before.is_file():
            raise FileNotFoundError(f"{key} begins with the values of {candidate.after}; fit that first")
        others[candidate.after] = read_json(before, "results file", "values")["values"]
    words, chosen = study.PROCEDURES[way]
    command = f"python scripts/fit_recording.py --data DIR --only {key} --procedures {way} --seed {seed}"
    print(f"{candidate.title} ({len(candidate.free)} parameters), {words}", flush=True)
    used = _cpu_seconds()
    fit = study.fit_candidate(candidate, Recording((data.until(study.FITTED),)), others, **chosen, **options)
    used = _cpu_seconds() - used
    print("\n".join("  " + line for line in fit.stages), flush=True)
    model = bare_model(candidate.components)
    delay = fit.values[DELAY]
    values = {**candidate.fixed, **{name: x for name, x in fit.values.items() if name != DELAY}}
    description = (
        f"{model.name} of the library, fitted to the spike times of a cortical neuron: nine repetitions of one "
        f"current, 'Cell3_Ger1Test' of Pozzorini et al. (2015), from 0 to 7 s. The recording calls a spike what comes "
        f"{delay * 1e3:.3f} ms after this model's. Spike times tell neither the potential's zero nor its unit: a "
        "rest of -70 mV and a leak conductance of 10 nS are conventions. The input is the recorded current itself."
    )
    save_model(
        model, folder / f"{_name(key, way)}.toml", values, title=f"{candidate.title}, fitted", description=description
    )  # fmt: skip
    write_rounded(
        folder / f"{_name(key, way)}.json",
        {
            "command": command,
            "values": fit.values,
            "noise": fit.noise,
            "stages": list(fit.stages),
            "simulations": fit.simulations,
            "seconds": fit.seconds,
            "cpu_seconds": used,
            "at_bounds": list(fit.at_bounds),
        },
    )


def _cpu_seconds() -> float:
    """Of this process and of those that have ended, such as compiled programs."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def _row(key: str, way: str, path: Path, data: Sweep) -> dict[str, Any]:
    """What a fitted template does at the recorded current."""
    told = read_json(path, "results file", "command", "values", "noise", "simulations", "cpu_seconds", "seconds")
    candidate = study.CANDIDATES[key]
    model = load_model(path.with_suffix(".toml"))
    free = {name: model.parameters[name].value for name in candidate.free if name != DELAY}
    noise = study.noises(data)
    silent = np.zeros((1, noise.shape[-1]))
    given = np.vstack([silent, noise.reshape(-1, noise.shape[-1])])
    train, *rest = study.trains(model, free, data, told["values"][DELAY], given)
    draws = noise.shape[1]
    noisy = [rest[k : k + draws] for k in range(0, len(rest), draws)]
    told |= {"title": candidate.title, "way": way, "free": len(candidate.free)}
    told |= {"losses": study.losses(noisy, train, data)}
    return {**told, "train": train, "judged": study.judged(train, data)}


def _table(rows: dict[tuple[str, str], dict[str, Any]]) -> str:
    """Coincidence relative to the reliability, counts and costs, in Markdown."""
    first = next(iter(rows.values()))["judged"]
    reliabilities = ", ".join(
        f"{r['reliability']:.3f} within ± {r['window'] * 1e3:g} ms on the {r['part']} part" for r in first
    )
    lines = [
        "| model (fitted parameters) | under noise | fit ± 4 ms | fit ± 2 ms | spikes | "
        "validation ± 4 ms | ± 2 ms | spikes | loss: fit | validation | noise (pA) | simulations | CPU (s) |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for r in rows.values():
        by = {(j["part"], j["window"]): j for j in r["judged"]}
        cells = [f"{r['title']} ({r['free']})", study.PROCEDURES[r["way"]][0].removeprefix("under noise ")]
        for part in ("fitted", "validated"):
            cells += [f"{by[part, w]['relative']:.2f}" for w in study.WINDOWS]
            one = by[part, study.WINDOWS[0]]
            cells.append(f"{one['spikes']} of {one['recorded']:.1f}")
        cells += [f"{r['losses'][x]:.3f}" for x in ("fitted, with noise", "validated, with noise")]
        cells += [f"{1e12 * r['losses']['noise']:.0f}", f"{r['simulations']}", f"{r['cpu_seconds']:.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    best = min(rows.values(), key=_validation_loss)
    words = study.PROCEDURES[best["way"]][0]
    chosen = f"Chosen by the loss on the validation part: {best['title']}, fitted {words}."
    lines += ["", f"{chosen} Intrinsic reliability: {reliabilities}."]
    return "\n".join(lines) + "\n"


def _validation_loss(row: dict[str, Any]) -> float:
    return float(row["losses"]["validated, with noise"])


def _draw(rows: dict[tuple[str, str], dict[str, Any]], data: Sweep) -> Figure:
    """Rasters of the neuron and the models around the end of the fitted part, and coincidences.

    Of each model that fit is drawn whose loss on the validation part is less.
    """
    each: dict[str, dict[str, Any]] = {}
    for r in sorted(rows.values(), key=_validation_loss):
        each.setdefault(r["title"], r)
    figure = Figure(figsize=(9, 5.2), layout="constrained")
    top, bottom = figure.subplots(2, 1, height_ratios=[1, 3], sharex=True)
    start, end = study.FITTED - 2.0, study.VALIDATED
    t = data.dt * np.arange(len(data.current))
    shown = (t >= start) & (t < end)
    top.plot(t[shown], 1e12 * data.current[shown], color=COLOURS["grey"], linewidth=0.4)
    top.set_ylabel("current (pA)")
    names, height, offsets = [], 0.0, []
    for k, train in enumerate(data.spikes):
        kept = train[(train >= start) & (train < end)]
        bottom.eventplot(kept, lineoffsets=-height, linelengths=0.8, colors="black", linewidths=0.8)
        names.append("neuron" if k == len(data.spikes) // 2 else "")
        offsets.append(-height)
        height += 1
    for r, colour in zip(each.values(), ("red", "orange", "green", "blue", "pink"), strict=False):
        height += 0.5
        train = r["train"]
        kept = train[(train >= start) & (train < end)]
        bottom.eventplot(kept, lineoffsets=-height, linelengths=0.8, colors=COLOURS[colour], linewidths=1.0)
        by = {(j["part"], j["window"]): j["relative"] for j in r["judged"]}
        names.append(f"{r['title']}: {by['fitted', 4e-3]:.2f}, {by['validated', 4e-3]:.2f}")
        offsets.append(-height)
        height += 1
    bottom.set_yticks(offsets, names)
    bottom.tick_params(axis="y", length=0)
    for axes in (top, bottom):
        axes.axvline(study.FITTED, color="black", linestyle=":", linewidth=1)
        axes.spines[["top", "right"]].set_visible(False)
    top.set_title("fitted: 0 to 7 s (its last 2 s shown)", loc="left", fontsize=9)
    top.set_title("validation: 7 to 10 s", loc="right", fontsize=9)
    bottom.set_xlim(start, end)
    bottom.set_xlabel("time (s)")
    figure.supxlabel(
        "numbers: coincidence at ± 4 ms over the neuron's own reliability, on the fitted and the validation part",
        fontsize=9,
    )
    return figure


if __name__ == "__main__":
    scripts.run(main, "interrupted; models that were fitted are kept")
