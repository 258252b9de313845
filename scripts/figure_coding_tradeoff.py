"""F3: coding loss against activity, for standard populations, retrained networks, and one network moved by costs.

python scripts/figure_coding_tradeoff.py [--quick] [--out DIR]

Every read-out is fitted on one signal and scored on another; see `snnmodels.coding.baselines`. The full figure takes
about a quarter of an hour of CPU time on two processes; --quick is one of its seeds on shorter signals, without M = 32.
"""

from __future__ import annotations

from snnmodels.studies import scripts  # first: it sets the number of NumPy's threads

# isort: split

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from snnmodels.coding import (
    CodingNetwork,
    LIFPopulation,
    Signal,
    golden_angle_decoder,
    load_coding_network,
    log_uniform_norms,
    random_decoder,
    ring_decoder,
    smooth_signal,
    sweep_cost,
)
from snnmodels.coding.baselines import READOUTS, HeldOutPoint, held_out_coding, held_out_lif
from snnmodels.coding.theory import mixed_norms_loss, mixed_norms_rate, retrained_curve
from snnmodels.parallel import WorkerPool, run_all
from snnmodels.studies.figures import COLOURS, letter, run_figure

# seconds; a random population needs the longer training, since nothing is known about its decoder
TRAIN_LIF = {2: 40.0, 8: 40.0, 32: 24.0}
TRAIN_CODING, TEST, TRAIN_SEED, TEST_SEED = 8.0, 4.5, 100, 200
REFERENCE = 2.0  # gain at which the standard population's decoder is frozen
NEURONS = {2: 100, 8: 200, 32: 640}
SEEDS = {2: 5, 8: 3, 32: 3}
GAINS: dict[int, tuple[float, ...]] = {
    2: (0.5, 0.8, 1.2, 2.0, 3.0, 4.4, 8.0),
    8: (0.5, 1.0, 2.0, 4.4, 8.0),
    32: (0.5, 1.0, 2.0, 4.4),
}
NUS: dict[int, tuple[float, ...]] = {
    2: tuple(np.geomspace(0.002, 0.3, 5)),
    8: (0.003, 0.01, 0.03, 0.08),
    32: (0.003, 0.01, 0.03),
}
SCALES: dict[int, tuple[float, ...]] = {
    2: tuple(np.geomspace(0.35, 8, 5)),
    8: tuple(np.geomspace(0.7, 7, 5)),
    32: tuple(np.geomspace(0.8, 5, 4)),
}
OTHER_COSTS = {"kappa": np.geomspace(2e-5, 0.02, 4), "mu": np.geomspace(2e-4, 0.3, 4)}
EQUAL_NUS = (0.0, 0.02, 0.08)
FIELDS = ("rate", *READOUTS, "offset")


def compute(quick: bool) -> dict[str, Any]:
    """Curves of every M, network and seed: arrays of shape (seeds, settings, fields)."""
    dimensions = (2, 8) if quick else tuple(NEURONS)
    jobs = [(m, seed, quick) for m in dimensions for seed in range(1 if quick else SEEDS[m])]
    with WorkerPool(2) as pool:
        results = run_all(_job, jobs, pool)
    data: dict[str, Any] = {"tau": 0.02, "dimensions": np.array(dimensions)}
    for m in dimensions:
        mine = [result for (one, _, _), result in zip(jobs, results, strict=True) if one == m]
        data |= {f"{name}_{m}": np.stack([result[name] for result in mine]) for name in mine[0]}
    return data


