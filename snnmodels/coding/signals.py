"""Signals to be coded, sampled on the simulation's grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import expm

from ..templates.arguments import check_numbers, check_seed, check_whole, real_array

__all__ = ["Signal", "circle_signal", "dynamical_signal", "low_pass", "smooth_signal"]

Array = np.ndarray
MOST = 1_000_000_000  # steps of a signal


def low_pass(x: Array, keep: float, gain: float = 1.0) -> Array:
    """Filter along the first axis: y[k] = keep y[k - 1] + gain x[k].

    Parameters
    ----------
    x : array, shape (steps, ...)
    keep : float
        What is left of a value after a step.
    gain : float
    """
    from scipy.signal import lfilter  # takes half a second to import

    filtered: Array = lfilter([gain], [1.0, -keep], x, axis=0)
    return filtered


@dataclass(frozen=True)
class Signal:
    """A signal on a grid.

    Attributes
    ----------
    values : array, shape (steps + 1, M)
        x at times 0, dt, ..., steps dt.
    dt : float
        Seconds.
    drive : array, shape (steps, M), or None
        c of dx/dt = A x + c, constant within each step, for networks that implement the dynamics themselves.
    """

    values: Array
    dt: float
    drive: Array | None = None

    def __post_init__(self) -> None:
        """Refuse shapes, step sizes and values that can't be a signal."""
        object.__setattr__(self, "values", real_array("signal values", self.values))
        if self.drive is not None:
            object.__setattr__(self, "drive", real_array("signal drive", self.drive))
        if self.values.ndim != 2 or len(self.values) < 2:
            raise ValueError(f"signal values must have shape (steps + 1, M), not {self.values.shape}")
        if not np.isfinite(self.values).all():
            raise ValueError("signal values must be finite")
        _check_dt(self.dt)
        if self.drive is not None and self.drive.shape != (self.steps, self.dimensions):
            raise ValueError(f"signal drive must have shape {(self.steps, self.dimensions)}, not {self.drive.shape}")

    @property
    def steps(self) -> int:
        """Number of time steps."""
        return len(self.values) - 1

    @property
    def dimensions(self) -> int:
        """M."""
        return self.values.shape[1]

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.steps * self.dt

    def first_step(self, discard: float) -> int:
        """Index of the first step after `discard` seconds.

        Raises
        ------
        ValueError
            If none is left.
        """
        first = round(discard / self.dt)
        if not 0 <= first < self.steps:
            raise ValueError(f"can't discard {discard} s of a simulation of {self.duration} s")
        return first

    def until(self, seconds: float) -> Signal:
        """The start of this signal.

        Raises
        ------
        ValueError
            If it is not between one step and the whole signal.
        """
        steps = round(seconds / self.dt)
        if not 1 <= steps <= self.steps:
            raise ValueError(f"a signal of {self.duration:g} s has no start of {seconds:g} s")
        return Signal(self.values[: steps + 1], self.dt, None if self.drive is None else self.drive[:steps])

    @property
    def times(self) -> Array:
        """Times of the values, shape (steps + 1,)."""
        return np.arange(self.steps + 1) * self.dt


def _check_dt(dt: float) -> None:
    check_numbers(dt=dt)
    if not dt > 0:
        raise ValueError(f"signal dt must be positive seconds, not {dt!r}")


def _steps(duration: float, dt: float) -> int:
    _check_dt(dt)
    check_numbers(duration=duration)
    steps = duration / dt
    if not steps > 0.5:
        raise ValueError(f"duration {duration} s is shorter than one step of dt = {dt} s")
    if steps > MOST:
        raise ValueError(f"duration {duration} s has more than {MOST} steps of dt = {dt} s")
    return round(steps)


