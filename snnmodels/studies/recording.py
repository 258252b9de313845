"""What happens during one batch: arrays of the forward and of the backward simulation after every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from brian2.core.variables import Variable

from ..brian.session import RuntimeSession
from ..gradients.grid import GridSimulation
from ..gradients.source import Outcome

__all__ = ["Recording", "record"]


@dataclass(frozen=True)
class Recording:
    """Traces on the grid, both directions on the time axis of the forward simulation.

    Attributes
    ----------
    times : array, shape (steps + 1,)
        Grid points in seconds, from 0 to the duration.
    traces : mapping of str to array, shape (steps + 1, size)
        By key. A state or costate at a grid point; a gradient at t holds the contributions of everything after t, so
        that its value at 0 is that of the whole trial.
    outcome : Outcome
        What the batch gave.
    """

    times: np.ndarray
    traces: Mapping[str, np.ndarray]
    outcome: Outcome


def record(
    simulation: GridSimulation,
    inputs: Mapping[str, np.ndarray],
    targets: np.ndarray,
    forward: Sequence[str] = (),
    backward: Sequence[str] = (),
) -> Recording:
    """Simulate a batch and its adjoint, and keep arrays of every step.

    Parameters
    ----------
    simulation : GridSimulation
        On a runtime target (numpy or cython).
    inputs, targets
        As for `GridSimulation.run`.
    forward : sequence of str
        States to record, such as ``"hidden.v"``.
    backward : sequence of str
        Costates and accumulating gradients: ``"hidden.lambda_v"``, ``"input_hidden.gw"``, ``"hidden.grad_tau_m"``.
        Elements of a population are in the order trial, neuron; those of a projection are its connections by source,
        then target, summed over the trials.

    Returns
    -------
    Recording

    Raises
    ------
    ValueError
        If the simulation is compiled, or something is not there to be recorded.
    """
    session = simulation._session
    if not isinstance(session, RuntimeSession):
        raise ValueError(f"target = {simulation.target!r}; recording needs a simulation on 'numpy' or 'cython'")
    for key in forward:
        if key not in (known := _states(session)):
            raise ValueError(f"no state {key!r} to record; there are {', '.join(known)}")
    for key in backward:
        if key not in (costates := _costates(session)):
            raise ValueError(f"nothing called {key!r} to record backward; there are {', '.join(costates)}")
    states = [_states(session)[key] for key in forward]
    steps = simulation.plan.steps
    kept: list[list[np.ndarray]] = []

    def keep() -> None:
        ahead = len(kept) < steps
        kept.append([np.array(v.get_value()) for v in states] if ahead else [session.read(k).copy() for k in backward])

    session.after_step = keep
    try:
        outcome = simulation.run(inputs, targets)
    finally:
        session.after_step = None
    ahead = {key: np.stack([x[k] for x in kept[:steps]]) for k, key in enumerate(forward)}
    back = {key: np.stack([x[k] for x in kept[steps:]]) for k, key in enumerate(backward)}
    traces = {key: np.concatenate([_start(session, key, after.shape[1]), after]) for key, after in ahead.items()}
    traces |= {key: np.concatenate([np.zeros_like(after[:1]), after])[::-1] for key, after in back.items()}
    return Recording(np.arange(steps + 1) * simulation.plan.dt, traces, outcome)


def _states(session: RuntimeSession) -> dict[str, Variable]:
    assembly = session.assembly
    return {
        f"{name}.{x.name}": assembly.forward[f"{name}_forward"].variables[x.name]
        for name, p in assembly.plan.populations.items()
        for x in p.system.states
    }


def _costates(session: RuntimeSession) -> list[str]:
    return [k for k in session.assembly.arrays if k.endswith(".gw") or ".lambda_" in k or ".grad_" in k]


def _start(session: RuntimeSession, key: str, size: int) -> np.ndarray:
    """A state at time 0, shape (1, size); those that start at 0 have no array for it."""
    initial = f"{key}_initial"
    value = session.read(initial) if initial in session.assembly.arrays else np.zeros(size)
    return np.broadcast_to(value, (1, size))
