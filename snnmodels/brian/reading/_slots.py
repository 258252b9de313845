"""Where a script keeps its values, and how others are put there: all of them, or none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from brian2.units.fundamentalunits import Quantity

__all__ = ["Array", "Slot", "Target", "quantity", "write_all"]

Array = np.ndarray


def quantity(value: float | Array, dim: Any) -> Any:
    """A number or array in SI base units with its dimensions."""
    return Quantity(np.asarray(value), dim=dim)


@dataclass(frozen=True, eq=False)
class Slot:
    """A variable or number of a script.

    Attributes
    ----------
    what : str
        What messages call it.
    put : callable
        Sets it to an array in SI base units.
    read : callable
        Its values now, one for each synapse or neuron.
    single : bool
        Whether it is one number, so that all values have to be the same.
    refusal : str
        Why it can't be set, and what to do; empty where it can.
    """

    what: str
    put: Callable[[Array], None]
    read: Callable[[], Array]
    single: bool = False
    refusal: str = ""


@dataclass(frozen=True)
class Target:
    """A part of a slot that takes values of a network: at which places of the slot, and from where of the values."""

    slot: Slot
    places: Any = ...
    source: Any = ...


def write_all(values: Mapping[str, Array], targets: Mapping[str, Sequence[Target]]) -> None:
    """Put values into a script.

    Parameters
    ----------
    values : mapping of str to array
        By key of `Network.trainable`.
    targets : mapping of str to sequence of Target
        Where those of each key go.

    Raises
    ------
    ValueError
        If something can't be set, or would have several values at once; nothing has been set then.
    """
    new: dict[Slot, tuple[Array, Array]] = {}
    for key, value in values.items():
        for target in targets[key]:
            slot = target.slot
            if slot.refusal:
                raise ValueError(f"{slot.what}: the values of {key!r} can't be set: {slot.refusal}")
            if slot not in new:
                held = np.array(slot.read(), dtype=float)
                new[slot] = held, np.zeros(held.shape, dtype=bool)
            whole, known = new[slot]
            part = value if np.ndim(value) == 0 else value[target.source]
            if (known[target.places] & (whole[target.places] != part)).any():
                hint = "give each its own variable in the script"
                raise ValueError(f"{slot.what} is to have several values at once, one by {key!r}; {hint}")
            whole[target.places], known[target.places] = part, True
    for slot, (whole, _) in new.items():
        if slot.single and whole.size and np.ptp(whole) > 0:
            hint = "declare it in their equations, one for each"
            raise ValueError(f"{slot.what} is one number for all synapses; {hint}")
    for slot, (whole, _) in new.items():
        slot.put(whole.flat[0] if slot.single and whole.size else whole)
