"""Where the library's files are, and how a file is read."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .arguments import check_kind
from .errors import TemplateError, suggest
from .schema import KINDS, TemplateFile, validate

__all__ = ["Entry", "catalogue", "equations_path", "find", "kind_of", "library_files", "read", "read_toml"]

_FOLDERS = {
    "neuron": "neurons",
    "synapse": "synapses",
    "mechanism": "mechanisms",
    "model": "models",
    "network": "networks",
    "coding": "coding",
}


@dataclass(frozen=True)
class Entry:
    """One file of the library: its kind (neuron, synapse, mechanism, network, coding), name, title and path."""

    kind: str
    name: str
    title: str
    path: Path


def equations_path() -> Path:
    """The folder of the model library: inside an installed package, or at the top of a checkout.

    Raises
    ------
    FileNotFoundError
        If there is neither.
    """
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "equations", package.parent / "equations"):
        if (folder / "neurons").is_dir():
            return folder
    raise FileNotFoundError(f"the model library is neither {package / 'equations'} nor {package.parent / 'equations'}")


def catalogue() -> list[Entry]:
    """Every file of the library, by kind (neurons, synapses, mechanisms, networks, coding networks) and name."""
    files = ((kind, name, path) for kind in _FOLDERS for name, path in library_files(kind).items())
    return [Entry(kind, name, read_toml(path).get("title", ""), path) for kind, name, path in files]


def find(reference: str | Path, kinds: tuple[str, ...] = tuple(KINDS)) -> Path:
    """The file that a library name or a path stands for.

    Parameters
    ----------
    reference : str or Path
        ``"lif"``, or the path of a file that ends in ``.toml``.
    kinds : tuple of str
        Where in the library to look.

    Raises
    ------
    TemplateError
        If there is no such file; its place is left to who refers to it.
    """
    check_kind("a component or a file", reference, (str, Path), "a name of the library or a path")
    text = str(reference)
    path = Path(reference)
    if path.suffix == ".toml":
        if not os.path.isfile(path):
            raise TemplateError("", text, "no such file")
        return path
    files = {name: file for kind in kinds for name, file in library_files(kind).items()}
    if text not in files:
        where = " or ".join(_FOLDERS[kind] for kind in kinds)
        own = f"; write {text}.toml for the file beside" if os.path.isfile(f"{text}.toml") else ""
        message = f"not among the library's {where}, nor a .toml file{own}; {suggest(text, files)}"
        raise TemplateError("", text, message)
    return files[text]


def read(path: Path) -> TemplateFile:
    """A file, checked against the schema of its kind.

    Raises
    ------
    TemplateError
        If it isn't TOML, or doesn't follow the schema.
    """
    return validate(read_toml(path), str(path))


def read_toml(path: Path) -> dict[str, Any]:
    """The document in a TOML file, unchecked.

    Raises
    ------
    TemplateError
        If the file can't be read or isn't TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise TemplateError(str(path), "", f"can't be read: {error}") from None
    except ValueError as error:  # a whole number of thousands of digits is one too
        raise TemplateError(str(path), "", f"not valid TOML: {error}") from None
    except RecursionError:
        raise TemplateError(str(path), "", "can't be read: tables or arrays are nested too deeply") from None


def kind_of(reference: str | Path) -> Literal["model", "network", "coding_network"]:
    """What one name or file is to be loaded as.

    Parameters
    ----------
    reference : str or Path
        A name of the library, names joined by plus signs, or the path of a ``.toml`` file.

    Returns
    -------
    str
        ``"model"`` also for what there is not, or what is damaged: the loader of models says so.
    """
    path = Path(reference)
    if path.suffix != ".toml":
        kinds = {"network": "network", "coding_network": "coding"}
        found: Any = next((kind for kind, files in kinds.items() if str(reference) in library_files(files)), "model")
        return found
    try:
        kind = read_toml(path).get("kind")
    except TemplateError:
        return "model"
    return kind if kind in ("network", "coding_network") else "model"


def library_files(kind: str) -> dict[str, Path]:
    """The library's files of a kind (as in `Entry`), path by name in alphabetical order."""
    return {file.stem: file for file in sorted((equations_path() / _FOLDERS[kind]).glob("*.toml"))}
