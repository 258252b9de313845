"""The C++ files of a project of Brian2's as one: each reads the same headers, which take nearly all of compiling."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["GUARD", "one_unit"]

GUARD = "SNNMODELS_EXPDD"  # of the divided differences, once in a file of C++

_OTHERS = ("brianlib/spikequeue.cpp", "network.cpp", "objects.cpp", "run.cpp", "synapses_classes.cpp", "main.cpp")


def one_unit(folder: Path) -> str:
    """All sources of a project for C++ standalone as one.

    Parameters
    ----------
    folder : Path
        Where Brian2 has written them.

    Returns
    -------
    str
        C++ of the whole program, to be compiled with `folder` and its ``brianlib`` among the places of headers.
    """
    parts = []
    for number, file in enumerate(sorted((folder / "code_objects").glob("*.cpp"))):
        text = file.read_text()
        # every file has helper functions of the same names in an unnamed namespace; in one unit they need names
        text, found = re.subn(r"(/+ SUPPORT CODE /+\s*)namespace\s*\{", rf"\1namespace unit_{number} {{", text)
        if found:
            text = text.replace("using namespace brian;", f"using namespace brian; using namespace unit_{number};")
        parts.append(f"#undef {GUARD}\n{text}")  # each namespace has divided differences of its own
    parts += [(folder / name).read_text() for name in _OTHERS if (folder / name).exists()]
    return "\n".join(parts)
