"""Malformed inputs, and what may come of them: the package's own error in one line, or a result."""

from __future__ import annotations

import contextlib
import datetime
import dis
import faulthandler
import json
import random
import re
import signal
import sys
import tomllib
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from brian2 import ms, mV, nA

import snnmodels

PACKAGE = Path(snnmodels.__file__).parent
SECONDS = 10.0  # that no input may take
LONGEST = 400  # characters of a message


class Hang(BaseException):
    """An input took longer than any may."""


@contextlib.contextmanager
def watchdog(seconds: float = SECONDS) -> Iterator[None]:
    """Interrupt what takes too long; what can't be interrupted ends the whole process, with its traceback."""

    def interrupt(*_: object) -> None:
        raise Hang(f"more than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, interrupt)
    faulthandler.dump_traceback_later(3 * seconds, exit=True, file=sys.__stderr__)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, before)


def complaint(call: Callable[[], object], words: Iterable[str]) -> str:
    """What is wrong about how a call ends; empty if it returns, or raises an error of the package's own.

    Such an error is raised by a statement of the package (not by what a library does there), is a ValueError, a
    TypeError, an OSError or a RuntimeError of the package's, and says in one line something out of `words`: what is
    wrong.
    """
    try:
        with watchdog(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call()
    except Exception as error:
        return wrong_with(error, words)
    except Hang as error:
        place = traceback.extract_tb(error.__traceback__)[-2]  # the last is the watchdog
        return f"hangs: {place.filename}:{place.lineno}"
    return ""


def wrong_with(error: BaseException, words: Iterable[str]) -> str:
    """What is wrong about an exception as an answer to malformed input."""
    innermost = error.__traceback__
    assert innermost is not None
    while innermost.tb_next is not None:
        innermost = innermost.tb_next
    code = innermost.tb_frame.f_code
    place = f"{Path(code.co_filename).name}:{innermost.tb_lineno} ({code.co_name})"
    message = str(error)
    own = isinstance(error, (ValueError, TypeError, OSError)) or (
        isinstance(error, RuntimeError) and type(error).__module__.startswith("snnmodels.")
    )
    found = f"{type(error).__name__} at {place}: {message[:300]!r}"
    if not Path(code.co_filename).is_relative_to(PACKAGE):
        return f"of another library: {found}"
    if not own or isinstance(error, UnicodeError):
        return f"of no kind that says what is wrong: {found}"
    if not raised(innermost):
        return f"not said by the package: {found}"
    if not message.strip() or "\n" in message:
        return f"not one line: {found}"
    if len(message) > LONGEST:
        return f"{len(message)} characters: {found}"
    if not any(word in message for word in words):
        return f"names nothing out of {list(words)}: {found}"
    return ""


def raised(place: TracebackType) -> bool:
    """Whether the instruction that a frame stopped at is a ``raise``, not a call that failed."""
    return dis.opname[place.tb_frame.f_code.co_code[place.tb_lasti]] in ("RAISE_VARARGS", "RERAISE")


# --- values ---------------------------------------------------------------------------------------------------------

LONG = "x" * 20_000

ODD_TOML: tuple[Any, ...] = (
    *(0, -1, 1, 2, 3.5, -0.0, 1e308, 5e-324, float("nan"), float("inf"), float("-inf")),
    *(2**63, 10**30, 10**400, True, False, "", " ", "0", "-1", "nan", "inf", "1e400", "x", "\n", "\x7f", LONG),
    *([], [[]], {}, [1], ["x"], [None], [[1, 2], [3]], {"a": 1}, {"default": 1}),
    *(datetime.date(2024, 2, 29), datetime.time(12), datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)),
    *([[1.0, 2.0], [3.0, float("nan")]], [1, "x"], [{}], ["v", "v"]),
)

ODD_UNITS = (
    *("1", "volt", "mV", "second", "ms", "amp", "metre", "siemens", "volt/second", "second**2", "unit(v)", "unit(q)"),
    *("scale(v)", "unit()", "1/0", "boolean", "integer", "volt*volt/volt", "2*volt", "volt**1000000", "(", "é"),
    *("volt + amp", "10**10**10", "volt**0.5", "volt**(1/3)", "unit(v)**100", "lambda: 1", "None"),
)

ODD_NAMES = (
    *("t", "dt", "i", "N", "I", "E", "S", "Q", "pi", "exp", "xi", "lambda", "class", "None", "True", "_x", "x y", ""),
    *("volt", "ms", "v-1", "v.w", "ä", "𝐯", "1x", "v", "w", "I_syn", "tau_m", "int", "rand", "lastspike"),
    *("inf", "nan", "e", "d", "x", "winner", "__class__", "if", "and", "dv", "zoo", "oo", "a" * 3000),
)

