"""F8: how much delay, voltage noise and loss of neurons a price of spikes buys.

python scripts/figure_coding_tolerance.py [--quick] [--out DIR]

Prices are in units of d². A population is calm if it spikes at most 1.2 times as often as without delay. Several
starting phases of the signal, draws of the noise or of the lost neurons: means and standard deviations.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from snnmodels.coding import (
    CodingNetwork,
    ExplosionWarning,
    Signal,
    golden_angle_decoder,
    joint_loss,
    log_uniform_norms,
    ring_decoder,
    simulate,
)
from snnmodels.coding.tolerance import burst_price, loss_of_survivors, noisy_rate
from snnmodels.studies.figures import COLOURS, letter, run_figure
from snnmodels.studies.scripts import run

LOSS = joint_loss({"sparsity": "nu*r"}, parameters={"nu": 0.0}, tau=0.02)
D = 0.2
RINGS = (6, 12, 24)
DELAYS = (1, 2, 5, 10, 20)  # steps of 0.1 ms
CALM = 1.2
FREQUENCY = 0.5
SPEED = float(np.hypot(2 * np.pi * FREQUENCY, 1 / 0.02))  # |dx/dt + x/tau| on a circle of radius 1
NOISE = (0.0, 0.0625, 0.125, 0.1875, 0.25, 0.375, 0.5, 0.75, 1.0)  # standard deviations, in units of the price
NOISY_PRICES = (0.25, 1.0, 2.0)
LOST = (0.0, 0.25, 0.5, 0.625, 0.75)
LOSING_PRICES = (0.0, 0.5, 2.0)
LOSING_RING = 32
MIXED = 50
LARGEST = 0.2
MIXED_PRICES = (0.05, 0.2, 0.5, 1.0, 2.0, 4.0, 6.0)  # of the largest norm squared


def circle(duration: float, phase: float, ramp: float = 0.2, frequency: float = FREQUENCY) -> Signal:
    """A circle signal that starts from 0 within `ramp` seconds; with ramp 0, from its full length."""
    dt = 1e-4
    t = np.arange(round(duration / dt) + 1) * dt
    angle = 2 * np.pi * frequency * t + phase
    length = np.minimum(t / ramp, 1.0) if ramp else np.ones_like(t)
    return Signal(length[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1), dt)


def ring(n: int, price: float, **options: Any) -> CodingNetwork:
    """Equal norms D; the price in D²."""
    return CodingNetwork(ring_decoder(n, D), LOSS, {"nu": price * D**2}, **options)


def calm(n: int, price: float, steps: int, signal: Signal, undelayed: dict[float, float]) -> bool:
    """Whether a ring bears a delay; rates without delay are looked up."""
    late = signal.duration / 3
    if price not in undelayed:
        undelayed[price] = simulate(ring(n, price), signal).rate(late)
    return simulate(ring(n, price, delay=steps * signal.dt), signal).rate(late) <= CALM * undelayed[price]


def critical_price(n: int, steps: int, signal: Signal, undelayed: dict[float, float]) -> float:
    """The price from which on a ring is calm, to 1/8 of d², by bisection."""
    low, high = 0.0, 8.0
    while high - low > 1 / 8:
        middle = (low + high) / 2
        low, high = (low, middle) if calm(n, middle, steps, signal, undelayed) else (middle, high)
    return high


def mixed_norms(price: float, steps: int = 0) -> CodingNetwork:
    """Fine and coarse neurons in every direction; the price in units of the largest norm squared."""
    decoder = golden_angle_decoder(MIXED, log_uniform_norms(MIXED, LARGEST / 10, LARGEST))
    return CodingNetwork(decoder, LOSS, {"nu": price * LARGEST**2}, delay=steps * 1e-4)


def longest_delay(price: float, phase: float, delays: Sequence[int]) -> int:
    """The longest of the delays, in steps, up to which a population of mixed norms is calm; 0 if it bears none."""
    signal = circle(0.7, phase, frequency=2.0)
    quiet, borne = simulate(mixed_norms(price), signal).rate(0.2), 0
    for steps in delays:
        if simulate(mixed_norms(price, steps), signal).rate(0.2) > CALM * quiet:
            break
        borne = steps
    return borne


def of_ring(n: int, phase: float, delays: Sequence[int]) -> np.ndarray:
    """Critical prices by delay, from a smooth start and from a jump."""
    warnings.simplefilter("ignore", ExplosionWarning)
    found = []
    for ramp in (0.2, 0.0):
        signal, known = circle(0.6, phase, ramp=ramp), dict[float, float]()
        found.append([critical_price(n, steps, signal, known) for steps in delays])
    return np.array(found)


def of_noise(phase: float, seed: int, noise: Sequence[float]) -> np.ndarray:
    """Rates by price and noise."""
    warnings.simplefilter("ignore", ExplosionWarning)
    return np.array(
        [
            [simulate(ring(12, p, noise=x * p * D**2), circle(1.0, phase), seed=seed).rate(0.3) for x in noise]
            for p in NOISY_PRICES
        ]
    )


def of_loss(seed: int) -> np.ndarray:
    """Losses measured and predicted, by price and part of the neurons that is lost."""
    order, found = np.random.default_rng(seed).permutation(LOSING_RING), np.empty((2, len(LOSING_PRICES), len(LOST)))
    for k, part in enumerate(LOST):
        kept = np.sort(order[: round(LOSING_RING * (1 - part))])
        for p, price in enumerate(LOSING_PRICES):
            network = CodingNetwork(ring_decoder(LOSING_RING, D)[:, kept], LOSS, {"nu": price * D**2})
            found[:, p, k] = (
                simulate(network, circle(2.2, 0.0)).coding_loss(discard=0.2),
                loss_of_survivors(network, directions=36),
            )
    return found


def of_mixed(phase: float, prices: Sequence[float], delays: Sequence[int]) -> np.ndarray:
    """Longest delays by price."""
    warnings.simplefilter("ignore", ExplosionWarning)
    return np.array([longest_delay(price, phase, delays) for price in prices])


def compute(quick: bool) -> dict[str, Any]:
    """All four panels, in several processes."""
    seeds, draws = (1, 2) if quick else (3, 6)
    rings, delays = (RINGS[:2], DELAYS[::3]) if quick else (RINGS, DELAYS)
    noise, prices = (NOISE[::2], MIXED_PRICES[::3]) if quick else (NOISE, MIXED_PRICES)
    tried: Sequence[int] = DELAYS[:2] if quick else (*DELAYS, 40)
    phases = np.random.default_rng(0).uniform(0, 2 * np.pi, seeds).tolist()
    with ProcessPoolExecutor() as pool:
        of_rings = [[pool.submit(of_ring, n, phase, delays) for phase in phases] for n in rings[::-1]][::-1]
        noisy = [pool.submit(of_noise, phase, s, noise) for s, phase in enumerate(phases)]
        lost = [pool.submit(of_loss, s) for s in range(draws)]
        mixed = [pool.submit(of_mixed, phase, prices, tried) for phase in phases]
        # (rings, seeds, starts, delays)
        critical = np.array([[one.result() for one in row] for row in of_rings])
        losses = np.array([one.result() for one in lost])
        return {
            "rings": rings,
            "delays": delays,
            "critical_ramp": critical[:, :, 0].swapaxes(1, 2),
            "critical_cold": critical[:, :, 1].swapaxes(1, 2),
            "theory": [[burst_price(D, n, s, SPEED * s * 1e-4) / D**2 for s in delays] for n in rings],
            "noise": noise,
            "noisy": np.moveaxis(np.array([one.result() for one in noisy]), 0, -1),
            "lost": np.moveaxis(losses[:, 0], 0, -1),
            "lost_theory": np.moveaxis(losses[:, 1], 0, -1),
            "mixed_prices": prices,
            "mixed": np.transpose([one.result() for one in mixed]),
        }


def table(data: Mapping[str, np.ndarray]) -> str:
    """The numbers of the figure, as Markdown."""

    def spread(values: np.ndarray, digits: int) -> str:
        return f"{values.mean():.{digits}f} ± {values.std():.{digits}f}"

    lines = ["| N | delay | least price, smooth start | cold start | bursts |", "|---|---|---|---|---|"]
    for k, n in enumerate(data["rings"]):
        for m, steps in enumerate(data["delays"]):
            cells = [spread(data[f"critical_{start}"][k, m], 2) for start in ("ramp", "cold")]
            lines.append(f"| {n} | {steps / 10:g} ms | {cells[0]} | {cells[1]} | {data['theory'][k, m]:.2f} |")
    lines += ["", "| noise/price | " + " | ".join(f"ν = {p:g} d²" for p in NOISY_PRICES) + " |"]
    lines.append("|---" * (1 + len(NOISY_PRICES)) + "|")
    for k, sigma in enumerate(data["noise"]):
        cells = [spread(data["noisy"][p, k] / data["noisy"][p, 0], 2) for p in range(len(NOISY_PRICES))]
        lines.append(f"| {sigma:g} | " + " | ".join(cells) + " |")
    lines += ["", "| lost | " + " | ".join(f"ν = {p:g} d², theory" for p in LOSING_PRICES) + " |"]
    lines.append("|---" * (1 + len(LOSING_PRICES)) + "|")
    for k, part in enumerate(LOST):
        cells = [
            f"{np.median(data['lost'][p, k]):.4f} ({data['lost'][p, k].min():.4f} to {data['lost'][p, k].max():.4f}), "
            f"{np.median(data['lost_theory'][p, k]):.4f}"
            for p in range(len(LOSING_PRICES))
        ]
        lines.append(f"| {part:.1%} | " + " | ".join(cells) + " |")
    lines += ["", "| ν / largest d² | longest calm delay of each signal (ms) |", "|---|---|"]
    for price, borne in zip(data["mixed_prices"], data["mixed"], strict=True):
        lines.append(f"| {price:g} | {', '.join(f'{steps / 10:g}' for steps in np.sort(borne))} |")
    return "\n".join(lines)


def draw(data: Mapping[str, np.ndarray]) -> Figure:
    """A panel each for delay in rings, delay in mixed norms, noise, and loss of neurons."""
    figure = Figure(figsize=(10.5, 7.4), layout="constrained")
    (delay, mixed), (noise, lost) = figure.subplots(2, 2)
    colours = [COLOURS[c] for c in ("blue", "orange", "green")]

    ms = data["delays"] / 10
    for k, (n, colour) in enumerate(zip(data["rings"], colours, strict=False)):
        found, cold = data["critical_ramp"][k], data["critical_cold"][k]
        delay.plot(ms, data["theory"][k], color=colour, lw=1.2)
        delay.errorbar(ms, found.mean(1), found.std(1), fmt="o", ms=4, color=colour, label=f"N = {n}")
        delay.errorbar(ms, cold.mean(1), cold.std(1), fmt="o", ms=4, mfc="white", color=colour)
    delay.plot([], [], "o", mfc="white", color="0.4", label="from a jump of the signal")
    delay.plot([], [], color="0.4", label="theory: bursts")
    delay.set(xscale="log", xlabel="delay (ms)", ylabel="least calm price ν/d²", ylim=(-0.2, 8.2))
    delay.set_title("Rings: a price buys delay, redundancy costs it")
    delay.legend(loc="upper left")

    borne = np.maximum(data["mixed"] / 10, 0.05)
    mixed.plot(data["mixed_prices"], borne, ".", ms=5, color=COLOURS["sky"])
    middle = np.median(borne, 1)
    mixed.plot(data["mixed_prices"], middle, "o-", ms=4.5, color=COLOURS["blue"], label="median of signals")
    mixed.axvline(1, color="0.6", lw=0.8, ls=":")
    mixed.set(xscale="log", yscale="log", xlabel="price ν / largest d²", ylabel="longest calm delay (ms)")
    mixed.set_yticks([0.05, 0.1, 1], ["none", "0.1", "1"])
    mixed.set_title(f"Mixed norms (N = {MIXED}): only above the largest d²")
    mixed.legend(loc="upper left")

    fine = np.linspace(0.01, 1, 100)
    for p, (price, colour) in enumerate(zip(NOISY_PRICES, colours, strict=True)):
        rates = data["noisy"][p] / data["noisy"][p, 0].mean()
        base = float(data["noisy"][p, 0].mean())
        low, high = ([noisy_rate(base, 1, x, pairs, 1e-4) / base for x in fine] for pairs in (1, 6))
        noise.fill_between(fine, low, high, color=colour, alpha=0.15, lw=0)
        label = f"ν = {price:g} d²"
        noise.errorbar(data["noise"], rates.mean(1), rates.std(1), fmt="o", ms=4, color=colour, label=label)
    noise.fill_between([], [], [], color="0.4", alpha=0.2, label="theory: 1 to N/2 pairs")
    noise.set(yscale="log", xlabel="noise σ/ν", ylabel="spikes, relative to none")
    noise.set_title("Noise of a quarter of the price is borne (N = 12)")
    noise.legend(loc="upper left")

    for p, (price, colour) in enumerate(zip(LOSING_PRICES, colours, strict=True)):
        values, theory = data["lost"][p], data["lost_theory"][p]
        part = 100 * np.asarray(LOST) + (p - 1) * 0.8
        lost.plot(part, np.median(theory, 1), color=colour, lw=1.2)
        lost.plot(np.repeat(part[:, None], values.shape[1], 1), values, ".", ms=3, color=colour, alpha=0.4)
        lost.plot(part, np.median(values, 1), "o", ms=4.5, color=colour, label=f"ν = {price:g} d²")
    lost.plot([], [], color="0.4", label="theory, median")
    lost.set(yscale="log", xlabel="neurons lost (% of 32)", ylabel="coding loss")
    lost.set_title("Loss of neurons: felt when the box opens, at any price")
    lost.set_ylim(None, 3)
    lost.legend(loc="upper left", ncols=2)
    for axes, text in zip((delay, mixed, noise, lost), "ABCD", strict=True):
        letter(axes, text, -0.1)
    return figure


if __name__ == "__main__":
    run(lambda: run_figure("coding_tolerance", __doc__ or "", compute, draw, table=table))
