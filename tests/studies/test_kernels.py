"""What Nsight Compute says of kernels."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from snnmodels.studies.kernels import METRICS, profile, profiled

HEAD = (
    '"ID","Process ID","Process Name","Host Name","Kernel Name","Context","Stream","Block Size","Grid Size","Device",'
    '"CC","Section Name","Metric Name","Metric Unit","Metric Value"\n'
)


def row(number: int, kernel: str, metric: str, unit: str, value: str) -> str:
    before = f'"{number}","41","engine","127.0.0.1","{kernel}","1","7","(128, 1, 1)","(4096, 1, 1)","0","9.0"'
    return f'{before},"Command line profiler metrics","{metric}","{unit}","{value}"\n'


def said(times: tuple[str, ...], unit: str = "nsecond") -> str:
    text = "==PROF== Connected to process 41\n==PROF== Profiling \"forward\": 0%....100% - 8 passes\n" + HEAD
    for number, time in enumerate(times):
        text += row(number, "snn::forward(snn::Network)", next(iter(METRICS)), unit, time)
        for k, metric in enumerate(list(METRICS)[1:]):
            text += row(number, "snn::forward(snn::Network)", metric, "%", f"{10 * k + 12.5}")
    return text


def test_the_last_launch_counts() -> None:
    (found,) = profiled(said(("9,000,000", "1,234,500")))
    assert found["kernel"] == "forward"
    assert found["seconds"] == pytest.approx(1.2345e-3)
    assert [found[key] for key in ("bandwidth", "fp64", "warps")] == pytest.approx([0.125, 0.225, 0.325])
    assert profiled(said(("1.5",), "msecond"))[0]["seconds"] == pytest.approx(1.5e-3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("==ERROR== no permission", "expected a table of kernels"),
        (said(("1",), "fortnight"), "expected a kernel's name"),
        (said(("n/a",)), "expected a kernel's name"),
        (HEAD + row(0, "snn::forward(snn::Network)", next(iter(METRICS)), "ns", "1"), "does not say of forward: band"),
    ],
)
def test_what_is_not_expected_is_an_error(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        profiled(text)


def test_a_command_is_profiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a stand-in, which prints what ncu would."""
    (tmp_path / "said").write_text(said(("2000",)))
    ncu = tmp_path / "ncu"
    ncu.write_text(f"#!/bin/sh\nfor last; do :; done\ncat {tmp_path}/said\nexit $last\n")
    ncu.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert profile([sys.executable, "0"])[0]["seconds"] == pytest.approx(2e-6)
    with pytest.raises(RuntimeError, match="status 3"):
        profile([sys.executable, "3"])
