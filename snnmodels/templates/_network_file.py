"""Networks from TOML files."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..files import read_archive, read_array
from ._compose import component, load_components
from .arguments import check_seed
from .errors import TemplateError, located, suggest
from .groups import MOST, CurrentInput, Drive, Population, Projection, Settled, SpikeInput, learnable_names
from .library import find, read_toml
from .model import Document, Model, Parameter
from .network import Network
from .quantities import gain_unit
from .schema import (
    LOSS_TIMES,
    ArrayTable,
    CurrentInputTable,
    DrawTable,
    LossTable,
    MaskTable,
    NetworkFile,
    PopulationTable,
    ProjectionTable,
    ValuesTable,
    validate,
)
from .units import evaluate_quantity, quantity_in

__all__ = ["load_network"]

Array = np.ndarray

# What each way to give weights or delays needs besides itself
_DRAWS = {"normal": ("mean", "std"), "uniform": ("low", "high")}
# Keys of a loss that are numbers in whatever unit fits what they scale
_LOSS_NUMBERS = {"per", "scale", "alpha", "price"}


def load_network(name_or_path: str | Path, seed: int | None = None, **overrides: Any) -> Network:
    """Read a network from the library or from a file, and draw its initial weights, delays and parameters.

    Parameters
    ----------
    name_or_path : str or Path
        ``"yin_yang"``, or the path of a ``.toml`` file.
    seed : int, optional
        Seed of all that is drawn (weights, masks, delays, parameters) instead of the file's. Every projection draws
        from streams of its own that depend on the seed and on its name, so that the others stay as they are when one is
        changed; its delays come from another stream than its weights. So it is with each parameter of a population.
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
    given = source.inputs.items()
    inputs = tuple(_input(name, t.n, file) for name, t in given if not isinstance(t, CurrentInputTable))
    currents = tuple(_current(name, t, file) for name, t in given if isinstance(t, CurrentInputTable))
    start = source.seed if seed is None else seed
    files = _Files(path.parent)
    own = {name: Document(name, f"{file}: components.{name}", table) for name, table in source.components.items()}
    populations = {
        name: _population(name, table, path, start, own, files) for name, table in source.populations.items()
    }
    if unused := own.keys() - {c.name for p in populations.values() for c in p.model.components}:
        raise TemplateError(file, f"components.{min(unused)}", "no population names it")
    sizes = {**{i.name: i.n for i in inputs}, **{p.name: p.n for p in populations.values()}}
    models = {name: population.model for name, population in populations.items()}
    tables = [(f"projections.{k}", table) for k, table in enumerate(source.projections)]
    driving = {c.name: c for c in currents}
    projections = tuple(
        _projection(table, key, path, sizes, models, start, files)
        for key, table in tables
        if table.source not in driving
    )
    drives = tuple(
        _drive(table, key, path, driving[table.source], populations, start, files)
        for key, table in tables
        if table.source in driving
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
            name=path.stem if source.name is None else source.name,
            inputs=inputs,
            populations=tuple(populations.values()),
            projections=projections,
            output=source.output,
            duration=duration,
            encoding=encoding,
            currents=currents,
            drives=drives,
            loss=tuple(_loss(table, where, file) for where, table in _losses(source)),
        )