def _job(job: tuple[int, int, bool]) -> dict[str, np.ndarray]:
    """All curves of one seed."""
    m, seed, quick = job
    long, test = _signal(m, TRAIN_LIF[m], TRAIN_SEED + seed), _signal(m, TEST, TEST_SEED + seed)
    long = long.until(TRAIN_LIF[m] / (4 if quick else 1))
    train = long.until(TRAIN_CODING)
    n, loss = NEURONS[m], load_coding_network("joint").loss
    norms = log_uniform_norms(n, 0.03, 0.6)
    mixed, equal = (
        golden_angle_decoder(n, size) if m == 2 else random_decoder(m, n, size, seed=seed) for size in (norms, 0.1)
    )

    def moved(decoder: np.ndarray, parameter: str) -> Any:
        return lambda value: CodingNetwork(decoder, loss, {parameter: value})

    found = {
        "rho": np.array(np.linalg.norm(test.values, axis=1).mean()),
        "lif": _curve(held_out_lif(LIFPopulation(n, REFERENCE, seed=seed, dimensions=m), GAINS[m], long, test)),
        "nu": _curve(held_out_coding(moved(mixed, "nu"), NUS[m], train, test)),
        "rescaled": _curve(
            held_out_coding(lambda factor: CodingNetwork(factor * equal, loss), SCALES[m], train, test)
        ),
    }
    if m == 2:
        found["equal"] = _curve(held_out_coding(moved(ring_decoder(n, 0.1), "nu"), EQUAL_NUS, train, test))
        for cost, values in OTHER_COSTS.items():
            points = sweep_cost(CodingNetwork(mixed, loss), cost, values, test, ("raw", "corrected"))
            found[cost] = np.array([(p.rate, p.loss["raw"], p.loss["corrected"]) for p in points])
    return found


def _signal(m: int, duration: float, seed: int) -> Signal:
    """Of mean square 2 whatever M, so that losses can be compared."""
    return smooth_signal(duration, dimensions=m, seed=seed, rms=float(np.sqrt(2 / m)))


def _curve(points: Sequence[HeldOutPoint]) -> np.ndarray:
    return np.array([(p.rate, *(p.loss[name] for name in READOUTS), p.length_offset) for p in points])


# --- what the points say ----------------------------------------------------------------------------------------------


