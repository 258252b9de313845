"""Networks from TOML files."""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ._compose import load_model
from .arguments import check_seed
from .errors import TemplateError, located, suggest
from .library import find, read_toml
from .model import Model
from .network import MOST, Network, Population, Projection, SpikeInput, learnable_names
from .schema import LossTable, NetworkFile, PopulationTable, ProjectionTable, ValuesTable, validate
from .units import evaluate_quantity, quantity_in

__all__ = ["load_network"]

Array = np.ndarray

# What each way to give weights or delays needs besides itself
_DRAWS = {"normal": ("mean", "std"), "uniform": ("low", "high")}
# Keys of a loss that are times, and numbers in whatever unit fits what they scale
_LOSS_TIMES = {"interval", "tau", "tau0", "tau1", "missing", "width", "end"}
_LOSS_NUMBERS = {"per", "scale", "alpha", "price"}


def load_network(name_or_path: str | Path, seed: int | None = None, **overrides: Any) -> Network:
    """Read a network from the library or from a file, and draw its initial weights and delays.

    Parameters
    ----------
    name_or_path : str or Path
        ``"yin_yang"``, or the path of a ``.toml`` file.
    seed : int, optional
        Seed of the initial weights, masks and delays instead of the file's. Every projection draws from streams of its
        own that depend on the seed and on its name, so that the others stay as they are when one is changed; its delays
        come from another stream than its weights.
    **overrides
        Changes to the file: a key of its top level (``duration="80*ms"``), or the name of an input, population or
        projection with a dictionary of what changes there (``hidden={"n": 50, "learnable": ["tau_m"]}``).

    Returns
    -------
    Network

    Raises
    ------
    TemplateError
        If the file or an override can't be used.

    Examples
    --------
    >>> network = load_network("yin_yang", seed=1, hidden={"n": 20})
    >>> network.projections[0].weights.shape
    (5, 20)
    """
    path = find(name_or_path, ("network",))
    if seed is not None:
        check_seed(seed)
    file = str(path)
    data = read_toml(path)
    _override(data, overrides, file)
    source = validate(data, file)
    if not isinstance(source, NetworkFile):
        raise TemplateError(file, "kind", f"is {source.kind!r}; expected a network")
    with located(file, "duration"):
        duration, _ = quantity_in(source.duration, "second")
    inputs = tuple(_input(name, table.n, file) for name, table in source.inputs.items())
    populations = {name: _population(name, table, file, path.parent) for name, table in source.populations.items()}
    sizes = {**{i.name: i.n for i in inputs}, **{p.name: p.n for p in populations.values()}}
    models = {name: population.model for name, population in populations.items()}
    start = source.seed if seed is None else seed
    projections = tuple(
        _projection(table, f"projections.{k}", path, sizes, models, start) for k, table in enumerate(source.projections)
    )
    with located(file, "encoding.longest"):
        encoding = (
            {}
            if source.encoding is None
            else {
                "code": source.encoding.code,
                "longest": quantity_in(source.encoding.longest, "second")[0],
                "dropout": float(source.encoding.dropout),
            }
        )
    with located(file, ""):
        return Network(
            name=path.stem,
            inputs=inputs,
            populations=tuple(populations.values()),
            projections=projections,
            output=source.output,
            duration=duration,
            encoding=encoding,
            loss=tuple(_loss(table, where, file) for where, table in _losses(source)),
        )


def _override(data: dict[str, Any], overrides: Mapping[str, Any], file: str) -> None:
    """Put the overrides into the document, where they are validated like everything else."""
    # what is no table here is refused when the document is validated
    places: dict[str, dict[str, Any]] = {}
    for section in (data.get("inputs"), data.get("populations")):
        if isinstance(section, dict):
            places |= {name: table for name, table in section.items() if isinstance(table, dict)}
    projections = data.get("projections")
    for table in projections if isinstance(projections, list) else ():
        if isinstance(table, dict):
            places[table.get("name") or f"{table.get('source')}_{table.get('target')}"] = table
    for key, value in overrides.items():
        if key in places and isinstance(value, Mapping):
            places[key].update(value)
        elif key in NetworkFile.model_fields:
            data[key] = value
        else:
            expected = (
                "expected a dictionary of changes"
                if key in places
                else suggest(key, {*places, *NetworkFile.model_fields})
            )
            raise TemplateError(file, key, f"can't be overridden so; {expected}")


def _input(name: str, n: int, file: str) -> SpikeInput:
    with located(file, f"inputs.{name}"):
        return SpikeInput(name, n)


def _population(name: str, table: PopulationTable, file: str, folder: Path) -> Population:
    key = f"populations.{name}"
    parts = table.model.split("+") if isinstance(table.model, str) else table.model
    # a user's component files stand beside the network's
    local = [folder / part if os.path.isfile(folder / part) else part for part in parts]
    with located(file, f"{key}.model"):
        model = load_model(*local)
    parameters: dict[str, float | Array] = {}
    for parameter, value in table.parameters.items():
        if parameter not in model.parameters:
            hint = suggest(parameter, model.parameters)
            raise TemplateError(file, f"{key}.parameters.{parameter}", f"{model.name} has no such parameter; {hint}")
        unit = model.parameters[parameter].unit
        with located(file, f"{key}.parameters.{parameter}"):
            if isinstance(value, list):
                parameters[parameter] = np.array([quantity_in(item, unit)[0] for item in value])
            else:
                parameters[parameter] = quantity_in(value, unit)[0]
    with located(file, key):
        return Population(name, table.n, model, parameters, tuple(table.learnable))