class _Files:
    """Arrays of files that stand beside the network's; an archive is read once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._archives: dict[Path, Mapping[str, Array]] = {}

    def read(self, table: ArrayTable | ValuesTable | MaskTable) -> Array:
        """What a table names."""
        assert table.file is not None
        path = self._folder / table.file
        if (path.suffix == ".npz") != (table.array is not None):
            raise ValueError(f"{path}: name one of the arrays of an archive (.npz) by array, and of no other file")
        try:
            match path.suffix:
                case ".npz":
                    return self._of_archive(path, str(table.array))
                case ".npy":
                    return read_array(path, "array")
                case ".csv":
                    return np.loadtxt(path, delimiter=",", ndmin=1 if isinstance(table, ArrayTable) else 2)
        except OSError as error:
            raise ValueError(f"{path} can't be read: {error}") from None
        except ValueError as error:
            raise ValueError(str(error) if path.suffix != ".csv" else f"{path} can't be read: {error}") from None
        raise ValueError(f"{path}: expected a file that ends in .npy, .npz or .csv")

    def _of_archive(self, path: Path, name: str) -> Array:
        if path not in self._archives:
            self._archives[path] = read_archive(path, "archive of arrays")
        arrays = self._archives[path]
        if name not in arrays:
            raise ValueError(f"{path} has no array {name!r}; {suggest(name, arrays)}")
        return arrays[name]


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


def _current(name: str, table: CurrentInputTable, file: str) -> CurrentInput:
    times = {}
    for key in ("interval", "start"):
        with located(file, f"inputs.{name}.{key}"):
            times[key], _ = quantity_in(getattr(table, key), "second")
    with located(file, f"inputs.{name}"):
        return CurrentInput(name, table.n, interpolation=table.interpolation, unit=table.unit, **times)


def _population(
    name: str, table: PopulationTable, path: Path, seed: int, own: Mapping[str, Document], files: _Files
) -> Population:
    file, key = str(path), f"populations.{name}"
    parts = table.model.split("+") if isinstance(table.model, str) else table.model
    with located(file, f"{key}.model"):
        model = load_components(component(part.strip(), path.parent, own) for part in parts)
    with located(file, f"{key}.n"):
        if table.n > MOST:
            raise ValueError(f"is {table.n}; expected at most {MOST}")
    parameters: dict[str, float | Array] = {}
    for parameter, value in table.parameters.items():
        where = f"{key}.parameters.{parameter}"
        if parameter not in model.parameters:
            raise TemplateError(file, where, model.no_parameter(parameter))
        unit = model.parameters[parameter].unit
        with located(file, where):
            if isinstance(value, DrawTable):
                rng = np.random.default_rng([seed, zlib.crc32(f"{name}.{parameter}".encode())])
                drawn = _drawn(value.model_dump(exclude_none=True), (table.n,), unit, rng)
                _check_drawn(drawn, model.parameters[parameter])
                parameters[parameter] = drawn
            elif isinstance(value, ArrayTable):
                parameters[parameter] = _numbers(files.read(value), (table.n,), "(n,)")
            elif isinstance(value, list):
                parameters[parameter] = np.array([quantity_in(item, unit)[0] for item in value])
            else:
                parameters[parameter] = quantity_in(value, unit)[0]
    with located(file, key):
        return Population(name, table.n, model, Settled(parameters), tuple(table.learnable))


def _check_drawn(values: Array, parameter: Parameter) -> None:
    """Refuse values that the parameter can't have: a drawn one is never changed into one that it can."""
    if parameter.problem(values):
        neuron = next(k for k, value in enumerate(values) if parameter.problem(value))
        hint = "choose another distribution, or another seed"
        raise ValueError(f"what is drawn for neuron {neuron} {parameter.problem(values[neuron])}; {hint}")


def _losses(source: NetworkFile) -> list[tuple[str, LossTable]]:
    """The terms of the loss, each with its key."""
    if isinstance(source.loss, LossTable):
        return [("loss", source.loss)]
    return [(f"loss.{k}", table) for k, table in enumerate(source.loss or [])]


def _loss(table: LossTable, key: str, file: str) -> dict[str, Any]:
    """What a term says, its quantities in SI units; units of constants and targets are left to the loss."""
    said = table.model_dump(exclude_none=True, exclude_defaults=True)
    for name in said.keys() & LOSS_TIMES:
        with located(file, f"{key}.{name}"):
            said[name] = quantity_in(said[name], "second")[0]
    for name in _LOSS_NUMBERS & said.keys():
        with located(file, f"{key}.{name}"):
            said[name] = evaluate_quantity(said[name])[0]
    return said


def _projection(
    table: ProjectionTable,
    key: str,
    path: Path,
    sizes: Mapping[str, int],
    models: Mapping[str, Model],
    seed: int,
    files: _Files,
) -> Projection:
    file = str(path)
    if table.input is not None:
        message = f"{table.source} has no current; spikes arrive through a receptor"
        raise TemplateError(file, f"{key}.input", message)
    for end, name in (("source", table.source), ("target", table.target)):
        known = sizes if end == "source" else models
        if name not in known:
            raise TemplateError(file, f"{key}.{end}", f"no population {name!r}; {suggest(name, known)}")
    receptors = models[table.target].receptors
    receptor = table.receptor or (next(iter(receptors)) if len(receptors) == 1 else "")
    if receptor not in receptors:
        found = f"{table.target} has no receptor {receptor!r}" if receptor else f"name a receptor of {table.target}"
        raise TemplateError(file, f"{key}.receptor", f"{found}; {models[table.target].receptor_hint(receptor)}")
    name = table.name or f"{table.source}_{table.target}"
    shape = _shape(sizes[table.source], sizes[table.target], file, key)
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    with located(file, f"{key}.weights"):
        weights = _values(table.weights, shape, receptors[receptor].weight_unit, files, rng)
    with located(file, f"{key}.mask"):
        mask = None if table.mask is None else _mask(table.mask, shape, files, rng)
    delay: float | Array
    with located(file, f"{key}.delay"):
        if isinstance(table.delay, ValuesTable):
            draws = np.random.default_rng([seed, zlib.crc32(f"{name}.delay".encode())])
            delay = _values(table.delay, shape, "second", files, draws)
        else:
            delay = quantity_in(table.delay or 0, "second")[0]
    with located(file, key):
        learnable = learnable_names(table.learnable, f"projection {name!r}")
        return Projection(name, table.source, table.target, weights, receptor, mask, learnable, delay)


