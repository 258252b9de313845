"""What several commands share: exit codes, arguments, and finding the model or network that names stand for."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..coding import CodingNetwork
    from ..templates import Model, Network

__all__ = [
    "BAD_INPUT",
    "BEYOND_TOLERANCE",
    "INTERRUPTED",
    "ModelArgument",
    "Target",
    "leave_no_log_files",
    "load_any",
    "load_one_model",
    "milliseconds",
]

BEYOND_TOLERANCE = 1
BAD_INPUT = 2
INTERRUPTED = 130


class Target(enum.StrEnum):
    """Where Brian2 runs a simulation."""

    numpy = "numpy"
    cpp_standalone = "cpp_standalone"


ModelArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="MODEL",
        help="A neuron of the library, and optionally synapses and mechanisms, apart or joined by plus signs "
        "(`lif`, `lif exp_synapse adaptive_threshold`, `lif+alpha_synapse`); or paths of your own `.toml` files.",
    ),
]


def load_any(names: list[str]) -> Model | Network | CodingNetwork:
    """The model that the names compose to, or the network that a single name stands for.

    Raises
    ------
    TemplateError
        If there is neither.
    """
    from ..coding import coding_catalogue, load_coding_network
    from ..templates import catalogue, load_model, load_network

    if len(names) == 1:
        kind = _kind_of_file(Path(names[0]))
        if kind == "network" or names[0] in {entry.name for entry in catalogue() if entry.kind == "network"}:
            return load_network(names[0])
        if kind == "coding_network" or names[0] in coding_catalogue():
            return load_coding_network(names[0])
    return load_model(*names)


def load_one_model(names: list[str]) -> Model:
    """The model that the names compose to; `ValueError` if they stand for a network."""
    from ..templates import Model

    loaded = load_any(names)
    if not isinstance(loaded, Model):
        raise ValueError(f"{names[0]} is a network; this command takes one neuron model")
    return loaded


def _kind_of_file(path: Path) -> str | None:
    """What a TOML file says that it is; a file with errors is left to the model loader to complain about."""
    import tomllib

    if path.suffix != ".toml" or not path.is_file():
        return None
    try:
        return str(tomllib.loads(path.read_text(encoding="utf-8")).get("kind"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        return None


def leave_no_log_files() -> None:
    """Keep Brian2, imported here, from writing a log file and a copy of the program to the temporary folder."""
    from ..brian.standalone import no_log_files

    no_log_files()


def milliseconds(name: str, value: float) -> float:
    """The value of an option in seconds; `ValueError` unless it is positive and finite."""
    if not 0 < value < float("inf"):
        raise ValueError(f"{name}: expected a positive number of milliseconds, got {value:g}")
    return value * 1e-3
