"""F10: excitatory and inhibitory populations that obey Dale's law, next to a single population.

python scripts/figure_coding_populations.py [--quick] [--out DIR]

All networks have 80 (excitatory) neurons of equal norms d and a price of d² per spike. One population on the two
signals has synapses of both signs; on their positive and negative parts it has inhibitory ones only; the excitatory and
inhibitory populations (80 and 20 neurons) share the work. Losses are of a read-out with a scalar gain that was fitted
on another signal; means and standard deviations over signals.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from snnmodels.coding import (
    CodingNetwork,
    PopulationsResponse,
    Response,
    Signal,
    Trace,
    TwoPopulations,
    golden_angle_decoder,
    joint_loss,
    scalar_gain,
    simulate,
    simulate_populations,
    smooth_signal,
    split_signs,
    synapses_per_spike,
)
from snnmodels.studies.figures import COLOURS, letter, run_figure
from snnmodels.studies.scripts import run

LOSS = joint_loss({"sparsity": "nu*r", "adaptation": "mu*a**2"}, {"a": Trace("neuron", 0.1)}, {"nu": 0.0, "mu": 0.0})
N_E, N_I = 80, 20
NORMS = (0.05, 0.07, 0.1, 0.14, 0.2, 0.28)
SHOWN = 0.1
PRICES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
ADAPTATION = 0.02  # of d²
KINDS = ("one population", "one, split signals", "E and I", "E and I, adapting")
WINDOWS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02)
DISCARD = 0.5
Network = CodingNetwork | TwoPopulations


def network(kind: str, d: float, price: float = 1.0) -> Network:
    """One of `KINDS`; the inhibitory neurons are as fine as the excitatory ones."""
    decoder, values = golden_angle_decoder(N_E, d), {"nu": price * d**2}
    if kind == "one population":
        return CodingNetwork(decoder, LOSS, values, name=kind)
    if kind.endswith("adapting"):
        values["mu"] = ADAPTATION * d**2
    excitatory = CodingNetwork(split_signs(decoder, 0), LOSS, values, name="excitatory population")
    if kind == "one, split signals":
        return excitatory
    inhibitory = split_signs(golden_angle_decoder(N_I, d), 0)
    return TwoPopulations(excitatory, CodingNetwork(inhibitory, LOSS, name="inhibitory population"))


def simulated(net: Network, signal: Signal) -> tuple[Response | PopulationsResponse, np.ndarray]:
    """The response, and the estimate of the signal."""
    dimensions = net.excitatory.dimensions if isinstance(net, TwoPopulations) else net.dimensions
    split = Signal(split_signs(signal.values, 1), signal.dt) if dimensions > signal.dimensions else signal
    response: Response | PopulationsResponse
    if isinstance(net, TwoPopulations):
        response = both = simulate_populations(net, split)
        estimate = both.excitatory.estimate
    else:
        response = one = simulate(net, split)
        estimate = one.estimate
    half = signal.dimensions
    return response, estimate if dimensions == half else estimate[:, :half] - estimate[:, half:]


def synaptic_events(response: Response | PopulationsResponse) -> float:
    """Per second, the read-out's included."""
    if isinstance(response, Response):
        return float(response.rates(DISCARD) @ synapses_per_spike(response.network))
    net = response.network
    used = {key: (w != 0).sum(0) for key, w in net.weights().items()}
    of_e = used["E to I"] + (net.excitatory.decoder != 0).sum(0)
    of_i = used["I to E"] + used["I to I"]
    return float(response.excitatory.rates(DISCARD) @ of_e + response.inhibitory.rates(DISCARD) @ of_i)


def measured(net: Network, signal: Signal, other: Signal) -> list[float]:
    """Excitatory and inhibitory spikes/s, synaptic events/s, and loss with a gain fitted on the other signal."""
    first = signal.first_step(DISCARD)
    _, known = simulated(net, other)
    gain = scalar_gain(known[first:], other.values[1:][first:])
    response, estimate = simulated(net, signal)
    error = (signal.values[1:] - gain * estimate)[first:]
    e, i = response.rate(DISCARD), 0.0
    if isinstance(response, PopulationsResponse):
        e, i = response.excitatory.rate(DISCARD), response.inhibitory.rate(DISCARD)
    return [e, i, synaptic_events(response), float((error**2).sum(1).mean())]


