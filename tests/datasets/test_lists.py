"""Spikes of many trials as lists, and the files of published data sets that are read into them."""

import h5py
import numpy as np
import pytest
from brian2 import ms

import snnmodels as snn
from snnmodels.datasets import load_nmnist, load_shd, load_ssc, read_events, read_spike_file
from tests.datasets.stand_ins import write_events, write_shd

LISTS = snn.SpikeLists.of([[3e-3, 1e-3, 2e-3], [], [4e-3]], [[0, 1, 0], [], [1]], n=2)


def test_lists_are_padded_for_the_trials_that_are_taken():
    np.testing.assert_array_equal(LISTS[:], snn.padded_spikes(
        [0, 1, 0, 1], [3e-3, 1e-3, 2e-3, 4e-3], 2, trial=[0, 0, 0, 2], trials=3))  # fmt: skip
    np.testing.assert_array_equal(LISTS[np.array([2, 0])], LISTS[:][[2, 0]])
    assert LISTS[1:].shape == (2, 2, 1)  # of the busiest unit among these
    assert (LISTS.shape, LISTS.last, len(LISTS.subset(slice(1, None)))) == ((3, 2), 4e-3, 2)
    np.testing.assert_array_equal(LISTS[np.array([True, False, False])], LISTS[:1])
    early = LISTS.before(3 * ms)
    np.testing.assert_array_equal(early.times, [1e-3, 2e-3])
    np.testing.assert_array_equal(early.starts, [0, 2, 2, 2])
    assert repr(LISTS) == "<SpikeLists: 3 trials of 2 units, 1 spikes each, the last at 0.004 s>"


def test_times_may_have_units_and_half_precision():
    np.testing.assert_array_equal(snn.SpikeLists.of([[1, 2] * ms], [[0, 0]], 1).times, [1e-3, 2e-3])
    half = snn.SpikeLists.of([np.array([0.9], np.float16)], [np.array([3], np.uint16)], 4)
    assert half.times.dtype == np.float16
    assert half[:].dtype == float
    assert half[:][0, 3, 0] == np.float16(0.9)


@pytest.mark.parametrize(
    ("times", "units", "message"),
    [
        ([], [], "0 trials of times and 0 of units"),
        ([[1e-3]], [[0], [1]], "1 trials of times and 2 of units"),
        ([[1e-3]], [[0, 1]], r"trial 0: times have shape \(1,\) and units \(2,\)"),
        ([[1e-3], [1500]], [[0], [1]], "trial 1: times are int64; expected seconds as floating-point numbers: ticks"),
        ([[0], [1]], [[1e-3], [2e-3]], "trial 0: times are int64"),  # the two exchanged
        ([[1e-3]], [[0.5]], "trial 0: units are float64; expected a whole number for each spike"),
        ([[1e-3], [2e-3]], [[0], [2]], "trial 1: a spike of unit 2; units go from 0 to 1"),
        ([[1e-3], [-2e-3]], [[0], [1]], "trial 1: a spike at -0.002 s; times are finite and not negative"),
        ([[np.nan]], [[0]], "trial 0: a spike at nan s"),
    ],
)
def test_what_are_no_lists_is_refused(times, units, message):
    with pytest.raises(ValueError, match=message):
        snn.SpikeLists.of(times, units, 2)


@pytest.mark.parametrize("kind", ["u1", "u4", "u8"])
def test_starts_may_have_no_sign(kind):
    starts = np.array([0, 1, 3], dtype=kind)
    lists = snn.SpikeLists([1e-3, 2e-3, 3e-3], [0, 1, 1], starts, 2)
    np.testing.assert_array_equal(lists[1:], [[[np.inf, np.inf], [2e-3, 3e-3]]])
    for wrong in (np.array([0, 2, 1, 3], dtype=kind), np.array([0, 0.5, 3])):
        with pytest.raises(ValueError, match="expected to ascend from 0"):
            snn.SpikeLists([1e-3, 2e-3, 3e-3], [0, 1, 1], wrong, 2)


def test_starts_have_to_divide_the_spikes():
    with pytest.raises(ValueError, match=r"starts are \[0, 2\]; expected to ascend from 0 to the number of spikes"):
        snn.SpikeLists(np.array([1e-3]), np.array([0]), np.array([0, 2]), 1)
    with pytest.raises(ValueError, match="no trial is selected"):
        LISTS.subset(slice(3, None))


def test_trials_take_lists_as_samples_of_an_input():
    trials = snn.Trials({"input": LISTS}, np.array([0, 1, 0]))
    inputs, targets = trials.subset(np.array([2, 0])).take(slice(1, None))
    np.testing.assert_array_equal(inputs["input"], LISTS[:1])
    np.testing.assert_array_equal(targets, [0])
    assert repr(trials) == "<Trials: 3 of input (2,), label>"
    with pytest.raises(ValueError, match="3 trials, but targets has 2"):
        snn.Trials({"input": LISTS}, np.array([0, 1]))


