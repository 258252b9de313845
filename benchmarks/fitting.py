"""Fit one model to the recorded neuron by several methods, and to a neuron that is known: table in docs/recording.md.

python -m benchmarks.fitting --data DIR --peer PYTHON            # PYTHON has brian2modelfitting; without it, the others
python -m benchmarks.fitting --data DIR --only nelder-mead       # some again, the others from the results
python -m benchmarks.fitting --table                             # only the table, from docs/results/fitting.json

The model is the LIF with a spike-triggered current, with the bounds of `snnmodels.studies.recorded_neuron`, on the
first 7 s. Whatever a method minimises, its parameters are judged alike: by the distance without noise at 8 ms, with all
samples of the current, and by coincidence. The row of `snn.fit` is the committed fit (scripts/fit_recording.py).
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize

from snnmodels.files import write_between, write_rounded
from snnmodels.fitting.neurons import Neurons
from snnmodels.fitting.noise import frozen_noise
from snnmodels.fitting.recording import Sweep
from snnmodels.fitting.search import evolve
from snnmodels.fitting.space import DELAY, Space
from snnmodels.fitting.template import bare_model
from snnmodels.fitting.trains import MeanTrainDistance
from snnmodels.studies import recorded_neuron as study

RESULTS, DOCS = Path("docs/results/fitting.json"), Path("docs/recording.md")
BEGIN, END = "<!-- fitting: written by python -m benchmarks.fitting -->", "<!-- fitting: end -->"
CANDIDATE = study.CANDIDATES["current"]
TAU, EVERY, SEED = 8e-3, 5, 0
PEER = Path(__file__).parent / "peers" / "modelfitting.py"
PEER_ROUNDS = (30, 40)  # candidates of a round, rounds
KNOWN = {"C_m": 210e-12, "v_th": -55.5e-3, "v_reset": -60e-3, "t_ref": 6e-3, "b": 60e-12, "tau_z": 75e-3}


def cpu_seconds() -> float:
    """Of this process and of those that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


class Distances:
    """The distance of places in the space of the free parameters, counted."""

    def __init__(self, data: Sweep, free: Mapping[str, Any], n: int, every: int) -> None:
        self.space = Space({**{k: b for k, b in free.items() if k != DELAY}, DELAY: free[DELAY]})
        coarse = data.until(study.FITTED).coarse(every)
        self.neurons = Neurons(
            bare_model(CANDIDATE.components), self.space.names[:-1], CANDIDATE.fixed, coarse.current, coarse.dt,
            input="I_syn", n=n,
        )  # fmt: skip
        self.distance = MeanTrainDistance(data.spikes, TAU, 0.0, study.FITTED)

    def __call__(self, places: np.ndarray, limits: np.ndarray | None = None) -> np.ndarray:
        """Without limits, as `evolve` gives them."""
        values = self.space.values(np.clip(places, 0, 1))
        times, possible = self.neurons.spike_times(values[:, :-1])
        return np.where(possible, self.distance(times[0] + values[:, -1:])[0], np.inf)


def differential_evolution(data: Sweep) -> dict[str, Any]:
    """The package's global search alone: one kernel, no noise, no likelihood."""
    with (found := Distances(data, CANDIDATE.free, 64, EVERY)).neurons:
        rng = np.random.default_rng(SEED)
        places, losses = evolve(found, rng.random((64, len(found.space))), 55, rng)
    best = found.space.named(places[np.argmin(losses)])
    return {"values": best, "simulations": found.neurons.simulations}


def nelder_mead(data: Sweep) -> dict[str, Any]:
    """SciPy's, from the best of 16 random places, twice."""
    with (found := Distances(data, CANDIDATE.free, 8, EVERY)).neurons:
        rng = np.random.default_rng(SEED)
        runs = []
        for _ in range(2):
            places = rng.random((16, len(found.space)))
            start = places[np.argmin(np.concatenate([found(places[:8]), found(places[8:])]))]
            bounds = [(0.0, 1.0)] * len(start)
            options = {"maxfev": 150, "adaptive": True}
            one = minimize(lambda x: found(x[None])[0], start, method="Nelder-Mead", bounds=bounds, options=options)
            runs.append(one)
    best = found.space.named(min(runs, key=lambda r: r.fun).x)
    return {"values": best, "simulations": found.neurons.simulations}