def smooth_signal(
    duration: float, *, dimensions: int = 2, dt: float = 1e-4, seed: int = 0, tau: float = 0.2, rms: float = 1.0
) -> Signal:
    """White noise through two low-pass filters: a smooth random trajectory.

    Parameters
    ----------
    duration : float
        Seconds.
    dimensions : int
        M.
    dt : float
        Seconds.
    seed : int
    tau : float
        Time constant of both filters in seconds.
    rms : float
        Root mean square of a component, over time and components.

    Returns
    -------
    Signal

    Raises
    ------
    ValueError
        If the duration is shorter than a time step.
    """
    steps = _steps(duration, dt)
    check_whole("dimensions", dimensions)
    check_seed(seed)
    check_numbers(tau=tau, rms=rms)
    if not tau > 0:
        raise ValueError(f"tau must be positive seconds, not {tau!r}")
    keep = np.exp(-dt / tau)
    warm_up = round(10 * tau / dt)
    x = np.random.default_rng(seed).standard_normal((warm_up + steps + 1, dimensions))
    for _ in range(2):
        x = low_pass(x, keep, 1 - keep)
    x = x[warm_up:]
    return Signal(x * rms / np.sqrt((x**2).mean()), dt)


def circle_signal(duration: float, *, radius: float = 1.0, frequency: float = 0.5, dt: float = 1e-4) -> Signal:
    """A point that runs around a circle: constant |x|, every direction visited equally.

    Parameters
    ----------
    duration, dt : float
        Seconds.
    radius : float
    frequency : float
        Turns per second.

    Returns
    -------
    Signal
        With M = 2.

    Raises
    ------
    ValueError
        If the duration is shorter than a time step.
    """
    steps = _steps(duration, dt)
    check_numbers(radius=radius, frequency=frequency)
    phase = 2 * np.pi * frequency * np.arange(steps + 1) * dt
    return Signal(radius * np.stack([np.cos(phase), np.sin(phase)], axis=1), dt)


def dynamical_signal(dynamics: Array, drive: Array, initial: Array, dt: float = 1e-4) -> Signal:
    """The exact solution of dx/dt = A x + c with c constant within each step.

    Parameters
    ----------
    dynamics : array, shape (M, M)
        A, in 1/s.
    drive : array, shape (steps, M)
        c, per second.
    initial : array, shape (M,)
    dt : float
        Seconds.

    Returns
    -------
    Signal
        Carries `drive`.

    Raises
    ------
    ValueError
        If `drive` has no step, `dt` isn't positive, or the solution is not finite.
    """
    dynamics, drive, initial = (
        real_array(name, value) for name, value in (("dynamics", dynamics), ("drive", drive), ("initial", initial))
    )
    _check_dt(dt)
    if dynamics.ndim != 2 or len(set(dynamics.shape)) != 1 or not dynamics.size:
        raise ValueError(f"dynamics must be a square matrix, not of shape {dynamics.shape}")
    for name, values in (("dynamics", dynamics), ("drive", drive), ("initial", initial)):
        if not np.isfinite(values).all():
            raise ValueError(f"{name} must be finite")
    m = len(dynamics)
    if drive.ndim != 2 or drive.shape[1] != m or not len(drive):
        raise ValueError(f"drive must have shape (steps, {m}), not {drive.shape}")
    if initial.shape != (m,):
        raise ValueError(f"initial must have shape ({m},), not {initial.shape}")
    propagator, gain = step_matrices(dynamics, dt)
    x = np.empty((len(drive) + 1, drive.shape[1]))
    x[0] = initial
    for k, c in enumerate(drive):
        x[k + 1] = propagator @ x[k] + gain @ c
    return Signal(x, dt, drive)


def step_matrices(dynamics: Array, dt: float) -> tuple[Array, Array]:
    """P = exp(A dt) and Q = integral of exp(A s) ds over one step, so that x_{k+1} = P x_k + Q c_k.

    Both come out of one exponential of the augmented matrix, which also works for singular A.
    """
    m = len(dynamics)
    augmented = np.zeros((2 * m, 2 * m))
    augmented[:m, :m] = dynamics
    augmented[:m, m:] = np.eye(m)
    exponential = expm(augmented * dt)
    return exponential[:m, :m], exponential[:m, m:]
