"""What is drawn is what was given, and what can't be drawn is refused."""

import numpy as np
import pytest
from brian2 import ms

import snnmodels as snn
from snnmodels import plots
from snnmodels.training.history import EpochRecord, History

SPIKES = snn.padded_spikes([0, 2, 2], [1e-3, 2e-3, 3e-3], n=3)


def test_a_raster_has_a_mark_for_each_spike_and_groups_on_top_of_one_another():
    ax = plots.raster({"first": SPIKES, "second": SPIKES + 1e-3}, duration=5 * ms)
    first, second = (line for line in ax.lines if line.get_marker() == "|")
    np.testing.assert_allclose(first.get_xydata(), [[1, 0], [2, 2], [3, 2]])
    np.testing.assert_allclose(second.get_xydata(), [[2, 3], [3, 5], [4, 5]])
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["first", "second"]
    assert ax.get_xlim() == (0, 5)


def test_traces_are_in_milliseconds_with_spikes_above():
    t = np.arange(4) * 1e-3
    lines = [[0.0, 1, 2, 3], [3, 2, 1, 0]]
    ax = plots.traces(t, lines, unit="mV", labels=["a", "b"], threshold=2.5, spikes=SPIKES[0, ::2])
    np.testing.assert_allclose(ax.lines[1].get_xydata(), np.column_stack([1e3 * t, [3, 2, 1, 0]]))
    np.testing.assert_allclose(ax.lines[4].get_xdata(), [2, 3])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time (ms)", "(mV)")


def test_weights_that_do_not_exist_are_blank_and_zero_is_white():
    values, mask = np.array([[1.0, -4.0], [2.0, 9.0]]), np.array([[True, True], [True, False]])
    image = plots.weights(values, mask=mask).images[0]
    assert image.get_clim() == (-4, 4)
    assert np.ma.getmaskarray(image.get_array())[1, 1]
    plots.weights(np.zeros((2, 2)))


def test_curves_are_those_that_the_history_has():
    epochs = [EpochRecord(k + 1, 0.1, 1.0 / (k + 1), None, {}, None, 0, 0.0, validation_loss=2.0) for k in range(3)]
    ax = plots.learning_curves(History(epochs=epochs))
    assert [line.get_label() for line in ax.lines] == ["train", "validation"]
    with pytest.raises(ValueError, match="has no error"):
        plots.learning_curves(History(epochs=epochs), measure="error")


def test_the_error_of_a_code_is_told():
    t, x = np.arange(3) * 1e-3, np.zeros((2, 3))
    assert plots.coding_error(t, x, x + 2).get_title() == "mean squared error 8"


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plots.raster(np.zeros(3)), r"expected \(trials, n, spikes\)"),
        (lambda: plots.raster(SPIKES, trial=1), "trial is 1"),
        (lambda: plots.traces([0, 1], [[1, 2, 3]]), r"values have shape \(1, 3\)"),
        (lambda: plots.traces([0, 1], [[1, 2]], labels=["a", "b"]), "labels: 2 for 1 lines"),
        (lambda: plots.traces([0, 1], [[1, 2]], spikes=SPIKES), "spikes have shape"),
        (lambda: plots.weights(np.zeros(3)), r"expected \(n_source, n_target\)"),
        (lambda: plots.weights(np.zeros((2, 2)), mask=np.ones(2)), r"mask has shape \(2,\)"),
        (lambda: plots.learning_curves(History(), measure="accuracy"), "expected 'loss' or 'error'"),
        (lambda: plots.coding_error([0], np.zeros((1, 1)), np.zeros((2, 1))), "expected that of signals"),
    ],
)
def test_what_can_not_be_drawn_is_refused(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()


@pytest.fixture(autouse=True)
def close():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")
