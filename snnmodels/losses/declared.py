"""The loss that a network's file declares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ..templates.errors import brief, suggest
from ..templates.network import Network
from .base import Loss
from .classification import MaxVoltageCrossEntropy, TTFSCrossEntropy
from .counts import ActivityPrice, CountError
from .expressions import ExpressionLoss
from .spike_times import SpikeTimeError
from .trains import IntervalError, VanRossumDistance
from .voltages import VoltageError

__all__ = ["KINDS", "loss_of"]

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
        If it declares none, or one that isn't possible or doesn't fit the network.
    """
    if not network.loss:
        raise ValueError(
            f"network {network.name!r} declares no loss; give one, such as TTFSCrossEntropy(), or write [loss] in its "
            "file"
        )
    terms = []
    for k, table in enumerate(network.loss):
        where = f"network {network.name!r}: loss" + (f" {k + 1}" if len(network.loss) > 1 else "")
        try:
            terms.append(_term(table))
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
    first, *others = terms
    total = first
    for term in others:
        total = total + term
    try:
        total.check(network)
    except ValueError as error:
        raise ValueError(f"network {network.name!r}: {error}") from None
    return total


def _term(table: Mapping[str, Any]) -> Loss:
    options = dict(table)
    kind, factor = options.pop("kind", "expression"), options.pop("factor", 1)
    if kind not in KINDS:
        raise ValueError(f"kind is {brief(kind)}; {suggest(str(kind), KINDS)}")
    known = [f.name for f in fields(KINDS[kind])]  # type: ignore[arg-type]
    for name in options:
        if name not in known:
            raise ValueError(f"{name!r} has no meaning for {kind}; {suggest(name, known)}")
    if kind == "expression" and "expression" not in options:
        raise ValueError("expression is missing; write it, or name another kind")
    loss = KINDS[kind](**options)
    return loss if factor == 1 else factor * loss
