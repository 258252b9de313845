"""Brian2CUDA 1.0b1 with its faults repaired (docs/upstream.md): templates of our own in `cuda/`, and a barrier."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from brian2.devices.device import all_devices, get_device
from brian2.utils.logger import get_logger

from ..targets.devices import cuda_preferences, preferences

__all__ = ["generating_cuda", "repair_active_device", "repaired_brian2cuda"]

logger = get_logger(__name__)

_VERSION = "1.0b1"
# Every thread of the block reads what an earlier run has left in the queue; the first one then writes it
_QUEUE = "spikequeue.h"
_LAST_READ = "        bool initialize_semaphores = (!semaphore);\n"
_BARRIER = "        __syncthreads();  // put here by snnmodels\n"

_repaired = False


@contextmanager
def generating_cuda() -> Iterator[None]:
    """Generate code with Brian2CUDA inside the block: `cuda_preferences`, and `repaired_brian2cuda`.

    Raises
    ------
    CompilerMissing
        If Brian2CUDA isn't installed.
    """
    with preferences(cuda_preferences()), repaired_brian2cuda():
        yield


@contextmanager
def repaired_brian2cuda() -> Iterator[None]:
    """Let Brian2CUDA write projects without the faults of its version 1.0b1 inside the block.

    Repaired are resets that use a shared constant, delays that differ between synapses (a data race), and population
    rates from the second run on. Another version, whose faults are not known here, is left as it is.
    """
    undo = _repair()
    try:
        yield
    finally:
        undo()


def repair_active_device() -> None:
    """Repair Brian2CUDA until the process ends if it is the device that objects are made for now."""
    if not _repaired and get_device() is all_devices.get("cuda_standalone"):
        _repair()
        _tell()


def _tell() -> None:
    if _repaired:  # not another version
        logger.info(
            f"Brian2CUDA {_VERSION}: faults of its queue of spikes, its rate monitor and its resets are repaired"
        )


def _repair() -> Callable[[], None]:
    """Put the repairs in place; return what takes them out again."""
    global _repaired
    import brian2cuda
    from brian2cuda.codeobject import CUDAStandaloneCodeObject
    from brian2cuda.device import CUDAStandaloneDevice

    if _repaired or brian2cuda.__version__ != _VERSION:
        return lambda: None
    templater, copy = CUDAStandaloneCodeObject.templater, CUDAStandaloneDevice.copy_source_files

    def copy_and_repair(self: Any, writer: Any, directory: str) -> None:
        copy(self, writer, directory)
        queue = Path(directory) / "brianlib" / _QUEUE
        before, read, after = queue.read_text().partition(_LAST_READ)
        if not read:
            raise RuntimeError(
                f"{_QUEUE} of the Brian2CUDA that is installed is not that of version {_VERSION}, whose faults are "
                "repaired; install that version as it was published"
            )
        queue.write_text(before + read + _BARRIER + after)

    def undo() -> None:
        global _repaired
        CUDAStandaloneCodeObject.templater, CUDAStandaloneDevice.copy_source_files = templater, copy
        _repaired = False

    CUDAStandaloneCodeObject.templater = templater.derive("snnmodels.brian", templates_dir="cuda")
    CUDAStandaloneDevice.copy_source_files = copy_and_repair
    _repaired = True
    return undo
