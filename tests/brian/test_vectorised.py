"""What the NumPy templates of a projection call, against loops over single elements."""

from __future__ import annotations

import numpy as np
import pytest

from snnmodels.brian.vectorised.code import add_rows, add_where_named, keep_extreme, row_entries

RNG = np.random.default_rng(3)


@pytest.mark.parametrize("width", [1, 4])
@pytest.mark.parametrize("count", [0, 1, 30])
@pytest.mark.parametrize("shape", ["full", "column", "number"])
def test_rows_that_come_several_times_all_count(width: int, count: int, shape: str) -> None:
    into, rows = RNG.normal(size=(5, width)), RNG.integers(0, 5, count)
    values = {"full": RNG.normal(size=(count, width)), "column": RNG.normal(size=(count, 1)), "number": 2.5}[shape]
    expected = into.copy()
    for row, value in zip(rows, np.broadcast_to(values, (count, width)), strict=True):
        expected[row] += value
    add_rows(into, rows, values)
    np.testing.assert_allclose(into, expected, rtol=1e-14, atol=1e-15)


def test_entries_of_compressed_rows() -> None:
    ends = np.array([0, 2, 2, 5, 6])
    owner, entry = row_entries(ends, np.array([2, 1, 0, 2]))
    assert owner.tolist() == [0, 0, 0, 2, 2, 3, 3, 3]
    assert entry.tolist() == [2, 3, 4, 0, 1, 2, 3, 4]
    owner, entry = row_entries(ends, np.array([1]))
    assert owner.size == entry.size == 0


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("chosen", [False, True])
def test_the_first_and_the_last_arrival_are_noted(sign: int, chosen: bool) -> None:
    rows, targets, arrivals = 4, 3, 40
    offsets = RNG.integers(0, 4, (rows, targets)).astype(float)
    ids = np.where(RNG.uniform(size=(rows, targets)) < 0.5, -1, 7)
    index = RNG.integers(0, rows - 1, arrivals)
    arrived = RNG.integers(0, 5, arrivals).astype(float)  # many are equal: the first of them counts
    identifiers = 100 + np.arange(arrivals)
    where = RNG.uniform(size=(arrivals, targets)) < 0.2 if chosen else np.ones((arrivals, targets), dtype=bool)
    expected_ids, expected_offsets = ids.copy(), offsets.copy()
    for k in range(arrivals):
        for j in np.flatnonzero(where[k]):
            at = index[k], j
            if expected_ids[at] < 0 or sign * arrived[k] > sign * expected_offsets[at]:
                expected_ids[at], expected_offsets[at] = identifiers[k], arrived[k]
    keep_extreme(ids, offsets, index, arrived, identifiers, sign, where if chosen else None)
    np.testing.assert_array_equal(ids, expected_ids)
    np.testing.assert_array_equal(offsets, expected_offsets)


def test_values_go_where_identifiers_say() -> None:
    into = np.zeros(3)
    add_where_named(into, np.array([-1, 10, 12, 13, 9, 10]), 10, np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0]))
    assert into.tolist() == [34.0, 0.0, 4.0]