def _losses(source: NetworkFile) -> list[tuple[str, LossTable]]:
    """The terms of the loss, each with its key."""
    if isinstance(source.loss, LossTable):
        return [("loss", source.loss)]
    return [(f"loss.{k}", table) for k, table in enumerate(source.loss or [])]


def _loss(table: LossTable, key: str, file: str) -> dict[str, Any]:
    """What a term says, its quantities in SI units; units of constants and targets are left to the loss."""
    said = table.model_dump(exclude_none=True, exclude_defaults=True)
    for name in _LOSS_TIMES & said.keys():
        with located(file, f"{key}.{name}"):
            said[name] = quantity_in(said[name], "second")[0]
    for name in _LOSS_NUMBERS & said.keys():
        with located(file, f"{key}.{name}"):
            said[name] = evaluate_quantity(said[name])[0]
    return said


def _projection(
    table: ProjectionTable, key: str, path: Path, sizes: Mapping[str, int], models: Mapping[str, Model], seed: int
) -> Projection:
    file = str(path)
    for end, name in (("source", table.source), ("target", table.target)):
        known = sizes if end == "source" else models
        if name not in known:
            raise TemplateError(file, f"{key}.{end}", f"no population {name!r}; {suggest(name, known)}")
    receptors = models[table.target].receptors
    receptor = table.receptor or (next(iter(receptors)) if len(receptors) == 1 else "")
    if receptor not in receptors:
        found = f"{table.target} has no receptor {receptor!r}" if receptor else f"name a receptor of {table.target}"
        raise TemplateError(file, f"{key}.receptor", f"{found}; {suggest(receptor, receptors)}")
    name = table.name or f"{table.source}_{table.target}"
    shape = (sizes[table.source], sizes[table.target])
    if shape[0] * shape[1] > MOST:
        raise TemplateError(file, key, f"has {shape[0]} x {shape[1]} connections; expected at most {MOST}")
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    with located(file, f"{key}.weights"):
        weights = _values(table.weights, shape, receptors[receptor].weight_unit, path.parent, rng)
    mask = None if table.mask is None else rng.random(shape) < table.mask.probability
    delay: float | Array
    with located(file, f"{key}.delay"):
        if isinstance(table.delay, ValuesTable):
            draws = np.random.default_rng([seed, zlib.crc32(f"{name}.delay".encode())])
            delay = _values(table.delay, shape, "second", path.parent, draws)
        else:
            delay = quantity_in(table.delay, "second")[0]
    with located(file, key):
        learnable = learnable_names(table.learnable, f"projection {name!r}")
        return Projection(name, table.source, table.target, weights, receptor, mask, learnable, delay)


def _values(table: ValuesTable, shape: tuple[int, int], unit: str, folder: Path, rng: np.random.Generator) -> Array:
    given = table.model_dump(exclude_none=True)
    ways = [way for way in ("distribution", "value", "matrix", "file") if way in given]
    if len(ways) != 1:
        found = " and ".join(ways) or "none"
        raise ValueError(f"expected exactly one of distribution, value, matrix, file; found {found}")
    way = ways[0]
    needs = _DRAWS[given["distribution"]] if way == "distribution" else ()
    if set(given) != {way, *needs}:
        raise ValueError(f"{way} goes with {' and '.join(needs) or 'nothing else'}; found {', '.join(given)}")
    match way:
        case "value":
            return np.full(shape, quantity_in(given["value"], unit)[0])
        case "matrix":
            return _matrix(given["matrix"], shape)
        case "file":
            return _matrix(_read_matrix(folder / given["file"]), shape)
    a, b = (quantity_in(given[need], unit)[0] for need in needs)
    if given["distribution"] == "normal":
        if b < 0:
            raise ValueError(f"std is {b:g}; expected a number that isn't negative")
        return rng.normal(a, b, shape)
    if b < a:
        raise ValueError(f"low is {a:g} and high {b:g}; expected low below high")
    return rng.uniform(a, b, shape)


def _matrix(values: Any, shape: tuple[int, int]) -> Array:
    try:
        matrix = np.asarray(values, dtype=float)
    except (ValueError, TypeError):
        raise ValueError("expected rows of numbers of equal length") from None
    if matrix.shape != shape:
        raise ValueError(f"shape is {matrix.shape}; expected (n_source, n_target) = {shape}")
    return matrix


def _read_matrix(path: Path) -> Array:
    try:
        match path.suffix:
            case ".npy":
                return np.asarray(np.load(path, allow_pickle=False))
            case ".csv":
                return np.loadtxt(path, delimiter=",", ndmin=2)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} can't be read: {error}") from None
    raise ValueError(f"{path}: expected a file that ends in .npy or .csv")