def judged(row: dict[str, Any], data: Sweep) -> dict[str, Any]:
    """The distance without noise, and coincidence, of what a method found."""
    values = dict(row["values"])
    delay = values.pop(DELAY, 0.0)
    (train,) = study.trains(bare_model(CANDIDATE.components), {**CANDIDATE.fixed, **values}, data, delay)
    loss = float(MeanTrainDistance(data.spikes, TAU, 0.0, study.FITTED)(train)[0])
    return {**row, "loss": loss, "judged": study.judged(train, data)}


def known_neuron() -> dict[str, Any]:
    """Digits of the parameters of a known neuron from its spikes in 4 s: ways on from one global search."""
    dt = 0.5e-3
    current = 160e-12 + frozen_noise(1, 8000, dt, std=150e-12, seed=3, silent=False)[0]
    names = tuple(KNOWN)
    space = Space({name: CANDIDATE.free[name] for name in names})
    model = bare_model(CANDIDATE.components)
    truth = np.array(list(KNOWN.values()))
    rows: dict[str, Any] = {}
    with Neurons(model, names, CANDIDATE.fixed, current, dt, input="I_syn", n=64) as neurons:
        wanted = neurons.spike_times(truth[None])[0][0, 0]
        wanted = wanted[np.isfinite(wanted)]
        distance = MeanTrainDistance([wanted], TAU, 0.0, dt * current.size)

        def objective(places: np.ndarray, limits: np.ndarray | None = None) -> np.ndarray:
            times, possible = neurons.spike_times(space.values(np.clip(places, 0, 1)))
            return np.where(possible, distance(times[0])[0], np.inf)

        rng = np.random.default_rng(SEED)
        places, losses = evolve(objective, rng.random((64, len(names))), 60, rng)
        start = places[np.argmin(losses)]
        simulations = neurons.simulations

    def row(place: np.ndarray, count: int) -> dict[str, Any]:
        off = np.abs(space.values(place) / truth - 1)
        digits = {n: float(-np.log10(max(x, 1e-16))) for n, x in zip(names, off, strict=True)}
        return {"digits": digits, "simulations": count, "loss": float(at(place))}

    with Neurons(model, names, CANDIDATE.fixed, current, dt, input="I_syn", n=16) as neurons:

        def at(place: np.ndarray) -> float:
            times, possible = neurons.spike_times(space.values(np.clip(place, 0, 1))[None])
            return float(distance(times[0])[0][0]) if possible[0] else np.inf

        rows["differential evolution"] = row(start, simulations)
        options = {"maxfev": 200, "adaptive": True, "xatol": 1e-12, "fatol": 1e-14}
        bounds = [(0.0, 1.0)] * len(start)
        found = minimize(at, start, method="Nelder-Mead", bounds=bounds, options=options)
        rows["then Nelder-Mead"] = row(found.x, simulations + found.nfev)
        place, count = newton(neurons, space, start, wanted)
        rows["then Newton steps on exact gradients"] = row(place, simulations + count)
    return {"spikes": len(wanted), "rows": rows}