def _drive(
    table: ProjectionTable,
    key: str,
    path: Path,
    source: CurrentInput,
    populations: Mapping[str, Population],
    seed: int,
    files: _Files,
) -> Drive:
    file = str(path)
    for given in ("receptor", "delay", "mask"):
        if getattr(table, given) is not None:
            message = f"{source.name} is a current, which has none; it drives an input, with a weight for each neuron"
            raise TemplateError(file, f"{key}.{given}", message)
    if table.target not in populations:
        hint = suggest(table.target, populations)
        raise TemplateError(file, f"{key}.target", f"no population {table.target!r}; {hint}")
    target = populations[table.target]
    inputs = target.model.inputs
    driven = table.input or (next(iter(inputs)) if len(inputs) == 1 else "")
    if driven not in inputs:
        found = f"{table.target} has no input {driven!r}" if driven else f"name an input of {table.target}"
        raise TemplateError(file, f"{key}.input", f"{found}; {suggest(driven, inputs)}")
    name = table.name or f"{table.source}_{table.target}"
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    shape = _shape(source.n, target.n, file, key)
    with located(file, f"{key}.weights"):
        weights = _values(table.weights, shape, gain_unit(inputs[driven].unit, source.unit), files, rng)
    with located(file, key):
        learnable = learnable_names(table.learnable, f"drive {name!r}", ("w",))
        return Drive(name, source.name, target.name, weights, driven, learnable)


def _shape(n_source: int, n_target: int, file: str, key: str) -> tuple[int, int]:
    """Of a matrix of connections, which must not be too many."""
    if n_source * n_target > MOST:
        raise TemplateError(file, key, f"has {n_source} x {n_target} connections; expected at most {MOST}")
    return n_source, n_target


def _values(table: ValuesTable, shape: tuple[int, int], unit: str, files: _Files, rng: np.random.Generator) -> Array:
    given = table.model_dump(exclude_none=True)
    ways = [way for way in ("distribution", "value", "matrix", "file") if way in given]
    if len(ways) != 1:
        found = " and ".join(ways) or "none"
        raise ValueError(f"expected exactly one of distribution, value, matrix, file; found {found}")
    way = ways[0]
    if way == "distribution":
        return _drawn(given, shape, unit, rng)
    if set(given) - ({way, "array"} if way == "file" else {way}):
        raise ValueError(f"{way} goes with nothing else; found {', '.join(given)}")
    match way:
        case "value":
            return np.full(shape, quantity_in(given["value"], unit)[0])
        case "matrix":
            return _numbers(given["matrix"], shape, "(n_source, n_target)")
        case _:
            return _numbers(files.read(table), shape, "(n_source, n_target)")


def _mask(table: MaskTable, shape: tuple[int, int], files: _Files, rng: np.random.Generator) -> Array:
    """Which connections exist."""
    if (table.probability is None) == (table.file is None):
        raise ValueError("expected either probability or file")
    if table.probability is not None:
        if table.array is not None:
            raise ValueError("array goes with file")
        return rng.random(shape) < table.probability
    mask = _numbers(files.read(table), shape, "(n_source, n_target)")
    if not np.isin(mask, (0, 1)).all():
        raise ValueError("expected an array of true and false, or of 1 and 0")
    return mask != 0


def _drawn(given: Mapping[str, Any], shape: tuple[int, ...], unit: str, rng: np.random.Generator) -> Array:
    """Numbers from a distribution, whose keys and their values in `unit` are checked."""
    needs = _DRAWS[given["distribution"]]
    if set(given) != {"distribution", *needs}:
        raise ValueError(f"distribution goes with {' and '.join(needs)}; found {', '.join(given)}")
    a, b = (quantity_in(given[need], unit)[0] for need in needs)
    if given["distribution"] == "normal":
        if b < 0:
            raise ValueError(f"std is {b:g}; expected a number that isn't negative")
        return rng.normal(a, b, shape)
    if b < a:
        raise ValueError(f"low is {a:g} and high {b:g}; expected low below high")
    return rng.uniform(a, b, shape)


def _numbers(values: Any, shape: tuple[int, ...], axes: str) -> Array:
    try:
        numbers = np.asarray(values, dtype=float)
    except (ValueError, TypeError):
        raise ValueError("expected rows of numbers of equal length") from None
    if numbers.shape != shape:
        raise ValueError(f"shape is {numbers.shape}; expected {axes} = {shape}")
    return numbers


