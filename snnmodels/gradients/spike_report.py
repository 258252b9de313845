"""Who is silent, and what is close to a tangency, where spikes are born and die."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..templates.arguments import check_mapping
from ..templates.errors import brief, suggest
from ..templates.expressions import parse_threshold
from ..templates.groups import Population
from ..templates.quantities import in_unit
from ..templates.units import expression_dimension, unit_dimension, unit_of_dimension

__all__ = ["SpikeReport", "of_population"]


@dataclass(frozen=True)
class SpikeReport:
    """Silent neurons of a population in a batch, and how close it is to spikes that appear or vanish.

    Attributes
    ----------
    population : str
    distance : float
        In the threshold's unit: a neuron that comes closer to its threshold and turns back is a near miss.
    slope : float
        In the threshold's unit per second: a spike that crosses it more slowly is flat.
    spikes : int array, shape (trials, n)
        How many there are.
    approach : array, shape (trials, n)
        Largest value of the event function (left side of the threshold minus right side) from which a neuron turned
        back without a spike, or at which it was rising when the trial ended; ``-inf`` where it never rose without one.
    gdot : tuple of array, shape (crossings,)
        For each trial: rates at which event functions crossed 0. Spikes that an arrival or the end of a refractory
        period caused at once have none.
    """

    population: str
    distance: float
    slope: float
    spikes: np.ndarray
    approach: np.ndarray
    gdot: tuple[np.ndarray, ...]

    @property
    def silent(self) -> np.ndarray:
        """Number of neurons without a spike, by trial; shape (trials,)."""
        return np.asarray((self.spikes == 0).sum(axis=1))

    @property
    def always_silent(self) -> int:
        """Number of neurons without a spike in any trial."""
        return int((self.spikes == 0).all(axis=0).sum())

    @property
    def near_misses(self) -> np.ndarray:
        """Number of neurons within the distance of a spike that did not happen, by trial; shape (trials,)."""
        return np.asarray((self.approach >= -self.distance).sum(axis=1))

    @property
    def flat_spikes(self) -> np.ndarray:
        """Number of spikes that crossed more slowly than the slope, by trial; shape (trials,)."""
        return np.array([int((rates < self.slope).sum()) for rates in self.gdot])

    def __str__(self) -> str:
        trials, n = self.spikes.shape
        return (
            f"{self.population}, mean of {trials} trials: of {n} neurons {self.silent.mean():.3g} silent "
            f"({self.always_silent} in all trials), {self.near_misses.mean():.3g} within {self.distance:g} of a spike "
            f"that did not happen; of {self.spikes.sum(axis=1).mean():.3g} spikes {self.flat_spikes.mean():.3g} "
            f"crossed with less than {self.slope:g} per second"
        )


def of_population(value: Any, population: Population, name: str, per: str = "") -> float:
    """A positive number in the unit of a population's threshold.

    Parameters
    ----------
    value : number, Quantity, or mapping of str to these
        For all populations, or by name.
    population : Population
        One that spikes.
    name : str
        What it is, for messages.
    per : str
        What follows the unit, as ``"/second"``.

    Raises
    ------
    ValueError
        If there is none for the population, or it is not positive or in another unit.
    """
    if isinstance(value, Mapping):
        check_mapping(name, value, "a number, or numbers by population")
        if population.name not in value:
            hint = suggest(population.name, value)
            raise ValueError(f"{name}: there is none for population {population.name!r}; {hint}")
        value = value[population.name]
    model = population.model
    assert model.threshold is not None
    known = {s.name: unit_dimension(s.unit) for s in model.states}
    known |= {p.name: unit_dimension(p.unit) for p in model.parameters.values()}
    dimension = expression_dimension(parse_threshold(model.threshold)[0], known)
    unit = unit_of_dimension(dimension) + per
    found = in_unit(value, unit, f"{name} of population {population.name!r}")
    if found.ndim or not (np.isfinite(found) and found > 0):
        raise ValueError(f"{name} of population {population.name!r}: expected a positive number, got {brief(value)}")
    return float(found)
