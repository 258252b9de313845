"""The loss that a network's file declares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from .. import templates
from ..templates.errors import brief, located, suggest
from ..templates.library import find
from ..templates.network import Network, check_network
from .base import Loss, primitives
from .classification import MaxVoltageCrossEntropy, TTFSCrossEntropy
from .counts import ActivityPrice, CountError
from .expressions import ExpressionLoss
from .integrals import with_integrals
from .pseudospikes import Pseudospikes
from .spike_times import SpikeTimeError
from .trains import IntervalError, VanRossumDistance
from .voltages import VoltageError

__all__ = ["KINDS", "load_network", "loss_of"]

KINDS: Mapping[str, type[Loss]] = {
    "expression": ExpressionLoss,
    "ttfs_cross_entropy": TTFSCrossEntropy,
    "max_voltage_cross_entropy": MaxVoltageCrossEntropy,
    "spike_time_error": SpikeTimeError,
    "voltage_error": VoltageError,
    "van_rossum_distance": VanRossumDistance,
    "interval_error": IntervalError,
    "count_error": CountError,
    "activity_price": ActivityPrice,
}
"""What a file may name in ``kind``; `templates.schema.LossTable` knows the same names."""


def loss_of(network: Network) -> Loss:
    """The loss that a network declares, the sum of its terms.

    Parameters
    ----------
    network : Network

    Returns
    -------
    Loss

    Raises
    ------
    ValueError
        If it is no network, or declares no loss, or one that isn't possible or doesn't fit the network.
    """
    check_network(network)
    if not network.loss:
        raise ValueError(
            f"network {network.name!r} declares no loss; give one, such as TTFSCrossEntropy(), or write [loss] in its "
            "file"
        )
    return _declared(network, f"network {network.name!r}")


def load_network(name_or_path: str | Path, seed: int | None = None, **overrides: Any) -> Network:
    """Read a network from the library or from a file, draw what it draws, and check the loss that it declares.

    Parameters
    ----------
    name_or_path : str or Path
        ``"yin_yang"``, or the path of a ``.toml`` file.
    seed : int, optional
        Of all that is drawn (weights, masks, delays, parameters) instead of the file's.
    **overrides
        Changes to the file: a key of its top level (``duration="80*ms"``), or the name of an input, population or
        projection with a dictionary of what changes there; see `snnmodels.templates.load_network`.

    Returns
    -------
    Network

    Raises
    ------
    TemplateError
        If the file or an override can't be used, or the loss is none or doesn't fit the network.

    Examples
    --------
    >>> load_network("yin_yang", seed=1, hidden={"n": 20}).projections[0].weights.shape
    (5, 20)
    """
    network = templates.load_network(name_or_path, seed, **overrides)
    if network.loss:
        _declared(network, str(find(name_or_path, ("network",))))
    return network


def _declared(network: Network, place: str) -> Loss:
    """The sum of the terms, each of which is checked; `place` is what messages begin with."""
    terms = []
    for k, table in enumerate(network.loss):
        with located(place, f"loss {k + 1}" if len(network.loss) > 1 else "loss"):
            term = _term(table)
            bound = term.for_network(network)
            bound.check(network)
            primitives(bound.observables, with_integrals(network, bound.observables))
            terms.append(term)
    first, *others = terms
    total = first
    for term in others:
        total = total + term
    return total


def _term(table: Mapping[str, Any]) -> Loss:
    options = dict(table)
    kind, factor = options.pop("kind", "expression"), options.pop("factor", 1)
    pseudospikes = options.pop("pseudospikes", False)
    if kind not in KINDS:
        raise ValueError(f"kind is {brief(kind)}; {suggest(str(kind), KINDS)}")
    known = [f.name for f in fields(KINDS[kind])]  # type: ignore[arg-type]
    for name in options:
        if name not in known:
            raise ValueError(f"{name!r} has no meaning for {kind}; {suggest(name, known)}")
    if kind == "expression" and "expression" not in options:
        raise ValueError("expression is missing; write it, or name another kind")
    loss = KINDS[kind](**options)
    if pseudospikes is not False:
        loss = Pseudospikes(loss, **({} if pseudospikes is True else pseudospikes))
    return loss if factor == 1 else factor * loss
