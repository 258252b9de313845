"""What `train` and `evaluate` take as data, and what they say of a second training."""

import warnings

import numpy as np
import pytest

import snnmodels as snn
from snnmodels.training.settings import settings_of

NETWORK = snn.load_network("yin_yang", hidden={"n": 20})
RNG = np.random.default_rng(2)
TIMES, LABELS = RNG.uniform(0, 30e-3, (6, 5)), np.arange(6) % 3


def trained(data, **options):
    with snn.Simulation(NETWORK, snn.TTFSCrossEntropy(), batch_size=4) as simulation:
        options = {"epochs": 2, "batch_size": 4, "progress": False} | options
        return snn.train(simulation, data, snn.Adam(1e-3), **options)


def equal(one, other):
    assert one.values.keys() == other.values.keys()
    return all(np.array_equal(one.values[key], other.values[key]) for key in one.values)


def test_a_pair_of_arrays_is_as_good_as_trials():
    trials = snn.Trials({"input": TIMES}, LABELS)
    result = trained(trials, validation=trials)
    assert equal(result, trained((TIMES, LABELS), validation=(TIMES, LABELS)))
    assert equal(result, trained(({"input": TIMES}, LABELS)))
    with snn.Simulation(NETWORK, snn.TTFSCrossEntropy(), batch_size=4) as simulation:
        one, other = (snn.evaluate(simulation, data, batch_size=4) for data in (trials, (TIMES, LABELS)))
    assert one.loss == other.loss


def test_arrays_under_other_names_are_other_data():
    def told(source, first, second, start):
        data = snn.Trials({first: TIMES[:, :2], second: TIMES[:, 2:4]}, LABELS)
        settings = settings_of(source, {"data": data}, snn.Adam(1e-3), {start: np.ones((2, 3))})
        return settings["data"], settings["initial_values"]

    with snn.Simulation(NETWORK, snn.TTFSCrossEntropy(), batch_size=4) as simulation:
        one, other = told(simulation, "a", "b", "a.w"), told(simulation, "b", "a", "b.w")
    assert one[0] != other[0] and one[1] != other[1]


class Shuffled:
    """Batches in the order in which `train` takes trials."""

    def __init__(self, seed=0):
        self.seed, self.epoch = seed, 0

    def __iter__(self):
        order = np.random.default_rng([self.seed, self.epoch]).permutation(len(LABELS))
        self.epoch += 1
        for k in range(0, len(order), 4):
            yield TIMES[order[k : k + 4]], LABELS[order[k : k + 4]]


def test_batches_of_ones_own_are_gone_through_in_every_epoch(tmp_path):
    assert equal(trained((TIMES, LABELS), epochs=3), trained(Shuffled(), epochs=3))
    whole = [(TIMES[:4], LABELS[:4]), (TIMES[4:], LABELS[4:])]
    result = trained(whole, checkpoint=tmp_path / "run.npz")
    assert not equal(result, trained((TIMES, LABELS)))  # it isn't shuffled
    assert equal(trained(whole, epochs=3, checkpoint=tmp_path / "run.npz"), trained(whole, epochs=3))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (TIMES, "data is .*; expected Trials"),
        ((TIMES, LABELS, LABELS), "expected Trials"),
        ((TIMES, LABELS[:3]), "data: .*6 trials, but targets has 3"),
        (iter([(TIMES, LABELS)]), "can be gone through once"),
        ([(TIMES, LABELS, LABELS)], "batch 1 of data"),
        ([], "data has no batch left in epoch 1"),
        ([(TIMES, LABELS)], "at most|batch"),  # 6 trials for a simulation of 4
    ],
)
def test_what_is_no_data_is_refused(data, message):
    with pytest.raises(ValueError, match=message):
        trained(data)


def test_a_network_of_two_inputs_wants_their_names():
    network = snn.Network(
        "two",
        [snn.SpikeInput("a", 2), snn.SpikeInput("b", 2)],
        [snn.Population("out", 3, snn.load_model("lif"))],
        [snn.Projection("", name, "out", np.ones((2, 3))) for name in "ab"],
        "out",
        0.02,
    )
    with (
        snn.Simulation(network, snn.TTFSCrossEntropy(), batch_size=4) as simulation,
        pytest.raises(ValueError, match=r"has the inputs \['a', 'b'\]; give a mapping"),
    ):
        snn.train(simulation, (TIMES[:4, :2], LABELS[:4]), snn.Adam(1e-3), epochs=1, batch_size=4, progress=False)


def test_a_second_training_of_a_source_says_where_it_begins():
    with snn.Simulation(NETWORK, snn.TTFSCrossEntropy(), batch_size=4) as simulation:
        options = {"epochs": 1, "batch_size": 4, "progress": False}
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="this source has been trained before")
            result = snn.train(simulation, (TIMES, LABELS), snn.Adam(1e-3), **options)
            snn.train(simulation, (TIMES, LABELS), snn.Adam(1e-3), values=result.values, **options)
        with pytest.warns(UserWarning, match="begins again with the network's own values"):
            again = snn.train(simulation, (TIMES, LABELS), snn.Adam(1e-3), **options)
    assert equal(result, again)


def test_a_schedule_wants_to_know_the_epoch():
    optimiser = snn.Adam(snn.ExponentialDecay(1e-2, 0.5))
    values, gradients = {"w": np.ones(3)}, {"w": np.ones(3)}
    with pytest.raises(ValueError, match=r"start_epoch\(epoch\)"):
        optimiser.step(values, gradients)
    assert (values["w"] == 1).all()
    optimiser.start_epoch(0)
    optimiser.step(values, gradients)
    snn.Adam(1e-2).step(values, gradients)  # a constant rate needs none


def spike_times(wanted, times=TIMES):
    """One run of two neurons, with its warnings as errors."""
    lif = snn.load_model("lif+exp_synapse")
    weights = np.full((5, 2), 2.0)
    network = snn.Network(
        "two",
        [snn.SpikeInput("in", 5)],
        [snn.Population("out", 2, lif)],
        [snn.Projection("in_out", "in", "out", weights)],
        "out",
        50e-3,
    )
    with snn.Simulation(network, snn.SpikeTimeError(), batch_size=6) as simulation, warnings.catch_warnings():
        warnings.simplefilter("error")
        return simulation.run({"in": times}, wanted)


def test_times_that_were_divided_once_too_often_are_told_of():
    wanted = np.broadcast_to([[[12e-3], [20e-3]]], (6, 2, 1)).copy()
    spike_times(wanted)
    spike_times(wanted, np.zeros_like(TIMES))  # all at the start of the trial, which may be meant
    spike_times(np.full((6, 2, 1), np.inf))
    with pytest.raises(UserWarning, match="targets: all lie within the first thousandth of a trial, which lasts 50 ms"):
        spike_times(wanted * 1e-3)
    with pytest.raises(UserWarning, match="all input spikes lie within the first thousandth of a trial"):
        spike_times(wanted, TIMES * 1e-3)
    with pytest.raises(ValueError, match="targets: all are 0, the start of the trial; give times in seconds"):
        spike_times(np.where(np.isfinite(wanted), 0.0, np.inf))
    wanted[2, 1] = 0.0
    with pytest.raises(UserWarning, match=r"wanted at 0, .* \(first in trial 2, neuron 1, entry 0\); .* give inf"):
        spike_times(wanted)
