"""Models and networks as files: what is declared as TOML, beside it the arrays of a network."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from ..files import atomic_file
from ._compose import load_components
from .arguments import check_kind
from .constraints import violated
from .groups import CurrentInput, Drive, Population, Projection, SpikeInput
from .model import Document, Model
from .network import Network, check_network
from .quantities import in_unit
from .schema import LOSS_TIMES

__all__ = ["save_model", "save_network"]


def save_network(
    network: Network,
    path: str | Path,
    *,
    title: str = "",
    description: str = "",
    references: Sequence[str] = (),
) -> None:
    """Write a network to a file that `load_network` reads.

    What is declared stands in the file, the templates of its models included, so that it reads the same wherever it
    is read. Arrays (weights, masks, delays and parameters of their own) stand in an archive of the same name beside
    it, which ends in ``.npz``.

    Parameters
    ----------
    network : Network
    path : str or Path
        Ends in ``.toml``. Both files are replaced where they exist, each at once.
    title, description : str
        For people; the network's name, and what wrote the file, where they are empty.
    references : sequence of str

    Raises
    ------
    ValueError
        For another ending, or a network that no file can hold: without a name, with models that are not composed of
        templates, or with two templates of one name.
    OSError
        If a file can't be written.

    Examples
    --------
    >>> save_network(network, "mine.toml")  # doctest: +SKIP
    >>> same = load_network("mine.toml")  # doctest: +SKIP
    """
    check_network(network)
    path = Path(path)
    if path.suffix != ".toml":
        raise ValueError(f"{path}: expected a name that ends in .toml")
    if not network.name.strip():
        raise ValueError(f"the network's name is {network.name!r}, and in a file it needs one; make it with a name")
    arrays: dict[str, np.ndarray] = {}
    archive = path.with_suffix(".npz")
    from .. import __version__

    words = {
        "title": title or network.name,
        "description": description or f"Saved by snnmodels {__version__}.",
        **({"references": list(references)} if references else {}),
    }
    content = _content(network, words, arrays, archive.name)
    text = tomli_w.dumps(content)
    if arrays:
        with atomic_file(archive, "network") as file:
            np.savez(file, allow_pickle=False, **arrays)
    with atomic_file(path, "network") as file:
        file.write(text.encode())


def save_model(
    model: Model,
    path: str | Path,
    values: Mapping[str, Any] | None = None,
    *,
    title: str = "",
    description: str = "",
) -> None:
    """Write a model to one file that `load_model` reads, with other defaults of its parameters.

    The templates that it is composed of stand in the file, so that it reads the same wherever it is read.

    Parameters
    ----------
    model : Model
        As `load_model` gives it.
    path : str or Path
        Ends in ``.toml``. The name of the file is that of the model that is read from it.
    values : mapping of str to float or Quantity, optional
        New defaults by parameter; plain numbers are in SI units.
    title, description : str
        The model's own where they are empty.

    Raises
    ------
    ValueError
        For another ending, a model that is not composed of templates, an unknown parameter, or a value that it can't
        have.
    OSError
        If the file can't be written.

    Examples
    --------
    >>> save_model(load_model("lif+refractory"), "slow.toml", {"tau_m": 30e-3})  # doctest: +SKIP
    >>> load_model("slow.toml").parameters["tau_m"].value  # doctest: +SKIP
    0.03
    """
    check_kind("model", model, Model, "a Model, as load_model gives")
    path = Path(path)
    if path.suffix != ".toml":
        raise ValueError(f"{path}: expected a name that ends in .toml")
    _check_composed(model)
    new: dict[str, float] = {}
    for name, value in (values or {}).items():
        if name not in model.parameters:
            raise ValueError(model.no_parameter(name))
        parameter = model.parameters[name]
        number = in_unit(value, parameter.unit, f"value of {name!r}")
        if number.ndim:
            raise ValueError(f"value of {name!r} has shape {number.shape}; expected one number")
        if problem := parameter.problem(number):
            raise ValueError(f"value of {name!r} {problem}")
        new[name] = float(number)
    if problem := violated(model, {name: new.get(name, p.value) for name, p in model.parameters.items()}):
        raise ValueError(problem)
    components: dict[str, Any] = {}
    for document in model.components:
        if components.setdefault(document.name, dict(document.content)) != document.content:
            raise ValueError(f"{model.name} has two templates of the name {document.name!r}; rename one of their files")
    content: dict[str, Any] = {
        "kind": "model",
        "title": title or model.title,
        "description": description or model.description,
        "references": list(model.references),
        "model": [document.reference for document in model.components],
        "parameters": {name: _quantity(value, model.parameters[name].unit) for name, value in new.items()},
        "components": components,
    }
    with atomic_file(path, "model") as file:
        file.write(tomli_w.dumps(content).encode())


def _content(network: Network, words: Mapping[str, Any], arrays: dict[str, np.ndarray], archive: str) -> dict[str, Any]:
    """The document; what is an array goes to `arrays`, and the document names it."""

    def stored(name: str, array: Any) -> dict[str, str]:
        kept = np.ascontiguousarray(array)
        # named by what it holds: where a crash comes between the archive and the file, they are of different networks,
        # and must not be read as one
        key = f"{name}-{hashlib.sha256(f'{kept.dtype}{kept.shape}'.encode() + kept.tobytes()).hexdigest()[:16]}"
        arrays[key] = kept
        return {"file": archive, "array": key}

    content: dict[str, Any] = {
        "kind": "network",
        "name": network.name,
        **words,
        "duration": _quantity(network.duration, "second"),
        "output": network.output,
    }
    if network.encoding:
        longest = _quantity(float(network.encoding["longest"]), "second")
        content["encoding"] = {**network.encoding, "longest": longest}
    if network.loss:
        content["loss"] = [_loss(term) for term in network.loss]
    sources: list[SpikeInput | CurrentInput] = [*network.inputs, *network.currents]
    content["inputs"] = {x.name: _input(x) for x in sources}
    content["populations"] = {p.name: _population(p, stored) for p in network.populations}
    content["projections"] = [
        *(_projection(q, stored) for q in network.projections),
        *(_drive(d, stored) for d in network.drives),
    ]
    content["components"] = _components(network.populations)
    return content


def _quantity(value: float, unit: str) -> str | float:
    """A number in SI units, exact as text."""
    return float(value) if unit == "1" else f"{float(value)!r}*{unit}"


def _loss(term: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _quantity(value, "second") if key in LOSS_TIMES else value for key, value in term.items()}


def _input(source: SpikeInput | CurrentInput) -> dict[str, Any]:
    if isinstance(source, SpikeInput):
        return {"n": int(source.n)}
    return {
        "kind": "current",
        "n": int(source.n),
        "interval": _quantity(source.interval, "second"),
        "interpolation": source.interpolation,
        "start": _quantity(source.start, "second"),
        "unit": source.unit,
    }


def _population(p: Population, stored: Any) -> dict[str, Any]:
    units = {name: parameter.unit for name, parameter in p.model.parameters.items()}
    table: dict[str, Any] = {"model": [c.reference for c in p.model.components], "n": int(p.n)}
    if p.parameters:
        table["parameters"] = {
            name: stored(f"{p.name}.{name}", value) if np.ndim(value) else _quantity(float(value), units[name])
            for name, value in p.parameters.items()
        }
    return {**table, "learnable": list(p.learnable)} if p.learnable else table


def _projection(q: Projection, stored: Any) -> dict[str, Any]:
    table = {
        "name": q.name,
        "source": q.source,
        "target": q.target,
        "receptor": q.receptor,
        "weights": stored(f"{q.name}.w", q.weights),
        "delay": stored(f"{q.name}.delay", q.delay) if np.ndim(q.delay) else _quantity(float(q.delay), "second"),
        "learnable": list(q.learnable),
    }
    return table if q.mask is None else {**table, "mask": stored(f"{q.name}.mask", q.mask)}


def _drive(d: Drive, stored: Any) -> dict[str, Any]:
    return {
        "name": d.name,
        "source": d.source,
        "target": d.target,
        "input": d.input,
        "weights": stored(f"{d.name}.w", d.weights),
        "learnable": list(d.learnable),
    }


def _components(populations: Iterable[Population]) -> dict[str, Any]:
    """The templates of all models, each once."""
    found: dict[str, Document] = {}
    checked: list[Model] = []
    for p in populations:
        if any(p.model is model for model in checked):
            continue
        _check_composed(p.model)
        checked.append(p.model)
        for document in p.model.components:
            other = found.setdefault(document.name, document)
            if other.content != document.content:
                raise ValueError(
                    f"{other.where} and {document.where} are two templates of one name; rename one of the files, so "
                    "that the network's file can hold both"
                )
    return {name: dict(document.content) for name, document in found.items()}


def _check_composed(model: Model) -> None:
    """Refuse a model that is not what its templates compose to: its file would be of another one."""
    again = load_components(model.components) if model.components else None
    if again is not None:  # words may be others
        again = replace(again, name=model.name, files=model.files, title=model.title)
        again = replace(again, description=model.description, references=model.references)
    if again != model:
        raise ValueError(
            f"{model.name} was changed after load_model, or made without it, and no file can hold that; write a "
            "template"
        )
