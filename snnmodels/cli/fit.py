"""``snnmodels fit``: a model's parameters from a recording."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..targets import Target
from .common import prepare_brian, require_tools

__all__ = ["fit"]


def fit(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="As `lif_current+adaptive_threshold`, or the path of a `.toml` file.")
    ],
    recording: Annotated[
        Path, typer.Argument(metavar="RECORDING", help="A `.npz`, `.csv` or `.nwb` file (docs/fitting.md).")
    ],
    free: Annotated[
        list[str],
        typer.Option(help="`NAME:LOW:HIGH` with units, and `:log` or `:linear`: `tau_m:5ms:50ms`. Repeatable."),
    ],
    fixed: Annotated[
        list[str] | None, typer.Option(help="`NAME=VALUE` in the place of the model's own, as `g_L=10nS`. Repeatable.")
    ] = None,
    loss: Annotated[
        list[str] | None,
        typer.Option(help="`spikes=1`, `voltage=0.5`, `intervals=1`, `likelihood=0.3`; what was recorded, by default."),
    ] = None,
    input: Annotated[str, typer.Option(help="Of the model, that the current drives, if it has several.")] = "",
    dt: Annotated[str, typer.Option(help="Between samples, as `0.1ms`, where the file doesn't say.")] = "",
    detect: Annotated[bool, typer.Option("--detect", help="Take upward crossings of the voltage for spikes.")] = False,
    level: Annotated[str, typer.Option(help="That they cross, as `--level=-20mV`.")] = "0mV",
    likelihood: Annotated[
        bool, typer.Option(help="Whether to begin at the likelihood of the recorded spikes; slow on numpy.")
    ] = True,
    noise: Annotated[
        bool, typer.Option(help="Whether to search under noise where a current was repeated.")
    ] = True,
    candidates: Annotated[int, typer.Option(help="Of a generation.", min=4)] = 64,
    generations: Annotated[int, typer.Option(help="Of every search; half as many follow with noise.", min=0)] = 60,
    starts: Annotated[int, typer.Option(help="Searches from other beginnings.", min=1)] = 1,
    workers: Annotated[int, typer.Option(help="Processes among which the searches are divided.", min=1)] = 1,
    executor: Annotated[
        str,
        typer.Option(metavar="MODULE:FACTORY", help="What runs the searches instead, as for `snnmodels train`."),
    ] = "",
    seed: Annotated[int, typer.Option(help="Of all that is drawn.", min=0)] = 0,
    target: Annotated[Target, typer.Option(help="Where the simulation runs.")] = "cpp_standalone",
    out: Annotated[Path, typer.Option(help="Folder for the fitted template, report and figure.")] = Path("output/fit"),
) -> None:
    """Fit a model to a recording, and write it as a template again.

    Writes `fitted.toml`, which `snnmodels show` and `load_model` read, `fit.json` and `fit.png`. A fit that is
    interrupted goes on from `checkpoint.json` in the same folder, or with several workers from `checkpoint_0.json`
    and so on, when the same command is given again.

    Examples: `snnmodels fit lif_current cell.npz --free C_m:80pF:400pF --free v_th:-60mV:-45mV`;
    `snnmodels fit adex sweeps.nwb --detect --free v_T:-60mV:-45mV --loss voltage=1`.
    """
    from ..files import folder_for
    from ..fitting import fit as fitted
    from ..fitting import parse_free, parse_value, read_recording, write_report
    from ..fitting.free import parse_number
    from ..parallel import some_executor
    from ..templates import load_model

    prepare_brian()
    require_tools(target)
    loaded = load_model(model)
    bounds = dict(parse_free(text, loaded) for text in free)
    if len(bounds) < len(free):
        raise ValueError("--free names a parameter twice")
    values = dict(parse_value(text, loaded) for text in fixed or [])
    step = parse_number(dt, "second", "--dt") if dt else None
    read = read_recording(recording, dt=step, detect=detect, level=parse_number(level, "volt", "--level"))
    folder = folder_for(out, "results of a fit")
    options = {
        "free": bounds, "fixed": values, "losses": _weights(loss), "input": input, "candidates": candidates,
        "generations": generations, "starts": starts, "seed": seed, "target": target, "likelihood": likelihood,
        "noise": noise,
    }  # fmt: skip
    with some_executor(workers, executor) as some:
        result = fitted(loaded, read, executor=some, checkpoint=folder / "checkpoint.json", **options)  # type: ignore[arg-type]
    write_report(result, folder)
    for done in (folder / "checkpoint.json", *(folder / f"checkpoint_{k}.json" for k in range(starts))):
        done.unlink(missing_ok=True)  # the next fit here may be another
    typer.echo(str(result))
    typer.echo(f"{folder}: fitted.toml, fit.json, fit.png")


def _weights(given: list[str] | None) -> dict[str, float] | None:
    if not given:
        return None
    weights = {}
    for text in given:
        name, sign, number = text.partition("=")
        if name.strip() in weights:
            raise ValueError(f"--loss names {name.strip()} twice")
        try:
            weights[name.strip()] = float(number) if sign else 1.0
        except ValueError:
            raise ValueError(f"--loss {text}: expected NAME=WEIGHT, as in voltage=0.5") from None
    return weights
