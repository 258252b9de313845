"""Draw the rooms of the package on their floors, and who imports whom, from docs/architecture.md and the sources.

python scripts/figure_rooms.py [--out DIR] [--redraw]
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from snnmodels.studies.figures import COLOURS, run_figure
from snnmodels.studies.scripts import run

ROOT = Path(__file__).parents[1]


def compute(quick: bool) -> dict[str, Any]:
    """Floors as they are declared, lines of code of every room, and imports counted between rooms."""
    found = re.search(r"```floors\n(.*?)```", (ROOT / "docs/architecture.md").read_text(), re.S)
    if found is None:
        raise ValueError("docs/architecture.md: there is no block of floors")
    floors = [line.split() for line in found[1].splitlines()]
    rooms = [room for floor in floors for room in floor]
    lines: Counter[str] = Counter()
    arrows: Counter[tuple[str, str]] = Counter()
    for path in (ROOT / "snnmodels").rglob("*.py"):
        inside = path.relative_to(ROOT / "snnmodels").with_suffix("").parts
        if inside[0] not in rooms:
            continue
        text = path.read_text()
        lines[inside[0]] += len(text.splitlines())
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and node.level == len(inside):
                for room in {(node.module or name.name).split(".")[0] for name in node.names} & set(rooms):
                    arrows[inside[0], room] += 1
    return {
        "rooms": np.array(rooms),
        "floors": np.array([k for k, floor in enumerate(floors) for _ in floor]),
        "lines": np.array([lines[room] for room in rooms]),
        "arrows": np.array([[rooms.index(a), rooms.index(b)] for a, b in _longest(arrows)]),
    }


def _longest(arrows: Counter[tuple[str, str]]) -> list[tuple[str, str]]:
    """The imports that no way through other rooms implies."""
    below: dict[str, set[str]] = {}
    for a, b in arrows:
        if a != b:
            below.setdefault(a, set()).add(b)

    def reached(room: str) -> set[str]:
        return set().union(*({b} | reached(b) for b in below.get(room, ())))

    return [(a, b) for a, there in below.items() for b in there if not any(b in reached(c) for c in there)]


def draw(data: Mapping[str, np.ndarray]) -> Figure:
    """Boxes and arrows."""
    floors, top = data["floors"], int(data["floors"].max())
    figure, axes = plt.subplots(figsize=(7.2, 7.4), layout="constrained")
    places = []
    for k, floor in enumerate(floors):
        same = np.flatnonzero(floors == floor)
        places.append((1.9 * (np.flatnonzero(same == k)[0] - (len(same) - 1) / 2), float(top - floor)))
    for a, b in data["arrows"]:
        (xa, ya), (xb, yb) = places[a], places[b]
        # around what stands between
        bend = 0.0 if ya - yb < 1.5 or abs(xa - xb) > 0.5 else 0.4 if xa < 0 else -0.4
        axes.add_patch(
            FancyArrowPatch(
                (xa, ya - 0.24),
                (xb, yb + 0.24),
                connectionstyle=f"arc3,rad={bend}",
                arrowstyle="-|>,head_length=4,head_width=2",
                color=COLOURS["blue"],
                lw=1.1,
                shrinkA=0,
                shrinkB=0,
            )
        )
    for (x, y), room, lines in zip(places, data["rooms"], data["lines"], strict=True):
        box = FancyBboxPatch(
            (x - 0.62, y - 0.22), 1.24, 0.44, "round,pad=0,rounding_size=0.08", fc="white", ec="0.25", lw=1.0, zorder=3
        )
        axes.add_patch(box)
        axes.text(x, y + 0.05, str(room), ha="center", va="center", zorder=4, fontsize=9.5)
        axes.text(x, y - 0.12, f"{lines} lines", ha="center", va="center", zorder=4, fontsize=6.5, color="0.4")
    widest = max(abs(x) for x, _ in places) + 0.7
    axes.set(xlim=(-widest, widest), ylim=(-0.45, top + 0.45))
    axes.axis("off")
    axes.set_title("Rooms of snnmodels. An arrow is an import; those that others imply are left out", loc="left")
    return figure


if __name__ == "__main__":
    run(lambda: run_figure("rooms", __doc__ or "", compute, draw))
