"""Spikes one by one become arrays of each neuron's, and come back."""

import numpy as np
import pytest
from brian2 import Network, NeuronGroup, SpikeMonitor, ms, mV

import snnmodels as snn


def test_spikes_of_neurons_and_trials_are_sorted_and_filled():
    i, t, trial = [2, 0, 2, 2, 1], [5.0, 1.0, 3.0, 4.0, 2.0] * ms, [0, 1, 0, 1, 1]
    padded = snn.padded_spikes(i, t, 4, trial=trial)
    assert padded.shape == (2, 4, 2)
    np.testing.assert_array_equal(padded[0, 2], [3e-3, 5e-3])
    np.testing.assert_array_equal(padded[1, :, 0], [1e-3, 2e-3, 4e-3, np.inf])
    assert np.isinf(padded).sum() == 2 * 4 * 2 - 5
    assert snn.padded_spikes(i, t, 4, trial=trial, trials=3).shape == (3, 4, 2)
    assert snn.padded_spikes([], [], 3).shape == (1, 3, 1)


def test_pairs_are_the_way_back():
    rng = np.random.default_rng(0)
    i, t = rng.integers(0, 5, 40), rng.uniform(0, 1, 40)
    back_i, back_t = snn.spike_pairs(snn.padded_spikes(i, t, 6))
    order = np.argsort(t)
    np.testing.assert_array_equal(back_i, i[order])
    np.testing.assert_array_equal(back_t, t[order])


def test_a_monitor_of_brian2_is_taken_as_it_is():
    equations = "dv/dt = drive/ms : volt\ndrive : volt"
    group = NeuronGroup(3, equations, threshold="v > 10*mV", reset="v = 0*mV", method="euler")
    group.drive = [1, 0, 2] * mV
    monitor = SpikeMonitor(group)
    Network(group, monitor).run(25 * ms)
    padded = snn.padded_spikes(monitor)
    assert padded.shape == (1, 3, 4)
    for k, times in monitor.spike_trains().items():
        np.testing.assert_array_equal(padded[0, k][np.isfinite(padded[0, k])], np.asarray(times))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"i": [0], "t": [1e-3]}, "n is missing"),
        ({"i": [0, 3], "t": [1e-3, 2e-3], "n": 3}, "i goes from 0 to 3; expected indices from 0 below 3"),
        ({"i": [0.5], "t": [1e-3], "n": 3}, "expected a whole number for each spike"),
        ({"i": [0], "t": [1e-3, 2e-3], "n": 3}, r"i is int64 of shape \(1,\)"),
        ({"i": [0], "t": [-1e-3], "n": 3}, "not negative"),
        ({"i": [0], "t": [np.inf], "n": 3}, "finite times"),
        ({"i": [0], "t": [1] * mV, "n": 3}, "t has unit volt; expected second"),
        ({"i": [0], "t": [1e-3], "n": 3, "trial": [2], "trials": 2}, "trial goes from 2 to 2; expected"),
        ({"i": [0]}, "give both, or a SpikeMonitor"),
    ],
)
def test_what_are_no_spikes_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        snn.padded_spikes(**arguments)


def test_a_trial_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="trial is 1; there are 1"):
        snn.spike_pairs(snn.padded_spikes([0], [1e-3], 1), 1)
