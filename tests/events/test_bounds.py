"""Tables of bounds: they hold, and are the same numbers however they come about."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.linalg import expm

from snnmodels.events import bounds as module
from snnmodels.events.bounds import LEVELS, PER_OCTAVE, Bounds
from snnmodels.events.rules import Rules
from snnmodels.symbolic import hybrid_system
from snnmodels.templates import Population, load_model

LONGEST = 0.05  # seconds
Values = dict[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    """Bounds of the event function of a model, and its parameters' defaults by place."""

    rules: Rules
    defaults: Values

    @classmethod
    def of(cls, name: str) -> Case:
        model = load_model(name)
        population = Population("cells", 1, model)
        defaults = {p: np.asarray(population.value(p), dtype=float) for p in model.parameters}
        rules = Rules.of(hybrid_system(model), {p: float(v) for p, v in defaults.items()})
        return cls(rules, {f"p{k}": defaults[p] for k, p in enumerate(rules.parameters)})

    def bounds(self) -> Bounds:
        return Bounds.of(self.rules, "threshold")

    def drawn(self, n: int) -> Values:
        rng = np.random.default_rng(2)
        return {p: v * rng.uniform(0.5, 2, n) for p, v in self.defaults.items()}

    def place(self, parameter: str) -> str:
        return f"p{self.rules.parameters.index(parameter)}"


@pytest.fixture(scope="module", params=["lif+exp_synapse", "lif+exp_synapse+adaptive_threshold"])
def case(request: pytest.FixtureRequest) -> Case:
    return Case.of(request.param)


def test_what_is_bounded_stays_within(case: Case) -> None:
    values, bounds = case.drawn(3), case.bounds()
    table, n = bounds.table(values, LONGEST), bounds.n
    lengths = LONGEST * 2.0 ** (-np.arange(LEVELS - 1, -1, -1) / PER_OCTAVE)
    for neuron in range(3):
        entries = np.array(bounds.matrix(*(v[neuron] for v in values.values())), dtype=float)
        a, first, third = entries[: n * n].reshape(n, n), entries[n * n : n * n + n], entries[n * n + n :]
        augmented = np.block([[a, np.eye(n)], [np.zeros((n, 2 * n))]])
        for length, (k_most, k_least, r_most, r_least) in zip(lengths[::6], table[::6, :, :, neuron], strict=True):
            flows = [expm(augmented * t) for t in np.linspace(0, length, 20)]
            k, r = (np.array([x @ f for f in flows]) for x, flows in (
                (first, [f[:n, n:] for f in flows]), (third, [f[:n, :n] for f in flows])
            ))  # fmt: skip
            for x, most, least in ((k, k_most, k_least), (r, r_most, r_least)):
                assert (x <= most + 1e-12 * np.abs(x)).all()
                assert (x >= least - 1e-12 * np.abs(x)).all()
                # and not far from what is reached
                assert (most - least <= 1.2 * np.ptp(x, axis=0) + 0.2 * np.abs(x).max(axis=0)).all()


def test_a_table_is_that_of_the_values_whatever_was_before(case: Case) -> None:
    values, warm = case.drawn(4), case.bounds()
    for changed in ("tau_m", "v_th", "tau_m"):
        warm.table(values, LONGEST)
        values[case.place(changed)] *= 1.1
        np.testing.assert_array_equal(warm.table(values, LONGEST), case.bounds().table(values, LONGEST))
    np.testing.assert_array_equal(warm.table(values, 2 * LONGEST), case.bounds().table(values, 2 * LONGEST))


def test_a_neuron_has_the_same_table_alone_and_among_others(case: Case) -> None:
    values = case.drawn(5)
    together = case.bounds().table(values, LONGEST)
    for k in range(5):
        alone = case.bounds().table({p: v[k] for p, v in values.items()}, LONGEST)
        np.testing.assert_array_equal(together[..., k], alone)


def test_thresholds_change_no_table(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    values, warm = case.drawn(4), case.bounds()
    table = warm.table(values, LONGEST)
    monkeypatch.setattr(module, "_tables", None)  # not called again
    values[case.place("v_th")] *= 1.1
    again = warm.table(values, LONGEST)
    np.testing.assert_array_equal(again, table)
    again[:] = 0  # what is kept is not what was given out
    np.testing.assert_array_equal(warm.table(values, LONGEST), table)
