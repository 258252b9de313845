"""Networks and signals that several tests share. λ = 50/s and dt = 0.1 ms throughout."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from snnmodels.coding import (
    CodingNetwork,
    JointLoss,
    Signal,
    Trace,
    circle_signal,
    golden_angle_decoder,
    joint_loss,
    log_uniform_norms,
)

TAU = 0.02


def _three_costs(tau_a: float = TAU, tau_b: float = TAU, **defaults: float) -> JointLoss:
    """nu 1·r + mu |a|² + kappa (B - z)², all off unless given."""
    return joint_loss(
        {"sparsity": "nu*r", "adaptation": "mu*a**2", "inhibition": "kappa*(B - z)**2"},
        {"a": Trace("neuron", tau_a), "B": Trace("population", tau_b)},
        {"nu": 0.0, "mu": 0.0, "kappa": 0.0, "z": 0.0} | defaults,
        tau=TAU,
    )


@pytest.fixture(scope="session")
def three_costs() -> Callable[..., JointLoss]:
    return _three_costs


@pytest.fixture(scope="session")
def constant_signal() -> Callable[[list[float], float], Signal]:
    def make(x: list[float], duration: float) -> Signal:
        return Signal(np.tile(np.asarray(x, float), (round(duration / 1e-4) + 1, 1)), 1e-4)

    return make


@pytest.fixture(scope="session")
def circle() -> Signal:
    return circle_signal(4.0)


@pytest.fixture(scope="session")
def mixed() -> CodingNetwork:
    """Fine and coarse neurons in every direction."""
    return CodingNetwork(golden_angle_decoder(100, log_uniform_norms(100, 0.03, 0.6)), _three_costs())
