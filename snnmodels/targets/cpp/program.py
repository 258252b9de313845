"""The program of a set of models, compiled once and kept by what it is made from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...compilation import build, fingerprint, kept
from ...events.rules import Rules
from ..process import EXCHANGE
from . import printer

__all__ = ["program", "source"]

_RUNTIME = Path(__file__).parent / "runtime"
_FLAGS = ("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-w", "-pthread")


def source(models: Sequence[Rules]) -> str:
    """The whole program but for the headers of the runtime."""
    cases = " ".join(f"case {k}: return std::make_unique<Population<Model{k}>>();" for k in range(len(models)))
    return f"""#include "program.h"
namespace snn {{
{printer.divided_differences()}
{printer.models(models)}
std::unique_ptr<Neurons> make_population(int model) {{ switch (model) {{ {cases} }} return nullptr; }}
}}
int main()
{{
    const char* path = std::getenv("{EXCHANGE}");
    if (!path) {{ std::cerr << "{EXCHANGE} does not name the exchange file" << std::endl; return 2; }}
    return snn::Program().serve(path);
}}
"""


def program(rules: Sequence[Rules]) -> tuple[Path, list[int]]:
    """The compiled program of the models of several populations, and which of its models each has.

    Raises
    ------
    BuildFailed
        If there is no compiler, or it refuses the program.
    """
    texts: list[str] = []
    models: list[Rules] = []
    numbers = []
    for r in rules:
        text = printer.model("", r)
        if text not in texts:
            texts.append(text)
            models.append(r)
        numbers.append(texts.index(text))
    return _build(source(models)), numbers


def _build(text: str) -> Path:
    headers = b"".join(p.read_bytes() for p in sorted(_RUNTIME.glob("*.h")))

    def make(folder: Path) -> Path:
        file, made = folder / "engine.cpp", folder / "engine"
        file.write_text(text)
        build(file, made, [*_FLAGS, f"-I{_RUNTIME}"])
        return made

    return kept(f"engine-{fingerprint(text, *_FLAGS, headers)}", make)