def balance(response: PopulationsResponse, window: float) -> tuple[float, float]:
    """Correlation of excitation and inhibition in time, and net over excitatory current; means over the neurons."""
    currents = response.currents(np.arange(N_E), window)
    first = response.excitatory.signal.first_step(DISCARD)
    excitation, inhibition = currents["excitation"][first:], -currents["inhibition"][first:]
    moving = (excitation.std(0) > 0) & (inhibition.std(0) > 0)
    pairs = zip(excitation.T[moving], inhibition.T[moving], strict=True)
    together = [np.corrcoef(e, i)[0, 1] for e, i in pairs]
    on = np.maximum(excitation, 0).mean()
    return float(np.mean(together)), float(np.abs(excitation - inhibition).mean() / on)


def compute(quick: bool) -> dict[str, Any]:
    """The trade-off, the price that a loop through inhibitory neurons needs, balance, and a stretch of one response."""
    warnings.simplefilter("ignore")
    seeds, duration = (1, 1.0) if quick else (5, 1.5)
    norms, prices = (NORMS[::2], PRICES[::4]) if quick else (NORMS, PRICES)
    signals = [smooth_signal(duration, seed=s) for s in range(2 * seeds)]
    found = np.empty((len(KINDS), len(norms), seeds, 4))
    loop = np.empty((3, len(prices), seeds, 4))
    for s in range(seeds):
        pair = signals[s], signals[seeds + s]
        for k, kind in enumerate(KINDS):
            for m, d in enumerate(norms):
                found[k, m, s] = measured(network(kind, d), *pair)
        for k, kind in enumerate(KINDS[:3]):
            for m, price in enumerate(prices):
                loop[k, m, s] = measured(network(kind, SHOWN, price), *pair)
    tight = np.empty((len(WINDOWS), seeds, 2))
    for s in range(seeds):
        response, estimate = simulated(network("E and I", SHOWN), signals[s])
        assert isinstance(response, PopulationsResponse)
        tight[:, s] = [balance(response, window) for window in WINDOWS]
        if s == 0:
            shown = slice(5000, signals[0].steps)
            busy = int(np.argmax(response.excitatory.rates(DISCARD)))
            currents = response.currents(np.array([busy]), 0.005)
            data: dict[str, Any] = {
                "time": signals[0].times[1:][shown],
                "signal": signals[0].values[1:][shown],
                "estimate": estimate[shown],
                "excitation": currents["excitation"][shown, 0],
                "inhibition": currents["inhibition"][shown, 0],
            }
            for name, part in (("e", response.excitatory), ("i", response.inhibitory)):
                inside = (part.spike_steps >= shown.start) & (part.spike_steps < shown.stop)
                data[f"{name}_times"] = part.spike_times[inside]
                # neurons by direction
                decoder = golden_angle_decoder(part.network.n, 1.0)
                order = np.argsort(np.argsort(np.arctan2(decoder[1], decoder[0])))
                data[f"{name}_neurons"] = order[part.spike_neurons[inside]]
    return data | {"norms": norms, "prices": prices, "found": found, "loop": loop, "tight": tight}


def spread(values: np.ndarray, form: str) -> str:
    """Mean and standard deviation."""
    return f"{values.mean():{form}} ± {values.std():{form}}"


def table(data: Mapping[str, np.ndarray]) -> str:
    """All networks at the norm shown, the price they need, and balance by window."""
    shown = int(np.argmin(np.abs(data["norms"] - SHOWN)))
    lines = ["| d = 0.1, ν = d² | E spikes/s | I spikes/s | synaptic events/s | loss |", "|---|---|---|---|---|"]
    for k, kind in enumerate(KINDS):
        e, i, events, loss = data["found"][k, shown].T
        cells = [spread(e, ".0f"), spread(i, ".0f"), spread(events, ".0f"), spread(loss, ".4f")]
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    lines += ["", "| ν/d² | " + " | ".join(f"{k}: spikes/s, loss" for k in KINDS[:3]) + " |", "|---|---|---|---|"]
    for m, price in enumerate(data["prices"]):
        loops = data["loop"][:, m]
        cells = [f"{spread(one[:, 0] + one[:, 1], '.0f')}, {spread(one[:, 3], '.4f')}" for one in loops]
        lines.append(f"| {price:g} | " + " | ".join(cells) + " |")
    lines += ["", "| window (ms) | correlation | abs(net)/excitation |", "|---|---|---|"]
    for window, tight in zip(WINDOWS, data["tight"], strict=True):
        lines.append(f"| {1e3 * window:g} | {spread(tight[:, 0], '.3f')} | {spread(tight[:, 1], '.3f')} |")
    return "\n".join(lines)


