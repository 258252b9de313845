"""Packages whose names are imported when they are first used, so that nobody waits for what he does not use."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["offered", "offered_by_stub"]

Offer = tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]


def offered(package: str, homes: Mapping[str, str]) -> Offer:
    """What a package is to call ``__getattr__``, ``__dir__`` and ``__all__`` to offer names of its modules.

    Parameters
    ----------
    package : str
        Its ``__name__``.
    homes : mapping of str to str
        The module of the package that each name comes from; empty for a module itself. A name that is also that of a
        module would be replaced by it as soon as that is imported, and has no place here.

    Returns
    -------
    getattr : callable
        Imports a name when it is first asked for.
    dir : callable
    all : list of str
        The names in alphabetical order.
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if not homes[name]:
            return importlib.import_module(f"{package}.{name}")
        value = getattr(importlib.import_module(f"{package}.{homes[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    names = sorted(homes)
    return get, lambda: names, names


def offered_by_stub(package: str) -> Offer:
    """The same, of the names in the package's stub, where type checkers and editors find them too.

    The way of SPEC 1 of Scientific Python: ``__init__.pyi`` holds lines ``from .module import name as name`` alone.

    Parameters
    ----------
    package : str
        Its ``__name__``.

    Returns
    -------
    getattr, dir, all
        As of `offered`.

    Raises
    ------
    ValueError
        If the stub holds anything else.
    """
    stub = Path(str(sys.modules[package].__file__)).with_suffix(".pyi")
    homes: dict[str, str] = {}
    for node in ast.parse(stub.read_text(encoding="utf-8")).body:
        match node:
            case ast.Expr(value=ast.Constant()):
                pass  # its docstring
            case ast.ImportFrom(module=str(module), names=names, level=1) if all(a.asname == a.name for a in names):
                homes |= {a.name: module for a in names}
            case _:
                raise ValueError(f"{stub}: {ast.unparse(node)!r} is no line as from .module import name as name")
    return offered(package, homes)
