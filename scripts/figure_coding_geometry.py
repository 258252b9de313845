"""F1: the bounding box of a spike-coding network, and what each activity cost does to it.

python scripts/figure_coding_geometry.py [--quick] [--out DIR]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d.art3d import Line3DCollection, Poly3DCollection

from snnmodels.coding import (
    CodingNetwork,
    Signal,
    Trace,
    bounding_box,
    joint_loss,
    ring_decoder,
    simulate,
    smooth_signal,
)
from snnmodels.studies.figures import COLOURS, letter, run_figure
from snnmodels.studies.scripts import run

D = 0.2
RATIOS = (0.0, 0.5, 2.0)
NORMS = (0.07, 0.2, 0.55)
NUS = (0.002, 0.03, 0.4)
LOSS = joint_loss(
    {"sparsity": "nu*r", "adaptation": "mu*a**2", "inhibition": "kappa*B**2"},
    {"a": Trace("neuron", 0.5), "B": Trace("population", 0.05)},
    {"nu": 0.0, "mu": 0.0, "kappa": 0.0},
)


def compute(quick: bool) -> dict[str, Any]:
    """Boxes and error clouds."""
    data: dict[str, Any] = {}
    signal = smooth_signal(12.0, seed=1).until(2.0 if quick else 12.0)
    late = slice(2000, None)

    ring = CodingNetwork(ring_decoder(8, D), LOSS)
    for k, ratio in enumerate(RATIOS):
        network = ring.with_parameters(nu=ratio * D**2)
        response = simulate(network, signal)
        data[f"box{k}"] = bounding_box(network).vertices()
        data[f"cloud{k}"] = (response.target - response.estimate)[late][:: 20 if quick else 60]

    cone = CodingNetwork(ring_decoder(12, D), LOSS, {"kappa": 0.3 * D**2})
    response = simulate(cone, smooth_signal(1.3, seed=3))
    data["cone_path"] = np.column_stack([response.target - response.estimate, response.trace("B")])[late][::5]
    data["cone_levels"] = np.linspace(0, 1.05 * data["cone_path"][:, 2].max(), 6)
    data["cone"] = np.stack([bounding_box(cone, B=b).vertices() for b in data["cone_levels"]])

    rings = [CodingNetwork(ring_decoder(10, norm), LOSS) for norm in NORMS]
    for k, nu in enumerate(NUS):
        for j, one in enumerate(rings):
            data[f"mixed{k}_{j}"] = bounding_box(one.with_parameters(nu=nu)).vertices()

    adapting = CodingNetwork(ring_decoder(16, D), LOSS, {"mu": 0.05 * D**2})
    data["signal"] = np.array([0.9, 0.25])
    still = Signal(np.tile(data["signal"], (30001, 1)), 1e-4)
    response = simulate(adapting, still)
    a = response.trace("a")
    error = response.target - response.estimate
    data["faces_before"] = bounding_box(adapting).vertices()
    data["faces_after"] = bounding_box(adapting, a=a[-1]).vertices()
    data["cloud_before"], data["cloud_after"] = error[200:1500:10], error[-3000::10]
    return data


def draw(data: Mapping[str, np.ndarray]) -> Figure:
    """Four ideas, one panel or row each."""
    figure = Figure(figsize=(10.5, 6.9), layout="constrained")
    grid = figure.add_gridspec(2, 12, height_ratios=[1.3, 1])
    _growing(figure.add_subplot(grid[0, :4]), data)
    _cone(figure.add_subplot(grid[0, 4:8], projection="3d"), data)
    _adaptation(figure.add_subplot(grid[0, 8:]), data)
    for k in range(3):
        _mixed(figure.add_subplot(grid[1, 3 * k : 3 * k + 3]), data, k)
    _distances(figure.add_subplot(grid[1, 9:]))
    return figure


def _closed(vertices: np.ndarray) -> np.ndarray:
    return np.vstack([vertices, vertices[:1]])


def _plain(axes: Any, limit: float) -> None:
    axes.set(aspect="equal", xlim=(-limit, limit), ylim=(-limit, limit))
    axes.set(xlabel="error $x_1 - \\hat x_1$", ylabel="error $x_2 - \\hat x_2$")
    axes.axhline(0, color="0.9", lw=0.6, zorder=0)
    axes.axvline(0, color="0.9", lw=0.6, zorder=0)


def _growing(axes: Any, data: Mapping[str, np.ndarray]) -> None:
    colours = [COLOURS["blue"], COLOURS["green"], COLOURS["red"]]
    for k in (2, 1, 0):
        label = f"ν = {RATIOS[k]:g} d²" if RATIOS[k] else "no cost"
        axes.plot(*_closed(data[f"box{k}"]).T, color=colours[k], lw=1.8, label=label)
        axes.scatter(*data[f"cloud{k}"].T, s=1.5, color=colours[k], alpha=0.35, lw=0)
    _plain(axes, 0.42)
    axes.legend(loc="upper center", ncols=3, columnspacing=0.8, handlelength=1.2)
    axes.set_title("Linear cost ν: all faces move out;\nthe error uses the larger box")
    letter(axes, "A")


def _cone(axes: Any, data: Mapping[str, np.ndarray]) -> None:
    levels, rings = data["cone_levels"], data["cone"]
    for b, ring in zip(levels, rings, strict=True):
        axes.plot(*_closed(ring).T, b, color=COLOURS["blue"], lw=0.9)
    faces = []
    n = rings.shape[1]
    for k in range(n):
        edge = [(*rings[0, k], levels[0]), (*rings[0, (k + 1) % n], levels[0])]
        faces.append([*edge, (*rings[-1, (k + 1) % n], levels[-1]), (*rings[-1, k], levels[-1])])
    axes.add_collection3d(Poly3DCollection(faces, facecolor=COLOURS["sky"], alpha=0.08, edgecolor="none"))
    ribs = [[(*rings[0, k], levels[0]), (*rings[-1, k], levels[-1])] for k in range(n)]
    axes.add_collection3d(Line3DCollection(ribs, colors=COLOURS["blue"], linewidths=0.5))
    path = data["cone_path"]
    axes.plot(*path.T, color=COLOURS["red"], lw=0.5, alpha=0.8)
    limit = np.abs(rings).max()
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit), zlim=(0, levels[-1]))
    axes.set_xlabel("error 1", labelpad=-2)
    axes.set_ylabel("error 2", labelpad=0)
    axes.set_zlabel("population activity B", labelpad=-3)
    axes.set(xticks=(-0.5, 0.5), yticks=(-0.5, 0.5), zticks=np.arange(0, levels[-1], 5))
    axes.tick_params(pad=-2, labelsize=7)
    axes.view_init(elev=14, azim=-58)
    axes.set_box_aspect((1, 1, 1), zoom=0.86)
    axes.set_title("Feedback inhibition κ: the box opens\ninto a cone as the population fires")
    letter(axes, "B")


def _adaptation(axes: Any, data: Mapping[str, np.ndarray]) -> None:
    axes.plot(*_closed(data["faces_before"]).T, color=COLOURS["grey"], lw=1.6, label="at the start")
    axes.scatter(*data["cloud_before"].T, s=2, color=COLOURS["grey"], alpha=0.6, lw=0)
    axes.plot(*_closed(data["faces_after"]).T, color=COLOURS["red"], lw=1.6, label="after 3 s of a constant signal")
    axes.scatter(*data["cloud_after"].T, s=2, color=COLOURS["red"], alpha=0.6, lw=0)
    limit = max(0.24, 1.12 * float(np.abs(data["faces_after"]).max()))
    _plain(axes, limit)
    start, tip = np.array([-0.9, -0.72]) * limit, np.array([-0.9, -0.72]) * limit + 0.4 * limit * data["signal"]
    axes.annotate("", tip, start, arrowprops={"arrowstyle": "-|>", "color": "black"})
    axes.text(*(start - [0, 0.04 * limit]), "direction of the signal", fontsize=8, va="top")
    axes.legend(loc="upper center", ncols=2, columnspacing=0.8, handlelength=1.2)
    axes.set_title("Adaptation μ: the faces in use retreat,\ntheir neighbours take over")
    letter(axes, "C")


def _mixed(axes: Any, data: Mapping[str, np.ndarray], k: int) -> None:
    colours = [COLOURS["sky"], COLOURS["blue"], COLOURS["black"]]
    nearest = int(np.argmin([np.abs(data[f"mixed{k}_{j}"]).max() for j in range(3)]))
    limit = 2.4 * float(np.abs(data[f"mixed{k}_{nearest}"]).max())
    for j in range(3):
        vertices = _closed(data[f"mixed{k}_{j}"])
        if j == nearest:
            axes.fill(*vertices.T, color=colours[j], alpha=0.2, lw=0)
        axes.plot(*vertices.T, color=colours[j], lw=2.2 if j == nearest else 1, label=f"d = {NORMS[j]:g}")
    _plain(axes, limit)
    axes.set_title(f"ν = {NUS[k]:g}: d = {NORMS[nearest]:g} is in use\n(√ν = {np.sqrt(NUS[k]):.2f})")
    if k == 0:
        letter(axes, "D")
    else:
        axes.set_ylabel("")
    if k == 1:  # the one panel that shows all three
        axes.legend(loc="upper center", ncols=3, columnspacing=0.6, handlelength=0.8, fontsize=7.5, borderpad=0)


def _distances(axes: Any) -> None:
    d = np.geomspace(0.02, 2, 200)
    for nu, colour in zip(NUS, (COLOURS["sky"], COLOURS["blue"], COLOURS["black"]), strict=True):
        axes.loglog(d, (d**2 + nu) / (2 * d), color=colour, label=f"ν = {nu:g}")
        axes.plot(np.sqrt(nu), np.sqrt(nu), "o", color=colour, ms=5)
    axes.set(xlabel="decoder norm d", ylabel="distance of the face", ylim=(0.02, 3), xlim=(0.02, 2))
    axes.legend(loc="lower right", handlelength=1.2)
    axes.set_title("The nearest faces belong to\nd = √ν: distance (d² + ν)/2d")
    letter(axes, "E", -0.2)


if __name__ == "__main__":
    run(lambda: run_figure("coding_geometry", __doc__ or "", compute, draw))