def draw(data: Mapping[str, np.ndarray]) -> Figure:
    """Left: a stretch of one response. Right: trade-off, price of the loop, tightness of balance."""
    figure = Figure(figsize=(10.5, 7.6), layout="constrained")
    halves: Any = figure.subfigures(1, 2, width_ratios=[1.15, 1])
    left, right = halves
    signals, raster_e, raster_i, currents = left.subplots(4, 1, sharex=True, height_ratios=[1.1, 1.4, 0.7, 1.1])
    t = data["time"]
    signals.plot(t, data["estimate"], color=COLOURS["orange"], lw=0.8)
    signals.plot(t, data["signal"], color="black", lw=0.9)
    signals.set(ylabel="signal,\nread-out", title="An excitatory and an inhibitory population")
    raster_e.plot(data["e_times"], data["e_neurons"], "|", ms=3, color=COLOURS["red"])
    raster_i.plot(data["i_times"], data["i_neurons"], "|", ms=3, color=COLOURS["blue"])
    raster_e.set(ylabel="E neurons,\nby direction", ylim=(-1, N_E))
    raster_i.set(ylabel="I neurons", ylim=(-1, N_I))
    currents.plot(t, data["excitation"], color=COLOURS["red"], label="excitation")
    currents.plot(t, data["inhibition"], color=COLOURS["blue"], label="inhibition")
    currents.plot(t, data["excitation"] + data["inhibition"], color="black", lw=0.9, label="net")
    currents.set(ylabel="currents of one\nE neuron (1/s)", xlabel="time (s)", xlim=(t[0], t[-1]))
    low, high = currents.get_ylim()
    currents.set_ylim(low, high + 0.35 * (high - low))
    currents.legend(loc="upper right", ncols=3, borderpad=0)

    tradeoff, loop, tight = right.subplots(3, 1)
    colours = [COLOURS[c] for c in ("grey", "sky", "red", "pink")]
    for k, (kind, colour) in enumerate(zip(KINDS, colours, strict=True)):
        e, i, _, loss = np.moveaxis(data["found"][k], -1, 0)
        x, y = (e + i).mean(1), loss.mean(1)
        wide = {"lw": 4, "ms": 6, "alpha": 0.5} if k == 0 else {"lw": 1, "ms": 3.5}
        tradeoff.errorbar(x, y, loss.std(1), (e + i).std(1), fmt="o-", color=colour, label=kind, **wide)
    e, _, _, loss = np.moveaxis(data["found"][2], -1, 0)
    tradeoff.plot(e.mean(1), loss.mean(1), "o:", ms=3.5, mfc="white", color=colours[2], lw=1, label="E and I, E spikes")
    tradeoff.set(xscale="log", yscale="log", xlabel="spikes/s", ylabel="coding loss", xlim=(None, 2.5e4))
    tradeoff.set_title("Dale's law costs the spikes of I, and some precision")
    tradeoff.legend(loc="upper right", borderpad=0)
    for k, (kind, colour) in enumerate(zip(KINDS[:3], colours, strict=False)):
        loss = data["loop"][k, :, :, 3]
        wide = {"lw": 4, "ms": 6, "alpha": 0.5} if k == 0 else {"lw": 1, "ms": 3.5}
        loop.errorbar(data["prices"], loss.mean(1), loss.std(1), fmt="o-", color=colour, label=kind, **wide)
    loop.set(yscale="log", xlabel="price ν/d²", ylabel="coding loss")
    loop.set_title("The loop through I is a delay, which a price pays for")
    loop.legend(loc="lower right", borderpad=0)
    for k, (label, colour) in enumerate((("correlation E, −I", "black"), ("|net| / excitation", COLOURS["orange"]))):
        values = data["tight"][:, :, k]
        ms = 1e3 * np.asarray(WINDOWS)
        tight.errorbar(ms, values.mean(1), values.std(1), fmt="o-", ms=3.5, lw=1, color=colour, label=label)
    tight.set(xscale="log", xlabel="window of the currents (ms)", ylabel="balance", ylim=(0, None))
    tight.legend(loc="center right", borderpad=0)
    for axes, text in zip((signals, tradeoff, loop, tight), "ABCD", strict=True):
        letter(axes, text, -0.1)
    return figure


if __name__ == "__main__":
    run(lambda: run_figure("coding_populations", __doc__ or "", compute, draw, table=table))
