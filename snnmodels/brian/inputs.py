"""Sources of given spike times, forward and backward."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from brian2 import NeuronGroup, linked_var
from brian2.units import second

from ..templates.groups import SpikeInput
from ..templates.spike_times import checked_times
from .initialisation import Copy, Fill, Initialisation
from .plan import Plan
from .rendering import EquationList, storage

__all__ = ["BackwardInput", "ForwardInput", "Scheduled", "schedule"]

RATE = (1 / second).dim


@dataclass(frozen=True)
class Scheduled:
    """Spikes of an input on the grid.

    Attributes
    ----------
    shape : tuple of int
        Trials, sources, spikes per source; with padding.
    place : int array, shape (spikes,)
        Where each spike is in a flat array of that shape, ascending.
    step : int array, shape (spikes,)
        Step in which it is delivered.
    offset : array, shape (spikes,)
        Time from the spike to the end of that step, in seconds.
    """

    shape: tuple[int, int, int]
    place: np.ndarray
    step: np.ndarray
    offset: np.ndarray

    def fill(self, values: np.ndarray) -> np.ndarray:
        """Values of the spikes in an array of the full shape, 0 at the padding."""
        full = np.zeros(self.shape)
        full.reshape(-1)[self.place] = values
        return full


def schedule(times: np.ndarray, name: str, plan: Plan, trials: int | None = None) -> Scheduled:
    """Steps and offsets of given spike times.

    Parameters
    ----------
    times : array, shape (trials, n) or (trials, n, spikes)
        Seconds, ascending, padded with ``inf``.
    name : str
        Name of the input, for messages.
    plan : Plan
    trials : int, optional
        How many there have to be; any number if not given.

    Returns
    -------
    Scheduled
        A second spike of one source in a step is delivered in the next one, with its own time.

    Raises
    ------
    ValueError
        For a wrong shape, NaN, negative or unsorted times, times not before the end of the trial, and more spikes per
        source than the plan makes room for.
    """
    t = checked_times(times, f"input {name!r}", plan.size(name), trials, plan.network.duration)
    if t.shape[2] > plan.input_spikes:
        raise ValueError(
            f"input {name!r} has up to {t.shape[2]} spikes per source; the simulation was made for "
            f"{plan.input_spikes}: set input_spikes"
        )
    # most places are padding, so what follows is done for the spikes alone
    place = np.flatnonzero(t < np.inf)
    at = t.reshape(-1)[place]
    # a time that is a multiple of dt up to rounding belongs to the step that it begins
    step = (at / plan.dt + 1e-9).astype(np.int64)
    if t.shape[2] > 1:
        step = _one_per_step(t.shape, place, step)
    if step.max(initial=0) >= plan.steps:
        trial, source = np.unravel_index(place[step.argmax()], t.shape)[:2]
        raise ValueError(
            f"input {name!r}, trial {trial}, source {source}: too many spikes in the last step; make dt smaller"
        )
    offset = np.zeros_like(at) if plan.timing == "grid" else (step + 1) * plan.dt - at
    return Scheduled(t.shape, place, step, offset)


def _one_per_step(shape: tuple[int, int, int], place: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Steps with those of a source's later spikes moved on where one would be met twice."""
    full = np.full(shape, np.iinfo(np.int64).min // 2)
    full.reshape(-1)[place] = step
    for k in range(1, shape[2]):
        full[:, :, k] = np.maximum(full[:, :, k], full[:, :, k - 1] + 1)
    return full.reshape(-1)[place]


@dataclass
class ForwardInput:
    """Group whose neurons spike at stored times; the backward group walks the same store from its end."""

    plan: Plan
    source: SpikeInput
    group: NeuronGroup = field(init=False)
    store: NeuronGroup = field(init=False)
    initial: Initialisation = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        name = self.source.name
        store = EquationList(name)
        store.integer(["ev_step"])
        store.parameter("ev_s", second.dim)
        store.parameter("ev_grad", RATE)
        self.store = storage(self.n * self.stride, store, f"{name}_events")
        equations = EquationList(name)
        equations.integer(["number", "ev_slot"])
        equations.parameter("s_arrival", second.dim)
        equations.integer(["ev_step"], "linked")
        equations.parameter("ev_s", second.dim, "linked")
        here = "ev_step == t_in_timesteps"
        self.group = NeuronGroup(
            self.n, equations.equations(), events={"spike": here, "ev_move": here}, name=f"{name}_forward"
        )
        for x in ("ev_step", "ev_s"):
            setattr(self.group, x, linked_var(self.store, x, index="ev_slot"))
        self.group.set_event_schedule("ev_move", when="thresholds")
        self.group.run_on_event("spike", "s_arrival = ev_s", when="after_thresholds")
        self.group.run_on_event("ev_move", "ev_slot += 1", when="resets")
        v = self.group.variables
        self.initial += [Fill(v["ev_slot"], 1, self.stride), Fill(v["number"], 0, 1)]

    @property
    def n(self) -> int:
        """Sources of the whole batch."""
        return self.plan.batch_size * self.source.n

    @property
    def stride(self) -> int:
        """Places per source in the store: its spikes between two sentinels."""
        return self.plan.input_spikes + 2


@dataclass
class BackwardInput:
    """Group that meets the spikes of an input again, last first, and keeps the sensitivity to each time."""

    plan: Plan
    forward: ForwardInput
    group: NeuronGroup = field(init=False)
    initial: Initialisation = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        f = self.forward
        equations = EquationList(f.source.name)
        equations.integer(["number", "ev_slot"])
        equations.integer(["ev_step"], "linked")
        for x, dim in (("ev_s", second.dim), ("ev_grad", RATE)):
            equations.parameter(x, dim, "linked")
        equations.parameter("s_arrival", second.dim)
        equations.parameter("q_time", RATE)
        here = f"ev_step == {self.plan.steps - 1} - t_in_timesteps"
        events = dict.fromkeys(("ev_found", "ev_jump", "ev_move"), here)
        self.group = g = NeuronGroup(f.n, equations.equations(), events=events, name=f"{f.source.name}_backward")
        for x in ("ev_step", "ev_s", "ev_grad"):
            setattr(g, x, linked_var(f.store, x, index="ev_slot"))
        for event in events:
            g.set_event_schedule(event, when="thresholds")
        g.run_on_event("ev_found", "s_arrival = ev_s", when="after_thresholds")
        g.run_on_event("ev_jump", "ev_grad = q_time\nq_time = 0*q_time", when="resets")
        g.run_on_event("ev_move", "ev_slot -= 1", when="end")
        self.initial = [
            # forward, the slot ends one past the last spike
            Copy(g.variables["ev_slot"], f.group.variables["ev_slot"], -1),
            Fill(g.variables["number"], 0, 1),
            Fill(g.variables["q_time"], 0),
            Fill(f.store.variables["ev_grad"], 0),
        ]
