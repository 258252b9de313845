"""What several commands share: exit codes, arguments, and finding the model or network that names stand for."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..coding import CodingNetwork
    from ..targets import Target
    from ..templates import Model, Network

__all__ = [
    "BAD_INPUT",
    "BEYOND_TOLERANCE",
    "INTERRUPTED",
    "UNRESOLVED",
    "ModelArgument",
    "load_any",
    "milliseconds",
    "one_line",
    "prepare_brian",
    "require_tools",
]

_formatted = warnings.formatwarning  # that of Python

BEYOND_TOLERANCE = 1
BAD_INPUT = 2
UNRESOLVED = 3
INTERRUPTED = 130


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
    from ..templates import load_model
    from ..templates.library import kind_of

    if len(names) == 1:
        match kind_of(names[0]):
            case "network":
                from ..losses import load_network

                return load_network(names[0])
            case "coding_network":
                from ..coding import load_coding_network

                return load_coding_network(names[0])
    return load_model(*names)


def prepare_brian() -> None:
    """Keep Brian2, imported here, from writing files to the temporary folder and from one warning that isn't meant."""
    from brian2.utils.logger import BrianLogger

    from ..targets.devices import no_log_files

    no_log_files()
    # groups that only hold arrays for others never join a Network, on purpose
    BrianLogger.suppress_name("unused_brian_object")
    if warnings.formatwarning is one_line:
        logging.captureWarnings(False)  # as Brian2 has them, with words of its own around each


def one_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """One of the package's warnings without a line of its source, which is of no use at a terminal.

    Parameters
    ----------
    message, category, filename, lineno, line
        As `warnings.formatwarning` takes them.
    """
    if category is UserWarning:
        return f"warning: {message}\n"
    return _formatted(message, category, filename, lineno, line)


def require_tools(target: Target) -> None:
    """`CompilerMissing` unless what a target compiles with can be found."""
    from ..targets.devices import require_compiler

    if target != "numpy":
        require_compiler()


def milliseconds(name: str, value: float) -> float:
    """The value of an option in seconds; `ValueError` unless it is positive and finite."""
    if not 0 < value < float("inf"):
        raise ValueError(f"{name}: expected a positive number of milliseconds, got {value:g}")
    return value * 1e-3
