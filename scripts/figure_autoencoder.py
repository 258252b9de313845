"""F7: EventProp-trained LIF autoencoders on the axes of F3, trained at several prices of activity, and frozen at one.

    python scripts/figure_autoencoder.py                 # three seeds: about four minutes of CPU time
    python scripts/figure_autoencoder.py --quick         # one seed, two prices, short trainings: half a minute
    python scripts/figure_autoencoder.py --redraw FILE   # the figure again, from a results file

An interrupted run goes on after the last complete part when the same command is given again.
"""

from __future__ import annotations

from snnmodels.studies import scripts  # first: it sets the number of NumPy's threads

# isort: split

import argparse
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from snnmodels.coding import (
    CodingNetwork,
    LIFPopulation,
    golden_angle_decoder,
    held_out_lif,
    load_coding_network,
    smooth_signal,
    sweep_scale,
)
from snnmodels.coding.theory import retrained_curve
from snnmodels.datasets import Trials
from snnmodels.files import as_json, folder_for, read_json, write_rounded
from snnmodels.gradients import Simulation
from snnmodels.studies.autoencoder import (
    AutoencoderSettings,
    autoencoder_loss,
    autoencoder_network,
    coding_error,
    signal_trials,
    train_autoencoder,
)
from snnmodels.studies.figures import COLOURS, letter
from snnmodels.studies.plots import save_figure

# What is measured on: a signal, what is left out at the start, and the gains of F3's standard population.
DURATION, DISCARD, SIGNAL_SEED = 12.0, 0.5, 0
FIT_DURATION, FIT_SEED = 40.0, 100  # of the signal that the standard population's decoders are fitted on, as in F3
GAINS = (0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 4.5, 7.0, 12.0)
FACTORS = tuple(float(f) for f in np.geomspace(0.25, 7, 9))
THRESHOLDS = tuple(float(f) for f in np.geomspace(0.6, 1 / 0.6, 9))  # 1 is among them
FROZEN_AT = 1e-4
SHOWN = (4.0, 6.5)  # seconds of the traces
KINDS = {"feed_forward": False, "recurrent": True}

Result = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Options:
    """What a run covers."""

    prices: tuple[float, ...] = (1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
    trials: int = 384
    validation: int = 64
    epochs: int = 16
    step: int = 1

    def settings(self, recurrent: bool) -> AutoencoderSettings:
        """Settings of the networks."""
        return AutoencoderSettings(recurrent=recurrent, epochs=self.epochs)


QUICK = Options(prices=(1e-5, 1e-4), trials=128, validation=32, epochs=8, step=4)


def main(arguments: list[str] | None = None) -> int:
    """Train what is missing, write results and figure; return the exit status."""
    options = _parse(arguments)
    file = scripts.saved(options, "autoencoder.json")
    if file is not None:
        results = read_json(file, "results file", "reference", *KINDS)
    else:
        run = QUICK if options.quick else Options()
        settings = as_json(dataclasses.asdict(run))
        parts = {
            "reference": scripts.kept_part(
                options.out / "reference.json", _made_from(run), lambda: reference(run.step)
            )
        }
        for kind in KINDS:
            parts[kind] = _networks(run, kind, options.seeds, options.out)
        results = {
            "command": "python scripts/figure_autoencoder.py" + " --quick" * options.quick,
            "seeds": options.seeds,
            "settings": settings,
            "network": as_json(dataclasses.asdict(run.settings(True))),
            **parts,
        }
        _drop_traces(results)
        write_rounded(options.out / "autoencoder.json", results)
    for line in describe(results):
        print(line)
    style = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}
    with matplotlib.rc_context(style):
        save_figure(draw(results), options.out / "autoencoder.png", dpi=options.dpi)
    print(options.out / "autoencoder.png")
    return 0


# --- what is compared with --------------------------------------------------------------------------------------------


def reference(step: int) -> Result:
    """Curves of F3: rate and loss of spike-coding networks rescaled, and of the standard population refitted."""
    signal = smooth_signal(DURATION, seed=SIGNAL_SEED)
    free = CodingNetwork(golden_angle_decoder(100, 0.1), load_coding_network("joint").loss)
    coding = [(p.rate, p.loss["raw"]) for p in sweep_scale(free, FACTORS[::step], signal, discard=DISCARD)]
    fitted_on = smooth_signal(FIT_DURATION, seed=FIT_SEED)
    points = held_out_lif(LIFPopulation(), GAINS[::step], fitted_on, signal, DISCARD)
    standard = [(p.rate, p.loss["retrained"]) for p in points]
    rho = float(np.linalg.norm(signal.values, axis=1).mean())
    return {"coding": coding, "standard": standard, "rho": rho, "tau": 0.02}


