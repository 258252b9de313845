"""The bounding box: faces, corners, cone, and that errors stay inside."""

from __future__ import annotations

import numpy as np
import pytest

from snnmodels.coding import (
    CodingNetwork,
    Homeostat,
    bounding_box,
    golden_angle_decoder,
    joint_loss,
    log_uniform_norms,
    random_decoder,
    ring_decoder,
    simulate,
    smooth_signal,
)
from snnmodels.coding.theory import active_norm, cone_slope, ring_error_bound

D, N = 0.2, 8


def test_ring_is_a_regular_polygon(three_costs) -> None:
    network = CodingNetwork(ring_decoder(N, D), three_costs(), {"nu": 0.5 * D**2})
    box = bounding_box(network)
    np.testing.assert_allclose(box.offsets, (D**2 + 0.5 * D**2) / (2 * D), rtol=1e-12)
    corners = box.vertices()
    assert corners.shape == (N, 2)
    np.testing.assert_allclose(np.linalg.norm(corners, axis=1), ring_error_bound(D, 0.5 * D**2, N), rtol=1e-9)
    turn = np.diff(np.unwrap(np.arctan2(corners[:, 1], corners[:, 0])))
    np.testing.assert_allclose(turn, 2 * np.pi / N, rtol=1e-6)
    assert box.touching().all()


def test_costs_move_faces_as_they_should(three_costs) -> None:
    network = CodingNetwork(ring_decoder(N, D), three_costs(), {"mu": 0.05 * D**2, "kappa": 0.3 * D**2})
    rest = bounding_box(network).offsets
    one_active = bounding_box(network, a=np.eye(N)[2] * 3.0).offsets - rest
    np.testing.assert_allclose(one_active, np.eye(N)[2] * 3.0 * 0.05 * D, rtol=1e-9, atol=1e-15)
    cone = bounding_box(network, B=2.0).offsets - rest
    np.testing.assert_allclose(cone, 2.0 * cone_slope(0.3 * D**2, D), rtol=1e-9)


def test_active_faces_of_unequal_norms_have_the_predicted_norm(three_costs) -> None:
    norms = log_uniform_norms(100, 0.03, 0.6)
    network = CodingNetwork(golden_angle_decoder(100, norms), three_costs(), {"nu": 0.02})
    touching = bounding_box(network).touching()
    assert 3 <= touching.sum() < 50
    assert np.median(norms[touching]) == pytest.approx(active_norm(0.02), rel=0.1)
    response = simulate(network, smooth_signal(1.0))
    # the first steps bring the error into the box
    assert not response.rates(0.1)[~touching].any()


def test_errors_stay_inside(three_costs) -> None:
    loss = joint_loss({"c": "nu*r"}, parameters={"nu": 0.01}, weight=np.diag([4.0, 1.0, 1.0]))
    network = CodingNetwork(random_decoder(3, 40, 0.2, seed=4), loss)
    box = bounding_box(network)
    response = simulate(network, smooth_signal(0.5, dimensions=3), spikes="sequential")
    error = response.target - response.estimate
    assert box.contains(error, 1e-12).all()
    # and the box is no larger than needed
    assert not box.contains(1.3 * error).all()
    assert box.contains(0.999 * box.vertices()).all()
    assert not box.contains(1.001 * box.vertices()).any()


def test_boxes_that_cannot_be(three_costs) -> None:
    half = CodingNetwork(np.array([[1.0, 0.9, 0.9], [0.0, 0.3, -0.3]]), three_costs())
    with pytest.raises(ValueError, match="unbounded"):
        bounding_box(half).vertices()
    eager = CodingNetwork(ring_decoder(N, D), three_costs(), {"nu": -1.0})
    with pytest.raises(ValueError, match="empty"):
        bounding_box(eager).vertices()
    network = CodingNetwork(ring_decoder(N, D), three_costs(), {"nu": Homeostat(0.1, 10.0, 1.0)})
    with pytest.raises(ValueError, match="'nu' changes in time; give its value"):
        bounding_box(network)
    with pytest.raises(ValueError, match="'b' is neither a trace"):
        bounding_box(network, b=1.0)
