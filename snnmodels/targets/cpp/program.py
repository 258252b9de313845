"""The program of a set of models, compiled once and kept by what it is made from."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ...compilation import BuildFailed, cache_folder, compiler, native
from ...events.rules import Rules
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
    const char* path = std::getenv("SNNMODELS_EXCHANGE");
    if (!path) {{ std::cerr << "SNNMODELS_EXCHANGE does not name the exchange file" << std::endl; return 2; }}
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
    command = compiler()
    headers = b"".join(p.read_bytes() for p in sorted(_RUNTIME.glob("*.h")))
    made_from = "\n".join([text, *_FLAGS, native(tuple(command))]).encode() + headers
    path = cache_folder() / f"engine-{hashlib.sha256(made_from).hexdigest()[:24]}"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix="building-") as folder:
            file, made = Path(folder) / "engine.cpp", Path(folder) / "engine"
            file.write_text(text)
            words = [*command, *_FLAGS, f"-I{_RUNTIME}", str(file), "-o", str(made)]
            result = subprocess.run(words, capture_output=True, text=True, check=False)
            if result.returncode:
                raise BuildFailed(f"{command[0]} refuses the engine: {result.stderr[:3000]}")
            made.rename(path)
    return path
