"""Recordings: what is taken, and that each thing that can be wrong with one is told by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from brian2 import ms, mV, pA

import snnmodels as snn
from snnmodels.fitting import as_recording, crossings, read_recording

CURRENT, DT = np.linspace(0, 1e-10, 100), 1e-3
SPIKES = np.array([0.01, 0.05])
VOLTAGE = np.full(100, -0.07)


def test_one_sweep_with_repetitions_and_voltages() -> None:
    recording = as_recording(CURRENT, 1 * ms, [SPIKES, SPIKES[:1]], np.stack([VOLTAGE, VOLTAGE]))
    (sweep,) = recording.sweeps
    assert (sweep.duration, len(sweep.spikes), sweep.voltage.shape) == (pytest.approx(0.1), 2, (2, 100))
    assert len(sweep.until(0.03).spikes[0]) == 1
    assert "3 spikes, voltage" in repr(recording)


def test_several_sweeps_with_units() -> None:
    recording = as_recording([100 * np.ones(50) * pA, 50 * np.ones(80) * pA], DT, [SPIKES[:1], [SPIKES, SPIKES]])
    assert [len(s.spikes) for s in recording.sweeps] == [1, 2]
    assert recording.sweeps[0].current[0] == pytest.approx(1e-10)
    assert len(as_recording(np.ones((3, 20)) * 1e-10, DT, [[], [], []]).sweeps) == 3


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"current": np.where(np.arange(100) == 3, np.nan, CURRENT)}, r"current has 1 samples that are NaN .* at \[3\]"),
    ({"current": CURRENT * 1e12}, "up to 100 A, .* seems to be in pA"),
    ({"dt": 0.1}, "dt is 0.1; expected .* at most 0.02"),
    ({"dt": 0.0}, "dt is 0.0"),
    ({"voltage": VOLTAGE[:50]}, "voltage has 50 samples and the current 100"),
    ({"voltage": VOLTAGE * 1e3}, "up to 70 V, .* seems to be in mV"),
    ({"voltage": VOLTAGE * np.nan}, "100 samples that are NaN"),
    ({"voltage": np.stack([VOLTAGE] * 3), "spikes": [SPIKES, SPIKES]}, "voltage of 3 repetitions, but spikes of 2"),
    ({"spikes": SPIKES * 1e3}, "one at 50 s, outside of the sweep of 0.1 s"),
    ({"spikes": -SPIKES[::-1]}, "one at -0.05 s, outside"),
    ({"spikes": SPIKES[::-1]}, r"not ascending: 0\.05 s is followed by 0\.01 s"),
    ({"spikes": [SPIKES, [0.01, np.inf]]}, "spikes of repetition 1 are not all finite"),
    ({"spikes": SPIKES * 1e3 * mV}, "has unit volt; expected second"),
    ({"current": [CURRENT, CURRENT], "spikes": [SPIKES]}, "spikes: 1 for 2 sweeps"),
    ({"current": CURRENT[:, None]}, r"100 sweeps of one sample each; .* give current\[:, 0\]"),
    ({"current": CURRENT[None]}, r"spikes: 2 for 1 sweeps; .* or \[spikes\]"),
    ({"voltage": VOLTAGE[:, None]}, r"voltage has 1 samples .* give voltage.T"),
    ({"spikes": np.zeros(20)}, r"spikes are all 0; .* give \[\] where there is none"),
    ({"spikes": np.arange(1.0, 90.0) * 1e-6}, "0.001 ms apart, .* divided by 1000 twice"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG, ids=[message[:30] for _, message in WRONG])
def test_what_is_wrong_with_a_recording_is_told(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        as_recording(**{"current": CURRENT, "dt": DT, "spikes": SPIKES, **changes})


@pytest.mark.parametrize("spikes", [[0.0], [[0.0], [20e-6, 900e-6]]], ids=["zero", "thousandths"])
def test_spikes_at_the_very_beginning_alone_are_doubted(spikes: Any) -> None:
    with pytest.warns(UserWarning, match="of the beginning of its sweep of 2 s or more: are the times in seconds"):
        as_recording(np.zeros(2000), DT, spikes)


def test_crossings_are_between_samples_and_apart() -> None:
    v = np.array([-70.0, -10.0, 30.0, -20.0, 5.0, -70.0, -60.0, 20.0]) * 1e-3
    np.testing.assert_allclose(crossings(v, 1e-3), [1.25e-3, 3.8e-3, 6.75e-3])
    np.testing.assert_allclose(crossings(v, 1e-3, apart=3e-3), [1.25e-3, 6.75e-3])


def test_archives_csv_and_nwb_say_the_same(tmp_path: Any) -> None:
    v = np.where(np.arange(100) == 50, 0.03, VOLTAGE)
    np.savez(tmp_path / "r.npz", current=CURRENT, dt=DT, spikes_0=SPIKES, spikes_1=SPIKES, voltage=np.stack([v, v]))
    recording = read_recording(tmp_path / "r.npz")
    assert len(recording.sweeps[0].spikes) == 2
    columns = zip((CURRENT * 1e12).tolist(), (v * 1e3).tolist(), strict=True)
    rows = "\n".join(f"{k},{c!r},{u!r}" for k, (c, u) in enumerate(columns))
    (tmp_path / "r.csv").write_text(f"time [ms],current [pA],voltage [mV]\n{rows}\n")
    (read,) = read_recording(tmp_path / "r.csv", detect=True).sweeps
    np.testing.assert_allclose(read.current, CURRENT, rtol=1e-14)
    np.testing.assert_allclose(read.voltage[0], v, rtol=1e-14)
    assert read.dt == pytest.approx(DT)
    assert len(read.spikes[0]) == 1
    h5py = pytest.importorskip("h5py", reason="reading NWB needs h5py")
    with h5py.File(tmp_path / "r.nwb", "w") as file:
        for k in range(2):
            for place, kind, samples in (
                ("stimulus/presentation", "CurrentClampStimulusSeries", CURRENT * 1e12),
                ("acquisition", "CurrentClampSeries", v * 1e3),
            ):
                series = file.create_group(f"{place}/sweep{k}")
                series.attrs["neurodata_type"], series.attrs["sweep_number"] = kind, k
                data = series.create_dataset("data", data=samples)
                data.attrs["conversion"] = 1e-12 if "Stimulus" in kind else 1e-3
                series.create_dataset("starting_time", data=0.0).attrs["rate"] = 1000.0
    sweeps = read_recording(tmp_path / "r.nwb", detect=True).sweeps
    assert len(sweeps) == 2
    np.testing.assert_allclose(sweeps[1].current, CURRENT, rtol=1e-14)
    np.testing.assert_allclose(sweeps[1].voltage[0], v, rtol=1e-14)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("r.csv", "time,current\n0,1e-10\n0.001,x\n", "line 3 is not all numbers"),
        ("r.csv", "time,current\n0,1e-10\n0.001\n", "line 3 has 1 cells and the head 2"),
        ("r.csv", "time,current [pA],current [nA]\n0,1,2\n0.001,1,2\n", "two columns of the name 'current'"),
        ("r.csv", "time,current\n0,1e-10\n0.001,1e-10\n0.005,1e-10\n", "equal steps"),
        ("r.csv", "t,i\n0,1\n1,2\n", "expected time and current"),
        ("r.txt", "", "ends in .npz, .csv or .nwb"),
        ("r.npz", "no archive", "recording"),
    ],
)
def test_files_that_are_no_recordings_are_refused(name: str, content: str, message: str, tmp_path: Any) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        read_recording(tmp_path / name)
    with pytest.raises(OSError, match=r"none\.npz"):
        read_recording(tmp_path / "none.npz")


@pytest.mark.parametrize(
    ("sweeps", "names", "message"),
    [
        (2, ["spikes"], "has spikes, which is none of 2 sweeps"),
        (0, ["spikes", "spike"], "has spike, which is none of one sweep"),
        (2, ["spikes_0", "spikes_1"], "has spikes_0, which is none of 2 sweeps"),
        (2, ["sweep_0_spikes_0", "sweep_1_spikes_0", "sweep_2_spikes_0"], "has sweep_2_spikes_0"),
        (0, ["sweep_0_spikes_0"], "none of one sweep; expected spikes_0"),
        (0, ["spikes", "spikes_0"], "both spikes and spikes_0"),
    ],
)
def test_spikes_under_a_name_that_is_not_read_are_refused(
    sweeps: int, names: list[str], message: str, tmp_path: Any
) -> None:
    shape = (sweeps, len(CURRENT)) if sweeps else (len(CURRENT),)
    every = dict.fromkeys(names, SPIKES)
    np.savez(tmp_path / "r.npz", current=np.broadcast_to(CURRENT, shape), dt=DT,
             voltage=np.full((sweeps, 1, len(CURRENT)) if sweeps else shape, -0.07), **every)  # fmt: skip
    with pytest.raises(ValueError, match=message):
        read_recording(tmp_path / "r.npz")


def test_names_of_the_package() -> None:
    assert snn.fit is not None
    assert snn.read_recording is read_recording


def test_a_time_between_samples_that_contradicts_the_file_is_told(tmp_path: Any) -> None:
    np.savez(tmp_path / "r.npz", current=CURRENT, dt=DT, spikes=SPIKES)
    np.savez(tmp_path / "without.npz", current=CURRENT, spikes=SPIKES)
    rows = "\n".join(f"{k},{k}" for k in range(10))
    (tmp_path / "r.csv").write_text(f"time [ms],current [pA]\n{rows}\n")
    for name in ("r.npz", "r.csv"):
        with pytest.raises(ValueError, match=r"its samples are 0\.001 s apart, and dt is 0\.002 s"):
            read_recording(tmp_path / name, dt=2 * ms)
        assert read_recording(tmp_path / name, dt=1 * ms).sweeps[0].dt == pytest.approx(DT, rel=1e-12)
    assert read_recording(tmp_path / "without.npz", dt=2 * ms).sweeps[0].dt == 2e-3
    with pytest.raises(ValueError, match="it needs current and dt"):
        read_recording(tmp_path / "without.npz")


def test_crossings_of_what_is_no_voltage_are_told() -> None:
    with pytest.raises(ValueError, match=r"voltage has 1 samples that are NaN or infinite, the first at \[1\]"):
        crossings(np.array([-70.0, np.nan, 30.0]) * 1e-3, 1e-3)
    with pytest.raises(ValueError, match="dt"):
        crossings(np.array([-70.0, 30.0]) * 1e-3, 0.0)


def test_what_an_archive_or_table_holds_of_another_kind_is_told(tmp_path: Any) -> None:
    np.savez(tmp_path / "raster.npz", current=CURRENT, dt=DT, spikes=np.arange(100) % 30 == 0)
    np.savez(tmp_path / "complex.npz", current=CURRENT.astype(complex), dt=DT, spikes=SPIKES)
    (tmp_path / "spikes.csv").write_text("time [ms],current [pA],spikes\n0,1,0\n1,1,1\n2,1,0\n")
    (tmp_path / "empty.npz").write_bytes(b"")
    for name, message in (
        ("raster.npz", "spikes is of type bool; expected real numbers: times"),
        ("complex.npz", "current is of type complex128"),
        ("spikes.csv", "has a column 'spikes', which would not be read"),
        ("empty.npz", f"^{tmp_path}/empty.npz: not a recording"),
    ):
        with pytest.raises(ValueError, match=message):
            read_recording(tmp_path / name)