ODD_EXPRESSIONS = (
    *("({0}", "{0})", "{0} +", "lambda: {0}", "({0}).real", "{0}[0]", "f'{0}'", "'{0}'", "{0} < 1 < 2", "(y := {0})"),
    *("{0} if {0} else 1", "{0} and 1", "not {0}", "{0}, {0}", "[{0}]", "{{{0}}}", "*{0}", "...", "None", "True", "1j"),
    *("nothing({0})", "exp({0}, {0})", "exp()", "exp(x={0})", "exp(*{0})", "exp", "rand()", "int({0})", "int({0} > 1)"),
    *("{0}/0", "{0}*0/0", "0/0", "0**-1", "{0}**10**10**10", "10**10**10", "2.0**10**10", "(-1)**0.5"),
    *("{0}**{0}", "1e400*{0}", "{0} - 1e400 + 1e400", "abs({0})", "sign({0})", "floor({0})", "ceil({0})"),
    *("{0} % 2", "{0} // 2", "{0} @ {0}", "{0} & 1", "{0} << 1", "~{0}", "{0} = 1", "{0}; 1", "{0} # no", "{0}\\"),
    *("await {0}", "yield", "{0}.__class__", "__import__('os')", "exp(exp(exp(exp({0}))))", "log(-1)"),
    *("clip({0}, 0, 1)", "sqrt({0} - {0})", "{0}\n+ 1", "1_0", "0x10", "0b1", "1e", "1.2.3"),
    *("{0} {0}", "{0}\x00", "{0}é", "-" * 2000 + "{0}", "{0}" + "**2" * 300),
    *("(" * 1000 + "{0}" + ")" * 1000, "(" * 90 + "{0}" + ")" * 90),
    *("{0}" + " + {0}" * 3000, "exp(" * 150 + "{0}" + ")" * 150),
    *("9" * 5000, "{0} > {0}", "t", "dt", "log({0})", "log(0)", "tan({0})", "1/({0} - {0})", "unit({0})", "scale({0})"),
)


def odd_values() -> dict[str, Any]:
    """Values of every kind that an argument may be given by mistake, by a name for messages."""
    ragged = np.empty(2, dtype=object)
    ragged[:] = [np.zeros(2), np.zeros(3)]
    values = {
        "None": None,
        "True": True,
        "-1": -1,
        "0": 0,
        "1": 1,
        "2.5": 2.5,
        "-0.5": -0.5,
        "nan": float("nan"),
        "inf": float("inf"),
        "-inf": float("-inf"),
        "10**400": 10**400,
        "1j": 1j,
        "fraction": Fraction(1, 3),
        "empty text": "",
        "text": "x",
        "long text": LONG,
        "bytes": b"x",
        "list": [],
        "ragged list": [[1, 2], [3]],
        "list of text": ["x", "y"],
        "list of None": [None],
        "tuple": (1, 2),
        "dict": {},
        "dict of text": {"x": "y"},
        "dict of nan": {"nothing": float("nan")},
        "dict by numbers": {1: 2},
        "set": {1},
        "generator": (k for k in range(3)),
        "range": range(3),
        "object": object(),
        "type": int,
        "function": len,
        "module": json,
        "date": datetime.date(2024, 2, 29),
        "empty array": np.array([]),
        "array of text": np.array(["a", "b"]),
        "array of objects": np.array([None, object()]),
        "ragged array": ragged,
        "array of dates": np.array(["2024-01-01"], dtype="datetime64[D]"),
        "complex array": np.array([[1j]]),
        "bool array": np.array([True, False]),
        "nan array": np.full((2, 2), np.nan),
        "inf array": np.full((2, 2), np.inf),
        "negative array": np.full((2, 2), -1.0),
        "small array": np.ones((1, 1)),
        "large array": np.ones((7, 5)),
        "many dimensions": np.zeros((1, 2, 1, 1, 2)),
        "masked array": np.ma.masked_all((2, 2)),
        "record array": np.zeros(2, dtype=[("a", float)]),
        "float32": np.float32(0.5),
        "int64": np.int64(-3),
        "0 trials": np.zeros((0, 2)),
        "mV": 3 * mV,
        "array in mV": np.ones((2, 2)) * mV,
        "ms": 3 * ms,
        "array in nA": np.ones(2) * nA,
        "path": Path("nowhere"),
    }
    return values


# --- TOML -----------------------------------------------------------------------------------------------------------


def toml_of(document: dict[str, Any]) -> str:
    """A document as TOML, every table inline."""
    return "".join(f"{_key(key)} = {_value(value)}\n" for key, value in document.items())


