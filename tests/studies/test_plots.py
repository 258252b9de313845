"""Figures: what they show is checked on their artists, and every one is rendered."""

import io

import numpy as np
import pytest

from snnmodels.datasets import image_latency, yin_yang
from snnmodels.studies.plots import plot_confusion, plot_history, plot_latency_images, plot_yin_yang
from snnmodels.training.history import EpochRecord, History

DIGITS = [str(k) for k in range(10)]


def history(epochs, error, **measures):
    records = [EpochRecord(i + 1, 0.1, 1.0, error, {}, None, 0, 0.0, **measures) for i in range(epochs)]
    return History(epochs=records)


def render(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=50)
    return len(buffer.getvalue())


def test_history_shows_every_run_and_the_mean():
    figure = plot_history([history(4, 0.2, test_error=0.1), history(3, 0.4, test_error=0.3)], "two runs")
    error, loss = figure.axes
    # Per measured set: two runs and their mean, as far as both go.
    assert [len(line.get_xdata()) for line in error.get_lines()] == [4, 3, 3, 4, 3, 3]
    np.testing.assert_allclose(error.get_lines()[2].get_ydata(), 30.0)
    assert [text.get_text() for text in error.get_legend().get_texts()] == ["training (30.00 %)", "test (20.00 %)"]
    assert len(loss.get_lines()) == 3
    assert (error.get_ylabel(), loss.get_ylabel(), loss.get_xlabel()) == ("error (%)", "loss", "epoch")
    assert render(figure) > 1000


def test_history_without_a_single_epoch():
    for histories in ([], [History()]):
        with pytest.raises(ValueError, match="at least one run, each with at least one epoch"):
            plot_history(histories)


def test_yin_yang():
    samples, labels = yin_yang(60, seed=1)
    times = np.full((60, 3), np.inf)
    times[:50] = 20e-3 + 1e-3 * np.arange(3)
    figure = plot_yin_yang(samples, labels, times, [history(3, 0.2)])
    data, *maps = figure.axes[:4]
    assert sum(len(points.get_offsets()) for points in data.collections) == 60
    for k, axes in enumerate(maps):
        silent, fired = axes.collections
        assert (len(silent.get_offsets()), len(fired.get_offsets())) == (10, 50)
        np.testing.assert_allclose(fired.get_array(), k, atol=1e-12)
    assert render(figure) > 1000
    with pytest.raises(ValueError, match=r"spike_times: expected shape \(60, 3\), got \(60, 2\)"):
        plot_yin_yang(samples, labels, times[:, :2], [history(3, 0.2)])


def test_yin_yang_of_a_silent_network():
    samples, labels = yin_yang(10, seed=1)
    assert render(plot_yin_yang(samples, labels, np.full((10, 3), np.inf), [history(1, 1.0)])) > 1000


def test_confusion():
    targets = np.array([0, 0, 1, 2, 2])
    figure = plot_confusion(targets, np.array([0, 1, 1, 2, -1]), ["a", "b", "c"])
    axes = figure.axes[0]
    shown = {text.get_position(): text.get_text() for text in axes.texts}
    assert shown == {(0, 0): "1", (1, 0): "1", (1, 1): "1", (2, 2): "1", (3, 2): "1"}
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b", "c", "none"]
    assert axes.get_title() == "accuracy 60.00 %"
    assert render(figure) > 1000
    assert len(plot_confusion(targets, targets, ["a", "b", "c"]).axes[0].get_xticks()) == 3


@pytest.mark.parametrize(
    ("targets", "predictions", "message"),
    [
        ([0, 1], [0], r"one shape \(trials,\), got \(2,\) and \(1,\)"),
        ([], [], "one shape"),
        ([0, 3], [0, 1], "classes from 0 to 2"),
        ([0, 1], [0, -2], "classes from 0 to 2"),
    ],
)
def test_confusion_refuses(targets, predictions, message):
    with pytest.raises(ValueError, match=message):
        plot_confusion(np.array(targets, dtype=int), np.array(predictions, dtype=int), ["a", "b", "c"])


def test_latency_images():
    images = np.zeros((2, 4, 5), dtype=np.uint8)
    images[:, 1, 2] = 255
    times = image_latency(images).reshape(2, 4, 5)
    steps = np.linspace(0, 40e-3, 30)
    traces = np.sin(np.linspace(0, 3, 30)) * np.arange(10)[:, None] * np.ones((2, 1, 1))
    figure = plot_latency_images(times, np.array([9, 3]), steps, traces, DIGITS)
    assert [axes.get_title() for axes in figure.axes[:2]] == ["9, read as 9", "3, read as 9"]
    assert figure.axes[2].get_ylabel() == "membrane potential"
    assert figure.axes[2].get_xlim() == (0, 40)
    assert render(figure) > 1000
    first = np.full((2, 10), np.inf)
    first[0, 4] = 5e-3
    figure = plot_latency_images(times, np.array([9, 3]), steps, traces, DIGITS, first)
    assert [axes.get_title() for axes in figure.axes[:2]] == ["9, read as 4", "3, no answer"]
    with pytest.raises(ValueError, match=r"first_spikes: expected shape \(2, 10\), got \(2, 9\)"):
        plot_latency_images(times, np.array([9, 3]), steps, traces, DIGITS, first[:, 1:])
    with pytest.raises(ValueError, match=r"traces: expected shape \(2, 10, 30\), got \(2, 10, 29\)"):
        plot_latency_images(times, np.array([9, 3]), steps, traces[..., 1:], DIGITS)
    with pytest.raises(ValueError, match=r"times: expected shape \(images, height, width\), got \(2, 20\)"):
        plot_latency_images(times.reshape(2, 20), np.array([9, 3]), steps, traces, DIGITS)
