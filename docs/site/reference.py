"""References that are written from the package itself: its names, its command line, and what its files may hold."""

from __future__ import annotations

import importlib
import inspect
import types
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

import snnmodels

__all__ = ["api_pages", "command_line", "toml_pages"]

Page = tuple[str, str]

# what each file of a kind may hold, by the class of its schema
FILES = {
    "neuron": ("A neuron", "snnmodels.templates.schema", "NeuronFile"),
    "synapse": ("A synapse", "snnmodels.templates.schema", "SynapseFile"),
    "mechanism": ("A mechanism", "snnmodels.templates.schema", "MechanismFile"),
    "model": ("A composed model", "snnmodels.templates.schema", "ModelFile"),
    "network": ("A network", "snnmodels.templates.schema", "NetworkFile"),
    "coding": ("A coding network", "snnmodels.coding.library", "_CodingNetworkFile"),
}


def _title(text: str, under: str = "=") -> str:
    return f"{text}\n{under * len(text)}\n"


def _summary(names: list[str]) -> str:
    listed = "\n".join(f"   {name}" for name in names)
    return f".. autosummary::\n   :toctree: generated\n   :nosignatures:\n\n{listed}\n"


def _modules() -> list[str]:
    return [name for name in snnmodels.__all__ if inspect.ismodule(getattr(snnmodels, name))]


def _top() -> list[str]:
    return [name for name in snnmodels.__all__ if not name.startswith("_") and name not in _modules()]


def _is_object(module: types.ModuleType, name: str) -> bool:
    """Whether a name is that of a class or function, rather than of a value."""
    try:
        value = getattr(module, name)
    except ImportError:  # of a package that is not installed, whose place Sphinx fills
        return True
    if typing.get_origin(value) is not None:  # an alias of a type
        return False
    return inspect.isroutine(value) or inspect.isclass(value)


def _of_module(module: str) -> tuple[list[str], list[str], list[str]]:
    """What a module offers: names that the top level has too, further classes and functions, and values."""
    found = importlib.import_module(f"snnmodels.{module}")
    top = [n for n in found.__all__ if n in _top() and n in vars(found) and getattr(snnmodels, n) is vars(found)[n]]
    further = [n for n in found.__all__ if n not in top]
    objects = [n for n in further if _is_object(found, n)]
    return top, objects, [n for n in further if n not in objects]


def documented() -> list[str]:
    """Every class and function that has a page, by its whole name."""
    further = [f"snnmodels.{module}.{name}" for module in _modules() for name in _of_module(module)[1]]
    return [f"snnmodels.{name}" for name in _top()] + further


def api_pages() -> Iterator[Page]:
    """A page for the top level and one for each public module, with the names that each offers."""
    listed = "\n".join(f"   {module}" for module in _modules())
    yield (
        "api/index.rst",
        "\n".join(
            [
                _title("Python interface"),
                "What ``import snnmodels as snn`` offers; a name is imported when it is first used.\n",
                ".. currentmodule:: snnmodels\n",
                _summary(_top()),
                _title("Modules", "-"),
                "Each is offered as ``snn.losses`` and so on, with these names and further ones.\n",
                f".. toctree::\n   :maxdepth: 1\n\n{listed}\n",
            ]
        ),
    )
    for module in _modules():
        top, objects, values = _of_module(module)
        name = f"snnmodels.{module}"
        parts = [_title(name), f".. automodule:: {name}\n   :no-members:\n"]
        if top:
            parts.append("At the top level, too:\n")
            parts.append("\n".join(f"* :py:obj:`snnmodels.{n}`" for n in top) + "\n")
        parts.append(f".. currentmodule:: {name}\n")
        if objects:
            parts.append(_summary(objects))
        found = importlib.import_module(name)
        parts += [f".. py:data:: {n}\n\n   ``{getattr(found, n)!r}``\n" for n in values]
        yield f"api/{module}.rst", "\n".join(parts)


def command_line() -> str:
    """The command line's own help, every command."""
    import typer
    from typer.cli import get_docs_for_click

    from snnmodels.cli import app

    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="snnmodels")
    return get_docs_for_click(obj=command, ctx=context, name="snnmodels", title="Command line")


def _type(kind: Any) -> tuple[str, list[type[BaseModel]]]:
    """A type as a reader of TOML knows it, and the tables that it refers to."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return f"[table](#{kind.__name__.strip('_').lower()})", [kind]
    if origin is typing.Annotated:
        return _type(arguments[0])
    if origin is typing.Literal:
        return " or ".join(f'`"{a}"`' if isinstance(a, str) else f"`{a}`" for a in arguments), []
    if origin in (typing.Union, types.UnionType):
        parts = [_type(a) for a in arguments if a is not type(None)]
        seen = list(dict.fromkeys(text for text, _ in parts))
        if "number" in seen:
            seen = [text for text in seen if text != "whole number"]
        return " or ".join(seen), [m for _, found in parts for m in found]
    if origin in (list, tuple):
        text, found = _type(arguments[0])
        return f"list of {text}", found
    if origin is dict:
        text, found = _type(arguments[1])
        return f"table of {text} by name", found
    names = {str: "text", int: "whole number", float: "number", bool: "`true` or `false`", Any: "anything"}
    return names.get(kind, str(kind)), []


def _value(value: Any) -> str:
    if value is None or isinstance(value, BaseModel) or value in ("", [], {}, ()):
        return ""
    return f"`{str(value).lower()}`" if isinstance(value, bool) else f"`{value!r}`".replace("'", '"')


def _table(schema: type[BaseModel]) -> tuple[list[str], list[type[BaseModel]]]:
    lines = ["| key | is | default |", "|---|---|---|"]
    found: list[type[BaseModel]] = []
    for name, field in schema.model_fields.items():
        text, more = _type(field.annotation)
        found += more
        default = "**needed**" if field.is_required() else _value(field.get_default(call_default_factory=True))
        lines.append(f"| `{field.alias or name}` | {text} | {default} |".replace("  |", " |"))
    return lines, found


def toml_pages() -> Iterator[Page]:
    """A page for each kind of file: every table that it may hold, with its keys, types and defaults."""
    for kind, (title, module, name) in FILES.items():
        waiting = [getattr(importlib.import_module(module), name)]
        lines = [f"# {title} as TOML", "", "<!-- written from the schema that files are checked by -->"]
        seen: list[type[BaseModel]] = []
        while waiting:
            schema = waiting.pop(0)
            if schema in seen:
                continue
            seen.append(schema)
            rows, found = _table(schema)
            if len(seen) > 1:
                lines += ["", f"## {schema.__name__.strip('_')}"]
            doc = inspect.cleandoc(schema.__dict__.get("__doc__") or "")
            lines += ["", *([doc, ""] if doc else []), *rows]
            waiting += found
        yield f"reference/toml_{kind}.md", "\n".join(lines) + "\n"
