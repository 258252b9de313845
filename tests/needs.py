"""What some tests need, and the targets that have it: one place for every skip."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess

import pytest

HAS_NVCC = shutil.which("nvcc") is not None
HAS_COMPILER = shutil.which("g++") is not None
COMPILER = pytest.mark.skipif(not HAS_COMPILER, reason="needs a C++ compiler")
BRIAN2CUDA = pytest.mark.skipif(importlib.util.find_spec("brian2cuda") is None, reason="needs Brian2CUDA")
TORCH = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs PyTorch: the extra [torch]")
JAX = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs JAX")
COMPILED = pytest.param("cpp_standalone", marks=COMPILER)
TARGETS = ["numpy", COMPILED]
on_both = pytest.mark.parametrize("target", TARGETS)


def has_gpu() -> bool:
    """Whether there is a GPU and a compiler for it."""
    if not HAS_NVCC or shutil.which("nvidia-smi") is None:
        return False
    return subprocess.run(["nvidia-smi", "-L"], capture_output=True, check=False).returncode == 0