# --- training ---------------------------------------------------------------------------------------------------------


def _networks(run: Options, kind: str, seeds: Sequence[int], out: Path) -> Result:
    """Results of one kind of network, by seed."""
    simulations = _Simulations(run, KINDS[kind])
    settings = _made_from(run)
    try:
        return {
            str(seed): scripts.kept_part(
                out / f"{kind}_seed{seed}.json", settings, functools.partial(simulations.seed, seed)
            )
            for seed in seeds
        }
    finally:
        simulations.close()


class _Simulations:
    """The compiled programs of one kind of network, made when the first network is trained."""

    def __init__(self, run: Options, recurrent: bool) -> None:
        self.run, self.settings = run, run.settings(recurrent)
        self._open: tuple[Simulation, Simulation] | None = None
        signal = smooth_signal(DURATION, seed=SIGNAL_SEED)
        self.test = signal_trials(self.settings, signal.values.T[None], signal.dt)

    def windows(self, trials: int, seed: int) -> Trials:
        """Trials cut from one long signal of the statistics of F3's."""
        s = self.settings
        steps = round(s.trial / s.dt)
        values = smooth_signal(trials * s.trial, dt=s.dt, seed=seed).values.T
        cut = np.stack([values[:, k * steps : (k + 1) * steps + 1] for k in range(trials)])
        return signal_trials(s, cut, s.dt)

    def seed(self, seed: int) -> Result:
        """All prices of one seed, and one network with its threshold scaled."""
        from snnmodels.targets.devices import quiet

        data, validation = self.windows(self.run.trials, 1000 + seed), self.windows(self.run.validation, 2000 + seed)
        points, frozen, traces = [], [], {}
        with quiet():
            training, test = self._simulations()
            for price in self.run.prices:
                found = train_autoencoder(self.settings, training, data, validation, price=price, seed=seed)
                values = found.values
                point = coding_error(test, self.test, values, DISCARD)
                losses = found.history.column("validation_loss")
                points.append({"price": price, **point, "epoch": found.epoch, "validation": losses.tolist()})
                print(f"  seed {seed}, price {price:g}: {point['rate']:.0f}/s, loss {point['loss']:.4g}", flush=True)
                if price in (min(self.run.prices), max(self.run.prices)):
                    traces[f"{price:g}"] = self._traces(test)
                if price == FROZEN_AT:
                    for factor in THRESHOLDS[:: self.run.step]:
                        moved = {**values, "hidden.v_th": np.asarray(factor * values["hidden.v_th"])}
                        frozen.append({"factor": factor, **coding_error(test, self.test, moved, DISCARD)})
        return {"points": points, "frozen": frozen, "traces": traces}

    def _traces(self, test: Simulation) -> Result:
        """Estimate of the first component and spikes of some seconds of the last run."""
        first, last = (round(t / self.settings.dt) for t in SHOWN)
        inputs, targets = self.test.take(slice(0, 1))
        estimate = test.run(inputs, targets, gradient=False).output[0, 0, first:last:5]
        spikes = test.spike_times("hidden")[0]
        rows = [[round(float(t), 4) for t in row[(row >= SHOWN[0]) & (row < SHOWN[1])]] for row in spikes]
        return {"x": targets[0, 0, first:last:5].tolist(), "estimate": estimate.tolist(), "spikes": rows}

    def _simulations(self) -> tuple[Simulation, Simulation]:
        if self._open is None:
            s = self.settings
            options: dict[str, Any] = {"target": "cpp_standalone", "input_gradients": False}
            training = Simulation(
                autoencoder_network(s),
                autoencoder_loss(s),
                batch_size=s.batch_size,
                **options,
            )
            test = Simulation(
                autoencoder_network(s, duration=DURATION),
                autoencoder_loss(s, DISCARD),
                batch_size=1,
                **options,
            )
            self._open = training, test
        return self._open

    def close(self) -> None:
        for simulation in self._open or ():
            simulation.close()


# --- results ----------------------------------------------------------------------------------------------------------


