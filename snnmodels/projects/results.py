"""Reads what the program of a project has written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..files import damaged, read_array, read_json
from ..templates.arguments import check_kind
from .export import MANIFEST

__all__ = ["Results", "load_results"]

_WHAT = "file of results"


@dataclass(frozen=True)
class Results:
    """What a project's program has written.

    Attributes
    ----------
    spikes : dict of str to array, shape (trials, n, spikes)
        By population; seconds, ascending, padded with inf.
    states : dict of str to array, shape (trials, n) or (trials, n, samples)
        By name of the file, as ``"readout.v.samples"``; SI base units.
    gradients : dict of str to array
        As `Outcome.gradients`; nothing after a forward run.
    loss : float or None
        Where the program has the loss itself.
    predictions : int array, shape (trials,), or None
    """

    spikes: Mapping[str, np.ndarray]
    states: Mapping[str, np.ndarray]
    gradients: Mapping[str, np.ndarray] = field(default_factory=dict)
    loss: float | None = None
    predictions: np.ndarray | None = None


def load_results(directory: str | Path) -> Results:
    """Read and check the results of a project that `export_simulation` (or ``snnmodels build``) wrote.

    Parameters
    ----------
    directory : path
        Of the project.

    Returns
    -------
    Results

    Raises
    ------
    OSError
        If there is no project, or its program has not been run or has failed since.
    ValueError
        If a file is not what the program writes, or it is a project on a time grid.
    """
    check_kind("directory", directory, (str, Path), "the folder of a project")
    directory = Path(directory)
    manifest = read_json(directory / MANIFEST, "project of snnmodels", "timing", instead="name another folder")
    if manifest["timing"] != "precise":
        raise ValueError(f"{directory}: a project on a time grid; its own read_results.py reads its results")
    if not (directory / "results").is_dir():
        raise FileNotFoundError(f"{directory} has no results: its program has not run, or has failed (make run)")
    wanted = [f for f in _described(manifest, directory / MANIFEST) if f["path"].startswith("results/")]
    backward = [f for f in wanted if f["role"] in ("loss", "predictions", "gradient")]
    if backward and not any((directory / f["path"]).exists() for f in backward):
        wanted = [f for f in wanted if f not in backward]  # of a forward run
    sizes: dict[str, int] = {}
    found: dict[str, dict[str, np.ndarray]] = {}
    for f in wanted:
        found.setdefault(f["role"], {})[f["name"]] = _read(directory / f["path"], f, sizes)
    loss, predictions = found.get("loss", {}).get("loss"), found.get("predictions", {}).get("predictions")
    return Results(
        {name.removesuffix(".spikes"): times for name, times in found.get("spikes", {}).items()},
        found.get("state", {}),
        found.get("gradient", {}),
        None if loss is None else float(loss),
        predictions,
    )


def _described(manifest: Mapping[str, Any], path: Path) -> list[dict[str, Any]]:
    """What a manifest says of files."""
    kinds = {"path": str, "role": str, "name": str, "dtype": str, "shape": list, "shared": bool}
    described = manifest.get("files")
    if isinstance(described, list) and described:
        each = [isinstance(f, dict) and all(isinstance(f.get(k), kind) for k, kind in kinds.items()) for f in described]
        if all(each):
            return described
    raise damaged(path, "project")


def _read(path: Path, described: Mapping[str, Any], sizes: dict[str, int]) -> np.ndarray:
    """One array; sizes that go by a name are the same in all files."""
    array, shape = read_array(path, _WHAT), described["shape"]
    if described["shared"] and array.ndim == len(shape) - 1:
        shape = shape[1:]
    expected = [n if isinstance(n, int) else sizes.get(n) for n in shape]
    fits = array.ndim == len(shape) and all(n in (None, have) for n, have in zip(expected, array.shape, strict=True))
    if not fits or array.dtype.str != described["dtype"]:
        raise damaged(path, _WHAT)
    sizes |= {n: have for n, have in zip(shape, array.shape, strict=True) if isinstance(n, str)}
    return array
