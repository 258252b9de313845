"""What a finished simulation should not keep to itself: explosions, and budgets that could not be held."""

from __future__ import annotations

import warnings

import numpy as np

from .response import Response

__all__ = ["BudgetWarning", "ExplosionWarning", "explosion_time", "sound_alarms"]

BUSY = 0.8  # of the steps of a window
CANCELLED = 0.5  # of the spikes, at least, in an explosion
TOLERATED = 0.1  # of a budget, and of a price at its bound


class ExplosionWarning(RuntimeWarning):
    """A population spikes in nearly every step, and most spikes undo each other's effect."""


class BudgetWarning(RuntimeWarning):
    """A homeostat ended at a bound of its parameter, short of its budget."""


def explosion_time(response: Response) -> float | None:
    """When a population began to explode: to correct its own corrections, in nearly every time step.

    Spikes are counted in windows of one time constant of the read-out. A window explodes if more than 80 % of its steps
    have a spike, and the signal needed less than half of them: it moves by |x_{k+1} - e x_k| in a step, and the spikes
    by their norms. So a population that is merely busy does not count.

    Parameters
    ----------
    response : Response

    Returns
    -------
    float or None
        Seconds, the start of the first such window; None if there is none.
    """
    network, signal = response.network, response.signal
    width = min(round(network.tau / signal.dt), signal.steps)
    windows = signal.steps // width
    step, neuron = response.spike_steps, response.spike_neurons
    inside = step < windows * width
    spikes = np.bincount(step[inside] // width, minlength=windows)
    moved = np.bincount(step[inside] // width, weights=network.norms[neuron[inside]], minlength=windows)
    drive = network.drive(signal)[: windows * width]
    length = np.sqrt(np.einsum("km,mn,kn->k", drive, network.metric, drive))
    needed = length.reshape(windows, width).sum(1)
    # the read-out starts at 0
    needed[0] += float(np.sqrt(signal.values[0] @ network.metric @ signal.values[0]))
    exploding = (spikes > BUSY * width) & (needed < CANCELLED * moved)
    return float(np.argmax(exploding) * width * signal.dt) if exploding.any() else None


def sound_alarms(response: Response) -> None:
    """Warn of an explosion, and of budgets that were out of reach within the bounds.

    Parameters
    ----------
    response : Response
    """
    network, signal, dt = response.network, response.signal, response.signal.dt
    start = explosion_time(response)
    if start is not None:
        causes = []
        if network.delay:
            causes.append(f"spikes reach others {network.delay:g} s late, which correct the same error meanwhile")
        if network.noise:
            causes.append(f"voltage noise of {network.noise:g} takes neurons across threshold again")
        warnings.warn(
            f"{network.name}: the population explodes from {start:g} s on: it spikes in nearly every step of {dt:g} s, "
            f"and spikes undo each other ({'; '.join(causes) or 'corrections jump across the bounding box'}). A higher "
            "price of spikes (a linear cost), fewer neurons, less delay or noise keep it calm: "
            "docs/coding_populations.md",
            ExplosionWarning,
            stacklevel=3,
        )
    for p, homeostat in network.homeostats.items():
        if homeostat.scope == "neuron":
            continue
        # over the last tenth of the run: the budget is missed, and the price is where it can do no more about it
        first = signal.steps - max(signal.steps // 10, 1)
        late = response.spike_neurons[response.spike_steps >= first]
        spent = float(len(late) if homeostat.energy is None else homeostat.energy[late].sum()) / dt
        spent /= float(homeostat.budget_in_steps(signal.steps, dt)[first:].sum())
        price = float(np.exp(np.log(response.controlled[p][first:]).mean()))
        for key, bound, held in (
            ("minimum", homeostat.low, spent < 1 - TOLERATED and price < homeostat.low * (1 + TOLERATED)),
            ("maximum", homeostat.high, spent > 1 + TOLERATED and price > homeostat.high * (1 - TOLERATED)),
        ):
            if held:
                warnings.warn(
                    f"{network.name}: {p!r} ended at its {key} {bound:g}, where {spent:.2g} of the budget is used "
                    f"and its homeostat can do no more; give another {key}, or another budget",
                    BudgetWarning,
                    stacklevel=3,
                )