def describe(results: Mapping[str, Any]) -> list[str]:
    """Rates and losses over seeds, and how they compare with the reference curves at equal rate."""
    lines = []
    curves = {name: np.array(results["reference"][name]) for name in ("coding", "standard")}
    for kind in KINDS:
        runs = list(results[kind].values())
        slopes = np.array([_slope([(p["rate"], p["loss"]) for p in r["points"]]) for r in runs])
        lines.append(f"{kind}: slope {_spread(slopes)}")
        for k, price in enumerate(p["price"] for p in runs[0]["points"]):
            rate, loss = (np.array([r["points"][k][key] for r in runs]) for key in ("rate", "loss"))
            text = f"{kind}, price {price:g}: loss {_spread(loss)} at {_spread(rate)} spikes/s"
            for name, curve in curves.items():
                at = _at(curve, rate)
                text += f"; {_spread(loss / at)} of {name} network's" if np.isfinite(at).all() else ""
            lines.append(text)
        if runs[0]["frozen"]:
            lines.append(f"{kind}, frozen at price {FROZEN_AT:g}:")
        for k, factor in enumerate(p["factor"] for p in runs[0]["frozen"]):
            rate, loss, gain = (np.array([r["frozen"][k][key] for r in runs]) for key in ("rate", "loss", "loss_gain"))
            lines.append(
                f"  threshold x {factor:.2f}: loss {_spread(loss)}, with gain {_spread(gain)}, at {_spread(rate)}/s"
            )
    return lines


def _slope(points: Any) -> float:
    """Slope of log loss against log rate, by least squares."""
    x, y = np.log(np.asarray(points)).T
    return float(np.polyfit(x, y, 1)[0])


