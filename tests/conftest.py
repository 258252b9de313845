"""Settings shared by all tests: slow ones on request only, no windows, no log files, no state left in Brian2."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

# before anything imports pyplot
os.environ["MPLBACKEND"] = "Agg"

ROOT = Path(__file__).resolve().parents[1]


def pytest_configure(config: pytest.Config) -> None:
    """Import Brian2 now: xdist takes warnings of ours from its workers in a thread, where that can't be done."""
    import brian2  # noqa: F401

    signal.signal(signal.SIGINT, signal.default_int_handler)  # Brian2's own takes pytest's for one that isn't called so


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-slow", action="store_true", help="also run the tests marked slow")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--run-slow"):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if not item.get_closest_marker("slow")]


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session", autouse=True)
def quiet_brian() -> None:
    """Keep Brian2's log file and script copy from being written to the temporary folder."""
    from snnmodels.targets.devices import no_log_files

    no_log_files()


@pytest.fixture(autouse=True)
def runtime_device() -> Iterator[None]:
    """Hand Brian2 back on its runtime device, whatever device the test has set."""
    yield
    import brian2

    if brian2.get_device() is not brian2.all_devices["runtime"]:
        brian2.device.reinit()
        brian2.set_device("runtime")
