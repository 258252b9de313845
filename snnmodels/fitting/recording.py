"""What was recorded: currents, spikes and voltages, checked so that wrong units and lengths are told before a fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..losses.observed import check_positive
from ..templates.arguments import check_numbers, has_unit, real_array
from ..templates.errors import brief, warn_caller
from ..templates.quantities import in_unit

__all__ = ["Recording", "Sweep", "as_recording", "crossings"]

Array = np.ndarray

_LARGEST_VOLTAGE = 1.0  # volts: a membrane potential beyond is one in millivolts
_LARGEST_CURRENT = 1e-3  # amperes: a current into one cell beyond is one in pA or nA
_LONGEST_STEP = 0.02  # seconds between samples: beyond, no neuron is described
_SHORTEST = 0.2e-3  # seconds: no neuron has intervals most of which are shorter
_ONSET, _LONG = 1e-3, 0.5  # seconds: spikes that are all nearer to the beginning of a current of such a length


@dataclass(frozen=True)
class Sweep:
    """One current, and what the neuron did each time that it got it.

    Attributes
    ----------
    current : array, shape (samples,)
        SI units; sample k holds from k dt to (k + 1) dt.
    dt : float
        Seconds.
    spikes : tuple of array, shape (spikes,)
        Of every repetition, ascending, in seconds from the beginning of the current; empty where spikes are not given.
    voltage : array, shape (repetitions, samples), or None
        SI units; sample k is at k dt.
    """

    current: Array
    dt: float
    spikes: tuple[Array, ...] = ()
    voltage: Array | None = None

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.dt * len(self.current)

    def until(self, end: float) -> Sweep:
        """The part up to a time in seconds."""
        return self.part(0.0, end)

    def part(self, start: float, end: float) -> Sweep:
        """The part between two times in seconds, as a sweep of its own: its times count from its beginning."""
        a, b = (min(len(self.current), max(0, round(t / self.dt))) for t in (start, end))
        spikes = tuple(t[(t >= a * self.dt) & (t < b * self.dt)] - a * self.dt for t in self.spikes)
        return Sweep(self.current[a:b], self.dt, spikes, None if self.voltage is None else self.voltage[:, a:b])

    def coarse(self, every: int) -> Sweep:
        """The same with means of so many samples of the current as one: a coarser current that moves the same charge.

        Samples at the end that fill no step are left out, and so is a voltage.
        """
        if every == 1:
            return self
        count = len(self.current) // every
        current = self.current[: count * every].reshape(count, every).mean(axis=1)
        spikes = tuple(t[t < count * every * self.dt] for t in self.spikes)
        return Sweep(current, every * self.dt, spikes)


@dataclass(frozen=True)
class Recording:
    """Sweeps of one neuron.

    Attributes
    ----------
    sweeps : tuple of Sweep
    """

    sweeps: tuple[Sweep, ...]

    @property
    def has_spikes(self) -> bool:
        """Whether spikes are given, be there any or not."""
        return any(s.spikes for s in self.sweeps)

    @property
    def has_voltage(self) -> bool:
        """Whether voltages are given."""
        return any(s.voltage is not None for s in self.sweeps)

    def __repr__(self) -> str:
        repetitions = max(max(len(s.spikes), 0 if s.voltage is None else len(s.voltage)) for s in self.sweeps)
        seconds = sum(s.duration for s in self.sweeps)
        spikes = sum(len(t) for s in self.sweeps for t in s.spikes)
        what = f"{spikes} spikes" if self.has_spikes else "no spikes given"
        voltage = ", voltage" if self.has_voltage else ""
        size = f"{len(self.sweeps)} sweeps, {seconds:g} s, up to {repetitions} repetitions"
        return f"<Recording: {size}, {what}{voltage}>"


def as_recording(
    current: Any, dt: Any, spikes: Any = None, voltage: Any = None, *, unit: str = "amp", voltage_unit: str = "volt"
) -> Recording:
    """A recording from arrays.

    Parameters
    ----------
    current : array, shape (samples,), or sequence of such arrays
        One sweep, or several.
    dt : float or Quantity
        Between samples, in seconds.
    spikes : array, shape (spikes,), or nested sequences of such arrays
        Of one sweep: of its one repetition, or of each. Of several sweeps: one such entry for each.
    voltage : array, shape (samples,) or (repetitions, samples), or sequence of such arrays
        Of one sweep, or one such entry for each.
    unit, voltage_unit : str
        Of current and voltage, base units; other units of quantities are refused.

    Returns
    -------
    Recording

    Raises
    ------
    ValueError
        Naming the sweep and the repetition: for NaN, other lengths, units that can't be, spikes that are not ascending,
        lie outside of their sweep or are nearer to one another than any neuron's.

    Warns
    -----
    UserWarning
        If all spikes are within 1 ms of the beginning of sweeps of half a second or more.
    """
    step = in_unit(dt, "second", "dt")
    if step.ndim or not 0 < step <= _LONGEST_STEP:
        raise ValueError(
            f"dt is {brief(dt)}; expected the time between samples in seconds, at most {_LONGEST_STEP:g} (1 ms is 1e-3)"
        )
    several = is_several(current)
    currents = list(current) if several else [current]
    count = len(currents)
    if not count:
        raise ValueError("current: expected at least one sweep")
    if several and count > 1 and all(np.shape(samples) == (1,) for samples in currents):
        raise ValueError(
            f"current: {count} sweeps of one sample each; expected (samples,), or a row for each sweep. Of a column, "
            "shape (samples, 1), give current[:, 0]"
        )
    given_spikes = _for_each("spikes", spikes, several, count)
    given_voltage = _for_each("voltage", voltage, several, count)
    sweeps = []
    for k, (samples, trains, trace) in enumerate(zip(currents, given_spikes, given_voltage, strict=True)):
        where = f"sweep {k}: " if several else ""
        array = in_unit(samples, unit, f"{where}current")
        _check_samples(f"{where}current", array, 1)
        largest = float(np.abs(array).max(initial=0.0))
        if unit == "amp" and largest > _LARGEST_CURRENT:
            raise ValueError(
                f"{where}current is up to {largest:g} A, which no cell bears: it seems to be in pA or nA; give ampere, "
                "or a quantity such as current*pA"
            )
        duration = float(step) * len(array)
        spikes_of = () if trains is None else _trains(trains, duration, where)
        volts = None if trace is None else _voltage(trace, array, voltage_unit, where)
        if volts is not None and spikes_of and len(volts) != len(spikes_of):
            raise ValueError(
                f"{where}voltage of {len(volts)} repetitions, but spikes of {len(spikes_of)}; expected the same"
            )
        sweeps.append(Sweep(array, float(step), spikes_of, volts))
    _warn_of_onset(sweeps)
    return Recording(tuple(sweeps))


def crossings(voltage: Array, dt: float, level: float = 0.0, apart: float = 2e-3) -> Array:
    """Times at which a sampled voltage crosses a level upward, between samples by a straight line.

    Parameters
    ----------
    voltage : array, shape (samples,)
        In volts.
    dt : float
        Seconds.
    level : float
        In volts.
    apart : float
        Seconds that two spikes are apart at least; of nearer ones the first counts.

    Returns
    -------
    array, shape (spikes,)
        Seconds.

    Raises
    ------
    ValueError
        If the voltage has samples that are NaN or infinite, or a number is none.
    """
    v = real_array("voltage", voltage)
    _check_samples("voltage", v, 1)
    check_positive(dt=dt, apart=apart)
    check_numbers(level=level)
    k = np.flatnonzero((v[:-1] < level) & (v[1:] >= level))
    times = dt * (k + (level - v[k]) / (v[k + 1] - v[k]))
    kept: list[float] = []
    for t in times.tolist():
        if not kept or t - kept[-1] >= apart:
            kept.append(t)
    return np.array(kept)


def is_several(current: Any) -> bool:
    """Whether a current is given as a sequence of sweeps, be it of one, and not as the samples of one."""
    if has_unit(current) or isinstance(current, np.ndarray):
        return np.ndim(current) == 2
    return isinstance(current, Sequence) and len(current) > 0 and np.ndim(current[0]) == 1


def _for_each(name: str, given: Any, several: bool, count: int) -> list[Any]:
    """What belongs to each sweep."""
    if given is None:
        return [None] * count
    if not several:
        return [given]
    if not isinstance(given, Sequence | np.ndarray) or len(given) != count:
        found = len(given) if isinstance(given, Sequence | np.ndarray) else brief(given)
        one = f"; of one sweep, give current of shape (samples,), or [{name}]" if count == 1 else ""
        raise ValueError(f"{name}: {found} for {count} sweeps; expected one entry for each sweep{one}")
    return list(given)


def _check_samples(what: str, array: Array, dimensions: int) -> None:
    if array.ndim != dimensions or not array.size:
        expected = "(samples,)" if dimensions == 1 else "(repetitions, samples)"
        raise ValueError(f"{what} has shape {array.shape}; expected {expected}")
    wrong = np.argwhere(~np.isfinite(array))
    if len(wrong):
        place = ", ".join(map(str, wrong[0]))
        raise ValueError(
            f"{what} has {len(wrong)} samples that are NaN or infinite, the first at [{place}]; cut or fill them"
        )


def _trains(given: Any, duration: float, where: str) -> tuple[Array, ...]:
    nested = isinstance(given, Sequence) and len(given) > 0 and np.ndim(given[0]) == 1
    nested = nested or (isinstance(given, np.ndarray) and given.dtype == object)
    trains = list(given) if nested else [given]
    found = []
    for r, train in enumerate(trains):
        what = f"{where}spikes of repetition {r}" if nested else f"{where}spikes"
        t = in_unit(train, "second", what)
        if t.ndim != 1:
            raise ValueError(f"{what} have shape {t.shape}; expected times, (spikes,), or a list of these")
        if not np.isfinite(t).all():
            raise ValueError(f"{what} are not all finite")
        if len(t) > 1 and not t.any():
            raise ValueError(f"{what} are all 0; leave out what fills up an array, and give [] where there is none")
        if (np.diff(t) <= 0).any():
            k = int(np.argmax(np.diff(t) <= 0))
            raise ValueError(f"{what} are not ascending: {t[k]:g} s is followed by {t[k + 1]:g} s")
        if len(t) > 2 and np.median(np.diff(t)) < _SHORTEST:
            raise ValueError(
                f"{what} are {np.median(np.diff(t)) * 1e3:.3g} ms apart, which is no neuron's rate; they seem to be in "
                "other units, or to have been divided by 1000 twice: give seconds, or a quantity such as times*ms"
            )
        if len(t) and (t[0] < 0 or t[-1] >= duration):
            outside = t[0] if t[0] < 0 else t[-1]
            raise ValueError(
                f"{what}: one at {outside:g} s, outside of the sweep of {duration:g} s; give seconds from the "
                "beginning of the current, or a quantity such as times*ms"
            )
        found.append(t)
    return tuple(found)


def _warn_of_onset(sweeps: Sequence[Sweep]) -> None:
    """Warn where every spike of long sweeps is at their very beginning: such times are hardly in seconds."""
    latest = max((float(t[-1]) for s in sweeps for t in s.spikes if len(t)), default=np.inf)
    shortest = min(s.duration for s in sweeps)
    if latest < _ONSET and shortest >= _LONG:
        warn_caller(
            f"every spike is within {latest * 1e3:.3g} ms of the beginning of its sweep of {shortest:g} s or more: are "
            "the times in seconds, and not 0 for want of any? Give seconds, a quantity such as times*ms, or [] for "
            "none"
        )


def _voltage(given: Any, current: Array, unit: str, where: str) -> Array:
    volts = np.atleast_2d(in_unit(given, unit, f"{where}voltage"))
    _check_samples(f"{where}voltage", volts, 2)
    if volts.shape[1] != len(current):
        turned = "; it seems to be turned: give voltage.T" if volts.shape[0] == len(current) else ""
        raise ValueError(
            f"{where}voltage has {volts.shape[1]} samples and the current {len(current)}; expected the same number, as "
            f"(samples,) or (repetitions, samples){turned}"
        )
    largest = float(np.abs(volts).max())
    if unit == "volt" and largest > _LARGEST_VOLTAGE:
        raise ValueError(
            f"{where}voltage is up to {largest:g} V, which no cell has: it seems to be in mV; give volt, or a quantity "
            "such as voltage*mV"
        )
    return volts
