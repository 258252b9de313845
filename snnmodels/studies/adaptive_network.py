"""Adaptive spiking networks, converted from an analogue network, with a threshold that trades precision for spikes.

Zambrano, Nusselder, Scholte & Bohté (2019), "Sparse Computation in Adaptive Spiking Neural Networks", Front. Neurosci.
12:987, https://doi.org/10.3389/fnins.2018.00987. A hidden neuron codes its input S(t) by spikes at which S exceeds its
own estimate by half of an adaptive threshold; estimate and threshold jump by multiples of the threshold at each spike.
The resting threshold theta_0, equal to the strength m_f of adaptation as there, is the knob.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["AdaptiveNetwork", "train_adaptive", "transfer"]

Array = np.ndarray
TAU_PHI, TAU_GAMMA, TAU_ETA, TAU_BETA = 2.5, 15.0, 50.0, 50.0  # ms: membrane, threshold, own estimate, synapse


def _average(s: Array, m_f: float) -> Array:
    """Mean postsynaptic current for a constant input s, with spikes of height 1, but for a constant; equation 11."""
    c1 = 2 * m_f * TAU_GAMMA**2
    c2 = 2 * m_f * TAU_ETA * TAU_GAMMA
    c3 = TAU_GAMMA * (m_f * TAU_GAMMA + 2 * (m_f + 1) * TAU_ETA)
    c4 = m_f * TAU_ETA * (TAU_GAMMA + TAU_ETA)
    return np.asarray(1 / np.expm1((c1 * s + c2) / (c3 * s + c4)))


def _height(m_f: float) -> float:
    """Of the current of a spike, so that an input of 1 has a mean output of 1."""
    return float(1 / (_average(np.array(1.0), m_f) - _average(np.array(m_f / 2), m_f) + 0.5))


def transfer(s: Array, m_f: float) -> tuple[Array, Array]:
    """Mean output of a neuron for a constant input, and its derivative: 0 below half of the threshold, and 1 for 1.

    Equation 11 of the paper; the derivative is a difference.

    Parameters
    ----------
    s : array
    m_f : float
        Strength of adaptation and resting threshold, 0 to 1.
    """
    height, low, step = _height(m_f), _average(np.array(m_f / 2), m_f), 1e-5
    inside = s > m_f / 2
    clipped = np.maximum(s, m_f / 2)
    slope = height * (_average(clipped + step, m_f) - _average(clipped, m_f)) / step
    return np.where(inside, height * (_average(clipped, m_f) - low + 0.5), 0.0), np.where(inside, slope, 0.0)


@dataclass(frozen=True)
class AdaptiveNetwork:
    """An analogue network of one hidden layer, trained with `transfer` at one `m_f`, to be run as a spiking one.

    Attributes
    ----------
    hidden, output : array
        Weights, shape (inputs + 1, n) and (n + 1, classes); the last rows are biases.
    """

    hidden: Array
    output: Array

    def spiking(self, x: Array, labels: Array, m_f: float, ends: Sequence[int]) -> list[dict[str, float]]:
        """Accuracy and hidden spikes when the answer is read at some times, with a threshold.

        Parameters
        ----------
        x : array, shape (trials, inputs)
            Held as a current.
        labels : int array, shape (trials,)
        m_f : float
        ends : sequence of int
            Milliseconds, ascending: the answer is the largest output, averaged from 0 to then.

        Returns
        -------
        list of dict
            With ``setting`` (m_f), ``end``, ``accuracy`` and ``spikes`` per trial.
        """
        drive = x @ self.hidden[:-1] + self.hidden[-1]
        height = _height(m_f)
        s, estimate, raised, current = (np.zeros_like(drive) for _ in range(4))
        total = np.zeros_like(drive)
        phi, gamma, eta, beta = (np.exp(-1 / tau) for tau in (TAU_PHI, TAU_GAMMA, TAU_ETA, TAU_BETA))
        counts, points = np.zeros(len(x)), []
        for t in range(1, max(ends) + 1):
            s = phi * s + (1 - phi) * drive
            estimate, raised, current = eta * estimate, gamma * raised, beta * current
            threshold = m_f + raised
            spike = s - estimate > threshold / 2
            estimate = estimate + np.where(spike, threshold, 0)
            raised = raised + np.where(spike, m_f * threshold, 0)
            current = current + np.where(spike, height, 0)
            counts += spike.sum(axis=1)
            total += current
            if t in ends:
                answer = (total / t @ self.output[:-1] + self.output[-1]).argmax(axis=1)
                points.append(
                    {
                        "setting": float(m_f),
                        "end": float(t),
                        "accuracy": float(np.mean(answer == labels)),
                        "spikes": float(counts.mean()),
                    }
                )
        return points


def train_adaptive(
    x: Array, labels: Array, n: int, classes: int, *, m_f: float, epochs: int, rate: float, batch_size: int, seed: int
) -> AdaptiveNetwork:
    """Train the analogue network by Adam on cross-entropy.

    Parameters
    ----------
    x : array, shape (trials, inputs)
    labels : int array, shape (trials,)
    n, classes : int
    m_f : float
        Of the transfer function.
    epochs, batch_size, seed : int
    rate : float
        Of Adam at first; it falls linearly to 0.
    """
    rng = np.random.default_rng([seed, 11])
    inputs = x.shape[1]
    values = [
        rng.normal(0, np.sqrt(2 / inputs), (inputs + 1, n)),
        rng.normal(0, np.sqrt(1 / n), (n + 1, classes)),
    ]
    moments = [(np.zeros_like(v), np.zeros_like(v)) for v in values]
    x1 = np.column_stack([x, np.ones(len(x))])
    steps, total = 0, epochs * -(-len(x) // batch_size)
    for _ in range(epochs):
        order = rng.permutation(len(x))
        for start in range(0, len(x), batch_size):
            part = order[start : start + batch_size]
            a, slope = transfer(x1[part] @ values[0], m_f)
            a1 = np.column_stack([a, np.ones(len(part))])
            z = a1 @ values[1]
            p = np.exp(z - z.max(axis=1, keepdims=True))
            p /= p.sum(axis=1, keepdims=True)
            p[np.arange(len(part)), labels[part]] -= 1
            p /= len(part)
            gradients = [x1[part].T @ ((p @ values[1][:-1].T) * slope), a1.T @ p]
            now = rate * (1 - steps / total)
            steps += 1
            for v, g, (m, q) in zip(values, gradients, moments, strict=True):
                m += 0.1 * (g - m)
                q += 1e-3 * (g * g - q)
                v -= now * (m / (1 - 0.9**steps)) / (np.sqrt(q / (1 - 0.999**steps)) + 1e-8)
    return AdaptiveNetwork(*values)