def lif_factors(data: Mapping[str, np.ndarray], m: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Rate over the rate at the frozen decoder's gain, and loss over the retrained loss at the same gain, by seed."""
    curve = data[f"lif_{m}"]
    reference = curve[:, [GAINS[m].index(REFERENCE)], 0]
    factors = {r: curve[:, :, FIELDS.index(r)] / curve[:, :, FIELDS.index("retrained")] for r in READOUTS[:3]}
    return curve[:, :, 0] / reference, factors


def coding_factors(
    data: Mapping[str, np.ndarray], m: int, name: str = "nu"
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Rate, and loss over that of rescaled networks at equal rate, by seed; NaN where these have no such rate."""
    curve, rescaled = data[f"{name}_{m}"], data[f"rescaled_{m}"]
    factors = {}
    for k, readout in enumerate(READOUTS if name in ("nu", "equal") else ("raw", "corrected"), 1):
        rows = []
        for mine, reference in zip(curve, rescaled, strict=True):
            rows.append(mine[:, k] / _at(reference[:, :2], mine[:, 0]))
        factors[readout] = np.array(rows)
    return curve[:, :, 0], factors


def _at(curve: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """Loss of a curve of rates and losses at given rates, interpolated on logarithmic axes, NaN outside."""
    x, y = np.log(curve[np.argsort(curve[:, 0])]).T
    return np.exp(np.interp(np.log(rate), x, y, left=np.nan, right=np.nan))


def _slope(curves: np.ndarray, k: int = 1) -> np.ndarray:
    """Slope of log loss against log rate of every seed."""
    return np.array([np.polyfit(np.log(c[:, 0]), np.log(c[:, k]), 1)[0] for c in curves])


def spread(values: np.ndarray) -> str:
    """Mean and standard deviation over the seeds."""
    values = np.asarray(values, float)
    return f"{values.mean():.3g}" + (f" ± {values.std(ddof=1):.2g}" if len(values) > 1 else "")


def table(data: Mapping[str, np.ndarray]) -> str:
    """The numbers of docs/coding_networks.md."""
    lines = []
    for m in (int(m) for m in data["dimensions"]):
        seeds = len(data[f"lif_{m}"])
        lines.append(f"M = {m}, N = {NEURONS[m]}, {seeds} seed{'s' * (seeds > 1)}: mean ± standard deviation")
        ratio, factors = lif_factors(data, m)
        for k, gain in enumerate(GAINS[m]):
            loss = data[f"lif_{m}"][:, k, FIELDS.index("retrained")]
            parts = ", ".join(f"{r} {spread(f[:, k])}" for r, f in factors.items())
            rate = data[f"lif_{m}"][:, k, 0]
            lines.append(
                f"  LIF, gain {gain:g}: {spread(rate)}/s ({ratio[:, k].mean():.2f} x), retrained {spread(loss)}; "
                f"over it: {parts}"
            )
        lines.append(f"  LIF, retrained: slope {spread(_slope(data[f'lif_{m}'], FIELDS.index('retrained')))}")
        rate, over = coding_factors(data, m)
        for k, nu in enumerate(NUS[m]):
            offset = data[f"nu_{m}"][:, k, FIELDS.index("offset")] / (np.sqrt(nu) / 2)
            loss = data[f"nu_{m}"][:, k, 1]
            parts = ", ".join(f"{r} {spread(f[:, k])}" for r, f in over.items())
            lines.append(
                f"  SCN, nu {nu:.3g}: {spread(rate[:, k])}/s, raw {spread(loss)}; over rescaled: {parts}; "
                f"offset/(sqrt(nu)/2) {spread(offset)}"
            )
        for k, factor in enumerate(SCALES[m]):
            curve = data[f"rescaled_{m}"][:, k]
            lines.append(f"  SCN rescaled by {factor:.3g}: {spread(curve[:, 0])}/s, raw {spread(curve[:, 1])}")
        slopes = ", ".join(f"{n} {spread(_slope(data[f'{n}_{m}']))}" for n in ("nu", "rescaled"))
        lines.append(f"  SCN slopes, raw: {slopes}")
        # the random population at the rate of the moved network
        at = [
            _at(lif[:, [0, 4]], c[:, 0]) / c[:, 1]
            for c, lif in zip(data[f"nu_{m}"], data[f"lif_{m}"], strict=True)
        ]
        text = ", ".join(spread(column) for column in np.transpose(at))
        lines.append(f"  LIF retrained over SCN moved, raw, at equal rate, by nu: {text}")
    for name in ("kappa", "mu"):
        rate, over = coding_factors(data, 2, name)
        lines.append(f"M = 2, {name}: slope {spread(_slope(data[f'{name}_2']))}")
        for k, value in enumerate(OTHER_COSTS[name]):
            parts = ", ".join(f"{r} {spread(f[:, k])}" for r, f in over.items())
            lines.append(f"  {value:.3g}: {spread(rate[:, k])}/s; over rescaled: {parts}")
    rate, over = coding_factors(data, 2, "equal")
    for k, nu in enumerate(EQUAL_NUS):
        parts = ", ".join(f"{r} {spread(f[:, k])}" for r, f in over.items())
        lines.append(f"M = 2, equal norms, nu {nu:g}: {spread(rate[:, k])}/s; over rescaled: {parts}")
    return "\n".join(lines)


# --- the picture ------------------------------------------------------------------------------------------------------

STYLES = {
    "raw": ("red", "s-", "decoder frozen"),
    "gain": ("orange", "^--", "frozen, one refitted gain"),
    "length": ("sky", "v:", "frozen, one refitted length"),
    "retrained": ("green", "o-", "decoder retrained"),
}


def draw(data: Mapping[str, np.ndarray]) -> Figure:
    """Curves of two signals above; below, the price of not retraining, for each number of signals."""
    figure = Figure(figsize=(11.5, 8.4), layout="constrained")
    grid = figure.subplots(2, 3)
    _standard(grid[0, 0], data)
    _moved(grid[0, 1], data)
    _other(grid[0, 2], data)
    for axes in grid[0]:
        axes.set(xscale="log", yscale="log", xlabel="activity (spikes/s of the population)", xlim=(50, 2.5e4))
        axes.set_ylim(3e-5, 1e3)  # markers whole, and room for the legend
        axes.set_ylabel("coding loss $\\langle|x-\\hat x|^2\\rangle$ of a new signal")
        legend = axes.legend(loc="upper right", handlelength=2.2, fontsize=7.3, borderpad=0, labelspacing=0.3)
        legend.set_in_layout(False)
    shown = [int(m) for m in data["dimensions"]]
    for k, (axes, m) in enumerate(zip(grid[1], (*shown, *[0] * (3 - len(shown))), strict=True)):
        if not m:
            axes.set_axis_off()
            axes.text(0.5, 0.5, "M = 32 only in the full figure", ha="center", color="0.5")
            continue
        _price(axes, data, m)
        letter(axes, "DEF"[k], -0.1)
    for axes, text in zip(grid[0], "ABC", strict=True):
        letter(axes, text, -0.1)
    for axes in grid.flat:
        axes.title.set_fontsize(8.6)
    handles, labels = grid[1, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8, handlelength=2.4)
    return figure


def _theory(axes: Any, data: Mapping[str, np.ndarray]) -> None:
    rate = np.geomspace(50, 2.5e4, 50)
    rho = float(data["rho_2"].mean())
    loss = retrained_curve(rate, rho, float(data["tau"]))
    axes.plot(rate, loss, color="0.8", lw=4, zorder=0, label="theory (λρ)²/12f²")


def _standard(axes: Any, data: Mapping[str, np.ndarray]) -> None:
    curve = data["lif_2"]
    for k, readout in enumerate(READOUTS, 1):
        colour, style, label = STYLES[readout]
        text = f"{label}: slope {_slope(curve, k).mean():.2f}" if readout == "retrained" else label
        _points(axes, curve[:, :, 0], curve[:, :, k], colour, style, text)
    ratio, factors = lif_factors(data, 2)
    double = GAINS[2].index(4.4)
    raw, gain = (factors[r][:, double].mean() for r in ("raw", "gain"))
    axes.set_title(
        f"Random LIF neurons, at {ratio[:, double].mean():.1f} x the rate: frozen decoder\n"
        f"{raw:.0f} x the retrained one's loss; with one gain {gain:.1f} x"
    )


def _moved(axes: Any, data: Mapping[str, np.ndarray]) -> None:
    _theory(axes, data)
    nu = np.geomspace(0.0018, 0.32, 50)
    rho, tau = float(data["rho_2"].mean()), float(data["tau"])
    label = "theory of ν: loss ν/3"
    axes.plot(mixed_norms_rate(nu, rho, tau), mixed_norms_loss(nu), color="#F6C7B0", lw=4, zorder=0, label=label)
    curve = data["nu_2"]
    for k, readout in enumerate(READOUTS, 1):
        colour, style, label = STYLES[readout]
        text = f"{label}: slope {_slope(curve, k).mean():.2f}" if readout == "raw" else label
        text += " (as the gain)" if readout == "retrained" else ""
        _points(axes, curve[:, :, 0], curve[:, :, k], colour, style, text)
    rescaled = data["rescaled_2"]
    text = f"networks rescaled for each rate: slope {_slope(rescaled).mean():.2f}"
    _points(axes, rescaled[:, :, 0], rescaled[:, :, 1], "black", "D-", text)
    _, over = coding_factors(data, 2)
    raw, length = over["raw"], over["length"]
    axes.set_title(
        "One spike-coding network moved by ν: "
        f"{np.nanmin(raw.mean(0)):.1f} to {np.nanmax(raw.mean(0)):.1f} x\n"
        "the loss of rescaled ones; its length put right "
        f"{np.nanmin(length.mean(0)):.1f} to {np.nanmax(length.mean(0)):.1f} x"
    )


def _other(axes: Any, data: Mapping[str, np.ndarray]) -> None:
    _theory(axes, data)
    rescaled = data["rescaled_2"]
    _points(axes, rescaled[:, :, 0], rescaled[:, :, 1], "black", "D-", "networks rescaled for each rate")
    for cost, colour, style, name in (
        ("kappa", "pink", "s-", "feedback inhibition κ"),
        ("mu", "blue", "^-", "adaptation μ"),
    ):
        curve = data[f"{cost}_2"]
        _points(axes, curve[:, :, 0], curve[:, :, 1], colour, style, f"{name}, raw: slope {_slope(curve).mean():.2f}")
    equal = data["equal_2"]
    _points(axes, equal[:, :, 0], equal[:, :, 1], "red", "s--", "equal neurons (d = 0.1), ν, raw")
    _points(axes, equal[:, :, 0], equal[:, :, 2], "orange", "^--", "equal neurons, refitted gain")
    fewer, more = equal[:, -1, 0] / equal[:, 0, 0], equal[:, -1, 1:5].min(1) / equal[:, 0, 1]
    axes.set_title(
        f"κ and μ move it as well; equal neurons save {100 * (1 - fewer.mean()):.0f} %\n"
        f"of spikes for {more.mean():.0f} x the loss, with the best read-out"
    )


def _price(axes: Any, data: Mapping[str, np.ndarray], m: int) -> None:
    ratio, factors = lif_factors(data, m)
    rate, over = coding_factors(data, m)
    middle = rate[:, [len(NUS[m]) // 2]]
    for readout in READOUTS[:3]:
        colour, _, label = STYLES[readout]
        lif = f"LIF population, decoder {label.removeprefix('decoder ')}"
        _points(axes, ratio, factors[readout], colour, "o-", lif)
        _points(axes, rate / middle, over[readout], colour, "s--", f"spike coding, moved by ν: {label}", hollow=True)
    axes.axhline(1, color="0.7", lw=0.8, zorder=0)
    nu = NUS[m][len(NUS[m]) // 2]
    axes.set(xscale="log", yscale="log", ylim=(0.5, 2e3), xlim=(0.05, 8))
    axes.set_xlabel(f"rate / rate at gain {REFERENCE:g} (LIF) or at ν = {nu:.2g}")
    axes.set_ylabel("loss / loss of a network retrained at that rate")
    double = GAINS[m].index(4.4)
    raw, gain = (factors[r][:, double].mean() for r in ("raw", "gain"))
    moved = [f"{np.nanmean(over[r], axis=0).max():.1f}" for r in ("raw", "gain")]
    axes.set_title(
        f"M = {m}: LIF at {ratio[:, double].mean():.1f} x the rate {raw:.0f} x ({gain:.1f} x with a gain),\n"
        f"spike coding at most {moved[0]} x ({moved[1]} x with a gain)"
    )


def _points(
    axes: Any, x: np.ndarray, y: np.ndarray, colour: str, style: str, label: str, hollow: bool = False
) -> None:
    """Mean over seeds, with the standard deviation of the logarithms; seeds without a value are left out."""
    x, y = np.log(x), np.log(y)
    some = np.isfinite(y).any(0)
    x, y = x[:, some], y[:, some]
    centre = np.exp(np.nanmean(y, axis=0))
    error = np.nanstd(y, axis=0, ddof=1) if len(y) > 1 else np.zeros(y.shape[1])
    error = np.nan_to_num(error)
    face = "white" if hollow else COLOURS[colour]
    bars = (centre - centre * np.exp(-error), centre * np.exp(error) - centre)
    axes.errorbar(
        np.exp(x.mean(0)), centre, yerr=bars, fmt=style, color=COLOURS[colour], mfc=face, ms=4, lw=1.2, elinewidth=0.9,
        label=label,
    )  # fmt: skip


if __name__ == "__main__":
    scripts.run(lambda: run_figure("coding_tradeoff", __doc__ or "", compute, draw, table=table))