def _key(key: str) -> str:
    return json.dumps(key, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return _key(value)
        case float():
            return repr(value)
        case int():
            return str(value)
        case list():
            return f"[{', '.join(_value(item) for item in value if item is not None)}]"
        case dict():
            return f"{{{', '.join(f'{_key(k)} = {_value(v)}' for k, v in value.items())}}}"
    return value.isoformat()


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value of a document."""
    items = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in items:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))


def at(document: Any, path: tuple[Any, ...]) -> Any:
    """The value at a path."""
    for key in path:
        document = document[key]
    return document


def changed_text(text: str, draw: random.Random) -> bytes:
    """A file damaged as text."""
    data = text.encode()
    k = draw.randrange(len(data))
    lines = text.splitlines(keepends=True)
    line = draw.randrange(len(lines))
    match draw.randrange(14):
        case 0:
            return data[:k]
        case 1:
            return data[:k] + bytes([data[k] ^ 1 << draw.randrange(8)]) + data[k + 1 :]
        case 2:
            return data[:k] + b"\xff" + data[k:]
        case 3:
            return b"\xef\xbb\xbf" + data
        case 4:
            return text.replace("\n", "\r\n").encode()
        case 5:
            return "".join([*lines[: line + 1], *lines[line:]]).encode()
        case 6:
            return data[:k] + b"\x00" + data[k:]
        case 7:
            return "".join([*lines[:line], *lines[line + 1 :]]).encode()
        case 8:
            draw.shuffle(lines)
            return "".join(lines).encode()
        case 9:
            return data[:k] + data[k + 1 :]
        case 10:
            return data[:k] + draw.choice("[]{}\"'=#\n.,\\").encode() + data[k:]
        case 11:
            return text.encode("utf-16")
        case 12:
            nested = ("[" * 5000 + "]" * 5000, "{a = " * 2000 + "1" + "}" * 2000)
            value = draw.choice([*nested, "1" * 5000, "1e400", "'''"])
            return re.sub(r"= .*", lambda _: f"= {value}", text, count=1).encode()
        case _:
            return text.replace("\n", "\r").encode()


def changed_document(text: str, draw: random.Random) -> bytes:
    """A file whose document differs in one or two places."""
    document = tomllib.loads(text)
    for _ in range(draw.choice([1, 1, 1, 2])):
        _change(document, draw)
    return toml_of(document).encode()


def _change(document: dict[str, Any], draw: random.Random) -> None:
    found = list(places(document))
    if not found:
        return
    path = draw.choice(found)
    parent, key = at(document, path[:-1]), path[-1]
    value = parent[key]
    kind = draw.randrange(10)
    if kind == 0:
        del parent[key]
    elif kind == 1 and isinstance(parent, dict):
        parent[draw.choice([key.upper(), key[:-1], f"{key}s", key[::-1], f" {key}", *ODD_NAMES])] = (
            value if draw.random() < 0.5 else parent.pop(key)
        )
    elif kind == 2:
        other = draw.choice(found)
        with contextlib.suppress(KeyError, IndexError, TypeError):
            parent[key] = at(document, other)
        if parent[key] is document or isinstance(parent[key], dict | list):
            parent[key] = json.loads(json.dumps(value, default=str))
    elif kind == 3:
        _rename(document, draw)
    elif kind in (4, 5, 6) and isinstance(value, str):
        parent[key] = wrong_text(value, draw)
    elif kind == 7 and isinstance(value, list):
        parent[key] = value * draw.choice([0, 2, 3])
    else:
        parent[key] = draw.choice(ODD_TOML)


def _rename(document: dict[str, Any], draw: random.Random) -> None:
    """Give something that is declared another name, everywhere."""
    sections = ("parameters", "states", "inputs", "traces", "costs", "populations")
    tables = [document[section] for section in sections if section in document]
    names = [name for table in tables if isinstance(table, dict) for name in table]
    if not names:
        return
    old, new = draw.choice(names), draw.choice([*ODD_NAMES, *names])

    def renamed(value: Any) -> Any:
        if isinstance(value, str):
            return re.sub(rf"\b(d?){re.escape(old)}\b", lambda m: m[1] + new, value)
        if isinstance(value, dict):
            return {renamed(k): renamed(v) for k, v in value.items()}
        return [renamed(v) for v in value] if isinstance(value, list) else value

    for key in list(document):
        if key not in ("kind", "title", "description", "references"):
            document[key] = renamed(document[key])


def wrong_text(value: str, draw: random.Random) -> str:
    """A unit, a name or an expression that may be wrong in the place of another one."""
    pool = draw.randrange(4)
    if pool == 0:
        return draw.choice(ODD_UNITS)
    if pool == 1:
        return draw.choice(ODD_NAMES)
    # of an equation or an assignment, what is right of "="
    left, equals, right = value.partition("=")
    right, colon, unit = right.partition(":")
    if equals and draw.random() < 0.9:
        if colon and draw.random() < 0.2:
            return f"{left}= {right}: {draw.choice(ODD_UNITS)}"
        return f"{left}= {_filled(draw.choice(ODD_EXPRESSIONS), right.strip())} {colon}{unit}"
    return _filled(draw.choice(ODD_EXPRESSIONS), value)


def _filled(template: str, value: str) -> str:
    return template.replace("{0}", value).replace("{{", "{").replace("}}", "}")