def _at(curve: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """Loss of a curve at given rates, interpolated on logarithmic axes, NaN outside."""
    x, y = np.log(curve[np.argsort(curve[:, 0])]).T
    return np.exp(np.interp(np.log(rate), x, y, left=np.nan, right=np.nan))


def _spread(values: np.ndarray) -> str:
    spread = f" ± {values.std(ddof=1):.2g}" if len(values) > 1 else ""
    return f"{values.mean():.3g}{spread}"


def draw(results: Mapping[str, Any]) -> Figure:
    """The trade-off, and signal, estimate and spikes at a low and a high price."""
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    panels: Any = figure.subfigures(1, 2, width_ratios=(1.25, 1))
    left, right = panels
    axes = left.subplots()
    _tradeoff(axes, results)
    letter(axes, "A")
    _traces(right, results)
    return figure


def _tradeoff(axes: Axes, results: Mapping[str, Any]) -> None:
    known = results["reference"]
    rate = np.geomspace(60, 2e4, 50)
    axes.plot(
        rate,
        retrained_curve(rate, known["rho"], known["tau"]),
        color="0.8",
        lw=3,
        zorder=0,
        label="theory of spike-coding networks (λρ)²/12f²",
    )
    coding = np.array(known["coding"])
    label = f"spike-coding networks, retrained (F3): slope {_slope(coding):.2f}"
    axes.plot(*coding.T, "D-", color=COLOURS["black"], ms=4, label=label)
    axes.plot(
        *np.array(known["standard"]).T,
        "o-",
        color=COLOURS["green"],
        ms=4,
        label="random LIF population, decoder refitted (F3)",
    )
    styles = {"feed_forward": ("blue", "s-", "feed-forward"), "recurrent": ("pink", "^-", "recurrent")}
    for kind, (colour, style, name) in styles.items():
        runs = list(results[kind].values())
        slope = np.mean([_slope([(p["rate"], p["loss"]) for p in r["points"]]) for r in runs])
        label = f"LIF autoencoder, {name}, trained at each κ: slope {slope:.2f}"
        _points(axes, [r["points"] for r in runs], "loss", colour, style, label)
    frozen = [r["frozen"] for r in results["recurrent"].values()]
    if frozen[0]:
        label = "recurrent one frozen (κ = 10⁻⁴), threshold scaled"
        _points(axes, frozen, "loss", "red", "v--", label)
        _points(axes, frozen, "loss_gain", "orange", "x:", "the same, with a scalar gain")
    axes.set(xscale="log", yscale="log", xlim=(60, 2e4), ylim=(3e-5, 1e3))
    axes.set(xlabel="activity (spikes/s of the population)", ylabel="coding loss $\\langle|x-\\hat x|^2\\rangle$")
    axes.legend(loc="upper right", fontsize=7.5, handlelength=2.4, borderpad=0)
    seeds = len(results["recurrent"])
    spread = "one seed" if seeds == 1 else f"mean and standard deviation of {seeds} seeds"
    axes.set_title(
        f"Trained at each price, LIF networks keep to a curve;\nfrozen, they leave it ({spread})", fontsize=9.5
    )
    n = results["network"]["neurons"]
    top = axes.secondary_xaxis("top", functions=(lambda f: np.asarray(f) / n, lambda f: np.asarray(f) * n))
    top.set_xlabel("spikes/s per neuron", fontsize=8)


def _points(axes: Axes, runs: Sequence[Any], key: str, colour: str, style: str, label: str) -> None:
    """Mean over the seeds with the standard deviation of both coordinates, on logarithmic axes."""
    logs = np.log(np.array([[(p["rate"], p[key]) for p in points] for points in runs]))
    mean = logs.mean(axis=0)
    spread = logs.std(axis=0, ddof=1) if len(logs) > 1 else np.zeros_like(mean)
    centre = np.exp(mean)
    below, above = centre - np.exp(mean - spread), np.exp(mean + spread) - centre
    axes.errorbar(
        centre[:, 0],
        centre[:, 1],
        xerr=(below[:, 0], above[:, 0]),
        yerr=(below[:, 1], above[:, 1]),
        fmt=style,
        color=COLOURS[colour],
        ms=4.5,
        lw=1.4,
        elinewidth=0.9,
        label=label,
    )


def _traces(figure: Any, results: Mapping[str, Any]) -> None:
    run = next(iter(results["recurrent"].values()))
    prices = sorted(run["traces"], key=float)
    shown = [prices[0], prices[-1]]
    grid = figure.subplots(4, 1, sharex=True, height_ratios=(1.3, 1, 1.3, 1))
    for k, price in enumerate(shown):
        trace, point = run["traces"][price], next(p for p in run["points"] if p["price"] == float(price))
        upper, lower = grid[2 * k], grid[2 * k + 1]
        time = np.linspace(*SHOWN, len(trace["x"]), endpoint=False)
        upper.plot(time, trace["x"], color="0.6", lw=3, label="signal $x_1$")
        upper.plot(time, trace["estimate"], color=COLOURS["pink"], lw=1.1, label="estimate")
        upper.set_ylabel("$x_1$", rotation=0)
        exponent = round(np.log10(float(price)))
        title = f"κ = $10^{{{exponent}}}$: {point['rate']:.0f} spikes/s, loss {point['loss']:.2g}"
        upper.set_title(title, fontsize=9, loc="left")
        for row, times in enumerate(trace["spikes"]):
            lower.plot(times, np.full(len(times), row), ".", color="k", ms=0.9)
        lower.set(ylabel="neuron", ylim=(-1, len(trace["spikes"])), yticks=(0, 50, 100))
    grid[0].legend(fontsize=7.5, ncols=2, loc="lower right", bbox_to_anchor=(1, 0.98), borderpad=0)
    grid[-1].set(xlabel="time (s)", xlim=SHOWN)
    letter(grid[0], "B", -0.08)


def _drop_traces(results: Result) -> None:
    """Keep the traces that are drawn: two prices of the first recurrent network."""
    for kind in KINDS:
        for k, run in enumerate(results[kind].values()):
            prices = sorted(run.pop("traces").items(), key=lambda item: float(item[0]))
            if kind == "recurrent" and k == 0:
                run["traces"] = dict((prices[0], prices[-1]))


# --- files and options ------------------------------------------------------------------------------------------------


def _made_from(run: Options) -> Result:
    """Everything that a part depends on, so that none is taken for one of other settings."""
    signal = {"duration": DURATION, "seed": SIGNAL_SEED, "discard": DISCARD, "fitted_on": [FIT_DURATION, FIT_SEED]}
    compared = {"factors": FACTORS, "gains": GAINS, "thresholds": THRESHOLDS, "frozen_at": FROZEN_AT}
    return as_json({**dataclasses.asdict(run), **signal, **compared, "network": dataclasses.asdict(run.settings(True))})


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    out = "output/autoencoder, or output/autoencoder_quick"
    parser = scripts.options(__doc__, quick="one seed, two prices, short trainings", out=out, dpi=120)
    parser.add_argument("--seeds", type=int, nargs="+", help="default: 1 2 3, with --quick 1")
    options = parser.parse_args(arguments)
    options.seeds = options.seeds or ([1] if options.quick else [1, 2, 3])
    options.out = options.out or Path("output", "autoencoder_quick" if options.quick else "autoencoder")
    folder_for(options.out, "folder of results")
    return options


if __name__ == "__main__":
    scripts.run(main, "interrupted; the same command goes on after the last complete part")