def test_training_on_lists_is_that_on_their_arrays(tmp_path):
    onto = {
        "input_hidden": {"weights": {"distribution": "normal", "mean": 6, "std": 1}},
        "hidden_output": {"weights": {"value": 3}},
    }
    network = snn.load_network("yin_yang", hidden={"n": 5}, input={"n": 2}, seed=1, **onto)
    labels = np.array([0, 1, 2])
    results, values = [], network.trainable()
    file = tmp_path / "run.npz"
    with snn.Simulation(network, snn.TTFSCrossEntropy(), batch_size=2) as simulation:
        for samples in (LISTS, LISTS[:]):
            data = snn.Trials({"input": samples}, labels)
            options = {"epochs": 2, "batch_size": 2, "progress": False, "values": values}
            results.append(snn.train(simulation, data, snn.Adam(1e-3), **options).values)
        for key, value in results[0].items():
            assert not np.array_equal(value, values[key])
            np.testing.assert_array_equal(results[1][key], value)
        options |= {"checkpoint": file}
        snn.train(simulation, snn.Trials({"input": LISTS}, labels), snn.Adam(1e-3), **options)
        other = snn.SpikeLists(LISTS.times * 0.5, LISTS.units, LISTS.starts, 2)
        with pytest.raises(ValueError, match="is of a run on other training data"):
            snn.train(simulation, snn.Trials({"input": other}, labels), snn.Adam(1e-3), **options)


# --- SHD and SSC ------------------------------------------------------------------------------------------------------


def test_heidelberg_digits_are_what_the_file_holds(tmp_path):
    written = write_shd(tmp_path)
    for split in ("train", "test"):
        times, units, labels = written[split]
        found = load_shd(tmp_path, split)
        np.testing.assert_array_equal(found.labels, labels)
        np.testing.assert_array_equal(found.spikes.times, np.concatenate(times))
        for k in (0, 7):
            i, t = snn.spike_pairs(found.spikes[k : k + 1])
            order = np.lexsort((units[k], times[k]))
            np.testing.assert_array_equal(i, units[k][order])
            np.testing.assert_array_equal(t, times[k][order])
    assert found.spikes.n == 700
    assert found.speakers is not None
    write_shd(tmp_path, name="ssc")
    assert len(load_ssc(tmp_path, "test").labels) == 20


def changed(path, **contents):
    """The file with other data sets, or without those that are None."""
    with h5py.File(path, "a") as file:
        for name, content in contents.items():
            key = name.replace("_", "/") if name.startswith(("spikes", "extra")) else name
            del file[key]
            if isinstance(content, list):
                data = file.create_dataset(key, (len(content),), dtype=h5py.vlen_dtype(content[0].dtype))
                for k, values in enumerate(content):
                    data[k] = values
            elif content is not None:
                file[key] = content


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ({"labels": None}, "has no labels; expected spikes/times, spikes/units and labels"),
        ({"spikes_units": None}, "has no spikes/units"),
        ({"labels": np.zeros(3, int)}, r"labels are int64 of shape \(3,\); expected a whole number for each of 2"),
        ({"labels": np.array([0, 20])}, "labels go from 0 to 20; expected 0 to 19"),
        ({"labels": np.array([0.0, 1.0])}, "labels are float64"),
        ({"spikes_times": [np.array([1, 2]), np.array([5])]}, "spikes/times are int64; expected seconds as floating"),
        ({"spikes_times": [np.array([1.0, 900.0]), np.array([2.0])]}, "last spike is at 900 s; .* milliseconds?"),
        ({"spikes_times": [np.array([0.1, -0.5]), np.array([0.2])]}, "trial 0: a spike at -0.5 s"),
        ({"spikes_units": [np.array([1, 2]), np.array([700])]}, "trial 1: a spike of unit 700; units go from 0 to 699"),
        ({"spikes_units": [np.array([1.0, 2]), np.array([7.0])]}, "spikes/units are float64; expected whole numbers"),
        ({"spikes_units": [np.array([1]), np.array([7])]}, r"trial 0: times have shape \(2,\) and units \(1,\)"),
        ({"spikes_times": np.zeros((2, 3))}, "spikes/times is float64 of shape .* expected a list for each trial"),
        ({"extra_speaker": np.zeros(3, int)}, r"extra/speaker are int64 of shape \(3,\); expected a whole number"),
        ({"extra_speaker": np.array([0.0, 1.5])}, "extra/speaker are float64"),
    ],
)
def test_what_is_wrong_in_a_file_of_spikes_is_told(tmp_path, contents, message):
    write_shd(tmp_path, trials=2)
    path = tmp_path / "shd_train.h5"
    own = {"spikes_times": [np.array([0.1, 0.2]), np.array([0.3])], "spikes_units": [np.array([1, 2]), np.array([3])]}
    changed(path, **{**own, **contents})
    with pytest.raises(ValueError, match=f"shd_train.h5: .*{message}"):
        load_shd(tmp_path, "train")