def newton(neurons: Neurons, space: Space, place: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, int]:
    """Damped Newton steps on the squares of matched spike times; the Hessian by differences of exact gradients.

    Spikes are matched to the nearest wanted one within 4 ms, so that some may still lack a counterpart; all candidates
    of a step, displaced by each parameter to both sides, are one pass.
    """
    p, before = len(space), neurons.simulations
    scale, damping = 1e-3, 1e-3

    def evaluate(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        times, possible = neurons.spike_times(space.values(places), gradient=True)
        t = np.where(np.isfinite(times[0]), times[0], 1e9)
        nearest = wanted[np.abs(t[:, :, None] - wanted).argmin(axis=2)]
        off = np.where(np.abs(t - nearest) < 4e-3, (t - nearest) / scale, 0.0)
        slope = neurons.gradients((2 * off / scale)[None]) * space.slopes(places)
        return np.where(possible, (off**2).sum(axis=1), np.inf), slope

    h = 1e-6
    value = np.inf
    for _ in range(25):
        around = np.vstack([place, place + h * np.eye(p), place - h * np.eye(p)])
        values, slopes = evaluate(around)
        value, gradient = values[0], slopes[0]
        hessian = (slopes[1 : p + 1] - slopes[p + 1 :]) / (2 * h)
        hessian = 0.5 * (hessian + hessian.T)
        if value < 1e-20:
            break
        size = np.sqrt(np.abs(np.diag(hessian))) + 1e-12
        tried = []
        for factor in (0.0, 1e-3, 1e-1, 1e1, 1e3, 1e5):
            scaled = hessian / np.outer(size, size)
            lift = max(0.0, -np.linalg.eigvalsh(scaled).min() * 1.1) + factor * damping
            step = np.linalg.solve(scaled + (lift + 1e-14) * np.eye(p), -gradient / size) / size
            tried.append(np.clip(place + step, 0, 1))
        values, _ = evaluate(np.array(tried))
        if values.min() >= value:
            break
        place = tried[int(np.argmin(values))]
    return place, neurons.simulations - before


def peer(python: str, data: Path) -> dict[str, Any]:
    """What brian2modelfitting finds, in an environment of its own."""
    done = subprocess.run(
        [python, str(PEER), str(data), str(study.FITTED), *map(str, PEER_ROUNDS)], capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{PEER} failed: {done.stderr.strip().splitlines()[-1] if done.stderr else done.returncode}")
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def main(arguments: list[str] | None = None) -> None:
    """Run what is asked for, keep the rest, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder with first_half.npz")
    parser.add_argument("--peer", metavar="PYTHON", help="interpreter that has brian2modelfitting")
    parser.add_argument("--only", nargs="+", choices=(*LABELS, "known"))
    parser.add_argument("--table", action="store_true", help="only write the table again")
    options = parser.parse_args(arguments)
    found: dict[str, Any] = {"methods": {}}
    if not options.table:
        if options.data is None:
            parser.error("--data DIR is needed, unless --table")
        data = study.read_data(options.data)
        asked = options.only or [name for name in (*LABELS, "known") if name != "peer" or options.peer]
        methods: dict[str, Callable[[], dict[str, Any]]] = {
            "nelder-mead": lambda: nelder_mead(data),
            "differential-evolution": lambda: differential_evolution(data),
            "peer": lambda: peer(options.peer, options.data),
        }
        for name, method in methods.items():
            if name in asked:
                before = cpu_seconds()
                row = method()
                found["methods"][name] = judged({"cpu_seconds": cpu_seconds() - before, **row}, data)
                print(name, f"{found['methods'][name]['loss']:.4f}", flush=True)
        if "procedure" in asked:
            fit = json.loads((DOCS.parent / "results" / "recording" / "current.json").read_text())
            row = {"values": fit["values"]}
            row |= {name: fit[name] for name in ("simulations", "cpu_seconds")}
            found["methods"]["procedure"] = judged(row, data)
        if "known" in asked:
            found["known"] = known_neuron()
    # what has come in the meantime, by another run, is kept
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {"methods": {}}
    results = {**results, **found, "methods": {**results["methods"], **found["methods"]}}
    if not options.table:
        write_rounded(RESULTS, results)
    text = table(results)
    print(text)
    write_between(DOCS, BEGIN, text, END)


LABELS = {
    "peer": "brian2modelfitting 0.4: differential evolution on the coincidence factor",
    "nelder-mead": "Nelder-Mead on the distance, two starts",
    "differential-evolution": "our global search alone",
    "procedure": "`snn.fit`: likelihood, search, noise",
}


def table(results: Mapping[str, Any]) -> str:
    """Both tables in Markdown."""
    lines = [
        "| method | simulations | CPU (s) | distance | fit ± 4 ms | ± 2 ms | validation ± 4 ms | ± 2 ms |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, label in LABELS.items():
        if name in results["methods"]:
            r = results["methods"][name]
            by = {(j["part"], j["window"]): j["relative"] for j in r["judged"]}
            cells = [f"{by[part, w]:.2f}" for part in ("fitted", "validated") for w in study.WINDOWS]
            head = [label, str(r["simulations"]), f"{r['cpu_seconds']:.0f}", f"{r['loss']:.3f}"]
            lines.append(f"| {' | '.join([*head, *cells])} |")
    if "known" in results:
        known = results["known"]
        lines += [
            "",
            f"A neuron that is known, from its {known['spikes']} spikes in 4 s:",
            "",
            "| method | simulations | distance | digits: least | median |",
            "|---|--:|--:|--:|--:|",
        ]
        for label, r in known["rows"].items():
            digits = list(r["digits"].values())
            cells = [str(r["simulations"]), f"{r['loss']:.2g}", f"{min(digits):.1f}", f"{np.median(digits):.1f}"]
            lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