def test_files_that_are_missing_packed_or_damaged(tmp_path):
    with pytest.raises(ValueError, match="split: expected one of train, test, got 'validation'"):
        load_shd(tmp_path, "validation")
    with pytest.raises(FileNotFoundError, match=r"no file shd_train\.h5\. Download shd_train\.h5\.gz and shd_test"):
        load_shd(tmp_path, "train")
    with pytest.raises(FileNotFoundError, match="nowhere: no such directory"):
        load_ssc(tmp_path / "nowhere", "train")
    (tmp_path / "shd_train.h5.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(FileNotFoundError, match=r"shd_train\.h5\.gz is there, unpack it with gunzip"):
        load_shd(tmp_path, "train")
    path = tmp_path / "shd_train.h5"
    (tmp_path / "shd_train.h5.gz").rename(path)
    with pytest.raises(ValueError, match="is compressed; unpack it with gunzip first"):
        load_shd(tmp_path, "train")
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"is no HDF5 file \(starts with nothing\)"):
        load_shd(tmp_path, "train")
    write_shd(tmp_path, trials=2)
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(ValueError, match=r"shd_train\.h5: damaged, or not a file of spikes"):
        read_spike_file(path, 700)


# --- events -----------------------------------------------------------------------------------------------------------


def test_events_are_what_their_bits_say(tmp_path):
    path = tmp_path / "one.bin"
    x, y, on = np.array([3, 33, 0]), np.array([5, 0, 33]), np.array([1, 0, 1])
    write_events(path, x, y, on, np.array([1, 70_000, 2**23 - 1]))
    times, units = read_events(path, 34, 34)
    np.testing.assert_array_equal(times, np.array([1, 70_000, 2**23 - 1]) * 1e-6)
    np.testing.assert_array_equal(units, [(34 + 5) * 34 + 3, 33, (34 + 33) * 34])
    assert path.read_bytes()[:5] == bytes([3, 5, 128, 0, 1])
    # an event in row 240 turns the clock of itself and all later ones on by 8192 µs
    write_events(path, np.array([1, 0, 1]), np.array([1, 240, 1]), np.array([0, 0, 0]), np.array([9, 0, 5]))
    times, units = read_events(path, 34, 34)
    np.testing.assert_array_equal(times, np.array([9, 8197]) * 1e-6)
    np.testing.assert_array_equal(units, [35, 35])


def test_recordings_of_another_form_are_refused(tmp_path):
    path = tmp_path / "one.bin"
    path.write_bytes(b"\0" * 7)
    with pytest.raises(ValueError, match=r"one\.bin: 7 bytes, which are not 5 for each event; it is cut off"):
        read_events(path, 34, 34)
    write_events(path, np.array([1, 34]), np.array([1, 2]), np.array([0, 0]), np.array([1, 2]))
    with pytest.raises(ValueError, match="event 1 is in column 34 and row 2; expected a frame of 34 × 34 pixels"):
        read_events(path, 34, 34)
    with pytest.raises(FileNotFoundError, match="two"):
        read_events(tmp_path / "two.bin", 34, 34)
    with pytest.raises(ValueError, match="width"):
        read_events(path, 0, 34)


def test_nmnist_is_read_by_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Train/0: no such folder\. Download N-MNIST"):
        load_nmnist(tmp_path, "train")
    for digit in range(10):
        for k in range(2):
            where = np.array([digit, 1])
            path = tmp_path / "Test" / str(digit) / f"{k:05d}.bin"
            write_events(path, where, where, np.array([k, 1]), np.array([100, 200]))
    found = load_nmnist(tmp_path, "test", per_class=1)
    np.testing.assert_array_equal(found.labels, np.arange(10))
    assert found.spikes.shape == (10, 2312)
    assert np.isfinite(load_nmnist(tmp_path, "test").spikes[3:4]).sum() == 2
    with pytest.raises(ValueError, match="split: expected 'train' or 'test'"):
        load_nmnist(tmp_path, "Train")
    (tmp_path / "Test" / "3" / "00001.bin").write_bytes(b"")
    with pytest.raises(ValueError, match=r"00001\.bin: has no events"):
        load_nmnist(tmp_path, "test")
